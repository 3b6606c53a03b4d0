/*
 * arguments.c
 *	  What SQL-callable functions share in reading arguments and returning rows.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "server/arguments.h"
#include "server/compat.h"

void
RequireArgument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
}

int32
PositiveArgument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int32		value;

	RequireArgument(fcinfo, argument, name);
	value = PG_GETARG_INT32(argument);
	if (value < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name)));
	return value;
}

Source
SourceArguments(FunctionCallInfo fcinfo, int first)
{
	Source		source;

	RequireArgument(fcinfo, first, "ratings");
	RequireArgument(fcinfo, first + 1, "user_column");
	RequireArgument(fcinfo, first + 2, "item_column");
	RequireArgument(fcinfo, first + 3, "rating_column");
	SourceOpen(&source, PG_GETARG_OID(first), NameStr(*PG_GETARG_NAME(first + 1)),
			   NameStr(*PG_GETARG_NAME(first + 2)), NameStr(*PG_GETARG_NAME(first + 3)));
	return source;
}

static void
RequireKeyFamily(const CachedModel *model, Side side, const Source *source, const char *hint)
{
	const KeyType *model_key = &CachedSideOf(model, side)->key_type;
	const KeyType *source_key = side == USERS ? &source->user_key : &source->item_key;

	if (source_key->family != model_key->family)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s ids of model \"%s\" are of type %s, but those of %s of type %s",
						SideName(side), model->name, format_type_be(model_key->type),
						source->name, format_type_be(source_key->type)),
				 errhint("%s", hint)));
}

void
RequireKeyFamilies(const CachedModel *model, const Source *source, const char *hint)
{
	RequireKeyFamily(model, USERS, source, hint);
	RequireKeyFamily(model, ITEMS, source, hint);
}

int32
ComponentsArgument(FunctionCallInfo fcinfo, int argument, const CachedModel *model)
{
	int32		n_components = PositiveArgument(fcinfo, argument, "n_components");
	uint32		n_factors = model->model.items.n_factors;

	if ((uint32) n_components > n_factors)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n_components must be at most %u, the number of factors of model \"%s\"",
						n_factors, model->name)));
	return n_components;
}

/* The elements of a vector, n of them. */
static const float *
VectorArgument(FunctionCallInfo fcinfo, int argument, int *n)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argument);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("a vector must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a vector must not contain NULL")));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (const float *) ArrayData(array);
}

int
VectorArguments(FunctionCallInfo fcinfo, int first, int second, const float **x, const float **y)
{
	int			n;
	int			n_second;

	*x = VectorArgument(fcinfo, first, &n);
	*y = VectorArgument(fcinfo, second, &n_second);
	if (n != n_second)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vectors have different lengths: %d and %d", n, n_second)));
	return n;
}

IdType
IdTypeOf(Oid type)
{
	IdType	result = {.type = type};

	if (type != UNKNOWNOID)
		result.type = getBaseType(type);
	if (result.type != type)
		result.domain = type;
	return result;
}

/* Integer ids are asked for as bigint, which no other argument is taken for. */
static const char *
CallWithType(const char *call, const KeyType *key_type)
{
	return psprintf(call, format_type_be(key_type->family == KEY_INTEGER ? INT8OID :
										 key_type->type));
}

IdType
IdResultType(FunctionCallInfo fcinfo, int argument, const CachedModel *model, Side side,
			 const char *call)
{
	const KeyType *key_type = &CachedSideOf(model, side)->key_type;
	IdType	result = IdTypeOf(INT8OID);

	if (argument >= 0)
	{
		result = IdTypeOf(get_fn_expr_argtype(fcinfo->flinfo, argument));
		if (!PG_ARGISNULL(argument))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s_type must be NULL: only its type counts", SideName(side)),
					 errhint("Call %s.", CallWithType(call, key_type))));
	}
	if (KeyFamilyOf(result.type) != key_type->family)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s ids of model \"%s\" are of type %s, not %s", SideName(side),
						model->name, format_type_be(key_type->type), format_type_be(result.type)),
				 errhint("Call %s.", CallWithType(call, key_type))));
	return result;
}

Datum
IdDatum(IdType *id_type, const CachedModel *model, Side side, uint32 row)
{
	const KeyType *key_type = &CachedSideOf(model, side)->key_type;
	cf_key		key = cf_dict_key(CachedSideOf(model, side)->dict, row);
	Datum		result;

	if (KeyFamilyOf(id_type->type) == key_type->family)
		result = KeyToDatum(id_type->type, key);
	else
		result = CStringGetTextDatum(KeyToString(key_type, key));
	if (OidIsValid(id_type->domain))
		domain_check(result, false, id_type->domain, &id_type->domain_state,
					 CurrentMemoryContext);
	return result;
}

void
BeginRows(FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
}

void
AddResultRow(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	for (int i = 0; i < result->setDesc->natts; i++)
		if (!nulls[i] && !TupleDescAttr(result->setDesc, i)->attbyval)
			pfree(DatumGetPointer(values[i]));
}

Datum
IntervalFromSeconds(double seconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = (TimeOffset) rint(seconds * USECS_PER_SEC);
	return IntervalPGetDatum(interval);
}
