#!/bin/bash
# A Debezium that is at work feeds our sinks: in the order of keys and in whole transactions; Kafka Connect and the consumers are killed
# (kill -9) while rows change. At the end, and in whole transactions at every moment, the tables are the source's.
# limit: 300
# shellcheck source-path=SCRIPTDIR source=connect.sh
. "$(dirname "${BASH_SOURCE[0]}")/connect.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start
connect_start

# bank SECONDS: money goes between accounts, half of it into a table of its own; rows come, go, and change their keys. In the background.
bank() {
	cat >"$DIR/data/bank.pgbench" <<-'S'
		\set a random(1, 200)
		\set b random(1, 200)
		\set n random(1, 50)
		\set k random(1, 1000000)
		begin;
		update acct set bal = bal - :n, note = case when :n % 7 = 0 then null else repeat('x', :n * 10) end where id = :a;
		update other set bal = bal + :n where id = :b;
		insert into moves values (:k, :a, :b, :n) on conflict (id) do update set n = excluded.n;
		delete from moves where id < :k - 900000;
		update moves set id = -id where id = (select id from moves where a = :a and id > 0 order by id limit 1);
		commit;
	S
	PGOPTIONS='-c client_min_messages=warning' "$PGBIN/pgbench" -n -c 3 -R 120 -T "$1" -f "$DIR/data/bank.pgbench" --random-seed=7 --max-tries=100 \
		-h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres "$CASE" >"$DIR/pgbench.log" 2>&1 &
	FLOW_PID[bank]=$!
}

# Whoever looks at a sink of whole transactions sees as much money as there is.
audit() {
	local sum
	while sleep 0.1; do
		sum=$(FLOW_DB=$1 pg_sql dst "select (select sum(bal) from acct) + (select sum(bal) from other)" 2>/dev/null) || continue
		case $sum in '' | 40000) ;; *) echo "$sum" >>"$DIR/data/wrong" ;; esac
	done
}

# same_rows DATABASE TABLE: as at the source; tells the first that differ.
same_rows() { diff <(pg_sql src "table $2" | sort) <(FLOW_DB=$1 pg_sql dst "table $2" | sort) | cut -c1-100 | head -n 5; [ "${PIPESTATUS[0]}" = 0 ]; }

case_live() {
	local apply t
	world live <<<"schemas: $REGISTRY"
	pg_sql src "create table acct(id int primary key, bal int not null, note text); create table other(id int primary key, bal int not null);
		create table moves(id int primary key, a int, b int, n int); alter table moves replica identity full;
		insert into acct select i, 100 from generate_series(1, 200) i; insert into other select i, 100 from generate_series(1, 200) i"
	debezium "${PIPE}d" 'public.*' '"provide.transaction.metadata": "true", "topic.creation.default.replication.factor": "1",
		"topic.creation.default.partitions": "3", "topic.creation.meta.include": ".*transaction", "topic.creation.groups": "meta",
		"topic.creation.meta.partitions": "1", "topic.creation.meta.replication.factor": "1"'
	for apply in key transaction; do
		FLOW_DB=postgres pg_sql dst "create database live$apply"
		cat >"$DIR/$apply.yaml" <<-E2
			name: $PIPE$apply
			foreign:
			  topics: ["${PIPE}d.public.*"]
			  transactions: ${PIPE}d.transaction
			kafka: $BROKERS
			schemas: $REGISTRY
			sinks:
			  pg: { url: "${DST%/*}/live$apply", apply: $apply, batch_rows: 200 }
			  lite: { url: "sqlite:$DIR/data/$apply.db", apply: $apply, batch_rows: 200 }
		E2
		towline_start "$apply" run -c "$DIR/$apply.yaml"
	done
	for apply in key transaction; do
		for t in acct other; do
			wait_for 60 "[ \"\$(FLOW_DB=live$apply pg_sql dst 'select count(*) from $t')\" = 200 ]"
		done
	done
	bank 30
	audit livetransaction &
	FLOW_PID[audit]=$!
	no() { FLOW_DB=live$1 pg_sql dst "select no from towline.marker"; }
	local round from
	for round in 1 2; do
		for apply in key transaction; do
			from=$(no $apply)
			wait_for 60 "(( \$(no $apply) >= $from + 20 ))"
			towline_kill $apply KILL
			towline_start $apply run -c "$DIR/$apply.yaml"
		done
		connect_kill
		connect_up
		connector_runs "${PIPE}d"
	done
	towline_wait bank 120
	[ "$STATUS" = 0 ] || flunk "pgbench: $(tail -n 3 "$DIR/pgbench.log")"
	for apply in key transaction; do
		for t in acct other moves; do
			wait_for 90 "same_rows live$apply $t"
			wait_for 60 "[ \"\$(pg_sql src 'select count(*) from $t')\" = \"\$(sqlite3 $DIR/data/$apply.db 'select count(*) from $t')\" ]"
		done
		[ "$(sqlite3 "$DIR/data/$apply.db" 'select sum(id * n) from moves')" = "$(pg_sql src 'select sum(id::bigint * n) from moves')" ]
		towline_kill $apply
		[ "$STATUS" = 0 ] || flunk "$apply ended with $STATUS"
		say "$apply: equal after $(no $apply) sink transactions"
	done
	kill "${FLOW_PID[audit]}"
	[ ! -s "$DIR/data/wrong" ] || flunk "money seen at the sink of whole transactions: $(sort -u "$DIR/data/wrong" | head -n 5 | tr '\n' ' ')"
	say "$(pg_sql src "select count(*) from moves") moves; transactions at the source: $(grep 'actually processed' "$DIR/pgbench.log")"
}

cases live
