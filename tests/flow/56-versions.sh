#!/bin/bash
# What only some versions of PostgreSQL have: generated columns that are sent and slots that time out (18), and what check says of each.
# limit: 120
. "$(dirname "$0")/lib.sh"

pg_start here HERE
PG_VERSION=14 pg_start old OLD
PG_VERSION=18 pg_start new NEW
kafka_start

conf() {
	mkdir -p "$DIR/data"
	printf '%s\n' "name: $NAME$1" "source: $2" "kafka: $BROKERS" 'sinks:' "  copy: $3" >"$DIR/$1.yaml"
}
check() { "$TOWLINE" check -c "$DIR/$1.yaml" >"$DIR/$1.check.log" 2>&1 || true; }
told() { grep -qF -- "$2" "$DIR/$1.check.log" || flunk "check $1 does not say '$2': $(cat "$DIR/$1.check.log")"; }
starts() {
	towline_start "$1" run -c "$DIR/$1.yaml"
	wait_for 30 "grep -q 'msg=streaming' $DIR/$1.log"
}

# 14 into 18. Generated columns are not sent, which check says, and the stream's log once; a sink that generates them has them.
conf up "$OLD" "$NEW"
pg_sql old "create table g(id int primary key, a int, twice int generated always as (a * 2) stored); create table plain(id int primary key, v text)"
pg_sql new "create table g(id int primary key, a int, twice int generated always as (a * 2) stored)"
check up
told up 'PostgreSQL 14.'
told up 'does not send generated columns before 18: twice will be missing'
starts up
pg_sql old "insert into g(id, a) values (1, 1), (2, null); update g set a = 5 where id = 1; insert into plain values (1, 'x')"
wait_for 30 'same_pg old new g plain'
wait_for 5 "grep -q 'does not send generated columns of this table.*columns=twice' $DIR/up.log"
towline_kill up TERM

# 18 into the machine's version. Stored ones are sent, virtual ones cannot be. Replica identity full with such a column works.
conf down "$NEW" "$HERE"
pg_sql new "drop table g, plain; create table s(id int primary key, a int, twice int generated always as (a * 2) stored);
	create table v(id int primary key, a int, twice int generated always as (a * 2) virtual);
	create table f(a int, twice int generated always as (a * 2) stored); alter table f replica identity full"
check down
told down 'PostgreSQL 18.'
told down 'does not send generated columns that are VIRTUAL: twice will be missing'
told down 'failover slot'
[ "$(grep -c 'does not send' "$DIR/down.check.log")" = 1 ] || flunk "more than one table is blamed: $(cat "$DIR/down.check.log")"
starts down
pg_sql new "insert into s(id, a) values (1, 1), (2, null); update s set a = 5 where id = 1; insert into v(id, a) values (1, 1);
	insert into f(a) values (1), (1), (2); update f set a = 9 where a = 2; delete from f where ctid = (select ctid from f where a = 1 limit 1)"
wait_for 30 'same_pg new here s f'
wait_for 30 "[ \"\$(pg_sql here 'select * from v')\" = '1|1' ]"
check down
told down 'has sync_replication_slots = on'
[ "$(pg_sql new "select failover from pg_replication_slots where slot_name = 'towline_${NAME}down'")" = t ] || flunk 'no failover slot'

# A publication that somebody made without them.
pg_sql new "alter publication towline_${NAME}down set (publish_generated_columns = none)"
check down
told down 'does not send generated columns of this publication: twice will be missing'
told down 'SET (publish_generated_columns = stored)'

# A slot that was idle for too long is lost, and why is said.
towline_kill down TERM
pg_sql new "alter system set idle_replication_slot_timeout = '1s'; select pg_reload_conf()" >/dev/null
wait_for 30 "pg_sql new checkpoint; [ \"\$(pg_sql new \"select invalidation_reason from pg_replication_slots where slot_name = 'towline_${NAME}down'\")\" = idle_timeout ]"
check down
told down 'was idle longer than idle_replication_slot_timeout'
told down 'a pipeline that is stopped for longer loses its slot'
towline_start down run -c "$DIR/down.yaml"
towline_wait down 30
[ "$STATUS" = 5 ] || flunk "exit code $STATUS, not 5"
grep -q 'was idle longer than idle_replication_slot_timeout, so changes are gone for good; raise it or set it to 0' "$DIR/down.log" || flunk 'the reason is not said'
