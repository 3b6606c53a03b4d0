/*
 * cf_recommend.h
 *	  The best items for a user: scoring one user against all items, and many
 *	  users at once.
 *
 * A score is the predicted rating, the same bits that cf_model_predict()
 * gives.  Where ratings are kept in a range by cutting (CF_LINK_CLIP), items
 * are ranked, and held in a heap, by what comes before the cut
 * (cf_model_rank()); of a heap of cf_recommend(), cf_model_of_rank() makes
 * scores, a batch has them.  Better is a higher score; of equal scores the lower row, so with
 * rows in key order ties fall by key.
 *
 * A user is handed in as a row of factors and bias, so that one who is in no
 * table (a folded-in one) is served like any other; NULL is a cold user, for
 * whom the ladder of cf_model.h leaves the ranking by item bias, or what a
 * net makes of the mean user.
 */
#ifndef CF_RECOMMEND_H
#define CF_RECOMMEND_H

#include "cf_blas.h"
#include "cf_model.h"
#include "cf_pool.h"
#include "cf_seen.h"
#include "cf_topk.h"

/* Which items may be recommended.  Row numbers rise and are not repeated. */
typedef struct cf_filter
{
	const uint32_t *among;		/* only these; NULL: all */
	size_t		n_among;
	const uint32_t *without;	/* not these */
	size_t		n_without;
	int64_t		min_ratings;	/* training ratings; 0 lets cold items in */
	float		min_score;		/* -INFINITY: none */
} cf_filter;

/* A filter that keeps nothing out but cold items. */
extern cf_filter cf_filter_default(void);

/* Put row numbers in order, once each; returns how many are left. */
extern size_t cf_rows_unique(uint32_t *rows, size_t n);

/* The user's row, or NULL when it is unknown (CF_NO_ROW) or cold. */
extern const float *cf_user_embedding(const cf_model *model, uint32_t row);

/* What items [first, first + n) are ranked by, by the ladder, in row order. */
extern void cf_score_items(const cf_model *model, const float *user, uint32_t first,
						   size_t n, float *scores);

/* Offer all items that the filter lets through to "top".  Polls the host. */
extern cf_status cf_recommend(const cf_model *model, cf_host *host, const float *user,
							  const cf_filter *filter, cf_topk *top);

/* What is recommended to users [first, first + n_users). */
typedef struct cf_batch
{
	uint32_t	first;
	uint32_t	n_users;
	size_t		k;
	size_t	   *n;				/* [n_users] how many each got */
	cf_scored  *best;			/* [n_users][k] best first */
} cf_batch;

typedef struct cf_recommender cf_recommender;

/* Bytes that a recommender takes. */
extern size_t cf_recommender_memory(const cf_model *model, size_t k, uint32_t n_threads);

/*
 * Recommend k items to each of the model's users, in blocks of users by
 * sgemm, on at most n_threads threads.  "seen", if not NULL, tells for each user row
 * which items to leave out; of the filter only min_ratings and min_score
 * count.  Nothing depends on the number of threads.  A model with a net needs
 * no BLAS: each task scores its users one after another.
 */
extern cf_status cf_recommender_create(const cf_model *model, cf_host *host, const cf_blas *blas,
									   uint32_t n_threads, size_t k, const cf_seen *seen,
									   const cf_filter *filter, cf_recommender **recommender);

/*
 * The next users; batch->n_users is 0 when all are done.  Valid until the next
 * call.  The pool is needed for the call alone; CF_TOO_MANY when it has more
 * threads than the recommender was made for.
 */
extern cf_status cf_recommender_next(cf_recommender *recommender, cf_pool *pool,
									 cf_batch *batch);
extern void cf_recommender_destroy(cf_recommender *recommender);

#endif							/* CF_RECOMMEND_H */
