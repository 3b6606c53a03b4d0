/*
 * head.h
 *	  The head of a model: a typed table, one row a training.
 *
 * A row is held as values and nulls in the order of HeadColumn.  Columns are
 * found by name; one that the table lacks reads as NULL.  Nothing is believed
 * unseen: HeadCheck() raises an error for a row whose values cannot be.
 */
#ifndef COLLAB_HEAD_H
#define COLLAB_HEAD_H

#include "utils/relcache.h"

#include "core/cf_net.h"

typedef enum Side
{
	USERS,
	ITEMS
} Side;

typedef enum HeadColumn
{
	HEAD_GENERATION,
	HEAD_STARTED,
	HEAD_FINISHED,
	HEAD_PID,
	HEAD_STAMP,
	HEAD_SELF,
	HEAD_SOURCE,
	HEAD_USER_COLUMN,
	HEAD_ITEM_COLUMN,
	HEAD_RATING_COLUMN,
	HEAD_USERS,
	HEAD_ITEMS,
	HEAD_OPTIONS,
	HEAD_SOLVER,
	HEAD_N_FACTORS,
	HEAD_N_EPOCHS,
	HEAD_BATCH_SIZE,
	HEAD_USE_BIAS,
	HEAD_Y_RANGE,
	HEAD_WARM_START,
	HEAD_N_USERS,
	HEAD_N_ITEMS,
	HEAD_N_TRAIN,
	HEAD_N_VALID,
	HEAD_MEAN_RATING,
	HEAD_MEAN_USER_BIAS,
	HEAD_MEAN_ITEM_BIAS,
	HEAD_USER_PRIOR,
	HEAD_ITEM_PRIOR,
	HEAD_TRAIN_LOSS,
	HEAD_VALID_LOSS,
	HEAD_ELAPSED,
	HEAD_WEIGHTS,
	HEAD_FORMAT,
	HEAD_BEST_EPOCH,
	HEAD_USER_FACTORS,
	HEAD_ITEM_FACTORS,
	HEAD_LAYERS,
	HEAD_BATCH_NORM,
	HEAD_STAGE,
	HEAD_PROGRESS,
	HEAD_BURN_IN,
	HEAD_IMPLICIT,
	HEAD_N_DRAWS,
	HEAD_NOISE,
	HEAD_USER_NORMAL,
	HEAD_ITEM_NORMAL,
	HEAD_CALIBRATION,
	HEAD_COLUMNS
} HeadColumn;

/* What this version writes; readers refuse greater ones. */
#define HEAD_FORMAT_NOW	1

/* Draws of an embedding that a table may hold. */
#define HEAD_MOST_DRAWS	1000

typedef struct HeadRow
{
	Datum		values[HEAD_COLUMNS];
	bool		nulls[HEAD_COLUMNS];
} HeadRow;

extern void HeadRowInit(HeadRow *row);	/* all NULL */
extern void HeadSet(HeadRow *row, HeadColumn column, Datum value);

/* Typed looks at a column; the second argument is what NULL reads as. */
extern int64 HeadInt64(const HeadRow *row, HeadColumn column, int64 if_null);
extern int32 HeadInt32(const HeadRow *row, HeadColumn column, int32 if_null);
extern float8 HeadFloat8(const HeadRow *row, HeadColumn column, float8 if_null);
extern bool HeadBool(const HeadRow *row, HeadColumn column, bool if_null);
extern Oid	HeadOid(const HeadRow *row, HeadColumn column);

/* The range, if the model has one. */
extern bool HeadRange(const HeadRow *row, float4 *low, float4 *high);

/* An array column as float8[n] with NaN for NULLs; NULL gives n = 0. */
extern float8 *HeadFloat8Array(const HeadRow *row, HeadColumn column, int *n);
extern Datum Float8ArrayDatum(const float8 *values, int n); /* NaN becomes NULL */

/* The current generation under the active snapshot; false when there is none. */
extern bool HeadReadCurrent(Relation head, HeadRow *row);

/* Each row, copied into the caller's context, newest first where there is an index. */
extern List *HeadReadAll(Relation head);

/* The oid of the type collab.model. */
extern Oid	HeadTypeOid(void);

/*
 * Error unless scalars, lengths and finiteness are as a finished row of the
 * model called "name" must have them.
 */
extern void HeadCheck(const HeadRow *row, const char *name);

/* The number of a side's factors, which is checked in the same way. */
extern int	HeadFactors(const HeadRow *row, Side side, const char *name);

/* Is it the row of a neural model? */
extern bool HeadHasNet(const HeadRow *row);

/* Is it the row of a Bayesian model? */
extern bool HeadHasNormals(const HeadRow *row);

/*
 * A neural model's shape, which is checked, and weights, which are not: they
 * are read when they are asked for, under the snapshot of the row.
 */
extern cf_net_shape HeadNetShape(const HeadRow *row);
extern const float4 *HeadWeights(const HeadRow *row, size_t *n);
extern Datum Float4ArrayDatum(const float4 *values, size_t n);

/* Weights and normals are kept in the current row alone: those of other generations go. */
extern void HeadForgetWeights(Relation head, int64 generation);

/* The row as a value of type collab.model. */
extern Datum HeadRowDatum(const HeadRow *row);

/*
 * Writing, through SPI (the caller is connected).  Update finds the row by
 * its generation and writes all columns.
 */
extern void HeadInsert(Relation head, const HeadRow *row);
extern void HeadUpdate(Relation head, const HeadRow *row);

/*
 * Under REPEATABLE READ and SERIALIZABLE the transaction's snapshot may be
 * older than the last training or touch: then 40001, as for any row that
 * another transaction has changed.  Call with the trainer's lock.
 */
extern void HeadRequireLatest(Relation head);

/* Delete rows without "finished": the trainers that wrote them are gone. */
extern void HeadDeleteDead(Relation head);

/* A fresh random stamp. */
extern int64 HeadNewStamp(void);

#endif							/* COLLAB_HEAD_H */
