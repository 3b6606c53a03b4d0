/*
 * cf_solver.h
 *	  The one interface that a training drives, and the training itself.
 *
 * A solver fits the embeddings of a model, and its net, to ratings, epoch by
 * epoch.  It must leave the model after each epoch such that
 * cf_model_predict() on it is the solver's best answer so far (a sampler
 * publishes its running mean, an optimiser with deferred work catches up).
 * Its result depends on ratings, settings and the starting model alone.
 *
 *	 cf_training_begin	->  cf_training_epoch, n_epochs times  ->  cf_training_end
 *
 * Between epochs the caller may read the model and do work of its own.  The
 * threads to work on are lent call by call: a pool may end between two epochs,
 * and the next one may have another number of threads, of which the result
 * does not depend.  NULL is the calling thread alone.
 *
 * A caller that wants the loss of every single step, as a learning-rate range
 * test does, sets n_steps and calls cf_training_step() that often instead;
 * the model is then not fit to be read.
 */
#ifndef CF_SOLVER_H
#define CF_SOLVER_H

#include "cf_blas.h"
#include "cf_model.h"
#include "cf_pool.h"
#include "cf_ratings.h"
#include "cf_schedule.h"

/* Of the Bayesian solver: whose prior means depend on who rated what. */
typedef enum cf_implicit
{
	CF_IMPLICIT_AUTO,			/* as the ratings are dense or sparse */
	CF_IMPLICIT_NONE,
	CF_IMPLICIT_ITEMS,
	CF_IMPLICIT_BOTH
} cf_implicit;

typedef struct cf_settings
{
	uint32_t	n_factors;
	uint32_t	n_epochs;
	uint32_t	n_steps;		/* of the schedule; 0: those of n_epochs */
	uint32_t	batch_size;		/* 0: the default; more than the training
								 * ratings: all of them */
	double		wd;				/* decoupled weight decay */
	cf_schedule schedule;
	uint64_t	seed;
	bool		use_bias;
	bool		use_range;
	float		low;
	float		high;
	bool		keep_best;		/* the epoch of lowest validation loss, not the
								 * last one */

	/* Of the neural model.  Its factors: 0 is n_factors, as for a dot product. */
	cf_net_shape net;
	double		dropout;		/* in [0, 1) */
	const cf_blas *blas;

	/* Of the Bayesian solver. */
	uint32_t	burn_in;		/* sweeps that are not averaged */
	cf_implicit implicit;
	uint32_t	keep_draws;		/* of the sweeps after burn-in, for intervals */
} cf_settings;

typedef struct cf_solver
{
	const char *name;
	bool		uses_pool;		/* gains from threads */
	bool		starts_uniform; /* embeddings start uniform, not normal */

	/* Bytes that start(), begin() and epochs will take at the most, for these sizes. */
	size_t		(*memory) (const cf_settings *settings, uint32_t n_users,
						   uint32_t n_items, size_t n_train, uint32_t n_threads);

	/* Of the embeddings' random start.  NULL: 0.01. */
	float		(*start_scale) (const cf_settings *settings);

	/*
	 * What the model has beside its embeddings, which have no values yet.
	 * NULL: nothing.
	 */
	cf_status	(*start) (const cf_settings *settings, cf_model *model);

	/* The model has its start; ratings->rows[0, n_train) may be reordered. */
	cf_status	(*begin) (const cf_settings *settings, cf_ratings *ratings,
						  cf_model *model, cf_pool *pool, void **state);

	/* The next epoch; *loss is the mean squared error met on the way. */
	cf_status	(*epoch) (void *state, cf_pool *pool, double *loss);

	/*
	 * One step of the schedule, such as a batch; *loss is its mean squared
	 * error before the step.  NULL: the solver has no such steps.
	 */
	cf_status	(*step) (void *state, cf_pool *pool, double *loss);

	void		(*end) (void *state);
} cf_solver;

/* Factors of an embedding of either side. */
static inline uint32_t
cf_user_factors(const cf_settings *settings)
{
	return settings->net.user_factors > 0 ? settings->net.user_factors : settings->n_factors;
}

static inline uint32_t
cf_item_factors(const cf_settings *settings)
{
	return settings->net.item_factors > 0 ? settings->net.item_factors : settings->n_factors;
}

/*
 * A table of that many training ratings is large: batches as small as the
 * documents' recipe wants are then slower, and worse, than solver "sgd".
 */
#define CF_LARGE_TABLE	1000000

/* "adam", "mlp", "sgd", "bayes"; NULL when there is none of that name. */
extern const cf_solver *cf_solver_named(const char *name);

/* The default batch: max(64, n_train / 1250), so that the number of steps is kept. */
extern uint32_t cf_default_batch_size(size_t n_train);

/* The default range: [low, high] of the ratings, widened by an eighth of their span. */
extern void cf_default_range(float low, float high, float *range_low, float *range_high);

typedef struct cf_training cf_training;

typedef struct cf_epoch
{
	uint32_t	epoch;			/* from 0 */
	double		train_loss;		/* mean squared error while training */
	double		valid_loss;		/* after the epoch; NaN without validation part */
	uint32_t	kept;			/* the epoch whose model would be kept if it were
								 * the last: itself unless keep_best */
} cf_epoch;

/* Bytes that a training takes beside its ratings: model and solver. */
extern size_t cf_training_memory(const cf_solver *solver, const cf_settings *settings,
								 uint32_t n_users, uint32_t n_items, size_t n_train,
								 uint32_t n_threads);

/*
 * Begin to fit "model" (initialised by cf_model_init, without rows) to frozen
 * ratings, whose training part may be reordered.  Checks the memory first;
 * when it fails the model is without rows again.  "warm", if not NULL, is called once the
 * embeddings and the net have their random start, to put known ones in their place.
 */
extern cf_status cf_training_begin(const cf_solver *solver, const cf_settings *settings,
								   cf_ratings *ratings, cf_model *model,
								   void (*warm) (void *context, cf_model *model),
								   void *context, cf_pool *pool, cf_training **training);

/*
 * The next epoch.  CF_NOT_FINITE when a loss is not a number.  After the last
 * one the model is that of epoch report->kept.
 */
extern cf_status cf_training_epoch(cf_training *training, cf_pool *pool, cf_epoch *report);

/*
 * The next step instead, at most settings->n_steps times; any loss is CF_OK.
 * Only for solvers that have steps.
 */
extern cf_status cf_training_step(cf_training *training, cf_pool *pool, double *loss);

/* Give back all but ratings and model, which is complete after the last epoch. */
extern void cf_training_end(cf_training *training);

#endif							/* CF_SOLVER_H */
