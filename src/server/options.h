/*
 * options.h
 *	  The options of a training: one struct, filled by the named arguments of
 *	  train() and by the jsonb of retrain(), checked in one place.
 */
#ifndef COLLAB_OPTIONS_H
#define COLLAB_OPTIONS_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "core/cf_ratings.h"
#include "core/cf_solver.h"

typedef enum RangeMode
{
	RANGE_FROM_DATA,			/* y_range '{}' */
	RANGE_GIVEN,				/* y_range {low, high} */
	RANGE_NONE					/* y_range NULL */
} RangeMode;

/* As given; what is derived from the data is not in here. */
typedef struct TrainOptions
{
	int32		n_factors;
	int32		n_epochs;
	float8		lr_max;
	float8		wd;
	int32		batch_size;		/* 0: NULL, by the rule */
	float8		valid_pct;
	int64		seed;
	RangeMode	range_mode;
	float4		low;			/* RANGE_GIVEN */
	float4		high;
	bool		use_bias;
	float8		pct_start;
	float8		div_start;
	float8		div_final;
	float8		mom_low;
	float8		mom_high;
	bool		use_nn;			/* a neural model; what follows is for it alone */
	int32		n_layers;		/* 0: NULL, the default */
	int32		layers[CF_MAX_LAYERS];
	int32		user_factors;	/* 0: NULL, by the rule */
	int32		item_factors;
	bool		batch_norm;
	float8		dropout;
	bool		keep_best;
	bool		verbose;
} TrainOptions;

/*
 * Options from the arguments of train(): "first" is the number of the first
 * option, and they follow one another in the order of the table in options.c.
 */
extern void OptionsFromArguments(TrainOptions *options, FunctionCallInfo fcinfo, int first);

/* Arguments of train() that are options. */
extern int	OptionsCount(void);

/*
 * Lay the keys of a jsonb object over options: an absent key leaves what is
 * there, JSON null is NULL, an unknown key is an error that names it.
 */
extern void OptionsFromJsonb(TrainOptions *options, Jsonb *jsonb);

/* The defaults of the install script. */
extern TrainOptions OptionsDefault(void);

/*
 * The same for a model that is trained again: where that makes it one of
 * another kind (use_nn), options that the new kind does not have are forgotten.
 */
extern void OptionsOverride(TrainOptions *options, Jsonb *jsonb);

/*
 * Options as a head keeps them; what an older version did not know has its
 * default.
 */
extern TrainOptions OptionsStored(Jsonb *jsonb);

/*
 * The schedule among options that a head keeps, for those who only look: false
 * instead of an error where they are not what a training writes.
 */
extern bool OptionsStoredSchedule(Jsonb *jsonb, cf_schedule *schedule);

/* All options as a jsonb object, which OptionsStored reads back. */
extern Jsonb *OptionsToJsonb(const TrainOptions *options);

/* Raise an error (22023) for a value that is out of its bounds. */
extern void OptionsCheck(const TrainOptions *options);

/* Raise an error (22023) for keep_best where nothing is held out. */
extern void OptionsRequireHeldOut(const TrainOptions *options, const cf_ratings *ratings);

/* The solver that these options ask for. */
extern const cf_solver *OptionsSolver(const TrainOptions *options);

/* The settings for these ratings: batch size and range derived where not given. */
extern cf_settings OptionsToSettings(const TrainOptions *options, const cf_ratings *ratings);

#endif							/* COLLAB_OPTIONS_H */
