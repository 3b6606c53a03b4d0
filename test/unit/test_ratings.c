/* test_ratings.c: freezing, sorting, splitting, shuffling. */
#include "tap.h"
#include "support.h"
#include "cf_ratings.h"
#include "cf_sort.h"

typedef struct triple
{
	int64_t		user;
	int64_t		item;
	float		value;
} triple;

static int
compare_rows(const void *a, const void *b)
{
	const cf_rating *x = a;
	const cf_rating *y = b;
	uint32_t	x_bits,
				y_bits;

	memcpy(&x_bits, &x->value, 4);
	memcpy(&y_bits, &y->value, 4);
	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	return (x_bits > y_bits) - (x_bits < y_bits);
}

static triple *
make_triples(size_t n, uint64_t counter)
{
	triple	   *triples = malloc(n * sizeof(triple));
	size_t		j;

	for (j = 0; j < n; j++)
	{
		triples[j].user = (int64_t) (draw(&counter) % 200) * 1000003;
		triples[j].item = (int64_t) (draw(&counter) % 100) - 50;
		triples[j].value = (float) (draw(&counter) % 11) / 2 - 1;
		if (j % 10 == 1)
			triples[j] = triples[j - 1];
		if (j % 10 == 2)
			triples[j].value = -0.0f;
	}
	return triples;
}

static void
mix_up(triple *triples, size_t n, uint64_t counter)
{
	size_t		j;

	for (j = n; j > 1; j--)
	{
		size_t		other = draw(&counter) % j;
		triple		swap = triples[j - 1];

		triples[j - 1] = triples[other];
		triples[other] = swap;
	}
}

static cf_status
freeze(cf_host *host, const triple *triples, size_t n, double valid_part, cf_ratings **ratings)
{
	cf_status	status = cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, ratings);
	size_t		j;

	if (status != CF_OK)
	{
		*ratings = NULL;
		return status;
	}
	for (j = 0; j < n && status == CF_OK; j++)
		status = cf_ratings_add(*ratings, integer_key(triples[j].user),
								integer_key(triples[j].item), triples[j].value);
	return status == CF_OK ? cf_ratings_freeze(*ratings, 42, valid_part) : status;
}

static bool
same_bits(const cf_ratings *a, const cf_ratings *b)
{
	return a->n_rows == b->n_rows && a->n_train == b->n_train && a->n_valid == b->n_valid &&
		memcmp(a->rows, b->rows, a->n_rows * sizeof(cf_rating)) == 0 &&
		memcmp(&a->mean, &b->mean, sizeof(double)) == 0 &&
		memcmp(a->user_counts, b->user_counts, cf_dict_count(a->users) * sizeof(int64_t)) == 0 &&
		memcmp(a->item_counts, b->item_counts, cf_dict_count(a->items) * sizeof(int64_t)) == 0;
}

static void
check_parts(const cf_ratings *ratings, double valid_part)
{
	int64_t		sum = 0;
	bool		agrees = true;
	bool		sorted = true;
	size_t		j;

	for (j = 0; j < ratings->n_rows; j++)
	{
		const cf_rating *row = &ratings->rows[j];
		bool		is_valid = cf_ratings_is_valid(CF_KEY_INTEGER, cf_dict_key(ratings->users, row->user),
												   CF_KEY_INTEGER, cf_dict_key(ratings->items, row->item),
												   42, valid_part);

		agrees = agrees && is_valid == (j >= ratings->n_train) && !signbit(row->value) == (row->value >= 0);
		if (j > 0 && j != ratings->n_train)
			sorted = sorted && compare_rows(row - 1, row) <= 0;
	}
	for (j = 0; j < cf_dict_count(ratings->users); j++)
		sum += ratings->user_counts[j];
	OK(agrees, "is_valid agrees with freezing, which keeps duplicates on one side");
	OK(sorted, "both parts are sorted");
	OK(sum == (int64_t) ratings->n_train, "counts are of the training part");
}

static void
test_freezing(void)
{
	enum {N = 20000};
	triple	   *triples = make_triples(N, 1);
	cf_ratings *a,
			   *b;
	cf_host		host;

	cf_host_init(&host);
	OK(freeze(&host, triples, N, 0.2, &a) == CF_OK, "freeze");
	OK(a->n_train + a->n_valid == N && fabs((double) a->n_valid / N - 0.2) < 0.02,
	   "part set aside: %.4f", (double) a->n_valid / N);
	OK(a->low == -1.0f && a->high == 4.0f, "range");
	check_parts(a, 0.2);
	mix_up(triples, N, 2);
	OK(freeze(&host, triples, N, 0.2, &b) == CF_OK && same_bits(a, b), "any order gives the same bits");
	cf_ratings_destroy(b);
	OK(freeze(&host, triples, N, 0.0, &b) == CF_OK && b->n_valid == 0, "nothing set aside");
	cf_ratings_destroy(b);
	cf_ratings_destroy(a);
	OK(freeze(&host, triples, 1, 0.999999, &a) == CF_OK && a->n_train == 1 && a->n_valid == 0 &&
	   a->mean == triples[0].value + 0.0f, "one rating always trains");
	cf_ratings_destroy(a);
	OK(freeze(&host, triples, 0, 0.2, &a) == CF_NO_RATINGS, "no ratings");
	cf_ratings_destroy(a);
	OK(host.used == 0, "all given back");
	free(triples);
}

static bool
sorts(cf_rating *rows, size_t n)
{
	cf_rating  *wanted = malloc((n + 1) * sizeof(cf_rating));
	cf_host		host;
	bool		same;

	cf_host_init(&host);
	memcpy(wanted, rows, n * sizeof(cf_rating));
	qsort(wanted, n, sizeof(cf_rating), compare_rows);
	same = cf_ratings_sort(&host, rows, n) == CF_OK &&
		memcmp(rows, wanted, n * sizeof(cf_rating)) == 0;
	free(wanted);
	return same && host.used == 0 && host.peak < n * 16 + 32768 && host.peak < 1 << 20;
}

static void
test_sorting(void)
{
	enum {N = 30000};
	cf_rating  *rows = malloc(N * sizeof(cf_rating));
	static const uint32_t users[] = {1, 2, 300, 0x80000001u, UINT32_MAX};
	uint64_t	counter = 3;
	size_t		n,
				shape,
				j;
	bool		good = true;

	for (n = 0; n <= N; n = n < 60 ? n + 1 : n * 5)
		for (shape = 0; shape < 25; shape++)
		{
			for (j = 0; j < n; j++)
			{
				rows[j].user = (uint32_t) draw(&counter) % users[shape % 5];
				rows[j].item = (uint32_t) draw(&counter) % users[shape / 5];
				rows[j].value = (float) (draw(&counter) % 5) - 2;
			}
			good = good && sorts(rows, n) && sorts(rows, n);
		}
	OK(good, "sorts as qsort does, in little memory");
	free(rows);
}

static bool
sorts_on(uint32_t threads, const cf_rating *input, const cf_rating *wanted, size_t n)
{
	cf_rating  *rows = malloc(n * sizeof(cf_rating));
	cf_host		host;
	cf_pool    *pool;
	bool		same;

	cf_host_init(&host);
	memcpy(rows, input, n * sizeof(cf_rating));
	if (cf_pool_create(&host, threads, &pool) != CF_OK)
		return false;
	same = cf_sort_ratings(&host, pool, rows, n) == CF_OK &&
		memcmp(rows, wanted, n * sizeof(cf_rating)) == 0;
	cf_pool_destroy(pool);
	free(rows);
	return same && host.used == 0;
}

/* The same for any number of threads, also where much is alike. */
static void
test_pooled_sorting(void)
{
	enum {N = 80000};
	static const uint32_t spans[][2] = {{2000, 300}, {1, 1}, {1, 40}, {3, 1u << 30}, {1u << 31, 1u << 31}, {60000, 1}};
	cf_rating  *input = malloc(N * sizeof(cf_rating));
	cf_rating  *wanted = malloc(N * sizeof(cf_rating));
	uint64_t	counter = 8;
	uint32_t	shape,
				threads,
				j;

	for (shape = 0; shape < 6; shape++)
	{
		for (j = 0; j < N; j++)
		{
			input[j].user = (uint32_t) draw(&counter) % spans[shape][0];
			input[j].item = (uint32_t) draw(&counter) % spans[shape][1];
			input[j].value = (float) (draw(&counter) % 1000) - 500;
		}
		memcpy(wanted, input, N * sizeof(cf_rating));
		qsort(wanted, N, sizeof(cf_rating), compare_rows);
		for (threads = 1; threads <= 3; threads++)
			OK(sorts_on(threads, input, wanted, N), "shape %u is sorted by %u threads", shape, threads);
	}
	free(input);
	free(wanted);
}

/* Whole batches give what single ratings give; freezing on threads, too. */
static void
test_batches(void)
{
	enum {N = 100000};
	triple	   *triples = make_triples(N, 9);
	cf_key	   *users = malloc(N * sizeof(cf_key));
	cf_key	   *items = malloc(N * sizeof(cf_key));
	float	   *values = malloc(N * sizeof(float));
	cf_ratings *one,
			   *many;
	cf_pool    *pool;
	cf_host		host;
	size_t		j;

	cf_host_init(&host);
	for (j = 0; j < N; j++)
	{
		users[j] = integer_key(triples[j].user);
		items[j] = integer_key(triples[j].item);
		values[j] = triples[j].value;
	}
	OK(freeze(&host, triples, N, 0.2, &one) == CF_OK &&
	   cf_ratings_create(&host, CF_KEY_INTEGER, CF_KEY_INTEGER, &many) == CF_OK &&
	   cf_pool_create(&host, 3, &pool) == CF_OK, "one by one");
	for (j = 0; j < N; j += 777)
		cf_ratings_add_many(many, users + j, items + j, values + j, N - j < 777 ? N - j : 777);
	OK(cf_ratings_freeze_on(many, pool, 42, 0.2) == CF_OK && same_bits(one, many),
	   "in batches, on three threads: the same bits");
	cf_pool_destroy(pool);
	cf_ratings_destroy(one);
	cf_ratings_destroy(many);
	OK(host.used == 0, "all given back");
	free(values);
	free(items);
	free(users);
	free(triples);
}

static void
test_shuffling(void)
{
	enum {N = 1000};
	cf_rating	a[N],
				b[N];
	cf_host		host;
	double		sum = 0;
	size_t		fixed = 0;
	uint32_t	j;

	cf_host_init(&host);
	for (j = 0; j < N; j++)
		a[j] = (cf_rating) {j, 0, 0};
	memcpy(b, a, sizeof(a));
	OK(cf_ratings_shuffle(&host, a, N, 7, 0) == CF_OK && cf_ratings_shuffle(&host, b, N, 7, 0) == CF_OK &&
	   memcmp(a, b, sizeof(a)) == 0, "a shuffle can be repeated");
	for (j = 0; j < N; j++)
	{
		fixed += a[j].user == j;
		sum += (double) j * a[j].user;
	}
	OK(fixed < 8, "rows move: %zu did not", fixed);
	/* correlation of place and row: deviation 1 / sqrt(N) */
	OK(fabs((sum / N - 499.5 * 499.5) / (N * N / 12.0)) < 0.12, "anywhere");
	cf_ratings_sort(&host, a, N);
	for (j = 0; j < N && a[j].user == j; j++);
	OK(j == N, "none is lost");
	cf_ratings_shuffle(&host, a, N, 7, 1);
	OK(memcmp(a, b, sizeof(a)) != 0, "epochs differ");
	OK(cf_ratings_shuffle(&host, a, 0, 7, 1) == CF_OK && cf_ratings_shuffle(&host, a, 1, 7, 1) == CF_OK,
	   "nothing to shuffle");
}

static void
test_failures(void)
{
	enum {N = 3000};
	triple	   *triples = make_triples(N, 5);
	cf_ratings *ratings;
	test_host	test;
	long		fail_at = 0;
	bool		good = true;
	cf_status	status;

	do
	{
		test_host_init(&test);
		test.fail_at = ++fail_at;
		status = freeze(&test.host, triples, N, 0.2, &ratings);
		cf_ratings_destroy(ratings);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 20, "failing at each of %ld requests", fail_at - 1);
	test_host_init(&test);
	test.host.limit = 20000;
	OK(freeze(&test.host, triples, N, 0.2, &ratings) == CF_MEMORY_LIMIT &&
	   test.host.wanted > 20000 && test.host.peak <= 20000, "memory limit");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back after the limit");
	test_host_init(&test);
	test.stop_at = 1;
	OK(freeze(&test.host, triples, N, 0.2, &ratings) == CF_STOPPED, "stop");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back after a stop");
	free(triples);
}

int
main(void)
{
	test_freezing();
	test_sorting();
	test_pooled_sorting();
	test_batches();
	test_shuffling();
	test_failures();
	return tap_done();
}
