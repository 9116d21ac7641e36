# shellcheck shell=bash disable=SC2034 # NAME, STATUS, BROKERS, REGISTRY are for the tests
# lib.sh - what the flow tests share: servers of their own, waiting for a condition, digests, cleaning up.
#
#	#!/bin/bash
#	# limit: 60                           seconds; without this line FLOW_LIMIT, or 120
#	. "$(dirname "$0")/lib.sh"
#	pg_start src SRC                      # SRC is its URL
#	kafka_start                           # $BROKERS; one broker for all tests of a run: use $NAME as the topic prefix
#	towline_start producer run "$conf"    # its output: $DIR/producer.log
#	pg_sql src "insert into t values (1)"
#	wait_for 10 'same_pg src dst t'
#
# PG_VERSION=14..18 (tests/flow/run, make flow PG=17) makes all servers of that version instead of the machine's, PG_VERSION=vector of one
# that has pgvector; a test that wants
# two says PG_VERSION=14 pg_start old OLD. psql, pgbench and pg_dump are always the machine's, in $PGBIN.
#
# A test passes when it ends with 0 and no sanitizer complained in a log; it ends with 77 by `skip`. Whatever happens, everything it
# started is stopped by pid and its data removed; when it fails, the ends of the logs are shown.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOWLINE=${TOWLINE:-$ROOT/build/${MODE:-debug}/towline}
DIR=${FLOW_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/flow.XXXXXX")} # logs stay here when the test fails
NAME=t$$                                                    # for topics, slots, publications: no other test's
declare -A FLOW_PID=() FLOW_PG=() FLOW_BIN=()               # programs and servers by name; ports and binaries of the latter
FLOW_OWN_KAFKA='' FLOW_OWN_REGISTRY=''

chmod 711 "$DIR" # the postgres user passes through
mkdir -p "$DIR/data"
chmod 711 "$DIR/data"

say() { printf '%s %s\n' "$(date +%T.%3N)" "$*"; }
flunk() { say "FLUNKED: $*" >&2; exit 1; }

# refute CMD...: it must fail. ("! cmd" would not end a test: the shell's errexit looks away from it.)
refute() { if "$@"; then flunk "was expected to fail: $*"; fi; }
skip() { say "skipped: $*"; exit 77; }

# ---- ports ----

flow_port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port VAR: one that nobody listens on, below the range that the kernel gives to clients; $VAR + 1 is free too.
free_port() {
	local p i
	for ((i = 0; i < 200; i++)); do
		p=$((10000 + (RANDOM * 2 + i * 2) % 20000))
		flow_port_open "$p" || flow_port_open $((p + 1)) || { printf -v "$1" %s "$p"; return 0; }
	done
	flunk "no free port"
}

# ---- PostgreSQL ----

flow_pgbin() {
	local d
	for d in "${PGBIN:-}" "$(pg_config --bindir 2>/dev/null || true)" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
		[ ! -x "$d/initdb" ] || { echo "$d"; return 0; }
	done
	flunk "no PostgreSQL server found; apt-get install -y postgresql, or set PGBIN"
}

# The server's programs, of PG_VERSION.
flow_server_bin() {
	if [ -n "${PG_VERSION:-}" ]; then
		setsid -w "$ROOT/deploy/postgres/postgres" bin "$PG_VERSION"
	else
		flow_pgbin
	fi
}

# PostgreSQL refuses to run as root.
flow_as_pg() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

# pg_start NAME VAR [setting=value...]: a new server with logical decoding; VAR gets its URL.
pg_start() {
	local name=$1 var=$2 port data=$DIR/data/pg-$1
	shift 2
	PGBIN=$(flow_pgbin)
	FLOW_BIN[$name]=$(flow_server_bin) || flunk "no PostgreSQL ${PG_VERSION:-}"
	free_port port
	mkdir "$data"
	[ "$(id -u)" != 0 ] || chown postgres "$data"
	touch "$DIR/pg-$name.log"
	[ "$(id -u)" != 0 ] || chown postgres "$DIR/pg-$name.log"
	flow_as_pg "${FLOW_BIN[$name]}/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions \
		>"$DIR/initdb-$name.log" 2>&1 || flunk "initdb: $(cat "$DIR/initdb-$name.log")"
	rm "$DIR/initdb-$name.log"
	{
		printf '%s\n' "port = $port" "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" \
			'wal_level = logical' 'max_wal_senders = 20' 'max_replication_slots = 20' 'fsync = off' \
			'shared_buffers = 64MB' 'max_connections = 100'
		(($# == 0)) || printf '%s\n' "$@"
	} >>"$data/postgresql.conf"
	FLOW_PG[$name]=$port
	pg_up "$name"
	printf -v "$var" %s "postgresql://postgres@127.0.0.1:$port/postgres"
	[[ ${PG_VERSION:-} != [0-9]* ]] || [ "$(pg_major "$name")" = "$PG_VERSION" ] || flunk "PostgreSQL $name is not version $PG_VERSION"
}

# pg_up NAME, pg_down NAME [fast|immediate]: a server that pg_start made stops and goes on, with its data and port.
pg_up() {
	flow_as_pg "${FLOW_BIN[$1]}/pg_ctl" -D "$DIR/data/pg-$1" -l "$DIR/pg-$1.log" -t 30 -w -s start </dev/null >&2 ||
		flunk "PostgreSQL $1 does not start"
}

pg_down() { flow_as_pg "${FLOW_BIN[$1]}/pg_ctl" -D "$DIR/data/pg-$1" -m "${2:-fast}" -t 30 -w -s stop; }

# pg_sql NAME [SQL]: run it, or standard input, statement by statement; prints rows with | between the columns.
pg_sql() {
	local port=${FLOW_PG[$1]}
	if (($# > 1)); then
		printf '%s\n' "$2" | PGOPTIONS='-c client_min_messages=warning' "$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 \
			-h 127.0.0.1 -p "$port" -U postgres -d "${FLOW_DB:-postgres}" -f -
	else
		"$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d "${FLOW_DB:-postgres}" -f -
	fi
}

# pg_major NAME: 15
pg_major() { FLOW_DB=postgres pg_sql "$1" "select current_setting('server_version_num')::int / 10000"; }

# digest_pg NAME TABLE: one number for all rows, whatever their order on disk.
digest_pg() {
	pg_sql "$1" "select count(*) || ':' || md5(coalesce(string_agg(r, e'\n' order by r collate \"C\"), '')) from (select t::text r from $2 t) s"
}

# same_pg NAME NAME TABLE...: both servers hold the same rows.
same_pg() {
	local a=$1 b=$2 t left right
	shift 2
	for t; do
		left=$(digest_pg "$a" "$t") && right=$(digest_pg "$b" "$t") && [ "$left" = "$right" ] || return 1
	done
}

# ---- Kafka and a registry ----

# kafka_start: BROKERS. One broker serves all tests of a run; a test that wants to hurt it calls kafka_start_own, then
# `kafka stop` and `kafka start` as it likes.
kafka_start() {
	if [ -n "${FLOW_SHARED:-}" ]; then
		flow_kafka "$FLOW_SHARED/kafka"
	else
		kafka_start_own
	fi
}

kafka_start_own() {
	FLOW_OWN_KAFKA=1
	flow_kafka "$DIR/data/kafka"
}

flow_kafka() {
	export TOWLINE_KAFKA_RUN=$1 KAFKA_PORT
	if [ -s "$1.port" ] && flow_port_open "$(cat "$1.port")"; then
		KAFKA_PORT=$(cat "$1.port")
	else
		free_port KAFKA_PORT
		kafka start >"$DIR/kafka-start.log" 2>&1 || flunk "$(cat "$DIR/kafka-start.log")"
		echo "$KAFKA_PORT" >"$1.port"
	fi
	BROKERS=127.0.0.1:$KAFKA_PORT
}

# In a session of its own: the end of the test that happened to start a shared broker does not end the broker.
kafka() { setsid -w "$ROOT/deploy/kafka/kafka" "$@"; }

topic_tool() {
	local cc
	read -ra cc <<<"${CC:-cc}" # it may be two words
	[ -x "$DIR/data/topic_tool" ] || "${cc[@]}" -std=c11 -D_GNU_SOURCE -O1 -o "$DIR/data/topic_tool" "$ROOT/tests/flow/topic_tool.c" -lrdkafka
	"$DIR/data/topic_tool" "$BROKERS" "$@"
}

# registry_start, registry_start_own: REGISTRY, the URL; as with Kafka.
registry_start() {
	if [ -n "${FLOW_SHARED:-}" ]; then
		flow_registry "$FLOW_SHARED/registry"
	else
		registry_start_own
	fi
}

registry_start_own() {
	FLOW_OWN_REGISTRY=1
	flow_registry "$DIR/data/registry"
}

flow_registry() {
	export TOWLINE_REGISTRY_RUN=$1 REGISTRY_PORT
	if [ -s "$1.port" ] && flow_port_open "$(cat "$1.port")"; then
		REGISTRY_PORT=$(cat "$1.port")
	else
		free_port REGISTRY_PORT
		registry start >"$DIR/registry-start.log" 2>&1 || flunk "$(cat "$DIR/registry-start.log")"
		echo "$REGISTRY_PORT" >"$1.port"
	fi
	REGISTRY=http://127.0.0.1:$REGISTRY_PORT/apis/ccompat/v7
}

registry() { setsid -w "$ROOT/deploy/registry/registry" "$@"; }

# ---- towline ----

# towline_start LOGNAME ARGS...: in the background; the same name again goes on in the same log.
towline_start() {
	local name=$1
	shift
	say "towline $*" >>"$DIR/$name.log"
	"$TOWLINE" "$@" >>"$DIR/$name.log" 2>&1 </dev/null &
	FLOW_PID[$name]=$!
	echo $! >>"$DIR/data/pids" # for the runner, should this shell be killed
}

# A number that is free again may be another's before long: who is not our child is not meant.
flow_child() {
	local parent=''
	read -r _ _ _ parent _ <"/proc/$1/stat"
	[ "$parent" = $$ ]
} 2>/dev/null

towline_alive() { [ -n "${FLOW_PID[$1]:-}" ] && flow_child "${FLOW_PID[$1]}"; }

# towline_wait NAME SECONDS: until it ends by itself; its exit code is in STATUS.
towline_wait() {
	wait_for "$2" "! towline_alive $1"
	STATUS=0
	wait "${FLOW_PID[$1]}" 2>/dev/null || STATUS=$?
}

# towline_kill NAME [SIGNAL]: send it; for one that ends a program, wait for the end, exit code in STATUS.
towline_kill() {
	kill -s "${2:-TERM}" "${FLOW_PID[$1]}"
	case ${2:-TERM} in
	STOP | CONT | HUP | USR1 | USR2) ;;
	*) towline_wait "$1" 30 ;;
	esac
}

# ---- waiting ----

# wait_for SECONDS CONDITION: try the command every 50 ms. Its last words and the logs' ends tell why it did not come true.
wait_for() {
	local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
	until (eval "$2") >"$DIR/data/condition" 2>&1; do
		if ((${EPOCHREALTIME/./} > until)); then
			say "not true after $1 s: $2" >&2
			tail -n 5 "$DIR/data/condition" >&2
			exit 1
		fi
		sleep 0.05
	done
}

# ---- the end ----

flow_tails() {
	local f
	for f in "$DIR"/*.log; do
		[ -s "$f" ] || continue
		printf -- '---- %s\n' "${f##*/}"
		tail -n "${FLOW_TAIL:-15}" "$f"
	done
}

# A program that is asked to stop gets a moment; one that hangs, or was stopped, is killed.
flow_stop_all() {
	local name pid i
	for name in "${!FLOW_PID[@]}"; do
		pid=${FLOW_PID[$name]}
		flow_child "$pid" || continue
		kill -s TERM "$pid" 2>/dev/null || continue
		kill -s CONT "$pid" 2>/dev/null || true
		for ((i = 0; i < ${FLOW_GRACE:-5} * 20; i++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.05
		done
		kill -s KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	for name in "${!FLOW_PG[@]}"; do
		pg_down "$name" immediate >/dev/null 2>&1 || true
	done
	[ -z "$FLOW_OWN_KAFKA" ] || kafka reset || true
	[ -z "$FLOW_OWN_REGISTRY" ] || registry stop || true
}

flow_end() {
	local status=$? bad
	trap - EXIT
	trap '' INT TERM # the second signal of an impatient runner does not cut the cleaning short
	set +e
	flow_stop_all
	bad=$(grep -lE 'ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$DIR"/*.log 2>/dev/null)
	if [ "$status" = 0 ] && [ -n "$bad" ]; then
		say "a sanitizer complained in $bad"
		status=1
	fi
	case $status in
	0 | 77) [ -n "${FLOW_DIR:-}" ] || rm -rf "$DIR" ;;
	*)
		flow_tails
		say "failed with $status; logs in $DIR"
		;;
	esac
	rm -rf "$DIR/data"
	exit "$status"
} >&2

trap flow_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
