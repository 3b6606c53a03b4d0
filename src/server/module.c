/*
 * module.c
 *	  The library's entry: settings and callbacks.  Starts nothing.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"
#include "server/pool.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "collab", .version = "0.1.0");
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("collab.max_memory",
							"Memory that a training may take.",
							"A training that would need more is refused.",
							&collab_max_memory,
							2 * 1024 * 1024, 1024, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("collab.cache_size",
							"Memory in which a session keeps models that no query is reading.",
							"The least recently used go first.",
							&collab_cache_size,
							256 * 1024, 0, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("collab.user_cache_size",
							"Memory in which a session keeps users that were asked for one by one.",
							"When it is full, they are forgotten and read again when they are asked for.",
							&collab_user_cache_size,
							16 * 1024, 64, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("collab.threads",
							"Threads that work on one call, the session's own included.",
							"Results are the same with any number.",
							&collab_threads,
							DefaultThreads(), 1, CF_MAX_THREADS,
							PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("collab");
	CacheInit();
}
