# A session's memory does not grow with what it is asked, and a training stays
# within collab.max_memory.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;

my $node = new_node('main');
my $session = session($node);
$session->query(make_ratings('ratings', 1000, 100, 20));
$session->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 20, verbose => false)");
$session->query("SELECT count(*) FROM collab.train('n', 'ratings', n_factors => 20, verbose => false)");
$session->query("SELECT count(*) FROM collab.train('net', 'ratings', use_nn => true, layers => '{30,10}', verbose => false)");

my %reader = (
	predict => "SELECT collab.predict('m', N % 1200, N % 120)",
	'predict with text' => "SELECT collab.predict('m', (N % 1200)::text, (N % 120)::text)",
	movie_bias => "SELECT count(*) FROM collab.movie_bias('m', 5)",
	cosine_similar => "SELECT count(*) FROM collab.cosine_similar('m', N % 120, 5)",
	fold_in => "SELECT n_ratings FROM collab.fold_in('m', ARRAY[N % 100 + 1, 3], '{4,5}')",
	'fold_in with text' => "SELECT n_ratings FROM collab.fold_in('m', '{3,N}', '{4,2}')",
	pca_project => "SELECT count(*) FROM collab.pca_project('m', 2, 20)",
	pca_explained => "SELECT count(*) FROM collab.pca_explained('m')",
	history => "SELECT count(*) FROM collab.history('m')",
	user_bias => "SELECT count(*) FROM collab.user_bias('m', 5)",
	similar_users => "SELECT count(*) FROM collab.similar_users('m', N % 1200, 5)",
	pca_project_users => "SELECT count(*) FROM collab.pca_project_users('m', 2, 20)",
	score => "SELECT collab.score(0.5, '{1,2,3}', N, ARRAY[3,2,N]::real[], '{1,5}')",
	cosine_similarity => "SELECT collab.cosine_similarity('{1,2,3}', ARRAY[3,2,N]::real[])",
	'predict by a net' => "SELECT collab.predict('net', N % 1200, N % 120)",
	'recommend by a net' => "SELECT count(*) FROM collab.recommend('net', N % 1200, 5, exclude_seen => false)",
	'cosine_similar of a net' => "SELECT count(*) FROM collab.cosine_similar('net', N % 120, 5)",
	'an error' => "SELECT count(*) FROM collab.pca_project('m', 1000 + N)",
	'another model' => "SELECT collab.predict('n', N, N)");

# What the backend has taken of its operating system, all contexts together.
# Looked at in the same way before and after, so that the look itself counts
# the same.
sub total
{
	# the server's own catalogue cache keeps a little of every table ever made
	return $session->query(q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext'});
}

# In a loop of PL/pgSQL, whose call sites live on, errors caught included ...
$session->query(<<'SQL');
CREATE PROCEDURE loop_over(query text, n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			EXECUTE replace(query, 'N', i::text);
		EXCEPTION WHEN invalid_parameter_value THEN NULL;
		END;
	END LOOP;
END$$;
CREATE FUNCTION one_call_site(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM collab.predict('m', i % 1200, i % 120);
		PERFORM collab.predict('net', i % 1200, i % 120);
		PERFORM FROM collab.movie_bias('m', 3);
		PERFORM FROM collab.cosine_similar('m', i % 120, 3);
		PERFORM FROM collab.fold_in('m', ARRAY[i % 100 + 1, 3], '{4,5}');
	END LOOP;
END$$
SQL
# Contexts do not know what libraries take by themselves; in kilobytes.
sub resident
{
	open my $status, '<', "/proc/$session->{pid}/status" or return 0;
	my ($anonymous) = map { /^RssAnon:\s+(\d+)/ } <$status>;
	return $anonymous;
}
my $slack = 100_000;
sub does_not_grow
{
	my ($name, $work) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$work->();
	$work->();
	my $before = total();
	$work->() for 1 .. 2;
	my $grown = total() - $before;
	note(sprintf('%-40s %+d bytes', $name, $grown));
	cmp_ok($grown, '<=', $slack, "$name: memory does not grow");
	return;
}
for my $name (sort keys %reader)
{
	my $query = $reader{$name} =~ s/'/''/gr;
	does_not_grow("$name in a loop", sub { $session->query("CALL loop_over('$query', 1000)") });
}
does_not_grow('call sites of PL/pgSQL', sub { $session->query('SELECT one_call_site(1000)') });
my $resident = resident();
# ... and as statements of their own.
for my $name (sort keys %reader)
{
	does_not_grow("$name as statements", sub {
		$session->run(join(";\n", map { $reader{$name} =~ s/N/$_/gr } 1 .. 300));
	});
}
# Within one statement, over many rows
for my $model (qw(m net))
{
	does_not_grow("predict over rows with $model",
		sub { $session->query("SELECT sum(collab.predict('$model', user_id, item_id)) FROM ratings") });
}

{
	my $grown = resident() - $resident;
	note(sprintf('%-40s %+d kB', 'resident memory', $grown));
	cmp_ok($grown, '<=', 4096, 'resident memory does not grow');
}

# Training, dropping, retraining, and what fails.  A dropped model stays in the
# cache until its room is wanted, so little room is given.
$session->query("SET collab.cache_size = '256kB'");
does_not_grow('train and drop_model', sub {
	for (1 .. 5)
	{
		$session->query("SELECT count(*) FROM collab.train('brief', 'ratings', n_epochs => 1, verbose => false)");
		$session->query("SELECT collab.predict('brief', 1, 1)");
		$session->query("SELECT collab.drop_model('brief')");
	}
});
does_not_grow('retrain', sub {
	for (1 .. 5)
	{
		$session->query("CALL collab.retrain('m', options => '{\"n_epochs\": 2, \"verbose\": false}')");
		$session->query("SELECT collab.predict('m', 1, 1)");
	}
});
does_not_grow('train, retrain and rank with a net', sub {
	for (1 .. 3)
	{
		$session->query("SELECT count(*) FROM collab.train('brief', 'ratings', use_nn => true, n_epochs => 1, verbose => false)");
		$session->query("CALL collab.retrain('brief', warm_start => true)");
		$session->query("SELECT count(*) FROM collab.recommend_all('brief', 3)");
		$session->query("SELECT collab.drop_model('brief')");
	}
});
does_not_grow('touch a net', sub { $session->query("SELECT collab.touch('net'), collab.predict('net', 1, 1)") for 1 .. 20 });
does_not_grow('fit', sub {
	$session->query("SELECT collab.fit('fitted', user_id, item_id, rating, '{\"n_epochs\": 1, \"verbose\": false, \"replace\": true}') FROM ratings")
		for 1 .. 5;
});
does_not_grow('touch', sub { $session->query("SELECT collab.touch('m'), collab.predict('m', 1, 1)") for 1 .. 20 });
does_not_grow('add_users', sub {
	$session->query("DELETE FROM m_users WHERE user_id > 900; SELECT collab.add_users('m'), collab.predict('m', 1, 1)") for 1 .. 10;
});
$session->query('INSERT INTO ratings VALUES (1, NULL, 1)');
does_not_grow('train that fails', sub { $session->run("SELECT collab.train('brief', 'ratings')") for 1 .. 10 });
does_not_grow('add_users that fails', sub { $session->run("SELECT collab.add_users('m')") for 1 .. 10 });
does_not_grow('fit that fails', sub { $session->run("SELECT collab.fit('brief', user_id, item_id, rating) FROM ratings") for 1 .. 10 });
does_not_grow('retrain that fails', sub { $session->run("CALL collab.retrain('m')") for 1 .. 10 });
$session->query('DELETE FROM ratings WHERE item_id IS NULL');

# Within a retrain, from the first epochs to the last: nothing an epoch, but for
# the losses themselves and the copies that are made of them to write them.
{
	$session->query(<<'SQL');
CREATE TABLE grown (epochs int, bytes bigint);
CREATE FUNCTION note_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.finished IS NULL AND cardinality(NEW.train_loss) IN (100, 1000) THEN
		INSERT INTO grown SELECT cardinality(NEW.train_loss), sum(total_bytes) FROM pg_backend_memory_contexts;
	END IF;
	RETURN NULL;
END$$;
CREATE TRIGGER note_memory AFTER UPDATE ON n FOR EACH ROW EXECUTE FUNCTION note_memory();
SELECT collab.drop_model('m');
CREATE TABLE few AS SELECT * FROM ratings WHERE user_id <= 20;
SQL
	$session->query("CALL collab.retrain('n', ratings => 'few', options => '{\"n_epochs\": 1001, \"n_factors\": 2, \"verbose\": false}')");
	my $grown = $session->query('SELECT max(bytes) FILTER (WHERE epochs = 1000) - max(bytes) FILTER (WHERE epochs = 100) FROM grown');
	note(sprintf('%-40s %+d bytes', '900 epochs', $grown));
	cmp_ok($grown, '<=', 900 * 400, '900 epochs: memory does not grow');
}

# Cache settings
{
	my $cached = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'collab model'";
	my $other = session($node);
	$other->query("SELECT count(*) FROM collab.train('a', 'few', n_factors => 5, verbose => false)");
	$other->query("SELECT count(*) FROM collab.train('b', 'few', n_factors => 5, verbose => false)");
	my $answer = $other->query(answers('a'));
	$other->query(answers('b'));
	is($other->query($cached), 2, 'two models are kept');
	$other->query('SET collab.cache_size = 0');
	is($other->query(answers('a')), $answer, 'without a cache, a model answers alike');
	is($other->query($cached), 0, 'and none is kept');
	$other->query("RESET collab.cache_size");
	for my $seed (1 .. 3)
	{
		$other->query(retrain_a($seed));
		$other->query(answers('a'));
	}
	is($other->query($cached), 1, 'older generations of a model are not kept');
	$other->close;

	sub retrain_a
	{
		my ($seed) = @_;
		return "CALL collab.retrain('a', options => '{\"seed\": $seed, \"verbose\": false}')";
	}
}

# collab.max_memory
{
	my $tables = 'SELECT count(*) FROM pg_class';
	my $before = $session->query($tables);
	my $answer = $session->query(answers('a'));
	$session->query('SET collab.max_memory = \'4MB\'');
	fails_with($session, "SELECT collab.train('huge', 'ratings', n_factors => 1000)", '54000',
		qr/more memory is needed than collab\.max_memory allows\nDETAIL:  (?!4 )\d+ MB are needed and 4 MB are allowed\.\nHINT:/,
		'train beyond collab.max_memory');
	is($session->query($tables), $before, 'nothing is created');
	fails_with($session, "CALL collab.retrain('a', ratings => 'ratings', options => '{\"n_factors\": 1000}')", '54000',
		qr/more memory is needed than collab\.max_memory allows/, 'retrain beyond collab.max_memory');
	is($session->query(answers('a')), $answer, 'nothing is changed');
	is($session->query("SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'collab training'"), 0,
		'no memory is kept');
	is(locks_of($node, $session->{pid}), 'none', 'and no lock');
	fails_with($session, "SET collab.max_memory = '1kB'", '22023', qr/outside the valid range/, 'a senseless limit');
	# what statistics tell is believed before a row is read: one would be an error
	$session->query('SET collab.max_memory = \'1MB\'');
	$session->query('CREATE TABLE too_many AS SELECT n AS user_id, NULL::int AS item_id, 3::real AS rating FROM generate_series(1, 200000) n; ANALYZE too_many');
	fails_with($session, "SELECT collab.train('huge', 'too_many')", '54000',
		qr/more memory is needed than collab\.max_memory allows\nDETAIL:  Relation public\.too_many has about 200000 ratings, for which 3 MB are needed, and 1 MB are allowed\.\nHINT:/,
		'a source far beyond collab.max_memory is not read');
	# ids alone pass the limit, midway
	for my $id ("'a longer name of user ' || n", "md5(n::text)::uuid", 'n::bigint * 1000003')
	{
		$session->query("DROP TABLE too_many; CREATE TABLE too_many AS SELECT $id AS user_id, 1 AS item_id, 3::real AS rating FROM generate_series(1, 60000) n");
		fails_with($session, "SELECT collab.train('huge', 'too_many')", '54000',
			qr/more memory is needed than collab\.max_memory allows\nDETAIL:  2 MB are needed and 1 MB are allowed\.\nHINT:/,
			"ids beyond collab.max_memory: $id");
		is($session->query("SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'collab training%'"), 0,
			'no memory is kept');
		is($session->query("SELECT count(*) FROM pg_class WHERE relname LIKE 'huge%'"), 0, 'nothing is created');
	}
	$session->query('DROP TABLE too_many');
	$session->query('RESET collab.max_memory');
	is($session->run("SELECT collab.train('huge', 'ratings', n_factors => 1000, n_epochs => 1)")->{state}, '00000',
		'within the limit it trains');
}

$session->close;
$node->stop;
done_testing();
