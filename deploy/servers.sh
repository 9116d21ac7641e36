# shellcheck shell=bash
# Sourced by kafka/kafka, postgres/postgres and registry/registry: jars by name from Maven, checked; a server as a pid in a directory.

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_java() {
	local v
	command -v java >/dev/null || die "java is missing; install it: apt-get install -y openjdk-17-jre-headless"
	v=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
	[ "${v:-0}" -ge 17 ] || die "java is version ${v:-unknown}, 17 or newer is needed; apt-get install -y openjdk-17-jre-headless"
}

need_mvn() {
	command -v mvn >/dev/null || die "mvn is missing; install it: apt-get install -y maven"
}

# mvn_get DIR GOAL ARGS...: run that goal of Maven's dependency plugin in DIR; its last lines are shown when it fails.
mvn_get() {
	local dir=$1 goal=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:$2 log
	shift 2
	log=$(mktemp)
	if ! (cd "$dir" && timeout 900 mvn -B -ntp -q "$goal" "$@") >"$log" 2>&1; then
		tail -n 15 "$log" >&2
		rm -f "$log"
		die "Maven could not fetch the jars; is a Maven repository reachable?"
	fi
	rm -f "$log"
}

# verify DIR LIST: the files of DIR are exactly those of the checked-in SHA-256 list; else DIR is removed.
verify() {
	local bad extra
	bad=$(cd "$1" && sha256sum --check --quiet --strict "$2" 2>&1) || true
	extra=$(cd "$1" && comm -23 <(printf '%s\n' * | sort) <(sed 's/^[0-9a-f]*  //' "$2" | sort))
	[ -z "$bad$extra" ] && return 0
	rm -rf "$1"
	printf '%s\n' "$bad" >&2
	[ -z "$extra" ] || printf 'not in the list: %s\n' "$extra" >&2
	die "what was downloaded differs from $2 and was removed; find out why before you run it"
}

# alive PIDFILE WORD: prints the pid when that process lives and is ours: WORD is in its command line.
alive() {
	local p
	p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] && tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -qF -- "$2" && echo "$p"
}

# stop_server PIDFILE WORD SIGNAL SECONDS: ask, wait, then kill.
stop_server() {
	local p i
	if p=$(alive "$1" "$2"); then
		kill -s "$3" "$p" 2>/dev/null || true
		for ((i = 0; i < $4 * 20; i++)); do
			alive "$1" "$2" >/dev/null || break
			sleep 0.05
		done
		! alive "$1" "$2" >/dev/null || kill -s KILL "$p"
	fi
	rm -f "$1"
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

rss_mib() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"; }

# since NANOSECONDS: seconds that passed, one decimal.
since() { awk -v a="$1" -v b="$(date +%s%N)" 'BEGIN { printf "%.1f", (b - a) / 1e9 }'; }
