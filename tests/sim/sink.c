/* The sink: tables and a marker, one transaction at a time, and at each commit the comparison with the source. */
#include "tests/sim/sim.h"

/* ---- transactions ---- */

enum sink_answer
sink_begin(struct world *w, const struct reader *rd)
{
	struct sim_sink *s = &w->sink;
	const struct marker *e = &rd->f.applied;

	if (rd->epoch != s->epoch)
		return SINK_GONE;
	/* The marker's row is locked by another's transaction. */
	if (s->owner >= 0)
		return SINK_WAIT;
	if (w->plant != PLANT_NO_CAS &&
	    (s->marker.spine_offset != e->spine_offset || s->marker.spine_hash != e->spine_hash ||
		s->marker.gen > rd->f.next.gen))
		return SINK_MOVED;
	s->owner = rd->number;
	s->work = s->tables;
	s->nrows = 0;
	s->unfit = NULL;
	return SINK_DONE;
}

void
sink_rollback(struct world *w, const struct reader *rd)
{
	if (w->sink.owner == rd->number && rd->epoch == w->sink.epoch)
		w->sink.owner = -1;
}

/* ---- works ---- */

static int
table_of(const struct world *w, const struct table *tbl)
{
	return (int)(tbl - w->tbl);
}

/*
 * Strict: what cannot happen at the source may not be asked of the sink. But a huge transaction is streamed before all of it is there:
 * of one whose rows Kafka lost only the commit tells.
 */
static void
unfit(struct world *w, const struct row *r, const char *what)
{
	if (!w->lost)
		broken(w, "seq %" PRIu64 " index %" PRIu64 ": %s", r->seq, r->index, what);
	w->sink.unfit = what;
}

static void
put_row(struct world *w, struct cell *c, const struct row *r, const struct value *row)
{
	if (row[2].kind == V_ABSENT && !c->there)
		unfit(w, r, "a row is made without its column b");
	c->there = true;
	if (row[1].kind != V_ABSENT)
		c->a = (int)row[1].i;
	if (row[2].kind != V_ABSENT)
		c->b = (int)row[2].i;
}

static void
do_row(struct world *w, struct cell *rows, const struct row *r)
{
	struct cell *from = &rows[r->before[0].i], *to = &rows[r->after[0].i], c = *from;

	if (!r->moved || !from->there || to->there)
		unfit(w, r, "a key cannot become that");
	put_row(w, &c, r, r->after);
	*from = (struct cell){ 0 };
	*to = c;
}

static void
do_net(struct world *w, struct cell *rows, enum work_kind kind, const struct net *net)
{
	struct cell *c = &rows[net->key[0].i];

	switch (kind) {
	case WORK_DELETE: *c = (struct cell){ 0 }; break;
	case WORK_UPDATE:
		if (!c->there)
			unfit(w, net->last, "update of a key that is not there");
		put_row(w, c, net->last, net->row);
		break;
	case WORK_INSERT:
		if (c->there)
			unfit(w, net->last, "insert of a key that is there");
		put_row(w, c, net->last, net->row);
		break;
	case WORK_READ:
	case WORK_UPSERT: put_row(w, c, net->last, net->row); break;
	case WORK_ROW: do_row(w, rows, net->last); break;
	case WORK_TRUNCATE: break;
	}
}

static void
do_work(struct world *w, struct tables *t, const struct work *work)
{
	struct cell *rows = t->rows[table_of(w, work->tbl)];

	if (work->kind == WORK_TRUNCATE)
		memset(rows, 0, KEYS * sizeof *rows);
	for (int i = 0; i < work->n; i++)
		do_net(w, rows, work->kind, &work->nets[i]);
}

static void
note_rows(struct world *w, const struct batch *b)
{
	struct sim_sink *s = &w->sink;

	if (s->nrows + b->nrows > s->cap) {
		int cap = (s->nrows + b->nrows) * 2;
		struct applied *more = arena_array(&w->arena, (size_t)cap, sizeof *more);

		if (s->nrows)
			memcpy(more, s->rows, (size_t)s->nrows * sizeof *more);
		s->rows = more;
		s->cap = cap;
	}
	for (int i = 0; i < b->nrows; i++) {
		const struct row *r = &b->rows[i];
		const struct value *key = r->before ? r->before : r->after;

		s->rows[s->nrows++] = (struct applied){ .seq = r->seq,
			.index = r->index,
			.op = r->op,
			.table = table_of(w, r->tbl),
			.key = key ? (int)key[0].i : 0,
			.to = r->after ? (int)r->after[0].i : 0,
			.a = r->after ? (int)r->after[1].i : 0,
			.b = r->after && r->after[2].kind != V_ABSENT ? (int)r->after[2].i : 0,
			.keeps_b = r->after && r->after[2].kind == V_ABSENT };
	}
}

enum sink_answer
sink_apply(struct world *w, struct reader *rd)
{
	if (rd->epoch != w->sink.epoch)
		return SINK_GONE;
	batch_plan(&rd->batch);
	note_rows(w, &rd->batch);
	for (int i = 0; i < rd->batch.nworks; i++)
		do_work(w, &w->sink.work, &rd->batch.works[i]);
	return SINK_DONE;
}

/* ---- the comparison ---- */

static bool
same_edit(const struct applied *got, const struct edit *e)
{
	if (got->op != e->op || got->table != e->table)
		return false;
	if (e->op == OP_TRUNCATE)
		return true;
	if (got->key != e->key)
		return false;
	return e->op == OP_DELETE ||
	    (got->to == e->to && got->a == e->a && got->keeps_b == e->keeps_b &&
		(e->keeps_b || got->b == e->b));
}

/* I9: the rows of this sink transaction are the source's from the old marker to the new one: each, once, in order. */
static void
check_rows(const struct world *w, uint64_t from, uint64_t to)
{
	const struct sim_sink *s = &w->sink;
	int at = 0;

	for (uint64_t seq = from + 1; seq <= to; seq++) {
		const struct source_txn *x = &w->txns[w->by_seq[seq]];
		uint64_t index = 0;

		for (int i = 0; i < x->n; i++, at++) {
			const struct edit *e = &x->edits[i];
			bool moved = e->to != e->key;
			const struct applied *got = &s->rows[at];

			if (at >= s->nrows)
				broken(
				    w, "seq %" PRIu64 ": change %d is missing at the sink", seq, i);
			if (got->seq != seq || got->index != index + (moved ? 2 : 0) ||
			    !same_edit(got, e))
				broken(w,
				    "seq %" PRIu64 " index %" PRIu64
				    " at the sink is not change %d of seq %" PRIu64,
				    got->seq, got->index, i, seq);
			index += moved ? 3 : e->op == OP_DELETE ? 2 : 1;
		}
	}
	if (at < s->nrows)
		broken(w,
		    "seq %" PRIu64 " index %" PRIu64
		    " at the sink is beyond the marker's seq %" PRIu64,
		    s->rows[at].seq, s->rows[at].index, to);
}

/* I7: the tables are the source's at the transaction that the marker claims. */
static void
check_commit(const struct world *w, const struct marker *next)
{
	static const struct tables empty;
	const struct sim_sink *s = &w->sink;
	const struct source_txn *x;

	if (next->seq > w->last_seq || next->seq < s->marker.seq)
		broken(w, "the marker went from seq %" PRIu64 " to %" PRIu64, s->marker.seq,
		    next->seq);
	if (s->unfit)
		broken(w, "committed at seq %" PRIu64 ": %s", next->seq, s->unfit);
	x = next->seq ? &w->txns[w->by_seq[next->seq]] : NULL;
	if (next->lsn != (x ? x->commit_lsn : 0))
		broken(
		    w, "the marker's seq %" PRIu64 " is not of LSN %" PRIu64, next->seq, next->lsn);
	check_rows(w, s->marker.seq, next->seq);
	for (int t = 0; t < TABLES; t++)
		for (int k = 0; k < KEYS; k++) {
			const struct cell *got = &s->work.rows[t][k],
					  *want = x ? &x->after.rows[t][k] : &empty.rows[t][k];

			if (got->there != want->there ||
			    (got->there && (got->a != want->a || got->b != want->b)))
				broken(w, "table %d key %d differs from the source at seq %" PRIu64,
				    t, k, next->seq);
		}
}

enum sink_answer
sink_commit(struct world *w, const struct reader *rd)
{
	struct sim_sink *s = &w->sink;

	if (rd->epoch != s->epoch)
		return SINK_GONE;
	TELL(w, "sink: reader %d commits seq %" PRIu64 " at spine offset %" PRId64 ", %d rows",
	    rd->number, rd->f.next.seq, rd->f.next.spine_offset, s->nrows);
	check_commit(w, &rd->f.next);
	s->tables = s->work;
	s->marker = rd->f.next;
	s->owner = -1;
	w->stats->commits++;
	w->stats->rows += (uint64_t)s->nrows;
	return SINK_DONE;
}
