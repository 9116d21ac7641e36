#!/bin/bash
# tests/tidy, the test runner and the summary must be seen to fail: each rule is broken once, in a tree of its own.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
ok=0 bad=0
verdict() { if [ "$2" = 0 ]; then ok=$((ok + 1)); else bad=$((bad + 1)); echo "FAIL  $1"; sed 's/^/      /' out; fi; }

# fresh: a small tree that is tidy.
fresh() {
	rm -rf core schemas producer consumer control tests words .git Makefile
	mkdir core schemas producer consumer control tests
	printf '#include "core/a.h"\n\nint\na(void)\n{\n\treturn 1;\n}\n' >core/a.c
	printf 'int a(void);\n' >core/a.h
	printf '#include "core/a.h"\n#include "consumer/b.h"\n' >control/c.c
	printf '#include "core/a.h"\n' >consumer/b.h
	printf 'all:\n' >Makefile
}
repeat() { for ((i = 0; i < $1; i++)); do printf '%s' "$2"; done; }

# breaks NAME PATTERN [OBJECT...]: tidy must fail now, and say so.
breaks() {
	local name=$1 pattern=$2
	shift 2
	"$here/tidy" "$@" >out 2>&1
	if [ $? = 1 ] && grep -Eq -e "$pattern" out && [ "$(tail -n 1 out)" = '6 passed, 1 failed' ]; then verdict "$name" 0; else verdict "$name" 1; fi
	fresh
}
# passes NAME PATTERN [OBJECT...]: it must not.
passes() {
	local name=$1 pattern=$2
	shift 2
	"$here/tidy" "$@" >out 2>&1
	if [ $? = 0 ] && grep -Eq -e "$pattern" out; then verdict "$name" 0; else verdict "$name" 1; fi
	fresh
}
object() { printf '%s\n' "$2" | ${CC:-cc} -w -fPIC -c -x c -o "$1" -; }

fresh
passes 'a tidy tree' '^7 passed, 0 failed$'
echo "/* $(repeat 140 x) */" >>core/a.c
breaks 'a long line' 'core/a.c:8: line of 146 columns'
echo "/* $(repeat 100 x) */" >>core/a.c
passes 'a line beyond the aim' '^note: 0 functions over 70 lines, 1 lines over 100'
 repeat 18 $'\t' >>core/a.c
breaks 'tabs count eight' 'core/a.c:8: line of 1[34]'
{ printf 'int\nf(void)\n{\n'; repeat 101 $'\t;\n'; printf '}\n'; } >core/f.c
breaks 'a long function' 'core/f.c:3: function of 101 lines'
{ printf 'int\nf(void)\n{\n'; repeat 71 $'\t;\n'; printf '}\n'; } >core/f.c
passes 'a function beyond the aim' '^note: 1 functions over 70 lines'
repeat 801 $'\n' >consumer/long.h
breaks 'a long file' 'consumer/long.h: 801 lines'
echo '#include "schemas/x.h"' >>core/a.h
breaks 'core looks out' 'core/a.h:2:.*looks out of core'
echo '#include "consumer/b.h"' >producer/p.c
breaks 'producer looks at consumer' 'producer/p.c:1:.*looks out of producer'
echo '#include "producer/p.h"' >>consumer/b.h
breaks 'consumer looks at producer' 'looks out of consumer'
echo '#include "control/c.h"' >schemas/s.h
breaks 'schemas looks at control' 'looks out of schemas'
echo '#include "a.h"' >>core/a.c
breaks 'an include that is not rooted' 'core/a.c:8:.*looks out of core'
for call in strcpy strcat sprintf vsprintf strncpy strtok atoi atol gets alloca; do
	echo "void g(void) { $call(x); }" >>control/c.c
	breaks "$call" "control/c.c:3:.*banned call"
done
echo 'void g(void) { my_strcpy(x); snprintf(x); strtok_r(x); }' >>control/c.c
passes 'calls that only look like it' '^7 passed'
echo 'typedef struct { int i; } t;' >>core/a.h
breaks 'a typedef' 'typedef of a struct'
echo "# FIX""ME later" >>Makefile
breaks 'a leftover' 'Makefile:2:.*to be done'
echo "x := /ro""ot/x" >>Makefile
breaks 'a path of one machine' 'Makefile:2:.*path of one machine'
git init -q . && mkdir -p .git/info && echo 'wo[r]d' >.git/info/words && echo 'a Word' >>Makefile
breaks 'a word on the list' 'Makefile:2:a Word.*on the list'
echo 'see [that](docs/none.md)' >core/README.md
breaks 'a dead link' 'core/README.md:1: docs/none.md is not there'
echo 'see [that](a.h) and [this](https://example.org/x), tidy_test' >core/README.md
echo >tests/tidy_test.sh
passes 'links that lead somewhere' '^7 passed'
echo 'held by none_test' >core/README.md
breaks 'a test that is not there' 'core/README.md:1: no test none_test'
object x.o 'static int i; int n(void) { return i++; }'
breaks 'a global in .bss' 'mutable global i' x.o
object x.o 'static int i = 3; int n(void) { return i++; }'
breaks 'a global in .data' 'mutable global i' x.o
object x.o 'int n(void) { static int i; return i++; }'
breaks 'a static in a function' 'mutable global i' x.o
object x.o '__thread int i; int n(void) { return i++; }'
breaks 'a global of a thread' 'mutable global i' x.o
object x.o 'extern int e; static const int *const t[] = { &e }; const int *n(int i) { return t[i]; }'
passes 'a constant table of addresses' '^7 passed' x.o
mkdir -p core && object core/stop.o 'static volatile int stop_flag; int n(void) { return stop_flag++; }'
passes 'the stop flag' '^7 passed' core/stop.o
echo 'int main(void) { return 0; }' | ${CC:-cc} -x c -o prog - -Wl,--no-as-needed -lm
breaks 'a needless library' 'linked without need: .*libm' ./prog

# The runner of the unit tests.
printf '#!/bin/sh\necho quiet\n' >good
printf '#!/bin/sh\necho loud; exit 1\n' >evil
chmod +x good evil
"$here/run" ./good ./evil >out 2>&1
[ $? = 1 ] && grep -qx 'ok    good' out && grep -qx loud out && ! grep -q quiet out && [ "$(tail -n 1 out)" = '1 passed, 1 failed' ]
verdict 'the runner sees a failure' $?
"$here/run" ./good >out 2>&1 && [ "$(tail -n 1 out)" = '1 passed, 0 failed' ]
verdict 'the runner sees none' $?

# The summary: parts that count, that only exit, that break off after a count.
printf '%s:\n\t@%s\n' counts 'echo 3 passed, 0 failed' fails 'echo 2 passed, 1 failed; exit 1' silent true \
	dies false breaks-off 'echo 4 passed, 0 failed; exit 1' mode 'echo mode is $(MODE); test $(MODE) = asan' lies 'echo 1 passed, 1 failed' >Makefile
sum() { MAKE=make "$here/summary" logs "$@" >out 2>&1; }
sum counts silent 'MODE=asan mode' && [ "$(tail -n 1 out)" = '5 passed, 0 failed' ] && [ -z "$(ls logs)" ]
verdict 'the summary adds up' $?
sum counts fails silent dies breaks-off
[ $? = 1 ] && [ "$(tail -n 1 out)" = '10 passed, 3 failed' ] && [ "$(ls logs | tr '\n' ' ')" = 'breaks-off.log dies.log fails.log ' ]
verdict 'the summary sees failures and keeps what they said' $?
sum lies
[ $? = 1 ] && [ "$(tail -n 1 out)" = '1 passed, 1 failed' ]
verdict 'the summary sees a failure that exits with 0' $?
sum nosuchtarget
[ $? = 1 ] && [ "$(tail -n 1 out)" = '0 passed, 1 failed' ]
verdict 'the summary sees a part that is not there' $?

echo "$ok passed, $bad failed"
[ "$bad" = 0 ]
