--
-- The Bayesian solver: options n_factors, n_epochs, burn_in, implicit and
-- keep_draws; collab.predict_interval()
--
SET jit = off;
CREATE TABLE b_ratings (user_id integer, item_id text, rating real);
INSERT INTO b_ratings
SELECT u, 'i' || i, round((3 + sin(u) + cos(i * 2) + 1.5 * sin(u * 3) * cos(i * 5) + ((u * 31 + i * 17) % 7 - 3) * 0.2)::numeric * 2) / 2
  FROM generate_series(1, 150) u, generate_series(1, 60) i
 WHERE (u * 11 + i * 7 + (u * i) % 5) % 8 < 4;
-- a user and an item that have no rating to train on
INSERT INTO b_ratings VALUES (200, 'i1', NULL), (1, 'i99', NULL);
SELECT count(*), min(rating), max(rating), round(var_pop(rating)::numeric, 1) AS variance FROM b_ratings;

--
-- Training
--
SELECT count(*) AS sweeps, bool_and(train_loss > 0) AS train,
	   (array_agg(valid_loss ORDER BY epoch DESC))[1] < 0.25 AS learnt
  FROM collab.train('b', 'b_ratings', solver => 'bayes', implicit => 'none', keep_draws => 20, verbose => false);
SELECT solver, n_factors, n_epochs, burn_in, implicit, n_draws, use_bias, y_range, noise > 0 AS noise,
	   cardinality(user_normal) AS user_normal, cardinality(item_normal) AS item_normal,
	   cardinality(calibration) AS calibration, user_factors, batch_size, best_epoch
  FROM b;
\d b_users
SELECT count(*), count(draws), min(cardinality(draws)), max(cardinality(draws)) FROM b_users;
SELECT count(*), count(draws), min(cardinality(draws)), max(cardinality(draws)) FROM b_items;

-- the same for any number of threads, and for the aggregate
SET collab.threads = 3;
SELECT count(*) FROM collab.train('b3', 'b_ratings', solver => 'bayes', implicit => 'none', keep_draws => 20, verbose => false);
SET collab.threads = 1;
SELECT (collab.fit('b1', user_id, item_id, rating, '{"solver": "bayes", "implicit": "none", "keep_draws": 20, "verbose": false}')).solver
  FROM b_ratings;
RESET collab.threads;
SELECT bool_and(x.factors = y.factors AND x.bias = y.bias AND x.draws IS NOT DISTINCT FROM y.draws) AS same
  FROM b_users x JOIN b3_users y USING (user_id);
SELECT bool_and(x.factors = y.factors AND x.bias = y.bias AND x.draws IS NOT DISTINCT FROM y.draws) AS same
  FROM b_items x JOIN b1_items y USING (item_id);
SELECT x.user_normal = y.user_normal AND x.noise = y.noise AS same FROM b x, b1 y;
SELECT collab.drop_model('b1');

--
-- What it predicts: a dot product, biases and the mean rating, kept in the range
--
SELECT bool_and(abs(collab.predict('b', u.user_id, i.item_id) -
		least(h.y_range[2], greatest(h.y_range[1], h.mean_rating + u.bias + i.bias + (SELECT sum(a * b) FROM unnest(u.factors, i.factors) AS f (a, b))))) < 1e-5) AS same
  FROM b_users u, b_items i, b h WHERE u.n_ratings > 0 OR i.n_ratings > 0;
-- who is unknown, or was never rated by, is the mean of the prior
SELECT collab.predict('b', 200, 'i1') = collab.predict('b', -1, 'i1') AS user,
	   collab.predict('b', 1, 'i99') = collab.predict('b', 1, 'nothing') AS item,
	   collab.predict('b', 200, 'i99') = h.mean_rating::real AS mean
  FROM b h;
SELECT abs(collab.predict('b', -1, 'i1') - (h.mean_rating + h.user_normal[h.n_factors + 1] + i.bias +
		(SELECT sum(a * b) FROM unnest(h.user_normal[1:h.n_factors], i.factors) AS f (a, b)))) < 1e-5 AS prior
  FROM b h, b_items i WHERE item_id = 'i1';

-- ranked by what comes before the cut
WITH best AS (SELECT row_number() OVER () AS place, r.* FROM collab.recommend('b', 3, 60, NULL::text, exclude_seen => false, min_ratings => 0) r),
	 all_items AS (SELECT i.item_id, h.mean_rating + u.bias + i.bias + (SELECT sum(a * b) FROM unnest(u.factors, i.factors) AS f (a, b)) AS score
		FROM b_users u, b_items i, b h WHERE u.user_id = 3)
SELECT count(*), bool_and(best.score = collab.predict('b', 3, item_id)) AS scores,
	   sum(abs(best.place - other.place)) <= 2 AS places
  FROM best JOIN (SELECT item_id, row_number() OVER (ORDER BY score DESC) AS place FROM all_items) other USING (item_id);
SELECT count(*) = 20 AS many, bool_and(abs(a.score - p) < 1e-5) AS scores
  FROM collab.recommend_all('b', 2, NULL::integer, NULL::text) a, collab.predict('b', a.user_id, a.item_id) p WHERE a.user_id <= 10;
SELECT round(sum(contribution)::numeric, 4) = round(h.mean_rating::numeric + (u.bias + i.bias + (SELECT sum(a * b) FROM unnest(u.factors, i.factors) AS f (a, b)))::numeric, 4) AS sum,
	   abs((array_agg(e.rating))[23] - collab.predict('b', 3, 'i4')) < 1e-5 AS rating
  FROM collab.explain('b', 3, 'i4') e, b h, b_users u, b_items i WHERE u.user_id = 3 AND i.item_id = 'i4' GROUP BY h.mean_rating, u.bias, i.bias, u.factors, i.factors;
SELECT abs((array_agg(rating ORDER BY n DESC))[1] - collab.predict('b', -1, 'i4')) < 1e-5 AS unknown
  FROM (SELECT *, row_number() OVER () AS n FROM collab.explain('b', -1, 'i4')) e;
SELECT count(*) FROM collab.cosine_similar('b', 'i4'::text, 3);

--
-- New users
--
-- one row of the linear system that the prior and the ratings make, solved by hand for a model of one factor
SELECT count(*) FROM collab.train('one', 'b_ratings', solver => 'bayes', n_factors => 1, n_epochs => 30, y_range => ARRAY[2, 4], implicit => 'none', verbose => false);
WITH h AS (SELECT user_normal AS m, noise, mean_rating FROM one),
	 z AS (SELECT factors[1]::float8 AS q, bias::float8 AS c, rating FROM one_items JOIN (VALUES ('i1', 5.0), ('i2', 2.0), ('i3', 4.5)) r (item_id, rating) USING (item_id)),
	 s AS (SELECT m[3] + sum(q * q) / noise AS a, m[4] + sum(q) / noise AS b, m[5] + count(*) / noise AS d,
			m[3] * m[1] + m[4] * m[2] + sum(q * (rating - mean_rating - c)) / noise AS x,
			m[4] * m[1] + m[5] * m[2] + sum(rating - mean_rating - c) / noise AS y FROM h, z GROUP BY m, noise)
SELECT abs(f.factors[1] - (x * d - b * y) / (a * d - b * b)) < 1e-5 AS factor, abs(f.bias - (a * y - b * x) / (a * d - b * b)) < 1e-5 AS bias
  FROM s, collab.fold_in('one', ARRAY['i1', 'i2', 'i3'], ARRAY[5, 2, 4.5]) f;
SELECT min(collab.predict('one', user_id, item_id)), max(collab.predict('one', user_id, item_id)) FROM one_users, one_items;
SELECT collab.drop_model('one');
SELECT count(*) FROM collab.recommend_for('b', ARRAY['i1', 'i2'], ARRAY[5, 1], 4);
INSERT INTO b_ratings SELECT 300, item_id, rating FROM b_ratings WHERE user_id = 3;
SELECT collab.add_users('b');
SELECT corr(collab.predict('b', 3, item_id), collab.predict('b', 300, item_id)) > 0.9 AS alike FROM b_items;

--
-- Intervals
--
SELECT bool_and(lower <= estimate AND estimate <= upper AND sd > 0) AS ordered,
	   bool_and(estimate = collab.predict('b', user_id, item_id)) AS estimates,
	   bool_and(lower >= h.y_range[1] AND upper <= h.y_range[2]) AS in_range
  FROM b h, b_ratings, collab.predict_interval('b', user_id, item_id) WHERE user_id < 20;
SELECT bool_and(a.upper - a.lower < b.upper - b.lower) AS wider
  FROM b_items, collab.predict_interval('b', 3, item_id, 0.2) a, collab.predict_interval('b', 3, item_id, level => 0.5) b;
SELECT a.sd > b.sd AS less_known FROM collab.predict_interval('b', -1, 'i4') a, collab.predict_interval('b', 3, 'i4') b;
SELECT avg((rating BETWEEN lower AND upper)::integer) BETWEEN 0.75 AND 0.99 AS covers
  FROM b_ratings, collab.predict_interval('b', user_id, item_id) WHERE user_id < 150 AND rating IS NOT NULL;
SELECT * FROM collab.predict_interval('b', NULL, 'i4');
SELECT count(*) FROM collab.predict_interval('b', '3', 'i4') x, collab.predict_interval('b', 3, 'i4'::text) y, collab.predict_interval('b', '3', 'i4'::text) z;
SELECT a.sd / b.sd BETWEEN 0.5 AND 2 AS alike FROM collab.predict_interval('b', 300, 'i4') a, collab.predict_interval('b', 3, 'i4') b;
UPDATE b_users SET draws = NULL WHERE user_id = 4;
SELECT collab.predict_interval('b', 4, 'i4');
SELECT collab.predict_interval('b', 3, 'i4', 1);
SELECT collab.predict_interval('b', 3, 'i4', 0);
SELECT collab.predict_interval('b', 3, 'i4', 'NaN');

--
-- Retraining
--
CALL collab.retrain('b', warm_start => true, options => '{"n_epochs": 12, "burn_in": 2, "keep_draws": 0}');
SELECT generation, solver, n_factors, n_epochs, burn_in, n_draws, user_normal IS NULL AS forgotten, train_loss[12] < 0.2 AS learnt FROM b ORDER BY 1;
SELECT count(draws) FROM b_users;
SELECT collab.predict_interval('b', 3, 'i4');
CALL collab.retrain('b', warm_start => true, options => '{"n_factors": 7}');
CALL collab.retrain('b', warm_start => true, options => '{"solver": "adam", "n_factors": 20}');
CALL collab.retrain('b', options => '{"implicit": "both", "keep_draws": 3, "verbose": false}');
SELECT implicit, n_draws, n_epochs FROM b ORDER BY generation DESC LIMIT 1;
SELECT count(draws) FROM b_items;
CALL collab.retrain('b', options => '{"solver": "adam", "verbose": false}');
SELECT solver, implicit, n_draws, noise, user_normal IS NULL AS no_normal FROM b ORDER BY generation DESC LIMIT 1;
SELECT count(draws) FROM b_items;
SELECT collab.predict_interval('b', 3, 'i4');
CALL collab.retrain('b', warm_start => true, options => '{"solver": "bayes"}');

--
-- Tuning
--
SELECT count(*), bool_and(valid_loss < 0.5) AS good
  FROM collab.tune('b_ratings', n_factors => '{2, 5}', n_epochs => '{20}', options => '{"solver": "bayes"}', verbose => false);
SELECT n_factors, wd, lr_max, n_epochs FROM collab.tune('b_ratings', n_factors => '{3}', n_epochs => '{15}', options => '{"solver": "bayes"}', verbose => false);
SELECT * FROM collab.tune('b_ratings', wd => '{0.1}', options => '{"solver": "bayes"}', verbose => false);

--
-- What is odd
--
CREATE TABLE b_odd (user_id integer, item_id integer, rating real);
INSERT INTO b_odd VALUES (1, 1, 4);
SELECT count(*) FROM collab.train('odd', 'b_odd', solver => 'bayes', verbose => false);
SELECT collab.predict('odd', 1, 1), collab.predict('odd', 2, 1);
INSERT INTO b_odd SELECT i, 1, 3 FROM generate_series(2, 30) i;
SELECT count(*) FROM collab.train('odd', 'b_odd', solver => 'bayes', keep_draws => 4, verbose => false, replace => true);
SELECT round(lower::numeric, 2) <= round(estimate::numeric, 2) AS ordered FROM collab.predict_interval('odd', 1, 1);
UPDATE b_odd SET rating = 4;
SELECT count(*) FROM collab.train('odd', 'b_odd', solver => 'bayes', keep_draws => 4, verbose => false, replace => true);
SELECT * FROM collab.predict_interval('odd', 1, 1);
SELECT collab.drop_model('odd');

--
-- Errors
--
SELECT collab.train('x', 'b_ratings', solver => 'bayes', n_epochs => 10, burn_in => 10);
SELECT collab.train('x', 'b_ratings', solver => 'bayes', burn_in => -1);
SELECT collab.train('x', 'b_ratings', solver => 'bayes', keep_draws => -1);
SELECT collab.train('x', 'b_ratings', solver => 'bayes', n_epochs => 20, burn_in => 5, keep_draws => 16);
SELECT collab.train('x', 'b_ratings', solver => 'bayes', implicit => 'users');
SELECT collab.train('x', 'b_ratings', solver => 'bayes', wd => 0.1);
SELECT collab.train('x', 'b_ratings', solver => 'bayes', use_bias => false);
SELECT collab.train('x', 'b_ratings', burn_in => 3);
SELECT collab.train('x', 'b_ratings', solver => 'sgd', keep_draws => 3);
SELECT collab.lr_find('b_ratings', solver => 'bayes');
UPDATE b3 SET noise = 0;
SELECT collab.touch('b3');
SELECT collab.predict('b3', 1, 'i1');
UPDATE b3 SET noise = 1, user_normal = '{1,2}';
SELECT collab.predict('b3', 1, 'i1');
UPDATE b3 SET user_normal = array_fill(0::float8, ARRAY[252]);
SELECT collab.touch('b3');
SELECT collab.predict_interval('b3', -1, 'i1');
SELECT collab.fold_in('b3', ARRAY['i1'], ARRAY[3]);
UPDATE b3 SET user_normal = array_fill(-1::float8, ARRAY[252]);
SELECT collab.touch('b3');
SELECT collab.fold_in('b3', ARRAY['i1'], ARRAY[3]);
UPDATE b3 SET n_draws = 214748365;
SELECT collab.predict_interval('b3', 1, 'i1');
SELECT collab.drop_model('b'), collab.drop_model('b3');
DROP TABLE b_ratings, b_odd;
