/*
 * cf_dict.h
 *	  The key dictionary: from a user's or item's key to a dense number.
 *
 * Keys are 64-bit integers or byte strings (text, uuid).  Numbers are given
 * out in the order of arrival; cf_dict_sort() renumbers them in key order, so
 * that nothing that follows depends on the order in which rows were read.
 * Integers sort by value, byte strings as memcmp does (a prefix first).
 *
 * Integer keys whose range is not much larger than their count, which is
 * what sequences give, are looked up in an array; others in a hash table.
 */
#ifndef CF_DICT_H
#define CF_DICT_H

#include "cf_host.h"

#ifndef CF_MAX_ROWS				/* a test lowers it */
#define CF_MAX_ROWS		INT32_MAX	/* users or items of one model */
#endif
#define CF_NO_ROW		UINT32_MAX	/* "not in the dictionary" */

typedef enum cf_key_kind
{
	CF_KEY_INTEGER,
	CF_KEY_BYTES
} cf_key_kind;

typedef struct cf_key
{
	int64_t		number;			/* CF_KEY_INTEGER */
	const void *bytes;			/* CF_KEY_BYTES: not owned, "length" long */
	uint32_t	length;
} cf_key;

typedef struct cf_dict cf_dict;

extern cf_status cf_dict_create(cf_host *host, cf_key_kind kind, cf_dict **dict);
extern void cf_dict_destroy(cf_dict *dict);

/* The key's number, which is a new one if the key is new. */
extern cf_status cf_dict_add(cf_dict *dict, cf_key key, uint32_t *row);

/*
 * The numbers of keys[0, n), as cf_dict_add gives them one by one, only sooner:
 * the look-ups do not wait for one another's memory.  When it fails, some of
 * the keys may have been added.
 */
extern cf_status cf_dict_add_many(cf_dict *dict, const cf_key *keys, size_t n,
								  uint32_t *rows);

/* The key's number, or CF_NO_ROW. */
extern uint32_t cf_dict_find(const cf_dict *dict, cf_key key);

extern cf_key_kind cf_dict_kind(const cf_dict *dict);
extern uint32_t cf_dict_count(const cf_dict *dict);

/* The key of a number; bytes point into the dictionary. */
extern cf_key cf_dict_key(const cf_dict *dict, uint32_t row);

/*
 * Renumber in key order.  "*rank" (to be given to cf_free) tells for each old
 * number its new one.  Slack that growing left behind is given back.  When
 * it fails the dictionary can only be destroyed.
 */
extern cf_status cf_dict_sort(cf_dict *dict, uint32_t **rank);

/* A hash of the key alone: the same in every dictionary and on every machine. */
extern uint64_t cf_key_hash(cf_key_kind kind, cf_key key, uint64_t seed);

/* < 0, 0, > 0 in the order of cf_dict_sort. */
extern int	cf_key_compare(cf_key_kind kind, cf_key a, cf_key b);

#endif							/* CF_DICT_H */
