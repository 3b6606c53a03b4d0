/*
 * ranking.c
 *	  The aggregates ndcg and average_precision.
 *
 * Their state is a real type, so that partial states travel between workers
 * and machines as they are: an array {n, k, score, relevant, score, relevant,
 * ...}, of which n rows are taken and the rest is room to grow.  k is 0 where
 * it is not given, or not yet.
 *
 * Rows stand in the order of falling score; of equal scores, those that are
 * not relevant stand first, so that a ranking earns nothing by ties and the
 * order of the input does not matter.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/float.h"

#include "core/cf_metrics.h"
#include "server/arguments.h"
#include "server/compat.h"

COLLAB_FUNCTION(collab_ranking_accum);
COLLAB_FUNCTION(collab_ranking_accum_k);
COLLAB_FUNCTION(collab_ranking_combine);
COLLAB_FUNCTION(collab_ranking_ndcg);
COLLAB_FUNCTION(collab_ranking_average_precision);

typedef struct RankedRow
{
	float8		score;
	float8		relevant;		/* 0: no */
} RankedRow;

typedef struct RankingState
{
	float8		n;
	float8		k;
	RankedRow	rows[FLEXIBLE_ARRAY_MEMBER];
} RankingState;

#define HEADER_ELEMENTS	2
#define ROW_ELEMENTS	2
#define FIRST_ROWS		16
#define MAX_ROWS		((int) ((MaxAllocSize - 1024) / sizeof(RankedRow)))

/* Rows that there is room for. */
static int
Capacity(ArrayType *array)
{
	return (ARR_DIMS(array)[0] - HEADER_ELEMENTS) / ROW_ELEMENTS;
}

static bool
IsCount(float8 value, float8 greatest)
{
	return value >= 0 && value <= greatest && value == floor(value);
}

/* Nothing is believed of a state that somebody may have made by hand. */
static RankingState *
StateFromArray(ArrayType *array)
{
	RankingState *state = (RankingState *) ArrayData(array);

	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] < HEADER_ELEMENTS ||
		ARR_DIMS(array)[0] % ROW_ELEMENTS != 0 || ARR_HASNULL(array) ||
		ARR_ELEMTYPE(array) != FLOAT8OID ||
		!IsCount(state->n, Capacity(array)) || !IsCount(state->k, PG_INT32_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("state of a ranking measure must be an array of a number of rows, k, and the rows")));
	return state;
}

/* The state argument, which an aggregate's own call may change in place. */
static ArrayType *
OwnState(FunctionCallInfo fcinfo)
{
	return AggCheckCallContext(fcinfo, NULL) ? PG_GETARG_ARRAYTYPE_P(0) :
		PG_GETARG_ARRAYTYPE_P_COPY(0);
}

static ArrayType *
MakeState(int capacity)
{
	int			n_elements = HEADER_ELEMENTS + ROW_ELEMENTS * capacity;
	Size		bytes = ARR_OVERHEAD_NONULLS(1) + n_elements * sizeof(float8);
	ArrayType  *array = palloc0(bytes);

	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = FLOAT8OID;
	ARR_DIMS(array)[0] = n_elements;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

/*
 * The same state with room for n more rows: itself, or one of at least twice
 * the size, so that all rows together are copied about twice.
 */
static ArrayType *
MakeRoom(ArrayType *array, int n)
{
	const RankingState *state = StateFromArray(array);
	int64		needed = (int64) state->n + n;
	ArrayType  *grown;

	if (needed <= Capacity(array))
		return array;
	if (needed > MAX_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a ranking can have at most %d rows", MAX_ROWS)));
	needed = Max(needed, Max(FIRST_ROWS, (int64) Capacity(array) * 2));
	grown = MakeState((int) Min(needed, MAX_ROWS));
	memcpy(ArrayData(grown), state, ARR_DIMS(array)[0] * sizeof(float8));
	return grown;
}

/* k is the same in all rows of a group. */
static void
NoteK(RankingState *state, float8 k)
{
	if (state->k != 0 && state->k != k)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("k must be the same in all rows of a ranking"),
				 errdetail("It is %d and %d.", (int) state->k, (int) k)));
	state->k = k;
}

static Datum
Accumulate(ArrayType *array, float8 score, bool relevant)
{
	RankingState *state;

	array = MakeRoom(array, 1);
	state = (RankingState *) ArrayData(array);
	state->rows[(int) state->n].score = score;
	state->rows[(int) state->n].relevant = relevant;
	state->n++;
	PG_RETURN_ARRAYTYPE_P(array);
}

Datum
collab_ranking_accum(PG_FUNCTION_ARGS)
{
	return Accumulate(OwnState(fcinfo), PG_GETARG_FLOAT8(1), PG_GETARG_BOOL(2));
}

/* Not strict: a NULL k must not pass for a row that does not count. */
Datum
collab_ranking_accum_k(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	int32		k;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	k = PositiveArgument(fcinfo, 3, "k");
	array = OwnState(fcinfo);
	NoteK(StateFromArray(array), k);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_ARRAYTYPE_P(array);
	return Accumulate(array, PG_GETARG_FLOAT8(1), PG_GETARG_BOOL(2));
}

Datum
collab_ranking_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *array = OwnState(fcinfo);
	const RankingState *other = StateFromArray(PG_GETARG_ARRAYTYPE_P(1));
	RankingState *state;

	array = MakeRoom(array, (int) other->n);
	state = (RankingState *) ArrayData(array);
	if (other->k != 0)
		NoteK(state, other->k);
	memcpy(&state->rows[(int) state->n], other->rows, (int) other->n * sizeof(RankedRow));
	state->n += other->n;
	PG_RETURN_ARRAYTYPE_P(array);
}

/* By falling score, as ORDER BY score DESC has it; of equal ones, relevant rows last. */
static int
CompareRows(const void *a, const void *b)
{
	const RankedRow *x = a;
	const RankedRow *y = b;

	CHECK_FOR_INTERRUPTS();
	if (float8_gt(x->score, y->score))
		return -1;
	if (float8_lt(x->score, y->score))
		return 1;
	return (x->relevant != 0) - (y->relevant != 0);
}

/* Measures of the rows; false where none is relevant.  The state stays as it is. */
static bool
Measure(FunctionCallInfo fcinfo, cf_ranking_scores *scores)
{
	const RankingState *state = StateFromArray(PG_GETARG_ARRAYTYPE_P(0));
	int			n = (int) state->n;
	size_t		n_relevant = 0;
	RankedRow  *rows;
	uint64	   *places;

	if (n == 0)
		return false;
	rows = palloc(n * sizeof(RankedRow));
	memcpy(rows, state->rows, n * sizeof(RankedRow));
	qsort(rows, n, sizeof(RankedRow), CompareRows);
	places = palloc(n * sizeof(uint64));
	for (int i = 0; i < n; i++)
		if (rows[i].relevant != 0)
			places[n_relevant++] = i + 1;
	if (n_relevant > 0)
		*scores = cf_ranking_measure((const uint64_t *) places, n_relevant, n_relevant,
									 state->k > 0 ? (size_t) state->k : (size_t) n);
	pfree(rows);
	pfree(places);
	return n_relevant > 0;
}

Datum
collab_ranking_ndcg(PG_FUNCTION_ARGS)
{
	cf_ranking_scores scores;

	if (!Measure(fcinfo, &scores))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(scores.ndcg);
}

Datum
collab_ranking_average_precision(PG_FUNCTION_ARGS)
{
	cf_ranking_scores scores;

	if (!Measure(fcinfo, &scores))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(scores.average_precision);
}
