#!/bin/bash
# towline snapshot: add with and without a condition, pause, resume, cancel, ls; bad input; commands to a producer that is not there.
# limit: 300
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: { mode: never, jobs: 1, rows: 100 }
tables: [public.*, "!public.other"]
kafka: { brokers: $BROKERS, partitions: 2 }
sinks: { copy: $DST }
E2
pg_sql src "create table a(id int primary key, v text); insert into a select i, 'v' || i from generate_series(1, 3000) i;
	create table big(id int primary key, v text); insert into big select i, repeat('x', 100) from generate_series(1, 60000) i;
	create table bare(v text); alter table bare replica identity full; create table other(id int primary key);
	create table gone(id int primary key, v int); insert into gone select i, i from generate_series(1, 500) i; analyze"
snap() { "$TOWLINE" snapshot -c "$DIR/conf.yaml" "$@"; }
# fails CODE WORDS ARGS...: it ends with that, and says so
fails() {
	local code=$1 words=$2 got=0
	shift 2
	snap "$@" >"$DIR/out" 2>&1 || got=$?
	{ [ "$got" = "$code" ] && grep -qF "$words" "$DIR/out"; } || flunk "snapshot $*: $got, $(cat "$DIR/out")"
}
# shows WORDS ARGS...: it succeeds and prints that
shows() {
	local words=$1
	shift
	{ snap "$@" >"$DIR/out" 2>&1 && grep -q "$words" "$DIR/out"; } || flunk "snapshot $*: $(cat "$DIR/out")"
}
state() { snap ls --json | python3 -c "import json, sys; print({t['table']: t['state'] for t in json.load(sys.stdin)}['public.$1'])"; }

towline_start run run -v -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
# never: nothing is copied by itself, but for changes
pg_sql src "update a set v = 'new' where id <= 10; insert into a values (5000, 'in')"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from a')\" = 1 ]"
[ "$(state a)" = none ]

fails 2 'did you mean public.big' add bigg
fails 2 "the source has no table public.other that 'tables' takes in" add other
fails 2 'no producer knows a table public.nix' pause nix
fails 2 'there is nothing to cancel' cancel a
fails 2 'only what is paused can be resumed' resume a
fails 2 "did you mean 'snapshot pause'" pausee a
fails 2 'snapshot add needs a TABLE' add

# a condition, and one that PostgreSQL does not take: nothing is lost
snap add a --where 'id % 2 = 0 -- only these' --wait
[ "$(state a)" = done ]
wait_for 30 "[ \"\$(pg_sql dst 'select count(*), count(*) filter (where id % 2 = 0) from a')\" = '1501|1501' ]" ||
	flunk "$(pg_sql dst 'select count(*) from a')"
fails 1 'column "nothing" does not exist' add a --where 'nothing > 3'
[ "$(state a)" = failed ]
shows 'public.a .*done .*100 %.* 3001 rows' add public.a --wait
wait_for 30 'same_pg src dst a'

# Without a key: emptied and copied in one transaction, again and again.
pg_sql src "insert into bare select 'twin' from generate_series(1, 300)"
wait_for 20 'same_pg src dst bare'
pg_sql dst "insert into bare values ('stray')"
shows 'public.bare .*done .* 300 rows' add bare --wait
wait_for 20 'same_pg src dst bare'
pg_sql src "insert into bare values ('more')"
wait_for 20 'same_pg src dst bare'

# paused it stands still, and its changes go on
shows 'public.big  *copying' add big
wait_for 30 "[ \"\$(grep -c 'chunk copied.*public.big' $DIR/run.log)\" -gt 20 ]"
shows 'public.big  *paused' pause big
fails 2 'the copy of public.big is paused: there is nothing to pause' pause big
fails 2 'the copy of public.big is paused: it is being copied already' add big
at=$(snap ls --json)
pg_sql src "update big set v = 'changed' where id % 1000 = 0; delete from big where id = 7; insert into big values (-1, 'first'), (900000, 'last');
	update big set id = id + 1000000 where id in (1000, 59000)"
# a producer that starts anew leaves it so
towline_kill run KILL
towline_start run run -v -c "$DIR/conf.yaml"
wait_for 30 "[ \"\$(grep -c msg=streaming $DIR/run.log)\" = 2 ]"
[ "$(snap ls --json)" = "$at" ] || flunk "$(snap ls)"
shows 'public.big  *copying' resume big
wait_for 20 "grep -q 'copying a table further.*public.big' $DIR/run.log"
shows 'public.big  *cancelled' cancel big
fails 2 'the copy of public.big is cancelled: there is nothing to cancel' cancel big

# A schema with a dot in its name: its copy is remembered, also by the key of before keys told where the schema ends.
pg_sql src 'create schema "p.q"; create table "p.q".t(id int primary key, v text); insert into "p.q".t values (1, $$old$$);
	create schema p; create table p."q.t"(id int primary key)'
sed -i 's/public[.][*],/public.*, p?q.*, p.*,/' "$DIR/conf.yaml"
starts=2
anew() {
	towline_start run run -v -c "$DIR/conf.yaml"
	starts=$((starts + 1))
	wait_for 30 "[ \"\$(grep -c msg=streaming $DIR/run.log)\" = $starts ]"
}
states() { # of "p.q".t and p."q.t"
	snap ls --json | python3 -c "import json, sys; t = {t['table']: t['state'] for t in json.load(sys.stdin)}; print(t.get('p\\\\.q.t'), t.get('p.q.t'))"
}
towline_kill run KILL
anew
[ "$(states)" = 'none none' ] || flunk "$(snap ls)"
shows 'p.\.q.t .*done .* 1 rows' add 'p\.q.t' --wait
pg_sql src 'insert into "p.q".t values (2, $$new$$)'
wait_for 20 'same_pg src dst \"p.q\".t'
towline_kill run KILL
anew
[ "$(states)" = 'done none' ] || flunk "$(snap ls)"
pg_sql src 'drop table p."q.t"'
record() { kcat -b "$BROKERS" -C -t "$NAME.towline.control" -e -q -f '%k|%s\n' | grep -F "snapshot/$1|" | tail -n 1; }
wait_for 20 '[ "$(record p.q.t)" = "snapshot/p.q.t|" ]'
towline_kill run KILL
put() { kcat -b "$BROKERS" -P -t "$NAME.towline.control" -K '|' "$@"; }
record 'p\.q.t' | sed 's/^[^|]*|/snapshot\/p.q.t|/' | put
printf '%s\n' 'snapshot/p\.q.t|' | put -Z
anew
[ "$(states)" = 'done none' ] || flunk "$(snap ls)"

# asked while nobody runs: done at the next start
towline_kill run TERM
fails 4 'no producer has answered within 15 s; it does it when it runs again' add big
fails 4 'no producer has done yet what was asked for before' cancel big
towline_start run run -v -c "$DIR/conf.yaml"
wait_for 120 '[ "$(state big)" = done ]'
wait_for 60 'same_pg src dst big'
shows 'public.big .*done' ls --watch

# Without a key, killed in the middle of it: no row is lost, none is there twice.
pg_sql src "create table twins(v int, pad text); alter table twins replica identity full;
	insert into twins select i % 1000, repeat('t', 50) from generate_series(1, 150000) i"
wait_for 20 '[ "$(state twins)" = none ]'
for k in 1 2; do
	if [ $k = 1 ]; then snap add twins >/dev/null; fi
	wait_for 60 "[ \"\$(grep -c 'all rows of a table.*public.twins' $DIR/run.log)\" = $k ]"
	pg_sql src "insert into twins values (-$k, 'meanwhile'); delete from twins where v = $k; update twins set pad = 'u' where v = 100 * $k"
	towline_kill run KILL
	towline_start run run -v -c "$DIR/conf.yaml"
done
wait_for 120 '[ "$(state twins)" = done ]'
pg_sql src "insert into twins values (-9, 'after')"
wait_for 60 'same_pg src dst twins'

# a table that goes away in the middle of it
snap add gone --wait >/dev/null
pg_sql src 'drop table gone'
fails 2 'the source has no table public.gone' add gone
pg_sql src "create table brief(id int primary key, v text); insert into brief select i, repeat('y', 200) from generate_series(1, 60000) i"
wait_for 20 '[ "$(state brief)" = none ]'
snap add brief
pg_sql src 'drop table brief'
wait_for 30 '[ "$(state brief)" = failed ]'
shows 'public.brief .*failed .*table public.brief is not there' ls
pg_sql src "insert into a values (6000, 'still here')"
wait_for 30 'same_pg src dst a'
