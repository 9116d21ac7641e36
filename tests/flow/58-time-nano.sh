#!/bin/bash
# Dates and times as Debezium's nanoseconds writes them, which has nothing before 1677 nor after 2262; sinks of Towline have each exactly.
# limit: 180
FORMS='types: { time: nanoseconds }'
ONLY='(date|time|timestamp)( *\([0-9]\))?(\[\])?'
. "$(dirname "$0")/57-types.sh"
forms io.debezium.time.Date io.debezium.time.NanoTime io.debezium.time.NanoTimestamp
no_forms io.debezium.time.Time io.debezium.time.MicroTime io.debezium.time.Timestamp io.debezium.time.MicroTimestamp
