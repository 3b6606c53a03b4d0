# collab.tune: progress while it runs, and that it can be stopped at any time
# without leaving threads or memory behind.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;
use Time::HiRes qw(sleep time);

# What is promised is 200 ms; a busy machine is given more.
my $at_most = 1000;

my $node = new_node('main', 'fsync = off', 'max_connections = 20');
my $watcher = session($node);
$watcher->query(make_ratings('small', 500, 100, 20));
$watcher->query(make_ratings('large', 15_000, 1000, 20));

# Anonymous memory of a backend in kilobytes.
sub memory_of
{
	my ($pid) = @_;
	open my $status, '<', "/proc/$pid/status" or return 0;
	my ($kilobytes) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$status>;
	return $kilobytes // 0;
}

# Runs until it is stopped: long trials, of which each epoch takes long, or
# many short ones.
my %calls = (
	'long trials' => q{SELECT * FROM collab.tune('large', n_factors => '{200,201,202,203}', n_epochs => '{1000}', verbose => %s)},
	'folds' => q{SELECT * FROM collab.tune('large', n_factors => '{20,21}', n_epochs => '{1000}', folds => 10, verbose => %s)},
	'short trials' => q{SELECT * FROM collab.tune('small', n_factors => (SELECT array_agg(n) FROM generate_series(1, 100) n),
		wd => (SELECT array_agg(n / 1000.0) FROM generate_series(1, 100) n), n_epochs => '{1}', verbose => %s)});

# Sends the call, waits until its trials run, and stops it; gives milliseconds.
sub stop
{
	my ($victim, $sql, $how, $threads) = @_;
	$victim->send($sql);
	my $give_up = time + 60;
	if ($threads > 1)
	{
		sleep 0.002 while thread_count($victim->{pid}) < $threads && time < $give_up;
	}
	else
	{
		sleep 0.5;
	}
	sleep rand 0.1;
	my $began = time;
	$watcher->query("SELECT pg_${how}_backend($victim->{pid})");
	my $result = $victim->wait;
	return (1000 * (time - $began), $result);
}

#
# Progress: a line a trial, as they finish.
#
{
	my $session = session($node);
	$session->query('SET collab.threads = 1');
	my $result = $session->run(q{SELECT count(*) FROM collab.tune('small', n_factors => '{2,3}', wd => '{0.1,0.01}', n_epochs => '{1,2}')});
	my @lines = split /\n/, $result->{err};
	like(shift @lines, qr/^NOTICE:  read \d+ ratings of 100 items by 500 users: /, 'the ratings are read once');
	like(shift @lines, qr/^NOTICE:  sorted \d+ ratings, \d+ of them held out: /, 'and sorted');
	is(scalar @lines, 8, 'a line a trial');
	is(scalar(grep { /^NOTICE:  trial \d of 8: n_factors [23], wd 0\.0?1, lr_max 0\.005, n_epochs [12]: train loss \d\.\d{4}, valid loss \d\.\d{4}, \d+\.\d\d s$/ } @lines),
		8, 'which tells the setting, the losses, and the time') or diag($result->{err});
	like($lines[0], qr/trial 1 of 8: n_factors 3, .* n_epochs 2/, 'what takes long goes first');
	like($lines[7], qr/trial 8 of 8: n_factors 2, .* n_epochs 1/, 'and what is quick last');
	like($session->run(q{SELECT count(*) FROM collab.tune('small', folds => 2)})->{err}, qr/^NOTICE:  trial 1 of 1: .*, valid loss \d\.\d{4} \(deviation \d\.\d{4}\), /m, 'of folds, with their deviation');
	like($session->run(q{SELECT count(*) FROM collab.tune('small', wd => '{0}', lr_max => '{1000}', options => '{"y_range": null, "div_start": 1e-35}')})->{err},
		qr/^NOTICE:  trial 1 of 1: n_factors 50, wd 0, lr_max 1000, n_epochs 5: diverged, .*\nWARNING:  training diverged in every trial/m, 'or that it diverged');
	is($session->run(q{SELECT count(*) FROM collab.tune('small', verbose => false)})->{err}, '', 'not a word with verbose => false');

	for my $threads (1, 3)
	{
		$session->query("SET collab.threads = $threads");
		$session->send(sprintf($calls{'short trials'}, 'true'));
		my $give_up = time + 60;
		sleep 0.01 until $session->messages =~ /trial 5 of/ || time > $give_up;
		$watcher->query("SELECT pg_cancel_backend($session->{pid})");
		my $result = $session->wait;
		like($result->{err}, qr/trial 5 of 10000: /, "$threads threads: trials are told while others run");
		my @numbers = $result->{err} =~ /trial (\d+) of/g;
		is("@numbers", join(' ', 1 .. @numbers), 'in the order in which they end');
		is($result->{state}, '57014', 'and then cancelled');
	}
	$session->close;
}

#
# Stopped at any time
#
my $worst = 0;
for my $threads (1, 3)
{
	my $session = session($node);
	$session->query("SET collab.threads = $threads");
	for my $call (sort keys %calls)
	{
		for my $verbose ('true', 'false')
		{
			my $what = "$threads threads, $call, verbose $verbose";
			my ($ms, $result) = stop($session, sprintf($calls{$call}, $verbose), 'cancel', $threads);
			$worst = $ms if $ms > $worst;
			is($result->{state}, '57014', "$what: cancelled") or diag($result->{err});
			cmp_ok($ms, '<', $at_most, "$what: at once");
			is(thread_count($session->{pid}), 1, "$what: no thread left");
			is($session->query("SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'collab%'"), 0, "$what: no memory context left");
			is(locks_of($node, $session->{pid}), 'none', "$what: no lock left");
		}
	}
	$session->query("SET statement_timeout = 700");
	is($session->run(sprintf($calls{'long trials'}, 'false'))->{state}, '57014', "$threads threads: statement_timeout");
	$session->query('RESET statement_timeout');

	# an error of the caller's, not of ours, is no different
	is($session->query(q{DO $$BEGIN PERFORM * FROM collab.tune('small', n_factors => '{2,3,4}', verbose => false); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END$$; SELECT 1}),
		1, "$threads threads: in a subtransaction");
	$session->close;
}

# The end of the session unwinds nothing: it must not bring the server down.
my $postmaster = $watcher->query('SELECT pg_postmaster_start_time()');
for my $round (1 .. 12)
{
	my $session = session($node);
	my $call = (sort keys %calls)[$round % 3];
	my $threads = $round % 4 == 0 ? 1 : 4;
	$session->query("SET collab.threads = $threads");
	my ($ms, $result) = stop($session, sprintf($calls{$call}, $round % 2 ? 'true' : 'false'), 'terminate', $threads);
	$worst = $ms if $ms > $worst;
	is($result->{state}, 'lost', "terminated in $call, round $round");
	like($result->{err}, qr/terminating connection due to administrator command/, 'as asked for');
	cmp_ok($ms, '<', $at_most, 'at once');
	$session->close;
}
is($watcher->query('SELECT pg_postmaster_start_time()'), $postmaster, 'the server is up');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and nothing crashed');
note(sprintf('slowest of all: %d ms', $worst));

#
# Memory: over the limit before any trial; and nothing grows.
#
{
	my $session = session($node);
	$session->query(q{SET collab.threads = 2; SET collab.max_memory = '100MB'});
	fails_with($session, q{SELECT * FROM collab.tune('large', n_factors => '{1000,1001,1002}')}, '54000',
		qr/more memory is needed than collab.max_memory allows\nDETAIL:  [0-9]{3} MB are needed and 100 MB are allowed/, 'too much memory');
	$session->query('RESET collab.max_memory');
	my $quick = q{SELECT count(*) FROM collab.tune('large', n_factors => '{10,11,12,13}', n_epochs => '{1}', folds => 2, verbose => false)};
	$session->query($quick) for 1 .. 3;
	my $before = memory_of($session->{pid});
	$session->query($quick) for 1 .. 10;
	stop($session, sprintf($calls{folds}, 'false'), 'cancel', 2) for 1 .. 5;
	my $after = memory_of($session->{pid});
	note("memory after 3 calls: $before kB, after 15 further ones: $after kB");
	# malloc keeps some; a single run that were not given back takes about 7 MB
	cmp_ok($after, '<', $before + 30_000, 'memory does not grow');
	$session->close;
}

$node->stop;
done_testing();
