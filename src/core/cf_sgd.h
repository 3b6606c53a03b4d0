/*
 * cf_sgd.h
 *	  The solver for large tables, "sgd": stochastic gradient descent over a
 *	  grid of blocks, on several threads.
 *
 * The objective is that of the documents' recipe, with L2 decay weighted by
 * frequency: for each training rating r of item i by user u
 *
 *		(r - rating(p_u . q_i + b_u + b_i))^2 / 2V
 *			+ wd / 2 (|p_u|^2 + |q_i|^2 + b_u^2 + b_i^2)
 *
 * Per rating g = -d/d logit of the first term, and at the schedule's rate lr
 *
 *		p_u += lr (g q_i - wd p_u),  q_i += lr (g p_u - wd q_i), biases alike.
 *
 * V makes rate and decay independent of the scale of the ratings.  It is the
 * square of the greatest slope of the range, (high - low) / 4: the error is
 * then one of the logit.  Without a range factors grow as the root of the
 * ratings' deviation s, and biases as s: V is 1.5 s (with s alone the default
 * rate is near to where it diverges), and biases move s times as fast.
 *
 * Ratings that follow one another are taken in batches of up to CF_SGD_BATCH,
 * whose slopes are all taken before any row moves, so that their dot products
 * do not wait for one another.  No more than eight of a batch are of one user
 * (fewer without a range), so that it does not overshoot at rates that a single
 * rating bears.  A tile's ratings are dealt in rounds of eight a user: batches
 * are then full, and repeated ratings of one item by one user do not meet in one.
 *
 * The grid (Gemulla et al.: "Large-scale matrix factorization with
 * distributed stochastic gradient descent", KDD 2011; Zhuang et al.: LIBMF,
 * RecSys 2013).  Users are cut into ranges of about as many ratings each, and
 * so are items, by how often they are rated, into B parts; B ranges of users are
 * a band.  A stratum is B tiles of a band, no two of which share a user or an
 * item, so that threads can take them in any order with the same result.  An
 * epoch goes through the bands in an order of its own; in each, every range goes
 * through the B parts round about, from another one on and forwards or backwards
 * as the epoch has it.  The grid depends on the ratings alone, so the result does
 * not depend on the number of threads.
 *
 * What a tile touches in no order, the rows of a part of the items, should be
 * near: most parts are of few items, rated often, and fit in a core's cache, as
 * does the range of users that goes with them; each thread has parts of its own,
 * and takes what is free of the others only when nothing of those is ready.
 */
#ifndef CF_SGD_H
#define CF_SGD_H

#include "cf_solver.h"

extern const cf_solver cf_sgd;

/*
 * Default epochs: 7 for a million ratings and 3 fewer for each power of ten,
 * 3 to 12.  The more ratings a row has, the sooner it has settled.
 */
extern uint32_t cf_sgd_epochs(size_t n_train);

/*
 * Default decay: the longer a training, the closer it fits, and the more it
 * has to be held back.  0.004 + 0.002 n_epochs, at most 0.05.
 */
extern double cf_sgd_decay(uint32_t n_epochs);

#endif							/* CF_SGD_H */
