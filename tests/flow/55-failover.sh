#!/bin/bash
# PostgreSQL 17 and later: the primary dies under load, its standby takes over, and the slot is there: nothing is lost or repeated.
# limit: 180
. "$(dirname "$0")/lib.sh"
PG_VERSION=${PG_VERSION:-17}
((PG_VERSION >= 17)) || skip "PostgreSQL $PG_VERSION has no failover slots"

pg_start one ONE
PG_VERSION='' pg_start dst DST
kafka_start

# A standby is a copy of the stopped primary.
pg_sql one "create table t(id bigserial primary key, v text); select pg_create_physical_replication_slot('standby')" >/dev/null
pg_down one
free_port port
cp -a "$DIR/data/pg-one" "$DIR/data/pg-two"
touch "$DIR/pg-two.log" "$DIR/data/pg-two/standby.signal"
[ "$(id -u)" != 0 ] || chown postgres "$DIR/pg-two.log" "$DIR/data/pg-two/standby.signal"
printf '%s\n' "port = $port" "primary_conninfo = 'host=127.0.0.1 port=${FLOW_PG[one]} user=postgres dbname=postgres'" \
	"primary_slot_name = standby" 'hot_standby_feedback = on' 'sync_replication_slots = on' >>"$DIR/data/pg-two/postgresql.conf"
FLOW_PG[two]=$port FLOW_BIN[two]=${FLOW_BIN[one]}
pg_up one
pg_up two

cat >"$DIR/conf.yaml" <<E2
name: $NAME
source:
  url: postgresql://postgres@127.0.0.1:${FLOW_PG[one]},127.0.0.1:$port/postgres?target_session_attrs=read-write
  failover: false
kafka: $BROKERS
sinks:
  copy: $DST
E2

# Turned off, then on: the slot that is there becomes a failover slot.
slot() { pg_sql "$1" "select $2 from pg_replication_slots where slot_name = 'towline_$NAME'"; }
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run.log"
[ "$(slot one failover)" = f ] || flunk "a failover slot although source.failover is false"
towline_kill run TERM
sed -i '/failover: false/d' "$DIR/conf.yaml"
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1 || flunk "check: $(cat "$DIR/check.log")"
grep -q 'failover slot.*the next start of the producer makes the slot one' "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "[ \"\$(slot one 'failover and active')\" = t ]"

# A standby slot that nobody reads holds the stream: check says so. The real one does not.
pg_sql one "select pg_create_physical_replication_slot('nobody')" >/dev/null
pg_sql one "alter system set synchronized_standby_slots = 'standby, nobody'; select pg_reload_conf()" >/dev/null
wait_for 10 "[ \"\$(pg_sql one 'show synchronized_standby_slots')\" = 'standby, nobody' ]"
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1 || true
grep -q 'names nobody, which no standby reads' "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
pg_sql one "alter system set synchronized_standby_slots = 'standby'; select pg_reload_conf()" >/dev/null
pg_sql one "insert into t(v) select 'before ' || i from generate_series(1, 1000) i"
wait_for 30 'same_pg one dst t'
wait_for 90 "[ \"\$(slot two 'synced and failover and not temporary')\" = t ]"

# Load, and the primary dies in it.
load() {
	local i
	for ((i = 0; i < $2; i++)); do pg_sql "$1" "insert into t(v) select 'row ' || i from generate_series(1, 20) i; update t set v = v || '+' where id % 50 = $i" || return 0; done
}
load one 1000 >"$DIR/load.log" 2>&1 &
loader=$!
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) > 2000 from t')\" = t ]"
pg_down one immediate
wait "$loader"
pg_sql two "select pg_promote()" >/dev/null
pg_sql two "alter system set synchronized_standby_slots = ''; select pg_reload_conf()" >/dev/null
load two 20
wait_for 60 'same_pg two dst t'
towline_alive run || flunk 'the producer ended at the failover'
[[ $(pg_sql two 'select pg_walfile_name(pg_current_wal_lsn())') == 00000002* ]] || flunk 'no other timeline'
say "$(pg_sql two 'select count(*) from t') rows on both sides"
towline_kill run TERM
[ "$STATUS" = 0 ] || flunk "exit code $STATUS after SIGTERM"
