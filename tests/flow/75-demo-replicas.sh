#!/bin/bash
# towline demo primary-replica: what it shows holds, and nothing of it is left.
# limit: 120
. "$(dirname "$0")/lib.sh"

"$TOWLINE" demo primary-replica --dir "$DIR/data/demo" >"$DIR/demo.log" 2>&1
grep -q ' 0 did not$' "$DIR/demo.log"
grep -Eq '^near +ok ' "$DIR/demo.log"
refute grep -q NOT "$DIR/demo.log"
[ ! -e "$DIR/data/demo" ]
STATUS=0
"$TOWLINE" demo primary-replca 2>"$DIR/wrong.log" || STATUS=$?
[ "$STATUS" = 2 ]
