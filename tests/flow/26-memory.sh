#!/bin/bash
# `memory` bounds a process, whatever it runs and whatever comes: rows of 400 columns, written and changed whole, and a backlog of small ones, through
# one process with a source and three sinks, and through one for each sink.
# limit: 300
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
pg_sql dst "create database lanes"
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS }
memory: 176MB
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
  lanes: { url: "${DST%/*}/lanes", apply: key, lanes: 2 }
E2
columns=$(for ((i = 1; i <= 400; i++)); do printf ', c%d text' $i; done)
values=$(for ((i = 1; i <= 400; i++)); do printf ", left(md5((i * %d)::text), 18)" $i; done)
pg_sql src "create table wide(id int primary key $columns); create table small(id int primary key, v text); create table done(id int primary key)"
pg_sql src "alter table wide replica identity full"
passed() {
	[ "$(pg_sql dst "select count(*) from done where id = $1")" = 1 ] && [ "$(FLOW_DB=lanes pg_sql dst "select count(*) from done where id = $1")" = 1 ] &&
		[ "$(sqlite3 -cmd '.timeout 9000' "$DIR/data/edge.db" "select count(*) from done where id = $1")" = 1 ]
}
judge() {
	local hwm
	hwm=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$1]}/status")
	say "$1, $2: peak RSS $hwm MB"
	[ "$hwm" -le "$3" ] || [ "${MODE:-debug}" = asan ] || flunk "$1, $2: $hwm MB, over $3"
}

towline_start run run -c "$DIR/conf.yaml"
wait_for 60 "grep -q msg=streaming $DIR/run.log"
pg_sql src "insert into done values (1)"
wait_for 60 'passed 1'
refute grep -q 'memory is less than' "$DIR/run.log"
judge run 'nothing to do' 40
# all of it is there before a sink begins
pg_down dst
pg_sql src "insert into wide select i $values from generate_series(1, 3000) i; update wide set c1 = 'x' || c1, c400 = null"
pg_sql src "insert into small select i, md5(i::text) from generate_series(1, 200000) i; update small set v = v || v"
pg_sql src "insert into done values (2)"
pg_up dst
wait_for 200 'passed 2'
judge run 'wide rows and a backlog' 176
wait_for 60 "same_pg src dst wide small"
[ "$(sqlite3 "$DIR/data/edge.db" 'select count(*), count(c400), sum(length(c1)) from wide')" = "$(pg_sql src 'select count(*), count(c400), sum(length(c1)) from wide')" ]
towline_kill run TERM

# one sink in a process, with the default
pg_sql dst "create database alone"
sed -e '/^memory:/d' -e '/^source:/d' -e '/lanes:/d' -e "s,copy: .*,copy2: ${DST%/*}/alone," -e "s,edge: .*,edge2: sqlite:$DIR/data/edge2.db," "$DIR/conf.yaml" >"$DIR/alone.yaml"
towline_start copy2 consumer -c "$DIR/alone.yaml" copy2
wait_for 100 '[ "$(FLOW_DB=alone pg_sql dst "select count(*) from done where id = 2")" = 1 ]'
judge copy2 'all of it again' 100
towline_kill copy2 TERM
towline_start edge2 consumer -c "$DIR/alone.yaml" edge2
wait_for 100 '[ "$(sqlite3 -cmd ".timeout 9000" "$DIR/data/edge2.db" "select count(*) from done where id = 2")" = 1 ]'
judge edge2 'all of it again' 100
towline_kill edge2 TERM

# too little for what runs is said
towline_start little run -c "$DIR/conf.yaml" --set memory=32MB
wait_for 30 "grep -q 'memory is less than what this process runs needs.*memory=32MB enough=176MB' $DIR/little.log"
