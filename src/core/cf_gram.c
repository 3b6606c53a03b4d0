/*
 * cf_gram.c
 *	  Dense linear algebra of small systems, compiled for several levels of CPU.
 */
#include <math.h>
#include <string.h>

#include "cf_gram.h"
#include "cf_kernels.h"

/* A loop of so few turns that the compiler keeps what it indexes in registers. */
#if defined(__clang__)
#define UNROLL			_Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL			_Pragma("GCC unroll 32")
#else
#define UNROLL
#endif

#define INLINE			inline __attribute__((always_inline))

#if defined(__GNUC__)
#define PREFETCH(address)	__builtin_prefetch(address)
#else
#define PREFETCH(address)	((void) (address))
#endif

#define MOST_REGISTERS	6		/* of a column that are worked at at once */
#define FETCH_AHEAD		16		/* rows */

#define KERNEL(name)	name##_baseline
#define TARGET
#define LANES			4
#define MOST_ROWS		8
#define LEVEL_NAME		"baseline"
#include "cf_gram_body.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define KERNEL(name)	name##_avx2
#define TARGET			__attribute__((target("avx2,fma")))
#define LANES			8
#define MOST_ROWS		12
#define LEVEL_NAME		"avx2"
#include "cf_gram_body.h"

#define KERNEL(name)	name##_avx512
#define TARGET			__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define LANES			16
#define MOST_ROWS		24
#define LEVEL_NAME		"avx512"
#include "cf_gram_body.h"
#endif

const cf_gram *
cf_gram_level(int level)
{
	if (cf_kernels_level(level) == NULL)
		return NULL;
#if defined(__x86_64__) && defined(__GNUC__)
	if (level == 1)
		return &gram_level_avx2;
	if (level == 2)
		return &gram_level_avx512;
#endif
	return &gram_level_baseline;
}

const cf_gram *
cf_gram_best(void)
{
	const cf_gram *best = NULL;
	int			level;

	for (level = CF_KERNEL_LEVELS - 1; best == NULL; level--)
		best = cf_gram_level(level);
	return best;
}
