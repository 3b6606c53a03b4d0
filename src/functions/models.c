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
#include "server/options.h"
#include "server/relation_scan.h"

/* What a head can say an epoch took: a century. */
#define MAX_SECONDS	3.2e9

COLLAB_FUNCTION(collab_history);
COLLAB_FUNCTION(collab_drop_model);
COLLAB_FUNCTION(collab_touch);

/* Columns of history(), in order. */
enum
{
	HISTORY_GENERATION,
	HISTORY_EPOCH,
	HISTORY_LR,
	HISTORY_MOMENTUM,
	HISTORY_TRAIN_LOSS,
	HISTORY_VALID_LOSS,
	HISTORY_ELAPSED,
	HISTORY_FINISHED,
	HISTORY_KEPT,
	HISTORY_COLUMNS
};

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
SetElapsedOrNull(Datum *values, bool *nulls, const float8 *elapsed, int n, int i)
{
	nulls[HISTORY_ELAPSED] = i >= n || !(fabs(elapsed[i]) < MAX_SECONDS);
	if (!nulls[HISTORY_ELAPSED])
		values[HISTORY_ELAPSED] = IntervalFromSeconds(elapsed[i]);
}

/*
 * Learning rate and momentum where each epoch ends follow from the options,
 * as long as these are what a training writes.
 */
static void
SetSchedule(Datum *values, bool *nulls, const HeadRow *row, int epoch)
{
	int32		n_epochs = HeadInt32(row, HEAD_N_EPOCHS, 0);
	cf_schedule schedule;
	bool		has_momentum;

	nulls[HISTORY_LR] = nulls[HISTORY_MOMENTUM] = true;
	if (row->nulls[HEAD_OPTIONS] || row->nulls[HEAD_SOLVER] || epoch >= n_epochs ||
		!OptionsStoredSchedule(DatumGetJsonbP(row->values[HEAD_OPTIONS]),
							   TextDatumGetCString(row->values[HEAD_SOLVER]), &schedule,
							   &has_momentum))
		return;
	nulls[HISTORY_LR] = false;
	nulls[HISTORY_MOMENTUM] = !has_momentum;
	values[HISTORY_LR] = Float8GetDatum(cf_schedule_rate(&schedule, (epoch + 1.0) / n_epochs));
	values[HISTORY_MOMENTUM] = Float8GetDatum(cf_schedule_momentum(&schedule,
																	   (epoch + 1.0) / n_epochs));
}

static void
AddGeneration(FunctionCallInfo fcinfo, const HeadRow *row)
{
	bool		finished = !row->nulls[HEAD_FINISHED];
	int			n_train;
	int			n_valid;
	int			n_elapsed;
	int			kept;
	float8	   *train_loss = HeadFloat8Array(row, HEAD_TRAIN_LOSS, &n_train);
	float8	   *valid_loss = HeadFloat8Array(row, HEAD_VALID_LOSS, &n_valid);
	float8	   *elapsed = HeadFloat8Array(row, HEAD_ELAPSED, &n_elapsed);

	kept = HeadInt32(row, HEAD_BEST_EPOCH, n_train);
	for (int epoch = 0; epoch < n_train; epoch++)
	{
		Datum		values[HISTORY_COLUMNS] = {0};
		bool		nulls[HISTORY_COLUMNS] = {false};

		values[HISTORY_GENERATION] = Int64GetDatum(HeadInt64(row, HEAD_GENERATION, 0));
		values[HISTORY_EPOCH] = Int32GetDatum(epoch + 1);
		SetSchedule(values, nulls, row, epoch);
		SetFloat8OrNull(values, nulls, HISTORY_TRAIN_LOSS, train_loss, n_train, epoch);
		SetFloat8OrNull(values, nulls, HISTORY_VALID_LOSS, valid_loss, n_valid, epoch);
		SetElapsedOrNull(values, nulls, elapsed, n_elapsed, epoch);
		nulls[HISTORY_FINISHED] = !finished;
		if (finished)
			values[HISTORY_FINISHED] =
				TimestampTzGetDatum(DatumGetTimestampTz(row->values[HEAD_FINISHED]));
		values[HISTORY_KEPT] = BoolGetDatum(finished && epoch + 1 == kept);
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

	EmbeddingsRead(table, HeadFactors(row, table->side, name), host, &side, &dict);
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
