/*
 * cf_metrics.h
 *	  Measures of rankings, from the places at which relevant items stand.
 *
 * A user's ranking has "n_relevant" relevant items, of which places[0, n)
 * are those that were found: their places, from 1, rising.  A relevant item
 * that the ranking does not hold has no place.
 */
#ifndef CF_METRICS_H
#define CF_METRICS_H

#include <stddef.h>
#include <stdint.h>

typedef struct cf_ranking_scores
{
	double		precision;		/* hits in the first k / k */
	double		recall;			/* hits in the first k / n_relevant */
	double		ndcg;			/* sum of 1 / log2(1 + place) of the hits in the
								 * first k / the same if all stood in front */
	double		average_precision;	/* mean over min(k, n_relevant) of the
									 * precision at each hit in the first k */
	double		reciprocal_rank;	/* 1 / first place, at any depth; 0: none */
} cf_ranking_scores;

/* k >= 1 and n_relevant >= 1. */
extern cf_ranking_scores cf_ranking_measure(const uint64_t *places, size_t n,
											size_t n_relevant, size_t k);

#endif							/* CF_METRICS_H */
