--
-- collab.ndcg(), collab.average_precision()
--

-- Worked by hand: relevant rows at places 1 and 4 of 5
CREATE TABLE r_values (id integer, score double precision, relevant boolean);
INSERT INTO r_values VALUES (1, 0.2, false), (2, 0.9, true), (3, 0.5, true), (4, 0.8, false), (5, 0.6, false);
SELECT round(collab.ndcg(score, relevant)::numeric, 6) AS ndcg, round(((1 + ln(2)/ln(5)) / (1 + ln(2)/ln(3)))::numeric, 6) AS by_hand,
       round(collab.average_precision(score, relevant)::numeric, 6) AS ap, round((1 + 2/4.) / 2, 6) AS by_hand
  FROM r_values;
-- of the first k: one hit of one, of two (at most k can be hit), of two, both
SELECT k, round(collab.ndcg(score, relevant, k)::numeric, 6) AS ndcg,
       round((CASE WHEN k = 1 THEN 1 WHEN k < 4 THEN 1 / (1 + ln(2)/ln(3)) ELSE (1 + ln(2)/ln(5)) / (1 + ln(2)/ln(3)) END)::numeric, 6) AS by_hand,
       collab.average_precision(score, relevant, k) AS ap,
       CASE WHEN k = 1 THEN 1 WHEN k < 4 THEN 1/2. ELSE (1 + 2/4.) / 2 END AS by_hand
  FROM r_values, unnest('{1,2,3,4,5,6,2147483647}'::integer[]) k GROUP BY k ORDER BY k;
-- a rank is given as its negative
SELECT collab.average_precision(-rank, rank IN (2, 3)) AS ap, (1/2. + 2/3.) / 2 AS by_hand FROM generate_series(1, 10) rank;
SELECT collab.ndcg(-rank, rank <= 3) AS best, collab.average_precision(-rank, rank <= 3) AS best, collab.average_precision(rank, rank = 1) AS worst
  FROM generate_series(1, 10) rank;

-- Ties earn nothing: of equal scores, what is not relevant stands first, whatever the order of the rows.
SELECT collab.average_precision(1, id = 1 ORDER BY id) AS first, collab.average_precision(1, id = 1 ORDER BY id DESC) AS last,
       collab.ndcg(1, id = 1 ORDER BY id) = collab.ndcg(1, id = 1 ORDER BY id DESC) AS same, 1/5. AS by_hand
  FROM r_values;
SELECT count(DISTINCT (collab_ndcg, collab_ap)) AS one
  FROM (SELECT seed, collab.ndcg(n % 7, n % 3 = 0, 20 ORDER BY md5(n::text || seed)) AS collab_ndcg,
               collab.average_precision(n % 7, n % 3 = 0, 20 ORDER BY md5(n::text || seed)) AS collab_ap
          FROM generate_series(1, 100) n, generate_series(1, 20) seed GROUP BY seed) s;
-- infinite scores are scores, and NaN is the greatest, as in ORDER BY
SELECT collab.average_precision(score, score = 'NaN') AS nan, collab.average_precision(score, score = 'Infinity') AS infinite,
       collab.average_precision(score, score = 1) AS one, collab.average_precision(score, score = '-Infinity') AS least
  FROM (VALUES ('-Infinity'::float8), (1), ('Infinity'), ('NaN')) v(score);

-- What has no score, or is not known to be relevant, does not count.
SELECT collab.average_precision(score, relevant) AS ap, collab.average_precision(score, relevant, 5) AS ap, (1 + 2/4.) / 2 AS by_hand
  FROM (TABLE r_values UNION ALL VALUES (6, 0.95, NULL), (7, NULL, true), (8, NULL, NULL)) v(id, score, relevant);
-- nothing relevant, and nothing at all
SELECT collab.ndcg(score, false), collab.average_precision(score, false), collab.ndcg(score, false, 3), collab.average_precision(score, false, 3) FROM r_values;
SELECT collab.ndcg(score, relevant), collab.average_precision(score, relevant), collab.ndcg(score, relevant, 3), collab.average_precision(score, relevant, 3) FROM r_values WHERE false;
SELECT collab.ndcg(score, NULL), collab.average_precision(NULL, relevant), collab.ndcg(NULL, NULL, 3) FROM r_values;
-- groups, filters, windows
SELECT collab.average_precision(score, relevant) FILTER (WHERE id <> 4) AS filtered, (1 + 2/3.) / 2 AS by_hand FROM r_values;
SELECT relevant, collab.ndcg(score, relevant) FROM r_values GROUP BY relevant ORDER BY relevant;
SELECT id, round(collab.average_precision(score, relevant) OVER (ORDER BY id)::numeric, 4) AS so_far,
       round(collab.average_precision(score, relevant) OVER (ORDER BY id ROWS 1 PRECEDING)::numeric, 4) AS of_two
  FROM r_values ORDER BY id;
-- numbers of other types
SELECT collab.average_precision(n, n = 2), collab.average_precision(n::real, n = 2), collab.average_precision(n::numeric, n = 2), collab.average_precision(n::bigint, n = 2, 3::smallint)
  FROM generate_series(1, 3) n;

-- k is one number for a group
SELECT expect.error($$SELECT collab.ndcg(score, relevant, 0) FROM r_values$$);
SELECT expect.error($$SELECT collab.average_precision(score, relevant, -1) FROM r_values$$);
SELECT expect.error($$SELECT collab.ndcg(score, relevant, NULL) FROM r_values$$);
SELECT expect.error($$SELECT collab.ndcg(score, relevant, id ORDER BY id) FROM r_values$$);
SELECT expect.error($$SELECT collab.ndcg(NULL, relevant, id ORDER BY id) FROM r_values$$);
SELECT id, collab.average_precision(score, true, id) AS ap FROM r_values GROUP BY id ORDER BY id;

-- Groups, against plain SQL
CREATE TABLE r_many AS
	SELECT n, n % 50 AS g, ((n * 7919) % 1009)::double precision AS score, (n * 31) % 11 < 2 AS relevant FROM generate_series(1, 30000) n;
CREATE VIEW r_expected AS
	WITH places AS (
		SELECT g, relevant, row_number() OVER (PARTITION BY g ORDER BY score DESC, relevant) AS place FROM r_many),
	hits AS (
		SELECT g, place::float8, row_number() OVER (PARTITION BY g ORDER BY place) AS hit, count(*) OVER (PARTITION BY g) AS n_relevant FROM places WHERE relevant)
	SELECT g, sum(hit / place) / max(n_relevant) AS ap,
	       coalesce(sum(hit / place) FILTER (WHERE place <= 25), 0) / least(25, max(n_relevant)) AS ap_25,
	       sum(1 / ln(1 + place)) / (SELECT sum(1 / ln(1 + j::float8)) FROM generate_series(1, max(n_relevant)) j) AS ndcg,
	       coalesce(sum(1 / ln(1 + place)) FILTER (WHERE place <= 25), 0) / (SELECT sum(1 / ln(1 + j::float8)) FROM generate_series(1, least(25, max(n_relevant))) j) AS ndcg_25
	  FROM hits GROUP BY g;
SELECT count(*) AS groups, count(*) FILTER (WHERE abs(e.ap - s.ap) < 1e-12 AND abs(e.ap_25 - s.ap_25) < 1e-12 AND abs(e.ndcg - s.ndcg) < 1e-12 AND abs(e.ndcg_25 - s.ndcg_25) < 1e-12) AS as_expected
  FROM r_expected e JOIN (SELECT g, collab.average_precision(score, relevant) AS ap, collab.average_precision(score, relevant, 25) AS ap_25,
                                 collab.ndcg(score, relevant) AS ndcg, collab.ndcg(score, relevant, 25) AS ndcg_25 FROM r_many GROUP BY g) s USING (g);

-- Partial states, of workers or machines, are arrays {n, k, score, relevant, ...} and are put together.
SELECT aggfnoid::regprocedure, aggcombinefn, aggtranstype::regtype, agginitval, aggfinalfn FROM pg_aggregate
 WHERE aggfnoid::regproc::text IN ('collab.ndcg', 'collab.average_precision') ORDER BY aggfnoid::regprocedure::text COLLATE "C";
CREATE TABLE r_serial AS
	SELECT g, collab.average_precision(score, relevant) AS ap, collab.ndcg(score, relevant) AS ndcg, collab.ndcg(score, relevant, 25) AS ndcg_25 FROM r_many GROUP BY g;
CREATE TABLE r_serial_all AS SELECT collab.average_precision(score, relevant) AS ap, collab.ndcg(score, relevant, 1000) AS ndcg FROM r_many;
ANALYZE r_many;
ALTER TABLE r_many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
EXPLAIN (COSTS OFF) SELECT collab.average_precision(score, relevant), collab.ndcg(score, relevant, 1000) FROM r_many;
SELECT collab.average_precision(score, relevant) = (SELECT ap FROM r_serial_all) AS ap, collab.ndcg(score, relevant, 1000) = (SELECT ndcg FROM r_serial_all) AS ndcg FROM r_many;
SELECT count(*) AS same FROM (SELECT g, collab.average_precision(score, relevant) AS ap, collab.ndcg(score, relevant) AS ndcg, collab.ndcg(score, relevant, 25) AS ndcg_25 FROM r_many GROUP BY g) s JOIN r_serial USING (g, ap, ndcg, ndcg_25);
SELECT collab.ndcg(score, relevant) FROM r_many WHERE n < 0;
SELECT expect.error($$SELECT collab.ndcg(score, relevant, 1 + n / 15000) FROM r_many$$) ~ '^22023: k must be the same' AS differs;
SELECT count(*) = 1 AS reset FROM (SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')) s;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
-- by hand, as two machines would
SELECT collab.ranking_average_precision(collab.ranking_combine('{2,0,0.9,1,0.5,1}', '{3,0,0.8,0,0.6,0,0.2,0,0,0}')) AS ap, (1 + 2/4.) / 2 AS by_hand;
SELECT collab.ranking_combine('{0,0}', '{0,0}') AS empty, collab.ranking_combine('{0,0}', '{1,5,2,1}') AS k, collab.ranking_combine('{1,5,2,1}', '{0,0}') AS k;
SELECT collab.ranking_ndcg('{0,0}'), collab.ranking_ndcg('{0,3}'), collab.ranking_average_precision(NULL), collab.ranking_accum_k(NULL, 1, true, 3);
-- the states are not changed in place where they are not the aggregate's own
SELECT s, (collab.ranking_accum(s, 2, true))[1:4], (collab.ranking_accum_k(s, 2, true, 7))[1:2], (collab.ranking_combine(s, s))[1:2], s FROM (VALUES ('{0,0,0,0,0,0}'::double precision[])) v(s);

-- A state that somebody made is looked at before it is believed.
SELECT state, expect.error(format('SELECT collab.ranking_ndcg(%L)', state))
  FROM unnest('{"{}", "{0}", "{1,0}", "{1,0,1}", "{-1,0,1,1}", "{0.5,0,1,1}", "{2,0,1,1}", "{NaN,0,1,1}", "{Infinity,0,1,1}", "{1e300,0,1,1}", "{1,-1,1,1}",
                "{1,0.5,1,1}", "{1,NaN,1,1}", "{1,3e9,1,1}", "{NULL,0}", "{1,0,NULL,1}", "{{1,0},{1,1}}"}'::text[]) state;
SELECT expect.error($$SELECT collab.ranking_accum('{5,0}', 1, true)$$);
SELECT expect.error($$SELECT collab.ranking_accum_k('{5,0}', 1, true, 3)$$);
SELECT expect.error($$SELECT collab.ranking_accum_k('{1,3,1,1}', 1, true, 4)$$);
SELECT expect.error($$SELECT collab.ranking_accum_k('{0,0}', 1, true, NULL)$$);
SELECT expect.error($$SELECT collab.ranking_combine('{5,0}', '{0,0}')$$);
SELECT expect.error($$SELECT collab.ranking_combine('{0,0}', '{5,0}')$$);
SELECT expect.error($$SELECT collab.ranking_combine('{0,3}', '{0,4}')$$);
SELECT collab.ranking_average_precision('{2,0,1,NaN,2,0}') AS "not 0 is relevant";
SELECT collab.ranking_average_precision('[5:8]={1,0,1,1}') AS bounds;

-- Large groups grow by doubling.
SELECT collab.average_precision(-n, n % 2 = 0) BETWEEN 0.5 AND 0.51 AS half FROM generate_series(1, 200000) n;
DROP VIEW r_expected;
DROP TABLE r_values, r_many, r_serial, r_serial_all;
