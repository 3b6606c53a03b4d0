--
-- The neural model: options use_nn, layers, user_factors, item_factors,
-- batch_norm and dropout
--
-- Six kinds of users by six kinds of items, with a table of tastes that a
-- product of few factors cannot have.  User 90 has one rating, user 91 a NULL
-- alone, and so has item 61.
-- To compile each of thousands of small queries, or to start workers for each,
-- takes minutes.  Some do at the end.
SET jit = off;
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
CREATE TABLE n_ratings (user_id integer, item_id integer, rating real);
INSERT INTO n_ratings
SELECT u, i, 1 + (ARRAY[4,0,3,1,2,4, 0,4,1,3,4,2, 3,3,0,4,0,1, 1,2,4,0,4,0, 4,1,2,2,0,3, 2,0,4,4,1,0])[u % 6 * 6 + i % 6 + 1] + ((u * 31 + i * 17) % 5 - 2) * 0.125
  FROM generate_series(1, 89) u, generate_series(1, 60) i
 WHERE (u * 11 + i * 7 + (u * i) % 5) % 8 < 5;
INSERT INTO n_ratings VALUES (90, 7, 4), (91, 7, NULL), (1, 61, NULL);
SELECT count(*), round(var_pop(rating)::numeric, 2) AS variance FROM n_ratings;

--
-- What is right by definition.  The net's weights, laid out as src/core/cf_net.h
-- says, and what one forward pass makes of two embeddings.
--
CREATE FUNCTION expect.net_size(h collab.model) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
	size integer := h.user_factors + h.item_factors;
	n_in integer := size;
	n_out integer;
BEGIN
	FOREACH n_out IN ARRAY h.layers LOOP
		size := size + n_in * n_out + CASE WHEN h.batch_norm THEN 4 ELSE 1 END * n_out;
		n_in := n_out;
	END LOOP;
	RETURN size + n_in + 1;
END $$;
CREATE FUNCTION expect.net_logit(h collab.model, users real[], items real[]) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
	w double precision[] := h.weights;
	x double precision[] := users || items;
	y double precision[];
	z double precision;
	at integer := 0;
	n_in integer;
	n_out integer;
BEGIN
	FOREACH n_out IN ARRAY h.layers LOOP
		n_in := cardinality(x);
		y := '{}';
		FOR j IN 1 .. n_out LOOP
			z := 0;
			FOR i IN 1 .. n_in LOOP
				z := z + w[at + (j - 1) * n_in + i] * x[i];
			END LOOP;
			y[j] := z;
		END LOOP;
		at := at + n_in * n_out;
		FOR j IN 1 .. n_out LOOP
			IF h.batch_norm THEN			-- gamma, beta, mean, variance
				y[j] := w[at + j] * (greatest(y[j], 0) - w[at + 2 * n_out + j]) / sqrt(w[at + 3 * n_out + j] + 1e-5) + w[at + n_out + j];
			ELSE
				y[j] := greatest(y[j] + w[at + j], 0);
			END IF;
		END LOOP;
		at := at + CASE WHEN h.batch_norm THEN 4 ELSE 1 END * n_out;
		x := y;
	END LOOP;
	z := w[at + cardinality(x) + 1];
	FOR i IN 1 .. cardinality(x) LOOP
		z := z + w[at + i] * x[i];
	END LOOP;
	RETURN z;
END $$;
CREATE FUNCTION expect.mean_user(h collab.model) RETURNS real[]
LANGUAGE sql AS 'SELECT (h).weights[cardinality((h).weights) - (h).item_factors - (h).user_factors + 1 : cardinality((h).weights) - (h).item_factors]';
CREATE FUNCTION expect.mean_item(h collab.model) RETURNS real[]
LANGUAGE sql AS 'SELECT (h).weights[cardinality((h).weights) - (h).item_factors + 1 : ]';
-- The prediction, by the ladder.
CREATE FUNCTION expect.net_rating(model regclass, who integer, what integer) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
	h collab.model := expect.head(model);
	u real[];
	i real[];
BEGIN
	EXECUTE format('SELECT factors FROM %s WHERE user_id = $1 AND n_ratings > 0', h.users) INTO u USING who;
	EXECUTE format('SELECT factors FROM %s WHERE item_id = $1 AND n_ratings > 0', h.items) INTO i USING what;
	IF u IS NULL AND i IS NULL THEN
		RETURN h.mean_rating::real;
	END IF;
	RETURN expect.scaled(expect.net_logit(h, coalesce(u, expect.mean_user(h)), coalesce(i, expect.mean_item(h))), h.y_range);
END $$;
-- Pairs, those with somebody or something cold among them, and how many differ.
CREATE FUNCTION expect.net_check(model regclass, every integer DEFAULT 1) RETURNS TABLE (pairs bigint, wrong bigint)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT count(*), count(*) FILTER (WHERE NOT abs(collab.predict(model, u, i) - expect.net_rating(model, u, i)) < 1e-5)
	  FROM unnest('{1,2,17,44,89,90,91,1000}'::integer[]) u, unnest('{1,2,3,7,30,60,61,1000}'::integer[]) i WHERE (u + i) % every = 0;
END $$;

--
-- Both published shapes are one call each.
--
SELECT count(*) FROM collab.train('n_norm', 'n_ratings', use_nn => true, verbose => false);
SELECT solver, n_factors, user_factors, item_factors, layers, batch_norm, use_bias, y_range, n_users, n_items, user_prior, item_prior, mean_user_bias, mean_item_bias, format,
       cardinality(weights) = expect.net_size(h) AS size, options->>'use_nn' AS use_nn, options->>'layers' AS given FROM n_norm h;
SELECT count(*) FROM collab.train('n_plain', 'n_ratings', use_nn => true, batch_norm => false, layers => '{32}', user_factors => 6, item_factors => 5,
                                  n_epochs => 30, lr_max => 0.02, wd => 0.01, verbose => false);
SELECT solver, n_factors, user_factors, item_factors, layers, batch_norm, cardinality(weights) = expect.net_size(h) AS size, jsonb_path_query_array(options, '$.layers[*]') AS given, options->>'batch_norm' AS norm FROM n_plain h;
-- the rule: min(600, round(1.6 (n + 1)^0.56))
SELECT round(1.6 * pow(n_users + 1, 0.56)) = user_factors AS users, round(1.6 * pow(n_items + 1, 0.56)) = item_factors AS items FROM n_norm;
-- rows: embeddings of two lengths and no biases; zeros for who was not trained
SELECT 'user' AS side, cardinality(factors), count(*), bool_and(bias = 0) AS no_bias, count(*) FILTER (WHERE n_ratings = 0) AS cold, bool_and(array_remove(factors, 0) = '{}') FILTER (WHERE n_ratings = 0) AS zero FROM n_norm_users GROUP BY 2
 UNION ALL SELECT 'item', cardinality(factors), count(*), bool_and(bias = 0), count(*) FILTER (WHERE n_ratings = 0), bool_and(array_remove(factors, 0) = '{}') FILTER (WHERE n_ratings = 0) FROM n_norm_items GROUP BY 2;
SELECT DISTINCT u, cardinality(factors) FROM (SELECT 'user' AS u, factors FROM n_plain_users UNION ALL SELECT 'item', factors FROM n_plain_items) s ORDER BY 1;
-- It learns what the table of tastes is: held-out ratings have a variance of 2.
SELECT count(*) FROM collab.train('n_norm', 'n_ratings', use_nn => true, replace => true, n_epochs => 15, wd => 0.01, verbose => false);
SELECT m, metric, value < 0.35 AS good FROM unnest('{n_norm,n_plain}'::text[]) m, LATERAL collab.evaluate(m::regclass) WHERE metric = 'mse';
SELECT count(*) FROM collab.train('n_dot', 'n_ratings', n_factors => 2, n_epochs => 15, wd => 0.01, verbose => false);
SELECT (SELECT value FROM collab.evaluate('n_dot') WHERE metric = 'mse') > (SELECT value FROM collab.evaluate('n_norm') WHERE metric = 'mse') AS two_factors_are_worse;
-- a forward pass in SQL gives the same
SELECT m, n.* FROM (VALUES ('n_norm', 3), ('n_plain', 1)) v(m, every), LATERAL expect.net_check(m, every) n;
CREATE TABLE n_tiny (model text PRIMARY KEY, options jsonb);
INSERT INTO n_tiny VALUES ('n_1', '{"layers": [4, 3]}'), ('n_2', '{"layers": [1], "y_range": null}'), ('n_3', '{"layers": [5, 7, 3], "y_range": [0, 9], "dropout": 0.2}'),
	('n_4', '{"layers": [9, 2], "batch_norm": false, "y_range": null, "lr_max": 0.001}'), ('n_5', '{"layers": [2,3,4,5,6,7,8,9], "batch_size": 200, "valid_pct": 0}'), ('n_6', '{"layers": [33], "user_factors": 1, "item_factors": 17}'),
	('n_7', '{"layers": [3, 3], "batch_norm": false, "batch_size": 1, "n_epochs": 2, "dropout": 0.4}'), ('n_8', '{"layers": [17], "batch_size": 2, "n_epochs": 2}'), ('n_9', '{"layers": [6], "valid_pct": 0.97}');
-- fit() takes them as well
SELECT model, (m).layers, (m).batch_norm, (m).user_factors, (m).y_range, cardinality((m).weights) = expect.net_size(m) AS size
  FROM (SELECT model, collab.fit(model, user_id, item_id, rating, '{"use_nn": true, "user_factors": 3, "item_factors": 4, "n_epochs": 4, "lr_max": 0.02, "verbose": false}' || options) AS m FROM n_ratings, n_tiny GROUP BY model) s ORDER BY model;
SELECT model, n.* FROM n_tiny, LATERAL expect.net_check(model) n ORDER BY model;
-- the mean embeddings are weighted by the number of ratings
SELECT m, max(abs(w - mean)) < 1e-5 AS right
  FROM unnest('{n_1,n_6,n_9}'::text[]) m, LATERAL expect.head(m) h,
       LATERAL (SELECT w, f FROM unnest(expect.mean_user(h) || expect.mean_item(h)) WITH ORDINALITY x(w, f)) x,
       LATERAL (SELECT CASE WHEN f <= h.user_factors THEN (xpath('//m/text()', query_to_xml(format('SELECT sum(n_ratings * factors[%s]) / sum(n_ratings) AS m FROM %s', f, h.users), true, false, '')))[1]
                            ELSE (xpath('//m/text()', query_to_xml(format('SELECT sum(n_ratings * factors[%s]) / sum(n_ratings) AS m FROM %s', f - h.user_factors, h.items), true, false, '')))[1] END::text::float8 AS mean) y
 GROUP BY m ORDER BY m;

--
-- The same ratings, options and seed give the same bits, of table or aggregate,
-- whatever the order; other seeds and dropout do not.
--
SELECT count(*) FROM collab.train('n_again', 'n_ratings', use_nn => true, layers => '{4,3}', user_factors => 3, item_factors => 4, n_epochs => 4, lr_max => 0.02, verbose => false);
SELECT (collab.fit('n_order', user_id, item_id, rating, '{"use_nn": true, "layers": [4, 3], "user_factors": 3, "item_factors": 4, "n_epochs": 4, "lr_max": 0.02, "verbose": false}' ORDER BY md5(user_id::text || item_id))).generation FROM n_ratings;
SELECT n.weights = o.weights AND n.weights = a.weights AS weights, n.train_loss = o.train_loss AND n.valid_loss = o.valid_loss AS losses, expect.same('n_1_users', 'n_order_users') AS users, expect.same('n_again_items', 'n_order_items') AS items
  FROM n_1 n, n_order o, n_again a;
SELECT (collab.fit('n_seed', user_id, item_id, rating, '{"use_nn": true, "layers": [4, 3], "user_factors": 3, "item_factors": 4, "n_epochs": 4, "lr_max": 0.02, "verbose": false, "seed": 1}')).weights = weights AS same FROM n_ratings, n_1 GROUP BY weights;
SELECT (collab.fit('n_drop', user_id, item_id, rating, '{"use_nn": true, "layers": [4, 3], "user_factors": 3, "item_factors": 4, "n_epochs": 4, "lr_max": 0.02, "verbose": false, "dropout": 0.3}')).weights = weights AS same FROM n_ratings, n_1 GROUP BY weights;
SELECT bool_and(s.train_loss[e] > n.train_loss[e]) AS dropout_trains_worse FROM n_drop s, n_1 n, generate_series(1, 4) e;
SELECT count(DISTINCT collab.predict('n_drop', 1, 1)) AS but_does_not_predict_at_random FROM generate_series(1, 100);

--
-- All readers serve it.
--
-- recommend is a ranking of predict, to the bit
CREATE FUNCTION expect.net_ranking(model regclass, k integer, exclude_seen boolean) RETURNS TABLE (user_id bigint, item_id bigint, score real, rank integer)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT * FROM (SELECT u::bigint, item_id::bigint, s, row_number() OVER (PARTITION BY u ORDER BY s DESC, item_id)::integer AS rank'
		'                 FROM (SELECT u, item_id, collab.predict($1, u, item_id) AS s FROM generate_series(0, 92) u, %s WHERE n_ratings > 0 OFFSET 0) p'
		'                WHERE NOT $3 OR (u, item_id) NOT IN (SELECT user_id, item_id FROM n_ratings WHERE rating IS NOT NULL)) r'
		' WHERE rank <= $2', (expect.head(model)).items) USING model, k, exclude_seen;
END $$;
CREATE TABLE n_cases (model regclass, k integer, seen boolean);
INSERT INTO n_cases VALUES ('n_norm', 7, false), ('n_norm', 4, true), ('n_plain', 61, false), ('n_plain', 10, true), ('n_1', 3, false), ('n_2', 60, false), ('n_6', 1, false);
CREATE TABLE n_right AS SELECT c.*, r.* FROM n_cases c, LATERAL expect.net_ranking(model, k, seen) r;
CREATE TABLE n_one_by_one AS SELECT c.*, u AS user_id, r.* FROM n_cases c, generate_series(0, 92) u, LATERAL (SELECT *, row_number() OVER () AS rank FROM collab.recommend(model, u, k, exclude_seen => seen)) r;
CREATE TABLE n_at_once AS SELECT c.*, r.* FROM n_cases c, LATERAL collab.recommend_all(model, k, exclude_seen => seen) r;
SELECT model, k, seen, count(*) AS rows, count(DISTINCT user_id) AS users, count(*) FILTER (WHERE o.item_id IS DISTINCT FROM e.item_id OR o.score IS DISTINCT FROM e.score) AS wrong
  FROM n_one_by_one o FULL JOIN n_right e USING (model, k, seen, user_id, rank) GROUP BY 1, 2, 3 ORDER BY model::text, k;
-- recommend_all is recommend for all that the model has
SELECT model, k, seen, count(*) AS rows, count(DISTINCT user_id) AS users, count(*) FILTER (WHERE o.item_id IS DISTINCT FROM e.item_id OR o.score IS DISTINCT FROM e.score) AS wrong
  FROM n_at_once o FULL JOIN (SELECT * FROM n_one_by_one WHERE user_id BETWEEN 1 AND 91) e USING (model, k, seen, user_id, rank) GROUP BY 1, 2, 3 ORDER BY model::text, k;
-- a part of a ranking
SELECT bool_and(score >= 3 AND item_id IN (3, 7, 11, 12)) AS right, count(*) > 0 AS some FROM collab.recommend('n_norm', 4, 10, exclude_seen => false, candidates => '{3,7,11,12,61}', min_score => 3);
SELECT item_id, score = collab.predict('n_norm', 4, 61) AS mean_item FROM collab.recommend('n_norm', 4, 10, exclude_seen => false, candidates => '{61}', min_ratings => 0);
-- who is unknown, and who was not trained: the mean embedding; both: the mean rating, exactly
SELECT collab.predict('n_norm', 1000, 1) = collab.predict('n_norm', 91, 1) AS user, collab.predict('n_norm', 1, 1000) = collab.predict('n_norm', 1, 61) AS item,
       collab.predict('n_norm', 1000, 1) <> collab.predict('n_norm', 1000, 2) AS items_differ, collab.predict('n_norm', 1, 1000) <> collab.predict('n_norm', 2, 1000) AS users_differ,
       collab.predict('n_norm', 1000, 1000) = mean_rating::real AS both, collab.predict('n_norm', 91, 61) = mean_rating::real AS both_cold, collab.predict('n_norm', NULL::integer, 1) IS NULL AS "null",
       collab.predict('n_norm', '1', '2') = collab.predict('n_norm', 1, 2) AS text FROM expect.head('n_norm');
-- one by one, many in one query, in another order: the same bits
CREATE TABLE n_all AS SELECT u, i, collab.predict('n_norm', u, i) AS p FROM generate_series(0, 92) u, generate_series(0, 62) i;
SELECT count(*) FILTER (WHERE p <> collab.predict('n_norm', u, i)) AS wrong FROM (SELECT * FROM n_all ORDER BY md5((u * 100 + i)::text)) s;
-- evaluate: the ratings that were held out, with the loss of the last epoch; or others
SELECT metric, abs(value - valid_loss[n_epochs]) < 1e-9 AS last_loss FROM collab.evaluate('n_norm'), expect.head('n_norm') WHERE metric = 'mse';
SELECT metric, abs(value - mse) < 1e-9 AS right FROM collab.evaluate('n_norm', 'n_ratings'), (SELECT collab.mse(rating, collab.predict('n_norm', user_id, item_id)) FROM n_ratings) s(mse) WHERE metric = 'mse';
SELECT count(*), count(value) FROM collab.evaluate('n_plain');
-- neighbours: items of a kind
SELECT m, bool_and(item_id % 6 = 7 % 6) AS of_a_kind, count(*) FROM unnest('{n_norm,n_plain}'::regclass[]) m, LATERAL collab.cosine_similar(m, 7, 4) GROUP BY m ORDER BY m::text;
SELECT m, bool_and(user_id % 6 = 8 % 6) AS of_a_kind, count(*) FROM unnest('{n_norm,n_plain}'::regclass[]) m, LATERAL collab.similar_users(m, 8, 4) GROUP BY m ORDER BY m::text;
SELECT bool_and(abs(similarity - collab.cosine_similarity(a.factors, b.factors)) < 1e-6) AS cosine, count(*) FROM collab.cosine_similar('n_norm', 7, 100) s, n_norm_items a, n_norm_items b WHERE a.item_id = 7 AND b.item_id = s.item_id;
SELECT count(*) AS unknown FROM collab.cosine_similar('n_norm', 1000);
-- principal components, of embeddings of two lengths
SELECT count(*), max(cardinality(components)) FROM collab.pca_project('n_plain', 5);
SELECT count(*), max(cardinality(components)) FROM collab.pca_project_users('n_plain', 6);
SELECT expect.error('SELECT * FROM collab.pca_project(''n_plain'', 6)');
SELECT count(*), round(sum(ratio)::numeric, 6) AS whole FROM collab.pca_explained('n_plain', 5);
SELECT count(*), round(sum(ratio)::numeric, 6) AS whole FROM collab.pca_explained_users('n_plain', 6);
SELECT round(corr(kind, component)::numeric, 1) <> 0 AS kinds_are_seen FROM (SELECT user_id % 6 AS kind, components[1] AS component FROM collab.pca_project_users('n_norm', 1)) s;
-- what it is not made for says so
\pset format unaligned
SELECT q, expect.error(q) FROM unnest(ARRAY['SELECT * FROM collab.movie_bias(''n_norm'')', 'SELECT * FROM collab.movie_bias(''n_norm'', 3, NULL::integer)', 'SELECT * FROM collab.user_bias(''n_plain'')', 'SELECT * FROM collab.explain(''n_norm'', 1, 1)',
	'SELECT * FROM collab.explain(''n_norm'', 1000, 1000, n_components => 2)', 'SELECT * FROM collab.fold_in(''n_norm'', ARRAY[1, 2], ARRAY[5, 1])', 'SELECT * FROM collab.recommend_for(''n_norm'', ARRAY[1, 2], ARRAY[5, 1])', 'SELECT collab.add_users(''n_norm'')',
	'SELECT collab.score(u.bias, u.factors, i.bias, i.factors) FROM n_plain_users u, n_plain_items i WHERE user_id = 1 AND item_id = 1']) q;
SELECT expect.error('SELECT collab.add_items(''n_norm'')') ~ '^0A000: model "n_norm" is neural: ' AS refused;
\pset format aligned
-- NULL arguments as ever: no rows, no error
SELECT count(*) FROM collab.explain('n_norm', NULL::integer, 1);

--
-- Ids of other types; no source; the schedule in the history
--
CREATE VIEW n_text AS SELECT 'user ' || user_id AS who, md5(item_id::text)::uuid AS what, rating::numeric AS stars FROM n_ratings;
SELECT count(*) FROM collab.train('"N text"', 'n_text', user_column => 'who', item_column => 'what', rating_column => 'stars', use_nn => true, layers => '{8}', n_epochs => 3, verbose => false);
SELECT collab.predict('"N text"', 'user 3', md5('5')::uuid) IS NOT NULL AS predicts, count(*) FROM collab.recommend('"N text"', 'user 3', 4, NULL::uuid);
SELECT count(*) FROM collab.recommend_all('"N text"', 2, NULL::text, NULL::uuid);
SELECT expect.error('SELECT * FROM collab.recommend(''n_1'', 3, 2)') ~ 'HINT' AS no_source, count(*) FROM collab.recommend('n_1', 3, 2, exclude_seen => false);
SELECT generation, epoch, round(lr::numeric, 6) AS lr, train_loss > valid_loss IS NOT NULL AS losses, kept FROM collab.history('n_1') ORDER BY 1, 2;

--
-- keep_best: the net of the best epoch with its embeddings
--
-- ratings that nothing can be learned from but by heart
CREATE TABLE n_noise AS SELECT user_id, item_id, (hashtext(user_id || ' ' || item_id) & 1023) / 256.0::real AS rating FROM n_ratings WHERE user_id < 90;
SELECT count(*) FROM collab.train('n_last', 'n_noise', use_nn => true, layers => '{64}', wd => 0, lr_max => 0.01, n_epochs => 12, verbose => false);
SELECT count(*) FROM collab.train('n_best', 'n_noise', use_nn => true, layers => '{64}', wd => 0, lr_max => 0.01, n_epochs => 12, verbose => false, keep_best => true);
SELECT b.best_epoch < 12 AS not_the_last, b.valid_loss = l.valid_loss AS same_course, abs(value - (SELECT min(x) FROM unnest(b.valid_loss) x)) < 1e-9 AS least, b.valid_loss[b.best_epoch] = (SELECT min(x) FROM unnest(b.valid_loss) x) AS named, b.weights <> l.weights AS other_weights
  FROM n_best b, n_last l, collab.evaluate('n_best') WHERE metric = 'mse';
SELECT * FROM expect.net_check('n_best', 3);
SELECT expect.error($$SELECT * FROM collab.train('n_bad', 'n_ratings', use_nn => true, keep_best => true, valid_pct => 0)$$);

--
-- retrain
--
-- cold: the same ratings and options, the same model; weights in the current row only
CREATE TABLE n_before AS SELECT weights, train_loss FROM n_again;
CREATE TABLE n_before_users AS TABLE n_again_users;
CALL collab.retrain('n_again', options => '{"verbose": false}');
SELECT generation, layers, user_factors, item_factors, batch_norm, h.weights IS NULL AS forgotten, h.weights = b.weights AS same, h.train_loss = b.train_loss AS course FROM n_again h, n_before b ORDER BY generation;
SELECT expect.same('n_again_users', 'n_before_users') AS users;
-- users join: the rule follows the data in a cold start, and not in a warm one
CREATE TABLE n_growing AS SELECT * FROM n_ratings WHERE user_id <= 40;
SELECT count(*) FROM collab.train('n_grown', 'n_growing', use_nn => true, layers => '{10}', n_epochs => 6, lr_max => 0.02, verbose => false);
INSERT INTO n_growing SELECT * FROM n_ratings WHERE user_id > 40;
INSERT INTO n_growing SELECT user_id, item_id + 1000, rating FROM n_ratings WHERE user_id > 40;
CALL collab.retrain('n_grown', warm_start => true);
SELECT generation, warm_start, n_users, user_factors, item_factors, cardinality(weights) AS weights, options->'user_factors' AS given FROM n_grown ORDER BY generation;
SELECT expect.net_rating('n_grown', 80, 7) - collab.predict('n_grown', 80, 7) BETWEEN -1e-5 AND 1e-5 AS right, count(DISTINCT cardinality(factors)) FROM n_grown_users;
CALL collab.retrain('n_grown');
SELECT generation, warm_start, n_users, user_factors, item_factors, cardinality(weights) AS weights, n_train > 0 AS trained FROM n_grown ORDER BY generation;
SELECT DISTINCT cardinality(factors) FROM n_grown_users;
SELECT pairs, wrong FROM expect.net_check('n_grown');
-- a warm start begins where it ended: with hardly any learning embeddings and weights stay, but for running means and variances
CALL collab.retrain('n_again', options => '{"n_epochs": 10, "batch_norm": false}');
CREATE TABLE n_present AS TABLE n_again_users;
CREATE TABLE n_present_head AS SELECT * FROM expect.head('n_again');
CALL collab.retrain('n_again', true, options => '{"lr_max": 1e-9, "n_epochs": 1, "wd": 0}');
SELECT (SELECT max(abs(x - y)) FROM unnest(h.weights, p.weights) w(x, y)) < 1e-5 AS weights, h.train_loss[1] < 1.2 * p.train_loss[10] AS began_low, h.warm_start, cardinality(h.train_loss) AS epochs FROM expect.head('n_again') h, n_present_head p;
SELECT count(*) > 80 AS many, bool_and((SELECT max(abs(x - y)) FROM unnest(m.factors, p.factors) f(x, y)) < 1e-6) AS kept FROM n_again_users m JOIN n_present p USING (user_id);
CALL collab.retrain('n_1', true, ratings => 'n_ratings', options => '{"lr_max": 1e-9, "n_epochs": 1, "wd": 0}');
SELECT count(*) FILTER (WHERE abs(x - y) > 1e-5) AS changed, count(*) FROM n_before b, expect.head('n_1') h, unnest(b.weights[1:28], h.weights[1:28]) w(x, y);
-- the shape must be the present one
\pset format unaligned
SELECT o, expect.error(format('CALL collab.retrain(''n_again'', true, options => %L)', o)) FROM unnest(ARRAY['{"layers": [4]}', '{"layers": [4, 4]}', '{"layers": [4, 3, 1]}', '{"batch_norm": true}', '{"user_factors": 4}', '{"item_factors": 3}',
	'{"use_nn": false}']) o;
SELECT expect.error('CALL collab.retrain(''n_dot'', true, options => ''{"use_nn": true}'')');
-- as it is, or nothing said
CALL collab.retrain('n_again', true, options => '{"layers": [4, 3], "user_factors": 3}');
CALL collab.retrain('n_again', true, options => '{"layers": null, "user_factors": null, "item_factors": null, "dropout": 0.1}');
\pset format aligned
SELECT layers, user_factors, item_factors, batch_norm FROM expect.head('n_again');
-- from one kind of model to the other and back
-- (options that only the other kind has are forgotten)
CALL collab.retrain('n_again', options => '{"use_nn": false, "n_factors": 4, "lr_max": 0.005}');
SELECT solver, n_factors, user_factors, item_factors, layers, batch_norm, weights IS NULL AS no_weights, use_bias, user_prior IS NOT NULL AS prior FROM expect.head('n_again');
SELECT count(weights) AS weights FROM n_again;
SELECT count(*) FROM collab.movie_bias('n_again', 3);
SELECT expect.error('CALL collab.retrain(''n_again'', options => ''{"layers": [5]}'')');
SELECT expect.error('CALL collab.retrain(''n_again'', options => ''{"use_nn": true, "n_factors": 3}'')');
CALL collab.retrain('n_again', options => '{"use_nn": true, "layers": [5]}');
SELECT solver, n_factors, user_factors, item_factors, layers, batch_norm, use_bias, user_prior IS NOT NULL AS prior FROM expect.head('n_again');
SELECT * FROM expect.net_check('n_again', 2);
-- in a transaction that is rolled back
BEGIN;
CALL collab.retrain('n_again', options => '{"layers": [7]}');
SELECT layers, collab.predict('n_again', 1, 1) - expect.net_rating('n_again', 1, 1) BETWEEN -1e-5 AND 1e-5 AS right FROM expect.head('n_again');
ROLLBACK;
SELECT layers, weights IS NOT NULL AS weights, collab.predict('n_again', 1, 1) - expect.net_rating('n_again', 1, 1) BETWEEN -1e-5 AND 1e-5 AS right FROM expect.head('n_again');
-- an older snapshot keeps the older net
SELECT collab.predict('n_again', 1, 1) AS p, count(*) AS n FROM n_again \gset
BEGIN;
DECLARE n_cursor CURSOR FOR SELECT count(*) = :n AS head, collab.predict('n_again', 1, 1) = :p::real AS net FROM n_again;
CALL collab.retrain('n_again', options => '{"layers": [6]}');
SELECT collab.predict('n_again', 1, 1) = :p::real AS still;
FETCH n_cursor;
COMMIT;
-- touched, it is the same
SELECT collab.predict('n_again', 1, 1) AS p \gset
SELECT collab.touch('n_again');
SELECT layers, weights IS NOT NULL AS weights, collab.predict('n_again', 1, 1) = :p::real AS same FROM expect.head('n_again');

--
-- Names and drops
--
ALTER TABLE n_plain RENAME TO n_renamed;
ALTER TABLE n_plain_users RENAME TO n_people;
ALTER TABLE n_plain_items RENAME TO n_things;
SELECT * FROM expect.net_check('n_renamed', 5);
CALL collab.retrain('n_renamed', options => '{"n_epochs": 1}');
SELECT generation, cardinality(weights) FROM n_renamed ORDER BY 1;
SELECT collab.drop_model('n_renamed');
SELECT to_regclass('n_people'), to_regclass('n_things');
-- hidden rows are unknown ones
CREATE ROLE regress_collab_nn;
GRANT SELECT ON n_norm, n_norm_users, n_norm_items TO regress_collab_nn;
CREATE POLICY few ON n_norm_users USING (user_id < 10);
ALTER TABLE n_norm_users ENABLE ROW LEVEL SECURITY;
SET ROLE regress_collab_nn;
SELECT collab.predict('n_norm', 17, 3) = collab.predict('n_norm', 1000, 3) AS hidden, collab.predict('n_norm', 7, 3) = collab.predict('n_norm', 1000, 3) AS seen;
RESET ROLE;
ALTER TABLE n_norm_users DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON n_norm FROM regress_collab_nn;
SET ROLE regress_collab_nn;
SELECT collab.predict('n_norm', 1, 1);
RESET ROLE;
DROP OWNED BY regress_collab_nn;
DROP ROLE regress_collab_nn;

--
-- What bad input gets
--
\pset format unaligned
SELECT o, expect.error(format('SELECT * FROM collab.train(''n_bad'', ''n_ratings'', verbose => false, %s)', o)) FROM unnest(ARRAY[
	-- layers
	$$use_nn => true, layers => '{}'$$, $$use_nn => true, layers => '{0}'$$, $$use_nn => true, layers => '{100,-1}'$$, $$use_nn => true, layers => '{1,2,3,4,5,6,7,8,9}'$$, $$use_nn => true, layers => '{4097}'$$,
	$$use_nn => true, layers => '{2147483647}'$$, $$use_nn => true, layers => '{4,NULL}'$$, $$use_nn => true, layers => '{{4,5},{6,7}}'$$, $$use_nn => true, layers => ARRAY(SELECT 1 FROM generate_series(1, 100000))$$,
	-- sizes, rates
	$$use_nn => true, user_factors => 0$$, $$use_nn => true, user_factors => -1$$, $$use_nn => true, item_factors => 1025$$, $$use_nn => true, dropout => 1$$, $$use_nn => true, dropout => -0.1$$, $$use_nn => true, dropout => 'NaN'$$,
	$$use_nn => NULL$$,
	-- options of the other kind
	$$use_nn => true, n_factors => 5$$, $$use_nn => true, use_bias => false$$, $$layers => '{5}'$$, $$user_factors => 5$$, $$item_factors => 5$$, $$batch_norm => false$$, $$dropout => 0.1$$, $$use_nn => false, layers => '{5}'$$,
	-- batches of one under batch norm
	$$use_nn => true, batch_size => 1$$]) o;
SELECT o, expect.error(format('SELECT collab.fit(''n_bad'', user_id, item_id, rating, ''{"verbose": false, %s}'') FROM n_ratings', o)) FROM unnest(ARRAY['"layers": [5]', '"use_nn": true, "layers": []', '"use_nn": true, "n_factors": 5', '"use_nn": "yes"', '"use_nn": null',
	'"use_nn": true, "batch_size": 1', '"use_nn": true, "dropout": "much"', '"use_nn": true, "user_factors": 2.5', '"use_nn": true, "user_factors": 0', '"use_nn": true, "batch_norm": 1']) o;
SELECT l, expect.error(format('CALL collab.retrain(''n_again'', options => ''{"layers": %s, "verbose": false, "n_epochs": 1}'')', l)) FROM unnest(ARRAY['[20]', '[]', '"x"', '[1.5]', 'null', '[null]', '["3"]', '[[3]]', '{"a": [3]}', '5', 'true', '[0]', '[4097]', '[1e300]', '[1e400]', '[8.0]',
	'[1, 2, 3, 4, 5, 6, 7, 8, 9]']) l;
\pset format aligned
SELECT generation, layers, options->'layers' AS given FROM n_again ORDER BY generation DESC LIMIT 3;
SELECT count(*) FROM collab.train('n_lower', 'n_ratings', use_nn => true, layers => '[0:1]={3,4}', n_epochs => 1, verbose => false);
SELECT layers FROM n_lower;
-- one rating: not under batch norm
CREATE TABLE n_single AS SELECT 1 AS user_id, 2 AS item_id, 3::real AS rating;
SELECT expect.error($$SELECT * FROM collab.train('n_one', 'n_single', use_nn => true, verbose => false)$$);
SELECT count(*) FROM collab.train('n_one', 'n_single', use_nn => true, batch_norm => false, layers => '{2}', verbose => false);
SELECT user_factors, item_factors, collab.predict('n_one', 1, 2) IS NOT NULL AS predicts, collab.predict('n_one', 5, 5) AS both FROM n_one;
INSERT INTO n_single VALUES (1, 3, 4);
SELECT count(*) FROM collab.train('n_one', 'n_single', use_nn => true, layers => '{2}', valid_pct => 0, replace => true, verbose => false);
-- memory is computed before anything is taken
SET collab.max_memory = '4MB';
SELECT left(expect.error($$SELECT * FROM collab.train('n_bad', 'n_ratings', use_nn => true, layers => '{1000,1000}', verbose => false)$$), 70);
RESET collab.max_memory;
-- more than can be dumped
SELECT expect.error($$SELECT * FROM collab.train('n_bad', 'n_ratings', use_nn => true, layers => '{4096,4096,4096,4096,4096,4096,4096,4096}', verbose => false)$$);
SELECT to_regclass('n_bad');

--
-- Damaged heads.  Who may write one may have written anything.
--
CREATE TABLE n_kept AS SELECT * FROM n_3;
CREATE FUNCTION expect.damaged(change text) RETURNS TABLE (call text, error text)
LANGUAGE plpgsql AS $$
DECLARE
	q text;
BEGIN
	EXECUTE 'UPDATE n_3 SET stamp = stamp + 1, ' || change;
	FOREACH q IN ARRAY ARRAY['SELECT collab.predict(''n_3'', 1, 1)', 'SELECT count(*) FROM collab.recommend(''n_3'', 1, 3, exclude_seen => false)', 'SELECT count(*) FROM collab.recommend_all(''n_3'', 3, false)', 'SELECT count(*) FROM collab.evaluate(''n_3'', ''n_ratings'')',
		'SELECT count(*) FROM collab.cosine_similar(''n_3'', 1)', 'CALL collab.retrain(''n_3'', true, ratings => ''n_ratings'')']
	LOOP
		call := substring(q FROM 'collab\.(\w+)');
		error := regexp_replace(expect.error(q), E'\nHINT.*', '');
		RETURN NEXT;
	END LOOP;
	TRUNCATE n_3;
	INSERT INTO n_3 SELECT * FROM n_kept;
END $$;
\pset format unaligned
SELECT c, string_agg(call, ', ' ORDER BY call COLLATE "C") AS calls, error FROM unnest(ARRAY['weights = weights[1:10]', 'weights = NULL', 'weights = ''{}''', 'weights = weights || 1::real', 'weights[3] = ''NaN''', 'weights[3] = ''-Infinity''', 'weights[3] = NULL',
	'weights = array_fill(-1::real, ARRAY[cardinality(weights)])', 'layers = ''{5,7,4}''', 'layers = ''{5,7}''', 'layers = ''{}''', 'layers = ''{5,NULL,3}''', 'layers = NULL', 'layers = ''{5,-7,3}''', 'layers = array_fill(4096, ARRAY[8])', 'layers = array_fill(1, ARRAY[100])',
	'layers = ''{2147483647}''', 'layers = NULL, n_factors = 3', 'batch_norm = false', 'user_factors = 4', 'user_factors = NULL', 'user_factors = -3', 'item_factors = 2000000000', 'user_factors = 4, item_factors = 3']) c, expect.damaged(c) GROUP BY c, error ORDER BY c COLLATE "C", 2;
\pset format aligned
-- finite, but too large to compute with: no crash
SELECT c, call, error FROM unnest(ARRAY['weights = array_fill(3e38::real, ARRAY[cardinality(weights)])', 'y_range = NULL, weights = (SELECT array_agg((w * 1e37)::real ORDER BY i) FROM unnest(weights) WITH ORDINALITY x(w, i))']) c, expect.damaged(c) ORDER BY c COLLATE "C", call COLLATE "C";
-- weights that are counted from 5 are the same weights
SELECT collab.predict('n_3', 1, 1) AS p \gset
UPDATE n_3 SET stamp = stamp + 1, weights = ('[5:' || cardinality(weights) + 4 || ']=' || weights::text)::real[];
SELECT collab.predict('n_3', 1, 1) = :p::real AS same;
-- embeddings of another length
TRUNCATE n_3; INSERT INTO n_3 SELECT * FROM n_kept;
UPDATE n_3_items SET factors = factors || 1::real WHERE item_id = 5;
SELECT expect.error('SELECT collab.touch(''n_3'')');
UPDATE n_3 SET stamp = stamp + 1;
SELECT expect.error('SELECT collab.predict(''n_3'', 1, 1)');
-- without warm_start a retrain repairs all of it
UPDATE n_3 SET weights = NULL, layers = '{}', user_factors = NULL;
CALL collab.retrain('n_3', ratings => 'n_ratings');
SELECT * FROM expect.net_check('n_3', 2);

-- lr_find knows the options, too
SELECT count(*) > 20 AS curve, count(*) FILTER (WHERE suggested) <= 1 AS suggestion FROM collab.lr_find('n_ratings', use_nn => true, layers => '{20}', dropout => 0.1);
SELECT expect.error($$SELECT * FROM collab.lr_find('n_ratings', layers => '{20}')$$);
SELECT expect.error($$SELECT * FROM collab.lr_find('n_ratings', use_nn => true, batch_size => 1)$$);

-- In a new session's state, compiled, in workers.
DISCARD ALL;
SELECT count(*) FILTER (WHERE p <> collab.predict('n_norm', u, i)) AS wrong FROM n_all;
SELECT count(*) FROM collab.recommend('n_norm', 3, 5);
SELECT count(*) FROM collab.recommend_all('n_norm', 5);
SELECT count(*) FROM collab.evaluate('n_norm');
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT count(*) FILTER (WHERE p <> collab.predict('n_norm', u, i)) AS wrong FROM n_all;

SET client_min_messages = warning;
SELECT count(collab.drop_model(model)) > 0 AS dropped FROM collab.models;
