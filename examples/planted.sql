-- A made-up catalogue with planted tastes, in the tables of movielens.sql:
-- 576 films, nearly a thousand users, some 53,000 ratings, the same on every run.
--
-- A film is a mix of two of four genres, and its title says which: "The
-- Haunted Starship" is horror in space.  A rating is 3.5, plus the film's
-- quality, plus the user's mood, plus how much he likes the film's genres,
-- plus noise, on the scale 1 to 5.  A model should find the genres (it is
-- never told), the good and the bad films, and neighbours of the same mix.

CREATE FUNCTION pg_temp.uniform(what bigint, seed bigint) RETURNS double precision
LANGUAGE SQL IMMUTABLE
RETURN (((hashint8extended(what, seed) >> 11) & 9007199254740991) + 0.5) / 9007199254740992;

CREATE FUNCTION pg_temp.normal(what bigint, seed bigint) RETURNS double precision
LANGUAGE SQL IMMUTABLE
RETURN sqrt(-2 * ln(pg_temp.uniform(what, seed))) * cos(2 * pi() * pg_temp.uniform(what, seed + 1000));

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

-- Genres and the words that speak of them.
CREATE TEMPORARY TABLE words AS
	SELECT genre, adjectives[n] AS adjective, nouns[n] AS noun, n
	  FROM (VALUES
		(1, '{Galactic,Orbital,Martian,Cosmic,Lunar,Stellar}'::text[],
			'{Starship,Comet,Nebula,Astronaut,Asteroid,Colony}'::text[]),
		(2, '{Haunted,Bloody,Cursed,Undead,Sinister,Howling}',
			'{Crypt,Vampire,Asylum,Werewolf,Graveyard,Coven}'),
		(3, '{Tender,Secret,Forbidden,Lasting,Parisian,Summer}',
			'{Kiss,Wedding,Letter,Embrace,Serenade,Valentine}'),
		(4, '{Clumsy,Goofy,Hilarious,Bumbling,Zany,Silly}',
			'{Butler,Uncle,Waiter,Plumber,Landlord,Mayor}')) AS g (genre, adjectives, nouns),
	  generate_series(1, 6) AS n;

CREATE TEMPORARY TABLE films AS
	SELECT item_id, title, adjective_genre, noun_genre,
		   0.5 * pg_temp.normal(item_id, 1) AS quality,
		   1 / pow(10 + 576 * pg_temp.uniform(item_id, 2), 0.8) AS fame,
		   date '1970-01-01' + (10000 * pg_temp.uniform(item_id, 3))::integer AS released
	  FROM (SELECT row_number() OVER (ORDER BY a.n, b.n, a.genre, b.genre) AS item_id,
				   format('The %s %s', a.adjective, b.noun) AS title,
				   a.genre AS adjective_genre, b.genre AS noun_genre
			  FROM words a CROSS JOIN words b) AS f;

CREATE TEMPORARY TABLE people AS
	SELECT user_id,
		   0.4 * pg_temp.normal(user_id, 11) AS mood,
		   exp(0.8 * pg_temp.normal(user_id, 12)) AS zeal,
		   ARRAY(SELECT 0.8 * pg_temp.normal(user_id, 20 + genre)
				   FROM generate_series(1, 4) AS genre ORDER BY genre) AS liking
	  FROM generate_series(1, 943) AS user_id;

INSERT INTO movies SELECT item_id, title, released FROM films;

INSERT INTO ratings
	SELECT user_id, item_id,
		   greatest(1, least(5, round(3.5 + mood + quality
			   + 0.4 * liking[adjective_genre] + 0.6 * liking[noun_genre]
			   + 0.7 * pg_temp.normal(user_id * 1000 + item_id, 31)))),
		   timestamptz '1998-01-01 00:00+00'
			   + 100 * pg_temp.uniform(user_id * 1000 + item_id, 32) * interval '1 day'
	  FROM people CROSS JOIN films
	 WHERE pg_temp.uniform(user_id * 1000 + item_id, 33) < 4.4 * zeal * fame;

CREATE VIEW ratings_by_title AS
	SELECT r.user_id, m.title, r.rating, r.rated_at
	  FROM ratings r JOIN movies m USING (item_id);

DROP TABLE words, films, people;
ANALYZE movies, ratings;
