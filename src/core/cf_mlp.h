/*
 * cf_mlp.h
 *	  The solver of the neural model, "mlp": a net over embeddings, by Adam.
 *
 * Batches, schedule and optimiser are those of the dot product's recipe
 * (cf_batches.h, cf_deferred.h); gradients come from cf_backprop.h, matrix
 * products from settings->blas.  Embeddings make deferred steps, the net's
 * weights one step a batch.  As in fastai, decay is for embeddings and linear
 * weights, not for biases, gamma and beta.
 *
 * CF_BATCH_OF_ONE when batch normalisation would meet batches of one rating:
 * batch_size 1, or a single rating to train on.
 */
#ifndef CF_MLP_H
#define CF_MLP_H

#include "cf_solver.h"

extern const cf_solver cf_mlp;

#endif							/* CF_MLP_H */
