/*
 * cf_solver.c
 *	  The training: what every solver has around it.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cf_adam.h"
#include "cf_mlp.h"
#include "cf_solver.h"

#define LEAST_BATCH			64
#define STEPS_AN_EPOCH		1250	/* 80,000 ratings in batches of 64 */
#define FLOATS_AT_ONCE		((size_t) 1 << 20)	/* between two polls */

struct cf_training
{
	const cf_solver *solver;
	void	   *state;
	cf_ratings *ratings;
	cf_model   *model;
	uint32_t	n_epochs;
	uint32_t	epoch;			/* the next one */
};

static const cf_solver *const solvers[] = {&cf_adam, &cf_mlp};

const cf_solver *
cf_solver_named(const char *name)
{
	size_t		j;

	for (j = 0; j < sizeof(solvers) / sizeof(solvers[0]); j++)
	{
		if (strcmp(solvers[j]->name, name) == 0)
			return solvers[j];
	}
	return NULL;
}

uint32_t
cf_default_batch_size(size_t n_train)
{
	size_t		batch = n_train / STEPS_AN_EPOCH;

	if (batch < LEAST_BATCH)
		return LEAST_BATCH;
	return batch < INT32_MAX ? (uint32_t) batch : INT32_MAX;
}

void
cf_default_range(float low, float high, float *range_low, float *range_high)
{
	double		margin = low < high ? ((double) high - low) / 8.0 : 0.5;

	*range_low = (float) fmax(low - margin, -FLT_MAX);
	*range_high = (float) fmin(high + margin, FLT_MAX);
}

size_t
cf_training_memory(const cf_solver *solver, const cf_settings *settings,
				   uint32_t n_users, uint32_t n_items, size_t n_train)
{
	size_t		bytes = cf_block_memory(1, sizeof(cf_training));

	bytes = cf_size_add(bytes, cf_side_memory(n_users, cf_user_factors(settings)));
	bytes = cf_size_add(bytes, cf_side_memory(n_items, cf_item_factors(settings)));
	return cf_size_add(bytes, solver->memory(settings, n_users, n_items, n_train));
}

static void
set_model(cf_model *model, const cf_settings *settings, const cf_ratings *ratings)
{
	model->use_bias = settings->use_bias;
	model->use_range = settings->use_range;
	model->low = settings->low;
	model->high = settings->high;
	model->mean_rating = ratings->mean;
}

static cf_status
make_side(cf_side *side, cf_host *host, uint32_t n_factors, const int64_t *counts,
		  uint32_t n_rows)
{
	cf_status	status = cf_side_create(side, host, n_rows, n_factors);

	if (status == CF_OK && n_rows > 0)
		memcpy(side->n_ratings, counts, n_rows * sizeof(int64_t));
	return status;
}

/* The model as it is before the first epoch. */
static cf_status
make_model(const cf_solver *solver, const cf_settings *settings, const cf_ratings *ratings,
		   cf_model *model, void (*warm) (void *context, cf_model *model), void *context)
{
	cf_status	status;

	set_model(model, settings, ratings);
	status = make_side(&model->users, model->host, cf_user_factors(settings),
					   ratings->user_counts, cf_dict_count(ratings->users));
	if (status == CF_OK)
		status = make_side(&model->items, model->host, cf_item_factors(settings),
						   ratings->item_counts, cf_dict_count(ratings->items));
	if (status == CF_OK && solver->start != NULL)
		status = solver->start(settings, model);
	if (status == CF_OK)
		status = cf_model_start(model, settings->seed, CF_ADAM_START);
	if (status == CF_OK && warm != NULL)
		warm(context, model);
	return status;
}

/* A training of the same ratings may have left them in another order. */
static cf_status
prepare(const cf_solver *solver, const cf_settings *settings, cf_ratings *ratings,
		cf_model *model)
{
	cf_status	status;

	if (ratings->n_train == 0)
		return CF_NO_RATINGS;
	status = cf_check_memory(model->host,
							 cf_training_memory(solver, settings,
												cf_dict_count(ratings->users),
												cf_dict_count(ratings->items),
												ratings->n_train));
	if (status == CF_OK)
		status = cf_ratings_sort(model->host, ratings->rows, ratings->n_train);
	return status;
}

cf_status
cf_training_begin(const cf_solver *solver, const cf_settings *settings,
				  cf_ratings *ratings, cf_model *model,
				  void (*warm) (void *context, cf_model *model),
				  void *context, cf_training **training)
{
	cf_training *new;
	cf_status	status = prepare(solver, settings, ratings, model);

	if (status != CF_OK)
		return status;
	new = cf_alloc_zero(model->host, 1, sizeof(cf_training));
	if (new == NULL)
		return model->host->failure;
	new->solver = solver;
	new->ratings = ratings;
	new->model = model;
	new->n_epochs = settings->n_epochs;
	status = make_model(solver, settings, ratings, model, warm, context);
	if (status == CF_OK)
		status = solver->begin(settings, ratings, model, &new->state);
	if (status != CF_OK)
	{
		cf_free(model->host, new);
		cf_model_release(model);
		return status;
	}
	*training = new;
	return CF_OK;
}

static bool
floats_are_finite(const float *floats, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
	{
		if (!isfinite(floats[j]))
			return false;
	}
	return true;
}

static cf_status
check_side(cf_host *host, const cf_side *side)
{
	size_t		n = (size_t) side->n_rows * side->stride;
	size_t		done;

	for (done = 0; done < n; done += FLOATS_AT_ONCE)
	{
		if (!floats_are_finite(side->rows + done,
							   n - done < FLOATS_AT_ONCE ? n - done : FLOATS_AT_ONCE))
			return CF_NOT_FINITE;
		if (cf_should_stop(host))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Are the losses numbers, and after the last epoch all embeddings too? */
static cf_status
check_finite(const cf_training *training, const cf_epoch *report)
{
	cf_status	status = CF_OK;

	if (!isfinite(report->train_loss) ||
		(training->ratings->n_valid > 0 && !isfinite(report->valid_loss)))
		return CF_NOT_FINITE;
	if (training->epoch < training->n_epochs)
		return CF_OK;
	status = check_side(training->model->host, &training->model->users);
	if (status == CF_OK)
		status = check_side(training->model->host, &training->model->items);
	if (status == CF_OK && training->model->net != NULL && !cf_net_is_sound(training->model->net))
		status = CF_NOT_FINITE;
	return status;
}

cf_status
cf_training_epoch(cf_training *training, cf_epoch *report)
{
	cf_ratings *ratings = training->ratings;
	cf_status	status;

	report->epoch = training->epoch;
	status = training->solver->epoch(training->state, &report->train_loss);
	if (status != CF_OK)
		return status;
	training->epoch++;
	cf_model_settle(training->model);
	status = cf_model_loss(training->model, ratings->rows + ratings->n_train,
						   ratings->n_valid, &report->valid_loss);
	if (status != CF_OK)
		return status;
	return check_finite(training, report);
}

cf_status
cf_training_step(cf_training *training, double *loss)
{
	return training->solver->step(training->state, loss);
}

void
cf_training_end(cf_training *training)
{
	if (training == NULL)
		return;
	training->solver->end(training->state);
	cf_free(training->model->host, training);
}
