/*
 * cf_evaluate.h
 *	  How good a model is at ratings that were held out: errors of its
 *	  predictions, and measures of the users' rankings.
 *
 * An item is relevant to a user when a held-out rating of it is high enough
 * and none was trained on.  Users who have relevant items are ranked: the
 * candidates are the items that were trained on, without those that the user
 * rated in training, by predicted rating, of equal ones the lower row first.
 * A relevant item that is no candidate has no place: it counts where the
 * relevant items are counted, and is never found.
 */
#ifndef CF_EVALUATE_H
#define CF_EVALUATE_H

#include "cf_model.h"
#include "cf_pool.h"
#include "cf_seen.h"

/*
 * Held-out ratings in the order of cf_ratings, whose users and items have
 * numbers of their own, and what these are in the model.
 */
typedef struct cf_held_out
{
	const cf_rating *rows;		/* [n] by user, then item; not owned */
	size_t		n;
	uint32_t	n_users;		/* numbers of users are less than this */
	uint32_t   *user_rows;		/* [n_users] the model's row; CF_NO_ROW: unknown */
	uint32_t   *item_rows;		/* the model's row; an item that the model does
								 * not know has a number above all of them */
} cf_held_out;

/*
 * rows[first, first + n) of frozen ratings as held out from a model whose
 * keys are those of "users" and "items".  Polls the host.
 */
extern cf_status cf_held_out_create(cf_host *host, const cf_ratings *ratings, size_t first,
									size_t n, const cf_dict *users, const cf_dict *items,
									cf_held_out *held);
extern void cf_held_out_release(cf_host *host, cf_held_out *held);

/* The number that an unknown item has: that of the ratings, above the model's rows. */
static inline uint32_t
cf_unknown_item(uint32_t n_model_items, uint32_t item)
{
	return n_model_items + item;
}

typedef struct cf_errors
{
	size_t		n_cold_users;	/* ratings by users who are unknown or cold */
	size_t		n_cold_items;
	double		mse;			/* NaN where there are no ratings */
	double		mae;
	double		r2;				/* NaN where all ratings are equal, too */
} cf_errors;

/* Errors of the predictions by the ladder.  Polls the host. */
extern cf_status cf_evaluate_errors(const cf_model *model, cf_host *host,
									const cf_held_out *held, cf_errors *errors);

typedef struct cf_rankings
{
	size_t		n_users;		/* that were ranked */
	double		precision;		/* means over them, of cf_ranking_scores; NaN */
	double		recall;			/* where there are none */
	double		ndcg;
	double		average_precision;
	double		reciprocal_rank;
	double		coverage;		/* share of the trained items that are among
								 * the first k of any user */
} cf_rankings;

/*
 * Rank the users.  "seen" has for each of the held-out users the items rated
 * in training, under the numbers of held->item_rows.  Nothing depends on the
 * number of threads.
 */
extern cf_status cf_evaluate_rankings(const cf_model *model, cf_host *host, cf_pool *pool,
									  const cf_held_out *held, const cf_seen *seen,
									  double relevant_from, size_t k, cf_rankings *rankings);

#endif							/* CF_EVALUATE_H */
