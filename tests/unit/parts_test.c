/* A heap in parts: each block is in one, whatever the numbers. */
#include "producer/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/random.h"

#define BLOCK_MAX (UINT32_MAX - UINT64_C(1)) /* of a heap: InvalidBlockNumber is none */

enum { PARTS_MAX = 32 * 16 };

/* From this block on, and before that one, as the conditions of all parts say; line pointers count from 1. */
struct ends {
	uint64_t from[PARTS_MAX], to[PARTS_MAX];
};

static void
read_ends(const struct parts *p, struct ends *out)
{
	struct arena a = { 0 };

	for (int i = 0; i < p->n; i++) {
		const char *where = parts_where(p, i, &a), *to = where ? strstr(where, "ctid < ") : NULL;
		unsigned long long at;

		out->from[i] = where && sscanf(where, "ctid >= '(%llu,0)'", &at) == 1 ? at : 0;
		out->to[i] = to && sscanf(to, "ctid < '(%llu,0)'", &at) == 1 ? at : UINT64_MAX;
	}
	arena_free(&a);
}

static int
takers(const struct parts *p, const struct ends *ends, uint64_t block)
{
	int n = 0;

	for (int i = 0; i < p->n; i++)
		n += block >= ends->from[i] && block < ends->to[i];
	return n;
}

static void
each_block_once(void **state)
{
	static struct ends ends;
	uint64_t seed = first_seed("parts_test"), n = rounds(300);

	(void)state;
	for (uint64_t round = 0; round < n; round++) {
		struct rng r = rng_of(seed + round);
		uint64_t longest = one_in(&r, 2) ? below(&r, 3000) : below(&r, BLOCK_MAX), partitions = 1 + below(&r, 40);
		struct parts p = parts_of(longest * partitions, longest, 1 + (int)below(&r, 32));
		uint64_t edges[] = { 0, 1, longest ? longest - 1 : 0, longest, longest + 1, longest + 100000, BLOCK_MAX };

		HOLDS(&r, p.n >= 1 && p.n <= PARTS_MAX);
		read_ends(&p, &ends);
		for (size_t i = 0; i < COUNTOF(edges); i++)
			HOLDS(&r, takers(&p, &ends, edges[i]) == 1);
		for (int i = 1; i < p.n; i++) { /* on both sides of an end between two */
			HOLDS(&r, takers(&p, &ends, (uint64_t)i * p.width) == 1);
			HOLDS(&r, takers(&p, &ends, (uint64_t)i * p.width - 1) == 1);
		}
		/* No part is behind the end of all heaps, so none is without a block when it is planned. */
		HOLDS(&r, p.n == 1 || (uint64_t)(p.n - 1) * p.width < longest);
	}
}

/* Several parts for each reader, where there is something to part. */
static void
how_many(void **state)
{
	(void)state;
	assert_int_equal(parts_of(0, 0, 4).n, 1);
	assert_int_equal(parts_of(255, 255, 4).n, 1);
	assert_int_equal(parts_of(256, 256, 4).n, 2);
	assert_int_equal(parts_of(1000000, 1000000, 1).n, 1);
	assert_int_equal(parts_of(1000000, 1000000, 2).n, 32);
	assert_int_equal(parts_of(1000000, 1000000, 2).width, 31250);
	/* Many partitions of few blocks are as much work as a long one; a partition of one block cannot be parted. */
	assert_int_equal(parts_of(1000000, 100, 2).n, 25);
	assert_int_equal(parts_of(1000000, 1, 2).n, 1);
}

static void
in_words(void **state)
{
	struct arena a = { 0 };
	struct parts p = { .width = 100, .n = 3 }, all = { .n = 1 };

	(void)state;
	assert_string_equal(parts_where(&p, 0, &a), "ctid < '(100,0)'");
	assert_string_equal(parts_where(&p, 1, &a), "ctid >= '(100,0)' AND ctid < '(200,0)'");
	assert_string_equal(parts_where(&p, 2, &a), "ctid >= '(200,0)'");
	assert_null(parts_where(&all, 0, &a));
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_block_once),
		cmocka_unit_test(how_many),
		cmocka_unit_test(in_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
