#!/bin/bash
# kafka.transactions: on. kill -9 of the producer under load: a read_committed reader of all topics sees every row once, in order for each
# partition; a second producer fences the first. Then off again on the same topics: the sinks stay equal.
#   KILLS=n   how many (8)
# limit: 300
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-8}
committed=$ROOT/build/${MODE:-debug}/tests/flow/committed_test
[ -x "$committed" ] || flunk "make $committed first"

pg_start src SRC
pg_start dst DST
kafka_start
conf() {
	cat >"$DIR/$1.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: $BROKERS
  partitions: 3
  transactions: $1
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
}
conf on
conf off
pg_sql src "create table acc_a(id int primary key, bal bigint not null); create table acc_b(id int primary key, bal bigint not null)"
pg_sql src "create table cut(id int primary key, n int)"
pg_sql src "create table hist(id bigserial primary key, x int, pad text)"
cat >"$DIR/transfer.sql" <<'E2'
\set i random(1, 500)
\set j random(1, 500)
\set x random(1, 100)
begin;
update acc_a set bal = bal - :x where id = :i;
update acc_b set bal = bal + :x where id = :j;
insert into hist(x, pad) values (:x, repeat('p', :x));
delete from hist where id = (select max(id) - 20 from hist);
commit;
E2
mode=on
producer() { towline_start producer producer -c "$DIR/$mode.yaml"; }
producer
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
for t in a b; do pg_sql src "insert into acc_$t select i, 1000 from generate_series(1, 500) i"; done
towline_start copy consumer -c "$DIR/on.yaml" copy
towline_start edge consumer -c "$DIR/on.yaml" edge
totals="select (select sum(bal) from acc_a) + (select sum(bal) from acc_b)"
wait_for 30 "[ \"\$(pg_sql dst '$totals')\" = 1000000 ]"

pgbench=$(flow_pgbin)/pgbench
load() {
	"$pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/transfer.sql" -c 4 -R 400 -T 600 postgres >"$DIR/pgbench.log" 2>&1 &
	FLOW_PID[pgbench]=$!
}
unload() {
	kill -s TERM "${FLOW_PID[pgbench]}"
	wait "${FLOW_PID[pgbench]}" || true
	unset 'FLOW_PID[pgbench]'
}
lite_same() { diff <(sqlite3 -separator '|' "$DIR/data/edge.db" "$1") <(pg_sql src "$1"); }
equal() {
	wait_for 60 "same_pg src dst acc_a acc_b hist cut"
	for t in a b; do wait_for 30 "lite_same 'select id, bal from acc_$t order by id'"; done
	wait_for 10 "lite_same 'select id, x, pad from hist order by id'"
	seq=$(pg_sql dst "select seq from towline.marker where name = '$NAME'")
}
# A transaction that truncates cut into 2 N + 1 groups.
cuts() {
	echo "begin;"
	for ((i = 0; i < $1; i++)); do echo "truncate cut; insert into cut select i, $i from generate_series(1, 20) i;"; done
	echo "commit"
}
# Such a one now and then, and one larger than a group, so that a kill falls into those too.
kill_under_load() {
	local k until total
	load
	for ((k = 0; k < $1; k++)); do
		((k % 3)) || pg_sql src "insert into hist(x, pad) select i, 'bulk' from generate_series(1, 60000) i"
		((k % 3 == 1)) || pg_sql src "$(cuts 12)"
		until=$((${EPOCHREALTIME/./} + (RANDOM % 2000 + 100) * 1000))
		while ((${EPOCHREALTIME/./} < until)); do
			total=$(pg_sql dst "$totals")
			[ "$total" = 1000000 ] || flunk "PostgreSQL shows a torn transaction: total $total"
		done
		towline_alive producer || flunk "the producer ended by itself"
		towline_kill producer KILL
		producer
	done
	unload
	equal
}
topics() { kcat -b "$BROKERS" -L | sed -n "s/^  topic \"\($NAME\.public\.[^\"]*\)\".*/\1/p"; }

kill_under_load "$kills"
mapfile -t all < <(topics)
seen=$("$committed" "$BROKERS" "$seq" "${all[@]}") || flunk "a read_committed reader sees: $seen"
say "$kills kills, $seq transactions; read_committed: $seen"
say "  for comparison, read_uncommitted: $("$committed" -u "$BROKERS" "$seq" "${all[@]}" || true)"

# More groups of one transaction than may be on their way: in more Kafka transactions than one, but without a hitch.
pg_sql src "$(cuts 40)"
equal

# A second producer under the same name, past the slot that would stop it: it publishes, and the first ends with 5, whether Kafka or the spine told it.
load
pg_sql src "select pg_copy_logical_replication_slot('towline_$NAME', 'rival')" >/dev/null
towline_start second producer -c "$DIR/on.yaml" --set source.slot=rival
towline_wait producer 30
[ "$STATUS" = 5 ] || flunk "the first producer ended with $STATUS"
grep -q 'fenced' "$DIR/producer.log" || flunk "it does not say that it was fenced"
unload
equal
# An orderly end leaves no transaction open, so the end of what is committed is the end of the topic.
towline_kill second TERM
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM"
seen=$("$committed" "$BROKERS" "$seq" "${all[@]}") || flunk "after a second producer a read_committed reader sees: $seen"

# Off: what the sinks show does not depend on it.
mode=off
producer
kill_under_load 3
say "off: $seq transactions, sinks equal; read_committed: $("$committed" "$BROKERS" "$seq" "${all[@]}" || true)"
