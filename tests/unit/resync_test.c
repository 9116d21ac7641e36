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

/* Its rows are behind that group, in the two that follow. */
static void
copy(struct resync_watch *w, const char *table, const char *state, int gen, int no)
{
	char key[80], value[200];

	snprintf(key, sizeof key, "snapshot/%s", table);
	snprintf(value, sizeof value, "{\"state\":\"%s\",\"begun\":[%d,%d],\"whole\":[%d,%d],\"upto\":[%d,%d]}", state, gen + 5, no,
	    gen, no, gen, no + 2);
	note(w, key, value);
}

static enum resync_state
state_of(const struct resync_watch *w, const struct conf_sink *sink)
{
	struct copy_place upto;

	return resync_state(w, sink, &upto);
}

static void
runs(void **state)
{
	struct resync_watch *w = resync_watch_new();

	(void)state;
	assert_int_equal(state_of(w, &edge), RESYNC_NONE);
	/* What was copied before does not count. */
	copy(w, "public.a", "done", 2, 9);
	copy(w, "public.b", "done", 1, 500);
	note(w, "resync/edge", "{\"id\":\"x1\",\"gen\":2,\"no\":10}");
	note(w, "resync/other", "{\"id\":\"y1\",\"gen\":2,\"no\":11}");
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	copy(w, "public.a", "copying", 2, 9);
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	copy(w, "public.a", "done", 2, 10);
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	copy(w, "public.b", "copying", 1, 500);
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	/* Under another producer, and copied once more meanwhile: it has been copied since. */
	copy(w, "public.b", "copying", 3, 1);
	assert_int_equal(state_of(w, &edge), RESYNC_COPIED);
	assert_int_equal(state_of(w, &(struct conf_sink){ .name = "other", .url = "sqlite:o" }), RESYNC_COPYING);
	note(w, "resync/edge", NULL);
	assert_int_equal(state_of(w, &edge), RESYNC_NONE);
	resync_watch_free(w);
}

/* A process that comes later sees only the newest record of each, in whatever order they were left. */
static void
comes_later(void **state)
{
	struct resync_watch *w = resync_watch_new();

	(void)state;
	copy(w, "public.a", "done", 3, 12);
	note(w, "resync/edge", "{\"id\":\"x1\",\"gen\":3,\"no\":10}");
	assert_int_equal(state_of(w, &edge), RESYNC_COPIED);
	/* A record that does not tell is no copy. */
	note(w, "snapshot/public.gone", "{\"state\":\"done\",\"command\":\"x1\"}");
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	note(w, "snapshot/public.gone", NULL);
	assert_int_equal(state_of(w, &edge), RESYNC_COPIED);
	/* A second one of the same sink begins from nothing. */
	note(w, "resync/edge", "{\"id\":\"x2\",\"gen\":3,\"no\":13}");
	assert_int_equal(state_of(w, &edge), RESYNC_COPYING);
	note(w, "resync/edge", "no JSON");
	note(w, "snapshot/public.a", "{\"state\":\"what\"}");
	note(w, "replica/edge", "{}");
	assert_int_equal(state_of(w, &edge), RESYNC_NONE);
	resync_watch_free(w);
}

/* The sink has all when it is where the last of the copies ends; whoever says how far others are has no part in it. */
static void
ends(void **state)
{
	struct resync_watch *w = resync_watch_new();
	struct copy_place upto = { 9, 9 };

	(void)state;
	note(w, "resync/edge", "{\"id\":\"x1\",\"gen\":2,\"no\":10}");
	copy(w, "public.a", "done", 3, 5);
	copy(w, "public.b", "done", 2, 500);
	copy(w, "public.c", "done", 3, 4);
	assert_int_equal(resync_state(w, &edge, &upto), RESYNC_COPIED);
	assert_true(upto.gen == 3 && upto.no == 7);
	/* Of a producer of a version that did not tell the end: not before it does. */
	note(w, "snapshot/public.d", "{\"state\":\"done\",\"begun\":[3,1],\"whole\":[3,1]}");
	assert_int_equal(resync_state(w, &edge, &upto), RESYNC_COPYING);
	copy(w, "public.d", "done", 3, 1);
	assert_int_equal(resync_state(w, &edge, &upto), RESYNC_COPIED);
	resync_watch_free(w);
}

/* A table of whose copy nobody knows that it is needed: asked for once, by who runs the sink. */
static void
joins(void **state)
{
	struct resync_watch *w = resync_watch_new();

	(void)state;
	note(w, "resync/edge", "{\"id\":\"x1\",\"gen\":2,\"no\":10}");
	note(w, "command/snapshot/public.a", "{\"id\":\"x1\",\"verb\":\"again\"}");
	assert_null(resync_unasked(w, &edge));
	/* The command is on its way, then it is obeyed: the copy began behind the place of the sink. */
	note(w, "snapshot/public.a", "{\"state\":\"done\",\"begun\":[2,3],\"whole\":[2,3],\"upto\":[2,4]}");
	assert_null(resync_unasked(w, &edge));
	note(w, "snapshot/public.a", "{\"state\":\"waiting\",\"begun\":[2,11],\"whole\":[2,3],\"upto\":[2,4]}");
	note(w, "command/snapshot/public.a", NULL);
	assert_null(resync_unasked(w, &edge));
	/* It was given up since: by somebody who knows why. */
	note(w, "snapshot/public.a", "{\"state\":\"cancelled\",\"begun\":[2,11],\"whole\":[2,3],\"upto\":[2,4]}");
	assert_null(resync_unasked(w, &edge));
	/* One that joined before that place, and is copied from there, or is not at all. */
	note(w, "snapshot/public.b", "{\"state\":\"copying\",\"begun\":[2,9],\"whole\":[0,0],\"upto\":[0,0]}");
	assert_string_equal(resync_unasked(w, &edge), "public.b");
	assert_null(resync_unasked(w, &(struct conf_sink){ .name = "other", .url = "sqlite:o" }));
	note(w, "command/snapshot/public.b", "{\"id\":\"x2\",\"verb\":\"again\"}");
	assert_null(resync_unasked(w, &edge));
	note(w, "command/snapshot/public.b", NULL);
	assert_string_equal(resync_unasked(w, &edge), "public.b");
	note(w, "snapshot/public.b", "{\"state\":\"none\",\"begun\":[2,9],\"whole\":[2,9],\"upto\":[2,9]}");
	assert_string_equal(resync_unasked(w, &edge), "public.b");
	/* Or behind it. */
	note(w, "snapshot/public.b", "{\"state\":\"none\",\"begun\":[2,10],\"whole\":[2,10],\"upto\":[2,10]}");
	assert_null(resync_unasked(w, &edge));
	/* A record of a version that did not tell the place. */
	note(w, "snapshot/public.b", "{\"state\":\"none\",\"begun\":[2,9],\"whole\":[2,9],\"upto\":[2,9]}");
	note(w, "resync/edge", "{\"id\":\"x1\"}");
	assert_null(resync_unasked(w, &edge));
	/* A command about a table that is no more makes none. */
	note(w, "resync/edge", "{\"id\":\"x1\",\"gen\":2,\"no\":10}");
	note(w, "snapshot/public.b", NULL);
	note(w, "snapshot/public.a", NULL);
	note(w, "command/snapshot/public.b", "{\"id\":\"x3\",\"verb\":\"again\"}");
	assert_null(resync_unasked(w, &edge));
	assert_int_equal(state_of(w, &edge), RESYNC_COPIED);
	resync_watch_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs),
		cmocka_unit_test(comes_later),
		cmocka_unit_test(ends),
		cmocka_unit_test(joins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
