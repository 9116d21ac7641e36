#!/bin/bash
# towline takeover debezium: a Debezium is stopped while rows change, and Towline goes on with its slot and its topics. A reader of the topics has
# each change once; a sink that was fed from the topics goes on from the spine. And of one that was killed.
# limit: 300
# shellcheck source-path=SCRIPTDIR source=connect.sh
. "$(dirname "${BASH_SOURCE[0]}")/connect.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start
connect_start

# load SECONDS: each transaction writes three rows; those of moves come once, and never change.
load() {
	cat >"$DIR/data/load.pgbench" <<-'S'
		\set a random(1, 100)
		begin;
		update acct set bal = bal + 1 where no = :a;
		insert into moves(acct) values (:a);
		insert into moves(acct) values (-:a);
		commit;
	S
	"$PGBIN/pgbench" -n -c 2 -R 150 -T "$1" -f "$DIR/data/load.pgbench" --random-seed=3 -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres "$CASE" \
		>"$DIR/pgbench.log" 2>&1 &
	FLOW_PID[load]=$!
}

# A Debezium whose topics are this pipeline's, and a sink fed from them.
prepare() {
	world "$1" <<<"schemas: $REGISTRY"
	sed -i "s|^source: .*|source: { url: \"$SRCDB\", slot: debezium_$CASE, publication: debezium_$CASE }|; s/partitions: 1/partitions: 3/" "$CONF"
	# Keys whose schema Debezium gives a default that ours has not.
	pg_sql src "create table acct(id uuid primary key default gen_random_uuid(), no int unique, bal int not null);
		create table moves(id uuid primary key default gen_random_uuid(), acct int);
		create table wiped(id int primary key); insert into wiped values (1); insert into acct(no, bal) select i, 0 from generate_series(1, 100) i"
	FLOW_DB=postgres pg_sql dst "create database ${CASE}foreign"
	cat >"$DIR/$CASE.foreign.yaml" <<-E2
		name: ${PIPE}foreign
		foreign: { topics: ["$PIPE.public.*"] }
		kafka: $BROKERS
		schemas: $REGISTRY
		sinks: { copy: "${DST%/*}/${CASE}foreign" }
	E2
	debezium "$PIPE" 'public.*' '"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "3"'
	tl foreign consumer -c "$DIR/$CASE.foreign.yaml"
	wait_for 60 "[ \"\$(FLOW_DB=${CASE}foreign pg_sql dst 'select count(*) from acct')\" = 100 ]"
}

slot_free() { [ "$(pg_sql src "select active from pg_replication_slots where slot_name = 'debezium_$CASE'")" = f ]; }
foreign_equal() {
	[ "$(digest_pg src acct)" = "$(FLOW_DB=${CASE}foreign digest_pg dst acct)" ] &&
		[ "$(digest_pg src moves)" = "$(FLOW_DB=${CASE}foreign digest_pg dst moves)" ]
}

# times TABLE: how often each key stands in the topic, "times keys" a line. And that no key is in two partitions.
times() {
	kcat -b "$BROKERS" -C -t "$PIPE.public.$1" -e -q -f '%p %K %S\n%k%s' >"$DIR/data/topic"
	python3 - "$DIR/data/topic" <<-'PY'
		import collections, sys
		data, at, keys, places = open(sys.argv[1], "rb").read(), 0, collections.Counter(), {}
		while at < len(data):
		    end = data.index(b"\n", at)
		    part, k, s = (int(n) for n in data[at:end].split())
		    key = data[end + 1:end + 1 + k]
		    at = end + 1 + k + max(s, 0)
		    keys[key] += 1
		    assert places.setdefault(key, part) == part, "a key in two partitions"
		for n, rows in sorted(collections.Counter(keys.values()).items()):
		    print(n, rows)
	PY
}

# Stopped in order. Inside a transaction it is refused, and then it is stopped again after the load.
case_stopped() {
	local out status=0 rows
	prepare stopped
	load 12
	wait_for 60 "(( \$(pg_sql src 'select count(*) from moves') > 200 )) && foreign_has 100"
	out=$("$TOWLINE" takeover debezium -c "$CONF" 2>&1) && flunk "taken over from one at work"
	grep -q 'is read by process .*: the connector is at work; stop it' <<<"$out"
	connector_stop "$PIPE"
	wait_for 30 slot_free
	pg_sql src "truncate wiped" # which the connector would leave out
	"$TOWLINE" takeover debezium --offsets "$NAME-connect-offsets" -c "$CONF" >"$DIR/takeover.log" 2>&1 || status=$?
	if [ $status = 5 ]; then
		say "stopped inside a transaction: $(tail -n 1 "$DIR/takeover.log")"
		grep -q 'rows of .* transactions that are not whole in the topics are there already' "$DIR/takeover.log"
		towline_wait load 60
		connector_resume "$PIPE"
		wait_for 60 foreign_equal
		connector_stop "$PIPE"
		wait_for 30 slot_free
		status=0
		pg_sql src "truncate wiped"
		"$TOWLINE" takeover debezium --dry-run -c "$CONF" >"$DIR/takeover.log" 2>&1 || flunk "$(cat "$DIR/takeover.log")"
		grep -q '^dry run' "$DIR/takeover.log"
		"$TOWLINE" takeover debezium --offsets "$NAME-connect-offsets" -c "$CONF" >"$DIR/takeover.log" 2>&1 || status=$?
		load 5
	fi
	[ $status = 0 ] || flunk "$(cat "$DIR/takeover.log")"
	cat "$DIR/takeover.log"
	grep -q '^connector    ' "$DIR/takeover.log"
	# The reader of the topics has all that Debezium wrote; what comes now it has from us. Another begins with the spine, on the same tables.
	wait_for 30 foreign_caught_up
	pg_sql dst "$("$PGBIN/pg_dump" -N towline -h 127.0.0.1 -p "${FLOW_PG[dst]}" -U postgres "${CASE}foreign")" >/dev/null
	tl run run -c "$CONF"
	streams run
	towline_wait load 60
	copied acct moves wiped
	wait_for 60 foreign_equal
	rows=$(pg_sql src 'select count(*) from moves')
	[ "$(times moves)" = "1 $rows" ] || flunk "moves in the topic, how often and how many, of $rows: $(times moves | tr '\n' ';')"
	# Debezium and we wrote each of these keys: by other numbers of their schema, or another hash, they would be two, or in two partitions.
	[ "$(times acct | awk '{ n += $2 } END { print n }')" = 100 ] || flunk "keys of acct: $(times acct | tr '\n' ';')"
	say "$rows rows of moves: each once in the topic, each key in one partition"
	"$TOWLINE" takeover debezium -c "$CONF" >"$DIR/takeover.log" 2>&1 && flunk "taken over twice"
	end run
	end foreign
	connector_delete "$PIPE"
}

foreign_has() { (($(FLOW_DB=${CASE}foreign pg_sql dst 'select count(*) from moves') > $1)); }

# The sink stands at the ends of the topics' partitions.
foreign_caught_up() {
	local topic partition next
	FLOW_DB=${CASE}foreign pg_sql dst "select topic, topic_partition, next_offset from towline.position where topic !~ 'wiped'" >"$DIR/data/positions"
	[ "$(wc -l <"$DIR/data/positions")" = 6 ] || return 1
	while IFS='|' read -r topic partition next; do
		[ "$(kcat -b "$BROKERS" -Q -t "$topic:$partition:-1" | sed 's/.*offset //')" = "$next" ] || return 1
	done <"$DIR/data/positions"
}

in_topic() {
	local n=0 p
	for p in 0 1 2; do n=$((n + $(kcat -b "$BROKERS" -Q -t "$PIPE.public.moves:$p:-1" | sed 's/.*offset //'))); done
	echo "$n"
}

# Killed: what it had written behind its stored offset would come again, so it is asked first. Nothing is lost.
case_killed() {
	local status=0 rows
	prepare killed
	load 12
	wait_for 60 "foreign_has 200"
	# A transaction of many rows, so that it is inside one.
	pg_sql src "insert into moves(acct) select 0 from generate_series(1, 100000)"
	wait_for 60 "(( \$(in_topic) > 5000 ))"
	connect_kill
	wait_for 30 slot_free
	"$TOWLINE" takeover debezium -c "$CONF" >"$DIR/takeover.log" 2>&1 || status=$?
	[ $status = 5 ] || flunk "$status: $(cat "$DIR/takeover.log")"
	grep -q 'rows of .* transactions that are not whole in the topics are there already, and would come again' "$DIR/takeover.log"
	"$TOWLINE" takeover debezium --repeat -c "$CONF" >"$DIR/takeover.log" 2>&1 || flunk "$(cat "$DIR/takeover.log")"
	cat "$DIR/takeover.log"
	grep -q '^again ' "$DIR/takeover.log"
	tl producer producer -c "$CONF"
	says producer msg=streaming
	towline_wait load 60
	wait_for 60 foreign_equal
	rows=$(pg_sql src 'select count(*) from moves')
	[ "$(times moves | awk '{ n += $2 } END { print n }')" = "$rows" ] || flunk "moves in the topic, of $rows: $(times moves | tr '\n' ';')"
	say "$rows rows of moves in the topic, times and rows: $(times moves | tr '\n' ';')"
	end producer
	end foreign
}

cases stopped killed
