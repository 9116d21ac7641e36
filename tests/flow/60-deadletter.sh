#!/bin/bash
# Dead letters: a change that a sink refuses parks its key; what comes later for that key waits, everything else goes on; retry and skip.
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
  partitions: 3
sinks:
  copy:
    url: $DST
    on_error: dead-letter
  edge:
    url: sqlite:$DIR/data/edge.db
    on_error: dead-letter
E2
tables='item other nokey cut'
pg_sql src <<'E2'
create table item(id int primary key, v int, name text);
create table other(id int primary key, v int);
create table nokey(x int, y text);
alter table nokey replica identity full;
create table cut(id int primary key, v int);
E2
producer() { towline_start producer producer -c "$DIR/conf.yaml"; }
consume() { towline_start "$1" consumer -c "$DIR/conf.yaml" "$1"; }
lite() { sqlite3 -cmd '.timeout 8000' -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1"; }
lite_same() { diff <(lite "select * from $1 order by 1, 2") <(pg_sql src "select * from $1 order by 1, 2"); }
all_same() {
	same_pg src dst $tables || return 1
	for t in $tables; do lite_same "$t" || return 1; done
}
# dlq CODE ARGS: output in $OUT
dlq() {
	local code=$1 status=0
	shift
	OUT=$("$TOWLINE" dlq "$@" -c "$DIR/conf.yaml" 2>&1) || status=$?
	[ "$status" = "$code" ] || flunk "dlq $*: ended with $status, not $code"$'\n'"$OUT"
}
prints() { grep -qE -- "$1" <<<"$OUT" || flunk "does not print: $1"$'\n'"$OUT"; }
# parked SINK: id, key, op, behind, one line each
parked() { "$TOWLINE" dlq ls "$1" --json -c "$DIR/conf.yaml" | python3 -c '
import json, sys
for e in json.load(sys.stdin):
    print(e["id"], json.dumps(e["key"]), e["op"], e["behind"] or "-")'; }
count() { parked "$1" | wc -l; }
# pass_by: all that is committed at the source so far has passed the sinks
mark=0
pass_by() {
	mark=$((mark + 1))
	pg_sql src "insert into other values (1000000 + $mark, 0)"
	wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from other where id = 1000000 + $mark')\" = 1 ]"
	wait_for 30 "[ \"\$(lite 'select count(*) from other where id = 1000000 + $mark')\" = 1 ]"
}
refuse() {
	pg_sql dst "alter table $1 add constraint small check ($2 < 100) not valid"
	for w in insert update; do lite "create trigger small_$1_$w before $w on $1 when new.$2 >= 100 begin select raise(abort, 'too large'); end"; done
}
accept() {
	pg_sql dst "alter table $1 drop constraint small"
	for w in insert update; do lite "drop trigger small_$1_$w"; done
}

producer
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
consume copy
consume edge
pg_sql src "insert into item select i, i, 'item ' || i from generate_series(1, 20) i; insert into other select i, i from generate_series(1, 20) i;
	insert into nokey select i, 'row ' || i from generate_series(1, 20) i; insert into cut select i, i from generate_series(1, 5) i"
wait_for 60 all_same
dlq 0 ls
prints '^nothing is parked$'

# ---- one key breaks, the others go on ----

refuse item v
pg_sql src "update item set v = 500, name = 'first' where id = 3"
pass_by
pg_sql src "update item set v = 1, name = 'second' where id = 3; update item set v = 2 where id = 4; begin; update item set name = 'with it' where id = 3; update other set v = 99 where id = 3; commit"
pass_by
for s in copy edge; do wait_for 10 "[ \$(count $s) = 3 ]"; done
[ "$(pg_sql dst 'select v, name from item where id in (3, 4) order by id')" = $'3|item 3\n2|item 4' ] || flunk "the key did not wait, or others did"
[ "$(lite 'select v, name from item where id in (3, 4) order by id')" = $'3|item 3\n2|item 4' ] || flunk "SQLite: the key did not wait, or others did"
[ "$(pg_sql dst 'select v from other where id = 3')" = 99 ]
[ "$(parked copy)" = $'1 {"id": 3} u -\n2 {"id": 3} u 1\n3 {"id": 3} u 1' ] || flunk "$(parked copy)"
dlq 0 ls copy
prints 'copy/1 .*public.item +\{"id": 3\} +u +- +.*violates check constraint "small"'
prints 'copy/2 .* 1 +waits behind 1$'
dlq 0 show copy/1
prints '^reason .*violates check constraint "small"'
prints '^change .* u  key=3  v: 500, name: first$'
dlq 0 show edge/1 --json
prints '"reason":".*too large"'
prints '"after":\{"id":3,"v":500,"name":"first"\}'
"$TOWLINE" status -c "$DIR/conf.yaml" | grep -q "^! copy: 3 changes in the dead letters, of which 1 cannot be applied"
say "one key waits, the rest goes on"

# After a new start the key still waits; a changed key takes its new one along.
for s in copy edge; do towline_kill $s; [ "$STATUS" = 0 ]; consume $s; done
pg_sql src "update item set id = 30 where id = 3; update item set name = 'moved on' where id = 30; insert into item values (3, 7, 'another 3')"
pass_by
for s in copy edge; do wait_for 10 "[ \$(count $s) = 6 ]"; done
prints_nothing=$(pg_sql dst 'select count(*) from item where id = 30')
[ "$prints_nothing" = 0 ] || flunk "the changed key went ahead"

# ---- retry ----

before=$(digest_pg dst item)
dlq 1 retry copy/1
prints '^copy: 0 changes of 0 keys applied'
prints '^copy/1  public.item  \{"id": 3\}  still fails: .*violates check constraint "small".* \(5 changes with it\)'
[ "$before" = "$(digest_pg dst item)" ] || flunk "a retry that failed changed something"
[ "$(count copy)" = 6 ]
accept item
dlq 0 retry copy/5
prints '^copy: 6 changes of 1 key applied$'
dlq 0 retry edge --table item
prints '^edge: 6 changes of 1 key applied$'
wait_for 10 all_same
dlq 0 retry copy --all
prints '^copy: 0 changes of 0 keys applied$'
dlq 1 retry copy/5
prints 'there is no dead letter copy/5'
# The key is free: the consumers that ran all the while know.
pg_sql src "update item set v = 8 where id = 30; update item set v = 9 where id = 3"
wait_for 30 all_same
[ "$(count copy)$(count edge)" = 00 ]
say "retried in order"

# ---- skip ----

refuse item v
pg_sql src "update item set v = 500 where id = 5; insert into item values (50, 500, 'x')"
pass_by # or the two changes of the key would come to one that is good
pg_sql src "update item set v = 5, name = 'after' where id = 5"
pass_by
wait_for 10 "[ \$(count copy) = 3 ]"
id=$(parked copy | awk 'NR == 1 { print $1 }')
dlq 2 skip "copy/$id"
prints 'gives up copy/.* for good .op u of public.item, key ..id.: 5.*; add --yes'
dlq 0 skip "copy/$id" --yes
[ "$(count copy)" = 2 ] || flunk "skip took more than one"
pg_sql src "update item set name = 'still waits' where id = 5"
pass_by
wait_for 10 "[ \$(count copy) = 3 ]"
dlq 1 retry copy --all
prints '^copy: 2 changes of 1 key applied'
prints 'still fails: .*"small"'
[ "$(pg_sql dst 'select v, name from item where id = 5')" = '5|still waits' ]
accept item
dlq 0 retry copy --all
dlq 0 retry edge --all
wait_for 10 all_same
say "skipped"

# ---- a truncate ends the waiting; rows without a key wait by their content ----

refuse cut v
refuse nokey x
pg_sql src "update cut set v = 500 where id = 2; insert into nokey values (500, 'large')"
pass_by
pg_sql src "update cut set v = 6 where id = 2"
pass_by
for s in copy edge; do wait_for 10 "[ \$(count $s) = 3 ]"; done
pg_sql src "truncate cut; insert into cut values (2, 2), (3, 3); update nokey set x = 5 where x = 500; update nokey set y = 'last' where x = 5; delete from nokey where x = 7; insert into nokey values (501, 'gone'); delete from nokey where x = 501"
pass_by
same_pg src dst cut || flunk "a truncate did not free the key"
for s in copy edge; do [ "$(parked $s | cut -d' ' -f 2-)" = $'null c -\nnull u '"$(parked $s | awk 'NR == 1 { print $1 }')"$'\nnull u '"$(parked $s | awk 'NR == 1 { print $1 }')"$'\nnull c -\nnull d '"$(parked $s | awk 'NR == 4 { print $1 }')" ] || flunk "$(parked $s)"; done
accept cut
accept nokey
dlq 0 retry copy --all
dlq 0 retry edge --all
wait_for 10 all_same
say "truncate, no key"

# ---- kill -9 between parking and commit: nothing lost, nothing twice ----

refuse item v
pg_sql dst "create function hold() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(77); return null; end'; create constraint trigger hold after insert on towline.parked deferrable initially deferred for each row execute function hold(); alter table towline.parked enable always trigger hold"
for ((k = 1; k <= 3; k++)); do
	# a session that holds the lock until it is told to end
	exec {lock}> >(pg_sql dst >/dev/null)
	echo "select pg_advisory_lock(77);" >&$lock
	wait_for 10 "[ \"\$(pg_sql dst \"select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and granted\")\" = 1 ]"
	pg_sql src "update item set v = 500 + $k where id = 6; update item set v = $k where id = 7"
	wait_for 20 "[ \"\$(pg_sql dst \"select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted\")\" -ge 1 ]"
	towline_kill copy KILL
	exec {lock}>&-
	consume copy
done
pg_sql dst "drop trigger hold on towline.parked"
pass_by
wait_for 20 "[ \$(count copy) = 3 ]"
[ "$(parked copy | cut -d' ' -f 2-4 | sort | uniq -c | awk '{ print $1, $2, $3, $4 }')" = '3 {"id": 6} u' ] || flunk "$(parked copy)"
accept item
dlq 0 retry copy --all
prints '^copy: 3 changes of 1 key applied$'
dlq 0 retry edge --all
wait_for 10 all_same
say "killed between parking and commit"

# ---- order under load: keys break and are retried while everything runs ----

cat >"$DIR/load.sql" <<'E2'
\set i random(1, 60)
\set j random(1, 60)
\set v random(1, 115)
begin;
insert into item values (:i, :v, 'new') on conflict (id) do update set v = excluded.v, name = item.v || '';
delete from item where id = :j and id % 3 = 0;
update item set id = id + 100 where id = :j and id % 7 = 1 and not exists (select from item k where k.id = :j + 100);
delete from item where id = :i + 100;
commit;
E2
pgbench=$(flow_pgbin)/pgbench
"$pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/load.sql" -c 2 -R 150 -T 300 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!
most=0
for ((k = 1; k <= 5; k++)); do
	refuse item v
	wait_for 20 "[ \$(count copy) -gt 0 ] && [ \$(count edge) -gt 0 ]"
	n=$(count copy)
	((n <= most)) || most=$n
	if ((k % 2)); then
		victim=$([ $((k % 4)) = 1 ] && echo copy || echo edge)
		towline_kill "$victim" KILL
		consume "$victim"
	fi
	for s in copy edge; do "$TOWLINE" dlq retry $s --all -c "$DIR/conf.yaml" >"$DIR/retry-$s.log" 2>&1 || [ $? = 1 ] || flunk "$(cat "$DIR/retry-$s.log")"; done
	accept item
	dlq 0 retry copy --all
	dlq 0 retry edge --all
done
kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'
pass_by
dlq 0 retry copy --all
dlq 0 retry edge --all
wait_for 30 all_same
[ "$(count copy)$(count edge)" = 00 ]
for s in copy edge; do towline_alive $s || flunk "$s ended"; done
say "order held under load; at most $most changes were parked at a time"

# ---- gone from Kafka: said, and changes nothing ----

refuse item v
pg_sql src "insert into item values (900, 500, 'x')"
pass_by
wait_for 10 "[ \$(count copy) = 1 ]"
pg_sql dst "update towline.parked set copy_offset = 99999999, topic_offset = 99999999"
dlq 1 retry copy --all
prints 'its record is gone from Kafka: neither .*deadletter has it .* bring the row over by hand, then skip it'
dlq 0 show copy/"$(parked copy | cut -d' ' -f 1)"
prints '^change +\(its record is gone from Kafka'
[ "$(count copy)" = 1 ]
say "gone from Kafka"
