#!/bin/bash
# sequence: those of source and sinks compared; copied, so that a sink that takes over gives out no number twice; never set back.
# limit: 90
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/towline.yaml" <<E2
name: $NAME
source: $SRC
tables: [public.*, '!public.private']
kafka: $BROKERS
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
t() { "$TOWLINE" -c "$DIR/towline.yaml" "$@"; }
ends_with() { # CODE ARGUMENTS...: what it said is in $DIR/data/out
	local want=$1 got=0
	shift
	t "$@" >"$DIR/data/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || flunk "$*: ended with $got: $(cat "$DIR/data/out")"
}
state() { # SEQUENCE: state, value at the source, at the sink
	{ t sequence ls copy --json || [ $? = 6 ]; } | python3 -c '
import json, sys
print(*[(s["state"], s["source"], s["at_sink"]) for s in json.load(sys.stdin) if s["sequence"] == sys.argv[1]])' "$1"
}
expect() { # SEQUENCE WHAT
	local got
	got=$(state "$1")
	[ "$got" = "$2" ] || flunk "$1: $got, not $2"
}

pg_sql src 'create table s(id serial primary key, v text); create table "I d"("a B" bigint generated always as identity primary key, v int)'
pg_sql src 'create sequence down increment -5 start 100 minvalue 1 maxvalue 100; create sequence idle; create table private(id serial primary key)'
towline_start run run -c "$DIR/towline.yaml"
wait_for 30 "grep -q msg=streaming $DIR/run.log"
pg_sql src "insert into s(v) select 'x' from generate_series(1, 30); insert into \"I d\"(v) values (1), (2)"
pg_sql src "select nextval('down'), nextval('down')" >/dev/null
wait_for 30 '[ "$(pg_sql dst "select count(*) from s, \"I d\"" 2>&1)" = 60 ]'

say 'missing, then made'
ends_with 6 sequence ls
refute grep -q private "$DIR/data/out"
expect public.s_id_seq "('missing', 30, None)"
ends_with 6 sequence copy
ends_with 0 sequence copy --create
expect public.s_id_seq "('equal', 30, 30)"
expect 'public.I d_a B_seq' "('equal', 2, 2)"
expect public.down "('equal', 95, 95)"
expect public.idle "('equal', None, None)"
ends_with 0 sequence ls

say 'the stream goes on beside it; then the sink gives out what comes next'
pg_sql src "insert into s(v) values ('more'); insert into \"I d\"(v) values (3); select nextval('down')" >/dev/null
wait_for 30 '[ "$(pg_sql dst "select count(*) from s, \"I d\"")" = 93 ]'
expect public.s_id_seq "('behind', 31, 30)"
expect public.down "('behind', 90, 95)"
ends_with 0 sequence copy copy
towline_kill run
[ "$(pg_sql dst "insert into s(v) values ('taken over') returning id")" = 32 ]
[ "$(pg_sql dst "insert into \"I d\"(v) values (4) returning \"a B\"")" = 4 ]
[ "$(pg_sql dst "select nextval('down')")" = 85 ]

say 'never set back; a margin'
expect public.s_id_seq "('ahead', 31, 32)"
ends_with 0 sequence copy
expect public.s_id_seq "('ahead', 31, 32)"
ends_with 0 sequence copy --ahead 10
expect public.s_id_seq "('ahead', 31, 41)"
ends_with 0 sequence copy --ahead 5
expect public.s_id_seq "('ahead', 31, 41)"
ends_with 1 sequence copy --ahead 1000
grep -q 'public.down has no 1000 values left; take a smaller --ahead' "$DIR/data/out" || flunk "$(cat "$DIR/data/out")"

say 'wrong use'
ends_with 2 sequence ls --create
ends_with 2 sequence show
ends_with 2 sequence ls edge
ends_with 3 sequence ls nobody
pg_sql src 'create role reader login; grant usage on schema public to reader; grant select on all tables in schema public to reader'
sed -i "s,^source: .*,source: ${SRC/postgres@/reader@}," "$DIR/towline.yaml"
ends_with 1 sequence ls
grep -q 'run GRANT SELECT ON SEQUENCE' "$DIR/data/out" || flunk "$(cat "$DIR/data/out")"
