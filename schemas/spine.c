#include "schemas/spine.h"
#include "core/cursor.h"
#include "schemas/frame.h"

/* schema_fingerprint of spine.avsc; tests/unit/spine_test.c holds the two together. */
#define SPINE_FINGERPRINT UINT64_C(0xb4827b6099131a62)

enum { PART_BYTES_MIN = 5 };

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

/* Avro's int travels as a long does; a number that is none may not be cut to another one that is. */
static int32_t
take_int(struct cursor *c)
{
	int64_t v = cursor_long(c);

	if (v < INT32_MIN || v > INT32_MAX)
		c->bad = true;
	return (int32_t)v;
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
	buf_long(out, (int32_t)r->flags);
	put_u64(out, r->lsn);
	put_u64(out, r->watermark);
	buf_long(out, r->first_us);
	buf_long(out, r->commit_us);
	buf_long(out, r->at_us);
	put_u64(out, r->system_id);
	buf_long(out, (int32_t)r->timeline);
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
		p->partition = take_int(c);
		p->first = cursor_long(c);
		p->last = cursor_long(c);
		p->count = cursor_long(c);
		if (p->first < 0 || p->last < p->first || p->count < 1 || p->count - 1 > p->last - p->first || p->partition < 0)
			c->bad = true;
	}
	if (cursor_long(c) != 0)
		c->bad = true;
}

/* What spine_step counts on: a group has a number and at least one transaction. */
static bool
group_sane(const struct spine_record *r)
{
	return r->no > 0 && r->seq_from > 0 && r->seq_from <= r->seq_to;
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
	r->flags = (uint32_t)take_int(&c);
	r->lsn = take_u64(&c);
	r->watermark = take_u64(&c);
	r->first_us = cursor_long(&c);
	r->commit_us = cursor_long(&c);
	r->at_us = cursor_long(&c);
	r->system_id = take_u64(&c);
	r->timeline = (uint32_t)take_int(&c);
	r->node = cursor_avro_bytes(&c);
	r->prev_gen = take_u64(&c);
	r->reason = cursor_avro_bytes(&c);
	take_parts(&c, a, r);
	if (c.bad || kind > SPINE_BEAT || cursor_left(&c) || (kind == SPINE_GROUP && !group_sane(r)))
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
	/* An opener says what it had read before it wrote. Who has read less at this place of the same log lacks records. */
	if (r->prev_gen > s->gen || (r->prev_gen == s->gen && r->no > s->no))
		return SPINE_GAP;
	/* The compare-and-set: of two openers of one generation the first in the log wins, everybody sees the same first. */
	if (r->prev_gen != s->gen || r->gen != s->gen + 1)
		return SPINE_STALE;
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

/*
 * A GROUP or BEAT was accepted unless its writer had been fenced by an OPEN before it; then it stands at most
 * SPINE_UNREAD_MAX records behind that OPEN, and the OPEN may be cut off. Of the highest generation in a tail that is longer:
 *  - No later OPEN is in the tail. Were it fenced, the tail would end before the new writer's first record, and be short. It is current.
 *  - A later OPEN is. It may be all that was written since, and the tail may begin behind the OPEN that fenced: only a record that
 *    far into the tail, and before any later OPEN, is beyond doubt.
 */
int
spine_resume(struct spine_state *s, const struct spine_record *const *tail, int n)
{
	uint64_t gen = 0, opened = 0;
	int from = 0;

	*s = (struct spine_state){ 0 };
	for (int i = 0; i < n; i++) {
		if (tail[i]->kind != SPINE_OPEN && tail[i]->gen > gen)
			gen = tail[i]->gen;
		if (tail[i]->kind == SPINE_OPEN && tail[i]->gen > opened)
			opened = tail[i]->gen;
	}
	if (opened > gen)
		from = SPINE_UNREAD_MAX;
	for (int i = 0; i < n; i++) {
		if (tail[i]->kind == SPINE_OPEN && tail[i]->gen > gen)
			return -1; /* whatever comes behind may be a fenced writer's: only older records can tell */
		if (i < from || tail[i]->kind == SPINE_OPEN || tail[i]->gen != gen)
			continue;
		adopt(s, tail[i]);
		return i + 1;
	}
	return -1;
}
