#!/bin/bash
# Replicas join a running cluster and leave it, without a restart: they copy the state and follow; one that fails keeps its reason, is not read
# from and comes back by itself; they survive a restart of the process.
# limit: 150
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
kafka: $BROKERS
sinks:
  fixed: sqlite:$DIR/data/fixed.db
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
refused() { # CODE PATTERN ARGUMENTS...
	local want=$1 pattern=$2 got=0
	shift 2
	t "$@" >"$DIR/data/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || flunk "$*: ended with $got: $(cat "$DIR/data/out")"
	grep -qE "$pattern" "$DIR/data/out" || flunk "$*: $(cat "$DIR/data/out")"
}
state() { t replica ls --json | python3 -c 'import json, sys; print([r["state"] for r in json.load(sys.stdin) if r["name"] == sys.argv[1]])' "$1"; }
lite() { sqlite3 "$DIR/data/$1.db" "$2"; }

pg_sql src 'create table t(id int primary key, v text)'
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
pg_sql src "insert into t select i, 'x' from generate_series(1, 1000) i"
wait_for 20 'test "$(lite fixed "select count(*) from t")" = 1000'

say 'two join: all that was there, then what comes'
t replica add edge "sqlite:$DIR/data/edge.db"
t replica add copy "$DST"
wait_for 20 'test "$(lite edge "select count(*) from t")" = 1000'
wait_for 20 'same_pg src dst t'
t wait --lsn "$(t write update t id=1 v=y)"
[ "$(lite edge 'select v from t where id = 1')" = y ]
same_pg src dst t
wait_for 10 't replica ls | grep -qE "^edge +running"'
t replica ls | grep -qE '^fixed +running .*configuration'
refused 2 "is a replica 'edge' already" replica add edge "sqlite:$DIR/data/x.db"
refused 2 "is a replica 'fixed' already" replica add fixed "sqlite:$DIR/data/x.db"
refused 2 "is the database of 'edge'" replica add new "sqlite:$DIR/data/edge.db"
refused 2 "is the database of 'fixed'" replica add new "sqlite:$DIR/data/fixed.db"
refused 3 'one database' stats --set "sinks.new.url=sqlite:$DIR/data/fixed.db"
refused 3 'must be postgres' replica add new 'mysql://x'
refused 2 "no replica 'none'" replica remove none
refused 3 'stands in the configuration' replica remove fixed
refused 2 'takes a time' replica add new "sqlite:$DIR/data/x.db" --delay x

say 'two add one name at one moment: one of them wins, the other is told'
adds() { # NAME: each with a database of its own
	local i pids=() won=0 url
	for i in 1 2 3; do t replica add "$1" "sqlite:$DIR/data/$1.$i.db" >"$DIR/data/add.$i" 2>&1 & pids+=($!); done
	for i in 1 2 3; do if wait "${pids[i - 1]}"; then won=$((won * 10 + i)); else grep -q "a replica '$1'" "$DIR/data/add.$i" || flunk "$(cat "$DIR/data/add.$i")"; fi; done
	[[ $won =~ ^[123]$ ]] || flunk "added by: $won"
	url=$(t replica ls --json | python3 -c 'import json, sys; print([r["url"] for r in json.load(sys.stdin) if r["name"] == sys.argv[1]][0])' "$1")
	[ "$url" = "sqlite:$DIR/data/$1.$won.db" ] || flunk "$won won, and the replica is $url"
	wait_for 20 "[ \"\$(lite $1.$won 'select v from t where id = 1')\" = y ]"
}
for n in both1 both2 both3; do adds $n; done
say 'and whoever comes between finds the first: as if the second had been killed before it looked'
printf '{"url":"sqlite:%s","delay_ms":0,"node":"%s","id":"5"}' "$DIR/data/late2.db" "$NAME" >"$DIR/data/record"
echo "replica/both1|$(cat "$DIR/data/record")" | kcat -b "$BROKERS" -P -t "$NAME.towline.control" -K '|'
t wait --lsn "$(t write update t id=2 v=after)"
t replica ls --json >"$DIR/data/out" && refute grep -q late2 "$DIR/data/out"
[ ! -e "$DIR/data/late2.db" ]
for n in both1 both2 both3; do t replica remove $n; done

say 'a delayed one'
t replica add late "sqlite:$DIR/data/late.db" --delay 3s
wait_for 20 'test "$(lite late "select v from t where id = 1")" = y'
l=$(t write update t id=1 v=z)
t wait --lsn "$l" --sink edge
[ "$(lite late 'select v from t where id = 1')" = y ]
t wait --lsn "$l" --sink late
[ "$(lite late 'select v from t where id = 1')" = z ]

say 'what is being made anew answers no read, although it said a moment ago that it is fine'
control() { kcat -b "$BROKERS" -P -t "$NAME.towline.control" -K '|' -Z; }
said() { t read t 1 --json --consistency "$1" | sed 's/.*"node":"\([a-z]*\)".*/\1/'; }
[ "$(said eventual)" != primary ]
towline_kill run STOP
for s in fixed edge copy late; do echo "resync/$s|{\"id\":\"1\",\"gen\":99,\"no\":1}"; done | control
[ "$(said eventual)" = primary ]
[ "$(t read t 1 --json --consistency at-least="$l" --timeout 0s | sed 's/.*"node":"\([a-z]*\)".*/\1/')" = primary ]
for s in fixed edge copy late; do echo "resync/$s|"; done | control
[ "$(said eventual)" != primary ]
towline_kill run CONT

say 'one that fails: reason kept, not read from, the others go on, back by itself'
pg_sql dst 'alter table t add constraint c check (id <> 5000)'
l=$(t write insert t id=5000 v=bad)
t wait --lsn "$l" --sink edge
wait_for 20 't replica ls | grep -qE "^copy +failed .*violates check constraint"'
for _ in 1 2 3 4 5 6; do t read t 1 --json; done >"$DIR/data/reads"
[ "$(wc -l <"$DIR/data/reads")" = 6 ]
refute grep -q '"node":"copy"' "$DIR/data/reads"
towline_alive run
pg_sql dst 'alter table t drop constraint c'
wait_for 30 'same_pg src dst t'
wait_for 10 't replica ls | grep -qE "^copy +running"'

say 'they are there again after a restart; who is removed stays as it was'
towline_kill run
[ "$STATUS" = 0 ]
l=$(pg_sql src "update t set v = 'w' where id = 2; select 1" | tail -1)
t replica add brief "sqlite:$DIR/data/brief.db"
t replica remove brief
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 'test "$(lite edge "select v from t where id = 2")" = w'
refute grep -q 'replica=brief' "$DIR/run.log"
wait_for 20 'same_pg src dst t'
t replica remove edge
wait_for 10 '! t replica ls | grep -q "^edge"'
wait_for 10 "grep -q 'replica left.* replica=edge' $DIR/run.log"
l=$(t write update t id=2 v=gone)
t wait --lsn "$l" --sink copy
[ "$(lite edge 'select v from t where id = 2')" = w ]
wait_for 10 '! t stats | grep -q edge'
