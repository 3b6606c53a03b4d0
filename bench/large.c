/*
 * large.c
 *	  The core alone with very many ratings: arrays past 1 GB.
 *
 *	  ./large RATINGS USERS ITEMS THREADS [KEYS]		see bench/large
 *
 * Makes ratings up in memory, adds them under keys of KEYS (dense, scattered,
 * uuid or text), freezes them, and checks the outcome.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cf_pool.h"
#include "cf_ratings.h"

#define BATCH 256

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static uint64_t
mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void
check(cf_status status, const char *what)
{
	if (status == CF_OK)
		return;
	fprintf(stderr, "%s: status %d\n", what, (int) status);
	exit(1);
}

/* The key of a number; "room" holds its bytes. */
static cf_key
make_key(const char *keys, uint32_t number, char *room)
{
	cf_key		key = {0, NULL, 0};
	uint64_t	hash = mix(number + 1);

	if (strcmp(keys, "dense") == 0)
		key.number = (int64_t) number + 1;
	else if (strcmp(keys, "scattered") == 0)
		key.number = (int64_t) hash;
	else if (strcmp(keys, "uuid") == 0)
	{
		uint64_t	words[2] = {hash, mix(hash)};

		memcpy(room, words, 16);
		key.bytes = room;
		key.length = 16;
	}
	else
	{
		key.bytes = room;
		key.length = (uint32_t) sprintf(room, "key-%" PRIu32, number);
	}
	return key;
}

/* Rating number j: few items have most ratings. */
static void
make_rating(uint64_t j, uint32_t users, uint32_t items, uint32_t *user, uint32_t *item, float *value)
{
	uint64_t	a = mix(j * UINT64_C(0x9e3779b97f4a7c15) + 1);
	uint64_t	b = mix(a + 1);
	double		u = (double) (b >> 11) / 9007199254740992.0;

	*user = (uint32_t) ((a >> 32) * users >> 32);
	*item = (uint32_t) (u * u * u * items);
	*value = (float) (1 + (b & 7)) / 2;
}

/* The time that making the ratings takes is measured apart. */
static double
add(cf_ratings *ratings, size_t n, uint32_t users, uint32_t items, const char *keys)
{
	static char rooms[2][BATCH][24];
	static cf_key user_keys[BATCH];
	static cf_key item_keys[BATCH];
	static float values[BATCH];
	double		seconds = 0;
	size_t		j = 0;

	while (j < n)
	{
		double		began;
		size_t		k;

		for (k = 0; k < BATCH && j < n; k++, j++)
		{
			uint32_t	user;
			uint32_t	item;

			make_rating(j, users, items, &user, &item, &values[k]);
			user_keys[k] = make_key(keys, user, rooms[0][k]);
			item_keys[k] = make_key(keys, item, rooms[1][k]);
		}
		began = now();
		if (ratings != NULL)
			check(cf_ratings_add_many(ratings, user_keys, item_keys, values, k), "add");
		seconds += now() - began;
	}
	return seconds;
}

static bool
in_order(const cf_rating *rows, size_t n)
{
	size_t		j;

	for (j = 1; j < n; j++)
		if (rows[j - 1].user > rows[j].user ||
			(rows[j - 1].user == rows[j].user && rows[j - 1].item > rows[j].item))
			return false;
	return true;
}

int
main(int argc, char **argv)
{
	cf_host		host;
	cf_pool    *pool;
	cf_ratings *ratings;
	const char *keys = argc > 5 ? argv[5] : "dense";
	size_t		n;
	size_t		bytes;
	double		adding;
	double		began;
	double		freezing;

	if (argc < 5)
	{
		fprintf(stderr, "usage: large RATINGS USERS ITEMS THREADS [dense|scattered|uuid|text]\n");
		return 2;
	}
	n = strtoull(argv[1], NULL, 10);
	cf_host_init(&host);
	check(cf_pool_create(&host, (uint32_t) atoi(argv[4]), &pool), "pool");
	check(cf_ratings_create(&host, strcmp(keys, "dense") == 0 || strcmp(keys, "scattered") == 0 ?
							CF_KEY_INTEGER : CF_KEY_BYTES,
							keys[0] == 'd' || keys[0] == 's' ? CF_KEY_INTEGER : CF_KEY_BYTES,
							&ratings), "create");
	adding = add(ratings, n, (uint32_t) atol(argv[2]), (uint32_t) atol(argv[3]), keys);
	began = now();
	check(cf_ratings_freeze_on(ratings, pool, 42, 0.2), "freeze");
	freezing = now() - began;
	bytes = n * sizeof(cf_rating);
	if (ratings->n_train + ratings->n_valid != n || !in_order(ratings->rows, ratings->n_train) ||
		!in_order(ratings->rows + ratings->n_train, ratings->n_valid))
	{
		fprintf(stderr, "the ratings are not in order\n");
		return 1;
	}
	printf("%zu ratings (%.2f GB) by %" PRIu32 " users, %" PRIu32 " items, %s keys, %" PRIu32 " threads: "
		   "added %.2f s (%.1f M/s), frozen %.2f s (%.1f M/s), at most %.1f bytes a rating\n",
		   n, (double) bytes / 1e9, cf_dict_count(ratings->users), cf_dict_count(ratings->items), keys,
		   cf_pool_threads(pool), adding, (double) n / adding / 1e6, freezing, (double) n / freezing / 1e6,
		   (double) host.peak / (double) n);
	cf_ratings_destroy(ratings);
	cf_pool_destroy(pool);
	return 0;
}
