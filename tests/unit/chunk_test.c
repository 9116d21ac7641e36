/*
 * Rows cut into chunks as the header's layout says, in random sizes, among chunks that are seen
 * twice or are a zombie's: joined they are the row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/chunk.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/random.h"

enum { BYTES_MAX = 5000 };

static struct err err;

/* A row as a writer has it: value, and behind it its header. */
struct written {
	struct tl tl;
	struct buf bytes;
	size_t value;
};

static void
write_row(struct written *w, struct rng *r, uint64_t gen, uint64_t seq, uint64_t index, size_t n)
{
	struct value row[2] = { value_int(1), { .kind = V_ABSENT } };
	size_t before;

	*w = (struct written){ .tl = { .flags = TL_BEFORE_FULL,
				   .gen = gen,
				   .seq = seq,
				   .index = index,
				   .lsn = 99 },
		.value = n };
	for (size_t i = 0; i < n; i++)
		buf_byte(&w->bytes, (uint8_t)rnd(r));
	before = w->bytes.n;
	row[0].exact = SLICE_LIT("{{1}}");
	tl_put(&w->bytes, &w->tl, NULL, row, 2);
	w->tl.own = w->bytes.n - before;
}

/* Chunk `number` of the row in pieces of `size` bytes, by way of the header's bytes. */
static struct slice
cut(const struct written *w, size_t size, uint64_t number, struct tl *out)
{
	struct tl tl = w->tl;
	struct buf b = { 0 };
	size_t at = (size_t)number * size, n = w->bytes.n - at < size ? w->bytes.n - at : size;

	tl.flags |= TL_CHUNK;
	tl.number = number;
	tl.count = (w->bytes.n + size - 1) / size;
	tl.index += number;
	tl_put(&b, &tl, NULL, NULL, 0);
	assert_int_equal(tl_take(buf_view(&b), out, &err), OK);
	buf_free(&b);
	return (struct slice){ w->bytes.p + at, n };
}

static enum rc
add(struct chunk *c, const struct written *w, size_t size, uint64_t number, size_t max,
    struct arena *a)
{
	struct tl tl;
	struct slice part = cut(w, size, number, &tl);

	return chunk_add(c, &tl, part, max, a, &err);
}

static void
take(struct chunk *c, const struct written *w)
{
	struct slice value;
	struct tl tl;

	assert_true(chunk_whole(c));
	assert_int_equal(chunk_take(c, &value, &tl, &err), OK);
	assert_false(chunk_pending(c));
	assert_int_equal(value.n, w->value);
	assert_true(value.n == 0 || memcmp(value.p, w->bytes.p, value.n) == 0);
	assert_true(
	    tl.gen == w->tl.gen && tl.seq == w->tl.seq && tl.index == w->tl.index && tl.lsn == 99);
	assert_int_equal(tl.flags, TL_BEFORE_FULL | TL_UNCHANGED | TL_EXACT);
}

static void
any_row(void **state UNUSED)
{
	uint64_t seed = first_seed("any_row"), n = rounds(2000);

	for (uint64_t round = 0; round < n; round++) {
		struct rng r = rng_of(seed + round);
		struct arena a = { 0 };
		struct chunk c = { 0 };
		struct written row, other;
		size_t size = 1 + (size_t)below(&r, 700);
		uint64_t count;

		write_row(
		    &row, &r, 5, 1 + below(&r, 9), below(&r, 100), (size_t)below(&r, BYTES_MAX));
		write_row(&other, &r, 4 + below(&r, 2), 77, 3, BYTES_MAX);
		count = (row.bytes.n + size - 1) / size;
		for (uint64_t i = 0; i < count; i++) {
			/* Before it: one that was seen, one that is not due, one of another row. None of them disturbs. */
			if (i > 1 && one_in(&r, 3))
				HOLDS(&r,
				    add(&c, &row, size, 1 + below(&r, i - 1), SIZE_MAX, &a) ==
					AGAIN);
			if (i && one_in(&r, 3))
				HOLDS(&r, add(&c, &other, size, 1 + i % 3, SIZE_MAX, &a) == AGAIN);
			HOLDS(&r, add(&c, &row, size, i, SIZE_MAX, &a) == OK);
			HOLDS(&r, chunk_pending(&c) && chunk_whole(&c) == (i + 1 == count));
		}
		take(&c, &row);
		buf_free(&row.bytes);
		buf_free(&other.bytes);
		arena_free(&a);
	}
}

/* A writer that died in the middle, and the next one, which sends the row again. */
static void
begun_anew(void **state UNUSED)
{
	struct arena a = { 0 };
	struct chunk c = { 0 };
	struct rng r = rng_of(1);
	struct written dead, row;

	write_row(&dead, &r, 1, 7, 0, 1000);
	write_row(&row, &r, 2, 7, 0, 1000);
	assert_int_equal(add(&c, &dead, 400, 1, SIZE_MAX, &a), AGAIN);
	assert_false(chunk_pending(&c));
	assert_int_equal(add(&c, &dead, 400, 0, SIZE_MAX, &a), OK);
	assert_int_equal(add(&c, &dead, 400, 1, SIZE_MAX, &a), OK);
	assert_int_equal(add(&c, &row, 400, 0, SIZE_MAX, &a), OK);
	assert_int_equal(add(&c, &dead, 400, 1, SIZE_MAX, &a), AGAIN);
	assert_int_equal(add(&c, &row, 400, 1, SIZE_MAX, &a), OK);
	assert_int_equal(add(&c, &row, 400, 2, SIZE_MAX, &a), OK);
	take(&c, &row);
	buf_free(&dead.bytes);
	buf_free(&row.bytes);
	arena_free(&a);
}

static void
memory(void **state UNUSED)
{
	struct arena a = { 0 };
	struct chunk c = { 0 };
	struct rng r = rng_of(1);
	struct written row;
	struct tl tl;
	struct slice part;

	write_row(&row, &r, 1, 7, 0, 3000);
	assert_int_equal(
	    add(&c, &row, 1000, 0, 4000, &a), OK); /* 3 kB and the header: four chunks */
	assert_int_equal(add(&c, &row, 1000, 0, 3999, &a), FATAL);
	assert_non_null(strstr(err.text, "set memory"));
	assert_false(chunk_pending(&c));
	/* A count that no memory holds, and whose product would wrap. */
	part = cut(&row, 1000, 0, &tl);
	tl.count = UINT64_MAX;
	assert_int_equal(chunk_add(&c, &tl, part, SIZE_MAX, &a, &err), FATAL);
	tl.count = UINT64_MAX / 1000 + 2;
	assert_int_equal(chunk_add(&c, &tl, part, SIZE_MAX, &a, &err), FATAL);
	buf_free(&row.bytes);
	arena_free(&a);
}

static void
malformed(void **state UNUSED)
{
	struct arena a = { 0 };
	struct chunk c = { 0 };
	struct rng r = rng_of(1);
	struct written row;
	struct slice value, part;
	struct tl tl;

	write_row(&row, &r, 1, 7, 0, 100);
	for (uint64_t own = 0; own < 200; own++) {
		part = cut(&row, 1000, 0, &tl);
		tl.own = own;
		assert_int_equal(chunk_add(&c, &tl, part, SIZE_MAX, &a, &err), OK);
		assert_int_equal(
		    chunk_take(&c, &value, &tl, &err), own == row.tl.own ? OK : REJECT);
	}
	/* A later chunk longer than the first does not fit. */
	part = cut(&row, 10, 0, &tl);
	assert_int_equal(chunk_add(&c, &tl, part, SIZE_MAX, &a, &err), OK);
	for (uint64_t i = 1; i + 1 < tl.count; i++)
		assert_int_equal(add(&c, &row, 10, i, SIZE_MAX, &a), OK);
	part = cut(&row, 10, tl.count - 1, &tl);
	part = (struct slice){ row.bytes.p, 11 };
	assert_int_equal(chunk_add(&c, &tl, part, SIZE_MAX, &a, &err), AGAIN);
	buf_free(&row.bytes);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_row),
		cmocka_unit_test(begun_anew),
		cmocka_unit_test(memory),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
