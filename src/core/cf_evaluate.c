/*
 * cf_evaluate.c
 *	  How good a model is at ratings that were held out.
 *
 * A user's scores are computed once.  Items that are no candidates get NaN,
 * which no comparison finds better than anything.  The places of the relevant
 * items come from one pass over the scores: each candidate is looked up by
 * bisection among the relevant items, best first, and moves all those behind
 * it down by one.  So no ranking is ever sorted.
 *
 * Each thread has its own buffers.  What a user got goes into an array, and
 * the means are summed in the order of the users.
 */
#include <math.h>
#include <string.h>

#include "cf_evaluate.h"
#include "cf_metrics.h"
#include "cf_recommend.h"

#define ROWS_AT_ONCE	16384	/* between two polls */

static bool
stop_is_due(cf_host *host, size_t done)
{
	return done % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(host);
}

/* ---------- held-out ratings ---------- */

/* What each key of "from" is in "to"; "numbered": unknown ones get numbers, too. */
static cf_status
match_keys(cf_host *host, const cf_dict *from, const cf_dict *to, bool numbered, uint32_t **rows)
{
	uint32_t	n = cf_dict_count(from);
	uint32_t	j;

	*rows = cf_alloc(host, n, sizeof(uint32_t));
	if (*rows == NULL)
		return host->failure;
	for (j = 0; j < n; j++)
	{
		uint32_t	row = cf_dict_find(to, cf_dict_key(from, j));

		if (row == CF_NO_ROW && numbered)
			row = cf_unknown_item(cf_dict_count(to), j);
		(*rows)[j] = row;
		if (stop_is_due(host, j))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_held_out_create(cf_host *host, const cf_ratings *ratings, size_t first, size_t n,
				   const cf_dict *users, const cf_dict *items, cf_held_out *held)
{
	cf_status	status;

	memset(held, 0, sizeof(*held));
	held->rows = ratings->rows + first;
	held->n = n;
	held->n_users = cf_dict_count(ratings->users);
	status = match_keys(host, ratings->users, users, false, &held->user_rows);
	if (status == CF_OK)
		status = match_keys(host, ratings->items, items, true, &held->item_rows);
	if (status != CF_OK)
		cf_held_out_release(host, held);
	return status;
}

void
cf_held_out_release(cf_host *host, cf_held_out *held)
{
	cf_free(host, held->user_rows);
	cf_free(host, held->item_rows);
	memset(held, 0, sizeof(*held));
}

/* ---------- errors ---------- */

static bool
is_cold(const cf_side *side, uint32_t row)
{
	return row >= side->n_rows || side->n_ratings[row] == 0;
}

static cf_status
mean_value(cf_host *host, const cf_held_out *held, double *mean, bool *all_equal)
{
	double		sum = 0.0;
	size_t		j;

	*all_equal = true;
	for (j = 0; j < held->n; j++)
	{
		sum += held->rows[j].value;
		*all_equal = *all_equal && held->rows[j].value == held->rows[0].value;
		if (stop_is_due(host, j))
			return CF_STOPPED;
	}
	*mean = sum / (double) held->n;
	return CF_OK;
}

cf_status
cf_evaluate_errors(const cf_model *model, cf_host *host, const cf_held_out *held,
				   cf_errors *errors)
{
	double		n = (double) held->n;
	double		squares = 0.0;
	double		absolutes = 0.0;
	double		around_mean = 0.0;
	double		mean = 0.0;
	bool		all_equal = true;
	size_t		j;
	cf_status	status = mean_value(host, held, &mean, &all_equal);

	memset(errors, 0, sizeof(*errors));
	for (j = 0; j < held->n && status == CF_OK; j++)
	{
		const cf_rating *row = &held->rows[j];
		uint32_t	user = held->user_rows[row->user];
		uint32_t	item = held->item_rows[row->item];
		double		error = (double) cf_model_predict(model, user, item) - row->value;

		errors->n_cold_users += is_cold(&model->users, user);
		errors->n_cold_items += is_cold(&model->items, item);
		squares += error * error;
		absolutes += fabs(error);
		around_mean += (row->value - mean) * (row->value - mean);
		/* a net can be large, and each prediction goes through all of it */
		if (stop_is_due(host, j) || (model->net != NULL && cf_should_stop(host)))
			status = CF_STOPPED;
	}
	errors->mse = held->n > 0 ? squares / n : NAN;
	errors->mae = held->n > 0 ? absolutes / n : NAN;
	errors->r2 = all_equal ? NAN : 1.0 - squares / around_mean;
	return status;
}

/* ---------- rankings ---------- */

/* A user who may have relevant items. */
typedef struct ranked_user
{
	size_t		first;			/* of the held-out rows */
	size_t		n;
	size_t		n_relevant;		/* 0: not ranked after all */
	cf_ranking_scores scores;
} ranked_user;

/* What a thread works in. */
typedef struct ranking_buffers
{
	float	   *scores;			/* [items] NaN: no candidate */
	bool	   *covered;		/* [items] among the first k of some user */
	uint32_t   *relevant;		/* [most] the user's relevant items */
	cf_scored  *found;			/* [most] those that are candidates */
	uint64_t   *places;			/* [most] */
	cf_scored  *best;			/* [k] */
} ranking_buffers;

typedef struct ranking_job
{
	cf_pool    *pool;
	const cf_model *model;
	const cf_held_out *held;
	const cf_seen *seen;
	double		relevant_from;
	size_t		k;
	size_t		n_best;			/* k, but no more than items */
	ranked_user *users;			/* [n_users] */
	size_t		n_users;
	size_t		most;			/* held-out ratings that one of them has */
	ranking_buffers *threads;	/* [n_threads] */
	uint32_t	n_threads;
} ranking_job;

static bool
is_seen(const uint32_t *seen, size_t n, uint32_t item)
{
	size_t		low = 0;

	while (low < n)
	{
		size_t		middle = low + (n - low) / 2;

		if (seen[middle] == item)
			return true;
		if (seen[middle] < item)
			low = middle + 1;
		else
			n = middle;
	}
	return false;
}

/* A pair that was held out twice comes in rows that follow one another. */
static size_t
find_relevant(const ranking_job *job, const ranked_user *user, const uint32_t *seen,
			  size_t n_seen, uint32_t *relevant)
{
	size_t		n = 0;
	size_t		j;

	for (j = user->first; j < user->first + user->n; j++)
	{
		uint32_t	item = job->held->item_rows[job->held->rows[j].item];

		if (job->held->rows[j].value >= job->relevant_from &&
			(n == 0 || relevant[n - 1] != item) && !is_seen(seen, n_seen, item))
			relevant[n++] = item;
	}
	return n;
}

/* Scores of the candidates, NaN for all others; false when it is time to stop. */
static bool
score_candidates(const ranking_job *job, uint32_t thread, uint32_t user_row,
				 const uint32_t *seen, size_t n_seen, float *scores)
{
	const cf_side *items = &job->model->items;
	const float *user = cf_user_embedding(job->model, user_row);
	uint32_t	at_once = job->model->net != NULL ?
		(uint32_t) cf_net_items_at_once(job->model->net) : ROWS_AT_ONCE;
	uint32_t	row;
	size_t		j;

	for (row = 0; row < items->n_rows; row += at_once)
	{
		uint32_t	left = items->n_rows - row;

		cf_score_items(job->model, user, row, left < at_once ? left : at_once, scores + row);
		if (cf_pool_stops(job->pool, thread))
			return false;
	}
	for (row = 0; row < items->n_rows; row++)
		if (items->n_ratings[row] == 0)
			scores[row] = NAN;
	for (j = 0; j < n_seen && seen[j] < items->n_rows; j++)
		scores[seen[j]] = NAN;
	return true;
}

/* The relevant items that are candidates, best first. */
static size_t
order_found(const uint32_t *relevant, size_t n, const float *scores, uint32_t n_items,
			cf_scored *found)
{
	cf_topk		order = {n, 0, found};
	size_t		j;

	for (j = 0; j < n; j++)
		if (relevant[j] < n_items)
			cf_topk_offer(&order, scores[relevant[j]], relevant[j]);
	cf_topk_sort(&order);
	return order.n;
}

/* The first of found[0, n) that is worse than this candidate. */
static size_t
first_worse(const cf_scored *found, size_t n, float score, uint32_t row)
{
	size_t		low = 0;

	while (low < n)
	{
		size_t		middle = low + (n - low) / 2;

		if (score > found[middle].score ||
			(score == found[middle].score && row < found[middle].row))
			n = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* An item's place is one more than the number of candidates that are better. */
static void
find_places(const cf_scored *found, size_t n, const float *scores, uint32_t n_items,
			uint64_t *places)
{
	uint64_t	better = 0;
	uint32_t	row;
	size_t		j;

	if (n == 0)
		return;
	memset(places, 0, n * sizeof(uint64_t));
	for (row = 0; row < n_items; row++)
		if (scores[row] >= found[n - 1].score)
		{
			j = first_worse(found, n, scores[row], row);
			if (j < n)
				places[j]++;
		}
	for (j = 0; j < n; j++)
	{
		better += places[j];
		places[j] = better + 1;
	}
}

static void
cover_best(const ranking_job *job, ranking_buffers *buffers)
{
	cf_topk		top = {job->n_best, 0, buffers->best};
	uint32_t	row;
	size_t		j;

	for (row = 0; row < job->model->items.n_rows; row++)
		cf_topk_offer(&top, buffers->scores[row], row);
	for (j = 0; j < top.n; j++)
		buffers->covered[top.heap[j].row] = true;
}

static void
rank_user(void *context, size_t index, uint32_t thread)
{
	ranking_job *job = context;
	ranked_user *user = &job->users[index];
	ranking_buffers *buffers = &job->threads[thread];
	uint32_t	number = job->held->rows[user->first].user;
	uint32_t	n_items = job->model->items.n_rows;
	size_t		n_seen;
	const uint32_t *seen = cf_seen_items(job->seen, number, &n_seen);
	size_t		n_found;

	user->n_relevant = find_relevant(job, user, seen, n_seen, buffers->relevant);
	if (user->n_relevant == 0)
		return;
	if (!score_candidates(job, thread, job->held->user_rows[number], seen, n_seen,
						  buffers->scores))
		return;
	n_found = order_found(buffers->relevant, user->n_relevant, buffers->scores, n_items,
						  buffers->found);
	find_places(buffers->found, n_found, buffers->scores, n_items, buffers->places);
	user->scores = cf_ranking_measure(buffers->places, n_found, user->n_relevant, job->k);
	cover_best(job, buffers);
}

/* Count the users with a rating that is high enough; with "users" set, enter them. */
static cf_status
find_users(cf_host *host, const cf_held_out *held, double relevant_from, ranked_user *users,
		   size_t *n_users, size_t *most)
{
	size_t		first = 0;
	bool		relevant = false;
	size_t		j;

	*n_users = 0;
	*most = 0;
	for (j = 0; j < held->n; j++)
	{
		relevant = relevant || held->rows[j].value >= relevant_from;
		if (stop_is_due(host, j))
			return CF_STOPPED;
		if (j + 1 < held->n && held->rows[j + 1].user == held->rows[j].user)
			continue;
		if (relevant && users != NULL)
			users[*n_users] = (ranked_user) {.first = first, .n = j + 1 - first};
		if (relevant)
			++*n_users;
		if (relevant && j + 1 - first > *most)
			*most = j + 1 - first;
		relevant = false;
		first = j + 1;
	}
	return CF_OK;
}

static cf_status
list_users(ranking_job *job, cf_host *host)
{
	cf_status	status = find_users(host, job->held, job->relevant_from, NULL, &job->n_users,
									&job->most);

	if (status != CF_OK)
		return status;
	job->users = cf_alloc(host, job->n_users, sizeof(ranked_user));
	if (job->users == NULL)
		return host->failure;
	return find_users(host, job->held, job->relevant_from, job->users, &job->n_users, &job->most);
}

static cf_status
create_buffers(ranking_job *job, cf_host *host)
{
	uint32_t	n_items = job->model->items.n_rows;
	uint32_t	j;

	job->threads = cf_alloc_zero(host, job->n_threads, sizeof(ranking_buffers));
	if (job->threads == NULL)
		return host->failure;
	for (j = 0; j < job->n_threads; j++)
	{
		ranking_buffers *buffers = &job->threads[j];

		if ((buffers->scores = cf_alloc(host, n_items, sizeof(float))) == NULL ||
			(buffers->covered = cf_alloc_zero(host, n_items, sizeof(bool))) == NULL ||
			(buffers->relevant = cf_alloc(host, job->most, sizeof(uint32_t))) == NULL ||
			(buffers->found = cf_alloc(host, job->most, sizeof(cf_scored))) == NULL ||
			(buffers->places = cf_alloc(host, job->most, sizeof(uint64_t))) == NULL ||
			(buffers->best = cf_alloc(host, job->n_best, sizeof(cf_scored))) == NULL)
			return host->failure;
	}
	return CF_OK;
}

static void
release_job(ranking_job *job, cf_host *host)
{
	uint32_t	j;

	for (j = 0; job->threads != NULL && j < job->n_threads; j++)
	{
		cf_free(host, job->threads[j].scores);
		cf_free(host, job->threads[j].covered);
		cf_free(host, job->threads[j].relevant);
		cf_free(host, job->threads[j].found);
		cf_free(host, job->threads[j].places);
		cf_free(host, job->threads[j].best);
	}
	cf_free(host, job->threads);
	cf_free(host, job->users);
}

/* Share of the trained items that some user's first k have. */
static double
measure_coverage(const ranking_job *job)
{
	const cf_side *items = &job->model->items;
	double		n_covered = 0.0;
	double		n_trained = 0.0;
	uint32_t	row;
	uint32_t	j;

	for (row = 0; row < items->n_rows; row++)
	{
		bool		covered = false;

		for (j = 0; j < job->n_threads; j++)
			covered = covered || job->threads[j].covered[row];
		n_covered += covered;
		n_trained += items->n_ratings[row] > 0;
	}
	return n_covered / n_trained;
}

static void
sum_up(const ranking_job *job, cf_rankings *rankings)
{
	double		n;
	size_t		j;

	memset(rankings, 0, sizeof(*rankings));
	for (j = 0; j < job->n_users; j++)
	{
		const ranked_user *user = &job->users[j];

		if (user->n_relevant == 0)
			continue;
		rankings->n_users++;
		rankings->precision += user->scores.precision;
		rankings->recall += user->scores.recall;
		rankings->ndcg += user->scores.ndcg;
		rankings->average_precision += user->scores.average_precision;
		rankings->reciprocal_rank += user->scores.reciprocal_rank;
	}
	n = (double) rankings->n_users;
	rankings->precision /= n;
	rankings->recall /= n;
	rankings->ndcg /= n;
	rankings->average_precision /= n;
	rankings->reciprocal_rank /= n;
	rankings->coverage = rankings->n_users > 0 ? measure_coverage(job) : NAN;
}

cf_status
cf_evaluate_rankings(const cf_model *model, cf_host *host, cf_pool *pool,
					 const cf_held_out *held, const cf_seen *seen, double relevant_from,
					 size_t k, cf_rankings *rankings)
{
	ranking_job job = {.pool = pool, .model = model, .held = held, .seen = seen,
	.relevant_from = relevant_from, .k = k};
	cf_status	status;

	job.n_best = k < model->items.n_rows ? k : model->items.n_rows;
	job.n_threads = cf_pool_threads(pool);
	status = list_users(&job, host);
	if (status == CF_OK)
		status = create_buffers(&job, host);
	if (status == CF_OK)
		status = cf_pool_run(pool, rank_user, &job, job.n_users);
	if (status == CF_OK)
		sum_up(&job, rankings);
	release_job(&job, host);
	return status;
}
