/*
 * cf_kernels.h
 *	  The inner loops, compiled for several levels of CPU.
 *
 * One source (cf_kernels_body.h) is compiled once for each level; the best
 * one that the CPU has is picked at run time.  Every kernel adds in a fixed
 * order, so that a level gives the same bits each time; levels differ from
 * one another in the last bits.  No kernel needs its arrays aligned, but rows
 * of a cf_side are.
 */
#ifndef CF_KERNELS_H
#define CF_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

/* What Adam does to a parameter that has a gradient in this step. */
typedef struct cf_adam_step
{
	float		beta1;			/* m = beta1 m + (1 - beta1) g */
	float		beta2;			/* v = beta2 v + (1 - beta2) g^2 */
	float		decay;			/* 1 - lr wd */
	float		rate;			/* lr / (1 - beta1^t) */
	float		unbias;			/* 1 / sqrt(1 - beta2^t) */
	float		epsilon;
} cf_adam_step;

/* What happened to a parameter in the steps in which it had none. */
typedef struct cf_adam_gap
{
	float		decay;			/* product of the steps' decays */
	float		tail;			/* weight of the momentum's tail, m / (sqrt(v) + eps) */
	float		m_left;			/* what is left of m */
	float		v_left;			/* ... and of v */
	float		epsilon;
} cf_adam_gap;

typedef struct cf_kernels
{
	const char *name;			/* "baseline", "avx2", "avx512" */

	/* sum of a[j] b[j], j < n */
	float		(*dot) (const float *a, const float *b, size_t n);

	/* y[j] += a x[j] */
	void		(*axpy) (float a, const float *x, float *y, size_t n);

	/* one step of Adam with decoupled decay; clears g */
	void		(*adam_step) (const cf_adam_step *s, float *p, float *m,
							  float *v, float *g, size_t n);

	/* p = p decay - tail m / (sqrt(v) + eps); m *= m_left; v *= v_left */
	void		(*adam_gap) (const cf_adam_gap *s, float *p, float *m,
							 float *v, size_t n);
} cf_kernels;

/* The best level that this CPU has. */
extern const cf_kernels *cf_kernels_best(void);

/* Level 0 (plain C, everywhere), 1, ...; NULL where there is none or the CPU lacks it. */
extern const cf_kernels *cf_kernels_level(int level);

#define CF_KERNEL_LEVELS	3

#endif							/* CF_KERNELS_H */
