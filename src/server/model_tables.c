/*
 * model_tables.c
 *	  The three tables of a model: names, checks, creation, locks.
 *
 * Nothing here trusts a model: a head can be altered, copied or pointed at
 * tables of somebody else by whoever owns it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

#include "server/compat.h"
#include "server/model_tables.h"
#include "server/relation_scan.h"

#define USERS_SUFFIX	"_users"
#define ITEMS_SUFFIX	"_items"

/* What leaves room for the suffixes in a name. */
#define MAX_MODEL_NAME	(NAMEDATALEN - (int) sizeof(USERS_SUFFIX))

const char *
SideName(Side side)
{
	return side == USERS ? "user" : "item";
}

const char *
SideKeyColumn(Side side)
{
	return side == USERS ? "user_id" : "item_id";
}

/* The embedding table of a side, as the head row names it. */
static Oid
SideTable(const HeadRow *row, Side side)
{
	return HeadOid(row, side == USERS ? HEAD_USERS : HEAD_ITEMS);
}

static void
CheckSelect(Relation relation)
{
	AclResult	result = pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), ACL_SELECT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, RelationGetRelationName(relation));
}

/* Code of the owner's may hide behind anything but a table. */
static bool
IsOrdinaryTable(Relation relation)
{
	return relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP;
}

static bool
HasHeadType(Relation relation)
{
	return OidIsValid(relation->rd_rel->reloftype) &&
		relation->rd_rel->reloftype == HeadTypeOid();
}

bool
ModelIsHead(Oid relid)
{
	Relation	relation = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;
	bool		result;

	if (relation == NULL)
		return false;
	result = HasHeadType(relation);
	relation_close(relation, AccessShareLock);
	return result;
}

static Relation
OpenHead(Oid head, LOCKMODE lockmode)
{
	Relation	relation = try_relation_open(head, lockmode);

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("model with OID %u does not exist", head)));
	if (!IsOrdinaryTable(relation) || !HasHeadType(relation))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a model", RelationGetRelationName(relation)),
				 errhint("The view collab.models lists the models.")));
	return relation;
}

Relation
ModelOpenHead(Oid head)
{
	Relation	relation = OpenHead(head, AccessShareLock);

	CheckSelect(relation);
	return relation;
}

static void
NotEmbeddings(Relation relation, Side side, const char *model, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" no longer holds the %s embeddings of model \"%s\"",
					RelationGetRelationName(relation), SideName(side), model),
			 errdetail("%s", detail),
			 errhint("Drop the model with collab.drop_model() and train it again.")));
}

static void
CheckColumns(EmbeddingTable *table, const char *model)
{
	static const struct
	{
		const char *name;
		Oid			type;
		const char *type_name;
	}			columns[] = {
		{NULL, InvalidOid, NULL},	/* the key, named after the side */
		{"bias", FLOAT4OID, "real"},
		{"factors", FLOAT4ARRAYOID, "real[]"},
		{"n_ratings", INT8OID, "bigint"},
	};
	Relation	relation = table->relation;
	const char *key = SideKeyColumn(table->side);
	Form_pg_attribute attribute;

	for (int i = 0; i < EMBEDDING_COLUMNS; i++)
	{
		const char *name = i == EMBEDDING_KEY ? key : columns[i].name;

		table->attnums[i] = FindColumn(relation, name, columns[i].type);
		if (table->attnums[i] == 0)
			NotEmbeddings(relation, table->side, model,
						  psprintf("It has no column \"%s\"%s%s.", name,
								   columns[i].type_name ? " of type " : "",
								   columns[i].type_name ? columns[i].type_name : ""));
	}
	table->draws = FindColumn(relation, DRAWS_COLUMN, FLOAT4ARRAYOID);
	attribute = TupleDescAttr(RelationGetDescr(relation), table->attnums[EMBEDDING_KEY] - 1);
	table->key_type = KeyTypeOfColumn(key, attribute->atttypid, attribute->atttypmod,
									  attribute->attcollation);
}

static void
OpenSide(EmbeddingTable *table, Side side, const HeadRow *row, const char *model,
		 LOCKMODE lockmode)
{
	Oid			relid = SideTable(row, side);

	table->side = side;
	table->relation = OidIsValid(relid) ? try_relation_open(relid, lockmode) : NULL;
	if (table->relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table of %s embeddings of model \"%s\" does not exist",
						SideName(side), model),
				 errhint("Drop the model with collab.drop_model() and train it again.")));
	if (!IsOrdinaryTable(table->relation))
		NotEmbeddings(table->relation, side, model, "It is not an ordinary permanent table.");
	CheckColumns(table, model);
}

void
ModelOpenSide(EmbeddingTable *table, Side side, const HeadRow *row, const char *model)
{
	OpenSide(table, side, row, model, AccessShareLock);
	CheckSelect(table->relation);
}

/*
 * The caller must own the table, and the table's owner must own the head:
 * else a head could be pointed at tables for which only the caller has rights.
 */
static void
CheckOwner(Relation relation, Relation head)
{
	const char *name = RelationGetRelationName(relation);

	if (!OwnsTable(RelationGetRelid(relation), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
	if (relation->rd_rel->relowner != head->rd_rel->relowner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" does not belong to the owner of model \"%s\"",
						name, RelationGetRelationName(head)),
				 errdetail("One role must own the head and both embedding tables.")));
}

static void
CheckWriter(Relation relation, Relation head)
{
	CheckOwner(relation, head);
	if (ScanIsFiltered(relation))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot write table \"%s\" while row-level security applies to it",
						RelationGetRelationName(relation)),
				 errhint("Train as a role that bypasses row-level security, or do not force it on the owner.")));
}

static void
CheckNotCopied(Relation head, const HeadRow *row)
{
	if (HeadOid(row, HEAD_SELF) != RelationGetRelid(head))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is a copy of another model's head", RelationGetRelationName(head)),
				 errdetail("Its embedding tables belong to the model that it was copied from."),
				 errhint("Drop the table, and train a model of that name.")));
}

bool
ModelOpenForWrite(Oid head, ModelTables *tables, HeadRow *row)
{
	const char *name;
	bool		trained;

	tables->head = OpenHead(head, RowExclusiveLock);
	name = RelationGetRelationName(tables->head);
	CheckWriter(tables->head, tables->head);

	trained = HeadReadCurrent(tables->head, row);
	if (!trained)
	{
		List	   *all = HeadReadAll(tables->head);

		if (all == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("model \"%s\" has never been trained", name),
					 errhint("Drop the model with collab.drop_model() and train it again.")));
		*row = *(HeadRow *) linitial(all);
	}
	CheckNotCopied(tables->head, row);
	OpenSide(&tables->users, USERS, row, name, RowExclusiveLock);
	CheckWriter(tables->users.relation, tables->head);
	OpenSide(&tables->items, ITEMS, row, name, RowExclusiveLock);
	CheckWriter(tables->items.relation, tables->head);
	return trained;
}

void
ModelClose(ModelTables *tables)
{
	table_close(tables->items.relation, NoLock);
	table_close(tables->users.relation, NoLock);
	table_close(tables->head, NoLock);
}

NewModelName
ModelParseName(const char *name)
{
	NewModelName result;
	RangeVar   *range = makeRangeVarFromNameList(QualifiedNameList(name));

	if (range->relname[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a model must not be empty")));
	if (strlen(range->relname) > MAX_MODEL_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("model name \"%s\" is too long", range->relname),
				 errdetail("A model's name has at most %d bytes, so that its tables' names fit.",
						   MAX_MODEL_NAME)));

	result.schema = RangeVarGetCreationNamespace(range);
	if (isAnyTempNamespace(result.schema))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a model cannot be temporary"),
				 errhint("Give the name of a permanent schema.")));
	result.head = range->relname;
	result.users = psprintf("%s" USERS_SUFFIX, range->relname);
	result.items = psprintf("%s" ITEMS_SUFFIX, range->relname);
	return result;
}

void
ModelLockName(const NewModelName *name)
{
	LOCKTAG		tag;
	uint32		hash = hash_bytes((const unsigned char *) name->head, strlen(name->head));

	/* object 0 of a schema is the schema itself, so 0 is left out */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, NamespaceRelationId, name->schema,
					   1 + hash % PG_UINT16_MAX);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}

static void
ExecuteDDL(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", command, SPI_result_code_string(result));
}

static Oid
CreateEmbeddings(Oid schema, const char *name, Side side, const KeyType *key)
{
	const char *qualified = quote_qualified_identifier(get_namespace_name(schema), name);
	const char *collation = "";

	if (OidIsValid(key->collation))
		collation = psprintf(" COLLATE %s", generate_collation_name(key->collation));
	ExecuteDDL(psprintf("CREATE TABLE %s (%s %s%s NOT NULL, "
						"bias pg_catalog.float4 NOT NULL, factors pg_catalog.float4[] NOT NULL, "
						"n_ratings pg_catalog.int8 NOT NULL) USING heap",
						qualified, SideKeyColumn(side),
						format_type_extended(key->type, key->typmod,
											 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY),
						collation));
	/* random floats do not compress */
	ExecuteDDL(psprintf("ALTER TABLE %s ALTER COLUMN factors SET STORAGE EXTERNAL", qualified));
	return get_relname_relid(name, schema);
}

static void
AddPrimaryKey(Oid table, Side side)
{
	ExecuteDDL(psprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", QualifiedName(table),
						SideKeyColumn(side)));
}

void
ModelAddKeys(Oid users, Oid items)
{
	AddPrimaryKey(users, USERS);
	AddPrimaryKey(items, ITEMS);
}

void
ModelRequireCreate(const NewModelName *name)
{
	AclResult	acl = SchemaAclCheck(name->schema, GetUserId(), ACL_CREATE);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_SCHEMA, get_namespace_name(name->schema));
}

Oid
ModelCreate(const NewModelName *name, const KeyType *user_key, const KeyType *item_key,
			Oid *users, Oid *items)
{
	const char *head = quote_qualified_identifier(get_namespace_name(name->schema), name->head);

	ModelRequireCreate(name);
	*users = CreateEmbeddings(name->schema, name->users, USERS, user_key);
	*items = CreateEmbeddings(name->schema, name->items, ITEMS, item_key);
	ExecuteDDL(psprintf("CREATE TABLE %s OF collab.model (PRIMARY KEY (generation)) USING heap",
						head));
	return get_relname_relid(name->head, name->schema);
}

void
ModelOpenDraws(EmbeddingTable *table, Side side, Oid relid, const char *model)
{
	table->side = side;
	table->relation = table_open(relid, AccessShareLock);
	CheckSelect(table->relation);
	CheckColumns(table, model);
}

static void
AddDraws(Oid table)
{
	const char *name = QualifiedName(table);

	ExecuteDDL(psprintf("ALTER TABLE %s ADD COLUMN " DRAWS_COLUMN " pg_catalog.float4[]", name));
	ExecuteDDL(psprintf("ALTER TABLE %s ALTER COLUMN " DRAWS_COLUMN " SET STORAGE EXTERNAL", name));
}

void
ModelAddDraws(ModelTables *tables)
{
	Oid			head = RelationGetRelid(tables->head);
	Oid			users = tables->users.draws == 0 ? RelationGetRelid(tables->users.relation) : InvalidOid;
	Oid			items = tables->items.draws == 0 ? RelationGetRelid(tables->items.relation) : InvalidOid;
	HeadRow		row;

	if (!OidIsValid(users) && !OidIsValid(items))
		return;
	ModelClose(tables);
	if (OidIsValid(users))
		AddDraws(users);
	if (OidIsValid(items))
		AddDraws(items);
	(void) ModelOpenForWrite(head, tables, &row);
}

/* Add a table to the list of a DROP TABLE, if it is there and is the caller's. */
static void
AppendDrop(StringInfo command, Oid relid, Relation head)
{
	Relation	relation = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;

	if (relation == NULL)
		return;
	CheckOwner(relation, head);
	appendStringInfo(command, ", %s", QualifiedName(relid));
	relation_close(relation, NoLock);
}

static Oid
FindByName(Relation head, const char *suffix)
{
	return get_relname_relid(psprintf("%s%s", RelationGetRelationName(head), suffix),
							 RelationGetNamespace(head));
}

static bool
HoldsEmbeddings(Oid relid)
{
	return get_atttype(relid, get_attnum(relid, "factors")) == FLOAT4ARRAYOID &&
		get_atttype(relid, get_attnum(relid, "n_ratings")) == INT8OID;
}

/*
 * The head tells which tables are the model's; their names or their columns
 * must bear it out, for it can be edited to point at anything.  One that has
 * no row, such as an unlogged one after a crash, leaves both to go by.
 */
static void
AppendEmbeddings(StringInfo command, Relation head, const HeadRow *row, Side side)
{
	Oid			by_name = FindByName(head, side == USERS ? USERS_SUFFIX : ITEMS_SUFFIX);
	Oid			relid = row == NULL ? by_name : SideTable(row, side);

	if (HoldsEmbeddings(relid) || (row != NULL && relid == by_name))
		AppendDrop(command, relid, head);
}

static void
AppendAllEmbeddings(StringInfo command, Relation head)
{
	List	   *rows = HeadReadAll(head);
	HeadRow    *row = rows == NIL ? NULL : linitial(rows);

	if (row != NULL)
		CheckNotCopied(head, row);
	AppendEmbeddings(command, head, row, USERS);
	AppendEmbeddings(command, head, row, ITEMS);
}

static void
TrainerLockTag(LOCKTAG *tag, Oid head)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, head, 0);
}

/* Who has the trainer's lock?  0: a prepared transaction, or it was just given back. */
static int
TrainerPid(Oid head)
{
	char	   *query = psprintf("SELECT l.pid FROM pg_catalog.pg_locks l "
								 "WHERE l.locktype OPERATOR(pg_catalog.=) 'object' "
								 "AND l.database OPERATOR(pg_catalog.=) %u "
								 "AND l.classid OPERATOR(pg_catalog.=) %u "
								 "AND l.objid OPERATOR(pg_catalog.=) %u "
								 "AND l.granted", MyDatabaseId, RelationRelationId, head);
	int			pid = 0;
	bool		isnull;

	SPI_connect();
	if (SPI_execute(query, true, 1) == SPI_OK_SELECT && SPI_processed == 1)
		pid = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										  &isnull));
	SPI_finish();
	return pid;
}

static void
AcquireTrainerLock(Oid head, bool session, bool nowait)
{
	LOCKTAG		tag;

	TrainerLockTag(&tag, head);
	if (LockAcquire(&tag, ExclusiveLock, session, nowait) == LOCKACQUIRE_NOT_AVAIL)
	{
		int			pid = TrainerPid(head);

		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 pid != 0 ?
				 errmsg("model \"%s\" is being trained by the session with PID %d",
						get_rel_name(head), pid) :
				 errmsg("model \"%s\" is being trained by another transaction",
						get_rel_name(head))));
	}
	AcceptInvalidationMessages();
}

/*
 * Nothing stays locked for the wait that may follow, or ModelDrop would run
 * into a deadlock with those who wait.
 */
void
ModelRequireWrite(Oid head)
{
	ModelTables tables;
	HeadRow		row;

	PushFreshSnapshot();
	(void) ModelOpenForWrite(head, &tables, &row);
	table_close(tables.items.relation, RowExclusiveLock);
	table_close(tables.users.relation, RowExclusiveLock);
	table_close(tables.head, RowExclusiveLock);
	PopActiveSnapshot();
}

void
ModelLock(Oid head, bool session, bool nowait)
{
	ModelRequireWrite(head);
	AcquireTrainerLock(head, session, nowait);
}

void
ModelOpenForChange(Oid head, ModelTables *tables, HeadRow *row)
{
	ModelLock(head, false, false);
	PushFreshSnapshot();
	if (!ModelOpenForWrite(head, tables, row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has never been trained",
						RelationGetRelationName(tables->head))));
	HeadRequireLatest(tables->head);
}

void
ModelCloseChanged(ModelTables *tables)
{
	ModelClose(tables);
	PopActiveSnapshot();
}

void
ModelUnlock(Oid head)
{
	LOCKTAG		tag;

	TrainerLockTag(&tag, head);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

void
ModelDrop(Oid head)
{
	Relation	relation = OpenHead(head, AccessShareLock);
	StringInfoData command;

	/* before the wait, and without keeping others from dropping it; and after */
	CheckOwner(relation, relation);
	relation_close(relation, AccessShareLock);
	AcquireTrainerLock(head, false, false);
	relation = OpenHead(head, AccessShareLock);
	CheckOwner(relation, relation);
	initStringInfo(&command);
	appendStringInfo(&command, "DROP TABLE %s", QualifiedName(head));
	AppendAllEmbeddings(&command, relation);
	relation_close(relation, NoLock);
	ExecuteDDL(command.data);
}
