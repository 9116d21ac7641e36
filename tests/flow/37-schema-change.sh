#!/bin/bash
# Tables change their shape while rows are written: PostgreSQL (whole transactions, and by key) and SQLite follow, and stay equal.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
pg_sql dst "create database lanes"
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  copy: $DST
  lanes: { url: "${DST%/*}/lanes", apply: key, lanes: 3 }
  edge: sqlite:$DIR/data/edge.db
E2

pg_sql src <<'E2'
create table busy(id serial primary key, a int, b text);
create table shape(id int primary key, a int, b varchar(5), c numeric(6,2), gone text not null, e smallint, f text, swap1 int);
create table moved(id int primary key, v text);
create table rekeyed(id int primary key, other int not null, v text);
create table again(id int primary key, old text);
create table ri(id int primary key, v text, w text);
create table parts(id int, at date, v text, primary key (id, at)) partition by range (at);
create table parts_1 partition of parts for values from ('2026-01-01') to ('2026-02-01');
create type mood as enum ('sad', 'happy');
create table moods(id int primary key, m mood);
E2
# made by its owner, with an enum of its own
pg_sql dst "create type mood as enum ('sad', 'happy'); create table moods(id int primary key, m mood)"

towline_start run run -c "$DIR/conf.yaml"
wait_for 60 "grep -q 'msg=streaming' $DIR/run.log"

# The writer: it never stops, so each change of shape is met by rows before and behind it.
: >"$DIR/data/write"
writer() {
	local i=0
	while [ -e "$DIR/data/write" ]; do
		i=$((i + 1))
		pg_sql src "insert into busy(a) select i from generate_series(1, 20) i;
			update busy set a = coalesce(a, 0) + 1 where id % 7 = $((i % 7));
			delete from busy where id % 97 = $((i % 97)) or id < $i * 20 - 2000" || return
	done
}
writer &
WRITER=$!

# equal TABLE COLUMNS: the same rows at the source and at all three sinks.
rows_of() { FLOW_DB=${3:-postgres} pg_sql "$1" "select $2" | LC_ALL=C sort | md5sum; }
lite_rows() { sqlite3 -separator '|' -nullvalue '' "$DIR/data/edge.db" "select $1" | LC_ALL=C sort | md5sum; }
equal() {
	local want
	want=$(rows_of src "$1")
	[ "$(rows_of dst "$1")" = "$want" ] || { echo "copy differs"; return 1; }
	[ "$(rows_of dst "$1" lanes)" = "$want" ] || { echo "lanes differ"; return 1; }
	[ "$(lite_rows "$1")" = "$want" ] || { echo "edge differs"; return 1; }
}
settled() { wait_for 60 "equal '$1'"; say "equal: $1"; }

pg_sql src "insert into shape select i, i, 'b' || i, i, 'g', i, 'f', i from generate_series(1, 20) i;
	insert into moved values (1, 'one'), (2, 'two'); insert into rekeyed values (1, 10, 'a'), (2, 20, 'b');
	insert into again values (1, 'x'); insert into ri values (1, 'a', 'b'); insert into moods values (1, 'sad');
	insert into parts values (1, '2026-01-05', 'p')"
settled '* from shape'

# columns: added, with and without a default, NOT NULL; dropped; renamed; a new one under an old name
pg_sql src "alter table busy add column plain int; insert into busy(a, plain) values (1, 1)"
pg_sql src "alter table busy add column dflt int not null default 7, add column word text default 'it''s'; update busy set dflt = 8 where id % 5 = 0"
pg_sql src "alter table busy rename column b to label; update busy set label = 'renamed' where id % 3 = 0"
pg_sql src "alter table shape drop column gone; insert into shape(id, a) values (100, 1)"
pg_sql src "alter table shape rename column a to a2; alter table shape add column a text; update shape set a = 'new' where id < 5; insert into shape(id, a2, a) values (101, 2, 'x')"
settled 'id, a2, a, b, e from shape'
[ "$(pg_sql dst "select count(*) from shape where gone = 'g'")" = 20 ] || flunk "a dropped column lost its values at the sink"

# wider: int4 to int8, int2 to int4, varchar(n) to longer and to text, numeric; int to text; NOT NULL gone
pg_sql src "alter table shape alter a2 type bigint; update shape set a2 = 5000000000 where id = 1"
pg_sql src "alter table shape alter e type int, alter b type varchar(30), alter c type numeric(12,4);
	update shape set e = 70000, b = repeat('w', 30), c = 12345678.1234 where id = 2"
pg_sql src "alter table shape alter b type text; update shape set b = repeat('t', 60) where id = 3"
pg_sql src "alter table shape alter swap1 type text; update shape set swap1 = '007' where id = 4; insert into shape(id, swap1) values (103, 'no number')"
pg_sql src "alter table rekeyed alter other drop not null; insert into rekeyed values (3, null, 'c')"
settled 'id, a2, e, b, swap1 from shape'
wait_for 20 "same_pg src dst rekeyed"
[ "$(pg_sql dst 'select c from shape where id = 2')" = 12345678.1234 ] || flunk "numeric was not widened"

# a default that changes; an enum's label; the key; REPLICA IDENTITY
pg_sql src "alter table shape alter f set default 'later'; insert into shape(id) values (104); alter table shape alter f drop default; insert into shape(id) values (105)"
pg_sql src "alter type mood add value 'so so' before 'happy'"
pg_sql src "insert into moods values (2, 'so so'); update moods set m = 'so so' where id = 1"
settled 'id, m from moods'
[ "$(pg_sql dst "select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = 'mood'::regtype")" = 'sad,so so,happy' ] ||
	flunk "the labels of the sink's enum are not in order"
pg_sql src "delete from rekeyed where id = 3; alter table rekeyed drop constraint rekeyed_pkey, add primary key (other, v);
	insert into rekeyed values (1, 11, 'same id'); update rekeyed set v = 'bb' where other = 20; delete from rekeyed where other = 10"
wait_for 60 "same_pg src dst rekeyed"
pg_sql src "alter table ri replica identity full; update ri set v = 'full'; insert into ri values (2, 'c', 'd')"
pg_sql src "create unique index ri_v on ri(v); alter table ri alter v set not null; alter table ri replica identity using index ri_v; update ri set w = 'by v' where id = 2"
pg_sql src "alter table ri replica identity default; update ri set w = 'by id' where id = 1; delete from ri where id = 2"
settled 'id, f, b from shape'
settled 'id, v, w from ri'

# several versions inside one transaction
pg_sql src "begin; insert into shape(id, f) values (200, 'v1'); alter table shape rename f to ff; insert into shape(id, ff) values (201, 'v2');
	alter table shape add column fff int default 3; insert into shape(id, ff) values (202, 'v3'); alter table shape rename ff to f;
	update shape set f = 'v4', fff = 4 where id = 200; commit"
settled 'id, f, fff, a2 from shape'

# tables: renamed, made, dropped and made again in another shape; partitions come and go
pg_sql src "alter table moved rename to moved_on; insert into moved_on values (3, 'three'); update moved_on set v = 'changed' where id = 1"
settled 'id, v from moved_on'
[ "$(pg_sql dst "select to_regclass('moved') is null")" = t ] || flunk "the table of the old name is still there"
pg_sql src "create table fresh(id int primary key, v text); create table tree(id int primary key, v text) partition by hash (id)"
pg_sql src "create table tree_0 partition of tree for values with (modulus 2, remainder 0); create table tree_1 partition of tree for values with (modulus 2, remainder 1)"
wait_for 30 "[ \"\$(pg_sql src \"select count(*) from pg_publication_tables where pubname = 'towline_$NAME' and tablename in ('fresh', 'tree')\")\" = 2 ]"
pg_sql src "insert into fresh values (1, 'f'); insert into tree select i, 'leaf' from generate_series(1, 10) i; update tree set v = 'x' where id = 5"
settled 'id, v from fresh'
settled 'id, v from tree'
pg_sql src "create table parts_2(id int not null, at date not null, v text, primary key (id, at));
	alter table parts attach partition parts_2 for values from ('2026-02-01') to ('2026-03-01'); insert into parts values (2, '2026-02-03', 'attached')"
settled 'id, at, v from parts'
pg_sql src "alter table parts detach partition parts_1; insert into parts values (3, '2026-02-04', 'after')"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from parts')\" = 3 ]" # what went with its partition stays
pg_sql src "drop table again; create table again(id bigint primary key, new int)"
wait_for 30 "[ \"\$(pg_sql src \"select count(*) from pg_publication_tables where pubname = 'towline_$NAME' and tablename = 'again'\")\" = 1 ]"
pg_sql src "insert into again values (5000000000, 5)"
wait_for 30 "[ \"\$(pg_sql dst 'select id, new from again where id > 1')\" = '5000000000|5' ]"
grep -q 'another table has the name now.*again' "$DIR/run.log"

# the writer's table went through all of it, too
rm "$DIR/data/write"
wait "$WRITER"
settled 'id, a, plain, dflt, word, label from busy'
towline_kill run TERM
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM"
refute grep -q 'rows to change were not at the sink' "$DIR/run.log"
