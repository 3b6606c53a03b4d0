--
-- The extension itself, and the ratings that all tests share.
--
CREATE EXTENSION collab;

-- Every object of the extension says what it is.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS without_comment
  FROM pg_depend d
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'collab')
   AND d.deptype = 'e'
   AND NOT EXISTS (SELECT FROM pg_description c
                    WHERE c.objoid = d.objid AND c.classoid = d.classid AND c.objsubid = 0)
   -- the row and array types of a relation or type are described with it
   AND NOT (d.classid = 'pg_type'::regclass AND
            EXISTS (SELECT FROM pg_type t WHERE t.oid = d.objid AND
                    (t.typelem <> 0 OR EXISTS (SELECT FROM pg_class r
                                                WHERE r.oid = t.typrelid AND r.relkind = 'v'))))
   -- rules are parts of their views
   AND d.classid <> 'pg_rewrite'::regclass
 ORDER BY 1;

-- Everything is in its own schema, and nothing else is in there.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS elsewhere
  FROM pg_depend d
  JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'collab')
   AND p.pronamespace <> 'collab'::regnamespace;
SELECT p.oid::regprocedure AS foreign_function
  FROM pg_proc p
 WHERE p.pronamespace = 'collab'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');

-- What the planner is told: readers are stable and may run in workers, writers
-- neither; what only computes is immutable.
SELECT p.proname AS name,
       CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' END AS kind,
       CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
       CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel,
       p.proisstrict AS strict, p.prosecdef AS definer, p.proleakproof AS leakproof,
       count(*)
  FROM pg_proc p
 WHERE p.pronamespace = 'collab'::regnamespace
 GROUP BY 1, 2, 3, 4, 5, 6, 7
 ORDER BY 2, 1;

-- The arguments, as \df shows them.
\pset format unaligned
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') ' || coalesce(pg_get_function_result(p.oid), '') AS declaration
  FROM pg_proc p
 WHERE p.pronamespace = 'collab'::regnamespace
 ORDER BY p.proname, p.pronargs, pg_get_function_arguments(p.oid) COLLATE "C";
\pset format aligned

-- All may look into the schema, nobody may create there.
SELECT has_schema_privilege('public', 'collab', 'USAGE') AS usage,
       has_schema_privilege('public', 'collab', 'CREATE') AS "create",
       has_table_privilege('public', 'collab.models', 'SELECT') AS models;

-- The head's row type.
SELECT attnum, attname, format_type(atttypid, atttypmod), attnotnull
  FROM pg_attribute
 WHERE attrelid = 'collab.model'::regclass
 ORDER BY attnum;

-- No models yet.
SELECT * FROM collab.models;

-- The settings, which are there once the library is loaded.
LOAD 'collab';
SELECT name, CASE name WHEN 'collab.threads' THEN 'the cores' ELSE setting END AS setting, unit, context, short_desc
  FROM pg_settings
 WHERE name LIKE 'collab.%'
 ORDER BY name COLLATE "C";

-- Not relocatable.
CREATE SCHEMA expect;
ALTER EXTENSION collab SET SCHEMA expect;

--
-- Ratings with planted biases and two planted factors, made by integer
-- arithmetic so that they are the same everywhere: 60 users, 40 items.
-- Item 40 has few ratings, user 60 has two.
--
CREATE TABLE ratings (
	user_id integer NOT NULL,
	item_id integer NOT NULL,
	rating real,
	PRIMARY KEY (user_id, item_id)
);
INSERT INTO ratings
SELECT u, i,
       least(5, greatest(1, round((320 +
             ((u * 7) % 13 - 6) * 10 +              -- mild and severe users
             ((i * 5) % 11 - 5) * 22 +              -- good and bad items
             ((u % 3) - 1) * ((i % 4) - 1) * 40 +   -- tastes
             ((u % 5) - 2) * ((i % 7) - 3) * 12 +
             ((u * 31 + i * 17) % 7 - 3) * 8        -- noise
             ) / 100.0)))
  FROM generate_series(1, 60) u, generate_series(1, 40) i
 WHERE (u * 11 + i * 7 + (u * i) % 5) % 8 < 5
   AND (i < 40 OR u % 10 = 0)
   AND (u < 60 OR i IN (3, 8));
ANALYZE ratings;
SELECT count(*), count(DISTINCT user_id) AS users, count(DISTINCT item_id) AS items,
       min(rating), max(rating), round(avg(rating)::numeric, 3) AS mean
  FROM ratings;
SELECT rating, count(*) FROM ratings GROUP BY rating ORDER BY rating;

--
-- What the tests compute by themselves to compare.
--
-- sum of products
CREATE FUNCTION expect.dot(a real[], b real[]) RETURNS double precision
LANGUAGE plpgsql STRICT IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	result double precision := 0;
BEGIN
	FOR f IN 1 .. cardinality(a) LOOP
		result := result + a[f]::double precision * b[f];
	END LOOP;
	RETURN result;
END $$;

-- the rating that a sum of factors and biases stands for
CREATE FUNCTION expect.scaled(z double precision, y_range real[]) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF y_range IS NULL THEN
		RETURN z;
	END IF;
	RETURN y_range[1] + (y_range[2]::double precision - y_range[1]) / (1 + exp(-z));
END $$;

-- are two embedding tables the same to the bit?
CREATE FUNCTION expect.same(a regclass, b regclass) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	n_different bigint;
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*), count(*) FILTER (WHERE a IS NULL OR b IS NULL OR a.a *<> b.b)'
				   '  FROM (SELECT a FROM %s a) a FULL JOIN (SELECT b FROM %s b) b ON (a.a)::record *= (b.b)::record', a, b)
	   INTO n, n_different;
	RETURN n > 0 AND n_different = 0;
END $$;

-- the current row of a model's head
CREATE FUNCTION expect.head(model regclass) RETURNS SETOF collab.model
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT * FROM %s WHERE finished IS NOT NULL ORDER BY generation DESC LIMIT 1', model);
END $$;

-- SQLSTATE, message, detail and hint of what a statement raises
CREATE FUNCTION expect.error(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || SQLERRM ||
		CASE WHEN detail <> '' THEN E'\nDETAIL: ' || detail ELSE '' END ||
		CASE WHEN hint <> '' THEN E'\nHINT: ' || hint ELSE '' END;
END $$;

-- pg_type_of columns of a query
CREATE FUNCTION expect.types(query text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('CREATE TEMPORARY VIEW expect_types AS %s', query);
	SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
	  INTO result FROM pg_attribute WHERE attrelid = 'expect_types'::regclass;
	DROP VIEW expect_types;
	RETURN result;
END $$;
