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

/*
 * The weighted mean bias of an embedding table, as a subquery.  Without NULLIF,
 * which takes its operator from the search path.
 */
static char *
MeanBiasQuery(Relation relation)
{
	return psprintf("(SELECT CASE WHEN pg_catalog.sum(n_ratings::pg_catalog.float8) "
					"OPERATOR(pg_catalog.>) 0::pg_catalog.float8 "
					"THEN pg_catalog.sum(bias::pg_catalog.float8 OPERATOR(pg_catalog.*) n_ratings::pg_catalog.float8) "
					"OPERATOR(pg_catalog./) pg_catalog.sum(n_ratings::pg_catalog.float8) ELSE 0 END "
					"FROM ONLY %s)", QualifiedName(RelationGetRelid(relation)));
}

static char *
CountQuery(Relation relation)
{
	return psprintf("(SELECT pg_catalog.count(*) FROM ONLY %s)",
					QualifiedName(RelationGetRelid(relation)));
}

/* A new stamp for the current row, and what it says of the embeddings anew. */
static void
RefreshHead(const ModelTables *tables, int64 generation)
{
	Oid			types[] = {INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(HeadNewStamp()), Int64GetDatum(generation)};
	char	   *command = psprintf("UPDATE ONLY %s SET stamp = $1, n_users = %s, n_items = %s, "
								   "mean_user_bias = %s, mean_item_bias = %s "
								   "WHERE generation OPERATOR(pg_catalog.=) $2",
								   QualifiedName(RelationGetRelid(tables->head)),
								   CountQuery(tables->users.relation),
								   CountQuery(tables->items.relation),
								   MeanBiasQuery(tables->users.relation),
								   MeanBiasQuery(tables->items.relation));
	int			result = SPI_execute_with_args(command, 2, types, values, NULL, false, 0);

	if (result < 0)
		elog(ERROR, "could not touch a model: %s", SPI_result_code_string(result));
}

/* What was edited by hand must be what readers take: better told here than there. */
static void
CheckEmbeddings(const EmbeddingTable *table, int n_factors)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "collab touch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	cf_side		side;
	cf_dict    *dict;

	EmbeddingsRead(table, n_factors, HostCreate(context, SIZE_MAX), &side, &dict);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

Datum
collab_touch(PG_FUNCTION_ARGS)
{
	Oid			head = PG_GETARG_OID(0);
	ModelTables tables;
	HeadRow		row;
	int			n_factors;

	PreventCommandIfReadOnly("collab.touch()");
	SPI_connect();
	ModelLock(head, false, false);
	PushFreshSnapshot();
	if (!ModelOpenForWrite(head, &tables, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has never been trained",
						RelationGetRelationName(tables.head))));
	HeadRequireLatest(tables.head);
	n_factors = HeadFactors(&row, RelationGetRelationName(tables.head));
	CheckEmbeddings(&tables.users, n_factors);
	CheckEmbeddings(&tables.items, n_factors);
	RefreshHead(&tables, HeadInt64(&row, HEAD_GENERATION, 0));
	ModelClose(&tables);
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_VOID();
}
