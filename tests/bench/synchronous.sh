#!/bin/bash
# synchronous.sh [SECONDS]: what a commit costs that waits for Kafka, or for a sink, in the producer's process or apart: pgbench's single-row inserts, the modes in turn, on
# servers of its own. Prints commits a second and milliseconds a commit, for 1 and for 8 clients, and the ratio to no waiting.
set -euo pipefail
seconds=${1:-5} MODE=${MODE:-release}
. "$(dirname "$0")/../flow/lib.sh"
pg_start src SRC 'fsync = on'
pg_start dst DST 'fsync = on'
kafka_start_own
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  copy: $DST
E2
pg_sql src "create table t(id bigint generated always as identity primary key, at timestamptz default now(), line text)"
echo "insert into t(line) values (md5(random()::text));" >"$DIR/one.sql"
printf '%-22s %10s %14s %14s %8s\n' mode clients commits/s ms/commit ratio
declare -A base
for mode in off kafka applied apart; do
	if [ "$mode" = apart ]; then
		towline_start run producer -c "$DIR/conf.yaml" --set synchronous.mode=applied
		towline_start sink consumer copy -c "$DIR/conf.yaml" --set synchronous.mode=applied
	else
		towline_start run run -c "$DIR/conf.yaml" --set "synchronous.mode=$mode"
	fi
	wait_for 60 "[ -n \"\$(pg_sql src \"select 1 from pg_stat_replication where application_name = 'towline_$NAME' and state = 'streaming'\")\" ]"
	if [ "$mode" != off ]; then
		pg_sql src "alter system set synchronous_standby_names = 'towline_$NAME'"
		[ "${mode#ap}" = "$mode" ] || pg_sql src "alter system set synchronous_commit = remote_apply"
		pg_sql src "select pg_reload_conf()" >/dev/null
		wait_for 10 "[ \"\$(pg_sql src \"select sync_state from pg_stat_replication\")\" = sync ]"
	fi
	for clients in 1 8; do
		"$PGBIN/pgbench" -n -c "$clients" -j 1 -T "$seconds" -f "$DIR/one.sql" -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres postgres >"$DIR/pgbench.log" 2>&1
		tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$DIR/pgbench.log") ms=$(sed -n 's/^latency average = \([0-9.]*\).*/\1/p' "$DIR/pgbench.log")
		: "${base[$clients]:=$tps}"
		printf '%-22s %10d %14.0f %14.2f %8.2f\n' "$mode" "$clients" "$tps" "$ms" "$(awk "BEGIN { print $tps / ${base[$clients]} }")"
	done
	towline_kill run
	[ "$mode" != apart ] || towline_kill sink
	pg_sql src "alter system reset synchronous_standby_names" && pg_sql src "select pg_reload_conf()" >/dev/null
done
