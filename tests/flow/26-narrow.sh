#!/bin/bash
# `memory` holds for rows of a few bytes too, of which many more are fetched at once, and what a sink does not need any more goes back to the system.
# limit: 300
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS }
sinks: { copy: $DST }
E2
rows=900000
pg_sql src "create table t(id int primary key, v text)"
towline_start producer producer -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
pg_sql src "insert into t select i, 'row ' || i from generate_series(1, $rows) i; create table done(id int primary key); insert into done values (1)"
wait_for 120 "kcat -b $BROKERS -C -t $NAME.public.done -e -q -f 'x' | grep -q x"
rss() { awk -v what="$1" '$1 == what ":" { print int($2 / 1024) }' "/proc/${FLOW_PID[copy]}/status"; }
towline_start copy consumer -c "$DIR/conf.yaml" copy
wait_for 150 "[ \"\$(pg_sql dst 'select count(*) from done')\" = 1 ]"
same_pg src dst t
peak=$(rss VmHWM)
say "peak RSS $peak MB" # of the 100 that it may take; 56 when this was written, 81 before a fetch was limited
[ "$peak" -le 72 ] || [ "${MODE:-debug}" = asan ] || flunk "peak RSS $peak MB"
[ "${MODE:-debug}" = asan ] || wait_for 30 '[ "$(rss VmRSS)" -le 45 ]'
