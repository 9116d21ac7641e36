/*
 * The control topic on the embedded broker: what is put is read back in order, by who was there and by who comes later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/control.h"

#include <cmocka.h>

static struct conf conf = { .name = "c", .partitions = 4, .replication = -1 };
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

static struct control *
open_control(enum control_from from)
{
	struct control *c = NULL;
	struct err err;

	if (control_open(&kafka, from, true, &c, &err) != OK)
		fail_msg("%s", err.text);
	return c;
}

static void
put(struct control *c, const char *key, const char *json)
{
	struct err err;

	if (control_put(c, key, slice_of(json), &err) != OK || control_flush(c, 10000, &err) != OK)
		fail_msg("%s", err.text);
}

static void
expect(struct control *c, const char *key, const char *json)
{
	struct control_record r;
	struct err err;
	enum rc rc = control_next(c, 10000, &r, &err);

	if (rc != OK)
		fail_msg("%s: %s", key, rc == AGAIN ? "nothing came" : err.text);
	assert_true(slice_is(r.key, key));
	assert_true(json ? slice_is(r.value, json) : r.value.n == 0);
	assert_true(r.at_ms > 0);
}

static void
expect_nothing(struct control *c)
{
	struct control_record r;
	struct err err;

	assert_int_equal(control_next(c, 0, &r, &err), AGAIN);
}

static void
there_and_back(void **state)
{
	struct control *a = open_control(CONTROL_ALL), *late, *news;

	(void)state;
	assert_true(control_current(a));
	expect_nothing(a);
	put(a, "snapshot/public.t", "{\"state\":\"copying\"}");
	put(a, "command/1", "{\"command\":\"pause\"}");
	put(a, "command/1", NULL);
	expect(a, "snapshot/public.t", "{\"state\":\"copying\"}");
	expect(a, "command/1", "{\"command\":\"pause\"}");
	expect(a, "command/1", NULL);

	late = open_control(CONTROL_ALL);
	assert_false(control_current(late));
	expect(late, "snapshot/public.t", "{\"state\":\"copying\"}");
	expect(late, "command/1", "{\"command\":\"pause\"}");
	assert_false(control_current(late));
	expect(late, "command/1", NULL);
	assert_true(control_current(late));

	news = open_control(CONTROL_NEWS);
	assert_true(control_current(news));
	put(a, "answer/1", "{}");
	expect(news, "answer/1", "{}");
	expect(late, "answer/1", "{}");
	control_close(news);
	control_close(late);
	control_close(a);
}

/* Only what the topic held at open; what came since is control_next's. */
static void
held(void **state)
{
	struct control *a = open_control(CONTROL_ALL), *b;
	struct control_record r;
	struct slice rest;
	struct err err;

	(void)state;
	assert_int_equal(control_held(a, 5000, &r, &err), AGAIN);
	put(a, "replica/x", "{}");
	put(a, "replica/", "{}");
	b = open_control(CONTROL_ALL);
	put(a, "resync/x", "{}");
	assert_int_equal(control_held(b, 5000, &r, &err), OK);
	assert_true(control_about(r.key, "replica/", &rest) && slice_is(rest, "x"));
	assert_false(control_about(r.key, "resync/", &rest));
	assert_int_equal(control_held(b, 5000, &r, &err), OK);
	assert_false(control_about(r.key, "replica/", &rest)); /* of nothing */
	assert_int_equal(control_held(b, 5000, &r, &err), AGAIN);
	expect(b, "resync/x", "{}");
	control_close(b);
	control_close(a);
}

/* Nobody takes it within the time: said, not forgotten. */
static void
flush_tells(void **state)
{
	struct control *c = open_control(CONTROL_ALL);
	struct err err;

	(void)state;
	assert_int_equal(control_put(c, "k", SLICE_LIT("{}"), &err), OK);
	assert_int_equal(control_flush(c, 0, &err), RETRY);
	assert_non_null(strstr(err.text, "acknowledge"));
	assert_int_equal(control_flush(c, 10000, &err), OK);
	control_close(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(held, setup, teardown),
		cmocka_unit_test_setup_teardown(flush_tells, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
