/*
 * compound_test.c - Debezium's structures: the bytes of each, the way back, what has no place in them, and bytes from outside. Expected
 * bytes by hand from the Avro specification and OGC 06-103r4; which structure, as Debezium 3.7's PostgresValueConverter.
 */
#include "schemas/codec.h"
#include "schemas/compound.h"
#include "schemas/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define TYPE(number, text) { .oid = number, .typmod = -1, .typtype = 'b', .name = text }
#define ONE "000000000000f03f"
#define TWO "0000000000000040"

static const struct pg_type point = TYPE(600, "point"), lseg = TYPE(601, "lseg"), path = TYPE(602, "path"), box = TYPE(603, "box"),
			    polygon = TYPE(604, "polygon"), line = TYPE(628, "line"), circle = TYPE(718, "circle"),
			    geometry = TYPE(20001, "geometry"), at_point = TYPE(20001, "my.schema.geometry(Point,4326)"),
			    geography = TYPE(20002, "public.geography"), vector = TYPE(20003, "public.vector(3)"),
			    halfvec = TYPE(20004, "halfvec"), sparsevec = TYPE(20005, "sparsevec(5)"),
			    hstore = TYPE(20006, "public.hstore");

static const struct {
	const struct pg_type *type;
	const char *text, *hex; /* hex NULL: it has no place there */
	bool exact;
} values[] = {
	{ &point, "(1,2)", ONE TWO "022a" "0101000000" ONE TWO "00", false },
	{ &line, "{1,2,-0}", ONE TWO "0000000000000080", false },
	{ &circle, "<(1,2),2>", ONE TWO "022a" "0101000000" ONE TWO "00" TWO, false },
	/* length of the wkb; order, type, points; no srid; one pair, or two */
	{ &lseg, "[(1,2),(2,1)]", "52" "01" "02000000" "02000000" ONE TWO TWO ONE "00" "02" "02" "0874797065" "086c736567" "00", false },
	{ &path, "((1,2))", "32" "01" "02000000" "01000000" ONE TWO "00" "02" "04" "0c636c6f736564" "0874727565"
	    "0874797065" "0870617468" "00", false },
	{ &path, "[(1,2)]", "32" "01" "02000000" "01000000" ONE TWO "00" "02" "04" "0c636c6f736564" "0a66616c7365"
	    "0874797065" "0870617468" "00", false },
	{ &box, "(2,2),(1,1)", "ba01" "01" "03000000" "01000000" "05000000" TWO TWO TWO ONE ONE ONE ONE TWO TWO TWO "00" "02" "02"
	    "0874797065" "06626f78" "00", false },
	{ &polygon, "((1,2),(2,1))", "7a" "01" "03000000" "01000000" "03000000" ONE TWO TWO ONE ONE TWO "00" "02" "02" "0874797065"
	    "0e706f6c79676f6e" "00", false },
	/* To Debezium a ring that is closed twice is the same ring. */
	{ &polygon, "((1,2),(2,1),(1,2))", "7a" "01" "03000000" "01000000" "03000000" ONE TWO TWO ONE ONE TWO "00" "02" "02" "0874797065"
	    "0e706f6c79676f6e" "00", true },
	{ &geometry, "0101000000000000000000F03F0000000000000040", "2a" "0101000000" ONE TWO "00" "00", false },
	{ &at_point, "0101000020E6100000000000000000F03F0000000000000040", "32" "0101000020" "e6100000" ONE TWO "02cc43" "00", false },
	{ &geometry, "002000000100000001" "3FF0000000000000" "4000000000000000", "32" "0020000001" "00000001" "3ff0000000000000"
	    "4000000000000000" "0202" "00", false },
	{ &geography, "0101000020E6100000000000000000F03F0000000000000040", "32" "0101000020" "e6100000" ONE TWO "02cc43", false },
	{ &vector, "[1,2]", "04" ONE TWO "00", false },
	{ &vector, "[0.1,1e+06]", "04" "9a9999999999b93f" "0000000080842e41" "00", false },
	{ &halfvec, "[1,0.099975586]", "04" "0000803f" "00c0cc3d" "00", false },
	{ &sparsevec, "{1:1,3:2}/5", "0a" "04" "02" ONE "06" TWO "00", false },
	{ &sparsevec, "{}/32767", "feff03" "00", false },
	{ &sparsevec, "{1:1}/32768", NULL, true },
	{ &sparsevec, "{32768:1}/40000", NULL, true },
	{ &hstore, "\"a\"=>\"1\", \"\"=>NULL, \"b\\\"\\\\\"=>\"\"", "06" "0261" "02" "0231" "00" "00" "0662225c" "02" "00" "00", false },
	{ &hstore, "", "00", false },
	/* Another extension's type of that name, and what no server prints: nothing is lost. */
	{ &vector, "<1 2>", NULL, true },
	{ &geometry, "POINT(1 2)", NULL, true },
	{ &geometry, "0101000000", NULL, true },
	{ &geometry, "0101000000000000000000f03f0000000000000040", NULL, true },
	{ &point, "(1,2", NULL, true },
	{ &box, "(1,2)", NULL, true },
	{ &hstore, "\"a\"=>\"1\",", NULL, true },
};

static const char *
hex_of(struct slice s, struct arena *a)
{
	char *text = arena_raw(a, 2 * s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		snprintf(text + 2 * i, 3, "%02x", (uint8_t)s.p[i]);
	text[2 * s.n] = '\0';
	return text;
}

static struct slice
bytes_of(const char *hex, struct arena *a)
{
	size_t n = strlen(hex) / 2;
	char *p = arena_raw(a, n + 1), two[3] = "";

	for (size_t i = 0; i < n; i++) {
		memcpy(two, hex + 2 * i, 2);
		p[i] = (char)strtoul(two, NULL, 16);
	}
	return (struct slice){ p, n };
}

/* What a sink gets. */
static void
arrives_as(const struct wire_type *w, const struct value *v, const char *text)
{
	struct buf out = { 0 };
	struct err err;

	assert_int_equal(pgtype_text(w, v, &out, &err), OK);
	assert_string_equal(buf_cstr(&out), text);
	buf_free(&out);
}

static void
test_values(void **state UNUSED)
{
	static const char *const bad[] = { "", "\x01t" };

	struct arena a = { 0 };
	struct err err;
	struct value v;

	for (size_t i = 0; i < COUNTOF(values); i++) {
		struct wire_type w = pgtype_wire_as(values[i].type, &(struct type_modes){ .hstore = HSTORE_MAP }, &a);

		assert_int_equal(w.wire, W_COMPOUND);
		assert_int_equal(pgtype_read(values[i].type, &w, false, slice_of(values[i].text), &a, &v, &err), OK);
		if ((v.exact.n > 0) != values[i].exact)
			fail_msg("%s: exact is %.*s", values[i].text, SLICE_ARG(v.exact));
		assert_int_equal(v.kind, values[i].hex ? V_AVRO : V_NULL);
		if (values[i].hex)
			assert_string_equal(hex_of(v.s, &a), values[i].hex);
		arrives_as(&w, &v, values[i].text);
	}
	for (size_t i = 0; i < COUNTOF(bad); i++) {
		struct wire_type w = pgtype_wire(&point, &a);

		assert_int_equal(pgtype_read(&point, &w, false, slice_of(bad[i]), &a, &v, &err), REJECT);
	}
	arena_free(&a);
}

/* The other forms: as text, and hstore as JSON. */
static void
test_modes(void **state UNUSED)
{
	struct arena a = { 0 };
	struct wire_type w = pgtype_wire_as(&point, &(struct type_modes){ .structures = STRUCTURES_TEXT }, &a);
	const struct pg_type hstores = { .oid = 20007, .typmod = -1, .typtype = 'b', .name = "public.hstore[]", .item = &hstore };
	const struct pg_type money = { .oid = PG_MONEY, .typmod = -1, .typtype = 'b', .name = "money" };
	struct type_modes m = { .hstore = HSTORE_MAP, .money = 4 };
	struct value v;
	struct err err;

	assert_int_equal(w.wire, W_STRING);
	assert_string_equal(w.source_type, "point");
	w = pgtype_wire_as(&hstore, &(struct type_modes){ 0 }, &a);
	assert_int_equal(w.wire, W_STRING);
	w = pgtype_wire_as(&hstores, &m, &a);
	assert_int_equal(w.wire, W_ARRAY);
	assert_int_equal(w.item->wire, W_COMPOUND);
	assert_int_equal(pgtype_read(&hstores, &w, false, SLICE_LIT("{NULL,\"\\\"a\\\"=>\\\"1\\\"\"}"), &a, &v, &err), OK);
	assert_string_equal(hex_of(v.s, &a), "04" "00" "02" "02" "0261" "02" "0231" "00" "00");
	assert_int_equal(v.exact.n, 0);
	arrives_as(&w, &v, "{NULL,\"\\\"a\\\"=>\\\"1\\\"\"}");
	w = pgtype_wire_as(&money, &m, &a);
	assert_int_equal(w.scale, 4);
	assert_int_equal(pgtype_read(&money, &w, false, SLICE_LIT("-$1.23"), &a, &v, &err), OK);
	assert_string_equal(hex_of(v.s, &a), "cff4");
	arrives_as(&w, &v, "-1.23");
	m.money = 1; /* to the nearest, and exactly for sinks of ours */
	w = pgtype_wire_as(&money, &m, &a);
	assert_int_equal(pgtype_read(&money, &w, false, SLICE_LIT("$1.25"), &a, &v, &err), OK);
	assert_string_equal(hex_of(v.s, &a), "0d");
	arrives_as(&w, &v, "1.25");
	m.money = 0;
	w = pgtype_wire_as(&money, &m, &a);
	assert_int_equal(pgtype_read(&money, &w, false, SLICE_LIT("-$92,233,720,368,547,758.08"), &a, &v, &err), OK);
	assert_string_equal(hex_of(v.s, &a), "feb851eb851eb852");
	arrives_as(&w, &v, "-92233720368547758.08");
	arena_free(&a);
}

/* Each schema is one that says its layout: written and read again it is the same structure; records in it are defined once. */
static void
test_schemas(void **state UNUSED)
{
	static const struct pg_type *const types[] = { &circle, &point, &line, &box, &geography, &vector, &halfvec,
		&sparsevec, &hstore, &circle };
	struct arena a = { 0 };
	struct column cols[COUNTOF(types)] = { 0 };
	struct table tbl = { .schema = SLICE_LIT("s"), .name = SLICE_LIT("t"), .ncols = COUNTOF(types), .cols = cols }, *back;
	struct reader *reader;
	struct slice json;
	struct err err;

	for (size_t i = 0; i < COUNTOF(types); i++)
		cols[i] = (struct column){ .name = slice_of(arena_printf(&a, "c%zu", i)), .type_name = slice_of(types[i]->name),
			.notnull = i % 2, .type = pgtype_wire_as(types[i], &(struct type_modes){ .hstore = HSTORE_MAP }, &a) };
	assert_int_equal(schema_value(SLICE_LIT("p"), &tbl, &a, &json, &err), OK);
	assert_int_equal(schema_table(SLICE_LIT(""), json, &a, &back, &err), OK);
	assert_int_equal(reader_compile(SLICE_LIT(""), json, &a, &reader, &err), OK);
	for (size_t i = 0; i < COUNTOF(types); i++) {
		assert_ptr_equal(back->cols[i].type.compound, cols[i].type.compound);
		assert_true(slice_eq(back->cols[i].type_name, cols[i].type_name));
	}
	arena_free(&a);
}

static const struct column *
foreign(const char *type, struct arena *a)
{
	const char *json = arena_printf(a, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"c\",\"type\":%s}]}", type);
	struct table *tbl;
	struct err err;

	if (schema_table(SLICE_LIT(""), slice_of(json), a, &tbl, &err) != OK)
		fail_msg("%s", err.text);
	return &tbl->cols[0];
}

#define OTHER(name, fields) "{\"type\":\"record\",\"name\":\"X\",\"fields\":[" fields "],\"connect.name\":\"io.debezium.data." name "\"}"
#define WKB "{\"name\":\"wkb\",\"type\":\"bytes\"}"
#define SRID "{\"name\":\"srid\",\"type\":[\"null\",\"int\"]}"

/* Of other writers: the geometry of older Debeziums and of MySQL's, whose SRID is beside the bytes; and what only has the name. */
static void
test_foreign(void **state UNUSED)
{
	struct arena a = { 0 };
	struct value v = { .kind = V_AVRO };
	const struct column *col = foreign(OTHER("geometry.Geometry", WKB "," SRID), &a);

	assert_int_equal(col->type.wire, W_COMPOUND);
	v.s = bytes_of("2a" "0101000000" ONE TWO "02cc43", &a);
	arrives_as(&col->type, &v, "0101000020E6100000000000000000F03F0000000000000040");
	v.s = bytes_of("2a" "0000000001" "3ff0000000000000" "4000000000000000" "02cc43", &a);
	arrives_as(&col->type, &v, "0020000001000010E63FF00000000000004000000000000000");
	v.s = bytes_of("2a" "0101000000" ONE TWO "00", &a);
	arrives_as(&col->type, &v, "0101000000000000000000F03F0000000000000040");
	assert_string_equal(pgtype_create(&col->type, (struct slice){ 0 }, &a), "text");
	assert_int_equal(foreign(OTHER("geometry.Geometry", SRID "," WKB), &a)->type.wire, W_OTHER);
	assert_int_equal(foreign(OTHER("geometry.Point", WKB "," SRID), &a)->type.wire, W_OTHER);
	assert_int_equal(foreign("{\"type\":\"map\",\"values\":\"long\"}", &a)->type.wire, W_OTHER);
	col = foreign(OTHER("SparseDoubleVector", "{\"name\":\"dimensions\",\"type\":\"int\"},{\"name\":\"vector\",\"type\":"
	    "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"key\",\"type\":\"int\"},"
	    "{\"name\":\"value\",\"type\":\"double\"}]}}}"), &a);
	v.s = bytes_of("0a" "04" "06" TWO "02" ONE "00", &a); /* a map of Java's has no order */
	arrives_as(&col->type, &v, "{1:1,3:2}/5");
	col = foreign("{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"map\",\"values\":[\"null\",\"string\"]}]}", &a);
	v.s = bytes_of("02" "02" "01" "0a" "0261" "02" "0231" "00" "00", &a); /* a block with its size */
	arrives_as(&col->type, &v, "{\"\\\"a\\\"=>\\\"1\\\"\"}");
	arena_free(&a);
}

/* Any bytes: no text, or one; never past the end. */
static void
test_hostile(void **state UNUSED)
{
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct value v;

	srandom(11);
	for (int i = 0; i < 200000; i++) {
		const struct compound *k = compound_of(values[(size_t)random() % COUNTOF(values)].type, true);
		size_t row = (size_t)random() % COUNTOF(values), n;
		char *copy;

		if (!values[row].hex)
			continue;
		v.s = bytes_of(values[row].hex, &a);
		n = (size_t)random() % (v.s.n + 1);
		copy = malloc(n + 1);
		memcpy(copy, v.s.p, n);
		for (int k2 = (int)(random() % 4); n && k2 > 0; k2--)
			copy[(size_t)random() % n] = (char)random();
		buf_reset(&out);
		(void)!compound_text(k, (struct slice){ copy, n }, &out);
		free(copy);
		arena_reset(&a);
	}
	assert_false(compound_text(compound_of(&point, false), bytes_of(ONE TWO "022a", &a), &out));
	assert_false(compound_text(compound_of(&point, false), bytes_of(ONE TWO "000000", &a), &out)); /* more behind it */
	assert_false(compound_text(compound_of(&vector, false), bytes_of("feffffffffffffffff01", &a), &out));
	/* two points that call themselves three; "box" of three points; a line's type where a polygon is due */
	assert_false(compound_text(compound_of(&box, false), bytes_of("52" "01" "02000000" "03000000" ONE ONE TWO TWO "00" "02" "02"
	    "0874797065" "086c736567" "00", &a), &out));
	assert_false(compound_text(compound_of(&box, false), bytes_of("5a" "01" "03000000" "01000000" "02000000" ONE ONE TWO TWO "00" "02"
	    "02" "0874797065" "06626f78" "00", &a), &out));
	assert_false(compound_text(compound_of(&box, false), bytes_of("52" "01" "02000000" "02000000" ONE ONE TWO TWO "00" "02" "02"
	    "0874797065" "0e706f6c79676f6e" "00", &a), &out));
	buf_free(&out);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_schemas),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
