/*
 * describe.h
 *	  What a head row tells of its model's embeddings, both ways.
 */
#ifndef COLLAB_DESCRIBE_H
#define COLLAB_DESCRIBE_H

#include "core/cf_fold.h"
#include "server/head.h"
#include "server/model_tables.h"

/*
 * Write what the row tells of a side's embeddings: their number, the mean
 * bias and the prior, which a neural model has no use for.  Values go to the current context.
 */
extern void DescribeSide(HeadRow *row, Side side, const cf_side *embeddings, cf_host *host);

/*
 * Write what the row tells of a Bayesian model beside its embeddings; of
 * another one nothing.
 */
extern void DescribeBayes(HeadRow *row, const cf_model *model);

/*
 * The model that a checked row tells of, without embeddings; "name" is for the
 * error (55000) that damaged weights get.
 */
extern void ModelFromHead(const HeadRow *row, const char *name, cf_host *host, cf_model *model);

/*
 * The prior of a row that is folded in on a side, in "context".  NULL where
 * the head does not tell, being an older version's.
 */
extern cf_prior *PriorFromHead(const HeadRow *row, Side side, MemoryContext context);

#endif							/* COLLAB_DESCRIBE_H */
