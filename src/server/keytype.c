/*
 * keytype.c
 *	  The SQL types that can be user and item ids.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "server/compat.h"
#include "server/keytype.h"

KeyFamily
KeyFamilyOf(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return KEY_INTEGER;
		case TEXTOID:
		case VARCHAROID:
			return KEY_TEXT;
		case UUIDOID:
			return KEY_UUID;
		default:
			return KEY_UNSUPPORTED;
	}
}

/* "what" is "column" or "argument", for the errors. */
static KeyType
KeyTypeOf(const char *what, const char *name, Oid type, int32 typmod, Oid collation,
		  const char *cast_hint, const char *collate_hint)
{
	KeyType		result;

	result.typmod = typmod;
	result.type = getBaseTypeAndTypmod(type, &result.typmod);
	result.collation = collation;
	result.family = KeyFamilyOf(result.type);
	result.kind = result.family == KEY_INTEGER ? CF_KEY_INTEGER : CF_KEY_BYTES;

	if (result.family == KEY_UNSUPPORTED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s \"%s\" of type %s cannot hold user or item ids",
						what, name, format_type_be(type)),
				 errhint("%s", cast_hint)));
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s \"%s\" has a nondeterministic collation and cannot hold user or item ids",
						what, name),
				 errhint("%s", collate_hint)));
	return result;
}

KeyType
KeyTypeOfColumn(const char *column, Oid type, int32 typmod, Oid collation)
{
	return KeyTypeOf("column", column, type, typmod, collation,
					 "Train from a view that casts it to smallint, integer, bigint, text, varchar or uuid.",
					 "Train from a view that gives it another collation, such as COLLATE \"C\".");
}

KeyType
KeyTypeOfArgument(const char *argument, Oid type, int32 typmod, Oid collation)
{
	return KeyTypeOf("argument", argument, type, typmod, collation,
					 "Cast it to smallint, integer, bigint, text, varchar or uuid.",
					 "Give it another collation, such as COLLATE \"C\".");
}

bool
KeyFits(const KeyType *key_type, cf_key key)
{
	switch (key_type->type)
	{
		case INT2OID:
			return key.number >= PG_INT16_MIN && key.number <= PG_INT16_MAX;
		case INT4OID:
			return key.number >= PG_INT32_MIN && key.number <= PG_INT32_MAX;
		default:
			return true;
	}
}

/* An integer key that the result's type does not hold. */
static void
KeyOutOfRange(Oid type, int64 number)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("id " INT64_FORMAT " is out of range for type %s",
					number, format_type_be(type)),
			 errhint("Ask for ids of type bigint.")));
}

Datum
KeyToDatum(Oid type, cf_key key)
{
	switch (type)
	{
		case INT2OID:
			if (key.number < PG_INT16_MIN || key.number > PG_INT16_MAX)
				KeyOutOfRange(type, key.number);
			return Int16GetDatum((int16) key.number);
		case INT4OID:
			if (key.number < PG_INT32_MIN || key.number > PG_INT32_MAX)
				KeyOutOfRange(type, key.number);
			return Int32GetDatum((int32) key.number);
		case INT8OID:
			return Int64GetDatum(key.number);
		case UUIDOID:
			{
				pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

				memcpy(uuid->data, key.bytes, UUID_LEN);
				return UUIDPGetDatum(uuid);
			}
		default:
			return PointerGetDatum(cstring_to_text_with_len(key.bytes, (int) key.length));
	}
}

char *
KeyToString(const KeyType *key_type, cf_key key)
{
	Oid			output;
	bool		is_varlena;

	if (key_type->family == KEY_INTEGER)
		return psprintf(INT64_FORMAT, key.number);
	getTypeOutputInfo(key_type->type, &output, &is_varlena);
	return OidOutputFunctionCall(output, KeyToDatum(key_type->type, key));
}

void
KeyArgumentInit(KeyArgument *argument, const KeyType *key_type, Oid type,
				const char *what, const char *model)
{
	KeyFamily	family;
	Oid			base = type == UNKNOWNOID ? UNKNOWNOID : getBaseType(type);

	family = KeyFamilyOf(base);
	argument->type = base;
	argument->key_type = *key_type;
	argument->parse = base == UNKNOWNOID ||
		(family == KEY_TEXT && key_type->family != KEY_TEXT);

	if (argument->parse)
	{
		/* an integer out of the key type's range is unknown, not an error */
		getTypeInputInfo(key_type->family == KEY_INTEGER ? INT8OID : key_type->type,
						 &argument->input, &argument->input_param);
	}
	else if (family != key_type->family)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s ids of model \"%s\" are of type %s, not %s",
						what, model, format_type_be(key_type->type), format_type_be(type)),
				 errhint("Cast the id to %s.", format_type_be(key_type->type))));
}

cf_key
KeyArgumentGet(const KeyArgument *argument, Datum value)
{
	char	   *string;

	if (!argument->parse)
		return KeyFromDatum(argument->type, value);

	string = argument->type == UNKNOWNOID ? DatumGetCString(value) : TextDatumGetCString(value);
	value = OidInputFunctionCall(argument->input, string, argument->input_param, -1);
	return KeyFromDatum(argument->key_type.family == KEY_INTEGER ? INT8OID :
						argument->key_type.type, value);
}
