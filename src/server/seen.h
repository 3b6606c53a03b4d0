/*
 * seen.h
 *	  What users have rated, read from a model's source: what is not to be
 *	  recommended to them.
 *
 * The source is read as it is now, through the executor and with the rights
 * of the caller; a rating of NULL does not count.
 */
#ifndef COLLAB_SEEN_H
#define COLLAB_SEEN_H

#include "core/cf_seen.h"
#include "server/cache.h"

/*
 * The items that one user has rated: row numbers in *rows, allocated in the
 * current context, in no order and perhaps repeated.  An index on the
 * source's user column makes this fast.  What goes wrong with the source
 * comes with the hint to pass exclude_seen => false.
 */
extern size_t SeenByUser(CachedModel *model, cf_key user, uint32 **rows);

/* The items that each of the model's users has rated; all sides are loaded. */
extern cf_seen *SeenByAll(CachedModel *model, cf_host *host);

#endif							/* COLLAB_SEEN_H */
