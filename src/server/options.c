/*
 * options.c
 *	  The options of a training.
 *
 * One table describes every option: its name, its type, where it is kept, what
 * bounds it has, which solvers know it and what default each has for it.
 * Arguments, jsonb in, jsonb out and the checks all walk that table, so that
 * an option is added in one line (and in the script).
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "core/cf_bayes.h"
#include "core/cf_sgd.h"
#include "server/blas.h"
#include "server/compat.h"
#include "server/head.h"
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

static const char *const solver_names[N_SOLVERS] = {"adam", "mlp", "sgd", "bayes"};

#define ADAM		(1 << SOLVER_ADAM)
#define MLP			(1 << SOLVER_MLP)
#define SGD			(1 << SOLVER_SGD)
#define BAYES		(1 << SOLVER_BAYES)
#define ALL			(ADAM | MLP | SGD | BAYES)

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

#define AT(field) offsetof(TrainOptions, field)
#define FOR_ALL(preset) {preset, preset, preset, preset}

/* The next double after 0, and the last before 1: bounds that exclude the ends. */
#define ABOVE_0		DBL_MIN
#define BELOW_1		(1.0 - DBL_EPSILON / 2)

/* As text, in which pg_dump writes it, an array has 1 GB at most. */
#define MAX_WEIGHTS	(64 * 1024 * 1024)

/* In the order of SolverChoice. */
static const char *const solver_choices[] = {"auto", "adam", "sgd", "bayes", NULL};

/* In the order of cf_implicit. */
static const char *const implicit_choices[] = {"auto", "none", "items", "both", NULL};

/*
 * Presets stand in the order adam, mlp, sgd, bayes; what a solver does not
 * know, or has a rule for, has 0.
 */
static const Option option_table[] = {
	{"n_factors", OPTION_INTEGER, AT(n_factors), ADAM | SGD | BAYES, false, .presets = {50, 0, 50, 20},
		.least = 1, .greatest = CF_MAX_FACTORS, .bounds = "between 1 and 1024"},
	{"n_epochs", OPTION_INTEGER, AT(n_epochs), ALL, false, .presets = {5, 5, 0, 60},
		.least = 1, .greatest = 100000, .bounds = "between 1 and 100000"},
	{"lr_max", OPTION_REAL, AT(lr_max), ADAM | MLP | SGD, false, .presets = {5e-3, 5e-3, 0.07, 0},
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
	{"pct_start", OPTION_REAL, AT(pct_start), ADAM | MLP | SGD, false, .presets = FOR_ALL(0.25),
		.least = 0, .greatest = 1, .bounds = "between 0 and 1"},
	{"div_start", OPTION_REAL, AT(div_start), ADAM | MLP | SGD, false, .presets = FOR_ALL(25),
		.least = ABOVE_0, .greatest = 1e30, .bounds = "greater than 0 and at most 1e30"},
	{"div_final", OPTION_REAL, AT(div_final), ADAM | MLP | SGD, false, .presets = {1e5, 1e5, 1e3, 0},
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
BitOf(const Option *option)
{
	return UINT64CONST(1) << (option - option_table);
}

static bool
IsGiven(const TrainOptions *options, const Option *option)
{
	return (options->given & BitOf(option)) != 0;
}

static void *
Field(TrainOptions *options, const Option *option)
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

static void
BadOption(const Option *option)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be %s", option->name, option->bounds)));
}

static void
BadRange(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("y_range must be two finite numbers, the lower one first"),
			 errhint("Give an empty array to derive it from the ratings, or NULL for no range.")));
}

static void
SetRange(TrainOptions *options, int n, const float8 *values)
{
	if (n == 0)
	{
		options->range_mode = RANGE_FROM_DATA;
		return;
	}
	if (n != 2)
		BadRange();
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
		BadRange();
	for (int i = 0; i < n; i++)
		values[i] = ((float4 *) ArrayData(array))[i];
	SetRange(options, n, values);
}

/* Sizes of layers; what comes of JSON may be no whole numbers. */
static void
SetLayers(TrainOptions *options, const Option *option, int n, const float8 *values)
{
	if (n < 1 || n > CF_MAX_LAYERS)
		BadOption(option);
	for (int i = 0; i < n; i++)
	{
		/* written so that NaN fails */
		if (!(values[i] >= option->least && values[i] <= option->greatest) ||
			values[i] != floor(values[i]))
			BadOption(option);
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
		BadOption(option);
	for (int i = 0; i < n; i++)
		values[i] = ((int32 *) ArrayData(array))[i];
	SetLayers(options, option, n, values);
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
			*(int32 *) Field(options, option) = i;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized %s \"%s\"", option->name, pnstrdup(name, length)),
			 errhint("It is %s.", option->bounds)));
}

static void
SetPreset(TrainOptions *options, const Option *option, float8 preset)
{
	void	   *field = Field(options, option);

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
static void
Forget(TrainOptions *options, const Option *option)
{
	options->given &= ~BitOf(option);
	SetPreset(options, option, 0);
}

/* NULL is for the solver's default, and a range that is NULL is none. */
static void
SetNull(TrainOptions *options, const Option *option)
{
	if (option->fixed)
		NullOption(option);
	if (option->kind == OPTION_RANGE)
		options->range_mode = RANGE_NONE;
	else
		Forget(options, option);
}

static void
SetOption(TrainOptions *options, const Option *option, Datum value)
{
	void	   *field = Field(options, option);

	options->given |= BitOf(option);
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

TrainOptions
OptionsDefault(void)
{
	TrainOptions options = {.range_mode = RANGE_FROM_DATA};

	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (option_table[i].fixed)
			SetPreset(&options, &option_table[i], option_table[i].presets[0]);
	return options;
}

int
OptionsCount(void)
{
	return lengthof(option_table);
}

void
OptionsFromArguments(TrainOptions *options, FunctionCallInfo fcinfo, int first)
{
	*options = OptionsDefault();
	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		if (PG_ARGISNULL(first + i))
			SetNull(options, &option_table[i]);
		else
			SetOption(options, &option_table[i], PG_GETARG_DATUM(first + i));
	}
}

static bool
IsWhole(Numeric number)
{
	Datum		value = NumericGetDatum(number);

	return DatumGetBool(DirectFunctionCall2(numeric_eq, value,
											DirectFunctionCall2(numeric_trunc, value, Int32GetDatum(0))));
}

static void
RequireJsonType(const Option *option, const JsonbValue *value)
{
	bool		wants_boolean = option->kind == OPTION_BOOLEAN;
	bool		wants_text = option->kind == OPTION_CHOICE;

	if (value->type != (wants_boolean ? jbvBool : wants_text ? jbvString : jbvNumeric))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a %s", option->name,
						wants_boolean ? "boolean" : wants_text ? "string" : "number")));
}

/*
 * A jsonb scalar as the SQL type of the option.  Numbers go through numeric's
 * own conversions, which raise an error where the value does not fit.
 */
static Datum
JsonbToOption(const Option *option, JsonbValue *value)
{
	RequireJsonType(option, value);
	if (value->type == jbvNumeric && option->kind != OPTION_REAL && !IsWhole(value->val.numeric))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a whole number", option->name)));
	switch (option->kind)
	{
		case OPTION_BOOLEAN:
			return BoolGetDatum(value->val.boolean);
		case OPTION_REAL:
			return DirectFunctionCall1(numeric_float8_no_overflow,
									   NumericGetDatum(value->val.numeric));
		case OPTION_BIGINT:
			return DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric));
		case OPTION_CHOICE:
			return PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
															value->val.string.len));
		default:
			return DirectFunctionCall1(numeric_int4, NumericGetDatum(value->val.numeric));
	}
}

/* The numbers of a JSON array, how many of them; -1: it is no array of at most "most". */
static int
NumbersFromJsonb(const JsonbValue *value, float8 *values, int most)
{
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	if (value->type != jbvBinary)
		return -1;
	it = JsonbIteratorInit(value->val.binary.data);
	if (JsonbIteratorNext(&it, &element, true) != WJB_BEGIN_ARRAY)
		return -1;
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
	{
		if (element.type != jbvNumeric || n == most)
			return -1;
		values[n++] = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
														 NumericGetDatum(element.val.numeric)));
	}
	return n;
}

static void
SetArrayFromJsonb(TrainOptions *options, const Option *option, const JsonbValue *value)
{
	float8		values[Max(CF_MAX_LAYERS, 2)];
	int			n;

	options->given |= BitOf(option);
	if (option->kind == OPTION_LAYERS)
	{
		n = NumbersFromJsonb(value, values, CF_MAX_LAYERS);
		SetLayers(options, option, n, values);
		return;
	}
	n = NumbersFromJsonb(value, values, 2);
	if (n < 0)
		BadRange();
	SetRange(options, n, values);
}

static const Option *
FindOption(const JsonbValue *key)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (strlen(option_table[i].name) == (size_t) key->val.string.len &&
			memcmp(option_table[i].name, key->val.string.val, key->val.string.len) == 0)
			return &option_table[i];

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"",
					pnstrdup(key->val.string.val, key->val.string.len)),
			 errhint("The options are those of collab.train() from n_factors on.")));
	return NULL;
}

TrainOptions
OptionsStored(Jsonb *jsonb)
{
	TrainOptions options = OptionsDefault();

	OptionsFromJsonb(&options, jsonb);
	return options;
}

void
OptionsFromJsonb(TrainOptions *options, Jsonb *jsonb)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"n_factors\": 20}'.")));

	it = JsonbIteratorInit(&jsonb->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		const Option *option = FindOption(&key);

		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvNull)
			SetNull(options, option);
		else if (option->kind == OPTION_RANGE || option->kind == OPTION_LAYERS)
			SetArrayFromJsonb(options, option, &value);
		else
			SetOption(options, option, JsonbToOption(option, &value));
	}
}

/* ---------- solvers ---------- */

/*
 * The solver as far as it is known before the ratings are: what "auto" may
 * choose knows no option that adam does not.
 */
static Solver
LikelySolver(const TrainOptions *options)
{
	if (options->use_nn)
		return SOLVER_MLP;
	switch ((SolverChoice) options->solver)
	{
		case CHOOSE_SGD:
			return SOLVER_SGD;
		case CHOOSE_BAYES:
			return SOLVER_BAYES;
		default:
			return SOLVER_ADAM;
	}
}

static bool
IsKnown(const Option *option, Solver solver)
{
	return (option->solvers & (1 << solver)) != 0;
}

/* The first option that was given and that the solver does not know, if any. */
static const Option *
ForeignOption(const TrainOptions *options, Solver solver)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (IsGiven(options, &option_table[i]) && !IsKnown(&option_table[i], solver))
			return &option_table[i];
	return NULL;
}

static Solver
ChooseSolver(const TrainOptions *options, size_t n_train)
{
	if (!options->use_nn && options->solver == CHOOSE_AUTO && n_train >= CF_LARGE_TABLE &&
		ForeignOption(options, SOLVER_SGD) == NULL)
		return SOLVER_SGD;
	return LikelySolver(options);
}

/* Fill in what was not given. */
static TrainOptions
Settled(const TrainOptions *options, Solver solver)
{
	TrainOptions settled = *options;

	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		const Option *option = &option_table[i];

		if (!option->fixed && !IsGiven(options, option))
			SetPreset(&settled, option, option->presets[solver]);
	}
	settled.settled = true;
	settled.solver_used = solver;
	return settled;
}

/*
 * Sweeps of the sampler by the rules, where they were not given: as many as
 * n_train ratings need, and what was given leaves room for.
 */
static void
SettleSweeps(TrainOptions *options, size_t n_train)
{
	if (options->solver_used != SOLVER_BAYES)
		return;
	if (!OptionsGiven(options, "n_epochs"))
	{
		options->n_epochs = (int32) cf_bayes_sweeps(n_train);
		if (OptionsGiven(options, "burn_in"))
			options->n_epochs = Max(options->n_epochs, 2 * options->burn_in);
	}
	if (!OptionsGiven(options, "burn_in"))
		options->burn_in = (int32) cf_bayes_burn_in((uint32) options->n_epochs);
	if (!OptionsGiven(options, "n_epochs"))
		options->n_epochs = Max(options->n_epochs, options->burn_in + options->keep_draws);
}

/* Epochs and decay of the large tables' solver by the rules, likewise. */
static void
SettleDescent(TrainOptions *options, size_t n_train)
{
	if (options->solver_used != SOLVER_SGD)
		return;
	if (!OptionsGiven(options, "n_epochs"))
		options->n_epochs = (int32) cf_sgd_epochs(n_train);
	if (!OptionsGiven(options, "wd"))
		options->wd = cf_sgd_decay((uint32) options->n_epochs);
}

TrainOptions
OptionsSettle(const TrainOptions *options, const cf_ratings *ratings)
{
	TrainOptions settled = Settled(options, ChooseSolver(options, ratings->n_train));

	SettleSweeps(&settled, ratings->n_train);
	SettleDescent(&settled, ratings->n_train);
	return settled;
}

void
OptionsOverride(TrainOptions *options, Jsonb *jsonb)
{
	TrainOptions over = OptionsDefault();
	Solver		solver;

	OptionsFromJsonb(&over, jsonb);
	OptionsFromJsonb(options, jsonb);
	solver = LikelySolver(options);
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (!IsKnown(&option_table[i], solver) && !IsGiven(&over, &option_table[i]))
			Forget(options, &option_table[i]);
}

/* ---------- what heads keep ---------- */

static cf_schedule
Schedule(const TrainOptions *options)
{
	cf_schedule schedule = {.kind = CF_SCHEDULE_ONE_CYCLE};

	schedule.cycle.lr_max = options->lr_max;
	schedule.cycle.pct_start = options->pct_start;
	schedule.cycle.div_start = options->div_start;
	schedule.cycle.div_final = options->div_final;
	schedule.cycle.mom_low = options->mom_low;
	schedule.cycle.mom_high = options->mom_high;
	return schedule;
}

/* A number under a key, if there is one and it is within the option's bounds. */
static bool
StoredReal(Jsonb *jsonb, const Option *option, float8 *result)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&jsonb->root, option->name, strlen(option->name),
									 &value) == NULL || value.type == jbvNull)
		return true;			/* its default */
	if (value.type != jbvNumeric)
		return false;
	*result = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												 NumericGetDatum(value.val.numeric)));
	return *result >= option->least && *result <= option->greatest;
}

static int
SolverNumber(const char *name)
{
	for (int i = 0; i < N_SOLVERS; i++)
		if (strcmp(solver_names[i], name) == 0)
			return i;
	return -1;
}

static const Option *
OptionNamed(const char *name)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	pg_unreachable();
}

bool
OptionsStoredSchedule(Jsonb *jsonb, const char *solver_name, cf_schedule *schedule,
					  bool *has_momentum)
{
	int			solver = SolverNumber(solver_name);
	TrainOptions options;

	if (solver < 0 || !JB_ROOT_IS_OBJECT(jsonb) || !IsKnown(OptionNamed("lr_max"), solver))
		return false;
	options = OptionsDefault();
	options = Settled(&options, solver);
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (option_table[i].kind == OPTION_REAL && IsKnown(&option_table[i], solver) &&
			!StoredReal(jsonb, &option_table[i], Field(&options, &option_table[i])))
			return false;
	*schedule = Schedule(&options);
	*has_momentum = IsKnown(OptionNamed("mom_low"), solver);
	return true;
}

/* Shortest text that reads back as the same number, whatever the settings. */
static const char *
RealToString(float8 value)
{
	char	   *buffer = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(value, buffer);
	return buffer;
}

static void
AppendRange(StringInfo out, const TrainOptions *options)
{
	switch (options->range_mode)
	{
		case RANGE_FROM_DATA:
			appendStringInfoString(out, "[]");
			break;
		case RANGE_NONE:
			appendStringInfoString(out, "null");
			break;
		case RANGE_GIVEN:
			{
				char		low[FLOAT_SHORTEST_DECIMAL_LEN];
				char		high[FLOAT_SHORTEST_DECIMAL_LEN];

				float_to_shortest_decimal_buf(options->low, low);
				float_to_shortest_decimal_buf(options->high, high);
				appendStringInfo(out, "[%s, %s]", low, high);
				break;
			}
	}
}

static void
AppendLayers(StringInfo out, const TrainOptions *options)
{
	for (int i = 0; i < options->n_layers; i++)
		appendStringInfo(out, "%s%d", i == 0 ? "[" : ", ", options->layers[i]);
	appendStringInfoChar(out, ']');
}

static void
AppendOption(StringInfo out, TrainOptions *options, const Option *option)
{
	void	   *field = Field(options, option);

	appendStringInfo(out, "%s\"%s\": ", out->len > 1 ? ", " : "", option->name);
	if (!option->fixed && option->kind != OPTION_RANGE && !IsGiven(options, option))
	{
		appendStringInfoString(out, "null");
		return;
	}
	switch (option->kind)
	{
		case OPTION_INTEGER:
			appendStringInfo(out, "%d", *(int32 *) field);
			break;
		case OPTION_BIGINT:
			appendStringInfo(out, INT64_FORMAT, *(int64 *) field);
			break;
		case OPTION_REAL:
			appendStringInfoString(out, RealToString(*(float8 *) field));
			break;
		case OPTION_BOOLEAN:
			appendStringInfoString(out, *(bool *) field ? "true" : "false");
			break;
		case OPTION_CHOICE:
			appendStringInfo(out, "\"%s\"", option->choices[*(int32 *) field]);
			break;
		case OPTION_RANGE:
			AppendRange(out, options);
			break;
		case OPTION_LAYERS:
			AppendLayers(out, options);
			break;
	}
}

Jsonb *
OptionsToJsonb(const TrainOptions *options)
{
	TrainOptions copy = *options;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < (int) lengthof(option_table); i++)
		AppendOption(&out, &copy, &option_table[i]);
	appendStringInfoChar(&out, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

static void
CheckOption(TrainOptions *options, const Option *option)
{
	void	   *field = Field(options, option);

	if (!option->fixed && !IsGiven(options, option))
		return;
	/* written so that NaN fails */
	if (option->kind == OPTION_REAL &&
		!(*(float8 *) field >= option->least && *(float8 *) field <= option->greatest))
		BadOption(option);
	if (option->kind == OPTION_INTEGER &&
		(*(int32 *) field < option->least || *(int32 *) field > option->greatest))
		BadOption(option);
}

static void
NothingHeldOut(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("keep_best needs ratings that are held out for validation"),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("Give a greater valid_pct.")));
}

/* An option that only one solver has tells what is missing. */
static void
ForeignError(const Option *option, Solver solver)
{
	if (solver == SOLVER_MLP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a neural model has no option \"%s\"", option->name),
				 errhint("Its embeddings have user_factors and item_factors, and biases are in its layers.")));
	if (option->solvers == MLP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only a neural model has an option \"%s\"", option->name),
				 errhint("Give use_nn => true, too.")));
	if (option->solvers == BAYES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only solver \"bayes\" has an option \"%s\"", option->name),
				 errhint("Give solver => 'bayes', too.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("solver \"%s\" has no option \"%s\"", solver_names[solver], option->name),
			 errhint("Leave it out, or give another solver.")));
}

static void
CheckSolver(const TrainOptions *options)
{
	Solver		solver = LikelySolver(options);
	const Option *foreign = ForeignOption(options, solver);

	if (options->use_nn && options->solver != CHOOSE_AUTO && options->solver != CHOOSE_ADAM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("solver \"%s\" cannot train a neural model",
						solver_choices[options->solver]),
				 errhint("Leave out solver, or use_nn.")));
	if (foreign != NULL)
		ForeignError(foreign, solver);
	if (cf_solver_named(solver_names[solver]) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("solver \"%s\" is not there yet", solver_names[solver])));
}

/* After all others: are there sweeps to average, and to draw from? */
static void
CheckSweeps(const TrainOptions *options)
{
	TrainOptions copy = *options;

	SettleSweeps(&copy, 0);
	if (copy.solver_used != SOLVER_BAYES)
		return;
	if (copy.n_epochs <= copy.burn_in)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n_epochs must be greater than burn_in"),
				 errdetail("Of %d sweeps none would be left to average after %d.",
						   copy.n_epochs, copy.burn_in)));
	if (copy.keep_draws > copy.n_epochs - copy.burn_in)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keep_draws must be at most n_epochs minus burn_in"),
				 errdetail("There are %d sweeps after burn-in to keep %d draws of.",
						   copy.n_epochs - copy.burn_in, copy.keep_draws)));
}

void
OptionsCheck(const TrainOptions *options)
{
	TrainOptions copy = *options;

	for (int i = 0; i < (int) lengthof(option_table); i++)
		CheckOption(&copy, &option_table[i]);

	CheckSolver(options);
	if (options->range_mode == RANGE_GIVEN &&
		(!isfinite(options->low) || !isfinite(options->high) ||
		 options->low >= options->high || !isfinite(options->high - options->low)))
		BadRange();
	copy = Settled(options, LikelySolver(options));
	if (copy.lr_max * copy.wd >= 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lr_max times wd must be less than 1"),
				 errdetail("Each step would take all of every embedding away.")));
	CheckSweeps(&copy);
	if (options->keep_best && options->valid_pct == 0)
		NothingHeldOut(NULL);
}

void
OptionsRequireHeldOut(const TrainOptions *options, const cf_ratings *ratings)
{
	if (options->keep_best && ratings->n_valid == 0)
		NothingHeldOut("There are too few ratings to hold any out.");
}

void
OptionsGiveNumber(TrainOptions *options, const char *name, float8 value)
{
	const Option *option = OptionNamed(name);

	SetPreset(options, option, value);
	options->given |= BitOf(option);
}

bool
OptionsGiven(const TrainOptions *options, const char *name)
{
	return IsGiven(options, OptionNamed(name));
}

bool
OptionsUseSampler(const TrainOptions *options)
{
	return LikelySolver(options) == SOLVER_BAYES;
}

const cf_solver *
OptionsSolver(const TrainOptions *options)
{
	Assert(options->settled);
	return cf_solver_named(solver_names[options->solver_used]);
}

/* What a neural model has beside the other settings. */
static void
SetNet(cf_settings *settings, const TrainOptions *options, const cf_ratings *ratings)
{
	static const uint32 default_layers[] = {100, 50};
	cf_net_shape *net = &settings->net;

	net->user_factors = options->user_factors > 0 ? (uint32) options->user_factors :
		cf_net_default_factors(cf_dict_count(ratings->users));
	net->item_factors = options->item_factors > 0 ? (uint32) options->item_factors :
		cf_net_default_factors(cf_dict_count(ratings->items));
	net->n_layers = options->n_layers > 0 ? (uint32) options->n_layers : lengthof(default_layers);
	for (uint32 i = 0; i < net->n_layers; i++)
		net->layers[i] = options->n_layers > 0 ? (uint32) options->layers[i] : default_layers[i];
	net->batch_norm = options->batch_norm;
	if (cf_net_size(net) > MAX_WEIGHTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a neural model can have at most %d weights, not %zu", MAX_WEIGHTS,
						cf_net_size(net)),
				 errhint("Make its layers smaller.")));
	settings->dropout = options->dropout;
	settings->blas = Blas();
	settings->use_bias = false;
}

/* What the sampler has.  Its range is that of the ratings, unless another is given. */
static void
SetSampler(cf_settings *settings, const TrainOptions *options)
{
	settings->burn_in = (uint32) options->burn_in;
	settings->implicit = (cf_implicit) options->implicit;
	settings->keep_draws = (uint32) options->keep_draws;
	settings->use_bias = true;
	settings->use_range = options->range_mode == RANGE_GIVEN;
}

cf_settings
OptionsToSettings(const TrainOptions *options, const cf_ratings *ratings)
{
	cf_settings settings = {0};
	size_t		batch_size = options->batch_size;

	Assert(options->settled);
	if (batch_size == 0 && IsKnown(OptionNamed("batch_size"), options->solver_used))
		batch_size = cf_default_batch_size(ratings->n_train);
	settings.n_factors = options->n_factors;
	settings.n_epochs = options->n_epochs;
	settings.batch_size = (uint32) Min(batch_size, ratings->n_train);
	settings.wd = options->wd;
	settings.schedule = Schedule(options);
	settings.seed = (uint64) options->seed;
	settings.use_bias = options->use_bias;
	settings.keep_best = options->keep_best;
	if (options->use_nn)
		SetNet(&settings, options, ratings);
	settings.use_range = options->range_mode != RANGE_NONE;
	if (options->solver_used == SOLVER_BAYES)
		SetSampler(&settings, options);
	if (options->range_mode == RANGE_GIVEN)
	{
		settings.low = options->low;
		settings.high = options->high;
	}
	else if (settings.use_range)
		cf_default_range(ratings->low, ratings->high, &settings.low, &settings.high);
	return settings;
}
