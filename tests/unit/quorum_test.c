/* Sinks that a commit waits for: the words, and what they come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/quorum.h"
#include "producer/standby.h"

#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/random.h"

static void
words(void **state)
{
	static const struct {
		const char *text;
		int need, n;
		const char *last;
	} good[] = {
		{ "", 0, 0, NULL },
		{ "  ", 0, 0, NULL },
		{ "a", 1, 1, "a" },
		{ "a, b-2 ,c_3", 3, 3, "c_3" },
		{ "ANY 1 (a, b)", 1, 2, "b" },
		{ "any 2(a,b,c)  ", 2, 3, "c" },
		{ "any", 1, 1, "any" },
		{ "first, any", 2, 2, "any" },
	};
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "a,", "missing" },
		{ "a, a", "twice" },
		{ "ANY 3 (a, b)", "3 of 2" },
		{ "ANY 0 (a)", "0 of 1" },
		{ "ANY 1 a", "'('" },
		{ "ANY 1 (a", "')'" },
		{ "ANY 1 (a) b", "'b'" },
		{ "FIRST 1 (a, b)", "ANY 1" },
		{ "a b", "'b'" },
		{ "(a)", "missing" },
	};
	struct arena a = { 0 };
	struct quorum q;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(good); i++) {
		assert_int_equal(quorum_parse(good[i].text, &a, &q, &err), OK);
		assert_int_equal(q.need, good[i].need);
		assert_int_equal(q.nmembers, good[i].n);
		if (good[i].n)
			assert_string_equal(q.members[q.nmembers - 1], good[i].last);
	}
	for (size_t i = 0; i < COUNTOF(bad); i++) {
		assert_int_equal(quorum_parse(bad[i].text, &a, &q, &err), FATAL);
		if (!strstr(err.text, bad[i].why))
			fail_msg("'%s': '%s' does not say %s", bad[i].text, err.text, bad[i].why);
	}
	arena_free(&a);
}

static void
reached(void **state)
{
	struct quorum q = { .need = 2, .nmembers = 3 };

	(void)state;
	assert_int_equal(quorum_reached(&q, (uint64_t[]){ 5, 9, 7 }), 7);
	assert_int_equal(quorum_reached(&q, (uint64_t[]){ 5, 5, 0 }), 5);
	assert_int_equal(quorum_reached(&q, (uint64_t[]){ 0, 0, 9 }), 0);
	q.need = 1;
	assert_int_equal(quorum_reached(&q, (uint64_t[]){ 5, 9, 7 }), 9);
	q.need = 3;
	assert_int_equal(quorum_reached(&q, (uint64_t[]){ 5, 9, 7 }), 5);
}

/* What is said to be applied is, always; and with room for all marks, also all that is. */
static void
never_too_early(void **state)
{
	uint64_t seed = first_seed("never_too_early"), times = rounds(200);

	(void)state;
	for (uint64_t round = 0; round < times; round++) {
		struct rng r = rng_of(seed + round);
		struct standby s = { 0 };
		uint64_t lsn_of[4000] = { 0 }, no = 0, lsn = 0, applied = 0;
		int steps = one_in(&r, 2) ? 300 : 3000, pause = (int)below(&r, 5) + 1;

		for (int i = 0; i < steps; i++) {
			lsn += below(&r, 3);
			no += below(&r, 2);
			lsn_of[no] = lsn;
			standby_published(&s, no, lsn);
			if (one_in(&r, (uint64_t)pause)) {
				uint64_t said, holds;

				applied += below(&r, no - applied + 1);
				said = standby_applied(&s, applied);
				holds = lsn_of[applied];
				HOLDS(&r, said <= holds);
				HOLDS(&r, steps > STANDBY_MARKS || said == holds);
			}
		}
		HOLDS(&r, standby_applied(&s, no) == lsn);
	}
}

/* What sinks elsewhere say: only of our OPEN, only members, the newest. */
static void
heard(void **state)
{
	static const char *const bad[] = { "", "{}", "{\"v\":2,\"gen\":1,\"token\":1,\"no\":1}", "{\"v\":1,\"gen\":1,\"token\":1}",
		"{\"v\":1,\"gen\":1,\"token\":1,\"no\":-1}", "{\"v\":1,\"gen\":1,\"token\":\"1\",\"no\":1}" };
	struct quorum q = { .need = 1, .nmembers = 2, .members = { "a", "b" } };
	struct applied said = { .gen = 3, .token = INT64_MAX, .no = 120, .by = "db\"2:4711" }, got;
	struct standby_sinks s = { 0 };
	struct buf json = { 0 };
	struct err err;

	(void)state;
	applied_put(&json, &said);
	assert_int_equal(applied_take(buf_view(&json), &got, &err), OK);
	assert_true(got.gen == said.gen && got.token == said.token && got.no == said.no);
	assert_string_equal(got.by, said.by);
	buf_free(&json);
	/* Of a version that did not tell who, and of one that tells at length. */
	assert_int_equal(applied_take(slice_of("{\"v\":1,\"gen\":1,\"token\":1,\"no\":1}"), &got, &err), OK);
	assert_string_equal(got.by, "");
	buf_printf(&json, "{\"v\":1,\"gen\":1,\"token\":1,\"no\":1,\"by\":\"%0200d\"}", 7);
	assert_int_equal(applied_take(buf_view(&json), &got, &err), OK);
	assert_int_equal(strlen(got.by), APPLIED_BY_MAX - 1);
	buf_free(&json);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(applied_take(slice_of(bad[i]), &got, &err), REJECT);

	standby_heard(&s, &q, slice_of("a"), &said, 3, 77, 500);
	standby_heard(&s, &q, slice_of("a"), &said, 4, INT64_MAX, 500);
	standby_heard(&s, &q, slice_of("a"), &said, 3, INT64_MAX, 119);
	standby_heard(&s, &q, slice_of("c"), &said, 3, INT64_MAX, 500);
	standby_heard(&s, &q, slice_of("aa"), &said, 3, INT64_MAX, 500);
	assert_int_equal(quorum_reached(&q, s.at), 0);
	standby_heard(&s, &q, slice_of("b"), &said, 3, INT64_MAX, 120);
	assert_int_equal(s.at[0], 0);
	assert_int_equal(s.at[1], 120);
	said.no = 100; /* it went back */
	standby_heard(&s, &q, slice_of("b"), &said, 3, INT64_MAX, 500);
	assert_int_equal(quorum_reached(&q, s.at), 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(reached),
		cmocka_unit_test(never_too_early),
		cmocka_unit_test(heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
