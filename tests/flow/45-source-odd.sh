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
	marked=$(schemas | grep -a e_now | sed 's/^[^{]*//' | jq -rs '[.. | objects | select(."towline.default"? == "expression") | .name] | unique | join(" ")')
	[ "$marked" = "e_changed e_day e_domain e_dropped e_identity e_now e_serial e_uuid" ] || flunk "marked: $marked"
	end run
}

cases defaults
