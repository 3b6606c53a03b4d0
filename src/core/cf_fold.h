/*
 * cf_fold.h
 *	  Folding in: the embedding of a new user (or item) from some ratings,
 *	  with the other side held fixed.
 *
 * The embedding x = (p, b) minimises
 *
 *		sum over the ratings of (rating - r(p . q_i + b + b_i))^2
 *			+ factor_ridge |p|^2 + bias_ridge (b - mean_bias)^2
 *
 * where r() is the model's range.  The ridge is the prior that the trained
 * embeddings of the same side are a sample of: normal deviates around no
 * factors and the side's mean bias, so that
 *
 *		factor_ridge = noise / mean square of a factor
 *		bias_ridge   = noise / variance of the bias
 *
 * with the noise the mean squared error of held-out ratings.  Solved by
 * Gauss-Newton steps, each by conjugate gradients, with a line search.
 */
#ifndef CF_FOLD_H
#define CF_FOLD_H

#include "cf_model.h"

typedef struct cf_ridge
{
	double		factor;			/* of each factor; INFINITY keeps it at 0 */
	double		bias;			/* of the bias; INFINITY keeps it at the mean */
} cf_ridge;

/* The ridge that the trained rows of a side stand for.  Polls the host. */
extern cf_status cf_ridge_of_side(const cf_side *side, cf_host *host, double noise,
								  cf_ridge *ridge);

/*
 * Fold in one row.  "fixed" is the side that was rated, "mean_bias" that of
 * the row's own side; rows[n] of "fixed" got values[n].  Cold rows among them
 * count with their side's mean bias.  out[n_factors + 1] gets factors and
 * bias.  Values outside the range count as its end.  Polls the host.
 */
extern cf_status cf_fold_in(const cf_model *model, cf_host *host, const cf_side *fixed,
							double mean_bias, const cf_ridge *ridge, const uint32_t *rows,
							const float *values, size_t n, float *out);

#endif							/* CF_FOLD_H */
