# Tables that are altered while a training is under way, and rows that a
# transaction reads of its own writing: nothing is read as what it is not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use Test::More;

my $node = new_node('main');
my $other = session($node);
$other->query(make_ratings('ratings', 300, 60, 20));
$other->query(make_ratings('long_ratings', 10_000, 500, 20));
$other->query('UPDATE long_ratings SET user_id = user_id * 4');

# A source whose ids change their type between the look at its columns and the
# cursor: the trainer waits for the name in between.
$other->query('CREATE TABLE source AS SELECT * FROM ratings');
my $holder = session($node);
$holder->query("BEGIN; SELECT count(*) FROM collab.train('m', 'ratings', verbose => false)");
my $trainer = session($node);
$trainer->send("SELECT count(*) FROM collab.train('m', 'source', verbose => false)");
ok(wait_until_true($other, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $trainer->{pid})"),
	'a trainer waits for the name');
$other->query('ALTER TABLE source ALTER user_id TYPE text USING repeat(user_id::text, 3)');
$holder->query('ROLLBACK');
my $result = $trainer->wait;
is($result->{state}, '55000', 'a source altered meanwhile is refused');
like($result->{err}, qr/column "user_id" of public\.source was altered while it was being trained on/, '... by name');

# Embeddings whose key changes its type between two epochs.
$other->query("SELECT count(*) FROM collab.train('m', 'long_ratings', verbose => false, n_epochs => 1)");
my $before = $other->query(answers('m'));
for my $type ('uuid USING gen_random_uuid()', 'smallint USING user_id % 10000')
{
	$other->query('CREATE TABLE kept AS SELECT * FROM m_users');
	$trainer->send(q{CALL collab.retrain('m', options => '{"n_epochs": 400}')});
	ok(wait_until_true($other, 'EXISTS (SELECT FROM m WHERE finished IS NULL AND cardinality(train_loss) > 1)'),
		'a retrain is between epochs');
	$other->query('BEGIN; ALTER TABLE m_users DROP CONSTRAINT IF EXISTS m_users_pkey');
	$other->query("ALTER TABLE m_users ALTER user_id TYPE $type; COMMIT");
	$result = $trainer->wait;
	is($result->{state}, $type =~ /uuid/ ? '42804' : '22003', "a key altered to $type stops it");
	$other->query('DROP TABLE m_users');
	$other->query('ALTER TABLE kept RENAME TO m_users');
	$other->query("UPDATE m SET users = 'm_users'");
}

# An option that the head lacks has the default of train(); one number is all
# that the heads of all versions share.
my $options = $other->query('SELECT options FROM m ORDER BY generation LIMIT 1');
$other->query("UPDATE m SET options = '{\"n_epochs\": 1, \"verbose\": false}'");
$other->query(q{CALL collab.retrain('m')});
is($other->query('SELECT options FROM m ORDER BY generation DESC LIMIT 1'), $options,
	'missing options have the defaults of train()');

# A snapshot older than the last training or touch: an error that clients retry on.
my $stale = session($node);
$stale->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ratings; SAVEPOINT a');
$other->query(q{CALL collab.retrain('m')});
fails_with($stale, $_, '40001', qr/could not serialize access/, "$_ under an old snapshot"), $stale->query('ROLLBACK TO a')
  for q{CALL collab.retrain('m')}, q{SELECT collab.touch('m')}, q{SELECT collab.add_users('m')},
  q{SELECT collab.train('m', 'long_ratings', replace => true)};
$stale->query('ROLLBACK; SET default_transaction_isolation = \'repeatable read\'');
is($stale->run(q{CALL collab.retrain('m')})->{state}, '00000', 'a retrain of its own has snapshots of its own');
$stale->close;

# What touch() would publish must be what readers take.
fails_with($other, q{BEGIN; UPDATE m_items SET bias = 'Infinity' WHERE item_id = 1; SELECT collab.touch('m')},
	'55000', qr/embedding of item 1 in table "m_items" is damaged/, 'touch of a damaged embedding');
$other->query('ROLLBACK');

# Rows of one's own: a hand edit that is rolled back ...
$before = $other->query(answers('m'));
my $reader = session($node);
$reader->query('BEGIN; UPDATE m_items SET bias = 9');
isnt($reader->query(answers('m')), $before, 'a transaction reads its own edits');
$reader->query('ROLLBACK');
is($reader->query(answers('m')), $before, '... and nothing of them once they are rolled back');

# ... and a trigger that looks at a half-written model.
$other->query('CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM collab.predict($m$m$m$, 1, 1); RETURN NULL; END$$');
$other->query('CREATE TRIGGER look AFTER UPDATE ON m_users FOR EACH STATEMENT EXECUTE FUNCTION look()');
$reader = session($node);
$reader->query('BEGIN');
$reader->query('DECLARE old CURSOR FOR ' . answers('m'));
$reader->query(q{CALL collab.retrain('m', options => '{"seed": 7}')});
is($reader->query('FETCH old'), $before, 'a cursor keeps the old generation whole');
isnt($reader->query(answers('m')), $before, 'what follows reads the new one');
$reader->query('ROLLBACK');
is($reader->query(answers('m')), $before, 'a rollback brings the old one back');

# A retrain that fails in a block gives its memory back at once.
sub training_memory
{
	return $reader->query("SELECT coalesce(sum(total_bytes), 0) FROM pg_backend_memory_contexts WHERE name LIKE 'collab %train%'");
}
$reader->query(q{DO $$ BEGIN CALL collab.retrain('m', options => '{"y_range": [0, 1e10]}');
	RAISE 'it did not fail'; EXCEPTION WHEN numeric_value_out_of_range THEN IF (SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'collab %train%') > 0
	THEN RAISE 'memory is left'; END IF; END $$});
pass('a failed retrain leaves no memory behind in its block');
is(training_memory(), 0, '... nor after it');

$_->close for $other, $holder, $trainer, $reader;
done_testing();
