--
-- collab.predict(): every prediction is what its formula says of the
-- embedding tables, wherever it is called; and collab.score(), that formula.
--
CREATE TABLE p_models (model text PRIMARY KEY, use_bias boolean, y_range real[], valid_pct double precision);
INSERT INTO p_models VALUES
	('p_bias', true, '{}', 0.93), ('p_given', true, '{0,5.5}', 0), ('p_norange', true, NULL, 0.93),
	('p_nobias', false, '{}', 0.93), ('p_dot', false, NULL, 0.93);
SELECT model, count(*)
  FROM p_models m, LATERAL collab.train(model, 'ratings', n_factors => 6, n_epochs => 8, lr_max => 0.05, batch_size => 16, wd => 0.01,
                                        valid_pct => m.valid_pct, y_range => m.y_range, use_bias => m.use_bias, verbose => false)
 GROUP BY model ORDER BY model;

-- All pairs, with two users and two items that nobody knows.
CREATE TABLE p_pairs AS SELECT u AS user_id, i AS item_id FROM generate_series(0, 61) u, generate_series(0, 41) i;

-- The ladder: a side that is unknown or was never trained has its mean bias and
-- no factors; both, or one of a model without biases, is the mean training rating.
CREATE FUNCTION expect.predictions(model regclass) RETURNS TABLE (user_id integer, item_id integer, expected double precision)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	h collab.model := expect.head(model);
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT p.user_id, p.item_id,'
		'       CASE WHEN u.user_id IS NULL AND i.item_id IS NULL OR NOT $1 AND (u.user_id IS NULL OR i.item_id IS NULL) THEN $2'
		'            ELSE expect.scaled(coalesce(expect.dot(u.factors, i.factors), 0) +'
		'                               coalesce(u.bias, (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM %1$s)) +'
		'                               coalesce(i.bias, (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM %2$s)), $3) END'
		'  FROM p_pairs p LEFT JOIN %1$s u ON u.user_id = p.user_id AND u.n_ratings > 0'
		'                 LEFT JOIN %2$s i ON i.item_id = p.item_id AND i.n_ratings > 0', h.users, h.items)
		USING h.use_bias, h.mean_rating, h.y_range;
END $$;
CREATE FUNCTION expect.prediction(model regclass, u integer, i integer) RETURNS double precision
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT p.expected FROM expect.predictions(model) p WHERE p.user_id = u AND p.item_id = i);
END $$;
CREATE TABLE p_expected AS SELECT model, p.* FROM p_models, expect.predictions(model::regclass) p;
CREATE TABLE p_kinds AS
	SELECT user_id, item_id,
	       CASE WHEN user_id NOT BETWEEN 1 AND 60 THEN 'unknown' WHEN u.n_ratings = 0 THEN 'untrained' ELSE 'known' END AS "user",
	       CASE WHEN item_id NOT BETWEEN 1 AND 40 THEN 'unknown' WHEN i.n_ratings = 0 THEN 'untrained' ELSE 'known' END AS item
	  FROM p_pairs LEFT JOIN p_bias_users u USING (user_id) LEFT JOIN p_bias_items i USING (item_id);
SELECT "user", item, count(*) > 0 AS some FROM p_kinds GROUP BY 1, 2 ORDER BY 1, 2;
SELECT model, count(*), count(*) FILTER (WHERE abs(collab.predict(model::regclass, user_id, item_id) - expected) > 1e-5) AS wrong
  FROM p_expected GROUP BY model ORDER BY model;
SELECT "user", item, count(*) FILTER (WHERE abs(collab.predict('p_bias', user_id, item_id) - expected) > 1e-5) AS wrong
  FROM p_expected JOIN p_kinds USING (user_id, item_id) WHERE model = 'p_bias' GROUP BY 1, 2 ORDER BY 1, 2;

-- Where nothing is known it is exactly the mean rating.
SELECT model, collab.predict(model::regclass, 0, 0) = mean_rating::real AS mean,
       collab.predict(model::regclass, 61, 41) = mean_rating::real AS mean,
       (collab.predict(model::regclass, 1, 0) = mean_rating::real) = NOT h.use_bias AS user_alone,
       (collab.predict(model::regclass, 0, 3) = mean_rating::real) = NOT h.use_bias AS item_alone
  FROM p_models m, LATERAL expect.head(model::regclass) h ORDER BY model;
-- With a new user, films are ranked by bias alone.
SELECT array_agg(item_id ORDER BY collab.predict('p_given', 0, item_id) DESC) =
       array_agg(item_id ORDER BY bias DESC) AS by_bias
  FROM p_given_items;

-- It has learned: better than the mean, and better than biases alone.
SELECT collab.mse(rating, collab.predict('p_given', user_id, item_id)) < 0.5 * var_pop(rating) AS better_than_mean,
       collab.mse(rating, collab.predict('p_given', user_id, item_id)) <
       collab.mse(rating, expect.scaled(u.bias + i.bias, '{0,5.5}')) AS better_than_biases
  FROM ratings JOIN p_given_users u USING (user_id) JOIN p_given_items i USING (item_id);
-- The training loss that the head shows is the error on the training ratings.
-- (with every rating trained on, and measured while the last, small steps were taken)
SELECT abs(collab.mse(r.rating, collab.predict('p_given', user_id, item_id)) / (SELECT train_loss[8] FROM p_given) - 1) < 0.1 AS about_the_last_loss
  FROM ratings r;

-- collab.score(): of trained rows the same to the bit, by a join of the tables.
CREATE FUNCTION expect.scores(model regclass) RETURNS TABLE (user_id integer, item_id integer, score real)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	h collab.model := expect.head(model);
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT u.user_id, i.item_id, collab.score(u.bias, u.factors, i.bias, i.factors, $1)'
		'  FROM %s u, %s i WHERE u.n_ratings > 0 AND i.n_ratings > 0', h.users, h.items)
		USING h.y_range;
END $$;
SELECT model, count(*) > 100 AS some, count(*) FILTER (WHERE float4send(s.score) <> float4send(collab.predict(model::regclass, s.user_id, s.item_id))) AS differ
  FROM p_models m, LATERAL expect.scores(model::regclass) s GROUP BY model ORDER BY model;
SELECT count(*), count(*) FILTER (WHERE collab.score(u.bias, u.factors, i.bias, i.factors, h.y_range) <> collab.predict('p_given', u.user_id, i.item_id)) AS differ
  FROM p_given_users u, p_given_items i, expect.head('p_given') h;
-- the best items for a user, without the model
SELECT array_agg(item_id ORDER BY s DESC, item_id) = array_agg(item_id ORDER BY collab.predict('p_given', 5, item_id) DESC, item_id) AS same_order
  FROM (SELECT i.item_id, collab.score(user_bias => u.bias, user_factors => u.factors, item_bias => i.bias, item_factors => i.factors, y_range => '{0,5.5}') AS s
          FROM p_given_users u, p_given_items i WHERE u.user_id = 5) s;
-- by hand: 1 * 3 + 2 * 4 + 0.5 + 0.25
SELECT collab.score(0.5, '{1,2}', 0.25, '{3,4}') AS by_hand, collab.score(0.5, '{1,2}', 0.25, '{3,4}', NULL) AS no_range, pg_typeof(collab.score(0, '{1}', 0, '{1}'));
SELECT collab.score(0.5, '{1}', -2.5, '{2}', '{1,5}') AS middle, round(collab.score(1, '{}', 0, '{}', '{0,1}')::numeric, 6) AS sigmoid, collab.score(1, '{}', 2, '{}') AS biases;
SELECT collab.score(0, '{100}', 0, '{100}', '{0.5,5.5}') AS high, collab.score(0, '{100}', 0, '{-100}', '{0.5,5.5}') AS low, collab.score(0, '{0}', 0, '{0}', '{-3e38,3e38}') AS wide;
SELECT collab.score(0, '[0:1]={1,2}', 0, '[5:6]={3,4}') AS bounds, collab.score(0, '{1}', 0, '{0}', '[3:4]={1,5}') AS bounds;
SELECT collab.score('NaN', '{1}', 0, '{1}', '{1,5}') AS nan, collab.score(0, '{Infinity}', 0, '{1}', '{1,5}') AS infinite, collab.score(0, '{Infinity}', 0, '{1}') AS infinite;
-- out of line
CREATE TABLE p_wide (factors real[]);
ALTER TABLE p_wide ALTER factors SET STORAGE EXTERNAL;
INSERT INTO p_wide SELECT array_fill(0.5::real, ARRAY[4000]);
SELECT collab.score(1, factors, 2, factors) FROM p_wide;
-- NULL is no score, but no range
SELECT collab.score(NULL, '{1}', 0, '{1}') AS "null", collab.score(0, NULL, 0, '{1}') AS "null", collab.score(0, '{1}', NULL, '{1}') AS "null", collab.score(0, '{1}', 0, NULL, '{1,5}') AS "null",
       collab.score(NULL, '{1}', 0, '{1,2}', '{5,1}') AS "null";
SELECT expect.error($$SELECT collab.score(0, '{1,2}', 0, '{1,2,3}')$$);
SELECT expect.error($$SELECT collab.score(0, '{1}', 0, '{}')$$);
SELECT expect.error($$SELECT collab.score(0, '{1,NULL}', 0, '{1,2}')$$);
SELECT expect.error($$SELECT collab.score(0, '{1,2}', 0, '{NULL,2}')$$);
SELECT expect.error($$SELECT collab.score(0, '{{1,2}}', 0, '{{1,2}}')$$);
SELECT r, expect.error(format('SELECT collab.score(0, %L, 0, %L, %L)', '{1}', '{1}', r)) AS error
  FROM unnest(ARRAY['{}', '{1}', '{1,2,3}', '{5,1}', '{1,1}', '{NULL,5}', '{1,NULL}', '{NaN,5}', '{1,NaN}', '{-Infinity,5}', '{1,Infinity}', '{{1,5}}', '{{1},{5}}']) r;
-- it is immutable
CREATE INDEX p_scored ON p_given_items (collab.score(0, '{1,0,0,0,0,0}', bias, factors));
DROP INDEX p_scored;

-- Within queries
SELECT pg_typeof(collab.predict('p_given', 1, 1));
SELECT count(*) = 20 AS top FROM (SELECT item_id FROM p_given_items ORDER BY collab.predict('p_given', 5, item_id) DESC LIMIT 20) s;
SELECT bool_and(p = collab.predict('p_given', 5, item_id)) AS lateral_same
  FROM p_given_items i, LATERAL (SELECT collab.predict('p_given', 5, i.item_id) AS p OFFSET 0) l;
SELECT count(*) = (SELECT count(*) FROM p_expected WHERE model = 'p_given' AND expected > 4) AS filter
  FROM p_pairs WHERE collab.predict('p_given', user_id, item_id) > 4;
SELECT (SELECT collab.predict('p_given', 5, 7)) = collab.predict('p_given', 5, 7) AS subquery;
SELECT collab.predict('p_given', 5, 7) = collab.predict('public.p_given'::regclass, 5, 7) AS qualified;
SELECT collab.predict('p_given'::regclass::oid, 5, 7) = collab.predict('p_given', 5, 7) AS by_oid;
SELECT collab.predict(model => 'p_given', item_id => 7, user_id => 5) = collab.predict('p_given', 5, 7) AS named;
SELECT count(DISTINCT p) = 5 AS five_models FROM (SELECT collab.predict(model::regclass, 5, 7) AS p FROM p_models) s;
-- models that take turns, row by row
SELECT count(*) FILTER (WHERE abs(p - expected) > 1e-5) AS wrong
  FROM (SELECT collab.predict(model::regclass, user_id, item_id) AS p, expected FROM p_expected ORDER BY user_id, item_id, model OFFSET 0) s;
-- a join with the catalogue, grouped
SELECT count(*), bool_and(mean BETWEEN 0 AND 5.5) AS in_range
  FROM (SELECT i.item_id, avg(collab.predict('p_given', u.user_id, i.item_id)) AS mean
          FROM p_given_users u CROSS JOIN p_given_items i GROUP BY i.item_id) s;
-- in a view, a window; in an index it cannot be, for it is not immutable
CREATE VIEW p_view AS SELECT user_id, item_id, collab.predict('p_given', user_id, item_id) AS predicted FROM p_pairs;
SELECT count(*) FILTER (WHERE abs(predicted - expected) > 1e-5) AS wrong FROM p_view JOIN p_expected USING (user_id, item_id) WHERE model = 'p_given';
SELECT max(best) = max(p) AS windowed FROM (SELECT collab.predict('p_given', user_id, item_id) AS p, first_value(collab.predict('p_given', user_id, item_id)) OVER (ORDER BY collab.predict('p_given', user_id, item_id) DESC) AS best FROM p_pairs) s;
SELECT rank() OVER (ORDER BY collab.predict('p_given', 5, item_id) DESC) = 1 AS first FROM p_given_items ORDER BY 1 DESC LIMIT 2;
CREATE INDEX ON p_pairs (collab.predict('p_given', user_id, item_id));
-- prepared
PREPARE p_prepared(integer, integer) AS SELECT abs(collab.predict('p_given', $1, $2) - expect.prediction('p_given', $1, $2)) < 1e-5 AS right;
EXECUTE p_prepared(5, 7);
EXECUTE p_prepared(0, 7);
EXECUTE p_prepared(NULL, 7);
-- NULL is no prediction
SELECT collab.predict('p_given', NULL, 7), collab.predict('p_given', 5, NULL), collab.predict(NULL, 5, 7),
       collab.predict('p_given', NULL::integer, NULL::integer), collab.predict(NULL::regclass, NULL, NULL);
SELECT count(*), count(collab.predict('p_given', nullif(user_id, 5), item_id)) = count(nullif(user_id, 5)) AS nulls FROM p_pairs;
SELECT collab.predict(CASE WHEN user_id = 5 THEN 'p_given'::regclass END, user_id, 7) IS NULL AS no_model FROM p_pairs WHERE item_id = 7 AND user_id IN (4, 5) ORDER BY user_id;
-- from SQL and PL/pgSQL functions
CREATE FUNCTION p_sql(u integer, i integer) RETURNS real LANGUAGE sql STABLE RETURN collab.predict('p_given', u, i);
CREATE FUNCTION p_pl(m regclass, u integer, i integer) RETURNS real LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN collab.predict(m, u, i); END $$;
SELECT bool_and(p_sql(user_id, item_id) = collab.predict('p_given', user_id, item_id) AND
                p_pl('p_given', user_id, item_id) = collab.predict('p_given', user_id, item_id)) AS same FROM p_pairs;
SELECT collab.predict('p_dot', 5, 7) = p_pl('p_dot', 5, 7) AS other_model;
-- a cursor goes on while its model is trained anew, in the same session
BEGIN;
DECLARE c CURSOR FOR SELECT abs(collab.predict('p_dot', user_id, item_id) - expected) < 1e-5 AS old FROM p_expected WHERE model = 'p_dot' ORDER BY user_id, item_id;
MOVE 1000 FROM c;
SELECT count(*) FROM collab.train('p_dot', 'ratings', n_factors => 3, n_epochs => 1, verbose => false, replace => true);
FETCH 2 FROM c;
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS new;
FETCH 2 FROM c;
ROLLBACK;
SELECT count(*) FILTER (WHERE abs(collab.predict('p_dot', user_id, item_id) - expected) > 1e-5) AS wrong FROM p_expected WHERE model = 'p_dot';

-- Rolled back, and trained again: the same generation number, another model.
BEGIN;
SELECT count(*) FROM collab.train('p_dot', 'ratings', n_factors => 3, n_epochs => 1, seed => 7, verbose => false, replace => true);
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS right;
ROLLBACK;
BEGIN;
SELECT count(*) FROM collab.train('p_dot', 'ratings', n_factors => 3, n_epochs => 1, seed => 8, verbose => false, replace => true);
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS right;
SAVEPOINT s;
SELECT count(*) FROM collab.train('p_dot', 'ratings', n_factors => 3, n_epochs => 1, seed => 9, verbose => false, replace => true);
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS right;
ROLLBACK TO s;
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS right;
SELECT count(*) FROM collab.train('p_dot', 'ratings', n_factors => 3, n_epochs => 1, seed => 10, verbose => false, replace => true);
SELECT abs(collab.predict('p_dot', 5, 7) - expect.prediction('p_dot', 5, 7)) < 1e-5 AS right;
ROLLBACK;
SELECT count(*) FILTER (WHERE abs(collab.predict('p_dot', user_id, item_id) - expected) > 1e-5) AS wrong FROM p_expected WHERE model = 'p_dot';

-- Renamed, or in another schema: nothing changes.
CREATE SCHEMA p_schema;
ALTER TABLE p_dot RENAME TO p_renamed;
ALTER TABLE p_dot_users RENAME TO p_people;
ALTER TABLE p_dot_items SET SCHEMA p_schema;
SELECT count(*) FILTER (WHERE abs(collab.predict('p_renamed', user_id, item_id) - expected) > 1e-5) AS wrong FROM p_expected WHERE model = 'p_dot';
SELECT collab.drop_model('p_renamed');
SELECT to_regclass('p_renamed'), to_regclass('p_people'), to_regclass('p_schema.p_dot_items');
-- columns and indexes of one's own do no harm, nor does their order
ALTER TABLE p_bias_items ADD COLUMN title text DEFAULT 'untitled', DROP COLUMN n_ratings;
ALTER TABLE p_bias_items ADD COLUMN n_ratings bigint;
UPDATE p_bias_items i SET n_ratings = CASE WHEN factors = '{0,0,0,0,0,0}' THEN 0 ELSE 1 END;
SELECT collab.touch('p_bias');
SELECT count(*) FILTER (WHERE abs(collab.predict('p_bias', user_id, item_id) - expected) > 1e-5) AS wrong FROM expect.predictions('p_bias');

-- A cache of no size, or of too small a one, changes nothing.
SET collab.cache_size = 0;
SELECT model, count(*) FILTER (WHERE abs(collab.predict(model::regclass, user_id, item_id) - expected) > 1e-5) AS wrong
  FROM p_expected WHERE model IN ('p_given', 'p_nobias', 'p_norange') GROUP BY model ORDER BY model;
SET collab.cache_size = '20kB';
SELECT model, count(*) FILTER (WHERE abs(collab.predict(model::regclass, user_id, item_id) - expected) > 1e-5) AS wrong
  FROM p_expected WHERE model IN ('p_given', 'p_nobias', 'p_norange') GROUP BY model ORDER BY model;
RESET collab.cache_size;

-- In parallel workers, and compiled: the same.
ANALYZE p_expected;
ALTER TABLE p_expected SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
-- (force_parallel_mode, in later versions debug_parallel_query)
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
EXPLAIN (COSTS OFF) SELECT count(*) FROM p_expected WHERE model = 'p_given' AND abs(collab.predict('p_given', user_id, item_id) - expected) > 1e-5;
SELECT count(*) FROM p_expected WHERE model = 'p_given' AND abs(collab.predict('p_given', user_id, item_id) - expected) > 1e-5;
SELECT count(*) FROM p_expected WHERE model = 'p_given' AND abs(collab.predict('p_given', user_id, item_id) - expected) < 1e-5;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT bool_and(abs(collab.predict('p_given', user_id, item_id) - expected) < 1e-5) FROM p_expected WHERE model = 'p_given';
SELECT abs(collab.predict('p_given', 5, 7) - expected) < 1e-5 AS right FROM p_expected WHERE model = 'p_given' AND user_id = 5 AND item_id = 7;
-- what the transaction itself trained, seen by workers
BEGIN;
SELECT count(*) FROM collab.train('p_nobias', 'ratings', n_factors => 3, n_epochs => 1, verbose => false, replace => true);
SELECT abs(collab.predict('p_nobias', 5, 7) - expect.prediction('p_nobias', 5, 7)) < 1e-5 AS new;
ROLLBACK;
SELECT bool_and(abs(collab.predict('p_nobias', user_id, item_id) - expected) < 1e-5) AS old FROM p_expected WHERE model = 'p_nobias';
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
SELECT count(*) = 1 AS reset FROM (SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')) s;
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
SELECT count(*) FILTER (WHERE abs(collab.predict(model::regclass, user_id, item_id) - expected) > 1e-5) AS wrong FROM p_expected WHERE model IN ('p_given', 'p_nobias', 'p_norange');
SELECT count(*) FILTER (WHERE abs(collab.predict('p_given', user_id::text, item_id::text) - expected) > 1e-5) AS wrong FROM p_expected WHERE model = 'p_given';
RESET jit;
RESET jit_above_cost;
RESET jit_inline_above_cost;
RESET jit_optimize_above_cost;

DROP VIEW p_view;
DROP TABLE p_wide;
DROP FUNCTION p_sql;
SELECT count(collab.drop_model(model)) FROM collab.models;
DROP SCHEMA p_schema;
