#!/bin/bash
# kafka: embedded. The broker's memory dies with the process and holds 5 MiB a partition; nothing is lost all the same, and nothing comes twice.
#   KILLS=n   how many (5)
# limit: 150
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"
kills=${KILLS:-5}

pg_start src SRC
pg_start dst DST
EDGE=$DIR/data/edge.db
world embedded <<EOF
kafka: embedded
sinks:
  copy: ${DST%/*}/embedded
  edge: sqlite:$EDGE
EOF

# SQLite: counts and sums; one statement that both sides understand.
sums='select count(*), coalesce(sum(id), 0), coalesce(sum(n), 0), coalesce(sum(length(pad)), 0) from big'
log_sums='select count(*), count(distinct line), coalesce(sum(line), 0) from log'
lite() { sqlite3 -cmd '.timeout 5000' -separator '|' "$EDGE" "$1"; }
lite_same() { [ "$(lite "$sums")" = "$(pg_sql src "$sums")" ] && [ "$(lite "$log_sums")" = "$(pg_sql src "$log_sums")" ]; }

# The most memory the process ever had, in MB. (A sanitizer's says nothing.)
peak() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[embedded.run]}/status"; }
light() { [ "${MODE:-debug}" = asan ] || [ "$(peak)" -lt 100 ] || flunk "peak memory $(peak) MB"; }

pg_sql src "create table big(id int primary key, n int, pad text); create table log(line int); alter table log replica identity full"
tl run run -c "$CONF"
streams run
says run 'broker: embedded (in memory, for trials; not for production)'

# ---- more than it can hold ----

case_volume() {
	for i in 0 1 2 3 4 5; do
		pg_sql src "insert into big select $i * 10000 + i, i, repeat(md5(i::text), 32) from generate_series(1, 10000) i"
	done
	pg_sql src "update big set n = n + 1 where id % 10 = 0; delete from big where id % 100 = 1; insert into log select generate_series(1, 100)"
	wait_for 60 'same_pg src dst big log'
	wait_for 60 lite_same
	say "60 MB through, peak $(peak) MB"
	light
}

case_large() {
	pg_sql src "insert into big select 100000 + i, i, repeat('x', 100) from generate_series(1, 200000) i"
	wait_for 60 'same_pg src dst big'
	wait_for 60 lite_same
	say "200,000 rows in one transaction, peak $(peak) MB"
	light
}

# ---- a sink that stands still ----

# Another program holds the SQLite file, and more than the broker may hold is written meanwhile: the source keeps it.
case_held() {
	local fd i lsn
	exec {fd}> >(exec sqlite3 -cmd '.timeout 10000' "$EDGE" >"$DIR/data/held" 2>&1)
	echo 'begin exclusive; select count(*) from log;' >&"$fd"
	wait_for 10 "[ -s $DIR/data/held ]"
	lsn=$(pg_sql src 'select pg_current_wal_insert_lsn()')
	for i in 1 2 3 4; do
		pg_sql src "insert into big select 1000000 + $i * 10000 + i, i, repeat(md5(i::text), 100) from generate_series(1, 3000) i"
	done
	pg_sql src 'insert into log values (777)'
	# SQLite waits 10 s for a lock, then the sink says so and begins again.
	says run 'database is locked'
	[ "$(pg_sql src "select confirmed_flush_lsn <= '$lsn' from pg_replication_slots")" = t ] || flunk "the source was told that all is safe"
	echo 'rollback;' >&"$fd"
	exec {fd}>&-
	wait_for 60 lite_same
	wait_for 60 'same_pg src dst big log'
	light
}

# ---- kill -9 ----

# Lines of the log have no key: whatever came twice would be there twice.
case_kill() {
	local k until
	pg_sql src 'create sequence line start 1000'
	printf '%s\n' '\set i random(1, 100000)' 'begin;' "insert into log values (nextval('line'));" 'update big set n = n + 1 where id = :i;' 'commit;' >"$DIR/data/line.sql"
	"$PGBIN/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/data/line.sql" -c 2 -R 1000 -T 600 embedded >"$DIR/pgbench.log" 2>&1 &
	FLOW_PID[pgbench]=$!
	for ((k = 0; k < kills; k++)); do
		until=$((${EPOCHREALTIME/./} + (RANDOM % 1500 + 100) * 1000))
		wait_for 10 "((\${EPOCHREALTIME/./} > $until))"
		towline_alive embedded.run || flunk "ended by itself"
		light
		towline_kill embedded.run KILL
		tl run run -c "$CONF"
	done
	kill -s TERM "${FLOW_PID[pgbench]}"
	wait "${FLOW_PID[pgbench]}" || true
	unset 'FLOW_PID[pgbench]'
	wait_for 60 'same_pg src dst big log'
	wait_for 60 lite_same
	[ "$(pg_sql dst 'select count(*) = count(distinct line) from log where line >= 1000')" = t ]
	say "$kills kills survived, $(pg_sql src 'select count(*) from log') lines, peak $(peak) MB"
}

cases volume large held kill
end run
