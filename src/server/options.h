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

/* Values of option solver. */
typedef enum SolverChoice
{
	CHOOSE_AUTO,				/* by the number of ratings */
	CHOOSE_ADAM,
	CHOOSE_SGD,
	CHOOSE_BAYES
} SolverChoice;

/* What trains. */
typedef enum Solver
{
	SOLVER_ADAM,
	SOLVER_MLP,					/* a neural model */
	SOLVER_SGD,
	SOLVER_BAYES
} Solver;

/*
 * As given; what is derived from the data is not in here.  An option that was
 * not given, or given as NULL, has its solver's default, which it gets when
 * the ratings, and so the solver, are known: until then it has no value.
 */
typedef struct TrainOptions
{
	uint64		given;			/* bits, in the order of the table in options.c */
	bool		settled;		/* all have values */
	Solver		solver_used;	/* once settled */
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
	int32		solver;			/* SolverChoice */
	bool		use_nn;			/* a neural model; what follows is for it alone */
	int32		n_layers;		/* 0: NULL, the default */
	int32		layers[CF_MAX_LAYERS];
	int32		user_factors;	/* 0: NULL, by the rule */
	int32		item_factors;
	bool		batch_norm;
	float8		dropout;
	int32		burn_in;		/* of bayes alone, like what follows */
	int32		implicit;		/* cf_implicit */
	int32		keep_draws;
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

/* Nothing given. */
extern TrainOptions OptionsDefault(void);

/* Give an option that is a number, by its name. */
extern void OptionsGiveNumber(TrainOptions *options, const char *name, float8 value);

/*
 * The same for a model that is trained again: options that the solver it has
 * then does not know are forgotten, unless they are among the new ones.
 */
extern void OptionsOverride(TrainOptions *options, Jsonb *jsonb);

/*
 * Choose the solver for these ratings and fill in its defaults.  "auto" is sgd
 * from CF_LARGE_TABLE training ratings on, unless an option was given that sgd
 * does not know, else adam.
 */
extern TrainOptions OptionsSettle(const TrainOptions *options, const cf_ratings *ratings);

/*
 * Options as a head keeps them; what an older version did not know has its
 * default.
 */
extern TrainOptions OptionsStored(Jsonb *jsonb);

/*
 * The schedule among options that a head keeps, for those who only look: false
 * instead of an error where they are not what a training writes, and for a
 * solver that has none.
 */
extern bool OptionsStoredSchedule(Jsonb *jsonb, const char *solver_name, cf_schedule *schedule,
								  bool *has_momentum);

/* All options as a jsonb object, which OptionsStored reads back. */
extern Jsonb *OptionsToJsonb(const TrainOptions *options);

/* Raise an error (22023) for a value that is out of its bounds. */
extern void OptionsCheck(const TrainOptions *options);

/* Raise an error (22023) for keep_best where nothing is held out. */
extern void OptionsRequireHeldOut(const TrainOptions *options, const cf_ratings *ratings);

/* Was the option of that name given? */
extern bool OptionsGiven(const TrainOptions *options, const char *name);

/* Do they ask for solver bayes? */
extern bool OptionsUseSampler(const TrainOptions *options);

/* Does the solver of settled options know the option of that name? */
extern bool OptionsKnow(const TrainOptions *options, const char *name);

/* The solver of settled options. */
extern const cf_solver *OptionsSolver(const TrainOptions *options);

/* Settled options as settings: batch size and range derived where not given. */
extern cf_settings OptionsToSettings(const TrainOptions *options, const cf_ratings *ratings);

#endif							/* COLLAB_OPTIONS_H */
