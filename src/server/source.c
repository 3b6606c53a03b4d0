/*
 * source.c
 *	  Reading a ratings relation into the core's ratings.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/syscache.h"

#include "server/compat.h"
#include "server/host.h"
#include "server/relation_scan.h"
#include "server/source.h"

/*
 * Rows whose ids are looked up together, and the bytes of their ids if they
 * are strings: more would fall out of the processor's first cache.
 */
#define BATCH_ROWS		256
#define BATCH_BYTES		(16 * 1024)

/* How far statistics must be beyond a limit to be believed. */
#define ESTIMATE_FACTOR	2

StaticAssertDecl(BATCH_BYTES >= 2 * MAX_KEY_BYTES, "a batch must hold both ids of a row");

/* Where the executor delivers the rows: each is consumed where it lies. */
typedef struct SourceReceiver
{
	DestReceiver pub;
	const Source *source;
	SourceUse	use;
	RatingConsumer consume;
	void	   *context;
	MemoryContext per_row;		/* what reading a compressed id leaves */
} SourceReceiver;

/* Ratings on their way to the builder. */
typedef struct RatingsBatch
{
	RatingsBuilder builder;
	size_t		n;
	size_t		n_bytes;
	cf_key		users[BATCH_ROWS];
	cf_key		items[BATCH_ROWS];
	float4		values[BATCH_ROWS];
	char		bytes[BATCH_BYTES];
} RatingsBatch;

/* Type, typmod and collation of a column; an error where there is none. */
static void
LookUpColumn(const Source *source, const char *column, Oid *type, int32 *typmod, Oid *collation)
{
	HeapTuple	tuple = SearchSysCacheAttName(source->relid, column);
	Form_pg_attribute attribute;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, get_rel_name(source->relid)),
				 errhint("The columns are those that collab.train() is given as user_column, item_column and rating_column.")));
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	*type = attribute->atttypid;
	*typmod = attribute->atttypmod;
	*collation = attribute->attcollation;
	ReleaseSysCache(tuple);
}

static bool
IsNumeric(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID;
}

static void
CheckRelationKind(Oid relid)
{
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
			return;
		case '\0':
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation with OID %u does not exist", relid)));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table or view", get_rel_name(relid))));
	}
}

void
SourceOpen(Source *source, Oid relid, const char *user_column, const char *item_column,
		   const char *rating_column)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	CheckRelationKind(relid);
	source->relid = relid;
	source->read_only = false;
	source->name = QualifiedName(relid);
	namestrcpy(&source->user_column, user_column);
	namestrcpy(&source->item_column, item_column);
	namestrcpy(&source->rating_column, rating_column);

	LookUpColumn(source, user_column, &type, &typmod, &collation);
	source->user_key = KeyTypeOfColumn(user_column, type, typmod, collation);
	LookUpColumn(source, item_column, &type, &typmod, &collation);
	source->item_key = KeyTypeOfColumn(item_column, type, typmod, collation);
	LookUpColumn(source, rating_column, &type, &typmod, &collation);
	source->rating_type = getBaseType(type);
	if (!IsNumeric(source->rating_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("rating column \"%s\" must be numeric, not %s",
						rating_column, format_type_be(type))));
}

static char *
SourceQuery(const Source *source)
{
	return psprintf("SELECT r.%s, r.%s, r.%s%s FROM %s r",
					pstrdup(quote_identifier(NameStr(source->user_column))),
					pstrdup(quote_identifier(NameStr(source->item_column))),
					pstrdup(quote_identifier(NameStr(source->rating_column))),
					source->rating_type == NUMERICOID ? "::pg_catalog.float8" : "",
					source->name);
}

static inline float8
RatingFromDatum(Oid type, Datum value)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (float8) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		default:				/* float8, and numeric after its cast */
			return DatumGetFloat8(value);
	}
}

static void
BadRating(const Source *source, cf_key user, cf_key item, float8 rating)
{
	bool		finite = isfinite(rating);

	ereport(ERROR,
			(errcode(finite ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE : ERRCODE_DATA_EXCEPTION),
			 errmsg(finite ? "rating of item %s by user %s is out of range for type real" :
					"rating of item %s by user %s is not a finite number",
					KeyToString(&source->item_key, item),
					KeyToString(&source->user_key, user))));
}

static inline void
CheckRating(const Source *source, cf_key user, cf_key item, float8 rating)
{
	if (!(fabs(rating) <= FLT_MAX))	/* also where it is no number */
		BadRating(source, user, item, rating);
}

/* A column as messages name it. */
static const char *
Place(const Source *source, const NameData *column)
{
	if (source->name == NULL)
		return psprintf("argument \"%s\"", NameStr(*column));
	return psprintf("column \"%s\" of %s", NameStr(*column), source->name);
}

/* An id is NULL; the rating's other id tells where. */
static void
NullId(const Source *source, const Datum *values, const bool *nulls)
{
	bool		no_user = nulls[SOURCE_USER];
	const char *other = "NULL";

	if (no_user && !nulls[SOURCE_ITEM])
		other = KeyToString(&source->item_key,
							KeyFromDatum(source->item_key.type, values[SOURCE_ITEM]));
	else if (!no_user)
		other = KeyToString(&source->user_key,
							KeyFromDatum(source->user_key.type, values[SOURCE_USER]));
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s is NULL",
					Place(source, no_user ? &source->user_column : &source->item_column)),
			 errdetail("It is so in a rating whose %s is %s.", no_user ? "item" : "user", other),
			 source->name != NULL ?
			 errhint("Train from a view that leaves such rows out.") :
			 errhint("Leave such rows out with FILTER or WHERE.")));
}

static void
KeyTooLong(const Source *source, const NameData *column, cf_key key)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("an id in %s has %u bytes", Place(source, column), key.length),
			 errdetail("A text id can have at most %d bytes.", MAX_KEY_BYTES)));
}

static inline void
CheckKeyLength(const Source *source, const NameData *column, cf_key key)
{
	if (key.length > MAX_KEY_BYTES)
		KeyTooLong(source, column, key);
}

/* What SourceRow() does, once for it and once for each row of a relation. */
static inline void
ConsumeRow(const Source *source, SourceUse use, const Datum *values, const bool *nulls,
		   RatingConsumer consume, void *context)
{
	bool		rated = !nulls[SOURCE_RATING];
	float8		rating = 0;
	cf_key		user;
	cf_key		item;

	if (nulls[SOURCE_USER] || nulls[SOURCE_ITEM])
	{
		if (use == SOURCE_RATINGS)
			NullId(source, values, nulls);
		return;
	}
	user = KeyFromDatum(source->user_key.type, values[SOURCE_USER]);
	item = KeyFromDatum(source->item_key.type, values[SOURCE_ITEM]);
	CheckKeyLength(source, &source->user_column, user);
	CheckKeyLength(source, &source->item_column, item);
	if (rated && use == SOURCE_RATINGS)
	{
		rating = RatingFromDatum(source->rating_type, values[SOURCE_RATING]);
		CheckRating(source, user, item, rating);
	}
	consume(context, user, item, (float4) rating, rated);
}

void
SourceRow(const Source *source, SourceUse use, const Datum *values, const bool *nulls,
		  RatingConsumer consume, void *context)
{
	ConsumeRow(source, use, values, nulls, consume, context);
}

/*
 * The relation was looked up without a lock, so what the cursor returns is
 * compared with what is expected: a Datum must never be read as another type.
 */
static void
CheckColumns(const Source *source, TupleDesc desc)
{
	Oid			rating = source->rating_type == NUMERICOID ? FLOAT8OID : source->rating_type;
	const Oid	types[SOURCE_COLUMNS] = {source->user_key.type, source->item_key.type, rating};

	for (int i = 0; i < SOURCE_COLUMNS; i++)
		if (getBaseType(TupleDescAttr(desc, i)->atttypid) != types[i])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of %s was altered while it was being trained on",
							NameStr(*(i == SOURCE_USER ? &source->user_column :
									  i == SOURCE_ITEM ? &source->item_column :
									  &source->rating_column)), source->name)));
}

static void
StartReceiver(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
ReceiveRow(TupleTableSlot *slot, DestReceiver *self)
{
	SourceReceiver *receiver = (SourceReceiver *) self;
	MemoryContext previous = MemoryContextSwitchTo(receiver->per_row);

	slot_getallattrs(slot);
	ConsumeRow(receiver->source, receiver->use, slot->tts_values, slot->tts_isnull,
			   receiver->consume, receiver->context);
	MemoryContextSwitchTo(previous);
	if (!receiver->per_row->isReset)
		MemoryContextReset(receiver->per_row);
	return true;
}

static void
EndReceiver(DestReceiver *self)
{
}

/*
 * The rows go straight from the executor to the consumer: a fetch would copy
 * each of them, for it to be taken apart again.
 */
static void
ScanInto(SourceReceiver *receiver)
{
	const Source *source = receiver->source;
	Portal		portal;

	receiver->per_row = AllocSetContextCreate(CurrentMemoryContext, "collab rating",
											  ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open_with_args(NULL, SourceQuery(source), 0, NULL, NULL,
									   NULL, source->read_only, 0);
	CheckColumns(source, portal->tupDesc);
	(void) PortalRunFetch(portal, FETCH_FORWARD, FETCH_ALL, &receiver->pub);
	SPI_cursor_close(portal);
	MemoryContextDelete(receiver->per_row);
}

static SourceReceiver
MakeReceiver(const Source *source, SourceUse use, RatingConsumer consume, void *context)
{
	SourceReceiver receiver = {
		.pub = {.receiveSlot = ReceiveRow, .rStartup = StartReceiver, .rShutdown = EndReceiver,
		.rDestroy = EndReceiver, .mydest = DestNone},
		.source = source,
		.use = use,
		.consume = consume,
		.context = context
	};

	return receiver;
}

void
SourceScan(const Source *source, SourceUse use, RatingConsumer consume, void *context)
{
	SourceReceiver receiver = MakeReceiver(source, use, consume, context);

	ScanInto(&receiver);
}

/* The ratings that statistics say a table has, of which the reader sees all; else 0. */
static double
EstimatedRows(Oid relid)
{
	Relation	relation = try_relation_open(relid, AccessShareLock);
	double		rows = 0;

	if (relation == NULL)
		return 0;
	if (relation->rd_rel->reltuples > 0 && !ScanIsFiltered(relation))
		rows = relation->rd_rel->reltuples;
	relation_close(relation, AccessShareLock);
	return rows;
}

void
SourceRequireMemory(const Source *source, const cf_host *host)
{
	double		rows = EstimatedRows(source->relid);
	double		needed = rows * sizeof(cf_rating);

	if (needed <= (double) host->limit * ESTIMATE_FACTOR)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("more memory is needed than collab.max_memory allows"),
			 errdetail("Relation %s has about %.0f ratings, for which %.0f MB are needed, and %zu MB are allowed.",
					   source->name, rows, ceil(needed / (1024 * 1024)), host->limit / (1024 * 1024)),
			 errhint("Raise collab.max_memory, or run ANALYZE if the relation is smaller.")));
}

/* One that is not rated: its ids are made known all the same. */
static void
SkipRating(RatingsBuilder *builder, cf_key user, cf_key item)
{
	uint32_t	row;

	HostCheck(builder->host, cf_dict_add(builder->ratings->users, user, &row));
	HostCheck(builder->host, cf_dict_add(builder->ratings->items, item, &row));
	builder->skipped++;
}

void
AddRating(void *context, cf_key user, cf_key item, float4 rating, bool rated)
{
	RatingsBuilder *builder = context;

	if (rated)
		HostCheck(builder->host, cf_ratings_add(builder->ratings, user, item, rating));
	else
		SkipRating(builder, user, item);
}

static void
FlushBatch(RatingsBatch *batch)
{
	HostCheck(batch->builder.host,
			  cf_ratings_add_many(batch->builder.ratings, batch->users, batch->items,
								  batch->values, batch->n));
	batch->n = 0;
	batch->n_bytes = 0;
}

/* The key, with its bytes where they stay until the batch is flushed. */
static inline cf_key
KeepKey(RatingsBatch *batch, cf_key key)
{
	if (key.length > 0)
	{
		key.bytes = memcpy(batch->bytes + batch->n_bytes, key.bytes, key.length);
		batch->n_bytes += key.length;
	}
	return key;
}

static void
BatchRating(void *context, cf_key user, cf_key item, float4 rating, bool rated)
{
	RatingsBatch *batch = context;

	if (!rated)
	{
		SkipRating(&batch->builder, user, item);
		return;
	}
	if (batch->n == BATCH_ROWS ||
		batch->n_bytes + user.length + item.length > BATCH_BYTES)
		FlushBatch(batch);
	batch->users[batch->n] = KeepKey(batch, user);
	batch->items[batch->n] = KeepKey(batch, item);
	batch->values[batch->n++] = rating;
}

/* The row of a receiver for BatchRating, by the shortest way where the ids are integers. */
static bool
ReceiveIntegers(TupleTableSlot *slot, DestReceiver *self)
{
	SourceReceiver *receiver = (SourceReceiver *) self;
	const Source *source = receiver->source;
	RatingsBatch *batch = receiver->context;
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;
	float8		rating;

	slot_getallattrs(slot);
	if (nulls[SOURCE_USER] || nulls[SOURCE_ITEM] || nulls[SOURCE_RATING])
	{
		ConsumeRow(source, receiver->use, values, nulls, receiver->consume, receiver->context);
		return true;
	}
	if (batch->n == BATCH_ROWS)
		FlushBatch(batch);
	batch->users[batch->n].number = IntegerFromDatum(source->user_key.type, values[SOURCE_USER]);
	batch->items[batch->n].number = IntegerFromDatum(source->item_key.type, values[SOURCE_ITEM]);
	rating = RatingFromDatum(source->rating_type, values[SOURCE_RATING]);
	CheckRating(source, batch->users[batch->n], batch->items[batch->n], rating);
	batch->values[batch->n++] = (float4) rating;
	return true;
}

uint64
SourceRead(const Source *source, cf_host *host, cf_ratings *ratings)
{
	RatingsBatch *batch = palloc0(sizeof(RatingsBatch));
	SourceReceiver receiver = MakeReceiver(source, SOURCE_RATINGS, BatchRating, batch);
	uint64		skipped;

	batch->builder = (RatingsBuilder) {.host = host, .ratings = ratings};
	if (source->user_key.kind == CF_KEY_INTEGER && source->item_key.kind == CF_KEY_INTEGER)
		receiver.pub.receiveSlot = ReceiveIntegers;
	ScanInto(&receiver);
	FlushBatch(batch);
	skipped = batch->builder.skipped;
	pfree(batch);
	return skipped;
}

ModelSource
SourceRemembered(const HeadRow *row, MemoryContext context)
{
	static const HeadColumn columns[] = {HEAD_USER_COLUMN, HEAD_ITEM_COLUMN, HEAD_RATING_COLUMN};
	ModelSource source = {.name = NULL};
	NameData   *names[] = {&source.user_column, &source.item_column, &source.rating_column};
	MemoryContext previous = MemoryContextSwitchTo(context);

	for (int i = 0; i < (int) lengthof(columns); i++)
		if (!row->nulls[columns[i]])
			*names[i] = *DatumGetName(row->values[columns[i]]);
	if (!row->nulls[HEAD_SOURCE])
		source.name = TextDatumGetCString(row->values[HEAD_SOURCE]);
	if (!row->nulls[HEAD_OPTIONS])
		source.options = DatumGetJsonbPCopy(row->values[HEAD_OPTIONS]);
	MemoryContextSwitchTo(previous);
	return source;
}

Oid
SourceFind(const ModelSource *remembered)
{
	if (remembered->name == NULL)
		return InvalidOid;
	return RangeVarGetRelid(makeRangeVarFromNameList(QualifiedNameList(remembered->name)),
							NoLock, true);
}

void
SourceOpenRemembered(Source *source, const ModelSource *remembered, Oid instead,
					 const char *model, const char *hint)
{
	Oid			relid = OidIsValid(instead) ? instead : SourceFind(remembered);

	if (!OidIsValid(relid) && remembered->name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("model \"%s\" was not trained on a table", model),
				 errhint("%s", hint)));
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %s that model \"%s\" was trained on does not exist",
						remembered->name, model),
				 errhint("%s", hint)));
	SourceOpen(source, relid,
			   NameStr(remembered->user_column), NameStr(remembered->item_column),
			   NameStr(remembered->rating_column));
}

static bool
IsTrusted(Oid owner)
{
	Oid			caller = GetUserId();

	return owner == caller || superuser_arg(owner) ||
		(!superuser() && has_privs_of_role(caller, owner));
}

void
SourceRequireTrusted(const Source *source, const char *hint)
{
	Relation	relation = table_open(source->relid, AccessShareLock);
	bool		trusted = relation->rd_rel->relkind != RELKIND_VIEW ||
		IsTrusted(relation->rd_rel->relowner);

	table_close(relation, NoLock);
	if (!trusted)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s is a view of another role", source->name),
				 errdetail("What is in it would run with your rights."),
				 errhint("%s", hint)));
	/* it was looked up by name before it was locked */
	if (strcmp(QualifiedName(source->relid), source->name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %s was renamed", source->name)));
}
