/*
 * progress.h
 *	  What a training tells of its stages: a line for each when it has ended.
 */
#ifndef COLLAB_PROGRESS_H
#define COLLAB_PROGRESS_H

#include "portability/instr_time.h"

#include "core/cf_solver.h"

/* The level of such lines, as of those that tell of epochs. */
#define PROGRESS_LEVEL	NOTICE

extern instr_time StageBegin(void);

/* Seconds since then. */
extern double StageSeconds(instr_time began);

extern void NoticeRead(const cf_ratings *ratings, double seconds);
extern void NoticeSorted(const cf_ratings *ratings, double seconds);

/* An epoch of so many, over n_train ratings; what is left is taken to be as fast. */
extern void NoticeEpoch(const cf_epoch *report, uint32 n_epochs, size_t n_train, double seconds);

extern void NoticeWritten(const cf_ratings *ratings, double seconds);

#endif							/* COLLAB_PROGRESS_H */
