/*
 * ids.h
 *	  Arrays of ids, as arguments.
 */
#ifndef COLLAB_IDS_H
#define COLLAB_IDS_H

#include "fmgr.h"

#include "server/cache.h"

/*
 * The rows of the items whose ids are in an array argument that is not NULL;
 * "name" is that of the argument, for errors.  An array literal without a type
 * is read as the key's type.  Items that the model does not know are left
 * out.
 */
extern uint32 *ReadItems(FunctionCallInfo fcinfo, int argument, const char *name,
						 const CachedModel *model, size_t *n);

/*
 * What somebody rated: arguments number "items" and "ratings", two arrays of
 * one length that are not NULL.  The items' elements are of the key's family,
 * or text; or all of it is text, such as '{1,2}'.  (SQL functions have two
 * declarations, with items anyarray and items text: with text[] in its place
 * an untyped argument would be ambiguous.)  Row numbers of the model's items and ratings, which lie within
 * the model's range, in the order given; an item may be there twice.  Returns
 * how many.  Items that the model does not know are left out, and ratings
 * outside the range moved to its end; NOTICEs tell how many.
 */
extern size_t ReadRatedItems(FunctionCallInfo fcinfo, int items, int ratings,
							 const CachedModel *model, uint32 **rows, float4 **values);

/* The NOTICE on n ratings outside the range, if there are any. */
extern void NoticeClipped(const char *model, uint64 n);

#endif							/* COLLAB_IDS_H */
