/*
 * cf_model.h
 *	  The model: embeddings of users and items, and what they predict.
 *
 * An embedding is one row of a cf_side: its factors, then its bias at
 * [n_factors], then zeros up to the stride.  For a user u and an item i
 *
 *		logit(u, i) = p_u . q_i + b_u + b_i
 *		rating      = low + (high - low) sigmoid(logit)		CF_LINK_SIGMOID
 *		rating      = base + logit, kept in [low, high]		CF_LINK_CLIP
 *		rating      = logit									CF_LINK_NONE
 *
 * With a net (cf_net.h) the logit is what the net makes of the two embeddings,
 * whose factors may then be of two numbers and whose biases are 0.
 *
 * The cold-start ladder.  A row that had no training ratings is cold.  A side
 * that is cold or unknown contributes its mean bias and no factors; when both
 * are, or the model has no biases, the prediction is the mean training
 * rating, exactly.  To a net a cold side hands in its mean embedding, and a
 * side with a prior (below) the prior's mean, factors and bias.
 */
#ifndef CF_MODEL_H
#define CF_MODEL_H

#include "cf_host.h"
#include "cf_kernels.h"
#include "cf_net.h"
#include "cf_pool.h"
#include "cf_ratings.h"

#define CF_MAX_FACTORS	1024

/* From logits to ratings. */
typedef enum cf_link
{
	CF_LINK_NONE,
	CF_LINK_SIGMOID,
	CF_LINK_CLIP
} cf_link;

/*
 * What a Bayesian solver has learnt of a side as a whole: its embeddings,
 * factors and bias together, are normal deviates.
 */
typedef struct cf_side_prior
{
	double	   *mean;			/* [n_factors + 1] */
	double	   *precision;		/* [n_factors + 1][n_factors + 1] */
	float	   *row;			/* the mean as a row of the side */
} cf_side_prior;

typedef struct cf_side
{
	uint32_t	n_rows;
	uint32_t	capacity;		/* rows there is room for */
	uint32_t	n_factors;
	uint32_t	stride;			/* floats from one row to the next */
	float	   *rows;			/* [n_rows][stride] */
	int64_t    *n_ratings;		/* [n_rows] training ratings; 0: cold */
	double		mean_bias;		/* weighted by n_ratings; with a prior: its mean */
	cf_side_prior prior;		/* NULLs: none */

	/* Of the posterior, for intervals; NULL: none are kept. */
	float	   *draws;			/* [n_rows][cf_draws_width(side)] */
	uint32_t	n_draws;
} cf_side;

#define CF_CALIBRATION	24		/* levels: 1/25, 2/25, ... */

typedef struct cf_model
{
	cf_host    *host;
	const cf_kernels *kernels;
	bool		use_bias;
	cf_link		link;
	float		low;			/* unless the link is CF_LINK_NONE */
	float		high;
	double		base;			/* for CF_LINK_CLIP */
	double		mean_rating;	/* of the training ratings */
	double		noise;			/* with priors: variance of a rating's noise */
	float		calibration[CF_CALIBRATION];	/* with draws: see cf_interval.h */
	cf_side		users;
	cf_side		items;
	cf_net	   *net;			/* the model's own; NULL: dot product */
} cf_model;

/*
 * Floats from one row to the next for embeddings of n_factors and a bias: in
 * training a multiple of 8, which kernels take at once; of rows that are only
 * read a multiple of 4, which takes less memory.
 */
extern uint32_t cf_stride(uint32_t n_factors);
extern uint32_t cf_packed_stride(uint32_t n_factors);

/* Bytes that cf_side_create() takes for this shape. */
extern size_t cf_side_memory(uint32_t n_rows, uint32_t n_factors);

/* Bytes that the prior of a side takes, and its draws. */
extern size_t cf_prior_memory(uint32_t n_factors);
extern size_t cf_draws_memory(uint32_t n_rows, uint32_t n_factors, uint32_t n_draws);

/* A model without rows; set its scalars, then fill its sides. */
extern void cf_model_init(cf_model *model, cf_host *host);
extern void cf_model_release(cf_model *model);

/* Room for n_rows rows to train, all of them zero and cold. */
extern cf_status cf_side_create(cf_side *side, cf_host *host, uint32_t n_rows,
								uint32_t n_factors);

/* No rows, to append some that are only read. */
extern void cf_side_begin(cf_side *side, uint32_t n_factors);

/* One more row, zero and cold: grows by doubling. */
extern cf_status cf_side_append(cf_side *side, cf_host *host);

/* Give back the room that growing left over. */
extern cf_status cf_side_trim(cf_side *side, cf_host *host);

/* Give a side a prior, all zero: fill in mean and precision. */
extern cf_status cf_side_add_prior(cf_side *side, cf_host *host);

/* Put the prior's mean where rows are looked up, once it is known. */
extern void cf_side_set_prior(cf_side *side);

/* Room for n_draws draws of each of the side's rows, all of them zero. */
extern cf_status cf_side_add_draws(cf_side *side, cf_host *host, uint32_t n_draws);

extern void cf_side_release(cf_side *side, cf_host *host);

/* Put row r at rank[r], for all r; rank is a permutation and is used up. */
extern void cf_side_permute(cf_side *side, uint32_t *rank);

static inline float *
cf_side_row(const cf_side *side, uint32_t row)
{
	return side->rows + (size_t) row * side->stride;
}

static inline float
cf_side_bias(const cf_side *side, uint32_t row)
{
	return side->rows[(size_t) row * side->stride + side->n_factors];
}

/* A row's draws, factors and bias each, and last its share of the noise's variance. */
static inline size_t
cf_draws_width(const cf_side *side)
{
	return (size_t) side->n_draws * (side->n_factors + 1) + 1;
}

static inline float *
cf_side_draws(const cf_side *side, uint32_t row)
{
	return side->draws + row * cf_draws_width(side);
}

/* Has this row no training ratings, or is it unknown? */
static inline bool
cf_side_is_cold(const cf_side *side, uint32_t row)
{
	return row >= side->n_rows || side->n_ratings[row] == 0;
}

/*
 * Copy the embeddings, mean biases, priors and weights of a model that has as many
 * rows of the same shape; the net is yet to be prepared.  Polls the host.
 */
extern cf_status cf_model_copy(cf_model *to, const cf_model *from);

/*
 * Start the embeddings of all rows that have training ratings: normal,
 * wrapped at two deviations, times "scale"; or uniform within "scale", which
 * takes a quarter of the time.  Bias too where the model has it.  The others
 * are left as they are.  Polls the host.
 */
extern cf_status cf_model_start(cf_model *model, cf_pool *pool, uint64_t seed, float scale,
								bool is_uniform);

/*
 * Mean biases, and cold rows to (mean bias, zero factors); a net gets its mean
 * embeddings and is prepared.  For when all rows are there.
 */
extern void cf_model_settle(cf_model *model);

/* The logit's rating. */
extern float cf_model_rating(const cf_model *model, float logit);

/*
 * What items are ranked by: the rating, but for CF_LINK_CLIP before it is kept
 * in the range, where the best would all be tied at its end.  And the rating
 * of what was ranked.
 */
static inline float
cf_model_rank(const cf_model *model, float logit)
{
	return model->link == CF_LINK_CLIP ? (float) model->base + logit :
		cf_model_rating(model, logit);
}

static inline float
cf_model_of_rank(const cf_model *model, float rank)
{
	if (model->link != CF_LINK_CLIP)
		return rank;
	return rank < model->low ? model->low : rank > model->high ? model->high : rank;
}

/* The prediction by the ladder; CF_NO_ROW: unknown. */
extern float cf_model_predict(const cf_model *model, uint32_t user, uint32_t item);

/*
 * From logits of rows[0, n) to slopes: of "scale" times half the squared error
 * with respect to the logit.  Returns the sum of the squared errors.
 */
extern double cf_model_slopes(const cf_model *model, const cf_rating *rows, size_t n,
							  float scale, float *logits);

/*
 * Mean squared error over rows[0, n), by the ladder; with a net it costs least
 * where ratings of one user follow one another.  NaN when n is 0.
 * Polls the host.
 */
extern cf_status cf_model_loss(const cf_model *model, const cf_rating *rows,
							   size_t n, double *loss);

/* The same on the threads of a pool, to the same bits for any number of them. */
extern cf_status cf_model_loss_on(const cf_model *model, cf_pool *pool, const cf_rating *rows,
								  size_t n, double *loss);

#endif							/* CF_MODEL_H */
