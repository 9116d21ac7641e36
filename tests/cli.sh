#!/bin/sh
# The command line as a user meets it: exit codes, complaints, JSON, help, and that the documents tell of every option.
# Run from the top of the tree; MODE says which build, TOWLINE overrides the program.
top=$(pwd)
towline=${TOWLINE:-$top/build/${MODE:-debug}/towline}
golden=$top/tests/golden/conf
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
for v in $(env | sed -n 's/^\(TOWLINE_[A-Z0-9_]*\)=.*/\1/p'); do unset "$v"; done
ok=0 bad=0

pass() { ok=$((ok + 1)); }
flunk() { bad=$((bad + 1)); echo "FAIL  $1"; sed 's/^/      /' out err; }

# expect NAME CODE STDOUT-PATTERN STDERR-PATTERN ARGUMENTS...: patterns are extended, "" means nothing may be there
expect() {
	name=$1 code=$2 want_out=$3 want_err=$4
	shift 4
	"$towline" "$@" >out 2>err </dev/null
	got=$?
	if [ $got != "$code" ]; then flunk "$name: exit code $got, not $code"; return; fi
	for stream in out err; do
		eval want=\$want_$stream
		if [ -z "$want" ]; then
			if [ -s $stream ]; then flunk "$name: std$stream should be empty"; return; fi
		elif ! grep -Eq -e "$want" $stream; then
			flunk "$name: std$stream lacks /$want/"
			return
		fi
	done
	pass
}

is_json() { # FILE NAME
	command -v python3 >/dev/null || { echo "note: no python3, not looked at: $2"; return; }
	if python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$1" 2>/dev/null; then pass; else flunk "$2: not JSON"; fi
}

expect 'no command' 2 '' '^towline: there is no command'
expect 'help option' 0 '^Usage: towline ' '' --help
expect 'help letter' 0 '^Usage: towline ' '' -h
expect 'help command' 0 '^Exit codes: 0 done' '' help
expect 'help of one' 0 '^Usage: towline config ' '' help config
expect 'help of none' 2 '' "unknown command 'confg'; did you mean 'config'" help confg
expect 'command help' 0 '^Usage: towline config ' '' config --help
expect 'version option' 0 '^librdkafka [0-9]' '' --version
expect 'version' 0 '^libpq [0-9]+\.[0-9]+$' '' version
expect 'version json' 0 '^\{"towline": "[0-9.]+", .*"sqlite": "3\.' '' version --json
is_json out 'version json'
expect 'unknown command' 2 '' "^towline: unknown command 'verson'; did you mean 'version'\?$" verson
expect 'unknown far' 2 '' "^towline: unknown command 'xyzzy'; 'towline help' lists them$" xyzzy
expect 'unknown long option' 2 '' '^towline: unknown option --jsn; did you mean --json\?$' --jsn version
expect 'unknown own option' 2 '' '^towline: unknown option --confg; did you mean --config\?$' config show --confg x
expect 'unknown letter' 2 '' '^towline: unknown option -z' version -z
expect 'unknown letter after a long option' 2 '' 'unknown option -z' version --quiet -zx
expect 'option without its value' 2 '' 'option -c needs a value' config show -c
expect 'long option without its value' 2 '' 'option --set needs a value' config show --set
expect 'flag with a value' 2 '' 'option --quiet takes no value' version --quiet=3
expect 'too many arguments' 2 '' "does not know what to do with 'x'" version x
expect 'too few arguments' 2 '' 'config needs show' config
expect 'config typo' 2 '' "did you mean 'config show'" config sho
expect 'two dashes end the options' 2 '' "does not know what to do with '--json'" version -- --json
expect 'error as json' 2 '' '^\{"error": "unknown command .*", "exit": 2\}$' verson --json
is_json err 'error as json'
expect 'no file' 3 '' 'there is no ./towline.yaml; name one with --config' config show
expect 'named file missing' 3 '' '^towline: /nonexistent.yaml: cannot read the configuration: No such file' -c /nonexistent.yaml config show
expect 'bad file' 3 '' "unknown_key.yaml:5:3: unknown key 'partitons'; did you mean 'partitions'\?$" config check -c "$golden/unknown_key.yaml"
expect 'bad file has a caret' 3 '' '^  \^$' config check -c "$golden/unknown_key.yaml"
expect 'bad file as json' 3 '' '"exit": 3\}$' --json config check -c "$golden/unknown_key.yaml"
is_json err 'bad file as json'
expect 'good file' 0 'ok \(inv: a source, 2 sinks\)' '' config check -c "$golden/minimal.yaml"
expect 'show' 0 '^source.url +postgres://towline:\*\*\*@db1/inventory +.*minimal.yaml:2$' '' config show -c "$golden/minimal.yaml"
expect 'show as json' 0 '"kafka.partitions": \{"value": 7, "origin": "--set"\}' '' config show --json -c "$golden/full.yaml" \
	--set kafka.partitions=7
is_json out 'show as json'
expect 'bad set' 3 '' "^towline: --set: unknown key 'partitons'; did you mean 'partitions'" config show -c "$golden/minimal.yaml" \
	--set kafka.partitons=7
expect 'sets alone' 0 '^kafka.brokers +embedded +--set' '' config show --set name=x --set source=sqlite:a.db --set kafka=embedded
export TOWLINE_NAME=env TOWLINE_SOURCE_URL=sqlite:e.db
expect 'environment alone' 0 '^source.url +sqlite:e.db +environment' '' config show
expect 'set wins over environment' 0 '^name +flag +--set' '' config show --set name=flag
unset TOWLINE_NAME TOWLINE_SOURCE_URL

"$towline" config example >towline.yaml 2>err || flunk 'example'
expect 'the example is a configuration, found here' 0 '^towline.yaml: ok' '' config check
if [ -c /dev/full ]; then
	"$towline" config example >/dev/full 2>err
	if [ $? = 1 ] && grep -q 'No space left' err; then pass; else flunk 'a full disk'; fi
fi

# Every key of the example, and so of the table of options, stands in the documents and the other way round.
sed -n 's/^ *#\{0,1\}\([a-z_]\{1,\}\):\( .*\)\{0,1\}$/\1/p' towline.yaml | sort -u >keys
for key in $(cat keys); do
	if grep -qw -- "$key" "$top/docs/configuration.md"; then pass; else echo "$key" >out; flunk "docs/configuration.md does not tell of '$key'"; fi
done
for path in $(sed -n 's/^| `\([a-z_.A-Z]*\)` |.*/\1/p' "$top/docs/configuration.md"); do
	if grep -qx "${path##*.}" keys; then pass; else echo "$path" >out; flunk "docs/configuration.md tells of '$path', which is no key"; fi
done

if diff "$top/deploy/config/towline.yaml" towline.yaml >out; then pass
else flunk "deploy/config/towline.yaml is not what 'towline config example' prints"; fi

# Commands and global options stand in the manual, commands in the README too.
"$towline" help >help
sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' help >commands
for cmd in $(cat commands); do
	if grep -q "^\*$cmd\*" "$top/docs/towline.1.scd"; then pass; else echo "$cmd" >out; flunk "docs/towline.1.scd does not tell of '$cmd'"; fi
	if grep -q "\`towline $cmd\b" "$top/README.md"; then pass; else echo "$cmd" >out; flunk "README.md does not tell of 'towline $cmd'"; fi
done
for opt in $(sed -n '/^Global/,/^$/s/.*\(--[a-z-]*\).*/\1/p' help); do
	if grep -q -e "\*.*$opt\b" "$top/docs/towline.1.scd"; then pass; else echo "$opt" >out; flunk "docs/towline.1.scd does not tell of $opt"; fi
done

# Each command's help opens with two examples.
for cmd in $(cat commands); do
	"$towline" help "$cmd" >out 2>err
	if [ "$(sed -n 1p out)" = Examples: ] && [ "$(grep -c '^  towline ' out)" -ge 2 ]; then pass
	else flunk "help $cmd does not open with two examples"; fi
done

# What looks at servers: usage, and a port where nobody listens.
cat >nobody.yaml <<-END
name: nobody
source: postgres://u@127.0.0.1:1/db
kafka: 127.0.0.1:1
sinks:
  pg: postgres://u@127.0.0.1:1/copy
  file: sqlite:$dir/copy.db
END
printf 'name: half\nkafka: embedded\nsinks: { f: "sqlite:copy.db" }\n' >half.yaml
expect 'check help' 0 '^Usage: towline check' '' check --help
expect 'check takes no argument' 2 '' "check does not know what to do with 'x'" check x
expect 'check of nobody' 4 '^  FAIL  reachable .*Connection refused' '' check -c nobody.yaml
expect 'check counts' 4 '^[0-9]+ checks: [12] ok, [01] warnings?, 3 failures$' '' check -c nobody.yaml
expect 'check says where' 4 '^sink    file   sqlite:' '' check -c nobody.yaml
expect 'check gives a fix' 4 '^        fix: is Kafka up, and kafka.brokers right' '' check -c nobody.yaml
expect 'check of a sink that cannot be' 1 '^        fix: mkdir -p /nonexistent' '' check -c nobody.yaml --set sinks.file.url=sqlite:/nonexistent/x.db
expect 'check of options that are none' 3 '^  FAIL  reachable +kafka.options: ' '' check -c half.yaml --set kafka=127.0.0.1:1 \
	--set kafka.options.compression.type=foo
expect 'check of an embedded half' 3 '^  FAIL  embedded ' '' check -c half.yaml
expect 'check as json' 4 '"failures": 3' '' check --json -c nobody.yaml
is_json out 'check as json'
if [ -e copy.db ]; then flunk 'check makes a file'; else pass; fi
expect 'status help' 0 '^Usage: towline status \[--watch' '' status --help
expect 'status of nobody' 4 '^file +sink +empty ' '' status -c nobody.yaml
expect 'status in words' 4 '^! source: .*Connection refused' '' status -c nobody.yaml
expect 'status as json' 4 '"state": "UNREACHABLE"' '' status --json -c nobody.yaml
is_json out 'status as json'
expect 'status of an embedded broker' 4 '^broker: embedded \(in memory, for trials; not for production\)$' '' status -c nobody.yaml --set kafka=embedded
expect 'status with a number alone' 2 '' "does not know what to do with '5'" status 5 -c nobody.yaml
expect 'status watched badly' 2 '' '--watch takes whole seconds' status --watch 0 -c nobody.yaml
expect 'tail help' 0 'A row counts only once its group is in the spine' '' tail --help
expect 'tail of nothing' 2 '' 'tail needs \[OPTIONS\] TABLE' tail -c nobody.yaml
expect 'tail of a half' 2 '' "'app.' is no table" tail app. -c nobody.yaml
expect 'tail from elsewhere' 2 '' '--from takes beginning or end' tail t --from middle -c nobody.yaml
expect 'tail of no operation' 2 '' "--op takes letters of r,c,u,d,t .*not 'x'" tail t --op u,x -c nobody.yaml
expect 'tail without limit' 2 '' '--limit must be a whole number from 1' tail t --limit 0 -c nobody.yaml
expect 'tail of nobody' 4 '' '^towline: kafka: 127.0.0.1:1/bootstrap: .*Connection refused; is Kafka up' tail t -c nobody.yaml
expect 'tail of an embedded broker' 3 '' 'embedded lives inside towline run' tail t -c nobody.yaml --set kafka=embedded

expect 'dlq help' 0 '^Usage: towline dlq ls\|show\|retry\|skip' '' dlq --help
expect 'dlq typo' 2 '' "unknown command 'dlq retyr'; did you mean 'dlq retry'" dlq retyr -c nobody.yaml
expect 'dlq of no sink' 3 '' "there is no sink 'fil' in the configuration; did you mean 'file'" dlq ls fil -c nobody.yaml
expect 'dlq of an empty sink' 0 '^nothing is parked$' '' dlq ls file -c nobody.yaml
expect 'dlq as json' 0 '^\[\]$' '' dlq ls file --json -c nobody.yaml
expect 'dlq of nobody' 4 '' 'Connection refused' dlq ls -c nobody.yaml
expect 'dlq show without a number' 2 '' 'dlq show needs SINK/ID' dlq show file -c nobody.yaml
expect 'dlq show of a word' 2 '' "'file/x' is no dead letter" dlq show file/x -c nobody.yaml
expect 'dlq show of none' 1 '' "there is no dead letter file/7; 'towline dlq ls file' lists them" dlq show file/7 -c nobody.yaml
expect 'dlq retry of what' 2 '' 'needs SINK/ID, or SINK with --all or --table TABLE' dlq retry file -c nobody.yaml
expect 'dlq retry of both' 2 '' 'needs SINK/ID, or SINK with --all or --table TABLE' dlq retry file/7 --all -c nobody.yaml
expect 'dlq retry and the embedded broker' 3 '' 'embedded lives inside towline run' dlq retry file --all -c nobody.yaml --set kafka=embedded
expect 'dlq retry of nothing' 0 '^file: 0 changes of 0 keys applied$' '' dlq retry file --all -c nobody.yaml
expect 'dlq retry of none' 1 '' 'there is no dead letter file/7' dlq retry file/7 -c nobody.yaml
expect 'dlq skip of none' 1 '' 'there is no dead letter file/7' dlq skip file/7 --yes -c nobody.yaml
if [ -e copy.db ]; then flunk 'dlq makes a file'; else pass; fi

echo "$ok passed, $bad failed"
[ $bad = 0 ]
