/*
 * training.h
 *	  A training in a backend: from a source relation to stored embeddings.
 *
 *	 JobCreate -> JobRead or JobUseRatings -> JobBegin -> JobEpoch, until it returns false -> JobStore -> JobStored
 *
 * train() runs all of it in one transaction; retrain() commits in between.
 * All memory is in the job's own context, which is a child of the one that is
 * current when it is made, so that it can outlive transactions.  SPI is
 * connected and a snapshot is active wherever tables are touched.
 */
#ifndef COLLAB_TRAINING_H
#define COLLAB_TRAINING_H

#include "portability/instr_time.h"

#include "core/cf_solver.h"
#include "server/head.h"
#include "server/model_tables.h"
#include "server/options.h"
#include "server/source.h"

typedef struct TrainingJob
{
	MemoryContext context;
	cf_host    *host;
	cf_ratings *ratings;
	cf_model	model;
	cf_training *training;
	cf_settings settings;
	TrainOptions options;
	Source		source;
	bool		warm_start;
	int			n_done;			/* epochs finished */
	int			best_epoch;		/* so far, from 1; with keep_best */
	float8	   *train_loss;		/* one an epoch */
	float8	   *valid_loss;
	float8	   *elapsed;		/* seconds */
	HeadRow		row;			/* this training's row of the head */
	instr_time	storing;		/* when that began */
} TrainingJob;

/* Options are checked before any work is done. */
extern TrainingJob *JobCreate(const Source *source, const TrainOptions *options,
							  bool warm_start);

/* The source's ids must be of the family of the tables' keys: 42804 if not. */
extern void JobRequireKeyTypes(const TrainingJob *job, const ModelTables *tables);

/* A warm start needs the n_factors of the present embeddings: 22023 if not. */
extern void JobRequireWarmStart(const TrainingJob *job, const HeadRow *current);

/* Each id that was read must fit the tables' key types: 22003 if not. */
extern void JobRequireKeysFit(const TrainingJob *job, const ModelTables *tables);

/*
 * Give the job its row of the head, as the next generation, and insert it
 * unfinished.  Rows that dead trainers left are deleted.
 */
extern void JobEnterHead(TrainingJob *job, Relation head, Oid users, Oid items);

/* Read and freeze the ratings; NOTICEs tell what is odd about them. */
extern void JobRead(TrainingJob *job);

/*
 * The same for ratings that were added one by one to job->ratings, "skipped"
 * of them without a value.
 */
extern void JobUseRatings(TrainingJob *job, uint64 skipped);

/*
 * Begin to train.  "tables" and "current" are looked at for a warm start
 * only: the present embeddings and their head row.
 */
extern void JobBegin(TrainingJob *job, const ModelTables *tables, const HeadRow *current);

/* Train the next epoch; false when all are done.  Touches no table. */
extern bool JobEpoch(TrainingJob *job, cf_epoch *report);

/* Write stage, percentage and the epochs so far into the job's row of the head. */
extern void JobShowProgress(TrainingJob *job, Relation head);

/* Write embeddings and the finished row. */
extern void JobStore(TrainingJob *job, ModelTables *tables, bool fresh);

/* All that belongs to it is written: with "verbose", say so. */
extern void JobStored(const TrainingJob *job);

extern void JobDestroy(TrainingJob *job);

#endif							/* COLLAB_TRAINING_H */
