#!/bin/bash
# Progress: what every node says of itself reaches the topic, `towline stats` shows it from there alone, a killed node is gone, a delayed sink
# is late and catches up, and HTTP tells a load balancer and Prometheus the same.
# limit: 120
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
free_port HTTP
free_port HTTP2
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
  late: { url: "sqlite:$DIR/data/late.db", delay: 4s }
E2
conf=$DIR/towline.yaml
stats() { "$TOWLINE" -c "$conf" stats --json; }
# of NODE-OR-SINK JQ-like member: python, as the tests have it anyway
of() {
	stats | python3 -c '
import json, sys
o = json.load(sys.stdin)
for n in o["nodes"]:
	if sys.argv[1] in (n.get("sink"), n["role"]):
		v = n
		for k in sys.argv[2].split("."): v = v[k]
		print(v)' "$1" "$2"
}
cluster() { stats | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
code() { curl -s -o "$DIR/data/body" -w '%{http_code}' "$1"; }

"$TOWLINE" -c "$conf" stats >"$DIR/before.out"
grep -q 'nobody has said anything yet' "$DIR/before.out"
pg_sql src 'create table t(id int primary key, v text)'
towline_start producer producer -c "$conf" --set "http=127.0.0.1:$HTTP"
wait_for 30 'test "$(of producer state)" = running'
towline_start copy consumer -c "$conf" copy
towline_start edge consumer -c "$conf" edge
towline_start late consumer -c "$conf" late --set "http=127.0.0.1:$HTTP2"
pg_sql src "insert into t select i, 'x' from generate_series(1, 1000) i"
wait_for 30 'test "$(of copy rows)" = 1000'
wait_for 10 'test "$(of edge rows)" = 1000'
wait_for 5 '[ "$(of producer rows)" = 1000 ]'
wait_for 5 '[ "$(of copy lsn)" = "$(of producer lsn)" ]'
wait_for 5 '[ "$(of copy lag.entries)" = 0 ]'
wait_for 5 'of copy tables | grep -qF public.t'
wait_for 5 '[ "$(cluster size)" = 4 ]'

say 'a delayed sink is behind, then not'
pg_sql src "update t set v = 'y' where id = 1"
wait_for 3 'test "$(of late lag.entries)" -ge 1'
[ "$(sqlite3 "$DIR/data/late.db" "select count(*) from sqlite_master where name = 't'")" = 0 ] ||
	[ "$(sqlite3 "$DIR/data/late.db" "select v from t where id = 1")" != y ]
wait_for 10 'test "$(sqlite3 "$DIR/data/late.db" "select v from t where id = 1")" = y'
wait_for 5 'test "$(of late lag.entries)" = 0'
wait_for 5 '[ "$(of late delay_ms)" = 4000 ]'
wait_for 5 'test "$(cluster active_replicas)" = 3'

say 'over HTTP'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP/primary")" = 200 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP/replica")" = 503 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP/readyz")" = 200 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP/healthz")" = 200 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP/nothing")" = 404 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP2/primary")" = 503 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP2/replica/late?lag=1m")" = 200 ]'
wait_for 5 '[ "$(code "http://127.0.0.1:$HTTP2/replica?lag=x")" = 400 ]'
[ "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://127.0.0.1:$HTTP/primary")" = 405 ]
[ "$(curl -s -o /dev/null -w '%{http_code}' -X OPTIONS "http://127.0.0.1:$HTTP/primary")" = 200 ]
curl -s "http://127.0.0.1:$HTTP/metrics" >"$DIR/data/metrics"
grep -q "^towline_rows_total{pipeline=\"$NAME\",node=\"$NAME\",role=\"producer\"} 1001$" "$DIR/data/metrics"
if command -v promtool >/dev/null; then promtool check metrics <"$DIR/data/metrics"; fi
pg_sql src "update t set v = 'z' where id = 2"
wait_for 4 'test "$(code "http://127.0.0.1:$HTTP2/replica?lag=1s")" = 503'
wait_for 10 'test "$(code "http://127.0.0.1:$HTTP2/replica?lag=1s")" = 200'

say 'who is killed is gone, who ends says so, who cannot reach its sink says why'
towline_kill edge KILL
towline_kill late
wait_for 15 'test "$(of edge state)" = gone'
wait_for 5 '[ "$(of late state)" = stopped ]'
pg_down dst immediate
pg_sql src "update t set v = 'a' where id = 3"
wait_for 20 'test "$(of copy state)" = retrying'
"$TOWLINE" -c "$conf" stats >"$DIR/after.out"
grep -Eq '^copy: .*(connect|server|terminat)' "$DIR/after.out"
grep -q '^edge: has said nothing for' "$DIR/after.out"
wait_for 5 '[ "$(cluster active_replicas)" = 0 ]'
pg_up dst
wait_for 30 'test "$(of copy state)" = running'
wait_for 5 'test "$(of copy lag.entries)" = 0'
wait_for 5 'test "$(cluster active_replicas)" = 1'

say 'an address that is taken is said before anything runs'
STATUS=0
"$TOWLINE" -c "$conf" producer --set "http=127.0.0.1:$HTTP" 2>"$DIR/taken.out" || STATUS=$?
[ "$STATUS" = 3 ]
grep -q 'http.listen: cannot listen on' "$DIR/taken.out"
