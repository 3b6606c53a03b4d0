/*
 * cf_bayes.h
 *	  Bayesian matrix factorisation with biases, by Gibbs sampling.
 *
 * With ratings y of mean 0 and variance 1, an embedding of a user x = (p, b)
 * and one of an item z = (q, c),
 *
 *		y		~ N(p . q + b + c, 1 / (alpha w_user))
 *		x		~ N(mean + link, precision^-1), the items likewise
 *		mean, precision		~ Normal-Wishart
 *		w_user	~ Gamma(nu / 2, nu / 2)
 *
 * all of which are sampled; see docs/bayes.md.  The link is 0 unless implicit
 * information is used: then it is the sum of what the items that the user has
 * rated (the users that have rated the item) contribute, over the root of
 * their number, sampled as a block by conjugate gradients that stop early.
 *
 * The model after a sweep is the mean, over the sweeps after burn-in, of the
 * conditional means of the rows; before, the last conditional means.  Its
 * output is CF_LINK_CLIP.  It has the priors, in units of ratings: with
 * implicit information those of a row of which the link is not known.
 */
#ifndef CF_BAYES_H
#define CF_BAYES_H

#include "cf_solver.h"

extern const cf_solver cf_bayes;

/* Which side's prior means depend on who rated what, once "auto" is decided. */
extern cf_implicit cf_bayes_implicit(const cf_settings *settings, uint32_t n_users,
									 uint32_t n_items, size_t n_train);

/* The default numbers of sweeps, and of those the first that are not averaged. */
extern uint32_t cf_bayes_sweeps(size_t n_train);
extern uint32_t cf_bayes_burn_in(uint32_t n_sweeps);

/*
 * Fold in one row, as cf_fold_in() does, for a side that has a prior: the
 * conditional mean under it, the fixed rows being what they are.  A row that
 * is cold counts with its own side's prior mean.
 */
extern cf_status cf_bayes_fold(const cf_model *model, cf_host *host, const cf_side *fixed,
							   const cf_side *own, const uint32_t *rows, const float *values,
							   size_t n, float *out);

/*
 * Draws of such a row from the same distribution, as cf_side_draws() has
 * them: own->n_draws of them, and its share of the noise.  "number" is the row's, for the random
 * numbers.
 */
extern cf_status cf_bayes_fold_draws(const cf_model *model, cf_host *host, const cf_side *fixed,
									 const cf_side *own, const uint32_t *rows,
									 const float *values, size_t n, uint64_t seed,
									 uint32_t number, float *draws);

#endif							/* CF_BAYES_H */
