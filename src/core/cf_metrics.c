/*
 * cf_metrics.c
 *	  Measures of rankings, from the places at which relevant items stand.
 */
#include <math.h>

#include "cf_metrics.h"

/* Up to its base, which cancels out, what a hit at this place gains. */
static double
gain(double place)
{
	return 1.0 / log(1.0 + place);
}

cf_ranking_scores
cf_ranking_measure(const uint64_t *places, size_t n, size_t n_relevant, size_t k)
{
	size_t		n_best = k < n_relevant ? k : n_relevant;	/* hits there can be */
	cf_ranking_scores scores;
	double		gained = 0.0;
	double		gained_best = 0.0;
	double		precisions = 0.0;
	size_t		hits;
	size_t		j;

	for (hits = 0; hits < n && places[hits] <= k; hits++)
	{
		gained += gain((double) places[hits]);
		precisions += (double) (hits + 1) / (double) places[hits];
	}
	for (j = 1; j <= n_best; j++)
		gained_best += gain((double) j);

	scores.precision = (double) hits / (double) k;
	scores.recall = (double) hits / (double) n_relevant;
	scores.ndcg = gained / gained_best;
	scores.average_precision = precisions / (double) n_best;
	scores.reciprocal_rank = n > 0 ? 1.0 / (double) places[0] : 0.0;
	return scores;
}
