/*
 * cf_adam.c
 *	  The documents' recipe: one-cycle Adam with decoupled weight decay.
 *
 * The head of cf_adam.h has the method.  A batch goes through three passes:
 * the rows that it touches are brought up to date and get a slot for their
 * gradient; the gradients are added up in the slots; each touched row makes
 * its step.  Slots are as many as a batch can touch, so gradients cost no
 * memory in proportion to the model.
 *
 * Products over many steps.  A ratio of prefix products is all that a gap
 * needs, but the prefixes themselves would underflow in a long training.
 * They are kept above 2^-512, and every lifting by 2^512 is counted: ratios
 * within one count or across one come out right, others are below what a
 * float can hold.
 */
#include <math.h>
#include <string.h>

#include "cf_adam.h"

/*
 * Beyond this gap m and v count as gone: 0.99^4608 is 1e-20, and letting them
 * shrink on would end in denormal numbers, which are slow.
 */
#define LARGEST_GRADIENT 1e18	/* its square, and sums of it, fit a float */
#define LONG_GAP		4608

/*
 * The tail's series has ratio beta1 / (0.995 decay).  Where a setting brings
 * that to 1, only epsilon would stop it, which the closed form does not see;
 * so momentum is held below, such that the series ends within LONG_GAP.
 */
#define GREATEST_RATIO	0.996
#define LEAST_FACTOR	1e-30	/* of the products, which must not be 0 */
#define GONE			1e-20	/* less is 0 */
#define RATINGS_AT_ONCE 64		/* of which logits and slopes are held */
#define FLOATS_AT_ONCE	((size_t) 1 << 18)	/* between two polls: a few ms */
#define ROWS_AHEAD		3		/* prefetched */
#define LINE_FLOATS		16		/* of a cache line */

/* The products and the tail's sum as they stand before a step. */
typedef struct adam_time
{
	double		decay;			/* product of the decays so far, lifted */
	double		beta;			/* product of the betas so far, lifted */
	double		tail;			/* T, see cf_adam.h */
	uint32_t	decay_lifts;
	uint32_t	beta_lifts;
} adam_time;

/* What a number of steps without gradient does, of which there were g. */
typedef struct adam_rest
{
	double		growth;			/* 0.99^(-g/2) */
	float		v_left;			/* 0.99^g */
	float		unbias;			/* 1 / sqrt(1 - 0.99^g); g is the time here */
} adam_rest;

typedef struct adam_gap
{
	float		decay;			/* p = decay p - tail d */
	float		tail;
	float		m_left;			/* what is left of m */
	float		v_left;			/* ... and of v */
} adam_gap;

typedef struct adam_row
{
	uint32_t	time;			/* steps that its moments have made */
	uint32_t	slot;			/* in a batch that touches it */
} adam_row;

/* A row that the batch touches: its parameters are ahead of its moments. */
typedef struct adam_slot
{
	uint32_t	row;
	float		m_left;
	float		v_left;
} adam_slot;

typedef struct adam_side
{
	cf_side    *side;
	adam_row   *rows;
	float	   *moments;		/* [n_rows][3][stride]: m, v, direction */
	float	   *gradients;		/* [slots][stride], zero between batches */
	adam_slot  *slots;
	uint32_t	n_touched;		/* slots in use */
} adam_side;

typedef struct adam_state
{
	cf_host    *host;
	const cf_model *model;
	cf_rating  *ratings;
	size_t		n_train;
	uint32_t	batch_size;
	size_t		n_batches;		/* an epoch */
	uint32_t	n_steps;		/* in all */
	uint32_t	step;			/* the next one */
	double		wd;
	cf_one_cycle cycle;
	uint64_t	seed;
	size_t		work;			/* floats gone through since the last poll */
	adam_time  *times;			/* [n_steps + 1] */
	adam_rest  *rests;			/* [LONG_GAP + 1] */
	float	  **user_gradients; /* [batch_size] */
	float	  **item_gradients;
	adam_side	users;
	adam_side	items;
} adam_state;

/* ---------- time ---------- */

static uint32_t
batch_size_used(const cf_settings *settings, size_t n_train)
{
	size_t		batch = settings->batch_size;

	if (batch == 0)
		batch = cf_default_batch_size(n_train);
	return (uint32_t) (batch < n_train ? batch : n_train);
}

/* The last short batch is dropped. */
static size_t
count_steps(const cf_settings *settings, size_t n_train)
{
	return cf_size_mul(n_train / batch_size_used(settings, n_train), settings->n_epochs);
}

static double
rate_at(const adam_state *adam, uint32_t step)
{
	return cf_one_cycle_rate(&adam->cycle, (double) step / adam->n_steps);
}

static double
beta1_at(const adam_state *adam, uint32_t step)
{
	return cf_one_cycle_momentum(&adam->cycle, (double) step / adam->n_steps);
}

/* 1 - beta^(step + 1): what the moments lack for having begun at 0. */
static double
warmth(double beta, uint32_t step)
{
	return 1.0 - pow(beta, (double) step + 1.0);
}

static double
gap_decay_at(const adam_state *adam, uint32_t step)
{
	return fmax(1.0 - rate_at(adam, step) * adam->wd, LEAST_FACTOR);
}

static double
gap_beta_at(const adam_state *adam, uint32_t step)
{
	double		greatest = GREATEST_RATIO * sqrt(CF_ADAM_BETA2) * gap_decay_at(adam, step);

	return fmax(fmin(beta1_at(adam, step), greatest), LEAST_FACTOR);
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
make_times(adam_state *adam)
{
	adam_time	now = {1.0, 1.0, 0.0, 0, 0};
	uint32_t	step;

	for (step = 0; step < adam->n_steps; step++)
	{
		adam->times[step] = now;
		multiply_lifted(&now.decay, &now.decay_lifts, gap_decay_at(adam, step));
		multiply_lifted(&now.beta, &now.beta_lifts, gap_beta_at(adam, step));
		if (step % 16384 == 16383 && cf_should_stop(adam->host))
			return CF_STOPPED;
	}
	adam->times[adam->n_steps] = now;

	/* T(l) = c(l) (w(l) + T(l + 1)) */
	while (step-- > 0)
	{
		double		weight = rate_at(adam, step) * sqrt(warmth(CF_ADAM_BETA2, step)) /
			warmth(beta1_at(adam, step), step);
		double		ratio = gap_beta_at(adam, step) /
			(sqrt(CF_ADAM_BETA2) * gap_decay_at(adam, step));

		adam->times[step].tail = ratio * (weight + adam->times[step + 1].tail);
		if (step % 16384 == 16383 && cf_should_stop(adam->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

static void
make_rests(adam_state *adam)
{
	int			g;

	for (g = 0; g <= LONG_GAP; g++)
	{
		double		left = pow(CF_ADAM_BETA2, g);

		adam->rests[g].growth = 1.0 / sqrt(left);
		adam->rests[g].v_left = (float) left;
		/* before the first step directions are 0, whatever weighs them */
		adam->rests[g].unbias = g > 0 ? (float) (1.0 / sqrt(1.0 - left)) : 1.0f;
	}
}

static float
unbias_at(const adam_state *adam, uint32_t time)
{
	return adam->rests[time < LONG_GAP ? time : LONG_GAP].unbias;
}

static cf_adam_step
step_at(const adam_state *adam, uint32_t step)
{
	double		rate = rate_at(adam, step);
	double		beta1 = beta1_at(adam, step);
	cf_adam_step s;

	s.keep1 = (float) beta1;
	s.fresh1 = (float) (1.0 - beta1);
	s.keep2 = (float) CF_ADAM_BETA2;
	s.fresh2 = (float) (1.0 - CF_ADAM_BETA2);
	s.unbias = unbias_at(adam, step + 1);
	s.epsilon = (float) CF_ADAM_EPSILON;
	s.decay = (float) (1.0 - rate * adam->wd);
	s.rate = (float) (rate / warmth(beta1, step));
	return s;
}

/* What the steps from .. to - 1 do to a row without a gradient. */
static inline void
gap_between(const adam_state *adam, uint32_t from, uint32_t to, adam_gap *gap)
{
	const adam_time *l = &adam->times[from];
	const adam_time *e = &adam->times[to];
	uint32_t	length = to - from;
	double		decay = lifted_ratio(e->decay, e->decay_lifts, l->decay, l->decay_lifts);
	double		tail = decay * l->tail;

	gap->m_left = 0.0f;
	gap->v_left = 0.0f;
	if (length <= LONG_GAP)
	{
		double		beta = lifted_ratio(e->beta, e->beta_lifts, l->beta, l->beta_lifts);

		tail -= beta * adam->rests[length].growth * e->tail;
		if (beta > GONE)
			gap->m_left = (float) beta;
		gap->v_left = adam->rests[length].v_left;
	}
	gap->decay = decay > GONE ? (float) decay : 0.0f;
	gap->tail = (float) tail * unbias_at(adam, from);
}

/* ---------- rows ---------- */

static bool
stops(adam_state *adam, size_t floats)
{
	adam->work += floats;
	if (adam->work < FLOATS_AT_ONCE)
		return false;
	adam->work = 0;
	return cf_should_stop(adam->host);
}

static inline float *
moments_of(const adam_side *side, uint32_t row)
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
prefetch_row(const adam_state *adam, const adam_side *side, uint32_t row)
{
	uint32_t	stride = side->side->stride;

	__builtin_prefetch(&adam->times[side->rows[row].time]);
	prefetch_floats(cf_side_row(side->side, row), stride);
	prefetch_floats(moments_of(side, row) + 2 * stride, stride);
}

/* Bring the parameters of a row up to date, not yet its moments. */
static inline void
catch_up(const adam_state *adam, const adam_side *side, uint32_t row, adam_gap *gap)
{
	uint32_t	stride = side->side->stride;

	gap_between(adam, side->rows[row].time, adam->step, gap);
	adam->model->kernels->axpby(-gap->tail, moments_of(side, row) + 2 * stride, gap->decay,
								cf_side_row(side->side, row), stride);
}

/* Give a row a slot in this batch, for which it is brought up to date. */
static void
take_slot(adam_state *adam, adam_side *side, uint32_t row)
{
	adam_slot  *slot = &side->slots[side->n_touched];
	adam_gap	gap = {1.0f, 0.0f, 1.0f, 1.0f};

	if (side->rows[row].time != adam->step)
		catch_up(adam, side, row, &gap);
	slot->row = row;
	slot->m_left = gap.m_left;
	slot->v_left = gap.v_left;
	side->rows[row].slot = side->n_touched++;
}

/* Where the gradient of a row in this batch is added up. */
static inline float *
touch(adam_state *adam, adam_side *side, uint32_t row)
{
	adam_row   *state = &side->rows[row];

	if (state->slot >= side->n_touched || side->slots[state->slot].row != row)
		take_slot(adam, side, row);
	return side->gradients + (size_t) state->slot * side->side->stride;
}

static cf_status
touch_rows(adam_state *adam, const cf_rating *batch)
{
	uint32_t	j;

	adam->users.n_touched = 0;
	adam->items.n_touched = 0;
	for (j = 0; j < adam->batch_size; j++)
	{
		if (j + 2 * ROWS_AHEAD < adam->batch_size)
		{
			__builtin_prefetch(&adam->users.rows[batch[j + 2 * ROWS_AHEAD].user], 1);
			__builtin_prefetch(&adam->items.rows[batch[j + 2 * ROWS_AHEAD].item], 1);
		}
		if (j + ROWS_AHEAD < adam->batch_size)
		{
			prefetch_row(adam, &adam->users, batch[j + ROWS_AHEAD].user);
			prefetch_row(adam, &adam->items, batch[j + ROWS_AHEAD].item);
		}
		adam->user_gradients[j] = touch(adam, &adam->users, batch[j].user);
		adam->item_gradients[j] = touch(adam, &adam->items, batch[j].item);
		if (stops(adam, 2 * adam->users.side->stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
step_rows(adam_state *adam, adam_side *side, const cf_adam_step *common)
{
	uint32_t	stride = side->side->stride;
	uint32_t	j;

	for (j = 0; j < side->n_touched; j++)
	{
		const adam_slot *slot = &side->slots[j];
		float	   *m = moments_of(side, slot->row);
		cf_adam_step step = *common;

		if (j + ROWS_AHEAD < side->n_touched)
			prefetch_floats(moments_of(side, slot[ROWS_AHEAD].row), 2 * stride);
		step.keep1 *= slot->m_left;
		step.keep2 *= slot->v_left;
		adam->model->kernels->adam_step(&step, cf_side_row(side->side, slot->row), m,
										m + stride, m + 2 * stride,
										side->gradients + (size_t) j * stride, stride);
		side->rows[slot->row].time = adam->step + 1;
		if (stops(adam, stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Bring all of a row up to date: the direction as it would be now. */
static void
settle_row(adam_state *adam, adam_side *side, uint32_t row)
{
	uint32_t	stride = side->side->stride;
	float		unbias = unbias_at(adam, adam->step);
	adam_gap	gap;
	float	   *m = moments_of(side, row);
	float	   *v = m + stride;
	float	   *direction = v + stride;
	uint32_t	j;

	catch_up(adam, side, row, &gap);
	for (j = 0; j < stride; j++)
	{
		m[j] *= gap.m_left;
		v[j] *= gap.v_left;
		direction[j] = m[j] / (sqrtf(v[j]) * unbias + (float) CF_ADAM_EPSILON);
	}
	side->rows[row].time = adam->step;
}

static cf_status
settle_rows(adam_state *adam, adam_side *side)
{
	uint32_t	row;

	for (row = 0; row < side->side->n_rows; row++)
	{
		if (side->rows[row].time != adam->step)
			settle_row(adam, side, row);
		if (stops(adam, side->side->stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* ---------- gradient ---------- */

/*
 * From logits to slopes: of "scale" times half the squared error with respect
 * to the logit.  Returns the sum of the squared errors.
 */
static double
slopes_of(const cf_model *model, const cf_rating *rows, size_t n, float scale,
		  float *logits)
{
	float		span = model->high - model->low;
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		float		share = 1.0f / (1.0f + expf(-logits[j]));
		float		error;

		if (model->use_range)
		{
			error = model->low * (1.0f - share) + model->high * share - rows[j].value;
			logits[j] = scale * error * span * share * (1.0f - share);
		}
		else
		{
			error = logits[j] - rows[j].value;
			logits[j] = scale * error;
		}
		sum += (double) error * error;
	}
	return sum;
}

/* As cf_adam_gradient, for at most RATINGS_AT_ONCE. */
static double
add_gradient(const cf_model *model, const cf_rating *rows, size_t n, float scale,
			 float *const *user_gradients, float *const *item_gradients)
{
	const uint32_t k = model->users.n_factors;
	float		slopes[RATINGS_AT_ONCE];
	double		sum;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		const float *p = cf_side_row(&model->users, rows[j].user);
		const float *q = cf_side_row(&model->items, rows[j].item);

		slopes[j] = model->kernels->dot(p, q, k) + p[k] + q[k];
	}
	sum = slopes_of(model, rows, n, scale, slopes);
	for (j = 0; j < n; j++)
	{
		model->kernels->axpy_pair(slopes[j], cf_side_row(&model->users, rows[j].user),
								  cf_side_row(&model->items, rows[j].item),
								  user_gradients[j], item_gradients[j], k);
		if (model->use_bias)
		{
			user_gradients[j][k] += slopes[j];
			item_gradients[j][k] += slopes[j];
		}
	}
	return sum;
}

double
cf_adam_gradient(const cf_model *model, const cf_rating *rows, size_t n,
				 float *const *user_gradients, float *const *item_gradients)
{
	double		sum = 0.0;
	size_t		done;

	for (done = 0; done < n; done += RATINGS_AT_ONCE)
		sum += add_gradient(model, rows + done,
							n - done < RATINGS_AT_ONCE ? n - done : RATINGS_AT_ONCE,
							2.0f / (float) n, user_gradients + done, item_gradients + done);
	return sum;
}

static cf_status
batch_gradient(adam_state *adam, const cf_rating *batch, double *sum)
{
	uint32_t	size = adam->batch_size;
	uint32_t	done;

	for (done = 0; done < size; done += RATINGS_AT_ONCE)
	{
		uint32_t	n = size - done < RATINGS_AT_ONCE ? size - done : RATINGS_AT_ONCE;

		*sum += add_gradient(adam->model, batch + done, n, 2.0f / (float) size,
							 adam->user_gradients + done, adam->item_gradients + done);
		if (stops(adam, (size_t) n * 4 * adam->users.side->stride))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* ---------- the solver ---------- */

static cf_status
run_batch(adam_state *adam, const cf_rating *batch, double *sum)
{
	cf_adam_step step = step_at(adam, adam->step);
	cf_status	status = touch_rows(adam, batch);

	if (status == CF_OK)
		status = batch_gradient(adam, batch, sum);
	if (status == CF_OK)
		status = step_rows(adam, &adam->users, &step);
	if (status == CF_OK)
		status = step_rows(adam, &adam->items, &step);
	adam->step++;
	return status;
}

static cf_status
adam_epoch(void *state, uint32_t epoch, double *loss)
{
	adam_state *adam = state;
	double		sum = 0.0;
	size_t		batch;
	cf_status	status;

	status = cf_ratings_shuffle(adam->host, adam->ratings, adam->n_train, adam->seed, epoch);
	for (batch = 0; batch < adam->n_batches && status == CF_OK; batch++)
		status = run_batch(adam, adam->ratings + batch * adam->batch_size, &sum);
	if (status == CF_OK)
		status = settle_rows(adam, &adam->users);
	if (status == CF_OK)
		status = settle_rows(adam, &adam->items);
	*loss = sum / ((double) adam->n_batches * adam->batch_size);
	return status;
}

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

	bytes = cf_size_add(bytes, cf_block_memory(n_rows, sizeof(adam_row)));
	bytes = cf_size_add(bytes, cf_block_memory(slots, stride * sizeof(float)));
	return cf_size_add(bytes, cf_block_memory(slots, sizeof(adam_slot)));
}

static size_t
adam_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train)
{
	uint32_t	batch_size = batch_size_used(settings, n_train);
	uint32_t	stride = cf_stride(settings->n_factors);
	size_t		steps = cf_size_add(count_steps(settings, n_train), 1);
	size_t		bytes = cf_block_memory(1, sizeof(adam_state));

	bytes = cf_size_add(bytes, cf_block_memory(steps, sizeof(adam_time)));
	bytes = cf_size_add(bytes, cf_block_memory(LONG_GAP + 1, sizeof(adam_rest)));
	bytes = cf_size_add(bytes, cf_block_memory(batch_size, sizeof(float *)));
	bytes = cf_size_add(bytes, cf_block_memory(batch_size, sizeof(float *)));
	bytes = cf_size_add(bytes, side_memory(batch_size, n_users, stride));
	return cf_size_add(bytes, side_memory(batch_size, n_items, stride));
}

static cf_status
take_side(adam_state *adam, adam_side *side, cf_side *of)
{
	uint32_t	slots = slots_of(adam->batch_size, of->n_rows);

	side->side = of;
	if ((side->rows = cf_alloc_zero(adam->host, of->n_rows, sizeof(adam_row))) == NULL ||
		(side->moments = cf_alloc_zero(adam->host, of->n_rows,
									   3 * of->stride * sizeof(float))) == NULL ||
		(side->gradients = cf_alloc_zero(adam->host, slots, of->stride * sizeof(float))) == NULL ||
		(side->slots = cf_alloc(adam->host, slots, sizeof(adam_slot))) == NULL)
		return adam->host->failure;
	return CF_OK;
}

static void
give_side_back(cf_host *host, adam_side *side)
{
	cf_free(host, side->rows);
	cf_free(host, side->moments);
	cf_free(host, side->gradients);
	cf_free(host, side->slots);
}

static void
adam_end(void *state)
{
	adam_state *adam = state;
	cf_host    *host = adam->host;

	cf_free(host, adam->times);
	cf_free(host, adam->rests);
	cf_free(host, adam->user_gradients);
	cf_free(host, adam->item_gradients);
	give_side_back(host, &adam->users);
	give_side_back(host, &adam->items);
	cf_free(host, adam);
}

static cf_status
take_arrays(adam_state *adam, cf_model *model)
{
	cf_host    *host = adam->host;
	cf_status	status;

	if ((adam->times = cf_alloc(host, (size_t) adam->n_steps + 1, sizeof(adam_time))) == NULL ||
		(adam->rests = cf_alloc(host, LONG_GAP + 1, sizeof(adam_rest))) == NULL ||
		(adam->user_gradients = cf_alloc(host, adam->batch_size, sizeof(float *))) == NULL ||
		(adam->item_gradients = cf_alloc(host, adam->batch_size, sizeof(float *))) == NULL)
		return host->failure;
	status = take_side(adam, &adam->users, &model->users);
	if (status == CF_OK)
		status = take_side(adam, &adam->items, &model->items);
	return status;
}

/*
 * Would squares of gradients pass the range of a float?  Every step would
 * then divide by infinity, and nothing would ever move.
 */
static bool
gradients_overflow(const cf_settings *settings, const cf_ratings *ratings)
{
	double		span = (double) settings->high - settings->low;
	double		largest = fabs(ratings->low) > fabs(ratings->high) ?
		fabs(ratings->low) : fabs(ratings->high);

	/* 2 (error) (slope of the sigmoid); and 2 (error) (factor) */
	return (settings->use_range ? span * (span + largest) / 2 : 2 * largest) > LARGEST_GRADIENT;
}

static cf_status
adam_begin(const cf_settings *settings, cf_ratings *ratings, cf_model *model, void **state)
{
	size_t		n_steps = count_steps(settings, ratings->n_train);
	adam_state *adam;
	cf_status	status;

	if (n_steps >= UINT32_MAX)
		return CF_TOO_MANY;
	if (gradients_overflow(settings, ratings))
		return CF_TOO_LARGE;
	adam = cf_alloc(model->host, 1, sizeof(adam_state));
	if (adam == NULL)
		return model->host->failure;
	memset(adam, 0, sizeof(*adam));
	adam->host = model->host;
	adam->model = model;
	adam->ratings = ratings->rows;
	adam->n_train = ratings->n_train;
	adam->batch_size = batch_size_used(settings, ratings->n_train);
	adam->n_batches = ratings->n_train / adam->batch_size;
	adam->n_steps = (uint32_t) n_steps;
	adam->wd = settings->wd;
	adam->cycle = settings->cycle;
	adam->seed = settings->seed;
	status = take_arrays(adam, model);
	if (status == CF_OK)
	{
		make_rests(adam);
		status = make_times(adam);
	}
	if (status == CF_OK)
		*state = adam;
	else
		adam_end(adam);
	return status;
}

const cf_solver cf_adam = {
	"adam",
	adam_memory,
	adam_begin,
	adam_epoch,
	adam_end
};
