/*
 * bias.c
 *	  collab.movie_bias(), collab.user_bias(): items, or users, ranked by
 *	  learned bias.
 */
#include "postgres.h"

#include "core/cf_topk.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_movie_bias);
COLLAB_FUNCTION(collab_movie_bias_typed);
COLLAB_FUNCTION(collab_user_bias);
COLLAB_FUNCTION(collab_user_bias_typed);

static void
OfferBiases(cf_topk *top, const cf_side *rows, bool lowest, int64 min_ratings)
{
	for (uint32 row = 0; row < rows->n_rows; row++)
	{
		float		bias = cf_side_bias(rows, row);

		if (rows->n_ratings[row] >= min_ratings)
			cf_topk_offer(top, lowest ? -bias : bias, row);
	}
}

static void
AddRanking(FunctionCallInfo fcinfo, const CachedModel *model, Side side, const cf_topk *top,
		   IdType *type)
{
	const cf_side *rows = CachedRowsOf(model, side);

	for (size_t i = 0; i < top->n; i++)
	{
		uint32		row = top->heap[i].row;
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = IdDatum(type, model, side, row);
		values[2] = Float4GetDatum(cf_side_bias(rows, row));
		values[3] = Int64GetDatum(rows->n_ratings[row]);
		AddResultRow(fcinfo, values, nulls);
	}
}

/* id_type: number of that argument, or -1; "lowest" and "min_ratings" follow. */
static Datum
RankByBias(FunctionCallInfo fcinfo, Side side, int id_type, int lowest)
{
	static const char *const call[] = {
		[USERS] = "collab.user_bias(model, k, NULL::%s)",
		[ITEMS] = "collab.movie_bias(model, k, NULL::%s)"
	};
	int32		k = PositiveArgument(fcinfo, 1, "k");
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	CachedModel *model;
	const cf_side *rows;
	cf_topk		top;
	IdType		type;

	RequireArgument(fcinfo, lowest, "lowest");
	RequireArgument(fcinfo, lowest + 1, "min_ratings");
	BeginRows(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NeedSide(side));
	type = IdResultType(fcinfo, id_type, model, side, call[side]);
	if (!model->model.use_bias)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no biases", model->name),
				 model->model.net != NULL ?
				 errhint("It is neural: train a model without use_nn.") :
				 errhint("Train it with use_bias => true.")));

	rows = CachedRowsOf(model, side);
	HostCheck(host, cf_topk_create(host, Min((uint32) k, rows->n_rows), &top));
	OfferBiases(&top, rows, PG_GETARG_BOOL(lowest), PG_GETARG_INT64(lowest + 1));
	cf_topk_sort(&top);
	AddRanking(fcinfo, model, side, &top, &type);
	cf_topk_release(host, &top);
	return (Datum) 0;
}

Datum
collab_movie_bias(PG_FUNCTION_ARGS)
{
	return RankByBias(fcinfo, ITEMS, -1, 2);
}

Datum
collab_movie_bias_typed(PG_FUNCTION_ARGS)
{
	return RankByBias(fcinfo, ITEMS, 2, 3);
}

Datum
collab_user_bias(PG_FUNCTION_ARGS)
{
	return RankByBias(fcinfo, USERS, -1, 2);
}

Datum
collab_user_bias_typed(PG_FUNCTION_ARGS)
{
	return RankByBias(fcinfo, USERS, 2, 3);
}
