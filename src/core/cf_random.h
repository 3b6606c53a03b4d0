/*
 * cf_random.h
 *	  Counter-based random numbers: Philox4x32-10.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3",
 * SC 2011.  A number depends on (seed; stream, row, index) alone, never on
 * how many were drawn before it or by which thread, which is what makes a
 * training give the same bits however its work is divided.
 */
#ifndef CF_RANDOM_H
#define CF_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* What a stream of numbers is for: each purpose has its own. */
typedef enum cf_stream
{
	CF_STREAM_USER_START = 1,	/* starting embeddings of the users */
	CF_STREAM_ITEM_START,		/* ... and of the items */
	CF_STREAM_SHUFFLE,			/* the order of the ratings in an epoch */
	CF_STREAM_NET_START,		/* a net's starting weights; row: layer and unit */
	CF_STREAM_DROPOUT,			/* what is dropped; row: step and layer */
	CF_STREAM_TRIALS,			/* which settings of a grid are tried */
	CF_STREAM_STRATA,			/* the order of a grid's bands; row: epoch */
	CF_STREAM_BAYES = 64		/* this and what follows: cf_bayes.c's own */
} cf_stream;

/* The generator itself: four words from a counter and a key. */
extern void cf_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Four 32-bit words for the counter (stream, row, index) under "seed". */
extern void cf_random_block(uint64_t seed, uint32_t stream, uint64_t row,
							uint32_t index, uint32_t out[4]);

/* "n" normal deviates of mean 0 and deviation 1. */
extern void cf_random_normal(uint64_t seed, uint32_t stream, uint64_t row, float *out, size_t n);

/* A deviate of the gamma distribution of this shape > 0 and scale 1. */
extern double cf_random_gamma(uint64_t seed, uint32_t stream, uint64_t row, double shape);

/*
 * "n" normal deviates of mean 0 and deviation "scale", wrapped at two
 * deviations (x mod 2, with x's sign), as fastai starts its embeddings.
 */
extern void cf_random_wrapped_normal(uint64_t seed, uint32_t stream, uint64_t row,
									 float scale, float *out, size_t n);

/* "n" deviates uniform within (-bound, bound). */
extern void cf_random_uniform(uint64_t seed, uint32_t stream, uint64_t row,
							  float bound, float *out, size_t n);

/* 64-bit mixing function (the finaliser of MurmurHash3). */
extern uint64_t cf_mix(uint64_t x);

#endif							/* CF_RANDOM_H */
