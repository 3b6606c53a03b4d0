/*
 * cf_topk.c
 *	  The k best of many scores: a bounded heap.
 */
#include "cf_topk.h"

cf_status
cf_topk_create(cf_host *host, size_t k, cf_topk *top)
{
	top->k = k;
	top->n = 0;
	top->heap = cf_alloc(host, k, sizeof(cf_scored));
	return top->heap == NULL ? host->failure : CF_OK;
}

void
cf_topk_release(cf_host *host, cf_topk *top)
{
	cf_free(host, top->heap);
	top->heap = NULL;
	top->k = 0;
	top->n = 0;
}

static bool
is_better(cf_scored a, cf_scored b)
{
	return a.score > b.score || (a.score == b.score && a.row < b.row);
}

static void
sift_up(cf_scored *heap, size_t at)
{
	cf_scored	entry = heap[at];

	while (at > 0)
	{
		size_t		parent = (at - 1) / 2;

		if (!is_better(heap[parent], entry))
			break;
		heap[at] = heap[parent];
		at = parent;
	}
	heap[at] = entry;
}

/* Put "entry" at the root of heap[0, n) and let it sink. */
static void
sink(cf_scored *heap, size_t n, cf_scored entry)
{
	size_t		at = 0;
	size_t		child;

	while ((child = 2 * at + 1) < n)
	{
		if (child + 1 < n && is_better(heap[child], heap[child + 1]))
			child++;
		if (!is_better(entry, heap[child]))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = entry;
}

void
cf_topk_offer(cf_topk *top, float score, uint32_t row)
{
	cf_scored	entry;

	if (score != score)
		return;
	entry.score = score;
	entry.row = row;
	if (top->n < top->k)
	{
		top->heap[top->n] = entry;
		sift_up(top->heap, top->n++);
	}
	else if (top->k > 0 && is_better(entry, top->heap[0]))
		sink(top->heap, top->n, entry);
}

void
cf_topk_sort(cf_topk *top)
{
	size_t		left;

	/* The root is the worst of what is left: it goes last. */
	for (left = top->n; left > 1; left--)
	{
		cf_scored	worst = top->heap[0];

		sink(top->heap, left - 1, top->heap[left - 1]);
		top->heap[left - 1] = worst;
	}
}
