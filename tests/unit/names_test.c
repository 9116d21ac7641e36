/*
 * Names of columns that changes of before may still be written under.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/names.h"
#include "core/arena.h"

#include <cmocka.h>

/* "id a" of a version; "a<b" was b before, "a+" is fresh. */
static struct table *
version(struct arena *a, const char *text)
{
	struct table *t = arena_new(a, struct table);

	*t = (struct table){ .schema = SLICE_LIT("public"), .name = SLICE_LIT("t") };
	t->cols = arena_array(a, 8, sizeof *t->cols);
	for (const char *p = text; *p; p += strspn(p, " ")) {
		struct column *c = &t->cols[t->ncols++];

		*c = (struct column){ .name = { p, strcspn(p, " <+") } };
		p += c->name.n;
		c->fresh = *p == '+';
		if (*p == '<')
			c->was = (struct slice){ p + 1, strcspn(p + 1, " ") };
		p += strcspn(p, " ");
	}
	return t;
}

/* A change of the first version, and the versions since. */
static enum rc
check(const char *then, const char *const *since, int n)
{
	struct arena a = { 0 };
	struct buf b = { 0 };
	const char *notes[8];
	struct err err;
	enum rc rc;

	for (int i = 0; i < n; i++) {
		buf_reset(&b);
		if (since[i])
			names_put(version(&a, since[i]), &b);
		notes[i] = since[i] ? arena_text(&a, buf_view(&b)) : "null";
	}
	rc = names_check(version(&a, then), notes, n, &err);
	buf_free(&b);
	arena_free(&a);
	return rc;
}

#define CHECK(THEN, ...) check(THEN, (const char *const[]){ __VA_ARGS__ }, COUNTOF(((const char *const[]){ __VA_ARGS__ })))

static void
names(void **state)
{
	(void)state;
	assert_int_equal(check("id a", NULL, 0), OK);
	assert_int_equal(CHECK("id a", "id a c+", "id a c d"), OK);
	/* Gone, and the name not given again: the sink decides. */
	assert_int_equal(CHECK("id a", "id b<a"), OK);
	assert_int_equal(CHECK("id a", "id"), OK);
	assert_int_equal(CHECK("id a", "id b<a a"), REJECT);
	assert_int_equal(CHECK("id a", "id b<a", "id b a"), REJECT);
	assert_int_equal(CHECK("id a", "id", "id a"), REJECT);
	assert_int_equal(CHECK("id a", "id a+"), REJECT);
	assert_int_equal(CHECK("id a b", "id a<b b<a"), REJECT);
	assert_int_equal(CHECK("id a", "id b<a a", "id b"), REJECT); /* whatever it is called now: it was another's in between */
	assert_int_equal(CHECK("id b", "id b", "id b c"), OK);
	assert_int_equal(CHECK("id a", NULL), REJECT);
	assert_int_equal(CHECK("id \"\xc3\xa9", "id \"\xc3\xa9+"), REJECT);
}

static void
hostile(void **state)
{
	static const char *const notes[] = { "", "{", "7", "[]", "{\"same\":7}", "{\"same\":[7,\"id\"],\"other\":[null]}" };
	struct arena a = { 0 };
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(notes); i++) {
		enum rc rc = names_check(version(&a, "id a"), &notes[i], 1, &err);

		assert_true(rc == OK || rc == REJECT);
	}
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
