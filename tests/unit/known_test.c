/*
 * Versions of tables on the embedded broker: what is kept when it is safe is known to who comes later, for what comes later only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/known.h"
#include "schemas/control.h"

#include <cmocka.h>

static struct conf conf = { .name = "k", .partitions = 4, .replication = -1 };
static struct kafka kafka = { .conf = &conf };

static int
setup(void **state)
{
	struct err err;

	(void)state;
	return broker_start(&kafka.broker, &err) == OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	broker_stop(kafka.broker);
	return 0;
}

static struct known *
open_known(uint64_t system_id, const char *database)
{
	struct known *k = NULL;
	struct err err;

	if (known_open(&kafka, system_id, database, &k, &err) != OK)
		fail_msg("%s", err.text);
	return k;
}

static void
keep(struct known *k, uint64_t lsn)
{
	struct err err;

	if (known_keep(k, lsn, &err) != OK)
		fail_msg("%s", err.text);
}

static struct column cols[] = { { .name = SLICE_LIT("id"), .attnum = 1, .typid = 23, .typmod = -1 },
	{ .name = SLICE_LIT("say \"a\""), .attnum = 3, .typid = 4294967295u, .typmod = 14 } };
static int keys[] = { 1, 0 };
static const struct table t = { .schema = SLICE_LIT("public"), .name = SLICE_LIT("t/u"), .relid = 4000000000u, .ncols = 2, .cols = cols,
	.nkeys = 2, .keys = keys };

static void
test_kept(void **state)
{
	struct known *k = open_known(UINT64_MAX, "db");
	struct table later = t, other = t;
	const struct table *got;

	(void)state;
	assert_null(known_table(k, t.relid, 1000));
	later.ncols = later.nkeys = 1;
	later.keys = (int[]){ 0 };
	other.relid = 5;
	other.name = SLICE_LIT("o");
	known_note(k, &t, 100);
	known_note(k, &other, 150);
	known_note(k, &later, 200);
	keep(k, 99); /* nothing is safe yet */
	known_close(k);
	k = open_known(UINT64_MAX, "db");
	assert_null(known_table(k, t.relid, 1000));
	known_note(k, &t, 100);
	known_note(k, &other, 150);
	known_note(k, &later, 200);
	keep(k, 199);
	known_close(k);

	/* The transaction that made the version may come again, in the shape before. */
	k = open_known(UINT64_MAX, "db");
	assert_null(known_table(k, t.relid, 100));
	got = known_table(k, t.relid, 101);
	assert_non_null(got);
	assert_true(got->relid == t.relid && slice_is(got->schema, "public") && slice_is(got->name, "t/u"));
	assert_int_equal(got->ncols, 2);
	assert_true(slice_is(got->cols[1].name, "say \"a\"") && got->cols[1].attnum == 3);
	assert_true(got->cols[1].typid == 4294967295u && got->cols[1].typmod == 14 && got->cols[0].typmod == -1);
	assert_true(got->nkeys == 2 && got->keys[0] == 1 && got->keys[1] == 0);
	/* Who had the name: but not one that the caller has asked for. */
	assert_null(known_namesake(k, 5, SLICE_LIT("public"), SLICE_LIT("o")));
	assert_non_null(known_namesake(k, 6, SLICE_LIT("public"), SLICE_LIT("o")));
	assert_null(known_namesake(k, 6, SLICE_LIT("public"), SLICE_LIT("t/u")));
	known_note(k, &later, 200);
	keep(k, 200);
	known_close(k);
	k = open_known(UINT64_MAX, "db");
	assert_int_equal(known_table(k, t.relid, 201)->ncols, 1);
	known_close(k);

	/* Of another database, or a cluster of its own, it says nothing. */
	k = open_known(UINT64_MAX, "other");
	assert_null(known_table(k, t.relid, 1000));
	known_close(k);
	k = open_known(7, "db");
	assert_null(known_table(k, t.relid, 1000));
	known_close(k);
}

/* Copied rows may bring a version before the stream does, and are safe later: an older one never takes the place of a newer. */
static void
test_order(void **state)
{
	struct known *k = open_known(1, "order");
	struct table older = t, newer = t;

	(void)state;
	older.relid = newer.relid = 77;
	newer.ncols = newer.nkeys = 1;
	newer.keys = (int[]){ 0 };
	known_note(k, &older, 500);
	known_note(k, &newer, 300);
	keep(k, 300);
	keep(k, 500);
	known_close(k);
	k = open_known(1, "order");
	assert_int_equal(known_table(k, 77, 301)->ncols, 1);
	known_close(k);
}

/* Anybody may write into the topic. */
static void
test_not_understood(void **state)
{
	static const char *const records[][2] = { { "lineage/", "{}" }, { "lineage/12x", "{}" }, { "lineage/12", "no JSON" },
		{ "lineage/12", "[]" },
		{ "lineage/12", "{\"system_id\":\"7\",\"database\":\"db\",\"lsn\":1}" },
		{ "lineage/12", "{\"system_id\":\"7\",\"database\":\"db\",\"schema\":\"s\",\"table\":\"t\",\"key\":[\"b\"],"
			"\"columns\":[[\"a\",1,2,3]]}" },
		{ "lineage/12", "{\"system_id\":\"7\",\"database\":\"db\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[7]}" },
		{ "lineage/13", "" }, { "elsewhere", "{}" } };
	struct control *c = NULL;
	struct known *k;
	struct err err;

	(void)state;
	assert_int_equal(control_open(&kafka, CONTROL_NEWS, true, &c, &err), OK);
	for (size_t i = 0; i < COUNTOF(records); i++) {
		assert_int_equal(control_put(c, records[i][0], slice_of(records[i][1]), &err), OK);
		assert_int_equal(control_flush(c, 10000, &err), OK);
		k = open_known(7, "db");
		assert_null(known_table(k, 12, 1000));
		known_close(k);
	}
	control_close(c);
}

static void
test_none(void **state)
{
	(void)state;
	assert_null(known_table(NULL, 1, 1));
	assert_null(known_namesake(NULL, 1, SLICE_LIT("a"), SLICE_LIT("b")));
	known_note(NULL, &t, 1);
	keep(NULL, 1);
	known_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_not_understood),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
