/*
 * test_tune.c: trials side by side against trainings one by one, folds,
 * threads, stops and jumps, memory, random search.
 */
#include <dlfcn.h>
#include <setjmp.h>

#include "tap.h"
#include "support.h"
#include "cf_tune.h"

#define TRIALS	6

static const cf_settings recipe = {.n_factors = 4, .n_epochs = 3, .batch_size = 0, .wd = 0.1,
	.schedule.cycle = {2e-2, 0.25, 25, 1e5, 0.85, 0.95}, .seed = 42, .use_bias = true, .use_range = true,
.low = 0, .high = 5.5f};

/* Low-rank ratings with noise; "order" is that in which they come. */
static cf_ratings *
make_ratings(cf_host *host, size_t n, double valid_part, uint64_t order)
{
	cf_ratings *ratings;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	counter = (j * order) % n * 1000;
		uint64_t	u = draw(&counter) % 70;
		uint64_t	i = draw(&counter) % 50;
		double		truth = sin((double) u) * cos((double) i) + draw_unit(&counter);

		if (cf_ratings_add(ratings, integer_key((int64_t) u), integer_key((int64_t) i),
						   (float) fmin(5, fmax(1, 3 + 1.5 * truth))) != CF_OK)
			break;
	}
	if (j < n || cf_ratings_freeze(ratings, 42, valid_part) != CF_OK)
	{
		cf_ratings_destroy(ratings);
		return NULL;
	}
	return ratings;
}

/* Settings that differ in all that a search varies. */
static void
make_trials(cf_trial *trials)
{
	uint32_t	j;

	memset(trials, 0, TRIALS * sizeof(cf_trial));
	for (j = 0; j < TRIALS; j++)
	{
		trials[j].number = j;
		trials[j].settings = recipe;
		trials[j].settings.n_factors = 2 + 3 * j;
		trials[j].settings.wd = j % 2 == 0 ? 0.1 : 0.01;
		trials[j].settings.n_epochs = 2 + j % 3;
		trials[j].settings.keep_best = j == 4;
	}
}

static cf_status
run_solver(const cf_solver *solver, cf_host *host, const cf_ratings *ratings, uint32_t n_folds,
		   cf_trial *trials, uint32_t n_trials, uint32_t n_threads, cf_tune_report report, void *context)
{
	cf_tune    *tune;
	cf_pool    *pool;
	cf_status	status = cf_tune_create(host, solver, ratings, 42, n_folds, trials, n_trials,
										n_threads, &tune);

	if (status != CF_OK)
		return status;
	status = cf_pool_create(cf_tune_host(tune), n_threads, &pool);
	if (status == CF_OK)
		status = cf_tune_run(tune, pool, report, context);
	if (status == CF_MEMORY_LIMIT || status == CF_NO_MEMORY)
		host->wanted = cf_tune_host(tune)->wanted;
	cf_pool_destroy(pool);
	cf_tune_destroy(tune);
	return status;
}

static cf_status
run(cf_host *host, const cf_ratings *ratings, uint32_t n_folds, cf_trial *trials, uint32_t n_threads)
{
	return run_solver(cf_solver_named("adam"), host, ratings, n_folds, trials, TRIALS, n_threads, NULL, NULL);
}

static bool
same_double(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}

/* Same results, elapsed aside; trials of the same number are compared. */
static bool
same_trials(const cf_trial *a, const cf_trial *b)
{
	bool		same = true;
	int			j;
	int			k;

	for (j = 0; j < TRIALS; j++)
	{
		for (k = 0; k < TRIALS && b[k].number != a[j].number; k++)
			;
		same = same && k < TRIALS && same_double(a[j].train_loss, b[k].train_loss) &&
			same_double(a[j].valid_loss, b[k].valid_loss) && same_double(a[j].valid_sd, b[k].valid_sd);
	}
	return same;
}

/* ---------- against trainings one by one ---------- */

static cf_status
train(const cf_settings *s, cf_ratings *ratings, double *train_loss, double *valid_loss)
{
	cf_training *training;
	cf_model	model;
	cf_epoch	reports[8];
	uint32_t	epoch;
	cf_status	status;

	cf_model_init(&model, ratings->host);
	status = cf_training_begin(cf_solver_named("adam"), s, ratings, &model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
		status = cf_training_epoch(training, NULL, &reports[epoch]);
	cf_training_end(training);
	cf_model_release(&model);
	*train_loss = reports[reports[s->n_epochs - 1].kept].train_loss;
	*valid_loss = reports[reports[s->n_epochs - 1].kept].valid_loss;
	return status;
}

static void
test_one_fold(void)
{
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];
	cf_rating  *before;
	double		train_loss;
	double		valid_loss;
	bool		good = true;
	bool		timed = true;
	int			j;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, 0.2, 1);
	before = malloc(3000 * sizeof(cf_rating));
	memcpy(before, ratings->rows, 3000 * sizeof(cf_rating));
	make_trials(trials);
	OK(run(&test.host, ratings, 1, trials, 2) == CF_OK, "one fold");
	OK(memcmp(before, ratings->rows, 3000 * sizeof(cf_rating)) == 0, "the ratings are as they were");
	for (j = 0; j < TRIALS; j++)
	{
		good = good && train(&trials[j].settings, ratings, &train_loss, &valid_loss) == CF_OK &&
			same_double(train_loss, trials[j].train_loss) && same_double(valid_loss, trials[j].valid_loss) &&
			isnan(trials[j].valid_sd);
		timed = timed && trials[j].seconds > 0 && trials[j].seconds < 100;
	}
	OK(good, "each trial is what a training alone is, to the bit");
	OK(timed, "and is timed");
	free(before);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* ---------- folds ---------- */

/* Ratings frozen without validation part, with one fold put last. */
static void
part_by_hand(cf_ratings *ratings, const uint16_t *folds, uint16_t fold)
{
	cf_rating  *rows = malloc(ratings->n_rows * sizeof(cf_rating));
	size_t		n = 0;
	size_t		j;
	int			pass;

	memset(ratings->user_counts, 0, cf_dict_count(ratings->users) * sizeof(int64_t));
	memset(ratings->item_counts, 0, cf_dict_count(ratings->items) * sizeof(int64_t));
	ratings->mean = 0;
	for (pass = 0; pass < 2; pass++)
	{
		for (j = 0; j < ratings->n_rows; j++)
		{
			if ((folds[j] == fold) != (pass == 1))
				continue;
			rows[n++] = ratings->rows[j];
			if (pass == 1)
				continue;
			ratings->user_counts[ratings->rows[j].user]++;
			ratings->item_counts[ratings->rows[j].item]++;
			ratings->mean += ratings->rows[j].value;
		}
		if (pass == 0)
			ratings->n_train = n;
	}
	ratings->n_valid = n - ratings->n_train;
	ratings->mean /= (double) ratings->n_train;
	memcpy(ratings->rows, rows, n * sizeof(cf_rating));
	free(rows);
}

static void
test_folds(uint32_t n_folds)
{
	test_host	test;
	cf_ratings *ratings;
	uint16_t   *folds = malloc(3000 * sizeof(uint16_t));
	cf_trial	trials[TRIALS];
	double		train_losses[16];
	double		valid_losses[16];
	double		mean = 0;
	double		squares = 0;
	double		train_mean = 0;
	size_t		sizes[16] = {0};
	bool		first = true;
	bool		pairs = true;
	bool		good = true;
	size_t		j;
	uint32_t	fold;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, 0, 1);
	OK(cf_ratings_folds(ratings, 42, n_folds, folds) == CF_OK, "%u folds", n_folds);
	for (j = 0; j < 3000; j++)
	{
		const cf_rating *row = &ratings->rows[j];

		if (folds[j] < n_folds)
			sizes[folds[j]]++;
		first = first && (folds[j] == 0) ==
			cf_ratings_is_valid(CF_KEY_INTEGER, cf_dict_key(ratings->users, row->user), CF_KEY_INTEGER,
								cf_dict_key(ratings->items, row->item), 42, 1.0 / n_folds);
		pairs = pairs && (j == 0 || row->user != row[-1].user || row->item != row[-1].item ||
						  folds[j] == folds[j - 1]);
	}
	OK(first, "the first is the validation part of a training");
	OK(pairs, "a pair that is rated twice is in one fold");
	for (fold = 0, j = 0; fold < n_folds; fold++)
	{
		good = good && sizes[fold] > 2000 / n_folds && sizes[fold] < 4000 / n_folds;
		j += sizes[fold];
	}
	OK(good && j == 3000, "all are in one, which are of about one size");

	make_trials(trials);
	OK(run(&test.host, ratings, n_folds, trials, 2) == CF_OK, "run");
	for (fold = 0; fold < n_folds; fold++)
	{
		cf_ratings *part = make_ratings(&test.host, 3000, 0, 1);

		part_by_hand(part, folds, (uint16_t) fold);
		good = good && train(&trials[3].settings, part, &train_losses[fold], &valid_losses[fold]) == CF_OK;
		cf_ratings_destroy(part);
		mean += valid_losses[fold] / n_folds;
		train_mean += train_losses[fold] / n_folds;
	}
	for (fold = 0; fold < n_folds; fold++)
		squares += pow(valid_losses[fold] - mean, 2);
	OK(good && fabs(trials[3].valid_loss - mean) < 1e-12 && fabs(trials[3].train_loss - train_mean) < 1e-12,
	   "losses are the means of trainings by hand");
	OK(fabs(trials[3].valid_sd - sqrt(squares / (n_folds - 1))) < 1e-9 && trials[3].valid_sd > 0,
	   "with their deviation, %.4f of %.4f", trials[3].valid_sd, mean);

	/* what freezing sets aside, to the bit */
	{
		cf_ratings *frozen = make_ratings(&test.host, 3000, 1.0 / n_folds, 1);

		good = train(&trials[3].settings, frozen, &train_losses[1], &valid_losses[1]) == CF_OK;
		OK(good && same_double(train_losses[0], train_losses[1]) && same_double(valid_losses[0], valid_losses[1]),
		   "the first fold trains as freezing would have it");
		cf_ratings_destroy(frozen);
	}
	cf_ratings_destroy(ratings);
	free(folds);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

static void
test_empty_folds(void)
{
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];

	test_host_init(&test);
	make_trials(trials);
	ratings = make_ratings(&test.host, 5, 0, 1);
	OK(run(&test.host, ratings, 1, trials, 1) == CF_NO_RATINGS, "nothing held out");
	OK(run(&test.host, ratings, 50, trials, 1) == CF_NO_RATINGS, "more folds than ratings");
	cf_ratings_destroy(ratings);
	ratings = make_ratings(&test.host, 1, 0.2, 1);
	OK(run(&test.host, ratings, 1, trials, 1) == CF_NO_RATINGS &&
	   run(&test.host, ratings, 2, trials, 1) == CF_NO_RATINGS, "one rating");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* ---------- threads ---------- */

static void
test_threads(uint32_t n_folds)
{
	static const uint32_t threads[] = {2, 3, 8, 100};
	test_host	test;
	cf_ratings *ratings;
	cf_trial	alone[TRIALS];
	cf_trial	trials[TRIALS];
	cf_trial	swap;
	size_t		j;
	bool		good = true;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, n_folds > 1 ? 0 : 0.2, 1);
	make_trials(alone);
	OK(run(&test.host, ratings, n_folds, alone, 1) == CF_OK, "one thread, number of folds %u", n_folds);
	for (j = 0; j < 4; j++)
	{
		make_trials(trials);
		good = good && run(&test.host, ratings, n_folds, trials, threads[j]) == CF_OK &&
			same_trials(alone, trials);
	}
	OK(good, "any number of threads: the same bits");
	cf_ratings_destroy(ratings);

	ratings = make_ratings(&test.host, 3000, n_folds > 1 ? 0 : 0.2, 1777);
	make_trials(trials);
	for (j = 0; j < TRIALS / 2; j++)
	{
		swap = trials[j];
		trials[j] = trials[TRIALS - 1 - j];
		trials[TRIALS - 1 - j] = swap;
	}
	OK(run(&test.host, ratings, n_folds, trials, 2) == CF_OK && same_trials(alone, trials),
	   "any order of trials and ratings, too");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* ---------- divergence and failure ---------- */

typedef struct reports
{
	uint32_t	n;
	bool		wrong;			/* a trial twice, or the count is not the number so far */
	bool		seen[TRIALS];
	jmp_buf    *target;			/* jump at the second */
} reports;

static void
note_report(void *context, const cf_trial *trial, uint32_t n_finished)
{
	reports    *r = context;

	r->n++;
	r->wrong = r->wrong || r->seen[trial->number] || n_finished != r->n ||
		!(isnan(trial->train_loss) || trial->train_loss > 0) || !(trial->seconds > 0);
	r->seen[trial->number] = true;
	if (r->target != NULL && r->n == 2)
		longjmp(*r->target, 1);
}

static void
test_divergence(uint32_t n_threads)
{
	const cf_solver *adam = cf_solver_named("adam");
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];
	reports		r = {0};
	bool		good;
	int			j;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, 0.2, 1);
	make_trials(trials);
	trials[1].settings.use_range = false;
	trials[1].settings.schedule.cycle.lr_max = 1e30;
	trials[1].settings.wd = 0;
	good = run_solver(adam, &test.host, ratings, 1, trials, TRIALS, n_threads, note_report, &r) == CF_OK;
	for (j = 0; j < TRIALS; j++)
		good = good && isnan(trials[j].valid_loss) == (j == 1) && isnan(trials[j].train_loss) == (j == 1);
	OK(good, "one of the trials diverges, number of threads %u", n_threads);
	OK(r.n == TRIALS && !r.wrong, "each is reported once");
	for (j = 0; j < TRIALS; j++)
		trials[j].settings = trials[1].settings;
	good = run(&test.host, ratings, 1, trials, n_threads) == CF_OK;
	for (j = 0; j < TRIALS; j++)
		good = good && isnan(trials[j].valid_loss);
	OK(good, "all of them do");
	cf_ratings_destroy(ratings);

	/* what a training refuses */
	cf_ratings_create(&test.host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings);
	for (j = 0; j < 100; j++)
		cf_ratings_add(ratings, integer_key(j % 7), integer_key(j), j % 2 == 0 ? 1e30f : -1e30f);
	cf_ratings_freeze(ratings, 42, 0.2);
	make_trials(trials);
	for (j = 0; j < TRIALS; j++)
		trials[j].settings.use_range = false;
	OK(run(&test.host, ratings, 1, trials, n_threads) == CF_TOO_LARGE, "another failure ends it all");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* ---------- stops ---------- */

static void
test_stops(uint32_t n_threads)
{
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];
	size_t		before;
	long		polls;
	long		at;
	int			stopped = 0;
	bool		good = true;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, 0, 1);
	before = test.host.used;
	test.polls = 0;
	make_trials(trials);
	good = run(&test.host, ratings, 3, trials, 1) == CF_OK;
	polls = test.polls;
	for (at = 1; at <= polls; at += 1 + polls / (FOR_RACES ? 6 : 20))
	{
		cf_status	status;

		test.polls = 0;
		test.stop_at = at;
		status = run(&test.host, ratings, 3, trials, n_threads);
		/* the more the other threads do, the fewer are the caller's polls */
		good = good && test.host.used == before &&
			(status == CF_STOPPED || (status == CF_OK && n_threads > 1 && test.polls < at));
		stopped += status == CF_STOPPED;
	}
	OK(good && stopped >= 2 && polls > 50, "number of threads %u: %d stops at one of %ld polls", n_threads, stopped, polls);
	test.stop_at = 0;
	make_trials(trials);
	OK(run(&test.host, ratings, 3, trials, n_threads) == CF_OK, "and once more without");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* A host that jumps out of a poll, as a server's error does. */
typedef struct jumping_host
{
	test_host	test;			/* first: support.h casts */
	jmp_buf		target;
} jumping_host;

static bool
jump_at_stop(void *context)
{
	jumping_host *jumping = context;

	if (test_should_stop(context))
		longjmp(jumping->target, 1);
	return false;
}

/* AddressSanitizer tells whether anything of the caller's run is left. */
static void
test_jumps(uint32_t n_threads, bool by_report)
{
	static jumping_host jumping;
	static cf_ratings *ratings;
	static cf_trial trials[TRIALS];
	static cf_tune *tune;
	static cf_pool *pool;
	static reports r;
	static volatile int jumps;
	static volatile long at;
	static volatile size_t before;
	static volatile bool good;

	test_host_init(&jumping.test);
	jumping.test.host.should_stop = jump_at_stop;
	ratings = make_ratings(&jumping.test.host, 3000, 0, 1);
	before = jumping.test.host.used;
	jumps = 0;
	good = true;
	for (at = 2; at < 60; at += 3)
	{
		jumping.test.polls = 0;
		jumping.test.stop_at = by_report ? 0 : at;
		make_trials(trials);
		memset(&r, 0, sizeof(r));
		if (by_report)
			r.target = &jumping.target;
		tune = NULL;
		pool = NULL;
		if (setjmp(jumping.target) == 0)
		{
			good = good && cf_tune_create(&jumping.test.host, cf_solver_named("adam"), ratings, 42, 3, trials,
										  TRIALS, n_threads, &tune) == CF_OK &&
				cf_pool_create(cf_tune_host(tune), n_threads, &pool) == CF_OK;
			(void) cf_tune_run(tune, pool, note_report, &r);
		}
		else
			jumps++;
		cf_tune_stop(tune);
		cf_pool_destroy(pool);
		cf_tune_destroy(tune);
		good = good && jumping.test.host.used == before;
	}
	OK(good && jumps > 3, "number of threads %u: %d jumps out of a %s", n_threads, jumps, by_report ? "report" : "poll");
	cf_ratings_destroy(ratings);
	OK(jumping.test.blocks == 0 && jumping.test.host.used == 0, "all given back");
}

/* ---------- memory ---------- */

static void
test_memory(uint32_t n_folds, uint32_t n_threads)
{
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];
	size_t		before;
	size_t		wanted;
	long		requests;
	long		at;
	bool		good = true;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, n_folds > 1 ? 0 : 0.2, 1);
	before = test.host.used;
	make_trials(trials);
	test.host.limit = 200000;	/* the ratings, but not the trainings */
	OK(run(&test.host, ratings, n_folds, trials, n_threads) == CF_MEMORY_LIMIT, "over the limit, before any trial");
	wanted = test.host.wanted;
	OK(trials[0].seconds == 0 && trials[TRIALS - 1].seconds == 0 && test.host.used == before && wanted > before,
	   "%zu bytes are wanted", wanted);

	/* the stacks of threads come on top, and are checked with the pool */
	test.host.limit = wanted;
	at = run(&test.host, ratings, n_folds, trials, n_threads);
	OK(n_threads == 1 ? at == CF_MEMORY_LIMIT || at == CF_OK : at == CF_MEMORY_LIMIT && test.host.wanted > wanted + 100000,
	   "threads' stacks count");
	test.host.limit = test.host.wanted > wanted ? test.host.wanted : wanted + 1000;
	OK(run(&test.host, ratings, n_folds, trials, n_threads) == CF_OK, "with as much as that, it runs");
	test.host.limit = SIZE_MAX;

	test.requests = 0;
	(void) run(&test.host, ratings, n_folds, trials, n_threads);
	requests = test.requests;
	for (at = 1; at <= requests; at++)
	{
		test.requests = 0;
		test.fail_at = at;
		good = good && run(&test.host, ratings, n_folds, trials, n_threads) == CF_NO_MEMORY &&
			test.host.used == before;
	}
	OK(good && requests >= 5, "each of %ld requests that fails: CF_NO_MEMORY, and all is given back", requests);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* A run may take what was computed for it and no more: a neural model, too. */
static void
test_neural(void)
{
	static cf_blas blas;
	test_host	test;
	cf_ratings *ratings;
	cf_trial	trials[TRIALS];
	cf_trial	again[TRIALS];
	void	   *library;
	bool		good = true;
	int			j;

	/* as the server loads it: with no threads of its own */
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (library != NULL)
		*(void **) &blas.sgemm = dlsym(library, "sgemm_");
	if (blas.sgemm == NULL)
	{
		OK(true, "a neural model # SKIP OpenBLAS is not here: skipped");
		return;
	}
	test_host_init(&test);
	ratings = make_ratings(&test.host, 3000, 0, 1);
	make_trials(trials);
	for (j = 0; j < TRIALS; j++)
	{
		trials[j].settings.use_bias = false;
		trials[j].settings.net = (cf_net_shape) {.user_factors = 5, .item_factors = 4 + (uint32_t) j, .n_layers = 2,
			.layers = {10, 5}, .batch_norm = true};
		trials[j].settings.dropout = j == 2 ? 0.2 : 0;
		trials[j].settings.blas = &blas;
	}
	memcpy(again, trials, sizeof(trials));
	OK(run_solver(cf_solver_named("mlp"), &test.host, ratings, 3, trials, TRIALS, 1, NULL, NULL) == CF_OK &&
	   run_solver(cf_solver_named("mlp"), &test.host, ratings, 3, again, TRIALS, 3, NULL, NULL) == CF_OK,
	   "a neural model");
	for (j = 0; j < TRIALS; j++)
		good = good && trials[j].valid_loss > 0 && trials[j].valid_loss < 3;
	OK(good && same_trials(trials, again), "trains, on threads too, to the same bits");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* ---------- random search ---------- */

static void
test_draw(void)
{
	enum {GRID = 60};
	test_host	test;
	uint32_t	few[GRID];
	uint32_t	more[GRID];
	uint32_t	counts[GRID] = {0};
	uint64_t	seed;
	uint32_t	n;
	uint32_t	j;
	uint32_t	k;
	bool		good = true;
	bool		nested = true;
	bool		fair = true;

	test_host_init(&test);
	for (n = 1; n <= GRID; n++)
	{
		good = good && cf_tune_draw(&test.host, 42, GRID, n, more) == CF_OK && more[n - 1] < GRID;
		for (j = 1; j < n; j++)
			good = good && more[j] > more[j - 1];
		for (j = 0; j + 1 < n; j++)
		{
			for (k = 0; k < n && more[k] != few[j]; k++)
				;
			nested = nested && k < n;
		}
		memcpy(few, more, sizeof(few));
	}
	OK(good, "numbers of the grid, all different, ascending");
	OK(nested, "fewer are among more");
	for (seed = 0; seed < 6000; seed++)
	{
		(void) cf_tune_draw(&test.host, seed, GRID, 6, few);
		for (j = 0; j < 6; j++)
			counts[few[j]]++;
	}
	/* 600 each is expected, with a deviation of 23 */
	for (j = 0; j < GRID; j++)
		fair = fair && counts[j] > 480 && counts[j] < 720;
	OK(fair, "over many seeds, each as often");
	test.fail_at = 1 + test.requests;
	good = cf_tune_draw(&test.host, 42, GRID, 6, few) == CF_NO_MEMORY;
	test.fail_at = 2 + test.requests;
	OK(good && cf_tune_draw(&test.host, 42, GRID, 6, few) == CF_NO_MEMORY && test.blocks == 0, "no memory");
}

int
main(void)
{
	test_one_fold();
	test_folds(2);
	test_folds(5);
	test_empty_folds();
	test_threads(1);
	test_threads(3);
	test_divergence(1);
	test_divergence(3);
	test_stops(1);
	test_stops(3);
	test_jumps(1, false);
	test_jumps(3, false);
	test_jumps(1, true);
	test_jumps(3, true);
	test_memory(1, 1);
	test_memory(3, 3);
	test_neural();
	test_draw();
	return tap_done();
}
