/*
 * pool.h
 *	  The core's threads in a backend.
 *
 * Threads run with all signals blocked and touch plain memory only.  They are
 * stopped and joined before any memory they use can go: also when an error,
 * a cancel or the end of the session comes in the middle.
 */
#ifndef COLLAB_POOL_H
#define COLLAB_POOL_H

#include "core/cf_pool.h"

/*
 * Call "body" with a pool of at most n_threads threads (collab_threads, read
 * once a call: SQL that runs between two pools can change it).  It computes, and may
 * raise errors, but runs no SQL: code that registers an exit callback of its
 * own would be in the pool's way.
 */
extern void PoolDo(cf_host *host, int n_threads, void (*body) (cf_pool *pool, void *arg), void *arg);

/* collab.threads; the calling backend's own counts. */
extern int	collab_threads;

/* The default of collab.threads: 1 + max_parallel_maintenance_workers, at most the cores. */
extern int	DefaultThreads(void);

#endif							/* COLLAB_POOL_H */
