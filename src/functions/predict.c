/*
 * predict.c
 *	  collab.predict(): the rating that a user would give an item.
 *	  collab.score(): the same of two embeddings, wherever they come from.
 *
 * Of rows that were trained, score() gives the bits that predict() gives.  It
 * knows no model, and so no cold-start ladder.
 */
#include "postgres.h"

#include <math.h>

#include "utils/array.h"

#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"

COLLAB_FUNCTION(collab_predict);
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
