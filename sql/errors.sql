--
-- What bad input gets: an error with its own SQLSTATE and a hint where there is
-- a way out; and nothing is made or changed.
--
\pset format unaligned
\pset footer off
SELECT count(*) FROM collab.train('e_model', 'ratings', n_factors => 3, n_epochs => 2, verbose => false);
CREATE TABLE e_source (user_id integer, item_id integer, rating real, note text, at date, good boolean, amount money, tags integer[]);
INSERT INTO e_source SELECT user_id, item_id, rating FROM ratings WHERE user_id < 10;
CREATE TABLE e_empty (user_id integer, item_id integer, rating real);
CREATE SEQUENCE e_sequence;
CREATE TYPE e_composite AS (user_id integer, item_id integer, rating real);
CREATE INDEX e_index ON e_source (user_id);
CREATE SCHEMA e_schema;
CREATE ROLE regress_collab_nobody;
CREATE TABLE e_relations AS SELECT oid, relname, relfilenode FROM pg_class;
CREATE TABLE e_head AS SELECT * FROM e_model;
CREATE TABLE e_users AS SELECT * FROM e_model_users;
CREATE TABLE e_items AS SELECT * FROM e_model_items;

-- The source
SELECT collab.train('e_new', 'nonesuch');
SELECT collab.train('e_new', 'e_schema.nonesuch');
SELECT collab.train('e_new', '');
SELECT expect.error($$SELECT collab.train('e_new', 0)$$);
SELECT expect.error($$SELECT collab.train('e_new', 4000000000)$$);
SELECT expect.error($$SELECT collab.train('e_new', NULL)$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_sequence')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_index')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_composite')$$);

-- Its columns
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', user_column => 'who')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', item_column => 'Item_ID')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', rating_column => 'stars')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', rating_column => '')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', rating_column => NULL)$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', user_column => NULL)$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', item_column => NULL)$$);
SELECT c, expect.error(format('SELECT collab.train(''e_new'', ''e_source'', rating_column => %L)', c)) FROM unnest('{note,at,good,amount,tags,ctid}'::text[]) c;
ALTER TABLE e_source ADD COLUMN gone integer;
ALTER TABLE e_source DROP COLUMN gone;
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', rating_column => 'gone')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'e_source', rating_column => '........pg.dropped.9........')$$);

-- What is in it
SELECT expect.error($$SELECT collab.train('e_new', 'e_empty')$$);
SELECT expect.error($$INSERT INTO e_empty VALUES (1, 1, NULL), (2, 2, NULL); SELECT collab.train('e_new', 'e_empty')$$);
SELECT expect.error($$INSERT INTO e_empty VALUES (1, 1, NULL); SELECT collab.train('e_new', 'e_empty')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (NULL, 7, 3); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (8, NULL, 3); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (NULL, NULL, 3); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (NULL, 7, NULL); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (8, 7, 'NaN'); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (8, 7, 'Infinity'); SELECT collab.train('e_new', 'e_source')$$);
SELECT expect.error($$INSERT INTO e_source VALUES (8, 7, '-Infinity'); SELECT collab.train('e_new', 'e_source')$$);
CREATE TEMPORARY VIEW e_numeric AS SELECT user_id, item_id, CASE user_id WHEN 3 THEN 'NaN'::numeric ELSE 1 END AS nan, CASE user_id WHEN 3 THEN 1e200 ELSE 1 END AS large, CASE user_id WHEN 3 THEN 1e200::float8 ELSE 1 END AS double, CASE user_id WHEN 3 THEN 'Infinity'::numeric ELSE 1 END AS infinite FROM e_source WHERE item_id = 7;
SELECT c, expect.error(format('SELECT collab.train(''e_new'', ''e_numeric'', rating_column => %L)', c)) FROM unnest('{nan,infinite,large,double}'::text[]) c;

-- Names
SELECT n, expect.error(format('SELECT collab.train(%L, ''ratings'')', n)) FROM unnest(ARRAY['', ' ', '.', 'a.', '.a', 'a.b.c', 'a.b.c.d', '"', '""', '"a"b', '"a', 'two words', 'nonesuch.model', 'pg_toast.model', 'pg_temp.model', 'pg_catalog.model', 'information_schema.']) n;
SELECT expect.error($$SELECT collab.train(NULL, 'ratings')$$);
SELECT expect.error(format('SELECT collab.train(%L, ''ratings'')', repeat('n', 200)));
SELECT expect.error($$SET LOCAL search_path = pg_temp; SELECT collab.train('e_new', 'ratings')$$);
SELECT expect.error($$SET LOCAL search_path = ''; SELECT collab.train('e_new', 'public.ratings')$$);
SELECT expect.error($$SET LOCAL search_path = nonesuch; SELECT collab.train('e_new', 'public.ratings')$$);

-- Names that are taken: by a model, a table of any kind, or one table alone
SELECT expect.error($$SELECT collab.train('e_model', 'ratings')$$);
SELECT expect.error($$SELECT collab.train('ratings', 'ratings')$$);
SELECT expect.error($$SELECT collab.train('ratings', 'ratings', replace => true)$$);
SELECT expect.error($$SELECT collab.train('e_index', 'ratings', replace => true)$$);
SELECT expect.error($$SELECT collab.train('e_model_users', 'ratings', replace => true)$$);
SELECT expect.error($$SELECT collab.train('e', 'ratings')$$);
SELECT expect.error($$CREATE VIEW e_new_items AS SELECT 1; SELECT collab.train('e_new', 'ratings')$$);
SELECT expect.error($$CREATE TYPE e_new_users AS ENUM (); SELECT collab.train('e_new', 'ratings', verbose => false)$$);

-- Options: what, and within which bounds
SELECT o, expect.error('SELECT collab.train(''e_new'', ''ratings'', ' || o || ')')
  FROM unnest(ARRAY['n_factors => 0', 'n_factors => -1', 'n_factors => 1025', 'n_epochs => 0', 'n_epochs => -1', 'n_epochs => 100001',
                    'lr_max => 0', 'lr_max => -0.1', 'lr_max => ''NaN''', 'lr_max => ''Infinity''', 'lr_max => 1001',
                    'wd => -0.1', 'wd => ''NaN''', 'wd => ''Infinity''', 'wd => 100, lr_max => 0.01', 'wd => 0.5, lr_max => 2',
                    'batch_size => 0', 'batch_size => -1', 'valid_pct => 1', 'valid_pct => -0.1', 'valid_pct => 80', 'valid_pct => ''NaN''', 'valid_pct => NULL', 'seed => NULL',
                    'y_range => ''{1}''', 'y_range => ''{1,2,3}''', 'y_range => ''{5,1}''', 'y_range => ''{1,1}''', 'y_range => ''{NULL,1}''', 'y_range => ''{NULL,NULL}''', 'y_range => ''{NaN,1}''',
                    'y_range => ''{0,Infinity}''', 'y_range => ''{-3e38,3e38}''', 'y_range => ''{{1,2}}''', 'y_range => ''{{1},{2}}''',
                    'verbose => NULL', 'solver => NULL', 'solver => ''als''', 'solver => ''SGD''', 'solver => ''sgd'', batch_size => 64', 'solver => ''sgd'', mom_low => 0.9', 'solver => ''sgd'', layers => ''{5}''', 'solver => ''sgd'', use_nn => true', 'keep_best => NULL', 'keep_best => true, valid_pct => 0', 'replace => NULL',
                    'pct_start => -0.1', 'pct_start => 1.1', 'pct_start => ''NaN''', 'div_start => 0', 'div_start => -1', 'div_start => ''Infinity''', 'div_final => 0', 'div_final => ''NaN''', 'mom_low => -0.1', 'mom_low => 1', 'mom_high => 1', 'mom_high => ''NaN''']) o;
-- they are checked before anything else, names before the source's contents
SELECT expect.error($$SELECT collab.train('', 'ratings', n_factors => 0)$$);
SELECT expect.error($$SELECT collab.train('nonesuch.model', 'e_empty')$$);

-- Limits
SET collab.max_memory = '1MB';
SELECT expect.error($$SELECT collab.train('e_new', 'ratings', n_factors => 1024, verbose => false)$$);
SELECT expect.error($$CALL collab.retrain('e_model', options => '{"n_factors": 1024}')$$);
SELECT expect.error($$SELECT collab.train('e_new', 'ratings', n_factors => 1, verbose => false); SELECT 1 / 0$$);
RESET collab.max_memory;
SELECT left(expect.error('SET collab.max_memory = 0'), 5), left(expect.error('SET collab.cache_size = -1'), 5);
SELECT left(expect.error('SET collab.threads = 0'), 5), left(expect.error('SET collab.threads = 257'), 5);
-- a training that blows up: the old generation stays
SELECT expect.error($$UPDATE e_model_users SET factors = array_fill(3e38::real, '{3}'); UPDATE e_model_items SET factors = array_fill(3e38::real, '{3}');
	CALL collab.retrain('e_model', warm_start => true, options => '{"y_range": null}')$$);
-- ratings whose gradients cannot be squared
CREATE TEMPORARY VIEW e_huge AS SELECT user_id, item_id, rating * 6e37::float8 AS rating FROM ratings;
SELECT expect.error($$SELECT collab.train('e_new', 'e_huge', verbose => false)$$);
SELECT expect.error($$CALL collab.retrain('e_model', ratings => 'e_huge')$$);
SELECT expect.error($$SELECT collab.train('e_model', 'e_huge', verbose => false, replace => true)$$);

-- Readers: what is no model
SELECT q, expect.error(q) FROM unnest(ARRAY[
	$$SELECT collab.predict('nonesuch', 1, 1)$$, $$SELECT collab.predict('e_source', 1, 1)$$, $$SELECT collab.predict('e_model_users', 1, 1)$$, $$SELECT collab.predict('e_sequence', 1, 1)$$,
	$$SELECT collab.predict('e_index', 1, 1)$$, $$SELECT collab.predict(0, 1, 1)$$, $$SELECT collab.predict('', 1, 1)$$, $$SELECT collab.predict('collab.models', 1, 1)$$, $$SELECT collab.predict('collab.model', 1, 1)$$,
	$$SELECT * FROM collab.movie_bias('e_source')$$, $$SELECT * FROM collab.cosine_similar('e_source', 1)$$, $$SELECT * FROM collab.pca_project('e_source')$$,
	$$SELECT * FROM collab.pca_explained('e_source')$$, $$SELECT * FROM collab.history('e_source')$$]) q;
SELECT expect.error($$SELECT count(collab.predict(m, 1, 1)) FROM unnest('{e_model,e_source}'::regclass[]) m$$);

-- Without the right to
REVOKE CREATE ON SCHEMA public FROM PUBLIC;		-- as it is since PostgreSQL 15
SET ROLE regress_collab_nobody;
SELECT collab.train('e_schema.e_new', 'public.ratings');
SELECT collab.train('pg_temp.e_new', 'public.ratings');
SELECT collab.predict('e_model', 1, 1);
SELECT collab.touch('e_model');
SELECT collab.drop_model('e_model');
CALL collab.retrain('e_model');
SELECT collab.train('e_model', 'public.ratings', replace => true);
SELECT * FROM collab.history('e_model');
SELECT model_name FROM collab.models;
RESET ROLE;
GRANT CREATE ON SCHEMA e_schema TO regress_collab_nobody;
GRANT USAGE ON SCHEMA e_schema TO regress_collab_nobody;
SET ROLE regress_collab_nobody;
SELECT collab.train('e_schema.e_new', 'public.ratings');
RESET ROLE;

-- Read-only
BEGIN READ ONLY;
SELECT collab.predict('e_model', 1, 1) > 0 AS answers;
SAVEPOINT s;
SELECT collab.train('e_new', 'ratings');
ROLLBACK TO s;
SELECT collab.touch('e_model');
ROLLBACK TO s;
SELECT collab.drop_model('e_model');
ROLLBACK TO s;
CALL collab.retrain('e_model');
ROLLBACK;

-- As a user reads them: text, detail, hint and position.
SELECT collab.train('e_model', 'ratings');
SELECT * FROM collab.train('e_new', 'ratings', y_range => ARRAY[5, 1]);
SELECT * FROM collab.train('e_new', 'ratings', 'user');
SELECT * FROM collab.train('e_new', 'ratings', n_factor => 10);
INSERT INTO e_source VALUES (NULL, 7, 3);
SELECT * FROM collab.train('e_new', 'e_source');
SELECT collab.predict('ratings', 1, 1);
SELECT collab.predict('e_model', 1.5, 1);
SELECT collab.predict('e_model', 1);
SELECT * FROM collab.movie_bias('e_model', 10, NULL::text);
\set VERBOSITY sqlstate
SELECT collab.train('e_model', 'ratings');
SELECT collab.predict('ratings', 1, 1);
CALL collab.retrain('e_source');
\set VERBOSITY default

-- Nothing came of it all.
SELECT c.relname AS made FROM pg_class c LEFT JOIN e_relations r USING (oid) WHERE r.oid IS NULL AND c.relname !~ '^(e_|pg_toast_)';
SELECT relname AS made FROM pg_class WHERE relname LIKE 'e\_new%';
SELECT r.relname AS changed FROM e_relations r LEFT JOIN pg_class c USING (oid) WHERE c.relfilenode IS DISTINCT FROM r.relfilenode AND r.relname !~ '^pg_';
SELECT expect.same('e_model', 'e_head') AS head, expect.same('e_model_users', 'e_users') AS users, expect.same('e_model_items', 'e_items') AS items;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object';
-- and the model still works
CALL collab.retrain('e_model', nowait => true);

SELECT collab.drop_model('e_model');
DROP SCHEMA e_schema;
DROP ROLE regress_collab_nobody;
