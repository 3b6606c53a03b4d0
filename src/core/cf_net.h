/*
 * cf_net.h
 *	  The neural model's net: its weights, and what it makes of embeddings.
 *
 * A user's and an item's embedding, side by side, go through hidden layers to
 * one number, the logit.  A hidden layer is
 *
 *		linear, ReLU, batch normalisation		with batch_norm (fastai's EmbeddingNN)
 *		linear with bias, ReLU					without
 *
 * and the output layer is linear with bias.  Dropout, which follows each
 * hidden layer, exists in training alone (cf_backprop.h).
 *
 * All weights are one array of floats, which is also how a net is stored:
 *
 *		for each hidden layer, of n_out units with n_in inputs each:
 *			weights [n_out][n_in]
 *			with batch_norm: gamma, beta, running mean, running variance, [n_out] each
 *			without: bias [n_out]
 *		for the output layer:
 *			weights [n_in], bias [1]
 *		mean user [user_factors], mean item [item_factors]
 *
 * The mean embeddings are weighted by n_ratings: what stands for a user or an
 * item that has none.  They are part of the net because a reader need not have
 * all embeddings at hand.
 *
 * Inference.  A normalisation that does not change any more is one product and
 * one sum a unit, which cf_net_prepare() puts into the next layer's weights.
 * The first layer is a sum of a user's part and an item's part, so that a user
 * and many items cost the user's part once.  A logit has the same bits
 * however many items are asked for at once.
 */
#ifndef CF_NET_H
#define CF_NET_H

#include "cf_host.h"
#include "cf_kernels.h"

#define CF_MAX_LAYERS	8
#define CF_MAX_UNITS	4096

#define CF_NET_ITEMS	64

#define CF_NORM_EPSILON	1e-5	/* added to a variance */
#define CF_NORM_BETA	1e-3f	/* the shift at the start */

typedef struct cf_net_shape
{
	uint32_t	user_factors;
	uint32_t	item_factors;
	uint32_t	n_layers;		/* hidden ones, 1 .. CF_MAX_LAYERS */
	uint32_t	layers[CF_MAX_LAYERS];	/* units, 1 .. CF_MAX_UNITS */
	bool		batch_norm;
} cf_net_shape;

/* A layer's places in the array of weights.  NULL: it has no such part. */
typedef struct cf_net_layer
{
	uint32_t	n_in;
	uint32_t	n_out;
	float	   *weights;		/* [n_out][n_in] */
	float	   *bias;
	float	   *gamma;
	float	   *beta;
	float	   *mean;
	float	   *variance;
} cf_net_layer;

/* A layer as inference has it. */
typedef struct cf_net_stage
{
	uint32_t	n_in;
	uint32_t	width;			/* n_out, made up with zeros to CF_DENSE_UNIT */
	float	   *weights;		/* [n_in][width]; of the output: [n_in] */
	float	   *bias;			/* [width] */
} cf_net_stage;

typedef struct cf_net
{
	cf_host    *host;
	cf_net_shape shape;
	size_t		n_weights;
	float	   *weights;
	cf_net_layer layers[CF_MAX_LAYERS + 1]; /* the last is the output */
	float	   *mean_user;
	float	   *mean_item;

	/* As of the last cf_net_prepare(). */
	float	   *prepared;
	cf_net_stage stages[CF_MAX_LAYERS + 1];
	uint32_t	widest;			/* of the stages */
} cf_net;

/* Are all sizes within their limits? */
extern bool cf_net_shape_is_valid(const cf_net_shape *shape);

/* Floats of the array of weights, for a valid shape. */
extern size_t cf_net_size(const cf_net_shape *shape);

/* fastai's rule for the factors of a side: min(600, round(1.6 (n + 1)^0.56)). */
extern uint32_t cf_net_default_factors(uint32_t n_rows);

/* Bytes that a net of this shape takes. */
extern size_t cf_net_memory(const cf_net_shape *shape);

/* A net whose weights are all zero, to be set; then prepare it. */
extern cf_status cf_net_create(cf_host *host, const cf_net_shape *shape, cf_net **net);
extern void cf_net_destroy(cf_net *net);

/*
 * PyTorch's start: weights and biases uniform within 1 / sqrt(n_in); gamma 1,
 * beta CF_NORM_BETA, running mean 0, running variance 1.  Polls the host.
 */
extern cf_status cf_net_start(cf_net *net, uint64_t seed);

/* Are all weights finite, and no variance negative? */
extern bool cf_net_is_sound(const cf_net *net);

/* Make ready for inference; again whenever weights were changed. */
extern void cf_net_prepare(cf_net *net);

/* Products and sums for the logit of one more item. */
extern size_t cf_net_work(const cf_net *net);

/* Items, at most CF_NET_ITEMS, between two polls of the host. */
extern size_t cf_net_items_at_once(const cf_net *net);

/* Floats of a part of the first layer: at most CF_MAX_UNITS. */
static inline uint32_t
cf_net_part_width(const cf_net *net)
{
	return net->stages[0].width;
}

/* The user's part of the first layer.  NULL: the mean user. */
extern void cf_net_user_part(const cf_net *net, const cf_kernels *kernels,
							 const float *user, float *part);

/* Parts [n][part width] of items.  NULL among them: the mean item. */
extern void cf_net_item_parts(const cf_net *net, const cf_kernels *kernels,
							  const float *const *items, size_t n, float *parts);

/* Logits of a user and n items, from the user's part and the items' parts. */
extern void cf_net_logits_of_parts(const cf_net *net, const cf_kernels *kernels,
								   const float *user_part, const float *item_parts,
								   size_t n, float *logits);

/* The same from the items' embeddings. */
extern void cf_net_logits(const cf_net *net, const cf_kernels *kernels,
						  const float *user_part, const float *const *items, size_t n,
						  float *logits);

#endif							/* CF_NET_H */
