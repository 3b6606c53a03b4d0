/*
 * test_solver.c: what every training has around its solver: the epoch that is
 * kept, and what that takes.
 */
#include "tap.h"
#include "support.h"
#include "cf_solver.h"

/* Enough factors for each rating, and no decay: noise is learned by heart. */
static const cf_settings by_heart = {.n_factors = 30, .n_epochs = 12, .batch_size = 32, .wd = 0,
	.schedule.cycle = {3e-2, 0.25, 25, 1e5, 0.85, 0.95}, .seed = 42, .use_bias = true, .use_range = true,
.low = 0, .high = 5.5f};

/* Mild and severe users, and noise. */
static cf_ratings *
make_noise(cf_host *host, size_t n, double valid_part)
{
	cf_ratings *ratings;
	uint64_t	counter = 0;
	size_t		j;

	if (cf_ratings_create(host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings) != CF_OK)
		return NULL;
	for (j = 0; j < n; j++)
	{
		uint64_t	u = draw(&counter) % 40;
		cf_key		user = integer_key((int64_t) u);
		cf_key		item = integer_key((int64_t) (draw(&counter) % 30));

		if (cf_ratings_add(ratings, user, item, (float) (1 + u % 3 + draw(&counter) % 3)) != CF_OK)
			break;
	}
	if (j < n || cf_ratings_freeze(ratings, 42, valid_part) != CF_OK)
	{
		cf_ratings_destroy(ratings);
		return NULL;
	}
	return ratings;
}

/* The most epochs that a test has. */
#define EPOCHS	64

/* "after", if not NULL, gets a copy of the model after that epoch. */
static cf_status
train(cf_host *host, const cf_settings *s, cf_ratings *ratings, cf_model *model,
	  cf_epoch *reports, uint32_t epoch_after, cf_model *after)
{
	cf_training *training;
	cf_status	status;
	uint32_t	epoch;

	cf_model_init(model, host);
	status = cf_training_begin(cf_solver_named("adam"), s, ratings, model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	for (epoch = 0; epoch < s->n_epochs && status == CF_OK; epoch++)
	{
		status = cf_training_epoch(training, NULL, &reports[epoch]);
		if (after != NULL && epoch == epoch_after && status == CF_OK)
			status = cf_model_copy(after, model);
	}
	cf_training_end(training);
	return status;
}

static bool
same_side(const cf_side *a, const cf_side *b)
{
	return a->n_rows == b->n_rows && a->mean_bias == b->mean_bias &&
		memcmp(a->rows, b->rows, (size_t) a->n_rows * a->stride * sizeof(float)) == 0 &&
		memcmp(a->n_ratings, b->n_ratings, a->n_rows * sizeof(int64_t)) == 0;
}

static bool
same_model(const cf_model *a, const cf_model *b)
{
	return same_side(&a->users, &b->users) && same_side(&a->items, &b->items);
}

static uint32_t
lowest(const cf_epoch *reports, uint32_t n)
{
	uint32_t	best = 0;
	uint32_t	epoch;

	for (epoch = 1; epoch < n; epoch++)
	{
		if (reports[epoch].valid_loss < reports[best].valid_loss)
			best = epoch;
	}
	return best;
}

/* Does each epoch report the best one up to it? */
static bool
kept_so_far(const cf_epoch *reports, uint32_t n)
{
	uint32_t	epoch;

	for (epoch = 0; epoch < n; epoch++)
	{
		if (reports[epoch].kept != lowest(reports, epoch + 1))
			return false;
	}
	return true;
}

static void
test_keep_best(void)
{
	cf_settings s = by_heart;
	cf_epoch	plain[EPOCHS];
	cf_epoch	kept[EPOCHS];
	cf_host		host;
	cf_model	last;
	cf_model	after;
	cf_model	best;
	cf_ratings *ratings;
	double		loss;
	uint32_t	n;

	cf_host_init(&host);
	ratings = make_noise(&host, 900, 0.2);
	OK(train(&host, &s, ratings, &last, plain, 0, NULL) == CF_OK, "train");
	n = lowest(plain, s.n_epochs);
	OK(n > 0 && n < s.n_epochs - 1 && plain[s.n_epochs - 1].valid_loss > 1.2 * plain[n].valid_loss,
	   "learned by heart: %.3f after epoch %u, %.3f at the end", plain[n].valid_loss, n + 1,
	   plain[s.n_epochs - 1].valid_loss);
	OK(plain[3].kept == 3 && plain[s.n_epochs - 1].kept == s.n_epochs - 1,
	   "without keep_best it is the last epoch");

	/* the same training again, with a copy made by hand */
	cf_model_init(&after, &host);
	after.users = last.users;
	after.items = last.items;
	OK(train(&host, &s, ratings, &best, kept, n, &after) == CF_OK, "with a copy");
	cf_model_release(&best);

	s.keep_best = true;
	OK(train(&host, &s, ratings, &best, kept, 0, NULL) == CF_OK, "keep_best");
	OK(memcmp(&plain[5].valid_loss, &kept[5].valid_loss, sizeof(double)) == 0 &&
	   plain[s.n_epochs - 1].train_loss == kept[s.n_epochs - 1].train_loss,
	   "the training itself is the same");
	OK(kept[s.n_epochs - 1].kept == n && kept_so_far(kept, s.n_epochs), "the best epoch is told");
	OK(same_model(&best, &after), "and its model is what is left, to the bit");
	OK(cf_model_loss(&best, ratings->rows + ratings->n_train, ratings->n_valid, &loss) == CF_OK &&
	   loss == plain[n].valid_loss, "which has the loss that was told");
	cf_model_release(&best);
	cf_model_release(&after);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "all given back");
}

/* One epoch, the last one the best, none held out: the last epoch's model. */
static void
test_last_is_best(const char *name, uint32_t n_epochs, double lr_max, double valid_part)
{
	cf_settings s = by_heart;
	cf_epoch	plain[EPOCHS];
	cf_epoch	kept[EPOCHS];
	cf_host		host;
	cf_model	last;
	cf_model	best;
	cf_ratings *ratings;

	s.n_epochs = n_epochs;
	s.schedule.cycle.lr_max = lr_max;
	cf_host_init(&host);
	ratings = make_noise(&host, 900, valid_part);
	OK(train(&host, &s, ratings, &last, plain, 0, NULL) == CF_OK, "%s: train", name);
	s.keep_best = true;
	OK(train(&host, &s, ratings, &best, kept, 0, NULL) == CF_OK, "%s: keep_best", name);
	OK(kept[n_epochs - 1].kept == n_epochs - 1 && same_model(&last, &best), "%s: the last", name);
	cf_model_release(&last);
	cf_model_release(&best);
	cf_ratings_destroy(ratings);
	OK(host.used == 0, "%s: all given back", name);
}

static void
test_memory(void)
{
	cf_settings s = by_heart;
	cf_epoch	reports[EPOCHS];
	test_host	test;
	cf_model	model;
	cf_ratings *ratings;
	size_t		predicted;
	size_t		before;
	size_t		plain;
	long		total;
	long		at;
	bool		good = true;

	test_host_init(&test);
	ratings = make_noise(&test.host, 900, 0.2);
	before = test.host.used;
	plain = cf_training_memory(cf_solver_named("adam"), &s, cf_dict_count(ratings->users),
							   cf_dict_count(ratings->items), ratings->n_train, 1);
	s.keep_best = true;
	predicted = cf_training_memory(cf_solver_named("adam"), &s, cf_dict_count(ratings->users),
								   cf_dict_count(ratings->items), ratings->n_train, 1);
	OK(predicted == plain + cf_side_memory(cf_dict_count(ratings->users), s.n_factors) +
	   cf_side_memory(cf_dict_count(ratings->items), s.n_factors), "one copy of the embeddings");

	test.host.peak = test.host.used;
	test.requests = 0;
	OK(train(&test.host, &s, ratings, &model, reports, 0, NULL) == CF_OK &&
	   test.host.peak - before == predicted, "takes the bytes that it says: %zu", predicted);
	cf_model_release(&model);
	total = test.requests;
	for (at = 1; at <= total; at++)
	{
		test.requests = 0;
		test.fail_at = at;
		good = good && train(&test.host, &s, ratings, &model, reports, 0, NULL) == CF_NO_MEMORY;
		cf_model_release(&model);
		good = good && test.host.used == before;
	}
	OK(good, "each of %ld requests that fails: CF_NO_MEMORY, and all is given back", total);
	test.fail_at = 0;

	test.polls = 0;
	(void) train(&test.host, &s, ratings, &model, reports, 0, NULL);
	cf_model_release(&model);
	total = test.polls;
	for (at = 1; at <= total; at++)
	{
		test.polls = 0;
		test.stop_at = at;
		good = good && train(&test.host, &s, ratings, &model, reports, 0, NULL) == CF_STOPPED &&
			test.polls == at;
		cf_model_release(&model);
	}
	OK(good, "each of %ld polls stops at once", total);
	cf_ratings_destroy(ratings);
	OK(test.blocks == 0, "all given back");
}

int
main(void)
{
	test_keep_best();
	test_last_is_best("one epoch", 1, 3e-2, 0.2);
	test_last_is_best("still falling", 3, 5e-4, 0.2);
	test_last_is_best("none held out", 12, 3e-2, 0);
	test_memory();
	return tap_done();
}
