/*
 * pgtypes_mode.c - the other forms of a type that Debezium has (decimal.handling.mode, time.precision.mode, interval.handling.mode,
 * binary.handling.mode), and the way back from them.
 *
 * A column in another form keeps what it would be in the default one (wire_type.plain): what a sink makes of it, and how the sink's
 * column follows the source's, is the same in each mode.
 */
#include "schemas/compound.h"
#include "schemas/pgtypes_impl.h"

#include <limits.h>
#include <stdlib.h>

#define CONNECT "org.apache.kafka.connect.data."
#define DEBEZIUM "io.debezium.time."

/* ---- the forms ---- */

static bool
decimal_as(enum decimal_mode mode, struct wire_type *w)
{
	*w = (struct wire_type){ .wire = mode == DECIMAL_DOUBLE ? W_DOUBLE : W_STRING };
	return mode != DECIMAL_PRECISE;
}

/* Of date, time and timestamp. No entry: the default. */
static bool
time_as(enum time_mode mode, int which, struct wire_type *w)
{
	static const struct wire_type forms[][3] = {
		[TIME_ADAPTIVE_MICRO] = { [1] = { .wire = W_INT64, .semantic = DEBEZIUM "MicroTime" } },
		[TIME_CONNECT] = { { .wire = W_INT32, .semantic = CONNECT "Date" }, { .wire = W_INT32, .semantic = CONNECT "Time" },
		    { .wire = W_INT64, .semantic = CONNECT "Timestamp" } },
		[TIME_ISO] = { { .wire = W_STRING, .semantic = DEBEZIUM "IsoDate" }, { .wire = W_STRING, .semantic = DEBEZIUM "IsoTime" },
		    { .wire = W_STRING, .semantic = DEBEZIUM "IsoTimestamp" } },
		[TIME_MICRO] = { [1] = { .wire = W_INT64, .semantic = DEBEZIUM "MicroTime" },
		    [2] = { .wire = W_INT64, .semantic = DEBEZIUM "MicroTimestamp" } },
		[TIME_NANO] = { [1] = { .wire = W_INT64, .semantic = DEBEZIUM "NanoTime" },
		    [2] = { .wire = W_INT64, .semantic = DEBEZIUM "NanoTimestamp" } },
	};

	*w = forms[mode][which];
	return w->wire != 0;
}

/* False: the default will do. */
static bool
form(const struct pg_type *t, const struct type_modes *m, struct wire_type *w)
{
	switch (t->oid) {
	case PG_NUMERIC:
	case PG_MONEY: return decimal_as(m->decimal, w);
	case PG_BYTEA:
		*w = (struct wire_type){ .wire = W_STRING, .coded = m->binary };
		return m->binary != CODED_BYTES;
	case PG_DATE: return time_as(m->time, 0, w);
	case PG_TIME: return time_as(m->time, 1, w);
	case PG_TIMESTAMP: return time_as(m->time, 2, w);
	case PG_INTERVAL:
		*w = (struct wire_type){ .wire = W_STRING, .semantic = "io.debezium.time.Interval" };
		return m->interval == INTERVAL_STRING;
	default: return false;
	}
}

/* Types whose default is another one, but whose column at a sink is the same all the same: no mode is to be told. */
static bool
alike(const struct pg_type *t, const struct type_modes *m, struct wire_type *w, struct arena *a)
{
	const struct compound *k;

	if (w->wire == W_COMPOUND && m->structures == STRUCTURES_TEXT) {
		*w = (struct wire_type){ .wire = W_STRING, .source_type = arena_text(a, slice_of(t->name)) };
		return true;
	}
	if (t->oid == PG_MONEY && m->decimal == DECIMAL_PRECISE) {
		w->scale = (int)m->money;
		return true;
	}
	k = m->hstore == HSTORE_MAP ? compound_of(t, true) : NULL;
	if (k)
		*w = pgtype_wire_compound(k);
	return k != NULL;
}

struct wire_type
pgtype_wire_as(const struct pg_type *t, const struct type_modes *m, struct arena *a)
{
	struct wire_type standard = pgtype_wire(t, a), w = standard, item, *keep;
	struct pg_type of;

	if (alike(t, m, &w, a))
		return w;
	if (standard.wire == W_ARRAY) {
		item = *standard.item;
		if (alike(t->item, m, &item, a)) {
			keep = arena_new(a, struct wire_type);
			*keep = item;
			w.item = keep;
			return w;
		}
	}
	if (standard.wire == W_ARRAY) {
		of = *t->item;
		if (!form(&of, m, &item))
			return standard;
		keep = arena_new(a, struct wire_type);
		*keep = item;
		keep->plain = standard.item;
		w.item = keep;
	} else if (standard.source_type || !form(t, m, &w)) {
		return standard;
	}
	keep = arena_new(a, struct wire_type);
	*keep = standard;
	w.plain = keep;
	return w;
}

/* "numeric(10,2)" and "numeric". */
static bool
plain_numeric(const char *type, struct wire_type *w)
{
	char *end;

	if (strncmp(type, "numeric", 7) != 0)
		return false;
	*w = (struct wire_type){ .wire = W_VARDECIMAL, .semantic = "io.debezium.data.VariableScaleDecimal" };
	if (!type[7])
		return true;
	w->wire = W_DECIMAL;
	w->semantic = CONNECT "Decimal";
	w->precision = (int)strtol(type + 8, &end, 10);
	w->scale = *end == ',' ? (int)strtol(end + 1, &end, 10) : 0;
	return type[7] == '(' && strcmp(end, ")") == 0 && w->precision > 0 && w->scale >= 0;
}

static bool
plain_of(const char *type, struct wire_type *w)
{
	static const struct {
		const char *type;
		struct wire_type w;
	} known[] = {
		{ "bytea", { .wire = W_BYTES } },
		{ "date", { .wire = W_INT32, .semantic = "io.debezium.time.Date" } },
		{ "time without time zone", { .wire = W_INT64, .semantic = "io.debezium.time.MicroTime" } },
		{ "time(3) without time zone", { .wire = W_INT32, .semantic = "io.debezium.time.Time" } },
		{ "timestamp without time zone", { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" } },
		{ "timestamp(3) without time zone", { .wire = W_INT64, .semantic = "io.debezium.time.Timestamp" } },
		{ "interval", { .wire = W_INT64, .semantic = "io.debezium.time.MicroDuration" } },
	};

	for (size_t i = 0; i < COUNTOF(known); i++)
		if (strcmp(type, known[i].type) == 0) {
			*w = known[i].w;
			return true;
		}
	return plain_numeric(type, w);
}

const struct wire_type *
pgtype_plain(const char *type, struct arena *a)
{
	struct wire_type *w = arena_new(a, struct wire_type), *item;
	size_t n = strlen(type);
	bool array = n > 2 && strcmp(type + n - 2, "[]") == 0;

	if (!plain_of(array ? arena_text(a, (struct slice){ type, n - 2 }) : type, w))
		return NULL;
	if (!array)
		return w;
	item = w;
	w = arena_new(a, struct wire_type);
	*w = (struct wire_type){ .wire = W_ARRAY, .item = item };
	return w;
}

/* ---- bytes as text: RFC 4648, section 4 and 5 with padding, and 8 in small letters ---- */

static const char *const alphabets[] = {
	[CODED_BASE64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	[CODED_BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	[CODED_HEX] = "0123456789abcdef",
};

struct slice
pgtype_encode(enum coded coded, struct slice s, struct arena *a)
{
	const char *digits = alphabets[coded];
	char *out = arena_raw(a, (s.n + 2) / 3 * 4 + 2 * s.n), *p = out;
	const uint8_t *b = (const uint8_t *)s.p;

	for (size_t i = 0; coded == CODED_HEX && i < s.n; i++) {
		*p++ = digits[b[i] >> 4];
		*p++ = digits[b[i] & 15];
	}
	for (size_t i = 0; coded != CODED_HEX && i < s.n; i += 3) {
		size_t have = s.n - i < 3 ? s.n - i : 3;
		uint32_t v = (uint32_t)b[i] << 16 | (have > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (have > 2 ? b[i + 2] : 0);

		for (size_t k = 0; k < 4; k++)
			*p++ = k <= have ? digits[v >> (18 - 6 * k) & 63] : '=';
	}
	return (struct slice){ out, (size_t)(p - out) };
}

static int
digit_of(enum coded coded, char c)
{
	const char *at = c ? strchr(alphabets[coded], c) : NULL;

	return at ? (int)(at - alphabets[coded]) : -1;
}

bool
pgtype_decode(enum coded coded, struct slice s, struct buf *out)
{
	int bits = coded == CODED_HEX ? 4 : 6, have = 0;
	uint32_t v = 0;

	if (s.n % (coded == CODED_HEX ? 2 : 4))
		return false;
	for (int i = 0; coded != CODED_HEX && i < 2 && s.n && s.p[s.n - 1] == '='; i++)
		s.n--;
	for (size_t i = 0; i < s.n; i++) {
		int digit = digit_of(coded, s.p[i]);

		if (digit < 0)
			return false;
		v = v << bits | (uint32_t)digit;
		have += bits;
		if (have >= 8) {
			have -= 8;
			buf_byte(out, (uint8_t)(v >> have));
		}
	}
	return true;
}
