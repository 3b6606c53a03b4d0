/*
 * cf_interval.c
 *	  How uncertain a prediction is.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cf_gram.h"
#include "cf_interval.h"

#define LEAST_RATINGS	100		/* to calibrate by */
#define MOST_RATINGS	((size_t) 1 << 18)
#define ROWS_AT_ONCE	1024	/* between two polls */
#define ONE_DEVIATION	0.682689492137086

/*
 * Acklam's rational approximation, whose relative error is below 1.2e-9.
 */
static double
central_quantile(double p)
{
	static const double a[6] = {-3.969683028665376e+01, 2.209460984245205e+02,
		-2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01,
	2.506628277459239e+00};
	static const double b[5] = {-5.447609879822406e+01, 1.615858368580409e+02,
	-1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01};
	double		q = p - 0.5;
	double		r = q * q;

	return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
		(((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1.0);
}

/* For small p. */
static double
lower_quantile(double p)
{
	static const double c[6] = {-7.784894002430293e-03, -3.223964580411365e-01,
		-2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00,
	2.938163982698783e+00};
	static const double d[4] = {7.784695709041462e-03, 3.224671290700398e-01,
	2.445134137142996e+00, 3.754408661907416e+00};
	double		q = sqrt(-2.0 * log(p));

	return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
		((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1.0);
}

double
cf_normal_quantile(double p)
{
	const double tail = 0.02425;

	if (p < tail)
		return lower_quantile(p);
	if (p > 1.0 - tail)
		return -lower_quantile(1.0 - p);
	return central_quantile(p);
}

/* ---------- cold sides ---------- */

/* L^-1 x, in place, for the Cholesky factor of a precision: its length is x' covariance x. */
static double
variance_under(const double *l, size_t d, size_t stride, double *x)
{
	double		sum = 0.0;
	size_t		i;
	size_t		j;

	for (j = 0; j < d; j++)
	{
		x[j] /= l[j * stride + j];
		sum += x[j] * x[j];
		for (i = j + 1; i < d; i++)
			x[i] -= x[j] * l[j * stride + i];
	}
	return sum;
}

/* A cold side's prior as a Cholesky factor, and room for a vector behind it. */
static cf_status
factor_prior(const cf_side *side, cf_host *host, double **l)
{
	const size_t d = (size_t) side->n_factors + 1;
	const size_t stride = cf_solve_stride(d);
	size_t		j;

	*l = cf_alloc_zero(host, d + 1, stride * sizeof(double));
	if (*l == NULL)
		return host->failure;
	for (j = 0; j < d; j++)
		memcpy(*l + j * stride, side->prior.precision + j * d, d * sizeof(double));
	return cf_gram_best()->factor(*l, d, d, stride) ? CF_OK : CF_NOT_FINITE;
}

/* Variance of the logit with a row of the other side: its factors, and 1 for the bias. */
static double
prior_variance(const cf_side *cold, double *l, const float *row)
{
	const size_t d = (size_t) cold->n_factors + 1;
	const size_t stride = cf_solve_stride(d);
	double	   *x = l + d * stride;
	size_t		f;

	for (f = 0; f + 1 < d; f++)
		x[f] = row[f];
	x[f] = 1.0;
	return variance_under(l, d, stride, x);
}

/* ---------- variances ---------- */

/* Draw number s of a row, or its prior's mean when it is cold. */
static const float *
draw_of(const cf_side *side, uint32_t row, uint32_t s)
{
	if (cf_side_is_cold(side, row))
		return side->prior.row;
	return cf_side_draws(side, row) + (size_t) s * (side->n_factors + 1);
}

/* Of the logit, as far as the draws differ. */
static double
draws_variance(const cf_model *model, uint32_t user, uint32_t item)
{
	const uint32_t k = model->users.n_factors;
	const uint32_t n = model->users.n_draws;
	double		mean = 0.0;
	double		squares = 0.0;
	uint32_t	s;

	for (s = 0; s < n; s++)
	{
		const float *p = draw_of(&model->users, user, s);
		const float *q = draw_of(&model->items, item, s);
		double		logit = model->kernels->dot(p, q, k) + p[k] + q[k];
		double		off = logit - mean;

		mean += off / (s + 1);
		squares += off * (logit - mean);
	}
	return n > 1 ? squares / (n - 1) : 0.0;
}

/*
 * What a cold side adds, for the mean of the other's draws.  Where both are
 * cold the other one's variance in this one's directions is left out but for
 * its mean: it is of second order.
 */
static cf_status
cold_variance(const cf_side *cold, cf_host *host, const cf_side *other, uint32_t row,
			  double *variance)
{
	double	   *l;
	uint32_t	n = cf_side_is_cold(other, row) ? 1 : other->n_draws;
	uint32_t	s;
	cf_status	status = factor_prior(cold, host, &l);

	for (s = 0; status == CF_OK && s < n; s++)
		*variance += prior_variance(cold, l, draw_of(other, row, s)) / n;
	cf_free(host, l);
	return status;
}

static double
noise_of(const cf_model *model, uint32_t user)
{
	const cf_side *users = &model->users;

	if (cf_side_is_cold(users, user))
		return model->noise;
	return cf_side_draws(users, user)[cf_draws_width(users) - 1];
}

/* Not calibrated. */
static cf_status
deviation_of(const cf_model *model, cf_host *host, uint32_t user, uint32_t item, double *deviation)
{
	double		variance = noise_of(model, user) + draws_variance(model, user, item);
	cf_status	status = CF_OK;

	if (cf_side_is_cold(&model->users, user))
		status = cold_variance(&model->users, host, &model->items, item, &variance);
	if (status == CF_OK && cf_side_is_cold(&model->items, item))
		status = cold_variance(&model->items, host, &model->users, user, &variance);
	*deviation = sqrt(variance);
	return status;
}

/* Between the levels that there is a factor for, in a straight line. */
static double
factor_at(const cf_model *model, double level)
{
	double		place = level * (CF_CALIBRATION + 1) - 1.0;
	int			below;

	if (place <= 0.0)
		return model->calibration[0];
	if (place >= CF_CALIBRATION - 1)
		return model->calibration[CF_CALIBRATION - 1];
	below = (int) place;
	return model->calibration[below] +
		(place - below) * ((double) model->calibration[below + 1] - model->calibration[below]);
}

static float
within_range(const cf_model *model, double rating)
{
	return (float) (rating < model->low ? model->low : rating > model->high ? model->high : rating);
}

cf_status
cf_interval_predict(const cf_model *model, cf_host *host, uint32_t user, uint32_t item,
					double level, cf_interval *interval)
{
	double		reach = cf_normal_quantile(0.5 + level / 2.0) * factor_at(model, level);
	double		deviation;
	cf_status	status = deviation_of(model, host, user, item, &deviation);

	if (status != CF_OK)
		return status;
	interval->estimate = cf_model_predict(model, user, item);
	interval->lower = within_range(model, interval->estimate - reach * deviation);
	interval->upper = within_range(model, interval->estimate + reach * deviation);
	interval->sd = (float) (factor_at(model, ONE_DEVIATION) * deviation);
	return CF_OK;
}

/* ---------- calibration ---------- */

static void
sink(float *heap, size_t n, size_t at)
{
	float		value = heap[at];
	size_t		child;

	while ((child = 2 * at + 1) < n)
	{
		if (child + 1 < n && heap[child + 1] > heap[child])
			child++;
		if (heap[child] <= value)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = value;
}

static void
sort(float *values, size_t n)
{
	size_t		at;

	for (at = n / 2; at > 0; at--)
		sink(values, n, at - 1);
	for (at = n; at > 1; at--)
	{
		float		greatest = values[0];

		values[0] = values[at - 1];
		values[at - 1] = greatest;
		sink(values, at - 1, 0);
	}
}

/* Errors in deviations, of ratings spread evenly over all; how many. */
static cf_status
measure_errors(const cf_model *model, cf_host *host, const cf_rating *rows, size_t n,
			   size_t n_taken, float *errors, size_t *count)
{
	size_t		j;

	*count = 0;
	for (j = 0; j < n_taken; j++)
	{
		const cf_rating *rating = &rows[(size_t) ((double) n * (double) j / (double) n_taken)];
		double		deviation;
		cf_status	status;

		if (cf_side_is_cold(&model->users, rating->user) ||
			cf_side_is_cold(&model->items, rating->item))
			continue;
		status = deviation_of(model, host, rating->user, rating->item, &deviation);
		if (status != CF_OK)
			return status;
		if (deviation > 0.0)
			errors[(*count)++] = (float) (fabs(cf_model_predict(model, rating->user, rating->item) -
											   (double) rating->value) / deviation);
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(host))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_interval_calibrate(cf_model *model, cf_host *host, const cf_rating *rows, size_t n)
{
	size_t		n_taken = n < MOST_RATINGS ? n : MOST_RATINGS;
	size_t		count;
	float	   *errors;
	cf_status	status;
	int			j;

	if (n < LEAST_RATINGS)
		return CF_OK;
	errors = cf_alloc(host, n_taken, sizeof(float));
	if (errors == NULL)
		return host->failure;
	status = measure_errors(model, host, rows, n, n_taken, errors, &count);
	if (status == CF_OK && count >= LEAST_RATINGS)
	{
		sort(errors, count);
		for (j = 0; j < CF_CALIBRATION; j++)
		{
			double		level = (j + 1.0) / (CF_CALIBRATION + 1.0);
			float		error = errors[(size_t) (level * (double) count)];

			model->calibration[j] = (float) (error / cf_normal_quantile(0.5 + level / 2.0));
		}
	}
	cf_free(host, errors);
	return status;
}

size_t
cf_interval_memory(void)
{
	return cf_block_memory(MOST_RATINGS, sizeof(float));
}
