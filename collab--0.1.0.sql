/* collab--0.1.0.sql */

-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION collab" to load this file. \quit

-- Fails where the schema exists, so that nobody can have planted overloads in it.
CREATE SCHEMA collab;
COMMENT ON SCHEMA collab IS 'collaborative filtering';
GRANT USAGE ON SCHEMA collab TO PUBLIC;

--
-- The row type of a model's head: one row a training.
--
-- Attributes are only ever appended, never retyped or dropped.
--
CREATE TYPE collab.model AS (
	generation bigint,				-- number of the training, from 1
	started timestamptz,
	finished timestamptz,			-- NULL while it runs
	pid integer,					-- the backend that trains
	stamp bigint,					-- random; readers' caches go by it
	self regclass,					-- the head that the row was written for
	source text,					-- quoted and qualified name of the ratings
	user_column name,
	item_column name,
	rating_column name,
	users regclass,					-- the table of user embeddings
	items regclass,					-- the table of item embeddings
	options jsonb,					-- as they were given
	solver text,
	n_factors integer,				-- the values as used ...
	n_epochs integer,
	batch_size integer,
	use_bias boolean,
	y_range real[],					-- {low, high}; NULL: none
	warm_start boolean,
	n_users bigint,
	n_items bigint,
	n_train bigint,					-- ratings trained on
	n_valid bigint,					-- ratings held out
	mean_rating double precision,	-- of the training ratings
	mean_user_bias double precision,	-- weighted by n_ratings
	mean_item_bias double precision,
	user_prior double precision[],	-- variance of a factor and of the bias, mean factors;
	item_prior double precision[],	-- weighted by n_ratings, for folding in
	train_loss double precision[],	-- one an epoch
	valid_loss double precision[],	-- one an epoch, NULL without held-out ratings
	elapsed double precision[],		-- seconds, one an epoch
	weights real[],					-- of a neural model, in the current row alone
	format smallint,				-- of this row and the embedding tables
	best_epoch integer,				-- the one that was kept; NULL: the last
	user_factors integer,			-- of a neural model, in place of n_factors
	item_factors integer,
	layers integer[],
	batch_norm boolean,
	stage text,						-- reading, training or writing; NULL once it has finished
	progress real,					-- of the epochs, in per cent
	burn_in integer,				-- of solver bayes, like what follows: sweeps not averaged
	implicit text,					-- none, items or both
	n_draws integer,				-- kept in the embedding tables; NULL: none
	noise double precision,			-- variance of a rating around its prediction
	user_normal double precision[],	-- what embeddings are normal deviates of: mean and, row by
	item_normal double precision[],	-- row, the lower triangle of the precision; current row alone
	calibration real[]				-- of intervals, for levels of 1/25, 2/25, ...
);
COMMENT ON TYPE collab.model IS 'row of a model''s head table: one training (generation) of the model';

--
-- Training
--
CREATE FUNCTION collab.train(
	model text,
	ratings regclass,
	user_column name DEFAULT 'user_id',
	item_column name DEFAULT 'item_id',
	rating_column name DEFAULT 'rating',
	n_factors integer DEFAULT NULL,
	n_epochs integer DEFAULT NULL,
	lr_max double precision DEFAULT NULL,
	wd double precision DEFAULT NULL,
	batch_size integer DEFAULT NULL,
	valid_pct double precision DEFAULT 0.2,
	seed bigint DEFAULT 42,
	y_range real[] DEFAULT '{}',
	use_bias boolean DEFAULT NULL,
	pct_start double precision DEFAULT NULL,
	div_start double precision DEFAULT NULL,
	div_final double precision DEFAULT NULL,
	mom_low double precision DEFAULT NULL,
	mom_high double precision DEFAULT NULL,
	solver text DEFAULT 'auto',
	use_nn boolean DEFAULT false,
	layers integer[] DEFAULT NULL,
	user_factors integer DEFAULT NULL,
	item_factors integer DEFAULT NULL,
	batch_norm boolean DEFAULT NULL,
	dropout double precision DEFAULT NULL,
	burn_in integer DEFAULT NULL,
	implicit text DEFAULT NULL,
	keep_draws integer DEFAULT NULL,
	keep_best boolean DEFAULT false,
	verbose boolean DEFAULT true,
	replace boolean DEFAULT false)
RETURNS TABLE (epoch integer, train_loss double precision, valid_loss double precision, elapsed interval)
AS 'MODULE_PATHNAME', 'collab_train'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 5;
COMMENT ON FUNCTION collab.train(text, regclass, name, name, name, integer, integer, double precision, double precision, integer, double precision, bigint, real[], boolean, double precision, double precision, double precision, double precision, double precision, text, boolean, integer[], integer, integer, boolean, double precision, integer, text, integer, boolean, boolean, boolean)
IS 'train a model on a ratings table and store it as tables of embeddings; returns the losses of each epoch';

CREATE FUNCTION collab.lr_find(
	ratings regclass,
	user_column name DEFAULT 'user_id',
	item_column name DEFAULT 'item_id',
	rating_column name DEFAULT 'rating',
	n_factors integer DEFAULT NULL,
	n_epochs integer DEFAULT NULL,
	lr_max double precision DEFAULT NULL,
	wd double precision DEFAULT NULL,
	batch_size integer DEFAULT NULL,
	valid_pct double precision DEFAULT 0.2,
	seed bigint DEFAULT 42,
	y_range real[] DEFAULT '{}',
	use_bias boolean DEFAULT NULL,
	pct_start double precision DEFAULT NULL,
	div_start double precision DEFAULT NULL,
	div_final double precision DEFAULT NULL,
	mom_low double precision DEFAULT NULL,
	mom_high double precision DEFAULT NULL,
	solver text DEFAULT 'auto',
	use_nn boolean DEFAULT false,
	layers integer[] DEFAULT NULL,
	user_factors integer DEFAULT NULL,
	item_factors integer DEFAULT NULL,
	batch_norm boolean DEFAULT NULL,
	dropout double precision DEFAULT NULL,
	burn_in integer DEFAULT NULL,
	implicit text DEFAULT NULL,
	keep_draws integer DEFAULT NULL,
	keep_best boolean DEFAULT false,
	verbose boolean DEFAULT true,
	start_lr double precision DEFAULT 1e-7,
	end_lr double precision DEFAULT 10,
	num_it integer DEFAULT 100)
RETURNS TABLE (step integer, lr double precision, loss double precision, smoothed double precision, suggested boolean)
AS 'MODULE_PATHNAME', 'collab_lr_find'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION collab.lr_find(regclass, name, name, name, integer, integer, double precision, double precision, integer, double precision, bigint, real[], boolean, double precision, double precision, double precision, double precision, double precision, text, boolean, integer[], integer, integer, boolean, double precision, integer, text, integer, boolean, boolean, double precision, double precision, integer)
IS 'learning-rate range test: the loss of each step while the rate rises, and the rate that it suggests for lr_max';

CREATE FUNCTION collab.tune(
	ratings regclass,
	user_column name DEFAULT 'user_id',
	item_column name DEFAULT 'item_id',
	rating_column name DEFAULT 'rating',
	n_factors integer[] DEFAULT NULL,
	wd double precision[] DEFAULT NULL,
	lr_max double precision[] DEFAULT NULL,
	n_epochs integer[] DEFAULT NULL,
	n_trials integer DEFAULT NULL,
	folds integer DEFAULT 1,
	valid_pct double precision DEFAULT 0.2,
	seed bigint DEFAULT 42,
	options jsonb DEFAULT '{}',
	verbose boolean DEFAULT true)
RETURNS TABLE (rank integer, n_factors integer, wd double precision, lr_max double precision, n_epochs integer, train_loss double precision, valid_loss double precision, valid_loss_sd double precision, elapsed interval)
AS 'MODULE_PATHNAME', 'collab_tune'
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000 ROWS 20;
COMMENT ON FUNCTION collab.tune(regclass, name, name, name, integer[], double precision[], double precision[], integer[], integer, integer, double precision, bigint, jsonb, boolean)
IS 'train under many settings, side by side on threads: what each reaches on held-out ratings, best first; stores no model';

CREATE PROCEDURE collab.retrain(
	model regclass,
	warm_start boolean DEFAULT false,
	nowait boolean DEFAULT false,
	ratings regclass DEFAULT NULL,
	options jsonb DEFAULT '{}')
AS 'MODULE_PATHNAME', 'collab_retrain'
LANGUAGE C;
COMMENT ON PROCEDURE collab.retrain(regclass, boolean, boolean, regclass, jsonb)
IS 'read a model''s ratings again and train its next generation while readers go on reading the present one';

-- The state holds ratings (internal), so nothing can combine states, and the
-- final function trains on it, so no two aggregates may share one.  The planner
-- is told how large a state is: one group after the other takes less memory than
-- all at once.
CREATE FUNCTION collab.fit_accum(state internal, model text, user_id "any", item_id "any", rating double precision)
RETURNS internal
AS 'MODULE_PATHNAME', 'collab_fit_accum'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION collab.fit_accum(internal, text, "any", "any", double precision)
IS 'transition function of fit';

CREATE FUNCTION collab.fit_accum(state internal, model text, user_id "any", item_id "any", rating double precision, options jsonb)
RETURNS internal
AS 'MODULE_PATHNAME', 'collab_fit_accum'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION collab.fit_accum(internal, text, "any", "any", double precision, jsonb)
IS 'transition function of fit with options';

CREATE FUNCTION collab.fit_final(state internal)
RETURNS collab.model
AS 'MODULE_PATHNAME', 'collab_fit_final'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION collab.fit_final(internal)
IS 'final function of fit: trains and stores the model';

CREATE AGGREGATE collab.fit(model text, user_id "any", item_id "any", rating double precision) (
	SFUNC = collab.fit_accum,
	STYPE = internal,
	SSPACE = 67108864,
	FINALFUNC = collab.fit_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE collab.fit(text, "any", "any", double precision)
IS 'train a model on the rows of any query, one model a group; returns its row of the head';

CREATE AGGREGATE collab.fit(model text, user_id "any", item_id "any", rating double precision, options jsonb) (
	SFUNC = collab.fit_accum,
	STYPE = internal,
	SSPACE = 67108864,
	FINALFUNC = collab.fit_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE collab.fit(text, "any", "any", double precision, jsonb)
IS 'train a model on the rows of any query, with options as collab.retrain takes them and "replace"';

--
-- Models
--
CREATE VIEW collab.models AS
	SELECT c.oid::pg_catalog.regclass AS model,
		   n.nspname AS schema_name,
		   c.relname AS model_name,
		   pg_catalog.pg_get_userbyid(c.relowner) AS owner,
		   pg_catalog.obj_description(c.oid, 'pg_class') AS comment
	  FROM pg_catalog.pg_class c
	  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
	 WHERE c.reloftype OPERATOR(pg_catalog.=) 'collab.model'::pg_catalog.regtype
	   AND c.relkind OPERATOR(pg_catalog.=) 'r'
	   AND c.relpersistence OPERATOR(pg_catalog.<>) 't';
COMMENT ON VIEW collab.models IS 'all models of this database, read from the catalogue alone';
GRANT SELECT ON collab.models TO PUBLIC;

CREATE FUNCTION collab.history(model regclass)
RETURNS TABLE (generation bigint, epoch integer, lr double precision, momentum double precision, train_loss double precision, valid_loss double precision, elapsed interval, finished timestamptz, kept boolean)
AS 'MODULE_PATHNAME', 'collab_history'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000 ROWS 50;
COMMENT ON FUNCTION collab.history(regclass)
IS 'what each epoch of each training of a model reached, the running one included; kept: the embeddings are those of this epoch''s end';

CREATE FUNCTION collab.drop_model(model regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'collab_drop_model'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION collab.drop_model(regclass)
IS 'drop a model: its head and both embedding tables';

CREATE FUNCTION collab.touch(model regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'collab_touch'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION collab.touch(regclass)
IS 'make all sessions read a model''s embeddings anew after they were edited by hand';

--
-- Prediction
--
CREATE FUNCTION collab.predict(model regclass, user_id "any", item_id "any")
RETURNS real
AS 'MODULE_PATHNAME', 'collab_predict'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION collab.predict(regclass, "any", "any")
IS 'predicted rating; an unknown or never trained user or item counts with its side''s mean bias';

CREATE FUNCTION collab.predict(model regclass, user_id text, item_id text)
RETURNS real
AS 'MODULE_PATHNAME', 'collab_predict'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION collab.predict(regclass, text, text)
IS 'predicted rating; ids given as text are read as the model''s key types';

CREATE FUNCTION collab.predict(model regclass, user_id "any", item_id text)
RETURNS real
AS 'MODULE_PATHNAME', 'collab_predict'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION collab.predict(regclass, "any", text)
IS 'predicted rating; an item id given as text is read as the model''s key type';

CREATE FUNCTION collab.predict(model regclass, user_id text, item_id "any")
RETURNS real
AS 'MODULE_PATHNAME', 'collab_predict'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION collab.predict(regclass, text, "any")
IS 'predicted rating; a user id given as text is read as the model''s key type';

CREATE FUNCTION collab.predict_interval(model regclass, user_id "any", item_id "any", level double precision DEFAULT 0.8, OUT lower real, OUT estimate real, OUT upper real, OUT sd real)
AS 'MODULE_PATHNAME', 'collab_predict_interval'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION collab.predict_interval(regclass, "any", "any", double precision)
IS 'predicted rating and the interval that holds the rating with probability "level"; for a model of solver bayes with draws';

CREATE FUNCTION collab.predict_interval(model regclass, user_id text, item_id text, level double precision DEFAULT 0.8, OUT lower real, OUT estimate real, OUT upper real, OUT sd real)
AS 'MODULE_PATHNAME', 'collab_predict_interval'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION collab.predict_interval(regclass, text, text, double precision)
IS 'predicted rating and interval, of ids without a type';

CREATE FUNCTION collab.predict_interval(model regclass, user_id "any", item_id text, level double precision DEFAULT 0.8, OUT lower real, OUT estimate real, OUT upper real, OUT sd real)
AS 'MODULE_PATHNAME', 'collab_predict_interval'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION collab.predict_interval(regclass, "any", text, double precision)
IS 'predicted rating and interval, of an item id without a type';

CREATE FUNCTION collab.predict_interval(model regclass, user_id text, item_id "any", level double precision DEFAULT 0.8, OUT lower real, OUT estimate real, OUT upper real, OUT sd real)
AS 'MODULE_PATHNAME', 'collab_predict_interval'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION collab.predict_interval(regclass, text, "any", double precision)
IS 'predicted rating and interval, of a user id without a type';

CREATE FUNCTION collab.score(user_bias real, user_factors real[], item_bias real, item_factors real[], y_range real[] DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'collab_score'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION collab.score(real, real[], real, real[], real[])
IS 'predicted rating of two embeddings that were trained, within the model''s y_range; NULL y_range: no range';

--
-- Explanation
--
CREATE FUNCTION collab.explain(model regclass, user_id "any", item_id "any", n_components integer DEFAULT NULL)
RETURNS TABLE (term text, number integer, contribution double precision, rating real)
AS 'MODULE_PATHNAME', 'collab_explain'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 50;
COMMENT ON FUNCTION collab.explain(regclass, "any", "any", integer)
IS 'what a prediction is made of: mean, biases and each factor or, with n_components, principal component';

CREATE FUNCTION collab.explain(model regclass, user_id text, item_id text, n_components integer DEFAULT NULL)
RETURNS TABLE (term text, number integer, contribution double precision, rating real)
AS 'MODULE_PATHNAME', 'collab_explain'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 50;
COMMENT ON FUNCTION collab.explain(regclass, text, text, integer)
IS 'what a prediction is made of, for ids given as text';

CREATE FUNCTION collab.explain(model regclass, user_id "any", item_id text, n_components integer DEFAULT NULL)
RETURNS TABLE (term text, number integer, contribution double precision, rating real)
AS 'MODULE_PATHNAME', 'collab_explain'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 50;
COMMENT ON FUNCTION collab.explain(regclass, "any", text, integer)
IS 'what a prediction is made of, for an item id given as text';

CREATE FUNCTION collab.explain(model regclass, user_id text, item_id "any", n_components integer DEFAULT NULL)
RETURNS TABLE (term text, number integer, contribution double precision, rating real)
AS 'MODULE_PATHNAME', 'collab_explain'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 50;
COMMENT ON FUNCTION collab.explain(regclass, text, "any", integer)
IS 'what a prediction is made of, for a user id given as text';

--
-- Recommendations
--
CREATE FUNCTION collab.recommend(
	model regclass,
	user_id "any",
	k integer DEFAULT 10,
	exclude_seen boolean DEFAULT true,
	candidates bigint[] DEFAULT NULL,
	exclude bigint[] DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id bigint, score real)
AS 'MODULE_PATHNAME', 'collab_recommend'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend(regclass, "any", integer, boolean, bigint[], bigint[], real, bigint)
IS 'items of highest predicted rating for a user, best first, without those that the user has rated';

CREATE FUNCTION collab.recommend(
	model regclass,
	user_id text,
	k integer DEFAULT 10,
	exclude_seen boolean DEFAULT true,
	candidates bigint[] DEFAULT NULL,
	exclude bigint[] DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id bigint, score real)
AS 'MODULE_PATHNAME', 'collab_recommend'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend(regclass, text, integer, boolean, bigint[], bigint[], real, bigint)
IS 'items of highest predicted rating for a user whose id is given as text';

CREATE FUNCTION collab.recommend(
	model regclass,
	user_id "any",
	k integer,
	item_type anyelement,
	exclude_seen boolean DEFAULT true,
	candidates "any" DEFAULT NULL,
	exclude "any" DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id anyelement, score real)
AS 'MODULE_PATHNAME', 'collab_recommend_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend(regclass, "any", integer, anyelement, boolean, "any", "any", real, bigint)
IS 'items of highest predicted rating for a user, for item ids of the type of item_type, which is NULL::the_type';

CREATE FUNCTION collab.recommend(
	model regclass,
	user_id text,
	k integer,
	item_type anyelement,
	exclude_seen boolean DEFAULT true,
	candidates "any" DEFAULT NULL,
	exclude "any" DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id anyelement, score real)
AS 'MODULE_PATHNAME', 'collab_recommend_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend(regclass, text, integer, anyelement, boolean, "any", "any", real, bigint)
IS 'items of highest predicted rating for a user whose id is given as text, for item ids of the type of item_type, which is NULL::the_type';

CREATE FUNCTION collab.recommend_for(
	model regclass,
	items anyarray,
	ratings real[],
	k integer DEFAULT 10,
	candidates "any" DEFAULT NULL,
	exclude "any" DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id anyelement, score real)
AS 'MODULE_PATHNAME', 'collab_recommend_for'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend_for(regclass, anyarray, real[], integer, "any", "any", real, bigint)
IS 'items of highest predicted rating for somebody who gave these items these ratings, without them';

CREATE FUNCTION collab.recommend_for(
	model regclass,
	items text,
	ratings real[],
	k integer DEFAULT 10,
	candidates "any" DEFAULT NULL,
	exclude "any" DEFAULT NULL,
	min_score real DEFAULT NULL,
	min_ratings bigint DEFAULT 1)
RETURNS TABLE (item_id text, score real)
AS 'MODULE_PATHNAME', 'collab_recommend_for'
LANGUAGE C STABLE PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION collab.recommend_for(regclass, text, real[], integer, "any", "any", real, bigint)
IS 'items of highest predicted rating for somebody who gave these items these ratings; items given as text are read as an array of the model''s key type, and returned as text';

CREATE FUNCTION collab.recommend_all(model regclass, k integer DEFAULT 10, exclude_seen boolean DEFAULT true)
RETURNS TABLE (user_id bigint, item_id bigint, score real, rank integer)
AS 'MODULE_PATHNAME', 'collab_recommend_all'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION collab.recommend_all(regclass, integer, boolean)
IS 'items of highest predicted rating for each user of a model, without those that the user has rated';

CREATE FUNCTION collab.recommend_all(model regclass, k integer, user_type anyelement, item_type anycompatible, exclude_seen boolean DEFAULT true)
RETURNS TABLE (user_id anyelement, item_id anycompatible, score real, rank integer)
AS 'MODULE_PATHNAME', 'collab_recommend_all_typed'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION collab.recommend_all(regclass, integer, anyelement, anycompatible, boolean)
IS 'items of highest predicted rating for each user, for ids of the types of user_type and item_type, which are NULL::the_type';

--
-- Folding in
--
CREATE FUNCTION collab.fold_in(model regclass, items anyarray, ratings real[])
RETURNS TABLE (bias real, factors real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_fold_in'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1;
COMMENT ON FUNCTION collab.fold_in(regclass, anyarray, real[])
IS 'embedding of a user who gave these items these ratings, with the items'' embeddings held fixed';

CREATE FUNCTION collab.fold_in(model regclass, items text, ratings real[])
RETURNS TABLE (bias real, factors real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_fold_in'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1;
COMMENT ON FUNCTION collab.fold_in(regclass, text, real[])
IS 'embedding of a user who gave these items these ratings; items given as text are read as an array of the model''s key type';

CREATE FUNCTION collab.add_users(model regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'collab_add_users'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION collab.add_users(regclass)
IS 'fold in all users of a model''s ratings that the model does not know yet; returns how many';

CREATE FUNCTION collab.add_items(model regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'collab_add_items'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION collab.add_items(regclass)
IS 'fold in all items of a model''s ratings that the model does not know yet; returns how many';

--
-- Ranking by bias
--
CREATE FUNCTION collab.movie_bias(model regclass, k integer DEFAULT 10, lowest boolean DEFAULT false, min_ratings bigint DEFAULT 1)
RETURNS TABLE (rank integer, item_id bigint, bias real, n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_movie_bias'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.movie_bias(regclass, integer, boolean, bigint)
IS 'items of highest (or lowest) bias: liked more (or less) than the tastes of those who rated them explain';

CREATE FUNCTION collab.movie_bias(model regclass, k integer, item_type anyelement, lowest boolean DEFAULT false, min_ratings bigint DEFAULT 1)
RETURNS TABLE (rank integer, item_id anyelement, bias real, n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_movie_bias_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.movie_bias(regclass, integer, anyelement, boolean, bigint)
IS 'items of highest (or lowest) bias, for item ids of the type of item_type, which is NULL::the_type';

CREATE FUNCTION collab.user_bias(model regclass, k integer DEFAULT 10, lowest boolean DEFAULT false, min_ratings bigint DEFAULT 1)
RETURNS TABLE (rank integer, user_id bigint, bias real, n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_user_bias'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.user_bias(regclass, integer, boolean, bigint)
IS 'users of highest (or lowest) bias: milder (or more severe) than their tastes and what they rated explain';

CREATE FUNCTION collab.user_bias(model regclass, k integer, user_type anyelement, lowest boolean DEFAULT false, min_ratings bigint DEFAULT 1)
RETURNS TABLE (rank integer, user_id anyelement, bias real, n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_user_bias_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.user_bias(regclass, integer, anyelement, boolean, bigint)
IS 'users of highest (or lowest) bias, for user ids of the type of user_type, which is NULL::the_type';

--
-- Neighbours
--
CREATE FUNCTION collab.cosine_similar(model regclass, item anyelement, k integer DEFAULT 10)
RETURNS TABLE (item_id anyelement, similarity real)
AS 'MODULE_PATHNAME', 'collab_cosine_similar'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.cosine_similar(regclass, anyelement, integer)
IS 'items whose factors point the same way as those of the item, nearest first';

CREATE FUNCTION collab.cosine_similar(model regclass, item text, k integer DEFAULT 10)
RETURNS TABLE (item_id text, similarity real)
AS 'MODULE_PATHNAME', 'collab_cosine_similar'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.cosine_similar(regclass, text, integer)
IS 'items whose factors point the same way as those of the item, nearest first; ids as text';

CREATE FUNCTION collab.similar_users(model regclass, user_id anyelement, k integer DEFAULT 10)
RETURNS TABLE (user_id anyelement, similarity real)
AS 'MODULE_PATHNAME', 'collab_similar_users'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.similar_users(regclass, anyelement, integer)
IS 'users whose factors point the same way as those of the user, nearest first';

CREATE FUNCTION collab.similar_users(model regclass, user_id text, k integer DEFAULT 10)
RETURNS TABLE (user_id text, similarity real)
AS 'MODULE_PATHNAME', 'collab_similar_users'
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION collab.similar_users(regclass, text, integer)
IS 'users whose factors point the same way as those of the user, nearest first; ids as text';

CREATE FUNCTION collab.cosine_similarity(a real[], b real[])
RETURNS real
AS 'MODULE_PATHNAME', 'collab_cosine_similarity'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION collab.cosine_similarity(real[], real[])
IS 'cosine of the angle between two vectors; NULL when one of them is zero';

--
-- Principal components
--
CREATE FUNCTION collab.pca_project(model regclass, n_components integer DEFAULT 2, top integer DEFAULT NULL)
RETURNS TABLE (item_id bigint, components real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_pca_project'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1000;
COMMENT ON FUNCTION collab.pca_project(regclass, integer, integer)
IS 'items (or only the top most rated) in the plane of the principal components of their factors';

CREATE FUNCTION collab.pca_project(model regclass, n_components integer, item_type anyelement, top integer DEFAULT NULL)
RETURNS TABLE (item_id anyelement, components real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_pca_project_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1000;
COMMENT ON FUNCTION collab.pca_project(regclass, integer, anyelement, integer)
IS 'items in the plane of the principal components, for item ids of the type of item_type, which is NULL::the_type';

CREATE FUNCTION collab.pca_explained(model regclass, n_components integer DEFAULT 2, top integer DEFAULT NULL)
RETURNS TABLE (component integer, variance double precision, ratio double precision)
AS 'MODULE_PATHNAME', 'collab_pca_explained'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 2;
COMMENT ON FUNCTION collab.pca_explained(regclass, integer, integer)
IS 'variance of each principal component and its share of the whole';

CREATE FUNCTION collab.pca_project_users(model regclass, n_components integer DEFAULT 2, top integer DEFAULT NULL)
RETURNS TABLE (user_id bigint, components real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_pca_project_users'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1000;
COMMENT ON FUNCTION collab.pca_project_users(regclass, integer, integer)
IS 'users (or only the top with most ratings) in the plane of the principal components of their factors';

CREATE FUNCTION collab.pca_project_users(model regclass, n_components integer, user_type anyelement, top integer DEFAULT NULL)
RETURNS TABLE (user_id anyelement, components real[], n_ratings bigint)
AS 'MODULE_PATHNAME', 'collab_pca_project_users_typed'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 1000;
COMMENT ON FUNCTION collab.pca_project_users(regclass, integer, anyelement, integer)
IS 'users in the plane of the principal components, for user ids of the type of user_type, which is NULL::the_type';

CREATE FUNCTION collab.pca_explained_users(model regclass, n_components integer DEFAULT 2, top integer DEFAULT NULL)
RETURNS TABLE (component integer, variance double precision, ratio double precision)
AS 'MODULE_PATHNAME', 'collab_pca_explained_users'
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 2;
COMMENT ON FUNCTION collab.pca_explained_users(regclass, integer, integer)
IS 'variance of each principal component of the users'' factors and its share of the whole';

--
-- Error measures.  The state is {count, sum}, a real type, so that partial
-- sums can be combined across workers and machines.
--
CREATE FUNCTION collab.squared_error_accum(state double precision[], actual double precision, predicted double precision)
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_squared_error_accum'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.squared_error_accum(double precision[], double precision, double precision)
IS 'transition function of mse and rmse';

CREATE FUNCTION collab.absolute_error_accum(state double precision[], actual double precision, predicted double precision)
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_absolute_error_accum'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.absolute_error_accum(double precision[], double precision, double precision)
IS 'transition function of mae';

CREATE FUNCTION collab.error_combine(a double precision[], b double precision[])
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_error_combine'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.error_combine(double precision[], double precision[])
IS 'combine function of mse, rmse and mae';

CREATE FUNCTION collab.error_mean(state double precision[])
RETURNS double precision
AS 'MODULE_PATHNAME', 'collab_error_mean'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.error_mean(double precision[])
IS 'final function of mse and mae';

CREATE FUNCTION collab.error_root_mean(state double precision[])
RETURNS double precision
AS 'MODULE_PATHNAME', 'collab_error_root_mean'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.error_root_mean(double precision[])
IS 'final function of rmse';

CREATE AGGREGATE collab.mse(actual double precision, predicted double precision) (
	SFUNC = collab.squared_error_accum,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.error_combine,
	FINALFUNC = collab.error_mean,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.mse(double precision, double precision)
IS 'mean squared error';

CREATE AGGREGATE collab.rmse(actual double precision, predicted double precision) (
	SFUNC = collab.squared_error_accum,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.error_combine,
	FINALFUNC = collab.error_root_mean,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.rmse(double precision, double precision)
IS 'root of the mean squared error';

CREATE AGGREGATE collab.mae(actual double precision, predicted double precision) (
	SFUNC = collab.absolute_error_accum,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.error_combine,
	FINALFUNC = collab.error_mean,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.mae(double precision, double precision)
IS 'mean absolute error';

--
-- Measures of a ranking.  The state is {n, k, score, relevant, ...}, a real
-- type, so that partial states can be combined across workers and machines.
--
CREATE FUNCTION collab.ranking_accum(state double precision[], score double precision, relevant boolean)
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_ranking_accum'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.ranking_accum(double precision[], double precision, boolean)
IS 'transition function of ndcg and average_precision';

CREATE FUNCTION collab.ranking_accum_k(state double precision[], score double precision, relevant boolean, k integer)
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_ranking_accum_k'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION collab.ranking_accum_k(double precision[], double precision, boolean, integer)
IS 'transition function of ndcg and average_precision of the first k';

CREATE FUNCTION collab.ranking_combine(a double precision[], b double precision[])
RETURNS double precision[]
AS 'MODULE_PATHNAME', 'collab_ranking_combine'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.ranking_combine(double precision[], double precision[])
IS 'combine function of ndcg and average_precision';

CREATE FUNCTION collab.ranking_ndcg(state double precision[])
RETURNS double precision
AS 'MODULE_PATHNAME', 'collab_ranking_ndcg'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.ranking_ndcg(double precision[])
IS 'final function of ndcg';

CREATE FUNCTION collab.ranking_average_precision(state double precision[])
RETURNS double precision
AS 'MODULE_PATHNAME', 'collab_ranking_average_precision'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION collab.ranking_average_precision(double precision[])
IS 'final function of average_precision';

CREATE AGGREGATE collab.ndcg(score double precision, relevant boolean) (
	SFUNC = collab.ranking_accum,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.ranking_combine,
	FINALFUNC = collab.ranking_ndcg,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.ndcg(double precision, boolean)
IS 'normalized discounted cumulative gain of rows in order of falling score';

CREATE AGGREGATE collab.ndcg(score double precision, relevant boolean, k integer) (
	SFUNC = collab.ranking_accum_k,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.ranking_combine,
	FINALFUNC = collab.ranking_ndcg,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.ndcg(double precision, boolean, integer)
IS 'normalized discounted cumulative gain of the first k rows in order of falling score';

CREATE AGGREGATE collab.average_precision(score double precision, relevant boolean) (
	SFUNC = collab.ranking_accum,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.ranking_combine,
	FINALFUNC = collab.ranking_average_precision,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.average_precision(double precision, boolean)
IS 'mean precision at the relevant rows, in order of falling score';

CREATE AGGREGATE collab.average_precision(score double precision, relevant boolean, k integer) (
	SFUNC = collab.ranking_accum_k,
	STYPE = double precision[],
	INITCOND = '{0,0}',
	COMBINEFUNC = collab.ranking_combine,
	FINALFUNC = collab.ranking_average_precision,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE collab.average_precision(double precision, boolean, integer)
IS 'mean precision at the relevant rows among the first k, in order of falling score';

--
-- Evaluation
--
CREATE FUNCTION collab.evaluate(
	model regclass,
	ratings regclass DEFAULT NULL,
	user_column name DEFAULT NULL,
	item_column name DEFAULT NULL,
	rating_column name DEFAULT NULL,
	k integer DEFAULT 10,
	relevant_from double precision DEFAULT NULL)
RETURNS TABLE (metric text, value double precision)
AS 'MODULE_PATHNAME', 'collab_evaluate'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 14;
COMMENT ON FUNCTION collab.evaluate(regclass, regclass, name, name, name, integer, double precision)
IS 'errors and ranking measures of a model on its held-out ratings, or on those of another relation';
