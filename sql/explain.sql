--
-- collab.explain(): terms that add up to the prediction.
--
CREATE TABLE x_models (model text PRIMARY KEY, use_bias boolean, y_range real[], valid_pct double precision);
INSERT INTO x_models VALUES
	('x_bias', true, '{}', 0.93), ('x_given', true, '{0,5.5}', 0), ('x_norange', true, NULL, 0.93),
	('x_nobias', false, '{}', 0.93), ('x_dot', false, NULL, 0.93);
SELECT model, count(*)
  FROM x_models m, LATERAL collab.train(model, 'ratings', n_factors => 6, n_epochs => 8, lr_max => 0.05, batch_size => 16, wd => 0.01,
                                        valid_pct => m.valid_pct, y_range => m.y_range, use_bias => m.use_bias, verbose => false)
 GROUP BY model ORDER BY model;
-- Some pairs, with users and items that nobody knows and that were never trained on
CREATE TABLE x_pairs AS SELECT u AS user_id, i AS item_id FROM generate_series(0, 61) u, generate_series(0, 41) i WHERE (u + i) % 5 = 0 AND u % 8 IN (0, 5);
CREATE TABLE x_terms AS
	SELECT m.model, p.*, e.* FROM x_models m, x_pairs p, LATERAL collab.explain(m.model::regclass, user_id, item_id) WITH ORDINALITY e(term, number, contribution, rating, n);
CREATE TABLE x_components AS
	SELECT m.model, p.*, c AS n_components, e.* FROM x_models m, x_pairs p, unnest('{1,2,6}'::integer[]) c,
	       LATERAL collab.explain(m.model::regclass, user_id, item_id, c) WITH ORDINALITY e(term, number, contribution, rating, n);
CREATE TABLE x_heads AS SELECT model, h.y_range FROM x_models m, expect.head(m.model::regclass) h;
SELECT expect.types($$SELECT * FROM collab.explain('x_given', 5, 7)$$);

-- As a user sees it
SELECT term, number IS NOT NULL AS numbered, count(*) FROM x_terms WHERE model = 'x_given' AND user_id = 5 AND item_id = 10 GROUP BY 1, 2 ORDER BY min(n);
SELECT term, array_agg(DISTINCT number ORDER BY number) AS numbers FROM x_components WHERE model = 'x_given' AND user_id = 5 AND item_id = 10 AND n_components = 2 GROUP BY term ORDER BY min(n);
SELECT term, array_agg(DISTINCT number ORDER BY number) AS numbers FROM x_components WHERE model = 'x_given' AND user_id = 5 AND item_id = 10 AND n_components = 6 GROUP BY term ORDER BY min(n);
SELECT term, array_agg(DISTINCT number ORDER BY number) AS numbers FROM x_terms WHERE model = 'x_dot' AND user_id = (SELECT min(user_id) FROM x_dot_users WHERE n_ratings > 0 AND user_id % 40 IN (0, 5))
   AND item_id = (SELECT min(item_id) FROM x_dot_items WHERE n_ratings > 0 AND item_id % 5 = 0) GROUP BY term ORDER BY min(n);

-- Each row's rating is that of the terms so far; the last one's is the prediction.
CREATE VIEW x_sums AS
	SELECT model, user_id, item_id, 0 AS n_components, n, rating, sum(contribution) OVER (PARTITION BY model, user_id, item_id ORDER BY n) AS logit,
	       n = count(*) OVER (PARTITION BY model, user_id, item_id) AS last FROM x_terms
	UNION ALL
	SELECT model, user_id, item_id, n_components, n, rating, sum(contribution) OVER (PARTITION BY model, user_id, item_id, n_components ORDER BY n),
	       n = count(*) OVER (PARTITION BY model, user_id, item_id, n_components) FROM x_components;
SELECT model, n_components, count(*) FILTER (WHERE abs(s.rating - expect.scaled(logit, h.y_range)) > 1e-5) AS wrong_ratings,
       count(*) FILTER (WHERE last) AS predictions, count(*) FILTER (WHERE last AND abs(s.rating - collab.predict(model::regclass, user_id, item_id)) > 1e-5) AS wrong
  FROM x_sums s JOIN x_heads h USING (model) GROUP BY model, n_components ORDER BY model, n_components;

-- The terms, by hand
CREATE FUNCTION expect.terms(model regclass) RETURNS TABLE (user_id integer, item_id integer, term text, number integer, expected double precision)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	h collab.model := expect.head(model);
BEGIN
	RETURN QUERY EXECUTE format(
		'WITH p AS (SELECT p.*, u.bias AS user_bias, u.factors AS p, i.bias AS item_bias, i.factors AS q, u.user_id IS NOT NULL AS user_known, i.item_id IS NOT NULL AS item_known,'
		'                  (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM %1$s) AS user_mean, (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM %2$s) AS item_mean'
		'             FROM x_pairs p LEFT JOIN %1$s u ON u.user_id = p.user_id AND u.n_ratings > 0 LEFT JOIN %2$s i ON i.item_id = p.item_id AND i.n_ratings > 0)'
		'SELECT user_id, item_id, ''mean'', NULL::integer, user_mean + item_mean FROM p WHERE $1 AND (user_known OR item_known)'
		' UNION ALL SELECT user_id, item_id, ''user bias'', NULL, coalesce(user_bias - user_mean, 0) FROM p WHERE $1 AND (user_known OR item_known)'
		' UNION ALL SELECT user_id, item_id, ''item bias'', NULL, coalesce(item_bias - item_mean, 0) FROM p WHERE $1 AND (user_known OR item_known)'
		' UNION ALL SELECT user_id, item_id, ''factor'', f, p[f]::float8 * q[f] FROM p, generate_series(1, 6) f WHERE user_known AND item_known'
		' UNION ALL SELECT user_id, item_id, ''mean rating'', NULL, CASE WHEN $3 IS NULL THEN $2 ELSE ln(($2 - $3[1]) / ($3[2] - $2)) END FROM p WHERE NOT (user_known AND item_known) AND NOT ($1 AND (user_known OR item_known))', h.users, h.items)
		USING h.use_bias, h.mean_rating, h.y_range;
END $$;
SELECT m.model, e.term, count(*), count(*) FILTER (WHERE abs(t.contribution - e.expected) <= 1e-5) AS as_expected
  FROM x_models m CROSS JOIN LATERAL expect.terms(m.model::regclass) e
  FULL JOIN x_terms t ON (t.model, t.user_id, t.item_id, t.term, coalesce(t.number, 0)) = (m.model, e.user_id, e.item_id, e.term, coalesce(e.number, 0))
 GROUP BY 1, 2 ORDER BY 1, 2;
-- factors: those of greatest effect first, after the others
SELECT count(*) AS out_of_order FROM (SELECT term, abs(contribution) > lag(abs(contribution)) OVER w AND term = lag(term) OVER w OR (term <> 'factor' AND lag(term) OVER w = 'factor') AS wrong
                                        FROM x_terms WINDOW w AS (PARTITION BY model, user_id, item_id ORDER BY n)) s WHERE wrong;
SELECT DISTINCT array_agg(DISTINCT number) FILTER (WHERE number IS NOT NULL) AS factors FROM x_terms GROUP BY model, user_id, item_id ORDER BY 1;
-- components: a taste of the user times where the item stands
SELECT m.model, count(*), count(*) FILTER (WHERE abs(contribution - taste * component) > 1e-5) AS wrong
  FROM x_models m,
       LATERAL (SELECT c.user_id, c.item_id, c.number, c.contribution, p.components[c.number] AS component,
                       first_value(c.contribution / p.components[c.number]) OVER (PARTITION BY c.user_id, c.number ORDER BY abs(p.components[c.number]) DESC) AS taste
                  FROM x_components c JOIN collab.pca_project(m.model::regclass, 2) p USING (item_id)
                 WHERE c.model = m.model AND c.n_components = 2 AND c.term = 'component') s
 GROUP BY 1 ORDER BY 1;
-- the same component whatever their number; and the rest under "other components"
SELECT count(*) > 0 AS some, count(*) FILTER (WHERE abs(a.contribution - b.contribution) > 1e-6) AS wrong
  FROM x_components a JOIN x_components b USING (model, user_id, item_id, term, number) WHERE a.n_components = 2 AND b.n_components = 6;
SELECT count(*) > 0 AS some, count(*) FILTER (WHERE abs(a.contribution - b.contribution) > 1e-6) AS wrong
  FROM x_components a JOIN (SELECT model, user_id, item_id, sum(contribution) AS contribution FROM x_components WHERE n_components = 6 AND number > 2 GROUP BY 1, 2, 3) b USING (model, user_id, item_id)
 WHERE a.n_components = 2 AND a.term = 'other components';
SELECT n_components, count(DISTINCT n) FILTER (WHERE term = 'other components') > 0 AS others FROM x_components GROUP BY 1 ORDER BY 1;

-- Who or what is not known has the mean and nothing else; both, or one in a model without biases: the mean rating
SELECT model, array_agg(e.term ORDER BY o) AS terms, min(e.rating) FILTER (WHERE e.term IN ('mean', 'mean rating')) = max(e.rating) AS all_one
  FROM x_models, LATERAL collab.explain(model::regclass, 0, 41) WITH ORDINALITY e(term, number, contribution, rating, o) GROUP BY 1 ORDER BY 1;
SELECT model, array_agg(e.term ORDER BY o) AS terms FROM x_models, LATERAL collab.explain(model::regclass, 0, 3, 2) WITH ORDINALITY e(term, number, contribution, rating, o) GROUP BY 1 ORDER BY 1;
SELECT model, array_agg(e.term ORDER BY o) AS terms FROM x_models, LATERAL collab.explain(model::regclass, 5, 5000000000, 6) WITH ORDINALITY e(term, number, contribution, rating, o) GROUP BY 1 ORDER BY 1;
-- a mean rating beyond the range is the prediction all the same
SELECT count(*) FROM collab.train('x_narrow', 'ratings', n_factors => 2, n_epochs => 1, y_range => '{1,2}', verbose => false);
SELECT abs(e.rating - collab.predict('x_narrow', 0, 0)) < 1e-5 AS as_predicted FROM collab.explain('x_narrow', 0, 0) e;
SELECT count(*) FROM collab.train('x_narrow', 'ratings', n_factors => 2, n_epochs => 1, y_range => '{4,5}', verbose => false, replace => true);
SELECT abs(e.rating - collab.predict('x_narrow', 0, 0)) < 1e-5 AS as_predicted FROM collab.explain('x_narrow', 0, 0) e;

-- With recommendations: why
SELECT count(*), count(*) FILTER (WHERE abs(r.score - (SELECT e.rating FROM collab.explain('x_given', 5, r.item_id) WITH ORDINALITY e(term, number, contribution, rating, o) ORDER BY o DESC LIMIT 1)) > 1e-5) AS wrong
  FROM collab.recommend('x_given', 5) r;
-- Ids of other types, and as text
CREATE TABLE x_text AS SELECT 'user ' || user_id AS user_id, md5('i' || item_id)::uuid AS item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('x_keys', 'x_text', n_factors => 2, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.explain('x_keys', 'user 5', md5('i7')::uuid);
SELECT count(*) FROM collab.explain('x_keys', 'user 5'::varchar, md5('i7'), 2);
SELECT count(*) FROM collab.explain('x_keys', 'user 5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT bool_and(a = b AND a = c AND a = d) AS same FROM collab.explain('x_given', 5, 7) WITH ORDINALITY a JOIN collab.explain('x_given', '5', '7') WITH ORDINALITY b USING (ordinality)
  JOIN collab.explain('x_given', 5::bigint, '7'::text) WITH ORDINALITY c USING (ordinality) JOIN collab.explain(model => 'x_given', item_id => 7::smallint, user_id => '5', n_components => NULL) WITH ORDINALITY d USING (ordinality);
PREPARE x_prepared AS SELECT count(*) FROM collab.explain('x_given', $1, $2, $3);
EXECUTE x_prepared('5', '7', NULL);
EXECUTE x_prepared('5', '7', 3);
EXECUTE x_prepared('5', NULL, 3);
SELECT u, i, count(e.*) FROM (VALUES (5, 7), (NULL, 7), (5, NULL), (0, 0)) v(u, i) LEFT JOIN LATERAL collab.explain('x_given', u, i) e ON true GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM collab.explain(NULL, 5, 7);
-- after a training anew
CALL collab.retrain('x_given', options => '{"n_factors": 3, "verbose": false}');
SELECT count(*) FROM collab.explain('x_given', 5, 7);
SELECT count(*) FROM collab.explain('x_given', 5, 7, 3);

-- What is wrong
SELECT q, expect.error('SELECT * FROM collab.explain(' || q || ')') FROM unnest(ARRAY[
	'''nonesuch'', 5, 7', '''ratings'', 5, 7', '0, 5, 7', '''x_given'', 5, 7, 0', '''x_given'', 5, 7, -1', '''x_given'', 5, 7, 4', '''x_given'', 0, 0, 4', '''x_given'', 5', '''x_given'', 1.5, 7', '''x_given'', 5, true',
	'''x_given'', ''five'', 7', '''x_given'', 5, ''seven''', '''x_keys'', 5, md5(''i7'')', '''x_keys'', ''user 5'', 7', '''x_keys'', ''user 5'', ''item 7''']) q;
SELECT * FROM collab.explain('x_given', 5, 7, 4);

DROP VIEW x_sums;
DROP FUNCTION expect.terms;
DROP TABLE x_models, x_heads, x_pairs, x_terms, x_components, x_text;
SELECT count(collab.drop_model(model)) FROM collab.models;
