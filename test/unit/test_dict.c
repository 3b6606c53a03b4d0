/* test_dict.c: the key dictionary. */
#include "tap.h"
#include "support.h"

/* Keys that were added once each, to be looked for. */
typedef struct key_list
{
	cf_key_kind kind;
	cf_key	   *keys;
	uint32_t	n;
} key_list;

static cf_key_kind sort_kind;

static int
compare_keys(const void *a, const void *b)
{
	return cf_key_compare(sort_kind, *(const cf_key *) a, *(const cf_key *) b);
}

static cf_status
add_all(cf_dict *dict, const key_list *list)
{
	cf_status	status = CF_OK;
	uint32_t	row;
	uint32_t	j;

	for (j = 0; j < list->n && status == CF_OK; j++)
	{
		status = cf_dict_add(dict, list->keys[j], &row);
		if (status == CF_OK && row != j)
			return CF_TOO_MANY;
	}
	return status;
}

/* In batches of all sizes, known keys among them. */
static bool
adds_many(const key_list *list)
{
	uint32_t   *rows = malloc((list->n + 1) * sizeof(uint32_t));
	cf_host		host;
	cf_dict    *dict;
	size_t		done;
	size_t		size = 1;
	bool		good = true;

	cf_host_init(&host);
	cf_dict_create(&host, list->kind, &dict);
	for (done = 0; done < list->n && good; done += size / 2 + 1)
	{
		size_t		n;
		size_t		j;

		size = size % 500 * 2 + 1;
		n = list->n - done < size ? list->n - done : size;
		good = cf_dict_add_many(dict, list->keys + done, n, rows) == CF_OK;
		for (j = 0; j < n; j++)
			good = good && rows[j] == done + j;
	}
	good = good && cf_dict_count(dict) == list->n;
	cf_dict_destroy(dict);
	free(rows);
	return good && host.used == 0;
}

static bool
finds_all(const cf_dict *dict, const key_list *list, const uint32_t *rank)
{
	uint32_t	j;

	for (j = 0; j < list->n; j++)
	{
		uint32_t	row = cf_dict_find(dict, list->keys[j]);

		if (row != (rank != NULL ? rank[j] : j) ||
			cf_key_compare(list->kind, cf_dict_key(dict, row), list->keys[j]) != 0)
			return false;
	}
	return cf_dict_count(dict) == list->n;
}

static bool
is_sorted(const cf_dict *dict, const key_list *list)
{
	cf_key	   *sorted = malloc((list->n + 1) * sizeof(cf_key));
	uint32_t	j;
	bool		good = true;

	memcpy(sorted, list->keys, list->n * sizeof(cf_key));
	sort_kind = list->kind;
	qsort(sorted, list->n, sizeof(cf_key), compare_keys);
	for (j = 0; j < list->n; j++)
		good = good && cf_key_compare(list->kind, sorted[j], cf_dict_key(dict, j)) == 0;
	free(sorted);
	return good;
}

/* The whole life of a dictionary of these keys, and of one absent. */
static void
check_keys(const char *name, const key_list *list, cf_key absent)
{
	cf_host		host;
	cf_dict    *dict;
	uint32_t   *rank;
	uint32_t	row;

	cf_host_init(&host);
	OK(cf_dict_create(&host, list->kind, &dict) == CF_OK &&
	   cf_dict_find(dict, absent) == CF_NO_ROW, "%s: create", name);
	OK(add_all(dict, list) == CF_OK && finds_all(dict, list, NULL), "%s: add", name);
	OK(add_all(dict, list) == CF_OK && cf_dict_count(dict) == list->n, "%s: add again", name);
	OK(adds_many(list), "%s: add many", name);
	OK(cf_dict_find(dict, absent) == CF_NO_ROW, "%s: absent", name);
	OK(cf_dict_sort(dict, &rank) == CF_OK && is_sorted(dict, list), "%s: sort", name);
	OK(finds_all(dict, list, rank), "%s: ranks", name);
	OK(cf_dict_find(dict, absent) == CF_NO_ROW &&
	   cf_dict_add(dict, absent, &row) == CF_OK && row == list->n &&
	   cf_dict_find(dict, absent) == row, "%s: one more", name);
	cf_free(&host, rank);
	cf_dict_destroy(dict);
	OK(host.used == 0, "%s: all given back", name);
}

static void
check_integers(const char *name, const int64_t *numbers, uint32_t n, int64_t absent)
{
	key_list	list = {CF_KEY_INTEGER, malloc((n + 1) * sizeof(cf_key)), n};
	uint32_t	j;

	for (j = 0; j < n; j++)
		list.keys[j] = integer_key(numbers[j]);
	check_keys(name, &list, integer_key(absent));
	free(list.keys);
}

static void
test_integers(void)
{
	enum {N = 5000};
	static const int64_t extremes[] = {0, INT64_MIN, INT64_MAX, -1, 1, INT64_MAX - 1, INT64_MIN + 1};
	static int64_t numbers[N];
	uint64_t	counter = 1;
	int64_t		j;

	check_integers("none", numbers, 0, 0);
	check_integers("extremes", extremes, 7, 2);
	check_integers("INT64_MIN alone", extremes + 1, 1, INT64_MAX);
	check_integers("INT64_MAX alone", extremes + 2, 1, INT64_MIN);
	for (j = 0; j < N; j++)
		numbers[j] = 100 + j;
	check_integers("upwards", numbers, N, 99);
	for (j = 0; j < N; j++)
		numbers[j] = INT64_MIN + N - 1 - j;
	check_integers("downwards to INT64_MIN", numbers, N, INT64_MIN + N);
	for (j = 0; j < N; j++)
		numbers[j] = INT64_MAX - j;
	check_integers("from INT64_MAX downwards", numbers, N, 0);
	for (j = 0; j < N; j++)
		numbers[j] = (j % 2 ? 1 : -1) * (j + 1) / 2;
	check_integers("both ways", numbers, N, N);
	for (j = 0; j < N; j++)
		numbers[j] = (j * 1237) % N;
	check_integers("a sequence, mixed up", numbers, N, -1);
	for (j = 0; j < N; j++)
		numbers[j] = (int64_t) draw(&counter);
	check_integers("sparse", numbers, N, 12345);
}

static void
test_bytes(void)
{
	enum {N = 4000};
	static char text[N + 1];
	static char names[N][16];
	key_list	list = {CF_KEY_BYTES, malloc(N * sizeof(cf_key)), 0};
	int			j;

	memset(text, 'a', N);
	for (j = 0; j < 100; j++)
		list.keys[list.n++] = bytes_key(text, (uint32_t) (99 - j));
	check_keys("prefixes and the empty key", &list, bytes_key(text, 100));
	list.n = 0;
	for (j = 0; j < 40; j++)
	{
		/* "\0", "\0\0", ... beside "ab\0", "ab\0\0", ... */
		names[j][0] = j < 20 ? 0 : 'a';
		list.keys[list.n++] = bytes_key(names[j], (uint32_t) (j % 10 + (j / 10 % 2 ? 1 : 0)));
		names[j][j % 10] = j / 10 % 2 ? '\377' : 0;
		if (list.keys[list.n - 1].length == 0 || (j >= 20 && j < 30))
			list.n--;
	}
	list.keys[list.n++] = bytes_key("ab\0c", 4);
	list.keys[list.n++] = bytes_key("ab\0d", 4);
	list.keys[list.n++] = bytes_key("ab", 2);
	{
		/* equal ones among these are dropped: each is added once */
		uint32_t	kept = 0;
		uint32_t	a,
					b;

		for (a = 0; a < list.n; a++)
		{
			for (b = 0; b < kept; b++)
				if (cf_key_compare(CF_KEY_BYTES, list.keys[a], list.keys[b]) == 0)
					break;
			if (b == kept)
				list.keys[kept++] = list.keys[a];
		}
		list.n = kept;
	}
	check_keys("zeros and bytes above 127", &list, bytes_key("ab\0", 3));
	list.n = 0;
	for (j = 0; j < N; j++)
		list.keys[list.n++] = bytes_key(names[j],
										(uint32_t) sprintf(names[j], "user:%08d", (j * 2741) % N));
	check_keys("names", &list, bytes_key("user:", 5));
	free(list.keys);
}

static void
test_hashes(void)
{
	cf_key		number = integer_key(42);

	OK(cf_key_hash(CF_KEY_INTEGER, number, 1) == cf_key_hash(CF_KEY_INTEGER, number, 1) &&
	   cf_key_hash(CF_KEY_INTEGER, number, 1) != cf_key_hash(CF_KEY_INTEGER, number, 2),
	   "hash depends on the seed");
	/* fixed for good: validation parts of old models hang on them */
	OK(cf_key_hash(CF_KEY_INTEGER, number, 42) == UINT64_C(0x1F8A73CF91777B9E), "hash of an integer");
	OK(cf_key_hash(CF_KEY_BYTES, bytes_key("Star Wars (1977)", 16), 42) == UINT64_C(0xBB6F78B39C98C5BE),
	   "hash of bytes");
	OK(cf_key_hash(CF_KEY_BYTES, bytes_key("a\0", 2), 0) !=
	   cf_key_hash(CF_KEY_BYTES, bytes_key("a", 1), 0), "length counts");
}

/* Many keys whose slots collide: those that share the hash's upper half's low bits. */
static void
test_collisions(void)
{
	enum {N = 300};
	static char names[N][24];
	key_list	list = {CF_KEY_BYTES, malloc(N * sizeof(cf_key)), 0};
	uint64_t	j;

	for (j = 0; list.n < N; j++)
	{
		cf_key		key = bytes_key(names[list.n],
									(uint32_t) sprintf(names[list.n], "%llu", (unsigned long long) j));

		if ((cf_key_hash(CF_KEY_BYTES, key, 0) >> 32 & 0x3F) == 7)
			list.keys[list.n++] = key;
	}
	check_keys("collisions", &list, bytes_key("none", 4));
	free(list.keys);
}

static cf_status
live(test_host *test, const key_list *list)
{
	cf_dict    *dict = NULL;
	uint32_t   *rank = NULL;
	cf_status	status = cf_dict_create(&test->host, list->kind, &dict);

	if (status == CF_OK)
		status = add_all(dict, list);
	if (status == CF_OK)
		status = cf_dict_sort(dict, &rank);
	cf_free(&test->host, rank);
	cf_dict_destroy(dict);
	return status;
}

static void
test_failures(const char *name, const key_list *list)
{
	test_host	test;
	long		fail_at = 0;
	cf_status	status;
	bool		good = true;

	do
	{
		test_host_init(&test);
		test.fail_at = ++fail_at;
		status = live(&test, list);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 5, "%s: failing at each of %ld requests", name, fail_at - 1);

	test_host_init(&test);
	test.host.limit = 4096;
	OK(live(&test, list) == CF_MEMORY_LIMIT && test.blocks == 0 &&
	   test.host.wanted > 4096 && test.host.peak <= 4096, "%s: memory limit", name);
	test_host_init(&test);
	test.stop_at = 1;
	OK(live(&test, list) == CF_STOPPED && test.blocks == 0, "%s: stop", name);
}

int
main(void)
{
	enum {N = 2000};
	static char names[N][8];
	key_list	integers = {CF_KEY_INTEGER, malloc(N * sizeof(cf_key)), N};
	key_list	bytes = {CF_KEY_BYTES, malloc(N * sizeof(cf_key)), N};
	int			j;

	for (j = 0; j < N; j++)
	{
		integers.keys[j] = integer_key((int64_t) j * j * j);
		bytes.keys[j] = bytes_key(names[j], (uint32_t) sprintf(names[j], "%d", j));
	}
	test_integers();
	test_bytes();
	test_hashes();
	test_collisions();
	test_failures("integers", &integers);
	test_failures("bytes", &bytes);
	free(integers.keys);
	free(bytes.keys);
	return tap_done();
}
