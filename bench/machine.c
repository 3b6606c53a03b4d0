/*
 * machine.c
 *	  What this machine can do at the most: for bench/stages.
 *
 *	  cc -O3 -march=native machine.c -o machine
 *	  ./machine
 *
 * Prints the bytes a second that one thread copies (read and written, each
 * counted), from memory to memory, and the floating-point operations a second
 * of dot products of 64 numbers that lie in the nearest cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BYTES	((size_t) 256 << 20)
#define LENGTH	64
#define ROWS	64

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static double
copy_rate(void)
{
	char	   *from = malloc(BYTES);
	char	   *to = malloc(BYTES);
	double		best = 0;

	if (from == NULL || to == NULL)
		exit(1);
	memset(from, 1, BYTES);
	memset(to, 2, BYTES);
	for (int pass = 0; pass < 7; pass++)
	{
		double		began = now();
		double		rate;

		memcpy(to, from, BYTES);
		rate = 2 * (double) BYTES / (now() - began);
		best = rate > best ? rate : best;
	}
	if (to[BYTES / 2] != 1)
		exit(1);
	free(from);
	free(to);
	return best;
}

typedef float vector __attribute__((vector_size(32)));

static float
dot(const float *a, const float *b)
{
	vector		sums[4] = {0};
	vector		x,
				y;

	for (int i = 0; i < LENGTH; i += 8)
	{
		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		sums[i / 8 % 4] += x * y;
	}
	sums[0] += sums[1] + sums[2] + sums[3];
	return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3] + sums[0][4] + sums[0][5] + sums[0][6] + sums[0][7];
}

static double
operation_rate(void)
{
	static float rows[ROWS][LENGTH];
	float		sum = 0;
	double		best = 0;

	for (int i = 0; i < ROWS * LENGTH; i++)
		rows[i / LENGTH][i % LENGTH] = (float) i;
	for (int pass = 0; pass < 7; pass++)
	{
		double		began = now();
		double		rate;

		for (int i = 0; i < 1000000; i++)
			sum += dot(rows[i % ROWS], rows[(i * 7 + 1) % ROWS]);
		rate = 2.0 * LENGTH * 1e6 / (now() - began);
		best = rate > best ? rate : best;
	}
	if (sum == 1)
		puts("");
	return best;
}

int
main(void)
{
	printf("%.3g %.3g\n", copy_rate(), operation_rate());
	return 0;
}
