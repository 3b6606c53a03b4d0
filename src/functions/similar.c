/*
 * similar.c
 *	  collab.cosine_similar(): an item's neighbours by the angle between factors.
 *	  collab.cosine_similarity(): the same measure for any two vectors.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "core/cf_topk.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_cosine_similar);
COLLAB_FUNCTION(collab_cosine_similarity);

/* Rounding must not take a cosine out of [-1, 1]. */
static inline float
ClampCosine(double cosine)
{
	return (float) (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
}

/* An item without factors points nowhere: it has no neighbours and is nobody's. */
static void
OfferNeighbours(cf_topk *top, CachedModel *model, uint32 item)
{
	const cf_side *items = &model->model.items;
	const float *norms = CachedNorms(model, ITEMS);
	const float *factors = cf_side_row(items, item);

	if (norms[item] == 0)
		return;
	for (uint32 row = 0; row < items->n_rows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		if (row != item && norms[row] > 0)
			cf_topk_offer(top, ClampCosine(model->model.kernels->dot(factors, cf_side_row(items, row),
																	 items->n_factors) /
										   ((double) norms[item] * norms[row])), row);
	}
}

Datum
collab_cosine_similar(PG_FUNCTION_ARGS)
{
	int32		k = PositiveArgument(fcinfo, 2, "k");
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	CachedModel *model;
	KeyArgument argument;
	IdType		type;
	cf_topk		top;
	uint32		item;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_ITEMS);
	KeyArgumentInit(&argument, &model->items.key_type,
					get_fn_expr_argtype(fcinfo->flinfo, 1), "item", model->name);
	type = IdTypeOf(get_fn_expr_argtype(fcinfo->flinfo, 1));
	item = cf_dict_find(model->items.dict, KeyArgumentGet(&argument, PG_GETARG_DATUM(1)));
	if (item == CF_NO_ROW)
		return (Datum) 0;

	HostCheck(host, cf_topk_create(host, Min((uint32) k, model->model.items.n_rows), &top));
	OfferNeighbours(&top, model, item);
	cf_topk_sort(&top);
	for (size_t i = 0; i < top.n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = IdDatum(&type, model, ITEMS, top.heap[i].row);
		values[1] = Float4GetDatum(top.heap[i].score);
		AddResultRow(fcinfo, values, nulls);
	}
	cf_topk_release(host, &top);
	return (Datum) 0;
}

static void
CheckVector(ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("a vector must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a vector must not contain NULL")));
}

Datum
collab_cosine_similarity(PG_FUNCTION_ARGS)
{
	ArrayType  *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *b = PG_GETARG_ARRAYTYPE_P(1);
	const float *x = (const float *) ArrayData(a);
	const float *y = (const float *) ArrayData(b);
	int			n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	double		xy = 0;
	double		xx = 0;
	double		yy = 0;

	CheckVector(a);
	CheckVector(b);
	if (n != ArrayGetNItems(ARR_NDIM(b), ARR_DIMS(b)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vectors have different lengths: %d and %d", n,
						ArrayGetNItems(ARR_NDIM(b), ARR_DIMS(b)))));
	for (int i = 0; i < n; i++)
	{
		xy += (double) x[i] * y[i];
		xx += (double) x[i] * x[i];
		yy += (double) y[i] * y[i];
	}
	if (xx == 0 || yy == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT4(ClampCosine(xy / (sqrt(xx) * sqrt(yy))));
}
