/*
 * cf_lr_find.h
 *	  A learning-rate range test: train with a rate that rises from very small
 *	  to very large, one step each, and watch the loss.
 *
 * Smith: "Cyclical Learning Rates for Training Neural Networks", 2017, in the
 * form of fastai's lr_find: step i of n trains under start (end / start)^(i/n);
 * losses are smoothed by an exponential mean of weight 0.98, corrected for its
 * start; the test ends when a smoothed loss passes four times the best.
 *
 * The suggestion is fastai's "valley": of the longest falling subsequence of
 * smoothed losses (without the first tenth and the last five), the point at
 * half of its length.
 */
#ifndef CF_LR_FIND_H
#define CF_LR_FIND_H

#include "cf_solver.h"

#define CF_LR_FIND_LEAST_STEPS	10
#define CF_LR_FIND_MOST_STEPS	100000

typedef struct cf_lr_probe
{
	double		rate;
	double		loss;			/* of the step's batch; may be no number */
	double		smoothed;
} cf_lr_probe;

/*
 * Run the test on frozen ratings: "settings" as for a training, of which
 * epochs and schedule do not count.  probes has room for n_steps; *n of them
 * are filled.  *suggested is one of them, or *n where the curve suggests
 * nothing: it is too short, does not fall, or is full of NaN.
 */
extern cf_status cf_lr_find(const cf_solver *solver, const cf_settings *settings,
							cf_ratings *ratings, double start, double end, uint32_t n_steps,
							cf_lr_probe *probes, uint32_t *n, uint32_t *suggested);

/* The suggestion alone; CF_NO_MEMORY or CF_STOPPED when the host says so. */
extern cf_status cf_lr_valley(cf_host *host, const cf_lr_probe *probes, uint32_t n,
							  uint32_t n_steps, uint32_t *suggested);

#endif							/* CF_LR_FIND_H */
