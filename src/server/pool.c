/*
 * pool.c
 *	  The core's threads in a backend.
 *
 * The pool ends on every way out.  An error passes through PG_CATCH, and the
 * end of the session (FATAL) does not: it unwinds nothing and goes straight
 * to the exit callbacks, which give memory back that threads may still write.
 * PG_ENSURE_ERROR_CLEANUP serves both.
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "storage/ipc.h"

#include "server/host.h"
#include "server/pool.h"

int			collab_threads;

int
DefaultThreads(void)
{
	long		cores = sysconf(_SC_NPROCESSORS_ONLN);
	int			n = Min(1 + max_parallel_maintenance_workers, CF_MAX_THREADS);

	return cores > 0 && cores < n ? (int) cores : n;
}

static void
DestroyPool(int code, Datum pool)
{
	cf_pool_destroy(*(cf_pool *volatile *) DatumGetPointer(pool));
}

/* The callback is there before the first thread is. */
void
PoolDo(cf_host *host, int n_threads, void (*body) (cf_pool *pool, void *arg), void *arg)
{
	cf_pool    *volatile pool = NULL;
	Datum		where = PointerGetDatum((void *) &pool);

	PG_ENSURE_ERROR_CLEANUP(DestroyPool, where);
	{
		cf_pool    *made;
		cf_status	status = cf_pool_create(host, n_threads, &made);

		pool = made;
		HostCheck(host, status);
		body(made, arg);
	}
	PG_END_ENSURE_ERROR_CLEANUP(DestroyPool, where);
	cf_pool_destroy(pool);
}
