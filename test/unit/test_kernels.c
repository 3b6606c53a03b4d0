/* test_kernels.c: every level that the CPU has, against plain double loops. */
#include "tap.h"
#include "support.h"
#include "cf_kernels.h"

#define N		1025
#define GUARD	12345.0f

static float arrays[6][N + 1];

static void
fill(uint64_t counter, size_t n)
{
	int			a;
	size_t		j;

	for (a = 0; a < 6; a++)
	{
		for (j = 0; j < n; j++)
			arrays[a][j] = (float) (draw_unit(&counter) * 2 - 1);
		arrays[a][n] = GUARD;
	}
}

static bool
near(double got, double wanted)
{
	return fabs(got - wanted) <= 2e-6 * (1 + fabs(wanted));
}

static bool
check_linear(const cf_kernels *kernels, size_t n)
{
	float		before[3][N];
	double		sum = 0;
	bool		good = true;
	size_t		j;

	fill(n, n);
	memcpy(before[0], arrays[1], n * sizeof(float));
	memcpy(before[1], arrays[2], n * sizeof(float));
	memcpy(before[2], arrays[3], n * sizeof(float));
	for (j = 0; j < n; j++)
		sum += (double) arrays[0][j] * arrays[1][j];
	good = fabs(kernels->dot(arrays[0], arrays[1], n) - sum) < 1e-5 * (1 + sqrt((double) n));
	kernels->axpy(0.5f, arrays[0], arrays[1], n);
	kernels->axpby(0.5f, arrays[0], -2.0f, arrays[2], n);
	for (j = 0; j < n; j++)
		good = good && near(arrays[1][j], before[0][j] + 0.5 * arrays[0][j]) &&
			near(arrays[2][j], -2.0 * before[1][j] + 0.5 * arrays[0][j]);
	memcpy(before[0], arrays[1], n * sizeof(float));
	kernels->axpy_pair(0.25f, arrays[0], arrays[2], arrays[1], arrays[3], n);
	for (j = 0; j < n; j++)
		good = good && near(arrays[1][j], before[0][j] + 0.25 * arrays[2][j]) &&
			near(arrays[3][j], before[2][j] + 0.25 * arrays[0][j]);
	return good && arrays[1][n] == GUARD && arrays[2][n] == GUARD && arrays[3][n] == GUARD;
}

static bool
check_adam(const cf_kernels *kernels, size_t n)
{
	const cf_adam_step s = {0.9f, 0.1f, 0.99f, 0.01f, 1.5f, 1e-5f, 0.999f, 0.05f};
	float		old[5][N];
	bool		good = true;
	size_t		j;

	fill(n + 1, n);
	for (j = 0; j < n; j++)
		arrays[2][j] = fabsf(arrays[2][j]);
	for (j = 0; j < 5; j++)
		memcpy(old[j], arrays[j], n * sizeof(float));
	kernels->adam_step(&s, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], n);
	for (j = 0; j < n; j++)
	{
		double		g = old[4][j];
		double		m = 0.9 * old[1][j] + 0.1 * g;
		double		v = 0.99 * old[2][j] + 0.01 * g * g;
		double		d = m / (sqrt(v) * 1.5 + 1e-5);

		good = good && near(arrays[1][j], m) && near(arrays[2][j], v) &&
			near(arrays[3][j], d) && near(arrays[0][j], 0.999 * old[0][j] - 0.05 * d) &&
			arrays[4][j] == 0.0f;
	}
	for (j = 0; j < 5; j++)
		good = good && arrays[j][n] == GUARD;
	return good;
}

#define SGD_USERS	3
#define SGD_ITEMS	4

/* What a step on a batch does, in doubles; rating j is of users[j] and items[j]. */
static double
naive_sgd(const cf_sgd_step *s, double (*p)[N], double (*q)[N], const size_t *users,
		  const size_t *items, const float *values, size_t n)
{
	const size_t k = s->n_factors;
	static double before[SGD_USERS][N];
	double		slopes[CF_SGD_BATCH];
	double		sum = 0;
	size_t		i;
	size_t		j;

	memcpy(before, p, sizeof(before));
	for (i = 0; i < n; i++)
	{
		double		logit = p[users[i]][k] + q[items[i]][k];
		double		error;

		for (j = 0; j < k; j++)
			logit += p[users[i]][j] * q[items[i]][j];
		slopes[i] = 1;
		if (s->use_range)
		{
			double		x = 1 / (1 + exp(-logit));

			logit = s->low + s->span * x;
			slopes[i] = s->span * x * (1 - x);
		}
		error = values[i] - logit;
		slopes[i] *= error * s->rate;
		sum += error * error;
	}
	for (i = 0; i < n; i++)
	{
		double	   *user = p[users[i]];
		double	   *item = q[items[i]];
		const double *mine = before[users[i]];

		for (j = 0; j <= k; j++)
		{
			user[j] += slopes[i] * (j < k ? item[j] : s->bias_gain) - (1 - (double) s->keep) * mine[j];
			item[j] = item[j] * s->keep + slopes[i] * (j < k ? mine[j] : s->bias_gain);
		}
	}
	return sum;
}

/* Three users' ratings, some more than one, of four items, one more than once. */
static bool
check_sgd(const cf_kernels *kernels, size_t k, size_t n, bool use_range, bool use_bias)
{
	const size_t stride = (k + 8) / 8 * 8;
	const cf_sgd_step s = {.n_factors = k, .stride = stride, .keep = 0.995f, .rate = 0.05f,
	.bias_gain = use_bias ? 0.75f : 0, .use_range = use_range, .low = 0.5f, .span = 5};
	uint64_t	counter = k * 100 + n;
	static float rows[SGD_USERS + SGD_ITEMS][N + 8];
	static double expected[SGD_USERS + SGD_ITEMS][N];
	cf_sgd_batch batch = {.size = n};
	cf_sgd_batch next = {.size = 0};
	size_t		of_user[CF_SGD_BATCH];
	size_t		of_item[CF_SGD_BATCH];
	double		squares;
	float		sum;
	bool		good;
	size_t		r;
	size_t		j;

	memset(rows, 0, sizeof(rows));
	memset(expected, 0, sizeof(expected));
	for (r = 0; r < SGD_USERS + SGD_ITEMS; r++)
	{
		for (j = 0; j < k + use_bias; j++)
			expected[r][j] = rows[r][j] = (float) (draw_unit(&counter) - 0.5);
		rows[r][stride] = GUARD;
	}
	for (j = 0; j < n; j++)
	{
		of_user[j] = j == 0 ? 0 : of_user[j - 1];
		if (of_user[j] + 1 < SGD_USERS && draw(&counter) % 4 == 0)
			of_user[j]++;
		of_item[j] = draw(&counter) % SGD_ITEMS;
		batch.users[j] = rows[of_user[j]];
		batch.items[j] = rows[SGD_USERS + of_item[j]];
		batch.values[j] = (float) (draw_unit(&counter) * 5);
	}
	for (j = 0; j < CF_SGD_BATCH; j++)
		next.items[j] = rows[SGD_USERS];
	sum = kernels->sgd_step(&s, &batch, &next);
	squares = naive_sgd(&s, expected, expected + SGD_USERS, of_user, of_item, batch.values, n);
	good = fabs(sum - squares) < 1e-5 * squares + 1e-6;
	for (r = 0; r < SGD_USERS + SGD_ITEMS; r++)
	{
		for (j = 0; j <= k; j++)
			good = good && fabs(rows[r][j] - expected[r][j]) < 1e-5;
		for (; j < stride; j++)
			good = good && rows[r][j] == 0;
		good = good && rows[r][stride] == GUARD;
	}
	return good;
}

/* The rows' logits have the bits of dot() and of its sum with the two biases. */
static bool
check_logits(const cf_kernels *kernels, size_t n, size_t stride, size_t count)
{
	uint64_t	counter = n * 100 + count;
	float	   *rows = malloc((count * stride + 1) * sizeof(float));
	float	   *out = malloc((count + 1) * sizeof(float));
	const float bias = (float) draw_unit(&counter);
	bool		good = true;
	size_t		j;

	for (j = 0; j < count * stride; j++)
		rows[j] = (float) (draw_unit(&counter) * 2 - 1) * (j % 7 == 0 ? 1e4f : 1.0f);
	fill(n, n);
	out[count] = GUARD;
	kernels->logits(arrays[0], bias, rows, stride, n, count, out);
	for (j = 0; j < count; j++)
	{
		const float *row = rows + j * stride;
		float		logit = kernels->dot(arrays[0], row, n);

		logit += bias;
		logit += row[n];
		good = good && memcmp(&logit, &out[j], sizeof(float)) == 0;
	}
	good = good && out[count] == GUARD;
	free(rows);
	free(out);
	return good;
}

/* One element that reaches the bound, at each place; and what never does. */
static bool
check_any_at_least(const cf_kernels *kernels, size_t n)
{
	float	   *x = malloc((n + 1) * sizeof(float));
	bool		good = true;
	size_t		j;

	for (j = 0; j <= n; j++)
		x[j] = j % 5 == 0 ? NAN : j % 5 == 1 ? -INFINITY : -(float) j;
	x[n] = INFINITY;
	good = !kernels->any_at_least(x, n, 0.5f) && !kernels->any_at_least(x, n, NAN) &&
		!kernels->any_at_least(x, n, INFINITY) &&
		kernels->any_at_least(x, n, -INFINITY) == (n >= 2);
	for (j = 0; j < n; j++)
	{
		float		held = x[j];

		x[j] = 0.5f;
		good = good && kernels->any_at_least(x, n, 0.5f) &&
			!kernels->any_at_least(x, n, nextafterf(0.5f, 1.0f));
		x[j] = INFINITY;
		good = good && kernels->any_at_least(x, n, INFINITY);
		x[j] = held;
	}
	free(x);
	return good;
}

/* Four rows are worked at together, some are left over: all the same bits. */
static bool
check_dense(const cf_kernels *kernels, size_t n, size_t count, size_t width, bool start, bool relu)
{
	float	   *weights = malloc((n * width + 1) * sizeof(float));
	float	   *out = malloc((count * width + 1) * sizeof(float));
	float	   *one = malloc((width + 1) * sizeof(float));
	const float *rows[9];
	uint64_t	counter = n + width;
	bool		good = true;
	size_t		r;
	size_t		c;
	size_t		j;

	fill(n + 7, N);
	for (j = 0; j < n * width; j++)
		weights[j] = (float) (draw_unit(&counter) * 2 - 1);
	for (r = 0; r < count; r++)
		rows[r] = arrays[r % 5] + r;
	out[count * width] = GUARD;
	one[width] = GUARD;
	kernels->dense(rows, count, n, weights, width, start ? arrays[5] : NULL, relu, out);
	for (r = 0; r < count; r++)
	{
		kernels->dense(&rows[r], 1, n, weights, width, start ? arrays[5] : NULL, relu, one);
		good = good && memcmp(one, out + r * width, width * sizeof(float)) == 0;
		for (c = 0; c < width; c++)
		{
			double		sum = start ? arrays[5][c] : 0;

			for (j = 0; j < n; j++)
				sum += (double) rows[r][j] * weights[j * width + c];
			good = good && fabs(out[r * width + c] - (relu ? fmax(sum, 0) : sum)) <
				2e-6 * (1 + (double) n);
		}
	}
	good = good && out[count * width] == GUARD && one[width] == GUARD;
	free(weights);
	free(out);
	free(one);
	return good;
}

static bool
check_add_relu(const cf_kernels *kernels, size_t n)
{
	bool		good = true;
	size_t		j;

	fill(n + 5, n);
	kernels->add_relu(arrays[0], arrays[1], arrays[2], n);
	for (j = 0; j < n; j++)
		good = good && arrays[2][j] == fmaxf(arrays[0][j] + arrays[1][j], 0.0f);
	return good && arrays[2][n] == GUARD;
}

int
main(void)
{
	int			level;
	size_t		n;

	OK(cf_kernels_level(0) != NULL, "there is a plain level");
	OK(cf_kernels_level(CF_KERNEL_LEVELS) == NULL, "there are no more levels");
	for (level = 0; level < CF_KERNEL_LEVELS; level++)
	{
		const cf_kernels *kernels = cf_kernels_level(level);
		bool		linear = true;
		bool		adam = true;
		bool		logits = true;
		bool		any = true;
		bool		dense = true;
		bool		sgd = true;
		size_t		count;

		if (kernels == NULL)
		{
			OK(true, "level %d # SKIP not on this CPU", level);
			continue;
		}
		for (n = 0; n <= N; n = n == 70 ? N : n + 1)
		{
			linear = linear && check_linear(kernels, n);
			adam = adam && check_adam(kernels, n);
			logits = logits && check_logits(kernels, n, n + 1 + n % 4, n % 6) &&
				check_logits(kernels, n, n + 4 - n % 4, 9);
			any = any && check_any_at_least(kernels, n);
			for (count = 0; count <= 9 && n <= 70; count++)
				dense = dense && check_dense(kernels, n, count, CF_DENSE_UNIT * (1 + n % 4),
											 count % 2 == 0, n % 2 == 0);
			dense = dense && check_add_relu(kernels, n);
			for (count = 1; count <= CF_SGD_BATCH && n > 0 && n < N; count++)
				sgd = sgd && check_sgd(kernels, n, count, n % 3 > 0, n % 2 > 0);
			if (n == N)
				sgd = sgd && check_sgd(kernels, 1024, 11, true, true);
		}
		OK(dense, "%s: dense, add_relu", kernels->name);
		OK(linear, "%s: dot, axpy, axpby, axpy_pair", kernels->name);
		OK(adam, "%s: adam_step", kernels->name);
		OK(sgd, "%s: sgd_step", kernels->name);
		OK(logits, "%s: logits", kernels->name);
		OK(any, "%s: any_at_least", kernels->name);
	}
	return tap_done();
}
