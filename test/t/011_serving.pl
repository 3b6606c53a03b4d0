# Serving recommendations: whose rights count, what is cached, how much memory
# it takes, and that it can be stopped.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('main', 'max_wal_size = 2GB', 'shared_buffers = 256MB', 'fsync = off');
my $admin = session($node);
$admin->query(make_ratings('ratings', 1000, 200, 20));
$admin->query('CREATE INDEX ON ratings (user_id)');
$admin->query('CREATE ROLE app LOGIN; CREATE ROLE maker LOGIN; GRANT maker TO CURRENT_USER; CREATE SCHEMA home AUTHORIZATION maker');
$admin->query('GRANT SELECT ON ratings TO maker; GRANT USAGE ON SCHEMA home TO app');
$admin->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 8, verbose => false)");
$admin->query('GRANT SELECT ON m, m_users, m_items, pg_backend_memory_contexts TO app; GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts() TO app');
my $app = session($node, user => 'app');

# Items that user 7 gets, and whether they are right by what the session may read.
my $all_seven = q{SELECT string_agg(item_id::text, ' ' ORDER BY item_id) FROM collab.recommend('m', 7, 500)};
my $all_seven_at_once = q{SELECT string_agg(item_id::text, ' ' ORDER BY item_id) FROM collab.recommend_all('m', 500) WHERE user_id = 7};
my $not_rated = q{SELECT string_agg(item_id::text, ' ' ORDER BY item_id) FROM m_items i
	WHERE NOT EXISTS (SELECT FROM ratings r WHERE r.user_id = 7 AND r.item_id = i.item_id)};
my $without_rated = $admin->query($not_rated);
my $everything = $admin->query(q{SELECT string_agg(item_id::text, ' ' ORDER BY item_id) FROM m_items});
isnt($without_rated, $everything, 'user 7 has rated something');

#
# Privileges on the source
#
{
	my $way_out = qr/permission denied for table ratings.*\nHINT: .*exclude_seen => false/;
	for my $query ($all_seven, $all_seven_at_once)
	{
		fails_with($app, $query, '42501', $way_out, 'without SELECT on the source');
		$admin->query('GRANT SELECT (user_id, item_id) ON ratings TO app');
		fails_with($app, $query, '42501', $way_out, 'on two columns of three');
		$admin->query('GRANT SELECT (rating) ON ratings TO app');
		is($app->query($query), $without_rated, 'on all three');
		$admin->query('REVOKE SELECT (item_id) ON ratings FROM app');
		fails_with($app, $query, '42501', $way_out, 'after REVOKE, in the same session');
		$admin->query('REVOKE ALL (user_id, item_id, rating) ON ratings FROM app');
		is($app->query($query =~ s/500\)/500, exclude_seen => false)/r), $everything, 'exclude_seen => false');
	}
	# a plan that was made with rights is not used without them
	is($admin->query("$all_seven"), $without_rated, 'the owner');
	fails_with($admin, "SET ROLE app; $all_seven", '42501', $way_out, 'then another role in the same session');
	is($admin->query("RESET ROLE; $all_seven"), $without_rated, 'and the owner again');
	$admin->query("CREATE FUNCTION as_owner() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER RETURN ($all_seven)");
	is($app->query('SELECT as_owner()'), $without_rated, 'by a function of the owner');
	$admin->query('REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT SELECT ON ratings TO app');
	fails_with($app, q{SELECT collab.recommend('m', 7)}, '42P01', qr/relation "m" does not exist/, 'without USAGE on the schema, by name');
	fails_with($app, 'SELECT collab.recommend(' . $admin->query("SELECT 'm'::regclass::oid") . ', 7)', '42501',
		qr/permission denied for schema public\nHINT: .*exclude_seen => false/, 'and by OID');
	$admin->query('GRANT USAGE ON SCHEMA public TO PUBLIC; REVOKE SELECT ON ratings FROM app');
}

#
# A source of somebody else's: nothing of theirs runs with the caller's rights.
#
{
	my $maker = session($node, user => 'maker');
	$maker->query('SET search_path = home, public');
	$maker->query('CREATE TABLE told (who name, what text); GRANT INSERT ON told TO PUBLIC');
	$maker->query(q{CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql AS
		$$BEGIN INSERT INTO home.told VALUES (current_user, $1); RETURN true; END$$});
	$maker->query('CREATE TABLE ratings AS SELECT * FROM public.ratings WHERE user_id <= 50');
	$maker->query("SELECT count(*) FROM collab.train('mine', 'home.ratings', n_factors => 2, n_epochs => 1, verbose => false)");
	$maker->query('GRANT SELECT ON mine, mine_users, mine_items, ratings TO PUBLIC');
	my $told = 'SELECT count(*) FROM home.told WHERE who <> \'maker\'';

	for my $who ($admin, $app)
	{
		for my $source ('home.ratings r, (SELECT home.tell($$x$$)) x --', 'home.tell($$x$$) t, home.ratings',
			'(SELECT user_id, item_id, rating FROM home.ratings WHERE home.tell($$x$$))', 'home.ratings r WHERE home.tell($$x$$) --')
		{
			$maker->query("UPDATE mine SET source = '$source'; SELECT collab.touch('mine')");
			$who->run($_) for ("SELECT collab.recommend('home.mine', 7)", "SELECT collab.recommend_all('home.mine', 3)");
		}
		for my $column ('item_id FROM home.ratings r WHERE home.tell($$x$$) --', 'item_id, home.tell($$x$$)', '"item_id"')
		{
			$maker->query("UPDATE mine SET source = 'home.ratings', item_column = left('$column', 63); SELECT collab.touch('mine')");
			$who->run($_) for ("SELECT collab.recommend('home.mine', 7)", "SELECT collab.recommend_all('home.mine', 3)");
		}
		$maker->query("UPDATE mine SET item_column = 'item_id'; SELECT collab.touch('mine')");
	}
	is($maker->query('SELECT count(*) FROM home.told'), 0, 'a source is a name, not a piece of a query');

	$maker->query('ALTER TABLE ratings RENAME TO rated; CREATE VIEW ratings AS SELECT * FROM rated WHERE tell($$view$$); GRANT SELECT ON ratings, rated TO PUBLIC');
	my @reads = ("SELECT collab.recommend('home.mine', 7)", "SELECT collab.recommend_all('home.mine', 3)", "SELECT collab.evaluate('home.mine')");
	for my $who ($admin, $app)
	{
		fails_with($who, $_, '42501', qr/home\.ratings is a view of another role/, "a stranger's view is refused") for @reads;
		is($who->run("SELECT count(*) FROM collab.recommend('home.mine', 7, exclude_seen => false)")->{state}, '00000', 'with a way out');
	}
	$maker->query($_) for @reads;
	cmp_ok($maker->query('SELECT count(*) FROM told'), '>', 0, 'its owner reads it');
	$admin->query('GRANT maker TO app');
	is($app->run("SELECT count(*) FROM collab.recommend('home.mine', 7)")->{state}, '00000', 'so does who has the rights of its owner');
	$admin->query('REVOKE maker FROM app');
	$maker->query("DELETE FROM told WHERE who = 'app'");
	is($maker->query($told), 0, 'nothing ran with rights of others');
	$maker->close;
}

#
# Row-level security
#
my $cached = q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'collab model'};
{
	# on the source: what policies hide was not seen
	$admin->query('GRANT SELECT ON ratings TO app; ALTER TABLE ratings ENABLE ROW LEVEL SECURITY');
	$admin->query(q{CREATE POLICY own ON ratings TO app USING (user_id = current_setting('app.id')::integer)});
	for my $query ($all_seven, $all_seven_at_once)
	{
		is($app->query("SET app.id = 7; $query"), $without_rated, 'RLS on the source: one\'s own ratings');
		is($app->query("SET app.id = 8; $query"), $everything, 'and not those of others, in the same session');
		is($app->query('SET app.id = 7; ' . $query), $without_rated, 'whatever was planned before');
		is($admin->query($query), $without_rated, 'the owner sees all');
		is($admin->query("SET ROLE app; SET app.id = 8; $query"), $everything, 'the same session as the other role');
		is($admin->query("RESET ROLE; $query"), $without_rated, 'and as the owner again');
	}
	is($app->query(q{SET app.id = 8; SET row_security = on; SELECT count(*) FROM collab.recommend('m', 7, 500)}),
		$admin->query('SELECT count(*) FROM m_items'), 'row_security = on');
	fails_with($app, "SET row_security = off; $all_seven", '42501', qr/row-level security policy for table "ratings"/, 'row_security = off');
	$app->query('RESET row_security');
	$admin->query('ALTER TABLE ratings DISABLE ROW LEVEL SECURITY');
	is($app->query($all_seven), $without_rated, 'no RLS any more');

	# on the model
	$admin->query('ALTER TABLE m_items ENABLE ROW LEVEL SECURITY; CREATE POLICY even ON m_items TO app USING (item_id % 2 = 0)');
	$admin->query('ALTER TABLE m_users ENABLE ROW LEVEL SECURITY');
	$admin->query(q{CREATE POLICY own ON m_users TO app USING (user_id = current_setting('app.id')::integer)});
	my $odd = q{SELECT count(*) FROM collab.recommend('m', 7, 500, false) WHERE item_id % 2 = 1};
	my $mine = q{SELECT count(*) FROM collab.recommend('m', 7, 500, false) r, collab.recommend('m', 0, 500, false) n WHERE r = n};
	my ($of_app, $of_owner) = (session($node, user => 'app'), session($node));
	$of_owner->query($odd);
	for my $who ([ 'its own session', $of_app, '', '' ], [ 'after the owner', $of_owner, 'SET ROLE app', 'RESET ROLE' ])
	{
		my ($name, $session, $become, $return) = @$who;
		$session->query("$become; SET app.id = 7") if $become;
		$session->query('SET app.id = 7');
		is($session->query($odd), 0, "RLS on the model, $name: items that are hidden are not recommended");
		is($session->query(q{SELECT count(*) FROM collab.recommend_all('m', 500, false) WHERE item_id % 2 = 1 OR user_id <> 7}), 0, 'nor to anyone');
		is($session->query($mine), 0, 'one\'s own taste counts');
		is($session->query(q{SELECT count(*) FROM collab.explain('m', 7, 8)}), 11, 'and is explained');
		$session->query('SET app.id = 8');
		is($session->query($mine), 100, 'that of a user who is hidden does not');
		is($session->query(q{SELECT string_agg(term, ',') FROM collab.explain('m', 7, 8)}), 'mean,user bias,item bias', 'nor is it explained');
		is($session->query(q{SELECT string_agg(term, ',') FROM collab.explain('m', 7, 9)}), 'mean rating', 'nor an item that is hidden');
		is($session->query(q{SELECT count(*) FROM collab.recommend('m', 7, 500, false, '{1,2,3,4}')}), 2, 'candidates that are hidden');
		$session->query($return) if $return;
	}
	is($of_app->query($cached), 0, 'nothing of it is kept');
	is($of_owner->query($cached), 1, 'only what the owner sees');
	is($of_owner->query($odd), 100, 'who sees all, as before');
	# within one function that is now the one, now the other
	$admin->query(q{CREATE FUNCTION odd_of_owner() RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER AS
		$$BEGIN RETURN (SELECT count(*) FROM collab.recommend('m', 7, 500, false) WHERE item_id % 2 = 1); END$$});
	$admin->query(q{CREATE FUNCTION odd_of_caller() RETURNS bigint LANGUAGE plpgsql STABLE AS
		$$BEGIN RETURN (SELECT count(*) FROM collab.recommend('m', 7, 500, false) WHERE item_id % 2 = 1); END$$});
	is($of_app->query('SELECT string_agg(concat(odd_of_owner(), \' \', odd_of_caller()), \',\') FROM generate_series(1, 3)'), '100 0,100 0,100 0', 'roles that take turns');
	is($of_owner->query('SELECT string_agg(concat(odd_of_caller(), \' \', odd_of_owner()), \',\') FROM generate_series(1, 3)'), '100 100,100 100,100 100', 'and the owner');
	$admin->query('ALTER TABLE m_items DISABLE ROW LEVEL SECURITY; ALTER TABLE m_users DISABLE ROW LEVEL SECURITY');
	is($of_app->query($odd), 100, 'no RLS any more');
	is($of_app->query($cached), 1, 'and the model is kept');
	$_->close for $of_app, $of_owner;
}
$app->close;

#
# Memory does not grow.
#
{
	my %call = (
		recommend => "SELECT count(*) FROM collab.recommend('m', N % 1200, 5, false)",
		'recommend, exclude_seen' => "SELECT count(*) FROM collab.recommend('m', N % 1200, 5)",
		'recommend, all arguments' => "SELECT count(*) FROM collab.recommend('m', (N % 1200)::text, 5, NULL::integer, true, '{1,2,3,9999}', ARRAY[2, 4, N], 1, 0)",
		explain => "SELECT count(*) FROM collab.explain('m', N % 1200, N % 220)",
		'explain, components' => "SELECT count(*) FROM collab.explain('m', N % 1200, N % 220, 3)",
		predict => "SELECT collab.predict('m', N % 1200, N % 220)",
		'an error' => "SELECT collab.recommend('m', N, candidates => '{1,NULL}')",
		'an error in the source' => "SELECT collab.recommend('broken', N)");
	my $session = session($node);
	$session->query('CREATE VIEW fails AS SELECT user_id, item_id, rating FROM ratings');
	$session->query("SELECT count(*) FROM collab.train('broken', 'fails', n_factors => 2, n_epochs => 1, verbose => false)");
	$session->query('CREATE OR REPLACE VIEW fails AS SELECT user_id, item_id, (1 / (user_id - user_id))::real AS rating FROM ratings');
	my $calls = join ' ', map { 'PERFORM ' . ($_ =~ s/^SELECT //r =~ s/\bN\b/i/gr) . ';' } map { $call{$_} } grep { !/error/ } sort keys %call;
	my $errors = join ' ', map { 'BEGIN PERFORM ' . ($_ =~ s/^SELECT //r =~ s/\bN\b/i/gr) . '; EXCEPTION WHEN OTHERS THEN NULL; END;' } map { $call{$_} } grep { /error/ } sort keys %call;
	$session->query("CREATE FUNCTION many(n int) RETURNS void LANGUAGE plpgsql AS \$\$BEGIN FOR i IN 1 .. n LOOP $calls IF i % 50 = 0 THEN $errors END IF; END LOOP; END\$\$");

	# the server's own catalogue cache keeps a little of every table ever made
	my $total = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext'};
	my $resident = sub {
		open my $status, '<', "/proc/$session->{pid}/status" or return 0;
		my ($anonymous) = map { /^RssAnon:\s+(\d+)/ } <$status>;
		return $anonymous;
	};
	my $does_not_grow = sub {
		my ($name, $work) = @_;
		$work->() for 1 .. 2;
		my $before = $session->query($total);
		my $pages = $resident->();
		$work->();
		my $grown = $session->query($total) - $before;
		$pages = $resident->() - $pages;
		note(sprintf('%-40s %+d bytes, resident %+d kB', $name, $grown, $pages));
		cmp_ok($grown, '<=', 100_000, "$name: memory does not grow");
		cmp_ok($pages, '<=', 4096, "$name: nor does what is resident");
	};
	$does_not_grow->('10,000 calls in one function', sub { $session->query('SELECT many(1667)') });
	$does_not_grow->('10,000 statements', sub {
		$session->run(join(";\n", map { my $n = $_; map { $call{$_} =~ s/\bN\b/$n/gr } sort keys %call } 1 .. 250)) for 1 .. 5;
	});
	$does_not_grow->('rows of one statement', sub {
		$session->query("SELECT count(*) FROM generate_series(1, 1200) u, LATERAL collab.recommend('m', u, 3) r, LATERAL collab.explain('m', u, r.item_id, 2)");
	});
	$does_not_grow->('recommend_all', sub { $session->query("SELECT count(*) FROM collab.recommend_all('m', 5)") for 1 .. 10 });
	$does_not_grow->('recommend_all that fails', sub { $session->run("SELECT collab.recommend_all('broken', 5)") for 1 .. 10 });
	$does_not_grow->('after trainings', sub {
		for my $seed (1 .. 3)
		{
			$session->query(qq{CALL collab.retrain('m', options => '{"seed": $seed, "n_epochs": 1, "verbose": false}')});
			$session->query('SELECT many(5)');
		}
	});
	is($session->query($cached), 2, 'one copy a model');
	$session->close;
}

#
# collab.user_cache_size
#
my $rows_of = sub {
	# SQL that adds rows to an embedding table of 50 factors, of a few kinds
	my ($side, $from, $to) = @_;
	return qq{INSERT INTO big_${side}s (${side}_id, bias, factors, n_ratings)
		SELECT n, kinds.bias, kinds.factors, 1 + n % 3 FROM generate_series($from, $to) n JOIN kinds ON kinds.kind = n % 997};
};
$admin->query('CREATE TABLE kinds AS SELECT kind, (sin(kind) / 3)::real AS bias, array_agg((sin(kind * 51 + f) / 5)::real) AS factors
	FROM generate_series(0, 996) kind, generate_series(1, 50) f GROUP BY kind');
$admin->query("SELECT count(*) FROM collab.train('big', 'ratings', n_factors => 50, n_epochs => 1, verbose => false)");
$admin->query($rows_of->('user', 1001, 100_000));
$admin->query($rows_of->('item', 201, 65_000));
$admin->query("SELECT collab.touch('big')");
is($admin->query('SELECT n_users, n_items FROM big'), '100000|65000', 'a model of 165,000 rows');
{
	my $session = session($node);
	my $users = q{SELECT coalesce(sum(total_bytes), 0), count(*) FROM pg_backend_memory_contexts WHERE name = 'collab users'};
	my $some = q{FROM generate_series(1, 6000) n CROSS JOIN LATERAL (SELECT 1 + n * 31 % 9000 AS u) x, LATERAL collab.recommend('big', u, 1, false, '{1,2,3,4,5,300,301,302,303}') r};
	$session->query('SET collab.user_cache_size = \'64kB\'');
	my $small = $session->query("SELECT md5(string_agg(concat(u, item_id, score), ' ' ORDER BY u)) $some");
	my ($bytes, $contexts) = split /\|/, $session->query($users);
	note("64kB: $bytes bytes");
	cmp_ok($contexts, '<=', 1, 'users that were asked for are in one place');
	cmp_ok($bytes, '<=', 3 * 64 * 1024, 'and little of them is kept');
	$session->query('RESET collab.user_cache_size');
	my $large = $session->query("SELECT md5(string_agg(concat(u, item_id, score), ' ' ORDER BY u)) $some");
	($bytes) = split /\|/, $session->query($users);
	note("16MB: $bytes bytes");
	is($large, $small, 'the answers are the same');
	cmp_ok($bytes, '>', 6000 * 51 * 4, 'with room, all are kept');
	# the same users as a query over rows reads them
	is($session->query("SELECT bool_and(score = collab.predict('big', u, item_id)) $some"), 't', 'and those of predict');
	$session->close;
}

#
# What a large model takes
#
{
	my $session = session($node);
	my $raw = 165_000 * 51 * 4;
	my $model = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'collab%'};
	$session->query("SELECT collab.recommend('big', 5, 1, false)");
	my $items = $session->query($model);
	note(sprintf 'items and a user: %.3f of %d bytes', $items / (65_000 * 51 * 4), 65_000 * 51 * 4);
	cmp_ok($items, '<=', 1.2 * 65_000 * 51 * 4, 'items alone take 1.2 times their numbers');
	$session->query("SELECT count(collab.predict('big', n, n)) FROM generate_series(1, 100000) n");
	my $bytes = $session->query($model);
	note(sprintf 'all: %.3f of %d bytes', $bytes / $raw, $raw);
	cmp_ok($bytes, '>', $raw, 'a whole model');
	cmp_ok($bytes, '<=', 1.2 * $raw, 'takes 1.2 times its numbers');
	is($session->query("SELECT bool_and(score = collab.predict('big', 77777, item_id)) AND count(*) = 50 FROM collab.recommend('big', 77777, 50)"), 't', 'and answers');
	$session->close;
}

#
# Trainings meanwhile: one statement sees one generation.
#
{
	my @reader = map { session($node) } 1 .. 2;
	my $trainer = session($node);
	my @statement = (
		"SELECT bool_and(score = collab.predict('m', u, item_id)) AND count(*) = 300 FROM generate_series(1, 60) u, LATERAL collab.recommend('m', u, 5)",
		"SELECT bool_and(score = collab.predict('m', user_id, item_id)) AND count(*) = 3000 FROM collab.recommend_all('m', 3)");
	my $before = $admin->query('SELECT max(generation) FROM m');
	my $rounds = 0;
	my @answers;
	$trainer->send('DO $$BEGIN FOR i IN 1 .. 12 LOOP CALL collab.retrain(\'m\', options => format(\'{"seed": %s, "n_epochs": 1, "verbose": false}\', i)::jsonb); COMMIT; END LOOP; END$$');
	while ($trainer->messages !~ /<end/ && $rounds++ < 500)
	{
		$reader[$_]->send(join ";\n", ($statement[$_]) x 5) for 0 .. 1;
		push @answers, map { my $r = $_->wait; die $r->{err} if $r->{state} ne '00000'; split /\n/, $r->{out} } @reader;
	}
	is($trainer->wait->{state}, '00000', 'trainings');
	my $generations = $admin->query('SELECT max(generation) FROM m') - $before;
	note(scalar(@answers) . " statements, $generations generations");
	is($generations, 12, 'which all came');
	cmp_ok(scalar(@answers), '>', 20, 'some statements meanwhile');
	is(join(',', sort keys %{ { map { $_ => 1 } @answers } }), 't', 'each of which sees one generation');
	$_->close for @reader, $trainer;
}

#
# Stopping
#
{
	my $session = session($node);
	my $watcher = session($node);
	my $at_most = 600;		# 200 ms are promised; a busy machine is given more
	my $everyone = "SELECT count(*) FROM collab.recommend_all('big', 10, false)";
	my $whole = "SELECT count(*) FROM collab.recommend_all('big', 2000, false)";
	my $memory = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'collab%'};

	my $stop = sub {
		my ($query, $after, $name) = @_;
		$session->send($query);
		sleep $after;
		my $began = time;
		$watcher->query("SELECT pg_cancel_backend($session->{pid})");
		my $result = $session->wait;
		my $ms = (time - $began) * 1000;
		note(sprintf '%-40s %.0f ms', $name, $ms);
		is($result->{state}, '57014', "$name is cancelled") or diag($result->{err});
		cmp_ok($ms, '<', $at_most, 'at once');
		is(thread_count($session->{pid}), $session->{threads} // 1, 'no thread is left');
		return;
	};
	# the first look loads the library, which may have threads of its own
	$session->query("SELECT count(*) FROM collab.recommend_all('m', 1)");
	$session->{threads} = thread_count($session->{pid});
	$stop->($everyone, 0.1, 'reading the model');
	$stop->($everyone, 1.5, 'scoring');
	my $held = $session->query($memory);
	$stop->($everyone, 0.7, 'scoring again');
	$stop->($whole, 1, 'scoring, and many rows');
	cmp_ok($session->query($memory), '<=', $held + 65536, 'nothing is held');
	# where what takes long is not the scoring but to keep the best of many
	$admin->query("SELECT count(*) FROM collab.train('wide', 'ratings', n_factors => 1, n_epochs => 1, verbose => false)");
	$admin->query('INSERT INTO wide_items (item_id, bias, factors, n_ratings) SELECT n, sin(n), ARRAY[cos(n * 7)]::real[], 1 FROM generate_series(201, 200000) n');
	$admin->query("SELECT collab.touch('wide')");
	$stop->("SELECT count(*) FROM collab.recommend_all('wide', $_, false)", 1.2, "$_ best of 200,000") for 2000, 30_000, 200_000;
	{
		$session->query('SET statement_timeout = 700');
		my $result = $session->run($everyone);
		note(sprintf '%-40s %.0f ms late', 'statement_timeout', $result->{ms} - 700);
		is($result->{state}, '57014', 'statement_timeout');
		cmp_ok($result->{ms} - 700, '<', $at_most, 'takes effect at once');
		$session->query('RESET statement_timeout');
	}
	# in threads, of which there are more than processors
	$session->query('SET collab.threads = 4');
	$stop->($everyone, 0.7, 'scoring, 4 threads');
	is($session->query("SELECT bool_and(score = collab.predict('m', user_id, item_id)) AND count(*) = 3000 FROM collab.recommend_all('m', 3)"), 't', 'and then it answers');
	# reading what users have rated
	$admin->query('CREATE VIEW slow AS SELECT user_id, item_id, rating FROM ratings WHERE pg_sleep(0.001) IS NOT NULL');
	$admin->query("UPDATE big SET source = 'public.slow'; SELECT collab.touch('big')");
	$stop->("SELECT count(*) FROM collab.recommend_all('big', 1)", 0.7, 'reading the source');
	$stop->("SELECT count(*) FROM generate_series(1, 1000) u, LATERAL collab.recommend('big', u, 1)", 0.7, 'reading it for one after another');
	$stop->("SELECT count(*) FROM generate_series(1, 100000) u, LATERAL collab.recommend('big', u, 65000, false)", 0.7, 'users one after another');
	# the end of the session
	$session->send($everyone);
	sleep 0.7;
	my $began = time;
	$watcher->query("SELECT pg_terminate_backend($session->{pid})");
	is($session->wait->{state}, 'lost', 'terminate');
	cmp_ok((time - $began) * 1000, '<', $at_most, 'at once');
	$watcher->close;
}

$admin->close;
$node->stop;
done_testing();
