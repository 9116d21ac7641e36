#!/bin/bash
# Every process is killed or stopped at random moments while money moves: at every look both sinks show one moment of the source.
#   KILLS=n   how many faults (100); SEED=n repeats their order; RATE=n transfers a second (200)
# limit: 900
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-100}

pg_start_safe src SRC
pg_start_safe dst DST
kafka_start_own
bank_open
bank_load "${RATE:-200}"

declare -A COUNT=() BUSY=()
said=0

# back WHAT CMD...: what was killed comes back after a moment, while others are killed.
back() {
	local what=$1 ms=$((RANDOM % 1500))
	shift
	(
		sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
		"$@"
	) >>"$DIR/back.txt" 2>&1 &
	BUSY[$what]=$!
}

ready() {
	[ -n "${BUSY[$1]:-}" ] || return 0
	wait "${BUSY[$1]}" || flunk "$1 does not come back: $(tail -n 5 "$DIR/back.txt")"
	unset "BUSY[$1]"
}

kill_stage() {
	towline_alive "$1" || flunk "$1 ended by itself"
	slay "$1"
	stage "$1"
}

# stop_for PID WHAT: it neither runs nor ends, for 1 to 5 s.
stop_for() {
	local s=$((RANDOM % 4 + 1)).$((RANDOM % 10))
	[ -n "$1" ] && kill -s STOP "$1" 2>/dev/null || return 0
	wake "$1" "$s"
}

backend() { pg_sql "$1" "$2" 2>/dev/null || true; }

faults=(producer producer producer producer copy copy copy edge edge broker src src dst dst sender applier
	stop-producer stop-copy stop-edge stop-broker stop-sender stop-applier)
for ((k = 1; k <= kills; k++)); do
	fault=${faults[RANDOM % ${#faults[@]}]}
	ms=$((RANDOM % 2500 + 50))
	audit_for "$ms"
	COUNT[$fault]=$((${COUNT[$fault]:-0} + 1))
	say "$k $fault, seen: copy ${AUDIT_SEQ[copy]:-0}, edge ${AUDIT_SEQ[edge]:-0}" >>"$DIR/faults.txt"
	case $fault in
	producer | copy | edge) kill_stage "$fault" ;;
	broker)
		ready broker
		kill -s KILL "$(broker_pid)"
		back broker kafka start
		;;
	src | dst)
		ready "$fault"
		if ((RANDOM % 2)); then pg_crash "$fault"; else pg_down "$fault" immediate; fi
		back "$fault" pg_back "$fault"
		;;
	sender) # one process of a server: all of it recovers from that as from a crash
		pid=$(backend src "select active_pid from pg_replication_slots where active limit 1")
		[ -z "$pid" ] || kill -s KILL "$pid" 2>/dev/null || true
		;;
	applier)
		pid=$(backend dst "select pid from pg_stat_activity where application_name = 'towline' limit 1")
		[ -z "$pid" ] || kill -s KILL "$pid" 2>/dev/null || true
		;;
	stop-producer | stop-copy | stop-edge) stop_for "${FLOW_PID[${fault#stop-}]}" ;;
	stop-broker) [ -n "${BUSY[broker]:-}" ] && kill -0 "${BUSY[broker]}" 2>/dev/null || stop_for "$(broker_pid)" ;;
	stop-sender) stop_for "$(backend src "select active_pid from pg_replication_slots where active limit 1")" ;;
	stop-applier) stop_for "$(backend dst "select pid from pg_stat_activity where application_name = 'towline' limit 1")" ;;
	esac
	for p in producer copy edge; do towline_alive "$p" || flunk "$p ended by itself after $fault"; done
	if ((k * 10 / kills > said)); then
		said=$((k * 10 / kills))
		say "$k faults, $AUDITS audits, transactions: source $(pg_sql src "select count(*) + 4 from ledger" 2>/dev/null || echo away)," \
			"copy ${AUDIT_SEQ[copy]:-0}, edge ${AUDIT_SEQ[edge]:-0}"
	fi
done
for what in "${!BUSY[@]}"; do ready "$what"; done
bank_close
for fault in "${!COUNT[@]}"; do printf '%s %s, ' "${COUNT[$fault]}" "$fault"; done | sed 's/, $/\n/'
say "$kills kills survived"
