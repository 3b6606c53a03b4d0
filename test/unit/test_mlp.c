/*
 * test_mlp.c: gradients against finite differences of a loss in double
 * precision, normalisation by hand, the solver against a dense optimiser
 * written straight from the formulas, and trainings from end to end.
 */
#include <dlfcn.h>

#include "tap.h"
#include "support.h"
#include "cf_backprop.h"
#include "cf_deferred.h"
#include "cf_mlp.h"

static cf_blas blas;

static const cf_settings small = {.n_epochs = 2, .batch_size = 8, .wd = 0.1, .seed = 42,
	.schedule.cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95}, .use_range = true, .low = 0, .high = 5.5f,
	.net = {.user_factors = 3, .item_factors = 2, .n_layers = 2, .layers = {6, 4},
.batch_norm = true}, .blas = &blas};

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

/* ---------- a training written straight from the formulas ---------- */

enum {MOST = 32};				/* ratings of a batch, and units of a layer */

/* All parameters: the net's as in its array, then the users', then the items'. */
typedef struct reference
{
	cf_settings s;
	const cf_net *net;			/* for the shape and the places of the weights */
	const cf_backprop *pass;	/* for what was dropped; NULL: nothing */
	size_t		n_net;
	uint32_t	n_users;
	size_t		n;
	double	   *p,
			   *m,
			   *v,
			   *g;
	double		batch_mean[2][MOST],	/* what the last forward met */
				batch_variance[2][MOST];
	uint32_t	step;
} reference;

static double *
user_row(reference *r, uint32_t row)
{
	return r->p + r->n_net + (size_t) row * r->s.net.user_factors;
}

static double *
item_row(reference *r, uint32_t row)
{
	return user_row(r, r->n_users) + (size_t) row * r->s.net.item_factors;
}

static void
reference_start(reference *r, const cf_settings *s, const cf_model *model)
{
	size_t		j;
	uint32_t	row;

	memset(r, 0, sizeof(*r));
	r->s = *s;
	r->net = model->net;
	r->n_net = model->net->n_weights;
	r->n_users = model->users.n_rows;
	r->n = r->n_net + (size_t) r->n_users * s->net.user_factors +
		(size_t) model->items.n_rows * s->net.item_factors;
	r->p = calloc(4 * r->n, sizeof(double));
	r->m = r->p + r->n;
	r->v = r->m + r->n;
	r->g = r->v + r->n;
	for (j = 0; j < r->n_net; j++)
		r->p[j] = model->net->weights[j];
	for (row = 0; row < r->n_users; row++)
		for (j = 0; j < s->net.user_factors; j++)
			user_row(r, row)[j] = cf_side_row(&model->users, row)[j];
	for (row = 0; row < model->items.n_rows; row++)
		for (j = 0; j < s->net.item_factors; j++)
			item_row(r, row)[j] = cf_side_row(&model->items, row)[j];
}

static double *
place(const reference *r, const float *weight)
{
	return r->p + (weight - r->net->weights);
}

static void
reference_normalise(reference *r, uint32_t l, double (*x)[MOST], uint32_t n)
{
	const cf_net_layer *layer = &r->net->layers[l];
	uint32_t	u,
				j;

	for (u = 0; u < layer->n_out; u++)
	{
		double		mean = 0,
					variance = 0;

		for (j = 0; j < n; j++)
			mean += x[j][u] / n;
		for (j = 0; j < n; j++)
			variance += pow(x[j][u] - mean, 2) / n;
		for (j = 0; j < n; j++)
			x[j][u] = place(r, layer->gamma)[u] * (x[j][u] - mean) / sqrt(variance + 1e-5) +
				place(r, layer->beta)[u];
		r->batch_mean[l][u] = mean;
		r->batch_variance[l][u] = variance;
	}
}

/* The mean squared error of a batch in training. */
static double
reference_loss(reference *r, const cf_rating *batch, uint32_t n)
{
	double		from[MOST][MOST],
				to[MOST][MOST],
				sum = 0;
	uint32_t	users = r->s.net.user_factors,
				l,
				u,
				i,
				j;

	for (j = 0; j < n; j++)
	{
		memcpy(from[j], user_row(r, batch[j].user), users * sizeof(double));
		memcpy(from[j] + users, item_row(r, batch[j].item), r->s.net.item_factors * sizeof(double));
	}
	for (l = 0; l <= r->s.net.n_layers; l++)
	{
		const cf_net_layer *layer = &r->net->layers[l];
		bool		hidden = l < r->s.net.n_layers;

		for (j = 0; j < n; j++)
			for (u = 0; u < layer->n_out; u++)
			{
				to[j][u] = layer->bias != NULL ? place(r, layer->bias)[u] : 0;
				for (i = 0; i < layer->n_in; i++)
					to[j][u] += place(r, layer->weights)[u * layer->n_in + i] * from[j][i];
				if (hidden)
					to[j][u] = fmax(to[j][u], 0);
			}
		if (layer->gamma != NULL)
			reference_normalise(r, l, to, n);
		for (j = 0; j < n && hidden && r->pass != NULL; j++)
			for (u = 0; u < layer->n_out; u++)
				to[j][u] *= r->pass->layers[l].kept[j * layer->n_out + u] / (1 - r->s.dropout);
		memcpy(from, to, sizeof(from));
	}
	for (j = 0; j < n; j++)
	{
		double		rating = r->s.use_range ?
			r->s.low + (r->s.high - r->s.low) / (1 + exp(-from[j][0])) : from[j][0];

		sum += pow(rating - batch[j].value, 2);
	}
	return sum / n;
}

static bool
is_trained(const reference *r, size_t j)
{
	uint32_t	l;

	if (j >= r->n_net)
		return true;
	for (l = 0; l < r->s.net.n_layers; l++)
	{
		const cf_net_layer *layer = &r->net->layers[l];

		if (layer->mean != NULL && j >= (size_t) (layer->mean - r->net->weights) &&
			j < (size_t) (layer->mean - r->net->weights) + 2 * layer->n_out)
			return false;
	}
	return j < (size_t) (r->net->mean_user - r->net->weights);
}

static double
reference_gradient(reference *r, const cf_rating *batch, uint32_t n)
{
	size_t		j;

	for (j = 0; j < r->n; j++)
	{
		const double held = r->p[j];
		double		up;

		r->g[j] = 0;
		if (!is_trained(r, j))
			continue;
		r->p[j] = held + 1e-6;
		up = reference_loss(r, batch, n);
		r->p[j] = held - 1e-6;
		r->g[j] = (up - reference_loss(r, batch, n)) / 2e-6;
		r->p[j] = held;
	}
	return reference_loss(r, batch, n);
}

/* Linear weights and embeddings. */
static bool
decays(const reference *r, size_t j)
{
	uint32_t	l;

	if (j >= r->n_net)
		return true;
	for (l = 0; l <= r->s.net.n_layers; l++)
	{
		const cf_net_layer *layer = &r->net->layers[l];
		size_t		first = (size_t) (layer->weights - r->net->weights);

		if (j >= first && j < first + (size_t) layer->n_in * layer->n_out)
			return true;
	}
	return false;
}

static double
reference_step(reference *r, const cf_rating *batch, uint32_t n, uint32_t steps)
{
	double		x = (double) r->step / steps;
	double		lr = cf_schedule_rate(&r->s.schedule, x);
	double		beta = cf_schedule_momentum(&r->s.schedule, x);
	double		t = ++r->step;
	double		loss = reference_gradient(r, batch, n);
	uint32_t	l,
				u;
	size_t		j;

	for (l = 0; l < r->s.net.n_layers && r->s.net.batch_norm; l++)
		for (u = 0; u < r->s.net.layers[l]; u++)
		{
			double	   *mean = place(r, r->net->layers[l].mean) + u;
			double	   *variance = place(r, r->net->layers[l].variance) + u;

			*mean = 0.9 * *mean + 0.1 * r->batch_mean[l][u];
			*variance = 0.9 * *variance + 0.1 * r->batch_variance[l][u] * n / (n - 1.0);
		}
	for (j = 0; j < r->n; j++)
	{
		if (!is_trained(r, j))
			continue;
		r->p[j] *= decays(r, j) ? 1 - lr * r->s.wd : 1;
		r->m[j] = beta * r->m[j] + (1 - beta) * r->g[j];
		r->v[j] = 0.99 * r->v[j] + 0.01 * r->g[j] * r->g[j];
		r->p[j] -= lr / (1 - pow(beta, t)) * r->m[j] / (sqrt(r->v[j] / (1 - pow(0.99, t))) + 1e-5);
	}
	return loss;
}

/* ---------- data ---------- */

static cf_ratings *
make_ratings(cf_host *host, size_t n, uint32_t n_users, uint32_t n_items, double valid_part)
{
	cf_ratings *ratings;
	uint64_t	counter = 3;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	u = draw(&counter) % n_users;
		uint64_t	i = draw(&counter) % n_items;
		double		truth = sin((double) u) * cos((double) i) + sin(2.0 * (double) u) * sin(3.0 * (double) i);

		if (cf_ratings_add(ratings, integer_key((int64_t) u), integer_key((int64_t) i),
						   (float) fmin(5, fmax(1, 3 + 1.5 * truth))) != CF_OK)
			break;
	}
	if (j < n || cf_ratings_freeze(ratings, 42, valid_part) != CF_OK)
	{
		cf_ratings_destroy(ratings);
		return NULL;
	}
	return ratings;
}

/* ---------- gradients ---------- */

static void
make_side(cf_side *side, cf_host *host, uint32_t n, uint32_t n_factors, uint64_t *counter)
{
	uint32_t	row,
				f;

	if (cf_side_create(side, host, n, n_factors) != CF_OK)
		abort();
	for (row = 0; row < n; row++)
	{
		side->n_ratings[row] = 1;
		for (f = 0; f < n_factors; f++)
			cf_side_row(side, row)[f] = (float) (draw_unit(counter) * 2 - 1);
	}
}

static void
make_model(cf_model *model, cf_host *host, const cf_settings *s)
{
	uint64_t	counter = 17;
	uint32_t	l,
				u;

	cf_model_init(model, host);
	model->link = s->use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
	model->low = s->low;
	model->high = s->high;
	make_side(&model->users, host, 5, s->net.user_factors, &counter);
	make_side(&model->items, host, 4, s->net.item_factors, &counter);
	if (cf_net_create(host, &s->net, &model->net) != CF_OK)
		abort();
	cf_net_start(model->net, 5);
	for (l = 0; l < s->net.n_layers && s->net.batch_norm; l++)
		for (u = 0; u < s->net.layers[l]; u++)
		{
			model->net->layers[l].gamma[u] = (float) (draw_unit(&counter) * 2 - 0.5);
			model->net->layers[l].beta[u] = (float) (draw_unit(&counter) - 0.5);
		}
}

static void
test_gradient(cf_settings s, const char *what)
{
	enum {N = 20};
	cf_rating	batch[N];
	float		user_sums[5][12] = {{0}},
				item_sums[4][12] = {{0}};
	float	   *user_gradients[N],
			   *item_gradients[N];
	cf_host		host;
	cf_model	model;
	cf_backprop pass;
	reference	r;
	uint64_t	counter = 4;
	double		loss,
				worst = 0,
				greatest = 0,
				running = 0;
	uint32_t	j,
				f;

	cf_host_init(&host);
	make_model(&model, &host, &s);
	for (j = 0; j < N; j++)
	{
		batch[j].user = (uint32_t) (draw(&counter) % 5);
		batch[j].item = (uint32_t) (draw(&counter) % 4);
		batch[j].value = (float) (draw(&counter) % 5) + 1;
		user_gradients[j] = user_sums[batch[j].user];
		item_gradients[j] = item_sums[batch[j].item];
	}
	reference_start(&r, &s, &model);
	if (cf_backprop_begin(&pass, &model, &blas, N, s.dropout, 42) != CF_OK ||
		cf_backprop_forward(&pass, batch, 7) != CF_OK)
		abort();
	loss = cf_model_slopes(&model, batch, N, 2.0f / N, pass.logits) / N;
	if (cf_backprop_backward(&pass, user_gradients, item_gradients) != CF_OK)
		abort();
	r.pass = s.dropout > 0 ? &pass : NULL;
	loss -= reference_gradient(&r, batch, N);
	for (j = 0; j < r.n_net; j++)
	{
		worst = fmax(worst, fabs(pass.gradients[j] - r.g[j]));
		greatest = fmax(greatest, fabs(r.g[j]));
	}
	for (j = 0; j < 5; j++)
		for (f = 0; f < s.net.user_factors; f++)
			worst = fmax(worst, fabs(user_sums[j][f] - r.g[user_row(&r, j) + f - r.p]));
	for (j = 0; j < 4; j++)
		for (f = 0; f < s.net.item_factors; f++)
			worst = fmax(worst, fabs(item_sums[j][f] - r.g[item_row(&r, j) + f - r.p]));
	OK(fabs(loss) < 1e-5 && worst < 2e-5 && greatest > 0.05, "gradients, %s: worst %.1e", what, worst);
	for (j = 0; j < s.net.n_layers && s.net.batch_norm; j++)
		for (f = 0; f < s.net.layers[j]; f++)
		{
			running = fmax(running, fabs(model.net->layers[j].mean[f] - 0.1 * r.batch_mean[j][f]));
			running = fmax(running, fabs(model.net->layers[j].variance[f] - 0.9 -
										 0.1 * r.batch_variance[j][f] * N / (N - 1)));
		}
	OK(running < 1e-6, "running statistics, %s", what);
	cf_backprop_end(&pass);
	cf_model_release(&model);
	OK(host.used == 0, "all given back");
	free(r.p);
}

static void
test_gradients(void)
{
	cf_settings s = small;

	test_gradient(s, "normalised");
	s.use_range = false;
	test_gradient(s, "no range");
	s.dropout = 0.3;
	test_gradient(s, "normalised, dropout");
	s.use_range = true;
	s.net.batch_norm = false;
	test_gradient(s, "plain, dropout");
	s.dropout = 0;
	test_gradient(s, "plain");
	s.net.n_layers = 1;
	test_gradient(s, "plain, one layer");
	s.net.batch_norm = true;
	test_gradient(s, "normalised, one layer");
}

/*
 * One unit, two ratings.  Sums 1 + 2 and 1 - 4, ReLU 3 and 0: mean 1.5, variance
 * 2.25, normalised 1 and -1 (but for epsilon); times 2 plus 0.5; times 3 minus 1.
 */
static void
test_norm_by_hand(void)
{
	cf_settings s = small;
	cf_rating	batch[2] = {{0, 0, 1}, {0, 1, 2}};
	float		sums[4][4] = {{0}};
	float	   *user_gradients[2] = {sums[0], sums[0]};
	float	   *item_gradients[2] = {sums[1], sums[2]};
	cf_host		host;
	cf_model	model;
	cf_backprop pass;
	cf_net_layer *layer;

	s.net = (cf_net_shape) {1, 1, 1, {1}, true};
	cf_host_init(&host);
	make_model(&model, &host, &s);
	cf_side_row(&model.users, 0)[0] = 1;
	cf_side_row(&model.items, 0)[0] = 2;
	cf_side_row(&model.items, 1)[0] = -4;
	layer = model.net->layers;
	layer[0].weights[0] = layer[0].weights[1] = 1;
	layer[0].gamma[0] = 2;
	layer[0].beta[0] = 0.5f;
	layer[1].weights[0] = 3;
	layer[1].bias[0] = -1;
	if (cf_backprop_begin(&pass, &model, &blas, 2, 0, 1) != CF_OK ||
		cf_backprop_forward(&pass, batch, 0) != CF_OK)
		abort();
	OK(fabs(pass.logits[0] - 6.5) < 1e-4 && fabs(pass.logits[1] + 5.5) < 1e-4, "normalisation by hand");
	OK(fabs(layer[0].mean[0] - 0.15) < 1e-7 && fabs(layer[0].variance[0] - (0.9 + 0.45)) < 1e-6,
	   "running mean and variance by hand");

	/* slopes 1 and 0: of gamma 3, of beta 3; what reaches r is taken away whole */
	pass.logits[0] = 1;
	pass.logits[1] = 0;
	if (cf_backprop_backward(&pass, user_gradients, item_gradients) != CF_OK)
		abort();
	OK(fabs(pass.gradients[layer[0].gamma - model.net->weights] - 3) < 1e-4 &&
	   fabs(pass.gradients[layer[0].beta - model.net->weights] - 3) < 1e-6 &&
	   fabs(pass.gradients[layer[1].weights - model.net->weights] - 2.5) < 1e-4 &&
	   pass.gradients[layer[1].bias - model.net->weights] == 1 && fabsf(sums[1][0]) < 1e-4,
	   "its gradients by hand");
	cf_backprop_end(&pass);
	cf_model_release(&model);
}

static void
test_dropout(void)
{
	enum {N = 400, UNITS = 30};
	cf_settings s = small;
	cf_rating	batch[N] = {{0}};
	uint8_t		first[2][N * UNITS];
	cf_host		host;
	cf_model	model;
	cf_backprop pass;
	size_t		kept[2] = {0};
	size_t		both = 0;
	bool		good = true;
	uint32_t	l;
	size_t		j;

	s.net = (cf_net_shape) {2, 2, 2, {UNITS, UNITS}, false};
	cf_host_init(&host);
	make_model(&model, &host, &s);
	if (cf_backprop_begin(&pass, &model, &blas, N, 0.25, 1) != CF_OK ||
		cf_backprop_forward(&pass, batch, 0) != CF_OK)
		abort();
	for (l = 0; l < 2; l++)
	{
		memcpy(first[l], pass.layers[l].kept, N * UNITS);
		for (j = 0; j < N * UNITS; j++)
		{
			float		wanted = first[l][j] ? pass.layers[l].relu[j] * (float) (1 / 0.75) : 0;

			kept[l] += first[l][j];
			both += l == 1 && first[0][j] && first[1][j];
			good = good && pass.layers[l].output[j] == wanted;
		}
	}
	OK(good, "what is kept is scaled up");
	OK(fabs(kept[0] / (double) (N * UNITS) - 0.75) < 0.02 && fabs(kept[1] / (double) (N * UNITS) - 0.75) < 0.02,
	   "a quarter is dropped: %zu, %zu of %d kept", kept[0], kept[1], N * UNITS);
	OK(fabs(both / (double) (N * UNITS) - 0.75 * 0.75) < 0.02, "of each layer by itself");
	if (cf_backprop_forward(&pass, batch, 1) != CF_OK)
		abort();
	OK(memcmp(first[0], pass.layers[0].kept, N * UNITS) != 0, "another step drops others");
	if (cf_backprop_forward(&pass, batch, 0) != CF_OK)
		abort();
	OK(memcmp(first[1], pass.layers[1].kept, N * UNITS) == 0, "the same step drops the same");
	cf_backprop_end(&pass);
	cf_model_release(&model);
}

/* ---------- the solver ---------- */

static double
distance(reference *r, const cf_model *model)
{
	double		sum = 0,
				squares = 0;
	size_t		n = (size_t) (r->net->mean_user - r->net->weights);
	uint32_t	row;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		sum += pow(model->net->weights[j] - r->p[j], 2);
		squares += pow(r->p[j], 2);
	}
	for (row = 0; row < model->users.n_rows; row++)
		for (j = 0; j < model->users.n_factors; j++)
			sum += 1e4 * pow(cf_side_row(&model->users, row)[j] - user_row(r, row)[j], 2);
	for (row = 0; row < model->items.n_rows; row++)
		for (j = 0; j < model->items.n_factors; j++)
			sum += 1e4 * pow(cf_side_row(&model->items, row)[j] - item_row(r, row)[j], 2);
	return sqrt(sum / squares);
}

static void
test_against_reference(cf_settings s, const char *what)
{
	cf_host		host;
	cf_model	model;
	cf_ratings *ratings;
	cf_rating	order[100];
	cf_training *training;
	cf_epoch	report;
	reference	r;
	double		loss = 0,
				worst = 0;
	uint32_t	epoch,
				b;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	ratings = make_ratings(&host, 100, 6, 5, 0);
	memcpy(order, ratings->rows, sizeof(order));
	if (cf_training_begin(cf_solver_named("mlp"), &s, ratings, &model, NULL, NULL, NULL, &training) != CF_OK)
		abort();
	reference_start(&r, &s, &model);
	for (epoch = 0; epoch < s.n_epochs; epoch++)
	{
		loss = 0;
		cf_ratings_shuffle(&host, order, 100, s.seed, epoch);
		for (b = 0; b < 100 / s.batch_size; b++)
			loss += reference_step(&r, order + b * s.batch_size, s.batch_size,
								   100 / s.batch_size * s.n_epochs) / (100 / s.batch_size);
		if (cf_training_epoch(training, NULL, &report) != CF_OK)
			abort();
		worst = fmax(worst, fabs(report.train_loss - loss));
	}
	OK(worst < 1e-3 && distance(&r, &model) < 2e-2, "the solver is what the formulas say, %s: %.1e, %.1e",
	   what, distance(&r, &model), worst);
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	free(r.p);
}

static cf_status
train(cf_host *host, const cf_settings *s, cf_ratings *ratings, cf_model *model, cf_epoch *last)
{
	cf_training *training;
	cf_status	status;
	uint32_t	epoch;

	cf_model_init(model, host);
	status = cf_training_begin(&cf_mlp, s, ratings, model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
		status = cf_training_epoch(training, NULL, last);
	cf_training_end(training);
	return status;
}

static bool
same_models(const cf_model *a, const cf_model *b)
{
	return memcmp(a->users.rows, b->users.rows, a->users.n_rows * a->users.stride * sizeof(float)) == 0 &&
		memcmp(a->items.rows, b->items.rows, a->items.n_rows * a->items.stride * sizeof(float)) == 0 &&
		memcmp(a->net->weights, b->net->weights, a->net->n_weights * sizeof(float)) == 0;
}

static void
test_determinism(void)
{
	cf_settings s = small;
	cf_host		host;
	cf_model	a,
				b;
	cf_epoch	last;
	cf_ratings *ratings;

	s.dropout = 0.1;
	cf_host_init(&host);
	ratings = make_ratings(&host, 1000, 30, 20, 0.2);
	OK(train(&host, &s, ratings, &a, &last) == CF_OK, "train");
	OK(cf_side_bias(&a.users, 3) == 0 && cf_side_bias(&a.items, 3) == 0 && !a.use_bias, "there are no biases");
	OK(train(&host, &s, ratings, &b, &last) == CF_OK && same_models(&a, &b), "again: the same bits");
	cf_model_release(&b);
	s.seed = 43;
	OK(train(&host, &s, ratings, &b, &last) == CF_OK && !same_models(&a, &b), "another seed gives others");
	cf_model_release(&a);
	cf_model_release(&b);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
test_recovery(bool batch_norm)
{
	cf_settings s = small;
	cf_host		host;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	cf_status	status;
	double		mean_loss = 0,
				loss;
	size_t		j;

	cf_host_init(&host);
	ratings = make_ratings(&host, 6000, 40, 30, 0.2);
	for (j = ratings->n_train; j < ratings->n_rows; j++)
		mean_loss += pow(ratings->rows[j].value - ratings->mean, 2) / (double) ratings->n_valid;
	s.n_epochs = 20;
	s.batch_size = 32;
	s.wd = 0.01;
	s.schedule.cycle.lr_max = 1e-2;
	s.net = (cf_net_shape) {8, 8, 2, {32, 16}, batch_norm};
	status = train(&host, &s, ratings, &model, &last);
	OK(status == CF_OK && last.valid_loss < 0.2 * mean_loss,
	   "planted structure is found, normalisation %d: %.4f, the mean gives %.4f", batch_norm,
	   last.valid_loss, mean_loss);
	OK(cf_model_loss(&model, ratings->rows + ratings->n_train, ratings->n_valid, &loss) == CF_OK &&
	   loss == last.valid_loss, "the validation loss is the model's");
	cf_model_release(&model);
	s.use_range = false;
	s.schedule.cycle.lr_max = 1e30;
	OK(train(&host, &s, ratings, &model, &last) == CF_NOT_FINITE, "diverging is found out");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
test_batch_of_one(void)
{
	cf_settings s = small;
	cf_host		host;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;

	cf_host_init(&host);
	ratings = make_ratings(&host, 50, 6, 5, 0);
	s.batch_size = 1;
	OK(train(&host, &s, ratings, &model, &last) == CF_BATCH_OF_ONE && model.net == NULL, "batches of one");
	s.net.batch_norm = false;
	OK(train(&host, &s, ratings, &model, &last) == CF_OK, "plain, they train");
	cf_model_release(&model);
	s.net.batch_norm = true;
	s.batch_size = 2;
	OK(train(&host, &s, ratings, &model, &last) == CF_OK && isfinite(cf_model_predict(&model, 0, 0)),
	   "batches of two");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	s.batch_size = 0;
	ratings = make_ratings(&host, 1, 1, 1, 0);
	OK(train(&host, &s, ratings, &model, &last) == CF_BATCH_OF_ONE, "a single rating");
	cf_ratings_destroy(ratings);
	ratings = make_ratings(&host, 2, 1, 1, 0);
	OK(train(&host, &s, ratings, &model, &last) == CF_OK && isfinite(cf_model_predict(&model, 0, 0)),
	   "two ratings of one pair");
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

static void
put_marks(void *context, cf_model *model)
{
	model->net->weights[0] = 7;
	*(int *) context += 1;
}

static void
test_steps(void)
{
	cf_settings s = small;
	cf_host		host;
	cf_model	model;
	cf_training *training;
	cf_ratings *ratings;
	double		loss = 0,
				first = 0;
	bool		good = true;
	int			calls = 0;
	uint32_t	j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	ratings = make_ratings(&host, 1000, 30, 20, 0);
	s.n_steps = 300;
	s.batch_size = 64;
	s.schedule = (cf_schedule) {.kind = CF_SCHEDULE_SWEEP, .sweep = {1e-5, 1, 0.9}};
	if (cf_training_begin(&cf_mlp, &s, ratings, &model, put_marks, &calls, NULL, &training) != CF_OK)
		abort();
	OK(calls == 1 && model.net->weights[0] == 7, "a warm start finds the net");
	for (j = 0; j < 300; j++)
	{
		good = good && cf_training_step(training, NULL, &loss) == CF_OK;
		first = j == 0 ? loss : first;
	}
	OK(good && loss > 0 && first > 0 && cf_training_step(training, NULL, &loss) == CF_TOO_MANY, "a sweep of single steps");
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
}

static void
test_stops(void)
{
	cf_settings s = small;
	test_host	test;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	long		total;
	long		at;
	bool		good = true;

	s.n_epochs = 1;
	s.batch_size = 400;
	s.dropout = 0.1;
	s.net = (cf_net_shape) {200, 100, 3, {300, 100, 200}, true};
	test_host_init(&test);
	ratings = make_ratings(&test.host, 1000, 50, 40, 0.2);
	test.polls = 0;
	OK(train(&test.host, &s, ratings, &model, &last) == CF_OK, "train");
	cf_model_release(&model);
	total = test.polls;
	OK(total > 10, "polls within batches: %ld", total);
	for (at = 1; at <= total; at++)
	{
		test.polls = 0;
		test.stop_at = at;
		good = good && train(&test.host, &s, ratings, &model, &last) == CF_STOPPED && test.polls == at;
		cf_model_release(&model);
	}
	OK(good, "each poll stops at once");
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
}

static void
test_memory(cf_settings s, const char *what)
{
	test_host	test;
	cf_model	model;
	cf_epoch	last;
	cf_ratings *ratings;
	size_t		taken;
	long		fail_at = 0;
	bool		good = true;
	cf_status	status;

	test_host_init(&test);
	ratings = make_ratings(&test.host, 500, 20, 20, 0.2);
	do
	{
		long		blocks = test.blocks;

		test.requests = 0;
		test.fail_at = ++fail_at;
		status = train(&test.host, &s, ratings, &model, &last);
		cf_model_release(&model);
		good = good && test.blocks == blocks && (status == CF_OK || status == CF_NO_MEMORY);
	} while (status != CF_OK);
	OK(good && fail_at > 20, "%s: failing at each of %ld requests", what, fail_at - 1);
	test.fail_at = 0;
	test.host.peak = taken = test.host.used;
	status = train(&test.host, &s, ratings, &model, &last);
	taken = test.host.peak - taken;
	cf_model_release(&model);
	OK(taken == cf_training_memory(&cf_mlp, &s, cf_dict_count(ratings->users),
								   cf_dict_count(ratings->items), ratings->n_train, 1),
	   "%s: takes the bytes that it says: %zu", what, taken);
	test.host.limit = test.host.used + taken - 1;
	test.requests = 0;
	OK(train(&test.host, &s, ratings, &model, &last) == CF_MEMORY_LIMIT && test.requests == 0,
	   "%s: the limit is held before anything is taken", what);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
}

int
main(void)
{
	cf_settings s = small;

	if (!load_blas())
	{
		OK(true, "all # SKIP no libopenblas.so.0");
		return tap_done();
	}
	test_gradients();
	test_norm_by_hand();
	test_dropout();
	test_against_reference(s, "normalised");
	s.use_range = false;
	test_against_reference(s, "no range");
	s.net.batch_norm = false;
	test_against_reference(s, "plain");
	test_determinism();
	test_recovery(true);
	test_recovery(false);
	test_batch_of_one();
	test_steps();
	test_stops();
	test_memory(small, "normalised");
	s = small;
	s.dropout = 0.2;
	s.net.layers[0] = 100;
	test_memory(s, "dropout");
	s.net.batch_norm = false;
	test_memory(s, "plain, dropout");
	s.dropout = 0;
	test_memory(s, "plain");
	return tap_done();
}
