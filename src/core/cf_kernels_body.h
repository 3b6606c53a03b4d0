/*
 * cf_kernels_body.h
 *	  The inner loops: included once for each level of CPU.
 *
 * The including file defines KERNEL(name), which gives a function its level's
 * name, and TARGET, the attribute that lets the compiler use the level's
 * instructions.  The loops are plain C that compilers turn into vectors.  A
 * sum is kept in LANES partial sums, whose order of adding is written down
 * here and not left to the compiler.
 */

/* LANES sums, which the compiler keeps in one or two registers. */
typedef float KERNEL(lanes) __attribute__((vector_size(LANES * sizeof(float)),
										   aligned(sizeof(float)), may_alias));

/* For blocks of rows by columns, 8 columns each. */
typedef float KERNEL(eight) __attribute__((vector_size(8 * sizeof(float)),
										   aligned(sizeof(float)), may_alias));

TARGET static float
KERNEL(dot) (const float *restrict a, const float *restrict b, size_t n)
{
	KERNEL(lanes) even = {0};
	KERNEL(lanes) odd = {0};
	float		sum = 0.0f;
	size_t		j = 0;
	int			l;

	for (; j + 2 * LANES <= n; j += 2 * LANES)
	{
		even += *(const KERNEL(lanes) *) (a + j) * *(const KERNEL(lanes) *) (b + j);
		odd += *(const KERNEL(lanes) *) (a + j + LANES) *
			*(const KERNEL(lanes) *) (b + j + LANES);
	}
	if (j + LANES <= n)
	{
		even += *(const KERNEL(lanes) *) (a + j) * *(const KERNEL(lanes) *) (b + j);
		j += LANES;
	}
	NO_VECTORS
	for (; j < n; j++)
		sum += a[j] * b[j];
	even += odd;
	for (l = 0; l < LANES / 2; l++)
		sum += even[l] + even[l + LANES / 2];
	return sum;
}

TARGET static void
KERNEL(logits) (const float *restrict a, float bias, const float *restrict rows,
				size_t stride, size_t n, size_t count, float *restrict out)
{
	size_t		r;

	for (r = 0; r < count; r++)
	{
		const float *row = rows + r * stride;
		float		logit = KERNEL(dot) (a, row, n);

		/* in the order of cf_model_predict() */
		logit += bias;
		out[r] = logit + row[n];
	}
}

/* Four rows by 16 columns: eight sums, which fit in registers. */
TARGET static inline void
KERNEL(dense_block) (const float *const *rows, size_t n, const float *weights, size_t width,
					 const KERNEL(eight) start[2], float *out)
{
	const float *a = rows[0];
	const float *b = rows[1];
	const float *c = rows[2];
	const float *d = rows[3];
	KERNEL(eight) a0 = start[0], a1 = start[1], b0 = start[0], b1 = start[1];
	KERNEL(eight) c0 = start[0], c1 = start[1], d0 = start[0], d1 = start[1];
	size_t		j;

	for (j = 0; j < n; j++)
	{
		const KERNEL(eight) w0 = *(const KERNEL(eight) *) (weights + j * width);
		const KERNEL(eight) w1 = *(const KERNEL(eight) *) (weights + j * width + 8);

		a0 += a[j] * w0;
		a1 += a[j] * w1;
		b0 += b[j] * w0;
		b1 += b[j] * w1;
		c0 += c[j] * w0;
		c1 += c[j] * w1;
		d0 += d[j] * w0;
		d1 += d[j] * w1;
	}
	*(KERNEL(eight) *) out = a0;
	*(KERNEL(eight) *) (out + 8) = a1;
	*(KERNEL(eight) *) (out + width) = b0;
	*(KERNEL(eight) *) (out + width + 8) = b1;
	*(KERNEL(eight) *) (out + 2 * width) = c0;
	*(KERNEL(eight) *) (out + 2 * width + 8) = c1;
	*(KERNEL(eight) *) (out + 3 * width) = d0;
	*(KERNEL(eight) *) (out + 3 * width + 8) = d1;
}

/* One row by 16 columns, by the same sums. */
TARGET static inline void
KERNEL(dense_row) (const float *a, size_t n, const float *weights, size_t width,
				   const KERNEL(eight) start[2], float *out)
{
	KERNEL(eight) a0 = start[0], a1 = start[1];
	size_t		j;

	for (j = 0; j < n; j++)
	{
		a0 += a[j] * *(const KERNEL(eight) *) (weights + j * width);
		a1 += a[j] * *(const KERNEL(eight) *) (weights + j * width + 8);
	}
	*(KERNEL(eight) *) out = a0;
	*(KERNEL(eight) *) (out + 8) = a1;
}

TARGET static void
KERNEL(dense) (const float *const *rows, size_t count, size_t n, const float *restrict weights,
			   size_t width, const float *restrict start, bool relu, float *restrict out)
{
	size_t		column;
	size_t		j;

	for (column = 0; column < width; column += 16)
	{
		KERNEL(eight) begin[2] = {{0}, {0}};
		size_t		r = 0;

		if (start != NULL)
		{
			begin[0] = *(const KERNEL(eight) *) (start + column);
			begin[1] = *(const KERNEL(eight) *) (start + column + 8);
		}
		for (; r + 4 <= count; r += 4)
			KERNEL(dense_block) (rows + r, n, weights + column, width, begin,
								 out + r * width + column);
		for (; r < count; r++)
			KERNEL(dense_row) (rows[r], n, weights + column, width, begin,
							   out + r * width + column);
	}
	for (j = 0; relu && j < count * width; j++)
		out[j] = out[j] > 0.0f ? out[j] : 0.0f;
}

TARGET static void
KERNEL(add_relu) (const float *restrict a, const float *restrict b, float *restrict out, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
	{
		float		sum = a[j] + b[j];

		out[j] = sum > 0.0f ? sum : 0.0f;
	}
}

TARGET static bool
KERNEL(any_at_least) (const float *x, size_t n, float bound)
{
	int			any = 0;
	size_t		j;

	for (j = 0; j < n; j++)
		any |= x[j] >= bound;
	return any != 0;
}

TARGET static void
KERNEL(axpy) (float a, const float *restrict x, float *restrict y, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
		y[j] += a * x[j];
}

TARGET static void
KERNEL(axpby) (float a, const float *restrict x, float b, float *restrict y, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
		y[j] = b * y[j] + a * x[j];
}

TARGET static void
KERNEL(axpy_pair) (float a, const float *restrict p, const float *restrict q,
				   float *restrict x, float *restrict y, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
	{
		x[j] += a * q[j];
		y[j] += a * p[j];
	}
}

TARGET static void
KERNEL(adam_step) (const cf_adam_step *s, float *restrict p, float *restrict m,
				   float *restrict v, float *restrict d, float *restrict g, size_t n)
{
	const cf_adam_step step = *s;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		float		mj = step.keep1 * m[j] + step.fresh1 * g[j];
		float		vj = step.keep2 * v[j] + step.fresh2 * g[j] * g[j];
		float		dj = mj / (sqrtf(vj) * step.unbias + step.epsilon);

		m[j] = mj;
		v[j] = vj;
		d[j] = dj;
		p[j] = step.decay * p[j] - step.rate * dj;
		g[j] = 0.0f;
	}
}

/* For tails of rows. */
typedef float KERNEL(four) __attribute__((vector_size(4 * sizeof(float)),
										  aligned(sizeof(float)), may_alias));

/* The same as integers: for bits, conversions and comparisons. */
typedef int KERNEL(numbers) __attribute__((vector_size(LANES * sizeof(int)),
										   aligned(sizeof(int)), may_alias));

/*
 * x = 1 / (1 + e^-x).  e^-x is 2^whole 2^part with |part| <= 1/2; the
 * polynomial is the Taylor series, which there errs by about a float's last
 * bit.  What is not a number stays none.
 */
TARGET static inline void
KERNEL(sigmoid) (KERNEL(lanes) *x)
{
	const float rounding = 12582912.0f; /* 1.5 2^23: adding it leaves whole numbers */
	KERNEL(lanes) t = *x * -1.44269504f;
	KERNEL(numbers) beyond = t > 126.0f;
	KERNEL(numbers) below = t < -126.0f;
	KERNEL(numbers) bits = (KERNEL(numbers)) t;
	KERNEL(lanes) whole;
	KERNEL(lanes) part;
	KERNEL(lanes) power;

	/* 126 and -126 as bits */
	bits = (bits & ~(beyond | below)) | (beyond & 0x42FC0000) | (below & (int) 0xC2FC0000);
	t = (KERNEL(lanes)) bits;
	whole = t + rounding - rounding;
	part = (t - whole) * 0.693147181f;
	power = part * (1.0f / 720.0f) + 1.0f / 120.0f;
	power = power * part + 1.0f / 24.0f;
	power = power * part + 1.0f / 6.0f;
	power = power * part + 0.5f;
	power = power * part + 1.0f;
	power = power * part + 1.0f;
	bits = (__builtin_convertvector(whole, KERNEL(numbers)) + 127) << 23;
	*x = 1.0f / (1.0f + power * (KERNEL(lanes)) bits);
}

/* Dot products of a row with four others, over whole rows. */
TARGET static inline void
KERNEL(dot_four) (const float *a, float *const *rows, size_t stride, float *out)
{
	KERNEL(lanes) sums[4] = {{0}, {0}, {0}, {0}};
	KERNEL(four) tails[4] = {{0}, {0}, {0}, {0}};
	size_t		j = 0;
	int			r;
	int			l;

	for (; j + LANES <= stride; j += LANES)
		for (r = 0; r < 4; r++)
			sums[r] += *(const KERNEL(lanes) *) (a + j) * *(const KERNEL(lanes) *) (rows[r] + j);
	for (; j < stride; j += 4)
		for (r = 0; r < 4; r++)
			tails[r] += *(const KERNEL(four) *) (a + j) * *(const KERNEL(four) *) (rows[r] + j);
	for (r = 0; r < 4; r++)
	{
		for (l = 0; l < LANES; l += 4)
			tails[r] += *(const KERNEL(four) *) ((const float *) &sums[r] + l);
		out[r] = (tails[r][0] + tails[r][1]) + (tails[r][2] + tails[r][3]);
	}
}

/*
 * From logits to what the rows of items move by for a factor of 1; returns the
 * sum of the first n squared errors.
 */
TARGET static inline float
KERNEL(sgd_moves) (const cf_sgd_step *s, const float *restrict values, size_t n,
				   float *restrict logits)
{
	float		squares[CF_SGD_GROUP];
	float		sum = 0.0f;
	size_t		j;

	for (j = 0; j < n; j += LANES)
	{
		KERNEL(lanes) x = *(const KERNEL(lanes) *) (logits + j);
		KERNEL(lanes) error = *(const KERNEL(lanes) *) (values + j);

		if (s->use_range)
		{
			KERNEL(sigmoid) (&x);
			error -= s->low + s->span * x;
			x = error * x * (1.0f - x) * s->span;
		}
		else
			x = error -= x;
		*(KERNEL(lanes) *) (squares + j) = error * error;
		*(KERNEL(lanes) *) (logits + j) = x * s->rate;
	}
	for (j = 0; j < n; j++)
		sum += squares[j];
	return sum;
}

/* "count" times the type's width of columns of all rows of a group, from j on. */
#define SGD_COLUMNS(type, count) \
	do { \
		KERNEL(type) mine[count]; \
		KERNEL(type) moved[count]; \
		for (c = 0; c < (count); c++) \
		{ \
			mine[c] = ((const KERNEL(type) *) (user + j))[c]; \
			moved[c] = mine[c] * keep_all; \
		} \
		for (i = 0; i < n; i++) \
		{ \
			KERNEL(type) *other = (KERNEL(type) *) (items[i] + j); \
			for (c = 0; c < (count); c++) \
			{ \
				moved[c] += moves[i] * other[c]; \
				other[c] = other[c] * keep + moves[i] * mine[c]; \
			} \
		} \
		for (c = 0; c < (count); c++) \
			((KERNEL(type) *) (p + j))[c] = moved[c]; \
	} while (0)

/*
 * In the user's copy the bias stands as 1, and then as the gain, so that the
 * products give and take the items' biases among the factors.
 */
TARGET static float
KERNEL(sgd_step) (const cf_sgd_step *s, float *restrict p, float **items, const float *values,
				  size_t n)
{
	float		user[CF_SGD_STRIDE] __attribute__((aligned(64)));
	float		moves[CF_SGD_GROUP] __attribute__((aligned(64))) = {0};
	const float keep = s->keep;
	const size_t stride = s->stride;
	float		bias = p[s->n_factors];
	float		keep_all = 1.0f - (float) n * (1.0f - keep);
	float		bias_moved = bias * keep_all;
	float		sum;
	size_t		i;
	size_t		j;
	int			c;

	for (j = 0; j < stride; j += 4)
		*(KERNEL(four) *) (user + j) = *(const KERNEL(four) *) (p + j);
	user[s->n_factors] = 1.0f;
	for (i = n; i % 4 != 0; i++)
		items[i] = items[0];
	for (i = 0; i < n; i += 4)
		KERNEL(dot_four) (user, items + i, stride, moves + i);
	for (i = 0; i < CF_SGD_GROUP; i += LANES)
		*(KERNEL(lanes) *) (moves + i) += bias;
	sum = KERNEL(sgd_moves) (s, values, n, moves);
	user[s->n_factors] = s->bias_gain;
	for (j = 0; j + 4 * LANES <= stride; j += 4 * LANES)
		SGD_COLUMNS(lanes, 4);
	for (; j + 2 * LANES <= stride; j += 2 * LANES)
		SGD_COLUMNS(lanes, 2);
	for (; j + LANES <= stride; j += LANES)
		SGD_COLUMNS(lanes, 1);
	for (; j < stride; j += 4)
		SGD_COLUMNS(four, 1);
	for (i = 0; i < n; i++)
		bias_moved += moves[i] * s->bias_gain;
	p[s->n_factors] = bias_moved;
	return sum;
}

#undef SGD_COLUMNS

static const cf_kernels KERNEL(kernels) = {
	LEVEL_NAME,
	KERNEL(dot),
	KERNEL(logits),
	KERNEL(dense),
	KERNEL(add_relu),
	KERNEL(any_at_least),
	KERNEL(axpy),
	KERNEL(axpby),
	KERNEL(axpy_pair),
	KERNEL(sgd_step),
	KERNEL(adam_step)
};

#undef KERNEL
#undef TARGET
#undef LANES
#undef LEVEL_NAME
