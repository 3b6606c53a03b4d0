/*
 * options.c
 *	  The options of a training.
 *
 * One table describes every option: its name, its type, where it is kept and
 * what bounds it has.  Arguments, jsonb in, jsonb out and the checks all walk
 * that table, so that an option is added in one line (and in the script).
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

#include "server/blas.h"
#include "server/compat.h"
#include "server/options.h"

typedef enum OptionKind
{
	OPTION_INTEGER,				/* int32 */
	OPTION_BIGINT,				/* int64 */
	OPTION_REAL,				/* float8 */
	OPTION_BOOLEAN,
	OPTION_OPTIONAL,			/* int32, NULL as 0 */
	OPTION_RANGE,				/* y_range */
	OPTION_LAYERS				/* layers; NULL as none */
} OptionKind;

typedef struct Option
{
	const char *name;
	OptionKind	kind;
	size_t		offset;			/* in TrainOptions */
	float8		preset;			/* the default, as in the install script */
	float8		least;			/* numbers only */
	float8		greatest;
	const char *bounds;			/* what the error says of them */
} Option;

#define AT(field) offsetof(TrainOptions, field)

/* The next double after 0, and the last before 1: bounds that exclude the ends. */
#define ABOVE_0		DBL_MIN
#define BELOW_1		(1.0 - DBL_EPSILON / 2)

/* As text, in which pg_dump writes it, an array has 1 GB at most. */
#define MAX_WEIGHTS	(64 * 1024 * 1024)

static const Option option_table[] = {
	{"n_factors", OPTION_INTEGER, AT(n_factors), 50, 1, CF_MAX_FACTORS, "between 1 and 1024"},
	{"n_epochs", OPTION_INTEGER, AT(n_epochs), 5, 1, 100000, "between 1 and 100000"},
	{"lr_max", OPTION_REAL, AT(lr_max), 5e-3, ABOVE_0, 1000, "greater than 0 and at most 1000"},
	{"wd", OPTION_REAL, AT(wd), 0.1, 0, 1000, "between 0 and 1000"},
	{"batch_size", OPTION_OPTIONAL, AT(batch_size), 0, 1, INT_MAX, "at least 1, or NULL"},
	{"valid_pct", OPTION_REAL, AT(valid_pct), 0.2, 0, BELOW_1, "at least 0 and less than 1"},
	{"seed", OPTION_BIGINT, AT(seed), 42, 0, 0, NULL},
	{"y_range", OPTION_RANGE, 0, 0, 0, 0, NULL},
	{"use_bias", OPTION_BOOLEAN, AT(use_bias), true, 0, 0, NULL},
	{"pct_start", OPTION_REAL, AT(pct_start), 0.25, 0, 1, "between 0 and 1"},
	{"div_start", OPTION_REAL, AT(div_start), 25, ABOVE_0, 1e30, "greater than 0 and at most 1e30"},
	{"div_final", OPTION_REAL, AT(div_final), 1e5, ABOVE_0, 1e30, "greater than 0 and at most 1e30"},
	{"mom_low", OPTION_REAL, AT(mom_low), 0.85, 0, BELOW_1, "at least 0 and less than 1"},
	{"mom_high", OPTION_REAL, AT(mom_high), 0.95, 0, BELOW_1, "at least 0 and less than 1"},
	{"use_nn", OPTION_BOOLEAN, AT(use_nn), false, 0, 0, NULL},
	{"layers", OPTION_LAYERS, AT(layers), 0, 1, CF_MAX_UNITS, "one to eight sizes between 1 and 4096, or NULL"},
	{"user_factors", OPTION_OPTIONAL, AT(user_factors), 0, 1, CF_MAX_FACTORS, "between 1 and 1024, or NULL"},
	{"item_factors", OPTION_OPTIONAL, AT(item_factors), 0, 1, CF_MAX_FACTORS, "between 1 and 1024, or NULL"},
	{"batch_norm", OPTION_BOOLEAN, AT(batch_norm), true, 0, 0, NULL},
	{"dropout", OPTION_REAL, AT(dropout), 0, 0, BELOW_1, "at least 0 and less than 1"},
	{"keep_best", OPTION_BOOLEAN, AT(keep_best), false, 0, 0, NULL},
	{"verbose", OPTION_BOOLEAN, AT(verbose), true, 0, 0, NULL},
};

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

static bool
CanBeNull(const Option *option)
{
	return option->kind == OPTION_OPTIONAL || option->kind == OPTION_RANGE ||
		option->kind == OPTION_LAYERS;
}

static void
SetOption(TrainOptions *options, const Option *option, Datum value, bool isnull)
{
	void	   *field = Field(options, option);

	if (isnull && !CanBeNull(option))
		NullOption(option);

	switch (option->kind)
	{
		case OPTION_INTEGER:
			*(int32 *) field = DatumGetInt32(value);
			break;
		case OPTION_OPTIONAL:
			if (!isnull && (DatumGetInt32(value) < option->least ||
							DatumGetInt32(value) > option->greatest))
				BadOption(option);
			*(int32 *) field = isnull ? 0 : DatumGetInt32(value);
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
		case OPTION_RANGE:
			if (isnull)
				options->range_mode = RANGE_NONE;
			else
				SetRangeFromArray(options, DatumGetArrayTypeP(value));
			break;
		case OPTION_LAYERS:
			if (isnull)
				options->n_layers = 0;
			else
				SetLayersFromArray(options, option, DatumGetArrayTypeP(value));
			break;
	}
}

TrainOptions
OptionsDefault(void)
{
	TrainOptions options = {.range_mode = RANGE_FROM_DATA};

	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		const Option *option = &option_table[i];
		void	   *field = Field(&options, option);

		switch (option->kind)
		{
			case OPTION_INTEGER:
			case OPTION_OPTIONAL:
				*(int32 *) field = (int32) option->preset;
				break;
			case OPTION_BIGINT:
				*(int64 *) field = (int64) option->preset;
				break;
			case OPTION_REAL:
				*(float8 *) field = option->preset;
				break;
			case OPTION_BOOLEAN:
				*(bool *) field = option->preset != 0;
				break;
			case OPTION_RANGE:
			case OPTION_LAYERS:
				break;
		}
	}
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
	memset(options, 0, sizeof(TrainOptions));
	for (int i = 0; i < (int) lengthof(option_table); i++)
		SetOption(options, &option_table[i], PG_GETARG_DATUM(first + i),
				  PG_ARGISNULL(first + i));
}

static bool
IsWhole(Numeric number)
{
	Datum		value = NumericGetDatum(number);

	return DatumGetBool(DirectFunctionCall2(numeric_eq, value,
											DirectFunctionCall2(numeric_trunc, value, Int32GetDatum(0))));
}

/*
 * A jsonb scalar as the SQL type of the option.  Numbers go through numeric's
 * own conversions, which raise an error where the value does not fit.
 */
static Datum
JsonbToOption(const Option *option, JsonbValue *value)
{
	bool		wants_boolean = option->kind == OPTION_BOOLEAN;

	if (value->type != (wants_boolean ? jbvBool : jbvNumeric))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a %s", option->name,
						wants_boolean ? "boolean" : "number")));
	if (!wants_boolean && option->kind != OPTION_REAL && !IsWhole(value->val.numeric))
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
			SetOption(options, option, (Datum) 0, true);
		else if (option->kind == OPTION_RANGE || option->kind == OPTION_LAYERS)
			SetArrayFromJsonb(options, option, &value);
		else
			SetOption(options, option, JsonbToOption(option, &value), false);
	}
}

/* Options that only one kind of model has, as they are where they are not given. */
static void
ForgetKindOfModel(TrainOptions *options)
{
	TrainOptions presets = OptionsDefault();

	options->n_factors = presets.n_factors;
	options->use_bias = presets.use_bias;
	options->n_layers = presets.n_layers;
	options->user_factors = presets.user_factors;
	options->item_factors = presets.item_factors;
	options->batch_norm = presets.batch_norm;
	options->dropout = presets.dropout;
}

void
OptionsOverride(TrainOptions *options, Jsonb *jsonb)
{
	bool		use_nn = options->use_nn;
	TrainOptions before = *options;

	OptionsFromJsonb(options, jsonb);
	if (options->use_nn == use_nn)
		return;
	*options = before;
	ForgetKindOfModel(options);
	OptionsFromJsonb(options, jsonb);
}

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
									 &value) == NULL)
		return true;			/* its default */
	if (value.type != jbvNumeric)
		return false;
	*result = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												 NumericGetDatum(value.val.numeric)));
	return *result >= option->least && *result <= option->greatest;
}

bool
OptionsStoredSchedule(Jsonb *jsonb, cf_schedule *schedule)
{
	TrainOptions options = OptionsDefault();

	if (!JB_ROOT_IS_OBJECT(jsonb))
		return false;
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (option_table[i].kind == OPTION_REAL &&
			!StoredReal(jsonb, &option_table[i], Field(&options, &option_table[i])))
			return false;
	*schedule = Schedule(&options);
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
	if (options->n_layers == 0)
	{
		appendStringInfoString(out, "null");
		return;
	}
	for (int i = 0; i < options->n_layers; i++)
		appendStringInfo(out, "%s%d", i == 0 ? "[" : ", ", options->layers[i]);
	appendStringInfoChar(out, ']');
}

static void
AppendOption(StringInfo out, TrainOptions *options, const Option *option)
{
	void	   *field = Field(options, option);

	appendStringInfo(out, "%s\"%s\": ", out->len > 1 ? ", " : "", option->name);
	switch (option->kind)
	{
		case OPTION_INTEGER:
			appendStringInfo(out, "%d", *(int32 *) field);
			break;
		case OPTION_OPTIONAL:
			if (*(int32 *) field == 0)
				appendStringInfoString(out, "null");
			else
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

/* Options of the other kind of model must be as they are where they are not given. */
static void
CheckKindOfModel(const TrainOptions *options)
{
	TrainOptions presets = OptionsDefault();
	const char *foreign = NULL;

	if (options->use_nn)
	{
		if (options->n_factors != presets.n_factors)
			foreign = "n_factors";
		else if (!options->use_bias)
			foreign = "use_bias";
	}
	else if (options->n_layers > 0)
		foreign = "layers";
	else if (options->user_factors > 0)
		foreign = "user_factors";
	else if (options->item_factors > 0)
		foreign = "item_factors";
	else if (!options->batch_norm)
		foreign = "batch_norm";
	else if (options->dropout != 0)
		foreign = "dropout";
	if (foreign != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 options->use_nn ?
				 errmsg("a neural model has no option \"%s\"", foreign) :
				 errmsg("only a neural model has an option \"%s\"", foreign),
				 options->use_nn ?
				 errhint("Its embeddings have user_factors and item_factors, and biases are in its layers.") :
				 errhint("Give use_nn => true, too.")));
}

void
OptionsCheck(const TrainOptions *options)
{
	TrainOptions copy = *options;

	for (int i = 0; i < (int) lengthof(option_table); i++)
		CheckOption(&copy, &option_table[i]);

	CheckKindOfModel(options);
	if (options->range_mode == RANGE_GIVEN &&
		(!isfinite(options->low) || !isfinite(options->high) ||
		 options->low >= options->high || !isfinite(options->high - options->low)))
		BadRange();
	if (options->lr_max * options->wd >= 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lr_max times wd must be less than 1"),
				 errdetail("Each step would take all of every embedding away.")));
	if (options->keep_best && options->valid_pct == 0)
		NothingHeldOut(NULL);
}

void
OptionsRequireHeldOut(const TrainOptions *options, const cf_ratings *ratings)
{
	if (options->keep_best && ratings->n_valid == 0)
		NothingHeldOut("There are too few ratings to hold any out.");
}

const cf_solver *
OptionsSolver(const TrainOptions *options)
{
	return cf_solver_named(options->use_nn ? "mlp" : "adam");
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

cf_settings
OptionsToSettings(const TrainOptions *options, const cf_ratings *ratings)
{
	cf_settings settings = {0};
	size_t		batch_size = options->batch_size;

	if (batch_size == 0)
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
	if (options->range_mode == RANGE_GIVEN)
	{
		settings.low = options->low;
		settings.high = options->high;
	}
	else if (options->range_mode == RANGE_FROM_DATA)
		cf_default_range(ratings->low, ratings->high, &settings.low, &settings.high);
	return settings;
}
