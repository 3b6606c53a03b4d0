/* test_recommend.c: against a full sort of cf_model_predict() of all items. */
#include <dlfcn.h>

#include "tap.h"
#include "support.h"
#include "cf_recommend.h"

static cf_blas blas;

static bool
load_blas(void)
{
	void	   *library;

	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return false;
	*(void **) &blas.sgemm = dlsym(library, "sgemm_");
	return blas.sgemm != NULL;
}

/*
 * Models at random
 */
typedef enum kind
{
	SMOOTH,						/* all scores differ */
	TIED,						/* few distinct factors: many equal scores */
	SATURATED,					/* logits so large that most ratings are the range's ends */
	COLD,						/* nobody and nothing was ever trained */
	KINDS
} kind;

typedef struct shape
{
	uint32_t	n_users;
	uint32_t	n_items;
	uint32_t	n_factors;
	kind		kind;
	bool		use_bias;
	cf_link		link;			/* false: none, true: the sigmoid */
	int			level;			/* of the kernels */
	uint32_t	n_layers;		/* of a net; 0: none */
} shape;

static float
draw_parameter(uint64_t *counter, kind what)
{
	switch (what)
	{
		case TIED:
			return (float) (draw(counter) % 3) - 1.0f;
		case SATURATED:
			return (float) (draw(counter) % 5) * 10.0f - 20.0f;
		default:
			return (float) (draw_unit(counter) * 2 - 1);
	}
}

static void
fill_side(cf_side *side, cf_host *host, uint32_t n, uint32_t n_factors, const shape *s,
		  uint64_t *counter)
{
	uint32_t	row;
	uint32_t	f;

	if (cf_side_create(side, host, n, n_factors) != CF_OK)
		abort();
	for (row = 0; row < n; row++)
	{
		float	   *parameters = cf_side_row(side, row);

		side->n_ratings[row] = s->kind == COLD || draw(counter) % 4 == 0 ? 0 :
			(int64_t) (draw(counter) % 5) + 1;
		for (f = 0; f < n_factors; f++)
			parameters[f] = draw_parameter(counter, s->kind);
		parameters[f] = s->use_bias && s->n_layers == 0 ? draw_parameter(counter, s->kind) : 0.0f;
	}
}

/* A net that has been trained, to all appearance; of TIED ones most logits are equal. */
static void
make_net(cf_model *model, cf_host *host, const shape *s, uint64_t *counter)
{
	cf_net_shape shape = {.user_factors = model->users.n_factors,
		.item_factors = model->items.n_factors, .n_layers = s->n_layers,
	.batch_norm = s->use_bias};
	uint32_t	l;
	uint32_t	j;

	for (l = 0; l < s->n_layers; l++)
		shape.layers[l] = 1 + (uint32_t) (draw(counter) % 40);
	if (cf_net_create(host, &shape, &model->net) != CF_OK)
		abort();
	cf_net_start(model->net, *counter);
	for (l = 0; l < s->n_layers && s->use_bias; l++)
		for (j = 0; j < shape.layers[l]; j++)
		{
			model->net->layers[l].gamma[j] = (float) (draw_unit(counter) * 2 - 0.5);
			model->net->layers[l].beta[j] = (float) draw_unit(counter);
			model->net->layers[l].mean[j] = (float) draw_unit(counter);
			model->net->layers[l].variance[j] = (float) draw_unit(counter);
		}
	model->use_bias = false;
}

static void
make_prior(cf_side *side, cf_host *host, const shape *s, uint64_t *counter)
{
	uint32_t	f;

	if (cf_side_add_prior(side, host) != CF_OK)
		abort();
	for (f = 0; f <= side->n_factors; f++)
		side->prior.mean[f] = draw_parameter(counter, s->kind);
}

/* A model that takes nothing of the host but its two sides and its net. */
static void
make_model(cf_model *model, cf_host *host, const shape *s, uint64_t counter)
{
	cf_model_init(model, host);
	model->kernels = cf_kernels_level(s->level);
	model->use_bias = s->use_bias;
	model->link = s->link;
	model->base = 2.9;
	model->low = 0.5f;
	model->high = 5.5f;
	model->mean_rating = 3.3;
	fill_side(&model->users, host, s->n_users, s->n_factors, s, &counter);
	fill_side(&model->items, host, s->n_items, s->n_layers == 0 ? s->n_factors :
			  s->n_factors % 7 + 1, s, &counter);
	if (s->n_layers > 0)
		make_net(model, host, s, &counter);
	else if (s->link == CF_LINK_CLIP && s->use_bias)
	{
		make_prior(&model->users, host, s, &counter);
		make_prior(&model->items, host, s, &counter);
	}
	cf_model_settle(model);
}

/*
 * The answer that is right by definition
 */
static int
compare_scored(const void *a, const void *b)
{
	const cf_scored *x = a;
	const cf_scored *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static bool
is_among(const uint32_t *rows, size_t n, uint32_t row)
{
	size_t		j;

	for (j = 0; j < n; j++)
		if (rows[j] == row)
			return true;
	return false;
}

/* What it is ranked by: the prediction, without a cut. */
static float
rank_of(const cf_model *model, uint32_t user, uint32_t row)
{
	cf_model	uncut = *model;

	if (model->link == CF_LINK_CLIP)
	{
		uncut.low = -INFINITY;
		uncut.high = INFINITY;
	}
	return cf_model_predict(&uncut, user, row);
}

/* All that the filter lets through, best first; the caller frees it. */
static cf_scored *
sort_all(const cf_model *model, uint32_t user, const cf_filter *filter, size_t *n)
{
	cf_scored  *all = malloc((model->items.n_rows + 1) * sizeof(cf_scored));
	uint32_t	row;

	*n = 0;
	for (row = 0; row < model->items.n_rows; row++)
	{
		float		score = cf_model_predict(model, user, row);

		if (score >= filter->min_score && model->items.n_ratings[row] >= filter->min_ratings &&
			!is_among(filter->without, filter->n_without, row) &&
			(filter->among == NULL || is_among(filter->among, filter->n_among, row)))
			all[(*n)++] = (cf_scored) {rank_of(model, user, row), row};
	}
	qsort(all, *n, sizeof(cf_scored), compare_scored);
	return all;
}

/* "shown": with predictions for scores, in place of what they are ranked by. */
static bool
is_best(const cf_model *model, uint32_t user, const cf_filter *filter, size_t k, bool shown,
		const cf_scored *got, size_t n_got)
{
	size_t		n;
	size_t		j;
	cf_scored  *all = sort_all(model, user, filter, &n);
	bool		same;

	if (n > k)
		n = k;
	for (j = 0; shown && j < n; j++)
		all[j].score = cf_model_predict(model, user, all[j].row);
	same = n == n_got && (n == 0 || memcmp(all, got, n * sizeof(cf_scored)) == 0);
	free(all);
	return same;
}

/*
 * One user at a time
 */
static size_t
draw_rows(uint64_t *counter, uint32_t n_items, uint32_t *rows)
{
	size_t		n = draw(counter) % (n_items + 1);
	size_t		j;

	for (j = 0; j < n; j++)
		rows[j] = (uint32_t) (draw(counter) % n_items);
	return cf_rows_unique(rows, n);
}

/* Often a score that some item has, or the next one above it. */
static float
draw_min_score(uint64_t *counter, const cf_model *model, uint32_t user)
{
	float		score = model->items.n_rows == 0 ? 3.0f :
		cf_model_predict(model, user, (uint32_t) (draw(counter) % model->items.n_rows));

	switch (draw(counter) % 8)
	{
		case 0:
		case 1:
			return score;
		case 2:
			return nextafterf(score, INFINITY);
		case 3:
			return draw(counter) % 2 == 0 ? model->low : model->high;
		case 4:
			return INFINITY;
		default:
			return -INFINITY;
	}
}

static cf_filter
draw_filter(uint64_t *counter, const cf_model *model, uint32_t user, uint32_t *among,
			uint32_t *without)
{
	uint32_t	n_items = model->items.n_rows;
	cf_filter	filter = cf_filter_default();

	if (n_items > 0 && draw(counter) % 3 == 0)
	{
		filter.among = among;
		filter.n_among = draw_rows(counter, n_items, among);
	}
	if (n_items > 0 && draw(counter) % 3 == 0)
	{
		filter.without = without;
		filter.n_without = draw_rows(counter, n_items, without);
	}
	filter.min_ratings = (int64_t) (draw(counter) % 4);
	filter.min_score = draw_min_score(counter, model, user);
	return filter;
}

static uint32_t
draw_user(uint64_t *counter, const cf_model *model)
{
	uint64_t	number = draw(counter) % (model->users.n_rows + 1);

	return number == model->users.n_rows ? CF_NO_ROW : (uint32_t) number;
}

static size_t
draw_k(uint64_t *counter, size_t n_items)
{
	const size_t sizes[] = {0, 1, 2, 10, n_items, n_items + 7};

	return sizes[draw(counter) % 6];
}

static bool
one_is_right(const cf_model *model, uint64_t *counter)
{
	uint32_t   *among = malloc((model->items.n_rows + 1) * sizeof(uint32_t));
	uint32_t   *without = malloc((model->items.n_rows + 1) * sizeof(uint32_t));
	uint32_t	user = draw_user(counter, model);
	cf_filter	filter = draw_filter(counter, model, user, among, without);
	cf_host		host;
	cf_topk		top;
	bool		right;

	cf_host_init(&host);
	cf_topk_create(&host, draw_k(counter, model->items.n_rows), &top);
	right = cf_recommend(model, &host, cf_user_embedding(model, user), &filter, &top) == CF_OK;
	cf_topk_sort(&top);
	right = right && is_best(model, user, &filter, top.k, false, top.heap, top.n);
	cf_topk_release(&host, &top);
	free(among);
	free(without);
	return right && host.used == 0;
}

/* The scores of a piece of the items, and nothing written beside it. */
static bool
scores_are_right(const cf_model *model, uint64_t *counter)
{
	uint32_t	user = draw_user(counter, model);
	uint32_t	first = (uint32_t) (draw(counter) % (model->items.n_rows + 1));
	size_t		n = draw(counter) % (model->items.n_rows - first + 1);
	float	   *scores = malloc((n + 1) * sizeof(float));
	bool		right = true;
	size_t		j;

	scores[n] = -77.0f;
	cf_score_items(model, cf_user_embedding(model, user), first, n, scores);
	for (j = 0; j < n; j++)
	{
		float		wanted = rank_of(model, user, first + (uint32_t) j);

		right = right && memcmp(&scores[j], &wanted, sizeof(float)) == 0;
	}
	right = right && scores[n] == -77.0f;
	free(scores);
	return right;
}

static void
test_shape(shape s, bool *best, bool *scores)
{
	uint64_t	counter = s.n_factors * 1000 + s.n_items + s.kind;
	cf_host		host;
	cf_model	model;
	int			j;

	cf_host_init(&host);
	make_model(&model, &host, &s, counter);
	for (j = 0; j < 6; j++)
	{
		*best = *best && one_is_right(&model, &counter);
		*scores = *scores && scores_are_right(&model, &counter);
	}
	cf_model_release(&model);
	*best = *best && host.used == 0;
}

static void
test_level(int level)
{
	static const uint32_t item_counts[] = {0, 1, 2, 70, 150};
	bool		best = true;
	bool		scores = true;
	uint32_t	n_factors;
	int			what;

	for (n_factors = 1; n_factors <= 70; n_factors++)
		for (what = 0; what < KINDS * 6; what++)
			test_shape((shape) {5, item_counts[(n_factors + (uint32_t) what) % 5], n_factors,
					   (kind) (what % KINDS), what / KINDS % 2 == 1, (cf_link) (what / KINDS / 2), level,
					   0}, &best, &scores);
	/* more items than are scored at once, and the most factors */
	for (what = 0; what < KINDS * 6; what++)
		test_shape((shape) {5, 2500, 9, (kind) (what % KINDS), what / KINDS % 2 == 1,
				   (cf_link) (what / KINDS / 2), level, 0}, &best, &scores);
	test_shape((shape) {5, 60, CF_MAX_FACTORS, SMOOTH, true, true, level, 0}, &best, &scores);
	for (n_factors = 1; n_factors <= 40; n_factors += 3)
		for (what = 0; what < KINDS * 6; what++)
			test_shape((shape) {5, item_counts[(n_factors + (uint32_t) what) % 5], n_factors,
					   (kind) (what % KINDS), what / KINDS % 2 == 1, (cf_link) (what / KINDS / 2), level,
					   n_factors % 3 + 1}, &best, &scores);
	test_shape((shape) {5, 1100, 9, SMOOTH, true, true, level, 2}, &best, &scores);
	OK(best, "%s: the best items", cf_kernels_level(level)->name);
	OK(scores, "%s: the items' scores", cf_kernels_level(level)->name);
}

/* Logits beyond all floats: an infinite one counts, one that is no number does not. */
static void
make_overflow(cf_model *model, cf_host *host, bool use_range)
{
	shape		s = {20, 300, 6, TIED, true, use_range, 0, 0};
	uint32_t	row;
	uint32_t	f;

	make_model(model, host, &s, 5);
	for (row = 0; row < 300; row++)
		for (f = 0; f < 6; f++)
			cf_side_row(&model->items, row)[f] *= 2e38f;
	for (row = 0; row < 20; row++)
		for (f = 0; f < 6; f++)
			cf_side_row(&model->users, row)[f] *= 1.5f;
}

static void
test_overflow(bool use_range)
{
	cf_host		host;
	cf_model	model;
	uint64_t	counter = 77;
	bool		good = true;
	int			j;

	cf_host_init(&host);
	make_overflow(&model, &host, use_range);
	for (j = 0; j < 200; j++)
		good = good && one_is_right(&model, &counter) && scores_are_right(&model, &counter);
	OK(good, "logits that overflow, with%s range", use_range ? "" : "out a");
	cf_model_release(&model);
}

static void
test_unique_rows(void)
{
	uint64_t	counter = 3;
	bool		good = true;
	size_t		n;

	for (n = 0; n < 300; n++)
	{
		uint32_t	rows[300];
		bool		there[64] = {false};
		size_t		n_there = 0;
		size_t		kept;
		size_t		j;

		for (j = 0; j < n; j++)
		{
			uint32_t	number = (uint32_t) (draw(&counter) % 64);

			rows[j] = number == 63 ? UINT32_MAX : number;
			n_there += !there[number];
			there[number] = true;
		}
		kept = cf_rows_unique(rows, n);
		good = good && kept == n_there;
		for (j = 0; j < kept; j++)
			good = good && there[rows[j] == UINT32_MAX ? 63 : rows[j]] &&
				(j == 0 || rows[j - 1] < rows[j]);
	}
	OK(good, "row numbers in order, once each");
}

/*
 * All users
 */
static cf_seen *
draw_seen(uint64_t *counter, cf_host *host, const cf_model *model)
{
	size_t		n = draw(counter) % (model->users.n_rows * 20 + 1);
	cf_seen    *seen;

	if (cf_seen_create(host, model->users.n_rows, &seen) != CF_OK)
		abort();
	for (; n > 0 && model->items.n_rows > 0; n--)
		if (cf_seen_add(seen, (uint32_t) (draw(counter) % model->users.n_rows),
						(uint32_t) (draw(counter) % model->items.n_rows)) != CF_OK)
			abort();
	if (cf_seen_freeze(seen) != CF_OK)
		abort();
	return seen;
}

typedef struct run
{
	const cf_model *model;
	cf_host    *host;
	cf_pool    *pool;
	const cf_seen *seen;
	cf_filter	filter;
	size_t		k;
	uint32_t	check_every;	/* user that is compared with the full sort */
} run;

static bool
batch_is_right(const run *run, const cf_batch *batch)
{
	bool		right = true;
	uint32_t	u;

	for (u = 0; u < batch->n_users; u++)
	{
		cf_filter	filter = run->filter;

		if ((batch->first + u) % run->check_every != 0)
			continue;
		if (run->seen != NULL)
			filter.without = cf_seen_items(run->seen, batch->first + u, &filter.n_without);
		right = right && is_best(run->model, batch->first + u, &filter, run->k, true,
								 batch->best + u * batch->k, batch->n[u]);
	}
	return right;
}

/* All batches; "right" (if not NULL) tells what was in them. */
static cf_status
recommend_to_all(const run *run, bool *right)
{
	uint32_t	done = 0;
	cf_recommender *recommender;
	cf_batch	batch;
	cf_status	status;

	status = cf_recommender_create(run->model, run->host, &blas, cf_pool_threads(run->pool),
								   run->k, run->seen, &run->filter, &recommender);
	if (status != CF_OK)
		return recommender == NULL ? status : CF_NO_CONVERGENCE;
	while ((status = cf_recommender_next(recommender, run->pool, &batch)) == CF_OK &&
		   batch.n_users > 0)
	{
		if (right != NULL)
			*right = *right && batch.first == done && batch_is_right(run, &batch);
		done += batch.n_users;
	}
	if (right != NULL)
		*right = *right && (status != CF_OK || done == run->model->users.n_rows);
	cf_recommender_destroy(recommender);
	return status;
}

static bool
all_are_right(const cf_model *model, cf_pool *pool, uint64_t *counter, size_t k,
			  uint32_t check_every)
{
	cf_host		host;
	run			run = {model, &host, pool, NULL, cf_filter_default(), k, check_every};
	bool		right = true;
	cf_seen    *seen = NULL;

	cf_host_init(&host);
	if (model->users.n_rows > 0 && draw(counter) % 3 != 0)
		run.seen = seen = draw_seen(counter, &host, model);
	if (draw(counter) % 2 == 0)
		run.filter.min_ratings = (int64_t) (draw(counter) % 4);
	if (draw(counter) % 2 == 0)
		run.filter.min_score = draw_min_score(counter, model, draw_user(counter, model));
	right = recommend_to_all(&run, &right) == CF_OK && right;
	cf_seen_destroy(seen);
	return right && host.used == 0;
}

static bool
all_of_shape(shape s, cf_pool *pool, uint64_t counter, size_t k, uint32_t check_every)
{
	cf_host		host;
	cf_model	model;
	bool		right;

	cf_host_init(&host);
	make_model(&model, &host, &s, counter);
	right = all_are_right(&model, pool, &counter, k, check_every);
	cf_model_release(&model);
	return right;
}

static void
test_all_level(int level, cf_pool *pool)
{
	static const uint32_t item_counts[] = {0, 1, 63, 64, 150};
	static const uint32_t user_counts[] = {0, 1, 9, 70};
	bool		right = true;
	uint32_t	n_factors;
	uint64_t	counter;
	int			what;

	for (n_factors = 1; n_factors <= 70; n_factors += n_factors < 34 ? 1 : 9)
		for (what = 0; what < KINDS * 6; what++)
		{
			shape		s = {user_counts[(n_factors + (uint32_t) what) % 4],
				item_counts[(n_factors + (uint32_t) what) % 5], n_factors, (kind) (what % KINDS),
			what / KINDS % 2 == 1, (cf_link) (what / KINDS / 2), level, 0};

			counter = n_factors * 100 + (uint64_t) what;
			right = right && all_of_shape(s, pool, counter, draw_k(&counter, s.n_items), 1);
			if (n_factors % 4 > 0)
				continue;
			s.n_layers = n_factors % 3 + 1;
			right = right && all_of_shape(s, pool, counter, draw_k(&counter, s.n_items), 1);
		}
	OK(right, "%s, %u threads: all users as one by one", cf_kernels_level(level)->name,
	   cf_pool_threads(pool));
}

/* What is more than one batch, tile or chunk. */
static void
test_all_large(cf_pool *pool)
{
	unsigned	n = cf_pool_threads(pool);

	OK(all_of_shape((shape) {300 * n + 33, 700, 3, TIED, true, true, 0, 0}, pool, 1, 5, 29),
	   "several batches, %u threads", n);
	OK(all_of_shape((shape) {67, 5000, 10, SMOOTH, true, false, 0, 0}, pool, 2, 10, 5),
	   "several tiles, %u threads", n);
	OK(all_of_shape((shape) {67, 5000, 10, TIED, false, true, 0, 0}, pool, 9, 6000, 23),
	   "several tiles, all items, %u threads", n);
	OK(all_of_shape((shape) {10, 4500, CF_MAX_FACTORS, SMOOTH, true, true, 0, 0}, pool, 3, 10, 3),
	   "several chunks, %u threads", n);
	OK(all_of_shape((shape) {67, 1000, 40, SMOOTH, true, true, 0, 3}, pool, 5, 10, 11),
	   "a net: several blocks and tiles, %u threads", n);
	OK(all_of_shape((shape) {66, 70000, 1, SMOOTH, true, true, 0, 0}, pool, 4, 70000, 29),
	   "so many each that a batch is less than a block, %u threads", n);
}

/*
 * Where sgemm and the kernels differ the most: items that differ in the last
 * bits alone, biases that outweigh the factors, and factors so small that
 * their squares vanish.
 */
static void
test_all_rounding(cf_pool *pool, float scale, bool use_bias, const char *what)
{
	shape		s = {40, 600, 33, SMOOTH, use_bias, false, CF_KERNEL_LEVELS, 0};
	uint64_t	counter = 8;
	bool		right = true;
	cf_host		host;
	cf_model	model;
	uint32_t	row;
	uint32_t	f;

	while (cf_kernels_level(--s.level) == NULL)
		;
	cf_host_init(&host);
	make_model(&model, &host, &s, 6);
	for (f = 0; f < s.n_factors; f++)
	{
		float		factor = scale * draw_parameter(&counter, SMOOTH);

		for (row = 0; row < s.n_items; row++)
			cf_side_row(&model.items, row)[f] =
				factor * (1.0f + (float) (draw(&counter) % 5) * 0x1p-23f);
	}
	for (row = 0; row < s.n_items; row++)
	{
		model.items.n_ratings[row] = 1;
		if (use_bias)
			cf_side_row(&model.items, row)[s.n_factors] = -1000.0f + (float) (draw(&counter) % 5) * 0x1p-14f;
	}
	for (row = 0; use_bias && row < s.n_users; row++)
		cf_side_row(&model.users, row)[s.n_factors] += 1000.0f;
	for (f = 0; f < 6; f++)
		right = right && all_are_right(&model, pool, &counter, 1 + f * 20, 1);
	OK(right, "%s, %u threads", what, cf_pool_threads(pool));
	cf_model_release(&model);
}

static void
test_all_overflow(cf_pool *pool, bool use_range)
{
	cf_host		host;
	cf_model	model;
	uint64_t	counter = 78;
	bool		right = true;
	int			j;

	cf_host_init(&host);
	make_overflow(&model, &host, use_range);
	for (j = 0; j < 6; j++)
		right = right && all_are_right(&model, pool, &counter, (size_t) j * 60 + 1, 1);
	OK(right, "all users: logits that overflow, with%s range, %u threads", use_range ? "" : "out a",
	   cf_pool_threads(pool));
	cf_model_release(&model);
}

/*
 * What fails and what is stopped
 */
static void
test_stop(uint32_t n_layers)
{
	shape		s = {3, 5000, 4, SMOOTH, true, true, 0, n_layers};
	cf_filter	filter = cf_filter_default();
	uint32_t	rows[5000];
	test_host	test;
	cf_model	model;
	cf_topk		top;
	bool		good = true;
	long		stops = 0;
	int			among;

	test_host_init(&test);
	make_model(&model, &test.host, &s, 4);
	for (filter.n_among = 0; filter.n_among < 5000; filter.n_among++)
		rows[filter.n_among] = (uint32_t) filter.n_among;
	cf_topk_create(&test.host, 10, &top);
	for (among = 0; among < 2; among++)
	{
		cf_status	status;

		filter.among = among ? rows : NULL;
		test.stop_at = 0;
		do
		{
			test.polls = 0;
			test.stop_at++;
			top.n = 0;
			status = cf_recommend(&model, &test.host, cf_side_row(&model.users, 1), &filter, &top);
			good = good && (status == CF_OK || status == CF_STOPPED);
			stops += status == CF_STOPPED;
		} while (status != CF_OK && test.stop_at < 200);
	}
	OK(good && stops >= 8, "one user: stops at each of %ld polls", stops);
	cf_topk_release(&test.host, &top);
	cf_model_release(&model);
	OK(test.blocks == 0, "all given back");
}

static void
test_all_failures(uint32_t n_threads, uint32_t n_layers)
{
	shape		s = {300, 3000, 5, SMOOTH, true, true, 0, n_layers};
	test_host	test;
	cf_model	model;
	cf_pool    *pool;
	bool		good = true;
	cf_status	status;
	long		blocks;
	size_t		used;
	size_t		memory;

	test_host_init(&test);
	make_model(&model, &test.host, &s, 4);
	if (cf_pool_create(&test.host, n_threads, &pool) != CF_OK)
		abort();
	blocks = test.blocks;
	used = test.host.used;
	{
		run			run = {&model, &test.host, pool, NULL, cf_filter_default(), 10, 1};

		do
		{
			test.requests = 0;
			test.fail_at++;
			status = recommend_to_all(&run, NULL);
			good = good && test.blocks == blocks && (status == CF_OK || status == CF_NO_MEMORY);
		} while (status != CF_OK && test.fail_at < 100);
		OK(good && test.fail_at > 6, "%u threads: failing at each of %ld requests",
		   cf_pool_threads(pool), test.fail_at - 1);
		test.fail_at = 0;

		good = true;
		do
		{
			test.polls = 0;
			test.stop_at += 1 + test.stop_at / 4;
			status = recommend_to_all(&run, NULL);
			good = good && test.blocks == blocks && (status == CF_OK || status == CF_STOPPED);
		} while (status != CF_OK && test.stop_at < 1000);
		OK(good && test.stop_at > 3, "%u threads: stops at polls, which are less than %ld",
		   cf_pool_threads(pool), test.stop_at);
		test.stop_at = 0;

		memory = cf_recommender_memory(&model, run.k, cf_pool_threads(pool));
		test.host.peak = used;
		status = recommend_to_all(&run, NULL);
		OK(status == CF_OK && test.host.peak - used >= memory && test.host.peak - used < memory + 4096,
		   "takes what it says it does: %zu of %zu", test.host.peak - used, memory);
		test.host.limit = used + memory - 1;
		OK(recommend_to_all(&run, NULL) == CF_MEMORY_LIMIT && test.blocks == blocks &&
		   test.host.wanted >= used + memory, "beyond the limit it takes nothing");
		OK(cf_recommender_memory(&model, SIZE_MAX, 1) == cf_recommender_memory(&model, 3000, 1),
		   "k is at most the number of items");
		test.host.limit = SIZE_MAX;
	}
	cf_pool_destroy(pool);
	cf_model_release(&model);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
	cf_recommender_destroy(NULL);
}

static void
test_all_users(uint32_t n_threads)
{
	cf_host		host;
	cf_pool    *pool;
	int			level;

	cf_host_init(&host);
	if (cf_pool_create(&host, n_threads, &pool) != CF_OK)
		abort();
	for (level = 0; level < CF_KERNEL_LEVELS; level++)
		if (cf_kernels_level(level) != NULL)
			test_all_level(level, pool);
	test_all_large(pool);
	test_all_rounding(pool, 1.0f, false, "items that differ in the last bits");
	test_all_rounding(pool, 1e-3f, true, "biases that outweigh the factors");
	test_all_rounding(pool, 1e-24f, false, "factors whose squares vanish");
	test_all_overflow(pool, true);
	test_all_overflow(pool, false);
	cf_pool_destroy(pool);
	OK(host.used == 0, "all given back");
}

int
main(void)
{
	int			level;

	test_unique_rows();
	for (level = 0; level < CF_KERNEL_LEVELS; level++)
		if (cf_kernels_level(level) != NULL)
			test_level(level);
		else
			OK(true, "level %d # SKIP not on this CPU", level);
	test_overflow(true);
	test_overflow(false);
	test_stop(0);
	test_stop(2);
	if (!load_blas())
		OK(true, "all users # SKIP no libopenblas.so.0");
	else
	{
		test_all_users(1);
		test_all_users(3);
		test_all_failures(1, 0);
		test_all_failures(2, 0);
		test_all_failures(2, 2);
	}
	return tap_done();
}
