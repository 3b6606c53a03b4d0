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
#include "cf_sort.h"

#define PART_BYTES		((size_t) 768 << 10)	/* of item rows, on average */
#define RANGE_BYTES		((size_t) 64 << 10)	/* of user rows */
#define LEAST_PARTS		4
#define MOST_PARTS		64
#define CACHE_LINE		64
#define LEAST_TILE		1024	/* ratings, on average: less is not worth a task */
#define MOST_OF_USER	8		/* ratings of a batch by one user */
#define MOST_LINEAR		4		/* where no sigmoid bounds what they do together */
#define ROUNDS			64		/* of a user's ratings in a tile, at most */
#define SCATTER			UINT32_C(0x9E3779B1)	/* times GATHER it is 1, modulo 2^32 */
#define GATHER			UINT32_C(0x0E8B2F51)
#define PATIENCE		100		/* looks at its own parts before a thread helps out */

typedef struct sgd_grid
{
	uint32_t	n_parts;		/* B: parts of the items, ranges of a band */
	uint32_t	n_bands;
} sgd_grid;

/* A band of users' ranges, and how they go through the parts in an epoch. */
typedef struct sgd_band
{
	uint32_t	number;
	uint32_t	start;			/* the place of the range that starts with part 0 */
	bool		backwards;
} sgd_band;

typedef struct sgd_state
{
	cf_host    *host;
	const cf_model *model;
	cf_rating  *rows;			/* tile after tile: by range, then by part */
	size_t		n_train;
	sgd_grid	grid;
	size_t	   *tiles;			/* [ranges * n_parts + 1]: where each begins */
	uint8_t    *parts;			/* [items]: that of each */
	double	   *losses;			/* [tiles]: in the order of an epoch */
	sgd_band   *bands;			/* [n_bands]: in the order of this epoch */
	cf_sgd_step step;			/* but for rate and keep */
	uint32_t	most_of_user;	/* ratings of a batch by one user */
	cf_schedule schedule;
	double		wd;
	double		unit;			/* 1 / V, see cf_sgd.h */
	uint64_t	seed;
	uint64_t	n_steps;		/* strata, in all */
	uint64_t	done;

	/* the present run of strata, which are its turns */
	size_t		n_turns;
	uint32_t	n_threads;
	atomic_size_t turns[MOST_PARTS];	/* twice the next of each part; odd: it is taken */
	atomic_uchar *parts_done;	/* [ranges]: parts of this epoch, of each range */
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

/*
 * Parts by the items' numbers of ratings, of which each part gets as many: those
 * of the most rated items are few, and stay in a core's nearest caches.  Items
 * rated as often come in no order of their ids, which may follow time.
 */
static cf_status
assign_parts(sgd_state *sgd, cf_pool *pool)
{
	const cf_side *items = &sgd->model->items;
	cf_rating  *order = cf_alloc(sgd->host, items->n_rows, sizeof(cf_rating));
	uint32_t	n_parts = sgd->grid.n_parts;
	uint64_t	before = 0;
	uint32_t	j;
	cf_status	status;

	if (order == NULL)
		return sgd->host->failure;
	for (j = 0; j < items->n_rows; j++)
		order[j] = (cf_rating) {
			.user = UINT32_MAX - clamp((size_t) items->n_ratings[j], 0, UINT32_MAX),
			.item = j * SCATTER
		};
	status = cf_sort_ratings(sgd->host, pool, order, items->n_rows);
	for (j = 0; j < items->n_rows && status == CF_OK; j++)
	{
		uint32_t	item = order[j].item * GATHER;

		sgd->parts[item] = (uint8_t) clamp(before * n_parts / sgd->n_train, 0, n_parts - 1);
		before += (uint64_t) items->n_ratings[item];
	}
	cf_free(sgd->host, order);
	return status;
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

/* A row that comes up soon: into the cache. */
static void
fetch_row(const cf_side *side, uint32_t row)
{
	const float *columns = cf_side_row(side, row);
	uint32_t	j;

	for (j = 0; j < side->stride; j += CACHE_LINE / sizeof(float))
		__builtin_prefetch(columns + j, 1);
}

/* All that a step may look at is there, if not meant. */
static void
empty_batch(const cf_model *model, cf_sgd_batch *batch)
{
	uint32_t	j;

	for (j = 0; j < CF_SGD_BATCH; j++)
	{
		batch->users[j] = model->users.rows;
		batch->items[j] = model->items.rows;
		batch->values[j] = 0.0f;
	}
	batch->size = 0;
}

/*
 * The next ratings of n, with at most "most" of one user.  Users' rows are asked
 * for here, those of items, of which there are more, in the step before.
 */
static void
next_batch(const cf_model *model, const cf_rating *rows, size_t n, size_t most,
		   cf_sgd_batch *batch)
{
	size_t		size = 0;
	size_t		of_user = 0;

	while (size < CF_SGD_BATCH && size < n)
	{
		const cf_rating *row = &rows[size];

		of_user = size > 0 && row->user == row[-1].user ? of_user + 1 : 1;
		if (of_user > most)
			break;
		if (of_user == 1)
			fetch_row(&model->users, row->user);
		batch->users[size] = cf_side_row(&model->users, row->user);
		batch->items[size] = cf_side_row(&model->items, row->item);
		batch->values[size] = row->value;
		size++;
	}
	batch->size = size;
}

/* The strata of an epoch. */
static uint64_t
strata(const sgd_state *sgd)
{
	return (uint64_t) sgd->grid.n_parts * sgd->grid.n_bands;
}

/*
 * The range whose turn in a part is a stratum, counted from the start.  A range
 * goes through the parts in their order, round about, so that it stays with a
 * thread for as long as there are parts of that thread's.
 */
static size_t
range_of(const sgd_state *sgd, uint64_t stratum, uint32_t part)
{
	uint32_t	n_parts = sgd->grid.n_parts;
	uint64_t	in_epoch = stratum % strata(sgd);
	const sgd_band *band = &sgd->bands[in_epoch / n_parts];
	uint32_t	turn = (uint32_t) (in_epoch % n_parts);
	uint32_t	place = (part + band->start + (band->backwards ? turn : n_parts - turn)) % n_parts;

	return (size_t) band->number * n_parts + place;
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
run_tile(const sgd_state *sgd, size_t range, uint32_t part, const cf_sgd_step *step)
{
	const cf_model *model = sgd->model;
	const size_t tile = range * sgd->grid.n_parts + part;
	const cf_rating *rows = sgd->rows + sgd->tiles[tile];
	const size_t n = sgd->tiles[tile + 1] - sgd->tiles[tile];
	cf_sgd_batch batches[2];
	double		sum = 0.0;
	size_t		done = 0;
	int			now = 0;

	empty_batch(model, &batches[0]);
	empty_batch(model, &batches[1]);
	next_batch(model, rows, n, sgd->most_of_user, &batches[now]);
	while (batches[now].size > 0)
	{
		done += batches[now].size;
		next_batch(model, rows + done, n - done, sgd->most_of_user, &batches[!now]);
		sum += model->kernels->sgd_step(step, &batches[now], &batches[!now]);
		now = !now;
	}
	return sum;
}

/* ---------- threads ---------- */

/*
 * A part's tiles are worked on turn by turn, and so are those of a range: more
 * order than that is not needed for the outcome to be the same.  Each thread
 * keeps to parts of its own, whose rows then stay in the caches near its core:
 * from those of another core they come many times slower.  When nothing of its
 * own has been ready for a while, it helps out with other parts.
 */

/* Are the range's ratings of all earlier turns done? */
static bool
is_ready(const sgd_state *sgd, uint32_t part, size_t turn)
{
	uint64_t	stratum = sgd->done + turn;
	size_t		range = range_of(sgd, stratum, part);

	return atomic_load_explicit(&sgd->parts_done[range], memory_order_acquire) ==
		stratum % sgd->grid.n_parts;
}

/* Of parts [first, end), take the one that is most behind of those with a tile ready. */
static bool
take_part(sgd_state *sgd, uint32_t first, uint32_t end, uint32_t *taken)
{
	size_t		least = 2 * sgd->n_turns;
	uint32_t	part;

	for (part = first; part < end; part++)
	{
		size_t		turn = atomic_load_explicit(&sgd->turns[part], memory_order_acquire);

		if (turn < least && turn % 2 == 0 && is_ready(sgd, part, turn / 2))
		{
			least = turn;
			*taken = part;
		}
	}
	return least < 2 * sgd->n_turns &&
		atomic_compare_exchange_strong(&sgd->turns[*taken], &least, least + 1);
}

/*
 * The part whose next tile is a thread's to work on.  The least turn that is not
 * done has a tile that is ready or worked on, so nobody waits for ever.
 */
static uint32_t
next_part(sgd_state *sgd, uint32_t thread)
{
	uint32_t	n_parts = sgd->grid.n_parts;
	uint32_t	first = (uint32_t) ((uint64_t) n_parts * thread / sgd->n_threads);
	uint32_t	end = (uint32_t) ((uint64_t) n_parts * (thread + 1) / sgd->n_threads);
	uint32_t	looks = 0;
	uint32_t	part;

	while (!take_part(sgd, first, end, &part) &&
		   (looks++ < PATIENCE || !take_part(sgd, 0, n_parts, &part)))
		sched_yield();
	return part;
}

/* A task: one tile. */
static void
run_next(void *context, size_t index, uint32_t thread)
{
	sgd_state  *sgd = context;
	uint32_t	part = next_part(sgd, thread);
	size_t		turn = atomic_load_explicit(&sgd->turns[part], memory_order_relaxed) / 2;
	cf_sgd_step step = step_at(sgd, sgd->done + turn);
	size_t		range = range_of(sgd, sgd->done + turn, part);

	(void) index;
	sgd->losses[turn * sgd->grid.n_parts + part] = run_tile(sgd, range, part, &step);
	atomic_fetch_add_explicit(&sgd->parts_done[range], 1, memory_order_release);
	atomic_store_explicit(&sgd->turns[part], 2 * (turn + 1), memory_order_release);
}

/* ---------- epochs ---------- */

/* Bands in a fresh order, and how each goes: by (seed, epoch) alone. */
static void
begin_epoch(sgd_state *sgd, uint64_t epoch)
{
	uint32_t	n_parts = sgd->grid.n_parts;
	uint32_t	words[4];
	uint32_t	j;

	for (j = 0; j < sgd->grid.n_bands; j++)
	{
		uint32_t	other;

		cf_random_block(sgd->seed, CF_STREAM_STRATA, epoch, j, words);
		other = (uint32_t) ((uint64_t) words[0] * (j + 1) >> 32);
		sgd->bands[j] = sgd->bands[other];
		sgd->bands[other] = (sgd_band) {
			.number = j,
			.start = (uint32_t) ((uint64_t) words[1] * n_parts >> 32),
			.backwards = words[2] >> 31
		};
	}
	for (j = 0; j < n_ranges(&sgd->grid); j++)
		atomic_init(&sgd->parts_done[j], 0);
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
	sgd->n_turns = (size_t) n;
	sgd->n_threads = cf_pool_threads(pool);
	for (j = 0; j < MOST_PARTS; j++)
		atomic_init(&sgd->turns[j], 0);
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
	uint32_t	part;

	for (part = 0; part < sgd->grid.n_parts; part++)
	{
		size_t		tile = range_of(sgd, stratum, part) * sgd->grid.n_parts + part;

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
	bytes = cf_size_add(bytes, cf_block_memory(n_items, sizeof(cf_rating)));
	bytes = cf_size_add(bytes, cf_block_memory(n_tiles(&grid), sizeof(double)));
	bytes = cf_size_add(bytes, cf_block_memory(grid.n_bands, sizeof(sgd_band)));
	bytes = cf_size_add(bytes, cf_block_memory(n_ranges(&grid), sizeof(atomic_uchar)));
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
	cf_free(host, sgd->parts_done);
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
	sgd->bands = sgd->losses == NULL ? NULL : cf_alloc_zero(host, grid->n_bands, sizeof(sgd_band));
	sgd->parts_done = sgd->bands == NULL ? NULL : cf_alloc(host, n_ranges(grid), sizeof(atomic_uchar));
	return sgd->parts_done == NULL ? host->failure : CF_OK;
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
		status = assign_parts(sgd, pool);
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
