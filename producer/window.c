#include "producer/window.h"
#include "core/buf.h"
#include "core/err.h"

#include <stdlib.h>
#include <uthash.h>

/* A key that was changed. */
struct touch {
	UT_hash_handle hh;
	struct slice key;
	struct value *image; /* V_ABSENT where no change brought a value; NULL: the row is gone */
};

struct window {
	struct arena arena;
	struct touch *touches;
	const struct table *tbl;
	size_t bytes_max;
	bool truncated, spoilt;
	struct buf key; /* the one at hand */
};

struct window *
window_open(size_t bytes_max)
{
	struct window *w = calloc(1, sizeof *w);

	if (!w)
		die("out of memory");
	w->bytes_max = bytes_max;
	return w;
}

static void
forget(struct window *w)
{
	HASH_CLEAR(hh, w->touches);
	arena_free(&w->arena);
}

void
window_close(struct window *w)
{
	if (!w)
		return;
	forget(w);
	buf_free(&w->key);
	free(w);
}

/* ---- keys ---- */

/* Kind, then what it holds: the same bytes for the same values, whichever way they came. */
static void
put_value(struct buf *b, const struct value *v)
{
	buf_byte(b, v->kind);
	switch ((enum value_kind)v->kind) {
	case V_BOOL:
	case V_INT:
		buf_be64(b, (uint64_t)v->i);
		break;
	case V_FLOAT:
	case V_DOUBLE: {
		uint64_t bits;

		memcpy(&bits, &v->d, sizeof bits);
		buf_be64(b, bits);
		break;
	}
	case V_DECIMAL:
		buf_be32(b, (uint32_t)v->scale);
		buf_avro_bytes(b, v->s);
		break;
	case V_BYTES:
	case V_STRING:
	case V_AVRO:
		buf_avro_bytes(b, v->s);
		break;
	case V_ABSENT:
	case V_NULL:
		break;
	}
	buf_avro_bytes(b, v->exact);
}

static void
key_of(struct buf *b, const struct table *tbl, const struct value *row)
{
	buf_reset(b);
	for (int i = 0; i < tbl->nkeys; i++)
		put_value(b, &row[tbl->keys[i]]);
}

static struct touch *
find(const struct window *w, struct slice key)
{
	struct touch *t;

	HASH_FIND(hh, w->touches, key.p, key.n, t);
	return t;
}

/* ---- changes ---- */

static struct touch *
touch(struct window *w, const struct table *tbl, const struct value *row, bool *fresh)
{
	struct touch *t;

	key_of(&w->key, tbl, row);
	t = find(w, buf_view(&w->key));
	*fresh = !t;
	if (t)
		return t;
	t = arena_new(&w->arena, struct touch);
	t->key = arena_slice(&w->arena, buf_view(&w->key));
	HASH_ADD_KEYPTR(hh, w->touches, t->key.p, t->key.n, t);
	return t;
}

static struct value
keep(struct window *w, const struct value *v)
{
	struct value copy = *v;

	if (v->kind == V_BYTES || v->kind == V_STRING || v->kind == V_DECIMAL || v->kind == V_AVRO)
		copy.s = arena_slice(&w->arena, v->s);
	copy.exact = arena_slice(&w->arena, v->exact);
	return copy;
}

/* row over the image, or in its place. */
static void
lay(struct window *w, struct touch *t, const struct table *tbl, const struct value *row, bool whole)
{
	if (!t->image)
		t->image = arena_array(&w->arena, (size_t)tbl->ncols, sizeof *t->image);
	for (int i = 0; i < tbl->ncols; i++)
		if (whole || row[i].kind != V_ABSENT || row[i].exact.n)
			t->image[i] = keep(w, &row[i]);
}

void
window_change(struct window *w, const struct change *ch)
{
	const struct table *tbl = ch->tbl;
	struct touch *t;
	bool fresh;

	w->spoilt = w->spoilt || (w->tbl && w->tbl != tbl);
	w->tbl = tbl;
	if (w->spoilt)
		return;
	if (ch->op == OP_TRUNCATE) {
		/* Whatever the chunk has was there before, or came behind the truncate and was streamed whole. */
		forget(w);
		w->truncated = true;
	} else if (ch->op == OP_DELETE) {
		touch(w, tbl, ch->before, &fresh)->image = NULL;
	} else if (change_moves_key(ch)) {
		touch(w, tbl, ch->before, &fresh)->image = NULL;
		t = touch(w, tbl, ch->after, &fresh);
		lay(w, t, tbl, ch->after, true);
	} else {
		t = touch(w, tbl, ch->after, &fresh);
		if (ch->op != OP_UPDATE || fresh || t->image)
			lay(w, t, tbl, ch->after, ch->op != OP_UPDATE);
	}
	w->spoilt = w->arena.used + HASH_COUNT(w->touches) * 2 * sizeof(void *) > w->bytes_max;
	if (w->spoilt)
		forget(w);
}

bool
window_spoilt(const struct window *w)
{
	return w->spoilt;
}

bool
window_quiet(const struct window *w)
{
	return !w->touches && !w->truncated;
}

const struct table *
window_table(const struct window *w)
{
	return w->tbl;
}

const struct value *
window_row(const struct window *w, const struct table *tbl, const struct value *row, struct arena *a)
{
	struct buf key = { 0 };
	struct value *copy;
	struct touch *t;

	key_of(&key, tbl, row);
	t = find(w, buf_view(&key));
	buf_free(&key);
	if (!t)
		return w->truncated ? NULL : row;
	if (!t->image)
		return NULL;
	copy = arena_raw(a, (size_t)tbl->ncols * sizeof *copy);
	for (int i = 0; i < tbl->ncols; i++)
		copy[i] = t->image[i].kind == V_ABSENT && !t->image[i].exact.n ? row[i] : t->image[i];
	return copy;
}
