#!/bin/sh
# deps.sh [kafka]: what the build and the demo need, on Debian and Ubuntu; kafka: Java and Maven too. Nothing is done when all is there.
# Root installs by itself, else sudo asks. Debian's postgresql starts a server of its own, which nothing here touches.
set -eu
kafka=${1:-}
modules='rdkafka avro-c libpq sqlite3 libcurl jansson libfyaml gmp libpcre2-8 libcrypto libxxhash libmicrohttpd cmocka'
packages='build-essential pkg-config librdkafka-dev libavro-dev libpq-dev libsqlite3-dev libcurl4-openssl-dev libjansson-dev
	libfyaml-dev uthash-dev libgmp-dev libpcre2-dev libssl-dev libxxhash-dev libmicrohttpd-dev libcmocka-dev postgresql'

have() { command -v "$1" >/dev/null 2>&1; }

server() {
	for d in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
		[ ! -x "$d/initdb" ] || return 0
	done
	have initdb
}

libraries() {
	# shellcheck disable=SC2086 # a list
	have cc && have pkg-config && pkg-config --exists $modules && echo '#include <uthash.h>' | cc -E - >/dev/null 2>&1
}

java17() { have java && [ "$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')" -ge 17 ]; }

if [ "$kafka" = kafka ] && ! { have mvn && java17; }; then
	packages="$packages default-jre-headless maven" # 17 on Debian 12
	need=1
fi
server && libraries || need=1
[ "${need:-}" ] || exit 0

packages=$(echo "$packages" | tr -s '\n\t' ' ')
command="apt-get install -y --no-install-recommends $packages"
have apt-get || { echo "deps: this is no Debian; install what these packages hold: $packages" >&2; exit 1; }
if [ "$(id -u)" = 0 ]; then
	sudo=
elif have sudo; then
	sudo='sudo DEBIAN_FRONTEND=noninteractive'
else
	echo "deps: packages are missing, and there is no sudo; as root: $command" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive # sudo drops it
echo "installing packages: $command"
# Old lists are as good as none: the packages they name may be gone.
$sudo apt-get update -qq
# shellcheck disable=SC2086 # words
$sudo $command
