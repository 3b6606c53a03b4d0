/*
 * cf_lr_find.c
 *	  A learning-rate range test.
 */
#include <math.h>
#include <string.h>

#include "cf_lr_find.h"

#define SMOOTHING		0.98
#define MOMENTUM		0.9		/* fastai's Adam outside of one cycle */
#define DIVERGED		4.0		/* times the best loss */
#define LAST_LEFT_OUT	5
#define LEAST_POINTS	5		/* of a curve that says anything */
#define LEAST_FALL		0.01	/* of the loss, over the valley; less is noise */

/* The test's training, of which the model is thrown away. */
typedef struct range_test
{
	cf_model	model;
	cf_training *training;
} range_test;

static cf_status
begin_test(range_test *test, const cf_solver *solver, const cf_settings *settings,
		   cf_ratings *ratings, double start, double end, uint32_t n_steps)
{
	cf_settings sweep = *settings;

	sweep.n_steps = n_steps;
	sweep.schedule.kind = CF_SCHEDULE_SWEEP;
	sweep.schedule.sweep.start = start;
	sweep.schedule.sweep.end = end;
	sweep.schedule.sweep.momentum = MOMENTUM;
	cf_model_init(&test->model, ratings->host);
	return cf_training_begin(solver, &sweep, ratings, &test->model, NULL, NULL, NULL,
							 &test->training);
}

static void
end_test(range_test *test)
{
	cf_training_end(test->training);
	cf_model_release(&test->model);
}

static cf_status
run_steps(range_test *test, double start, double end, uint32_t n_steps, cf_lr_probe *probes,
		  uint32_t *n)
{
	double		mean = 0.0;
	double		weight = 1.0;	/* what the mean lacks for having begun at 0 */
	double		best = INFINITY;
	cf_status	status = CF_OK;

	for (*n = 0; *n < n_steps && status == CF_OK; (*n)++)
	{
		cf_lr_probe *probe = &probes[*n];

		probe->rate = start * pow(end / start, (double) *n / n_steps);
		status = cf_training_step(test->training, NULL, &probe->loss);
		if (status != CF_OK)
			break;
		mean = SMOOTHING * mean + (1.0 - SMOOTHING) * probe->loss;
		weight *= SMOOTHING;
		probe->smoothed = mean / (1.0 - weight);
		if (probe->smoothed < best)
			best = probe->smoothed;
		if (!(probe->smoothed <= DIVERGED * best))
		{
			(*n)++;
			break;
		}
	}
	return status;
}

/*
 * lengths[i]: of the longest falling subsequence of losses that ends at i.
 * *end is the first i of the greatest length.
 */
static cf_status
find_valley(cf_host *host, const double *losses, uint32_t n, uint32_t *lengths, uint32_t *end)
{
	uint32_t	i;
	uint32_t	j;

	*end = 0;
	for (i = 0; i < n; i++)
	{
		lengths[i] = 1;
		for (j = 0; j < i; j++)
			if (losses[i] < losses[j] && lengths[i] < lengths[j] + 1)
				lengths[i] = lengths[j] + 1;
		if (lengths[*end] < lengths[i])
			*end = i;
		if (cf_should_stop(host))
			return CF_STOPPED;
	}
	return CF_OK;
}

/*
 * As in fastai, the length is taken for a span back from the valley's end,
 * which may so begin one before the first point; half of the span is a third
 * and a sixth, each rounded down.  false: the curve hardly falls.
 */
static bool
point_in_valley(const double *losses, uint32_t end, uint32_t length, uint32_t *point)
{
	uint32_t	begin = end > length ? end - length : 0;
	uint32_t	ahead = end + length / 3 + length / 6;

	*point = ahead > length ? ahead - length : 0;
	return losses[begin] - losses[end] >= LEAST_FALL * losses[begin];
}

/* Smoothed losses up to the first that is no number; returns how many. */
static uint32_t
finite_losses(const cf_lr_probe *probes, uint32_t n, double *losses)
{
	uint32_t	kept;

	for (kept = 0; kept < n && isfinite(probes[kept].smoothed); kept++)
		losses[kept] = probes[kept].smoothed;
	return kept;
}

cf_status
cf_lr_valley(cf_host *host, const cf_lr_probe *probes, uint32_t n, uint32_t n_steps,
			 uint32_t *suggested)
{
	uint32_t	first = n_steps / 10;
	uint32_t	last = n > LAST_LEFT_OUT ? n - LAST_LEFT_OUT : 0;
	double	   *losses;
	uint32_t   *lengths;
	cf_status	status = CF_OK;

	*suggested = n;
	if (last <= first)
		return CF_OK;
	losses = cf_alloc(host, last - first, sizeof(double));
	lengths = losses == NULL ? NULL : cf_alloc(host, last - first, sizeof(uint32_t));
	if (lengths == NULL)
		status = host->failure;
	else
	{
		uint32_t	points = finite_losses(probes + first, last - first, losses);
		uint32_t	end;
		uint32_t	point;

		if (points >= LEAST_POINTS)
		{
			status = find_valley(host, losses, points, lengths, &end);
			if (status == CF_OK && point_in_valley(losses, end, lengths[end], &point))
				*suggested = first + point;
		}
	}
	cf_free(host, lengths);
	cf_free(host, losses);
	return status;
}

cf_status
cf_lr_find(const cf_solver *solver, const cf_settings *settings, cf_ratings *ratings,
		   double start, double end, uint32_t n_steps, cf_lr_probe *probes, uint32_t *n,
		   uint32_t *suggested)
{
	range_test	test;
	cf_status	status;

	*n = 0;
	*suggested = 0;
	status = begin_test(&test, solver, settings, ratings, start, end, n_steps);
	if (status != CF_OK)
		return status;
	status = run_steps(&test, start, end, n_steps, probes, n);
	end_test(&test);
	if (status == CF_OK)
		status = cf_lr_valley(ratings->host, probes, *n, n_steps, suggested);
	return status;
}
