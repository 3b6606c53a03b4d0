/*
 * cf_chain_link.c
 *	  The Bayesian solver's draw of a link: implicit information.
 *
 * The prior mean of a row r is mean + sum of B[j] / sqrt(n_r) over the n_r
 * rows j of the other side that it was rated with, in matrices mean + F B.
 * With rows of E1 and E2 drawn from N(0, precision^-1), and s the link's
 * scale, B is drawn by solving
 *
 *		(F'F + s I) B = F'(X - mean + E1) + sqrt(s) E2
 *
 * (Simm and others: "Macau: Scalable Bayesian Multi-relational Factorization
 * with Side Information using MCMC", 2015), by conjugate gradients on all
 * columns at once, preconditioned by the matrix's diagonal.  They stop after a few steps: what they leave out hardly
 * matters for the rows, and the sampler is several times as fast for it.  F is
 * never held: a product with it adds up rows that the ratings name.
 */
#include <math.h>
#include <string.h>

#include "cf_chain.h"

#define MOST_STEPS		8
#define SMALL			((size_t) 1 << 17)	/* floats that are not worth waking threads for */
#define ENOUGH			1e-8	/* of the squared residual */

typedef struct link_task
{
	cf_chain   *chain;
	cf_chain_side *side;		/* whose prior means these are */
	const cf_chain_side *other;
	bool		is_last;		/* of the products: the links themselves */
	float	   *part;			/* [rows of side][width] what F' is multiplied with */
	float	   *residual;		/* [rows of other][width] */
	float	   *direction;
	float	   *product;
	float	   *b;
	double	   *lengths;		/* [width] of the step, in each column */
} link_task;

/* x = root'^-1 of normal deviates: a draw of N(0, precision^-1). */
static void
draw_deviation(const cf_chain *chain, const cf_chain_side *side, cf_purpose purpose,
			   uint32_t row, const cf_worker *worker)
{
	size_t		f;

	cf_random_normal(chain->seed, cf_chain_stream(purpose, side->number),
					 cf_chain_key(chain, row), worker->normals, chain->d);
	for (f = 0; f < chain->d; f++)
		worker->draw[f] = worker->mean[f] = worker->normals[f];
	chain->gram->back(side->root, chain->d, chain->stride, worker->draw, worker->mean);
}

static inline double
root_share(const cf_chain_side *side, uint32_t row)
{
	return 1.0 / sqrt((double) cf_chain_count(side, row));
}

/* Task: part = f (X - mean + E1), for a block of the side's rows. */
static void
start_part(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *side = task->side;
	const cf_worker worker = cf_chain_worker(chain, thread);
	uint32_t	row;
	size_t		f;

	for (row = side->blocks[index]; row < side->blocks[index + 1]; row++)
	{
		const float *from = side->rows + row * chain->width;
		float	   *to = task->part + row * chain->width;
		double		share;

		if (cf_chain_count(side, row) == 0)
			continue;
		share = root_share(side, row);
		draw_deviation(chain, side, PURPOSE_LINK_ROW, row, &worker);
		for (f = 0; f < chain->d; f++)
		{
			double		x = from[f < chain->k ? f : chain->k + 1] / from[chain->k];

			to[f] = (float) (share * (x - side->mean[f] + worker.draw[f]));
		}
	}
}

static cf_gather
ratings_of(const cf_chain_side *side, uint32_t row)
{
	cf_gather	ratings = side->ratings;

	ratings.numbers = (const uint32_t *) ((const char *) ratings.numbers +
										  side->starts[row] * ratings.step);
	return ratings;
}

/* Adds up a product of two rows, column by column, times a number. */
static void
add_products(const float *a, const float *b, float by, size_t n, double *sums)
{
	size_t		f;

	for (f = 0; f < n; f++)
		sums[f] += (double) (a[f] * b[f] * by);
}

/* The preconditioner's number for a row of the other side. */
static inline float
condition(const link_task *task, uint32_t row)
{
	return 1.0f / (task->side->link_diagonal[row] + (float) task->side->link_scale);
}

/* Task: the right side, which is the first residual and direction; its squares. */
static void
start_residual(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *other = task->other;
	const cf_worker worker = cf_chain_worker(chain, thread);
	const size_t width = chain->width;
	const double scale = sqrt(task->side->link_scale);
	double	   *sums = chain->link_sums + index * width;
	uint32_t	row;
	size_t		f;

	memset(sums, 0, width * sizeof(double));
	for (row = other->blocks[index]; row < other->blocks[index + 1]; row++)
	{
		float	   *r = task->residual + row * width;
		const cf_gather ratings = ratings_of(other, row);

		memset(task->b + row * width, 0, width * sizeof(float));
		memset(r, 0, width * sizeof(float));
		if (cf_chain_count(other, row) > 0)
		{
			chain->gram->sum(task->part, width, chain->d, &ratings, cf_chain_count(other, row), r);
			draw_deviation(chain, task->side, PURPOSE_LINK_PRIOR, row, &worker);
			for (f = 0; f < chain->d; f++)
				r[f] += (float) (scale * worker.draw[f]);
		}
		for (f = 0; f < width; f++)
			task->direction[row * width + f] = condition(task, row) * r[f];
		add_products(r, r, condition(task, row), width, sums);
	}
}

/* Task: part = f f F direction; or the links, F b. */
static void
multiply_rows(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *side = task->side;
	const size_t width = chain->width;
	uint32_t	row;
	size_t		f;

	(void) thread;
	for (row = side->blocks[index]; row < side->blocks[index + 1]; row++)
	{
		const cf_gather ratings = ratings_of(side, row);
		float	   *to = (task->is_last ? side->links : task->part) + row * width;
		float		share;

		if (cf_chain_count(side, row) == 0)
			continue;
		share = (float) root_share(side, row);
		if (!task->is_last)
			share *= share;
		chain->gram->sum(task->is_last ? task->b : task->direction, width, chain->d, &ratings,
						 cf_chain_count(side, row), to);
		for (f = 0; f < width; f++)
			to[f] *= share;
	}
}

/* Task: product = F' part + s direction; its products with the direction. */
static void
multiply_columns(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *other = task->other;
	const size_t width = chain->width;
	const float scale = (float) task->side->link_scale;
	double	   *sums = chain->link_sums + index * width;
	uint32_t	row;
	size_t		f;

	(void) thread;
	memset(sums, 0, width * sizeof(double));
	for (row = other->blocks[index]; row < other->blocks[index + 1]; row++)
	{
		const cf_gather ratings = ratings_of(other, row);
		const float *direction = task->direction + row * width;
		float	   *to = task->product + row * width;

		/* what stands there is of another product */
		memset(to, 0, width * sizeof(float));
		if (cf_chain_count(other, row) == 0)
			continue;
		chain->gram->sum(task->part, width, chain->d, &ratings, cf_chain_count(other, row), to);
		for (f = 0; f < width; f++)
			to[f] += scale * direction[f];
		add_products(to, direction, 1.0f, width, sums);
	}
}

/* Task: a step along the direction; squares of what is left. */
static void
make_step(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const cf_chain *chain = task->chain;
	const cf_chain_side *other = task->other;
	const size_t width = chain->width;
	double	   *sums = chain->link_sums + index * width;
	uint32_t	row;
	size_t		f;

	(void) thread;
	memset(sums, 0, width * sizeof(double));
	for (row = other->blocks[index]; row < other->blocks[index + 1]; row++)
	{
		const size_t j = row * width;

		for (f = 0; f < width; f++)
		{
			float		length = (float) task->lengths[f];

			task->b[j + f] += length * task->direction[j + f];
			task->residual[j + f] -= length * task->product[j + f];
		}
		add_products(task->residual + j, task->residual + j, condition(task, row), width, sums);
	}
}

/* Task: the next direction. */
static void
turn(void *context, size_t index, uint32_t thread)
{
	const link_task *task = context;
	const size_t width = task->chain->width;
	uint32_t	row;
	size_t		f;

	(void) thread;
	for (row = task->other->blocks[index]; row < task->other->blocks[index + 1]; row++)
	{
		const size_t j = row * width;

		for (f = 0; f < width; f++)
			task->direction[j + f] = condition(task, row) * task->residual[j + f] +
				(float) task->lengths[f] * task->direction[j + f];
	}
}

/* Run a task of a few sums a number on all blocks of the other side. */
static cf_status
run_over(const link_task *task, cf_task run)
{
	const cf_chain *chain = task->chain;
	size_t		block;

	if (task->other->n_rows * chain->width > SMALL)
		return cf_pool_run(chain->pool, run, (void *) task, task->other->n_blocks);
	for (block = 0; block < task->other->n_blocks; block++)
		run((void *) task, block, 0);
	return cf_should_stop(chain->host) ? CF_STOPPED : CF_OK;
}

/* Add up what the blocks added. */
static void
add_up_blocks(const link_task *task, double *sums)
{
	const cf_chain *chain = task->chain;
	size_t		block;
	size_t		f;

	memset(sums, 0, chain->width * sizeof(double));
	for (block = 0; block < task->other->n_blocks; block++)
	{
		for (f = 0; f < chain->width; f++)
			sums[f] += chain->link_sums[block * chain->width + f];
	}
}

/* Run a task on all blocks of the other side, and add up what the blocks added. */
static cf_status
run_and_add(const link_task *task, cf_task run, double *sums)
{
	const cf_chain *chain = task->chain;
	cf_status	status = cf_pool_run(chain->pool, run, (void *) task, task->other->n_blocks);

	add_up_blocks(task, sums);
	return status;
}

static bool
is_solved(const cf_chain *chain, const double *now, const double *first)
{
	size_t		f;

	for (f = 0; f < chain->d; f++)
	{
		if (now[f] > ENOUGH * first[f])
			return false;
	}
	return true;
}

/* One step; "now" has the residuals' squares, each divided by its row's number of the diagonal. */
static cf_status
descend(link_task *task, double *now, double *sums)
{
	const cf_chain *chain = task->chain;
	cf_status	status = cf_pool_run(chain->pool, multiply_rows, task, task->side->n_blocks);
	size_t		f;

	if (status == CF_OK)
		status = run_and_add(task, multiply_columns, sums);
	for (f = 0; f < chain->width; f++)
		task->lengths[f] = sums[f] > 0.0 ? now[f] / sums[f] : 0.0;
	if (status == CF_OK)
		status = run_over(task, make_step);
	if (status == CF_OK)
		add_up_blocks(task, sums);
	for (f = 0; f < chain->width; f++)
	{
		task->lengths[f] = now[f] > 0.0 ? sums[f] / now[f] : 0.0;
		now[f] = sums[f];
	}
	if (status == CF_OK)
		status = run_over(task, turn);
	return status;
}

static cf_status
solve(link_task *task)
{
	const cf_chain *chain = task->chain;
	double		first[CF_MAX_FACTORS + 2 * CF_GRAM_UNIT];
	double		now[CF_MAX_FACTORS + 2 * CF_GRAM_UNIT];
	double		sums[CF_MAX_FACTORS + 2 * CF_GRAM_UNIT];
	double		lengths[CF_MAX_FACTORS + 2 * CF_GRAM_UNIT];
	cf_status	status = cf_pool_run(chain->pool, start_part, task, task->side->n_blocks);
	int			step;

	task->lengths = lengths;
	if (status == CF_OK)
		status = run_and_add(task, start_residual, first);
	memcpy(now, first, chain->width * sizeof(double));
	for (step = 0; step < MOST_STEPS && status == CF_OK && !is_solved(chain, now, first); step++)
		status = descend(task, now, sums);
	task->is_last = true;
	if (status == CF_OK)
		status = cf_pool_run(chain->pool, multiply_rows, task, task->side->n_blocks);
	return status;
}

/* B'B and, from it, the link's scale: its prior is Gamma(1/2, 1/2). */
static void
draw_scale(const link_task *task)
{
	const cf_chain *chain = task->chain;
	cf_chain_side *side = task->side;
	const cf_chain_side *other = task->other;
	const size_t width = chain->width;
	double		trace = 0.0;
	double		gamma;
	size_t		done;
	size_t		i;
	size_t		j;

	memset(side->link_gram, 0, width * width * sizeof(double));
	for (done = 0; done < other->n_rows; done += CF_GRAM_ROWS)
	{
		size_t		count = other->n_rows - done < CF_GRAM_ROWS ? other->n_rows - done : CF_GRAM_ROWS;

		chain->gram->gram(task->b + done * width, count, width, chain->d, true, side->link_gram);
	}
	for (i = 0; i < chain->d; i++)
		for (j = 0; j <= i; j++)
			trace += (i == j ? 1.0 : 2.0) * side->precision[j * chain->stride + i] *
				side->link_gram[i * width + j];
	gamma = cf_random_gamma(chain->seed, cf_chain_stream(PURPOSE_LINK_SCALE, side->number),
							cf_chain_key(chain, 0),
							0.5 * ((double) other->n_rated * (double) chain->d + 1.0));
	side->link_scale = gamma / (0.5 * (trace + 1.0));
}

cf_status
cf_chain_draw_link(cf_chain *chain, cf_chain_side *side, cf_chain_side *other)
{
	link_task	task = {.chain = chain, .side = side, .other = other,
		.part = chain->link_rows[0], .residual = chain->link_rows[1],
		.direction = chain->link_rows[2], .product = chain->link_rows[3],
	.b = chain->link_rows[4]};
	cf_status	status = solve(&task);

	if (status == CF_OK)
		draw_scale(&task);
	return status;
}
