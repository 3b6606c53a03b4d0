/* test_limits.c: what happens at the greatest number of users or items, here 1,000. */
#include <stdio.h>

#include "tap.h"
#include "support.h"
#include "cf_ratings.h"

enum {MORE = CF_MAX_ROWS + 300};

static cf_key keys[MORE];
static char names[MORE][16];

static void
make_keys(cf_key_kind kind, int64_t factor)
{
	int			j;

	for (j = 0; j < MORE; j++)
	{
		keys[j] = integer_key(j * factor);
		if (kind == CF_KEY_BYTES)
		{
			keys[j].bytes = names[j];
			keys[j].length = (uint32_t) snprintf(names[j], sizeof(names[j]), "name %d", j);
		}
	}
}

static void
check_dict(const char *what, cf_key_kind kind, int64_t factor)
{
	uint32_t	rows[MORE];
	uint32_t   *rank;
	uint32_t	row;
	cf_host		host;
	cf_dict    *dict;
	uint32_t	j;
	bool		good = true;

	make_keys(kind, factor);
	cf_host_init(&host);
	cf_dict_create(&host, kind, &dict);
	OK(cf_dict_add_many(dict, keys, CF_MAX_ROWS, rows) == CF_OK &&
	   cf_dict_count(dict) == CF_MAX_ROWS, "%s: as many as there can be", what);
	OK(cf_dict_add(dict, keys[CF_MAX_ROWS], &row) == CF_TOO_MANY, "%s: one more is too many", what);
	OK(cf_dict_add_many(dict, keys, MORE, rows) == CF_TOO_MANY, "%s: many more, too", what);
	for (j = 0; j < CF_MAX_ROWS; j++)
		good = good && cf_dict_add(dict, keys[j], &row) == CF_OK && row == j;
	OK(good, "%s: those that are there are found", what);
	OK(cf_dict_sort(dict, &rank) == CF_OK, "%s: they can be sorted", what);
	cf_free(&host, rank);
	cf_dict_destroy(dict);
	OK(host.used == 0, "%s: all given back", what);
}

/* The mark of the held-out part is beside the users' numbers. */
static void
check_ratings(uint32_t n_users)
{
	static float values[CF_MAX_ROWS];
	cf_host		host;
	cf_ratings *ratings;
	uint32_t	j;
	bool		good;

	make_keys(CF_KEY_INTEGER, 1000003);
	cf_host_init(&host);
	cf_ratings_create(&host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings);
	good = cf_ratings_add_many(ratings, keys, keys, values, n_users) == CF_OK &&
		cf_ratings_freeze(ratings, 1, 0.5) == CF_OK && ratings->n_train + ratings->n_valid == n_users;
	for (j = 0; good && j < n_users; j++)
	{
		const cf_rating *row = &ratings->rows[j];

		good = row->user < n_users && row->item == row->user &&
			(j >= ratings->n_train) == cf_ratings_is_valid(CF_KEY_INTEGER, keys[row->user], CF_KEY_INTEGER,
														   keys[row->item], 1, 0.5) &&
			(j == 0 || j == ratings->n_train || row[-1].user < row->user);
	}
	OK(good, "%u users are parted and sorted", n_users);
	cf_ratings_destroy(ratings);
}

int
main(void)
{
	check_dict("dense", CF_KEY_INTEGER, 1);
	check_dict("scattered", CF_KEY_INTEGER, INT64_C(1000000007));
	check_dict("strings", CF_KEY_BYTES, 1);
	check_ratings(CF_MAX_ROWS);
	check_ratings(512);
	check_ratings(513);
	check_ratings(2);
	return tap_done();
}
