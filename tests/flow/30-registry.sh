#!/bin/bash
# With a schema registry: Confluent's framing, subjects, evolution; a registry that is away is waited for, and one that lets nobody
# in is told. (A schema that it refuses: 31-stopped-table.)
# limit: 240
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start_own

subjects() { curl -fsS "$REGISTRY/subjects" | tr -d '[]" ' | tr , '\n' | grep "^$PIPE\." | sort | tr '\n' ' '; }
versions() { curl -fsS "$REGISTRY/subjects/$1/versions" | tr -d ' '; }
schema_id() { curl -fsS "$REGISTRY/subjects/$1/versions/latest" | sed 's/.*"id" *: *\([0-9]*\).*/\1/'; }

# framed TOPIC: key and value of its last record begin with a zero byte and the newest ids of their subjects.
framed() {
	local key value last
	last=$(kcat -b "$BROKERS" -Q -t "$1:0:-1" | sed 's/.*offset //')
	read -r key value < <(topic_tool first "$1" 0 $((last - 1)))
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
	framed "$PIPE.public.t"
	# A column more: a second version of the value, which the registry finds compatible; the key's stays.
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	pg_sql src "alter table t add column more int; insert into t values (2, 'two', 22)"
	copied t
	[ "$(versions "$PIPE.public.t-value")" = '[1,2]' ] && [ "$(versions "$PIPE.public.t-key")" = '[1]' ]
	framed "$PIPE.public.t"
	# A new start registers nothing anew.
	end run
	tl run run -c "$CONF"
	pg_sql src "insert into t values (3, 'three', 33)"
	copied t u
	[ "$(versions "$PIPE.public.t-value")" = '[1,2]' ]
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
	pg_sql src "alter table t drop column v; alter table t alter must type bigint; alter table t rename must to n;
		insert into t values (4, 5000000000)"
	wait_for 20 "[ \"\$(pg_sql dst 'select id, n from t order by id')\" = \"\$(pg_sql src 'select id, n from t order by id')\" ]"
	end run
}

# A table that has travelled with its points as text: BACKWARD takes no structures after it, and it goes on as it was; without it they come.
case_structures() {
	local forms="schemas: $REGISTRY"
	world structures <<<"$forms"$'\n''types: { structures: text }'
	pg_sql src "create table t(id int primary key, p point, g polygon not null)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, '(1,2)', '((0,0),(1,1))')"
	copied t
	end run
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	sed -i '/^types:/d' "$CONF"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (2, '(1.5,NaN)', '((0,0),(1,1),(0,0))'), (3, null, '((0,0))'); update t set p = '(3,4)' where id = 1"
	copied t
	says run 'go on as text'
	end run
	[ "$(curl -fsS "$REGISTRY/subjects/$PIPE.public.t-value/versions")" = '[1]' ]
	curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "NONE"}' "$REGISTRY/config/$PIPE.public.t-value" >/dev/null
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (4, '(-0,1e300)', '((0,0),(1,1),(0,0))'); update t set p = '(5,6)' where id = 2; delete from t where id = 1"
	copied t
	end run
	curl -fsS "$REGISTRY/subjects/$PIPE.public.t-value/versions/2" | grep -qF io.debezium.data.geometry.Point || flunk 'no structure was registered'
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
	ends run 1 "table public.t: registry http://127.0.0.1:$port, subject $PIPE.public.t-key: status 401: Unauthorized" \
		'set schemas.user and schemas.password'
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
	wait_for 20 "$TOWLINE stats -c $CONF | grep -q 'table public.u: registry http://127.0.0.1:$port'" # whoever looks sees what it waits for
	[ "$(pg_sql dst 'select max(id) from t')" = 2 ]
	door "$port"
	copied t u
	end run
	shut
}

empty_registry() {
	registry stop
	registry start >"$DIR/registry-start.log"
}

# The registry is emptied and filled in another order, so that its numbers mean other schemas. The columns of both tables are of the same
# types: read by the other's schema each row would be taken, with its values exchanged.
case_renumbered() {
	empty_registry # numbers from 1
	world renumbered <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, a text, b text); create table u(id int primary key, b text, a text)"
	pg_sql dst "create table t(id int primary key, a text, b text); create table u(id int primary key, b text, a text)"
	cat >"$DIR/foreign.yaml" <<-E
		name: ${PIPE}f
		foreign: { topics: ["$PIPE.public.*"] }
		kafka: $BROKERS
		schemas: $REGISTRY
		sinks: { lite: "sqlite:$DIR/data/foreign.db" }
	E
	tl producer producer -c "$CONF"
	tl copy consumer -c "$CONF"
	tl foreign consumer -c "$DIR/foreign.yaml"
	says producer msg=streaming
	pg_sql src "insert into t values (1, 'a', 'b')"
	copied t
	wait_for 20 "[ \"\$(sqlite3 $DIR/data/foreign.db 'select a, b from t')\" = 'a|b' ]"
	empty_registry
	# One that runs sees it when a number comes again, and registers what it knows anew.
	pg_sql src "insert into u values (1, 'b', 'a')"
	says producer 'which another schema had: was it emptied?'
	copied t u
	pg_sql src "insert into t values (2, 'a', 'b'); insert into u values (2, 'b', 'a')"
	copied t u
	wait_for 20 "[ \"\$(sqlite3 $DIR/data/foreign.db \"select count(*) from (select a, b from t union all select a, b from u) where a = 'a' and b = 'b'\")\" = 4 ]"
	end copy
	end foreign
	# For who begins now, what was written before is lost: refused, not guessed.
	pg_sql dst "drop schema towline cascade; drop table t, u"
	tl copy consumer -c "$CONF"
	ends copy 1 "$PIPE.public.t [0] offset 0: the record was not written with what the registry has as schemas" \
		'was it emptied and filled anew? bring the old one back'
	[ "$(pg_sql dst "select count(*) from pg_tables where tablename in ('t', 'u')")" = 0 ]
	rm "$DIR/data/foreign.db"
	tl foreign consumer -c "$DIR/foreign.yaml"
	ends foreign 1 "$PIPE.public.t [0] offset 0: the registry's schema" "is of table public.u, and the record of public.t" \
		'was the registry emptied and filled anew?'
	end producer
}

# certificates: an authority, and by it a certificate for the server, and one for the client, in $DIR/data/*.pem.
certificates() {
	local name
	(
		cd "$DIR/data"
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem
		for name in server client; do
			openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
			openssl x509 -req -in "$name.csr" -days 2 -CA authority.pem -CAkey authority.key -CAcreateserial -out "$name.pem" \
				-extfile <(echo "subjectAltName = IP:127.0.0.1")
		done
	) >"$DIR/openssl.log" 2>&1 || flunk "openssl: $(tail -n 3 "$DIR/openssl.log")"
}

# In front of the registry: TLS, a certificate of the client's, and a password.
guard() {
	cat >"$DIR/data/guard.py" <<-'PY'
		import base64, http.server, ssl, sys, urllib.error, urllib.request
		port, registry, data = int(sys.argv[1]), sys.argv[2], sys.argv[3]
		class Guard(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def log_message(self, *args): pass
		    def do_GET(self):
		        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
		        if self.headers.get("Authorization") != "Basic " + base64.b64encode("me:p:w".encode()).decode():
		            status, answer = 401, b'{"error_code": 40101, "message": "Unauthorized"}'
		        else:
		            kind = {"Content-Type": self.headers["Content-Type"]}
		            ask = urllib.request.Request(registry + self.path, body, kind, method=self.command)
		            try:
		                with urllib.request.urlopen(ask) as r: status, answer = r.status, r.read()
		            except urllib.error.HTTPError as e: status, answer = e.code, e.read()
		        self.send_response(status)
		        self.send_header("Content-Length", str(len(answer)))
		        self.end_headers()
		        self.wfile.write(answer)
		    do_POST = do_GET
		context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		context.load_cert_chain(data + "/server.pem", data + "/server.key")
		context.load_verify_locations(data + "/authority.pem")
		context.verify_mode = ssl.CERT_REQUIRED
		server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Guard)
		server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
		server.serve_forever()
	PY
	python3 "$DIR/data/guard.py" "$1" "http://127.0.0.1:$REGISTRY_PORT" "$DIR/data" >"$DIR/guard.log" 2>&1 &
	FLOW_PID[guard]=$!
	wait_for 10 "flow_port_open $1"
}

case_guarded() {
	local port url key
	free_port port
	certificates
	guard "$port"
	url=https://127.0.0.1:$port/apis/ccompat/v7
	world guarded <<-E
		schemas:
		  registry: $url
		  user: me
		  password: "p:w"
		  ca: $DIR/data/authority.pem
		  cert: $DIR/data/client.pem
		  key: $DIR/data/client.key
	E
	pg_sql src "create table t(id int primary key, v text)"
	check 0 'Confluent API'
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1, 'one')"
	copied t
	end run
	refute grep -q 'p:w' "$DIR/guarded.run.log"
	# Without each of them, and with what is none.
	for key in ca:/etc/ssl/certs/none.pem cert:$DIR/data/server.key; do
		sed "s|^  ${key%%:*}: .*|  ${key%%:*}: ${key#*:}|" "$CONF" >"$DIR/data/bad.yaml"
		CONF=$DIR/data/bad.yaml check 3 "schemas.${key%%:*}"
	done
	sed '/^  ca:/d' "$CONF" >"$DIR/data/bad.yaml"
	CONF=$DIR/data/bad.yaml check 4 'set schemas.ca to the file with its authority'
	sed '/^  cert:/d; /^  key:/d' "$CONF" >"$DIR/data/bad.yaml"
	CONF=$DIR/data/bad.yaml check 4 'schemas.cert'
	sed 's/p:w/pw/' "$CONF" >"$DIR/data/bad.yaml"
	CONF=$DIR/data/bad.yaml check 1 'status 401: Unauthorized' 'set schemas.user and schemas.password'
	kill "${FLOW_PID[guard]}"
	unset 'FLOW_PID[guard]'
}

# Subjects by the name of the record, alone and behind the topic.
case_subjects() {
	local by
	for by in record topic-record; do
		world "$by" <<<"schemas: { registry: \"$REGISTRY\", subjects: $by }"
		pg_sql src "create table t(id int primary key, v text)"
		tl run run -c "$CONF"
		streams run
		pg_sql src "insert into t values (1, 'one'); update t set v = 'eins'"
		copied t
		end run
	done
	diff <(curl -fsS "$REGISTRY/subjects" | tr -d '[]" ' | tr , '\n' | grep "^$NAME[a-z-]*record\." | LC_ALL=C sort) - <<-E
		${NAME}record.public.t.Envelope
		${NAME}record.public.t.Key
		${NAME}topic-record.public.t-${NAME}topic_record.public.t.Envelope
		${NAME}topic-record.public.t-${NAME}topic_record.public.t.Key
	E
}

cases main notnull structures unknown refuses away renumbered guarded subjects
