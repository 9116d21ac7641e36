#include "schemas/header.h"

/* The second where something must be understood that a reader of the first would pass over. */
enum { TL_VERSION = 1, TL_VERSION_STRICT = 2, TL_KNOWN = 2 * TL_KEY - 1 };

/* The bitmap ends with the last column that was not sent: a row that came whole costs nothing. */
static void
unchanged_put(struct buf *out, const struct value *row, int ncols)
{
	int n = ncols;

	while (n > 0 && row[n - 1].kind != V_ABSENT)
		n--;
	buf_uvarint(out, (uint64_t)(n + 7) / 8);
	for (int i = 0; i < n; i += 8) {
		uint8_t b = 0;

		for (int bit = 0; bit < 8 && i + bit < n; bit++)
			if (row[i + bit].kind == V_ABSENT)
				b |= (uint8_t)(1 << bit);
		buf_byte(out, b);
	}
}

static uint64_t
exact_count(const struct value *row, int ncols)
{
	uint64_t n = 0;

	for (int i = 0; row && i < ncols; i++)
		n += row[i].exact.n > 0;
	return n;
}

static void
exact_put(struct buf *out, const struct value *row, int ncols, bool before)
{
	for (int i = 0; row && i < ncols; i++) {
		if (row[i].exact.n == 0)
			continue;
		buf_uvarint(out, (uint64_t)i * 2 + before);
		buf_uvarint(out, row[i].exact.n);
		buf_slice(out, row[i].exact);
	}
}

static bool
any_absent(const struct value *row, int ncols)
{
	for (int i = 0; row && i < ncols; i++)
		if (row[i].kind == V_ABSENT)
			return true;
	return false;
}

void
tl_put(struct buf *out, const struct tl *h, const struct value *before, const struct value *after,
    int ncols)
{
	uint64_t nexact = exact_count(before, ncols) + exact_count(after, ncols);
	uint32_t flags = h->flags & ~(uint32_t)(TL_UNCHANGED | TL_EXACT | TL_KEY | (h->mark && !(h->flags & TL_CHUNK) ? 0 : TL_MARK));

	if (any_absent(after, ncols))
		flags |= TL_UNCHANGED;
	if (nexact)
		flags |= TL_EXACT;
	if (h->key.kind != FRAME_NONE)
		flags |= TL_KEY;
	buf_byte(out, flags & TL_CHUNK ? TL_VERSION_STRICT : TL_VERSION);
	buf_uvarint(out, flags);
	buf_uvarint(out, h->gen);
	buf_uvarint(out, h->seq);
	buf_uvarint(out, h->index);
	buf_uvarint(out, h->lsn);
	if (flags & TL_UNCHANGED)
		unchanged_put(out, after, ncols);
	if (nexact) {
		buf_uvarint(out, nexact);
		exact_put(out, before, ncols, true);
		exact_put(out, after, ncols, false);
	}
	if (flags & TL_CHUNK) {
		buf_uvarint(out, h->number);
		buf_uvarint(out, h->count);
		buf_uvarint(out, h->own);
	}
	if (flags & TL_MARK)
		buf_be32(out, h->mark);
	if (flags & TL_KEY) {
		buf_uvarint(out, frame_size(h->key));
		frame_put(out, h->key);
	}
}

/* A length from outside: compared with what is left before it is narrowed. */
static struct slice
counted(struct cursor *c)
{
	uint64_t n = cursor_uvarint(c);

	if (n > cursor_left(c)) {
		c->bad = true;
		return (struct slice){ "", 0 };
	}
	return cursor_bytes(c, (size_t)n);
}

/* The list as one slice; every entry is walked here, so that tl_apply may trust the lengths. */
static struct slice
exact_take(struct cursor *c)
{
	const uint8_t *from = c->p;
	uint64_t n = cursor_uvarint(c);

	for (uint64_t i = 0; i < n && !c->bad; i++) {
		cursor_uvarint(c);
		counted(c);
	}
	return (struct slice){ (const char *)from, (size_t)(c->p - from) };
}

enum rc
tl_take(struct slice s, struct tl *h, struct err *err)
{
	struct cursor c = cursor_of(s);
	uint8_t version = cursor_u8(&c);
	struct slice rest;
	uint64_t flags;

	*h = (struct tl){ 0 };
	if (s.n > 0 && version != TL_VERSION && version != TL_VERSION_STRICT)
		return fail(err, REJECT,
		    "header %s has version %u, this program reads versions %d and %d; "
		    "upgrade the reader before the writer",
		    TL_HEADER, version, TL_VERSION, TL_VERSION_STRICT);
	flags = cursor_uvarint(&c);
	if (version == TL_VERSION_STRICT && flags & ~(uint64_t)TL_KNOWN)
		return fail(err, REJECT,
		    "header %s has flags %#jx, of which this program does not know all; "
		    "upgrade the reader before the writer",
		    TL_HEADER, (uintmax_t)flags);
	if (flags > UINT32_MAX || (flags & TL_CHUNK && version == TL_VERSION))
		c.bad = true;
	h->flags = (uint32_t)flags;
	h->gen = cursor_uvarint(&c);
	h->seq = cursor_uvarint(&c);
	h->index = cursor_uvarint(&c);
	h->lsn = cursor_uvarint(&c);
	if (h->flags & TL_UNCHANGED)
		h->unchanged = counted(&c);
	if (h->flags & TL_EXACT)
		h->exact = exact_take(&c);
	if (h->flags & TL_CHUNK) {
		h->number = cursor_uvarint(&c);
		h->count = cursor_uvarint(&c);
		h->own = cursor_uvarint(&c);
		c.bad = c.bad || h->number >= h->count;
	}
	if (h->flags & TL_MARK)
		h->mark = cursor_be32(&c);
	if (h->flags & TL_KEY)
		h->key = frame_take(counted(&c), &rest);
	if (c.bad)
		return fail(err, REJECT, "header %s of %zu bytes is cut short or malformed",
		    TL_HEADER, s.n);
	return OK;
}

static enum rc
unchanged_apply(struct slice bits, struct value *after, int ncols, struct err *err)
{
	for (size_t i = 0; i < bits.n * 8; i++) {
		if (!((uint8_t)bits.p[i / 8] >> i % 8 & 1))
			continue;
		if (i >= (size_t)ncols)
			return fail(err, REJECT,
			    "header %s marks column %zu as unchanged, the row has %d columns",
			    TL_HEADER, i, ncols);
		if (after)
			after[i] = (struct value){ .kind = V_ABSENT };
	}
	return OK;
}

enum rc
tl_apply(const struct tl *h, struct value *before, struct value *after, int ncols, struct err *err)
{
	struct cursor c = cursor_of(h->exact);
	uint64_t n = cursor_uvarint(&c);

	if (unchanged_apply(h->unchanged, after, ncols, err) != OK)
		return err->rc;
	if (h->exact.n == 0)
		return OK;
	for (; n > 0 && !c.bad; n--) {
		uint64_t at = cursor_uvarint(&c);
		struct slice text = counted(&c);
		struct value *row = at & 1 ? before : after;

		if (!c.bad && at / 2 >= (uint64_t)ncols)
			return fail(err, REJECT,
			    "header %s has the text of column %ju, the row has %d columns",
			    TL_HEADER, (uintmax_t)(at / 2), ncols);
		if (row && !c.bad)
			row[at / 2].exact = text;
	}
	if (c.bad)
		return fail(
		    err, REJECT, "header %s: its list of exact texts is malformed", TL_HEADER);
	return OK;
}
