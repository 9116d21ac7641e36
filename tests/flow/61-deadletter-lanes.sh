#!/bin/bash
# Dead letters with apply: key: keys that wait in one lane, changed keys and truncates that concern several, retries while all lanes run.
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
    lanes: 3
    on_error: dead-letter
E2
pg_sql src "create table item(id int primary key, v int, big text); alter table item alter big set storage external; create table cut(id int primary key, v int)"
consume() { towline_start copy consumer -c "$DIR/conf.yaml" copy; }
retry() { "$TOWLINE" dlq retry copy --all -c "$DIR/conf.yaml" >"$DIR/retry.log" 2>&1 || [ $? = 1 ] || flunk "$(cat "$DIR/retry.log")"; }
count() { pg_sql dst "select count(*) from towline.parked"; }
refuse() { pg_sql dst "alter table item add constraint small check (v < 100) not valid; alter table cut add constraint small check (v < 100) not valid"; }
accept() { pg_sql dst "alter table item drop constraint small; alter table cut drop constraint small"; }

towline_start producer producer -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
consume
pg_sql src "insert into item select i, i, repeat('x', 5000) from generate_series(1, 40) i; insert into cut select i, i from generate_series(1, 9) i"
wait_for 60 "same_pg src dst item cut"

# A key that waits, changed without its whole row (big is not sent): a barrier, which one lane takes for two others.
refuse
pg_sql src "update item set v = 500 where id = 3"
wait_for 20 "[ \$(count) = 1 ]"
pg_sql src "update item set id = 300 where id = 3"
wait_for 20 "[ \$(count) = 2 ]"
pg_sql src "update item set v = 7 where id = 300; update item set v = 8 where id = 4; insert into item values (3, 3, 'new')"
wait_for 20 "[ \$(count) = 4 ]"
wait_for 20 "[ \"\$(pg_sql dst 'select v from item where id = 4')\" = 8 ]"
[ "$(pg_sql dst 'select id, v from item where id in (3, 300)')" = '3|3' ] || flunk "a key went ahead"
accept
retry
grep -q '^copy: 4 changes of 1 key applied' "$DIR/retry.log" || flunk "$(cat "$DIR/retry.log")"
pg_sql src "update item set v = 9 where id in (3, 300)"
wait_for 30 "same_pg src dst item"
say "a changed key waited in all its lanes"

# A truncate frees the keys of every lane.
refuse
pg_sql src "update cut set v = 500"
wait_for 20 "[ \$(count) = 9 ]"
pg_sql src "truncate cut; insert into cut select i, 0 from generate_series(1, 20) i"
wait_for 30 "same_pg src dst cut"
[ "$(count)" = 0 ]
accept
say "a truncate freed them"

cat >"$DIR/load.sql" <<'E2'
\set i random(1, 60)
\set j random(1, 60)
\set v random(1, 110)
\set w random(1, 400)
begin;
insert into item values (:i, :v, 'new') on conflict (id) do update set v = excluded.v;
delete from item where id = :j and id % 3 = 0;
update item set id = id + 100 where id = :j and id % 7 = 1 and not exists (select from item k where k.id = :j + 100);
delete from item where id = :i + 100;
insert into cut values (:i, :v) on conflict (id) do update set v = excluded.v;
delete from cut where :w = 1;
commit;
E2
pgbench=$(flow_pgbin)/pgbench
"$pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/load.sql" -c 2 -R 100 -T 300 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!
most=0
for ((k = 1; k <= 5; k++)); do
	refuse
	wait_for 30 "[ \$(count) -gt 0 ]"
	retry
	((k % 2)) || pg_sql src "truncate cut"
	if [ $k = 2 ]; then
		towline_kill copy KILL
		consume
	fi
	wait_for 30 "[ \$(count) -gt 0 ]"
	n=$(count)
	((n <= most)) || most=$n
	accept
	retry
done
kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'
wait_for 60 "retry; same_pg src dst item cut"
[ "$(count)" = 0 ]
towline_alive copy || flunk "copy ended"
say "order held under load; at most $most changes were parked at a time"
