/*
 * relation_scan.c
 *	  Reading the rows of a model's tables under the active snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "server/compat.h"
#include "server/relation_scan.h"

#define ROWS_PER_FETCH	1000

typedef struct ScanTarget
{
	const AttrNumber *attnums;
	int			n;
	RowConsumer consume;
	void	   *context;
	Datum	   *values;
	bool	   *nulls;
	MemoryContext per_row;
} ScanTarget;

void
PushFreshSnapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

bool
ScanIsFiltered(Relation relation)
{
	return check_enable_rls(RelationGetRelid(relation), InvalidOid, true) == RLS_ENABLED;
}

char *
QualifiedName(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

AttrNumber
FindColumn(Relation relation, const char *name, Oid type)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return type == InvalidOid || attribute->atttypid == type ? attribute->attnum : 0;
	}
	return 0;
}

static void
TargetInit(ScanTarget *target, const AttrNumber *attnums, int n,
		   RowConsumer consume, void *context)
{
	target->attnums = attnums;
	target->n = n;
	target->consume = consume;
	target->context = context;
	target->values = palloc0(n * sizeof(Datum));
	target->nulls = palloc(n * sizeof(bool));
	target->per_row = AllocSetContextCreate(CurrentMemoryContext, "collab scan",
											ALLOCSET_DEFAULT_SIZES);
}

/* Hand values[] over; what the consumer allocates is gone with the row. */
static bool
TargetConsume(ScanTarget *target)
{
	MemoryContext previous = MemoryContextSwitchTo(target->per_row);
	bool		more = target->consume(target->context, target->values, target->nulls);

	MemoryContextSwitchTo(previous);
	MemoryContextReset(target->per_row);
	return more;
}

static bool
ConsumeSlot(ScanTarget *target, TupleTableSlot *slot)
{
	for (int i = 0; i < target->n; i++)
	{
		target->nulls[i] = true;
		if (target->attnums[i] != 0)
			target->values[i] = slot_getattr(slot, target->attnums[i], &target->nulls[i]);
	}
	return TargetConsume(target);
}

static void
ScanPlainly(Relation relation, ScanTarget *target)
{
	TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!ConsumeSlot(target, slot))
			break;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/* By an index, from its end; with "key", only the rows that have it. */
static void
ScanIndex(Relation relation, Relation index, ScanKey key, ScanTarget *target)
{
	SysScanDesc scan = systable_beginscan_ordered(relation, index, GetActiveSnapshot(),
												  key != NULL ? 1 : 0, key);
	TupleDesc	desc = RelationGetDescr(relation);
	HeapTuple	tuple;

	while ((tuple = systable_getnext_ordered(scan, BackwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < target->n; i++)
		{
			target->nulls[i] = true;
			if (target->attnums[i] != 0)
				target->values[i] = heap_getattr(tuple, target->attnums[i], desc,
												 &target->nulls[i]);
		}
		if (!TargetConsume(target))
			break;
	}
	systable_endscan_ordered(scan);
}

/* SELECT the columns FROM ONLY the relation, children being no part of a model. */
static char *
FilteredQuery(Relation relation, const ScanTarget *target)
{
	StringInfoData query;
	TupleDesc	desc = RelationGetDescr(relation);

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	for (int i = 0; i < target->n; i++)
	{
		AttrNumber	attnum = target->attnums[i];

		appendStringInfo(&query, "%s%s", i > 0 ? ", " : "", attnum == 0 ? "NULL" :
						 quote_identifier(NameStr(TupleDescAttr(desc, attnum - 1)->attname)));
	}
	appendStringInfo(&query, " FROM ONLY %s", QualifiedName(RelationGetRelid(relation)));
	return query.data;
}

static bool
ConsumeBatch(ScanTarget *target)
{
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		for (int i = 0; i < target->n; i++)
			target->values[i] = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
											  i + 1, &target->nulls[i]);
		if (!TargetConsume(target))
			return false;
	}
	return true;
}

static void
ScanFiltered(Relation relation, ScanTarget *target)
{
	Portal		portal;
	bool		more = true;

	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, FilteredQuery(relation, target),
									   0, NULL, NULL, NULL, true, 0);
	while (more)
	{
		SPI_cursor_fetch(portal, true, ROWS_PER_FETCH);
		more = SPI_processed > 0 && ConsumeBatch(target);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* The single-column primary key on this column, opened; or NULL. */
static Relation
OpenOrderingIndex(Relation relation, AttrNumber order)
{
	Oid			indexid = PrimaryKeyIndex(relation);
	Relation	index;

	if (!OidIsValid(indexid))
		return NULL;
	index = index_open(indexid, AccessShareLock);
	if (IndexRelationGetNumberOfKeyAttributes(index) == 1 &&
		index->rd_index->indkey.values[0] == order && index->rd_index->indisvalid)
		return index;
	index_close(index, AccessShareLock);
	return NULL;
}

/* The index's comparisons must be the type's own. */
static bool
MakeScanKey(ScanKey scan_key, Relation index, AttrNumber key, Oid type, Datum value)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);

	if (index->rd_rel->relam != BTREE_AM_OID || index->rd_opfamily[0] != entry->btree_opf)
		return false;
	ScanKeyEntryInitialize(scan_key, 0, key, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], get_opcode(entry->eq_opr), value);
	return true;
}

bool
ScanRelationByKey(Relation relation, AttrNumber key, Oid type, Datum value,
				  const AttrNumber *attnums, int n, RowConsumer consume, void *context)
{
	Relation	index = ScanIsFiltered(relation) ? NULL : OpenOrderingIndex(relation, key);
	ScanTarget	target;
	ScanKeyData scan_key;
	bool		usable;

	if (index == NULL)
		return false;
	usable = MakeScanKey(&scan_key, index, key, type, value);
	if (usable)
	{
		TargetInit(&target, attnums, n, consume, context);
		ScanIndex(relation, index, &scan_key, &target);
		MemoryContextDelete(target.per_row);
	}
	index_close(index, AccessShareLock);
	return usable;
}

void
ScanRelation(Relation relation, const AttrNumber *attnums, int n,
			 RowConsumer consume, void *context)
{
	ScanRelationBackward(relation, 0, attnums, n, consume, context, NULL);
}

void
ScanRelationBackward(Relation relation, AttrNumber order, const AttrNumber *attnums, int n,
					 RowConsumer consume, void *context, bool *ordered)
{
	ScanTarget	target;
	Relation	index = NULL;
	bool		filtered = ScanIsFiltered(relation);

	TargetInit(&target, attnums, n, consume, context);
	if (!filtered && order != 0)
		index = OpenOrderingIndex(relation, order);
	if (ordered != NULL)
		*ordered = index != NULL;

	if (filtered)
		ScanFiltered(relation, &target);
	else if (index == NULL)
		ScanPlainly(relation, &target);
	else
	{
		ScanIndex(relation, index, NULL, &target);
		index_close(index, AccessShareLock);
	}
	MemoryContextDelete(target.per_row);
}
