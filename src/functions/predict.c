/*
 * predict.c
 *	  collab.predict(): the rating that a user would give an item.
 *	  collab.predict_interval(): the same, and how uncertain it is.
 *	  collab.score(): the same of two embeddings, wherever they come from.
 *
 * Of rows that were trained, score() gives the bits that predict() gives.  It
 * knows no model, and so no cold-start ladder.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "funcapi.h"
#include "utils/array.h"

#include "core/cf_interval.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/embeddings.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_predict);
COLLAB_FUNCTION(collab_predict_interval);
COLLAB_FUNCTION(collab_score);

/* How this call site's ids become keys of its model. */
typedef struct PredictState
{
	bool		ready;
	KeyArgument user;
	KeyArgument item;
} PredictState;

static void
PreparePredict(PredictState *state, FmgrInfo *flinfo, const CachedModel *model)
{
	KeyArgumentInit(&state->user, &model->users.key_type, get_fn_expr_argtype(flinfo, 1),
					"user", model->name);
	KeyArgumentInit(&state->item, &model->items.key_type, get_fn_expr_argtype(flinfo, 2),
					"item", model->name);
	state->ready = true;
}

Datum
collab_predict(PG_FUNCTION_ARGS)
{
	CachedModel *model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0),
										NEED_USER | NEED_ITEMS);
	PredictState *state = CachedModelState(fcinfo->flinfo, sizeof(PredictState));
	uint32		user;
	uint32		item;

	if (!state->ready)
		PreparePredict(state, fcinfo->flinfo, model);
	user = CachedUserRow(model, KeyArgumentGet(&state->user, PG_GETARG_DATUM(1)), true);
	item = cf_dict_find(model->items.dict, KeyArgumentGet(&state->item, PG_GETARG_DATUM(2)));
	PG_RETURN_FLOAT4(cf_model_predict(&model->model, user, item));
}

/* ---------- intervals ---------- */

static void
RequireDraws(const CachedModel *model)
{
	if (model->model.users.prior.row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" is not Bayesian: it does not know how certain it is",
						model->name),
				 errhint("Train a model with solver => 'bayes' and keep_draws.")));
	if (model->n_draws == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no draws", model->name),
				 errhint("Train it again with keep_draws, for example 20.")));
}

static float8
LevelArgument(FunctionCallInfo fcinfo, int argument)
{
	float8		level = PG_GETARG_FLOAT8(argument);

	/* written so that NaN fails */
	if (!(level > 0 && level < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("level must be greater than 0 and less than 1")));
	return level;
}

/*
 * A side of one row, with its draws; without rows for one that is cold.  Draws
 * are read where they lie: few are asked for, and together they are many times
 * the size of the model.
 */
static void
ReadDraws(const CachedModel *model, Side side, uint32 row, cf_key key, cf_side *one)
{
	EmbeddingTable table;

	*one = *CachedRowsOf(model, side);
	one->n_draws = (uint32) model->n_draws;
	if (cf_side_is_cold(one, row))
	{
		one->n_rows = 0;
		return;
	}
	one->rows = cf_side_row(one, row);
	one->n_ratings += row;
	one->n_rows = 1;
	ModelOpenDraws(&table, side, CachedSideOf(model, side)->table, model->name);
	one->draws = EmbeddingsReadDraws(&table, key, cf_draws_width(one));
	table_close(table.relation, NoLock);
	if (one->draws == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s of model \"%s\" has no draws", SideName(side),
						KeyToString(&table.key_type, key), model->name),
				 errdetail("Its row was edited, or the table altered."),
				 errhint("Train the model again with collab.retrain().")));
}

static Datum
IntervalDatum(FunctionCallInfo fcinfo, const cf_interval *interval)
{
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Float4GetDatum(interval->lower);
	values[1] = Float4GetDatum(interval->estimate);
	values[2] = Float4GetDatum(interval->upper);
	values[3] = Float4GetDatum(interval->sd);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
collab_predict_interval(PG_FUNCTION_ARGS)
{
	CachedModel *model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0),
										NEED_USER | NEED_ITEMS);
	PredictState *state = CachedModelState(fcinfo->flinfo, sizeof(PredictState));
	float8		level = LevelArgument(fcinfo, 3);
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	cf_model	pair = model->model;
	cf_interval interval;
	cf_status	status;
	cf_key		user;
	cf_key		item;

	RequireDraws(model);
	if (!state->ready)
		PreparePredict(state, fcinfo->flinfo, model);
	user = KeyArgumentGet(&state->user, PG_GETARG_DATUM(1));
	item = KeyArgumentGet(&state->item, PG_GETARG_DATUM(2));
	ReadDraws(model, USERS, CachedUserRow(model, user, true), user, &pair.users);
	ReadDraws(model, ITEMS, cf_dict_find(model->items.dict, item), item, &pair.items);
	status = cf_interval_predict(&pair, host, 0, 0, level, &interval);
	if (status == CF_NOT_FINITE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" is damaged", model->name),
				 errdetail("Its embeddings' precision is not that of a distribution."),
				 errhint("Train the model again with collab.train(..., replace => true).")));
	HostCheck(host, status);
	return IntervalDatum(fcinfo, &interval);
}

/* ---------- embeddings from anywhere ---------- */

/* The model's range, {low, high}: 22023 where it is none. */
static void
SetRange(cf_model *model, ArrayType *array)
{
	const float *ends = (const float *) ArrayData(array);

	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 2 || array_contains_nulls(array) ||
		!isfinite(ends[0]) || !isfinite(ends[1]) || ends[0] >= ends[1])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("y_range must be two finite numbers, the lower one first"),
				 errhint("Give NULL for no range.")));
	model->link = CF_LINK_SIGMOID;
	model->low = ends[0];
	model->high = ends[1];
}

/* Arguments: user_bias, user_factors, item_bias, item_factors, y_range or NULL. */
Datum
collab_score(PG_FUNCTION_ARGS)
{
	cf_model	model;			/* no rows: kernels and range alone */
	const float *user;
	const float *item;
	int			n;
	float		logit;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	cf_model_init(&model, NULL);
	n = VectorArguments(fcinfo, 1, 3, &user, &item);
	if (!PG_ARGISNULL(4))
		SetRange(&model, PG_GETARG_ARRAYTYPE_P(4));

	/* added in the order of cf_model_predict() */
	logit = model.kernels->dot(user, item, n);
	logit += PG_GETARG_FLOAT4(0);
	logit += PG_GETARG_FLOAT4(2);
	PG_RETURN_FLOAT4(cf_model_rating(&model, logit));
}
