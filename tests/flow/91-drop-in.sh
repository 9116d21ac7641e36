#!/bin/bash
# Towline in the place of a Debezium, against the real one: the schemas that both register for the same tables; our topics through Kafka
# Connect (Apicurio's Avro converter, Debezium's JDBC sink, ExtractNewRecordState) into tables; and read by Apache's Avro for Python.
# limit: 360
# shellcheck source-path=SCRIPTDIR source=connect.sh
. "$(dirname "${BASH_SOURCE[0]}")/connect.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start
connect_start

# Every common type: the same schemas but for what connect/differences.txt lists, which is what schemas/README.md tells.
case_schemas() {
	local t half p
	world schemas <<<"schemas: $REGISTRY"
	pg_sql src <"$ROOT/tests/flow/connect/tables.sql"
	debezium "${PIPE}d" 'public.*'
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into types(id) values (1); insert into text(id) values (1); insert into serial(v) values ('a');
		insert into two values ('x', 1); insert into uuid values (default, 1)"
	copied types serial two uuid
	for t in types text serial two uuid; do
		for half in key value; do
			for p in "$PIPE" "${PIPE}d"; do
				wait_for 30 "curl -fsS $REGISTRY/subjects/$p.public.$t-$half/versions/latest"
				curl -fsS "$REGISTRY/subjects/$p.public.$t-$half/versions/latest" >"$DIR/data/$p.json"
			done
			# before and after are one record: each difference once.
			(cd "$DIR/data" && python3 "$ROOT/tests/flow/connect/schemas.py" "$PIPE.json" "${PIPE}d.json" "$PIPE" "${PIPE}d") |
				sed "s/^/$t $half /; /^[a-z]* value \.before/d"
		done
	done >"$DIR/differences.log"
	diff "$ROOT/tests/flow/connect/differences.txt" "$DIR/differences.log" >&2 ||
		flunk "the schemas differ from those of Debezium in another way than told"
	pg_sql src "insert into keys values ('it''s \"x\", {y}', 5, true, '2020-01-02', '\x0102ff', -1.5, 0.1);
		update keys set b = 6; update keys set a = e'\xc3\xa4'"
	for p in "$PIPE" "${PIPE}d"; do
		wait_for 30 "[ \$(kcat -b $BROKERS -C -t $p.public.keys -e -q -f '%h\n' | grep -c __debezium.oldkey) = 2 ]"
		kcat -b "$BROKERS" -C -t "$p.public.keys" -e -q -f '%h\n' | grep -aoE '__debezium\.(old|new)key=\{.*\}' | sort -u >"$DIR/data/$p.keys"
	done
	[ "$(wc -l <"$DIR/data/$PIPE.keys")" = 4 ]
	diff "$DIR/data/$PIPE.keys" "$DIR/data/${PIPE}d.keys" >&2 || flunk "the headers of changed keys differ from Debezium's"
	end run
	connector_delete "${PIPE}d"
}

# Headers as text: Connect's own converter makes a map of {"id":2}, what stands in __debezium.newkey, and the sink ends over it; with a real
# Debezium's records likewise.
jdbc() {
	connector "$1" <<-E2
		"connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1",
		"topics.regex": "$PIPE\\\\.public\\\\..*", "connection.url": "jdbc:postgresql://127.0.0.1:${FLOW_PG[dst]}/$1?sslmode=disable",
		"connection.username": "postgres", "connection.password": "none", "insert.mode": "upsert", "delete.enabled": "true",
		"primary.key.mode": "record_key", "schema.evolution": "none", "consumer.override.auto.offset.reset": "earliest",
		"consumer.override.metadata.max.age.ms": "500",
		"header.converter": "org.apache.kafka.connect.storage.StringConverter", $2
	E2
}

# python_reads TABLE SQL: the library makes the same rows of the topic as the table has.
python_reads() {
	PYTHONPATH=$AVRO python3 "$ROOT/tests/flow/connect/rows.py" "$BROKERS" "$REGISTRY" "$PIPE.public.$1" >"$DIR/data/rows" ||
		flunk "rows.py $1"
	diff <(pg_sql src "$2" | LC_ALL=C sort) <(LC_ALL=C sort "$DIR/data/rows") >"$DIR/rows.diff.log" ||
		flunk "Python reads other rows of $1: $(head -n 5 "$DIR/rows.diff.log")"
}

# Inserts, updates, deletes and changed keys, in transactions over several tables.
case_sinks() {
	local db t sql="create table acct(id int primary key, name text, bal numeric(10,2), ok boolean, seen timestamptz, day date, note jsonb,
		raw bytea, f float8, u uuid, small smallint, big bigint not null default 7, code varchar(10));
		create table pair(a int, b text, v int, primary key (a, b)); create table moves(id bigint primary key, acct int, n int)"
	python_avro
	world sinks <<<"schemas: $REGISTRY"
	sed -i 's/partitions: 1/partitions: 3/' "$CONF"
	pg_sql src "$sql"
	for db in "envelope$NAME" "flat$NAME"; do
		FLOW_DB=postgres pg_sql dst "create database $db"
		FLOW_DB=$db pg_sql dst "$sql"
	done
	tl run run -c "$CONF"
	streams run
	pg_sql src <<-'S'
		insert into acct select i, 'name ' || i, i * 1.25, i % 2 = 0,
			'2026-01-02 03:04:05.678901+00'::timestamptz + i * interval '1 minute', date '2026-01-01' + i, jsonb_build_object('i', i),
			decode(lpad(to_hex(i), 8, '0'), 'hex'), i / 8.0, md5(i::text)::uuid, i % 100, i * 10000000000, 'c' || i
			from generate_series(1, 400) i;
		insert into pair select i % 20, 'b' || i, i from generate_series(1, 200) i;
		begin; update acct set bal = bal - 1 where id <= 50; insert into moves select i, i, 1 from generate_series(1, 50) i; commit;
		update acct set name = null, note = null, raw = null where id % 7 = 0;
		delete from acct where id % 5 = 0;
		update acct set id = id + 1000 where id % 11 = 0;
		update pair set a = a + 100 where v % 13 = 0;
		begin; delete from pair where v % 3 = 0;
		insert into pair select i % 20, 'b' || i, -i from generate_series(1, 200) i where i % 6 = 0 and i % 13 > 0; commit;
		insert into acct(id) values (-1);
	S
	copied acct pair moves
	jdbc "envelope$NAME" '"collection.name.format": "public.${source.table}"'
	jdbc "flat$NAME" '"collection.name.format": "public.${topic}", "transforms": "unwrap,route",
		"transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState", "transforms.unwrap.delete.tombstone.handling.mode": "tombstone",
		"transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter", "transforms.route.regex": ".*\\.public\\.(.*)",
		"transforms.route.replacement": "$1"'
	for db in "envelope$NAME" "flat$NAME"; do
		for t in acct pair moves; do
			wait_for 60 "[ \"\$(digest_pg src $t)\" = \"\$(FLOW_DB=$db digest_pg dst $t)\" ]"
		done
	done
	say "Debezium's JDBC sink has the same tables, from envelopes and from flattened records"
	# While it goes on, live: later changes, among them of rows that the sinks have.
	pg_sql src "update acct set id = id + 5000 where id % 17 = 0; delete from moves where id % 2 = 0; update pair set v = v + 1"
	for db in "envelope$NAME" "flat$NAME"; do
		for t in acct pair moves; do
			wait_for 60 "[ \"\$(digest_pg src $t)\" = \"\$(FLOW_DB=$db digest_pg dst $t)\" ]"
		done
		connector_delete "$db"
	done
	copied acct pair moves
	python_reads pair "select * from pair"
	python_reads moves "select * from moves"
	python_reads acct "select id, name, bal, ok, to_char(seen at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
		day - date '1970-01-01', note, raw, f, u, small, big, code from acct"
	say "Apache's Avro for Python reads the same rows"
	end run
}

# The other modes: a Debezium in the same ones has the same schemas and values.
case_modes() {
	local m time decimal interval binary infinite p i=0
	python_avro
	for m in 'isostring string string hex' 'microseconds double numeric base64' 'nanoseconds string numeric base64-url-safe' \
		'adaptive_time_microseconds precise numeric hex'; do
		read -r time decimal interval binary <<<"$m"
		i=$((i + 1))
		# In the default form Debezium has several numbers for them (schemas/README.md).
		infinite="'infinity', '-infinity'"
		[ $time != adaptive_time_microseconds ] || infinite='null, null'
		world "modes$i" <<-E2
			schemas: $REGISTRY
			types: { time: $time, decimal: $decimal, interval: $interval, binary: $binary }
		E2
		pg_sql src "create table m(id int primary key, d date, t0 time(0), t3 time(3), t time, t6n time not null, s0 timestamp(0), s3 timestamp(3),
			s timestamp, n numeric, n2 numeric(10,2), mo money, iv interval, b bytea, ad date[], ats timestamp[])"
		debezium "${PIPE}d" 'public.*' "\"snapshot.mode\": \"no_data\", \"time.precision.mode\": \"$time\", \"decimal.handling.mode\": \"$decimal\",
			\"interval.handling.mode\": \"$interval\", \"binary.handling.mode\": \"$binary\""
		wait_for 30 "[ \"\$(pg_sql src \"select active from pg_replication_slots where slot_name = 'debezium_$CASE'\")\" = t ]"
		tl run run -c "$CONF"
		streams run
		pg_sql src "insert into m values
			(1, '2026-01-02', '01:02:03', '01:02:03.4', '01:02:03.000004', '00:00', '2026-01-02 03:04:05', '1969-12-31 23:59:59.999',
				'2026-01-02 03:04:05.678901', 12.5, 3.1, '1.25', '1 year 2 mons 3 days 04:05:06.78', '\\xfbff0a', '{2026-01-02,1969-12-31}',
				'{2026-01-02 03:04:05.678901}'),
			(2, '1815-06-18', '23:59:59', '23:59:59.999', '23:59:59.999999', '12:34', '1815-06-18 11:30', '1815-06-18 11:30:00.001',
				'1815-06-18 11:30:00.000001', -0.001, -3.14, '-1.25', '-1 day', '', '{}', '{}'),
			(4, '0045-03-15 BC', '24:00', '24:00', '24:00', '24:00', '0045-03-15 12:00 BC', $infinite, null, null, null, null, null, null, null),
			(5, '12023-03-15', '00:00', '00:00', '00:00', '00:00', '2300-01-01', $infinite, null, null, null, null, null, null, null),
			(6, 'infinity', null, null, null, '00:00', null, null, null, null, null, null, null, null, null, null),
			(7, '-infinity', null, null, null, '00:00', null, null, null, null, null, null, null, null, null, null),
			(3, null, null, null, null, '12:00', null, null, null, null, null, null, null, null, null, null)"
		copied m
		end run
		for p in "$PIPE" "${PIPE}d"; do
			wait_for 30 "[ \$(kcat -b $BROKERS -C -t $p.public.m -e -q -f '.\n' | wc -l) = 7 ]"
			PYTHONPATH=$AVRO python3 "$ROOT/tests/flow/connect/rows.py" "$BROKERS" "$REGISTRY" "$p.public.m" | sed 's/ object at 0x[0-9a-f]*//g' >"$DIR/data/$p.rows" || flunk "rows.py $p"
			curl -fsS "$REGISTRY/subjects/$p.public.m-value/versions/latest" >"$DIR/data/$p.json"
		done
		(cd "$DIR/data" && python3 "$ROOT/tests/flow/connect/schemas.py" "$PIPE.json" "${PIPE}d.json" "$PIPE" "${PIPE}d") >"$DIR/$CASE.schemas.log"
		[ ! -s "$DIR/$CASE.schemas.log" ] || flunk "$m: other schemas than Debezium's: $(head -n 5 "$DIR/$CASE.schemas.log")"
		diff "$DIR/data/$PIPE.rows" "$DIR/data/${PIPE}d.rows" >"$DIR/$CASE.rows.log" || flunk "$m: other values than Debezium's: $(cat "$DIR/$CASE.rows.log")"
		[ "$(wc -l <"$DIR/data/$PIPE.rows")" = 7 ]
		connector_delete "${PIPE}d"
	done
	say "in four sets of modes Debezium has the same schemas and values"
}

cases schemas sinks modes
