--
-- collab.mse(), collab.rmse(), collab.mae()
--
CREATE TABLE m_values (id integer, actual double precision, predicted double precision);
INSERT INTO m_values VALUES (1, 4, 3.5), (2, 3, 3), (3, 5, 3), (4, 1, 2.5);
-- errors 0.5, 0, 2, -1.5: squares 0.25, 0, 4, 2.25
SELECT collab.mse(actual, predicted) AS mse, collab.rmse(actual, predicted) = sqrt(1.625::float8) AS rmse, collab.mae(actual, predicted) AS mae
  FROM m_values;
SELECT id, collab.mse(actual, predicted), collab.rmse(actual, predicted), collab.mae(actual, predicted)
  FROM m_values GROUP BY id ORDER BY id;
SELECT collab.mse(actual, predicted) FILTER (WHERE id < 3) AS filtered,
       collab.mae(DISTINCT actual, predicted) AS of_distinct,
       collab.mae(predicted, actual) AS turned
  FROM m_values;
SELECT id, round(collab.mae(actual, predicted) OVER (ORDER BY id)::numeric, 3) AS mae, collab.mse(actual, predicted) OVER (ORDER BY id ROWS 1 PRECEDING)
  FROM m_values ORDER BY id;
-- all numeric types
SELECT pg_typeof(collab.mse(1, 2)), collab.mse(1, 2), collab.mae(1::smallint, 2.5::numeric), collab.rmse(1::real, 4::bigint), collab.mae('1', '3');
SELECT collab.mse(rating, 3) = avg((rating - 3)::float8 ^ 2) AS mse, collab.mae(rating, 3) = avg(abs(rating - 3)::float8) AS mae FROM ratings;
-- what has no value, or no prediction, does not count
INSERT INTO m_values VALUES (5, NULL, 3), (6, 3, NULL), (7, NULL, NULL);
SELECT collab.mse(actual, predicted) AS mse, collab.rmse(actual, predicted) = sqrt(1.625::float8) AS rmse, collab.mae(actual, predicted) AS mae
  FROM m_values;
-- nothing to measure
SELECT collab.mse(actual, predicted), collab.rmse(actual, predicted), collab.mae(actual, predicted) FROM m_values WHERE id > 4;
SELECT collab.mse(actual, predicted), collab.rmse(actual, predicted), collab.mae(actual, predicted) FROM m_values WHERE false;
SELECT collab.mse(NULL, NULL), collab.mse(NULL, 1);
-- what is not a number stays so
SELECT collab.mse('NaN', 1), collab.mae('NaN', 1), collab.rmse('Infinity', 1), collab.mae('-Infinity', 1), collab.mse('Infinity', 'Infinity');
-- large errors
SELECT round(log(collab.mse(1e150, -1e150))::numeric, 2) AS log_mse, round(log(collab.rmse(1e150, -1e150))::numeric, 2) AS log_rmse;
SELECT collab.mse(1e300, -1e300);

-- Partial sums, of workers or machines, are arrays {count, sum} and add up.
SELECT collab.squared_error_accum('{0,0}', 4, 3.5), collab.absolute_error_accum('{2,7}', 1, 2.5), collab.error_combine('{2,7}', '{3,0.5}');
SELECT collab.error_mean('{4,6}'), collab.error_root_mean('{4,1}'), collab.error_mean('{0,0}'), collab.error_root_mean('{0,0}');
SELECT collab.squared_error_accum('{0,0}', NULL, 3.5), collab.error_mean(NULL);
-- the states are not changed in place where they are not the aggregate's own
SELECT s, collab.squared_error_accum(s, 2, 1), collab.error_combine(s, s), s FROM (VALUES ('{1,1}'::double precision[])) v(s);
SELECT expect.error($$SELECT collab.error_mean('{1}')$$);
SELECT expect.error($$SELECT collab.error_mean('{}')$$);
SELECT expect.error($$SELECT collab.error_mean('{1,2,3}')$$);
SELECT expect.error($$SELECT collab.error_mean('{1,NULL}')$$);
SELECT expect.error($$SELECT collab.error_mean('{{1,2}}')$$);
SELECT expect.error($$SELECT collab.error_combine('{1,2}', '{1}')$$);
SELECT expect.error($$SELECT collab.squared_error_accum('{1}', 1, 2)$$);
SELECT expect.error($$SELECT collab.absolute_error_accum('{NULL,NULL}', 1, 2)$$);
SELECT aggfnoid::regproc, aggcombinefn, aggtranstype::regtype, agginitval, aggfinalfn FROM pg_aggregate
 WHERE aggfnoid::regproc::text IN ('collab.mse', 'collab.rmse', 'collab.mae') ORDER BY aggfnoid::regproc::text COLLATE "C";
CREATE TABLE m_many AS SELECT n, (n % 5)::double precision AS actual, (n % 3)::double precision AS predicted FROM generate_series(1, 30000) n;
ANALYZE m_many;
ALTER TABLE m_many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
EXPLAIN (COSTS OFF) SELECT collab.mse(actual, predicted), collab.rmse(actual, predicted), collab.mae(actual, predicted) FROM m_many;
SELECT collab.mse(actual, predicted) = 11 / 3::float8 AS mse, collab.rmse(actual, predicted) = sqrt(11 / 3::float8) AS rmse, round(collab.mae(actual, predicted)::numeric, 4) AS mae FROM m_many;
SELECT n % 4 AS g, collab.mse(actual, predicted) = avg((actual - predicted) ^ 2) AS mse FROM m_many GROUP BY 1 ORDER BY 1;
SELECT collab.mse(actual, predicted) FROM m_many WHERE n < 0;
SELECT count(*) = 1 AS reset FROM (SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')) s;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
-- by hand, as two machines would
SELECT collab.error_mean(collab.error_combine(a, b)) = m AS same
  FROM (SELECT array[count(*), sum((actual - predicted) ^ 2)] AS a FROM m_many WHERE n <= 1000) a,
       (SELECT array[count(*), sum((actual - predicted) ^ 2)] AS b FROM m_many WHERE n > 1000) b,
       (SELECT collab.mse(actual, predicted) AS m FROM m_many) m;
-- hashed in partitions, and sorted
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT n % 100, collab.mae(actual, predicted) FROM m_many GROUP BY 1) s;
RESET enable_hashagg;
DROP TABLE m_many, m_values;
