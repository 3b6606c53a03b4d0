/*
 * cf_gram.h
 *	  Dense linear algebra of small systems: Gram matrices of gathered rows,
 *	  Cholesky's decomposition and what is solved with it.
 *
 * As with cf_kernels.h, one source (cf_gram_body.h) is compiled for several
 * levels of CPU, every sum has a fixed order, and levels differ in the last
 * bits.  Products of ratings are added up in single precision, at most
 * CF_GRAM_ROWS of them; the sums of those, and all that follows, in double.
 */
#ifndef CF_GRAM_H
#define CF_GRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CF_GRAM_ROWS	128		/* rows that are gathered at once */
#define CF_GRAM_UNIT	16		/* floats that widths are multiples of */
#define CF_SOLVE_UNIT	8		/* doubles that columns are multiples of */

/* "n" numbers of rows and their values, "step" bytes from one to the next. */
typedef struct cf_gather
{
	size_t		n;
	const uint32_t *numbers;
	const float *values;
	size_t		step;
} cf_gather;

typedef struct cf_gram
{
	const char *name;

	/*
	 * Copy rows of a table that are "width" floats wide, those of the numbers
	 * [first, first + count); what follows is asked for ahead.  What a row has at
	 * [n - 1], as t, becomes (value - mean) scale row[n - 2] - t: the target of
	 * a regression on what stands before it.
	 */
	void		(*gather) (const float *table, size_t width, size_t n, const cf_gather *from,
						   size_t first, size_t count, float mean, float scale, float *out);

	/* out[j] = sum of the rows, j < n; the rest of a register is written, too. */
	void		(*sum) (const float *table, size_t width, size_t n, const cf_gather *from,
						size_t count, float *out);

	/*
	 * out[i][j] = (add: +=) sum over the rows of row[i] row[j], for j <= i < n.
	 * Rows and out are "width" wide, of which all is readable and writable; count
	 * is at most CF_GRAM_ROWS.  Elements of out above the diagonal are scratch.
	 */
	void		(*gram) (const float *rows, size_t count, size_t width, size_t n, bool add,
						 double *out);

	/* x' G x for the lower half of G as gram() leaves it; the order n. */
	double		(*square) (const double *gram, size_t width, size_t n, const double *x);

	/*
	 * Cholesky: A = L L', in place.  Column j is at a + j "stride", its rows j to
	 * n_rows - 1 are given, what is above is written.  Rows n to n_rows - 1
	 * are right sides, as rows: they become L^-1 of themselves.  The stride is a
	 * multiple of CF_SOLVE_UNIT.  False: A is not positive definite.
	 */
	bool		(*factor) (double *a, size_t n, size_t n_rows, size_t stride);

	/*
	 * x = L'^-1 x and y = L'^-1 y, in place, for L of factor(); both have room
	 * for a whole stride.
	 */
	void		(*back) (const double *l, size_t n, size_t stride, double *x, double *y);
} cf_gram;

/* The best level that this CPU has. */
extern const cf_gram *cf_gram_best(void);

/* As cf_kernels_level(). */
extern const cf_gram *cf_gram_level(int level);

/* Doubles from one column to the next for n rows. */
static inline size_t
cf_solve_stride(size_t n)
{
	return (n + CF_SOLVE_UNIT - 1) / CF_SOLVE_UNIT * CF_SOLVE_UNIT;
}

static inline size_t
cf_gram_width(size_t n)
{
	return (n + CF_GRAM_UNIT - 1) / CF_GRAM_UNIT * CF_GRAM_UNIT;
}

#endif							/* CF_GRAM_H */
