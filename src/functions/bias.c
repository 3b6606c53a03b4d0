/*
 * bias.c
 *	  collab.movie_bias(): items ranked by learned bias.
 */
#include "postgres.h"

#include "core/cf_topk.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_movie_bias);
COLLAB_FUNCTION(collab_movie_bias_typed);

static void
OfferBiases(cf_topk *top, const cf_side *items, bool lowest, int64 min_ratings)
{
	for (uint32 row = 0; row < items->n_rows; row++)
	{
		float		bias = cf_side_bias(items, row);

		if (items->n_ratings[row] >= min_ratings)
			cf_topk_offer(top, lowest ? -bias : bias, row);
	}
}

static void
AddRanking(FunctionCallInfo fcinfo, const CachedModel *model, const cf_topk *top,
		   IdType *type)
{
	for (size_t i = 0; i < top->n; i++)
	{
		uint32		row = top->heap[i].row;
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = IdDatum(type, model, ITEMS, row);
		values[2] = Float4GetDatum(cf_side_bias(&model->model.items, row));
		values[3] = Int64GetDatum(model->model.items.n_ratings[row]);
		AddResultRow(fcinfo, values, nulls);
	}
}

/* item_type: number of that argument, or -1; "lowest" and "min_ratings" follow. */
static Datum
MovieBias(FunctionCallInfo fcinfo, int item_type, int lowest)
{
	int32		k = PositiveArgument(fcinfo, 1, "k");
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	CachedModel *model;
	cf_topk		top;
	IdType		type;

	RequireArgument(fcinfo, lowest, "lowest");
	RequireArgument(fcinfo, lowest + 1, "min_ratings");
	BeginRows(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_ITEMS);
	type = IdResultType(fcinfo, item_type, model, ITEMS,
						"collab.movie_bias(model, k, NULL::%s)");
	if (!model->model.use_bias)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no biases", model->name),
				 errhint("Train it with use_bias => true.")));

	HostCheck(host, cf_topk_create(host, Min((uint32) k, model->model.items.n_rows), &top));
	OfferBiases(&top, &model->model.items, PG_GETARG_BOOL(lowest), PG_GETARG_INT64(lowest + 1));
	cf_topk_sort(&top);
	AddRanking(fcinfo, model, &top, &type);
	cf_topk_release(host, &top);
	return (Datum) 0;
}

Datum
collab_movie_bias(PG_FUNCTION_ARGS)
{
	return MovieBias(fcinfo, -1, 2);
}

Datum
collab_movie_bias_typed(PG_FUNCTION_ARGS)
{
	return MovieBias(fcinfo, 2, 3);
}
