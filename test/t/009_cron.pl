# Retraining by the clock: from a crontab line with psql, and as a job of
# pg_cron, which becomes due within a minute.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($libdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
plan skip_all => 'pg_cron is not installed (on Debian it is the package postgresql-NN-cron)'
  unless -e "$libdir/pg_cron.so" && -e "$sharedir/extension/pg_cron.control";

my $node = new_node('main', "shared_preload_libraries = 'pg_cron'", "cron.database_name = 'postgres'",
	'cron.use_background_workers = on', 'max_worker_processes = 20');
my $session = session($node);
$session->query('CREATE EXTENSION pg_cron');
$session->query(make_ratings('ratings', 1000, 100, 20));
$session->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 10, verbose => false)");

my $job = $session->query("SELECT cron.schedule('* * * * *', \$\$CALL collab.retrain('m', options => '{\"seed\": 7, \"verbose\": false}')\$\$)");

# Meanwhile, as cron itself would: psql in a shell, with nothing but -c.
my $before = $session->query(answers('m'));
my $psql = $node->installed_command('psql');
my $line = "$psql -X -q -d '" . $node->connstr('postgres') . "' -c \"CALL collab.retrain('m')\"";
is(system($line), 0, 'a crontab line');
like(trainings($node, 'm'), qr/^1 2( |$)/, 'a crontab line: the generation is there');

my $finished = "EXISTS (SELECT FROM cron.job_run_details WHERE jobid = $job AND status IN ('succeeded', 'failed'))";
ok(wait_until_true($session, $finished, 75), 'the job has run');
is($session->query("SELECT DISTINCT status FROM cron.job_run_details WHERE jobid = $job AND end_time IS NOT NULL"),
	'succeeded', 'it succeeded')
  or diag($session->query("SELECT return_message FROM cron.job_run_details WHERE jobid = $job"));
is($session->query("SELECT count(*) FROM m
	WHERE finished IS NOT NULL AND pid IN (SELECT job_pid FROM cron.job_run_details WHERE jobid = $job)
	  AND pid <> pg_backend_pid() AND options->>'seed' = '7'") >= 1, 1, 'a generation is of its making');
isnt($session->query(answers('m')), $before, 'readers see it');
is($session->query("SELECT count(*) FROM m WHERE finished IS NULL"), 0, 'none is left unfinished');
$session->query("SELECT cron.unschedule($job)");

$session->close;
$node->stop;
done_testing();
