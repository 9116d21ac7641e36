/* key_text.c - a row's key as text, as Connect prints the struct that Debezium puts into __debezium.newkey and oldkey: JSON. */
#include "producer/publish_impl.h"
#include "schemas/pgnumeric.h"
#include "schemas/schema.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void
put_text(struct buf *b, struct slice s)
{
	buf_byte(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t ch = (uint8_t)s.p[i];

		if (ch == '"' || ch == '\\')
			buf_printf(b, "\\%c", ch);
		else if (ch < 0x20)
			buf_printf(b, "\\u%04x", ch);
		else
			buf_byte(b, ch);
	}
	buf_byte(b, '"');
}

/* RFC 4648, with padding. */
void
key_text_base64(struct buf *b, struct slice s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	buf_byte(b, '"');
	for (size_t i = 0; i < s.n; i += 3) {
		uint32_t left = s.n - i > 2 ? 3 : (uint32_t)(s.n - i), bits = (uint32_t)(uint8_t)s.p[i] << 16;

		bits |= left > 1 ? (uint32_t)(uint8_t)s.p[i + 1] << 8 : 0;
		bits |= left > 2 ? (uint8_t)s.p[i + 2] : 0;
		for (uint32_t k = 0; k < 4; k++)
			buf_byte(b, k <= left ? (uint8_t)digits[bits >> (18 - 6 * k) & 63] : '=');
	}
	buf_byte(b, '"');
}

/* The shortest text that is this number again. */
static void
put_number(struct buf *b, double d, bool single)
{
	char text[40] = "";
	bool same = false;

	for (int digits = 1; digits <= 17 && isfinite(d) && !same; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, d);
		same = single ? strtof(text, NULL) >= (float)d && strtof(text, NULL) <= (float)d
			      : strtod(text, NULL) >= d && strtod(text, NULL) <= d;
	}
	if (isfinite(d))
		buf_text(b, text);
	else
		buf_text(b, isnan(d) ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void
put_value(struct buf *b, const struct column *col, const struct value *v, struct arena *a)
{
	struct pg_numeric n;

	if (v->kind == V_INT) {
		buf_printf(b, "%" PRId64, v->i);
	} else if (v->kind == V_BOOL) {
		buf_text(b, v->i ? "true" : "false");
	} else if (v->kind == V_FLOAT || v->kind == V_DOUBLE) {
		put_number(b, v->d, v->kind == V_FLOAT);
	} else if (v->kind == V_STRING) {
		put_text(b, v->s);
	} else if (v->kind == V_BYTES && col->type.wire == W_DECIMAL && pgnumeric_from_bytes(v->s, col->type.scale, a, &n)) {
		pgnumeric_put(&n, b);
	} else if (v->kind == V_BYTES) {
		key_text_base64(b, v->s);
	} else if (v->kind == V_DECIMAL) {
		buf_printf(b, "{\"scale\":%d,\"value\":", v->scale);
		key_text_base64(b, v->s);
		buf_byte(b, '}');
	} else {
		buf_text(b, "null");
	}
}

struct slice
key_text(const struct table *tbl, const struct value *row, struct arena *a)
{
	struct buf b = { 0 };
	struct slice out;
	const int *keys;
	int n = table_message_keys(tbl, &keys);

	buf_byte(&b, '{');
	for (int i = 0; i < n; i++) {
		const struct column *col = &tbl->cols[keys[i]];

		buf_printf(&b, "%s\"%s\":", i ? "," : "", schema_adjust(col->name, false, a).p);
		put_value(&b, col, &row[keys[i]], a);
	}
	buf_byte(&b, '}');
	out = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return out;
}
