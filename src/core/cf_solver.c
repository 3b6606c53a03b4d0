/*
 * cf_solver.c
 *	  The training: what every solver has around it.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cf_adam.h"
#include "cf_bayes.h"
#include "cf_mlp.h"
#include "cf_sgd.h"
#include "cf_solver.h"

#define DEFAULT_START		0.01f
#define LEAST_BATCH			64
#define STEPS_AN_EPOCH		1250	/* 80,000 ratings in batches of 64 */
#define FLOATS_AT_ONCE		((size_t) 1 << 20)	/* between two polls */

struct cf_training
{
	const cf_solver *solver;
	void	   *state;
	cf_pool    *alone;			/* stands in for a pool that was not given */
	cf_ratings *ratings;
	cf_model   *model;
	uint32_t	n_epochs;
	uint32_t	epoch;			/* the next one */

	bool		keep_best;
	cf_model	best;			/* copy of the best epoch so far, unless that is
								 * the last one */
	uint32_t	best_epoch;
	double		best_loss;
};

static const cf_solver *const solvers[] = {&cf_adam, &cf_mlp, &cf_sgd, &cf_bayes};

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

static size_t
sides_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items)
{
	return cf_size_add(cf_side_memory(n_users, cf_user_factors(settings)),
					   cf_side_memory(n_items, cf_item_factors(settings)));
}

size_t
cf_training_memory(const cf_solver *solver, const cf_settings *settings,
				   uint32_t n_users, uint32_t n_items, size_t n_train, uint32_t n_threads)
{
	size_t		bytes = cf_size_add(cf_block_memory(1, sizeof(cf_training)), cf_pool_memory(1));

	bytes = cf_size_add(bytes, sides_memory(settings, n_users, n_items));
	if (settings->keep_best)
	{
		bytes = cf_size_add(bytes, sides_memory(settings, n_users, n_items));
		if (solver->start != NULL)
			bytes = cf_size_add(bytes, cf_net_memory(&settings->net));
	}
	return cf_size_add(bytes, solver->memory(settings, n_users, n_items, n_train, n_threads));
}

static void
set_model(cf_model *model, const cf_settings *settings, const cf_ratings *ratings)
{
	model->use_bias = settings->use_bias;
	model->link = settings->use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
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

static cf_status
make_sides(cf_model *model, const cf_settings *settings, const cf_ratings *ratings)
{
	cf_status	status = make_side(&model->users, model->host, cf_user_factors(settings),
								   ratings->user_counts, cf_dict_count(ratings->users));

	if (status == CF_OK)
		status = make_side(&model->items, model->host, cf_item_factors(settings),
						   ratings->item_counts, cf_dict_count(ratings->items));
	return status;
}

static float
start_scale(const cf_solver *solver, const cf_settings *settings)
{
	return solver->start_scale != NULL ? solver->start_scale(settings) : DEFAULT_START;
}

/* The model as it is before the first epoch. */
static cf_status
make_model(const cf_solver *solver, const cf_settings *settings, const cf_ratings *ratings,
		   cf_model *model, void (*warm) (void *context, cf_model *model), void *context,
		   cf_pool *pool)
{
	cf_status	status;

	set_model(model, settings, ratings);
	status = make_sides(model, settings, ratings);
	if (status == CF_OK && solver->start != NULL)
		status = solver->start(settings, model);
	if (status == CF_OK)
		status = cf_model_start(model, pool, settings->seed, start_scale(solver, settings),
								solver->starts_uniform);
	if (status == CF_OK && warm != NULL)
		warm(context, model);
	return status;
}

/* A training of the same ratings may have left them in another order. */
static cf_status
prepare(const cf_solver *solver, const cf_settings *settings, cf_ratings *ratings,
		cf_model *model, uint32_t n_threads)
{
	cf_status	status;

	if (ratings->n_train == 0)
		return CF_NO_RATINGS;
	status = cf_check_memory(model->host,
							 cf_training_memory(solver, settings,
												cf_dict_count(ratings->users),
												cf_dict_count(ratings->items),
												ratings->n_train, n_threads));
	if (status == CF_OK)
		status = cf_ratings_sort(model->host, ratings->rows, ratings->n_train);
	return status;
}

/* Room for the best epoch's model; what the solver has beside embeddings is there. */
static cf_status
make_best(cf_training *training, const cf_settings *settings)
{
	const cf_net *net = training->model->net;
	cf_status	status = CF_OK;

	training->keep_best = settings->keep_best;
	training->best_loss = INFINITY;
	if (settings->keep_best)
		status = make_sides(&training->best, settings, training->ratings);
	if (settings->keep_best && status == CF_OK && training->model->users.prior.row != NULL)
	{
		status = cf_side_add_prior(&training->best.users, training->model->host);
		if (status == CF_OK)
			status = cf_side_add_prior(&training->best.items, training->model->host);
	}
	if (settings->keep_best && status == CF_OK && net != NULL)
		status = cf_net_create(training->model->host, &net->shape, &training->best.net);
	return status;
}

/* What begins a training, once there is memory for it. */
static cf_status
begin_training(cf_training *training, const cf_settings *settings,
			   void (*warm) (void *context, cf_model *model), void *context, cf_pool *pool)
{
	cf_model   *model = training->model;
	cf_status	status = CF_OK;

	if (pool == NULL)
		status = cf_pool_create(model->host, 1, &training->alone);
	if (pool == NULL)
		pool = training->alone;
	if (status == CF_OK)
		status = make_model(training->solver, settings, training->ratings, model, warm, context,
							pool);
	if (status == CF_OK)
		status = make_best(training, settings);
	if (status == CF_OK)
		status = training->solver->begin(settings, training->ratings, model, pool,
										 &training->state);
	return status;
}

cf_status
cf_training_begin(const cf_solver *solver, const cf_settings *settings,
				  cf_ratings *ratings, cf_model *model,
				  void (*warm) (void *context, cf_model *model),
				  void *context, cf_pool *pool, cf_training **training)
{
	cf_training *new;
	cf_status	status = prepare(solver, settings, ratings, model,
								 pool != NULL ? cf_pool_threads(pool) : 1);

	if (status != CF_OK)
		return status;
	new = cf_alloc_zero(model->host, 1, sizeof(cf_training));
	if (new == NULL)
		return model->host->failure;
	new->solver = solver;
	new->ratings = ratings;
	new->model = model;
	new->n_epochs = settings->n_epochs;
	cf_model_init(&new->best, model->host);
	status = begin_training(new, settings, warm, context, pool);
	if (status != CF_OK)
	{
		cf_pool_destroy(new->alone);
		cf_model_release(&new->best);
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

static cf_status
check_embeddings(const cf_model *model)
{
	cf_status	status = check_side(model->host, &model->users);

	if (status == CF_OK)
		status = check_side(model->host, &model->items);
	if (status == CF_OK && model->net != NULL && !cf_net_is_sound(model->net))
		status = CF_NOT_FINITE;
	return status;
}

static bool
losses_are_finite(const cf_training *training, const cf_epoch *report)
{
	return isfinite(report->train_loss) &&
		(training->ratings->n_valid == 0 || isfinite(report->valid_loss));
}

static void
swap_sides(cf_side *a, cf_side *b)
{
	cf_side		held = *a;

	*a = *b;
	*b = held;

	/* draws are of all epochs, and the model's */
	b->draws = a->draws;
	b->n_draws = a->n_draws;
	a->draws = held.draws;
	a->n_draws = held.n_draws;
}

static void
restore_net(cf_net *net, const cf_net *from)
{
	if (net == NULL)
		return;
	memcpy(net->weights, from->weights, net->n_weights * sizeof(float));
	cf_net_prepare(net);
}

/*
 * Copy the epoch that just ended if it is the best so far, and put the best
 * one in the model's place when it was the last.  Without a validation part
 * (the loss is NaN) each epoch counts as better than those before it.
 */
static cf_status
keep_if_best(cf_training *training, cf_epoch *report)
{
	bool		last = training->epoch == training->n_epochs;
	cf_status	status = CF_OK;

	if (!(report->valid_loss >= training->best_loss))
	{
		training->best_loss = report->valid_loss;
		training->best_epoch = report->epoch;
		if (!last)
			status = cf_model_copy(&training->best, training->model);
	}
	else if (last)
	{
		swap_sides(&training->model->users, &training->best.users);
		swap_sides(&training->model->items, &training->best.items);
		restore_net(training->model->net, training->best.net);
	}
	report->kept = training->best_epoch;
	return status;
}

cf_status
cf_training_epoch(cf_training *training, cf_pool *pool, cf_epoch *report)
{
	cf_ratings *ratings = training->ratings;
	cf_status	status;

	report->epoch = training->epoch;
	report->kept = training->epoch;
	if (pool == NULL)
		pool = training->alone;
	status = training->solver->epoch(training->state, pool, &report->train_loss);
	if (status != CF_OK)
		return status;
	training->epoch++;
	cf_model_settle(training->model);
	status = cf_model_loss_on(training->model, pool, ratings->rows + ratings->n_train,
							  ratings->n_valid, &report->valid_loss);
	if (status == CF_OK && !losses_are_finite(training, report))
		status = CF_NOT_FINITE;
	if (status == CF_OK && training->keep_best)
		status = keep_if_best(training, report);
	if (status == CF_OK && training->epoch == training->n_epochs)
		status = check_embeddings(training->model);
	return status;
}

cf_status
cf_training_step(cf_training *training, cf_pool *pool, double *loss)
{
	return training->solver->step(training->state, pool != NULL ? pool : training->alone, loss);
}

void
cf_training_end(cf_training *training)
{
	if (training == NULL)
		return;
	training->solver->end(training->state);
	cf_pool_destroy(training->alone);
	cf_model_release(&training->best);
	cf_free(training->model->host, training);
}
