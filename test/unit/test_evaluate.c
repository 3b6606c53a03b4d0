/* test_evaluate.c: errors and rankings of held-out ratings, against a naive version. */
#include "tap.h"
#include "support.h"
#include "cf_evaluate.h"
#include "cf_metrics.h"

#define N_USERS		40			/* of the model: keys 0, 10, 20, ... */
#define N_ITEMS		90
#define N_FACTORS	3
#define STRANGERS	5			/* users and items that the model does not know */
#define N_HELD		600
#define N_SEEN		900

typedef struct fixture
{
	cf_host		host;
	cf_model	model;
	cf_dict    *users;
	cf_dict    *items;
	cf_ratings *ratings;
	cf_held_out held;
	cf_seen    *seen;
	cf_pool    *pool;
	bool		is_seen[N_USERS + STRANGERS][N_ITEMS + STRANGERS];	/* by key */
} fixture;

/* Keys of the model are multiples of ten, others are strangers'. */
static int64_t
key_of(uint64_t number, uint64_t n_known)
{
	return number < n_known ? (int64_t) number * 10 : (int64_t) (number - n_known) * 170 + 5;
}

static uint32_t
number_of(int64_t key, uint32_t n_known)
{
	return key % 10 == 0 ? (uint32_t) (key / 10) : n_known + (uint32_t) (key / 170);
}

/* Small integers, so that many scores are equal; some rows are cold. */
static void
fill_side(cf_side *side, cf_host *host, uint32_t n, uint64_t *counter)
{
	uint32_t	row;
	uint32_t	f;

	cf_side_create(side, host, n, N_FACTORS);
	for (row = 0; row < n; row++)
	{
		side->n_ratings[row] = (int64_t) (draw(counter) % 5);
		for (f = 0; f <= N_FACTORS; f++)
			cf_side_row(side, row)[f] = (float) (draw(counter) % 3) - 1.0f;
	}
}

static void
fill_dict(cf_dict **dict, cf_host *host, uint32_t n)
{
	uint32_t   *rank;
	uint32_t	row;

	cf_dict_create(host, CF_KEY_INTEGER, dict);
	for (row = n; row > 0; row--)
		cf_dict_add(*dict, integer_key(key_of(row - 1, n)), &(uint32_t) {0});
	cf_dict_sort(*dict, &rank);
	cf_free(host, rank);
}

static void
make_model(fixture *f, uint64_t *counter)
{
	cf_model_init(&f->model, &f->host);
	f->model.use_bias = draw(counter) % 4 != 0;
	f->model.link = draw(counter) % 2 != 0 ? CF_LINK_SIGMOID : CF_LINK_NONE;
	f->model.low = 0.5f;
	f->model.high = 5.5f;
	f->model.mean_rating = 3.25;
	fill_side(&f->model.users, &f->host, N_USERS, counter);
	fill_side(&f->model.items, &f->host, N_ITEMS, counter);
	cf_model_settle(&f->model);
	fill_dict(&f->users, &f->host, N_USERS);
	fill_dict(&f->items, &f->host, N_ITEMS);
}

static cf_status
make_held(fixture *f, size_t n, uint64_t *counter)
{
	size_t		j;

	cf_ratings_create(&f->host, CF_KEY_INTEGER, CF_KEY_INTEGER, &f->ratings);
	for (j = 0; j < n; j++)
	{
		uint64_t	user = draw(counter) % (N_USERS + STRANGERS);
		uint64_t	item = draw(counter) % (N_ITEMS + STRANGERS);
		float		value = (float) (draw(counter) % 9) / 2 + 1;

		cf_ratings_add(f->ratings, integer_key(key_of(user, N_USERS)),
					   integer_key(key_of(item, N_ITEMS)), value);
		if (j % 7 == 0)
			cf_ratings_add(f->ratings, integer_key(key_of(user, N_USERS)),
						   integer_key(key_of(item, N_ITEMS)), 6 - value);
	}
	cf_ratings_freeze(f->ratings, 1, 0);
	return cf_held_out_create(&f->host, f->ratings, 0, f->ratings->n_rows, f->users, f->items,
							  &f->held);
}

static void
make_seen(fixture *f, uint64_t *counter)
{
	size_t		j;

	memset(f->is_seen, 0, sizeof(f->is_seen));
	cf_seen_create(&f->host, f->held.n_users, &f->seen);
	for (j = 0; j < N_SEEN; j++)
	{
		uint64_t	user = draw(counter) % (N_USERS + STRANGERS);
		uint64_t	item = draw(counter) % (N_ITEMS + STRANGERS);
		uint32_t	own_user = cf_dict_find(f->ratings->users, integer_key(key_of(user, N_USERS)));
		uint32_t	own_item = cf_dict_find(f->ratings->items, integer_key(key_of(item, N_ITEMS)));

		if (own_user == CF_NO_ROW || (own_item == CF_NO_ROW && item >= N_ITEMS))
			continue;
		f->is_seen[user][item] = true;
		cf_seen_add(f->seen, own_user, item < N_ITEMS ? (uint32_t) item : cf_unknown_item(N_ITEMS, own_item));
	}
	cf_seen_freeze(f->seen);
}

static void
make_fixture(fixture *f, size_t n, uint32_t n_threads, uint64_t counter)
{
	cf_host_init(&f->host);
	make_model(f, &counter);
	make_held(f, n, &counter);
	make_seen(f, &counter);
	cf_pool_create(&f->host, n_threads, &f->pool);
}

static void
drop_fixture(fixture *f)
{
	cf_pool_destroy(f->pool);
	cf_seen_destroy(f->seen);
	cf_held_out_release(&f->host, &f->held);
	cf_ratings_destroy(f->ratings);
	cf_dict_destroy(f->users);
	cf_dict_destroy(f->items);
	cf_model_release(&f->model);
}

/* Number of a held-out row's user and item: below N_USERS and N_ITEMS, rows of the model. */
static uint32_t
user_of(const fixture *f, const cf_rating *row)
{
	return number_of(cf_dict_key(f->ratings->users, row->user).number, N_USERS);
}

static uint32_t
item_of(const fixture *f, const cf_rating *row)
{
	return number_of(cf_dict_key(f->ratings->items, row->item).number, N_ITEMS);
}

static float
predicted(const fixture *f, uint32_t user, uint32_t item)
{
	return cf_model_predict(&f->model, user < N_USERS ? user : CF_NO_ROW,
							item < N_ITEMS ? item : CF_NO_ROW);
}

static bool
is_candidate(const fixture *f, uint32_t user, uint32_t item)
{
	return item < N_ITEMS && f->model.items.n_ratings[item] > 0 && !f->is_seen[user][item];
}

static bool
is_relevant(const fixture *f, uint32_t user, uint32_t item, double from)
{
	size_t		j;

	for (j = 0; j < f->held.n; j++)
		if (user_of(f, &f->held.rows[j]) == user && item_of(f, &f->held.rows[j]) == item &&
			f->held.rows[j].value >= from && !f->is_seen[user][item])
			return true;
	return false;
}

/* The place that an item would have among the candidates. */
static uint64_t
place_of(const fixture *f, uint32_t user, uint32_t item)
{
	uint64_t	place = 1;
	uint32_t	other;

	for (other = 0; other < N_ITEMS; other++)
		if (is_candidate(f, user, other) &&
			(predicted(f, user, other) > predicted(f, user, item) ||
			 (predicted(f, user, other) == predicted(f, user, item) && other < item)))
			place++;
	return place;
}

/* The candidates in order, then a look at each place. */
static cf_ranking_scores
naive_user(const fixture *f, uint32_t user, double from, size_t k, size_t *n_relevant, bool *covered)
{
	uint32_t	item_at[N_ITEMS];
	uint64_t	places[N_ITEMS];
	size_t		n_candidates = 0;
	size_t		n = 0;
	uint32_t	item;
	size_t		j;

	*n_relevant = 0;
	for (item = 0; item < N_ITEMS + STRANGERS; item++)
		*n_relevant += is_relevant(f, user, item, from);
	if (*n_relevant == 0)
		return (cf_ranking_scores) {0, 0, 0, 0, 0};
	for (item = 0; item < N_ITEMS; item++)
		if (is_candidate(f, user, item))
		{
			item_at[place_of(f, user, item) - 1] = item;
			n_candidates++;
		}
	for (j = 0; j < n_candidates; j++)
	{
		covered[item_at[j]] = covered[item_at[j]] || j < k;
		if (is_relevant(f, user, item_at[j], from))
			places[n++] = j + 1;
	}
	return cf_ranking_measure(places, n, *n_relevant, k);
}

static cf_rankings
naive_rankings(const fixture *f, double from, size_t k)
{
	bool		covered[N_ITEMS] = {false};
	cf_rankings sum = {0, 0, 0, 0, 0, 0, 0};
	uint32_t	number;
	size_t		n_covered = 0;
	size_t		n_trained = 0;

	for (number = 0; number < f->held.n_users; number++)
	{
		size_t		n_relevant;
		uint32_t	user = number_of(cf_dict_key(f->ratings->users, number).number, N_USERS);
		cf_ranking_scores scores = naive_user(f, user, from, k, &n_relevant, covered);

		sum.n_users += n_relevant > 0;
		sum.precision += scores.precision;
		sum.recall += scores.recall;
		sum.ndcg += scores.ndcg;
		sum.average_precision += scores.average_precision;
		sum.reciprocal_rank += scores.reciprocal_rank;
	}
	for (number = 0; number < N_ITEMS; number++)
	{
		n_covered += covered[number];
		n_trained += f->model.items.n_ratings[number] > 0;
	}
	sum.precision /= (double) sum.n_users;
	sum.recall /= (double) sum.n_users;
	sum.ndcg /= (double) sum.n_users;
	sum.average_precision /= (double) sum.n_users;
	sum.reciprocal_rank /= (double) sum.n_users;
	sum.coverage = sum.n_users > 0 ? (double) n_covered / (double) n_trained : NAN;
	return sum;
}

static bool
same_rankings(cf_rankings a, cf_rankings b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void
test_rankings(void)
{
	static const size_t ks[] = {1, 10, N_ITEMS, SIZE_MAX};
	static const double froms[] = {3.5, -INFINITY, 5.0};
	bool		good = true;
	uint64_t	seed;

	for (seed = 1; seed <= 8; seed++)
	{
		fixture		f;
		cf_rankings got;
		double		from = froms[seed % 3];
		size_t		k = ks[seed % 4];

		make_fixture(&f, N_HELD, 1 + seed % 3, seed * 1000);
		good = good && cf_evaluate_rankings(&f.model, &f.host, f.pool, &f.held, f.seen, from, k, &got) == CF_OK &&
			got.n_users > 20 && got.recall > 0 && same_rankings(got, naive_rankings(&f, from, k));
		drop_fixture(&f);
		good = good && f.host.used == 0;
	}
	OK(good, "rankings as by the definitions, to the bit");
}

static void
test_threads(void)
{
	cf_rankings first;
	bool		good = true;
	uint32_t	n_threads;

	for (n_threads = 1; n_threads <= 5; n_threads++)
	{
		fixture		f;
		cf_rankings got;

		make_fixture(&f, N_HELD, n_threads, 7);
		good = good && cf_evaluate_rankings(&f.model, &f.host, f.pool, &f.held, f.seen, 3, 10, &got) == CF_OK;
		if (n_threads == 1)
			first = got;
		good = good && same_rankings(first, got);
		drop_fixture(&f);
	}
	OK(good, "the same bits by any number of threads");
}

static void
test_errors(void)
{
	fixture		f;
	cf_errors	got;
	double		squares = 0;
	double		absolutes = 0;
	double		mean = 0;
	double		around = 0;
	size_t		n_cold_users = 0;
	size_t		n_cold_items = 0;
	size_t		j;

	make_fixture(&f, N_HELD, 1, 99);
	for (j = 0; j < f.held.n; j++)
		mean += f.held.rows[j].value / (double) f.held.n;
	for (j = 0; j < f.held.n; j++)
	{
		const cf_rating *row = &f.held.rows[j];
		uint32_t	user = user_of(&f, row);
		uint32_t	item = item_of(&f, row);
		double		error = (double) row->value - predicted(&f, user, item);

		squares += error * error;
		absolutes += error < 0 ? -error : error;
		around += (row->value - mean) * (row->value - mean);
		n_cold_users += user >= N_USERS || f.model.users.n_ratings[user] == 0;
		n_cold_items += item >= N_ITEMS || f.model.items.n_ratings[item] == 0;
	}
	OK(cf_evaluate_errors(&f.model, &f.host, &f.held, &got) == CF_OK, "errors");
	OK(fabs(got.mse - squares / (double) f.held.n) < 1e-12 &&
	   fabs(got.mae - absolutes / (double) f.held.n) < 1e-12 &&
	   fabs(got.r2 - (1 - squares / around)) < 1e-12, "mse, mae and r2 as by the definitions");
	OK(got.n_cold_users == n_cold_users && got.n_cold_items == n_cold_items && n_cold_users > 0 &&
	   n_cold_items > 0, "cold users and items");
	drop_fixture(&f);
}

static void
test_nothing(void)
{
	fixture		f;
	cf_errors	errors;
	cf_rankings rankings;

	make_fixture(&f, N_HELD, 2, 5);
	OK(cf_evaluate_rankings(&f.model, &f.host, f.pool, &f.held, f.seen, 100, 10, &rankings) == CF_OK &&
	   rankings.n_users == 0 && isnan(rankings.ndcg) && isnan(rankings.coverage),
	   "nothing relevant: no user is ranked");
	f.held.n = 0;
	OK(cf_evaluate_errors(&f.model, &f.host, &f.held, &errors) == CF_OK && isnan(errors.mse) &&
	   isnan(errors.mae) && isnan(errors.r2) && errors.n_cold_users == 0, "no ratings: no errors");
	OK(cf_evaluate_rankings(&f.model, &f.host, f.pool, &f.held, f.seen, 0, 10, &rankings) == CF_OK &&
	   rankings.n_users == 0 && isnan(rankings.recall), "no ratings: no user");
	f.held.n = 1;
	OK(cf_evaluate_errors(&f.model, &f.host, &f.held, &errors) == CF_OK && errors.mse >= 0 &&
	   isnan(errors.r2), "one rating: no r2");
	drop_fixture(&f);
}

/* One evaluation with a host that fails or stops; the fixture has its own. */
static cf_status
evaluate_with(fixture *f, cf_host *host)
{
	cf_held_out held;
	cf_errors	errors;
	cf_rankings rankings;
	cf_pool    *pool = NULL;
	cf_status	status = cf_held_out_create(host, f->ratings, 0, f->ratings->n_rows, f->users,
											f->items, &held);

	if (status != CF_OK)
		return status;
	status = cf_evaluate_errors(&f->model, host, &held, &errors);
	if (status == CF_OK)
		status = cf_pool_create(host, 2, &pool);
	if (status == CF_OK)
		status = cf_evaluate_rankings(&f->model, host, pool, &held, f->seen, 3, 10, &rankings);
	cf_pool_destroy(pool);
	cf_held_out_release(host, &held);
	return status;
}

static void
test_failures(void)
{
	fixture		f;
	test_host	test;
	long		fail_at = 0;
	long		stop_at = 0;
	bool		good = true;
	cf_status	status;

	make_fixture(&f, 40000, 1, 3);
	do
	{
		test_host_init(&test);
		test.fail_at = ++fail_at;
		status = evaluate_with(&f, &test.host);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 10, "failing at each of %ld requests", fail_at - 1);
	do
	{
		test_host_init(&test);
		test.stop_at = ++stop_at;
		status = evaluate_with(&f, &test.host);
		good = good && test.blocks == 0 && test.host.used == 0 &&
			(status == CF_OK || status == CF_STOPPED);
	} while (status != CF_OK);
	OK(good && stop_at > 5, "stops at each of %ld polls", stop_at - 1);
	drop_fixture(&f);
}

int
main(void)
{
	test_rankings();
	test_threads();
	test_errors();
	test_nothing();
	test_failures();
	return tap_done();
}
