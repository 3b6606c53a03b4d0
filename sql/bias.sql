--
-- collab.movie_bias() and collab.user_bias()
--
SELECT count(*) FROM collab.train('b_model', 'ratings', n_factors => 4, n_epochs => 10, lr_max => 0.05, wd => 0.01, verbose => false);

-- The whole ranking, against SQL.
CREATE VIEW b_expected AS
	SELECT row_number() OVER (ORDER BY bias DESC, item_id) AS rank, item_id, bias, n_ratings FROM b_model_items;
SELECT count(*) AS differ
  FROM collab.movie_bias('b_model', 40) m FULL JOIN b_expected e USING (rank)
 WHERE m.item_id IS DISTINCT FROM e.item_id OR m.bias <> e.bias OR m.n_ratings <> e.n_ratings;
SELECT count(*) AS differ
  FROM collab.movie_bias('b_model', 40, lowest => true) m
  FULL JOIN (SELECT row_number() OVER (ORDER BY bias, item_id) AS rank, item_id, bias, n_ratings FROM b_model_items) e USING (rank)
 WHERE m.item_id IS DISTINCT FROM e.item_id OR m.bias <> e.bias OR m.n_ratings <> e.n_ratings;
-- it comes in that order
SELECT bool_and(rank = row_number) AS ordered FROM (SELECT rank, row_number() OVER () FROM collab.movie_bias('b_model', 40)) s;

-- What was planted is found: the good items are among the best, the bad among the worst.
-- (item i has the planted bias (5 i) % 11 - 5)
SELECT avg((item_id * 5) % 11 - 5) > 2 AS good FROM collab.movie_bias('b_model');
SELECT avg((item_id * 5) % 11 - 5) < -2 AS bad FROM collab.movie_bias('b_model', lowest => true);

-- k: ten by default, all that there are at most
SELECT count(*), min(rank), max(rank) FROM collab.movie_bias('b_model');
SELECT count(*), max(rank) FROM collab.movie_bias('b_model', 1);
SELECT count(*), max(rank) FROM collab.movie_bias('b_model', 41);
SELECT count(*), max(rank) FROM collab.movie_bias('b_model', 2147483647);
SELECT (SELECT item_id FROM collab.movie_bias('b_model', 1)) = item_id AS first FROM collab.movie_bias('b_model', 5) LIMIT 1;

-- min_ratings, counted in training ratings
SELECT count(*) = (SELECT count(*) FROM b_model_items WHERE n_ratings >= 28) AS counted, min(rank), min(n_ratings) >= 28 AS enough
  FROM collab.movie_bias('b_model', 100, min_ratings => 28);
SELECT count(*) FROM collab.movie_bias('b_model', 100, min_ratings => 1000000000000);
SELECT array_agg(item_id ORDER BY rank) = (SELECT array_agg(item_id::bigint ORDER BY bias) FROM b_model_items WHERE n_ratings >= 20) AS lowest_of_them
  FROM collab.movie_bias('b_model', 100, true, 20);
SELECT count(*) FROM collab.movie_bias('b_model', 100, min_ratings => -5);

-- Items that were never trained are left out, unless they are asked for.
SELECT count(*) FROM collab.train('b_cold', 'ratings', n_factors => 2, n_epochs => 1, valid_pct => 0.95, verbose => false);
SELECT count(*) > 0 AS some_cold FROM b_cold_items WHERE n_ratings = 0;
SELECT count(*) = (SELECT count(*) FROM b_cold_items WHERE n_ratings > 0) AS trained_alone FROM collab.movie_bias('b_cold', 100);
SELECT count(*) = 40 AS all_items FROM collab.movie_bias('b_cold', 100, min_ratings => 0);

-- Equal biases: by id.
UPDATE b_model_items SET bias = CASE WHEN item_id IN (7, 23, 11, 40) THEN 3 WHEN item_id = 9 THEN 4 ELSE 0 END;
SELECT collab.touch('b_model');
SELECT rank, item_id, bias FROM collab.movie_bias('b_model', 8);
SELECT rank, item_id, bias FROM collab.movie_bias('b_model', 3, lowest => true);
SELECT rank, item_id, bias FROM collab.movie_bias('b_model', 100, lowest => true) WHERE rank > 34;
SELECT rank, item_id, pg_typeof(item_id) FROM collab.movie_bias('b_model', 3, NULL::integer);
SELECT rank, item_id FROM collab.movie_bias('b_model', 2, NULL::integer, true, 0);
SELECT rank, item_id FROM collab.movie_bias('b_model', 2, NULL::integer, min_ratings => 2, lowest => false);
-- negative zero is zero
UPDATE b_model_items SET bias = '-0' WHERE item_id IN (1, 3);
SELECT collab.touch('b_model');
SELECT item_id FROM collab.movie_bias('b_model', 8) WHERE rank > 5;

-- Within queries
CREATE TABLE b_titles AS SELECT i AS item_id, 'Film ' || i AS title FROM generate_series(1, 40) i;
SELECT b.rank, t.title FROM collab.movie_bias('b_model', 3) b JOIN b_titles t USING (item_id) ORDER BY b.rank;
SELECT m.model, b.item_id, b.bias FROM (VALUES ('b_model')) m(model), LATERAL collab.movie_bias(m.model::regclass, 2) b;
SELECT (collab.movie_bias('b_model', 2)).item_id;
PREPARE b_prepared(integer) AS SELECT item_id FROM collab.movie_bias('b_model', $1);
EXECUTE b_prepared(2);
SELECT rank, item_id FROM collab.movie_bias(model => 'b_model', k => 2, lowest => false);
SELECT rank, item_id FROM ROWS FROM (collab.movie_bias('b_model', 2), collab.movie_bias('b_model', 2, true)) AS r(rank, item_id, b, n, rank2, item2, b2, n2);

-- NULL and nonsense
SELECT count(*) FROM collab.movie_bias(NULL);
SELECT count(*) FROM collab.movie_bias(NULL, 5, NULL::integer);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', NULL)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', NULL, NULL::integer)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', 0)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', -1)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', 5, lowest => NULL)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', 5, min_ratings => NULL)$$);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_model', 5, NULL)$$);
SELECT count(*) FROM collab.train('b_nobias', 'ratings', n_factors => 2, n_epochs => 1, use_bias => false, verbose => false);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_nobias')$$);

-- Users, by the same rules: the whole ranking, against SQL.
SELECT count(*) AS differ
  FROM collab.user_bias('b_model', 100) m
  FULL JOIN (SELECT row_number() OVER (ORDER BY bias DESC, user_id) AS rank, user_id, bias, n_ratings FROM b_model_users WHERE n_ratings > 0) e USING (rank)
 WHERE m.user_id IS DISTINCT FROM e.user_id OR m.bias <> e.bias OR m.n_ratings <> e.n_ratings;
SELECT count(*) AS differ
  FROM collab.user_bias('b_model', 100, lowest => true) m
  FULL JOIN (SELECT row_number() OVER (ORDER BY bias, user_id) AS rank, user_id, bias, n_ratings FROM b_model_users WHERE n_ratings > 0) e USING (rank)
 WHERE m.user_id IS DISTINCT FROM e.user_id OR m.bias <> e.bias OR m.n_ratings <> e.n_ratings;
SELECT bool_and(rank = row_number) AS ordered FROM (SELECT rank, row_number() OVER () FROM collab.user_bias('b_model', 100)) s;
-- (user u has the planted bias (7 u) % 13 - 6)
SELECT avg((user_id * 7) % 13 - 6) > 2 AS mild FROM collab.user_bias('b_model', min_ratings => 5);
SELECT avg((user_id * 7) % 13 - 6) < -2 AS severe FROM collab.user_bias('b_model', lowest => true, min_ratings => 5);
SELECT count(*), min(rank), max(rank) FROM collab.user_bias('b_model');
SELECT count(*) = (SELECT count(*) FROM b_model_users WHERE n_ratings > 0) AS all_trained FROM collab.user_bias('b_model', 2147483647);
SELECT count(*) = (SELECT count(*) FROM b_model_users WHERE n_ratings >= 20) AS counted, min(n_ratings) >= 20 AS enough
  FROM collab.user_bias('b_model', 100, min_ratings => 20);
SELECT count(*) > 0 AS some_cold FROM b_cold_users WHERE n_ratings = 0;
SELECT count(*) = (SELECT count(*) FROM b_cold_users WHERE n_ratings > 0) AS trained_alone FROM collab.user_bias('b_cold', 100);
SELECT count(*) = 60 AS all_users FROM collab.user_bias('b_cold', 100, min_ratings => 0);
-- what items and users read in turn, in one session and in one query
SELECT u.rank, u.bias = (SELECT max(bias) FROM b_model_users) AS user_first, i.bias = (SELECT max(bias) FROM b_model_items) AS item_first
  FROM collab.user_bias('b_model', 1, min_ratings => 0) u JOIN collab.movie_bias('b_model', 1, min_ratings => 0) i USING (rank);
-- equal biases: by id
UPDATE b_model_users SET bias = CASE WHEN user_id IN (7, 23, 11, 59) THEN 3 WHEN user_id = 9 THEN 4 ELSE 0 END, n_ratings = 5;
SELECT collab.touch('b_model');
SELECT rank, user_id, pg_typeof(user_id), bias, n_ratings FROM collab.user_bias('b_model', 6);
SELECT rank, user_id, pg_typeof(user_id) FROM collab.user_bias('b_model', 2, NULL::integer, true, 0);
SELECT rank, user_id FROM collab.user_bias('b_model', 2, NULL::smallint, min_ratings => 2, lowest => false);

-- Users of one kind, items of another
CREATE TABLE b_kinds AS SELECT 'user ' || user_id AS t, md5('user ' || user_id)::uuid AS u, user_id + 5000000000 AS b, item_id, rating FROM ratings;
SELECT count(*) FROM collab.train('b_text', 'b_kinds', 't', n_factors => 2, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT count(*) FROM collab.train('b_uuid', 'b_kinds', 'u', n_factors => 2, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT count(*) FROM collab.train('b_bigint', 'b_kinds', 'b', n_factors => 2, n_epochs => 2, valid_pct => 0, verbose => false);
SELECT expect.types($$SELECT * FROM collab.user_bias('b_text', 5, NULL::text)$$);
SELECT array_agg(user_id ORDER BY rank) = (SELECT array_agg(user_id ORDER BY bias DESC, user_id COLLATE "C") FROM b_text_users) AS texts FROM collab.user_bias('b_text', 100, NULL::text);
SELECT count(*) = 60 AS varchars FROM collab.user_bias('b_text', 100, NULL::varchar) JOIN b_text_users USING (user_id, bias);
SELECT expect.types($$SELECT * FROM collab.user_bias('b_uuid', 5, NULL::uuid)$$);
SELECT array_agg(user_id ORDER BY rank) = (SELECT array_agg(user_id ORDER BY bias DESC, user_id) FROM b_uuid_users) AS uuids FROM collab.user_bias('b_uuid', 100, NULL::uuid);
SELECT count(*) = 60 AS bigints FROM collab.user_bias('b_bigint', 100) JOIN b_bigint_users USING (user_id, bias);
-- the items' type is not the users'
SELECT count(*) FROM collab.movie_bias('b_text', 100);
SELECT expect.error($$SELECT * FROM collab.movie_bias('b_text', 5, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_text')$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_uuid', 3)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_text', 3, NULL::integer)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_uuid', 3, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', 3, NULL::text)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_text', 3, 'user 3'::text)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', 3, 3)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_bigint', 1, NULL::integer)$$) ~ '^22003: id 50000000\d\d is out of range for type integer' AS too_narrow;

-- NULL and nonsense
SELECT count(*) FROM collab.user_bias(NULL);
SELECT count(*) FROM collab.user_bias(NULL, 5, NULL::integer);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', NULL)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', NULL, NULL::integer)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', 0)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', 5, lowest => NULL)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_model', 5, min_ratings => NULL)$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_nobias')$$);
SELECT expect.error($$SELECT * FROM collab.user_bias('b_titles')$$);

DROP VIEW b_expected;
SELECT count(collab.drop_model(model)) FROM collab.models;
DROP TABLE b_titles, b_kinds;
