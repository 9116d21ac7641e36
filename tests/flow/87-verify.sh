#!/bin/bash
# verify: source and sink are equal under a load that does not stop; what is planted at the sink is named, key by key, and nothing else.
# limit: 400
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
rows=
[ "$(pg_major src)" -lt 15 ] || rows="rows: { public.part: \"region <> 'x'\" }" # filters came with 15
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
tables: [public.*, odd.*]
columns: { exclude: [public.person.secret], mask: [public.person.mail=hash], salt: abc }
$rows
kafka: $BROKERS
sinks:
  copy:
    url: $DST
    tables: ['!public.elsewhere']
    rename: { public.renamed: other.called }
    columns: { rename: { public.renamed.v: w }, exclude: [public.renamed.x] }
  edge: sqlite:$DIR/data/edge.db
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
ends_with() { # CODE ARGUMENTS...: what it said is in $DIR/data/out
	local want=$1 got=0
	shift
	t "$@" >"$DIR/data/out" 2>"$DIR/data/err" || got=$?
	[ "$got" = "$want" ] || flunk "$*: ended with $got: $(cat "$DIR/data/out" "$DIR/data/err")"
}
said() { grep -qE "$1" "$DIR/data/out" "$DIR/data/err" || flunk "nothing of '$1': $(cat "$DIR/data/out" "$DIR/data/err")"; }
found() { # WHAT...: every key that the last --json named, and no other, as TABLE STATE KEY COLUMNS
	python3 - "$DIR/data/out" "$@" <<'E2'
import json, sys
got = sorted(f'{t["table"]} {k["state"]} {",".join(k["key"].values())} {",".join(k["columns"])}'.strip()
             for t in json.load(open(sys.argv[1]))["tables"] for k in t["keys"])
want = sorted(sys.argv[2:])
assert got == want, f"\n got {got}\nwant {want}"
E2
}
verifies() { pg_sql "$1" "select count(*) from pg_stat_activity where application_name = 'towline verify' and $2"; }
tables() { # WHAT...: every table of the last --json, as TABLE STATE ROWS
	python3 - "$DIR/data/out" "$@" <<'E2'
import json, sys
got = sorted(f'{t["table"]} {t["state"]} {t["rows"]}' for t in json.load(open(sys.argv[1]))["tables"])
assert got == sorted(sys.argv[2:]), got
E2
}

pg_sql src "create table acc(id int primary key, n int not null default 0, note text, f float8, ts timestamptz default now());
create table pair(a text collate \"und-x-icu\", b int, v numeric, primary key (a, b));
create table person(id uuid primary key, name varchar(20), mail text, secret text);
create table renamed(id bigint primary key, v text, x int);
create table elsewhere(id int primary key);
create table nokey(v text, n int); alter table nokey replica identity full;
create table empty(id int primary key);
create table part(region text, id int, v int, primary key (region, id)) partition by list (region);
create table part_a partition of part for values in ('a'); create table part_b partition of part for values in ('b');
create table queue(id bigint primary key, v text);
create schema odd; create type odd.mood as enum ('sad', 'ok', 'glad');
create table odd.\"T \"\"q\"\" \"(\"a b\" int primary key, \"Col\"\"umn\" odd.mood, r int[], c char(5), j jsonb, bits bit(3))
"
pg_sql src "insert into acc(id, note, f) select i, case when i % 3 > 0 then 'note ' || i end, random() from generate_series(1, 30000) i;
insert into pair select chr(97 + i % 26) || case when i % 2 = 0 then 'É' else '-x' end || i, i % 7, i / 7.0 from generate_series(1, 3000) i;
insert into person select gen_random_uuid(), 'n' || i, 'm' || i, 's' from generate_series(1, 100) i;
insert into part select chr(97 + i % 2), i, 1 from generate_series(1, 50) i;
insert into renamed select i, 'v' || i, i from generate_series(1, 100) i;
insert into nokey select 'x' || i / 2, i / 2 from generate_series(1, 200) i;
insert into odd.\"T \"\"q\"\" \" select i, 'ok', array[i, null], 'ab', '{\"a\": 1.50}', b'101' from generate_series(1, 10) i
"
if [ "$rows" ]; then
	pg_sql src "create table part_x partition of part for values in ('x'); insert into part values ('x', 1, 1)"
fi
towline_start run run -c "$DIR/towline.yaml"
wait_for 60 '[ "$(pg_sql dst "select count(*) from acc" 2>&1)" = 30000 ]'

say 'while it is written to, many times a second, in every table'
cat >"$DIR/data/load.sql" <<'E2'
\set id random(1, 20000)
\set hot random(1, 3)
\set p random(1, 2900)
\set q random(1, 20)
update acc set n = n + 1, note = case when :id % 2 = 0 then null else 'again' end where id = :id;
update acc set n = n + 1 where id = :hot;
update pair set v = v + 1 where a = chr(97 + :p % 26) || case when :p % 2 = 0 then 'É' else '-x' end || :p;
insert into queue values (:q, 'job') on conflict do nothing;
delete from queue where id = (:q + 7) % 20 + 1;
E2
"$PGBIN/pgbench" -n -c 2 -T 1000 -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/data/load.sql" postgres >"$DIR/load.log" 2>&1 &
load=$!
for i in 1 2 3 4; do
	ends_with 0 verify copy --json --chunk-size 700
	found
done
kill -0 $load || flunk "the load has ended: $(tail -5 "$DIR/load.log")"
ends_with 0 verify copy
said '^public.acc  equal  30000 rows'
said '^odd.T "q"   equal  10 rows'
said 'column secret not compared: masked'
refute grep -q elsewhere "$DIR/data/out"

say 'what is wrong at the sink is found under the load too'
pg_sql dst "update acc set f = -1 where id = 20001; delete from acc where id = 20002; insert into acc(id, n, note, f) values (90000, 1, 'x', 1);
update acc set ts = null where id = 20003; insert into queue values (99, 'job'); update pair set v = -5 where a = 'j-x2999'"
ends_with 6 verify copy acc queue pair --json --chunk-size 700
found 'acc different 20001 f' 'acc missing 20002' 'acc extra 90000' 'acc different 20003 ts' 'queue extra 99' 'pair different j-x2999,3 v'
kill $load
wait $load || true
wait_for 30 "t wait --lsn \"\$(pg_sql src 'select pg_current_wal_lsn()')\""

say 'at rest: every kind of table, and the same again'
ends_with 6 verify copy --json
found 'acc different 20001 f' 'acc missing 20002' 'acc extra 90000' 'acc different 20003 ts' 'queue extra 99' 'pair different j-x2999,3 v'
pg_sql dst "delete from acc where id = 90000; delete from queue where id = 99"
pg_sql src "update acc set f = f, n = n + 1 where id in (20001, 20003); update pair set v = 1 where a = 'j-x2999'; insert into empty values (1); delete from empty"
pg_sql src "delete from acc where id = 20002"
wait_for 30 "t verify copy --json >'$DIR/data/out'"
tables 'acc equal 29999' 'part equal 50' 'pair equal 3000' 'person equal 100' 'renamed equal 100' 'nokey equal 200' 'empty equal 0' \
	'T "q"  equal 10' "queue equal $(pg_sql src 'select count(*) from queue')"
pg_sql dst "update other.called set w = null where id = 7; update odd.\"T \"\"q\"\" \" set \"Col\"\"umn\" = 'sad', bits = b'111' where \"a b\" = 3;
alter table person alter mail drop not null; update person set mail = 'none', name = name where name = 'n5'; delete from nokey where ctid = (select min(ctid) from nokey)"
ends_with 6 verify copy --json
found 'renamed different 7 v' 'T "q"  different 3 Col"umn,bits'
ends_with 6 verify copy
said '^public.nokey  different  200 rows'
said '  200 rows at the source, 199 at the sink; without a key'
said '^  different  "a b"=3  Col"umn, bits'
ends_with 6 verify copy 'public.re*' 'odd.*' --limit 1
said 'renamed  different  100 rows; 1 different'
refute grep -q person "$DIR/data/out"
ends_with 0 verify copy person acc
# As many rows, of another kind; two of one key, where nothing forbids it.
pg_sql dst "insert into nokey values ('other', 1); alter table acc drop constraint acc_pkey; insert into acc select * from acc where id = 5"
ends_with 6 verify copy nokey acc --json
found 'acc different 5'
python3 -c 'import json, sys; assert [t["different"] for t in json.load(open(sys.argv[1]))["tables"] if t["table"] == "nokey"] == [1]' "$DIR/data/out"
pg_sql dst 'delete from acc where ctid = (select max(ctid) from acc where id = 5); alter table acc add primary key (id)'

say 'more than the limit: the rest is not looked at'
pg_sql dst 'delete from acc where id between 101 and 5100'
ends_with 6 verify copy acc --limit 20 --chunk-size 500
said 'and more: the rest of the table was not looked at'
ends_with 6 verify copy acc --limit 100000 --json
python3 -c 'import json, sys; t = json.load(open(sys.argv[1]))["tables"][0]; assert (t["missing"], len(t["keys"]), t["complete"], t["rows"]) == (5000, 5000, True, 29999), t' "$DIR/data/out"
t snapshot add acc --where 'id between 101 and 5100' --wait >"$DIR/data/out"
ends_with 0 verify copy acc
pg_sql src 'insert into elsewhere values (1)'
ends_with 1 verify copy elsewhere person --json
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["equal"] is False' "$DIR/data/out"
ends_with 1 verify copy elsewhere
said 'elsewhere  skipped: this sink does not take it'
ends_with 1 verify copy 'public.else*'
said 'no table was compared'
ends_with 0 verify copy 'public.else*' 'public.per*'

say 'a policy that hides rows; with the embedded broker, a copy that is not finished'
pg_sql dst 'create role watcher login; grant pg_read_all_data to watcher; alter table person enable row level security;
create policy hidden on person using (id is null)'
sed "s#url: .*#url: ${DST/postgres@/watcher@}#" "$DIR/towline.yaml" >"$DIR/watcher.yaml"
grep -q 'watcher@' "$DIR/watcher.yaml"
ends_with 1 -c "$DIR/watcher.yaml" verify copy person acc
said 'person  undecided'
said 'row-level security'
said 'acc  equal'
pg_sql dst 'alter table person disable row level security'
sed 's/^kafka: .*/kafka: embedded/' "$DIR/towline.yaml" >"$DIR/embedded.yaml"
publication=$(pg_sql src 'select pubname from pg_publication')
pg_sql src "comment on publication $publication is 'towline: first copy unfinished'"
ends_with 1 -c "$DIR/embedded.yaml" verify copy person
said 'still being copied'
pg_sql src "comment on publication $publication is null"
ends_with 0 -c "$DIR/embedded.yaml" verify copy person

say 'a transaction that stays open: it takes more looks, a copy waits for it, and where commits may wait for sinks nothing is said'
pg_sql src "begin; select pg_current_xact_id(); select pg_sleep(1000)" >"$DIR/data/open" 2>&1 &
open=$!
wait_for 10 '[ "$(pg_sql src "select count(*) from pg_stat_activity where wait_event = '"'PgSleep'"'")" = 1 ]'
pg_sql dst "update part set v = 2 where id = 7; delete from part where id = 8"
ends_with 6 verify copy part --json
found 'part different b,7 v' 'part missing a,8'
ends_with 1 verify copy part --set synchronous.mode=kafka
said 'part  undecided  50 rows; 2 undecided'
"$TOWLINE" -c "$DIR/towline.yaml" verify copy part >"$DIR/data/out" 2>"$DIR/data/err" &
pid=$!
wait_for 30 "[ \"\$(verifies src \"query like '%count(*) = 0%'\")\" != 0 ]"
"$TOWLINE" -c "$DIR/towline.yaml" snapshot add part >"$DIR/data/part" 2>&1 & # its copy waits for the transaction
part=$!
wait $pid && flunk 'part was called equal' || [ $? = 1 ] || flunk 'a table is called different although it is copied again'
said 'part  undecided  50 rows; 2 undecided'
said 'copied again'
"$TOWLINE" -c "$DIR/towline.yaml" snapshot add renamed >"$DIR/data/out" 2>&1 &
add=$!
wait_for 20 "! t verify copy renamed >'$DIR/data/out' 2>&1 && grep -q 'renamed  skipped: it is being copied' '$DIR/data/out'"
pg_sql src "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'" >"$DIR/data/out"
wait $open || true
wait $add && wait $part || flunk "snapshot add: $(cat "$DIR/data/part")"
wait_for 30 "t verify copy renamed >'$DIR/data/out' 2>&1"
ends_with 0 verify copy renamed
wait_for 30 "t verify copy part >'$DIR/data/out' 2>&1" # by its copy

say 'more keys than can wait: while they are decided no list of rows is open; connections that are ended then'
pg_sql src "insert into queue select i, repeat('x', 100) from generate_series(1000, 150000) i"
wait_for 60 "t verify copy queue"
pg_sql dst 'delete from queue where id between 1001 and 7000'
pg_sql src "begin; select pg_current_xact_id(); select pg_sleep(1000)" >"$DIR/data/open" 2>&1 &
open=$!
wait_for 10 '[ "$(pg_sql src "select count(*) from pg_stat_activity where wait_event = '"'PgSleep'"'")" = 1 ]'
"$TOWLINE" -c "$DIR/towline.yaml" verify copy queue --json --limit 10000 --chunk-size 1000000 >"$DIR/data/out" 2>"$DIR/data/err" &
pid=$!
wait_for 30 "[ \"\$(verifies src \"query like '%count(*) = 0%'\")\" != 0 ]" # it waits for the open transaction
for s in src dst; do
	[ "$(verifies $s "state = 'active' and query like '%ORDER BY k0%'")" = 0 ] || flunk "$s: a list of rows is open while keys are decided"
done
pg_sql src "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'" >"$DIR/data/open"
wait $open || true
cut=0
while kill -0 $pid 2>/dev/null && [ $cut -lt 3 ]; do
	wait_for 20 "! kill -0 $pid 2>/dev/null || [ \"\$(verifies dst \"query like '%unnest(%'\")\" != 0 ]"
	n=$(pg_sql dst "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'towline verify' and query like '%unnest(%'")
	[ "$n" = 0 ] || cut=$((cut + 1))
done
wait $pid && flunk 'nothing was missing' || [ $? = 6 ] || flunk "it ended otherwise: $(cat "$DIR/data/err")"
[ $cut = 3 ] || flunk "only $cut cuts"
python3 -c 'import json, sys; t = json.load(open(sys.argv[1]))["tables"][0]; k = {k["key"]["id"] for k in t["keys"]}; assert (t["missing"], len(t["keys"]), k, t["complete"]) == (6000, 6000, {str(i) for i in range(1001, 7001)}, True), (t["missing"], len(t["keys"]), len(k))' "$DIR/data/out"
pg_sql dst "insert into queue select i, repeat('x', 100) from generate_series(1001, 7000) i"

say 'connections that are ended while chunks are compared: it goes on'
"$TOWLINE" -c "$DIR/towline.yaml" verify copy queue --json --chunk-size 200 >"$DIR/data/out" 2>"$DIR/data/err" &
pid=$!
cut=0
wait_for 20 "[ \"\$(pg_sql dst \"select count(*) from pg_stat_activity where application_name = 'towline verify' and query like '%sum(hashtext%'\")\" != 0 ]"
while kill -0 $pid 2>/dev/null && [ $cut -lt 3 ]; do
	for s in src dst; do
		n=$(pg_sql $s "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'towline verify'")
		[ "$n" = 0 ] || cut=$((cut + 1))
	done
	# The next cut when it has its connections back.
	wait_for 10 "! kill -0 $pid 2>/dev/null || [ \"\$(pg_sql dst \"select count(*) from pg_stat_activity where application_name = 'towline verify'\")\" = 2 ]"
done
wait $pid || flunk "it ended with $?: $(cat "$DIR/data/err")"
[ $cut -ge 2 ] || flunk "only $cut cuts"
grep -q 'once more' "$DIR/data/err"
tables "queue equal $(pg_sql src 'select count(*) from queue')"

say 'a sink that does not follow; the sequences; wrong use'
pg_sql src "create sequence s; select nextval('s'), nextval('s'); create table serial(id serial primary key); insert into serial select from generate_series(1, 5)" >/dev/null
wait_for 30 't verify copy serial person'
ends_with 6 verify copy person --sequences check
said 'sequence public.s  missing: source 2, sink none'
ends_with 0 verify copy person --sequences copy
said 'sequence public.serial_id_seq  equal: source 5, sink 5  .set.'
pg_sql src "select nextval('s')" >/dev/null
ends_with 6 verify copy person --sequences check --json
python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); assert not o["equal"] and [s["state"] for s in o["sequences"]] == ["behind", "equal"], o' "$DIR/data/out"
ends_with 2 verify copy person --sequences make
ends_with 2 verify edge
said 'edge is a SQLite store'
ends_with 3 verify nobody
ends_with 2 verify copy publc.acc
said 'did you mean public.acc'
towline_kill run
pg_sql src "update person set name = 'away' where name = 'n7'"
ends_with 1 verify copy person --timeout 300ms
said 'sink copy is at .* and has not reached'
pg_down dst immediate
ends_with 4 verify copy person
