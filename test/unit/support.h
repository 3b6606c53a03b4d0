/*
 * support.h
 *	  What several tests need: a host that fails or stops on demand, keys,
 *	  and a random number generator.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdlib.h>

#include "cf_dict.h"
#include "cf_host.h"
#include "cf_model.h"
#include "cf_random.h"

/* Under ThreadSanitizer, which is slow, tests leave out what has no threads. */
#ifdef __SANITIZE_THREAD__
#define FOR_RACES	true
#else
#define FOR_RACES	false
#endif

/* A host whose n-th request fails (0: none) and that stops at the n-th poll. */
typedef struct test_host
{
	cf_host		host;
	long		requests;
	long		fail_at;
	long		polls;
	long		stop_at;
	long		blocks;			/* not given back */
} test_host;

static inline void *
test_allocate(void *context, size_t bytes)
{
	test_host  *test = context;
	char	   *block;

	if (++test->requests == test->fail_at)
		return NULL;

	/* another misalignment each time, with its size remembered before it */
	block = malloc(bytes + 32);
	if (block == NULL)
		return NULL;
	test->blocks++;
	block += 16 + test->requests % 2 * 16;
	((size_t *) block)[-1] = bytes;
	((size_t *) block)[-2] = 16 + (size_t) test->requests % 2 * 16;

	/* no number: who reads what was never written will notice */
	memset(block, 0xFF, bytes);
	return block;
}

static inline void
test_release(void *context, void *block)
{
	((test_host *) context)->blocks--;
	free((char *) block - ((size_t *) block)[-2]);
}

static inline void *
test_reallocate(void *context, void *block, size_t bytes)
{
	size_t		before = ((size_t *) block)[-1];
	void	   *new = test_allocate(context, bytes);

	if (new == NULL)
		return NULL;
	memcpy(new, block, before < bytes ? before : bytes);
	test_release(context, block);
	return new;
}

static inline bool
test_should_stop(void *context)
{
	test_host  *test = context;

	return ++test->polls == test->stop_at || (test->stop_at > 0 && test->polls > test->stop_at);
}

static inline void
test_host_init(test_host *test)
{
	memset(test, 0, sizeof(*test));
	cf_host_init(&test->host);
	test->host.context = test;
	test->host.allocate = test_allocate;
	test->host.reallocate = test_reallocate;
	test->host.release = test_release;
	test->host.should_stop = test_should_stop;
}

static inline cf_key
integer_key(int64_t number)
{
	return (cf_key) {.number = number};
}

static inline cf_key
bytes_key(const void *bytes, uint32_t length)
{
	return (cf_key) {.bytes = bytes, .length = length};
}

/* cf_model_start() on the calling thread. */
static inline cf_status
start_alone(cf_model *model, uint64_t seed, float scale)
{
	cf_pool    *pool;
	cf_status	status = cf_pool_create(model->host, 1, &pool);

	if (status == CF_OK)
		status = cf_model_start(model, pool, seed, scale, false);
	cf_pool_destroy(pool);
	return status;
}

/* Numbers for making test data: counter-based, so tests are repeatable. */
static inline uint64_t
draw(uint64_t *counter)
{
	return cf_mix(++*counter * UINT64_C(0x9E3779B97F4A7C15));
}

static inline double
draw_unit(uint64_t *counter)
{
	return (double) (draw(counter) >> 11) * 0x1p-53;
}

#endif							/* SUPPORT_H */
