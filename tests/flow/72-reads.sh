#!/bin/bash
# write, log, wait, read: a row is written at the primary, stands in the log at its LSN, is waited for and read back; what is refused writes
# nothing; what no GROUP refers to is not in the log.
# limit: 150
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  copy: { url: "$DST", schema: other }
  edge: sqlite:$DIR/data/edge.db
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
refused() { # CODE PATTERN ARGUMENTS...
	local want=$1 pattern=$2 got=0
	shift 2
	t "$@" >"$DIR/data/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || flunk "$*: ended with $got: $(cat "$DIR/data/out")"
	grep -qE "$pattern" "$DIR/data/out" || flunk "$*: $(cat "$DIR/data/out")"
}
pg_sql src 'create table acc(id int, part text, bal numeric(10,2), note text, primary key (part, id)); create table other(id int primary key); create table short(code varchar(3) primary key, v char(3))'
pg_sql dst 'create schema other'
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"

say 'writes'
a=$(t write insert acc id=1 part=x bal=10.50 note='two words')
b=$(t write update acc id=1 part=x bal=11 note:null)
c=$(t write insert acc id=2 part='a,b=c' bal:null note=null)
d=$(t write delete acc id=2 part='a,b=c' --json | python3 -c 'import json,sys; o=json.load(sys.stdin); assert o["published"]; print(o["lsn"])')
[ "$(pg_sql src 'select id, part, bal, note from acc')" = '1|x|11.00|' ]
refused 1 'there is no such row in acc; nothing was written' write update acc id=9 part=x bal=1
refused 1 'there is no such row' write delete acc id=9 part=x
refused 1 'duplicate key' write insert acc id=1 part=x
refused 2 'no table ac; did you mean acc' write insert ac id=1
refused 2 'no column prt; did you mean part' write insert acc id=1 prt=x
refused 2 'part is missing' write update acc id=1 bal=2
refused 2 'given twice' write insert acc id=1 id=2
refused 2 'neither COLUMN=VALUE' write insert acc id
refused 1 'invalid input syntax' write insert acc id=abc part=x
[ "$(pg_sql src 'select count(*) from acc')" = 1 ]

say 'the log'
t wait --lsn "$d"
# No commit has this LSN: everything before it is in the spine, and the sinks have that.
pg_sql src "select pg_logical_emit_message(false, 'x', 'y')" >"$DIR/data/out"
t wait --lsn "$(pg_sql src 'select pg_current_wal_lsn()')"
t log --json >"$DIR/log.out"
python3 - "$DIR/log.out" "$a" "$b" "$c" "$d" <<'E2'
import json, sys
log = [json.loads(line) for line in open(sys.argv[1])]
assert [e["op"] for e in log] == ["c", "u", "c", "d"], log
assert [e["lsn"] for e in log] == sys.argv[2:], (log, sys.argv)
assert [e["seq"] for e in log] == sorted(e["seq"] for e in log)
assert log[1]["after"]["note"] is None and log[2]["after"]["note"] == "null", log
E2
[ "$(t log --from "$c" | wc -l)" = 2 ]
[ "$(t log --from "$b" --limit 1 | cut -d' ' -f3)" = "$b" ]
t log --from "$b" --limit 1 | grep -qF ' u  public.acc  key=x,1'
[ "$(t log --from FFFFFFFF/0 | wc -l)" = 0 ]
refused 2 'no topic .*; did you mean' log --table acd
refused 2 'takes an LSN' log --from x

say 'whole transactions, in order, over tables; what no GROUP refers to is not shown'
e=$(t write insert acc id=3 part=y)
pg_sql src "begin; insert into acc select i, 'm' from generate_series(10, 500) i; insert into other select generate_series(1, 500); delete from acc where part = 'm'; commit"
t wait --lsn "$e"
wait_for 20 'test "$(pg_sql dst "select count(*) from other.other")" = 500'
kcat -C -b "$BROKERS" -t "$NAME.public.other" -p 0 -o beginning -c 1 -e -f '%s' >"$DIR/data/v" 2>/dev/null || true
kcat -P -b "$BROKERS" -t "$NAME.public.other" -p 0 -k stray "$DIR/data/v"
t log --json --from "$e" >"$DIR/log.out"
python3 - "$DIR/log.out" <<'E2'
import json, sys
log = [json.loads(line) for line in open(sys.argv[1])]
assert len(log) == 1 + 491 + 500 + 491, len(log)
at = [(e["seq"], e["index"]) for e in log]
assert at == sorted(at) and len(set(at)) == len(at)
assert [e["table"] for e in log[1:]] == ["public.acc"] * 491 + ["public.other"] * 500 + ["public.acc"] * 491
E2
[ "$(t log --table other | wc -l)" = 500 ]

# A value that is too long is another one, not its beginning.
t write insert short code=ABC v=x >"$DIR/data/out"
refused 1 'there is no such row' write delete short code=ABCDEF
refused 1 'there is no such row' read short ABCDEF --consistency strong
refused 1 'too long for type character.3.' write update short code=ABC v=abcd
refused 1 'too long for type character varying.3.' write insert short code=ABCD
[ "$(pg_sql src 'select code, v from short')" = 'ABC|x  ' ]

say 'reads'
wait_for 20 'test "$(t stats --json | python3 -c "import json, sys; print(json.load(sys.stdin)[\"active_replicas\"])")" = 2'
[ "$(t read acc x 1 --consistency strong)" = "$(printf 'id: 1\npart: x\nbal: 11.0\nnote: null')" ] ||
	t read acc x 1 --consistency strong | grep -q '^bal: 11'
t read acc x 1 --consistency strong --json | grep -q '"node":"primary"'
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do t read acc id=1 part=x --json; done >"$DIR/data/reads"
grep -q '"node":"copy"' "$DIR/data/reads"
grep -q '"node":"edge"' "$DIR/data/reads"
refute grep -q '"node":"primary"' "$DIR/data/reads"
for i in 1 2 3 4 5; do
	l=$(t write update acc id=1 part=x bal="$i")
	t read acc x 1 --consistency "at-least=$l" --json | grep -qE "\"bal\":\"?$i(\.00?)?\"?[,}]"
done
refused 1 'there is no such row in acc at' read acc x 77
refused 2 'key of acc has 2 columns, not 1' read acc x
refused 2 'takes strong, eventual or at-least=LSN' read acc x 1 --consistency weak
refused 1 'sink copy is at .* and has not reached FFFFFFFF/0 in time' wait --lsn FFFFFFFF/0 --sink copy --timeout 300ms

say 'a replica that is down is left out; the primary when there is none; a replica when the primary is down'
pg_down dst immediate
for i in 1 2 3 4; do t read acc x 1 --json | grep -q '"node":"edge"'; done # by the refused connection
t write update acc id=1 part=x bal=7 >"$DIR/data/out"
wait_for 20 'test "$(t stats --json | python3 -c "import json, sys; print(json.load(sys.stdin)[\"active_replicas\"])")" = 1'
for i in 1 2 3 4; do t read acc x 1 --json | grep -q '"node":"edge"'; done
towline_kill run
t read acc x 1 --json | grep -q '"node":"primary"'

say 'rows that retention took: said for an LSN before them, passed over without one'
for p in 0 1 2 3 4 5; do topic_tool truncate "$NAME.public.acc" "$p" -1 >/dev/null; done
refused 5 "the log in Kafka begins after LSN $a: rows of the transaction at" log --from "$a"
towline_start run run -c "$DIR/towline.yaml"
l=$(t write insert acc id=77 part=new)
[ "$(t log --table acc | wc -l)" = 1 ]
t log --from "$l" | grep -qF 'key=new,77'

say 'a primary that is down: an older row at a replica, unless the newest is asked for'
t wait --lsn "$l" --sink edge
pg_down src immediate
t read acc new 77 --prefer primary --json | grep -q '"node":"edge"'
refused 4 '' read acc new 77 --consistency strong
