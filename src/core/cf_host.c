/*
 * cf_host.c
 *	  Memory that is counted, limited and aligned.
 *
 * The host's allocator may return blocks of any alignment.  A block of ours
 * starts at the next multiple of 64 bytes, and remembers in the bytes before
 * it where the host's block began and how much of it is accounted for.
 */
#include <stdlib.h>
#include <string.h>

#include "cf_host.h"

#define ALIGNMENT		64
#define CLEAR_AT_ONCE	((size_t) 16 << 20) /* about 10 ms of page faults */

typedef struct block_header
{
	void	   *raw;			/* what the host gave */
	size_t		bytes;			/* asked of the host, all included */
} block_header;

#define OVERHEAD		(ALIGNMENT + sizeof(block_header))

static void *
host_malloc(void *context, size_t bytes)
{
	(void) context;
	return malloc(bytes);
}

static void *
host_realloc(void *context, void *block, size_t bytes)
{
	(void) context;
	return realloc(block, bytes);
}

static void
host_free(void *context, void *block)
{
	(void) context;
	free(block);
}

void
cf_host_init(cf_host *host)
{
	memset(host, 0, sizeof(*host));
	host->allocate = host_malloc;
	host->reallocate = host_realloc;
	host->release = host_free;
	host->limit = SIZE_MAX;
}

size_t
cf_size_add(size_t a, size_t b)
{
	return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

size_t
cf_size_mul(size_t a, size_t b)
{
	return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

size_t
cf_block_memory(size_t count, size_t size)
{
	return cf_size_add(cf_size_mul(count, size), OVERHEAD);
}

/* Where our block starts within the host's. */
static char *
aligned_start(void *raw)
{
	uintptr_t	first = (uintptr_t) raw + sizeof(block_header);
	uintptr_t	start = (first + ALIGNMENT - 1) & ~(uintptr_t) (ALIGNMENT - 1);

	return (char *) raw + (start - (uintptr_t) raw);
}

static block_header *
header_of(void *block)
{
	return (block_header *) ((char *) block - sizeof(block_header));
}

static void *
refuse(cf_host *host, cf_status why, size_t wanted)
{
	host->failure = why;
	host->wanted = wanted;
	return NULL;
}

static void
account(cf_host *host, size_t before, size_t after)
{
	host->used = host->used - before + after;
	if (host->used > host->peak)
		host->peak = host->used;
}

/* Would replacing "before" bytes by "after" pass the limit? */
static bool
within_limit(cf_host *host, size_t before, size_t after)
{
	size_t		total = cf_size_add(host->used - before, after);

	if (total <= host->limit && total != SIZE_MAX)
		return true;
	(void) refuse(host, CF_MEMORY_LIMIT, total);
	return false;
}

static void *
place_block(void *raw, size_t bytes)
{
	char	   *block = aligned_start(raw);

	header_of(block)->raw = raw;
	header_of(block)->bytes = bytes;
	return block;
}

void *
cf_alloc(cf_host *host, size_t count, size_t size)
{
	size_t		bytes = cf_block_memory(count, size);
	void	   *raw;

	if (!within_limit(host, 0, bytes))
		return NULL;
	raw = host->allocate(host->context, bytes);
	if (raw == NULL)
		return refuse(host, CF_NO_MEMORY, host->used + bytes);
	account(host, 0, bytes);
	return place_block(raw, bytes);
}

void *
cf_alloc_zero(cf_host *host, size_t count, size_t size)
{
	char	   *block = cf_alloc(host, count, size);
	size_t		bytes = cf_size_mul(count, size);
	size_t		done = 0;

	while (block != NULL && done < bytes)
	{
		size_t		piece = bytes - done < CLEAR_AT_ONCE ? bytes - done : CLEAR_AT_ONCE;

		memset(block + done, 0, piece);
		done += piece;
		if (done < bytes && cf_should_stop(host))
		{
			cf_free(host, block);
			return refuse(host, CF_STOPPED, 0);
		}
	}
	return block;
}

void *
cf_realloc(cf_host *host, void *block, size_t count, size_t size)
{
	size_t		bytes = cf_block_memory(count, size);
	size_t		before;
	size_t		offset;
	size_t		kept;
	char	   *raw;

	if (block == NULL)
		return cf_alloc(host, count, size);
	before = header_of(block)->bytes;
	if (!within_limit(host, before, bytes))
		return NULL;
	offset = (size_t) ((char *) block - (char *) header_of(block)->raw);
	raw = host->reallocate(host->context, header_of(block)->raw, bytes);
	if (raw == NULL)
		return refuse(host, CF_NO_MEMORY, host->used - before + bytes);
	account(host, before, bytes);

	/* The new block may be aligned differently: then the contents move. */
	kept = (before < bytes ? before : bytes) - OVERHEAD;
	if (aligned_start(raw) != raw + offset)
		memmove(aligned_start(raw), raw + offset, kept);
	return place_block(raw, bytes);
}

void
cf_free(cf_host *host, void *block)
{
	block_header *header;

	if (block == NULL)
		return;
	header = header_of(block);
	account(host, header->bytes, 0);
	host->release(host->context, header->raw);
}

cf_status
cf_check_memory(cf_host *host, size_t bytes)
{
	return within_limit(host, 0, bytes) ? CF_OK : CF_MEMORY_LIMIT;
}

bool
cf_should_stop(cf_host *host)
{
	return host->should_stop != NULL && host->should_stop(host->context);
}
