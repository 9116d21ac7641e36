#include "schemas/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct err err;

static struct tl
taken(struct slice s)
{
	struct tl h;

	assert_int_equal(tl_take(s, &h, &err), OK);
	return h;
}

/* The bytes themselves: other programs read them by the layout in header.h. */
static void
layout(void **state UNUSED)
{
	struct value after[9] = { 0 }, before[9] = { 0 };
	struct buf b = { 0 };
	struct tl h = {
		.flags = TL_LAST | TL_BEFORE_FULL, .gen = 3, .seq = 300, .index = 1, .lsn = 0x4000
	};

	for (int i = 0; i < 9; i++)
		after[i] = before[i] = value_int(i);
	tl_put(&b, &h, before, after, 9);
	assert_int_equal(b.n, 9);
	assert_memory_equal(b.p, "\x01\x42\x03\xac\x02\x01\x80\x80\x01", b.n);

	buf_reset(&b);
	after[1].kind = after[8].kind = V_ABSENT;
	after[0].exact = SLICE_LIT("NaN");
	before[2].exact = SLICE_LIT("1 mon");
	tl_put(&b, &h, before, after, 9);
	assert_memory_equal(b.p,
	    "\x01\x72\x03\xac\x02\x01\x80\x80\x01"
	    "\x02\x02\x01"
	    "\x02\x05\x05"
	    "1 mon"
	    "\x00\x03"
	    "NaN",
	    b.n);
	assert_int_equal(b.n, 9 + 3 + 3 + 5 + 2 + 3);
	buf_free(&b);
}

/* Flags that the rows decide are not the caller's to set. */
static void
flags_follow_rows(void **state UNUSED)
{
	struct value row[2] = { value_int(1), value_null() };
	struct buf b = { 0 };
	struct tl h = { .flags = TL_UNCHANGED | TL_EXACT | TL_TOMBSTONE };

	tl_put(&b, &h, row, NULL, 2);
	assert_int_equal(taken(buf_view(&b)).flags, TL_TOMBSTONE);
	buf_reset(&b);
	row[1] = (struct value){ .kind = V_ABSENT };
	tl_put(&b, &h, row, NULL, 2); /* absent in `before` is no TOAST */
	assert_int_equal(taken(buf_view(&b)).flags, TL_TOMBSTONE);
	buf_reset(&b);
	tl_put(&b, &h, NULL, row, 2);
	assert_int_equal(taken(buf_view(&b)).flags, TL_TOMBSTONE | TL_UNCHANGED);
	buf_free(&b);
}

static void
apply(void **state UNUSED)
{
	struct value after[3] = { value_int(1), value_int(2), value_null() };
	struct value before[3] = { value_int(1), value_int(2), value_null() };
	struct buf b = { 0 };
	struct tl h = {
		.gen = UINT64_MAX, .seq = UINT64_MAX, .index = UINT64_MAX, .lsn = UINT64_MAX
	};

	after[1].kind = V_ABSENT;
	after[2].exact = SLICE_LIT("Infinity");
	tl_put(&b, &h, NULL, after, 3);
	h = taken(buf_view(&b));
	assert_true(h.gen == UINT64_MAX && h.seq == UINT64_MAX && h.index == UINT64_MAX &&
	    h.lsn == UINT64_MAX);

	after[1] = value_string(SLICE_LIT("__debezium_unavailable_value"));
	after[2].exact = (struct slice){ 0 };
	assert_int_equal(tl_apply(&h, before, after, 3, &err), OK);
	assert_int_equal(after[1].kind, V_ABSENT);
	assert_true(slice_is(after[2].exact, "Infinity"));
	assert_int_equal(after[2].kind, V_NULL);
	assert_int_equal(before[2].exact.n, 0);
	assert_int_equal(tl_apply(&h, NULL, NULL, 3, &err), OK);

	/* a header of another table version must not write behind the row */
	assert_int_equal(tl_apply(&h, before, after, 2, &err), REJECT);
	assert_non_null(strstr(err.text, "the row has 2 columns"));
	assert_int_equal(tl_apply(&h, before, after, 1, &err), REJECT);
	buf_free(&b);
}

static void
later_fields_are_passed_over(void **state UNUSED)
{
	struct buf b = { 0 };
	struct tl h = { .seq = 7 };

	tl_put(&b, &h, NULL, NULL, 0);
	buf_text(&b, "whatever comes");
	assert_int_equal(taken(buf_view(&b)).seq, 7);
	b.p[0] = 3;
	assert_int_equal(tl_take(buf_view(&b), &h, &err), REJECT);
	assert_non_null(strstr(err.text, "version 3"));
	buf_free(&b);
}

/* The schemas' mark comes last, and never in a part of a row, where an older reader would have to know its flag. */
static void
mark_of_schemas(void **state UNUSED)
{
	struct buf b = { 0 };
	struct tl h = { .flags = TL_MARK | TL_LAST, .seq = 7, .mark = 0x80000001 }, back;

	tl_put(&b, &h, NULL, NULL, 0);
	back = taken(buf_view(&b));
	assert_int_equal(back.flags, TL_MARK | TL_LAST);
	assert_int_equal(back.mark, 0x80000001);
	assert_int_equal(tl_take((struct slice){ b.p, b.n - 1 }, &back, &err), REJECT);
	buf_reset(&b);
	h.mark = 0;
	tl_put(&b, &h, NULL, NULL, 0);
	assert_int_equal(taken(buf_view(&b)).flags, TL_LAST);
	buf_reset(&b);
	h = (struct tl){ .flags = TL_MARK | TL_CHUNK, .mark = 5, .count = 2, .own = 9 };
	tl_put(&b, &h, NULL, NULL, 0);
	assert_int_equal(taken(buf_view(&b)).flags, TL_CHUNK);
	assert_int_equal(taken(buf_view(&b)).mark, 0);
	buf_free(&b);
}

/* The record of a truncate has no key: the frame of those of its table, behind all else. */
static void
key_of_truncate(void **state UNUSED)
{
	static const struct frame frames[] = { { FRAME_CONFLUENT, 0x80000001 }, { FRAME_SINGLE, UINT64_C(0x8000000000000002) } };
	struct buf b = { 0 };
	struct tl back;

	for (size_t i = 0; i < COUNTOF(frames); i++) {
		struct tl h = { .flags = TL_MARK | TL_LAST, .mark = 9, .key = frames[i] };

		buf_reset(&b);
		tl_put(&b, &h, NULL, NULL, 0);
		back = taken(buf_view(&b));
		assert_int_equal(back.flags, TL_MARK | TL_LAST | TL_KEY);
		assert_int_equal(back.key.kind, frames[i].kind);
		assert_true(back.key.id == frames[i].id && back.mark == 9);
		for (size_t n = 0; n < b.n; n++)
			assert_int_equal(tl_take((struct slice){ b.p, n }, &back, &err), REJECT);
	}
	buf_reset(&b);
	tl_put(&b, &(struct tl){ .flags = TL_KEY | TL_LAST }, NULL, NULL, 0);
	assert_int_equal(taken(buf_view(&b)).flags, TL_LAST);
	buf_free(&b);
}

/* A part of a row must not be taken for a row: it has version 2, where every flag must be known, and which a reader of 1 refuses. */
static void
chunks(void **state UNUSED)
{
	static const uint8_t want[] = { 2, 0x82, 5, 1, 2, 3, 4, 5, 6, 7 };
	struct buf b = { 0 };
	struct tl h = { .flags = TL_CHUNK | TL_BEFORE_FULL | TL_BEGINS,
		.gen = 1,
		.seq = 2,
		.index = 3,
		.lsn = 4,
		.number = 5,
		.count = 6,
		.own = 7 };

	tl_put(&b, &h, NULL, NULL, 0);
	assert_int_equal(b.n, sizeof want);
	assert_memory_equal(b.p, want, sizeof want);
	h = taken(buf_view(&b));
	assert_int_equal(h.flags, TL_CHUNK | TL_BEFORE_FULL | TL_BEGINS);
	assert_true(h.number == 5 && h.count == 6 && h.own == 7);
	b.p[0] = 1;
	assert_int_equal(tl_take(buf_view(&b), &h, &err), REJECT);
	b.p[0] = 2;
	b.p[7] = 6; /* the seventh of six */
	assert_int_equal(tl_take(buf_view(&b), &h, &err), REJECT);
	b.p[7] = 5;
	b.p[2] = 21; /* a flag of the future */
	assert_int_equal(tl_take(buf_view(&b), &h, &err), REJECT);
	assert_non_null(strstr(err.text, "upgrade the reader"));
	buf_free(&b);
}

/* Every prefix of a valid header is an error, each in a block of its own, so that ASan sees a read
 * behind it. */
static void
cut_short(void **state UNUSED)
{
	struct value row[20] = { 0 };
	struct buf b = { 0 };
	struct tl h = {
		.flags = TL_LAST, .gen = 1000, .seq = 1u << 30, .index = 5, .lsn = 1ull << 40
	};

	for (int i = 0; i < 20; i += 3) {
		row[i] = value_int(i);
		row[i].exact = SLICE_LIT("some text");
	}
	tl_put(&b, &h, row, row, 20);
	assert_int_equal(tl_take(buf_view(&b), &h, &err), OK);
	for (size_t n = 0; n < b.n; n++) {
		char *p = malloc(n ? n : 1);

		memcpy(p, b.p, n);
		assert_int_equal(tl_take((struct slice){ p, n }, &h, &err), REJECT);
		free(p);
	}
	buf_free(&b);
}

/* Any bytes: taken or rejected, never read or written outside. */
static void
random_bytes(void **state UNUSED)
{
	unsigned seed = (unsigned)time(NULL);

	printf("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)random() % 40;
		char *p = malloc(n + 1);
		struct value row[4] = { 0 };
		struct tl h;

		for (size_t i = 0; i < n; i++)
			p[i] = (char)(random() % 3 ? random() % 8 : random());
		if (n > 1) {
			p[0] = 1;
			p[1] = (char)(random() & 0x7f);
		}
		if (tl_take((struct slice){ p, n }, &h, &err) == OK)
			(void)!tl_apply(&h, row, row, 4, &err);
		free(p);
	}
}

/* What was put comes back, whatever the row. */
static void
round_trip(void **state UNUSED)
{
	unsigned seed = (unsigned)time(NULL) ^ 0x5eed;

	printf("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 2000; round++) {
		enum { COLS = 40 };
		int n = (int)(random() % (COLS + 1));
		struct value sent[2][COLS] = { 0 }, got[2][COLS] = { 0 };
		struct buf b = { 0 };
		struct tl h = { .flags = (uint32_t)(random() & 0xf),
			.gen = (uint64_t)random(),
			.lsn = (uint64_t)random() << 20 };
		struct tl back;

		for (int i = 0; i < n; i++)
			for (int k = 0; k < 2; k++) {
				sent[k][i] = got[k][i] = value_int(i);
				if (random() % 4 == 0)
					sent[k][i].exact = SLICE_LIT("x");
				else if (k == 1 && random() % 4 == 0)
					sent[k][i] = (struct value){ .kind = V_ABSENT };
			}
		tl_put(&b, &h, sent[0], sent[1], n);
		back = taken(buf_view(&b));
		assert_int_equal(back.flags & ~(unsigned)(TL_UNCHANGED | TL_EXACT), h.flags);
		assert_true(back.gen == h.gen && back.lsn == h.lsn);
		assert_int_equal(tl_apply(&back, got[0], got[1], n, &err), OK);
		for (int i = 0; i < n; i++)
			assert_true(
			    value_eq(&sent[0][i], &got[0][i]) && value_eq(&sent[1][i], &got[1][i]));
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout),
		cmocka_unit_test(flags_follow_rows),
		cmocka_unit_test(apply),
		cmocka_unit_test(later_fields_are_passed_over),
		cmocka_unit_test(mark_of_schemas),
		cmocka_unit_test(key_of_truncate),
		cmocka_unit_test(chunks),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(random_bytes),
		cmocka_unit_test(round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
