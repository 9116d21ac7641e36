#!/bin/bash
# Events of an outbox that are larger than a record of Kafka may be, by each policy of source.on_large: set aside in as many records as it takes, or
# with what is short, while the rest goes on; or the end, with the fix. On the embedded broker too.
# limit: 120
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "$0")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start

outbox() { # CASE ENVELOPE ON_LARGE LINE
	world "$1" <<-E
	source: { url: "${SRC%/*}/$1", on_large: $3 }
	outbox: { tables: [public.outbox], topic: 'event.$NAME$1.{route}', headers: [type, note]${2:+, envelope: [$2]} }
	${4:-}
	E
	pg_sql src "create table outbox(id int primary key, aggregatetype text, aggregateid text, type text, payload text, note text);
		create table orders(id int primary key)"
	tl run run -c "$CONF"
	streams run
}
# long BYTES SALT: an expression for so many bytes that do not compress.
long() { echo "(select substr(string_agg(md5('$2-' || i), ''), 1, $1) from generate_series(1, $1 / 32 + 1) i)"; }
# put ROWS ORDER: they are deleted at once, so that what is in Kafka is all there is of them; the rest of the transaction comes to the sink.
put() {
	pg_sql src "begin; insert into outbox values $1; delete from outbox; insert into orders values ($2); commit"
	wait_for 60 'same_pg src dst orders'
}
events() { kcat -b "$BROKERS" -C -e -q -t "event.$PIPE.order" -f '%k|%h|%S\n'; }
letters() { kcat -b "$BROKERS" -C -e -q -t "$PIPE.towline.deadletter" -f "$1"; }
aside() { letters '%h|%k|%S\n' | sed 's/towline.reason=.*,towline.source/towline.reason=,towline.source/' | cut -c1-300; }
# is ID NAME SQL: the values of its parts, joined, are what it was.
is() {
	[ "$(letters '%h\t%s\n' | grep -a "^id=$1,.*towline.part=$2 " | cut -f2 | tr -d '\n' | md5sum | cut -d' ' -f1)" = "$(pg_sql src "select md5($3)")" ] ||
		flunk "the parts of $2 of event $1 are not what it was: $(aside)"
}

# ---- chunk: the default ----

outbox chunk '' chunk
put "(1, 'order', 'k', 'T', $(long 2500000 a), 'n'), (2, 'order', 'k', 'T', 'short', 'n'), (3, 'order', $(long 1200000 b), 'T', 'p', 'n'),
	(5, null, 'k', 'T', $(long 950000 e), null), (6, 'order', 'k', 'T', $(long 900000 f), null)" 1
[ "$(events)" = $'k|id=2,type=T,note=n|5\nk|id=6,type=T,note=NULL|900000' ] || flunk "the events: $(events)"
h=id=1,type=T,note=n,towline.reason=,towline.source=public.outbox
aside | head -4 | sed -E 's/(payload .\/3\|k\|).*/\1/' | diff - <(printf '%s\n' "$h,towline.long=payload|k|-1" "$h,towline.part=payload "{1,2,3}"/3|k|") ||
	flunk 'event 1 is not set aside so'
is 1 payload "$(long 2500000 a)"
is 3 key "$(long 1200000 b)"
is 5 payload "$(long 950000 e)"
aside | grep -q '^id=3,type=T,note=n,.*towline.long=key||1$' || flunk "$(aside)"
letters '%h\n' | cut -c1-300 >"$DIR/reasons.txt"
grep -q '^id=1,.*towline.reason=an event of 25[0-9]* bytes is larger than message.max.bytes (1000000),' "$DIR/reasons.txt" &&
	grep -q '^id=5,.*towline.reason=the row names no topic' "$DIR/reasons.txt" || flunk "$(cat "$DIR/reasons.txt")"
# No sink waits for them.
"$TOWLINE" dlq ls -c "$CONF" copy >"$DIR/ls.out" 2>&1 || flunk "$(cat "$DIR/ls.out")"
refute grep -q outbox "$DIR/ls.out"
end run

# Headers, and the fields of an envelope: some 600 kB of each.
outbox headers type chunk
put "(4, 'order', 'k', $(long 600000 c), 'p', $(long 600000 d))" 1
is 4 'header type' "$(long 600000 c)"
is 4 'header note' "$(long 600000 d)"
is 4 'header towline.fields' "'{\"type\":\"' || $(long 600000 c) || '\"}'"
aside | grep -q '^id=4,towline.reason=,.*towline.long=header type, header note, header towline.fields|k|1$' || flunk "$(aside)"
end run

# ---- dead-letter: what is long is left out ----

outbox aside '' dead-letter
put "(1, 'order', 'k', 'T', $(long 2500000 a), 'n'), (2, 'order', 'k', 'T', 'short', $(long 1200000 b)), (3, null, 'k', 'T', $(long 950000 c), null)" 1
aside | diff - <(printf '%s,towline.reason=,towline.source=public.outbox%s\n' id=1,type=T,note=n ',towline.long=payload|k|-1' \
	id=2,type=T ',towline.long=header note|k|5' id=3,type=T,note=NULL '|k|950000') || flunk 'the events are not set aside so'
end run

# With a larger message.max.bytes: the topic of events is made to take what is sent, that of the dead letters has the brokers' limit. A header that
# is named as Towline's own is refused.
world raised <<-E
source: { url: "${SRC%/*}/raised", on_large: dead-letter }
outbox: { tables: [public.outbox], topic: 'event.${NAME}raised.{route}', headers: [note] }
kafka: { brokers: "$BROKERS", options: { message.max.bytes: 10000000 } }
E
pg_sql src "create table outbox(id int primary key, aggregatetype text, aggregateid text, payload text, note text);
	create table orders(id int primary key)"
tl run run -c "$CONF"
streams run
put "(1, null, 'k', $(long 5000000 a), 'n'), (2, 'order', 'k', $(long 3000000 b), null), (3, null, 'k', $(long 1000000 c), 'n')" 1
[ "$(events)" = 'k|id=2,note=NULL|3000000' ] || flunk "the events: $(events)"
aside | diff - <(printf 'id=%s,note=n,towline.reason=,towline.source=public.outbox%s\n' 1 ',towline.long=payload|k|-1' 3 ',towline.long=payload|k|-1') || flunk 'the events are not set aside so'
end run
"$TOWLINE" config check -c "$CONF" --set 'outbox.headers=[note=towline.reason]' >"$DIR/header.out" 2>&1 && flunk 'a header named towline.reason is taken'
grep -q "is a header of Towline's own" "$DIR/header.out" || flunk "$(cat "$DIR/header.out")"

# ---- stop ----

outbox stop '' stop
put "(1, 'order', 'k', 'T', 'short', null)" 1
pg_sql src "insert into outbox values (2, 'order', 'k', 'T', $(long 1200000 a), 'n'); insert into orders values (2)"
ends run 1 'table public.outbox: an event of 12' 'bytes is larger than message.max.bytes (1000000); set source.on_large to chunk or dead-letter, or raise'
tl again run -c "$CONF" --set source.on_large=chunk
wait_for 60 'same_pg src dst orders'
is 2 payload "$(long 1200000 a)"
end again

# ---- the embedded broker holds what fits into its memory ----

outbox embedded '' chunk 'kafka: embedded'
put "(1, 'order', 'k', 'T', $(long 1200000 a), 'n')" 1
says run 'events of an outbox were set aside'
pg_sql src "insert into outbox values (2, 'order', 'k', 'T', $(long 5000000 b), 'n')"
ends run 1 'does not fit into the embedded broker; use a real Kafka, or set source.on_large: dead-letter'

# ---- a value that has no text in its column's type, as SQLite lets it be, is left out: the rest of the event is set aside ----

db=$DIR/data/src.db PIPE=${NAME}lite
mkdir -p "$DIR/data"
sqlite3 "$db" 'pragma journal_mode = wal; create table outbox(id integer primary key, aggregatetype text, aggregateid text, payload text, n integer, note text);
	create table orders(id integer primary key)' >/dev/null
"$TOWLINE" source install "$db" >"$DIR/install.out" 2>&1 || flunk "$(cat "$DIR/install.out")"
printf '%s\n' "name: $PIPE" "source: sqlite:$db" "kafka: $BROKERS" "outbox: { tables: [main.outbox], topic: 'event.$PIPE.{route}', headers: [n, note] }" \
	"sinks: { file: 'sqlite:$DIR/data/dst.db' }" >"$DIR/lite.yaml"
towline_start lite run -c "$DIR/lite.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/lite.log"
sqlite3 -cmd '.timeout 20000' "$db" "begin; insert into outbox values (1, 'order', 'k', 'p', 'no number', 'n'), (2, 'order', 'k', 'p', 5, 'n'); insert into orders values (1); commit" >/dev/null
wait_for 30 '[ "$(sqlite3 "$DIR/data/dst.db" "select count(*) from orders" 2>/dev/null)" = 1 ]'
[ "$(events)" = 'k|id=2,n=5,note=n|1' ] || flunk "the events: $(events)"
letters '%k|%s|%h\n' >"$DIR/aside.txt"
grep -q '^k|p|id=1,note=n,towline.reason=a column of numbers of the SQLite source holds .*,towline.source=main.outbox$' "$DIR/aside.txt" || flunk "$(cat "$DIR/aside.txt")"
towline_kill lite TERM
