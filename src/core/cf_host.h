/*
 * cf_host.h
 *	  What the core asks of the program around it: memory and "please stop?".
 *
 * The core (every cf_* module) is plain C11.  It knows no database, keeps no
 * globals, does no input or output, and never exits or jumps: whatever can go
 * wrong comes back as a cf_status.  Memory is taken through one cf_host a
 * task, which counts it and holds it against a limit, so that a caller can
 * promise an upper bound and learn what was asked for when it is passed.
 *
 * A host belongs to one thread.
 */
#ifndef CF_HOST_H
#define CF_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cf_status
{
	CF_OK = 0,
	CF_STOPPED,					/* the host said stop */
	CF_NO_MEMORY,				/* the host's allocator returned NULL */
	CF_MEMORY_LIMIT,			/* host->wanted would pass host->limit */
	CF_TOO_MANY,				/* more than CF_MAX_ROWS users or items, or too
								 * many steps to count */
	CF_NO_RATINGS,				/* nothing to train on */
	CF_TOO_LARGE,				/* ratings whose squared gradients overflow */
	CF_NOT_FINITE,				/* the loss is infinite or not a number */
	CF_BATCH_OF_ONE,			/* batch normalisation over a single rating */
	CF_NO_CONVERGENCE			/* LAPACK found no decomposition */
} cf_status;

typedef struct cf_host
{
	/* Set by the caller; cf_host_init() fills in malloc, realloc and free. */
	void	   *context;
	void	   *(*allocate) (void *context, size_t bytes);
	void	   *(*reallocate) (void *context, void *block, size_t bytes);
	void		(*release) (void *context, void *block);
	bool		(*should_stop) (void *context); /* NULL: never */
	size_t		limit;			/* bytes; SIZE_MAX: none */

	/* Kept by the core. */
	size_t		used;			/* bytes now taken */
	size_t		peak;			/* the most that was ever taken at once */
	size_t		wanted;			/* total that the last refused request needed */
	cf_status	failure;		/* why the last request was refused */
} cf_host;

/* A host on malloc without a limit, which is never told to stop. */
extern void cf_host_init(cf_host *host);

/*
 * Take an array of "count" elements of "size" bytes, aligned to 64 bytes and
 * not cleared.  NULL: refused, and host->failure says why.  An empty array is
 * a valid block.  What is accounted for is cf_block_memory(count, size).
 */
extern void *cf_alloc(cf_host *host, size_t count, size_t size);

/* The same, cleared.  Polls the host: failure may be CF_STOPPED. */
extern void *cf_alloc_zero(cf_host *host, size_t count, size_t size);

/*
 * Resize a block of cf_alloc (NULL: a new one), keeping its contents.  When
 * NULL comes back the old block is still there.
 */
extern void *cf_realloc(cf_host *host, void *block, size_t count, size_t size);

/* Give a block back.  NULL is allowed. */
extern void cf_free(cf_host *host, void *block);

/* Would another "bytes" pass the limit?  Then CF_MEMORY_LIMIT. */
extern cf_status cf_check_memory(cf_host *host, size_t bytes);

extern bool cf_should_stop(cf_host *host);

/* Sums and products that stay at SIZE_MAX instead of wrapping around. */
extern size_t cf_size_add(size_t a, size_t b);
extern size_t cf_size_mul(size_t a, size_t b);

/* Bytes that a block of this shape counts for, alignment included. */
extern size_t cf_block_memory(size_t count, size_t size);

#endif							/* CF_HOST_H */
