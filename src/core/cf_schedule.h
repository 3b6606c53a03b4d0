/*
 * cf_schedule.h
 *	  The one-cycle schedule of learning rate and momentum.
 *
 * Smith: "A disciplined approach to neural network hyper-parameters", 2018,
 * in the form of fastai's fit_one_cycle.  With x = step / steps: the rate
 * rises on a cosine from lr_max / div_start to lr_max over the first
 * pct_start of the steps, then falls on a cosine to lr_max / div_final; the
 * momentum goes the other way, mom_high to mom_low and back.
 */
#ifndef CF_SCHEDULE_H
#define CF_SCHEDULE_H

typedef struct cf_one_cycle
{
	double		lr_max;
	double		pct_start;		/* in [0, 1] */
	double		div_start;		/* > 0 */
	double		div_final;		/* > 0 */
	double		mom_low;		/* in [0, 1) */
	double		mom_high;
} cf_one_cycle;

/* Learning rate and momentum at x in [0, 1). */
extern double cf_one_cycle_rate(const cf_one_cycle *cycle, double x);
extern double cf_one_cycle_momentum(const cf_one_cycle *cycle, double x);

#endif							/* CF_SCHEDULE_H */
