#!/bin/bash
# With a schema registry: Confluent's framing, subjects, evolution; a registry that is away is waited for, and one that refuses is told.
# limit: 150
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start_own

subjects() { curl -fsS "$REGISTRY/subjects" | tr -d '[]" ' | tr , '\n' | grep "^$PIPE\." | sort | tr '\n' ' '; }
versions() { curl -fsS "$REGISTRY/subjects/$1/versions" | tr -d ' '; }
schema_id() { curl -fsS "$REGISTRY/subjects/$1/versions/latest" | sed 's/.*"id" *: *\([0-9]*\).*/\1/'; }

# framed TOPIC OFFSET: key and value begin with a zero byte and the newest ids of their subjects.
framed() {
	local key value
	read -r key value < <(topic_tool first "$1" 0 "$2")
	[ "${key:0:10}" = "$(printf '00%08x' "$(schema_id "$1-key")")" ] || flunk "key $key"
	[ "${value:0:10}" = "$(printf '00%08x' "$(schema_id "$1-value")")" ] || flunk "value $value"
}

case_main() {
	world main <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v text); create table u(a text, b int, n numeric(10,2), primary key (b, a))"
	check 0 'Confluent API'
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, 'one'); insert into u values ('x', 1, 1.5); update t set v = 'eins'; delete from u;
		insert into u select 'y', i, i from generate_series(1, 500) i"
	copied t u
	[ "$(subjects)" = "$PIPE.public.t-key $PIPE.public.t-value $PIPE.public.u-key $PIPE.public.u-value " ] || flunk "subjects: $(subjects)"
	topics | refute grep schemas
	framed "$PIPE.public.t" 0
	# A column more: a second version of the value, which the registry finds compatible; the key's stays.
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	pg_sql src "alter table t add column more int; insert into t values (2, 'two', 22)"
	copied t
	[ "$(versions "$PIPE.public.t-value")" = '[1,2]' ] && [ "$(versions "$PIPE.public.t-key")" = '[1]' ]
	framed "$PIPE.public.t" 2
	# A new start registers nothing anew.
	end run
	tl run run -c "$CONF"
	pg_sql src "insert into t values (3, 'three', 33)"
	copied t u
	[ "$(versions "$PIPE.public.t-value")" = '[1,2]' ]
	end run
}

# A change that the registry finds incompatible: its words and a way out; nothing of it is published.
case_incompatible() {
	world incompatible <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v int)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, 1)"
	copied t
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	pg_sql src "alter table t alter v type text; insert into t values (2, 'two')"
	ends run 1 "table public.t: registry $REGISTRY, subject $PIPE.public.t-value: status 409" "set the subject's compatibility to NONE"
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "NONE"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	pg_sql dst "alter table t alter v type text"
	tl run run -c "$CONF"
	copied t
	end run
}

# BACKWARD takes no field without default that is new or was nullable: such columns are registered as nullable, and the rows go on.
case_notnull() {
	world notnull <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v text)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, 'one')"
	copied t
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	pg_sql src "alter table t alter v set not null; insert into t values (2, 'two')"
	copied t
	says run 'registered with nullable columns'
	pg_sql src "delete from t; alter table t add column must int not null; insert into t values (3, 'three', 33)"
	copied t
	pg_sql src "alter table t drop column v; alter table t alter must type bigint; alter table t rename must to n; insert into t values (4, 5000000000)"
	wait_for 20 "[ \"\$(pg_sql dst 'select id, n from t order by id')\" = \"\$(pg_sql src 'select id, n from t order by id')\" ]"
	end run
}

# A value that names a schema which nobody knows.
case_unknown() {
	world unknown <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v text)"
	tl producer producer -c "$CONF"
	says producer msg=streaming
	pg_sql src "insert into t values (1, 'one'), (2, 'two')"
	wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x)\" = xx ]"
	end producer
	topic_tool replace "$PIPE.public.t" 0 0 00000f423f0200
	tl copy consumer -c "$CONF"
	ends copy 1 "$PIPE.public.t [0] offset 0: registry $REGISTRY does not know schema 999999" 'set on_error: dead-letter'
	sed -i "s|^  copy: \(.*\)|  copy: { url: \"\1\", on_error: dead-letter }|" "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$(pg_sql dst 'select v from t')\" = two ]"
	kcat -b "$BROKERS" -C -t "$PIPE.towline.deadletter" -e -q -f '%h\n' | grep -q 'towline.reason=.*does not know schema 999999'
	end copy
}

# Another service answers at the URL: 401 as a registry says it, and a page of HTML.
case_refuses() {
	local port
	free_port port
	cat >"$DIR/data/answer.py" <<-'PY'
		import http.server, sys
		class Answer(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        page = self.path.startswith("/page")
		        body = b"<html>It works!</html>" if page else b'{"error_code": 40101, "message": "Unauthorized"}'
		        self.send_response(200 if page else 401)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def do_POST(self):
		        self.rfile.read(int(self.headers["Content-Length"]))
		        self.do_GET()
		http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
	PY
	python3 "$DIR/data/answer.py" "$port" >"$DIR/answer.log" 2>&1 &
	FLOW_PID[answer]=$!
	wait_for 10 "flow_port_open $port"
	world refuses <<<"schemas: { registry: \"http://127.0.0.1:$port\", user: me, password: not-it }"
	pg_sql src "create table t(id int primary key)"
	check 1 'status 401: Unauthorized' 'set schemas.user and schemas.password'
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1)"
	ends run 1 "table public.t: registry http://127.0.0.1:$port, subject $PIPE.public.t-key: status 401: Unauthorized; set schemas.user and schemas.password"
	refute grep -q not-it "$DIR/refuses.run.log"
	sed -i "s|:$port\"|:$port/page\"|" "$CONF"
	check 1 'not the answer of a schema registry: <html>It works!</html>' 'check schemas.registry'
	tl run run -c "$CONF"
	ends run 1 'not the answer of a schema registry' 'check schemas.registry'
	kill "${FLOW_PID[answer]}"
	unset 'FLOW_PID[answer]'
}

# The registry behind a door that can be closed. (It lives in memory, and would number its schemas anew after a stop.)
door() {
	cat >"$DIR/data/door.py" <<-'PY'
		import socket, sys, threading
		def pump(a, b):
		    try:
		        while data := a.recv(65536):
		            b.sendall(data)
		    except OSError:
		        pass
		    for s in a, b:
		        try:
		            s.shutdown(socket.SHUT_RDWR)
		        except OSError:
		            pass
		door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
		while True:
		    a, _ = door.accept()
		    b = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
		    threading.Thread(target=pump, args=(a, b), daemon=True).start()
		    threading.Thread(target=pump, args=(b, a), daemon=True).start()
	PY
	python3 "$DIR/data/door.py" "$1" "$REGISTRY_PORT" >>"$DIR/door.log" 2>&1 &
	FLOW_PID[door]=$!
	wait_for 10 "flow_port_open $1"
}

shut() {
	kill "${FLOW_PID[door]}"
	wait "${FLOW_PID[door]}" || true
	unset 'FLOW_PID[door]'
}

# Away: at the start, and later. Schemas that are known go on; the first row of a new table waits, and with it the stream, as
# transactions are published in their order. What is written meanwhile arrives when the registry is back.
case_away() {
	local port
	free_port port
	world away <<<"schemas: http://127.0.0.1:$port/apis/ccompat/v7"
	pg_sql src "create table t(id int primary key, v text)"
	check 4 'is it up, and schemas.registry right?'
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, 'early')"
	says run "table public.t: registry http://127.0.0.1:$port" 'is it up, and schemas.registry right?' retry_ms=200 retry_ms=400
	door "$port"
	copied t
	shut
	pg_sql src "insert into t values (2, 'known')"
	copied t
	pg_sql src "create table u(id int primary key)"
	wait_for 20 "grep -q 'tables joined' $DIR/away.run.log"
	pg_sql src "insert into u values (1); insert into t values (3, 'behind it')"
	says run "table public.u: registry http://127.0.0.1:$port"
	[ "$(pg_sql dst 'select max(id) from t')" = 2 ]
	door "$port"
	copied t u
	end run
	shut
}

cases main incompatible notnull unknown refuses away
