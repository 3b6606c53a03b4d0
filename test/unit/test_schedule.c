/* test_schedule.c: values worked out by hand. */
#include "tap.h"
#include "cf_schedule.h"

static const cf_schedule cycle = {.cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95}};

static void
check(double x, double rate, double momentum)
{
	OK(fabs(cf_schedule_rate(&cycle, x) - rate) < 1e-12, "rate at %g", x);
	OK(fabs(cf_schedule_momentum(&cycle, x) - momentum) < 1e-12, "momentum at %g", x);
}

int
main(void)
{
	cf_schedule edge = cycle;
	const cf_schedule sweep = {.kind = CF_SCHEDULE_SWEEP, .sweep = {1e-7, 10, 0.9}};

	check(0, 2e-4, 0.95);
	check(0.125, (2e-4 + 5e-3) / 2, 0.90);
	check(0.25, 5e-3, 0.85);
	check(0.625, (5e-3 + 5e-8) / 2, 0.90);
	check(0.0625, 2e-4 + 4.8e-3 * 0.14644660940672624, 0.95 - 0.1 * 0.14644660940672624);
	check(1, 5e-8, 0.95);
	edge.cycle.pct_start = 0;
	OK(cf_schedule_rate(&edge, 0) == 5e-3, "no rise");
	edge.cycle.pct_start = 1;
	OK(fabs(cf_schedule_rate(&edge, 0.5) - 2.6e-3) < 1e-12, "no fall");
	OK(isfinite(cf_schedule_rate(&edge, 1)), "no fall: the end is finite");
	OK(cf_schedule_rate(&sweep, 0) == 1e-7 && fabs(cf_schedule_rate(&sweep, 0.5) - 1e-3) < 1e-15 &&
	   fabs(cf_schedule_rate(&sweep, 0.75) - 0.1) < 1e-12, "a sweep goes in equal ratios");
	OK(cf_schedule_momentum(&sweep, 0.3) == 0.9, "under one momentum");
	return tap_done();
}
