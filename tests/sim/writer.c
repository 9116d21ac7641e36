/* A producer's loop: what producer.c, source_pg.c, publish.c and spine_log.c do, one action a step. */
#include "tests/sim/sim.h"

#include "producer/resume.h"

enum {
	OPEN_WAITS = 400, /* looks for the OPEN that was sent */
};

static struct slice
kept(struct world *w, struct buf *b)
{
	struct slice s = arena_slice(&w->arena, buf_view(b));

	buf_free(b);
	return s;
}

/* ---- to the logs ---- */

static void
send_spine(struct world *w, struct writer *wr, struct spine_record *r, const struct group *g)
{
	struct mail m = { .no = r->no, .watermark = g ? r->watermark : 0 };
	struct spine_part parts[SPINE];
	static const char *const topics[TABLES] = { "t0", "t1", "t2" };
	struct buf b = { 0 };

	r->at_us = w->now_ms * 1000;
	if (g) {
		r->parts = parts;
		r->nparts = g->nparts;
		for (int i = 0; i < g->nparts; i++) {
			const struct group_part *p = &g->parts[i];

			parts[i] = (struct spine_part){ slice_of(topics[p->slot / PARTS]),
				(int32_t)(p->slot % PARTS), p->first, p->last, p->count };
		}
		wr->groups++;
	}
	spine_put(&b, r);
	m.rec.bytes = kept(w, &b);
	mail_put(w, &wr->out[SPINE], &m);
}

static void
send_row(struct world *w, struct writer *wr, struct group *g, const struct source_txn *x,
    const struct edit *e, const struct value *after, enum half half)
{
	static const uint32_t flags[] = { [HALF_TOMBSTONE] = TL_TOMBSTONE,
		[HALF_FROM] = TL_MOVED_FROM,
		[HALF_TO] = TL_MOVED_TO };
	struct grouping *gr = &wr->g;
	struct tl tl = { .flags = flags[half],
		.gen = gr->place.gen,
		.seq = gr->place.seq,
		.index = gr->place.index++,
		.lsn = x->commit_lsn };
	struct mail m = { .no = g->no, .rec = { .edit = e, .half = half } };
	int key = e->op == OP_TRUNCATE ? 0 : half == HALF_TO ? e->to : e->key;
	struct buf b = { 0 };

	tl_put(&b, &tl, NULL, half == HALF_ROW || half == HALF_TO ? after : NULL, COLS);
	m.rec.tl = kept(w, &b);
	mail_put(w, &wr->out[table_log(w, e->table, key)], &m);
	group_sent(&gr->inflight, g, 100);
}

static void
send_edit(struct world *w, struct writer *wr, const struct source_txn *x, const struct edit *e)
{
	struct value before[COLS] = { value_int(e->key) },
		     after[COLS] = { value_int(e->to), value_int(e->a), value_int(e->b) };
	struct change ch = { .op = e->op, .tbl = &w->tbl[e->table] };
	bool moved = e->to != e->key;
	struct group *g;

	if (e->keeps_b)
		after[2].kind = V_ABSENT;
	if (moved || e->op == OP_DELETE)
		ch.before = before;
	if (e->op == OP_CREATE || e->op == OP_UPDATE)
		ch.after = after;
	grouping_barrier(&wr->g, grouping_apart(&ch));
	g = grouping_change(&wr->g, w->now_ms);
	if (!g)
		return;
	if (moved || e->op == OP_DELETE) {
		send_row(w, wr, g, x, e, NULL, moved ? HALF_FROM : HALF_ROW);
		send_row(w, wr, g, x, e, NULL, HALF_TOMBSTONE);
	}
	if (moved || e->op != OP_DELETE)
		send_row(w, wr, g, x, e, ch.after, moved ? HALF_TO : HALF_ROW);
	grouping_sent(&wr->g);
}

/* ---- the logs' side ---- */

/* A record reaches its log; sent again after a lost answer it stands there twice, and either place may be the one that is told. */
static int64_t
deliver(struct world *w, int log, const struct mail *m)
{
	int64_t first, second;

	if (w->on[F_FOREIGN] && log != SPINE && one_in(&w->rng, 8)) {
		struct rec other = { .tl = one_in(&w->rng, 2) ? SLICE_LIT("\011not ours")
							      : (struct slice){ "", 0 } };

		log_append(w, log, &other);
	}
	log_append(w, log, &m->rec);
	first = w->logs[log].end - 1;
	if (!w->on[F_REPEAT] || !one_in(&w->rng, 6))
		return first;
	log_append(w, log, &m->rec);
	second = w->logs[log].end - 1;
	return one_in(&w->rng, 2) ? first : second;
}

bool
writer_deliver(struct world *w, struct writer *wr)
{
	int from = (int)below(&w->rng, LOGS);

	for (int i = 0; i < LOGS; i++) {
		int log = (from + i) % LOGS;
		struct mail *m = mail_take(&wr->out[log]);

		if (!m)
			continue;
		m->offset = deliver(w, log, m);
		if (log != SPINE || m->watermark)
			mail_put(w, &wr->acks[log], m);
		return true;
	}
	return false;
}

/* ---- life and death ---- */

static void
moments(struct world *w, const struct writer *wr)
{
	uint64_t *m = w->stats->moments;
	const struct grouping *g = &wr->g;
	const struct inflight *f = &g->inflight;

	if (wr->phase == OPENING)
		m[M_OPENING]++;
	if (wr->phase != RUN)
		return;
	if (!wr->groups)
		m[M_OPENED]++;
	if (g->in_txn && !g->txn_rows)
		m[M_BEGIN]++;
	for (uint64_t no = f->first_no; no < f->next_no; no++) {
		const struct group *group = &f->ring[no % INFLIGHT_GROUPS];

		if (group->accepted)
			m[M_READ_BACK]++;
		else if (group->announced)
			m[wr->out[SPINE].n ? M_GROUP_SENT : M_GROUP_STANDS]++;
		else if (group->acked < group->sent)
			m[M_ROWS_SENT]++;
		else
			m[M_ROWS_ACKED]++;
	}
}

static void
session_end(struct writer *wr, enum phase phase)
{
	inflight_free(&wr->g.inflight);
	*wr = (struct writer){ .number = wr->number, .phase = phase, .paused = wr->paused };
}

/* What it had sent may have left the machine, a part of it in each log. */
void
writer_kill(struct world *w, struct writer *wr)
{
	TELL(w, "writer %d: killed", wr->number);
	moments(w, wr);
	for (int i = 0; i < LOGS && w->on[F_GHOSTS]; i++) {
		int n = (int)below(&w->rng, (uint64_t)wr->out[i].n + 1);

		for (; n > 0; n--)
			mail_put(w, &w->ghosts[i], mail_take(&wr->out[i]));
	}
	session_end(wr, DEAD);
	wr->paused = false;
}

void
writer_start(struct world *w, struct writer *wr)
{
	TELL(w, "writer %d: started", wr->number);
	session_end(wr, START);
}

/* ---- start ---- */

/* As spine_log_state. */
static bool
look(struct world *w, struct writer *wr)
{
	const struct log *l = &w->logs[SPINE];
	struct spine_state *s = &wr->g.state;

	for (int window = w->tail_min;; window *= 8) {
		int from = l->n > window ? l->n - window : 0, n = l->n - from, i;
		struct arena a = { 0 };
		struct spine_record *recs = arena_array(&a, (size_t)n, sizeof *recs);
		const struct spine_record **list = arena_array(&a, (size_t)n, sizeof(*list));
		bool gap = false;
		struct err err;

		for (i = 0; i < n; i++) {
			list[i] = &recs[i];
			if (spine_take(l->recs[from + i].bytes, &a, &recs[i], &err) != OK)
				broken(w, "%s", err.text);
		}
		i = spine_resume(s, list, n);
		if (i < 0 && from == 0)
			*s = (struct spine_state){ 0 }, i = 0;
		for (; i >= 0 && i < n && !gap; i++)
			gap = spine_step(s, list[i]) == SPINE_GAP;
		arena_free(&a);
		if (gap || i >= 0) {
			wr->spine_at = l->n;
			wr->spine_next = l->end;
			return !gap;
		}
	}
}

static void
open_session(struct world *w, struct writer *wr)
{
	struct conf conf = { .name = "sim", .slot = "sim" };
	struct source_identity id = { .system_id = SYSTEM_ID,
		.timeline = 1,
		.database = "db",
		.confirmed = w->confirmed,
		.exists = w->slot };
	struct spine_record r;
	struct err err;

	wr->g = (struct grouping){ .rows_max = w->group_rows,
		.bytes_max = 1 << 20,
		.system_id = SYSTEM_ID,
		.timeline = 1,
		.uncut = w->seed % 4 == 0 };
	if (!look(w, wr)) {
		wr->phase = REFUSED;
		refuse(w, "writer", wr->number, "gap in the spine at start");
		return;
	}
	if (!w->lost &&
	    (wr->g.state.no != w->truth.no || wr->g.state.gen != w->truth.gen ||
		wr->g.state.seq != w->truth.seq))
		broken(w, "writer %d takes the spine for gen %" PRIu64 " no %" PRIu64, wr->number,
		    wr->g.state.gen, wr->g.state.no);
	if (resume_judge(&conf, &wr->g.state, &id, false, &err) != OK) {
		wr->phase = REFUSED;
		refuse(w, "writer", wr->number, err.text);
		return;
	}
	r = grouping_open(&wr->g, rnd(&w->rng) >> 1);
	send_spine(w, wr, &r, NULL);
	wr->phase = OPENING;
}

/* The slot is one connection's: who comes takes it over, or finds it in use. */
static void
connect(struct world *w, struct writer *wr)
{
	for (int i = 0; i < w->nwriters; i++) {
		struct writer *other = &w->writers[i];

		if (!other->connected)
			continue;
		if (!other->paused && one_in(&w->rng, 2)) {
			session_end(wr, START);
			return;
		}
		other->connected = false;
		other->buffered = (int)below(&w->rng, 12);
	}
	w->slot = true;
	grouping_ready(&wr->g, w->confirmed);
	wr->connected = true;
	wr->pos = -1;
	while (wr->txn < w->committed && w->txns[wr->txn].end_lsn <= w->confirmed)
		wr->txn++;
	wr->phase = RUN;
	TELL(w, "writer %d: gen %" PRIu64 " from transaction %d of the source", wr->number,
	    wr->g.place.gen, wr->txn);
}

/* ---- the loop ---- */

static void
read_back(struct world *w, struct writer *wr)
{
	const struct log *l = &w->logs[SPINE];
	const struct rec *rec = log_at(l, wr->spine_next);
	struct arena a = { 0 };
	struct spine_record r;
	enum grouping_verdict v;
	struct err err;

	if (wr->spine_next > l->end) {
		wr->phase = REFUSED;
		refuse(w, "writer", wr->number, "the spine ends before what was read");
		return;
	}
	if (!rec)
		return;
	wr->spine_next = rec->offset + 1;
	if (spine_take(rec->bytes, &a, &r, &err) != OK)
		broken(w, "%s", err.text);
	v = grouping_read_back(&wr->g, &r);
	arena_free(&a);
	switch (v) {
	case GROUPING_ON:
	case GROUPING_PUBLISHED:
		if (wr->phase == OPENING && wr->g.opened)
			connect(w, wr);
		break;
	case GROUPING_LOST:
		w->stats->lost_opens++;
		session_end(wr, START);
		break;
	case GROUPING_FENCED:
		TELL(w, "writer %d: fenced", wr->number);
		w->stats->fenced++;
		session_end(wr, DEAD);
		break;
	case GROUPING_GAP:
		wr->phase = REFUSED;
		refuse(w, "writer", wr->number, "gap in the spine, read back");
		break;
	}
}

static void
take_ack(struct world *w, struct writer *wr)
{
	int from = (int)below(&w->rng, LOGS);

	for (int i = 0; i < LOGS; i++) {
		int log = (from + i) % LOGS;
		struct mail *m = mail_take(&wr->acks[log]);

		if (!m)
			continue;
		if (log != SPINE && m->no)
			group_acked(inflight_at(&wr->g.inflight, m->no), (uint32_t)log, m->offset);
		else if (log == SPINE && w->plant == PLANT_NO_READ_BACK)
			source_confirm(w, m->watermark);
		return;
	}
}

static void
next_event(struct world *w, struct writer *wr)
{
	const struct source_txn *x = &w->txns[wr->txn];
	struct txn txn;

	if (!wr->connected && wr->buffered-- <= 0) {
		session_end(wr, START);
		return;
	}
	if (!grouping_room(&wr->g))
		return;
	if (wr->txn >= w->committed) {
		if (w->committed && !wr->g.in_txn)
			grouping_idle(&wr->g, w->txns[w->committed - 1].idle_lsn);
		return;
	}
	txn = (struct txn){
		.commit_lsn = x->commit_lsn, .end_lsn = x->end_lsn, .commit_us = x->commit_us
	};
	if (wr->pos < 0)
		grouping_begin(&wr->g, &txn);
	else if (wr->pos < x->n) {
		struct edit *e = &x->edits[wr->pos];

		send_edit(w, wr, x, e);
	} else {
		grouping_commit(&wr->g, &txn);
		if (w->plant == PLANT_CONFIRM_EARLY)
			source_confirm(w, txn.end_lsn);
	}
	if (++wr->pos > x->n) {
		wr->pos = -1;
		wr->txn++;
	}
}

/* Rows that are only sent count as acknowledged, at the offset where they will surely be. */
static void
ack_early(struct world *w, struct writer *wr)
{
	struct inflight *f = &wr->g.inflight;
	struct group *g;

	if (f->announced_no + 1 >= f->next_no)
		return;
	g = inflight_at(f, f->announced_no + 1);
	for (int log = 0; log < SPINE && g->closed; log++) {
		int64_t offset = w->logs[log].end;

		for (struct mail *m = wr->acks[log].head; m; m = m->next)
			if (m->no == g->no) {
				group_acked(g, (uint32_t)log, m->offset);
				m->no = 0;
			}
		for (struct mail *m = wr->out[log].head; m; m = m->next, offset++)
			if (m->no == g->no) {
				group_acked(g, (uint32_t)log, offset);
				m->no = 0;
			}
	}
}

static void
announce(struct world *w, struct writer *wr)
{
	struct spine_record r;
	const struct group *g;

	if (w->plant == PLANT_GROUP_EARLY)
		ack_early(w, wr);
	g = grouping_announce(&wr->g, &r);
	if (g)
		send_spine(w, wr, &r, g);
	else if (wr->g.torn)
		session_end(wr, START);
}

static void
run(struct world *w, struct writer *wr)
{
	struct spine_record r;

	switch (below(&w->rng, 12)) {
	case 0:
	case 1:
		if (!w->on[F_STALL] || w->quiet || one_in(&w->rng, 24))
			read_back(w, wr);
		break;
	case 2:
	case 3: take_ack(w, wr); break;
	case 4: grouping_close(&wr->g); break;
	case 5: announce(w, wr); break;
	case 6:
		if (grouping_beat(&wr->g, w->now_ms, &r))
			send_spine(w, wr, &r, NULL);
		break;
	case 7: source_confirm(w, grouping_safe(&wr->g, UINT64_MAX)); break;
	default: next_event(w, wr); break;
	}
}

void
writer_step(struct world *w, struct writer *wr)
{
	if (wr->phase == START)
		open_session(w, wr);
	else if (wr->phase == OPENING && ++wr->waits > OPEN_WAITS)
		session_end(wr, START); /* as OPEN_MS */
	else if (wr->phase == OPENING)
		read_back(w, wr);
	for (uint64_t n = 1 + below(&w->rng, 6); n > 0 && wr->phase == RUN; n--)
		run(w, wr);
	if (wr->phase == RUN && grouping_overdue(&wr->g, w->now_ms))
		session_end(wr, START);
}
