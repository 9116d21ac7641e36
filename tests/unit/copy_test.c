/*
 * Records of a table's copy as JSON and back; who sees a transaction in PostgreSQL's snapshots.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/copier.h"
#include "producer/copy.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
expect_text(const char *got, const char *want)
{
	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
}

static void
there_and_back(void **state)
{
	struct copy c = { .state = COPY_RUNNING, .relid = 4000000000u, .since = UINT64_C(1) << 40, .rows = 7, .estimate = 9,
		.began_ms = 3, .ended_ms = 4, .begun = { 5, 1 }, .whole = { 4, 99 }, .upto = { 4, 120 } };
	struct copy got = { .state = COPY_DONE };
	char low[] = "[\"5\",\"a\\\"b\"]", high[] = "[\"9\",\"\xc3\xa9\"]", *bounds[] = { low, high };
	struct buf b = { 0 };
	struct err err;

	(void)state;
	copy_text(&c.where, "v > 'x'");
	copy_text(&c.key, "[\"id\",\"name\"]");
	copy_text(&c.command, "17");
	copy_text(&c.seen, "5:9:7");
	c.again = true;
	copy_set_ranges(&c, bounds, 2);
	copy_text(&c.ranges[1].at, "[\"7\",\"\"]");
	c.ranges[0].done = true;
	copy_put(&b, &c);
	assert_int_equal(copy_take(buf_view(&b), &got, &err), OK);
	assert_int_equal(got.state, COPY_RUNNING);
	assert_true(got.relid == c.relid && got.since == c.since);
	assert_true(got.rows == 7 && got.estimate == 9 && got.began_ms == 3 && got.ended_ms == 4);
	expect_text(got.where, c.where);
	expect_text(got.key, c.key);
	expect_text(got.command, "17");
	expect_text(got.seen, "5:9:7");
	assert_true(got.again);
	assert_int_equal(got.nranges, 3);
	for (int i = 0; i < 3; i++) {
		expect_text(got.ranges[i].from, c.ranges[i].from);
		expect_text(got.ranges[i].to, c.ranges[i].to);
		expect_text(got.ranges[i].at, c.ranges[i].at);
		assert_int_equal(got.ranges[i].done, c.ranges[i].done);
	}
	assert_true(!got.ranges[0].from && !got.ranges[2].to);
	expect_text(got.ranges[1].from, low);
	assert_true(got.begun.gen == 5 && got.begun.no == 1 && got.whole.gen == 4 && got.whole.no == 99);
	assert_true(got.upto.gen == 4 && got.upto.no == 120);
	/* A part of the rows is no copy of all. */
	copy_restart(&got, "w", (struct copy_place){ 5, 7 });
	copy_complete(&got, (struct copy_place){ 5, 20 });
	assert_true(got.begun.no == 7 && got.whole.gen == 4 && got.whole.no == 99 && got.upto.gen == 4 && got.upto.no == 120);
	copy_restart(&got, NULL, (struct copy_place){ 5, 8 });
	assert_int_equal(got.whole.no, 99);
	copy_complete(&got, (struct copy_place){ 5, 30 });
	assert_true(got.whole.gen == 5 && got.whole.no == 8 && got.upto.gen == 5 && got.upto.no == 30);
	assert_false(copy_adopt(&got, (struct copy_place){ 5, 31 }));
	got.upto = (struct copy_place){ 0 }; /* as a version wrote it that did not tell the end */
	assert_true(copy_adopt(&got, (struct copy_place){ 5, 32 }) && got.upto.no == 32);
	/* A table that was stopped is to be emptied first, whoever has it copied. */
	got.state = COPY_STOPPED;
	got.empty = true;
	buf_reset(&b);
	copy_put(&b, &got);
	assert_int_equal(copy_take(buf_view(&b), &got, &err), OK);
	assert_true(got.state == COPY_STOPPED && got.empty && !copy_open(&got));
	copy_restart(&got, NULL, (struct copy_place){ 5, 8 });
	assert_true(got.state == COPY_WAITING && got.empty && copy_open(&got));
	got.empty = false;
	got.whole = (struct copy_place){ 5, 8 };
	assert_true(copy_behind(got.whole, (struct copy_place){ 5, 8 }) && copy_behind(got.whole, (struct copy_place){ 4, 99 }));
	assert_false(copy_behind(got.whole, (struct copy_place){ 5, 9 }) || copy_behind(got.whole, (struct copy_place){ 6, 1 }));
	copy_restart(&got, "w", (struct copy_place){ 5, 9 });
	assert_true(got.state == COPY_WAITING && !got.nranges && !got.since && !got.rows);
	expect_text(got.where, "w");
	expect_text(got.command, "17");
	buf_free(&b);
	copy_free(&c);
	copy_free(&got);
}

/* Keys tell where the schema ends. */
static void
names(void **state)
{
	static const char *const parts[][3] = { { "public", "orders", "public.orders" }, { "a.b", "c", "a\\.b.c" }, { "a", "b.c", "a.b.c" },
		{ "a\\", "b\\.c", "a\\\\.b\\.c" }, { "", "c", ".c" } };
	struct slice schema, table;
	struct arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNTOF(parts); i++) {
		assert_string_equal(copy_name(&a, slice_of(parts[i][0]), slice_of(parts[i][1])), parts[i][2]);
		assert_true(copy_name_split(slice_of(parts[i][2]), &a, &schema, &table));
		assert_true(slice_is(schema, parts[i][0]) && slice_is(table, parts[i][1]));
	}
	assert_false(copy_name_split(SLICE_LIT("plain"), &a, &schema, &table));
	assert_false(copy_name_split(SLICE_LIT("a\\."), &a, &schema, &table));
	assert_false(copy_name_split(SLICE_LIT("a\\"), &a, &schema, &table));
	arena_free(&a);
}

/* Anybody may write into the topic. */
static void
nonsense(void **state)
{
	static const char *const refused[] = { "", "x", "[]", "{}", "{\"state\":1}", "{\"state\":\"flying\"}",
		"{\"state\":\"done\",\"ranges\":7}" };
	static const char *const taken[] = { "{\"state\":\"done\"}",
		"{\"state\":\"copying\",\"ranges\":[1,{\"from\":[1]},{\"at\":\"x\"}],\"rows\":\"many\"}" };
	struct copy c = { 0 };
	struct copy_command cmd;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(refused); i++)
		assert_int_equal(copy_take(slice_of(refused[i]), &c, &err), REJECT);
	for (size_t i = 0; i < COUNTOF(taken); i++)
		assert_int_equal(copy_take(slice_of(taken[i]), &c, &err), OK);
	assert_true(c.nranges == 3 && !c.ranges[1].from && !c.ranges[2].at && c.rows == 0);
	copy_free(&c);
	assert_int_equal(copy_command_take(SLICE_LIT("{\"verb\":\"a very long word indeed\",\"id\":\"1\"}"), &cmd, &err), REJECT);
	assert_int_equal(copy_command_take(SLICE_LIT("{\"verb\":\"add\"}"), &cmd, &err), REJECT);
	assert_int_equal(copy_command_take(SLICE_LIT("{\"verb\":\"add\",\"id\":\"1\",\"where\":\"a\"}"), &cmd, &err), OK);
	expect_text(cmd.where, "a");
	free(cmd.where);
}

static void
snapshots(void **state)
{
	struct copy_snapshot s;
	uint64_t epoch = UINT64_C(3) << 32;
	char text[80];

	(void)state;
	assert_false(copy_snapshot_parse("", &s));
	assert_false(copy_snapshot_parse("7", &s));
	assert_false(copy_snapshot_parse("7:8", &s));
	assert_true(copy_snapshot_parse("100:100:", &s));
	assert_true(copy_snapshot_sees(&s, 99));
	assert_false(copy_snapshot_sees(&s, 100)); /* the next one, and one that is running already: it is not in the list */
	free(s.running);
	assert_true(copy_snapshot_parse("100:120:100,110,119", &s));
	assert_true(copy_snapshot_sees(&s, 101) && copy_snapshot_sees(&s, 118) && copy_snapshot_sees(&s, 3));
	assert_false(copy_snapshot_sees(&s, 110) || copy_snapshot_sees(&s, 119) || copy_snapshot_sees(&s, 120));
	free(s.running);
	/* around the wrap of the stream's 32 bits */
	snprintf(text, sizeof text, "%llu:%llu:%llu", (unsigned long long)epoch - 2,
	    (unsigned long long)epoch + 5, (unsigned long long)epoch + 1);
	assert_true(copy_snapshot_parse(text, &s));
	assert_true(copy_snapshot_sees(&s, UINT32_MAX - 2) && copy_snapshot_sees(&s, UINT32_MAX) && copy_snapshot_sees(&s, 4));
	assert_false(copy_snapshot_sees(&s, 1) || copy_snapshot_sees(&s, 5));
	free(s.running);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(names),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
