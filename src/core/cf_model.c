/*
 * cf_model.c
 *	  The model: embeddings of users and items, and what they predict.
 */
#include <math.h>
#include <string.h>

#include "cf_dict.h"
#include "cf_model.h"
#include "cf_random.h"

#define STRIDE_UNIT		4		/* floats: 16 bytes */
#define FIRST_ROWS		16
#define ROWS_AT_ONCE	16384	/* between two polls */

uint32_t
cf_stride(uint32_t n_factors)
{
	return (n_factors + 1 + STRIDE_UNIT - 1) / STRIDE_UNIT * STRIDE_UNIT;
}

size_t
cf_side_memory(uint32_t n_rows, uint32_t n_factors)
{
	return cf_size_add(cf_block_memory(n_rows, cf_stride(n_factors) * sizeof(float)),
					   cf_block_memory(n_rows, sizeof(int64_t)));
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
	memset(side, 0, sizeof(*side));
}

void
cf_model_release(cf_model *model)
{
	cf_side_release(&model->users, model->host);
	cf_side_release(&model->items, model->host);
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

static cf_status
start_side(cf_model *model, cf_side *side, uint64_t seed, cf_stream stream, float scale)
{
	size_t		n = side->n_factors + (model->use_bias ? 1 : 0);
	uint32_t	row;

	for (row = 0; row < side->n_rows; row++)
	{
		if (side->n_ratings[row] > 0)
			cf_random_wrapped_normal(seed, stream, row, scale, cf_side_row(side, row), n);
		if (row % 1024 == 1023 && cf_should_stop(model->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_model_start(cf_model *model, uint64_t seed, float scale)
{
	cf_status	status = start_side(model, &model->users, seed, CF_STREAM_USER_START, scale);

	if (status == CF_OK)
		status = start_side(model, &model->items, seed, CF_STREAM_ITEM_START, scale);
	return status;
}

static void
settle_side(cf_side *side)
{
	double		sum = 0.0;
	double		count = 0.0;
	uint32_t	row;

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

void
cf_model_settle(cf_model *model)
{
	settle_side(&model->users);
	settle_side(&model->items);
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
	return CF_OK;
}

cf_status
cf_model_copy(cf_model *to, const cf_model *from)
{
	cf_status	status = copy_side(&to->users, &from->users, from->host);

	if (status == CF_OK)
		status = copy_side(&to->items, &from->items, from->host);
	return status;
}

float
cf_model_rating(const cf_model *model, float logit)
{
	float		share;

	if (!model->use_range)
		return logit;
	share = 1.0f / (1.0f + expf(-logit));

	/* In this form the ends are met exactly and nothing overflows. */
	return model->low * (1.0f - share) + model->high * share;
}

static bool
is_cold(const cf_side *side, uint32_t row)
{
	return row >= side->n_rows || side->n_ratings[row] == 0;
}

float
cf_model_predict(const cf_model *model, uint32_t user, uint32_t item)
{
	const cf_side *users = &model->users;
	const cf_side *items = &model->items;
	bool		cold_user = is_cold(users, user);
	bool		cold_item = is_cold(items, item);
	float		logit = 0.0f;

	if ((cold_user || cold_item) && !model->use_bias)
		return (float) model->mean_rating;
	if (cold_user && cold_item)
		return (float) model->mean_rating;
	if (!cold_user && !cold_item)
		logit = model->kernels->dot(cf_side_row(users, user), cf_side_row(items, item),
									users->n_factors);
	logit += cold_user ? (float) users->mean_bias : cf_side_bias(users, user);
	logit += cold_item ? (float) items->mean_bias : cf_side_bias(items, item);
	return cf_model_rating(model, logit);
}

cf_status
cf_model_loss(const cf_model *model, const cf_rating *rows, size_t n, double *loss)
{
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		double		error = (double) cf_model_predict(model, rows[j].user, rows[j].item) -
			rows[j].value;

		sum += error * error;
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(model->host))
			return CF_STOPPED;
	}
	*loss = n > 0 ? sum / (double) n : NAN;
	return CF_OK;
}
