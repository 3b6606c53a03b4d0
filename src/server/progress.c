/*
 * progress.c
 *	  What a training tells of its stages: a line for each when it has ended.
 */
#include "postgres.h"

#include "server/progress.h"

instr_time
StageBegin(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return now;
}

double
StageSeconds(instr_time began)
{
	instr_time	now = StageBegin();

	INSTR_TIME_SUBTRACT(now, began);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* Things a second, for people; a clock can stand still. */
static char *
Rate(size_t n, double seconds)
{
	double		rate = (double) n / Max(seconds, 1e-6);

	if (rate >= 1e6)
		return psprintf("%.1f million/s", rate / 1e6);
	return psprintf("%.0f/s", rate);
}

void
NoticeRead(const cf_ratings *ratings, double seconds)
{
	ereport(PROGRESS_LEVEL,
			(errmsg("read %zu ratings of %u items by %u users: %.2f s (%s)", ratings->n_rows,
					cf_dict_count(ratings->items), cf_dict_count(ratings->users), seconds,
					Rate(ratings->n_rows, seconds))));
}

void
NoticeSorted(const cf_ratings *ratings, double seconds)
{
	ereport(PROGRESS_LEVEL,
			(errmsg("sorted %zu ratings, %zu of them held out: %.2f s (%s)", ratings->n_rows,
					ratings->n_valid, seconds, Rate(ratings->n_rows, seconds))));
}

void
NoticeWritten(const cf_ratings *ratings, double seconds)
{
	size_t		n = (size_t) cf_dict_count(ratings->users) + cf_dict_count(ratings->items);

	ereport(PROGRESS_LEVEL,
			(errmsg("wrote %zu embeddings: %.2f s (%s)", n, seconds, Rate(n, seconds))));
}
