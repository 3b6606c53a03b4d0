--
-- collab.tune()
--
-- Trials tell when they end, in an order that threads make differ: most are quiet.
SET collab.threads = 2;
SELECT expect.types($$SELECT * FROM collab.tune('ratings')$$);

-- What a trial is: a training of these settings, to the bit, of which no model is left.
CREATE TABLE tu_grid AS SELECT * FROM collab.tune('ratings', n_factors => '{2,5,9}', wd => '{0.1,0.01}', lr_max => '{5e-3,0.05}', n_epochs => '{3,6}', verbose => false);
CREATE FUNCTION expect.trained(n_factors integer, wd double precision, lr_max double precision, n_epochs integer, options text DEFAULT '', OUT train_loss double precision, OUT valid_loss double precision) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT train_loss, valid_loss FROM collab.train(''tu_model'', ''ratings'', n_factors => %s, wd => %s, lr_max => %s, n_epochs => %s, verbose => false%s) ORDER BY epoch DESC LIMIT 1', n_factors, wd, lr_max, n_epochs, options)
		INTO train_loss, valid_loss;
	PERFORM collab.drop_model('tu_model');
END $$;
SELECT count(*) AS trials, count(*) FILTER (WHERE (t.train_loss, t.valid_loss) = (g.train_loss, g.valid_loss)) AS as_trained, count(valid_loss_sd) AS deviations,
       bool_and(elapsed BETWEEN '1 us' AND '1 min') AS timed
  FROM tu_grid g, LATERAL expect.trained(n_factors, wd, lr_max, n_epochs) t(train_loss, valid_loss);
SELECT count(DISTINCT (n_factors, wd, lr_max, n_epochs)) AS settings, array_agg(rank ORDER BY valid_loss) = array_agg(n::integer ORDER BY n) AS ranked, array_agg(rank ORDER BY n) = array_agg(n::integer ORDER BY n) AS in_order
  FROM (SELECT *, row_number() OVER () AS n FROM tu_grid) g;
SELECT count(*) AS models FROM collab.models WHERE model_name LIKE 'tu\_%';
-- the defaults are those of a training
SELECT rank, n_factors, wd, lr_max, n_epochs, valid_loss = (SELECT valid_loss FROM expect.trained(50, 0.1, 5e-3, 5)) AS as_trained FROM collab.tune('ratings', verbose => false);
-- other options, the seed and valid_pct
CREATE FUNCTION expect.tuned(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT string_agg(concat_ws('' '', rank, n_factors, wd, lr_max, n_epochs, train_loss, valid_loss, valid_loss_sd), '', '' ORDER BY rank) FROM collab.tune(''ratings'', verbose => false%s)', arguments) INTO result;
	RETURN result;
END $$;
SELECT o, split_part(expect.tuned(', ' || tuned), ' ', 7)::float8 = valid_loss AS as_trained
  FROM (VALUES (1, 'seed => 7', 'seed => 7'), (2, 'valid_pct => 0.5', 'valid_pct => 0.5'), (3, 'options => ''{"use_bias": false}''', 'use_bias => false'),
               (4, 'options => ''{"batch_size": 7, "y_range": null}''', 'batch_size => 7, y_range => NULL'), (5, 'options => ''{"y_range": [0, 6], "pct_start": 0.5}''', 'y_range => ''{0,6}'', pct_start => 0.5')) v(n, tuned, o),
       LATERAL expect.trained(50, 0.1, 5e-3, 5, ', ' || o) ORDER BY n;
-- keep_best: the losses of the epoch that is kept
SELECT count(*) AS epochs, (SELECT valid_loss FROM collab.tune('ratings', wd => '{0}', lr_max => '{0.05}', n_epochs => '{20}', options => '{"keep_best": true}', verbose => false)) = min(valid_loss) AS best,
       min(valid_loss) < max(valid_loss) FILTER (WHERE epoch = 20) AS better
  FROM collab.train('tu_model', 'ratings', wd => 0, lr_max => 0.05, n_epochs => 20, verbose => false);
SELECT collab.drop_model('tu_model');

-- The same whatever the threads, the order of the rows, and what was run before.
CREATE TABLE tu_turned AS SELECT * FROM ratings ORDER BY rating DESC, item_id, user_id DESC;
CREATE TABLE tu_results (threads integer, plain text, folds text, random text);
DO $$
BEGIN
	FOR threads IN 1 .. 5 LOOP
		PERFORM set_config('collab.threads', threads::text, false);
		INSERT INTO tu_results VALUES (threads, expect.tuned(', n_factors => ''{2,5,9}'', wd => ''{0.1,0.01}'''), expect.tuned(', n_factors => ''{2,9}'', folds => 4'),
			expect.tuned(', n_factors => ''{2,9,3}'', wd => ''{0.2,0.1}'', n_trials => 3'));
	END LOOP;
END $$;
SET collab.threads = 2;
SELECT count(*), count(DISTINCT (plain, folds, random)) AS distinct FROM tu_results;
SELECT string_agg(concat_ws(' ', rank, n_factors, wd, lr_max, n_epochs, train_loss, valid_loss, valid_loss_sd), ', ' ORDER BY rank) = (SELECT folds FROM tu_results LIMIT 1) AS any_order
  FROM collab.tune('tu_turned', n_factors => '{2,9}', folds => 4, verbose => false);

-- Folds.  Each is held out from a training in its turn: the first is what a
-- training holds out by itself.
SELECT split_part(folds, ' ', 6)::float8 > 0 AS train_loss, split_part(folds, ' ', 7)::float8 BETWEEN 0.1 AND 2 AS valid_loss, split_part(folds, ' ', 8) ~ '^0\.' AS deviation FROM tu_results LIMIT 1;
-- of two, the other is what is left: their mean and their distance tell both
SELECT abs((valid_loss - valid_loss_sd / sqrt(2)) - first) < 1e-9 OR abs((valid_loss + valid_loss_sd / sqrt(2)) - first) < 1e-9 AS first_fold
  FROM collab.tune('ratings', folds => 2, verbose => false), LATERAL (SELECT valid_loss AS first FROM expect.trained(50, 0.1, 5e-3, 5, ', valid_pct => 0.5')) t;
SELECT expect.tuned(', folds => 3, valid_pct => 0') = expect.tuned(', folds => 3, valid_pct => 0.9') AS valid_pct_does_not_count, expect.tuned(', folds => 3, seed => 1') = expect.tuned(', folds => 3') AS nor_seed;

-- Random search: settings of the grid, all different; fewer are among more.
CREATE FUNCTION expect.settings(n_trials integer, seed bigint DEFAULT 42) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(concat_ws(' ', n_factors, wd, lr_max, n_epochs) ORDER BY n_factors, wd, lr_max) FROM collab.tune('ratings', n_factors => '{1,2,3,4}', wd => '{0.1,0.2}', lr_max => '{1e-2,2e-2}', n_epochs => '{1}', n_trials => n_trials, seed => seed, verbose => false)
$$;
SELECT n, cardinality(expect.settings(n)) AS trials, (SELECT count(DISTINCT s) FROM unnest(expect.settings(n)) s) AS different, expect.settings(n) <@ expect.settings(n + 1) AS among_more, expect.settings(n) = expect.settings(n) AS same
  FROM generate_series(1, 15, 2) n;
SELECT expect.settings(16) = expect.settings(NULL) AS all, expect.settings(5) = expect.settings(5, 43) AS seed;

-- A trial that diverges has no losses and comes last; if all do, there is a WARNING.
SELECT rank, n_factors, lr_max, n_epochs, train_loss IS NULL AS train_null, valid_loss IS NULL AS valid_null, valid_loss_sd IS NULL AS sd_null
  FROM collab.tune('ratings', n_factors => '{2}', wd => '{0}', lr_max => '{1e3,1e-30}', folds => 2, options => '{"y_range": null, "div_start": 1e-35}', verbose => false) ORDER BY rank;
-- ties, such as these, by the order of the grid
SELECT rank, n_factors, lr_max, valid_loss IS NULL AS diverged FROM collab.tune('ratings', n_factors => '{3,2,4}', wd => '{0}', lr_max => '{1e3,9e2}', options => '{"y_range": null, "div_start": 1e-35}', verbose => false);
SET collab.threads = 2;

-- Any relation, keys and names; NULL ratings; little to learn from.
CREATE VIEW tu_view AS SELECT 'u' || user_id AS who, item_id::bigint AS what, rating::numeric AS stars FROM ratings;
SELECT count(*), bool_and(valid_loss > 0) AS valid FROM collab.tune('tu_view', 'who', 'what', 'stars', n_factors => '{2,3}', folds => 2, verbose => false);
CREATE TABLE tu_few (user_id integer, item_id integer, rating real);
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', verbose => false)$$);
INSERT INTO tu_few VALUES (1, 1, 3);
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', verbose => false)$$);
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', folds => 2, verbose => false)$$);
INSERT INTO tu_few SELECT n, n, 3 FROM generate_series(2, 8) n;
INSERT INTO tu_few VALUES (9, 9, NULL);
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', folds => 100, verbose => false)$$);
SELECT rank, valid_loss < 1 AS valid FROM collab.tune('tu_few', folds => 2, verbose => false);
INSERT INTO tu_few VALUES (1, 1, 'NaN');
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', verbose => false)$$);
TRUNCATE tu_few;
INSERT INTO tu_few SELECT u, i, CASE WHEN u < 20 THEN 1e30 ELSE -1e30 END FROM generate_series(1, 40) u, generate_series(1, 20) i;
SELECT expect.error($$SELECT * FROM collab.tune('tu_few', n_factors => '{2,3,4}', verbose => false)$$);

-- What cannot be
SELECT a, expect.error(format('SELECT * FROM collab.tune(''ratings'', %s)', a))
  FROM regexp_split_to_table($bad$n_factors => '{}'|wd => '{}'|lr_max => '{}'|n_epochs => '{}'
n_factors => '{5,NULL}'|wd => '{NULL}'|lr_max => '{NULL,NULL}'|n_epochs => '{NULL}'
n_factors => '{5,0}'|n_factors => '{1025}'|wd => '{-0.1}'|wd => '{0.1,NaN}'|lr_max => '{0}'|lr_max => '{Infinity}'|n_epochs => '{0}'|n_epochs => '{100001}'
n_factors => '{{5},{6}}'|n_factors => '{5,6,5}'|wd => '{0.1,0.10}'|lr_max => '{0.01,10}', wd => '{0.1}'
n_trials => 0|n_trials => -1|n_trials => 2|n_factors => '{1,2,3}', wd => '{0,1}', n_trials => 7
folds => 0|folds => -1|folds => 1001|folds => NULL|valid_pct => 0|valid_pct => 1|valid_pct => 1, folds => 2|valid_pct => NULL|seed => NULL|verbose => NULL|options => NULL
options => '[]'|options => '{"n_factors": 5}'|options => '{"verbose": false}'|options => '{"seed": 1}'|options => '{"nonesuch": 1}'|options => '{"batch_size": 0}'|options => '{"keep_best": 1}'
user_column => NULL|item_column => 'nonesuch'$bad$, E'[|\n]') WITH ORDINALITY u(a, n) ORDER BY n;
SELECT expect.error($$SELECT * FROM collab.tune('ratings', n_factors => (SELECT array_agg(n) FROM generate_series(1, 1000) n), wd => (SELECT array_agg(n / 1000.0) FROM generate_series(1, 101) n))$$);
SELECT expect.error($$SELECT * FROM collab.tune(NULL)$$);
SELECT expect.error($$SELECT * FROM collab.tune(0)$$);
-- memory is computed before any trial, for as many as there are threads
SET collab.max_memory = '4MB';
SELECT expect.error($$SELECT * FROM collab.tune('ratings', n_factors => '{1024,1023}', verbose => false)$$) ~ '^54000: more memory is needed than collab.max_memory allows\nDETAIL: 5 MB are needed and 4 MB are allowed' AS refused;
SET collab.threads = 1;
SELECT count(*) FROM collab.tune('ratings', n_factors => '{1024,1023}', n_epochs => '{1}', verbose => false);
RESET collab.max_memory;
SET collab.threads = 2;
CREATE ROLE regress_tune;
GRANT USAGE ON SCHEMA expect TO regress_tune;
SET ROLE regress_tune;
SELECT expect.error($$SELECT * FROM collab.tune('ratings')$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA expect FROM regress_tune;
DROP ROLE regress_tune;

-- The neural model has no n_factors to vary.
SELECT n_factors, wd, valid_loss BETWEEN 0.1 AND 2 AS valid FROM collab.tune('ratings', wd => '{0.1,0.2}', n_epochs => '{1}', options => '{"use_nn": true, "layers": [8]}', folds => 2, verbose => false) ORDER BY wd;
SELECT expect.error($$SELECT * FROM collab.tune('ratings', n_factors => '{5}', options => '{"use_nn": true}')$$);

-- In a read-only transaction; in a subquery, more than once.
BEGIN TRANSACTION READ ONLY;
SELECT count(*) FROM collab.tune('ratings', n_factors => '{2,3}', verbose => false);
COMMIT;
SELECT s, rank, n_factors FROM generate_series(1, 2) s, LATERAL collab.tune('ratings', n_factors => '{2}', seed => s, verbose => false) ORDER BY s;
-- half of the rows may be all that is wanted
SELECT rank FROM collab.tune('ratings', n_factors => '{2,3}', verbose => false) LIMIT 1;

RESET collab.threads;
DROP VIEW tu_view;
DROP TABLE tu_grid, tu_turned, tu_results, tu_few;
DROP FUNCTION expect.trained, expect.tuned, expect.settings;
