/*
 * sgemm.c
 *	  Time of the bare products of all users and all items.
 *
 *	  cc -O2 sgemm.c -o sgemm -ldl -lpthread
 *	  ./sgemm USERS ITEMS FACTORS THREADS [BLOCK_USERS [TILE_ITEMS]]
 *
 * Prints seconds.  A column of ones stands for the bias, as in a score.  The
 * products are made a block of users and a tile of items at a time and thrown
 * away; each thread calls a single-threaded sgemm of OpenBLAS.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef void (*sgemm_function) (const char *transa, const char *transb, const int *m,
								const int *n, const int *k, const float *alpha, const float *a,
								const int *lda, const float *b, const int *ldb,
								const float *beta, float *c, const int *ldc);

static int	n_users;
static int	n_items;
static int	width;				/* factors and bias */
static int	stride;
static int	block_users;
static int	tile_items;
static float *users;
static float *items;
static atomic_int next_user;
static sgemm_function sgemm;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static float *
matrix(size_t rows, size_t columns)
{
	float	   *x = aligned_alloc(64, (rows * columns * sizeof(float) + 63) / 64 * 64);
	unsigned	state = 1;

	if (x == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	for (size_t i = 0; i < rows * columns; i++)
	{
		state = state * 1664525u + 1013904223u;
		x[i] = (float) (state >> 8) * 0x1p-24f - 0.5f;
	}
	return x;
}

static void *
work(void *tile)
{
	const float one = 1,
				zero = 0;
	int			user;

	while ((user = atomic_fetch_add(&next_user, block_users)) < n_users)
	{
		int			n = n_users - user < block_users ? n_users - user : block_users;

		for (int item = 0; item < n_items; item += tile_items)
		{
			int			m = n_items - item < tile_items ? n_items - item : tile_items;

			sgemm("T", "N", &m, &n, &width, &one, items + (size_t) item * (size_t) stride,
				  &stride, users + (size_t) user * (size_t) stride, &stride, &zero, tile, &m);
		}
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	void	   *library;
	pthread_t  *threads;
	int			n_threads;
	double		began;

	if (argc < 5)
	{
		fprintf(stderr, "usage: sgemm USERS ITEMS FACTORS THREADS [BLOCK_USERS [TILE_ITEMS]]\n");
		return 2;
	}
	n_users = atoi(argv[1]);
	n_items = atoi(argv[2]);
	width = atoi(argv[3]) + 1;
	n_threads = atoi(argv[4]);
	block_users = argc > 5 ? atoi(argv[5]) : 64;
	tile_items = argc > 6 ? atoi(argv[6]) : 2048;
	stride = (width + 3) / 4 * 4;

	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	library = dlopen("libopenblas.so.0", RTLD_NOW);
	if (library == NULL || !(*(void **) &sgemm = dlsym(library, "sgemm_")))
	{
		fprintf(stderr, "no OpenBLAS: %s\n", dlerror());
		return 1;
	}
	users = matrix((size_t) n_users, (size_t) stride);
	items = matrix((size_t) n_items, (size_t) stride);
	threads = calloc((size_t) n_threads, sizeof(pthread_t));

	began = now();
	for (int t = 0; t < n_threads; t++)
		pthread_create(&threads[t], NULL, work, matrix((size_t) block_users, (size_t) tile_items));
	for (int t = 0; t < n_threads; t++)
		pthread_join(threads[t], NULL);
	printf("%.3f\n", now() - began);
	return 0;
}
