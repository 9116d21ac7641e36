#!/bin/bash
# Sinks of a SQLite source whose place in the log is gone: one in PostgreSQL by `towline resync`, a replica by itself. Rows that were deleted while
# they were away are gone there too; tables with and without key, and values of any storage class; others write meanwhile, and the producer is killed.
# limit: 180
. "$(dirname "$0")/lib.sh"

src=$DIR/data/src.db edge=$DIR/data/edge.db
pg_start dst DST
kafka_start
lite() { sqlite3 -bail -cmd '.timeout 20000' -nullvalue NULL "$1" "$2"; }
lite "$src" "pragma journal_mode = wal; create table t(id integer primary key, v text); create table bag(x integer, y text); create table \"odd_name\"(k text not null primary key, v);
	create table gone(id integer primary key); create table never(id integer primary key)" >/dev/null
"$TOWLINE" source install "$src" >/dev/null
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: sqlite:$src
tables: ["!main.never"]
kafka: { brokers: $BROKERS, partitions: 2 }
sinks:
  copy: { url: "$DST", schema: public }
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
ends_with() { # CODE PATTERN ARGUMENTS...
	local want=$1 pattern=$2 got=0
	shift 2
	t "$@" >"$DIR/data/out" 2>&1 || got=$?
	[ "$got" = "$want" ] && grep -qE "$pattern" "$DIR/data/out" || flunk "$*: ended with $got: $(cat "$DIR/data/out")"
}
dump() { lite "$1" "select quote(id), quote(v) from t order by id; select quote(x), quote(y) from bag order by x, y; select quote(k), quote(v) from \"odd_name\" order by k"; }
same_lite() { diff <(dump "$src") <(dump "$edge"); }
same_pg_lite() {
	diff <(lite "$src" "select id, v from t order by id; select x, y from bag order by x, y; select k, v from \"odd_name\" order by k") \
		<(pg_sql dst 'select id, v from t order by id; select x, y from bag order by x, y; select k, v from "odd_name" order by k collate "C"')
}
syncing() { t replica ls --json | python3 -c 'import json, sys; print([r["syncing"] for r in json.load(sys.stdin) if r["name"] == sys.argv[1]][0])' "$1"; }
forget_log() {
	local topic p
	for topic in "$@"; do for p in 0 1; do topic_tool truncate "$NAME.main.$topic" "$p" -1 >"$DIR/data/out" || true; done; done
}

ends_with 3 'start it once' resync copy
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
lite "$src" "insert into t with recursive g(i) as (select 1 union all select i + 1 from g where i < 2000) select i, 'x' || i from g;
	insert into bag with recursive g(i) as (select 1 union all select i + 1 from g where i < 500) select i % 50, 'y' from g;
	insert into \"odd_name\" select 'k' || id, 'a text' from t where id <= 300; insert into gone values (1)"
t replica add edge "sqlite:$edge"
wait_for 30 same_pg_lite
wait_for 30 same_lite
ends_with 4 'applies to this sink' resync copy
ends_with 4 'still applies to this sink' resync edge
same_lite # untouched
t snapshot ls --json >"$DIR/data/out"
grep -q 'main.odd_name' "$DIR/data/out" || flunk "$(cat "$DIR/data/out")"
refute grep -q 'main.never' "$DIR/data/out"
towline_kill run

say 'while they are away the log forgets; rows are deleted, a table is dropped'
towline_start producer producer -c "$DIR/towline.yaml"
lite "$src" "delete from t where id % 3 = 0; update t set v = 'new' where id % 5 = 0; delete from bag where x % 2 = 0; delete from \"odd_name\" where k like 'k2%';
	update \"odd_name\" set v = 'other' where k like 'k1%'; insert into t values (5000, 'last'); drop table gone"
wait_for 30 "[ \"\$(lite '$src' 'select confirmed from towline_slot')\" = \"\$(lite '$src' \"select seq from sqlite_sequence where name = 'towline_log'\")\" ]"
forget_log t bag odd_name
towline_start consumer consumer copy -c "$DIR/towline.yaml"
towline_wait consumer 30
[ "$STATUS" = 5 ]
grep -q 'copy the tables into this sink again: towline resync copy' "$DIR/consumer.log"
pg_sql dst "insert into t values (7777, 'only here')"
# Nobody is there to obey: it is done at the next start.
towline_kill producer
lite "$src" "delete from t where id = 1"

say 'one by the command, one by itself; others write meanwhile, the producer is killed'
ends_with 0 '[34] tables are being copied' resync copy # the producer may not have seen the drop
[ "$(pg_sql dst 'select (select count(*) from t) + (select count(*) from bag)')" = 0 ]
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q 'begins anew' $DIR/run.log"
for i in 1 2 3 4 5 6 7 8; do
	lite "$src" "insert into t with recursive g(i) as (select 1 union all select i + 1 from g where i < 50) select 10000 + $i * 100 + i, 'z' from g; update t set v = v || '$i' where id % 7 = $i % 7;
		delete from t where id % 41 = $i; update bag set y = y || '$i' where x = $i; delete from bag where x = $i + 20; update \"odd_name\" set k = k || '_' where k like 'k$i%'"
	[ "$i" != 4 ] || { towline_kill run KILL; towline_start run run -c "$DIR/towline.yaml"; }
done
wait_for 60 same_pg_lite
wait_for 60 same_lite
[ "$(pg_sql dst 'select count(*) from t where id in (1, 3, 7777)')" = 0 ]
[ "$(lite "$edge" 'select count(*) from t where id in (1, 3)')" = 0 ]

say 'then they may be read from again, and stay equal'
for r in edge copy; do wait_for 30 '[ "$(syncing '$r')" = False ]'; done
t wait --lsn "$(t write update t id=5000 v=after)"
same_pg_lite
same_lite
kcat -b "$BROKERS" -C -t "$NAME.towline.progress" -e -q -f '%s\n' >"$DIR/data/progress"
python3 - "$DIR/data/progress" <<'E2'
import json, sys
said = [json.loads(line) for line in open(sys.argv[1]) if line.strip()]
waited = {p["sink"] for p in said if p["role"] == "sink" and p["state"] == "running" and p["syncing"]}
assert waited == {"copy", "edge"}, waited
E2
refute grep -q 'level=error.*sink copy' "$DIR/run.log"
