#!/bin/bash
# Dates and times as Debezium's isostring writes them; sinks of Towline have each exactly.
# limit: 180
FORMS='types: { time: isostring, hstore: map, money: 0 }'
ONLY='(date|time|timestamp)( *\([0-9]\))?(\[\])?'
. "$(dirname "$0")/57-types.sh"
forms io.debezium.time.IsoDate io.debezium.time.IsoTime io.debezium.time.IsoTimestamp
no_forms io.debezium.time.Date io.debezium.time.Time io.debezium.time.MicroTime io.debezium.time.Timestamp io.debezium.time.MicroTimestamp
