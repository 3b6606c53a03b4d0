/*
 * cf_tune.h
 *	  Trials: the same ratings trained under many settings, side by side.
 *
 * A trial is one setting.  It is trained once a fold, and its losses are means
 * over the folds.  One fold is the split of the frozen ratings.  More are cross
 * validation by cf_ratings_folds(): in turn, each fold is what validates, and
 * all others train; the ratings are frozen without validation part for that.
 *
 * A training on one fold is a run.  Each thread takes run after run, in the
 * order of the trials, with a host of its own on malloc and a copy of the
 * ratings, as trainings reorder them.  Nothing that a run computes depends on
 * what runs beside it or ran before.
 *
 *	 cf_tune_create	->  cf_pool_create(cf_tune_host())  ->  cf_tune_run
 *		->  cf_pool_destroy  ->  cf_tune_destroy
 *
 * The host given to create is polled, by the calling thread only, between and
 * within its runs.  A host that may jump out of the poll, or a report that
 * may, must see to it that cf_tune_stop(), cf_pool_destroy() and
 * cf_tune_destroy() are called on that way, in this order.
 */
#ifndef CF_TUNE_H
#define CF_TUNE_H

#include "cf_pool.h"
#include "cf_solver.h"

typedef struct cf_trial
{
	uint32_t	number;			/* the caller's own */
	cf_settings settings;		/* batch_size 0: by the rule, for each fold */

	/* Known once it is finished.  Not a number: it diverged. */
	double		train_loss;		/* of the epoch that is kept */
	double		valid_loss;
	double		valid_sd;		/* deviation over the folds (n - 1); NaN: only one */
	double		seconds;		/* of work, of all folds together */
} cf_trial;

typedef struct cf_tune cf_tune;

/*
 * Called by the thread that runs the tune, once a trial, soon after it is
 * finished; "n_finished" counts.
 */
typedef void (*cf_tune_report) (void *context, const cf_trial *trial, uint32_t n_finished);

/*
 * Prepare to run trials on frozen ratings, which must not change meanwhile,
 * with at most n_threads threads.  CF_NO_RATINGS when a fold would have
 * nothing to train or to validate on.  CF_MEMORY_LIMIT when the host does not
 * allow for all that will be needed: the threads' greatest runs at once.
 */
extern cf_status cf_tune_create(cf_host *host, const cf_solver *solver,
								const cf_ratings *ratings, uint64_t seed, uint32_t n_folds,
								cf_trial *trials, uint32_t n_trials, uint32_t n_threads,
								cf_tune **tune);

/* The host that the pool is to have: polled as the tune needs it. */
extern cf_host *cf_tune_host(cf_tune *tune);

/*
 * Run all trials, in the order in which they are given: those that take long
 * should be first.  "report" may be NULL.
 */
extern cf_status cf_tune_run(cf_tune *tune, cf_pool *pool, cf_tune_report report,
							 void *context);

/* Let all runs end soon. */
extern void cf_tune_stop(cf_tune *tune);

/* After the threads have ended, whatever they were at.  NULL is allowed. */
extern void cf_tune_destroy(cf_tune *tune);

/*
 * Choose n of n_grid numbers at random, all different, and put them into
 * "drawn" in ascending order.  Those for a smaller n are among those for a
 * greater one.
 */
extern cf_status cf_tune_draw(cf_host *host, uint64_t seed, uint32_t n_grid, uint32_t n,
							  uint32_t *drawn);

#endif							/* CF_TUNE_H */
