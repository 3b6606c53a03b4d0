/*
 * describe.c
 *	  What a head row tells of its model's embeddings, both ways.
 *
 * A prior is kept as an array of n_factors + 2: the variance of a factor, that
 * of the bias, and the mean factors.  Mean bias and noise, which belong to it,
 * are columns of their own: mean_user_bias, and train_loss of the epoch that was kept.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "server/compat.h"
#include "server/describe.h"
#include "server/host.h"

#define PRIOR_FACTOR_VARIANCE	0
#define PRIOR_BIAS_VARIANCE		1
#define PRIOR_MEAN_FACTORS		2

void
DescribeSide(HeadRow *row, Side side, const cf_side *embeddings, cf_host *host)
{
	int			n = PRIOR_MEAN_FACTORS + (int) embeddings->n_factors;
	float8	   *values = palloc(n * sizeof(float8));
	cf_prior	prior = {.mean_factors = values + PRIOR_MEAN_FACTORS};

	HostCheck(host, cf_prior_of_side(embeddings, host, &prior));
	values[PRIOR_FACTOR_VARIANCE] = prior.factor_variance;
	values[PRIOR_BIAS_VARIANCE] = prior.bias_variance;
	HeadSet(row, side == USERS ? HEAD_N_USERS : HEAD_N_ITEMS, Int64GetDatum(embeddings->n_rows));
	HeadSet(row, side == USERS ? HEAD_MEAN_USER_BIAS : HEAD_MEAN_ITEM_BIAS,
			Float8GetDatum(prior.mean_bias));
	if (!HeadHasNet(row))
		HeadSet(row, side == USERS ? HEAD_USER_PRIOR : HEAD_ITEM_PRIOR, Float8ArrayDatum(values, n));
}

/* The mean, then the rows of the lower triangle. */
static Datum
NormalDatum(const cf_side *side)
{
	int			d = (int) side->n_factors + 1;
	int			n = d + d * (d + 1) / 2;
	float8	   *values = palloc(n * sizeof(float8));
	float8	   *next = values + d;

	memcpy(values, side->prior.mean, d * sizeof(float8));
	for (int i = 0; i < d; i++)
	{
		memcpy(next, side->prior.precision + (size_t) i * d, (i + 1) * sizeof(float8));
		next += i + 1;
	}
	return Float8ArrayDatum(values, n);
}

void
DescribeBayes(HeadRow *row, const cf_model *model)
{
	Datum		range[2] = {Float4GetDatum(model->low), Float4GetDatum(model->high)};

	if (model->users.prior.row == NULL)
		return;
	HeadSet(row, HEAD_Y_RANGE,
			PointerGetDatum(construct_array(range, 2, FLOAT4OID, sizeof(float4), true,
											TYPALIGN_INT)));
	HeadSet(row, HEAD_NOISE, Float8GetDatum(model->noise));
	HeadSet(row, HEAD_USER_NORMAL, NormalDatum(&model->users));
	HeadSet(row, HEAD_ITEM_NORMAL, NormalDatum(&model->items));
	if (model->users.draws == NULL)
		return;
	HeadSet(row, HEAD_N_DRAWS, Int32GetDatum((int32) model->users.n_draws));
	HeadSet(row, HEAD_CALIBRATION, Float4ArrayDatum(model->calibration, CF_CALIBRATION));
}

/* A side that has no rows yet gets its prior. */
static void
NormalFromHead(const HeadRow *row, HeadColumn column, cf_host *host, cf_side *side)
{
	int			n;
	float8	   *values = HeadFloat8Array(row, column, &n);
	const float8 *next;
	int			d;

	cf_side_begin(side, (uint32) HeadInt32(row, HEAD_N_FACTORS, 0));
	HostCheck(host, cf_side_add_prior(side, host));
	d = (int) side->n_factors + 1;
	next = values + d;
	memcpy(side->prior.mean, values, d * sizeof(float8));
	for (int i = 0; i < d; i++)
		for (int j = 0; j <= i; j++)
			side->prior.precision[(size_t) i * d + j] =
				side->prior.precision[(size_t) j * d + i] = *next++;
	cf_side_set_prior(side);
}

/* What only a Bayesian model has, from a checked row. */
static void
BayesFromHead(const HeadRow *row, cf_host *host, cf_model *model)
{
	ArrayType  *calibration;

	model->link = CF_LINK_CLIP;
	model->base = model->mean_rating;
	model->noise = HeadFloat8(row, HEAD_NOISE, 1);
	NormalFromHead(row, HEAD_USER_NORMAL, host, &model->users);
	NormalFromHead(row, HEAD_ITEM_NORMAL, host, &model->items);
	for (int i = 0; i < CF_CALIBRATION; i++)
		model->calibration[i] = 1;
	if (row->nulls[HEAD_CALIBRATION])
		return;
	calibration = DatumGetArrayTypeP(row->values[HEAD_CALIBRATION]);
	if (ARR_NDIM(calibration) == 1 && ARR_DIMS(calibration)[0] == CF_CALIBRATION &&
		!array_contains_nulls(calibration))
		memcpy(model->calibration, ArrayData(calibration), sizeof(model->calibration));
}

static cf_net *
NetFromHead(const HeadRow *row, const char *name, cf_host *host)
{
	cf_net_shape shape = HeadNetShape(row);
	size_t		n;
	const float4 *weights = HeadWeights(row, &n);
	bool		sound = n == cf_net_size(&shape);
	cf_net	   *net;

	if (sound)
	{
		HostCheck(host, cf_net_create(host, &shape, &net));
		memcpy(net->weights, weights, n * sizeof(float4));
		sound = cf_net_is_sound(net);
	}
	if (!sound)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("weights of neural model \"%s\" are damaged", name),
				 errhint("Train the model again with collab.train(..., replace => true).")));
	cf_net_prepare(net);
	return net;
}

void
ModelFromHead(const HeadRow *row, const char *name, cf_host *host, cf_model *model)
{
	cf_model_init(model, host);
	model->use_bias = HeadBool(row, HEAD_USE_BIAS, true) && !HeadHasNet(row);
	model->link = HeadRange(row, &model->low, &model->high) ? CF_LINK_SIGMOID : CF_LINK_NONE;
	model->mean_rating = HeadFloat8(row, HEAD_MEAN_RATING, 0);
	model->users.mean_bias = HeadFloat8(row, HEAD_MEAN_USER_BIAS, 0);
	model->items.mean_bias = HeadFloat8(row, HEAD_MEAN_ITEM_BIAS, 0);
	if (HeadHasNet(row))
		model->net = NetFromHead(row, name, host);
	if (HeadHasNormals(row))
		BayesFromHead(row, host, model);
}

cf_prior *
PriorFromHead(const HeadRow *row, Side side, MemoryContext context)
{
	int			n_losses;
	int			n;
	float8	   *losses = HeadFloat8Array(row, HEAD_TRAIN_LOSS, &n_losses);
	float8	   *values = HeadFloat8Array(row, side == USERS ? HEAD_USER_PRIOR : HEAD_ITEM_PRIOR, &n);
	int			epoch = HeadInt32(row, HEAD_BEST_EPOCH, n_losses);
	float8		noise = epoch > 0 && epoch <= n_losses ? losses[epoch - 1] : -1;
	cf_prior   *prior;

	/* written so that NaN fails */
	if (values == NULL || !(noise >= 0 && isfinite(noise)))
		return NULL;
	prior = MemoryContextAlloc(context, sizeof(cf_prior));
	prior->noise = noise;
	prior->factor_variance = values[PRIOR_FACTOR_VARIANCE];
	prior->bias_variance = values[PRIOR_BIAS_VARIANCE];
	prior->mean_bias = HeadFloat8(row, side == USERS ? HEAD_MEAN_USER_BIAS : HEAD_MEAN_ITEM_BIAS, 0);
	n -= PRIOR_MEAN_FACTORS;
	prior->mean_factors = MemoryContextAlloc(context, n * sizeof(float8));
	memcpy(prior->mean_factors, values + PRIOR_MEAN_FACTORS, n * sizeof(float8));
	return prior;
}
