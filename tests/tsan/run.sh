#!/bin/bash
# The threads of `towline run` under ThreadSanitizer: a producer and two sinks in one process, on a real broker, with Kafka transactions and
# without, and on the embedded one.
# limit: 240
. "$(dirname "$0")/../flow/lib.sh"

# Its address space layout is one that TSan of gcc 12 does not know on newer kernels: no randomisation.
cat >"$DIR/towline" <<E2
#!/bin/sh
exec setarch -R "$ROOT/build/tsan/towline" "\$@"
E2
chmod +x "$DIR/towline"
TOWLINE=$DIR/towline
export TSAN_OPTIONS="suppressions=$ROOT/tests/tsan/suppressions history_size=4 exitcode=66"

pg_start src SRC
pg_start dst DST
kafka_start
pg_sql src "create table a(id int primary key, v text); create table b(id int primary key, n numeric)"
for kind in plain transactions embedded; do
	case $kind in
	plain) kafka=$BROKERS ;;
	transactions) kafka="{brokers: \"$BROKERS\", transactions: on}" ;;
	embedded) kafka=embedded ;;
	esac
	cat >"$DIR/conf.yaml" <<E2
name: ${NAME}_$kind
source: $SRC
kafka: $kafka
sinks:
  copy: {url: "$DST", schema: $kind}
  edge: sqlite:$DIR/data/$kind.db
E2
	pg_sql src "truncate a, b"
	rm -f "$DIR/run.log"
	towline_start run run -c "$DIR/conf.yaml"
	wait_for 60 "grep -q msg=streaming $DIR/run.log"
	for i in 1 2 3 4 5; do
		pg_sql src "insert into a select i, 'x' from generate_series($i * 10000, $i * 10000 + 3000) i; update a set v = 'y' where id % 10 = $i; insert into b values ($i, $i.5); delete from a where id % 7 = $i"
	done
	wait_for 60 "[ \"\$(pg_sql dst \"select count(*), sum(id) from $kind.a\")\" = \"\$(pg_sql src 'select count(*), sum(id) from a')\" ]"
	wait_for 60 "[ \"\$(sqlite3 $DIR/data/$kind.db 'select count(*), sum(id) from a')\" = \"\$(pg_sql src 'select count(*), sum(id) from a')\" ]"
	towline_kill run TERM
	[ "$STATUS" = 0 ] || flunk "exit code $STATUS"
done
