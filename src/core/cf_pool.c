/*
 * cf_pool.c
 *	  Threads for the core's own work.
 *
 * One mutex guards everything that threads share.  It is held for a few
 * instructions at a time, and never while a task runs or the host is polled:
 * a host that jumps out of the poll leaves no lock behind, and at most tasks
 * that still run, which cf_pool_destroy() waits for.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* -std=c11 hides signals and clocks */
#endif

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "cf_pool.h"

/*
 * Tasks are loops over arrays, which need little; but OpenBLAS has its buffers
 * on the stack and dies of half a megabyte.  The system's default follows
 * "ulimit -s", which is often raised for servers: many threads could then
 * reserve gigabytes of address space, which counts where memory must not be
 * overcommitted.
 */
#define STACK_BYTES		((size_t) 4 << 20)

/* How long the host goes unpolled while the caller waits. */
#define TICK_NANOSECONDS	10000000L

/* Waiting must not depend on somebody setting the clock. */
#ifdef __APPLE__
#define TICK_CLOCK		CLOCK_REALTIME	/* conditions know no other there */
#else
#define TICK_CLOCK		CLOCK_MONOTONIC
#endif

typedef struct helper
{
	cf_pool    *pool;
	pthread_t	id;
	uint32_t	number;			/* 1 and up: the caller is thread 0 */
} helper;

struct cf_pool
{
	cf_host    *host;
	size_t		stack_bytes;	/* of all helpers, counted against the host */
	uint32_t	n_helpers;

	pthread_mutex_t mutex;		/* of all below */
	pthread_cond_t work;		/* there are tasks, or it is time to quit */
	pthread_cond_t idle;		/* no helper runs a task */
	bool		quit;
	bool		stopped;		/* the host has said stop in this run */
	cf_task		task;
	void	   *context;
	size_t		n_tasks;
	size_t		next;			/* the first task that nobody has taken */
	uint32_t	running;		/* tasks that helpers run now */

	helper		helpers[];
};

/* With the mutex held. */
static bool
take_task(cf_pool *pool, size_t *index)
{
	if (pool->next >= pool->n_tasks)
		return false;
	*index = pool->next++;
	return true;
}

/* With the mutex held, which is free while the task runs. */
static void
run_as_helper(cf_pool *pool, size_t index, uint32_t thread)
{
	cf_task		task = pool->task;
	void	   *context = pool->context;

	pool->running++;
	pthread_mutex_unlock(&pool->mutex);
	task(context, index, thread);
	pthread_mutex_lock(&pool->mutex);
	if (--pool->running == 0)
		pthread_cond_signal(&pool->idle);
}

static void *
helper_main(void *argument)
{
	helper	   *self = argument;
	cf_pool    *pool = self->pool;
	size_t		index;

	pthread_mutex_lock(&pool->mutex);
	while (!pool->quit)
	{
		if (take_task(pool, &index))
			run_as_helper(pool, index, self->number);
		else
			pthread_cond_wait(&pool->work, &pool->mutex);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

static bool
init_idle(pthread_cond_t *idle)
{
	pthread_condattr_t attributes;
	bool		good;

	if (pthread_condattr_init(&attributes) != 0)
		return false;
#ifndef __APPLE__
	pthread_condattr_setclock(&attributes, TICK_CLOCK);
#endif
	good = pthread_cond_init(idle, &attributes) == 0;
	pthread_condattr_destroy(&attributes);
	return good;
}

static bool
init_locks(cf_pool *pool)
{
	if (pthread_mutex_init(&pool->mutex, NULL) != 0)
		return false;
	if (pthread_cond_init(&pool->work, NULL) == 0)
	{
		if (init_idle(&pool->idle))
			return true;
		pthread_cond_destroy(&pool->work);
	}
	pthread_mutex_destroy(&pool->mutex);
	return false;
}

/* Start helpers until there are that many, or the system refuses one. */
static void
start_helpers(cf_pool *pool, uint32_t wanted)
{
	pthread_attr_t attributes;
	sigset_t	all;
	sigset_t	before;

	if (pthread_attr_init(&attributes) != 0)
		return;
	pthread_attr_setstacksize(&attributes, STACK_BYTES);

	/* A thread inherits its creator's mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool->n_helpers < wanted)
	{
		helper	   *next = &pool->helpers[pool->n_helpers];

		next->pool = pool;
		next->number = pool->n_helpers + 1;
		if (pthread_create(&next->id, &attributes, helper_main, next) != 0)
			break;
		pool->n_helpers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

/* Memory that the host has not given counts all the same. */
static void
count_stacks(cf_pool *pool)
{
	cf_host    *host = pool->host;

	pool->stack_bytes = pool->n_helpers * STACK_BYTES;
	host->used += pool->stack_bytes;
	if (host->used > host->peak)
		host->peak = host->used;
}

static uint32_t
helpers_for(uint32_t n_threads)
{
	return n_threads > CF_MAX_THREADS ? CF_MAX_THREADS - 1 : n_threads > 1 ? n_threads - 1 : 0;
}

size_t
cf_pool_memory(uint32_t n_threads)
{
	uint32_t	n_helpers = helpers_for(n_threads);

	return cf_block_memory(1, sizeof(cf_pool) + n_helpers * sizeof(helper)) +
		n_helpers * STACK_BYTES;
}

cf_status
cf_pool_create(cf_host *host, uint32_t n_threads, cf_pool **pool)
{
	uint32_t	n_helpers = helpers_for(n_threads);
	size_t		bytes = sizeof(cf_pool) + n_helpers * sizeof(helper);
	cf_pool    *new;

	*pool = NULL;
	if (cf_check_memory(host, cf_pool_memory(n_threads)) != CF_OK)
		return host->failure;
	new = cf_alloc_zero(host, 1, bytes);
	if (new == NULL)
		return host->failure;
	if (!init_locks(new))
	{
		host->wanted = host->used;
		cf_free(host, new);
		return CF_NO_MEMORY;
	}
	new->host = host;
	start_helpers(new, n_helpers);
	count_stacks(new);
	*pool = new;
	return CF_OK;
}

uint32_t
cf_pool_threads(const cf_pool *pool)
{
	return pool->n_helpers + 1;
}

static void
begin_run(cf_pool *pool, cf_task task, void *context, size_t n_tasks)
{
	pthread_mutex_lock(&pool->mutex);
	pool->task = task;
	pool->context = context;
	pool->n_tasks = n_tasks;
	pool->next = 0;
	pool->stopped = false;
	/* a single task is the caller's own */
	if (n_tasks > 1)
		pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->mutex);
}

/* Ask the host, on the caller's thread, and let all know; not again after a stop. */
static bool
poll_host(cf_pool *pool)
{
	bool		stop = pool->stopped || cf_should_stop(pool->host);

	if (stop && !pool->stopped)
	{
		pthread_mutex_lock(&pool->mutex);
		pool->stopped = true;
		pthread_mutex_unlock(&pool->mutex);
	}
	return stop;
}

bool
cf_pool_stops(cf_pool *pool, uint32_t thread)
{
	bool		stop;

	if (thread == 0)
		return poll_host(pool);
	pthread_mutex_lock(&pool->mutex);
	stop = pool->stopped || pool->quit;
	pthread_mutex_unlock(&pool->mutex);
	return stop;
}

/* The caller's share; false when the host says stop. */
static bool
work_along(cf_pool *pool)
{
	size_t		index;
	bool		more = true;

	while (more)
	{
		if (poll_host(pool))
			return false;
		pthread_mutex_lock(&pool->mutex);
		more = take_task(pool, &index);
		pthread_mutex_unlock(&pool->mutex);
		if (more)
			pool->task(pool->context, index, 0);
	}
	return true;
}

static struct timespec
next_tick(void)
{
	struct timespec tick;

	clock_gettime(TICK_CLOCK, &tick);
	tick.tv_nsec += TICK_NANOSECONDS;
	if (tick.tv_nsec >= 1000000000L)
	{
		tick.tv_sec++;
		tick.tv_nsec -= 1000000000L;
	}
	return tick;
}

/* Wait for at most a tick; true when helpers run no task. */
static bool
wait_a_tick(cf_pool *pool)
{
	struct timespec until = next_tick();
	int			error = 0;
	bool		idle;

	pthread_mutex_lock(&pool->mutex);
	while (pool->running > 0 && error == 0)
		error = pthread_cond_timedwait(&pool->idle, &pool->mutex, &until);
	idle = pool->running == 0;
	pthread_mutex_unlock(&pool->mutex);
	return idle;
}

/*
 * Let the helpers finish what they run.  No task is handed out any more: the
 * last is taken, or the host has said stop, after which it is not asked again.
 */
static bool
finish_run(cf_pool *pool, bool going)
{
	pthread_mutex_lock(&pool->mutex);
	pool->next = pool->n_tasks;
	pthread_mutex_unlock(&pool->mutex);
	while (!wait_a_tick(pool))
		going = !poll_host(pool) && going;
	return going && !pool->stopped;
}

cf_status
cf_pool_run(cf_pool *pool, cf_task task, void *context, size_t n_tasks)
{
	bool		going;

	if (n_tasks == 0)
		return CF_OK;
	begin_run(pool, task, context, n_tasks);
	going = work_along(pool);
	return finish_run(pool, going) ? CF_OK : CF_STOPPED;
}

void
cf_pool_destroy(cf_pool *pool)
{
	uint32_t	i;

	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->quit = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->mutex);
	for (i = 0; i < pool->n_helpers; i++)
		pthread_join(pool->helpers[i].id, NULL);
	pthread_cond_destroy(&pool->idle);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->mutex);
	pool->host->used -= pool->stack_bytes;
	cf_free(pool->host, pool);
}
