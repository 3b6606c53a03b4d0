/*
 * evaluate.c
 *	  collab.evaluate(): how good a model is at ratings that it has not seen.
 *
 * Without a relation of held-out ratings, the model's own validation part is
 * taken: the source is read and frozen under the model's seed and valid_pct,
 * as the training did it.  With one, all of its ratings are held out, and the
 * source only tells what the users had rated in training.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "core/cf_evaluate.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"
#include "server/options.h"
#include "server/pool.h"

COLLAB_FUNCTION(collab_evaluate);

enum
{
	ARG_MODEL,
	ARG_RATINGS,
	ARG_USER_COLUMN,
	ARG_ITEM_COLUMN,
	ARG_RATING_COLUMN,
	ARG_K,
	ARG_RELEVANT_FROM
};

#define GIVE_RATINGS	"Give ratings => 'the_relation', with ratings that the model was not trained on."
#define READ_AS_OWNER	"SET ROLE to its owner, or to a role that has its rights."
#define CAST_IDS		"Give ratings => 'a_view' that casts the ids."
#define ROWS_AT_ONCE	65536	/* between two looks for interrupts */

typedef struct Evaluation
{
	cf_host    *host;
	CachedModel *model;
	TrainOptions options;		/* of the training: they tell its split */
	int32		k;
	float8		relevant_from;
	cf_ratings *ratings;		/* has the held-out ratings */
	cf_held_out held;
	cf_seen    *seen;			/* by user and item of "held" */
	cf_errors	errors;
	cf_rankings rankings;
} Evaluation;

static TrainOptions
OptionsOfModel(const CachedModel *model)
{
	TrainOptions options;

	if (model->source.options == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" does not hold its options", model->name),
				 errhint("Train the model again with collab.train(..., replace => true).")));
	options = OptionsStored(model->source.options);
	OptionsCheck(&options);
	return options;
}

/* A name that was given, the one that the model remembers, or train()'s default. */
static void
ChooseColumn(FunctionCallInfo fcinfo, int argument, NameData *remembered, const char *otherwise)
{
	if (!PG_ARGISNULL(argument))
		*remembered = *PG_GETARG_NAME(argument);
	else if (NameStr(*remembered)[0] == '\0')
		namestrcpy(remembered, otherwise);
}

/* The relation that has the held-out ratings. */
static Source
OpenHeldOut(FunctionCallInfo fcinfo, const CachedModel *model)
{
	ModelSource remembered = model->source;
	Source		source;

	ChooseColumn(fcinfo, ARG_USER_COLUMN, &remembered.user_column, "user_id");
	ChooseColumn(fcinfo, ARG_ITEM_COLUMN, &remembered.item_column, "item_id");
	ChooseColumn(fcinfo, ARG_RATING_COLUMN, &remembered.rating_column, "rating");
	SourceOpenRemembered(&source, &remembered,
						 PG_ARGISNULL(ARG_RATINGS) ? InvalidOid : PG_GETARG_OID(ARG_RATINGS),
						 model->name, GIVE_RATINGS);
	RequireKeyFamilies(model, &source, CAST_IDS);
	source.read_only = true;
	return source;
}

static void
ReadRatings(Evaluation *run, const Source *source)
{
	cf_ratings *ratings;

	HostCheck(run->host, cf_ratings_create(run->host, source->user_key.kind,
										   source->item_key.kind, &ratings));
	run->ratings = ratings;
	(void) SourceRead(source, run->host, ratings);
}

/* Hold out a part of the ratings; 0: all of them. */
static void
HoldOut(Evaluation *run, float8 valid_part)
{
	const CachedModel *model = run->model;
	cf_ratings *ratings = run->ratings;
	cf_host    *host = run->host;
	size_t		first;

	if (ratings->n_rows > 0)
		HostCheck(host, cf_ratings_freeze(ratings, (uint64) run->options.seed, valid_part));
	first = valid_part > 0 ? ratings->n_train : 0;
	HostCheck(host, cf_held_out_create(host, ratings, first, ratings->n_rows - first,
									   model->users.dict, model->items.dict, &run->held));
	HostCheck(host, cf_seen_create(host, run->held.n_users, &run->seen));
}

/* What users had rated in training is the other part of the same ratings. */
static void
EnterTrainingPart(Evaluation *run)
{
	for (size_t i = 0; i < run->ratings->n_train; i++)
	{
		const cf_rating *row = &run->ratings->rows[i];

		HostCheck(run->host, cf_seen_add(run->seen, row->user, run->held.item_rows[row->item]));
		if (i % ROWS_AT_ONCE == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

static void
ReadOwnSplit(Evaluation *run, FunctionCallInfo fcinfo)
{
	Source		source = OpenHeldOut(fcinfo, run->model);

	if (run->options.valid_pct == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" held no ratings out", run->model->name),
				 errdetail("It was trained with valid_pct => 0."),
				 errhint(GIVE_RATINGS)));
	SourceRequireTrusted(&source, READ_AS_OWNER);
	ReadRatings(run, &source);
	HoldOut(run, run->options.valid_pct);
	EnterTrainingPart(run);
}

/* A reader of the source, for what users had rated in training. */
typedef struct TrainingReader
{
	Evaluation *run;
	const Source *source;
	bool		whole;			/* nothing was held out */
	bool		any;			/* was there a training rating? */
} TrainingReader;

static void
EnterTrained(void *context, cf_key user, cf_key item, float4 rating, bool rated)
{
	TrainingReader *reader = context;
	Evaluation *run = reader->run;
	const Source *source = reader->source;
	uint32		user_number;
	uint32		item_row;

	if (!rated || (!reader->whole &&
				   cf_ratings_is_valid(source->user_key.kind, user, source->item_key.kind, item,
									   (uint64) run->options.seed, run->options.valid_pct)))
		return;
	reader->any = true;
	user_number = cf_dict_find(run->ratings->users, user);
	item_row = cf_dict_find(run->model->items.dict, item);
	if (item_row == CF_NO_ROW)
	{
		uint32		item_number = cf_dict_find(run->ratings->items, item);

		if (item_number == CF_NO_ROW)
			return;
		item_row = run->held.item_rows[item_number];
	}
	if (user_number != CF_NO_ROW)
		HostCheck(run->host, cf_seen_add(run->seen, user_number, item_row));
}

static void
NoticeUnknownTraining(const CachedModel *model)
{
	ereport(NOTICE,
			(errmsg("what was rated in training is not known, and nothing is left out of the rankings"),
			 model->source.name == NULL ?
			 errdetail("Model \"%s\" was not trained on a table.", model->name) :
			 errdetail("Relation %s that model \"%s\" was trained on does not exist.",
					   model->source.name, model->name)));
}

static void
ReadTrainingPart(Evaluation *run)
{
	TrainingReader reader = {.run = run};
	Source		source;

	if (!OidIsValid(SourceFind(&run->model->source)))
	{
		NoticeUnknownTraining(run->model);
		return;
	}
	SourceOpenRemembered(&source, &run->model->source, InvalidOid, run->model->name, GIVE_RATINGS);
	RequireKeyFamilies(run->model, &source, CAST_IDS);
	source.read_only = true;
	reader.source = &source;
	SourceRequireTrusted(&source, READ_AS_OWNER);
	SourceScan(&source, SOURCE_PAIRS, EnterTrained, &reader);

	/* as the training has it: should all be in the validation part, all train */
	reader.whole = !reader.any;
	if (reader.whole)
		SourceScan(&source, SOURCE_PAIRS, EnterTrained, &reader);
}

static void
ReadGiven(Evaluation *run, FunctionCallInfo fcinfo)
{
	Source		source = OpenHeldOut(fcinfo, run->model);

	ReadRatings(run, &source);
	HoldOut(run, 0);
	if (run->held.n > 0)
		ReadTrainingPart(run);
}

static void
RankUsers(cf_pool *pool, void *arg)
{
	Evaluation *run = arg;

	HostCheck(run->host, cf_evaluate_rankings(&run->model->model, run->host, pool, &run->held,
											  run->seen, run->relevant_from, run->k,
											  &run->rankings));
}

static void
Evaluate(Evaluation *run, FunctionCallInfo fcinfo)
{
	SPI_connect();
	if (PG_ARGISNULL(ARG_RATINGS))
		ReadOwnSplit(run, fcinfo);
	else
		ReadGiven(run, fcinfo);
	SPI_finish();
	HostCheck(run->host, cf_evaluate_errors(&run->model->model, run->host, &run->held,
											&run->errors));
	if (run->held.n == 0)
		return;
	HostCheck(run->host, cf_seen_freeze(run->seen));
	PoolDo(run->host, collab_threads, RankUsers, run);
}

/* NaN is NULL: there is nothing to measure. */
static void
AddMetric(FunctionCallInfo fcinfo, const char *metric, float8 value)
{
	Datum		values[2];
	bool		nulls[2] = {false};

	values[0] = CStringGetTextDatum(metric);
	values[1] = Float8GetDatum(value);
	nulls[1] = isnan(value);
	AddResultRow(fcinfo, values, nulls);
}

static void
AddMetricAt(FunctionCallInfo fcinfo, const char *metric, int32 k, float8 value)
{
	char	   *name = psprintf("%s@%d", metric, k);

	AddMetric(fcinfo, name, value);
	pfree(name);
}

static void
AddMetrics(FunctionCallInfo fcinfo, const Evaluation *run)
{
	const cf_errors *errors = &run->errors;
	cf_rankings none = {0, NAN, NAN, NAN, NAN, NAN, NAN};
	const cf_rankings *rankings = run->held.n > 0 ? &run->rankings : &none;

	AddMetric(fcinfo, "n", (float8) run->held.n);
	AddMetric(fcinfo, "n_cold_users", (float8) errors->n_cold_users);
	AddMetric(fcinfo, "n_cold_items", (float8) errors->n_cold_items);
	AddMetric(fcinfo, "mse", errors->mse);
	AddMetric(fcinfo, "rmse", sqrt(errors->mse));
	AddMetric(fcinfo, "mae", errors->mae);
	AddMetric(fcinfo, "r2", errors->r2);
	AddMetric(fcinfo, "n_ranked_users", run->held.n > 0 ? (float8) rankings->n_users : NAN);
	AddMetricAt(fcinfo, "precision", run->k, rankings->precision);
	AddMetricAt(fcinfo, "recall", run->k, rankings->recall);
	AddMetricAt(fcinfo, "ndcg", run->k, rankings->ndcg);
	AddMetricAt(fcinfo, "map", run->k, rankings->average_precision);
	AddMetric(fcinfo, "mrr", rankings->reciprocal_rank);
	AddMetric(fcinfo, "coverage", rankings->coverage);
}

Datum
collab_evaluate(PG_FUNCTION_ARGS)
{
	Evaluation	run = {0};
	MemoryContext work;
	MemoryContext previous;

	run.k = PositiveArgument(fcinfo, ARG_K, "k");
	if (!PG_ARGISNULL(ARG_RELEVANT_FROM) && isnan(PG_GETARG_FLOAT8(ARG_RELEVANT_FROM)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("relevant_from must not be NaN")));
	BeginRows(fcinfo);
	if (PG_ARGISNULL(ARG_MODEL))
		return (Datum) 0;

	work = AllocSetContextCreate(CurrentMemoryContext, "collab evaluation", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(work);
	run.host = HostCreate(work, MaxMemory());
	run.model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(ARG_MODEL), NEED_USERS | NEED_ITEMS);
	run.options = OptionsOfModel(run.model);
	run.relevant_from = PG_ARGISNULL(ARG_RELEVANT_FROM) ? run.model->model.mean_rating :
		PG_GETARG_FLOAT8(ARG_RELEVANT_FROM);
	Evaluate(&run, fcinfo);
	AddMetrics(fcinfo, &run);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(work);
	return (Datum) 0;
}
