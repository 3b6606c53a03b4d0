/*
 * train.c
 *	  collab.train(): a model from a ratings table, in one transaction.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/destination.h"

COLLAB_FUNCTION(collab_train);

/* Arguments of train(), in order. */
enum
{
	ARG_MODEL,
	ARG_RATINGS,
	ARG_USER_COLUMN,
	ARG_ITEM_COLUMN,
	ARG_RATING_COLUMN,
	ARG_OPTIONS					/* as many as OptionsCount(), then "replace" */
};

/* A row of the result; the context is the call. */
static void
AddEpoch(void *context, const TrainingJob *job, const cf_epoch *report)
{
	FunctionCallInfo fcinfo = context;
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = Int32GetDatum(job->n_done);
	values[1] = Float8GetDatum(report->train_loss);
	values[2] = Float8GetDatum(report->valid_loss);
	nulls[2] = isnan(report->valid_loss);
	values[3] = IntervalFromSeconds(job->elapsed[job->n_done - 1]);
	AddResultRow(fcinfo, values, nulls);
}

Datum
collab_train(PG_FUNCTION_ARGS)
{
	int			arg_replace = ARG_OPTIONS + OptionsCount();
	TrainOptions options;
	NewModelName name;
	Source		source;
	TrainingJob *job;
	Destination destination;

	RequireArgument(fcinfo, ARG_MODEL, "model");
	RequireArgument(fcinfo, arg_replace, "replace");
	OptionsFromArguments(&options, fcinfo, ARG_OPTIONS);
	OptionsCheck(&options);
	PreventCommandIfReadOnly("collab.train()");
	PreventCommandIfParallelMode("collab.train()");
	source = SourceArguments(fcinfo, ARG_RATINGS);
	name = ModelParseName(text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODEL)));

	BeginRows(fcinfo);
	job = JobCreate(&source, &options, false);
	SPI_connect();
	destination = DestinationOpen(job, &name, PG_GETARG_BOOL(arg_replace),
								  "Train it again with collab.retrain(), or give replace => true.");
	JobRead(job);
	DestinationTrain(&destination, job, AddEpoch, fcinfo);
	SPI_finish();
	JobDestroy(job);
	return (Datum) 0;
}
