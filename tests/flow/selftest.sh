#!/bin/bash
# The runner on tests that pass, fail, hang, leave programs behind: does it see it, and does it clean up? Needs no server.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp TOWLINE=$tmp/towline FLOW_GRACE=1

# A stand-in for the program: "hold" runs until a signal, "deaf" ignores all but KILL, "say X" prints X and ends with 3.
cat >"$TOWLINE" <<'T'
#!/bin/bash
echo "$$" >>"$TMPDIR/pids"
case $1 in
hold) trap 'echo told to stop; exit 0' TERM ;;
deaf) trap '' TERM ;;
say) echo "$2"; exit 3 ;;
esac
echo "$1 is up"
while :; do read -rt 0.1 <> <(:) || true; done
T
chmod +x "$TOWLINE"

# make NAME: standard input behind the library is the test.
make() { { echo ". $here/lib.sh"; cat; } >"$tmp/$1.sh"; }

make 01-good <<'T'
towline_start one hold
wait_for 5 'grep -q "hold is up" "$DIR/one.log"'
towline_alive one
towline_kill one TERM
[ "$STATUS" = 0 ]
grep -q 'told to stop' "$DIR/one.log"
towline_start two say hello
towline_wait two 5
[ "$STATUS" = 3 ]
T
make 02-false <<'T'
towline_start one say 'the last words'
towline_wait one 5
[ 1 = 2 ]
echo 'not reached'
T
make 03-never <<'T'
wait_for 1 'echo almost; false'
T
{ echo '# limit: 2'; echo ". $here/lib.sh"; echo 'towline_start one hold'; echo 'while :; do sleep 0.1; done'; } >"$tmp/04-hangs.sh"
make 05-leaves <<'T'
towline_start one hold
towline_start two deaf
for n in one two; do wait_for 5 "grep -q 'is up' $DIR/$n.log"; done
T
make 09-stopped <<'T'
towline_start one hold
wait_for 5 'grep -q "is up" "$DIR/one.log"'
towline_kill one STOP
T
make 06-leaky <<'T'
towline_start one say 'ERROR: LeakSanitizer: detected memory leaks'
towline_wait one 5
T
make 07-skip <<'T'
skip 'no such thing here'
T
make 08-dies <<'T'
towline_start one hold
kill -s KILL $$
T

bad=0
expect() { grep -qE -- "$1" "$tmp/out" || { echo "selftest: missing in the output: $1"; bad=1; }; }
status=0
"$here/run" "$tmp"/0[1-9]-*.sh >"$tmp/out" 2>&1 || status=$?
[ "$status" = 1 ] || { echo "selftest: exit $status, expected 1"; bad=1; }
expect '^ok    01-good  [0-9.]+ s$'
expect '^FAIL  02-false  [0-9.]+ s$'
expect '^      the last words$'
expect '^FAIL  03-never  1\.[0-9] s$'
expect '^      .*not true after 1 s: echo almost; false$'
expect '^      almost$'
expect '^FAIL  04-hangs  [2-9]\.[0-9] s$'
expect '^      over its limit of 2 s$'
expect '^ok    05-leaves '
expect '^FAIL  06-leaky '
expect '^      .*a sanitizer complained in'
expect '^skip  07-skip  .*no such thing here$'
expect '^FAIL  08-dies '
expect '^skipped: 07-skip$'
expect '^failed: 02-false 03-never 04-hangs 06-leaky 08-dies \(logs in '
[ "$(tail -n 1 "$tmp/out")" = '3 passed, 5 failed' ] || { echo "selftest: last line: $(tail -n 1 "$tmp/out")"; bad=1; }
! grep -q 'not reached' "$tmp/out" || { echo 'selftest: a test went on after a failure'; bad=1; }
[ -e "$(echo "$tmp"/flow.*/02-false/one.log)" ] || { echo 'selftest: the log of a failure is gone'; bad=1; }
[ ! -e "$(echo "$tmp"/flow.*/01-good)" ] || { echo 'selftest: the log of a success is kept'; bad=1; }

# A process that ended but that nobody has waited for yet (state Z) is gone as well.
while read -r pid; do
	state=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null) || continue
	[ "$state" = Z ] || { echo "selftest: process $pid is left behind"; bad=1; kill -s KILL "$pid"; }
done <"$tmp/pids"

"$here/run" "$tmp/01-good.sh" >"$tmp/out" 2>&1 || { echo 'selftest: a good run fails'; bad=1; }
[ "$(tail -n 1 "$tmp/out")" = '1 passed, 0 failed' ] || { echo 'selftest: wrong last line of a good run'; bad=1; }

[ "$bad" = 0 ] || { cat "$tmp/out"; exit 1; }
echo 'runner: ok'
