/*
 * host.h
 *	  The core's host in a backend: memory from a context, interrupts as
 *	  "please stop", and core statuses as errors with an SQLSTATE.
 */
#ifndef COLLAB_HOST_H
#define COLLAB_HOST_H

#include "core/cf_dict.h"
#include "core/cf_host.h"

/*
 * A host, allocated in "context", that takes its memory there, at most
 * "limit" bytes of it.
 */
extern cf_host *HostCreate(MemoryContext context, Size limit);

/* Raise the error that a status other than CF_OK stands for. */
extern void HostCheck(cf_host *host, cf_status status);

/* collab.max_memory in bytes. */
extern Size MaxMemory(void);

/* The settings, in kilobytes. */
extern int	collab_max_memory;
extern int	collab_cache_size;
extern int	collab_user_cache_size;

#endif							/* COLLAB_HOST_H */
