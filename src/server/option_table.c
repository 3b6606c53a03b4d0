/*
 * option_table.c
 *	  The table of all options of a training, and how one of them is set.
 *
 * A row has an option's name and type, where it is kept, what bounds it has,
 * which solvers know it and what default each has for it.  Arguments, jsonb
 * in, jsonb out and the checks all walk the table, so that an option is added
 * in one line (and in the script).
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "utils/builtins.h"

#include "server/compat.h"
#include "server/head.h"
#include "server/option_table.h"

#define ADAM		(1 << SOLVER_ADAM)
#define MLP			(1 << SOLVER_MLP)
#define SGD			(1 << SOLVER_SGD)
#define BAYES		(1 << SOLVER_BAYES)
#define ALL			(ADAM | MLP | SGD | BAYES)

#define AT(field) offsetof(TrainOptions, field)
#define FOR_ALL(preset) {preset, preset, preset, preset}

const char *const solver_names[N_SOLVERS] = {"adam", "mlp", "sgd", "bayes"};

/* The next double after 0, and the last before 1: bounds that exclude the ends. */
#define ABOVE_0		DBL_MIN
#define BELOW_1		(1.0 - DBL_EPSILON / 2)

/* In the order of SolverChoice. */
static const char *const solver_choices[] = {"auto", "adam", "sgd", "bayes", NULL};

/* In the order of cf_implicit. */
static const char *const implicit_choices[] = {"auto", "none", "items", "both", NULL};

/*
 * Presets stand in the order adam, mlp, sgd, bayes; what a solver does not
 * know, or has a rule for, has 0.
 */
const Option option_table[] = {
	{"n_factors", OPTION_INTEGER, AT(n_factors), ADAM | SGD | BAYES, false, .presets = {50, 0, 50, 20},
		.least = 1, .greatest = CF_MAX_FACTORS, .bounds = "between 1 and 1024"},
	{"n_epochs", OPTION_INTEGER, AT(n_epochs), ALL, false, .presets = {5, 5, 0, 60},
		.least = 1, .greatest = 100000, .bounds = "between 1 and 100000"},
	{"lr_max", OPTION_REAL, AT(lr_max), ADAM | MLP | SGD, false, .presets = {5e-3, 5e-3, 0.1, 0},
		.least = ABOVE_0, .greatest = 1000, .bounds = "greater than 0 and at most 1000"},
	{"wd", OPTION_REAL, AT(wd), ADAM | MLP | SGD, false, .presets = {0.1, 0.1, 0, 0},
		.least = 0, .greatest = 1000, .bounds = "between 0 and 1000"},
	{"batch_size", OPTION_INTEGER, AT(batch_size), ADAM | MLP, false, .presets = {0},
		.least = 1, .greatest = INT_MAX, .bounds = "at least 1, or NULL"},
	{"valid_pct", OPTION_REAL, AT(valid_pct), ALL, true, .presets = {0.2},
		.least = 0, .greatest = BELOW_1, .bounds = "at least 0 and less than 1"},
	{"seed", OPTION_BIGINT, AT(seed), ALL, true, .presets = {42}},
	{"y_range", OPTION_RANGE, 0, ALL, false, .presets = {0}},
	{"use_bias", OPTION_BOOLEAN, AT(use_bias), ADAM | SGD, false, .presets = FOR_ALL(true)},
	{"pct_start", OPTION_REAL, AT(pct_start), ADAM | MLP | SGD, false, .presets = {0.25, 0.25, 0, 0},
		.least = 0, .greatest = 1, .bounds = "between 0 and 1"},
	{"div_start", OPTION_REAL, AT(div_start), ADAM | MLP | SGD, false, .presets = FOR_ALL(25),
		.least = ABOVE_0, .greatest = 1e30, .bounds = "greater than 0 and at most 1e30"},
	{"div_final", OPTION_REAL, AT(div_final), ADAM | MLP | SGD, false, .presets = {1e5, 1e5, 20, 0},
		.least = ABOVE_0, .greatest = 1e30, .bounds = "greater than 0 and at most 1e30"},
	{"mom_low", OPTION_REAL, AT(mom_low), ADAM | MLP, false, .presets = {0.85, 0.85},
		.least = 0, .greatest = BELOW_1, .bounds = "at least 0 and less than 1"},
	{"mom_high", OPTION_REAL, AT(mom_high), ADAM | MLP, false, .presets = {0.95, 0.95},
		.least = 0, .greatest = BELOW_1, .bounds = "at least 0 and less than 1"},
	{"solver", OPTION_CHOICE, AT(solver), ALL, true, .presets = {CHOOSE_AUTO},
		.bounds = "'auto', 'adam', 'sgd' or 'bayes'", .choices = solver_choices},
	{"use_nn", OPTION_BOOLEAN, AT(use_nn), ALL, true, .presets = {false}},
	{"layers", OPTION_LAYERS, AT(layers), MLP, false, .presets = {0},
		.least = 1, .greatest = CF_MAX_UNITS, .bounds = "one to eight sizes between 1 and 4096, or NULL"},
	{"user_factors", OPTION_INTEGER, AT(user_factors), MLP, false, .presets = {0},
		.least = 1, .greatest = CF_MAX_FACTORS, .bounds = "between 1 and 1024, or NULL"},
	{"item_factors", OPTION_INTEGER, AT(item_factors), MLP, false, .presets = {0},
		.least = 1, .greatest = CF_MAX_FACTORS, .bounds = "between 1 and 1024, or NULL"},
	{"batch_norm", OPTION_BOOLEAN, AT(batch_norm), MLP, false, .presets = FOR_ALL(true)},
	{"dropout", OPTION_REAL, AT(dropout), MLP, false, .presets = {0},
		.least = 0, .greatest = BELOW_1, .bounds = "at least 0 and less than 1"},
	{"burn_in", OPTION_INTEGER, AT(burn_in), BAYES, false, .presets = {0},
		.least = 0, .greatest = 100000, .bounds = "between 0 and 100000"},
	{"implicit", OPTION_CHOICE, AT(implicit), BAYES, false, .presets = {0},
		.bounds = "'auto', 'none', 'items' or 'both'", .choices = implicit_choices},
	{"keep_draws", OPTION_INTEGER, AT(keep_draws), BAYES, false, .presets = {0},
		.least = 0, .greatest = HEAD_MOST_DRAWS, .bounds = "between 0 and 1000"},
	{"keep_best", OPTION_BOOLEAN, AT(keep_best), ALL, true, .presets = {false}},
	{"verbose", OPTION_BOOLEAN, AT(verbose), ALL, true, .presets = {true}},
};

StaticAssertDecl(lengthof(option_table) <= 64, "TrainOptions.given has a bit for each option");

static uint64
OptionBit(const Option *option)
{
	return UINT64CONST(1) << (option - option_table);
}

void
OptionMarkGiven(TrainOptions *options, const Option *option)
{
	options->given |= OptionBit(option);
}

bool
OptionIsGiven(const TrainOptions *options, const Option *option)
{
	return (options->given & OptionBit(option)) != 0;
}

void *
OptionField(TrainOptions *options, const Option *option)
{
	return (char *) options + option->offset;
}

static void
NullOption(const Option *option)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be NULL", option->name)));
}

void
OptionIsBad(const Option *option)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be %s", option->name, option->bounds)));
}

void
RangeIsBad(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("y_range must be two finite numbers, the lower one first"),
			 errhint("Give an empty array to derive it from the ratings, or NULL for no range.")));
}

void
OptionSetRange(TrainOptions *options, int n, const float8 *values)
{
	if (n == 0)
	{
		options->range_mode = RANGE_FROM_DATA;
		return;
	}
	if (n != 2)
		RangeIsBad();
	options->range_mode = RANGE_GIVEN;
	options->low = (float4) values[0];
	options->high = (float4) values[1];
}

static void
SetRangeFromArray(TrainOptions *options, ArrayType *array)
{
	float8		values[2];
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array) || (n != 0 && n != 2))
		RangeIsBad();
	for (int i = 0; i < n; i++)
		values[i] = ((float4 *) ArrayData(array))[i];
	OptionSetRange(options, n, values);
}

/* Sizes of layers; what comes of JSON may be no whole numbers. */
void
OptionSetLayers(TrainOptions *options, const Option *option, int n, const float8 *values)
{
	if (n < 1 || n > CF_MAX_LAYERS)
		OptionIsBad(option);
	for (int i = 0; i < n; i++)
	{
		/* written so that NaN fails */
		if (!(values[i] >= option->least && values[i] <= option->greatest) ||
			values[i] != floor(values[i]))
			OptionIsBad(option);
		options->layers[i] = (int32) values[i];
	}
	options->n_layers = n;
}

static void
SetLayersFromArray(TrainOptions *options, const Option *option, ArrayType *array)
{
	float8		values[CF_MAX_LAYERS];
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array) || n > CF_MAX_LAYERS)
		OptionIsBad(option);
	for (int i = 0; i < n; i++)
		values[i] = ((int32 *) ArrayData(array))[i];
	OptionSetLayers(options, option, n, values);
}

/* The choice of that name, of any length. */
static void
SetChoice(TrainOptions *options, const Option *option, const char *name, size_t length)
{
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strlen(option->choices[i]) == length &&
			memcmp(option->choices[i], name, length) == 0)
		{
			*(int32 *) OptionField(options, option) = i;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized %s \"%s\"", option->name, pnstrdup(name, length)),
			 errhint("It is %s.", option->bounds)));
}

void
OptionSetNumber(TrainOptions *options, const Option *option, float8 preset)
{
	void	   *field = OptionField(options, option);

	switch (option->kind)
	{
		case OPTION_INTEGER:
		case OPTION_CHOICE:
			*(int32 *) field = (int32) preset;
			break;
		case OPTION_BIGINT:
			*(int64 *) field = (int64) preset;
			break;
		case OPTION_REAL:
			*(float8 *) field = preset;
			break;
		case OPTION_BOOLEAN:
			*(bool *) field = preset != 0;
			break;
		case OPTION_LAYERS:
			options->n_layers = 0;
			break;
		case OPTION_RANGE:		/* one for all solvers */
			break;
	}
}

/* As if it had never been given. */
void
OptionForget(TrainOptions *options, const Option *option)
{
	options->given &= ~OptionBit(option);
	OptionSetNumber(options, option, 0);
}

/* NULL is for the solver's default, and a range that is NULL is none. */
void
OptionSetNull(TrainOptions *options, const Option *option)
{
	if (option->fixed)
		NullOption(option);
	if (option->kind == OPTION_RANGE)
		options->range_mode = RANGE_NONE;
	else
		OptionForget(options, option);
}

void
OptionSet(TrainOptions *options, const Option *option, Datum value)
{
	void	   *field = OptionField(options, option);

	options->given |= OptionBit(option);
	switch (option->kind)
	{
		case OPTION_INTEGER:
			*(int32 *) field = DatumGetInt32(value);
			break;
		case OPTION_BIGINT:
			*(int64 *) field = DatumGetInt64(value);
			break;
		case OPTION_REAL:
			*(float8 *) field = DatumGetFloat8(value);
			break;
		case OPTION_BOOLEAN:
			*(bool *) field = DatumGetBool(value);
			break;
		case OPTION_CHOICE:
			{
				text	   *name = DatumGetTextPP(value);

				SetChoice(options, option, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
				break;
			}
		case OPTION_RANGE:
			SetRangeFromArray(options, DatumGetArrayTypeP(value));
			break;
		case OPTION_LAYERS:
			SetLayersFromArray(options, option, DatumGetArrayTypeP(value));
			break;
	}
}

bool
OptionIsKnown(const Option *option, Solver solver)
{
	return (option->solvers & (1 << solver)) != 0;
}

const Option *
OptionNamed(const char *name)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	pg_unreachable();
}

int
OptionsCount(void)
{
	return lengthof(option_table);
}
