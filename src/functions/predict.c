/*
 * predict.c
 *	  collab.predict(): the rating that a user would give an item.
 */
#include "postgres.h"

#include "server/cache.h"
#include "server/compat.h"

COLLAB_FUNCTION(collab_predict);

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
