#!/bin/bash
# Commits that wait for sinks, and a copy that one of these needs to count again: they wait for each other while the other sink is down. It is
# said at once, with the way out, which is taken here.
# limit: 150
. "$(dirname "$0")/lib.sh"

pg_start src SRC
kafka_start
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
snapshot: { rows: 100 }
synchronous: { mode: applied, sinks: "ANY 1 (edge, other)" }
sinks:
  edge: sqlite:$DIR/data/edge.db
  other: sqlite:$DIR/data/other.db
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
lite() { sqlite3 -cmd '.timeout 5000' "$DIR/data/edge.db" "$1"; }
sync_is() { [ "$(pg_sql src "select sync_state from pg_stat_replication where application_name = 'towline_$NAME'")" = "$1" ]; }
waits() { pg_sql src "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"; }
reason() { t snapshot ls --json | grep -q "wait for sinks (synchronous: applied)"; }

pg_sql src "create table t(id int primary key, v text); create table nokey(v text); alter table nokey replica identity full"
towline_start producer producer -c "$DIR/towline.yaml"
towline_start edge consumer edge -c "$DIR/towline.yaml"
wait_for 60 'sync_is async'
pg_sql src "alter system set synchronous_standby_names = 'towline_$NAME'" && pg_sql src "alter system set synchronous_commit = remote_apply" && pg_sql src 'select pg_reload_conf()' >/dev/null
wait_for 10 'sync_is sync'
pg_sql src "insert into t select i, 'x' from generate_series(1, 1000) i; insert into nokey select 'n' from generate_series(1, 20)"
towline_kill edge

say 'a sink is made anew, the other one is down, a commit waits'
t resync edge >"$DIR/data/out"
grep -q 'commits wait for 1 of the other sinks' "$DIR/data/out" || flunk "resync does not say it: $(cat "$DIR/data/out")"
towline_kill producer
"$PGBIN/psql" -X -q "$SRC" -c "insert into t values (10000, 'late')" >"$DIR/data/psql" 2>&1 &
client=$!
wait_for 10 '[ "$(waits)" = 1 ]'
towline_start producer producer -c "$DIR/towline.yaml"
towline_start edge consumer edge -c "$DIR/towline.yaml"
wait_for 40 "grep -q 'waits for .*start the sinks that do not answer.*synchronous.mode=kafka' $DIR/producer.log"
wait_for 10 reason
[ "$(waits)" = 1 ]
refute grep -q 'commits count on this sink again' "$DIR/edge.log"

say 'the way out: commits wait for Kafka only until it is done'
towline_kill producer
towline_start producer producer -c "$DIR/towline.yaml" --set synchronous.mode=kafka
wait_for 60 "grep -q 'commits count on this sink again' $DIR/edge.log"
wait_for 20 "! kill -0 $client"
wait "$client" || flunk "the commit failed: $(cat "$DIR/data/psql")"
refute reason
towline_kill producer
towline_start producer producer -c "$DIR/towline.yaml"
wait_for 30 'sync_is sync'
pg_sql src "insert into t values (20000, 'told')"
[ "$(lite 'select count(*) from t')" = 1002 ] || flunk 'told, and not in the sink'
[ "$(lite 'select count(*) from nokey')" = 20 ] || flunk 'the copy is not whole'

say 'a commit that comes while it is copied; the other way out: the other sink'
towline_kill edge
exec 7> >(exec "$PGBIN/psql" -X -q "$SRC") && echo 'begin; lock table t in access exclusive mode;' >&7
wait_for 10 "pg_sql src \"select 1 from pg_locks where relation = 't'::regclass and granted and mode = 'AccessExclusiveLock'\" | grep -q 1"
t resync edge >"$DIR/data/out"
towline_start edge consumer edge -c "$DIR/towline.yaml" 7>&-
wait_for 20 "pg_sql src \"select 1 from pg_locks where relation = 't'::regclass and not granted\" | grep -q 1"
"$PGBIN/psql" -X -q "$SRC" -c "insert into nokey values ('late')" >"$DIR/data/psql" 2>&1 7>&- &
client=$!
wait_for 10 '[ "$(waits)" = 1 ]'
echo 'rollback;' >&7
exec 7>&-
wait_for 40 "grep -q 'waits for commits that wait for a synchronous standby.*start the sinks that do not answer' $DIR/producer.log"
wait_for 10 reason
towline_start other consumer other -c "$DIR/towline.yaml"
wait_for 60 "grep -c 'commits count on this sink again' $DIR/edge.log | grep -q 2"
wait_for 20 "! kill -0 $client"
wait "$client" || flunk "the commit failed: $(cat "$DIR/data/psql")"
towline_kill other
pg_sql src "insert into t values (30000, 'told')"
[ "$(lite 'select count(*) from t')" = 1003 ] || flunk 'told, and not in the sink'
[ "$(lite 'select count(*) from nokey')" = 21 ] || flunk 'the copy is not whole'
