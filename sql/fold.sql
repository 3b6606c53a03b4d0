--
-- collab.fold_in(), collab.add_users() and collab.add_items()
--
CREATE TABLE f_models (model text PRIMARY KEY, use_bias boolean, y_range real[]);
INSERT INTO f_models VALUES ('f_bias', true, '{}'), ('f_norange', true, NULL), ('f_nobias', false, '{}'), ('f_dot', false, NULL);
CREATE TABLE f_source AS SELECT * FROM ratings WHERE user_id <= 45;
SELECT model, count(*)
  FROM f_models m, LATERAL collab.train(model, 'f_source', n_factors => 4, n_epochs => 10, lr_max => 0.05, batch_size => 16, wd => 0.01,
                                        valid_pct => 0, y_range => m.y_range, use_bias => m.use_bias, verbose => false)
 GROUP BY model ORDER BY model;

-- The head has the moments of both sides, weighted by n_ratings.
CREATE FUNCTION expect.moments(embeddings regclass) RETURNS double precision[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	result double precision[];
BEGIN
	EXECUTE format(
		'WITH f AS (SELECT n, f::float8, n_ratings AS w FROM %1$s, unnest(factors) WITH ORDINALITY u (f, n)),'
		'     m AS (SELECT n, sum(w * f) / sum(w) AS mean FROM f GROUP BY n),'
		'     b AS (SELECT sum(n_ratings * bias::float8) / sum(n_ratings) AS mean FROM %1$s)'
		'SELECT (SELECT sum(w * (f - mean) ^ 2) / sum(w) FROM f JOIN m USING (n)) ||'
		'       ((SELECT sum(n_ratings * (bias::float8 - mean) ^ 2) / sum(n_ratings) FROM %1$s, b GROUP BY mean) ||'
		'       (SELECT array_agg(mean ORDER BY n) FROM m))', embeddings) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION expect.near(a double precision[], b double precision[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT count(*) > 0 AND bool_and(abs(x - y) <= 1e-6 * (1 + abs(x))) FROM unnest(a, b) u (x, y) $$;
SELECT model, expect.near(h.user_prior, expect.moments(h.users)) AS users, expect.near(h.item_prior, expect.moments(h.items)) AS items
  FROM f_models, expect.head(model::regclass) h ORDER BY model;

-- What fold_in() minimises, for an embedding.
CREATE FUNCTION expect.objective(model regclass, rated integer[], ratings real[], bias double precision, factors double precision[])
RETURNS double precision
LANGUAGE plpgsql STABLE AS $$
DECLARE
	h collab.model := expect.head(model);
	noise double precision := h.train_loss[cardinality(h.train_loss)];
	result double precision := CASE WHEN h.use_bias THEN noise / h.user_prior[2] * (bias - h.mean_user_bias) ^ 2 ELSE 0 END;
	z double precision;
	other real[];
BEGIN
	FOR f IN 1 .. h.n_factors LOOP
		result := result + noise / h.user_prior[1] * (factors[f] - h.user_prior[2 + f]) ^ 2;
	END LOOP;
	FOR j IN 1 .. cardinality(rated) LOOP
		EXECUTE format('SELECT factors, bias FROM %s WHERE item_id = $1', h.items) INTO other, z USING rated[j];
		z := z + bias;
		FOR f IN 1 .. h.n_factors LOOP
			z := z + factors[f] * other[f];
		END LOOP;
		result := result + (ratings[j] - expect.scaled(z, h.y_range)) ^ 2;
	END LOOP;
	RETURN result;
END $$;

-- It is least at the answer: any step to a side goes up.
CREATE VIEW f_new AS
	SELECT user_id, array_agg(item_id ORDER BY item_id) AS items, array_agg(rating ORDER BY item_id) AS ratings
	  FROM ratings WHERE user_id > 45 AND item_id < 40 GROUP BY user_id;
SELECT m.model, count(*) AS steps, bool_and(expect.objective(m.model::regclass, n.items, n.ratings,
	    CASE WHEN f = 0 THEN o.bias + step ELSE o.bias END, CASE WHEN f = 0 THEN o.factors::float8[] ELSE (o.factors::float8[])[:f - 1] || (o.factors[f] + step)::float8 || (o.factors::float8[])[f + 1:] END) > here) AS up
  FROM f_models m, f_new n,
       LATERAL (SELECT *, expect.objective(m.model::regclass, n.items, n.ratings, bias, factors) AS here FROM collab.fold_in(m.model::regclass, n.items, n.ratings)) o,
       generate_series(0, 4) f, unnest('{-0.002,0.002}'::float8[]) step
 WHERE n.user_id IN (46, 53, 60) AND (m.use_bias OR f > 0)
 GROUP BY m.model ORDER BY m.model;
SELECT bool_and(o.n_ratings = cardinality(n.items)) AS all_used, bool_and(cardinality(o.factors) = 4) AS factors, bool_and(o.bias = 0) FILTER (WHERE NOT m.use_bias) AS no_bias
  FROM f_models m, f_new n, LATERAL collab.fold_in(m.model::regclass, n.items, n.ratings) o;

-- The planted tastes are found in half of somebody's ratings.
CREATE TABLE f_halves AS
	SELECT user_id, array_agg(item_id ORDER BY item_id) FILTER (WHERE item_id % 2 = 0) AS items,
	       array_agg(rating ORDER BY item_id) FILTER (WHERE item_id % 2 = 0) AS ratings
	  FROM ratings WHERE user_id BETWEEN 46 AND 59 AND item_id < 40 GROUP BY user_id;
SELECT model, round(sqrt(avg((r.rating - expect.scaled(expect.dot(o.factors, i.factors) + o.bias + i.bias, h.y_range)) ^ 2))::numeric, 1) AS folded_in,
       round(sqrt(avg((r.rating - collab.predict('f_bias', -1, r.item_id)) ^ 2))::numeric, 1) AS unknown
  FROM f_models, expect.head(model::regclass) h, f_halves f, LATERAL collab.fold_in(model::regclass, f.items, f.ratings) o,
       ratings r, f_bias_items i
 WHERE model = 'f_bias' AND r.user_id = f.user_id AND r.item_id % 2 = 1 AND i.item_id = r.item_id
 GROUP BY model ORDER BY model;

-- Types of ids: any of the key's family, or text
CREATE FUNCTION expect.folded(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT (o.bias = e.bias AND o.factors = e.factors AND o.n_ratings = 3)::text FROM '
		'(SELECT * FROM collab.fold_in(''f_bias'', ARRAY[3, 8, 15], ARRAY[4, 2, 5]::real[])) e, ' || statement || ' o' INTO result;
	RETURN result;
END $$;
CREATE DOMAIN f_item AS integer;
SELECT a, expect.folded(format('collab.fold_in(''f_bias'', %s, ''{4,2,5}'')', a))
  FROM unnest(ARRAY['ARRAY[3,8,15]::smallint[]', 'ARRAY[3,8,15]::bigint[]', 'ARRAY[3,8,15]::f_item[]', 'ARRAY[''3'',''8'',''15'']', 'ARRAY[3,8,15]::varchar[]', $$'{3,8,15}'$$, $$'{3,8,15}'::text$$, $$'[7:9]={3,8,15}'$$]) a;
SELECT expect.folded($$collab.fold_in('f_bias', ARRAY[3, 8, 15], ARRAY[4, 2, 5])$$) AS integers, expect.folded($$collab.fold_in('f_bias', ARRAY[3, 8, 15], ARRAY[4.0, 2, 5])$$) AS numerics;
PREPARE f_untyped AS SELECT n_ratings FROM collab.fold_in('f_bias', $1, $2);
EXECUTE f_untyped('{3,8}', '{1,2}');
DEALLOCATE f_untyped;
SELECT expect.types($$SELECT * FROM collab.fold_in('f_bias', '{1}', '{1}')$$);
-- nothing, and NULL
SELECT o.bias = h.mean_user_bias::real AS mean_bias, factors, n_ratings FROM collab.fold_in('f_bias', '{}', '{}') o, expect.head('f_bias') h;
SELECT * FROM collab.fold_in(NULL, '{1}', '{1}');
SELECT * FROM collab.fold_in('f_bias', NULL, '{1}');
SELECT * FROM collab.fold_in('f_bias', NULL::integer[], '{1}');
SELECT * FROM collab.fold_in('f_bias', '{1}', NULL);
-- unknown items, and ratings outside the range
SELECT n_ratings FROM collab.fold_in('f_bias', '{1,2,-7}', '{1,2,3}');
SELECT n_ratings, factors FROM collab.fold_in('f_bias', '{-6,-7,9999999999}', '{1,99,3}');
SELECT a.bias = b.bias AND a.factors = b.factors AS the_end FROM collab.fold_in('f_bias', '{1,2,3}', '{99,1,-99}') a, collab.fold_in('f_bias', '{1,2,3}', '{5.5,1,0.5}') b;
SELECT n_ratings FROM collab.fold_in('f_bias', '{1,2}', '{5,5.6}');
SELECT n_ratings FROM collab.fold_in('f_norange', '{1,2}', '{5,99}');
-- an item that is there twice counts twice
SELECT b.n_ratings, b.bias > a.bias AS counts FROM collab.fold_in('f_bias', '{1,2}', '{5,5}') a, collab.fold_in('f_bias', '{1,2,1,2}', '{5,5,5,5}') b;
-- items without training ratings tell of the bias alone
CREATE TABLE f_cold_source AS SELECT * FROM f_source UNION ALL SELECT 1, 50, NULL;
SELECT model, count(*) FROM unnest('{f_cold,f_cold_nobias}'::text[]) model, LATERAL collab.train(model, 'f_cold_source', n_factors => 3, use_bias => model = 'f_cold', verbose => false) GROUP BY model ORDER BY model;
SELECT n_ratings, factors = user_prior[3:]::real[] AS mean_factors, bias > mean_user_bias AS bias FROM collab.fold_in('f_cold', '{50}', '{5}'), expect.head('f_cold');
SELECT * FROM collab.fold_in('f_cold_nobias', '{50}', '{5}');
SELECT n_ratings FROM collab.fold_in('f_cold_nobias', '{50,1}', '{5,5}');
-- errors
SELECT s, expect.error('SELECT collab.fold_in(''f_bias'', ' || s || ')')
  FROM unnest(ARRAY[$$'{1,2}', '{1}'$$, $$'{}', '{1}'$$, $$'{1,NULL}', '{1,2}'$$, $$'{1,2}', '{NULL,2}'$$, $$'{{1},{2}}', '{1,2}'$$, $$ARRAY[[1,2]], '{1,2}'$$,
                    $$'{1,2}', '{{1,2}}'$$, $$ARRAY[1.5], '{1}'$$, $$ARRAY[now()], '{1}'$$, $$ARRAY['x'], '{1}'$$, $$'{x}', '{1}'$$, $$'1', '{1}'$$,
                    $$'{1,2}', '{NaN,1}'$$, $$'{1,-2}', '{1,Infinity}'$$, $$ARRAY[]::date[], '{}'$$]) s;
SELECT expect.error($$SELECT collab.fold_in('ratings', '{1}', '{1}')$$);
SELECT expect.error($$SELECT collab.fold_in('f_norange', '{1,2}', '{3e38,-3e38}')$$);

-- Text and uuid keys
CREATE VIEW f_text_source AS SELECT user_id, ('item ' || item_id)::varchar AS item_id, rating FROM f_source;
CREATE VIEW f_uuid_source AS SELECT user_id, md5(item_id::text)::uuid AS item_id, rating FROM f_source;
SELECT count(*) FROM collab.train('f_text', 'f_text_source', n_factors => 2, verbose => false);
SELECT count(*) FROM collab.train('f_uuid', 'f_uuid_source', n_factors => 2, verbose => false);
SELECT n_ratings FROM collab.fold_in('f_text', '{item 1,"item 2",3}', '{1,2,3}');
SELECT n_ratings FROM collab.fold_in('f_text', ARRAY['item 1', 'item 2'], '{1,2}');
SELECT n_ratings FROM collab.fold_in('f_uuid', ARRAY[md5('1')::uuid], '{1}');
SELECT n_ratings FROM collab.fold_in('f_uuid', ARRAY[md5('1')], '{1}');
SELECT n_ratings FROM collab.fold_in('f_uuid', '{c4ca4238-a0b9-2382-0dcc-509a6f75849b}', '{1}');
SELECT expect.error($$SELECT collab.fold_in('f_text', ARRAY[1], '{1}')$$);
SELECT expect.error($$SELECT collab.fold_in('f_uuid', ARRAY[1], '{1}')$$);
SELECT expect.error($$SELECT collab.fold_in('f_uuid', '{1}', '{1}')$$);

--
-- add_users() and add_items()
--
CREATE TABLE f_before AS SELECT 'u' AS side, user_id AS id, xmin::text AS x, ctid::text AS c FROM f_bias_users UNION ALL SELECT 'i', item_id, xmin::text AS x, ctid::text AS c FROM f_bias_items;
CREATE TABLE f_stamps AS SELECT stamp FROM f_bias;
SELECT collab.add_users('f_bias') AS users, collab.add_items('f_bias') AS items;
SELECT (SELECT stamp FROM f_bias) = stamp AS untouched FROM f_stamps;

-- New: 46 to 60 with ratings of items 1 to 39; 70 has rated only what is new, 71 nothing;
-- item 40 is new to a few, 80 to user 70 alone, 81 has no rating.
DELETE FROM f_source WHERE item_id = 40;
CALL collab.retrain('f_bias', options => '{"verbose": false}');
TRUNCATE f_before;
INSERT INTO f_before SELECT 'u' AS side, user_id AS id, xmin::text AS x, ctid::text AS c FROM f_bias_users UNION ALL SELECT 'i', item_id, xmin::text AS x, ctid::text AS c FROM f_bias_items;
INSERT INTO f_source SELECT * FROM ratings WHERE user_id > 45 OR item_id = 40;
INSERT INTO f_source VALUES (70, 80, 5), (71, 1, NULL), (1, 81, NULL);
CREATE TABLE f_expected AS
	SELECT n.user_id, o.* FROM f_new n, LATERAL collab.fold_in('f_bias', n.items, n.ratings) o;
SELECT count(*) FILTER (WHERE predicted = nobody) AS unknown, count(*) FROM (SELECT collab.predict('f_bias', user_id, 1) AS predicted, collab.predict('f_bias', -1, 1) AS nobody FROM f_expected) s;
SELECT collab.add_users('f_bias');
SELECT count(*) AS folded_in, count(*) FILTER (WHERE u.bias = e.bias AND u.factors = e.factors AND u.n_ratings = e.n_ratings) AS same
  FROM f_expected e JOIN f_bias_users u USING (user_id);
SELECT user_id, u.bias = h.mean_user_bias::real AS mean_bias_now, factors, n_ratings FROM f_bias_users u, expect.head('f_bias') h WHERE user_id >= 70 ORDER BY user_id;
SELECT count(*) AS users, h.n_users, h.n_items FROM f_bias_users, expect.head('f_bias') h GROUP BY h.n_users, h.n_items;
-- readers see them at once
SELECT count(*) FILTER (WHERE predicted = nobody) AS unknown, count(*) FROM (SELECT collab.predict('f_bias', user_id, 1) AS predicted, collab.predict('f_bias', -1, 1) AS nobody FROM f_expected) s;
SELECT collab.add_items('f_bias');
SELECT item_id, n_ratings, n_ratings = (SELECT count(rating) FROM f_source s JOIN f_bias_users USING (user_id) WHERE s.item_id = i.item_id) AS all_used, factors = '{0,0,0,0}' AS no_factors
  FROM f_bias_items i WHERE item_id >= 40 ORDER BY item_id;
-- the rows that were there are still the same rows
SELECT side, count(*), bool_and(now.x = f_before.x AND now.c = f_before.c) AS untouched
  FROM f_before LEFT JOIN (SELECT 'u' AS side, user_id AS id, xmin::text AS x, ctid::text AS c FROM f_bias_users
                     UNION ALL SELECT 'i', item_id, xmin::text AS x, ctid::text AS c FROM f_bias_items) now USING (side, id)
 GROUP BY side ORDER BY side;
-- the head follows, and touch() finds it so
SELECT count(*), min(n_users) AS users, min(n_items) AS items, bool_and(expect.near(user_prior, expect.moments(users))) AS user_prior, bool_and(expect.near(item_prior, expect.moments(items))) AS item_prior,
       bool_and(abs(mean_user_bias - (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM f_bias_users)) < 1e-9) AS mean_bias
  FROM expect.head('f_bias');
CREATE TABLE f_head AS SELECT * FROM expect.head('f_bias');
SELECT collab.touch('f_bias');
SELECT expect.near(h.user_prior, f.user_prior) AS user_prior, expect.near(h.item_prior, f.item_prior) AS item_prior, abs(h.mean_item_bias - f.mean_item_bias) < 1e-9 AS mean_bias, h.n_items = f.n_items AS n_items, h.stamp <> f.stamp AS stamp
  FROM expect.head('f_bias') h, f_head f;
-- all are known now
SELECT collab.add_users('f_bias') AS users, collab.add_items('f_bias') AS items;
-- a training is a training
CALL collab.retrain('f_bias', warm_start => true, options => '{"verbose": false}');
SELECT count(*) FILTER (WHERE u.n_ratings = e.n_ratings) AS same, count(*) FILTER (WHERE u.factors = e.factors) AS folded_in FROM f_expected e JOIN f_bias_users u USING (user_id);

-- The held-out part of the split stays out, whatever the order of the rows.
CREATE TABLE f_split_source AS SELECT * FROM ratings;
SELECT count(*) FROM collab.train('f_all', 'f_split_source', n_factors => 3, valid_pct => 0.5, seed => 7, verbose => false);
DELETE FROM f_split_source WHERE user_id > 40;
SELECT count(*) FROM collab.train('f_split', 'f_split_source', n_factors => 3, valid_pct => 0.5, seed => 7, verbose => false);
CREATE TABLE f_again_source AS SELECT * FROM f_split_source;
SELECT count(*) FROM collab.train('f_again', 'f_again_source', n_factors => 3, valid_pct => 0.5, seed => 7, verbose => false);
INSERT INTO f_split_source SELECT * FROM ratings WHERE user_id > 40 ORDER BY user_id, item_id;
INSERT INTO f_again_source SELECT * FROM ratings WHERE user_id > 40 ORDER BY md5(user_id::text || item_id);
SELECT collab.add_users('f_split') AS added, collab.add_users('f_again') AS again;
SELECT count(*), count(*) FILTER (WHERE s.n_ratings = a.n_ratings) AS same_part, bool_and(s.n_ratings < r.n) FILTER (WHERE r.n > 10) AS a_part
  FROM f_split_users s JOIN f_all_users a USING (user_id) JOIN (SELECT user_id, count(*) AS n FROM ratings GROUP BY user_id) r USING (user_id);
SELECT expect.same('f_split_users', 'f_again_users');
SELECT a.user_prior = b.user_prior AND a.mean_user_bias = b.mean_user_bias AS same_head FROM expect.head('f_split') a, expect.head('f_again') b;

-- Ratings outside the range
UPDATE f_split_source SET rating = 100 WHERE user_id = 50 AND item_id <= 20;
DELETE FROM f_split_users WHERE user_id = 50;
SELECT collab.add_users('f_split');

-- A transaction that fails leaves nothing
CREATE TABLE f_same AS SELECT * FROM f_dot_users;
INSERT INTO f_source VALUES (90, 1, 'NaN');
SELECT expect.error($$SELECT collab.add_users('f_dot')$$);
DELETE FROM f_source WHERE user_id = 90;
BEGIN;
SELECT collab.add_users('f_dot');
SELECT collab.predict('f_dot', 50, 1) <> collab.predict('f_dot', -1, 1) AS known;
ROLLBACK;
SELECT expect.same('f_same', 'f_dot_users'), collab.predict('f_dot', 50, 1) = collab.predict('f_dot', -1, 1) AS unknown;

-- Ids that do not fit
CREATE VIEW f_small_source AS SELECT user_id::smallint, item_id, rating FROM ratings WHERE user_id < 30;
SELECT count(*) FROM collab.train('f_small', 'f_small_source', n_factors => 2, verbose => false);
DROP VIEW f_small_source;
CREATE VIEW f_small_source AS SELECT user_id + CASE WHEN user_id < 30 THEN 0 ELSE 40000 END AS user_id, item_id, rating FROM ratings;
SELECT expect.error($$SELECT collab.add_users('f_small')$$);
SELECT collab.add_items('f_small');
DROP VIEW f_small_source;
CREATE VIEW f_small_source AS SELECT 'user ' || user_id AS user_id, item_id, rating FROM ratings;
SELECT expect.error($$SELECT collab.add_users('f_small')$$);
SELECT expect.error($$SELECT collab.add_items('f_small')$$);
-- the source is gone, or its columns are
DROP VIEW f_small_source;
SELECT expect.error($$SELECT collab.add_users('f_small')$$);
CREATE TABLE f_small_source (who integer, item_id integer, rating real);
SELECT expect.error($$SELECT collab.add_items('f_small')$$);
UPDATE f_small SET source = NULL;
SELECT expect.error($$SELECT collab.add_users('f_small')$$);
UPDATE f_small SET source = 'f_source', options = NULL;
SELECT expect.error($$SELECT collab.add_users('f_small')$$);
-- a head that does not tell enough, or lies
UPDATE f_text SET user_prior = NULL, stamp = 0;
SELECT expect.error($$SELECT collab.add_users('f_text')$$);
SELECT expect.error($$SELECT collab.fold_in('f_text', '{item 1}', '{1}')$$);
SELECT round(collab.predict('f_text', 1, 'item 1')) BETWEEN 1 AND 5 AS predicts;
SELECT collab.touch('f_text');
SELECT n_ratings FROM collab.fold_in('f_text', '{item 1}', '{1}');
UPDATE f_text SET train_loss = NULL, stamp = 1;
SELECT expect.error($$SELECT collab.fold_in('f_text', '{item 1}', '{1}')$$);
SELECT p, expect.error(format('UPDATE f_text SET stamp = 2, user_prior = %L; SELECT collab.fold_in(''f_text'', ''{item 1}'', ''{1}'')', p)) FROM unnest(ARRAY['{}', '{1,1,1}', '{1,1,1,NaN}', '{-1,1,1,1}', '{1,1,NULL,1}', '{1,1,1,Infinity}']) p;
-- more memory than is allowed
CREATE VIEW f_large_source AS SELECT * FROM f_source UNION ALL SELECT u, i, 3 FROM generate_series(1000, 9000) u, generate_series(1, 39) i;
UPDATE f_dot SET source = 'f_large_source';
SET collab.max_memory = '1MB';
\set VERBOSITY sqlstate
SELECT collab.add_users('f_dot');
\set VERBOSITY default
RESET collab.max_memory;
-- who may
CREATE ROLE regress_collab_folder;
GRANT SELECT ON f_bias, f_bias_users, f_bias_items, f_source TO regress_collab_folder;
SET ROLE regress_collab_folder;
SELECT collab.add_users('f_bias');
SELECT n_ratings FROM collab.fold_in('f_bias', '{1}', '{1}');
RESET ROLE;
REVOKE SELECT ON f_bias_users FROM regress_collab_folder;
SET ROLE regress_collab_folder;
SELECT n_ratings FROM collab.fold_in('f_bias', '{1}', '{1}');
RESET ROLE;
REVOKE SELECT ON f_bias_items FROM regress_collab_folder;
SET ROLE regress_collab_folder;
SELECT collab.fold_in('f_bias', '{1}', '{1}');
RESET ROLE;
DROP OWNED BY regress_collab_folder;
DROP ROLE regress_collab_folder;
BEGIN READ ONLY;
SELECT n_ratings FROM collab.fold_in('f_bias', '{1}', '{1}');
SELECT collab.add_users('f_bias');
ROLLBACK;
SELECT expect.error($$SELECT collab.add_users('ratings')$$);
SELECT collab.add_users(NULL), collab.add_items(NULL);

SET client_min_messages = warning;
SELECT collab.drop_model(m) FROM unnest('{f_bias,f_norange,f_nobias,f_dot,f_cold,f_cold_nobias,f_text,f_uuid,f_all,f_split,f_again,f_small}'::regclass[]) m;
DROP TABLE f_models, f_source, f_halves, f_cold_source, f_before, f_stamps, f_expected, f_head, f_split_source, f_again_source, f_same, f_small_source CASCADE;
DROP VIEW f_new;
DROP DOMAIN f_item;
DROP FUNCTION expect.moments, expect.near, expect.objective, expect.folded;
