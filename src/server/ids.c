/*
 * ids.c
 *	  Arrays of ids, as arguments.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "server/compat.h"
#include "server/ids.h"

/*
 * An array argument, which can have been declared as of any type: one without
 * a type, or text, is read as an array of text.
 */
static ArrayType *
GetArray(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, argument);
	char	   *string = NULL;

	if (type == UNKNOWNOID)
		string = PG_GETARG_CSTRING(argument);
	else if (KeyFamilyOf(getBaseType(type)) == KEY_TEXT)
		string = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (string != NULL)
		return DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, string, TEXTOID, -1));
	if (!OidIsValid(get_base_element_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s must be an array, not of type %s", name, format_type_be(type))));
	return PG_GETARG_ARRAYTYPE_P(argument);
}

/* An array argument's elements, of which none is NULL. */
static Datum *
GetElements(FunctionCallInfo fcinfo, int argument, const char *name, Oid *type, int *n)
{
	ArrayType  *array = GetArray(fcinfo, argument, name);
	Datum	   *elements;
	int16		length;
	bool		by_value;
	char		align;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", name)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain NULL", name)));
	*type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(*type, &length, &by_value, &align);
	deconstruct_array(array, *type, length, by_value, align, &elements, NULL, n);
	return elements;
}

static void
CheckRating(const CachedModel *model, cf_key item, float4 rating)
{
	if (!isfinite(rating))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("rating of item %s is not a finite number",
						KeyToString(&model->items.key_type, item))));
}

/* The rating, moved into the model's range where it has one that logits cannot leave. */
static float4
ClipRating(const cf_model *model, float4 rating, uint64 *n_clipped)
{
	if (model->link != CF_LINK_SIGMOID || (rating >= model->low && rating <= model->high))
		return rating;
	(*n_clipped)++;
	return rating < model->low ? model->low : model->high;
}

void
NoticeClipped(const char *model, uint64 n)
{
	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu rating is outside the range of model \"%s\" and was taken for its end",
							   "%llu ratings are outside the range of model \"%s\" and were taken for its ends",
							   (unsigned long) n, (unsigned long long) n, model)));
}

static void
NoticeUnknown(const char *model, uint64 n)
{
	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu item is not known to model \"%s\" and was ignored",
							   "%llu items are not known to model \"%s\" and were ignored",
							   (unsigned long) n, (unsigned long long) n, model)));
}

uint32 *
ReadItems(FunctionCallInfo fcinfo, int argument, const char *name, const CachedModel *model,
		  size_t *n)
{
	Oid			type;
	int			n_ids;
	Datum	   *ids = GetElements(fcinfo, argument, name, &type, &n_ids);
	uint32	   *rows = palloc_extended(Max(n_ids, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	KeyArgument key;

	KeyArgumentInit(&key, &model->items.key_type, type, "item", model->name);
	*n = 0;
	for (int i = 0; i < n_ids; i++)
	{
		uint32		row = cf_dict_find(model->items.dict, KeyArgumentGet(&key, ids[i]));

		CHECK_FOR_INTERRUPTS();
		if (row != CF_NO_ROW)
			rows[(*n)++] = row;
	}
	return rows;
}

size_t
ReadRatedItems(FunctionCallInfo fcinfo, int items, int ratings, const CachedModel *model,
			   uint32 **rows, float4 **values)
{
	Oid			item_type;
	Oid			rating_type;
	int			n_items;
	int			n_ratings;
	Datum	   *ids = GetElements(fcinfo, items, "items", &item_type, &n_items);
	Datum	   *rated = GetElements(fcinfo, ratings, "ratings", &rating_type, &n_ratings);
	KeyArgument argument;
	size_t		n = 0;
	uint64		n_clipped = 0;

	KeyArgumentInit(&argument, &model->items.key_type, item_type, "item", model->name);
	if (n_items != n_ratings)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("items and ratings have different lengths: %d and %d",
						n_items, n_ratings)));

	*rows = palloc_extended(Max(n_items, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	*values = palloc_extended(Max(n_items, 1) * sizeof(float4), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n_items; i++)
	{
		cf_key		key = KeyArgumentGet(&argument, ids[i]);
		float4		rating = DatumGetFloat4(rated[i]);
		uint32		row = cf_dict_find(model->items.dict, key);

		CHECK_FOR_INTERRUPTS();
		CheckRating(model, key, rating);
		if (row == CF_NO_ROW)
			continue;
		(*rows)[n] = row;
		(*values)[n] = ClipRating(&model->model, rating, &n_clipped);
		n++;
	}
	NoticeUnknown(model->name, n_items - n);
	NoticeClipped(model->name, n_clipped);
	return n;
}
