/* test_net.c: the net's weights and inference, by hand and against double loops. */
#include "tap.h"
#include "support.h"
#include "cf_model.h"

static cf_net *
make_net(cf_host *host, cf_net_shape shape)
{
	cf_net	   *net;

	if (cf_net_create(host, &shape, &net) != CF_OK)
		abort();
	return net;
}

/* ---------- shape ---------- */

static void
test_shape(void)
{
	const cf_net_shape good = {3, 2, 2, {4, 1}, true};
	cf_net_shape shape = good;

	OK(cf_net_shape_is_valid(&good), "a valid shape");
	OK(cf_net_size(&good) == (5 * 4 + 4 * 4) + (4 + 4) + (1 + 1) + 5, "its size");
	shape.batch_norm = false;
	OK(cf_net_size(&shape) == (5 * 4 + 4) + (4 + 1) + (1 + 1) + 5, "without normalisation");
	shape.layers[1] = CF_MAX_UNITS;
	OK(cf_net_shape_is_valid(&shape), "the widest layer");
	shape.layers[1]++;
	OK(!cf_net_shape_is_valid(&shape), "too wide");
	shape.layers[1] = 0;
	OK(!cf_net_shape_is_valid(&shape), "a layer without units");
	shape = good;
	shape.n_layers = 0;
	OK(!cf_net_shape_is_valid(&shape), "no layers");
	shape.n_layers = CF_MAX_LAYERS + 1;
	OK(!cf_net_shape_is_valid(&shape), "too many layers");
	shape = good;
	shape.item_factors = CF_MAX_FACTORS + 1;
	OK(!cf_net_shape_is_valid(&shape), "too many factors");
	shape.item_factors = 0;
	OK(!cf_net_shape_is_valid(&shape), "no factors");
	OK(cf_net_default_factors(943) == 74 && cf_net_default_factors(1634) == 101 &&
	   cf_net_default_factors(1) == 2 && cf_net_default_factors(CF_MAX_ROWS) == 600,
	   "the rule for factors, as the fastai book prints it");
}

static void
test_start(void)
{
	const cf_net_shape shape = {60, 40, 2, {300, 500}, true};
	cf_host		host;
	cf_net	   *net;
	cf_net	   *other;
	uint32_t	l;
	size_t		j;

	cf_host_init(&host);
	net = make_net(&host, shape);
	cf_net_start(net, 42);
	for (l = 0; l <= 2; l++)
	{
		const cf_net_layer *layer = &net->layers[l];
		size_t		n = (size_t) layer->n_in * layer->n_out;
		double		bound = 1 / sqrt(layer->n_in);
		double		sum = 0;
		double		squares = 0;
		double		most = 0;

		for (j = 0; j < n; j++)
		{
			sum += layer->weights[j];
			squares += pow(layer->weights[j], 2);
			most = fmax(most, fabs(layer->weights[j]));
		}
		OK(fabs(sum / (double) n) < 4 * bound / sqrt(3.0 * (double) n) && most <= bound &&
		   most > 0.9 * bound && fabs(squares / (double) n / (bound * bound / 3) - 1) <
		   5 / sqrt((double) n), "layer %u: uniform within 1 / sqrt(%u): mean %.3f, greatest %.3f, variance %.3f of the bound",
		   l, layer->n_in, sum / (double) n / bound, most / bound, squares / (double) n / (bound * bound));
	}
	OK(net->layers[0].gamma[7] == 1 && net->layers[1].beta[499] == 1e-3f &&
	   net->layers[0].mean[299] == 0 && net->layers[1].variance[0] == 1, "start of the normalisation");
	OK(fabsf(net->layers[2].bias[0]) < 1 / sqrtf(500) && net->layers[2].bias[0] != 0, "bias");
	other = make_net(&host, shape);
	cf_net_start(other, 42);
	OK(memcmp(net->weights, other->weights, net->n_weights * sizeof(float)) == 0, "the same again");
	cf_net_start(other, 43);
	OK(memcmp(net->weights, other->weights, 4 * sizeof(float)) != 0, "another seed");
	OK(memcmp(net->layers[0].weights, net->layers[0].weights + 100, 4 * sizeof(float)) != 0,
	   "units differ");
	cf_net_destroy(net);
	cf_net_destroy(other);
	cf_net_destroy(NULL);
	OK(host.used == 0, "all given back");
}

static void
test_soundness(void)
{
	cf_host		host;
	cf_net	   *net;

	cf_host_init(&host);
	net = make_net(&host, (cf_net_shape) {2, 2, 1, {3}, true});
	cf_net_start(net, 1);
	OK(cf_net_is_sound(net), "sound");
	net->layers[0].variance[2] = -1e-9f;
	OK(!cf_net_is_sound(net), "a negative variance");
	net->layers[0].variance[2] = 0;
	OK(cf_net_is_sound(net), "no variance");
	net->mean_item[1] = NAN;
	OK(!cf_net_is_sound(net), "not a number");
	cf_net_destroy(net);
}

/* ---------- inference ---------- */

static float
logit_of(const cf_net *net, const float *user, const float *item)
{
	float		part[CF_MAX_UNITS];
	float		logit;

	cf_net_user_part(net, cf_kernels_level(0), user, part);
	cf_net_logits(net, cf_kernels_level(0), part, &item, 1, &logit);
	return logit;
}

static void
set(float *to, const float *from, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

/* Sums 5 and -5; ReLU 5 and 0; normalised 2 and -2.5; 2 + 5 + 0.25. */
static void
test_by_hand(void)
{
	const float user = 2;
	const float item = 3;
	cf_host		host;
	cf_net	   *net;

	cf_host_init(&host);
	net = make_net(&host, (cf_net_shape) {1, 1, 1, {2}, true});
	set(net->layers[0].weights, (float[]) {1, 1, -1, -1}, 4);
	set(net->layers[0].gamma, (float[]) {2, 3}, 2);
	set(net->layers[0].beta, (float[]) {1, 0.5f}, 2);
	set(net->layers[0].mean, (float[]) {4, 1}, 2);
	set(net->layers[0].variance, (float[]) {4 - 1e-5f, 1 - 1e-5f}, 2);
	set(net->layers[1].weights, (float[]) {1, -2}, 2);
	net->layers[1].bias[0] = 0.25f;
	net->mean_user[0] = 2;
	net->mean_item[0] = 3;
	cf_net_prepare(net);
	OK(fabsf(logit_of(net, &user, &item) - 7.25f) < 1e-5f, "by hand, with normalisation");
	OK(logit_of(net, NULL, &item) == logit_of(net, &user, &item) &&
	   logit_of(net, &user, NULL) == logit_of(net, &user, &item), "a mean embedding");
	cf_net_destroy(net);

	/* sums 5 + 1 and -5 + 7; 6 - 4 + 0.25 */
	net = make_net(&host, (cf_net_shape) {1, 1, 1, {2}, false});
	set(net->layers[0].weights, (float[]) {1, 1, -1, -1}, 4);
	set(net->layers[0].bias, (float[]) {1, 7}, 2);
	set(net->layers[1].weights, (float[]) {1, -2}, 2);
	net->layers[1].bias[0] = 0.25f;
	cf_net_prepare(net);
	OK(fabsf(logit_of(net, &user, &item) - 2.25f) < 1e-6f, "by hand, without");
	cf_net_destroy(net);
}

static double
exact_logit(const cf_net *net, const float *user, const float *item)
{
	double		from[CF_MAX_UNITS];
	double		to[CF_MAX_UNITS];
	uint32_t	l,
				u,
				j;

	for (j = 0; j < net->shape.user_factors; j++)
		from[j] = user[j];
	for (j = 0; j < net->shape.item_factors; j++)
		from[net->shape.user_factors + j] = item[j];
	for (l = 0; l <= net->shape.n_layers; l++)
	{
		const cf_net_layer *layer = &net->layers[l];

		for (u = 0; u < layer->n_out; u++)
		{
			to[u] = layer->bias != NULL ? layer->bias[u] : 0;
			for (j = 0; j < layer->n_in; j++)
				to[u] += (double) layer->weights[(size_t) u * layer->n_in + j] * from[j];
			if (l < net->shape.n_layers)
				to[u] = fmax(to[u], 0);
			if (layer->gamma != NULL)
				to[u] = layer->gamma[u] * (to[u] - layer->mean[u]) / sqrt(layer->variance[u] + 1e-5) +
					layer->beta[u];
		}
		memcpy(from, to, layer->n_out * sizeof(double));
	}
	return from[0];
}

enum {ITEMS = 200};

/* Any number of items at once, by any way, gives the bits of one. */
static void
test_level(int level, cf_net_shape shape)
{
	const cf_kernels *kernels = cf_kernels_level(level);
	const float *items[ITEMS];
	float	   *floats = calloc(ITEMS + 1, (size_t) (shape.item_factors + shape.user_factors) * sizeof(float));
	float	   *parts = malloc(ITEMS * (size_t) CF_MAX_UNITS * sizeof(float));
	float		user_part[CF_MAX_UNITS];
	float		one[ITEMS];
	float		many[ITEMS];
	const float *user = floats;
	uint64_t	counter = 5;
	double		worst = 0;
	cf_host		host;
	cf_net	   *net;
	bool		good;
	size_t		j;
	uint32_t	l,
				u;

	cf_host_init(&host);
	net = make_net(&host, shape);
	cf_net_start(net, 3);
	for (l = 0; l < shape.n_layers && shape.batch_norm; l++)
		for (u = 0; u < shape.layers[l]; u++)
		{
			net->layers[l].gamma[u] = (float) (draw_unit(&counter) * 2 - 0.5);
			net->layers[l].beta[u] = (float) draw_unit(&counter);
			net->layers[l].mean[u] = (float) draw_unit(&counter);
			net->layers[l].variance[u] = (float) draw_unit(&counter);
		}
	cf_net_prepare(net);
	for (j = 0; j < (ITEMS + 1) * (size_t) (shape.item_factors + shape.user_factors); j++)
		floats[j] = (float) (draw_unit(&counter) * 2 - 1);
	for (j = 0; j < ITEMS; j++)
		items[j] = j == 77 ? NULL : floats + (j + 1) * shape.item_factors;
	cf_net_user_part(net, kernels, user, user_part);
	for (j = 0; j < ITEMS; j++)
	{
		cf_net_logits(net, kernels, user_part, &items[j], 1, &one[j]);
		worst = fmax(worst, fabs(one[j] - exact_logit(net, user, items[j] != NULL ? items[j] :
													  net->mean_item)));
	}
	OK(worst < 2e-5, "%s, %u layers: logits, off by %.0e", kernels->name, shape.n_layers, worst);
	cf_net_logits(net, kernels, user_part, items, ITEMS, many);
	good = memcmp(one, many, sizeof(one)) == 0;
	cf_net_item_parts(net, kernels, items, ITEMS, parts);
	cf_net_logits_of_parts(net, kernels, user_part, parts, ITEMS, many);
	OK(good && memcmp(one, many, sizeof(one)) == 0, "%s: many at once are the same", kernels->name);
	cf_net_destroy(net);
	free(floats);
	free(parts);
}

/* ---------- the model ---------- */

static void
make_side(cf_side *side, cf_host *host, uint32_t n, uint32_t n_factors, uint64_t *counter)
{
	uint32_t	row,
				f;

	if (cf_side_create(side, host, n, n_factors) != CF_OK)
		abort();
	for (row = 0; row < n; row++)
	{
		side->n_ratings[row] = row;
		for (f = 0; f < n_factors; f++)
			cf_side_row(side, row)[f] = (float) (draw_unit(counter) * 2 - 1);
	}
}

static void
test_model(bool use_range)
{
	enum {N = 500};
	cf_rating	rows[N];
	cf_host		host;
	cf_model	model;
	uint64_t	counter = 8;
	double		sum = 0,
				mean = 0,
				loss;
	uint32_t	j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	model.mean_rating = 3.25;
	model.link = use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
	model.high = 5.5f;
	make_side(&model.users, &host, 6, 3, &counter);
	make_side(&model.items, &host, 40, 5, &counter);
	model.net = make_net(&host, (cf_net_shape) {3, 5, 2, {7, 4}, true});
	cf_net_start(model.net, 1);
	cf_model_settle(&model);
	for (j = 1; j < 6; j++)
		mean += j * cf_side_row(&model.users, j)[1] / 15.0;
	OK(fabs(model.net->mean_user[1] - mean) < 1e-6, "the mean embedding is weighted by ratings");
	OK(cf_side_row(&model.users, 0)[1] == 0, "cold rows have no factors");
	OK(cf_model_predict(&model, 0, 0) == 3.25f && cf_model_predict(&model, CF_NO_ROW, CF_NO_ROW) == 3.25f,
	   "both cold: the mean rating");
	OK(cf_model_predict(&model, 2, 3) ==
	   cf_model_rating(&model, logit_of(model.net, cf_side_row(&model.users, 2),
										cf_side_row(&model.items, 3))) ||
	   model.kernels != cf_kernels_level(0), "a pair");
	OK(fabs(cf_model_predict(&model, 2, CF_NO_ROW) -
			cf_model_rating(&model, (float) exact_logit(model.net, cf_side_row(&model.users, 2),
														model.net->mean_item))) < 1e-5 &&
	   cf_model_predict(&model, 2, 0) == cf_model_predict(&model, 2, CF_NO_ROW), "a cold item");
	OK(fabs(cf_model_predict(&model, CF_NO_ROW, 3) -
			cf_model_rating(&model, (float) exact_logit(model.net, model.net->mean_user,
														cf_side_row(&model.items, 3)))) < 1e-5,
	   "a cold user");
	for (j = 0; j < N; j++)
	{
		rows[j].user = j < 300 ? j / 100 : (uint32_t) (draw(&counter) % 7);
		rows[j].item = (uint32_t) (draw(&counter) % 41);
		rows[j].value = (float) (draw(&counter) % 5) + 1;
		sum += pow((double) cf_model_predict(&model, rows[j].user, rows[j].item) - rows[j].value, 2);
	}
	OK(cf_model_loss(&model, rows, N, &loss) == CF_OK && loss == sum / N, "the loss is that of the predictions");
	OK(cf_model_loss(&model, rows, 0, &loss) == CF_OK && isnan(loss), "no ratings, no loss");
	cf_model_release(&model);
	OK(model.net == NULL && host.used == 0, "all given back");
}

static void
test_memory(void)
{
	const cf_net_shape shape = {5, 6, 3, {9, 33, 2}, true};
	test_host	test;
	cf_net	   *net;
	cf_status	status;
	bool		good = true;

	test_host_init(&test);
	do
	{
		test.requests = 0;
		test.fail_at++;
		status = cf_net_create(&test.host, &shape, &net);
		good = good && (status == CF_OK || (status == CF_NO_MEMORY && net == NULL && test.blocks == 0));
	} while (status != CF_OK);
	OK(good && test.fail_at == 4, "failing at each of %ld requests", test.fail_at - 1);
	OK(test.host.used == cf_net_memory(&shape), "takes what it says it does");
	cf_net_destroy(net);
	OK(test.blocks == 0, "all given back");
}

int
main(void)
{
	int			level;

	test_shape();
	test_start();
	test_soundness();
	test_by_hand();
	for (level = 0; level < CF_KERNEL_LEVELS; level++)
	{
		if (cf_kernels_level(level) == NULL)
			continue;
		test_level(level, (cf_net_shape) {3, 2, 1, {1}, true});
		test_level(level, (cf_net_shape) {74, 101, 2, {100, 50}, true});
		test_level(level, (cf_net_shape) {10, 7, 3, {20, 700, 3}, false});
		test_level(level, (cf_net_shape) {1, 1, 2, {8, CF_MAX_UNITS}, true});
		test_level(level, (cf_net_shape) {4, 4, 8, {5, 6, 7, 8, 16, 17, 18, 19}, false});
	}
	test_model(true);
	test_model(false);
	test_memory();
	return tap_done();
}
