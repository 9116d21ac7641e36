#!/bin/bash
# When a sink that is made anew has all: by places in the spine alone, whatever late records of progress say; and with a table whose copy
# nobody has asked for, as one that joined while the resync began.
# limit: 150
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
said() { kcat -b "$BROKERS" -C -t "$NAME.towline.progress" -e -q -K '|'; }
# Of all that the sink has said since record N: how often, and how often that it has everything.
told() { said | tail -n "+$(($1 + 1))" | grep '^sink/' | grep -c "${2:-.}" || true; }
control() { kcat -b "$BROKERS" -C -t "$NAME.towline.control" -e -q -Z -K '|'; }
over() { [ "$(control | grep '^resync/copy|' | tail -n 1)" = 'resync/copy|NULL' ]; }

pg_sql src "create table a(id int primary key, v text); create table b(id int primary key); create table c(id int primary key);
	insert into a select i, 'x' from generate_series(1, 500) i; insert into b select generate_series(1, 50)"
towline_start producer producer -c "$DIR/towline.yaml"
towline_start consumer consumer -c "$DIR/towline.yaml"
wait_for 30 'same_pg src dst a b'
wait_for 20 '[ -n "$(said | grep ^producer/)" ]'
early=$(said | grep '^producer/' | tail -n 1)
pg_sql src "update a set v = 'y'"
wait_for 20 'same_pg src dst a'
towline_kill consumer

say 'no copies yet: nothing of the log is lacking, and yet the sink has not got everything'
towline_kill producer
t resync copy >"$DIR/data/out"
n=$(said | wc -l)
towline_start consumer consumer -c "$DIR/towline.yaml"
wait_for 30 '[ "$(told $n "\"entries\":0,.*\"state\":\"running\"")" -ge 3 ]'
[ "$(told "$n" '"syncing":false')" = 0 ] || flunk 'it said that it has everything'
towline_kill consumer

say 'a producer whose last words come late: the sink waits for what it has not got'
pg_sql src 'insert into c values (1)'
towline_start producer producer -c "$DIR/towline.yaml"
wait_for 30 "control | grep '^snapshot/public.a|' | tail -n 1 | grep -q '\"state\":\"done\"'"
wait_for 30 "control | grep '^snapshot/public.b|' | tail -n 1 | grep -q '\"state\":\"done\"'"
towline_kill producer KILL
printf '%s\n' "$early" | kcat -b "$BROKERS" -P -t "$NAME.towline.progress" -K '|'
mkfifo "$DIR/data/lock"
pg_sql dst <"$DIR/data/lock" >"$DIR/data/locked" &
exec 7>"$DIR/data/lock"
echo "begin; lock table a, b; select 'held';" >&7
wait_for 20 'grep -q held "$DIR/data/locked"'
n=$(said | wc -l)
towline_start consumer consumer -c "$DIR/towline.yaml"
wait_for 60 '[ "$(told $n "\"state\":\"running\"")" -ge 8 ]'
[ "$(told "$n" '"syncing":false')" = 0 ] || flunk 'it said that it has everything'
refute over
echo 'commit;' >&7
exec 7>&-
wait_for 30 over
same_pg src dst a b c
wait_for 20 '[ "$(told $n "\"syncing\":false")" -ge 1 ]'
towline_kill consumer

say 'a table that joins while it begins: nobody has asked for its copy, and yet it comes'
t resync copy >"$DIR/data/out"
printf 'command/snapshot/public.b|\n' | kcat -b "$BROKERS" -P -Z -t "$NAME.towline.control" -K '|'
towline_start producer producer -c "$DIR/towline.yaml"
towline_start consumer consumer -c "$DIR/towline.yaml"
wait_for 40 over
same_pg src dst a b c
[ "$(pg_sql dst 'select count(*) from b')" = 50 ]
