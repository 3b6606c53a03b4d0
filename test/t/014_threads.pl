# A training on several threads: the same bits as on one, and it can be
# stopped at any moment without harm to the server.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;
use Time::HiRes qw(sleep time);

# What is promised is 200 ms; a busy machine is given more.
my $at_most = 1000;
my $rounds = 50;

my $node = new_node('main', 'fsync = off', 'max_connections = 20');
my $watcher = session($node);
$watcher->query(make_ratings('large', 30_000, 2000, 20));

my $train = q{SELECT * FROM collab.train('%s', 'large', solver => '%s', n_epochs => %d, verbose => false)};
my $hash = q{SELECT md5(string_agg(format('%%s %%s', bias, factors), ' ' ORDER BY user_id)) FROM %s_users};

# The same bits
for my $solver (qw(sgd bayes))
{
	my %bits;
	for my $threads (1, 2, 5)
	{
		my $session = session($node);
		$session->query("SET collab.threads = $threads");
		my $result = $session->run(sprintf($train, "m_$threads", $solver, 12));
		is($result->{state}, '00000', "$solver on $threads threads") or diag($result->{err});
		$bits{$session->query(sprintf($hash, "m_$threads"))} = 1;
		is(thread_count($session->{pid}), 1, 'no thread is left');
		$session->query("SELECT collab.drop_model('m_$threads')");
		$session->close;
	}
	is(scalar keys %bits, 1, "$solver: the same bits on any number of threads");
}

# Stopped at any moment of it, from the start of its threads on.
sub stop
{
	my ($victim, $sql, $how, $after) = @_;
	$victim->send($sql);
	my $give_up = time + 60;
	sleep 0.002 while thread_count($victim->{pid}) < 2 && time < $give_up;
	sleep $after;
	my $began = time;
	$watcher->query("SELECT pg_${how}_backend($victim->{pid})");
	my $result = $victim->wait;
	return (1000 * (time - $began), $result);
}

$watcher->query(sprintf($train, 'again', 'sgd', 1));
my $answers = $watcher->query(answers('again'));
my $endless = sprintf($train, 'never', 'sgd', 100_000);
my $retrain = q{CALL collab.retrain('again', options => '{"n_epochs": 100000, "verbose": false}')};
my $postmaster = $watcher->query('SELECT pg_postmaster_start_time()');
my $worst = 0;

my $session = session($node);
$session->query('SET collab.threads = 3');
for my $round (1 .. 6)
{
	my ($ms, $result) = stop($session, $round % 2 ? $endless : $retrain, 'cancel', rand 0.3);
	$worst = $ms if $ms > $worst;
	is($result->{state}, '57014', "round $round: cancelled") or diag($result->{err});
	cmp_ok($ms, '<', $at_most, 'at once');
	is(thread_count($session->{pid}), 1, 'no thread is left');
	is(locks_of($node, $session->{pid}), 'none', 'no lock is left');
}
$session->close;

my ($lost, $late) = (0, 0);
for my $round (1 .. $rounds)
{
	my $victim = session($node, options => '-c collab.threads=' . (2 + $round % 3));
	my ($ms, $result) = stop($victim, $round % 2 ? $endless : $retrain, 'terminate', rand 0.1);
	$worst = $ms if $ms > $worst;
	$lost++ if $result->{state} eq 'lost' && $result->{err} =~ /terminating connection due to administrator command/;
	$late++ if $ms >= $at_most;
	$victim->close;
}
is($lost, $rounds, "$rounds sessions terminated in the middle of a training");
is($late, 0, 'each of them at once');
is($watcher->query('SELECT pg_postmaster_start_time()'), $postmaster, 'the server is up');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and nothing crashed');
is($watcher->query(answers('again')), $answers, 'the model answers as before');
is($watcher->query("SELECT count(*) FROM pg_class WHERE relname LIKE 'never%'"), 0, 'and of the new one nothing is left');
note(sprintf('slowest of all: %d ms', $worst));

$node->stop;
done_testing();
