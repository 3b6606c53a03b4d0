/*
 * head.c
 *	  The head of a model: a typed table, one row a training.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/cf_model.h"
#include "server/compat.h"
#include "server/head.h"
#include "server/relation_scan.h"

typedef struct HeadColumnType
{
	const char *name;
	Oid			type;
} HeadColumnType;

/* In the order of HeadColumn, the types of collab.model. */
static const HeadColumnType head_columns[HEAD_COLUMNS] = {
	{"generation", INT8OID},
	{"started", TIMESTAMPTZOID},
	{"finished", TIMESTAMPTZOID},
	{"pid", INT4OID},
	{"stamp", INT8OID},
	{"self", REGCLASSOID},
	{"source", TEXTOID},
	{"user_column", NAMEOID},
	{"item_column", NAMEOID},
	{"rating_column", NAMEOID},
	{"users", REGCLASSOID},
	{"items", REGCLASSOID},
	{"options", JSONBOID},
	{"solver", TEXTOID},
	{"n_factors", INT4OID},
	{"n_epochs", INT4OID},
	{"batch_size", INT4OID},
	{"use_bias", BOOLOID},
	{"y_range", FLOAT4ARRAYOID},
	{"warm_start", BOOLOID},
	{"n_users", INT8OID},
	{"n_items", INT8OID},
	{"n_train", INT8OID},
	{"n_valid", INT8OID},
	{"mean_rating", FLOAT8OID},
	{"mean_user_bias", FLOAT8OID},
	{"mean_item_bias", FLOAT8OID},
	{"user_prior", FLOAT8ARRAYOID},
	{"item_prior", FLOAT8ARRAYOID},
	{"train_loss", FLOAT8ARRAYOID},
	{"valid_loss", FLOAT8ARRAYOID},
	{"elapsed", FLOAT8ARRAYOID},
	{"weights", FLOAT4ARRAYOID},
	{"format", INT2OID},
	{"best_epoch", INT4OID},
	{"user_factors", INT4OID},
	{"item_factors", INT4OID},
	{"layers", INT4ARRAYOID},
	{"batch_norm", BOOLOID},
	{"stage", TEXTOID},
	{"progress", FLOAT4OID},
	{"burn_in", INT4OID},
	{"implicit", TEXTOID},
	{"n_draws", INT4OID},
	{"noise", FLOAT8OID},
	{"user_normal", FLOAT8ARRAYOID},
	{"item_normal", FLOAT8ARRAYOID},
	{"calibration", FLOAT4ARRAYOID},
};

void
HeadRowInit(HeadRow *row)
{
	memset(row->values, 0, sizeof(row->values));
	memset(row->nulls, true, sizeof(row->nulls));
}

void
HeadSet(HeadRow *row, HeadColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

int64
HeadInt64(const HeadRow *row, HeadColumn column, int64 if_null)
{
	return row->nulls[column] ? if_null : DatumGetInt64(row->values[column]);
}

int32
HeadInt32(const HeadRow *row, HeadColumn column, int32 if_null)
{
	return row->nulls[column] ? if_null : DatumGetInt32(row->values[column]);
}

float8
HeadFloat8(const HeadRow *row, HeadColumn column, float8 if_null)
{
	return row->nulls[column] ? if_null : DatumGetFloat8(row->values[column]);
}

bool
HeadBool(const HeadRow *row, HeadColumn column, bool if_null)
{
	return row->nulls[column] ? if_null : DatumGetBool(row->values[column]);
}

Oid
HeadOid(const HeadRow *row, HeadColumn column)
{
	return row->nulls[column] ? InvalidOid : DatumGetObjectId(row->values[column]);
}

bool
HeadRange(const HeadRow *row, float4 *low, float4 *high)
{
	ArrayType  *array;
	const float4 *values;

	if (row->nulls[HEAD_Y_RANGE])
		return false;
	array = DatumGetArrayTypeP(row->values[HEAD_Y_RANGE]);
	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 2 || array_contains_nulls(array))
	{
		*low = *high = get_float4_nan();	/* for HeadCheck to find */
		return true;
	}
	values = (const float4 *) ArrayData(array);
	*low = values[0];
	*high = values[1];
	return true;
}

float8 *
HeadFloat8Array(const HeadRow *row, HeadColumn column, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	float8	   *result;

	*n = 0;
	if (row->nulls[column])
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(row->values[column]), FLOAT8OID, sizeof(float8),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, n);
	result = palloc(Max(*n, 1) * sizeof(float8));
	for (int i = 0; i < *n; i++)
		result[i] = nulls[i] ? get_float8_nan() : DatumGetFloat8(elements[i]);
	return result;
}

Datum
Float8ArrayDatum(const float8 *values, int n)
{
	Datum	   *elements = palloc(Max(n, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(n, 1) * sizeof(bool));
	int			lower_bound = 1;
	ArrayType  *array;

	for (int i = 0; i < n; i++)
	{
		elements[i] = Float8GetDatum(values[i]);
		nulls[i] = isnan(values[i]);
	}
	array = construct_md_array(elements, nulls, 1, &n, &lower_bound, FLOAT8OID,
							   sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	pfree(elements);
	pfree(nulls);
	return PointerGetDatum(array);
}

Datum
Float4ArrayDatum(const float4 *values, size_t n)
{
	Size		size = add_size(ARR_OVERHEAD_NONULLS(1), mul_size(n, sizeof(float4)));
	ArrayType  *array = palloc0(size);

	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = (int) n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ArrayData(array), values, n * sizeof(float4));
	return PointerGetDatum(array);
}

static void
FindHeadColumns(Relation head, AttrNumber *attnums)
{
	for (int i = 0; i < HEAD_COLUMNS; i++)
		attnums[i] = FindColumn(head, head_columns[i].name, head_columns[i].type);
}

typedef struct HeadReader
{
	MemoryContext context;
	HeadRow    *current;		/* greatest finished generation, if that is wanted */
	bool		found;
	bool		newest_first;
	List	   *all;			/* every row, if not */
} HeadReader;

/* Weights, of which there can be many, stay where they are stored until they are asked for. */
static void
CopyHeadRow(HeadRow *to, const Datum *values, const bool *nulls)
{
	for (int i = 0; i < HEAD_COLUMNS; i++)
	{
		int16		length;
		bool		by_value;

		to->nulls[i] = nulls[i];
		to->values[i] = (Datum) 0;
		if (nulls[i])
			continue;
		get_typlenbyval(head_columns[i].type, &length, &by_value);
		if (length == -1 && i != HEAD_WEIGHTS)
			to->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[i]));
		else
			to->values[i] = datumCopy(values[i], by_value, length);
	}
}

static bool
ConsumeHeadRow(void *context, const Datum *values, const bool *nulls)
{
	HeadReader *reader = context;
	MemoryContext previous;

	if (nulls[HEAD_GENERATION])
		return true;

	if (reader->current == NULL)
	{
		HeadRow    *row;

		previous = MemoryContextSwitchTo(reader->context);
		row = palloc(sizeof(HeadRow));
		CopyHeadRow(row, values, nulls);
		reader->all = lappend(reader->all, row);
		MemoryContextSwitchTo(previous);
		return true;
	}

	if (nulls[HEAD_FINISHED])
		return true;
	if (reader->found && DatumGetInt64(values[HEAD_GENERATION]) <=
		HeadInt64(reader->current, HEAD_GENERATION, 0))
		return true;
	previous = MemoryContextSwitchTo(reader->context);
	CopyHeadRow(reader->current, values, nulls);
	reader->found = true;
	MemoryContextSwitchTo(previous);
	return !reader->newest_first;
}

bool
HeadReadCurrent(Relation head, HeadRow *row)
{
	AttrNumber	attnums[HEAD_COLUMNS];
	HeadReader	reader = {CurrentMemoryContext, row, false, false, NIL};

	FindHeadColumns(head, attnums);
	ScanRelationBackward(head, attnums[HEAD_GENERATION], attnums, HEAD_COLUMNS,
						 ConsumeHeadRow, &reader, &reader.newest_first);
	return reader.found;
}

List *
HeadReadAll(Relation head)
{
	AttrNumber	attnums[HEAD_COLUMNS];
	HeadReader	reader = {CurrentMemoryContext, NULL, false, false, NIL};

	FindHeadColumns(head, attnums);
	ScanRelationBackward(head, attnums[HEAD_GENERATION], attnums, HEAD_COLUMNS,
						 ConsumeHeadRow, &reader, NULL);
	return reader.all;
}

Oid
HeadTypeOid(void)
{
	Oid			schema = get_namespace_oid("collab", true);

	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("model"), ObjectIdGetDatum(schema));
}

static void
BadHead(const char *name, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("head of model \"%s\" is damaged", name),
			 errdetail("The current row's \"%s\" is not what a training writes.", column),
			 errhint("Train the model again with collab.train(..., replace => true).")));
}

int
HeadFactors(const HeadRow *row, Side side, const char *name)
{
	HeadColumn	column = !HeadHasNet(row) ? HEAD_N_FACTORS :
		side == USERS ? HEAD_USER_FACTORS : HEAD_ITEM_FACTORS;
	int32		n_factors = HeadInt32(row, column, 0);

	if (n_factors < 1 || n_factors > CF_MAX_FACTORS)
		BadHead(name, head_columns[column].name);
	return n_factors;
}

bool
HeadHasNet(const HeadRow *row)
{
	return !row->nulls[HEAD_LAYERS];
}

bool
HeadHasNormals(const HeadRow *row)
{
	return !row->nulls[HEAD_NOISE];
}

/* What is not there, or too much, is 0: no valid shape. */
cf_net_shape
HeadNetShape(const HeadRow *row)
{
	ArrayType  *layers = DatumGetArrayTypeP(row->values[HEAD_LAYERS]);
	int			n = ArrayGetNItems(ARR_NDIM(layers), ARR_DIMS(layers));
	cf_net_shape shape = {0};

	shape.user_factors = (uint32) HeadInt32(row, HEAD_USER_FACTORS, 0);
	shape.item_factors = (uint32) HeadInt32(row, HEAD_ITEM_FACTORS, 0);
	shape.batch_norm = HeadBool(row, HEAD_BATCH_NORM, true);
	if (n > CF_MAX_LAYERS || array_contains_nulls(layers))
		return shape;
	shape.n_layers = (uint32) n;
	for (int i = 0; i < n; i++)
		shape.layers[i] = (uint32) ((int32 *) ArrayData(layers))[i];
	return shape;
}

const float4 *
HeadWeights(const HeadRow *row, size_t *n)
{
	ArrayType  *weights;

	*n = 0;
	if (row->nulls[HEAD_WEIGHTS])
		return NULL;
	weights = DatumGetArrayTypeP(row->values[HEAD_WEIGHTS]);
	if (array_contains_nulls(weights))
		return NULL;
	*n = (size_t) ArrayGetNItems(ARR_NDIM(weights), ARR_DIMS(weights));
	return ArrayData(weights);
}

/* Two variances and the mean factors; NULL where an older version wrote the row. */
static void
CheckPrior(const HeadRow *row, HeadColumn column, const char *name)
{
	int			n;
	float8	   *values = HeadFloat8Array(row, column, &n);
	bool		good = n == HeadInt32(row, HEAD_N_FACTORS, 0) + 2;

	if (row->nulls[column])
		return;
	for (int i = 0; i < n; i++)
		good = good && isfinite(values[i]) && (i > 1 || values[i] >= 0);
	if (!good)
		BadHead(name, head_columns[column].name);
}

/* A mean and half a matrix, of finite numbers; the matrix is checked where it is used. */
static void
CheckNormal(const HeadRow *row, HeadColumn column, const char *name)
{
	int			d = HeadInt32(row, HEAD_N_FACTORS, 0) + 1;
	int			n;
	float8	   *values = HeadFloat8Array(row, column, &n);
	bool		good = n == d + d * (d + 1) / 2;

	for (int i = 0; i < n; i++)
		good = good && isfinite(values[i]);
	if (!good)
		BadHead(name, head_columns[column].name);
}

static void
CheckNormals(const HeadRow *row, const char *name)
{
	float8		noise = HeadFloat8(row, HEAD_NOISE, 0);
	int32		n_draws = HeadInt32(row, HEAD_N_DRAWS, 1);
	float4		low;
	float4		high;

	if (!HeadHasNormals(row))
		return;
	if (!(noise > 0 && isfinite(noise)))
		BadHead(name, "noise");
	if (!HeadRange(row, &low, &high))
		BadHead(name, "y_range");
	if (n_draws < 1 || n_draws > HEAD_MOST_DRAWS)
		BadHead(name, "n_draws");
	CheckNormal(row, HEAD_USER_NORMAL, name);
	CheckNormal(row, HEAD_ITEM_NORMAL, name);
}

void
HeadCheck(const HeadRow *row, const char *name)
{
	static const HeadColumn finite[] = {HEAD_MEAN_RATING, HEAD_MEAN_USER_BIAS, HEAD_MEAN_ITEM_BIAS};
	int16		format = row->nulls[HEAD_FORMAT] ? 0 : DatumGetInt16(row->values[HEAD_FORMAT]);
	float4		low;
	float4		high;

	if (format > HEAD_FORMAT_NOW)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has format %d, which this version of collab does not know",
						name, format),
				 errhint("Update the extension's library.")));
	if (format < 1)
		BadHead(name, "format");
	(void) HeadFactors(row, USERS, name);
	(void) HeadFactors(row, ITEMS, name);
	if (HeadHasNet(row))
	{
		cf_net_shape shape = HeadNetShape(row);

		if (!cf_net_shape_is_valid(&shape))
			BadHead(name, "layers");
	}
	if (row->nulls[HEAD_STAMP])
		BadHead(name, "stamp");
	for (int i = 0; i < (int) lengthof(finite); i++)
		if (!isfinite(HeadFloat8(row, finite[i], get_float8_nan())))
			BadHead(name, head_columns[finite[i]].name);
	if (HeadRange(row, &low, &high) && !(isfinite(low) && isfinite(high) &&
										  (low < high || (low == high && HeadHasNormals(row)))))
		BadHead(name, "y_range");
	CheckPrior(row, HEAD_USER_PRIOR, name);
	CheckPrior(row, HEAD_ITEM_PRIOR, name);
	CheckNormals(row, name);
}

/* The column of an attribute; HEAD_COLUMNS when this version knows none. */
static int
FindAttribute(Form_pg_attribute attribute)
{
	int			i = 0;

	while (i < HEAD_COLUMNS && (strcmp(NameStr(attribute->attname), head_columns[i].name) != 0 ||
								attribute->atttypid != head_columns[i].type))
		i++;
	return i;
}

Datum
HeadRowDatum(const HeadRow *row)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeadTypeOid(), -1);
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	Datum		result;

	for (int i = 0; i < desc->natts; i++)
	{
		int			column = FindAttribute(TupleDescAttr(desc, i));

		nulls[i] = column == HEAD_COLUMNS || row->nulls[column];
		if (!nulls[i])
			values[i] = row->values[column];
	}
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return result;
}

/* Run a statement on the head with one parameter for each given column. */
static void
ExecuteOnHead(const char *query, const HeadRow *row)
{
	Oid			types[HEAD_COLUMNS];
	char		nulls[HEAD_COLUMNS];
	Datum		values[HEAD_COLUMNS];
	int			result;

	for (int i = 0; i < HEAD_COLUMNS; i++)
	{
		types[i] = head_columns[i].type;
		nulls[i] = row->nulls[i] ? 'n' : ' ';
		values[i] = row->values[i];
	}
	result = SPI_execute_with_args(query, HEAD_COLUMNS, types, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not write a model's head: %s", SPI_result_code_string(result));
}

void
HeadInsert(Relation head, const HeadRow *row)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "INSERT INTO %s (", QualifiedName(RelationGetRelid(head)));
	for (int i = 0; i < HEAD_COLUMNS; i++)
		appendStringInfo(&query, "%s%s", i > 0 ? ", " : "", head_columns[i].name);
	appendStringInfoString(&query, ") VALUES (");
	for (int i = 0; i < HEAD_COLUMNS; i++)
		appendStringInfo(&query, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(&query, ')');
	ExecuteOnHead(query.data, row);
}

void
HeadUpdate(Relation head, const HeadRow *row)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "UPDATE ONLY %s SET ", QualifiedName(RelationGetRelid(head)));
	for (int i = 1; i < HEAD_COLUMNS; i++)
		appendStringInfo(&query, "%s%s = $%d", i > 1 ? ", " : "", head_columns[i].name, i + 1);
	appendStringInfo(&query, " WHERE generation OPERATOR(pg_catalog.=) $1");
	ExecuteOnHead(query.data, row);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("generation " INT64_FORMAT " of model \"%s\" is no longer in its head",
						HeadInt64(row, HEAD_GENERATION, 0), RelationGetRelationName(head))));
}

static int64
CurrentStamp(Relation head, Snapshot snapshot)
{
	HeadRow		row;
	int64		stamp = 0;

	PushActiveSnapshot(snapshot);
	if (HeadReadCurrent(head, &row))
		stamp = HeadInt64(&row, HEAD_STAMP, 0);
	PopActiveSnapshot();
	return stamp;
}

void
HeadRequireLatest(Relation head)
{
	if (!IsolationUsesXactSnapshot())
		return;
	CommandCounterIncrement();
	if (CurrentStamp(head, GetTransactionSnapshot()) != CurrentStamp(head, GetLatestSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Model \"%s\" was trained or touched after this transaction's snapshot was taken.",
						   RelationGetRelationName(head)),
				 errhint("The transaction might succeed if retried.")));
}

void
HeadDeleteDead(Relation head)
{
	char	   *query = psprintf("DELETE FROM ONLY %s WHERE finished IS NULL",
								 QualifiedName(RelationGetRelid(head)));

	if (SPI_execute(query, false, 0) < 0)
		elog(ERROR, "could not delete unfinished trainings from a model's head");
}

void
HeadForgetWeights(Relation head, int64 generation)
{
	char	   *query = psprintf("UPDATE ONLY %s SET weights = NULL, user_normal = NULL, item_normal = NULL "
								 "WHERE (weights IS NOT NULL OR user_normal IS NOT NULL) AND generation OPERATOR(pg_catalog.<>) " INT64_FORMAT,
								 QualifiedName(RelationGetRelid(head)), generation);

	if (SPI_execute(query, false, 0) < 0)
		elog(ERROR, "could not forget weights in a model's head");
}

int64
HeadNewStamp(void)
{
	int64		stamp;

	if (!pg_strong_random(&stamp, sizeof(stamp)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random stamp")));
	return stamp;
}
