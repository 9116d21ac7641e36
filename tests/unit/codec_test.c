/*
 * The codec by hand: golden bytes, Debezium's layouts and placeholders, what is passed over, and
 * what is refused. GOLDEN_WRITE=1 writes the golden files anew, to be read before they are kept.
 */
#include "core/cursor.h"
#include "schemas/codec.h"
#include "schemas/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define GOLDEN      "tests/golden/codec/"
#define PLACEHOLDER "__debezium_unavailable_value"
#define VARDECIMAL \
	"{\"type\":\"record\",\"name\":\"VariableScaleDecimal\",\"namespace\":\"io.debezium.data\",\"fields\":[" \
	"{\"name\":\"scale\",\"type\":\"int\"},{\"name\":\"value\",\"type\":\"bytes\"}]," \
	"\"connect.name\":\"io.debezium.data.VariableScaleDecimal\"}"

static const struct slice none = { "", 0 };

static struct reader *
compiled(const char *json, struct arena *a)
{
	struct reader *r;
	struct err err;

	if (reader_compile(none, slice_of(json), a, &r, &err) != OK)
		fail_msg("%s", err.text);
	return r;
}

static void
refused(const char *json, const char *why)
{
	struct arena a = { 0 };
	struct reader *r;
	struct err err;

	assert_int_equal(reader_compile(none, slice_of(json), &a, &r, &err), REJECT);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" is not about %s", err.text, why);
	arena_free(&a);
}

static void
put_text(struct buf *b, const char *text)
{
	buf_avro_bytes(b, slice_of(text));
}

/* A record R of these fields (JSON, comma-separated) decoded from b; both die with a. */
static const struct value *
decoded(const char *fields, const struct buf *b, struct arena *a)
{
	struct reader *r = compiled(arena_printf(a, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[%s]}", fields), a);
	struct envelope env;
	struct err err;

	if (reader_value(r, buf_view(b), a, &env, &err) != OK)
		fail_msg("%s", err.text);
	assert_int_equal(env.op, 0);
	assert_null(env.before);
	return env.after;
}

static void
damaged(const char *fields, const struct buf *b)
{
	struct arena a = { 0 };
	struct reader *r = compiled(arena_printf(&a, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[%s]}", fields), &a);
	struct envelope env;
	struct err err;

	assert_int_equal(reader_value(r, buf_view(b), &a, &env, &err), REJECT);
	arena_free(&a);
}

/* ---- golden ---- */

static struct wire_type item_text = { .wire = W_STRING };
static int golden_keys[] = { 0 };
static struct column golden_cols[] = {
	{ .name = { "id", 2 }, .type = { .wire = W_INT32 }, .notnull = true, .has_default = true,
	    .default_json = { "0", 1 } },
	{ .name = { "name", 4 }, .type = { .wire = W_STRING } },
	{ .name = { "amount", 6 }, .type = { .wire = W_DECIMAL, .precision = 10, .scale = 2 } },
	{ .name = { "any", 3 }, .type = { .wire = W_VARDECIMAL } },
	{ .name = { "at", 2 }, .type = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" } },
	{ .name = { "tags", 4 }, .type = { .wire = W_ARRAY, .item = &item_text } },
	{ .name = { "kind", 4 }, .type = { .wire = W_STRING }, .has_default = true, .default_json = { "\"x\"", 3 } },
	{ .name = { "note", 4 }, .type = { .wire = W_STRING } },
	{ .name = { "ok", 2 }, .type = { .wire = W_BOOL }, .notnull = true },
	{ .name = { "real", 4 }, .type = { .wire = W_FLOAT } },
	{ .name = { "double", 6 }, .type = { .wire = W_DOUBLE } },
	{ .name = { "raw", 3 }, .type = { .wire = W_BYTES } },
};
static const struct table golden_table = { .schema = { "public", 6 }, .name = { "t", 1 },
	.ncols = COUNTOF(golden_cols), .cols = golden_cols, .nkeys = 1, .keys = golden_keys };

static void
golden_row(struct value *row)
{
	row[0] = value_int(300);
	row[1] = value_string(SLICE_LIT("Zo\xc3\xab"));
	row[2] = (struct value){ .kind = V_BYTES, .s = SLICE_LIT("\x04\xd2") };
	row[3] = (struct value){ .kind = V_DECIMAL, .scale = 3, .s = SLICE_LIT("\xff") };
	row[4] = value_int(1767323045678901);
	row[5] = (struct value){ .kind = V_AVRO, .s = SLICE_LIT("\x04\x02\x02" "a\x00\x00") };
	row[6] = value_null();
	row[7] = (struct value){ .kind = V_ABSENT };
	row[8] = (struct value){ .kind = V_BOOL, .i = 1 };
	row[9] = (struct value){ .kind = V_FLOAT, .d = 1.5 };
	row[10] = (struct value){ .kind = V_DOUBLE, .d = -2.25 };
	row[11] = (struct value){ .kind = V_BYTES, .s = SLICE_LIT("\0\1") };
}

static struct envelope
golden_envelope(const struct value *row)
{
	return (struct envelope){ .op = OP_UPDATE, .after = row, .version = SLICE_LIT("0.1.0"),
		.connector = SLICE_LIT("postgresql"), .name = SLICE_LIT("srv"), .db = SLICE_LIT("shop"),
		.schema = SLICE_LIT("public"), .table = SLICE_LIT("t"), .source_us = 1767323045678901,
		.last_commit_lsn = 24023119, .lsn = 24023128, .xid = 795, .handled_us = 1767323045681234,
		.prefix = SLICE_LIT("audit"), .content = SLICE_LIT("\0hello") };
}

/* Golden files are hexadecimal, 32 bytes a line. */
static void
same_as_golden(const struct buf *got, const char *file)
{
	struct buf text = { 0 };
	char have[8192];
	size_t n;
	FILE *f;

	for (size_t i = 0; i < got->n; i++)
		buf_printf(&text, "%02x%s", (uint8_t)got->p[i], i % 32 == 31 || i + 1 == got->n ? "\n" : "");
	f = fopen(file, getenv("GOLDEN_WRITE") ? "w+" : "r");
	assert_non_null(f);
	if (getenv("GOLDEN_WRITE")) {
		fwrite(text.p, 1, text.n, f);
		rewind(f);
	}
	n = fread(have, 1, sizeof have, f);
	fclose(f);
	if (!slice_eq((struct slice){ have, n }, buf_view(&text)))
		fail_msg("%s differs; we write:\n%s", file, buf_cstr(&text));
	buf_free(&text);
}

static void
golden_bytes(void **state UNUSED)
{
	struct value row[COUNTOF(golden_cols)];
	struct arena a = { 0 };
	struct writer *w = writer_compile(&golden_table, &a);
	struct envelope env;
	struct buf out = { 0 };
	struct err err;

	golden_row(row);
	env = golden_envelope(row);
	assert_int_equal(writer_value(w, &env, &out, &err), OK);
	same_as_golden(&out, GOLDEN "value.hex");
	buf_reset(&out);
	env.op = OP_DELETE;
	env.before = row;
	env.after = NULL;
	assert_int_equal(writer_value(w, &env, &out, &err), OK);
	same_as_golden(&out, GOLDEN "delete.hex");
	buf_reset(&out);
	assert_int_equal(writer_key(w, row, &out, &err), OK);
	same_as_golden(&out, GOLDEN "key.hex");
	buf_reset(&out);
	writer_message_value(&env, &out);
	same_as_golden(&out, GOLDEN "message.hex");
	buf_free(&out);
	arena_free(&a);
}

static void
message_comes_back(void **state UNUSED)
{
	struct arena a = { 0 };
	struct envelope env = golden_envelope(NULL), got;
	struct reader *r;
	struct buf out = { 0 };
	struct err err;

	assert_int_equal(reader_compile(schema_message_key(&a), schema_message_value(&a), &a, &r, &err), OK);
	assert_int_equal(reader_table(r)->ncols, 0);
	writer_message_value(&env, &out);
	assert_int_equal(reader_value(r, buf_view(&out), &a, &got, &err), OK);
	assert_int_equal(got.op, OP_MESSAGE);
	assert_true(slice_eq(got.prefix, env.prefix) && slice_eq(got.content, env.content));
	assert_int_equal(got.handled_us, env.handled_us / 1000 * 1000); /* the message schema has ts_ms alone */
	assert_int_equal(got.lsn, env.lsn);
	buf_reset(&out);
	writer_message_key(env.prefix, &out);
	assert_true(slice_is(buf_view(&out), "\x02\x0a" "audit"));
	buf_free(&out);
	arena_free(&a);
}

/* ---- writer: what does not fit ---- */

static void
refused_column(int col, struct value v, const char *why)
{
	struct value row[COUNTOF(golden_cols)];
	struct arena a = { 0 };
	struct writer *w = writer_compile(&golden_table, &a);
	struct envelope env;
	struct buf out = { 0 };
	struct err err;

	golden_row(row);
	row[col] = v;
	env = golden_envelope(row);
	buf_text(&out, "before");
	assert_int_equal(writer_value(w, &env, &out, &err), REJECT);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" is not about %s", err.text, why);
	assert_true(slice_is(buf_view(&out), "before")); /* nothing of it stays */
	buf_free(&out);
	arena_free(&a);
}

static void
writer_refuses(void **state UNUSED)
{
	struct value absent = { .kind = V_ABSENT };
	struct arena a = { 0 };
	struct writer *w = writer_compile(&golden_table, &a);
	struct value row[COUNTOF(golden_cols)];
	struct envelope env;
	struct buf out = { .max = 64 };
	struct err err;

	refused_column(0, value_null(), "\"id\" cannot hold NULL");
	refused_column(0, value_int(INT64_C(1) << 31), "2147483648 is out of range");
	refused_column(1, value_int(1), "\"name\" cannot hold an integer");
	refused_column(3, value_string(SLICE_LIT("1")), "\"any\" cannot hold a string");
	refused_column(5, value_string(SLICE_LIT("{}")), "\"tags\" cannot hold a string");
	golden_row(row);
	env = golden_envelope(row);
	assert_int_equal(writer_value(w, &env, &out, &err), REJECT); /* larger than its buffer may be */
	buf_free(&out);
	out.max = 0;
	row[0] = absent;
	assert_int_equal(writer_key(w, row, &out, &err), REJECT);
	buf_free(&out);
	arena_free(&a);
}

/* A numeric NaN in a NOT NULL column: the header has the text, so it must not stop the stream. */
static void
exact_text_is_no_null(void **state UNUSED)
{
	struct column col = { .name = { "n", 1 }, .type = { .wire = W_DECIMAL }, .notnull = true };
	struct table tbl = { .schema = { "s", 1 }, .name = { "t", 1 }, .ncols = 1, .cols = &col };
	struct value nan = { .kind = V_NULL, .exact = SLICE_LIT("NaN") };
	struct envelope env = golden_envelope(&nan);
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct err err;

	assert_int_equal(writer_value(writer_compile(&tbl, &a), &env, &out, &err), OK);
	assert_memory_equal(out.p, "\0\2\2\0", 4); /* before null, after, a decimal of one byte, 0 */
	buf_free(&out);
	arena_free(&a);
}

/* ---- Debezium's layouts ---- */

#define VALUE_FIELD \
	"{\"name\":\"before\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Value\",\"fields\":[" \
	"{\"name\":\"id\",\"type\":\"int\"},{\"name\":\"v\",\"type\":[\"null\"," VARDECIMAL "]}," \
	"{\"name\":\"w\",\"type\":[\"io.debezium.data.VariableScaleDecimal\",\"null\"]}],\"connect.name\":\"s.p.t.Value\"}]}," \
	"{\"name\":\"after\",\"type\":[\"null\",\"Value\"]},"
#define SOURCE_FIELD(more) \
	"{\"name\":\"source\",\"type\":{\"type\":\"record\",\"name\":\"Source\"," \
	"\"namespace\":\"io.debezium.connector.postgresql\",\"fields\":[{\"name\":\"version\",\"type\":\"string\"}," \
	"{\"name\":\"ts_ms\",\"type\":\"long\"},{\"name\":\"snapshot\",\"type\":[\"string\",\"null\"]}" more "]}}"
#define OP_FIELD    ",{\"name\":\"op\",\"type\":\"string\"},{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"]}"
#define TS_FIELDS   ",{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"]},{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"]}"
#define TXN_FIELD \
	",{\"name\":\"transaction\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"block\",\"namespace\":\"event\",\"fields\":[" \
	"{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"total_order\",\"type\":\"long\"}," \
	"{\"name\":\"data_collection_order\",\"type\":\"long\"}]}]}"
#define ENVELOPE(fields) \
	"{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"s.p.t\",\"fields\":[" fields \
	"],\"connect.name\":\"s.p.t.Envelope\"}"

static void
put_rows(struct buf *b)
{
	buf_byte(b, 0); /* before: null; after: a row */
	buf_bytes(b, "\x02\x0e\x02\x04\x02\x7b\x00\x06\x02\x05", 10);
}

static void
put_transaction(struct buf *b)
{
	buf_byte(b, 2);
	put_text(b, "571:53195829");
	buf_long(b, 1);
	buf_long(b, 1);
}

static void
check_layout(const char *json, const struct buf *b, int64_t source_us, int64_t handled_us)
{
	struct arena a = { 0 };
	struct reader *r = compiled(json, &a);
	struct envelope env;
	struct err err;

	if (reader_value(r, buf_view(b), &a, &env, &err) != OK)
		fail_msg("%s", err.text);
	assert_int_equal(env.op, OP_CREATE);
	assert_null(env.before);
	assert_int_equal(env.after[0].i, 7);
	assert_int_equal(env.after[1].kind, V_DECIMAL);
	assert_int_equal(env.after[1].scale, 2);
	assert_int_equal(env.after[2].scale, 3);
	assert_true(slice_is(env.after[2].s, "\x05"));
	assert_true(slice_is(env.version, "2.5") && slice_is(env.snapshot, "false"));
	assert_true(slice_is(env.transaction_id, "571:53195829"));
	assert_int_equal(env.source_us, source_us);
	assert_int_equal(env.handled_us, handled_us);
	for (size_t n = 0; n < b->n; n++)
		assert_int_equal(reader_value(r, (struct slice){ b->p, n }, &a, &env, &err), REJECT);
	arena_free(&a);
}

static void
debezium_layouts(void **state UNUSED)
{
	struct buf b = { 0 };

	/* 1.0 - 2.5: source, op, ts_ms, transaction */
	put_rows(&b);
	put_text(&b, "2.5");
	buf_long(&b, 1700000000123);
	buf_byte(&b, 0);
	put_text(&b, "false");
	put_text(&b, "c");
	buf_byte(&b, 2);
	buf_long(&b, 1700000000456);
	put_transaction(&b);
	check_layout(ENVELOPE(VALUE_FIELD SOURCE_FIELD("") OP_FIELD TXN_FIELD), &b, 1700000000123000, 1700000000456000);
	buf_reset(&b);
	/* 2.6: ts_us, ts_ns before transaction, and required in source */
	put_rows(&b);
	put_text(&b, "2.5");
	buf_long(&b, 1700000000123);
	buf_byte(&b, 0);
	put_text(&b, "false");
	buf_long(&b, 1700000000123456);
	put_text(&b, "c");
	buf_bytes(&b, "\0\0\2", 3);
	buf_long(&b, 1700000000456789999);
	put_transaction(&b);
	check_layout(ENVELOPE(VALUE_FIELD SOURCE_FIELD(",{\"name\":\"ts_us\",\"type\":\"long\"}") OP_FIELD TS_FIELDS TXN_FIELD),
	    &b, 1700000000123456, 1700000000456789);
	buf_reset(&b);
	/* 2.7 and later: transaction before op */
	put_rows(&b);
	put_text(&b, "2.5");
	buf_long(&b, 1700000000123);
	buf_byte(&b, 0);
	put_text(&b, "false");
	put_transaction(&b);
	put_text(&b, "c");
	buf_bytes(&b, "\0\0\0", 3);
	check_layout(ENVELOPE(VALUE_FIELD SOURCE_FIELD("") TXN_FIELD OP_FIELD TS_FIELDS), &b, 1700000000123000, 0);
	buf_free(&b);
}

static void
unknown_op(void **state UNUSED)
{
	static const char json[] = ENVELOPE(VALUE_FIELD "{\"name\":\"op\",\"type\":\"string\"}");
	struct arena a = { 0 };
	struct reader *r = compiled(json, &a);
	struct envelope env;
	struct err err;

	assert_int_equal(reader_value(r, SLICE_LIT("\0\0\2t"), &a, &env, &err), OK);
	assert_int_equal(reader_value(r, SLICE_LIT("\0\0\2x"), &a, &env, &err), REJECT);
	assert_int_equal(reader_value(r, SLICE_LIT("\0\0\4tt"), &a, &env, &err), REJECT);
	assert_int_equal(reader_value(r, SLICE_LIT("\0\0\2t\0"), &a, &env, &err), REJECT); /* one byte left over */
	arena_free(&a);
}

/* ---- placeholders ---- */

static void
placeholders(void **state UNUSED)
{
	static const char fields[] = "{\"name\":\"s\",\"type\":\"string\"},{\"name\":\"b\",\"type\":[\"bytes\",\"null\"]},"
	    "{\"name\":\"h\",\"type\":\"string\"},{\"name\":\"t\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"string\"]}},"
	    "{\"name\":\"i\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"int\"]}},"
	    "{\"name\":\"e\",\"type\":{\"type\":\"array\",\"items\":\"string\"}},{\"name\":\"o\",\"type\":\"string\"}";
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct reader *r = compiled(arena_printf(&a, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[%s]}", fields), &a);
	struct value *row;

	put_text(&b, PLACEHOLDER);
	buf_byte(&b, 0);
	put_text(&b, PLACEHOLDER);
	put_text(&b, "{\"" PLACEHOLDER "\":\"" PLACEHOLDER "\"}");
	buf_bytes(&b, "\2\2", 2);
	put_text(&b, PLACEHOLDER);
	buf_byte(&b, 0);
	buf_long(&b, sizeof PLACEHOLDER - 1);
	for (const char *p = PLACEHOLDER; *p; p++) {
		buf_byte(&b, 2);
		buf_long(&b, *p);
	}
	buf_bytes(&b, "\0\2", 2);
	put_text(&b, PLACEHOLDER);
	buf_byte(&b, 0);
	put_text(&b, PLACEHOLDER "!");
	row = (struct value *)(uintptr_t)decoded(fields, &b, &a);
	/* Until it is said that the writer is a foreign one, they are values like any other. */
	for (int i = 0; i < 6; i++)
		assert_int_not_equal(row[i].kind, V_ABSENT);
	reader_placeholders(r, row);
	for (int i = 0; i < 6; i++)
		assert_int_equal(row[i].kind, V_ABSENT);
	assert_int_equal(row[6].kind, V_STRING);
	buf_free(&b);
	arena_free(&a);
}

/* ---- values that are passed over, or taken as they are ---- */

#define TREE \
	"{\"name\":\"t\",\"type\":{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"next\",\"type\":[\"null\",\"T\"]}]}}"

static void
other_types(void **state UNUSED)
{
	static const char fields[] = "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"int\"}},"
	    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}},"
	    "{\"name\":\"f\",\"type\":[\"null\",{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}]},"
	    "{\"name\":\"u\",\"type\":[\"int\",\"null\",\"string\"]},{\"name\":\"u2\",\"type\":[\"int\",\"null\",\"string\"]},"
	    "{\"name\":\"z\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},{\"name\":\"n\",\"type\":\"null\"}," TREE;
	struct arena a = { 0 };
	struct buf b = { 0 };
	const struct value *row;

	buf_bytes(&b, "\x01\x06\x02k\x0a\x00", 6); /* a map in one block of -1 items and 3 bytes */
	buf_bytes(&b, "\x02", 1);
	buf_bytes(&b, "\x02xy", 3);
	buf_bytes(&b, "\x04\x02s", 3);
	buf_bytes(&b, "\x02", 1);
	buf_long(&b, 1000);
	buf_byte(&b, 0);
	buf_bytes(&b, "\2\2\0", 3);
	row = decoded(fields, &b, &a);
	assert_true(slice_eq(row[0].s, SLICE_LIT("\x01\x06\x02k\x0a\x00")));
	assert_true(row[1].kind == V_AVRO && row[1].s.n == 1);
	assert_true(row[2].kind == V_AVRO && slice_is(row[2].s, "xy"));
	assert_true(row[3].kind == V_AVRO && slice_is(row[3].s, "\x04\x02s")); /* with its branch: it says what it is */
	assert_int_equal(row[4].kind, V_NULL);
	assert_int_equal(row[5].s.n, 3);
	assert_int_equal(row[6].kind, V_NULL);
	assert_int_equal(row[7].s.n, 3);
	buf_free(&b);
	arena_free(&a);
}

static void
hostile(const char *fields, const char *bytes, size_t n)
{
	struct buf b = { 0 };

	buf_bytes(&b, bytes, n);
	damaged(fields, &b);
	buf_free(&b);
}

#define HOSTILE(fields, bytes) hostile(fields, bytes, sizeof bytes - 1)

static void
hostile_bytes(void **state UNUSED)
{
	static const char nulls[] = "{\"name\":\"z\",\"type\":{\"type\":\"array\",\"items\":\"null\"}}";
	static const char ints[] = "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}";
	static const char map[] = "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"int\"}}";
	static const char boolean[] = "{\"name\":\"b\",\"type\":\"boolean\"}";
	static const char integer[] = "{\"name\":\"i\",\"type\":\"int\"}";
	static const char some[] = "{\"name\":\"s\",\"type\":[\"null\",\"string\"]}";
	struct buf b = { 0 };

	HOSTILE(nulls, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00");      /* 2^62 items of no bytes */
	HOSTILE(nulls, "\x80\x80\x08\x80\x80\x08\x00");                   /* 65,536 and again */
	HOSTILE(ints, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00");
	HOSTILE(ints, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00"); /* -2^63 items */
	HOSTILE(ints, "\x01\x04\x02\x00");                                 /* a block longer than its items */
	HOSTILE(ints, "\x03\x02\x02\x02\x00");                             /* and shorter */
	HOSTILE(ints, "\x01\x01\x02\x00");                                 /* of -1 bytes */
	HOSTILE(map, "\x01\x04\x02k\x02\x00");
	HOSTILE(map, "\x02\x80\x80\x80\x80\x80\x20");                      /* a key of 2^38 bytes */
	HOSTILE(boolean, "\x02");
	HOSTILE("{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"boolean\"}}", "\x02\x02k\x02\x00");
	HOSTILE(integer, "\x80\x80\x80\x80\x10");                          /* 2^31 */
	HOSTILE(integer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");      /* more than 64 bits */
	HOSTILE(integer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00");
	HOSTILE(some, "\x04\x00");
	HOSTILE(some, "\x01");                                             /* branch -1 */
	HOSTILE(some, "\x02\x01");                                         /* length -1 */
	HOSTILE(some, "\x02\x04" "a");
	for (int i = 0; i < 60; i++)
		buf_byte(&b, 2);
	buf_byte(&b, 0);
	damaged(TREE, &b); /* each level counts two: the union and the record in it */
	buf_free(&b);
}

/*
 * Fields without bytes, doubled forty times by name: the work must follow the bytes, not the
 * schema.
 */
static void
schema_bomb(void **state UNUSED)
{
	struct buf b = { 0 }, body = { 0 };
	struct arena a = { 0 };

	buf_text(&b, "{\"name\":\"r0\",\"type\":{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}}");
	for (int i = 1; i <= 40; i++)
		buf_printf(&b, ",{\"name\":\"r%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":["
		    "{\"name\":\"a\",\"type\":\"R%d\"},{\"name\":\"b\",\"type\":\"R%d\"}]}}", i, i, i - 1, i - 1);
	assert_int_equal(decoded(buf_cstr(&b), &body, &a)[40].kind, V_AVRO);
	buf_free(&b);
	buf_free(&body);
	arena_free(&a);
}

static void
bad_schemas(void **state UNUSED)
{
	struct buf b = { 0 };

	refused("", "not JSON");
	refused("{", "not JSON");
	refused("17", "type is missing");
	refused("\"int\"", "not a record");
	refused("{\"type\":\"record\",\"name\":\"R\"}", "no fields");
	refused("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"Q\"}]}", "unknown type \"Q\"");
	refused("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":[]}]}", "empty union");
	refused(
	    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"fixed\",\"name\":\"f\",\"size\":-1}}]}",
	    "bad size");
	for (int i = 0; i < 70; i++)
		buf_text(&b, "{\"type\":\"array\",\"items\":");
	buf_text(&b, "\"int\"");
	for (int i = 0; i < 70; i++)
		buf_text(&b, "}");
	refused(buf_cstr(&b), "deeper than 64 levels");
	buf_reset(&b);
	buf_text(&b, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
	for (int i = 0; i <= 10000; i++)
		buf_printf(&b, "%s{\"name\":\"f%d\",\"type\":\"int\"}", i ? "," : "", i);
	buf_text(&b, "]}");
	refused(buf_cstr(&b), "more than 10000 fields");
	buf_free(&b);
}

/* ---- arrays ---- */

static void
array_text(const char *items, const char *bytes, size_t n, const char *want)
{
	struct arena a = { 0 };
	const char *json = arena_printf(&a, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":"
	    "{\"type\":\"array\",\"items\":%s}}]}", items);
	struct reader *r = compiled(json, &a);
	struct buf out = { 0 };
	struct envelope env;
	struct err err;

	if (reader_value(r, (struct slice){ bytes, n }, &a, &env, &err) != OK ||
	    reader_array_text(&reader_table(r)->cols[0].type, &env.after[0], &out, &err) != OK)
		fail_msg("%s", err.text);
	assert_string_equal(buf_cstr(&out), want);
	buf_free(&out);
	arena_free(&a);
}

#define ARRAY_TEXT(items, bytes, want) array_text(items, bytes, sizeof bytes - 1, want)

static void
arrays_as_text(void **state UNUSED)
{
	ARRAY_TEXT("[\"null\",\"int\"]", "\0", "{}");
	ARRAY_TEXT("[\"null\",\"int\"]", "\4\2\2\0\2\2\5\0", "{1,NULL,-3}"); /* two blocks */
	ARRAY_TEXT("[\"null\",\"int\"]", "\3\6\2\2\0\0", "{1,NULL}");          /* count -2, 3 bytes */
	ARRAY_TEXT("[\"int\",\"null\"]", "\4\0\2\2\0", "{1,NULL}");
	ARRAY_TEXT("\"int\"", "\4\2\5\0", "{1,-3}");
	ARRAY_TEXT("\"string\"", "\x0c\x00\x08null\x06" "a b\x04\"\\\x02{\x04ok\x00",
	    "{\"\",\"null\",\"a b\",\"\\\"\\\\\",\"{\",ok}");
}

static void
array_text_refuses(void **state UNUSED)
{
	struct wire_type item = { .wire = W_INT32 }, w = { .wire = W_ARRAY, .item = &item };
	struct value v = { .kind = V_AVRO, .s = SLICE_LIT("\4\2\2\0") };
	struct buf out = { 0 };
	struct err err;

	assert_int_equal(reader_array_text(&w, &v, &out, &err), REJECT); /* no end */
	v.s = SLICE_LIT("\2\4\2\0");
	assert_int_equal(reader_array_text(&w, &v, &out, &err), REJECT); /* branch 2 */
	v.exact = SLICE_LIT("{{1},{2}}");
	buf_reset(&out);
	assert_int_equal(reader_array_text(&w, &v, &out, &err), OK);
	assert_string_equal(buf_cstr(&out), "{{1},{2}}");
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_bytes), cmocka_unit_test(message_comes_back), cmocka_unit_test(writer_refuses),
		cmocka_unit_test(exact_text_is_no_null), cmocka_unit_test(debezium_layouts),
		cmocka_unit_test(unknown_op), cmocka_unit_test(placeholders), cmocka_unit_test(other_types),
		cmocka_unit_test(hostile_bytes), cmocka_unit_test(schema_bomb), cmocka_unit_test(bad_schemas),
		cmocka_unit_test(arrays_as_text), cmocka_unit_test(array_text_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
