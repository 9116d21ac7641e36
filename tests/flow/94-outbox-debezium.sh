#!/bin/bash
# Events of an outbox against those that Debezium's EventRouter makes of the same rows, in a real Kafka Connect: topic, partition, timestamp, key, value,
# schemas and headers, event by event. connect/outbox-differences.txt has what is not the same, with the reason.
# limit: 360
# shellcheck source-path=SCRIPTDIR source=connect.sh
. "$(dirname "${BASH_SOURCE[0]}")/connect.sh"

pg_start src SRC
kafka_start
registry_start
connect_start
python_avro

# both CASE OURS THEIRS ROUTES: the table read by both. OURS: of outbox:, THEIRS: of the transform and the connector. GROUP: of the regex, if there is one.
both() {
	local t p
	world "$1" <<-E
	schemas: $REGISTRY
	outbox: { tables: [public.outbox], topic: '$NAME$1.ours.{${GROUP:-route}}'$2 }
	sinks: {}
	E
	pg_sql src "create table outbox(id int primary key, aggregatetype text, aggregateid text, type text, payload text, shard int, at timestamp, n bigint, s smallint,
		ok boolean, u uuid, j jsonb, b bytea, f float8, r real, m numeric(8,2), d date, tz timestamptz, t time, e int[])"
	for t in $4; do
		for p in ours theirs; do topic_tool keep "$PIPE.$p.$t" 3; done
	done
	debezium "${PIPE}d" public.outbox "\"snapshot.mode\": \"no_data\", \"transforms\": \"outbox\",
		\"transforms.outbox.type\": \"io.debezium.transforms.outbox.EventRouter\",
		\"transforms.outbox.route.topic.replacement\": \"$PIPE.theirs.\${${GROUP:-routedByValue}}\"$3"
	wait_for 30 "[ \"\$(pg_sql src \"select active from pg_replication_slots where slot_name = 'debezium_$CASE'\")\" = t ]"
	tl run producer -c "$CONF"
	says run msg=streaming
}

# compared ROWS REGISTRY [json]: once both have so many.
compared() {
	wait_for 30 "[ \"\$(PYTHONPATH=$AVRO python3 $ROOT/tests/flow/connect/events.py $BROKERS $2 $PIPE.ours. $PIPE.theirs. ${3:-} | tail -1)\" = '$1 of ours $1 of theirs' ]"
	PYTHONPATH=$AVRO python3 "$ROOT/tests/flow/connect/events.py" "$BROKERS" "$2" "$PIPE.ours." "$PIPE.theirs." ${3:+"$3"} | sed "\$d; s/^/$CASE /; s/$PIPE/NAME/g" >>"$DIR/differences.log"
	end run
	connector_delete "${PIPE}d"
}
strings='"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter"'

case_text() {
	both text ", timestamp: at, headers: [type=eventType, n, s, ok, u, j, b, f, r, m, d, tz, t, at]" ", $strings, \"transforms.outbox.table.field.event.timestamp\": \"at\",
		\"transforms.outbox.table.fields.additional.placement\": \"type:header:eventType,n:header,s:header,ok:header,u:header,j:header,b:header,f:header,r:header,m:header,d:header,tz:header,t:header,at:header\"" 'order Customer-2'
	pg_sql src "insert into outbox values (1, 'order', 'k1', 'Placed', '{\"id\": 1, \"ü\": null}', null, '2024-01-02 03:04:05.678901', 5, 6, true,
		'00000000-0000-0000-0000-000000000001', '{\"a\": [1, 2.50, \"x\"]}', '\\x00ff10', 0.1, 0.1, 12.50, '2024-01-02', '2024-01-02 03:04:05.6+02', '01:02:03.5');
		insert into outbox(id, aggregatetype, aggregateid, payload, at) select i, 'order', k, v, '2024-01-02' from (values (2, 'k2', null), (4, 'ü', '  '), (5, null, 'x')) e(i, k, v);
		insert into outbox(id, aggregatetype, aggregateid, type, payload, at, n, f, r, m, tz) values
			(3, 'Customer-2', '', '', '', '2024-01-02', null, null, null, null, null),
			(6, 'order', 'k1', 'a \"b\", c=d', 'no JSON', '2024-01-02', -9223372036854775808, 1e300, -1.5e-10, -0.01, '1969-12-31 23:59:59.999999+00'),
			(7, 'order', 'k7', '[1, 2]', '[]', '1970-01-01 00:00:00.001', 1, 1e7, 12345678, 1000, '2024-01-02');
		update outbox set n = 9 where id = 1; delete from outbox where id = 2; truncate outbox"
	compared 7 -
}

case_json() {
	both json ", expand: on, envelope: [type=eventType, n, ok, u, j, b, f, m, d, tz, at], partition: shard, timestamp: at, tombstones: on" ",
		\"key.converter\": \"org.apache.kafka.connect.storage.StringConverter\", \"value.converter\": \"org.apache.kafka.connect.json.JsonConverter\",
		\"value.converter.schemas.enable\": \"false\", \"value.converter.decimal.format\": \"NUMERIC\", \"transforms.outbox.table.expand.json.payload\": \"true\", \"transforms.outbox.table.json.payload.null.behavior\": \"optional_bytes\",
		\"transforms.outbox.table.field.event.timestamp\": \"at\", \"transforms.outbox.route.tombstone.on.empty.payload\": \"true\",
		\"transforms.outbox.table.fields.additional.placement\": \"type:envelope:eventType,n:envelope,ok:envelope,u:envelope,j:envelope,b:envelope,f:envelope,m:envelope,d:envelope,tz:envelope,at:envelope,shard:partition\"" order
	pg_sql src "insert into outbox values (1, 'order', 'k1', 'Placed', '{\"id\": 1, \"lines\": [{\"sku\": \"ü\", \"n\": 2.5}], \"none\": null, \"big\": 12345678901}', 2, '2024-01-02 03:04:05.678901', 5, 6,
		true, '00000000-0000-0000-0000-000000000001', '{\"a\": [1, 2.50, \"x\"]}', '\\x00ff10', 0.1, 0.1, 12.50, '2024-01-02', '2024-01-02 03:04:05.6+02', '01:02:03.5');
		insert into outbox(id, aggregatetype, aggregateid, payload, shard, at) values (2, 'order', 'k2', null, 1, '2024-01-02'), (3, 'order', 'k3', '', null, '2024-01-02'),
			(4, 'order', 'ü', ' ', 0, '2024-01-02'), (5, 'order', 'k5', '{\"id\": 2, \"ok\": true}', null, '2024-01-03')"
	compared 5 - json
}

case_avro() {
	both avro ", format: avro, headers: [type], envelope: [type=eventType, n, s, ok, u, j, b, f, m, d, tz, at], timestamp: at" ",
		\"transforms.outbox.table.field.event.timestamp\": \"at\",
		\"transforms.outbox.table.fields.additional.placement\": \"type:header,type:envelope:eventType,n:envelope,s:envelope,ok:envelope,u:envelope,j:envelope,b:envelope,f:envelope,m:envelope,d:envelope,tz:envelope,at:envelope\"" order
	pg_sql src "insert into outbox values (1, 'order', 'k1', 'Placed', '{\"id\": 1}', 2, '2024-01-02 03:04:05.678901', 5, 6,
		true, '00000000-0000-0000-0000-000000000001', '{\"a\": [1, 2.50, \"x\"]}', '\\x00ff10', 0.1, 0.1, 12.50, '2024-01-02', '2024-01-02 03:04:05.6+02', '01:02:03.5');
		insert into outbox(id, aggregatetype, aggregateid, payload, shard, at) values (2, 'order', 'k2', null, 1, '2024-01-02'), (3, 'order', 'k3', '', null, '2024-01-02')"
	compared 3 "$REGISTRY"
}

# Other columns, and no envelope.
case_bare() {
	GROUP=kind both bare ", regex: '(?<kind>[a-z]+)(-.*)?', format: avro, id: s, route: type, key: n, payload: j, timestamp: at, tombstones: on" ", \"transforms.outbox.table.field.event.timestamp\": \"at\",
		\"transforms.outbox.table.field.event.id\": \"s\", \"transforms.outbox.route.topic.regex\": \"(?<kind>[a-z]+)(-.*)?\", \"transforms.outbox.route.by.field\": \"type\", \"transforms.outbox.table.field.event.key\": \"n\",
		\"transforms.outbox.table.field.event.payload\": \"j\", \"transforms.outbox.route.tombstone.on.empty.payload\": \"true\"" 'order x'
	pg_sql src "insert into outbox(id, s, type, n, j, at) values (1, 11, 'order', 1, '{\"id\": 1}', '2024-01-02'), (2, 12, 'order-7', 5000000000, null, '2024-01-02'),
		(3, 13, 'x', -1, '\"text\"', '2024-01-02'), (4, 14, 'x', null, '[]', '2024-01-02')"
	compared 4 "$REGISTRY"
}

case_expand() {
	both expand ", format: avro, expand: on, envelope: [type], timestamp: at, tombstones: on" ", \"transforms.outbox.table.field.event.timestamp\": \"at\",
		\"transforms.outbox.table.fields.additional.placement\": \"type:envelope\",
		\"transforms.outbox.table.expand.json.payload\": \"true\", \"transforms.outbox.route.tombstone.on.empty.payload\": \"true\"" order
	pg_sql src "insert into outbox(id, aggregatetype, aggregateid, payload, at) values
		(1, 'order', 'k1', '{\"id\": 12345678901, \"name\": \"x\", \"ok\": true, \"price\": 2.5, \"lines\": [{\"sku\": \"a\"}, {\"sku\": \"b\", \"n\": \"1\"}], \"tags\": [\"x\"], \"to\": {\"zip\": \"1\"}}', '2024-01-02'),
		(2, 'order', 'k2', null, '2024-01-02')"
	compared 2 "$REGISTRY"
}

: >"$DIR/differences.log"
cases text json avro bare expand
diff <(grep -v '^#' "$ROOT/tests/flow/connect/outbox-differences.txt") "$DIR/differences.log" >&2 || flunk "the events differ from those of Debezium in another way than told"
