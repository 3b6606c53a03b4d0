/*
 * cf_model.c
 *	  The model: embeddings of users and items, and what they predict.
 */
#include <math.h>
#include <string.h>

#include "cf_dict.h"
#include "cf_model.h"
#include "cf_random.h"

#define STRIDE_UNIT		8		/* floats: what kernels take at once */
#define PACKED_UNIT		4
#define FIRST_ROWS		16
#define ROWS_AT_ONCE	16384	/* between two polls */
#define STARTS_AT_ONCE	256		/* rows of a task */
#define ROWS_OF_PART	16384	/* ratings of a task */
#define PARTS_AT_ONCE	64		/* tasks whose sums are held */

static uint32_t
round_up(uint32_t n, uint32_t unit)
{
	return (n + unit - 1) / unit * unit;
}

uint32_t
cf_stride(uint32_t n_factors)
{
	return round_up(n_factors + 1, STRIDE_UNIT);
}

uint32_t
cf_packed_stride(uint32_t n_factors)
{
	return round_up(n_factors + 1, PACKED_UNIT);
}

size_t
cf_side_memory(uint32_t n_rows, uint32_t n_factors)
{
	return cf_size_add(cf_block_memory(n_rows, cf_stride(n_factors) * sizeof(float)),
					   cf_block_memory(n_rows, sizeof(int64_t)));
}

size_t
cf_prior_memory(uint32_t n_factors)
{
	size_t		width = (size_t) n_factors + 1;

	return cf_block_memory(width, sizeof(double)) +
		cf_block_memory(width, width * sizeof(double)) +
		cf_block_memory(cf_stride(n_factors), sizeof(float));
}

size_t
cf_draws_memory(uint32_t n_rows, uint32_t n_factors, uint32_t n_draws)
{
	if (n_draws == 0)
		return 0;
	return cf_block_memory(n_rows, ((size_t) n_draws * (n_factors + 1) + 1) * sizeof(float));
}

void
cf_model_init(cf_model *model, cf_host *host)
{
	memset(model, 0, sizeof(*model));
	model->host = host;
	model->kernels = cf_kernels_best();
}

void
cf_side_release(cf_side *side, cf_host *host)
{
	cf_free(host, side->rows);
	cf_free(host, side->n_ratings);
	cf_free(host, side->prior.mean);
	cf_free(host, side->prior.precision);
	cf_free(host, side->prior.row);
	cf_free(host, side->draws);
	memset(side, 0, sizeof(*side));
}

void
cf_model_release(cf_model *model)
{
	cf_side_release(&model->users, model->host);
	cf_side_release(&model->items, model->host);
	cf_net_destroy(model->net);
	model->net = NULL;
}

cf_status
cf_side_create(cf_side *side, cf_host *host, uint32_t n_rows, uint32_t n_factors)
{
	memset(side, 0, sizeof(*side));
	if (n_rows > CF_MAX_ROWS)
		return CF_TOO_MANY;
	side->n_factors = n_factors;
	side->stride = cf_stride(n_factors);
	side->rows = cf_alloc_zero(host, n_rows, side->stride * sizeof(float));
	if (side->rows == NULL)
		return host->failure;
	side->n_ratings = cf_alloc_zero(host, n_rows, sizeof(int64_t));
	if (side->n_ratings == NULL)
	{
		cf_side_release(side, host);
		return host->failure;
	}
	side->n_rows = n_rows;
	side->capacity = n_rows;
	return CF_OK;
}

void
cf_side_begin(cf_side *side, uint32_t n_factors)
{
	memset(side, 0, sizeof(*side));
	side->n_factors = n_factors;
	side->stride = cf_packed_stride(n_factors);
}

cf_status
cf_side_add_prior(cf_side *side, cf_host *host)
{
	cf_side_prior *prior = &side->prior;
	size_t		width = (size_t) side->n_factors + 1;

	if ((prior->mean = cf_alloc_zero(host, width, sizeof(double))) == NULL ||
		(prior->precision = cf_alloc_zero(host, width, width * sizeof(double))) == NULL ||
		(prior->row = cf_alloc_zero(host, side->stride, sizeof(float))) == NULL)
		return host->failure;
	return CF_OK;
}

void
cf_side_set_prior(cf_side *side)
{
	uint32_t	f;

	for (f = 0; f <= side->n_factors; f++)
		side->prior.row[f] = (float) side->prior.mean[f];
	side->mean_bias = side->prior.row[side->n_factors];
}

cf_status
cf_side_add_draws(cf_side *side, cf_host *host, uint32_t n_draws)
{
	side->n_draws = n_draws;
	side->draws = cf_alloc_zero(host, side->n_rows, cf_draws_width(side) * sizeof(float));
	return side->draws != NULL ? CF_OK : host->failure;
}

static cf_status
grow_side(cf_side *side, cf_host *host)
{
	uint32_t	capacity = side->capacity < FIRST_ROWS / 2 ? FIRST_ROWS : side->capacity * 2;
	float	   *rows;
	int64_t    *n_ratings;

	if (side->n_rows >= CF_MAX_ROWS)
		return CF_TOO_MANY;
	if (capacity > CF_MAX_ROWS)
		capacity = CF_MAX_ROWS;
	rows = cf_realloc(host, side->rows, capacity, side->stride * sizeof(float));
	if (rows == NULL)
		return host->failure;
	side->rows = rows;
	n_ratings = cf_realloc(host, side->n_ratings, capacity, sizeof(int64_t));
	if (n_ratings == NULL)
		return host->failure;
	side->n_ratings = n_ratings;
	side->capacity = capacity;
	return CF_OK;
}

cf_status
cf_side_append(cf_side *side, cf_host *host)
{
	cf_status	status = CF_OK;

	if (side->n_rows == side->capacity)
		status = grow_side(side, host);
	if (status != CF_OK)
		return status;
	memset(cf_side_row(side, side->n_rows), 0, side->stride * sizeof(float));
	side->n_ratings[side->n_rows] = 0;
	side->n_rows++;
	return CF_OK;
}

cf_status
cf_side_trim(cf_side *side, cf_host *host)
{
	float	   *rows = cf_realloc(host, side->rows, side->n_rows, side->stride * sizeof(float));
	int64_t    *n_ratings;

	if (rows == NULL)
		return host->failure;
	side->rows = rows;
	n_ratings = cf_realloc(host, side->n_ratings, side->n_rows, sizeof(int64_t));
	if (n_ratings == NULL)
		return host->failure;
	side->n_ratings = n_ratings;
	side->capacity = side->n_rows;
	return CF_OK;
}

static void
swap_rows(cf_side *side, uint32_t a, uint32_t b)
{
	float		held[CF_MAX_FACTORS + STRIDE_UNIT];
	size_t		bytes = side->stride * sizeof(float);
	int64_t		count = side->n_ratings[a];

	memcpy(held, cf_side_row(side, a), bytes);
	memcpy(cf_side_row(side, a), cf_side_row(side, b), bytes);
	memcpy(cf_side_row(side, b), held, bytes);
	side->n_ratings[a] = side->n_ratings[b];
	side->n_ratings[b] = count;
}

void
cf_side_permute(cf_side *side, uint32_t *rank)
{
	uint32_t	row;

	/* Each swap puts one row in its place for good. */
	for (row = 0; row < side->n_rows; row++)
	{
		while (rank[row] != row)
		{
			uint32_t	to = rank[row];

			swap_rows(side, row, to);
			rank[row] = rank[to];
			rank[to] = to;
		}
	}
}

typedef struct start
{
	const cf_model *model;
	const cf_side *side;
	uint64_t	seed;
	cf_stream	stream;
	float		scale;
	bool		is_uniform;
} start;

/* A task: STARTS_AT_ONCE rows. */
static void
start_rows(void *context, size_t index, uint32_t thread)
{
	const start *s = context;
	size_t		n = s->side->n_factors + (s->model->use_bias ? 1 : 0);
	size_t		row = index * STARTS_AT_ONCE;
	size_t		end = row + STARTS_AT_ONCE;

	(void) thread;
	for (; row < end && row < s->side->n_rows; row++)
	{
		float	   *to = cf_side_row(s->side, (uint32_t) row);

		if (s->side->n_ratings[row] == 0)
			continue;
		if (s->is_uniform)
			cf_random_uniform(s->seed, s->stream, row, s->scale, to, n);
		else
			cf_random_wrapped_normal(s->seed, s->stream, row, s->scale, to, n);
	}
}

static cf_status
start_side(const cf_model *model, cf_pool *pool, const cf_side *side, uint64_t seed,
		   cf_stream stream, float scale, bool is_uniform)
{
	start		s = {model, side, seed, stream, scale, is_uniform};

	return cf_pool_run(pool, start_rows, &s,
					   ((size_t) side->n_rows + STARTS_AT_ONCE - 1) / STARTS_AT_ONCE);
}

cf_status
cf_model_start(cf_model *model, cf_pool *pool, uint64_t seed, float scale, bool is_uniform)
{
	cf_status	status = start_side(model, pool, &model->users, seed, CF_STREAM_USER_START, scale,
									is_uniform);

	if (status == CF_OK)
		status = start_side(model, pool, &model->items, seed, CF_STREAM_ITEM_START, scale,
							is_uniform);
	return status;
}

/* Cold rows are put where the side's prior is. */
static void
settle_by_prior(cf_side *side)
{
	uint32_t	row;

	cf_side_set_prior(side);
	for (row = 0; row < side->n_rows; row++)
	{
		if (side->n_ratings[row] == 0)
			memcpy(cf_side_row(side, row), side->prior.row, side->stride * sizeof(float));
	}
}

static void
settle_side(cf_side *side)
{
	double		sum = 0.0;
	double		count = 0.0;
	uint32_t	row;

	if (side->prior.row != NULL)
	{
		settle_by_prior(side);
		return;
	}
	for (row = 0; row < side->n_rows; row++)
	{
		sum += (double) side->n_ratings[row] * cf_side_bias(side, row);
		count += (double) side->n_ratings[row];
	}
	side->mean_bias = count > 0.0 ? sum / count : 0.0;
	for (row = 0; row < side->n_rows; row++)
	{
		if (side->n_ratings[row] > 0)
			continue;
		memset(cf_side_row(side, row), 0, side->stride * sizeof(float));
		cf_side_row(side, row)[side->n_factors] = (float) side->mean_bias;
	}
}

/* The mean embedding, weighted by ratings; 0 when there are none. */
static void
mean_embedding(const cf_side *side, float *mean)
{
	double		sums[CF_MAX_FACTORS] = {0};
	double		count = 0.0;
	uint32_t	row;
	uint32_t	f;

	for (row = 0; row < side->n_rows; row++)
	{
		const float *factors = cf_side_row(side, row);
		double		weight = (double) side->n_ratings[row];

		for (f = 0; f < side->n_factors; f++)
			sums[f] += weight * factors[f];
		count += weight;
	}
	for (f = 0; f < side->n_factors; f++)
		mean[f] = count > 0.0 ? (float) (sums[f] / count) : 0.0f;
}

void
cf_model_settle(cf_model *model)
{
	settle_side(&model->users);
	settle_side(&model->items);
	if (model->net == NULL)
		return;
	mean_embedding(&model->users, model->net->mean_user);
	mean_embedding(&model->items, model->net->mean_item);
	cf_net_prepare(model->net);
}

static void
copy_prior(cf_side *to, const cf_side *from)
{
	size_t		width = (size_t) from->n_factors + 1;

	if (from->prior.row == NULL)
		return;
	memcpy(to->prior.mean, from->prior.mean, width * sizeof(double));
	memcpy(to->prior.precision, from->prior.precision, width * width * sizeof(double));
	memcpy(to->prior.row, from->prior.row, from->stride * sizeof(float));
}

static cf_status
copy_side(cf_side *to, const cf_side *from, cf_host *host)
{
	uint32_t	row;

	for (row = 0; row < from->n_rows; row += ROWS_AT_ONCE)
	{
		uint32_t	n = from->n_rows - row < ROWS_AT_ONCE ? from->n_rows - row : ROWS_AT_ONCE;

		memcpy(cf_side_row(to, row), cf_side_row(from, row),
			   (size_t) n * from->stride * sizeof(float));
		if (cf_should_stop(host))
			return CF_STOPPED;
	}
	to->mean_bias = from->mean_bias;
	copy_prior(to, from);
	return CF_OK;
}

cf_status
cf_model_copy(cf_model *to, const cf_model *from)
{
	cf_status	status = copy_side(&to->users, &from->users, from->host);

	if (status == CF_OK)
		status = copy_side(&to->items, &from->items, from->host);
	if (from->net != NULL)
		memcpy(to->net->weights, from->net->weights, from->net->n_weights * sizeof(float));
	return status;
}

float
cf_model_rating(const cf_model *model, float logit)
{
	float		share;

	if (model->link == CF_LINK_NONE)
		return logit;
	if (model->link == CF_LINK_CLIP)
		return cf_model_of_rank(model, cf_model_rank(model, logit));
	share = 1.0f / (1.0f + expf(-logit));

	/* In this form the ends are met exactly and nothing overflows. */
	return model->low * (1.0f - share) + model->high * share;
}

/* What a cold row has: the prior's mean, or nothing. */
static const float *
row_or_prior(const cf_side *side, uint32_t row)
{
	return cf_side_is_cold(side, row) ? side->prior.row : cf_side_row(side, row);
}

/* Predictions of rows[0, n), n <= CF_NET_ITEMS, which all have one user. */
static void
predict_run(const cf_model *model, const cf_rating *rows, size_t n, float *predictions)
{
	const float *user = row_or_prior(&model->users, rows[0].user);
	const float *items[CF_NET_ITEMS];
	float		part[CF_MAX_UNITS];
	size_t		j;

	for (j = 0; j < n; j++)
		items[j] = row_or_prior(&model->items, rows[j].item);
	cf_net_user_part(model->net, model->kernels, user, part);
	cf_net_logits(model->net, model->kernels, part, items, n, predictions);
	for (j = 0; j < n; j++)
		predictions[j] = user == NULL && items[j] == NULL ? (float) model->mean_rating :
			cf_model_rating(model, predictions[j]);
}

static float
predict_by_net(const cf_model *model, uint32_t user, uint32_t item)
{
	const cf_rating pair = {user, item, 0.0f};
	float		prediction;

	predict_run(model, &pair, 1, &prediction);
	return prediction;
}

float
cf_model_predict(const cf_model *model, uint32_t user, uint32_t item)
{
	const cf_side *users = &model->users;
	const cf_side *items = &model->items;
	bool		cold_user = cf_side_is_cold(users, user);
	bool		cold_item = cf_side_is_cold(items, item);
	const float *p = row_or_prior(users, user);
	const float *q = row_or_prior(items, item);
	float		logit = 0.0f;

	if (model->net != NULL)
		return predict_by_net(model, user, item);
	if ((cold_user || cold_item) && !model->use_bias)
		return (float) model->mean_rating;
	if (cold_user && cold_item)
		return (float) model->mean_rating;
	if (p != NULL && q != NULL)
		logit = model->kernels->dot(p, q, users->n_factors);
	logit += cold_user ? (float) users->mean_bias : cf_side_bias(users, user);
	logit += cold_item ? (float) items->mean_bias : cf_side_bias(items, item);
	return cf_model_rating(model, logit);
}

double
cf_model_slopes(const cf_model *model, const cf_rating *rows, size_t n, float scale,
				float *logits)
{
	float		span = model->high - model->low;
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		float		share = 1.0f / (1.0f + expf(-logits[j]));
		float		error;

		if (model->link == CF_LINK_SIGMOID)
		{
			error = model->low * (1.0f - share) + model->high * share - rows[j].value;
			logits[j] = scale * error * span * share * (1.0f - share);
		}
		else
		{
			error = cf_model_rating(model, logits[j]) - rows[j].value;
			logits[j] = scale * error;
		}
		sum += (double) error * error;
	}
	return sum;
}

/* Ratings of one user from rows[0] on, at most "most". */
static size_t
run_length(const cf_rating *rows, size_t n, size_t most)
{
	size_t		run = 1;

	while (run < n && run < most && rows[run].user == rows[0].user)
		run++;
	return run;
}

/* Predictions of the first of rows[0, n); returns of how many. */
static size_t
predict_some(const cf_model *model, const cf_rating *rows, size_t n, float *predictions)
{
	size_t		run;

	if (model->net == NULL)
	{
		predictions[0] = cf_model_predict(model, rows[0].user, rows[0].item);
		return 1;
	}
	run = run_length(rows, n, cf_net_items_at_once(model->net));
	predict_run(model, rows, run, predictions);
	return run;
}

cf_status
cf_model_loss(const cf_model *model, const cf_rating *rows, size_t n, double *loss)
{
	size_t		at_once = model->net == NULL ? ROWS_AT_ONCE : cf_net_items_at_once(model->net);
	float		predictions[CF_NET_ITEMS];
	double		sum = 0.0;
	size_t		polled = 0;
	size_t		done;
	size_t		m;
	size_t		j;

	for (done = 0; done < n; done += m)
	{
		m = predict_some(model, rows + done, n - done, predictions);
		for (j = 0; j < m; j++)
		{
			double		error = (double) predictions[j] - rows[done + j].value;

			sum += error * error;
		}
		if (done + m - polled >= at_once)
		{
			polled = done + m;
			if (cf_should_stop(model->host))
				return CF_STOPPED;
		}
	}
	*loss = n > 0 ? sum / (double) n : NAN;
	return CF_OK;
}

/* Parts of a sum, which do not depend on who adds them up. */
typedef struct loss_parts
{
	const cf_model *model;
	const cf_rating *rows;
	size_t		n;
	double		sums[PARTS_AT_ONCE];
} loss_parts;

/* A task: the squared errors of a part. */
static void
sum_part(void *context, size_t index, uint32_t thread)
{
	loss_parts *parts = context;
	const cf_rating *rows = parts->rows + index * ROWS_OF_PART;
	size_t		n = parts->n - index * ROWS_OF_PART;
	double		sum = 0.0;
	size_t		j;

	(void) thread;
	for (j = 0; j < n && j < ROWS_OF_PART; j++)
	{
		double		error = (double) cf_model_predict(parts->model, rows[j].user, rows[j].item) -
			rows[j].value;

		sum += error * error;
	}
	parts->sums[index] = sum;
}

cf_status
cf_model_loss_on(const cf_model *model, cf_pool *pool, const cf_rating *rows, size_t n,
				 double *loss)
{
	const size_t at_once = (size_t) PARTS_AT_ONCE * ROWS_OF_PART;
	double		sum = 0.0;
	size_t		done;

	/* a net would lose what it saves on ratings of one user */
	if (model->net != NULL)
		return cf_model_loss(model, rows, n, loss);
	for (done = 0; done < n; done += at_once)
	{
		loss_parts	parts = {.model = model, .rows = rows + done};
		size_t		n_parts;
		size_t		j;
		cf_status	status;

		parts.n = n - done < at_once ? n - done : at_once;
		n_parts = (parts.n + ROWS_OF_PART - 1) / ROWS_OF_PART;
		status = cf_pool_run(pool, sum_part, &parts, n_parts);
		if (status != CF_OK)
			return status;
		for (j = 0; j < n_parts; j++)
			sum += parts.sums[j];
	}
	*loss = n > 0 ? sum / (double) n : NAN;
	return CF_OK;
}
