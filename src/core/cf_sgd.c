/*
 * cf_sgd.c
 *	  The solver for large tables: stochastic gradient descent over a grid.
 *
 * The rows of the training ratings are put tile after tile, in place: users'
 * ranges are contiguous already, and each is ordered by the part of its items
 * through a copy of that one range.
 */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "cf_deferred.h"
#include "cf_random.h"
#include "cf_sgd.h"

#define PART_BYTES		((size_t) 768 << 10)	/* of item rows, in a core's cache */
#define RANGE_BYTES		((size_t) 64 << 10)	/* of user rows */
#define LEAST_PARTS		4
#define MOST_PARTS		64
#define CACHE_LINE		64
#define LEAST_TILE		1024	/* ratings, on average: less is not worth a task */
#define MOST_OF_USER	8		/* ratings of a batch by one user */
#define MOST_LINEAR		4		/* where no sigmoid bounds what they do together */
#define ROUNDS			64		/* of a user's ratings in a tile, at most */

typedef struct sgd_grid
{
	uint32_t	n_parts;		/* B: parts of the items, ranges of a band */
	uint32_t	n_bands;
} sgd_grid;

typedef struct sgd_state
{
	cf_host    *host;
	const cf_model *model;
	cf_rating  *rows;			/* tile after tile: by range, then by part */
	size_t		n_train;
	sgd_grid	grid;
	size_t	   *tiles;			/* [ranges * n_parts + 1]: where each begins */
	uint8_t    *parts;			/* [items]: of each item */
	double	   *losses;			/* [tiles]: in the order of an epoch */
	uint32_t   *bands;			/* [n_bands]: in the order of this epoch */
	uint32_t   *shifts;			/* [n_bands][n_parts]: strata, in that of each band */
	cf_sgd_step step;			/* but for rate and keep */
	uint32_t	most_of_user;	/* ratings of a batch by one user */
	cf_schedule schedule;
	double		wd;
	double		unit;			/* 1 / V, see cf_sgd.h */
	uint64_t	seed;
	uint64_t	n_steps;		/* strata, in all */
	uint64_t	done;

	/*
	 * Strata of the present run that are done with each place of a band, and
	 * with each part: whoever takes a tile waits for both.
	 */
	atomic_size_t places_done[MOST_PARTS];
	atomic_size_t parts_done[MOST_PARTS];
} sgd_state;

/* ---------- the grid ---------- */

static uint32_t
clamp(size_t n, uint32_t least, uint32_t most)
{
	return n < least ? least : n > most ? most : (uint32_t) n;
}

static sgd_grid
grid_for(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train)
{
	size_t		row_bytes = cf_stride(settings->n_factors) * sizeof(float);
	sgd_grid	grid;
	size_t		most;

	grid.n_parts = clamp((size_t) n_items * row_bytes / PART_BYTES + 1, LEAST_PARTS, MOST_PARTS);
	most = n_train / ((size_t) grid.n_parts * grid.n_parts * LEAST_TILE);
	grid.n_bands = clamp((size_t) n_users * row_bytes / (RANGE_BYTES * grid.n_parts) + 1, 1,
						 clamp(most, 1, INT32_MAX));
	return grid;
}

static uint32_t
n_ranges(const sgd_grid *grid)
{
	return grid->n_bands * grid->n_parts;
}

static size_t
n_tiles(const sgd_grid *grid)
{
	return (size_t) n_ranges(grid) * grid->n_parts;
}

static void
assign_parts(sgd_state *sgd, uint32_t n_items)
{
	uint32_t	item;

	for (item = 0; item < n_items; item++)
		sgd->parts[item] = (uint8_t) ((cf_mix(item ^ sgd->seed) >> 32) * sgd->grid.n_parts >> 32);
}

/* Where range number "range" begins: at a user's first rating. */
static size_t
range_start(const sgd_state *sgd, uint32_t range)
{
	size_t		at = (size_t) ((double) sgd->n_train * range / n_ranges(&sgd->grid));

	while (at > 0 && at < sgd->n_train && sgd->rows[at].user == sgd->rows[at - 1].user)
		at++;
	return at;
}

typedef struct grid_builder
{
	sgd_state  *sgd;
	size_t	   *starts;			/* [ranges + 1] */
	cf_rating **copies;			/* one a thread */
} grid_builder;

/*
 * Where ratings of a range go.  A user's in a part are dealt in rounds, of as
 * many as a batch takes of one user: one to the first round, one to the second,
 * and so on, so that ratings of the same item, which stand together, do not meet
 * in a batch and move their rows by many times the rate.
 */
typedef struct dealer
{
	const sgd_state *sgd;
	uint32_t	rounds[MOST_PARTS]; /* of the user whose turn it is */
	uint32_t	round[MOST_PARTS];	/* that gets the next rating */
	size_t		next[MOST_PARTS][ROUNDS];
} dealer;

/* The user of the first of n ratings: how many are that user's, and the rounds. */
static size_t
next_user(dealer *dealer, const cf_rating *rows, size_t n)
{
	const uint32_t n_parts = dealer->sgd->grid.n_parts;
	const uint32_t most = dealer->sgd->most_of_user;
	size_t		of_user = 0;
	uint32_t	part;

	memset(dealer->rounds, 0, n_parts * sizeof(uint32_t));
	memset(dealer->round, 0, n_parts * sizeof(uint32_t));
	for (; of_user < n && rows[of_user].user == rows[0].user; of_user++)
		dealer->rounds[dealer->sgd->parts[rows[of_user].item]]++;
	for (part = 0; part < n_parts; part++)
		dealer->rounds[part] = clamp((dealer->rounds[part] + most - 1) / most, 1, ROUNDS);
	return of_user;
}

static size_t *
next_place(dealer *dealer, const cf_rating *row)
{
	uint32_t	part = dealer->sgd->parts[row->item];
	uint32_t	round = dealer->round[part];

	dealer->round[part] = round + 1 < dealer->rounds[part] ? round + 1 : 0;
	return &dealer->next[part][round];
}

/* From how many come to each place to where the first of them goes. */
static void
set_places(dealer *dealer, size_t at, size_t *tiles)
{
	uint32_t	part;
	uint32_t	round;

	for (part = 0; part < dealer->sgd->grid.n_parts; part++)
	{
		tiles[part] = at;
		for (round = 0; round < ROUNDS; round++)
		{
			size_t		n = dealer->next[part][round];

			dealer->next[part][round] = at;
			at += n;
		}
	}
}

/* A task: put a range's ratings in the order of their parts, and of rounds in each. */
static void
cut_range(void *context, size_t range, uint32_t thread)
{
	grid_builder *builder = context;
	sgd_state  *sgd = builder->sgd;
	size_t		first = builder->starts[range];
	size_t		n = builder->starts[range + 1] - first;
	cf_rating  *copy = builder->copies[thread];
	dealer		dealer = {.sgd = sgd};
	size_t		end;
	size_t		j;

	memcpy(copy, sgd->rows + first, n * sizeof(cf_rating));
	for (j = end = 0; j < n; j++)
	{
		if (j == end)
			end += next_user(&dealer, copy + j, n - j);
		(*next_place(&dealer, &copy[j]))++;
	}
	set_places(&dealer, first, sgd->tiles + range * sgd->grid.n_parts);
	for (j = end = 0; j < n; j++)
	{
		if (j == end)
			end += next_user(&dealer, copy + j, n - j);
		sgd->rows[(*next_place(&dealer, &copy[j]))++] = copy[j];
	}
}

static void
free_builder(grid_builder *builder, uint32_t n_threads)
{
	uint32_t	thread;

	for (thread = 0; builder->copies != NULL && thread < n_threads; thread++)
		cf_free(builder->sgd->host, builder->copies[thread]);
	cf_free(builder->sgd->host, builder->copies);
	cf_free(builder->sgd->host, builder->starts);
}

static cf_status
make_builder(grid_builder *builder, uint32_t n_threads)
{
	sgd_state  *sgd = builder->sgd;
	cf_host    *host = sgd->host;
	uint32_t	ranges = n_ranges(&sgd->grid);
	size_t		longest = 0;
	uint32_t	j;

	builder->starts = cf_alloc(host, ranges + 1, sizeof(size_t));
	builder->copies = builder->starts == NULL ? NULL : cf_alloc_zero(host, n_threads, sizeof(cf_rating *));
	if (builder->copies == NULL)
		return host->failure;
	for (j = 0; j <= ranges; j++)
	{
		size_t		length;

		builder->starts[j] = range_start(sgd, j);
		length = j == 0 ? 0 : builder->starts[j] - builder->starts[j - 1];
		longest = length > longest ? length : longest;
	}
	for (j = 0; j < n_threads; j++)
	{
		builder->copies[j] = cf_alloc(host, longest, sizeof(cf_rating));
		if (builder->copies[j] == NULL)
			return host->failure;
	}
	return CF_OK;
}

static cf_status
cut_grid(sgd_state *sgd, cf_pool *pool)
{
	grid_builder builder = {sgd, NULL, NULL};
	uint32_t	n_threads = cf_pool_threads(pool);
	cf_status	status = make_builder(&builder, n_threads);

	if (status == CF_OK)
		status = cf_pool_run(pool, cut_range, &builder, n_ranges(&sgd->grid));
	free_builder(&builder, n_threads);
	sgd->tiles[n_tiles(&sgd->grid)] = sgd->n_train;
	return status;
}

/* ---------- strata ---------- */

typedef struct sgd_batch
{
	float	   *users[CF_SGD_BATCH];
	float	   *items[CF_SGD_BATCH];
	float		values[CF_SGD_BATCH];
} sgd_batch;

/* The next ratings of n, with at most "most" of one user; returns how many. */
static size_t
next_batch(const cf_model *model, const cf_rating *rows, size_t n, size_t most, sgd_batch *batch)
{
	size_t		size = 0;
	size_t		of_user = 0;

	while (size < CF_SGD_BATCH && size < n)
	{
		const cf_rating *row = &rows[size];

		of_user = size > 0 && row->user == row[-1].user ? of_user + 1 : 1;
		if (of_user > most)
			break;
		batch->users[size] = cf_side_row(&model->users, row->user);
		batch->items[size] = cf_side_row(&model->items, row->item);
		batch->values[size] = row->value;
		size++;
	}
	return size;
}

/* The rows of items that come up soon: into the cache. */
static void
fetch_ahead(const cf_side *items, const cf_rating *rows, size_t n)
{
	size_t		row_bytes = items->stride * sizeof(float);
	size_t		j;
	size_t		at;

	for (j = 0; j < n; j++)
	{
		const char *row = (const char *) cf_side_row(items, rows[j].item);

		for (at = 0; at < row_bytes; at += CACHE_LINE)
			__builtin_prefetch(row + at, 1);
	}
}

/* The strata of an epoch. */
static uint64_t
strata(const sgd_state *sgd)
{
	return (uint64_t) sgd->grid.n_parts * sgd->grid.n_bands;
}

/* The tile of a stratum, counted from the start, at a place of its band. */
static size_t
tile_of(const sgd_state *sgd, uint64_t stratum, size_t place, uint32_t *part)
{
	uint32_t	n_parts = sgd->grid.n_parts;
	uint64_t	in_epoch = stratum % strata(sgd);

	*part = (uint32_t) ((place + sgd->shifts[in_epoch]) % n_parts);
	return ((size_t) sgd->bands[in_epoch / n_parts] * n_parts + place) * n_parts + *part;
}

/*
 * Tiles are taken in order and those once taken are finished, so nobody waits
 * for one that is never done.
 */
static void
await(const atomic_size_t *done, size_t wanted)
{
	while (atomic_load_explicit(done, memory_order_acquire) < wanted)
		sched_yield();
}

/* The step at a stratum's rate. */
static cf_sgd_step
step_at(const sgd_state *sgd, uint64_t stratum)
{
	cf_sgd_step step = sgd->step;
	double		rate = cf_schedule_rate(&sgd->schedule, (double) stratum / (double) sgd->n_steps);

	step.rate = (float) (rate * sgd->unit);
	step.keep = (float) (1.0 - rate * sgd->wd);
	return step;
}

/* One pass over a tile; the sum of its squared errors. */
static double
run_tile(const sgd_state *sgd, size_t tile, const cf_sgd_step *step)
{
	const cf_model *model = sgd->model;
	const cf_rating *rows = sgd->rows + sgd->tiles[tile];
	const size_t n = sgd->tiles[tile + 1] - sgd->tiles[tile];
	sgd_batch	batch = {{NULL}, {NULL}, {0}};
	double		sum = 0.0;
	size_t		done = 0;

	while (done < n)
	{
		size_t		size = next_batch(model, rows + done, n - done, sgd->most_of_user, &batch);

		if (done + CF_SGD_BATCH + size <= n)
			fetch_ahead(&model->items, rows + done + CF_SGD_BATCH, size);
		sum += model->kernels->sgd_step(step, batch.users, batch.items, batch.values, size);
		done += size;
	}
	return sum;
}

/* A task: tile after tile, a stratum's places in a row, stratum after stratum. */
static void
run_next(void *context, size_t index, uint32_t thread)
{
	sgd_state  *sgd = context;
	size_t		turn = index / sgd->grid.n_parts;
	size_t		place = index % sgd->grid.n_parts;
	uint64_t	stratum = sgd->done + turn;
	cf_sgd_step step = step_at(sgd, stratum);
	uint32_t	part;
	size_t		tile = tile_of(sgd, stratum, place, &part);

	(void) thread;
	await(&sgd->places_done[place], turn);
	await(&sgd->parts_done[part], turn);
	sgd->losses[index] = run_tile(sgd, tile, &step);
	atomic_store_explicit(&sgd->places_done[place], turn + 1, memory_order_release);
	atomic_store_explicit(&sgd->parts_done[part], turn + 1, memory_order_release);
}

/* 0 .. n - 1 in an order that depends on (seed; what it is for, which) alone. */
static void
random_order(uint64_t seed, uint64_t row, uint32_t *order, uint32_t n)
{
	uint32_t	words[4];
	uint32_t	j;

	for (j = 0; j < n; j++)
		order[j] = j;
	for (j = n; j > 1; j--)
	{
		uint32_t	other;
		uint32_t	swap = order[j - 1];

		cf_random_block(seed, CF_STREAM_STRATA, row, j, words);
		other = (uint32_t) ((uint64_t) words[0] * j >> 32);
		order[j - 1] = order[other];
		order[other] = swap;
	}
}

/* Bands in a fresh order, and the strata of each. */
static void
begin_epoch(sgd_state *sgd, uint64_t epoch)
{
	uint32_t	n_bands = sgd->grid.n_bands;
	uint32_t	n_parts = sgd->grid.n_parts;
	uint32_t	j;

	random_order(sgd->seed, epoch * (n_bands + 1), sgd->bands, n_bands);
	for (j = 0; j < n_bands; j++)
		random_order(sgd->seed, epoch * (n_bands + 1) + j + 1,
					 sgd->shifts + (size_t) j * n_parts, n_parts);
}

/* The next n strata, all of one epoch; adds their squared errors to *sum. */
static cf_status
run_strata(sgd_state *sgd, cf_pool *pool, uint64_t n, double *sum)
{
	size_t		n_tasks = (size_t) n * sgd->grid.n_parts;
	cf_status	status;
	size_t		j;

	if (n > sgd->n_steps - sgd->done)
		return CF_TOO_MANY;
	if (sgd->done % strata(sgd) == 0)
		begin_epoch(sgd, sgd->done / strata(sgd));
	for (j = 0; j < MOST_PARTS; j++)
	{
		atomic_init(&sgd->places_done[j], 0);
		atomic_init(&sgd->parts_done[j], 0);
	}
	status = cf_pool_run(pool, run_next, sgd, n_tasks);
	sgd->done += n;
	for (j = 0; j < n_tasks && status == CF_OK; j++)
		*sum += sgd->losses[j];
	return status;
}

/* Ratings of a stratum. */
static size_t
stratum_size(const sgd_state *sgd, uint64_t stratum)
{
	size_t		size = 0;
	uint32_t	place;

	for (place = 0; place < sgd->grid.n_parts; place++)
	{
		uint32_t	part;
		size_t		tile = tile_of(sgd, stratum, place, &part);

		size += sgd->tiles[tile + 1] - sgd->tiles[tile];
	}
	return size;
}

/* ---------- the solver ---------- */

uint32_t
cf_sgd_epochs(size_t n_train)
{
	double		epochs = 7.0 - 3.0 * log((double) n_train / 1e6) / log(10.0);

	return epochs < 3.0 ? 3 : epochs > 12.0 ? 12 : (uint32_t) (epochs + 0.5);
}

double
cf_sgd_decay(uint32_t n_epochs)
{
	return fmin(0.004 + 0.002 * n_epochs, 0.05);
}

static cf_status
sgd_step(void *state, cf_pool *pool, double *loss)
{
	sgd_state  *sgd = state;
	double		sum = 0.0;
	cf_status	status = run_strata(sgd, pool, 1, &sum);

	if (status == CF_OK)
		*loss = sum / (double) stratum_size(sgd, sgd->done - 1);
	return status;
}

static cf_status
sgd_epoch(void *state, cf_pool *pool, double *loss)
{
	sgd_state  *sgd = state;
	double		sum = 0.0;
	cf_status	status = run_strata(sgd, pool, strata(sgd), &sum);

	*loss = sum / (double) sgd->n_train;
	return status;
}

static size_t
sgd_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train,
		   uint32_t n_threads)
{
	sgd_grid	grid = grid_for(settings, n_users, n_items, n_train);
	size_t		range = n_train / n_ranges(&grid);
	size_t		bytes = cf_block_memory(1, sizeof(sgd_state));

	/* a range ends with a user, who as a rule rated no item twice */
	range = cf_size_add(range, n_train < n_items ? n_train : n_items);
	bytes = cf_size_add(bytes, cf_block_memory(n_tiles(&grid) + 1, sizeof(size_t)));
	bytes = cf_size_add(bytes, cf_block_memory(n_items, sizeof(uint8_t)));
	bytes = cf_size_add(bytes, cf_block_memory(n_tiles(&grid), sizeof(double)));
	bytes = cf_size_add(bytes, cf_block_memory(grid.n_bands, sizeof(uint32_t)));
	bytes = cf_size_add(bytes, cf_block_memory(n_ranges(&grid), sizeof(uint32_t)));
	bytes = cf_size_add(bytes, cf_block_memory(n_ranges(&grid) + 1, sizeof(size_t)));
	bytes = cf_size_add(bytes, cf_block_memory(n_threads, sizeof(cf_rating *)));
	return cf_size_add(bytes, cf_size_mul(n_threads, cf_block_memory(range, sizeof(cf_rating))));
}

static float
sgd_start_scale(const cf_settings *settings)
{
	return (float) (0.2 / sqrt(settings->n_factors));
}

static void
sgd_end(void *state)
{
	sgd_state  *sgd = state;
	cf_host    *host = sgd->host;

	cf_free(host, sgd->tiles);
	cf_free(host, sgd->parts);
	cf_free(host, sgd->losses);
	cf_free(host, sgd->bands);
	cf_free(host, sgd->shifts);
	cf_free(host, sgd);
}

static cf_status
take_arrays(sgd_state *sgd)
{
	cf_host    *host = sgd->host;
	const sgd_grid *grid = &sgd->grid;

	sgd->tiles = cf_alloc(host, n_tiles(grid) + 1, sizeof(size_t));
	sgd->parts = sgd->tiles == NULL ? NULL : cf_alloc(host, sgd->model->items.n_rows, sizeof(uint8_t));
	sgd->losses = sgd->parts == NULL ? NULL : cf_alloc(host, n_tiles(grid), sizeof(double));
	sgd->bands = sgd->losses == NULL ? NULL : cf_alloc(host, grid->n_bands, sizeof(uint32_t));
	sgd->shifts = sgd->bands == NULL ? NULL : cf_alloc(host, n_ranges(grid), sizeof(uint32_t));
	return sgd->shifts == NULL ? host->failure : CF_OK;
}

/* Of the training ratings; 1 when all are equal. */
static cf_status
deviation_of(const cf_ratings *ratings, double *result)
{
	double		sum = 0.0;
	size_t		j;

	*result = 1.0;

	for (j = 0; j < ratings->n_train; j++)
	{
		double		deviation = ratings->rows[j].value - ratings->mean;

		sum += deviation * deviation;
		if (j % 1048576 == 1048575 && cf_should_stop(ratings->host))
			return CF_STOPPED;
	}
	if (sum > 0.0)
		*result = sqrt(sum / (double) ratings->n_train);
	return CF_OK;
}

static void
set_steps(sgd_state *sgd, const cf_settings *settings)
{
	sgd->schedule = settings->schedule;
	sgd->wd = settings->wd;
	sgd->seed = settings->seed;
	sgd->n_steps = settings->n_steps > 0 ? settings->n_steps :
		settings->n_epochs * strata(sgd);
	sgd->step.n_factors = settings->n_factors;
	sgd->step.stride = sgd->model->users.stride;
	sgd->step.use_range = settings->use_range;
	sgd->most_of_user = settings->use_range ? MOST_OF_USER : MOST_LINEAR;
	sgd->step.low = settings->low;
	sgd->step.span = settings->high - settings->low;
}

static cf_status
set_units(sgd_state *sgd, const cf_settings *settings, const cf_ratings *ratings)
{
	double		slope = (double) sgd->step.span / 4.0;
	double		deviation;
	cf_status	status = CF_OK;

	sgd->unit = 1.0 / (slope * slope);
	sgd->step.bias_gain = settings->use_bias ? 1.0f : 0.0f;
	if (settings->use_range)
		return CF_OK;
	status = deviation_of(ratings, &deviation);
	sgd->unit = 1.0 / (1.5 * deviation);
	sgd->step.bias_gain *= (float) deviation;
	return status;
}

static cf_status
sgd_begin(const cf_settings *settings, cf_ratings *ratings, cf_model *model, cf_pool *pool,
		  void **state)
{
	sgd_state  *sgd;
	cf_status	status;

	if (cf_gradients_overflow(settings, ratings))
		return CF_TOO_LARGE;
	sgd = cf_alloc_zero(model->host, 1, sizeof(sgd_state));
	if (sgd == NULL)
		return model->host->failure;
	sgd->host = model->host;
	sgd->model = model;
	sgd->rows = ratings->rows;
	sgd->n_train = ratings->n_train;
	sgd->grid = grid_for(settings, model->users.n_rows, model->items.n_rows, ratings->n_train);
	set_steps(sgd, settings);
	status = take_arrays(sgd);
	if (status == CF_OK)
		status = set_units(sgd, settings, ratings);
	if (status == CF_OK)
		assign_parts(sgd, model->items.n_rows);
	if (status == CF_OK)
		status = cut_grid(sgd, pool);
	if (status == CF_OK)
		*state = sgd;
	else
		sgd_end(sgd);
	return status;
}

const cf_solver cf_sgd = {
	.name = "sgd",
	.uses_pool = true,
	.starts_uniform = true,
	.memory = sgd_memory,
	.start_scale = sgd_start_scale,
	.begin = sgd_begin,
	.epoch = sgd_epoch,
	.step = sgd_step,
	.end = sgd_end
};
