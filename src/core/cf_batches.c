/*
 * cf_batches.c
 *	  The training ratings in batches, epoch by epoch, in a fresh order each.
 */
#include <math.h>
#include <string.h>

#include "cf_batches.h"

uint32_t
cf_batches_size(const cf_settings *settings, size_t n_train)
{
	size_t		batch = settings->batch_size;

	if (batch == 0)
		batch = cf_default_batch_size(n_train);
	return (uint32_t) (batch < n_train ? batch : n_train);
}

size_t
cf_batches_steps(const cf_settings *settings, size_t n_train)
{
	if (settings->n_steps > 0)
		return settings->n_steps;
	return cf_size_mul(n_train / cf_batches_size(settings, n_train), settings->n_epochs);
}

cf_status
cf_batches_begin(cf_batches *batches, const cf_settings *settings, cf_ratings *ratings,
				 cf_host *host)
{
	size_t		n_steps = cf_batches_steps(settings, ratings->n_train);

	memset(batches, 0, sizeof(*batches));
	if (n_steps >= UINT32_MAX)
		return CF_TOO_MANY;
	batches->host = host;
	batches->rows = ratings->rows;
	batches->n_train = ratings->n_train;
	batches->size = cf_batches_size(settings, ratings->n_train);
	batches->n_epoch = ratings->n_train / batches->size;
	batches->n_steps = (uint32_t) n_steps;
	batches->seed = settings->seed;
	return CF_OK;
}

static cf_status
run_batch(cf_batches *batches, cf_batch_step step, void *context, double *sum)
{
	size_t		at = batches->step % batches->n_epoch;
	cf_status	status = CF_OK;

	if (batches->step >= batches->n_steps)
		return CF_TOO_MANY;
	if (at == 0)
		status = cf_ratings_shuffle(batches->host, batches->rows, batches->n_train,
									batches->seed, (uint32_t) (batches->step / batches->n_epoch));
	if (status == CF_OK)
		status = step(context, batches->rows + at * batches->size, sum);
	batches->step++;
	return status;
}

cf_status
cf_batches_next(cf_batches *batches, cf_batch_step step, void *context, double *loss)
{
	double		sum = 0.0;
	cf_status	status = run_batch(batches, step, context, &sum);

	*loss = sum / batches->size;
	return status;
}

cf_status
cf_batches_epoch(cf_batches *batches, cf_batch_step step, void *context, double *loss)
{
	double		sum = 0.0;
	size_t		n = 0;
	cf_status	status;

	do
	{
		status = run_batch(batches, step, context, &sum);
		n++;
	} while (status == CF_OK && batches->step < batches->n_steps &&
			 batches->step % batches->n_epoch > 0);
	*loss = sum / ((double) n * batches->size);
	return status;
}
