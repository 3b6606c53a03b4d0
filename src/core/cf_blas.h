/*
 * cf_blas.h
 *	  The table of BLAS and LAPACK routines that the core calls.
 *
 * The core links no BLAS: the host loads one when it is first needed and
 * hands this table in.  Fortran interfaces with 32-bit integers (LP64),
 * column-major matrices.
 */
#ifndef CF_BLAS_H
#define CF_BLAS_H

typedef struct cf_blas
{
	/* C = alpha op(A) op(B) + beta C */
	void		(*sgemm) (const char *transa, const char *transb, const int *m, const int *n,
						  const int *k, const float *alpha, const float *a, const int *lda,
						  const float *b, const int *ldb, const float *beta, float *c,
						  const int *ldc);

	/* C = alpha A A' + beta C, or A' A; one triangle */
	void		(*dsyrk) (const char *uplo, const char *trans, const int *n,
						  const int *k, const double *alpha, const double *a,
						  const int *lda, const double *beta, double *c,
						  const int *ldc);

	/* eigenvalues and eigenvectors of a symmetric matrix, selected by rank */
	void		(*dsyevr) (const char *jobz, const char *range, const char *uplo,
						   const int *n, double *a, const int *lda,
						   const double *vl, const double *vu, const int *il,
						   const int *iu, const double *abstol, int *m, double *w,
						   double *z, const int *ldz, int *isuppz, double *work,
						   const int *lwork, int *iwork, const int *liwork,
						   int *info);
} cf_blas;

#endif							/* CF_BLAS_H */
