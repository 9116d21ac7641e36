#!/bin/bash
# Tables without a key: read by several connections of one snapshot, each some ranges of the heap's blocks, and published as one transaction.
# Rows that are the same in everything, partitions, a condition; writes go on; kill -9, a connection that is ended, one that is not to be
# had, pause and cancel in the middle.
# limit: 420
. "$(dirname "$0")/lib.sh"

pg_start src SRC log_statement=all "log_line_prefix='%p '"
pg_start dst DST
kafka_start
SRC=${SRC/postgres@/rep@}
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: { mode: never, jobs: 4 }
tables: [public.*]
rows: [public.part=v % 2 = 0]
kafka: { brokers: $BROKERS, partitions: 2 }
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
some='where v % 2 = 0'
[ "$(pg_major src)" -ge 15 ] || { # no filters of rows yet
	some=
	sed -i /^rows:/d "$DIR/conf.yaml"
}
pg_sql src "create role rep login replication; grant create on database postgres to rep; grant create on schema public to rep; set role rep;
	create table bag(v int, t text, big text); alter table bag alter big set storage external;
	create table days(day date, v int, t text) partition by range (day);
	create table days_1(t text, gone int, v int, day date); alter table days_1 drop gone;
	alter table days attach partition days_1 for values from ('2024-01-01') to ('2024-02-01');
	create table days_2 partition of days for values from ('2024-02-01') to ('2024-03-01');
	create table days_3 partition of days for values from ('2024-03-01') to ('2024-04-01');
	create table part(v int, t text); create table none(v int); create table noise(t text); create table fat(v int, pad text); create table base(v int); create table heir() inherits (base);
	alter table days_1 replica identity full; alter table days_2 replica identity full; alter table days_3 replica identity full;
	alter table bag replica identity full; alter table days replica identity full; alter table part replica identity full;
	alter table fat replica identity full; alter table noise replica identity full; alter table none replica identity full; alter table base replica identity full; alter table heir replica identity full"
# Pages of every kind: with holes, of updated rows, rows out of line; looked at by ANALYZE and not.
pg_sql src "set role rep; insert into bag select i % 1000, 'old', case when i % 5000 = 0 then repeat(md5(i::text), 200) end from generate_series(1, 300000) i;
	delete from bag where v between 500 and 520; update bag set t = 'old too' where v % 50 = 7;
	insert into days select date '2024-01-01' + i % 60, i % 100, 'old' from generate_series(1, 200000) i;
	insert into part select i % 100, 'old' from generate_series(1, 100000) i;
	insert into base select i % 10 from generate_series(1, 60000) i; insert into heir select i % 10 from generate_series(1, 60000) i; analyze bag;
	insert into fat select i, repeat('f', 900) from generate_series(1, 3000) i"
cat >"$DIR/load.sql" <<'E2'
\set i random(0, 999)
insert into bag values (:i, 'new'), (:i, 'new');
delete from bag where ctid = (select ctid from bag where v = :i and t = 'old' limit 1);
begin; update bag set t = 'newer' where v = :i and t = 'new'; delete from bag where ctid = (select min(ctid) from bag where v = (:i + 1) % 1000); commit;
update days set v = v + 1, day = '2024-03-01' where ctid = (select ctid from days_1 where v = :i % 100 limit 1) and tableoid = 'days_1'::regclass;
insert into days values ('2024-03-07', :i, 'new');
update part set v = v + 1 where ctid = (select max(ctid) from part where v = :i % 100); insert into part values (:i, 'new');
E2
"$PGBIN/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/load.sql" -c 2 -R 8 -T 600 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!

snap() { "$TOWLINE" snapshot -c "$DIR/conf.yaml" "$@"; }
field() { snap ls --json | python3 -c "import json, sys; print({t['table']: t['$2'] for t in json.load(sys.stdin)}['public.$1'])"; }
starts=0
run() {
	towline_start run run -v -c "$DIR/conf.yaml"
	starts=$((starts + 1))
	streaming
}
streaming() { wait_for 60 "[ \"\$(grep -c msg=streaming $DIR/run.log)\" -ge $starts ]"; }
# Rows from before, at the sinks: none, as long as no copy has been finished.
nothing_yet() {
	[ "$(pg_sql dst "select count(*) from bag where t = 'old'")" = 0 ] || flunk 'rows of an unfinished transaction are at the sink'
}
reading() { pg_sql src "select count(distinct pid) from pg_stat_activity where query like 'COPY%$1% WHERE ctid%' and state = 'active'"; }
# A condition that takes its time: there is a middle.
slow='pg_sleep(0.0003) IS NOT NULL'
middle() { # of another copy of the table; four read it
	wait_for 60 "[ \"\$(field $1 state)\" = copying ] && [ \"\$(field $1 rows)\" -gt 2000 ]"
	wait_for 20 "[ \"\$(reading $1)\" = 4 ]"
}
again() { # the session has ended, with what was out of the copy, and another begins
	starts=$((starts + 1))
	streaming
}
goes_on() {
	marker=$((${marker:-0} + 1))
	pg_sql src "insert into none values ($marker)"
	wait_for 30 "[ \"\$(pg_sql dst 'select max(v) from none')\" = $marker ]"
}

run
goes_on
connections() { pg_sql src "select count(*) from pg_stat_activity where usename = 'rep' and backend_type = 'client backend'"; }
idle=$(connections)
snap add bag --where "$slow"
middle bag
"$TOWLINE" snapshot -c "$DIR/conf.yaml" ls >"$DIR/ls"
grep -Eq 'public.bag +copying +\[[#.]+\] +[0-9]+ % +[0-9]+ rows of some [0-9]+, [1-9][0-9]* rows/s, .* left' "$DIR/ls" || flunk "$(cat "$DIR/ls")"
wait_for 30 "grep -Eq 'msg=copying table=public.bag rows=[1-9][0-9]* of_about=[1-9][0-9]* rows_s=[1-9][0-9]* left_s=[1-9]' $DIR/run.log"
# The stream waits meanwhile for longer than a connection may be silent, and there is more of it than fits on the way.
pg_sql src "insert into noise select repeat('n', 1000) from generate_series(1, 20000)"
wait_for 90 "[ \"\$(grep -c 'msg=copying table=public.bag' $DIR/run.log)\" -ge 6 ]"
[ "$(grep -c msg=streaming "$DIR/run.log")" = 1 ] || flunk 'the stream did not wait'

# killed: it begins anew
towline_kill run KILL
nothing_yet
run
middle bag

# a connection is ended, then that of the one that holds the snapshot
first() { grep 'SELECT pg_export_snapshot' "$DIR/pg-src.log" | tail -n 1 | cut -d ' ' -f 1; }
for which in '<>' '='; do
	pg_sql src "select pg_terminate_backend(pid) from pg_stat_activity where query like 'COPY%bag% WHERE ctid%'
		and pid $which $(first) limit 1" >"$DIR/ended"
	[ "$(cat "$DIR/ended")" = t ] || flunk "no connection of that kind: $(cat "$DIR/ended")"
	again
	middle bag
done

# paused, then cancelled
snap pause bag
[ "$(field bag state)" = paused ]
again
goes_on
nothing_yet
[ "$(reading bag)" = 0 ] || flunk 'paused, and still reading'
snap resume bag
middle bag
snap cancel bag
[ "$(field bag state)" = cancelled ]
again
goes_on
nothing_yet

# a condition that fails at a row in the middle
refute snap add bag --where '1 / (v - 250) IS NOT NULL' --wait
[ "$(field bag state)" = failed ]
goes_on
nothing_yet
starts=$(grep -c msg=streaming "$DIR/run.log")

# a table that leaves the publication in the middle, and comes back
snap add days --where "$slow"
middle days
starts=$((starts + 1))
left() { # it is taken in again before long
	pg_sql src "alter publication towline_$NAME drop table days" || true
	[ "$(grep -c msg=streaming "$DIR/run.log")" -ge $starts ]
}
wait_for 60 left
wait_for 30 "[ \"\$(pg_sql src \"select count(*) from pg_publication_tables where tablename = 'days'\")\" = 1 ]"
goes_on
[ "$(pg_sql dst "select count(*) from days where t = 'old' and day < '2024-03-01'")" = 0 ] || flunk 'rows of an unfinished transaction are at the sink'
wait_for 30 '[ "$(field days state)" = none ]'

# to the end; a part is read once
copied() {
	local from=$(($(wc -l <"$DIR/pg-src.log") + 1))
	snap add "$1" --wait
	[ "$(field "$1" state)" = done ]
	tail -n +"$from" "$DIR/pg-src.log" | grep -E "COPY \(SELECT .* FROM (ONLY )?\"public\".\"$1\" WHERE" >"$DIR/parts-$1" || true
	[ -z "$(sed 's/^[0-9]* //' "$DIR/parts-$1" | sort | uniq -d)" ] || flunk "a part was read twice: $(cat "$DIR/parts-$1")"
}
for t in bag days part none base heir; do copied $t; done
[ "$(wc -l <"$DIR/parts-days")" -gt 4 ] || flunk "not parted: $(cat "$DIR/parts-days")"
pg_sql src "explain select from days where $(sed -n "s/.*WHERE \(ctid >= [^ ]* AND ctid < [^ ]*\)).*/\1/p" "$DIR/parts-days" | head -n 1)" >"$DIR/plan"
grep -q 'Tid Range Scan on days_2' "$DIR/plan" || flunk "$(cat "$DIR/plan")"

# All see what the first one saw, however late they come: what commits meanwhile is not both in the rows and in the stream.
# (Wide rows, which find no room but at the end.)
echo "insert into fat values (0, repeat('m', 900))" >"$DIR/fat.sql"
"$PGBIN/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/fat.sql" -c 1 -R 300 -T 600 postgres >"$DIR/pgbench-fat.log" 2>&1 &
FLOW_PID[fat]=$!
wait_for 20 "[ \"\$(pg_sql src 'select count(*) > 3100 from fat')\" = t ]"
snap add fat --where 'pg_sleep(0.0005) IS NOT NULL' --wait
grep 'COPY (.*"fat" WHERE ctid' "$DIR/pg-src.log" | cut -d ' ' -f 1 | sort -u >"$DIR/fat"
kill -s TERM "${FLOW_PID[fat]}"
wait "${FLOW_PID[fat]}" || true
unset 'FLOW_PID[fat]'
[ "$(wc -l <"$DIR/fat")" -gt 1 ] || flunk 'one alone has read it'
wait_for 60 'same_pg src dst fat'

# again, with one connection to be had and no more
wait_for 20 '[ "$(connections)" = "$idle" ]'
pg_sql src "alter role rep connection limit $((idle + 2))"
copied bag
[ "$(cut -d ' ' -f 1 "$DIR/parts-bag" | sort -u | wc -l)" = 1 ] || flunk 'more connections than the role may have'
[ "$(grep -c 'a table is read by a connection less.*table=public.bag' "$DIR/run.log")" = 3 ] || flunk "nobody was left out"
pg_sql src 'alter role rep connection limit -1'

kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'
lite() { sqlite3 -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1"; }
same() { # TABLE COLUMNS ORDER [WHERE at the source]: the same rows in all three, each as often
	local sql="select $2 from $1 order by $3"
	wait_for 60 "diff <(pg_sql src \"select $2 from $1 ${4:-} order by $3\" | md5sum) <(pg_sql dst \"$sql\" | md5sum)"
	wait_for 60 "diff <(pg_sql dst \"$sql\" | md5sum) <(lite \"$sql\" | md5sum)"
}
wait_for 90 'same_pg src dst bag days "only base" heir none'
same bag "v, t, coalesce(big, '')" '1, 2, 3'
same days 'day, v, t' '1, 2, 3'
same part 'v, t' '1, 2' "$some"
same heir v 1
[ "$(pg_sql src "select count(*) > count(distinct t::text) from bag t")" = t ] || flunk 'no row is there twice'
