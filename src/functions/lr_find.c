/*
 * lr_find.c
 *	  collab.lr_find(): which learning rate?
 *
 * Reads the ratings as a training would, and touches no model.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "miscadmin.h"

#include "core/cf_lr_find.h"
#include "server/arguments.h"
#include "server/compat.h"
#include "server/host.h"
#include "server/training.h"

COLLAB_FUNCTION(collab_lr_find);

enum
{
	ARG_RATINGS,
	ARG_USER_COLUMN,
	ARG_ITEM_COLUMN,
	ARG_RATING_COLUMN,
	ARG_OPTIONS					/* as many as OptionsCount(), then these: */
};

enum
{
	ARG_START_LR,
	ARG_END_LR,
	ARG_NUM_IT
};

typedef struct RangeTest
{
	float8		start;
	float8		end;
	int32		n_steps;
} RangeTest;

static float8
RateArgument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	float8		rate;

	RequireArgument(fcinfo, argument, name);
	rate = PG_GETARG_FLOAT8(argument);
	if (!(rate > 0) || !isfinite(rate))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than 0 and finite", name)));
	return rate;
}

static RangeTest
TestArguments(FunctionCallInfo fcinfo, int first)
{
	RangeTest	test;

	test.start = RateArgument(fcinfo, first + ARG_START_LR, "start_lr");
	test.end = RateArgument(fcinfo, first + ARG_END_LR, "end_lr");
	if (test.end <= test.start)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("end_lr must be greater than start_lr")));
	RequireArgument(fcinfo, first + ARG_NUM_IT, "num_it");
	test.n_steps = PG_GETARG_INT32(first + ARG_NUM_IT);
	if (test.n_steps < CF_LR_FIND_LEAST_STEPS || test.n_steps > CF_LR_FIND_MOST_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("num_it must be between %d and %d", CF_LR_FIND_LEAST_STEPS,
						CF_LR_FIND_MOST_STEPS)));
	return test;
}

static void
AddCurve(FunctionCallInfo fcinfo, const cf_lr_probe *probes, uint32 n, uint32 suggested)
{
	for (uint32 i = 0; i < n; i++)
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = Float8GetDatum(probes[i].rate);
		values[2] = Float8GetDatum(probes[i].loss);
		nulls[2] = !isfinite(probes[i].loss);
		values[3] = Float8GetDatum(probes[i].smoothed);
		nulls[3] = !isfinite(probes[i].smoothed);
		values[4] = BoolGetDatum(i == suggested);
		AddResultRow(fcinfo, values, nulls);
	}
}

Datum
collab_lr_find(PG_FUNCTION_ARGS)
{
	TrainOptions options;
	RangeTest	test;
	Source		source;
	TrainingJob *job;
	cf_lr_probe *probes;
	uint32		n;
	uint32		suggested;

	OptionsFromArguments(&options, fcinfo, ARG_OPTIONS);
	OptionsCheck(&options);
	if (OptionsUseSampler(&options))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("solver \"bayes\" has no learning rate to find")));
	options.verbose = false;	/* of a training; its result is all there is to tell */
	test = TestArguments(fcinfo, ARG_OPTIONS + OptionsCount());
	source = SourceArguments(fcinfo, ARG_RATINGS);
	source.read_only = true;

	BeginRows(fcinfo);
	job = JobCreate(&source, &options, false);
	SPI_connect();
	JobRead(job);
	SPI_finish();
	probes = palloc(test.n_steps * sizeof(cf_lr_probe));
	HostCheck(job->host, cf_lr_find(OptionsSolver(&job->options), &job->settings, job->ratings,
									test.start, test.end, test.n_steps, probes, &n, &suggested));
	AddCurve(fcinfo, probes, n, suggested);
	JobDestroy(job);
	return (Datum) 0;
}
