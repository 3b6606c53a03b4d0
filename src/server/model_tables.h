/*
 * model_tables.h
 *	  The three tables of a model: names, checks, creation, locks.
 *
 * Readers open what they need with the rights of the caller; writers open all
 * three and must own them.  A relation is opened, checked and kept locked
 * (AccessShareLock or RowExclusiveLock) until the transaction ends.
 */
#ifndef COLLAB_MODEL_TABLES_H
#define COLLAB_MODEL_TABLES_H

#include "utils/relcache.h"

#include "server/head.h"
#include "server/keytype.h"

/* "user" and "item", for names and messages. */
extern const char *SideName(Side side);

/* "user_id" and "item_id": the key of the side's embedding table. */
extern const char *SideKeyColumn(Side side);

/* Columns of an embedding table that are read, in this order. */
typedef enum EmbeddingColumn
{
	EMBEDDING_KEY,
	EMBEDDING_BIAS,
	EMBEDDING_FACTORS,
	EMBEDDING_N_RATINGS,
	EMBEDDING_COLUMNS
} EmbeddingColumn;

typedef struct EmbeddingTable
{
	Side		side;
	Relation	relation;
	KeyType		key_type;
	AttrNumber	attnums[EMBEDDING_COLUMNS];
	AttrNumber	draws;			/* 0: there is no such column */
} EmbeddingTable;

/* The column of a Bayesian model's draws, in tables that have it. */
#define DRAWS_COLUMN	"draws"

/* A model that is opened for writing. */
typedef struct ModelTables
{
	Relation	head;
	EmbeddingTable users;
	EmbeddingTable items;
} ModelTables;

/* The name of a model that is to be made. */
typedef struct NewModelName
{
	Oid			schema;
	char	   *head;
	char	   *users;			/* head_users */
	char	   *items;			/* head_items */
} NewModelName;

/*
 * Open the head of a model for reading: 42P01 when there is no such relation,
 * 42809 when it is not a model, 42501 without SELECT.  Close with NoLock.
 */
extern Relation ModelOpenHead(Oid head);

/*
 * Open one side's embeddings as the head row names them: 42P01 when the table
 * was dropped, 55000 when it is no longer an embedding table, 42501 without
 * SELECT.
 */
extern void ModelOpenSide(EmbeddingTable *table, Side side, const HeadRow *row, const char *model);

/*
 * Open all three tables for writing, of which the caller must be the owner.
 * "row" receives the current row if there is one (returns true).  A model
 * that has none yet is opened by the row that an unfinished training left.
 */
extern bool ModelOpenForWrite(Oid head, ModelTables *tables, HeadRow *row);
extern void ModelClose(ModelTables *tables);

/*
 * For a change to the present generation within this transaction: take the
 * trainer's lock, make a fresh snapshot active, and open the tables.  55000
 * when there is no generation, 40001 when the transaction cannot see the
 * latest.  ModelCloseChanged() closes the tables and gives the snapshot back.
 */
extern void ModelOpenForChange(Oid head, ModelTables *tables, HeadRow *row);
extern void ModelCloseChanged(ModelTables *tables);

/*
 * Parse the name of a model as regclass parses it, and find the schema that
 * it gives or that a new table would go to.
 */
extern NewModelName ModelParseName(const char *name);

/* Of two sessions that make a model of the same name, the second waits here. */
extern void ModelLockName(const NewModelName *name);

/* 42501 unless the caller has CREATE on the schema. */
extern void ModelRequireCreate(const NewModelName *name);

/*
 * Create the tables, for which the caller needs CREATE on the schema; SPI is
 * connected.  Returns the head's oid.  The embedding tables' primary keys come
 * when the rows are there, with ModelAddKeys(): that is sooner done, and no
 * other transaction sees the tables before.  They must not be open.
 */
extern Oid	ModelCreate(const NewModelName *name, const KeyType *user_key,
						const KeyType *item_key, Oid *users, Oid *items);
extern void ModelAddKeys(Oid users, Oid items);

/*
 * Give tables that are open for writing the column of draws where they lack
 * it: they are closed and opened again, and locked against all others from
 * then on.  SPI is connected.
 */
extern void ModelAddDraws(ModelTables *tables);

/* Open an embedding table for its draws, by its oid, for a reader. */
extern void ModelOpenDraws(EmbeddingTable *table, Side side, Oid relid, const char *model);

/* Drop all tables of a model that still exist; SPI is connected. */
extern void ModelDrop(Oid head);

/* Has the relation a head's row type?  Not when it was dropped meanwhile. */
extern bool ModelIsHead(Oid relid);

/* The checks of ModelOpenForWrite alone: nothing stays locked. */
extern void ModelRequireWrite(Oid head);

/*
 * The trainer's lock, after the checks of ModelOpenForWrite: nobody waits for
 * what they may not do.  With "session" it outlives commits and is given back
 * by ModelUnlock, an error or the end of the session; otherwise it goes with
 * the transaction.  With "nowait" 55P03 is raised when another has it.
 */
extern void ModelLock(Oid head, bool session, bool nowait);
extern void ModelUnlock(Oid head);

#endif							/* COLLAB_MODEL_TABLES_H */
