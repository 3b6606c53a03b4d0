/*
 * host.c
 *	  The core's host in a backend.
 *
 * The core must not be jumped out of, so nothing here raises an error while
 * it runs: memory that is not there comes back as NULL, and an interrupt that
 * would end the query makes the core return CF_STOPPED, after which
 * HostCheck() lets the server raise its own error.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "server/compat.h"
#include "server/host.h"

int			collab_max_memory;
int			collab_cache_size;
int			collab_user_cache_size;

static void *
HostAllocate(void *context, size_t bytes)
{
	return MemoryContextAllocExtended((MemoryContext) context, bytes,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void *
HostReallocate(void *context, void *block, size_t bytes)
{
	if (block == NULL)
		return HostAllocate(context, bytes);
	if (!AllocHugeSizeIsValid(bytes))
		return NULL;
	return ReallocHugeNoError(block, bytes);
}

static void
HostRelease(void *context, void *block)
{
	pfree(block);
}

/*
 * Interrupts that end the query are left pending for HostCheck(); all others
 * (barriers, requests to log memory) are served on the spot.
 */
static bool
HostShouldStop(void *context)
{
	if (!INTERRUPTS_PENDING_CONDITION())
		return false;
	if (QueryCancelPending || ProcDiePending)
		return true;
	CHECK_FOR_INTERRUPTS();
	return false;
}

cf_host *
HostCreate(MemoryContext context, Size limit)
{
	cf_host    *host = MemoryContextAlloc(context, sizeof(cf_host));

	cf_host_init(host);
	host->context = context;
	host->allocate = HostAllocate;
	host->reallocate = HostReallocate;
	host->release = HostRelease;
	host->should_stop = HostShouldStop;
	host->limit = limit;
	return host;
}

Size
MaxMemory(void)
{
	return (Size) collab_max_memory * 1024;
}

static Size
Megabytes(Size bytes)
{
	return bytes / (1024 * 1024) + (bytes % (1024 * 1024) != 0);
}

void
HostCheck(cf_host *host, cf_status status)
{
	switch (status)
	{
		case CF_OK:
			return;
		case CF_STOPPED:
			CHECK_FOR_INTERRUPTS();
			/* the request was withdrawn, but the work is already undone */
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("canceling statement due to user request")));
			break;
		case CF_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("%zu MB are needed in all.", Megabytes(host->wanted))));
			break;
		case CF_MEMORY_LIMIT:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("more memory is needed than collab.max_memory allows"),
					 errdetail("%zu MB are needed and %zu MB are allowed.",
							   Megabytes(host->wanted), host->limit / (1024 * 1024)),
					 errhint("Raise collab.max_memory.")));
			break;
		case CF_TOO_MANY:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("a model can have at most %d users and as many items", CF_MAX_ROWS)));
			break;
		case CF_NO_RATINGS:
			ereport(ERROR,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("there are no ratings to train on")));
			break;
		case CF_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("the ratings, or y_range, are too large to train on"),
					 errdetail("They can span about 10^9."),
					 errhint("Train from a view that divides the ratings, by a million for example.")));
			break;
		case CF_NOT_FINITE:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("training diverged: the loss is no longer a finite number"),
					 errhint("Lower lr_max, or give a y_range.")));
			break;
		case CF_BATCH_OF_ONE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("batch normalization needs at least two ratings in a batch"),
					 errhint("Raise batch_size, train on more ratings, or set batch_norm to false.")));
			break;
		case CF_NO_CONVERGENCE:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("the embeddings have no principal components"),
					 errdetail("LAPACK's eigenvalue routine did not converge.")));
			break;
	}
	elog(ERROR, "unrecognized core status %d", (int) status);
}
