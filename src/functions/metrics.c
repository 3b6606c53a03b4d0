/*
 * metrics.c
 *	  The aggregates mse, rmse and mae.
 *
 * Their state is an array {count, sum of errors}, a real type, so that
 * partial sums travel between workers and machines as they are.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "server/compat.h"

COLLAB_FUNCTION(collab_squared_error_accum);
COLLAB_FUNCTION(collab_absolute_error_accum);
COLLAB_FUNCTION(collab_error_combine);
COLLAB_FUNCTION(collab_error_mean);
COLLAB_FUNCTION(collab_error_root_mean);

typedef struct ErrorState
{
	float8		count;
	float8		sum;
} ErrorState;

static ErrorState *
StateFromArray(ArrayType *array)
{
	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 2 || ARR_HASNULL(array) ||
		ARR_ELEMTYPE(array) != FLOAT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("state of an error measure must be an array of two numbers")));
	return (ErrorState *) ArrayData(array);
}

/* The state argument, which an aggregate's own call may change in place. */
static ArrayType *
OwnState(FunctionCallInfo fcinfo)
{
	return AggCheckCallContext(fcinfo, NULL) ? PG_GETARG_ARRAYTYPE_P(0) :
		PG_GETARG_ARRAYTYPE_P_COPY(0);
}

static Datum
Accumulate(FunctionCallInfo fcinfo, float8 error)
{
	ArrayType  *array = OwnState(fcinfo);
	ErrorState *state = StateFromArray(array);

	state->count += 1;
	state->sum += error;
	PG_RETURN_ARRAYTYPE_P(array);
}

Datum
collab_squared_error_accum(PG_FUNCTION_ARGS)
{
	float8		error = PG_GETARG_FLOAT8(1) - PG_GETARG_FLOAT8(2);

	return Accumulate(fcinfo, error * error);
}

Datum
collab_absolute_error_accum(PG_FUNCTION_ARGS)
{
	return Accumulate(fcinfo, fabs(PG_GETARG_FLOAT8(1) - PG_GETARG_FLOAT8(2)));
}

Datum
collab_error_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *array = OwnState(fcinfo);
	ErrorState *state = StateFromArray(array);
	const ErrorState *other = StateFromArray(PG_GETARG_ARRAYTYPE_P(1));

	state->count += other->count;
	state->sum += other->sum;
	PG_RETURN_ARRAYTYPE_P(array);
}

Datum
collab_error_mean(PG_FUNCTION_ARGS)
{
	const ErrorState *state = StateFromArray(PG_GETARG_ARRAYTYPE_P(0));

	if (state->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(state->sum / state->count);
}

Datum
collab_error_root_mean(PG_FUNCTION_ARGS)
{
	const ErrorState *state = StateFromArray(PG_GETARG_ARRAYTYPE_P(0));

	if (state->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sqrt(state->sum / state->count));
}
