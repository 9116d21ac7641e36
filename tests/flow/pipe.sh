# shellcheck shell=bash disable=SC2034 # CONF, SRCDB, DSTDB are for the tests
# pipe.sh - for tests with many small pipelines: one pair of servers, for each case two databases, and what to expect of the program.
#
#	pg_start src SRC; pg_start dst DST; kafka_start
#	world typo <<<"kafka: $BROKERS"      # databases "typo" at both; CONF, with name, source and sink copy; further lines from stdin
#	tl run run -c "$CONF"                # log: $DIR/typo.run.log
#	ends run 3 'the sentence; the fix'
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# world CASE: begins a case. Standard input: YAML lines to add; without "kafka:" among them the shared broker.
world() {
	local more
	more=$(cat)
	CASE=$1 PIPE=$NAME$1
	FLOW_DB=postgres
	if [ -n "${FLOW_PG[src]:-}" ]; then pg_sql src "create database \"$CASE\""; fi
	if [ -n "${FLOW_PG[dst]:-}" ]; then pg_sql dst "create database \"$CASE\""; fi
	FLOW_DB=$CASE
	SRCDB=${SRC:+${SRC%/*}/$CASE} DSTDB=${DST:+${DST%/*}/$CASE} CONF=$DIR/$CASE.yaml
	{
		echo "name: $PIPE"
		[[ $'\n'$more == *$'\n'source:* ]] || echo "source: $SRCDB"
		[[ $'\n'$more == *$'\n'kafka:* ]] || printf 'kafka:\n  brokers: %s\n  partitions: 1\n' "$BROKERS"
		[[ $'\n'$more == *$'\n'sinks:* ]] || printf 'sinks:\n  copy: %s\n' "$DSTDB"
		printf '%s\n' "$more"
	} >"$CONF"
	say "case $CASE" >&2
}

# tl LOG ARGS: start the program; its log is $DIR/CASE.LOG.log, its name for towline_* CASE.LOG.
tl() {
	local log=$CASE.$1
	shift
	towline_start "$log" "$@"
}

# end LOG [SIGNAL]: stop it; with the default signal it must end in order.
end() {
	towline_kill "$CASE.$1" "${2:-TERM}"
	[ "${2:-TERM}" != TERM ] || [ "$STATUS" = 0 ] || flunk "$CASE.$1: exit code $STATUS after SIGTERM"
}

# ends LOG CODE SENTENCE...: it ends by itself, with this exit code, and its last words have each sentence (a fixed string).
ends() {
	local log=$CASE.$1 code=$2 text
	shift 2
	towline_wait "$log" 40
	for text; do
		grep '^towline: ' "$DIR/$log.log" | tail -n 1 | grep -qF -- "$text" || flunk "$log does not say: $text"
	done
	[ "$STATUS" = "$code" ] || flunk "$log ended with $STATUS, not $code"
}

# says LOG SENTENCE...: it comes to say it, and goes on.
says() {
	local log=$CASE.$1 text
	shift
	for text; do
		wait_for 30 "said $log $(printf %q "$text")"
	done
	towline_alive "$log" || flunk "$log ended"
}

# Quotes within logfmt's own are escaped.
said() { sed 's/\\"/"/g' "$DIR/$1.log" | grep -qF -- "$2"; }

# check CODE TEXT...: towline check ends so, and prints each text.
check() {
	local code=$1 out status=0 text
	shift
	out=$("$TOWLINE" check -c "$CONF" 2>&1) || status=$?
	for text; do
		grep -qF -- "$text" <<<"$out" || flunk "check does not print: $text"$'\n'"$out"
	done
	[ "$status" = "$code" ] || flunk "check ended with $status, not $code"$'\n'"$out"
}

topics() { kcat -b "$BROKERS" -L | sed -n "s/^  topic \"\($PIPE\.[^\"]*\)\".*/\1/p"; }

# cases NAME...: call case_NAME one after the other; with CASES="NAME..." in the environment only those.
cases() {
	local c
	for c; do
		if [ -z "${CASES:-}" ] || [[ " $CASES " == *" $c "* ]]; then "case_$c"; fi
	done
}

# untouched: no slot, publication or topic of this case was made. (A sink that is reached gets its marker, whatever the source says.)
untouched() {
	[ "$(pg_sql src "select count(*) from pg_replication_slots where slot_name = 'towline_$PIPE'")" = 0 ] || flunk "a slot was left"
	[ "$(pg_sql src "select count(*) from pg_publication")" = 0 ] || flunk "a publication was left"
	[ -z "${BROKERS:-}" ] || [ -z "$(topics)" ] || flunk "topics were left: $(topics)"
}

# copied TABLE...: the sink comes to hold the same rows.
copied() {
	wait_for 30 "same_pg src dst $*"
}

# streams LOG: producer and sink are at work.
streams() { says "$1" msg=streaming msg=applying; }

