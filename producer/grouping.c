#include "producer/grouping.h"

enum {
	BEAT_MS = 1000,     /* between two BEATs that move the watermark */
	BEAT_SYNC_MS = 2,   /* ... for which commits wait */
	OVERDUE_MS = 60000, /* Kafka has what we wrote, or is long in coming back */
};

static struct spine_record
own_record(const struct grouping *g, enum spine_kind kind)
{
	return (struct spine_record){ .kind = kind, .gen = g->place.gen, .token = g->token, .no = g->inflight.accepted_no,
		.seq_to = g->state.seq, .lsn = g->state.lsn, .watermark = g->state.watermark, .commit_us = g->state.commit_us,
		.system_id = g->system_id, .timeline = g->timeline };
}

struct spine_record
grouping_open(struct grouping *g, uint64_t token)
{
	struct spine_record r;

	g->token = token;
	g->place.gen = g->state.gen + 1;
	inflight_init(&g->inflight, g->state.no + 1);
	r = own_record(g, SPINE_OPEN);
	r.prev_gen = g->state.gen;
	return r;
}

enum grouping_verdict
grouping_read_back(struct grouping *g, const struct spine_record *r)
{
	bool ours = r->token == g->token;

	switch (spine_step(&g->state, r)) {
	case SPINE_GAP:
		return GROUPING_GAP;
	case SPINE_STALE:
		return r->kind == SPINE_OPEN && ours && !g->opened ? GROUPING_LOST : GROUPING_ON;
	case SPINE_REPEAT:
		return GROUPING_ON;
	case SPINE_ACCEPT:
		break;
	}
	if (r->kind == SPINE_OPEN) {
		if (!ours)
			return g->opened ? GROUPING_FENCED : GROUPING_ON;
		g->opened = true;
	} else if (r->kind == SPINE_GROUP && g->opened) {
		inflight_accepted(&g->inflight, r->no);
		return GROUPING_PUBLISHED;
	}
	return GROUPING_ON;
}

void
grouping_ready(struct grouping *g, uint64_t confirmed)
{
	g->place.last_commit_lsn = g->state.lsn;
	g->place.seq = g->state.seq + 1;
	/* What the session before has published is in the spine for good, or in memory only and with some sink perhaps not yet. */
	g->safe_lsn = g->embedded ? 0 : g->state.watermark;
	/* The writer before us may have added groups between our look and our OPEN. */
	inflight_init(&g->inflight, g->state.no + 1);
	/* A first BEAT says where the history begins; with it the slot's position and the spine's are known to belong together. */
	g->idle_lsn = g->watermark = g->state.watermark ? g->state.watermark : confirmed;
}

/* ---- the source's events ---- */

bool
grouping_room(const struct grouping *g)
{
	/* One more than is needed at once: a barrier ends a group and begins another within one change. */
	return g->inflight.next_no - g->inflight.first_no < INFLIGHT_GROUPS - !g->group;
}

static void
group_begin(struct grouping *g, int64_t now_ms)
{
	struct group *group = inflight_open(&g->inflight);

	group->seq_from = g->place.seq;
	group->first_us = g->commit_us;
	/* Until a transaction is complete in this group, what holds is what held before it. */
	group->lsn = g->place.last_commit_lsn;
	group->watermark = g->watermark;
	if (g->txn_rows)
		group->flags |= SPINE_CONTINUES;
	if (g->barrier)
		group->flags |= SPINE_BARRIER;
	g->group = group;
	g->group_ms = now_ms;
	g->group_whole = false;
}

static void
group_end(struct grouping *g, uint32_t flags)
{
	g->group->flags |= flags;
	g->group->seq_to = g->group_whole ? g->place.seq - 1 : g->place.seq;
	/* Of a whole one it is known since its last commit; the next transaction may have begun. */
	if (!g->group_whole)
		g->group->commit_us = g->commit_us;
	g->group->closed = true;
	g->group = NULL;
}

/* Of a GROUP record: half of what brokers take by default (message.max.bytes). */
enum { PARTS_BYTES = 500 * 1000 };

static bool
group_full(const struct grouping *g)
{
	return g->group->sent >= g->rows_max || g->group->bytes >= g->bytes_max || g->group->parts_bytes >= PARTS_BYTES;
}

/* Would a transaction like the one that has just ended be cut? Sinks do less for whole ones: halves they have to stream. */
static bool
group_filled(const struct grouping *g, uint64_t txn_rows)
{
	const struct group *group = g->group;

	if (group_full(g) || !group->sent)
		return group_full(g);
	return group->sent + txn_rows > g->rows_max || group->bytes + group->bytes / group->sent * txn_rows > g->bytes_max;
}

void
grouping_begin(struct grouping *g, const struct txn *txn)
{
	g->commit_us = txn->commit_us;
	g->in_txn = true;
	g->txn_rows = 0;
	g->place.index = 0;
	/* Sent again by the source after a restart, and in Kafka already: commit order is LSN order within one incarnation. */
	g->skipping = txn->commit_lsn <= g->place.last_commit_lsn;
}

bool
grouping_apart(const struct change *ch)
{
	if (ch->reshaped)
		return true;
	if (!change_moves_key(ch))
		return ch->op == OP_TRUNCATE;
	for (int i = 0; i < ch->tbl->ncols; i++)
		if (ch->after[i].kind == V_ABSENT)
			return true;
	return false;
}

void
grouping_barrier(struct grouping *g, bool barrier)
{
	if (g->group && g->group->sent && !(g->group->flags & SPINE_BARRIER) != !barrier)
		group_end(g, g->group_whole ? 0 : SPINE_MORE);
	g->barrier = barrier;
}

struct group *
grouping_change(struct grouping *g, int64_t now_ms)
{
	if (g->skipping)
		return NULL;
	if (!g->group)
		group_begin(g, now_ms);
	g->group_whole = false;
	return g->group;
}

void
grouping_sent(struct grouping *g)
{
	g->txn_rows++;
	if (group_full(g) && !g->uncut)
		group_end(g, SPINE_MORE);
}

/* The newest watermark: never goes back, also when transactions come that were skipped as idle WAL before `tables:` took them in. */
static uint64_t
advance(struct grouping *g, uint64_t lsn)
{
	if (lsn > g->watermark)
		g->watermark = lsn;
	return g->watermark;
}

void
grouping_commit(struct grouping *g, const struct txn *txn)
{
	uint64_t rows = g->txn_rows;

	g->in_txn = false;
	g->commit_us = txn->commit_us;
	if (g->skipping || g->txn_rows == 0) {
		/* Nothing of it was published: it counts as idle WAL. */
		if (g->group)
			g->group->watermark = advance(g, txn->end_lsn);
		else
			grouping_idle(g, txn->end_lsn);
		return;
	}
	/* The limit fell on the very last row: the group that closes the transaction has no rows of its own. */
	g->barrier = false;
	if (!g->group)
		group_begin(g, g->group_ms);
	g->group->lsn = txn->commit_lsn;
	g->group->commit_us = txn->commit_us;
	g->group->watermark = advance(g, txn->end_lsn);
	g->group_whole = true;
	g->place.last_commit_lsn = txn->commit_lsn;
	g->place.seq++;
	g->place.index = 0;
	g->txn_rows = 0;
	if (group_filled(g, rows))
		group_end(g, 0);
}

void
grouping_idle(struct grouping *g, uint64_t lsn)
{
	if (lsn > g->idle_lsn)
		g->idle_lsn = lsn;
}

void
grouping_close(struct grouping *g)
{
	if (g->group && g->group_whole)
		group_end(g, 0);
}

/* ---- what to say, what to confirm ---- */

const struct group *
grouping_announce(struct grouping *g, struct spine_record *r)
{
	struct group *group = inflight_ready(&g->inflight);

	if (!group)
		return NULL;
	for (int i = 0; i < group->nparts; i++)
		g->torn |= group->parts[i].count - 1 > group->parts[i].last - group->parts[i].first;
	if (g->torn)
		return NULL;
	*r = own_record(g, SPINE_GROUP);
	r->no = group->no;
	r->seq_from = group->seq_from;
	r->seq_to = group->seq_to;
	r->flags = group->flags;
	r->lsn = group->lsn;
	r->watermark = group->watermark;
	r->first_us = group->first_us;
	r->commit_us = group->commit_us;
	inflight_announced(&g->inflight, group);
	return group;
}

bool
grouping_beat(struct grouping *g, int64_t now_ms, struct spine_record *r)
{
	if (!inflight_empty(&g->inflight) || g->in_txn || g->idle_lsn <= g->state.watermark || g->idle_lsn <= g->beat_lsn)
		return false;
	/* One unread BEAT at most: a fenced writer may not leave more than SPINE_UNREAD_MAX records, see spine_resume. */
	if (g->beat_lsn > g->state.watermark || (g->beat_ms && now_ms - g->beat_ms < (g->awaited ? BEAT_SYNC_MS : BEAT_MS)))
		return false;
	*r = own_record(g, SPINE_BEAT);
	g->beat_ms = now_ms;
	g->beat_lsn = g->watermark = r->watermark = g->idle_lsn;
	return true;
}

bool
grouping_overdue(struct grouping *g, int64_t now_ms)
{
	bool waits = g->inflight.announced_no > g->inflight.accepted_no || g->beat_lsn > g->state.watermark;
	uint64_t heard = g->inflight.accepted_no + g->state.watermark;

	if (!waits || heard != g->heard || !g->heard_ms) {
		g->heard = heard;
		g->heard_ms = now_ms;
	}
	return now_ms - g->heard_ms > OVERDUE_MS;
}

uint64_t
grouping_safe(struct grouping *g, uint64_t no)
{
	uint64_t lsn = inflight_drop(&g->inflight, no);

	/* Nothing of ours is on its way; but what was here before us the sinks must have too. */
	if (inflight_empty(&g->inflight) && g->state.no <= no && g->state.watermark > lsn)
		lsn = g->state.watermark;
	if (lsn > g->safe_lsn)
		g->safe_lsn = lsn;
	return g->safe_lsn;
}
