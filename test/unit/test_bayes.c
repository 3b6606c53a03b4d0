/*
 * test_bayes.c: the Bayesian solver beside slow implementations of what it
 * draws from, known distributions, planted structure, and odd data.
 */
#include "tap.h"
#include "support.h"
#include "cf_bayes.h"
#include "cf_fold.h"
#include "cf_gram.h"
#include "cf_interval.h"
#include "cf_recommend.h"

#define MOST	64				/* unknowns of a dense system here */

static const cf_settings plain = {.n_factors = 4, .n_epochs = 30, .seed = 7, .use_bias = true,
.burn_in = 8, .implicit = CF_IMPLICIT_NONE};

static double
normal(uint64_t *counter)
{
	double		sum = 0.0;
	int			j;

	for (j = 0; j < 12; j++)
		sum += (double) (draw(counter) % 100000) / 100000.0 + 0.000005;
	return sum - 6.0;
}

/* ---------- kernels ---------- */

static bool
near(double a, double b, double tolerance)
{
	return fabs(a - b) <= tolerance * (1.0 + fabs(b));
}

static bool
check_gram(const cf_gram *gram, size_t n, size_t count)
{
	const size_t width = cf_gram_width(n);
	float	   *rows = calloc(count * width, sizeof(float));
	double	   *out = calloc(width * width, sizeof(double));
	double	   *x = calloc(n, sizeof(double));
	double		square = 0.0;
	uint64_t	counter = n * 1000 + count;
	bool		good = true;
	size_t		i;
	size_t		j;
	size_t		r;

	for (r = 0; r < count; r++)
		for (i = 0; i < n; i++)
			rows[r * width + i] = (float) normal(&counter);
	for (i = 0; i < n; i++)
		x[i] = normal(&counter);
	gram->gram(rows, count, width, n, false, out);
	gram->gram(rows, count, width, n, true, out);
	for (i = 0; i < n; i++)
	{
		for (j = 0; j < n; j++)
		{
			double		sum = 0.0;

			for (r = 0; r < count; r++)
				sum += 2.0 * rows[r * width + i] * rows[r * width + j];
			square += x[i] * x[j] * sum;
			if (j <= i)
				good = good && near(out[i * width + j], sum, 1e-4);
		}
	}
	good = good && near(gram->square(out, width, n, x), square, 1e-3);
	free(rows);
	free(out);
	free(x);
	return good;
}

/* A random positive definite matrix with a right side; checks what is solved. */
static bool
check_factor(const cf_gram *gram, size_t n)
{
	const size_t stride = cf_solve_stride(n + 1);
	double	   *a = calloc(n * stride, sizeof(double));
	double	   *l = calloc(n * stride, sizeof(double));
	double	   *x = calloc(stride, sizeof(double));
	double	   *y = calloc(stride, sizeof(double));
	uint64_t	counter = n;
	bool		good;
	size_t		i;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		for (i = j; i < n; i++)
			a[j * stride + i] = normal(&counter) + (i == j ? 3.0 * (double) n : 0.0);
		a[j * stride + n] = normal(&counter);
	}
	memcpy(l, a, n * stride * sizeof(double));
	good = gram->factor(l, n, n + 1, stride);
	for (j = 0; j < n; j++)
	{
		x[j] = l[j * stride + n];
		y[j] = 2.0 * x[j];
	}
	gram->back(l, n, stride, x, y);
	for (i = 0; i < n && good; i++)
	{
		double		sum = 0.0;

		for (j = 0; j < n; j++)
			sum += x[j] * (i >= j ? a[j * stride + i] : a[i * stride + j]);
		good = near(sum, a[i * stride + n], 1e-9) && near(y[i], 2.0 * x[i], 1e-9);
	}
	memset(l, 0, n * stride * sizeof(double));
	for (j = 0; j + 1 < n; j++)
		l[j * stride + j] = 1.0;
	l[(n - 1) * stride + n - 1] = -1.0;
	good = good && !gram->factor(l, n, n, stride);
	free(a);
	free(l);
	free(x);
	free(y);
	return good;
}

static bool
check_gather(const cf_gram *gram)
{
	static const uint32_t numbers[3] = {2, 0, 1};
	static const float values[3] = {5, 3, 1};
	const cf_gather from = {3, numbers, values, sizeof(float)};
	float		table[3 * 16] = {0};
	float		out[3 * 16];
	float		sum[16];
	bool		good = true;
	int			j;

	for (j = 0; j < 48; j++)
		table[j] = (float) j;
	gram->gather(table, 16, 5, &from, 0, 3, 1.0f, 0.5f, out);
	gram->sum(table, 16, 16, &from, 3, sum);
	for (j = 0; j < 3; j++)
	{
		const float *row = table + numbers[j] * 16;

		good = good && out[j * 16] == row[0] && out[j * 16 + 3] == row[3] &&
			out[j * 16 + 4] == (values[j] - 1.0f) * 0.5f * row[3] - row[4];
	}
	for (j = 0; j < 16; j++)
		good = good && sum[j] == table[j] + table[16 + j] + table[32 + j];
	return good;
}

static void
test_kernels(void)
{
	int			level;
	size_t		n;

	for (level = 0; level < CF_KERNEL_LEVELS; level++)
	{
		const cf_gram *gram = cf_gram_level(level);
		bool		sums = true;
		bool		solved = true;

		if (gram == NULL)
		{
			OK(true, "level %d # SKIP not on this CPU", level);
			continue;
		}
		for (n = 2; n <= MOST; n++)
		{
			sums = sums && check_gram(gram, n, 1) && check_gram(gram, n, 37) &&
				check_gram(gram, n, CF_GRAM_ROWS);
			solved = solved && check_factor(gram, n);
		}
		OK(sums, "%s: Gram matrices", gram->name);
		OK(solved, "%s: Cholesky", gram->name);
		OK(check_gather(gram), "%s: gathered rows", gram->name);
	}
}

/* ---------- random numbers ---------- */

static void
test_gamma(void)
{
	static const double shapes[] = {0.3, 1.0, 2.5, 40.0};
	size_t		j;

	for (j = 0; j < sizeof(shapes) / sizeof(shapes[0]); j++)
	{
		const int	n = 40000;
		double		sum = 0.0;
		double		squares = 0.0;
		int			i;

		for (i = 0; i < n; i++)
		{
			double		x = cf_random_gamma(3, 200, (uint64_t) i, shapes[j]);

			sum += x;
			squares += (x - shapes[j]) * (x - shapes[j]);
		}
		OK(fabs(sum / n - shapes[j]) < 5.0 * sqrt(shapes[j] / n) &&
		   fabs(squares / n - shapes[j]) < 0.1 * shapes[j] + 0.02,
		   "gamma of shape %g: mean %.4f, variance %.4f", shapes[j], sum / n, squares / n);
	}
}

/* ---------- a training ---------- */

typedef struct fixture
{
	cf_ratings *ratings;
	cf_model	model;
	cf_epoch	last;
} fixture;

static bool
add(fixture *f, int64_t user, int64_t item, double value)
{
	return cf_ratings_add(f->ratings, integer_key(user), integer_key(item), (float) value) == CF_OK;
}

static void
begin_ratings(fixture *f, cf_host *host)
{
	memset(f, 0, sizeof(*f));
	cf_model_init(&f->model, host);
	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &f->ratings) != CF_OK)
		abort();
}

static void
release(fixture *f)
{
	cf_model_release(&f->model);
	cf_ratings_destroy(f->ratings);
}

static cf_status
train(fixture *f, cf_host *host, const cf_settings *s, uint32_t n_threads,
	  void (*warm) (void *, cf_model *), void *context)
{
	cf_training *training;
	cf_pool    *pool;
	cf_status	status;
	uint32_t	epoch;

	cf_model_init(&f->model, host);
	status = cf_pool_create(host, n_threads, &pool);
	if (status != CF_OK)
		return status;
	status = cf_training_begin(&cf_bayes, s, f->ratings, &f->model, warm, context, pool, &training);
	if (status == CF_OK)
	{
		for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
			status = cf_training_epoch(training, pool, &f->last);
		cf_training_end(training);
	}
	cf_pool_destroy(pool);
	return status;
}

/* Planted factors of two numbers, biases and noise. */
static double
planted(uint32_t user, uint32_t item)
{
	uint64_t	u = user * 7919 + 1;
	uint64_t	i = item * 104729 + 5;
	double		p = normal(&u);
	double		q = normal(&i);
	double		mean = 3.0 + 0.5 * normal(&u) + 0.5 * normal(&i);

	return mean + 0.7 * p * q + 0.5 * normal(&u) * normal(&i);
}

#define NOISE	0.3

/* Each user rates about "part" of the items. */
static void
add_planted(fixture *f, uint32_t n_users, uint32_t n_items, double part)
{
	uint64_t	counter = 11;
	uint32_t	u;
	uint32_t	i;

	for (u = 0; u < n_users; u++)
		for (i = 0; i < n_items; i++)
		{
			bool		rated = (double) (draw(&counter) % 1000) < 1000.0 * part;
			double		noise = NOISE * normal(&counter);

			if (rated && !add(f, u, i, planted(u, i) + noise))
				abort();
		}
}

/* ---------- the conditional means ---------- */

/* Gaussian elimination with pivots, the right side last: MOST + 1 numbers a row. */
static void
eliminate(double *a, size_t n, double *x)
{
	size_t		c;
	size_t		r;
	size_t		j;

	for (c = 0; c < n; c++)
	{
		size_t		pivot = c;

		for (r = c + 1; r < n; r++)
			if (fabs(a[r * (MOST + 1) + c]) > fabs(a[pivot * (MOST + 1) + c]))
				pivot = r;
		for (j = 0; j <= n; j++)
		{
			double		held = a[c * (MOST + 1) + j];

			a[c * (MOST + 1) + j] = a[pivot * (MOST + 1) + j];
			a[pivot * (MOST + 1) + j] = held;
		}
		for (r = 0; r < n; r++)
		{
			double		by = a[r * (MOST + 1) + c] / a[c * (MOST + 1) + c];

			for (j = 0; j <= n && r != c; j++)
				a[r * (MOST + 1) + j] -= by * a[c * (MOST + 1) + j];
		}
	}
	for (c = 0; c < n; c++)
		x[c] = a[c * (MOST + 1) + n] / a[c * (MOST + 1) + c];
}

static void
add_prior(double *a, const cf_side *side)
{
	const size_t d = side->n_factors + 1;
	size_t		i;
	size_t		j;

	memset(a, 0, MOST * (MOST + 1) * sizeof(double));
	for (i = 0; i < d; i++)
		for (j = 0; j < d; j++)
		{
			a[i * (MOST + 1) + j] = side->prior.precision[i * d + j];
			a[i * (MOST + 1) + d] += side->prior.precision[i * d + j] * side->prior.mean[j];
		}
}

static void
add_rating(double *a, size_t k, const float *row, double rating, double base, double noise)
{
	double		z[MOST];
	size_t		i;
	size_t		j;

	for (i = 0; i < k; i++)
		z[i] = row[i];
	z[k] = 1.0;
	for (i = 0; i <= k; i++)
	{
		for (j = 0; j <= k; j++)
			a[i * (MOST + 1) + j] += z[i] * z[j] / noise;
		a[i * (MOST + 1) + k + 1] += z[i] * (rating - base - row[k]) / noise;
	}
}

/* Where the chain of test_means() starts. */
static void
put_known(void *context, cf_model *model)
{
	uint64_t	counter = 77;
	size_t		j;

	(void) context;
	for (j = 0; j < (size_t) model->users.n_rows * model->users.stride; j++)
		if (j % model->users.stride <= model->users.n_factors)
			model->users.rows[j] = (float) (0.4 * normal(&counter));
	for (j = 0; j < (size_t) model->items.n_rows * model->items.stride; j++)
		if (j % model->items.stride <= model->items.n_factors)
			model->items.rows[j] = (float) (0.4 * normal(&counter));
}

static double
deviation_of(const cf_ratings *r)
{
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < r->n_train; j++)
		sum += (r->rows[j].value - r->mean) * (r->rows[j].value - r->mean);
	return sqrt(sum / (double) r->n_train);
}

/* Is row "row" of a side the solution of its system? */
static bool
is_conditional_mean(const fixture *f, bool of_user, uint32_t row, const cf_model *known,
					double first_noise)
{
	const cf_side *side = of_user ? &f->model.users : &f->model.items;
	const size_t k = side->n_factors;
	const cf_ratings *r = f->ratings;
	double		a[MOST * (MOST + 1)];
	double		x[MOST];
	bool		good = true;
	size_t		j;

	add_prior(a, side);
	for (j = 0; j < r->n_train; j++)
	{
		const cf_rating *rating = &r->rows[j];
		const float *draws = cf_side_draws(&f->model.users, rating->user);

		if (of_user && rating->user == row)
			add_rating(a, k, cf_side_row(&known->items, rating->item), rating->value, r->mean,
					   first_noise);
		if (!of_user && rating->item == row)
			add_rating(a, k, draws, rating->value, r->mean, draws[k + 1]);
	}
	eliminate(a, k + 1, x);
	for (j = 0; j <= k; j++)
		good = good && near(cf_side_row(side, row)[j], x[j], 2e-4);
	return good;
}

static void
test_means(uint32_t k)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	fixture		known;
	bool		users = true;
	bool		items = true;
	uint32_t	row;

	s.n_factors = k;
	s.n_epochs = 1;
	s.burn_in = 0;
	s.keep_draws = 1;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	begin_ratings(&known, &host);
	add_planted(&f, 40, 30, 0.5);
	if (cf_ratings_freeze(f.ratings, 1, 0.0) != CF_OK ||
		cf_side_create(&known.model.users, &host, 40, k) != CF_OK ||
		cf_side_create(&known.model.items, &host, 30, k) != CF_OK)
		abort();
	put_known(NULL, &known.model);
	OK(train(&f, &host, &s, 2, put_known, NULL) == CF_OK, "%u factors: a sweep", k);
	for (row = 0; row < f.model.users.n_rows; row++)
		users = users && is_conditional_mean(&f, true, row, &known.model,
											 pow(deviation_of(f.ratings), 2) / 2.0);
	for (row = 0; row < f.model.items.n_rows; row++)
		items = items && is_conditional_mean(&f, false, row, &known.model, 0.0);
	OK(users, "%u factors: users' rows are their conditional means", k);
	OK(items, "%u factors: items' rows, too, with the users' draws and noise", k);
	release(&f);
	cf_model_release(&known.model);
	cf_ratings_destroy(known.ratings);
}

/* ---------- the prior ---------- */

/* A precision of a side of one factor: its three numbers, standardised. */
typedef struct moments
{
	double		sum[5];
	double		squares[5];
	int			n;
} moments;

static void
add_moments(moments *m, const cf_side *side, double deviation)
{
	const double units[3] = {deviation, deviation * sqrt(deviation), deviation * deviation};
	const int	places[3] = {0, 1, 3};
	int			j;

	for (j = 0; j < 5; j++)
	{
		double		x = j < 3 ? side->prior.precision[places[j]] * units[j] :
			side->prior.mean[j - 3] / (j == 3 ? sqrt(deviation) : deviation);

		m->sum[j] += x;
		m->squares[j] += x * x;
	}
	m->n++;
}

/*
 * Wishart(f, W): mean f W, variance f (W_ij^2 + W_ii W_jj); the mean around m,
 * with covariance W^-1 / (b (f - d - 1)).
 */
static void
test_prior(void)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	fixture		known;
	moments		m = {0};
	double		w1[3] = {1, 0, 1};	/* W^-1 */
	double		w[3];
	double		sum[2] = {0, 0};
	double		deviation;
	double		determinant;
	const double freedom = 2 + 12;
	const double b = 2 + 12;
	const int	n = 3000;
	bool		good = true;
	uint32_t	row;
	int			j;

	s.n_factors = 1;
	s.n_epochs = 1;
	s.burn_in = 0;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	begin_ratings(&known, &host);
	for (j = 0; j < 24; j++)
		(void) add(&f, j % 12, j % 5, j % 4);
	if (cf_ratings_freeze(f.ratings, 1, 0.0) != CF_OK ||
		cf_side_create(&known.model.users, &host, 12, 1) != CF_OK ||
		cf_side_create(&known.model.items, &host, 5, 1) != CF_OK)
		abort();
	put_known(NULL, &known.model);
	deviation = deviation_of(f.ratings);
	for (j = 0; j < n; j++)
	{
		s.seed = (uint64_t) j;
		if (train(&f, &host, &s, 1, put_known, NULL) != CF_OK)
			abort();
		add_moments(&m, &f.model.users, deviation);
		cf_model_release(&f.model);
	}
	for (row = 0; row < 12; row++)
	{
		double		x = cf_side_row(&known.model.users, row)[0] / sqrt(deviation);
		double		y = cf_side_row(&known.model.users, row)[1] / deviation;

		w1[0] += x * x;
		w1[1] += x * y;
		w1[2] += y * y;
		sum[0] += x;
		sum[1] += y;
	}
	w1[0] -= sum[0] * sum[0] / b;
	w1[1] -= sum[0] * sum[1] / b;
	w1[2] -= sum[1] * sum[1] / b;
	determinant = w1[0] * w1[2] - w1[1] * w1[1];
	w[0] = w1[2] / determinant;
	w[1] = -w1[1] / determinant;
	w[2] = w1[0] / determinant;
	for (j = 0; j < 3; j++)
	{
		double		mean = m.sum[j] / n;
		double		variance = m.squares[j] / n - mean * mean;
		double		wanted = freedom * (w[j] * w[j] + w[j == 2 ? 2 : 0] * w[j == 0 ? 0 : 2]);

		good = good && fabs(mean - freedom * w[j]) < 5.0 * sqrt(wanted / n) &&
			fabs(variance - wanted) < 0.2 * wanted;
	}
	OK(good, "precisions are those of a Wishart distribution");
	good = true;
	for (j = 0; j < 2; j++)
	{
		double		mean = m.sum[3 + j] / n;
		double		variance = m.squares[3 + j] / n - mean * mean;
		double		wanted = w1[2 * j] / (b * (freedom - 3));

		good = good && fabs(mean - sum[j] / b) < 5.0 * sqrt(wanted / n) &&
			fabs(variance - wanted) < 0.2 * wanted;
	}
	OK(good, "means are normal around the rows' mean");
	cf_model_release(&known.model);
	cf_ratings_destroy(known.ratings);
	cf_ratings_destroy(f.ratings);
}

/* ---------- folding in ---------- */

/* Draws of the bias are normal, around its mean and as certain as its precision. */
static void
check_fold_draws(cf_model *model, cf_host *host, const uint32_t *rows, const float *values,
				 double mean, double precision)
{
	const uint32_t n = 4000;
	float	   *draws = malloc((3 * n + 1) * sizeof(float));
	double		sum = 0.0;
	double		squares = 0.0;
	uint32_t	s;

	model->users.n_draws = n;
	if (cf_bayes_fold_draws(model, host, &model->items, &model->users, rows, values, 4, 1, 2, draws) != CF_OK)
		abort();
	for (s = 0; s < n; s++)
	{
		sum += draws[3 * s + 2];
		squares += pow(draws[3 * s + 2] - mean, 2);
	}
	OK(fabs(sum / n - mean) < 5.0 / sqrt(precision * n) && near(squares / n, 1.0 / precision, 0.02) &&
	   draws[3 * n] == (float) model->noise, "draws of a row that is folded in");
	model->users.n_draws = 0;
	free(draws);
}

/* With items of no factors only the bias learns, and its posterior is known. */
static void
test_conjugate(void)
{
	static const uint32_t rows[4] = {0, 1, 2, 1};
	static const float values[4] = {4, 5, 3, 9};
	const double precision = 1.7;
	const double mean = 0.3;
	cf_prior	unused = {0};
	cf_model	model;
	cf_host		host;
	double		wanted = precision * mean;
	float		out[3];
	int			j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	model.link = CF_LINK_CLIP;
	model.use_bias = true;
	model.low = 1;
	model.high = 5;
	model.base = 3.5;
	model.noise = 0.8;
	if (cf_side_create(&model.users, &host, 1, 2) != CF_OK || cf_side_add_prior(&model.users, &host) != CF_OK ||
		cf_side_create(&model.items, &host, 3, 2) != CF_OK || cf_side_add_prior(&model.items, &host) != CF_OK)
		abort();
	model.users.prior.mean[0] = 0.5;
	model.users.prior.mean[2] = mean;
	model.items.prior.mean[2] = -0.25;
	for (j = 0; j < 3; j++)
		model.users.prior.precision[j * 4] = model.items.prior.precision[j * 4] = precision;
	model.items.n_ratings[0] = model.items.n_ratings[1] = 1;
	cf_side_row(&model.items, 0)[2] = 0.1f;
	cf_side_row(&model.items, 1)[2] = -0.2f;
	cf_model_settle(&model);
	for (j = 0; j < 4; j++)
		wanted += (values[j] - 3.5 - (rows[j] == 0 ? 0.1 : rows[j] == 1 ? -0.2 : -0.25)) / 0.8;
	wanted /= precision + 4 / 0.8;
	OK(cf_fold_in(&model, &host, &model.items, &unused, rows, values, 4, out) == CF_OK &&
	   near(out[0], 0.5, 1e-6) && out[1] == 0 && near(out[2], wanted, 1e-6),
	   "a bias alone: the conjugate posterior's mean");
	OK(cf_fold_in(&model, &host, &model.items, &unused, rows, values, 0, out) == CF_OK &&
	   out[0] == 0.5f && out[2] == (float) mean, "without ratings: the prior's mean");
	check_fold_draws(&model, &host, rows, values, wanted, precision + 4 / 0.8);
	OK(cf_model_predict(&model, CF_NO_ROW, 0) == 3.5f + (0.3f + 0.1f), "an unknown user");
	OK(near(cf_model_predict(&model, CF_NO_ROW, 2), model.mean_rating, 0), "both unknown");
	cf_model_release(&model);
	OK(host.used == 0, "all given back");
}

/* ---------- trainings ---------- */

/* Held-out error of planted ratings that were not drawn: without noise. */
static double
planted_error(const fixture *f, uint32_t n_users, uint32_t n_items)
{
	double		sum = 0.0;
	uint32_t	u;
	uint32_t	i;

	for (u = 0; u < n_users; u++)
		for (i = 0; i < n_items; i++)
		{
			double		rating = planted(u, i);

			rating = rating < f->model.low ? f->model.low : rating > f->model.high ? f->model.high : rating;
			sum += pow(cf_model_predict(&f->model, cf_dict_find(f->ratings->users, integer_key(u)),
										cf_dict_find(f->ratings->items, integer_key(i))) - rating, 2);
		}
	return sqrt(sum / n_users / n_items);
}

static bool
same_side(const cf_side *a, const cf_side *b)
{
	const size_t d = a->n_factors + 1;

	return a->n_rows == b->n_rows &&
		memcmp(a->rows, b->rows, (size_t) a->n_rows * a->stride * sizeof(float)) == 0 &&
		memcmp(a->prior.precision, b->prior.precision, d * d * sizeof(double)) == 0 &&
		memcmp(a->draws, b->draws, a->n_rows * cf_draws_width(a) * sizeof(float)) == 0;
}

static void
test_planted(void)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f[3];
	uint32_t	j;
	double		error;

	s.keep_draws = 5;
	s.implicit = CF_IMPLICIT_BOTH;
	cf_host_init(&host);
	for (j = 0; j < 3; j++)
	{
		begin_ratings(&f[j], &host);
		add_planted(&f[j], 300, 120, 0.25);
		if (cf_ratings_freeze(f[j].ratings, 1, 0.1) != CF_OK ||
			train(&f[j], &host, &s, j + 1, NULL, NULL) != CF_OK)
			abort();
	}
	error = planted_error(&f[0], 300, 120);
	OK(error < 0.6 * NOISE, "planted structure is found: error %.3f", error);
	OK(near(sqrt(f[0].model.noise), NOISE, 0.05), "so is the noise: %.3f", sqrt(f[0].model.noise));
	for (j = 1; j < 3; j++)
		OK(same_side(&f[0].model.users, &f[j].model.users) &&
		   same_side(&f[0].model.items, &f[j].model.items) &&
		   f[0].last.train_loss == f[j].last.train_loss && f[0].model.noise == f[j].model.noise,
		   "the same bits with %u threads", j + 1);
	for (j = 0; j < 3; j++)
		release(&f[j]);
	OK(host.used == 0, "all given back");
}

static void
copy_rows(void *context, cf_model *model)
{
	const cf_model *from = context;

	memcpy(model->users.rows, from->users.rows,
		   (size_t) model->users.n_rows * model->users.stride * sizeof(float));
	memcpy(model->items.rows, from->items.rows,
		   (size_t) model->items.n_rows * model->items.stride * sizeof(float));
}

static void
test_warm(void)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	cf_model	first;
	double		before;
	cf_status	status;

	cf_host_init(&host);
	begin_ratings(&f, &host);
	add_planted(&f, 200, 100, 0.3);
	if (cf_ratings_freeze(f.ratings, 1, 0.0) != CF_OK || train(&f, &host, &s, 1, NULL, NULL) != CF_OK)
		abort();
	first = f.model;
	before = f.last.train_loss;
	s.n_epochs = 1;
	s.burn_in = 0;
	OK(train(&f, &host, &s, 1, NULL, NULL) == CF_OK && f.last.train_loss > 1.3 * before,
	   "one sweep from a random start");
	cf_model_release(&f.model);
	s.n_epochs = 2;
	s.burn_in = 1;
	status = train(&f, &host, &s, 1, copy_rows, &first);
	OK(status == CF_OK && f.last.train_loss < 1.2 * before,
	   "from known rows it goes on: %.3f after %.3f", f.last.train_loss, before);
	cf_model_release(&first);
	release(&f);
}

/* Who rates what tells the user's taste; the ratings are few. */
static void
test_implicit(uint32_t n_cold)
{
	test_host	test;
	double		errors[2];
	int			j;

	test_host_init(&test);
	for (j = 0; j < 2; j++)
	{
		cf_settings s = plain;
		uint64_t	counter = 5;
		fixture		f;
		uint32_t	n;

		s.implicit = j == 0 ? CF_IMPLICIT_NONE : CF_IMPLICIT_BOTH;
		begin_ratings(&f, &test.host);
		for (n = 0; n < 400 * 8; n++)
		{
			uint32_t	user = n / 8;
			uint32_t	group = user % 2;
			uint32_t	item = (uint32_t) (draw(&counter) % 40);
			bool		own = item % 2 == group;

			/* mostly of the own half, but what is disliked tells most */
			if (!own && draw(&counter) % 8 != 0)
				item ^= 1;
			own = item % 2 == group;
			(void) add(&f, user, item, 3.0 + (item % 4 < 2 ? 1.0 : -1.0) * (group == 0 ? 1.0 : -1.0) +
					   1.5 * normal(&counter));
		}
		/* items of one rating, of which some have it held out */
		for (n = 0; n < n_cold; n++)
			(void) add(&f, n % 400, 1000 + n, 3.0);
		if (cf_ratings_freeze(f.ratings, 3, n_cold > 0 ? 0.2 : 0.0) != CF_OK || train(&f, &test.host, &s, 2, NULL, NULL) != CF_OK)
			abort();
		errors[j] = 0.0;
		for (n = 0; n < 400 * 40; n++)
		{
			uint32_t	group = n / 40 % 2;
			double		wanted = 3.0 + (n % 40 % 4 < 2 ? 1.0 : -1.0) * (group == 0 ? 1.0 : -1.0);

			errors[j] += pow(cf_model_predict(&f.model, cf_dict_find(f.ratings->users, integer_key(n / 40)),
											  cf_dict_find(f.ratings->items, integer_key(n % 40))) - wanted, 2);
		}
		release(&f);
	}
	OK(errors[1] < 0.6 * errors[0], "who rated what is learnt from, beside %u items of one rating: %.0f, without %.0f",
	   n_cold, errors[1], errors[0]);
	OK(cf_bayes_implicit(&(cf_settings) {0}, 943, 1664, 80000) == CF_IMPLICIT_BOTH &&
	   cf_bayes_implicit(&(cf_settings) {0}, 20000, 15000, 50000) == CF_IMPLICIT_NONE &&
	   cf_bayes_implicit(&(cf_settings) {0}, 138000, 27000, 20000000) == CF_IMPLICIT_NONE &&
	   cf_bayes_implicit(&(cf_settings) {.implicit = CF_IMPLICIT_ITEMS}, 9, 9, 9) == CF_IMPLICIT_ITEMS,
	   "auto: for dense sets that are not large");
}

static void
test_sparse(void)
{
	cf_settings s = plain;
	uint64_t	counter = 9;
	cf_host		host;
	fixture		f;
	cf_status	status;
	int			j;

	s.n_factors = 20;
	s.n_epochs = 150;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	for (j = 0; j < 1500; j++)
	{
		int64_t		user = (int64_t) (draw(&counter) % 700);

		/* some give nothing but tens */
		(void) add(&f, user, (int64_t) (draw(&counter) % 500),
				   user % 5 == 0 ? 10 : 1 + (double) (draw(&counter) % 10));
	}
	if (cf_ratings_freeze(f.ratings, 3, 0.2) != CF_OK)
		abort();
	status = train(&f, &host, &s, 2, NULL, NULL);
	OK(status == CF_OK && f.last.valid_loss < 10.5,
	   "very sparse: the chain stays, valid loss %.2f", f.last.valid_loss);
	release(&f);
}

/* Ratings without any structure to speak of. */
static bool
odd(int n_users, int n_items, double base, double step, bool has_all)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	bool		good = true;
	int			j;

	s.keep_draws = 3;
	s.implicit = CF_IMPLICIT_BOTH;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	for (j = 0; j < n_users * n_items; j++)
		if (has_all || j % 3 == 0)
			good = good && add(&f, j / n_items, j % n_items, base + step * (j % 5));
	good = good && cf_ratings_freeze(f.ratings, 1, 0.0) == CF_OK && train(&f, &host, &s, 1, NULL, NULL) == CF_OK;
	for (j = 0; good && j < 4; j++)
	{
		cf_interval interval;
		float		p = cf_model_predict(&f.model, j % 2 == 0 ? 0 : CF_NO_ROW, j < 2 ? 0 : CF_NO_ROW);

		good = p >= (float) base - 1e-3 * fabs(base) && p <= (float) (base + 4 * step) + 1e-3 * fabs(base + 4 * step) &&
			cf_interval_predict(&f.model, &host, j % 2 == 0 ? 0 : CF_NO_ROW, j < 2 ? 0 : CF_NO_ROW, 0.8,
								&interval) == CF_OK && isfinite(interval.sd) &&
			interval.lower <= interval.upper;
	}
	release(&f);
	return good && host.used == 0;
}

static void
test_odd(void)
{
	OK(odd(1, 1, 3, 0, true), "one rating");
	OK(odd(1, 30, 1, 1, true), "one user");
	OK(odd(30, 1, 1, 1, true), "one item");
	OK(odd(20, 20, 3, 0, false), "constant ratings");
	OK(odd(20, 20, 0, 0, false), "nothing but zeros");
	OK(odd(20, 20, 1e9, 1000, false), "ratings that differ little");
	OK(odd(20, 20, -1e16, 1e16, false), "very large ratings");
	OK(!odd(20, 20, -1e25, 1e25, false), "ratings that are too large");
	OK(odd(20, 20, 0, 1e-20, false), "very small ratings");
}

static void
test_memory(void)
{
	cf_settings s = plain;
	test_host	test;
	fixture		f;
	size_t		before;
	size_t		said;
	cf_status	status;
	bool		good = true;
	long		n;

	s.n_epochs = 3;
	s.burn_in = 1;
	s.keep_draws = 2;
	s.implicit = CF_IMPLICIT_BOTH;
	test_host_init(&test);
	test.host.should_stop = NULL;
	begin_ratings(&f, &test.host);
	add_planted(&f, 100, 70, 0.3);
	if (cf_ratings_freeze(f.ratings, 1, 0.2) != CF_OK)
		abort();
	before = test.host.used;
	said = cf_training_memory(&cf_bayes, &s, 100, 70, f.ratings->n_train, 1) - cf_interval_memory();
	test.host.peak = before;
	status = train(&f, &test.host, &s, 1, NULL, NULL);
	OK(status == CF_OK && test.host.peak - before <= said + 65536 &&
	   test.host.peak - before >= said - 65536,
	   "takes the memory that it says: %zu, said %zu", test.host.peak - before, said);
	cf_model_release(&f.model);
	OK(test.host.used == before, "all given back");
	for (n = 1; good; n++)
	{
		test.requests = 0;
		test.fail_at = n;
		status = train(&f, &test.host, &s, 2, NULL, NULL);
		cf_model_release(&f.model);
		if (status == CF_OK)
			break;
		good = status == CF_NO_MEMORY && test.host.used == before;
	}
	OK(good && n > 30, "failing at each of %ld requests", n - 1);
	test.fail_at = 0;
	test.host.should_stop = test_should_stop;
	for (n = 1; good; n += 1 + n / 10)
	{
		test.polls = 0;
		test.stop_at = n;
		status = train(&f, &test.host, &s, 2, NULL, NULL);
		cf_model_release(&f.model);
		if (status == CF_OK)
			break;
		good = status == CF_STOPPED && test.host.used == before;
	}
	OK(good && n > 30, "stops at polls, the last of %ld", n);
	test.stop_at = 0;
	test.host.should_stop = NULL;
	release(&f);
}

/* ---------- intervals ---------- */

static void
test_intervals(void)
{
	static const double levels[] = {0.5, 0.8, 0.95};
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	cf_interval narrow;
	cf_interval wide;
	cf_interval cold;
	uint64_t	counter = 123;
	int			l;

	OK(fabs(cf_normal_quantile(0.975) - 1.959963985) < 1e-7 && fabs(cf_normal_quantile(0.5)) < 1e-12 &&
	   fabs(cf_normal_quantile(0.001) + 3.090232306) < 1e-7 && fabs(cf_normal_quantile(0.75) - 0.674489750) < 1e-7,
	   "quantiles of the normal distribution");
	s.keep_draws = 11;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	add_planted(&f, 300, 120, 0.25);
	if (cf_ratings_freeze(f.ratings, 1, 0.2) != CF_OK || train(&f, &host, &s, 2, NULL, NULL) != CF_OK)
		abort();
	for (l = 0; l < 3; l++)
	{
		uint32_t	inside = 0;
		uint32_t	n = 0;
		uint32_t	j;

		for (j = 0; j < 300 * 120; j++)
		{
			double		rating = planted(j / 120, j % 120) + NOISE * normal(&counter);
			cf_interval interval;

			/* at the ends of the range intervals are cut */
			if (rating < f.model.low + 1 || rating > f.model.high - 1)
				continue;
			if (cf_interval_predict(&f.model, &host, j / 120, j % 120, levels[l], &interval) != CF_OK)
				abort();
			inside += rating >= interval.lower && rating <= interval.upper;
			n++;
		}
		OK(fabs((double) inside / n - levels[l]) < 0.03, "%.0f%% intervals hold %.1f%%", 100 * levels[l],
		   100.0 * inside / n);
	}
	OK(cf_interval_predict(&f.model, &host, 3, 4, 0.5, &narrow) == CF_OK &&
	   cf_interval_predict(&f.model, &host, 3, 4, 0.9, &wide) == CF_OK &&
	   cf_interval_predict(&f.model, &host, CF_NO_ROW, 4, 0.9, &cold) == CF_OK &&
	   wide.upper - wide.lower > narrow.upper - narrow.lower && narrow.sd == wide.sd && cold.sd > wide.sd &&
	   narrow.estimate == cf_model_predict(&f.model, 3, 4), "wider for more, and for unknown users");
	release(&f);
	OK(host.used == 0, "all given back");
}

/* ---------- recommending ---------- */

static bool
ranks_before(const cf_model *model, uint32_t user, uint32_t a, uint32_t b)
{
	const float *p = cf_side_is_cold(&model->users, user) ? model->users.prior.row :
		cf_side_row(&model->users, user);
	const cf_side *items = &model->items;
	float		x = model->kernels->dot(p, cf_side_row(items, a), items->n_factors) + p[items->n_factors] +
		cf_side_bias(items, a);
	float		y = model->kernels->dot(p, cf_side_row(items, b), items->n_factors) + p[items->n_factors] +
		cf_side_bias(items, b);

	x = (float) model->base + x;
	y = (float) model->base + y;
	return x > y || (x == y && a < b);
}

/* What is recommended, beside what every pair of items says. */
static bool
is_best(const cf_model *model, cf_host *host, uint32_t user, float min_score)
{
	cf_filter	filter = cf_filter_default();
	cf_topk		top;
	bool		good = true;
	uint32_t	passing = 0;
	uint32_t	row;
	size_t		j;

	filter.min_score = min_score;
	filter.min_ratings = 0;
	if (cf_topk_create(host, 7, &top) != CF_OK ||
		cf_recommend(model, host, cf_user_embedding(model, user), &filter, &top) != CF_OK)
		abort();
	cf_topk_sort(&top);
	for (row = 0; row < model->items.n_rows; row++)
		passing += cf_model_predict(model, user, row) >= min_score;
	good = top.n == (passing < 7 ? passing : 7);
	for (j = 0; j < top.n; j++)
	{
		uint32_t	better = 0;

		for (row = 0; row < model->items.n_rows; row++)
			better += ranks_before(model, user, row, top.heap[j].row);
		good = good && better == j &&
			cf_model_of_rank(model, top.heap[j].score) == cf_model_predict(model, user, top.heap[j].row);
	}
	cf_topk_release(host, &top);
	return good;
}

static void
test_recommend(void)
{
	cf_settings s = plain;
	cf_host		host;
	fixture		f;
	bool		good = true;
	uint32_t	user;

	s.use_range = true;			/* a narrow one: many are at its ends */
	s.low = 2.5f;
	s.high = 3.5f;
	cf_host_init(&host);
	begin_ratings(&f, &host);
	add_planted(&f, 60, 200, 0.2);
	if (cf_ratings_freeze(f.ratings, 1, 0.0) != CF_OK || train(&f, &host, &s, 1, NULL, NULL) != CF_OK)
		abort();
	for (user = 0; user <= f.model.users.n_rows; user++)
		good = good && is_best(&f.model, &host, user, -INFINITY) && is_best(&f.model, &host, user, 3.2f) &&
			is_best(&f.model, &host, user, 3.5f) && is_best(&f.model, &host, user, 3.6f) &&
			is_best(&f.model, &host, user, 2.5f);
	OK(good, "ranked by what comes before the cut, shown in the range");
	release(&f);
}

int
main(void)
{
	if (FOR_RACES)
	{
		test_planted();
		test_implicit(0);
		return tap_done();
	}
	test_kernels();
	test_gamma();
	test_means(1);
	test_means(6);
	test_means(19);
	test_prior();
	test_conjugate();
	test_planted();
	test_warm();
	test_implicit(0);
	test_implicit(500);
	test_sparse();
	test_odd();
	test_memory();
	test_intervals();
	test_recommend();
	return tap_done();
}
