/*
 * handoff.c
 *	  How long a cache line takes from one core to another, for benchmarks:
 *	  two threads, each on a core of its own, write a word in turn.
 *
 *	  cc -O2 handoff.c -o handoff -pthread
 *
 * Prints nanoseconds: some 50 where the cores share a cache, several times that
 * where they do not.  Virtual machines can move between the two.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define TURNS	200000

static _Alignas(128) atomic_int turn;

static void
stay_on(int cpu)
{
	cpu_set_t	set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void) pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* Take every other turn, the even ones or the odd ones. */
static void
take_turns(int first)
{
	for (int i = first; i < 2 * TURNS; i += 2)
	{
		while (atomic_load_explicit(&turn, memory_order_acquire) != i)
			;
		atomic_store_explicit(&turn, i + 1, memory_order_release);
	}
}

static void *
other_thread(void *arg)
{
	(void) arg;
	stay_on(1);
	take_turns(1);
	return NULL;
}

int
main(void)
{
	pthread_t	other;
	struct timespec began;
	struct timespec ended;

	stay_on(0);
	if (pthread_create(&other, NULL, other_thread, NULL) != 0)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &began);
	take_turns(0);
	pthread_join(other, NULL);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%.0f\n", ((double) (ended.tv_sec - began.tv_sec) * 1e9 +
					  (double) (ended.tv_nsec - began.tv_nsec)) / (2 * TURNS));
	return 0;
}
