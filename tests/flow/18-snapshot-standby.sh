#!/bin/bash
# A commit waits for a synchronous standby: the stream has it, no snapshot sees it yet. A copy that goes on in a process that did not stream
# it itself must not put the row from before it behind it.
# limit: 180
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: { mode: never, jobs: 1, rows: 100 }
tables: [public.*]
kafka: { brokers: $BROKERS, partitions: 2 }
sinks: { copy: $DST }
E2
pg_sql src "create table a(id int primary key, v text, big text); alter table a alter big set storage external;
	insert into a select i, 'old', repeat('x', 100) from generate_series(1, 60000) i; update a set big = repeat('y', 3000) where id % 20000 = 0;
	vacuum analyze a"
snap() { "$TOWLINE" snapshot -c "$DIR/conf.yaml" "$@"; }
state() { snap ls --json | python3 -c "import json, sys; print({t['table']: t['state'] for t in json.load(sys.stdin)}['public.a'])"; }
standby() {
	pg_sql src "alter system set synchronous_standby_names = '$1'"
	pg_sql src "select pg_reload_conf()"
	wait_for 20 "[ \"\$(pg_sql src 'show synchronous_standby_names')\" = '$1' ]"
}

towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
snap add a
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) > 500 from a')\" = t ]"
snap pause a
[ "$(pg_sql dst 'select count(*) from a where id = 60000')" = 0 ] || flunk "all was copied before the pause"

standby nobody
# The row changes; one is made, and gets another key, with a TOAST value that its update does not bring.
pg_sql src "update a set v = 'new' where id = 60000" &
waiting=($!)
pg_sql src "begin; insert into a values (70000, 'made', repeat('z', 3000)); update a set id = 70001 where id = 70000; commit" &
waiting+=($!)
held="select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
wait_for 30 "[ \"\$(pg_sql src \"$held\")\" = 2 ]"
lsn=$(pg_sql src 'select pg_current_wal_lsn()')
wait_for 30 "[ \"\$(pg_sql src \"select confirmed_flush_lsn >= '$lsn' from pg_replication_slots\")\" = t ]"
wait_for 30 "[ \"\$(pg_sql dst 'select id, v, length(big) from a where id >= 70000')\" = '70001|made|3000' ]"

towline_kill run KILL
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "[ \$(grep -c msg=streaming $DIR/run.log) = 2 ]"
snap resume a
wait_for 60 "grep -q 'waits for older transactions to end' $DIR/run.log || [ \"\$(state)\" = done ]"
[ "$(state)" != done ] || flunk "rows were read that do not show what the stream has brought before"
standby ''
wait "${waiting[@]}"
wait_for 60 "[ \"\$(state)\" = done ]"
wait_for 30 'same_pg src dst a'
