/*
 * cf_batches.h
 *	  The training ratings in batches, epoch by epoch, in a fresh order each.
 *
 * A batch is of one size all through a training, and the last short one of an
 * epoch is dropped.  Steps are counted from the start of the training: step t
 * takes batch t modulo the batches of an epoch.
 */
#ifndef CF_BATCHES_H
#define CF_BATCHES_H

#include "cf_solver.h"

typedef struct cf_batches
{
	cf_host    *host;
	cf_rating  *rows;			/* [n_train] */
	size_t		n_train;
	uint32_t	size;			/* ratings of a batch */
	size_t		n_epoch;		/* batches of an epoch */
	uint32_t	n_steps;		/* in all */
	uint32_t	step;			/* the next one */
	uint64_t	seed;
} cf_batches;

/* Does one step; adds the squared errors of the batch's ratings to *sum. */
typedef cf_status (*cf_batch_step) (void *context, const cf_rating *batch, double *sum);

/* Ratings of a batch: what the settings say, or the default; at most n_train. */
extern uint32_t cf_batches_size(const cf_settings *settings, size_t n_train);

/* Steps of the training: settings->n_steps, or those of all its epochs. */
extern size_t cf_batches_steps(const cf_settings *settings, size_t n_train);

/* CF_TOO_MANY when the steps cannot be counted in 32 bits. */
extern cf_status cf_batches_begin(cf_batches *batches, const cf_settings *settings,
								  cf_ratings *ratings, cf_host *host);

/* One batch.  *loss is its mean squared error; CF_TOO_MANY after the last. */
extern cf_status cf_batches_next(cf_batches *batches, cf_batch_step step, void *context,
								 double *loss);

/* All batches to the end of the epoch, or of the steps. */
extern cf_status cf_batches_epoch(cf_batches *batches, cf_batch_step step, void *context,
								  double *loss);

#endif							/* CF_BATCHES_H */
