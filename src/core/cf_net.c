/*
 * cf_net.c
 *	  The neural model's net: its weights, and what it makes of embeddings.
 */
#include <math.h>
#include <string.h>

#include "cf_model.h"
#include "cf_net.h"
#include "cf_random.h"

#define WORK_AT_ONCE	((size_t) 1 << 26)	/* products: a few hundredths of a second */
#define TILE_FLOATS		16384	/* of their activations: 64 kB, on the stack */
#define UNITS_AT_ONCE	256		/* started between two polls */
#define LINE_FLOATS		16		/* of a cache line */

/* ---------- shape ---------- */

static bool
is_within(uint32_t n, uint32_t most)
{
	return n >= 1 && n <= most;
}

bool
cf_net_shape_is_valid(const cf_net_shape *shape)
{
	uint32_t	l;

	if (!is_within(shape->user_factors, CF_MAX_FACTORS) ||
		!is_within(shape->item_factors, CF_MAX_FACTORS) ||
		!is_within(shape->n_layers, CF_MAX_LAYERS))
		return false;
	for (l = 0; l < shape->n_layers; l++)
		if (!is_within(shape->layers[l], CF_MAX_UNITS))
			return false;
	return true;
}

uint32_t
cf_net_default_factors(uint32_t n_rows)
{
	double		n = floor(1.6 * pow((double) n_rows + 1.0, 0.56) + 0.5);

	return n < 600.0 ? (uint32_t) n : 600;
}

static uint32_t
padded(uint32_t n)
{
	return (n + CF_DENSE_UNIT - 1) / CF_DENSE_UNIT * CF_DENSE_UNIT;
}

static float *
take(float **at, size_t n)
{
	float	   *part = *at;

	if (part != NULL)
		*at += n;
	return part;
}

/*
 * Lay out the array of weights, which begins at "at"; NULL only counts.
 * Returns its size.
 */
static size_t
lay_out_weights(const cf_net_shape *shape, cf_net *net, float *at)
{
	size_t		n = (size_t) shape->user_factors + shape->item_factors;
	uint32_t	n_in = (uint32_t) n;
	uint32_t	l;

	for (l = 0; l <= shape->n_layers; l++)
	{
		bool		hidden = l < shape->n_layers;
		bool		norm = hidden && shape->batch_norm;
		uint32_t	n_out = hidden ? shape->layers[l] : 1;

		n += (size_t) n_in * n_out + (size_t) (norm ? 4 : 1) * n_out;
		if (net != NULL)
		{
			cf_net_layer *layer = &net->layers[l];

			layer->n_in = n_in;
			layer->n_out = n_out;
			layer->weights = take(&at, (size_t) n_in * n_out);
			layer->gamma = norm ? take(&at, n_out) : NULL;
			layer->beta = norm ? take(&at, n_out) : NULL;
			layer->mean = norm ? take(&at, n_out) : NULL;
			layer->variance = norm ? take(&at, n_out) : NULL;
			layer->bias = norm ? NULL : take(&at, n_out);
		}
		n_in = n_out;
	}
	if (net != NULL)
	{
		net->mean_user = take(&at, shape->user_factors);
		net->mean_item = take(&at, shape->item_factors);
	}
	return n;
}

size_t
cf_net_size(const cf_net_shape *shape)
{
	return lay_out_weights(shape, NULL, NULL);
}

/* The same for what inference needs. */
static size_t
lay_out_stages(const cf_net_shape *shape, cf_net *net, float *at)
{
	uint32_t	n_in = shape->user_factors + shape->item_factors;
	size_t		n = 0;
	uint32_t	l;

	for (l = 0; l <= shape->n_layers; l++)
	{
		uint32_t	width = l < shape->n_layers ? padded(shape->layers[l]) : 1;

		n += (size_t) n_in * width + width;
		if (net != NULL)
		{
			cf_net_stage *stage = &net->stages[l];

			stage->n_in = n_in;
			stage->width = width;
			stage->weights = take(&at, (size_t) n_in * width);
			stage->bias = take(&at, width);
			net->widest = width > net->widest ? width : net->widest;
		}
		n_in = l < shape->n_layers ? shape->layers[l] : 1;
	}
	return n;
}

size_t
cf_net_memory(const cf_net_shape *shape)
{
	size_t		bytes = cf_block_memory(1, sizeof(cf_net));

	bytes = cf_size_add(bytes, cf_block_memory(cf_net_size(shape), sizeof(float)));
	return cf_size_add(bytes, cf_block_memory(lay_out_stages(shape, NULL, NULL), sizeof(float)));
}

cf_status
cf_net_create(cf_host *host, const cf_net_shape *shape, cf_net **net)
{
	cf_net	   *new = cf_alloc(host, 1, sizeof(cf_net));

	*net = NULL;
	if (new == NULL)
		return host->failure;
	memset(new, 0, sizeof(*new));
	new->host = host;
	new->shape = *shape;
	new->n_weights = cf_net_size(shape);
	if ((new->weights = cf_alloc_zero(host, new->n_weights, sizeof(float))) == NULL ||
		(new->prepared = cf_alloc_zero(host, lay_out_stages(shape, NULL, NULL),
									   sizeof(float))) == NULL)
	{
		cf_net_destroy(new);
		return host->failure;
	}
	lay_out_weights(shape, new, new->weights);
	lay_out_stages(shape, new, new->prepared);
	*net = new;
	return CF_OK;
}

void
cf_net_destroy(cf_net *net)
{
	if (net == NULL)
		return;
	cf_free(net->host, net->weights);
	cf_free(net->host, net->prepared);
	cf_free(net->host, net);
}

/* ---------- weights ---------- */

static void
fill(float *floats, uint32_t n, float value)
{
	uint32_t	j;

	for (j = 0; floats != NULL && j < n; j++)
		floats[j] = value;
}

cf_status
cf_net_start(cf_net *net, uint64_t seed)
{
	uint32_t	l;
	uint32_t	unit;

	for (l = 0; l <= net->shape.n_layers; l++)
	{
		const cf_net_layer *layer = &net->layers[l];
		uint64_t	first = (uint64_t) l << 32;
		float		bound = (float) (1.0 / sqrt(layer->n_in));

		for (unit = 0; unit < layer->n_out; unit++)
		{
			cf_random_uniform(seed, CF_STREAM_NET_START, first + unit, bound,
							  layer->weights + (size_t) unit * layer->n_in, layer->n_in);
			if (unit % UNITS_AT_ONCE == UNITS_AT_ONCE - 1 && cf_should_stop(net->host))
				return CF_STOPPED;
		}
		if (layer->bias != NULL)
			cf_random_uniform(seed, CF_STREAM_NET_START, first + layer->n_out, bound,
							  layer->bias, layer->n_out);
		fill(layer->gamma, layer->n_out, 1.0f);
		fill(layer->beta, layer->n_out, CF_NORM_BETA);
		fill(layer->mean, layer->n_out, 0.0f);
		fill(layer->variance, layer->n_out, 1.0f);
	}
	return CF_OK;
}

bool
cf_net_is_sound(const cf_net *net)
{
	size_t		j;
	uint32_t	l;

	for (j = 0; j < net->n_weights; j++)
		if (!isfinite(net->weights[j]))
			return false;
	for (l = 0; l < net->shape.n_layers; l++)
		for (j = 0; net->shape.batch_norm && j < net->layers[l].n_out; j++)
			if (net->layers[l].variance[j] < 0.0f)
				return false;
	return true;
}

/* ---------- inference ---------- */

/* What normalisation makes of unit j: scale r + shift. */
static void
norm_of(const cf_net_layer *layer, uint32_t j, double *scale, double *shift)
{
	*scale = 1.0;
	*shift = 0.0;
	if (layer == NULL || layer->gamma == NULL)
		return;
	*scale = layer->gamma[j] / sqrt(layer->variance[j] + CF_NORM_EPSILON);
	*shift = layer->beta[j] - layer->mean[j] * *scale;
}

/*
 * Inputs [first, first + n), n <= LINE_FLOATS, of a stage: a cache line of each
 * unit's weights is read and goes to as many rows.
 */
static void
prepare_inputs(cf_net_stage *stage, const cf_net_layer *layer, const cf_net_layer *before,
			   uint32_t first, uint32_t n, double *bias)
{
	double		scale[LINE_FLOATS];
	double		shift[LINE_FLOATS];
	uint32_t	unit;
	uint32_t	j;

	for (j = 0; j < n; j++)
		norm_of(before, first + j, &scale[j], &shift[j]);
	for (unit = 0; unit < layer->n_out; unit++)
	{
		const float *weights = layer->weights + (size_t) unit * layer->n_in + first;
		float	   *to = stage->weights + (size_t) first * stage->width + unit;

		for (j = 0; j < n; j++)
		{
			to[(size_t) j * stage->width] = (float) (weights[j] * scale[j]);
			bias[unit] += weights[j] * shift[j];
		}
	}
}

/* "before", whose normalisation goes into this stage: NULL for the first. */
static void
prepare_stage(cf_net_stage *stage, const cf_net_layer *layer, const cf_net_layer *before)
{
	double		bias[CF_MAX_UNITS];
	uint32_t	first;
	uint32_t	unit;

	for (unit = 0; unit < layer->n_out; unit++)
		bias[unit] = layer->bias != NULL ? layer->bias[unit] : 0.0;
	for (first = 0; first < layer->n_in; first += LINE_FLOATS)
		prepare_inputs(stage, layer, before, first,
					   layer->n_in - first < LINE_FLOATS ? layer->n_in - first : LINE_FLOATS, bias);
	for (unit = 0; unit < layer->n_out; unit++)
		stage->bias[unit] = (float) bias[unit];
}

void
cf_net_prepare(cf_net *net)
{
	uint32_t	l;

	for (l = 0; l <= net->shape.n_layers; l++)
		prepare_stage(&net->stages[l], &net->layers[l], l > 0 ? &net->layers[l - 1] : NULL);
}

size_t
cf_net_work(const cf_net *net)
{
	size_t		work = 0;
	uint32_t	l;

	for (l = 1; l <= net->shape.n_layers; l++)
		work += (size_t) net->stages[l].n_in * net->stages[l].width;
	return work + (size_t) net->shape.item_factors * net->stages[0].width;
}

size_t
cf_net_items_at_once(const cf_net *net)
{
	size_t		n = WORK_AT_ONCE / cf_net_work(net);

	/* fewer would read all the weights for little work */
	return n < 4 ? 4 : n < CF_NET_ITEMS ? n : CF_NET_ITEMS;
}

void
cf_net_user_part(const cf_net *net, const cf_kernels *kernels, const float *user, float *part)
{
	const cf_net_stage *first = &net->stages[0];

	if (user == NULL)
		user = net->mean_user;
	kernels->dense(&user, 1, net->shape.user_factors, first->weights, first->width,
				   first->bias, false, part);
}

void
cf_net_item_parts(const cf_net *net, const cf_kernels *kernels, const float *const *items,
				  size_t n, float *parts)
{
	const cf_net_stage *first = &net->stages[0];
	const float *weights = first->weights + (size_t) net->shape.user_factors * first->width;
	const float *rows[CF_NET_ITEMS];
	size_t		done;
	size_t		m;
	size_t		j;

	for (done = 0; done < n; done += m)
	{
		m = n - done < CF_NET_ITEMS ? n - done : CF_NET_ITEMS;
		for (j = 0; j < m; j++)
			rows[j] = items[done + j] != NULL ? items[done + j] : net->mean_item;
		kernels->dense(rows, m, net->shape.item_factors, weights, first->width,
					   NULL, false, parts + done * first->width);
	}
}

/* Items that go through the layers together. */
static size_t
tile_items(const cf_net *net)
{
	size_t		n = TILE_FLOATS / net->widest;

	return n < CF_NET_ITEMS ? n : CF_NET_ITEMS;
}

/*
 * The layers after the first for n items, at most a tile: "from" has what the
 * first layer gave and is used up, as is "to".
 */
static void
later_layers(const cf_net *net, const cf_kernels *kernels, float *from, float *to, size_t n,
			 float *logits)
{
	const cf_net_stage *output = &net->stages[net->shape.n_layers];
	const float *rows[CF_NET_ITEMS];
	uint32_t	width = net->stages[0].width;
	uint32_t	l;
	size_t		j;

	for (l = 1; l < net->shape.n_layers; l++)
	{
		const cf_net_stage *stage = &net->stages[l];
		float	   *next = to;

		for (j = 0; j < n; j++)
			rows[j] = from + j * width;
		kernels->dense(rows, n, stage->n_in, stage->weights, stage->width, stage->bias, true, next);
		width = stage->width;
		to = from;
		from = next;
	}
	for (j = 0; j < n; j++)
		logits[j] = kernels->dot(output->weights, from + j * width, output->n_in) + output->bias[0];
}

void
cf_net_logits_of_parts(const cf_net *net, const cf_kernels *kernels, const float *user_part,
					   const float *item_parts, size_t n, float *logits)
{
	float		from[TILE_FLOATS];
	float		to[TILE_FLOATS];
	uint32_t	width = net->stages[0].width;
	size_t		at_once = tile_items(net);
	size_t		done;
	size_t		m;
	size_t		j;

	for (done = 0; done < n; done += m)
	{
		m = n - done < at_once ? n - done : at_once;
		for (j = 0; j < m; j++)
			kernels->add_relu(user_part, item_parts + (done + j) * width, from + j * width, width);
		later_layers(net, kernels, from, to, m, logits + done);
	}
}

void
cf_net_logits(const cf_net *net, const cf_kernels *kernels, const float *user_part,
			  const float *const *items, size_t n, float *logits)
{
	float		parts[TILE_FLOATS];
	size_t		at_once = tile_items(net);
	size_t		done;
	size_t		m;

	for (done = 0; done < n; done += m)
	{
		m = n - done < at_once ? n - done : at_once;
		cf_net_item_parts(net, kernels, items + done, m, parts);
		cf_net_logits_of_parts(net, kernels, user_part, parts, m, logits + done);
	}
}
