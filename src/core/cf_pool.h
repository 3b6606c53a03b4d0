/*
 * cf_pool.h
 *	  Threads for the core's own work.
 *
 * The pool has n - 1 threads beside the one that made it, which works along;
 * a pool of one starts none.  They are started with all signals blocked, so
 * that a host's signal handlers run where the host expects them.
 *
 * Only the calling thread polls the host, between two tasks of its own, so a
 * task should take milliseconds, or ask cf_pool_stops() now and then.  A host
 * that may jump out of the poll (an error of the server) must see to it that
 * cf_pool_destroy() is called on that way, too, before any memory that tasks
 * use is given back.
 */
#ifndef CF_POOL_H
#define CF_POOL_H

#include "cf_host.h"

#define CF_MAX_THREADS	256

typedef struct cf_pool cf_pool;

/*
 * A task touches plain memory only: no host, no allocation.  "thread" is less
 * than the pool's number of threads, and no two tasks run under the same
 * number at once.  Which thread gets which task is not fixed, so results must
 * not depend on it.
 */
typedef void (*cf_task) (void *context, size_t index, uint32_t thread);

/*
 * A pool of n_threads, the caller included.  Where the system refuses a
 * thread, the pool has fewer: cf_pool_threads() tells how many.
 */
extern cf_status cf_pool_create(cf_host *host, uint32_t n_threads, cf_pool **pool);
/* Bytes that a pool counts for, stacks included. */
extern size_t cf_pool_memory(uint32_t n_threads);

extern uint32_t cf_pool_threads(const cf_pool *pool);

/*
 * Run tasks 0 .. n_tasks - 1 and wait for all of them.  CF_STOPPED when the
 * host says stop: then some tasks were not run, and none runs any more.
 */
extern cf_status cf_pool_run(cf_pool *pool, cf_task task, void *context, size_t n_tasks);

/*
 * For a task that can take long: must it give up, on its thread "thread"?  Then
 * cf_pool_run() returns CF_STOPPED.  On the caller's own thread this polls the
 * host; on the others it tells what the host has said.
 */
extern bool cf_pool_stops(cf_pool *pool, uint32_t thread);

/*
 * Let running tasks end, drop the others, join the threads.  May be called
 * after a jump out of cf_pool_run().  NULL is allowed.
 */
extern void cf_pool_destroy(cf_pool *pool);

#endif							/* CF_POOL_H */
