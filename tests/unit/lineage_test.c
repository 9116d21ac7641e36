/* Which column is which, by a catalogue that may be ahead of the stream. */
#include "producer/lineage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define COL(n, type) { .name = { n, sizeof(n) - 1 }, .typid = type, .typmod = -1 }
#define ATTR(no, n, type) { .attnum = no, .name = { n, sizeof(n) - 1 }, .typid = type, .typmod = -1 }
#define GONE(no) { .attnum = no, .name = { "........pg.dropped", 18 }, .typmod = -1, .dropped = true }
#define TABLE(c) { .schema = SLICE_LIT("public"), .name = SLICE_LIT("t"), .relid = 7, .ncols = COUNTOF(c), .cols = c }

static void
numbers(const struct table *t, const int *want)
{
	for (int i = 0; i < t->ncols; i++)
		assert_int_equal(t->cols[i].attnum, want[i]);
}

/* Nothing was dropped: columns are counted off, whatever they are called by now. */
static void
test_counted(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23) }, c2[] = { COL("id", 23), COL("b", 25), COL("c", 23) };
	struct table v1 = TABLE(c1), v2 = TABLE(c2);
	const struct lineage_attr ahead[] = { ATTR(1, "id", 23), ATTR(2, "z", 25), ATTR(3, "c", 23) };
	struct arena a = { 0 };

	(void)state;
	lineage_number(&v1, NULL, ahead, 3, false);
	numbers(&v1, (int[]){ 1, 2 });
	lineage_number(&v2, &v1, ahead, 3, false);
	numbers(&v2, (int[]){ 1, 2, 3 });
	lineage_compare(&v2, &v1, &a);
	assert_true(slice_is(c2[1].was, "a"));
	assert_false(c2[0].fresh || c2[0].was.n || c2[1].fresh || c2[2].was.n);
	assert_false(c2[2].fresh); /* it is, and no sink can take it for another: nothing was dropped */
	/* With a column list the message has not all of them. */
	lineage_number(&v1, NULL, ahead, 3, true);
	numbers(&v1, (int[]){ 1, 0 });
	arena_free(&a);
}

/* A column was dropped, and meanwhile another one renamed and a new one put under its name. */
static void
test_dropped(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23), COL("gone", 25), COL("e", 21) },
		      c2[] = { COL("id", 23), COL("a", 23), COL("e", 21) },
		      c3[] = { COL("id", 23), COL("a2", 23), COL("e", 21), COL("a", 25) };
	struct table v1 = TABLE(c1), v2 = TABLE(c2), v3 = TABLE(c3);
	const struct lineage_attr then[] = { ATTR(1, "id", 23), ATTR(2, "a", 23), ATTR(3, "gone", 25), ATTR(4, "e", 21) },
				  now[] = { ATTR(1, "id", 23), ATTR(2, "a2", 23), GONE(3), ATTR(4, "e", 21), ATTR(5, "a", 25) };
	struct arena a = { 0 };

	(void)state;
	lineage_number(&v1, NULL, then, 4, false);
	lineage_number(&v2, &v1, now, 5, false);
	numbers(&v2, (int[]){ 1, 2, 4 });
	lineage_number(&v3, &v2, now, 5, false);
	numbers(&v3, (int[]){ 1, 2, 4, 5 });
	lineage_compare(&v3, &v2, &a);
	assert_true(slice_is(c3[1].was, "a"));
	assert_true(c3[3].fresh);
	assert_int_equal(lineage_replaced(&v3, &v2, 0), -1); /* it lives on as a2 */
	arena_free(&a);
}

/* What cannot be told is not told. */
static void
test_unknown(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23) }, c2[] = { COL("id", 23), COL("b", 23) };
	struct table v1 = TABLE(c1), v2 = TABLE(c2);
	const struct lineage_attr then[] = { ATTR(1, "id", 23), ATTR(2, "a", 23) },
				  now[] = { ATTR(1, "id", 23), GONE(2), ATTR(3, "c", 23) };
	struct arena a = { 0 };

	(void)state;
	lineage_number(&v1, NULL, then, 2, false);
	lineage_number(&v2, &v1, now, 3, false); /* b may have been a, or have come and become c */
	numbers(&v2, (int[]){ 1, 0 });
	lineage_compare(&v2, &v1, &a);
	assert_false(c2[1].was.n || c2[1].fresh);
	arena_free(&a);
}

/* A column is dropped and another one takes its name and type: it is not the one that was dropped. */
static void
test_name_taken_over(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23), COL("a_new", 23) }, c2[] = { COL("id", 23), COL("a", 23) },
		      c3[] = { COL("id", 23), COL("a", 23) };
	struct table v1 = TABLE(c1), v2 = TABLE(c2), same = TABLE(c3);
	const struct lineage_attr then[] = { ATTR(1, "id", 23), ATTR(2, "a", 23), ATTR(3, "a_new", 23) },
				  now[] = { ATTR(1, "id", 23), GONE(2), ATTR(3, "a", 23) };
	struct arena a = { 0 };

	(void)state;
	lineage_number(&v1, NULL, then, 3, false);
	lineage_number(&v2, &v1, now, 3, false);
	numbers(&v2, (int[]){ 1, 3 });
	lineage_compare(&v2, &v1, &a);
	assert_true(slice_is(c2[1].was, "a_new"));
	/* Had the version before no a_new, the message may be of before or of after: nothing is known of it. */
	v1.ncols = 2;
	lineage_number(&same, &v1, now, 3, false);
	numbers(&same, (int[]){ 1, 0 });
	/* And with a column list it may be either as well. */
	v1.ncols = 3;
	lineage_number(&same, &v1, now, 3, true);
	numbers(&same, (int[]){ 1, 0 });
	arena_free(&a);
}

static void
test_replaced_and_rekeyed(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23) }, c2[] = { COL("no", 23), COL("a", 23) };
	struct table v1 = TABLE(c1), v2 = TABLE(c2), other = TABLE(c2);
	const struct lineage_attr then[] = { ATTR(1, "id", 23), ATTR(2, "a", 23) },
				  now[] = { ATTR(1, "no", 23), GONE(2), ATTR(3, "a", 23) };
	struct arena a = { 0 };
	int k1[] = { 0 }, k2[] = { 1 };

	(void)state;
	v1.keys = k1;
	v2.keys = k2;
	v1.nkeys = v2.nkeys = 1;
	lineage_number(&v1, NULL, then, 2, false);
	lineage_number(&v2, NULL, now, 3, false);
	lineage_compare(&v2, &v1, &a);
	assert_true(slice_is(c2[0].was, "id"));
	assert_int_equal(lineage_replaced(&v2, &v1, 0), 1);
	assert_true(v2.rekeyed && v2.nwas_keys == 1);
	assert_true(slice_is(v2.was_keys[0], "no")); /* id, by its name of now */
	/* Another table that has taken the name: no key, no name is handed on. */
	other.relid = 8;
	c2[0].was = (struct slice){ NULL, 0 };
	c2[0].fresh = c2[1].fresh = false;
	lineage_compare(&other, &v1, &a);
	assert_true(c2[0].fresh && !c2[1].fresh && !c2[0].was.n && !other.rekeyed);
	arena_free(&a);
}

/* After a restart nothing has happened, or something has. */
static void
test_same(void **state)
{
	struct column c1[] = { COL("id", 23), COL("a", 23) }, c2[] = { COL("id", 23), COL("a", 23) };
	struct table before = TABLE(c1), now = TABLE(c2);
	int k1[] = { 0 }, k2[] = { 1 };

	(void)state;
	before.keys = now.keys = k1;
	before.nkeys = now.nkeys = 1;
	c1[0].attnum = c2[0].attnum = 1;
	c1[1].attnum = 2;
	assert_true(lineage_same(&now, &before)); /* a's number is not certain now, and nothing contradicts */
	c2[1].attnum = 3;
	assert_false(lineage_same(&now, &before));
	c2[1].attnum = 2;
	c2[1].name = SLICE_LIT("b");
	assert_false(lineage_same(&now, &before));
	c2[1].name = SLICE_LIT("a");
	c2[1].typid = 20;
	assert_false(lineage_same(&now, &before));
	c2[1].typid = 23;
	now.keys = k2;
	assert_false(lineage_same(&now, &before));
	now.keys = k1;
	now.name = SLICE_LIT("u");
	assert_false(lineage_same(&now, &before));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counted),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_name_taken_over),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_replaced_and_rekeyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
