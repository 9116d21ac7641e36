/* Names made by a template from the groups of a regular expression: pattern_fill. What `tables:` makes of patterns is in conf_test.c. */
#include "core/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

/* NULL: it does not match. In b. */
static const char *
filled(struct buf *b, const char *regex, const char *text, const char *tmpl)
{
	struct pattern_regex *r = NULL;
	const char *reason;
	char why[128];
	size_t at;
	bool yes;

	if (regex) {
		r = pattern_compile_bare(regex, why, &at);
		assert_non_null(r);
	}
	buf_reset(b);
	yes = pattern_fill(r, slice_of(text), tmpl, b, &reason);
	pattern_free(r);
	assert_true(yes ? !reason : strcmp(reason, "does not match") == 0 && buf_view(b).n == 0);
	return yes ? buf_cstr(b) : NULL;
}

static void
templates(void **state UNUSED)
{
	struct buf b = { 0 };

	assert_string_equal(filled(&b, NULL, "order", "event.{route}"), "event.order");
	assert_string_equal(filled(&b, NULL, "", "event.{route}.x"), "event..x");
	assert_string_equal(filled(&b, "(?<kind>[a-z]+)-(\\d+)", "order-17", "{kind}.{2}.{1}.{route}.{0}"),
	    "order.17.order.order-17.order-17");
	/* The whole route, as in Java's matches(); a group that took no part; signs of more than a byte. */
	assert_null(filled(&b, "[a-z]+", "order-17", "x.{route}"));
	assert_null(filled(&b, "[a-z]+", "", "x.{route}"));
	assert_string_equal(filled(&b, "(a)?(?<rest>.*)", "böse", "{1}|{rest}"), "|böse");
	assert_string_equal(filled(&b, ".(.)", "ü€", "{1}"), "€");
	buf_free(&b);
}

static const char *
refused(const char *regex, struct slice text)
{
	struct buf b = { 0 };
	const char *reason;
	char why[128];
	size_t at;
	struct pattern_regex *r = pattern_compile_bare(regex, why, &at);

	assert_non_null(r);
	assert_false(pattern_fill(r, text, "{1}", &b, &reason));
	assert_int_equal(b.n, 0);
	pattern_free(r);
	buf_free(&b);
	return reason;
}

/* No UTF-8; one that would backtrack until tomorrow; and one that would take 84 MB with fewer steps than are allowed. */
static void
limits(void **state UNUSED)
{
	char *text = malloc(100000);
	struct rusage before, after;

	assert_non_null(text);
	assert_non_null(strstr(refused("(.*)", slice_of("\xff")), "UTF-8"));
	assert_non_null(strstr(refused("(a+)+[bc]", slice_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")), "backtracks too much"));
	memset(text, 'a', 100000);
	getrusage(RUSAGE_SELF, &before);
	assert_non_null(strstr(refused("(?:(a)|b)*!", (struct slice){ text, 100000 }), "backtracks too much"));
	getrusage(RUSAGE_SELF, &after);
	assert_in_range(after.ru_maxrss - before.ru_maxrss, 0, 32 << 10);
	free(text);
}

static void
groups(void **state UNUSED)
{
	char why[128];
	size_t at;
	struct pattern_regex *r = pattern_compile_bare("(?<kind>a)(b)", why, &at);

	assert_int_equal(pattern_unknown(r, "{kind}.{1}.{2}.{route}").n, 0);
	assert_true(slice_is(pattern_unknown(r, "{kind}.{3}.{x}"), "3"));
	assert_true(slice_is(pattern_unknown(r, "{kind}.{Kind}"), "Kind"));
	assert_true(slice_is(pattern_unknown(NULL, "{route}.{1}"), "1"));
	assert_int_equal(pattern_unknown(NULL, "{route}").n, 0);
	pattern_free(r);
	assert_null(pattern_compile_bare("a(b", why, &at));
	assert_int_equal(at, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates),
		cmocka_unit_test(limits),
		cmocka_unit_test(groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
