#!/bin/bash
# Every type of PostgreSQL with its hard values (types/types.txt), as a column and as a key: through Kafka into tables that the sink makes,
# into tables of the same types, and into SQLite, and each comes out as the text, and the bytes, that it was.
# limit: 420
. "$(dirname "$0")/lib.sh"
types=$ROOT/tests/flow/types

pg_start src SRC 'max_wal_size = 1GB'
pg_start dst DST
kafka_start
pg_sql dst 'create database same' >/dev/null
same() { FLOW_DB=same "$@"; }

extensions=
for e in postgis vector; do
	[ "$(pg_sql src "select count(*) from pg_available_extensions where name = '$e'")" = 0 ] || extensions+=" $e"
done
# shellcheck disable=SC2086
python3 "$types/make.py" "$types/types.txt" "${ONLY:-}" "$(pg_major src)" $extensions "$DIR/data" | while read -r line; do say "$line"; done
for db in postgres same; do
	name=src
	[ $db = postgres ] || name=dst
	FLOW_DB=$db pg_sql $name <"$types/prelude.sql"
	for e in $extensions; do FLOW_DB=$db pg_sql $name "create extension $e"; done
	FLOW_DB=$db pg_sql $name <"$DIR/data/tables.sql"
done

pg_sql src 'create table a.done(id int primary key)' # its row comes last

cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
tables: [a.*]
${FORMS:-}
kafka:
  brokers: $BROKERS
  partitions: 1
sinks:
  made: $DST
  same: ${DST%/*}/same
  lite: sqlite:$DIR/data/lite.db
E2
towline_start run run -c "$DIR/conf.yaml"
wait_for 60 "grep -q 'msg=streaming' $DIR/run.log"
pg_sql src <"$DIR/data/fill.sql" >/dev/null
pg_sql src "insert into a.done values (1)"
for db in postgres same; do wait_for 170 "[ \"\$(FLOW_DB=$db pg_sql dst 'select id from a.done')\" = 1 ]"; done
wait_for 120 "[ \"\$(sqlite3 $DIR/data/lite.db 'select id from a_done')\" = 1 ]"

dump() { FLOW_DB=$2 pg_sql "$1" <"$DIR/data/$3.sql" >"$DIR/data/$4"; }
bad=
differ() { diff "$DIR/data/$1" "$DIR/data/$2" >"$DIR/$2.diff.log" || { bad+=" $2"; say "$2: $(grep -c '^[<>]' "$DIR/$2.diff.log") lines differ"; cut -c1-200 "$DIR/$2.diff.log" | head -n 60; }; }
dump src postgres dump src.txt
dump dst postgres dump made.txt
dump dst same dump same.txt
dump src postgres sends src.sends
dump dst same sends same.sends
# A table that the sink makes has numeric for money, boolean for bit(1), and a blank for an hstore without a pair.
plain() { grep -aEv '^[tk][0-9]+\|(money|bit)\|' "$DIR/data/$1" | sed -E 's/^([tk][0-9]+\|hstore\|[-0-9]+\|) $/\1/' >"$DIR/data/$2"; }
plain src.txt src.plain
plain made.txt made.plain
differ src.plain made.plain
differ src.txt same.txt
differ src.sends same.sends
python3 "$types/lite.py" "$DIR/data/src.txt" "$DIR/data/lite.db" >"$DIR/lite.log" 2>&1 || { bad+=" SQLite"; head -n 40 "$DIR/lite.log"; }
for sink in made same; do
	"$TOWLINE" -c "$DIR/conf.yaml" verify $sink >"$DIR/$sink.verify.log" 2>&1 || { bad+=" verify of $sink"; grep -vE '  equal  ' "$DIR/$sink.verify.log" | head -n 40; }
done
say "$(wc -l <"$DIR/data/src.txt") values as text, $(wc -l <"$DIR/data/src.sends") as bytes, $(tail -n 1 "$DIR/lite.log")"
[ -z "$bad" ] || flunk "not the same:$bad"

# The semantic names that the schemas have, or have not.
schemas_with() { kcat -b "$BROKERS" -C -t "$NAME.towline.schemas" -e -q -f '%s\n' | grep -cF "$1" || true; }
forms() { local f; for f in "$@"; do [ "$(schemas_with "\"$f\"")" -gt 0 ] || flunk "no schema has $f"; done; }
no_forms() { local f; for f in "$@"; do [ "$(schemas_with "\"$f\"")" = 0 ] || flunk "a schema has $f"; done; }
if [ -z "${FORMS:-}${ONLY:-}" ]; then
	forms io.debezium.data.geometry.{Point,Line,Circle,Geometry}
	[ -z "$extensions" ] || forms io.debezium.data.geometry.Geography
fi
