/*
 * cf_sort.c
 *	  Sorting ratings in place, on all threads of a pool.
 *
 * The key is the 96 bits of a rating.  A range is first swapped in place into
 * buckets by its most significant bits ("American flag": McIlroy, Bostic,
 * McIlroy: "Engineering Radix Sort", 1993), where those count that differ
 * within the range: leading bits that all rows share cost nothing.  There are
 * as many buckets as makes each of them fit into a cache, where it is sorted
 * by itself: what is left of user and item is packed into 32 bits and sorted
 * with the value beside it from the least significant digit on, in a scratch
 * array.  Buckets are the tasks of the pool.
 *
 * Whatever does not fit (a user with very many ratings, very many items) goes
 * through further rounds of buckets, at most twelve, then to insertion sort:
 * there is no bad case.
 */
#include <string.h>

#include "cf_sort.h"

#define SHORT_RANGE		24		/* sorted by insertion */
#define SCRATCH_ROWS	32768	/* two arrays of 8 bytes a row: a second cache */
#define ROWS_AT_ONCE	65536	/* between two polls */
#define MAX_BUCKET_BITS	8		/* places to write at that the TLB has entries for */
#define MAX_BUCKETS		(1 << MAX_BUCKET_BITS)
#define DIGIT_BITS		9
#define MAX_DIGITS		4		/* of 32 bits */
#define SWAPS_AHEAD		10		/* rows of a bucket that are asked for early */

/* The work of one thread, in lines of the cache that are its own. */
typedef struct sorter
{
	_Alignas(64) cf_host *host;
	cf_pool    *pool;			/* NULL: the host is asked */
	uint32_t	thread;
	size_t		work;			/* rows looked at since the last poll */
	uint64_t   *scratch;		/* two arrays, each of as many rows as fit */
} sorter;

/* The words of a row, the most significant first. */
typedef struct row_words
{
	uint32_t	user;
	uint32_t	item;
	uint32_t	value;
} row_words;

/* A row's bucket: some bits of one of its words. */
typedef struct bucket_key
{
	int			word;
	int			shift;
	uint32_t	mask;
} bucket_key;

static bool
stops(sorter *self, size_t work)
{
	self->work += work;
	if (self->work < ROWS_AT_ONCE)
		return false;
	self->work = 0;
	return self->pool != NULL ? cf_pool_stops(self->pool, self->thread) :
		cf_should_stop(self->host);
}

static inline row_words
words_of(const cf_rating *row)
{
	row_words	words;

	memcpy(&words, row, sizeof(words));
	return words;
}

static inline bool
is_before(const cf_rating *a, const cf_rating *b)
{
	row_words	x = words_of(a);
	row_words	y = words_of(b);

	if (x.user != y.user)
		return x.user < y.user;
	if (x.item != y.item)
		return x.item < y.item;
	return x.value < y.value;
}

static void
insertion_sort(cf_rating *rows, size_t n)
{
	size_t		j;

	for (j = 1; j < n; j++)
	{
		cf_rating	row = rows[j];
		size_t		at = j;

		for (; at > 0 && is_before(&row, &rows[at - 1]); at--)
			rows[at] = rows[at - 1];
		rows[at] = row;
	}
}

/* How many bits it takes to hold x. */
static inline int
width(uint32_t x)
{
	return x == 0 ? 0 : 32 - __builtin_clz(x);
}

/* In which bits do the rows differ? */
static cf_status
find_differences(sorter *self, const cf_rating *rows, size_t n, row_words *differ)
{
	row_words	first = words_of(rows);
	size_t		done = 0;

	memset(differ, 0, sizeof(*differ));
	while (done < n)
	{
		size_t		end = n - done < ROWS_AT_ONCE ? n : done + ROWS_AT_ONCE;

		if (stops(self, end - done))
			return CF_STOPPED;
		for (; done < end; done++)
		{
			row_words	words = words_of(&rows[done]);

			differ->user |= words.user ^ first.user;
			differ->item |= words.item ^ first.item;
			differ->value |= words.value ^ first.value;
		}
	}
	return CF_OK;
}

/* ---------- buckets ---------- */

/* By the most significant bits that differ; enough of them for n rows. */
static bucket_key
choose_key(const row_words *differ, size_t n)
{
	bucket_key	key;
	uint32_t	word;
	int			bits = 4;

	key.word = differ->user != 0 ? 0 : differ->item != 0 ? 1 : 2;
	word = key.word == 0 ? differ->user : key.word == 1 ? differ->item : differ->value;
	while (bits < MAX_BUCKET_BITS && n >> bits > SCRATCH_ROWS / 4)
		bits++;
	if (bits > width(word))
		bits = width(word);
	key.shift = width(word) - bits;
	key.mask = (UINT32_C(1) << bits) - 1;
	return key;
}

static inline uint32_t
bucket_of(bucket_key key, const cf_rating *row)
{
	uint32_t	word;

	memcpy(&word, (const char *) row + key.word * 4, sizeof(word));
	return word >> key.shift & key.mask;
}

static cf_status
count_buckets(sorter *self, const cf_rating *rows, size_t n, bucket_key key, size_t *counts)
{
	size_t		done = 0;

	memset(counts, 0, MAX_BUCKETS * sizeof(size_t));
	while (done < n)
	{
		size_t		end = n - done < ROWS_AT_ONCE ? n : done + ROWS_AT_ONCE;

		if (stops(self, end - done))
			return CF_STOPPED;
		for (; done < end; done++)
			counts[bucket_of(key, &rows[done])]++;
	}
	return CF_OK;
}

/*
 * Swap each row into its bucket.  Each bucket is filled from its start on,
 * too many places at once for the processor to foresee: they are asked for
 * some rows ahead (prefetching beyond the end of the array does no harm).
 */
static cf_status
fill_buckets(sorter *self, cf_rating *rows, bucket_key key, const size_t *counts)
{
	size_t		next[MAX_BUCKETS];
	size_t		ends[MAX_BUCKETS];
	size_t		start = 0;
	uint32_t	bucket;

	for (bucket = 0; bucket <= key.mask; bucket++)
	{
		next[bucket] = start;
		start += counts[bucket];
		ends[bucket] = start;
	}
	for (bucket = 0; bucket <= key.mask; bucket++)
	{
		while (next[bucket] < ends[bucket])
		{
			cf_rating  *row = &rows[next[bucket]];
			uint32_t	wanted = bucket_of(key, row);

			if (wanted == bucket)
				next[bucket]++;
			else
			{
				cf_rating  *other = &rows[next[wanted]++];
				cf_rating	swap = *other;

				__builtin_prefetch(other + SWAPS_AHEAD, 1);
				*other = *row;
				*row = swap;
			}
			if (stops(self, 1))
				return CF_STOPPED;
		}
	}
	return CF_OK;
}

/* ---------- ranges that fit into the cache ---------- */

/* How a row is packed: its bits that differ from the first row's. */
typedef struct packing
{
	uint32_t	user_mask;
	uint32_t	item_mask;
	int			item_bits;
	int			bits;			/* of both */
	uint32_t	user;			/* what all rows have in common */
	uint32_t	item;
} packing;

static inline uint32_t
mask_of(int bits)
{
	return bits >= 32 ? UINT32_MAX : (UINT32_C(1) << bits) - 1;
}

static packing
choose_packing(const cf_rating *rows, const row_words *differ)
{
	packing		how;

	how.item_bits = width(differ->item);
	how.bits = width(differ->user) + how.item_bits;
	how.user_mask = mask_of(width(differ->user));
	how.item_mask = mask_of(how.item_bits);
	how.user = rows[0].user & ~how.user_mask;
	how.item = rows[0].item & ~how.item_mask;
	return how;
}

/* Pack the rows, and count the digits of all rounds on the way. */
static void
pack_rows(const cf_rating *rows, size_t n, const packing *how, uint64_t *packed,
		  int digit_bits, int n_digits, uint32_t counts[MAX_DIGITS][1 << DIGIT_BITS])
{
	const uint32_t digit_mask = mask_of(digit_bits);
	size_t		j;
	int			digit;

	for (j = 0; j < n; j++)
	{
		row_words	words = words_of(&rows[j]);
		uint32_t	code = (uint32_t) ((uint64_t) (words.user & how->user_mask) << how->item_bits |
									   (words.item & how->item_mask));

		packed[j] = (uint64_t) code << 32 | words.value;
		for (digit = 0; digit < n_digits; digit++)
			counts[digit][code >> (digit * digit_bits) & digit_mask]++;
	}
}

static void
unpack_rows(cf_rating *rows, size_t n, const packing *how, const uint64_t *packed)
{
	size_t		j;

	for (j = 0; j < n; j++)
	{
		uint32_t	code = (uint32_t) (packed[j] >> 32);
		row_words	words;

		words.user = how->user | (uint32_t) ((uint64_t) code >> how->item_bits);
		words.item = how->item | (code & how->item_mask);
		words.value = (uint32_t) packed[j];
		memcpy(&rows[j], &words, sizeof(words));
	}
}

/* One round: by one digit, in the order there was. */
static void
scatter(const uint64_t *from, uint64_t *to, size_t n, int shift, uint32_t mask, uint32_t *counts)
{
	uint32_t	start = 0;
	uint32_t	value;
	size_t		j;

	for (value = 0; value <= mask; value++)
	{
		uint32_t	count = counts[value];

		counts[value] = start;
		start += count;
	}
	for (j = 0; j < n; j++)
		to[counts[from[j] >> shift & mask]++] = from[j];
}

/* Sort by user and item; rows of a pair stay as they are among each other. */
static void
sort_packed(sorter *self, cf_rating *rows, size_t n, const packing *how)
{
	uint32_t	counts[MAX_DIGITS][1 << DIGIT_BITS];
	int			n_digits = (how->bits + DIGIT_BITS - 1) / DIGIT_BITS;
	int			digit_bits = (how->bits + n_digits - 1) / n_digits;
	uint64_t   *from = self->scratch;
	uint64_t   *to = self->scratch + n;
	int			digit;

	memset(counts, 0, sizeof(counts));
	pack_rows(rows, n, how, from, digit_bits, n_digits, counts);
	for (digit = 0; digit < n_digits; digit++)
	{
		uint64_t   *swap = from;

		scatter(from, to, n, 32 + digit * digit_bits, mask_of(digit_bits), counts[digit]);
		from = to;
		to = swap;
	}
	unpack_rows(rows, n, how, from);
}

static cf_status sort_range(sorter *self, cf_rating *rows, size_t n);

/* Put the ratings of each pair, mostly one, in order. */
static cf_status
sort_pairs(sorter *self, cf_rating *rows, size_t n)
{
	size_t		start;
	size_t		end;
	cf_status	status = CF_OK;

	for (start = 0; start < n && status == CF_OK; start = end)
	{
		for (end = start + 1; end < n && rows[end].user == rows[start].user &&
			 rows[end].item == rows[start].item; end++)
			continue;
		if (end - start > 1)
			status = sort_range(self, rows + start, end - start);
	}
	return status;
}

/* ---------- ranges ---------- */

/* One round of buckets; "counts" are those of the buckets of "key". */
static cf_status
split_range(sorter *self, cf_rating *rows, size_t n, bucket_key key, size_t *counts)
{
	cf_status	status = count_buckets(self, rows, n, key, counts);

	if (status == CF_OK)
		status = fill_buckets(self, rows, key, counts);
	return status;
}

/* Sort what does not fit into the scratch array. */
static cf_status
sort_by_buckets(sorter *self, cf_rating *rows, size_t n, const row_words *differ)
{
	size_t		counts[MAX_BUCKETS];
	bucket_key	key = choose_key(differ, n);
	size_t		start = 0;
	uint32_t	bucket;
	cf_status	status = split_range(self, rows, n, key, counts);

	for (bucket = 0; bucket <= key.mask && status == CF_OK; bucket++)
	{
		status = sort_range(self, rows + start, counts[bucket]);
		start += counts[bucket];
	}
	return status;
}

static cf_status
sort_range(sorter *self, cf_rating *rows, size_t n)
{
	row_words	differ;
	packing		how;
	cf_status	status;

	if (n <= SHORT_RANGE)
	{
		insertion_sort(rows, n);
		return stops(self, n) ? CF_STOPPED : CF_OK;
	}
	status = find_differences(self, rows, n, &differ);
	if (status != CF_OK || (differ.user | differ.item | differ.value) == 0)
		return status;
	how = choose_packing(rows, &differ);
	if (how.bits == 0 || how.bits > 32 || n > SCRATCH_ROWS)
		return sort_by_buckets(self, rows, n, &differ);
	sort_packed(self, rows, n, &how);
	return sort_pairs(self, rows, n);
}

/* ---------- threads ---------- */

typedef struct sort_job
{
	sorter	   *sorters;		/* one a thread */
	cf_rating  *rows;
	size_t	   *starts;			/* of the buckets, and the end of the last */
} sort_job;

static void
sort_bucket(void *context, size_t index, uint32_t thread)
{
	sort_job   *job = context;
	size_t		start = job->starts[index];

	/* a stop is known to the pool */
	(void) sort_range(&job->sorters[thread], job->rows + start, job->starts[index + 1] - start);
}

static cf_status
sort_on_pool(cf_pool *pool, sort_job *job, size_t n)
{
	row_words	differ;
	bucket_key	key;
	uint32_t	bucket;
	size_t		end = 0;
	cf_status	status = find_differences(&job->sorters[0], job->rows, n, &differ);

	if (status != CF_OK || (differ.user | differ.item | differ.value) == 0)
		return status;
	key = choose_key(&differ, n);
	status = split_range(&job->sorters[0], job->rows, n, key, job->starts);
	if (status != CF_OK)
		return status;
	for (bucket = 0; bucket <= key.mask; bucket++)
	{
		size_t		count = job->starts[bucket];

		job->starts[bucket] = end;
		end += count;
	}
	job->starts[bucket] = end;
	return cf_pool_run(pool, sort_bucket, job, bucket);
}

static cf_status
sort_with(cf_host *host, cf_pool *pool, cf_rating *rows, size_t n, uint32_t n_threads,
		  sorter *sorters)
{
	sort_job	job = {sorters, rows, NULL};
	size_t		n_scratch = 2 * (n < SCRATCH_ROWS ? n : SCRATCH_ROWS);
	uint64_t   *scratch = cf_alloc(host, n_threads, n_scratch * sizeof(uint64_t));
	uint32_t	thread;
	cf_status	status;

	if (scratch == NULL)
		return host->failure;
	for (thread = 0; thread < n_threads; thread++)
	{
		sorters[thread].host = host;
		sorters[thread].pool = pool;
		sorters[thread].thread = thread;
		sorters[thread].work = 0;
		sorters[thread].scratch = scratch + thread * n_scratch;
	}
	job.starts = cf_alloc(host, MAX_BUCKETS + 1, sizeof(size_t));
	if (job.starts == NULL)
		status = host->failure;
	else if (n_threads == 1 || n <= SCRATCH_ROWS)
		status = sort_range(&sorters[0], rows, n);
	else
		status = sort_on_pool(pool, &job, n);
	cf_free(host, job.starts);
	cf_free(host, scratch);
	return status;
}

cf_status
cf_sort_ratings(cf_host *host, cf_pool *pool, cf_rating *rows, size_t n)
{
	uint32_t	n_threads = pool != NULL ? cf_pool_threads(pool) : 1;
	sorter	   *sorters;
	cf_status	status;

	if (n < 2)
		return CF_OK;
	sorters = cf_alloc(host, n_threads, sizeof(sorter));
	if (sorters == NULL)
		return host->failure;
	status = sort_with(host, pool, rows, n, n_threads, sorters);
	cf_free(host, sorters);
	return status;
}
