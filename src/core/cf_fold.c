/*
 * cf_fold.c
 *	  Folding in: the embedding of a new user (or item) from some ratings.
 *
 * The unknown is e, how many deviations of the prior each number of the
 * embedding is from its mean: x = mean + s e.  Then the ridge is noise |e|^2
 * and all unknowns are of one scale, which conjugate gradients like; and a
 * variance of zero needs no infinite ridge, for it keeps x at the mean.
 *
 * A Gauss-Newton step d solves (s Z' W^2 Z s + noise) d = -gradient, where
 * the rows of Z are the fixed embeddings with a 1 for the bias, and W is how
 * steep the range is at each rating.  The matrix is never formed: a product
 * with it is one pass over the ratings, and few are needed.  Logits are kept
 * as sums and moved along with the step, so that the line search does not
 * look at the embeddings again.
 *
 * No pass goes on for long without a poll, whatever the number of ratings.
 */
#include <math.h>
#include <string.h>

#include "cf_bayes.h"
#include "cf_fold.h"

#define MAX_STEPS		50
#define MAX_HALVINGS	30
#define SLOPE_SHARE		1e-4	/* of the decrease that the slope promises */
#define LEAST_GAIN		1e-9	/* of the objective; a step that gains less is the last */
#define LOOSE			0.1		/* residual of conjugate gradients, as part of the gradient */
#define TIGHT			1e-5
#define FLOATS_AT_ONCE	((size_t) 1 << 20)	/* between two polls */

typedef struct fold
{
	const cf_model *model;
	cf_host    *host;
	const cf_side *fixed;
	const cf_prior *prior;
	const uint32_t *rows;		/* [n] */
	const float *values;
	size_t		n;
	size_t		k;				/* factors */
	size_t		width;			/* unknowns: the factors, then the bias */
	size_t		at_once;		/* ratings between two polls */

	/* One number for each unknown. */
	float	   *scale;			/* s */
	float	   *e;
	float	   *gradient;		/* half of it, downhill */
	float	   *step;
	float	   *residual;
	float	   *direction;
	float	   *product;
	float	   *scaled;			/* s times what is multiplied */

	/* One for each rating. */
	float	   *logits;
	float	   *moves;			/* of the logits, by the step */
	float	   *steepness;
	float	   *errors;
} fold;

/* ---------- the prior ---------- */

static inline bool
rows_are_due(cf_host *host, const cf_side *side, size_t row)
{
	size_t		at_once = FLOATS_AT_ONCE / side->stride;

	return row % at_once == at_once - 1 && cf_should_stop(host);
}

static cf_status
sum_means(const cf_side *side, cf_host *host, cf_prior *prior, double *count)
{
	size_t		row;
	uint32_t	f;

	for (row = 0; row < side->n_rows; row++)
	{
		const float *x = cf_side_row(side, (uint32_t) row);
		double		weight = (double) side->n_ratings[row];

		for (f = 0; f < side->n_factors; f++)
			prior->mean_factors[f] += weight * x[f];
		prior->mean_bias += weight * x[side->n_factors];
		*count += weight;
		if (rows_are_due(host, side, row))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
sum_variances(const cf_side *side, cf_host *host, cf_prior *prior)
{
	size_t		row;
	uint32_t	f;

	for (row = 0; row < side->n_rows; row++)
	{
		const float *x = cf_side_row(side, (uint32_t) row);
		double		weight = (double) side->n_ratings[row];
		double		bias = x[side->n_factors] - prior->mean_bias;
		double		sum = 0.0;

		for (f = 0; f < side->n_factors; f++)
			sum += (x[f] - prior->mean_factors[f]) * (x[f] - prior->mean_factors[f]);
		prior->factor_variance += weight * sum;
		prior->bias_variance += weight * bias * bias;
		if (rows_are_due(host, side, row))
			return CF_STOPPED;
	}
	return CF_OK;
}

cf_status
cf_prior_of_side(const cf_side *side, cf_host *host, cf_prior *prior)
{
	double		count = 0.0;
	cf_status	status;
	uint32_t	f;

	prior->factor_variance = prior->bias_variance = prior->mean_bias = 0.0;
	memset(prior->mean_factors, 0, side->n_factors * sizeof(double));
	status = sum_means(side, host, prior, &count);
	if (status != CF_OK || count == 0.0)
		return status;
	for (f = 0; f < side->n_factors; f++)
		prior->mean_factors[f] /= count;
	prior->mean_bias /= count;
	status = sum_variances(side, host, prior);
	prior->factor_variance /= count * side->n_factors;
	prior->bias_variance /= count;
	return status;
}

/* ---------- one row ---------- */

static inline bool
is_cold(const fold *f, size_t j)
{
	return f->fixed->n_ratings[f->rows[j]] == 0;
}

bool
cf_fold_uses(const cf_model *model, const cf_side *fixed, uint32_t row)
{
	return model->use_bias || fixed->n_ratings[row] > 0;
}

static bool
has_use(const fold *f)
{
	size_t		j;

	for (j = 0; j < f->n; j++)
	{
		if (cf_fold_uses(f->model, f->fixed, f->rows[j]))
			return true;
	}
	return false;
}

static cf_status
take_work(fold *f, float **block)
{
	float	  **const parts[] = {
		&f->scale, &f->e, &f->gradient, &f->step, &f->residual, &f->direction,
		&f->product, &f->scaled
	};
	float	  **const lists[] = {&f->logits, &f->moves, &f->steepness, &f->errors};
	const size_t n_parts = sizeof(parts) / sizeof(parts[0]);
	const size_t n_lists = sizeof(lists) / sizeof(lists[0]);
	size_t		total = cf_size_add(n_parts * f->width, cf_size_mul(n_lists, f->n));
	float	   *next;
	size_t		j;

	*block = next = cf_alloc_zero(f->host, total, sizeof(float));
	if (next == NULL)
		return f->host->failure;
	for (j = 0; j < n_parts; j++, next += f->width)
		*parts[j] = next;
	for (j = 0; j < n_lists; j++, next += f->n)
		*lists[j] = next;
	return CF_OK;
}

static inline bool
ratings_are_due(const fold *f, size_t j)
{
	return j % f->at_once == f->at_once - 1 && cf_should_stop(f->host);
}

/* out[j] = row j of Z, times x: the logits' part that x makes. */
static cf_status
times_z(const fold *f, const float *x, float *out)
{
	size_t		j;

	for (j = 0; j < f->n; j++)
	{
		out[j] = x[f->k];
		if (!is_cold(f, j))
			out[j] += f->model->kernels->dot(cf_side_row(f->fixed, f->rows[j]), x, f->k);
		if (ratings_are_due(f, j))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* out = s Z' w */
static cf_status
times_z_transposed(const fold *f, const float *w, float *out)
{
	double		sum = 0.0;
	size_t		j;

	memset(out, 0, f->width * sizeof(float));
	for (j = 0; j < f->n; j++)
	{
		sum += w[j];
		if (!is_cold(f, j))
			f->model->kernels->axpy(w[j], cf_side_row(f->fixed, f->rows[j]), out, f->k);
		if (ratings_are_due(f, j))
			return CF_STOPPED;
	}
	out[f->k] = (float) sum;
	for (j = 0; j < f->width; j++)
		out[j] *= f->scale[j];
	return CF_OK;
}

static void
scale_up(const fold *f, const float *x)
{
	size_t		j;

	for (j = 0; j < f->width; j++)
		f->scaled[j] = f->scale[j] * x[j];
}

/* In double precision, so that no scale of ratings is too large or too small. */
static double
inner(const fold *f, const float *a, const float *b)
{
	double		sum = 0.0;
	size_t		j;

	for (j = 0; j < f->width; j++)
		sum += (double) a[j] * b[j];
	return sum;
}

static inline double
target(const fold *f, size_t j)
{
	double		value = f->values[j];

	if (f->model->link != CF_LINK_NONE && value < f->model->low)
		return f->model->low;
	if (f->model->link != CF_LINK_NONE && value > f->model->high)
		return f->model->high;
	return value;
}

/*
 * What the objective is when e goes "length" of its step on, and the logits
 * of their moves.
 */
static cf_status
evaluate(const fold *f, double length, double *objective)
{
	double		sum = 0.0;
	double		ridge = 0.0;
	size_t		j;

	for (j = 0; j < f->n; j++)
	{
		double		error = target(f, j) -
			cf_model_rating(f->model, (float) (f->logits[j] + length * f->moves[j]));

		sum += error * error;
		if (ratings_are_due(f, j))
			return CF_STOPPED;
	}
	for (j = 0; j < f->width; j++)
		ridge += (f->e[j] + length * f->step[j]) * (f->e[j] + length * f->step[j]);
	*objective = sum + f->prior->noise * ridge;
	return CF_OK;
}

/*
 * Where the search starts: at the mean.  The logits get what does not depend
 * on e, too, the biases of the fixed rows.
 */
static cf_status
start(fold *f)
{
	const cf_prior *prior = f->prior;
	cf_status	status;
	size_t		j;

	for (j = 0; j < f->k; j++)
	{
		f->scale[j] = (float) sqrt(prior->factor_variance);
		f->scaled[j] = (float) prior->mean_factors[j];
	}
	if (f->model->use_bias)
	{
		f->scale[f->k] = (float) sqrt(prior->bias_variance);
		f->scaled[f->k] = (float) prior->mean_bias;
	}
	status = times_z(f, f->scaled, f->logits);
	for (j = 0; j < f->n; j++)
		f->logits[j] += is_cold(f, j) ? (float) f->fixed->mean_bias :
			cf_side_bias(f->fixed, f->rows[j]);
	return status;
}

/* Errors, steepness and gradient where e is now. */
static cf_status
differentiate(fold *f)
{
	const cf_model *model = f->model;
	cf_status	status;
	size_t		j;

	for (j = 0; j < f->n; j++)
	{
		double		rating = cf_model_rating(model, f->logits[j]);
		double		span = (double) model->high - model->low;

		f->steepness[j] = model->link == CF_LINK_NONE ? 1.0f :
			(float) ((rating - model->low) * (model->high - rating) / span);
		f->errors[j] = f->steepness[j] * (float) (target(f, j) - rating);
	}
	status = times_z_transposed(f, f->errors, f->gradient);
	for (j = 0; j < f->width; j++)
		f->gradient[j] -= (float) (f->prior->noise * f->e[j]);
	return status;
}

/* product = (s Z' W^2 Z s + noise) direction.  The errors are no longer needed. */
static cf_status
multiply(fold *f)
{
	cf_status	status;
	size_t		j;

	scale_up(f, f->direction);
	status = times_z(f, f->scaled, f->errors);
	if (status != CF_OK)
		return status;
	for (j = 0; j < f->n; j++)
		f->errors[j] *= f->steepness[j] * f->steepness[j];
	status = times_z_transposed(f, f->errors, f->product);
	for (j = 0; j < f->width; j++)
		f->product[j] += (float) (f->prior->noise * f->direction[j]);
	return status;
}

/* The step, by conjugate gradients down to "tolerance" of the gradient. */
static cf_status
solve_step(fold *f, double tolerance)
{
	const size_t bytes = f->width * sizeof(float);
	double		first = inner(f, f->gradient, f->gradient);
	double		now = first;
	size_t		count;

	memset(f->step, 0, bytes);
	memcpy(f->residual, f->gradient, bytes);
	memcpy(f->direction, f->gradient, bytes);
	for (count = 0; count < f->width && now > tolerance * tolerance * first; count++)
	{
		cf_status	status = multiply(f);
		double		before = now;
		double		curvature;

		if (status != CF_OK)
			return status;
		curvature = inner(f, f->direction, f->product);
		if (!(curvature > 0.0))
			break;
		f->model->kernels->axpy((float) (now / curvature), f->direction, f->step, f->width);
		f->model->kernels->axpy((float) (-now / curvature), f->product, f->residual, f->width);
		now = inner(f, f->residual, f->residual);
		f->model->kernels->axpby(1.0f, f->residual, (float) (now / before), f->direction,
								 f->width);
	}
	return CF_OK;
}

/*
 * Go along the step, as far as it lowers the objective.  "*objective" is what
 * it is here and becomes what it is there: the same when it is lower nowhere.
 */
static cf_status
search_line(fold *f, double *objective)
{
	double		slope = -2.0 * inner(f, f->gradient, f->step);
	double		length = 1.0;
	int			halvings;
	size_t		j;

	for (halvings = 0; halvings < MAX_HALVINGS; halvings++, length /= 2.0)
	{
		double		there;
		cf_status	status = evaluate(f, length, &there);

		if (status != CF_OK)
			return status;
		if (there <= *objective + SLOPE_SHARE * length * slope)
		{
			f->model->kernels->axpy((float) length, f->step, f->e, f->width);
			for (j = 0; j < f->n; j++)
				f->logits[j] += (float) length * f->moves[j];
			*objective = there;
			return CF_OK;
		}
	}
	return CF_OK;
}

/* How closely conjugate gradients must solve for the next step. */
static double
tolerance(const fold *f, double slope, double first_slope)
{
	/* a straight way ends with one step; on a curved one exactness is wasted at first */
	if (f->model->link == CF_LINK_NONE)
		return TIGHT;
	return fmax(TIGHT, fmin(LOOSE, sqrt(slope / first_slope)));
}

static double
slope_of(const fold *f)
{
	return sqrt(inner(f, f->gradient, f->gradient));
}

/* One step; "*gain" is what it lowers the objective by, as part of it. */
static cf_status
descend(fold *f, double first_slope, double *objective, double *gain)
{
	double		before = *objective;
	cf_status	status = solve_step(f, tolerance(f, slope_of(f), first_slope));

	if (status != CF_OK)
		return status;
	scale_up(f, f->step);
	status = times_z(f, f->scaled, f->moves);
	if (status == CF_OK)
		status = search_line(f, objective);
	if (status == CF_OK)
		status = differentiate(f);
	*gain = (before - *objective) / before;
	return status;
}

static cf_status
minimise(fold *f)
{
	cf_status	status = start(f);
	double		objective;
	double		first_slope;
	double		gain = 1.0;
	int			count;

	if (status == CF_OK)
		status = differentiate(f);
	if (status == CF_OK)
		status = evaluate(f, 0.0, &objective);
	if (status != CF_OK)
		return status;
	first_slope = slope_of(f);
	if (!isfinite(objective) || !isfinite(first_slope))
		return CF_NOT_FINITE;
	for (count = 0; count < MAX_STEPS && gain > LEAST_GAIN && slope_of(f) > 0.0; count++)
	{
		status = descend(f, first_slope, &objective, &gain);
		if (status != CF_OK)
			return status;
		if (cf_should_stop(f->host))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
write_out(const fold *f, float *out)
{
	size_t		j;

	for (j = 0; j < f->width; j++)
	{
		double		mean = j < f->k ? f->prior->mean_factors[j] : f->prior->mean_bias;

		out[j] = (float) (mean + (double) f->scale[j] * f->e[j]);
		if (!isfinite(out[j]))
			return CF_NOT_FINITE;
	}
	if (!f->model->use_bias)
		out[f->k] = 0.0f;
	return CF_OK;
}

cf_status
cf_fold_in(const cf_model *model, cf_host *host, const cf_side *fixed, const cf_prior *prior,
		   const uint32_t *rows, const float *values, size_t n, float *out)
{
	fold		f = {.model = model, .host = host, .fixed = fixed, .prior = prior,
	.rows = rows, .values = values, .n = n, .k = fixed->n_factors};
	const cf_side *own = fixed == &model->users ? &model->items : &model->users;
	float	   *block;
	cf_status	status;

	if (own->prior.row != NULL)
		return cf_bayes_fold(model, host, fixed, own, rows, values, n, out);
	f.width = f.k + 1;
	f.at_once = FLOATS_AT_ONCE / f.width;
	memset(out, 0, f.width * sizeof(float));
	out[f.k] = (float) prior->mean_bias;
	if (!has_use(&f))
		return CF_OK;
	status = take_work(&f, &block);
	if (status != CF_OK)
		return status;
	status = minimise(&f);
	if (status == CF_OK)
		status = write_out(&f, out);
	cf_free(host, block);
	return status;
}
