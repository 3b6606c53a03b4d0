/*
 * cf_recommend.c
 *	  The best items for a user: scoring one user against all items, and many
 *	  users at once.
 *
 * Ratings rise with logits, so most items are turned away by comparing their
 * logit with a cutoff: the one below which every logit predicts less than the
 * worst item kept.  Only what passes is put through the sigmoid, filtered and
 * offered to the heap, which goes by (rating, row).
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cf_dict.h"
#include "cf_recommend.h"

#define ROWS_AT_ONCE	1024	/* items scored between two looks at the cutoff */
#define BLOCK_USERS		64		/* users that share one sgemm */
#define TILE_ITEMS		2048	/* items of one sgemm: the tile stays in cache */
#define SCAN_ITEMS		64		/* items turned away by one comparison */
#define TASK_FLOPS		((size_t) 1 << 28)	/* 0.1 s of one slow core */
#define HEAP_WORK		16		/* products that a level of a heap costs, at worst */
#define BATCH_ENTRIES	((size_t) 1 << 22)	/* of all heaps of a batch */

/* A user's ranking in the making. */
typedef struct ranking
{
	const cf_model *model;
	cf_filter	filter;
	const float *user;			/* NULL: cold, and there is no prior */
	bool		is_cold;
	float		bias;			/* of the user; the mean for a cold one */
	const float *part;			/* with a net: the user's part of its first layer */
	float		cutoff;			/* logits below it need not be looked at */
	cf_topk    *top;
} ranking;

cf_filter
cf_filter_default(void)
{
	cf_filter	filter = {0};

	filter.min_ratings = 1;
	filter.min_score = -INFINITY;
	return filter;
}

const float *
cf_user_embedding(const cf_model *model, uint32_t row)
{
	if (row >= model->users.n_rows || model->users.n_ratings[row] == 0)
		return NULL;
	return cf_side_row(&model->users, row);
}

static void
sink_row(uint32_t *rows, size_t n, size_t at)
{
	uint32_t	row = rows[at];
	size_t		child;

	while ((child = 2 * at + 1) < n)
	{
		if (child + 1 < n && rows[child + 1] > rows[child])
			child++;
		if (rows[child] <= row)
			break;
		rows[at] = rows[child];
		at = child;
	}
	rows[at] = row;
}

/* Heap sort: in place, and never slow. */
static void
sort_rows(uint32_t *rows, size_t n)
{
	size_t		at;

	for (at = n / 2; at > 0; at--)
		sink_row(rows, n, at - 1);
	for (at = n; at > 1; at--)
	{
		uint32_t	greatest = rows[0];

		rows[0] = rows[at - 1];
		rows[at - 1] = greatest;
		sink_row(rows, at - 1, 0);
	}
}

size_t
cf_rows_unique(uint32_t *rows, size_t n)
{
	size_t		kept = 0;
	size_t		j;

	sort_rows(rows, n);
	for (j = 0; j < n; j++)
		if (kept == 0 || rows[kept - 1] != rows[j])
			rows[kept++] = rows[j];
	return kept;
}

static bool
has_row(const uint32_t *rows, size_t n, uint32_t row)
{
	size_t		low = 0;
	size_t		high = n;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (rows[middle] < row)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && rows[low] == row;
}

/* The same for what is cut: only the sum is rounded. */
static float
clipped_floor(const cf_model *model, float rank)
{
	double		scale = fabs(model->base) + fabs((double) rank);

	return (float) (rank - model->base - 4.0 * FLT_EPSILON * scale);
}

/*
 * A logit below which all are ranked below "rating".  It is not the greatest
 * such logit: the share of the range is lowered by what rounding, here and in
 * cf_model_rating(), can amount to.
 */
static float
logit_floor(const cf_model *model, float rating)
{
	double		span = (double) model->high - model->low;
	double		scale = fmax(fabs((double) model->low), fabs((double) model->high));
	double		share;
	double		logit;

	if (model->link == CF_LINK_NONE)
		return rating;
	if (model->link == CF_LINK_CLIP)
		return clipped_floor(model, rating);
	share = ((double) rating - model->low) / span - 8.0 * FLT_EPSILON * (1.0 + scale / span);
	if (!(share > 0.0))
		return -INFINITY;
	if (share >= 1.0)
		return INFINITY;
	logit = log(share / (1.0 - share));
	return (float) (logit - 4.0 * FLT_EPSILON * fabs(logit));
}

/* Has this user nothing that tells items apart? */
static bool
is_indifferent(const ranking *r)
{
	return r->user == NULL && !r->model->use_bias && r->model->net == NULL;
}

/* The cutoff that the least score asks for. */
static float
first_cutoff(const cf_model *model, float min_score)
{
	if (min_score == -INFINITY)
		return -INFINITY;
	if (model->link == CF_LINK_CLIP && !(min_score > model->low))
		return -INFINITY;
	if (model->link == CF_LINK_CLIP && min_score > model->high)
		return INFINITY;
	return logit_floor(model, min_score);
}

static void
begin_ranking(ranking *r, const cf_model *model, const float *user, const cf_filter *filter,
			  cf_topk *top)
{
	r->model = model;
	r->filter = *filter;
	r->is_cold = user == NULL;
	r->user = user != NULL || model->net != NULL ? user : model->users.prior.row;
	r->bias = user != NULL ? user[model->users.n_factors] : (float) model->users.mean_bias;
	r->part = NULL;
	r->cutoff = first_cutoff(model, filter->min_score);
	r->top = top;
}

/* With a net, "part" is where the user's part of its first layer is kept. */
static void
use_net(ranking *r, float *part)
{
	if (r->model->net == NULL)
		return;
	cf_net_user_part(r->model->net, r->model->kernels, r->user, part);
	r->part = part;
}

static bool
passes(const ranking *r, uint32_t row, float score)
{
	const cf_filter *filter = &r->filter;

	return r->model->items.n_ratings[row] >= filter->min_ratings &&
		score >= filter->min_score && !has_row(filter->without, filter->n_without, row);
}

/* Offer a trained item of which the logit has reached the cutoff. */
static void
offer_item(ranking *r, uint32_t row, float logit)
{
	cf_topk    *top = r->top;
	float		score;

	if (r->model->items.n_ratings[row] == 0)
		return;					/* has its place in offer_constant() */
	score = cf_model_rank(r->model, logit);
	if (!passes(r, row, cf_model_of_rank(r->model, score)))
		return;
	cf_topk_offer(top, score, row);
	if (top->n == top->k && top->k > 0)
	{
		float		least = logit_floor(r->model, top->heap[0].score);

		if (least > r->cutoff)
			r->cutoff = least;
	}
}

/* In the order of cf_model_predict(), so that the bits are the same. */
static float
item_logit(const ranking *r, uint32_t row)
{
	const cf_side *items = &r->model->items;
	float		logit = 0.0f;

	if (r->user != NULL)
		logit = r->model->kernels->dot(r->user, cf_side_row(items, row), items->n_factors);
	logit += r->bias;
	return logit + cf_side_bias(items, row);
}

/* Rows [first, first + n) of the items, n <= CF_NET_ITEMS. */
static void
point_at_rows(const cf_side *items, uint32_t first, size_t n, const float **rows)
{
	size_t		j;

	for (j = 0; j < n; j++)
		rows[j] = cf_side_row(items, first + (uint32_t) j);
}

static void
score_by_net(const ranking *r, uint32_t first, size_t n, float *logits)
{
	const float *rows[CF_NET_ITEMS];
	size_t		done;
	size_t		m;

	for (done = 0; done < n; done += m)
	{
		m = n - done < CF_NET_ITEMS ? n - done : CF_NET_ITEMS;
		point_at_rows(&r->model->items, first + (uint32_t) done, m, rows);
		cf_net_logits(r->model->net, r->model->kernels, r->part, rows, m, logits + done);
	}
}

static void
score_logits(const ranking *r, uint32_t first, size_t n, float *logits)
{
	const cf_side *items = &r->model->items;
	size_t		j;

	if (r->part != NULL)
		score_by_net(r, first, n, logits);
	else if (r->user != NULL)
		r->model->kernels->logits(r->user, r->bias, cf_side_row(items, first), items->stride,
								  items->n_factors, n, logits);
	else
		for (j = 0; j < n; j++)
			logits[j] = item_logit(r, first + (uint32_t) j);
}

/* Offer items [first, first + n). */
static void
offer_logits(ranking *r, uint32_t first, size_t n, const float *logits)
{
	size_t		j;

	for (j = 0; j < n; j++)
		if (logits[j] >= r->cutoff)
			offer_item(r, first + (uint32_t) j, logits[j]);
}

static cf_status
offer_all(ranking *r, cf_host *host)
{
	const cf_side *items = &r->model->items;
	const uint32_t at_once = r->part == NULL ? ROWS_AT_ONCE :
		(uint32_t) cf_net_items_at_once(r->model->net);
	float		logits[ROWS_AT_ONCE];
	uint32_t	first;
	uint32_t	n;

	for (first = 0; first < items->n_rows; first += n)
	{
		n = items->n_rows - first < at_once ? items->n_rows - first : at_once;
		score_logits(r, first, n, logits);
		offer_logits(r, first, n, logits);
		if (cf_should_stop(host))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Logits of items rows[0, n), n <= CF_NET_ITEMS. */
static void
score_rows(const ranking *r, const uint32_t *rows, size_t n, float *logits)
{
	const float *items[CF_NET_ITEMS];
	size_t		j;

	for (j = 0; j < n; j++)
	{
		if (r->part == NULL)
			logits[j] = item_logit(r, rows[j]);
		else
			items[j] = cf_side_row(&r->model->items, rows[j]);
	}
	if (r->part != NULL)
		cf_net_logits(r->model->net, r->model->kernels, r->part, items, n, logits);
}

static cf_status
offer_candidates(ranking *r, cf_host *host)
{
	const size_t at_once = r->part == NULL ? CF_NET_ITEMS : cf_net_items_at_once(r->model->net);
	float		logits[CF_NET_ITEMS];
	size_t		done;
	size_t		n;
	size_t		j;

	for (done = 0; done < r->filter.n_among; done += n)
	{
		const uint32_t *rows = r->filter.among + done;

		n = r->filter.n_among - done < at_once ? r->filter.n_among - done : at_once;
		score_rows(r, rows, n, logits);
		for (j = 0; j < n; j++)
			if (logits[j] >= r->cutoff)
				offer_item(r, rows[j], logits[j]);
		if ((r->part != NULL || done % ROWS_AT_ONCE == 0) && cf_should_stop(host))
			return CF_STOPPED;
	}
	return CF_OK;
}

static float
mean_item_logit(const cf_model *model, const float *user)
{
	const float *mean = NULL;
	float		part[CF_MAX_UNITS];
	float		logit;

	cf_net_user_part(model->net, model->kernels, user, part);
	cf_net_logits(model->net, model->kernels, part, &mean, 1, &logit);
	return logit;
}

static float
constant_score(const ranking *r)
{
	const cf_side *items = &r->model->items;
	float		logit = 0.0f;

	/* By the ladder; with biases a known user's own still counts. */
	if (r->user != NULL && r->model->net != NULL)
		return cf_model_rank(r->model, mean_item_logit(r->model, r->user));
	if (r->is_cold || !r->model->use_bias)
		return (float) r->model->mean_rating;
	if (items->prior.row != NULL)
		logit = r->model->kernels->dot(r->user, items->prior.row, items->n_factors);
	logit += r->bias;
	return cf_model_rank(r->model, logit + (float) items->mean_bias);
}

/* Items whose score does not depend on which they are: the cold ones, or all. */
static void
offer_constant(ranking *r)
{
	const cf_filter *filter = &r->filter;
	size_t		n = filter->among != NULL ? filter->n_among : r->model->items.n_rows;
	float		score;
	size_t		j;

	if (!is_indifferent(r) && filter->min_ratings > 0)
		return;
	score = constant_score(r);
	for (j = 0; j < n; j++)
	{
		uint32_t	row = filter->among != NULL ? filter->among[j] : (uint32_t) j;

		if ((is_indifferent(r) || r->model->items.n_ratings[row] == 0) &&
			passes(r, row, cf_model_of_rank(r->model, score)))
			cf_topk_offer(r->top, score, row);
	}
}

cf_status
cf_recommend(const cf_model *model, cf_host *host, const float *user, const cf_filter *filter,
			 cf_topk *top)
{
	cf_status	status = CF_OK;
	float		part[CF_MAX_UNITS];
	ranking		r;

	begin_ranking(&r, model, user, filter, top);
	use_net(&r, part);
	if (!is_indifferent(&r))
		status = filter->among != NULL ? offer_candidates(&r, host) : offer_all(&r, host);
	if (status == CF_OK)
		offer_constant(&r);
	return status;
}

void
cf_score_items(const cf_model *model, const float *user, uint32_t first, size_t n, float *scores)
{
	cf_filter	filter = cf_filter_default();
	float		part[CF_MAX_UNITS];
	float		constant;
	ranking		r;
	size_t		j;

	begin_ranking(&r, model, user, &filter, NULL);
	use_net(&r, part);
	constant = constant_score(&r);
	score_logits(&r, first, n, scores);
	for (j = 0; j < n; j++)
		scores[j] = is_indifferent(&r) || model->items.n_ratings[first + j] == 0 ?
			constant : cf_model_rank(model, scores[j]);
}

/*
 * Many users: a block of users against a tile of items by sgemm, then each
 * user's scores are compared with the user's cutoff.  A product of sgemm is
 * not the sum of the kernels to the last bit, so the cutoff is lowered by
 * what they can differ, and what passes is computed again by the kernel.
 */
typedef struct batch_user
{
	ranking		ranking;
	cf_topk		top;			/* its heap is part of batch.best */
	float		slack;			/* how far sgemm may be off */
} batch_user;

struct cf_recommender
{
	const cf_model *model;
	cf_host    *host;
	const cf_blas *blas;
	const cf_seen *seen;
	uint32_t	n_threads;
	size_t		k;				/* at most the number of items */
	cf_filter	filter;			/* for all users alike */
	uint32_t	block_users;
	uint32_t	batch_users;
	uint32_t	chunk_items;	/* items of one task */
	double		greatest_norm;	/* of the items' factors */
	double		greatest_bias;	/* of the items, in absolute value */

	uint32_t	done;			/* users */
	cf_batch	batch;
	batch_user *users;			/* [batch_users] */
	float	   *packed;			/* [batch_users][stride] factors, then 1 */
	float	   *tiles;			/* [threads][tile_floats()] */

	uint32_t	chunk_first;	/* what the tasks that now run work at */
	uint32_t	chunk_n;
};

/* Products and sums for an item of a user: the score's, and those of offering it. */
static size_t
work_of_item(const cf_recommender *recommender)
{
	const cf_model *model = recommender->model;
	size_t		levels = 1;

	while (levels < 64 && recommender->k >> levels > 0)
		levels++;
	return (model->net != NULL ? cf_net_work(model->net) : model->items.n_factors + 1) +
		HEAP_WORK * levels;
}

/* Users and items of a task: those of a net are worked at tile by tile. */
static void
plan_tasks(cf_recommender *recommender)
{
	const cf_model *model = recommender->model;
	size_t		work = work_of_item(recommender);
	size_t		tile = model->net != NULL ? cf_net_items_at_once(model->net) : TILE_ITEMS;
	size_t		users = model->net != NULL ? TASK_FLOPS / (2 * work * tile) : BLOCK_USERS;
	size_t		chunk;

	recommender->block_users = users < 1 ? 1 : users < BLOCK_USERS ? (uint32_t) users : BLOCK_USERS;
	chunk = TASK_FLOPS / (2 * work * recommender->block_users);
	recommender->chunk_items = (uint32_t) (chunk < tile ? tile :
										   chunk > CF_MAX_ROWS ? CF_MAX_ROWS : chunk);
}

/* What a thread works with: a tile of products, or users' and items' parts. */
static size_t
tile_floats(const cf_recommender *recommender)
{
	const cf_net *net = recommender->model->net;

	if (net == NULL)
		return (size_t) recommender->block_users * TILE_ITEMS;
	return (size_t) (recommender->block_users + CF_NET_ITEMS) * cf_net_part_width(net);
}

/* Sizes that follow from the model: users and items of a task and of a batch. */
static void
plan_batches(cf_recommender *recommender)
{
	uint32_t	n_threads = recommender->n_threads;
	size_t		users = (size_t) 4 * n_threads * BLOCK_USERS;

	plan_tasks(recommender);
	if (recommender->k > 0 && users > BATCH_ENTRIES / recommender->k)
		users = BATCH_ENTRIES / recommender->k;
	if (users < n_threads)
		users = n_threads;
	if (users < (size_t) n_threads * recommender->block_users)
		recommender->block_users = (uint32_t) (users / n_threads);
	recommender->batch_users = (uint32_t) users;
}

size_t
cf_recommender_memory(const cf_model *model, size_t k, uint32_t n_threads)
{
	cf_recommender r = {0};
	size_t		per_user = sizeof(size_t) + sizeof(batch_user) +
		model->items.stride * sizeof(float);

	r.model = model;
	r.k = k < model->items.n_rows ? k : model->items.n_rows;
	r.n_threads = n_threads;
	plan_batches(&r);
	per_user = cf_size_add(per_user, cf_size_mul(r.k, sizeof(cf_scored)));
	return cf_size_add(cf_size_mul(r.batch_users, per_user),
					   cf_size_mul(n_threads, tile_floats(&r) * sizeof(float)));
}

/* In double precision, so that no square vanishes or overflows. */
static double
length_of(const float *factors, size_t n)
{
	double		square = 0.0;
	size_t		f;

	for (f = 0; f < n; f++)
		square += (double) factors[f] * factors[f];
	return sqrt(square);
}

/* The greatest length and bias among the items, for the bound on rounding. */
static cf_status
measure_items(cf_recommender *recommender)
{
	const cf_side *items = &recommender->model->items;
	double		norm = 0.0;
	double		bias = 0.0;
	uint32_t	row;

	for (row = 0; row < items->n_rows; row++)
	{
		norm = fmax(norm, length_of(cf_side_row(items, row), items->n_factors));
		bias = fmax(bias, fabs((double) cf_side_bias(items, row)));
		if (row % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(recommender->host))
			return CF_STOPPED;
	}
	recommender->greatest_norm = norm;
	recommender->greatest_bias = bias;
	return CF_OK;
}

static cf_status
take_arrays(cf_recommender *r)
{
	cf_host    *host = r->host;
	size_t		users = r->batch_users;

	if ((r->batch.n = cf_alloc(host, users, sizeof(size_t))) == NULL ||
		(r->batch.best = cf_alloc(host, users, cf_size_mul(r->k, sizeof(cf_scored)))) == NULL ||
		(r->users = cf_alloc(host, users, sizeof(batch_user))) == NULL ||
		(r->packed = cf_alloc(host, users, r->model->items.stride * sizeof(float))) == NULL ||
		(r->tiles = cf_alloc(host, r->n_threads, tile_floats(r) * sizeof(float))) == NULL)
		return host->failure;
	return CF_OK;
}

cf_status
cf_recommender_create(const cf_model *model, cf_host *host, const cf_blas *blas,
					  uint32_t n_threads, size_t k, const cf_seen *seen, const cf_filter *filter,
					  cf_recommender **recommender)
{
	cf_recommender *r = cf_alloc(host, 1, sizeof(cf_recommender));
	cf_status	status;

	*recommender = NULL;
	if (r == NULL)
		return host->failure;
	memset(r, 0, sizeof(*r));
	r->model = model;
	r->host = host;
	r->blas = blas;
	r->n_threads = n_threads;
	r->seen = seen;
	r->k = k < model->items.n_rows ? k : model->items.n_rows;
	r->filter = *filter;
	plan_batches(r);

	status = cf_check_memory(host, cf_recommender_memory(model, k, n_threads));
	if (status == CF_OK)
		status = take_arrays(r);
	if (status == CF_OK)
		status = measure_items(r);
	if (status != CF_OK)
		cf_recommender_destroy(r);
	else
		*recommender = r;
	return status;
}

void
cf_recommender_destroy(cf_recommender *recommender)
{
	cf_host    *host;

	if (recommender == NULL)
		return;
	host = recommender->host;
	cf_free(host, recommender->batch.n);
	cf_free(host, recommender->batch.best);
	cf_free(host, recommender->users);
	cf_free(host, recommender->packed);
	cf_free(host, recommender->tiles);
	cf_free(host, recommender);
}

/*
 * Two sums of n products differ by at most 2 n eps times the sum of their
 * absolute values, which the lengths bound; the biases add a little, and so
 * do products that are too small to be rounded well.  Infinite where sums may
 * overflow.
 */
static float
sgemm_slack(const cf_recommender *r, const float *user, float bias)
{
	size_t		n = r->model->items.n_factors;
	double		norm = user == NULL ? 0.0 : length_of(user, n);
	double		magnitude = norm * r->greatest_norm + fabs((double) bias) + r->greatest_bias;

	if (magnitude > FLT_MAX / 2)
		return INFINITY;
	return (float) (2.0 * (double) (n + 4) * (FLT_EPSILON * magnitude + FLT_MIN));
}

static void
begin_user(cf_recommender *r, uint32_t slot)
{
	const cf_side *items = &r->model->items;
	uint32_t	row = r->batch.first + slot;
	const float *user = cf_user_embedding(r->model, row);
	batch_user *user_slot = &r->users[slot];
	cf_topk    *top = &user_slot->top;
	cf_filter	filter = r->filter;
	float	   *packed = r->packed + (size_t) slot * items->stride;

	if (r->seen != NULL)
		filter.without = cf_seen_items(r->seen, row, &filter.n_without);
	top->k = r->k;
	top->n = 0;
	top->heap = r->batch.best + slot * r->k;
	begin_ranking(&user_slot->ranking, r->model, user, &filter, top);
	if (r->model->net != NULL)
		return;
	user = user_slot->ranking.user;
	user_slot->slack = sgemm_slack(r, user, user_slot->ranking.bias);

	memset(packed, 0, items->stride * sizeof(float));
	if (user != NULL)
		memcpy(packed, user, items->n_factors * sizeof(float));
	packed[items->n_factors] = 1.0f;	/* times the item's bias */
}

/* "products" has p . q + item bias of a user and n items. */
static void
offer_products(const cf_recommender *r, uint32_t slot, uint32_t first, size_t n,
			   const float *products)
{
	ranking    *user = &r->users[slot].ranking;
	float		slack = r->users[slot].slack;
	size_t		begin;
	size_t		j;

	if (is_indifferent(user))
		return;
	for (begin = 0; begin < n; begin += SCAN_ITEMS)
	{
		size_t		end = n - begin < SCAN_ITEMS ? n : begin + SCAN_ITEMS;
		float		bound = isfinite(slack) ? user->cutoff - user->bias - slack : -INFINITY;

		if (isfinite(slack) && !r->model->kernels->any_at_least(products + begin, end - begin, bound))
			continue;
		for (j = begin; j < end; j++)
		{
			uint32_t	row = first + (uint32_t) j;
			float		logit;

			if (products[j] < bound)
				continue;
			logit = item_logit(user, row);
			if (logit >= user->cutoff)
				offer_item(user, row, logit);
		}
	}
}

/* Task: one block of users against the present chunk of items. */
static void
score_block(void *context, size_t index, uint32_t thread)
{
	cf_recommender *r = context;
	const cf_side *items = &r->model->items;
	const int	width = (int) items->n_factors + 1;
	const int	stride = (int) items->stride;
	const float one = 1.0f;
	const float zero = 0.0f;
	float	   *tile = r->tiles + (size_t) thread * tile_floats(r);
	uint32_t	first_user = (uint32_t) index * r->block_users;
	uint32_t	left = r->batch.n_users - first_user;
	const int	n_users = (int) (left < r->block_users ? left : r->block_users);
	uint32_t	done;
	int			u;

	for (done = 0; done < r->chunk_n; done += TILE_ITEMS)
	{
		uint32_t	first = r->chunk_first + done;
		const int	n = (int) (r->chunk_n - done < TILE_ITEMS ? r->chunk_n - done : TILE_ITEMS);

		r->blas->sgemm("T", "N", &n, &n_users, &width, &one, cf_side_row(items, first), &stride,
					   r->packed + (size_t) first_user * items->stride, &stride, &zero, tile, &n);
		for (u = 0; u < n_users; u++)
			offer_products(r, first_user + (uint32_t) u, first, (size_t) n,
						   tile + (size_t) u * (size_t) n);
	}
}

/*
 * The same task with a net: each user's part of the first layer is made once,
 * each item's once for all users of the block.
 */
static void
score_block_by_net(void *context, size_t index, uint32_t thread)
{
	cf_recommender *r = context;
	const cf_net *net = r->model->net;
	const cf_kernels *kernels = r->model->kernels;
	const size_t width = cf_net_part_width(net);
	const uint32_t tile = (uint32_t) cf_net_items_at_once(net);
	float	   *user_parts = r->tiles + (size_t) thread * tile_floats(r);
	float	   *item_parts = user_parts + r->block_users * width;
	batch_user *users = r->users + index * r->block_users;
	uint32_t	left = r->batch.n_users - (uint32_t) index * r->block_users;
	uint32_t	n_users = left < r->block_users ? left : r->block_users;
	uint32_t	done;
	uint32_t	u;

	for (u = 0; u < n_users; u++)
		cf_net_user_part(net, kernels, users[u].ranking.user, user_parts + u * width);
	for (done = 0; done < r->chunk_n; done += tile)
	{
		uint32_t	first = r->chunk_first + done;
		uint32_t	n = r->chunk_n - done < tile ? r->chunk_n - done : tile;
		const float *rows[CF_NET_ITEMS];
		float		logits[CF_NET_ITEMS];

		point_at_rows(&r->model->items, first, n, rows);
		cf_net_item_parts(net, kernels, rows, n, item_parts);
		for (u = 0; u < n_users; u++)
		{
			cf_net_logits_of_parts(net, kernels, user_parts + u * width, item_parts, n, logits);
			offer_logits(&users[u].ranking, first, n, logits);
		}
	}
}

/* Task: what is left to do for one user when all items were seen. */
static void
finish_user(void *context, size_t index, uint32_t thread)
{
	cf_recommender *r = context;
	cf_topk    *top = &r->users[index].top;
	size_t		j;

	(void) thread;
	offer_constant(&r->users[index].ranking);
	cf_topk_sort(top);
	for (j = 0; j < top->n; j++)
		top->heap[j].score = cf_model_of_rank(r->model, top->heap[j].score);
	r->batch.n[index] = top->n;
}

cf_status
cf_recommender_next(cf_recommender *r, cf_pool *pool, cf_batch *batch)
{
	uint32_t	n_items = r->model->items.n_rows;
	uint32_t	left = r->model->users.n_rows - r->done;
	cf_status	status = CF_OK;
	size_t		n_blocks;
	uint32_t	slot;

	if (cf_pool_threads(pool) > r->n_threads)
		return CF_TOO_MANY;
	r->batch.first = r->done;
	r->batch.n_users = left < r->batch_users ? left : r->batch_users;
	r->batch.k = r->k;
	n_blocks = (r->batch.n_users + r->block_users - 1) / r->block_users;
	for (slot = 0; slot < r->batch.n_users; slot++)
		begin_user(r, slot);
	for (r->chunk_first = 0; status == CF_OK && r->chunk_first < n_items;
		 r->chunk_first += r->chunk_n)
	{
		r->chunk_n = n_items - r->chunk_first < r->chunk_items ? n_items - r->chunk_first :
			r->chunk_items;
		status = cf_pool_run(pool, r->model->net != NULL ? score_block_by_net : score_block, r,
							 n_blocks);
	}
	if (status == CF_OK)
		status = cf_pool_run(pool, finish_user, r, r->batch.n_users);
	r->done += r->batch.n_users;
	*batch = r->batch;
	return status;
}
