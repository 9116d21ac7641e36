#include "schemas/lite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum affinity
lite_affinity(const char *declared)
{
	static const struct {
		const char *part;
		enum affinity affinity;
	} rules[] = { { "INT", AFFINITY_INTEGER }, { "CHAR", AFFINITY_TEXT }, { "CLOB", AFFINITY_TEXT }, { "TEXT", AFFINITY_TEXT },
		{ "BLOB", AFFINITY_BLOB }, { "REAL", AFFINITY_REAL }, { "FLOA", AFFINITY_REAL }, { "DOUB", AFFINITY_REAL } };

	if (!*declared)
		return AFFINITY_BLOB;
	for (size_t i = 0; i < COUNTOF(rules); i++)
		if (strcasestr(declared, rules[i].part))
			return rules[i].affinity;
	return AFFINITY_NUMERIC;
}

/* Strict UTF-8 (RFC 3629): no surrogates, nothing overlong. */
static bool
is_utf8(struct slice s)
{
	for (size_t i = 0; i < s.n;) {
		uint8_t c = (uint8_t)s.p[i];
		size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
		uint32_t v = more == 0 ? c : more == 1 ? c & 0x1f : more == 2 ? c & 0x0f : c & 0x07;

		if (more == 9 || s.n - i <= more)
			return false;
		for (size_t k = 1; k <= more; k++) {
			if ((s.p[i + k] & 0xc0) != 0x80)
				return false;
			v = v << 6 | (s.p[i + k] & 0x3f);
		}
		if ((more == 2 && v < 0x800) || (v >= 0xd800 && v < 0xe000) || (more == 3 && (v < 0x10000 || v > 0x10ffff)))
			return false;
		i += more + 1;
	}
	return true;
}

static struct slice
hex_of(struct slice s, struct arena *a)
{
	static const char digits[] = "0123456789abcdef";
	char *p = arena_raw(a, 2 * s.n + 2);

	p[0] = '\\';
	p[1] = 'x';
	for (size_t i = 0; i < s.n; i++) {
		p[2 + 2 * i] = digits[(uint8_t)s.p[i] >> 4];
		p[3 + 2 * i] = digits[(uint8_t)s.p[i] & 15];
	}
	return (struct slice){ p, 2 * s.n + 2 };
}

static int
nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
unhex(struct slice s, struct arena *a, struct slice *out)
{
	char *p;

	if (s.n < 2 || s.n % 2 || s.p[0] != '\\' || s.p[1] != 'x')
		return false;
	p = arena_raw(a, s.n / 2);
	for (size_t i = 2; i < s.n; i += 2) {
		int high = nibble(s.p[i]), low = nibble(s.p[i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i / 2 - 1] = (char)(high << 4 | low);
	}
	*out = (struct slice){ p, s.n / 2 - 1 };
	return true;
}

static struct slice
exact_of(char class, struct slice rest, struct arena *a)
{
	char *p = arena_raw(a, rest.n + 2);

	p[0] = LITE_MARK;
	p[1] = class;
	if (rest.n)
		memcpy(p + 2, rest.p, rest.n);
	return (struct slice){ p, rest.n + 2 };
}

const char *
lite_class_name(char class)
{
	switch (class) {
	case LITE_INTEGER: return "an integer";
	case LITE_REAL: return "a real";
	case LITE_BLOB: return "a blob";
	default: return "a text";
	}
}

struct value
lite_value(enum wire wire, char class, struct slice s, struct arena *a)
{
	static const struct slice none = { "", 0 };
	char c = class == LITE_TEXT && wire != W_BYTES && !is_utf8(s) ? LITE_OCTETS : class;
	bool opaque = c == LITE_BLOB || c == LITE_OCTETS;

	if (wire == W_STRING) {
		struct value v = value_string(opaque ? hex_of(s, a) : s);

		if (c != LITE_TEXT)
			v.exact = exact_of(c, none, a);
		return v;
	}
	if (wire == W_BYTES) {
		struct value v = { .kind = V_BYTES, .s = s };

		if (c != LITE_BLOB)
			v.exact = exact_of(c, none, a);
		return v;
	}
	return (struct value){ .kind = V_NULL, .exact = exact_of(c, opaque ? hex_of(s, a) : s, a) };
}

enum rc
lite_class(const struct value *v, struct arena *a, char *class, struct slice *s, struct err *err)
{
	bool opaque, good = true;

	*class = v->exact.p[1];
	opaque = *class == LITE_BLOB || *class == LITE_OCTETS;
	if (v->kind == V_STRING || v->kind == V_BYTES)
		*s = v->s;
	else
		*s = (struct slice){ v->exact.p + 2, v->exact.n - 2 };
	if (opaque && v->kind != V_BYTES)
		good = unhex(*s, a, s);
	if (!good || !memchr("irtbo", *class, 5))
		return fail(err, REJECT, "a value of a SQLite source is malformed: storage class '%c'", *class);
	return OK;
}

struct slice
lite_real_text(double d, struct arena *a)
{
	char text[40];

	if (isinf(d))
		return d < 0 ? SLICE_LIT("-Inf") : SLICE_LIT("Inf");
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, d);
		if (strtod(text, NULL) == d)
			break;
	}
	return slice_of(arena_printf(a, "%s%s", text, strpbrk(text, ".e") ? "" : ".0"));
}
