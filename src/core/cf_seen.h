/*
 * cf_seen.h
 *	  Who rated what: for each user row, the rows of the items.
 *
 * A builder, then frozen lists: each user's items in rising order, once each.
 */
#ifndef CF_SEEN_H
#define CF_SEEN_H

#include "cf_host.h"

typedef struct cf_seen cf_seen;

extern cf_status cf_seen_create(cf_host *host, uint32_t n_users, cf_seen **seen);
extern void cf_seen_destroy(cf_seen *seen);

/* Add a pair; user < n_users. */
extern cf_status cf_seen_add(cf_seen *seen, uint32_t user, uint32_t item);

/* No more pairs: make the lists. */
extern cf_status cf_seen_freeze(cf_seen *seen);

/* The user's items, *n of them. */
extern const uint32_t *cf_seen_items(const cf_seen *seen, uint32_t user, size_t *n);

#endif							/* CF_SEEN_H */
