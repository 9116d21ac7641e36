#!/bin/bash
# The servers that the other tests stand on: do they start, answer, stop and go on, and does the digest tell?
# limit: 180
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC2016
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pg_start one ONE "track_commit_timestamp = on"
pg_start two TWO
[[ $ONE == postgresql://postgres@127.0.0.1:*/postgres && $TWO != "$ONE" ]]
[ "$(pg_sql one 'show wal_level')" = logical ]
[ "$(pg_sql one 'show track_commit_timestamp')" = on ]

for p in one two; do
	pg_sql "$p" 'create table t (id int primary key, v text)'
done
same_pg one two t
pg_sql one "insert into t values (1, 'a'), (2, null), (3, e'x\ny')"
refute same_pg one two t
pg_sql two "insert into t values (3, e'x\ny'), (1, 'a'), (2, null)"
same_pg one two t
pg_sql two "update t set v = '' where id = 2"
refute same_pg one two t
[ "$(printf 'select 1;\nselect count(*) from t;' | pg_sql two)" = $'1\n3' ]
refute pg_sql two 'select 1/0' 2>/dev/null

pg_down two immediate
refute pg_sql two 'select 1' 2>/dev/null
pg_up two
wait_for 5 '[ "$(pg_sql two "select count(*) from t")" = 3 ]'

kafka_start_own
kafka stop
refute kafka status
kafka start
kafka reset
kafka_start
kafka status | grep -q "running on $BROKERS"
if command -v kcat >/dev/null; then
	printf 'k:v\n' | kcat -b "$BROKERS" -P -t "$NAME" -K : -X allow.auto.create.topics=true
	[ "$(kcat -b "$BROKERS" -C -t "$NAME" -e -q -K :)" = k:v ]
fi

registry_start
[ "$(curl -fsS "$REGISTRY/subjects")" = '[]' ]
