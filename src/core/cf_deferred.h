/*
 * cf_deferred.h
 *	  Adam on the rows of two sides, at the cost of the rows that a batch
 *	  touches.
 *
 * Kingma, Ba: "Adam", 2015; Loshchilov, Hutter: "Decoupled Weight Decay
 * Regularization", 2019; schedule of cf_schedule.h.  With t = 0, 1, ... and
 * the schedule's lr and beta1 of that step, every parameter does
 *
 *		p -= lr wd p
 *		m  = beta1 m + (1 - beta1) g
 *		v  = 0.99 v + 0.01 g^2
 *		p -= lr / (1 - beta1^(t+1))  m / (sqrt(v / (1 - 0.99^(t+1))) + 1e-5)
 *
 * whether its gradient g is zero or not.
 *
 * Deferred steps.  Only the rows of a batch have a gradient; a row without
 * one moves in closed form, so it waits until it is next needed.  Over a gap
 * of steps l .. e-1 that began with (p, m, v):
 *
 *		p_e = D(l,e) p - m / sqrt(v) sum_s D(s+1,e) w_s B(l,s+1) / 0.995^(s+1-l)
 *		m_e = B(l,e) m,   v_e = 0.99^(e-l) v
 *
 * where D and B are products of the steps' decays and betas and w_s is the
 * step's rate lr sqrt(1 - 0.99^(s+1)) / (1 - beta1^(s+1)).  The sum is
 * D(l,e) (T(l) - R(l,e) T(e)) with one table T, made backwards once a
 * training, and a ratio R of products: constant work for any gap.  Each row
 * keeps its direction m / (sqrt(v) + epsilon) from its last step, so that
 * catching up takes no root and no division.  Only epsilon is approximated:
 * the tail sees it as it stood at the gap's start (or at the last epoch's end,
 * when all rows are brought up to date).
 */
#ifndef CF_DEFERRED_H
#define CF_DEFERRED_H

#include "cf_batches.h"

#define CF_ADAM_BETA2		0.99
#define CF_ADAM_EPSILON		1e-5

/* The products and the tail's sum as they stand before a step. */
typedef struct cf_deferred_time
{
	double		decay;			/* product of the decays so far, lifted */
	double		beta;			/* product of the betas so far, lifted */
	double		tail;			/* T, see above */
	uint32_t	decay_lifts;
	uint32_t	beta_lifts;
} cf_deferred_time;

/* What a number of steps without gradient does, of which there were g. */
typedef struct cf_deferred_rest
{
	double		growth;			/* 0.99^(-g/2) */
	float		v_left;			/* 0.99^g */
	float		unbias;			/* 1 / sqrt(1 - 0.99^g); g is the time here */
} cf_deferred_rest;

typedef struct cf_deferred_row
{
	uint32_t	time;			/* steps that its moments have made */
	uint32_t	slot;			/* in a batch that touches it */
} cf_deferred_row;

/* A row that the batch touches: its parameters are ahead of its moments. */
typedef struct cf_deferred_slot
{
	uint32_t	row;
	float		m_left;
	float		v_left;
} cf_deferred_slot;

typedef struct cf_deferred_side
{
	cf_side    *side;
	cf_deferred_row *rows;
	float	   *moments;		/* [n_rows][3][stride]: m, v, direction */
	float	   *gradients;		/* [slots][stride], zero between batches */
	cf_deferred_slot *slots;
	uint32_t	n_touched;		/* slots in use */
} cf_deferred_side;

typedef struct cf_deferred
{
	cf_host    *host;
	const cf_kernels *kernels;
	cf_schedule schedule;
	double		wd;
	uint32_t	batch_size;
	uint32_t	n_steps;		/* in all */
	uint32_t	step;			/* the next one */
	size_t		work;			/* floats gone through since the last poll */
	cf_deferred_time *times;	/* [n_steps + 1] */
	cf_deferred_rest *rests;
	float	  **user_gradients; /* [batch_size] of the batch's ratings */
	float	  **item_gradients;
	cf_deferred_side users;
	cf_deferred_side items;
} cf_deferred;

/* Bytes that begin takes. */
extern size_t cf_deferred_memory(const cf_settings *settings, uint32_t n_users,
								 uint32_t n_items, size_t n_train);

/* Whatever comes back, cf_deferred_end() gives all back. */
extern cf_status cf_deferred_begin(cf_deferred *deferred, const cf_settings *settings,
								   const cf_batches *batches, cf_model *model);
extern void cf_deferred_end(cf_deferred *deferred);

/*
 * Bring the rows of a batch up to date.  Then rating j adds its gradients to
 * user_gradients[j] and item_gradients[j], each as wide as its row.
 */
extern cf_status cf_deferred_touch(cf_deferred *deferred, const cf_rating *batch);

/* What this step does to parameters that have a gradient in every step. */
extern cf_adam_step cf_deferred_now(const cf_deferred *deferred);

/* Step the touched rows; time goes on by one. */
extern cf_status cf_deferred_step(cf_deferred *deferred);

/* Bring all rows up to date. */
extern cf_status cf_deferred_settle(cf_deferred *deferred);

/* Count floats gone through, and poll the host now and then: stop? */
extern bool cf_deferred_stops(cf_deferred *deferred, size_t floats);

/*
 * Would squares of gradients pass the range of a float?  Every step would
 * then divide by infinity, and nothing would ever move.
 */
extern bool cf_gradients_overflow(const cf_settings *settings, const cf_ratings *ratings);

#endif							/* CF_DEFERRED_H */
