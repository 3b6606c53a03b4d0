--
-- collab.train()
--
-- Epochs are told as they end, with times that differ from run to run: most
-- trainings here are quiet.
--

-- The documents' models: each is one call.
-- A dot product alone.
SELECT epoch, train_loss > 0 AS trained, valid_loss > 0 AS validated,
       elapsed >= '0' AND elapsed < '1 min' AS timed
  FROM collab.train('t_dot', 'ratings', use_bias => false, y_range => NULL, verbose => false);
-- With a range.
SELECT count(*) FROM collab.train('t_range', 'ratings', use_bias => false, verbose => false);
-- With biases, which is the default.
SELECT count(*) FROM collab.train('t_bias', 'ratings', verbose => false);

-- The result's columns.
SELECT expect.types($$SELECT * FROM collab.train('x', 'ratings')$$);

-- Three tables, and only these.
SELECT c.relname, c.relkind, c.relpersistence, c.reloftype::regtype AS of_type, a.amname, c.relowner = current_user::regrole AS own
  FROM pg_class c JOIN pg_am a ON a.oid = c.relam
 WHERE c.relname LIKE 't\_bias%' AND c.relkind <> 'i'
 ORDER BY c.relname;
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relname IN ('t_bias_users', 't_bias_items') AND a.attnum > 0
 ORDER BY c.relname, a.attnum;
SELECT conrelid::regclass, conname, contype, pg_get_constraintdef(oid)
  FROM pg_constraint
 WHERE conrelid IN ('t_bias'::regclass, 't_bias_users'::regclass, 't_bias_items'::regclass) AND contype <> 'n'
 ORDER BY conname COLLATE "C";
SELECT model, schema_name, model_name, owner = current_user AS own, comment FROM collab.models ORDER BY model_name;

-- What they hold: every id of the source, with as many factors as were asked for.
SELECT count(*), count(*) FILTER (WHERE cardinality(factors) = 50) AS fifty, sum(n_ratings) FROM t_bias_users;
SELECT count(*), count(*) FILTER (WHERE cardinality(factors) = 50) AS fifty, sum(n_ratings) FROM t_bias_items;
SELECT count(*) FILTER (WHERE bias <> 0) AS biases FROM t_bias_users;
SELECT count(*) FILTER (WHERE bias <> 0) AS biases FROM t_dot_users;
SELECT count(*) AS missing FROM (SELECT user_id FROM ratings EXCEPT SELECT user_id FROM t_bias_users) m;
SELECT count(*) AS missing FROM (SELECT item_id FROM ratings EXCEPT SELECT item_id FROM t_bias_items) m;

-- The head: one row.
SELECT generation, started <= finished AS in_order, finished > now() - interval '1 hour' AS recent,
       pid = pg_backend_pid() AS mine, stamp IS NOT NULL AS stamped, self, source, user_column, item_column, rating_column,
       users, items, solver, n_factors, n_epochs, batch_size, use_bias, y_range, warm_start, n_users, n_items,
       weights, format
  FROM t_bias \gx
SELECT jsonb_pretty(options) FROM t_bias;
SELECT options, y_range, use_bias FROM t_dot;
SELECT options, y_range, use_bias FROM t_range;
SELECT n_train + n_valid AS all_ratings, n_valid BETWEEN 220 AND 360 AS a_fifth,
       n_train = (SELECT sum(n_ratings) FROM t_bias_users) AS users_agree,
       n_train = (SELECT sum(n_ratings) FROM t_bias_items) AS items_agree,
       mean_rating BETWEEN 3.15 AND 3.35 AS mean_about_right
  FROM t_bias;
-- the mean biases are those of who was trained, each as often as they rated
SELECT abs(h.mean_user_bias - (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM t_bias_users)) < 1e-6 AS users,
       abs(h.mean_item_bias - (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM t_bias_items)) < 1e-6 AS items
  FROM t_bias h;

-- The losses are those that were returned; they fall, and the model has learned
-- something when it is better than the mean rating.
CREATE TEMPORARY TABLE losses AS
	SELECT * FROM collab.train('t_losses', 'ratings', n_factors => 5, n_epochs => 20, lr_max => 0.02, verbose => false);
SELECT array_agg(l.train_loss ORDER BY epoch) = h.train_loss AS train,
       array_agg(l.valid_loss ORDER BY epoch) = h.valid_loss AS valid,
       bool_and(abs(extract(epoch FROM l.elapsed)::float8 - h.elapsed[l.epoch]) <= 1e-6) AS elapsed,
       array_agg(epoch ORDER BY epoch) = array(SELECT generate_series(1, 20)) AS epochs
  FROM losses l, t_losses h
 GROUP BY h.train_loss, h.valid_loss, h.elapsed;
SELECT (array_agg(train_loss ORDER BY epoch DESC))[1] < 0.5 * (array_agg(train_loss ORDER BY epoch))[1] AS train_falls,
       (array_agg(valid_loss ORDER BY epoch DESC))[1] < 0.5 * (array_agg(valid_loss ORDER BY epoch))[1] AS valid_falls,
       (array_agg(valid_loss ORDER BY epoch DESC))[1] < 0.5 * (SELECT var_pop(rating) FROM ratings) AS better_than_the_mean
  FROM losses;
-- Nothing of the training is left but the three tables.
SELECT count(*) FROM pg_class WHERE relname LIKE 't\_losses%' AND relkind <> 'i';

--
-- Options
--
-- No validation: the column is NULL, and every rating is trained on.
SELECT epoch, train_loss IS NOT NULL AS train, valid_loss
  FROM collab.train('t_opt', 'ratings', n_factors => 3, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT n_train, n_valid, valid_loss, n_factors, n_epochs, options->>'valid_pct' AS valid_pct FROM t_opt;
SELECT count(*) AS differ
  FROM t_opt_users m
  JOIN (SELECT user_id, count(*) AS n FROM ratings GROUP BY 1) r USING (user_id)
 WHERE m.n_ratings <> r.n;
SELECT count(*) AS differ
  FROM t_opt_items m
  JOIN (SELECT item_id, count(*) AS n FROM ratings GROUP BY 1) r USING (item_id)
 WHERE m.n_ratings <> r.n;
SELECT abs(mean_rating - (SELECT avg(rating::float8) FROM ratings)) < 1e-9 AS mean_rating FROM t_opt;
SELECT collab.drop_model('t_opt');

-- The range: given as it is; derived from the data; none.
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => ARRAY[0, 5.5], verbose => false);
SELECT y_range, options->'y_range' AS given FROM t_opt;
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => ARRAY[0, 5.5]::real[], verbose => false, replace => true);
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => '{-1, 6}', verbose => false, replace => true);
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => '{}', verbose => false, replace => true);
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => NULL, verbose => false, replace => true);
SELECT generation, y_range, options->'y_range' AS given FROM t_opt ORDER BY generation;
-- ratings outside of a given range
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, y_range => ARRAY[2, 4], verbose => false, replace => true);
-- every prediction is within the range
SELECT bool_and(collab.predict('t_opt', u, i) BETWEEN 2 AND 4) FROM generate_series(0, 61) u, generate_series(0, 41) i;

-- The batch: 64 up to 80,000 ratings; what is given; never more than the ratings.
SELECT batch_size, options->'batch_size' AS given FROM t_bias;
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, batch_size => 7, verbose => false, replace => true);
SELECT batch_size, options->'batch_size' AS given FROM expect.head('t_opt');
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, batch_size => 1, verbose => false, replace => true);
SELECT batch_size, options->'batch_size' AS given FROM expect.head('t_opt');
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 2, batch_size => 1000000, verbose => false, replace => true);
SELECT batch_size = n_train AS all_at_once, options->'batch_size' AS given FROM expect.head('t_opt');
-- It grows with the table: a 1,250th of the training ratings.
CREATE VIEW t_many AS SELECT u AS user_id, i AS item_id, (u + i) % 5 + 1 AS rating FROM generate_series(1, 500) u, generate_series(1, 200) i;
SELECT count(*) FROM collab.train('t_opt', 't_many', n_epochs => 1, n_factors => 1, valid_pct => 0, verbose => false, replace => true);
SELECT n_train, batch_size FROM expect.head('t_opt');

-- Learning rate, decay, one-cycle settings, seed: each makes another model.
SELECT name, count(*)
  FROM (VALUES ('base'), ('lr_max'), ('wd'), ('pct_start'), ('div_start'), ('div_final'), ('mom_low'), ('mom_high'), ('seed'), ('use_bias'), ('batch_size')) o(name),
       LATERAL collab.train('t_o_' || name, 'ratings', n_epochs => 2, n_factors => 2, verbose => false,
               lr_max => CASE WHEN name = 'lr_max' THEN 1e-2 ELSE 5e-3 END,
               wd => CASE WHEN name = 'wd' THEN 0 ELSE 0.1 END,
               pct_start => CASE WHEN name = 'pct_start' THEN 0.5 ELSE 0.25 END,
               div_start => CASE WHEN name = 'div_start' THEN 10 ELSE 25 END,
               div_final => CASE WHEN name = 'div_final' THEN 100 ELSE 1e5 END,
               mom_low => CASE WHEN name = 'mom_low' THEN 0.5 ELSE 0.85 END,
               mom_high => CASE WHEN name = 'mom_high' THEN 0.99 ELSE 0.95 END,
               seed => CASE WHEN name = 'seed' THEN 7 ELSE 42 END,
               batch_size => CASE WHEN name = 'batch_size' THEN 63 END,
               use_bias => name <> 'use_bias') t
 GROUP BY name ORDER BY name;
SELECT model, expect.same('t_o_base_users', (model::text || '_users')::regclass) AS users,
       expect.same('t_o_base_items', (model::text || '_items')::regclass) AS items
  FROM collab.models WHERE model_name LIKE 't\_o\_%' ORDER BY model::text COLLATE "C";
SELECT jsonb_object_agg(key, value) AS options FROM t_o_mom_low, jsonb_each(options) WHERE key ~ '^(mom|div|pct|seed|use)';
SELECT count(collab.drop_model(model)) FROM collab.models WHERE model_name LIKE 't\_o\_%';
-- their ends are allowed
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 2, n_factors => 1, pct_start => 0, mom_low => 0, mom_high => 0, wd => 0, seed => -9223372036854775808, verbose => false, replace => true);
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 1, pct_start => 1, valid_pct => 0.99, seed => 9223372036854775807, verbose => false, replace => true);
SELECT options->'seed' AS seed, n_train + n_valid AS ratings FROM expect.head('t_opt');
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 1, n_factors => 1024, verbose => false, replace => true);
SELECT min(cardinality(factors)), max(cardinality(factors)), count(*) FROM t_opt_items;
SELECT collab.drop_model('t_opt');

-- keep_best: the epoch of lowest validation loss is stored.  Ratings that are mostly noise,
-- learned by heart with many factors, a constant rate and no decay.
CREATE VIEW t_noisy AS SELECT user_id, item_id, (rating + 1.2 * (('x' || left(md5(user_id || ' ' || item_id), 4))::bit(16)::integer % 5 - 2)) AS rating FROM ratings;
CREATE TEMPORARY TABLE by_heart AS
	SELECT * FROM collab.train('t_opt', 't_noisy', n_factors => 40, n_epochs => 20, lr_max => 0.004, wd => 0, pct_start => 1, div_start => 1, mom_low => 0.9, mom_high => 0.9, verbose => false);
CREATE TEMPORARY TABLE by_heart_best AS
	SELECT * FROM collab.train('t_best', 't_noisy', n_factors => 40, n_epochs => 20, lr_max => 0.004, wd => 0, pct_start => 1, div_start => 1, mom_low => 0.9, mom_high => 0.9, keep_best => true, verbose => false);
SELECT epoch AS best FROM by_heart ORDER BY valid_loss, epoch LIMIT 1 \gset
SELECT :best BETWEEN 2 AND 10 AS overfitted, (SELECT valid_loss FROM by_heart WHERE epoch = 20) > 1.1 * min(valid_loss) AS by_far FROM by_heart;
SELECT bool_and(a.train_loss = b.train_loss AND a.valid_loss = b.valid_loss) AS same_training, count(*) FROM by_heart a JOIN by_heart_best b USING (epoch);
SELECT best_epoch = :best AS told, cardinality(valid_loss) AS epochs, options->'keep_best' AS option FROM t_best;
SELECT best_epoch, options->'keep_best' AS option FROM t_opt;
SELECT epoch = :best AS kept_the_best FROM collab.history('t_best') WHERE kept;
SELECT epoch AS kept FROM collab.history('t_opt') WHERE kept;
-- what is stored is that epoch: the rate being constant, it is what so many epochs make
SELECT count(*) = :best AS epochs FROM collab.train('t_short', 't_noisy', n_factors => 40, n_epochs => :best, lr_max => 0.004, wd => 0, pct_start => 1, div_start => 1, mom_low => 0.9, mom_high => 0.9, verbose => false);
SELECT max(abs(collab.predict('t_best', user_id, item_id) - collab.predict('t_short', user_id, item_id))) < 0.01 AS as_then,
       max(abs(collab.predict('t_best', user_id, item_id) - collab.predict('t_opt', user_id, item_id))) > 0.5 AS not_the_last
  FROM ratings;
SELECT abs(h.mean_item_bias - (SELECT sum(bias::float8 * n_ratings) / sum(n_ratings) FROM t_best_items)) < 1e-6 AS means FROM t_best h;
-- retrain keeps the option
CALL collab.retrain('t_best');
SELECT generation, best_epoch = :best AS told FROM t_best ORDER BY 1;
CALL collab.retrain('t_best', warm_start => true, options => '{"n_epochs": 3}');
SELECT generation, best_epoch BETWEEN 1 AND 3 AS told, n_epochs FROM expect.head('t_best');
CALL collab.retrain('t_best', options => '{"keep_best": false}');
SELECT generation, best_epoch FROM expect.head('t_best');
-- with the default schedule it is the last epoch, as a rule
SELECT count(*) FROM collab.train('t_best', 'ratings', keep_best => true, verbose => false, replace => true);
SELECT best_epoch = n_epochs AS last, expect.same('t_best_users', 't_bias_users') AS users, expect.same('t_best_items', 't_bias_items') AS items FROM expect.head('t_best');
-- nothing is held out: nothing is best
SELECT expect.error($$CALL collab.retrain('t_best', options => '{"valid_pct": 0}')$$);
CREATE VIEW t_single AS SELECT * FROM ratings LIMIT 1;
SELECT expect.error($$SELECT collab.train('t_none', 't_single', keep_best => true, verbose => false)$$);
-- a copy of the embeddings is counted
SET collab.max_memory = '1200kB';
SELECT left(expect.error($$SELECT collab.train('t_none', 'ratings', n_factors => 500, keep_best => true, verbose => false)$$), 63);
SELECT count(*) FROM collab.train('t_best', 'ratings', n_factors => 500, n_epochs => 1, verbose => false, replace => true);
RESET collab.max_memory;
SELECT collab.drop_model('t_best'), collab.drop_model('t_short'), collab.drop_model('t_opt');

-- Verbose, which is the default: a notice an epoch, one by one as they end.  What it
-- says ends with the time it took, so here it is only counted.
\set VERBOSITY sqlstate
SELECT count(*) FROM collab.train('t_opt', 'ratings', n_epochs => 3, n_factors => 1);
CALL collab.retrain('t_opt', options => '{"n_epochs": 2}');
\set VERBOSITY default
SELECT collab.drop_model('t_opt');

-- Columns by other names, arguments by position, in a subquery's row.
CREATE TABLE t_other AS SELECT user_id AS "Who", item_id AS "the film", rating AS "select" FROM ratings;
SELECT count(*) FROM collab.train('t_opt', 't_other', 'Who', 'the film', 'select', 4, 1, verbose => false);
SELECT user_column, item_column, rating_column, n_factors, n_epochs FROM t_opt;
SELECT (t).epoch, (t).train_loss > 0 AS trained FROM (SELECT collab.train('t_opt', 't_other', 'Who', 'the film', 'select', 4, 1, verbose => false, replace => true) AS t OFFSET 0) s;
SELECT collab.drop_model('t_opt');

--
-- The same rows, options and seed make the same model, bit for bit, in
-- whatever order the rows come.
--
CREATE TABLE t_shuffled AS SELECT rating, item_id, user_id FROM ratings ORDER BY random();
CREATE VIEW t_random AS SELECT * FROM ratings ORDER BY random();
CREATE VIEW t_backwards AS SELECT * FROM ratings ORDER BY item_id DESC, user_id DESC;
SELECT name, count(*)
  FROM (VALUES ('t_det1', 'ratings', 42), ('t_det2', 't_shuffled', 42), ('t_det3', 't_random', 42), ('t_det4', 't_backwards', 42), ('t_det5', 'ratings', 43)) v(name, source, seed),
       LATERAL collab.train(name, source::regclass, n_factors => 6, n_epochs => 2, seed => v.seed, verbose => false)
 GROUP BY name ORDER BY name;
SELECT n, expect.same('t_det1_users', (n || '_users')::regclass) AS users, expect.same('t_det1_items', (n || '_items')::regclass) AS items
  FROM (VALUES ('t_det2'), ('t_det3'), ('t_det4'), ('t_det5')) v(n);
SELECT a.train_loss = b.train_loss AND a.valid_loss = b.valid_loss AS same_losses, a.n_valid = b.n_valid AS same_split,
       a.mean_user_bias = b.mean_user_bias AND a.mean_item_bias = b.mean_item_bias AND a.mean_rating = b.mean_rating AS same_means, a.stamp <> b.stamp AS own_stamp
  FROM t_det1 a, t_det3 b;
-- not only do the floats differ with another seed, but who is held out as well
SELECT count(*) > 0 AS other_split FROM t_det1_users a JOIN t_det5_users b USING (user_id) WHERE a.n_ratings <> b.n_ratings;
-- a training a second time, over the first
SELECT count(*) FROM collab.train('t_det5', 't_random', n_factors => 6, n_epochs => 2, verbose => false, replace => true);
SELECT expect.same('t_det1_users', 't_det5_users') AS users, expect.same('t_det1_items', 't_det5_items') AS items;
-- the settings do not matter
SET work_mem = '64kB'; SET collab.cache_size = 0; SET extra_float_digits = 0; SET synchronize_seqscans = off; SET enable_seqscan = off;
SELECT count(*) FROM collab.train('t_det5', 'ratings', n_factors => 6, n_epochs => 2, verbose => false, replace => true);
RESET work_mem; RESET collab.cache_size; RESET extra_float_digits; RESET synchronize_seqscans; RESET enable_seqscan;
SELECT expect.same('t_det1_users', 't_det5_users') AS users, expect.same('t_det1_items', 't_det5_items') AS items;
-- a pair rated twice counts twice
CREATE VIEW t_twice AS SELECT * FROM ratings UNION ALL SELECT * FROM ratings WHERE user_id = 1;
SELECT count(*) FROM collab.train('t_det5', 't_twice', n_factors => 6, n_epochs => 2, valid_pct => 0, verbose => false, replace => true);
SELECT m.n_ratings = 2 * count(*) AS twice FROM t_det5_users m JOIN ratings USING (user_id) WHERE user_id = 1 GROUP BY m.n_ratings;
-- the two ratings of a pair that is rated twice fall on the same side of the split
SELECT count(*) FROM collab.train('t_det5', 't_twice', n_factors => 6, n_epochs => 2, verbose => false, replace => true);
SELECT n_ratings % 2 AS odd FROM t_det5_users WHERE user_id = 1;
SELECT collab.drop_model(n::regclass) FROM (VALUES ('t_det1'), ('t_det2'), ('t_det3'), ('t_det4'), ('t_det5')) v(n);

--
-- Ids that only held-out ratings have: they are there, without factors.
--
SELECT count(*) FROM collab.train('t_cold', 'ratings', n_factors => 3, n_epochs => 1, valid_pct => 0.85, seed => 1, verbose => false);
SELECT count(*) AS users, count(*) FILTER (WHERE n_ratings = 0) > 0 AS some_cold FROM t_cold_users;
SELECT bool_and(factors = '{0,0,0}') AS no_factors, bool_and(abs(u.bias - h.mean_user_bias) < 1e-6) AS mean_bias
  FROM t_cold_users u, t_cold h WHERE u.n_ratings = 0;
SELECT bool_or(factors = '{0,0,0}') AS no_factors FROM t_cold_users u WHERE u.n_ratings > 0;

--
-- What is not rated is left out, and counted.
--
CREATE TABLE t_nulls AS SELECT user_id, item_id, CASE WHEN (user_id + item_id) % 10 > 0 THEN rating END AS rating FROM ratings;
INSERT INTO t_nulls VALUES (1000, 1, NULL), (1, 1000, NULL);
SELECT count(*) FROM collab.train('t_opt', 't_nulls', n_factors => 2, n_epochs => 1, verbose => false);
-- who has no other ratings is unknown: users 1000, items 40 and 1000
SELECT n_train + n_valid = (SELECT count(rating) FROM t_nulls) AS counted FROM t_opt;
SELECT n_users, n_items FROM t_opt;
SELECT collab.drop_model('t_opt');

--
-- What is hardly meant, but no error.
--
CREATE TABLE t_few (user_id integer, item_id integer, rating integer);
INSERT INTO t_few VALUES (1, 1, 3);
SELECT count(*) FROM collab.train('t_few_one', 't_few', verbose => false);
SELECT n_train, n_valid, n_users, n_items, batch_size, y_range, mean_rating FROM t_few_one;
SELECT round(collab.predict('t_few_one', 1, 1)::numeric, 1) AS p;
INSERT INTO t_few VALUES (1, 2, 4), (1, 3, 5);
SELECT count(*) FROM collab.train('t_few_user', 't_few', valid_pct => 0, verbose => false);
SELECT n_users, n_items FROM t_few_user;
CREATE VIEW t_few_turned AS SELECT item_id AS user_id, user_id AS item_id, rating FROM t_few;
SELECT count(*) FROM collab.train('t_few_item', 't_few_turned', valid_pct => 0, verbose => false);
SELECT n_users, n_items FROM t_few_item;
UPDATE t_few SET rating = 4;
INSERT INTO t_few VALUES (2, 1, 4);
SELECT count(*) FROM collab.train('t_few_equal', 't_few', valid_pct => 0, verbose => false);
SELECT y_range, mean_rating FROM t_few_equal;
SELECT round(collab.predict('t_few_equal', 2, 3)::numeric, 1) AS p;
-- both at once
CREATE VIEW t_few_same_ratings AS SELECT 1 AS user_id, 1 AS item_id, 2.5 AS rating FROM generate_series(1, 3);
SELECT count(*) FROM collab.train('t_few_same', 't_few_same_ratings', valid_pct => 0, verbose => false);
-- too few to hold any out
SELECT count(*) FROM collab.train('t_few_valid', 't_few', valid_pct => 0.0001, verbose => false);
SELECT valid_loss FROM t_few_valid;
-- large and small numbers
CREATE VIEW t_few_large_ratings AS SELECT user_id, item_id, rating * 1e6::float8 - 3e6 AS rating FROM ratings;
SELECT bool_and(train_loss < 'Infinity') AS finite FROM collab.train('t_few_large', 't_few_large_ratings', verbose => false);
SELECT y_range FROM t_few_large;

--
-- replace => true: a new generation in the same tables.
--
CREATE ROLE regress_collab_reader;
GRANT SELECT ON t_range, t_range_users, t_range_items TO regress_collab_reader;
CREATE INDEX t_range_popular ON t_range_items (n_ratings);
CREATE TABLE t_oids AS SELECT oid, relname, relacl, relfilenode FROM pg_class WHERE relname LIKE 't\_range%';
SELECT count(*) FROM collab.train('t_range', 't_nulls', n_factors => 7, verbose => false, replace => true);
SELECT o.relname, c.oid IS NOT DISTINCT FROM o.oid AS same_oid, c.relacl IS NOT DISTINCT FROM o.relacl AS same_grants, c.relfilenode = o.relfilenode AS same_file
  FROM t_oids o LEFT JOIN pg_class c USING (relname) ORDER BY o.relname COLLATE "C";
SELECT generation, source, n_factors, warm_start, finished IS NOT NULL AS finished FROM t_range ORDER BY generation;
SELECT cardinality(factors) AS factors, count(*) FROM t_range_items GROUP BY 1;
-- ids that are gone from the source are gone from the model, new ones are there
SELECT count(*) FROM collab.train('t_range', 't_few', n_factors => 7, verbose => false, replace => true);
SELECT user_id FROM t_range_users ORDER BY 1;
SELECT item_id FROM t_range_items ORDER BY 1;
SELECT generation, n_users, n_items FROM t_range ORDER BY generation;
-- replace of a model that is not there yet
SELECT count(*) FROM collab.train('t_new', 'ratings', n_factors => 1, n_epochs => 1, verbose => false, replace => true);
SELECT generation FROM t_new;
DROP OWNED BY regress_collab_reader;
DROP ROLE regress_collab_reader;

--
-- Names
--
CREATE SCHEMA t_schema;
SELECT count(*) FROM collab.train('t_schema.model', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT model, schema_name, model_name FROM collab.models WHERE schema_name = 't_schema';
SELECT self, users, items, source FROM t_schema.model;
-- the same name elsewhere is another model
SET search_path = t_schema, public;
SELECT count(*) FROM collab.train('t_new', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM t_schema.t_new_users;
RESET search_path;
-- names as SQL reads them
SELECT count(*) FROM collab.train('"My Model"', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM "My Model_users";
SELECT collab.predict('"My Model"', 1, 1) BETWEEN 0.5 AND 5.5 AS predicted;
SELECT count(*) FROM collab.train('MyModel', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM mymodel_users;
SELECT count(*) FROM collab.train('t_schema."dots.and ""quotes"""', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT self, users FROM t_schema."dots.and ""quotes""";
SELECT count(*) FROM collab.train('"select"', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT collab.predict('"select"', 1, 1) IS NOT NULL AS predicted;
-- a name of 57 bytes leaves room for the suffixes
SELECT count(*) FROM collab.train(repeat('n', 57), 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT length(relname) FROM pg_class WHERE relname ~ '^n{57}' AND relkind = 'r' ORDER BY 1;
SELECT collab.drop_model(repeat('n', 57)::regclass);
SELECT count(*) FROM collab.train(repeat('n', 58), 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT count(*) FROM collab.train(repeat('ü', 29), 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
-- sources in need of quotes
CREATE TABLE t_schema."Ratings of ""all""" AS SELECT * FROM ratings;
SELECT count(*) FROM collab.train('t_quoted', 't_schema."Ratings of ""all"""', n_factors => 1, n_epochs => 1, verbose => false);
SELECT source FROM t_quoted;
CALL collab.retrain('t_quoted');
SELECT count(*) FROM t_quoted;

--
-- Within transactions
--
BEGIN;
SELECT count(*) FROM collab.train('t_gone', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
SELECT collab.predict('t_gone', 1, 1) IS NOT NULL AS predicted;
SAVEPOINT s;
SELECT count(*) FROM collab.train('t_gone', 'ratings', n_factors => 2, n_epochs => 1, verbose => false, replace => true);
SELECT generation, n_factors FROM expect.head('t_gone');
ROLLBACK TO s;
SELECT generation, n_factors FROM expect.head('t_gone');
SELECT collab.predict('t_gone', 1, 1) IS NOT NULL AS predicted;
ROLLBACK;
SELECT to_regclass('t_gone'), to_regclass('t_gone_users'), to_regclass('t_gone_items');
-- twice in one statement, and from PL/pgSQL
SELECT count(*) FROM collab.train('t_pl1', 'ratings', n_factors => 1, n_epochs => 1, verbose => false)
               UNION ALL SELECT count(*) FROM collab.train('t_pl2', 'ratings', n_factors => 1, n_epochs => 1, verbose => false);
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM collab.train('t_pl3', 'ratings', n_factors => 1, n_epochs => 3, verbose => false) LOOP
		RAISE NOTICE 'epoch %', r.epoch;
	END LOOP;
	PERFORM collab.train('t_pl3', 'ratings', n_factors => 1, n_epochs => 3, verbose => false, replace => true);
END $$;
SELECT generation FROM t_pl3 ORDER BY 1;
-- ratings that the transaction itself wrote
BEGIN;
CREATE TEMPORARY TABLE t_fresh AS SELECT * FROM ratings;
INSERT INTO t_fresh VALUES (61, 1, 5);
SELECT count(*) FROM collab.train('t_fresh_model', 't_fresh', n_factors => 1, n_epochs => 1, verbose => false);
SELECT n_users FROM t_fresh_model;
ROLLBACK;

-- a data-modifying statement around it
CREATE TABLE t_log (epoch integer, loss double precision);
INSERT INTO t_log SELECT epoch, valid_loss FROM collab.train('t_pl1', 'ratings', n_factors => 1, n_epochs => 2, verbose => false, replace => true);
SELECT epoch, loss > 0 AS loss FROM t_log ORDER BY 1;

DO $$
DECLARE
	m regclass;
BEGIN
	FOR m IN SELECT model FROM collab.models LOOP
		PERFORM collab.drop_model(m);
	END LOOP;
END $$;
SELECT count(*) FROM collab.models;
DROP SCHEMA t_schema CASCADE;
