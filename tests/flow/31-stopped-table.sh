#!/bin/bash
# A table that cannot be published as it is now (its schema is refused, its topic is another table's): it is stopped with its fix, all others go
# on; once it can be, the sinks are told to empty it and have every row again. Through kill -9 at each step.
# limit: 480
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start
registry_start_own
others=0

# compatibility TABLE RULE: what the registry asks of the next version of its values.
compatibility() {
	curl -fsS -X PUT -H 'Content-Type: application/json' -d "{\"compatibility\": \"$2\"}" "$REGISTRY/config/$PIPE.$1-value" >/dev/null
}

# refuse TABLE: whatever its next version is, the registry finds it incompatible with the newest one.
refuse() {
	compatibility "$1" NONE 2>"$DIR/compatibility.log" || true # there may be no such subject yet
	# Each time another one, as the registry would give an old one back.
	curl -fsS -X POST -H 'Content-Type: application/json' -d "{\"schema\": \"{\\\"type\\\": \\\"record\\\", \\\"name\\\": \\\"other$((++others))\\\", \\\"fields\\\": []}\"}" \
		"$REGISTRY/subjects/$PIPE.$1-value/versions" >/dev/null
	compatibility "$1" FULL
}

# stopped TABLE WORDS: snapshot ls says so of it, and why.
stopped() {
	"$TOWLINE" snapshot ls -c "$CONF" | grep -F "$1 " | grep -F stopped | grep -qF -- "$2"
}
is_stopped() { wait_for 30 "stopped $(printf '%q %q' "$1" "$2")"; }
comes_back() { wait_for 60 "! $TOWLINE snapshot ls -c $CONF | grep -q '^$1 .*stopped'"; }

# With a key: changes of all kinds while it is stopped, kill -9, and the columns at the sink are the old ones, renamed.
case_keyed() {
	world keyed <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v int, k text); create table u(id int primary key, v text)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t select i, i, 'k' || i from generate_series(1, 5000) i; insert into u values (1, 'one')"
	copied t u
	compatibility public.t BACKWARD
	pg_sql src "begin; alter table t alter v type text; update t set v = v || '!' where id <= 10; insert into u values (2, 'same transaction'); commit"
	is_stopped public.t "status 409"
	is_stopped public.t "set the subject's compatibility to NONE"
	says run 'a table is stopped, all others go on' 'table=public.t reason='
	copied u
	wait_for 10 "$TOWLINE stats -c $CONF | grep -q 'table public.t is stopped: registry'"
	# Of the old shape the sink has all, of the new one nothing.
	[ "$(pg_sql dst "select count(*), sum(v), min(k) from t")" = '5000|12502500|k1' ]
	pg_sql src "delete from t where id > 4000; update t set id = id + 10000 where id <= 100; alter table t rename k to kk"
	pg_sql src "insert into t values (1, 'anew', 'n'); insert into u values (3, 'others go on')"
	copied u
	end run KILL
	pg_sql src "insert into t values (2, 'while nobody ran', 'n'); insert into u values (4, 'here too')"
	tl run run -c "$CONF"
	copied u
	is_stopped public.t "status 409"
	[ "$(pg_sql dst "select count(*) from t")" = 5000 ]
	# It is tried again when it is asked for, and by itself.
	refute "$TOWLINE" snapshot add public.t -c "$CONF" >"$DIR/add.out" 2>&1
	grep -q 'the copy of public.t is stopped: .*409' "$DIR/add.out" || flunk "add: $(cat "$DIR/add.out")"
	[ "$(pg_sql dst "select count(*) from t")" = 5000 ]
	pg_sql dst "alter table t alter v type text"
	compatibility public.t NONE
	comes_back public.t
	copied t u
	wait_for 20 "! $TOWLINE stats -c $CONF | grep -q 'is stopped'"
	[ "$(pg_sql dst "select string_agg(attname, ' ' order by attnum) from pg_attribute where attrelid = 't'::regclass and attnum > 0 and not attisdropped")" = 'id v kk' ]
	pg_sql src "update t set v = 'after' where id = 1; delete from t where id = 10002; insert into t values (6, 'x', 'y')"
	copied t u
	end run
}

# The sink as a file, and one without key: equal rows stay as many as they are. The table comes back by another ALTER.
case_keyless() {
	world keyless <<-E
		schemas: $REGISTRY
		sinks: { copy: "${DST%/*}/keyless", file: "sqlite:$DIR/data/keyless.db" }
	E
	pg_sql src "create table t(a int, b text); alter table t replica identity full; create table u(id int primary key)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t select i % 3, 'x' from generate_series(1, 900) i; insert into u values (1)"
	copied t u
	compatibility public.t BACKWARD
	pg_sql src "alter table t alter a type text; update t set b = 'y' where a = '1'; insert into u values (2)"
	is_stopped public.t "status 409"
	copied u
	pg_sql src "delete from t where a = '2'; alter table t alter a type int using a::int"
	pg_sql src "insert into t values (7, 'seven'), (7, 'seven'); insert into u values (3)"
	comes_back public.t
	copied t u
	wait_for 20 "[ \"\$(sqlite3 $DIR/data/keyless.db 'select a, b, count(*) from t group by 1, 2 order by 1, 2')\" = \
		\"\$(pg_sql src 'select a, b, count(*) from t group by 1, 2 order by 1, 2')\" ]"
	pg_sql src "delete from t where a = 7 and ctid = (select min(ctid) from t where a = 7)"
	copied t u
	end run
}

# Before its first row: refused while it is copied, large enough that the copy is killed in the middle once it comes.
case_first() {
	world first <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id bigint primary key, v text, pad text); create table u(id int primary key)"
	refuse public.t
	pg_sql src "insert into t select i, 'v' || i, repeat('p', 100) from generate_series(1, 120000) i; insert into u values (1)"
	tl run run -c "$CONF"
	streams run
	is_stopped public.t "status 409"
	copied u
	pg_sql src "delete from t where id % 10 = 0; insert into u values (2)"
	copied u
	[ "$(pg_sql dst "select count(*) from pg_tables where tablename = 't'")" = 0 ]
	compatibility public.t NONE
	wait_for 60 "[ \"\$(pg_sql dst \"select count(*) from t\")\" -gt 0 ]"
	end run KILL
	pg_sql src "update t set v = 'later' where id < 1000; delete from t where id > 119000; insert into u values (3)"
	tl run run -c "$CONF"
	copied t u
	end run
}

# Two tables, one topic: the second one is stopped. Another configuration lets it come.
case_clash() {
	world clash <<<"schemas: $REGISTRY"
	pg_sql src 'create schema a; create schema "a.b"; create table a."b.c"(id int primary key); create table "a.b".c(id int primary key)'
	pg_sql src 'create table u(id int primary key)'
	pg_sql dst 'create schema a; create schema "a.b"'
	tl run run -c "$CONF"
	streams run
	pg_sql src 'insert into a."b.c" values (1); insert into "a.b".c values (2); insert into u values (3); delete from "a.b".c; insert into "a.b".c values (4)'
	is_stopped 'a\.b.c' 'tables a.b.c and a\.b.c both map to topic'
	is_stopped 'a\.b.c' 'tell them apart with kafka.topic'
	copied "'a.\"b.c\"'" u
	end run
	sed -i 's/^  partitions: 1/&\n  topic: "{name}.{schema}-{table}"/' "$CONF"
	tl run run -c "$CONF"
	copied "'\"a.b\".c'"
	pg_sql src 'insert into a."b.c" values (5); insert into "a.b".c values (6); insert into u values (7)'
	copied "'a.\"b.c\"'" u "'\"a.b\".c'"
	[ "$(pg_sql dst "select count(*) from pg_index where indrelid = '\"a.b\".c'::regclass and indisprimary")" = 1 ] || flunk "no key at the sink"
	end run
}

# Renamed while it is stopped: it is the same table, whose sinks have lost changes.
case_renamed() {
	world renamed <<<"schemas: $REGISTRY"
	pg_sql src "create table t(id int primary key, v int); create table u(id int primary key)"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t select i, i from generate_series(1, 50) i; insert into u values (1)"
	copied t u
	refuse public.t
	pg_sql src "alter table t add column w int; delete from t where id <= 10; insert into u values (2)"
	is_stopped public.t "status 409"
	copied u
	pg_sql src "alter table t rename to t2; insert into t2 values (51, 51, 51); insert into u values (3)"
	copied t2 u
	# Another table has its name by the time it is looked at.
	refuse public.t2
	pg_sql src "alter table t2 add column x int; delete from t2 where id <= 20; insert into u values (4)"
	is_stopped public.t2 "status 409"
	pg_sql src "begin; alter table t2 rename to a_old; create table t2(id int primary key, n int); commit"
	pg_sql src "insert into t2 values (1, 1); insert into a_old values (52, 52, 52, 52); insert into u values (5)"
	copied u a_old
	compatibility public.t2 NONE
	copied u a_old t2
	end run
}

# Two columns that are one name in Avro: told with both; renamed, the table comes.
case_names() {
	world names <<<"log: info"
	pg_sql src 'create table t(id int primary key, "a-b" int, "a_b" int); create table u(id int primary key)'
	tl run run -c "$CONF"
	streams run
	pg_sql src 'insert into t values (1, 2, 3); insert into u values (1)'
	is_stopped public.t 'a-b'
	copied u
	pg_sql src 'alter table t rename "a-b" to c; insert into t values (4, 5, 6); insert into u values (2)'
	copied t u
	end run
}

# Anything of it in any order, by a seed; in the end all is equal.
case_chaos() {
	local seed=${SEED:-$RANDOM} i n=0 t
	say "seed $seed"
	RANDOM=$seed
	world chaos <<-E
		schemas: $REGISTRY
		sinks: { copy: "${DST%/*}/chaos", file: "sqlite:$DIR/data/chaos.db" }
	E
	pg_sql src "create table t(id int primary key, v int); create table k(a int, b int); alter table k replica identity full;
		create table u(id int primary key); insert into u values (-1); insert into t select i, i from generate_series(1, 3000) i; insert into k select i % 7, i from generate_series(1, 3000) i"
	tl run run -c "$CONF"
	streams run
	copied t k u
	for i in $(seq 40); do
		t=$( ((RANDOM % 2)) && echo t || echo k)
		case $((RANDOM % 10)) in
		0 | 1) refuse "public.$t" ;;
		2) compatibility "public.$t" NONE ;;
		3 | 4) pg_sql src "alter table $t add column c$((++n)) int" ;;
		5) pg_sql src "begin; delete from t where id % 11 = $((RANDOM % 11)); insert into u values ($i);
			insert into t select i, i from generate_series($((10000 + i * 100)), $((10000 + i * 100 + RANDOM % 50))) i; commit" ;;
		6) pg_sql src "begin; delete from k where a = $((RANDOM % 7)) and b % 5 = 0; insert into k(a, b) select 1, 1 from generate_series(1, 20); commit" ;;
		7) pg_sql src "update t set id = id + 100000, v = v + 1 where id % 13 = $((RANDOM % 13)) and id < 100000" ;;
		8)
			end run KILL
			tl run run -c "$CONF"
			;;
		9) "$TOWLINE" snapshot add "public.$t" -c "$CONF" >>"$DIR/add.out" 2>&1 || true ;;
		esac
	done
	compatibility public.t NONE
	compatibility public.k NONE
	pg_sql src "insert into t(id, v) values (-1, 1); insert into k(a, b) values (-1, 1); insert into u values (0)" # by which the newest columns are told
	wait_for 90 "same_pg src dst u && same_set t && same_set k"
	towline_alive "$CASE.run" || flunk "the producer ended"
	for t in t k; do
		wait_for 20 "[ \"\$(sqlite3 $DIR/data/chaos.db 'select count(*), sum($([ $t = t ] && echo id || echo b)) from $t')\" = \
			\"\$(pg_sql src 'select count(*), sum($([ $t = t ] && echo id || echo b)) from $t')\" ]"
	done
	end run
}

# same_set TABLE: the same rows in the source's columns, whatever their order at the sink.
same_set() {
	local cols
	cols=$(pg_sql src "select string_agg(attname, ', ' order by attnum) from pg_attribute where attrelid = '$1'::regclass and attnum > 0")
	[ "$(digest_pg src "(select $cols from $1)")" = "$(digest_pg dst "(select $cols from $1)")" ]
}

lite() { sqlite3 -bail -cmd '.timeout 20000' "$@"; }

# A file as the source.
case_file() {
	local src=$DIR/data/file-src.db
	world file <<-E
		schemas: $REGISTRY
		source: "sqlite:$src"
	E
	lite "$src" "pragma journal_mode = wal; create table t(id integer primary key, v int); create table u(id integer primary key, v text)" >/dev/null
	"$TOWLINE" source install "$src" >/dev/null
	tl run run -c "$CONF"
	streams run
	lite "$src" "insert into t values (1, 1), (2, 2), (3, 3); insert into u values (1, 'one')"
	wait_for 20 "[ \"\$(pg_sql dst 'select count(*) from main.t')\" = 3 ]"
	refuse main.t
	lite "$src" "alter table t add column w blob; update t set w = x'01' where id = 1; delete from t where id = 2; insert into u values (2, 'two')"
	is_stopped main.t "status 409"
	wait_for 20 "[ \"\$(pg_sql dst 'select count(*) from main.u')\" = 2 ]"
	[ "$(pg_sql dst 'select sum(v) from main.t')" = 4 ] # the triggers were those of the old shape yet
	end run KILL
	lite "$src" "insert into t values (9, 9, x'09'); insert into u values (3, 'three')"
	tl run run -c "$CONF"
	wait_for 20 "[ \"\$(pg_sql dst 'select count(*) from main.u')\" = 3 ]"
	is_stopped main.t "status 409"
	[ "$(pg_sql dst 'select sum(v) from main.t')" = 4 ]
	compatibility main.t NONE
	comes_back main.t
	wait_for 20 "[ \"\$(pg_sql dst \"select string_agg(id || ':' || coalesce(encode(w, 'hex'), ''), ' ' order by id) from main.t\")\" = '1:01 3: 9:09' ]"
	lite "$src" "delete from t where id = 3; insert into t values (4, 4, x'04')"
	wait_for 20 "[ \"\$(pg_sql dst \"select string_agg(id || ':' || coalesce(encode(w, 'hex'), ''), ' ' order by id) from main.t\")\" = '1:01 4:04 9:09' ]"
	# Under another name it is the same table.
	refuse main.t
	lite "$src" "alter table t add column x int; insert into u values (4, 'four')"
	lite "$src" "insert into t values (5, 5, x'05', 5)"
	is_stopped main.t "status 409"
	lite "$src" "delete from t where id = 1; alter table t rename to t2; delete from t2 where id = 4; insert into u values (5, 'five')"
	lite "$src" "insert into t2 values (6, 6, x'06', 6)"
	wait_for 30 "[ \"\$(pg_sql dst \"select string_agg(id || ':' || coalesce(encode(w, 'hex'), ''), ' ' order by id) from main.t2\")\" = '5:05 6:06 9:09' ]"
	wait_for 20 "[ \"\$(pg_sql dst 'select count(*) from main.u')\" = 5 ]"
	end run
}

cases keyed keyless first clash renamed names chaos file
