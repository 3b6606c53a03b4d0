# Embeddings as pgvector's vectors: searches agree with cosine_similar and
# recommend, and indexes outlive a retrain.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use CollabTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
plan skip_all => 'pgvector is not installed (on Debian it is the package postgresql-NN-pgvector)'
  unless -e "$sharedir/extension/vector.control";

my $node = new_node('main');
my $session = session($node);
$session->query('CREATE EXTENSION vector');
$session->query(make_ratings('ratings', 300, 500, 40));
$session->query('CREATE INDEX ON ratings (user_id)');
$session->query("SELECT count(*) FROM collab.train('m', 'ratings', n_factors => 20, verbose => false)");
$session->query(q{CREATE VIEW vectors AS
	SELECT item_id, factors::vector(20) AS factors, array_append(factors, bias)::vector(21) AS factors_and_bias
	  FROM m_items WHERE n_ratings > 0});

# The nearest five by pgvector, and by collab; of both the part that agrees.
my $neighbours = q{
	WITH exact AS (
		SELECT v.item_id AS item, s.* FROM vectors v, collab.cosine_similar('m', v.item_id, 5) s WHERE v.item_id <= 100),
	found AS (
		SELECT v.item_id AS item, n.*
		  FROM vectors v, LATERAL (SELECT w.item_id, 1 - (w.factors <=> v.factors) AS similarity
									 FROM vectors w ORDER BY w.factors <=> v.factors LIMIT 6) n
		 WHERE v.item_id <= 100)
	SELECT count(f.item_id)::float8 / count(*) FROM exact e LEFT JOIN found f
		ON (f.item, f.item_id) = (e.item, e.item_id) AND abs(f.similarity - e.similarity) < 1e-5};

# The best ten by inner product, and by collab.
my $recommended = q{
	WITH exact AS (
		SELECT user_id, r.item_id FROM m_users, collab.recommend('m', user_id, 10, exclude_seen => false) r WHERE user_id <= 100),
	found AS (
		SELECT u.user_id, n.item_id
		  FROM m_users u, LATERAL (SELECT item_id FROM vectors
									ORDER BY factors_and_bias <#> array_append(u.factors, 1)::vector(21) LIMIT 10) n
		 WHERE u.user_id <= 100)
	SELECT count(f.item_id)::float8 / count(*) FROM exact LEFT JOIN found f USING (user_id, item_id)};

# The same without what the users have rated: by candidates, ranked anew.
my $ranked = q{
	WITH exact AS (
		SELECT user_id, r.* FROM m_users, collab.recommend('m', user_id, 10) r WHERE user_id <= 100),
	found AS (
		SELECT u.user_id, r.*
		  FROM m_users u, collab.recommend('m', u.user_id, 10, candidates => ARRAY(
				SELECT item_id FROM vectors
				 ORDER BY factors_and_bias <#> array_append(u.factors, 1)::vector(21) LIMIT 100)) r
		 WHERE u.user_id <= 100)
	SELECT count(f.item_id)::float8 / count(*) FROM exact LEFT JOIN found f USING (user_id, item_id, score)};

cmp_ok($session->query($neighbours), '>=', 0.999, 'exact scan: the neighbours of cosine_similar');
cmp_ok($session->query($recommended), '>=', 0.999, 'exact scan: the items of recommend');

sub by_index
{
	my ($what) = @_;
	for my $search ([ 'nearest', 'factors <=> (SELECT factors FROM vectors WHERE item_id = 1)' ],
		[ 'best', 'factors_and_bias <#> (SELECT array_append(factors, 1)::vector(21) FROM m_users WHERE user_id = 1)' ])
	{
		my ($index, $order) = @$search;
		like($session->query("EXPLAIN SELECT item_id FROM vectors ORDER BY $order LIMIT 10"),
			qr/Index Scan using $index/, "$what: the index \"$index\" is used");
	}
	cmp_ok($session->query($neighbours), '>=', 0.9, "$what: neighbours found");
	cmp_ok($session->query($recommended), '>=', 0.9, "$what: recommended items found");
	cmp_ok($session->query($ranked), '>=', 0.9, "$what: candidates ranked anew");
	return;
}

$session->query('CREATE INDEX nearest ON m_items USING hnsw ((factors::vector(20)) vector_cosine_ops) WHERE n_ratings > 0');
$session->query('CREATE INDEX best ON m_items USING hnsw ((array_append(factors, bias)::vector(21)) vector_ip_ops) WHERE n_ratings > 0');
$session->query('SET enable_seqscan = off');
$session->query('SET hnsw.ef_search = 100');
by_index('indexes');

# A retrain makes other vectors of all rows.
my $before = $session->query('SELECT md5(string_agg(factors::text, NULL ORDER BY item_id)) FROM vectors');
my $oids = $session->query("SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_class WHERE relname IN ('nearest', 'best')");
$session->query(q{CALL collab.retrain('m', options => '{"seed": 43, "verbose": false}')});
isnt($session->query('SELECT md5(string_agg(factors::text, NULL ORDER BY item_id)) FROM vectors'), $before, 'retrained');
is($session->query("SELECT string_agg(indexrelid::text, ' ' ORDER BY indexrelid) FROM pg_index
	WHERE indrelid = 'm_items'::regclass AND indisvalid AND NOT indisprimary"), $oids, 'the indexes are there');
$session->query('VACUUM m_items');
by_index('retrained');

# Vectors have as many dimensions as the index says.
fails_with($session, q{CALL collab.retrain('m', options => '{"n_factors": 10, "verbose": false}')},
	'22000', qr/expected 2[01] dimensions, not 1[01]/, 'other factors');
by_index('after an error');

# A materialized view keeps its generation until it is made anew.
$session->query('DROP INDEX nearest, best');
$session->query('ALTER VIEW vectors RENAME TO present');
$session->query('CREATE MATERIALIZED VIEW vectors AS TABLE present');
$session->query('CREATE INDEX nearest ON vectors USING hnsw (factors vector_cosine_ops)');
$session->query('CREATE INDEX best ON vectors USING hnsw (factors_and_bias vector_ip_ops)');
by_index('materialized view');
$session->query(q{CALL collab.retrain('m', options => '{"n_factors": 20, "seed": 44, "verbose": false}')});
is($session->query('SELECT count(*) FROM vectors JOIN present USING (item_id) WHERE vectors.factors = present.factors'), '0',
	'materialized view: as it was');
$session->query('REFRESH MATERIALIZED VIEW vectors');
by_index('refreshed');

$session->close;
$node->stop;
done_testing();
