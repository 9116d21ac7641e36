/* Prometheus text, as the golden file has it. */
#include "control/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/metrics.txt"

static const char *names[] = { "public.a", "public.b" };

static const struct progress nodes[] = {
	{ .role = PROGRESS_PRODUCER,
	    .node = "inv",
	    .sink = "",
	    .state = "running",
	    .reason = "",
	    .at_us = 1,
	    .started_us = 1790000000000000,
	    .gen = 3,
	    .seq = 120,
	    .lsn = 4096,
	    .commit_us = 1790000001500000,
	    .lag_bytes = 56,
	    .rows = 900,
	    .tables = names,
	    .ntables = 2 },
	{ .role = PROGRESS_SINK,
	    .node = "inv",
	    .sink = "a\\b\"c\nd",
	    .state = "retrying",
	    .reason = "x",
	    .at_us = 1,
	    .started_us = 1790000000000000,
	    .gen = 3,
	    .seq = 118,
	    .lsn = 4000,
	    .lag_entries = 2,
	    .lag_bytes = -1,
	    .lag_us = 1250000,
	    .rows = 898,
	    .parked = 1,
	    .syncing = true,
	    .delay_ms = 30000 },
};

static void
golden(void **state)
{
	struct buf got = { 0 };
	char want[16384] = "";
	FILE *f;
	size_t n;

	(void)state;
	metrics_put(&got, "inv", nodes, COUNTOF(nodes));
	if (getenv("GOLDEN_WRITE")) {
		f = fopen(GOLDEN, "w");
		assert_non_null(f);
		fwrite(got.p, 1, got.n, f);
		fclose(f);
	}
	f = fopen(GOLDEN, "r");
	assert_non_null(f);
	n = fread(want, 1, sizeof want - 1, f);
	fclose(f);
	assert_int_equal(n, got.n);
	assert_string_equal(buf_cstr(&got), want);
	buf_free(&got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(golden) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
