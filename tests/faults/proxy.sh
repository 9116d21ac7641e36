#!/bin/bash
# The network breaks, between the program and each of source, broker and sink, under load: it goes on by itself, and nothing is lost.
#   CUT=n    longest fault in seconds (6); ROUNDS=n of all faults at all places (1); SEED=n repeats the order
#   ONLY=cuts|long|lose|idle  one part of it
# limit: 900
. "$(dirname "$0")/lib.sh"
cut=${CUT:-6}

# proxy NAME TARGET VAR: in front of that port; VAR gets its own.
proxy() {
	free_port "$3"
	echo pass >"$DIR/$1.fault"
	python3 "$ROOT/tests/faults/proxy.py" "$DIR/$1.fault" "${!3}:$2" >>"$DIR/proxy-$1.txt" 2>&1 &
	FLOW_PID[proxy-$1]=$!
	echo $! >>"$DIR/data/pids"
	wait_for 10 "flow_port_open ${!3}"
}

# fault NAME WORDS...: from now on
fault() {
	local name=$1
	shift
	echo "$*" >>"$DIR/$name.fault"
}

pg_start_safe src SRC 'wal_sender_timeout = 10s'
pg_start_safe dst DST
free_port KAFKA_ADVERTISED
export KAFKA_ADVERTISED
kafka_start_own
proxy source "${FLOW_PG[src]}" source_port
proxy sink "${FLOW_PG[dst]}" sink_port
echo pass >"$DIR/broker.fault"
python3 "$ROOT/tests/faults/proxy.py" "$DIR/broker.fault" "$KAFKA_ADVERTISED:$KAFKA_PORT" >>"$DIR/proxy-broker.txt" 2>&1 &
FLOW_PID[proxy-broker]=$!
echo $! >>"$DIR/data/pids"
BANK_SRC=${SRC/:${FLOW_PG[src]}/:$source_port} BANK_DST=${DST/:${FLOW_PG[dst]}/:$sink_port} BANK_BROKERS=127.0.0.1:$KAFKA_ADVERTISED
bank_open
bank_load "${RATE:-150}"

all_alive() {
	local p
	for p in producer copy edge; do towline_alive "$p" || flunk "$p ended by itself: $(tail -n 1 "$DIR/$p.log")"; done
}

# on_again SECONDS WHAT [SINK]...: the sinks come to show a transaction that was committed just now. SECONDS it took are in TOOK.
on_again() {
	local begun=${EPOCHREALTIME/./} limit=$1 what=$2 goal sink
	shift 2
	goal=$(pg_sql src "select count(*) + 4 from ledger")
	(($#)) || set -- copy edge
	for sink; do
		until audit && ((${AUDIT_SEQ[$sink]:-0} >= goal)); do
			all_alive
			sleep 0.05
			((${EPOCHREALTIME/./} < begun + limit * 1000000)) || flunk "$what: sink $sink does not go on within $limit s"
		done
		printf -v TOOK %d.%d $(((${EPOCHREALTIME/./} - begun) / 1000000)) $(((${EPOCHREALTIME/./} - begun) / 100000 % 10))
		TIMES+="$sink $TOOK s, "
	done
}

part() { [ -z "${ONLY:-}" ] || [ "$ONLY" = "$1" ]; }

# Each fault at each place, for a moment or longer.
if part cuts; then
	kinds=("delay 150" "throttle 40000" stall drop dropback reset refuse)
	for ((round = 0; round < ${ROUNDS:-1}; round++)); do
		mapfile -t plan < <(for p in source sink broker; do for k in "${kinds[@]}"; do echo "$RANDOM $p $k"; done; done | sort -n | cut -d' ' -f2-)
		for line in "${plan[@]}"; do
			read -r place kind <<<"$line"
			ms=$((RANDOM % (cut * 1000 - 900) + 1000))
			fault "$place" "$kind"
			audit_for "$ms"
			fault "$place" pass
			TIMES=''
			on_again 45 "$line for $ms ms"
			say "$line for $ms ms: on again after ${TIMES%, }"
		done
	done
fi

# Longer than the consumer waits for rows that the spine has promised; the second time between the promise and the rows, for certain.
if part long; then
	fault broker drop
	audit_for 35000
	fault broker pass
	TIMES=''
	on_again 45 "broker drop for 35 s"
	say "broker drop for 35 s: on again after ${TIMES%, }"
	slay copy
	audit_for 2000
	fault broker delay 700
	begun=$(grep -c msg=applying "$DIR/copy.log")
	stage copy
	wait_for 60 "(( \$(grep -c msg=applying $DIR/copy.log) > $begun ))"
	fault broker stall
	audit_for 35000
	fault broker pass
	TIMES=''
	on_again 45 "broker stall for 35 s, before promised rows"
	say "broker stall for 35 s, before promised rows: on again after ${TIMES%, }"
fi

# Connections that are dead without a word, while new ones would do: noticed within a minute.
if part lose; then
	declare -A log=([source]=producer [sink]=copy)
	for place in source sink broker; do
		fault "$place" lose
		if [ "$place" = broker ]; then # librdkafka notices for itself
			audit_for 1000
		else
			begun=${EPOCHREALTIME/./}
			before=$(grep -c retry_ms= "$DIR/${log[$place]}.log" || true)
			wait_for 60 "(( \$(grep -c retry_ms= $DIR/${log[$place]}.log || true) > $before ))"
			say "lost connections to the $place: noticed after $(((${EPOCHREALTIME/./} - begun) / 1000000)) s"
		fi
		TIMES=''
		case $place in
		sink) on_again 75 "lost connections to the $place" copy ;;
		*) on_again 75 "lost connections to the $place" ;;
		esac
		fault "$place" pass
		say "lost connections to the $place: on again after ${TIMES%, }"
	done
fi

# The same while there is nothing to say: it is noticed before there is.
if part idle; then
	bank_quiet
	bank_equal 60
	for place in source sink broker; do fault "$place" lose; done
	audit_for 75000
	bank_load "${RATE:-150}"
	audit_for 1000
	TIMES=''
	on_again 15 "connections lost while idle"
	for place in source sink broker; do fault "$place" pass; done
	say "connections lost while idle for 75 s: on again after ${TIMES%, }"
fi
all_alive
bank_close
