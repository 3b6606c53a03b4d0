/*
 * cf_ratings.c
 *	  The ratings of a training: a builder, then frozen arrays.
 *
 * Freezing takes no second copy of the ratings.  The validation part is
 * marked in a bit of the user's number, which CF_MAX_ROWS leaves free, so that
 * one sort in place (cf_sort.c) both parts and orders.
 */
#include <string.h>

#include "cf_random.h"
#include "cf_ratings.h"
#include "cf_sort.h"

#define FIRST_ROWS		1024
#define ROWS_AT_ONCE	65536	/* between two polls */
#define ADDED_AT_ONCE	256
#define ENTRIES_AHEAD	24		/* rows whose keys are asked for early */
#define FEW_ROWS		((size_t) 1 << 20)
#define SWAPS_AHEAD		64		/* drawn and prefetched before they are done */

/* ---------- builder ---------- */

cf_status
cf_ratings_create(cf_host *host, cf_key_kind user_kind, cf_key_kind item_kind,
				  cf_ratings **ratings)
{
	cf_ratings *new = cf_alloc(host, 1, sizeof(cf_ratings));
	cf_status	status;

	if (new == NULL)
		return host->failure;
	memset(new, 0, sizeof(*new));
	new->host = host;
	status = cf_dict_create(host, user_kind, &new->users);
	if (status == CF_OK)
		status = cf_dict_create(host, item_kind, &new->items);
	if (status != CF_OK)
	{
		cf_ratings_destroy(new);
		return status;
	}
	*ratings = new;
	return CF_OK;
}

void
cf_ratings_destroy(cf_ratings *ratings)
{
	cf_host    *host;

	if (ratings == NULL)
		return;
	host = ratings->host;
	cf_dict_destroy(ratings->users);
	cf_dict_destroy(ratings->items);
	cf_free(host, ratings->rows);
	cf_free(host, ratings->user_counts);
	cf_free(host, ratings->item_counts);
	cf_free(host, ratings);
}

static cf_status
resize_rows(cf_ratings *ratings, size_t capacity)
{
	cf_rating  *rows = cf_realloc(ratings->host, ratings->rows, capacity,
								  sizeof(cf_rating));

	if (rows == NULL)
		return ratings->host->failure;
	ratings->rows = rows;
	ratings->capacity = capacity;
	return CF_OK;
}

static cf_status
make_room(cf_ratings *ratings, size_t n)
{
	size_t		needed = cf_size_add(ratings->n_rows, n);
	size_t		grown = cf_size_add(ratings->capacity, ratings->capacity / 2 + FIRST_ROWS);

	if (needed <= ratings->capacity)
		return CF_OK;
	return resize_rows(ratings, grown < needed ? needed : grown);
}

cf_status
cf_ratings_add(cf_ratings *ratings, cf_key user, cf_key item, float value)
{
	cf_rating	row;
	cf_status	status;

	status = make_room(ratings, 1);
	if (status == CF_OK)
		status = cf_dict_add(ratings->users, user, &row.user);
	if (status == CF_OK)
		status = cf_dict_add(ratings->items, item, &row.item);
	if (status != CF_OK)
		return status;
	row.value = value + 0.0f;	/* makes -0 of the same bits as 0 */
	ratings->rows[ratings->n_rows++] = row;
	return CF_OK;
}

static cf_status
add_some(cf_ratings *ratings, const cf_key *users, const cf_key *items,
		 const float *values, size_t n)
{
	uint32_t	user_rows[ADDED_AT_ONCE];
	uint32_t	item_rows[ADDED_AT_ONCE];
	cf_rating  *rows = ratings->rows + ratings->n_rows;
	size_t		j;
	cf_status	status;

	status = cf_dict_add_many(ratings->users, users, n, user_rows);
	if (status == CF_OK)
		status = cf_dict_add_many(ratings->items, items, n, item_rows);
	if (status != CF_OK)
		return status;
	for (j = 0; j < n; j++)
	{
		rows[j].user = user_rows[j];
		rows[j].item = item_rows[j];
		rows[j].value = values[j] + 0.0f;	/* as above */
	}
	ratings->n_rows += n;
	return CF_OK;
}

cf_status
cf_ratings_add_many(cf_ratings *ratings, const cf_key *users, const cf_key *items,
					const float *values, size_t n)
{
	cf_status	status = make_room(ratings, n);
	size_t		done;

	for (done = 0; done < n && status == CF_OK; done += ADDED_AT_ONCE)
		status = add_some(ratings, users + done, items + done, values + done,
						  n - done < ADDED_AT_ONCE ? n - done : ADDED_AT_ONCE);
	return status;
}

/* ---------- the validation part ---------- */

/* Users and items have seeds of their own: equal keys must not cancel out. */
static uint64_t
user_hash(cf_key_kind kind, cf_key key, uint64_t seed)
{
	return cf_key_hash(kind, key, seed);
}

static uint64_t
item_hash(cf_key_kind kind, cf_key key, uint64_t seed)
{
	return cf_key_hash(kind, key, ~seed);
}

static uint64_t
pair_hash(uint64_t user, uint64_t item)
{
	return cf_mix(user + (item ^ item >> 29) * UINT64_C(0x9E3779B97F4A7C15));
}

/* Pairs whose hash is below this are set aside: valid_part times 2^64. */
static uint64_t
valid_threshold(double valid_part)
{
	if (!(valid_part > 0.0))
		return 0;
	if (valid_part >= 1.0)
		return UINT64_MAX;
	return (uint64_t) (valid_part * 18446744073709551616.0);
}

bool
cf_ratings_is_valid(cf_key_kind user_kind, cf_key user, cf_key_kind item_kind,
					cf_key item, uint64_t seed, double valid_part)
{
	return pair_hash(user_hash(user_kind, user, seed),
					 item_hash(item_kind, item, seed)) < valid_threshold(valid_part);
}

/* Is it time to ask after "done" rows, and is the answer yes? */
static bool
stop_is_due(cf_host *host, size_t done)
{
	return done % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(host);
}

/* One hash a key, so that the pairs cost no look at keys. */
static cf_status
hash_keys(const cf_ratings *ratings, uint64_t *users, uint64_t *items, uint64_t seed)
{
	uint32_t	n_users = cf_dict_count(ratings->users);
	uint32_t	n_items = cf_dict_count(ratings->items);
	uint32_t	row;

	for (row = 0; row < n_users; row++)
	{
		users[row] = user_hash(cf_dict_kind(ratings->users),
							   cf_dict_key(ratings->users, row), seed);
		if (stop_is_due(ratings->host, row))
			return CF_STOPPED;
	}
	for (row = 0; row < n_items; row++)
	{
		items[row] = item_hash(cf_dict_kind(ratings->items),
							   cf_dict_key(ratings->items, row), seed);
		if (stop_is_due(ratings->host, row))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* The upper half of a * b: a random 64-bit number made one below b. */
static inline uint64_t
scale_down(uint64_t a, uint64_t b)
{
	uint64_t	low = (a & UINT32_MAX) * (b & UINT32_MAX);
	uint64_t	middle = (a >> 32) * (b & UINT32_MAX) + (low >> 32);
	uint64_t	other = (a & UINT32_MAX) * (b >> 32) + (middle & UINT32_MAX);

	return (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);
}

static cf_status
find_folds(const cf_ratings *ratings, const uint64_t *users, const uint64_t *items,
		   uint32_t n_folds, uint16_t *folds)
{
	size_t		j;

	for (j = 0; j < ratings->n_rows; j++)
	{
		const cf_rating *row = &ratings->rows[j];

		folds[j] = (uint16_t) scale_down(pair_hash(users[row->user], items[row->item]), n_folds);
		if (stop_is_due(ratings->host, j))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* To be given to cf_free, whatever comes back. */
static cf_status
make_hashes(const cf_ratings *ratings, uint64_t seed, uint64_t **users, uint64_t **items)
{
	cf_host    *host = ratings->host;

	*items = NULL;
	*users = cf_alloc(host, cf_dict_count(ratings->users), sizeof(uint64_t));
	if (*users != NULL)
		*items = cf_alloc(host, cf_dict_count(ratings->items), sizeof(uint64_t));
	if (*items == NULL)
		return host->failure;
	return hash_keys(ratings, *users, *items, seed);
}

cf_status
cf_ratings_folds(const cf_ratings *ratings, uint64_t seed, uint32_t n_folds, uint16_t *folds)
{
	uint64_t   *users;
	uint64_t   *items;
	cf_status	status = make_hashes(ratings, seed, &users, &items);

	if (status == CF_OK)
		status = find_folds(ratings, users, items, n_folds, folds);
	cf_free(ratings->host, users);
	cf_free(ratings->host, items);
	return status;
}

/* ---------- sorting ---------- */

static inline uint32_t
float_bits(float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline bool
row_is_before(const cf_rating *a, const cf_rating *b)
{
	if (a->user != b->user)
		return a->user < b->user;
	if (a->item != b->item)
		return a->item < b->item;
	return float_bits(a->value) < float_bits(b->value);
}

cf_status
cf_ratings_sort(cf_host *host, cf_rating *rows, size_t n)
{
	size_t		j;

	/* A training may begin again with ratings that are in order still. */
	for (j = 1; j < n && !row_is_before(&rows[j], &rows[j - 1]); j++)
	{
		if (stop_is_due(host, j))
			return CF_STOPPED;
	}
	if (j >= n)
		return CF_OK;
	return cf_sort_ratings(host, NULL, rows, n);
}

/* ---------- freezing ---------- */

/* A key's number in key order, and its hash: by the number it had before. */
typedef struct key_entry
{
	uint64_t	hash;
	uint32_t	rank;
} key_entry;

/* What gives a row its final numbers and its side. */
typedef struct numbering
{
	cf_ratings *ratings;
	key_entry  *users;
	key_entry  *items;
	uint64_t	threshold;
	uint32_t	valid_mark;		/* in the user's number */
} numbering;

/*
 * The bit above those that the users' numbers need, so that to sort by the
 * marked numbers is to sort by a short key.
 */
static uint32_t
mark_above(uint32_t n_users)
{
	uint32_t	mark = 1;

	while (mark < n_users)
		mark *= 2;
	return mark;
}

static inline void
number_row(const numbering *self, cf_rating *row)
{
	key_entry	user = self->users[row->user];
	key_entry	item = self->items[row->item];

	row->user = pair_hash(user.hash, item.hash) < self->threshold ?
		user.rank | self->valid_mark : user.rank;
	row->item = item.rank;
}

/* A task: a block of rows, whose entries are all over the memory. */
static void
number_block(void *context, size_t block, uint32_t thread)
{
	const numbering *self = context;
	size_t		start = block * ROWS_AT_ONCE;
	size_t		left = self->ratings->n_rows - start;
	cf_rating  *rows = self->ratings->rows + start;
	size_t		n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
	size_t		j;

	(void) thread;
	for (j = 0; j < n; j++)
	{
		if (j + ENTRIES_AHEAD < n)
		{
			__builtin_prefetch(&self->users[rows[j + ENTRIES_AHEAD].user]);
			__builtin_prefetch(&self->items[rows[j + ENTRIES_AHEAD].item]);
		}
		number_row(self, &rows[j]);
	}
}

static cf_status
number_rows(numbering *self, cf_pool *pool)
{
	size_t		n_blocks = (self->ratings->n_rows - 1) / ROWS_AT_ONCE + 1;
	size_t		block;

	if (pool != NULL)
		return cf_pool_run(pool, number_block, self, n_blocks);
	for (block = 0; block < n_blocks; block++)
	{
		if (cf_should_stop(self->ratings->host))
			return CF_STOPPED;
		number_block(self, block, 0);
	}
	return CF_OK;
}

/* Sort a dictionary; "*entries" is to be given to cf_free, whatever comes back. */
static cf_status
order_dict(cf_host *host, cf_dict *dict,
		   uint64_t (*hash) (cf_key_kind kind, cf_key key, uint64_t seed), uint64_t seed,
		   key_entry **entries)
{
	uint32_t	n = cf_dict_count(dict);
	uint32_t   *ranks;
	uint32_t	row;
	cf_status	status = cf_dict_sort(dict, &ranks);

	if (status != CF_OK)
		return status;
	*entries = cf_alloc(host, n, sizeof(key_entry));
	if (*entries == NULL)
		status = host->failure;
	for (row = 0; row < n && status == CF_OK; row++)
	{
		(*entries)[row].rank = ranks[row];
		(*entries)[row].hash = hash(cf_dict_kind(dict), cf_dict_key(dict, ranks[row]), seed);
		if (stop_is_due(host, row))
			status = CF_STOPPED;
	}
	cf_free(host, ranks);
	return status;
}

/* Sort both dictionaries, give the rows their new numbers, and mark a part. */
static cf_status
order_keys(cf_ratings *ratings, cf_pool *pool, uint64_t seed, double valid_part)
{
	numbering	self = {ratings, NULL, NULL, valid_threshold(valid_part), 0};
	cf_host    *host = ratings->host;
	cf_status	status = order_dict(host, ratings->users, user_hash, seed, &self.users);

	if (status == CF_OK)
		status = order_dict(host, ratings->items, item_hash, seed, &self.items);
	self.valid_mark = mark_above(cf_dict_count(ratings->users));
	if (status == CF_OK)
		status = number_rows(&self, pool);
	cf_free(host, self.users);
	cf_free(host, self.items);
	return status;
}

/*
 * The validation part is at the end, marked.  Should all rows be in it, they
 * train.
 */
static cf_status
part_rows(cf_ratings *ratings)
{
	const uint32_t mark = mark_above(cf_dict_count(ratings->users));
	size_t		low = 0;
	size_t		high = ratings->n_rows;
	size_t		j;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (ratings->rows[middle].user & mark)
			high = middle;
		else
			low = middle + 1;
	}
	for (j = low; j < ratings->n_rows; j++)
	{
		ratings->rows[j].user &= ~mark;
		if (stop_is_due(ratings->host, j))
			return CF_STOPPED;
	}
	ratings->n_train = low > 0 ? low : ratings->n_rows;
	ratings->n_valid = ratings->n_rows - ratings->n_train;
	return CF_OK;
}

/* What counts[] are counted in, from the training rows; and their mean. */
static cf_status
count_ratings(cf_ratings *ratings)
{
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < ratings->n_train; j++)
	{
		const cf_rating *row = &ratings->rows[j];

		ratings->user_counts[row->user]++;
		ratings->item_counts[row->item]++;
		sum += row->value;
		if (stop_is_due(ratings->host, j))
			return CF_STOPPED;
	}
	ratings->mean = sum / (double) ratings->n_train;
	return CF_OK;
}

static cf_status
find_range(cf_ratings *ratings)
{
	float		low = ratings->rows[0].value;
	float		high = low;
	size_t		j;

	for (j = 0; j < ratings->n_rows; j++)
	{
		float		value = ratings->rows[j].value;

		low = value < low ? value : low;
		high = value > high ? value : high;
		if (stop_is_due(ratings->host, j))
			return CF_STOPPED;
	}
	ratings->low = low;
	ratings->high = high;
	return CF_OK;
}

static cf_status
summarise(cf_ratings *ratings)
{
	cf_host    *host = ratings->host;
	cf_status	status;

	ratings->user_counts = cf_alloc_zero(host, cf_dict_count(ratings->users), sizeof(int64_t));
	if (ratings->user_counts == NULL)
		return host->failure;
	ratings->item_counts = cf_alloc_zero(host, cf_dict_count(ratings->items), sizeof(int64_t));
	if (ratings->item_counts == NULL)
		return host->failure;
	status = count_ratings(ratings);
	return status == CF_OK ? find_range(ratings) : status;
}

cf_status
cf_ratings_freeze_on(cf_ratings *ratings, cf_pool *pool, uint64_t seed, double valid_part)
{
	cf_status	status;

	if (ratings->n_rows == 0)
		return CF_NO_RATINGS;
	status = resize_rows(ratings, ratings->n_rows);
	if (status == CF_OK)
		status = order_keys(ratings, pool, seed, valid_part);
	if (status == CF_OK)
		status = cf_sort_ratings(ratings->host, pool, ratings->rows, ratings->n_rows);
	if (status == CF_OK)
		status = part_rows(ratings);
	if (status == CF_OK)
		status = summarise(ratings);
	return status;
}

cf_status
cf_ratings_freeze(cf_ratings *ratings, uint64_t seed, double valid_part)
{
	return cf_ratings_freeze_on(ratings, NULL, seed, valid_part);
}

/* ---------- shuffling ---------- */

/*
 * Draw the partners of the swaps "last", last - 1, ...: "n" of them, which
 * are those number "first" and on of this epoch.  Of few rows a partner takes
 * 32 random bits, which favours some by less than 2^-12, else 64.
 */
static void
draw_partners(const cf_rating *rows, size_t last, size_t n, uint64_t seed,
			  uint32_t epoch, uint64_t first, bool is_small, size_t *partners)
{
	const size_t per_block = is_small ? 4 : 2;
	size_t		j;
	size_t		w;

	for (j = 0; j < n; j += per_block)
	{
		uint64_t	block = (first + j) / per_block;
		uint32_t	words[4];

		cf_random_block(seed, CF_STREAM_SHUFFLE, epoch | block >> 32 << 32,
						(uint32_t) block, words);
		for (w = 0; w < per_block && j + w < n; w++)
		{
			uint64_t	bits = is_small ? (uint64_t) words[w] << 32 :
				(uint64_t) words[2 * w + 1] << 32 | words[2 * w];

			partners[j + w] = scale_down(bits, last - (j + w) + 1);
			__builtin_prefetch(&rows[partners[j + w]], 1);
		}
	}
}

cf_status
cf_ratings_shuffle(cf_host *host, cf_rating *rows, size_t n, uint64_t seed,
				   uint32_t epoch)
{
	size_t		partners[SWAPS_AHEAD];
	size_t		total = n > 0 ? n - 1 : 0;
	size_t		done = 0;
	size_t		polled = 0;

	while (done < total)
	{
		size_t		ahead = total - done < SWAPS_AHEAD ? total - done : SWAPS_AHEAD;
		size_t		j;

		draw_partners(rows, total - done, ahead, seed, epoch, done,
					  n <= FEW_ROWS, partners);
		for (j = 0; j < ahead; j++)
		{
			cf_rating  *row = &rows[total - done - j];
			cf_rating	swap = *row;

			*row = rows[partners[j]];
			rows[partners[j]] = swap;
		}
		done += ahead;
		if (done - polled >= ROWS_AT_ONCE)
		{
			polled = done;
			if (cf_should_stop(host))
				return CF_STOPPED;
		}
	}
	return CF_OK;
}
