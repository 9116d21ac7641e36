/*
 * codec_gen.h - random tables and rows for the codec's tests; a seed makes them again.
 */
#ifndef TESTS_UNIT_CODEC_GEN_H
#define TESTS_UNIT_CODEC_GEN_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/table.h"
#include "core/value.h"
#include "schemas/compound.h"

#include <stdlib.h>

enum { COLS_MAX = 20 };

struct rng {
	uint64_t s;
};

static inline uint64_t
rnd(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t
below(struct rng *r, uint64_t n)
{
	return rnd(r) % n;
}

static inline uint64_t
env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Numbers of every length, so that each varint length is met. */
static inline int64_t
any_long(struct rng *r)
{
	static const int64_t edges[] = { 0, -1, 63, 64, -64, -65, 8191, 8192, INT64_MAX, INT64_MIN };

	if (below(r, 4) == 0)
		return edges[below(r, COUNTOF(edges))];
	return (int64_t)(rnd(r) >> below(r, 64)) * (below(r, 2) ? 1 : -1);
}

static inline struct slice
any_bytes(struct rng *r, struct arena *a, bool text)
{
	size_t n = below(r, 8) == 0 ? below(r, 400) : below(r, 24);
	char *p = arena_raw(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(text ? 'a' + below(r, 26) : rnd(r));
	p[n] = '\0';
	return (struct slice){ p, n };
}

/* ---- tables ---- */

/* One for each structure. */
static const struct {
	struct pg_type type;
	const char *text;
} compounds[] = {
	{ { .oid = 600, .name = "point" }, "(1,-2.5)" },
	{ { .oid = 628, .name = "line" }, "{1,2,3}" },
	{ { .oid = 718, .name = "circle" }, "<(1,2),3>" },
	{ { .oid = 602, .name = "path" }, "[(1,2),(3,4)]" },
	{ { .oid = 603, .name = "box" }, "(3,4),(1,2)" },
	{ { .oid = 20000, .typtype = 'b', .name = "geometry" }, "0101000020E6100000000000000000F03F0000000000000040" },
	{ { .oid = 20000, .typtype = 'b', .name = "public.geography" }, "0101000000000000000000F03F0000000000000040" },
	{ { .oid = 20000, .typtype = 'b', .name = "public.vector(3)" }, "[1,2.5,-3]" },
	{ { .oid = 20000, .typtype = 'b', .name = "halfvec" }, "[1]" },
	{ { .oid = 20000, .typtype = 'b', .name = "sparsevec" }, "{1:1,3:2.5}/5" },
	{ { .oid = 20000, .typtype = 'b', .name = "hstore" }, "\"a\"=>\"1\", \"b\"=>NULL" },
};

static inline struct wire_type
any_type(struct rng *r, struct arena *a, bool array_too)
{
	static const char *const names[] = { NULL, "io.debezium.data.Json", "io.debezium.time.MicroTimestamp" };
	struct wire_type w = { .wire = (enum wire)(1 + below(r, array_too ? W_COMPOUND : W_VARDECIMAL)) };
	struct wire_type *item;

	if (w.wire == W_INT64 || w.wire == W_STRING)
		w.semantic = names[below(r, COUNTOF(names))];
	if (w.wire == W_DECIMAL) {
		w.precision = (int)below(r, 30);
		w.scale = (int)below(r, 10);
	}
	if (w.wire == W_COMPOUND) {
		w.compound = compound_of(&compounds[below(r, COUNTOF(compounds))].type, true);
		w.semantic = w.compound->name;
	}
	if (w.wire == W_ARRAY) {
		item = arena_new(a, struct wire_type);
		*item = any_type(r, a, false);
		w.item = item;
	}
	return w;
}

static inline struct slice
default_of(enum wire wire)
{
	switch (wire) {
	case W_BOOL:
		return SLICE_LIT("true");
	case W_INT16:
	case W_INT32:
	case W_INT64:
		return SLICE_LIT("7");
	case W_FLOAT:
	case W_DOUBLE:
		return SLICE_LIT("0.5");
	case W_STRING:
	case W_BYTES:
	case W_DECIMAL:
		return SLICE_LIT("\"x\"");
	default:
		return SLICE_LIT("null"); /* none, for a nullable column */
	}
}

static inline struct table *
any_table(struct rng *r, struct arena *a)
{
	struct table *t = arena_new(a, struct table);

	t->schema = SLICE_LIT("public");
	t->name = SLICE_LIT("t");
	t->ncols = 1 + (int)below(r, COLS_MAX);
	t->cols = arena_array(a, (size_t)t->ncols, sizeof *t->cols);
	for (int i = 0; i < t->ncols; i++) {
		struct column *col = &t->cols[i];

		col->name = slice_of(arena_printf(a, "c%d", i));
		col->type = any_type(r, a, true);
		col->typmod = -1;
		col->notnull = below(r, 2);
		col->default_json = default_of(col->type.wire);
		col->has_default = below(r, 3) == 0 && !(col->notnull && slice_is(col->default_json, "null"));
	}
	t->keys = arena_array(a, (size_t)t->ncols, sizeof *t->keys);
	t->nkeys = (int)below(r, (uint64_t)t->ncols + 1) % 4;
	for (int i = 0; i < t->nkeys; i++)
		t->keys[i] = t->nkeys - 1 - i;
	return t;
}

static inline struct value
any_value(struct rng *r, struct arena *a, const struct wire_type *w)
{
	struct value v = { .kind = V_INT };
	struct buf b = { 0 };
	float f;

	switch (w->wire) {
	case W_BOOL:
		return (struct value){ .kind = V_BOOL, .i = (int64_t)below(r, 2) };
	case W_INT16:
		return value_int((int16_t)any_long(r));
	case W_INT32:
		return value_int((int32_t)any_long(r));
	case W_INT64:
		return value_int(any_long(r));
	case W_FLOAT:
		f = (float)any_long(r) / 3;
		return (struct value){ .kind = V_FLOAT, .d = (double)f };
	case W_DOUBLE:
		return (struct value){ .kind = V_DOUBLE, .d = (double)any_long(r) / 3 };
	case W_STRING:
		return value_string(any_bytes(r, a, true));
	case W_BYTES:
	case W_DECIMAL:
		return (struct value){ .kind = V_BYTES, .s = any_bytes(r, a, false) };
	case W_VARDECIMAL:
		return (struct value){ .kind = V_DECIMAL, .scale = (int32_t)any_long(r), .s = any_bytes(r, a, false) };
	case W_COMPOUND:
		for (size_t i = 0; i < COUNTOF(compounds); i++)
			if (compound_of(&compounds[i].type, true) == w->compound &&
			    !compound_read(w->compound, compounds[i].type.oid, slice_of(compounds[i].text), a, &v))
				abort();
		return v;
	case W_ARRAY:
	case W_OTHER:
		break;
	}
	/* An array, by hand: one block of ["null", item]. */
	v.kind = V_AVRO;
	for (uint64_t n = below(r, 5), i = 0; i < n; i++) {
		struct value item = any_value(r, a, w->item);

		if (i == 0)
			buf_long(&b, (int64_t)n);
		if (below(r, 4) == 0) {
			buf_byte(&b, 0);
			continue;
		}
		buf_byte(&b, 2);
		f = (float)item.d;
		if (item.kind == V_BOOL)
			buf_byte(&b, (uint8_t)item.i);
		else if (item.kind == V_INT)
			buf_long(&b, item.i);
		else if (item.kind == V_FLOAT)
			buf_bytes(&b, &f, 4);
		else if (item.kind == V_DOUBLE)
			buf_bytes(&b, &item.d, 8);
		if (item.kind == V_DECIMAL)
			buf_long(&b, item.scale);
		if (item.kind >= V_BYTES)
			buf_avro_bytes(&b, item.s);
	}
	buf_byte(&b, 0);
	v.s = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return v;
}

static inline struct value *
any_row(struct rng *r, struct arena *a, const struct table *t, bool absent_too)
{
	struct value *row = arena_array(a, (size_t)t->ncols, sizeof *row);

	for (int i = 0; i < t->ncols; i++) {
		row[i] = any_value(r, a, &t->cols[i].type);
		if (!t->cols[i].notnull && below(r, 4) == 0)
			row[i] = value_null();
		if (absent_too && below(r, 8) == 0)
			row[i] = (struct value){ .kind = V_ABSENT };
	}
	return row;
}

#endif
