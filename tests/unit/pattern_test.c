/* Names made by a template from the groups of a regular expression: pattern_fill. What `tables:` makes of patterns is in conf_test.c. */
#include "core/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

/* NULL: it does not match. In b. */
static const char *
filled(struct buf *b, const char *regex, const char *text, const char *tmpl)
{
	struct pattern_regex *r = NULL;
	char why[128];
	size_t at;
	bool yes;

	if (regex) {
		r = pattern_compile_bare(regex, why, &at);
		assert_non_null(r);
	}
	buf_reset(b);
	yes = pattern_fill(r, slice_of(text), tmpl, b);
	pattern_free(r);
	assert_true(yes || buf_view(b).n == 0);
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
	/* No UTF-8, and one that would backtrack until tomorrow: no match. */
	assert_null(filled(&b, "(.*)", "\xff", "{1}"));
	assert_null(filled(&b, "(a+)+b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "{1}"));
	buf_free(&b);
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
		cmocka_unit_test(groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
