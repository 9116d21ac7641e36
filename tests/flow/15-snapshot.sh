#!/bin/bash
# The first copy, while writes go on: tables of many kinds of keys, rows with TOAST values that are updated, deleted and moved to other
# keys meanwhile; the producer is killed in the middle of it and goes on where it was; a table that joins is copied too.
#   KILLS=n   how many (3)
# limit: 300
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-3}

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: { jobs: 2, rows: 300 }
tables: [public.*]
columns: { mask: ['public.hidden.mail=hash'], salt: s3cret }
kafka: { brokers: $BROKERS, partitions: 3 }
sinks:
  copy: $DST
  keyed: { url: "${DST%/*}/keyed", schema: keyed, apply: key, lanes: 2 }
  edge: sqlite:$DIR/data/edge.db
E2
# The operators of a type in a schema that is on nobody's path: compared as text, 'a' and 'B' would stand otherwise.
pg_sql src "create schema ext; create extension citext schema ext; create type mood as enum ('sad', 'ok', 'glad');
	create table acc(id int primary key, n int not null default 0, note text, big text); alter table acc alter big set storage external;
	create table pair(x text, y numeric, at timestamptz, n int, primary key (x, y, at));
	create table word(w ext.citext primary key, n int);
	create table kind(m mood, u uuid, b bytea, d date, primary key (m, u, b, d));
	create table bits(k bit(5), r int4range, a int[], c char(4), n int, primary key (k, r, a, c));
	create table hidden(id bigint primary key, mail text);
	create table parts(id int, region text, n int, primary key (id, region)) partition by list (region);
	create table parts_a partition of parts for values in ('a'); create table parts_b partition of parts for values in ('b');
	create table tree(id int primary key, n int); create table branch(primary key (id)) inherits (tree);
	create table full_id(id int primary key, v text); alter table full_id replica identity full;
	create table heap(v int, t text); alter table heap replica identity full;
	create table nothing(v int); alter table nothing replica identity full;
	create table empty(id int primary key);
	create table still(id int primary key, v text)"
pg_sql src "insert into acc select i, 0, 'n' || i, repeat(md5(i::text), 100) from generate_series(1, 6000) i;
	insert into pair select 'k' || i % 9, i / 7.0, timestamptz '2024-01-01' + i * interval '1 hour', i from generate_series(1, 4000) i;
	insert into word select chr(ascii(case when i % 2 = 0 then 'a' else 'A' end) + i % 26) || i, i from generate_series(1, 3000) i;
	insert into kind select (enum_range(null::mood))[1 + i % 3], md5(i::text)::uuid, decode(md5(i::text), 'hex'), date '2000-01-01' + i
	  from generate_series(1, 2000) i;
	insert into bits select (i % 32)::bit(5), int4range(i, i + 5), array[i, i % 7], chr(65 + i % 26), i from generate_series(1, 2000) i;
	insert into hidden select i * 1000000007::bigint, i || '@example.org' from generate_series(1, 1000) i;
	insert into parts select i, chr(97 + i % 2), i from generate_series(1, 3000) i;
	insert into tree select i, i from generate_series(1, 500) i; insert into branch select i, i from generate_series(501, 900) i;
	insert into full_id select i, 'v' || i from generate_series(1, 1000) i;
	insert into heap select i % 700, repeat('h', i % 50) from generate_series(1, 20000) i;
	insert into still select i, 'v' || i from generate_series(1, 150000) i; analyze"

# Updates that leave the TOAST value out, or set it; rows that go, come, and get other keys: behind the copy, before it, and back.
cat >"$DIR/load.sql" <<'E2'
\set i random(1, 6000)
\set j random(1, 12000)
\set k random(1, 4000)
update acc set n = n + 1 where id = :i;
update acc set big = repeat(md5((:i + :j)::text), 100), n = n + 1 where id = :i + 3;
delete from acc where id = :j and :j % 7 = 0;
insert into acc values (:j, 1, 'new', repeat('x', 3000)) on conflict do nothing;
update acc set id = :j where id = :i and :i % 4 = 0 and not exists (select from acc where id = :j);
begin; update acc set id = -1 - :i where id = :i; update acc set note = 'went and came', n = n + 1 where id = -1 - :i;
update acc set id = :i where id = -1 - :i; commit;
update pair set n = n + 1 where y = round(:k / 7.0, 20);
update pair set x = 'moved' || :j where n = :k;
delete from word where n = :k;
insert into word values ('W' || :j, :j) on conflict do nothing;
update parts set region = case region when 'a' then 'b' else 'a' end where id = :k;
insert into heap values (:k, 'new'), (:k, 'new'); delete from heap where v = :k + 1; update heap set t = 'changed' where v = :k / 6 and t like 'h%';
insert into nothing values (:k);
delete from full_id where id = :k; update full_id set v = 'u' || :j where id = :k + 1;
update hidden set mail = :j || '@example.com' where id = :k * 1000000007::bigint;
E2
"$PGBIN/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/load.sql" -c 2 -R 30 -T 600 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!
wait_for 20 "[ \"\$(pg_sql src 'select sum(n) > 100 from acc')\" = t ]"

pg_sql dst "create database keyed"
for s in copy keyed edge; do towline_start $s consumer -c "$DIR/conf.yaml" $s; done
towline_start producer producer -v -c "$DIR/conf.yaml"
# What the newest record of a table in the control topic says.
record() { kcat -b "$BROKERS" -C -t "$NAME.towline.control" -e -q -f '%k %s\n' | grep "^snapshot/public.$1 " | tail -n 1; }
copied() { record "$1" | grep -q '"state":"done"'; }
for ((k = 1; k <= kills; k++)); do
	lines=$(grep -c 'chunk copied.*public.still' "$DIR/producer.log" || true)
	wait_for 60 "[ \"\$(grep -c 'chunk copied.*public.still' $DIR/producer.log)\" -gt $((lines + 40)) ]"
	towline_kill producer KILL
	at=$(record still | sed 's/.*"rows":\([0-9]*\).*/\1/')
	[ "$at" -lt 150000 ] || flunk 'copied before it was killed'
	towline_start producer producer -v -c "$DIR/conf.yaml"
	wait_for 30 "grep -q 'copying a table further.*table=public.still rows=$at' $DIR/producer.log"
done
tables='acc pair word kind bits hidden parts tree branch full_id still heap nothing'
for t in $tables empty; do wait_for 90 "copied $t"; done

# A table that joins: its first rows are there before anybody has looked.
pg_sql src "create table late(id int primary key, v text); insert into late select i, 'v' || i from generate_series(1, 2000) i;
	update late set v = 'u' where id % 3 = 0; delete from late where id < 10"
wait_for 30 'copied late'
# Another table of a name that has been copied.
pg_sql src "drop table empty; create table empty(id int primary key); insert into empty select generate_series(1, 50)"
kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'

for t in acc pair kind bits parts 'only tree' branch full_id still late empty heap nothing; do
	wait_for 90 "same_pg src dst '$t'"
	wait_for 90 "[ \"\$(digest_pg src '$t')\" = \"\$(FLOW_DB=keyed digest_pg dst keyed.${t#only })\" ]"
done
# At the sinks citext is text, and the mails are hashed.
word="select w::text collate \"C\", n from word order by 1"
wait_for 30 "diff <(pg_sql src '$word') <(pg_sql dst '$word')"
wait_for 30 "[ \"\$(pg_sql src 'select count(*) from hidden')\" = \"\$(pg_sql dst 'select count(*) from hidden where mail !~ chr(64)')\" ]" ||
	flunk "$(pg_sql dst 'select * from hidden limit 3')"
lite_same() { diff <(sqlite3 -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1") <(pg_sql src "$1"); }
wait_for 30 "lite_same 'select id, n, note, big from acc order by id'"
for t in parts still late; do wait_for 30 "lite_same 'select * from $t order by id'"; done

# It went on where it was: each start read again what was on its way (some chunks for each connection), not what was done. The rest of the topic is one record a row.
records=$(kcat -b "$BROKERS" -C -t "$NAME.public.still" -e -q -f 'x\n' | wc -l)
[ "$records" -ge 150000 ] && [ "$records" -lt $((150000 + kills * 10000)) ] || flunk "$records records of 150000 rows after $kills kills"
# Debezium's form: no transaction, the mark of an incremental snapshot.
"$TOWLINE" tail -c "$DIR/conf.yaml" --json --from beginning -n 1 public.still >"$DIR/tail.json"
grep -q '"op": *"r"' "$DIR/tail.json" || flunk "$(cat "$DIR/tail.json")"
say "$kills kills, $records records for 150000 rows"
