/* test_model.c: the ladder, settling, sides. */
#include "tap.h"
#include "support.h"
#include "cf_model.h"

static float
squash(float low, float high, float logit)
{
	return (float) (low + (high - low) / (1 + exp(-(double) logit)));
}

/* Users 0 and items 0 are warm, 1 cold; logits are easy to work out. */
static void
make_model(cf_model *model, cf_host *host, bool use_bias, bool use_range)
{
	cf_model_init(model, host);
	cf_side_create(&model->users, host, 2, 3);
	cf_side_create(&model->items, host, 2, 3);
	model->use_bias = use_bias;
	model->link = use_range ? CF_LINK_SIGMOID : CF_LINK_NONE;
	model->low = 1;
	model->high = 5;
	model->mean_rating = 3.25;
	model->users.n_ratings[0] = 1;
	model->items.n_ratings[0] = 1;
	memcpy(cf_side_row(&model->users, 0), (float[]) {1, 2, 3, 0.5f}, 16);
	memcpy(cf_side_row(&model->items, 0), (float[]) {1, -1, 0.5f, 0.25f}, 16);
	if (!use_bias)
		cf_side_row(&model->users, 0)[3] = cf_side_row(&model->items, 0)[3] = 0;
	cf_model_settle(model);
}

static void
check_ladder(bool use_bias, bool use_range)
{
	static const uint32_t rows[] = {0, 1, CF_NO_ROW};
	cf_model	model;
	cf_host		host;
	bool		good = true;
	int			u,
				i;

	cf_host_init(&host);
	make_model(&model, &host, use_bias, use_range);
	for (u = 0; u < 3; u++)
		for (i = 0; i < 3; i++)
		{
			float		logit = (u == 0 && i == 0 ? 0.5f : 0.0f) + (use_bias ? 0.75f : 0.0f);
			float		wanted = use_range ? squash(1, 5, logit) : logit;
			float		got = cf_model_predict(&model, rows[u], rows[i]);

			if ((u > 0 && i > 0) || (!use_bias && (u > 0 || i > 0)))
				good = good && got == 3.25f;
			else
				good = good && fabsf(got - wanted) < 1e-6f;
		}
	OK(good, "ladder, bias %d, range %d", use_bias, use_range);
	cf_model_release(&model);
	OK(host.used == 0, "all given back");
}

static void
test_extremes(void)
{
	static const float logits[] = {-1000, 1000, -INFINITY, INFINITY, 0, 88.8f, -88.8f, 104, -104};
	static const float ranges[][2] = {{1, 5}, {-3e38f, 3e38f}, {0.1f, 0.7f}, {0, 1e-40f}};
	cf_model	model;
	cf_host		host;
	bool		good = true;
	size_t		r,
				j;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	model.link = CF_LINK_SIGMOID;
	for (r = 0; r < 4; r++)
	{
		model.low = ranges[r][0];
		model.high = ranges[r][1];
		for (j = 0; j < sizeof(logits) / sizeof(logits[0]); j++)
		{
			float		rating = cf_model_rating(&model, logits[j]);

			good = good && rating >= model.low && rating <= model.high;
		}
		good = good && cf_model_rating(&model, 1000) == model.high && cf_model_rating(&model, -1000) == model.low;
	}
	OK(good, "ratings stay within the range");
	model.link = CF_LINK_NONE;
	OK(cf_model_rating(&model, 1000) == 1000, "without a range the logit is the rating");
}

static void
test_settling(void)
{
	cf_model	model;
	cf_host		host;
	double		loss;
	cf_rating	rows[2] = {{0, 0, 4}, {1, 1, 3}};
	float		p;

	cf_host_init(&host);
	make_model(&model, &host, true, true);
	cf_side_append(&model.users, &host);
	OK(model.users.n_rows == 3 && model.users.n_ratings[2] == 0 &&
	   cf_side_row(&model.users, 2)[0] == 0 && cf_side_row(&model.users, 0)[2] == 3, "append");
	model.users.n_ratings[2] = 3;
	cf_side_row(&model.users, 2)[3] = -0.5f;
	cf_side_row(&model.users, 1)[0] = 9;
	cf_model_settle(&model);
	OK(fabs(model.users.mean_bias - (0.5 - 1.5) / 4) < 1e-12, "mean bias is weighted");
	OK(cf_side_bias(&model.users, 1) == -0.25f && cf_side_row(&model.users, 1)[0] == 0, "cold rows");
	p = cf_model_predict(&model, 0, 0);
	OK(cf_model_loss(&model, rows, 2, &loss) == CF_OK &&
	   fabs(loss - ((p - 4.0) * (p - 4.0) + 0.0625) / 2) < 1e-6, "loss");
	OK(cf_model_loss(&model, rows, 0, &loss) == CF_OK && isnan(loss), "loss of nothing");
	cf_model_release(&model);
}

static void
test_permuting(void)
{
	enum {N = 1000};
	cf_side		side;
	cf_host		host;
	uint32_t	rank[N],
				used[N];
	uint64_t	counter = 1;
	bool		good = true;
	uint32_t	j;

	cf_host_init(&host);
	cf_side_begin(&side, 2);
	for (j = 0; j < N; j++)
	{
		uint32_t	other = (uint32_t) (draw(&counter) % (j + 1));

		rank[j] = rank[other];
		rank[other] = j;
		good = good && cf_side_append(&side, &host) == CF_OK;
		cf_side_row(&side, j)[1] = (float) j;
		side.n_ratings[j] = j;
	}
	memcpy(used, rank, sizeof(rank));
	cf_side_permute(&side, used);
	for (j = 0; j < N; j++)
		good = good && cf_side_row(&side, rank[j])[1] == (float) j && side.n_ratings[rank[j]] == j;
	OK(good, "permute");
	cf_free(&host, side.rows);
	cf_free(&host, side.n_ratings);
}

static void
test_start(void)
{
	cf_model	model;
	cf_host		host;
	float		first[3];

	cf_host_init(&host);
	make_model(&model, &host, true, true);
	start_alone(&model, 42, 0.01f);
	memcpy(first, cf_side_row(&model.users, 0), sizeof(first));
	OK(fabsf(first[0]) < 0.02f && cf_side_bias(&model.users, 0) != 0.5f, "start");
	OK(cf_side_row(&model.users, 1)[0] == 0, "cold rows stay zero");
	OK(memcmp(first, cf_side_row(&model.items, 0), sizeof(first)) != 0, "users and items differ");
	model.use_bias = false;
	cf_side_row(&model.users, 0)[3] = 0;
	start_alone(&model, 42, 0.01f);
	OK(cf_side_bias(&model.users, 0) == 0 &&
	   memcmp(first, cf_side_row(&model.users, 0), sizeof(first)) == 0, "no bias, same factors");
	cf_model_release(&model);
	OK(cf_side_memory(1000000, 50) < (size_t) (1.2 * 1000000 * 51 * 4), "memory of a side");
	OK(cf_packed_stride(50) == 52 && cf_packed_stride(51) == 52 && cf_stride(50) == 56, "rows that are only read take less");
}

int
main(void)
{
	int			j;

	for (j = 0; j < 4; j++)
		check_ladder(j & 1, j & 2);
	test_extremes();
	test_settling();
	test_permuting();
	test_start();
	return tap_done();
}
