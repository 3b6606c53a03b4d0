/*
 * cf_backprop.h
 *	  A net in training: forward through a batch, and its gradients backward.
 *
 * In training a layer of cf_net.h normalises by the batch at hand: with mean
 * and variance over the batch's ReLU outputs r of a unit, n ratings,
 *
 *		y = gamma (r - mean) / sqrt(variance + epsilon) + beta
 *
 * and moves its running mean by a tenth towards the batch's, its running
 * variance towards variance n / (n - 1).  Dropout then sets each y to 0 with
 * the probability "dropout" and divides it by 1 - dropout otherwise; what is
 * dropped depends on (seed; step, layer, rating in the batch, unit) alone.
 *
 * A batch must have at least two ratings where there is normalisation: one
 * alone is its own mean, and nothing is left of it.
 */
#ifndef CF_BACKPROP_H
#define CF_BACKPROP_H

#include "cf_blas.h"
#include "cf_model.h"

#define CF_NORM_MOMENTUM	0.1		/* of the running mean and variance */

/* What a hidden layer keeps on the way forward; n is the batch's size. */
typedef struct cf_backprop_layer
{
	const float *input;			/* [n][n_in] */
	float	   *relu;			/* [n][n_out] */
	float	   *output;			/* [n][n_out]; "relu" where nothing follows it */
	float	   *mean;			/* [n_out] of the batch; NULL without batch norm */
	float	   *deviation;		/* [n_out] 1 / sqrt(variance + epsilon) */
	uint8_t    *kept;			/* [n][n_out] 0: dropped; NULL without dropout */
} cf_backprop_layer;

typedef struct cf_backprop
{
	cf_host    *host;
	const cf_blas *blas;
	const cf_model *model;
	cf_net	   *net;
	uint32_t	n;				/* ratings of a batch */
	double		dropout;		/* in [0, 1) */
	uint64_t	seed;
	size_t		work;			/* done since the last poll */
	float	   *input;			/* [n][user_factors + item_factors] */
	cf_backprop_layer layers[CF_MAX_LAYERS];
	float	   *logits;			/* [n] */
	float	   *gradients;		/* [n_weights] in the places of the weights */
	float	   *back;			/* [n][widest] of a layer's output, then of its sums */
	float	   *back_next;		/* [n][widest] of its input */
	double	   *sums;			/* [2][widest] */
} cf_backprop;

/* Bytes that begin takes. */
extern size_t cf_backprop_memory(const cf_net_shape *shape, uint32_t n, double dropout);

/* Whatever comes back, cf_backprop_end() gives all back. */
extern cf_status cf_backprop_begin(cf_backprop *pass, cf_model *model, const cf_blas *blas,
								   uint32_t n, double dropout, uint64_t seed);
extern void cf_backprop_end(cf_backprop *pass);

/* Logits of a batch; moves the running statistics. */
extern cf_status cf_backprop_forward(cf_backprop *pass, const cf_rating *batch, uint32_t step);

/*
 * With logits[] replaced by the loss's slopes with respect to them: the
 * gradients of the weights (0 for running statistics and mean embeddings).
 * Those of rating j's embeddings are added to user_gradients[j] and
 * item_gradients[j].
 */
extern cf_status cf_backprop_backward(cf_backprop *pass, float *const *user_gradients,
									  float *const *item_gradients);

#endif							/* CF_BACKPROP_H */
