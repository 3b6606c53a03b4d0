/*
 * cf_backprop.c
 *	  A net in training: forward through a batch, and its gradients backward.
 *
 * All matrices are stored by rows, one rating or one unit a row.  To BLAS,
 * which goes by columns, each is its own transpose.
 */
#include <math.h>
#include <string.h>

#include "cf_backprop.h"
#include "cf_random.h"

#define SGEMM_WORK		((size_t) 1 << 29)	/* products of one call: 0.1 s of a slow core */
#define WORK_AT_ONCE	((size_t) 1 << 25)	/* products between two polls */
#define ELEMENT_WORK	8		/* products that an element's other work is worth */

static bool
stops(cf_backprop *pass, size_t work)
{
	pass->work += work;
	if (pass->work < WORK_AT_ONCE)
		return false;
	pass->work = 0;
	return cf_should_stop(pass->host);
}

/* ---------- products of matrices ---------- */

/* Ratings that one call of sgemm takes. */
static size_t
rows_at_once(const cf_net_layer *layer)
{
	size_t		n = SGEMM_WORK / ((size_t) layer->n_in * layer->n_out);

	return n > 0 ? n : 1;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* sums[n][n_out] = input[n][n_in] weights' */
static cf_status
multiply_forward(cf_backprop *pass, const cf_net_layer *layer, const float *input, float *sums)
{
	const int	n_in = (int) layer->n_in;
	const int	n_out = (int) layer->n_out;
	const float one = 1.0f;
	const float zero = 0.0f;
	size_t		done;
	int			n;

	for (done = 0; done < pass->n; done += (size_t) n)
	{
		n = (int) smaller(pass->n - done, rows_at_once(layer));
		pass->blas->sgemm("T", "N", &n_out, &n, &n_in, &one, layer->weights, &n_in,
						  input + done * layer->n_in, &n_in, &zero,
						  sums + done * layer->n_out, &n_out);
		if (stops(pass, (size_t) n * layer->n_in * layer->n_out))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* gradients[n_out][n_in] = slopes[n][n_out]' input[n][n_in] */
static cf_status
multiply_weights(cf_backprop *pass, const cf_net_layer *layer, const float *slopes,
				 const float *input, float *gradients)
{
	const int	n_in = (int) layer->n_in;
	const int	n_out = (int) layer->n_out;
	const float one = 1.0f;
	float		keep = 0.0f;
	size_t		done;
	int			n;

	for (done = 0; done < pass->n; done += (size_t) n)
	{
		n = (int) smaller(pass->n - done, rows_at_once(layer));
		pass->blas->sgemm("N", "T", &n_in, &n_out, &n, &one, input + done * layer->n_in, &n_in,
						  slopes + done * layer->n_out, &n_out, &keep, gradients, &n_in);
		keep = 1.0f;
		if (stops(pass, (size_t) n * layer->n_in * layer->n_out))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* inputs[n][n_in] = slopes[n][n_out] weights */
static cf_status
multiply_backward(cf_backprop *pass, const cf_net_layer *layer, const float *slopes, float *inputs)
{
	const int	n_in = (int) layer->n_in;
	const int	n_out = (int) layer->n_out;
	const float one = 1.0f;
	const float zero = 0.0f;
	size_t		done;
	int			n;

	for (done = 0; done < pass->n; done += (size_t) n)
	{
		n = (int) smaller(pass->n - done, rows_at_once(layer));
		pass->blas->sgemm("N", "N", &n_in, &n, &n_out, &one, layer->weights, &n_in,
						  slopes + done * layer->n_out, &n_out, &zero,
						  inputs + done * layer->n_in, &n_in);
		if (stops(pass, (size_t) n * layer->n_in * layer->n_out))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* ---------- forward ---------- */

static cf_status
gather(cf_backprop *pass, const cf_rating *batch)
{
	const cf_model *model = pass->model;
	const size_t users = model->users.n_factors;
	const size_t items = model->items.n_factors;
	uint32_t	j;

	for (j = 0; j < pass->n; j++)
	{
		float	   *row = pass->input + j * (users + items);

		memcpy(row, cf_side_row(&model->users, batch[j].user), users * sizeof(float));
		memcpy(row + users, cf_side_row(&model->items, batch[j].item), items * sizeof(float));
		if (stops(pass, users + items))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* With the bias, where the layer has one. */
static cf_status
apply_relu(cf_backprop *pass, const cf_net_layer *layer, float *sums)
{
	const uint32_t n_out = layer->n_out;
	const float *bias = layer->bias;
	uint32_t	row;
	uint32_t	j;

	for (row = 0; row < pass->n; row++)
	{
		float	   *sum = sums + (size_t) row * n_out;

		for (j = 0; bias != NULL && j < n_out; j++)
			sum[j] += bias[j];
		for (j = 0; j < n_out; j++)
			sum[j] = sum[j] > 0.0f ? sum[j] : 0.0f;
		if (stops(pass, (size_t) n_out * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* sums[j] += x[row][j] - center[j], or its square */
static cf_status
add_columns(cf_backprop *pass, const float *x, uint32_t width, const float *center, double *sums)
{
	uint32_t	row;
	uint32_t	j;

	for (row = 0; row < pass->n; row++)
	{
		const float *at = x + (size_t) row * width;

		for (j = 0; center == NULL && j < width; j++)
			sums[j] += at[j];
		for (j = 0; center != NULL && j < width; j++)
		{
			double		off = (double) at[j] - center[j];

			sums[j] += off * off;
		}
		if (stops(pass, (size_t) width * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return CF_OK;
}

static float
towards(float running, double value)
{
	return (float) (running + CF_NORM_MOMENTUM * (value - running));
}

/* Mean and deviation of each unit over the batch. */
static cf_status
measure_batch(cf_backprop *pass, const cf_net_layer *layer, cf_backprop_layer *kept)
{
	double	   *sums = pass->sums;
	double	   *squares = pass->sums + layer->n_out;
	cf_status	status;
	uint32_t	j;

	memset(sums, 0, 2 * layer->n_out * sizeof(double));
	status = add_columns(pass, kept->relu, layer->n_out, NULL, sums);
	if (status != CF_OK)
		return status;
	for (j = 0; j < layer->n_out; j++)
		kept->mean[j] = (float) (sums[j] / pass->n);
	status = add_columns(pass, kept->relu, layer->n_out, kept->mean, squares);
	if (status != CF_OK)
		return status;
	for (j = 0; j < layer->n_out; j++)
	{
		layer->mean[j] = towards(layer->mean[j], kept->mean[j]);
		layer->variance[j] = towards(layer->variance[j], squares[j] / (pass->n - 1.0));
		kept->deviation[j] = (float) (1.0 / sqrt(squares[j] / pass->n + CF_NORM_EPSILON));
	}
	return CF_OK;
}

static cf_status
normalise(cf_backprop *pass, const cf_net_layer *layer, cf_backprop_layer *kept)
{
	const float *mean = kept->mean;
	const float *deviation = kept->deviation;
	cf_status	status = measure_batch(pass, layer, kept);
	uint32_t	row;
	uint32_t	j;

	for (row = 0; row < pass->n && status == CF_OK; row++)
	{
		const float *relu = kept->relu + (size_t) row * layer->n_out;
		float	   *output = kept->output + (size_t) row * layer->n_out;

		for (j = 0; j < layer->n_out; j++)
			output[j] = layer->gamma[j] * ((relu[j] - mean[j]) * deviation[j]) + layer->beta[j];
		if (stops(pass, (size_t) layer->n_out * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return status;
}

/* One random word in four is of one block: index counts blocks of a layer. */
static void
draw_kept(const cf_backprop *pass, uint64_t stream_row, uint64_t first, uint32_t n, uint8_t *kept)
{
	uint32_t	words[4] = {0};
	uint64_t	at;

	for (at = first; at < first + n; at++)
	{
		if (at == first || at % 4 == 0)
			cf_random_block(pass->seed, CF_STREAM_DROPOUT, stream_row, (uint32_t) (at / 4), words);
		kept[at - first] = words[at % 4] * 0x1p-32 >= pass->dropout;
	}
}

static cf_status
drop(cf_backprop *pass, uint32_t step, uint32_t l)
{
	const uint32_t width = pass->net->layers[l].n_out;
	const cf_backprop_layer *layer = &pass->layers[l];
	const float scale = (float) (1.0 / (1.0 - pass->dropout));
	uint32_t	row;
	uint32_t	j;

	for (row = 0; row < pass->n; row++)
	{
		size_t		first = (size_t) row * width;

		draw_kept(pass, (uint64_t) step * CF_MAX_LAYERS + l, first, width, layer->kept + first);
		for (j = 0; j < width; j++)
		{
			float	   *output = layer->output + first + j;
			float		value = layer->mean != NULL ? *output : layer->relu[first + j];

			*output = layer->kept[first + j] ? value * scale : 0.0f;
		}
		if (stops(pass, (size_t) width * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
forward_layer(cf_backprop *pass, uint32_t step, uint32_t l)
{
	const cf_net_layer *layer = &pass->net->layers[l];
	cf_backprop_layer *kept = &pass->layers[l];
	cf_status	status = multiply_forward(pass, layer, kept->input, kept->relu);

	if (status == CF_OK)
		status = apply_relu(pass, layer, kept->relu);
	if (status == CF_OK && kept->mean != NULL)
		status = normalise(pass, layer, kept);
	if (status == CF_OK && kept->kept != NULL)
		status = drop(pass, step, l);
	return status;
}

cf_status
cf_backprop_forward(cf_backprop *pass, const cf_rating *batch, uint32_t step)
{
	const uint32_t n_layers = pass->net->shape.n_layers;
	const cf_net_layer *output = &pass->net->layers[n_layers];
	cf_status	status = gather(pass, batch);
	uint32_t	j;

	for (j = 0; j < n_layers && status == CF_OK; j++)
		status = forward_layer(pass, step, j);
	if (status == CF_OK)
		status = multiply_forward(pass, output, pass->layers[n_layers - 1].output, pass->logits);
	for (j = 0; j < pass->n; j++)
		pass->logits[j] += output->bias[0];
	return status;
}

/* ---------- backward ---------- */

/* Where the gradient of a weight stands. */
static float *
gradient_of(const cf_backprop *pass, const float *weight)
{
	return pass->gradients + (weight - pass->net->weights);
}

static cf_status
undrop(cf_backprop *pass, const cf_net_layer *layer, const cf_backprop_layer *kept)
{
	const float scale = (float) (1.0 / (1.0 - pass->dropout));
	size_t		n = (size_t) pass->n * layer->n_out;
	size_t		j;

	for (j = 0; j < n; j++)
		pass->back[j] = kept->kept[j] ? pass->back[j] * scale : 0.0f;
	return stops(pass, n) ? CF_STOPPED : CF_OK;
}

/* Sums over the batch of a unit's slopes, and of slopes times normalised outputs. */
static cf_status
sum_slopes(cf_backprop *pass, const cf_net_layer *layer, const cf_backprop_layer *kept)
{
	double	   *sums = pass->sums;
	double	   *products = pass->sums + layer->n_out;
	uint32_t	row;
	uint32_t	j;

	memset(sums, 0, 2 * layer->n_out * sizeof(double));
	for (row = 0; row < pass->n; row++)
	{
		const float *slope = pass->back + (size_t) row * layer->n_out;
		const float *relu = kept->relu + (size_t) row * layer->n_out;

		for (j = 0; j < layer->n_out; j++)
		{
			sums[j] += slope[j];
			products[j] += slope[j] * ((relu[j] - kept->mean[j]) * kept->deviation[j]);
		}
		if (stops(pass, (size_t) layer->n_out * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return CF_OK;
}

/*
 * Through the normalisation: mean and variance depend on every rating of the
 * batch, which takes the slopes' mean and their part along r away.
 */
static cf_status
denormalise(cf_backprop *pass, const cf_net_layer *layer, const cf_backprop_layer *kept)
{
	float	   *gamma = gradient_of(pass, layer->gamma);
	float	   *beta = gradient_of(pass, layer->beta);
	float	   *deviation = kept->deviation;
	cf_status	status = sum_slopes(pass, layer, kept);
	const float part = 1.0f / (float) pass->n;
	uint32_t	row;
	uint32_t	j;

	for (j = 0; j < layer->n_out; j++)
	{
		beta[j] = (float) pass->sums[j];
		gamma[j] = (float) pass->sums[layer->n_out + j];
	}
	for (row = 0; row < pass->n && status == CF_OK; row++)
	{
		float	   *slope = pass->back + (size_t) row * layer->n_out;
		const float *relu = kept->relu + (size_t) row * layer->n_out;

		for (j = 0; j < layer->n_out; j++)
			slope[j] = layer->gamma[j] * deviation[j] *
				(slope[j] - part * (beta[j] + gamma[j] * ((relu[j] - kept->mean[j]) * deviation[j])));
		if (stops(pass, (size_t) layer->n_out * ELEMENT_WORK))
			return CF_STOPPED;
	}
	return status;
}

static cf_status
unrelu(cf_backprop *pass, const cf_net_layer *layer, const cf_backprop_layer *kept)
{
	size_t		n = (size_t) pass->n * layer->n_out;
	size_t		j;

	for (j = 0; j < n; j++)
		pass->back[j] = kept->relu[j] > 0.0f ? pass->back[j] : 0.0f;
	return stops(pass, n) ? CF_STOPPED : CF_OK;
}

/* From slopes[n][n_out] of the sums to gradients, and to slopes of the inputs. */
static cf_status
backward_linear(cf_backprop *pass, const cf_net_layer *layer, const float *slopes,
				const float *input)
{
	cf_status	status = multiply_weights(pass, layer, slopes, input,
										  gradient_of(pass, layer->weights));
	float	   *back = pass->back;
	uint32_t	j;

	if (status == CF_OK && layer->bias != NULL)
	{
		memset(pass->sums, 0, layer->n_out * sizeof(double));
		status = add_columns(pass, slopes, layer->n_out, NULL, pass->sums);
		for (j = 0; j < layer->n_out; j++)
			gradient_of(pass, layer->bias)[j] = (float) pass->sums[j];
	}
	if (status == CF_OK)
		status = multiply_backward(pass, layer, slopes, pass->back_next);
	pass->back = pass->back_next;
	pass->back_next = back;
	return status;
}

static cf_status
backward_layer(cf_backprop *pass, uint32_t l)
{
	const cf_net_layer *layer = &pass->net->layers[l];
	const cf_backprop_layer *kept = &pass->layers[l];
	cf_status	status = CF_OK;

	if (kept->kept != NULL)
		status = undrop(pass, layer, kept);
	if (status == CF_OK && kept->mean != NULL)
		status = denormalise(pass, layer, kept);
	if (status == CF_OK)
		status = unrelu(pass, layer, kept);
	if (status == CF_OK)
		status = backward_linear(pass, layer, pass->back, kept->input);
	return status;
}

static cf_status
scatter(cf_backprop *pass, float *const *user_gradients, float *const *item_gradients)
{
	const cf_model *model = pass->model;
	const size_t users = model->users.n_factors;
	const size_t items = model->items.n_factors;
	uint32_t	j;

	for (j = 0; j < pass->n; j++)
	{
		const float *row = pass->back + j * (users + items);

		model->kernels->axpy(1.0f, row, user_gradients[j], users);
		model->kernels->axpy(1.0f, row + users, item_gradients[j], items);
		if (stops(pass, users + items))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_backprop_backward(cf_backprop *pass, float *const *user_gradients,
					 float *const *item_gradients)
{
	const uint32_t n_layers = pass->net->shape.n_layers;
	cf_status	status = backward_linear(pass, &pass->net->layers[n_layers], pass->logits,
										 pass->layers[n_layers - 1].output);
	uint32_t	l;

	for (l = n_layers; l > 0 && status == CF_OK; l--)
		status = backward_layer(pass, l - 1);
	if (status == CF_OK)
		status = scatter(pass, user_gradients, item_gradients);
	return status;
}

/* ---------- memory ---------- */

static uint32_t
widest(const cf_net_shape *shape)
{
	uint32_t	most = shape->user_factors + shape->item_factors;
	uint32_t	l;

	for (l = 0; l < shape->n_layers; l++)
		most = shape->layers[l] > most ? shape->layers[l] : most;
	return most;
}

static size_t
layer_memory(const cf_net_shape *shape, uint32_t l, uint32_t n, double dropout)
{
	size_t		bytes = cf_block_memory(n, shape->layers[l] * sizeof(float));

	if (shape->batch_norm || dropout > 0.0)
		bytes = cf_size_add(bytes, bytes);
	if (shape->batch_norm)
		bytes = cf_size_add(bytes, 2 * cf_block_memory(shape->layers[l], sizeof(float)));
	if (dropout > 0.0)
		bytes = cf_size_add(bytes, cf_block_memory(n, shape->layers[l]));
	return bytes;
}

size_t
cf_backprop_memory(const cf_net_shape *shape, uint32_t n, double dropout)
{
	size_t		width = (size_t) shape->user_factors + shape->item_factors;
	size_t		bytes = cf_block_memory(n, width * sizeof(float));
	uint32_t	l;

	bytes = cf_size_add(bytes, cf_block_memory(n, sizeof(float)));
	bytes = cf_size_add(bytes, cf_block_memory(cf_net_size(shape), sizeof(float)));
	bytes = cf_size_add(bytes, cf_block_memory(n, widest(shape) * sizeof(float)));
	bytes = cf_size_add(bytes, cf_block_memory(n, widest(shape) * sizeof(float)));
	bytes = cf_size_add(bytes, cf_block_memory(2, widest(shape) * sizeof(double)));
	for (l = 0; l < shape->n_layers; l++)
		bytes = cf_size_add(bytes, layer_memory(shape, l, n, dropout));
	return bytes;
}

static cf_status
take_layer(cf_backprop *pass, uint32_t l, const float *input)
{
	cf_host    *host = pass->host;
	cf_backprop_layer *kept = &pass->layers[l];
	const cf_net_layer *layer = &pass->net->layers[l];
	bool		norm = layer->gamma != NULL;
	bool		drops = pass->dropout > 0.0;

	kept->input = input;
	if ((kept->relu = cf_alloc(host, pass->n, layer->n_out * sizeof(float))) == NULL)
		return host->failure;
	kept->output = kept->relu;
	if (norm || drops)
		kept->output = cf_alloc(host, pass->n, layer->n_out * sizeof(float));
	if (kept->output == NULL ||
		(norm && ((kept->mean = cf_alloc(host, layer->n_out, sizeof(float))) == NULL ||
				  (kept->deviation = cf_alloc(host, layer->n_out, sizeof(float))) == NULL)) ||
		(drops && (kept->kept = cf_alloc(host, pass->n, layer->n_out)) == NULL))
		return host->failure;
	return CF_OK;
}

cf_status
cf_backprop_begin(cf_backprop *pass, cf_model *model, const cf_blas *blas, uint32_t n,
				  double dropout, uint64_t seed)
{
	cf_host    *host = model->host;
	const cf_net_shape *shape = &model->net->shape;
	size_t		width = (size_t) shape->user_factors + shape->item_factors;
	cf_status	status = CF_OK;
	uint32_t	l;

	memset(pass, 0, sizeof(*pass));
	pass->host = host;
	pass->blas = blas;
	pass->model = model;
	pass->net = model->net;
	pass->n = n;
	pass->dropout = dropout;
	pass->seed = seed;
	if ((pass->input = cf_alloc(host, n, width * sizeof(float))) == NULL ||
		(pass->logits = cf_alloc(host, n, sizeof(float))) == NULL ||
		(pass->gradients = cf_alloc_zero(host, pass->net->n_weights, sizeof(float))) == NULL ||
		(pass->back = cf_alloc(host, n, widest(shape) * sizeof(float))) == NULL ||
		(pass->back_next = cf_alloc(host, n, widest(shape) * sizeof(float))) == NULL ||
		(pass->sums = cf_alloc(host, 2, widest(shape) * sizeof(double))) == NULL)
		return host->failure;
	for (l = 0; l < shape->n_layers && status == CF_OK; l++)
		status = take_layer(pass, l, l > 0 ? pass->layers[l - 1].output : pass->input);
	return status;
}

void
cf_backprop_end(cf_backprop *pass)
{
	cf_host    *host = pass->host;
	uint32_t	l;

	if (host == NULL)
		return;
	cf_free(host, pass->input);
	cf_free(host, pass->logits);
	cf_free(host, pass->gradients);
	cf_free(host, pass->back);
	cf_free(host, pass->back_next);
	cf_free(host, pass->sums);
	for (l = 0; l < CF_MAX_LAYERS; l++)
	{
		cf_backprop_layer *kept = &pass->layers[l];

		if (kept->output != kept->relu)
			cf_free(host, kept->output);
		cf_free(host, kept->relu);
		cf_free(host, kept->mean);
		cf_free(host, kept->deviation);
		cf_free(host, kept->kept);
	}
}
