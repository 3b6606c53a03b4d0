/*
 * sum.c
 *	  How fast one thread reads memory: sums an array of floats again and again.
 *
 *	  cc -O2 sum.c -o sum
 *	  ./sum BYTES [PASSES]
 *
 * Prints the median time of a pass in milliseconds, and the sum's last bits to
 * keep the compiler honest.  Eight vectors are summed side by side, so that no
 * addition waits for another: what is left is the time of the memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LANES	8				/* floats of a vector */
#define SUMS	8				/* vectors summed side by side */
#define AT_ONCE	(LANES * SUMS)

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* n is a multiple of SUMS. */
static float
sum(const vector *x, size_t n)
{
	vector		s[SUMS] = {{0}};
	float		total = 0;

	for (size_t i = 0; i < n; i += SUMS)
		for (int j = 0; j < SUMS; j++)
			s[j] += x[i + (size_t) j];
	for (int j = 0; j < SUMS; j++)
		for (int lane = 0; lane < LANES; lane++)
			total += s[j][lane];
	return total;
}

int
main(int argc, char **argv)
{
	size_t		bytes = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	size_t		n = (bytes / sizeof(float) + AT_ONCE - 1) / AT_ONCE * SUMS;
	int			passes = argc > 2 ? atoi(argv[2]) : 21;
	vector	   *x;
	double	   *seconds;
	float		total = 0;

	if (bytes == 0 || passes < 1)
	{
		fprintf(stderr, "usage: sum BYTES [PASSES]\n");
		return 2;
	}
	x = aligned_alloc(64, n * sizeof(vector));
	seconds = malloc((size_t) passes * sizeof(double));
	if (x == NULL || seconds == NULL)
	{
		fprintf(stderr, "out of memory\n");
		return 1;
	}
	for (size_t i = 0; i < n; i++)
		for (int lane = 0; lane < LANES; lane++)
			x[i][lane] = (float) (i % 7) * 1e-3f;

	for (int pass = 0; pass < passes; pass++)
	{
		double		began = now();

		total += sum(x, n);
		seconds[pass] = now() - began;
		x[0][0] += 1;			/* no pass is the same as the last */
	}
	qsort(seconds, (size_t) passes, sizeof(double), compare);
	printf("%.3f %g\n", 1e3 * seconds[passes / 2], (double) total);
	return 0;
}
