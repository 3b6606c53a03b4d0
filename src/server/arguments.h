/*
 * arguments.h
 *	  What SQL-callable functions share in reading arguments and returning rows.
 */
#ifndef COLLAB_ARGUMENTS_H
#define COLLAB_ARGUMENTS_H

#include "fmgr.h"

#include "server/cache.h"

/* An argument that must not be NULL: 22004, naming it. */
extern void RequireArgument(FunctionCallInfo fcinfo, int argument, const char *name);

/* An argument that must be a positive integer: 22004 or 22023, naming it. */
extern int32 PositiveArgument(FunctionCallInfo fcinfo, int argument, const char *name);

/*
 * The type in which item ids are returned where no item is given.  "argument"
 * is the number of the item_type argument, which must be NULL and of the key's
 * family; -1: the function returns bigint.  42804, with a hint that shows
 * "call" with the right type, where the key is of another family.
 */
extern Oid	ItemResultType(FunctionCallInfo fcinfo, int argument, const CachedModel *model,
						   const char *call);

/* Begin to return a set of rows; then add them one by one. */
extern void BeginRows(FunctionCallInfo fcinfo);
extern void AddResultRow(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

/* Seconds as an interval. */
extern Datum IntervalFromSeconds(double seconds);

#endif							/* COLLAB_ARGUMENTS_H */
