#!/bin/bash
# What a Debezium 3.6 wrote (tests/golden/debezium: a snapshot, changes of many types, changed keys, unchanged TOAST, tables without key, metadata of
# transactions) through a real Kafka into PostgreSQL and SQLite, in order of keys and in whole transactions, with kill -9 on the way. The tables
# must be what they were at the source. Likewise what a 1.9, a 2.5 and a 2.6 wrote, whose envelopes are others.
# limit: 180
. "$(dirname "$0")/lib.sh"
golden=$ROOT/tests/golden/debezium

pg_start dst DST
kafka_start
free_port registry
cat >"$DIR/data/registry.py" <<'E'
import http.server, json, sys
schemas = {str(s["id"]): json.dumps({"schema": s["schema"]}).encode() for s in map(json.loads, open(sys.argv[2]))}
class Schemas(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        body = schemas.get(self.path.split("?")[0].rsplit("/", 1)[-1])
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"{}")))
        self.end_headers()
        self.wfile.write(body or b"{}")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Schemas).serve_forever()
E
# serve NAME PORT DIR: what was registered then.
serve() {
	python3 "$DIR/data/registry.py" "$2" "$3/schemas.jsonl" >>"$DIR/registry.log" 2>&1 &
	FLOW_PID[$1]=$!
	echo $! >>"$DIR/data/pids"
}
serve registry "$registry" "$golden"
read -ra cc <<<"${CC:-cc}" # it may be two words
"${cc[@]}" -std=c11 -D_GNU_SOURCE -O1 -o "$DIR/data/debezium_tool" "$ROOT/tests/flow/debezium_tool.c" -lrdkafka
tool() { "$DIR/data/debezium_tool" "$BROKERS" "$NAME." "$@"; }

for apply in key transaction; do
	pg_sql dst "create database ${apply}s"
	cat >"$DIR/$apply.yaml" <<E
name: $NAME$apply
foreign:
  topics: ["$NAME.dbz.public.*"]
  transactions: $NAME.dbz.transaction
kafka: $BROKERS
schemas: http://127.0.0.1:$registry
sinks:
  pg:
    url: ${DST%/*}/${apply}s
    apply: $apply
    batch_rows: 5
  lite:
    url: sqlite:$DIR/data/$apply.db
    apply: $apply
    batch_rows: 5
E
	towline_start $apply run -c "$DIR/$apply.yaml"
done
zcat "$golden/records.gz" >"$DIR/data/records"
tool dbz.public.{acct2,fullid,nokey,t,types} dbz.public.acct=3 dbz.public.pair=2 dbz.transaction <"$DIR/data/records"

applied() { FLOW_DB=${1}s pg_sql dst "select no from towline.marker where name = '$NAME$1'"; }
for at in 3 12; do
	for apply in key transaction; do
		wait_for 60 "(( \$(applied $apply) >= $at ))"
		towline_kill $apply KILL
		towline_start $apply run -c "$DIR/$apply.yaml"
	done
done

digest() {
	FLOW_DB=${1}s pg_sql dst "set timezone = 'UTC'; select count(*) || ' ' || md5(string_agg(r::text, e'\n' order by r::text collate \"C\")) from (select $3 from $2) r"
}
equal() {
	while read -r table columns count md5; do
		[ "$(digest "$1" "$table" "$columns")" = "$count $md5" ] || { echo "$1 $table"; return 1; }
	done <"$golden/expected"
}
lite() {
	while read -r table _ count _; do
		[ "$(sqlite3 "$DIR/data/$1.db" "select count(*) from $table")" = "$count" ] || { echo "$1 $table"; return 1; }
	done <"$golden/expected"
	[ "$(sqlite3 "$DIR/data/$1.db" "select sum(id * bal) from acct2")" = "$(FLOW_DB=${1}s pg_sql dst 'select sum(id * bal) from acct2')" ]
}
for apply in key transaction; do
	wait_for 60 "equal $apply && lite $apply"
	say "$apply: equal after $(applied $apply) sink transactions"
	towline_kill $apply
	[ "$STATUS" = 0 ] || flunk "$apply ended with $STATUS"
done

grep -q 'msg="a table without key: what Debezium writes twice.* table=public.nokey' "$DIR/key.log" || flunk "key: does not warn of the table without key"
refute grep -q 'a table without key' "$DIR/transaction.log"

# Dead letters: constraints at a third sink refuse some of it; what is parked comes back in order once they are gone.
pg_sql dst "create database deads"
FLOW_DB=deads pg_sql dst <<<"$("$PGBIN/pg_dump" -s -N towline -h 127.0.0.1 -p "${FLOW_PG[dst]}" -U postgres keys)"
FLOW_DB=deads pg_sql dst "alter table acct2 add constraint odd check (bal % 2 = 0); alter table acct add constraint odd check (bal % 3 > 0);
	alter table pair add constraint odd check (val % 3 > 0); alter table nokey add constraint odd check (x <> 2); alter table t add constraint odd check (id % 5 > 0)"
sed -e "s/^name: .*/name: ${NAME}dead/; s,/keys\$,/deads\n    on_error: dead-letter,; /^  lite:/,\$d" "$DIR/key.yaml" >"$DIR/dead.yaml"
towline_start dead run -c "$DIR/dead.yaml"
behind() { FLOW_DB=deads pg_sql dst "select count(*) from towline.parked"; }
caught_up() {
	local was
	was=$(behind)
	((was > 5)) && [ "$(FLOW_DB=deads pg_sql dst "select count(*) from types")" = 9 ] && sleep 1 && [ "$(behind)" = "$was" ]
}
wait_for 60 caught_up
refute equal dead
parked=$(behind)
for table in acct2 acct pair nokey t; do FLOW_DB=deads pg_sql dst "alter table $table drop constraint odd"; done
shown=$("$TOWLINE" dlq show "pg/$(FLOW_DB=deads pg_sql dst "select min(id) from towline.parked where key is not null")" -c "$DIR/dead.yaml")
grep -q '^change .* key=' <<<"$shown" # all of it was taken: who is cut off by a grep that has enough ends with an error
out=$("$TOWLINE" dlq retry pg --all -c "$DIR/dead.yaml") || flunk "$out"
wait_for 20 "equal dead"
[ "$(behind)" = 0 ]
towline_kill dead
[ "$STATUS" = 0 ] || flunk "dead ended with $STATUS"
say "dead letters: $parked were parked; $out"

# Envelopes of older ones: 1.9 and 2.5 without microseconds, transaction last; 2.6 with them, transaction last.
for version in 1.9 2.5 2.6; do
	old=$golden/$version
	free_port registry
	serve "registry$version" "$registry" "$old"
	for apply in key transaction; do
		name=old${version/./}$apply
		pg_sql dst "create database ${name}s"
		sed -e "s/^name: .*/name: $NAME$name/; s/\"$NAME\.dbz/\"$NAME$version.dbz/; s/: $NAME\.dbz/: $NAME$version.dbz/; s,^schemas: .*,schemas: http://127.0.0.1:$registry," \
			-e "s,/${apply}s\$,/${name}s,; s,/$apply\.db,/$name.db," "$DIR/$apply.yaml" >"$DIR/$name.yaml"
		towline_start "$name" run -c "$DIR/$name.yaml"
	done
	zcat "$old/records.gz" | "$DIR/data/debezium_tool" "$BROKERS" "$NAME$version." dbz.public.{types,acct,nokey} dbz.transaction
	for apply in key transaction; do
		name=old${version/./}$apply
		while read -r table columns count md5; do
			wait_for 30 "[ \"\$(digest $name $table $columns)\" = '$count $md5' ]"
			wait_for 30 "[ \"\$(sqlite3 $DIR/data/$name.db 'select count(*) from $table')\" = $count ]"
		done <"$old/expected"
		towline_kill "$name"
		[ "$STATUS" = 0 ] || flunk "$name ended with $STATUS"
	done
	say "Debezium $version: equal"
done
