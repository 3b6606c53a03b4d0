/*
 * test_adam.c: the gradient, the deferred optimiser against a dense one
 * written straight from the formulas, and trainings from end to end.
 */
#include "tap.h"
#include "support.h"
#include "cf_adam.h"

static const cf_settings recipe = {.n_factors = 4, .n_epochs = 5, .batch_size = 16, .wd = 0.1,
	.schedule.cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95}, .seed = 42, .use_bias = true, .use_range = true,
.low = 0, .high = 5.5f};

/* ---------- data ---------- */

/* Low-rank ratings; some users and items come once, and so wait for long. */
static cf_ratings *
make_ratings(cf_host *host, size_t n, uint32_t n_users, uint32_t n_items, double valid_part,
			 uint64_t order)
{
	cf_ratings *ratings;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	number = order > 0 ? (j * order) % n : j;
		uint64_t	counter = number * 1000;
		uint64_t	u = draw(&counter) % n_users;
		uint64_t	i = draw(&counter) % n_items;
		double		truth = sin((double) u) * cos((double) i) + sin(2.0 * (double) u) * sin(3.0 * (double) i);

		if (number % 100 == 0)
			u = 1000 + number;
		if (number % 100 == 50)
			i = 1000 + number;
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

/* ---------- gradient ---------- */

static double
exact_loss(const cf_model *model, const cf_rating *rows, size_t n, const double *shift,
		   const float *shifted)
{
	double		sum = 0;
	size_t		j;
	uint32_t	f;

	for (j = 0; j < n; j++)
	{
		const float *p = cf_side_row(&model->users, rows[j].user);
		const float *q = cf_side_row(&model->items, rows[j].item);
		uint32_t	k = model->users.n_factors;
		double		logit = 0;
		double		rating;

		for (f = 0; f < k; f++)
			logit += (p[f] + (p + f == shifted ? *shift : 0)) * (q[f] + (q + f == shifted ? *shift : 0));
		logit += p[k] + (p + k == shifted ? *shift : 0) + q[k] + (q + k == shifted ? *shift : 0);
		rating = model->link == CF_LINK_SIGMOID ?
			model->low + (model->high - model->low) / (1 + exp(-logit)) : logit;
		sum += (rating - rows[j].value) * (rating - rows[j].value);
	}
	return sum / (double) n;
}

static bool
gradient_agrees(cf_model *model, cf_side *side, uint32_t row, const float *gradient,
				const cf_rating *rows, size_t n)
{
	uint32_t	width = side->n_factors + (model->use_bias ? 1 : 0);
	bool		good = true;
	uint32_t	f;

	for (f = 0; f < side->stride; f++)
	{
		const double up = 1e-4,
					down = -1e-4;
		const float *at = cf_side_row(side, row) + f;
		double		slope = f >= width ? 0 :
			(exact_loss(model, rows, n, &up, at) - exact_loss(model, rows, n, &down, at)) / 2e-4;

		good = good && fabs(gradient[f] - slope) < 1e-5;
	}
	return good;
}

static void
test_gradient(bool use_bias, bool use_range)
{
	enum {N = 150, USERS = 4, ITEMS = 5, K = 9, STRIDE = 16};
	cf_rating	rows[N];
	float		user_sums[USERS][STRIDE] = {{0}};
	float		item_sums[ITEMS][STRIDE] = {{0}};
	float	   *user_gradients[N];
	float	   *item_gradients[N];
	cf_model	model;
	cf_host		host;
	uint64_t	counter = 9;
	double		sum;
	const double none = 0;
	bool		good;
	uint32_t	j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	model.use_bias = use_bias;
	model.link = use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
	model.high = 5.5f;
	cf_side_create(&model.users, &host, USERS, K);
	cf_side_create(&model.items, &host, ITEMS, K);
	for (j = 0; j < USERS; j++)
		model.users.n_ratings[j] = 1;
	for (j = 0; j < ITEMS; j++)
		model.items.n_ratings[j] = 1;
	start_alone(&model, 1, 0.5f);
	for (j = 0; j < N; j++)
	{
		rows[j].user = (uint32_t) (draw(&counter) % USERS);
		rows[j].item = (uint32_t) (draw(&counter) % ITEMS);
		rows[j].value = (float) (draw(&counter) % 5) + 1;
		user_gradients[j] = user_sums[rows[j].user];
		item_gradients[j] = item_sums[rows[j].item];
	}
	sum = cf_adam_gradient(&model, rows, N, user_gradients, item_gradients);
	good = fabs(sum / N - exact_loss(&model, rows, N, &none, NULL)) < 1e-4;
	for (j = 0; j < USERS; j++)
		good = good && gradient_agrees(&model, &model.users, j, user_sums[j], rows, N);
	for (j = 0; j < ITEMS; j++)
		good = good && gradient_agrees(&model, &model.items, j, item_sums[j], rows, N);
	OK(good, "gradient, bias %d, range %d", use_bias, use_range);
	cf_model_release(&model);
}

/* ---------- the dense optimiser ---------- */

typedef struct dense
{
	uint32_t	n_users;
	uint32_t	width;			/* factors and bias */
	uint32_t	n_rows;			/* users, then items */
	double	   *p,
			   *m,
			   *v,
			   *g;
	uint32_t	step;
} dense;

static void
dense_start(dense *d, const cf_model *model)
{
	uint32_t	row;
	uint32_t	f;

	d->n_users = model->users.n_rows;
	d->n_rows = d->n_users + model->items.n_rows;
	d->width = model->users.n_factors + 1;
	d->p = calloc((size_t) d->n_rows * d->width * 4, sizeof(double));
	d->m = d->p + (size_t) d->n_rows * d->width;
	d->v = d->m + (size_t) d->n_rows * d->width;
	d->g = d->v + (size_t) d->n_rows * d->width;
	d->step = 0;
	for (row = 0; row < d->n_rows; row++)
		for (f = 0; f < d->width; f++)
			d->p[row * d->width + f] = row < d->n_users ? cf_side_row(&model->users, row)[f] :
				cf_side_row(&model->items, row - d->n_users)[f];
}

static double
dense_gradient(dense *d, const cf_settings *s, const cf_rating *batch, uint32_t n)
{
	double		sum = 0;
	uint32_t	j,
				f;

	memset(d->g, 0, (size_t) d->n_rows * d->width * sizeof(double));
	for (j = 0; j < n; j++)
	{
		size_t		u = (size_t) batch[j].user * d->width;
		size_t		i = ((size_t) d->n_users + batch[j].item) * d->width;
		uint32_t	k = d->width - 1;
		double		logit = d->p[u + k] + d->p[i + k];
		double		share,
					error,
					slope;

		for (f = 0; f < k; f++)
			logit += d->p[u + f] * d->p[i + f];
		share = 1 / (1 + exp(-logit));
		error = (s->use_range ? s->low + (s->high - s->low) * share : logit) - batch[j].value;
		slope = 2 * error / n * (s->use_range ? (s->high - s->low) * share * (1 - share) : 1);
		sum += error * error;
		for (f = 0; f < k; f++)
		{
			d->g[u + f] += slope * d->p[i + f];
			d->g[i + f] += slope * d->p[u + f];
		}
		if (s->use_bias)
		{
			d->g[u + k] += slope;
			d->g[i + k] += slope;
		}
	}
	return sum;
}

static void
dense_step(dense *d, const cf_settings *s, uint32_t steps)
{
	double		x = (double) d->step / steps;
	double		lr = cf_schedule_rate(&s->schedule, x);
	double		beta = cf_schedule_momentum(&s->schedule, x);
	double		t = d->step + 1;
	size_t		j;

	for (j = 0; j < (size_t) d->n_rows * d->width; j++)
	{
		d->p[j] *= 1 - lr * s->wd;
		d->m[j] = beta * d->m[j] + (1 - beta) * d->g[j];
		d->v[j] = 0.99 * d->v[j] + 0.01 * d->g[j] * d->g[j];
		d->p[j] -= lr / (1 - pow(beta, t)) * d->m[j] / (sqrt(d->v[j] / (1 - pow(0.99, t))) + 1e-5);
	}
	d->step++;
}

/* Root mean square of the difference to the model, over that of the start. */
static double
dense_distance(const dense *d, const cf_model *model, double *greatest)
{
	double		sum = 0;
	double		squares = 0;
	uint32_t	row,
				f;

	*greatest = 0;
	for (row = 0; row < d->n_rows; row++)
		for (f = 0; f < d->width; f++)
		{
			double		want = d->p[row * d->width + f];
			double		have = row < d->n_users ? cf_side_row(&model->users, row)[f] :
				cf_side_row(&model->items, row - d->n_users)[f];

			sum += (want - have) * (want - have);
			squares += want * want;
			*greatest = fmax(*greatest, fabs(want - have));
		}
	return sqrt(sum / squares);
}

static void
test_dense(const char *name, cf_settings s, size_t n, double tolerance)
{
	cf_host		host;
	cf_model	model;
	cf_training *training;
	cf_epoch	report;
	cf_rating  *order;
	cf_ratings *ratings;
	dense		d;
	double		worst = 0,
				worst_loss = 0,
				worst_one = 0;
	uint32_t	n_batches;
	uint32_t	epoch,
				b;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	ratings = make_ratings(&host, n, 40, 30, 0, 0);
	order = malloc(n * sizeof(cf_rating));
	memcpy(order, ratings->rows, n * sizeof(cf_rating));
	n_batches = (uint32_t) (n / s.batch_size);
	if (cf_training_begin(&cf_adam, &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK)
		abort();
	dense_start(&d, &model);
	for (epoch = 0; epoch < s.n_epochs; epoch++)
	{
		double		loss = 0,
					greatest;

		cf_ratings_shuffle(&host, order, n, s.seed, epoch);
		for (b = 0; b < n_batches; b++)
		{
			loss += dense_gradient(&d, &s, order + (size_t) b * s.batch_size, s.batch_size);
			dense_step(&d, &s, n_batches * s.n_epochs);
		}
		loss /= (double) n_batches * s.batch_size;
		if (cf_training_epoch(training, NULL, &report) != CF_OK)
			abort();
		worst_loss = fmax(worst_loss, fabs(report.train_loss - loss));
		worst = fmax(worst, dense_distance(&d, &model, &greatest));
		worst_one = fmax(worst_one, greatest);
	}
	OK(worst < tolerance && worst_loss < tolerance,
	   "deferred is dense, %s: parameters %.1e (worst %.1e), loss %.1e", name, worst, worst_one, worst_loss);
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	free(order);
	free(d.p);
}

static void
test_against_dense(void)
{
	cf_settings s = recipe;

	test_dense("recipe", s, 3000, 1e-2);
	s.use_bias = false;
	test_dense("no bias", s, 3000, 1e-2);
	s.use_bias = true;
	s.use_range = false;
	test_dense("no range", s, 3000, 1e-2);
	s = recipe;
	s.batch_size = 1;
	s.schedule.cycle.lr_max = 1e-3;
	test_dense("batches of 1: long waits", s, 3000, 1e-2);
	s = recipe;
	s.batch_size = 3000;
	s.n_epochs = 30;
	test_dense("one batch: no waits", s, 3000, 1e-4);
	s = recipe;
	s.wd = 0;
	s.schedule.cycle.mom_low = s.schedule.cycle.mom_high = 0;
	test_dense("no decay, no momentum", s, 3000, 1e-4);
	s = recipe;
	s.wd = 20;
	test_dense("heavy decay", s, 3000, 1e-2);
}

/* ---------- whole trainings ---------- */

static cf_status
train(cf_host *host, const cf_settings *s, cf_ratings *ratings, cf_model *model, cf_epoch *last)
{
	cf_training *training;
	cf_status	status;
	uint32_t	epoch;

	cf_model_init(model, host);
	status = cf_training_begin(cf_solver_named("adam"), s, ratings, model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
		status = cf_training_epoch(training, NULL, last);
	cf_training_end(training);
	return status;
}

static bool
same_sides(const cf_side *a, const cf_side *b)
{
	return a->n_rows == b->n_rows &&
		memcmp(a->rows, b->rows, (size_t) a->n_rows * a->stride * sizeof(float)) == 0;
}

static void
test_determinism(void)
{
	cf_settings s = recipe;
	cf_host		host;
	cf_model	a,
				b;
	cf_epoch	last;
	cf_ratings *ratings;
	cf_ratings *permuted;

	cf_host_init(&host);
	ratings = make_ratings(&host, 5000, 60, 50, 0.2, 0);
	permuted = make_ratings(&host, 5000, 60, 50, 0.2, 1237);
	OK(train(&host, &s, ratings, &a, &last) == CF_OK, "train");
	OK(train(&host, &s, ratings, &b, &last) == CF_OK && same_sides(&a.users, &b.users) &&
	   same_sides(&a.items, &b.items), "the same ratings once more give the same bits");
	cf_model_release(&b);
	OK(train(&host, &s, permuted, &b, &last) == CF_OK && same_sides(&a.users, &b.users) &&
	   same_sides(&a.items, &b.items), "so do permuted ones");
	cf_model_release(&b);
	s.seed = 43;
	OK(train(&host, &s, ratings, &b, &last) == CF_OK && !same_sides(&a.users, &b.users),
	   "another seed gives others");
	cf_model_release(&a);
	cf_model_release(&b);
	cf_ratings_destroy(ratings);
	cf_ratings_destroy(permuted);
	OK(host.used == 0, "all given back");
}

/* Single steps are the batches of the epochs; the schedule ends with them. */
static void
test_steps(void)
{
	cf_settings s = recipe;
	cf_host		host;
	cf_model	model;
	cf_training *training;
	cf_epoch	report;
	cf_ratings *ratings;
	double		loss,
				sum = 0,
				first = 0;
	bool		good = true;
	uint32_t	j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	ratings = make_ratings(&host, 500, 20, 20, 0, 0);
	s.n_steps = 2 * 500 / 16;
	if (cf_training_begin(&cf_adam, &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK)
		abort();
	for (j = 0; j < s.n_steps; j++)
	{
		good = good && cf_training_step(training, NULL, &loss) == CF_OK && isfinite(loss);
		sum += loss;
		if (j == 500 / 16 - 1)
			first = sum / (j + 1);
	}
	OK(good && cf_training_step(training, NULL, &loss) == CF_TOO_MANY, "as many steps as were asked for");
	cf_training_end(training);
	cf_model_release(&model);
	s.n_steps = 0;
	s.n_epochs = 2;
	if (cf_training_begin(&cf_adam, &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK ||
		cf_training_epoch(training, NULL, &report) != CF_OK)
		abort();
	OK(fabs(report.train_loss - first) < 1e-12, "they are those of the epochs");
	OK(cf_training_epoch(training, NULL, &report) == CF_OK &&
	   fabs(report.train_loss - (2 * sum / s.n_epochs / (500 / 16) - first)) < 1e-3,
	   "also across epochs, but for waits that end with them");
	cf_training_end(training);
	cf_model_release(&model);
	s.n_steps = 40;				/* the second epoch is cut short */
	s.schedule = (cf_schedule) {.kind = CF_SCHEDULE_SWEEP, .sweep = {1e-7, 10, 0.9}};
	if (cf_training_begin(&cf_adam, &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK)
		abort();
	OK(cf_training_epoch(training, NULL, &report) == CF_OK && cf_training_epoch(training, NULL, &report) == CF_OK &&
	   cf_training_epoch(training, NULL, &report) == CF_TOO_MANY, "epochs end with the steps");
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
test_recovery(void)
{
	cf_settings s = recipe;
	cf_host		host;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	double		mean_loss = 0;
	size_t		j;

	cf_host_init(&host);
	ratings = make_ratings(&host, 6000, 60, 50, 0.2, 0);
	for (j = ratings->n_train; j < ratings->n_rows; j++)
		mean_loss += pow(ratings->rows[j].value - ratings->mean, 2) / (double) ratings->n_valid;
	s.n_epochs = 20;
	s.schedule.cycle.lr_max = 2e-2;
	OK(train(&host, &s, ratings, &model, &last) == CF_OK && last.valid_loss < 0.2 * mean_loss,
	   "planted structure is found: %.4f, the mean gives %.4f", last.valid_loss, mean_loss);
	OK(last.epoch == s.n_epochs - 1 && last.train_loss < mean_loss, "report");
	cf_model_release(&model);
	s.use_range = false;
	s.schedule.cycle.lr_max = 1e30;
	OK(train(&host, &s, ratings, &model, &last) == CF_NOT_FINITE, "diverging is found out");
	cf_model_release(&model);
	s.use_range = true;
	s.high = 1e10f;
	OK(train(&host, &s, ratings, &model, &last) == CF_TOO_LARGE, "gradients that would overflow");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
}

static void
test_stops(void)
{
	cf_settings s = recipe;
	test_host	test;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	long		total;
	long		at;
	bool		good = true;

	s.n_factors = 200;
	s.n_epochs = 2;
	s.batch_size = 2000;
	test_host_init(&test);
	ratings = make_ratings(&test.host, 4000, 300, 200, 0.2, 0);
	test.polls = 0;
	OK(train(&test.host, &s, ratings, &model, &last) == CF_OK, "train");
	cf_model_release(&model);
	total = test.polls;

	/* 2 epochs x 3200 ratings x about 10 passes over 204 floats */
	OK(total >= 2 * 3200 * 8 * 204 / 1000000, "polls within batches: %ld", total);
	for (at = 1; at <= total; at++)
	{
		test.polls = 0;
		test.stop_at = at;
		good = good && train(&test.host, &s, ratings, &model, &last) == CF_STOPPED && test.polls == at;
		cf_model_release(&model);
	}
	OK(good, "each poll stops at once");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
}

static void
test_failures(void)
{
	cf_settings s = recipe;
	test_host	test;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	size_t		taken;
	long		fail_at = 0;
	bool		good = true;
	cf_status	status;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 500, 20, 20, 0.2, 0);
	do
	{
		long		blocks = test.blocks;

		test.requests = 0;
		test.fail_at = ++fail_at;
		status = train(&test.host, &s, ratings, &model, &last);
		cf_model_release(&model);
		good = good && test.blocks == blocks && (status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 10, "failing at each of %ld requests", fail_at - 1);

	test.fail_at = 0;
	test.host.peak = test.host.used;
	taken = test.host.used;
	status = train(&test.host, &s, ratings, &model, &last);
	taken = test.host.peak - taken;
	cf_model_release(&model);
	OK(taken == cf_training_memory(&cf_adam, &s, cf_dict_count(ratings->users),
								   cf_dict_count(ratings->items), ratings->n_train, 1),
	   "takes the bytes that it says: %zu", taken);
	test.host.limit = test.host.used + taken - 1;
	test.requests = 0;
	OK(train(&test.host, &s, ratings, &model, &last) == CF_MEMORY_LIMIT && test.requests == 0 &&
	   test.host.wanted == test.host.limit + 1, "the limit is held before anything is taken");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
	OK(cf_training_memory(&cf_adam, &(cf_settings) {.n_factors = 50, .n_epochs = 5, .batch_size = 800},
						  100000, 50000, 1000000, 1) < (size_t) 24 * 51 * 150000, "24 bytes an element");
}

static void
test_degenerate(const char *name, size_t n, uint32_t n_users, uint32_t n_items, bool same_value)
{
	cf_settings s = recipe;
	cf_host		host;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	uint64_t	counter = 1;
	size_t		j;

	cf_host_init(&host);
	cf_ratings_create(&host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings);
	for (j = 0; j < n; j++)
	{
		int64_t		u = (int64_t) (draw(&counter) % n_users);
		int64_t		i = (int64_t) (draw(&counter) % n_items);

		cf_ratings_add(ratings, integer_key(u), integer_key(i),
					   same_value ? 3.0f : (float) (draw(&counter) % 5) + 1);
	}
	cf_ratings_freeze(ratings, 42, 0.2);
	cf_default_range(ratings->low, ratings->high, &s.low, &s.high);
	s.n_factors = 1;
	s.batch_size = 0;
	OK(train(&host, &s, ratings, &model, &last) == CF_OK &&
	   isfinite(cf_model_predict(&model, 0, 0)) && s.low < s.high, "%s: trains", name);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
}

static void
put_marks(void *context, cf_model *model)
{
	cf_side_row(&model->users, 0)[0] = 1;
	*(int *) context += 1;
}

static void
test_warm_start(void)
{
	cf_settings s = recipe;
	cf_host		host;
	cf_model	model;
	cf_training *training;
	cf_ratings *ratings;
	int			calls = 0;

	cf_host_init(&host);
	ratings = make_ratings(&host, 100, 10, 10, 0.2, 0);
	cf_model_init(&model, &host);
	OK(cf_training_begin(&cf_adam, &s, ratings, &model, put_marks, &calls, NULL, &training) == CF_OK &&
	   calls == 1 && cf_side_row(&model.users, 0)[0] == 1, "warm start is asked for once");
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(cf_solver_named("none") == NULL, "there is no such solver");
	OK(cf_default_batch_size(80000) == 64 && cf_default_batch_size(20000000) == 16000, "default batch");
}

int
main(void)
{
	int			j;

	for (j = 0; j < 4; j++)
		test_gradient(j & 1, j & 2);
	test_against_dense();
	test_determinism();
	test_steps();
	test_recovery();
	test_stops();
	test_failures();
	test_degenerate("one rating", 1, 1, 1, false);
	test_degenerate("one user", 50, 1, 40, false);
	test_degenerate("one item", 50, 40, 1, false);
	test_degenerate("all equal", 200, 20, 20, true);
	test_warm_start();
	return tap_done();
}
