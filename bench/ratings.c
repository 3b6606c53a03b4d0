/*
 * ratings.c
 *	  Makes up ratings, for benchmarks: few items have most ratings, users are
 *	  more or less busy, and a rating follows from sixteen planted factors,
 *	  biases and noise, on the scale 0.5 to 5 in halves.
 *
 *	  cc -O2 ratings.c -o ratings -lm
 *	  ./ratings USERS ITEMS RATINGS [SEED [PREFIX [HELD_OUT]]]
 *
 * Prints "user item rating", tab separated, for COPY.  With a prefix that is
 * not empty the ids are text: the prefix, u or i, and the number.  HELD_OUT
 * is a file for one rating in twenty, which is then not printed.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FACTORS 16

static uint64_t state;

/* splitmix64 */
static uint64_t
next(void)
{
	uint64_t	z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double
uniform(void)
{
	return ((double) (next() >> 11) + 0.5) / 9007199254740992.0;
}

static double
normal(void)
{
	double		radius = sqrt(-2 * log(uniform()));

	return radius * cos(6.283185307179586 * uniform());
}

/* Walker's alias method: draws i with probability weight[i] / sum. */
typedef struct
{
	uint32_t	n;
	double	   *keep;
	uint32_t   *alias;
} table;

static void *
take(size_t n, size_t size)
{
	void	   *p = calloc(n, size);

	if (p == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return p;
}

static table
prepare(double *weight, uint32_t n)
{
	table		t = {n, take(n, sizeof(double)), take(n, sizeof(uint32_t))};
	uint32_t   *small = take(n, sizeof(uint32_t));
	uint32_t   *large = take(n, sizeof(uint32_t));
	uint32_t	smalls = 0,
				larges = 0;
	double		sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += weight[i];
	for (uint32_t i = 0; i < n; i++)
	{
		t.keep[i] = weight[i] * n / sum;
		t.alias[i] = i;
		if (t.keep[i] < 1)
			small[smalls++] = i;
		else
			large[larges++] = i;
	}
	while (smalls > 0 && larges > 0)
	{
		uint32_t	s = small[--smalls];
		uint32_t	l = large[larges - 1];

		t.alias[s] = l;
		t.keep[l] -= 1 - t.keep[s];
		if (t.keep[l] < 1)
		{
			larges--;
			small[smalls++] = l;
		}
	}
	free(small);
	free(large);
	return t;
}

static uint32_t
draw(const table *t)
{
	uint32_t	i = (uint32_t) (uniform() * t->n);

	return uniform() < t->keep[i] ? i : t->alias[i];
}

static void
print(FILE *to, const char *prefix, uint32_t user, uint32_t item, long halves)
{
	if (*prefix)
		fprintf(to, "%su%u\t%si%u\t%g\n", prefix, user, prefix, item, (double) halves / 2);
	else
		fprintf(to, "%u\t%u\t%g\n", user, item, (double) halves / 2);
}

int
main(int argc, char **argv)
{
	uint32_t	users,
				items;
	long		ratings;
	const char *prefix;
	FILE	   *held_out = NULL;
	double	   *weight,
			   *user_bias,
			   *item_bias;
	float	   *user,
			   *item;
	table		by_user,
				by_item;

	if (argc < 4)
	{
		fprintf(stderr, "usage: ratings USERS ITEMS RATINGS [SEED [PREFIX [HELD_OUT]]]\n");
		return 2;
	}
	users = (uint32_t) atol(argv[1]);
	items = (uint32_t) atol(argv[2]);
	ratings = atol(argv[3]);
	state = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
	prefix = argc > 5 ? argv[5] : "";
	if (users < 1 || items < 1)
		return 2;
	if (argc > 6 && (held_out = fopen(argv[6], "w")) == NULL)
	{
		perror(argv[6]);
		return 1;
	}

	weight = take(users > items ? users : items, sizeof(double));
	for (uint32_t i = 0; i < users; i++)
		weight[i] = exp(1.1 * normal());
	by_user = prepare(weight, users);
	for (uint32_t i = 0; i < items; i++)
		weight[i] = pow(20.0 + i, -0.9);
	by_item = prepare(weight, items);

	user_bias = take(users, sizeof(double));
	item_bias = take(items, sizeof(double));
	user = take((size_t) users * FACTORS, sizeof(float));
	item = take((size_t) items * FACTORS, sizeof(float));
	for (uint32_t i = 0; i < users; i++)
		user_bias[i] = 0.4 * normal();
	for (uint32_t i = 0; i < items; i++)
		item_bias[i] = 0.5 * normal();
	for (size_t i = 0; i < (size_t) users * FACTORS; i++)
		user[i] = (float) normal();
	for (size_t i = 0; i < (size_t) items * FACTORS; i++)
		item[i] = (float) (0.12 * normal());

	for (long n = 0; n < ratings; n++)
	{
		uint32_t	u = draw(&by_user);
		uint32_t	i = draw(&by_item);
		double		score = 3.5 + user_bias[u] + item_bias[i] + 0.75 * normal();
		long		halves;

		for (int f = 0; f < FACTORS; f++)
			score += user[(size_t) u * FACTORS + f] * item[(size_t) i * FACTORS + f];
		halves = lround(2 * score);
		halves = halves < 1 ? 1 : halves > 10 ? 10 : halves;
		print(held_out && next() % 20 == 0 ? held_out : stdout, prefix, u + 1, i + 1, halves);
	}
	if (held_out && fclose(held_out) != 0)
	{
		perror(argv[6]);
		return 1;
	}
	return 0;
}
