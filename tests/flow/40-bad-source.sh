#!/bin/bash
# Trouble at the source: each ends with the sentence, the fix and the exit code, or waits and goes on; nothing else was changed.
# limit: 120
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start
SRCPORT=${FLOW_PG[src]}
nobody=
free_port nobody
pg_sql src "create role plain login; create role copier login replication; create role scrammer login superuser password 'right'"

# ---- where it is ----

case_host() {
	world host <<<"source: postgresql://postgres@nosuch.invalid:$SRCPORT/host"
	tl run run -c "$CONF"
	says run 'nosuch.invalid' 'start the server, or correct the URL' retry_ms=
	end run
	untouched
}

case_port() {
	world port <<<"source: postgresql://postgres@127.0.0.1:$nobody/port"
	tl run run -c "$CONF"
	says run 'Connection refused' 'start the server, or correct the URL' retry_ms=
	end run
	check 4 'Connection refused' 'start the server, or correct the URL'
	untouched
}

case_database() {
	world database <<<"source: postgresql://postgres@127.0.0.1:$SRCPORT/nosuch"
	tl run run -c "$CONF"
	ends run 4 'source: ' 'database "nosuch" does not exist; correct the name in the URL'
	check 4 'database "nosuch" does not exist'
	untouched
}

case_password() {
	world password <<<"source: postgresql://scrammer:wrong@127.0.0.1:$SRCPORT/password"
	sed -i '1i host all scrammer 127.0.0.1/32 scram-sha-256' "$DIR/data/pg-src/pg_hba.conf"
	pg_sql src "select pg_reload_conf()" >/dev/null
	wait_for 5 "! PGPASSWORD=wrong psql -X 'postgresql://scrammer@127.0.0.1:$SRCPORT/postgres' -c 'select 1'"
	tl run run -c "$CONF"
	ends run 4 'password authentication failed for user "scrammer"; check user and password in the URL'
	refute grep -q wrong "$DIR/password.run.log"
	sed -i 's/:wrong@/@/' "$CONF"
	tl run run -c "$CONF"
	ends run 4 'no password supplied; check user and password in the URL'
	untouched
}

# ---- what it may ----

case_replication() {
	world replication <<<"source: postgresql://plain@127.0.0.1:$SRCPORT/replication"
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	ends run 3 'source: ' '; run ALTER ROLE plain REPLICATION'
	check 1 'role "plain" has none' 'ALTER ROLE "plain" REPLICATION'
	untouched
}

case_create() {
	world create <<<"source: postgresql://copier@127.0.0.1:$SRCPORT/create"
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	ends run 1 'create the publication: permission denied for database create' "CREATE PUBLICATION \"towline_$PIPE\""
	untouched
	# A publication that somebody else made will do.
	pg_sql src "create publication towline_$PIPE for all tables; insert into t values (1)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (2); grant select on t to copier"
	wait_for 20 "[ \"\$(pg_sql dst 'select array_agg(id order by id) from t')\" = '{1,2}' ]"
	end run
}

# The table belongs to somebody else: the statement that its owner must run.
case_owner() {
	world owner <<<"source: postgresql://copier@127.0.0.1:$SRCPORT/owner"
	pg_sql src "create table t(id int primary key); grant create on database owner to copier"
	tl run run -c "$CONF"
	ends run 1 "the tables' owner must run: ALTER PUBLICATION \"towline_$PIPE\" ADD TABLE \"public\".\"t\""
}

# ---- the slot ----
case_plugin() {
	world plugin <<<'tables: [public.t]'
	pg_sql src "create table t(id int primary key); select pg_create_logical_replication_slot('towline_$PIPE', 'test_decoding')" >/dev/null
	tl run run -c "$CONF"
	ends run 3 "slot towline_$PIPE is not a pgoutput slot of this database; choose another with source.slot"
	topics | refute grep -v spine
	[ "$(pg_sql src "select plugin from pg_replication_slots where slot_name = 'towline_$PIPE'")" = test_decoding ]
}

case_taken() {
	world taken <<<''
	pg_sql src "create table t(id int primary key)"
	tl one producer -c "$CONF"
	says one msg=streaming
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1)"
	copied t
	# Another pipeline that was given the same slot, and the same pipeline once more: both wait; the latter takes over.
	sed "s/^name: .*/&b/; s|^source: \(.*\)|source: { url: \"\1\", slot: towline_$PIPE }|" "$CONF" >"$CONF.two"
	tl two producer -c "$CONF.two"
	tl heir producer -c "$CONF"
	says two "slot towline_$PIPE is in use by process" 'stop the other producer, or choose another with source.slot' retry_ms=
	says heir "slot towline_$PIPE is in use by process" retry_ms=
	end two
	pg_sql src "insert into t values (2)"
	copied t
	end one
	says heir msg=streaming
	pg_sql src "insert into t values (3)"
	copied t
	end heir
	end copy
}

case_gone() {
	world gone <<<''
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1)"
	copied t
	pg_sql src "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'towline_$PIPE'" >/dev/null
	# Not fast enough before the producer is back: then it must be stopped first.
	if ! pg_sql src "select pg_drop_replication_slot('towline_$PIPE')" >/dev/null 2>&1; then
		wait_for 20 "pg_sql src \"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'towline_$PIPE'; select pg_drop_replication_slot('towline_$PIPE')\""
	fi
	pg_sql src "insert into t values (2)"
	ends run 5 "slot towline_$PIPE is gone, so changes after" 'use another name and copy the tables again'
	[ "$(pg_sql src "select count(*) from pg_replication_slots where slot_name = 'towline_$PIPE'")" = 0 ] || flunk "the slot was made anew"
	tl run run -c "$CONF"
	ends run 5 "slot towline_$PIPE is gone"
	check 1 "slot towline_$PIPE is gone"
}

case_moved() {
	world moved <<<''
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t values (1)"
	copied t
	end run
	pg_sql src "insert into t values (2); select pg_replication_slot_advance('towline_$PIPE', pg_current_wal_insert_lsn())" >/dev/null
	tl run run -c "$CONF"
	ends run 5 "slot towline_$PIPE is at " 'but Kafka has changes only up to' 'use another name and copy the tables again'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
}

case_byhand() {
	world byhand <<<''
	pg_sql src "create table t(id int primary key); create publication towline_$PIPE for table t;
		select pg_create_logical_replication_slot('towline_$PIPE', 'pgoutput')" >/dev/null
	pg_sql src "insert into t values (1)"
	tl run run -c "$CONF"
	ends run 5 "slot towline_$PIPE exists but the topics of $PIPE are empty" '--adopt-slot' "SELECT pg_drop_replication_slot('towline_$PIPE')"
	tl run run -c "$CONF" --adopt-slot
	streams run
	copied t
	end run
}

# ---- tables without a key ----
case_keyless() {
	world keyless <<<''
	pg_sql src "create table t(id int primary key); create table nokey(a int, b text); insert into nokey values (1, 'early')"
	tl run run -c "$CONF"
	streams run
	says run 'table left out: it has no primary key' 'ALTER TABLE public.nokey REPLICA IDENTITY FULL'
	pg_sql src "update nokey set b = 'still works'; insert into t values (1)"
	copied t
	refute pg_sql dst "select 1 from nokey" 2>/dev/null
	pg_sql src "alter table nokey replica identity full"
	says run 'tables joined'
	pg_sql src "insert into nokey values (2, 'late'), (2, 'late'); update nokey set b = 'changed' where ctid = (select max(ctid) from nokey)"
	wait_for 20 "[ \"\$(pg_sql dst 'select string_agg(b, chr(44) order by b) from nokey')\" = changed,late ]"
	end run
}

# ---- what the server is ----

case_tiny() {
	pg_start tiny TINY wal_level=replica max_replication_slots=1
	FLOW_DB=postgres pg_sql tiny "create table t(id int primary key)"
	world wal <<<"source: $TINY"
	tl run run -c "$CONF"
	ends run 3 'source: wal_level is replica, logical decoding needs logical; run ALTER SYSTEM SET wal_level = logical and restart PostgreSQL'
	check 1 'ALTER SYSTEM SET wal_level = logical'
	untouched
	FLOW_DB=postgres pg_sql tiny "alter system set wal_level = logical; select pg_create_physical_replication_slot('other')" >/dev/null
	pg_down tiny
	sed -i '/^wal_level/d' "$DIR/data/pg-tiny/postgresql.conf"
	pg_up tiny

	world full <<<"source: $TINY"
	tl run run -c "$CONF"
	ends run 3 'create the slot: all replication slots are in use' 'raise max_replication_slots or drop an unused slot'
	FLOW_DB=postgres pg_sql tiny "select pg_drop_replication_slot('other')" >/dev/null
	tl run run -c "$CONF"
	streams run
	FLOW_DB=postgres pg_sql tiny "insert into t values (7)"
	wait_for 20 "[ \"\$(pg_sql dst 'select id from t')\" = 7 ]"
	end run

	# Another cluster under the same name and with a slot of the same name: a restored copy, or a wrong URL.
	FLOW_DB=postgres pg_sql tiny "select pg_drop_replication_slot('towline_$PIPE')" >/dev/null
	pg_sql src "create table t(id int primary key); create publication towline_$PIPE for table t;
		select pg_create_logical_replication_slot('towline_$PIPE', 'pgoutput')" >/dev/null
	sed -i "s,^source: .*,source: ${SRC%/*}/full," "$CONF"
	pg_sql src "insert into t values (8)"
	tl run run -c "$CONF"
	ends run 5 'source: system identifier' 'is not the one this pipeline began with' 'it is another database: use another name'
	check 1 'is not the one this pipeline began with'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
}

cases host port database password replication create owner plugin taken gone moved byhand keyless tiny
