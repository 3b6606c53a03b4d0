/*
 * cf_kernels.h
 *	  The inner loops, compiled for several levels of CPU.
 *
 * One source (cf_kernels_body.h) is compiled once for each level; the best
 * one that the CPU has is picked at run time.  Every kernel adds in a fixed
 * order, so that a level gives the same bits each time; levels differ from
 * one another in the last bits.  No kernel needs its arrays aligned.  Arrays
 * that are written must not overlap any other.
 */
#ifndef CF_KERNELS_H
#define CF_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What Adam does to a row of parameters that has a gradient in this step.
 * Steps without one that went before are accounted for in keep1 and keep2.
 */
typedef struct cf_adam_step
{
	float		keep1;			/* m = keep1 m + fresh1 g */
	float		fresh1;
	float		keep2;			/* v = keep2 v + fresh2 g^2 */
	float		fresh2;
	float		unbias;			/* d = m / (sqrt(v) unbias + epsilon) */
	float		epsilon;
	float		decay;			/* p = decay p - rate d */
	float		rate;
} cf_adam_step;

#define CF_DENSE_UNIT	16

/* What a step of stochastic gradient descent does to a batch of ratings. */
typedef struct cf_sgd_step
{
	size_t		n_factors;
	size_t		stride;			/* floats of a row, a multiple of 8: factors, bias, zeros */
	float		keep;			/* a row keeps this part of itself for each rating */
	float		rate;			/* of the slope with respect to the logit */
	float		bias_gain;		/* biases move by that many times the rate */
	bool		use_range;
	float		low;			/* of the range */
	float		span;
} cf_sgd_step;

#define CF_SGD_BATCH	24		/* ratings of a batch, at most */

/*
 * Ratings for a step: "size" values, each by the row of a user and that of an
 * item.  Ratings of one user stand together; an item may be there twice.  From
 * "size" on the arrays hold any rows and any values, and may be overwritten.
 */
typedef struct cf_sgd_batch
{
	float	   *users[CF_SGD_BATCH];
	float	   *items[CF_SGD_BATCH];
	float		values[CF_SGD_BATCH];
	size_t		size;
} cf_sgd_batch;

typedef struct cf_kernels
{
	const char *name;			/* "baseline", "avx2", "avx512" */

	/* sum of a[j] b[j], j < n */
	float		(*dot) (const float *a, const float *b, size_t n);

	/*
	 * out[r] = dot(a, row r, n) + bias + row r [n], for the "count" rows that
	 * stand "stride" apart; the dot product has the bits of dot().
	 */
	void		(*logits) (const float *a, float bias, const float *rows, size_t stride,
						   size_t n, size_t count, float *out);

	/*
	 * A layer: out[r][c] = start[c] + sum of rows[r][j] weights[j][c], j < n, for
	 * "count" rows and "width" columns, a multiple of CF_DENSE_UNIT; start NULL
	 * is 0.  With relu, what is negative becomes 0.  A row's result does not
	 * depend on the others.
	 */
	void		(*dense) (const float *const *rows, size_t count, size_t n,
						  const float *weights, size_t width, const float *start,
						  bool relu, float *out);

	/* out[j] = max(a[j] + b[j], 0) */
	void		(*add_relu) (const float *a, const float *b, float *out, size_t n);

	/* is any x[j] >= bound? */
	bool		(*any_at_least) (const float *x, size_t n, float bound);

	/* y[j] += a x[j] */
	void		(*axpy) (float a, const float *x, float *y, size_t n);

	/* y[j] = b y[j] + a x[j] */
	void		(*axpby) (float a, const float *x, float b, float *y, size_t n);

	/* x[j] += a q[j], y[j] += a p[j] */
	void		(*axpy_pair) (float a, const float *p, const float *q, float *x,
							  float *y, size_t n);

	/*
	 * One step on a batch, whose slopes are all taken before any row moves.  The
	 * items' rows of the batch that comes next are asked for meanwhile.  Returns
	 * the sum of the squared errors before the step.
	 */
	float		(*sgd_step) (const cf_sgd_step *s, cf_sgd_batch *batch,
							 const cf_sgd_batch *next);

	/* one step of Adam on p, m, v and the direction d; clears g */
	void		(*adam_step) (const cf_adam_step *s, float *p, float *m,
							  float *v, float *d, float *g, size_t n);
} cf_kernels;

/* The best level that this CPU has. */
extern const cf_kernels *cf_kernels_best(void);

/* Level 0 (plain C, everywhere), 1, ...; NULL where there is none or the CPU lacks it. */
extern const cf_kernels *cf_kernels_level(int level);

#define CF_KERNEL_LEVELS	3

#endif							/* CF_KERNELS_H */
