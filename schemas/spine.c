#include "schemas/spine.h"
#include "core/cursor.h"
#include "schemas/frame.h"

/* schema_fingerprint of spine.avsc; tests/unit/spine_test.c holds the two together. */
#define SPINE_FINGERPRINT 0x0u

enum { PART_BYTES_MIN = 5, NODE_BYTES_MAX = 255 };

static void
put_u64(struct buf *out, uint64_t v)
{
	buf_long(out, (int64_t)v);
}

static uint64_t
take_u64(struct cursor *c)
{
	return (uint64_t)cursor_long(c);
}

void
spine_put(struct buf *out, const struct spine_record *r)
{
	frame_put(out, (struct frame){ FRAME_SINGLE, SPINE_FINGERPRINT });
	put_u64(out, r->kind);
	put_u64(out, r->gen);
	put_u64(out, r->token);
	put_u64(out, r->no);
	put_u64(out, r->seq_from);
	put_u64(out, r->seq_to);
	put_u64(out, r->flags);
	put_u64(out, r->lsn);
	put_u64(out, r->watermark);
	buf_long(out, r->first_us);
	buf_long(out, r->commit_us);
	buf_long(out, r->at_us);
	put_u64(out, r->system_id);
	put_u64(out, r->timeline);
	buf_avro_bytes(out, r->node);
	put_u64(out, r->prev_gen);
	buf_avro_bytes(out, r->reason);
	if (r->nparts)
		buf_long(out, r->nparts);
	for (int i = 0; i < r->nparts; i++) {
		buf_avro_bytes(out, r->parts[i].topic);
		buf_long(out, r->parts[i].partition);
		buf_long(out, r->parts[i].first);
		buf_long(out, r->parts[i].last);
		buf_long(out, r->parts[i].count);
	}
	buf_long(out, 0); /* end of the array's blocks */
}

/* One block of parts, as spine_put writes it: a count, the items, and a zero. */
static void
take_parts(struct cursor *c, struct arena *a, struct spine_record *r)
{
	int64_t n = cursor_long(c);

	if (n < 0 || (uint64_t)n > cursor_left(c) / PART_BYTES_MIN) {
		c->bad = true;
		return;
	}
	if (n == 0)
		return;
	r->nparts = (int)n;
	r->parts = arena_array(a, (size_t)n, sizeof *r->parts);
	for (int i = 0; i < r->nparts; i++) {
		struct spine_part *p = &r->parts[i];

		p->topic = cursor_avro_bytes(c);
		p->partition = (int32_t)cursor_long(c);
		p->first = cursor_long(c);
		p->last = cursor_long(c);
		p->count = cursor_long(c);
		if (p->first < 0 || p->last < p->first || p->count < 1 || p->count > p->last - p->first + 1 || p->partition < 0)
			c->bad = true;
	}
	if (cursor_long(c) != 0)
		c->bad = true;
}

enum rc
spine_take(struct slice msg, struct arena *a, struct spine_record *r, struct err *err)
{
	struct slice body;
	struct frame f = frame_take(msg, &body);
	struct cursor c = cursor_of(body);
	uint64_t kind;

	*r = (struct spine_record){ 0 };
	if (f.kind != FRAME_SINGLE || f.id != SPINE_FINGERPRINT)
		return fail(err, REJECT, "spine: not a spine record of this version");
	kind = take_u64(&c);
	r->gen = take_u64(&c);
	r->token = take_u64(&c);
	r->no = take_u64(&c);
	r->seq_from = take_u64(&c);
	r->seq_to = take_u64(&c);
	r->flags = (uint32_t)take_u64(&c);
	r->lsn = take_u64(&c);
	r->watermark = take_u64(&c);
	r->first_us = cursor_long(&c);
	r->commit_us = cursor_long(&c);
	r->at_us = cursor_long(&c);
	r->system_id = take_u64(&c);
	r->timeline = (uint32_t)take_u64(&c);
	r->node = cursor_avro_bytes(&c);
	r->prev_gen = take_u64(&c);
	r->reason = cursor_avro_bytes(&c);
	take_parts(&c, a, r);
	if (c.bad || kind > SPINE_BEAT || cursor_left(&c))
		return fail(err, REJECT, "spine: malformed record of %zu bytes", msg.n);
	r->kind = (enum spine_kind)kind;
	return OK;
}

/* ---- the rules ---- */

static void
adopt(struct spine_state *s, const struct spine_record *r)
{
	s->started = true;
	s->gen = r->gen;
	s->token = r->token;
	s->no = r->no;
	s->lsn = r->lsn;
	if (r->watermark > s->watermark)
		s->watermark = r->watermark;
	s->system_id = r->system_id;
	s->timeline = r->timeline;
	if (r->commit_us)
		s->commit_us = r->commit_us;
	/* seq counts complete transactions: of a group that goes on, the last one is not. */
	s->partial = r->kind == SPINE_GROUP && (r->flags & SPINE_MORE);
	s->seq = s->partial ? r->seq_to - 1 : r->seq_to;
}

static enum spine_verdict
step_open(struct spine_state *s, const struct spine_record *r)
{
	/* The compare-and-set: of two openers of one generation the first in the log wins, everybody sees the same first. */
	if (r->prev_gen != s->gen || r->gen != s->gen + 1)
		return s->started || r->prev_gen == 0 ? SPINE_STALE : SPINE_GAP;
	s->started = true;
	s->gen = r->gen;
	s->token = r->token;
	s->partial = false;
	s->system_id = r->system_id;
	s->timeline = r->timeline;
	return SPINE_ACCEPT;
}

enum spine_verdict
spine_step(struct spine_state *s, const struct spine_record *r)
{
	if (r->kind == SPINE_OPEN)
		return step_open(s, r);
	/* A log whose first record is not an OPEN has lost its beginning. */
	if (!s->started)
		return SPINE_GAP;
	if (r->gen != s->gen || r->token != s->token)
		return r->gen > s->gen ? SPINE_GAP : SPINE_STALE;
	if (r->kind == SPINE_BEAT) {
		if (r->no != s->no)
			return r->no > s->no ? SPINE_GAP : SPINE_REPEAT;
		if (r->watermark > s->watermark)
			s->watermark = r->watermark;
		return SPINE_ACCEPT;
	}
	if (r->no <= s->no)
		return SPINE_REPEAT;
	/*
	 * Numbers and transactions must follow without a hole, and a transaction that is cut must go on where it was
	 * cut. Anything else means that records between are gone: going on would lose transactions without a word.
	 */
	if (r->no != s->no + 1 || r->seq_from != s->seq + 1 || !(r->flags & SPINE_CONTINUES) != !s->partial)
		return SPINE_GAP;
	adopt(s, r);
	return SPINE_ACCEPT;
}

int
spine_resume(struct spine_state *s, const struct spine_record *const *tail, int n)
{
	uint64_t gen = 0;
	int first = -1;

	*s = (struct spine_state){ 0 };
	for (int i = 0; i < n; i++)
		if (tail[i]->kind != SPINE_OPEN && tail[i]->gen > gen)
			gen = tail[i]->gen;
	for (int i = 0; i < n && first < 0; i++) {
		if (tail[i]->kind != SPINE_OPEN && tail[i]->gen == gen)
			first = i;
		else if (tail[i]->kind == SPINE_OPEN && tail[i]->gen > gen)
			return -1; /* whatever comes behind may be a zombie's: only older records can tell */
	}
	if (first < 0)
		return -1;
	adopt(s, tail[first]);
	return first + 1;
}
