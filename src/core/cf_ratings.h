/*
 * cf_ratings.h
 *	  The ratings of a training: a builder, then frozen arrays.
 *
 * Ratings are added one by one under their keys, in any order, and held in
 * 12 bytes each.  cf_ratings_freeze() puts both dictionaries in key order,
 * sets the validation part aside, and sorts each part by (user, item, bits of
 * the rating).  From then on the contents depend on the set of ratings and
 * the seed alone, not on the order in which they came.
 *
 * The validation part is chosen by a hash of (seed, user key, item key):
 * a pair stays on its side whatever else is added to the table, and a pair
 * that was rated twice is never on both.
 */
#ifndef CF_RATINGS_H
#define CF_RATINGS_H

#include "cf_dict.h"
#include "cf_pool.h"

#define CF_MAX_FOLDS	1000

typedef struct cf_rating
{
	uint32_t	user;			/* number in the users' dictionary */
	uint32_t	item;
	float		value;
} cf_rating;

typedef struct cf_ratings
{
	cf_host    *host;
	cf_dict    *users;			/* every user added, rated in training or not */
	cf_dict    *items;
	cf_rating  *rows;			/* [0, n_train) trains, then n_valid more */
	size_t		n_rows;
	size_t		capacity;		/* rows there is room for */

	/* Known once frozen. */
	size_t		n_train;
	size_t		n_valid;
	int64_t    *user_counts;	/* [users] training ratings of each user */
	int64_t    *item_counts;	/* [items] */
	double		mean;			/* of the training ratings */
	float		low;			/* least and greatest of all ratings */
	float		high;
} cf_ratings;

extern cf_status cf_ratings_create(cf_host *host, cf_key_kind user_kind,
								   cf_key_kind item_kind, cf_ratings **ratings);
extern void cf_ratings_destroy(cf_ratings *ratings);

/* Add a rating; the value must be finite. */
extern cf_status cf_ratings_add(cf_ratings *ratings, cf_key user, cf_key item,
								float value);

/* The same for n ratings, sooner than one by one. */
extern cf_status cf_ratings_add_many(cf_ratings *ratings, const cf_key *users,
									 const cf_key *items, const float *values, size_t n);

/*
 * Freeze, setting aside about valid_part of the ratings, 0 <= valid_part < 1.
 * Should the hash put all on the validation side, all of them train.
 * CF_NO_RATINGS when none were added.
 */
extern cf_status cf_ratings_freeze(cf_ratings *ratings, uint64_t seed,
								   double valid_part);

/* The same on the threads of a pool, which may be NULL; to the same bits. */
extern cf_status cf_ratings_freeze_on(cf_ratings *ratings, cf_pool *pool, uint64_t seed,
									  double valid_part);

/* Would freezing under this seed put the pair on the validation side? */
extern bool cf_ratings_is_valid(cf_key_kind user_kind, cf_key user,
								cf_key_kind item_kind, cf_key item,
								uint64_t seed, double valid_part);

/*
 * Cross validation: the fold of each row, 0 to n_folds - 1, by where the hash
 * of its pair is in the hash's range.  So each pair is in one fold, whatever
 * else is in the table, and fold 0 is what freezing under this seed sets aside
 * for valid_part 1 / n_folds.  n_folds is at most CF_MAX_FOLDS.
 */
extern cf_status cf_ratings_folds(const cf_ratings *ratings, uint64_t seed,
								  uint32_t n_folds, uint16_t *folds);

/* Put rows[0, n) in a random order that depends on (seed, epoch) alone. */
extern cf_status cf_ratings_shuffle(cf_host *host, cf_rating *rows, size_t n,
									uint64_t seed, uint32_t epoch);

/* Sort by (user, item, bits of the value); the order before does not matter. */
extern cf_status cf_ratings_sort(cf_host *host, cf_rating *rows, size_t n);

#endif							/* CF_RATINGS_H */
