/*
 * triad.c
 *	  What more threads are worth to plain loops over memory, for benchmarks:
 *	  a[i] = b[i] + s * c[i], each thread on arrays of its own.
 *
 *	  cc -O3 -march=native triad.c -o triad -pthread
 *	  ./triad THREADS
 *
 * Prints GB a second, of all threads together: the best of some passes, each
 * of which all threads begin together and which ends with the last of them.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N		(UINT32_C(1) << 22)	/* three arrays of 32 MB */
#define PASSES	20
#define MOST	64

static pthread_barrier_t barrier;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
triad(double *restrict a, const double *restrict b, const double *restrict c, double s)
{
	for (uint32_t i = 0; i < N; i++)
		a[i] = b[i] + s * c[i];
}

/* arg: where to put the seconds of each pass, or NULL */
static void *
run(void *arg)
{
	double	   *seconds = arg;
	double	   *a = malloc(3 * N * sizeof(double));

	if (a == NULL)
		abort();
	for (uint32_t i = 0; i < 3 * N; i++)
		a[i] = i;
	for (int pass = 0; pass < PASSES; pass++)
	{
		double		began;

		pthread_barrier_wait(&barrier);
		began = now();
		triad(a, a + N, a + 2 * N, 0.5 + pass);
		pthread_barrier_wait(&barrier);
		if (seconds)
			seconds[pass] = now() - began;
	}
	free(a);
	return NULL;
}

int
main(int argc, char **argv)
{
	int			threads = argc > 1 ? atoi(argv[1]) : 1;
	double		seconds[PASSES];
	double		best;
	pthread_t	others[MOST];

	if (threads < 1 || threads > MOST)
		return 2;
	pthread_barrier_init(&barrier, NULL, (unsigned) threads);
	for (int t = 1; t < threads; t++)
		if (pthread_create(&others[t], NULL, run, NULL) != 0)
			return 1;
	run(seconds);
	for (int t = 1; t < threads; t++)
		pthread_join(others[t], NULL);
	best = seconds[0];
	for (int pass = 1; pass < PASSES; pass++)
		if (seconds[pass] < best)
			best = seconds[pass];
	printf("%.2f\n", threads * 3.0 * N * sizeof(double) / best / 1e9);
	return 0;
}
