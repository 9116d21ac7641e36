/* Where to begin in the place of a Debezium. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/takeover.h"

#include <cmocka.h>

/* Three transactions, of two rows each; the second has both at one LSN, as COPY writes them. */
static void
slot(struct takeover *t)
{
	takeover_begin(t, 7);
	takeover_row(t, 100);
	takeover_row(t, 110);
	takeover_commit(t, 120, 128);
	takeover_begin(t, 8);
	takeover_row(t, 105);
	takeover_row(t, 105);
	takeover_commit(t, 130, 138);
	takeover_begin(t, 9);
	takeover_commit(t, 140, 148); /* nothing of ours */
	takeover_begin(t, 10);
	takeover_row(t, 150);
	takeover_row(t, 160);
	takeover_commit(t, 170, 178);
}

static void
behind_the_last_whole(void **state UNUSED)
{
	struct takeover t = { .lsn = 90 };

	slot(&t);
	assert_int_equal(t.lsn, 90);
	assert_int_equal(t.left, 3);
	assert_int_equal(t.left_rows, 6);
	assert_int_equal(t.again, 0);
	takeover_free(&t);

	t = (struct takeover){ .lsn = 90 };
	takeover_seen(&t, 6, 80, 1); /* of before */
	takeover_seen(&t, 7, 100, 1);
	takeover_seen(&t, 7, 110, 1);
	takeover_seen(&t, 8, 105, 1);
	takeover_seen(&t, 8, 105, 2);
	slot(&t);
	assert_int_equal(t.lsn, 148);
	assert_int_equal(t.whole, 2);
	assert_int_equal(t.left, 1);
	assert_int_equal(t.again, 0);
	takeover_free(&t);
}

/* The connector was stopped inside a transaction, or killed when another partition was behind: these rows would come again. */
static void
what_would_come_again(void **state UNUSED)
{
	struct takeover t = { .lsn = 90 };

	takeover_seen(&t, 7, 100, 1);
	takeover_seen(&t, 7, 110, 1);
	takeover_seen(&t, 8, 105, 1);
	takeover_seen(&t, 8, 105, 1); /* written twice: it is one row */
	takeover_seen(&t, 8, 100, 3); /* the LSN of another's row */
	takeover_seen(&t, 10, 150, 1);
	takeover_seen(&t, 10, 160, 1);
	slot(&t);
	assert_int_equal(t.lsn, 128);
	assert_int_equal(t.left, 2);
	assert_int_equal(t.again, 2);
	assert_int_equal(t.again_rows, 3);
	takeover_free(&t);
}

/* What committed before the stored offset's last commit is in Kafka, whatever retention has left of it. */
static void
by_its_own_word(void **state UNUSED)
{
	struct takeover t = { .lsn = 90, .stored = 138 };

	slot(&t);
	assert_int_equal(t.lsn, 148);
	assert_int_equal(t.left, 1);
	takeover_free(&t);
	t = (struct takeover){ .lsn = 90, .stored = 130 };
	slot(&t);
	assert_int_equal(t.lsn, 128);
	takeover_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behind_the_last_whole),
		cmocka_unit_test(what_would_come_again),
		cmocka_unit_test(by_its_own_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
