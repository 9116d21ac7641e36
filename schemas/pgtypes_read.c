/*
 * pgtypes_read.c - a column as PostgreSQL sent it, in binary or as text, into its value.
 *
 * Both forms of a type meet in the form that the server stores (pgtime.h, pgnumeric.h), and one
 * function per type goes on from there; so text and binary give the same value.
 */
#include "schemas/compound.h"
#include "schemas/pgtypes_impl.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/pgnumeric.h"
#include "schemas/pgtime.h"

/* ---- stored form -> value ---- */

static struct slice
keep(struct arena *a, const char *from, const char *end)
{
	size_t n = (size_t)(end - from);
	char *p = arena_raw(a, n);

	memcpy(p, from, n);
	return (struct slice){ p, n };
}

static bool
give_int(int64_t i, struct value *out)
{
	*out = value_int(i);
	return true;
}

static bool
give_bool(bool v, struct value *out)
{
	*out = (struct value){ .kind = V_BOOL, .i = v };
	return true;
}

static bool
give_string(struct slice s, struct value *out)
{
	*out = value_string(s);
	return true;
}

/* One NaN for all, so that equal values have equal bits. */
static bool
give_real(uint8_t kind, double d, struct value *out)
{
	*out = (struct value){ .kind = kind, .d = isnan(d) ? (double)NAN : d };
	return true;
}

/* How many of its units make a second; 0: ISO text. In the default form the column's own precision says it. */
static int32_t
unit_of(const struct wire_type *w, bool ms)
{
	if (w->plain)
		return pgtype_meaning(w).per_second;
	return ms ? 1000 : 1000000;
}

static bool
give_date(const struct wire_type *w, int64_t days, struct arena *a, struct value *out)
{
	bool infinite = days == INT32_MAX || days == INT32_MIN;
	char tmp[PGTIME_TEXT_MAX];

	if (!pgtime_date_ok(days))
		return false;
	if (w->wire != W_STRING)
		*out = value_int(!infinite ? days + PG_EPOCH_DAYS : days < 0 ? MINUS_INFINITY_DAYS : INFINITY_DAYS);
	else if (infinite)
		*out = value_string(days < 0 ? SLICE_LIT(MINUS_INFINITY_DATE_ISO) : SLICE_LIT(INFINITY_DATE_ISO));
	else
		*out = value_string(keep(a, tmp, pgtime_put_iso_date(tmp, (int32_t)days)));
	if (infinite)
		out->exact = keep(a, tmp, pgtime_put_date(tmp, (int32_t)days));
	return true;
}

static bool
give_time(const struct wire_type *w, int64_t us, struct arena *a, struct value *out)
{
	int32_t per_second = unit_of(w, w->wire == W_INT32);
	char tmp[PGTIME_TEXT_MAX];

	if (us < 0 || us > PG_DAY_US)
		return false;
	switch (per_second) {
	case 0: /* to Java, the end of a day is its beginning */
		*out = value_string(keep(a, tmp, pgtime_put_iso_timetz(tmp, &(struct pg_timetz){ us % PG_DAY_US, 0 })));
		break;
	case 1000: *out = value_int(us / 1000); break;
	case 1000000: *out = value_int(us); break;
	default: *out = value_int(us * 1000); break;
	}
	if ((per_second == 1000 && us % 1000) || (per_second == 0 && us == PG_DAY_US))
		out->exact = keep(a, tmp, pgtime_put_time(tmp, us));
	return true;
}

static int64_t
floor_div(int64_t v, int64_t by)
{
	return v / by - (v % by < 0);
}

static bool
give_iso_timestamp(int64_t us, struct arena *a, struct value *out)
{
	char tmp[PGTIME_TEXT_MAX];

	if (us == INT64_MAX || us == INT64_MIN)
		*out = value_string(us < 0 ? SLICE_LIT(MINUS_INFINITY_ISO) : SLICE_LIT(INFINITY_ISO));
	else
		*out = value_string(keep(a, tmp, pgtime_put_iso(tmp, us, 0)));
	return true;
}

/* From 1677 to 2262; what is outside is NULL to Debezium, but for infinity. */
static bool
give_nano_timestamp(int64_t us, struct arena *a, struct value *out)
{
	char tmp[PGTIME_TEXT_MAX];
	int64_t v;

	if (us == INT64_MAX || us == INT64_MIN)
		return give_int(us, out);
	if (!__builtin_add_overflow(us, PG_EPOCH_US, &v) && !__builtin_mul_overflow(v, 1000, &v)) {
		*out = value_int(v);
		return true;
	}
	*out = value_null();
	out->exact = keep(a, tmp, pgtime_put_timestamp(tmp, us, false));
	return true;
}

/*
 * The last 55 years of PostgreSQL's range (from 294247) pass 64 bits when counted from 1970, and
 * two finite moments there are Debezium's numbers for infinity: those are exact by their text only.
 */
static bool
give_timestamp(const struct pg_type *t, const struct wire_type *w, int64_t us, struct arena *a, struct value *out)
{
	int32_t per_second = unit_of(w, t->typmod >= 0 && t->typmod <= 3);
	int64_t unit = per_second == 1000 ? 1000 : 1, v;
	bool lost;
	char tmp[PGTIME_TEXT_MAX];

	if (!pgtime_timestamp_ok(us))
		return false;
	if (per_second == 0)
		return give_iso_timestamp(us, a, out);
	if (per_second == 1000000000)
		return give_nano_timestamp(us, a, out);
	if ((us == INT64_MAX || us == INT64_MIN) && w->plain && unit == 1)
		return give_int(us, out);
	if (us == INT64_MAX || us == INT64_MIN)
		return give_int((us < 0 ? MINUS_INFINITY_US : INFINITY_US) / unit, out);
	lost = __builtin_add_overflow(floor_div(us, unit), PG_EPOCH_US / unit, &v);
	if (lost)
		v = INT64_MAX;
	*out = value_int(v);
	if (lost || v == INFINITY_US / unit || v == INT64_MAX || us % unit)
		out->exact = keep(a, tmp, pgtime_put_timestamp(tmp, us, false));
	return true;
}

/* Debezium prints as many digits of the fraction as the column has: six where none are declared. */
static bool
give_timestamptz(const struct pg_type *t, int64_t us, struct arena *a, struct value *out)
{
	int digits = t->typmod >= 0 && t->typmod <= 6 ? t->typmod : 6;
	static const int32_t unit[] = { 1000000, 100000, 10000, 1000, 100, 10, 1 };
	char tmp[PGTIME_TEXT_MAX];

	if (!pgtime_timestamp_ok(us))
		return false;
	*out = value_string(keep(a, tmp, pgtime_put_iso(tmp, us, digits)));
	if (digits && us % unit[digits] && us != INT64_MAX && us != INT64_MIN)
		out->exact = keep(a, tmp, pgtime_put_timestamp(tmp, us, true));
	return true;
}

static bool
give_timetz(const struct pg_timetz *v, struct arena *a, struct value *out)
{
	char tmp[PGTIME_TEXT_MAX];

	if (v->us < 0 || v->us > PG_DAY_US || v->west <= -16 * 3600 || v->west >= 16 * 3600)
		return false;
	*out = value_string(keep(a, tmp, pgtime_put_iso_timetz(tmp, v)));
	if (v->west)
		out->exact = keep(a, tmp, pgtime_put_timetz(tmp, v));
	return true;
}

/* As Debezium's interval.handling.mode=string writes it: every part, P1Y2M3DT4H5M6.78S. */
static struct slice
interval_iso(const struct pg_interval *v, struct arena *a)
{
	int64_t seconds = v->us / 1000000, us = v->us % 1000000;
	char fraction[16] = "";
	size_t n;

	if (us) {
		snprintf(fraction, sizeof fraction, ".%06d", abs((int)us));
		for (n = strlen(fraction); fraction[n - 1] == '0'; n--)
			fraction[n - 1] = '\0';
	}
	return slice_of(arena_printf(a, "P%dY%dM%dDT%lldH%dM%s%d%sS", v->months / 12, v->months % 12, v->days, (long long)(seconds / 3600),
	    (int)(seconds % 3600 / 60), us < 0 && seconds % 60 == 0 ? "-" : "", (int)(seconds % 60), fraction));
}

static bool
give_interval(const struct wire_type *w, const struct pg_interval *v, struct arena *a, struct value *out)
{
	char tmp[PGTIME_TEXT_MAX];
	int64_t us;
	bool fits = pgtime_interval_us(v, &us);

	if (w->wire == W_STRING) {
		*out = value_string(interval_iso(v, a));
		out->exact = keep(a, tmp, pgtime_put_interval(tmp, v));
		return true;
	}
	*out = value_int(us);
	if (!fits || v->months || v->days)
		out->exact = keep(a, tmp, pgtime_put_interval(tmp, v));
	return true;
}

/* Of a decimal's text, in another mode. A double is the nearest one, and even then not the text: 1.10. */
static void
give_decimal(const struct wire_type *w, struct slice text, struct value *out)
{
	char *end;

	*out = value_string(text);
	if (w->wire != W_DOUBLE)
		return;
	*out = (struct value){ .kind = V_DOUBLE, .d = strtod(text.p, &end), .exact = text };
}

/* Java's words for them. */
static struct slice
not_finite(const struct pg_numeric *n)
{
	if (n->class == NUM_NAN)
		return SLICE_LIT("NAN");
	return n->neg ? SLICE_LIT("NEGATIVE_INFINITY") : SLICE_LIT("POSITIVE_INFINITY");
}

static bool
give_numeric_as(const struct wire_type *w, const struct pg_numeric *n, struct arena *a, struct value *out)
{
	struct slice text = slice_of(arena_text(a, pgnumeric_text(n, a))); /* strtod wants its end */

	if (n->class != NUM_FINITE && w->wire == W_STRING) {
		*out = value_string(not_finite(n));
		out->exact = text;
	} else if (n->class == NUM_NAN) {
		*out = (struct value){ .kind = V_DOUBLE, .d = (double)NAN, .exact = text };
	} else {
		give_decimal(w, text, out);
	}
	return true;
}

static bool
give_numeric(const struct wire_type *w, struct pg_numeric *n, struct arena *a, struct value *out)
{
	struct pg_numeric shown = *n;
	bool same;

	if (w->wire == W_STRING || w->wire == W_DOUBLE)
		return give_numeric_as(w, n, a, out);
	if (n->class != NUM_FINITE) {
		*out = value_null();
		out->exact = pgnumeric_text(n, a);
		return true;
	}
	if (w->wire == W_VARDECIMAL) {
		pgnumeric_strip(n);
		*out = (struct value){ .kind = V_DECIMAL, .scale = n->scale };
		same = n->scale == shown.scale;
	} else {
		same = pgnumeric_rescale(n, w->scale, a) && n->scale == shown.scale;
		*out = (struct value){ .kind = V_BYTES };
	}
	out->s = pgnumeric_bytes(n, a);
	if (!same)
		out->exact = pgnumeric_text(&shown, a);
	return true;
}

static bool
give_bytes(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	*out = w->coded ? value_string(pgtype_encode(w->coded, s, a)) : (struct value){ .kind = V_BYTES, .s = s };
	return true;
}

/* With fewer digits than two the nearest, as Debezium; half goes away from zero. */
static bool
give_money(const struct wire_type *w, int64_t cents, struct arena *a, struct value *out)
{
	int64_t unit = w->scale == 0 ? 100 : w->scale == 1 ? 10 : 1;
	struct pg_numeric n, shown;

	pgnumeric_from_int(cents, &shown);
	shown.scale = 2;
	if (w->wire == W_STRING || w->wire == W_DOUBLE)
		return give_numeric_as(w, &shown, a, out);
	pgnumeric_from_int(cents / unit + cents % unit * 2 / unit, &n);
	n.scale = w->scale < 2 ? w->scale : 2;
	(void)pgnumeric_rescale(&n, w->scale, a);
	*out = (struct value){ .kind = V_BYTES, .s = pgnumeric_bytes(&n, a) };
	if (w->scale != 2)
		out->exact = pgnumeric_text(&shown, a);
	return true;
}

/* ---- bits: most significant first at PostgreSQL, a little-endian bit set at Debezium ---- */

struct bits {
	const char *text; /* "0101", or */
	const uint8_t *bytes; /* eight to a byte from the left */
	size_t n;
};

static bool
bit_at(const struct bits *b, size_t i)
{
	return b->text ? b->text[i] == '1' : b->bytes[i / 8] >> (7 - i % 8) & 1;
}

/* "b" alone is an empty bit string to PostgreSQL; an empty text would say that there is none. */
static struct slice
bits_text(const struct bits *b, struct arena *a)
{
	char *p;

	if (b->n == 0)
		return SLICE_LIT("b");
	p = arena_raw(a, b->n);
	for (size_t i = 0; i < b->n; i++)
		p[i] = (char)('0' + bit_at(b, i));
	return (struct slice){ p, b->n };
}

/*
 * Zero bytes at the end are dropped as Debezium does it, so the set tells the length only together
 * with the column's: with a fixed length every bit is printed again, without one those from the
 * highest set bit down.
 */
static bool
give_bits(const struct wire_type *w, const struct bits *b, struct arena *a, struct value *out)
{
	size_t first = 0, n;
	uint8_t *p;

	if (w->wire == W_BOOL) {
		*out = (struct value){ .kind = V_BOOL, .i = b->n && bit_at(b, b->n - 1) };
		if (b->n != 1)
			out->exact = bits_text(b, a);
		return true;
	}
	while (first < b->n && !bit_at(b, first))
		first++;
	n = b->n - first;
	p = arena_alloc(a, (n + 7) / 8);
	for (size_t i = 0; i < n; i++)
		if (bit_at(b, b->n - 1 - i))
			p[i / 8] |= (uint8_t)(1 << i % 8);
	*out = (struct value){ .kind = V_BYTES, .s = { (const char *)p, (n + 7) / 8 } };
	if (w->length > 0 && w->length < INT_MAX ? b->n != (size_t)w->length
						 : first > 0 || b->n == 0)
		out->exact = bits_text(b, a);
	return true;
}

/* ---- binary ---- */

static bool
recv_timetz(struct slice s, struct arena *a, struct value *out)
{
	struct pg_timetz v;

	if (s.n != 12)
		return false;
	v = (struct pg_timetz){ (int64_t)be64(s.p), (int32_t)be32(s.p + 8) };
	return give_timetz(&v, a, out);
}

static bool
recv_interval(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct pg_interval v;

	if (s.n != 16)
		return false;
	v = (struct pg_interval){ (int64_t)be64(s.p), (int32_t)be32(s.p + 8),
		(int32_t)be32(s.p + 12) };
	return give_interval(w, &v, a, out);
}

static bool
recv_numeric(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct pg_numeric n;

	return pgnumeric_recv(s, a, &n) && give_numeric(w, &n, a, out);
}

static bool
recv_bits(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct bits b = { 0 };

	if (s.n < 4 || be32(s.p) > INT_MAX)
		return false;
	b.n = be32(s.p);
	b.bytes = (const uint8_t *)s.p + 4;
	return s.n - 4 == (b.n + 7) / 8 && give_bits(w, &b, a, out);
}

static bool
recv_uuid(struct slice s, struct arena *a, struct value *out)
{
	static const char hex[] = "0123456789abcdef";
	char *p, *q;

	if (s.n != 16)
		return false;
	p = q = arena_raw(a, 36);
	for (size_t i = 0; i < 16; i++) {
		uint8_t b = (uint8_t)s.p[i];

		*q++ = hex[b >> 4];
		*q++ = hex[b & 15];
		if (i == 3 || i == 5 || i == 7 || i == 9)
			*q++ = '-';
	}
	return give_string((struct slice){ p, 36 }, out);
}

/* "char": a byte of its own; 0 is the empty text, and beyond ASCII PostgreSQL 16 prints \ooo. */
static bool
recv_char(struct slice s, struct arena *a, struct value *out)
{
	uint8_t b;

	if (s.n != 1)
		return false;
	b = (uint8_t)*s.p;
	if (b == 0)
		s.n = 0;
	else if (b >= 0x80)
		s = slice_of(arena_printf(a, "\\%o", b));
	return give_string(s, out);
}

static double
real_of(uint64_t bits, bool is_double)
{
	uint32_t half = (uint32_t)bits;
	double d;
	float f;

	memcpy(&d, &bits, 8);
	memcpy(&f, &half, 4);
	return is_double ? d : (double)f;
}

static bool
recv_moment(const struct pg_type *t, const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	int64_t us;

	if (s.n != 8)
		return false;
	us = (int64_t)be64(s.p);
	switch (t->oid) {
	case PG_TIMESTAMP:
		return give_timestamp(t, w, us, a, out);
	case PG_TIMESTAMPTZ:
		return give_timestamptz(t, us, a, out);
	case PG_TIME:
		return give_time(w, us, a, out);
	default:
		return give_money(w, us, a, out);
	}
}

static bool
read_binary(const struct pg_type *t, const struct wire_type *w, struct slice s, struct arena *a,
    struct value *out)
{
	switch (t->oid) {
	case PG_INT4:
		return s.n == 4 && give_int((int32_t)be32(s.p), out);
	case PG_INT8:
		return s.n == 8 && give_int((int64_t)be64(s.p), out);
	case PG_TEXT:
	case PG_VARCHAR:
	case PG_BPCHAR:
	case PG_NAME:
	case PG_JSON:
	case PG_XML:
		return give_string(s, out);
	case PG_NUMERIC:
		return recv_numeric(w, s, a, out);
	case PG_TIMESTAMP:
	case PG_TIMESTAMPTZ:
	case PG_TIME:
	case PG_MONEY:
		return recv_moment(t, w, s, a, out);
	case PG_BOOL:
		return s.n == 1 && (uint8_t)*s.p <= 1 && give_bool(*s.p, out);
	case PG_INT2:
		return s.n == 2 && give_int((int16_t)be16(s.p), out);
	case PG_OID:
		return s.n == 4 && give_int(be32(s.p), out);
	case PG_FLOAT4:
		return s.n == 4 && give_real(V_FLOAT, real_of(be32(s.p), false), out);
	case PG_FLOAT8:
		return s.n == 8 && give_real(V_DOUBLE, real_of(be64(s.p), true), out);
	case PG_DATE:
		return s.n == 4 && give_date(w, (int32_t)be32(s.p), a, out);
	case PG_BYTEA:
		return give_bytes(w, s, a, out);
	case PG_UUID:
		return recv_uuid(s, a, out);
	case PG_JSONB:
		return s.n >= 1 && *s.p == 1
		    && give_string((struct slice){ s.p + 1, s.n - 1 }, out);
	case PG_INTERVAL:
		return recv_interval(w, s, a, out);
	case PG_TIMETZ:
		return recv_timetz(s, a, out);
	case PG_BIT:
	case PG_VARBIT:
		return recv_bits(w, s, a, out);
	case PG_CHAR:
		return recv_char(s, a, out);
	default:
		return t->typtype == 'e' && give_string(s, out);
	}
}

/* ---- text ---- */

static bool
parse_int(struct slice s, int64_t min, int64_t max, struct value *out)
{
	bool minus = s.n && *s.p == '-';
	uint64_t v = 0, limit = minus ? 0 - (uint64_t)min : (uint64_t)max;
	size_t i = minus;

	if (i == s.n || s.n - i > 19)
		return false;
	for (; i < s.n; i++) {
		unsigned d = (unsigned)(unsigned char)s.p[i] - '0';

		if (d > 9)
			return false;
		v = v * 10 + d;
	}
	return v <= limit && give_int((int64_t)(minus ? 0 - v : v), out);
}

bool
pgtype_read_real(struct slice s, uint8_t kind, struct value *out)
{
	char tmp[64], *end;

	if (s.n == 0 || s.n >= sizeof tmp)
		return false;
	memcpy(tmp, s.p, s.n);
	tmp[s.n] = '\0';
	if (strcmp(tmp, "NaN") == 0)
		return give_real(kind, (double)NAN, out);
	if (strspn(tmp, "0123456789+-.eE") != s.n && strcmp(tmp, "Infinity") != 0
	    && strcmp(tmp, "-Infinity") != 0)
		return false;
	return give_real(kind, kind == V_FLOAT ? (double)strtof(tmp, &end) : strtod(tmp, &end), out)
	    && *end == '\0';
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
parse_bytea(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	size_t n = (s.n - 2) / 2;
	char *p;

	if (s.n < 2 || s.n % 2 || s.p[0] != '\\' || s.p[1] != 'x')
		return false;
	p = arena_raw(a, n);
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(s.p[2 + 2 * i]), low = hex_digit(s.p[3 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		p[i] = (char)(high << 4 | low);
	}
	return give_bytes(w, (struct slice){ p, n }, a, out);
}

/* "-$1,234.56", "(1.234,56 EUR)": the locale's signs are not known, so the last separator with two
 * digits behind it is the point. */
static bool
parse_money(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	bool minus = false;
	int behind = -1, digits = 0;
	__int128 v = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned)(unsigned char)s.p[i] - '0';

		if (d <= 9) {
			if (++digits > 24)
				return false;
			v = v * 10 + d;
			behind += behind >= 0;
		} else if (s.p[i] == '.' || s.p[i] == ',')
			behind = digits ? 0 : -1;
		else if (s.p[i] == '-' || s.p[i] == '(')
			minus = true;
	}
	if (behind != 2)
		v *= 100;
	if (minus)
		v = -v;
	return digits && v >= INT64_MIN && v <= INT64_MAX && give_money(w, (int64_t)v, a, out);
}

static bool
parse_bits(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct bits b = { .text = s.p ? s.p : "", .n = s.n };

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '0' && s.p[i] != '1')
			return false;
	return give_bits(w, &b, a, out);
}

/* Servers before 16 print the byte itself. */
static bool
parse_char(struct slice s, struct arena *a, struct value *out)
{
	if (s.n == 1)
		return recv_char(s, a, out);
	if (s.n
	    && (s.n != 4 || s.p[0] != '\\' || s.p[1] < '2' || s.p[1] > '3' || (s.p[2] & ~7) != '0'
		|| (s.p[3] & ~7) != '0'))
		return false;
	return give_string(s, out);
}

static bool
parse_uuid(struct slice s, struct value *out)
{
	if (s.n != 36)
		return false;
	for (size_t i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s.p[i] != '-' : hex_digit(s.p[i]) < 0)
			return false;
	return give_string(s, out);
}

static bool
parse_numeric(const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct pg_numeric n;

	return pgnumeric_parse(s, a, &n) && give_numeric(w, &n, a, out);
}

static bool
parse_time(const struct pg_type *t, const struct wire_type *w, struct slice s, struct arena *a, struct value *out)
{
	struct pg_interval interval;
	struct pg_timetz timetz;
	int64_t us;
	int32_t days;

	switch (t->oid) {
	case PG_DATE:
		return pgtime_date_parse(s, &days) && give_date(w, days, a, out);
	case PG_TIME:
		return pgtime_time_parse(s, &us) && give_time(w, us, a, out);
	case PG_TIMETZ:
		return pgtime_timetz_parse(s, &timetz) && give_timetz(&timetz, a, out);
	case PG_TIMESTAMP:
		return pgtime_timestamp_parse(s, &us) && give_timestamp(t, w, us, a, out);
	case PG_TIMESTAMPTZ:
		return pgtime_timestamp_parse(s, &us) && give_timestamptz(t, us, a, out);
	default:
		return pgtime_interval_parse(s, &interval) && give_interval(w, &interval, a, out);
	}
}

bool
pgtype_read_text(const struct pg_type *t, const struct wire_type *w, struct slice s,
    struct arena *a, struct value *out)
{
	switch (t->oid) {
	case PG_INT4:
		return parse_int(s, INT32_MIN, INT32_MAX, out);
	case PG_INT8:
		return parse_int(s, INT64_MIN, INT64_MAX, out);
	case PG_INT2:
		return parse_int(s, INT16_MIN, INT16_MAX, out);
	case PG_OID:
		return parse_int(s, 0, UINT32_MAX, out);
	case PG_BOOL:
		return s.n == 1 && (*s.p == 't' || *s.p == 'f') && give_bool(*s.p == 't', out);
	case PG_FLOAT4:
		return pgtype_read_real(s, V_FLOAT, out);
	case PG_FLOAT8:
		return pgtype_read_real(s, V_DOUBLE, out);
	case PG_NUMERIC:
		return parse_numeric(w, s, a, out);
	case PG_DATE:
	case PG_TIME:
	case PG_TIMETZ:
	case PG_TIMESTAMP:
	case PG_TIMESTAMPTZ:
	case PG_INTERVAL:
		return parse_time(t, w, s, a, out);
	case PG_BYTEA:
		return parse_bytea(w, s, a, out);
	case PG_MONEY:
		return parse_money(w, s, a, out);
	case PG_BIT:
	case PG_VARBIT:
		return parse_bits(w, s, a, out);
	case PG_CHAR:
		return parse_char(s, a, out);
	case PG_UUID:
		return parse_uuid(s, out);
	case PG_JSON:
	case PG_JSONB:
		return give_string(s, out);
	default: /* of the types without a fixed oid only hstore is Json */
		if (w->wire == W_COMPOUND)
			return compound_read(w->compound, t->oid, s, a, out);
		if (w->semantic && strcmp(w->semantic, "io.debezium.data.Json") == 0)
			return pgtype_read_hstore(s, a, out);
		return give_string(s, out);
	}
}

enum rc
pgtype_read(const struct pg_type *t, const struct wire_type *w, bool binary, struct slice data,
    struct arena *a, struct value *out, struct err *err)
{
	bool ok;

	if (binary)
		ok = read_binary(t, w, data, a, out);
	else if (w->wire == W_ARRAY)
		ok = pgtype_read_array(t, w, data, a, out);
	else
		ok = pgtype_read_text(t, w, data, a, out);
	if (ok)
		return OK;
	return fail(err, REJECT, "malformed %s value of %zu bytes for type %s",
	    binary ? "binary" : "text", data.n, t->name);
}
