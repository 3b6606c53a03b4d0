/*
 * source.h
 *	  Reading a ratings relation into the core's ratings.
 *
 * The relation is read through the executor, so privileges, row-level
 * security, views, partitions and foreign tables are what they are for any
 * query of the caller's.
 */
#ifndef COLLAB_SOURCE_H
#define COLLAB_SOURCE_H

#include "utils/jsonb.h"

#include "core/cf_ratings.h"
#include "server/head.h"
#include "server/keytype.h"

typedef struct Source
{
	Oid			relid;
	char	   *name;			/* qualified and quoted; NULL: rows come as
								 * arguments, named like the columns */
	NameData	user_column;
	NameData	item_column;
	NameData	rating_column;
	Oid			rating_type;	/* base type */
	KeyType		user_key;
	KeyType		item_key;
	bool		read_only;		/* under the caller's snapshot, as a STABLE
								 * function reads; SourceOpen() says no */
} Source;

/*
 * Look the relation and its columns up: 42P01, 42703 or 42804 where one of
 * them is missing or of the wrong type.
 */
extern void SourceOpen(Source *source, Oid relid, const char *user_column,
					   const char *item_column, const char *rating_column);

/* What a model remembers of the ratings that it was trained on. */
typedef struct ModelSource
{
	char	   *name;			/* qualified and quoted; NULL: no relation */
	NameData	user_column;
	NameData	item_column;
	NameData	rating_column;
	Jsonb	   *options;		/* of the training; may be NULL */
} ModelSource;

/* That of a head row, copied into "context". */
extern ModelSource SourceRemembered(const HeadRow *row, MemoryContext context);

/* The remembered relation, if there is one and it still exists; else InvalidOid. */
extern Oid	SourceFind(const ModelSource *remembered);

/*
 * SourceOpen() for what a model remembers, or for relation "instead" where
 * that is valid.  22023 when the model was not trained on a relation, 42P01
 * when that is gone, both with "hint", which tells what to do instead.
 */
extern void SourceOpenRemembered(Source *source, const ModelSource *remembered, Oid instead,
								 const char *model, const char *hint);

/*
 * A model can belong to anybody, and functions in a view run with the rights
 * of whoever reads it.  So what reads the source by itself, and not because
 * the caller named it, does so only where the view's owner is to be trusted:
 * the caller, a superuser, or a role whose rights the caller has without being
 * a superuser.  42501 with "hint" elsewhere.
 */
extern void SourceRequireTrusted(const Source *source, const char *hint);

/*
 * Called for each row.  "rated" is false where the rating is NULL.  Keys point
 * into the row.
 */
typedef void (*RatingConsumer) (void *context, cf_key user, cf_key item, float4 rating,
								bool rated);

/* What rows are read for. */
typedef enum SourceUse
{
	SOURCE_RATINGS,				/* a NULL id or a rating that is not finite is
								 * an error */
	SOURCE_PAIRS				/* who rated what: rows with a NULL id are
								 * skipped, and ratings come as 0 */
} SourceUse;

/* The columns of a row, in this order. */
typedef enum SourceColumn
{
	SOURCE_USER,
	SOURCE_ITEM,
	SOURCE_RATING,
	SOURCE_COLUMNS
} SourceColumn;

/* Give a row, whose values are of the source's types, to the consumer. */
extern void SourceRow(const Source *source, SourceUse use, const Datum *values,
					  const bool *nulls, RatingConsumer consume, void *context);

/* Give every row to the consumer; SPI is connected. */
extern void SourceScan(const Source *source, SourceUse use, RatingConsumer consume,
					   void *context);

/* What AddRating, a consumer, adds to. */
typedef struct RatingsBuilder
{
	cf_host    *host;
	cf_ratings *ratings;
	uint64		skipped;		/* ratings that were NULL */
} RatingsBuilder;

/* One that is NULL was not given: its ids are made known all the same. */
extern void AddRating(void *builder, cf_key user, cf_key item, float4 rating, bool rated);

/*
 * 54000 where the relation's statistics tell, before a row is read, that its
 * ratings alone are far more than the host may take.
 */
extern void SourceRequireMemory(const Source *source, const cf_host *host);

/*
 * Add all ratings.  A NULL rating is skipped and counted, though its ids are
 * made known; a NULL id or a rating that is not finite is an error.  Returns
 * the number skipped.
 */
extern uint64 SourceRead(const Source *source, cf_host *host, cf_ratings *ratings);

#endif							/* COLLAB_SOURCE_H */
