#!/bin/bash
# The four pairs (PostgreSQL, SQLite) x (PostgreSQL, SQLite): the same statements at either source, the same rows at both sinks of each,
# though the producer is killed meanwhile, and a client in the middle of its transaction.
# limit: 240
. "$(dirname "$0")/lib.sh"

lite=$DIR/data/src.db
pg_start src SRC
pg_start one ONE
pg_start two TWO
kafka_start

# run KIND [SQL]: statements, or standard input, at the source of that kind.
run() {
	case $1 in
	pg) shift; pg_sql src "$@" ;;
	lite) sqlite3 -bail -cmd '.timeout 20000' "$lite" "${2:-$(cat)}" ;;
	esac
}
# blob KIND HEX: how its SQL writes one.
blob() { case $1 in pg) echo "'\\x$2'::bytea" ;; lite) echo "x'$2'" ;; esac; }

run pg <<'E2'
create table item(id bigint primary key, name text, qty bigint, price double precision, data bytea);
create table pair(a text, b bigint, v text, primary key (a, b));
create table line(at text, n bigint);
alter table line replica identity full;
E2
sqlite3 "$lite" 'pragma journal_mode = wal' >/dev/null
run lite <<'E2'
create table item(id integer primary key, name text, qty integer, price real, data blob);
create table pair(a text not null, b integer not null, v text, primary key (a, b)) without rowid;
create table line(at text, n integer);
E2
"$TOWLINE" source install "$lite" >"$DIR/install.log"

for kind in pg lite; do
	case $kind in pg) url=$SRC db=$ONE ;; lite) url=sqlite:$lite db=$TWO ;; esac
	cat >"$DIR/$kind.yaml" <<-E2
		name: $NAME$kind
		source: $url
		kafka: $BROKERS
		sinks:
		  db: { url: "$db", schema: public }
		  file: sqlite:$DIR/data/$kind-sink.db
	E2
	towline_start "$kind-producer" producer -c "$DIR/$kind.yaml"
	towline_start "$kind-db" consumer db -c "$DIR/$kind.yaml"
	towline_start "$kind-file" consumer file -c "$DIR/$kind.yaml"
done
for kind in pg lite; do wait_for 30 "grep -q 'msg=streaming' $DIR/$kind-producer.log"; done

# Rows in a form that both print alike.
pg_rows() {
	local columns=$3
	columns=${columns//data/encode(data, \'hex\')}
	pg_sql "$1" "select $columns from $2" | sort
}
lite_rows() {
	local columns=$3
	columns=${columns//data/lower(hex(data))}
	sqlite3 -readonly -cmd '.timeout 20000' -separator '|' -nullvalue '' "$1" "select $columns from $2" | sort
}
equal() { # KIND TABLE COLUMNS: of source and both sinks
	local want db
	case $1 in
	pg) want=$(pg_rows src "$2" "$3") db=one ;;
	lite) want=$(lite_rows "$lite" "$2" "$3") db=two ;;
	esac
	[ -n "$want" ] && [ "$want" = "$(pg_rows $db "$2" "$3")" ] && [ "$want" = "$(lite_rows "$DIR/data/$1-sink.db" "$2" "$3")" ]
}
all_equal() {
	equal "$1" item "id, name, qty, cast(price * 100 as bigint), data${2:-}" && equal "$1" pair 'a, b, v' && equal "$1" line 'at, n'
}

# ---- what a pipeline must carry, the same at either source ----
for kind in pg lite; do
	run $kind <<-E2
		insert into item with recursive g(i) as (select 1 union all select i + 1 from g where i < 500)
			select i, 'item ' || i, cast(i as bigint) * 1000000007, i * 0.25, $(blob $kind 00ff10) from g;
		update item set qty = 9223372036854775807, price = -0.5 where id = 1;
		update item set qty = -9223372036854775807 - 1 where id = 2;
		update item set name = null, qty = null, price = null, data = null where id = 3;
		update item set data = $(blob $kind ''), name = '' where id = 4;
		update item set price = price + 1 where id % 7 = 0;
		delete from item where id % 11 = 0;
		update item set id = id + 10000 where id % 13 = 0;
		begin;
		insert into item values (20000, 'a', 1, 1, null); delete from item where id = 20000; insert into item values (20000, 'b', 2, 2, null);
		commit;
		begin; insert into item values (30000, 'never', 1, 1, null); rollback;
		insert into item(id, name) values (20000, 'again') on conflict (id) do update set name = excluded.name || '!';
		insert into pair values ('x', 1, 'one'), ('x', 2, null), ('ünï ''q''', -3, 'three');
		update pair set a = 'z', b = b + 10 where v = 'one';
		update pair set v = 'two' where b = 2;
		insert into line values ('a', 1), ('a', 1), ('b', 2), (null, null), (null, null);
		update line set n = 3 where at = 'b';
		delete from line where at = 'b';
		delete from line where n is null;
		insert into line values ('c', null);
	E2
done
for kind in pg lite; do wait_for 60 "all_equal $kind"; done
say 'equal: inserts, updates, deletes, keys that change, NULLs, blobs'

# ---- a large transaction, in the middle of which the producer is killed ----
for kind in pg lite; do
	run $kind "begin; insert into item with recursive g(i) as (select 100000 union all select i + 1 from g where i < 160000)
		select i, 'bulk', i, 0.5, null from g; update pair set v = 'with the bulk'; delete from item where id between 100000 and 100999; commit"
	towline_kill $kind-producer KILL
	run $kind "update item set qty = qty + 1 where id between 3 and 100; insert into line values ('while it was dead', 1)"
	towline_start $kind-producer producer -c "$DIR/$kind.yaml"
done
for kind in pg lite; do wait_for 90 "all_equal $kind"; done
say 'equal: a large transaction, and kill -9 of the producer'

# ---- a client that is killed in its transaction has written nothing ----
for kind in pg lite; do
	case $kind in
	pg) client=("$PGBIN/psql" -X -q -h 127.0.0.1 -p "${FLOW_PG[src]}" -U postgres -d postgres) ;;
	lite) client=(sqlite3 "$lite") ;;
	esac
	mkfifo "$DIR/data/$kind.in"
	"${client[@]}" <"$DIR/data/$kind.in" >"$DIR/data/$kind.out" &
	pid=$!
	exec 7>"$DIR/data/$kind.in"
	echo "begin; insert into item values (777777, 'torn', 1, 1, null); delete from item where id = 5; select 'it is in' ;" >&7
	wait_for 20 "grep -q 'it is in' $DIR/data/$kind.out"
	kill -KILL $pid
	wait $pid 2>/dev/null || true
	exec 7>&-
	run $kind "insert into item values (777778, 'after it', 1, 1, null)"
done
for kind in pg lite; do
	wait_for 60 "all_equal $kind"
	[ "$(lite_rows "$DIR/data/$kind-sink.db" item id | grep -c '^77777')" = 1 ] || flunk "$kind: what was never committed has arrived"
done
say 'equal: a client killed in its transaction'

# ---- a column joins, and rows are written with it at once ----
for kind in pg lite; do
	run $kind "alter table item add column note text; insert into item(id, note) values (888888, 'noted'); update item set note = 'more' where id = 6"
	run $kind "alter table item add column state bigint default 7; insert into item(id) values (888889); update item set state = 8 where id = 7"
done
for kind in pg lite; do wait_for 60 "all_equal $kind ', note, state'"; done
say 'equal: columns that join'

# ---- an orderly end, and on ----
for kind in pg lite; do
	towline_kill $kind-producer TERM
	[ "$STATUS" = 0 ] || flunk "$kind: exit code $STATUS after SIGTERM"
	run $kind "delete from item where id > 150000 and id < 200000; insert into pair values ('last', 1, null)"
	towline_start $kind-producer producer -c "$DIR/$kind.yaml"
done
for kind in pg lite; do wait_for 60 "all_equal $kind ', note, state'"; done
refute grep -h 'level=error' "$DIR"/*.log
