/*
 * cf_adam.c
 *	  The documents' recipe: one-cycle Adam with decoupled weight decay.
 *
 * A batch goes through three passes: the rows that it touches are brought up
 * to date and get a slot for their gradient; the gradients are added up in
 * the slots; each touched row makes its step.
 */
#include <math.h>
#include <string.h>

#include "cf_adam.h"
#include "cf_deferred.h"

#define RATINGS_AT_ONCE 64		/* of which logits and slopes are held */

typedef struct adam_state
{
	const cf_model *model;
	cf_batches	batches;
	cf_deferred deferred;
} adam_state;

/* As cf_adam_gradient, for at most RATINGS_AT_ONCE. */
static double
add_gradient(const cf_model *model, const cf_rating *rows, size_t n, float scale,
			 float *const *user_gradients, float *const *item_gradients)
{
	const uint32_t k = model->users.n_factors;
	float		slopes[RATINGS_AT_ONCE];
	double		sum;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		const float *p = cf_side_row(&model->users, rows[j].user);
		const float *q = cf_side_row(&model->items, rows[j].item);

		slopes[j] = model->kernels->dot(p, q, k) + p[k] + q[k];
	}
	sum = cf_model_slopes(model, rows, n, scale, slopes);
	for (j = 0; j < n; j++)
	{
		model->kernels->axpy_pair(slopes[j], cf_side_row(&model->users, rows[j].user),
								  cf_side_row(&model->items, rows[j].item),
								  user_gradients[j], item_gradients[j], k);
		if (model->use_bias)
		{
			user_gradients[j][k] += slopes[j];
			item_gradients[j][k] += slopes[j];
		}
	}
	return sum;
}

double
cf_adam_gradient(const cf_model *model, const cf_rating *rows, size_t n,
				 float *const *user_gradients, float *const *item_gradients)
{
	double		sum = 0.0;
	size_t		done;

	for (done = 0; done < n; done += RATINGS_AT_ONCE)
		sum += add_gradient(model, rows + done,
							n - done < RATINGS_AT_ONCE ? n - done : RATINGS_AT_ONCE,
							2.0f / (float) n, user_gradients + done, item_gradients + done);
	return sum;
}

static cf_status
batch_gradient(adam_state *adam, const cf_rating *batch, double *sum)
{
	cf_deferred *deferred = &adam->deferred;
	uint32_t	size = adam->batches.size;
	uint32_t	done;

	for (done = 0; done < size; done += RATINGS_AT_ONCE)
	{
		uint32_t	n = size - done < RATINGS_AT_ONCE ? size - done : RATINGS_AT_ONCE;

		*sum += add_gradient(adam->model, batch + done, n, 2.0f / (float) size,
							 deferred->user_gradients + done, deferred->item_gradients + done);
		if (cf_deferred_stops(deferred, (size_t) n * 4 * adam->model->users.stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
run_batch(void *context, const cf_rating *batch, double *sum)
{
	adam_state *adam = context;
	cf_status	status = cf_deferred_touch(&adam->deferred, batch);

	if (status == CF_OK)
		status = batch_gradient(adam, batch, sum);
	if (status == CF_OK)
		status = cf_deferred_step(&adam->deferred);
	return status;
}

static cf_status
adam_step(void *state, cf_pool *pool, double *loss)
{
	adam_state *adam = state;

	(void) pool;
	return cf_batches_next(&adam->batches, run_batch, adam, loss);
}

static cf_status
adam_epoch(void *state, cf_pool *pool, double *loss)
{
	adam_state *adam = state;
	cf_status	status = cf_batches_epoch(&adam->batches, run_batch, adam, loss);

	(void) pool;				/* steps follow on one another */
	if (status == CF_OK)
		status = cf_deferred_settle(&adam->deferred);
	return status;
}

static size_t
adam_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train,
			uint32_t n_threads)
{
	(void) n_threads;
	return cf_size_add(cf_block_memory(1, sizeof(adam_state)),
					   cf_deferred_memory(settings, n_users, n_items, n_train));
}

static void
adam_end(void *state)
{
	adam_state *adam = state;

	cf_deferred_end(&adam->deferred);
	cf_free(adam->model->host, adam);
}

static cf_status
adam_begin(const cf_settings *settings, cf_ratings *ratings, cf_model *model, cf_pool *pool,
		   void **state)
{
	adam_state *adam;
	cf_status	status;

	(void) pool;
	if (cf_gradients_overflow(settings, ratings))
		return CF_TOO_LARGE;
	adam = cf_alloc(model->host, 1, sizeof(adam_state));
	if (adam == NULL)
		return model->host->failure;
	memset(adam, 0, sizeof(*adam));
	adam->model = model;
	status = cf_batches_begin(&adam->batches, settings, ratings, model->host);
	if (status == CF_OK)
		status = cf_deferred_begin(&adam->deferred, settings, &adam->batches, model);
	if (status == CF_OK)
		*state = adam;
	else
		adam_end(adam);
	return status;
}

const cf_solver cf_adam = {
	.name = "adam",
	.memory = adam_memory,
	.begin = adam_begin,
	.epoch = adam_epoch,
	.step = adam_step,
	.end = adam_end
};
