#!/bin/bash
# Two where there must be one: producers of one name, a producer that was stopped and replaced, consumers of one sink. Never two accepted writers.
# limit: 300
. "$(dirname "$0")/lib.sh"

pg_start_safe src SRC
pg_start_safe dst DST
kafka_start
bank_open
bank_load 150
second() { towline_start "$1-2" "$([ "$1" = producer ] && echo producer || echo consumer)" -c "$DIR/conf.yaml" $([ "$1" = producer ] || echo "$1"); }
walsender() { pg_sql src "select active_pid from pg_replication_slots where slot_name = 'towline_$NAME' and active"; }
seq_of() { pg_sql dst "select seq from towline.marker where name = '$NAME'"; }
moves() {
	local from
	from=$(seq_of)
	wait_for "$1" "audit; (( \$(seq_of) > $from + 50 ))"
}

say "a second producer waits; when the first is gone it takes over"
second producer
wait_for 20 "grep -q 'is in use by process' $DIR/producer-2.log"
audit_for 3000
towline_alive producer || flunk "the first producer gave up"
refute grep -q msg=publishing "$DIR/producer-2.log"
slay producer
wait_for 30 "grep -q msg=publishing $DIR/producer-2.log"
moves 20

say "both start at the same time, again and again"
for ((k = 0; k < ${STARTS:-5}; k++)); do
	slay producer-2
	slay producer
	[ -z "$(walsender)" ] || pg_sql src "select pg_terminate_backend($(walsender))" >/dev/null || true
	stage producer
	second producer
	moves 60
	audit_for 500
	n=0
	for p in producer producer-2; do towline_alive "$p" && n=$((n + 1)); done
	((n > 0)) || flunk "no producer is left"
done
slay producer-2
slay producer

say "a stopped producer is replaced, and comes to life"
for ((k = 0; k < ${STARTS:-5}; k++)); do
	stage producer
	moves 60
	towline_kill producer STOP
	pid=$(walsender)
	[ -z "$pid" ] || pg_sql src "select pg_terminate_backend($pid)" >/dev/null
	wait_for 20 "[ -z \"\$(walsender)\" ] || { pg_sql src \"select pg_terminate_backend(\$(walsender))\"; false; }"
	second producer
	moves 60
	old=$(grep -c msg=publishing "$DIR/producer.log")
	towline_kill producer CONT
	moves 20
	audit_for 2000
	moves 20
	towline_alive producer-2 || flunk "the new producer gave up: $(tail -n 1 "$DIR/producer-2.log")"
	[ "$(grep -c msg=publishing "$DIR/producer.log")" = "$old" ] || flunk "the old producer publishes again"
	if towline_alive producer; then
		say "the old one: $(tail -n 1 "$DIR/producer.log" | sed 's/.*msg=//')"
		slay producer
	else
		say "the old one ended: $(grep level=error "$DIR/producer.log" | tail -n 1 | sed 's/.*msg=//')"
	fi
	slay producer-2
done
stage producer
moves 60

say "two consumers on one sink"
for sink in copy edge; do
	for ((k = 0; k < ${STARTS:-5}; k++)); do
		second $sink
		audit_for 1500
		moves 20
		n=0
		for p in $sink $sink-2; do towline_alive "$p" && n=$((n + 1)); done
		((n > 0)) || flunk "no consumer of $sink is left: $(tail -n 1 "$DIR/$sink.log") $(tail -n 1 "$DIR/$sink-2.log")"
		say "$sink: $n left; $(grep -h level=error "$DIR/$sink.log" "$DIR/$sink-2.log" | tail -n 1 | sed 's/.*msg=//')"
		for p in $sink $sink-2; do slay "$p"; done
		stage $sink
	done
done

say "one of two is stopped while the other commits"
for sink in copy edge; do
	for ((k = 0; k < ${STARTS:-5}; k++)); do
		towline_kill $sink STOP
		second $sink
		audit_for 2000
		towline_kill $sink CONT
		audit_for 1500
		n=0
		for p in $sink $sink-2; do towline_alive "$p" && n=$((n + 1)); done
		((n > 0)) || flunk "no consumer of $sink is left"
		for p in $sink $sink-2; do slay "$p"; done
		stage $sink
		moves 30
	done
done
bank_close
