/* Sizes, spans and times as people read them. */
#include "control/human.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void
bytes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 kB" },
		{ 1536, "1.5 kB" },
		{ 10 * 1024 + 512, "10 kB" },
		{ 1024 * 1024 - 1, "1 MB" },
		{ 1153434, "1.1 MB" },
		{ UINT64_C(64) << 30, "64 GB" },
		{ UINT64_MAX, "16 EB" },
	};
	char buf[HUMAN_MAX];

	(void)state;
	for (size_t i = 0; i < COUNTOF(cases); i++)
		assert_string_equal(human_bytes(buf, cases[i].n), cases[i].text);
}

static void
spans(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },
		{ -5, "0 s" },
		{ 600, "0.6 ms" },
		{ 99999, "100.0 ms" },
		{ 300000, "0.3 s" },
		{ 23000000, "23 s" },
		{ INT64_C(41) * 60000000, "41 min" },
		{ INT64_C(3) * 3600000000 + 60000000, "03:01 h" },
		{ INT64_C(52) * 3600000000 + 11 * 60000000, "2d 04:11" },
	};
	char buf[HUMAN_MAX];

	(void)state;
	for (size_t i = 0; i < COUNTOF(cases); i++)
		assert_string_equal(human_span(buf, cases[i].us), cases[i].text);
}

static void
times(void **state)
{
	char buf[HUMAN_MAX];

	(void)state;
	assert_string_equal(human_time(buf, 0), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(human_time(buf, INT64_C(1769846400123456)), "2026-01-31T08:00:00.123456Z");
	assert_string_equal(human_time(buf, -1), "1969-12-31T23:59:59.999999Z");
	assert_string_equal(human_count(buf, 1, "table"), "1 table");
	assert_string_equal(human_count(buf, 0, "table"), "0 tables");
	(void)human_time(buf, INT64_MAX);
	(void)human_time(buf, INT64_MIN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bytes), cmocka_unit_test(spans), cmocka_unit_test(times) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
