/*
 * cf_chain.h
 *	  The inside of the Bayesian solver: the state of its chain.
 *
 * A row of a side's table is laid out for what reads it, the gathering for
 * the other side's systems:
 *
 *		g factors | g | g bias | zeros up to the width
 *
 * with g^2 the row's noise weight, so that a gathered row is one of a
 * weighted regression, whose target stands where the bias was.
 *
 * Work is cut into blocks of rows that depend on the ratings alone.  What a
 * block adds up is kept by block, and the blocks' sums are added in order, so
 * that nothing depends on which thread did what.
 *
 * Random numbers have (purpose, side) for their stream and (sweep, row) for
 * their row.
 */
#ifndef CF_CHAIN_H
#define CF_CHAIN_H

#include "cf_bayes.h"
#include "cf_gram.h"
#include "cf_random.h"

#define CF_MOMENT_BLOCKS	16	/* that rows' moments are added up in, at most */

typedef enum cf_purpose
{
	PURPOSE_START,
	PURPOSE_ROW,
	PURPOSE_WEIGHT,
	PURPOSE_WISHART,
	PURPOSE_CHI_SQUARE,
	PURPOSE_MEAN,
	PURPOSE_NOISE,
	PURPOSE_LINK_ROW,
	PURPOSE_LINK_PRIOR,
	PURPOSE_LINK_SCALE,
	PURPOSE_FOLD
} cf_purpose;

/* What a thread computes a row in. */
typedef struct cf_worker
{
	float	   *gathered;		/* [CF_GRAM_ROWS][width] */
	double	   *gram;			/* [width][width] */
	double	   *system;			/* [d][stride] */
	double	   *mean;			/* [stride] */
	double	   *draw;			/* [stride] */
	double	   *shift;			/* [stride] */
	float	   *normals;		/* [width] */
} cf_worker;

typedef struct cf_chain_side
{
	uint32_t	number;			/* 0: users, 1: items */
	cf_side    *served;
	uint32_t	n_rows;
	uint32_t	n_rated;		/* rows with ratings */
	bool		weighted;		/* rows have noise weights of their own */
	bool		linked;
	size_t	   *starts;			/* [n_rows + 1] a row's first rating */
	cf_gather	ratings;		/* of all rows */
	float	   *rows;			/* [n_rows][width] */
	uint32_t   *blocks;			/* [n_blocks + 1] first rows */
	size_t		n_blocks;
	size_t		most_blocks;
	double	   *sums;			/* [n_blocks] */

	/* Of the rows' prior, for standardised ratings. */
	double	   *mean;			/* [stride] */
	double	   *precision;		/* [d][stride] */
	double	   *root;			/* [d][stride] its Cholesky factor */
	double	   *shift;			/* [stride] precision times mean */

	/* Linked only: sides' prior means are mean + links[row]. */
	float	   *links;			/* [n_rows][width] */
	double	   *link_gram;		/* [width][width] B' B */
	float	   *link_diagonal;	/* [rows of the other side] of F' F */
	double		link_scale;		/* precision of B is that, times "precision" */
} cf_chain_side;

typedef struct cf_chain
{
	cf_host    *host;
	cf_model   *model;
	const cf_ratings *ratings;
	const cf_gram *gram;
	uint64_t	seed;
	uint32_t	n_sweeps;
	uint32_t	burn_in;
	uint32_t	n_draws;
	uint32_t	sweep;			/* from 1 */
	uint32_t	count;			/* sweeps in the running means, this one included */
	int64_t		draw;			/* which draw this sweep's is; -1: none */
	cf_pool    *pool;			/* that of the call */

	size_t		k;				/* factors */
	size_t		d;				/* unknowns of a row: factors and bias */
	size_t		width;			/* floats of a row */
	size_t		stride;			/* doubles of a column */
	size_t		n_train;
	double		rating_mean;
	double		deviation;		/* of the ratings */
	double		factor_unit;	/* a served factor is that times the chain's */
	double		alpha;
	cf_chain_side sides[2];

	uint32_t	n_workers;
	double	   *work;			/* the workers' arrays */
	double	   *moments;		/* [2][CF_MOMENT_BLOCKS][width][width] */
	double	   *wishart;		/* [2][d][stride] */
	float	   *normals;		/* [width] */

	/* Of sampling a link: see cf_chain_link.c. */
	float	   *link_rows[5];
	double	   *link_sums;		/* [most blocks][width] */
} cf_chain;

static inline uint32_t
cf_chain_stream(cf_purpose purpose, uint32_t side)
{
	return CF_STREAM_BAYES + 2 * (uint32_t) purpose + side;
}

static inline uint64_t
cf_chain_key(const cf_chain *chain, uint32_t row)
{
	return (uint64_t) chain->sweep << 32 | row;
}

/* The unit of number "f" of an embedding: what the served one is times. */
static inline double
cf_chain_unit(const cf_chain *chain, size_t f)
{
	return f < chain->k ? chain->factor_unit : chain->deviation;
}

static inline uint32_t
cf_chain_count(const cf_chain_side *side, uint32_t row)
{
	return (uint32_t) (side->starts[row + 1] - side->starts[row]);
}

extern cf_worker cf_chain_worker(const cf_chain *chain, uint32_t thread);

/* Draw the prior of a side's rows, given the rows. */
extern cf_status cf_chain_draw_prior(cf_chain *chain, cf_chain_side *side);

/* Draw the link of a side's prior means, given rows and prior. */
extern cf_status cf_chain_draw_link(cf_chain *chain, cf_chain_side *side, cf_chain_side *other);

#endif							/* CF_CHAIN_H */
