/*
 * pgtypes_array.c - the composite texts: arrays into Avro, hstore into JSON.
 *
 * An array's text is "{1,NULL,\"a \\\"b\\\"\"}"; more dimensions nest the braces, lower bounds
 * other than 1 stand in front ("[0:1]={1,2}"). In Avro it is one block of ["null", item]: count,
 * items, 0. Dimensions are flattened there, as Debezium does; what that loses is kept by the text
 * in `exact`.
 */
#include "schemas/pgtypes_impl.h"

/* Bytes that grow in an arena. What it outgrows stays behind until the arena is reset. */
struct out {
	struct arena *a;
	char *p;
	size_t n, cap;
};

static char *
room(struct out *o, size_t n)
{
	if (o->cap - o->n < n) {
		size_t cap = o->cap * 2 > o->n + n ? o->cap * 2 : o->n + n;
		char *p = arena_raw(o->a, cap);

		if (o->n)
			memcpy(p, o->p, o->n);
		o->p = p;
		o->cap = cap;
	}
	return o->p + o->n;
}

static void
put_byte(struct out *o, uint8_t b)
{
	*room(o, 1) = (char)b;
	o->n++;
}

static void
put_bytes(struct out *o, const void *p, size_t n)
{
	if (n)
		memcpy(room(o, n), p, n);
	o->n += n;
}

/* Avro's long at p, which has room for 10 bytes; returns its length. */
static size_t
long_at(char *p, int64_t i)
{
	uint64_t v = ((uint64_t)i << 1) ^ (uint64_t)(i >> 63);
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (char)(v | 0x80);
	p[n++] = (char)v;
	return n;
}

static void
put_long(struct out *o, int64_t i)
{
	o->n += long_at(room(o, 10), i);
}

/* Avro's floats are little-endian. */
static void
put_real(struct out *o, const struct value *v)
{
	float f = (float)v->d;
	uint64_t bits = 0;
	size_t n = v->kind == V_FLOAT ? 4 : 8;

	if (v->kind == V_FLOAT)
		memcpy(&bits, &f, 4);
	else
		memcpy(&bits, &v->d, 8);
	for (size_t i = 0; i < n; i++)
		put_byte(o, (uint8_t)(bits >> 8 * i));
}

static void
put_item(struct out *o, const struct value *v)
{
	put_byte(o, v->kind == V_NULL ? 0 : 2);
	switch ((enum value_kind)v->kind) {
	case V_NULL:
	case V_ABSENT:
		break;
	case V_AVRO: /* a structure: no array has arrays as elements */
		put_bytes(o, v->s.p, v->s.n);
		break;
	case V_BOOL:
		put_byte(o, v->i != 0);
		break;
	case V_INT:
		put_long(o, v->i);
		break;
	case V_FLOAT:
	case V_DOUBLE:
		put_real(o, v);
		break;
	case V_DECIMAL:
		put_long(o, v->scale);
		put_long(o, (int64_t)v->s.n);
		put_bytes(o, v->s.p, v->s.n);
		break;
	case V_BYTES:
	case V_STRING:
		put_long(o, (int64_t)v->s.n);
		put_bytes(o, v->s.p, v->s.n);
		break;
	}
}

/* A quoted text, the opening quote already passed: a backslash takes what follows as it is. False:
 * it does not end. */
static bool
take_quoted(const char **at, const char *end, struct arena *a, struct slice *out)
{
	const char *p = *at, *from = p;
	char *copy, *q;

	while (p < end && *p != '"')
		p += *p == '\\' ? 2 : 1;
	if (p >= end)
		return false;
	*at = p + 1;
	*out = (struct slice){ from, (size_t)(p - from) };
	if (!memchr(from, '\\', out->n))
		return true;
	copy = q = arena_raw(a, out->n);
	while (from < p) {
		from += *from == '\\';
		*q++ = *from++;
	}
	*out = (struct slice){ copy, (size_t)(q - copy) };
	return true;
}

static bool
is_null_word(struct slice s)
{
	return s.n == 4 && (s.p[0] | 32) == 'n' && (s.p[1] | 32) == 'u' && (s.p[2] | 32) == 'l'
	    && (s.p[3] | 32) == 'l';
}

/* ---- arrays ---- */

enum { DIMS_MAX = 6 };

struct array {
	const char *p, *end;
	struct arena *a;
	struct pg_type item;
	const struct wire_type *wire;
	struct out out;
	int64_t count;
	bool plain; /* one dimension from 1, and no element says more than its Avro form */
};

/* An element at its first byte. */
static bool
take_element(struct array *ar)
{
	struct value v = value_null();
	struct slice s;

	if (*ar->p == '"') {
		ar->p++;
		if (!take_quoted(&ar->p, ar->end, ar->a, &s))
			return false;
	} else {
		s.p = ar->p;
		while (ar->p < ar->end && *ar->p != ',' && *ar->p != '}') {
			if (*ar->p == '{' || *ar->p == '"' || *ar->p == '\\')
				return false;
			ar->p++;
		}
		s.n = (size_t)(ar->p - s.p);
		if (s.n == 0)
			return false;
		if (is_null_word(s))
			s.p = NULL;
	}
	if (s.p && !pgtype_read_text(&ar->item, ar->wire, s, ar->a, &v))
		return false;
	ar->plain &= v.exact.n == 0;
	put_item(&ar->out, &v);
	ar->count++;
	return true;
}

/* From the first brace to the end. After an element or a closing brace only "," or "}" may come,
 * else an element or "{". */
static bool
take_array(struct array *ar)
{
	bool after = false;
	int depth = 0;

	do {
		if (ar->p == ar->end)
			return false;
		if (*ar->p == '{' && !after) {
			if (++depth > DIMS_MAX)
				return false;
			ar->plain &= depth == 1;
			ar->p++;
			if (ar->p < ar->end && *ar->p == '}')
				after = true;
		} else if (*ar->p == '}' && after) {
			depth--;
			ar->p++;
		} else if (*ar->p == ',' && after) {
			ar->p++;
			after = false;
		} else if (after || depth == 0 || !take_element(ar))
			return false;
		else
			after = true;
	} while (depth > 0);
	return ar->p == ar->end;
}

bool
pgtype_read_array(const struct pg_type *t, const struct wire_type *w, struct slice s,
    struct arena *a, struct value *out)
{
	struct array ar = { .p = s.p, .end = s.p + s.n, .a = a, .wire = w->item, .plain = true };
	char head[10];
	size_t n;

	if (!t->item || !w->item || s.n < 2)
		return false;
	ar.item = *t->item;
	if (ar.item.typmod < 0)
		ar.item.typmod = t->typmod;
	if (*s.p == '[') {
		const char *eq = memchr(s.p, '=', s.n);

		if (!eq)
			return false;
		ar.p = eq + 1;
		ar.plain = false;
	}
	/* Ten bytes in front for the count, which is known at the end. */
	ar.out =
	    (struct out){ .a = a, .p = arena_raw(a, s.n + 64), .n = sizeof head, .cap = s.n + 64 };
	if (!take_array(&ar))
		return false;
	if (ar.count)
		put_byte(&ar.out, 0);
	n = long_at(head, ar.count);
	memcpy(ar.out.p + sizeof head - n, head, n);
	*out = (struct value){ .kind = V_AVRO,
		.s = { ar.out.p + sizeof head - n, ar.out.n - sizeof head + n } };
	if (!ar.plain)
		out->exact = s;
	return true;
}

/* ---- hstore ---- */

/* As Jackson escapes, with which Debezium writes it. */
static void
put_json(struct out *o, struct slice s)
{
	static const char escaped[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
	static const char hex[] = "0123456789ABCDEF";

	put_byte(o, '"');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];
		const char *e = c ? strchr(escaped, c) : NULL;

		if (e) {
			put_byte(o, '\\');
			put_byte(o, (uint8_t)letters[e - escaped]);
		} else if (c < 0x20) {
			put_bytes(o, "\\u00", 4);
			put_byte(o, (uint8_t)hex[c >> 4]);
			put_byte(o, (uint8_t)hex[c & 15]);
		} else
			put_byte(o, c);
	}
	put_byte(o, '"');
}

static bool
take_word(const char **at, const char *end, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(end - *at) < n || memcmp(*at, text, n) != 0)
		return false;
	*at += n;
	return true;
}

struct pairs
pgtype_pairs(struct slice text, struct arena *a)
{
	return (struct pairs){ .p = text.p, .end = text.p + text.n, .a = a };
}

/* "k"=>"v" or "k"=>NULL */
static bool
take_pair(struct pairs *p, struct slice *key, struct slice *value)
{
	*value = (struct slice){ NULL, 0 };
	if (!take_word(&p->p, p->end, "\"") || !take_quoted(&p->p, p->end, p->a, key) || !take_word(&p->p, p->end, "=>"))
		return false;
	return take_word(&p->p, p->end, "NULL") || (take_word(&p->p, p->end, "\"") && take_quoted(&p->p, p->end, p->a, value));
}

bool
pgtype_next_pair(struct pairs *p, struct slice *key, struct slice *value)
{
	if (p->p == p->end)
		return false;
	p->bad = (p->n > 0 && !take_word(&p->p, p->end, ", ")) || !take_pair(p, key, value);
	p->n++;
	if (p->bad)
		p->p = p->end;
	return !p->bad;
}

bool
pgtype_read_hstore(struct slice s, struct arena *a, struct value *out)
{
	struct pairs p = pgtype_pairs(s, a);
	struct slice key, value;
	struct out o = { .a = a, .p = arena_raw(a, s.n + 16), .cap = s.n + 16 };

	/* An empty one is the empty text, which `exact` cannot hold; a blank means the same. */
	if (s.n == 0 || slice_is(s, " ")) {
		*out = value_string(SLICE_LIT("{}"));
		out->exact = SLICE_LIT(" ");
		return true;
	}
	put_byte(&o, '{');
	while (pgtype_next_pair(&p, &key, &value)) {
		if (p.n > 1)
			put_byte(&o, ',');
		put_json(&o, key);
		put_byte(&o, ':');
		if (value.p)
			put_json(&o, value);
		else
			put_bytes(&o, "null", 4);
	}
	put_byte(&o, '}');
	*out = value_string((struct slice){ o.p, o.n });
	out->exact = s;
	return !p.bad;
}
