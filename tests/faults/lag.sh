#!/bin/bash
# A sink that is down while far more is written than fits into memory, then catches up; one transaction of a million rows. The release
# build stays below 100 MB all the time.
#   SIZE=small|full|huge   300 MB and 1 M rows, 2 GB and 5 M rows, 10 GB and 5 M rows; HWM_MAX=n megabytes (100)
# limit: 1800
if [ -z "${TOWLINE:-}" ] && [ -x "$(dirname "$0")/../../build/release/towline" ]; then
	TOWLINE=$(cd "$(dirname "$0")/../.." && pwd)/build/release/towline
fi
# shellcheck source-path=SCRIPTDIR source=../flow/lib.sh
. "$(dirname "$0")/../flow/lib.sh"
patience=900
case ${SIZE:-small} in
full) rows=4000000 huge=5000000 ;;
huge) rows=20000000 huge=5000000 patience=3600 ;;
*) rows=640000 huge=1000000 ;;
esac
tables=8

# A lag needs room for WAL on both sides; nothing here crashes, so the servers need not be safe.
pg_start src SRC 'max_wal_size = 4GB'
pg_start dst DST 'max_wal_size = 4GB'
kafka_start_own
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: $BROKERS
  options: { ${KAFKA_OPTIONS:-} }
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
E2
for ((t = 0; t < tables; t++)); do
	pg_sql src "create table wide_$t(id int primary key, a text, b text, n numeric(12, 2))"
	names[t]=wide_$t
done
pg_sql src "create table big(id int primary key, v text)"
towline_start producer producer -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
pg_sql src "insert into big values (0, 'first')"
for t in "${names[@]}"; do pg_sql src "insert into $t values (0, 'first')"; done
towline_start copy consumer -c "$DIR/conf.yaml" copy
towline_start edge consumer -c "$DIR/conf.yaml" edge
count() { pg_sql dst "select $(printf '(select count(*) from %s) + ' "${names[@]}") 0"; }
count_edge() { sqlite3 -cmd '.timeout 10000' "$DIR/data/edge.db" "select $(printf '(select count(*) from %s) + ' "${names[@]}") 0"; }
wait_for 60 '[ "$(count)" = '$tables' ] && [ "$(count_edge)" = '$tables' ]'

hwm() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/${FLOW_PID[$1]}/status"; }
judge() {
	local p m said=''
	for p in producer copy edge; do
		towline_alive "$p" || continue
		m=$(hwm "$p")
		said+="$p $m MB, "
		[ "$m" -le "${HWM_MAX:-100}" ] || BAD+="$p used $m MB ($1); "
	done
	say "$1: peak RSS ${said%, }"
}
BAD=''
seconds() { awk -v us=$((${EPOCHREALTIME/./} - $1)) 'BEGIN { printf "%.1f", us / 1e6 }'; }

# PostgreSQL away, and the consumer of SQLite as well.
pg_down dst
towline_kill edge
begun=${EPOCHREALTIME/./}
chunk=$((rows / tables / 10))
for ((k = 0; k < 10; k++)); do
	for ((t = 0; t < tables; t++)); do
		pg_sql src "do \$\$ begin for i in 0..$((chunk / 1000 - 1)) loop
			insert into wide_$t select $k * $chunk + i * 1000 + j, md5(j::text) || repeat('a', 200), (select string_agg(md5((j * 10 + n + i)::text), '') from generate_series(1, 8) n), j / 7.0 from generate_series(1, 1000) j;
			commit; end loop; end \$\$"
	done
done
lag=$(pg_sql src "select pg_size_pretty(sum(pg_total_relation_size(c.oid))) from pg_class c where relname like 'wide\__'")
pg_sql src "checkpoint"
end=$(pg_sql src "select pg_current_wal_lsn()")
wait_for $patience "[ \"\$(pg_sql src \"select confirmed_flush_lsn >= '$end' from pg_replication_slots\")\" = t ]"
say "$rows rows, $lag, in Kafka after $(seconds "$begun") s; the topics: $(du -sh "$DIR/data/kafka/data" | cut -f1)"
judge "lag, produced"
towline_alive copy || flunk "the consumer of the sink that is down ended: $(tail -n 1 "$DIR/copy.log")"
begun=${EPOCHREALTIME/./}
pg_up dst
wait_for $patience "[ \"\$(count)\" = $((rows + tables)) ]"
say "PostgreSQL caught up in $(seconds "$begun") s"
begun=${EPOCHREALTIME/./}
towline_start edge consumer -c "$DIR/conf.yaml" edge
wait_for $patience "[ \"\$(count_edge)\" = $((rows + tables)) ]"
say "SQLite caught up in $(seconds "$begun") s"
judge "lag, applied"

# One row that is larger than most fetches, too.
pg_sql src "update wide_0 set a = (select string_agg(md5(i::text), '') from generate_series(1, 25000) i) where id = 0"
begun=${EPOCHREALTIME/./}
pg_sql src "insert into big select i, md5(i::text) || repeat('b', 60) from generate_series(1, $huge) i"
say "a transaction of $huge rows written in $(seconds "$begun") s"
whole() {
	local n
	n=$(pg_sql dst "select count(*) from big")
	[ "$n" = 1 ] || [ "$n" = $((huge + 1)) ] || flunk "$n rows of the large transaction are to be seen"
	[ "$n" != 1 ]
}
wait_for $patience whole
say "at PostgreSQL after $(seconds "$begun") s"
wait_for $patience "[ \"\$(sqlite3 -cmd '.timeout 10000' $DIR/data/edge.db 'select count(*) from big')\" = $((huge + 1)) ]"
say "at SQLite after $(seconds "$begun") s"
judge "one large transaction"
# same_pg puts a table's rows into one text, and these may be more than the gigabyte that one can have: their hashes are added up.
digest() { pg_sql "$1" "select count(*) || ':' || sum(hashtextextended(t::text, 0)::numeric) from $2 t"; }
for t in "${names[@]}" big; do [ "$(digest src "$t")" = "$(digest dst "$t")" ] || flunk "PostgreSQL differs in $t"; done
lite_same() { [ "$(sqlite3 -separator '|' "$DIR/data/edge.db" "select count(*), sum(id), sum(length($2)) from $1")" = "$(pg_sql src "select count(*), sum(id), sum(length($2)) from $1")" ]; }
lite_same big v || flunk "SQLite differs in big"
for t in "${names[@]}"; do lite_same "$t" 'a || b' || flunk "SQLite differs in $t"; done
[ -z "$BAD" ] || flunk "${BAD%; }"
