/* test_topk.c: against a full sort, with ties and NaN. */
#include "tap.h"
#include "support.h"
#include "cf_topk.h"

static int
compare_scored(const void *a, const void *b)
{
	const cf_scored *x = a;
	const cf_scored *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static bool
agrees(size_t n, size_t k, unsigned distinct, uint64_t counter)
{
	cf_scored  *all = malloc((n + 1) * sizeof(cf_scored));
	cf_host		host;
	cf_topk		top;
	size_t		kept = 0;
	size_t		j;
	bool		same;

	cf_host_init(&host);
	cf_topk_create(&host, k, &top);
	for (j = 0; j < n; j++)
	{
		float		score = (float) (draw(&counter) % distinct) - 3.0f;

		if (draw(&counter) % 8 == 0)
			score = NAN;
		else
		{
			all[kept].score = score;
			all[kept++].row = (uint32_t) (n - j);
		}
		cf_topk_offer(&top, score, (uint32_t) (n - j));
	}
	qsort(all, kept, sizeof(cf_scored), compare_scored);
	cf_topk_sort(&top);
	same = top.n == (kept < k ? kept : k) &&
		(top.n == 0 || memcmp(top.heap, all, top.n * sizeof(cf_scored)) == 0);
	cf_topk_release(&host, &top);
	free(all);
	return same && host.used == 0;
}

int
main(void)
{
	static const size_t sizes[] = {0, 1, 2, 3, 10, 100, 1000};
	size_t		n,
				k;
	bool		good = true;

	for (n = 0; n < 7; n++)
		for (k = 0; k < 7; k++)
			good = good && agrees(sizes[n], sizes[k], 1u << (2 * k), n * 100 + k) &&
				agrees(sizes[n], sizes[k], 1, n);
	OK(good, "the k best of n, ties by row, no NaN");
	return tap_done();
}
