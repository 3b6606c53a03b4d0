/*
 * cf_kernels.c
 *	  The inner loops, compiled for several levels of CPU.
 */
#include <math.h>

#include "cf_kernels.h"

/* Lanes of two vectors of eight floats, by their numbers in both. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...)	__builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) \
	__builtin_shuffle(a, b, (int __attribute__((vector_size(8 * sizeof(int))))) {__VA_ARGS__})
#endif

/* The few elements that are left over are not worth another vector loop. */
#if defined(__clang__)
#define NO_VECTORS		_Pragma("clang loop vectorize(disable)")
#else
#define NO_VECTORS
#endif

#define KERNEL(name)	name##_baseline
#define TARGET
#define LANES			8
#define LEVEL_NAME		"baseline"
#include "cf_kernels_body.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86_LEVELS

#define KERNEL(name)	name##_avx2
#define TARGET			__attribute__((target("avx2,fma")))
#define LANES			8
#define LEVEL_NAME		"avx2"
#include "cf_kernels_body.h"

#define KERNEL(name)	name##_avx512
#define TARGET			__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define LANES			16
#define LEVEL_NAME		"avx512"
#include "cf_kernels_body.h"
#endif

#ifdef HAVE_X86_LEVELS
static bool
cpu_has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool
cpu_has_avx512(void)
{
	return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512bw");
}
#endif

const cf_kernels *
cf_kernels_level(int level)
{
	if (level == 0)
		return &kernels_baseline;
#ifdef HAVE_X86_LEVELS
	__builtin_cpu_init();
	if (level == 1 && cpu_has_avx2())
		return &kernels_avx2;
	if (level == 2 && cpu_has_avx512())
		return &kernels_avx512;
#endif
	return NULL;
}

const cf_kernels *
cf_kernels_best(void)
{
	const cf_kernels *best = NULL;
	int			level;

	for (level = CF_KERNEL_LEVELS - 1; best == NULL; level--)
		best = cf_kernels_level(level);
	return best;
}
