#!/bin/bash
# SQLite as the source, what pairs do not show: the first copy, values of any storage class, REPLACE, triggers and cascades of the
# application, tables that change their shape or are made anew, locks, and what is refused.
# limit: 240
. "$(dirname "$0")/lib.sh"

src=$DIR/data/src.db dst=$DIR/data/dst.db
kafka_start
lite() { sqlite3 -bail -cmd '.timeout 20000' -nullvalue NULL "$1" "${2:-$(cat)}"; }
conf() { # FILE NAME SOURCE SINK
	printf '%s\n' "name: $2" "source: $3" "kafka: $BROKERS" 'tables: ["!main.no_key"]' "sinks: { file: 'sqlite:$4' }" >"$1"
}
# Both files have the same rows, in the same storage classes.
dump() {
	local t
	for t; do
		lite "$FILE" "select group_concat('quote(\"' || name || '\")', ' || ''|'' || ') from pragma_table_xinfo('$t')" >"$DIR/data/cols"
		lite "$FILE" "select '$t', $(cat "$DIR/data/cols") from \"$t\" order by 2"
	done
}
same() { diff <(FILE=$src dump "$@") <(FILE=$dst dump "$@"); }

# ---- what is refused, each with its words ----
bad() { # CODE PATTERN ARGUMENTS...
	local code=$1 pattern=$2
	shift 2
	STATUS=0
	"$TOWLINE" "$@" >"$DIR/bad.out" 2>&1 || STATUS=$?
	[ "$STATUS" = "$code" ] && grep -Eq "$pattern" "$DIR/bad.out" || flunk "exit $STATUS, not $code with /$pattern/: $* ($(tail -n 2 "$DIR/bad.out"))"
}
conf "$DIR/conf.yaml" "$NAME" "sqlite:$src" "$dst"
bad 4 'no such file' producer -c "$DIR/conf.yaml"
bad 4 'no such file' source install "$src"
echo 'this is a text, and it is long enough to have been a page of a database' >"$src"
bad 3 'not a database' producer -c "$DIR/conf.yaml"
bad 3 'not a database' source install "$src"
rm "$src"
lite "$src" 'pragma journal_mode = wal' >/dev/null
lite "$src" <<'E2'
create table parent(id integer primary key, name text, code text unique);
create table child(id integer primary key, p integer references parent(id) on delete cascade on update cascade, twice as (id * 2));
create table loose(k blob primary key, any, num numeric, int int, real real, text text, blob blob) without rowid;
create table bag(a, b);
create table strict(id int primary key, i integer, r real, t text, b blob, a any) strict;
create table "odd ""name"(id text not null primary key, "va lue", stamp text);
create virtual table search using fts5(body);
create view seen as select 1;
create trigger stamp after update on "odd ""name" when new.stamp is old.stamp begin
	update "odd ""name" set stamp = coalesce(old.stamp, '') || '.' where id = new.id; end;
insert into parent with recursive g(i) as (select 1 union all select i + 1 from g where i < 20000) select i, 'row ' || i, 'c' || i from g;
insert into child select id, id / 2 + 1 from parent where id <= 100;
insert into loose values (1, 1, 1.5, 'abc', 'x', 5, 'text'), ('1', '1', '1.50', 2.5, 2, x'00', 7), (x'31', x'ff', 'day', x'01', x'02', null, 1.25),
	(1.5, 1e300, 9223372036854775807, -9223372036854775808, 0.1, 'nul' || char(0) || 'inside', x''), ('', '', '', null, null, '', null);
insert into bag values (1, 1), (1, 1), (1, '1'), (null, null);
insert into strict values (1, 1, 1, '1', x'01', 1), (2, null, null, null, null, 1.0), (3, 3, 3.5, '', x'', x'00');
E2
bad 3 'run towline source install' producer -c "$DIR/conf.yaml"
bad 1 'changes are not logged yet' check -c "$DIR/conf.yaml"
bad 3 'search cannot be captured: it is a virtual table' source install "$src" search
bad 3 'synchronous.mode needs a PostgreSQL' producer -c "$DIR/conf.yaml" --set synchronous=kafka
bad 3 "'rows:' are row filters" producer -c "$DIR/conf.yaml" --set 'rows=main.parent=id > 1'
if [ "$(id -u)" = 0 ]; then
	chmod 644 "$src" && chmod 711 "$DIR/data"
	STATUS=0
	runuser -u nobody -- "$TOWLINE" source install "$src" >"$DIR/bad.out" 2>&1 || STATUS=$?
	[ "$STATUS" = 3 ] && grep -q 'cannot be read and written' "$DIR/bad.out" || flunk "read-only: exit $STATUS: $(cat "$DIR/bad.out")"
fi
"$TOWLINE" source install "$src" | tee "$DIR/install.log" | grep -q 'left out *search: it is a virtual table' || flunk "$(cat "$DIR/install.log")"
"$TOWLINE" source install "$src" --json | python3 -c 'import json, sys; json.load(sys.stdin)'
say 'refused: no file, no database, not installed, virtual table, synchronous'

# ---- the first copy, killed on the way and begun anew, while others write ----
all=(parent child loose bag strict 'odd "name')
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'copying the rows that are there' $DIR/run.log"
towline_kill run KILL
lite "$src" "insert into parent values (50000, 'written while the copy was dead', null); delete from parent where id between 200 and 300;
	insert into bag values ('while', 1)"
towline_start run run -c "$DIR/conf.yaml"
lite "$src" "insert into parent values (50001, 'written meanwhile', 'meanwhile'); update parent set name = 'new name' where id = 7"
wait_for 60 'same "${all[@]}"'
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.out" || flunk "$(cat "$DIR/check.out")"
grep -q 'ok .*tables .*6 wanted, 6 captured' "$DIR/check.out" || flunk "$(cat "$DIR/check.out")"
say 'equal: first copy'

# ---- statements whose changes no single trigger tells ----
lite "$src" <<'E2'
pragma foreign_keys = on;
delete from parent where id = 3;
update parent set id = 60000 where id = 5;
replace into parent values (8, 'replaced by its key', 'c9');
replace into parent values (70000, 'replaced by its code', 'c10');
update or replace parent set code = 'c12' where id = 11;
update or replace parent set id = 14 where id = 13;
insert or ignore into parent values (15, 'ignored', 'x'), (70001, 'not ignored', 'c16x');
insert into parent values (70002, 'upsert', 'c17') on conflict (code) do update set name = excluded.name, id = 70002;
insert into "odd ""name" values ('k', x'00', null);
update "odd ""name" set "va lue" = 1.0;
update "odd ""name" set id = 'kk', "va lue" = 'v';
update loose set k = 2 where k = '1';
update loose set any = 1.0, num = '00', int = 'not a number', real = 'nor this', text = x'01', blob = 'a text' where k = x'31';
replace into loose(k, any) values (1.0, 'the same key to SQLite');
update bag set b = 2.5 where rowid = 1;
delete from bag where rowid = 2;
begin; insert into bag values ('rolled', 'back'); savepoint s; insert into bag values (1, 2); rollback to s; rollback;
begin; insert into bag values ('kept', 1); savepoint s; insert into bag values ('not kept', 1); rollback to s; commit;
delete from strict;
insert into strict(id, a) values (1, 'again');
E2
wait_for 30 'same "${all[@]}"'
lite "$src" "pragma recursive_triggers = on; replace into parent values (18, 'both', 'c19'); replace into bag(rowid, a) values (1, 'by rowid')"
lite "$src" "replace into bag(rowid, a) values (1, 'by rowid again')"
wait_for 30 'same "${all[@]}"'
say 'equal: REPLACE, upsert, cascades, triggers of the application, storage classes'

# ---- shapes ----
lite "$src" "alter table parent add column extra numeric default 1.5; insert into parent(id, extra) values (80000, x'00');
	alter table parent add column plain; update parent set plain = id where id < 30"
wait_for 30 'same parent'
lite "$src" "alter table parent rename column plain to renamed; update parent set renamed = 'r' where id = 1; alter table bag rename to sack; insert into sack values (9, 9)"
wait_for 30 'same parent sack'
[ "$(lite "$dst" "select count(*) from pragma_table_info('parent') where name in ('plain', 'renamed')")" = 1 ] || flunk 'the column has two names at the sink'
towline_kill run TERM
lite "$src" "begin; create table new(id integer primary key, name text not null, extra integer); insert into new select id, coalesce(name, ''), 1 from parent;
	drop table parent; alter table new rename to parent; commit; insert into parent values (90000, 'nobody looks', 2);
	create table later(id integer primary key, t); insert into later values (1, 'nor here'); alter table sack add column c; update sack set c = 'c' where a = 9"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 'diff <(lite "$src" "select id, name, extra from parent order by id") <(lite "$dst" "select id, name, extra from parent order by id")'
wait_for 30 'same sack later child strict'
"$TOWLINE" source uninstall "$src" strict
lite "$src" "alter table strict drop column r; insert into strict(id, t) values (77, 'while it was out')"
"$TOWLINE" source install "$src" >/dev/null
wait_for 30 'diff <(lite "$src" "select id, i, t from strict order by id") <(lite "$dst" "select id, i, t from strict order by id")'
# ... and while nobody looks: a name that goes on to a new table, or to one that is captured; a REPLACE by an index that is new.
lite "$src" "create table north(id integer primary key, v); insert into north values (1, 'old'), (2, 'old'); create table keyed(id integer primary key, u);
	insert into keyed values (1, 'a'), (2, 'b'); create table first(id integer primary key); create table second(id integer primary key, w);
	insert into first values (1), (2); insert into second values (7, 'w')"
wait_for 30 'same north keyed first second'
towline_kill run TERM
lite "$src" "alter table north rename to south; create table north(id integer primary key, v); insert into north values (2, 'new'); insert into south values (3, 'old');
	delete from south where id = 1; create unique index keyed_u on keyed(u); replace into keyed values (3, 'a');
	drop table first; alter table second rename to first; insert into first values (8, 'w')"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 'same north south keyed && diff <(lite "$src" "select id, w from first order by id") <(lite "$dst" "select id, w from first order by id")'
lite "$src" "insert into north values (4, 'new'); insert into south values (4, 'old'); replace into keyed values (4, 'b'); insert into first values (9, 'w')"
wait_for 30 'same north south keyed && diff <(lite "$src" "select id, w from first order by id") <(lite "$dst" "select id, w from first order by id")'
say 'equal: columns that join and are renamed, tables that are made anew'

# ---- the commands that look and write ----
lsn=$("$TOWLINE" write -c "$DIR/conf.yaml" insert later id=600000 t=written)
"$TOWLINE" wait -c "$DIR/conf.yaml" --lsn "$lsn" --timeout 20s
"$TOWLINE" read -c "$DIR/conf.yaml" later 600000 --consistency at-least="$lsn" --prefer replica --json >"$DIR/read.out"
grep -q '"t":"written"' "$DIR/read.out" || flunk "$(cat "$DIR/read.out")"
"$TOWLINE" read -c "$DIR/conf.yaml" main.later 600000 --consistency strong | grep -q 't: written' || flunk 'not read at the primary'
"$TOWLINE" log -c "$DIR/conf.yaml" --from "$lsn" --limit 1 --json >"$DIR/log.out"
python3 - "$DIR/log.out" <<'E2' || flunk "$(cat "$DIR/log.out")"
import json, sys
e = json.loads(open(sys.argv[1]).readline())
assert e['op'] in 'cr' and 'later' in e['table'] and e['data' if 'data' in e else 'after']['t'] == 'written', e
E2
"$TOWLINE" tail -c "$DIR/conf.yaml" later --from beginning --limit 2 --json >"$DIR/tail.out"
grep -q '"op":"r".*nor here' "$DIR/tail.out" || flunk "$(cat "$DIR/tail.out")"
bad 1 'no such row in later; nothing was written' write -c "$DIR/conf.yaml" delete later id=501
bad 1 'UNIQUE constraint failed' write -c "$DIR/conf.yaml" insert later id=600000 t=again
wait_for 10 '"$TOWLINE" stats -c "$DIR/conf.yaml" --json | grep -q main.later'
say 'write, wait, read, log, tail, stats'

# ---- a sink that somebody has damaged gets its tables again; and a pipeline that wants no copy ----
lite "$dst" "update parent set name = 'damaged' where id % 2; delete from child where id % 3; insert into later values (700000, 'not from there')"
bad 3 'towline source copy' snapshot add parent -c "$DIR/conf.yaml"
"$TOWLINE" source copy "$src" parent child later | grep -q '^copied *later' || flunk 'copy'
wait_for 30 'same child later && diff <(lite "$src" "select id, name, extra from parent order by id") <(lite "$dst" "select id, name, extra from parent order by id")'
bad 3 'is not captured' source copy "$src" search
conf "$DIR/never.yaml" "${NAME}never" "sqlite:$src" "$DIR/data/never.db"
towline_start never run -c "$DIR/never.yaml" --set snapshot=never
wait_for 30 "grep -q 'msg=streaming' $DIR/never.log"
lite "$src" "insert into later values (700001, 'only this')"
wait_for 30 "[ \"\$(lite $DIR/data/never.db 'select count(*), max(id) from later')\" = '1|700001' ]"
towline_kill never TERM
"$TOWLINE" source drop "$src" "towline_${NAME//[^a-z0-9]/_}never"
say 'copied again; and no first copy'

# ---- somebody holds the lock; a rollback journal; the log is pruned ----
mkfifo "$DIR/data/in"
sqlite3 "$src" <"$DIR/data/in" >"$DIR/data/out" &
client=$!
exec 7>"$DIR/data/in"
echo "begin immediate; insert into later values (2, 'slowly'); select 'locked';" >&7
wait_for 20 "grep -q locked $DIR/data/out"
[ -z "$(lite "$dst" 'select 1 from later where id = 2')" ] || flunk 'what is not committed has arrived'
echo 'commit;' >&7
wait_for 20 'same later'
exec 7>&-
wait $client
wait_for 20 "[ \"\$(lite '$src' 'select count(*) from towline_log')\" -le 2 ]"
lite "$src" "pragma wal_checkpoint(truncate)" >/dev/null
towline_kill run TERM
lite "$src" 'pragma journal_mode = delete' | grep -q delete
towline_start run run -c "$DIR/conf.yaml"
lite "$src" "insert into later with recursive g(i) as (select 10 union all select i + 1 from g where i < 5000) select i, i from g"
for i in 1 2 3 4 5 6 7 8; do lite "$src" "update later set t = 'round $i' where id < 500; delete from later where id = 600 + $i"; done
wait_for 40 'same later'
refute grep -q 'level=error' "$DIR/run.log"
"$TOWLINE" status -c "$DIR/conf.yaml" --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
assert s["nodes"][0]["state"] == "installed" and s["nodes"][0]["behind_bytes"] is None, s["nodes"][0]'
say 'equal: with a lock held, with a rollback journal'

# ---- at a PostgreSQL: texts and bytes take every class, numbers only numbers; what does not fit waits in the dead letters ----
pg_start dst DST
lite "$src" <<'E2'
create table any_class(id integer primary key, i integer, r real, t text, b blob, n numeric);
create table no_key(id text primary key, v);
E2
"$TOWLINE" source install "$src" >/dev/null
cat >"$DIR/pg.yaml" <<E2
name: ${NAME}pg
source: sqlite:$src
tables: [main.any_class, main.no_key]
kafka: $BROKERS
sinks: { db: { url: "$DST", schema: public, on_error: dead-letter } }
E2
towline_start pg run -c "$DIR/pg.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/pg.log"
lite "$src" <<'E2'
insert into any_class values (1, 7, 0.5, 'text', x'00ff', 1.50), (2, 9223372036854775807, 2, 5, 'in a blob', 'day'), (3, null, null, x'00ff', 1.5, x'ff');
insert into any_class values (4, 'no number', 1, 'a', null, null), (5, 1, 'nor this', 'b', null, null), (6, 1.5, 1, 'c', null, null);
insert into no_key values ('a', 1), (null, 2), (null, 3), ('b', x'00');
update any_class set t = 'waits behind it' where id = 4;
insert into any_class values (7, 7, 7, '7', null, '007');
E2
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from any_class')\" = 4 ] && [ \"\$(pg_sql dst 'select count(*) from no_key')\" = 2 ]"
diff - <(pg_sql dst 'select id, i, r, t, b, n from any_class order by id') <<'E2' || flunk 'at PostgreSQL'
1|7|0.5|text|\x00ff|1.5
2|9223372036854775807|2|5|\x696e206120626c6f62|day
3|||\x00ff|\x312e35|\xff
7|7|7|7||7
E2
"$TOWLINE" dlq ls db -c "$DIR/pg.yaml" >"$DIR/dlq.out"
for word in 'holds a text here' 'holds a real here' 'null value in column "id"'; do grep -q "$word" "$DIR/dlq.out" || flunk "$word: $(cat "$DIR/dlq.out")"; done
towline_kill pg TERM
"$TOWLINE" source drop "$src" "towline_${NAME//[^a-z0-9]/_}pg"
say 'at PostgreSQL: every class in texts and bytes, the others wait in the dead letters'

# ---- the file is put back to an older state ----
lite "$src" ".backup $DIR/data/old.db"
lite "$src" "insert into later values (9001, 'after the backup')"
wait_for 20 'same later'
wait_for 20 "[ \"\$(lite '$src' 'select confirmed from towline_slot')\" = \"\$(lite '$src' \"select seq from sqlite_sequence where name = 'towline_log'\")\" ]"
towline_kill run TERM
cp "$src" "$DIR/data/now.db"
cp "$DIR/data/old.db" "$src"
bad 5 'it was set back' producer -c "$DIR/conf.yaml"
lite "$src" "insert into later with recursive g(i) as (select 20000 union all select i + 1 from g where i < 20100) select i, 'forked' from g"
bad 5 'put back to an older state' producer -c "$DIR/conf.yaml"
cp "$DIR/data/now.db" "$src"
towline_start run run -c "$DIR/conf.yaml"
lite "$src" "insert into later values (9002, 'back again')"
wait_for 30 'same later'
# ... under a producer that runs; and another database in its place
cp "$DIR/data/old.db" "$src.new" && mv "$src.new" "$src"
towline_wait run 30
[ "$STATUS" = 5 ] || flunk "the file was replaced under it: exit $STATUS"
cp "$DIR/data/now.db" "$src"
"$TOWLINE" source uninstall "$src" && "$TOWLINE" source install "$src" >/dev/null
bad 5 'it is another database' producer -c "$DIR/conf.yaml"
say 'refused: an older state, another database'
