/*
 * cf_mlp.c
 *	  The solver of the neural model, "mlp": a net over embeddings, by Adam.
 */
#include <string.h>

#include "cf_backprop.h"
#include "cf_deferred.h"
#include "cf_mlp.h"

#define WEIGHTS_AT_ONCE 4096	/* stepped together; their directions are not kept */

typedef struct mlp_state
{
	cf_model   *model;
	cf_batches	batches;
	cf_deferred deferred;		/* of the embeddings, and time */
	cf_backprop pass;
	float	   *moments;		/* [2][n_weights] of the net's weights */
} mlp_state;

/* ---------- steps ---------- */

/* One step of weights [first, first + n) of the net. */
static cf_status
step_weights(mlp_state *mlp, const cf_adam_step *step, const float *first, size_t n)
{
	cf_net	   *net = mlp->model->net;
	size_t		at = (size_t) (first - net->weights);
	size_t		end = at + n;
	float		directions[WEIGHTS_AT_ONCE];

	for (; at < end; at += n)
	{
		n = end - at < WEIGHTS_AT_ONCE ? end - at : WEIGHTS_AT_ONCE;
		mlp->model->kernels->adam_step(step, net->weights + at, mlp->moments + at,
									   mlp->moments + net->n_weights + at, directions,
									   mlp->pass.gradients + at, n);
		if (cf_deferred_stops(&mlp->deferred, n))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
step_layer(mlp_state *mlp, const cf_net_layer *layer)
{
	cf_adam_step step = cf_deferred_now(&mlp->deferred);
	cf_status	status = step_weights(mlp, &step, layer->weights,
									  (size_t) layer->n_in * layer->n_out);

	step.decay = 1.0f;
	if (status == CF_OK && layer->bias != NULL)
		status = step_weights(mlp, &step, layer->bias, layer->n_out);
	if (status == CF_OK && layer->gamma != NULL)
		status = step_weights(mlp, &step, layer->gamma, layer->n_out);
	if (status == CF_OK && layer->beta != NULL)
		status = step_weights(mlp, &step, layer->beta, layer->n_out);
	return status;
}

static cf_status
step_net(mlp_state *mlp)
{
	cf_status	status = CF_OK;
	uint32_t	l;

	for (l = 0; l <= mlp->model->net->shape.n_layers && status == CF_OK; l++)
		status = step_layer(mlp, &mlp->model->net->layers[l]);
	return status;
}

static cf_status
run_batch(void *context, const cf_rating *batch, double *sum)
{
	mlp_state  *mlp = context;
	cf_deferred *deferred = &mlp->deferred;
	cf_backprop *pass = &mlp->pass;
	cf_status	status = cf_deferred_touch(deferred, batch);

	if (status == CF_OK)
		status = cf_backprop_forward(pass, batch, deferred->step);
	if (status != CF_OK)
		return status;
	*sum += cf_model_slopes(mlp->model, batch, pass->n, 2.0f / (float) pass->n, pass->logits);
	status = cf_backprop_backward(pass, deferred->user_gradients, deferred->item_gradients);
	if (status == CF_OK)
		status = step_net(mlp);
	if (status == CF_OK)
		status = cf_deferred_step(deferred);
	return status;
}

static cf_status
mlp_step(void *state, cf_pool *pool, double *loss)
{
	mlp_state  *mlp = state;

	(void) pool;
	return cf_batches_next(&mlp->batches, run_batch, mlp, loss);
}

static cf_status
mlp_epoch(void *state, cf_pool *pool, double *loss)
{
	mlp_state  *mlp = state;
	cf_status	status = cf_batches_epoch(&mlp->batches, run_batch, mlp, loss);

	(void) pool;				/* steps follow on one another */
	if (status == CF_OK)
		status = cf_deferred_settle(&mlp->deferred);
	return status;
}

/* ---------- the solver ---------- */

static cf_net_shape
shape_of(const cf_settings *settings)
{
	cf_net_shape shape = settings->net;

	shape.user_factors = cf_user_factors(settings);
	shape.item_factors = cf_item_factors(settings);
	return shape;
}

static cf_status
mlp_start(const cf_settings *settings, cf_model *model)
{
	cf_net_shape shape = shape_of(settings);
	cf_status	status = cf_net_create(model->host, &shape, &model->net);

	if (status != CF_OK)
		return status;
	model->use_bias = false;
	return cf_net_start(model->net, settings->seed);
}

static size_t
mlp_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train,
		   uint32_t n_threads)
{
	cf_net_shape shape = shape_of(settings);
	uint32_t	batch = cf_batches_size(settings, n_train);
	size_t		bytes = cf_net_memory(&shape);

	bytes = cf_size_add(bytes, cf_block_memory(1, sizeof(mlp_state)));
	bytes = cf_size_add(bytes, cf_deferred_memory(settings, n_users, n_items, n_train));
	bytes = cf_size_add(bytes, cf_backprop_memory(&shape, batch, settings->dropout));
	(void) n_threads;
	return cf_size_add(bytes, cf_block_memory(cf_net_size(&shape), 2 * sizeof(float)));
}

static void
mlp_end(void *state)
{
	mlp_state  *mlp = state;
	cf_host    *host = mlp->model->host;

	cf_deferred_end(&mlp->deferred);
	cf_backprop_end(&mlp->pass);
	cf_free(host, mlp->moments);
	cf_free(host, mlp);
}

static cf_status
take_parts(mlp_state *mlp, const cf_settings *settings, cf_ratings *ratings, cf_model *model)
{
	cf_host    *host = model->host;
	cf_status	status = cf_batches_begin(&mlp->batches, settings, ratings, host);

	if (status == CF_OK && settings->net.batch_norm && mlp->batches.size < 2)
		status = CF_BATCH_OF_ONE;
	if (status == CF_OK)
		status = cf_deferred_begin(&mlp->deferred, settings, &mlp->batches, model);
	if (status == CF_OK)
		status = cf_backprop_begin(&mlp->pass, model, settings->blas, mlp->batches.size,
								   settings->dropout, settings->seed);
	if (status != CF_OK)
		return status;
	mlp->moments = cf_alloc_zero(host, model->net->n_weights, 2 * sizeof(float));
	return mlp->moments != NULL ? CF_OK : host->failure;
}

static cf_status
mlp_begin(const cf_settings *settings, cf_ratings *ratings, cf_model *model, cf_pool *pool,
		  void **state)
{
	mlp_state  *mlp;
	cf_status	status;

	(void) pool;
	if (cf_gradients_overflow(settings, ratings))
		return CF_TOO_LARGE;
	mlp = cf_alloc_zero(model->host, 1, sizeof(mlp_state));
	if (mlp == NULL)
		return model->host->failure;
	mlp->model = model;
	status = take_parts(mlp, settings, ratings, model);
	if (status == CF_OK)
		*state = mlp;
	else
		mlp_end(mlp);
	return status;
}

const cf_solver cf_mlp = {
	.name = "mlp",
	.memory = mlp_memory,
	.start = mlp_start,
	.begin = mlp_begin,
	.epoch = mlp_epoch,
	.step = mlp_step,
	.end = mlp_end
};
