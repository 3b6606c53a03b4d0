# A model can be published: its tables are ordinary tables.  The subscriber has
# the extension but not the ratings.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_node('publisher', 'wal_level = logical');
my $subscriber = new_node('subscriber');

$publisher->safe_psql('postgres', make_ratings('ratings', 1000, 100, 20));
$publisher->safe_psql('postgres',
	"SELECT collab.train('m', 'ratings', n_factors => 10, verbose => false);
	 SELECT collab.train('net', 'ratings', use_nn => true, layers => '{30,10}', verbose => false);
	 CREATE PUBLICATION models FOR TABLE m, m_users, m_items, net, net_users, net_items");

my ($schema) = run_command([ 'pg_dump', '--schema-only', '--no-publications', '--table', 'public.m*', '--table', 'public.net*',
		'--dbname', $publisher->connstr('postgres') ]);
$subscriber->safe_psql('postgres', $schema);
my $reader = session($subscriber);
fails_with($reader, "SELECT collab.predict('m', 1, 1)", '55000', qr/model "m" has never been trained/,
	'before the first rows arrive');

my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION models CONNECTION '$connection' PUBLICATION models");
$subscriber->poll_query_until('postgres',
	"SELECT count(*) = 6 FROM pg_subscription_rel WHERE srsubstate = 'r'") or die 'no initial synchronization';

my $head = 'SELECT generation, stamp, users, items, self FROM m ORDER BY generation DESC LIMIT 1';
my $old = $publisher->safe_psql('postgres', answers('m'));
is($reader->query(answers('m')), $old, 'predictions agree after the initial synchronization');
is($reader->query($head), $publisher->safe_psql('postgres', $head), 'and so does the head');
my $old_net = $publisher->safe_psql('postgres', answers('net'));
is($reader->query(answers('net')), $old_net, 'so do those of a neural model');

# Users that leave and come, items that change: all arrives in one transaction.
$publisher->safe_psql('postgres',
	"DELETE FROM ratings WHERE user_id <= 10; INSERT INTO ratings SELECT user_id + 1000, item_id, 5 - rating FROM ratings WHERE user_id <= 200");
$publisher->safe_psql('postgres', "CALL collab.retrain('m', options => '{\"seed\": 7, \"n_epochs\": 3}')");
$publisher->safe_psql('postgres', "CALL collab.retrain('net', options => '{\"layers\": [20]}')");
$publisher->wait_for_catchup('models');
my $new = $publisher->safe_psql('postgres', answers('m'));
isnt($new, $old, 'a retrain changes the predictions');
is($reader->query(answers('m')), $new, 'predictions agree after the retrain, in a session with a warm cache');
is($reader->query($head), $publisher->safe_psql('postgres', $head), 'the stamp has arrived');
my $new_net = $publisher->safe_psql('postgres', answers('net'));
isnt($new_net, $old_net, 'a retrain changes those of the neural model');
is($reader->query(answers('net')), $new_net, 'which agree, too');
for my $table (qw(m_users m_items net net_users net_items))
{
	my $contents = "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $table t";
	is($reader->query($contents), $publisher->safe_psql('postgres', $contents), "$table agrees");
}
is($reader->query("SELECT string_agg(h::text, ' ') FROM collab.history('m') h"),
	$publisher->safe_psql('postgres', "SELECT string_agg(h::text, ' ') FROM collab.history('m') h"),
	'and so does the history');

# touch() reaches the subscriber too.
$publisher->safe_psql('postgres', "UPDATE m_users SET bias = bias + 1; SELECT collab.touch('m')");
$publisher->wait_for_catchup('models');
my $touched = $publisher->safe_psql('postgres', answers('m'));
isnt($touched, $new, 'embeddings edited by hand count after touch()');
is($reader->query(answers('m')), $touched, 'also at the subscriber');

fails_with($reader, "CALL collab.retrain('m')", '42P01',
	qr/relation public\.ratings that model "m" was trained on does not exist/, 'retrain at the subscriber');

$reader->close;
$subscriber->stop;
$publisher->stop;
done_testing();
