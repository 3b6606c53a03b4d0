/*
 * cf_chain_prior.c
 *	  The Bayesian solver's draw of the prior of a side's rows.
 *
 * Normal-Wishart, with W0 = I, nu0 = d and b0 = 2: with n rows x of sum s
 * and Gram matrix G, b = b0 + n and m = s / b,
 *
 *		W^-1		= I + G - b m m'
 *		precision	~ Wishart(nu0 + n, W)
 *		mean		~ N(m, (b precision)^-1)
 *
 * Rows without ratings are left out.  With a link, x is what the link leaves,
 * and the link counts as rows, too (cf_chain_link.c).
 *
 * Served are the running means of both, in units of ratings.  With a link
 * they are of the rows with what the link adds, for that is what is known of
 * a row before it is known what it has rated.
 */
#include <math.h>
#include <string.h>

#include "cf_chain.h"

#define MEAN_WEIGHT		2.0		/* b0 */
#define BLOCK_ROWS		1024	/* of moments, at least */

typedef struct moment_task
{
	const cf_chain *chain;
	const cf_chain_side *side;
	bool		whole;			/* the rows with what the link adds */
	size_t		n_blocks;
	double	   *sums;			/* [n_blocks][width][width] */
} moment_task;

/* The row as it is: factors, bias, and a 1 for the sums. */
static void
plain_row(const moment_task *task, uint32_t row, float *to)
{
	const cf_chain *chain = task->chain;
	const float *from = task->side->rows + row * chain->width;
	const float scale = 1.0f / from[chain->k];
	size_t		f;

	for (f = 0; f < chain->k; f++)
		to[f] = scale * from[f];
	to[chain->k] = scale * from[chain->k + 1];
	if (task->side->linked && !task->whole)
	{
		const float *link = task->side->links + row * chain->width;

		for (f = 0; f < chain->d; f++)
			to[f] -= link[f];
	}
	to[chain->d] = 1.0f;
	for (f = chain->d + 1; f < chain->width; f++)
		to[f] = 0.0f;
}

/* Task: the moments of a share of the rows. */
static void
add_moments(void *context, size_t index, uint32_t thread)
{
	const moment_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *side = task->side;
	const cf_worker worker = cf_chain_worker(chain, thread);
	double	   *sums = task->sums + index * chain->width * chain->width;
	uint32_t	row = (uint32_t) ((uint64_t) side->n_rows * index / task->n_blocks);
	uint32_t	end = (uint32_t) ((uint64_t) side->n_rows * (index + 1) / task->n_blocks);
	size_t		n = 0;

	memset(sums, 0, chain->width * chain->width * sizeof(double));
	for (; row < end; row++)
	{
		if (cf_chain_count(side, row) > 0)
			plain_row(task, row, worker.gathered + n++ * chain->width);
		if (n == CF_GRAM_ROWS || (row + 1 == end && n > 0))
		{
			chain->gram->gram(worker.gathered, n, chain->width, chain->d + 1, true, sums);
			n = 0;
			if (cf_pool_stops(chain->pool, thread))
				return;
		}
	}
}

/* Moments of all rows: the lower half of the Gram matrix of (row, 1). */
static cf_status
take_moments(cf_chain *chain, const cf_chain_side *side, bool whole, double *sums)
{
	const size_t size = chain->width * chain->width;
	moment_task task = {chain, side, whole, side->n_rows / BLOCK_ROWS + 1, sums};
	cf_status	status;
	size_t		block;
	size_t		j;

	if (task.n_blocks > CF_MOMENT_BLOCKS)
		task.n_blocks = CF_MOMENT_BLOCKS;
	status = cf_pool_run(chain->pool, add_moments, &task, task.n_blocks);
	if (status != CF_OK)
		return status;
	for (block = 1; block < task.n_blocks; block++)
	{
		for (j = 0; j < size; j++)
			sums[j] += sums[block * size + j];
	}
	return CF_OK;
}

/* W^-1, lower half, from moments. */
static void
make_scatter(const cf_chain *chain, const cf_chain_side *side, const double *moments, double *w)
{
	const double *sum = moments + chain->d * chain->width;
	const double b = MEAN_WEIGHT + side->n_rated;
	size_t		i;
	size_t		j;

	for (j = 0; j < chain->d; j++)
	{
		for (i = j; i < chain->d; i++)
		{
			double		x = moments[i * chain->width + j] - sum[i] * (sum[j] / b);

			if (side->linked)
				x += side->link_scale * side->link_gram[i * chain->width + j];
			w[j * chain->stride + i] = x + (i == j ? 1.0 : 0.0);
		}
	}
}

/*
 * Bartlett: with W^-1 = K K' and a lower triangle A of normal deviates, and
 * roots of chi-squares on its diagonal, T = K'^-1 A makes T T' ~ Wishart.
 * Column j of A is at t + j stride.
 */
static void
draw_triangle(cf_chain *chain, const cf_chain_side *side, double freedom, double *t)
{
	size_t		i;
	size_t		j;

	for (i = 0; i < chain->d; i++)
	{
		double		shape = 0.5 * (freedom - (double) i);
		double		square = 2.0 *
			cf_random_gamma(chain->seed, cf_chain_stream(PURPOSE_CHI_SQUARE, side->number),
							cf_chain_key(chain, (uint32_t) i), shape);

		cf_random_normal(chain->seed, cf_chain_stream(PURPOSE_WISHART, side->number),
						 cf_chain_key(chain, (uint32_t) i), chain->normals, i);
		for (j = 0; j < i; j++)
			t[j * chain->stride + i] = chain->normals[j];
		t[i * chain->stride + i] = sqrt(square);
		for (j = i + 1; j < chain->d; j++)
			t[j * chain->stride + i] = 0.0;
	}
}

/* side->precision = T T'.  Polls, as there can be a thousand columns. */
static cf_status
square_triangle(const cf_chain *chain, cf_chain_side *side, const double *t)
{
	const size_t d = chain->d;
	const size_t stride = chain->stride;
	size_t		i;
	size_t		j;
	size_t		c;

	memset(side->precision, 0, d * stride * sizeof(double));
	for (c = 0; c < d; c++)
	{
		const double *column = t + c * stride;

		for (j = 0; j < d; j++)
			for (i = 0; i < d; i++)
				side->precision[j * stride + i] += column[j] * column[i];
		if (cf_should_stop(chain->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* The precision, and its Cholesky factor. */
static cf_status
draw_precision(cf_chain *chain, cf_chain_side *side, const double *moments)
{
	const size_t d = chain->d;
	const size_t stride = chain->stride;
	double	   *k = chain->wishart;
	double	   *t = chain->wishart + d * stride;
	double		freedom = (double) d + side->n_rated;
	cf_status	status;
	size_t		j;

	if (side->linked)
		freedom += chain->sides[1 - side->number].n_rated;
	make_scatter(chain, side, moments, k);
	if (!chain->gram->factor(k, d, d, stride))
		return CF_NOT_FINITE;
	draw_triangle(chain, side, freedom, t);
	for (j = 0; j < d; j += 2)
		chain->gram->back(k, d, stride, t + j * stride,
						  j + 1 < d ? t + (j + 1) * stride : side->shift);
	status = square_triangle(chain, side, t);
	if (status != CF_OK)
		return status;
	memcpy(side->root, side->precision, d * stride * sizeof(double));
	return chain->gram->factor(side->root, d, d, stride) ? CF_OK : CF_NOT_FINITE;
}

/* The mean given the precision, and their product. */
static void
draw_mean(cf_chain *chain, cf_chain_side *side, const double *moments)
{
	const size_t d = chain->d;
	const double b = MEAN_WEIGHT + side->n_rated;
	double	   *z = chain->wishart;
	size_t		i;
	size_t		j;

	cf_random_normal(chain->seed, cf_chain_stream(PURPOSE_MEAN, side->number),
					 cf_chain_key(chain, 0), chain->normals, d);
	for (i = 0; i < d; i++)
		z[i] = z[chain->stride + i] = chain->normals[i] / sqrt(b);
	chain->gram->back(side->root, d, chain->stride, z, z + chain->stride);
	memset(side->shift, 0, chain->stride * sizeof(double));
	for (i = 0; i < d; i++)
		side->mean[i] = moments[d * chain->width + i] / b + z[i];
	for (j = 0; j < d; j++)
		for (i = 0; i < d; i++)
			side->shift[i] += side->mean[j] * side->precision[j * chain->stride + i];
}

/* Add a prior to the running mean that is served. */
static void
serve_prior(const cf_chain *chain, cf_chain_side *side, const double *mean,
			const double *precision)
{
	cf_side_prior *to = &side->served->prior;
	const double share = 1.0 / chain->count;
	const size_t d = chain->d;
	size_t		i;
	size_t		j;

	for (j = 0; j < d; j++)
	{
		to->mean[j] += share * (cf_chain_unit(chain, j) * mean[j] - to->mean[j]);
		for (i = 0; i < d; i++)
		{
			double		unit = cf_chain_unit(chain, i) * cf_chain_unit(chain, j);
			double	   *p = &to->precision[j * d + i];

			*p += share * (precision[j * chain->stride + i] / unit - *p);
		}
	}
}

/*
 * The prior of a row whose link is not known: mean and covariance of the rows
 * as they are.  The covariance is inverted column by column.
 */
static bool
whole_prior(cf_chain *chain, const cf_chain_side *side, const double *moments, double *mean,
			double *precision)
{
	const size_t d = chain->d;
	const size_t stride = chain->stride;
	const double n = side->n_rated;
	double	   *l = chain->wishart;
	size_t		i;
	size_t		j;

	for (j = 0; j < d; j++)
	{
		mean[j] = moments[d * chain->width + j] / n;
		for (i = j; i < d; i++)
			l[j * stride + i] = ((i == j) + moments[i * chain->width + j]) / n -
				moments[d * chain->width + i] / n * mean[j];
	}
	if (!chain->gram->factor(l, d, d, stride))
		return false;

	/* L^-1 e_j by substitution, then both halves of what is left at once */
	for (j = 0; j < d; j++)
	{
		double	   *x = precision + j * stride;

		memset(x, 0, stride * sizeof(double));
		x[j] = 1.0;
		for (i = j; i < d; i++)
		{
			const double *column = l + i * stride;
			size_t		r;

			x[i] /= column[i];
			for (r = i + 1; r < d; r++)
				x[r] -= x[i] * column[r];
		}
	}
	for (j = 0; j < d; j += 2)
		chain->gram->back(l, d, stride, precision + j * stride,
						  j + 1 < d ? precision + (j + 1) * stride : l + d * stride);
	return true;
}

static cf_status
serve_whole_prior(cf_chain *chain, cf_chain_side *side)
{
	const cf_worker worker = cf_chain_worker(chain, 0);
	cf_status	status = take_moments(chain, side, true, chain->moments);

	if (status != CF_OK)
		return status;
	if (!whole_prior(chain, side, chain->moments, worker.mean, worker.system))
		return CF_NOT_FINITE;
	serve_prior(chain, side, worker.mean, worker.system);
	return CF_OK;
}

cf_status
cf_chain_draw_prior(cf_chain *chain, cf_chain_side *side)
{
	cf_status	status = take_moments(chain, side, false, chain->moments);

	if (status != CF_OK)
		return status;
	status = draw_precision(chain, side, chain->moments);
	if (status != CF_OK)
		return status;
	draw_mean(chain, side, chain->moments);
	if (side->linked)
		return serve_whole_prior(chain, side);
	serve_prior(chain, side, side->mean, side->precision);
	return CF_OK;
}
