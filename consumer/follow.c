#include "consumer/follow.h"

void
follow_start(struct follow *f, const struct marker *mk, bool embedded, bool ours)
{
	*f = (struct follow){ .applied = *mk, .next = *mk, .embedded = embedded, .cut_gen = f->cut_gen, .cut_seq = f->cut_seq };
	if (embedded)
		f->skip_lsn = mk->lsn;
	if ((!embedded || ours) && mk->spine_offset >= 0)
		f->state = (struct spine_state){ .gen = mk->gen, .token = mk->token, .no = mk->no, .seq = mk->seq, .lsn = mk->lsn,
			.commit_us = mk->commit_us, .system_id = mk->system_id, .started = true };
}

bool
follow_anchored(const struct follow *f, struct spine_at at)
{
	return at.offset == f->applied.spine_offset && at.hash == f->applied.spine_hash;
}

void
follow_mark(struct follow *f, const struct spine_record *r, struct spine_at at)
{
	const struct spine_state *st = &f->state;

	f->next = (struct marker){ .spine_offset = at.offset, .spine_hash = at.hash, .gen = st->gen, .token = st->token, .no = st->no,
		.seq = st->seq, .lsn = st->lsn, .commit_us = st->commit_us, .system_id = r->system_id };
	/* Of what the sink had before, a producer that began at another sink's place says less. */
	if (f->next.lsn < f->skip_lsn)
		f->next.lsn = f->skip_lsn;
}

/*
 * The writer of an unfinished transaction was replaced: it never happened, its rows come again under the new generation. They are mixed
 * with whole transactions of the same groups, in the batch or already in an open sink transaction. So read again from the
 * marker, without them; and when this OPEN is met again, only whole transactions are here, and the marker may stand behind it.
 * (Not behind the group before: who started there would not know that its transaction is cut.)
 */
static enum follow_verdict
cut(struct follow *f, uint64_t gen, const struct spine_record *r, struct spine_at at)
{
	uint64_t seq = f->state.seq + 1;

	if (f->cut_gen == gen && f->cut_seq == seq) {
		follow_mark(f, r, at);
		return FOLLOW_MARK;
	}
	f->cut_gen = gen;
	f->cut_seq = seq;
	return FOLLOW_CUT;
}

enum follow_verdict
follow_spine(struct follow *f, const struct spine_record *r, struct spine_at at)
{
	bool partial = f->state.partial;
	uint64_t gen = f->state.gen;

	/* The embedded broker's history begins where the process did; what the sink has is told apart by LSN. */
	if (f->embedded && !f->state.started && r->kind == SPINE_OPEN)
		f->state = (struct spine_state){ .gen = r->prev_gen, .no = r->no, .seq = r->seq_to, .lsn = r->lsn };
	switch (spine_step(&f->state, r)) {
	case SPINE_STALE:
		return r->kind == SPINE_GROUP ? FOLLOW_ORPHAN : FOLLOW_PASS;
	case SPINE_REPEAT:
		return FOLLOW_PASS;
	case SPINE_GAP:
		return FOLLOW_GAP;
	case SPINE_ACCEPT:
		break;
	}
	if (r->kind != SPINE_GROUP)
		return partial && r->kind == SPINE_OPEN ? cut(f, gen, r, at) : FOLLOW_QUIET;
	/*
	 * Of the embedded broker's memory: gone perhaps, and not needed. A group that ends unfinished is of its last complete
	 * transaction's LSN.
	 */
	if (f->embedded && !(r->flags & SPINE_MORE) && r->lsn <= f->skip_lsn) {
		follow_mark(f, r, at);
		return FOLLOW_PASS;
	}
	return FOLLOW_GROUP;
}

bool
follow_taken(struct follow *f, const struct spine_record *r, struct spine_at at)
{
	if (r->flags & SPINE_MORE)
		return false;
	follow_mark(f, r, at);
	return true;
}

bool
follow_wants(const struct follow *f, const struct tl *tl)
{
	if ((tl->flags & TL_TOMBSTONE) || tl->lsn <= f->skip_lsn)
		return false;
	return !f->cut_gen || tl->gen != f->cut_gen || tl->seq != f->cut_seq;
}

static bool
same_key(const struct table *tbl, const struct value *a, const struct value *b)
{
	for (int i = 0; i < tbl->nkeys; i++)
		if (!value_eq(&a[tbl->keys[i]], &b[tbl->keys[i]]))
			return false;
	return true;
}

bool
follow_join(struct follow *f, struct row *r, uint32_t flags)
{
	if (flags & TL_MOVED_FROM) {
		f->moved_row = *r;
		f->moved = &f->moved_row;
		return false;
	}
	if ((flags & TL_MOVED_TO) && f->moved && f->moved->seq == r->seq && f->moved->tbl == r->tbl) {
		r->op = OP_UPDATE;
		/* Under another key of the record, but the same row. */
		r->moved = !r->tbl->nmessage_keys || !same_key(r->tbl, f->moved->before, r->after);
		r->before = f->moved->before;
		r->before_full = f->moved->before_full;
		r->held_from = f->moved->held;
		r->chunks_from = f->moved->chunks;
	}
	f->moved = NULL;
	return true;
}
