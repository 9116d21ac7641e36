#!/bin/bash
# apply: key. Two processes share a sink through a consumer group; kill -9 and SIGSTOP move lanes between them; truncates keep their place.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: $BROKERS
  partitions: 5
sinks:
  copy:
    url: $DST
    apply: key
    lanes: 4
E2
pg_sql src "create table kv(id int primary key, v bigint, pad text); create table cut(id int primary key, round int); create table nokey(x int); alter table nokey replica identity full"
cat >"$DIR/load.sql" <<'E2'
\set i random(1, 2000)
\set j random(1, 2000)
begin;
insert into kv values (:i, 1, 'new') on conflict (id) do update set v = kv.v + 1, pad = repeat('x', :i % 50);
delete from kv where id = :j and id % 5 = 0;
update kv set id = id + 100000 where id = :j and id % 7 = 1 and not exists (select from kv k where k.id = :j + 100000);
insert into nokey values (:i);
commit;
E2
towline_start producer producer -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
one() { towline_start one consumer -c "$DIR/conf.yaml"; }
two() { towline_start two consumer -c "$DIR/conf.yaml"; }
one
two
pgbench=$(flow_pgbin)/pgbench
"$pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/load.sql" -c 2 -R 400 -T 300 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!
# Both work: the group has given each of them lanes.
wait_for 25 "grep -q 'lane . .*msg=applying\|msg=applying' $DIR/one.log && grep -q msg=applying $DIR/two.log"
rounds() {
	pg_sql src "truncate cut"
	for ((r = $1; r < $1 + 5; r++)); do
		pg_sql src "insert into cut select i, $r from generate_series(1, 50) i; begin; insert into cut values (1000, $r); truncate cut; insert into cut select i, $r from generate_series(100, 150) i; commit; truncate cut"
	done
	pg_sql src "insert into cut select i, 99 from generate_series(7, 77) i"
}
rounds 1
wait_for 60 "same_pg src dst cut"
say "truncates kept their place"
for ((k = 1; k <= 3; k++)); do
	towline_kill one KILL
	rounds 10
	one
	towline_kill two STOP
	rounds 20
	wait_for 60 "same_pg src dst cut"
	towline_kill two CONT
	pg_sql src "insert into kv values (500000 + $k, 0, 'mark')"
	wait_for 60 "[ \"\$(pg_sql dst 'select count(*) from kv where id = 500000 + $k')\" = 1 ]"
done
kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'
wait_for 60 "same_pg src dst kv cut nokey"
say "$(pg_sql dst "select string_agg(name || '=' || no, ' ' order by name) from towline.marker")"
# The number of lanes is the sink's; whole transactions cannot go on where lanes stand.
towline_kill one TERM
towline_kill two TERM
STATUS=0
"$TOWLINE" consumer -c "$DIR/conf.yaml" --set sinks.copy.lanes=8 >"$DIR/eight.log" 2>&1 || STATUS=$?
[ "$STATUS" = 5 ] && grep -q 'keep lanes: 4' "$DIR/eight.log" || flunk "another number of lanes: exit $STATUS"
STATUS=0
"$TOWLINE" consumer -c "$DIR/conf.yaml" --set sinks.copy.apply=transaction >"$DIR/whole.log" 2>&1 || STATUS=$?
[ "$STATUS" = 5 ] && grep -q 'keep apply: key' "$DIR/whole.log" || flunk "back to whole transactions: exit $STATUS"
