/*
 * codec_array.c - arrays: one layout for the rest of the program, and their PostgreSQL text.
 *
 * A V_AVRO array is always blocks of ["null", item], whatever its writer had: Debezium writes enum
 * arrays and vectors with items that cannot be null, and Avro allows ["item", "null"].
 */
#include "schemas/codec_ops.h"
#include "schemas/compound.h"
#include "schemas/pgtypes.h"

/*
 * uuid[]: UUID.nameUUIDFromBytes of the placeholder, as Debezium's UnchangedToastedPlaceholder
 * makes it.
 */
#define PLACEHOLDER_UUID "b68a35a7-17ad-35b3-af2a-ae46edb4545a"

bool
array_plain(const struct node *t)
{
	const struct node *item = t->kids[0];

	return item->type == A_UNION && item->n == 2 && item->kids[0]->type == A_NULL &&
	    item->kids[1]->type != A_NULL;
}

/* One block's items behind a count of ours. */
static void
rewrite_items(const struct choice *at, uint64_t n, struct cursor *c, struct buf *out)
{
	buf_long(out, (int64_t)n);
	for (; n > 0 && !c->bad; n--) {
		const uint8_t *from;

		if (at->branch && take_null(c, at)) {
			buf_byte(out, 0);
			continue;
		}
		from = c->p;
		node_walk(at->node, c, 1);
		buf_byte(out, 2);
		buf_bytes(out, from, (size_t)(c->p - from));
	}
}

static void
rewrite_blocks(const struct choice *at, struct cursor *c, struct buf *out)
{
	for (;;) {
		int64_t n = take_long(c), size;
		uint64_t count = n < 0 ? -(uint64_t)n : (uint64_t)n;
		const uint8_t *end = NULL;

		if (c->bad)
			return;
		if (n < 0) {
			size = take_long(c);
			if (c->bad || size < 0 || (uint64_t)size > cursor_left(c))
				break;
			end = c->p + size;
		}
		if (count > cursor_left(c))
			break;
		if (n == 0) {
			buf_byte(out, 0);
			return;
		}
		rewrite_items(at, count, c, out);
		if (c->bad || (end && c->p != end))
			break;
	}
	c->bad = true;
}

/* Each item takes at least a byte and gets at most one more, so this at most doubles the bytes. */
struct slice
array_rewrite(const struct node *t, struct cursor *c, struct arena *a)
{
	struct choice at = node_choice(t->kids[0]);
	struct slice s = { "", 0 };
	struct buf out = { 0 };

	rewrite_blocks(&at, c, &out);
	if (!c->bad)
		s = arena_slice(a, buf_view(&out));
	buf_free(&out);
	return s;
}

struct slice
array_placeholder(const struct wire_type *item, struct arena *a)
{
	struct slice text = SLICE_LIT(PLACEHOLDER), s;
	struct buf b = { 0 };

	switch (item->wire) {
	case W_STRING:
		if (item->semantic && strcmp(item->semantic, "io.debezium.data.Uuid") == 0)
			text = SLICE_LIT(PLACEHOLDER_UUID);
		/* fall through */
	case W_BYTES:
		buf_long(&b, 1);
		buf_byte(&b, 2);
		buf_avro_bytes(&b, text);
		break;
	case W_INT16:
	case W_INT32:
	case W_INT64:
		buf_long(&b, (int64_t)text.n);
		for (size_t i = 0; i < text.n; i++) {
			buf_byte(&b, 2);
			buf_long(&b, text.p[i]);
		}
		break;
	default:
		return (struct slice){ "", 0 };
	}
	buf_byte(&b, 0);
	s = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return s;
}

/* ---- text ---- */

/* One item that is not null; false: a wire type that has no text. */
static bool
item_read(const struct wire_type *w, struct cursor *c, struct value *v)
{
	const uint8_t *from = c->p;

	*v = (struct value){ .kind = V_INT };
	switch (w->wire) {
	case W_BOOL:
		v->kind = V_BOOL;
		v->i = cursor_u8(c);
		return true;
	case W_INT16:
	case W_INT32:
	case W_INT64:
		v->i = cursor_long(c);
		return true;
	case W_FLOAT:
		v->kind = V_FLOAT;
		v->d = (double)cursor_float(c);
		return true;
	case W_DOUBLE:
		v->kind = V_DOUBLE;
		v->d = cursor_double(c);
		return true;
	case W_VARDECIMAL:
		v->kind = V_DECIMAL;
		v->scale = (int32_t)cursor_long(c);
		v->s = cursor_avro_bytes(c);
		return true;
	case W_STRING:
	case W_BYTES:
	case W_DECIMAL:
		v->kind = w->wire == W_STRING ? V_STRING : V_BYTES;
		v->s = cursor_avro_bytes(c);
		return true;
	case W_COMPOUND:
		compound_skip(w->compound, c);
		v->kind = V_AVRO;
		v->s = (struct slice){ (const char *)from, (size_t)(c->p - from) };
		return true;
	case W_ARRAY:
	case W_OTHER:
		break;
	}
	return false;
}

/*
 * As array_out quotes (src/backend/utils/adt/arrayfuncs.c): what array_in would read in another
 * way.
 */
static bool
needs_quotes(struct slice s)
{
	if (s.n == 0 || (s.n == 4 && strncasecmp(s.p, "NULL", 4) == 0))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (memchr("\"\\{}, \t\n\v\f\r", s.p[i], 11))
			return true;
	return false;
}

static void
put_item(struct buf *out, struct slice s)
{
	if (!needs_quotes(s)) {
		buf_slice(out, s);
		return;
	}
	buf_quoted(out, s);
}

static enum rc
item_text(const struct wire_type *w, struct cursor *c, struct buf *item, struct buf *out, struct err *err)
{
	uint8_t some = cursor_u8(c);
	struct value v;

	if (some == 0) {
		buf_text(out, "NULL");
		return OK;
	}
	c->bad |= some != 2;
	if (!item_read(w, c, &v))
		return fail(err, REJECT, "an array of this type has no text form");
	if (c->bad)
		return OK; /* the caller sees it */
	buf_reset(item);
	if (pgtype_text(w, &v, item, err) != OK)
		return err->rc;
	put_item(out, buf_view(item));
	out->failed |= item->failed;
	return OK;
}

/* Block after block up to the count of 0. */
static enum rc
items_text(const struct wire_type *w, struct cursor *c, struct buf *item, struct buf *out, struct err *err)
{
	const char *comma = "";

	for (;;) {
		int64_t n = cursor_long(c);
		uint64_t count = n < 0 ? -(uint64_t)n : (uint64_t)n;

		if (n < 0)
			(void)cursor_long(c);
		if (count > cursor_left(c))
			c->bad = true;
		if (c->bad || n == 0)
			return OK;
		for (; count > 0 && !c->bad; count--, comma = ",") {
			buf_text(out, comma);
			if (item_text(w, c, item, out, err) != OK)
				return err->rc;
		}
	}
}

enum rc
reader_array_text(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err)
{
	struct cursor c = cursor_of(v->s);
	struct buf item = { .max = out->max };
	enum rc rc;

	if (v->exact.n) { /* more dimensions than the wire form holds */
		buf_slice(out, v->exact);
		return OK;
	}
	if (w->wire != W_ARRAY || v->kind != V_AVRO)
		return fail(err, REJECT, "not an array");
	buf_byte(out, '{');
	rc = items_text(w->item, &c, &item, out, err);
	buf_byte(out, '}');
	buf_free(&item);
	if (rc == OK && (c.bad || cursor_left(&c)))
		rc = fail(err, REJECT, "malformed array at byte %zu of %zu", v->s.n - cursor_left(&c), v->s.n);
	return rc;
}
