/*
 * cf_bayes.c
 *	  Bayesian matrix factorisation with biases, by Gibbs sampling.
 *
 * A sweep draws, for the users and then for the items, the prior, the link
 * and every row; then the noise.  Ratings are held twice: the users' side
 * reads the training's own array, which is sorted by user, and the items'
 * side a copy by item of 8 bytes each.
 */
#include <math.h>
#include <string.h>

#include "cf_chain.h"
#include "cf_interval.h"

#define START_SHARE		0.16	/* of the variance, that the start explains */
#define MOST_DEVIATION	1e18	/* of ratings: its square is a float */
#define FIRST_ALPHA		2.0
#define WEIGHT_SHAPE	20.0	/* nu: how much alike users' noise is */
#define BLOCK_LEAST		2048	/* work of a block, in ratings */
#define BLOCK_MOST		32768
#define BLOCKS_WANTED	256
#define ROW_WORK		4		/* ratings that a row costs, for each unknown */
#define ROWS_AT_ONCE	65536	/* between two polls */
#define MEASURED		((size_t) 1000000)	/* ratings, for a sweep's loss */
#define WORK_AT_ONCE	((size_t) 1 << 23)	/* products */

/* What makes a set dense enough for implicit information, and small enough. */
#define DENSE_USERS		20		/* ratings */
#define DENSE_ITEMS		10
#define IMPLICIT_MOST	((size_t) 2000000)	/* ratings */

#define FULL_SWEEPS		60
#define LEAST_SWEEPS	12
#define FULL_RATINGS	((size_t) 2000000)	/* that have all sweeps */

/* A rating in the items' order. */
typedef struct item_rating
{
	uint32_t	user;
	float		value;
} item_rating;

/* ---------- defaults ---------- */

cf_implicit
cf_bayes_implicit(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train)
{
	if (settings->implicit != CF_IMPLICIT_AUTO)
		return settings->implicit;
	if (n_train > IMPLICIT_MOST || n_train < (size_t) DENSE_USERS * n_users ||
		n_train < (size_t) DENSE_ITEMS * n_items)
		return CF_IMPLICIT_NONE;
	return CF_IMPLICIT_BOTH;
}

uint32_t
cf_bayes_sweeps(size_t n_train)
{
	size_t		sweeps;

	if (n_train <= FULL_RATINGS)
		return FULL_SWEEPS;
	sweeps = FULL_SWEEPS * FULL_RATINGS / n_train;
	return sweeps < LEAST_SWEEPS ? LEAST_SWEEPS : (uint32_t) sweeps;
}

uint32_t
cf_bayes_burn_in(uint32_t n_sweeps)
{
	return n_sweeps < 30 ? n_sweeps / 3 : 10;
}

/* ---------- memory ---------- */

/* A block of memory that the chain takes. */
typedef struct plan_entry
{
	void	  **place;
	size_t		count;
	size_t		size;
	bool		zero;
} plan_entry;

#define MOST_ENTRIES	40

typedef struct plan
{
	plan_entry	entries[MOST_ENTRIES];
	int			n;
} plan;

static void
plan_block(plan *p, void *place, size_t count, size_t size, bool zero)
{
	plan_entry *entry = &p->entries[p->n++];

	entry->place = place;
	entry->count = count;
	entry->size = size;
	entry->zero = zero;
}

static size_t
block_work(size_t total)
{
	size_t		work = total / BLOCKS_WANTED;

	if (work < BLOCK_LEAST)
		return BLOCK_LEAST;
	return work > BLOCK_MOST ? BLOCK_MOST : work;
}

static size_t
side_work(const cf_chain *chain, uint32_t n_rows)
{
	return chain->n_train + (size_t) n_rows * ROW_WORK * chain->d;
}

static void
plan_side(plan *p, cf_chain *chain, cf_chain_side *side)
{
	const cf_chain_side *other = &chain->sides[1 - side->number];
	size_t		total = side_work(chain, side->n_rows);

	side->most_blocks = total / block_work(total) + 1;
	plan_block(p, &side->starts, (size_t) side->n_rows + 1, sizeof(size_t), true);
	plan_block(p, &side->rows, side->n_rows, chain->width * sizeof(float), true);
	plan_block(p, &side->blocks, side->most_blocks + 1, sizeof(uint32_t), false);
	plan_block(p, &side->sums, side->most_blocks, sizeof(double), true);
	plan_block(p, &side->mean, chain->stride, sizeof(double), true);
	plan_block(p, &side->shift, chain->stride, sizeof(double), true);
	plan_block(p, &side->precision, chain->d, chain->stride * sizeof(double), true);
	plan_block(p, &side->root, chain->d, chain->stride * sizeof(double), true);
	if (side->linked)
	{
		plan_block(p, &side->links, side->n_rows, chain->width * sizeof(float), true);
		plan_block(p, &side->link_gram, chain->width, chain->width * sizeof(double), true);
		plan_block(p, &side->link_diagonal, other->n_rows, sizeof(float), true);
	}
}

/* Tables that sampling a link works in: the first by the side's rows, the others by the other's. */
static void
plan_links(plan *p, cf_chain *chain)
{
	size_t		of_side = 0;
	size_t		of_other = 0;
	size_t		blocks = 0;
	int			j;

	for (j = 0; j < 2; j++)
	{
		const cf_chain_side *side = &chain->sides[j];
		const cf_chain_side *other = &chain->sides[1 - j];

		if (!side->linked)
			continue;
		of_side = side->n_rows > of_side ? side->n_rows : of_side;
		of_other = other->n_rows > of_other ? other->n_rows : of_other;
		blocks = other->most_blocks > blocks ? other->most_blocks : blocks;
	}
	if (blocks == 0)
		return;
	for (j = 0; j < 5; j++)
		plan_block(p, &chain->link_rows[j], j == 0 ? of_side : of_other,
				   chain->width * sizeof(float), true);
	plan_block(p, &chain->link_sums, blocks, chain->width * sizeof(double), true);
}

/* Doubles of a worker's arrays, each a multiple of 64 bytes. */
static size_t
worker_doubles(const cf_chain *chain)
{
	return CF_GRAM_ROWS * chain->width / 2 + chain->width * chain->width +
		chain->d * chain->stride + 3 * chain->stride + chain->width / 2;
}

static void
make_plan(plan *p, cf_chain *chain, item_rating **by_item, uint32_t n_threads)
{
	p->n = 0;
	plan_block(p, by_item, chain->n_train, sizeof(item_rating), false);
	plan_side(p, chain, &chain->sides[0]);
	plan_side(p, chain, &chain->sides[1]);
	plan_block(p, &chain->moments, 2 * CF_MOMENT_BLOCKS,
			   chain->width * chain->width * sizeof(double), true);
	plan_block(p, &chain->wishart, 2 * chain->d, chain->stride * sizeof(double), true);
	plan_block(p, &chain->normals, chain->width, sizeof(float), true);
	plan_links(p, chain);
	if (n_threads > 0)
		plan_block(p, &chain->work, n_threads, worker_doubles(chain) * sizeof(double), true);
}

static void
set_sizes(cf_chain *chain, const cf_settings *settings, uint32_t n_users, uint32_t n_items,
		  size_t n_train)
{
	cf_implicit implicit = cf_bayes_implicit(settings, n_users, n_items, n_train);

	chain->k = settings->n_factors;
	chain->d = chain->k + 1;
	chain->width = cf_gram_width(chain->k + 2);
	chain->stride = cf_solve_stride(chain->d + 1);
	chain->n_train = n_train;
	chain->sides[0].n_rows = n_users;
	chain->sides[1].n_rows = n_items;
	chain->sides[1].number = 1;
	chain->sides[0].linked = implicit == CF_IMPLICIT_BOTH;
	chain->sides[1].linked = implicit == CF_IMPLICIT_BOTH || implicit == CF_IMPLICIT_ITEMS;
}

static size_t
bayes_memory(const cf_settings *settings, uint32_t n_users, uint32_t n_items, size_t n_train,
			 uint32_t n_threads)
{
	cf_chain	chain;
	item_rating *by_item;
	plan		p;
	size_t		bytes = cf_block_memory(1, sizeof(cf_chain) + sizeof(item_rating *));
	int			j;

	memset(&chain, 0, sizeof(chain));
	set_sizes(&chain, settings, n_users, n_items, n_train);
	make_plan(&p, &chain, &by_item, n_threads);
	for (j = 0; j < p.n; j++)
		bytes = cf_size_add(bytes, cf_block_memory(p.entries[j].count, p.entries[j].size));
	bytes = cf_size_add(bytes, (settings->keep_best ? 4 : 2) *
						cf_prior_memory(settings->n_factors));
	bytes = cf_size_add(bytes, cf_draws_memory(n_users, settings->n_factors, settings->keep_draws));
	bytes = cf_size_add(bytes, cf_draws_memory(n_items, settings->n_factors, settings->keep_draws));
	if (settings->keep_draws > 0)
		bytes = cf_size_add(bytes, cf_interval_memory());
	return bytes;
}

static cf_status
take_plan(cf_host *host, const plan *p)
{
	int			j;

	for (j = 0; j < p->n; j++)
	{
		const plan_entry *entry = &p->entries[j];
		void	   *block = entry->zero ? cf_alloc_zero(host, entry->count, entry->size) :
			cf_alloc(host, entry->count, entry->size);

		if (block == NULL)
			return host->failure;
		memcpy(entry->place, &block, sizeof(block));
	}
	return CF_OK;
}

/* ---------- the beginning ---------- */

typedef struct bayes_state
{
	cf_chain	chain;
	item_rating *by_item;
} bayes_state;

static bool
rows_are_due(const cf_chain *chain, size_t row)
{
	return row % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(chain->host);
}

/* Deviation and range of the training ratings. */
static cf_status
measure_ratings(cf_chain *chain, float *low, float *high)
{
	const cf_rating *rows = chain->ratings->rows;
	double		mean = chain->ratings->mean;
	double		sum = 0.0;
	size_t		j;

	*low = *high = rows[0].value;
	for (j = 0; j < chain->n_train; j++)
	{
		float		value = rows[j].value;

		sum += (value - mean) * (value - mean);
		*low = value < *low ? value : *low;
		*high = value > *high ? value : *high;
		if (rows_are_due(chain, j))
			return CF_STOPPED;
	}
	chain->rating_mean = mean;
	chain->deviation = sqrt(sum / (double) chain->n_train);
	if (!(chain->deviation < MOST_DEVIATION))
		return CF_TOO_LARGE;

	/* what is constant but for rounding has no scale of its own */
	if (!(chain->deviation > 1e-6 * fabs(mean)) || chain->deviation < 1e-30)
		chain->deviation = 1.0;
	chain->factor_unit = sqrt(chain->deviation);
	return CF_OK;
}

static void
set_model(const cf_chain *chain, const cf_settings *settings, float low, float high)
{
	cf_model   *model = chain->model;
	int			j;

	model->link = CF_LINK_CLIP;
	model->base = chain->rating_mean;
	model->low = settings->use_range ? settings->low : low;
	model->high = settings->use_range ? settings->high : high;
	for (j = 0; j < CF_CALIBRATION; j++)
		model->calibration[j] = 1.0f;
}

static void
start_sides(cf_chain *chain, const cf_ratings *ratings)
{
	const int64_t *counts[2] = {ratings->user_counts, ratings->item_counts};
	int			j;

	for (j = 0; j < 2; j++)
	{
		cf_chain_side *side = &chain->sides[j];
		uint32_t	row;

		side->link_scale = 1.0;
		for (row = 0; row < side->n_rows; row++)
		{
			side->starts[row + 1] = side->starts[row] + (size_t) counts[j][row];
			side->n_rated += counts[j][row] > 0;
		}
	}
	chain->sides[0].weighted = true;
}

/* Cut the rows into blocks of about the same work. */
static void
cut_blocks(const cf_chain *chain, cf_chain_side *side)
{
	size_t		most = block_work(side_work(chain, side->n_rows));
	size_t		work = 0;
	uint32_t	row;

	side->n_blocks = 0;
	side->blocks[0] = 0;
	for (row = 0; row < side->n_rows; row++)
	{
		work += cf_chain_count(side, row) + ROW_WORK * chain->d;
		if (work >= most || row + 1 == side->n_rows)
		{
			side->blocks[++side->n_blocks] = row + 1;
			work = 0;
		}
	}
}

/* A counting sort: an item's users come in the order of their numbers. */
static cf_status
sort_by_item(bayes_state *state)
{
	cf_chain   *chain = &state->chain;
	cf_chain_side *items = &chain->sides[1];
	const cf_rating *rows = chain->ratings->rows;
	uint32_t	row;
	size_t		j;

	for (j = 0; j < chain->n_train; j++)
	{
		item_rating *to = &state->by_item[items->starts[rows[j].item]++];

		to->user = rows[j].user;
		to->value = rows[j].value;
		if (rows_are_due(chain, j))
			return CF_STOPPED;
	}
	/* each start has moved to the next row's */
	for (row = items->n_rows; row > 0; row--)
		items->starts[row] = items->starts[row - 1];
	items->starts[0] = 0;
	chain->sides[0].ratings = (cf_gather) {chain->n_train, &rows[0].item, &rows[0].value, sizeof(cf_rating)};
	items->ratings = (cf_gather) {chain->n_train, &state->by_item[0].user, &state->by_item[0].value,
	sizeof(item_rating)};
	return CF_OK;
}

/* Of a row of F, each number is one over the root of the ratings. */
static cf_status
add_diagonals(cf_chain *chain)
{
	cf_chain_side *users = &chain->sides[0];
	cf_chain_side *items = &chain->sides[1];
	const cf_rating *rows = chain->ratings->rows;
	size_t		j;

	for (j = 0; j < chain->n_train; j++)
	{
		if (users->linked)
			users->link_diagonal[rows[j].item] += 1.0f / (float) cf_chain_count(users, rows[j].user);
		if (items->linked)
			items->link_diagonal[rows[j].user] += 1.0f / (float) cf_chain_count(items, rows[j].item);
		if (rows_are_due(chain, j))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Where the chain starts: the rows that the model knows, the others at random. */
static void
start_row(cf_chain *chain, cf_chain_side *side, uint32_t row)
{
	const double scale = sqrt(sqrt(START_SHARE / (double) chain->k));
	const float *known = cf_side_row(side->served, row);
	float	   *to = side->rows + row * chain->width;
	bool		is_known = false;
	size_t		f;

	for (f = 0; f < chain->d; f++)
		is_known |= known[f] != 0.0f;
	cf_random_normal(chain->seed, cf_chain_stream(PURPOSE_START, side->number),
					 cf_chain_key(chain, row), chain->normals, chain->k);
	for (f = 0; f < chain->k; f++)
		to[f] = is_known ? (float) (known[f] / chain->factor_unit) :
			(float) (scale * chain->normals[f]);
	to[chain->k] = 1.0f;
	to[chain->k + 1] = is_known ? (float) (known[chain->k] / chain->deviation) : 0.0f;
}

static cf_status
start_rows(cf_chain *chain, cf_chain_side *side)
{
	uint32_t	row;

	for (row = 0; row < side->n_rows; row++)
	{
		if (cf_chain_count(side, row) > 0)
			start_row(chain, side, row);
		if (row % 1024 == 1023 && cf_should_stop(chain->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
begin_chain(bayes_state *state, const cf_settings *settings)
{
	cf_chain   *chain = &state->chain;
	float		low;
	float		high;
	cf_status	status = measure_ratings(chain, &low, &high);

	if (status != CF_OK)
		return status;
	set_model(chain, settings, low, high);
	start_sides(chain, chain->ratings);
	cut_blocks(chain, &chain->sides[0]);
	cut_blocks(chain, &chain->sides[1]);
	status = sort_by_item(state);
	if (status == CF_OK && chain->sides[1].linked)
		status = add_diagonals(chain);
	if (status == CF_OK)
		status = start_rows(chain, &chain->sides[0]);
	if (status == CF_OK)
		status = start_rows(chain, &chain->sides[1]);
	return status;
}

static void
bayes_end(void *state)
{
	bayes_state *bayes = state;
	cf_chain   *chain = &bayes->chain;
	cf_host    *host = chain->host;
	plan		p;
	int			j;

	make_plan(&p, chain, &bayes->by_item, 1);
	for (j = 0; j < p.n; j++)
	{
		void	   *block;

		memcpy(&block, p.entries[j].place, sizeof(block));
		cf_free(host, block);
	}
	cf_free(host, bayes);
}

static void
set_chain(cf_chain *chain, const cf_settings *settings, const cf_ratings *ratings,
		  cf_model *model)
{
	chain->host = model->host;
	chain->model = model;
	chain->ratings = ratings;
	chain->gram = cf_gram_best();
	chain->seed = settings->seed;
	chain->n_sweeps = settings->n_epochs;
	chain->burn_in = settings->burn_in;
	chain->n_draws = settings->keep_draws;
	chain->alpha = FIRST_ALPHA;
	chain->sides[0].served = &model->users;
	chain->sides[1].served = &model->items;
	set_sizes(chain, settings, model->users.n_rows, model->items.n_rows, ratings->n_train);
}

static cf_status
bayes_begin(const cf_settings *settings, cf_ratings *ratings, cf_model *model, cf_pool *pool,
			void **state)
{
	bayes_state *bayes = cf_alloc_zero(model->host, 1, sizeof(bayes_state));
	cf_status	status;
	plan		p;

	(void) pool;
	if (bayes == NULL)
		return model->host->failure;
	set_chain(&bayes->chain, settings, ratings, model);
	make_plan(&p, &bayes->chain, &bayes->by_item, 0);
	status = take_plan(model->host, &p);
	if (status == CF_OK)
		status = begin_chain(bayes, settings);
	if (status == CF_OK)
		*state = bayes;
	else
		bayes_end(bayes);
	return status;
}

static cf_status
bayes_start(const cf_settings *settings, cf_model *model)
{
	cf_status	status = cf_side_add_prior(&model->users, model->host);

	if (status == CF_OK)
		status = cf_side_add_prior(&model->items, model->host);
	if (status == CF_OK && settings->keep_draws > 0)
		status = cf_side_add_draws(&model->users, model->host, settings->keep_draws);
	if (status == CF_OK && settings->keep_draws > 0)
		status = cf_side_add_draws(&model->items, model->host, settings->keep_draws);
	return status;
}

/* Nothing: what is not warm is the chain's own to start, in units of its own. */
static float
bayes_start_scale(const cf_settings *settings)
{
	(void) settings;
	return 0.0f;
}

/* ---------- a row ---------- */

cf_worker
cf_chain_worker(const cf_chain *chain, uint32_t thread)
{
	double	   *next = chain->work + thread * worker_doubles(chain);
	cf_worker	worker;

	worker.gathered = (float *) next;
	next += CF_GRAM_ROWS * chain->width / 2;
	worker.gram = next;
	next += chain->width * chain->width;
	worker.system = next;
	next += chain->d * chain->stride;
	worker.mean = next;
	worker.draw = next + chain->stride;
	worker.shift = next + 2 * chain->stride;
	worker.normals = (float *) (next + 3 * chain->stride);
	return worker;
}

/* The Gram matrix of all that the row has rated; false when it is time to stop. */
static bool
add_ratings(const cf_chain *chain, const cf_chain_side *side, const cf_chain_side *other,
			uint32_t row, const cf_worker *worker, uint32_t thread)
{
	const size_t n = cf_chain_count(side, row);
	const size_t many = WORK_AT_ONCE / (chain->width * chain->width) + 1;
	size_t		polled = 0;
	size_t		done;
	size_t		count;

	for (done = 0; done < n; done += count)
	{
		count = n - done < CF_GRAM_ROWS ? n - done : CF_GRAM_ROWS;
		chain->gram->gather(other->rows, chain->width, chain->d + 1, &side->ratings,
							side->starts[row] + done, count, (float) chain->rating_mean,
							(float) (1.0 / chain->deviation), worker->gathered);
		chain->gram->gram(worker->gathered, count, chain->width, chain->d + 1, done > 0,
						  worker->gram);
		if (done - polled > many)
		{
			polled = done;
			if (cf_pool_stops(chain->pool, thread))
				return false;
		}
	}
	return true;
}

/* What the prior adds to the right side: precision times the row's own prior mean. */
static const double *
prior_shift(const cf_chain *chain, const cf_chain_side *side, uint32_t row,
			const cf_worker *worker)
{
	const float *link;
	size_t		i;
	size_t		j;

	if (!side->linked)
		return side->shift;
	link = side->links + row * chain->width;
	memcpy(worker->shift, side->shift, chain->d * sizeof(double));
	for (j = 0; j < chain->d; j++)
	{
		const double *column = side->precision + j * chain->stride;
		const double by = link[j];

		for (i = 0; i < chain->d; i++)
			worker->shift[i] += by * column[i];
	}
	return worker->shift;
}

/* Conditional mean and a draw of the row; false when the system has no solution. */
static bool
solve_row(const cf_chain *chain, const cf_chain_side *side, uint32_t row, double alpha,
		  const cf_worker *worker)
{
	const double *shift = prior_shift(chain, side, row, worker);
	const size_t d = chain->d;
	size_t		i;
	size_t		j;

	for (j = 0; j < d; j++)
	{
		const double *prior = side->precision + j * chain->stride;
		double	   *column = worker->system + j * chain->stride;

		for (i = j; i < d; i++)
			column[i] = prior[i] + alpha * worker->gram[i * chain->width + j];
		column[d] = shift[j] + alpha * worker->gram[d * chain->width + j];
	}
	if (!chain->gram->factor(worker->system, d, d + 1, chain->stride))
		return false;
	cf_random_normal(chain->seed, cf_chain_stream(PURPOSE_ROW, side->number),
					 cf_chain_key(chain, row), worker->normals, d);
	for (j = 0; j < d; j++)
	{
		worker->mean[j] = worker->system[j * chain->stride + d];
		worker->draw[j] = worker->mean[j] + worker->normals[j];
	}
	chain->gram->back(worker->system, d, chain->stride, worker->mean, worker->draw);
	return true;
}

/* Squared errors of the row's ratings, weighted as the Gram matrix is. */
static double
squared_errors(const cf_chain *chain, const cf_worker *worker)
{
	const double *target = worker->gram + chain->d * chain->width;
	double		sum = target[chain->d] +
		chain->gram->square(worker->gram, chain->width, chain->d, worker->draw);
	size_t		j;

	for (j = 0; j < chain->d; j++)
		sum -= 2.0 * worker->draw[j] * target[j];
	return sum > 0.0 ? sum : 0.0;
}

static double
draw_weight(const cf_chain *chain, const cf_chain_side *side, uint32_t row, double squares)
{
	double		shape = 0.5 * (WEIGHT_SHAPE + cf_chain_count(side, row));
	double		rate = 0.5 * (WEIGHT_SHAPE + chain->alpha * squares);

	return cf_random_gamma(chain->seed, cf_chain_stream(PURPOSE_WEIGHT, side->number),
						   cf_chain_key(chain, row), shape) / rate;
}

static void
put_row(const cf_chain *chain, float *to, const double *draw, double weight)
{
	const double g = sqrt(weight);
	size_t		f;

	for (f = 0; f < chain->k; f++)
		to[f] = (float) (g * draw[f]);
	to[chain->k] = (float) g;
	to[chain->k + 1] = (float) (g * draw[chain->k]);
}

static void
serve_row(const cf_chain *chain, cf_side *served, uint32_t row, const double *mean)
{
	float	   *to = cf_side_row(served, row);
	const double share = 1.0 / chain->count;
	size_t		f;

	for (f = 0; f < chain->d; f++)
		to[f] += (float) (share * (cf_chain_unit(chain, f) * mean[f] - to[f]));
}

/* Keep this draw if it is one of those kept, and the row's mean noise. */
static void
keep_row(const cf_chain *chain, const cf_chain_side *side, uint32_t row, const double *draw,
		 double weight)
{
	float	   *to = cf_side_draws(side->served, row);
	float	   *noise = to + cf_draws_width(side->served) - 1;
	size_t		f;

	if (side->weighted)
		*noise += (float) ((chain->deviation * chain->deviation / (chain->alpha * weight) -
							*noise) / chain->count);
	for (f = 0; chain->draw >= 0 && f < chain->d; f++)
		to[(size_t) chain->draw * chain->d + f] = (float) (cf_chain_unit(chain, f) * draw[f]);
}

/* Draw a row; the squared errors that are left, NaN when it could not be drawn. */
static double
update_row(const cf_chain *chain, cf_chain_side *side, const cf_chain_side *other, uint32_t row,
		   const cf_worker *worker, uint32_t thread)
{
	float	   *to = side->rows + row * chain->width;
	double		weight = (double) to[chain->k] * to[chain->k];
	double		squares;

	if (!add_ratings(chain, side, other, row, worker, thread) ||
		!solve_row(chain, side, row, chain->alpha * weight, worker))
		return NAN;
	squares = squared_errors(chain, worker);
	if (side->weighted)
		weight = draw_weight(chain, side, row, squares);
	put_row(chain, to, worker->draw, weight);
	serve_row(chain, side->served, row, worker->mean);
	if (chain->n_draws > 0)
		keep_row(chain, side, row, worker->draw, weight);
	return squares;
}

/* ---------- a sweep ---------- */

typedef struct side_task
{
	const cf_chain *chain;
	cf_chain_side *side;
	const cf_chain_side *other;
} side_task;

/* Task: draw the rows of a block. */
static void
update_block(void *context, size_t index, uint32_t thread)
{
	const side_task *task = context;
	const cf_chain *chain = task->chain;
	cf_chain_side *side = task->side;
	const cf_worker worker = cf_chain_worker(chain, thread);
	const size_t row_work = chain->d * chain->d * (ROW_WORK * chain->d);
	double		sum = 0.0;
	size_t		work = 0;
	uint32_t	row;

	for (row = side->blocks[index]; row < side->blocks[index + 1]; row++)
	{
		if (cf_chain_count(side, row) == 0)
			continue;
		sum += update_row(chain, side, task->other, row, &worker, thread);
		work += row_work;
		if (work > WORK_AT_ONCE)
		{
			work = 0;
			if (cf_pool_stops(chain->pool, thread))
				break;
		}
	}
	side->sums[index] = sum;
}

static double
add_up(const cf_chain_side *side)
{
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < side->n_blocks; j++)
		sum += side->sums[j];
	return sum;
}

/* Prior, link and rows of a side; "*squares" is what its rows leave unexplained. */
static cf_status
sweep_side(cf_chain *chain, cf_chain_side *side, cf_chain_side *other, double *squares)
{
	side_task	task = {chain, side, other};
	cf_status	status = cf_chain_draw_prior(chain, side);

	if (status == CF_OK && side->linked)
		status = cf_chain_draw_link(chain, side, other);
	if (status == CF_OK)
		status = cf_pool_run(chain->pool, update_block, &task, side->n_blocks);
	*squares = add_up(side);
	if (status == CF_OK && !isfinite(*squares))
		status = CF_NOT_FINITE;
	return status;
}

/* Given the weighted squared errors of all ratings. */
static void
draw_noise(cf_chain *chain, double squares)
{
	cf_model   *model = chain->model;
	double		gamma = cf_random_gamma(chain->seed, cf_chain_stream(PURPOSE_NOISE, 0),
										cf_chain_key(chain, 0),
										0.5 * ((double) chain->n_train + 1.0));

	chain->alpha = gamma / (0.5 * (squares + 1.0));
	model->noise += (chain->deviation * chain->deviation / chain->alpha - model->noise) /
		chain->count;
}

/* Which blocks of users are measured: the first, and how far it is to the next. */
typedef struct measure_task
{
	const cf_chain *chain;
	size_t		first;
	size_t		step;
} measure_task;

/* Task: squared errors of what is served, over the ratings of a block of users. */
static void
measure_block(void *context, size_t number, uint32_t thread)
{
	const measure_task *task = context;
	const cf_chain *chain = task->chain;
	const size_t index = task->first + number * task->step;
	const cf_model *model = chain->model;
	const cf_chain_side *users = &chain->sides[0];
	const cf_rating *rating = chain->ratings->rows + users->starts[users->blocks[index]];
	const cf_rating *end = chain->ratings->rows + users->starts[users->blocks[index + 1]];
	const uint32_t k = (uint32_t) chain->k;
	double		sum = 0.0;

	(void) thread;
	for (; rating < end; rating++)
	{
		const float *p = cf_side_row(&model->users, rating->user);
		const float *q = cf_side_row(&model->items, rating->item);
		double		error = cf_model_rating(model, model->kernels->dot(p, q, k) + p[k] + q[k]) -
			rating->value;

		sum += error * error;
	}
	users->sums[index] = sum;
}

/*
 * Mean squared error of what is served: of a large set some blocks' in turn,
 * but all of it after the last sweep.
 */
static cf_status
measure(const cf_chain *chain, double *loss)
{
	const cf_chain_side *users = &chain->sides[0];
	measure_task task = {chain, 0, chain->n_train / MEASURED + 1};
	cf_status	status;
	double		sum = 0.0;
	size_t		n = 0;
	size_t		j;

	if (task.step > users->n_blocks || chain->sweep == chain->n_sweeps)
		task.step = 1;
	task.first = chain->sweep % task.step;
	status = cf_pool_run(chain->pool, measure_block, &task,
						 (users->n_blocks - task.first + task.step - 1) / task.step);
	for (j = task.first; j < users->n_blocks; j += task.step)
	{
		sum += users->sums[j];
		n += users->starts[users->blocks[j + 1]] - users->starts[users->blocks[j]];
	}
	*loss = n > 0 ? sum / (double) n : 0.0;
	return status;
}

/* Which draw this sweep's is, so that they are spread evenly over those after burn-in. */
static int64_t
draw_of_sweep(const cf_chain *chain)
{
	uint64_t	of = chain->n_sweeps > chain->burn_in ? chain->n_sweeps - chain->burn_in : 1;
	uint64_t	now;

	if (chain->n_draws == 0 || chain->sweep <= chain->burn_in)
		return -1;
	now = chain->sweep - chain->burn_in;
	if (now * chain->n_draws / of == (now - 1) * chain->n_draws / of)
		return -1;
	return (int64_t) (now * chain->n_draws / of) - 1;
}

static cf_status
take_workers(cf_chain *chain, uint32_t n)
{
	if (n <= chain->n_workers)
		return CF_OK;
	cf_free(chain->host, chain->work);
	chain->n_workers = 0;
	chain->work = cf_alloc_zero(chain->host, n, worker_doubles(chain) * sizeof(double));
	if (chain->work == NULL)
		return chain->host->failure;
	chain->n_workers = n;
	return CF_OK;
}

/* The last sweep: how far intervals were off for ratings that nothing was learnt from. */
static cf_status
calibrate(cf_chain *chain)
{
	const cf_ratings *ratings = chain->ratings;

	if (chain->n_draws == 0 || chain->sweep != chain->n_sweeps)
		return CF_OK;
	cf_model_settle(chain->model);
	return cf_interval_calibrate(chain->model, chain->host, ratings->rows + ratings->n_train,
								 ratings->n_valid);
}

static cf_status
bayes_epoch(void *state, cf_pool *pool, double *loss)
{
	cf_chain   *chain = &((bayes_state *) state)->chain;
	cf_chain_side *users = &chain->sides[0];
	cf_chain_side *items = &chain->sides[1];
	cf_status	status = take_workers(chain, cf_pool_threads(pool));
	double		squares;

	if (status != CF_OK)
		return status;
	chain->pool = pool;
	chain->sweep++;
	chain->count = chain->sweep > chain->burn_in ? chain->sweep - chain->burn_in : 1;
	chain->draw = draw_of_sweep(chain);
	status = sweep_side(chain, users, items, &squares);
	if (status == CF_OK)
		status = sweep_side(chain, items, users, &squares);
	if (status != CF_OK)
		return status;
	draw_noise(chain, squares);
	status = measure(chain, loss);
	return status == CF_OK ? calibrate(chain) : status;
}

const cf_solver cf_bayes = {
	.name = "bayes",
	.uses_pool = true,
	.memory = bayes_memory,
	.start_scale = bayes_start_scale,
	.start = bayes_start,
	.begin = bayes_begin,
	.epoch = bayes_epoch,
	.end = bayes_end
};

/* ---------- folding in ---------- */

/* What a fold works in: a worker of its own, and one table row for each rating. */
static void
add_fold_ratings(const cf_model *model, const cf_side *fixed, const uint32_t *rows,
				 const float *values, size_t count, size_t width, float *gathered)
{
	const uint32_t k = fixed->n_factors;
	size_t		j;

	for (j = 0; j < count; j++)
	{
		const float *from = cf_side_is_cold(fixed, rows[j]) ? fixed->prior.row :
			cf_side_row(fixed, rows[j]);
		float	   *to = gathered + j * width;

		memcpy(to, from, k * sizeof(float));
		to[k] = 1.0f;
		to[k + 1] = (float) (values[j] - model->base) - from[k];
	}
}

/* The row's system, solved as far as L^-1 of its right side. */
static cf_status
factor_fold(const cf_model *model, const cf_side *own, const cf_chain *chain,
			const cf_worker *worker)
{
	const size_t d = chain->d;
	const double alpha = 1.0 / model->noise;
	size_t		i;
	size_t		j;

	for (j = 0; j < d; j++)
	{
		const double *prior = own->prior.precision + j * d;
		double	   *column = worker->system + j * chain->stride;

		column[d] = alpha * worker->gram[d * chain->width + j];
		for (i = 0; i < d; i++)
			column[d] += prior[i] * own->prior.mean[i];
		for (i = j; i < d; i++)
			column[i] = prior[i] + alpha * worker->gram[i * chain->width + j];
	}
	return chain->gram->factor(worker->system, d, d + 1, chain->stride) ? CF_OK : CF_NOT_FINITE;
}

/* The conditional mean, in worker->mean, and a draw made of worker->normals. */
static void
solve_fold(const cf_chain *chain, const cf_worker *worker)
{
	size_t		j;

	for (j = 0; j < chain->d; j++)
	{
		worker->mean[j] = worker->system[j * chain->stride + chain->d];
		worker->draw[j] = worker->mean[j] + worker->normals[j];
	}
	chain->gram->back(worker->system, chain->d, chain->stride, worker->mean, worker->draw);
}

static cf_status
put_fold(const double *from, size_t d, float *out)
{
	size_t		j;

	for (j = 0; j < d; j++)
	{
		out[j] = (float) from[j];
		if (!isfinite(out[j]))
			return CF_NOT_FINITE;
	}
	return CF_OK;
}

/* A worker with the row's factored system, in chain->work, which is to be given back. */
static cf_status
begin_fold(cf_chain *chain, const cf_model *model, cf_host *host, const cf_side *fixed,
		   const cf_side *own, const uint32_t *rows, const float *values, size_t n,
		   cf_worker *worker)
{
	cf_settings settings = {.n_factors = fixed->n_factors, .implicit = CF_IMPLICIT_NONE};
	size_t		done;
	size_t		count;

	memset(chain, 0, sizeof(*chain));
	set_sizes(chain, &settings, 0, 0, 0);
	chain->gram = cf_gram_best();
	chain->work = cf_alloc_zero(host, 1, worker_doubles(chain) * sizeof(double));
	if (chain->work == NULL)
		return host->failure;
	*worker = cf_chain_worker(chain, 0);
	for (done = 0; done < n; done += count)
	{
		count = n - done < CF_GRAM_ROWS ? n - done : CF_GRAM_ROWS;
		add_fold_ratings(model, fixed, rows + done, values + done, count, chain->width,
						 worker->gathered);
		chain->gram->gram(worker->gathered, count, chain->width, chain->d + 1, done > 0,
						  worker->gram);
		if (cf_should_stop(host))
			return CF_STOPPED;
	}
	return factor_fold(model, own, chain, worker);
}

cf_status
cf_bayes_fold(const cf_model *model, cf_host *host, const cf_side *fixed, const cf_side *own,
			  const uint32_t *rows, const float *values, size_t n, float *out)
{
	cf_chain	chain;
	cf_worker	worker;
	cf_status	status;

	memcpy(out, own->prior.row, (fixed->n_factors + 1) * sizeof(float));
	if (n == 0)
		return CF_OK;
	status = begin_fold(&chain, model, host, fixed, own, rows, values, n, &worker);
	if (status == CF_OK)
	{
		solve_fold(&chain, &worker);
		status = put_fold(worker.mean, chain.d, out);
	}
	cf_free(host, chain.work);
	return status;
}

cf_status
cf_bayes_fold_draws(const cf_model *model, cf_host *host, const cf_side *fixed,
					const cf_side *own, const uint32_t *rows, const float *values, size_t n,
					uint64_t seed, uint32_t number, float *draws)
{
	cf_chain	chain;
	cf_worker	worker;
	cf_status	status = begin_fold(&chain, model, host, fixed, own, rows, values, n, &worker);
	uint32_t	s;

	for (s = 0; s < own->n_draws && status == CF_OK; s++)
	{
		cf_random_normal(seed, cf_chain_stream(PURPOSE_FOLD, own == &model->items),
						 (uint64_t) s << 32 | number, worker.normals, chain.d);
		solve_fold(&chain, &worker);
		status = put_fold(worker.draw, chain.d, draws + s * chain.d);
	}
	draws[own->n_draws * (own->n_factors + 1)] = own == &model->users ? (float) model->noise : 0.0f;
	cf_free(host, chain.work);
	return status;
}
