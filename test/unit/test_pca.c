/* test_pca.c: against Jacobi's method, which needs no library. */
#include <dlfcn.h>

#include "tap.h"
#include "support.h"
#include "cf_pca.h"

static cf_blas blas;

static bool
load_blas(void)
{
	void	   *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		return false;
	*(void **) &blas.dsyrk = dlsym(library, "dsyrk_");
	*(void **) &blas.dsyevr = dlsym(library, "dsyevr_");
	return blas.dsyrk != NULL && blas.dsyevr != NULL;
}

/* Eigenvectors in the columns of v, eigenvalues on the diagonal of a. */
static void
jacobi(double *a, double *v, int k)
{
	int			sweep,
				p,
				q,
				j;

	for (p = 0; p < k * k; p++)
		v[p] = p % (k + 1) == 0;
	for (sweep = 0; sweep < 60; sweep++)
		for (p = 0; p < k; p++)
			for (q = p + 1; q < k; q++)
			{
				double		angle = 0.5 * atan2(2 * a[p * k + q], a[q * k + q] - a[p * k + p]);
				double		c = cos(angle),
							s = sin(angle);

				for (j = 0; j < k; j++)
				{
					double		x = a[j * k + p],
								y = a[j * k + q];

					a[j * k + p] = c * x - s * y;
					a[j * k + q] = s * x + c * y;
					x = v[j * k + p];
					y = v[j * k + q];
					v[j * k + p] = c * x - s * y;
					v[j * k + q] = s * x + c * y;
				}
				for (j = 0; j < k; j++)
				{
					double		x = a[p * k + j],
								y = a[q * k + j];

					a[p * k + j] = c * x - s * y;
					a[q * k + j] = s * x + c * y;
				}
			}
}

static void
fill_side(cf_side *side, cf_host *host, uint32_t n, uint32_t k, uint32_t *rows)
{
	uint64_t	counter = n * 1000 + k;
	uint32_t	j,
				f;

	cf_side_create(side, host, n, k);
	for (j = 0; j < n; j++)
	{
		rows[j] = j;
		for (f = 0; f < k; f++)
			cf_side_row(side, j)[f] = (float) ((draw_unit(&counter) - 0.3) * (f + 1));
	}
}

static void
covariance(const cf_side *side, const uint32_t *rows, size_t n, double *mean, double *c)
{
	uint32_t	k = side->n_factors;
	size_t		j;
	uint32_t	f,
				g;

	memset(mean, 0, k * sizeof(double));
	memset(c, 0, (size_t) k * k * sizeof(double));
	for (j = 0; j < n; j++)
		for (f = 0; f < k; f++)
			mean[f] += cf_side_row(side, rows[j])[f] / (double) n;
	for (j = 0; j < n; j++)
		for (f = 0; f < k; f++)
			for (g = 0; g < k; g++)
				c[f * k + g] += (cf_side_row(side, rows[j])[f] - mean[f]) *
					(cf_side_row(side, rows[j])[g] - mean[g]) / (double) n;
}

/* Does component c equal the eigenvector of the c-th greatest eigenvalue? */
static bool
component_agrees(const cf_pca *pca, uint32_t c, const double *a, const double *v)
{
	uint32_t	k = pca->n_factors;
	const double *component = pca->components + (size_t) c * k;
	double		along = 0,
				length = 0;
	uint32_t	at,
				f,
				greater,
				largest = 0;

	for (at = 0; at < k; at++)
	{
		for (f = 0, greater = 0; f < k; f++)
			greater += a[f * k + f] > a[at * k + at];
		if (greater == c)
			break;
	}
	for (f = 0; f < k; f++)
	{
		along += component[f] * v[f * k + at];
		length += component[f] * component[f];
		if (fabs(component[f]) > fabs(component[largest]))
			largest = f;
	}
	return fabs(fabs(along) - 1) < 1e-8 && fabs(length - 1) < 1e-12 &&
		fabs(pca->variance[c] - a[at * k + at]) < 1e-9 && component[largest] > 0;
}

static void
test_against_jacobi(uint32_t n, uint32_t k, uint32_t n_components)
{
	cf_host		host;
	cf_side		side;
	cf_pca		pca;
	uint32_t   *rows = malloc(n * sizeof(uint32_t));
	double	   *a = malloc(k * k * sizeof(double));
	double	   *v = malloc(k * k * sizeof(double));
	double	   *mean = malloc(k * sizeof(double));
	float	   *out = malloc(n_components * sizeof(float));
	double		trace = 0,
				want = 0;
	bool		good = true;
	uint32_t	c;

	cf_host_init(&host);
	fill_side(&side, &host, n, k, rows);
	OK(cf_pca_fit(&host, &blas, &side, rows, n, n_components, &pca) == CF_OK, "fit %u x %u", n, k);
	covariance(&side, rows, n, mean, a);
	for (c = 0; c < k; c++)
		trace += a[c * k + c];
	jacobi(a, v, (int) k);
	for (c = 0; c < n_components; c++)
		good = good && component_agrees(&pca, c, a, v);
	OK(good, "components, variances and signs");
	OK(fabs(pca.total_variance - trace) < 1e-9 * (1 + trace), "total variance");
	cf_pca_project(&pca, cf_side_row(&side, n / 2), out);
	for (c = 0; c < k; c++)
		want += (cf_side_row(&side, n / 2)[c] - mean[c]) * pca.components[c];
	OK(fabs(out[0] - want) < 1e-5, "projection");
	cf_pca_release(&host, &pca);
	cf_free(&host, side.rows);
	cf_free(&host, side.n_ratings);
	OK(host.used == 0, "all given back");
	free(rows);
	free(a);
	free(v);
	free(mean);
	free(out);
}

static void
test_edges(void)
{
	test_host	test;
	cf_side		side;
	cf_pca		pca;
	uint32_t	rows[2000];
	long		fail_at = 0;
	long		blocks;
	cf_status	status;
	bool		good = true;

	test_host_init(&test);
	fill_side(&side, &test.host, 2000, 8, rows);
	blocks = test.blocks;
	OK(cf_pca_fit(&test.host, &blas, &side, rows, 1, 8, &pca) == CF_OK &&
	   pca.variance[0] == 0 && pca.variance[7] == 0 && pca.total_variance == 0, "one row");
	cf_pca_release(&test.host, &pca);
	do
	{
		test.requests = 0;
		test.fail_at = ++fail_at;
		status = cf_pca_fit(&test.host, &blas, &side, rows, 2000, 3, &pca);
		good = good && (status == CF_OK || (status == CF_NO_MEMORY && test.blocks == blocks));
	} while (status != CF_OK);
	OK(good && fail_at > 5, "failing at each of %ld requests", fail_at - 1);
	cf_pca_release(&test.host, &pca);
	test.fail_at = 0;
	test.polls = 0;
	test.stop_at = 2;
	OK(cf_pca_fit(&test.host, &blas, &side, rows, 2000, 3, &pca) == CF_STOPPED &&
	   test.blocks == blocks, "stop between blocks");
	test.stop_at = 0;
	cf_side_row(&side, 5)[1] = NAN;
	OK(cf_pca_fit(&test.host, &blas, &side, rows, 2000, 3, &pca) == CF_NOT_FINITE &&
	   test.blocks == blocks, "a NaN is found");
	cf_free(&test.host, side.rows);
	cf_free(&test.host, side.n_ratings);
}

int
main(void)
{
	if (!load_blas())
	{
		printf("1..0 # SKIP no libopenblas.so.0\n");
		return 0;
	}
	test_against_jacobi(100, 6, 6);
	test_against_jacobi(3000, 20, 5);
	test_against_jacobi(50, 1, 1);
	test_edges();
	return tap_done();
}
