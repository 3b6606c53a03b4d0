/*
 * similar.c
 *	  collab.cosine_similar(), collab.similar_users(): an item's, or a user's,
 *	  neighbours by the angle between factors.
 *	  collab.cosine_similarity(): the same measure for any two vectors.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "core/cf_topk.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_cosine_similar);
COLLAB_FUNCTION(collab_similar_users);
COLLAB_FUNCTION(collab_cosine_similarity);

/* Rounding must not take a cosine out of [-1, 1]. */
static inline float
ClampCosine(double cosine)
{
	return (float) (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
}

/* What has no factors points nowhere: it has no neighbours and is nobody's. */
static void
OfferNeighbours(cf_topk *top, CachedModel *model, Side side, uint32 of)
{
	const cf_side *rows = CachedRowsOf(model, side);
	const float *norms = CachedNorms(model, side);
	const float *factors = cf_side_row(rows, of);

	if (norms[of] == 0)
		return;
	for (uint32 row = 0; row < rows->n_rows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		if (row != of && norms[row] > 0)
			cf_topk_offer(top, ClampCosine(model->model.kernels->dot(factors, cf_side_row(rows, row),
																	 rows->n_factors) /
										   ((double) norms[of] * norms[row])), row);
	}
}

static void
AddNeighbours(FunctionCallInfo fcinfo, const CachedModel *model, Side side, const cf_topk *top,
			  IdType *type)
{
	for (size_t i = 0; i < top->n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = IdDatum(type, model, side, top->heap[i].row);
		values[1] = Float4GetDatum(top->heap[i].score);
		AddResultRow(fcinfo, values, nulls);
	}
}

static Datum
Neighbours(FunctionCallInfo fcinfo, Side side)
{
	int32		k = PositiveArgument(fcinfo, 2, "k");
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	Oid			argument_type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	CachedModel *model;
	KeyArgument argument;
	IdType		type;
	cf_topk		top;
	uint32		of;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NeedSide(side));
	KeyArgumentInit(&argument, &CachedSideOf(model, side)->key_type, argument_type,
					SideName(side), model->name);
	type = IdTypeOf(argument_type);
	of = cf_dict_find(CachedSideOf(model, side)->dict,
					  KeyArgumentGet(&argument, PG_GETARG_DATUM(1)));
	if (of == CF_NO_ROW)
		return (Datum) 0;

	HostCheck(host, cf_topk_create(host, Min((uint32) k, CachedRowsOf(model, side)->n_rows), &top));
	OfferNeighbours(&top, model, side, of);
	cf_topk_sort(&top);
	AddNeighbours(fcinfo, model, side, &top, &type);
	cf_topk_release(host, &top);
	return (Datum) 0;
}

Datum
collab_cosine_similar(PG_FUNCTION_ARGS)
{
	return Neighbours(fcinfo, ITEMS);
}

Datum
collab_similar_users(PG_FUNCTION_ARGS)
{
	return Neighbours(fcinfo, USERS);
}

Datum
collab_cosine_similarity(PG_FUNCTION_ARGS)
{
	const float *x;
	const float *y;
	int			n = VectorArguments(fcinfo, 0, 1, &x, &y);
	double		xy = 0;
	double		xx = 0;
	double		yy = 0;

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
