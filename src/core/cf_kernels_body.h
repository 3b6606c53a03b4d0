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

/* ---------- a step of stochastic gradient descent ---------- */

/* Eight integers: for bits, conversions and comparisons of eight floats. */
typedef int KERNEL(eight_bits) __attribute__((vector_size(8 * sizeof(int)),
											  aligned(sizeof(int)), may_alias));

/*
 * x = 1 / (1 + e^-x).  e^-x is 2^whole 2^part with |part| <= 1/2; the
 * polynomial is the Taylor series, which there errs by about a float's last
 * bit.  What is not a number stays none.
 */
TARGET static inline void
KERNEL(sigmoid) (KERNEL(eight) *x)
{
	const float rounding = 12582912.0f; /* 1.5 2^23: adding it leaves whole numbers */
	KERNEL(eight) t = *x * -1.44269504f;
	KERNEL(eight_bits) beyond = t > 126.0f;
	KERNEL(eight_bits) below = t < -126.0f;
	KERNEL(eight_bits) bits = (KERNEL(eight_bits)) t;
	KERNEL(eight) whole;
	KERNEL(eight) part;
	KERNEL(eight) power;

	/* 126 and -126 as bits */
	bits = (bits & ~(beyond | below)) | (beyond & 0x42FC0000) | (below & (int) 0xC2FC0000);
	t = (KERNEL(eight)) bits;
	whole = t + rounding - rounding;
	part = (t - whole) * 0.693147181f;
	power = part * (1.0f / 720.0f) + 1.0f / 120.0f;
	power = power * part + 1.0f / 24.0f;
	power = power * part + 1.0f / 6.0f;
	power = power * part + 0.5f;
	power = power * part + 1.0f;
	power = power * part + 1.0f;
	bits = (__builtin_convertvector(whole, KERNEL(eight_bits)) + 127) << 23;
	*x = 1.0f / (1.0f + power * (KERNEL(eight)) bits);
}

#define EIGHT_AT(row) (*(KERNEL(eight) *) ((row) + j))
#define EACH_OF_FOUR(DO) DO(0) DO(1) DO(2) DO(3)

/* Sums of vectors by halves, one level of a tree; the last gives a sum a lane. */
#define ADD_PAIRS(a, b) \
	(SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15))
#define ADD_FOURS(a, b) \
	(SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define ADD_EIGHTS(a, b) \
	(SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15))

/* The last eight columns of a row: which is the bias's, and others with "gain" in it. */
#define BIAS_COLUMN(s) \
	((KERNEL(eight_bits)) {0, 1, 2, 3, 4, 5, 6, 7} == (int) ((s)->n_factors % 8))
#define WITH_GAIN(columns, gain) \
	((KERNEL(eight)) ((KERNEL(eight_bits)) (columns) & ~is_bias) + (gain))

/*
 * The logits of four pairs of rows, each in two halves: those of columns that
 * are below 4 modulo 8, then the others.  Four, because the pointers of eight
 * pairs do not fit into registers.  A product of biases is none of a model: the
 * user's stands as 1, and is added by itself.  Four rows that come next are asked
 * for on the way: many at once would have the processor wait.
 */
TARGET static inline void
KERNEL(four_logits) (const cf_sgd_step *s, float *const *users, float *const *items,
					 float *const *next, KERNEL(eight) *halves)
{
	const KERNEL(eight_bits) is_bias = BIAS_COLUMN(s);
	const KERNEL(eight) one = (KERNEL(eight)) (is_bias & 0x3F800000);
	const size_t stride = s->stride;
	size_t		j;

#define START(r) \
	const float *user##r = users[r]; \
	const float *item##r = items[r]; \
	const float *next##r = next[r]; \
	KERNEL(eight) sum##r = {0};
#define ADD_PRODUCTS(r) sum##r += EIGHT_AT(user##r) * EIGHT_AT(item##r);
#define FETCH(r) __builtin_prefetch(next##r + j, 1);
#define ADD_LAST(r) \
	sum##r += WITH_GAIN(EIGHT_AT(user##r), one) * EIGHT_AT(item##r); \
	sum##r += (KERNEL(eight)) ((KERNEL(eight_bits)) EIGHT_AT(user##r) & is_bias);

	EACH_OF_FOUR(START)
	for (j = 0; j + 8 < stride; j += 8)
	{
		EACH_OF_FOUR(FETCH)
		EACH_OF_FOUR(ADD_PRODUCTS)
	}
	EACH_OF_FOUR(FETCH)
	EACH_OF_FOUR(ADD_LAST)
	sum0 = ADD_PAIRS(sum0, sum1);
	sum2 = ADD_PAIRS(sum2, sum3);
	*halves = ADD_FOURS(sum0, sum2);

#undef START
#undef ADD_PRODUCTS
#undef FETCH
#undef ADD_LAST
}

/* From logits to what rows move by for a factor of 1, and the squared errors. */
TARGET static inline void
KERNEL(eight_moves) (const cf_sgd_step *s, const float *values, KERNEL(eight) *logits,
					 KERNEL(eight) *squares)
{
	KERNEL(eight) error = *(const KERNEL(eight) *) values;
	KERNEL(eight) x = *logits;

	if (s->use_range)
	{
		KERNEL(sigmoid) (&x);
		error -= s->low + s->span * x;
		*logits = error * x * (1.0f - x) * (s->span * s->rate);
	}
	else
	{
		error -= x;
		*logits = error * s->rate;
	}
	*squares = error * error;
}

/* "count" times eight columns, none the last, of a user's row and of n items'. */
#define MOVE_COLUMNS(count) \
	for (; j + 8 * (count) < stride; j += 8 * (count)) \
	{ \
		KERNEL(eight) mine[count]; \
		KERNEL(eight) moved[count]; \
		for (c = 0; c < (count); c++) \
		{ \
			mine[c] = EIGHT_AT(user + 8 * c); \
			moved[c] = mine[c] * keep_all; \
		} \
		for (i = 0; i < n; i++) \
		{ \
			for (c = 0; c < (count); c++) \
			{ \
				KERNEL(eight) other = EIGHT_AT(items[i] + 8 * c); \
				\
				moved[c] += moves[i] * other; \
				EIGHT_AT(items[i] + 8 * c) = other * keep + moves[i] * mine[c]; \
			} \
		} \
		for (c = 0; c < (count); c++) \
			EIGHT_AT(user + 8 * c) = moved[c]; \
	}

/* The rows of a user and of n items, by the moves of their ratings. */
TARGET static inline void
KERNEL(move_rows) (const cf_sgd_step *s, float *user, float *const *items, const float *moves,
				   size_t n)
{
	const KERNEL(eight_bits) is_bias = BIAS_COLUMN(s);
	const KERNEL(eight) gain = (KERNEL(eight)) (is_bias & 0x3F800000) * s->bias_gain;
	const size_t stride = s->stride;
	const float keep = s->keep;
	const float keep_all = 1.0f - (float) n * (1.0f - keep);
	KERNEL(eight) last;
	KERNEL(eight) last_moved;
	size_t		i;
	size_t		j = 0;
	int			c;

	MOVE_COLUMNS(4)
	MOVE_COLUMNS(2)
	MOVE_COLUMNS(1)
	last = WITH_GAIN(EIGHT_AT(user), gain);
	last_moved = EIGHT_AT(user) * keep_all;
	for (i = 0; i < n; i++)
	{
		KERNEL(eight) other = EIGHT_AT(items[i]);

		last_moved += moves[i] * WITH_GAIN(other, gain);
		EIGHT_AT(items[i]) = other * keep + moves[i] * last;
	}
	EIGHT_AT(user) = last_moved;
}

TARGET static float
KERNEL(sgd_step) (const cf_sgd_step *s, cf_sgd_batch *batch, const cf_sgd_batch *next)
{
	KERNEL(eight) moves[CF_SGD_BATCH / 8];
	KERNEL(eight) squares[CF_SGD_BATCH / 8];
	float	  **users = batch->users;
	float	  **items = batch->items;
	const size_t n = batch->size;
	float		sum = 0.0f;
	size_t		of_user;
	size_t		i;

	for (i = n; i % 8 != 0; i++)
	{
		users[i] = users[0];
		items[i] = items[0];
	}
	for (i = 0; i < n; i += 8)
	{
		KERNEL(eight) first;
		KERNEL(eight) second;

		KERNEL(four_logits) (s, users + i, items + i, next->items + i, &first);
		KERNEL(four_logits) (s, users + i + 4, items + i + 4, next->items + i + 4, &second);
		moves[i / 8] = ADD_EIGHTS(first, second);
	}
	for (i = 0; i < n; i += 8)
		KERNEL(eight_moves) (s, batch->values + i, &moves[i / 8], &squares[i / 8]);
	for (i = 0; i < n; i += of_user)
	{
		for (of_user = 1; i + of_user < n && users[i + of_user] == users[i];)
			of_user++;
		KERNEL(move_rows) (s, users[i], items + i, (const float *) moves + i, of_user);
	}
	for (i = 0; i < n; i++)
		sum += ((const float *) squares)[i];
	return sum;
}

#undef EIGHT_AT
#undef EACH_OF_FOUR
#undef ADD_PAIRS
#undef ADD_FOURS
#undef ADD_EIGHTS
#undef BIAS_COLUMN
#undef WITH_GAIN
#undef MOVE_COLUMNS

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
