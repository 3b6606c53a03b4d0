/* test_schedule.c: values worked out by hand. */
#include "tap.h"
#include "cf_schedule.h"

static const cf_one_cycle cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95};

static void
check(double x, double rate, double momentum)
{
	OK(fabs(cf_one_cycle_rate(&cycle, x) - rate) < 1e-12, "rate at %g", x);
	OK(fabs(cf_one_cycle_momentum(&cycle, x) - momentum) < 1e-12, "momentum at %g", x);
}

int
main(void)
{
	cf_one_cycle edge = cycle;

	check(0, 2e-4, 0.95);
	check(0.125, (2e-4 + 5e-3) / 2, 0.90);
	check(0.25, 5e-3, 0.85);
	check(0.625, (5e-3 + 5e-8) / 2, 0.90);
	check(0.0625, 2e-4 + 4.8e-3 * 0.14644660940672624, 0.95 - 0.1 * 0.14644660940672624);
	check(1, 5e-8, 0.95);
	edge.pct_start = 0;
	OK(cf_one_cycle_rate(&edge, 0) == 5e-3, "no rise");
	edge.pct_start = 1;
	OK(fabs(cf_one_cycle_rate(&edge, 0.5) - 2.6e-3) < 1e-12, "no fall");
	OK(isfinite(cf_one_cycle_rate(&edge, 1)), "no fall: the end is finite");
	return tap_done();
}
