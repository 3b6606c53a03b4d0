# shellcheck shell=bash
#
# What the scripts and the benchmarks share: packages, a private copy of the
# PostgreSQL installation with collab in it, and private clusters.
#
# Nothing of the machine's own PostgreSQL is touched: the programs are copied
# to a temporary folder (they find their files relative to themselves), the
# extension is installed into the copy, and clusters listen on a socket there.
# Everything is removed when the script ends.

# shellcheck disable=SC2034	# used by the scripts
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LC_ALL=C.UTF-8 PGTZ=UTC
unset PGDATABASE PGSERVICE PGHOST PGPORT PGOPTIONS PGDATA

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Runs a command, quietly unless it fails.
quietly() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		die "failed: $*"
	fi
	rm -f "$log"
}

#
# Packages
#

apt() {
	DEBIAN_FRONTEND=noninteractive quietly \
		apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

packages_updated=
update_packages() {
	[ -z "$packages_updated" ] || return 0
	command -v apt-get >/dev/null ||
		die "this system has no apt-get: install what is missing by hand and set PG_CONFIG"
	apt update
	packages_updated=1
}

# need_packages NAME...: installs those that are missing.  No package of
# PostgreSQL creates or starts a cluster on that occasion.
createcluster_conf=/etc/postgresql-common/createcluster.conf
createcluster_kept=
need_packages() {
	local package missing=()
	command -v dpkg-query >/dev/null || return 0
	for package; do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing, and only root can install them: ${missing[*]}"
	echo "installing ${missing[*]}" >&2
	update_packages
	if [[ " ${missing[*]} " =~ \ postgresql-[0-9]+\  ]]; then
		installed postgresql-common || apt install -y --no-install-recommends postgresql-common
		createcluster_kept=$(mktemp)
		cp -p "$createcluster_conf" "$createcluster_kept"
		echo 'create_main_cluster = false' >>"$createcluster_conf"
	fi
	apt install -y --no-install-recommends "${missing[@]}"
	restore_createcluster
}

restore_createcluster() {
	[ -z "$createcluster_kept" ] || mv "$createcluster_kept" "$createcluster_conf"
	createcluster_kept=
}

# need_server [NAME...]: what building and running takes, and further packages
# (@ in a name stands for the server's major version).  The server is that of
# PG_CONFIG, else of PG_MAJOR, else the newest that extensions can be built for
# here, else the distribution's own.
need_server() {
	local dir
	if [ -z "${PG_CONFIG-}" ]; then
		if [ -z "${PG_MAJOR-}" ]; then
			for dir in /usr/lib/postgresql/*/lib/pgxs; do
				[ -d "$dir" ] || continue
				dir=${dir%/lib/pgxs}
				PG_MAJOR=${dir##*/}
			done
		fi
		if [ -z "${PG_MAJOR-}" ]; then
			update_packages
			PG_MAJOR=$(apt-cache policy postgresql | sed -n 's/^ *Candidate: \([0-9]*\)+.*/\1/p')
		fi
		[ -n "$PG_MAJOR" ] || die 'no PostgreSQL found: set PG_CONFIG'
		need_packages "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
		PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
	fi
	PG_CONFIG=$(command -v "$PG_CONFIG") || die 'there is no pg_config: set PG_CONFIG'
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	need_packages libopenblas0 gcc make libc6-dev perl "${@//@/$PG_MAJOR}"
}

# want_packages NAME...: installs those that the archive has (@ as above).
# Tests that use one are skipped where it is missing.
want_packages() {
	local package found=()
	[ "$(id -u)" = 0 ] && command -v apt-cache >/dev/null || return 0
	for package in "${@//@/$PG_MAJOR}"; do
		[ -z "$(apt-cache madison "$package" 2>/dev/null)" ] || found+=("$package")
	done
	need_packages "${found[@]}"
}

#
# The temporary folder
#

work=
clusters=()
clean_up() {
	local status=$? data
	trap - EXIT INT TERM
	for data in "${clusters[@]}"; do
		as_postgres "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
	done
	restore_createcluster
	[ -z "$work" ] || rm -rf "$work"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The server refuses to run as root; an ordinary user runs it as himself.
if [ "$(id -u)" = 0 ]; then
	as_postgres() { (cd "${work:-/}" && HOME=${work:-/} exec runuser -u postgres -- "$@"); }
else
	as_postgres() { (cd "${work:-/}" && HOME=${work:-/} exec "$@"); }
fi

make_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/collab.XXXXXX")
	mkdir "$work/socket" "$work/log"
	chmod 755 "$work"
	chmod 711 "$work/socket"
	own "$work"
}

own() {
	[ "$(id -u)" != 0 ] || chown -R postgres: "$@"
}

#
# Building
#

# The source tree as it stands (what git knows or would know), in $work/source.
copy_source() {
	mkdir "$work/source"
	if git -c safe.directory="$root" -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		git -c safe.directory="$root" -C "$root" ls-files -z --cached --others --exclude-standard |
			(cd "$root" && tar --null --ignore-failed-read -T - -cf - 2>/dev/null) |
			tar -xf - -C "$work/source"
	else
		tar -C "$root" --exclude '*.o' --exclude '*.bc' --exclude '*.so' -cf - . |
			tar -xf - -C "$work/source"
	fi
	own "$work/source"
}

# The server's programs, in $work/pg; sets PG_CONFIG and bin to the copy.
copy_postgres() {
	local dir pg=$work/pg
	mkdir "$pg"
	for dir in bindir libdir pkglibdir sharedir; do
		dir=$("$PG_CONFIG" --"$dir")
		case $dir in
			/usr/lib | /usr/lib/*-linux-gnu* | /lib | /lib/*-linux-gnu*) continue ;;
		esac
		mkdir -p "$pg$dir"
		cp -aL "$dir/." "$pg$dir/"
	done
	# headers are only read
	for dir in includedir includedir-server; do
		dir=$("$PG_CONFIG" --"$dir")
		mkdir -p "$pg${dir%/*}"
		[ -e "$pg$dir" ] || ln -s "$dir" "$pg$dir"
	done
	own "$pg"
	PG_CONFIG=$pg$("$PG_CONFIG" --bindir)/pg_config
	[ "$("$PG_CONFIG" --pkglibdir | cut -c 1-${#pg})" = "$pg" ] ||
		die "the PostgreSQL of this machine cannot be copied: its files are not found relative to its programs"
	bin=$("$PG_CONFIG" --bindir)
	PATH=$bin:$PATH
	export PG_CONFIG PATH
}

# build_and_install [MAKE ARGUMENT...]: from $work/source into $work/pg.
build_and_install() {
	local log=$work/log/build
	if ! as_postgres make -s -C "$work/source" -j "$(nproc)" PG_CONFIG="$PG_CONFIG" "$@" >"$log" 2>&1 ||
		! as_postgres make -s -C "$work/source" PG_CONFIG="$PG_CONFIG" "$@" install >>"$log" 2>&1; then
		cat "$log" >&2
		die 'the extension does not build'
	fi
}

# All of the above, for a script that needs nothing special.
prepare() {
	need_server "$@"
	make_work
	copy_source
	copy_postgres
	build_and_install with_llvm=no
}

#
# Clusters
#

# start_cluster NAME [SETTING...]: on a socket of its own; exports PGHOST,
# PGPORT and PGUSER for it.
start_cluster() {
	local name=$1 data=$work/$1 setting
	shift
	PGHOST=$work/socket PGPORT=$((51000 + ${#clusters[@]})) PGUSER=postgres
	export PGHOST PGPORT PGUSER
	as_postgres "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N \
		>"$work/log/initdb.$name" 2>&1 || {
		cat "$work/log/initdb.$name" >&2
		die 'initdb failed'
	}
	as_postgres tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		port = $PGPORT
		unix_socket_directories = '$PGHOST'
		unix_socket_permissions = 0700
		log_line_prefix = '%m [%p] '
		timezone = 'UTC'
		autovacuum_naptime = 1h
		shared_buffers = 512MB
		max_wal_size = 4GB
	CONF
	for setting; do
		echo "$setting" | as_postgres tee -a "$data/postgresql.conf" >/dev/null
	done
	clusters+=("$data")
	as_postgres "$bin/pg_ctl" -D "$data" -l "$work/log/server.$name" -w start >/dev/null || {
		cat "$work/log/server.$name" >&2
		die 'the server does not start'
	}
}

stop_cluster() {
	as_postgres "$bin/pg_ctl" -D "$work/$1" -m fast -w stop >/dev/null
}

# sql [PSQL ARGUMENT...]: unaligned output without headers, stops at errors.
sql() {
	"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# watch_memory PIDFILE: waits for the file with a backend's pid; when that
# process has gone, prints its own memory (RssAnon, kB) at first and at most.
# shellcheck disable=SC2016
watch_memory() {
	perl -e 'use Time::HiRes "sleep";
		my ($pid, $first, $most);
		while (-d $ARGV[1]) { if (open my $f, "<", $ARGV[0]) { $pid = <$f>; last if defined $pid && $pid =~ s/^(\d+)\n.*/$1/s } sleep 0.01 }
		while ($pid) {
			open my $f, "<", "/proc/$pid/status" or last;
			my ($now) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$f>;
			last unless defined $now;
			$first //= $now;
			$most = $now if !defined $most || $now > $most;
			sleep 0.002;
		}
		print "$first $most\n";' "$1" "$work"
}

# median NUMBER...
median() {
	printf '%s\n' "$@" | sort -g | awk '{ x[NR] = $1 }
		END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

#
# MovieLens 100K.  GroupLens' terms forbid redistribution: a folder of the
# user's own, or a download from GroupLens.
#

movielens_url=https://files.grouplens.org/datasets/movielens/ml-100k.zip
movielens_md5=6e47046882bad158b0efbb84cd5cb987

# Prints the folder with u.data and u.item, or nothing.
find_movielens() {
	local dir=${COLLAB_ML100K-}
	[ -n "$dir" ] && [ -r "$dir/u.data" ] && [ -r "$dir/u.item" ] || return 0
	(cd "$dir" && pwd)
}

# download_movielens FOLDER: succeeds when FOLDER/ml-100k is there and sound.
download_movielens() {
	local zip=$1/ml-100k.zip
	need_packages curl ca-certificates unzip || return
	curl -fsSL --connect-timeout 10 --max-time 120 -o "$zip" "$movielens_url" || return
	unzip -q "$zip" -d "$1" || return
	echo "$movielens_md5  $1/ml-100k/u.data" | md5sum --status -c - ||
		die "$movielens_url is not what it was: the checksum of u.data differs"
}

# load_movielens FOLDER [PSQL ARGUMENT...]: tables ratings and movies.
load_movielens() {
	local dir=$1
	shift
	[ -r "$dir/u.data" ] || die 'COLLAB_ML100K must name a folder with u.data and u.item'
	(cd "$dir" && sql "$@" -f "$root/examples/movielens.sql")
}

# load_splits FOLDER: table lines (line, user_id, title, rating) and table
# splits (split, line): the held-out lines of FOLDER/splits/NAME.valid with
# plain numbers as names, else of one split that is made here.
load_splits() {
	local file
	load_movielens "$1"
	sql -c 'CREATE TABLE lines (line integer, user_id integer, title text, rating real);
		CREATE TABLE splits (split text, line integer);
		CREATE TEMPORARY TABLE raw (line serial, user_id integer, item_id integer, rating real, seconds bigint)' \
		-c "\\copy raw (user_id, item_id, rating, seconds) FROM '$1/u.data'" \
		-c 'INSERT INTO lines SELECT line, user_id, title, rating FROM raw JOIN movies USING (item_id) ORDER BY line'
	for file in "$1"/splits/[0-9]*.valid; do
		[ -r "$file" ] || continue
		sed "s/^/$(basename "$file" .valid)\t/" "$file" | sql -c '\copy splits FROM STDIN'
	done
	sql -c "INSERT INTO splits SELECT 'hash', line FROM lines
		WHERE hashint8extended(line, 0) % 5 = 0 AND NOT EXISTS (SELECT FROM splits)"
}
