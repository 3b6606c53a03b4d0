# What could go wrong unseen: a cache that outlives what it was read from, code
# of others that a statement of ours would run, heads that lie, and rights.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;

my $node = new_node('main');
my $admin = session($node);
$admin->query(make_ratings('ratings', 1000, 100, 20));
$admin->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 10, verbose => false)");

sub retrain_with_seed
{
	my ($seed) = @_;
	return "SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 10, seed => $seed, verbose => false, replace => true)";
}

# What a seed's model answers, learned in a session that has no cache.
my %truth;
for my $seed (1 .. 3)
{
	my $session = session($node);
	$session->query('BEGIN');
	$session->query(retrain_with_seed($seed));
	$session->query('COMMIT');
	$truth{$seed} = $node->safe_psql('postgres', answers('m'));
	$session->close;
}
is(scalar(keys %{ { reverse %truth } }), 3, 'seeds make different models');

# Rolled back trainings leave nothing in the cache, although generation
# numbers come again.
{
	my $session = session($node);
	is($session->query(answers('m')), $truth{3}, 'before');
	$session->query('BEGIN');
	$session->query(retrain_with_seed(1));
	is($session->query(answers('m')), $truth{1}, 'in a transaction that trains');
	my $generation = $session->query('SELECT max(generation) FROM m');
	$session->query('ROLLBACK');
	is($session->query(answers('m')), $truth{3}, 'after its rollback');
	$session->query(retrain_with_seed(2));
	is($session->query('SELECT max(generation) FROM m'), $generation, 'the generation comes again');
	is($session->query(answers('m')), $truth{2}, 'and has its own predictions');

	$session->query('BEGIN');
	$session->query('SAVEPOINT s');
	$session->query(retrain_with_seed(1));
	is($session->query(answers('m')), $truth{1}, 'after a savepoint');
	$session->query('ROLLBACK TO s');
	is($session->query(answers('m')), $truth{2}, 'after the rollback to it');
	$session->query(retrain_with_seed(3));
	is($session->query(answers('m')), $truth{3}, 'trained again');
	$session->query('ROLLBACK TO s');
	is($session->query(answers('m')), $truth{2}, 'rolled back again');
	$session->query('RELEASE s');
	$session->query(retrain_with_seed(1));
	$session->query('COMMIT');
	is($session->query(answers('m')), $truth{1}, 'committed');

	# A new model under the name of a rolled back or dropped one
	$session->query('BEGIN');
	$session->query("SELECT count(*) FROM collab.train('n', 'ratings', n_factors => 10, seed => 1, verbose => false)");
	is($session->query(answers('n')), $truth{1}, 'a new model');
	$session->query('ROLLBACK');
	is($session->run(answers('n'))->{state}, '42P01', 'is gone after a rollback');
	$session->query("SELECT count(*) FROM collab.train('n', 'ratings', n_factors => 10, seed => 2, verbose => false)");
	is($session->query(answers('n')), $truth{2}, 'another under its name');
	$session->query("SELECT collab.drop_model('n')");
	$session->close;
}

# One call site of PL/pgSQL across a training of its own transaction.
{
	my $session = session($node);
	$session->query(retrain_with_seed(1));
	for my $level ('READ COMMITTED', 'REPEATABLE READ')
	{
		$session->query("BEGIN ISOLATION LEVEL $level");
		my $said = $session->run(<<'SQL')->{err};
DO $$
DECLARE
	said text := '';
BEGIN
	FOR i IN 1 .. 3 LOOP
		IF i > 1 THEN
			PERFORM collab.train('m', 'ratings', n_factors => 10, seed => 4 - i, verbose => false, replace => true);
		END IF;
		said := said || ' ' || collab.predict('m', 7, 7);
	END LOOP;
	RAISE NOTICE 'said%', said;
END$$
SQL
		my @said = ($said =~ /said (\S+) (\S+) (\S+)/);
		is(scalar @said, 3, "$level: three predictions") or diag($said);
		isnt($said[1], $said[0], "$level: after another training");
		is($said[2], $said[0], "$level: after one like the first");
		$session->query('ROLLBACK');
	}
	$session->close;
}

# One call site of PL/pgSQL, inside subtransactions that are rolled back: in
# each round the prediction is made after the training, if there is one.
for my $level ('READ COMMITTED', 'REPEATABLE READ')
{
	my $session = session($node);
	$session->query(retrain_with_seed(1));
	$session->query("BEGIN ISOLATION LEVEL $level");
	my $said = $session->run(<<'SQL')->{err};
DO $$
DECLARE
	said text := '';
	p real;
BEGIN
	FOR i IN 1 .. 4 LOOP
		BEGIN
			IF i IN (2, 4) THEN
				PERFORM collab.train('m', 'ratings', n_factors => 10, seed => 2, verbose => false, replace => true);
			END IF;
			p := collab.predict('m', 7, 7);
			RAISE SQLSTATE 'UNDO1';
		EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
			said := said || ' ' || p;
		END;
	END LOOP;
	RAISE NOTICE 'said%', said;
END$$
SQL
	my @said = ($said =~ /said (\S+) (\S+) (\S+) (\S+)/);
	is(scalar @said, 4, "$level: four predictions") or diag($said);
	isnt($said[0], $said[1], "$level: inside a subtransaction that trains");
	is($said[2], $said[0], "$level: after its rollback");
	is($said[3], $said[1], "$level: inside another one");
	$session->query('ROLLBACK');
	$session->close;
}

# One call site of PL/pgSQL while another session retrains: under READ
# COMMITTED it sees the new generation, in a snapshot of its own it does not.
$admin->query(<<'SQL');
CREATE FUNCTION await_change(seconds real) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
	first real;
	p real;
BEGIN
	LOOP
		p := collab.predict('m', 7, 7);
		first := coalesce(first, p);
		EXIT WHEN p <> first OR clock_timestamp() - began > make_interval(secs => seconds);
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN first || ' ' || p;
END$$
SQL
$admin->query(retrain_with_seed(1));
my $one = $admin->query("SELECT collab.predict('m', 7, 7)");
$admin->query(retrain_with_seed(2));
my $two = $admin->query("SELECT collab.predict('m', 7, 7)");
for my $case (
	[ 'READ COMMITTED', '', "$one $two" ],
	[ 'REPEATABLE READ', '', "$one $one" ],
	[ 'READ COMMITTED', 'ALTER FUNCTION await_change STABLE', "$one $one" ])
{
	my ($level, $change, $expected) = @$case;
	$admin->query(retrain_with_seed(1));
	$admin->query($change) if $change;
	my $session = session($node);
	$session->query("BEGIN ISOLATION LEVEL $level");
	$session->query("SELECT collab.predict('m', 7, 7)") if $level eq 'REPEATABLE READ';
	$session->send('SELECT await_change(' . ($expected eq "$one $two" ? 60 : 1.5) . ')');
	ok(wait_until_true($admin, "EXISTS (SELECT FROM pg_stat_activity WHERE pid = $session->{pid} AND wait_event = 'PgSleep')"),
		"$level, $change: it goes round");
	$admin->query("CALL collab.retrain('m', options => '{\"seed\": 2}')");
	is($session->wait->{out}, $expected, "$level, $change: a loop across a retrain");
	$session->query('COMMIT');
	is($session->query("SELECT collab.predict('m', 7, 7)"), $two, "$level, $change: afterwards");
	$session->close;
}

# A snapshot keeps the older model whole, in a session with and without a cache.
{
	my ($warm, $cold) = (session($node), session($node));
	is($warm->query(answers('m')), $truth{2}, 'warm');
	my @old;
	my @others = ("SELECT md5(string_agg(b::text, ' ')) FROM collab.movie_bias('m', 100) b",
		"SELECT md5(string_agg(p::text, ' ')) FROM collab.pca_project('m', 3) p",
		"SELECT md5(string_agg(s::text, ' ')) FROM collab.cosine_similar('m', 3, 20) s",
		"SELECT count(*) FROM collab.history('m')");
	push @old, $admin->query($_) for @others;
	for my $session ($warm, $cold)
	{
		$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$session->query('SELECT count(*) FROM ratings');
	}
	$admin->query("CALL collab.retrain('m', options => '{\"seed\": 3}')");
	for my $session ($warm, $cold)
	{
		my $which = $session == $warm ? 'warm' : 'cold';
		is($session->query(answers('m')), $truth{2}, "$which: the older predictions");
		is($session->query($others[$_]), $old[$_], "$which: the older answer ($_)") for 0 .. $#others;
		$session->query('COMMIT');
		is($session->query(answers('m')), $truth{3}, "$which: the new ones afterwards");
	}
	# two at once: a cursor goes on with what it began with
	$warm->query('BEGIN');
	$warm->query("DECLARE c CURSOR FOR SELECT collab.predict('m', u, 7) FROM generate_series(1, 40) u");
	my $first = $warm->query('FETCH 20 FROM c');
	$admin->query("CALL collab.retrain('m', options => '{\"seed\": 1}')");
	is($warm->query(answers('m')), $truth{1}, 'a new statement sees the new generation');
	my $rest = $warm->query('FETCH 20 FROM c');
	$warm->query('COMMIT');
	$admin->query("CALL collab.retrain('m', options => '{\"seed\": 3}')");
	is("$first\n$rest", $warm->query("SELECT collab.predict('m', u, 7) FROM generate_series(1, 40) u"),
		'an open cursor the one that it began with');
	$_->close for $warm, $cold;
}

# A search_path full of traps.
{
	my $session = session($node);
	$session->query('CREATE SCHEMA trap');
	$session->query("CREATE FUNCTION trap.spring() RETURNS text LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'trapped'; END\$\$");
	for my $type (qw(int2 int4 int8 float4 float8 numeric text name oid regclass regtype bool timestamptz jsonb float4[] "char"))
	{
		my $suffix = $type =~ s/\W//gr;
		$session->query("CREATE FUNCTION trap.op_$suffix($type, $type) RETURNS bool LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'trapped by an operator'; END\$\$");
		$session->query("CREATE OPERATOR trap.$_ (FUNCTION = trap.op_$suffix, LEFTARG = $type, RIGHTARG = $type)")
		  for '=', '<>', '<', '>', '<=', '>=', '*', '+', '-', '/', '||';
		for my $function (qw(lower sum count max min avg abs coalesce_ format quote_ident unnest round pg_get_userbyid obj_description))
		{
			$session->query("CREATE FUNCTION trap.$function($type) RETURNS $type LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'trapped by $function'; END\$\$");
		}
	}
	$session->query("CREATE FUNCTION trap.count() RETURNS int8 LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'trapped by count'; END\$\$");
	$session->query("CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'trapped by now'; END\$\$");
	$session->query("CREATE DOMAIN trap.$_ AS int CHECK (false)")
	  for qw(float4 float8 int8 int4 int2 text name regclass oid timestamptz model);
	$session->query("CREATE VIEW trap.$_ AS SELECT trap.spring() AS relname, 0 AS pid, 0 AS oid, 0 AS objid, 0 AS classid, true AS granted")
	  for qw(pg_class pg_locks pg_namespace pg_attribute collab_new_embeddings);
	$session->query('CREATE TABLE public.prices AS SELECT user_id, item_id, rating::numeric FROM ratings');

	$session->query('SET search_path = trap, pg_catalog, public');
	is($session->run('SELECT 1 = 1')->{state}, 'P0001', 'the traps are set: an operator');
	is($session->run('SELECT sum(1)')->{state}, 'P0001', 'the traps are set: a function');
	is($session->run('SELECT * FROM pg_class')->{state}, 'P0001', 'the traps are set: a relation');
	for my $statement (
		"SELECT collab.train('public.sly', 'public.prices', n_factors => 4, verbose => false)",
		"SELECT collab.train('public.sly', 'public.prices', n_factors => 4, replace => true)",
		"CALL collab.retrain('public.sly')",
		"CALL collab.retrain('public.sly', warm_start => true, options => '{\"n_epochs\": 2}')",
		"SELECT collab.predict('public.sly', 3, 4)",
		"SELECT collab.predict('public.sly', '3', '4')",
		"SELECT * FROM collab.movie_bias('public.sly')",
		"SELECT * FROM collab.movie_bias('public.sly', 5, NULL::pg_catalog.int4)",
		"SELECT * FROM collab.cosine_similar('public.sly', 3)",
		"SELECT * FROM collab.pca_project('public.sly')",
		"SELECT * FROM collab.pca_explained('public.sly')",
		"SELECT * FROM collab.history('public.sly')",
		"SELECT * FROM collab.models",
		"SELECT collab.mse(1::pg_catalog.float8, 2::pg_catalog.float8), collab.rmse(1::pg_catalog.float8, 2::pg_catalog.float8), collab.mae(1::pg_catalog.float8, 2::pg_catalog.float8)",
		"SELECT * FROM collab.fold_in('public.sly', '{3,4}', '{1,2}')",
		"SELECT * FROM collab.fold_in('public.sly', ARRAY['3'::pg_catalog.text, '4'], '{1,2}')",
		"DELETE FROM public.sly_users; DELETE FROM public.sly_items WHERE item_id OPERATOR(pg_catalog.=) 3",
		"SELECT collab.add_users('public.sly'), collab.add_items('public.sly')",
		"SELECT collab.touch('public.sly')",
		"SELECT collab.drop_model('public.sly')")
	{
		my $result = $session->run($statement);
		is($result->{state}, '00000', "not trapped: $statement") or diag($result->{err});
	}
	# where another trains, the message looks for its pid
	$session->query('RESET search_path');
	$session->query("SELECT count(*) FROM collab.train('sly', 'prices', n_factors => 4, verbose => false)");
	$admin->query('BEGIN');
	$admin->query("CALL collab.retrain('sly')");
	$session->query('SET search_path = trap, pg_catalog, public');
	fails_with($session, "CALL collab.retrain('public.sly', nowait => true)", '55P03', qr/PID $admin->{pid}\b/,
		'not trapped: retrain nowait');
	$admin->query('ROLLBACK');
	$session->close;
	my ($err) = ($admin->query('DROP TABLE prices'));
}

# Heads that lie.  Mallory owns them; another reads or even trains them.
$admin->query('CREATE ROLE mallory LOGIN');
$admin->query('CREATE SCHEMA den AUTHORIZATION mallory');
$admin->query('GRANT USAGE ON SCHEMA den TO PUBLIC');
$admin->query('GRANT SELECT ON ratings, m, m_users, m_items TO mallory');
my $mallory = session($node, user => 'mallory');
$mallory->query('SET search_path = den, public');
$mallory->query("CREATE FUNCTION steal() RETURNS bool LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'code of mallory''s ran as %', current_user; END\$\$");
my $before = $admin->query(answers('m'));

sub not_a_model
{
	my ($head, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $call ("SELECT collab.predict('$head', 1, 1)", "SELECT * FROM collab.history('$head')",
		"SELECT * FROM collab.movie_bias('$head')", "CALL collab.retrain('$head')",
		"SELECT collab.touch('$head')", "SELECT collab.drop_model('$head')",
		"SELECT * FROM collab.fold_in('$head', '{1}', '{1}')", "SELECT collab.add_users('$head')")
	{
		fails_with($admin, $call, '42809', qr/is not a model/, "$what: $call");
	}
	return;
}

SKIP:
{
	skip 'tables cannot be turned into views from 16 on', 13 if $node->pg_version >= 16;
	$mallory->query('CREATE TABLE mirage OF collab.model');
	$mallory->query('CREATE RULE "_RETURN" AS ON SELECT TO mirage DO INSTEAD SELECT * FROM public.m WHERE steal()');
	not_a_model('den.mirage', 'a view');
	is($admin->query("SELECT count(*) FROM collab.models WHERE model_name = 'mirage'"), 0, 'a view is not listed');
}
$mallory->query('CREATE TABLE parted OF collab.model PARTITION BY LIST (generation)');
not_a_model('den.parted', 'a partitioned table');
not_a_model('public.ratings', 'a plain table');
$admin->query('CREATE TEMP TABLE fleeting OF collab.model');
not_a_model('fleeting', 'a temporary table');

# A copied head reads like the original but does not write to it.
$mallory->query('CREATE TABLE copy OF collab.model (PRIMARY KEY (generation))');
$mallory->query('INSERT INTO copy SELECT * FROM m');
is($mallory->query(answers('copy')), $before, 'a copied head answers');
for my $session ($mallory, $admin)
{
	my $who = $session == $admin ? 'a superuser' : 'its owner';
	fails_with($session, "CALL collab.retrain('den.copy')", '55000', qr/"copy" is a copy of another model's head/,
		"retrain of a copied head by $who");
	fails_with($session, "SELECT collab.touch('den.copy')", '55000', qr/is a copy/, "touch of a copied head by $who");
	fails_with($session, "SELECT collab.add_users('den.copy')", '55000', qr/is a copy/, "add_users of a copied head by $who");
	fails_with($session, "SELECT collab.drop_model('den.copy')", '55000', qr/is a copy/, "drop_model of a copied head by $who");
	fails_with($session, "SELECT collab.train('den.copy', 'ratings', replace => true)", '55000', qr/is a copy/,
		"train(replace) of a copied head by $who");
}
# One that says it is its own but names tables of somebody else.
$mallory->query("UPDATE copy SET self = 'den.copy'");
fails_with($mallory, "CALL collab.retrain('den.copy')", '42501', qr/must be owner of table m_users/,
	'retrain of a head that names another\'s tables, by its owner');
fails_with($admin, $_, '42501', qr/table "m_users" does not belong to the owner of model "copy"/,
	"by a superuser: $_")
  for "CALL collab.retrain('den.copy')", "SELECT collab.touch('den.copy')", "SELECT collab.drop_model('den.copy')",
  "SELECT collab.train('den.copy', 'ratings', replace => true)";
is($admin->query(answers('m')), $before, 'the original is untouched');
$admin->query('REVOKE SELECT ON m_users FROM mallory');
fails_with($mallory, "SELECT collab.predict('copy', 1, 1)", '42501', qr/permission denied for table m_users/,
	'a copied head gives no right to read');
$mallory->query('DROP TABLE copy, parted');

# Values that no training writes.
$mallory->query("SELECT count(*) FROM collab.train('den.liar', 'ratings', n_factors => 4, verbose => false)");
my @readers = ("SELECT collab.predict('den.liar', 1, 1)", "SELECT count(*) FROM collab.movie_bias('den.liar')",
	"SELECT count(*) FROM collab.cosine_similar('den.liar', 1)", "SELECT count(*) FROM collab.pca_project('den.liar')");

# Each reader gives one of the SQLSTATEs; history never minds.
sub lie
{
	my ($table, $set, $states, $pattern) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$mallory->query('BEGIN');
	$mallory->query("UPDATE $table SET $set");
	$mallory->query("UPDATE liar SET stamp = (random() * 1e18)::bigint") if $set !~ /stamp/;
	for my $reader (@readers)
	{
		next if $table eq 'liar_users' && $reader !~ /predict/;
		$mallory->query('SAVEPOINT s');
		my $result = $mallory->run($reader);
		like($result->{state}, qr/^(?:$states)$/, "$table, $set: $reader") or diag($result->{err});
		like($result->{err}, $pattern, "$table, $set: message of $reader") if $result->{state} ne '00000';
		$mallory->query('ROLLBACK TO s');
	}
	my $result = $mallory->run("SELECT count(*) FROM collab.history('den.liar')");
	is($result->{state}, '00000', "$table, $set: history") or diag($result->{err});
	$mallory->query('ROLLBACK');
	return;
}
my $bad = qr/head of model "liar" is damaged.*DETAIL/s;
lie('liar', 'stamp = NULL', '55000', $bad);
lie('liar', "n_factors = $_", '55000', $bad) for 'NULL', '-1', '0', '5000', '2147483647';
lie('liar', 'n_factors = 5', '55000', $bad);
lie('liar', 'n_factors = 5, user_prior = NULL, item_prior = NULL', '55000', qr/embedding of \w+ \d+ in table "liar_\w+" is damaged/);
lie('liar', "y_range = '$_'", '55000', $bad)
  for '{NaN,1}', '{1,Infinity}', '{5,1}', '{1,1}', '{1}', '{1,2,3}', '{{1,2}}', '{NULL,1}', '{}';
lie('liar', "$_ = 'NaN'", '55000', $bad) for 'mean_rating', 'mean_user_bias', 'mean_item_bias';
lie('liar', "$_ = '{1,2,3}'", '55000', $bad) for 'user_prior', 'item_prior';
lie('liar', 'user_prior = NULL, item_prior = NULL', '00000', qr//);
lie('liar', 'format = NULL', '55000', $bad);
lie('liar', 'format = 0', '55000', $bad);
lie('liar', 'format = 2', '0A000', qr/model "liar" has format 2/);
lie('liar', 'users = NULL, items = 0', '42P01', qr/table of (?:user|item) embeddings of model "liar" does not exist/);
lie('liar', 'users = 4000000000, items = 4000000000', '42P01', qr/table of (?:user|item) embeddings/);
lie('liar', "users = 'pg_class', items = 'pg_class'", '55000|42501', qr/no longer holds the (?:user|item) embeddings/);
lie('liar', "users = 'liar_items', items = 'liar_users'", '55000', qr/no column "(?:user|item)_id"/);
lie('liar', 'n_users = -1, n_items = -1, n_train = NULL, n_valid = -5, batch_size = NULL, n_epochs = -1, solver = NULL, options = NULL, pid = NULL, started = NULL',
	'00000', qr//);
lie('liar', "train_loss = '$_', valid_loss = '{{1,2},{3,4}}', elapsed = '{Infinity,NaN,1e300,-1}'", '00000', qr//)
  for '{}', '[5:9]={1,NULL,NaN,Infinity,2}', '{{1,2},{3,4}}';
lie('liar', 'generation = 9223372036854775807', '00000', qr//);
lie('liar', 'generation = -9223372036854775808', '00000', qr//);
my $damaged = qr/embedding of \w+ \d+ in table "liar_\w+" is damaged.*DETAIL/s;
for my $side (qw(users items))
{
	my @others = @readers;
	lie("liar_$side", $_, $side eq 'users' ? '55000' : '55000', $damaged)
	  for "factors = '{1,2,3}'", "factors = '{1,2,3,NULL}'", "factors = '{1,2,3,NaN}'", "factors = '{1,2,Infinity,3}'",
	  "factors = '{{1,2},{3,4}}'", "factors = '{}'", "bias = 'NaN'", "bias = '-Infinity'", 'n_ratings = -1';
	lie("liar_$side", "factors = '[7:10]={1,2,3,4}'", '00000', qr//);
}
# Constraints that were taken away
{
	$mallory->query('BEGIN');
	$mallory->query('ALTER TABLE liar_items DROP CONSTRAINT liar_items_pkey');
	$mallory->query('INSERT INTO liar_items SELECT * FROM liar_items WHERE item_id = 5');
	$mallory->query('UPDATE liar SET stamp = 1');
	fails_with($mallory, $readers[1], '55000', qr/embedding of item 5 in table "liar_items" is damaged.*twice/s, 'an id that is there twice');
	$mallory->query('ROLLBACK');
	$mallory->query('BEGIN');
	$mallory->query('ALTER TABLE liar_items DROP CONSTRAINT liar_items_pkey, ALTER item_id DROP NOT NULL, ALTER bias DROP NOT NULL');
	$mallory->query('UPDATE liar_items SET item_id = NULL WHERE item_id = 5');
	$mallory->query('UPDATE liar SET stamp = 1');
	is($mallory->query("SELECT count(*) FROM collab.movie_bias('liar', 1000)"), 99, 'an id that is NULL is nobody');
	$mallory->query('UPDATE liar_items SET bias = NULL WHERE item_id = 6');
	$mallory->query('UPDATE liar SET stamp = 2');
	fails_with($mallory, $readers[1], '55000', qr/embedding of item 6 .* is damaged.*NULL/s, 'a bias that is NULL');
	$mallory->query('ROLLBACK');
	$mallory->query('BEGIN');
	$mallory->query('ALTER TABLE liar DROP CONSTRAINT liar_pkey');
	is($mallory->run($readers[0])->{state}, '00000', 'a head without its key still answers');
	$mallory->query('ROLLBACK');
}

# A head's table that is a view: code of mallory's again.
SKIP:
{
	skip 'tables cannot be turned into views from 16 on', 2 if $node->pg_version >= 16;
	$mallory->query('BEGIN');
	$mallory->query('CREATE TABLE lure (LIKE liar_users)');
	$mallory->query('CREATE RULE "_RETURN" AS ON SELECT TO lure DO INSTEAD SELECT * FROM liar_users WHERE steal()');
	$mallory->query("UPDATE liar SET users = 'lure', stamp = 1");
	$mallory->query('GRANT SELECT ON lure TO PUBLIC');
	$mallory->query('COMMIT');
	fails_with($admin, "SELECT collab.predict('den.liar', 1, 1)", '55000',
		qr/table "lure" no longer holds the user embeddings.*not an ordinary permanent table/s, 'embeddings that are a view');
	$mallory->query("UPDATE liar SET users = 'liar_users', stamp = 2");
	$mallory->query('DROP VIEW lure');
}

# Renamed, moved, altered and dropped tables.
{
	my $answers = $mallory->query(answers('den.liar'));
	$admin->query('CREATE SCHEMA cellar AUTHORIZATION mallory');
	$mallory->query('ALTER TABLE liar RENAME TO honest');
	$mallory->query('ALTER TABLE liar_users RENAME TO people');
	$mallory->query('ALTER TABLE liar_items SET SCHEMA cellar');
	is($mallory->query(answers('den.honest')), $answers, 'renamed and moved, a model answers');
	is($admin->query(answers('den.honest')), $answers, 'also in a session without a cache');
	is($mallory->run("CALL collab.retrain('den.honest')")->{state}, '00000', 'and trains');
	is($mallory->run("SELECT collab.touch('den.honest')")->{state}, '00000', 'and can be touched');
	for my $case (
		[ 'ALTER TABLE people RENAME bias TO prejudice', '55000', qr/table "people" no longer holds the user embeddings of model "honest".*no column "bias"/s ],
		[ 'ALTER TABLE people ALTER bias TYPE float8', '55000', qr/no column "bias" of type real/ ],
		[ 'ALTER TABLE people ALTER factors TYPE float8[]', '55000', qr/no column "factors" of type real\[\]/ ],
		[ 'ALTER TABLE people DROP n_ratings', '55000', qr/no column "n_ratings"/ ],
		[ 'ALTER TABLE people ALTER user_id TYPE numeric', '0A000', qr/type numeric cannot hold/ ],
		[ 'DROP TABLE people', '42P01', qr/table of user embeddings of model "honest" does not exist.*HINT/s ],
		[ 'DROP TABLE cellar.liar_items', '42P01', qr/table of item embeddings of model "honest" does not exist/ ])
	{
		my ($change, $state, $pattern) = @$case;
		for my $call ("SELECT collab.predict('honest', 1, 1)", "CALL collab.retrain('honest')")
		{
			$mallory->query('BEGIN');
			$mallory->query($change);
			fails_with($mallory, $call, $state, $pattern, "$change: $call");
			$mallory->query('ROLLBACK');
		}
	}
	is($mallory->query(answers('den.honest')), $mallory->query(answers('den.honest')), 'undone, it answers');
	$mallory->query('ALTER TABLE people ADD note text');
	is($mallory->run("CALL collab.retrain('honest')")->{state}, '00000', 'a column more does no harm');
	# in a session whose cache is warm
	$admin->query("SELECT collab.predict('den.honest', 1, 1)");
	$mallory->query('DROP TABLE people');
	fails_with($admin, "SELECT collab.predict('den.honest', 1, 1)", '42P01', qr/table of user embeddings/, 'dropped under a warm cache');
	$mallory->query("SELECT collab.drop_model('honest')");
	is($admin->query("SELECT to_regclass('den.honest') IS NULL AND to_regclass('cellar.liar_items') IS NULL"), 't',
		'drop_model takes what is left, wherever it has gone');
}

# Rights
$admin->query('CREATE ROLE plain LOGIN');
$admin->query('CREATE ROLE other LOGIN');
$admin->query('CREATE SCHEMA home AUTHORIZATION plain');
my $plain = session($node, user => 'plain');
my %reader = (
	predict => "SELECT collab.predict('m', 1, 1)",
	'predict with text' => "SELECT collab.predict('m', '1', '1')",
	movie_bias => "SELECT count(*) FROM collab.movie_bias('m')",
	cosine_similar => "SELECT count(*) FROM collab.cosine_similar('m', 1)",
	fold_in => "SELECT count(*) FROM collab.fold_in('m', '{1}', '{1}')",
	pca_project => "SELECT count(*) FROM collab.pca_project('m')",
	pca_explained => "SELECT count(*) FROM collab.pca_explained('m')",
	user_bias => "SELECT count(*) FROM collab.user_bias('m')",
	similar_users => "SELECT count(*) FROM collab.similar_users('m', 1)",
	pca_project_users => "SELECT count(*) FROM collab.pca_project_users('m')",
	pca_explained_users => "SELECT count(*) FROM collab.pca_explained_users('m')",
	history => "SELECT count(*) FROM collab.history('m')");
my %writer = (
	retrain => "CALL collab.retrain('m')",
	touch => "SELECT collab.touch('m')",
	add_users => "SELECT collab.add_users('m')",
	add_items => "SELECT collab.add_items('m')",
	drop_model => "SELECT collab.drop_model('m')");
fails_with($plain, $reader{$_}, '42501', qr/permission denied for table m$/m, "$_ without rights") for sort keys %reader;
fails_with($plain, $writer{$_}, '42501', qr/must be owner of table m$/m, "$_ without rights") for sort keys %writer;
fails_with($plain, "SELECT collab.train('home.mine', 'ratings')", '42501', qr/permission denied for table ratings/,
	'train without rights on the source');
$admin->query('GRANT SELECT ON ratings TO plain');
$admin->query('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
fails_with($plain, "SELECT collab.train('public.mine', 'ratings')", '42501', qr/permission denied for schema public/,
	'train without rights on the schema');
fails_with($plain, "SELECT collab.train('public.m', 'ratings', replace => true)", '42501', qr/permission denied for schema public|must be owner of table m/,
	'train(replace) of another\'s model');
is($plain->query('SELECT count(*) FROM collab.models'), $admin->query('SELECT count(*) FROM collab.models'),
	'anybody may list the models');

$admin->query('GRANT SELECT ON m, m_items TO plain');
my @items_only = qw(movie_bias cosine_similar fold_in pca_project pca_explained history);
is($plain->run($reader{$_})->{state}, '00000', "$_ with SELECT on head and items") for @items_only;
my @users_only = qw(user_bias similar_users pca_project_users pca_explained_users);
fails_with($plain, $reader{$_}, '42501', qr/permission denied for table m_users/, "$_ needs the users") for 'predict', @users_only;
$admin->query('REVOKE SELECT ON m_items FROM plain');
$admin->query('GRANT SELECT ON m_users TO plain');
is($plain->run($reader{$_})->{state}, '00000', "$_ with SELECT on head and users") for @users_only;
fails_with($plain, $reader{$_}, '42501', qr/permission denied for table m_items/, "$_ needs the items") for 'predict', qw(movie_bias cosine_similar);
$admin->query('GRANT SELECT ON m_items TO plain');
is($plain->run($reader{$_})->{state}, '00000', "$_ with SELECT on the three tables") for sort keys %reader;
fails_with($plain, $writer{$_}, '42501', qr/must be owner of table m$/m, "$_ with SELECT alone") for sort keys %writer;
$admin->query('GRANT ALL ON m, m_users, m_items TO plain');
fails_with($plain, $writer{$_}, '42501', qr/must be owner of table m$/m, "$_ with ALL but ownership") for sort keys %writer;
$admin->query("REVOKE ALL ON m, m_users, m_items FROM plain");
fails_with($plain, $reader{$_}, '42501', qr/permission denied for table m$/m, "$_ after REVOKE, with a warm cache") for sort keys %reader;

# Within one session, and within one call site
{
	my $session = session($node);
	is($session->run($reader{predict})->{state}, '00000', 'warm as a superuser');
	$session->query('SET ROLE plain');
	fails_with($session, $reader{predict}, '42501', qr/permission denied for table m$/m, 'after SET ROLE');
	$session->query('RESET ROLE');
	is($session->run($reader{predict})->{state}, '00000', 'after RESET ROLE');
	fails_with($session, q(DO $$BEGIN
		FOR i IN 1 .. 3 LOOP
			IF i = 3 THEN SET LOCAL ROLE plain; END IF;
			PERFORM collab.predict('m', 1, i);
		END LOOP; END$$), '42501', qr/permission denied for table m$/m, 'SET ROLE between two calls of one call site');
	$session->query("CREATE FUNCTION ask(u int, i int) RETURNS real LANGUAGE sql SECURITY DEFINER AS \$\$SELECT collab.predict('m', u, i)\$\$");
	$session->query('SET ROLE plain');
	is($session->run('SELECT ask(1, 1)')->{state}, '00000', 'through a SECURITY DEFINER function');
	fails_with($session, $reader{predict}, '42501', qr/permission denied for table m$/m, 'and nothing stays of it');
	$session->close;
}

# One role must own all three tables.
$plain->query("SELECT count(*) FROM collab.train('home.mine', 'ratings', n_factors => 4, verbose => false)");
is($plain->run("CALL collab.retrain('home.mine')")->{state}, '00000', 'an ordinary role trains its own model');
$admin->query('ALTER TABLE home.mine_items OWNER TO other');
fails_with($plain, "CALL collab.retrain('home.mine')", '42501', qr/must be owner of table mine_items/, 'a table of another role');
fails_with($admin, "CALL collab.retrain('home.mine')", '42501', qr/table "mine_items" does not belong to the owner of model "mine"/,
	'a table of another role, by a superuser');
$admin->query('ALTER TABLE home.mine_items OWNER TO plain');
$admin->query('REVOKE SELECT ON ratings FROM plain');
my $mine = $plain->query(answers('home.mine'));
fails_with($plain, "CALL collab.retrain('home.mine')", '42501', qr/permission denied for table ratings/, 'a source that one may no longer read');
is($plain->query(answers('home.mine')), $mine, 'the old generation stays');

# Row-level security on the source: a model learns what its trainer may see.
$admin->query('ALTER TABLE ratings ENABLE ROW LEVEL SECURITY');
$admin->query('CREATE POLICY half ON ratings TO plain USING (user_id <= 500)');
$admin->query('GRANT SELECT ON ratings TO plain');
$plain->query("SELECT count(*) FROM collab.train('home.mine', 'ratings', n_factors => 4, verbose => false, replace => true)");
is($plain->query('SELECT count(*), max(user_id) FROM home.mine_users'), '500|500', 'RLS on the source: train');
$admin->query('ALTER POLICY half ON ratings USING (user_id <= 250)');
$plain->query("CALL collab.retrain('home.mine')");
is($plain->query('SELECT count(*), max(user_id) FROM home.mine_users'), '250|250', 'RLS on the source: retrain');
$admin->query('ALTER TABLE ratings DISABLE ROW LEVEL SECURITY');

# Row-level security on a model: a reader has the rows that he may see.
$admin->query('GRANT SELECT ON m, m_users, m_items TO other');
$admin->query('ALTER TABLE m_users ENABLE ROW LEVEL SECURITY');
$admin->query('ALTER TABLE m_items ENABLE ROW LEVEL SECURITY');
$admin->query('CREATE POLICY few ON m_users TO other USING (user_id <= 10)');
$admin->query('CREATE POLICY few ON m_items TO other USING (item_id % 2 = 0)');
{
	my $session = session($node);
	my $ask = "SELECT string_agg(collab.predict('m', u, i)::text, ' ' ORDER BY n)
		FROM (VALUES (1, 5, 4), (2, 5, 3), (3, 20, 4), (4, 20, 3), (5, -1, 4), (6, 5, -1), (7, -1, -1)) v (n, u, i)";
	my %full;
	@full{qw(kept item_hidden user_hidden both_hidden no_user no_item neither)} = split / /, $session->query($ask);
	my $filtered = join ' ', @full{qw(kept no_item no_user neither no_user no_item neither)};
	my $full = join ' ', @full{qw(kept item_hidden user_hidden both_hidden no_user no_item neither)};
	isnt($full, $filtered, 'hidden users and items matter');
	for my $round (1 .. 2)
	{
		$session->query('SET ROLE other');
		is($session->query($ask), $filtered, "round $round: rows that are hidden are unknown");
		is($session->query("SELECT string_agg(DISTINCT (item_id % 2)::text, ' ') FROM collab.movie_bias('m', 1000)"), '0',
			"round $round: no hidden item in movie_bias");
		is($session->query("SELECT count(*) FROM collab.cosine_similar('m', 4, 1000) WHERE item_id % 2 = 1"), 0,
			"round $round: nor in cosine_similar");
		is($session->query("SELECT count(*) FROM collab.cosine_similar('m', 3, 1000)"), 0, "round $round: which does not know a hidden one");
		is($session->query("SELECT count(*) FILTER (WHERE item_id % 2 = 1), count(*) > 30 FROM collab.pca_project('m')"), '0|t',
			"round $round: nor in pca_project");
		is($session->query("SELECT string_agg(user_id::text, ' ' ORDER BY user_id) FROM collab.user_bias('m', 1000, min_ratings => 0)"),
			join(' ', 1 .. 10), "round $round: no hidden user in user_bias");
		is($session->query("SELECT count(*), max(user_id) FROM collab.similar_users('m', 5, 1000)"), '9|10',
			"round $round: nor in similar_users");
		is($session->query("SELECT count(*) FROM collab.similar_users('m', 20, 1000)"), 0, "round $round: which does not know a hidden one");
		is($session->query("SELECT count(*), max(user_id) FROM collab.pca_project_users('m')"), '10|10', "round $round: nor in pca_project_users");
		$session->query('RESET ROLE');
		is($session->query($ask), $full, "round $round: all is there for one whom no policy binds");
	}
	my ($said) = $session->run(q(DO $$
		DECLARE said text := '';
		BEGIN
			FOR i IN 1 .. 4 LOOP
				IF i = 2 THEN SET LOCAL ROLE other; END IF;
				IF i = 4 THEN RESET ROLE; END IF;
				said := said || ' ' || collab.predict('m', 20, 4);
			END LOOP;
			RAISE NOTICE 'said%', said;
		END$$))->{err} =~ /said (.*)/;
	is($said, join(' ', @full{qw(user_hidden no_user no_user user_hidden)}), 'one call site across changes of role');

	TODO:
	{
		local $TODO = 'a call site keeps its rows while a setting that a policy looks at changes';
		$admin->query("ALTER POLICY few ON m_users USING (user_id = current_setting('test.user')::int)");
		$session->query('SET ROLE other');
		($said) = $session->run(q(DO $$
			DECLARE said text := '';
			BEGIN
				FOR i IN 1 .. 2 LOOP
					PERFORM set_config('test.user', CASE i WHEN 1 THEN '5' ELSE '20' END, false);
					said := said || ' ' || collab.predict('m', 5, 4);
				END LOOP;
				RAISE NOTICE 'said%', said;
			END$$))->{err} =~ /said (.*)/;
		is($said, join(' ', @full{qw(kept no_user)}), 'one call site across changes of a setting');
	}
	$session->query('RESET ROLE');
	$admin->query('ALTER POLICY few ON m_users USING (user_id <= 10)');

	$session->query('SET ROLE other');
	$session->query('SET row_security = off');
	fails_with($session, $reader{predict}, '42501', qr/query would be affected by row-level security policy/, 'row_security = off');
	$session->query('RESET row_security');
	is($session->query($ask), $filtered, 'and on again');
	$admin->query('ALTER TABLE m ENABLE ROW LEVEL SECURITY');
	fails_with($session, $reader{predict}, '55000', qr/model "m" has never been trained/, 'a head whose rows are hidden');
	$admin->query('CREATE POLICY old ON m TO other USING (generation < 3)');
	is($session->query("SELECT count(DISTINCT generation) FROM collab.history('m')"), 2, 'history of the rows that are not');
	$admin->query('ALTER TABLE m DISABLE ROW LEVEL SECURITY');
	$session->close;
}
# Writers are refused before any work where policies bind them.
for my $table (qw(mine mine_users mine_items))
{
	$plain->query("ALTER TABLE home.$table ENABLE ROW LEVEL SECURITY");
	is($plain->run("SELECT collab.touch('home.mine')")->{state}, '00000', "RLS on $table does not bind its owner");
	$plain->query("ALTER TABLE home.$table FORCE ROW LEVEL SECURITY");
	fails_with($plain, $_, '42501', qr/cannot write table "$table" while row-level security applies to it/, "RLS forced on $table: $_")
	  for "CALL collab.retrain('home.mine')", "SELECT collab.touch('home.mine')",
	  "SELECT collab.train('home.mine', 'ratings', replace => true)";
	$plain->query("ALTER TABLE home.$table NO FORCE ROW LEVEL SECURITY");
	$plain->query("ALTER TABLE home.$table DISABLE ROW LEVEL SECURITY");
}
is($plain->run("SELECT collab.drop_model('home.mine')")->{state}, '00000', 'an ordinary role drops its own model');

$_->close for $admin, $mallory, $plain;
$node->stop;
done_testing();
