--
-- What can hold the ratings: any relation, any numeric type.
--
SELECT count(*) FROM collab.train('s_table', 'ratings', n_factors => 4, n_epochs => 1, verbose => false);

-- Each source has the same rows, so each must give the same embeddings.
CREATE VIEW s_view AS SELECT user_id, item_id, rating FROM ratings;
CREATE MATERIALIZED VIEW s_matview AS SELECT user_id, item_id, rating FROM ratings;
CREATE TABLE s_partitioned (item_id integer, rating real, user_id integer) PARTITION BY RANGE (user_id);
CREATE TABLE s_part1 PARTITION OF s_partitioned FOR VALUES FROM (MINVALUE) TO (20);
CREATE TABLE s_part2 (rating real, user_id integer, item_id integer);	-- columns in another order
ALTER TABLE s_partitioned ATTACH PARTITION s_part2 FOR VALUES FROM (20) TO (40);
CREATE TABLE s_part3 PARTITION OF s_partitioned DEFAULT PARTITION BY HASH (item_id);
CREATE TABLE s_part3_0 PARTITION OF s_part3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE s_part3_1 PARTITION OF s_part3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO s_partitioned (user_id, item_id, rating) SELECT user_id, item_id, rating FROM ratings;
CREATE TABLE s_parent AS SELECT * FROM ratings WHERE user_id <= 30;
CREATE TABLE s_child () INHERITS (s_parent);
INSERT INTO s_child SELECT * FROM ratings WHERE user_id > 30;
CREATE TEMPORARY TABLE s_temporary AS SELECT * FROM ratings;
CREATE UNLOGGED TABLE s_unlogged AS SELECT * FROM ratings;
CREATE TABLE s_dropped (junk integer, user_id integer, more text, item_id integer, rating real);
ALTER TABLE s_dropped DROP COLUMN junk, DROP COLUMN more;
INSERT INTO s_dropped SELECT * FROM ratings;
CREATE TABLE s_generated (user_id integer, item_id integer, twice real, rating real GENERATED ALWAYS AS (twice / 2) STORED);
INSERT INTO s_generated SELECT user_id, item_id, rating * 2 FROM ratings;
CREATE TABLE s_wide AS SELECT *, repeat('x', 3000) AS review FROM ratings;

-- A foreign table, where file_fdw is installed; else a table in its place.
SELECT count(*) > 0 AS have_file_fdw FROM pg_available_extensions WHERE name = 'file_fdw' \gset
\if :have_file_fdw
CREATE EXTENSION file_fdw;
CREATE SERVER s_server FOREIGN DATA WRAPPER file_fdw;
DO $$
BEGIN
	EXECUTE format('CREATE FOREIGN TABLE s_foreign (user_id integer, item_id integer, rating real) '
				   'SERVER s_server OPTIONS (program %L, format ''csv'')',
				   'printf "' || (SELECT string_agg(user_id || ',' || item_id || ',' || rating, '\n') FROM ratings) || '\n"');
END $$;
\else
CREATE TABLE s_foreign AS SELECT * FROM ratings;
\endif

SELECT name, count(*)
  FROM unnest('{s_view,s_matview,s_partitioned,s_parent,s_temporary,s_unlogged,s_dropped,s_generated,s_wide,s_foreign}'::text[]) AS s(name),
       LATERAL collab.train(name || '_model', name::regclass, n_factors => 4, n_epochs => 1, verbose => false)
 GROUP BY name ORDER BY name;
SELECT model, expect.same('s_table_users', (model::text || '_users')::regclass) AS users,
       expect.same('s_table_items', (model::text || '_items')::regclass) AS items
  FROM collab.models WHERE model_name <> 's_table' ORDER BY model::text COLLATE "C";
SELECT source FROM s_partitioned_model;

-- One partition, one child alone.
SELECT count(*) FROM collab.train('s_one', 's_part1', n_factors => 1, n_epochs => 1, verbose => false);
SELECT n_users, n_train + n_valid = (SELECT count(*) FROM ratings WHERE user_id < 20) AS all_there FROM s_one;

-- Types of ratings: the same numbers give the same embeddings.
CREATE DOMAIN s_stars AS integer CHECK (VALUE BETWEEN 1 AND 5);
CREATE DOMAIN s_score AS numeric(3, 1);
CREATE TABLE s_types AS
	SELECT user_id, item_id, rating::smallint AS int2, rating::integer AS int4, rating::bigint AS int8,
	       rating::real AS float4, rating::double precision AS float8, rating::numeric AS "numeric", rating::numeric(6,2) AS numeric2,
	       rating::integer::s_stars AS stars, rating::s_score AS score
	  FROM ratings;
SELECT name, count(*)
  FROM unnest('{int2,int4,int8,float4,float8,numeric,numeric2,stars,score}'::name[]) AS s(name),
       LATERAL collab.train('s_type_' || name, 's_types', rating_column => name, n_factors => 4, n_epochs => 1, verbose => false)
 GROUP BY name ORDER BY name;
SELECT model, expect.same('s_table_users', (model::text || '_users')::regclass) AS users,
       expect.same('s_table_items', (model::text || '_items')::regclass) AS items
  FROM collab.models WHERE model_name LIKE 's\_type\_%' ORDER BY model::text COLLATE "C";

-- Fractions, negative and large ratings.
CREATE VIEW s_fractions AS SELECT user_id, item_id, (rating - 3) / 3::numeric AS rating FROM ratings;
SELECT count(*) FROM collab.train('s_fraction', 's_fractions', n_factors => 4, n_epochs => 1, verbose => false);
SELECT round(y_range[1]::numeric, 3) AS low, round(y_range[2]::numeric, 3) AS high FROM s_fraction;
CREATE VIEW s_bigints AS SELECT user_id, item_id, rating::bigint * 1000000 AS rating FROM ratings;
SELECT count(*) FROM collab.train('s_bigint', 's_bigints', n_factors => 4, n_epochs => 1, verbose => false);
SELECT y_range FROM s_bigint;

-- One column in two roles: who rates whom.
CREATE VIEW s_people AS SELECT user_id AS who, item_id AS whom, rating FROM ratings WHERE user_id <> item_id;
SELECT count(*) FROM collab.train('s_person', 's_people', 'who', 'whom', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.train('s_self', 's_people', 'who', 'who', n_factors => 1, n_epochs => 1, verbose => false);

-- The source is read as the caller sees it at that moment.
BEGIN;
DELETE FROM s_wide WHERE user_id > 10;
SELECT count(*) FROM collab.train('s_wide_model', 's_wide', n_factors => 4, n_epochs => 1, verbose => false, replace => true);
SELECT count(*) FROM s_wide_model_users;
ROLLBACK;
SELECT count(*) FROM s_wide_model_users;

-- A source that fails while it is read.
CREATE VIEW s_broken AS SELECT user_id, item_id, 100 / (user_id - 30) AS rating FROM ratings;
SELECT count(*) FROM collab.train('s_broken_model', 's_broken', verbose => false);
SELECT to_regclass('s_broken_model');

-- A source that is itself made of predictions.
CREATE VIEW s_predictions AS
	SELECT user_id, item_id, collab.predict('s_table', user_id, item_id) AS rating FROM ratings;
SELECT count(*) FROM collab.train('s_echo', 's_predictions', n_factors => 2, n_epochs => 1, verbose => false);

-- The embeddings of a model are tables as any other, and so a source.
CREATE VIEW s_norms AS SELECT item_id AS user_id, f.n AS item_id, f.factor AS rating FROM s_table_items, unnest(factors) WITH ORDINALITY AS f(factor, n);
SELECT count(*) FROM collab.train('s_norm', 's_norms', n_factors => 2, n_epochs => 1, verbose => false);
SELECT count(*), min(item_id), max(item_id), pg_typeof(min(item_id)) FROM s_norm_items;

DROP VIEW s_norms, s_predictions;
SELECT count(collab.drop_model(model)) FROM collab.models;
SELECT count(*) FROM collab.models;
