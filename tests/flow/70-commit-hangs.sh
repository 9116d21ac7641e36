#!/bin/bash
# kafka.transactions: on, and a commit that Kafka does not answer: first the coordinator alone (endtxn_proxy.py), then the whole broker (SIGSTOP).
# Meanwhile the producer reads its source and answers it, takes commands, ends when it is asked to, or is killed, and keeps to its memory; then
# it goes on. A read_committed reader sees every row once.
# limit: 300
. "$(dirname "$0")/lib.sh"
committed=$ROOT/build/${MODE:-debug}/tests/flow/committed_test
[ -x "$committed" ] || flunk "make $committed first"

pg_start src SRC
pg_start dst DST
free_port KAFKA_ADVERTISED
export KAFKA_ADVERTISED
kafka_start_own
echo pass >"$DIR/data/endtxn"
python3 "$ROOT/tests/flow/endtxn_proxy.py" "$DIR/data/endtxn" "$KAFKA_ADVERTISED:$KAFKA_PORT" >"$DIR/proxy.txt" 2>&1 &
FLOW_PID[proxy]=$!
echo $! >>"$DIR/data/pids"
wait_for 10 "flow_port_open $KAFKA_ADVERTISED"
free_port HTTP
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: 127.0.0.1:$KAFKA_ADVERTISED
  partitions: 2
  transactions: on
memory: 50MB
sinks:
  copy: $DST
E2
pg_sql src "create table t(id bigserial primary key, v text); create table side(id int primary key, v text);
	insert into side select i, 's' || i from generate_series(1, 300) i"

producer() { towline_start producer producer -c "$DIR/conf.yaml" --set "http=127.0.0.1:$HTTP"; }
count() { grep -c "$1" "$DIR/$2" || true; }
streams() { wait_for 40 "[ \"\$(count msg=streaming producer.log)\" -gt $1 ]"; }
insert() { pg_sql src "insert into t(v) select 'v' || i from generate_series(1, $1) i"; }
equal() { wait_for 60 'same_pg src dst t side'; }
sender() { pg_sql src "select pid from pg_stat_replication"; }
# Since watch, the source has heard from the producer for longer than it would wait, over one connection.
watch() { walsender=$(sender) since=$(pg_sql src "select now()") begun=$(count msg=publishing producer.log); }
answering() { pg_sql src "select pid from pg_stat_replication where reply_time > timestamptz '$since' + interval '5 s'"; }
answers() { wait_for 12 "[ \"\$(answering)\" = $walsender ]"; }
same_sender() {
	[ "$(sender)" = "$walsender" ] || flunk "the connection to the source was lost: it was $walsender, and is now $(sender)"
	[ "$(count msg=publishing producer.log)" = "$begun" ] || flunk "the producer began anew"
}
# What readers of uncommitted records have of t.
written() {
	kcat -X isolation.level=read_uncommitted -b "$BROKERS" -Q -t "$NAME.public.t:0:-1" -t "$NAME.public.t:1:-1" |
		awk '{ n += $NF } END { print n }'
}
# From now on a commit hangs: of the transaction that this row is in.
hang() {
	local n
	n=$(count kept proxy.txt)
	echo keep >>"$DIR/data/endtxn"
	insert 1
	wait_for 20 "[ \"\$(count kept proxy.txt)\" -gt $n ]"
}
go_on() { echo pass >>"$DIR/data/endtxn"; }

producer
streams 0
towline_start copy consumer -c "$DIR/conf.yaml" copy
insert 100
equal
# From now on who is silent for so long loses the connection. (Topics are there: to make one takes a moment.)
pg_sql src "alter system set wal_sender_timeout = '3s'; select pg_reload_conf()" >/dev/null

# ---- the coordinator is silent ----
watch
hang
before=$(written)
rows=$(pg_sql dst "select count(*) from t")
insert 500
wait_for 10 "(( \$(written) >= before + 500 ))" # of the next group, which goes through the other handle
"$TOWLINE" snapshot -c "$DIR/conf.yaml" add side
wait_for 10 "grep -q 'asked about the copy of a table.*side' $DIR/producer.log"
wait_for 5 "curl -fs http://127.0.0.1:$HTTP/metrics | grep -q '^towline_'"
answers
[ "$(pg_sql dst "select count(*) from t")" = "$rows" ] || flunk "a sink has rows of a Kafka transaction that is not committed"
go_on
equal
same_sender

# ---- and a truncate, before which the group at hand is closed: the next has no handle, and the change waits ----
watch
hang
insert 500
pg_sql src "truncate side"
answers
go_on
equal
same_sender

# ---- asked to end meanwhile ----
hang
insert 20
kill -s TERM "${FLOW_PID[producer]}"
towline_wait producer 25
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM in a commit"
go_on
n=$(count msg=streaming producer.log)
producer
streams "$n"
equal

# ---- killed in the commit, whose request comes before the next producer, or after its own first ----
for when in before after; do
	hang
	insert 20
	towline_kill producer KILL
	[ $when = after ] || go_on
	n=$(count msg=streaming producer.log)
	kept=$(count kept proxy.txt)
	producer
	[ $when = before ] || wait_for 30 "[ \"\$(count kept proxy.txt)\" -gt $kept ]"
	go_on
	streams "$n"
	equal
done

# ---- silent for longer than a commit may take: begun anew, under another generation ----
hang
wait_for 30 "grep -q 'msg=\"Kafka transaction: commit' $DIR/producer.log"
go_on
insert 20
equal

# ---- the whole broker hangs, and comes back ----
broker=$(cat "$TOWLINE_KAFKA_RUN/kafka.pid")
for rows in 1 40000; do
	"$(flow_pgbin)/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f <(echo "insert into t(v) values ('w')") -c 2 -R 100 -T 9 postgres \
		>"$DIR/pgbench.log" 2>&1 &
	FLOW_PID[pgbench]=$!
	watch
	kill -s STOP "$broker"
	# 40 MB are more than may be on their way: the source is not read to its end.
	pg_sql src "insert into t(v) select repeat(md5(i::text), 32) from generate_series(1, $rows) i"
	answers
	kill -s CONT "$broker"
	wait "${FLOW_PID[pgbench]}"
	unset 'FLOW_PID[pgbench]'
	equal
	same_sender
done

peak=$(awk '/^VmHWM/ { print $2 }' "/proc/${FLOW_PID[producer]}/status")
((peak < 50 * 1024)) || [ "${MODE:-debug}" = asan ] || flunk "the producer had $peak kB; memory is 50MB"
towline_kill producer TERM
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM"
seq=$(pg_sql dst "select seq from towline.marker where name = '$NAME'")
seen=$("$committed" "$BROKERS" "$seq" "$NAME.public.t" "$NAME.public.side") || flunk "a read_committed reader sees: $seen"
say "read_committed: $seen; the producer's peak: $peak kB"
