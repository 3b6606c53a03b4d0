/* test_metrics.c: measures of rankings. */
#include "tap.h"
#include "support.h"
#include "cf_metrics.h"

static bool
is_near(double got, double wanted)
{
	return fabs(got - wanted) < 1e-14;
}

static bool
same_scores(cf_ranking_scores got, cf_ranking_scores wanted)
{
	return is_near(got.precision, wanted.precision) && is_near(got.recall, wanted.recall) &&
		is_near(got.ndcg, wanted.ndcg) && is_near(got.average_precision, wanted.average_precision) &&
		is_near(got.reciprocal_rank, wanted.reciprocal_rank);
}

static void
test_by_hand(void)
{
	static const uint64_t three[] = {1, 3, 7};
	static const uint64_t front[] = {1, 2, 3};
	static const uint64_t late[] = {11};
	static const uint64_t at_k[] = {5};
	static const uint64_t far[] = {UINT64_C(1) << 40};
	double		log3 = log(3.0) / log(2.0);

	OK(same_scores(cf_ranking_measure(three, 3, 4, 5),
				   (cf_ranking_scores) {2 / 5.0, 2 / 4.0,
									   (1 + 1 / 2.0) / (1 + 1 / log3 + 1 / 2.0 + log(2.0) / log(5.0)),
									   (1 + 2 / 3.0) / 4, 1}),
	   "hits at 1 and 3, one at 7, one missing, of the first 5");
	OK(same_scores(cf_ranking_measure(three, 3, 4, 2),
				   (cf_ranking_scores) {1 / 2.0, 1 / 4.0, 1 / (1 + 1 / log3), 1 / 2.0, 1}),
	   "the same of the first 2: no more than 2 can be hit");
	OK(same_scores(cf_ranking_measure(front, 3, 3, 3), (cf_ranking_scores) {1, 1, 1, 1, 1}),
	   "all in front");
	OK(same_scores(cf_ranking_measure(front, 3, 3, 10), (cf_ranking_scores) {0.3, 1, 1, 1, 1}),
	   "all in front, fewer than k");
	OK(same_scores(cf_ranking_measure(front, 3, 3, 1), (cf_ranking_scores) {1, 1 / 3.0, 1, 1, 1}),
	   "all in front, more than k");
	OK(same_scores(cf_ranking_measure(late, 1, 1, 10), (cf_ranking_scores) {0, 0, 0, 0, 1 / 11.0}),
	   "one behind the first k: only the reciprocal rank sees it");
	OK(same_scores(cf_ranking_measure(at_k, 1, 1, 5),
				   (cf_ranking_scores) {0.2, 1, log(2.0) / log(6.0), 0.2, 0.2}), "one at place k");
	OK(same_scores(cf_ranking_measure(NULL, 0, 7, 10), (cf_ranking_scores) {0, 0, 0, 0, 0}),
	   "none found");
	OK(same_scores(cf_ranking_measure(far, 1, 1, SIZE_MAX),
				   (cf_ranking_scores) {1 / (double) SIZE_MAX, 1,
									   log(2.0) / log(1.0 + 0x1p40), 0x1p-40, 0x1p-40}),
	   "far places and k");
	OK(cf_ranking_measure(front, 3, 3, 3).ndcg == 1.0 && cf_ranking_measure(front, 3, 3, 10).ndcg == 1.0,
	   "a perfect ranking has 1 exactly");
}

/* By the definitions, place by place. */
static cf_ranking_scores
naive(const bool *relevant, size_t n, size_t n_relevant, size_t k)
{
	cf_ranking_scores scores = {0, 0, 0, 0, 0};
	double		best = 0;
	size_t		possible = n_relevant < k ? n_relevant : k;
	size_t		hits = 0;
	size_t		place;

	for (place = 1; place <= n; place++)
	{
		if (!relevant[place - 1])
			continue;
		hits++;
		if (scores.reciprocal_rank == 0)
			scores.reciprocal_rank = 1 / (double) place;
		if (place > k)
			continue;
		scores.precision += 1 / (double) k;
		scores.recall += 1 / (double) n_relevant;
		scores.ndcg += 1 / log2((double) place + 1);
		scores.average_precision += (double) hits / (double) place / (double) possible;
	}
	for (place = 1; place <= possible; place++)
		best += 1 / log2((double) place + 1);
	scores.ndcg /= best;
	return scores;
}

static void
test_at_random(void)
{
	enum {RANKINGS = 2000, LONGEST = 60};
	uint64_t	counter = 1;
	bool		good = true;
	bool		within = true;
	int			i;

	for (i = 0; i < RANKINGS; i++)
	{
		bool		relevant[LONGEST];
		uint64_t	places[LONGEST];
		size_t		length = draw(&counter) % LONGEST;
		double		part = draw_unit(&counter);
		size_t		k = 1 + draw(&counter) % 70;
		size_t		missing = draw(&counter) % 4;
		size_t		n = 0;
		size_t		j;
		cf_ranking_scores got;

		for (j = 0; j < length; j++)
			if ((relevant[j] = draw_unit(&counter) < part))
				places[n++] = j + 1;
		if (n + missing == 0)
			missing = 1;
		got = cf_ranking_measure(places, n, n + missing, k);
		good = good && same_scores(got, naive(relevant, length, n + missing, k));
		within = within && got.ndcg >= 0 && got.ndcg <= 1 && got.average_precision >= 0 &&
			got.average_precision <= 1;
	}
	OK(good, "%d random rankings, as by the definitions", RANKINGS);
	OK(within, "never outside 0 to 1");
}

int
main(void)
{
	test_by_hand();
	test_at_random();
	return tap_done();
}
