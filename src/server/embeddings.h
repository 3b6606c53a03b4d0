/*
 * embeddings.h
 *	  Embedding tables to and from the core's arrays.
 */
#ifndef COLLAB_EMBEDDINGS_H
#define COLLAB_EMBEDDINGS_H

#include "core/cf_dict.h"
#include "core/cf_model.h"
#include "server/model_tables.h"

/*
 * Read a whole table under the active snapshot: "side" gets its rows in key
 * order, "*dict" their keys.  A row that no training can have written is an
 * error (55000) that names its key.
 */
extern void EmbeddingsRead(const EmbeddingTable *table, int n_factors, cf_host *host,
						   cf_side *side, cf_dict **dict);

/*
 * Read the draws of a key's row, "width" numbers, into an array of the current
 * context; NULL when it has none.
 */
extern float4 *EmbeddingsReadDraws(const EmbeddingTable *table, cf_key key, size_t width);

/*
 * Read the row of one key, if the table has it, behind the rows that "side"
 * and "dict" have.  Returns false, having done nothing, where it takes a scan
 * of the table.
 */
extern bool EmbeddingsReadOne(const EmbeddingTable *table, cf_host *host, cf_side *side,
							  cf_dict *dict, cf_key key);

/*
 * Make the table's rows those of "side", whose keys "dict" has: rows of keys
 * that stay are updated, new ones inserted, others deleted.  "fresh": the
 * table is known to be empty.  SPI is connected.
 */
extern void EmbeddingsWrite(const EmbeddingTable *table, const cf_side *side,
							const cf_dict *dict, bool fresh);

/*
 * Insert rows number "first" and on of "side", whose keys "dict" has from 0
 * on and the table has not.  No other row is touched.  SPI is connected.
 */
extern void EmbeddingsInsert(const EmbeddingTable *table, const cf_side *side,
							 const cf_dict *dict, uint32 first);

/* Ids of the ratings must be of the family of the table's keys: 42804 if not. */
extern void EmbeddingsRequireFamily(const EmbeddingTable *table, const KeyType *source,
									const char *model);

/* Ids in key order, at least one, must fit the table's key type: 22003 if not. */
extern void EmbeddingsRequireFit(const EmbeddingTable *table, const cf_dict *keys);

#endif							/* COLLAB_EMBEDDINGS_H */
