/*
 * cf_pca.c
 *	  Principal components of embeddings.
 *
 * The covariance is summed up block by block, so that neither memory nor the
 * time between two polls grows with the number of rows.
 */
#include <math.h>
#include <string.h>

#include "cf_pca.h"

#define BLOCK_ROWS		1024
#define BLOCK_FLOPS		((size_t) 1 << 28)	/* 0.1 s of one slow core */
#define ROWS_AT_ONCE	16384	/* between two polls */

/* What fitting needs beside its result. */
typedef struct pca_work
{
	double	   *covariance;		/* [k][k], upper triangle in LAPACK's eyes */
	double	   *block;			/* [block_rows][k] centred rows */
	double	   *values;			/* [k] */
	double	   *vectors;		/* [n_components][k] */
	int		   *support;		/* [2 k] */
	double	   *work;
	int		   *iwork;
} pca_work;

static size_t
block_rows(uint32_t n_factors)
{
	size_t		rows = BLOCK_FLOPS / ((size_t) n_factors * n_factors);

	return rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
}

static cf_status
take_work(cf_host *host, uint32_t k, uint32_t n_components, pca_work *work)
{
	memset(work, 0, sizeof(*work));
	if ((work->covariance = cf_alloc_zero(host, k, k * sizeof(double))) == NULL ||
		(work->block = cf_alloc(host, block_rows(k), k * sizeof(double))) == NULL ||
		(work->values = cf_alloc(host, k, sizeof(double))) == NULL ||
		(work->vectors = cf_alloc(host, n_components, k * sizeof(double))) == NULL ||
		(work->support = cf_alloc(host, k, 2 * sizeof(int))) == NULL)
		return host->failure;
	return CF_OK;
}

static void
give_work_back(cf_host *host, pca_work *work)
{
	cf_free(host, work->covariance);
	cf_free(host, work->block);
	cf_free(host, work->values);
	cf_free(host, work->vectors);
	cf_free(host, work->support);
	cf_free(host, work->work);
	cf_free(host, work->iwork);
}

static cf_status
sum_mean(cf_host *host, const cf_side *side, const uint32_t *rows, size_t n, double *mean)
{
	size_t		j;
	uint32_t	f;

	memset(mean, 0, side->n_factors * sizeof(double));
	for (j = 0; j < n; j++)
	{
		const float *row = cf_side_row(side, rows[j]);

		for (f = 0; f < side->n_factors; f++)
			mean[f] += row[f];
		if (j % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 && cf_should_stop(host))
			return CF_STOPPED;
	}
	for (f = 0; f < side->n_factors; f++)
		mean[f] /= (double) n;
	return CF_OK;
}

static void
centre_block(const cf_side *side, const uint32_t *rows, size_t n, const double *mean,
			 double *block)
{
	size_t		j;
	uint32_t	f;

	for (j = 0; j < n; j++)
		for (f = 0; f < side->n_factors; f++)
			block[j * side->n_factors + f] = cf_side_row(side, rows[j])[f] - mean[f];
}

/* covariance = sum over the rows of (row - mean) (row - mean)' / n */
static cf_status
sum_covariance(cf_host *host, const cf_blas *blas, const cf_side *side,
			   const uint32_t *rows, size_t n, const double *mean, pca_work *work)
{
	const int	k = (int) side->n_factors;
	const double scale = 1.0 / (double) n;
	const double one = 1.0;
	size_t		at_once = block_rows(side->n_factors);
	size_t		done;

	for (done = 0; done < n; done += at_once)
	{
		size_t		count = n - done < at_once ? n - done : at_once;
		const int	columns = (int) count;

		if (cf_should_stop(host))
			return CF_STOPPED;
		centre_block(side, rows + done, count, mean, work->block);
		blas->dsyrk("U", "N", &k, &columns, &scale, work->block, &k, &one,
					work->covariance, &k);
	}
	return CF_OK;
}

static double
trace(const double *matrix, uint32_t k)
{
	double		sum = 0.0;
	size_t		f;

	for (f = 0; f < k; f++)
		sum += matrix[f * k + f];
	return sum;
}

/* One call of dsyevr; with lengths of -1 it tells what lengths it wants. */
static int
call_dsyevr(const cf_blas *blas, int k, int n_components, pca_work *work,
			double *space, int lwork, int *ispace, int liwork)
{
	const double unused = 0.0;
	const double tolerance = 0.0;
	const int	first = k - n_components + 1;
	int			found = 0;
	int			info = 0;

	blas->dsyevr("V", "I", "U", &k, work->covariance, &k, &unused, &unused,
				 &first, &k, &tolerance, &found, work->values, work->vectors, &k,
				 work->support, space, &lwork, ispace, &liwork, &info);
	return info == 0 && lwork != -1 && found != n_components ? 1 : info;
}

static cf_status
decompose(cf_host *host, const cf_blas *blas, uint32_t k, uint32_t n_components,
		  pca_work *work)
{
	double		wanted = 0.0;
	int			iwanted = 0;

	if (call_dsyevr(blas, (int) k, (int) n_components, work, &wanted, -1, &iwanted, -1) != 0)
		return CF_NO_CONVERGENCE;
	work->work = cf_alloc(host, (size_t) wanted, sizeof(double));
	if (work->work == NULL)
		return host->failure;
	work->iwork = cf_alloc(host, (size_t) iwanted, sizeof(int));
	if (work->iwork == NULL)
		return host->failure;
	if (cf_should_stop(host))
		return CF_STOPPED;
	if (call_dsyevr(blas, (int) k, (int) n_components, work, work->work, (int) wanted,
					work->iwork, iwanted) != 0)
		return CF_NO_CONVERGENCE;
	return CF_OK;
}

/* Turn the component so that its entry of largest magnitude is positive. */
static void
fix_sign(double *component, uint32_t k)
{
	uint32_t	largest = 0;
	uint32_t	f;

	for (f = 1; f < k; f++)
		if (fabs(component[f]) > fabs(component[largest]))
			largest = f;
	if (component[largest] < 0.0)
		for (f = 0; f < k; f++)
			component[f] = -component[f];
}

/* LAPACK's eigenvalues rise; ours fall. */
static void
publish(const pca_work *work, cf_pca *pca)
{
	uint32_t	k = pca->n_factors;
	uint32_t	c;

	for (c = 0; c < pca->n_components; c++)
	{
		uint32_t	from = pca->n_components - 1 - c;
		double	   *component = pca->components + (size_t) c * k;

		memcpy(component, work->vectors + (size_t) from * k, k * sizeof(double));
		fix_sign(component, k);
		pca->variance[c] = work->values[from] > 0.0 ? work->values[from] : 0.0;
	}
}

static cf_status
take_result(cf_host *host, uint32_t k, uint32_t n_components, cf_pca *pca)
{
	memset(pca, 0, sizeof(*pca));
	pca->n_factors = k;
	pca->n_components = n_components;
	if ((pca->mean = cf_alloc(host, k, sizeof(double))) == NULL ||
		(pca->components = cf_alloc(host, n_components, k * sizeof(double))) == NULL ||
		(pca->variance = cf_alloc(host, n_components, sizeof(double))) == NULL)
		return host->failure;
	return CF_OK;
}

cf_status
cf_pca_fit(cf_host *host, const cf_blas *blas, const cf_side *side,
		   const uint32_t *rows, size_t n, uint32_t n_components, cf_pca *pca)
{
	uint32_t	k = side->n_factors;
	pca_work	work;
	cf_status	status;

	memset(&work, 0, sizeof(work));
	status = take_result(host, k, n_components, pca);
	if (status == CF_OK)
		status = take_work(host, k, n_components, &work);
	if (status == CF_OK)
		status = sum_mean(host, side, rows, n, pca->mean);
	if (status == CF_OK)
		status = sum_covariance(host, blas, side, rows, n, pca->mean, &work);
	if (status == CF_OK)
	{
		/* LAPACK need not come back from a matrix with a NaN. */
		pca->total_variance = trace(work.covariance, k);
		if (!isfinite(pca->total_variance))
			status = CF_NOT_FINITE;
	}
	if (status == CF_OK)
		status = decompose(host, blas, k, n_components, &work);
	if (status == CF_OK)
		publish(&work, pca);
	give_work_back(host, &work);
	if (status != CF_OK)
		cf_pca_release(host, pca);
	return status;
}

void
cf_pca_release(cf_host *host, cf_pca *pca)
{
	cf_free(host, pca->mean);
	cf_free(host, pca->components);
	cf_free(host, pca->variance);
	memset(pca, 0, sizeof(*pca));
}

void
cf_pca_project(const cf_pca *pca, const float *factors, float *out)
{
	uint32_t	c;
	uint32_t	f;

	for (c = 0; c < pca->n_components; c++)
	{
		const double *component = pca->components + (size_t) c * pca->n_factors;
		double		sum = 0.0;

		for (f = 0; f < pca->n_factors; f++)
			sum += (factors[f] - pca->mean[f]) * component[f];
		out[c] = (float) sum;
	}
}
