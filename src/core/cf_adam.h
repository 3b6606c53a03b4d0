/*
 * cf_adam.h
 *	  The documents' recipe: one-cycle Adam with decoupled weight decay.
 *
 * Kingma, Ba: "Adam", 2015; Loshchilov, Hutter: "Decoupled Weight Decay
 * Regularization", 2019; schedule of cf_schedule.h.  With t = 0, 1, ... and
 * the schedule's lr and beta1 of that step, every parameter does
 *
 *		p -= lr wd p
 *		m  = beta1 m + (1 - beta1) g
 *		v  = 0.99 v + 0.01 g^2
 *		p -= lr / (1 - beta1^(t+1))  m / (sqrt(v / (1 - 0.99^(t+1))) + 1e-5)
 *
 * whether its gradient g is zero or not.
 *
 * Deferred steps.  Only the rows of a batch have a gradient; a row without
 * one moves in closed form, so it waits until it is next needed.  Over a gap
 * of steps l .. e-1 that began with (p, m, v):
 *
 *		p_e = D(l,e) p - m / sqrt(v) sum_s D(s+1,e) w_s B(l,s+1) / 0.995^(s+1-l)
 *		m_e = B(l,e) m,   v_e = 0.99^(e-l) v
 *
 * where D and B are products of the steps' decays and betas and w_s is the
 * step's rate lr sqrt(1 - 0.99^(s+1)) / (1 - beta1^(s+1)).  The sum is
 * D(l,e) (T(l) - R(l,e) T(e)) with one table T, made backwards once a
 * training, and a ratio R of products: constant work for any gap.  Each row
 * keeps its direction m / (sqrt(v) + epsilon) from its last step, so that
 * catching up takes no root and no division.  Only epsilon is approximated:
 * the tail sees it as it stood at the gap's start (or at the last epoch's end,
 * when all rows are brought up to date).
 */
#ifndef CF_ADAM_H
#define CF_ADAM_H

#include "cf_solver.h"

#define CF_ADAM_BETA2		0.99
#define CF_ADAM_EPSILON		1e-5
#define CF_ADAM_START		0.01f	/* deviation of the starting embeddings */

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
