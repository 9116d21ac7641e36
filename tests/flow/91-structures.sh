#!/bin/bash
# What Debezium writes as structures of its own: geometric types, PostGIS', pgvector's and hstore as a map. Ours and those of a real
# Debezium: the same schemas, the same values; and sinks that are fed from its topics have the source's rows.
# limit: 420
# shellcheck source-path=SCRIPTDIR source=connect.sh
. "$(dirname "${BASH_SOURCE[0]}")/connect.sh"

# The machine's own server has PostGIS; those of other versions, which Maven has, do not.
PG_VERSION='' pg_start src SRC
PG_VERSION='' pg_start dst DST
[ "$(pg_sql src "select count(*) from pg_available_extensions where name = 'postgis'")" = 1 ] ||
	flunk 'no PostGIS; apt-get install -y postgresql-postgis'
PG_VERSION=vector pg_start vector VECTOR
kafka_start
registry_start
connect_start
python_avro

# structures CASE TABLE ROWS DEBEZIUM TOWLINE COLUMNS VALUES: what both write. TABLE: SQL that makes table m(id, ...), at the source and for the
# sinks, whose server is SINK. Rows from 90 on lose something in Debezium's form, so that only ours bring all of it. LITE: the columns that
# SQLite has alike. COLUMNS, VALUES: what is in the first row of a table that a sink made of Debezium's topic.
structures() {
	local p n
	world "$1" <<-E2
		schemas: $REGISTRY
		tables: [public.m]
		types: { $5 }
	E2
	pg_sql src "$2"
	for p in same foreign made; do
		FLOW_DB=postgres pg_sql "$SINK" "create database $p$1"
		[ $p = made ] || FLOW_DB=$p$1 pg_sql "$SINK" "$2"
	done
	debezium "${PIPE}d" 'public.m' "\"snapshot.mode\": \"no_data\", $4"
	wait_for 30 "[ \"\$(pg_sql src \"select active from pg_replication_slots where slot_name = 'debezium_$CASE'\")\" = t ]"
	sed -i "s/^sinks:/sinks:\n  same: ${SINKURL//\//\\/}same$1/" "$CONF"
	cat >"$DIR/$1.foreign.yaml" <<-E2
		name: ${PIPE}f
		foreign: ["${PIPE}d.public.m"]
		kafka: $BROKERS
		schemas: $REGISTRY
		sinks:
		  same: ${SINKURL}foreign$1
		  made: ${SINKURL}made$1
		  lite: sqlite:$DIR/data/$1.db
	E2
	tl run run -c "$CONF"
	tl foreign run -c "$DIR/$1.foreign.yaml"
	streams run
	pg_sql src "$3"
	n=$(pg_sql src 'select count(*) from m')
	for p in "$PIPE" "${PIPE}d"; do
		wait_for 30 "[ \$(kcat -b $BROKERS -C -t $p.public.m -e -q -f '.\n' | wc -l) = $n ]"
		PYTHONPATH=$AVRO python3 "$ROOT/tests/flow/connect/rows.py" "$BROKERS" "$REGISTRY" "$p.public.m" >"$DIR/data/$p.rows" ||
			flunk "rows.py $p"
		curl -fsS "$REGISTRY/subjects/$p.public.m-value/versions/latest" >"$DIR/data/$p.json"
	done
	(cd "$DIR/data" && python3 "$ROOT/tests/flow/connect/schemas.py" "$PIPE.json" "${PIPE}d.json" "$PIPE" "${PIPE}d") >"$DIR/$CASE.schemas.log"
	[ ! -s "$DIR/$CASE.schemas.log" ] || flunk "$1: other schemas than Debezium's: $(head -n 5 "$DIR/$CASE.schemas.log")"
	diff "$DIR/data/$PIPE.rows" "$DIR/data/${PIPE}d.rows" >"$DIR/$CASE.rows.log" ||
		flunk "$1: other values than Debezium's: $(cat "$DIR/$CASE.rows.log")"
	[ "$(wc -l <"$DIR/data/$PIPE.rows")" = "$n" ]
	pg_sql src 'table m order by id' >"$DIR/data/rows"
	wait_for 30 "[ \"\$(FLOW_DB=same$1 pg_sql $SINK 'table m order by id')\" = \"\$(cat $DIR/data/rows)\" ]"
	grep -v "^9" "$DIR/data/rows" >"$DIR/data/kept"
	wait_for 30 "[ \"\$(FLOW_DB=foreign$1 pg_sql $SINK 'select * from m where id < 90 order by id')\" = \"\$(cat $DIR/data/kept)\" ]"
	pg_sql src "select ${LITE:-*} from m where id < 90 order by id" >"$DIR/data/kept"
	wait_for 30 "[ \"\$(sqlite3 $DIR/data/$1.db 'select ${LITE:-*} from m where id < 90 order by id')\" = \"\$(cat $DIR/data/kept)\" ]"
	wait_for 30 "[ \"\$(FLOW_DB=made$1 pg_sql $SINK 'select $6 from m where id = 1')\" = '$7' ]"
	end run
	end foreign
	connector_delete "${PIPE}d"
}

case_shapes() {
	SINK=dst SINKURL=${DST%/*}/
	structures shapes "create extension postgis;
		create table m(id int primary key, p point, pn point not null, l line, ls lseg, b box, pa path, po polygon, c circle,
			g geometry, gp geometry(PointZ,4326), gg geography, gn geography not null)" \
		"insert into m values
		(1, '(1,2)', '(0.1,-0)', '{1,2,3}', '[(1,2),(3,4.5)]', '(3,4),(1,2)', '((0,0),(1,1.5),(2,0))', '((0,0),(1,1.5),(2,0))', '<(1,2),3.25>',
			'SRID=4326;POINT(1 2)', 'SRID=4326;POINT Z (1 2 3)', 'POINT(1 2)', 'LINESTRING(1 2, 3 4)'),
		(2, null, '(-1.5,1e300)', null, null, null, '[(0,0),(1,1)]', null, null,
			'POLYGON((0 0, 1 0, 1 1, 0 0))', null, null, 'POINT EMPTY'),
		(3, null, '(5e-324,1e15)', '{0.1,-0.5,1e10}', '[(0,0),(0,0)]', '(1,1),(1,1)', '((1,1))', '((1,1))', '<(-1,1e10),0.5>',
			'GEOMETRYCOLLECTION EMPTY', null, 'SRID=4267;POINT(1 2)', 'POINT(0 0)'),
		(91, null, '(1,1)', null, null, null, null, '((0,0),(1,1.5),(0,0))', null, null, null, null, 'POINT(0 0)')" \
		'"hstore.handling.mode": "json"' '' 'p, l, c, ls, pa, gg' \
		'(1,2)|{1,2,3}|<(1,2),3.25>|[(1,2),(3,4.5)]|((0,0),(1,1.5),(2,0))|0101000020E6100000000000000000F03F0000000000000040'
	say 'the same geometries'
}

case_maps() {
	local LITE='id, h, hn, ah' # money has no sign there
	SINK=dst SINKURL=${DST%/*}/
	structures maps "create extension hstore; create table m(id int primary key, h hstore, hn hstore not null, ah hstore[], m money)" \
		"insert into m values (1, 'a=>1, \"b \\\"\\\\\"=>NULL', '', array['a=>1'::hstore, null, 'b=>NULL'], '1.25'),
			(2, null, 'x=>y', null, '-92233720368547758.08')" \
		'"hstore.handling.mode": "map", "money.fraction.digits": "4"' 'hstore: map, money: 4' 'hn, ah, m' '|{"\"a\"=>\"1\"",NULL,"\"b\"=>NULL"}|1.2500'
	say 'the same maps, and money'
}

case_vectors() {
	FLOW_PG[src]=${FLOW_PG[vector]} SRC=$VECTOR SINK=vector SINKURL=${VECTOR%/*}/
	structures vectors "create extension vector;
		create table m(id int primary key, v vector, v3 vector(3), vn vector not null, h halfvec, s sparsevec, sn sparsevec(5) not null)" \
		"insert into m values (1, '[1,2.5,-3]', '[0.1,1e6,1e-5]', '[1]', '[1,2.5]', '{1:1,3:2.5}/5', '{}/5'),
			(2, null, null, '[3.4028235e38,1e-45]', '[65504,-0.1,6e-8]', '{1:-0.1,32767:1e6}/32767', '{5:1}/5')" \
		'"hstore.handling.mode": "json"' '' 'v, v3, h, s' '{1,2.5,-3}|{0.1,1000000,1e-05}|{1,2.5}|{1:1,3:2.5}/5'
	say 'the same vectors'
}

cases shapes maps vectors
