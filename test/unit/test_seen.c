/* test_seen.c: who rated what. */
#include "tap.h"
#include "support.h"
#include "cf_seen.h"

typedef struct pair
{
	uint32_t	user;
	uint32_t	item;
} pair;

static cf_status
freeze(cf_host *host, uint32_t n_users, const pair *pairs, size_t n, cf_seen **seen)
{
	cf_status	status = cf_seen_create(host, n_users, seen);
	size_t		j;

	if (status != CF_OK)
	{
		*seen = NULL;
		return status;
	}
	for (j = 0; j < n && status == CF_OK; j++)
		status = cf_seen_add(*seen, pairs[j].user, pairs[j].item);
	return status == CF_OK ? cf_seen_freeze(*seen) : status;
}

static bool
has_list(const cf_seen *seen, uint32_t user, const uint32_t *wanted, size_t n_wanted)
{
	size_t		n;
	const uint32_t *items = cf_seen_items(seen, user, &n);

	return n == n_wanted && (n == 0 || memcmp(items, wanted, n * sizeof(uint32_t)) == 0);
}

static void
test_by_hand(void)
{
	static const pair pairs[] = {{2, 9}, {0, 5}, {2, 3}, {2, 9}, {0, 5}, {0, 5}, {4, UINT32_MAX}, {4, 0}, {2, 7}};
	static const uint32_t zero[] = {5};
	static const uint32_t two[] = {3, 7, 9};
	static const uint32_t four[] = {0, UINT32_MAX};
	cf_seen    *seen;
	cf_host		host;

	cf_host_init(&host);
	OK(freeze(&host, 6, pairs, 9, &seen) == CF_OK, "freeze");
	OK(has_list(seen, 0, zero, 1), "a pair that came three times is there once");
	OK(has_list(seen, 2, two, 3) && has_list(seen, 4, four, 2), "lists rise");
	OK(has_list(seen, 1, NULL, 0) && has_list(seen, 3, NULL, 0) && has_list(seen, 5, NULL, 0),
	   "users without pairs, the last included");
	cf_seen_destroy(seen);
	OK(freeze(&host, 3, NULL, 0, &seen) == CF_OK && has_list(seen, 0, NULL, 0) && has_list(seen, 2, NULL, 0),
	   "no pairs");
	cf_seen_destroy(seen);
	OK(freeze(&host, 0, NULL, 0, &seen) == CF_OK, "no users");
	cf_seen_destroy(seen);
	cf_seen_destroy(NULL);
	OK(host.used == 0, "all given back");
}

/* A table of flags says who rated what. */
static void
test_at_random(uint32_t n_users, uint32_t n_items, size_t n, const char *what)
{
	pair	   *pairs = calloc(n + 1, sizeof(pair));
	bool	   *rated = calloc((size_t) n_users * n_items, sizeof(bool));
	uint64_t	counter = n;
	bool		good = true;
	cf_seen    *seen;
	cf_host		host;
	uint32_t	user;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		pairs[j].user = (uint32_t) (draw(&counter) % n_users);
		pairs[j].item = (uint32_t) (draw(&counter) % n_items);
		rated[(size_t) pairs[j].user * n_items + pairs[j].item] = true;
	}
	cf_host_init(&host);
	OK(freeze(&host, n_users, pairs, n, &seen) == CF_OK, "freeze %s", what);
	for (user = 0; user < n_users; user++)
	{
		size_t		n_seen;
		const uint32_t *items = cf_seen_items(seen, user, &n_seen);
		uint32_t	item;

		for (item = 0, j = 0; item < n_items; item++)
			if (rated[(size_t) user * n_items + item])
				good = good && j < n_seen && items[j++] == item;
		good = good && j == n_seen;
	}
	OK(good, "%s are what was added", what);
	OK(host.used < (size_t) 4 * n + 8 * n_users + 1000, "%s: the pairs were given back", what);
	cf_seen_destroy(seen);
	OK(host.used == 0, "%s: all given back", what);
	free(pairs);
	free(rated);
}

static void
test_orders(void)
{
	enum {N = 3000};
	pair	   *pairs = malloc(N * sizeof(pair));
	uint32_t   *wanted = malloc(N * sizeof(uint32_t));
	cf_seen    *seen;
	cf_host		host;
	uint32_t	j;

	cf_host_init(&host);
	for (j = 0; j < N; j++)
	{
		wanted[j] = j;
		pairs[j].user = 0;
		pairs[j].item = j;
	}
	OK(freeze(&host, 1, pairs, N, &seen) == CF_OK && has_list(seen, 0, wanted, N), "rising");
	cf_seen_destroy(seen);
	for (j = 0; j < N; j++)
		pairs[j].item = N - 1 - j;
	OK(freeze(&host, 1, pairs, N, &seen) == CF_OK && has_list(seen, 0, wanted, N), "falling");
	cf_seen_destroy(seen);
	for (j = 0; j < N; j++)
		pairs[j].item = 2;
	OK(freeze(&host, 1, pairs, N, &seen) == CF_OK && has_list(seen, 0, wanted + 2, 1), "all the same");
	OK(host.used < 1000, "and no room is kept for them");
	cf_seen_destroy(seen);
	free(pairs);
	free(wanted);
}

/* Each poll in its turn says stop. */
static bool
stops_everywhere(uint32_t n_users, const pair *pairs, size_t n, long *polls)
{
	bool		good = true;
	cf_status	status;
	cf_seen    *seen;
	test_host	test;

	*polls = 0;
	do
	{
		test_host_init(&test);
		test.stop_at = ++*polls;
		status = freeze(&test.host, n_users, pairs, n, &seen);
		cf_seen_destroy(seen);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_STOPPED);
	} while (status != CF_OK);
	return good;
}

static void
test_failures(void)
{
	enum {N = 200000};
	pair	   *pairs = malloc(N * sizeof(pair));
	uint64_t	counter = 1;
	long		fail_at = 0;
	long		polls;
	bool		good = true;
	cf_status	status;
	cf_seen    *seen;
	test_host	test;
	size_t		j;

	for (j = 0; j < N; j++)
	{
		pairs[j].user = 0;
		pairs[j].item = (uint32_t) (draw(&counter) % 1000);
	}
	do
	{
		test_host_init(&test);
		test.fail_at = ++fail_at;
		status = freeze(&test.host, 10, pairs, 3000, &seen);
		cf_seen_destroy(seen);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 6, "failing at each of %ld requests", fail_at - 1);
	test_host_init(&test);
	test.host.limit = 100000;
	OK(freeze(&test.host, 10, pairs, N, &seen) == CF_MEMORY_LIMIT &&
	   test.host.wanted > 100000 && test.host.peak <= 100000, "memory limit");
	cf_seen_destroy(seen);
	OK(test.blocks == 0, "all given back after the limit");
	good = stops_everywhere(1, pairs, N, &polls);
	OK(good && polls > 8, "stops at each of %ld polls: one long list", polls - 1);
	for (j = 0; j < N; j++)
		pairs[j].user = (uint32_t) j;
	good = stops_everywhere(N, pairs, N, &polls);
	OK(good && polls > 8, "stops at each of %ld polls: many short ones", polls - 1);
	free(pairs);
}

int
main(void)
{
	test_by_hand();
	test_at_random(50, 40, 3000, "dense lists");
	test_at_random(2000, 300, 5000, "sparse lists");
	test_at_random(1, 5000, 20000, "one list");
	test_orders();
	test_failures();
	return tap_done();
}
