/*
 * tune.c
 *	  collab.tune(): which settings?  Many trainings on ratings that are read
 *	  once, side by side on threads.
 *
 * Touches no model.  Threads take their memory from malloc, and all of it is
 * held by the core's cf_tune: on any way out, that is told to stop, then the
 * threads are joined, then their memory is given back.
 */
#include "postgres.h"

#include <math.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "core/cf_tune.h"
#include "server/arguments.h"
#include "server/compat.h"
#include "server/host.h"
#include "server/pool.h"
#include "server/training.h"

COLLAB_FUNCTION(collab_tune);

enum
{
	ARG_RATINGS,
	ARG_USER_COLUMN,
	ARG_ITEM_COLUMN,
	ARG_RATING_COLUMN,
	ARG_AXES,					/* as many as AXES, then these: */
	ARG_N_TRIALS = ARG_AXES + 4,
	ARG_FOLDS,
	ARG_VALID_PCT,
	ARG_SEED,
	ARG_OPTIONS,
	ARG_VERBOSE
};

/* What a search varies, in the order of the arguments: the first is the slowest. */
typedef enum AxisNumber
{
	AXIS_N_FACTORS,
	AXIS_WD,
	AXIS_LR_MAX,
	AXIS_N_EPOCHS,
	AXES
} AxisNumber;

typedef struct Axis
{
	const char *name;
	bool		given;			/* else one setting: the solver's default */
	int			n;
	float8	   *values;			/* integers, too */
} Axis;

#define MOST_SETTINGS	100000

typedef struct Search
{
	Axis		axes[AXES];
	uint32		n_grid;
	TrainOptions options;		/* all that is not varied */
	int32		folds;
	uint32		n_trials;
	TrainingJob *job;			/* that reads */
	cf_trial   *trials;
	cf_tune    *tune;
} Search;

/* ---------- arguments ---------- */

static int
CompareNumbers(const void *a, const void *b)
{
	float8		x = *(const float8 *) a;
	float8		y = *(const float8 *) b;

	return (x > y) - (x < y);
}

/* A setting that is there twice would be tried twice. */
static void
RequireDistinct(const Axis *axis)
{
	Size		size = axis->n * sizeof(float8);
	float8	   *sorted;

	if (axis->n < 2)
		return;
	sorted = memcpy(palloc(size), axis->values, size);
	qsort(sorted, axis->n, sizeof(float8), CompareNumbers);
	for (int i = 1; i < axis->n; i++)
		if (sorted[i] == sorted[i - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not contain the same value twice", axis->name)));
	pfree(sorted);
}

static Axis
AxisArgument(FunctionCallInfo fcinfo, int argument, const char *name, Oid type)
{
	Axis		axis = {.name = name};
	ArrayType  *array;

	if (PG_ARGISNULL(argument))
	{
		axis.n = 1;
		return axis;
	}
	axis.given = true;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", name)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain NULL", name)));
	axis.n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (axis.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name)));
	axis.values = palloc(axis.n * sizeof(float8));
	for (int i = 0; i < axis.n; i++)
		axis.values[i] = type == INT4OID ? ((int32 *) ArrayData(array))[i] :
			((float8 *) ArrayData(array))[i];
	RequireDistinct(&axis);
	return axis;
}

/* The options that are given as arguments must not be among the others. */
static TrainOptions
OtherOptions(FunctionCallInfo fcinfo)
{
	static const char *const arguments[] = {
		"n_factors", "wd", "lr_max", "n_epochs", "valid_pct", "seed", "verbose"
	};
	TrainOptions options = OptionsDefault();
	Jsonb	   *given;
	JsonbValue	value;

	RequireArgument(fcinfo, ARG_OPTIONS, "options");
	given = PG_GETARG_JSONB_P(ARG_OPTIONS);
	OptionsFromJsonb(&options, given);
	for (int i = 0; i < (int) lengthof(arguments); i++)
		if (getKeyJsonValueFromContainer(&given->root, arguments[i], strlen(arguments[i]),
										 &value) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is an argument of collab.tune()", arguments[i]),
					 errhint("Give it as one, not among the options.")));
	RequireArgument(fcinfo, ARG_VALID_PCT, "valid_pct");
	RequireArgument(fcinfo, ARG_SEED, "seed");
	RequireArgument(fcinfo, ARG_VERBOSE, "verbose");
	options.valid_pct = PG_GETARG_FLOAT8(ARG_VALID_PCT);
	options.seed = PG_GETARG_INT64(ARG_SEED);
	options.verbose = PG_GETARG_BOOL(ARG_VERBOSE);
	return options;
}

/* The options of a setting of the grid. */
static TrainOptions
SettingNumber(const Search *search, uint32 number)
{
	TrainOptions options = search->options;

	for (int i = AXES - 1; i >= 0; i--)
	{
		const Axis *axis = &search->axes[i];

		if (axis->given)
			OptionsGiveNumber(&options, axis->name, axis->values[number % axis->n]);
		number /= axis->n;
	}
	return options;
}

/* The same once the ratings are known, and so the solver and its defaults. */
static TrainOptions
SettledNumber(const Search *search, uint32 number)
{
	TrainOptions options = SettingNumber(search, number);

	return OptionsSettle(&options, search->job->ratings);
}

static void
ReadGrid(Search *search, FunctionCallInfo fcinfo)
{
	Axis	   *axes = search->axes;
	size_t		n = 1;

	axes[AXIS_N_FACTORS] = AxisArgument(fcinfo, ARG_AXES + AXIS_N_FACTORS, "n_factors", INT4OID);
	axes[AXIS_WD] = AxisArgument(fcinfo, ARG_AXES + AXIS_WD, "wd", FLOAT8OID);
	axes[AXIS_LR_MAX] = AxisArgument(fcinfo, ARG_AXES + AXIS_LR_MAX, "lr_max", FLOAT8OID);
	axes[AXIS_N_EPOCHS] = AxisArgument(fcinfo, ARG_AXES + AXIS_N_EPOCHS, "n_epochs", INT4OID);
	for (int axis = 0; axis < AXES; axis++)
		n = cf_size_mul(n, axes[axis].n);
	if (n > MOST_SETTINGS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the grid holds %zu settings, and can hold at most %d", n, MOST_SETTINGS)));
	search->n_grid = (uint32) n;
	for (uint32 number = 0; number < search->n_grid; number++)
	{
		TrainOptions options = SettingNumber(search, number);

		OptionsCheck(&options);
	}
}

static uint32
TrialsArgument(FunctionCallInfo fcinfo, uint32 n_grid)
{
	int32		n;

	if (PG_ARGISNULL(ARG_N_TRIALS))
		return n_grid;
	n = PositiveArgument(fcinfo, ARG_N_TRIALS, "n_trials");
	if ((uint32) n > n_grid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_plural("n_trials is %d, but the grid holds %u setting",
							   "n_trials is %d, but the grid holds %u settings",
							   n_grid, n, n_grid),
				 errhint("Leave n_trials out to try them all.")));
	return (uint32) n;
}

static void
NothingHeldOut(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("collab.tune() needs ratings that are held out for validation"),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("%s", hint)));
}

static Search
SearchArguments(FunctionCallInfo fcinfo)
{
	Search		search = {0};

	search.options = OtherOptions(fcinfo);
	search.folds = PositiveArgument(fcinfo, ARG_FOLDS, "folds");
	if (search.folds > CF_MAX_FOLDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("folds must be between 1 and %d", CF_MAX_FOLDS)));
	if (search.folds == 1 && search.options.valid_pct == 0)
		NothingHeldOut(NULL, "Give a greater valid_pct, or folds.");
	ReadGrid(&search, fcinfo);
	search.n_trials = TrialsArgument(fcinfo, search.n_grid);
	return search;
}

/* ---------- trials ---------- */

/* Frozen whole for folds: what is held out is then the trials' own business. */
static void
ReadRatings(Search *search, Source *source)
{
	TrainOptions reading = search->options;

	if (search->folds > 1)
	{
		reading.valid_pct = 0;
		reading.keep_best = false;
	}
	search->job = JobCreate(source, &reading, false);
	SPI_connect();
	JobRead(search->job);
	SPI_finish();
}

/* About how long it takes: those that take long go first, so that threads end together. */
static float8
WorkOf(const cf_settings *settings)
{
	return (float8) settings->n_epochs * (settings->n_factors + 20);
}

static int
CompareWork(const void *a, const void *b)
{
	const cf_trial *x = a;
	const cf_trial *y = b;
	float8		difference = WorkOf(&y->settings) - WorkOf(&x->settings);

	if (difference != 0)
		return difference > 0 ? 1 : -1;
	return (x->number > y->number) - (x->number < y->number);
}

/* Best first, what diverged last; ties by the order of the grid. */
static int
CompareTrials(const void *a, const void *b)
{
	const cf_trial *x = a;
	const cf_trial *y = b;

	if (isnan(x->valid_loss) != isnan(y->valid_loss))
		return isnan(x->valid_loss) ? 1 : -1;
	if (!isnan(x->valid_loss) && x->valid_loss != y->valid_loss)
		return x->valid_loss > y->valid_loss ? 1 : -1;
	return (x->number > y->number) - (x->number < y->number);
}

static void
MakeTrials(Search *search)
{
	cf_host    *host = search->job->host;
	uint32	   *numbers = cf_alloc(host, search->n_trials, sizeof(uint32));

	search->trials = numbers == NULL ? NULL : cf_alloc(host, search->n_trials, sizeof(cf_trial));
	if (search->trials == NULL)
		HostCheck(host, host->failure);
	HostCheck(host, cf_tune_draw(host, (uint64) search->options.seed, search->n_grid,
								 search->n_trials, numbers));
	for (uint32 i = 0; i < search->n_trials; i++)
	{
		TrainOptions options = SettledNumber(search, numbers[i]);
		cf_trial   *trial = &search->trials[i];

		memset(trial, 0, sizeof(cf_trial));
		trial->number = numbers[i];
		trial->settings = OptionsToSettings(&options, search->job->ratings);
		trial->settings.batch_size = (uint32) options.batch_size;
	}
	cf_free(host, numbers);
	qsort(search->trials, search->n_trials, sizeof(cf_trial), CompareWork);
}

static void
MakeTune(Search *search)
{
	TrainingJob *job = search->job;
	TrainOptions options = SettledNumber(search, 0);
	cf_status	status = cf_tune_create(job->host, OptionsSolver(&options), job->ratings,
										(uint64) search->options.seed, search->folds,
										search->trials, search->n_trials, collab_threads,
										&search->tune);

	if (status == CF_NO_RATINGS && search->folds == 1)
		NothingHeldOut("There are too few ratings to hold any out.", "Give a greater valid_pct.");
	if (status == CF_NO_RATINGS)
		NothingHeldOut(psprintf("There are too few ratings for %d folds.", search->folds),
					   "Give fewer folds.");
	HostCheck(job->host, status);
}

/*
 * Called in the middle of the core's work, which an error must not jump out
 * of: a NOTICE looks for interrupts once it is sent.
 */
static void
NoticeTrial(void *context, const cf_trial *trial, uint32_t n_finished)
{
	const Search *search = context;
	TrainOptions options = SettledNumber(search, trial->number);
	char		n_factors[30] = "";
	char		rates[70] = "";
	char		setting[200];

	if (!search->options.verbose)
		return;
	if (OptionsKnow(&options, "n_factors"))
		snprintf(n_factors, sizeof(n_factors), "n_factors %d, ", options.n_factors);
	if (OptionsKnow(&options, "lr_max"))
		snprintf(rates, sizeof(rates), "wd %g, lr_max %g, ", options.wd, options.lr_max);
	snprintf(setting, sizeof(setting), "trial %u of %u: %s%sn_epochs %d",
			 n_finished, search->n_trials, n_factors, rates, options.n_epochs);
	HOLD_INTERRUPTS();
	if (isnan(trial->valid_loss))
		ereport(NOTICE, (errmsg("%s: diverged, %.2f s", setting, trial->seconds)));
	else if (isnan(trial->valid_sd))
		ereport(NOTICE,
				(errmsg("%s: train loss %.4f, valid loss %.4f, %.2f s", setting,
						trial->train_loss, trial->valid_loss, trial->seconds)));
	else
		ereport(NOTICE,
				(errmsg("%s: train loss %.4f, valid loss %.4f (deviation %.4f), %.2f s", setting,
						trial->train_loss, trial->valid_loss, trial->valid_sd, trial->seconds)));
	RESUME_INTERRUPTS();
}

static void
StopTune(int code, Datum search)
{
	cf_tune_stop(((Search *) DatumGetPointer(search))->tune);
}

/*
 * What threads gave back to malloc may be megabytes that it keeps for the next
 * ones, of which there may be none in this session.
 */
static void
DestroyTune(int code, Datum search)
{
	cf_tune_destroy(((Search *) DatumGetPointer(search))->tune);
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

static void
RunTrials(cf_pool *pool, void *arg)
{
	Search	   *search = arg;

	PG_ENSURE_ERROR_CLEANUP(StopTune, PointerGetDatum(search));
	{
		HostCheck(cf_tune_host(search->tune),
				  cf_tune_run(search->tune, pool, NoticeTrial, search));
	}
	PG_END_ENSURE_ERROR_CLEANUP(StopTune, PointerGetDatum(search));
}

/*
 * On the way out of an error, and at the end of the session, cleanups run from
 * the innermost on: stop the trials, join the threads, give their memory back.
 */
static void
RunTune(Search *search)
{
	PG_ENSURE_ERROR_CLEANUP(DestroyTune, PointerGetDatum(search));
	{
		PoolDo(cf_tune_host(search->tune), collab_threads, RunTrials, search);
	}
	PG_END_ENSURE_ERROR_CLEANUP(DestroyTune, PointerGetDatum(search));
	DestroyTune(0, PointerGetDatum(search));
}

/* ---------- rows ---------- */

static void
AddTrial(FunctionCallInfo fcinfo, const Search *search, const cf_trial *trial, int rank)
{
	TrainOptions options = SettledNumber(search, trial->number);
	Datum		values[9];
	bool		nulls[9] = {false};

	values[0] = Int32GetDatum(rank);
	values[1] = Int32GetDatum(options.n_factors);
	nulls[1] = !OptionsKnow(&options, "n_factors");
	values[2] = Float8GetDatum(options.wd);
	nulls[2] = !OptionsKnow(&options, "wd");
	values[3] = Float8GetDatum(options.lr_max);
	nulls[3] = !OptionsKnow(&options, "lr_max");
	values[4] = Int32GetDatum(options.n_epochs);
	values[5] = Float8GetDatum(trial->train_loss);
	nulls[5] = isnan(trial->train_loss);
	values[6] = Float8GetDatum(trial->valid_loss);
	nulls[6] = isnan(trial->valid_loss);
	values[7] = Float8GetDatum(trial->valid_sd);
	nulls[7] = isnan(trial->valid_sd);
	values[8] = IntervalFromSeconds(trial->seconds);
	AddResultRow(fcinfo, values, nulls);
}

static void
AddTrials(FunctionCallInfo fcinfo, const Search *search)
{
	qsort(search->trials, search->n_trials, sizeof(cf_trial), CompareTrials);
	if (isnan(search->trials[0].valid_loss))
		ereport(WARNING,
				(errmsg("training diverged in every trial"),
				 errhint("Lower lr_max, or give a y_range.")));
	for (uint32 i = 0; i < search->n_trials; i++)
		AddTrial(fcinfo, search, &search->trials[i], (int) i + 1);
}

Datum
collab_tune(PG_FUNCTION_ARGS)
{
	Search		search = SearchArguments(fcinfo);
	Source		source = SourceArguments(fcinfo, ARG_RATINGS);

	source.read_only = true;
	BeginRows(fcinfo);
	ReadRatings(&search, &source);
	MakeTrials(&search);
	MakeTune(&search);
	RunTune(&search);
	AddTrials(fcinfo, &search);
	JobDestroy(search.job);
	return (Datum) 0;
}
