--
-- collab.recommend() and collab.recommend_all(): the items of highest
-- prediction, against SQL that ranks all predictions.
--
-- Each of thousands of calls runs a query of its own: to compile each, or to
-- start workers for each, takes minutes.  Some do at the end.
SET jit = off;
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
CREATE TABLE r_models (model text PRIMARY KEY, use_bias boolean, y_range real[], valid_pct double precision);
INSERT INTO r_models VALUES
	('r_bias', true, '{}', 0.93), ('r_given', true, '{0,5.5}', 0), ('r_norange', true, NULL, 0.93),
	('r_nobias', false, '{}', 0.93), ('r_dot', false, NULL, 0.93);
SELECT model, count(*)
  FROM r_models m, LATERAL collab.train(model, 'ratings', n_factors => 6, n_epochs => 8, lr_max => 0.05, batch_size => 16, wd => 0.01,
                                        valid_pct => m.valid_pct, y_range => m.y_range, use_bias => m.use_bias, verbose => false)
 GROUP BY model ORDER BY model;
SELECT bool_or(n_ratings = 0) AS some_cold FROM r_bias_users;

-- What is right by definition.  The users are all, and two that nobody knows.
CREATE FUNCTION expect.recommended(model regclass, k integer DEFAULT 10, exclude_seen boolean DEFAULT true, candidates bigint[] DEFAULT NULL,
                                   exclude bigint[] DEFAULT NULL, min_score real DEFAULT NULL, min_ratings bigint DEFAULT 1)
RETURNS TABLE (user_id integer, item_id bigint, score real, rank bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	h collab.model := expect.head(model);
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY u ORDER BY s DESC, item_id) AS rank'
		'                 FROM (SELECT u, item_id::bigint, collab.predict($1, u, item_id) AS s FROM generate_series(0, 61) u, %s WHERE n_ratings >= $7 OFFSET 0) i'
		'                WHERE (NOT $3 OR (u, item_id) NOT IN (SELECT r.%I, r.%I FROM %s r WHERE r.%I IS NOT NULL AND r.%2$I IS NOT NULL AND r.%3$I IS NOT NULL))'
		'                  AND ($4 IS NULL OR item_id = ANY ($4)) AND ($5 IS NULL OR item_id <> ALL ($5)) AND ($6 IS NULL OR s >= $6)) i'
		' WHERE rank <= $2', h.items, h.user_column, h.item_column, h.source, h.rating_column)
		USING model, k, exclude_seen, candidates, exclude, min_score, min_ratings;
END $$;
-- rows that one has and the other lacks
CREATE FUNCTION expect.wrong(model regclass, k integer DEFAULT 10, exclude_seen boolean DEFAULT true, candidates bigint[] DEFAULT NULL,
                             exclude bigint[] DEFAULT NULL, min_score real DEFAULT NULL, min_ratings bigint DEFAULT 1)
RETURNS TABLE (users bigint, n bigint, wrong bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY
	WITH got AS MATERIALIZED (SELECT u, r.* FROM generate_series(0, 61) u,
			LATERAL collab.recommend(model, u, k, exclude_seen, candidates, exclude, min_score, min_ratings) WITH ORDINALITY r),
	     right_ones AS MATERIALIZED (SELECT * FROM expect.recommended(model, k, exclude_seen, candidates, exclude, min_score, min_ratings))
	SELECT count(DISTINCT got.u), count(*),
	       (SELECT count(*) FROM (TABLE got EXCEPT ALL TABLE right_ones) a) + (SELECT count(*) FROM (TABLE right_ones EXCEPT ALL TABLE got) b)
	  FROM got;
END $$;
-- the same of recommend_all()
CREATE FUNCTION expect.wrong_of_all(model regclass, k integer DEFAULT 10, exclude_seen boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (WITH got AS MATERIALIZED (SELECT user_id, item_id, score, rank::bigint FROM collab.recommend_all(model, k, exclude_seen)),
	             right_ones AS MATERIALIZED (SELECT u, r.* FROM generate_series(1, 60) u, LATERAL collab.recommend(model, u, k, exclude_seen) WITH ORDINALITY r)
	        SELECT (SELECT count(*) FROM (TABLE got EXCEPT ALL TABLE right_ones) a) + (SELECT count(*) FROM (TABLE right_ones EXCEPT ALL TABLE got) b));
END $$;

-- By default: ten, without what the user has rated
SELECT model, wrong FROM r_models, expect.wrong(model::regclass) ORDER BY model;
SELECT * FROM expect.wrong('r_given');
-- all arguments, each alone and together
SELECT model, exclude_seen, k, wrong FROM r_models, unnest('{f,t}'::boolean[]) exclude_seen, unnest('{1,3,2147483647}'::integer[]) k,
       expect.wrong(model::regclass, k, exclude_seen) WHERE wrong > 0;
SELECT model, wrong FROM r_models, expect.wrong(model::regclass, candidates => '{5,3,40,3,9,1000,-1}') ORDER BY model;
SELECT model, wrong FROM r_models, expect.wrong(model::regclass, 40, false, '{5,3,40,3,9,1000,-1}') ORDER BY model;
SELECT model, wrong FROM r_models, expect.wrong(model::regclass, exclude => '{5,3,40,3,9,1000,-1}') ORDER BY model;
SELECT model, wrong FROM r_models, expect.wrong(model::regclass, 40, false, exclude => ARRAY(SELECT generate_series(1, 39))) ORDER BY model;
SELECT model, wrong FROM r_models, expect.wrong(model::regclass, min_score => 3.5) ORDER BY model;
SELECT model, s, wrong FROM r_models, unnest('{-Infinity,0,3,4.5,5.5,Infinity}'::real[]) s, expect.wrong(model::regclass, 40, false, min_score => s) WHERE wrong > 0;
SELECT model, m, wrong FROM r_models, unnest('{0,1,2,5,1000}'::bigint[]) m, expect.wrong(model::regclass, 40, min_ratings => m) WHERE wrong > 0;
SELECT model, m, wrong FROM r_models, unnest('{0,1,2,5,1000}'::bigint[]) m, expect.wrong(model::regclass, 40, false, min_ratings => m) WHERE wrong > 0;
SELECT model, m, k, wrong FROM r_models, unnest('{0,1}'::bigint[]) m, unnest('{2,30}'::integer[]) k, unnest('{f,t}'::boolean[]) exclude_seen,
       expect.wrong(model::regclass, k, exclude_seen, '{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,36,37,38,39,40}', '{4,8,15,16,23,42}', 3.2, m) WHERE wrong > 0;
-- exactly at min_score
SELECT count(*) AS all_from_that_on, min(r.score) = max(s.score) AS it_too
  FROM (SELECT score FROM collab.recommend('r_given', 5, 40, false) OFFSET 11 LIMIT 1) s, collab.recommend('r_given', 5, 40, false, min_score => s.score) r;

-- The columns
SELECT expect.types($$SELECT * FROM collab.recommend('r_given', 5)$$);
SELECT expect.types($$SELECT * FROM collab.recommend('r_given', 5, 3, NULL::integer)$$);
SELECT expect.types($$SELECT * FROM collab.recommend('r_given', '5', 3, NULL::smallint)$$);
SELECT expect.types($$SELECT * FROM collab.recommend_all('r_given')$$);
SELECT expect.types($$SELECT * FROM collab.recommend_all('r_given', 1, NULL::integer, NULL::bigint)$$);
-- it has learned: those who like the planted taste get it
SELECT round(avg((r.item_id % 4 = 3)::integer) FILTER (WHERE u % 3 = 2), 1) > round(avg((r.item_id % 4 = 3)::integer) FILTER (WHERE u % 3 = 0), 1) AS to_their_taste
  FROM generate_series(1, 60) u, collab.recommend('r_given', u, 10, false) r;

-- A user that nobody knows gets the items of highest bias, and in models without biases all items by id.
SELECT model, (SELECT array_agg(item_id ORDER BY o) FROM collab.recommend(model::regclass, 0, 100) WITH ORDINALITY r(item_id, score, o)) =
              (SELECT array_agg(item_id ORDER BY rank) FROM collab.movie_bias(model::regclass, 100)) AS by_bias
  FROM r_models WHERE use_bias ORDER BY model;
SELECT (SELECT array_agg(item_id) FROM collab.recommend('r_dot', 0, 100)) = (SELECT array_agg(item_id::bigint ORDER BY item_id) FROM r_dot_items WHERE n_ratings > 0) AS by_id;
SELECT DISTINCT score = mean_rating::real AS mean FROM collab.recommend('r_dot', 5000000000, 100), expect.head('r_dot') h;
-- items that were never trained on come when they are let in
SELECT model, count(*) FILTER (WHERE m = 0) > count(*) FILTER (WHERE m = 1) AS more
  FROM r_models, unnest('{0,1}'::bigint[]) m, collab.recommend(model::regclass, 5, 100, false, min_ratings => m) WHERE model <> 'r_given' GROUP BY model ORDER BY model;

-- Ties by id, and scores that are all the same
CREATE TABLE r_held AS SELECT * FROM r_given_items;
BEGIN;
UPDATE r_given_items SET factors = '{0,0,0,0,0,0}', bias = CASE WHEN item_id IN (31, 2, 17) THEN 2 WHEN item_id IN (40, 3) THEN 30 WHEN item_id % 2 = 0 THEN -40 ELSE 0 END;
SELECT collab.touch('r_given');
SELECT item_id, round(score::numeric) AS score FROM collab.recommend('r_given', 0, 8);
SELECT array_agg(item_id) AS all_items FROM collab.recommend('r_given', 0, 100);
SELECT * FROM expect.wrong('r_given', 7, false);
SELECT * FROM expect.wrong('r_given', 39);
UPDATE r_given_items SET bias = 100;
SELECT collab.touch('r_given');
SELECT array_agg(item_id) AS first_ten, min(score), max(score) FROM collab.recommend('r_given', 7, 10, false);
UPDATE r_given_items SET bias = -200;
SELECT collab.touch('r_given');
SELECT array_agg(item_id) AS first_ten, min(score), max(score) FROM collab.recommend('r_given', 7, 10, false);
SELECT wrong FROM expect.wrong('r_given', 10);
SELECT expect.wrong_of_all('r_given', 7) AS wrong;
ROLLBACK;

--
-- What the user has rated
--
BEGIN;
CREATE VIEW r_first AS SELECT item_id FROM collab.recommend('r_given', 5, 1);
CREATE TABLE r_one AS SELECT 1 AS n, item_id FROM r_first;
-- a rating since, or one that is NULL
INSERT INTO ratings SELECT 5, item_id, NULL FROM r_one;
SELECT (SELECT item_id FROM r_first) = item_id AS not_rated FROM r_one;
UPDATE ratings r SET rating = 1 FROM r_one o WHERE r.user_id = 5 AND r.item_id = o.item_id;
SELECT (SELECT item_id FROM r_first) = item_id AS rated FROM r_one;
SELECT wrong FROM expect.wrong('r_given');
-- all of them; none
INSERT INTO ratings SELECT 5, i, 3 FROM generate_series(1, 40) i ON CONFLICT DO NOTHING;
SELECT count(*) FROM r_first;
SELECT count(*) FROM collab.recommend_all('r_given', 3) WHERE user_id = 5;
DELETE FROM ratings WHERE user_id = 5;
SELECT count(*) FROM collab.recommend('r_given', 5, 100);
-- users that have come since the training, and items
INSERT INTO ratings VALUES (100, 3, 5), (100, 8, 5), (100, 99, 5), (6, 98, 2);
SELECT count(*), bool_or(item_id IN (3, 8)) AS rated, bool_or(item_id > 40) AS unknown FROM collab.recommend('r_given', 100, 100);
SELECT count(*) FROM collab.recommend('r_given', 100, 100, false);
SELECT wrong FROM expect.wrong('r_given');
SELECT count(*) FILTER (WHERE user_id = 100) AS of_the_new_one, count(*) > 0 AS some FROM collab.recommend_all('r_given');
ROLLBACK;
SELECT wrong FROM expect.wrong('r_given');
-- within one function, what it has just written
CREATE FUNCTION r_write(OUT before bigint, OUT after bigint, OUT undone bigint) LANGUAGE plpgsql AS $$
BEGIN
	before := item_id FROM collab.recommend('r_given', 5, 1);
	BEGIN
		INSERT INTO ratings VALUES (5, before, 4);
		after := item_id FROM collab.recommend('r_given', 5, 1);
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		undone := item_id FROM collab.recommend('r_given', 5, 1);
	END;
END $$;
SELECT before <> after AS follows, before = undone AS and_back FROM r_write();

-- Sources of other kinds, with names that must be quoted
CREATE SCHEMA "r ""Schema";
CREATE TABLE "r ""Schema"."Ratings; of '99'" ("User" integer, "the item" bigint, "select" numeric, at date DEFAULT '2020-01-01') PARTITION BY RANGE ("User");
CREATE TABLE r_part1 PARTITION OF "r ""Schema"."Ratings; of '99'" FOR VALUES FROM (1) TO (30);
CREATE TABLE r_part2 PARTITION OF "r ""Schema"."Ratings; of '99'" FOR VALUES FROM (30) TO (1000);
INSERT INTO "r ""Schema"."Ratings; of '99'" SELECT user_id, item_id, rating FROM ratings;
CREATE VIEW r_view AS SELECT "User" AS user_id, "the item" AS item_id, "select" AS rating FROM "r ""Schema"."Ratings; of '99'" WHERE at < '2021-01-01';
CREATE MATERIALIZED VIEW r_materialized AS TABLE r_view;
SELECT count(*) FROM collab.train('r_partitioned', '"r ""Schema"."Ratings; of ''99''"', 'User', 'the item', 'select', n_factors => 2, n_epochs => 2, verbose => false);
SELECT count(*) FROM collab.train('r_of_view', 'r_view', n_factors => 2, n_epochs => 2, verbose => false);
SELECT count(*) FROM collab.train('r_of_materialized', 'r_materialized', n_factors => 2, n_epochs => 2, verbose => false);
SELECT m, wrong FROM unnest('{r_partitioned,r_of_view,r_of_materialized}'::text[]) m, expect.wrong(m::regclass) ORDER BY m;
SELECT m, expect.wrong_of_all(m::regclass, 4) AS wrong FROM unnest('{r_partitioned,r_of_view,r_of_materialized}'::text[]) m ORDER BY m;
DROP MATERIALIZED VIEW r_materialized;
-- the view is read as it is now; a partition more
CREATE OR REPLACE VIEW r_view AS SELECT "User" AS user_id, "the item" AS item_id, "select" AS rating FROM "r ""Schema"."Ratings; of '99'" WHERE at < '2019-01-01';
SELECT count(*) FROM collab.recommend('r_of_view', 5, 100);
ALTER TABLE "r ""Schema"."Ratings; of '99'" DETACH PARTITION r_part1;
SELECT count(*) FROM collab.recommend('r_partitioned', 5, 100);
SELECT count(*) < 40 AS some_rated FROM collab.recommend('r_partitioned', 35, 100);
-- a view that asks the model itself
CREATE VIEW r_mirror AS SELECT user_id, item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('r_self', 'r_mirror', n_factors => 2, n_epochs => 2, verbose => false);
CREATE OR REPLACE VIEW r_mirror AS SELECT user_id, item_id, CASE WHEN collab.predict('r_self', user_id, item_id) > 3 THEN 1 END::real AS rating FROM ratings;
SELECT wrong FROM expect.wrong('r_self');
SET collab.user_cache_size = '64kB';
SELECT wrong FROM expect.wrong('r_self');
RESET collab.user_cache_size;
CREATE OR REPLACE VIEW r_mirror AS SELECT user_id, item_id, (SELECT max(r.score) FROM collab.recommend('r_self', ratings.user_id, 1) r) AS rating FROM ratings;
SELECT left(expect.error($$SELECT * FROM collab.recommend('r_self', 5)$$), 5) AS for_ever;

--
-- Everyone at once: as one by one
--
SELECT model, exclude_seen, k, wrong
  FROM r_models, unnest('{f,t}'::boolean[]) exclude_seen, unnest('{1,10,100}'::integer[]) k, expect.wrong_of_all(model::regclass, k, exclude_seen) wrong WHERE wrong > 0;
SELECT count(*), count(DISTINCT user_id) AS users, min(rank), max(rank), bool_and(score = collab.predict('r_given', user_id, item_id)) AS as_predicted FROM collab.recommend_all('r_given');
-- users by id, best first
SELECT array_agg(row(user_id, rank) ORDER BY o) = array_agg(row(user_id, rank) ORDER BY user_id, rank) AS in_order FROM collab.recommend_all('r_given', 5) WITH ORDINALITY a(user_id, item_id, score, rank, o);
SELECT count(*) FROM collab.recommend_all('r_given', 5, exclude_seen => false) a JOIN collab.recommend_all('r_given', 5, NULL::integer, NULL::smallint, false) b USING (user_id, item_id, score, rank);
SELECT count(*) FROM (SELECT * FROM collab.recommend_all('r_given') LIMIT 7) s;
-- ratings that a training would refuse are no matter here
BEGIN;
CREATE TABLE r_loose AS TABLE ratings;
SELECT count(*) FROM collab.train('r_loose_model', 'r_loose', n_factors => 2, n_epochs => 2, verbose => false);
INSERT INTO r_loose VALUES (5, NULL, 3), (NULL, 5, 3), (NULL, NULL, NULL), (6, 1, 'NaN'), (6, 2, 'Infinity'), (7, 2, NULL);
SELECT wrong FROM expect.wrong('r_loose_model');
SELECT expect.wrong_of_all('r_loose_model') AS wrong;
ROLLBACK;

--
-- Keys of other types
--
CREATE TABLE r_text AS SELECT 'user ' || user_id AS user_id, 'item ' || item_id AS item_id, rating FROM ratings;
CREATE TABLE r_uuid AS SELECT md5('u' || user_id)::uuid AS user_id, md5('i' || item_id)::uuid AS item_id, rating FROM ratings;
CREATE DOMAIN r_stock AS varchar(10);
CREATE TABLE r_mixed AS SELECT (user_id * 1000000000000)::bigint AS user_id, ('Item' || item_id)::r_stock AS item_id, rating FROM ratings;
CREATE TABLE r_small AS SELECT user_id::smallint AS user_id, item_id::smallint AS item_id, rating::smallint AS rating FROM ratings;
SELECT m, n FROM unnest('{r_text,r_uuid,r_mixed,r_small}'::text[]) m, LATERAL (SELECT count(*) AS n FROM collab.train('m' || m, m::regclass, n_factors => 2, n_epochs => 3, verbose => false)) t;
-- text: by position, candidates as array or literal
SELECT count(*), bool_and(score = collab.predict('mr_text', 'user 5', r.item_id)) AS as_predicted, bool_or(r.item_id = s.item_id) AS seen
  FROM collab.recommend('mr_text', 'user 5', 100, NULL::text) r LEFT JOIN r_text s ON s.user_id = 'user 5' AND s.item_id = r.item_id;
SELECT item_id, pg_typeof(item_id) FROM collab.recommend('mr_text', 'user 5', 5, NULL::text, false, ARRAY['item 3', 'item 40', 'item 3', 'no item']) ORDER BY 1;
SELECT item_id, pg_typeof(item_id) FROM collab.recommend('mr_text', 'user 5'::varchar, 5, NULL::varchar, exclude_seen => false, candidates => '{"item 3","item 40","no item"}') ORDER BY 1;
SELECT item_id, pg_typeof(item_id) FROM collab.recommend('mr_text', 'user 5', 5, NULL::r_stock, exclude_seen => false, candidates => '{"item 3","item 40","no item"}', exclude => ARRAY['item 40'::r_stock]) ORDER BY 1;
SELECT count(*), count(DISTINCT user_id) AS users, bool_and(score = collab.predict('mr_text', user_id, item_id)) AS as_predicted FROM collab.recommend_all('mr_text', 5, NULL::text, NULL::text);
SELECT count(*) FROM (SELECT user_id, item_id, score, rank FROM collab.recommend_all('mr_text', 5, NULL::text, NULL::varchar) EXCEPT
                      SELECT u.user_id, r.item_id, r.score, r.o FROM mr_text_users u, LATERAL collab.recommend('mr_text', u.user_id, 5, NULL::text) WITH ORDINALITY r(item_id, score, o)) s;
-- ties by id, byte by byte
BEGIN;
UPDATE mr_text_items SET bias = 0;
SELECT collab.touch('mr_text');
SELECT array_agg(item_id) = (SELECT array_agg(item_id ORDER BY item_id COLLATE "C") FROM mr_text_items WHERE n_ratings > 0) AS by_id FROM collab.recommend('mr_text', 'nobody', 100, NULL::text);
ROLLBACK;
-- uuid
SELECT count(*), bool_and(score = collab.predict('mr_uuid', md5('u5')::uuid, r.item_id)) AS as_predicted, bool_or(r.item_id = s.item_id) AS seen
  FROM collab.recommend('mr_uuid', md5('u5')::uuid, 100, NULL::uuid) r LEFT JOIN r_uuid s ON s.user_id = md5('u5')::uuid AND s.item_id = r.item_id;
SELECT count(*), count(DISTINCT score) > 10 AS distinct_scores FROM collab.recommend('mr_uuid', md5('u5'), 100, NULL::uuid);
SELECT item_id, pg_typeof(item_id) FROM collab.recommend('mr_uuid', md5('u5')::uuid, 5, NULL::uuid, false, ARRAY[md5('i3')]);
SELECT item_id FROM collab.recommend('mr_uuid', md5('u5')::uuid, 5, NULL::uuid, false, ARRAY[md5('i3')::uuid], min_score => -100);
SELECT item_id FROM collab.recommend('mr_uuid', md5('u5')::uuid, 5, NULL::uuid, false, '{51D4B581D21C20A16147B17C3ADC7867}');
SELECT count(*) FROM collab.recommend_all('mr_uuid', 5, NULL::uuid, NULL::uuid) WHERE score = collab.predict('mr_uuid', user_id, item_id);
-- users and items of two families, a domain
SELECT count(*), bool_and(score = collab.predict('mr_mixed', 5000000000000, item_id)) AS as_predicted FROM collab.recommend('mr_mixed', 5000000000000, 100, NULL::text, false);
SELECT pg_typeof(item_id), count(*) FROM collab.recommend('mr_mixed', '5000000000000', 100, NULL::r_stock) GROUP BY 1;
SELECT pg_typeof(user_id), pg_typeof(item_id), count(*) > 0 AS some FROM collab.recommend_all('mr_mixed', 2, NULL::bigint, NULL::text) GROUP BY 1, 2;
SELECT pg_typeof(user_id), pg_typeof(item_id), count(*) > 0 AS some FROM collab.recommend_all('mr_mixed', 2, NULL::bigint, NULL::r_stock) GROUP BY 1, 2;
-- integers of any width; what does not fit is unknown
SELECT wrong FROM expect.wrong('mr_small');
SELECT count(*) FROM collab.recommend('mr_small', 70000, 100);
SELECT count(*) FROM collab.recommend('mr_small', 7::bigint, 100, candidates => '{3,70000,5000000000}', exclude_seen => false);
SELECT count(*) FROM collab.recommend('mr_small', '7', 100, NULL::smallint, false, '{3,70000,5000000000}'::bigint[]);
SELECT count(*) FROM collab.recommend('mr_small', 7, 100, NULL::bigint, false, ARRAY[3, 4]::smallint[], ARRAY[4, 5]::numeric(5)[]::integer[]);

--
-- Within queries
--
-- a segment, with the catalogue
SELECT count(*), bool_and(r.score = collab.predict('r_given', u.user_id, i.item_id)) AS as_predicted
  FROM r_given_users u CROSS JOIN LATERAL collab.recommend('r_given', u.user_id, 3) r JOIN r_given_items i ON i.item_id = r.item_id WHERE u.user_id % 10 = 3;
SELECT u, r.item_id IS NULL AS nothing FROM (VALUES (5), (NULL), (0)) v(u) LEFT JOIN LATERAL collab.recommend('r_given', u, 1) r ON true ORDER BY u;
SELECT u, n FROM (VALUES (5), (7), (0), (61)) v(u), LATERAL (SELECT count(*) AS n FROM collab.recommend('r_given', u, u + 1)) s ORDER BY u;
-- models and arguments that change from row to row
SELECT m, u, c, count(*) FROM unnest('{r_given,r_dot,mr_small}'::regclass[]) m, (VALUES (5, '{1,2}'::bigint[]), (6, NULL), (7, '{}')) v(u, c), LATERAL collab.recommend(m, u, 4, u = 5, c) GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT count(*) FROM unnest('{r_given,mr_text,r_dot,mr_text}'::regclass[]) m, LATERAL collab.recommend(m, '5', 4, NULL::text, false) WHERE false;
-- in a list of columns, WITH ORDINALITY, a view, a function, a cursor
SELECT count(*) FROM (SELECT u, (collab.recommend('r_given', u, 2)).* FROM generate_series(1, 3) u) s;
SELECT array_agg(o) FROM collab.recommend('r_given', 5, 3) WITH ORDINALITY r(i, s, o);
CREATE VIEW r_shelf AS SELECT u.user_id, r.* FROM r_given_users u, LATERAL collab.recommend('r_given', u.user_id, 2) r;
SELECT count(*) FROM r_shelf WHERE user_id IN (3, 5);
CREATE FUNCTION r_sql(u integer) RETURNS SETOF bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT item_id FROM collab.recommend('r_given', u, 3); END;
SELECT array_agg(r_sql) = (SELECT array_agg(item_id) FROM collab.recommend('r_given', 5, 3)) AS same FROM r_sql(5);
BEGIN READ ONLY;
DECLARE c CURSOR FOR SELECT e.user_id, r.item_id = e.item_id AS right FROM expect.recommended('r_given', 1) e, LATERAL collab.recommend('r_given', e.user_id, 1) r ORDER BY 1;
FETCH 2 FROM c;
MOVE 50 FROM c;
FETCH 2 FROM c;
COMMIT;
-- prepared, with and without types
PREPARE r_untyped AS SELECT count(*) FROM collab.recommend('r_given', $1, $2);
EXECUTE r_untyped('5', 7);
EXECUTE r_untyped(NULL, 7);
PREPARE r_named AS SELECT array_agg(item_id) FROM collab.recommend('r_given', $1, k => $2, exclude_seen => $3, candidates => $4, exclude => $5, min_score => $6, min_ratings => $7);
EXECUTE r_named('5', 7, false, '{1,2,3}', '{2}', 0, 0);
EXECUTE r_named('5', 7, false, NULL, '{2}', 100, 0);
PREPARE r_prepared(integer, integer) AS SELECT count(*) FROM (SELECT item_id, score FROM collab.recommend('r_given', $1, $2) EXCEPT SELECT item_id, score FROM expect.recommended('r_given', $2) WHERE user_id = $1) s;
EXECUTE r_prepared(5, 3);
EXECUTE r_prepared(0, 3);
SET plan_cache_mode = force_generic_plan;
EXECUTE r_prepared(6, 30);
EXECUTE r_untyped('6', 2);
RESET plan_cache_mode;
-- each of many calls, whatever the room for users
SET collab.user_cache_size = '64kB';
SELECT wrong FROM expect.wrong('r_given');
SET collab.cache_size = 0;
SELECT wrong FROM expect.wrong('r_given', 5);
RESET collab.cache_size;
RESET collab.user_cache_size;
-- after a training anew, and within the transaction that trained
BEGIN;
SELECT count(*) FROM collab.train('r_given', 'ratings', n_factors => 3, n_epochs => 2, verbose => false, replace => true);
SELECT wrong FROM expect.wrong('r_given');
SELECT bool_and(score = collab.predict('r_given', user_id, item_id)) AS new FROM collab.recommend_all('r_given', 3);
ROLLBACK;
SELECT wrong FROM expect.wrong('r_given');
CALL collab.retrain('r_given', options => '{"seed": 8, "verbose": false}');
SELECT wrong FROM expect.wrong('r_given');

-- NULL, and nothing at all
SELECT count(*) FROM collab.recommend('r_given', NULL);
SELECT count(*) FROM collab.recommend('r_given', NULL::integer, 3);
SELECT count(*) FROM collab.recommend(NULL, 5);
SELECT count(*) FROM collab.recommend('mr_text', NULL, 3, NULL::text);
SELECT count(*) FROM collab.recommend_all(NULL);
SELECT count(*) FROM collab.recommend_all(NULL, 3, NULL::text, NULL::text);
SELECT count(*) FROM collab.recommend('r_given', 5, candidates => '{}');
SELECT count(*) FROM collab.recommend('r_given', 5, candidates => '{1000,-3}');
SELECT count(*) FROM collab.recommend('mr_text', 'user 5', 5, NULL::text, false, '{}');
SELECT count(*) FROM collab.recommend('mr_text', 'user 5', 5, NULL::text, false, '{nonesuch}');
SELECT count(*) > 0 AS some FROM collab.recommend('r_given', 5, candidates => NULL, exclude => '{}', min_score => NULL);

-- What is wrong
SELECT q, expect.error('SELECT * FROM collab.recommend(' || q || ')') FROM unnest(ARRAY[
	'''nonesuch'', 5', '''ratings'', 5', '''r_given_users'', 5', '0, 5', '''r_given'', 5, 0', '''r_given'', 5, -1', '''r_given'', 5, NULL', '''r_given'', 5, exclude_seen => NULL',
	'''r_given'', 5, min_ratings => NULL', '''r_given'', 5, min_score => ''NaN''', '''r_given'', 5, candidates => ''{1,NULL}''', '''r_given'', 5, exclude => ''{NULL}''', '''r_given'', 5, candidates => ''{1,x}''',
	'''r_given'', 5, candidates => ''{{1,2},{3,4}}''', '''r_given'', 5, exclude => ''{{1}}''', '''r_given'', 5, candidates => ARRAY[''1'']', '''r_given'', 1.5', '''r_given'', ''five''', '''r_given'', true', '''r_given'', ''{5}''::integer[]',
	'''r_given'', 5, 3, NULL::text', '''r_given'', 5, 3, NULL::numeric', '''r_given'', 5, 3, 7', '''r_given'', 5, 3, ''seven''::text', '''r_given'', 5, 3, NULL',
	'''r_given'', 5, 3, NULL::integer, true, ARRAY[''1.5'']', '''r_given'', 5, 3, NULL::integer, true, ARRAY[1.5]', '''r_given'', 5, 3, NULL::integer, true, 3', '''r_given'', 5, 3, NULL::integer, true, ''3''',
	'''mr_text'', ''user 5''', '''mr_text'', 5, 3, NULL::text', '''mr_text'', ''user 5'', 3, NULL::bigint', '''mr_text'', ''user 5'', 3, NULL::text, true, ARRAY[3]', '''mr_text'', ''user 5'', 3, NULL::text, true, ARRAY[''item 3'', NULL]',
	'''mr_text'', ''user 5'', 3, NULL::text, true, NULL, ARRAY[3]', '''mr_uuid'', ''user 5'', 3, NULL::uuid', '''mr_uuid'', md5(''u5''), 3, NULL::uuid, true, ''{x}''', '''mr_uuid'', md5(''u5''), 3',
	'''mr_mixed'', 5000000000000, 3, NULL::bigint']) q;
SELECT q, expect.error('SELECT * FROM collab.recommend_all(' || q || ')') FROM unnest(ARRAY[
	'''nonesuch''', '''ratings''', '''r_given'', 0', '''r_given'', NULL', '''r_given'', exclude_seen => NULL', '''r_given'', 3, NULL, NULL', '''r_given'', 3, NULL::text, NULL::text', '''r_given'', 3, NULL::integer, NULL::text', '''r_given'', 3, 1, NULL::integer',
	'''mr_text''', '''mr_text'', 3, NULL::text, NULL::integer', '''mr_mixed'', 3, NULL::text, NULL::bigint', '''mr_uuid'', 3, NULL::uuid, NULL::text']) q;
-- ids that their type cannot hold
SELECT expect.error($$SELECT * FROM collab.recommend_all('mr_mixed', 3, NULL::integer, NULL::text)$$);
CREATE DOMAIN r_five AS text CHECK (VALUE LIKE '%5');
SELECT expect.error($$SELECT * FROM collab.recommend('mr_text', 'user 5', 30, NULL::r_five)$$);

-- The source is not what it was: one who would rather have what there is, is told how.
CREATE TABLE r_source AS TABLE ratings;
SELECT count(*) FROM collab.train('r_lost', 'r_source', n_factors => 2, n_epochs => 2, verbose => false);
CREATE FUNCTION expect.without_source(change text, OUT one text, OUT way_out boolean, OUT everyone text, OUT way_out_too boolean, OUT not_excluded bigint)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE change;
	one := expect.error($q$SELECT * FROM collab.recommend('r_lost', 5, 100)$q$);
	everyone := expect.error($q$SELECT * FROM collab.recommend_all('r_lost', 100)$q$);
	not_excluded := count(*) FROM collab.recommend('r_lost', 5, 100, exclude_seen => false);
	RAISE EXCEPTION 'undo';
EXCEPTION WHEN raise_exception THEN
	way_out := one LIKE '%HINT:%exclude_seen => false%';
	way_out_too := everyone LIKE '%HINT:%exclude_seen => false%';
	one := left(one, 5);
	everyone := left(everyone, 5);
END $$;
SELECT c, w.* FROM unnest(ARRAY[
	'DROP TABLE r_source', 'ALTER TABLE r_source RENAME TO r_other', 'ALTER TABLE r_source SET SCHEMA expect', 'ALTER TABLE r_source RENAME user_id TO who', 'ALTER TABLE r_source RENAME item_id TO what', 'ALTER TABLE r_source RENAME rating TO stars',
	'ALTER TABLE r_source DROP COLUMN rating', 'ALTER TABLE r_source ALTER item_id TYPE text', 'ALTER TABLE r_source ALTER item_id TYPE numeric',
	'DROP TABLE r_source; CREATE SEQUENCE r_source', 'DROP TABLE r_source; CREATE VIEW r_source AS SELECT user_id, item_id, 1 / (rating - rating) AS rating FROM ratings',
	'UPDATE r_lost SET source = NULL; SELECT collab.touch(''r_lost'')', 'UPDATE r_lost SET source = ''gone.r_source''; SELECT collab.touch(''r_lost'')',
	'UPDATE r_lost SET source = ''''; SELECT collab.touch(''r_lost'')', 'UPDATE r_lost SET source = ''a.b.c.d''; SELECT collab.touch(''r_lost'')']) c, expect.without_source(c) w;
-- what is remembered of the source are names, and nothing else
SELECT w.* FROM expect.without_source('UPDATE r_lost SET source = ''public.ratings r --''; SELECT collab.touch(''r_lost'')') w;
SELECT w.* FROM expect.without_source('UPDATE r_lost SET source = ''(SELECT 1 / 0)''; SELECT collab.touch(''r_lost'')') w;
SELECT w.* FROM expect.without_source('UPDATE r_lost SET item_column = ''1/0''; SELECT collab.touch(''r_lost'')') w;
-- types that still do
SELECT c, w.* FROM unnest(ARRAY['ALTER TABLE r_source ALTER user_id TYPE bigint, ALTER item_id TYPE smallint', 'ALTER TABLE r_source ALTER rating TYPE numeric', 'ALTER TABLE r_source ADD COLUMN note text', 'CREATE INDEX ON r_source (user_id)', 'ALTER TABLE r_source ALTER user_id TYPE bigint; CREATE INDEX ON r_source (user_id)']) c, expect.without_source(c) w;
SELECT * FROM expect.wrong('r_lost', 3);
ALTER TABLE r_source ALTER user_id TYPE bigint, ALTER item_id TYPE bigint;
SELECT * FROM expect.wrong('r_lost', 3);
ALTER TABLE r_source RENAME TO r_other;
CREATE TABLE r_source AS SELECT * FROM r_other WHERE user_id <> 5;
SELECT count(*) FROM collab.recommend('r_lost', 5, 100);
SELECT * FROM expect.wrong('r_lost', 3);
-- without the right to read it
CREATE ROLE regress_collab_reader;
GRANT SELECT ON r_lost, r_lost_users, r_lost_items TO regress_collab_reader;
SET ROLE regress_collab_reader;
SELECT * FROM collab.recommend('r_lost', 5, 2);
SELECT * FROM collab.recommend_all('r_lost', 2);
SELECT count(*) FROM collab.recommend('r_lost', 5, 2, exclude_seen => false);
SELECT count(*) > 0 AS some FROM collab.recommend_all('r_lost', 2, exclude_seen => false);
RESET ROLE;
REVOKE SELECT ON r_lost_items FROM regress_collab_reader;
GRANT SELECT ON r_source TO regress_collab_reader;
SET ROLE regress_collab_reader;
SELECT * FROM collab.recommend('r_lost', 5, 2);
SELECT * FROM collab.recommend_all('r_lost', 2);
RESET ROLE;
DROP OWNED BY regress_collab_reader;
DROP ROLE regress_collab_reader;
-- as a user reads it
ALTER TABLE r_source ALTER user_id TYPE text;
SELECT * FROM collab.recommend('r_lost', 5, 2);
SELECT * FROM collab.recommend_all('r_lost', 2);
DROP TABLE r_source;
SELECT * FROM collab.recommend('r_lost', 5, 2);
SELECT * FROM collab.recommend_all('r_lost', 2);
SELECT * FROM collab.recommend('mr_text', 'user 5', 2);
SELECT * FROM collab.recommend_all('mr_text', 2);
SELECT * FROM collab.recommend('r_given', 5, 2, candidates => '{1,NULL}');

-- Plans: in workers, and compiled
EXPLAIN (COSTS OFF) SELECT * FROM collab.recommend('r_given', 5);
CREATE VIEW r_few AS
	SELECT count(*), count(DISTINCT u) AS users, bool_and(r.score = collab.predict('r_given', u, r.item_id)) AS as_predicted, bool_or(EXISTS (SELECT FROM ratings s WHERE (s.user_id, s.item_id) = (u, r.item_id))) AS seen
	  FROM generate_series(1, 20) u, LATERAL collab.recommend('r_given', u, 3) r;
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT * FROM r_few;
SELECT count(*) FROM collab.recommend('r_given', 5);
SELECT count(set_config(name, reset_val, false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT * FROM r_few;
SELECT expect.wrong_of_all('r_given', 1) AS wrong;
SET jit = on;
SET jit_above_cost = 0;
SELECT * FROM r_few;
RESET jit_above_cost;
RESET jit;
SELECT * FROM r_few;

DROP VIEW r_few, r_shelf, r_view, r_mirror;
DROP FUNCTION r_sql, r_write;
DROP FUNCTION expect.without_source, expect.wrong, expect.recommended;
SELECT count(collab.drop_model(model)) FROM collab.models;
DROP TABLE r_part1, r_held, r_models, r_other, r_text, r_uuid, r_mixed, r_small;
DROP SCHEMA "r ""Schema" CASCADE;
DROP DOMAIN r_stock, r_five;
