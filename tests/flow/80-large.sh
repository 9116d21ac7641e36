#!/bin/bash
# Rows larger than a record of Kafka may be: 0.9, 1.5 and 50 MB through a broker with default limits into PostgreSQL (whole transactions, and lanes)
# and SQLite, with kill -9 in the middle; each policy of source.on_large; a large row that a sink refuses, and retry; memory that is too small.
# limit: 400
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "$0")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start

# blob BYTES SALT: an expression for so many bytes that do not compress.
blob() { echo "(select substr(string_agg(decode(md5('$2-' || i), 'hex'), ''::bytea), 1, $1) from generate_series(1, $1 / 16 + 1) i)"; }
digest="select id, length(data), md5(data), note from big order by id"
left() { pg_sql src "$digest"; }
same() { diff <(left) <(FLOW_DB=${1:-$FLOW_DB} pg_sql dst "$digest"); }
lite_same() {
	local id
	diff <(pg_sql src 'select id, length(data), note from big order by id') \
		<(sqlite3 -separator '|' "$DIR/data/$CASE.db" 'select id, length(data), note from big order by id') || return 1
	for id in $(pg_sql src 'select id from big'); do
		[ "$(pg_sql src "select md5(data) from big where id = $id")" = \
			"$(sqlite3 "$DIR/data/$CASE.db" "select writefile('$DIR/data/blob', data) from big where id = $id" >/dev/null && md5sum <"$DIR/data/blob" | cut -d' ' -f1)" ] || return 1
	done
}
table() { pg_sql "$1" "create table big(id int primary key, data bytea, note text); alter table big alter data set storage external"; }
rss() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$CASE.$1]}/status"; }
# The topic of the table holds more than N records: something of the row is on its way.
grown() { [ "$(kcat -b "$BROKERS" -Q -t "$PIPE.public.big:0:-1" 2>/dev/null | sed 's/.*: *//;q' | grep -o '[0-9]*$')" -gt "$1" ]; }

# ---- chunk: the default ----

pg_sql dst 'create database lanes'
world chunk <<E2
memory: 256MB
sinks:
  copy: ${DST%/*}/chunk
  edge: sqlite:$DIR/data/chunk.db
  lanes: { url: "${DST%/*}/lanes", apply: key, lanes: 2 }
E2
table src
tl producer producer -c "$CONF"
says producer msg=streaming
for s in copy edge lanes; do tl $s consumer -c "$CONF" $s; done
pg_sql src "insert into big values (1, $(blob 900000 a), 'below'), (2, $(blob 1500000 b), 'above'), (3, '', 'small')"
pg_sql src "insert into big values (4, $(blob 50000000 c), 'fifty')"
wait_for 60 same
wait_for 60 'same lanes'
wait_for 60 lite_same
say "0.9, 1.5, 50 MB: equal; peak RSS: producer $(rss producer) MB, PostgreSQL $(rss copy) MB, lanes $(rss lanes) MB, SQLite $(rss edge) MB"
for s in producer copy lanes edge; do
	[ "$(rss $s)" -le 256 ] || [ "${MODE:-debug}" = asan ] || flunk "$s used $(rss $s) MB"
done

# A new key, deletes; with small rows around.
pg_sql src "begin; update big set data = $(blob 2500000 d) where id = 2; insert into big values (5, 'x', 'x'); update big set id = 20 where id = 1; update big set id = 40, note = 'moved' where id = 4; commit"
pg_sql src "delete from big where id = 3"
wait_for 60 same
wait_for 60 'same lanes'
wait_for 60 lite_same

# tail joins as well.
seen=$("$TOWLINE" tail -c "$CONF" big --from beginning --no-follow --json | wc -L)
[ "$seen" -gt 50000000 ] || flunk "the longest line of tail has $seen bytes"

# kill -9 in the middle of rows: of the writer while it sends one, then of the readers while they read one.
tops=$(kcat -b "$BROKERS" -Q -t "$PIPE.public.big:0:-1" | grep -o '[0-9]*$')
pg_sql src "begin; insert into big select 100 + i, (select data from big where id = 40) || int4send(i), 'killed' from generate_series(1, 3) i; commit"
wait_for 30 "grown $tops"
end producer KILL
tl producer producer -c "$CONF"
for s in copy edge lanes; do
	until=$((${EPOCHREALTIME/./} + (RANDOM % 500) * 1000))
	while ((${EPOCHREALTIME/./} < until)); do :; done
	end $s KILL
	tl $s consumer -c "$CONF" $s
done
wait_for 90 same
wait_for 90 'same lanes'
wait_for 90 lite_same
say "kill -9 in the middle: equal; peak RSS since: producer $(rss producer) MB, PostgreSQL $(rss copy) MB, SQLite $(rss edge) MB"
pg_sql src "insert into big values (200, 'x', 'the end')"
wait_for 30 same
for s in producer copy edge lanes; do end $s; done

# ---- the old row and the new one in one record; a text of the header alone that is larger than a record ----

world exact <<<''
pg_sql src "create table doc(id int primary key, t text, a int[]); alter table doc replica identity full"
tl run run -c "$CONF"
streams run
pg_sql src "insert into doc values (1, repeat('text ', 180000), null), (2, 'two', (select array_agg(array[i, i + 1]) from generate_series(1, 200000) i))"
docs() { diff <(pg_sql src 'select id, md5(t), md5(a::text) from doc order by 1') <(pg_sql dst 'select id, md5(t), md5(a::text) from doc order by 1'); }
wait_for 30 docs
pg_sql src "update doc set t = t || 'more', a = array[[1, 2], [3, 4]]"
wait_for 30 docs
pg_sql src "update doc set id = 10 where id = 1; delete from doc where id = 2"
wait_for 30 docs
end run

# ---- a sink that refuses a large row: its chunks are set aside, shown, and tried again ----

world refused <<E2
sinks:
  copy: { url: "${DST%/*}/refused", on_error: dead-letter }
E2
table src
table dst
pg_sql dst "alter table big add constraint short check (length(data) < 1000000)"
tl run run -c "$CONF"
streams run
pg_sql src "insert into big values (1, $(blob 1500000 a), 'refused'), (2, 'x', 'taken')"
wait_for 30 "[ \"\$(pg_sql dst 'select note from big')\" = taken ]"
says run 'parked in the dead letters'
"$TOWLINE" dlq ls -c "$CONF" copy >"$DIR/ls.out" 2>&1 || flunk "$(cat "$DIR/ls.out")"
end run
pg_sql dst "alter table big drop constraint short"
"$TOWLINE" dlq retry -c "$CONF" copy --all >"$DIR/retry.out" 2>&1 || flunk "dlq retry: $(cat "$DIR/retry.out")"
same || flunk "not equal after dlq retry: $(cat "$DIR/retry.out")"

# ---- memory ----

world memory <<<'memory: 8MB'
table src
tl producer producer -c "$CONF"
says producer msg=streaming
pg_sql src "insert into big values (1, $(blob 9000000 a), 'nine')"
tl copy consumer -c "$CONF" copy
ends copy 1 'more than memory: 8192kB; set memory to twice the row'
tl again consumer -c "$CONF" --set memory=32MB copy
wait_for 30 same
end again
end producer

# ---- dead-letter ----

world aside <<<'source: { on_large: dead-letter }'
sed -i "s,^source:.*,source: { url: \"$SRCDB\"\, on_large: dead-letter }," "$CONF"
table src
tl run run -c "$CONF"
streams run
pg_sql src "insert into big values (7, $(blob 1500000 a), 'large'), (8, 'x', 'small'), (9, 'y', 'grows')"
pg_sql src "update big set id = 10, data = $(blob 1500000 b) where id = 9"
pg_sql src "insert into big values (11, 'z', 'last')"
wait_for 30 "[ \"\$(pg_sql dst 'select string_agg(note, \$\$ \$\$ order by id) from big')\" = 'small last' ]"
says run 'row set aside in the dead-letter topic' 'table public.big'
[ "$(kcat -b "$BROKERS" -C -e -q -t "$PIPE.towline.deadletter" -f '%h\n' | grep -c 'towline.reason=a row of .* bytes is larger than message.max.bytes')" = 2 ] ||
	flunk "the dead-letter topic: $(kcat -b "$BROKERS" -C -e -q -t "$PIPE.towline.deadletter" -f '%k %h\n')"
end run

# ---- stop ----

world stop <<<''
sed -i "s,^source:.*,source: { url: \"$SRCDB\"\, on_large: stop }," "$CONF"
table src
tl run run -c "$CONF"
streams run
pg_sql src "insert into big values (1, 'x', 'small')"
wait_for 30 same
pg_sql src "insert into big values (2, $(blob 1500000 a), 'large')"
ends run 1 'table public.big: a row of' 'set source.on_large to chunk or dead-letter'
tl again run -c "$CONF" --set source.on_large=chunk
wait_for 30 same
end again

# ---- the embedded broker holds what fits into its memory ----

world embedded <<<'kafka: embedded'
table src
tl run run -c "$CONF"
streams run
pg_sql src "insert into big values (1, $(blob 1400000 a), 'fits')"
wait_for 30 same
pg_sql src "insert into big values (2, $(blob 5000000 a), 'does not')"
ends run 1 'does not fit into the embedded broker'
