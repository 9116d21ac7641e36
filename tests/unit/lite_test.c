/* Storage classes of SQLite: every class in every wire type and back, what is malformed,
    and what becomes of it in a PostgreSQL's type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "producer/layout_table.h"
#include "schemas/lite.h"
#include "schemas/pgtypes.h"

#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

static struct err err;

static const struct {
	char class;
	struct slice s;
} values[] = {
	{ LITE_INTEGER, { "-9223372036854775808", 20 } },
	{ LITE_REAL, { "0.1", 3 } },
	{ LITE_TEXT, { "it's", 4 } },
	{ LITE_TEXT, { "", 0 } },
	{ LITE_TEXT, { "a\0b", 3 } },
	{ LITE_TEXT, { "\\x00", 4 } },
	{ LITE_TEXT, { "\xf0\x9f\x98\x80", 4 } },
	{ LITE_TEXT, { "\xff\xfe", 2 } },
	{ LITE_TEXT, { "\xed\xa0\x80", 3 } }, /* a surrogate */
	{ LITE_TEXT, { "\xc0\x80", 2 } },     /* overlong */
	{ LITE_TEXT, { "cut \xe2\x82", 6 } },
	{ LITE_BLOB, { "\0\xff'", 3 } },
	{ LITE_BLOB, { "", 0 } },
};

/* The class that a sink gives it. */
static char
class_of(const struct value *v, struct arena *a, struct slice *s)
{
	char class = v->kind == V_BYTES ? LITE_BLOB : LITE_TEXT;

	*s = v->s;
	if (lite_is_classed(v))
		assert_int_equal(lite_class(v, a, &class, s, &err), OK);
	return class == LITE_OCTETS ? LITE_TEXT : class;
}

static void
there_and_back(void **state UNUSED)
{
	static const enum wire wires[] = { W_STRING, W_BYTES, W_INT64, W_DOUBLE };

	for (size_t i = 0; i < COUNTOF(values); i++)
		for (size_t k = 0; k < COUNTOF(wires); k++) {
			struct arena a = { 0 };
			struct value v = lite_value(wires[k], values[i].class, values[i].s, &a);
			struct slice s;

			assert_true(v.kind == V_STRING || v.kind == V_BYTES || lite_is_classed(&v));
			assert_false(value_is_null(&v));
			assert_int_equal(class_of(&v, &a, &s), values[i].class);
			assert_true(slice_eq(s, values[i].s));
			arena_free(&a);
		}
}

/* What Avro calls a string is UTF-8, whatever SQLite calls text. */
static void
strings_are_utf8(void **state UNUSED)
{
	struct arena a = { 0 };
	struct value v = lite_value(W_STRING, LITE_TEXT, SLICE_LIT("\xff\xfe"), &a);

	assert_true(slice_is(v.s, "\\xfffe"));
	v = lite_value(W_STRING, LITE_TEXT, SLICE_LIT("\xf4\x90\x80\x80"), &a); /* beyond U+10FFFF */
	assert_true(slice_is(v.s, "\\xf4908080"));
	v = lite_value(W_STRING, LITE_TEXT, SLICE_LIT("\xf4\x8f\xbf\xbf"), &a);
	assert_int_equal(v.exact.n, 0);
	arena_free(&a);
}

static void
malformed(void **state UNUSED)
{
	static const struct value bad[] = {
		{ .kind = V_STRING, .s = { "\\x0", 3 }, .exact = { "\1b", 2 } },
		{ .kind = V_STRING, .s = { "\\xzz", 4 }, .exact = { "\1b", 2 } },
		{ .kind = V_STRING, .s = { "", 0 }, .exact = { "\1o", 2 } },
		{ .kind = V_STRING, .s = { "1", 1 }, .exact = { "\1?", 2 } },
		{ .kind = V_NULL, .exact = { "\1b", 2 } },
	};
	struct arena a = { 0 };
	struct slice s;
	char class;

	for (size_t i = 0; i < COUNTOF(bad); i++)
		assert_int_equal(lite_class(&bad[i], &a, &class, &s, &err), REJECT);
	assert_false(lite_is_classed(&(struct value){ .kind = V_NULL, .exact = { "\1", 1 } }));
	assert_false(lite_is_classed(&(struct value){ .kind = V_NULL, .exact = { "NaN", 3 } }));
	arena_free(&a);
}

static void
at_a_postgresql(void **state UNUSED)
{
	static const struct wire_type text = { .wire = W_STRING, .semantic = LITE_ANY }, number = { .wire = W_INT64 },
	    bytes = { .wire = W_BYTES };
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct value v = lite_value(W_STRING, LITE_REAL, SLICE_LIT("1.5"), &a);

	assert_int_equal(pgtype_text(&text, &v, &b, &err), OK);
	assert_string_equal(buf_cstr(&b), "1.5");
	assert_string_equal(pgtype_create(&text, SLICE_LIT(""), &a), "text");
	assert_string_equal(sqlite_create(&text), "");
	buf_reset(&b);
	v = lite_value(W_BYTES, LITE_TEXT, SLICE_LIT("ab"), &a);
	assert_int_equal(pgtype_text(&bytes, &v, &b, &err), OK);
	assert_string_equal(buf_cstr(&b), "\\x6162");
	buf_reset(&b);
	v = lite_value(W_INT64, LITE_TEXT, SLICE_LIT("12"), &a);
	assert_int_equal(pgtype_text(&number, &v, &b, &err), REJECT); /* it would look like a number there */
	assert_int_equal(pgtype_binary_value(&number, PG_INT8, &v, &b, &err), REJECT);
	buf_free(&b);
	arena_free(&a);
}

static void
reals(void **state UNUSED)
{
	static const double list[] = { 0.1, 1, -0.0, 1e300, 5e-324, 0.30000000000000004, 1.7976931348623157e308, 123456789012345678 };
	struct arena a = { 0 };

	for (size_t i = 0; i < COUNTOF(list); i++) {
		struct slice s = lite_real_text(list[i], &a);
		double back = strtod(arena_text(&a, s), NULL);

		assert_memory_equal(&back, &list[i], sizeof back);
		assert_true(memchr(s.p, '.', s.n) || memchr(s.p, 'e', s.n)); /* an integer at nobody's eyes */
	}
	assert_true(slice_is(lite_real_text(INFINITY, &a), "Inf"));
	assert_true(slice_is(lite_real_text(1, &a), "1.0"));
	arena_free(&a);
}

/* ---- columns ---- */

static const struct {
	const char *declared, *dflt, *json; /* json: NULL: no schema can say the default */
	enum wire wire;
	bool strict, any;
} columns[] = {
	{ "INTEGER", "7", "7", W_INT64, false, false },
	{ "unsigned big int", "-1", "-1", W_INT64, false, false },
	{ "INTEGER", "1.5", NULL, W_INT64, false, false },
	{ "INTEGER", "'7'", NULL, W_INT64, false, false },
	{ "FLOATING POINT", NULL, NULL, W_INT64, false, false }, /* as SQLite has it: POINT has INT in it */
	{ "DOUBLE", "1.5", NULL, W_DOUBLE, false, false },
	{ "varchar(10)", "'it''s \"x\"'", "\"it's \\\"x\\\"\"", W_STRING, false, false },
	{ "TEXT", "7", NULL, W_STRING, false, false },
	{ "TEXT", "CURRENT_TIMESTAMP", NULL, W_STRING, false, false },
	{ "BLOB", "x'00'", NULL, W_BYTES, false, false },
	{ "", "'a'", NULL, W_STRING, false, true },
	{ "DECIMAL(10,2)", "0", NULL, W_STRING, false, true },
	{ "DATETIME", NULL, NULL, W_STRING, false, true },
	{ "ANY", NULL, NULL, W_STRING, true, true },
	{ "ANY", NULL, NULL, W_STRING, false, true },
};

static void
columns_travel(void **state UNUSED)
{
	int key = 0;

	for (size_t i = 0; i < COUNTOF(columns); i++) {
		struct layout_column cols[] = { { .name = "id", .type = "INTEGER", .notnull = true },
			{ .name = "c", .type = columns[i].declared, .dflt = columns[i].dflt, .notnull = true } };
		struct layout l = { .table = "t", .strict = columns[i].strict, .rowid = "rowid", .ncols = 2, .cols = cols, .nkeys = 1,
		    .keys = &key };
		struct arena a = { 0 };
		struct table t;
		const struct column *c;

		layout_table(&l, 3, NULL, &a, &t);
		c = &t.cols[1];
		assert_int_equal(c->type.wire, columns[i].wire);
		assert_int_equal(lite_is_any(&c->type), columns[i].any);
		assert_int_equal(c->has_default, columns[i].json != NULL);
		assert_true(!columns[i].json || slice_is(c->default_json, columns[i].json));
		/* Without a default that readers know, rows that were there have null until they come again. */
		assert_int_equal(c->notnull, !columns[i].dflt || columns[i].json);
		assert_string_equal(t.connector, "sqlite");
		assert_true(t.cols[0].identity && !c->identity);
		arena_free(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(strings_are_utf8),
		cmocka_unit_test(malformed),
		cmocka_unit_test(at_a_postgresql),
		cmocka_unit_test(reals),
		cmocka_unit_test(columns_travel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
