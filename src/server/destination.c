/*
 * destination.c
 *	  Where the caller's own transaction trains to.
 */
#include "postgres.h"

#include "access/table.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "server/compat.h"
#include "server/destination.h"
#include "server/relation_scan.h"

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

static void
ModelExists(const NewModelName *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("model \"%s\" already exists", name->head),
			 errhint("%s", hint)));
}

void
DestinationCheck(const NewModelName *name, bool replace, const char *hint)
{
	Oid			head = get_relname_relid(name->head, name->schema);

	if (!ModelIsHead(head))
	{
		RequireFreeNames(name);
		ModelRequireCreate(name);
	}
	else if (replace)
		ModelRequireWrite(head);
	else
		ModelExists(name, hint);
}

static Oid
CreateTables(TrainingJob *job, const NewModelName *name)
{
	Oid			users;
	Oid			items;
	Oid			head;
	Relation	relation;

	RequireFreeNames(name);
	head = ModelCreate(name, &job->source.user_key, &job->source.item_key, &users, &items);
	relation = table_open(head, RowExclusiveLock);
	JobEnterHead(job, relation, users, items);
	table_close(relation, NoLock);
	return head;
}

static void
OpenTables(TrainingJob *job, Oid head)
{
	ModelTables tables;
	HeadRow		row;

	ModelLock(head, false, false);
	PushFreshSnapshot();
	ModelOpenForWrite(head, &tables, &row);
	PopActiveSnapshot();
	JobRequireKeyTypes(job, &tables);
	JobEnterHead(job, tables.head, RelationGetRelid(tables.users.relation),
				 RelationGetRelid(tables.items.relation));
	ModelClose(&tables);
}

Destination
DestinationOpen(TrainingJob *job, const NewModelName *name, bool replace, const char *hint)
{
	Destination destination;

	ModelLockName(name);
	destination.head = get_relname_relid(name->head, name->schema);
	destination.fresh = !ModelIsHead(destination.head);
	if (destination.fresh)
		destination.head = CreateTables(job, name);
	else if (replace)
		OpenTables(job, destination.head);
	else
		ModelExists(name, hint);
	return destination;
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
Store(const Destination *destination, TrainingJob *job)
{
	ModelTables tables;
	HeadRow		row;
	Oid			users;
	Oid			items;

	PushFreshSnapshot();
	ModelOpenForWrite(destination->head, &tables, &row);
	users = RelationGetRelid(tables.users.relation);
	items = RelationGetRelid(tables.items.relation);
	JobStore(job, &tables, destination->fresh);
	ModelClose(&tables);
	PopActiveSnapshot();
	if (destination->fresh)
		ModelAddKeys(users, items);
	JobStored(job);
}

void
DestinationTrain(const Destination *destination, TrainingJob *job, EpochConsumer consume,
				 void *context)
{
	cf_epoch	report;

	if (!destination->fresh)
		CheckKeysFit(job, destination->head);
	JobBegin(job, NULL, NULL);
	while (JobEpoch(job, &report))
		if (consume != NULL)
			consume(context, job, &report);

	Store(destination, job);
}
