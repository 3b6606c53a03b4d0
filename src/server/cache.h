/*
 * cache.h
 *	  Models as readers see them: embeddings in memory, one copy a backend.
 *
 * A model is cached by its head's oid and stamp.  A reader (one call site of
 * one query) looks at the head, and checks privileges, when it is first
 * called and again whenever what it saw may have changed: another snapshot,
 * role or row_security setting, or an invalidation; never per row.  What a
 * reader uses stays in memory for as long as the reader lives, whatever other
 * sessions do.  Where row-level security applies to the caller, the reader
 * has a copy of its own that is not shared.
 *
 * Items are read whole.  Users are many, and who serves one user at a time
 * needs few of them: they can be asked for one by one.
 */
#ifndef COLLAB_CACHE_H
#define COLLAB_CACHE_H

#include "fmgr.h"

#include "core/cf_dict.h"
#include "core/cf_fold.h"
#include "core/cf_model.h"
#include "server/keytype.h"
#include "server/model_tables.h"
#include "server/source.h"

/* One side of a model in memory. */
typedef struct CachedSide
{
	bool		loaded;			/* whole */
	Oid			table;			/* what the head row names */
	KeyType		key_type;
	cf_dict    *dict;			/* keys; rows of a whole side are in key order */
	float	   *norms;			/* lengths of the factors; made when first wanted */
	cf_prior   *prior;			/* of a row to be folded in; NULL: the head does not tell */
} CachedSide;

typedef struct CachedModel CachedModel;
struct CachedModel
{
	char	   *name;			/* of the head, for messages */
	cf_host    *host;			/* has all the model's memory */
	cf_model	model;			/* sides that are loaded are filled */
	CachedSide	users;
	CachedSide	items;
	int			n_draws;		/* that each embedding has in its table */
	ModelSource source;			/* what it was trained on */
	struct _SPI_plan *seen_plan;	/* reads what a user has rated; see seen.c */
};

static inline CachedSide *
CachedSideOf(const CachedModel *model, Side side)
{
	return unconstify(CachedSide *, side == USERS ? &model->users : &model->items);
}

/* The side's embeddings. */
static inline cf_side *
CachedRowsOf(const CachedModel *model, Side side)
{
	return unconstify(cf_side *, side == USERS ? &model->model.users : &model->model.items);
}

#define NEED_USERS	1
#define NEED_ITEMS	2
#define NEED_USER	4			/* users one by one, by CachedUserRow() */

/* The need of a whole side. */
static inline int
NeedSide(Side side)
{
	return side == USERS ? NEED_USERS : NEED_ITEMS;
}

/*
 * The model with the sides that are asked for, for a caller with "flinfo".
 * Valid until the next call with the same flinfo, or its end.
 */
extern CachedModel *CachedModelGet(FmgrInfo *flinfo, Oid head, int need);

/*
 * Memory of "size" bytes for what a call site derives from its model, such
 * as how its arguments are read: zero at first and again whenever the last
 * CachedModelGet() gave another model.
 */
extern void *CachedModelState(FmgrInfo *flinfo, Size size);

/*
 * A user's row in model->model.users, or CF_NO_ROW.  Valid until the next call
 * for this model.  Users that were asked for are kept within
 * collab.user_cache_size; with "many", for callers that may ask for a whole
 * table's users, the side is read whole once that has become the cheaper way.
 */
extern uint32 CachedUserRow(CachedModel *model, cf_key key, bool many);

/* Lengths of a loaded side's factors, in the rows' order. */
extern const float *CachedNorms(CachedModel *model, Side side);

/* Register for invalidations; at library load. */
extern void CacheInit(void);

#endif							/* COLLAB_CACHE_H */
