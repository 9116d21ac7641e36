/* JSON documents as Avro: shapes that grow, what is refused, and the bytes as avro-c reads them. */
#include "schemas/json_avro.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <avro.h>

static struct arena arena;

static json_t *
parsed(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

/* NULL: it was taken. */
static const char *
added(struct json_shape *s, const char *text, bool wider)
{
	static struct err err;
	json_t *j = parsed(text);
	bool holds = json_shape_holds(s, j), grew;
	enum rc rc = json_shape_add(s, j, &arena, &grew, &err);

	if (rc == OK) {
		assert_int_equal(grew, wider);
		assert_true(json_shape_holds(s, j));
	}
	assert_int_equal(holds, rc == OK && !grew);
	json_decref(j);
	assert_true(rc == OK || rc == REJECT);
	return rc == OK ? NULL : err.text;
}

static const char *
schema(const struct json_shape *s)
{
	struct buf b = { 0 };
	const char *text;

	json_shape_schema(s, "t", "Payload", &b);
	text = arena_text(&arena, buf_view(&b));
	buf_free(&b);
	return text;
}

/* What avro-c reads of it. */
static void
reads(const struct json_shape *s, const char *text, const char *as)
{
	const char *json = schema(s);
	avro_schema_t sc;
	avro_value_iface_t *iface;
	avro_value_t v;
	avro_reader_t r;
	struct buf b = { 0 };
	json_t *doc = parsed(text);
	char *out;

	json_shape_put(s, doc, &b);
	assert_int_equal(avro_schema_from_json_length(json, strlen(json), &sc), 0);
	iface = avro_generic_class_from_schema(sc);
	assert_int_equal(avro_generic_value_new(iface, &v), 0);
	r = avro_reader_memory(b.p, (int64_t)b.n);
	assert_int_equal(avro_value_read(r, &v), 0);
	assert_int_not_equal(avro_skip(r, 1), 0); /* nothing is left */
	assert_int_equal(avro_value_to_json(&v, 1, &out), 0);
	assert_string_equal(out, as);
	free(out);
	avro_value_decref(&v);
	avro_value_iface_decref(iface);
	avro_schema_decref(sc);
	avro_reader_free(r);
	buf_free(&b);
	json_decref(doc);
}

/* As it comes back from a registry. */
static struct json_shape *
back(const struct json_shape *s)
{
	struct json_shape *again;
	struct err err;
	json_t *j = parsed(schema(s));

	assert_int_equal(json_shape_take(j, &arena, &again, &err), OK);
	json_decref(j);
	return again;
}

static void
grows(void **state UNUSED)
{
	struct json_shape *s = json_shape_new(&arena);

	assert_null(added(s, "null", false));
	assert_null(added(s, "{\"id\": 1, \"x\": null, \"on\": true}", true));
	assert_string_equal(schema(s), "{\"type\":\"record\",\"name\":\"Payload\",\"namespace\":\"t\",\"fields\":["
	    "{\"name\":\"id\",\"type\":[\"null\",\"long\"],\"default\":null},"
	    "{\"name\":\"on\",\"type\":[\"null\",\"boolean\"],\"default\":null}],"
	    "\"connect.name\":\"t.Payload\"}");
	assert_null(added(s, "{\"id\": 2}", false));
	assert_null(added(s, "{\"on\": null, \"lines\": []}", true));
	reads(s, "{\"id\": 7, \"lines\": [null, null]}", "{\"id\": {\"long\": 7}, \"on\": null, \"lines\": {\"array\": [null, null]}}");
	assert_null(added(s, "{\"lines\": [null, {\"sku\": \"a\"}, {\"n\": -1}]}", true));
	assert_null(added(s, "{\"id\": 1.5}", true));
	assert_null(added(s, "{\"id\": 9007199254740992}", false)); /* 2^53 */
	reads(s, "{\"id\": 3, \"lines\": [{\"sku\": \"\xc3\xbc\", \"n\": 5}, null]}",
	    "{\"id\": {\"double\": 3.0}, \"on\": null, \"lines\": {\"array\": [{\"lines\": {\"sku\": {\"string\": \"\\u00FC\"}, "
	    "\"n\": {\"long\": 5}}}, null]}}");
	reads(s, "{}", "{\"id\": null, \"on\": null, \"lines\": null}");
	reads(back(s), "{\"on\": false}", "{\"id\": null, \"on\": {\"boolean\": false}, \"lines\": null}");
	assert_string_equal(schema(back(s)), schema(s));
	assert_string_equal(schema(json_shape_copy(s, &arena)), schema(s));
	arena_free(&arena);
}

static void
tops(void **state UNUSED)
{
	struct json_shape *s = json_shape_new(&arena);

	assert_null(added(s, "[]", true));
	assert_string_equal(schema(back(s)), "{\"type\":\"array\",\"items\":\"null\"}");
	assert_null(added(s, "[[1], [2.5, null]]", true));
	reads(s, "[[1], null]", "[{\"array\": [{\"double\": 1.0}]}, null]");
	s = json_shape_new(&arena);
	assert_null(added(s, "{}", true));
	reads(back(s), "{}", "{}");
	s = json_shape_new(&arena);
	assert_null(added(s, "\"x\"", true));
	reads(back(s), "\"y\"", "\"y\"");
	arena_free(&arena);
}

static void
refuses(void **state UNUSED)
{
	struct json_shape *s = json_shape_new(&arena);
	struct buf deep = { 0 };
	const char *many = "{\"m0\":0";

	assert_null(added(s, "{\"a\": {\"b\": [1]}, \"d\": 0.5, \"\xc3\xbc x\": \"1\"}", true));
	assert_string_equal(added(s, "{\"a\": {\"b\": [2, \"x\"]}}", false), "a.b[] is a string, and was a number before");
	assert_string_equal(added(s, "{\"a\": []}", false), "a is an array, and was an object before");
	assert_string_equal(added(s, "7", false), "the document is a number, and was an object before");
	assert_string_equal(added(s, "{\"d\": 9007199254740993}", false),
	    "d would lose digits: a number there has had a fraction, so they are doubles");
	assert_string_equal(added(s, "{\"\xc3\xb6 x\": \"1\"}", false), "\xc3\xb6 x and \xc3\xbc x would both be the field __x");
	assert_string_equal(schema(back(s)), schema(s)); /* with the name that it had */
	reads(back(s), "{\"\xc3\xbc x\": \"1\"}", "{\"a\": null, \"d\": null, \"__x\": {\"string\": \"1\"}}");
	for (int i = 0; i < 40; i++)
		buf_byte(&deep, '[');
	for (int i = 0; i < 40; i++)
		buf_byte(&deep, ']');
	assert_non_null(strstr(added(json_shape_new(&arena), buf_cstr(&deep), false), "is deeper than 32 levels"));
	for (int i = 1; i < JSON_SHAPE_FIELDS; i++)
		many = arena_printf(&arena, "%s,\"m%d\":0", many, i);
	s = json_shape_new(&arena);
	assert_null(added(s, arena_printf(&arena, "%s}", many), true));
	assert_non_null(strstr(added(s, "{\"more\": 1}", false), "are their names data?"));
	buf_free(&deep);
	arena_free(&arena);
}

static void
foreign(void **state UNUSED)
{
	static const char *const not_ours[] = { "7", "\"int\"", "{\"type\":\"record\"}", "[\"string\",\"null\"]", "{\"type\":\"enum\"}",
		"{\"type\":\"record\",\"fields\":[{\"type\":\"long\"}]}",
		"{\"type\":\"record\",\"fields\":[{\"name\":\"a\",\"type\":\"bytes\"}]}" };
	struct json_shape *s;
	struct err err;

	for (size_t i = 0; i < COUNTOF(not_ours); i++) {
		json_t *j = parsed(not_ours[i]);

		assert_int_equal(json_shape_take(j, &arena, &s, &err), REJECT);
		json_decref(j);
	}
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows),
		cmocka_unit_test(tops),
		cmocka_unit_test(refuses),
		cmocka_unit_test(foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
