#!/bin/bash
# Tables and columns under other names at a sink, or not at all there: three sinks, each with names of its own, hold what the source has;
# also over dead letters, truncates, changed keys, and renames at the source.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
pg_sql dst "create database lanes"
conf() { # conf TABLES-OF-COPY COLUMNS-OF-COPY
	cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS, partitions: 3 }
http: none
sinks:
  copy:
    url: $DST
    tables: ["!public.audit_*"]
    rename: { $1 }
    columns: { exclude: [public.orders.note], rename: { $2 } }
    on_error: dead-letter
  lanes:
    url: ${DST%/*}/lanes
    schema: flat
    rename: { app.*: other.*, public.parts: items }
    columns: { rename: { public.orders.total: t } }
    apply: key
    lanes: 3
  edge:
    url: sqlite:$DIR/data/edge.db
    tables: [public.orders, app.*]
    rename: [app.log=journal, public.orders=main.o]
    columns: { rename: [public.orders.who=client] }
E2
}
conf 'public.orders: sales.orders2, app.log: events' 'public.orders.total: sum, public.orders.id: no'
pg_sql src <<'E2'
create schema app;
create table orders(id int primary key, total numeric(10,2), note text, who text);
create table parts(x int, y text);
alter table parts replica identity full;
create table app.log(id bigserial primary key, v text);
create table audit_1(id int primary key, v text);
E2
towline_start run run -c "$DIR/conf.yaml"
wait_for 60 "grep -q 'msg=streaming' $DIR/run.log"

rows_of() { FLOW_DB=${3:-postgres} pg_sql "$1" "select $2" | LC_ALL=C sort | md5sum; }
lite() { sqlite3 -cmd '.timeout 8000' -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1"; }
# same WANT-AT-SOURCE COPY LANES EDGE: selects; '' where that sink has not got it
same() {
	local want
	want=$(rows_of src "$1")
	[ -z "$2" ] || [ "$(rows_of dst "$2")" = "$want" ] || { echo "copy: $2"; return 1; }
	[ -z "$3" ] || [ "$(rows_of dst "$3" lanes)" = "$want" ] || { echo "lanes: $3"; return 1; }
	[ -z "${4:-}" ] || [ "$(lite "select $4" | LC_ALL=C sort | md5sum)" = "$want" ] || { echo "edge: $4"; return 1; }
}
all_same() {
	same 'id, total, who from orders' 'no, sum, who from sales.orders2' 'id, t, who from flat.orders' 'id, printf("%.2f", total), client from o' &&
		same 'note from orders' '' 'note from flat.orders' 'note from o' && same 'x, y from parts' 'x, y from parts' 'x, y from flat.items' &&
		same 'id, v from app.log' 'id, v from app.events' 'id, v from other.log' 'id, v from journal' &&
		same 'id, v from audit_1' '' 'id, v from flat.audit_1'
}

pg_sql src "insert into orders select i, i * 1.25, 'note ' || i, 'who ' || i % 7 from generate_series(1, 2000) i;
	insert into parts select i % 5, 'twin' from generate_series(1, 20) i; insert into app.log(v) select 'v' || i from generate_series(1, 300) i;
	insert into audit_1 values (1, 'a'), (2, 'b');
	update orders set total = total + 1, note = 'other' where id % 3 = 0; delete from orders where id % 10 = 0; update orders set id = id + 10000 where id < 50;
	delete from parts where ctid in (select min(ctid) from parts group by x); update parts set y = 'z' where x = 1; update audit_1 set v = 'c' where id = 1"
wait_for 60 all_same
pg_sql src "begin; truncate app.log, audit_1; insert into app.log(v) values ('after'); insert into audit_1 values (9, 'after'); commit"
wait_for 60 all_same
[ "$(pg_sql dst "select string_agg(table_schema || '.' || table_name, ' ' order by table_schema) from information_schema.tables where table_schema not in
	('pg_catalog', 'information_schema', 'towline')")" = 'app.events public.parts sales.orders2' ] || flunk "other tables than these at copy"
[ "$(pg_sql dst "select string_agg(column_name, ' ' order by ordinal_position) from information_schema.columns where table_name = 'orders2'")" = 'no sum who' ]
[ "$(lite "select group_concat(name, ' ') from sqlite_master where type = 'table' and name not like 'towline%' and name not like 'sqlite%'")" = 'o journal' ]

# looked up by the source's name, wherever it is
read_at() { "$TOWLINE" read --json -c "$DIR/conf.yaml" --prefer replica --max-lag 1h "$@"; }
wait_for 30 "grep -q 'no such row in orders at' <(read_at orders 7777 2>&1)"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do read_at orders id=51 >>"$DIR/data/read.out"; done
refute grep -q primary "$DIR/data/read.out"
read_at audit_1 9 >"$DIR/data/read.one"
grep -q '"node":"lanes"' "$DIR/data/read.one"

# what copy refuses waits, and comes back
pg_sql dst "alter table sales.orders2 add constraint positive check (sum >= 0)"
pg_sql src "insert into orders values (30001, -1, 'n', 'w'), (30002, 1, 'n', 'w'); update orders set who = 'later' where id = 30001"
wait_for 30 "[ \"\$(pg_sql dst 'select no from sales.orders2 where no > 30000')\" = 30002 ]"
"$TOWLINE" dlq ls copy -c "$DIR/conf.yaml" | grep -q 30001
pg_sql dst "alter table sales.orders2 drop constraint positive"
"$TOWLINE" dlq retry copy --all -c "$DIR/conf.yaml" >"$DIR/data/retry.out" || flunk "$(cat "$DIR/data/retry.out")"
wait_for 60 all_same

# the source adds a column, and renames one that has another name here: said before anything is written
pg_sql src "alter table orders add more int; insert into orders(id, more) values (40001, 5)"
wait_for 30 "same 'id, total, who, more from orders' 'no, sum, who, more from sales.orders2' 'id, t, who, more from flat.orders' 'id, printf(\"%.2f\", total), client, more from o where total is not null union all select id, total, client, more from o where total is null'"
pg_sql src "alter table orders rename who to person; insert into orders(id, person) values (40002, 'ann')"
towline_wait run 30
[ "$STATUS" = 3 ] || flunk "ended with $STATUS"
grep -qF "sinks.edge.columns.rename: column who of public.orders is called person at the source now; add 'public.orders.person: client'" "$DIR/run.log"
sed -i 's/rename: \[public.orders.who=client\]/rename: [public.orders.who=client, public.orders.person=client]/' "$DIR/conf.yaml"
towline_start run run -c "$DIR/conf.yaml"
wait_for 60 "[ \"\$(lite 'select client from o where id = 40002')\" = ann ]"
wait_for 60 "same 'id, total, person from orders' 'no, sum, person from sales.orders2' 'id, t, person from flat.orders'"
[ "$(lite "select count(*) from pragma_table_info('o') where name in ('who', 'person')")" = 0 ]

# the source renames a table: each sink's own follows to what its configuration makes of the new name
pg_sql src "insert into app.log(v) values ('before'); alter table app.log rename to journal; insert into app.journal(v) values ('renamed')"
wait_for 60 "same 'id, v from app.journal' 'id, v from app.journal' 'id, v from other.journal' 'id, v from app_journal'"
[ "$(pg_sql dst "select to_regclass('app.events') is null")" = t ]

# another name for a table that has rows here: said, with the statement, and nothing is begun anew
towline_kill run TERM
sed -i 's/public.orders: sales.orders2/public.orders: archive.old_orders/; s/schema: flat/schema: round/' "$DIR/conf.yaml"
pg_sql src "insert into orders(id, person) values (40003, 'eve'); insert into audit_1 values (40003, 'eve')"
refused() { # SINK TEXT
	towline_start "$1" consumer -c "$DIR/conf.yaml" "$1"
	towline_wait "$1" 60
	[ "$STATUS" = 5 ] || flunk "$1 ended with $STATUS"
	grep -qF -- "$2" "$DIR/$1.log" || flunk "$(tail -n 1 "$DIR/$1.log")"
}
towline_start producer producer -c "$DIR/conf.yaml"
refused copy 'table "public"."orders" is "sales"."orders2" at this sink, with its rows, and the configuration of sink copy calls it "archive"."old_orders" now:'
grep -qF ': ALTER TABLE "sales"."orders2" SET SCHEMA "archive"; ALTER TABLE "archive"."orders2" RENAME TO "old_orders"; or take back' "$DIR/copy.log"
refused lanes 'calls it "round"'
for db in postgres lanes; do
	[ "$(FLOW_DB=$db pg_sql dst "select count(*) from pg_tables where schemaname in ('archive', 'round')")" = 0 ] || flunk "begun anew in $db"
done
pg_sql dst 'create schema archive; alter table sales.orders2 set schema archive; alter table archive.orders2 rename to old_orders'
FLOW_DB=lanes pg_sql dst 'alter schema flat rename to round'
towline_start copy consumer -c "$DIR/conf.yaml" copy
towline_start lanes consumer -c "$DIR/conf.yaml" lanes
wait_for 60 "same 'id, total, person from orders' 'no, sum, person from archive.old_orders' 'id, t, person from round.orders'"
wait_for 60 "same 'id, v from audit_1' '' 'id, v from round.audit_1'"

# check sees two tables on one name before a row does
sed -i 's/app.log: events/app.journal: public.parts/' "$DIR/conf.yaml"
refute "$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/data/check.out" 2>&1
grep -q 'would both go there' "$DIR/data/check.out" || flunk "$(cat "$DIR/data/check.out")"
