--
-- collab.lr_find()
--
SELECT count(*) FROM collab.train('l_model', 'ratings', n_factors => 3, n_epochs => 2, verbose => false);
CREATE TABLE l_head AS SELECT * FROM l_model;
CREATE TABLE l_users AS SELECT * FROM l_model_users;

-- The columns.
SELECT expect.types($$SELECT * FROM collab.lr_find('ratings')$$);

-- A row a step; rates rise in equal ratios; losses are smoothed as fastai does.
CREATE TABLE l_curve AS SELECT * FROM collab.lr_find('ratings');
SELECT count(*), min(step) AS first, max(step) AS last, min(lr) AS least, count(*) FILTER (WHERE suggested) AS suggested FROM l_curve;
SELECT bool_and(abs(lr / (1e-7 * 1e8 ^ ((step - 1) / 100.0)) - 1) < 1e-9) AS rates, bool_and(loss > 0) AS losses FROM l_curve;
WITH RECURSIVE means AS (
	SELECT 0 AS step, 0::float8 AS mean UNION ALL
	SELECT c.step, 0.98 * mean + 0.02 * c.loss FROM means m JOIN l_curve c ON c.step = m.step + 1)
SELECT bool_and(abs(smoothed - mean / (1 - 0.98 ^ step)) < 1e-9) AS smoothed FROM means JOIN l_curve USING (step);
-- it ends with the first that is above four times the best, or after num_it
SELECT count(*) FILTER (WHERE smoothed > 4 * best) AS above, bool_or(smoothed > 4 * best AND step < 300) AS early
  FROM (SELECT *, min(smoothed) OVER (ORDER BY step) AS best FROM collab.lr_find('ratings', y_range => NULL, end_lr => 1000, num_it => 300)) s;
-- where it suggests, the loss falls
SELECT c.lr BETWEEN 1e-4 AND 1 AS sensible, c.smoothed < (SELECT smoothed FROM l_curve WHERE step = 1) AS below_the_start,
       c.smoothed > (SELECT min(smoothed) FROM l_curve) AS above_the_best
  FROM l_curve c WHERE suggested;

-- The same again; what a schedule is made of does not count, all else does.
CREATE FUNCTION expect.curve(arguments text, source regclass DEFAULT 'ratings') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT md5(string_agg(concat_ws('' '', step, lr, loss, smoothed, suggested), '','' ORDER BY step)) FROM collab.lr_find(%L%s)', source, arguments) INTO result;
	RETURN result;
END $$;
CREATE TABLE l_turned AS SELECT * FROM ratings ORDER BY rating DESC, item_id, user_id DESC;
SELECT expect.curve('') = expect.curve('') AS same, expect.curve('', 'l_turned') = expect.curve('') AS any_order;
SELECT a, expect.curve(', ' || a) = expect.curve('') AS same
  FROM unnest('{n_epochs => 9,lr_max => 0.1,pct_start => 0.5,mom_low => 0,keep_best => true,verbose => false,n_factors => 49,wd => 0.2,batch_size => 65,valid_pct => 0.1,seed => 43,use_bias => false}'::text[]) WITH ORDINALITY u(a, n) ORDER BY n;
SELECT expect.curve(', y_range => NULL') = expect.curve('') AS without_range, expect.curve(', y_range => ''{0.5,5.5}''') = expect.curve('') AS derived;
SELECT count(*), round(max(lr)::numeric, 6) AS last FROM collab.lr_find('ratings', start_lr => 1e-3, end_lr => 1e-1, num_it => 10);
-- any relation, any keys, any names
CREATE VIEW l_view AS SELECT 'u' || user_id AS who, item_id::bigint AS what, rating::numeric AS stars FROM ratings;
SELECT count(*) FROM collab.lr_find('l_view', 'who', 'what', 'stars');

-- Little to learn from.  The curve comes all the same.
CREATE TABLE l_few (user_id integer, item_id integer, rating real);
INSERT INTO l_few VALUES (1, 1, 3);
SELECT count(*) > 0 AS curve, bool_and(loss >= 0) AS losses FROM collab.lr_find('l_few');
INSERT INTO l_few SELECT u, i, 3 FROM generate_series(2, 40) u, generate_series(1, 20) i;
SELECT count(*) > 0 AS curve, bool_and(loss >= 0) AS losses, count(*) FILTER (WHERE suggested) < 2 AS at_most_one FROM collab.lr_find('l_few');
-- too few steps for a valley
SELECT count(*), count(*) FILTER (WHERE suggested) AS suggested FROM collab.lr_find('ratings', num_it => 10);
-- a loss that is no number: the last row, and no suggestion
SELECT count(*) < 100 AS ended, count(*) FILTER (WHERE smoothed IS NULL OR smoothed > 1e6) AS diverged, count(*) FILTER (WHERE suggested) AS suggested
  FROM collab.lr_find('ratings', y_range => NULL, start_lr => 1e30, end_lr => 1e38);

-- What cannot be
SELECT a, expect.error(format('SELECT * FROM collab.lr_find(''ratings'', %s)', a))
  FROM unnest('{start_lr => NULL,end_lr => NULL,num_it => NULL,start_lr => 0,start_lr => -1,end_lr => 0,start_lr => ''NaN'',end_lr => ''NaN'',end_lr => ''Infinity'',end_lr => 1e-7,end_lr => 1e-8,start_lr => 10,num_it => 9,num_it => 0,num_it => -1,num_it => 100001,n_factors => 0,n_factors => 1025,wd => -1,seed => NULL,batch_size => 0,valid_pct => 1,user_column => NULL,rating_column => ''stars''}'::text[]) WITH ORDINALITY u(a, n) ORDER BY n;
SELECT expect.error($$SELECT * FROM collab.lr_find(NULL)$$);
SELECT expect.error($$SELECT * FROM collab.lr_find(0)$$);
TRUNCATE l_few;
SELECT expect.error($$SELECT * FROM collab.lr_find('l_few')$$);
INSERT INTO l_few VALUES (1, 1, 'NaN');
SELECT expect.error($$SELECT * FROM collab.lr_find('l_few')$$);
SET collab.max_memory = '1MB';
SELECT expect.error($$SELECT * FROM collab.lr_find('ratings', n_factors => 1024)$$) ~ '^54000: more memory is needed than collab.max_memory allows' AS refused;
RESET collab.max_memory;
CREATE ROLE regress_lr_find;
GRANT USAGE ON SCHEMA expect TO regress_lr_find;
SET ROLE regress_lr_find;
SELECT expect.error($$SELECT * FROM collab.lr_find('ratings')$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA expect FROM regress_lr_find;
DROP ROLE regress_lr_find;

-- It reads under the query's snapshot, also in a read-only transaction, and touches no model.
BEGIN TRANSACTION READ ONLY;
SELECT count(*) FROM collab.lr_find('ratings');
COMMIT;
SELECT count(*) AS models FROM collab.models WHERE model_name LIKE 'l\_%';
SELECT count(*) AS differ FROM (TABLE l_model EXCEPT TABLE l_head) d;
SELECT expect.same('l_users', 'l_model_users') AS untouched;

SELECT collab.drop_model('l_model');
DROP VIEW l_view;
DROP TABLE l_head, l_users, l_curve, l_turned, l_few;
DROP FUNCTION expect.curve;
