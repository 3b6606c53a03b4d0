/*
 * cf_adam.h
 *	  The documents' recipe: one-cycle Adam with decoupled weight decay.
 *
 * Batches of cf_batches.h, gradients of the mean squared error, and the steps
 * of cf_deferred.h on every row.
 */
#ifndef CF_ADAM_H
#define CF_ADAM_H

#include "cf_solver.h"


extern const cf_solver cf_adam;

/*
 * Add the gradient of the mean squared error over rows[0, n) with respect to
 * each embedding: of rows[j]'s user to user_gradients[j], of its item to
 * item_gradients[j] (pointers to "stride" floats; equal pointers add up).
 * Returns the sum of the squared errors.
 */
extern double cf_adam_gradient(const cf_model *model, const cf_rating *rows, size_t n,
							   float *const *user_gradients,
							   float *const *item_gradients);

#endif							/* CF_ADAM_H */
