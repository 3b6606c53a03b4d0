/*
 * cf_kernels_body.h
 *	  The inner loops: included once for each level of CPU.
 *
 * The including file defines KERNEL(name), which gives a function its level's
 * name, and TARGET, the attribute that lets the compiler use the level's
 * instructions.  The loops are plain C that compilers turn into vectors.  A
 * sum is kept in LANES partial sums, whose order of adding is written down
 * here and not left to the compiler.
 */

TARGET static float
KERNEL(dot) (const float *restrict a, const float *restrict b, size_t n)
{
	float		lane[LANES] = {0};
	float		rest = 0.0f;
	size_t		j = 0;
	int			width;
	int			l;

	for (; j + LANES <= n; j += LANES)
		for (l = 0; l < LANES; l++)
			lane[l] += a[j + l] * b[j + l];
	for (; j < n; j++)
		rest += a[j] * b[j];
	for (width = LANES / 2; width > 0; width /= 2)
		for (l = 0; l < width; l++)
			lane[l] += lane[l + width];
	return lane[0] + rest;
}

TARGET static void
KERNEL(axpy) (float a, const float *restrict x, float *restrict y, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
		y[j] += a * x[j];
}

TARGET static void
KERNEL(adam_step) (const cf_adam_step *s, float *restrict p, float *restrict m,
				   float *restrict v, float *restrict g, size_t n)
{
	const cf_adam_step step = *s;
	const float fresh1 = 1.0f - step.beta1;
	const float fresh2 = 1.0f - step.beta2;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		float		mj = step.beta1 * m[j] + fresh1 * g[j];
		float		vj = step.beta2 * v[j] + fresh2 * g[j] * g[j];

		m[j] = mj;
		v[j] = vj;
		p[j] = p[j] * step.decay - step.rate * mj / (sqrtf(vj) * step.unbias + step.epsilon);
		g[j] = 0.0f;
	}
}

TARGET static void
KERNEL(adam_gap) (const cf_adam_gap *s, float *restrict p, float *restrict m,
				  float *restrict v, size_t n)
{
	const cf_adam_gap gap = *s;
	size_t		j;

	for (j = 0; j < n; j++)
	{
		p[j] = p[j] * gap.decay - gap.tail * m[j] / (sqrtf(v[j]) + gap.epsilon);
		m[j] *= gap.m_left;
		v[j] *= gap.v_left;
	}
}

static const cf_kernels KERNEL(kernels) = {
	LEVEL_NAME,
	KERNEL(dot),
	KERNEL(axpy),
	KERNEL(adam_step),
	KERNEL(adam_gap)
};

#undef KERNEL
#undef TARGET
#undef LANES
#undef LEVEL_NAME
