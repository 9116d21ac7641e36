/* What of two schemas decides how bytes are read: the mark is the same for the same, however it is printed, and another for all else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/schema_mark.h"

#include <cmocka.h>
#include <stdio.h>

static const char value[] =
    "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"shop.public.t\",\"fields\":["
    "{\"name\":\"before\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Value\",\"fields\":["
    "{\"name\":\"id\",\"type\":{\"type\":\"int\",\"connect.default\":0},\"default\":0},"
    "{\"name\":\"n\",\"type\":[\"null\",{\"type\":\"bytes\",\"scale\":2,\"precision\":10,\"logicalType\":\"decimal\"}],\"default\":null,"
    "\"towline.was\":\"m\"}],\"connect.name\":\"shop.public.t.Value\"}],\"default\":null},"
    "{\"name\":\"after\",\"type\":[\"null\",\"Value\"],\"default\":null},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\",\"b\"]}},"
    "{\"name\":\"l\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"long\"]}}]}";

/* The same, as another program prints it: names in full, attributes in another order, no defaults. */
static const char printed[] =
    "{ \"name\": \"shop.public.t.Envelope\", \"fields\": [\n"
    "  {\"type\": [\"null\", {\"connect.name\": \"shop.public.t.Value\", \"name\": \"Value\","
    " \"namespace\": \"shop.public.t\", \"type\": \"record\","
    " \"doc\": \"a row\", \"fields\": [{\"name\": \"id\", \"type\": \"int\"}, "
    "{\"towline.was\": \"m\", \"name\": \"n\", \"type\":"
    " [{\"type\": \"null\"}, {\"logicalType\": \"decimal\", \"precision\": 10, \"scale\": 2, \"type\": \"bytes\"}]}]}],"
    " \"name\": \"before\"},\n"
    "  {\"name\": \"after\", \"type\": [\"null\", \"shop.public.t.Value\"]},\n"
    "  {\"name\": \"e\", \"type\": {\"type\": \"enum\", \"name\": \"shop.public.t.E\", \"symbols\": [\"a\", \"b\"]}},\n"
    "  {\"name\": \"l\", \"type\": {\"items\": [\"null\", \"long\"], \"type\": \"array\"}}], \"type\": \"record\" }";

static const char key[] =
    "{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"shop.public.t\",\"fields\":[{\"name\":\"id\",\"type\":\"int\"}]}";

static void
same_however_printed(void **state UNUSED)
{
	assert_true(schema_alike(slice_of(value), slice_of(printed)));
	assert_int_equal(schema_mark(slice_of(key), slice_of(value)), schema_mark(slice_of(key), slice_of(printed)));
	assert_int_not_equal(schema_mark(slice_of(key), slice_of(value)), schema_mark(SLICE_LIT(""), slice_of(value)));
	assert_int_not_equal(schema_mark(slice_of(key), slice_of(value)), schema_mark(slice_of(value), slice_of(key)));
}

/* Each of these is another schema. */
static void
other_for_all_else(void **state UNUSED)
{
	static const char *const changes[][2] = {
		{ "public.t\",\"fields", "public.u\",\"fields" }, { "\"scale\":2", "\"scale\":3" },
		{ "\"type\":\"int\"", "\"type\":\"long\"" },
		{ "\"name\":\"n\"", "\"name\":\"x\"" }, { "[\"null\",\"long\"]", "[\"long\",\"null\"]" }, { "\"a\",\"b\"", "\"b\",\"a\"" },
		{ "\"towline.was\":\"m\"", "\"towline.was\":\"o\"" }, { "t.Value\"}", "t.Value2\"}" }, { "logicalType", "x" },
		{ "[\"null\",\"Value\"]", "[\"null\",\"Other\"]" }, { "\"array\",\"items\"", "\"map\",\"values\"" },
	};
	uint32_t mark = schema_mark(slice_of(key), slice_of(value));
	char text[2048];

	for (size_t i = 0; i < COUNTOF(changes); i++) {
		const char *at = strstr(value, changes[i][0]);

		assert_non_null(at);
		snprintf(text, sizeof text, "%.*s%s%s", (int)(at - value), value, changes[i][1], at + strlen(changes[i][0]));
		if (schema_mark(slice_of(key), slice_of(text)) == mark || schema_alike(slice_of(value), slice_of(text)))
			fail_msg("%s instead of %s is not seen", changes[i][1], changes[i][0]);
	}
	assert_int_equal(schema_mark(slice_of(key), SLICE_LIT("<html>")), 0);
	assert_false(schema_alike(SLICE_LIT("<html>"), SLICE_LIT("<html>")));
	assert_true(schema_alike(SLICE_LIT("\"long\""), SLICE_LIT("{\"type\": \"long\"}")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_however_printed),
		cmocka_unit_test(other_for_all_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
