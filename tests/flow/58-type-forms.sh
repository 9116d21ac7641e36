#!/bin/bash
# Every type again, in the forms of Debezium's other modes, those that lose the most: sinks of Towline have each value exactly all the same.
# limit: 420
FORMS='types: { decimal: double, time: connect, interval: string, binary: base64-url-safe, hstore: map, money: 1, structures: text }'
. "$(dirname "$0")/57-types.sh"
form() { kcat -b "$BROKERS" -C -t "$NAME.towline.schemas" -e -q -f '%s\n' | grep -c "$1" || true; }
for f in '"type":"double"' data.Date data.Time data.Timestamp io.debezium.time.Interval '"type":"map"' '"towline.coded":"base64-url-safe"'; do
	[ "$(form "$f")" -gt 0 ] || flunk "no schema has $f"
done
for f in data.Decimal VariableScaleDecimal data.geometry.Point io.debezium.time.Date MicroTime MicroDuration '"type":\["null","bytes"\]'; do
	[ "$(form "$f")" = 0 ] || flunk "a schema has $f"
done
