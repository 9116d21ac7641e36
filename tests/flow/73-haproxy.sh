#!/bin/bash
# A real HAProxy asks /replica?lag=2s and routes readers to a PostgreSQL replica: one that lags, and one whose consumer was killed, is taken out of
# rotation, and comes back by itself. /primary routes writers.
# limit: 150
. "$(dirname "$0")/lib.sh"
HAPROXY=$(command -v haproxy || echo /usr/sbin/haproxy)
[ -x "$HAPROXY" ] || skip 'no haproxy; apt-get install -y haproxy'

pg_start src SRC
pg_start a A
pg_start b B
kafka_start
free_port HP
free_port HA
free_port HB
free_port FRONT
free_port WRITE
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  a: $A
  b: $B
E2
cat >"$DIR/haproxy.cfg" <<E2
global
	maxconn 100
defaults
	mode tcp
	timeout connect 2s
	timeout client 30s
	timeout server 30s
	option httpchk
	default-server inter 200ms fall 2 rise 2 on-marked-down shutdown-sessions
listen replicas
	bind 127.0.0.1:$FRONT
	balance roundrobin
	http-check send meth OPTIONS uri /replica?lag=2s
	http-check expect status 200
	server a 127.0.0.1:${FLOW_PG[a]} check port $HA
	server b 127.0.0.1:${FLOW_PG[b]} check port $HB
listen primary
	bind 127.0.0.1:$WRITE
	http-check send meth OPTIONS uri /primary
	http-check expect status 200
	server src 127.0.0.1:${FLOW_PG[src]} check port $HP
E2
conf=$DIR/towline.yaml
# Who answers at the front: the ports of four connections.
who() { for _ in 1 2 3 4; do at "$FRONT" 'select inet_server_port()' || echo none; done | sort -u | tr '\n' ' '; }
at() { "$PGBIN/psql" -X -q -At -h 127.0.0.1 -p "$1" -U postgres -d postgres -c "$2" 2>/dev/null; }
both="$(printf '%s\n' "${FLOW_PG[a]}" "${FLOW_PG[b]}" | sort | tr '\n' ' ')"

pg_sql src 'create table t(id int primary key, v text)'
towline_start producer producer -c "$conf" --set "http=127.0.0.1:$HP"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
towline_start a consumer -c "$conf" a --set "http=127.0.0.1:$HA"
towline_start b consumer -c "$conf" b --set "http=127.0.0.1:$HB"
"$HAPROXY" -db -f "$DIR/haproxy.cfg" >"$DIR/haproxy.log" 2>&1 &
FLOW_PID[haproxy]=$!
echo $! >>"$DIR/data/pids"

say 'writers at the primary, readers at both replicas'
wait_for 20 "at $WRITE \"insert into t values (1, 'x')\""
wait_for 20 'test "$(who)" = "$both"'
wait_for 10 'test "$(at "$FRONT" "select v from t where id = 1")" = x'

say 'a replica that lags: its table is locked'
mkfifo "$DIR/data/hold"
"$PGBIN/psql" -X -q -h 127.0.0.1 -p "${FLOW_PG[b]}" -U postgres -d postgres <"$DIR/data/hold" >"$DIR/data/holder" 2>&1 &
FLOW_PID[holder]=$!
exec 7>"$DIR/data/hold"
echo 'begin; lock table t;' >&7
wait_for 10 'test "$(pg_sql b "select count(*) from pg_locks where mode = '\''AccessExclusiveLock'\'' and granted and relation = '\''t'\''::regclass")" = 1'
at "$WRITE" "update t set v = 'y' where id = 1"
wait_for 20 'test "$(who)" = "${FLOW_PG[a]} "'
curl -s "http://127.0.0.1:$HB/replica?lag=2s" | grep -q 'behind, more than 2.0 s'
wait_for 5 'test "$(at "$FRONT" "select v from t where id = 1")" = y'
echo 'commit;' >&7
exec 7>&-
wait_for 20 'test "$(who)" = "$both"'

say 'a replica whose consumer was killed'
towline_kill a KILL
wait_for 20 'test "$(who)" = "${FLOW_PG[b]} "'
at "$WRITE" "update t set v = 'z' where id = 1"
wait_for 10 'test "$(at "$FRONT" "select v from t where id = 1")" = z'
towline_start a consumer -c "$conf" a --set "http=127.0.0.1:$HA"
wait_for 20 'test "$(who)" = "$both"'
wait_for 10 'test "$(at "${FLOW_PG[a]}" "select v from t where id = 1")" = z'

say 'nobody writes where no producer runs'
towline_kill producer
wait_for 20 'test -z "$(at "$WRITE" "select 1")"'
