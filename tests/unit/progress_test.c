/* The record of progress: what is written comes back, and what is no record is refused. */
#include "schemas/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char *names[] = { "public.a", "public.\"odd\" name" };

static struct progress
sample(void)
{
	return (struct progress){ .role = PROGRESS_SINK,
		.node = "inv",
		.sink = "edge",
		.state = "retrying",
		.reason = "sink \"edge\": no answer\n",
		.at_us = 1790000000000001,
		.started_us = 1789999999000000,
		.gen = 3,
		.seq = (UINT64_C(1) << 62) + 1,
		.lsn = 0x4F00000010,
		.commit_us = 1790000000000000,
		.end_lsn = 0x4F00000020,
		.lag_entries = 7,
		.lag_bytes = -1,
		.lag_us = 1500000,
		.rows = 9007199254740993,
		.rows_s = 12.34,
		.entries_s = 0.5,
		.parked = 2,
		.syncing = true,
		.delay_ms = 30000,
		.kind = "sqlite",
		.http = "127.0.0.1:9187",
		.tables = names,
		.ntables = 2 };
}

static void
there_and_back(void **state)
{
	struct progress p = sample(), q;
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct err err;

	(void)state;
	progress_put(&b, &p);
	assert_int_equal(progress_take(buf_view(&b), &a, &q, &err), OK);
	assert_int_equal(q.role, p.role);
	assert_string_equal(q.node, p.node);
	assert_string_equal(q.sink, p.sink);
	assert_string_equal(q.state, p.state);
	assert_string_equal(q.reason, p.reason);
	assert_string_equal(q.kind, p.kind);
	assert_string_equal(q.http, p.http);
	assert_true(
	    q.at_us == p.at_us && q.started_us == p.started_us && q.commit_us == p.commit_us);
	assert_true(q.gen == p.gen && q.seq == p.seq && q.lsn == p.lsn && q.end_lsn == p.end_lsn &&
	    q.rows == p.rows);
	assert_true(q.lag_entries == 7 && q.lag_bytes == -1 && q.lag_us == 1500000);
	assert_true(q.rows_s > 12.29 && q.rows_s < 12.31 && q.entries_s > 0.4);
	assert_true(q.parked == 2 && q.syncing && q.delay_ms == 30000);
	assert_int_equal(q.ntables, 2);
	assert_string_equal(q.tables[1], names[1]);
	arena_free(&a);
	buf_free(&b);
}

static void
keys(void **state)
{
	struct progress p = sample();
	struct arena a = { 0 };

	(void)state;
	assert_string_equal(progress_key(&a, &p), "sink/inv/edge");
	p.role = PROGRESS_PRODUCER;
	assert_string_equal(progress_key(&a, &p), "producer/inv");
	arena_free(&a);
}

/* It is written each second for every node, and read whole by whoever asks. */
static void
small(void **state)
{
	struct progress p = sample();
	struct buf b = { 0 };

	(void)state;
	progress_put(&b, &p);
	assert_true(b.n < 600);
	buf_free(&b);
}

static void
not_utf8(void **state)
{
	struct progress p = sample(), q;
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct err err;

	(void)state;
	p.reason = "caf\xe9";
	progress_put(&b, &p);
	assert_int_equal(progress_take(buf_view(&b), &a, &q, &err), OK);
	assert_string_equal(q.reason, "(not UTF-8)");
	arena_free(&a);
	buf_free(&b);
}

static void
refused(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "7", "{\"v\":2,\"role\":\"sink\"}", "{\"v\":1,\"role\":\"king\"}",
		"{\"v\":1,\"role\":\"producer\",\"state\":\"running\",\"at_us\":1}",
		"{\"v\":1,\"role\":\"producer\",\"node\":\"n\",\"at_us\":1}",
		"{\"v\":1,\"role\":\"producer\",\"node\":\"n\",\"state\":\"running\"}",
		"{\"v\":1,\"role\":\"sink\",\"node\":\"n\",\"state\":\"running\",\"at_us\":1}",
		"{\"v\":1,\"v\":1,\"role\":\"producer\",\"node\":\"n\",\"state\":\"running\",\"at_us\":1}"
	};
	struct arena a = { 0 };
	struct progress p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(bad); i++)
		assert_int_equal(progress_take(slice_of(bad[i]), &a, &p, &err), REJECT);
	assert_int_equal(progress_take((struct slice){ NULL, 0 }, &a, &p, &err), REJECT);
	arena_free(&a);
}

/* A record of a later program may say more, and of an earlier one less. */
static void
more_and_less(void **state)
{
	struct arena a = { 0 };
	struct progress p;
	struct err err;

	(void)state;
	assert_int_equal(
	    progress_take(
		SLICE_LIT(
		    "{\"v\":1,\"role\":\"producer\",\"node\":\"n\",\"state\":\"running\",\"at_us\":1,"
		    "\"new\":{\"x\":[1]},\"tables\":[1,\"a\"],\"lsn\":7,\"seq\":\"x\"}"),
		&a, &p, &err),
	    OK);
	assert_true(
	    p.lag_entries == -1 && p.lag_bytes == -1 && p.lag_us == -1 && p.lsn == 0 && p.seq == 0);
	assert_int_equal(p.ntables, 1);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(keys),
		cmocka_unit_test(small),
		cmocka_unit_test(not_utf8),
		cmocka_unit_test(refused),
		cmocka_unit_test(more_and_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
