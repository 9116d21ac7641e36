#include "tests/sim/sim.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* What everybody must come to believe, told as each record takes its place. */
static void
truth_step(struct world *w, const struct rec *rec)
{
	struct arena a = { 0 };
	struct spine_record r;
	struct err err;

	if (spine_take(rec->bytes, &a, &r, &err) != OK)
		broken(w, "%s", err.text);
	switch (spine_step(&w->truth, &r)) {
	case SPINE_ACCEPT:
		if (r.kind == SPINE_GROUP)
			w->stats->groups++;
		break;
	case SPINE_GAP:
		if (!w->lost)
			broken(w, "a gap in the spine before group %" PRIu64, r.no);
		break;
	case SPINE_STALE:
	case SPINE_REPEAT: break;
	}
	TELL(w,
	    "spine %" PRId64 ": %s gen %" PRIu64 " no %" PRIu64 " seq %" PRIu64 "-%" PRIu64
	    " flags %u watermark %" PRIu64 " -> gen %" PRIu64 " no %" PRIu64 " seq %" PRIu64 "%s",
	    rec->offset,
	    r.kind == SPINE_GROUP      ? "GROUP"
		: r.kind == SPINE_OPEN ? "OPEN"
				       : "BEAT",
	    r.gen, r.no, r.seq_from, r.seq_to, r.flags, r.watermark, w->truth.gen, w->truth.no,
	    w->truth.seq, w->truth.partial ? " partial" : "");
	arena_free(&a);
}

void
log_append(struct world *w, int log, const struct rec *rec)
{
	struct log *l = &w->logs[log];
	struct rec *to;

	if (l->n == l->cap) {
		int cap = l->cap ? l->cap * 2 : 32;
		struct rec *more = arena_array(&w->arena, (size_t)cap, sizeof *more);

		if (l->n)
			memcpy(more, l->recs, (size_t)l->n * sizeof *more);
		l->recs = more;
		l->cap = cap;
	}
	to = &l->recs[l->n++];
	*to = *rec;
	if (w->on[F_HOLES] && one_in(&w->rng, 4))
		l->end += (int64_t)below(&w->rng, 3);
	to->offset = l->end++;
	if (log == SPINE) {
		to->hash = XXH3_64bits(to->bytes.p, to->bytes.n);
		truth_step(w, to);
	}
}

/*
 * The spine keeps its first record that counts with a watermark: one of nothing but OPENs is no
 * different from that of a pipeline whose first writer died in its first moment, and what the slot
 * had confirmed since cannot be told (README.md, "What is not told").
 */
static int
may_lose(const struct world *w, int log)
{
	const struct log *l = &w->logs[log];
	struct arena a = { 0 };
	struct spine_state s = { 0 };
	int keep = 0;

	while (log == SPINE && keep < l->n && !s.watermark) {
		struct spine_record r;
		struct err err;

		if (spine_take(l->recs[keep++].bytes, &a, &r, &err) == OK)
			(void)spine_step(&s, &r);
	}
	arena_free(&a);
	return l->n - keep;
}

void
log_lose_tail(struct world *w, int log)
{
	struct log *l = &w->logs[log];
	int most = may_lose(w, log), n;
	struct spine_state none = { 0 };

	if (most < 2)
		return;
	n = 1 + (int)below(&w->rng, (uint64_t)most / 2);
	l->n -= n;
	l->end = l->recs[l->n].offset;
	w->lost = true;
	TELL(w, "log %d: the last %d records are lost, it ends at %" PRId64, log, n, l->end);
	if (log != SPINE)
		return;
	w->truth = none;
	for (int i = 0; i < l->n; i++)
		truth_step(w, &l->recs[i]);
}

const struct rec *
log_at(const struct log *l, int64_t offset)
{
	int lo = 0, hi = l->n;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (l->recs[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->n ? &l->recs[lo] : NULL;
}

void
mail_put(struct world *w, struct queue *q, const struct mail *m)
{
	struct mail *copy = arena_raw(&w->arena, sizeof *copy);

	*copy = *m;
	copy->next = NULL;
	if (!q->head)
		q->tail = &q->head;
	*q->tail = copy;
	q->tail = &copy->next;
	q->n++;
}

struct mail *
mail_take(struct queue *q)
{
	struct mail *m = q->head;

	if (m) {
		q->head = m->next;
		q->n--;
	}
	return m;
}
