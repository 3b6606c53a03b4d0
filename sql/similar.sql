--
-- collab.cosine_similar(), collab.similar_users() and collab.cosine_similarity()
--

-- Two vectors, worked by hand
SELECT collab.cosine_similarity('{1,0}', '{1,0}') AS same, collab.cosine_similarity('{1,0}', '{0,1}') AS across,
       collab.cosine_similarity('{1,2}', '{-1,-2}') AS against, collab.cosine_similarity('{3,4}', '{4,3}') AS by_hand;	-- 24 / 25
SELECT collab.cosine_similarity('{1,2,3}', '{2,4,6}') AS longer, collab.cosine_similarity('{5}', '{0.1}') AS one, collab.cosine_similarity('{5}', '{-3}') AS one;
SELECT pg_typeof(collab.cosine_similarity('{1}', '{1}'));
SELECT collab.cosine_similarity(ARRAY[3, 4]::real[], ARRAY[4, 3]::integer[]::real[]) AS from_integers;
-- never beyond 1, and not lost to overflow or underflow
SELECT bool_and(collab.cosine_similarity(v, v) = 1) AS one
  FROM (SELECT array_agg(((n * g % 17) / 7.0 + 0.1)::real) AS v FROM generate_series(1, 31) n, generate_series(1, 50) g GROUP BY g) s;
SELECT round(collab.cosine_similarity('{3e38,3e38}', '{3e38,0}')::numeric, 3) AS large, round(collab.cosine_similarity('{1e-30,1e-30}', '{1e-30,0}')::numeric, 3) AS small;
-- a zero vector points nowhere
SELECT collab.cosine_similarity('{0,0}', '{1,0}') AS zero, collab.cosine_similarity('{0,0}', '{0,0}') AS zero, collab.cosine_similarity('{}', '{}') AS empty;
SELECT collab.cosine_similarity(NULL, '{1}') AS "null", collab.cosine_similarity('{1}', NULL) AS "null";
SELECT collab.cosine_similarity('{NaN}', '{1}') AS nan;
-- other bounds
SELECT collab.cosine_similarity('[0:1]={3,4}', '[5:6]={4,3}') AS by_hand;
SELECT expect.error($$SELECT collab.cosine_similarity('{1,2}', '{1,2,3}')$$);
SELECT expect.error($$SELECT collab.cosine_similarity('{1}', '{}')$$);
SELECT expect.error($$SELECT collab.cosine_similarity('{1,NULL}', '{1,2}')$$);
SELECT expect.error($$SELECT collab.cosine_similarity('{1,2}', '{NULL,2}')$$);
SELECT expect.error($$SELECT collab.cosine_similarity('{{1,2},{3,4}}', '{{1,2},{3,4}}')$$);
SELECT expect.error($$SELECT collab.cosine_similarity('{{1,2}}', '{1,2}')$$);

-- An item's neighbours, against SQL
SELECT count(*) FROM collab.train('s_model', 'ratings', n_factors => 6, n_epochs => 10, lr_max => 0.05, wd => 0.01, verbose => false);
CREATE VIEW s_expected AS
	SELECT a.item_id AS item, b.item_id, collab.cosine_similarity(a.factors, b.factors) AS similarity,
	       expect.dot(a.factors, b.factors) / sqrt(expect.dot(a.factors, a.factors) * expect.dot(b.factors, b.factors)) AS by_hand
	  FROM s_model_items a, s_model_items b
	 WHERE a.item_id <> b.item_id;
SELECT count(*) AS pairs, count(*) FILTER (WHERE abs(similarity - by_hand) > 1e-6) AS wrong FROM s_expected;
SELECT count(*) AS pairs, count(*) FILTER (WHERE abs(n.similarity - e.by_hand) > 1e-5) AS wrong
  FROM s_expected e
  FULL JOIN (SELECT i.item_id AS item, n.* FROM s_model_items i, LATERAL collab.cosine_similar('s_model', i.item_id, 100) n) n USING (item, item_id);
-- in order, nearest first, and without the item itself
SELECT bool_and(ordered) AS ordered, bool_or(itself) AS itself
  FROM s_model_items i,
       LATERAL (SELECT n.similarity <= lag(n.similarity, 1, 1::real) OVER () AS ordered, n.item_id = i.item_id AS itself
                  FROM collab.cosine_similar('s_model', i.item_id, 100) n) s;
-- the first k of them
SELECT count(*) FROM collab.cosine_similar('s_model', 7);
SELECT count(*) FROM collab.cosine_similar('s_model', 7, 1);
SELECT count(*) FROM collab.cosine_similar('s_model', 7, 2147483647);
SELECT (SELECT array_agg(item_id) FROM collab.cosine_similar('s_model', 7, 5)) = (array_agg(item_id))[1:5] AS first_five FROM collab.cosine_similar('s_model', 7, 39);
-- what was planted: items of one taste are near, those of the opposite one far
-- (item i has the planted taste i % 4 - 1)
SELECT avg(similarity) FILTER (WHERE n.item_id % 4 = 3) > 0.1 AS near, avg(similarity) FILTER (WHERE n.item_id % 4 = 0) < -0.1 AS far
  FROM generate_series(3, 39, 4) i, LATERAL collab.cosine_similar('s_model', i, 100) n;

-- Ties by id; zero vectors are nobody's neighbours and have none.
UPDATE s_model_items SET factors = CASE WHEN item_id IN (3, 9, 21) THEN '{1,0,0,0,0,0}'::real[] WHEN item_id IN (8, 30) THEN '{2,0,0,0,0,0}' WHEN item_id = 40 THEN '{-1,0,0,0,0,0}' WHEN item_id = 5 THEN '{1,1,0,0,0,0}' ELSE '{0,0,0,0,0,0}' END;
SELECT collab.touch('s_model');
SELECT item_id, round(similarity::numeric, 3) AS similarity FROM collab.cosine_similar('s_model', 21, 100);
SELECT count(*) FROM collab.cosine_similar('s_model', 1, 100);

-- Items without training ratings
SELECT count(*) FROM collab.train('s_cold', 'ratings', n_factors => 2, n_epochs => 1, valid_pct => 0.95, verbose => false);
SELECT count(*) > 0 AS some_cold, sum((SELECT count(*) FROM collab.cosine_similar('s_cold', i.item_id))) AS neighbours FROM s_cold_items i WHERE n_ratings = 0;
SELECT bool_or(c.n_ratings = 0) AS cold_neighbours FROM s_cold_items i, LATERAL collab.cosine_similar('s_cold', i.item_id, 100) n JOIN s_cold_items c ON c.item_id = n.item_id;

-- Models without biases, and of one item
SELECT count(*) FROM collab.train('s_dot', 'ratings', n_factors => 2, n_epochs => 1, use_bias => false, y_range => NULL, verbose => false);
SELECT count(*) FROM collab.cosine_similar('s_dot', 7, 100);
CREATE TABLE s_single AS SELECT user_id, 1 AS item_id, 1 + user_id % 5 AS rating FROM generate_series(1, 5) user_id;
SELECT count(*) FROM collab.train('s_one', 's_single', n_factors => 2, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.cosine_similar('s_one', 1);

-- What nobody knows, NULL and nonsense
SELECT count(*) FROM collab.cosine_similar('s_model', 1000);
SELECT count(*) FROM collab.cosine_similar('s_model', 5000000000);
SELECT count(*) FROM collab.cosine_similar('s_model', NULL::integer);
SELECT count(*) FROM collab.cosine_similar('s_model', NULL);
SELECT count(*) FROM collab.cosine_similar(NULL, 7);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('s_model', 7, NULL)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('s_model', 7, 0)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('s_model', 7, -3)$$);
SELECT expect.error($$SELECT * FROM collab.cosine_similar('s_model', '7', 0)$$);

-- Within queries
SELECT t.title FROM (VALUES (3, 'Three'), (8, 'Eight'), (30, 'Thirty')) t(item_id, title) JOIN collab.cosine_similar('s_model', 21, 3) USING (item_id) ORDER BY t.item_id;
SELECT item_id, pg_typeof(item_id) FROM collab.cosine_similar('s_model', '21', 2);
SELECT item_id, pg_typeof(item_id) FROM collab.cosine_similar('s_model', 21::bigint, k => 2);
PREPARE s_prepared AS SELECT item_id, pg_typeof(item_id) FROM collab.cosine_similar('s_model', $1, 2);
EXECUTE s_prepared('21');
PREPARE s_typed(integer, integer) AS SELECT item_id FROM collab.cosine_similar('s_model', $1, $2);
EXECUTE s_typed(21, 1);
SELECT i, n.item_id FROM (VALUES (21), (5), (1), (NULL), (1000)) v(i) LEFT JOIN LATERAL collab.cosine_similar('s_model', i, 1) n ON true ORDER BY 1;

-- A user's neighbours, by the same rules, against SQL
CREATE VIEW s_expected_users AS
	SELECT a.user_id AS other, b.user_id,
	       expect.dot(a.factors, b.factors) / sqrt(expect.dot(a.factors, a.factors) * expect.dot(b.factors, b.factors)) AS by_hand
	  FROM s_model_users a, s_model_users b
	 WHERE a.user_id <> b.user_id AND a.n_ratings > 0 AND b.n_ratings > 0;
SELECT count(*) = (SELECT count(*) FROM s_expected_users) AS pairs, count(*) FILTER (WHERE n.similarity IS NULL OR e.by_hand IS NULL OR abs(n.similarity - e.by_hand) > 1e-5) AS wrong
  FROM s_expected_users e
  FULL JOIN (SELECT u.user_id AS other, n.* FROM s_model_users u, LATERAL collab.similar_users('s_model', u.user_id, 100) n) n USING (other, user_id);
SELECT bool_and(ordered) AS ordered, bool_or(itself) AS itself
  FROM s_model_users u,
       LATERAL (SELECT n.similarity <= lag(n.similarity, 1, 1::real) OVER () AS ordered, n.user_id = u.user_id AS itself
                  FROM collab.similar_users('s_model', u.user_id, 100) n) s;
SELECT count(*) FROM collab.similar_users('s_model', 7);
SELECT count(*) FROM collab.similar_users('s_model', 7, 1);
SELECT (SELECT array_agg(user_id) FROM collab.similar_users('s_model', 7, 5)) = (array_agg(user_id))[1:5] AS first_five FROM collab.similar_users('s_model', 7, 2147483647);
-- (user u has the planted taste u % 3 - 1)
SELECT avg(similarity) FILTER (WHERE n.user_id % 3 = 2) > avg(similarity) FILTER (WHERE n.user_id % 3 = 0) + 0.2 AS nearer
  FROM generate_series(2, 59, 3) u, LATERAL collab.similar_users('s_model', u, 100) n;
-- ties by id, zero vectors; the items are none of the users' business
UPDATE s_model_users SET factors = CASE WHEN user_id IN (3, 9, 21) THEN '{0,1,0,0,0,0}'::real[] WHEN user_id IN (8, 50) THEN '{0,2,0,0,0,0}' WHEN user_id = 40 THEN '{0,-1,0,0,0,0}' WHEN user_id = 5 THEN '{0,1,1,0,0,0}' ELSE '{0,0,0,0,0,0}' END;
SELECT collab.touch('s_model');
SELECT user_id, round(similarity::numeric, 3) AS similarity FROM collab.similar_users('s_model', 21, 100);
SELECT count(*) FROM collab.similar_users('s_model', 1, 100);
SELECT i.item_id, u.user_id FROM collab.cosine_similar('s_model', 21, 2) WITH ORDINALITY i JOIN collab.similar_users('s_model', 21, 2) WITH ORDINALITY u USING (ordinality) ORDER BY ordinality;
-- users without training ratings
SELECT count(*) > 0 AS some_cold, sum((SELECT count(*) FROM collab.similar_users('s_cold', u.user_id))) AS neighbours FROM s_cold_users u WHERE n_ratings = 0;
SELECT bool_or(c.n_ratings = 0) AS cold_neighbours FROM s_cold_users u, LATERAL collab.similar_users('s_cold', u.user_id, 100) n JOIN s_cold_users c ON c.user_id = n.user_id;
-- a model without biases, and a user alone
SELECT count(*) = (SELECT count(*) - 1 FROM s_dot_users WHERE n_ratings > 0) AS all_others FROM collab.similar_users('s_dot', 7, 100);
CREATE TABLE s_hermit AS SELECT 1 AS user_id, item_id, 1 + item_id % 5 AS rating FROM generate_series(1, 5) item_id;
SELECT count(*) FROM collab.train('s_alone', 's_hermit', n_factors => 2, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.similar_users('s_alone', 1);

-- Users of one kind, items of another
CREATE TABLE s_kinds AS SELECT 'user ' || user_id AS t, md5('user ' || user_id)::uuid AS u, item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('s_text', 's_kinds', 't', n_factors => 3, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT count(*) FROM collab.train('s_uuid', 's_kinds', 'u', n_factors => 3, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT expect.types($$SELECT * FROM collab.similar_users('s_text', 'user 7')$$);
SELECT expect.types($$SELECT * FROM collab.similar_users('s_uuid', md5('user 7')::uuid)$$);
SELECT expect.types($$SELECT * FROM collab.similar_users('s_model', 7::smallint)$$);
SELECT count(*) = 59 AS all_others, bool_or(user_id = 'user 7') AS itself FROM collab.similar_users('s_text', 'user 7', 100) JOIN s_text_users USING (user_id);
SELECT count(*) = 59 AS all_others FROM collab.similar_users('s_text', 'user 7'::varchar, 100) JOIN s_text_users USING (user_id);
SELECT count(*) = 59 AS all_others, bool_or(user_id = md5('user 7')::uuid) AS itself FROM collab.similar_users('s_uuid', md5('user 7')::uuid, 100) JOIN s_uuid_users USING (user_id);
SELECT count(*) = 59 AS all_others FROM collab.similar_users('s_uuid', upper(md5('user 7')), 100) s JOIN s_uuid_users u ON u.user_id = s.user_id::uuid;
SELECT n.user_id = (SELECT u.user_id FROM s_uuid_users u, s_uuid_users seven WHERE seven.user_id = md5('user 7')::uuid AND u.user_id <> seven.user_id
                     ORDER BY collab.cosine_similarity(u.factors, seven.factors) DESC LIMIT 1) AS nearest
  FROM collab.similar_users('s_uuid', md5('user 7')::uuid, 1) n;
SELECT count(*) FROM collab.similar_users('s_text', 'nobody');
SELECT count(*) FROM collab.similar_users('s_uuid', gen_random_uuid());

-- What nobody knows, NULL and nonsense
SELECT count(*) FROM collab.similar_users('s_model', 1000);
SELECT count(*) FROM collab.similar_users('s_model', 5000000000);
SELECT count(*) FROM collab.similar_users('s_model', NULL::integer);
SELECT count(*) FROM collab.similar_users('s_model', NULL);
SELECT count(*) FROM collab.similar_users(NULL, 7);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_model', 7, NULL)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_model', 7, 0)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_text', 7)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_uuid', 7)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_uuid', 'seven')$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_model', 7.0)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_model', md5('x')::uuid)$$);
SELECT expect.error($$SELECT * FROM collab.similar_users('s_model', 'seven')$$);

-- Within queries
SELECT user_id, pg_typeof(user_id) FROM collab.similar_users('s_model', '21', 2);
SELECT user_id, pg_typeof(user_id) FROM collab.similar_users('s_model', 21::bigint, k => 2);
SELECT user_id, pg_typeof(user_id) FROM collab.similar_users('s_model', user_id => 21, k => 2);
SELECT user_id, pg_typeof(user_id) FROM collab.similar_users(model => 's_model', user_id => 21::smallint, k => 2);
PREPARE s_user AS SELECT user_id, pg_typeof(user_id) FROM collab.similar_users('s_model', $1, 2);
EXECUTE s_user('21');
SELECT u, n.user_id FROM (VALUES (21), (5), (1), (NULL), (1000)) v(u) LEFT JOIN LATERAL collab.similar_users('s_model', u, 1) n ON true ORDER BY 1;

DROP VIEW s_expected, s_expected_users;
SELECT count(collab.drop_model(model)) FROM collab.models;
DROP TABLE s_hermit, s_kinds;
