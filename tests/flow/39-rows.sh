#!/bin/bash
# Conditions on rows: rows come and go at the sinks as they come to meet them or no longer do; what could hurt the application is refused.
# limit: 120
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST
kafka_start
conf() {
	cat >"$DIR/conf.yaml" <<E2
name: $NAME
source: $SRC
tables: [public.*]
kafka: { brokers: $BROKERS, partitions: 2 }
rows: { public.orders: "$1", public.k*: id < 100 }
columns: { exclude: [public.orders.secret] }
sinks: { copy: $DST, edge: 'sqlite:$DIR/data/edge.db' }
E2
}
refused() { # WORDS: a run says so and ends with 3
	towline_start bad run -c "$DIR/conf.yaml"
	towline_wait bad 30
	[ "$STATUS" = 3 ] && grep -qF -- "$1" "$DIR/bad.log" || flunk "status $STATUS, no '$1': $(tail -n 3 "$DIR/bad.log")"
}
checked() { # WORDS
	"$TOWLINE" check -c "$DIR/conf.yaml" >"$DIR/check.log" 2>&1 || true
	grep -qF -- "$1" "$DIR/check.log" || flunk "check does not say '$1': $(cat "$DIR/check.log")"
}
equal() { [ "$(pg_sql src "select id, region, v, md5(big) from orders where $1 order by 1")" = "$(pg_sql dst 'select id, region, v, md5(big) from orders order by 1')" ]; }
lite_equal() { [ "$(pg_sql src "select string_agg(id || region, ' ' order by id) from orders where $1")" = "$(sqlite3 "$DIR/data/edge.db" "select group_concat(id || region, ' ') from (select * from orders order by id)")" ]; }

pg_sql src "create table orders(id int primary key, region text, v int, big text, secret text); alter table orders alter big set storage external;
	create table k1(id int primary key, v int); create table plain(id int primary key)"
if [ "$(pg_major src)" -lt 15 ]; then
	conf "region in ('eu', 'us')"
	refused 'PostgreSQL before 15 does not filter rows'
	checked 'PostgreSQL before 15 does not filter rows'
	exit 0
fi

# Under the key as the replica identity PostgreSQL would refuse updates of the application: nothing is changed.
conf "region in ('eu', 'us')"
refused 'looks at region, which its replica identity has not'
pg_sql src "insert into orders values (1, 'eu', 1, 'x', 's'); update orders set v = 2; delete from orders"
conf 'id < 50'
refused "would not send large values (region, big, secret)"
conf 'regoin = 1'
refused 'column "regoin" does not exist'
conf 'id = 1); drop table plain; select (1'
refused 'cannot insert multiple commands'
pg_sql src 'alter table orders replica identity full'

conf "region in ('eu', 'us')"
pg_sql src "insert into orders values (100, 'eu', 1, 'x', 's'), (101, 'jp', 1, 'x', 's'); insert into k1 values (60, 0), (999, 0)" # of these, what is copied
checked '3 in the configuration, the source has them'
towline_start run run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run.log"
pg_sql src "insert into orders select i, (array['eu', 'us', 'jp'])[i % 3 + 1], i, repeat(i::text, 5000), 's' from generate_series(1, 30) i;
	insert into k1 select i * 30, i from generate_series(1, 5) i where i <> 2; insert into plain values (1);
	update orders set region = 'jp' where id = 3; update orders set region = 'eu' where id in (2, 5);  update orders set v = -v where id < 20;
	delete from orders where id in (6, 8); update k1 set id = 500 where id = 30; update k1 set id = 7 where id = 150"
wait_for 30 "equal \"region in ('eu', 'us')\""
wait_for 30 "lite_equal \"region in ('eu', 'us')\""
wait_for 30 "[ \"\$(pg_sql dst 'select string_agg(id::text, \$\$ \$\$ order by id) from k1')\" = '7 60 90' ]"
[ "$(pg_sql dst "select count(*) filter (where region = 'jp'), count(*) from orders")" = '0|21' ] || flunk "$(pg_sql dst 'select id, region from orders')"
kcat -b "$BROKERS" -C -t "$NAME.public.orders" -e -q >"$DIR/data/orders"
[ -s "$DIR/data/orders" ]
refute grep -aq jp "$DIR/data/orders" # not even on the way, but as what a row was
pg_sql src "create table k2(id int primary key); insert into k2 values (1), (200)"
wait_for 30 "grep -q 'msg=\"tables joined\"' $DIR/run.log"
pg_sql src "insert into k2 values (2), (201)"
wait_for 30 "[ \"\$(pg_sql dst 'select string_agg(id::text, \$\$ \$\$ order by id) from k2')\" = '1 2' ]"
pg_sql src 'truncate orders'
wait_for 30 "[ \"\$(pg_sql dst 'select count(*) from orders')\" = 0 ]"
towline_kill run TERM

# Another condition holds from the next start on; the same one, written otherwise, changes nothing.
oid() { pg_sql src "select max(r.oid) from pg_publication_rel r where r.prrelid = 'orders'::regclass"; }
before=$(oid)
conf "region  = ANY (array['eu','us'])"
towline_start run2 run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run2.log"
[ "$(oid)" = "$before" ] || flunk 'the filter was made anew'
towline_kill run2 TERM
conf "region = 'jp'"
checked 'is published with another condition'
towline_start run3 run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run3.log"
[ "$(oid)" != "$before" ] || flunk 'the filter is the old one'
pg_sql src "insert into orders values (1, 'eu', 1, 'x', 's'), (2, 'jp', 1, 'x', 's'); update orders set v = 2"
wait_for 30 "equal \"region = 'jp'\""
towline_kill run3 TERM

# Names that are wrong, and what stays in the publication.
sed -i 's/public.orders: /public.ordres: /; s/orders.secret/orders.sceret/' "$DIR/conf.yaml"
checked 'did you mean public.orders?'
checked 'table public.orders has no column sceret'
checked 'did you mean public.orders.secret?'
sed -i '/^rows/d; /^columns/d' "$DIR/conf.yaml"
towline_start run4 run -c "$DIR/conf.yaml"
wait_for 30 "grep -q 'msg=streaming' $DIR/run4.log"
grep -q 'has a row filter on this table, and the configuration (rows) has none.*orders' "$DIR/run4.log"
towline_kill run4 TERM
