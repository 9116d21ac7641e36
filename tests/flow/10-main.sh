#!/bin/bash
# The main job: whatever is committed at a real PostgreSQL arrives, through a real Kafka, in another PostgreSQL and in a SQLite file.
# limit: 180
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2

pg_sql src <<'E2'
create table item(id int primary key, name text, price numeric(10,2), at timestamptz default now(), big text);
alter table item alter big set storage external;
create table "Odd Names"("the id" bigint, part smallint, "va lue" text, primary key (part, "the id"));
create table pair(a text, b int, c double precision, primary key (b, a));
create table log(at timestamp, line text);
alter table log replica identity full;
create table small(id serial primary key, flag boolean);
create table kinds(id uuid primary key, i2 int2, i4 int4, i8 int8, f4 real, f8 double precision, b bool, t text, v varchar(20), c char(5),
  n numeric, n2 numeric(20,5), ba bytea, d date, ti time, tz timetz, ts timestamp, tsz timestamptz, iv interval, j json, jb jsonb, x xml,
  m money, bi bit(5), vb varbit, o oid, arr int[], tarr text[], r int4range, ip inet, e int2 default 7);
create type mood as enum ('sad', 'so so', 'happy');
create table moods(id int primary key, m mood);
E2

towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run.log"

# what a pipeline must carry, table by table
pg_sql src <<'E2'
insert into item select i, 'item ' || i, i * 1.25, now(), repeat(md5(i::text), 100) from generate_series(1, 500) i;
update item set price = price + 1 where id % 7 = 0;
update item set big = null where id = 8;
delete from item where id % 11 = 0;
update item set id = id + 10000 where id % 13 = 0;
update item set name = null, big = 'short' where id = 1;
begin; insert into item values (20000, 'a', 1); delete from item where id = 20000; insert into item values (20000, 'b', 2); commit;
insert into "Odd Names" values (1, 1, 'one'), (2, 1, 'two'), (1, 2, null);
update "Odd Names" set "va lue" = 'eins' where "the id" = 1 and part = 1;
update "Odd Names" set part = 9 where part = 2;
delete from "Odd Names" where "the id" = 2;
insert into pair values ('x', 1, 0.1), ('y', 1, 'NaN'), ('x', 2, '-Infinity'), ('', 3, 1e300);
update pair set a = 'yy', c = 2 where a = 'y';
insert into log select '2026-01-01'::timestamp + i * interval '1 second', 'line ' || (i % 5) from generate_series(1, 50) i;
insert into log values (null, null), (null, null);
update log set line = 'changed' where line = 'line 3';
delete from log where line = 'line 4';
delete from log where ctid = (select ctid from log where line is null limit 1);
insert into small(flag) values (true), (false), (null);
truncate small;
insert into small(flag) values (true);
insert into moods values (1, 'sad'), (2, 'so so'), (3, null);
update moods set m = 'happy' where id = 1;
insert into kinds values ('00000000-0000-0000-0000-000000000001', -32768, 2147483647, -9223372036854775808, 1.1, 2.2, true, e'tab\t"quote" \\ ünï', 'v', 'c',
  12345678901234567890123456789012345678901234567890.123, -0.00001, '\x00ff', '2026-02-28', '23:59:59.999999', '12:00+05:30', '2026-01-02 03:04:05.678901',
  '2026-01-02 03:04:05.678901+02', '1 year 2 mons 3 days 04:05:06.789', '{"a": 1}', '{"b": [1, 2.50]}', '<a/>', '-12.34', b'10101', b'1', 4294967295,
  '{1,null,3}', '{"a b","c\"d",null}', '[1,5)', '10.0.0.1/24');
insert into kinds(id, n, n2, f4, f8, d, ts, tsz, iv, arr) values ('00000000-0000-0000-0000-000000000002', 'NaN', 'NaN', 'NaN', 'Infinity', 'infinity', '-infinity',
  'infinity', '-1 mons +1 day', '{{1,2},{3,4}}');
insert into kinds(id, n, d, ts, tsz, ti) values ('00000000-0000-0000-0000-000000000003', 1.500, '0044-03-15 BC', '0044-03-15 12:00 BC', '4713-01-01 00:00+00 BC', '24:00');
insert into kinds(id) values ('00000000-0000-0000-0000-000000000004');
E2

# a transaction over several tables, and one larger than a group
pg_sql src <<'E2'
begin;
insert into item select i, 'bulk', 0, now(), null from generate_series(100000, 135000) i;
update pair set c = c + 1 where b = 1;
delete from item where id between 100000 and 101000;
commit;
select pg_logical_emit_message(true, 'app', 'in a transaction');
select pg_logical_emit_message(false, 'app', 'by itself');
E2

# the schema changes while it runs
pg_sql src <<'E2'
insert into moods values (10, 'sad');
alter table moods add column why text;
insert into moods values (11, 'sad', 'rain');
update moods set why = 'sun' where id = 1;
create table later(id int primary key, t text);
E2
wait_for 20 "grep -q 'tables joined' $DIR/run.log"
pg_sql src "insert into later values (1, 'late')"

all='item pair log small kinds moods later "Odd Names"'
wait_for 60 "same_pg src dst item pair log small kinds moods later '\"Odd Names\"'"
say "PostgreSQL: equal ($all)"

# SQLite: the same rows; text forms that both sides print alike
sqlite() { sqlite3 -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1"; }
lite_same() { diff <(sqlite "$1") <(pg_sql src "$2"); }
wait_for 20 "lite_same 'select id, name, price, length(big) from item order by id' 'select id, name, price, length(big) from item order by id'"
wait_for 5 "lite_same 'select * from moods order by id' 'select * from moods order by id'"
lite_kinds() { lite_same "select id, n2, i8, t, hex(ba), j, jb from kinds order by id" "select id, n2, i8, t, upper(encode(ba, 'hex')), j, jb from kinds order by id"; }
wait_for 5 lite_kinds
wait_for 5 "lite_same 'select line, count(*) from log group by 1 order by 1' 'select line, count(*) from log group by 1 order by line collate \"C\" nulls first'"
say "SQLite: equal"

# an orderly end and a new start lose and repeat nothing
towline_kill run TERM
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM"
pg_sql src "insert into item values (300000, 'while away', 1); update item set name = 'seen' where id = 2"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "same_pg src dst item"
wait_for 10 "lite_same 'select count(*) from item' 'select count(*) from item'"

# the slot follows, also when nothing of ours is written
pg_sql src "create table other(id int); select count(*) from pg_switch_wal()" >/dev/null
wait_for 30 "[ \"\$(pg_sql src \"select pg_current_wal_lsn() - confirmed_flush_lsn < 16777216 from pg_replication_slots where slot_name = 'towline_$NAME'\")\" = t ]"
