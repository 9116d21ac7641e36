#include "core/buf.h"
#include "schemas/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <avro.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define GOLDEN "tests/golden/schema/"
#define DECIMAL "org.apache.kafka.connect.data.Decimal"
#define VARDECIMAL "io.debezium.data.VariableScaleDecimal"

#define NAMED(text) .name = SLICE_LIT(text)
#define DEFAULT(text) .has_default = true, .default_json = SLICE_LIT(text)

static struct err err;

static const struct wire_type item_int = { .wire = W_INT32 };

static struct column debezium_cols[] = {
	{ NAMED("id"), .type = { .wire = W_INT32 }, .notnull = true, DEFAULT("0") },
	{ NAMED("name"), .type = { .wire = W_STRING } },
	{ NAMED("s2"), .type = { .wire = W_INT16 } },
	{ NAMED("n102"),
	    .type = { .wire = W_DECIMAL, .semantic = DECIMAL, .precision = 10, .scale = 2 } },
	{ NAMED("nvar"), .type = { .wire = W_VARDECIMAL, .semantic = VARDECIMAL } },
	{ NAMED("nvar2"), .type = { .wire = W_VARDECIMAL, .semantic = VARDECIMAL } },
	{ NAMED("mny"), .type = { .wire = W_DECIMAL, .semantic = DECIMAL, .scale = 2 } },
	{ NAMED("ts"), .type = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" } },
	{ NAMED("tsz"),
	    .type = { .wire = W_STRING, .semantic = "io.debezium.time.ZonedTimestamp" } },
	{ NAMED("d"), .type = { .wire = W_INT32, .semantic = "io.debezium.time.Date" } },
	{ NAMED("u"), .type = { .wire = W_STRING, .semantic = "io.debezium.data.Uuid" } },
	{ NAMED("j"), .type = { .wire = W_STRING, .semantic = "io.debezium.data.Json" } },
	{ NAMED("e"),
	    .type = { .wire = W_STRING, .semantic = "io.debezium.data.Enum", .allowed = "a,b" } },
	{ NAMED("b5"),
	    .type = { .wire = W_BYTES, .semantic = "io.debezium.data.Bits", .length = 5 } },
	{ NAMED("ba"), .type = { .wire = W_BYTES } },
	{ NAMED("arr"), .type = { .wire = W_ARRAY, .item = &item_int } },
	{ NAMED("dflt"), .type = { .wire = W_STRING }, DEFAULT("\"x\"") },
};

static struct table
table_of(struct column *cols, size_t n)
{
	static int first[] = { 0 };

	return (struct table){ .schema = SLICE_LIT("public"),
		.name = SLICE_LIT("t"),
		.identity = IDENTITY_DEFAULT,
		.cols = cols,
		.ncols = (int)n,
		.keys = first,
		.nkeys = 1 };
}

static json_t *
parsed(struct slice s)
{
	json_t *j = json_loadb(s.p, s.n, JSON_ALLOW_NUL, NULL);

	assert_non_null(j);
	return j;
}

/* avro-c is the judge of structure and names. It takes no \u0000, which stands in defaults only:
 * not its part here. */
static void
avro_takes(struct slice json)
{
	avro_schema_t s = NULL;
	struct arena a = { 0 };
	char *text = arena_text(&a, json);

	for (char *z = text; (z = strstr(z, "\\u0000"));)
		z[5] = '1';
	if (avro_schema_from_json_length(text, json.n, &s) != 0)
		fail_msg("avro-c: %s\n%s", avro_strerror(), text);
	avro_schema_decref(s);
	arena_free(&a);
}

static void
same_as_golden(struct slice json, const char *file)
{
	json_t *want = json_load_file(file, 0, NULL), *got = parsed(json);

	if (!want)
		fail_msg("%s is missing or not JSON; run from the top of the tree", file);
	if (!json_equal(got, want))
		fail_msg("differs from %s:\n%.*s", file, SLICE_ARG(json));
	avro_takes(json);
	json_decref(want);
	json_decref(got);
}

static struct slice
value_of(const struct table *tbl, struct arena *a)
{
	struct slice json;

	if (schema_value(SLICE_LIT("srv"), tbl, a, &json, &err) != OK)
		fail_msg("%s", err.text);
	return json;
}

/* What Debezium 3.6.1 registers for the same table. */
static void
debezium_to_the_letter(void **state UNUSED)
{
	struct table tbl = table_of(debezium_cols, COUNTOF(debezium_cols));
	struct arena a = { 0 };
	struct slice value = value_of(&tbl, &a);

	same_as_golden(schema_key(SLICE_LIT("srv"), &tbl, &a), GOLDEN "key.json");
	same_as_golden(value, GOLDEN "value.json");
	same_as_golden(schema_message_key(&a), GOLDEN "message_key.json");
	same_as_golden(schema_message_value(&a), GOLDEN "message_value.json");
	arena_free(&a);
}

static json_t *
column_type(struct slice value, int i)
{
	json_t *env = parsed(value);
	json_t *before = json_array_get(
	    json_object_get(json_array_get(json_object_get(env, "fields"), 0), "type"), 1);
	json_t *f = json_incref(json_array_get(json_object_get(before, "fields"), (size_t)i));

	json_decref(env);
	return f;
}

static void
column_prints(struct column col, const char *want)
{
	struct table tbl = table_of(&col, 1);
	struct arena a = { 0 };
	struct slice value = value_of(&tbl, &a);
	json_t *got = column_type(value, 0), *j = parsed(slice_of(want));

	if (!json_equal(got, j))
		fail_msg("%s\n  is %s", want, json_dumps(got, JSON_COMPACT));
	avro_takes(value);
	json_decref(got);
	json_decref(j);
	arena_free(&a);
}

/* AvroData's rules for a column's field. */
static void
column_fields(void **state UNUSED)
{
	static const struct wire_type numeric = { .wire = W_DECIMAL, .precision = 4, .scale = 1 };

	column_prints((struct column){ NAMED("c"), .type = { .wire = W_INT64 }, .notnull = true },
	    "{\"name\":\"c\",\"type\":\"long\"}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_INT16 }, DEFAULT("-3") },
	    "{\"name\":\"c\",\"type\":[{\"type\":\"int\",\"connect.default\":-3,\"connect.type\":\"int16\"},\"null\"],"
	    "\"default\":-3}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_BYTES }, .notnull = true,
	    DEFAULT("\"\\u0000\\u00ff\"") },
	    "{\"name\":\"c\",\"type\":{\"type\":\"bytes\",\"connect.default\":\"\\u0000\\u00ff\"},"
	    "\"default\":\"\\u0000\\u00ff\"}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_BOOL }, DEFAULT("null") },
	    "{\"name\":\"c\",\"type\":[\"null\",\"boolean\"],\"default\":null}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_DOUBLE }, .notnull = true,
			  DEFAULT("0.5") },
	    "{\"name\":\"c\",\"type\":{\"type\":\"double\",\"connect.default\":0.5},\"default\":0.5}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_ARRAY, .item = &numeric } },
	    "{\"name\":\"c\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"bytes\",\"scale\":1,"
	    "\"precision\":4,\"connect.version\":1,\"connect.parameters\":{\"scale\":\"1\","
	    "\"connect.decimal.precision\":\"4\"},\"connect.name\":\"" DECIMAL
	    "\",\"logicalType\":\"decimal\"}]}],"
	    "\"default\":null}");
}

/* The source's own words travel with what goes as text, and with nothing else. */
static void
source_type_travels(void **state UNUSED)
{
	column_prints(
	    (struct column){ NAMED("c"), .type = { .wire = W_STRING, .source_type = "tsquery" } },
	    "{\"name\":\"c\",\"type\":[\"null\",{\"type\":\"string\",\"connect.parameters\":"
	    "{\"__debezium.source.column.type\":\"tsquery\"}}],\"default\":null}");
	column_prints(
	    (struct column){ NAMED("c"), .type = { .wire = W_STRING, .source_type = "varbit[]" },
		.type_name = SLICE_LIT("bit varying(5)[]") },
	    "{\"name\":\"c\",\"type\":[\"null\",{\"type\":\"string\",\"connect.parameters\":"
	    "{\"__debezium.source.column.type\":\"bit varying(5)[]\"}}],\"default\":null}");
	column_prints((struct column){ NAMED("c"), .type = { .wire = W_STRING },
	    .type_name = SLICE_LIT("character varying(20)") },
	    "{\"name\":\"c\",\"type\":[\"null\",\"string\"],\"default\":null,\"towline.type\":\"character varying(20)\"}");
	column_prints((struct column){ NAMED("va lue"), .type = { .wire = W_STRING }, .was = SLICE_LIT("b"), .fresh = true },
	    "{\"name\":\"va_lue\",\"type\":[\"null\",\"string\"],\"default\":null,\"towline.name\":\"va lue\",\"towline.was\":\"b\","
	    "\"towline.new\":true}");
}

/* Columns in the forms of other modes: Debezium's type, and beside it what it is, and back. */
static void
forms_travel(void **state UNUSED)
{
	static const struct wire_type numeric = { .wire = W_DECIMAL, .semantic = DECIMAL, .precision = 10, .scale = 2 },
				      stamp = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" },
				      bytes = { .wire = W_BYTES }, byteses = { .wire = W_ARRAY, .item = &bytes },
				      hex = { .wire = W_STRING, .coded = CODED_HEX };
	struct column cols[] = { { NAMED("id"), .type = { .wire = W_INT32 }, .notnull = true },
		{ NAMED("n"), .type = { .wire = W_DOUBLE, .plain = &numeric } },
		{ NAMED("t"), .type = { .wire = W_INT64, .semantic = "org.apache.kafka.connect.data.Timestamp", .plain = &stamp } },
		{ NAMED("b"), .type = { .wire = W_STRING, .coded = CODED_BASE64_URL, .plain = &bytes } },
		{ NAMED("a"), .type = { .wire = W_ARRAY, .item = &hex, .plain = &byteses } } };
	struct table tbl = table_of(cols, COUNTOF(cols)), *back;
	struct arena a = { 0 };

	column_prints(cols[1], "{\"name\":\"n\",\"type\":[\"null\",\"double\"],\"default\":null,\"towline.type\":\"numeric(10,2)\"}");
	column_prints(cols[2], "{\"name\":\"t\",\"type\":[\"null\",{\"type\":\"long\",\"connect.version\":1,"
			       "\"connect.name\":\"org.apache.kafka.connect.data.Timestamp\",\"logicalType\":\"timestamp-millis\"}],"
			       "\"default\":null,\"towline.type\":\"timestamp without time zone\"}");
	column_prints(cols[3], "{\"name\":\"b\",\"type\":[\"null\",\"string\"],\"default\":null,\"towline.type\":\"bytea\","
			       "\"towline.coded\":\"base64-url-safe\"}");
	column_prints(cols[4], "{\"name\":\"a\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\",\"string\"]}],\"default\":null,"
			       "\"towline.type\":\"bytea[]\",\"towline.coded\":\"hex\"}");
	assert_int_equal(schema_table(SLICE_LIT(""), value_of(&tbl, &a), &a, &back, &err), OK);
	assert_null(back->cols[0].type.plain);
	assert_int_equal(back->cols[1].type.plain->wire, W_DECIMAL);
	assert_int_equal(back->cols[1].type.plain->scale, 2);
	assert_string_equal(back->cols[2].type.semantic, "io.debezium.time.Timestamp");
	assert_string_equal(back->cols[2].type.plain->semantic, "io.debezium.time.MicroTimestamp");
	assert_int_equal(back->cols[3].type.coded, CODED_BASE64_URL);
	assert_int_equal(back->cols[4].type.item->coded, CODED_HEX);
	arena_free(&a);
}

/* Records with another key than their table: both keys are told. */
static void
two_keys_travel(void **state UNUSED)
{
	struct column cols[] = { { NAMED("the id"), .type = { .wire = W_INT32 }, .notnull = true },
		{ NAMED("customer"), .type = { .wire = W_INT32 } }, { NAMED("n"), .type = { .wire = W_INT32 } } };
	struct table tbl = table_of(cols, 3), *back;
	struct arena a = { 0 };
	int message_keys[] = { 1 };
	struct slice key;

	tbl.message_keys = message_keys;
	tbl.nmessage_keys = 1;
	key = schema_key(SLICE_LIT("srv"), &tbl, &a);
	assert_non_null(strstr(key.p, "customer"));
	assert_null(strstr(key.p, "the_id"));
	assert_int_equal(schema_table(key, value_of(&tbl, &a), &a, &back, &err), OK);
	assert_int_equal(back->nkeys, 1);
	assert_int_equal(back->keys[0], 0);
	assert_true(back->cols[0].identity && !back->cols[1].identity);
	assert_int_equal(back->nmessage_keys, 1);
	assert_int_equal(back->message_keys[0], 1);
	tbl.nkeys = 0;
	assert_int_equal(schema_table(key, value_of(&tbl, &a), &a, &back, &err), OK);
	assert_int_equal(back->nkeys, 0);
	arena_free(&a);
}

/* What became of a table and its columns since the version before, and their own names, come out as they went in; also in a key. */
static void
own_words_travel(void **state UNUSED)
{
	struct column cols[] = { { NAMED("the id"), .type = { .wire = W_INT32 }, .notnull = true, .was = SLICE_LIT("1st") },
		{ NAMED("v"), .type = { .wire = W_STRING }, .fresh = true } };
	struct table tbl = table_of(cols, 2), *back;
	struct slice was[] = { SLICE_LIT("v") }, value;
	struct arena a = { 0 };
	int keys[] = { 0 };

	tbl.keys = keys;
	tbl.nkeys = 1;
	tbl.rekeyed = true;
	tbl.was_keys = was;
	tbl.nwas_keys = 1;
	tbl.was_schema = SLICE_LIT("old.schema");
	tbl.was_name = SLICE_LIT("t \"2\"");
	value = value_of(&tbl, &a);
	assert_int_equal(schema_table(schema_key(SLICE_LIT("srv"), &tbl, &a), value, &a, &back, &err), OK);
	assert_true(slice_is(back->cols[0].name, "the id") && slice_is(back->cols[0].was, "1st") && !back->cols[0].fresh);
	assert_true(slice_is(back->cols[1].name, "v") && !back->cols[1].was.n && back->cols[1].fresh);
	assert_true(back->nkeys == 1 && back->keys[0] == 0);
	assert_true(back->rekeyed && back->nwas_keys == 1 && slice_is(back->was_keys[0], "v"));
	assert_true(slice_is(back->was_schema, "old.schema") && slice_is(back->was_name, "t \"2\""));
	arena_free(&a);
}

static void
value_rejects(struct column *cols, size_t n, const char *words)
{
	struct table tbl = table_of(cols, n);
	struct arena a = { 0 };
	struct slice json;

	assert_int_equal(schema_value(SLICE_LIT("srv"), &tbl, &a, &json, &err), REJECT);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	arena_free(&a);
}

static void
value_refuses(void **state UNUSED)
{
	struct column twins[] = {
		{ NAMED("a b"), .type = { .wire = W_INT32 } },
		{ NAMED("a_b"), .type = { .wire = W_INT32 } },
	};
	struct column other = { NAMED("p"), .type = { .wire = W_OTHER } };
	struct column wrong = { NAMED("n"), .type = { .wire = W_INT32 }, DEFAULT("\"x\"") };
	struct column wide = { NAMED("n"), .type = { .wire = W_INT32 }, DEFAULT("2147483648") };
	struct column junk = { NAMED("n"), .type = { .wire = W_INT32 }, DEFAULT("{") };
	struct column none = { NAMED("n"), .type = { .wire = W_INT32 }, .notnull = true,
		DEFAULT("null") };
	struct column latin = { NAMED("e"), .type = { .wire = W_STRING, .allowed = "gr\xfcn" } };

	value_rejects(twins, 2, "columns a b and a_b of public.t both become a_b");
	value_rejects(&other, 1, "no Avro type");
	value_rejects(&wrong, 1, "default \"x\" of column n");
	value_rejects(&wide, 1, "default 2147483648");
	value_rejects(&junk, 1, "default {");
	value_rejects(&none, 1, "default null");
	value_rejects(&latin, 1, "not UTF-8");
}

static void
adjusts(const char *name, bool ns, const char *want)
{
	struct arena a = { 0 };

	assert_string_equal(schema_adjust(slice_of(name), ns, &a).p, want);
	arena_free(&a);
}

static void
names_adjusted(void **state UNUSED)
{
	struct table tbl = table_of(debezium_cols, 2);
	struct arena a = { 0 };

	adjusts("my-srv.public.my table", true, "my_srv.public.my_table");
	adjusts("9a.b.c", true, "_9a.b.c");
	adjusts("a.9b", true, "a._9b");
	adjusts("a..b.", true, "a._.b._");
	adjusts("a.b", false, "a_b");
	adjusts("9", false, "_9");
	adjusts("", false, "_");
	adjusts("gr\xc3\xbcn", false, "gr_n");
	adjusts("\xf0\x9f\x98\x80", false, "__");
	adjusts("plain_9", false, "plain_9");
	tbl.name = SLICE_LIT("my table");
	assert_true(
	    slice_is(schema_namespace(SLICE_LIT("my-srv"), &tbl, &a), "my_srv.public.my_table"));
	avro_takes(value_of(&tbl, &a));
	avro_takes(schema_key(SLICE_LIT("my-srv"), &tbl, &a));
	tbl.nkeys = 0;
	assert_int_equal(schema_key(SLICE_LIT("my-srv"), &tbl, &a).n, 0);
	arena_free(&a);
}

/* ---- reading ---- */

static struct table *
read_table(const char *key, const char *value, struct arena *a)
{
	struct table *t;

	if (schema_table(slice_of(key), slice_of(value), a, &t, &err) != OK)
		fail_msg("%s", err.text);
	return t;
}

static void
rejects(const char *key, const char *value, const char *words)
{
	struct arena a = { 0 };
	struct table *t;

	assert_int_equal(schema_table(slice_of(key), slice_of(value), &a, &t, &err), REJECT);
	assert_null(t);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	arena_free(&a);
}

#define RECORD(name) "{\"type\":\"record\",\"name\":\"" name "\","
#define ROW(fields)  RECORD("Value") "\"namespace\":\"srv.public.t\",\"fields\":[" fields "]}"
#define ID           "{\"name\":\"id\",\"type\":\"int\"}"
#define ID_V         ID ",{\"name\":\"v\",\"type\":[\"null\",\"string\"]}"
#define ENVELOPE(fields)                                                                           \
	RECORD("Envelope")                                                                         \
	"\"namespace\":\"srv.public.t\",\"fields\":[" fields                                       \
	"],\"connect.name\":\"srv.public.t.Envelope\"}"
#define BEFORE  "{\"name\":\"before\",\"type\":[\"null\"," ROW(ID_V) "]}"
#define AFTER   "{\"name\":\"after\",\"type\":[\"null\",\"Value\"]}"
#define OP      "{\"name\":\"op\",\"type\":\"string\"}"
#define LONG(n) "{\"name\":\"" n "\",\"type\":[\"null\",\"long\"]}"
#define SOURCE  "{\"name\":\"source\",\"type\":" RECORD("Source") "\"fields\":[" LONG("lsn") "]}}"
#define TRANSACTION "{\"name\":\"transaction\",\"type\":[\"null\",\"string\"]}"

/* Field order is not the reader's concern, nor what it does not know. */
static void
every_layout(void **state UNUSED)
{
	static const char *const layouts[] = {
		/* 1.0 - 2.5 */
		ENVELOPE(BEFORE "," AFTER "," SOURCE "," OP "," LONG("ts_ms") "," TRANSACTION),
		/* 2.6 */
		ENVELOPE(BEFORE "," AFTER "," SOURCE "," OP "," LONG("ts_ms") "," LONG("ts_us") ","
		    LONG("ts_ns") "," TRANSACTION),
		/* 2.7 on */
		ENVELOPE(BEFORE "," AFTER "," SOURCE "," TRANSACTION "," OP "," LONG("ts_ms") ","
		    LONG("ts_us") "," LONG("ts_ns")),
		/* no Connect name; `after` alone */
		RECORD("Envelope") "\"namespace\":\"srv.public.t\",\"fields\":[" OP
		    ",{\"name\":\"after\",\"type\":[\"null\"," ROW(ID_V) "]}]}",
		/* flattened */
		ROW(ID ",{\"name\":\"v\",\"type\":[\"string\",\"null\"]}"),
	};

	for (size_t i = 0; i < COUNTOF(layouts); i++) {
		struct arena a = { 0 };
		struct table *t = read_table(
		    "{\"type\":\"record\",\"name\":\"Key\",\"fields\":[" ID "]}", layouts[i], &a);

		assert_true(slice_is(t->schema, "public") && slice_is(t->name, "t"));
		assert_int_equal(t->ncols, 2);
		assert_true(slice_is(t->cols[0].name, "id") && t->cols[0].notnull &&
		    t->cols[0].type.wire == W_INT32);
		assert_true(slice_is(t->cols[1].name, "v") && !t->cols[1].notnull &&
		    t->cols[1].type.wire == W_STRING);
		assert_int_equal(t->nkeys, 1);
		assert_int_equal(t->keys[0], 0);
		assert_true(t->cols[0].identity && !t->cols[1].identity);
		arena_free(&a);
	}
}

static const struct column *
read_column(const char *type, struct arena *a)
{
	char *json = arena_printf(a, ROW("{\"name\":\"c\",\"type\":%s}"), type);

	return &read_table("", json, a)->cols[0];
}

static void
reads(const char *type, enum wire wire, const char *semantic, bool notnull)
{
	struct arena a = { 0 };
	const struct column *col = read_column(type, &a);

	if (col->type.wire != wire || col->notnull != notnull || !col->type.semantic != !semantic ||
	    (semantic && strcmp(col->type.semantic, semantic) != 0))
		fail_msg("%s: wire %d, %s, notnull %d", type, col->type.wire,
		    col->type.semantic ? col->type.semantic : "no semantic name", col->notnull);
	arena_free(&a);
}

#define POINT                                                                                      \
	RECORD("Point")                                                                            \
	"\"namespace\":\"io.debezium.data.geometry\",\"fields\":[{\"name\":\"x\",\"type\":\"double\"}]," \
	"\"connect.name\":\"io.debezium.data.geometry.Point\"}"

static void
foreign_types(void **state UNUSED)
{
	reads("[\"null\"," POINT "]", W_OTHER, "io.debezium.data.geometry.Point", false);
	reads("{\"type\":\"array\",\"items\":" POINT "}", W_OTHER, NULL, true);
	reads("{\"type\":\"map\",\"values\":\"string\"}", W_OTHER, NULL, true);
	reads("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", W_OTHER, NULL, true);
	reads("[\"null\",\"int\",\"string\"]", W_OTHER, NULL, false);
	reads("[\"int\",\"string\"]", W_OTHER, NULL, true);
	reads("\"null\"", W_OTHER, NULL, false);
	reads("[\"int\"]", W_INT32, NULL, true);
	reads("{\"type\":{\"type\":\"string\"}}", W_STRING, NULL, true);
	reads("{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"int\"}}", W_OTHER,
	    NULL, true);
	reads(
	    "{\"type\":\"array\",\"items\":\"double\",\"connect.name\":\"io.debezium.data.DoubleVector\"}",
	    W_COMPOUND, "io.debezium.data.DoubleVector", true);
	/* a record that only calls itself VariableScaleDecimal */
	reads("{\"type\":\"record\",\"name\":\"V\",\"fields\":[],\"connect.name\":\"" VARDECIMAL
	      "\"}",
	    W_OTHER, VARDECIMAL, true);
	reads("{\"type\":\"int\",\"connect.type\":\"int8\"}", W_INT16, NULL, true);
	reads(
	    "{\"type\":\"int\",\"connect.name\":\"org.apache.kafka.connect.data.Date\",\"logicalType\":\"date\"}",
	    W_INT32, "io.debezium.time.Date", true);
	reads("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", W_INT64,
	    "io.debezium.time.MicroTimestamp", true);
	reads("{\"type\":\"string\",\"logicalType\":\"timestamp-micros\"}", W_STRING, NULL, true);
	reads("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":5}", W_DECIMAL,
	    DECIMAL, true);
}

static void
decimals(void **state UNUSED)
{
	struct arena a = { 0 };
	const struct wire_type *w;

	w = &read_column(
	    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":5,\"scale\":3}", &a)
		 ->type;
	assert_true(w->precision == 5 && w->scale == 3);
	w = &read_column(
	    "{\"type\":\"bytes\",\"scale\":2,\"precision\":64,\"connect.parameters\":{\"scale\":\"2\"},"
	    "\"connect.name\":\"" DECIMAL "\"}",
	    &a)
		 ->type;
	assert_true(w->precision == 0 && w->scale == 2);
	w = &read_column(
	    "{\"type\":\"bytes\",\"connect.parameters\":{\"scale\":\"7\","
	    "\"connect.decimal.precision\":\"99999999999\"},\"connect.name\":\"" DECIMAL "\"}",
	    &a)
		 ->type;
	assert_true(w->precision == 0 && w->scale == 7);
	arena_free(&a);
}

static void
bad_schemas(void **state UNUSED)
{
	struct arena a = { 0 };
	struct buf deep = { 0 }, many = { 0 };

	rejects("", "", "not JSON");
	rejects("", "{\"type\":", "not JSON");
	rejects("", "5", "no Avro schema");
	rejects("", "\"string\"", "not a record");
	rejects("", "[\"null\"]", "not a record");
	rejects("", "{\"type\":\"record\",\"name\":\"X\"}", "has no fields");
	rejects("", "{\"type\":\"record\",\"fields\":[]}", "without a name");
	rejects("", ROW("{\"name\":\"a\"}"), "lacks a name or a type");
	rejects("", ROW("{\"name\":\"a\",\"type\":7}"), "no Avro schema");
	rejects("", ROW("{\"name\":\"a\",\"type\":{\"type\":\"array\"}}"),
	    "without the type of its items");
	rejects("", ROW("7"), "lacks a name or a type");
	rejects("", ROW(ID "," ID), "two fields id");
	rejects("", ROW("{\"name\":\"a\",\"type\":\"Unknown\"}"), "names the type Unknown");
	rejects("", ROW("{\"name\":\"a\",\"type\":" ROW(ID) "}"), "twice");
	rejects("", ENVELOPE(OP), "without before and after");
	rejects("", ENVELOPE("{\"name\":\"after\",\"type\":\"string\"}"), "after is not a record");
	rejects("",
	    ENVELOPE(BEFORE
		",{\"name\":\"after\",\"type\":{\"type\":\"record\",\"name\":\"Z\",\"fields\":[]}}"),
	    "before and after differ");
	rejects("", schema_message_value(&a).p, "describes no row");
	rejects("\"long\"", ROW(ID), "the key's schema is not a record");
	rejects(
	    "{\"type\":\"record\",\"name\":\"Key\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}",
	    ROW(ID), "field x of the key");

	buf_text(
	    &deep, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":");
	for (int i = 0; i < 100; i++)
		buf_text(&deep, "{\"type\":\"array\",\"items\":");
	buf_text(&deep, "\"int\"");
	for (int i = 0; i < 100; i++)
		buf_text(&deep, "}");
	buf_text(&deep, "}]}");
	rejects("", buf_cstr(&deep), "deeper than 64 levels");

	buf_text(&many, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" ID);
	for (int i = 0; i < 10000; i++)
		buf_printf(&many, ",{\"name\":\"c%d\",\"type\":\"int\"}", i);
	buf_text(&many, "]}");
	rejects("", buf_cstr(&many), "more than 10000 fields");
	buf_free(&deep);
	buf_free(&many);
	arena_free(&a);
}

/* Our own and Debezium's schemas with bytes flipped or cut: an answer, whatever it is. */
static void
damaged_schemas(void **state UNUSED)
{
	struct table tbl = table_of(debezium_cols, COUNTOF(debezium_cols));
	unsigned seed = (unsigned)time(NULL);
	struct arena a = { 0 };
	struct slice value = value_of(&tbl, &a), key = schema_key(SLICE_LIT("srv"), &tbl, &a);

	printf("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 1500; round++) {
		struct arena tmp = { 0 };
		char *v = arena_text(&tmp, value), *k = arena_text(&tmp, key);
		static const char marks[] = "{}[]\",:0ax";
		struct table *t;

		for (int i = (int)(random() % 3); i >= 0; i--)
			v[(size_t)random() % value.n] = marks[random() % (long)(sizeof marks - 1)];
		if (random() % 2)
			k[(size_t)random() % key.n] = marks[random() % (long)(sizeof marks - 1)];
		(void)!schema_table(
		    (struct slice){ k, key.n }, (struct slice){ v, value.n }, &tmp, &t, &err);
		arena_free(&tmp);
	}
	arena_free(&a);
}

/* ---- there and back ---- */

static const struct {
	struct wire_type type;
	const char *dflt;
} kinds[] = {
	{ { .wire = W_BOOL }, "true" },
	{ { .wire = W_INT16 }, "-7" },
	{ { .wire = W_INT32 }, "2147483647" },
	{ { .wire = W_INT64 }, "-9223372036854775808" },
	{ { .wire = W_FLOAT }, "0.5" },
	{ { .wire = W_DOUBLE }, "1e300" },
	{ { .wire = W_STRING }, "\"\\u0000 \\\" x\"" },
	{ { .wire = W_BYTES }, "\"\\u00ff\"" },
	{ { .wire = W_DECIMAL, .semantic = DECIMAL, .precision = 38, .scale = 4 }, "\"\\u0001\"" },
	{ { .wire = W_DECIMAL, .semantic = DECIMAL, .scale = 2 }, "\"\"" },
	{ { .wire = W_VARDECIMAL, .semantic = VARDECIMAL }, "{\"scale\":0,\"value\":\"\\u0000\"}" },
	{ { .wire = W_INT32, .semantic = "io.debezium.time.Date" }, "0" },
	{ { .wire = W_INT64, .semantic = "io.debezium.time.MicroDuration" }, "1" },
	{ { .wire = W_STRING, .semantic = "io.debezium.data.Enum", .allowed = "a,b c,\"d\"" },
	    "\"a\"" },
	{ { .wire = W_BYTES, .semantic = "io.debezium.data.Bits", .length = 2147483647 }, "\"\"" },
	{ { .wire = W_STRING, .source_type = "int4multirange" }, "\"{}\"" },
};

static void
random_column(struct column *col, int i, struct arena *a)
{
	static const char *const names[] = { "col", "_", "A9", "before", "op", "Value", "z_z" };
	size_t kind = (size_t)random() % COUNTOF(kinds);
	char *name = arena_printf(a, "%s_%d", names[(size_t)random() % COUNTOF(names)], i);

	*col = (struct column){ .name = slice_of(name),
		.type = kinds[kind].type,
		.notnull = random() % 2,
		.default_expr = random() % 4 == 0,
		.typmod = -1 };
	if (col->type.source_type)
		col->type_name = slice_of(col->type.source_type);
	if (random() % 3 == 0) {
		struct wire_type *item = arena_new(a, struct wire_type);

		*item = col->type;
		col->type = (struct wire_type){ .wire = W_ARRAY, .item = item };
		col->type_name = (struct slice){ 0 };
	} else if (random() % 3 == 0) {
		col->has_default = true;
		col->default_json = slice_of(kinds[kind].dflt);
	}
}

static void
random_table(struct table *tbl, struct arena *a)
{
	int n = (int)(random() % 30) + 1;

	*tbl = (struct table){ .schema = SLICE_LIT("s1"),
		.name = SLICE_LIT("t_1"),
		.identity = IDENTITY_DEFAULT,
		.ncols = n };
	tbl->cols = arena_array(a, (size_t)n, sizeof *tbl->cols);
	tbl->keys = arena_array(a, (size_t)n, sizeof *tbl->keys);
	for (int i = 0; i < n; i++) {
		random_column(&tbl->cols[i], i, a);
		if (random() % 4 == 0) {
			int at = (int)(random() % (tbl->nkeys + 1));

			/* key order is not column order */
			memmove(tbl->keys + at + 1, tbl->keys + at,
			    (size_t)(tbl->nkeys - at) * sizeof *tbl->keys);
			tbl->keys[at] = i;
			tbl->nkeys++;
			tbl->cols[i].identity = true;
		}
	}
}

/* A default keeps its value, not its spelling. */
static void
defaults_equal(struct column *want, struct column *got)
{
	json_t *a, *b;

	assert_int_equal(want->has_default, got->has_default);
	if (!want->has_default)
		return;
	a = json_loadb(
	    want->default_json.p, want->default_json.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	b = json_loadb(
	    got->default_json.p, got->default_json.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
	want->default_json = got->default_json;
}

static void
there_and_back(void **state UNUSED)
{
	unsigned seed = (unsigned)time(NULL) ^ 0x7ab1e;

	printf("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 300; round++) {
		struct arena a = { 0 };
		struct slice key, value;
		struct table want, *got;

		random_table(&want, &a);
		key = schema_key(SLICE_LIT("srv"), &want, &a);
		value = value_of(&want, &a);
		avro_takes(value);
		if (key.n)
			avro_takes(key);
		if (schema_table(key, value, &a, &got, &err) != OK)
			fail_msg("%s", err.text);
		assert_int_equal(want.ncols, got->ncols);
		for (int i = 0; i < want.ncols; i++)
			defaults_equal(&want.cols[i], &got->cols[i]);
		if (!table_same(&want, got))
			fail_msg("round %d differs:\n%.*s", round, SLICE_ARG(value));
		arena_free(&a);
	}
}

/* ---- fingerprints ---- */

static void
crc64_as_specified(void **state UNUSED)
{
	assert_true(schema_crc64((struct slice){ NULL, 0 }) == 0xc15d213aa4d7a795);
	assert_true(schema_crc64(SLICE_LIT("\"null\"")) == 0x63dd24e7cc258f8a);
	assert_true(schema_crc64(SLICE_LIT("\"int\"")) == 0x7275d51a3f395c8f);
}

static uint64_t
fingerprint(const char *json)
{
	uint64_t fp;

	assert_int_equal(schema_fingerprint(slice_of(json), &fp, &err), OK);
	return fp;
}

static void
fingerprints(void **state UNUSED)
{
	uint64_t fp;

	assert_true(fingerprint("\"int\"") == 0x7275d51a3f395c8f);
	assert_true(fingerprint("{\"type\":\"bytes\",\"scale\":2}") ==
	    fingerprint("{ \"scale\": 2,\n \"type\":\"bytes\" }"));
	assert_true(fingerprint("{\"type\":\"bytes\",\"scale\":2}") ==
	    schema_crc64(SLICE_LIT("{\"scale\":2,\"type\":\"bytes\"}")));
	assert_true(fingerprint("{\"type\":\"bytes\",\"scale\":2}") !=
	    fingerprint("{\"type\":\"bytes\",\"scale\":3}"));
	assert_true(fingerprint("[1,2]") != fingerprint("[2,1]"));
	assert_int_equal(schema_fingerprint(SLICE_LIT("{"), &fp, &err), REJECT);
	assert_int_equal(schema_fingerprint((struct slice){ NULL, 0 }, &fp, &err), REJECT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debezium_to_the_letter),
		cmocka_unit_test(column_fields),
		cmocka_unit_test(source_type_travels),
		cmocka_unit_test(forms_travel),
		cmocka_unit_test(two_keys_travel),
		cmocka_unit_test(own_words_travel),
		cmocka_unit_test(value_refuses),
		cmocka_unit_test(names_adjusted),
		cmocka_unit_test(every_layout),
		cmocka_unit_test(foreign_types),
		cmocka_unit_test(decimals),
		cmocka_unit_test(bad_schemas),
		cmocka_unit_test(damaged_schemas),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(crc64_as_specified),
		cmocka_unit_test(fingerprints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
