/* test_fold.c: against the normal equations, solved densely in double precision. */
#include <time.h>

#include "tap.h"
#include "support.h"
#include "cf_fold.h"

/* A model of random items, and the prior of users around some mean. */
typedef struct fixture
{
	test_host	test;
	cf_model	model;
	cf_prior	prior;
	uint32_t   *rows;
	float	   *values;
	float	   *out;
	size_t		n;
	uint64_t	counter;
} fixture;

static double
draw_normal(uint64_t *counter)
{
	double		sum = 0;
	int			j;

	for (j = 0; j < 12; j++)
		sum += draw_unit(counter);
	return sum - 6;
}

static void
set_up(fixture *fix, uint32_t n_items, uint32_t k, size_t n, bool use_range, bool use_bias)
{
	cf_side    *items = &fix->model.items;
	uint32_t	row,
				f;
	size_t		j;

	memset(fix, 0, sizeof(*fix));
	test_host_init(&fix->test);
	fix->counter = n_items * 7919 + k * 31 + n;
	cf_model_init(&fix->model, &fix->test.host);
	fix->model.use_bias = use_bias;
	fix->model.link = use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
	fix->model.low = 0.5f;
	fix->model.high = 5.5f;
	cf_side_create(items, &fix->test.host, n_items, k);
	for (row = 0; row < n_items; row++)
	{
		for (f = 0; f < k; f++)
			cf_side_row(items, row)[f] = (float) (0.3 * draw_normal(&fix->counter));
		if (use_bias)
			cf_side_row(items, row)[k] = (float) (0.4 * draw_normal(&fix->counter));
		items->n_ratings[row] = 10;
	}
	items->mean_bias = use_bias ? 0.1 : 0;
	fix->prior.noise = 0.5;
	fix->prior.factor_variance = 0.04;
	fix->prior.bias_variance = use_bias ? 0.09 : 0;
	fix->prior.mean_bias = use_bias ? 0.2 : 0;
	fix->prior.mean_factors = calloc(k, sizeof(double));
	for (f = 0; f < k; f++)
		fix->prior.mean_factors[f] = 0.1 * draw_normal(&fix->counter);
	fix->n = n;
	fix->rows = calloc(n + 1, sizeof(uint32_t));
	fix->values = calloc(n + 1, sizeof(float));
	fix->out = calloc(k + 1, sizeof(float));
	for (j = 0; j < n; j++)
	{
		fix->rows[j] = (uint32_t) (draw(&fix->counter) % n_items);
		fix->values[j] = (float) (1 + draw(&fix->counter) % 5);
	}
}

static void
tear_down(fixture *fix)
{
	cf_model_release(&fix->model);
	free(fix->prior.mean_factors);
	free(fix->rows);
	free(fix->values);
	free(fix->out);
	OK(fix->test.blocks == 0, "all given back");
}

static cf_status
fold_in(fixture *fix)
{
	return cf_fold_in(&fix->model, &fix->test.host, &fix->model.items, &fix->prior, fix->rows,
					  fix->values, fix->n, fix->out);
}

/* Entry f of the j-th rating's row of Z; f = k is the bias. */
static double
entry(const fixture *fix, size_t j, uint32_t f)
{
	const cf_side *items = &fix->model.items;

	if (f == items->n_factors)
		return fix->model.use_bias ? 1 : 0;
	return items->n_ratings[fix->rows[j]] == 0 ? 0 : cf_side_row(items, fix->rows[j])[f];
}

static double
fixed_bias(const fixture *fix, size_t j)
{
	const cf_side *items = &fix->model.items;

	return items->n_ratings[fix->rows[j]] == 0 ? items->mean_bias :
		cf_side_bias(items, fix->rows[j]);
}

/* Without a range: (Z'Z + ridge) (x - mean) = Z' (values - Z mean - biases). */
static void
solve_densely(const fixture *fix, double *x)
{
	uint32_t	k = fix->model.items.n_factors,
				w = k + 1,
				a,
				b,
				c;
	double	   *m = calloc((size_t) w * (w + 1), sizeof(double));
	size_t		j;

	for (j = 0; j < fix->n; j++)
	{
		double		left = fix->values[j] - fixed_bias(fix, j);

		for (a = 0; a < w; a++)
			left -= entry(fix, j, a) * (a < k ? fix->prior.mean_factors[a] : fix->prior.mean_bias);
		for (a = 0; a < w; a++)
		{
			for (b = 0; b < w; b++)
				m[a * (w + 1) + b] += entry(fix, j, a) * entry(fix, j, b);
			m[a * (w + 1) + w] += entry(fix, j, a) * left;
		}
	}
	for (a = 0; a < w; a++)
	{
		double		variance = a < k ? fix->prior.factor_variance : fix->prior.bias_variance;

		m[a * (w + 1) + a] += variance > 0 ? fix->prior.noise / variance : 1e30;
	}
	for (a = 0; a < w; a++)
		for (b = 0; b < w; b++)
		{
			double		by = b == a ? 0 : m[b * (w + 1) + a] / m[a * (w + 1) + a];

			for (c = a; c <= w && by != 0; c++)
				m[b * (w + 1) + c] -= by * m[a * (w + 1) + c];
		}
	for (a = 0; a < w; a++)
		x[a] = m[a * (w + 1) + w] / m[a * (w + 1) + a] +
			(a < k ? fix->prior.mean_factors[a] : fix->prior.mean_bias);
	free(m);
}

static double
distance_to_dense(const fixture *fix)
{
	uint32_t	w = fix->model.items.n_factors + 1,
				f;
	double	   *x = calloc(w, sizeof(double)),
				most = 0;

	solve_densely(fix, x);
	for (f = 0; f < w; f++)
		most = fmax(most, fabs(x[f] - fix->out[f]));
	free(x);
	return most;
}

/* The objective in double precision, at out + h in direction f. */
static double
objective(const fixture *fix, uint32_t direction, double h)
{
	const cf_model *model = &fix->model;
	uint32_t	k = model->items.n_factors,
				f;
	double		sum = 0;
	size_t		j;

	for (j = 0; j < fix->n; j++)
	{
		double		logit = fixed_bias(fix, j),
					rating,
					value = fix->values[j];

		for (f = 0; f <= k; f++)
			logit += entry(fix, j, f) * (fix->out[f] + (f == direction ? h : 0));
		rating = model->link == CF_LINK_NONE ? logit :
			model->low + ((double) model->high - model->low) / (1 + exp(-logit));
		if (model->link != CF_LINK_NONE)
			value = fmin(fmax(value, model->low), model->high);
		sum += (value - rating) * (value - rating);
	}
	for (f = 0; f <= k; f++)
	{
		double		away = fix->out[f] + (f == direction ? h : 0) -
			(f < k ? fix->prior.mean_factors[f] : fix->prior.mean_bias),
					variance = f < k ? fix->prior.factor_variance : fix->prior.bias_variance;

		sum += variance > 0 ? fix->prior.noise / variance * away * away : 0;
	}
	return sum;
}

/* The largest gradient, by how far the objective's curve says it is from the least. */
static double
distance_to_least(const fixture *fix)
{
	const double h = 1e-3;
	uint32_t	f;
	double		most = 0;

	for (f = 0; f <= fix->model.items.n_factors; f++)
	{
		double		up = objective(fix, f, h),
					here = objective(fix, f, 0),
					down = objective(fix, f, -h),
					curve = (up - 2 * here + down) / (h * h);

		if (f == fix->model.items.n_factors && !fix->model.use_bias)
			continue;
		most = fmax(most, fabs((up - down) / (2 * h)) / curve);
	}
	return most;
}

static void
test_without_range(void)
{
	static const struct
	{
		uint32_t	k;
		size_t		n;
		bool		use_bias;
	}			cases[] = {{5, 40, true}, {50, 100, true}, {50, 7, true}, {50, 100, false},
	{1, 1, true}, {1, 30, false}, {3, 2000, true}};
	size_t		c;

	for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
	{
		fixture		fix;

		set_up(&fix, 60, cases[c].k, cases[c].n, false, cases[c].use_bias);
		OK(fold_in(&fix) == CF_OK, "no range, %u factors, %zu ratings", cases[c].k, cases[c].n);
		OK(distance_to_dense(&fix) < 1e-4, "as solved densely, but for %g",
		   distance_to_dense(&fix));
		if (!cases[c].use_bias)
			OK(fix.out[cases[c].k] == 0, "no bias");
		tear_down(&fix);
	}
}

static void
test_with_range(void)
{
	static const struct
	{
		uint32_t	k;
		size_t		n;
		double		noise;
	}			cases[] = {{5, 40, 0.5}, {50, 100, 0.5}, {50, 100, 1e-3}, {50, 3, 0.5},
	{1, 1, 0.5}, {20, 3000, 0.5}, {1024, 50, 0.5}};
	size_t		c;

	for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
	{
		fixture		fix;

		set_up(&fix, 60, cases[c].k, cases[c].n, true, c % 3 != 2);
		fix.prior.noise = cases[c].noise;
		OK(fold_in(&fix) == CF_OK, "range, %u factors, %zu ratings", cases[c].k, cases[c].n);
		OK(distance_to_least(&fix) < 1e-3, "the objective is least there, but for %g",
		   distance_to_least(&fix));
		tear_down(&fix);
	}
}

/* Ratings that an embedding makes are enough to find it again. */
static void
test_planted(bool use_range)
{
	fixture		fix;
	float		truth[9];
	double		most = 0;
	size_t		j;
	uint32_t	f;

	set_up(&fix, 300, 8, 300, use_range, true);
	fix.prior.noise = 1e-6;
	for (f = 0; f < 9; f++)
		truth[f] = (float) (0.5 * draw_normal(&fix.counter));
	for (j = 0; j < fix.n; j++)
	{
		double		logit = fixed_bias(&fix, j);

		for (f = 0; f < 9; f++)
			logit += entry(&fix, j, f) * truth[f];
		fix.values[j] = cf_model_rating(&fix.model, (float) logit);
	}
	OK(fold_in(&fix) == CF_OK, "planted");
	for (f = 0; f < 9; f++)
		most = fmax(most, fabs(truth[f] - fix.out[f]));
	OK(most < 1e-3, "an embedding is found again, but for %g", most);
	tear_down(&fix);
}

static void
test_nothing_to_learn(void)
{
	fixture		fix;
	uint32_t	f;
	bool		good = true;

	set_up(&fix, 10, 4, 0, true, true);
	OK(fold_in(&fix) == CF_OK && fix.out[4] == 0.2f, "no ratings: the mean bias");
	for (f = 0; f < 4; f++)
		good = good && fix.out[f] == 0;
	OK(good, "no ratings: no factors");
	tear_down(&fix);

	set_up(&fix, 10, 4, 5, true, true);
	fix.prior.factor_variance = fix.prior.bias_variance = 0;
	good = fold_in(&fix) == CF_OK && fix.out[4] == 0.2f;
	for (f = 0; f < 4; f++)
		good = good && fix.out[f] == (float) fix.prior.mean_factors[f];
	OK(good, "no variance: the mean");
	fix.prior.noise = 0;
	OK(fold_in(&fix) == CF_OK && fix.out[4] == 0.2f, "nor noise");
	tear_down(&fix);
}

static void
test_cold_rows(void)
{
	fixture		fix;
	uint32_t	row;

	set_up(&fix, 30, 6, 40, false, true);
	for (row = 0; row < 30; row += 2)
		fix.model.items.n_ratings[row] = 0;
	OK(fold_in(&fix) == CF_OK && distance_to_dense(&fix) < 1e-4, "some are cold");
	for (row = 0; row < 30; row++)
		fix.model.items.n_ratings[row] = 0;
	OK(fold_in(&fix) == CF_OK && distance_to_dense(&fix) < 1e-4 &&
	   fix.out[0] == (float) fix.prior.mean_factors[0], "all are cold: only the bias moves");
	OK(cf_fold_uses(&fix.model, &fix.model.items, 0), "a cold one tells of the bias");
	tear_down(&fix);

	set_up(&fix, 30, 6, 40, true, false);
	memset(fix.model.items.n_ratings, 0, 30 * sizeof(int64_t));
	OK(fold_in(&fix) == CF_OK && fix.out[0] == 0 && fix.out[6] == 0 &&
	   !cf_fold_uses(&fix.model, &fix.model.items, 0), "all are cold, and no biases");
	tear_down(&fix);
}

/* Twice the same rating is a rating of twice the weight. */
static void
test_duplicates(void)
{
	fixture		fix;
	float		once[6];
	uint32_t	f;
	bool		good = true;
	size_t		j;

	set_up(&fix, 30, 5, 20, true, true);
	for (j = 0; j < 10; j++)
	{
		fix.rows[10 + j] = fix.rows[j];
		fix.values[10 + j] = fix.values[j];
	}
	fix.n = 10;
	fix.prior.noise = 0.25;
	fold_in(&fix);
	memcpy(once, fix.out, sizeof(once));
	fix.n = 20;
	fix.prior.noise = 0.5;
	fold_in(&fix);
	for (f = 0; f < 6; f++)
		good = good && fabs(once[f] - fix.out[f]) < 1e-3;
	OK(good, "duplicates count twice");
	tear_down(&fix);
}

static bool
all_finite(const fixture *fix)
{
	uint32_t	f;

	for (f = 0; f <= fix->model.items.n_factors; f++)
		if (!isfinite(fix->out[f]))
			return false;
	return true;
}

static void
test_extremes(void)
{
	static const double noises[] = {0.5, 1e-12, 0};
	fixture		fix;
	size_t		c,
				j;

	for (c = 0; c < 3; c++)
	{
		set_up(&fix, 60, 10, 50, true, true);
		fix.prior.noise = noises[c];
		for (j = 0; j < fix.n; j++)
			fix.values[j] = j % 5 == 0 ? -100.0f : 5.5f;
		OK(fold_in(&fix) == CF_OK && all_finite(&fix), "ratings at the ends, noise %g",
		   noises[c]);
		for (j = 0; j < fix.n; j++)
			fix.values[j] = 1e30f;
		OK(fold_in(&fix) == CF_OK && all_finite(&fix) && fix.out[10] > 0.2f,
		   "all of them at the upper end, noise %g", noises[c]);
		tear_down(&fix);
	}

	set_up(&fix, 60, 10, 50, false, true);
	for (j = 0; j < fix.n; j++)
		fix.values[j] *= 1e-9f;
	for (j = 0; j < 60 * fix.model.items.stride; j++)
		fix.model.items.rows[j] *= j % fix.model.items.stride == 10 ? 1e-9f : 1.0f;
	fix.model.items.mean_bias = fix.prior.mean_bias = fix.prior.mean_factors[0] = 0;
	memset(fix.prior.mean_factors, 0, 10 * sizeof(double));
	fix.prior.noise = 1e-18;
	fix.prior.factor_variance = fix.prior.bias_variance = 1e-18;
	OK(fold_in(&fix) == CF_OK && distance_to_dense(&fix) < 1e-13, "small ratings");
	for (j = 0; j < fix.n; j++)
		fix.values[j] = 3e38f;
	fix.prior.factor_variance = 1e30;
	OK(fold_in(&fix) == CF_NOT_FINITE, "ratings that nothing can be computed with");
	cf_side_row(&fix.model.items, fix.rows[0])[0] = NAN;
	OK(fold_in(&fix) == CF_NOT_FINITE, "factors that are no numbers");
	tear_down(&fix);
}

static void
test_prior(void)
{
	test_host	test;
	cf_side		side;
	double		mean_factors[2];
	cf_prior	prior = {.mean_factors = mean_factors};

	test_host_init(&test);
	cf_side_create(&side, &test.host, 3, 2);
	memcpy(cf_side_row(&side, 0), (float[]) {1, 2, 3}, 3 * sizeof(float));
	memcpy(cf_side_row(&side, 1), (float[]) {9, 9, 9}, 3 * sizeof(float));
	memcpy(cf_side_row(&side, 2), (float[]) {5, -2, -1}, 3 * sizeof(float));
	OK(cf_prior_of_side(&side, &test.host, &prior) == CF_OK && prior.mean_bias == 0 &&
	   prior.factor_variance == 0 && mean_factors[0] == 0, "none is trained");
	side.n_ratings[0] = 3;
	side.n_ratings[2] = 1;
	OK(cf_prior_of_side(&side, &test.host, &prior) == CF_OK && mean_factors[0] == 2 &&
	   mean_factors[1] == 1 && prior.mean_bias == 2, "means are weighted");
	OK(prior.factor_variance == 3 && prior.bias_variance == 3, "variances, too");
	side.n_ratings[0] = 0;
	OK(cf_prior_of_side(&side, &test.host, &prior) == CF_OK && mean_factors[0] == 5 &&
	   prior.mean_bias == -1 && prior.factor_variance == 0, "one row");
	cf_side_release(&side, &test.host);
}

static void
test_host_limits(void)
{
	fixture		fix;
	long		blocks;
	cf_status	status;
	bool		good = true;

	set_up(&fix, 60, 50, 100, true, true);
	blocks = fix.test.blocks;
	fix.test.requests = 0;
	fix.test.fail_at = 1;
	OK(fold_in(&fix) == CF_NO_MEMORY && fix.test.blocks == blocks, "no memory");
	OK(fix.test.requests == 1, "one request");
	fix.test.fail_at = 0;
	fix.test.polls = 0;
	do
	{
		fix.test.polls = 0;
		fix.test.stop_at++;
		status = fold_in(&fix);
		good = good && (status == CF_OK || status == CF_STOPPED) && fix.test.blocks == blocks;
	} while (status != CF_OK);
	OK(good && fix.test.stop_at > 2, "stopping at each of %ld polls", fix.test.stop_at - 1);
	tear_down(&fix);

	/* many ratings of many factors: the work between two polls is bounded */
	set_up(&fix, 60, 1024, 20000, true, true);
	fix.test.polls = 0;
	fix.test.stop_at = 3;
	OK(fold_in(&fix) == CF_STOPPED && fix.test.polls == 3, "polls within a pass");
	tear_down(&fix);
}

int
main(void)
{
	test_prior();
	test_without_range();
	test_with_range();
	test_planted(false);
	test_planted(true);
	test_nothing_to_learn();
	test_cold_rows();
	test_duplicates();
	test_extremes();
	test_host_limits();
	return tap_done();
}
