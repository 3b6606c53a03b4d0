# Models through pg_dump and pg_restore: a whole database, and the three tables
# of a model alone.  What DROP EXTENSION does to models.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $dumps = $node->basedir;

# Names that need quoting, in a schema that is not in the search path.
$node->safe_psql('postgres', 'CREATE SCHEMA "Fine Models"');
$node->safe_psql('postgres', make_ratings('"Fine Models"."the ratings"', 1000, 100, 20));
$node->safe_psql('postgres', make_ratings('ratings', 1000, 100, 20));
my %model = (plain => 'm', quoted => '"Fine Models"."My model"', neural => 'net');
$node->safe_psql('postgres',
	"SELECT collab.train('$model{plain}', 'ratings', n_factors => 10, verbose => false);
	 SELECT collab.train('$model{quoted}', '\"Fine Models\".\"the ratings\"', n_factors => 10, seed => 5, verbose => false);
	 SELECT collab.train('net', 'ratings', use_nn => true, layers => '{30,10}', verbose => false);
	 CALL collab.retrain('net', options => '{\"seed\": 7}');
	 CALL collab.retrain('m', options => '{\"seed\": 6}')");
my %answers = map { $_ => $node->safe_psql('postgres', answers($model{$_})) } keys %model;
isnt($answers{plain}, $answers{quoted}, 'the models differ');
isnt($answers{plain}, $answers{neural}, 'and so does the neural one');
my $weights = 'SELECT md5(weights::text) FROM net ORDER BY generation';
my $net = $node->safe_psql('postgres', $weights);
like($net, qr/^\n[0-9a-f]{32}$/, 'its weights are in the current row alone');

# A whole database
$node->command_ok([ 'pg_dump', '--format', 'custom', '--file', "$dumps/custom", '--dbname', $node->connstr('postgres') ],
	'pg_dump, custom format');
$node->command_ok([ 'pg_dump', '--format', 'plain', '--file', "$dumps/plain", '--dbname', $node->connstr('postgres') ],
	'pg_dump, plain format');
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(custom plain alone);
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $node->connstr('custom'), "$dumps/custom" ],
	'pg_restore');
$node->command_ok([ 'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--output', "$dumps/output",
		'--dbname', $node->connstr('plain'), '--file', "$dumps/plain" ],
	'restore by psql');
for my $db (qw(custom plain))
{
	for my $name (sort keys %model)
	{
		is($node->safe_psql($db, $weights), $net, "$db: weights are the same to the bit") if $name eq 'neural';
		is($node->safe_psql($db, answers($model{$name})), $answers{$name}, "$db: model $name answers as before");
		$node->safe_psql($db, "CALL collab.retrain('$model{$name}')");
	}
	is($node->safe_psql($db, 'SELECT string_agg(model::text, \', \' ORDER BY model_name) FROM collab.models'),
		'"Fine Models"."My model", m, net', "$db: the models are listed");
	is(trainings($node, 'm'), '1 2', 'the original is not touched');
}
# deterministic: the same rows, options and seed give the same model
is($node->safe_psql('custom', answers($model{$_})), $answers{$_}, "retrained from restored ratings, model $_ is the same")
  for sort keys %model;

# The three tables alone, to a database without the source
$node->safe_psql('alone', 'CREATE EXTENSION collab');
$node->command_ok([ 'pg_dump', '--format', 'custom', '--file', "$dumps/tables", '--table', 'public.m',
		'--table', 'public.m_users', '--table', 'public.m_items', '--table', 'public.net*', '--dbname', $node->connstr('postgres') ],
	'pg_dump of the three tables, and of three others');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $node->connstr('alone'), "$dumps/tables" ],
	'pg_restore of the three tables');
is($node->safe_psql('alone', answers('m')), $answers{plain}, 'alone: the model answers as before');
is($node->safe_psql('alone', answers('net')), $answers{neural}, 'alone: so does the neural one');
{
	my $session = session($node, db => 'alone');
	is($session->query("SELECT count(*) FROM collab.history('m')"), 10, 'alone: so does its history');
	fails_with($session, "CALL collab.retrain('m')", '42P01',
		qr/relation public\.ratings that model "m" was trained on does not exist.*HINT:.*ratings => /s,
		'alone: retrain without the source');
	is($session->query(answers('m')), $answers{plain}, 'alone: and nothing has changed');
	$session->query(make_ratings('other_ratings', 500, 100, 20));
	$session->query("CALL collab.retrain('m', ratings => 'other_ratings')");
	is(trainings_of($session), '1 2 3', 'alone: it trains on ratings that it is given');
	$session->query("CALL collab.retrain('m')");
	is(trainings_of($session), '1 2 3 4', 'alone: and knows them from then on');
	$session->close;
}

sub trainings_of
{
	my ($session) = @_;
	return $session->query("SELECT string_agg(generation::text, ' ' ORDER BY generation) FROM m WHERE finished IS NOT NULL");
}

# DROP EXTENSION does not take a user's models with it.
{
	my $session = session($node, db => 'alone');
	$session->query("SELECT collab.drop_model('net')");
	my $embeddings = $session->query('SELECT count(*) FROM m_users');
	fails_with($session, 'DROP EXTENSION collab', '2BP01', qr/table m depends on type collab\.model/,
		'DROP EXTENSION while there is a model');
	isnt($session->query(answers('m')), '', 'the model still answers');
	$session->query('SET client_min_messages = error');
	$session->query('DROP EXTENSION collab CASCADE');
	$session->query('RESET client_min_messages');
	is($session->query('SELECT count(*) FROM m_users'), $embeddings, 'CASCADE leaves the embeddings');
	is($session->query("SELECT to_regclass('m') IS NULL AND to_regnamespace('collab') IS NULL"), 't',
		'and takes head and schema');
	$session->query('DROP TABLE m_users, m_items');
	$session->query('CREATE EXTENSION collab');
	$session->query("SELECT count(*) FROM collab.train('m', 'other_ratings', verbose => false)");
	is(trainings_of($session), '1', 'made again, the extension trains in the same session');
	$session->query("SELECT collab.drop_model('m')");
	is($session->run('DROP EXTENSION collab')->{state}, '00000', 'DROP EXTENSION without a model');
	$session->close;
}

# pg_upgrade, which keeps the oids that a head refers to
SKIP:
{
	skip 'pg_upgrade cannot leave out the sync before 15', 4 if $node->pg_version < 15;
	my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
	$upgraded->init;
	$node->stop;
	my ($bindir) = run_command([ 'pg_config', '--bindir' ]);
	chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
	command_ok([ 'pg_upgrade', '--no-sync', '--old-datadir', $node->data_dir, '--new-datadir', $upgraded->data_dir,
			'--old-bindir', $bindir, '--new-bindir', $bindir, '--socketdir', $node->host,
			'--old-port', $node->port, '--new-port', $upgraded->port ], 'pg_upgrade');
	$upgraded->start;
	for my $name (sort keys %model)
	{
		is($upgraded->safe_psql('postgres', answers($model{$name})), $answers{$name}, "upgraded: model $name answers as before");
	}
	$upgraded->safe_psql('postgres', "CALL collab.retrain('m')");
	is(trainings($upgraded, 'm'), '1 2 3', 'upgraded: and trains');
	$upgraded->stop;
}

$node->stop;
done_testing();
