/*
 * training.c
 *	  A training in a backend: from a source relation to stored embeddings.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/cf_bayes.h"
#include "server/compat.h"
#include "server/describe.h"
#include "server/embeddings.h"
#include "server/host.h"
#include "server/pool.h"
#include "server/progress.h"
#include "server/relation_scan.h"
#include "server/training.h"

TrainingJob *
JobCreate(const Source *source, const TrainOptions *options, bool warm_start)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "collab training",
												  ALLOCSET_DEFAULT_SIZES);
	TrainingJob *job = MemoryContextAllocZero(context, sizeof(TrainingJob));

	OptionsCheck(options);
	job->context = context;
	job->host = HostCreate(context, MaxMemory());
	job->options = *options;
	job->source = *source;
	if (source->name != NULL)
		job->source.name = MemoryContextStrdup(context, source->name);
	job->warm_start = warm_start;
	return job;
}

void
JobDestroy(TrainingJob *job)
{
	MemoryContextDelete(job->context);
}

void
JobRequireKeyTypes(const TrainingJob *job, const ModelTables *tables)
{
	const char *model = RelationGetRelationName(tables->head);

	EmbeddingsRequireFamily(&tables->users, &job->source.user_key, model);
	EmbeddingsRequireFamily(&tables->items, &job->source.item_key, model);
}

void
JobRequireKeysFit(const TrainingJob *job, const ModelTables *tables)
{
	EmbeddingsRequireFit(&tables->users, job->ratings->users);
	EmbeddingsRequireFit(&tables->items, job->ratings->items);
}

/* The row's values that are known before the ratings are read. */
static void
DescribeStart(TrainingJob *job, Relation head, int64 generation, Oid users, Oid items)
{
	HeadRow    *row = &job->row;

	HeadRowInit(row);
	HeadSet(row, HEAD_GENERATION, Int64GetDatum(generation));
	HeadSet(row, HEAD_STARTED, TimestampTzGetDatum(GetCurrentTimestamp()));
	HeadSet(row, HEAD_PID, Int32GetDatum(MyProcPid));
	HeadSet(row, HEAD_SELF, ObjectIdGetDatum(RelationGetRelid(head)));
	if (job->source.name != NULL)
		HeadSet(row, HEAD_SOURCE, CStringGetTextDatum(job->source.name));
	HeadSet(row, HEAD_USER_COLUMN, NameGetDatum(&job->source.user_column));
	HeadSet(row, HEAD_ITEM_COLUMN, NameGetDatum(&job->source.item_column));
	HeadSet(row, HEAD_RATING_COLUMN, NameGetDatum(&job->source.rating_column));
	HeadSet(row, HEAD_USERS, ObjectIdGetDatum(users));
	HeadSet(row, HEAD_ITEMS, ObjectIdGetDatum(items));
	HeadSet(row, HEAD_OPTIONS, JsonbPGetDatum(OptionsToJsonb(&job->options)));
	HeadSet(row, HEAD_WARM_START, BoolGetDatum(job->warm_start));
	HeadSet(row, HEAD_FORMAT, Int16GetDatum(HEAD_FORMAT_NOW));
	HeadSet(row, HEAD_STAGE, CStringGetTextDatum("reading"));
}

void
JobEnterHead(TrainingJob *job, Relation head, Oid users, Oid items)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);
	int64		generation = 0;
	ListCell   *cell;

	HeadRequireLatest(head);
	HeadDeleteDead(head);
	PushFreshSnapshot();
	foreach(cell, HeadReadAll(head))
		generation = Max(generation, HeadInt64(lfirst(cell), HEAD_GENERATION, 0));
	PopActiveSnapshot();
	if (generation == PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" has no generation left to count",
						RelationGetRelationName(head))));

	DescribeStart(job, head, generation + 1, users, items);
	HeadInsert(head, &job->row);
	MemoryContextSwitchTo(previous);
}

static void
RequireRatings(const TrainingJob *job, uint64 skipped)
{
	if (job->ratings->n_rows > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 job->source.name != NULL ?
			 errmsg("%s has no ratings to train on", job->source.name) :
			 errmsg("there are no ratings to train on"),
			 skipped > 0 ? errdetail("All its ratings are NULL.") : 0));
}

static void
NoticeOutsideRange(const TrainingJob *job)
{
	const cf_ratings *ratings = job->ratings;
	uint64		outside = 0;

	if (job->options.range_mode != RANGE_GIVEN)
		return;
	for (size_t i = 0; i < ratings->n_rows; i++)
		outside += ratings->rows[i].value < job->options.low ||
			ratings->rows[i].value > job->options.high;
	if (outside > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu rating is outside y_range and can never be met",
							   "%llu ratings are outside y_range and can never be met",
							   (unsigned long) outside, (unsigned long long) outside)));
}

/* What trains, but can hardly be meant. */
static void
NoticeDegenerate(const TrainingJob *job)
{
	const cf_ratings *ratings = job->ratings;

	if (ratings->n_rows == 1)
		ereport(NOTICE, (errmsg("there is only one rating")));
	else if (ratings->low == ratings->high)
		ereport(NOTICE, (errmsg("all ratings are equal")));
	if (cf_dict_count(ratings->users) == 1 && ratings->n_rows > 1)
		ereport(NOTICE, (errmsg("all ratings are by one user")));
	if (cf_dict_count(ratings->items) == 1 && ratings->n_rows > 1)
		ereport(NOTICE, (errmsg("all ratings are of one item")));
	if (job->options.valid_pct > 0 && ratings->n_valid == 0)
		ereport(NOTICE, (errmsg("there are too few ratings to hold any out for validation")));
}

/* What solver bayes alone has. */
static void
DescribeSampler(TrainingJob *job)
{
	static const char *const names[] = {"auto", "none", "items", "both"};
	const cf_ratings *ratings = job->ratings;
	cf_implicit implicit = cf_bayes_implicit(&job->settings, cf_dict_count(ratings->users),
											 cf_dict_count(ratings->items), ratings->n_train);

	HeadSet(&job->row, HEAD_BURN_IN, Int32GetDatum((int32) job->settings.burn_in));
	HeadSet(&job->row, HEAD_IMPLICIT, CStringGetTextDatum(names[implicit]));
}

/* The values as used. */
static void
DescribeSettings(TrainingJob *job)
{
	const TrainOptions *options = &job->options;
	const cf_settings *settings = &job->settings;
	const cf_solver *solver = OptionsSolver(options);
	HeadRow    *row = &job->row;

	HeadSet(row, HEAD_SOLVER, CStringGetTextDatum(solver->name));
	if (!options->use_nn)
		HeadSet(row, HEAD_N_FACTORS, Int32GetDatum((int32) settings->n_factors));
	HeadSet(row, HEAD_N_EPOCHS, Int32GetDatum((int32) settings->n_epochs));
	HeadSet(row, HEAD_USE_BIAS, BoolGetDatum(settings->use_bias));
	if (solver == &cf_bayes)
		DescribeSampler(job);
	if (settings->batch_size > 0)
		HeadSet(row, HEAD_BATCH_SIZE, Int32GetDatum((int32) settings->batch_size));
	if (job->settings.use_range)
	{
		Datum		range[2] = {Float4GetDatum(job->settings.low), Float4GetDatum(job->settings.high)};

		HeadSet(row, HEAD_Y_RANGE,
				PointerGetDatum(construct_array(range, 2, FLOAT4OID, sizeof(float4), true,
												TYPALIGN_INT)));
	}
}

static void
DescribeRatings(TrainingJob *job)
{
	const cf_ratings *ratings = job->ratings;
	HeadRow    *row = &job->row;

	HeadSet(row, HEAD_N_USERS, Int64GetDatum(cf_dict_count(ratings->users)));
	HeadSet(row, HEAD_N_ITEMS, Int64GetDatum(cf_dict_count(ratings->items)));
	HeadSet(row, HEAD_N_TRAIN, Int64GetDatum((int64) ratings->n_train));
	HeadSet(row, HEAD_N_VALID, Int64GetDatum((int64) ratings->n_valid));
	HeadSet(row, HEAD_MEAN_RATING, Float8GetDatum(ratings->mean));
}

/* Threads cost more than they give where there are fewer. */
#define ROWS_FOR_THREADS	1000000

static void
FreezeOn(cf_pool *pool, void *context)
{
	TrainingJob *job = context;

	HostCheck(job->host, cf_ratings_freeze_on(job->ratings, pool, (uint64) job->options.seed,
											  job->options.valid_pct));
}

static void
Freeze(TrainingJob *job)
{
	instr_time	began = StageBegin();

	if (job->ratings->n_rows < ROWS_FOR_THREADS)
		FreezeOn(NULL, job);
	else
		PoolDo(job->host, collab_threads, FreezeOn, job);
	if (job->options.verbose)
		NoticeSorted(job->ratings, StageSeconds(began));
}

void
JobUseRatings(TrainingJob *job, uint64 skipped)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);

	RequireRatings(job, skipped);
	if (skipped > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu NULL rating was skipped", "%llu NULL ratings were skipped",
							   (unsigned long) skipped, (unsigned long long) skipped)));

	Freeze(job);
	OptionsRequireHeldOut(&job->options, job->ratings);
	NoticeOutsideRange(job);
	NoticeDegenerate(job);
	job->options = OptionsSettle(&job->options, job->ratings);
	job->settings = OptionsToSettings(&job->options, job->ratings);
	DescribeSettings(job);
	DescribeRatings(job);
	job->train_loss = palloc(job->options.n_epochs * sizeof(float8));
	job->valid_loss = palloc(job->options.n_epochs * sizeof(float8));
	job->elapsed = palloc(job->options.n_epochs * sizeof(float8));
	MemoryContextSwitchTo(previous);
}

void
JobRead(TrainingJob *job)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);
	instr_time	began = StageBegin();
	uint64		skipped;

	SourceRequireMemory(&job->source, job->host);
	HostCheck(job->host, cf_ratings_create(job->host, job->source.user_key.kind,
										   job->source.item_key.kind, &job->ratings));
	skipped = SourceRead(&job->source, job->host, job->ratings);
	if (job->options.verbose && job->ratings->n_rows > 0)
		NoticeRead(job->ratings, StageSeconds(began));
	JobUseRatings(job, skipped);
	MemoryContextSwitchTo(previous);
}

/* The present embeddings, read before the core begins. */
typedef struct WarmStart
{
	TrainingJob *job;
	cf_model	model;
	cf_dict    *user_dict;
	cf_dict    *item_dict;
} WarmStart;

#define ROWS_BETWEEN_POLLS	65536

static void
CopyKnown(cf_host *host, bool use_bias, cf_side *to, const cf_dict *to_keys,
		  const cf_side *from, const cf_dict *from_keys)
{
	size_t		n = to->n_factors + (use_bias ? 1 : 0);

	for (uint32 row = 0; row < to->n_rows; row++)
	{
		uint32		known = cf_dict_find(from_keys, cf_dict_key(to_keys, row));

		/* whoever polls next will stop for good */
		if (row % ROWS_BETWEEN_POLLS == 0 && cf_should_stop(host))
			return;
		/* a row that was cold has nothing to tell; a cold one stays zero */
		if (known == CF_NO_ROW || from->n_ratings[known] == 0 || to->n_ratings[row] == 0)
			continue;
		memcpy(cf_side_row(to, row), cf_side_row(from, known), n * sizeof(float));
	}
}

/* Called by the core; raises no error. */
static void
CopyKnownEmbeddings(void *context, cf_model *model)
{
	WarmStart  *warm = context;

	const cf_ratings *ratings = warm->job->ratings;
	cf_host    *host = warm->job->host;

	CopyKnown(host, model->use_bias, &model->users, ratings->users, &warm->model.users, warm->user_dict);
	CopyKnown(host, model->use_bias, &model->items, ratings->items, &warm->model.items, warm->item_dict);
	if (model->net != NULL)
		memcpy(model->net->weights, warm->model.net->weights, model->net->n_weights * sizeof(float));
}

static void
CannotChange(const char *what, int from, int to)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a warm start cannot change %s from %d to %d", what, from, to),
			 errhint("Retrain without warm_start.")));
}

/* A shape that was given must be the present one. */
static void
RequireShape(const TrainOptions *options, const cf_net_shape *present)
{
	bool		same = !OptionsGiven(options, "batch_norm") ||
		options->batch_norm == present->batch_norm;

	if (options->user_factors > 0 && options->user_factors != (int32) present->user_factors)
		CannotChange("user_factors", (int) present->user_factors, options->user_factors);
	if (options->item_factors > 0 && options->item_factors != (int32) present->item_factors)
		CannotChange("item_factors", (int) present->item_factors, options->item_factors);
	if (options->n_layers > 0)
	{
		same = same && options->n_layers == (int32) present->n_layers;
		for (int i = 0; same && i < options->n_layers; i++)
			same = options->layers[i] == (int32) present->layers[i];
	}
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a warm start cannot change the layers of a neural model"),
				 errhint("Retrain without warm_start.")));
}

void
JobRequireWarmStart(const TrainingJob *job, const HeadRow *current)
{
	int			n_factors = HeadInt32(current, HEAD_N_FACTORS, 0);
	cf_net_shape present;

	if (!job->warm_start)
		return;
	if (job->options.use_nn != HeadHasNet(current))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a warm start cannot change use_nn"),
				 errhint("Retrain without warm_start.")));
	if (OptionsUseSampler(&job->options) != HeadHasNormals(current))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a warm start cannot change between solver \"bayes\" and another"),
				 errhint("Retrain without warm_start.")));
	if (job->options.use_nn)
	{
		present = HeadNetShape(current);
		RequireShape(&job->options, &present);
	}
	else if (OptionsGiven(&job->options, "n_factors") && n_factors != job->options.n_factors)
		CannotChange("n_factors", n_factors, job->options.n_factors);
}

static void
ReadPresent(WarmStart *warm, const ModelTables *tables, const HeadRow *current)
{
	const char *name = RelationGetRelationName(tables->head);
	cf_host    *host = warm->job->host;

	JobRequireWarmStart(warm->job, current);
	HeadCheck(current, name);
	ModelFromHead(current, name, host, &warm->model);
	EmbeddingsRead(&tables->users, HeadFactors(current, USERS, name), host, &warm->model.users,
				   &warm->user_dict);
	EmbeddingsRead(&tables->items, HeadFactors(current, ITEMS, name), host, &warm->model.items,
				   &warm->item_dict);

	/* not what the rules would have for these ratings */
	if (warm->model.net != NULL)
		warm->job->settings.net = warm->model.net->shape;
	else
		warm->job->settings.n_factors = warm->model.items.n_factors;
	DescribeSettings(warm->job);
}

static void
ReleasePresent(WarmStart *warm)
{
	cf_model_release(&warm->model);
	cf_dict_destroy(warm->user_dict);
	cf_dict_destroy(warm->item_dict);
}

/* Threads for a solver that gains from them. */
static int
JobThreads(const TrainingJob *job)
{
	return OptionsSolver(&job->options)->uses_pool ? collab_threads : 1;
}

/* In a pool. */
static void
Begin(cf_pool *pool, void *arg)
{
	WarmStart  *warm = arg;
	TrainingJob *job = warm->job;

	HostCheck(job->host,
			  cf_training_begin(OptionsSolver(&job->options), &job->settings, job->ratings,
								&job->model, job->warm_start ? CopyKnownEmbeddings : NULL,
								warm, pool, &job->training));
}

void
JobBegin(TrainingJob *job, const ModelTables *tables, const HeadRow *current)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);
	WarmStart	warm = {.job = job};

	if (job->warm_start)
		ReadPresent(&warm, tables, current);
	cf_model_init(&job->model, job->host);
	PoolDo(job->host, JobThreads(job), Begin, &warm);
	if (job->warm_start)
		ReleasePresent(&warm);
	MemoryContextSwitchTo(previous);
}

typedef struct EpochRun
{
	TrainingJob *job;
	cf_epoch   *report;
} EpochRun;

/* In a pool. */
static void
RunEpoch(cf_pool *pool, void *arg)
{
	EpochRun   *run = arg;

	HostCheck(run->job->host, cf_training_epoch(run->job->training, pool, run->report));
}

bool
JobEpoch(TrainingJob *job, cf_epoch *report)
{
	EpochRun	run = {job, report};
	instr_time	start;
	instr_time	end;
	double		seconds;

	if (job->n_done == job->options.n_epochs)
		return false;
	CHECK_FOR_INTERRUPTS();
	INSTR_TIME_SET_CURRENT(start);
	PoolDo(job->host, JobThreads(job), RunEpoch, &run);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	seconds = INSTR_TIME_GET_DOUBLE(end);

	job->train_loss[job->n_done] = report->train_loss;
	job->valid_loss[job->n_done] = report->valid_loss;
	job->elapsed[job->n_done] = seconds;
	job->best_epoch = (int) report->kept + 1;
	job->n_done++;
	if (job->options.verbose)
		NoticeEpoch(report, (uint32) job->options.n_epochs, job->ratings->n_train, seconds);
	return true;
}

/* Called once an epoch, perhaps very often: the array before is given back. */
static void
DescribeLoss(TrainingJob *job, HeadColumn column, const float8 *values)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);

	if (!job->row.nulls[column])
		pfree(DatumGetPointer(job->row.values[column]));
	HeadSet(&job->row, column, Float8ArrayDatum(values, job->n_done));
	MemoryContextSwitchTo(previous);
}

static void
DescribeLosses(TrainingJob *job)
{
	DescribeLoss(job, HEAD_TRAIN_LOSS, job->train_loss);
	DescribeLoss(job, HEAD_VALID_LOSS, job->valid_loss);
	DescribeLoss(job, HEAD_ELAPSED, job->elapsed);
}

/* Where the training is; the memory of the stage before is given back. */
static void
DescribeProgress(TrainingJob *job)
{
	MemoryContext previous = MemoryContextSwitchTo(job->context);
	HeadRow    *row = &job->row;
	int			n_epochs = job->options.n_epochs;

	pfree(DatumGetPointer(row->values[HEAD_STAGE]));
	HeadSet(row, HEAD_STAGE, CStringGetTextDatum(job->n_done < n_epochs ? "training" : "writing"));
	HeadSet(row, HEAD_PROGRESS, Float4GetDatum(100.0f * job->n_done / n_epochs));
	MemoryContextSwitchTo(previous);
}

void
JobShowProgress(TrainingJob *job, Relation head)
{
	DescribeProgress(job);
	if (job->n_done > 0)
		DescribeLosses(job);
	HeadUpdate(head, &job->row);
}

/* A neural model's shape and weights. */
static void
DescribeNet(TrainingJob *job)
{
	const cf_net *net = job->model.net;
	HeadRow    *row = &job->row;
	Datum		layers[CF_MAX_LAYERS];

	if (net == NULL)
		return;
	for (uint32 i = 0; i < net->shape.n_layers; i++)
		layers[i] = Int32GetDatum((int32) net->shape.layers[i]);
	HeadSet(row, HEAD_USER_FACTORS, Int32GetDatum((int32) net->shape.user_factors));
	HeadSet(row, HEAD_ITEM_FACTORS, Int32GetDatum((int32) net->shape.item_factors));
	HeadSet(row, HEAD_LAYERS,
			PointerGetDatum(construct_array(layers, (int) net->shape.n_layers, INT4OID,
											sizeof(int32), true, TYPALIGN_INT)));
	HeadSet(row, HEAD_BATCH_NORM, BoolGetDatum(net->shape.batch_norm));
	HeadSet(row, HEAD_WEIGHTS, Float4ArrayDatum(net->weights, net->n_weights));
}

void
JobStore(TrainingJob *job, ModelTables *tables, bool fresh)
{
	HeadRow    *row = &job->row;

	job->storing = StageBegin();
	JobRequireKeyTypes(job, tables);
	JobRequireKeysFit(job, tables);
	cf_training_end(job->training);
	job->training = NULL;
	if (job->settings.keep_draws > 0)
		ModelAddDraws(tables);
	EmbeddingsWrite(&tables->users, &job->model.users, job->ratings->users, fresh);
	EmbeddingsWrite(&tables->items, &job->model.items, job->ratings->items, fresh);

	DescribeLosses(job);
	DescribeNet(job);
	DescribeBayes(row, &job->model);
	row->nulls[HEAD_STAGE] = true;
	row->nulls[HEAD_PROGRESS] = true;
	HeadSet(row, HEAD_FINISHED, TimestampTzGetDatum(GetCurrentTimestamp()));
	HeadSet(row, HEAD_STAMP, Int64GetDatum(HeadNewStamp()));
	DescribeSide(row, USERS, &job->model.users, job->host);
	DescribeSide(row, ITEMS, &job->model.items, job->host);
	if (job->options.keep_best)
		HeadSet(row, HEAD_BEST_EPOCH, Int32GetDatum(job->best_epoch));
	HeadUpdate(tables->head, row);
	HeadForgetWeights(tables->head, HeadInt64(row, HEAD_GENERATION, 0));
}

void
JobStored(const TrainingJob *job)
{
	if (job->options.verbose)
		NoticeWritten(job->ratings, StageSeconds(job->storing));
}
