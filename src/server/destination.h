/*
 * destination.h
 *	  Where the caller's own transaction trains to: the tables of a new model,
 *	  or those of a present one whose next generation it is.
 *
 *	 DestinationCheck, DestinationOpen -> JobRead or JobUseRatings -> DestinationTrain
 *
 * SPI is connected.  A rollback takes all of it.
 */
#ifndef COLLAB_DESTINATION_H
#define COLLAB_DESTINATION_H

#include "server/training.h"

typedef struct Destination
{
	Oid			head;
	bool		fresh;			/* the tables were made just now */
} Destination;

/*
 * The checks of DestinationOpen alone, which lock nothing that stays locked:
 * for those who have other work to do before they open it.
 */
extern void DestinationCheck(const NewModelName *name, bool replace, const char *hint);

/*
 * Make the tables or, with "replace", open and lock those that are there, and
 * enter the training in the head.  42710 when a model has the name, with "hint".
 */
extern Destination DestinationOpen(TrainingJob *job, const NewModelName *name, bool replace,
								   const char *hint);

/* Called for each epoch, with "job->n_done" its number. */
typedef void (*EpochConsumer) (void *context, const TrainingJob *job, const cf_epoch *report);

/* Train on the ratings that the job has, and store; "consume" may be NULL. */
extern void DestinationTrain(const Destination *destination, TrainingJob *job,
							 EpochConsumer consume, void *context);

#endif							/* COLLAB_DESTINATION_H */
