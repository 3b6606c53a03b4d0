--
-- collab.cosine_similar() and collab.cosine_similarity()
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

DROP VIEW s_expected;
SELECT count(collab.drop_model(model)) FROM collab.models;
