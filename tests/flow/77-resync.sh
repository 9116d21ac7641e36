#!/bin/bash
# Sinks whose place in the log is gone: one of the configuration by `towline resync`, a replica by itself, a new one that the log no longer
# has the beginning for. Copies come while others write; until they are there nobody reads from the sink.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS, partitions: 2 }
sinks:
  copy: $DST
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
ends_with() { # CODE PATTERN ARGUMENTS...
	local want=$1 pattern=$2 got=0
	shift 2
	t "$@" >"$DIR/data/out" 2>&1 || got=$?
	[ "$got" = "$want" ] && grep -qE "$pattern" "$DIR/data/out" || flunk "$*: ended with $got: $(cat "$DIR/data/out")"
}
lite() { sqlite3 "$DIR/data/$1.db" "$2"; }
dump() { pg_sql src 'select id, v from t order by id'; }
lite_same() { [ "$(lite "$1" 'select id, v from t order by id')" = "$(dump)" ] && [ "$(lite "$1" 'select count(*) from u')" = "$(pg_sql src 'select count(*) from u')" ]; }
syncing() { t replica ls --json | python3 -c 'import json, sys; print([r["syncing"] for r in json.load(sys.stdin) if r["name"] == sys.argv[1]][0])' "$1"; }
# As retention would: of every topic of rows all that is there now, and the spine up to its last record.
forget_log() {
	local topic p
	for topic in t u; do for p in 0 1; do topic_tool truncate "$NAME.public.$topic" "$p" -1 >"$DIR/data/out"; done; done
}

pg_sql src 'create table t(id int primary key, v text); create table u(id int primary key, big text); alter table u alter big set storage external; create table gone(id int primary key)'
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
pg_sql src "insert into t select i, 'x' from generate_series(1, 2000) i; insert into u select i, repeat('b', 3000) from generate_series(1, 200) i"
t replica add edge "sqlite:$DIR/data/edge.db"
wait_for 30 'same_pg src dst t u'
wait_for 30 'lite_same edge'
ends_with 4 'applies to this sink' resync copy
ends_with 3 "no sink 'nobody'" resync nobody
towline_kill run

say 'while they are away the log forgets; a table was copied in part last, another is no more'
towline_start producer producer -c "$DIR/towline.yaml"
pg_sql src "insert into t select i, 'y' from generate_series(2001, 3000) i; delete from t where id % 3 = 0; update u set id = id + 1000 where id % 2 = 0"
wait_for 30 'towline_alive producer && [ "$(kcat -b "$BROKERS" -C -t "$NAME.public.u" -e -q -f x 2>/dev/null | wc -c)" -ge 500 ]'
l=$(t write insert t id=5000 v=last)
pg_sql src 'drop table gone'
t snapshot add t --where 'id < 10' --wait >"$DIR/data/out"
forget_log
towline_start consumer consumer -c "$DIR/towline.yaml"
towline_wait consumer 30
[ "$STATUS" = 5 ]
grep -q 'copy the tables into this sink again: towline resync copy' "$DIR/consumer.log"
pg_sql dst "insert into t values (7777, 'only here')"

say 'one by the command, one by itself, a third joins; others write meanwhile'
ends_with 0 '[23] tables are being copied' resync copy
[ "$(pg_sql dst 'select (select count(*) from t) + (select count(*) from u)')" = 0 ]
towline_kill producer
towline_start run run -c "$DIR/towline.yaml"
wait_for 20 "grep -q 'begins anew' $DIR/run.log"
for i in 1 2 3 4 5 6 7 8 9 10; do
	pg_sql src "insert into t select 10000 + $i * 100 + j, 'z' from generate_series(1, 50) j; update t set v = v || '$i' where id % 7 = $i % 7; delete from t where id % 41 = $i;
		update u set id = id + 1 where id = (select max(id) from u); delete from u where id = 2 * $i + 1"
	[ "$i" != 4 ] || { towline_kill run KILL; towline_start run run -c "$DIR/towline.yaml"; }
done
t replica add third "sqlite:$DIR/data/third.db"
wait_for 60 'same_pg src dst t u'
wait_for 60 'lite_same edge'
wait_for 60 'lite_same third'
[ "$(pg_sql dst 'select count(*) from t where id = 7777')" = 0 ]
[ "$(lite edge 'select count(*) from u where length(big) <> 3000')" = 0 ]

say 'then they may be read from again, and stay equal'
for r in edge third copy; do wait_for 30 '[ "$(syncing '$r')" = False ]'; done
t wait --lsn "$(t write update t id=5000 v=after)"
same_pg src dst t u
lite_same edge
lite_same third
