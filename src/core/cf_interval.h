/*
 * cf_interval.h
 *	  How uncertain a prediction is, for a model that has draws of its
 *	  posterior.
 *
 * A rating is taken to be normal around the prediction.  Its variance is that
 * of the predictions of the draws, which is what is not known of user and
 * item, plus the noise of a rating, which is the user's own.  A side that is
 * cold stands for any row of its prior.
 *
 * An interval reaches as many deviations to either side as hold the level in
 * a normal distribution, times a factor that depends on the level:
 * model->calibration, for levels of 1/25, 2/25, ...  It is 1 unless
 * cf_interval_calibrate() has found what held-out ratings ask for.
 */
#ifndef CF_INTERVAL_H
#define CF_INTERVAL_H

#include "cf_model.h"

typedef struct cf_interval
{
	float		lower;
	float		estimate;		/* as cf_model_predict() */
	float		upper;
	float		sd;				/* calibrated for the level of one deviation */
} cf_interval;

/* "level" within (0, 1); the model has draws.  Lower and upper are kept in its range. */
extern cf_status cf_interval_predict(const cf_model *model, cf_host *host, uint32_t user,
									 uint32_t item, double level, cf_interval *interval);

/*
 * Set the calibration by ratings that the model has not seen; with less than
 * a hundred of warm users and items it stays 1.
 */
extern cf_status cf_interval_calibrate(cf_model *model, cf_host *host, const cf_rating *rows,
									   size_t n);

/* Bytes that calibrating takes, at the most. */
extern size_t cf_interval_memory(void);

/* The normal distribution's quantile for 0 < p < 1, to nine digits. */
extern double cf_normal_quantile(double p);

#endif							/* CF_INTERVAL_H */
