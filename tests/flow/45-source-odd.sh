#!/bin/bash
# What a source may do besides rows: defaults that no schema can tell, renames, restored snapshots, locks, killed connections.
# limit: 150
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start

# Columns whose default no schema tells are marked, those with a constant that it tells are not.
case_defaults() {
	local marked
	world defaults <<<''
	pg_sql src "create table t(id int primary key); create domain d as int default 7"
	tl run producer -c "$CONF"
	says run msg=streaming
	pg_sql src "insert into t values (1);
		alter table t add e_uuid uuid default gen_random_uuid(), add e_serial serial, add e_identity bigint generated always as identity;
		alter table t add c_int int default 5, add c_bool bool default true, add c_text text default 'it''s', add c_none int,
			add e_now timestamptz default now(), add e_domain d, add e_day date default '2020-01-01', add e_dropped int default 3,
			add e_changed text default 'then';
		alter table t alter e_dropped drop default, alter e_changed set default 'now';
		insert into t(id) values (2)"
	schemas() { kcat -q -C -b "$BROKERS" -t "$PIPE.towline.schemas" -o beginning -e 2>/dev/null; }
	wait_for 30 'schemas | grep -q e_now'
	marked=$(schemas | grep -a e_now | sed 's/^[^{]*//' | python3 -c '
import json, sys
def marks(x):
    if isinstance(x, dict) and x.get("towline.default") == "expression":
        yield x["name"]
    for y in x.values() if isinstance(x, dict) else x if isinstance(x, list) else []:
        yield from marks(y)
print(*sorted({name for line in sys.stdin for name in marks(json.loads(line))}))')
	[ "$marked" = "e_changed e_day e_domain e_dropped e_identity e_now e_serial e_uuid" ] || flunk "marked: $marked"
	end run
}

# An embedded broker dies with its process. While a sink is locked, the source may forget nothing, whatever becomes of its connections; and no
# more is read than the broker keeps.
case_embedded() {
	local key before
	world embedded <<<$'kafka:\n  brokers: embedded\n  partitions: 1'
	pg_sql src "create table t(id serial primary key, v text)"
	pg_sql dst "create table t(id int primary key, v text)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t(v) values ('first')"
	copied t
	for key in TERM KILL; do
		lock dst t
		before=$(pg_sql src "select pg_current_wal_lsn()")
		# Nearly all that may be unread, then as much again and more: the broker keeps 5 MiB.
		load 28
		wait_for 20 sent_all
		kick
		load 60
		still_sent
		[ "$(pg_sql src "select confirmed_flush_lsn <= '$before' from pg_replication_slots where slot_name = 'towline_$PIPE'")" = t ] ||
			flunk "the source has forgotten what the sink lacks"
		if [ $key = KILL ]; then end run KILL; pg_sql dst "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'towline'" >/dev/null; fi
		unlock dst
		[ $key = TERM ] || tl run run -c "$CONF"
		copied t
	done
	end run
}

# load N: so many transactions of 100 kB into t.
load() {
	pg_sql src "do \$\$ begin for i in 1 .. $1 loop insert into t(v) select string_agg(md5((i * 1000 + j)::text), '') from generate_series(1, 3125) j
		group by j % 10; commit; end loop; end \$\$"
}

# Where a transaction was made first stands in each of its changes, truncates and messages too.
case_origin() {
	world origin <<<''
	pg_sql src "create table t(id int primary key); select pg_replication_origin_create('elsewhere')" >/dev/null
	tl run producer -c "$CONF"
	says run msg=streaming
	pg_sql src "select pg_replication_origin_session_setup('elsewhere'); begin; select pg_replication_origin_xact_setup('0/AA', now());
		insert into t values (1); truncate t; select pg_logical_emit_message(true, 'note', 'text'); commit" >/dev/null
	wait_for 30 "[ \$(records public.t) = 2 ] && [ \$(records message) = 1 ]"
	[ "$(record public.t | grep -c elsewhere)" = 2 ] || flunk "the truncate has no origin"
	record message | grep -q elsewhere || flunk "the message has no origin"
	end run
}

# A table that is renamed into `tables:` belongs to the pipeline from there on, one that is renamed out of it no more.
case_rename() {
	world rename <<<$'tables: [public.in_*]\nsnapshot: never' # records are counted
	pg_sql src "create table out_t(id int primary key); create table in_u(id int primary key)"
	tl run producer -c "$CONF"
	says run msg=streaming
	pg_sql src "alter publication towline_$PIPE add table out_t; insert into out_t values (1); insert into in_u values (1)"
	wait_for 30 "[ \$(records public.in_u) = 1 ]"
	pg_sql src "alter table out_t rename to in_t; insert into in_t values (2); alter table in_u rename to out_u; insert into out_u values (2);
		select pg_logical_emit_message(true, 'end', '')" >/dev/null
	wait_for 30 "[ \$(records message) = 1 ]"
	[ "$(records public.in_t)" = 1 ] || flunk "the renamed table is left out"
	topics | refute grep -q out_
	end run
}

# A key so long that it is stored out of line is sent as old key, and as unchanged in the new row: the row has not moved.
case_toastkey() {
	world toastkey <<<''
	pg_sql src "create table t(k text primary key, n int, pad text); alter table t alter k set storage external, alter pad set storage external"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t select string_agg(md5(i::text), ''), 1, repeat('p', 3000) from generate_series(1, 75) i; update t set n = 2"
	wait_for 30 "[ \$(records public.t) -ge 2 ]"
	pg_sql src "update t set n = 3; insert into t values ('end', 0, '')"
	copied t
	# A move would be a delete, its tombstone and a create.
	[ "$(records public.t)" = 4 ] || flunk "the row moved"
	end run
}

# The primary key moves to another column while changes wait in the slot: these have the key they were made with.
case_keymoved() {
	world keymoved <<<''
	pg_sql src "create table t(id int primary key, code int not null unique, v text)"
	tl run producer -c "$CONF"
	says run msg=streaming
	end run
	pg_sql src "insert into t values (1, 11, 'a'), (2, 12, 'b'); update t set id = 3 where id = 1; delete from t where id = 2;
		alter table t drop constraint t_pkey, add primary key (code); update t set code = 13; delete from t"
	tl run producer -c "$CONF"
	# c c, d tombstone c, d tombstone; d tombstone c, d tombstone
	wait_for 30 "[ \$(records public.t) = 12 ] || ! towline_alive keymoved.run"
	towline_alive keymoved.run || flunk "the producer stopped"
	end run
}

# Changes wait of a table with a type that only travels as text, and the table is gone: the catalogue no longer tells.
case_textgone() {
	world textgone <<<''
	pg_sql src "create table t(id int primary key); create table odd(id int primary key, v tsvector)"
	tl run producer -c "$CONF"
	says run msg=streaming
	end run
	pg_sql src "insert into odd values (1, 'a fat cat'); insert into t values (1); drop table odd"
	tl run producer -c "$CONF"
	wait_for 30 "[ \$(records public.t) = 1 ]"
	[ "$(records public.odd)" = 1 ] || flunk "the row of the dropped table is missing"
	[ "$(grep -c 'streaming again in text form' "$DIR/$CASE.run.log")" = 1 ]
	end run
}

# The source comes back as it was an hour ago, with the same system identifier and timeline: its new commits have the LSNs of published ones.
case_snapshot() {
	local data=$DIR/data/pg-src
	world snapshot <<<''
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1)"
	copied t
	end run
	pg_down src
	cp -a "$data" "$data.then"
	pg_up src
	tl run run -c "$CONF"
	pg_sql src "insert into t select generate_series(2, 1000)"
	copied t
	end run KILL
	pg_down src immediate
	rm -r "$data"
	mv "$data.then" "$data"
	pg_up src
	pg_sql src "insert into t values (5000)"
	tl run run -c "$CONF"
	ends run 5 'source: its WAL ends at' 'it was set back' 'use another name and copy the tables again'
	check 1 'it was set back'
	[ "$(pg_sql dst 'select count(*) from t')" = 1000 ]
}

# An application holds a table locked. Its description cannot be read, nor can it join; all else goes on, the server hears from us, SIGTERM works.
case_locked() {
	local before
	world locked <<<''
	pg_sql src "create table t(id int primary key); create table u(id int primary key default 7)"
	tl run producer -c "$CONF"
	says run msg=streaming
	pg_sql src "insert into t values (1)"
	wait_for 30 "[ \$(records public.t) = 1 ]"
	# Joining: the other table of the same publication goes on.
	pg_sql src "create table late(id int primary key)"
	lock src late
	says run 'tables wait to join'
	pg_sql src "insert into t values (2)"
	wait_for 5 "[ \$(records public.t) = 2 ]"
	unlock src
	says run 'tables joined'
	# The description: what was read before is published, the rest waits.
	pg_sql src "insert into t values (3)"
	pg_sql src "insert into u values (1)"
	pg_sql src "alter table u add v int default 5; insert into u values (2); select pg_switch_wal()" >/dev/null
	wait_for 30 "[ \$(records public.u) = 2 ]"
	end run
	pg_sql src "insert into t values (4); insert into u values (3); insert into t values (5)"
	lock src u
	tl run producer -c "$CONF"
	says run 'changes wait: another session has their table locked'
	wait_for 10 "[ \$(records public.t) = 4 ]"
	before=$(pg_sql src "select reply_time from pg_stat_replication where application_name = 'towline_$PIPE'")
	wait_for 10 "[ \"\$(pg_sql src \"select reply_time > '$before' from pg_stat_replication where application_name = 'towline_$PIPE'\")\" = t ]"
	kill "${FLOW_PID[locked.run]}"
	wait_for 5 '! towline_alive locked.run'
	tl run producer -c "$CONF"
	wait_for 10 "[ \$(grep -c 'changes wait' $DIR/locked.run.log) = 2 ]"
	unlock src
	wait_for 10 "[ \$(records public.t) = 5 ] && [ \$(records public.u) = 3 ]"
	end run
}

# A slot waits for every transaction that is older. It is told whose they are, and SIGTERM ends the waiting and leaves no slot.
case_oldtxn() {
	world oldtxn <<<''
	pg_sql src "create table t(id int primary key); create table held(id int primary key)"
	lock src held "insert into held values (1)"
	tl run producer -c "$CONF"
	says run 'the slot waits for transactions that are older than it to end' ' of postgres (active)'
	kill "${FLOW_PID[oldtxn.run]}"
	wait_for 5 '! towline_alive oldtxn.run'
	wait_for 5 "[ \"\$(pg_sql src \"select count(*) from pg_replication_slots where slot_name = 'towline_$PIPE'\")\" = 0 ]"
	tl run producer -c "$CONF"
	wait_for 20 "[ \$(grep -c 'slot waits' $DIR/oldtxn.run.log) = 2 ]"
	unlock src
	says run msg=streaming
	end run
}

# record TOPIC: each of its values in a line. records TOPIC: how many there are, tombstones too.
record() { kcat -q -C -b "$BROKERS" -t "$PIPE.$1" -o beginning -e 2>/dev/null -f '%s<end>' | tr -d '\n\0' | LC_ALL=C sed 's/<end>/\n/g'; }
records() { kcat -q -C -b "$BROKERS" -t "$PIPE.$1" -o beginning -e 2>/dev/null -f 'x\n' | wc -l; }

# lock SERVER TABLE [SQL], unlock SERVER: hold it (instead: the statement) as an application does that forgot its transaction.
lock() {
	PGAPPNAME=holder "$PGBIN/psql" -X -q "postgresql://postgres@127.0.0.1:${FLOW_PG[$1]}/$FLOW_DB" \
		-c "begin; ${3:-lock table $2 in access exclusive mode}; select pg_sleep(600)" >"$DIR/$CASE.holder.log" 2>&1 &
	FLOW_PID[holder]=$!
	wait_for 10 "[ \"\$(pg_sql $1 \"select count(*) from pg_stat_activity where application_name = 'holder' and query like '%pg_sleep%' and wait_event = 'PgSleep'\")\" = 1 ]"
}
unlock() {
	pg_sql "$1" "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holder'" >/dev/null
	wait "${FLOW_PID[holder]}" || true
}

# kick: the source ends our connection; a new session follows.
kick() {
	local n
	n=$(grep -c msg=streaming "$DIR/$CASE.run.log")
	pg_sql src "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'towline_$PIPE'" >/dev/null
	wait_for 30 "[ \$(grep -c msg=streaming $DIR/$CASE.run.log) -gt $n ]"
}

sent_all() { [ "$(pg_sql src "select sent_lsn >= pg_current_wal_lsn() from pg_stat_replication where application_name = 'towline_$PIPE'")" = t ]; }

# still_sent: the walsender sends nothing more for a second.
still_sent() {
	local at last='' same=0
	while ((same < 10)); do
		at=$(pg_sql src "select sent_lsn, pg_sleep(0.1) from pg_stat_replication where application_name = 'towline_$PIPE'")
		if [ "$at" = "$last" ]; then same=$((same + 1)); else same=0; fi
		last=$at
	done
}

cases defaults embedded origin rename toastkey keymoved textgone snapshot locked oldtxn
