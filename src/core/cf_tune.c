/*
 * cf_tune.c
 *	  Trials: the same ratings trained under many settings, side by side.
 *
 * Who writes what.  A mutex guards which run is next, which trials are
 * finished, and the first failure; it is never held while the host is polled
 * or a report is made.  The result of a run belongs to the thread that takes
 * it, until that thread has counted the run as done under the mutex; whoever
 * counts a trial's last run sums the trial up.  The stop flag is atomic.
 *
 * A jump out of the calling thread's run leaves its blocks behind, so each
 * thread's host keeps a list of what it has taken.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* -std=c11 hides clocks */
#endif

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cf_random.h"
#include "cf_tune.h"

#define ROWS_AT_ONCE	65536	/* between two polls */
#define CALLER			0		/* the pool's number of the calling thread */

/* Before each block that a thread's host has taken. */
typedef struct held_block
{
	struct held_block *next;
	struct held_block *previous;
} held_block;

/* What a thread has for its runs. */
typedef struct tune_slot
{
	cf_tune    *tune;
	bool		is_caller;		/* this thread polls for all */
	cf_host		host;
	held_block	blocks;			/* list head: a ring */
} tune_slot;

typedef struct tune_run
{
	double		train_loss;
	double		valid_loss;
	double		seconds;
	cf_status	status;			/* CF_NOT_FINITE: a result, too */
} tune_run;

struct cf_tune
{
	cf_host    *caller;
	cf_host		host;			/* the pool's */
	const cf_solver *solver;
	const cf_ratings *ratings;
	uint32_t	n_folds;
	uint16_t   *folds;			/* of each row; NULL: one fold */
	size_t	   *fold_sizes;
	cf_trial   *trials;
	uint32_t	n_trials;
	uint32_t	n_slots;
	tune_slot  *slots;
	tune_run   *runs;			/* [n_trials][n_folds] */

	cf_tune_report report;
	void	   *report_context;
	uint32_t	n_reported;

	atomic_bool stop;

	bool		has_mutex;
	pthread_mutex_t mutex;		/* of all below */
	size_t		next;			/* the first run that nobody has taken */
	uint32_t   *left;			/* runs of each trial that are not done */
	uint32_t   *finished;		/* trials, as they finish */
	uint32_t	n_finished;
	cf_status	failure;		/* that ends it all */
	size_t		wanted;			/* bytes in all, when memory failed */
};

/* ---------- hosts ---------- */

static void *
link_block(tune_slot *slot, held_block *block)
{
	block->next = slot->blocks.next;
	block->previous = &slot->blocks;
	block->next->previous = block;
	slot->blocks.next = block;
	return block + 1;
}

static void
unlink_block(held_block *block)
{
	block->next->previous = block->previous;
	block->previous->next = block->next;
}

static void *
slot_allocate(void *context, size_t bytes)
{
	held_block *block = malloc(cf_size_add(bytes, sizeof(held_block)));

	return block != NULL ? link_block(context, block) : NULL;
}

static void
slot_release(void *context, void *block)
{
	(void) context;
	unlink_block((held_block *) block - 1);
	free((held_block *) block - 1);
}

static void *
slot_reallocate(void *context, void *block, size_t bytes)
{
	held_block *before = (held_block *) block - 1;
	held_block *after;

	unlink_block(before);
	after = realloc(before, cf_size_add(bytes, sizeof(held_block)));
	if (after == NULL)
	{
		(void) link_block(context, before);
		return NULL;
	}
	return link_block(context, after);
}

static void
report_finished(cf_tune *tune)
{
	for (;;)
	{
		const cf_trial *trial = NULL;

		pthread_mutex_lock(&tune->mutex);
		if (tune->n_reported < tune->n_finished)
			trial = &tune->trials[tune->finished[tune->n_reported++]];
		pthread_mutex_unlock(&tune->mutex);
		if (trial == NULL)
			return;
		if (tune->report != NULL)
			tune->report(tune->report_context, trial, tune->n_reported);
	}
}

/* By the calling thread alone, also while it waits for the others. */
static bool
tune_should_stop(void *context)
{
	cf_tune    *tune = context;

	if (!atomic_load(&tune->stop) && cf_should_stop(tune->caller))
		cf_tune_stop(tune);
	if (atomic_load(&tune->stop))
		return true;
	report_finished(tune);
	return false;
}

static bool
slot_should_stop(void *context)
{
	const tune_slot *slot = context;

	if (slot->is_caller)
		return tune_should_stop(slot->tune);
	return atomic_load(&slot->tune->stop);
}

static void
init_slot(cf_tune *tune, uint32_t number, size_t limit)
{
	tune_slot  *slot = &tune->slots[number];

	slot->tune = tune;
	slot->is_caller = false;
	slot->blocks.next = slot->blocks.previous = &slot->blocks;
	cf_host_init(&slot->host);
	slot->host.context = slot;
	slot->host.allocate = slot_allocate;
	slot->host.reallocate = slot_reallocate;
	slot->host.release = slot_release;
	slot->host.should_stop = slot_should_stop;
	slot->host.limit = limit;
}

static void
release_slot(tune_slot *slot)
{
	while (slot->blocks.next != &slot->blocks)
		slot_release(slot, slot->blocks.next + 1);
}

/* ---------- a run ---------- */

/* A thread's own ratings, of which one fold is the validation part. */
static cf_status
count_part(cf_ratings *part)
{
	cf_host    *host = part->host;
	double		sum = 0.0;
	size_t		j;

	part->user_counts = cf_alloc_zero(host, cf_dict_count(part->users), sizeof(int64_t));
	if (part->user_counts == NULL)
		return host->failure;
	part->item_counts = cf_alloc_zero(host, cf_dict_count(part->items), sizeof(int64_t));
	if (part->item_counts == NULL)
		return host->failure;
	for (j = 0; j < part->n_train; j++)
	{
		part->user_counts[part->rows[j].user]++;
		part->item_counts[part->rows[j].item]++;
		sum += part->rows[j].value;
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(host))
			return CF_STOPPED;
	}
	part->mean = sum / (double) part->n_train;
	return CF_OK;
}

/* All but a fold, then the fold, both in the order of the frozen ratings. */
static cf_status
copy_parted(const cf_tune *tune, uint32_t fold, cf_ratings *part)
{
	const cf_rating *rows = tune->ratings->rows;
	cf_rating  *train = part->rows;
	cf_rating  *valid;
	size_t		j;

	part->n_valid = tune->fold_sizes[fold];
	part->n_train = part->n_rows - part->n_valid;
	valid = part->rows + part->n_train;
	for (j = 0; j < part->n_rows; j++)
	{
		if (tune->folds[j] == fold)
			*valid++ = rows[j];
		else
			*train++ = rows[j];
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(part->host))
			return CF_STOPPED;
	}
	return count_part(part);
}

static cf_status
copy_whole(const cf_tune *tune, cf_ratings *part)
{
	size_t		done;

	for (done = 0; done < part->n_rows; done += ROWS_AT_ONCE)
	{
		size_t		n = part->n_rows - done < ROWS_AT_ONCE ? part->n_rows - done : ROWS_AT_ONCE;

		memcpy(part->rows + done, tune->ratings->rows + done, n * sizeof(cf_rating));
		if (cf_should_stop(part->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Dictionaries stay shared, and what is counted where there is one fold. */
static cf_status
make_part(tune_slot *slot, uint32_t fold, cf_ratings *part)
{
	const cf_tune *tune = slot->tune;

	*part = *tune->ratings;
	part->host = &slot->host;
	if (tune->folds != NULL)
		part->user_counts = part->item_counts = NULL;
	part->rows = cf_alloc(part->host, part->n_rows, sizeof(cf_rating));
	if (part->rows == NULL)
		return part->host->failure;
	return tune->folds != NULL ? copy_parted(tune, fold, part) : copy_whole(tune, part);
}

static void
release_part(const cf_tune *tune, cf_ratings *part)
{
	cf_free(part->host, part->rows);
	if (tune->folds != NULL)
	{
		cf_free(part->host, part->user_counts);
		cf_free(part->host, part->item_counts);
	}
}

static size_t
part_memory(const cf_tune *tune)
{
	const cf_ratings *ratings = tune->ratings;
	size_t		bytes = cf_block_memory(ratings->n_rows, sizeof(cf_rating));

	if (tune->folds != NULL)
	{
		bytes = cf_size_add(bytes, cf_block_memory(cf_dict_count(ratings->users), sizeof(int64_t)));
		bytes = cf_size_add(bytes, cf_block_memory(cf_dict_count(ratings->items), sizeof(int64_t)));
	}
	return bytes;
}

static cf_status
train(const cf_tune *tune, const cf_settings *settings, cf_ratings *part, tune_run *run)
{
	cf_training *training;
	cf_model	model;
	cf_epoch	report;
	uint32_t	epoch;
	cf_status	status;

	cf_model_init(&model, part->host);
	status = cf_training_begin(tune->solver, settings, part, &model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	for (epoch = 0; epoch < settings->n_epochs && status == CF_OK; epoch++)
	{
		status = cf_training_epoch(training, NULL, &report);
		if (status == CF_OK && report.kept == epoch)
		{
			run->train_loss = report.train_loss;
			run->valid_loss = report.valid_loss;
		}
	}
	cf_training_end(training);
	cf_model_release(&model);
	return status;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + 1e-9 * (double) time.tv_nsec;
}

static void
do_run(tune_slot *slot, size_t number)
{
	cf_tune    *tune = slot->tune;
	tune_run   *run = &tune->runs[number];
	double		began = now();
	cf_ratings	part;

	run->status = make_part(slot, (uint32_t) (number % tune->n_folds), &part);
	if (run->status == CF_OK)
		run->status = train(tune, &tune->trials[number / tune->n_folds].settings, &part, run);
	release_part(tune, &part);
	run->seconds = now() - began;
}

/* ---------- trials ---------- */

/* Sums go in the order of the folds, whichever was last. */
static void
sum_up(const cf_tune *tune, uint32_t number)
{
	cf_trial   *trial = &tune->trials[number];
	const tune_run *runs = &tune->runs[(size_t) number * tune->n_folds];
	const double n = tune->n_folds;
	double		train_loss = 0.0;
	double		valid_loss = 0.0;
	double		squares = 0.0;
	uint32_t	fold;

	trial->seconds = 0.0;
	for (fold = 0; fold < tune->n_folds; fold++)
	{
		trial->seconds += runs[fold].seconds;
		train_loss += runs[fold].status == CF_OK ? runs[fold].train_loss : NAN;
		valid_loss += runs[fold].status == CF_OK ? runs[fold].valid_loss : NAN;
	}
	trial->train_loss = train_loss / n;
	trial->valid_loss = valid_loss / n;
	for (fold = 0; fold < tune->n_folds; fold++)
	{
		double		difference = runs[fold].valid_loss - trial->valid_loss;

		squares += difference * difference;
	}
	trial->valid_sd = tune->n_folds > 1 ? sqrt(squares / (n - 1.0)) : NAN;
}

static bool
take_run(cf_tune *tune, size_t *number)
{
	bool		more;

	pthread_mutex_lock(&tune->mutex);
	more = !atomic_load(&tune->stop) && tune->next < (size_t) tune->n_trials * tune->n_folds;
	if (more)
		*number = tune->next++;
	pthread_mutex_unlock(&tune->mutex);
	return more;
}

/* With the mutex held. */
static void
note_failure(cf_tune *tune, const cf_host *host, cf_status status)
{
	if (status == CF_STOPPED || tune->failure != CF_OK)
		return;
	tune->failure = status;
	tune->wanted = cf_size_add(tune->host.used - host->limit, host->wanted);
	cf_tune_stop(tune);
}

static void
count_run(tune_slot *slot, size_t number)
{
	cf_tune    *tune = slot->tune;
	cf_status	status = tune->runs[number].status;
	uint32_t	trial = (uint32_t) (number / tune->n_folds);

	pthread_mutex_lock(&tune->mutex);
	if (status != CF_OK && status != CF_NOT_FINITE)
		note_failure(tune, &slot->host, status);
	else if (--tune->left[trial] == 0)
	{
		sum_up(tune, trial);
		tune->finished[tune->n_finished++] = trial;
	}
	pthread_mutex_unlock(&tune->mutex);
}

/*
 * A task: there is one a slot.  Which threads of the pool get one is not said:
 * a slot belongs to its task, not to a thread.
 */
static void
work(void *context, size_t index, uint32_t thread)
{
	cf_tune    *tune = context;
	tune_slot  *slot = &tune->slots[index];
	size_t		number;

	slot->is_caller = thread == CALLER;
	while (take_run(tune, &number))
	{
		do_run(slot, number);
		count_run(slot, number);
	}
}

void
cf_tune_stop(cf_tune *tune)
{
	atomic_store(&tune->stop, true);
}

cf_status
cf_tune_run(cf_tune *tune, cf_pool *pool, cf_tune_report report, void *context)
{
	cf_status	status;

	tune->report = report;
	tune->report_context = context;
	status = cf_pool_run(pool, work, tune, tune->n_slots);
	if (tune->failure != CF_OK)
	{
		tune->host.wanted = tune->wanted;
		return tune->failure;
	}
	if (status != CF_OK || atomic_load(&tune->stop))
		return CF_STOPPED;
	report_finished(tune);
	return CF_OK;
}

/* ---------- preparing ---------- */

static cf_status
count_folds(cf_tune *tune)
{
	size_t		n_rows = tune->ratings->n_rows;
	uint32_t	fold;
	size_t		j;

	for (j = 0; j < n_rows; j++)
	{
		tune->fold_sizes[tune->folds[j]]++;
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(tune->caller))
			return CF_STOPPED;
	}
	for (fold = 0; fold < tune->n_folds; fold++)
	{
		if (tune->fold_sizes[fold] == 0 || tune->fold_sizes[fold] == n_rows)
			return CF_NO_RATINGS;
	}
	return CF_OK;
}

static cf_status
make_folds(cf_tune *tune, uint64_t seed)
{
	cf_host    *host = tune->caller;
	cf_status	status;

	if (tune->n_folds == 1)
		return tune->ratings->n_train > 0 && tune->ratings->n_valid > 0 ? CF_OK : CF_NO_RATINGS;
	tune->folds = cf_alloc(host, tune->ratings->n_rows, sizeof(uint16_t));
	if (tune->folds == NULL)
		return host->failure;
	tune->fold_sizes = cf_alloc_zero(host, tune->n_folds, sizeof(size_t));
	if (tune->fold_sizes == NULL)
		return host->failure;
	status = cf_ratings_folds(tune->ratings, seed, tune->n_folds, tune->folds);
	return status == CF_OK ? count_folds(tune) : status;
}

static cf_status
make_lists(cf_tune *tune, uint32_t n_threads)
{
	cf_host    *host = tune->caller;
	size_t		n_runs = cf_size_mul(tune->n_trials, tune->n_folds);
	uint32_t	trial;

	tune->n_slots = n_threads < n_runs ? n_threads : (uint32_t) n_runs;
	tune->runs = cf_alloc_zero(host, n_runs, sizeof(tune_run));
	if (tune->runs == NULL)
		return host->failure;
	tune->left = cf_alloc(host, tune->n_trials, sizeof(uint32_t));
	if (tune->left == NULL)
		return host->failure;
	tune->finished = cf_alloc(host, tune->n_trials, sizeof(uint32_t));
	if (tune->finished == NULL)
		return host->failure;
	tune->slots = cf_alloc(host, tune->n_slots, sizeof(tune_slot));
	if (tune->slots == NULL)
		return host->failure;
	for (trial = 0; trial < tune->n_trials; trial++)
		tune->left[trial] = tune->n_folds;
	return CF_OK;
}

/* Bytes of the trial's greatest run, which is that of its smallest fold. */
static size_t
trial_memory(const cf_tune *tune, const cf_trial *trial)
{
	const cf_ratings *ratings = tune->ratings;
	size_t		most = 0;
	uint32_t	fold;

	for (fold = 0; fold < tune->n_folds; fold++)
	{
		size_t		n_train = tune->folds == NULL ? ratings->n_train :
			ratings->n_rows - tune->fold_sizes[fold];
		size_t		bytes = cf_training_memory(tune->solver, &trial->settings,
											   cf_dict_count(ratings->users),
											   cf_dict_count(ratings->items), n_train, 1);

		most = bytes > most ? bytes : most;
	}
	return cf_size_add(most, part_memory(tune));
}

/* Keep the n_slots greatest in "greatest", which begins as zeros, ascending. */
static void
keep_greatest(size_t *greatest, uint32_t n, size_t bytes)
{
	uint32_t	at;

	if (bytes <= greatest[0])
		return;
	for (at = 0; at + 1 < n && greatest[at + 1] < bytes; at++)
		greatest[at] = greatest[at + 1];
	greatest[at] = bytes;
}

/*
 * The most that can run at once.  A thread may meet the greatest run of all,
 * but together they cannot need more than the n greatest runs.
 */
static cf_status
reserve(cf_tune *tune)
{
	size_t		greatest[CF_MAX_THREADS] = {0};
	size_t		total = 0;
	uint32_t	j;
	uint32_t	fold;

	for (j = 0; j < tune->n_trials; j++)
	{
		size_t		bytes = trial_memory(tune, &tune->trials[j]);

		for (fold = 0; fold < tune->n_folds && fold < tune->n_slots; fold++)
			keep_greatest(greatest, tune->n_slots, bytes);
		if (j % 1024 == 1023 && cf_should_stop(tune->caller))
			return CF_STOPPED;
	}
	for (j = 0; j < tune->n_slots; j++)
		total = cf_size_add(total, greatest[j]);
	if (cf_check_memory(tune->caller, total) != CF_OK)
		return tune->caller->failure;
	for (j = 0; j < tune->n_slots; j++)
		init_slot(tune, j, greatest[tune->n_slots - 1]);
	cf_host_init(&tune->host);
	tune->host.context = tune;
	tune->host.should_stop = tune_should_stop;
	tune->host.limit = tune->caller->limit;
	tune->host.used = tune->caller->used + total;
	return CF_OK;
}

cf_status
cf_tune_create(cf_host *host, const cf_solver *solver, const cf_ratings *ratings, uint64_t seed,
			   uint32_t n_folds, cf_trial *trials, uint32_t n_trials, uint32_t n_threads,
			   cf_tune **tune)
{
	cf_tune    *new = cf_alloc(host, 1, sizeof(cf_tune));
	cf_status	status;

	*tune = NULL;
	if (new == NULL)
		return host->failure;
	memset(new, 0, sizeof(*new));
	new->caller = host;
	new->solver = solver;
	new->ratings = ratings;
	new->n_folds = n_folds;
	new->trials = trials;
	new->n_trials = n_trials;
	atomic_init(&new->stop, false);
	new->has_mutex = pthread_mutex_init(&new->mutex, NULL) == 0;
	status = new->has_mutex ? make_folds(new, seed) : CF_NO_MEMORY;
	if (status == CF_OK)
		status = make_lists(new, n_threads > CF_MAX_THREADS ? CF_MAX_THREADS : n_threads);
	if (status == CF_OK)
		status = reserve(new);
	if (status == CF_OK)
		*tune = new;
	else
	{
		new->n_slots = 0;
		cf_tune_destroy(new);
	}
	return status;
}

cf_host *
cf_tune_host(cf_tune *tune)
{
	return &tune->host;
}

void
cf_tune_destroy(cf_tune *tune)
{
	cf_host    *host;
	uint32_t	j;

	if (tune == NULL)
		return;
	host = tune->caller;
	for (j = 0; j < tune->n_slots; j++)
		release_slot(&tune->slots[j]);
	if (tune->has_mutex)
		pthread_mutex_destroy(&tune->mutex);
	cf_free(host, tune->folds);
	cf_free(host, tune->fold_sizes);
	cf_free(host, tune->runs);
	cf_free(host, tune->left);
	cf_free(host, tune->finished);
	cf_free(host, tune->slots);
	cf_free(host, tune);
}

/* ---------- random search ---------- */

/* The first n of a shuffle (Fisher, Yates). */
static void
shuffle_first(uint64_t seed, uint32_t *order, uint32_t n_grid, uint32_t n)
{
	uint32_t	j;

	for (j = 0; j < n_grid; j++)
		order[j] = j;
	for (j = 0; j < n; j++)
	{
		uint32_t	words[4];
		uint32_t	partner;
		uint32_t	number;

		cf_random_block(seed, CF_STREAM_TRIALS, 0, j, words);
		partner = j + (uint32_t) (((uint64_t) words[0] * (n_grid - j)) >> 32);
		number = order[partner];
		order[partner] = order[j];
		order[j] = number;
	}
}

cf_status
cf_tune_draw(cf_host *host, uint64_t seed, uint32_t n_grid, uint32_t n, uint32_t *drawn)
{
	uint32_t   *order = cf_alloc(host, n_grid, sizeof(uint32_t));
	bool	   *chosen = order == NULL ? NULL : cf_alloc_zero(host, n_grid, sizeof(bool));
	cf_status	status = chosen == NULL ? host->failure : CF_OK;
	uint32_t	j;

	if (status == CF_OK)
	{
		shuffle_first(seed, order, n_grid, n);
		for (j = 0; j < n; j++)
			chosen[order[j]] = true;
		for (j = 0; j < n_grid; j++)
		{
			if (chosen[j])
				*drawn++ = j;
		}
	}
	cf_free(host, order);
	cf_free(host, chosen);
	return status;
}
