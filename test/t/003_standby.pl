# A standby answers from its primary's models, new generations included, and
# trains none.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = new_node('primary', 'wal_level = replica');
$primary->safe_psql('postgres', make_ratings('ratings', 1000, 100, 20));
$primary->safe_psql('postgres', "SELECT collab.train('m', 'ratings', n_factors => 10, verbose => false)");
$primary->safe_psql('postgres', "SELECT collab.train('net', 'ratings', use_nn => true, layers => '{30,10}', verbose => false)");
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

my %reader = (
	predict => answers('m'),
	movie_bias => "SELECT string_agg(b::text, ' ') FROM collab.movie_bias('m', 20) b",
	cosine_similar => "SELECT string_agg(s::text, ' ') FROM collab.cosine_similar('m', 7, 20) s",
	fold_in => "SELECT f::text FROM collab.fold_in('m', '{1,2,3}', '{1,4,2}') f",
	pca_project => "SELECT string_agg(p::text, ' ') FROM collab.pca_project('m', 3) p",
	pca_explained => "SELECT string_agg(p::text, ' ') FROM collab.pca_explained('m', 3) p",
	user_bias => "SELECT string_agg(b::text, ' ') FROM collab.user_bias('m', 20) b",
	similar_users => "SELECT string_agg(s::text, ' ') FROM collab.similar_users('m', 7, 20) s",
	pca_project_users => "SELECT string_agg(p::text, ' ') FROM collab.pca_project_users('m', 3) p",
	'predict by a net' => answers('net'),
	'recommend by a net' => "SELECT string_agg(r::text, ' ') FROM collab.recommend('net', 3, 20) r",
	'cosine_similar of a net' => "SELECT string_agg(s::text, ' ') FROM collab.cosine_similar('net', 7, 20) s",
	history => "SELECT string_agg(h::text, ' ') FROM collab.history('m') h",
	models => "SELECT string_agg(m::text, ' ') FROM collab.models m");

# One session stays open on the standby, with a warm cache.
my $reader = session($standby);
my %old;
for my $name (sort keys %reader)
{
	$old{$name} = $primary->safe_psql('postgres', $reader{$name});
	isnt($old{$name}, '', "$name answers on the primary");
	is($reader->query($reader{$name}), $old{$name}, "$name answers alike on the standby");
}

my @refused = (
	[ train => "SELECT collab.train('n', 'ratings')" ],
	[ 'train, replacing' => "SELECT collab.train('m', 'ratings', replace => true)" ],
	[ retrain => "CALL collab.retrain('m')" ],
	[ touch => "SELECT collab.touch('m')" ],
	[ add_users => "SELECT collab.add_users('m')" ],
	[ add_items => "SELECT collab.add_items('m')" ],
	[ drop_model => "SELECT collab.drop_model('m')" ]);
fails_with($reader, $_->[1], '25006', qr/cannot execute collab\.\w+\(\) in a read-only transaction/,
	"$_->[0] on the standby")
  for @refused;

# The same on the primary in a transaction that is read-only.
{
	my $session = session($primary);
	$session->query('SET default_transaction_read_only = on');
	fails_with($session, $_->[1], '25006', qr/in a read-only transaction/, "$_->[0] in a read-only transaction")
	  for @refused;
	is($session->query($reader{predict}), $old{predict}, 'predict in a read-only transaction');
	$session->close;
}

$primary->safe_psql('postgres', "CALL collab.retrain('$_', options => '{\"seed\": 7}')") for qw(m net);
$primary->wait_for_catchup($standby);
for my $name (grep { $_ ne 'models' && $_ ne 'pca_explained' } sort keys %reader)
{
	my $new = $primary->safe_psql('postgres', $reader{$name});
	isnt($new, $old{$name}, "$name has changed after a retrain");
	is($reader->query($reader{$name}), $new, "$name follows on the standby");
}

# An unlogged model has no contents there.
$primary->safe_psql('postgres', "ALTER TABLE m SET UNLOGGED");
$primary->wait_for_catchup($standby);
my $result = $reader->run("SELECT collab.predict('m', 1, 1)");
isnt($result->{state}, '00000', 'an unlogged model cannot be read on the standby');
$primary->safe_psql('postgres', "ALTER TABLE m SET LOGGED");
$primary->wait_for_catchup($standby);
is($reader->query($reader{predict}), $primary->safe_psql('postgres', $reader{predict}),
	'but again once it is logged');

# After a promotion it trains.
$reader->close;
$standby->promote;
$standby->safe_psql('postgres', "CALL collab.retrain('m')");
is(trainings($standby, 'm'), '1 2 3', 'a promoted standby trains');

$standby->stop;
$primary->stop;
done_testing();
