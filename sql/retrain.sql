--
-- CALL collab.retrain()
--
CREATE TABLE r_ratings AS SELECT * FROM ratings;
SELECT count(*) FROM collab.train('r_model', 'r_ratings', n_factors => 4, n_epochs => 3, seed => 5, verbose => false);
CREATE TABLE r_before_users AS SELECT * FROM r_model_users;
CREATE TABLE r_before_items AS SELECT * FROM r_model_items;

-- The same ratings and options: the next generation is the same model.
CALL collab.retrain('r_model');
SELECT generation, finished IS NOT NULL AS finished, pid = pg_backend_pid() AS mine, self, source, users, items, n_factors, n_epochs, warm_start,
       cardinality(train_loss) AS losses, n_train, options->'seed' AS seed
  FROM r_model ORDER BY generation;
SELECT expect.same('r_model_users', 'r_before_users') AS users, expect.same('r_model_items', 'r_before_items') AS items;
SELECT count(DISTINCT stamp) FROM r_model;
SELECT started <= finished AS in_order, finished >= lag(finished) OVER (ORDER BY generation) AS later FROM r_model ORDER BY generation;

-- The source is read again: users and items join and leave, derived values follow.
DELETE FROM r_ratings WHERE user_id = 7 OR item_id = 9;
INSERT INTO r_ratings VALUES (101, 1, 9), (101, 2, 1), (102, 201, 4), (1, 201, 2);
CALL collab.retrain('r_model');
SELECT user_id FROM r_model_users WHERE user_id IN (7, 101, 102) ORDER BY 1;
SELECT item_id FROM r_model_items WHERE item_id IN (9, 201) ORDER BY 1;
SELECT count(*) AS users, sum(n_ratings) = (SELECT n_train FROM expect.head('r_model')) AS counted FROM r_model_users;
SELECT generation, n_users, n_items, n_train + n_valid AS ratings, y_range, options->'y_range' AS given FROM r_model ORDER BY generation;
SELECT collab.predict('r_model', 101, 1) <> collab.predict('r_model', 7, 1) AS joined,
       collab.predict('r_model', 7, 1) = collab.predict('r_model', 0, 1) AS left_it;

-- Options: those given override, for this training and the next ones.
CALL collab.retrain('r_model', options => '{"n_factors": 6, "n_epochs": 2, "lr_max": 0.01, "wd": 0.05, "seed": 8, "valid_pct": 0, "batch_size": 32, "y_range": [0, 10], "use_bias": false}');
SELECT options, n_factors, n_epochs, batch_size, use_bias, y_range, valid_loss FROM expect.head('r_model') \gx
SELECT DISTINCT cardinality(factors) FROM r_model_items;
CALL collab.retrain('r_model');
SELECT generation, n_factors, y_range FROM expect.head('r_model');
-- null is the option's NULL
CALL collab.retrain('r_model', options => '{"batch_size": null, "y_range": null}');
SELECT options->'batch_size' AS batch_given, batch_size, options->'y_range' AS range_given, y_range FROM expect.head('r_model');
CALL collab.retrain('r_model', options => '{"y_range": []}');
SELECT options->'y_range' AS range_given, y_range FROM expect.head('r_model');
CALL collab.retrain('r_model', options => '{}');
-- verbose is an option as the others
CALL collab.retrain('r_model', options => '{"verbose": false, "div_start": 10, "div_final": 1000, "pct_start": 0.5, "mom_low": 0.8, "mom_high": 0.9}');
SELECT jsonb_object_agg(key, value) FROM expect.head('r_model'), jsonb_each(options) WHERE key ~ '^(div|pct|mom|verb)';

-- Options that are refused, before anything is done.
SELECT max(generation) AS generation, count(*) FROM r_model;
\pset format unaligned
SELECT o, expect.error(format('CALL collab.retrain(''r_model'', options => %L)', o))
  FROM unnest(ARRAY['{"n_factor": 4}', '{"n_factors": "4"}', '{"n_factors": [4]}', '{"n_factors": {"a": 1}}', '{"n_factors": true}',
                    '{"n_factors": 0}', '{"n_factors": 1025}', '{"n_factors": 99999999999}', '{"n_factors": 4.4}', '{"n_epochs": 0}', '{"lr_max": -1}', '{"lr_max": "fast"}',
                    '{"wd": -0.1}', '{"valid_pct": 1}', '{"batch_size": 0}', '{"batch_size": -5}', '{"use_bias": 1}', '{"solver": null}', '{"solver": 3}', '{"solver": "als"}', '{"verbose": "no"}',
                    '{"y_range": [1]}', '{"y_range": [5, 1]}', '{"y_range": [1, 2, 3]}', '{"y_range": ["1", "2"]}', '{"y_range": [1, null]}', '{"y_range": [[1, 2]]}',
                    '{"y_range": 5}', '{"y_range": {}}', '{"y_range": [1, 1e300]}', '{"seed": 1e30}', '{"mom_low": 1}', '{"": 1}', '{"replace": true}', '{"ratings": "ratings"}',
                    '[]', '[1]', '5', '"n_factors"', 'null']) o;
\pset format aligned
SELECT expect.error($$CALL collab.retrain('r_model', options => NULL)$$);
SELECT expect.error($$CALL collab.retrain('r_model', NULL)$$);
SELECT expect.error($$CALL collab.retrain('r_model', nowait => NULL)$$);
SELECT expect.error($$CALL collab.retrain(NULL)$$);
SELECT expect.error($$CALL collab.retrain('r_ratings')$$);
SELECT expect.error($$CALL collab.retrain('r_model_users')$$);
SELECT expect.error($$CALL collab.retrain('nonesuch')$$);
SELECT expect.error($$CALL collab.retrain(0)$$);
CALL collab.retrain('r_model', options => '{"n_factor": 4}');
SELECT max(generation) AS generation, count(*) FROM r_model;

-- Another source, for this training and the next ones.
CREATE TABLE r_other AS SELECT * FROM ratings WHERE user_id <= 20;
CALL collab.retrain('r_model', ratings => 'r_other');
SELECT source, n_users FROM expect.head('r_model');
CALL collab.retrain('r_model');
SELECT source, n_users FROM expect.head('r_model');
CALL collab.retrain(model => 'r_model', ratings => 'r_ratings', options => '{"n_factors": 4, "use_bias": true}', warm_start => false, nowait => false);
SELECT source, n_users FROM expect.head('r_model');
-- its columns must be there
CREATE TABLE r_renamed AS SELECT user_id AS who, item_id, rating FROM ratings;
SELECT expect.error($$CALL collab.retrain('r_model', ratings => 'r_renamed')$$);
SELECT expect.error($$CALL collab.retrain('r_model', ratings => 'nonesuch')$$);
CREATE TABLE r_text AS SELECT user_id::text, item_id, rating FROM ratings;
SELECT expect.error($$CALL collab.retrain('r_model', ratings => 'r_text')$$);
-- a source renamed or dropped since is not found
ALTER TABLE r_ratings RENAME TO r_ratings_2;
SELECT expect.error($$CALL collab.retrain('r_model')$$);
CALL collab.retrain('r_model', ratings => 'r_ratings_2');
ALTER TABLE r_ratings_2 RENAME TO r_ratings;
CALL collab.retrain('r_model', ratings => 'r_ratings');

-- Warm start: from the present embeddings.  With hardly any learning, they stay.
CALL collab.retrain('r_model', options => '{"n_epochs": 10, "lr_max": 0.05, "wd": 0.01, "y_range": [0, 10]}');
CREATE TABLE r_present AS SELECT * FROM r_model_items;
INSERT INTO r_ratings VALUES (103, 202, 5), (103, 1, 5), (1, 202, 5), (2, 202, 5);
DELETE FROM r_ratings WHERE item_id = 11;
CALL collab.retrain('r_model', warm_start => true, options => '{"lr_max": 1e-9, "n_epochs": 1, "wd": 0}');
SELECT warm_start FROM expect.head('r_model');
SELECT count(*) > 30 AS many, bool_and((SELECT max(abs(x - y)) FROM unnest(m.factors, p.factors) f(x, y)) < 1e-6 AND abs(m.bias - p.bias) < 1e-6) AS kept
  FROM r_model_items m JOIN r_present p USING (item_id) WHERE p.n_ratings > 0 AND m.n_ratings > 0;
SELECT item_id FROM r_model_items WHERE item_id IN (11, 202);
-- the loss of its first epoch is about where the training before ended
SELECT (SELECT train_loss[1] FROM expect.head('r_model')) < 0.5 * (SELECT max(train_loss[1]) FROM r_model) AS began_low;
-- the same start and seed give the same bits
CREATE TABLE r_start_users AS SELECT * FROM r_model_users;
CREATE TABLE r_start_items AS SELECT * FROM r_model_items;
CALL collab.retrain('r_model', true, options => '{"lr_max": 0.01, "n_epochs": 2}');
CREATE TABLE r_first_users AS SELECT * FROM r_model_users;
UPDATE r_model_users m SET bias = s.bias, factors = s.factors, n_ratings = s.n_ratings FROM r_start_users s WHERE s.user_id = m.user_id;
UPDATE r_model_items m SET bias = s.bias, factors = s.factors, n_ratings = s.n_ratings FROM r_start_items s WHERE s.item_id = m.item_id;
CALL collab.retrain('r_model', true);
SELECT expect.same('r_model_users', 'r_first_users') AS same;
CALL collab.retrain('r_model', true);
SELECT expect.same('r_model_users', 'r_first_users') AS same;
-- the number of factors must agree
SELECT expect.error($$CALL collab.retrain('r_model', warm_start => true, options => '{"n_factors": 5}')$$);
SELECT cardinality(factors), n_factors FROM r_model_items, expect.head('r_model') LIMIT 1;
-- into other options than before: range and biases may change
CALL collab.retrain('r_model', true, options => '{"y_range": null, "use_bias": false}');
SELECT use_bias, y_range, count(*) FILTER (WHERE i.bias <> 0) AS biases FROM expect.head('r_model') h, r_model_items i GROUP BY 1, 2;
SELECT bool_and(abs(collab.predict('r_model', u.user_id, i.item_id) - expect.dot(u.factors, i.factors)) < 1e-5) AS factors_alone
  FROM r_model_users u, r_model_items i WHERE u.n_ratings > 0 AND i.n_ratings > 0;
CALL collab.retrain('r_model', options => '{"y_range": [], "use_bias": true}');

-- Where it is called from: alone, it commits each epoch; in a transaction it is a part of that.
BEGIN;
CALL collab.retrain('r_model', options => '{"seed": 77}');
SELECT options->'seed' AS seed, finished IS NOT NULL AS finished FROM expect.head('r_model');
ROLLBACK;
SELECT options->'seed' AS seed FROM expect.head('r_model');
BEGIN;
SAVEPOINT s;
CALL collab.retrain('r_model', options => '{"seed": 78}');
ROLLBACK TO s;
CALL collab.retrain('r_model', options => '{"seed": 79}');
CALL collab.retrain('r_model', options => '{"seed": 80}');
COMMIT;
SELECT options->'seed' AS seed FROM expect.head('r_model');
SELECT count(*) FILTER (WHERE finished IS NULL) AS unfinished, count(*) = max(generation) AS no_gaps FROM r_model;
-- DO, procedures, functions
DO $$ BEGIN CALL collab.retrain('r_model', options => '{"seed": 81}'); END $$;
SELECT options->'seed' AS seed FROM expect.head('r_model');
CREATE PROCEDURE r_all(pattern text) LANGUAGE plpgsql AS $$
DECLARE
	m regclass;
BEGIN
	FOR m IN SELECT model FROM collab.models WHERE model_name LIKE pattern ORDER BY 1 LOOP
		CALL collab.retrain(m, options => '{"seed": 82}');
		COMMIT;
	END LOOP;
END $$;
SELECT count(*) FROM collab.train('r_second', 'r_ratings', n_factors => 2, n_epochs => 2, verbose => false);
CALL r_all('r\_%');
SELECT options->'seed' AS seed FROM expect.head('r_model') UNION ALL SELECT options->'seed' FROM expect.head('r_second');
CREATE FUNCTION r_function() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	CALL collab.retrain('r_second', options => '{"seed": 83}');
	RETURN (SELECT generation FROM expect.head('r_second'));
END $$;
SELECT r_function();
-- an error that is caught leaves everything as it was
DO $$
BEGIN
	BEGIN
		CALL collab.retrain('r_second', options => '{"seed": 84}');
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE 'caught';
	END;
	RAISE NOTICE 'seed %', (SELECT options->'seed' FROM expect.head('r_second'));
	CALL collab.retrain('r_second', options => '{"seed": 85}');
	RAISE NOTICE 'seed %', (SELECT options->'seed' FROM expect.head('r_second'));
END $$;
-- no lock is left
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND classid = 'pg_class'::regclass;

-- A training that fails while it reads: the old generation stays and answers, the
-- next one cleans up after it.
CREATE TABLE r_p AS SELECT collab.predict('r_second', 1, 1) AS p;
TRUNCATE r_ratings;
CALL collab.retrain('r_second');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND classid = 'pg_class'::regclass;
SELECT collab.predict('r_second', 1, 1) = p AS same FROM r_p;
SELECT generation FROM expect.head('r_second');
INSERT INTO r_ratings SELECT user_id, item_id, CASE WHEN user_id > 50 THEN 'NaN' ELSE rating END FROM ratings;
CALL collab.retrain('r_second', nowait => true);
UPDATE r_ratings SET rating = 3 WHERE user_id > 50;
CALL collab.retrain('r_second', nowait => true);
SELECT count(*) FILTER (WHERE finished IS NULL) AS unfinished FROM r_second;
SELECT generation, finished IS NOT NULL AS finished FROM r_second ORDER BY 1;

-- Heads and tables as their owner left them
SELECT count(*) FROM collab.train('r_third', 'r_ratings', n_factors => 2, n_epochs => 2, verbose => false);
DELETE FROM r_third;
SELECT expect.error($$CALL collab.retrain('r_third')$$);
SELECT expect.error($$SELECT collab.predict('r_third', 1, 1)$$);
SELECT collab.drop_model('r_third');
-- both tables of embeddings went with it
SELECT to_regclass('r_third'), to_regclass('r_third_users'), to_regclass('r_third_items');
-- a unique index, a foreign key and a trigger of one's own see what changed
CREATE TABLE r_seen (op text, item_id integer);
CREATE FUNCTION r_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO r_seen VALUES (TG_OP, coalesce(NEW.item_id, OLD.item_id)); RETURN NULL; END $$;
CREATE TRIGGER r_trigger AFTER INSERT OR UPDATE OR DELETE ON r_second_items FOR EACH ROW EXECUTE FUNCTION r_trigger();
CREATE TABLE r_catalogue (item_id integer REFERENCES r_second_items ON DELETE CASCADE);
INSERT INTO r_catalogue SELECT item_id FROM r_second_items;
DELETE FROM r_ratings WHERE item_id = 12;
INSERT INTO r_ratings VALUES (1, 301, 4), (2, 301, 5);
CALL collab.retrain('r_second');
SELECT op, count(*) FROM r_seen GROUP BY 1 ORDER BY 1;
SELECT count(*), min(item_id) FILTER (WHERE item_id = 12) AS twelve FROM r_catalogue;
ALTER TABLE r_catalogue DROP CONSTRAINT r_catalogue_item_id_fkey, ADD FOREIGN KEY (item_id) REFERENCES r_second_items;
DELETE FROM r_ratings WHERE item_id = 13;
CALL collab.retrain('r_second');
SELECT item_id FROM r_second_items WHERE item_id = 13;
SELECT abs(collab.predict('r_second', 1, 13) - collab.predict('r_second', 1, 1000)) > 0 AS still_known;
DROP TABLE r_catalogue;

-- The stage, and how much of it is done, as others see them; within a
-- transaction there is nobody to tell
CREATE TABLE r_stages (n serial, stage text, progress real, finished boolean);
CREATE FUNCTION r_tell_stage() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO r_stages (stage, progress, finished) VALUES (NEW.stage, NEW.progress, NEW.finished IS NOT NULL); RETURN NULL; END $$;
CREATE TRIGGER r_tell_stage AFTER INSERT OR UPDATE ON r_second FOR EACH ROW EXECUTE FUNCTION r_tell_stage();
CALL collab.retrain('r_second', options => '{"n_epochs": 4}');
SELECT stage, progress, finished FROM r_stages ORDER BY n;
TRUNCATE r_stages;
BEGIN;
CALL collab.retrain('r_second', options => '{"n_epochs": 4}');
COMMIT;
SELECT stage, progress, finished FROM r_stages ORDER BY n;
DROP TABLE r_stages;

DROP FUNCTION r_function, r_trigger, r_tell_stage CASCADE;
DROP PROCEDURE r_all;
SELECT count(collab.drop_model(model)) FROM collab.models;
