/*
 * cf_schedule.c
 *	  Learning rate and momentum over a training.
 */
#include <math.h>

#include "cf_schedule.h"

/* Half a cosine from a (x = 0) to b (x = 1). */
static double
cosine_between(double a, double b, double x)
{
	return a + (b - a) * (1.0 - cos(3.14159265358979323846 * x)) / 2.0;
}

/* Before the peak: from "start" to "peak"; then from there to "end". */
static double
one_cycle(const cf_one_cycle *cycle, double x, double start, double peak, double end)
{
	if (x < cycle->pct_start)
		return cosine_between(start, peak, x / cycle->pct_start);
	if (cycle->pct_start >= 1.0)
		return peak;
	return cosine_between(peak, end, (x - cycle->pct_start) / (1.0 - cycle->pct_start));
}

double
cf_schedule_rate(const cf_schedule *schedule, double x)
{
	const cf_one_cycle *cycle = &schedule->cycle;
	const cf_sweep *sweep = &schedule->sweep;

	if (schedule->kind == CF_SCHEDULE_SWEEP)
		return sweep->start * pow(sweep->end / sweep->start, x);
	return one_cycle(cycle, x, cycle->lr_max / cycle->div_start, cycle->lr_max,
					 cycle->lr_max / cycle->div_final);
}

double
cf_schedule_momentum(const cf_schedule *schedule, double x)
{
	const cf_one_cycle *cycle = &schedule->cycle;

	if (schedule->kind == CF_SCHEDULE_SWEEP)
		return schedule->sweep.momentum;
	return one_cycle(cycle, x, cycle->mom_high, cycle->mom_low, cycle->mom_high);
}
