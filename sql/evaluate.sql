--
-- collab.evaluate()
--

-- Worked by hand.  Without factors and range a prediction is the sum of the
-- biases, which are set below (their means are 0 and 2.4); item 6 has no training rating, nobody knows user 9.
CREATE TABLE ev_source (user_id integer, item_id integer, rating real);
INSERT INTO ev_source VALUES (1, 1, 4), (2, 2, 3), (2, 3, 2), (3, 4, 2), (3, 5, 1), (3, 6, NULL);
SELECT count(*) FROM collab.train('ev_tiny', 'ev_source', n_factors => 1, n_epochs => 1, y_range => NULL, valid_pct => 0, verbose => false);
UPDATE ev_tiny_users SET bias = 0, factors = '{0}';
UPDATE ev_tiny_items SET bias = CASE item_id WHEN 1 THEN 4 WHEN 2 THEN 3 WHEN 5 THEN 1 ELSE 2 END, factors = '{0}';
SELECT collab.touch('ev_tiny');
CREATE TABLE ev_held (user_id integer, item_id integer, rating real);
INSERT INTO ev_held VALUES
	(1, 2, 4), (1, 4, 3), (1, 1, 5),	-- predicted 3, 2, 4; of item 1 there is a training rating
	(2, 1, 5), (2, 6, 5),				-- predicted 4, and 2.4 for the cold item
	(3, 1, 1),							-- predicted 4; not relevant, so user 3 is not ranked
	(9, 3, 4),							-- predicted 2
	(3, 2, NULL);						-- no rating
-- Squares of the errors 1 1 1, 1 6.76, 9, 4; the mean of the ratings is 27/7, the squares around it sum to 90/7.
-- User 1: candidates 2 3 4 5, relevant 2 and 4 at places 1 and 3.  User 2: candidates 1 4 5, relevant 1 at place 1 and 6,
-- which is no candidate.  User 9: candidates 1 2 3 4 5, relevant 3 at place 3.  First two: 2 3, 1 4, 1 2: four of five items.
SELECT metric, round(value::numeric, 6) AS value,
       round((ARRAY[7, 1, 1, 23.76/7, sqrt(23.76/7), 11.6/7, 1 - 23.76/(90/7.), 3, 1/3., 1/3., 2/3. / (1 + ln(2.)/ln(3.)), 1/3., 7/9., 4/5.])[number], 6) AS by_hand
  FROM collab.evaluate('ev_tiny', 'ev_held', k => 2, relevant_from => 3) WITH ORDINALITY e(metric, value, number);
-- all places: 1 3 of two, 1 of two, 3 of one
SELECT metric, round(value::numeric, 6) AS value,
       round((ARRAY[4/15., 5/6., (1.5/(1 + ln(2.)/ln(3.)) + 1/(1 + ln(2.)/ln(3.)) + 0.5)/3, (5/6. + 1/2. + 1/3.)/3, 7/9., 1])[number - 8], 6) AS by_hand
  FROM collab.evaluate('ev_tiny', 'ev_held', k => 5, relevant_from => 3) WITH ORDINALITY e(metric, value, number) WHERE number > 8;
-- relevant is what is at least the mean training rating, 2.4
SELECT (SELECT mean_rating FROM ev_tiny) AS mean_rating, count(*) AS same
  FROM collab.evaluate('ev_tiny', 'ev_held') a JOIN collab.evaluate('ev_tiny', 'ev_held', relevant_from => 2.4) b USING (metric, value);
-- a pair that is given twice counts twice in the errors, and once in the ranking
INSERT INTO ev_held VALUES (1, 2, 4), (1, 2, 1);
SELECT metric, round(value::numeric, 6) AS value, round((ARRAY[9, 1, 1, 28.76/9])[number], 6) AS by_hand
  FROM collab.evaluate('ev_tiny', 'ev_held', k => 2, relevant_from => 3) WITH ORDINALITY e(metric, value, number)
 WHERE number NOT BETWEEN 5 AND 7;

-- The same measures by plain SQL, from three views: ratings held out, pairs rated in training, items of the model.
CREATE FUNCTION expect.evaluate(model regclass, k integer, relevant_from double precision)
RETURNS TABLE (metric text, value double precision) LANGUAGE plpgsql SET jit = off AS $$
BEGIN
	RETURN QUERY EXECUTE format($sql$
		WITH held AS (
			SELECT user_id, item_id, rating::real::float8, collab.predict(%1$L, user_id, item_id)::float8 AS predicted
			  FROM ev_heldout WHERE rating IS NOT NULL),
		errors AS (
			SELECT count(*) AS n, avg((rating - predicted) ^ 2) AS mse, avg(abs(rating - predicted)) AS mae,
			       1 - sum((rating - predicted) ^ 2) / nullif(var_pop(rating) * count(*), 0) AS r2,
			       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM %1$s_users u WHERE u.user_id = held.user_id AND n_ratings > 0)) AS n_cold_users,
			       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM %1$s_items i WHERE i.item_id = held.item_id AND n_ratings > 0)) AS n_cold_items
			  FROM held),
		relevant AS (
			SELECT user_id, item_id FROM held WHERE rating >= $2 EXCEPT SELECT user_id, item_id FROM ev_seen),
		ranked_users AS (
			SELECT user_id, count(*) AS n_relevant FROM relevant GROUP BY user_id),
		trained AS (
			SELECT item_id FROM %1$s_items WHERE n_ratings > 0),
		ranking AS (
			SELECT u.user_id, i.item_id,
			       row_number() OVER (PARTITION BY u.user_id ORDER BY collab.predict(%1$L, u.user_id, i.item_id) DESC, i.item_id) AS place
			  FROM ranked_users u, trained i
			 WHERE (u.user_id, i.item_id) NOT IN (SELECT user_id, item_id FROM ev_seen)),
		hits AS (
			SELECT user_id, place::float8, row_number() OVER (PARTITION BY user_id ORDER BY place) AS hit
			  FROM ranking JOIN relevant USING (user_id, item_id)),
		scores AS (
			SELECT count(place) FILTER (WHERE place <= $1) / $1::float8 AS precision,
			       count(place) FILTER (WHERE place <= $1) / n_relevant::float8 AS recall,
			       coalesce(sum(1 / ln(1 + place)) FILTER (WHERE place <= $1), 0) /
			       (SELECT sum(1 / ln(1 + best::float8)) FROM generate_series(1, least($1, n_relevant)) best) AS ndcg,
			       coalesce(sum(hit / place) FILTER (WHERE place <= $1), 0) / least($1, n_relevant) AS map,
			       coalesce(1 / min(place), 0) AS mrr
			  FROM ranked_users LEFT JOIN hits USING (user_id) GROUP BY user_id, n_relevant),
		means AS (
			SELECT count(*) AS n, avg(precision) AS precision, avg(recall) AS recall, avg(ndcg) AS ndcg, avg(map) AS map, avg(mrr) AS mrr
			  FROM scores),
		coverage AS (
			SELECT count(DISTINCT item_id)::float8 / nullif((SELECT count(*) FROM trained), 0) AS coverage FROM ranking WHERE place <= $1)
		SELECT v.* FROM errors e, means m, coverage c, LATERAL (VALUES
			('n', e.n::float8), ('n_cold_users', e.n_cold_users), ('n_cold_items', e.n_cold_items), ('mse', e.mse), ('rmse', sqrt(e.mse)),
			('mae', e.mae), ('r2', e.r2), ('n_ranked_users', CASE WHEN e.n > 0 THEN m.n END), ('precision@' || $1, m.precision),
			('recall@' || $1, m.recall), ('ndcg@' || $1, m.ndcg), ('map@' || $1, m.map), ('mrr', m.mrr),
			('coverage', CASE WHEN m.n > 0 THEN c.coverage END)) v
		$sql$, model) USING k, relevant_from;
END $$;
-- Is it all as expected?  The number of measures that are not NULL, and those that differ.
CREATE FUNCTION expect.differences(model regclass, ratings regclass, k integer, relevant_from double precision)
RETURNS TABLE (measured bigint, ranked_users double precision, different text[]) LANGUAGE sql SET jit = off AS $$
	SELECT count(g.value), max(g.value) FILTER (WHERE metric = 'n_ranked_users'),
	       array_agg(metric || ': ' || coalesce(g.value::text, 'NULL') || ', not ' || coalesce(w.value::text, 'NULL') ORDER BY metric)
	       FILTER (WHERE g.metric IS NULL OR w.metric IS NULL OR (g.value IS NULL) <> (w.value IS NULL) OR abs(g.value - w.value) > 1e-9 * (1 + abs(w.value)))
	  FROM collab.evaluate(model, ratings, k => k, relevant_from => relevant_from) g
	  FULL JOIN expect.evaluate(model, k, coalesce(relevant_from, (SELECT mean_rating FROM expect.head(model)))) w USING (metric)
$$;
CREATE VIEW ev_heldout AS SELECT * FROM ev_held;
CREATE VIEW ev_seen AS SELECT user_id, item_id FROM ev_source WHERE rating IS NOT NULL;
SELECT expect.differences('ev_tiny', 'ev_held', k, relevant_from)
  FROM (VALUES (1, 3), (2, 3), (5, 3), (10, 3), (2147483647, 3), (3, -1e300), (3, 5), (3, NULL)) v(k, relevant_from);
-- nobody is ranked, and everybody
SELECT expect.differences('ev_tiny', 'ev_held', 3, 5.01), expect.differences('ev_tiny', 'ev_held', 3, 'Infinity'), expect.differences('ev_tiny', 'ev_held', 3, '-Infinity');
SELECT * FROM collab.evaluate('ev_tiny', 'ev_held', k => 3, relevant_from => 6) WHERE metric NOT IN ('mse', 'rmse', 'mae', 'r2');

-- The model's own validation part.  The split depends on the two ids alone, and
-- of a source in which each user and each item comes once, n_ratings tells it.
SET client_min_messages = warning;
SET jit = off;
CREATE TABLE ev_split (user_id integer, item_id integer, rating real, held boolean);
DO $$
BEGIN
	FOR d IN 0 .. 59 LOOP
		EXECUTE format('CREATE OR REPLACE VIEW ev_diagonal AS SELECT * FROM ratings WHERE (user_id + item_id) %% 60 = %s', d);
		PERFORM collab.train('ev_diagonals', 'ev_diagonal', n_factors => 1, n_epochs => 1, replace => true, verbose => false);
		INSERT INTO ev_split SELECT r.*, u.n_ratings = 0 FROM ev_diagonal r JOIN ev_diagonals_users u USING (user_id);
	END LOOP;
END $$;
RESET jit;
RESET client_min_messages;
SELECT count(*) FROM collab.train('ev_model', 'ratings', n_factors => 4, n_epochs => 3, verbose => false);
SELECT (SELECT n_valid FROM ev_model) = count(*) FILTER (WHERE held) AS as_many, count(*) = (SELECT count(*) FROM ratings WHERE rating IS NOT NULL) AS all FROM ev_split;
CREATE OR REPLACE VIEW ev_heldout AS SELECT user_id, item_id, rating FROM ev_split WHERE held;
CREATE OR REPLACE VIEW ev_seen AS SELECT user_id, item_id FROM ev_split WHERE NOT held;
SELECT expect.differences('ev_model', NULL, k, relevant_from)
  FROM (VALUES (10, NULL), (1, NULL), (3, 4), (40, 5), (100, -1e300), (7, 100)) v(k, relevant_from);
SELECT metric, value FROM collab.evaluate('ev_model') WHERE metric IN ('n', 'n_cold_users', 'n_cold_items', 'n_ranked_users');
-- which is what the training measured
SELECT value = (SELECT valid_loss[3] FROM ev_model) AS valid_loss FROM collab.evaluate('ev_model') WHERE metric = 'mse';
-- Given the source itself, all of it counts in the errors; relevant is still only what was not trained on.
CREATE OR REPLACE VIEW ev_heldout AS SELECT user_id, item_id, rating FROM ev_split;
SELECT expect.differences('ev_model', 'ratings', 10, NULL);
SELECT count(*) AS same FROM collab.evaluate('ev_model') a JOIN collab.evaluate('ev_model', 'ratings') b USING (metric, value);
-- Other seeds, parts and models
SELECT count(*) FROM collab.train('ev_dot', 'ratings', n_factors => 2, n_epochs => 2, use_bias => false, y_range => NULL, seed => -7, valid_pct => 0.5, verbose => false);
SELECT value = (SELECT valid_loss[2] FROM ev_dot) AS valid_loss FROM collab.evaluate('ev_dot') WHERE metric = 'mse';
SELECT count(*) FROM collab.train('ev_dot', 'ratings', n_factors => 2, n_epochs => 2, use_bias => false, y_range => NULL, verbose => false, replace => true);
CREATE OR REPLACE VIEW ev_heldout AS SELECT user_id, item_id, rating FROM ev_split WHERE held;
SELECT expect.differences('ev_dot', NULL, 10, NULL), expect.differences('ev_dot', NULL, 3, 4.5);
-- many cold rows
SELECT count(*) FROM collab.train('ev_cold', 'ratings', n_factors => 2, n_epochs => 1, valid_pct => 0.97, verbose => false);
SELECT metric, value > 0 AS some FROM collab.evaluate('ev_cold') WHERE metric LIKE 'n_cold%';
SELECT value = (SELECT valid_loss[1] FROM ev_cold) AS valid_loss FROM collab.evaluate('ev_cold') WHERE metric = 'mse';

-- Another relation: other columns and types, unknown users and items, repeated pairs, what was trained on.
CREATE TABLE ev_other AS
	SELECT (1 + n * 7 % 71)::smallint AS person, (1 + n * 11 % 45)::bigint AS film, CASE WHEN n % 17 > 0 THEN (1 + n * 13 % 9 / 2.0)::numeric END AS stars
	  FROM generate_series(1, 900) n;
CREATE OR REPLACE VIEW ev_heldout AS SELECT person::integer AS user_id, film::integer AS item_id, stars::real AS rating FROM ev_other;
CREATE VIEW ev_renamed AS SELECT person AS user_id, film AS item_id, stars AS rating FROM ev_other;
SELECT expect.differences('ev_model', 'ev_renamed', k, relevant_from) FROM (VALUES (10, NULL), (2, 4), (60, 0)) v(k, relevant_from);
SELECT expect.differences('ev_dot', 'ev_renamed', k, relevant_from) FROM (VALUES (10, NULL), (2, 4)) v(k, relevant_from);
SELECT count(*) AS same FROM collab.evaluate('ev_model', 'ev_renamed') a JOIN collab.evaluate('ev_model', 'ev_other', 'person', 'film', 'stars') b USING (metric, value);
-- in any order, the same bits
CREATE TABLE ev_turned AS SELECT * FROM ev_other ORDER BY stars, person DESC, film;
SELECT count(*) AS same FROM collab.evaluate('ev_model', 'ev_other', 'person', 'film', 'stars') a JOIN collab.evaluate('ev_model', 'ev_turned', 'person', 'film', 'stars') b USING (metric, value);

-- by any number of threads, too
SET collab.threads = 1;
CREATE TABLE ev_alone AS SELECT * FROM collab.evaluate('ev_model', 'ev_renamed');
SET collab.threads = 3;
SELECT count(*) AS same FROM collab.evaluate('ev_model', 'ev_renamed') JOIN ev_alone USING (metric, value);
RESET collab.threads;

-- A model keeps the names of its source's columns, for its own part and for another relation; what is given comes first.
SELECT count(*) FROM collab.train('ev_films', 'ev_other', 'person', 'film', 'stars', n_factors => 2, n_epochs => 1, verbose => false);
SELECT count(*) AS same FROM collab.evaluate('ev_films', 'ev_other') a JOIN collab.evaluate('ev_films', 'ev_renamed', 'user_id', 'item_id', 'rating') b USING (metric, value);
CREATE TABLE ev_before AS SELECT * FROM collab.evaluate('ev_films');
ALTER TABLE ev_other RENAME person TO who;
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_films')$$);
SELECT count(*) AS same FROM collab.evaluate('ev_films', user_column => 'who') JOIN ev_before USING (metric, value);
ALTER TABLE ev_other RENAME who TO person;

-- Ids of other families
CREATE TABLE ev_text AS SELECT 'u' || user_id AS user_id, 'i' || item_id AS item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('ev_texts', 'ev_text', n_factors => 2, n_epochs => 1, verbose => false);
SELECT value = (SELECT valid_loss[1] FROM ev_texts) AS valid_loss FROM collab.evaluate('ev_texts') WHERE metric = 'mse';
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_texts', 'ratings')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_text')$$);
CREATE VIEW ev_mixed AS SELECT user_id, item_id::text AS item_id, rating FROM ratings;
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_mixed')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_mixed', item_column => 'rating')$$);

-- No pairs at all
CREATE TABLE ev_empty (user_id integer, item_id integer, rating real);
SELECT * FROM collab.evaluate('ev_model', 'ev_empty', k => 3);
INSERT INTO ev_empty VALUES (1, 1, NULL);
SELECT * FROM collab.evaluate('ev_model', 'ev_empty') WHERE value IS NOT NULL;
-- one pair, and equal ratings: nothing to explain
INSERT INTO ev_empty VALUES (1, 1, 3.3);
SELECT * FROM collab.evaluate('ev_model', 'ev_empty') WHERE metric IN ('n', 'r2', 'n_ranked_users');
INSERT INTO ev_empty SELECT n, 1, 3.3 FROM generate_series(2, 10) n;
SELECT * FROM collab.evaluate('ev_model', 'ev_empty') WHERE metric IN ('n', 'r2');
-- too few ratings for a validation part: all of them train, and stay out of rankings
CREATE TABLE ev_one AS SELECT 1 AS user_id, item_id, 4 AS rating FROM generate_series(1, 1) item_id;
SELECT count(*) FROM collab.train('ev_single', 'ev_one', n_factors => 1, n_epochs => 1, valid_pct => 0.999999, verbose => false);
SELECT * FROM collab.evaluate('ev_single') WHERE value IS NOT NULL;
SELECT * FROM collab.evaluate('ev_single', 'ev_one') WHERE metric IN ('n', 'n_ranked_users');

-- What was rated in training is not known
UPDATE ev_tiny SET source = NULL;
SELECT collab.touch('ev_tiny');
CREATE OR REPLACE VIEW ev_heldout AS SELECT * FROM ev_held;
CREATE OR REPLACE VIEW ev_seen AS SELECT user_id, item_id FROM ev_source WHERE false;
SELECT expect.differences('ev_tiny', 'ev_held', 2, 3);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_tiny')$$);
UPDATE ev_tiny SET source = 'public.ev_source', user_column = NULL, item_column = NULL, rating_column = NULL;
SELECT collab.touch('ev_tiny');
DROP VIEW ev_seen;
DROP TABLE ev_source;
CREATE VIEW ev_seen AS SELECT user_id, item_id FROM ev_held WHERE false;
SELECT expect.differences('ev_tiny', 'ev_held', 2, 3);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_tiny')$$);

-- The caller's snapshot: rows of the same statement are not there yet, those of the transaction are.
BEGIN;
WITH added AS (INSERT INTO ev_empty SELECT n, 2, 3 FROM generate_series(1, 5) n RETURNING 1)
SELECT metric, value, (SELECT count(*) FROM added) AS added FROM collab.evaluate('ev_model', 'ev_empty') WHERE metric = 'n';
SELECT metric, value FROM collab.evaluate('ev_model', 'ev_empty') WHERE metric = 'n';
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) FROM collab.evaluate('ev_model');
COMMIT;
-- in a query with workers, and once a row
SELECT m, value = (SELECT value FROM collab.evaluate('ev_model') WHERE metric = 'mse') AS same
  FROM (VALUES ('ev_model'::regclass), ('ev_dot'), ('ev_model')) v(m), LATERAL collab.evaluate(m) WHERE metric = 'mse';

-- What cannot be
SELECT count(*) FROM collab.evaluate(NULL);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', k => 0)$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', k => -1)$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', k => NULL)$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', relevant_from => 'NaN')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ratings')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ratings_pkey')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ratings', rating_column => 'stars')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_text', rating_column => 'item_id')$$);
SELECT count(*) FROM collab.train('ev_whole', 'ratings', n_factors => 1, n_epochs => 1, valid_pct => 0, verbose => false);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_whole')$$);
SELECT metric, value FROM collab.evaluate('ev_whole', 'ratings') WHERE metric LIKE 'n%';
UPDATE ev_whole SET options = NULL;
SELECT collab.touch('ev_whole');
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_whole', 'ratings')$$);
INSERT INTO ev_empty VALUES (NULL, 1, 3);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_empty')$$);
UPDATE ev_empty SET user_id = 3, rating = 'NaN' WHERE user_id IS NULL;
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_empty')$$);
CREATE VIEW ev_large AS SELECT n % 1000 AS user_id, n / 1000 AS item_id, 3 AS rating FROM generate_series(1, 200000) n;
SET collab.max_memory = '1MB';
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_large')$$) ~ '^54000: more memory is needed than collab.max_memory allows' AS refused;
RESET collab.max_memory;
CREATE ROLE regress_evaluate;
GRANT USAGE ON SCHEMA expect TO regress_evaluate;
GRANT SELECT ON ev_model, ev_model_users, ev_model_items, ev_renamed TO regress_evaluate;
SET ROLE regress_evaluate;
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_model', 'ev_renamed')$$);
-- What is in a view that another role trained on does not run with the rights of whoever evaluates.
RESET ROLE;
CREATE SCHEMA ev_another AUTHORIZATION regress_evaluate;
SET ROLE regress_evaluate;
CREATE FUNCTION ev_another.is_mine(rating real) RETURNS real LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_evaluate' THEN
		RAISE 'running as %', current_user;
	END IF;
	RETURN rating;
END $$;
CREATE TABLE ev_another.ratings AS SELECT n % 10 AS user_id, n / 10 AS item_id, (n % 3)::real AS rating FROM generate_series(0, 99) n;
CREATE VIEW ev_another.source AS SELECT user_id, item_id, ev_another.is_mine(rating) AS rating FROM ev_another.ratings;
SELECT count(*) FROM collab.train('ev_another.model', 'ev_another.source', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.evaluate('ev_another.model');
RESET ROLE;
SELECT expect.error($$SELECT count(*) FROM collab.evaluate('ev_another.model')$$);
SELECT expect.error($$SELECT count(*) FROM collab.evaluate('ev_another.model', 'ev_another.ratings')$$);
SELECT expect.error($$SELECT * FROM collab.evaluate('ev_another.model', 'ev_another.source')$$);
DROP SCHEMA ev_another CASCADE;
REVOKE USAGE ON SCHEMA expect FROM regress_evaluate;
REVOKE SELECT ON ev_model, ev_model_users, ev_model_items, ev_renamed FROM regress_evaluate;
DROP ROLE regress_evaluate;

SELECT count(collab.drop_model(m)) FROM unnest('{ev_tiny,ev_diagonals,ev_model,ev_dot,ev_cold,ev_films,ev_texts,ev_single,ev_whole}'::regclass[]) m;
DROP VIEW ev_seen, ev_heldout, ev_diagonal, ev_renamed, ev_mixed, ev_large;
DROP TABLE ev_held, ev_split, ev_other, ev_turned, ev_before, ev_alone, ev_text, ev_empty, ev_one;
DROP FUNCTION expect.differences, expect.evaluate;
