#include "schemas/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void
confluent_layout(void **state UNUSED)
{
	struct buf b = { 0 };
	struct slice body;
	struct frame f;

	frame_put(&b, (struct frame){ FRAME_CONFLUENT, 0x01020304 });
	buf_text(&b, "xy");
	assert_int_equal(b.n, 7);
	assert_memory_equal(b.p, "\0\1\2\3\4xy", 7);
	f = frame_take(buf_view(&b), &body);
	assert_int_equal(f.kind, FRAME_CONFLUENT);
	assert_int_equal(f.id, 0x01020304);
	assert_true(slice_is(body, "xy"));
	buf_free(&b);
}

/* The fingerprint is little-endian: the lowest byte first. */
static void
single_layout(void **state UNUSED)
{
	struct buf b = { 0 };
	struct slice body;
	struct frame f;

	frame_put(&b, (struct frame){ FRAME_SINGLE, 0xc15d213aa4d7a795 });
	buf_text(&b, "xy");
	assert_int_equal(b.n, 12);
	assert_memory_equal(b.p, "\xc3\x01\x95\xa7\xd7\xa4\x3a\x21\x5d\xc1xy", 12);
	f = frame_take(buf_view(&b), &body);
	assert_int_equal(f.kind, FRAME_SINGLE);
	assert_true(f.id == 0xc15d213aa4d7a795);
	assert_true(slice_is(body, "xy"));
	buf_free(&b);
}

static void
none(void **state UNUSED)
{
	static const struct slice bad[] = {
		{ NULL, 0 },
		SLICE_LIT("\0\0\0\1"),
		SLICE_LIT("\1\0\0\0\1x"),
		SLICE_LIT("\xc3\x01\0\0\0\0\0\0\0"),
		SLICE_LIT("\xc3\x02\0\0\0\0\0\0\0\0"),
		SLICE_LIT("{\"json\": 1}"),
	};
	struct buf b = { 0 };

	for (size_t i = 0; i < COUNTOF(bad); i++) {
		struct slice body;

		assert_int_equal(frame_take(bad[i], &body).kind, FRAME_NONE);
		assert_true(slice_eq(body, bad[i]));
	}
	frame_put(&b, (struct frame){ FRAME_NONE, 0 });
	assert_int_equal(b.n, 0);
	buf_free(&b);
}

/* Only a frame: an empty body is the caller's business. */
static void
empty_body(void **state UNUSED)
{
	struct slice body;

	assert_int_equal(frame_take(SLICE_LIT("\0\0\0\0\7"), &body).id, 7);
	assert_int_equal(body.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(confluent_layout),
		cmocka_unit_test(single_layout),
		cmocka_unit_test(none),
		cmocka_unit_test(empty_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
