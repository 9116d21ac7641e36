#!/bin/bash
# The demo off a terminal: it proves itself, and leaves neither process nor file behind, whatever ends it.
# limit: 180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PGBIN=$(flow_pgbin)
export PATH=$PGBIN:$PATH
export TMPDIR=$DIR/data/tmp
mkdir "$TMPDIR"
chmod 711 "$TMPDIR"

# PostgreSQL's processes, all of them, live in their data directory.
processes() {
	local p
	for p in /proc/[0-9]*; do
		[[ $(readlink "$p/cwd" 2>/dev/null) != "$TMPDIR"/* ]] || echo "${p##*/}"
	done
}
nothing_left() { [ -z "$(processes)" ] && [ -z "$(ls -A "$TMPDIR")" ]; }
running() { [ -n "$(processes)" ]; }

nothing_left
# Settings of the user's shell for other databases are not the demo's.
PGHOST=nowhere.invalid PGPORT=1 TOWLINE_TABLES=none.none "$TOWLINE" demo --seconds 3 >"$DIR/out" 2>"$DIR/demo.log"
cat "$DIR/out"
[ ! -s "$DIR/demo.log" ]
grep -q '^broker .*in memory' "$DIR/out"
grep -q '^live .* changes in .* transactions in 3 s, lag p50 [0-9.]* ms p99 [0-9.]* ms$' "$DIR/out"
grep -q '^verify  *6/6 tables equal in both sinks' "$DIR/out"
refute grep -q $'\033' "$DIR/out"
nothing_left

"$TOWLINE" demo --seconds 1 --json >"$DIR/json" 2>"$DIR/demo.log"
if command -v python3 >/dev/null; then
	python3 - "$DIR/json" <<-'E'
	import json, sys
	o = json.load(open(sys.argv[1]))
	assert o["equal"] is True and o["changes"] > 0 and len(o["tables"]) == 6 and len(o["sinks"]) == 2, o
	assert all(t["equal"] for t in o["tables"]), o
	E
fi
nothing_left

# Does it see a difference? A row of the sink goes, one that nobody writes again.
towline_start differs demo --seconds 3
wait_for 30 'grep -q "^copy .* rows/s" "$DIR/differs.log"'
"$PGBIN/psql" -X -q -h "$(echo "$TMPDIR"/towline-demo.*/source/socket)" -U postgres replica \
	-c 'delete from order_items where order_id = (select min(id) from orders) and line = 1'
towline_wait differs 30
[ "$STATUS" = 6 ]
grep -q '^verify  *5/6 tables equal' "$DIR/differs.log"
grep -q 'order_items: .* rows at the source, .* rows in replica$' "$DIR/differs.log"
nothing_left

# In the middle of the live phase, and before the server is up.
towline_start stopped demo --seconds 60
wait_for 30 'grep -q "^copy .* rows/s" "$DIR/stopped.log"'
running
towline_kill stopped TERM
[ "$STATUS" = 130 ]
grep -q 'stopped before it came to an end' "$DIR/stopped.log"
wait_for 5 nothing_left

towline_start early demo --seconds 60
wait_for 10 '[ -n "$(ls -A "$TMPDIR")" ]'
towline_kill early INT
[ "$STATUS" = 130 ]
wait_for 5 nothing_left

# Killed, it cannot remove its directory; but the server ends with it.
towline_start killed demo --seconds 60
wait_for 30 'grep -q "^copy .* rows/s" "$DIR/killed.log"'
towline_kill killed KILL
wait_for 10 '[ -z "$(processes)" ]'
rm -rf "$TMPDIR"/towline-demo.*

# A directory of its own, and one that cannot be.
"$TOWLINE" demo --seconds 1 --dir "$TMPDIR/own" --keep >"$DIR/out"
grep -q "^kept .*$TMPDIR/own\$" "$DIR/out"
[ -s "$TMPDIR/own/replica.db" ]
[ -z "$(processes)" ]
rm -rf "$TMPDIR/own"
status=0
"$TOWLINE" demo --dir "$TMPDIR/x/y" >"$DIR/out" 2>&1 || status=$?
[ "$status" = 2 ]
grep -q 'cannot make the directory' "$DIR/out"
nothing_left
