#include "tests/sim/sim.h"

int
table_log(const struct world *w, int table, int key)
{
	return table * PARTS + key % w->parts;
}

/* An edit that the tables allow. */
static void
edit_make(struct world *w, struct tables *t, struct edit *e)
{
	struct rng *r = &w->rng;
	int table = (int)below(r, TABLES), key = (int)below(r, KEYS), to = (int)below(r, KEYS);
	struct cell *c = &t->rows[table][key];

	*e = (struct edit){ .table = table,
		.key = key,
		.to = key,
		.a = (int)below(r, 1000),
		.b = (int)below(r, 1000) };
	if (w->on[F_TRUNCATES] && one_in(r, 20)) {
		e->op = OP_TRUNCATE;
		memset(t->rows[table], 0, sizeof t->rows[table]);
		return;
	}
	if (!c->there) {
		e->op = OP_CREATE;
		*c = (struct cell){ true, e->a, e->b };
		return;
	}
	if (one_in(r, 4)) {
		e->op = OP_DELETE;
		*c = (struct cell){ 0 };
		return;
	}
	e->op = OP_UPDATE;
	e->keeps_b = one_in(r, 2);
	if (e->keeps_b)
		e->b = c->b;
	if (w->on[F_MOVES] && one_in(r, 3) && !t->rows[table][to].there) {
		e->to = to;
		*c = (struct cell){ 0 };
	}
	t->rows[table][e->to] = (struct cell){ true, e->a, e->b };
}

void
source_make(struct world *w)
{
	struct rng *r = &w->rng;
	struct tables t = { 0 };
	uint64_t lsn = 1000;

	w->ntxns = w->on[F_LONG] ? 120 + (int)below(r, 100) : 4 + (int)below(r, 16);
	w->txns = arena_array(&w->arena, (size_t)w->ntxns, sizeof *w->txns);
	w->by_seq = arena_array(&w->arena, (size_t)w->ntxns + 1, sizeof *w->by_seq);
	for (int i = 0; i < w->ntxns; i++) {
		struct source_txn *x = &w->txns[i];

		x->n = 1 + (int)below(r, 4);
		if (w->on[F_HUGE] && one_in(r, 5))
			x->n = 5 + (int)below(r, 16);
		if (w->on[F_EMPTY] && one_in(r, 4))
			x->n = 0;
		x->commit_lsn = lsn + 1 + below(r, 50);
		x->end_lsn = x->commit_lsn + 1 + below(r, 10);
		x->idle_lsn = x->end_lsn + below(r, 10);
		lsn = x->idle_lsn;
		x->commit_us = (int64_t)i * 1000 + 1;
		x->edits = arena_array(&w->arena, (size_t)x->n, sizeof *x->edits);
		for (int k = 0; k < x->n; k++)
			edit_make(w, &t, &x->edits[k]);
		x->after = t;
		if (x->n) {
			x->seq = ++w->last_seq;
			w->by_seq[x->seq] = i;
		}
	}
}

/*
 * The source forgets up to lsn. I10: nothing that is not in the spine by then, neither by what the spine says of itself nor by the
 * transactions that are in it.
 */
void
source_confirm(struct world *w, uint64_t lsn)
{
	if (lsn <= w->confirmed)
		return;
	w->confirmed = lsn;
	TELL(w, "slot: confirmed %" PRIu64, lsn);
	if (w->lost)
		return;
	if (lsn > w->truth.watermark)
		broken(w,
		    "the slot was confirmed at %" PRIu64 ", the spine's watermark is %" PRIu64, lsn,
		    w->truth.watermark);
	for (int i = 0; i < w->committed && w->txns[i].end_lsn <= lsn; i++)
		if (w->txns[i].seq > w->truth.seq)
			broken(w,
			    "transaction %" PRIu64
			    " is forgotten by the source, the spine has %" PRIu64,
			    w->txns[i].seq, w->truth.seq);
}
