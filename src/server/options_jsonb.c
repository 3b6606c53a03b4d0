/*
 * options_jsonb.c
 *	  Options as jsonb: what retrain, fit and tune are given, and what heads
 *	  keep.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "server/compat.h"
#include "server/option_table.h"

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

	OptionMarkGiven(options, option);
	if (option->kind == OPTION_LAYERS)
	{
		n = NumbersFromJsonb(value, values, CF_MAX_LAYERS);
		OptionSetLayers(options, option, n, values);
		return;
	}
	n = NumbersFromJsonb(value, values, 2);
	if (n < 0)
		RangeIsBad();
	OptionSetRange(options, n, values);
}

static const Option *
FindOption(const JsonbValue *key)
{
	for (int i = 0; i < OptionsCount(); i++)
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
			OptionSetNull(options, option);
		else if (option->kind == OPTION_RANGE || option->kind == OPTION_LAYERS)
			SetArrayFromJsonb(options, option, &value);
		else
			OptionSet(options, option, JsonbToOption(option, &value));
	}
}

/* ---------- what heads keep ---------- */

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

bool
OptionsStoredSchedule(Jsonb *jsonb, const char *solver_name, cf_schedule *schedule,
					  bool *has_momentum)
{
	int			solver = SolverNumber(solver_name);
	TrainOptions options;

	if (solver < 0 || !JB_ROOT_IS_OBJECT(jsonb) || !OptionIsKnown(OptionNamed("lr_max"), solver))
		return false;
	options = OptionsDefault();
	options = OptionsSettledFor(&options, solver);
	for (int i = 0; i < OptionsCount(); i++)
		if (option_table[i].kind == OPTION_REAL && OptionIsKnown(&option_table[i], solver) &&
			!StoredReal(jsonb, &option_table[i], OptionField(&options, &option_table[i])))
			return false;
	*schedule = OptionsSchedule(&options);
	*has_momentum = OptionIsKnown(OptionNamed("mom_low"), solver);
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
	void	   *field = OptionField(options, option);

	appendStringInfo(out, "%s\"%s\": ", out->len > 1 ? ", " : "", option->name);
	if (!option->fixed && option->kind != OPTION_RANGE && !OptionIsGiven(options, option))
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
	for (int i = 0; i < OptionsCount(); i++)
		AppendOption(&out, &copy, &option_table[i]);
	appendStringInfoChar(&out, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
