/*
 * train.c
 *	  collab.train(): a model from a ratings table, in one transaction.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/relation_scan.h"
#include "server/training.h"

COLLAB_FUNCTION(collab_train);

/* Arguments of train(), in order. */
enum
{
	ARG_MODEL,
	ARG_RATINGS,
	ARG_USER_COLUMN,
	ARG_ITEM_COLUMN,
	ARG_RATING_COLUMN,
	ARG_OPTIONS					/* as many as OptionsCount(), then "replace" */
};

static Source
SourceFromArguments(FunctionCallInfo fcinfo)
{
	Source		source;

	RequireArgument(fcinfo, ARG_RATINGS, "ratings");
	RequireArgument(fcinfo, ARG_USER_COLUMN, "user_column");
	RequireArgument(fcinfo, ARG_ITEM_COLUMN, "item_column");
	RequireArgument(fcinfo, ARG_RATING_COLUMN, "rating_column");
	SourceOpen(&source, PG_GETARG_OID(ARG_RATINGS),
			   NameStr(*PG_GETARG_NAME(ARG_USER_COLUMN)),
			   NameStr(*PG_GETARG_NAME(ARG_ITEM_COLUMN)),
			   NameStr(*PG_GETARG_NAME(ARG_RATING_COLUMN)));
	return source;
}

/* The tables' names must be free for a new model. */
static void
RequireFreeNames(const NewModelName *name)
{
	const char *const names[] = {name->head, name->users, name->items};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (OidIsValid(get_relname_relid(names[i], name->schema)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists", names[i]),
					 errdetail("A model \"%s\" consists of the tables \"%s\", \"%s\" and \"%s\".",
							   name->head, name->head, name->users, name->items),
					 i > 0 ? errhint("If it is left over from a model whose head was dropped, drop it, too.") : 0));
}

/*
 * The model's tables, made anew or, with "replace", opened as they are; the
 * training is entered in the head.  Returns whether they were made anew.
 */
static bool
PrepareTables(TrainingJob *job, const NewModelName *name, bool replace, Oid *head)
{
	HeadRow		row;
	ModelTables tables;
	Oid			users;
	Oid			items;

	*head = get_relname_relid(name->head, name->schema);
	if (!ModelIsHead(*head))
	{
		Relation	relation;

		RequireFreeNames(name);
		*head = ModelCreate(name, &job->source.user_key, &job->source.item_key, &users, &items);
		relation = table_open(*head, RowExclusiveLock);
		JobEnterHead(job, relation, users, items);
		table_close(relation, NoLock);
		return true;
	}

	if (!replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("model \"%s\" already exists", name->head),
				 errhint("Train it again with collab.retrain(), or give replace => true.")));
	ModelLock(*head, false, false);
	PushFreshSnapshot();
	ModelOpenForWrite(*head, &tables, &row);
	PopActiveSnapshot();
	JobRequireKeyTypes(job, &tables);
	JobEnterHead(job, tables.head, RelationGetRelid(tables.users.relation),
				 RelationGetRelid(tables.items.relation));
	ModelClose(&tables);
	return false;
}

static void
AddEpoch(FunctionCallInfo fcinfo, const TrainingJob *job, const cf_epoch *report)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = Int32GetDatum(job->n_done);
	values[1] = Float8GetDatum(report->train_loss);
	values[2] = Float8GetDatum(report->valid_loss);
	nulls[2] = isnan(report->valid_loss);
	values[3] = IntervalFromSeconds(job->elapsed[job->n_done - 1]);
	AddResultRow(fcinfo, values, nulls);
}

/* Before hours are spent: do the ids fit the tables that are there? */
static void
CheckKeysFit(const TrainingJob *job, Oid head)
{
	ModelTables tables;
	HeadRow		row;

	PushFreshSnapshot();
	ModelOpenForWrite(head, &tables, &row);
	JobRequireKeysFit(job, &tables);
	ModelClose(&tables);
	PopActiveSnapshot();
}

static void
Train(FunctionCallInfo fcinfo, TrainingJob *job, const NewModelName *name, bool replace)
{
	ModelTables tables;
	HeadRow		row;
	Oid			head;
	cf_epoch	report;
	bool		fresh;

	ModelLockName(name);
	fresh = PrepareTables(job, name, replace, &head);
	JobRead(job);
	if (!fresh)
		CheckKeysFit(job, head);
	JobBegin(job, NULL, NULL);
	while (JobEpoch(job, &report))
		AddEpoch(fcinfo, job, &report);

	PushFreshSnapshot();
	ModelOpenForWrite(head, &tables, &row);
	JobStore(job, &tables, fresh);
	ModelClose(&tables);
	PopActiveSnapshot();
}

Datum
collab_train(PG_FUNCTION_ARGS)
{
	int			arg_replace = ARG_OPTIONS + OptionsCount();
	TrainOptions options;
	NewModelName name;
	Source		source;
	TrainingJob *job;

	RequireArgument(fcinfo, ARG_MODEL, "model");
	RequireArgument(fcinfo, arg_replace, "replace");
	OptionsFromArguments(&options, fcinfo, ARG_OPTIONS);
	OptionsCheck(&options);
	PreventCommandIfReadOnly("collab.train()");
	PreventCommandIfParallelMode("collab.train()");
	source = SourceFromArguments(fcinfo);
	name = ModelParseName(text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODEL)));

	BeginRows(fcinfo);
	job = JobCreate(&source, &options, false);
	SPI_connect();
	Train(fcinfo, job, &name, PG_GETARG_BOOL(arg_replace));
	SPI_finish();
	JobDestroy(job);
	return (Datum) 0;
}
