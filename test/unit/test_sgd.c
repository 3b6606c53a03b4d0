/*
 * test_sgd.c: stochastic gradient descent over a grid: its step is the
 * gradient's, an epoch meets each rating once, threads do not matter, and it
 * finds what was planted.
 */
#include "tap.h"
#include "support.h"
#include "cf_sgd.h"

static const cf_settings plain = {.n_factors = 6, .n_epochs = 12, .wd = 0.01,
	.schedule.cycle = {0.1, 0.25, 25, 1e3, 0.85, 0.95}, .seed = 42, .use_bias = true,
.use_range = true, .low = 0, .high = 6};

#define FACTORS		3

/* Planted factors of a key: the same wherever they are asked for. */
static double
planted(uint64_t key, int factor)
{
	uint64_t	counter = key * 16 + (uint64_t) factor;

	return draw_unit(&counter) * 2 - 1;
}

/* Ratings about 3, of planted factors, on "scale" times the scale. */
static cf_ratings *
make_ratings(cf_host *host, uint32_t n_users, uint32_t n_items, size_t n, double noise, double scale,
			 double valid_part)
{
	cf_ratings *ratings;
	uint64_t	counter = 7;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	user = draw(&counter) % n_users;
		uint64_t	item = draw(&counter) % n_items;
		double		value = 3 + noise * (draw_unit(&counter) + draw_unit(&counter) - 1);
		int			f;

		for (f = 0; f < FACTORS; f++)
			value += 0.8 * planted(user, f) * planted(1000000 + item, f);
		if (cf_ratings_add(ratings, integer_key((int64_t) user), integer_key((int64_t) item),
						   (float) (scale * value)) != CF_OK)
			break;
	}
	if (j < n || cf_ratings_freeze(ratings, 1, valid_part) != CF_OK)
	{
		cf_ratings_destroy(ratings);
		return NULL;
	}
	return ratings;
}

/* Train on so many threads, in a pool made anew for each epoch. */
static cf_status
train(cf_host *host, const cf_settings *s, cf_ratings *ratings, uint32_t n_threads,
	  cf_model *model, cf_epoch *report)
{
	cf_training *training;
	cf_pool    *pool;
	cf_status	status;
	uint32_t	epoch;

	cf_model_init(model, host);
	status = cf_pool_create(host, n_threads, &pool);
	if (status != CF_OK)
		return status;
	status = cf_training_begin(&cf_sgd, s, ratings, model, NULL, NULL, pool, &training);
	cf_pool_destroy(pool);
	for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
	{
		status = cf_pool_create(host, n_threads, &pool);
		if (status == CF_OK)
			status = cf_training_epoch(training, pool, report);
		cf_pool_destroy(status == CF_NO_MEMORY ? NULL : pool);
	}
	if (status == CF_OK || epoch > 0)
		cf_training_end(training);
	return status;
}

/* ---------- the step ---------- */

#define K	5

static double
objective(const double *p, const double *q, double value, double wd)
{
	double		logit = p[K] + q[K];
	double		squares = 0;
	double		error;
	int			j;

	for (j = 0; j < K; j++)
		logit += p[j] * q[j];
	for (j = 0; j <= K; j++)
		squares += p[j] * p[j] + q[j] * q[j];
	error = value - 6 / (1 + exp(-logit));
	return error * error / 2 + wd * squares / 2;
}

/* d objective / d x by central differences */
static double
slope(double *x, const double *p, const double *q, double value, double wd)
{
	const double step = 1e-5;
	double		held = *x;
	double		up;
	double		down;

	*x = held + step;
	up = objective(p, q, value, wd);
	*x = held - step;
	down = objective(p, q, value, wd);
	*x = held;
	return (up - down) / (2 * step);
}

static void
test_gradient(void)
{
	const float rate = 0.01f;
	const double wd = 0.3;
	const cf_sgd_step s = {.n_factors = K, .stride = 8, .keep = (float) (1 - rate * wd), .rate = rate,
	.bias_gain = 1, .use_range = true, .low = 0, .span = 6};
	const cf_kernels *kernels = cf_kernels_best();
	uint64_t	counter = 3;
	double		worst = 0;
	int			round;

	for (round = 0; round < 50; round++)
	{
		float		row[8] = {0};
		float		item[8] = {0};
		cf_sgd_batch batch = {.users = {row}, .items = {item}, .size = 1};
		cf_sgd_batch next = {.size = 0};
		double		p[K + 1];
		double		q[K + 1];
		int			j;

		batch.values[0] = (float) (draw_unit(&counter) * 5);
		for (j = 0; j < CF_SGD_BATCH; j++)
			next.items[j] = item;
		for (j = 0; j <= K; j++)
		{
			p[j] = row[j] = (float) (draw_unit(&counter) * 2 - 1);
			q[j] = item[j] = (float) (draw_unit(&counter) * 2 - 1);
		}
		(void) kernels->sgd_step(&s, &batch, &next);
		for (j = 0; j <= K; j++)
		{
			worst = fmax(worst, fabs((p[j] - row[j]) / rate - slope(&p[j], p, q, batch.values[0], wd)));
			worst = fmax(worst, fabs((q[j] - item[j]) / rate - slope(&q[j], p, q, batch.values[0], wd)));
		}
	}
	OK(worst < 2e-4, "a step goes down the gradient of the objective (%.1e)", worst);
}

/* ---------- the grid ---------- */

/* At a rate of nothing the loss of an epoch is that of the start. */
static void
test_each_once(uint32_t n_users, uint32_t n_items, size_t n)
{
	cf_settings s = plain;
	cf_host		host;
	cf_ratings *ratings;
	cf_model	model;
	cf_epoch	report;
	double		loss = 0;
	cf_status	status;

	s.n_epochs = 1;
	s.wd = 0;
	s.schedule.cycle.lr_max = 1e-30;
	cf_host_init(&host);
	ratings = make_ratings(&host, n_users, n_items, n, 0.3, 1, 0);
	status = train(&host, &s, ratings, 2, &model, &report);
	OK(status == CF_OK &&
	   cf_model_loss(&model, ratings->rows, ratings->n_train, &loss) == CF_OK &&
	   fabs(report.train_loss - loss) < 1e-5 * loss,
	   "%u x %u, %zu ratings: an epoch meets each once (%.6f, %.6f)", n_users, n_items, n,
	   report.train_loss, loss);
	OK(cf_ratings_sort(&host, ratings->rows, ratings->n_train) == CF_OK &&
	   ratings->rows[0].user == 0, "and loses none");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static bool
same_side(const cf_side *a, const cf_side *b)
{
	return memcmp(a->rows, b->rows, (size_t) a->n_rows * a->stride * sizeof(float)) == 0;
}

static void
test_threads(uint32_t n_users, uint32_t n_items, size_t n, uint32_t n_factors)
{
	cf_settings s = plain;
	cf_host		host;
	cf_ratings *ratings;
	cf_model	alone;
	cf_model	model;
	cf_epoch	first;
	cf_epoch	report;
	uint32_t	n_threads;
	cf_status	status;

	s.n_epochs = 3;
	s.n_factors = n_factors;
	cf_host_init(&host);
	ratings = make_ratings(&host, n_users, n_items, n, 0.3, 1, 0.1);
	status = train(&host, &s, ratings, 1, &alone, &first);
	OK(status == CF_OK, "%u x %u: one thread", n_users, n_items);
	for (n_threads = 2; n_threads <= 5; n_threads++)
	{
		status = train(&host, &s, ratings, n_threads, &model, &report);
		OK(status == CF_OK &&
		   same_side(&alone.users, &model.users) && same_side(&alone.items, &model.items) &&
		   report.train_loss == first.train_loss && report.valid_loss == first.valid_loss,
		   "the same bits from %u", n_threads);
		cf_model_release(&model);
	}
	cf_model_release(&alone);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

/* ---------- the result ---------- */

static void
test_planted(void)
{
	cf_host		host;
	cf_ratings *ratings;
	cf_ratings *scaled;
	cf_settings s = plain;
	cf_model	model;
	cf_model	larger;
	cf_epoch	report;
	cf_epoch	of_larger;
	cf_status	status;

	/* noise of a triangle of half-width 0.3: its variance is 0.015 */
	cf_host_init(&host);
	ratings = make_ratings(&host, 400, 300, 40000, 0.3, 1, 0.1);
	status = train(&host, &s, ratings, 2, &model, &report);
	OK(status == CF_OK && report.valid_loss < 0.03,
	   "finds what was planted: %.4f of 0.015", report.valid_loss);

	scaled = make_ratings(&host, 400, 300, 40000, 0.3, 100, 0.1);
	s.high = 600;
	status = train(&host, &s, scaled, 2, &larger, &of_larger);
	OK(status == CF_OK &&
	   fabs(of_larger.valid_loss / report.valid_loss - 1e4) < 100,
	   "whatever the scale of the ratings: %.2f", of_larger.valid_loss);
	cf_model_release(&larger);

	s = plain;
	s.use_range = false;
	status = train(&host, &s, ratings, 2, &larger, &of_larger);
	OK(status == CF_OK && of_larger.valid_loss < 0.05,
	   "without a range: %.4f", of_larger.valid_loss);
	cf_model_release(&larger);

	s = plain;
	s.use_bias = false;
	status = train(&host, &s, ratings, 2, &larger, &of_larger);
	OK(status == CF_OK && of_larger.valid_loss < 0.05 &&
	   cf_side_bias(&larger.users, 5) == 0 && cf_side_bias(&larger.items, 5) == 0,
	   "without biases, which stay 0: %.4f", of_larger.valid_loss);
	cf_model_release(&larger);
	cf_model_release(&model);
	cf_ratings_destroy(scaled);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

/*
 * Somebody rates the same few items again and again: their ratings stand
 * together, and moved together they would move their rows by many times the rate.
 */
static void
test_repeated(void)
{
	cf_host		host;
	cf_ratings *ratings;
	cf_settings s = plain;
	cf_model	model;
	cf_epoch	report;
	cf_status	status = CF_OK;
	double		worst = 0;
	int			j;

	cf_host_init(&host);
	if (cf_ratings_create(&host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return;
	for (j = 0; j < 8000 && status == CF_OK; j++)
		status = cf_ratings_add(ratings, integer_key(j / 4000 == 0 ? 0 : j % 40), integer_key(j / 50 % 20),
								j / 50 % 2 == 0 ? 1 : 5);
	s.n_epochs = 3;
	s.schedule.cycle.lr_max = 0.3;
	if (status == CF_OK)
		status = cf_ratings_freeze(ratings, 1, 0);
	for (s.seed = 1; s.seed <= 4 && status == CF_OK; s.seed++)
	{
		status = train(&host, &s, ratings, 1, &model, &report);
		worst = fmax(worst, report.train_loss);
		cf_model_release(&model);
	}
	OK(status == CF_OK && worst < 0.1, "ratings given again and again: %.4f", worst);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
test_little(const char *name, uint32_t n_users, uint32_t n_items, size_t n, double scale)
{
	cf_settings s = plain;
	cf_host		host;
	cf_ratings *ratings;
	cf_model	model;
	cf_epoch	report;
	cf_status	status;

	cf_host_init(&host);
	ratings = make_ratings(&host, n_users, n_items, n, 0.3, scale, 0);
	status = train(&host, &s, ratings, 3, &model, &report);
	OK(status == CF_OK && isfinite(report.train_loss),
	   "%s: %.4f", name, report.train_loss);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

/* Steps are the strata, of which an epoch of a small table has n_parts = 4. */
#define EPOCH	4
#define STEPS	(20 * EPOCH)

static void
test_steps(void)
{
	cf_settings s = plain;
	cf_host		host;
	cf_ratings *ratings;
	cf_model	model;
	cf_training *training;
	double		loss = 0;
	double		first = 0;		/* epoch */
	double		last = 0;
	int			j;
	bool		good = true;

	s.n_steps = STEPS;
	cf_host_init(&host);
	ratings = make_ratings(&host, 100, 80, 3000, 0.3, 1, 0);
	cf_model_init(&model, &host);
	if (cf_training_begin(&cf_sgd, &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK)
	{
		OK(false, "steps: begin");
		return;
	}
	for (j = 0; j < STEPS; j++)
	{
		good = good && cf_training_step(training, NULL, &loss) == CF_OK && isfinite(loss) && loss > 0;
		if (j < EPOCH)
			first += loss / EPOCH;
		if (j >= STEPS - EPOCH)
			last += loss / EPOCH;
	}
	OK(good && last < first / 4, "steps, whose loss falls: %.3f to %.3f", first, last);
	OK(cf_training_step(training, NULL, &loss) == CF_TOO_MANY, "and come to an end");
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
test_memory(void)
{
	cf_settings s = plain;
	test_host	test;
	cf_ratings *ratings;
	cf_model	model;
	cf_epoch	report;
	size_t		predicted;
	size_t		before;
	long		total;
	long		at;
	bool		good = true;
	cf_status	status;

	s.n_epochs = 2;
	test_host_init(&test);
	ratings = make_ratings(&test.host, 60, 50, 2000, 0.3, 1, 0.1);
	before = test.host.used;
	predicted = cf_training_memory(&cf_sgd, &s, cf_dict_count(ratings->users),
								   cf_dict_count(ratings->items), ratings->n_train, 1);
	test.host.peak = before;
	test.requests = 0;
	status = train(&test.host, &s, ratings, 1, &model, &report);
	OK(status == CF_OK &&
	   test.host.peak - before <= predicted && predicted < 2 * (test.host.peak - before),
	   "takes no more bytes than it says: %zu of %zu", test.host.peak - before, predicted);
	cf_model_release(&model);
	total = test.requests;
	for (at = 1; at <= total; at++)
	{
		test.requests = 0;
		test.fail_at = at;
		good = good && train(&test.host, &s, ratings, 1, &model, &report) == CF_NO_MEMORY;
		cf_model_release(&model);
		good = good && test.host.used == before;
	}
	OK(good, "each of %ld requests that fails: CF_NO_MEMORY, and all is given back", total);
	test.fail_at = 0;

	test.polls = 0;
	(void) train(&test.host, &s, ratings, 1, &model, &report);
	cf_model_release(&model);
	total = test.polls;
	for (at = 1; at <= total; at++)
	{
		test.polls = 0;
		test.stop_at = at;
		good = good && train(&test.host, &s, ratings, 1, &model, &report) == CF_STOPPED;
		cf_model_release(&model);
	}
	OK(good, "each of %ld polls stops it", total);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
}

int
main(void)
{
	test_gradient();
	test_each_once(1, 1, 1);
	test_each_once(3, 2, 50);
	test_each_once(1000, 700, 20000);
	test_each_once(2, 3000, 6000);
	test_threads(300, 200, 9000, 6);
	test_threads(4000, 3000, 60000, 60);
	test_threads(2, 500, 800, 3);
	test_planted();
	test_repeated();
	test_little("one rating", 1, 1, 1, 1);
	test_little("one user", 1, 50, 200, 1);
	test_little("one item", 50, 1, 200, 1);
	test_little("all equal", 50, 50, 200, 0);
	test_steps();
	test_memory();
	return tap_done();
}
