#!/bin/bash
# Transactions far larger than a group, cut by kill -9 of their writer or reader in the middle: the sinks have them whole or not at all.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source:
  url: $SRC
  group_rows: 2000
kafka:
  brokers: $BROKERS
  partitions: 3
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
pg_sql src "create table big(id int primary key, v text); create table side(id int primary key, n int)"
producer() { towline_start producer producer -c "$DIR/conf.yaml"; }
copy() { towline_start copy consumer -c "$DIR/conf.yaml" copy; }
edge() { towline_start edge consumer -c "$DIR/conf.yaml" edge; }
producer
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
pg_sql src "insert into side select i, 0 from generate_series(1, 10) i"
copy
edge
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from side')\" = 10 ]"

# Whole or not at all: at every look the sink has a multiple of the transaction's rows, and the small table agrees with the big one.
rows=150000
whole() {
	local n
	n=$(pg_sql dst "select coalesce((select count(*) % $rows || ' ' || coalesce((select max(n) from side), 0) - count(*) / $rows from big), '0 0')" 2>/dev/null) || return 0
	[ "$n" = "0 0" ] || flunk "a torn transaction at the sink: rows over, difference: $n"
}
for ((k = 1; k <= 4; k++)); do
	pg_sql src "begin; update side set n = $k; insert into big select i, md5(i::text) from generate_series($k * 1000000 + 1, $k * 1000000 + $rows) i; commit"
	# let some of its groups reach the spine, then kill the writer or a reader
	until=$((${EPOCHREALTIME/./} + (RANDOM % 700 + 100) * 1000))
	while ((${EPOCHREALTIME/./} < until)); do whole; done
	case $k in
	1 | 3) towline_kill producer KILL; producer ;;
	2) towline_kill copy KILL; copy ;;
	4) towline_kill producer KILL; towline_kill edge KILL; towline_kill copy KILL; edge; producer; copy ;;
	esac
	pg_sql src "insert into side values (100 + $k, $k)"
	wait_for 60 "whole; [ \"\$(pg_sql dst 'select count(*) from side')\" = $((10 + k)) ]"
done
wait_for 60 "same_pg src dst big side"
wait_for 60 "[ \"\$(sqlite3 $DIR/data/edge.db 'select count(*), sum(id) from big; select count(*), sum(n) from side')\" = \"\$(pg_sql src 'select count(*), sum(id) from big; select count(*), sum(n) from side')\" ]"
for p in producer copy edge; do
	hwm=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$p]}/status")
	say "$p: peak RSS $hwm MB, cut transactions read again: $(grep -c 'cut short' "$DIR/$p.log" || true)"
	[ "$hwm" -le 100 ] || [ "${MODE:-debug}" = asan ] || flunk "$p used $hwm MB"
done
