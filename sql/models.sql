--
-- collab.models, history(), touch(), drop_model()
--
CREATE SCHEMA m_schema;
SELECT count(*) FROM collab.train('m_one', 'ratings', n_factors => 3, n_epochs => 2, verbose => false);
SELECT count(*) FROM collab.train('m_schema.m_two', 'ratings', n_factors => 3, n_epochs => 3, valid_pct => 0, verbose => false);
COMMENT ON TABLE m_one IS 'what people like';

-- The list is read from the catalogue alone.
SELECT model, schema_name, model_name, owner = current_user AS own, comment FROM collab.models ORDER BY model_name;
SELECT pg_typeof(model), pg_typeof(schema_name) FROM collab.models LIMIT 1;
-- what looks like a model but is none
CREATE TABLE m_like (LIKE collab.model);
CREATE TABLE m_of OF collab.model;
CREATE TEMPORARY TABLE m_temporary OF collab.model;
CREATE VIEW m_view AS SELECT * FROM m_one;
SELECT model_name FROM collab.models ORDER BY 1;
DROP TABLE m_like;
DROP VIEW m_view;

-- History: an epoch a row, of all generations in order.
SELECT expect.types($$SELECT * FROM collab.history('m_one')$$);
CALL collab.retrain('m_one', options => '{"n_epochs": 3}');
SELECT generation, epoch, train_loss > 0 AS train, valid_loss > 0 AS valid, elapsed >= '0' AS elapsed, finished IS NOT NULL AS finished FROM collab.history('m_one');
SELECT generation, epoch, train_loss > 0 AS train, valid_loss, finished IS NOT NULL AS finished FROM collab.history('m_schema.m_two');
SELECT count(*) AS differ
  FROM collab.history('m_one') h JOIN m_one m USING (generation)
 WHERE h.train_loss <> m.train_loss[h.epoch] OR h.valid_loss <> m.valid_loss[h.epoch] OR h.finished <> m.finished
    OR abs(extract(epoch FROM h.elapsed)::float8 - m.elapsed[h.epoch]) > 1e-6;
SELECT m.model, h.generation, count(*) FROM collab.models m, LATERAL collab.history(m.model) h GROUP BY 1, 2 ORDER BY m.model::text COLLATE "C", 2;
SELECT count(*) FROM collab.history(NULL);
-- Rate and momentum where each epoch ends: half a cosine up to the peak, and one down.
SELECT count(*) FROM collab.train('m_cycle', 'ratings', n_factors => 1, n_epochs => 8, lr_max => 0.01, pct_start => 0.25, div_start => 20, div_final => 100, mom_low => 0.8, mom_high => 0.9, verbose => false);
SELECT epoch, round(lr::numeric, 6) AS lr, round(momentum::numeric, 6) AS momentum,
       round((CASE WHEN x < 0.25 THEN 0.0005 + (0.01 - 0.0005) * (1 - cos(pi() * x / 0.25)) / 2
                   ELSE 0.01 + (0.0001 - 0.01) * (1 - cos(pi() * (x - 0.25) / 0.75)) / 2 END)::numeric, 6) AS expected, kept
  FROM collab.history('m_cycle'), LATERAL (SELECT epoch / 8.0 AS x) s;
CALL collab.retrain('m_cycle', options => '{"n_epochs": 1, "lr_max": 0.02}');
SELECT generation, epoch, lr, momentum, kept FROM collab.history('m_cycle') WHERE generation = 2;
-- options that no training writes have no schedule
BEGIN;
UPDATE m_cycle SET options = '{}' WHERE generation = 2;
SELECT epoch, lr, momentum FROM collab.history('m_cycle') WHERE generation = 2;
DO $$
DECLARE
	o jsonb;
	h record;
BEGIN
	FOREACH o IN ARRAY ARRAY['[]', '3', 'null', '{"lr_max": "fast"}', '{"lr_max": null}', '{"lr_max": 1e400}', '{"lr_max": -1}', '{"mom_high": 1}', '{"more": 1}']::jsonb[] LOOP
		UPDATE m_cycle SET options = o WHERE generation = 2;
		SELECT * INTO h FROM collab.history('m_cycle') WHERE generation = 2;
		RAISE NOTICE '%: epoch %, lr %, momentum %', o, h.epoch, h.lr, h.momentum;
	END LOOP;
	UPDATE m_cycle SET options = '{}', n_epochs = NULL WHERE generation = 2;
	SELECT * INTO h FROM collab.history('m_cycle') WHERE generation = 2;
	RAISE NOTICE 'no n_epochs: epoch %, lr %, momentum %', h.epoch, h.lr, h.momentum;
END $$;
ROLLBACK;
SELECT collab.drop_model('m_cycle');
-- a training that runs, or died, shows its epochs without an end
INSERT INTO m_one (generation, started, pid, self, train_loss, elapsed) VALUES (3, now(), 1, 'm_one', '{0.5,0.4}', '{0.1}');
SELECT generation, epoch, lr, momentum, train_loss, valid_loss, elapsed, finished, kept FROM collab.history('m_one') WHERE generation = 3;
SELECT generation FROM expect.head('m_one');
SELECT collab.predict('m_one', 1, 1) IS NOT NULL AS answers;
-- old rows may go, the current one is what counts
DELETE FROM m_one WHERE generation < 2;
SELECT collab.predict('m_one', 1, 1) IS NOT NULL AS answers;
CALL collab.retrain('m_one');
SELECT generation, finished IS NOT NULL AS finished FROM m_one ORDER BY 1;

-- Embeddings that were edited by hand are seen by whoever reads them for the first
-- time, while others go on with what they have; touch() makes all sessions read them
-- anew, and brings the head up to date.
SELECT collab.predict('m_one', 1, 1) AS before \gset
SELECT stamp AS stamp_before, generation AS generation_before FROM expect.head('m_one') \gset
UPDATE m_one_items SET bias = bias + 1 WHERE item_id = 1;
SELECT collab.touch('m_one');
SELECT collab.predict('m_one', 1, 1) > :'before'::real + 0.1 AS seen;
SELECT stamp <> :stamp_before AS other_stamp, generation = :generation_before AS same_generation,
       abs(mean_item_bias - (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM m_one_items)) < 1e-9 AS mean
  FROM expect.head('m_one');
-- rows that came and went
DELETE FROM m_one_items WHERE item_id = 2;
INSERT INTO m_one_items SELECT 1000, bias, factors, n_ratings FROM m_one_items WHERE item_id = 1;
SELECT collab.touch('m_one');
SELECT collab.predict('m_one', 1, 1000) = collab.predict('m_one', 1, 1) AS came, collab.predict('m_one', 1, 2) = collab.predict('m_one', 1, 999) AS went;
SELECT n_items, n_users FROM expect.head('m_one');
-- rolled back
BEGIN;
UPDATE m_one_items SET bias = 0;
SELECT collab.touch('m_one');
SELECT max(bias) FROM collab.movie_bias('m_one', 100);
ROLLBACK;
SELECT max(bias) <> 0 AS back FROM collab.movie_bias('m_one', 100);
-- nothing left to weigh
UPDATE m_one_items SET n_ratings = 0;
SELECT collab.touch('m_one');
SELECT mean_item_bias FROM expect.head('m_one');
TRUNCATE m_one_items;
SELECT collab.touch('m_one');
SELECT collab.predict('m_one', 1, 1) = collab.predict('m_one', 1, 999) AS nothing_known, n_items FROM expect.head('m_one');
SELECT count(*) FROM collab.movie_bias('m_one');
SELECT count(*) FROM collab.cosine_similar('m_one', 1);
SELECT count(*) FROM collab.pca_project('m_one');
CALL collab.retrain('m_one');
SELECT count(*) FROM m_one_items;
SELECT collab.touch(NULL);
SELECT expect.error($$SELECT collab.touch('ratings')$$);
SELECT expect.error($$SELECT collab.touch('m_of')$$);

-- Embeddings that are no longer what a training writes
\pset format unaligned
SELECT d.edit, expect.error(d.edit || '; SELECT collab.touch(''m_one''); SELECT collab.predict(''m_one'', 1, 1); SELECT 1/0')
  FROM unnest(ARRAY['UPDATE m_one_items SET factors = ''{1,2}'' WHERE item_id = 3',
                    'UPDATE m_one_items SET factors = ''{1,2,NULL}'' WHERE item_id = 3',
                    'UPDATE m_one_items SET factors = ''{1,2,NaN}'' WHERE item_id = 3',
                    'UPDATE m_one_items SET factors = ''{{1,2,3}}'' WHERE item_id = 3',
                    'UPDATE m_one_items SET factors = ''{}'' WHERE item_id = 3',
                    'UPDATE m_one_items SET bias = ''Infinity'' WHERE item_id = 3',
                    'UPDATE m_one_users SET n_ratings = -1 WHERE user_id = 3',
                    'ALTER TABLE m_one_items ALTER COLUMN bias DROP NOT NULL; UPDATE m_one_items SET bias = NULL WHERE item_id = 3',
                    'ALTER TABLE m_one_users DROP CONSTRAINT m_one_users_pkey; INSERT INTO m_one_users SELECT * FROM m_one_users WHERE user_id = 3',
                    'ALTER TABLE m_one_items RENAME COLUMN factors TO vector',
                    'ALTER TABLE m_one_items ALTER COLUMN bias TYPE double precision',
                    'ALTER TABLE m_one_items ALTER COLUMN factors TYPE double precision[]',
                    'ALTER TABLE m_one_items DROP COLUMN item_id',
                    'ALTER TABLE m_one_users ALTER COLUMN user_id TYPE numeric',
                    'UPDATE m_one SET format = 2', 'UPDATE m_one SET format = NULL', 'UPDATE m_one SET n_factors = 0', 'UPDATE m_one SET n_factors = 4',
                    'UPDATE m_one SET y_range = ''{5,1}''', 'UPDATE m_one SET y_range = ''{1}''', 'UPDATE m_one SET mean_rating = ''NaN''',
                    'UPDATE m_one SET mean_rating = NULL', 'UPDATE m_one SET users = NULL', 'UPDATE m_one SET items = ''ratings''', 'UPDATE m_one SET items = 12345678',
                    'UPDATE m_one SET users = ''m_one_users_pkey''', 'UPDATE m_one SET finished = NULL', 'UPDATE m_one SET self = ''m_of''']) AS d(edit);
\pset format aligned
-- what does no harm
\pset format unaligned
SELECT d.edit, expect.error(d.edit || '; SELECT collab.touch(''m_one''); SELECT collab.predict(''m_one'', 1, 1); SELECT 1/0')
  FROM unnest(ARRAY['ALTER TABLE m_one_items ALTER COLUMN item_id TYPE bigint', 'ALTER TABLE m_one_items ADD COLUMN title text',
                    'ALTER TABLE m_one_items ALTER COLUMN item_id TYPE text USING ''item '' || item_id', 'UPDATE m_one SET y_range = NULL', 'UPDATE m_one SET options = NULL',
                    'UPDATE m_one SET source = NULL', 'CREATE TABLE m_child () INHERITS (m_one_items)', 'ALTER TABLE m_one DROP CONSTRAINT m_one_pkey',
                    'ALTER TABLE m_one_items SET UNLOGGED', 'CLUSTER m_one_items USING m_one_items_pkey']) AS d(edit);
\pset format aligned
-- a stamp is needed, and only that
SELECT expect.error('UPDATE m_one SET stamp = NULL; SELECT collab.predict(''m_one'', 1, 1)');
-- the hint is a way out
UPDATE m_one SET stamp = NULL, mean_rating = 'NaN', y_range = '{}', n_factors = -1;
SELECT expect.error('SELECT collab.predict(''m_one'', 1, 1)');
SELECT count(*) FROM collab.train('m_one', 'ratings', n_factors => 3, n_epochs => 2, verbose => false, replace => true);
SELECT collab.predict('m_one', 1, 1) > 0 AS answers;
-- children are no part of the model
CREATE TABLE m_child () INHERITS (m_one_items);
INSERT INTO m_child SELECT 2000, 100, factors, n_ratings FROM m_one_items LIMIT 1;
SELECT collab.touch('m_one');
SELECT max(bias) < 50 AS without_children FROM collab.movie_bias('m_one', 100);
CALL collab.retrain('m_one');
SELECT count(*) FROM m_child;
DROP TABLE m_child;

-- Unfinished, copied, pointed elsewhere
SELECT expect.error($$SELECT collab.predict('m_of', 1, 1)$$);
SELECT expect.error($$CALL collab.retrain('m_of')$$);
SELECT expect.error($$SELECT * FROM collab.train('m_of', 'ratings')$$);
SELECT expect.error($$SELECT * FROM collab.train('m_of', 'ratings', replace => true)$$);
SELECT count(*) FROM collab.history('m_of');
INSERT INTO m_of SELECT * FROM m_one;
SELECT collab.predict('m_of', 1, 1) = collab.predict('m_one', 1, 1) AS a_copy_reads;
SELECT expect.error($$CALL collab.retrain('m_of')$$);
SELECT expect.error($$SELECT collab.touch('m_of')$$);
SELECT expect.error($$SELECT * FROM collab.train('m_of', 'ratings', replace => true)$$);
SELECT expect.error($$SELECT collab.drop_model('m_of')$$);
SELECT count(*) FROM m_one_users;
DROP TABLE m_of;
SELECT expect.error($$SELECT collab.predict('m_temporary', 1, 1)$$);
DROP TABLE m_temporary;

-- Tables that are gone: which, and what to do
SELECT expect.error($$DROP TABLE m_one_items; SELECT collab.predict('m_one', 1, 1)$$);
SELECT expect.error($$DROP TABLE m_one_users; SELECT collab.predict('m_one', 1, 1)$$);
SELECT expect.error($$DROP TABLE m_one_items; CALL collab.retrain('m_one')$$);
SELECT expect.error($$DROP TABLE m_one_users; SELECT collab.train('m_one', 'ratings', replace => true)$$);
SELECT expect.error($$DROP TABLE m_one_users; SELECT collab.touch('m_one')$$);
SELECT expect.error($$DROP TABLE m_one; SELECT collab.train('m_one', 'ratings')$$);
-- items need no users
SELECT expect.error($$DROP TABLE m_one_users; SELECT count(*) FROM collab.movie_bias('m_one'); SELECT 1 / 0$$);

-- Dropping
SELECT expect.error($$SELECT collab.drop_model('ratings')$$);
SELECT expect.error($$SELECT collab.drop_model('m_one_users')$$);
SELECT expect.error($$SELECT collab.drop_model('nonesuch')$$);
SELECT expect.error($$SELECT collab.drop_model(0)$$);
-- a head that was pointed at other tables does not take them along
BEGIN;
CREATE TABLE m_precious AS SELECT * FROM ratings;
UPDATE m_one SET items = 'm_precious';
SELECT collab.drop_model('m_one');
SELECT count(*) > 0 AS kept, to_regclass('m_one') FROM m_precious;
ROLLBACK;
-- but it finds tables that were renamed, or altered
BEGIN;
ALTER TABLE m_one_items RENAME COLUMN factors TO vector;
ALTER TABLE m_one_users RENAME TO m_people;
SELECT collab.drop_model('m_one');
SELECT to_regclass('m_one_items'), to_regclass('m_people');
ROLLBACK;
SELECT collab.drop_model(NULL);
CREATE VIEW m_dependent AS SELECT * FROM m_one_items;
SELECT collab.drop_model('m_one');
SELECT collab.predict('m_one', 1, 1) IS NOT NULL AS still_there;
DROP VIEW m_dependent;
BEGIN;
SELECT collab.drop_model('m_one');
SELECT to_regclass('m_one'), to_regclass('m_one_users'), to_regclass('m_one_items');
ROLLBACK;
SELECT collab.predict('m_one', 1, 1) IS NOT NULL AS back;
-- with one table missing, and with both
DROP TABLE m_one_users;
SELECT collab.drop_model('m_one');
SELECT to_regclass('m_one'), to_regclass('m_one_users'), to_regclass('m_one_items');
DROP TABLE m_schema.m_two_users, m_schema.m_two_items;
SELECT collab.drop_model('m_schema.m_two');
SELECT count(*) FROM collab.models;
-- the name is free again, and nothing of the old model is remembered
SELECT count(*) FROM collab.train('m_one', 'ratings', n_factors => 2, n_epochs => 1, verbose => false);
SELECT generation FROM m_one;
SELECT collab.drop_model('m_one');
DROP SCHEMA m_schema;
-- without models, the extension goes; with one it needs CASCADE
SELECT count(*) FROM collab.train('m_one', 'ratings', n_factors => 2, n_epochs => 1, verbose => false);
BEGIN;
DROP EXTENSION collab;
ROLLBACK;
BEGIN;
DROP SCHEMA expect CASCADE;
DROP EXTENSION collab CASCADE;
SELECT to_regclass('m_one'), to_regclass('m_one_users') IS NOT NULL AS users_stay;
ROLLBACK;
SELECT collab.drop_model('m_one');
BEGIN;
DROP SCHEMA expect CASCADE;
DROP EXTENSION collab;
SELECT to_regnamespace('collab');
-- and comes back, but not into a schema that somebody made
CREATE EXTENSION collab;
DROP EXTENSION collab;
CREATE SCHEMA collab;
\set SHOW_CONTEXT never
CREATE EXTENSION collab;
ROLLBACK;
