--
-- Ids of every kind
--
CREATE DOMAIN k_code AS text CHECK (VALUE <> '');
CREATE DOMAIN k_short AS varchar(20);
CREATE DOMAIN k_positive AS integer CHECK (VALUE > 0);
CREATE TABLE k_ratings AS
	SELECT user_id::smallint AS u2, item_id::smallint AS i2,
	       user_id AS u4, item_id AS i4,
	       user_id::bigint + 5000000000 AS u8, item_id::bigint - 5000000000 AS i8,
	       'user ' || user_id AS ut, 'item ' || item_id AS it,
	       ('user ' || user_id)::varchar(20) AS uv, ('item ' || item_id)::varchar(20) AS iv,
	       md5('user ' || user_id)::uuid AS uu, md5('item ' || item_id)::uuid AS iu,
	       ('u' || user_id)::k_code AS ud, ('i' || item_id)::k_code AS "id",
	       user_id::k_positive AS up, ('i' || item_id)::k_short AS "is",
	       rating
	  FROM ratings;
SELECT name, count(*)
  FROM (VALUES ('smallint', 'u2', 'i2'), ('integer', 'u4', 'i4'), ('bigint', 'u8', 'i8'), ('text', 'ut', 'it'), ('varchar', 'uv', 'iv'),
               ('uuid', 'uu', 'iu'), ('domain', 'ud', 'id'), ('domains', 'up', 'is'), ('mixed', 'u8', 'it')) v(name, u, i),
       LATERAL collab.train('k_' || name, 'k_ratings', u, i, n_factors => 4, n_epochs => 3, verbose => false)
 GROUP BY name ORDER BY name;
-- the columns are of the source's types, domains as what they are over
SELECT a.attrelid::regclass AS model_table, a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a
 WHERE a.attrelid::regclass::text ~ '^k_.*_(users|items)$' AND a.attnum = 1
 ORDER BY a.attrelid::regclass::text COLLATE "C";
-- integers of the same order give the same model, whatever their width
SELECT bool_and(a.factors = b.factors AND a.bias = b.bias) FROM k_integer_users a JOIN k_smallint_users b USING (user_id);
SELECT bool_and(a.factors = b.factors AND a.bias = b.bias) FROM k_text_users a JOIN k_varchar_users b USING (user_id);

-- predict() takes ids of the key's own family ...
SELECT count(*), bool_and(p > 0.5 AND p < 5.5) AS in_range, count(DISTINCT p) > 100 AS distinct_ones FROM (SELECT collab.predict('k_smallint', u2, i2) AS p FROM k_ratings) s;
SELECT bool_and(collab.predict('k_smallint', u2, i2) = collab.predict('k_integer', u4, i4)) AS widths FROM k_ratings;
SELECT bool_and(collab.predict('k_smallint', u2, i2) = collab.predict('k_smallint', u4, i4::bigint)) AS widths FROM k_ratings;
SELECT bool_and(collab.predict('k_bigint', u8, i8) = collab.predict('k_bigint', u8::text, i8::text)) AS as_text FROM k_ratings;
SELECT bool_and(collab.predict('k_text', ut, it) = collab.predict('k_varchar', ut, it)) AS text_for_varchar FROM k_ratings;
SELECT bool_and(collab.predict('k_text', uv, iv) = collab.predict('k_varchar', uv, iv)) AS varchar_for_text FROM k_ratings;
SELECT bool_and(collab.predict('k_uuid', uu, iu) = collab.predict('k_uuid', uu::text, iu::text)) AS as_text FROM k_ratings;
SELECT bool_and(collab.predict('k_domain', ud, id) = collab.predict('k_domain', ud::text, id::varchar)) AS domain_or_base FROM k_ratings;
SELECT bool_and(collab.predict('k_domains', up, "is") = collab.predict('k_domains', u2, "is"::text)) AS domain_or_base FROM k_ratings;
SELECT bool_and(collab.predict('k_mixed', u8, it) > 0) AS mixed FROM k_ratings;
-- ... and ids of all kinds given as text, as literals, or as parameters
SELECT collab.predict('k_integer', '7', '3') = collab.predict('k_integer', 7, 3) AS literals;
SELECT collab.predict('k_integer', 7, '3') = collab.predict('k_integer', 7, 3) AS one_literal;
SELECT collab.predict('k_integer', '7', 3::smallint) = collab.predict('k_integer', 7, 3) AS one_literal;
SELECT collab.predict('k_integer', ' 7 ', '+3') = collab.predict('k_integer', 7, 3) AS as_integers_are_read;
SELECT collab.predict('k_integer', '7'::text, '3'::varchar) = collab.predict('k_integer', 7, 3) AS texts;
SELECT collab.predict('k_uuid', upper(md5('user 7')), '{' || md5('item 3') || '}') = collab.predict('k_uuid', md5('user 7')::uuid, md5('item 3')::uuid) AS as_uuids_are_read;
SELECT collab.predict('k_mixed', 5000000007, 'item 3') = collab.predict('k_mixed', '5000000007', 'item 3') AS mixed;
SELECT collab.predict('k_text', 'user 7', 'item 3'::text) = collab.predict('k_text', 'user 7'::varchar, 'item 3') AS texts;
PREPARE k_untyped AS SELECT collab.predict('k_integer', $1, $2) = collab.predict('k_integer', 7, 3) AS untyped;
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'k_untyped';
EXECUTE k_untyped('7', '3');
EXECUTE k_untyped(7, 3);
PREPARE k_typed(bigint, smallint) AS SELECT collab.predict('k_integer', $1, $2) = collab.predict('k_integer', 7, 3) AS typed;
EXECUTE k_typed(7, 3);
SET plan_cache_mode = force_generic_plan;
EXECUTE k_untyped('7', '3');
EXECUTE k_typed(7, 3);
RESET plan_cache_mode;
PREPARE k_model(regclass, uuid, uuid) AS SELECT collab.predict($1, $2, $3) > 0 AS model;
EXECUTE k_model('k_uuid', md5('user 7')::uuid, md5('item 3')::uuid);
PREPARE k_one_untyped AS SELECT collab.predict('k_integer', 7, $1) = collab.predict('k_integer', 7, 3) AS one_untyped;
PREPARE k_other_untyped AS SELECT collab.predict('k_uuid', $1, md5('item 3')::uuid) = collab.predict('k_uuid', md5('user 7')::uuid, md5('item 3')::uuid) AS one_untyped;
EXECUTE k_one_untyped('3');
EXECUTE k_other_untyped(md5('user 7'));
-- an integer beyond the key type's range is unknown, as one is that nobody has
SELECT collab.predict('k_smallint', 70000, 3) = collab.predict('k_smallint', 1000, 3) AS unknown;
SELECT collab.predict('k_smallint', 9223372036854775807, 3) = collab.predict('k_smallint', 1000, 3) AS unknown;
SELECT collab.predict('k_smallint', '70000', '3') = collab.predict('k_smallint', 1000, 3) AS unknown;
SELECT collab.predict('k_integer', 7 + 4294967296, 3) = collab.predict('k_integer', 1000, 3) AS unknown;
SELECT collab.predict('k_integer', 7, 3) <> collab.predict('k_integer', 1000, 3) AS known_differs;
SELECT collab.predict('k_text', 'nobody', 'item 3') = collab.predict('k_text', '', 'item 3') AS unknown;
SELECT collab.predict('k_varchar', repeat('x', 100), 'item 3') = collab.predict('k_varchar', 'nobody', 'item 3') AS unknown;
SELECT collab.predict('k_uuid', gen_random_uuid(), md5('item 3')::uuid) = collab.predict('k_uuid', '00000000-0000-0000-0000-000000000000', md5('item 3')) AS unknown;

-- Results are in the key's own type.
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_smallint')$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_smallint', 5, NULL::smallint)$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_integer', 5, NULL::integer)$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_text', 5, NULL::text)$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_varchar', 5, NULL::varchar)$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_uuid', 5, NULL::uuid)$$);
SELECT expect.types($$SELECT * FROM collab.movie_bias('k_domain', 5, NULL::k_code)$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_smallint', 3::smallint)$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_integer', 3)$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_bigint', 3::bigint)$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_integer', '3')$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_text', 'item 3')$$);
SELECT expect.types($$SELECT * FROM collab.cosine_similar('k_uuid', NULL::uuid)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project('k_bigint')$$);
SELECT expect.types($$SELECT * FROM collab.pca_project('k_smallint', 2, NULL::smallint)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project('k_integer', 2, NULL::integer)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project('k_text', 2, NULL::text)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project('k_uuid', 2, NULL::uuid, top => 3)$$);
-- and they are ids of items
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_smallint', 100) m JOIN k_smallint_items i ON i.item_id = m.item_id;
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_smallint', 100, NULL::smallint) JOIN k_smallint_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_smallint', 100, NULL::bigint) m JOIN k_smallint_items i ON i.item_id = m.item_id;
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_bigint', 100) JOIN k_bigint_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_text', 100, NULL::text) JOIN k_text_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_text', 100, NULL::varchar) JOIN k_text_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_uuid', 100, NULL::uuid) JOIN k_uuid_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('k_domain', 100, NULL::k_code) JOIN k_domain_items USING (item_id);
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_smallint', 3::smallint, 100) JOIN k_smallint_items USING (item_id);
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_bigint', -4999999997, 100) JOIN k_bigint_items USING (item_id);
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_bigint', '-4999999997', 100) s JOIN k_bigint_items i ON i.item_id::text = s.item_id;
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_uuid', md5('item 3'), 100) s JOIN k_uuid_items i ON i.item_id = s.item_id::uuid;
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_uuid', md5('item 3')::uuid, 100) JOIN k_uuid_items USING (item_id);
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_varchar', 'item 3'::varchar, 100) JOIN k_varchar_items USING (item_id);
SELECT count(*) = 39 AS all_others FROM collab.cosine_similar('k_domains', 'i3'::k_short, 100) JOIN k_domains_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.pca_project('k_text', 2, NULL::text) JOIN k_text_items USING (item_id);
SELECT count(*) = 40 AS all_items FROM collab.pca_project('k_bigint') JOIN k_bigint_items USING (item_id);

-- The wrong type
SELECT expect.error($$SELECT collab.predict('k_integer', 'seven', '3')$$);
SELECT expect.error($$SELECT collab.predict('k_integer', '99999999999999999999', '3')$$);
SELECT expect.error($$SELECT collab.predict('k_integer', '', '3')$$);
SELECT expect.error($$SELECT collab.predict('k_uuid', 'seven', md5('item 3'))$$);
SELECT expect.error($$SELECT collab.predict('k_integer', 7.0, 3)$$);
SELECT expect.error($$SELECT collab.predict('k_integer', 7, 3::real)$$);
SELECT expect.error($$SELECT collab.predict('k_integer', md5('x')::uuid, 3)$$);
SELECT expect.error($$SELECT collab.predict('k_integer', ROW(7), 3)$$);
SELECT expect.error($$SELECT collab.predict('k_integer', ARRAY[7], 3)$$);
SELECT expect.error($$SELECT collab.predict('k_text', 7, 3)$$);
SELECT expect.error($$SELECT collab.predict('k_text', 'user 7', 3)$$);
SELECT expect.error($$SELECT collab.predict('k_text', 'user 7', 'item 3'::char(6))$$);
SELECT expect.error($$SELECT collab.predict('k_text', 'user 7', 'item 3'::name)$$);
SELECT expect.error($$SELECT collab.predict('k_uuid', 7, 3)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_text')$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_uuid', 3)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_text', 3, NULL::integer)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_integer', 3, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_integer', 3, NULL::numeric)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_text', 3, 'item 3'::text)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_integer', 3, 3)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('k_text')$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('k_uuid', 2, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('k_uuid', 2, gen_random_uuid())$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_text', 3)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_integer', 3.0)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_integer', 'three')$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_uuid', 'three')$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_uuid', true)$$);
-- a result type that is too narrow for some id
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_bigint', 3, NULL::integer)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('k_bigint', 2, NULL::smallint)$$);

-- a result type that some id is no value of
CREATE DOMAIN k_not_three AS text CHECK (VALUE <> 'item 3');
SELECT expect.error($$SELECT * FROM collab.movie_bias('k_text', 100, NULL::k_not_three)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('k_text', 2, NULL::k_not_three)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('k_text', 'item 4'::k_not_three, 100)$$);

-- Types that cannot be ids
CREATE TABLE k_unsupported (n numeric, d date, c char(3), m name, b boolean, f real, e bytea, a integer[], j jsonb, u integer, i integer, rating integer);
INSERT INTO k_unsupported VALUES (1, '2000-01-01', 'abc', 'abc', true, 1, 'abc', '{1}', '1', 1, 1, 1);
\pset format unaligned
SELECT n, expect.error(format($$SELECT * FROM collab.train('k_no', 'k_unsupported', %L, 'i')$$, n))
  FROM unnest('{n,d,c,m,b,f,e,a,j,ctid,tableoid}'::text[]) AS s(n);
\pset format aligned
SELECT expect.error($$SELECT * FROM collab.train('k_no', 'k_unsupported', 'u', 'n')$$);
-- the way out
CREATE VIEW k_supported AS SELECT n::bigint AS user_id, c::text AS item_id, rating FROM k_unsupported;
SELECT count(*) FROM collab.train('k_yes', 'k_supported', verbose => false);
-- A nondeterministic collation, where the server has ICU; without it there are none.
SET client_min_messages = warning;
DO $$
DECLARE
	what text;
BEGIN
	BEGIN
		CREATE COLLATION k_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE k_collated (user_id integer, item_id text COLLATE k_blind, rating integer);
		INSERT INTO k_collated VALUES (1, 'a', 1), (1, 'A', 2);
	EXCEPTION WHEN feature_not_supported THEN
		RETURN;
	END;
	what := expect.error('SELECT * FROM collab.train(''k_no'', ''k_collated'')');
	IF what <> '0A000: column "item_id" has a nondeterministic collation and cannot hold user or item ids' ||
		E'\nHINT: Train from a view that gives it another collation, such as COLLATE "C".' THEN
		RAISE WARNING '%', what;
	END IF;
	-- the way out
	CREATE VIEW k_collated_c AS SELECT user_id, item_id COLLATE "C", rating FROM k_collated;
	PERFORM collab.train('k_collated_model', 'k_collated_c', verbose => false, valid_pct => 0);
	IF (SELECT count(*) FROM k_collated_model_items) <> 2 THEN
		RAISE WARNING 'a and A are not two items';
	END IF;
	-- no text that compares by another collation finds anything else
	IF collab.predict('k_collated_model', '1', 'a' COLLATE k_blind) IS DISTINCT FROM collab.predict('k_collated_model', '1', 'a') THEN
		RAISE WARNING 'ids depend on the collation';
	END IF;
	PERFORM collab.drop_model('k_collated_model');
	DROP VIEW k_collated_c;
	DROP TABLE k_collated;
END $$;
RESET client_min_messages;
-- A column's own collation is that of the model's.
CREATE TABLE k_collate_c (user_id text COLLATE "C", item_id varchar(9) COLLATE "POSIX", rating integer);
INSERT INTO k_collate_c SELECT user_id, item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('k_collate', 'k_collate_c', n_factors => 1, n_epochs => 1, verbose => false);
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod), attcollation::regcollation FROM pg_attribute
 WHERE attrelid IN ('k_collate_users'::regclass, 'k_collate_items'::regclass) AND attnum = 1 ORDER BY attname;

-- Text ids are compared by their bytes: trailing space, case, accents, nothing at all.
CREATE TABLE k_texts (user_id integer, item_id text, rating integer);
INSERT INTO k_texts
SELECT u, i, 1 + (u * n) % 5
  FROM generate_series(1, 20) u,
       unnest(ARRAY['', ' ', 'a', 'a ', ' a', 'A', 'ä', 'Ä', 'a' || E'\xCC\x88', 'ß', 'SS', 'Amélie', 'Λ', '羅生門', '🎬', E'tab\tin', E'new\nline', '''', '"', '\', '%', 'NULL', '0', '00']) WITH ORDINALITY AS t(i, n);
SELECT count(*) FROM collab.train('k_texts_model', 'k_texts', n_factors => 2, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT count(*), count(DISTINCT item_id COLLATE "C"), min(n_ratings), max(n_ratings) FROM k_texts_model_items;
-- each is found
SELECT count(*) AS found
  FROM k_texts_model_items i, k_texts_model h
 WHERE abs(collab.predict('k_texts_model', '1', i.item_id) -
           (SELECT expect.scaled(expect.dot(u.factors, i.factors) + u.bias + i.bias, h.y_range) FROM k_texts_model_users u WHERE user_id = 1)) < 1e-5;
SELECT item_id FROM collab.movie_bias('k_texts_model', 100, NULL::text) EXCEPT SELECT item_id FROM k_texts;
SELECT s.item_id IN (SELECT item_id FROM k_texts) AS an_item FROM collab.cosine_similar('k_texts_model', '羅生門', 1) s;
SELECT count(*) FROM collab.cosine_similar('k_texts_model', '', 100);
SELECT count(*) FROM collab.cosine_similar('k_texts_model', 'b', 100);

-- Text ids of 2,600 bytes, not more.
CREATE TABLE k_long (user_id integer, item_id text, rating integer);
INSERT INTO k_long SELECT user_id, string_agg(md5(item_id::text || n), '') || repeat('x', 2600 - 81 * 32), max(rating) FROM ratings, generate_series(1, 81) n GROUP BY user_id, item_id;
SELECT count(*) FROM collab.train('k_long_model', 'k_long', n_factors => 1, n_epochs => 1, verbose => false);
SELECT max(octet_length(item_id)), count(*) FROM k_long_model_items;
SELECT bool_and(collab.predict('k_long_model', user_id::text, item_id) > 0) FROM k_long;
SELECT collab.predict('k_long_model', '1', repeat('y', 1000000)) = collab.predict('k_long_model', '1', 'y') AS unknown;
INSERT INTO k_long VALUES (1, repeat('ä', 1300) || 'x', 3);
SELECT expect.error($$SELECT * FROM collab.train('k_no', 'k_long')$$);
SELECT expect.error($$SELECT * FROM collab.train('k_no', 'k_long', 'item_id', 'user_id')$$);
CALL collab.retrain('k_long_model');

-- Ends of the integers' ranges.
CREATE TABLE k_extremes (user_id bigint, item_id smallint, rating integer);
INSERT INTO k_extremes VALUES (-9223372036854775808, -32768, 1), (9223372036854775807, 32767, 5), (0, 0, 3), (-1, -1, 2), (1, 1, 4);
SELECT count(*) FROM collab.train('k_extreme', 'k_extremes', n_factors => 1, n_epochs => 1, valid_pct => 0, verbose => false);
SELECT user_id, n_ratings FROM k_extreme_users ORDER BY 1;
SELECT item_id, n_ratings FROM k_extreme_items ORDER BY 1;
SELECT count(DISTINCT collab.predict('k_extreme', user_id, item_id)) FROM k_extremes;
SELECT item_id BETWEEN -32768 AND 32767 AS an_item FROM collab.movie_bias('k_extreme', 5, NULL::smallint);

-- The models' key types and those of another source: of one family, the ids
-- must fit; then hints are followed
SELECT expect.error($$SELECT * FROM collab.train('k_integer', 'k_ratings', 'u8', 'i8', replace => true, verbose => false)$$);
SELECT expect.error($$SELECT * FROM collab.train('k_smallint', 'k_ratings', 'u4', 'i8', replace => true, verbose => false)$$);
ALTER TABLE k_integer_users ALTER COLUMN user_id TYPE bigint;
ALTER TABLE k_integer_items ALTER COLUMN item_id TYPE bigint;
SELECT count(*) FROM collab.train('k_integer', 'k_ratings', 'u8', 'i8', n_factors => 4, n_epochs => 3, verbose => false, replace => true);
SELECT expect.same('k_integer_users', 'k_bigint_users') AS users, expect.same('k_integer_items', 'k_bigint_items') AS items;
SELECT count(*) FROM collab.train('k_smallint', 'k_ratings', 'u4', 'i2', n_factors => 4, n_epochs => 3, verbose => false, replace => true);
SELECT expect.error($$SELECT * FROM collab.train('k_integer', 'k_ratings', 'u4', 'it', replace => true)$$);
SELECT expect.error($$SELECT * FROM collab.train('k_text', 'k_ratings', 'u4', 'i4', replace => true)$$);
SELECT expect.error($$SELECT * FROM collab.train('k_uuid', 'k_ratings', 'ut', 'it', replace => true)$$);
SELECT expect.error($$SELECT * FROM collab.train('k_bigint', 'k_ratings', 'u4', 'i4', verbose => false, replace => true)$$);
-- text and varchar hold the same ids, but not of the same length
SELECT count(*) FROM collab.train('k_varchar', 'k_ratings', 'ut', 'it', n_factors => 1, n_epochs => 1, verbose => false, replace => true);
CREATE TABLE k_longer AS SELECT ut AS user_id, repeat(it, 10) AS item_id, rating FROM k_ratings;
SELECT expect.error($$SELECT * FROM collab.train('k_varchar', 'k_longer', n_factors => 1, n_epochs => 1, verbose => false, replace => true)$$);
SELECT max(length(item_id)) <= 20 AS within_its_length FROM k_varchar_items;
SELECT count(*) FROM collab.train('k_text', 'k_longer', n_factors => 1, n_epochs => 1, verbose => false, replace => true);

SELECT count(collab.drop_model(model)) FROM collab.models;
SELECT count(*) FROM collab.models;
