/* One change as a line of text and as JSON. */
#include "control/tail.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { ID, NAME, NOTE, DAY, COLS };

static struct column cols[COLS] = {
	[ID] = { .name = SLICE_LIT("id"), .type = { .wire = W_INT64 } },
	[NAME] = { .name = SLICE_LIT("name"), .type = { .wire = W_STRING } },
	[NOTE] = { .name = SLICE_LIT("a note"), .type = { .wire = W_STRING } },
	[DAY] = { .name = SLICE_LIT("day"), .type = { .wire = W_INT32, .semantic = "io.debezium.time.Date" } },
};
static int keys[1] = { ID };
static const struct table tbl = { .schema = SLICE_LIT("public"), .name = SLICE_LIT("t"),
	.ncols = COLS, .cols = cols, .nkeys = 1, .keys = keys };

/* 2^53 + 1 is what a double cannot hold. */
static const struct value old_row[COLS] = {
	{ .kind = V_INT, .i = 9007199254740993 }, { .kind = V_STRING,
		.s = SLICE_LIT("null") }, { .kind = V_NULL }, { .kind = V_INT, .i = 0 },
};
static const struct value new_row[COLS] = {
	{ .kind = V_INT, .i = 9007199254740993 }, { .kind = V_STRING,
		.s = SLICE_LIT("a, b") }, { .kind = V_ABSENT }, { .kind = V_INT, .i = 1 },
};

static void
same(struct buf *got, const char *want)
{
	assert_string_equal(buf_cstr(got), want);
	buf_free(got);
}

static struct tail_change
change(const struct tl *tl, const struct envelope *env)
{
	return (struct tail_change){ .tl = tl, .env = env, .tbl = &tbl, .partition = 2, .offset = 7 };
}

static void
update(void **state)
{
	const struct envelope env = { .op = OP_UPDATE, .before = old_row, .after = new_row, .source_us = 1 };
	struct tl tl = { .seq = 3, .index = 1, .lsn = 0x4F00000010, .flags = TL_BEFORE_FULL };
	struct tail_change c = change(&tl, &env);
	struct buf out = { 0 };
	json_t *j;

	(void)state;
	tail_text(&out, &c);
	same(&out,
	    "1970-01-01T00:00:00.000001Z  4F/10         3.1  u  key=9007199254740993  name: "
	    "\"null\" -> \"a, b\", day: 1970-01-01 -> 1970-01-02\n");

	/* What a key-only old row says of the other columns is nothing. */
	tl.flags = 0;
	tail_text(&out, &c);
	same(&out, "1970-01-01T00:00:00.000001Z  4F/10         3.1  u  key=9007199254740993  name: \"a, b\", day: 1970-01-02\n");

	tail_json(&out, &c);
	j = json_loads(buf_cstr(&out), 0, NULL);
	assert_non_null(j);
	json_decref(j);
	same(&out, "{\"lsn\":\"4F/10\",\"seq\":3,\"index\":1,\"op\":\"u\",\"table\":\"public.t\",\"ts\":\"1970-01-01T00:00:00.000001Z\","
	    "\"before\":{\"id\":9007199254740993},\"after\":{\"id\":9007199254740993,\"name\":\"a, b\",\"day\":\"1970-01-02\"},"
	    "\"unchanged\":[\"a note\"],\"partition\":2,\"offset\":7}\n");
}

static void
foreign(void **state)
{
	struct value row[COLS] = { { .kind = V_INT, .i = 1 }, { .kind = V_STRING,
		.s = SLICE_LIT("\x1b[2J\xff") }, { .kind = V_NULL }, { .kind = V_NULL } };
	const struct envelope env = { .op = 0, .after = row };
	struct tail_change c = change(NULL, &env);
	struct buf out = { 0 };

	(void)state;
	tail_text(&out, &c);
	same(&out,
	    "1970-01-01T00:00:00.000000Z  0/0           -  -  key=1  name: \"\\u001b[2J\xef\xbf\xbd\", \"a note\": null, day: null\n");
	tail_key(&out, &c);
	same(&out, "1");
	tail_json(&out, &c);
	assert_non_null(strstr(buf_cstr(&out), "\"seq\":null,\"index\":null,\"op\":null"));
	buf_free(&out);
}

static void
long_value(void **state)
{
	char text[400];
	struct value row[COLS] = { { .kind = V_INT, .i = 1 }, { .kind = V_STRING,
		.s = { text, 399 } }, { .kind = V_ABSENT }, { .kind = V_ABSENT } };
	const struct envelope env = { .op = OP_CREATE, .after = row };
	struct tail_change c = change(NULL, &env);
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i + 2 < sizeof text; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3); /* the cut falls between two characters */
	tail_text(&out, &c);
	assert_non_null(strstr(buf_cstr(&out), "\xe2\x82\xac... (399 bytes)\n"));
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(update), cmocka_unit_test(foreign), cmocka_unit_test(long_value) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
