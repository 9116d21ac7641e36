/* How far behind, in time. */
#include "control/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define S INT64_C(1000000)

static void
not_behind(void **state)
{
	struct lag l = { 0 };

	(void)state;
	assert_int_equal(lag_us(&l, 5, 100 * S), 0);
	lag_note(&l, 5, 10 * S, 5, 10 * S);
	assert_int_equal(lag_us(&l, 5, 100 * S), 0);
	lag_note(&l, 5, 10 * S, 6,
	    10 * S); /* what the follower says may be newer than what the front said */
	assert_int_equal(lag_us(&l, 6, 100 * S), 0);
}

/* One that stands still while nothing new comes falls behind all the same. */
static void
stands_still(void **state)
{
	struct lag l = { 0 };

	(void)state;
	lag_note(&l, 5, 10 * S, 5, 10 * S);
	lag_note(&l, 6, 20 * S, 5, 10 * S);
	assert_int_equal(lag_us(&l, 5, 20 * S), 0);
	assert_int_equal(lag_us(&l, 5, 80 * S), 60 * S);
	lag_note(&l, 9, 81 * S, 5, 10 * S);
	assert_int_equal(lag_us(&l, 5, 82 * S), 62 * S);
	lag_note(&l, 9, 81 * S, 6, 20 * S);
	assert_int_equal(lag_us(&l, 6, 82 * S), 1 * S);
	lag_note(&l, 9, 81 * S, 9, 81 * S);
	assert_int_equal(lag_us(&l, 9, 90 * S), 0);
}

/* The first sample of one that is behind: since it stopped, not since we look. */
static void
first_look(void **state)
{
	struct lag l = { 0 }, empty = { 0 };

	(void)state;
	lag_note(&l, 9, 100 * S, 5, 10 * S);
	assert_int_equal(lag_us(&l, 5, 101 * S), 91 * S);
	/* It comes nearer; the front moves on. */
	lag_note(&l, 12, 110 * S, 7, 60 * S);
	assert_int_equal(lag_us(&l, 7, 111 * S), 51 * S);
	lag_note(&l, 12, 110 * S, 10, 105 * S);
	assert_int_equal(lag_us(&l, 10, 111 * S), 1 * S);
	/* One that has nothing yet is not near, however new the newest is. */
	lag_note(&empty, 9, 100 * S, 0, 0);
	assert_int_equal(lag_us(&empty, 0, 101 * S), -1);
	lag_note(&empty, 20, 200 * S, 3, 40 * S);
	assert_int_equal(lag_us(&empty, 3, 201 * S), 161 * S);
	lag_note(&empty, 20, 200 * S, 9, 100 * S);
	assert_int_equal(lag_us(&empty, 9, 201 * S), 1 * S);
}

static void
clock_goes_back(void **state)
{
	struct lag l = { 0 };

	(void)state;
	lag_note(&l, 5, 10 * S, 5, 10 * S);
	lag_note(&l, 6, 20 * S, 5, 10 * S);
	assert_int_equal(lag_us(&l, 5, 15 * S), 0);
}

/*
 * More samples than there is room for: exact for one who stands still, too small by the gap between two samples for one who moves.
 */
static void
many(void **state)
{
	struct lag l = { 0 };
	const int n = 100000;

	(void)state;
	lag_note(&l, 1, 1 * S, 1, 1 * S);
	for (int i = 2; i <= n; i++)
		lag_note(&l, (uint64_t)i, i * S, 1, 1 * S);
	assert_true(l.n <= LAG_SAMPLES);
	assert_int_equal(lag_us(&l, 1, n * S), (n - 2) * S);
	for (uint64_t mine = 2; mine < (uint64_t)n; mine += 997) {
		int64_t exact = (int64_t)((uint64_t)n - mine - 1) * S,
			told = lag_us(&l, mine, n * S);

		assert_true(told <= exact);
		assert_true(told >= exact - n / 10 * S);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_behind),
		cmocka_unit_test(stands_still),
		cmocka_unit_test(first_look),
		cmocka_unit_test(clock_goes_back),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
