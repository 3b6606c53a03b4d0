/*
 * cf_topk.h
 *	  The k best of many scores, in memory that depends on k alone.
 *
 * A bounded heap whose root is the worst entry kept.  Higher scores are
 * better; of equal scores the lower row is, so with rows in key order ties
 * fall by key.
 */
#ifndef CF_TOPK_H
#define CF_TOPK_H

#include "cf_host.h"

typedef struct cf_scored
{
	float		score;
	uint32_t	row;
} cf_scored;

typedef struct cf_topk
{
	size_t		k;
	size_t		n;				/* entries held, at most k */
	cf_scored  *heap;
} cf_topk;

extern cf_status cf_topk_create(cf_host *host, size_t k, cf_topk *top);
extern void cf_topk_release(cf_host *host, cf_topk *top);

/* Offer an entry; a NaN is never kept. */
extern void cf_topk_offer(cf_topk *top, float score, uint32_t row);

/* Put heap[0, n) best first.  The heap is used up: no offers after this. */
extern void cf_topk_sort(cf_topk *top);

#endif							/* CF_TOPK_H */
