#!/bin/bash
# kill -9 of producer and consumer at random moments under load: nothing lost, nothing repeated, no transaction torn.
# Transfers over four tables; whoever reads the sink sees the same total at every moment.
#   KILLS=n   how many (12)
# limit: 400
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-12}

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: $BROKERS
  partitions: 3
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
for t in a b c d; do pg_sql src "create table acc_$t(id int primary key, bal bigint not null)"; done
pg_sql src "create table hist(id bigserial primary key, x int, pad text)"
# The writer: money moves between tables; a row of history each time; now and then a key changes, or a row goes and comes.
cat >"$DIR/transfer.sql" <<'E2'
\set i random(1, 500)
\set j random(1, 500)
\set x random(1, 100)
begin;
update acc_a set bal = bal - :x where id = :i;
update acc_b set bal = bal + :x where id = :j;
update acc_c set bal = bal - 2 * :x where id = :j;
update acc_d set bal = bal + 2 * :x where id = :i;
insert into hist(x, pad) values (:x, repeat('p', :x));
delete from hist where id = (select max(id) - 20 from hist);
commit;
E2
start() {
	if [ "$1" = producer ]; then towline_start producer producer -c "$DIR/conf.yaml"; else towline_start "$1" consumer -c "$DIR/conf.yaml" "$1"; fi
}
start producer
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
for t in a b c d; do pg_sql src "insert into acc_$t select i, 1000 from generate_series(1, 500) i"; done
start copy
start edge
totals="select (select sum(bal) from acc_a) + (select sum(bal) from acc_b) + (select sum(bal) from acc_c) + (select sum(bal) from acc_d)"
wait_for 30 "[ \"\$(pg_sql dst '$totals')\" = 2000000 ]"

pgbench=$(flow_pgbin)/pgbench
"$pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/transfer.sql" -c 4 -R 400 -T 600 postgres >"$DIR/pgbench.log" 2>&1 &
FLOW_PID[pgbench]=$!

# An auditor at each sink for as long as the killing goes on.
audits=0
audit() {
	local pg lite
	pg=$(pg_sql dst "$totals")
	[ "$pg" = 2000000 ] || flunk "PostgreSQL shows a torn transaction: total $pg"
	lite=$(sqlite3 -cmd '.timeout 5000' "$DIR/data/edge.db" "$totals" 2>/dev/null) || lite=''
	[ -z "$lite" ] || [ "$lite" = 2000000 ] || flunk "SQLite shows a torn transaction: total $lite"
	audits=$((audits + 1))
}
who=(producer copy edge producer)
for ((k = 0; k < kills; k++)); do
	victim=${who[RANDOM % 4]}
	until=$((${EPOCHREALTIME/./} + (RANDOM % 1500 + 50) * 1000))
	while ((${EPOCHREALTIME/./} < until)); do audit; done
	towline_alive "$victim" || flunk "$victim ended by itself"
	towline_kill "$victim" KILL
	start "$victim"
done
kill -s TERM "${FLOW_PID[pgbench]}"
wait "${FLOW_PID[pgbench]}" || true
unset 'FLOW_PID[pgbench]'
wait_for 60 "same_pg src dst acc_a acc_b acc_c acc_d hist"
audit
lite_same() { diff <(sqlite3 -separator '|' "$DIR/data/edge.db" "$1") <(pg_sql src "$1"); }
for t in a b c d; do wait_for 30 "lite_same 'select id, bal from acc_$t order by id'"; done
wait_for 5 "lite_same 'select id, x, pad from hist order by id'"
say "$kills kills survived, $audits audits, $(pg_sql src 'select count(*) from hist') rows of history, $(pg_sql dst "select seq from towline.marker where name = '$NAME'") transactions"
