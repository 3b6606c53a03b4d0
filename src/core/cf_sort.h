/*
 * cf_sort.h
 *	  Sorting ratings in place, on all threads of a pool.
 */
#ifndef CF_SORT_H
#define CF_SORT_H

#include "cf_pool.h"
#include "cf_ratings.h"

/*
 * Sort by (user, item, bits of the value).  "pool" may be NULL; what comes out
 * is the same for any number of threads.  Takes a few hundred kilobytes a
 * thread.  When it fails, the rows are all there in some order.
 */
extern cf_status cf_sort_ratings(cf_host *host, cf_pool *pool, cf_rating *rows, size_t n);

#endif							/* CF_SORT_H */
