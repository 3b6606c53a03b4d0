# A backend that is killed in the middle of a retrain takes the server down,
# and neither the old generation nor the next retrain minds.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'restart_after_crash = on');
$node->safe_psql('postgres', make_ratings('ratings', 1000, 100, 20));
$node->safe_psql('postgres',
	"SELECT collab.train('m', 'ratings', n_factors => 10, verbose => false);
	 SELECT collab.train('fleeting', 'ratings', n_factors => 10, verbose => false);
	 ALTER TABLE fleeting SET UNLOGGED;
	 ALTER TABLE fleeting_users SET UNLOGGED;
	 ALTER TABLE fleeting_items SET UNLOGGED");
$node->safe_psql('postgres', answers('fleeting'));
my $before = $node->safe_psql('postgres', answers('m'));

# Kills the session that trains once the condition holds.
sub kill_training
{
	my ($call, $condition) = @_;
	my $trainer = session($node);
	my $watcher = session($node);
	$trainer->send($call);
	my $there = wait_until_true($watcher, $condition =~ s/PID/$trainer->{pid}/r, 60);
	kill 'KILL', $trainer->{pid} if $there;
	my $result = $trainer->wait;
	is($result->{state}, 'lost', 'the session is lost') or diag($result->{err});
	$watcher->close;
	# the postmaster restarts the server by itself
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	return;
}

kill_training("CALL collab.retrain('m', options => '{\"n_epochs\": 5000, \"seed\": 7}')",
	'EXISTS (SELECT FROM m WHERE finished IS NULL AND pid = PID AND cardinality(train_loss) >= 2)');
is($node->safe_psql('postgres', answers('m')), $before, 'killed between epochs: the old generation answers');
is(trainings($node, 'm'), '1 (2)', 'the dead training stands in the head');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM collab.history('m') WHERE generation = 2"),
	'>=', 2, 'and so do its losses');
$node->safe_psql('postgres', "CALL collab.retrain('m', nowait => true, options => '{\"seed\": 8, \"n_epochs\": 5}')");
is(trainings($node, 'm'), '1 2', 'the next retrain deletes it and finishes');
my $second = $node->safe_psql('postgres', answers('m'));
isnt($second, $before, 'its model answers');

# In the last transaction, with most of the new embeddings written.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NULL; END$$;
CREATE TRIGGER tarry AFTER UPDATE ON m_items EXECUTE FUNCTION tarry();
SQL
kill_training("CALL collab.retrain('m', options => '{\"seed\": 9}')",
	"EXISTS (SELECT FROM pg_stat_activity WHERE pid = PID AND wait_event = 'PgSleep')");
is($node->safe_psql('postgres', answers('m')), $second, 'killed while writing: the old generation answers');
is(trainings($node, 'm'), '1 2 (3)', 'the dead training stands in the head');
$node->safe_psql('postgres', 'DROP TRIGGER tarry ON m_items');
$node->safe_psql('postgres', "CALL collab.retrain('m', nowait => true, options => '{\"seed\": 10}')");
is(trainings($node, 'm'), '1 2 3', 'the next retrain deletes it and finishes');
isnt($node->safe_psql('postgres', answers('m')), $second, 'its model answers');

# A model that its owner made unlogged is empty after a crash, and says so.
{
	my $session = session($node);
	fails_with($session, "SELECT collab.predict('fleeting', 1, 1)", '55000',
		qr/model "fleeting" has never been trained/, 'predict from an unlogged model after a crash');
	fails_with($session, "CALL collab.retrain('fleeting')", '55000',
		qr/model "fleeting" has never been trained.*collab\.drop_model/s, 'retrain of it');
	is($session->query("SELECT count(*) FROM collab.history('fleeting')"), 0, 'its history is empty');
	$session->query("SELECT collab.drop_model('fleeting')");
	is($session->query("SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE 'fleeting%'"),
		'', 'the hint to drop it leads somewhere: no table is left');
	$session->close;
}

$node->stop;
done_testing();
