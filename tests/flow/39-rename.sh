#!/bin/bash
# Names that are used again: what was renamed, dropped, swapped or parked before must never put a value into another column or table, or be
# passed over without a word.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: never
kafka: $BROKERS
sinks:
  copy: { url: "$DST", on_error: dead-letter }
  edge: { url: "sqlite:$DIR/data/edge.db", on_error: dead-letter }
E2
lite() { sqlite3 -cmd '.timeout 8000' -separator '|' -nullvalue '' "$DIR/data/edge.db" "$1"; }
producer() { towline_start producer producer -c "$DIR/conf.yaml"; }
consume() { towline_start "$1" consumer -c "$DIR/conf.yaml" "$1"; }
# both QUERY: what both sinks say to it, one behind the other when they differ
both() {
	local a b
	a=$(pg_sql dst "$1") b=$(lite "$1")
	[ "$a" = "$b" ] && echo "$a" || printf 'copy: %s\nedge: %s\n' "$a" "$b"
}
# comes QUERY WANT: at both sinks
comes() { wait_for 30 "[ \"\$(both \"$1\")\" = '$2' ]"; }
# published: Kafka has all that is committed so far
published() {
	local lsn
	lsn=$(pg_sql src 'select pg_current_wal_insert_lsn()')
	wait_for 30 "[ \"\$(pg_sql src \"select confirmed_flush_lsn >= '$lsn' from pg_replication_slots\")\" = t ]"
}

# ---- dead letters of a shape that is gone ----

pg_sql dst 'create table u(id int primary key, a text, constraint c check (id <> 5))'
lite 'create table u(id integer not null primary key check (id <> 5), a text)'
pg_sql src <<'E2'
create table u(id int primary key, a text);
create table wide(id int primary key, a int);
create table swap(id int primary key, a text);
create table swap_new(id int primary key, a text);
create table one(id int primary key, a text);
create table two(id int primary key, a text);
create table forgotten(id int primary key, a text);
create table down(id int primary key, a text);
create table away(id int primary key, a text);
E2
producer
consume copy
consume edge
wait_for 60 "grep -q msg=streaming $DIR/producer.log"
pg_sql src "insert into u values (1, 'one'), (5, 'five')"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from towline.parked')\" = 1 ]"
wait_for 30 "[ \"\$(lite 'select count(*) from towline_parked')\" = 1 ]"
pg_sql src "alter table u rename a to b; insert into u values (6, 'six')"
comes 'select b from u where id = 6' six
pg_sql dst 'alter table u drop constraint c'
for sink in copy edge; do
	out=$("$TOWLINE" dlq retry "$sink" --all -c "$DIR/conf.yaml" 2>&1) && flunk "a row of a column that is gone went in at $sink"
	grep -q 'has no column a at the sink; the table has another shape now than the change' <<<"$out" || flunk "$sink: $out"
done
[ "$(both 'select id, b from u order by id')" = $'1|one\n6|six' ] || flunk "the retry changed the table: $(both 'select * from u order by id')"

# a new column takes the name: the old row's value is not that one's
pg_sql src "alter table u add a text; insert into u values (7, 'seven', 'new')"
comes 'select b, a from u where id = 7' 'seven|new'
for sink in copy edge; do
	out=$("$TOWLINE" dlq retry "$sink" --all -c "$DIR/conf.yaml" 2>&1) && flunk "a value went into another column of the same name at $sink"
	grep -q 'column a of table public.u is another one now than the change.s: it was renamed or dropped' <<<"$out" || flunk "$sink: $out"
done
[ "$(both 'select id, b, a from u order by id')" = $'1|one|\n6|six|\n7|seven|new' ] || flunk "$(both 'select * from u order by id')"
# what is parked since then goes in; the same over a column that was dropped and made anew without rows between
pg_sql dst 'alter table u add constraint c check (id <> 8 and id <> 9)'
lite "create trigger c before insert on u when new.id in (8, 9) begin select raise(abort, 'not this one'); end"
pg_sql src "insert into u values (8, 'eight', 'mine')"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from towline.parked')\" = 2 ]"
wait_for 30 "[ \"\$(lite 'select count(*) from towline_parked')\" = 2 ]"
pg_sql src "insert into u values (10, 'ten', 'x'); alter table u drop b; alter table u add b text; insert into u(id, b) values (9, 'newer')"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from towline.parked')\" = 3 ]"
wait_for 30 "[ \"\$(lite 'select count(*) from towline_parked')\" = 3 ]"
pg_sql dst 'alter table u drop constraint c'
lite 'drop trigger c'
for sink in copy edge; do
	out=$("$TOWLINE" dlq retry "$sink" --all -c "$DIR/conf.yaml" 2>&1) && flunk "all went in at $sink: $out"
	grep -q 'column b of table public.u is another one now' <<<"$out" || flunk "$sink: $out"
done
[ "$(both 'select id, b from u where id in (5, 8, 9)')" = '9|newer' ] || flunk "$(both 'select * from u order by id')"

# ---- a name that is not free at the sinks ----

# stops SINK PATTERN STATEMENTS: it ends with 5, saying so; the statements are run, and it goes on
stops() {
	towline_wait "$1" 30
	[ "$STATUS" = 5 ] || flunk "$1 ended with $STATUS: $(tail -1 "$DIR/$1.log")"
	grep -qF -- "$2" "$DIR/$1.log" || flunk "$1 does not say: $2"$'\n'"$(tail -1 "$DIR/$1.log")"
	# again after a new start: it is no matter of what the process has met
	consume "$1"
	towline_wait "$1" 30
	[ "$STATUS" = 5 ] || flunk "$1 went on at its second start"
	[ "$1" = copy ] && pg_sql dst "$3" || lite "$3"
	consume "$1"
}

# the column that a new one replaces was dropped at the source, and sinks have kept it
pg_sql src 'insert into wide values (1, 1), (2, 2)'
comes 'select sum(a) from wide' 3
pg_sql src 'alter table wide add a_new int; update wide set a_new = a * 10'
comes 'select sum(a_new) from wide' 30
pg_sql src 'begin; alter table wide drop column a; alter table wide rename a_new to a; commit; insert into wide values (3, 30)'
stops copy 'ALTER TABLE "public"."wide" DROP COLUMN "a"; ALTER TABLE "public"."wide" RENAME COLUMN "a_new" TO "a"' \
	'alter table wide drop column a; alter table wide rename column a_new to a'
stops edge 'ALTER TABLE "wide" DROP COLUMN "a"; ALTER TABLE "wide" RENAME COLUMN "a_new" TO "a"' \
	'alter table wide drop column a; alter table wide rename column a_new to a'
comes 'select id, a from wide order by id' $'1|10\n2|20\n3|30'

# a column with the old name that the sink's owner makes later is his
pg_sql dst 'alter table wide add a_new int'
lite 'alter table wide add a_new int'
for sink in copy edge; do
	towline_kill $sink
	consume $sink
done
pg_sql src 'insert into wide values (4, 40)'
comes 'select id, a from wide where id > 2 order by id' $'3|30\n4|40'

# a table takes the place of another
pg_sql src "insert into swap values (1, 'old1'), (2, 'old2'); insert into swap_new values (1, 'new1'), (5, 'new5')"
comes 'select count(*) from swap_new' 2
comes 'select count(*) from swap' 2
pg_sql src "begin; drop table swap; alter table swap_new rename to swap; commit; insert into swap values (9, 'new9')"
stops copy 'ALTER TABLE "public"."swap" RENAME TO "swap_before"; ALTER TABLE "public"."swap_new" RENAME TO "swap"; if the two have exchanged' \
	'alter table swap rename to swap_before; alter table swap_new rename to swap'
stops edge 'ALTER TABLE "swap" RENAME TO "swap_before"; ALTER TABLE "swap_new" RENAME TO "swap"; if the two have exchanged' \
	'alter table swap rename to swap_before; alter table swap_new rename to swap'
comes 'select id, a from swap order by id' $'1|new1\n5|new5\n9|new9'
grep -q 'another table has the name now: sinks that have both stop.*public.swap_new' "$DIR/producer.log" || flunk "the producer does not warn"
[ "$(both 'select id, a from swap_before order by id')" = $'1|old1\n2|old2' ] || flunk "$(both 'select * from swap_before')"

# two tables exchange their names
pg_sql src "insert into one values (1, 'one'); insert into two values (1, 'two'), (2, 'two')"
comes 'select count(*) from two' 2
comes 'select count(*) from one' 1
pg_sql src "begin; alter table one rename to tmp; alter table two rename to one; alter table tmp rename to two; commit;
	insert into two values (5, 'one'); insert into one values (6, 'two')"
for sink in copy edge; do
	towline_wait $sink 30
	[ "$STATUS" = 5 ] || flunk "$sink ended with $STATUS: $(tail -1 "$DIR/$sink.log")"
	grep -qF "exchange them here too, and start with sinks.$sink.on_schema_change: ignore until both have had a row" "$DIR/$sink.log" || flunk "$(tail -1 "$DIR/$sink.log")"
	exchange='alter table one rename to tmp; alter table two rename to one; alter table tmp rename to two'
	[ $sink = copy ] && pg_sql dst "$exchange" || lite "$exchange"
	towline_start "$sink" consumer -c "$DIR/conf.yaml" --set "sinks.$sink.on_schema_change=ignore" "$sink"
done
comes 'select count(*) from one where id = 6' 1
comes 'select count(*) from two where id = 5' 1
for sink in copy edge; do
	towline_kill $sink
	consume $sink
done
pg_sql src "update one set a = 'two!' where id = 2; update two set a = 'one!' where id = 1"
comes 'select id, a from one order by id' $'1|two\n2|two!\n6|two'
comes 'select id, a from two order by id' $'1|one!\n5|one'

# ---- renamed while no producer ran ----

# The consumers are down, too, so that rows of both shapes come in one batch.
pg_sql src "insert into down values (1, 'x'), (2, 'x'); insert into away values (1, 'stays')"
comes 'select count(*) from down' 2
comes 'select count(*) from away' 1
for sink in copy edge; do towline_kill $sink; done
pg_sql src "insert into down values (3, 'y'); update down set a = 'z' where id = 1; insert into away values (2, 'too')"
published
towline_kill producer
pg_sql src "alter table down rename a to b; alter table down add a text; alter table away rename to moved"
producer
pg_sql src "insert into down values (4, 'v', 'w'); insert into moved values (3, 'new')"
published
consume copy
consume edge
comes 'select id, b, a from down order by id' $'1|z|\n2|x|\n3|y|\n4|v|w'
comes 'select id, a from moved order by id' $'1|stays\n2|too\n3|new'
[ "$(pg_sql dst "select to_regclass('away') is null")" = t ] || flunk "the table of the old name is still there"
[ -z "$(lite "select name from sqlite_master where name = 'away'")" ] || flunk "the table of the old name is still there, in SQLite"
# nothing has happened while it was down: nothing is said
said() { cat "$DIR/producer.log" "$DIR/copy.log" "$DIR/edge.log" | grep -cE 'another table has the name|was dropped and made anew|table changed'; }
before=$(said)
towline_kill producer
producer
pg_sql src "insert into down values (5, 'v', 'w')"
comes 'select count(*) from down where id = 5' 1
[ "$(said)" = "$before" ] || flunk 'something is said of a table that has not changed'

# The producer has no memory of it: sinks stop, with both readings, and everything of before is there already, so that it fits.
pg_sql src "insert into forgotten values (1, 'x')"
comes 'select count(*) from forgotten' 1
for sink in copy edge; do towline_kill $sink; done
pg_sql src "insert into forgotten values (2, 'y')"
published
towline_kill producer
topic_tool delete "$NAME.towline.control"
pg_sql src "alter table forgotten rename a to b"
producer
pg_sql src "begin; insert into moved values (4, 'first in the group'); insert into forgotten values (3, 'z'); commit"
published
consume copy
consume edge
for sink in copy edge; do stops $sink ' RENAME COLUMN "a" TO "b"' 'alter table forgotten rename column a to b'; done
comes 'select id, b from forgotten order by id' $'1|x\n2|y\n3|z'
