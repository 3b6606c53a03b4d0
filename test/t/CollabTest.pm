# What the server tests share: clusters with the extension, ratings made by
# arithmetic, and psql sessions that stay open.

package CollabTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node session make_ratings answers fails_with
  thread_count locks_of trainings wait_until_true);

# A running cluster with the extension in database "postgres"; lines for
# postgresql.conf follow the name.
sub new_node
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => scalar(grep { /wal_level/ } @conf));
	$node->append_conf('postgresql.conf', join("\n", 'autovacuum = off', @conf, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION collab');
	return $node;
}

sub session
{
	return CollabTest::Session->new(@_);
}

# SQL that makes a table of ratings: users, items, ratings a user.  Tastes
# are planted: users and items that agree modulo 3 go together.
sub make_ratings
{
	my ($table, $n_users, $n_items, $n_each) = @_;
	return qq{
		CREATE TABLE $table AS
		SELECT u AS user_id, i AS item_id,
			   (2.5 + CASE WHEN u % 3 = i % 3 THEN 1.5 ELSE -0.5 END
				+ ((u * 31 + i * 17) % 5 - 2) * 0.25)::real AS rating
		  FROM generate_series(1, $n_users) u, generate_series(0, $n_each - 1) j,
			   LATERAL (SELECT 1 + (u * 7 + j * 11) % $n_items AS i) k};
}

# SQL that gives a model's predictions for a fixed set of pairs as one string.
sub answers
{
	my ($model) = @_;
	return qq{SELECT md5(string_agg(collab.predict('$model', u, i)::text, ' ' ORDER BY u, i))
		FROM generate_series(1, 30) u, generate_series(1, 20) i};
}

# The statement fails with that SQLSTATE, and says what the pattern wants.
sub fails_with
{
	my ($session, $sql, $state, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $result = $session->run($sql);
	is($result->{state}, $state, "$name: SQLSTATE") or diag($result->{err});
	like($result->{err}, $pattern, "$name: message");
	return;
}

# Threads of a backend.
sub thread_count
{
	my ($pid) = @_;
	my @tasks = glob "/proc/$pid/task/*";
	return scalar @tasks;
}

# Locks that a backend has, which should be none when it is idle.
sub locks_of
{
	my ($node, $pid) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(string_agg(concat_ws(' ', locktype, classid, objid, relation::regclass, mode), ', '), 'none')
		 FROM pg_locks WHERE pid = $pid");
}

# A head's generations, the unfinished ones in brackets.
sub trainings
{
	my ($node, $model) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(CASE WHEN finished IS NULL THEN format('(%s)', generation) ELSE generation::text END,
			' ' ORDER BY generation) FROM $model");
}

# Polls in short steps, for poll_query_until sleeps long ones.
sub wait_until_true
{
	my ($session, $condition, $seconds) = @_;
	my $give_up = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	while (time < $give_up)
	{
		return 1 if $session->query("SELECT $condition") eq 't';
		select(undef, undef, undef, 0.01);
	}
	diag("never came true: $condition");
	return 0;
}

# A psql that stays connected and can be left alone while a statement runs.
package CollabTest::Session;

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;

# Options: db, user, options (command line options of the server).
sub new
{
	my ($class, $node, %given) = @_;
	my $self = bless { in => '', out => '', err => '', number => 0 }, $class;
	my @command = (
		$node->installed_command('psql'), '--no-psqlrc', '--no-align', '--tuples-only', '--quiet',
		'--dbname', $node->connstr($given{db} // 'postgres'));
	push @command, '--username', $given{user} if $given{user};
	local $ENV{PGOPTIONS} = $given{options} if $given{options};
	$self->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$self->{psql} = IPC::Run::start(\@command, '<', \$self->{in}, '>', \$self->{out},
		'2>', \$self->{err}, $self->{timer});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# Sends a statement without waiting for it.
sub send
{
	my ($self, $sql) = @_;
	my $number = ++$self->{number};
	$self->{began} = time;
	$self->{in} .= "$sql\n;\n\\echo <end $number> :SQLSTATE\n\\warn <end $number>\n";
	$self->{psql}->pump_nb;
	return;
}

# Waits for the statement sent last.  Gives its output, the messages, the
# SQLSTATE ("lost" when the connection is) and the milliseconds it took.
sub wait
{
	my ($self) = @_;
	my $end = "<end $self->{number}>";
	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	until ($self->{out} =~ /\Q$end\E \S+\n/ && $self->{err} =~ /\Q$end\E\n/)
	{
		last unless $self->{psql}->pumpable;
		eval { $self->{psql}->pump; 1 } or do
		{
			die $@ if $@ =~ /timeout/;
			last;
		};
	}
	$self->{timer}->reset;
	my $ms = (time - $self->{began}) * 1000;
	my $state = $self->{out} =~ s/\Q$end\E (\S+)\n// ? $1 : 'lost';
	$self->{err} =~ s/\Q$end\E\n//;
	my $result = { out => $self->{out}, err => $self->{err}, state => $state, ms => $ms };
	chomp $result->{out};
	$self->{out} = $self->{err} = '';
	return $result;
}

sub run
{
	my ($self, $sql) = @_;
	$self->send($sql);
	return $self->wait;
}

# Runs a statement that must succeed; gives its output.
sub query
{
	my ($self, $sql) = @_;
	my $result = $self->run($sql);
	die "failed: $sql\n$result->{err}" if $result->{state} ne '00000';
	return $result->{out};
}

# What has arrived so far, without waiting.
sub messages
{
	my ($self) = @_;
	$self->{psql}->pump_nb;
	return $self->{err};
}

sub close
{
	my ($self) = @_;
	return unless $self->{psql};
	eval { $self->{in} .= "\\q\n"; $self->{psql}->finish; };
	delete $self->{psql};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	eval { $self->{psql}->kill_kill if $self->{psql}; };
	return;
}

1;
