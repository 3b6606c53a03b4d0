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
 * The ratings to train on: four arguments from "first" on, which are
 * "ratings" and the names of its columns, looked up by SourceOpen().
 */
extern Source SourceArguments(FunctionCallInfo fcinfo, int first);

/* The source's ids must be of the families of the model's keys: 42804 if not, with "hint". */
extern void RequireKeyFamilies(const CachedModel *model, const Source *source, const char *hint);

/* The argument n_components: 22023 unless from 1 to the model's number of factors. */
extern int32 ComponentsArgument(FunctionCallInfo fcinfo, int argument, const CachedModel *model);

/*
 * Two arguments, real[] and not NULL, that are vectors of one length, which
 * is returned; x and y are their elements.  2202E, 22004 or 22000 where an
 * array has two dimensions, holds a NULL, or is longer than the other.
 */
extern int VectorArguments(FunctionCallInfo fcinfo, int first, int second,
						   const float **x, const float **y);

/* The type in which a function returns ids. */
typedef struct IdType
{
	Oid			type;			/* base type */
	Oid			domain;			/* over it; InvalidOid: none */
	void	   *domain_state;	/* kept between checks of the domain */
} IdType;

/* The type of an argument; "unknown" stays what it is. */
extern IdType IdTypeOf(Oid type);

/*
 * The type in which a side's ids are returned where no id is given.
 * "argument" is the number of the user_type or item_type argument, which must
 * be NULL and of the key's family; -1: the function returns bigint.  42804,
 * with a hint that shows "call" with the right type, where the key is of
 * another family.
 */
extern IdType IdResultType(FunctionCallInfo fcinfo, int argument, const CachedModel *model,
						   Side side, const char *call);

/*
 * A row's id as a result: text where the type is of another family than the
 * key.  22003 where an integer does not fit, 23514 where a domain is violated.
 */
extern Datum IdDatum(IdType *id_type, const CachedModel *model, Side side, uint32 row);

/*
 * Begin to return a set of rows; then add them one by one.  What is passed by
 * reference is freed, so that a long result takes no memory but the set's.
 */
extern void BeginRows(FunctionCallInfo fcinfo);
extern void AddResultRow(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

/* Seconds as an interval. */
extern Datum IntervalFromSeconds(double seconds);

#endif							/* COLLAB_ARGUMENTS_H */
