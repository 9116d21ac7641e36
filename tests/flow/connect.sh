# shellcheck shell=bash
# connect.sh - a real Kafka Connect with Debezium, for the tests: deploy/connect. Includes pipe.sh.
#
#	kafka_start; registry_start; connect_start
#	connector NAME <<<'"connector.class": ..., "tasks.max": "1"'     # JSON without its braces; waits until its task runs
#	connector_state NAME; connector_stop NAME; connector_resume NAME; connector_delete NAME
#	connect_kill; connect_up                                          # kill -9 of the worker, and again
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

connect() { setsid -w "$ROOT/deploy/connect/connect" "$@"; }

connect_start() {
	export TOWLINE_CONNECT_RUN=$DIR/data/connect CONNECT_PORT CONNECT_KAFKA=$BROKERS CONNECT_GROUP=$NAME-connect
	export CONNECT_REGISTRY=${REGISTRY%/apis/*}/apis/registry/v2 CONNECT_FLUSH_MS=${CONNECT_FLUSH_MS:-1000}
	free_port CONNECT_PORT
	trap connect_end EXIT
	connect_up
}

connect_up() { connect start >>"$DIR/connect-start.log" 2>&1 || flunk "$(tail -n 5 "$DIR/connect-start.log")"; }
connect_kill() { connect kill; }

# Its log, which is kept with the others when the test fails; as flow_end does, with the test's own status.
connect_end() {
	local status=$?
	set +e
	connect kill
	cp "$DIR/data/connect/connect.log" "$DIR/connect.log"
	(exit $status)
	flow_end
}

connect_api() { curl -sS -H 'Content-Type: application/json' "$@"; }
# RUNNING RUNNING: connector and task.
connector_state() {
	connect_api "http://127.0.0.1:$CONNECT_PORT/connectors/$1/status" | grep -o '"state":"[A-Z]*"' | tr -d '"' | cut -d: -f2 | tr '\n' ' '
}


# Without waiting for its task.
connector_put() {
	local answer
	answer=$(connect_api -X PUT -d "{ $(cat) }" -w ' %{http_code}' "http://127.0.0.1:$CONNECT_PORT/connectors/$1/config")
	case $answer in *\ 20?) ;; *) flunk "connector $1: $answer" ;; esac
}

connector() {
	connector_put "$1"
	connector_runs "$1"
}

connector_runs() { wait_for 60 "[ \"\$(connector_state $1)\" = 'RUNNING RUNNING ' ]"; }

connector_stop() {
	connect_api -X PUT "http://127.0.0.1:$CONNECT_PORT/connectors/$1/stop"
	wait_for 60 "[ \"\$(connector_state $1)\" = 'STOPPED ' ]"
}

connector_resume() {
	connect_api -X PUT "http://127.0.0.1:$CONNECT_PORT/connectors/$1/resume"
	connector_runs "$1"
}

connector_delete() { connect_api -X DELETE "http://127.0.0.1:$CONNECT_PORT/connectors/$1"; }

# debezium PREFIX TABLES [JSON]: a connector for the source of this case, named PREFIX, with slot and publication debezium_CASE.
debezium() {
	debezium_put "$@"
	connector_runs "$1"
}

debezium_put() {
	connector_put "$1" <<-E
		"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": "1",
		"database.hostname": "127.0.0.1", "database.port": "${FLOW_PG[src]}", "database.user": "postgres", "database.password": "none",
		"database.dbname": "$CASE", "topic.prefix": "$1", "plugin.name": "pgoutput", "slot.name": "debezium_$CASE",
		"publication.name": "debezium_$CASE", "publication.autocreate.mode": "filtered", "table.include.list": "$2",
		"schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro", "poll.interval.ms": "20",
		"producer.override.linger.ms": "1"${3:+, $3}
	E
}

# The Python library, once for all runs.
python_avro() {
	local list=$ROOT/tests/flow/connect/requirements.txt
	AVRO=$HOME/.cache/towline/python-$(sha256sum "$list" | cut -c1-12)
	[ -d "$AVRO" ] || {
		rm -rf "$AVRO.part"
		python3 -m pip install -q --no-deps --require-hashes --target "$AVRO.part" -r "$list" >"$DIR/pip.log" 2>&1 ||
			flunk "pip: $(tail -n 3 "$DIR/pip.log")"
		mv "$AVRO.part" "$AVRO"
	}
}
