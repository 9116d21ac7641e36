/*
 * pgtypes_test.c - PostgreSQL's types: every value of tests/golden/pgtypes/values.tsv (from a server,
 * by harvest.sql there) in binary and text, what Debezium makes of them, and sinks' cross pairs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "schemas/pgtypes.h"

#include <cmocka.h> /* last: its fail() is a macro */

static const char golden_path[] = "tests/golden/pgtypes/values.tsv";

static struct slice
view(const struct buf *b)
{
	return (struct slice){ b->p ? b->p : "", b->n };
}

static void
assert_slice(const char *what, struct slice got, struct slice want)
{
	if (!slice_eq(got, want))
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, SLICE_ARG(got), SLICE_ARG(want));
}

static struct slice
unhex(const char *hex, struct arena *a)
{
	size_t n = strlen(hex) / 2;
	char *p = arena_raw(a, n);

	for (size_t i = 0; i < n; i++) {
		unsigned v;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		p[i] = (char)v;
	}
	return (struct slice){ p, n };
}

static struct slice
hex_of(struct slice s, struct arena *a)
{
	char *p = arena_alloc(a, 2 * s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		snprintf(p + 2 * i, 3, "%02x", (uint8_t)s.p[i]);
	return (struct slice){ p, 2 * s.n };
}

/* COPY's escapes, in place. */
static struct slice
unescape(char *s)
{
	char *q = s;

	for (char *p = s; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			*q++ = *p == 't' ? '\t' : *p == 'n' ? '\n' : *p;
		} else
			*q++ = *p;
	}
	return (struct slice){ s, (size_t)(q - s) };
}

struct row {
	struct pg_type t;
	struct wire_type w;
	struct slice text, bin;
};

static struct row
parse_row(char *line, struct arena *a)
{
	struct row r = { .t.typtype = 'b' };
	char *save = line, *f[5];

	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < 5; i++) {
		f[i] = save;
		save = f[i] + strcspn(f[i], "\t");
		if (*save)
			*save++ = '\0';
	}
	r.t.name = f[0];
	r.t.oid = (uint32_t)strtoul(f[1], NULL, 10);
	r.t.typmod = (int32_t)strtol(f[2], NULL, 10);
	if (strcmp(f[0], "pg_temp.mood") == 0) {
		r.t.typtype = 'e';
		r.t.labels = "sad,ok,it's \"fine\"";
	}
	r.text = unescape(f[3]);
	r.bin = unhex(f[4], a);
	r.w = pgtype_wire(&r.t, a);
	return r;
}

static struct value
read_ok(const struct pg_type *t, const struct wire_type *w, bool binary, struct slice s, struct arena *a)
{
	struct value v = { 0 };
	struct err err;

	if (pgtype_read(t, w, binary, s, a, &v, &err) != OK)
		fail_msg("%s \"%.*s\": %s", t->name, SLICE_ARG(s), err.text);
	return v;
}

static void
check_row(const struct row *r, struct arena *a, struct buf *out)
{
	uint32_t oid = r->t.typtype == 'e' ? PG_TEXT : r->t.oid;
	struct value v, vt;
	struct err err;

	assert_true(pgtype_binary(&r->t));
	v = read_ok(&r->t, &r->w, true, r->bin, a);
	vt = read_ok(&r->t, &r->w, false, r->text, a);
	if (!value_eq(&v, &vt))
		fail_msg("%s %.*s: text and binary differ", r->t.name, SLICE_ARG(r->text));

	buf_reset(out);
	assert_int_equal(pgtype_text(&r->w, &v, out, &err), OK);
	if (r->t.oid == PG_MONEY) { /* without the locale's signs, which the input takes too */
		vt = read_ok(&r->t, &r->w, false, view(out), a);
		assert_true(value_eq(&v, &vt));
	} else if (r->t.oid == PG_BOOL)
		assert_slice(r->t.name, view(out), slice_is(r->text, "t") ? SLICE_LIT("1") : SLICE_LIT("0"));
	else if ((r->t.oid == PG_VARBIT) && r->text.n == 0)
		assert_true(out->n == 0 || slice_is(view(out), "b"));
	else
		assert_slice(r->t.name, view(out), r->text);

	buf_reset(out);
	assert_true(pgtype_can_binary(&r->w, oid));
	if (pgtype_binary_value(&r->w, oid, &v, out, &err) != OK)
		fail_msg("%s %.*s: %s", r->t.name, SLICE_ARG(r->text), err.text);
	assert_slice(r->t.name, hex_of(view(out), a), hex_of(r->bin, a));
}

static int
each_golden(void (*check)(const struct row *, struct arena *, struct buf *))
{
	FILE *f = fopen(golden_path, "r");
	struct arena a = { 0 };
	struct buf out = { 0 };
	char *line = NULL;
	size_t cap = 0;
	int n = 0;

	if (!f)
		fail_msg("%s: cannot be opened; run from the top of the project", golden_path);
	for (; getline(&line, &cap, f) > 0; n++) {
		struct row r = parse_row(line, &a);

		check(&r, &a, &out);
		arena_reset(&a);
	}
	free(line);
	fclose(f);
	arena_free(&a);
	buf_free(&out);
	return n;
}

static void
golden_both_ways(void **state)
{
	(void)state;
	assert_true(each_golden(check_row) > 500);
}

/* Cut short, or one byte longer: fixed and self-delimiting forms are refused, nothing is read beyond the end. */
static void
check_cut(const struct row *r, struct arena *a, struct buf *out)
{
	bool free_length = r->w.wire == W_STRING && r->t.oid != PG_UUID && r->t.oid != PG_TIMESTAMPTZ
	    && r->t.oid != PG_TIMETZ && r->t.oid != PG_CHAR;
	struct value v;
	struct err err;

	(void)out;
	if (free_length || r->t.oid == PG_BYTEA)
		return;
	for (size_t n = 0; n < r->bin.n; n += 1 + n / 16) {
		char *copy = malloc(n ? n : 1); /* so that ASan sees the edge */

		memcpy(copy, r->bin.p, n);
		if (pgtype_read(&r->t, &r->w, true, (struct slice){ copy, n }, a, &v, &err) != REJECT)
			fail_msg("%s %.*s: %zu bytes were taken", r->t.name, SLICE_ARG(r->text), n);
		free(copy);
	}
	assert_int_equal(pgtype_read(&r->t, &r->w, true, (struct slice){ arena_printf(a, "%.*s", 100, "x"), 1 }, a, &v,
	    &err), r->t.oid == PG_CHAR ? OK : REJECT);
}

static void
golden_cut_short(void **state)
{
	(void)state;
	each_golden(check_cut);
}

/* ---- what Debezium writes ---- */

static const struct {
	uint32_t oid;
	int32_t typmod;
	const char *text;
	uint8_t kind;
	int64_t i;
	const char *s;     /* strings as they are, bytes in hex */
	const char *exact; /* NULL: none */
} debezium[] = {
	{ PG_INT2, -1, "-32768", V_INT, -32768, NULL, NULL },
	{ PG_OID, -1, "4294967295", V_INT, 4294967295, NULL, NULL },
	{ PG_DATE, -1, "1970-01-02", V_INT, 1, NULL, NULL },
	{ PG_DATE, -1, "infinity", V_INT, 2146033979, NULL, "infinity" },
	{ PG_DATE, -1, "-infinity", V_INT, -2147472691, NULL, "-infinity" },
	{ PG_TIME, 3, "01:02:03.004", V_INT, 3723004, NULL, NULL },
	{ PG_TIME, 0, "24:00:00", V_INT, 86400000, NULL, NULL },
	{ PG_TIME, -1, "24:00:00", V_INT, 86400000000, NULL, NULL },
	{ PG_TIME, 4, "01:02:03.0004", V_INT, 3723000400, NULL, NULL },
	{ PG_TIMESTAMP, -1, "2018-06-20 15:13:16.945104", V_INT, 1529507596945104, NULL, NULL },
	{ PG_TIMESTAMP, 3, "2018-06-20 15:13:16.945", V_INT, 1529507596945, NULL, NULL },
	{ PG_TIMESTAMP, 2, "1969-12-31 23:59:59.99", V_INT, -10, NULL, NULL },
	{ PG_TIMESTAMP, -1, "infinity", V_INT, 9223372036825200000, NULL, NULL },
	{ PG_TIMESTAMP, -1, "-infinity", V_INT, -9223372036832400000, NULL, NULL },
	{ PG_TIMESTAMP, 3, "infinity", V_INT, 9223372036825200, NULL, NULL },
	{ PG_TIMESTAMP, -1, "294247-01-10 04:00:25.2", V_INT, 9223372036825200000, NULL, "294247-01-10 04:00:25.2" },
	{ PG_TIMESTAMP, -1, "294247-01-10 04:00:54.775807", V_INT, INT64_MAX, NULL, "294247-01-10 04:00:54.775807" },
	{ PG_TIMESTAMP, -1, "294276-12-31 23:59:59", V_INT, INT64_MAX, NULL, "294276-12-31 23:59:59" },
	{ PG_TIMESTAMPTZ, -1, "2026-01-02 03:04:05.678901+00", V_STRING, 0, "2026-01-02T03:04:05.678901Z", NULL },
	{ PG_TIMESTAMPTZ, -1, "2026-01-02 03:04:05+00", V_STRING, 0, "2026-01-02T03:04:05.000000Z", NULL },
	{ PG_TIMESTAMPTZ, 3, "2026-01-02 03:04:05.1+00", V_STRING, 0, "2026-01-02T03:04:05.100Z", NULL },
	{ PG_TIMESTAMPTZ, 0, "2026-01-02 03:04:05+00", V_STRING, 0, "2026-01-02T03:04:05Z", NULL },
	{ PG_TIMESTAMPTZ, 0, "2026-01-02 03:04:05+05:30", V_STRING, 0, "2026-01-01T21:34:05Z", NULL },
	{ PG_TIMESTAMPTZ, 0, "0044-03-15 00:00:00+00 BC", V_STRING, 0, "-0043-03-15T00:00:00Z", NULL },
	{ PG_TIMESTAMPTZ, 0, "0001-01-01 00:00:00+00 BC", V_STRING, 0, "0000-01-01T00:00:00Z", NULL },
	{ PG_TIMESTAMPTZ, 0, "10000-01-01 00:00:00+00", V_STRING, 0, "+10000-01-01T00:00:00Z", NULL },
	{ PG_TIMESTAMPTZ, -1, "-infinity", V_STRING, 0, "-infinity", NULL },
	{ PG_TIMETZ, -1, "03:04:05.678901+00", V_STRING, 0, "03:04:05.678901Z", NULL },
	{ PG_TIMETZ, -1, "03:04:05+02", V_STRING, 0, "01:04:05Z", "03:04:05+02" },
	{ PG_TIMETZ, -1, "01:04:05+02", V_STRING, 0, "23:04:05Z", "01:04:05+02" },
	{ PG_TIMETZ, -1, "24:00:00+00", V_STRING, 0, "24:00:00Z", NULL },
	{ PG_TIMETZ, -1, "24:00:00-02", V_STRING, 0, "02:00:00Z", "24:00:00-02" },
	{ PG_INTERVAL, -1, "01:02:03.5", V_INT, 3723500000, NULL, NULL },
	{ PG_INTERVAL, -1, "1 mon", V_INT, 2629800000000, NULL, "1 mon" },
	{ PG_INTERVAL, -1, "1 year 2 mons -1 days", V_INT, 36730800000000, NULL, "1 year 2 mons -1 days" },
	{ PG_INTERVAL, -1, "infinity", V_INT, INT64_MAX, NULL, "infinity" },
	{ PG_NUMERIC, 655366, "1.10", V_BYTES, 0, "6e", NULL },
	{ PG_NUMERIC, 655366, "-1.29", V_BYTES, 0, "ff7f", NULL },
	{ PG_NUMERIC, 655366, "0.00", V_BYTES, 0, "00", NULL },
	{ PG_NUMERIC, 655366, "NaN", V_NULL, 0, NULL, "NaN" },
	{ PG_NUMERIC, 655366, "1.005", V_BYTES, 0, "64", "1.005" },
	{ PG_NUMERIC, -1, "1.500", V_DECIMAL, 1, "0f", "1.500" },
	{ PG_NUMERIC, -1, "100", V_DECIMAL, 0, "64", NULL },
	{ PG_NUMERIC, -1, "0.000", V_DECIMAL, 0, "00", "0.000" },
	{ PG_NUMERIC, -1, "-0.01", V_DECIMAL, 2, "ff", NULL },
	{ PG_NUMERIC, -1, "-Infinity", V_NULL, 0, NULL, "-Infinity" },
	{ PG_MONEY, -1, "-$1,234.56", V_BYTES, 0, "fe1dc0", NULL },
	{ PG_MONEY, -1, "1.234,56 EUR", V_BYTES, 0, "01e240", NULL },
	{ PG_MONEY, -1, "(1,234)", V_BYTES, 0, "fe1df8", NULL },
	{ PG_BIT, 1, "1", V_BOOL, 1, NULL, NULL },
	{ PG_BIT, 5, "10101", V_BYTES, 0, "15", NULL },
	{ PG_BIT, 16, "0000000000000010", V_BYTES, 0, "02", NULL },
	{ PG_BIT, 16, "1000000000000001", V_BYTES, 0, "0180", NULL },
	{ PG_VARBIT, -1, "0101", V_BYTES, 0, "05", "0101" },
	{ PG_VARBIT, -1, "101", V_BYTES, 0, "05", NULL },
	{ PG_VARBIT, 8, "101", V_BYTES, 0, "05", "101" },
	{ PG_VARBIT, 1, "", V_BOOL, 0, NULL, "b" },
	{ PG_BYTEA, -1, "\\x00ff", V_BYTES, 0, "00ff", NULL },
	{ PG_CHAR, -1, "\\377", V_STRING, 0, "\\377", NULL },
};

static void
debezium_forms(void **state)
{
	struct arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNTOF(debezium); i++) {
		struct pg_type t = { .oid = debezium[i].oid, .typmod = debezium[i].typmod, .typtype = 'b', .name = "t" };
		struct wire_type w = pgtype_wire(&t, &a);
		struct value v = read_ok(&t, &w, false, slice_of(debezium[i].text), &a);

		assert_int_equal(v.kind, debezium[i].kind);
		if (v.kind == V_INT || v.kind == V_BOOL)
			assert_int_equal(v.i, debezium[i].i);
		else if (v.kind == V_STRING)
			assert_slice(debezium[i].text, v.s, slice_of(debezium[i].s));
		else if (v.kind != V_NULL)
			assert_slice(debezium[i].text, hex_of(v.s, &a), slice_of(debezium[i].s));
		if (v.kind == V_DECIMAL)
			assert_int_equal(v.scale, debezium[i].i);
		assert_slice(debezium[i].text, v.exact, slice_of(debezium[i].exact ? debezium[i].exact : ""));
	}
	arena_free(&a);
}

/* ---- the forms of other modes ---- */

static const struct {
	uint32_t oid;
	int32_t typmod;
	const char *name, *text;
	struct type_modes m;
	enum wire wire;
	const char *semantic; /* Debezium's */
	uint8_t kind;
	int64_t i;
	double d;
	const char *s;
	const char *plain; /* what a sink makes of it */
} forms[] = {
	{ PG_NUMERIC, 655366, "numeric(10,2)", "1.10", { .decimal = DECIMAL_DOUBLE },
	    W_DOUBLE, NULL, V_DOUBLE, .d = 1.1, .plain = "numeric(10,2)" },
	{ PG_NUMERIC, -1, "numeric", "12345678901234567890.5", { .decimal = DECIMAL_DOUBLE }, W_DOUBLE, NULL, V_DOUBLE,
	    .d = 12345678901234567890.5, .plain = "numeric" },
	{ PG_NUMERIC, 655366, "numeric(10,2)", "1.10", { .decimal = DECIMAL_STRING },
	    W_STRING, NULL, V_STRING, .s = "1.10", .plain = "numeric(10,2)" },
	{ PG_NUMERIC, -1, "numeric", "NaN", { .decimal = DECIMAL_STRING }, W_STRING, NULL, V_STRING, .s = "NAN", .plain = "numeric" },
	{ PG_NUMERIC, -1, "numeric", "-Infinity", { .decimal = DECIMAL_STRING },
	    W_STRING, NULL, V_STRING, .s = "NEGATIVE_INFINITY", .plain = "numeric" },
	{ PG_MONEY, -1, "money", "-$1,234.05", { .decimal = DECIMAL_STRING },
	    W_STRING, NULL, V_STRING, .s = "-1234.05", .plain = "numeric" },
	{ PG_MONEY, -1, "money", "-$0.05", { .decimal = DECIMAL_DOUBLE }, W_DOUBLE, NULL, V_DOUBLE, .d = -0.05, .plain = "numeric" },
	{ PG_DATE, -1, "date", "1970-01-02", { .time = TIME_CONNECT },
	    W_INT32, "org.apache.kafka.connect.data.Date", V_INT, .i = 1, .plain = "date" },
	{ PG_TIME, -1, "time without time zone", "00:00:01.0019", { .time = TIME_CONNECT },
	    W_INT32, "org.apache.kafka.connect.data.Time", V_INT,
	    .i = 1001, .plain = "time without time zone" },
	{ PG_TIME, 3, "time(3) without time zone", "00:00:01.001", { .time = TIME_ADAPTIVE_MICRO },
	    W_INT64, "io.debezium.time.MicroTime", V_INT,
	    .i = 1001000, .plain = "time(3) without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "1969-12-31 23:59:59.9991", { .time = TIME_CONNECT }, W_INT64,
	    "org.apache.kafka.connect.data.Timestamp", V_INT, .i = -1, .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, 0, "timestamp(0) without time zone", "1970-01-01 00:00:01", { .time = TIME_ADAPTIVE_MICRO },
	    W_INT64, "io.debezium.time.Timestamp",
	    V_INT, .i = 1000 },
	{ PG_DATE, -1, "date", "0045-03-15 BC", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoDate", V_STRING, .s = "-0044-03-15Z",
	    .plain = "date" },
	{ PG_DATE, -1, "date", "12023-03-15", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoDate", V_STRING, .s = "+12023-03-15Z",
	    .plain = "date" },
	{ PG_DATE, -1, "date", "-infinity", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoDate", V_STRING, .s = "-5877611-06-22Z",
	    .plain = "date" },
	{ PG_TIME, -1, "time without time zone", "01:02:03.4", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoTime", V_STRING,
	    .s = "01:02:03.4Z", .plain = "time without time zone" },
	{ PG_TIME, 3, "time(3) without time zone", "24:00:00", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoTime", V_STRING,
	    .s = "00:00:00Z", .plain = "time(3) without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "2023-01-02 01:02:00.000004", { .time = TIME_ISO }, W_STRING,
	    "io.debezium.time.IsoTimestamp", V_STRING, .s = "2023-01-02T01:02:00.000004Z", .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, 0, "timestamp(0) without time zone", "0001-01-01 00:00:00 BC", { .time = TIME_ISO }, W_STRING,
	    "io.debezium.time.IsoTimestamp", V_STRING, .s = "0000-01-01T00:00:00Z" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "infinity", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoTimestamp",
	    V_STRING, .s = "+292278994-08-16T23:00:00Z", .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "294247-01-10 04:00:25.2", { .time = TIME_ISO }, W_STRING,
	    "io.debezium.time.IsoTimestamp", V_STRING, .s = "+294247-01-10T04:00:25.2Z", .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "-infinity", { .time = TIME_ISO }, W_STRING, "io.debezium.time.IsoTimestamp",
	    V_STRING, .s = "-292275055-05-16T23:00:00Z", .plain = "timestamp without time zone" },
	{ PG_TIME, 0, "time(0) without time zone", "24:00:00", { .time = TIME_MICRO }, W_INT64, "io.debezium.time.MicroTime", V_INT,
	    .i = 86400000000 },
	{ PG_TIMESTAMP, 3, "timestamp(3) without time zone", "1969-12-31 23:59:59.999", { .time = TIME_MICRO }, W_INT64,
	    "io.debezium.time.MicroTimestamp", V_INT, .i = -1000, .plain = "timestamp(3) without time zone" },
	{ PG_TIMESTAMP, 3, "timestamp(3) without time zone", "infinity", { .time = TIME_MICRO }, W_INT64,
	    "io.debezium.time.MicroTimestamp", V_INT, .i = INT64_MAX, .plain = "timestamp(3) without time zone" },
	{ PG_TIME, -1, "time without time zone", "00:00:01.000002", { .time = TIME_NANO }, W_INT64, "io.debezium.time.NanoTime", V_INT,
	    .i = 1000002000, .plain = "time without time zone" },
	{ PG_TIMESTAMP, 3, "timestamp(3) without time zone", "1969-12-31 23:59:59.999", { .time = TIME_NANO }, W_INT64,
	    "io.debezium.time.NanoTimestamp", V_INT, .i = -1000000, .plain = "timestamp(3) without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "2262-04-11 23:47:16.854775", { .time = TIME_NANO }, W_INT64,
	    "io.debezium.time.NanoTimestamp", V_INT, .i = 9223372036854775000, .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "2262-04-11 23:47:16.854776", { .time = TIME_NANO }, W_INT64,
	    "io.debezium.time.NanoTimestamp", V_NULL, .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "1677-09-21 00:12:43.145225", { .time = TIME_NANO }, W_INT64,
	    "io.debezium.time.NanoTimestamp", V_INT, .i = -9223372036854775000, .plain = "timestamp without time zone" },
	{ PG_TIMESTAMP, -1, "timestamp without time zone", "-infinity", { .time = TIME_NANO }, W_INT64,
	    "io.debezium.time.NanoTimestamp", V_INT, .i = INT64_MIN, .plain = "timestamp without time zone" },
	{ PG_INTERVAL, -1, "interval", "1 year 2 mons 3 days 04:05:06.78", { .interval = INTERVAL_STRING },
	    W_STRING, "io.debezium.time.Interval",
	    V_STRING, .s = "P1Y2M3DT4H5M6.78S", .plain = "interval" },
	{ PG_INTERVAL, -1, "interval", "-1 mons -00:01:30.5", { .interval = INTERVAL_STRING }, W_STRING, "io.debezium.time.Interval",
	    V_STRING, .s = "P0Y-1M0DT0H-1M-30.5S", .plain = "interval" },
	{ PG_INTERVAL, -1, "interval", "-00:00:00.5", { .interval = INTERVAL_STRING }, W_STRING, "io.debezium.time.Interval",
	    V_STRING, .s = "P0Y0M0DT0H0M-0.5S", .plain = "interval" },
	{ PG_BYTEA, -1, "bytea", "\\xfbff0a", { .binary = CODED_BASE64 }, W_STRING, NULL, V_STRING, .s = "+/8K", .plain = "bytea" },
	{ PG_BYTEA, -1, "bytea", "\\xfbff0a00", { .binary = CODED_BASE64_URL },
	    W_STRING, NULL, V_STRING, .s = "-_8KAA==", .plain = "bytea" },
	{ PG_BYTEA, -1, "bytea", "\\xfbff0a", { .binary = CODED_HEX }, W_STRING, NULL, V_STRING, .s = "fbff0a", .plain = "bytea" },
	{ PG_BYTEA, -1, "bytea", "\\x", { .binary = CODED_BASE64 }, W_STRING, NULL, V_STRING, .s = "", .plain = "bytea" },
};

/* In each form the value is Debezium's, and its text the source's, so that a sink loses nothing. */
static void
other_forms(void **state)
{
	struct arena a = { 0 };
	struct buf text = { 0 };
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(forms); i++) {
		struct pg_type t = { .oid = forms[i].oid, .typmod = forms[i].typmod, .typtype = 'b', .name = forms[i].name };
		struct wire_type w = pgtype_wire_as(&t, &forms[i].m, &a), standard = pgtype_wire(&t, &a);
		struct value v = read_ok(&t, &w, false, slice_of(forms[i].text), &a), other;
		const struct wire_type *plain = forms[i].plain ? pgtype_plain(forms[i].plain, &a) : NULL;

		assert_int_equal(w.wire, forms[i].wire);
		assert_string_equal(w.semantic ? w.semantic : "", forms[i].semantic ? forms[i].semantic : "");
		assert_int_equal(v.kind, forms[i].kind);
		if (v.kind == V_INT)
			assert_int_equal(v.i, forms[i].i);
		else if (v.kind == V_DOUBLE)
			assert_memory_equal(&v.d, &forms[i].d, sizeof v.d);
		else if (v.kind == V_STRING)
			assert_slice(forms[i].text, v.s, slice_of(forms[i].s));
		other = read_ok(&t, &standard, false, slice_of(forms[i].text), &a);
		buf_reset(&text);
		assert_int_equal(pgtype_text(&standard, &other, &text, &err), OK);
		struct slice want = arena_slice(&a, view(&text));
		buf_reset(&text);
		assert_int_equal(pgtype_text(&w, &v, &text, &err), OK);
		assert_slice(forms[i].text, view(&text), want);
		assert_string_equal(pgtype_create(&w, SLICE_LIT(""), &a), pgtype_create(&standard, SLICE_LIT(""), &a));
		assert_string_equal(sqlite_create(&w), sqlite_create(&standard));
		if (!plain)
			continue;
		assert_string_equal(pgtype_create(&w, SLICE_LIT(""), &a), forms[i].plain);
		assert_int_equal(plain->wire, standard.wire == W_DECIMAL && standard.precision == 0 ? W_VARDECIMAL : standard.wire);
	}
	assert_false(pgtype_decode(CODED_BASE64, SLICE_LIT("ab*="), &text));
	assert_false(pgtype_decode(CODED_BASE64, SLICE_LIT("abc"), &text));
	assert_false(pgtype_decode(CODED_HEX, SLICE_LIT("abc"), &text));
	assert_false(pgtype_decode(CODED_HEX, SLICE_LIT("AB"), &text));
	assert_null(pgtype_plain("numeric(10", &a));
	assert_null(pgtype_plain("character varying(20)", &a));
	buf_free(&text);
	arena_free(&a);
}

/* ---- the map ---- */

static void
check_wire(const char *name, uint32_t oid, int32_t typmod, char typtype, enum wire wire, const char *semantic)
{
	struct arena a = { 0 };
	struct pg_type t = { .oid = oid, .typmod = typmod, .typtype = typtype, .name = name, .labels = "a,b" };
	struct wire_type w = pgtype_wire(&t, &a);

	assert_int_equal(w.wire, wire);
	assert_string_equal(w.semantic ? w.semantic : "", semantic ? semantic : "");
	arena_free(&a);
}

static void
map_of_types(void **state)
{
	struct arena a = { 0 };
	struct wire_type w;

	(void)state;
	check_wire("boolean", PG_BOOL, -1, 'b', W_BOOL, NULL);
	check_wire("bit(1)", PG_BIT, 1, 'b', W_BOOL, NULL);
	check_wire("bit(5)", PG_BIT, 5, 'b', W_BYTES, "io.debezium.data.Bits");
	check_wire("smallint", PG_INT2, -1, 'b', W_INT16, NULL);
	check_wire("oid", PG_OID, -1, 'b', W_INT64, NULL);
	check_wire("time(3)", PG_TIME, 3, 'b', W_INT32, "io.debezium.time.Time");
	check_wire("time(4)", PG_TIME, 4, 'b', W_INT64, "io.debezium.time.MicroTime");
	check_wire("timestamp", PG_TIMESTAMP, -1, 'b', W_INT64, "io.debezium.time.MicroTimestamp");
	check_wire("timestamp(0)", PG_TIMESTAMP, 0, 'b', W_INT64, "io.debezium.time.Timestamp");
	check_wire("mood", 20000, -1, 'e', W_STRING, "io.debezium.data.Enum");
	check_wire("public.hstore", 20001, -1, 'b', W_STRING, "io.debezium.data.Json");
	check_wire("ltree", 20002, -1, 'b', W_STRING, "io.debezium.data.Ltree");
	check_wire("tsvector", 3614, -1, 'b', W_STRING, "io.debezium.data.Tsvector");
	check_wire("inet", 869, -1, 'b', W_STRING, NULL);
	check_wire("int4range", 3904, -1, 'r', W_STRING, NULL);

	w = pgtype_wire(&(struct pg_type){ .oid = PG_NUMERIC, .typmod = 655366, .name = "numeric(10,2)" }, &a);
	assert_int_equal(w.precision, 10);
	assert_int_equal(w.scale, 2);
	w = pgtype_wire(&(struct pg_type){ .oid = PG_NUMERIC, .typmod = 133121, .name = "numeric(2,-3)" }, &a);
	assert_int_equal(w.precision, 5);
	assert_int_equal(w.scale, 0);
	w = pgtype_wire(&(struct pg_type){ .oid = 600, .typmod = -1, .typtype = 'b', .name = "point" }, &a);
	assert_int_equal(w.wire, W_COMPOUND);
	assert_string_equal(w.semantic, "io.debezium.data.geometry.Point");
	assert_false(pgtype_binary(&(struct pg_type){ .oid = 600, .typtype = 'b', .name = "point" }));
	assert_false(pgtype_binary(&(struct pg_type){ .oid = 869, .typtype = 'b', .name = "inet" }));
	assert_false(pgtype_binary(&(struct pg_type){ .oid = 20003, .typtype = 'b', .name = "citext" }));
	assert_true(pgtype_binary(&(struct pg_type){ .oid = 20004, .typtype = 'e', .name = "mood" }));
	w = pgtype_wire(&(struct pg_type){ .oid = 20005, .typmod = -1, .typtype = 'b', .name = "money[]",
	    .item = &(struct pg_type){ .oid = PG_MONEY, .typmod = -1, .typtype = 'b', .name = "money" } }, &a);
	assert_string_equal(w.source_type, "money[]");
	w = pgtype_wire(&(struct pg_type){ .oid = 22, .typmod = -1, .typtype = 'b', .name = "int2vector",
	    .item = &(struct pg_type){ .oid = PG_INT2, .typmod = -1, .typtype = 'b', .name = "smallint" } }, &a);
	assert_string_equal(w.source_type, "int2vector");
	arena_free(&a);
}

static void
check_create(const char *source, struct wire_type w, const char *want)
{
	struct arena a = { 0 };

	assert_string_equal(pgtype_create(&w, slice_of(source), &a), want);
	arena_free(&a);
}

static void
types_to_create(void **state)
{
	struct wire_type text = { .wire = W_STRING }, json = { .wire = W_STRING, .semantic = "io.debezium.data.Json" };
	struct wire_type ts = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" };
	struct wire_type dec = { .wire = W_DECIMAL, .precision = 10, .scale = 2 }, big = { .wire = W_INT64 };
	struct arena a = { 0 };
	struct wire_type array = { .wire = W_ARRAY, .item = &big };

	(void)state;
	check_create("character varying(20)", text, "character varying(20)");
	check_create("timestamp(3) with time zone[]", array, "timestamp(3) with time zone[]");
	check_create("interval day to second(3)", big, "interval day to second(3)");
	check_create("mood", text, "text");
	check_create("public.hstore", json, "text");
	check_create("text); drop table x; --", text, "text");
	check_create("numeric(1); drop", dec, "numeric(10,2)");
	check_create("numeric(1", dec, "numeric(10,2)");
	check_create("numeric(;", dec, "numeric(10,2)");
	check_create("DATETIME", ts, "timestamp without time zone");
	check_create("", json, "json");
	check_create("", array, "bigint[]");
	check_create("", ts, "timestamp without time zone");
	check_create("", (struct wire_type){ .wire = W_STRING, .source_type = "point" }, "point");
	check_create("", pgtype_wire(&(struct pg_type){ .oid = PG_BPCHAR, .typmod = 8,
		.typtype = 'b', .name = "character(4)" }, &a), "character(4)");
	check_create("", pgtype_wire(&(struct pg_type){ .oid = PG_BPCHAR, .typmod = -1, .typtype = 'b', .name = "bpchar" }, &a), "text");
	check_create("", pgtype_wire(&(struct pg_type){ .oid = 1014, .typmod = 8, .typtype = 'b', .name = "character(4)[]",
	    .item = &(struct pg_type){ .oid = PG_BPCHAR, .typmod = -1, .typtype = 'b', .name = "character" } }, &a), "text[]");
	check_create("", (struct wire_type){ .wire = W_STRING, .source_type = "vector(3)" }, "text");
	assert_string_equal(sqlite_create(&ts), "TEXT");
	assert_string_equal(sqlite_create(&big), "INTEGER");
	assert_string_equal(sqlite_create(&dec), "TEXT");
	arena_free(&a);
}

/* ---- arrays and hstore ---- */

static void
check_array(struct pg_type item, const char *text, const char *hex, bool exact)
{
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct pg_type t = { .oid = 99999, .typmod = -1, .typtype = 'b', .name = "x[]", .item = &item };
	struct wire_type w = pgtype_wire(&t, &a);
	struct value v;
	struct err err;

	assert_int_equal(w.wire, W_ARRAY);
	assert_false(pgtype_binary(&t));
	v = read_ok(&t, &w, false, slice_of(text), &a);
	assert_int_equal(v.kind, V_AVRO);
	assert_slice(text, hex_of(v.s, &a), slice_of(hex));
	assert_slice(text, v.exact, slice_of(exact ? text : ""));
	assert_int_equal(pgtype_text(&w, &v, &out, &err), OK);
	if (item.oid != PG_BOOL && item.oid != PG_NUMERIC)
		assert_slice(text, view(&out), slice_of(text));
	buf_free(&out);
	arena_free(&a);
}

static void
arrays(void **state)
{
	struct pg_type int4 = { .oid = PG_INT4, .typmod = -1, .typtype = 'b', .name = "integer" };
	struct pg_type text = { .oid = PG_TEXT, .typmod = -1, .typtype = 'b', .name = "text" };
	struct pg_type real = { .oid = PG_FLOAT4, .typmod = -1, .typtype = 'b', .name = "real" };
	struct pg_type numeric = { .oid = PG_NUMERIC, .typmod = -1, .typtype = 'b', .name = "numeric" };
	struct pg_type boolean = { .oid = PG_BOOL, .typmod = -1, .typtype = 'b', .name = "boolean" };
	struct pg_type timetz = { .oid = PG_TIMETZ, .typmod = -1, .typtype = 'b', .name = "timetz" };
	struct arena a = { 0 };
	static const char *const bad[] = { "", "{", "}", "{1", "{1,", "{1,}", "{,1}", "{1}}", "{1}x", "{\"1}", "{x}", "{1 2}",
		"[0:1]{1,2}", "[0:1", "{{{{{{{1}}}}}}}", "{1}{2}", "1", "{\"\\" };
	struct pg_type t = { .oid = 1007, .typmod = -1, .typtype = 'b', .name = "integer[]", .item = &int4 };
	struct wire_type w = pgtype_wire(&t, &a);
	struct value v;
	struct err err;

	(void)state;
	check_array(int4, "{}", "00", false);
	check_array(int4, "{1}", "02020200", false);
	check_array(int4, "{1,NULL,-2}", "060202000203" "00", false);
	check_array(int4, "[0:1]={1,2}", "040202020400", true);
	check_array(int4, "{{1,2},{3,4}}", "08020202040206020800", true);
	check_array(text, "{a,\"b c\",\"NULL\",NULL,\"q\\\"\\\\\",\"\"}",
	    "0c02026102066220630208" "4e554c4c00" "020671225c" "020000", false);
	check_array(real, "{1.5,NaN}", "04020000c03f020000c07f00", false);
	check_array(numeric, "{1.5,NaN}", "040202020f0000", true);
	check_array(numeric, "{1.5}", "0202" "02020f00", false);
	check_array(boolean, "{t,f,NULL}", "0602010200" "0000", false);
	check_array(timetz, "{10:00:00+02}", "0202" "12" "30383a30303a30305a" "00", true);
	for (size_t i = 0; i < COUNTOF(bad); i++)
		if (pgtype_read(&t, &w, false, slice_of(bad[i]), &a, &v, &err) != REJECT)
			fail_msg("array \"%s\" was taken", bad[i]);
	arena_free(&a);
}

static void
hstore(void **state)
{
	static const struct {
		const char *text, *json;
	} good[] = {
		{ "", "{}" },
		{ "\"a\"=>\"1\"", "{\"a\":\"1\"}" },
		{ "\"a\"=>\"1\", \"b\"=>NULL", "{\"a\":\"1\",\"b\":null}" },
		{ "\"q\\\"\"=>\"\\\\\n\"", "{\"q\\\"\":\"\\\\\\n\"}" },
	};
	static const char *const bad[] = { "\"a\"", "\"a\"=>", "\"a\"=>\"1\",", "\"a\"=>\"1\", ", "a=>1", "\"a\"=>\"1", "\"a\\" };
	struct pg_type t = { .oid = 20000, .typmod = -1, .typtype = 'b', .name = "hstore" };
	struct arena a = { 0 };
	struct wire_type w = pgtype_wire(&t, &a);
	struct value v;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(good); i++) {
		v = read_ok(&t, &w, false, slice_of(good[i].text), &a);
		assert_slice("hstore", v.s, slice_of(good[i].json));
		assert_slice("hstore", v.exact, slice_of(*good[i].text ? good[i].text : " "));
	}
	for (size_t i = 0; i < COUNTOF(bad); i++)
		assert_int_equal(pgtype_read(&t, &w, false, slice_of(bad[i]), &a, &v, &err), REJECT);
	arena_free(&a);
}

/* ---- cross pairs at a sink ---- */

#define DBZ(name) "io.debezium.time." name
#define CONNECT(name) "org.apache.kafka.connect.data." name

static const struct {
	enum wire wire;
	const char *semantic;
	uint32_t oid;
	int64_t i;       /* V_INT, or */
	const char *s;   /* V_STRING */
	const char *hex; /* NULL: refused */
} pairs[] = {
	{ W_INT16, NULL, PG_INT4, -2, NULL, "fffffffe" },
	{ W_INT16, NULL, PG_INT8, 7, NULL, "0000000000000007" },
	{ W_INT16, NULL, PG_NUMERIC, 12345, NULL, "000200010000000000010929" },
	{ W_INT64, NULL, PG_INT4, 2147483648, NULL, NULL },
	{ W_INT32, NULL, PG_INT2, -32769, NULL, NULL },
	{ W_INT64, NULL, PG_OID, -1, NULL, NULL },
	{ W_INT64, NULL, PG_OID, 4294967295, NULL, "ffffffff" },
	{ W_INT64, NULL, PG_FLOAT8, 3, NULL, "4008000000000000" },
	{ W_INT64, NULL, PG_FLOAT8, (1LL << 53) + 1, NULL, NULL },
	{ W_INT64, NULL, PG_FLOAT4, 16777217, NULL, NULL },
	{ W_INT32, NULL, PG_TEXT, -12, NULL, "2d3132" },
	{ W_STRING, NULL, PG_VARCHAR, 0, "ab", "6162" },
	{ W_STRING, "io.debezium.data.Json", PG_JSONB, 0, "{}", "017b7d" },
	{ W_STRING, NULL, PG_UUID, 0, "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11" },
	{ W_STRING, NULL, PG_UUID, 0, "a0eebc99", NULL },
	{ W_STRING, NULL, PG_CHAR, 0, "\\377", "ff" },
	{ W_STRING, NULL, PG_CHAR, 0, "ab", NULL },
	{ W_INT32, DBZ("Date"), PG_DATE, 10957, NULL, "00000000" },
	{ W_INT32, DBZ("Date"), PG_DATE, 2146033979, NULL, "7fffffff" },
	{ W_INT32, DBZ("Date"), PG_DATE, -2147472691, NULL, "80000000" },
	{ W_STRING, DBZ("IsoDate"), PG_DATE, 0, "2000-01-02Z", "00000001" },
	{ W_STRING, DBZ("IsoDate"), PG_DATE, 0, "+5877611-06-21Z", "7fffffff" },
	{ W_STRING, DBZ("IsoTime"), PG_TIME, 0, "00:00:00.001Z", "00000000000003e8" },
	{ W_STRING, DBZ("IsoTimestamp"), PG_TIMESTAMP, 0, "2000-01-01T00:00:00.000001Z", "0000000000000001" },
	{ W_STRING, DBZ("IsoTimestamp"), PG_TIMESTAMP, 0, "-292275055-05-16T23:00:00Z", "8000000000000000" },
	{ W_STRING, DBZ("IsoTimestamp"), PG_TIMESTAMP, 0, "+292278994-08-16T23:00:01Z", NULL },
	{ W_INT64, DBZ("NanoTimestamp"), PG_TIMESTAMP, INT64_MAX, NULL, "7fffffffffffffff" },
	{ W_INT32, CONNECT("Date"), PG_DATE, 10958, NULL, "00000001" },
	{ W_INT32, DBZ("Date"), PG_TEXT, 0, NULL, "313937302d30312d3031" },
	{ W_INT32, DBZ("Time"), PG_TIME, 1, NULL, "00000000000003e8" },
	{ W_INT32, CONNECT("Time"), PG_TIME, 1, NULL, "00000000000003e8" },
	{ W_INT64, DBZ("MicroTime"), PG_TIME, 86400000000, NULL, "000000141dd76000" },
	{ W_INT64, DBZ("MicroTime"), PG_TIME, 86400000001, NULL, NULL },
	{ W_INT64, DBZ("NanoTime"), PG_TIME, 1999, NULL, "0000000000000001" },
	{ W_INT64, DBZ("Timestamp"), PG_TIMESTAMP, 946684800001, NULL, "00000000000003e8" },
	{ W_INT64, CONNECT("Timestamp"), PG_TIMESTAMPTZ, 946684800001, NULL, "00000000000003e8" },
	{ W_INT64, DBZ("MicroTimestamp"), PG_TIMESTAMP, 946684800000001, NULL, "0000000000000001" },
	{ W_INT64, DBZ("NanoTimestamp"), PG_TIMESTAMP, 946684799999999999, NULL, "ffffffffffffffff" },
	{ W_INT64, DBZ("MicroTimestamp"), PG_TIMESTAMP, 9223372036825200000, NULL, "7fffffffffffffff" },
	{ W_INT64, DBZ("MicroTimestamp"), PG_TIMESTAMP, INT64_MAX, NULL, "7fffffffffffffff" },
	{ W_INT64, DBZ("MicroTimestamp"), PG_TIMESTAMP, INT64_MIN, NULL, "8000000000000000" },
	{ W_INT64, DBZ("Timestamp"), PG_TIMESTAMP, -9223372036832400, NULL, "8000000000000000" },
	{ W_INT64, DBZ("Timestamp"), PG_TIMESTAMP, INT64_MIN, NULL, NULL },
	{ W_STRING, DBZ("ZonedTimestamp"), PG_TIMESTAMPTZ, 0, "2000-01-01T01:00:00.000001+01:00", "0000000000000001" },
	{ W_STRING, DBZ("ZonedTimestamp"), PG_TIMESTAMPTZ, 0, "2000-01-01T00:00Z", "0000000000000000" },
	{ W_STRING, DBZ("ZonedTimestamp"), PG_TIMESTAMPTZ, 0, "infinity", "7fffffffffffffff" },
	{ W_STRING, DBZ("ZonedTimestamp"), PG_TIMESTAMPTZ, 0, "2000-02-30T00:00:00Z", NULL },
	{ W_STRING, DBZ("ZonedTime"), PG_TIMETZ, 0, "00:00:01Z", "00000000000f424000000000" },
	{ W_INT64, DBZ("MicroDuration"), PG_INTERVAL, -1, NULL, "ffffffffffffffff0000000000000000" },
	{ W_INT64, DBZ("MicroTimestamp"), PG_INT8, 1, NULL, NULL },
	{ W_STRING, NULL, PG_TIMESTAMPTZ, 0, "now", NULL },
};

static void
cross_pairs(void **state)
{
	struct arena a = { 0 };
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNTOF(pairs); i++) {
		struct wire_type w = { .wire = pairs[i].wire, .semantic = pairs[i].semantic };
		struct value v = pairs[i].s ? value_string(slice_of(pairs[i].s)) : value_int(pairs[i].i);
		struct err err;
		enum rc rc;

		buf_reset(&out);
		rc = pgtype_binary_value(&w, pairs[i].oid, &v, &out, &err);
		if (rc != (pairs[i].hex ? OK : REJECT))
			fail_msg("pair %zu: %s", i, rc_name(rc));
		if (pairs[i].hex)
			assert_slice(pairs[i].s ? pairs[i].s : pairs[i].semantic ? pairs[i].semantic : "int",
			    hex_of(view(&out), &a), slice_of(pairs[i].hex));
		assert_true(rc == OK || out.n == 0);
	}
	buf_free(&out);
	arena_free(&a);
}

static void
no_nul_in_text(void **state)
{
	struct wire_type w = { .wire = W_STRING };
	struct value v = value_string(SLICE_LIT("a\0b"));
	struct buf out = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(pgtype_binary_value(&w, PG_TEXT, &v, &out, &err), REJECT);
	assert_int_equal(pgtype_binary_value(&w, PG_JSON, &v, &out, &err), REJECT);
	buf_free(&out);
}

static void
money_and_scale(void **state)
{
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct wire_type w = { .wire = W_DECIMAL, .scale = 3 }, var = { .wire = W_VARDECIMAL };
	struct value v = { .kind = V_BYTES, .s = SLICE_LIT("\x04\xd2") }; /* 1.234 */
	struct value hundred = { .kind = V_DECIMAL, .scale = -2, .s = SLICE_LIT("\x01") };
	struct err err;

	(void)state;
	assert_int_equal(pgtype_binary_value(&w, PG_MONEY, &v, &out, &err), REJECT);
	v.s = SLICE_LIT("\xfb\x32"); /* -1.230 */
	assert_int_equal(pgtype_binary_value(&w, PG_MONEY, &v, &out, &err), OK);
	assert_slice("money", hex_of(view(&out), &a), SLICE_LIT("ffffffffffffff85"));
	buf_reset(&out);
	assert_int_equal(pgtype_text(&var, &hundred, &out, &err), OK); /* Java's negative scale */
	assert_slice("scale -2", view(&out), SLICE_LIT("100"));
	hundred.scale = INT32_MIN;
	assert_int_equal(pgtype_text(&var, &hundred, &out, &err), REJECT);
	hundred.scale = INT32_MAX;
	assert_int_equal(pgtype_text(&var, &hundred, &out, &err), REJECT);
	buf_free(&out);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_both_ways),
		cmocka_unit_test(golden_cut_short),
		cmocka_unit_test(debezium_forms),
		cmocka_unit_test(other_forms),
		cmocka_unit_test(map_of_types),
		cmocka_unit_test(types_to_create),
		cmocka_unit_test(arrays),
		cmocka_unit_test(hstore),
		cmocka_unit_test(cross_pairs),
		cmocka_unit_test(no_nul_in_text),
		cmocka_unit_test(money_and_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
