#!/bin/bash
# The first copy next to pg_dump | psql: one table of some 120 bytes a row, PostgreSQL -> Kafka -> PostgreSQL, on this machine.
#   ROWS=n (1000000)   ROUNDS=n (3)   JOBS=n (2)   MODE=release   SINK=sqlite: into a file instead of PostgreSQL   KEY=: a table without one
# Each round prints both ways' rows a second, CPU-seconds and peak memory of our processes, CPU-seconds of their threads and of the servers.
# The first round has a broker that was just started: a JVM that compiles.
# limit: 3600
. "$(dirname "$0")/../flow/lib.sh"
rows=${ROWS:-1000000}

pg_start src SRC fsync=on shared_buffers=256MB max_wal_size=4GB
pg_start dst DST fsync=on shared_buffers=256MB max_wal_size=4GB
kafka_start
pg_sql src "create table big(id bigint ${KEY-primary key}, a int, b text, at timestamptz, c numeric(12, 2));
	insert into big select i, i % 1000, repeat(md5(i::text), 2), now(), i / 7.0 from generate_series(1, $rows) i;
	alter table big replica identity $([ -n "${KEY-x}" ] && echo default || echo full); vacuum analyze big; checkpoint"
port() { echo "${FLOW_PG[$1]}"; }
took() { python3 -c "print(f'{($2 - $1) / 1e6:.1f} s, {$rows * 1e6 / ($2 - $1):,.0f} rows/s')"; }
clock() { echo "${EPOCHREALTIME/./}"; }
cpu() { awk '{ print ($14 + $15) / 100 }' "/proc/${FLOW_PID[$1]}/stat"; }
# Of each thread that did something: which of them bounds it all on more cores. (A producer's copiers have ended.)
threads() {
	local t
	for t in /proc/"${FLOW_PID[$1]}"/task/*; do
		printf '%s %s\n' "$(cat "$t/comm")" "$(cut -d ' ' -f 1 "$t/schedstat")"
	done | awk '$2 > 1e8 { printf "%s%s %.2f", n++ ? ", " : "", $1, $2 / 1e9 }'
}
peak() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$1]}/status"; }

# CPU-seconds of a server: the process, its children that ended, and those that live.
tree() {
	local p=$1 c
	for c in "$p" $(pgrep -P "$p"); do cat "/proc/$c/stat" 2>/dev/null; done |
		awk '{ sub(/.*\) /, ""); s += $12 + $13; if (NR == 1) s += $14 + $15 } END { print s / 100 }'
}
cluster() { tree "$(head -n 1 "$DIR/data/pg-$1/postmaster.pid")"; }
broker() { tree "$(cat "$TOWLINE_KAFKA_RUN/kafka.pid")"; }
less() { python3 -c "print(f'{$1 - $2:.1f}')"; }
arrived() {
	case ${SINK:-pg} in
	# To count them all the time would cost more than to write them.
	pg) [ "$(pg_sql dst "select pg_relation_size('big') >= $full * 0.98")" = t ] && [ "$(pg_sql dst 'select count(*) from big')" = "$rows" ] ;;
	*) [ "$(sqlite3 -readonly "$1" 'select count(*) from big')" = "$rows" ] ;;
	esac
}

plain() {
	local from before
	before=("$(cluster src)" "$(cluster dst)")
	from=$(clock)
	"$PGBIN/pg_dump" -h 127.0.0.1 -p "$(port src)" -U postgres -t big postgres |
		"$PGBIN/psql" -X -q -h 127.0.0.1 -p "$(port dst)" -U postgres postgres >/dev/null
	say "pg_dump | psql: $(took "$from" "$(clock)"); servers, CPU-s: source $(less "$(cluster src)" "${before[0]}"), sink $(less "$(cluster dst)" "${before[1]}")"
	full=$(pg_sql dst "select pg_relation_size('big')")
	pg_sql dst 'drop table big; checkpoint'
}

ours() {
	local name=$NAME$1 from before sink=$DST
	[ "${SINK:-pg}" = pg ] || sink=sqlite:$DIR/data/copy$1.db
	cat >"$DIR/conf.yaml" <<-E2
	name: $name
	source: $SRC
	snapshot: { jobs: ${JOBS:-2} }
	tables: [public.big]
	kafka: { brokers: $BROKERS }
	sinks: { copy: "$sink" }
	E2
	before=("$(cluster src)" "$(cluster dst)" "$(broker)")
	towline_start "copy" consumer -c "$DIR/conf.yaml" copy
	towline_start "producer" producer -c "$DIR/conf.yaml"
	wait_for 60 "grep -q 'copying a table' $DIR/producer.log"
	from=$(clock)
	wait_for 3000 "grep -q 'table copied' $DIR/producer.log"
	say "towline, in Kafka: $(took "$from" "$(clock)")"
	wait_for 3000 "arrived $DIR/data/copy$1.db"
	say "towline, end to end: $(took "$from" "$(clock)"); CPU-s: producer $(cpu producer) ($(threads producer))," \
		"sink $(cpu copy) ($(threads copy)); peak $(peak producer), $(peak copy) MB;" \
		"servers, CPU-s: source $(less "$(cluster src)" "${before[0]}"), sink $(less "$(cluster dst)" "${before[1]}"), Kafka $(less "$(broker)" "${before[2]}")"
	[ "${SINK:-pg}" != pg ] || same_pg src dst big
	towline_kill producer
	towline_kill copy
	pg_sql src "select pg_drop_replication_slot(slot_name) from pg_replication_slots; drop publication if exists towline_$name"
	pg_sql dst 'drop table if exists big; drop schema if exists towline cascade; checkpoint'
	rm -f "$DIR/producer.log" "$DIR/copy.log"
}

for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
	plain
	ours "$round"
done
