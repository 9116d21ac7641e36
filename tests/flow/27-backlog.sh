#!/bin/bash
# A backlog in several tables, each in long runs, and in the spine: while one table's rows are awaited the queues of all others are full.
# limit: 200
. "$(dirname "$0")/lib.sh"

tables=6 rows=80000
pg_start src SRC
pg_start dst DST
kafka_start_own
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS }
memory: 40MB
sinks:
  copy: $DST
  edge: sqlite:$DIR/data/edge.db
  late: sqlite:$DIR/data/late.db
E2
for ((t = 0; t < tables; t++)); do
	pg_sql src "create table wide_$t(id int primary key, a text, b text)"
	names[t]=wide_$t
done
pg_sql src "create table done(id int primary key)"
towline_start producer producer -c "$DIR/conf.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
for ((k = 0; k < 2; k++)); do
	for t in "${names[@]}"; do
		pg_sql src "do \$\$ begin for i in 0..$((rows / 200 - 1)) loop
			insert into $t select $k * $rows / 2 + i * 100 + j, md5((i * 100 + j)::text) || md5((j + $k)::text) || md5((j * i)::text), (select string_agg(md5((j * 9 + n + i)::text), '') from generate_series(1, 4) n)
				from generate_series(0, 99) j;
			commit; end loop; end \$\$"
	done
done
pg_sql src "insert into done values (1)"
towline_start copy consumer -c "$DIR/conf.yaml" copy
wait_for 80 '[ "$(pg_sql dst "select count(*) from done")" = 1 ]'
wait_for 60 "same_pg src dst ${names[*]}"
towline_start edge consumer -c "$DIR/conf.yaml" edge
wait_for 60 '[ "$(sqlite3 -cmd ".timeout 9000" "$DIR/data/edge.db" "select count(*) from done")" = 1 ]'
[ "$(sqlite3 "$DIR/data/edge.db" "select count(*), sum(id), sum(length(a || b)) from wide_0")" = "$(pg_sql src "select count(*), sum(id), sum(length(a || b)) from wide_0")" ]

# A broker that hangs holds up no stop, wherever in the backlog.
late() { sqlite3 -cmd ".timeout 9000" "$DIR/data/late.db" "select $(printf '(select count(*) from %s) + ' "${names[@]}") 0"; }
settled() {
	local n
	n=$(late)
	[ "$n" != "$(cat "$DIR/data/late" 2>/dev/null)" ] || return 0
	echo "$n" >"$DIR/data/late"
	return 1
}
towline_start late consumer -c "$DIR/conf.yaml" late
wait_for 60 '[ "$(late)" -gt 1000 ]'
kill -s STOP "$(cat "$TOWLINE_KAFKA_RUN/kafka.pid")"
wait_for 60 'settled'
[ "$(late)" -lt $((tables * rows)) ]
towline_kill late
kill -s CONT "$(cat "$TOWLINE_KAFKA_RUN/kafka.pid")"
towline_start late consumer -c "$DIR/conf.yaml" late
wait_for 60 '[ "$(sqlite3 -cmd ".timeout 9000" "$DIR/data/late.db" "select count(*) from done")" = 1 ]'
[ "$(late)" = $((tables * rows)) ]
