/*
 * cf_deferred.c
 *	  Adam on the rows of two sides, at the cost of the rows that a batch
 *	  touches.
 *
 * The head of cf_deferred.h has the method.  Slots for gradients are as many
 * as a batch can touch, so gradients cost no memory in proportion to the
 * model.
 *
 * Products over many steps.  A ratio of prefix products is all that a gap
 * needs, but the prefixes themselves would underflow in a long training.
 * They are kept above 2^-512, and every lifting by 2^512 is counted: ratios
 * within one count or across one come out right, others are below what a
 * float can hold.
 */
#include <math.h>
#include <string.h>

#include "cf_deferred.h"

/*
 * Beyond this gap m and v count as gone: 0.99^4608 is 1e-20, and letting them
 * shrink on would end in denormal numbers, which are slow.
 */
#define LONG_GAP		4608

/*
 * The tail's series has ratio beta1 / (0.995 decay).  Where a setting brings
 * that to 1, only epsilon would stop it, which the closed form does not see;
 * so momentum is held below, such that the series ends within LONG_GAP.
 */
#define GREATEST_RATIO	0.996
#define LEAST_FACTOR	1e-30	/* of the products, which must not be 0 */
#define GONE			1e-20	/* less is 0 */
#define LARGEST_GRADIENT 1e18	/* its square, and sums of it, fit a float */
#define FLOATS_AT_ONCE	((size_t) 1 << 18)	/* between two polls: a few ms */
#define ROWS_AHEAD		3		/* prefetched */
#define LINE_FLOATS		16		/* of a cache line */

typedef struct row_gap
{
	float		decay;			/* p = decay p - tail d */
	float		tail;
	float		m_left;			/* what is left of m */
	float		v_left;			/* ... and of v */
} row_gap;

/* ---------- time ---------- */

static double
rate_at(const cf_deferred *deferred, uint32_t step)
{
	return cf_schedule_rate(&deferred->schedule, (double) step / deferred->n_steps);
}

static double
beta1_at(const cf_deferred *deferred, uint32_t step)
{
	return cf_schedule_momentum(&deferred->schedule, (double) step / deferred->n_steps);
}

/* 1 - beta^(step + 1): what the moments lack for having begun at 0. */
static double
warmth(double beta, uint32_t step)
{
	return 1.0 - pow(beta, (double) step + 1.0);
}

static double
gap_decay_at(const cf_deferred *deferred, uint32_t step)
{
	return fmax(1.0 - rate_at(deferred, step) * deferred->wd, LEAST_FACTOR);
}

static double
gap_beta_at(const cf_deferred *deferred, uint32_t step)
{
	double		greatest = GREATEST_RATIO * sqrt(CF_ADAM_BETA2) * gap_decay_at(deferred, step);

	return fmax(fmin(beta1_at(deferred, step), greatest), LEAST_FACTOR);
}

static void
multiply_lifted(double *product, uint32_t *lifts, double factor)
{
	*product *= factor;
	if (*product < 0x1p-512)
	{
		*product *= 0x1p512;
		(*lifts)++;
	}
}

static double
lifted_ratio(double later, uint32_t later_lifts, double earlier, uint32_t earlier_lifts)
{
	if (later_lifts == earlier_lifts)
		return later / earlier;
	return later_lifts - earlier_lifts > 1 ? 0.0 : later / earlier * 0x1p-512;
}

static cf_status
make_times(cf_deferred *deferred)
{
	cf_deferred_time	now = {1.0, 1.0, 0.0, 0, 0};
	uint32_t	step;

	for (step = 0; step < deferred->n_steps; step++)
	{
		deferred->times[step] = now;
		multiply_lifted(&now.decay, &now.decay_lifts, gap_decay_at(deferred, step));
		multiply_lifted(&now.beta, &now.beta_lifts, gap_beta_at(deferred, step));
		if (step % 16384 == 16383 && cf_should_stop(deferred->host))
			return CF_STOPPED;
	}
	deferred->times[deferred->n_steps] = now;

	/* T(l) = c(l) (w(l) + T(l + 1)) */
	while (step-- > 0)
	{
		double		weight = rate_at(deferred, step) * sqrt(warmth(CF_ADAM_BETA2, step)) /
			warmth(beta1_at(deferred, step), step);
		double		ratio = gap_beta_at(deferred, step) /
			(sqrt(CF_ADAM_BETA2) * gap_decay_at(deferred, step));

		deferred->times[step].tail = ratio * (weight + deferred->times[step + 1].tail);
		if (step % 16384 == 16383 && cf_should_stop(deferred->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

static void
make_rests(cf_deferred *deferred)
{
	int			g;

	for (g = 0; g <= LONG_GAP; g++)
	{
		double		left = pow(CF_ADAM_BETA2, g);

		deferred->rests[g].growth = 1.0 / sqrt(left);
		deferred->rests[g].v_left = (float) left;
		/* before the first step directions are 0, whatever weighs them */
		deferred->rests[g].unbias = g > 0 ? (float) (1.0 / sqrt(1.0 - left)) : 1.0f;
	}
}

static float
unbias_at(const cf_deferred *deferred, uint32_t time)
{
	return deferred->rests[time < LONG_GAP ? time : LONG_GAP].unbias;
}

cf_adam_step
cf_deferred_now(const cf_deferred *deferred)
{
	double		rate = rate_at(deferred, deferred->step);
	double		beta1 = beta1_at(deferred, deferred->step);
	cf_adam_step s;

	s.keep1 = (float) beta1;
	s.fresh1 = (float) (1.0 - beta1);
	s.keep2 = (float) CF_ADAM_BETA2;
	s.fresh2 = (float) (1.0 - CF_ADAM_BETA2);
	s.unbias = unbias_at(deferred, deferred->step + 1);
	s.epsilon = (float) CF_ADAM_EPSILON;
	s.decay = (float) (1.0 - rate * deferred->wd);
	s.rate = (float) (rate / warmth(beta1, deferred->step));
	return s;
}

/* What the steps from .. to - 1 do to a row without a gradient. */
static inline void
gap_between(const cf_deferred *deferred, uint32_t from, uint32_t to, row_gap *gap)
{
	const cf_deferred_time *l = &deferred->times[from];
	const cf_deferred_time *e = &deferred->times[to];
	uint32_t	length = to - from;
	double		decay = lifted_ratio(e->decay, e->decay_lifts, l->decay, l->decay_lifts);
	double		tail = decay * l->tail;

	gap->m_left = 0.0f;
	gap->v_left = 0.0f;
	if (length <= LONG_GAP)
	{
		double		beta = lifted_ratio(e->beta, e->beta_lifts, l->beta, l->beta_lifts);

		tail -= beta * deferred->rests[length].growth * e->tail;
		if (beta > GONE)
			gap->m_left = (float) beta;
		gap->v_left = deferred->rests[length].v_left;
	}
	gap->decay = decay > GONE ? (float) decay : 0.0f;
	gap->tail = (float) tail * unbias_at(deferred, from);
}

/* ---------- rows ---------- */

bool
cf_deferred_stops(cf_deferred *deferred, size_t floats)
{
	deferred->work += floats;
	if (deferred->work < FLOATS_AT_ONCE)
		return false;
	deferred->work = 0;
	return cf_should_stop(deferred->host);
}

static inline float *
moments_of(const cf_deferred_side *side, uint32_t row)
{
	return side->moments + (size_t) row * 3 * side->side->stride;
}

static inline void
prefetch_floats(const float *floats, uint32_t n)
{
	uint32_t	j;

	for (j = 0; j < n; j += LINE_FLOATS)
		__builtin_prefetch(floats + j, 1);
}

/* What catch_up() will read. */
static inline void
prefetch_row(const cf_deferred *deferred, const cf_deferred_side *side, uint32_t row)
{
	uint32_t	stride = side->side->stride;

	__builtin_prefetch(&deferred->times[side->rows[row].time]);
	prefetch_floats(cf_side_row(side->side, row), stride);
	prefetch_floats(moments_of(side, row) + 2 * stride, stride);
}

/* Bring the parameters of a row up to date, not yet its moments. */
static inline void
catch_up(const cf_deferred *deferred, const cf_deferred_side *side, uint32_t row, row_gap *gap)
{
	uint32_t	stride = side->side->stride;

	gap_between(deferred, side->rows[row].time, deferred->step, gap);
	deferred->kernels->axpby(-gap->tail, moments_of(side, row) + 2 * stride, gap->decay,
							   cf_side_row(side->side, row), stride);
}

/* Give a row a slot in this batch, for which it is brought up to date. */
static void
take_slot(cf_deferred *deferred, cf_deferred_side *side, uint32_t row)
{
	cf_deferred_slot *slot = &side->slots[side->n_touched];
	row_gap		gap = {1.0f, 0.0f, 1.0f, 1.0f};

	if (side->rows[row].time != deferred->step)
		catch_up(deferred, side, row, &gap);
	slot->row = row;
	slot->m_left = gap.m_left;
	slot->v_left = gap.v_left;
	side->rows[row].slot = side->n_touched++;
}

/* Where the gradient of a row in this batch is added up. */
static inline float *
touch(cf_deferred *deferred, cf_deferred_side *side, uint32_t row)
{
	cf_deferred_row *state = &side->rows[row];

	if (state->slot >= side->n_touched || side->slots[state->slot].row != row)
		take_slot(deferred, side, row);
	return side->gradients + (size_t) state->slot * side->side->stride;
}

cf_status
cf_deferred_touch(cf_deferred *deferred, const cf_rating *batch)
{
	uint32_t	j;

	deferred->users.n_touched = 0;
	deferred->items.n_touched = 0;
	for (j = 0; j < deferred->batch_size; j++)
	{
		if (j + 2 * ROWS_AHEAD < deferred->batch_size)
		{
			__builtin_prefetch(&deferred->users.rows[batch[j + 2 * ROWS_AHEAD].user], 1);
			__builtin_prefetch(&deferred->items.rows[batch[j + 2 * ROWS_AHEAD].item], 1);
		}
		if (j + ROWS_AHEAD < deferred->batch_size)
		{
			prefetch_row(deferred, &deferred->users, batch[j + ROWS_AHEAD].user);
			prefetch_row(deferred, &deferred->items, batch[j + ROWS_AHEAD].item);
		}
		deferred->user_gradients[j] = touch(deferred, &deferred->users, batch[j].user);
		deferred->item_gradients[j] = touch(deferred, &deferred->items, batch[j].item);
		if (cf_deferred_stops(deferred, deferred->users.side->stride + deferred->items.side->stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
step_rows(cf_deferred *deferred, cf_deferred_side *side, const cf_adam_step *common)
{
	uint32_t	stride = side->side->stride;
	uint32_t	j;

	for (j = 0; j < side->n_touched; j++)
	{
		const cf_deferred_slot *slot = &side->slots[j];
		float	   *m = moments_of(side, slot->row);
		cf_adam_step step = *common;

		if (j + ROWS_AHEAD < side->n_touched)
			prefetch_floats(moments_of(side, slot[ROWS_AHEAD].row), 2 * stride);
		step.keep1 *= slot->m_left;
		step.keep2 *= slot->v_left;
		deferred->kernels->adam_step(&step, cf_side_row(side->side, slot->row), m,
									 m + stride, m + 2 * stride,
									 side->gradients + (size_t) j * stride, stride);
		side->rows[slot->row].time = deferred->step + 1;
		if (cf_deferred_stops(deferred, stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_deferred_step(cf_deferred *deferred)
{
	cf_adam_step step = cf_deferred_now(deferred);
	cf_status	status = step_rows(deferred, &deferred->users, &step);

	if (status == CF_OK)
		status = step_rows(deferred, &deferred->items, &step);
	deferred->step++;
	return status;
}

/* Bring all of a row up to date: the direction as it would be now. */
static void
settle_row(cf_deferred *deferred, cf_deferred_side *side, uint32_t row)
{
	uint32_t	stride = side->side->stride;
	float		unbias = unbias_at(deferred, deferred->step);
	row_gap	gap;
	float	   *m = moments_of(side, row);
	float	   *v = m + stride;
	float	   *direction = v + stride;
	uint32_t	j;

	catch_up(deferred, side, row, &gap);
	for (j = 0; j < stride; j++)
	{
		m[j] *= gap.m_left;
		v[j] *= gap.v_left;
		direction[j] = m[j] / (sqrtf(v[j]) * unbias + (float) CF_ADAM_EPSILON);
	}
	side->rows[row].time = deferred->step;
}

static cf_status
settle_rows(cf_deferred *deferred, cf_deferred_side *side)
{
	uint32_t	row;

	for (row = 0; row < side->side->n_rows; row++)
	{
		if (side->rows[row].time != deferred->step)
			settle_row(deferred, side, row);
		if (cf_deferred_stops(deferred, side->side->stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_deferred_settle(cf_deferred *deferred)
{
	cf_status	status = settle_rows(deferred, &deferred->users);

	if (status == CF_OK)
		status = settle_rows(deferred, &deferred->items);
	return status;
}

/* ---------- memory ---------- */

static uint32_t
slots_of(uint32_t batch_size, uint32_t n_rows)
{
	return batch_size < n_rows ? batch_size : n_rows;
}

static size_t
side_memory(uint32_t batch_size, uint32_t n_rows, uint32_t stride)
{
	uint32_t	slots = slots_of(batch_size, n_rows);
	size_t		bytes = cf_block_memory(n_rows, 3 * stride * sizeof(float));

	bytes = cf_size_add(bytes, cf_block_memory(n_rows, sizeof(cf_deferred_row)));
	bytes = cf_size_add(bytes, cf_block_memory(slots, stride * sizeof(float)));
	return cf_size_add(bytes, cf_block_memory(slots, sizeof(cf_deferred_slot)));
}

size_t
cf_deferred_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items,
				   size_t n_train)
{
	uint32_t	batch_size = cf_batches_size(settings, n_train);
	size_t		times = cf_size_add(cf_batches_steps(settings, n_train), 1);
	size_t		bytes = cf_block_memory(times, sizeof(cf_deferred_time));

	bytes = cf_size_add(bytes, cf_block_memory(LONG_GAP + 1, sizeof(cf_deferred_rest)));
	bytes = cf_size_add(bytes, cf_block_memory(batch_size, sizeof(float *)));
	bytes = cf_size_add(bytes, cf_block_memory(batch_size, sizeof(float *)));
	bytes = cf_size_add(bytes, side_memory(batch_size, n_users,
										   cf_stride(cf_user_factors(settings))));
	return cf_size_add(bytes, side_memory(batch_size, n_items,
										  cf_stride(cf_item_factors(settings))));
}

static cf_status
take_side(cf_host *host, cf_deferred_side *side, cf_side *of, uint32_t batch_size)
{
	uint32_t	slots = slots_of(batch_size, of->n_rows);

	side->side = of;
	if ((side->rows = cf_alloc_zero(host, of->n_rows, sizeof(cf_deferred_row))) == NULL ||
		(side->moments = cf_alloc_zero(host, of->n_rows, 3 * of->stride * sizeof(float))) == NULL ||
		(side->gradients = cf_alloc_zero(host, slots, of->stride * sizeof(float))) == NULL ||
		(side->slots = cf_alloc(host, slots, sizeof(cf_deferred_slot))) == NULL)
		return host->failure;
	return CF_OK;
}

static cf_status
take_arrays(cf_deferred *deferred, cf_model *model)
{
	cf_host    *host = deferred->host;
	size_t		times = (size_t) deferred->n_steps + 1;
	size_t		n = deferred->batch_size;
	cf_status	status;

	if ((deferred->times = cf_alloc(host, times, sizeof(cf_deferred_time))) == NULL ||
		(deferred->rests = cf_alloc(host, LONG_GAP + 1, sizeof(cf_deferred_rest))) == NULL ||
		(deferred->user_gradients = cf_alloc(host, n, sizeof(float *))) == NULL ||
		(deferred->item_gradients = cf_alloc(host, n, sizeof(float *))) == NULL)
		return host->failure;
	status = take_side(host, &deferred->users, &model->users, deferred->batch_size);
	if (status == CF_OK)
		status = take_side(host, &deferred->items, &model->items, deferred->batch_size);
	return status;
}

cf_status
cf_deferred_begin(cf_deferred *deferred, const cf_settings *settings,
				  const cf_batches *batches, cf_model *model)
{
	cf_status	status;

	memset(deferred, 0, sizeof(*deferred));
	deferred->host = model->host;
	deferred->kernels = model->kernels;
	deferred->schedule = settings->schedule;
	deferred->wd = settings->wd;
	deferred->batch_size = batches->size;
	deferred->n_steps = batches->n_steps;
	status = take_arrays(deferred, model);
	if (status != CF_OK)
		return status;
	make_rests(deferred);
	return make_times(deferred);
}

static void
give_side_back(cf_host *host, cf_deferred_side *side)
{
	cf_free(host, side->rows);
	cf_free(host, side->moments);
	cf_free(host, side->gradients);
	cf_free(host, side->slots);
}

void
cf_deferred_end(cf_deferred *deferred)
{
	cf_host    *host = deferred->host;

	if (host == NULL)
		return;
	cf_free(host, deferred->times);
	cf_free(host, deferred->rests);
	cf_free(host, deferred->user_gradients);
	cf_free(host, deferred->item_gradients);
	give_side_back(host, &deferred->users);
	give_side_back(host, &deferred->items);
}

bool
cf_gradients_overflow(const cf_settings *settings, const cf_ratings *ratings)
{
	double		span = (double) settings->high - settings->low;
	double		largest = fabs(ratings->low) > fabs(ratings->high) ?
		fabs(ratings->low) : fabs(ratings->high);

	/* 2 (error) (slope of the sigmoid); and 2 (error) (factor) */
	return (settings->use_range ? span * (span + largest) / 2 : 2 * largest) > LARGEST_GRADIENT;
}
