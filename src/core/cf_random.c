/*
 * cf_random.c
 *	  Counter-based random numbers: Philox4x32-10.
 */
#include <math.h>

#include "cf_random.h"

#define PHILOX_ROUNDS	10

static const uint32_t philox_multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t philox_weyl[2] = {0x9E3779B9u, 0xBB67AE85u};

void
cf_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t	c0 = counter[0];
	uint32_t	c1 = counter[1];
	uint32_t	c2 = counter[2];
	uint32_t	c3 = counter[3];
	uint32_t	k0 = key[0];
	uint32_t	k1 = key[1];
	int			round;

	for (round = 0; round < PHILOX_ROUNDS; round++)
	{
		uint64_t	a = (uint64_t) philox_multiplier[0] * c0;
		uint64_t	b = (uint64_t) philox_multiplier[1] * c2;

		c0 = (uint32_t) (b >> 32) ^ c1 ^ k0;
		c1 = (uint32_t) b;
		c2 = (uint32_t) (a >> 32) ^ c3 ^ k1;
		c3 = (uint32_t) a;
		k0 += philox_weyl[0];
		k1 += philox_weyl[1];
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

void
cf_random_block(uint64_t seed, uint32_t stream, uint64_t row, uint32_t index,
				uint32_t out[4])
{
	uint32_t	counter[4];
	uint32_t	key[2];

	counter[0] = index;
	counter[1] = (uint32_t) row;
	counter[2] = (uint32_t) (row >> 32);
	counter[3] = stream;
	key[0] = (uint32_t) seed;
	key[1] = (uint32_t) (seed >> 32);
	cf_philox(counter, key, out);
}

/* Two independent normal deviates from two words (Box and Muller). */
static void
normal_pair(uint32_t a, uint32_t b, float out[2])
{
	/* 24 bits each: exact as a float; the first never 0, for the logarithm */
	float		u = ((float) (a >> 8) + 0.5f) * 0x1p-24f;
	float		angle = (float) (b >> 8) * (float) (0x1p-24 * 6.283185307179586);
	float		radius = sqrtf(-2.0f * logf(u));

	out[0] = radius * cosf(angle);
	out[1] = radius * sinf(angle);
}

void
cf_random_normal(uint64_t seed, uint32_t stream, uint64_t row, float *out, size_t n)
{
	size_t		done;
	size_t		j;

	for (done = 0; done < n; done += 4)
	{
		uint32_t	words[4];
		float		normals[4];

		cf_random_block(seed, stream, row, (uint32_t) (done / 4), words);
		normal_pair(words[0], words[1], normals);
		normal_pair(words[2], words[3], normals + 2);
		for (j = 0; j < 4 && done + j < n; j++)
			out[done + j] = normals[j];
	}
}

void
cf_random_wrapped_normal(uint64_t seed, uint32_t stream, uint64_t row,
						 float scale, float *out, size_t n)
{
	size_t		j;

	cf_random_normal(seed, stream, row, out, n);
	for (j = 0; j < n; j++)
		out[j] = scale * fmodf(out[j], 2.0f);
}

/* Within (0, 1). */
static inline double
unit_uniform(uint32_t word)
{
	return ((double) word + 0.5) * 0x1p-32;
}

/*
 * Marsaglia and Tsang: "A simple method for generating gamma variables", 2000.
 * Below a shape of 1 that of shape + 1 is made smaller.
 */
double
cf_random_gamma(uint64_t seed, uint32_t stream, uint64_t row, double shape)
{
	const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0;
	const double c = 1.0 / sqrt(9.0 * d);
	double		boost = 1.0;
	uint32_t	index;

	for (index = 0;; index++)
	{
		uint32_t	words[4];
		float		normals[2];
		double		v;

		cf_random_block(seed, stream, row, index, words);
		if (index == 0 && shape < 1.0)
			boost = pow(unit_uniform(words[3]), 1.0 / shape);
		normal_pair(words[0], words[1], normals);
		v = 1.0 + c * normals[0];
		if (v <= 0.0)
			continue;
		v = v * v * v;
		if (log(unit_uniform(words[2])) <
			0.5 * (double) normals[0] * normals[0] + d - d * v + d * log(v))
			return boost * d * v;
	}
}

void
cf_random_uniform(uint64_t seed, uint32_t stream, uint64_t row, float bound, float *out,
				  size_t n)
{
	size_t		done;
	size_t		j;

	for (done = 0; done < n; done += 4)
	{
		uint32_t	words[4];

		cf_random_block(seed, stream, row, (uint32_t) (done / 4), words);
		for (j = 0; j < 4 && done + j < n; j++)
			out[done + j] = bound * (((float) (words[j] >> 8) + 0.5f) * 0x1p-23f - 1.0f);
	}
}

uint64_t
cf_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xFF51AFD7ED558CCD);
	x ^= x >> 33;
	x *= UINT64_C(0xC4CEB9FE1A85EC53);
	x ^= x >> 33;
	return x;
}
