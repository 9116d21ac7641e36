#!/bin/bash
# Debezium's transaction metadata and heartbeats, written by our producer: a sink that reads our topics as a Debezium's, whole transactions by that
# metadata, is equal; so is ours, which needs none of it. With kill -9 of the producer on the way.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start
pg_sql dst 'create database foreigners' >/dev/null
cat >"$DIR/ours.yaml" <<E2
name: $NAME
source: { url: $SRC, group_rows: 500 }
kafka: { brokers: $BROKERS, partitions: 3 }
schemas: $REGISTRY
debezium: { transactions: on, heartbeat: 300ms }
outbox: { tables: [public.outbox], topic: '$NAME.event.{route}' }
sinks: { copy: $DST }
E2
cat >"$DIR/foreign.yaml" <<E2
name: ${NAME}f
foreign: { topics: ["$NAME.public.*"], transactions: $NAME.transaction, wait: 20s }
kafka: $BROKERS
schemas: $REGISTRY
sinks: { as_foreign: '${DST%/*}/foreigners', lite: 'sqlite:$DIR/data/lite.db' }
E2
pg_sql src "create table a(id int primary key, v numeric(10,2), big text); alter table a alter big set storage external;
	create table b(x int, y text, n int, primary key (x, y)); create table nokey(v int, t text); alter table nokey replica identity full;
	create table outbox(id int primary key, aggregatetype text, aggregateid text, payload text); create table seen(no int primary key)"
towline_start ours run -c "$DIR/ours.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/ours.log"
towline_start foreign run -c "$DIR/foreign.yaml"
equal() {
	same_pg src dst a b nokey seen || return 1
	for t in 'a order by id' 'b order by x, y' 'nokey order by v, t' seen; do
		[ "$(pg_sql src "select md5(string_agg(r::text, e'\n')) from (select * from $t) r")" = "$(FLOW_DB=foreigners pg_sql dst "select md5(string_agg(r::text, e'\n')) from (select * from $t) r")" ] || return 1
	done
	[ "$(pg_sql src 'select count(*), sum(v) from a')" = "$(sqlite3 "$DIR/data/lite.db" 'select count(*), printf("%.2f", sum(v)) from a')" ]
}
work() { # ROUND
	pg_sql src "begin; insert into a select i, i * 1.5, case when i % 100 = 1 then repeat('x', 9000) end from generate_series($1 * 10000, $1 * 10000 + 1500) i; insert into b select i, 'y', 0 from generate_series($1 * 100, $1 * 100 + 50) i;
		insert into outbox values ($1, 'o', 'k', 'p'); update a set v = v + 1 where id % 7 = 0; commit;
		begin; update a set id = -id where id % 100 = 1 and id > 0; delete from a where id % 50 = 3; update b set y = 'z' where x % 5 = 0; insert into nokey values ($1, 'n'), ($1, 'n'); commit;
		update nokey set t = 'm' where ctid = (select ctid from nokey limit 1); delete from b where x % 9 = 0; select pg_logical_emit_message(true, 'app', 'hello');
		insert into outbox values (1000 + $1, 'o', 'k', 'p'); begin; insert into seen values ($1); rollback; insert into seen values ($1)" >/dev/null
}
work 1
wait_for 120 equal
for round in 2 3 4; do
	work $round
	towline_kill ours KILL
	towline_start ours run -c "$DIR/ours.yaml"
	work 1$round
done
wait_for 120 equal
pg_sql src 'begin; truncate b; insert into seen values (100); commit'
wait_for 120 equal

# What is in the topics, by the schemas of the registry: each transaction that ended says how many rows it has.
cat >"$DIR/data/look.py" <<'E2'
import io, json, subprocess, sys, urllib.request
brokers, registry, name = sys.argv[1:]
def number(b):
    v = shift = 0
    while True:
        c = b.read(1)[0]
        v |= (c & 127) << shift
        shift += 7
        if c < 128:
            return (v >> 1) ^ -(v & 1)
def read(schema, b):
    if isinstance(schema, list):
        return read(schema[number(b)], b)
    kind = schema['type'] if isinstance(schema, dict) else schema
    if kind == 'record':
        return {f['name']: read(f['type'], b) for f in schema['fields']}
    if kind == 'array':
        out = []
        while (n := number(b)):
            out += [read(schema['items'], b) for _ in range(n)]
        return out
    if kind == 'string':
        return b.read(number(b)).decode()
    return None if kind == 'null' else number(b)
schemas = {}
def decode(raw):
    raw = bytes.fromhex(raw)
    n = int.from_bytes(raw[1:5], 'big')
    if n not in schemas:
        schemas[n] = json.loads(json.load(urllib.request.urlopen(f'{registry}/schemas/ids/{n}'))['schema'])
    return read(schemas[n], io.BytesIO(raw[5:]))
def topic(t, *limit):
    out = subprocess.run(['kcat', '-b', brokers, '-C', '-t', t, '-e', '-q', '-f', '%K %S ', *limit], capture_output=True, check=True).stdout
    raw = subprocess.run(['kcat', '-b', brokers, '-C', '-t', t, '-e', '-q', '-f', '%k%s', *limit], capture_output=True, check=True).stdout
    sizes, at = [int(n) for n in out.split()], 0
    for k, v in zip(sizes[::2], sizes[1::2]):
        yield decode(raw[at:at + k].hex()), decode(raw[at + k:at + k + v].hex())
        at += k + v
open_, ended, tables = set(), 0, set()
for key, r in topic(f'{name}.transaction'):
    assert key == {'id': r['id']}, (key, r)
    xid = r['id'].split(':')[0]
    if r['status'] == 'BEGIN':
        assert r['event_count'] is None and r['data_collections'] is None, r
        open_.add(xid)
    else:
        assert r['status'] == 'END' and xid in open_, r
        assert r['event_count'] == sum(c['event_count'] for c in r['data_collections']) > 0, r
        tables |= {c['data_collection'] for c in r['data_collections']}
        ended += 1
beats = list(topic(f'__debezium-heartbeat.{name}', '-c', '4')) # there is no end
assert all(k == {'serverName': name} and v['ts_ms'] > 1.6e12 for k, v in beats) and len(beats) == 4, beats
print(ended, sorted(tables))
E2
python3 "$DIR/data/look.py" "$BROKERS" "$REGISTRY" "$NAME" >"$DIR/look.log" 2>&1 || flunk "$(tail -n 3 "$DIR/look.log")"
say "$(cat "$DIR/look.log")"
grep -q "\['public.a', 'public.b', 'public.nokey', 'public.seen'\]" "$DIR/look.log" || flunk "$(cat "$DIR/look.log")"
