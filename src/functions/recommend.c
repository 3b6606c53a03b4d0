/*
 * recommend.c
 *	  collab.recommend(): the best items for one user.
 *	  collab.recommend_for(): the best items for somebody who is described by
 *	  some ratings.
 *	  collab.recommend_all(): the best items for each user.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "core/cf_recommend.h"
#include "server/arguments.h"
#include "server/blas.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/fold.h"
#include "server/host.h"
#include "server/ids.h"
#include "server/pool.h"
#include "server/seen.h"

COLLAB_FUNCTION(collab_recommend);
COLLAB_FUNCTION(collab_recommend_typed);
COLLAB_FUNCTION(collab_recommend_for);
COLLAB_FUNCTION(collab_recommend_all);
COLLAB_FUNCTION(collab_recommend_all_typed);

/* Arguments that say which items may be recommended: the first's number. */
typedef enum FilterArgument
{
	ARG_CANDIDATES,
	ARG_EXCLUDE,
	ARG_MIN_SCORE,
	ARG_MIN_RATINGS
} FilterArgument;

/* How this call site's user ids become keys of its model. */
typedef struct RecommendState
{
	bool		ready;
	KeyArgument user;
} RecommendState;

static float
MinScore(FunctionCallInfo fcinfo, int argument)
{
	float		min_score = PG_ARGISNULL(argument) ? -INFINITY : PG_GETARG_FLOAT4(argument);

	if (isnan(min_score))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_score must not be NaN")));
	return min_score;
}

/* Rows in order, once each. */
static const uint32 *
UniqueRows(uint32 *rows, size_t *n)
{
	*n = cf_rows_unique(rows, *n);
	return rows;
}

/* Items that are left out: those of "exclude" and those of "seen". */
static void
SetExcluded(cf_filter *filter, uint32 *exclude, size_t n_exclude, uint32 *seen, size_t n_seen)
{
	uint32	   *rows = seen;

	filter->n_without = n_exclude + n_seen;
	if (n_exclude > 0)
	{
		rows = MemoryContextAllocHuge(CurrentMemoryContext, filter->n_without * sizeof(uint32));
		memcpy(rows, exclude, n_exclude * sizeof(uint32));
		if (n_seen > 0)
			memcpy(rows + n_exclude, seen, n_seen * sizeof(uint32));
	}
	filter->without = UniqueRows(rows, &filter->n_without);
}

/* The filter of the four arguments from "first", and of what the user has seen. */
static cf_filter
ReadFilter(FunctionCallInfo fcinfo, int first, const CachedModel *model, uint32 *seen, size_t n_seen)
{
	cf_filter	filter = cf_filter_default();
	uint32	   *exclude = NULL;
	size_t		n_exclude = 0;

	if (!PG_ARGISNULL(first + ARG_CANDIDATES))
	{
		uint32	   *rows = ReadItems(fcinfo, first + ARG_CANDIDATES, "candidates", model,
									 &filter.n_among);

		filter.among = UniqueRows(rows, &filter.n_among);
	}
	if (!PG_ARGISNULL(first + ARG_EXCLUDE))
		exclude = ReadItems(fcinfo, first + ARG_EXCLUDE, "exclude", model, &n_exclude);
	SetExcluded(&filter, exclude, n_exclude, seen, n_seen);
	RequireArgument(fcinfo, first + ARG_MIN_RATINGS, "min_ratings");
	filter.min_ratings = PG_GETARG_INT64(first + ARG_MIN_RATINGS);
	filter.min_score = MinScore(fcinfo, first + ARG_MIN_SCORE);
	return filter;
}

/* Add the best k items to the result: item_id, score. */
static void
AddRecommended(FunctionCallInfo fcinfo, CachedModel *model, const float *user,
			   const cf_filter *filter, int32 k, IdType *type)
{
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	cf_topk		top;

	HostCheck(host, cf_topk_create(host, Min((uint32) k, model->model.items.n_rows), &top));
	HostCheck(host, cf_recommend(&model->model, host, user, filter, &top));
	cf_topk_sort(&top);
	for (size_t i = 0; i < top.n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = IdDatum(type, model, ITEMS, top.heap[i].row);
		values[1] = Float4GetDatum(cf_model_of_rank(&model->model, top.heap[i].score));
		AddResultRow(fcinfo, values, nulls);
	}
	cf_topk_release(host, &top);
}

/*
 * A copy of the user's embedding, or NULL for a cold user: reading the source
 * can run queries that use the same model, and forget the users it has.
 */
static const float *
UserEmbedding(CachedModel *model, cf_key key)
{
	const cf_side *users = &model->model.users;
	const float *row = cf_user_embedding(&model->model, CachedUserRow(model, key, false));
	Size		size = users->stride * sizeof(float);

	return row == NULL ? NULL : memcpy(palloc(size), row, size);
}

static cf_key
UserKey(FunctionCallInfo fcinfo, const CachedModel *model, int argument)
{
	RecommendState *state = CachedModelState(fcinfo->flinfo, sizeof(RecommendState));

	if (!state->ready)
		KeyArgumentInit(&state->user, &model->users.key_type,
						get_fn_expr_argtype(fcinfo->flinfo, argument), "user", model->name);
	state->ready = true;
	return KeyArgumentGet(&state->user, PG_GETARG_DATUM(argument));
}

/* item_type: number of that argument, or -1; exclude_seen and the filter follow. */
static Datum
Recommend(FunctionCallInfo fcinfo, int item_type, int exclude_seen)
{
	int32		k = PositiveArgument(fcinfo, 2, "k");
	CachedModel *model;
	cf_filter	filter;
	cf_key		key;
	const float *user;
	uint32	   *seen = NULL;
	size_t		n_seen = 0;
	IdType		type;

	RequireArgument(fcinfo, exclude_seen, "exclude_seen");
	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_USER | NEED_ITEMS);
	type = IdResultType(fcinfo, item_type, model, ITEMS,
						"collab.recommend(model, user_id, k, NULL::%s)");
	key = UserKey(fcinfo, model, 1);
	user = UserEmbedding(model, key);
	if (PG_GETARG_BOOL(exclude_seen))
		n_seen = SeenByUser(model, key, &seen);
	filter = ReadFilter(fcinfo, exclude_seen + 1, model, seen, n_seen);
	AddRecommended(fcinfo, model, user, &filter, k, &type);
	return (Datum) 0;
}

Datum
collab_recommend(PG_FUNCTION_ARGS)
{
	return Recommend(fcinfo, -1, 3);
}

Datum
collab_recommend_typed(PG_FUNCTION_ARGS)
{
	return Recommend(fcinfo, 3, 4);
}

/* The embedding of somebody who gave these ratings; NULL where they tell nothing. */
static const float *
FoldedUser(const CachedModel *model, const uint32 *rows, const float4 *ratings, size_t n)
{
	float	   *user = palloc(model->model.items.stride * sizeof(float));

	return FoldInUser(model, rows, ratings, n, user) > 0 ? user : NULL;
}

/*
 * Somebody new: the embedding is folded in from the ratings, and the items
 * that were rated are left out.
 */
Datum
collab_recommend_for(PG_FUNCTION_ARGS)
{
	int32		k = PositiveArgument(fcinfo, 3, "k");
	CachedModel *model;
	cf_filter	filter;
	const float *user;
	uint32	   *rated;
	float4	   *ratings;
	size_t		n_rated;
	Oid			element;		/* none where the items are given as text */
	IdType		type;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_ITEMS);
	element = get_base_element_type(get_fn_expr_argtype(fcinfo->flinfo, 1));
	type = IdTypeOf(OidIsValid(element) ? element : TEXTOID);
	n_rated = ReadRatedItems(fcinfo, 1, 2, model, &rated, &ratings);
	user = FoldedUser(model, rated, ratings, n_rated);
	filter = ReadFilter(fcinfo, 4, model, rated, n_rated);
	AddRecommended(fcinfo, model, user, &filter, k, &type);
	return (Datum) 0;
}

/* A run of recommend_all(). */
typedef struct RecommendAll
{
	FunctionCallInfo fcinfo;
	CachedModel *model;
	cf_host    *host;
	cf_seen    *seen;			/* NULL: nothing is left out */
	int			n_threads;
	cf_recommender *recommender;
	cf_batch	batch;
	size_t		k;
	IdType		user_type;
	IdType		item_type;
} RecommendAll;

static void
AddBatch(RecommendAll *run)
{
	const cf_batch *batch = &run->batch;

	for (uint32 u = 0; u < batch->n_users; u++)
		for (size_t i = 0; i < batch->n[u]; i++)
		{
			const cf_scored *scored = &batch->best[u * batch->k + i];
			Datum		values[4];
			bool		nulls[4] = {false};

			CHECK_FOR_INTERRUPTS();
			values[0] = IdDatum(&run->user_type, run->model, USERS, batch->first + u);
			values[1] = IdDatum(&run->item_type, run->model, ITEMS, scored->row);
			values[2] = Float4GetDatum(scored->score);
			values[3] = Int32GetDatum((int32) i + 1);
			AddResultRow(run->fcinfo, values, nulls);
		}
}

/* The part that threads do, which runs no SQL. */
static void
NextBatch(cf_pool *pool, void *arg)
{
	RecommendAll *run = arg;

	HostCheck(run->host, cf_recommender_next(run->recommender, pool, &run->batch));
}

static void
RecommendToAll(RecommendAll *run)
{
	cf_filter	filter = cf_filter_default();

	HostCheck(run->host, cf_recommender_create(&run->model->model, run->host, Blas(),
											   run->n_threads, run->k, run->seen, &filter,
											   &run->recommender));
	do
	{
		PoolDo(run->host, run->n_threads, NextBatch, run);
		AddBatch(run);
	} while (run->batch.n_users > 0);
	cf_recommender_destroy(run->recommender);
}

/* user_type: number of that argument, or -1; item_type follows it. */
static Datum
RecommendEach(FunctionCallInfo fcinfo, int user_type, int exclude_seen)
{
	const char *call;
	RecommendAll run = {.fcinfo = fcinfo};

	run.k = PositiveArgument(fcinfo, 1, "k");
	run.n_threads = collab_threads;
	RequireArgument(fcinfo, exclude_seen, "exclude_seen");
	BeginRows(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	run.model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_USERS | NEED_ITEMS);
	call = psprintf("collab.recommend_all(model, k, NULL::%s, NULL::%s)",
					format_type_be(run.model->users.key_type.type),
					format_type_be(run.model->items.key_type.type));
	run.user_type = IdResultType(fcinfo, user_type, run.model, USERS, call);
	run.item_type = IdResultType(fcinfo, user_type < 0 ? -1 : user_type + 1, run.model, ITEMS, call);
	run.host = HostCreate(CurrentMemoryContext, MaxMemory());
	if (PG_GETARG_BOOL(exclude_seen))
		run.seen = SeenByAll(run.model, run.host);
	RecommendToAll(&run);
	return (Datum) 0;
}

Datum
collab_recommend_all(PG_FUNCTION_ARGS)
{
	return RecommendEach(fcinfo, -1, 2);
}

Datum
collab_recommend_all_typed(PG_FUNCTION_ARGS)
{
	return RecommendEach(fcinfo, 2, 4);
}
