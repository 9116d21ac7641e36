# shellcheck shell=bash
# lib.sh - what the fault tests share: a bank under load, its two sinks, and an auditor who may look at any moment.
#
#	bank_open                             # servers src, dst; pipeline "copy" (PostgreSQL), "edge" (SQLite)
#	bank_load 300                         # transfers a second, until bank_quiet
#	audit                                 # both sinks: money is neither made nor lost, no transaction is torn, none repeated
#	bank_close                            # quiet, digests equal, the spine without a gap; prints figures
#
# BANK_SRC, BANK_DST, BANK_BROKERS: where the program connects, when not directly. BANK_SINKS: "copy edge". TABLESPACE: of dst.
# shellcheck source-path=SCRIPTDIR source=../flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../flow/lib.sh"

SEED=${SEED:-$RANDOM$RANDOM}
RANDOM=$((SEED % 32768))
say "SEED=$SEED"
AUDITS=0 BLIND=0 ROWS=0 TABLES=(acc_a acc_b acc_c acc_d ledger note)

# ---- servers that come back ----

# pg_start_safe NAME VAR: a server that keeps what it has committed when it is killed.
pg_start_safe() { pg_start "$1" "$2" 'fsync = on' 'restart_after_crash = on' 'checkpoint_timeout = 30s' "${@:3}"; }

pg_pid() { head -n 1 "$DIR/data/pg-$1/postmaster.pid"; }

# pg_crash NAME: kill -9 of the postmaster; its children see that and go.
pg_crash() {
	local pid
	pid=$(pg_pid "$1") && kill -s KILL "$pid"
}

# The shared memory of the one that was killed is busy until its last child is gone.
pg_back() {
	local until=$((${EPOCHREALTIME/./} + 60000000))
	until flow_as_pg "${FLOW_BIN[$1]}/pg_ctl" -D "$DIR/data/pg-$1" -l "$DIR/pg-$1.log" -t 60 -w -s start </dev/null >/dev/null 2>&1; do
		((${EPOCHREALTIME/./} < until)) || return 1
		sleep 0.1
	done
}

broker_pid() { cat "$TOWLINE_KAFKA_RUN/kafka.pid"; }

# slay NAME: kill -9, and no word about it.
slay() {
	towline_alive "$1" || return 0
	kill -s KILL "${FLOW_PID[$1]}"
	wait "${FLOW_PID[$1]}" 2>/dev/null || true
} 2>/dev/null

# wake PID SECONDS: a stopped process goes on after that time.
wake() {
	(
		sleep "$2"
		kill -s CONT "$1" 2>/dev/null
	) >/dev/null 2>&1 &
	echo $! >>"$DIR/data/pids"
}

# ---- the bank ----

# Groups and batches so small that a sweep is several of both.
# A first copy has transactions of its own; the auditor counts those of the source only.
bank_conf() {
	BANK_EDGE=${BANK_EDGE:-$DIR/data/edge.db}
	cat >"$DIR/conf.yaml" <<-E
	name: $NAME
	source:
	  url: ${BANK_SRC:-$SRC}
	  group_rows: 500
	snapshot: never
	kafka:
	  brokers: ${BANK_BROKERS:-$BROKERS}
	  partitions: 3
	sinks:
	  copy:
	    url: ${BANK_DST:-$DST}
	    batch_rows: 400
	  edge:
	    url: sqlite:$BANK_EDGE
	    batch_rows: 400
	E
}

# Money moves between four tables; the ledger has each transfer; notes come, change their key, and go.
bank_scripts() {
	cat >"$DIR/transfer.sql" <<-'E'
	\set i random(1, 500)
	\set j random(1, 500)
	\set x random(1, 100)
	begin;
	update acc_a set bal = bal - :x where id = :i;
	update acc_b set bal = bal + :x where id = :j;
	update acc_c set bal = bal - 2 * :x where id = :j;
	update acc_d set bal = bal + 2 * :x where id = :i;
	insert into ledger(x) values (:x);
	insert into note(pad) values (repeat('p', :x));
	update note set id = -id where id = (select max(id) - 10 from note);
	delete from note where id = (select min(id) from note where id < 0) and :x > 10;
	commit;
	E
	# As one transaction, of several groups: a tax on everybody.
	cat >"$DIR/sweep.sql" <<-'E'
	begin;
	update acc_a set bal = bal - 1;
	update acc_b set bal = bal + 1;
	update acc_c set bal = bal - 2;
	update acc_d set bal = bal + 2;
	insert into ledger(x) values (500);
	commit;
	E
	# Six numbers of one moment, and what they must be: nothing made, nothing lost, each transfer once and whole.
	AUDIT_SQL="with l as (select coalesce(sum(x), 0) x, count(*) n from ledger)
	  select (select sum(bal) from acc_a) + x, (select sum(bal) from acc_b) - x, (select sum(bal) from acc_c) + 2 * x,
	  (select sum(bal) from acc_d) - 2 * x, n + 4, (select seq from MARKER where name = '$NAME') from l"
}

stage() {
	if [ "$1" = producer ]; then
		towline_start producer producer -c "$DIR/conf.yaml"
	else
		towline_start "$1" consumer -c "$DIR/conf.yaml" "$1"
	fi
}

# Two server names and a broker must be there; SRC, DST, BROKERS.
bank_open() {
	local t
	bank_conf
	bank_scripts
	for t in a b c d; do pg_sql src "create table acc_$t(id int primary key, bal bigint not null)"; done
	pg_sql src "create table ledger(id bigserial primary key, x int not null); create table note(id bigserial primary key, pad text)"
	stage producer
	wait_for 30 "grep -q msg=streaming $DIR/producer.log"
	for t in a b c d; do pg_sql src "insert into acc_$t select i, 1000 from generate_series(1, 500) i"; done
	for t in ${BANK_SINKS:-copy edge}; do stage "$t"; done
	pg_sql src "begin; insert into ledger(x) values (0); insert into note(pad) values ('first'); commit"
	for t in ${BANK_SINKS:-copy edge}; do wait_for 30 "look $t"; done
}

# pgbench gives up when its server goes away: another one takes its place.
bank_load() {
	(
		trap 'kill "$child" 2>/dev/null; exit 0' TERM
		while :; do
			"$PGBIN/pgbench" -n -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -f "$DIR/transfer.sql@300" -f "$DIR/sweep.sql" -c 4 -R "$1" -T 3600 postgres &
			child=$!
			wait "$child" || true
			sleep 0.2
		done
	) >>"$DIR/pgbench.txt" 2>&1 &
	FLOW_PID[load]=$!
	echo $! >>"$DIR/data/pids"
}

bank_quiet() {
	[ -n "${FLOW_PID[load]:-}" ] || return 0
	kill -s TERM "${FLOW_PID[load]}"
	wait "${FLOW_PID[load]}" || true
	unset 'FLOW_PID[load]'
}

# ---- the auditor ----

# look SINK: SEEN, the six numbers; fails when the sink cannot be asked now.
look() {
	case $1 in
	copy) SEEN=$(pg_sql dst "${AUDIT_SQL//MARKER/towline.marker}" 2>/dev/null) ;;
	edge) SEEN=$(sqlite3 -cmd '.timeout 5000' "$BANK_EDGE" "${AUDIT_SQL//MARKER/towline_marker}" 2>/dev/null) ;;
	esac
	SEEN=${SEEN//|/ }
	[[ $SEEN == 5*[0-9] ]]
}

declare -A AUDIT_SEQ=()

# Transfers and the four deposits before them are all transactions there are: the marker's seq counts each once.
audit() {
	local sink n seq
	for sink in ${BANK_SINKS:-copy edge}; do
		look "$sink" || { BLIND=$((BLIND + 1)); continue; }
		read -r _ _ _ _ n seq <<<"$SEEN"
		[ "${SEEN% *}" = "500000 500000 500000 500000 $seq" ] || flunk "sink $sink shows a torn, lost or repeated transaction: $SEEN"
		((seq >= ${AUDIT_SEQ[$sink]:-0})) || flunk "sink $sink went back from transaction ${AUDIT_SEQ[$sink]} to $seq"
		AUDIT_SEQ[$sink]=$seq
		AUDITS=$((AUDITS + 1))
		ROWS=$((ROWS + 2000 + n))
	done
}

# audit_for MS: look on for so long; between two looks the program gets a processor too.
audit_for() {
	local until=$((${EPOCHREALTIME/./} + $1 * 1000))
	while ((${EPOCHREALTIME/./} < until)); do
		audit
		sleep 0.03
	done
}

lite_same() {
	local t
	for t in "${TABLES[@]}"; do
		cmp -s <(sqlite3 -separator '|' "$BANK_EDGE" "select * from $t order by id") <(pg_sql src "select * from $t order by id") || return 1
	done
}

# bank_equal SECONDS: the load has ended; both sinks come to hold what the source has.
bank_equal() {
	local t
	for t in ${BANK_SINKS:-copy edge}; do
		case $t in
		copy) wait_for "$1" "same_pg src dst ${TABLES[*]}" ;;
		edge) wait_for "$1" lite_same ;;
		esac
	done
	audit
	for t in "${TABLES[@]}"; do ROWS=$((ROWS + 2 * $(pg_sql src "select count(*) from $t"))); done
}

# The spine, read by a reader of its own.
bank_spine() {
	local transactions
	transactions=$(pg_sql src "select count(*) + 4 from ledger")
	timeout 60 kcat -C -e -q -b "$BROKERS" -t "$NAME.towline.spine" -o beginning -f '%S\n%s' >"$DIR/data/spine.bin"
	SPINE=$(python3 "$ROOT/tests/faults/spine.py" "$transactions" <"$DIR/data/spine.bin") || flunk "the spine: $SPINE"
}

bank_close() {
	bank_quiet
	bank_equal "${1:-120}"
	bank_spine
	say "spine: $SPINE"
	say "$AUDITS audits ($BLIND while a sink was away), $(pg_sql src "select count(*) from ledger") transactions, $ROWS rows checked"
}
