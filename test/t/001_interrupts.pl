# Cancel, statement_timeout and terminate take effect at once in each phase of
# a training, and leave nothing behind.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;

# What is promised is 200 ms; a busy machine is given more.
my $at_most = 1000;

my $node = new_node('main', 'max_wal_size = 2GB', 'shared_buffers = 256MB');
my $watcher = session($node);

$watcher->query(make_ratings('small', 2000, 200, 20));
$watcher->query(make_ratings('large', 100_000, 2000, 30));
# nearly as many embeddings as ratings: what takes long is to write them
$watcher->query(make_ratings('wide', 150_000, 2000, 1));

# Sources that tell by advisory locks where their reader is: 1 once it has
# begun, 2 once it has come to the end.
for my $table (qw(small large wide))
{
	$watcher->query("CREATE VIEW ${table}_watched AS
		SELECT 1 AS user_id, 1 AS item_id, 3::real AS rating WHERE pg_try_advisory_xact_lock(1)
		UNION ALL SELECT * FROM $table
		UNION ALL SELECT 1, 1, 3::real WHERE pg_try_advisory_xact_lock(2)");
}
# Written tables tell by 3.
$watcher->query('CREATE FUNCTION tell_writing() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_try_advisory_xact_lock(3); RETURN NULL; END$$');
$watcher->query('CREATE FUNCTION told(what int, victim int) RETURNS bool LANGUAGE sql AS
	$$SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = \'advisory\' AND objid = what::oid AND pid = victim)$$');

# Waits until the victim is in the phase, stops it, and gives the milliseconds
# until it has stopped.
$watcher->query(<<'SQL');
CREATE FUNCTION stop(victim int, how text, phase text) RETURNS real LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	seen bool := false;
	there bool;
	busy bool;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot();
		busy := EXISTS (SELECT FROM pg_stat_activity WHERE pid = victim AND state = 'active');
		IF seen AND NOT busy THEN
			RAISE 'it ended before it was in the phase';
		END IF;
		seen := seen OR busy;
		EXECUTE 'SELECT ' || phase INTO there USING victim;
		EXIT WHEN busy AND there;
		PERFORM pg_sleep(0.003);
	END LOOP;
	began := clock_timestamp();
	IF how = 'cancel' THEN
		PERFORM pg_cancel_backend(victim);
	ELSE
		PERFORM pg_terminate_backend(victim);
	END IF;
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = victim AND state = 'active');
		PERFORM pg_sleep(0.001);
	END LOOP;
	RETURN 1000 * extract(epoch FROM clock_timestamp() - began);
END$$
SQL

# The models that are trained again.
for my $table (qw(small large wide))
{
	my $n_factors = $table eq 'wide' ? 100 : 5;
	$watcher->query("SELECT count(*) FROM collab.train('m_$table', '${table}_watched',
		n_factors => $n_factors, n_epochs => 1, verbose => false)");
}
$watcher->query("CREATE TRIGGER tell BEFORE UPDATE ON m_wide_users EXECUTE FUNCTION tell_writing()");
# One that knows few of the users.
$watcher->query("CREATE VIEW few_watched AS SELECT * FROM large WHERE user_id <= 1000");
$watcher->query("SELECT count(*) FROM collab.train('m_few', 'few_watched', n_factors => 20, n_epochs => 1, verbose => false)");
$watcher->query('CREATE OR REPLACE VIEW few_watched AS SELECT * FROM large_watched');
$watcher->query("CREATE TRIGGER tell BEFORE INSERT ON m_few_users EXECUTE FUNCTION tell_writing()");
# A neural model.
$watcher->query("SELECT count(*) FROM collab.train('m_net', 'large_watched', use_nn => true, layers => '{4}', n_epochs => 1, verbose => false)");
my %answers = map { $_ => $watcher->query(answers("m_$_")) } qw(small large wide few net);

my %phase = (
	reading => 'told(1, $1) AND NOT told(2, $1)',
	freezing => 'told(2, $1)',
	'freezing, later' => 'told(2, $1) AND pg_sleep(0.15) IS NOT NULL',
	'training (one transaction)' => 'told(2, $1) AND (SELECT clock_timestamp() - query_start > \'0.7 s\'
		FROM pg_stat_activity WHERE pid = $1)',
	'training (short epochs)' => 'EXISTS (SELECT FROM m_small
		WHERE finished IS NULL AND pid = $1 AND cardinality(train_loss) >= 2)',
	'training (a long epoch)' => 'EXISTS (SELECT FROM m_small
		WHERE finished IS NULL AND pid = $1) AND (SELECT clock_timestamp() - query_start > \'2 s\'
		FROM pg_stat_activity WHERE pid = $1) AND NOT told(1, $1)',
	'training (a long epoch of a net)' => 'EXISTS (SELECT FROM m_net
		WHERE finished IS NULL AND pid = $1) AND (SELECT clock_timestamp() - query_start > \'2 s\'
		FROM pg_stat_activity WHERE pid = $1) AND NOT told(1, $1)',
	'folding in' => 'told(2, $1) AND pg_sleep(1) IS NOT NULL AND NOT told(3, $1)',
	writing => 'told(3, $1)');

my $train = "SELECT * FROM collab.train('%s', '%s_watched', n_epochs => %d, n_factors => %d, verbose => false, replace => %s)";
my $retrain = "CALL collab.retrain('m_%s', options => '{\"n_epochs\": %d, \"n_factors\": %d, \"verbose\": false}')";
my $fit = "SELECT (collab.fit('%s', user_id, item_id, rating, '{\"n_epochs\": %d, \"n_factors\": %d, \"verbose\": false, \"replace\": %s}')).n_users FROM %s_watched";
my $train_nn = "SELECT * FROM collab.train('never', '%s_watched', use_nn => true, layers => '{%s}', batch_size => %d, n_epochs => 1000, verbose => false)";
my @cases = (
	[ 'train', 'reading', 'large', sprintf($train, 'never', 'large', 1, 5, 'false') ],
	[ 'train', 'freezing', 'large', sprintf($train, 'never', 'large', 1, 5, 'false') ],
	[ 'train', 'freezing, later', 'large', sprintf($train, 'never', 'large', 1, 5, 'false') ],
	[ 'train', 'training (one transaction)', 'small', sprintf($train, 'never', 'small', 5000, 50, 'false') ],
	[ 'train', 'writing', 'wide', sprintf($train, 'm_wide', 'wide', 1, 100, 'true') ],
	# a net of few weights and many steps, one of many, a batch of many ratings
	[ 'train, neural', 'training (one transaction)', 'small', sprintf($train_nn, 'small', '100,50', 64) ],
	[ 'train, neural and wide,', 'training (one transaction)', 'small', sprintf($train_nn, 'small', '4096,2048', 64) ],
	[ 'train, neural in great batches,', 'training (one transaction)', 'small', sprintf($train_nn, 'small', '1000,500', 30000) ],
	[ 'retrain, neural,', 'training (a long epoch of a net)', 'net', "CALL collab.retrain('m_net', options => '{\"n_epochs\": 10, \"layers\": [1000, 1000], \"verbose\": false}')" ],
	[ 'retrain', 'reading', 'large', sprintf($retrain, 'large', 1, 5) ],
	[ 'retrain', 'freezing', 'large', sprintf($retrain, 'large', 1, 5) ],
	[ 'retrain', 'training (short epochs)', 'small', sprintf($retrain, 'small', 5000, 50) ],
	[ 'retrain', 'writing', 'wide', sprintf($retrain, 'wide', 1, 100) ],
	[ 'add_users', 'reading', 'few', "SELECT collab.add_users('m_few')" ],
	[ 'add_users', 'folding in', 'few', "SELECT collab.add_users('m_few')" ],
	[ 'add_users', 'writing', 'few', "SELECT collab.add_users('m_few')" ],
	[ 'fit', 'reading', 'large', sprintf($fit, 'never', 1, 5, 'false', 'large') ],
	[ 'fit', 'freezing', 'large', sprintf($fit, 'never', 1, 5, 'false', 'large') ],
	[ 'fit', 'training (one transaction)', 'small', sprintf($fit, 'never', 5000, 50, 'false', 'small') ],
	[ 'fit', 'writing', 'wide', sprintf($fit, 'm_wide', 1, 100, 'true', 'wide') ]);

sub check_nothing_left
{
	my ($what, $table, $victim, $alive) = @_;
	if ($alive)
	{
		is(locks_of($node, $victim->{pid}), 'none', "$what: no lock left");
		is(thread_count($victim->{pid}), 1, "$what: no thread left");
		is($victim->query("SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'collab%'"),
			0, "$what: no memory context left");
	}
	is($watcher->query("SELECT count(*) FROM pg_class WHERE relname LIKE 'never%'"),
		0, "$what: no table left");
	is($watcher->query(answers("m_$table")), $answers{$table}, "$what: the old generation answers");
}

my $worst = 0;
for my $how (qw(cancel terminate))
{
	my $victim = session($node);
	for my $case (@cases)
	{
		my ($call, $phase, $table, $sql) = @$case;
		my $what = "$how of $call while $phase";
		$victim->send($sql);
		my $ms = $watcher->query("SELECT stop($victim->{pid}, '$how', \$\$$phase{$phase}\$\$)");
		my $result = $victim->wait;
		note(sprintf('%-50s %4d ms', $what, $ms));
		$worst = $ms if $ms > $worst;
		cmp_ok($ms, '<', $at_most, "$what is quick");
		if ($how eq 'cancel')
		{
			is($result->{state}, '57014', "$what: SQLSTATE");
		}
		else
		{
			like($result->{err}, qr/terminating connection due to administrator command/,
				"$what: message");
		}
		check_nothing_left($what, $table, $victim, $how eq 'cancel');
		$victim = session($node) if $how eq 'terminate';
	}
	$victim->close;
}

# An epoch that alone takes long is not waited for.
{
	my $victim = session($node);
	$victim->send("CALL collab.retrain('m_small', ratings => 'large', options => '{\"n_epochs\": 1, \"n_factors\": 200}')");
	my $ms = $watcher->query("SELECT stop($victim->{pid}, 'cancel', \$\$$phase{'training (a long epoch)'}\$\$)");
	note(sprintf('%-50s %4d ms', 'cancel within a long epoch', $ms));
	$worst = $ms if $ms > $worst;
	cmp_ok($ms, '<', $at_most, 'cancel within a long epoch is quick');
	is($victim->wait->{state}, '57014', 'cancel within a long epoch: SQLSTATE');
	check_nothing_left('cancel within a long epoch', 'small', $victim, 1);
	$victim->close;
}

# Readers of a net whose one prediction takes milliseconds.
{
	$watcher->query(make_ratings('tiny', 60, 400, 20));
	$watcher->query("SELECT count(*) FROM collab.train('m_slow', 'tiny', use_nn => true, layers => '{4096,2048}',
		batch_size => 1000, n_epochs => 1, verbose => false)");
	my $victim = session($node);
	$victim->query("SELECT collab.predict('m_slow', 1, 1)");
	for my $call ("evaluate('m_slow', 'tiny')", "recommend_all('m_slow', 400, false)", 'predict')
	{
		my $what = $call =~ s/\(.*//r . ' by a wide net';
		$victim->send($call eq 'predict' ? "SELECT sum(collab.predict('m_slow', user_id, item_id)) FROM tiny, generate_series(1, 100)"
			: "SELECT count(*) FROM generate_series(1, 100), LATERAL collab.$call");
		my $ms = $watcher->query("SELECT stop($victim->{pid}, 'cancel', 'pg_sleep(0.3) IS NOT NULL')");
		note(sprintf('%-50s %4d ms', "cancel of $what", $ms));
		$worst = $ms if $ms > $worst;
		cmp_ok($ms, '<', $at_most, "cancel of $what is quick");
		is($victim->wait->{state}, '57014', "cancel of $what: SQLSTATE");
		is(thread_count($victim->{pid}), 1, "cancel of $what: no thread left");
	}
	$victim->close;
}

# statement_timeout, which counts for a CALL as a whole although it commits.
$watcher->query('CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_sleep(20); RETURN NULL; END$$');
$watcher->query('CREATE TRIGGER tarry BEFORE UPDATE ON m_wide_users EXECUTE FUNCTION tarry()');
for my $case (
	[ 'train while reading', 'large', 200, $cases[0][3] ],
	[ 'train while training', 'small', 500, $cases[3][3] ],
	[ 'train while writing', 'wide', 2500, $cases[4][3] ],
	[ 'retrain while reading', 'large', 200, $cases[5][3] ],
	[ 'retrain while training', 'small', 500, $cases[7][3] ],
	[ 'retrain while writing', 'wide', 2500, $cases[8][3] ])
{
	my ($what, $table, $timeout, $sql) = @$case;
	$what = "timeout of $what";
	my $victim = session($node);
	$victim->query("SET statement_timeout = $timeout");
	my $result = $victim->run($sql);
	my $ms = $result->{ms} - $timeout;
	note(sprintf('%-50s %4d ms', $what, $ms));
	$worst = $ms if $ms > $worst;
	cmp_ok($ms, '>=', 0, "$what: not before its time");
	cmp_ok($ms, '<', $at_most, "$what is quick");
	is($result->{state}, '57014', "$what: SQLSTATE");
	like($result->{err}, qr/statement timeout/, "$what: message");
	$victim->query('RESET statement_timeout');
	check_nothing_left($what, $table, $victim, 1);
	$victim->close;
}
$watcher->query('DROP TRIGGER tarry ON m_wide_users');
note(sprintf('slowest of all: %d ms', $worst));

# A reader that is stopped while it reads a model keeps nothing half read: not
# in a new entry of its cache, nor in one that had the items alone.
{
	my $reader = session($node);
	my $cached = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'collab model'";
	my %reads = (
		'a new entry' => "SELECT collab.predict('m_wide', 1, 1)",
		'an entry that had the items' => "SELECT count(*) FROM collab.user_bias('m_wide')");
	$reader->query("SELECT count(*) FROM collab.models");
	for my $first ('a new entry', 'an entry that had the items')
	{
		if ($first ne 'a new entry')
		{
			$reader->query("SELECT count(*) FROM collab.movie_bias('m_wide')");
			is($reader->query($cached), 1, "$first: it is there");
		}
		my $whole = session($node)->run($reads{$first})->{ms};
		my $timeout = int($whole / 3) || 1;
		note(sprintf('%-50s %4d ms', "reading: $first", $whole));
		$reader->query("SET statement_timeout = $timeout");
		my $result = $reader->run($reads{$first});
		is($result->{state}, '57014', "$first: the reader is stopped") or diag("took $result->{ms} ms");
		$reader->query('RESET statement_timeout');
		# unless it was stopped before it began to read
		like($reader->query($cached), $first eq 'a new entry' ? qr/^0$/ : qr/^[01]$/, "$first: nothing is kept");
	}
	is($reader->query(answers('m_wide')), $answers{wide}, 'the next reads it whole');
	$reader->close;
}

# What they left in the heads is deleted by the next retrain, which works.
like(trainings($node, 'm_small'), qr/^1 \(\d+\)$/, 'an unfinished training stands in the head');
$watcher->query("CALL collab.retrain('m_small')");
like(trainings($node, 'm_small'), qr/^1 \d+$/, 'the next retrain deletes it and finishes');
isnt($watcher->query(answers('m_small')), '', 'and its model answers');

$node->stop;
done_testing();
