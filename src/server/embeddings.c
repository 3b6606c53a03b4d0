/*
 * embeddings.c
 *	  Embedding tables to and from the core's arrays.
 *
 * Rows are written from an ephemeral named relation, as the transition tables
 * of triggers are read: a tuplestore, which goes to disk beyond work_mem, that
 * three plain statements join with the table.  A user's triggers, foreign
 * keys and subscribers see the rows that changed, as with any other UPDATE.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

#include "server/compat.h"
#include "server/embeddings.h"
#include "server/host.h"
#include "server/relation_scan.h"

/* The name under which the statements below see the new rows. */
#define NEW_ROWS	"collab_new_embeddings"

typedef struct EmbeddingReader
{
	const EmbeddingTable *table;
	cf_host    *host;
	cf_side    *side;
	cf_dict    *dict;
} EmbeddingReader;

static void
BadEmbedding(const EmbeddingReader *reader, cf_key key, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("embedding of %s %s in table \"%s\" is damaged",
					SideName(reader->table->side), KeyToString(&reader->table->key_type, key),
					RelationGetRelationName(reader->table->relation)),
			 errdetail("%s", what)));
}

static void
CopyFactors(const EmbeddingReader *reader, cf_key key, Datum value, float *row)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	uint32		n = reader->side->n_factors;
	const float *factors;

	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != (int) n || array_contains_nulls(array))
		BadEmbedding(reader, key, psprintf("It must have %u factors, none of them NULL.", n));
	factors = (const float *) ArrayData(array);
	for (uint32 f = 0; f < n; f++)
		if (!isfinite(factors[f]))
			BadEmbedding(reader, key, "A factor is not a finite number.");
	memcpy(row, factors, n * sizeof(float));
}

static bool
ConsumeEmbedding(void *context, const Datum *values, const bool *nulls)
{
	EmbeddingReader *reader = context;
	cf_side    *side = reader->side;
	cf_key		key;
	uint32		row;
	float		bias;
	int64		n_ratings;

	if (nulls[EMBEDDING_KEY])
		return true;
	key = KeyFromDatum(reader->table->key_type.type, values[EMBEDDING_KEY]);
	if (nulls[EMBEDDING_BIAS] || nulls[EMBEDDING_FACTORS] || nulls[EMBEDDING_N_RATINGS])
		BadEmbedding(reader, key, "A column is NULL.");
	bias = DatumGetFloat4(values[EMBEDDING_BIAS]);
	if (!isfinite(bias))
		BadEmbedding(reader, key, "The bias is not a finite number.");
	n_ratings = DatumGetInt64(values[EMBEDDING_N_RATINGS]);
	if (n_ratings < 0)
		BadEmbedding(reader, key, "The number of ratings is negative.");

	HostCheck(reader->host, cf_dict_add(reader->dict, key, &row));
	if (row != side->n_rows)
		BadEmbedding(reader, key, "It is there twice.");
	HostCheck(reader->host, cf_side_append(side, reader->host));
	CopyFactors(reader, key, values[EMBEDDING_FACTORS], cf_side_row(side, row));
	cf_side_row(side, row)[side->n_factors] = bias;
	side->n_ratings[row] = n_ratings;
	return true;
}

void
EmbeddingsRead(const EmbeddingTable *table, int n_factors, cf_host *host,
			   cf_side *side, cf_dict **dict)
{
	EmbeddingReader reader = {table, host, side, NULL};
	uint32_t   *rank;
	cf_side_prior prior = side->prior;

	HostCheck(host, cf_dict_create(host, table->key_type.kind, &reader.dict));
	cf_side_begin(side, n_factors);
	side->prior = prior;
	ScanRelation(table->relation, table->attnums, EMBEDDING_COLUMNS, ConsumeEmbedding, &reader);
	HostCheck(host, cf_dict_sort(reader.dict, &rank));
	HostCheck(host, cf_side_trim(side, host));
	cf_side_permute(side, rank);
	cf_free(host, rank);
	*dict = reader.dict;
}

bool
EmbeddingsReadOne(const EmbeddingTable *table, cf_host *host, cf_side *side, cf_dict *dict,
				  cf_key key)
{
	EmbeddingReader reader = {table, host, side, dict};

	return ScanRelationByKey(table->relation, table->attnums[EMBEDDING_KEY],
							 table->key_type.type, KeyToDatum(table->key_type.type, key),
							 table->attnums, EMBEDDING_COLUMNS, ConsumeEmbedding, &reader);
}

typedef struct DrawsReader
{
	const EmbeddingTable *table;
	cf_key		key;
	size_t		width;
	MemoryContext context;
	float4	   *draws;
} DrawsReader;

/* Values are the key and the draws. */
static bool
ConsumeDraws(void *context, const Datum *values, const bool *nulls)
{
	DrawsReader *reader = context;
	ArrayType  *array;

	if (nulls[0] || nulls[1])
		return true;
	if (cf_key_compare(reader->table->key_type.kind, reader->key,
					   KeyFromDatum(reader->table->key_type.type, values[0])) != 0)
		return true;
	array = DatumGetArrayTypeP(values[1]);
	if (ARR_NDIM(array) != 1 || (size_t) ARR_DIMS(array)[0] != reader->width ||
		array_contains_nulls(array))
		return false;
	reader->draws = MemoryContextAllocHuge(reader->context, reader->width * sizeof(float4));
	memcpy(reader->draws, ArrayData(array), reader->width * sizeof(float4));
	for (size_t i = 0; i < reader->width; i++)
		if (!isfinite(reader->draws[i]))
			reader->draws = NULL;
	return false;
}

float4 *
EmbeddingsReadDraws(const EmbeddingTable *table, cf_key key, size_t width)
{
	DrawsReader reader = {table, key, width, CurrentMemoryContext, NULL};
	AttrNumber	attnums[2] = {table->attnums[EMBEDDING_KEY], table->draws};

	if (!ScanRelationByKey(table->relation, attnums[0], table->key_type.type,
						   KeyToDatum(table->key_type.type, key), attnums, 2, ConsumeDraws, &reader))
		ScanRelation(table->relation, attnums, 2, ConsumeDraws, &reader);
	return reader.draws;
}

/* Descriptor of the new rows: key, bias, factors, n_ratings and, where the table has them, draws. */
static TupleDesc
NewRowsDesc(const EmbeddingTable *table)
{
	TupleDesc	desc = CreateTemplateTupleDesc(EMBEDDING_COLUMNS + (table->draws != 0));

	/* no typmod, so that INSERT checks the length of varchar(n) */
	TupleDescInitEntry(desc, EMBEDDING_KEY + 1, "id", table->key_type.type, -1, 0);
	TupleDescInitEntryCollation(desc, EMBEDDING_KEY + 1, table->key_type.collation);
	TupleDescInitEntry(desc, EMBEDDING_BIAS + 1, "bias", FLOAT4OID, -1, 0);
	TupleDescInitEntry(desc, EMBEDDING_FACTORS + 1, "factors", FLOAT4ARRAYOID, -1, 0);
	TupleDescInitEntry(desc, EMBEDDING_N_RATINGS + 1, "n_ratings", INT8OID, -1, 0);
	if (table->draws != 0)
		TupleDescInitEntry(desc, EMBEDDING_COLUMNS + 1, DRAWS_COLUMN, FLOAT4ARRAYOID, -1, 0);
	return desc;
}

static ArrayType *
FactorsArray(int n_factors)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + n_factors * sizeof(float);
	ArrayType  *array = palloc0(size);

	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = n_factors;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

/* Rows from "first" on, whose keys are those of "dict", and draws the side's, from 0 on. */
static Tuplestorestate *
StoreNewRows(const EmbeddingTable *table, const cf_side *side, const cf_dict *dict,
			 uint32 first, TupleDesc desc)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	ArrayType  *factors = FactorsArray(side->n_factors);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "collab new row",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(per_row);

	for (uint32 row = first; row < side->n_rows; row++)
	{
		Datum		values[EMBEDDING_COLUMNS + 1];
		bool		nulls[EMBEDDING_COLUMNS + 1] = {false};

		CHECK_FOR_INTERRUPTS();
		memcpy(ArrayData(factors), cf_side_row(side, row), side->n_factors * sizeof(float));
		values[EMBEDDING_KEY] = KeyToDatum(table->key_type.type, cf_dict_key(dict, row - first));
		values[EMBEDDING_BIAS] = Float4GetDatum(cf_side_bias(side, row));
		values[EMBEDDING_FACTORS] = PointerGetDatum(factors);
		values[EMBEDDING_N_RATINGS] = Int64GetDatum(side->n_ratings[row]);
		nulls[EMBEDDING_COLUMNS] = side->draws == NULL || side->n_ratings[row] == 0;
		if (!nulls[EMBEDDING_COLUMNS])
			values[EMBEDDING_COLUMNS] = Float4ArrayDatum(cf_side_draws(side, row - first),
														 cf_draws_width(side));
		tuplestore_putvalues(store, desc, values, nulls);
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(per_row);
	return store;
}

static void
RegisterNewRows(Tuplestorestate *store, TupleDesc desc, double n_rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	int			result;

	relation->md.name = NEW_ROWS;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = n_rows;
	relation->reldata = store;
	result = SPI_register_relation(relation);
	if (result != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed: %s", SPI_result_code_string(result));
}

static void
Execute(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "could not write embeddings: %s", SPI_result_code_string(result));
}

/* Every statement is qualified down to the operator. */
static void
WriteNewRows(const char *table, const char *key, bool has_draws, bool fresh)
{
	const char *set_draws = has_draws ? ", " DRAWS_COLUMN " = n." DRAWS_COLUMN : "";
	const char *draws = has_draws ? ", " DRAWS_COLUMN : "";
	const char *new_draws = has_draws ? ", n." DRAWS_COLUMN : "";
	const char *condition = psprintf("t.%s OPERATOR(pg_catalog.=) n.id", key);
	const char *unless_known = "";

	if (!fresh)
	{
		Execute(psprintf("DELETE FROM ONLY %s t WHERE NOT EXISTS "
						 "(SELECT FROM " NEW_ROWS " n WHERE %s)", table, condition));
		Execute(psprintf("UPDATE ONLY %s t SET bias = n.bias, factors = n.factors, "
						 "n_ratings = n.n_ratings%s FROM " NEW_ROWS " n WHERE %s",
						 table, set_draws, condition));
		unless_known = psprintf(" WHERE NOT EXISTS (SELECT FROM ONLY %s t WHERE %s)",
								table, condition);
	}
	Execute(psprintf("INSERT INTO %s (%s, bias, factors, n_ratings%s) "
					 "SELECT n.id, n.bias, n.factors, n.n_ratings%s FROM " NEW_ROWS " n%s",
					 table, key, draws, new_draws, unless_known));
}

static void
WriteRows(const EmbeddingTable *table, const cf_side *side, const cf_dict *dict, uint32 first,
		  bool fresh)
{
	TupleDesc	desc = NewRowsDesc(table);
	Tuplestorestate *store = StoreNewRows(table, side, dict, first, desc);

	RegisterNewRows(store, desc, side->n_rows - first);
	WriteNewRows(QualifiedName(RelationGetRelid(table->relation)),
				 SideKeyColumn(table->side), table->draws != 0, fresh);
	SPI_unregister_relation(NEW_ROWS);
	tuplestore_end(store);
}

void
EmbeddingsWrite(const EmbeddingTable *table, const cf_side *side, const cf_dict *dict, bool fresh)
{
	WriteRows(table, side, dict, 0, fresh);
}

void
EmbeddingsInsert(const EmbeddingTable *table, const cf_side *side, const cf_dict *dict,
				 uint32 first)
{
	WriteRows(table, side, dict, first, true);
}

void
EmbeddingsRequireFamily(const EmbeddingTable *table, const KeyType *source, const char *model)
{
	if (source->family != table->key_type.family)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s ids of model \"%s\" are of type %s, but those of the ratings of type %s",
						SideName(table->side), model, format_type_be(table->key_type.type),
						format_type_be(source->type)),
				 errhint("Drop the model with collab.drop_model() to train it anew.")));
}

void
EmbeddingsRequireFit(const EmbeddingTable *table, const cf_dict *keys)
{
	uint32		last = cf_dict_count(keys) - 1;

	if (KeyFits(&table->key_type, cf_dict_key(keys, 0)) &&
		KeyFits(&table->key_type, cf_dict_key(keys, last)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("%s ids of the ratings do not fit type %s of table \"%s\"",
					SideName(table->side), format_type_be(table->key_type.type),
					RelationGetRelationName(table->relation)),
			 errhint("Alter the type of column \"%s\" of that table to bigint.",
					 SideKeyColumn(table->side))));
}
