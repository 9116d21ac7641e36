#!/bin/bash
# The C tests of the PostgreSQL sink, against a real server.
# limit: 180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pg_start dst DST
cd "$ROOT"
for test in sink_pg_test sink_pg_copy_test; do
	TOWLINE_TEST_PG=$DST "$ROOT/build/${MODE:-debug}/tests/flow/$test"
done
