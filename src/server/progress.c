/*
 * progress.c
 *	  What a training tells of its stages: a line for each when it has ended.
 */
#include "postgres.h"

#include <math.h>

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

/* Seconds, for people. */
static char *
Duration(double seconds)
{
	if (seconds >= 5400)
		return psprintf("%.1f h", seconds / 3600);
	if (seconds >= 90)
		return psprintf("%.0f min", seconds / 60);
	return psprintf(seconds >= 10 ? "%.0f s" : "%.1f s", seconds);
}

void
NoticeEpoch(const cf_epoch *report, uint32 n_epochs, size_t n_train, double seconds)
{
	uint32		done = report->epoch + 1;
	char	   *valid = isnan(report->valid_loss) ? "" :
		psprintf(", valid loss %.4f", report->valid_loss);
	char	   *left = done == n_epochs ? "" :
		psprintf(", %s left", Duration(seconds * (n_epochs - done)));

	ereport(PROGRESS_LEVEL,
			(errmsg("epoch %u of %u: train loss %.4f%s, %.2f s (%s)%s", done, n_epochs,
					report->train_loss, valid, seconds, Rate(n_train, seconds), left)));
}

void
NoticeWritten(const cf_ratings *ratings, double seconds)
{
	size_t		n = (size_t) cf_dict_count(ratings->users) + cf_dict_count(ratings->items);

	ereport(PROGRESS_LEVEL,
			(errmsg("wrote %zu embeddings: %.2f s (%s)", n, seconds, Rate(n, seconds))));
}
