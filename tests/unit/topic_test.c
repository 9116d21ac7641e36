#include "schemas/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* From the tests of Kafka's Java client (UtilsTest.testMurmur2), and "foobar" and others as well
 * known. */
static void
murmur2_as_java(void **state UNUSED)
{
	static const struct {
		const char *key;
		int32_t hash;
	} known[] = {
		{ "21", -973932308 },
		{ "foobar", -790332482 },
		{ "a-little-bit-long-string", -985981536 },
		{ "a-little-bit-longer-string", -1486304829 },
		{ "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
		{ "abc", 479470107 },
	};

	for (size_t i = 0; i < COUNTOF(known); i++)
		assert_int_equal((int32_t)topic_murmur2(slice_of(known[i].key)), known[i].hash);
}

/* toPositive clears the sign bit; it does not negate. */
static void
partition_of_negative_hash(void **state UNUSED)
{
	assert_int_equal(topic_partition(SLICE_LIT("21"), 6), (-973932308 & 0x7fffffff) % 6);
	assert_int_equal(topic_partition(SLICE_LIT("abc"), 7), 479470107 % 7);
	for (int i = 1; i < 50; i++) {
		int p = topic_partition(SLICE_LIT("foobar"), i);

		assert_true(p >= 0 && p < i);
	}
}

/* Bytes above 0x7f count as unsigned. Vectors: the algorithm written down a second time, in another
 * language. */
static void
high_bytes(void **state UNUSED)
{
	assert_int_equal((int32_t)topic_murmur2(SLICE_LIT("\xff\xfe\xfd")), 998637092);
	assert_int_equal((int32_t)topic_murmur2(SLICE_LIT("\x80\x81\x82\x83\xff")), 59675667);
	assert_int_equal((int32_t)topic_murmur2((struct slice){ NULL, 0 }), 275646681);
}

static const char *
named(struct arena *a, const char *tmpl, const char *schema, const char *table)
{
	return topic_name(a, tmpl, "srv", slice_of(schema), slice_of(table));
}

static void
names(void **state UNUSED)
{
	static const char usual[] = "{name}.{schema}.{table}";
	struct arena a = { 0 };

	assert_string_equal(named(&a, usual, "public", "t"), "srv.public.t");
	assert_string_equal(named(&a, usual, "public", "a b"), "srv.public.a_b");
	assert_string_equal(named(&a, usual, "p-1", "A.b_c"), "srv.p-1.A.b_c");
	assert_string_equal(
	    named(&a, usual, "public", "gr\xc3\xbc\xc3\x9f\x65"), "srv.public.gr__e");
	assert_string_equal(named(&a, usual, "public", "x\xf0\x9f\x98\x80y"), "srv.public.x__y");
	assert_string_equal(named(&a, "cdc-{table}", "public", "t"), "cdc-t");
	assert_string_equal(named(&a, "{table}/{other}", "public", "t"), "t__other_");
	assert_string_equal(named(&a, usual, "public", "{name}"), "srv.public._name_");
	assert_string_equal(topic_own(&a, "srv", "spine"), "srv.towline.spine");
	arena_free(&a);
}

static void
cut_at_249(void **state UNUSED)
{
	struct arena a = { 0 };
	char table[400];

	memset(table, 'x', sizeof table);
	assert_int_equal(strlen(topic_name(&a, "{table}", "", (struct slice){ "", 0 },
	    (struct slice){ table, sizeof table })), 249);
	arena_free(&a);
}

static void
of_a_table_perhaps(void **state UNUSED)
{
	struct conf conf = { .name = "s v", .topic = "{name}.{schema}.{table}", .topics = "a.*=all-{table}\nb.t=one" };

	assert_true(topic_fits_table(&conf, "s_v.public.t"));
	assert_true(topic_fits_table(&conf, "s_v.event.order"));
	assert_false(topic_fits_table(&conf, "s_v.t"));
	assert_false(topic_fits_table(&conf, "outbox.event.order"));
	assert_true(topic_fits_table(&conf, "all-x"));
	assert_true(topic_fits_table(&conf, "one"));
	assert_false(topic_fits_table(&conf, "ones"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(murmur2_as_java),
		cmocka_unit_test(partition_of_negative_hash),
		cmocka_unit_test(high_bytes),
		cmocka_unit_test(names),
		cmocka_unit_test(cut_at_249),
		cmocka_unit_test(of_a_table_perhaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
