#!/bin/bash
# Synchronous commits: what a client was told is committed is in Kafka (mode kafka) or in the sinks (mode applied), though the source and
# the producer are killed at that moment; with the sinks in the producer's process, and in processes of their own (apart). TRIES=200 for
# more of it.
# limit: 360
. "$(dirname "$0")/lib.sh"
tries=${TRIES:-12} clients=4

pg_start src SRC 'max_connections = 50'
kafka_start
# shellcheck disable=SC2153 # SRC is set by pg_start
for mode in kafka applied; do
	cat >"$DIR/$mode.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
synchronous: { mode: $mode, sinks: "ANY 1 (edge, other)" }
sinks:
  edge: sqlite:$DIR/data/edge.db
  other: sqlite:$DIR/data/other.db
E2
done
# On the sinks' machines nobody knows the source, or the other sink.
for s in edge other; do
	sed "/^source:/d; /^  $s: /!{/^  [a-z]*: sqlite:/d}" "$DIR/applied.yaml" >"$DIR/$s.yaml"
done
pg_sql src "create table t(id bigint primary key, client int); create table quiet(id int primary key)"

# Bad settings are told before anything is done.
code=0 && "$TOWLINE" check -c "$DIR/kafka.yaml" >"$DIR/check.out" 2>&1 || code=$?
[ "$code" != 0 ] && grep -q "does not name towline_$NAME" "$DIR/check.out" || flunk "check did not see that nobody waits: $(cat "$DIR/check.out")"
code=0 && "$TOWLINE" run -c "$DIR/applied.yaml" --set 'synchronous.sinks=ANY 2 (edge, nowhere)' >"$DIR/bad.out" 2>&1 || code=$?
[ "$code" = 3 ] && grep -q "there is no sink 'nowhere'" "$DIR/bad.out" || flunk "$code: $(cat "$DIR/bad.out")"

# start MODE: the program streams, and commits wait for it. apart: the sinks run already.
start() {
	if [ "$1" = apart ]; then towline_start run producer -c "$DIR/applied.yaml"; else towline_start run run -c "$DIR/$1.yaml"; fi
	wait_for 60 "[ \"\$(pg_sql src \"select sync_state from pg_stat_replication where application_name = 'towline_$NAME'\")\" = ${2:-sync} ]"
}

# client N: commits one row after another, each told when it is done, until the server is gone.
client() {
	local port=${FLOW_PG[src]}
	awk -v n="$1" -v base="$base" 'BEGIN { for (i = 1; i <= 100000; i++)
		printf "insert into t values (%d, %d);\n\\echo %d\n", base + i * 10 + n, n, base + i * 10 + n }' |
		"$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d postgres -f - >"$DIR/data/told.$1" 2>/dev/null || true
}

sqlite() { sqlite3 -cmd '.timeout 5000' "$1" "$2"; }

start kafka async
pg_sql src "alter system set synchronous_standby_names = 'towline_$NAME'" && pg_sql src "select pg_reload_conf()" >/dev/null
wait_for 10 "[ \"\$(pg_sql src \"select sync_state from pg_stat_replication where application_name = 'towline_$NAME'\")\" = sync ]"
"$TOWLINE" check -c "$DIR/kafka.yaml" >"$DIR/check.out" 2>&1 || flunk "$(cat "$DIR/check.out")"
grep -q 'commits wait until Kafka has them' "$DIR/check.out" || flunk "$(cat "$DIR/check.out")"

# What is not ours to publish waits too, and not for long: here for a table outside the pipeline.
begun=${EPOCHREALTIME/./}
"$PGBIN/psql" -X -q "$SRC" -c 'create temp table x(i int); select txid_current(); insert into quiet values (1)' -c "begin; create table other_$$(i int); commit" >/dev/null
((${EPOCHREALTIME/./} - begun < 10000000)) || flunk "commits of nobody's rows hang"
towline_kill run

# round MODE: clients commit, all is killed, and what was told is where it must be.
told=0 base=0
round() {
	local mode=$1 n pids=() others=() missing
	[ "$mode" != apart ] || sinks_start
	start "$mode"
	base=$((base + 10000000))
	for ((n = 1; n <= clients; n++)); do client "$n" & pids+=($!); done
	wait_for 30 "[ \$(cat $DIR/data/told.* 2>/dev/null | wc -l) -gt $((clients * 3 + RANDOM % 200)) ]"
	# The sinks first, so that they get nothing that comes after what was told; the backends see the postmaster's death and end.
	[ "$mode" != apart ] || others=(${FLOW_PID[edge]} ${FLOW_PID[other]})
	kill -s KILL "${others[@]}" "${FLOW_PID[run]}" $(head -n 1 "$DIR/data/pg-src/postmaster.pid")
	wait "${pids[@]}"
	wait "${FLOW_PID[run]}" 2>/dev/null || true
	# Nothing that runs could bring a row any more; but for Kafka the sinks may first read what it has.
	if [ "$mode" = apart ]; then for s in edge other; do towline_wait "$s" 10; done; fi
	if [ "$mode" = kafka ]; then
		for s in edge other; do towline_start "$s" consumer "$s" -c "$DIR/kafka.yaml"; done
	fi
	cat "$DIR"/data/told.* | grep -x '[0-9]*' | sort -n >"$DIR/data/told"
	{ echo 'create temp table told(id integer primary key);'; sed 's/.*/insert into told values (&);/' "$DIR/data/told"; } >"$DIR/data/told.sql"
	have() {
		missing=$({ cat "$DIR/data/told.sql"; echo "attach '$DIR/data/other.db' as o; select count(*) from told where id not in (select id from main.t ${2:+$2 select id from o.t});"; } |
			sqlite3 -cmd '.timeout 5000' "$1")
		[ "$missing" = 0 ]
	}
	if [ "$mode" = kafka ]; then
		wait_for 20 "have $DIR/data/edge.db && have $DIR/data/edge.db intersect"
		for s in edge other; do towline_kill "$s"; done
	else
		have "$DIR/data/edge.db" union || flunk "$missing transactions were told to be committed, and are in no sink"
	fi
	told=$((told + $(wc -l <"$DIR/data/told")))
	rm -f "$DIR"/data/told*
	flow_pg_gone src
	if [ "${2:-}" != last ]; then rm -f "$DIR/data/pg-src/postmaster.pid" && pg_up src; fi
}

# The postmaster was killed: its children end by themselves, and hold the port so long.
flow_pg_gone() { wait_for 20 "! pgrep -f '$DIR/data/pg-$1' >/dev/null"; }

for ((i = 1; i <= tries; i++)); do round kafka; done
say "mode kafka: $told commits in $tries kills of source and producer, each in Kafka"
pg_sql src "alter system set synchronous_commit = remote_apply" && pg_sql src "select pg_reload_conf()" >/dev/null

# While no sink can take it the commit waits, though Kafka has it; one of the two is enough to let it go.
start applied
hold() { # FILE FD: lock it until FD is closed
	eval "exec $2> >(exec 7>&- 8>&-; exec sqlite3 '$1')" && printf '.timeout 5000\nbegin immediate;\n' >&"$2"
	wait_for 10 "! sqlite3 '$1' 'begin immediate'"
}
hold "$DIR/data/edge.db" 7
hold "$DIR/data/other.db" 8
"$PGBIN/psql" -X -q "$SRC" -c "insert into t values (1, 0)" 7>&- 8>&- &
waits=$!
wait_for 20 "pg_sql src 'select flush_lsn > replay_lsn from pg_stat_replication' | grep -q t"
pg_sql src "select wait_event from pg_stat_activity where query like 'insert into t%'" | grep -qx SyncRep || flunk "the commit does not wait"
exec 7>&-
wait_for 20 "! kill -0 $waits"
wait "$waits" || flunk "the commit failed"
[ "$(sqlite "$DIR/data/edge.db" 'select client from t where id = 1')" = 0 ] || flunk "told, and not in the sink that was free"
exec 8>&-
towline_kill run

told=0
for ((i = 1; i <= tries; i++)); do round applied; done
say "mode applied: $told commits in $tries kills, each in a sink"

# ---- sinks in processes of their own ----

sinks_start() { for s in edge other; do towline_alive "$s" || towline_start "$s" consumer "$s" -c "$DIR/$s.yaml"; done; }
waits() { [ "$(pg_sql src "select wait_event from pg_stat_activity where query like '$1%' and pid <> pg_backend_pid()")" = SyncRep ]; }
in_kafka() { pg_sql src "select flush_lsn > replay_lsn from pg_stat_replication" | grep -q t; }

start apart
"$TOWLINE" check -c "$DIR/applied.yaml" >"$DIR/check.out" 2>&1 || flunk "$(cat "$DIR/check.out")"
grep -q 'applied .*no word from edge, other' "$DIR/check.out" || flunk "$(cat "$DIR/check.out")"
sinks_start
heard() { "$TOWLINE" check -c "$DIR/applied.yaml" >"$DIR/check.out" 2>&1 && grep -q '2 of 2 sinks' "$DIR/check.out"; }
wait_for 20 heard
refute grep -q 'two processes' "$DIR/check.out"
# A second database under the name of one, as an old machine that still runs: both count, and that is said.
sed "s,edge.db,old.db," "$DIR/edge.yaml" >"$DIR/old.yaml"
towline_start old consumer edge -c "$DIR/old.yaml"
twice() { "$TOWLINE" check -c "$DIR/applied.yaml" >"$DIR/check.out" 2>&1; grep -q 'two processes, .* say that they are sink edge' "$DIR/check.out"; }
wait_for 60 twice
towline_kill old
hold "$DIR/data/edge.db" 7
hold "$DIR/data/other.db" 8
commit() { "$PGBIN/psql" -X -q "$SRC" -c "$1" 7>&- 8>&- & }
commit 'insert into t values (2, 0)'
first=$!
wait_for 20 in_kafka
commit 'insert into t values (3, 0)'
second=$!
wait_for 20 "waits 'insert into t values (3'"
at=$(pg_sql src 'select pg_current_wal_insert_lsn()')
wait_for 20 "pg_sql src \"select flush_lsn >= '$at' and replay_lsn < '$at' from pg_stat_replication\" | grep -q t"
say 'words of another OPEN, of a sink that is not waited for, and of groups that are not there, let no commit go'
kcat -b "$BROKERS" -C -t "$NAME.towline.applied" -e -q -K ' ' >"$DIR/data/said"
python3 - "$DIR/data/said" >"$DIR/data/forged" <<'E2'
import json, sys
said = json.loads(open(sys.argv[1]).read().splitlines()[-1].split(" ", 1)[1])
for sink, change in [("edge", {"token": said["token"] ^ 1}), ("other", {"gen": said["gen"] - 1}), ("third", {}), ("edge", {"v": 2}), ("edge", {"no": said["no"] + 10})]:
    print(sink, json.dumps({**said, "no": said["no"] + 2, **change}))
print("other {")
print("edge", json.dumps({**said, "no": said["no"] + 1})) # as if it were true: of the first one
E2
kcat -b "$BROKERS" -P -t "$NAME.towline.applied" -K ' ' <"$DIR/data/forged"
wait_for 20 "! kill -0 $first" # so all before it was read as well
wait "$first" || flunk "the commit failed"
waits 'insert into t values (3' || flunk "the second commit does not wait"
exec 8>&-
wait_for 20 "! kill -0 $second"
wait "$second" || flunk "the commit failed"
[ "$(sqlite "$DIR/data/other.db" 'select count(*) from t where id in (2, 3)')" = 2 ] || flunk "told, and not in the sink that was free"
exec 7>&-

say 'a sink that is being made anew counts only when it is whole'
wait_for 20 "[ \"\$(sqlite '$DIR/data/edge.db' 'select count(*) from t where id in (2, 3)')\" = 2 ]"
for s in edge other; do towline_kill "$s"; done
code=0 && "$TOWLINE" resync edge -c "$DIR/applied.yaml" --set 'synchronous.sinks=edge, other' >"$DIR/bad.out" 2>&1 || code=$?
[ "$code" = 3 ] && grep -q 'would wait for its copies' "$DIR/bad.out" || flunk "$code: $(cat "$DIR/bad.out")"
exec 7> >(exec "$PGBIN/psql" -X -q "$SRC") && echo 'begin; lock table quiet in access exclusive mode;' >&7 # the copies wait for its end
wait_for 10 "pg_sql src \"select 1 from pg_locks where relation = 'quiet'::regclass and granted and mode = 'AccessExclusiveLock'\" | grep -q 1"
"$TOWLINE" resync edge -c "$DIR/applied.yaml"
towline_start edge consumer edge -c "$DIR/edge.yaml" 7>&-
commit 'insert into t values (4, 0)'
first=$!
wait_for 20 "[ \"\$(sqlite '$DIR/data/edge.db' 'select count(*) from t where id = 4')\" = 1 ]"
commit 'insert into t values (5, 0)' # and what was said of the one before has had its time
second=$!
wait_for 20 "[ \"\$(sqlite '$DIR/data/edge.db' 'select count(*) from t where id = 5')\" = 1 ]"
waits 'insert into t values (4' || flunk "a commit does not wait for the sink to be whole"
towline_start other consumer other -c "$DIR/other.yaml" 7>&-
wait_for 20 "! kill -0 $first && ! kill -0 $second"
wait "$first" && wait "$second" || flunk "a commit failed"
[ "$(sqlite "$DIR/data/edge.db" 'select count(*) from t')" = 2 ] || flunk "edge has got its copies"
echo 'rollback;' >&7 # a commit would wait as well
exec 7>&-
wait_for 60 "grep -q 'commits count on this sink again' $DIR/edge.log"
towline_kill other
pg_sql src "insert into t values (6, 0)"
[ "$(sqlite "$DIR/data/edge.db" 'select count(*) from t where id = 6')" = 1 ] || flunk "told, and not in the sink"
for t in t quiet; do
	[ "$(sqlite "$DIR/data/edge.db" "select count(*) from $t")" = "$(pg_sql src "select count(*) from $t")" ] || flunk "the sink counts and is not whole"
done
towline_kill edge
towline_kill run

told=0
for ((i = 1; i <= tries; i++)); do round apart "$([ "$i" != "$tries" ] || echo last)"; done
say "mode applied, sinks apart: $told commits in $tries kills, each in a sink"
rm -rf "$DIR/data/pg-src" # the machine is gone for good; what was told is not
unset 'FLOW_PG[src]'
