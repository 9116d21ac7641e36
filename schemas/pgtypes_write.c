/*
 * pgtypes_write.c - values into what a sink takes: PostgreSQL's input texts and its binary receive
 * forms.
 */
#include "schemas/compound.h"
#include "schemas/lite.h"
#include "schemas/pgtypes_impl.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/codec.h"
#include "schemas/pgnumeric.h"
#include "schemas/pgtime.h"

/* What PostgreSQL declares at most; a schema from outside may say anything. */
enum { BITS_MAX = 83886080 };

/* ---- value -> stored form; false: it has none ---- */

/* i in units of 1/per_second -> microseconds, rounded down. */
static bool
to_us(int64_t i, int32_t per_second, int64_t *us)
{
	if (per_second == 1000000000) {
		*us = i / 1000 - (i % 1000 < 0);
		return true;
	}
	return !__builtin_mul_overflow(i, (int64_t)(1000000 / per_second), us);
}

/* Java's ISO text with the zone Z at its end, which says nothing here. */
static struct slice
without_z(struct slice s)
{
	return s.n && s.p[s.n - 1] == 'Z' ? (struct slice){ s.p, s.n - 1 } : s;
}

static bool
date_of(const struct value *v, int32_t *days)
{
	int64_t d;

	if (v->kind == V_STRING && (slice_is(v->s, INFINITY_DATE_ISO) || slice_is(v->s, MINUS_INFINITY_DATE_ISO))) {
		*days = *v->s.p == '-' ? INT32_MIN : INT32_MAX;
		return true;
	}
	if (v->kind == V_STRING)
		return pgtime_date_parse(without_z(v->s), days);
	d = v->i;
	if (v->kind != V_INT)
		return false;
	if (d == INFINITY_DAYS || d == MINUS_INFINITY_DAYS)
		d = d < 0 ? INT32_MIN : INT32_MAX;
	if (d != INT32_MAX && d != INT32_MIN && __builtin_sub_overflow(d, PG_EPOCH_DAYS, &d))
		return false;
	*days = (int32_t)d;
	return pgtime_date_ok(d);
}

static bool
time_of(struct meaning m, const struct value *v, int64_t *us)
{
	if (v->kind == V_STRING)
		return pgtime_time_parse(without_z(v->s), us);
	return v->kind == V_INT && m.per_second && to_us(v->i, m.per_second, us) && *us >= 0 && *us <= PG_DAY_US;
}

static bool
iso_timestamp_of(struct slice s, int64_t *us)
{
	if (pgtime_timestamp_parse(s, us))
		return true;
	*us = s.n && *s.p == '-' ? INT64_MIN : INT64_MAX;
	return slice_is(s, INFINITY_ISO) || slice_is(s, MINUS_INFINITY_ISO);
}

static bool
timestamp_of(struct meaning m, const struct value *v, int64_t *us)
{
	int64_t unit;

	if (m.mean == MEAN_TIMESTAMPTZ)
		return v->kind == V_STRING && pgtime_timestamp_parse(v->s, us);
	if (m.per_second == 0)
		return v->kind == V_STRING && iso_timestamp_of(v->s, us);
	if (v->kind != V_INT)
		return false;
	unit = m.per_second == 1000 ? 1000 : 1;
	/* Debezium's snapshots have what its conversion saturates to, or the number of the driver as it is. */
	if (m.per_second != 1000000000
	    && (v->i == INFINITY_US / unit || v->i == MINUS_INFINITY_US / unit || v->i == INFINITY_US || v->i == MINUS_INFINITY_US
		|| (unit == 1 && (v->i == INT64_MAX || v->i == INT64_MIN)))) {
		*us = v->i > 0 ? INT64_MAX : INT64_MIN;
		return true;
	}
	if (m.per_second == 1000000000 && (v->i == INT64_MAX || v->i == INT64_MIN)) {
		*us = v->i;
		return true;
	}
	/* From 1970 to 2000 first: a late moment in milliseconds may fit 64 bits of microseconds
	 * only then. */
	if (m.per_second == 1000)
		return !__builtin_sub_overflow(v->i, PG_EPOCH_US / 1000, us)
		    && !__builtin_mul_overflow(*us, 1000, us) && *us >= PG_TIMESTAMP_MIN
		    && *us <= PG_TIMESTAMP_MAX;
	return to_us(v->i, m.per_second, us) && !__builtin_sub_overflow(*us, PG_EPOCH_US, us)
	    && *us >= PG_TIMESTAMP_MIN && *us <= PG_TIMESTAMP_MAX;
}

static bool
interval_of(struct meaning m, const struct value *v, struct pg_interval *out)
{
	*out = (struct pg_interval){ 0 };
	return v->kind == V_INT && to_us(v->i, m.per_second, &out->us);
}

static bool
numeric_of(const struct wire_type *w, const struct value *v, struct arena *a, struct pg_numeric *n)
{
	switch (v->kind) {
	case V_INT:
		pgnumeric_from_int(v->i, n);
		return true;
	case V_BYTES:
		return pgnumeric_from_bytes(v->s, w->scale, a, n);
	case V_DECIMAL:
		return pgnumeric_from_bytes(v->s, v->scale, a, n);
	default:
		return false;
	}
}

static size_t
bit_count(const struct wire_type *w, struct slice s)
{
	size_t n = s.n;

	if (w->length > 0 && w->length <= BITS_MAX)
		return (size_t)w->length;
	while (n > 0 && s.p[n - 1] == 0)
		n--;
	return n == 0 ? 0 : n * 8 - (size_t)(__builtin_clz((uint8_t)s.p[n - 1]) - 24);
}

/* Bit i from the left, of n. */
static bool
bit_of(struct slice s, size_t n, size_t i)
{
	size_t at = n - 1 - i;

	return at / 8 < s.n && (uint8_t)s.p[at / 8] >> at % 8 & 1;
}

/* ---- text ---- */

static void
put_bits(const struct wire_type *w, struct slice s, struct buf *out)
{
	size_t n = bit_count(w, s);

	if (!buf_reserve(out, n))
		return;
	for (size_t i = 0; i < n; i++)
		out->p[out->n++] = (char)('0' + bit_of(s, n, i));
}

static void
put_hex(struct slice s, struct buf *out)
{
	static const char hex[] = "0123456789abcdef";

	buf_text(out, "\\x");
	if (!buf_reserve(out, 2 * s.n))
		return;
	for (size_t i = 0; i < s.n; i++) {
		out->p[out->n++] = hex[(uint8_t)s.p[i] >> 4];
		out->p[out->n++] = hex[s.p[i] & 15];
	}
}

static void
put_int(int64_t i, struct buf *out)
{
	uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	char tmp[20], *p = tmp + sizeof tmp;

	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	if (i < 0)
		buf_byte(out, '-');
	buf_bytes(out, p, (size_t)(tmp + sizeof tmp - p));
}

/* d as "-d.ddde+xx" with the fewest digits that read back as d. */
static void
shortest(double d, bool is_float, char tmp[40])
{
	double normal = is_float ? (double)FLT_MIN : DBL_MIN;

	/* 6 and 15 digits always survive and lose their zeros later; near zero there are not that
	 * many. */
	for (int digits = fabs(d) < normal ? 1 : is_float ? 6 : 15;; digits++) {
		snprintf(tmp, 40, "%.*e", digits - 1, d);
		if (digits >= (is_float ? 9 : 17)
		    || (is_float ? (double)strtof(tmp, NULL) : strtod(tmp, NULL)) == d)
			return;
	}
}

/* As PostgreSQL prints: shortest, in plain digits between 0.0001 and 10^6 (real) or 10^15. */
void
pgtype_put_real(double d, bool is_float, struct buf *out)
{
	char tmp[40], digits[24], *p = tmp;
	int n = 0, exp;

	if (isnan(d) || isinf(d)) {
		buf_text(out, isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity");
		return;
	}
	shortest(d, is_float, tmp);
	if (*p == '-')
		buf_byte(out, (uint8_t)*p++);
	for (; *p != 'e'; p++)
		if (*p != '.')
			digits[n++] = *p;
	exp = (int)strtol(p + 1, NULL, 10);
	while (n > 1 && digits[n - 1] == '0')
		n--;
	if (exp < -4 || exp >= (is_float ? 6 : 15)) {
		buf_byte(out, (uint8_t)digits[0]);
		if (n > 1)
			buf_printf(out, ".%.*s", n - 1, digits + 1);
		buf_printf(out, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
	} else if (exp < 0)
		buf_printf(out, "0.%.*s%.*s", -exp - 1, "000", n, digits);
	else if (n <= exp + 1)
		buf_printf(out, "%.*s%.*s", n, digits, exp + 1 - n, "00000000000000");
	else
		buf_printf(out, "%.*s.%.*s", exp + 1, digits, n - exp - 1, digits + exp + 1);
}

static bool
put_moment(struct meaning m, const struct value *v, struct buf *out)
{
	struct pg_interval interval;
	struct pg_timetz timetz;
	int64_t us;
	int32_t days;
	char tmp[PGTIME_TEXT_MAX], *end = NULL;

	if (m.mean == MEAN_DATE && date_of(v, &days))
		end = pgtime_put_date(tmp, days);
	else if (m.mean == MEAN_TIME && time_of(m, v, &us))
		end = pgtime_put_time(tmp, us);
	else if ((m.mean == MEAN_TIMESTAMP || m.mean == MEAN_TIMESTAMPTZ)
	    && timestamp_of(m, v, &us))
		end = pgtime_put_timestamp(tmp, us, m.mean == MEAN_TIMESTAMPTZ);
	else if (m.mean == MEAN_TIMETZ && v->kind == V_STRING && pgtime_timetz_parse(v->s, &timetz))
		end = pgtime_put_timetz(tmp, &timetz);
	else if (m.mean == MEAN_INTERVAL && interval_of(m, v, &interval))
		end = pgtime_put_interval(tmp, &interval);
	if (!end)
		return false;
	buf_bytes(out, tmp, (size_t)(end - tmp));
	return true;
}

static bool
put_numeric(const struct wire_type *w, const struct value *v, struct buf *out)
{
	struct arena a = { 0 };
	struct pg_numeric n;
	bool ok = numeric_of(w, v, &a, &n);

	if (ok)
		pgnumeric_put(&n, out);
	arena_free(&a);
	return ok;
}

static enum rc
no_text(const struct wire_type *w, const struct value *v, struct err *err)
{
	return fail(err, REJECT, "a value of kind %d is out of range for wire type %d (%s)",
	    v->kind, (int)w->wire, w->semantic ? w->semantic : "no semantic name");
}

static enum rc
text_plain(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err)
{
	switch ((enum value_kind)v->kind) {
	case V_BOOL: /* 1 and 0: boolean, bit and SQLite's INTEGER all take them */
		buf_byte(out, v->i ? '1' : '0');
		return OK;
	case V_INT:
		put_int(v->i, out);
		return OK;
	case V_FLOAT:
	case V_DOUBLE:
		pgtype_put_real(v->d, v->kind == V_FLOAT, out);
		return OK;
	case V_BYTES:
		if (w->wire != W_DECIMAL) {
			put_hex(v->s, out);
			return OK;
		}
		break;
	case V_STRING:
		buf_slice(out, v->s);
		return OK;
	case V_DECIMAL:
		break;
	case V_AVRO:
		if (w->wire == W_ARRAY)
			return reader_array_text(w, v, out, err);
		if (w->wire == W_COMPOUND)
			return compound_text(w->compound, v->s, out) ? OK : no_text(w, v, err);
		return fail(
		    err, REJECT, "an Avro record or map has no text form for a sink column");
	case V_NULL:
	case V_ABSENT:
		return no_text(w, v, err);
	}
	return put_numeric(w, v, out) ? OK : no_text(w, v, err);
}

/* Bytes that travel as text, in PostgreSQL's way to write bytes. */
static enum rc
text_decoded(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err)
{
	struct buf bytes = { .max = out->max };
	bool ok = pgtype_decode(w->coded, v->s, &bytes);

	if (ok)
		put_hex(buf_view(&bytes), out);
	out->failed |= bytes.failed;
	buf_free(&bytes);
	return ok ? OK : fail(err, REJECT, "a value that should be bytes in base64 or hex is not");
}

enum rc
pgtype_text(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err)
{
	struct meaning m;

	/* Of another storage class than its column's type says: in a text all have a form, in a number none. */
	if (lite_is_classed(v) && v->kind <= V_NULL)
		return fail(err, REJECT, "a column of numbers of the SQLite source holds %s here, which has no form in a number's type",
		    lite_class_name(v->exact.p[1]));
	if (v->exact.n && !lite_is_classed(v)) {
		buf_slice(out, v->exact);
		return OK;
	}
	if (w->coded && v->kind == V_STRING)
		return text_decoded(w, v, out, err);
	m = pgtype_meaning(w);
	if (m.mean == MEAN_PLAIN)
		return text_plain(w, v, out, err);
	if (m.mean == MEAN_BITS && v->kind == V_BYTES) {
		put_bits(w, v->s, out);
		return OK;
	}
	if (put_moment(m, v, out))
		return OK;
	if (v->kind == V_STRING) { /* another's way to write it: let the sink judge */
		buf_slice(out, v->s);
		return OK;
	}
	return no_text(w, v, err);
}

/* ---- binary: which pairs ---- */

static bool
is_text_oid(uint32_t oid)
{
	return oid == PG_TEXT || oid == PG_VARCHAR || oid == PG_BPCHAR;
}

static bool
plain_to(enum wire wire, uint32_t oid)
{
	bool is_int = wire == W_INT16 || wire == W_INT32 || wire == W_INT64;

	switch (oid) {
	case PG_INT2:
	case PG_INT4:
	case PG_INT8:
	case PG_OID:
		return is_int;
	case PG_NUMERIC:
		return is_int || wire == W_DECIMAL || wire == W_VARDECIMAL;
	case PG_MONEY:
		return wire == W_DECIMAL || wire == W_VARDECIMAL;
	case PG_FLOAT4:
	case PG_FLOAT8:
		return is_int || wire == W_FLOAT || wire == W_DOUBLE;
	case PG_BOOL:
	case PG_BIT:
	case PG_VARBIT:
		return wire == W_BOOL;
	case PG_BYTEA:
		return wire == W_BYTES;
	case PG_NAME:
	case PG_CHAR:
	case PG_JSON:
	case PG_JSONB:
	case PG_XML:
	case PG_UUID:
		return wire == W_STRING;
	default:
		return false;
	}
}

static bool
can_send(enum mean mean, const struct wire_type *w, uint32_t oid)
{
	if (is_text_oid(oid)) /* their binary form is the text */
		return w->wire != W_OTHER;
	switch (mean) {
	case MEAN_PLAIN:
		return plain_to(w->wire, oid);
	case MEAN_DATE:
		return oid == PG_DATE;
	case MEAN_TIME:
		return oid == PG_TIME;
	case MEAN_TIMESTAMP:
	case MEAN_TIMESTAMPTZ: /* a moment without a zone is one in UTC */
		return oid == PG_TIMESTAMP || oid == PG_TIMESTAMPTZ;
	case MEAN_TIMETZ:
		return oid == PG_TIMETZ;
	case MEAN_INTERVAL:
		return oid == PG_INTERVAL;
	case MEAN_BITS:
		return oid == PG_BIT || oid == PG_VARBIT;
	}
	return false;
}

bool
pgtype_can_binary(const struct wire_type *w, uint32_t oid)
{
	return !w->coded && can_send(pgtype_meaning(w).mean, w, oid);
}

/* ---- binary: values ---- */

static bool
send_int(const struct value *v, uint32_t oid, struct buf *out)
{
	int64_t i = v->i;

	if (v->kind != V_INT)
		return false;
	switch (oid) {
	case PG_INT2:
		buf_be16(out, (uint16_t)i);
		return i == (int16_t)i;
	case PG_INT4:
		buf_be32(out, (uint32_t)i);
		return i == (int32_t)i;
	case PG_OID:
		buf_be32(out, (uint32_t)i);
		return i == (uint32_t)i;
	default:
		buf_be64(out, (uint64_t)i);
		return true;
	}
}

/* Where the number changes its size it must stay the same; the text form lets the server round. */
static bool
send_real(const struct value *v, uint32_t oid, struct buf *out)
{
	double d = v->kind == V_INT ? (double)v->i : v->d;
	uint64_t bits;
	uint32_t half;
	float f = (float)d;

	if (v->kind == V_INT ? v->i > 1LL << 53 || v->i < -(1LL << 53)
			     : v->kind != V_FLOAT && v->kind != V_DOUBLE)
		return false;
	if (oid == PG_FLOAT8) {
		memcpy(&bits, &d, 8);
		buf_be64(out, bits);
		return true;
	}
	memcpy(&half, &f, 4);
	buf_be32(out, half);
	return isnan(d) || (double)f == d;
}

static bool
send_money(struct pg_numeric *n, struct arena *a, struct buf *out)
{
	if (n->class != NUM_FINITE || !pgnumeric_rescale(n, 2, a) || n->digits.n
	    || n->v > (uint64_t)INT64_MAX + n->neg)
		return false;
	buf_be64(out, n->neg ? 0 - (uint64_t)n->v : (uint64_t)n->v);
	return true;
}

static bool
send_numeric(const struct wire_type *w, uint32_t oid, const struct value *v, struct slice exact,
    struct buf *out)
{
	struct arena a = { 0 };
	struct pg_numeric n;
	bool ok = exact.n ? pgnumeric_parse(exact, &a, &n) : numeric_of(w, v, &a, &n);

	if (ok)
		ok = oid == PG_MONEY ? send_money(&n, &a, out) : pgnumeric_send(&n, out);
	arena_free(&a);
	return ok;
}

static bool
send_timetz(struct slice s, struct buf *out)
{
	struct pg_timetz v;

	if (!pgtime_timetz_parse(s, &v))
		return false;
	buf_be64(out, (uint64_t)v.us);
	buf_be32(out, (uint32_t)v.west);
	return true;
}

static bool
send_interval(const struct pg_interval *v, struct buf *out)
{
	buf_be64(out, (uint64_t)v->us);
	buf_be32(out, (uint32_t)v->days);
	buf_be32(out, (uint32_t)v->months);
	return true;
}

/* n bits of a bit set, or of text. */
static bool
send_bits(const char *text, struct slice set, size_t n, struct buf *out)
{
	if (n > INT_MAX || !buf_reserve(out, 4 + (n + 7) / 8))
		return false;
	buf_be32(out, (uint32_t)n);
	for (size_t i = 0; i < n; i += 8) {
		unsigned byte = 0;

		for (size_t j = i; j < i + 8; j++)
			byte = byte << 1 | (j < n && (text ? text[j] == '1' : bit_of(set, n, j)));
		buf_byte(out, (uint8_t)byte);
	}
	return true;
}

static bool
send_uuid(struct slice s, struct buf *out)
{
	uint8_t b[16] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		int d = -1;

		if (c >= '0' && c <= '9')
			d = c - '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			d = (c | 32) - 'a' + 10;

		if (c == '-' && n > 0 && n % 4 == 0)
			continue;
		if (d < 0 || n == 32)
			return false;
		b[n / 2] = (uint8_t)(b[n / 2] << 4 | d);
		n++;
	}
	buf_bytes(out, b, sizeof b);
	return n == 32;
}

/* "char": one byte, "" is 0, and \ooo one beyond ASCII. */
static bool
send_char(struct slice s, struct buf *out)
{
	unsigned v = 0;

	if (s.n == 4 && *s.p == '\\') {
		for (size_t i = 1; i < 4; i++) {
			if (s.p[i] < '0' || s.p[i] > '7')
				return false;
			v = v << 3 | (unsigned)(s.p[i] - '0');
		}
	} else if (s.n <= 1)
		v = s.n ? (uint8_t)*s.p : 0;
	else
		return false;
	buf_byte(out, (uint8_t)v);
	return v <= 0xff;
}

/* No text at PostgreSQL holds a NUL; one bad row would fail its whole batch. */
static bool
send_string(struct slice s, uint32_t oid, struct buf *out)
{
	if (s.n && memchr(s.p, 0, s.n))
		return false;
	if (oid == PG_NAME && s.n > 63)
		return false;
	if (oid == PG_JSONB)
		buf_byte(out, 1);
	buf_slice(out, s);
	return true;
}

static bool
send_as_text(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err)
{
	size_t from = out->n;

	return pgtype_text(w, v, out, err) == OK
	    && (out->n == from || !memchr(out->p + from, 0, out->n - from));
}

/* The source's own text, for the types that have one where their wire form loses something. */
static bool
send_exact(struct slice s, uint32_t oid, struct buf *out)
{
	struct pg_interval interval;
	int64_t us;
	int32_t days;

	switch (oid) {
	case PG_NUMERIC:
	case PG_MONEY:
		return send_numeric(NULL, oid, NULL, s, out);
	case PG_DATE:
		if (!pgtime_date_parse(s, &days))
			return false;
		buf_be32(out, (uint32_t)days);
		return true;
	case PG_TIME:
		if (!pgtime_time_parse(s, &us))
			return false;
		buf_be64(out, (uint64_t)us);
		return true;
	case PG_TIMESTAMP:
	case PG_TIMESTAMPTZ:
		if (!pgtime_timestamp_parse(s, &us))
			return false;
		buf_be64(out, (uint64_t)us);
		return true;
	case PG_TIMETZ:
		return send_timetz(s, out);
	case PG_INTERVAL:
		return pgtime_interval_parse(s, &interval) && send_interval(&interval, out);
	case PG_BIT:
	case PG_VARBIT:
		if (*s.p == 'b')
			s = (struct slice){ s.p + 1, s.n - 1 };
		for (size_t i = 0; i < s.n; i++)
			if (s.p[i] != '0' && s.p[i] != '1')
				return false;
		return send_bits(s.p, s, s.n, out);
	default:
		return false;
	}
}

static bool
send_moment(struct meaning m, const struct value *v, struct buf *out)
{
	struct pg_interval interval;
	int64_t us;
	int32_t days;

	switch (m.mean) {
	case MEAN_DATE:
		if (!date_of(v, &days))
			return false;
		buf_be32(out, (uint32_t)days);
		return true;
	case MEAN_TIME:
		if (!time_of(m, v, &us))
			return false;
		buf_be64(out, (uint64_t)us);
		return true;
	case MEAN_TIMESTAMP:
	case MEAN_TIMESTAMPTZ:
		if (!timestamp_of(m, v, &us))
			return false;
		buf_be64(out, (uint64_t)us);
		return true;
	case MEAN_TIMETZ:
		return v->kind == V_STRING && send_timetz(v->s, out);
	case MEAN_INTERVAL:
		return interval_of(m, v, &interval) && send_interval(&interval, out);
	default:
		return false;
	}
}

static bool
send_plain(const struct wire_type *w, uint32_t oid, const struct value *v, struct buf *out)
{
	switch (oid) {
	case PG_NUMERIC:
	case PG_MONEY:
		return send_numeric(w, oid, v, v->exact, out);
	case PG_FLOAT4:
	case PG_FLOAT8:
		return send_real(v, oid, out);
	case PG_BOOL:
		buf_byte(out, v->i != 0);
		return v->kind == V_BOOL;
	case PG_BIT:
	case PG_VARBIT:
		return v->kind == V_BOOL && send_bits(v->i ? "1" : "0", v->s, 1, out);
	case PG_BYTEA:
		if (v->kind != V_BYTES)
			return false;
		buf_slice(out, v->s);
		return true;
	case PG_UUID:
		return v->kind == V_STRING && send_uuid(v->s, out);
	case PG_CHAR:
		return v->kind == V_STRING && send_char(v->s, out);
	default:
		return v->kind == V_STRING && send_string(v->s, oid, out);
	}
}

static bool
send_value(const struct wire_type *w, uint32_t oid, const struct value *v, struct buf *out,
    struct err *err)
{
	struct meaning m = pgtype_meaning(w);

	if (is_text_oid(oid)) {
		if (v->kind == V_STRING && !v->exact.n && !w->semantic)
			return send_string(v->s, oid, out);
		return send_as_text(w, v, out, err);
	}
	if (!can_send(m.mean, w, oid))
		return false;
	if (lite_is_classed(v))
		return false;
	if (v->exact.n)
		return send_exact(v->exact, oid, out);
	if (oid == PG_INT2 || oid == PG_INT4 || oid == PG_INT8 || oid == PG_OID)
		return send_int(v, oid, out);
	if (m.mean == MEAN_PLAIN)
		return send_plain(w, oid, v, out);
	if (m.mean == MEAN_BITS)
		return v->kind == V_BYTES && send_bits(NULL, v->s, bit_count(w, v->s), out);
	return send_moment(m, v, out);
}

enum rc
pgtype_binary_value(const struct wire_type *w, uint32_t oid, const struct value *v, struct buf *out,
    struct err *err)
{
	size_t from = out->n;

	if (send_value(w, oid, v, out, err))
		return OK;
	out->n = from;
	return fail(
	    err, REJECT, "a value of kind %d has no binary form for type oid %u", v->kind, oid);
}
