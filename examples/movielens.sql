-- MovieLens 100K in two tables and a view.
--
--	cd ml-100k && psql -f .../examples/movielens.sql
--
-- The archive is https://files.grouplens.org/datasets/movielens/ml-100k.zip.

CREATE TABLE movies (
	item_id		integer PRIMARY KEY,
	title		text NOT NULL,
	released	date
);
CREATE TABLE ratings (
	user_id		integer NOT NULL,
	item_id		integer NOT NULL REFERENCES movies,
	rating		real NOT NULL,
	rated_at	timestamptz NOT NULL,
	PRIMARY KEY (user_id, item_id)
);

\copy movies FROM PROGRAM 'cut -d"|" -f1-3 u.item' WITH (DELIMITER '|', ENCODING 'latin1', NULL '')

BEGIN;
CREATE TEMPORARY TABLE raw_ratings (user_id integer, item_id integer, rating real, seconds bigint) ON COMMIT DROP;
\copy raw_ratings FROM 'u.data'
INSERT INTO ratings SELECT user_id, item_id, rating, to_timestamp(seconds) FROM raw_ratings;
COMMIT;

-- The same ratings by title: 18 films are in the catalogue twice.
CREATE VIEW ratings_by_title AS
	SELECT r.user_id, m.title, r.rating, r.rated_at
	  FROM ratings r JOIN movies m USING (item_id);

ANALYZE movies, ratings;
