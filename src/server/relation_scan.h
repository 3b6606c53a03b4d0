/*
 * relation_scan.h
 *	  Reading the rows of a model's tables under the active snapshot.
 *
 * A model may belong to a hostile role, so its tables are read by a plain
 * scan that runs no code of theirs.  Where row-level security applies to the
 * caller the policies must be heard, and the rows come through SPI.
 */
#ifndef COLLAB_RELATION_SCAN_H
#define COLLAB_RELATION_SCAN_H

#include "utils/relcache.h"

/* Called for each row; false ends the scan. */
typedef bool (*RowConsumer) (void *context, const Datum *values, const bool *nulls);

/* A snapshot that sees what this transaction has done so far, made active. */
extern void PushFreshSnapshot(void);

/* Does row-level security apply to the caller here? */
extern bool ScanIsFiltered(Relation relation);

/*
 * Give the columns of every row to the consumer.  attnums[n]; 0 stands for a
 * column that is missing and comes as NULL.  Values live until the consumer
 * returns.
 */
extern void ScanRelation(Relation relation, const AttrNumber *attnums, int n,
						 RowConsumer consume, void *context);

/*
 * The same from the greatest value of the single-column primary key down,
 * where the relation has one on "order"; in no particular order elsewhere.
 * "*ordered", if not NULL, tells the consumer which, before the first row.
 */
extern void ScanRelationBackward(Relation relation, AttrNumber order,
								 const AttrNumber *attnums, int n,
								 RowConsumer consume, void *context, bool *ordered);

/*
 * Give the row whose "key" column, of type "type", is "value" to the
 * consumer, if there is one.  Returns false, having done nothing, where the
 * column is no primary key to look it up by, or row-level security applies.
 */
extern bool ScanRelationByKey(Relation relation, AttrNumber key, Oid type, Datum value,
							  const AttrNumber *attnums, int n,
							  RowConsumer consume, void *context);

/* The live column of that name and type, or 0. */
extern AttrNumber FindColumn(Relation relation, const char *name, Oid type);

/* The relation's qualified and quoted name. */
extern char *QualifiedName(Oid relid);

#endif							/* COLLAB_RELATION_SCAN_H */
