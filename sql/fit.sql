--
-- collab.fit(): an aggregate that trains
--
\set quiet '{"verbose": false, "n_factors": 5, "n_epochs": 3}'

-- What it makes of rows is what train() makes of the table that holds them.
SELECT count(*) FROM collab.train('f_train', 'ratings', n_factors => 5, n_epochs => 3, verbose => false);
SELECT (collab.fit('f_fit', user_id, item_id, rating, :'quiet')).n_train > 0 AS trained FROM ratings;
SELECT expect.same('f_train_users', 'f_fit_users') AS users, expect.same('f_train_items', 'f_fit_items') AS items;
SELECT t.train_loss = f.train_loss AND t.valid_loss = f.valid_loss AS losses, t.options = f.options AS options,
       t.mean_rating = f.mean_rating AND t.mean_user_bias = f.mean_user_bias AND t.mean_item_bias = f.mean_item_bias AS means
  FROM f_train t, f_fit f;
-- whatever the order, and whatever numbers the ratings are
SELECT (collab.fit('f_order', user_id, item_id, rating::integer, :'quiet' ORDER BY random())).generation FROM ratings;
SELECT (collab.fit('f_numeric', user_id, item_id, rating::numeric, :'quiet')).generation FROM ratings;
SELECT (collab.fit('f_double', user_id, item_id, rating::double precision, :'quiet' ORDER BY item_id DESC)).generation FROM ratings;
SELECT (collab.fit('f_twice', user_id, item_id, rating, :'quiet')).n_train = 2 * n_train AS twice FROM f_train, LATERAL (SELECT * FROM ratings UNION ALL SELECT * FROM ratings) r GROUP BY n_train;
SELECT (collab.fit(DISTINCT 'f_distinct', r.user_id, r.item_id, r.rating, :'quiet')).generation FROM (SELECT * FROM ratings UNION ALL SELECT * FROM ratings) r;
SELECT n, expect.same('f_train_users', (n || '_users')::regclass) AS users, expect.same('f_train_items', (n || '_items')::regclass) AS items
  FROM unnest('{f_order,f_numeric,f_double,f_distinct}'::text[]) n;

-- What it returns is the row of the head.
SELECT collab.fit('f_row', user_id, item_id, rating, :'quiet') AS f_row FROM ratings \gset
SELECT h::text = :'f_row' AS the_head FROM f_row h;
SELECT expect.types($$SELECT collab.fit('f_type', user_id, item_id, rating) FROM ratings$$);
SELECT generation, started <= finished AS in_order, pid = pg_backend_pid() AS mine, self, source, user_column, item_column, rating_column,
       users, items, solver, n_factors, n_epochs, batch_size, use_bias, y_range, warm_start, n_users, n_items, format, best_epoch
  FROM f_row \gx
-- Taken apart it is still one training: equal calls are one.
SELECT (collab.fit('f_apart', user_id, item_id, rating, :'quiet')).*, 1 AS n FROM ratings \gset f_
SELECT generation, :'f_self' AS self, :f_n_users = n_users AS users FROM f_apart;
SELECT (collab.fit('f_same', user_id, item_id, rating, :'quiet')).n_items, (collab.fit('f_same', user_id, item_id, rating, :'quiet')).n_users FROM ratings;
SELECT generation FROM f_same;
-- As the default has it: the options of train(), and a notice an epoch.
\set VERBOSITY sqlstate
SELECT (collab.fit('f_default', user_id, item_id, rating)).n_factors FROM ratings;
\set VERBOSITY default
SELECT n_epochs, options = (SELECT options || '{"n_factors": null, "n_epochs": null, "verbose": true}' FROM f_train) AS options FROM f_default;

-- One model a group, of any query: joins, filters, expressions.
CREATE TABLE f_films AS SELECT i AS item_id, 'film ' || i AS title, (ARRAY['at', 'de', 'fr'])[1 + i % 3] AS country FROM generate_series(1, 40) i;
SELECT country, (m).generation, (m).self, (m).n_train + (m).n_valid = n AS all_ratings, (m).n_items
  FROM (SELECT country, count(*) AS n, collab.fit('f_in_' || country, r.user_id, f.title, r.rating, :'quiet') AS m
          FROM ratings r JOIN f_films f USING (item_id)
         WHERE r.user_id <= 50
         GROUP BY country) s
 ORDER BY country;
SELECT min(item_id COLLATE "C"), max(item_id COLLATE "C"), count(*) FROM f_in_at_items;
SELECT collab.predict('f_in_de', 1, 'film 1') IS NOT NULL AS predicts;
-- FILTER, HAVING, GROUPING SETS; a cursor, a prepared statement
SELECT (collab.fit('f_filter', user_id, item_id, rating, :'quiet') FILTER (WHERE user_id <= 20)).n_users FROM ratings;
SELECT 1 AS one FROM ratings HAVING (collab.fit('f_having', user_id, item_id, rating, :'quiet')).n_users < 0;
SELECT generation AS trained_all_the_same FROM f_having;
SELECT count(*), count(DISTINCT (m).generation), max((m).generation)
  FROM (SELECT collab.fit('f_sets', user_id, item_id, rating, '{"replace": true, "verbose": false}') AS m
          FROM ratings JOIN f_films USING (item_id) GROUP BY GROUPING SETS (country, user_id % 2)) s;
BEGIN;
DECLARE f_cursor CURSOR FOR SELECT (collab.fit('f_cursor_' || u, user_id, item_id, rating, :'quiet')).self FROM ratings, generate_series(1, 2) u GROUP BY u ORDER BY u;
FETCH f_cursor;
SELECT to_regclass('f_cursor_1') IS NOT NULL AS first, to_regclass('f_cursor_3') IS NOT NULL AS third;
COMMIT;
PREPARE f_prepared(text, jsonb) AS SELECT (collab.fit($1, user_id, item_id, rating, $2)).self FROM ratings;
EXECUTE f_prepared('f_prepared', :'quiet');
EXECUTE f_prepared('f_prepared2', '{"verbose": false, "n_epochs": 1}');
-- Groups are gathered one after the other, unless that costs a lot.
CREATE FUNCTION f_plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	EXECUTE 'EXPLAIN (COSTS off) ' || query INTO line;
	RETURN line;
END $$;
SELECT f_plan($$SELECT collab.fit('f_' || country, user_id, item_id, rating) FROM ratings JOIN f_films USING (item_id) GROUP BY country$$);
SET enable_sort = off;
SELECT f_plan($$SELECT collab.fit('f_' || user_id % 3, user_id, item_id, rating) FROM ratings GROUP BY user_id % 3$$);
SELECT string_agg((m).self::text, ' ' ORDER BY (m).self) FROM (SELECT collab.fit('f_hash_' || user_id % 3, user_id, item_id, rating, :'quiet') AS m FROM ratings GROUP BY user_id % 3) s;
SET work_mem = '1GB';
SELECT count(*), min((m).generation) FROM (SELECT collab.fit('f_hash_' || user_id % 3, user_id, item_id, rating, '{"verbose": false, "n_factors": 5, "n_epochs": 3, "replace": true}') AS m FROM ratings GROUP BY user_id % 3) s;
RESET enable_sort; RESET work_mem;
SELECT user_id % 3 AS part, (collab.fit('f_sort_' || user_id % 3, user_id, item_id, rating, :'quiet')).n_users FROM ratings GROUP BY 1 ORDER BY 1;
SELECT p, expect.same(('f_hash_' || p || '_users')::regclass, ('f_sort_' || p || '_users')::regclass) AS same FROM generate_series(0, 2) p;
-- EXPLAIN does not train, EXPLAIN ANALYZE does.
SELECT f_plan($$SELECT collab.fit('f_explain', user_id, item_id, rating) FROM ratings$$);
SELECT to_regclass('f_explain');
DO $$BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT collab.fit(''f_explain'', user_id, item_id, rating, ''{"verbose": false}'') FROM ratings'; END$$;
SELECT generation FROM f_explain;
-- Never in a worker.
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT f_plan($$SELECT collab.fit('f_parallel', user_id, item_id, rating) FROM ratings$$);
SELECT (collab.fit('f_parallel', user_id, item_id, rating, :'quiet')).n_users FROM ratings;
RESET max_parallel_workers_per_gather; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
DROP FUNCTION f_plan;
-- A column of a subquery that nobody reads is not computed, as with any aggregate.
SELECT count(*) FROM (SELECT collab.fit('f_unread', user_id, item_id, rating, :'quiet') FROM ratings) s;
SELECT to_regclass('f_unread');

-- Keys keep type, length and collation.
SELECT t, (m).n_train > 0 AS trained FROM (
	SELECT 'int2' AS t, collab.fit('f_int2', user_id::smallint, item_id::bigint, rating, :'quiet') AS m FROM ratings UNION ALL
	SELECT 'varchar', collab.fit('f_varchar', ('u' || user_id)::varchar(10), ('i' || item_id) COLLATE "C", rating, :'quiet') FROM ratings UNION ALL
	SELECT 'uuid', collab.fit('f_uuid', md5(user_id::text)::uuid, item_id, rating, :'quiet') FROM ratings) s;
SELECT attrelid::regclass, format_type(atttypid, atttypmod), nullif(attcollation, 'pg_catalog.default'::regcollation)::regcollation AS "collation"
  FROM pg_attribute
 WHERE attrelid IN ('f_int2_users'::regclass, 'f_int2_items'::regclass, 'f_varchar_users'::regclass, 'f_varchar_items'::regclass, 'f_uuid_users'::regclass) AND attnum = 1
 ORDER BY 1;
CREATE DOMAIN f_positive AS integer CHECK (VALUE > 0);
SELECT (collab.fit('f_domain', user_id::f_positive, item_id, rating, :'quiet')).n_users FROM ratings;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'f_domain_users'::regclass AND attnum = 1;
-- compressed and stored out of line
CREATE TABLE f_stored AS SELECT user_id, repeat('x', 2300) || item_id AS item_id, rating FROM ratings;
SELECT (collab.fit('f_long', user_id, item_id, rating, :'quiet')).n_items FROM f_stored;
DROP TABLE f_stored;

-- Nothing: no rows, no model.
SELECT collab.fit('f_none', user_id, item_id, rating) IS NULL AS nothing FROM ratings WHERE false;
SELECT collab.fit('f_none', user_id, item_id, rating) IS NULL AS nothing FROM ratings WHERE false GROUP BY user_id;
SELECT collab.fit('f_none', user_id, item_id, rating) FILTER (WHERE user_id < 0) IS NULL AS nothing FROM ratings;
SELECT collab.fit(NULL, NULL::integer, NULL::integer, NULL, NULL) IS NULL AS nothing FROM ratings WHERE false;
SELECT to_regclass('f_none');
-- What is not rated is left out, and counted.  What is hardly meant is told.
SELECT (collab.fit('f_nulls', user_id, item_id, CASE WHEN (user_id + item_id) % 10 > 0 THEN rating END, :'quiet')).n_items FROM ratings;
SELECT (collab.fit('f_one', 1, 1, 3, :'quiet')).n_train;
SELECT (collab.fit('f_equal', user_id, 1, 4, '{"verbose": false, "valid_pct": 0}')).y_range FROM ratings;
SELECT (collab.fit('f_outside', user_id, item_id, rating, '{"verbose": false, "y_range": [2, 4]}')).y_range FROM ratings;

-- Options: those of train() from n_factors on, and replace.
SELECT (collab.fit('f_options', user_id, item_id, rating, '{"n_factors": 2, "n_epochs": 4, "valid_pct": 0, "y_range": null, "batch_size": 32, "use_bias": false, "verbose": false, "replace": false}')).options FROM ratings;
SELECT n_factors, n_epochs, batch_size, use_bias, y_range, valid_loss FROM f_options;
SELECT (collab.fit('f_options', user_id, item_id, rating, '{"n_factors": 3, "verbose": false, "replace": true}')).generation FROM ratings WHERE user_id < 30;
SELECT generation, n_users, n_factors, options ? 'replace' AS replace FROM f_options ORDER BY 1;
SELECT count(*) FROM f_options_users;
SELECT (collab.fit('f_options2', user_id, item_id, rating, '{"verbose": false, "replace": true}')).generation FROM ratings;
-- the same options, written in different ways, from the table
SELECT (collab.fit('f_options3', user_id, item_id, rating, CASE WHEN user_id % 2 = 0 THEN '{"wd": 0.1, "verbose": false}' ELSE '{"verbose": false, "wd": 0.10}' END::jsonb)).options->'wd' AS wd FROM ratings;
\pset format unaligned
SELECT o, expect.error(format('SELECT collab.fit(''f_bad'', user_id, item_id, rating, %s) FROM ratings', o))
  FROM unnest(ARRAY['NULL', $$'{"n_factor": 3}'$$, $$'[]'$$, $$'3'$$, $$'"replace"'$$, $$'["replace"]'$$, $$'{"n_factors": 0}'$$, $$'{"n_factors": "3"}'$$, $$'{"replace": null}'$$, $$'{"replace": 1}'$$,
                    $$'{"model": "x"}'$$, $$'{"wd": 100, "lr_max": 1}'$$, $$jsonb_build_object('n_epochs', user_id % 2 + 1)$$, $$CASE WHEN user_id > 1 THEN '{}'::jsonb END$$]) o;

-- What bad input gets
SELECT q, expect.error(q) FROM unnest(ARRAY[
	-- the name
	$$SELECT collab.fit(NULL, user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('f_bad' || user_id, user_id, item_id, rating) FROM (SELECT * FROM ratings ORDER BY user_id) r$$,
	$$SELECT collab.fit(CASE WHEN user_id < 60 THEN 'f_bad' END, user_id, item_id, rating) FROM (SELECT * FROM ratings ORDER BY user_id) r$$,
	$$SELECT collab.fit('', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('a.b.c.d', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('nonesuch.f_bad', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('pg_temp.f_bad', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit(repeat('n', 58), user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('f_fit', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('ratings', user_id, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('ratings', user_id, item_id, rating, '{"replace": true}') FROM ratings$$,
	-- two groups of one name; two calls that are not equal
	$$SELECT collab.fit('f_bad', user_id, item_id, rating, '{"verbose": false}') FROM ratings GROUP BY user_id % 2$$,
	$$SELECT collab.fit('f_bad', user_id, item_id, rating, '{"verbose": false}'), collab.fit('f_bad', user_id, item_id, rating, '{"verbose": false, "seed": 1}') FROM ratings$$,
	-- ids
	$$SELECT collab.fit('f_bad', NULLIF(user_id, 7), item_id, rating) FROM (SELECT * FROM ratings ORDER BY user_id, item_id) r$$,
	$$SELECT collab.fit('f_bad', user_id, CASE item_id WHEN 7 THEN NULL ELSE 'i' || item_id END, rating) FROM (SELECT * FROM ratings ORDER BY user_id, item_id) r$$,
	$$SELECT collab.fit('f_bad', NULL::integer, NULL::integer, 3)$$,
	$$SELECT collab.fit('f_bad', '1', 1, 3)$$,
	$$SELECT collab.fit('f_bad', 1, NULL, 3)$$,
	$$SELECT collab.fit('f_bad', user_id::numeric, item_id, rating) FROM ratings$$,
	$$SELECT collab.fit('f_bad', user_id, ARRAY[item_id], rating) FROM ratings$$,
	$$SELECT collab.fit('f_bad', user_id, item_id::text::name, rating) FROM ratings$$,
	$$SELECT collab.fit('f_bad', user_id, repeat('x', 2601), rating) FROM ratings$$,
	-- ratings
	$$SELECT collab.fit('f_bad', user_id, item_id, CASE user_id WHEN 7 THEN 'NaN' ELSE rating END) FROM (SELECT * FROM ratings ORDER BY user_id, item_id) r$$,
	$$SELECT collab.fit('f_bad', user_id, 'i' || item_id, CASE user_id WHEN 7 THEN '-Infinity' ELSE rating END) FROM (SELECT * FROM ratings ORDER BY user_id, item_id) r$$,
	$$SELECT collab.fit('f_bad', 1, 2, 1e300)$$,
	$$SELECT collab.fit('f_bad', user_id, item_id, NULL) FROM ratings$$,
	$$SELECT collab.fit('f_bad', user_id, item_id, 'good') FROM ratings$$,
	-- no aggregate
	$$SELECT collab.fit('f_bad', user_id, item_id, rating) OVER () FROM ratings$$,
	$$SELECT collab.fit('f_bad', user_id, item_id, rating) OVER (ORDER BY user_id) FROM ratings$$,
	-- tables of other keys
	$$SELECT collab.fit('f_fit', 'u' || user_id, item_id, rating, '{"replace": true}') FROM ratings$$,
	$$SELECT collab.fit('f_int2', user_id + 100000, item_id, rating, '{"replace": true, "verbose": false}') FROM ratings$$]) q;
\pset format aligned
-- what cannot be called at all
SELECT left(expect.error(q), 5) FROM unnest(ARRAY[$$SELECT collab.fit('f_bad', user_id, item_id, current_date) FROM ratings$$, $$SELECT collab.fit('f_bad', user_id, item_id) FROM ratings$$,
	$$SELECT collab.fit_accum(NULL, 'f_bad', 1, 1, 3)$$, $$SELECT collab.fit_final(NULL)$$]) q;
-- as users read them: which of many models it was
SELECT collab.fit('f_bad_' || user_id % 3, user_id, item_id, CASE user_id WHEN 7 THEN 'NaN' ELSE rating END, :'quiet') FROM (SELECT * FROM ratings ORDER BY user_id, item_id) r GROUP BY user_id % 3;
SELECT collab.fit('f_bad', user_id, item_id, rating * 1e38, :'quiet') FROM ratings;
SELECT collab.fit('f_fit', user_id, item_id, rating) FROM ratings;

-- Memory: the sum of all groups that are there at once.
CREATE TABLE f_many AS SELECT u AS user_id, i AS item_id, (u + i) % 5 AS rating FROM generate_series(1, 300) u, generate_series(1, 200) i;
ANALYZE f_many;
SET collab.max_memory = '2MB';
SELECT expect.error($$SELECT collab.fit('f_bad', user_id, item_id, rating, '{"n_factors": 500, "verbose": false}') FROM f_many$$) ~ '^54000: more memory is needed than collab.max_memory allows' AS refused;
SELECT expect.error($$SELECT collab.fit('f_bad', u * 1000 + user_id, item_id, rating) FROM f_many, generate_series(1, 10) u$$) ~ '^54000: more memory is needed than collab.max_memory allows' AS refused;
SELECT p, (m).n_users FROM (SELECT user_id % 4 AS p, collab.fit('f_part_' || user_id % 4, user_id, item_id, rating, '{"n_factors": 1, "verbose": false}') AS m FROM f_many GROUP BY 1) s ORDER BY p;
SELECT (collab.fit('f_whole', user_id, item_id, rating, '{"n_factors": 1, "verbose": false}')).n_users FROM f_many;
SET enable_sort = off; SET work_mem = '1GB'; SET collab.max_memory = '1MB';
SELECT expect.error($$SELECT collab.fit('f_part_' || user_id % 4, user_id, item_id, rating, '{"n_factors": 1, "replace": true}') FROM f_many GROUP BY user_id % 4$$) ~ '^54000: more memory is needed than collab.max_memory allows' AS refused;
RESET enable_sort; RESET work_mem;
SELECT p, (m).generation FROM (SELECT user_id % 4 AS p, collab.fit('f_part_' || user_id % 4, user_id, item_id, rating, '{"n_factors": 1, "verbose": false, "replace": true}') AS m FROM f_many GROUP BY 1) s ORDER BY p;
RESET collab.max_memory;
DROP TABLE f_many;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'collab training';

-- Transactions
BEGIN;
SELECT (collab.fit('f_gone', user_id, item_id, rating, :'quiet')).generation FROM ratings;
SAVEPOINT s;
SELECT (collab.fit('f_gone', user_id, item_id, rating, '{"replace": true, "verbose": false}')).generation FROM ratings;
SELECT collab.fit('f_gone', user_id, item_id, rating / 0) FROM ratings;
ROLLBACK TO s;
SELECT generation FROM f_gone;
SELECT collab.predict('f_gone', 1, 1) IS NOT NULL AS predicts;
ROLLBACK;
SELECT to_regclass('f_gone');
BEGIN READ ONLY;
SELECT collab.fit('f_gone', user_id, item_id, rating) FROM ratings;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT (collab.fit('f_gone', user_id, item_id, rating, :'quiet')).generation FROM ratings;
ROLLBACK;
DO $$
DECLARE
	m collab.model;
BEGIN
	FOR i IN 1 .. 2 LOOP
		SELECT (collab.fit('f_loop', user_id, item_id, rating, '{"verbose": false, "replace": true, "n_epochs": 2}')).* INTO m FROM ratings;
		RAISE NOTICE 'generation %, % ratings', m.generation, m.n_train + m.n_valid;
		BEGIN
			PERFORM collab.fit('f_loop', user_id, item_id, rating) FROM ratings;
		EXCEPTION WHEN duplicate_object THEN
			RAISE NOTICE '%', SQLERRM;
		END;
	END LOOP;
END $$;
CREATE TABLE f_log AS SELECT (collab.fit('f_logged', user_id, item_id, rating, :'quiet')).* FROM ratings;
SELECT expect.same('f_log', 'f_logged') AS logged;

-- Rights
CREATE ROLE regress_collab_fit;
CREATE SCHEMA f_schema;
GRANT SELECT ON ratings, f_fit, f_fit_users, f_fit_items TO regress_collab_fit;
GRANT USAGE ON SCHEMA f_schema TO regress_collab_fit;
SET ROLE regress_collab_fit;
SELECT collab.fit('f_schema.f_new', user_id, item_id, rating) FROM public.ratings;
SELECT collab.fit('f_fit', user_id, item_id, rating, '{"replace": true}') FROM public.ratings;
RESET ROLE;
GRANT CREATE ON SCHEMA f_schema TO regress_collab_fit;
SET ROLE regress_collab_fit;
SELECT (collab.fit('f_schema.f_new', user_id, item_id, rating, :'quiet')).self FROM public.ratings;
RESET ROLE;
SELECT model, owner FROM collab.models WHERE schema_name = 'f_schema';
SELECT collab.drop_model('f_schema.f_new');
DROP SCHEMA f_schema;
DROP OWNED BY regress_collab_fit;
DROP ROLE regress_collab_fit;

-- There is no source: what needs one says so.
CALL collab.retrain('f_fit');
SELECT * FROM collab.recommend('f_fit', 1, 3);
SELECT count(*) FROM collab.recommend('f_fit', 1, 3, exclude_seen => false);
SELECT count(*) FROM collab.recommend_all('f_fit', 3);
SELECT count(*) FROM collab.recommend_all('f_fit', 1, exclude_seen => false);
SELECT * FROM collab.evaluate('f_fit');
SELECT collab.add_users('f_fit');
SELECT collab.add_items('f_fit');
CALL collab.retrain('f_fit', warm_start => true, ratings => 'ratings');
SELECT generation, source, user_column, item_column, rating_column, n_epochs FROM f_fit ORDER BY generation;
CALL collab.retrain('f_fit');
SELECT (collab.fit('f_fit', user_id, item_id, rating, '{"replace": true, "verbose": false}')).source FROM ratings;
SELECT generation, source FROM f_fit ORDER BY generation;

SELECT count(collab.drop_model(model)) > 0 AS dropped FROM collab.models;
DROP TABLE f_films, f_log;
DROP DOMAIN f_positive;
