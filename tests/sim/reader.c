/* A consumer's loop: what consumer.c, fetch.c and decode.c do, a few actions a step. */
#include "tests/sim/sim.h"

enum {
	WAITS_MAX = 300, /* looks for a row that does not come */
};

static void
keep(void *msg UNUSED)
{
}

void
reader_free(struct reader *rd)
{
	batch_free(&rd->batch, keep);
	arena_free(&rd->arena);
}

static void
session_end(struct world *w, struct reader *rd, enum phase phase)
{
	sink_rollback(w, rd);
	reader_free(rd);
	rd->phase = phase;
	rd->step = S_FETCH;
	rd->streaming = rd->open = false;
}

static void
refused(struct world *w, struct reader *rd, const char *why)
{
	session_end(w, rd, REFUSED);
	refuse(w, "reader", rd->number, why);
}

/* Another instance applies to this sink: the program ends, and whoever minds it starts it again. */
static void
moved(struct world *w, struct reader *rd)
{
	TELL(w, "reader %d: the marker is not where it should be", rd->number);
	w->stats->cas++;
	session_end(w, rd, DEAD);
}

void
reader_kill(struct world *w, struct reader *rd)
{
	uint64_t *m = w->stats->moments;

	TELL(w, "reader %d: killed", rd->number);
	if (rd->step == S_FETCH && rd->batch.nrows)
		m[M_READER_BATCH]++;
	if (rd->step == S_APPLY)
		m[M_READER_MARKER]++;
	if (rd->step == S_COMMIT)
		m[M_READER_ROWS]++;
	if (rd->step == S_COMMITTED)
		m[M_READER_NOTED]++;
	/* A COMMIT that was sent may still be done. */
	if (rd->step == S_COMMIT && one_in(&w->rng, 2)) {
		m[M_READER_COMMIT]++;
		sink_commit(w, rd);
	}
	session_end(w, rd, DEAD);
	rd->f = (struct follow){ 0 };
	rd->paused = false;
}

/* ---- start ---- */

static void
open_session(struct world *w, struct reader *rd)
{
	const struct log *l = &w->logs[SPINE];
	const struct marker *mk = &w->sink.marker;
	const struct rec *rec = log_at(l, mk->spine_offset);

	rd->epoch = w->sink.epoch;
	for (int i = 0; i < LOGS; i++)
		rd->next[i] = -1;
	rd->waits = 0;
	rd->last_lsn = rd->last_seq = 0;
	follow_start(&rd->f, mk, false, false);
	rd->spine_next = mk->spine_offset + 1;
	rd->phase = RUN;
	TELL(w, "reader %d: from seq %" PRIu64 " at spine offset %" PRId64, rd->number, mk->seq,
	    mk->spine_offset);
	if (mk->spine_offset >= 0 &&
	    (!rec || !follow_anchored(&rd->f, (struct spine_at){ rec->offset, rec->hash })))
		refused(w, rd, "the record at the marker is not the one that was applied");
}

/* ---- fetch ---- */

enum fetched { GOT, NOTHING, GONE };

static enum fetched
fetch(struct world *w, int log, int64_t next, struct rec *out)
{
	const struct log *l = &w->logs[log];
	const struct rec *rec;

	if (next > l->end)
		return GONE;
	if (w->on[F_LAG] && !w->quiet && one_in(&w->rng, 3))
		return NOTHING;
	rec = log_at(l, next);
	if (!rec)
		return NOTHING;
	*out = *rec;
	return GOT;
}

/* ---- the sink ---- */

static bool
pending(const struct reader *rd)
{
	return rd->f.next.spine_offset != rd->f.applied.spine_offset;
}

static void
start_flush(struct reader *rd, enum step after, bool yes)
{
	rd->after = after;
	rd->streaming = false;
	rd->step = !yes || !pending(rd) ? after : rd->open ? S_APPLY : S_BEGIN;
}

static void
start_stream(struct reader *rd, enum step after)
{
	rd->after = after;
	rd->streaming = true;
	rd->step = rd->open ? S_APPLY : S_BEGIN;
}

static void
to_sink(struct world *w, struct reader *rd)
{
	enum sink_answer a = SINK_DONE;

	switch (rd->step) {
	case S_BEGIN:
		a = sink_begin(w, rd);
		if (a == SINK_DONE) {
			rd->open = true;
			rd->step = S_APPLY;
		}
		break;
	case S_APPLY:
		a = sink_apply(w, rd);
		if (a != SINK_DONE)
			break;
		rd->step = rd->streaming ? rd->after : S_COMMIT;
		batch_reset(&rd->batch, keep);
		break;
	case S_COMMIT:
		a = sink_commit(w, rd);
		if (a == SINK_DONE && w->on[F_LOST_ANSWER] && !w->quiet && one_in(&w->rng, 8)) {
			w->stats->moments[M_READER_COMMIT]++;
			a = SINK_GONE;
		}
		if (a == SINK_DONE)
			rd->step = S_COMMITTED;
		break;
	case S_COMMITTED:
		rd->f.applied = rd->f.next;
		rd->open = false;
		rd->step = rd->after;
		break;
	default: break;
	}
	if (a == SINK_MOVED)
		moved(w, rd);
	else if (a == SINK_GONE)
		session_end(w, rd, START);
}

/* ---- rows ---- */

/* As the envelope says it: b is the writer's type's zero where it was not sent, the header tells. */
static void
decode(struct world *w, struct batch *b, const struct head *h, struct row *r)
{
	const struct edit *e = h->rec.edit;
	enum half half = h->rec.half;
	bool gone = e->op == OP_DELETE || half == HALF_FROM;
	struct err err;

	r->op = half == HALF_FROM ? OP_DELETE : half == HALF_TO ? OP_CREATE : e->op;
	r->tbl = &w->tbl[e->table];
	r->seq = h->tl.seq;
	r->index = h->tl.index;
	r->lsn = h->tl.lsn;
	r->offset = h->rec.offset;
	if (gone) {
		r->before = arena_array(&b->arena, COLS, sizeof *r->before);
		r->before[0] = value_int(e->key);
	} else if (e->op != OP_TRUNCATE) {
		r->after = arena_array(&b->arena, COLS, sizeof *r->after);
		r->after[0] = value_int(e->to);
		r->after[1] = value_int(e->a);
		r->after[2] = value_int(e->keeps_b ? 0 : e->b);
	}
	if (tl_apply(&h->tl, r->before, r->after, COLS, &err) != OK)
		broken(w, "%s", err.text);
}

static void
take_row(struct world *w, struct reader *rd, const struct head *h)
{
	struct row row = { 0 };

	if (!follow_wants(&rd->f, &h->tl) &&
	    !(w->plant == PLANT_NO_CUT && !(h->tl.flags & TL_TOMBSTONE)))
		return;
	if (w->plant == PLANT_LSN_ONLY) {
		bool seen = h->tl.lsn <= rd->last_lsn;

		rd->last_lsn = h->tl.lsn;
		if (seen)
			return;
	}
	decode(w, &rd->batch, h, &row);
	if (follow_join(&rd->f, &row, h->tl.flags))
		*batch_row(&rd->batch) = row;
}

static bool
part_header(const struct world *w, const struct reader *rd, const struct rec *rec, struct tl *tl)
{
	struct err why;

	if (tl_take(rec->tl, tl, &why) != OK)
		return false;
	if (w->plant == PLANT_ANY_GEN || w->plant == PLANT_ALL_ROWS)
		tl->gen = rd->as.gen;
	if (w->plant == PLANT_ALL_ROWS)
		tl->seq = tl->seq < rd->as.seq_from ? rd->as.seq_from
		    : tl->seq > rd->as.seq_to	    ? rd->as.seq_to
						    : tl->seq;
	return true;
}

static void
bring(struct world *w, struct reader *rd, int part)
{
	const struct spine_part *p = &rd->group.parts[part];
	int log = (p->topic.p[1] - '0') * PARTS + p->partition;
	struct head *h = &rd->heads[part];

	if (rd->next[log] < 0)
		rd->next[log] = p->first;
	switch (fetch(w, log, rd->next[log], &h->rec)) {
	case GONE: refused(w, rd, "offset out of range"); return;
	case NOTHING:
		if (++rd->waits > WAITS_MAX)
			refused(w, rd, "rows that the spine promises do not come");
		return;
	case GOT: break;
	}
	rd->waits = 0;
	rd->next[log] = h->rec.offset + 1;
	switch (assemble_offer(
	    &rd->as, part, h->rec.offset, part_header(w, rd, &h->rec, &h->tl) ? &h->tl : NULL)) {
	case ASSEMBLE_ROW: break;
	case ASSEMBLE_BEYOND: refused(w, rd, "a range was not met"); break;
	case ASSEMBLE_ORPHAN: w->stats->orphans++; break;
	case ASSEMBLE_FOREIGN: w->stats->foreign++; break;
	}
}

static void
group_end(struct world *w, struct reader *rd)
{
	bool full = rd->batch.nrows >= w->batch_rows;

	rd->step = S_FETCH;
	if (!follow_taken(&rd->f, &rd->group, rd->at)) {
		if (full && !rd->f.moved)
			start_stream(rd, S_FETCH);
	} else if (rd->open || full) {
		start_flush(rd, S_FETCH, true);
	}
}

static void
rows(struct world *w, struct reader *rd)
{
	int i = assemble_want(&rd->as);

	if (i >= 0) {
		bring(w, rd, i);
		return;
	}
	i = assemble_next(&rd->as);
	if (i < 0) {
		group_end(w, rd);
		return;
	}
	take_row(w, rd, &rd->heads[i]);
	if (!rd->f.moved && rd->batch.nrows >= w->batch_rows * 2)
		start_stream(rd, S_ROWS);
}

/* ---- the spine ---- */

static void
take_spine(struct world *w, struct reader *rd, const struct rec *rec)
{
	struct spine_record *r = &rd->group;
	enum follow_verdict v;
	struct err err;

	arena_reset(&rd->arena);
	rd->at = (struct spine_at){ rec->offset, rec->hash };
	if (spine_take(rec->bytes, &rd->arena, r, &err) != OK)
		broken(w, "%s", err.text);
	if (w->plant == PLANT_ANY_GEN && r->kind != SPINE_OPEN && rd->f.state.started) {
		r->gen = rd->f.state.gen;
		r->token = rd->f.state.token;
	}
	v = follow_spine(&rd->f, r, rd->at);
	if (v == FOLLOW_CUT && w->plant == PLANT_NO_CUT)
		v = FOLLOW_PASS;
	switch (v) {
	case FOLLOW_PASS: break;
	case FOLLOW_ORPHAN: w->stats->orphans++; break;
	case FOLLOW_GROUP:
		assemble_begin(&rd->as, r, &rd->arena);
		rd->heads = arena_array(&rd->arena, (size_t)r->nparts, sizeof *rd->heads);
		/* What is whole does not wait for a long transaction's end. */
		start_flush(rd, S_ROWS, (r->flags & SPINE_MORE) && !rd->open);
		break;
	case FOLLOW_QUIET:
		if (rd->open || rd->batch.nrows || !one_in(&w->rng, 4))
			break;
		follow_mark(&rd->f, r, rd->at);
		start_flush(rd, S_FETCH, true);
		break;
	case FOLLOW_MARK: start_flush(rd, S_FETCH, true); break;
	case FOLLOW_CUT:
		TELL(w, "reader %d: transaction %" PRIu64 " was cut", rd->number, rd->f.cut_seq);
		w->stats->cuts++;
		session_end(w, rd, START);
		break;
	case FOLLOW_GAP: refused(w, rd, "gap in the spine"); break;
	}
}

static void
next_record(struct world *w, struct reader *rd)
{
	struct rec rec;

	switch (fetch(w, SPINE, rd->spine_next, &rec)) {
	case GONE: refused(w, rd, "the spine ends before what was read"); break;
	case NOTHING:
		if (!rd->open && !rd->f.state.partial)
			start_flush(rd, S_FETCH, true);
		break;
	case GOT:
		rd->spine_next = rec.offset + 1;
		take_spine(w, rd, &rec);
		break;
	}
}

void
reader_step(struct world *w, struct reader *rd)
{
	uint64_t n = 1 + below(&w->rng, 6);

	if (rd->phase == START) {
		open_session(w, rd);
		return;
	}
	for (; n > 0 && rd->phase == RUN; n--) {
		if (rd->step == S_FETCH)
			next_record(w, rd);
		else if (rd->step == S_ROWS)
			rows(w, rd);
		else
			to_sink(w, rd);
	}
}
