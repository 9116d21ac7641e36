/*
 * pgtypes_fuzz.c - any bytes as a column's value.
 *
 * First byte: low seven bits the type (modulo the table), top bit: binary. Second byte: 0 to 127 read as a column of the source,
 * else taken as the content of a value of that type's wire form, as a foreign topic may bring it. What was read must survive the
 * way to a sink: the text written from it reads back as the same value, and so does the binary form.
 */
#include <stdlib.h>

#include "core/err.h"
#include "schemas/pgtypes.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct pg_type int4 = { .oid = PG_INT4, .typmod = -1, .typtype = 'b', .name = "integer" };
static const struct pg_type text = { .oid = PG_TEXT, .typmod = -1, .typtype = 'b', .name = "text" };
static const struct pg_type numeric = { .oid = PG_NUMERIC, .typmod = -1, .typtype = 'b', .name = "numeric" };
static const struct pg_type hstore = { .oid = 20000, .typmod = -1, .typtype = 'b', .name = "hstore" };

static const struct pg_type types[] = {
#define TYPE(oid, typmod) { oid, typmod, 'b', #oid, NULL, NULL }
	TYPE(PG_BOOL, -1), TYPE(PG_BYTEA, -1), TYPE(PG_CHAR, -1), TYPE(PG_NAME, -1), TYPE(PG_INT8, -1), TYPE(PG_INT2, -1),
	TYPE(PG_INT4, -1), TYPE(PG_TEXT, -1), TYPE(PG_OID, -1), TYPE(PG_JSON, -1), TYPE(PG_XML, -1), TYPE(PG_FLOAT4, -1),
	TYPE(PG_FLOAT8, -1), TYPE(PG_MONEY, -1), TYPE(PG_DATE, -1), TYPE(PG_TIME, -1), TYPE(PG_TIME, 3),
	TYPE(PG_TIMESTAMP, -1), TYPE(PG_TIMESTAMP, 3), TYPE(PG_TIMESTAMPTZ, -1), TYPE(PG_TIMESTAMPTZ, 3),
	TYPE(PG_INTERVAL, -1), TYPE(PG_TIMETZ, -1), TYPE(PG_BIT, 1), TYPE(PG_BIT, 9), TYPE(PG_VARBIT, -1),
	TYPE(PG_NUMERIC, -1), TYPE(PG_NUMERIC, 655366), TYPE(PG_NUMERIC, 133121), TYPE(PG_UUID, -1), TYPE(PG_JSONB, -1),
#undef TYPE
	{ 1007, -1, 'b', "integer[]", NULL, &int4 },
	{ 1009, -1, 'b', "text[]", NULL, &text },
	{ 1231, -1, 'b', "numeric[]", NULL, &numeric },
	{ 20000, -1, 'b', "hstore", NULL, NULL },
	{ 20001, -1, 'b', "hstore[]", NULL, &hstore },
	{ 600, -1, 'b', "point", NULL, NULL },
	{ 601, -1, 'b', "lseg", NULL, NULL },
	{ 602, -1, 'b', "path", NULL, NULL },
	{ 603, -1, 'b', "box", NULL, NULL },
	{ 604, -1, 'b', "polygon", NULL, NULL },
	{ 628, -1, 'b', "line", NULL, NULL },
	{ 718, -1, 'b', "circle", NULL, NULL },
	{ 20002, -1, 'b', "geometry", NULL, NULL },
	{ 20003, -1, 'b', "geography", NULL, NULL },
	{ 20004, -1, 'b', "vector", NULL, NULL },
	{ 20005, -1, 'b', "halfvec", NULL, NULL },
	{ 20006, -1, 'b', "sparsevec", NULL, NULL },
};

static void
expect(bool ok)
{
	if (!ok)
		abort();
}

/* The text of an array is reader_array_text's matter, money's has lost its locale, and JSON is not compared. */
static void
check_text(const struct pg_type *t, const struct wire_type *w, const struct value *v, struct arena *a)
{
	struct buf out = { 0 };
	struct value again;
	struct err err;

	expect(pgtype_text(w, v, &out, &err) == OK);
	if (t->oid == PG_BOOL)
		out.p[0] = out.p[0] == '1' ? 't' : 'f';
	if (out.n == 0 || (out.n == 1 && *out.p == 'b'))
		goto out;
	expect(pgtype_read(t, w, false, buf_view(&out), a, &again, &err) == OK);
	expect(value_eq(v, &again));
out:
	buf_free(&out);
}

static void
check_binary(const struct pg_type *t, const struct wire_type *w, const struct value *v, struct arena *a)
{
	struct buf out = { 0 };
	struct value again;
	struct err err;

	if (pgtype_binary(t) && pgtype_binary_value(w, t->oid, v, &out, &err) == OK) {
		expect(pgtype_read(t, w, true, out.n ? buf_view(&out) : SLICE_LIT(""), a, &again, &err) == OK);
		expect(value_eq(v, &again));
	}
	buf_free(&out);
}

static void
as_column(const struct pg_type *t, const struct wire_type *w, bool binary, struct slice s, struct arena *a)
{
	struct value v;
	struct err err;

	if (pgtype_read(t, w, binary, s, a, &v, &err) != OK)
		return;
	check_text(t, w, &v, a);
	check_binary(t, w, &v, a);
}

static void
as_value(const struct pg_type *t, const struct wire_type *w, uint8_t mode, struct slice s)
{
	static const uint8_t kinds[] = { V_BOOL, V_INT, V_DOUBLE, V_BYTES, V_STRING, V_DECIMAL, V_AVRO };
	struct value v = { .kind = kinds[mode % COUNTOF(kinds)] };
	struct buf out = { 0 };
	struct err err;

	if (v.kind >= V_BYTES) {
		v.scale = s.n >= 2 ? (int16_t)be16(s.p) : 0;
		v.s = s;
	} else if (s.n >= 8)
		memcpy(&v.i, s.p, 8);
	if (mode & 0x40)
		v.exact = s;
	if (pgtype_text(w, &v, &out, &err) == OK && pgtype_binary_value(w, t->oid, &v, &out, &err) == OK)
		expect(!out.failed);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct pg_type *t;
	struct arena a = { 0 };
	struct wire_type w;
	char *copy;

	if (n < 2)
		return 0;
	t = &types[(p[0] & 0x7f) % COUNTOF(types)];
	w = pgtype_wire_as(t, &(struct type_modes){ .hstore = p[1] & 1, .money = 2 }, &a);
	copy = malloc(n - 2 ? n - 2 : 1); /* so that ASan sees the edge */
	memcpy(copy, p + 2, n - 2);
	if (p[1] < 0x80)
		as_column(t, &w, p[0] & 0x80, (struct slice){ copy, n - 2 }, &a);
	else
		as_value(t, &w, p[1], (struct slice){ copy, n - 2 });
	free(copy);
	arena_free(&a);
	return 0;
}
