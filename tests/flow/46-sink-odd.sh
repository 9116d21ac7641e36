#!/bin/bash
# What can happen to a PostgreSQL sink besides rows.
# limit: 90
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka:
  brokers: $BROKERS
sinks:
  copy: $DST
E2
start() { towline_start "$1" "$1" -c "$DIR/conf.yaml"; }
rows() { wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from $1')\" = $2 ]"; }
pg_sql src "create table slow(id int primary key, v text); create table other(id int primary key);
	create table pad(code char(4) primary key, c char(2) default 'x', list char(3)[], v varchar(5))"
start producer
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
start consumer
pg_sql src "insert into slow values (0, 'first'); insert into other values (0)"
rows other 1

# kill -9 while the server is still at the last transaction, and the next one starts at once.
pg_sql dst "create function wait() returns trigger language plpgsql as 'begin perform pg_sleep(3); return new; end';
	create trigger wait before insert on slow for each row when (new.v = 'wait') execute function wait(); alter table slow enable always trigger wait"
pg_sql src "insert into slow values (1, 'wait')"
wait_for 10 "[ \"\$(pg_sql dst \"select count(*) from pg_stat_activity where wait_event = 'PgSleep'\")\" = 1 ]"
towline_kill consumer KILL
start consumer
pg_sql src "insert into other values (1)"
wait_for 10 "towline_alive consumer && [ \"\$(pg_sql dst 'select count(*) from other')\" = 2 ]"
grep -q 'still applies to this sink' "$DIR/consumer.log" || flunk "the killed one's transaction was not waited for"
same_pg src dst slow other
say "a killed consumer's last transaction was waited for"

# SIGTERM while the sink waits for somebody's lock.
pg_sql dst "begin; lock table other; select pg_sleep(60)" >"$DIR/lock.log" 2>&1 &
FLOW_PID[lock]=$!
wait_for 10 "[ \"\$(pg_sql dst \"select count(*) from pg_stat_activity where wait_event = 'PgSleep'\")\" = 1 ]"
pg_sql src "insert into other values (2)"
wait_for 10 "[ \"\$(pg_sql dst \"select count(*) from pg_stat_activity where wait_event_type = 'Lock'\")\" = 1 ]"
kill -s TERM "${FLOW_PID[consumer]}"
towline_wait consumer 10
[ "$STATUS" = 0 ] || flunk "asked to end while the sink was locked: exit $STATUS"
pg_sql dst "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'" >"$DIR/ended.log"
towline_wait lock 10
start consumer
rows other 3
say "asked to end while the sink was locked"

# char(n) stays char(n), so that its blanks do not count at the sink either.
pg_sql src "insert into pad values ('a', 'b', '{k,lm}', 'v '), ('bb  ', default, null, null); update pad set c = 'cc' where code = 'a'; delete from pad where code = 'none'"
rows pad 2
wait_for 10 "same_pg src dst pad"
[ "$(pg_sql dst "select string_agg(c || '|' || length(c), ' ' order by code) from pad where code in ('a', 'bb')")" = 'cc|2 x|1' ] ||
	flunk "char(n) at the sink: $(pg_sql dst 'select * from pad')"
types=$(pg_sql dst "select string_agg(format_type(atttypid, atttypmod), ' ' order by attnum) from pg_attribute where attrelid = 'pad'::regclass and attnum > 0")
[ "$types" = 'character(4) character(2) character(3)[] character varying(5)' ] || flunk "types at the sink: $types"
say "char(n) is char(n) at the sink"
