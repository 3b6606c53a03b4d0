--
-- collab.pca_project(), collab.pca_explained(), and the same of users
--
SELECT count(*) FROM collab.train('p_model', 'ratings', n_factors => 5, n_epochs => 10, lr_max => 0.05, wd => 0.01, verbose => false);

-- Every item, most rated first, then by id; with as many components as asked for.
SELECT count(*), min(cardinality(components)), max(cardinality(components)) FROM collab.pca_project('p_model');
SELECT count(*), min(cardinality(components)), max(cardinality(components)) FROM collab.pca_project('p_model', 5);
SELECT array_agg(p.item_id ORDER BY p.n) = (SELECT array_agg(item_id::bigint ORDER BY n_ratings DESC, item_id) FROM p_model_items) AS ordered,
       bool_and(p.n_ratings = i.n_ratings) AS counted
  FROM (SELECT *, row_number() OVER () AS n FROM collab.pca_project('p_model')) p JOIN p_model_items i USING (item_id);
-- fewer components are the first of more
SELECT bool_and(abs(a.components[1] - b.components[1]) < 1e-5 AND abs(a.components[2] - b.components[2]) < 1e-5) AS first_two
  FROM collab.pca_project('p_model', 2) a JOIN collab.pca_project('p_model', 5) b USING (item_id);

-- Against SQL: the covariance of the factors.
CREATE FUNCTION expect.covariance(side regclass, n bigint DEFAULT NULL, id name DEFAULT 'item_id') RETURNS TABLE (i integer, j integer, c double precision)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format(
		'WITH chosen AS (SELECT factors FROM %s WHERE n_ratings > 0 ORDER BY n_ratings DESC, %I LIMIT $1)'
		'SELECT i, j, covar_pop(factors[i], factors[j]) FROM chosen, generate_series(1, 5) i, generate_series(1, 5) j GROUP BY i, j', side, id) USING n;
END $$;
-- the whole variance is the trace, and all ratios together are 1
SELECT count(*), abs(sum(variance) - (SELECT sum(c) FROM expect.covariance('p_model_items') WHERE i = j)) < 1e-6 AS trace, abs(sum(ratio) - 1) < 1e-9 AS ratios
  FROM collab.pca_explained('p_model', 5);
SELECT component, variance > 0 AS positive, variance <= lag(variance) OVER (ORDER BY component) AS falls,
       abs(ratio - variance / (SELECT sum(variance) FROM collab.pca_explained('p_model', 5))) < 1e-9 AS share
  FROM collab.pca_explained('p_model', 5) ORDER BY component;
SELECT count(*) FROM collab.pca_explained('p_model');
SELECT bool_and(abs(a.variance - b.variance) < 1e-9 AND abs(a.ratio - b.ratio) < 1e-9) AS share_of_all FROM collab.pca_explained('p_model', 2) a JOIN collab.pca_explained('p_model', 5) b USING (component);
-- the projections: centred, uncorrelated, with the variances that are told (divisor n)
CREATE TABLE p_projected AS SELECT * FROM collab.pca_project('p_model', 5);
SELECT c, abs(avg(components[c])) < 1e-5 AS centred, abs(var_pop(components[c]) - e.variance) < 1e-5 AS variance
  FROM p_projected, generate_series(1, 5) c JOIN collab.pca_explained('p_model', 5) e ON e.component = c GROUP BY c, e.variance ORDER BY c;
SELECT bool_and(abs(covar) < 1e-5) AS uncorrelated
  FROM (SELECT covar_pop(components[a], components[b]) AS covar FROM p_projected, generate_series(1, 5) a, generate_series(1, 5) b WHERE a < b GROUP BY a, b) s;
-- all components together keep the distances between items
SELECT bool_and(abs((SELECT sum((x - y) ^ 2) FROM unnest(i.factors, j.factors) f(x, y)) -
                    (SELECT sum((x - y) ^ 2) FROM unnest(p.components, q.components) f(x, y))) < 1e-4) AS isometric
  FROM p_model_items i JOIN p_projected p USING (item_id), p_model_items j JOIN p_projected q USING (item_id) WHERE j.item_id <= 10;
-- the axes themselves, found by least squares from projections and factors: orthonormal,
-- eigenvectors of the covariance, and each with its sign by the rule
CREATE TABLE p_axes AS
	SELECT c AS component, f AS factor, covar_pop(i.factors[f], p.components[c]) / var_pop(p.components[c]) AS loading
	  FROM p_model_items i JOIN p_projected p USING (item_id), generate_series(1, 5) c, generate_series(1, 5) f GROUP BY c, f;
SELECT bool_and(abs(product - CASE WHEN a = b THEN 1 ELSE 0 END) < 1e-3) AS orthonormal
  FROM (SELECT a.component AS a, b.component AS b, sum(a.loading * b.loading) AS product FROM p_axes a JOIN p_axes b USING (factor) GROUP BY 1, 2) s;
SELECT bool_and(abs(image - e.variance * a.loading) < 1e-4) AS eigenvectors
  FROM (SELECT component, i AS factor, sum(c * loading) AS image FROM p_axes JOIN expect.covariance('p_model_items') ON j = factor GROUP BY 1, 2) s
  JOIN p_axes a USING (component, factor) JOIN collab.pca_explained('p_model', 5) e USING (component);
SELECT component, (array_agg(loading ORDER BY abs(loading) DESC))[1] > 0 AS largest_is_positive FROM p_axes GROUP BY 1 ORDER BY 1;
-- the same each time, in other sessions, and for a copy of the model trained elsewhere
SELECT bool_and(a.components = b.components) AS repeatable FROM collab.pca_project('p_model', 5) a JOIN p_projected b USING (item_id);

-- Only the most rated
SELECT count(*) FROM collab.pca_project('p_model', 2, top => 12);
SELECT array_agg(item_id) = (SELECT array_agg(item_id::bigint) FROM (SELECT item_id FROM p_model_items ORDER BY n_ratings DESC, item_id LIMIT 12) s) AS most_rated
  FROM collab.pca_project('p_model', 2, 12);
SELECT count(*) FROM collab.pca_project('p_model', 2, top => 1000000);
-- they alone make the axes
SELECT abs(sum(variance) - (SELECT sum(c) FROM expect.covariance('p_model_items', 12) WHERE i = j)) < 1e-6 AS trace FROM collab.pca_explained('p_model', 5, 12);
SELECT abs(var_pop(components[1]) - (SELECT variance FROM collab.pca_explained('p_model', 1, top => 12))) < 1e-5 AS variance FROM collab.pca_project('p_model', 1, top => 12);
-- fewer items than factors: the rest of the components is nothing
SELECT component, variance > 1e-9 AS positive FROM collab.pca_explained('p_model', 5, top => 3) ORDER BY 1;
-- one item: no variance, and so no shares of it
SELECT component, round(variance::numeric, 6) AS variance, ratio FROM collab.pca_explained('p_model', 2, top => 1) ORDER BY 1;
SELECT round(components[1]::numeric, 6) AS x, round(components[2]::numeric, 6) AS y FROM collab.pca_project('p_model', 2, top => 1);

-- Worked by hand: items on a line along (3, 4) and a little across it.
CREATE TABLE p_hand AS SELECT 1 AS user_id, i AS item_id, i AS rating FROM generate_series(1, 4) i;
SELECT count(*) FROM collab.train('p_line', 'p_hand', n_factors => 2, n_epochs => 1, valid_pct => 0, verbose => false);
UPDATE p_line_items SET n_ratings = 5 - item_id,
       factors = CASE item_id WHEN 1 THEN '{7,10}'::real[] WHEN 2 THEN '{1,2}' WHEN 3 THEN '{3.2,6.6}' WHEN 4 THEN '{4.8,5.4}' END;
SELECT collab.touch('p_line');
-- centre (4, 6); differences (3, 4), (-3, -4), (-0.8, 0.6), (0.8, -0.6)
SELECT item_id, round(components[1]::numeric, 3) AS along, round(abs(components[2])::numeric, 3) AS across, n_ratings FROM collab.pca_project('p_line');
SELECT component, round(variance::numeric, 3) AS variance, round(ratio::numeric, 3) AS ratio FROM collab.pca_explained('p_line') ORDER BY 1;

-- Items without training ratings take no part.
SELECT count(*) FROM collab.train('p_cold', 'ratings', n_factors => 2, n_epochs => 1, valid_pct => 0.95, verbose => false);
SELECT count(*) = (SELECT count(*) FROM p_cold_items WHERE n_ratings > 0) AS trained_alone, count(*) < 40 AS not_all FROM collab.pca_project('p_cold');
-- none are left
UPDATE p_cold_items SET n_ratings = 0;
SELECT collab.touch('p_cold');
SELECT count(*) FROM collab.pca_project('p_cold');
SELECT count(*) FROM collab.pca_explained('p_cold');
-- one factor; and many
SELECT count(*) FROM collab.train('p_one', 'ratings', n_factors => 1, n_epochs => 1, use_bias => false, verbose => false);
SELECT ratio FROM collab.pca_explained('p_one', 1);
SELECT count(*) FROM collab.train('p_many', 'ratings', n_factors => 300, n_epochs => 1, verbose => false);
SELECT count(*), abs(sum(ratio) - 1) < 1e-6 AS ratios, count(*) FILTER (WHERE ratio > 1e-9) < 40 AS rank FROM collab.pca_explained('p_many', 300);

-- NULL and nonsense
SELECT count(*) FROM collab.pca_project(NULL);
SELECT count(*) FROM collab.pca_explained(NULL);
SELECT count(*) FROM collab.pca_project('p_model', 2, top => NULL);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', NULL)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', -2)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', 6)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', 2, top => 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_model', 2, top => -1)$$);
SELECT expect.error($$SELECT * FROM collab.pca_explained('p_model', 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_explained('p_model', 6)$$);
SELECT expect.error($$SELECT * FROM collab.pca_explained('p_model', 2, top => 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_one')$$);

-- Users: every one that was trained, most ratings first, then by id.
SELECT array_agg(p.user_id ORDER BY p.n) = (SELECT array_agg(user_id::bigint ORDER BY n_ratings DESC, user_id) FROM p_model_users WHERE n_ratings > 0) AS ordered,
       bool_and(p.n_ratings = u.n_ratings) AS counted, min(cardinality(components)), max(cardinality(components))
  FROM (SELECT *, row_number() OVER () AS n FROM collab.pca_project_users('p_model')) p JOIN p_model_users u USING (user_id);
-- against the covariance of their factors
SELECT count(*), abs(sum(variance) - (SELECT sum(c) FROM expect.covariance('p_model_users', NULL, 'user_id') WHERE i = j)) < 1e-6 AS trace, abs(sum(ratio) - 1) < 1e-9 AS ratios
  FROM collab.pca_explained_users('p_model', 5);
SELECT count(*) FROM collab.pca_explained_users('p_model');
CREATE TABLE p_projected_users AS SELECT * FROM collab.pca_project_users('p_model', 5);
SELECT c, abs(avg(components[c])) < 1e-5 AS centred, abs(var_pop(components[c]) - e.variance) < 1e-5 AS variance,
       e.variance <= lag(e.variance) OVER (ORDER BY c) AS falls
  FROM p_projected_users, generate_series(1, 5) c JOIN collab.pca_explained_users('p_model', 5) e ON e.component = c GROUP BY c, e.variance ORDER BY c;
SELECT bool_and(abs(covar) < 1e-5) AS uncorrelated
  FROM (SELECT covar_pop(components[a], components[b]) AS covar FROM p_projected_users, generate_series(1, 5) a, generate_series(1, 5) b WHERE a < b GROUP BY a, b) s;
SELECT bool_and(abs((SELECT sum((x - y) ^ 2) FROM unnest(i.factors, j.factors) f(x, y)) -
                    (SELECT sum((x - y) ^ 2) FROM unnest(p.components, q.components) f(x, y))) < 1e-4) AS isometric
  FROM p_model_users i JOIN p_projected_users p USING (user_id), p_model_users j JOIN p_projected_users q USING (user_id) WHERE j.user_id <= 10;
-- other components than the items'
SELECT bool_or(abs(u.variance - i.variance) > 1e-3) AS others FROM collab.pca_explained_users('p_model', 5) u JOIN collab.pca_explained('p_model', 5) i USING (component);
-- only those with most ratings, who alone make the axes
SELECT array_agg(user_id) = (SELECT array_agg(user_id::bigint) FROM (SELECT user_id FROM p_model_users ORDER BY n_ratings DESC, user_id LIMIT 12) s) AS most_ratings
  FROM collab.pca_project_users('p_model', 2, 12);
SELECT abs(sum(variance) - (SELECT sum(c) FROM expect.covariance('p_model_users', 12, 'user_id') WHERE i = j)) < 1e-6 AS trace FROM collab.pca_explained_users('p_model', 5, 12);
SELECT abs(var_pop(components[1]) - (SELECT variance FROM collab.pca_explained_users('p_model', 1, top => 12))) < 1e-5 AS variance FROM collab.pca_project_users('p_model', 1, top => 12);
SELECT component, round(variance::numeric, 6) AS variance, ratio FROM collab.pca_explained_users('p_model', 2, top => 1) ORDER BY 1;
-- worked by hand: users on a line along (3, 4) and a little across it
CREATE TABLE p_hand_users AS SELECT u AS user_id, 1 AS item_id, u AS rating FROM generate_series(1, 4) u;
SELECT count(*) FROM collab.train('p_people', 'p_hand_users', n_factors => 2, n_epochs => 1, valid_pct => 0, verbose => false);
UPDATE p_people_users SET n_ratings = 5 - user_id,
       factors = CASE user_id WHEN 1 THEN '{7,10}'::real[] WHEN 2 THEN '{1,2}' WHEN 3 THEN '{3.2,6.6}' WHEN 4 THEN '{4.8,5.4}' END;
SELECT collab.touch('p_people');
SELECT user_id, round(components[1]::numeric, 3) AS along, round(abs(components[2])::numeric, 3) AS across, n_ratings FROM collab.pca_project_users('p_people');
SELECT component, round(variance::numeric, 3) AS variance, round(ratio::numeric, 3) AS ratio FROM collab.pca_explained_users('p_people') ORDER BY 1;
-- users without training ratings take no part; the items' count for nothing
SELECT count(*) = (SELECT count(*) FROM p_cold_users WHERE n_ratings > 0) AS trained_alone, count(*) BETWEEN 1 AND 59 AS not_all FROM collab.pca_project_users('p_cold');
UPDATE p_cold_users SET n_ratings = 0;
SELECT collab.touch('p_cold');
SELECT count(*) FROM collab.pca_project_users('p_cold');
SELECT count(*) FROM collab.pca_explained_users('p_cold');
SELECT ratio FROM collab.pca_explained_users('p_one', 1);
-- users of one kind, items of another
CREATE TABLE p_kinds AS SELECT 'user ' || user_id AS t, md5('user ' || user_id)::uuid AS u, item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('p_text', 'p_kinds', 't', n_factors => 3, n_epochs => 1, valid_pct => 0, verbose => false);
SELECT count(*) FROM collab.train('p_uuid', 'p_kinds', 'u', n_factors => 3, n_epochs => 1, valid_pct => 0, verbose => false);
SELECT expect.types($$SELECT * FROM collab.pca_project_users('p_text', 2, NULL::text)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project_users('p_uuid', 2, NULL::uuid, top => 3)$$);
SELECT expect.types($$SELECT * FROM collab.pca_project_users('p_model', 2, NULL::bigint, top => 3)$$);
SELECT count(*) = 60 AS all_users, bool_and(p.n_ratings = u.n_ratings) AS theirs FROM collab.pca_project_users('p_text', 2, NULL::text) p JOIN p_text_users u USING (user_id);
SELECT count(*) = 60 AS all_users, bool_and(p.n_ratings = u.n_ratings) AS theirs FROM collab.pca_project_users('p_uuid', 2, NULL::uuid) p JOIN p_uuid_users u USING (user_id);
SELECT count(*) = 40 AS all_items FROM collab.pca_project('p_text');
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_text')$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_uuid', 2, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_model', 2, NULL::uuid)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_uuid', 2, gen_random_uuid())$$);
SELECT expect.error($$SELECT * FROM collab.pca_project('p_text', 2, NULL::text)$$);
-- NULL and nonsense
SELECT count(*) FROM collab.pca_project_users(NULL);
SELECT count(*) FROM collab.pca_explained_users(NULL);
SELECT count(*) = (SELECT count(*) FROM p_projected_users) AS no_limit FROM collab.pca_project_users('p_model', 2, top => NULL);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_model', NULL)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_model', 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_model', 6)$$);
SELECT expect.error($$SELECT * FROM collab.pca_project_users('p_model', 2, top => 0)$$);
SELECT expect.error($$SELECT * FROM collab.pca_explained_users('p_model', 6)$$);
SELECT expect.error($$SELECT * FROM collab.pca_explained_users('p_model', NULL)$$);

SELECT count(collab.drop_model(model)) FROM collab.models;
DROP TABLE p_projected_users, p_hand_users, p_kinds;
DROP TABLE p_axes, p_projected, p_hand;
