-- A model trained anew every night by pg_cron.  The server needs
--
--	shared_preload_libraries = 'pg_cron'
--	cron.database_name = 'movies'			# the database where this file is run
--	cron.use_background_workers = on		# no connection, hence no password
--
-- and CREATE EXTENSION pg_cron by a superuser.  The job is one CALL: it commits
-- after every epoch, which pg_cron allows as long as nothing stands beside it
-- (settings belong into the arguments, not into a SET before).

SELECT cron.schedule('retrain movielens', '30 3 * * *',
					 $$CALL collab.retrain('movielens', nowait => true)$$);

-- What became of it:
SELECT status, return_message, start_time, end_time - start_time AS took
  FROM cron.job_run_details
 ORDER BY start_time DESC
 LIMIT 5;

-- What the trainings reached:
SELECT generation, epoch, train_loss, valid_loss, finished
  FROM collab.history('movielens')
 ORDER BY generation DESC, epoch
 LIMIT 10;
