/*
 * cf_schedule.h
 *	  Learning rate and momentum over a training.
 *
 * One cycle.  Smith: "A disciplined approach to neural network
 * hyper-parameters", 2018, in the form of fastai's fit_one_cycle.  With
 * x = step / steps: the rate rises on a cosine from lr_max / div_start to
 * lr_max over the first pct_start of the steps, then falls on a cosine to
 * lr_max / div_final; the momentum goes the other way, mom_high to mom_low
 * and back.
 *
 * Sweep.  For a learning-rate range test (Smith: "Cyclical Learning Rates",
 * 2017): the rate goes from start to end in equal ratios,
 * start (end / start)^x, under a constant momentum.
 */
#ifndef CF_SCHEDULE_H
#define CF_SCHEDULE_H

typedef enum cf_schedule_kind
{
	CF_SCHEDULE_ONE_CYCLE = 0,
	CF_SCHEDULE_SWEEP
} cf_schedule_kind;

typedef struct cf_one_cycle
{
	double		lr_max;
	double		pct_start;		/* in [0, 1] */
	double		div_start;		/* > 0 */
	double		div_final;		/* > 0 */
	double		mom_low;		/* in [0, 1) */
	double		mom_high;
} cf_one_cycle;

typedef struct cf_sweep
{
	double		start;			/* > 0 */
	double		end;
	double		momentum;		/* in [0, 1) */
} cf_sweep;

typedef struct cf_schedule
{
	cf_schedule_kind kind;
	cf_one_cycle cycle;			/* the one of its kind counts */
	cf_sweep	sweep;
} cf_schedule;

/* Learning rate and momentum at x in [0, 1). */
extern double cf_schedule_rate(const cf_schedule *schedule, double x);
extern double cf_schedule_momentum(const cf_schedule *schedule, double x);

#endif							/* CF_SCHEDULE_H */
