/*
 * retrain.c
 *	  collab.retrain(): the next generation of a model.
 *
 * Called on its own, as CALL by a client or by pg_cron, it commits after it
 * has entered itself in the head and after each epoch, so that others see
 * the losses grow, and holds no snapshot while it computes.  The last
 * transaction writes the embeddings and finishes the head's row at once:
 * readers see the old generation, then the new one, and never a mixture.
 * Within a transaction block or a function it does all of it in that
 * transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/relation_scan.h"
#include "server/training.h"

COLLAB_FUNCTION(collab_retrain);

enum
{
	ARG_MODEL,
	ARG_WARM_START,
	ARG_NOWAIT,
	ARG_RATINGS,
	ARG_OPTIONS
};

typedef struct Retraining
{
	TrainingJob *job;
	Oid			head;
	Oid			users;			/* as they were when it began */
	Oid			items;
	bool		atomic;			/* the caller's transaction; no commits */
} Retraining;

/*
 * Open the tables under a fresh snapshot, with all checks, in each
 * transaction anew: between two of them anything may have been altered.
 */
static void
OpenTables(Retraining *run, ModelTables *tables, HeadRow *current)
{
	PushFreshSnapshot();
	(void) ModelOpenForWrite(run->head, tables, current);
	if (run->job == NULL)
		return;
	JobRequireKeyTypes(run->job, tables);
	if (run->job->training != NULL)
		JobRequireKeysFit(run->job, tables);
	if (RelationGetRelid(tables->users.relation) != run->users ||
		RelationGetRelid(tables->items.relation) != run->items)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tables of model \"%s\" were changed while it was being trained",
						RelationGetRelationName(tables->head))));
}

static void
CloseTables(ModelTables *tables)
{
	ModelClose(tables);
	PopActiveSnapshot();
}

static void
Commit(const Retraining *run)
{
	if (!run->atomic)
		SPI_commit();
}

/* The source that the head row names, or another that was asked for. */
static Source
FindSource(FunctionCallInfo fcinfo, const HeadRow *current, const char *model)
{
	ModelSource remembered = SourceRemembered(current, CurrentMemoryContext);
	Source		source;

	if (current->nulls[HEAD_USER_COLUMN] || current->nulls[HEAD_ITEM_COLUMN] ||
		current->nulls[HEAD_RATING_COLUMN])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" does not name the columns of its ratings", model)));
	SourceOpenRemembered(&source, &remembered,
						 PG_ARGISNULL(ARG_RATINGS) ? InvalidOid : PG_GETARG_OID(ARG_RATINGS),
						 model, "Give one with ratings => 'the_relation'.");
	return source;
}

/* Options as they were given to the training before, under those given now. */
static TrainOptions
FindOptions(FunctionCallInfo fcinfo, const HeadRow *current, const char *model)
{
	TrainOptions options;

	if (current->nulls[HEAD_OPTIONS])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" does not hold its options", model),
				 errhint("Train the model again with collab.train(..., replace => true).")));
	options = OptionsStored(DatumGetJsonbP(current->values[HEAD_OPTIONS]));
	OptionsOverride(&options, PG_GETARG_JSONB_P(ARG_OPTIONS));
	OptionsCheck(&options);
	return options;
}

/* First transaction: check everything, and enter the training in the head. */
static void
Enter(Retraining *run, FunctionCallInfo fcinfo)
{
	ModelTables tables;
	HeadRow		current;
	Source		source;
	TrainOptions options;
	const char *model;

	OpenTables(run, &tables, &current);
	model = RelationGetRelationName(tables.head);
	options = FindOptions(fcinfo, &current, model);
	source = FindSource(fcinfo, &current, model);
	run->users = RelationGetRelid(tables.users.relation);
	run->items = RelationGetRelid(tables.items.relation);
	run->job = JobCreate(&source, &options, PG_GETARG_BOOL(ARG_WARM_START));
	JobRequireKeyTypes(run->job, &tables);
	JobRequireWarmStart(run->job, &current);
	JobEnterHead(run->job, tables.head, run->users, run->items);
	CloseTables(&tables);
	Commit(run);
}

/* Second: read the ratings, and the present embeddings for a warm start. */
static void
Read(Retraining *run)
{
	ModelTables tables;
	HeadRow		current;

	OpenTables(run, &tables, &current);
	JobRead(run->job);
	JobRequireKeysFit(run->job, &tables);
	JobBegin(run->job, &tables, &current);
	if (!run->atomic)
		JobShowProgress(run->job, tables.head);
	CloseTables(&tables);
	Commit(run);
}

/* One an epoch: the losses so far, for others to see.  Leaves no memory taken. */
static void
ShowProgress(Retraining *run)
{
	MemoryContext step;
	MemoryContext previous;
	ModelTables tables;
	HeadRow		current;

	if (run->atomic)
		return;
	step = AllocSetContextCreate(CurrentMemoryContext, "collab epoch", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(step);
	OpenTables(run, &tables, &current);
	JobShowProgress(run->job, tables.head);
	CloseTables(&tables);
	Commit(run);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(step);
}

/* The last: embeddings and finished row together. */
static void
Store(Retraining *run)
{
	ModelTables tables;
	HeadRow		current;

	OpenTables(run, &tables, &current);
	JobStore(run->job, &tables, false);
	CloseTables(&tables);
	Commit(run);
	JobStored(run->job);
}

static void
Retrain(Retraining *run, FunctionCallInfo fcinfo)
{
	cf_epoch	report;

	Enter(run, fcinfo);
	Read(run);
	while (JobEpoch(run->job, &report))
		ShowProgress(run);
	Store(run);
}

Datum
collab_retrain(PG_FUNCTION_ARGS)
{
	bool		called = fcinfo->context != NULL && IsA(fcinfo->context, CallContext);
	Retraining	run = {0};
	MemoryContext work;

	RequireArgument(fcinfo, ARG_MODEL, "model");
	RequireArgument(fcinfo, ARG_WARM_START, "warm_start");
	RequireArgument(fcinfo, ARG_NOWAIT, "nowait");
	RequireArgument(fcinfo, ARG_OPTIONS, "options");
	PreventCommandIfReadOnly("collab.retrain()");
	run.head = PG_GETARG_OID(ARG_MODEL);
	/* a subtransaction that fails would not give the session's lock back */
	run.atomic = !called || castNode(CallContext, fcinfo->context)->atomic || IsSubTransaction();

	/* transactions come and go, the portal stays; in one, a rollback takes all */
	work = AllocSetContextCreate(run.atomic ? CurTransactionContext : PortalContext,
								 "collab retrain", ALLOCSET_DEFAULT_SIZES);
	SPI_connect_ext(run.atomic ? 0 : SPI_OPT_NONATOMIC);
	MemoryContextSwitchTo(work);

	ModelLock(run.head, !run.atomic, PG_GETARG_BOOL(ARG_NOWAIT));
	Commit(&run);				/* a snapshot from before the wait may be too old */
	Retrain(&run, fcinfo);
	if (!run.atomic)
		ModelUnlock(run.head);

	SPI_finish();
	MemoryContextDelete(work);
	PG_RETURN_VOID();
}
