/*
 * test_lr_find.c: the learning-rate range test, and what its curve suggests.
 */
#include "tap.h"
#include "support.h"
#include "cf_lr_find.h"

#define MOST	400

static const cf_settings recipe = {.n_factors = 6, .n_epochs = 5, .batch_size = 32, .wd = 0.1,
	.schedule.cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95}, .seed = 42, .use_bias = true, .use_range = true,
.low = 0, .high = 5.5f};

/* ---------- the valley ---------- */

/*
 * fastai's valley(), line by line, on what its lr_find() hands to it: all but
 * the first tenth and the last five.  -1 where it has no point.
 */
static int
fastai_valley(const cf_lr_probe *probes, int n_probes, int num_it)
{
	int			first = num_it / 10;
	int			n = n_probes - 5 - first;
	int			lds[MOST];
	int			max_start = 0;
	int			max_end = 0;
	double		sections;
	int			i;
	int			j;

	for (i = 0; i < n; i++)
		lds[i] = 1;
	for (i = 1; i < n; i++)
	{
		for (j = 0; j < i; j++)
		{
			if (probes[first + i].smoothed < probes[first + j].smoothed && lds[i] < lds[j] + 1)
				lds[i] = lds[j] + 1;
			if (lds[max_end] < lds[i])
			{
				max_end = i;
				max_start = max_end - lds[max_end];
			}
		}
	}
	sections = (max_end - max_start) / 3.0;
	i = max_start + (int) sections + (int) (sections / 2);
	return n > 0 && i >= 0 ? first + i : -1;
}

/* Rates over eight decades; the loss is of their logarithm. */
static void
make_curve(cf_lr_probe *probes, uint32_t n, uint32_t n_steps, double (*loss) (double log_rate))
{
	uint32_t	i;

	for (i = 0; i < n; i++)
	{
		double		log_rate = -7.0 + 8.0 * i / n_steps;

		probes[i].rate = pow(10, log_rate);
		probes[i].loss = loss(log_rate);
		probes[i].smoothed = probes[i].loss;
	}
}

/* Lowest at 10^-2, steep after that. */
static double
u_shape(double x)
{
	return x < -2 ? 1 + 0.1 * (x + 2) * (x + 2) : 1 + 2 * (x + 2) * (x + 2);
}

/* Falls from 10^-4 on, by a tenth for a decade, and rises from 10^-1 on. */
static double
plateau(double x)
{
	return x < -4 ? 2.0 : x < -1 ? 2.0 - 0.1 * (x + 4) : 1.7 + (x + 1);
}

static double
flat(double x)
{
	(void) x;
	return 1.5;
}

static double
rising(double x)
{
	return 10 + x;
}

/* Falls by half a percent in all. */
static double
hardly(double x)
{
	return 1.0 - 0.005 * (x + 7) / 8;
}

static double
falling(double x)
{
	return 10 - x;
}

/* The suggestion; n where there is none. */
static uint32_t
valley_of(const cf_lr_probe *probes, uint32_t n, uint32_t n_steps)
{
	test_host	test;
	uint32_t	suggested = 12345;

	test_host_init(&test);
	if (cf_lr_valley(&test.host, probes, n, n_steps, &suggested) != CF_OK || test.blocks != 0)
		return 54321;
	return suggested;
}

static void
test_valley(void)
{
	cf_lr_probe probes[MOST];
	uint32_t	at;

	/* 90 points, the lowest is number 52: a span of 53 from -1 on, 17 and 8 into it */
	make_curve(probes, 100, 100, u_shape);
	at = valley_of(probes, 100, 100);
	OK(at == 10 + 52 - 53 + 17 + 8 && fastai_valley(probes, 100, 100) == (int) at,
	   "U-shape: half way down, step %u, rate %.1e", at, probes[at].rate);
	make_curve(probes, 100, 100, plateau);
	at = valley_of(probes, 100, 100);
	OK((int) at == fastai_valley(probes, 100, 100) && probes[at].rate > 1e-4 && probes[at].rate < 1e-1,
	   "after a plateau: step %u, rate %.1e", at, probes[at].rate);
	make_curve(probes, 100, 100, falling);
	at = valley_of(probes, 100, 100);
	OK(at == 10 - 1 + 28 + 14 && fastai_valley(probes, 100, 100) == (int) at, "falling all along");
	make_curve(probes, 60, 100, u_shape);
	at = valley_of(probes, 60, 100);
	OK(at == 10 - 1 + 15 + 7 && fastai_valley(probes, 60, 100) == (int) at, "a test that ended early");
}

/* fastai's rule on many noisy curves, wherever it suggests something. */
static void
test_noise(void)
{
	cf_lr_probe probes[MOST];
	uint64_t	counter = 0;
	int			same = 0;
	int			none = 0;
	int			round;
	uint32_t	i;

	for (round = 0; round < 200; round++)
	{
		uint32_t	n_steps = 50 + (uint32_t) (draw(&counter) % (MOST - 50));
		uint32_t	n = n_steps - (uint32_t) (draw(&counter) % (n_steps / 4));
		double		noise = 0.3 * draw_unit(&counter);
		uint32_t	at;

		make_curve(probes, n, n_steps, round % 2 == 0 ? u_shape : plateau);
		for (i = 0; i < n; i++)
			probes[i].smoothed += noise * draw_unit(&counter);
		at = valley_of(probes, n, n_steps);
		same += (int) at == fastai_valley(probes, (int) n, (int) n_steps);
		none += at == n;
	}
	OK(same + none == 200 && none < 20, "200 noisy curves: %d as fastai, %d without suggestion", same, none);
}

static void
test_guards(void)
{
	cf_lr_probe probes[MOST];
	uint32_t	n;
	uint32_t	at;
	bool		good = true;

	make_curve(probes, 100, 100, flat);
	OK(valley_of(probes, 100, 100) == 100, "flat: nothing");
	make_curve(probes, 100, 100, rising);
	OK(valley_of(probes, 100, 100) == 100, "rising: nothing");
	make_curve(probes, 100, 100, hardly);
	OK(valley_of(probes, 100, 100) == 100, "hardly falling: nothing");

	/* five points are left of 20 */
	make_curve(probes, 100, 100, falling);
	for (n = 0; n < 20; n++)
		good = good && valley_of(probes, n, 100) == n;
	OK(good, "short records: nothing");
	OK(valley_of(probes, 20, 100) < 20, "and the shortest that suggests");
	good = true;
	for (n = 0; n <= 100; n++)
		good = good && valley_of(probes, n, 100) <= n;
	OK(good, "the suggestion is always one of the probes, or none");

	make_curve(probes, 100, 100, u_shape);
	probes[50].smoothed = NAN;
	at = valley_of(probes, 100, 100);
	OK(at > 10 && at < 50, "NaN in the middle: of what is before it");
	probes[50].smoothed = INFINITY;
	OK(valley_of(probes, 100, 100) == at, "and so for infinity");
	probes[12].smoothed = NAN;
	OK(valley_of(probes, 100, 100) == 100, "too little before it: nothing");
	for (n = 0; n < 100; n++)
		probes[n].smoothed = NAN;
	OK(valley_of(probes, 100, 100) == 100, "all NaN: nothing");
}

static void
test_valley_fails(void)
{
	cf_lr_probe probes[MOST];
	test_host	test;
	uint32_t	suggested;
	bool		good = true;
	long		at;

	make_curve(probes, 100, 100, u_shape);
	for (at = 1; at <= 2; at++)
	{
		test_host_init(&test);
		test.fail_at = at;
		good = good && cf_lr_valley(&test.host, probes, 100, 100, &suggested) == CF_NO_MEMORY &&
			suggested == 100 && test.blocks == 0;
	}
	OK(good, "no memory for the valley");
	test_host_init(&test);
	test.stop_at = 20;
	OK(cf_lr_valley(&test.host, probes, 100, 100, &suggested) == CF_STOPPED && suggested == 100 &&
	   test.blocks == 0, "a stop in the valley");
}

/* ---------- the test itself ---------- */

/* "order" changes the order in which the ratings come, not what they are. */
static cf_ratings *
make_ratings(cf_host *host, size_t n, uint64_t order)
{
	cf_ratings *ratings;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	counter = (j * order) % n * 1000;
		uint64_t	u = draw(&counter) % 60;
		uint64_t	i = draw(&counter) % 40;
		double		truth = sin((double) u) * cos((double) i) + 0.5 * sin(3.0 * (double) u);

		if (cf_ratings_add(ratings, integer_key((int64_t) u), integer_key((int64_t) i),
						   (float) fmin(5, fmax(1, 3 + 1.5 * truth))) != CF_OK)
			break;
	}
	if (j < n || cf_ratings_freeze(ratings, 42, 0.2) != CF_OK)
	{
		cf_ratings_destroy(ratings);
		return NULL;
	}
	return ratings;
}

typedef struct curve
{
	cf_lr_probe probes[MOST];
	uint32_t	n;
	uint32_t	suggested;
} curve;

static cf_status
find(const cf_settings *s, cf_ratings *ratings, double start, double end, uint32_t n_steps, curve *c)
{
	memset(c, 0, sizeof(*c));
	return cf_lr_find(cf_solver_named("adam"), s, ratings, start, end, n_steps, c->probes, &c->n,
					  &c->suggested);
}

static void
test_run(void)
{
	cf_settings s = recipe;
	static curve c;
	test_host	test;
	cf_ratings *ratings;
	double		mean = 0;
	bool		rates = true;
	bool		smooth = true;
	uint32_t	i;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 4000, 1);
	OK(find(&s, ratings, 1e-6, 1, 200, &c) == CF_OK && c.n == 200, "a run of 200 steps, beyond the first epoch");
	for (i = 0; i < c.n; i++)
	{
		rates = rates && fabs(c.probes[i].rate / (1e-6 * pow(1e6, i / 200.0)) - 1) < 1e-9;
		mean = 0.98 * mean + 0.02 * c.probes[i].loss;
		smooth = smooth && fabs(c.probes[i].smoothed - mean / (1 - pow(0.98, i + 1))) < 1e-9;
	}
	OK(rates, "rates rise in equal ratios from start, short of end");
	OK(smooth && c.probes[0].smoothed == c.probes[0].loss, "losses are smoothed");
	OK(c.suggested < c.n && (int) c.suggested == fastai_valley(c.probes, (int) c.n, 200),
	   "suggests a rate of %.1e", c.probes[c.suggested].rate);
	OK(c.probes[c.suggested].smoothed < 0.99 * c.probes[0].smoothed, "where the loss has begun to fall");

	s.n_epochs = 1;
	s.schedule.cycle.lr_max = 77;
	{
		static curve other;

		OK(find(&s, ratings, 1e-6, 1, 200, &other) == CF_OK && memcmp(&c, &other, sizeof(c)) == 0,
		   "epochs and schedule do not count, nor what ran before");
	}
	cf_ratings_destroy(ratings);
	ratings = make_ratings(&test.host, 4000, 1777);
	{
		static curve other;

		OK(find(&s, ratings, 1e-6, 1, 200, &other) == CF_OK && memcmp(&c, &other, sizeof(c)) == 0,
		   "nor does the order in which the ratings came: the same bits");
		s.seed = 43;
		OK(find(&s, ratings, 1e-6, 1, 200, &other) == CF_OK && memcmp(&c, &other, sizeof(c)) != 0,
		   "another seed is another start");
	}
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* Without a range nothing bounds the loss. */
static void
test_divergence(void)
{
	cf_settings s = recipe;
	static curve c;
	test_host	test;
	cf_ratings *ratings;
	double		best = INFINITY;
	bool		early = false;
	uint32_t	i;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 4000, 1);
	s.use_range = false;
	s.wd = 0;
	(void) find(&s, ratings, 1e-4, 100, 300, &c);
	OK(c.n > 20 && c.n < 300, "ends after %u steps of 300", c.n);
	for (i = 0; i < c.n; i++)
	{
		best = fmin(best, c.probes[i].smoothed);
		early = early || (i + 1 < c.n && c.probes[i].smoothed > 4 * best);
	}
	OK(!early && c.probes[c.n - 1].smoothed > 4 * best, "at the first that is above four times the best");

	/* a decay of all of it and more, from the first step on */
	s.wd = 1000;
	OK(find(&s, ratings, 1e30, 1e38, 50, &c) == CF_OK && c.n < 50, "absurd rates end soon");
	OK(!(c.probes[c.n - 1].smoothed <= 4 * best) && c.suggested == c.n, "without a suggestion");
	cf_ratings_destroy(ratings);

	/* one rating */
	cf_ratings_create(&test.host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings);
	cf_ratings_add(ratings, integer_key(1), integer_key(1), 3);
	cf_ratings_freeze(ratings, 42, 0.2);
	OK(find(&recipe, ratings, 1e-7, 10, 100, &c) == CF_OK && c.n > 0 && c.suggested <= c.n, "one rating");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

static void
test_failures(void)
{
	cf_settings s = recipe;
	static curve c;
	test_host	test;
	cf_ratings *ratings;
	size_t		before;
	size_t		predicted;
	long		requests;
	long		polls;
	long		at;
	bool		good = true;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 4000, 1);
	before = test.host.used;
	s.n_steps = 120;
	predicted = cf_training_memory(cf_solver_named("adam"), &s, cf_dict_count(ratings->users),
								   cf_dict_count(ratings->items), ratings->n_train, 1);
	test.host.peak = test.host.used;
	test.requests = test.polls = 0;
	OK(find(&recipe, ratings, 1e-6, 1, 120, &c) == CF_OK && test.host.peak - before == predicted,
	   "takes what a training of as many steps takes: %zu bytes", predicted);
	requests = test.requests;
	polls = test.polls;
	for (at = 1; at <= requests; at++)
	{
		test.requests = 0;
		test.fail_at = at;
		good = good && find(&recipe, ratings, 1e-6, 1, 120, &c) == CF_NO_MEMORY && test.host.used == before;
	}
	test.fail_at = 0;
	OK(good, "each of %ld requests that fails: CF_NO_MEMORY, and all is given back", requests);

	for (at = 1; at <= polls; at++)
	{
		test.polls = 0;
		test.stop_at = at;
		good = good && find(&recipe, ratings, 1e-6, 1, 120, &c) == CF_STOPPED && test.host.used == before;
	}
	test.stop_at = 0;
	OK(good && polls > 100, "each of %ld polls that says stop: CF_STOPPED, and all is given back", polls);

	test.host.limit = before + predicted - 1;
	OK(find(&recipe, ratings, 1e-6, 1, 120, &c) == CF_MEMORY_LIMIT &&
	   test.host.wanted == before + predicted && c.n == 0, "a byte too few: before any step");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

int
main(void)
{
	test_valley();
	test_noise();
	test_guards();
	test_valley_fails();
	test_run();
	test_divergence();
	test_failures();
	return tap_done();
}
