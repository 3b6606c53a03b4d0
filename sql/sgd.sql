--
-- Solver sgd, for large tables
--
CREATE TABLE s_ratings AS
SELECT u AS user_id, i AS item_id, (3 + 2 * sin(u) * cos(i) + ((u * 31 + i * 17) % 5 - 2) * 0.1)::real AS rating
  FROM generate_series(1, 200) u, generate_series(1, 100) i
 WHERE (u * 7 + i * 13 + (u * i) % 11) % 10 < 4;
SELECT count(*), round(var_pop(rating)::numeric, 2) AS variance FROM s_ratings;

-- It finds what is there: the noise has a variance of 0.02.
SELECT max(epoch) AS epochs, round(min(valid_loss)::numeric, 2) AS valid_loss
  FROM collab.train('s_model', 's_ratings', solver => 'sgd', n_factors => 8, n_epochs => 30, lr_max => 0.15, wd => 0.003, verbose => false);
SELECT solver, n_factors, n_epochs, batch_size, use_bias, options->>'solver' AS given, options->>'lr_max' AS lr_max, options->>'div_final' AS div_final FROM s_model;
SELECT round(collab.rmse(r.rating, collab.predict('s_model', user_id, item_id))::numeric, 1) AS rmse FROM s_ratings r;
SELECT epoch, round(lr::numeric, 5) AS lr, momentum FROM collab.history('s_model') WHERE epoch IN (1, 8, 30);
SELECT count(*) FROM collab.recommend('s_model', 7, 5);

-- Its own defaults; the same bits again, in whatever order rows come, on any number of threads.
CREATE TABLE s_backwards AS SELECT * FROM s_ratings ORDER BY rating, item_id DESC;
SELECT FROM collab.train('s_default', 's_ratings', solver => 'sgd', verbose => false);
SET collab.threads = 3;
SELECT FROM collab.train('s_again', 's_backwards', solver => 'sgd', n_factors => NULL, lr_max => NULL, verbose => false);
RESET collab.threads;
SELECT n_factors, n_epochs FROM s_default;
SELECT count(*) AS different FROM s_default_items a JOIN s_again_items b USING (item_id) WHERE a.bias <> b.bias OR a.factors <> b.factors;

-- Without a range, without biases
SELECT round(min(valid_loss)::numeric, 1) AS valid_loss
  FROM collab.train('s_dot', 's_ratings', solver => 'sgd', y_range => NULL, use_bias => false, n_epochs => 40, lr_max => 0.1, verbose => false);
SELECT y_range, use_bias, (SELECT count(*) FROM s_dot_items WHERE bias <> 0) AS biases FROM s_dot;

-- Retrained: by another solver, whose options are kept no longer than they are known, and warm.
CALL collab.retrain('s_model', options => '{"solver": "adam", "mom_low": 0.8, "n_epochs": 2, "verbose": false}');
SELECT solver, batch_size, n_epochs, options->>'mom_low' AS mom_low, options->>'n_factors' AS n_factors FROM expect.head('s_model');
CALL collab.retrain('s_model', options => '{"solver": "sgd", "verbose": false}');
SELECT solver, batch_size, n_epochs, options->>'mom_low' AS mom_low, options->>'n_factors' AS n_factors FROM expect.head('s_model');
CALL collab.retrain('s_model', warm_start => true, options => '{"lr_max": 1e-6, "n_epochs": 1, "verbose": false}');
SELECT a.train_loss[1] < b.train_loss[1] AS continued FROM expect.head('s_model') a, s_model b WHERE b.generation = 1;

-- A small table is for adam, unless another is asked for.
SELECT FROM collab.train('s_auto', 's_ratings', n_epochs => 1, verbose => false);
SELECT solver, options->>'solver' AS given FROM s_auto;

-- lr_find, tune and fit know it, too.
SELECT count(*), count(*) FILTER (WHERE suggested) <= 1 AS one_at_most FROM collab.lr_find('s_ratings', solver => 'sgd', n_factors => 8, num_it => 50, end_lr => 1);
SELECT rank, wd, lr_max, n_epochs, valid_loss IS NOT NULL AS trained
  FROM collab.tune('s_ratings', n_factors => '{8}', wd => '{0.003,1}', options => '{"solver": "sgd"}', verbose => false) ORDER BY rank;
SELECT (f).solver, (f).n_epochs FROM (SELECT collab.fit('s_fit', user_id, item_id, rating, '{"solver": "sgd", "verbose": false}') AS f FROM s_ratings) r;

-- What trains, but can hardly be meant
SELECT FROM collab.train('s_one', 's_ratings', solver => 'sgd', n_epochs => 2, valid_pct => 0, replace => true, verbose => false);
CREATE TABLE s_single AS SELECT 1 AS user_id, 1 AS item_id, 3::real AS rating;
SELECT round(train_loss::numeric, 1) AS train_loss FROM collab.train('s_one', 's_single', solver => 'sgd', n_epochs => 1, valid_pct => 0, replace => true, verbose => false);
SELECT expect.error($$SELECT collab.train('s_bad', 's_ratings', solver => 'sgd', y_range => NULL, lr_max => 900, wd => 0, verbose => false)$$);

SELECT count(collab.drop_model(model)) FROM collab.models;
DROP TABLE s_ratings, s_backwards, s_single;
