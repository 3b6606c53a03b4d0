/*
 * blas.h
 *	  OpenBLAS, loaded when it is first needed.
 */
#ifndef COLLAB_BLAS_H
#define COLLAB_BLAS_H

#include "core/cf_blas.h"

/* The routines; 58P01 when the library is not installed. */
extern const cf_blas *Blas(void);

#endif							/* COLLAB_BLAS_H */
