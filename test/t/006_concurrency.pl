# Readers, other trainers and users' own constraints while a model is trained.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;

my $node = new_node('main', 'max_prepared_transactions = 2');
my $watcher = session($node);
$watcher->query(make_ratings('ratings', 1000, 100, 20));
$watcher->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 10, verbose => false)");

# No reader ever sees a mixture of generations.  Each statement of a reader
# predicts a fixed set and reads the tables by itself; what all the statements
# that saw one stamp say must be the same, and what the generation is known to
# say.
{
	my $answer = "SELECT (SELECT stamp FROM m WHERE finished IS NOT NULL ORDER BY generation DESC LIMIT 1) AS stamp,
		(SELECT md5(string_agg(collab.predict('m', u, i)::text, ' ' ORDER BY u, i))
		   FROM generate_series(1, 60) u, generate_series(1, 100) i) AS predicted,
		(SELECT md5(string_agg(b::text, ' ')) FROM collab.movie_bias('m', 100) b) AS biases,
		(SELECT md5(string_agg(s::text, ' ')) FROM collab.cosine_similar('m', 5, 100) s) AS similar,
		(SELECT md5(sum(bias::numeric)::text) FROM m_users) AS raw";
	$watcher->query("CREATE TABLE truth AS $answer");
	$watcher->query("CREATE TABLE seen AS TABLE truth WITH NO DATA");
	$watcher->query("CREATE TABLE stopped (at timestamptz)");

	# Three kinds: plans that are kept by PL/pgSQL, the same with a pause between
	# the statement's snapshot and its first look at the model, and single
	# statements.
	$watcher->query("CREATE PROCEDURE read_on(pause real) LANGUAGE plpgsql AS \$\$
		BEGIN
			WHILE NOT EXISTS (SELECT FROM stopped) LOOP
				INSERT INTO seen $answer FROM pg_sleep(pause);
				COMMIT;
			END LOOP;
		END\$\$");
	my @readers = map { session($node) } 1 .. 2;
	$readers[0]->send('CALL read_on(0)');
	$readers[1]->send('CALL read_on(0.05)');
	my $single = session($node);

	my $trainer = session($node);
	for my $run (1 .. 10)
	{
		$trainer->send("CALL collab.retrain('m', warm_start => " . ($run % 2 ? 'true' : 'false')
			. ", options => '{\"seed\": $run, \"n_epochs\": 3, \"verbose\": false}')");
		$single->query("INSERT INTO seen $answer") for 1 .. 3;
		my $result = $trainer->wait;
		is($result->{state}, '00000', "retrain $run among readers") or diag($result->{err});
		$watcher->query("INSERT INTO truth $answer");
	}
	$watcher->query('INSERT INTO stopped VALUES (now())');
	for my $reader (@readers)
	{
		my $result = $reader->wait;
		is($result->{state}, '00000', 'a reader ends without an error') or diag($result->{err});
	}
	$_->close for @readers, $single, $trainer;

	note($watcher->query("SELECT format('%s answers of %s generations', count(*), count(DISTINCT stamp)) FROM seen"));
	is($watcher->query('SELECT count(DISTINCT stamp) FROM truth'), 11, 'each generation has a stamp of its own');
	is($watcher->query('SELECT count(DISTINCT predicted) FROM truth'), 11, 'and predictions of its own');
	cmp_ok($watcher->query('SELECT count(DISTINCT stamp) FROM seen'), '>=', 8, 'the readers saw most generations');
	is($watcher->query('SELECT count(*) FROM (SELECT * FROM seen EXCEPT SELECT * FROM truth) d'),
		0, 'every answer was that of one generation');
}

# What a user hangs on the embedding tables: foreign keys and triggers see
# changes, and deletions only of what has vanished.
{
	$watcher->query(<<'SQL');
CREATE TABLE shelf (item_id int REFERENCES m_items ON DELETE CASCADE, note text);
INSERT INTO shelf SELECT item_id, 'mine' FROM m_items;
CREATE TABLE events (side text, what text, id int);
CREATE FUNCTION log_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO events VALUES (TG_TABLE_NAME, TG_OP,
		CASE WHEN TG_TABLE_NAME = 'm_items' THEN (to_jsonb(coalesce(NEW, OLD))->>'item_id')::int
			ELSE (to_jsonb(coalesce(NEW, OLD))->>'user_id')::int END);
	RETURN NULL;
END$$;
CREATE TRIGGER log_event AFTER INSERT OR UPDATE OR DELETE ON m_items FOR EACH ROW EXECUTE FUNCTION log_event();
CREATE TRIGGER log_event AFTER INSERT OR UPDATE OR DELETE ON m_users FOR EACH ROW EXECUTE FUNCTION log_event();
GRANT SELECT ON m_items TO pg_monitor;
COMMENT ON TABLE m_items IS 'kept';
CREATE INDEX by_bias ON m_items (bias);
SQL
	my $oids = $watcher->query("SELECT 'm'::regclass::oid, 'm_users'::regclass::oid, 'm_items'::regclass::oid, pg_relation_filenode('m_items')");
	$watcher->query("CALL collab.retrain('m')");
	is($watcher->query('SELECT count(*) FROM shelf'), 100, 'a retrain leaves rows that refer to items alone');
	is($watcher->query("SELECT string_agg(e, '; ' ORDER BY e) FROM (SELECT concat_ws(' ', side, what, count(*)) e FROM events GROUP BY side, what) x"),
		'm_items UPDATE 100; m_users UPDATE 1000', 'triggers see updates alone');

	$watcher->query('TRUNCATE events');
	$watcher->query('DELETE FROM ratings WHERE item_id IN (3, 4) OR user_id = 9');
	$watcher->query('INSERT INTO ratings VALUES (2000, 500, 4)');
	$watcher->query("CALL collab.retrain('m')");
	is($watcher->query("SELECT string_agg(concat_ws(' ', side, what, id), '; ' ORDER BY side, what, id) FROM events WHERE what <> 'UPDATE'"),
		'm_items DELETE 3; m_items DELETE 4; m_items INSERT 500; m_users DELETE 9; m_users INSERT 2000',
		'triggers see deletions and insertions of what went and came');
	is($watcher->query('SELECT count(*), count(*) FILTER (WHERE item_id IN (3, 4)) FROM shelf'), '98|0',
		'what referred to items that went has gone with them');
	is($watcher->query("SELECT 'm'::regclass::oid, 'm_users'::regclass::oid, 'm_items'::regclass::oid, pg_relation_filenode('m_items')"),
		$oids, 'the tables are the same, and not rewritten');
	$watcher->query('DROP TABLE shelf');
	$watcher->query('DROP TRIGGER log_event ON m_items');
	$watcher->query('DROP TRIGGER log_event ON m_users');

	# A constraint that the new generation breaks: the old one stays.
	$watcher->query('CREATE TABLE loans (item_id int REFERENCES m_items)');
	$watcher->query('INSERT INTO loans VALUES (500)');
	$watcher->query('DELETE FROM ratings WHERE item_id = 500');
	my $before = $watcher->query(answers('m'));
	fails_with($watcher, "CALL collab.retrain('m', options => '{\"seed\": 99}')", '23503', qr/"loans"/,
		'an item that a foreign key holds vanishes');
	is($watcher->query(answers('m')), $before, 'the old generation stays');
	is(locks_of($node, $watcher->{pid}), 'none', 'and no lock');
	$watcher->query('DROP TABLE loans');
	$watcher->query("CALL collab.retrain('m')");
}

# One trainer at a time.
my $long = q('{"n_epochs": 5000, "n_factors": 50, "verbose": false}');
{
	my ($first, $second) = (session($node), session($node));

	# of a new name
	$first->send("BEGIN; SELECT count(*) FROM collab.train('new', 'ratings', verbose => false); SELECT pg_sleep(0.5); COMMIT");
	ok(wait_until_true($watcher, "EXISTS (SELECT FROM pg_stat_activity WHERE pid = $first->{pid} AND wait_event = 'PgSleep')"),
		'the first train is about to commit');
	fails_with($second, "SELECT collab.train('new', 'ratings', verbose => false)", '42710',
		qr/model "new" already exists.*HINT:.*retrain/s, 'two trains of a new name: the second');
	is($first->wait->{state}, '00000', 'two trains of a new name: the first');

	# If the first one rolls back, the second trains.
	$first->send("BEGIN; SELECT count(*) FROM collab.train('newer', 'ratings', verbose => false); SELECT pg_sleep(0.5); ROLLBACK");
	ok(wait_until_true($watcher, "EXISTS (SELECT FROM pg_stat_activity WHERE pid = $first->{pid} AND wait_event = 'PgSleep')"),
		'the first train is about to roll back');
	is($second->query("SELECT count(*) FROM collab.train('newer', 'ratings', verbose => false)"), 5,
		'the second trains where the first rolls back');
	$first->wait;

	# of a model that exists
	$first->send("CALL collab.retrain('m', options => $long)");
	ok(wait_until_true($watcher, "EXISTS (SELECT FROM m WHERE finished IS NULL AND cardinality(train_loss) >= 1)"),
		'a retrain shows its first epoch');
	my $pid = $watcher->query('SELECT pid FROM m WHERE finished IS NULL');
	is($pid, $first->{pid}, 'and its pid');
	my $n = $watcher->query('SELECT cardinality(train_loss) FROM m WHERE finished IS NULL');
	ok(wait_until_true($watcher, "(SELECT cardinality(train_loss) FROM m WHERE finished IS NULL) > $n"),
		'and its losses as they come');
	is($watcher->query("SELECT count(*) >= $n + 1 AND bool_and(finished IS NULL AND train_loss > 0)
		FROM collab.history('m') WHERE generation = (SELECT max(generation) FROM m)"), 't', 'so does its history');
	is($watcher->query("SELECT backend_xmin IS NULL OR age(backend_xmin) < 1000 FROM pg_stat_activity WHERE pid = $pid"),
		't', 'it holds no old snapshot');

	fails_with($second, "CALL collab.retrain('m', nowait => true)", '55P03',
		qr/model "m" is being trained by the session with PID $pid\b/, 'nowait while another trains');
	$second->query("SET statement_timeout = '100ms'");
	fails_with($second, "SELECT collab.drop_model('m')", '57014', qr/statement timeout/, 'drop_model waits for it');
	fails_with($second, "SELECT collab.touch('m')", '57014', qr/statement timeout/, 'touch waits for it');
	fails_with($second, "SELECT collab.train('m', 'ratings', replace => true)", '57014', qr/statement timeout/,
		'train(replace) waits for it');
	$second->query('RESET statement_timeout');
	is($second->run('ANALYZE m, m_users, m_items')->{state}, '00000', 'ANALYZE does not');

	# Those who wait come to their turn, and in no other's way.
	my $third = session($node);
	my $fourth = session($node);
	my $waits = sub {
		my ($session) = @_;
		ok(wait_until_true($watcher, "EXISTS (SELECT FROM pg_locks WHERE pid = $session->{pid} AND NOT granted)"),
			'another waits');
		is($watcher->query("SELECT count(*) FROM pg_locks WHERE pid = $session->{pid} AND relation IN ('m'::regclass, 'm_users'::regclass, 'm_items'::regclass)"),
			0, 'with no table of the model locked');
	};
	$second->send("CALL collab.retrain('m', options => '{\"n_epochs\": 2, \"n_factors\": 10}')");
	$waits->($second);
	$third->send("SELECT collab.drop_model('m')");
	$waits->($third);
	$fourth->send("CALL collab.retrain('m')");
	$waits->($fourth);
	$watcher->query("SELECT pg_cancel_backend($pid)");
	is($first->wait->{state}, '57014', 'the first is cancelled');
	is($second->wait->{state}, '00000', 'the second trains');
	is($third->wait->{state}, '00000', 'the third drops the model');
	my $result = $fourth->wait;
	is($result->{state}, '42P01', 'and the fourth finds none') or diag($result->{err});
	$_->close for $first, $second, $third, $fourth;
}

# retrain in a transaction block, or a function: all or nothing.
{
	my $session = session($node);
	my $before = $session->query(answers('new'));
	my $rows = $session->query('SELECT n::text FROM new n');
	$session->query('BEGIN');
	$session->query("CALL collab.retrain('new', options => '{\"seed\": 5}')");
	my $inside = $session->query(answers('new'));
	isnt($inside, $before, 'retrain in a transaction block: seen inside');
	is($watcher->query(answers('new')), $before, 'not outside');
	$session->query('ROLLBACK');
	is($session->query(answers('new')), $before, 'and gone after ROLLBACK');
	is($session->query('SELECT n::text FROM new n'), $rows, 'with its row of the head');
	$session->query('DO $$BEGIN CALL collab.retrain(\'new\', options => \'{"seed": 5}\'); END$$');
	is($watcher->query(answers('new')), $inside, 'retrain in a DO block is the same training');
	$session->close;
}

# A training in a transaction that is prepared for two-phase commit
{
	my $session = session($node);
	my $before = $session->query(answers('new'));
	$session->query('BEGIN');
	$session->query("CALL collab.retrain('new', options => '{\"seed\": 6}')");
	my $inside = $session->query(answers('new'));
	$session->query("PREPARE TRANSACTION 'training'");
	is($session->query(answers('new')), $before, 'prepared: the old generation answers');
	fails_with($session, "CALL collab.retrain('new', nowait => true)", '55P03',
		qr/model "new" is being trained by another transaction/, 'prepared: nowait');
	$session->query("COMMIT PREPARED 'training'");
	is($session->query(answers('new')), $inside, 'committed: the new one answers');
	is($session->run("CALL collab.retrain('new', nowait => true)")->{state}, '00000', 'committed: nowait');
	$session->close;
}

# All models in one go, in a loop that stays open over the commits.
{
	my $generations = "SELECT (SELECT max(generation) FROM new), (SELECT max(generation) FROM newer)";
	my ($new, $newer) = split /\|/, $watcher->query($generations);
	$watcher->query(q{DO $$
		DECLARE m regclass;
		BEGIN
			FOR m IN SELECT model FROM collab.models LOOP
				CALL collab.retrain(m);
			END LOOP;
		END$$});
	is($watcher->query($generations), ($new + 1) . '|' . ($newer + 1), 'each model is trained once');
	is(locks_of($node, $watcher->{pid}), 'none', 'and no lock is left');
}

# Dropped by its owner by hand while it is trained: the trainer says so.
{
	my $trainer = session($node);
	$trainer->send("CALL collab.retrain('newer', options => $long)");
	ok(wait_until_true($watcher, "EXISTS (SELECT FROM newer WHERE finished IS NULL AND cardinality(train_loss) >= 1)"),
		'a retrain is under way');
	$watcher->query('DROP TABLE newer_items');
	my $result = $trainer->wait;
	is($result->{state}, '42P01', 'a table dropped under a trainer: SQLSTATE') or diag($result->{err});
	like($result->{err}, qr/table of item embeddings of model "newer" does not exist/, 'and message');
	is(locks_of($node, $trainer->{pid}), 'none', 'and no lock is left');
	$trainer->close;
}

$watcher->close;
$node->stop;
done_testing();
