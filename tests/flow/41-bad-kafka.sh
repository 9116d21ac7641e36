#!/bin/bash
# Trouble with Kafka: topics that lost something end with 5 and a way out; a broker that is away is waited for.
# limit: 210
# shellcheck source-path=SCRIPTDIR source=pipe.sh
. "$(dirname "${BASH_SOURCE[0]}")/pipe.sh"

pg_start src SRC
pg_start dst DST
kafka_start

# begun: a pipeline with one row at the sink, its two halves in processes of their own.
begun() {
	pg_sql src "create table t(id int primary key, v text)"
	tl producer producer -c "$CONF"
	says producer msg=streaming
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t values (1, 'one')"
	copied t
}

# ---- topics ----

case_spine_deleted() {
	world spine_deleted <<<''
	begun
	end copy
	end producer
	topic_tool delete "$PIPE.towline.spine"
	tl producer producer -c "$CONF"
	ends producer 5 "slot towline_$PIPE exists but the topics of $PIPE are empty" "pg_drop_replication_slot('towline_$PIPE')"
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.towline.spine" 'the topic was truncated or made anew; copy the tables into this sink again'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
}

# Both are at work when it happens; or only a consumer that waits for news.
case_spine_vanishes() {
	world spine_vanishes <<<''
	begun
	topic_tool delete "$PIPE.towline.spine"
	pg_sql src "insert into t values (2, 'two')"
	ends copy 5 "$PIPE.towline.spine"
	ends producer 5
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
	world spine_idle <<<''
	begun
	end producer
	topic_tool delete "$PIPE.towline.spine"
	ends copy 5 "$PIPE.towline.spine [0] does not exist any more: was the topic deleted?"
}

case_spine_replaced() {
	world spine_replaced <<<''
	begun
	end copy
	end producer
	topic_tool replace "$PIPE.towline.spine" 0 2 00
	tl copy consumer -c "$CONF"
	ends copy 5 'is not the one this sink has applied' 'copy the tables into this sink again'
	tl producer producer -c "$CONF"
	ends producer 5 'something else writes into the spine topic'
}

case_spine_truncated() {
	world spine_truncated <<<''
	begun
	end copy
	end producer
	topic_tool truncate "$PIPE.towline.spine" 0 -1 >/dev/null
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.towline.spine" 'copy the tables into this sink again'
	tl producer producer -c "$CONF"
	ends producer 5 'the history before is gone: start anew under another name'
}

# Back to its first record, an OPEN: as if its first writer had died in its first moment, but for what it has said of itself.
case_spine_cut() {
	world spine_cut <<<''
	begun
	wait_for 20 "kcat -b $BROKERS -C -t $PIPE.towline.progress -e -q | grep -q '\"role\":\"producer\".*\"seq\":[1-9]'"
	"$TOWLINE" snapshot add t --wait -c "$CONF" >"$DIR/data/out" 2>&1 || flunk "$(cat "$DIR/data/out")"
	end copy
	end producer
	topic_tool cut "$PIPE.towline.spine" 1
	tl producer producer -c "$CONF"
	ends producer 5 "the spine of $PIPE has no transaction, but" "were published, by the topic $PIPE.towline.progress" 'use another name and copy the tables again'
	# That topic forgets after some days; what is known of copies does not.
	topic_tool delete "$PIPE.towline.progress"
	tl producer producer -c "$CONF"
	ends producer 5 "the spine of $PIPE has no group, but the copy of a table ends with group" "by the topic $PIPE.towline.control"
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.towline.spine" 'copy the tables into this sink again'
}

# Rows that the sink has not read: gone by DeleteRecords, or by a topic that was made anew.
case_rows_truncated() {
	world rows_truncated <<<''
	begun
	end copy
	pg_sql src "insert into t select i, 'more' from generate_series(2, 20) i"
	wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x)\" = xxxxxxxxxxxxxxxxxxxx ]"
	end producer
	topic_tool truncate "$PIPE.public.t" 0 10 >/dev/null
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.public.t [0]" 'copy the tables into this sink again'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ] || flunk "part of a transaction was applied"
}

case_rows_anew() {
	world rows_anew <<<'snapshot: never' # records are counted
	begun
	end copy
	pg_sql src "insert into t select i, 'more' from generate_series(2, 20) i"
	wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x)\" = xxxxxxxxxxxxxxxxxxxx ]"
	end producer
	topic_tool shift "$PIPE.public.t"
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.public.t [0]: of the 19 rows at offsets 1 to 19 that the spine promises 18 are there"
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ] || flunk "part of a transaction was applied"
	topic_tool delete "$PIPE.public.t"
	tl copy consumer -c "$CONF"
	ends copy 5 "$PIPE.public.t [0] does not exist any more: was the topic deleted?"
}

# ---- records that are not ours ----

offset_of_last() { kcat -b "$BROKERS" -C -t "$1" -p 0 -o -1 -e -q -f '%o'; }
dead() { kcat -b "$BROKERS" -C -t "$PIPE.towline.deadletter" -e -q -f '%h|%s\n' 2>/dev/null; }
# How many; not by lines, as the bytes of a header may be one's end.
deaths() { kcat -b "$BROKERS" -C -t "$PIPE.towline.deadletter" -e -q -f x 2>/dev/null | wc -c; }

# Between two groups, while the consumer reads on.
case_foreign() {
	local n
	world foreign <<<"sinks: { copy: { url: \"${DST%/*}/foreign\", on_error: stop } }"
	begun
	echo 'key:not ours' | kcat -b "$BROKERS" -P -t "$PIPE.public.t" -p 0 -K :
	n=$(offset_of_last "$PIPE.public.t")
	pg_sql src "insert into t values (2, 'two')"
	ends copy 1 "$PIPE.public.t [0] offset $n: the record has no header \"tl\": it was not written by towline" 'set on_error: dead-letter'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
	sed -i 's/on_error: stop/on_error: dead-letter/' "$CONF"
	tl copy consumer -c "$CONF"
	copied t
	echo 'key:not ours' | kcat -b "$BROKERS" -P -t "$PIPE.public.t" -p 0 -K :
	n=$(offset_of_last "$PIPE.public.t")
	pg_sql src "insert into t values (3, 'three')"
	copied t
	says copy 'change parked in the dead letters' 'it was not written by towline'
	dead | grep -qF "towline.topic=$PIPE.public.t,towline.partition=0,towline.offset=$n|not ours" || flunk "dead letters: $(dead)"
	dead | grep -qF 'towline.reason=the record has no header'
	[ "$(deaths)" = 2 ] || flunk "the record that stopped it was skipped after that: $(dead)"
	end copy
	end producer
}

# buried N: so many dead letters. (Of a topic that was just made, a reader may be told nothing at first.)
buried() { wait_for 10 "[ \$(deaths) -ge $1 ]" && [ "$(deaths)" = "$1" ] || flunk "dead letters: $(dead)"; }
not_ours() { echo "key:$1" | kcat -b "$BROKERS" -P -t "$PIPE.public.t" -p 0 -K :; }
in_topic() { wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x | wc -c)\" = $1 ]"; }
rows_lite() { sqlite3 "$DIR/$CASE.db" 'select count(*) from t' 2>/dev/null; }

# foreign_down CASE SINK ROWS: it lies before the first group, or between two while no consumer runs; ROWS prints how many rows the sink has.
foreign_down() {
	local n
	world "$1" <<<"sinks: { copy: { $2, on_error: stop } }"
	pg_sql src "create table t(id int primary key, v text)"
	not_ours first
	tl producer producer -c "$CONF"
	says producer msg=streaming
	pg_sql src "insert into t values (1, 'one')"
	tl copy consumer -c "$CONF"
	ends copy 1 "$PIPE.public.t [0] offset 0: the record has no header \"tl\": it was not written by towline"
	sed -i 's/on_error: stop/on_error: dead-letter/' "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$($3)\" = 1 ]"
	end copy
	buried 1
	sed -i 's/on_error: dead-letter/on_error: stop/' "$CONF"
	not_ours second
	n=$(offset_of_last "$PIPE.public.t")
	pg_sql src "insert into t values (2, 'two')"
	in_topic 4
	for ((i = 0; i < 2; i++)); do
		tl copy consumer -c "$CONF"
		ends copy 1 "$PIPE.public.t [0] offset $n: the record has no header \"tl\": it was not written by towline"
		[ "$(eval "$3")" = 1 ]
	done
	sed -i 's/on_error: stop/on_error: dead-letter/' "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$($3)\" = 2 ]"
	end copy
	buried 2
	# What retention cut away before anybody saw it is no group's; and nothing is met twice.
	not_ours third
	not_ours fourth
	pg_sql src "insert into t values (3, 'three')"
	in_topic 7
	topic_tool truncate "$PIPE.public.t" 0 5 >/dev/null
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$($3)\" = 3 ]"
	says copy "records that no group refers to were removed from Kafka before they were read" "topic=$PIPE.public.t partition=0 from=4 to=4"
	end copy
	buried 3
	# A partition that is added has a beginning too.
	topic_tool grow "$PIPE.public.t" 2
	echo 'key:not ours' | kcat -b "$BROKERS" -P -t "$PIPE.public.t" -p 1 -K :
	end producer
	tl producer producer -c "$CONF"
	says producer msg=streaming
	tl copy consumer -c "$CONF"
	pg_sql src "insert into t select i, 'many' from generate_series(4, 30) i"
	wait_for 20 "[ \"\$($3)\" = 30 ]"
	end copy
	buried 4
}

# As a sink of a version that kept no positions: it begins at the rows, as that one did, and keeps them from then on.
forget_positions() {
	not_ours unseen
	pg_sql src "insert into t select i, 'more' from generate_series(31, 40) i"
	in_topic 41
	pg_sql dst "delete from towline.position"
	tl copy consumer -c "$CONF"
	copied t
	end copy
	buried 4
	not_ours seen
	pg_sql src "insert into t select i, 'many' from generate_series(41, 60) i"
	in_topic 62
	tl copy consumer -c "$CONF"
	copied t
	end copy
	buried 5
}

case_foreign_down() {
	foreign_down foreign_down "url: \"${DST%/*}/foreign_down\"" "pg_sql dst 'select count(*) from t'"
	forget_positions
	end producer
	# The lanes that take over know of each partition what was known, and of those without a record nothing.
	sed -i 's/on_error: dead-letter/on_error: dead-letter, apply: key, lanes: 2/' "$CONF"
	tl producer producer -c "$CONF"
	says producer msg=streaming
	for id in 61 62; do
		tl copy consumer -c "$CONF"
		pg_sql src "insert into t values ($id, 'by lanes')"
		copied t
		end copy
		[ "$(pg_sql dst 'select count(*) from towline.position where next_offset < 0')" = 0 ] || flunk "$(pg_sql dst 'table towline.position')"
	done
	end producer
	buried 5
}

case_foreign_lite() {
	foreign_down foreign_lite "url: \"sqlite:$DIR/foreign_lite.db\"" rows_lite
	end producer
}

case_foreign_lanes() {
	foreign_down foreign_lanes "url: \"${DST%/*}/foreign_lanes\", apply: key, lanes: 2" "pg_sql dst 'select count(*) from t'"
	# A truncate is the work of one lane; the others read over what they have in it.
	pg_sql src "truncate t"
	end producer
	not_ours seen
	tl producer producer -c "$CONF"
	says producer msg=streaming
	pg_sql src "insert into t select i, 'again' from generate_series(1, 60) i; truncate t; insert into t select i, 'last' from generate_series(1, 20) i"
	tl copy consumer -c "$CONF"
	copied t
	end copy
	buried 5
	end producer
}

# A record of ours whose bytes were damaged: a body that breaks off, and a frame that is none.
case_corrupt() {
	world corrupt <<<"sinks: { copy: { url: \"${DST%/*}/corrupt\" } }"
	begun
	end copy
	pg_sql src "insert into t values (2, 'two'); insert into t values (3, 'three'); insert into t values (4, 'four')"
	wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x)\" = xxxx ]"
	end producer
	topic_tool replace "$PIPE.public.t" 0 1 00
	topic_tool replace "$PIPE.public.t" 0 2 "$(topic_tool first "$PIPE.public.t" 0 2 | sed 's/.* //')0002"
	tl copy consumer -c "$CONF"
	ends copy 1 "$PIPE.public.t [0] offset 1: the value of 1 bytes begins with neither a Confluent nor a single-object frame" 'set on_error: dead-letter'
	[ "$(pg_sql dst 'select count(*) from t')" = 1 ]
	sed -i 's/ } }$/, on_error: dead-letter } }/' "$CONF"
	tl copy consumer -c "$CONF"
	wait_for 20 "[ \"\$(pg_sql dst 'select array_agg(id order by id) from t')\" = '{1,4}' ]"
	[ "$(deaths)" = 2 ] || flunk "dead letters: $(dead)"
	tl producer producer -c "$CONF"
	pg_sql src "insert into t values (5, 'five')"
	wait_for 20 "[ \"\$(pg_sql dst 'select array_agg(id order by id) from t')\" = '{1,4,5}' ]"
	end copy
	end producer
}

# The topic of schemas is gone: rows that nobody can read are not skipped.
case_schemas_gone() {
	world schemas_gone <<<''
	begun
	end copy
	pg_sql src "insert into t values (2, 'two')"
	wait_for 20 "[ \"\$(kcat -b $BROKERS -C -t $PIPE.public.t -e -q -f x)\" = xx ]"
	end producer
	topic_tool delete "$PIPE.towline.schemas"
	tl copy consumer -c "$CONF"
	ends copy 1 "$PIPE.public.t [0] offset 1: " 'has no schema with fingerprint' 'was the topic deleted'
	# The producer puts them there again.
	tl producer producer -c "$CONF"
	pg_sql src "insert into t values (3, 'three')"
	says producer 'topic ready'
	tl copy consumer -c "$CONF"
	copied t
	end copy
	end producer
}

# ---- the broker ----

case_no_broker() {
	local port
	free_port port
	world no_broker <<<"kafka: 127.0.0.1:$port"
	pg_sql src "create table t(id int primary key)"
	check 4 'is Kafka up, and kafka.brokers right?'
	tl run run -c "$CONF"
	says run 'cannot reach Kafka; still trying; is it up, and kafka.brokers right?' "brokers=127.0.0.1:$port"
	says run "cannot reach Kafka at 127.0.0.1:$port" retry_ms=
	BROKERS='' untouched
	end run
}

case_options() {
	world options <<<"kafka: { brokers: \"$BROKERS\", options: { no.such.option: 1 } }"
	tl run run -c "$CONF"
	ends run 3 'kafka.options: No such configuration property: "no.such.option"'
	check 3 'No such configuration property'
	untouched
}

# An own broker, away under load and back: nothing is lost, nothing comes twice.
case_broker_away() {
	local i
	kafka_start_own
	world broker_away <<<''
	pg_sql src "create table t(id int primary key, v text); create table log(line int); alter table log replica identity full"
	tl run run -c "$CONF"
	streams run
	pg_sql src "insert into t select i, 'before' from generate_series(1, 1000) i; insert into log select generate_series(1, 1000)"
	copied t log
	for ((i = 0; i < 60; i++)); do echo "insert into log values ($i); update t set v = 'round $i' where id % 50 = $i % 50; select pg_sleep(0.05);"; done |
		pg_sql src >/dev/null &
	FLOW_PID[writer]=$!
	wait_for 20 "[ \"\$(pg_sql dst 'select count(*) from log')\" -gt 1003 ]"
	kafka stop
	says run 'kafka trouble'
	wait "${FLOW_PID[writer]}"
	unset 'FLOW_PID[writer]'
	pg_sql src "insert into t values (5000, 'while it was away')"
	kafka start >>"$DIR/kafka-start.log"
	copied t log
	end run
}

cases spine_deleted spine_vanishes spine_replaced spine_truncated spine_cut rows_truncated rows_anew foreign foreign_down foreign_lite foreign_lanes corrupt schemas_gone no_broker options broker_away
