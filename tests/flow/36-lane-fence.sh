#!/bin/bash
# A process that was given lanes, and sleeps before it takes them over, wakes up when another has them: it must not take them back.
# limit: 150
. "$(dirname "$0")/lib.sh"

pg_start src SRC
pg_start dst DST "log_line_prefix = '%m [%p] %a '" 'log_disconnections = on'
kafka_start
free_port PROXY
echo pass >"$DIR/data/fault"
python3 "$ROOT/tests/faults/proxy.py" "$DIR/data/fault" "$PROXY:${FLOW_PG[dst]}" >"$DIR/proxy.txt" 2>&1 &
FLOW_PID[proxy]=$!
echo $! >>"$DIR/data/pids"
wait_for 10 "flow_port_open $PROXY"
for name in near far; do
	printf '%s\n' "name: $NAME" "source: $SRC" "kafka: { brokers: $BROKERS, partitions: 4 }" \
		"sinks: { copy: { url: \"${DST/:${FLOW_PG[dst]}/:$([ $name = near ] && echo "${FLOW_PG[dst]}" || echo "$PROXY")}\", apply: key, lanes: 2 } }" >"$DIR/$name.yaml"
done
pg_sql src "create table kv(id int primary key, v int)"
towline_start producer producer -c "$DIR/near.yaml"
wait_for 30 "grep -q msg=streaming $DIR/producer.log"
pg_sql src "insert into kv select i, 0 from generate_series(1, 1000) i"
tokens() { pg_sql dst "select string_agg(token::text, ' ' order by name) from towline.marker where name like '%/lane _'"; }

# Its first connection settles how many lanes there are. When that is over, the group gives it both; and there its way to the sink ends.
towline_start asleep consumer -c "$DIR/far.yaml"
wait_for 30 "grep -q 'towline LOG:  disconnection' $DIR/pg-dst.log"
echo stall >"$DIR/data/fault"
port=$(printf ':%04X 01' "$PROXY")
wait_for 40 "[ \$(grep -c '[0-9A-F]*:[0-9A-F]* 0100007F$port' /proc/net/tcp) = 2 ]"
[ "$(tokens)" = '' ] || flunk "it has taken over a lane already: $(tokens)"
towline_kill asleep STOP
echo pass >"$DIR/data/fault"

# The group gives them to the next one, who fills the sink.
towline_start awake consumer -c "$DIR/near.yaml"
wait_for 60 "same_pg src dst kv"
before=$(tokens)
writes() { for ((; i < $1; i++)); do pg_sql src "update kv set v = v + 1 where id % 20 = $i % 20"; done; }
i=0
writes 5
wait_for 30 "same_pg src dst kv"
[ "$(tokens)" = "$before" ]
towline_kill asleep CONT
writes 25
wait_for 60 "same_pg src dst kv"
refute grep -E 'another instance applies|taken over by another' "$DIR/awake.log"
wait_for 20 "grep -q 'not taken over, as the group does not confirm that it is ours' $DIR/asleep.log"
