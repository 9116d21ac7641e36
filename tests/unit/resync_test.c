/* When a sink that is made anew has all of its tables: from what the control topic says, in its order. */
#include "control/resync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct conf_sink edge = { .name = "edge", .url = "sqlite:edge.db" };

static void
note(struct resync_watch *w, const char *key, const char *value)
{
	resync_note(w, (struct slice){ key, strlen(key) }, (struct slice){ value, value ? strlen(value) : 0 });
}

static void
copy(struct resync_watch *w, const char *table, const char *state, const char *command, int began_ms)
{
	char key[80], value[200];

	snprintf(key, sizeof key, "snapshot/%s", table);
	snprintf(value, sizeof value, "{\"state\":\"%s\",\"command\":\"%s\",\"began_ms\":%d}", state, command, began_ms);
	note(w, key, value);
}

static void
runs(void **state)
{
	struct resync_watch *w = resync_watch_new();

	(void)state;
	assert_int_equal(resync_state(w, &edge), RESYNC_NONE);
	/* What was copied before does not count. */
	copy(w, "public.a", "done", "first", 10);
	copy(w, "public.b", "done", "first", 10);
	note(w, "resync/edge", "{\"id\":\"x1\",\"at_ms\":1000}");
	note(w, "resync/other", "{\"id\":\"y1\",\"at_ms\":1000}");
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	copy(w, "public.a", "done", "first", 10);
	copy(w, "public.a", "copying", "x1", 900); /* by a clock that is behind */
	copy(w, "public.a", "done", "x1", 900);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	copy(w, "public.b", "copying", "x1", 900);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	/* Another copy of it before ours was over: that one must end, then it has all. */
	copy(w, "public.b", "copying", "later", 950);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	copy(w, "public.b", "done", "later", 950);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPIED);
	note(w, "resync/edge", NULL);
	assert_int_equal(resync_state(w, &edge), RESYNC_NONE);
	assert_int_not_equal(resync_state(w, &(struct conf_sink){ .name = "other", .url = "sqlite:o" }), RESYNC_NONE);
	resync_watch_free(w);
}

/* A process that comes later sees only the newest record of each. */
static void
comes_later(void **state)
{
	struct resync_watch *w = resync_watch_new();

	(void)state;
	copy(w, "public.a", "done", "later", 2000);
	note(w, "resync/edge", "{\"id\":\"x1\",\"at_ms\":1000}");
	assert_int_equal(resync_state(w, &edge), RESYNC_COPIED);
	copy(w, "public.gone", "done", "first", 10);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	note(w, "snapshot/public.gone", NULL);
	assert_int_equal(resync_state(w, &edge), RESYNC_COPIED);
	/* A second one of the same sink begins from nothing. */
	note(w, "resync/edge", "{\"id\":\"x2\",\"at_ms\":5000}");
	assert_int_equal(resync_state(w, &edge), RESYNC_COPYING);
	note(w, "resync/edge", "no JSON");
	note(w, "snapshot/public.a", "{\"state\":\"what\"}");
	note(w, "replica/edge", "{}");
	assert_int_equal(resync_state(w, &edge), RESYNC_NONE);
	resync_watch_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(runs), cmocka_unit_test(comes_later) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
