/*
 * cf_gram_body.h
 *	  Dense linear algebra of small systems: included once for each level.
 *
 * The including file defines KERNEL(name) and TARGET as for cf_kernels_body.h;
 * LANES, the floats of a register; and MOST_ROWS, the sums of a block that fit
 * in registers.
 */
typedef float KERNEL(floats) __attribute__((vector_size(LANES * sizeof(float)),
											aligned(sizeof(float)), may_alias));

/* As many doubles as there are floats in a register: takes two. */
typedef double KERNEL(wide) __attribute__((vector_size(LANES * sizeof(double)),
										   aligned(sizeof(double)), may_alias));

/* One register of doubles. */
typedef double KERNEL(doubles) __attribute__((vector_size(LANES / 2 * sizeof(double)),
											  aligned(sizeof(double)), may_alias));

static INLINE const uint32_t *
KERNEL(number_at) (const cf_gather *from, size_t j)
{
	return (const uint32_t *) ((const char *) from->numbers + j * from->step);
}

TARGET static void
KERNEL(gather) (const float *restrict table, size_t width, size_t n, const cf_gather *from,
				size_t first, size_t count, float mean, float scale, float *restrict out)
{
	const char *values = (const char *) from->values;
	size_t		j;
	size_t		f;

	for (j = 0; j < count; j++)
	{
		const float *row = table + *KERNEL(number_at) (from, first + j) * width;
		float	   *to = out + j * width;
		float		value = *(const float *) (values + (first + j) * from->step);

		if (first + j + FETCH_AHEAD < from->n)
		{
			const float *ahead = table +
				*KERNEL(number_at) (from, first + j + FETCH_AHEAD) * width;

			for (f = 0; f < width; f += CF_GRAM_UNIT)
				PREFETCH(ahead + f);
		}
		for (f = 0; f < width; f += LANES)
			*(KERNEL(floats) *) (to + f) = *(const KERNEL(floats) *) (row + f);
		to[n - 1] = (value - mean) * scale * row[n - 2] - row[n - 1];
	}
}

/* Sums of "n_registers" (a constant) registers of columns. */
TARGET static INLINE void
KERNEL(sum_columns) (const float *restrict table, size_t width, const cf_gather *from,
					 size_t count, size_t column, float *restrict out, const int n_registers)
{
	KERNEL(floats) sums[4];
	size_t		j;
	int			v;

	UNROLL
	for (v = 0; v < n_registers; v++)
		sums[v] = (KERNEL(floats)) {0};
	for (j = 0; j < count; j++)
	{
		const float *row = table + *KERNEL(number_at) (from, j) * width + column;

		UNROLL
		for (v = 0; v < n_registers; v++)
			sums[v] += *(const KERNEL(floats) *) (row + v * LANES);
	}
	UNROLL
	for (v = 0; v < n_registers; v++)
		*(KERNEL(floats) *) (out + column + (size_t) (v * LANES)) = sums[v];
}

TARGET static void
KERNEL(sum) (const float *table, size_t width, size_t n, const cf_gather *from, size_t count,
			 float *out)
{
	size_t		column;

	for (column = 0; column < n; column += 4 * LANES)
	{
		size_t		left = (n - column + LANES - 1) / LANES;

		if (left >= 4)
			KERNEL(sum_columns) (table, width, from, count, column, out, 4);
		else if (left == 3)
			KERNEL(sum_columns) (table, width, from, count, column, out, 3);
		else if (left == 2)
			KERNEL(sum_columns) (table, width, from, count, column, out, 2);
		else
			KERNEL(sum_columns) (table, width, from, count, column, out, 1);
	}
}

/* Sums of "n_rows" rows by LANES columns of the Gram matrix; n_rows is a constant. */
TARGET static INLINE void
KERNEL(gram_block) (const float *restrict rows, size_t count, size_t width, size_t row,
					size_t column, bool add, double *restrict out, const int n_rows)
{
	KERNEL(floats) sums[MOST_ROWS];
	size_t		j;
	int			i;

	UNROLL
	for (i = 0; i < n_rows; i++)
		sums[i] = (KERNEL(floats)) {0};
	for (j = 0; j < count; j++)
	{
		const float *from = rows + j * width;
		const KERNEL(floats) columns = *(const KERNEL(floats) *) (from + column);

		UNROLL
		for (i = 0; i < n_rows; i++)
			sums[i] += from[row + (size_t) i] * columns;
	}
	UNROLL
	for (i = 0; i < n_rows; i++)
	{
		KERNEL(wide) *to = (KERNEL(wide) *) (out + (row + (size_t) i) * width + column);
		const KERNEL(wide) sum = __builtin_convertvector(sums[i], KERNEL(wide));

		if (add)
			*to += sum;
		else
			*to = sum;
	}
}

TARGET static void
KERNEL(gram) (const float *rows, size_t count, size_t width, size_t n, bool add, double *out)
{
	const size_t end = (n + 3) / 4 * 4;
	size_t		column;
	size_t		row;

	for (column = 0; column < n; column += LANES)
	{
		for (row = column; row < end;)
		{
			size_t		left = end - row;

			if (MOST_ROWS >= 24 && left >= 24)
			{
				KERNEL(gram_block) (rows, count, width, row, column, add, out,
									MOST_ROWS >= 24 ? 24 : 4);
				row += 24;
			}
			else if (MOST_ROWS >= 12 && left >= 12)
			{
				KERNEL(gram_block) (rows, count, width, row, column, add, out,
									MOST_ROWS >= 12 ? 12 : 4);
				row += 12;
			}
			else if (left >= 8)
			{
				KERNEL(gram_block) (rows, count, width, row, column, add, out, 8);
				row += 8;
			}
			else
			{
				KERNEL(gram_block) (rows, count, width, row, column, add, out, 4);
				row += 4;
			}
		}
	}
}

TARGET static INLINE double
KERNEL(add_up) (KERNEL(doubles) sums)
{
	double		sum = 0.0;
	int			l;

	UNROLL
	for (l = 0; l < LANES / 2; l++)
		sum += sums[l];
	return sum;
}

TARGET static double
KERNEL(square) (const double *gram, size_t width, size_t n, const double *x)
{
	double		sum = 0.0;
	size_t		i;
	size_t		j;

	for (i = 0; i < n; i++)
	{
		const double *row = gram + i * width;
		KERNEL(doubles) sums = {0};
		double		product;

		for (j = 0; j + LANES / 2 <= i; j += LANES / 2)
			sums += *(const KERNEL(doubles) *) (row + j) * *(const KERNEL(doubles) *) (x + j);
		product = KERNEL(add_up) (sums);
		for (; j < i; j++)
			product += row[j] * x[j];
		sum += x[i] * (2.0 * product + row[i] * x[i]);
	}
	return sum;
}

/*
 * Column j less what the columns before it say, for rows from "row" on and
 * "n_registers" (a constant) of them.  Odd and even columns are added up
 * apart, so that one sum need not wait for the other.
 */
TARGET static INLINE void
KERNEL(reduce) (double *a, size_t stride, size_t j, size_t row, const int n_registers)
{
	const int	lanes = LANES / 2;
	KERNEL(doubles) even[MOST_REGISTERS];
	KERNEL(doubles) odd[MOST_REGISTERS];
	double	   *to = a + j * stride + row;
	size_t		c;
	int			v;

	UNROLL
	for (v = 0; v < n_registers; v++)
	{
		even[v] = *(const KERNEL(doubles) *) (to + v * lanes);
		odd[v] = (KERNEL(doubles)) {0};
	}
	for (c = 0; c + 2 <= j; c += 2)
	{
		const double *first = a + c * stride;
		const double *second = first + stride;

		UNROLL
		for (v = 0; v < n_registers; v++)
		{
			even[v] -= first[j] * *(const KERNEL(doubles) *) (first + row + v * lanes);
			odd[v] -= second[j] * *(const KERNEL(doubles) *) (second + row + v * lanes);
		}
	}
	if (c < j)
	{
		const double *last = a + c * stride;

		UNROLL
		for (v = 0; v < n_registers; v++)
			even[v] -= last[j] * *(const KERNEL(doubles) *) (last + row + v * lanes);
	}
	UNROLL
	for (v = 0; v < n_registers; v++)
		*(KERNEL(doubles) *) (to + v * lanes) = even[v] + odd[v];
}

/* All of a column, as many registers at once as there are. */
TARGET static void
KERNEL(reduce_column) (double *a, size_t stride, size_t j, size_t row, size_t end)
{
	while (row < end)
	{
		const size_t left = (end - row) / (LANES / 2);

		if (left >= 6)
			KERNEL(reduce) (a, stride, j, row, 6);
		else if (left >= 4)
			KERNEL(reduce) (a, stride, j, row, 4);
		else if (left == 3)
			KERNEL(reduce) (a, stride, j, row, 3);
		else if (left == 2)
			KERNEL(reduce) (a, stride, j, row, 2);
		else
			KERNEL(reduce) (a, stride, j, row, 1);
		row += (left >= 6 ? 6 : left >= 4 ? 4 : left) * (LANES / 2);
	}
}

TARGET static bool
KERNEL(factor) (double *a, size_t n, size_t n_rows, size_t stride)
{
	const size_t lanes = LANES / 2;
	const size_t end = (n_rows + lanes - 1) / lanes * lanes;
	size_t		j;
	size_t		row;

	for (j = 0; j < n; j++)
	{
		double	   *column = a + j * stride;
		const size_t start = j / lanes * lanes;
		double		scale;

		for (row = start; row < j; row++)
			column[row] = 0.0;
		KERNEL(reduce_column) (a, stride, j, start, end);
		if (!(column[j] > 0.0) || column[j] > 1e300)
			return false;
		scale = 1.0 / sqrt(column[j]);
		for (row = start; row < end; row += lanes)
			*(KERNEL(doubles) *) (column + row) *= scale;
		for (row = start; row < j; row++)
			column[row] = 0.0;
	}
	return true;
}

TARGET static void
KERNEL(back) (const double *l, size_t n, size_t stride, double *x, double *y)
{
	const size_t lanes = LANES / 2;
	const size_t end = (n + lanes - 1) / lanes * lanes;
	size_t		j;
	size_t		row;

	for (row = n; row < end; row++)
		x[row] = y[row] = 0.0;
	for (j = n; j-- > 0;)
	{
		const double *column = l + j * stride;
		KERNEL(doubles) to_x = {0};
		KERNEL(doubles) to_y = {0};
		const double diagonal = column[j];
		double		of_x = 0.0;
		double		of_y = 0.0;

		/* up to a whole register one by one, as what is before j is not solved yet */
		for (row = j + 1; row % lanes != 0; row++)
		{
			of_x += column[row] * x[row];
			of_y += column[row] * y[row];
		}
		for (; row < end; row += lanes)
		{
			to_x += *(const KERNEL(doubles) *) (column + row) * *(const KERNEL(doubles) *) (x + row);
			to_y += *(const KERNEL(doubles) *) (column + row) * *(const KERNEL(doubles) *) (y + row);
		}
		x[j] = (x[j] - of_x - KERNEL(add_up) (to_x)) / diagonal;
		y[j] = (y[j] - of_y - KERNEL(add_up) (to_y)) / diagonal;
	}
}

static const cf_gram KERNEL(gram_level) = {
	LEVEL_NAME,
	KERNEL(gather),
	KERNEL(sum),
	KERNEL(gram),
	KERNEL(square),
	KERNEL(factor),
	KERNEL(back)
};

#undef KERNEL
#undef TARGET
#undef LANES
#undef MOST_ROWS
#undef LEVEL_NAME
