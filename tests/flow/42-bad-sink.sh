#!/bin/bash
# Trouble at a sink: refused with a reason, waited for, or set aside; what is applied is always a whole transaction.
# limit: 150
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
pg_start own OWN # one that may be stopped
kafka_start

produce() {
	tl producer producer -c "$CONF"
	says producer msg=streaming
}

dead() { kcat -b "$BROKERS" -C -t "$PIPE.towline.deadletter" -e -q -f '%h|%k\n' 2>/dev/null; }
# How many; not by lines, as the bytes of a header may be one's end.
deaths() { kcat -b "$BROKERS" -C -t "$PIPE.towline.deadletter" -e -q -f x 2>/dev/null | wc -c; }
rows() { pg_sql dst "select string_agg(t::text, ' ' order by id) from ${1:-t} t"; }

# sinkline TEXT: sinks: with the usual URL and these further keys.
sinkline() { echo "sinks: { copy: { url: \"${DST%/*}/$1\"${2:+, $2} } }"; }

# ---- which one, and is it there ----

case_unknown() {
	world unknown <<<''
	tl copy consumer -c "$CONF" nosuch
	ends copy 3 "there is no sink 'nosuch' in the configuration"
	sed -i "s,^  copy: .*,  copy: mysql://x/y," "$CONF"
	tl copy consumer -c "$CONF" copy
	towline_wait unknown.copy 20
	[ "$STATUS" = 3 ] || flunk "exit code $STATUS"
	untouched
}

case_nodatabase() {
	world nodatabase <<<"sinks: { copy: \"${DST%/*}/nosuch\" }"
	tl copy consumer -c "$CONF"
	ends copy 4 'sink copy: ' 'database "nosuch" does not exist; correct the name in the URL, or create it'
}

case_down() {
	pg_down own
	world down <<<"sinks: { copy: \"$OWN\" }"
	pg_sql src "create table t(id int primary key)"
	tl run run -c "$CONF"
	says run msg=streaming 'Connection refused' retry_ms=
	pg_sql src "insert into t values (1)"
	pg_up own
	wait_for 20 "FLOW_DB=postgres pg_sql own 'select id from t where id = 1' | grep -q 1"
	# Away in the middle, twice: in order, and as if the power had failed.
	for mode in fast immediate; do
		pg_down own "$mode"
		pg_sql src "insert into t select max(id) + 1 from t"
		says run 'retry_ms='
		pg_up own
		wait_for 20 "[ \"\$(FLOW_DB=postgres pg_sql own 'select count(*) from t')\" = \"\$(pg_sql src 'select count(*) from t')\" ]"
	done
	end run
	FLOW_DB=postgres pg_sql own "drop table t; drop schema towline cascade"
}

case_readonly() {
	world readonly <<<''
	pg_sql src "create table t(id int primary key)"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1)"
	copied t
	pg_sql dst "alter database readonly set default_transaction_read_only = on;
		select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'towline' and datname = 'readonly'" >/dev/null
	pg_sql src "insert into t values (2)"
	says copy 'read-only transaction' retry_ms=
	pg_sql dst "set default_transaction_read_only = off; alter database readonly reset default_transaction_read_only"
	copied t
	end copy
	end producer
}

# Two on one sink: one applies, the other waits until that one is gone, however it went; every row is there once.
case_two() {
	world two <<<''
	pg_sql src "create table t(id int); alter table t replica identity full"
	produce
	tl one consumer -c "$CONF"
	says one msg=applying
	tl other consumer -c "$CONF"
	says other 'still applies to this sink' retry_ms=
	pg_sql src "insert into t select generate_series(1, 100)"
	copied t
	end one KILL
	pg_sql src "insert into t select generate_series(101, 200)"
	says other msg=applying
	copied t
	end other
	# The same with a SQLite file.
	sed -i "s,^  copy: .*,  copy: sqlite:$DIR/data/two.db," "$CONF"
	tl lite1 consumer -c "$CONF"
	says lite1 msg=applying
	tl lite2 consumer -c "$CONF"
	says lite2 'still applies to this sink' retry_ms=
	pg_sql src "insert into t select generate_series(201, 300)"
	wait_for 20 "[ \"\$(sqlite3 -cmd '.timeout 5000' $DIR/data/two.db 'select count(*) || count(distinct id) from t')\" = 300300 ]"
	end lite1 KILL
	pg_sql src "insert into t select generate_series(301, 400)"
	says lite2 msg=applying
	wait_for 20 "[ \"\$(sqlite3 -cmd '.timeout 5000' $DIR/data/two.db 'select count(*) || count(distinct id) from t')\" = 400400 ]"
	end lite2
	end producer
	[ ! -e "$DIR/data/two.db-towline.$PIPE" ] || flunk 'the lock was left behind'
}

# ---- rows that it refuses ----

# A row that is there already is put right; a CHECK of the sink's own, or another row's unique value, is not ours to break.
case_conflict() {
	world conflict <<<''
	pg_sql src "create table t(id int primary key, v text)"
	pg_sql dst "create table t(id int primary key, v text); insert into t values (1, 'somebody else')"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1, 'ours'), (2, 'two')"
	copied t
	end copy
	end producer
}

case_check() {
	world check < <(sinkline check 'on_error: stop')
	pg_sql src "create table t(id int primary key, v int); create table u(id int primary key)"
	pg_sql dst "create table t(id int primary key, v int check (v < 100)); create table u(id int primary key)"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1, 1)"
	copied t
	pg_sql src "begin; insert into u values (1); insert into t values (2, 2), (3, 300), (4, 4); insert into u values (2); commit"
	ends copy 1 'sink copy: ' 'violates check constraint "t_v_check"' 'correct the sink and start again, or set on_error: dead-letter'
	[ "$(rows)$(rows u)" = '(1,1)' ] || flunk "part of a refused transaction is there: $(rows)"
	sed -i 's/on_error: stop/on_error: dead-letter/' "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$(rows)\" = '(1,1) (2,2) (4,4)' ] && [ \"\$(rows u)\" = '(1) (2)' ]"
	says copy 'change parked in the dead letters'
	[ "$(deaths)" = 1 ] || flunk "dead letters: $(dead)"
	dead | grep -qF 'towline.sink=copy' && dead | grep -q 'towline.reason=.*violates check constraint "t_v_check"'
	dead | grep -qF "towline.topic=$PIPE.public.t"
	pg_sql src "insert into t values (5, 5)"
	wait_for 20 "[ \"\$(rows)\" = '(1,1) (2,2) (4,4) (5,5)' ]"
	end copy
	end producer
}

case_unique() {
	world unique < <(sinkline unique 'on_error: dead-letter')
	pg_sql src "create table t(id int primary key, v text)"
	pg_sql dst "create table t(id int primary key, v text unique); insert into t values (99, 'taken')"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1, 'one'), (2, 'taken'), (3, 'three')"
	wait_for 20 "[ \"\$(rows)\" = '(1,one) (3,three) (99,taken)' ]"
	dead | grep -q 'duplicate key value violates unique constraint "t_v_key"'
	end copy
	end producer
}

# SQLite likewise.
case_sqlite() {
	world sqlite <<<"sinks: { copy: { url: \"sqlite:$DIR/data/edge.db\", on_error: dead-letter } }"
	pg_sql src "create table t(id int primary key, v int)"
	sqlite3 "$DIR/data/edge.db" 'create table t(id integer primary key, v int check (v < 100))'
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1, 1), (2, 200), (3, 3)"
	wait_for 20 "[ \"\$(sqlite3 $DIR/data/edge.db 'select group_concat(id) from t')\" = 1,3 ]"
	dead | grep -q 'CHECK constraint failed'
	end copy
	world nodir <<<"sinks: { copy: \"sqlite:$DIR/data/nosuch/edge.db\" }"
	check 1 "$DIR/data/nosuch does not exist" "mkdir -p $DIR/data/nosuch"
	CASE=sqlite end producer
}

# ---- tables and columns ----

case_notable() {
	world notable < <(sinkline notable 'create_tables: false')
	pg_sql src "create table t(id int primary key)"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1)"
	ends copy 5 'table "public"."t" does not exist at the sink; create it, or set create_tables: true'
	pg_sql dst "create table t(id int primary key)"
	tl copy consumer -c "$CONF"
	copied t
	end copy
	end producer
}

case_columns() {
	world columns < <(sinkline columns 'on_schema_change: stop')
	pg_sql src "create table t(id int primary key)"
	produce
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1)"
	copied t
	pg_sql src "alter table t add column v text default 'x'; insert into t values (2, 'two')"
	ends copy 5 'table "public"."t" lacks column v at the sink; ALTER TABLE "public"."t" ADD COLUMN'
	[ "$(rows)" = '(1)' ]
	sed -i 's/on_schema_change: stop/on_schema_change: ignore/' "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$(rows)\" = '(1) (2)' ]"
	says copy 'a column is left out'
	end copy
	sed -i 's/on_schema_change: ignore/on_schema_change: apply/' "$CONF"
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (3, 'three')"
	wait_for 20 "[ \"\$(rows | grep -o '(3,.*)')\" = '(3,three)' ]"
	end copy
	end producer
}

# A login that may read but not write; the right comes while nobody looks.
case_rights() {
	pg_sql dst "create role reader login"
	world rights <<<"sinks: { copy: \"postgresql://reader@${DST#*@}\" }"
	sed -i 's,/postgres",/rights",' "$CONF"
	pg_sql src "create table t(id int primary key)"
	pg_sql dst "revoke create on schema public from public"
	produce
	tl copy consumer -c "$CONF"
	ends copy 1 'sink copy: create the marker: permission denied for database rights'
	grep -q 'let a superuser run GRANT CREATE ON DATABASE "rights" TO "reader"' "$DIR/$CASE.copy.log" || flunk "no way out: $(tail -1 "$DIR/$CASE.copy.log")"
	check 1 'GRANT CREATE ON DATABASE'
	# Made by a version that had fewer tables, and the right to make more was taken back: what to run is said, and it is enough.
	pg_sql dst "grant create on database rights to reader; grant create on schema public to reader"
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1)"
	copied t
	end copy
	pg_sql dst "drop table towline.names, towline.tables; alter schema towline owner to postgres; grant usage on schema towline to reader;
		revoke create on database rights from reader"
	check 1 'lacks towline.tables, towline.names'
	for i in 1 2; do
		tl copy consumer -c "$CONF"
		ends copy 1 'permission denied for schema towline'
		fix=$(tail -n 1 "$DIR/$CASE.copy.log" | sed 's/\\"/"/g' | sed -n 's/.*; or make it: \(.*TO "reader"\).*/\1/p')
		[ -n "$fix" ] || flunk "no way out: $(tail -1 "$DIR/$CASE.copy.log")"
		pg_sql dst "$fix"
	done
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (2)"
	copied t
	end copy
	end producer
}

cases unknown nodatabase down readonly two conflict check unique sqlite notable columns rights
