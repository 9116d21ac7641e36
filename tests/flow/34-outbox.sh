#!/bin/bash
# An outbox: rows inserted are events in the topics of their aggregates, in order for each key, before sinks see the transaction; none is lost when the
# producer is killed, and read_committed readers see each once.
# limit: 120
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
conf() { # OPTIONS
	cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
kafka: { brokers: $BROKERS, partitions: 3, transactions: on }
outbox: { tables: [public.outbox], topic: 'event.$NAME.{route}', headers: [type=eventType, n]$1 }
sinks: { copy: $DST }
E2
}
conf ''
pg_sql src "create table orders(id int primary key, v int); create table quiet(id int primary key, v int);
	create table outbox(id uuid primary key, aggregatetype text, aggregateid text, type text, payload jsonb, n int)"
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1
grep -q '1 in the configuration, the source has them' "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run.log"
events() { kcat -b "$BROKERS" -C -t "event.$NAME.$1" -X isolation.level=read_committed -e -q "${@:2}"; }
id() { printf '00000000-0000-0000-0000-%012d' "$1"; }

pg_sql src "begin; insert into orders values (1, 1); insert into outbox values ('$(id 1)', 'order', '1', 'Placed', '{\"id\": 1, \"ü\": null}', 5);
	delete from outbox; commit; begin; insert into outbox values ('$(id 2)', 'order', '1', 'Paid', null, null);
	insert into outbox values ('$(id 3)', 'Bad name/ü', 'c', null, '[]', 7); update outbox set n = 9; truncate outbox; insert into orders values (2, 1); commit"
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from orders')\" = 2 ]" # and then they are there: the group waited for them

[ "$(events order -f '%k|%s|%h|%S\n')" = '1|{"id": 1, "ü": null}|id='"$(id 1)"',eventType=Placed,n=5|21'$'\n''1||id='"$(id 2)"',eventType=Paid,n=NULL|-1' ] ||
	flunk "$(events order -f '%k|%s|%h|%S\n')"
[ "$(events Bad_name__ -f '%k|%s|%h\n')" = "c|[]|id=$(id 3),eventType=NULL,n=7" ] || flunk "$(events Bad_name__ -f '%k|%s|%h\n')"
[ "$(pg_sql dst "select to_regclass('outbox') is null")" = t ]
[ "$(grep -c 'updates of an outbox are no events' "$DIR/run.log")" = 1 ]

# A row that names no topic, or none that can be, is set aside with its reason, and everything else goes on; no key, no payload: a record without.
pg_sql src "begin; insert into outbox values ('$(id 11)', null, 'k', 'Lost', '{\"id\": 11}', 1), ('$(id 12)', null, null, 'Lost', null, 2),
	('$(id 13)', 'bare', null, 'T', null, null); insert into orders values (3, 1); commit"
wait_for 30 'same_pg src dst orders'
kcat -b "$BROKERS" -C -t "$NAME.towline.deadletter" -X isolation.level=read_committed -e -q -f '%k|%s|%h|%S\n' >"$DIR/aside.txt"
printf '%s\n' "k|{\"id\": 11}|id=$(id 11),eventType=Lost,n=1,towline.reason=the row names no topic, its column aggregatetype is NULL,towline.source=public.outbox|10" \
	"||id=$(id 12),eventType=Lost,n=2,towline.reason=the row names no topic, its column aggregatetype is NULL,towline.source=public.outbox|-1" |
	diff - "$DIR/aside.txt" || flunk "what is set aside is not that"
[ "$(grep -c 'events of an outbox were set aside' "$DIR/run.log")" = 2 ]
[ "$(events bare -f '%K|%S|%h\n')" = "-1|-1|id=$(id 13),eventType=T,n=NULL" ] || flunk "$(events bare -f '%K|%S|%h\n')"

# Killed, again and again, while events come; each event has its number in the order of its key.
for round in 1 2 3; do
	for i in 1 2 3 4 5; do
		pg_sql src "insert into outbox select gen_random_uuid(), 'kill', k::text, 't', to_jsonb($round * 100000 + $i * 1000 + i), 0
			from generate_series(1, 200) i, generate_series(1, 3) k; insert into orders values ($round * 10 + $i, 0); delete from outbox"
	done
	wait_for 30 "[ \"\$(events kill | wc -l)\" -gt $(((round - 1) * 3000)) ]"
	towline_kill run KILL
	towline_start run run -c "$DIR/conf.yaml"
done
wait_for 60 'same_pg src dst orders'
events kill -f '%k %s %h\n' >"$DIR/kill.txt"
[ "$(wc -l <"$DIR/kill.txt")" = 9000 ] || flunk "$(wc -l <"$DIR/kill.txt") events of 9000"
[ "$(cut -d' ' -f3 "$DIR/kill.txt" | sort -u | wc -l)" = 9000 ]
for k in 1 2 3; do grep "^$k " "$DIR/kill.txt" | cut -d' ' -f2 | sort -nc || flunk "key $k is out of order"; done
towline_kill run TERM

# As Avro; a column that is not there; a row without a topic.
conf ', format: avro'
towline_start avro run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/avro.log"
pg_sql src "insert into outbox values ('$(id 4)', 'avro', 'k', 'T', '{}', 1); insert into orders values (1000, 1)"
wait_for 30 'same_pg src dst orders'
events avro -f '%k%s' | od -An -tx1 | tr -d ' \n' >"$DIR/avro.txt"
grep -Eq '^c301.{16}02026bc301.{16}02047b7d$' "$DIR/avro.txt" || flunk "$(cat "$DIR/avro.txt")"
kcat -b "$BROKERS" -C -t "$NAME.towline.schemas" -e -q -f '%s\n' | grep -q '^\["null",{.*"connect.name":"io.debezium.data.Json"}\]$'
towline_kill avro TERM
# Nor can a row name one of Towline's topics or Kafka's, or a table's, whether or not that has had a change in this run: it would stop the table.
conf ", topic: '{route}'"
sed -i "s/topic: 'event.$NAME.{route}', //" "$DIR/conf.yaml"
towline_start free run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/free.log"
pg_sql src "insert into orders values (1001, 1);
	insert into outbox select gen_random_uuid(), t, 'k', 'T', '{}', 1 from unnest(array['$NAME.towline.spine', '$NAME.public.orders', '', '$NAME.public.quiet',
		'other.towline.spine', '__consumer_offsets', '$NAME.message', '$NAME.public.later']) t;
	insert into orders values (1002, 1); insert into quiet values (1, 1)"
wait_for 30 'same_pg src dst orders quiet'
set_aside() { kcat -b "$BROKERS" -C -t "$NAME.towline.deadletter" -X isolation.level=read_committed -o 2 -e -q -f '%h\n' | sed 's/^id=[^,]*,//; s/,towline.source.*//'; }
set_aside >"$DIR/aside.txt"
for part in "topic $NAME.towline.spine is Towline's own" "topic $NAME.public.orders is that of public.orders" "Kafka takes no topic named ''" \
	"topic $NAME.public.quiet is that of public.quiet" "topic other.towline.spine is Towline's own" "topic __consumer_offsets: names" \
	"topic $NAME.message is Towline's own"; do
	grep -qF "$part" "$DIR/aside.txt" || flunk "not there: $part; $(cat "$DIR/aside.txt")"
done
[ "$(wc -l <"$DIR/aside.txt")" = 7 ]
# A table that comes after events have gone to what is its topic takes it over.
[ "$(kcat -b "$BROKERS" -C -t "$NAME.public.later" -X isolation.level=read_committed -e -q -f '%k %s\n')" = 'k {}' ]
pg_sql src "create table later(id int primary key, v int)"
wait_for 30 "grep -q 'tables joined' $DIR/free.log"
pg_sql src "insert into later values (1, 1); insert into outbox values ('$(id 28)', '$NAME.public.later', 'k', 'T', '{}', 1); insert into later values (2, 2)"
wait_for 30 'same_pg src dst later'
set_aside >"$DIR/aside.txt"
[ "$(tail -1 "$DIR/aside.txt")" = "eventType=T,n=1,towline.reason=topic $NAME.public.later is that of public.later" ] || flunk "$(tail -1 "$DIR/aside.txt")"
grep -q 'a topic had events of an outbox before what it is for came' "$DIR/free.log"
towline_kill free TERM
# By the groups of a regular expression; what does not match is set aside.
conf ", regex: '(?<kind>[a-z]+)/(\\d+)'"
sed -i "s/'event.$NAME.{route}'/'event.$NAME.{kind}.{2}'/" "$DIR/conf.yaml"
towline_start regex run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/regex.log"
pg_sql src "insert into outbox values ('$(id 31)', 'reg/17', 'k', 'T', '{}', 1), ('$(id 32)', 'reg/x', 'k', 'T', '{}', 1); insert into orders values (1003, 1)"
wait_for 30 'same_pg src dst orders'
wait_for 10 "[ \"\$(events reg.17 -f '%k %h')\" = 'k id=$(id 31),eventType=T,n=1' ]"
wait_for 10 "set_aside | tail -1 | grep -qF \"towline.reason=outbox.regex does not match 'reg/x'\""
towline_kill regex TERM
for bad in "{kind} is neither {route} nor a group of outbox.regex|, topic: 'x.{kind}'" "is no regular expression: missing|, regex: 'a(b'"; do
	conf "${bad#*|}"
	sed -i "s/topic: 'event.$NAME.{route}', \(.*topic\)/\1/" "$DIR/conf.yaml"
	"$TOWLINE" config check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1 && flunk "$bad" || [ $? = 3 ]
	grep -qF "${bad%|*}" "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
done
conf ', key: agregateid'
"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1 || true
grep -q 'did you mean public.outbox.aggregateid?' "$DIR/check.log" || flunk "$(cat "$DIR/check.log")"
pg_sql src "insert into outbox values ('$(id 5)', 'order', 'k', 'T', '{}', 1)"
towline_start bad run -c "$DIR/conf.yaml"
towline_wait bad 30
[ "$STATUS" = 3 ] && grep -q 'has no column agregateid; set outbox.key' "$DIR/bad.log" || flunk "$STATUS"
conf ''
towline_start on run -c "$DIR/conf.yaml"
wait_for 30 '[ "$(events order | wc -l)" = 3 ]'
