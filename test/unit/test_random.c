/* test_random.c: Philox against its published vectors, and the normals. */
#include "tap.h"
#include "support.h"

typedef struct known_answer
{
	uint32_t	counter[4];
	uint32_t	key[2];
	uint32_t	out[4];
} known_answer;

/* Random123, kat_vectors, philox4x32 10 */
static const known_answer known[] = {
	{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
	{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
	{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
	{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}
};

static void
test_known_answers(void)
{
	size_t		j;
	uint32_t	out[4];

	for (j = 0; j < sizeof(known) / sizeof(known[0]); j++)
	{
		cf_philox(known[j].counter, known[j].key, out);
		OK(memcmp(out, known[j].out, sizeof(out)) == 0, "philox vector %zu", j);
	}
	cf_random_block(UINT64_C(0x299f31d0a4093822), 0x03707344,
					UINT64_C(0x13198a2e85a308d3), 0x243f6a88, out);
	OK(memcmp(out, known[2].out, sizeof(out)) == 0, "seed, stream, row, index make the counter");
}

static void
test_normals(void)
{
	enum {N = 100000};
	float	   *x = malloc(N * sizeof(float));
	float		part[7];
	double		sum = 0,
				squares = 0;
	float		greatest = 0;
	int			j;

	cf_random_wrapped_normal(42, CF_STREAM_USER_START, 7, 1.0f, x, N);
	for (j = 0; j < N; j++)
	{
		sum += x[j];
		squares += (double) x[j] * x[j];
		greatest = fmaxf(greatest, fabsf(x[j]));
	}
	OK(fabs(sum / N) < 0.01, "mean %.4f", sum / N);

	/* 0.7385 from within two deviations, 0.0115 from those that wrapped */
	OK(fabs(squares / N - 0.7500) < 0.01, "variance %.4f", squares / N);
	OK(greatest < 2.0f, "wrapped at two deviations: %.4f", (double) greatest);
	cf_random_wrapped_normal(42, CF_STREAM_USER_START, 7, 1.0f, part, 7);
	OK(memcmp(x, part, sizeof(part)) == 0, "a shorter row is a part of a longer");
	cf_random_wrapped_normal(42, CF_STREAM_USER_START, 8, 1.0f, part, 7);
	OK(memcmp(x, part, sizeof(part)) != 0, "another row is another");
	free(x);
}

int
main(void)
{
	test_known_answers();
	test_normals();
	return tap_done();
}
