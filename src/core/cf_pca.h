/*
 * cf_pca.h
 *	  Principal components of embeddings.
 *
 * The rows are centred; components are the eigenvectors of their covariance
 * (n_factors x n_factors, divisor n), by falling eigenvalue.  The sign of a
 * component is fixed: its entry of largest magnitude is positive (the first
 * of equals).  All in double precision.
 */
#ifndef CF_PCA_H
#define CF_PCA_H

#include "cf_blas.h"
#include "cf_host.h"
#include "cf_model.h"

typedef struct cf_pca
{
	uint32_t	n_factors;
	uint32_t	n_components;
	double	   *mean;			/* [n_factors] */
	double	   *components;		/* [n_components][n_factors], unit length */
	double	   *variance;		/* [n_components] eigenvalues, none negative */
	double		total_variance; /* trace of the covariance */
} cf_pca;

/*
 * Fit to the factors of the rows of "side" that "rows" names (n of them,
 * 1 <= n), 1 <= n_components <= n_factors.  Polls the host between blocks.
 */
extern cf_status cf_pca_fit(cf_host *host, const cf_blas *blas, const cf_side *side,
							const uint32_t *rows, size_t n, uint32_t n_components,
							cf_pca *pca);
extern void cf_pca_release(cf_host *host, cf_pca *pca);

/* The coordinates of one embedding: out[n_components]. */
extern void cf_pca_project(const cf_pca *pca, const float *factors, float *out);

#endif							/* CF_PCA_H */
