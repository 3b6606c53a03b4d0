/*
 * train.c
 *	  Train a model without a server: "user item rating" lines on stdin.
 *
 * Build:  make -C test/unit example
 */
#include <inttypes.h>
#include <stdio.h>

#include "cf_solver.h"

int
main(void)
{
	cf_settings settings = {.n_factors = 50, .n_epochs = 5, .wd = 0.1, .seed = 42, .use_bias = true,
	.use_range = true, .schedule.cycle = {5e-3, 0.25, 25, 1e5, 0.85, 0.95}};
	cf_host		host;
	cf_ratings *ratings;
	cf_model	model;
	cf_training *training;
	cf_epoch	report;
	cf_key		user = {0};
	cf_key		item = {0};
	float		value;
	cf_status	status;

	cf_host_init(&host);
	cf_model_init(&model, &host);
	status = cf_ratings_create(&host, CF_KEY_INTEGER, CF_KEY_INTEGER, &ratings);
	while (status == CF_OK && scanf("%" SCNd64 " %" SCNd64 " %f", &user.number, &item.number, &value) == 3)
		status = cf_ratings_add(ratings, user, item, value);
	if (status != CF_OK || (status = cf_ratings_freeze(ratings, settings.seed, 0.2)) != CF_OK)
		return status;

	settings.batch_size = cf_default_batch_size(ratings->n_train);
	cf_default_range(ratings->low, ratings->high, &settings.low, &settings.high);
	status = cf_training_begin(cf_solver_named("adam"), &settings, ratings, &model, NULL, NULL, NULL, &training);
	if (status != CF_OK)
		return status;
	printf("epoch  train loss  valid loss\n");
	while (status == CF_OK && (status = cf_training_epoch(training, NULL, &report)) == CF_OK)
	{
		printf("%5" PRIu32 "  %10.4f  %10.4f\n", report.epoch, report.train_loss, report.valid_loss);
		if (report.epoch + 1 == settings.n_epochs)
			break;
	}
	cf_training_end(training);
	cf_model_release(&model);
	cf_ratings_destroy(ratings);
	return status;
}
