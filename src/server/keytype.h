/*
 * keytype.h
 *	  The SQL types that can be user and item ids.
 *
 * smallint, integer and bigint are one family, text and varchar another, uuid
 * the third: types whose binary equality is SQL equality.  Within a family an
 * id of one type finds a key of another.
 */
#ifndef COLLAB_KEYTYPE_H
#define COLLAB_KEYTYPE_H

#include "catalog/pg_type.h"
#include "utils/uuid.h"

#include "core/cf_dict.h"
#include "server/compat.h"

/* The longest text key that a btree is sure to take. */
#define MAX_KEY_BYTES	2600

typedef enum KeyFamily
{
	KEY_UNSUPPORTED,
	KEY_INTEGER,
	KEY_TEXT,
	KEY_UUID
} KeyFamily;

typedef struct KeyType
{
	Oid			type;			/* one of the six types */
	int32		typmod;
	Oid			collation;
	KeyFamily	family;
	cf_key_kind kind;
} KeyType;

/* The family of a base type. */
extern KeyFamily KeyFamilyOf(Oid type);

/*
 * The key type of a column; a domain counts as its base type.  An error that
 * names the column where the type or collation will not do.
 */
extern KeyType KeyTypeOfColumn(const char *column, Oid type, int32 typmod, Oid collation);

/* The same for an argument. */
extern KeyType KeyTypeOfArgument(const char *argument, Oid type, int32 typmod, Oid collation);

/* Is a key of the type's family within the type's range? */
extern bool KeyFits(const KeyType *key_type, cf_key key);

/* A value of an integer type. */
static inline int64
IntegerFromDatum(Oid type, Datum value)
{
	return type == INT8OID ? DatumGetInt64(value) :
		type == INT4OID ? DatumGetInt32(value) : DatumGetInt16(value);
}

/* The core's key for a value of exactly this type; text points into it. */
static inline cf_key
KeyFromDatum(Oid type, Datum value)
{
	cf_key		key = {0};
	text	   *string;

	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			key.number = IntegerFromDatum(type, value);
			break;
		case UUIDOID:
			key.bytes = DatumGetUUIDP(value)->data;
			key.length = UUID_LEN;
			break;
		default:
			string = DatumGetTextPP(value);
			key.bytes = VARDATA_ANY(string);
			key.length = VARSIZE_ANY_EXHDR(string);
			break;
	}
	return key;
}

/*
 * A value of "type" for a key of the same family.  Raises an error where an
 * integer does not fit.
 */
extern Datum KeyToDatum(Oid type, cf_key key);

/* A key as error messages show it. */
extern char *KeyToString(const KeyType *key_type, cf_key key);

/*
 * How an argument that names a user or an item becomes a key.  Resolved once
 * a call site, then used for each row.
 */
typedef struct KeyArgument
{
	Oid			type;			/* the argument's base type */
	KeyType		key_type;
	bool		parse;			/* text to be read by the key type's input */
	Oid			input;			/* function that reads it */
	Oid			input_param;
} KeyArgument;

/*
 * "what" is "user" or "item", for the error (42804) that an argument of
 * another family gets.
 */
extern void KeyArgumentInit(KeyArgument *argument, const KeyType *key_type,
							Oid type, const char *what, const char *model);
extern cf_key KeyArgumentGet(const KeyArgument *argument, Datum value);

#endif							/* COLLAB_KEYTYPE_H */
