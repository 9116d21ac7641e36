#!/bin/bash
# demo.sh PROGRAM [OPTIONS]: `towline demo` through a real Kafka, which is started before and gone afterwards. KAFKA_PORT as in kafka/kafka.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1
shift
export KAFKA_PORT=${KAFKA_PORT:-19092} TOWLINE_KAFKA_RUN
TOWLINE_KAFKA_RUN=$(mktemp -d)
# In a session of its own: Ctrl-C is for the demo, which still needs the broker for its orderly end.
end() {
	trap '' INT TERM
	setsid -w "$here/kafka/kafka" reset || true
	rm -rf "$TOWLINE_KAFKA_RUN"
}
trap end EXIT
trap 'exit 143' TERM # when the demo has come to its end
trap : INT
setsid -w "$here/kafka/kafka" start </dev/null
"$program" demo --kafka "127.0.0.1:$KAFKA_PORT" "$@"
