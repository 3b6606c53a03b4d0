/*
 * option_table.h
 *	  What the files that deal with options share: the table of all options,
 *	  and how one of them is set.
 */
#ifndef COLLAB_OPTION_TABLE_H
#define COLLAB_OPTION_TABLE_H

#include "utils/array.h"

#include "server/options.h"

typedef enum OptionKind
{
	OPTION_INTEGER,				/* int32 */
	OPTION_BIGINT,				/* int64 */
	OPTION_REAL,				/* float8 */
	OPTION_BOOLEAN,
	OPTION_CHOICE,				/* int32: the number of a name */
	OPTION_RANGE,				/* y_range; NULL is a value of its own */
	OPTION_LAYERS				/* layers */
} OptionKind;

/* The solvers that can be asked for; a neural model's stands apart. */
#define N_SOLVERS	4

extern const char *const solver_names[N_SOLVERS];

typedef struct Option
{
	const char *name;
	OptionKind	kind;
	size_t		offset;			/* in TrainOptions */
	int			solvers;		/* that know it: bits */
	bool		fixed;			/* must not be NULL: one default for all solvers, as
								 * in the install script */
	float8		presets[N_SOLVERS]; /* the default of each; if fixed, the first */
	float8		least;			/* numbers only */
	float8		greatest;
	const char *bounds;			/* what the error says of them */
	const char *const *choices; /* names, NULL at the end */
} Option;

/* OptionsCount() of them, in the order of the arguments of train(). */
extern const Option option_table[];

/* Where its value is. */
extern void *OptionField(TrainOptions *options, const Option *option);

extern bool OptionIsGiven(const TrainOptions *options, const Option *option);
extern bool OptionIsKnown(const Option *option, Solver solver);

/* The option of a name that there is. */
extern const Option *OptionNamed(const char *name);

/* Give an option: from a value of its SQL type; NULL; a number of its kind. */
extern void OptionSet(TrainOptions *options, const Option *option, Datum value);
extern void OptionSetNull(TrainOptions *options, const Option *option);
extern void OptionSetNumber(TrainOptions *options, const Option *option, float8 value);
extern void OptionMarkGiven(TrainOptions *options, const Option *option);
extern void OptionSetRange(TrainOptions *options, int n, const float8 *values);
extern void OptionSetLayers(TrainOptions *options, const Option *option, int n, const float8 *values);

/* As if it had never been given. */
extern void OptionForget(TrainOptions *options, const Option *option);

/* Raise an error (22023) that says what its bounds are. */
extern void OptionIsBad(const Option *option);
extern void RangeIsBad(void);

extern cf_schedule OptionsSchedule(const TrainOptions *options);

/* All options, with the solver's defaults where they were not given. */
extern TrainOptions OptionsSettledFor(const TrainOptions *options, Solver solver);

#endif							/* COLLAB_OPTION_TABLE_H */
