#!/bin/bash
# The sink's disk is full, for SQLite's file and for a tablespace of PostgreSQL: the consumer says so, waits, and goes on when there is room.
#   FULL=n   seconds without room (5)
# limit: 300
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "only root may mount a small tmpfs"

small() {
	mkdir "$DIR/data/$1"
	mount -t tmpfs -o "size=$2" tmpfs "$DIR/data/$1" 2>/dev/null || skip "no tmpfs can be mounted here"
}
trap 'status=$?; umount -l "$DIR/data/lite" "$DIR/data/space" 2>/dev/null; (exit $status); flow_end' EXIT
small lite 48m
small space 48m
chown postgres "$DIR/data/space"
BANK_EDGE=$DIR/data/lite/edge.db

pg_start_safe src SRC
pg_start_safe dst DST
kafka_start
pg_sql dst "create tablespace small location '$DIR/data/space'"
pg_sql dst "alter database postgres set default_tablespace = small"
bank_open
[ "$(pg_sql dst "select count(*) from pg_class c join pg_tablespace t on t.oid = c.reltablespace where spcname = 'small' and relname = 'ledger'")" = 1 ] ||
	flunk "the sink's tables are elsewhere"
bank_load 150
audit_for 2000

# fill DIR: to the last block, by what writes until it cannot.
fill() { dd if=/dev/zero of="$1/filler" bs=4096 2>/dev/null || true; }

# full SINK DIR: no room for some seconds. Killed once meanwhile, every other time.
full() {
	local sink=$1 dir=$2 kill=$3 before said tries
	before=$(grep -cE 'retry_ms=' "$DIR/$sink.log" || true)
	fill "$dir"
	# Something must grow for the lack of room to show.
	wait_for 40 "(( \$(grep -cE 'retry_ms=' $DIR/$sink.log || true) > $before ))"
	said=$(grep -E 'retry_ms=' "$DIR/$sink.log" | tail -n 1 | sed 's/.*msg=//')
	grep -qiE 'full|No space left' <<<"$said" || flunk "$sink does not say why it waits: $said"
	audit_for "$((${FULL:-5} * 1000))"
	tries=$(($(grep -cE 'retry_ms=' "$DIR/$sink.log" || true) - before))
	((tries <= 8)) || flunk "$sink tries $tries times in ${FULL:-5} s: it does not wait longer and longer"
	if [ "$kill" = kill ]; then
		slay "$sink"
		stage "$sink"
		audit_for 1000
	fi
	towline_alive "$sink" || flunk "$sink ended by itself: $(tail -n 1 "$DIR/$sink.log")"
	rm "$dir/filler"
	wait_for 40 "audit; look $sink; read -r _ _ _ _ _ seq <<<\"\$SEEN\"; (( seq >= $(pg_sql src "select count(*) + 4 from ledger") ))"
	say "$sink: $said; $tries tries, on again"
}
for kill in no kill no; do
	full edge "$DIR/data/lite" "$kill"
	full copy "$DIR/data/space" "$kill"
done
bank_close
