/*
 * fold.h
 *	  Folding in on the server side: a new user for one query, and rows for
 *	  all new ids of a model's source.
 */
#ifndef COLLAB_FOLD_H
#define COLLAB_FOLD_H

#include "server/cache.h"

/*
 * The embedding, out[n_factors + 1], of somebody who gave items rows[n] the
 * ratings values[n], which are as ReadRatedItems() returns them.  Only the
 * model's items need be loaded.  Returns how many of the ratings were of use.
 */
extern size_t FoldInUser(const CachedModel *model, const uint32 *rows, const float4 *values,
						 size_t n, float4 *out);

/*
 * Fold in a row for each id of the model's source that the side has no row
 * for, and insert them.  Checks and locks as collab.touch() does; SPI is
 * connected.  Returns how many.
 */
extern uint64 FoldInNewRows(Oid head, Side side);

#endif							/* COLLAB_FOLD_H */
