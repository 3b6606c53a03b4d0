/*
 * fit.c
 *	  collab.fit(): a model from the rows of any query, as an aggregate.
 *
 * The transition function adds each row to the ratings of a training, the
 * final function freezes them, trains and stores.  What a set of rows gives
 * is what collab.train() gives for a table that holds them, to the bit.
 *
 * The final function uses the state up and writes tables, so it must run once
 * a group: it is declared READ_WRITE, with which the server shares no state
 * between aggregates and refuses to make it a window function.
 *
 * All groups that are there at once (the planner may gather them in a hash
 * table) take their memory through one host, so that collab.max_memory holds
 * for their sum, but each in a context of its own, with which it goes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/destination.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_fit_accum);
COLLAB_FUNCTION(collab_fit_final);

/* Arguments of the transition function; those of fit() follow the state. */
enum
{
	ARG_STATE,
	ARG_MODEL,
	ARG_USER,
	ARG_ITEM,
	ARG_RATING,
	ARG_OPTIONS					/* of one of the two aggregates */
};

#define REPLACE_HINT	"Give the option {\"replace\": true} to train its next generation."

/* What all groups of a query have in common. */
typedef struct Fitting
{
	cf_host    *host;
	Source		source;			/* types and names of the arguments */
} Fitting;

/* The state of a group. */
typedef struct FitGroup
{
	cf_host    *host;
	TrainingJob *job;			/* NULL once it has trained */
	RatingsBuilder ratings;
	char	   *model;			/* its name, as given */
	Jsonb	   *options;		/* as given; NULL where there is no such argument */
	bool		replace;
	Size		used;			/* bytes of the host's that are the group's */
	MemoryContextCallback gone;
} FitGroup;

/* Errors tell which of many models they are about. */
static void
NameModel(void *model)
{
	errcontext("fit of model \"%s\"", (const char *) model);
}

static void
PushModelName(ErrorContextCallback *callback, char *model)
{
	callback->callback = NameModel;
	callback->arg = model;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
PopModelName(const ErrorContextCallback *callback)
{
	error_context_stack = callback->previous;
}

static KeyType
KeyTypeOfFit(const Aggref *aggregate, int argument, const char *name)
{
	/* the state is no argument of the aggregate's */
	TargetEntry *entry = list_nth_node(TargetEntry, aggregate->args, argument - 1);
	Node	   *value = (Node *) entry->expr;

	return KeyTypeOfArgument(name, exprType(value), exprTypmod(value), exprCollation(value));
}

/* A model remembers what its source's columns are called: as those of train(). */
static Fitting *
FittingOf(FunctionCallInfo fcinfo)
{
	Fitting    *fitting = fcinfo->flinfo->fn_extra;
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	const Aggref *aggregate;

	if (fitting != NULL)
		return fitting;
	PreventCommandIfReadOnly("collab.fit()");
	PreventCommandIfParallelMode("collab.fit()");
	aggregate = AggGetAggref(fcinfo);
	if (aggregate == NULL)
		elog(ERROR, "could not find the call of collab.fit()");
	fitting = MemoryContextAllocZero(context, sizeof(Fitting));
	namestrcpy(&fitting->source.user_column, "user_id");
	namestrcpy(&fitting->source.item_column, "item_id");
	namestrcpy(&fitting->source.rating_column, "rating");
	fitting->source.user_key = KeyTypeOfFit(aggregate, ARG_USER, "user_id");
	fitting->source.item_key = KeyTypeOfFit(aggregate, ARG_ITEM, "item_id");
	fitting->source.rating_type = FLOAT8OID;
	fitting->host = HostCreate(context, MaxMemory());
	fcinfo->flinfo->fn_extra = fitting;
	return fitting;
}

/* What the core takes until LeaveGroup() is the group's. */
static void
EnterGroup(FitGroup *group)
{
	group->host->context = group->job->context;
	group->used -= group->host->used;
}

static void
LeaveGroup(FitGroup *group)
{
	group->used += group->host->used;
}

/* The group's memory is given back, by its end or because nobody wants it. */
static void
ForgetGroup(void *argument)
{
	FitGroup   *group = argument;

	group->host->used -= group->used;
}

/* The key "replace", which is no option of the model, taken out of the options. */
static bool
TakeReplace(Jsonb **options)
{
	static const char name[] = "replace";
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(*options) ||
		getKeyJsonValueFromContainer(&(*options)->root, name, strlen(name), &value) == NULL)
		return false;
	if (value.type != jbvBool)
		ereport(ERROR,
				(errcode(value.type == jbvNull ? ERRCODE_NULL_VALUE_NOT_ALLOWED :
						 ERRCODE_INVALID_PARAMETER_VALUE),
				 value.type == jbvNull ? errmsg("%s must not be NULL", name) :
				 errmsg("option \"%s\" must be a boolean", name)));
	*options = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(*options),
												  CStringGetTextDatum(name)));
	return value.val.boolean;
}

static TrainOptions
OptionsOfFit(FunctionCallInfo fcinfo, bool *replace)
{
	TrainOptions options = OptionsDefault();

	*replace = false;
	if (PG_NARGS() > ARG_OPTIONS)
	{
		Jsonb	   *given = PG_GETARG_JSONB_P(ARG_OPTIONS);

		*replace = TakeReplace(&given);
		OptionsFromJsonb(&options, given);
	}
	OptionsCheck(&options);
	return options;
}

/* Its memory stands under that of the aggregate. */
static FitGroup *
BeginGroup(FunctionCallInfo fcinfo, const Fitting *fitting, MemoryContext aggregate)
{
	MemoryContext previous = MemoryContextSwitchTo(aggregate);
	FitGroup   *group = palloc0(sizeof(FitGroup));
	TrainOptions options = OptionsOfFit(fcinfo, &group->replace);
	NewModelName name;

	group->host = fitting->host;
	group->model = text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODEL));
	if (PG_NARGS() > ARG_OPTIONS)
		group->options = PG_GETARG_JSONB_P_COPY(ARG_OPTIONS);
	name = ModelParseName(group->model);
	DestinationCheck(&name, group->replace, REPLACE_HINT);
	group->job = JobCreate(&fitting->source, &options, false);
	group->job->host = group->host;
	MemoryContextSwitchTo(previous);

	group->gone.func = ForgetGroup;
	group->gone.arg = group;
	MemoryContextRegisterResetCallback(group->job->context, &group->gone);
	EnterGroup(group);
	HostCheck(group->host, cf_ratings_create(group->host, fitting->source.user_key.kind,
											 fitting->source.item_key.kind,
											 &group->job->ratings));
	LeaveGroup(group);
	group->ratings.host = group->host;
	group->ratings.ratings = group->job->ratings;
	return group;
}

static void
CheckSameModel(const FitGroup *group, const text *model)
{
	size_t		length = VARSIZE_ANY_EXHDR(model);

	if (strlen(group->model) == length &&
		memcmp(group->model, VARDATA_ANY(model), length) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the name of the model varies within a group: \"%s\" and \"%s\"",
					group->model, text_to_cstring(model)),
			 errhint("Group by the name: each group trains one model.")));
}

static void
CheckSameOptions(const FitGroup *group, Jsonb *options)
{
	if (VARSIZE(options) == VARSIZE(group->options) &&
		memcmp(options, group->options, VARSIZE(options)) == 0)
		return;
	if (compareJsonbContainers(&options->root, &group->options->root) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("options vary within a group"),
			 errdetail("They are %s and %s.",
					   JsonbToCString(NULL, &group->options->root, VARSIZE(group->options)),
					   JsonbToCString(NULL, &options->root, VARSIZE(options))),
			 errhint("Group by the options: each group trains one model.")));
}

static void
AddRow(FunctionCallInfo fcinfo, const Fitting *fitting, FitGroup *group)
{
	Datum		values[SOURCE_COLUMNS];
	bool		nulls[SOURCE_COLUMNS];

	for (int i = 0; i < SOURCE_COLUMNS; i++)
	{
		values[i] = PG_GETARG_DATUM(ARG_USER + i);
		nulls[i] = PG_ARGISNULL(ARG_USER + i);
	}
	EnterGroup(group);
	SourceRow(&fitting->source, SOURCE_RATINGS, values, nulls, AddRating, &group->ratings);
	LeaveGroup(group);
}

/* The context of an aggregate's states, where it is called as one. */
static MemoryContext
AggregateContext(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (AggCheckCallContext(fcinfo, &context) != AGG_CONTEXT_AGGREGATE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("collab.fit() can only be called as an aggregate")));
	return context;
}

Datum
collab_fit_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = AggregateContext(fcinfo);
	Fitting    *fitting = FittingOf(fcinfo);
	FitGroup   *group = PG_ARGISNULL(ARG_STATE) ? NULL : (FitGroup *) PG_GETARG_POINTER(ARG_STATE);
	ErrorContextCallback named;

	CHECK_FOR_INTERRUPTS();
	RequireArgument(fcinfo, ARG_MODEL, "model");
	if (PG_NARGS() > ARG_OPTIONS)
		RequireArgument(fcinfo, ARG_OPTIONS, "options");
	if (group == NULL)
		group = BeginGroup(fcinfo, fitting, context);
	else
	{
		CheckSameModel(group, PG_GETARG_TEXT_PP(ARG_MODEL));
		if (group->options != NULL)
			CheckSameOptions(group, PG_GETARG_JSONB_P(ARG_OPTIONS));
	}
	PushModelName(&named, group->model);
	AddRow(fcinfo, fitting, group);
	PopModelName(&named);
	PG_RETURN_POINTER(group);
}

/* Train and store; returns the row of the head, in the caller's memory. */
static Datum
TrainGroup(FitGroup *group)
{
	MemoryContext caller = CurrentMemoryContext;
	TrainingJob *job = group->job;
	NewModelName name;
	Destination destination;
	Datum		result;

	SPI_connect();
	name = ModelParseName(group->model);
	destination = DestinationOpen(job, &name, group->replace, REPLACE_HINT);
	JobUseRatings(job, group->ratings.skipped);
	DestinationTrain(&destination, job, NULL, NULL);
	MemoryContextSwitchTo(caller);
	result = HeadRowDatum(&job->row);
	SPI_finish();
	return result;
}

Datum
collab_fit_final(PG_FUNCTION_ARGS)
{
	FitGroup   *group;
	ErrorContextCallback named;
	Datum		result;

	(void) AggregateContext(fcinfo);
	if (PG_ARGISNULL(ARG_STATE))
		PG_RETURN_NULL();		/* no rows, no model */
	group = (FitGroup *) PG_GETARG_POINTER(ARG_STATE);
	if (group->job == NULL)
		elog(ERROR, "a state of collab.fit() was to be finished twice");

	PushModelName(&named, group->model);
	EnterGroup(group);
	result = TrainGroup(group);
	LeaveGroup(group);
	JobDestroy(group->job);
	group->job = NULL;
	PopModelName(&named);
	PG_RETURN_DATUM(result);
}
