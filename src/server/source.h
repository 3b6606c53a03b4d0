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

#include "core/cf_ratings.h"
#include "server/keytype.h"

typedef struct Source
{
	Oid			relid;
	char	   *name;			/* qualified and quoted */
	NameData	user_column;
	NameData	item_column;
	NameData	rating_column;
	Oid			rating_type;	/* base type */
	KeyType		user_key;
	KeyType		item_key;
} Source;

/*
 * Look the relation and its columns up: 42P01, 42703 or 42804 where one of
 * them is missing or of the wrong type.
 */
extern void SourceOpen(Source *source, Oid relid, const char *user_column,
					   const char *item_column, const char *rating_column);

/* The same for the name that a head row keeps. */
extern Oid	SourceFind(const char *name, const char *model);

/*
 * Add all ratings.  A NULL rating is skipped and counted, though its ids are
 * made known; a NULL id or a rating that is not finite is an error.  Returns
 * the number skipped.
 */
extern uint64 SourceRead(const Source *source, cf_host *host, cf_ratings *ratings);

#endif							/* COLLAB_SOURCE_H */
