/*
 * compound_vector.c - pgvector's types, and hstore as a map.
 *
 *   vector, halfvec  [1,2.5,-3]
 *   sparsevec        {1:1,3:2.5}/5     index:value, from 1, in order; dimensions behind the slash. Debezium has 16 bits for them
 *   hstore           "a"=>"1", "b"=>NULL
 */
#include "schemas/compound_impl.h"
#include "schemas/pgtypes_impl.h"

#include <stdlib.h>

/* ---- vectors ---- */

/* Numbers of one width in one block, whose count is known at the end. */
static bool
numbers_read(struct slice text, bool single, struct buf *out)
{
	struct words w = words_of(text);
	struct buf items = { 0 };
	int64_t n = 0;

	words_take(&w, '[');
	for (; !w.bad && (n == 0 || words_have(&w, ',')); n++) {
		double d;
		float f;

		if (n)
			words_take(&w, ',');
		d = words_number(&w, single);
		f = (float)d;
		buf_bytes(&items, single ? (const void *)&f : (const void *)&d, single ? 4 : 8);
	}
	words_take(&w, ']');
	buf_long(out, n);
	buf_slice(out, buf_view(&items));
	buf_long(out, 0);
	out->failed |= items.failed;
	buf_free(&items);
	return words_done(&w);
}

/* pgvector's numbers are floats, and Debezium has their texts as doubles: the text of the float, where it is the same double. */
static void
put_number(struct buf *out, double d)
{
	size_t from = out->n;

	pgtype_put_real((double)(float)d, true, out);
	if (out->failed || strtod(buf_cstr(out) + from, NULL) == d)
		return;
	out->n = from;
	pgtype_put_real(d, false, out);
}

static bool
numbers_text(struct cursor *c, bool single, struct buf *out)
{
	uint64_t left = 0;

	buf_byte(out, '[');
	for (int comma = 0; compound_next(c, &left); comma = 1) {
		if (comma)
			buf_byte(out, ',');
		if (single)
			pgtype_put_real((double)cursor_float(c), true, out);
		else
			put_number(out, cursor_double(c));
	}
	buf_byte(out, ']');
	return !c->bad;
}

bool
vector_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	return numbers_read(text, false, out);
}

bool
vector_text(struct cursor *c, struct buf *out)
{
	return numbers_text(c, false, out);
}

bool
halfvec_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	return numbers_read(text, true, out);
}

bool
halfvec_text(struct cursor *c, struct buf *out)
{
	return numbers_text(c, true, out);
}

/* ---- sparse vectors ---- */

/* A number of 16 bits. */
static int64_t
take_short(struct words *w)
{
	int64_t v = 0;
	const char *from = w->p;

	for (; w->p < w->end && *w->p >= '0' && *w->p <= '9' && v <= INT16_MAX; w->p++)
		v = v * 10 + (*w->p - '0');
	w->bad |= w->p == from || v > INT16_MAX;
	return v;
}

bool
sparsevec_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	struct words w = words_of(text);
	struct buf items = { 0 };
	int64_t n = 0, dimensions;

	words_take(&w, '{');
	for (; !w.bad && !words_have(&w, '}'); n++) {
		if (n)
			words_take(&w, ',');
		buf_long(&items, take_short(&w));
		words_take(&w, ':');
		compound_put_double(&items, words_number(&w, false));
	}
	words_take(&w, '}');
	words_take(&w, '/');
	dimensions = take_short(&w);
	buf_long(out, dimensions);
	if (n)
		buf_long(out, n);
	buf_slice(out, buf_view(&items));
	buf_long(out, 0);
	out->failed |= items.failed;
	buf_free(&items);
	return words_done(&w);
}

struct place {
	int64_t index;
	double value;
};

static int
by_index(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/* A map of Java's has no order of its own. */
bool
sparsevec_text(struct cursor *c, struct buf *out)
{
	int64_t dimensions = cursor_long(c);
	struct buf places = { 0 };
	struct place one = { 0 };
	uint64_t left = 0;

	while (compound_next(c, &left)) {
		one.index = cursor_long(c);
		one.value = cursor_double(c);
		buf_bytes(&places, &one, sizeof one);
	}
	if (places.n)
		qsort(places.p, places.n / sizeof one, sizeof one, by_index);
	buf_byte(out, '{');
	for (size_t i = 0; i < places.n; i += sizeof one) {
		memcpy(&one, places.p + i, sizeof one);
		buf_printf(out, "%s%lld:", i ? "," : "", (long long)one.index);
		put_number(out, one.value);
	}
	buf_printf(out, "}/%lld", (long long)dimensions);
	out->failed |= places.failed;
	buf_free(&places);
	return !c->bad;
}

/* ---- hstore ---- */

bool
hstore_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	struct arena a = { 0 };
	struct buf items = { 0 };
	struct slice key, value;
	struct pairs p = pgtype_pairs(text, &a);

	for (; pgtype_next_pair(&p, &key, &value); ) {
		buf_avro_bytes(&items, key);
		buf_long(&items, value.p != NULL);
		if (value.p)
			buf_avro_bytes(&items, value);
	}
	if (p.n)
		buf_long(out, p.n);
	buf_slice(out, buf_view(&items));
	buf_long(out, 0);
	out->failed |= items.failed;
	buf_free(&items);
	arena_free(&a);
	return !p.bad;
}

bool
hstore_text(struct cursor *c, struct buf *out)
{
	uint64_t left = 0;

	for (int comma = 0; compound_next(c, &left); comma = 1) {
		if (comma)
			buf_text(out, ", ");
		buf_quoted(out, cursor_avro_bytes(c));
		buf_text(out, "=>");
		if (cursor_long(c) == 1)
			buf_quoted(out, cursor_avro_bytes(c));
		else
			buf_text(out, "NULL");
	}
	return !c->bad;
}
