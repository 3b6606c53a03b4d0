/*
 * models.c
 *	  collab.history(), collab.drop_model(), collab.touch(): looking after models.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/describe.h"
#include "server/embeddings.h"
#include "server/head.h"
#include "server/host.h"
#include "server/model_tables.h"
#include "server/relation_scan.h"

/* What a head can say an epoch took: a century. */
#define MAX_SECONDS	3.2e9

COLLAB_FUNCTION(collab_history);
COLLAB_FUNCTION(collab_drop_model);
COLLAB_FUNCTION(collab_touch);

static int
CompareGenerations(const ListCell *a, const ListCell *b)
{
	int64		generation_a = HeadInt64(lfirst(a), HEAD_GENERATION, 0);
	int64		generation_b = HeadInt64(lfirst(b), HEAD_GENERATION, 0);

	return generation_a < generation_b ? -1 : generation_a > generation_b;
}

static void
SetFloat8OrNull(Datum *values, bool *nulls, int column, const float8 *array, int n, int i)
{
	nulls[column] = i >= n || isnan(array[i]);
	values[column] = nulls[column] ? (Datum) 0 : Float8GetDatum(array[i]);
}

static void
AddGeneration(FunctionCallInfo fcinfo, const HeadRow *row)
{
	int			n_train;
	int			n_valid;
	int			n_elapsed;
	float8	   *train_loss = HeadFloat8Array(row, HEAD_TRAIN_LOSS, &n_train);
	float8	   *valid_loss = HeadFloat8Array(row, HEAD_VALID_LOSS, &n_valid);
	float8	   *elapsed = HeadFloat8Array(row, HEAD_ELAPSED, &n_elapsed);

	for (int epoch = 0; epoch < n_train; epoch++)
	{
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = Int64GetDatum(HeadInt64(row, HEAD_GENERATION, 0));
		values[1] = Int32GetDatum(epoch + 1);
		SetFloat8OrNull(values, nulls, 2, train_loss, n_train, epoch);
		SetFloat8OrNull(values, nulls, 3, valid_loss, n_valid, epoch);
		nulls[4] = epoch >= n_elapsed || !(fabs(elapsed[epoch]) < MAX_SECONDS);
		values[4] = nulls[4] ? (Datum) 0 : IntervalFromSeconds(elapsed[epoch]);
		nulls[5] = row->nulls[HEAD_FINISHED];
		values[5] = nulls[5] ? (Datum) 0 :
			TimestampTzGetDatum(DatumGetTimestampTz(row->values[HEAD_FINISHED]));
		AddResultRow(fcinfo, values, nulls);
	}
}

Datum
collab_history(PG_FUNCTION_ARGS)
{
	Relation	head;
	List	   *rows;
	ListCell   *cell;

	BeginRows(fcinfo);
	head = ModelOpenHead(PG_GETARG_OID(0));
	rows = HeadReadAll(head);
	list_sort(rows, CompareGenerations);
	foreach(cell, rows)
		AddGeneration(fcinfo, lfirst(cell));
	table_close(head, NoLock);
	return (Datum) 0;
}

Datum
collab_drop_model(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("collab.drop_model()");
	SPI_connect();
	PushFreshSnapshot();
	ModelDrop(PG_GETARG_OID(0));
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_VOID();
}

/* What was edited by hand must be what readers take: better told here than there. */
static void
CheckAndDescribe(HeadRow *row, const EmbeddingTable *table, const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "collab touch",
												  ALLOCSET_DEFAULT_SIZES);
	cf_host    *host = HostCreate(context, SIZE_MAX);
	cf_side		side;
	cf_dict    *dict;

	EmbeddingsRead(table, HeadFactors(row, name), host, &side, &dict);
	DescribeSide(row, table->side, &side, host);
	MemoryContextDelete(context);
}

Datum
collab_touch(PG_FUNCTION_ARGS)
{
	ModelTables tables;
	HeadRow		row;
	const char *name;

	PreventCommandIfReadOnly("collab.touch()");
	SPI_connect();
	ModelOpenForChange(PG_GETARG_OID(0), &tables, &row);
	name = RelationGetRelationName(tables.head);
	CheckAndDescribe(&row, &tables.users, name);
	CheckAndDescribe(&row, &tables.items, name);
	HeadSet(&row, HEAD_STAMP, Int64GetDatum(HeadNewStamp()));
	HeadUpdate(tables.head, &row);
	ModelCloseChanged(&tables);
	SPI_finish();
	PG_RETURN_VOID();
}
