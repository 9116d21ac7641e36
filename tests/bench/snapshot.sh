#!/bin/bash
# The first copy next to pg_dump | psql: one table of some 120 bytes a row, PostgreSQL -> Kafka -> PostgreSQL, on this machine.
#   ROWS=n (1000000)   MODE=release   prints rows a second, CPU-seconds and peak memory of our processes
# limit: 3600
. "$(dirname "$0")/../flow/lib.sh"
rows=${ROWS:-1000000}

pg_start src SRC fsync=on shared_buffers=256MB max_wal_size=4GB
pg_start dst DST fsync=on shared_buffers=256MB max_wal_size=4GB
kafka_start
pg_sql src "create table big(id bigint primary key, a int, b text, at timestamptz, c numeric(12, 2));
	insert into big select i, i % 1000, repeat(md5(i::text), 2), now(), i / 7.0 from generate_series(1, $rows) i; vacuum analyze big; checkpoint"
port() { echo "${FLOW_PG[$1]}"; }
took() { python3 -c "print(f'{($2 - $1) / 1e6:.1f} s, {$rows * 1e6 / ($2 - $1):,.0f} rows/s')"; }
clock() { echo "${EPOCHREALTIME/./}"; }

from=$(clock)
"$PGBIN/pg_dump" -h 127.0.0.1 -p "$(port src)" -U postgres -t big postgres | "$PGBIN/psql" -X -q -h 127.0.0.1 -p "$(port dst)" -U postgres postgres >/dev/null
say "pg_dump | psql: $(took "$from" "$(clock)")"
pg_sql dst 'drop table big; checkpoint'

cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
snapshot: { jobs: ${JOBS:-2} }
tables: [public.big]
kafka: { brokers: $BROKERS }
sinks: { copy: $DST }
E2
cpu() { awk '{ print ($14 + $15) / 100 }' "/proc/${FLOW_PID[$1]}/stat"; }
peak() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$1]}/status"; }
towline_start copy consumer -c "$DIR/conf.yaml" copy
towline_start producer producer -c "$DIR/conf.yaml"
wait_for 60 "grep -q 'copying a table' $DIR/producer.log"
from=$(clock)
wait_for 3000 "grep -q 'table copied' $DIR/producer.log"
say "towline, in Kafka: $(took "$from" "$(clock)"); producer $(cpu producer) CPU-s, peak $(peak producer) MB"
wait_for 3000 "[ \"\$(pg_sql dst 'select count(*) from big')\" = $rows ]"
say "towline, end to end: $(took "$from" "$(clock)"); producer $(cpu producer) CPU-s, $(peak producer) MB; sink $(cpu copy) CPU-s, $(peak copy) MB"
same_pg src dst big
