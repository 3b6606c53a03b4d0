/*
 * cf_fold.h
 *	  Folding in: the embedding of a new user (or item) from some ratings,
 *	  with the other side held fixed.
 *
 * The embedding x = (p, b) minimises
 *
 *		sum over the ratings of (rating - r(p . q_i + b + b_i))^2
 *			+ factor_ridge |p - mean factors|^2 + bias_ridge (b - mean bias)^2
 *
 * where r() is the model's range.  The ridge is the prior that the trained
 * embeddings of the same side are a sample of: normal deviates around their
 * mean, the factors of one variance and the bias of another, so that
 *
 *		factor_ridge = noise / variance of a factor
 *		bias_ridge   = noise / variance of the bias
 *
 * Mean and variance are taken over the ratings, that is weighted by
 * n_ratings as the mean biases are.  The noise is the mean squared error that
 * the last epoch met in training, not that of held-out ratings: the trained
 * embeddings, whose variance stands beside it, fit their own ratings that
 * closely.  On MovieLens 100K this beats (in the order of what it is worth) a
 * prior around no factors, the noise of held-out ratings, unweighted moments
 * and squared errors on the scale of the logit; a variance for each factor is
 * worth nothing, and all covariances a percent for their square of numbers.
 *
 * A side of a Bayesian model has its own prior instead, under which x is the
 * conditional mean, solved for exactly: cf_bayes_fold(), which takes nothing
 * of "prior".  Values outside the range are what they are there.
 *
 * Solved by Gauss-Newton steps, each by conjugate gradients, with a line
 * search.
 */
#ifndef CF_FOLD_H
#define CF_FOLD_H

#include "cf_model.h"

/* What is known of a row before its ratings are. */
typedef struct cf_prior
{
	double		noise;			/* mean squared error of the training ratings */
	double		factor_variance;
	double		bias_variance;
	double		mean_bias;
	double	   *mean_factors;	/* [n_factors] */
} cf_prior;

/*
 * The prior that a side's rows stand for: all but the noise; mean_factors
 * must point to room.  A side without trained rows gives zeros.  Polls the
 * host.
 */
extern cf_status cf_prior_of_side(const cf_side *side, cf_host *host, cf_prior *prior);

/*
 * Can a rating of this row of "fixed" be learnt from?  A cold one counts with
 * its side's mean bias, so where there are no biases it says nothing.
 */
extern bool cf_fold_uses(const cf_model *model, const cf_side *fixed, uint32_t row);

/*
 * Fold in one row.  "fixed" is the side that was rated, "prior" that of the
 * row's own side; rows[n] of "fixed" got values[n].  A row that is there
 * twice counts twice.  out[n_factors + 1] gets factors and bias: with no
 * rating to learn from, what the cold-start ladder has, no factors and the
 * mean bias.  Values outside the range count as its end.  CF_NOT_FINITE when
 * embeddings or values are too large to compute with.  Polls the host.
 */
extern cf_status cf_fold_in(const cf_model *model, cf_host *host, const cf_side *fixed,
							const cf_prior *prior, const uint32_t *rows,
							const float *values, size_t n, float *out);

#endif							/* CF_FOLD_H */
