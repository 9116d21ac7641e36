#!/bin/bash
# What events of an outbox say: JSON expanded into Avro whose schema grows with it, columns beside the payload, partitions and timestamps by columns,
# tombstones. What the schema or Kafka cannot take is set aside with its reason, and the rest goes on, also after a restart.
# limit: 240
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start
conf() { # OPTIONS
	cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS, partitions: 3, transactions: on }
schemas: $REGISTRY
outbox: { tables: [public.outbox], topic: 'event.$NAME.{route}'$1 }
sinks: { copy: $DST }
E2
}
pg_sql src "create table orders(id int primary key, v int);
	create table outbox(id int primary key, aggregatetype text, aggregateid text, type text, payload text, shard int, at timestamptz, tenant int)"
events() { python3 "$ROOT/tests/flow/events.py" "$BROKERS" "${2:-$REGISTRY}" "event.$NAME.$1"; }
shows() { [[ $(events order) == *"$1"* ]]; }
visible() { kcat -b "$BROKERS" -C -t "$1" -X isolation.level=read_committed -e -q -f '.\n'; }
# A commit of Kafka's may be seen in one topic a little before it is in another.
settled() {
	local t
	for t in $(kcat -b "$BROKERS" -L | sed -n "s/^  topic \"\(event\.$NAME\.[^\"]*\|$NAME.towline.deadletter\)\".*/\1/p"); do visible "$t"; done | wc -l
}
put() {
	pg_sql src "insert into outbox values $1; insert into orders values ($2, 0)"
	wait_for 30 'same_pg src dst orders'
		wait_for 10 '[ "$(settled)" = "$(pg_sql src "select count(*) from outbox")" ]'
}
aside() { kcat -b "$BROKERS" -C -t "$NAME.towline.deadletter" -X isolation.level=read_committed -e -q -f '%k|%s|%h\n' | sed 's/,towline.source=public.outbox//'; }
versions() { curl -fsS "$REGISTRY/subjects/event.$NAME.$1-value/versions" | tr -d ' '; }
backward() { curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/event.$NAME.$1-value" >/dev/null; }

# Timestamps of 2024: a topic of seven days would lose them within a minute.
topic_tool keep "event.$NAME.order" 3
conf ', format: avro, expand: on, envelope: [type=eventType, tenant], partition: shard, timestamp: at, tombstones: on'
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1
grep -q '1 in the configuration, the source has them' "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run.log"
put "(1, 'order', 'k', 'Placed', '{\"id\": 1, \"lines\": [{\"sku\": \"ü\"}], \"note\": null}', 2, '2024-01-02 03:04:05.678+00', 9)" 1
backward order
put "(2, 'order', 'k', 'Paid', '{\"id\": 2.5, \"paid\": true}', 0, '2024-01-02', null), (3, 'order', 'k', null, ' ', 0, '2024-01-02', 9),
	(4, 'order', 'k', 'T', '{\"id\": \"x\"}', 0, null, 8), (5, 'order', 'k', 'T', '{}', 7, null, 8), (6, 'order', 'k', 'T', '{}', 0, '2999-01-01', 8),
	(7, 'order', 'k', 'T', 'no JSON', 0, null, 8), (8, 'order', null, 'T', '{\"note\": \"n\", \"lines\": []}', 1, '2024-01-03', 8)" 2
cat >"$DIR/expected" <<'E2'
0 1704153600000 k {"eventType": "Paid", "payload": {"id": 2.5, "lines": null, "paid": true}, "tenant": null} id=2
0 1704153600000 k null id=3
1 1704240000000 None {"eventType": "T", "payload": {"id": null, "lines": [], "note": "n", "paid": null}, "tenant": 8} id=8
2 1704164645678 k {"eventType": "Placed", "payload": {"id": 1, "lines": [{"sku": "\u00fc"}]}, "tenant": 9} id=1
E2
events order | sort -s -n -k1,1 | diff "$DIR/expected" - || flunk 'the events are others'
cat >"$DIR/expected" <<E2
k|{"id": "x"}|id=4,towline.reason=payload of topic event.$NAME.order: id is a string, and was a number before,towline.fields={"eventType":"T","tenant":8}
k|{}|id=5,towline.reason=topic event.$NAME.order has no partition 7, it has 3,towline.fields={"eventType":"T","tenant":8}
k|{}|id=6,towline.reason=Kafka takes no record with the time of column at: it is ahead of the clock,towline.fields={"eventType":"T","tenant":8}
E2
aside | head -3 | diff "$DIR/expected" - || flunk 'what is set aside is not that'
aside | tail -1 | grep -qF 'k|no JSON|id=7,towline.reason=the payload is no JSON that could be expanded: ' || flunk "$(aside)"
[ "$(versions order)" = '[1,2,3]' ] || flunk "$(versions order)"

# After a restart the schema goes on from the newest: a whole number is a double there still, and no version is made.
towline_kill run KILL
towline_start run run -c "$DIR/conf.yaml"
put "(9, 'order', 'k', 'T', '{\"id\": 7}', 0, '2024-01-04', 8)" 3
[ "$(versions order)" = '[1,2,3]' ] && shows '{"id": 7.0, "lines": null, "note": null, "paid": null}' || flunk "$(versions order) $(events order)"
# A subject of somebody else's, whose schema cannot become ours: the registry's words stand with the event.
curl -fsS -X POST -H 'Content-Type: application/json' -d '{"schema": "{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"A\"]}"}' \
	"$REGISTRY/subjects/event.$NAME.taken-value/versions" >/dev/null
backward taken
put "(10, 'taken', 'k', 'T', '{\"id\": 7}', 0, null, 8), (11, 'order', 'k', 'T', 'null', 0, '2024-01-05', 8)" 4
aside | tail -1 | grep -q 'id=10,towline.reason=registry .* status 409: ' || flunk "$(aside | tail -1)"
shows '{"eventType": "T", "payload": null, "tenant": 8} id=11' || flunk "$(events order)"
# A subject of ours from before, when records had other names: they are kept, as no record of another name is compatible.
python3 - "event.$NAME.before" >"$DIR/before.json" <<'E2'
import json, sys
def record(name, fields):
    return {"type": "record", "name": name, "namespace": sys.argv[1], "connect.name": f"{sys.argv[1]}.{name}",
            "fields": [{"name": n, "type": ["null", t], "default": None} for n, t in fields]}
print(json.dumps({"schema": json.dumps(record("Event", [("payload", record("Payload", [("id", "long")])), ("eventType", "string"), ("tenant", "int")]))}))
E2
curl -fsS -X POST -H 'Content-Type: application/json' -d "@$DIR/before.json" "$REGISTRY/subjects/event.$NAME.before-value/versions" >/dev/null
backward before
put "(51, 'before', 'k', 'T', '{\"id\": 7, \"x\": \"y\"}', 0, null, 8)" 45
[ "$(versions before)" = '[1,2]' ] && [[ $(events before) == *'{"eventType": "T", "payload": {"id": 7, "x": "y"}, "tenant": 8} id=51'* ]] ||
	flunk "$(versions before) $(events before) $(aside | tail -1)"
towline_kill run TERM

# What the registry refused once it is not asked for with each event.
free_port PORT
python3 "$ROOT/tests/flow/http_forward.py" "$PORT" "${REGISTRY%/apis/*}" 422 "event.$NAME.invalid-" >"$DIR/asked.log" 2>&1 &
FLOW_PID[forward]=$!
wait_for 10 "flow_port_open $PORT"
asked() { grep -c "POST .*event.$NAME.taken-value/versions.* 409 " "$DIR/asked.log" || true; }
conf ', format: avro, expand: on, envelope: [tenant]'
sed -i "s|^schemas: .*|schemas: http://127.0.0.1:$PORT/apis/${REGISTRY#*/apis/}|" "$DIR/conf.yaml"
towline_start run run -c "$DIR/conf.yaml"
put "(12, 'taken', 'k', 'T', '{\"a\": 7}', 0, null, 8), (13, 'taken', 'k', 'T', '{\"b\": 7}', 0, null, 8), (14, 'taken', 'k', 'T', '{\"a\": 7}', 0, null, 8),
	(15, 'taken', 'k', 'T', '{\"b\": 7}', 0, null, 8), (16, 'taken', 'k', 'T', '{\"a\": 7}', 0, null, 8)" 41
[ "$(aside | grep -c 'id=1[2-6],towline.reason=registry .* status 409: ')" = 5 ] && [ "$(asked)" = 2 ] || flunk "asked $(asked) times: $(aside)"
towline_kill run TERM
sed -i 's/, expand: on, envelope: \[tenant\]//' "$DIR/conf.yaml"
towline_start run run -c "$DIR/conf.yaml"
put "(17, 'taken', 'k', 'T', 'a', 0, null, 8), (18, 'taken', 'k', 'T', 'b', 0, null, 8), (19, 'taken', 'k', 'T', 'c', 0, null, 8)" 42
[ "$(aside | grep -c 'id=1[7-9],towline.reason=registry .* status 409: ')" = 3 ] && [ "$(asked)" = 3 ] || flunk "asked $(asked) times: $(aside)"
# Nor does one that the registry takes for no schema end anything; a registry that is down is waited for, and no event is set aside.
put "(31, 'invalid', 'k', 'T', 'a', 0, null, 8), (32, 'invalid', 'k', 'T', 'b', 0, null, 8)" 43
[ "$(aside | grep -c 'id=3[12],towline.reason=registry .*event.*invalid-key: status 422: refused by the test; ')" = 2 ] || flunk "$(aside | tail -2)"
[ "$(grep -c 'POST .*event.*invalid-key/versions.* 422 ' "$DIR/asked.log")" = 1 ] || flunk "asked more than once"
kill "${FLOW_PID[forward]}"
wait "${FLOW_PID[forward]}" || true
pg_sql src "insert into outbox values (33, 'away', 'k', 'T', 'a', 0, null, 8); insert into orders values (44, 0)"
wait_for 30 "grep -q 'msg=.*registry http://127.0.0.1:$PORT' $DIR/run.log || grep -q 'reason=.*registry http://127.0.0.1:$PORT.*is it up' $DIR/run.log"
# So is one that takes nothing for now (mode READONLY), which is about no schema.
python3 "$ROOT/tests/flow/http_forward.py" "$PORT" "${REGISTRY%/apis/*}" 422 away- 42205 >>"$DIR/asked.log" 2>&1 &
FLOW_PID[forward]=$!
wait_for 30 "grep -q 'refused by the test; set its mode, or the subject.s, back to READWRITE' $DIR/run.log"
kill "${FLOW_PID[forward]}"
wait "${FLOW_PID[forward]}" || true
python3 "$ROOT/tests/flow/http_forward.py" "$PORT" "${REGISTRY%/apis/*}" >>"$DIR/asked.log" 2>&1 &
FLOW_PID[forward]=$!
wait_for 60 'same_pg src dst orders'
wait_for 10 '[ "$(settled)" = "$(pg_sql src "select count(*) from outbox")" ]'
[ "$(events away)" != '' ] && [ "$(aside | grep -c 'id=33,')" = 0 ] || flunk "$(events away) $(aside | tail -1)"
towline_kill run TERM
kill "${FLOW_PID[forward]}"
unset 'FLOW_PID[forward]'

# As text: an envelope is a JSON object, with the payload as what it says or as a text.
conf ', expand: on, envelope: [at, tenant], headers: [shard]'
towline_start run run -c "$DIR/conf.yaml"
put "(20, 'text', 'k', 'T', '{\"id\": [1, 12345678901234567890]}', 1, '2024-01-05', 8), (21, 'text', 'k', 'T', null, 1, null, null)" 5
towline_kill run TERM
conf ', envelope: [at, tenant], tombstones: on'
towline_start run run -c "$DIR/conf.yaml"
put "(22, 'text', 'k', 'T', '{\"id\": 1}', null, null, 8), (23, 'text', 'k', 'T', '', null, null, 8)" 6
cat >"$DIR/expected" <<'E2'
k {"payload":{"id": [1, 12345678901234567890]},"at":"2024-01-05T00:00:00.000000Z","tenant":8} id=20,shard=1
k {"payload":null,"at":null,"tenant":null} id=21,shard=1
k {"payload":"{\"id\": 1}","at":null,"tenant":8} id=22
k None id=23
E2
events text - | cut -d' ' -f3- | diff "$DIR/expected" - || flunk 'the texts are others'
towline_kill run TERM
conf ', partition: type'
"$TOWLINE" producer -c "$DIR/conf.yaml" >"$DIR/bad.log" 2>&1 &
pg_sql src "insert into outbox values (30, 'text', 'k', 'T', '', null, null, 8)"
STATUS=0
wait $! || STATUS=$?
[ "$STATUS" = 3 ] && grep -q 'outbox.partition: column type of table public.outbox is no whole number' "$DIR/bad.log" || flunk "$STATUS: $(tail -1 "$DIR/bad.log")"
