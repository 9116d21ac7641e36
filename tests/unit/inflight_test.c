/*
 * Groups in flight against an oracle that keeps everything and looks at all of it each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/inflight.h"
#include "schemas/spine.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/random.h"

/* spine_resume counts on it: a writer has no more groups on their way than this, and a BEAT before them. */
_Static_assert((int)INFLIGHT_GROUPS + 1 <= (int)SPINE_UNREAD_MAX,
    "a fenced writer may leave more groups than spine_resume allows for");

enum { STEPS = 1500, GROUPS_MAX = STEPS + 1, ROWS_MAX = 24, SLOTS = 200 };

/* ---- the oracle ---- */

struct model_row {
	uint32_t slot;
	int64_t offset;
	bool acked;
};

struct model_group {
	struct model_row rows[ROWS_MAX];
	int n;
	uint64_t watermark, bytes;
	bool closed, announced, accepted;
};

struct model {
	struct rng *r;
	uint64_t first_no; /* number of groups[0] */
	struct model_group groups[GROUPS_MAX];
	int n, gone; /* groups begun; of them dropped */
	int64_t next_offset[SLOTS];
	uint64_t watermark, confirmed;
	int full; /* steps after which there was no room */
};

static int
unacked(const struct model_group *g)
{
	int n = 0;

	for (int i = 0; i < g->n; i++)
		n += !g->rows[i].acked;
	return n;
}

/* Index of the first group that is not yet so far, or n. */
static int
first_without(const struct model *m, size_t flag)
{
	for (int i = m->gone; i < m->n; i++)
		if (!*(const bool *)((const char *)&m->groups[i] + flag))
			return i;
	return m->n;
}

#define FIRST_NOT(m, flag) first_without(m, offsetof(struct model_group, flag))

/* The last group, while it takes rows; NULL: none does. */
static struct model_group *
open_group(struct model *m)
{
	return m->n && !m->groups[m->n - 1].closed ? &m->groups[m->n - 1] : NULL;
}

/* ---- both must agree ---- */

static void
same_parts(const struct model *m, const struct model_group *g, const struct group *got)
{
	int parts = 0;

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		const struct group_part *p = NULL;
		int64_t first = INT64_MAX, last = -1, count = 0;

		for (int i = 0; i < g->n; i++) {
			const struct model_row *row = &g->rows[i];

			if (row->slot != slot || !row->acked)
				continue;
			first = row->offset < first ? row->offset : first;
			last = row->offset > last ? row->offset : last;
			count++;
		}
		for (int i = 0; i < got->nparts; i++)
			if (got->parts[i].slot == slot)
				p = &got->parts[i];
		HOLDS(m->r, !p == !count);
		HOLDS(m->r, !p || (p->first == first && p->last == last && p->count == count));
		parts += count > 0;
	}
	HOLDS(m->r, got->nparts == parts);
}

static void
same(const struct model *m, struct inflight *f)
{
	int dropped = m->gone, announced = FIRST_NOT(m, announced);
	struct group *ready = inflight_ready(f);
	uint64_t bytes = 0;

	HOLDS(m->r, f->first_no == m->first_no + (uint64_t)dropped);
	HOLDS(m->r, f->next_no == m->first_no + (uint64_t)m->n);
	HOLDS(m->r, f->accepted_no == m->first_no + (uint64_t)FIRST_NOT(m, accepted) - 1);
	HOLDS(m->r, inflight_empty(f) == (dropped == m->n));
	HOLDS(m->r, inflight_full(f) == (m->n - dropped == INFLIGHT_GROUPS));
	for (int i = dropped; i < m->n; i++) {
		const struct model_group *g = &m->groups[i];
		struct group *got = inflight_at(f, m->first_no + (uint64_t)i);

		HOLDS(m->r, got->no == m->first_no + (uint64_t)i);
		HOLDS(m->r,
		    got->sent == (uint64_t)g->n && got->acked == (uint64_t)(g->n - unacked(g)) &&
			got->bytes == g->bytes);
		HOLDS(m->r,
		    got->closed == g->closed && got->announced == g->announced &&
			got->accepted == g->accepted);
		bytes += g->bytes;
	}
	HOLDS(m->r, f->bytes == bytes);
	if (announced < m->n && m->groups[announced].closed && unacked(&m->groups[announced]) == 0)
		HOLDS(m->r, ready && ready->no == m->first_no + (uint64_t)announced);
	else
		HOLDS(m->r, !ready);
}

/* ---- steps ---- */

static void
do_open(struct model *m, struct inflight *f)
{
	struct group *g;

	if (open_group(m) || inflight_full(f) || m->n == GROUPS_MAX)
		return;
	g = inflight_open(f);
	g->watermark = m->watermark;
	m->groups[m->n++].watermark = m->watermark;
	HOLDS(m->r,
	    g->nparts == 0 && g->sent == 0 && g->acked == 0 && g->bytes == 0 && g->flags == 0 &&
		g->lsn == 0);
	HOLDS(m->r, !g->closed && !g->announced && !g->accepted);
}

static void
do_send(struct model *m, struct inflight *f)
{
	struct model_group *g = open_group(m);
	/* Few slots at first, far ones later: the index of a group grows while it is in use. */
	uint32_t slot = (uint32_t)below(m->r, one_in(m->r, 8) ? SLOTS : 5);
	size_t bytes = below(m->r, 1000);

	if (!g || g->n == ROWS_MAX)
		return;
	/* Other groups and strangers write there too. */
	m->next_offset[slot] += 1 + (int64_t)below(m->r, 3);
	g->rows[g->n++] = (struct model_row){ slot, m->next_offset[slot], false };
	g->bytes += bytes;
	group_sent(f, inflight_at(f, m->first_no + (uint64_t)m->n - 1), bytes);
}

/* Any row of any group, in any order. */
static void
do_ack(struct model *m, struct inflight *f)
{
	struct model_group *g;
	int at, row;

	if (m->gone == m->n)
		return;
	at = m->gone + (int)below(m->r, (uint64_t)(m->n - m->gone));
	g = &m->groups[at];
	if (unacked(g) == 0)
		return;
	for (row = (int)below(m->r, (uint64_t)g->n); g->rows[row].acked;)
		row = (row + 1) % g->n;
	g->rows[row].acked = true;
	group_acked(
	    inflight_at(f, m->first_no + (uint64_t)at), g->rows[row].slot, g->rows[row].offset);
}

/* Kafka answers for everything that the oldest waiting group has sent: without it a ring of random acks hardly moves. */
static void
do_ack_all(struct model *m, struct inflight *f)
{
	int at = FIRST_NOT(m, announced);

	if (at == m->n)
		return;
	for (int i = 0; i < m->groups[at].n; i++) {
		struct model_row *row = &m->groups[at].rows[i];

		if (!row->acked)
			group_acked(
			    inflight_at(f, m->first_no + (uint64_t)at), row->slot, row->offset);
		row->acked = true;
	}
}

static void
do_close(struct model *m, struct inflight *f)
{
	struct model_group *g = open_group(m);
	struct group *got;

	if (!g)
		return;
	got = inflight_at(f, m->first_no + (uint64_t)m->n - 1);
	/* A group that only goes on with a transaction does not move the watermark. */
	m->watermark += one_in(m->r, 4) ? 0 : 1 + below(m->r, 1000);
	got->watermark = g->watermark = m->watermark;
	got->closed = g->closed = true;
}

static void
do_announce(struct model *m, struct inflight *f)
{
	struct group *g = inflight_ready(f);
	int at = FIRST_NOT(m, announced);

	if (!g)
		return;
	same_parts(m, &m->groups[at], g);
	inflight_announced(f, g);
	m->groups[at].announced = true;
}

static void
do_accept(struct model *m, struct inflight *f)
{
	int at = FIRST_NOT(m, accepted);

	if (at == m->n || !m->groups[at].announced)
		return;
	inflight_accepted(f, m->first_no + (uint64_t)at);
	m->groups[at].accepted = true;
}

static void
do_drop(struct model *m, struct inflight *f)
{
	int accepted = FIRST_NOT(m, accepted);
	/* What the sinks have: anything, also more than is accepted, and what is gone already. */
	uint64_t no = one_in(m->r, 2) ? UINT64_MAX
				      : m->first_no + below(m->r, (uint64_t)m->n + 2) - 1,
		 want = 0, got;

	for (; m->gone < accepted && m->first_no + (uint64_t)m->gone <= no; m->gone++)
		want = m->groups[m->gone].watermark;
	got = inflight_drop(f, no);
	HOLDS(m->r, got == want);
	if (got > m->confirmed)
		m->confirmed = got;
	/* The one sentence that matters: nothing is forgotten at the source that the spine does not have. */
	for (int i = 0; i < m->n; i++)
		HOLDS(m->r,
		    m->groups[i].accepted || m->confirmed <= (i ? m->groups[i - 1].watermark : 0));
}

static void
play(struct rng *r, struct model *m, struct inflight *f)
{
	static void (*const steps[])(struct model *, struct inflight *) = { do_open, do_open,
		do_open, do_send, do_send, do_send, do_ack, do_ack, do_ack, do_ack_all, do_ack_all,
		do_close, do_close, do_close, do_announce, do_announce, do_accept, do_accept,
		do_drop };
	uint64_t rare = 0;

	for (int i = 0; i < STEPS; i++) {
		uint64_t step = below(r, COUNTOF(steps));

		/* For a while one kind of step hardly ever comes, and the ring fills up before it. */
		if (i % 500 == 0)
			rare = below(r, COUNTOF(steps));
		if (steps[step] == steps[rare] && !one_in(r, 64))
			continue;
		steps[step](m, f);
		if (i % 8 == 0)
			same(m, f);
		m->full += inflight_full(f);
	}
	same(m, f);
}

static void
against_the_oracle(void **state UNUSED)
{
	static struct model m;
	static struct inflight f;
	uint64_t seed = first_seed("against_the_oracle"), times = rounds(2000), groups = 0,
		 full = 0;

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);

		memset(&m, 0, sizeof m);
		m.r = &r;
		m.first_no = 1 + below(&r, 1000);
		/* As after a restart: what the ring held before is void, its memory stays. */
		if (one_in(&r, 2))
			inflight_free(&f);
		inflight_init(&f, m.first_no);
		play(&r, &m, &f);
		groups += (uint64_t)m.gone;
		full += m.full > 0;
	}
	inflight_free(&f);
	printf("%" PRIu64 " groups went through, the ring was full in %" PRIu64 " rounds\n", groups,
	    full);
	if (times >= 100)
		assert_true(full > 0 && groups > times * INFLIGHT_GROUPS / 2);
}

/* ---- by hand ---- */

static struct group *
group_of(struct inflight *f, uint32_t slot, int64_t offset, uint64_t watermark)
{
	struct group *g = inflight_open(f);

	group_sent(f, g, 10);
	group_acked(g, slot, offset);
	g->watermark = watermark;
	g->closed = true;
	return g;
}

/* The same place of the ring 64 groups later: no part, no offset and no slot of the group before may shine through. */
static void
ring_reuse(void **state UNUSED)
{
	static struct inflight f;
	struct group *first, *again;

	inflight_init(&f, 1);
	first = group_of(&f, 3, 100, 1);
	for (uint64_t no = 2; no <= INFLIGHT_GROUPS; no++)
		group_of(&f, 70, (int64_t)no, no);
	assert_true(inflight_full(&f));
	for (uint64_t no = 1; no <= INFLIGHT_GROUPS; no++) {
		inflight_announced(&f, inflight_ready(&f));
		inflight_accepted(&f, no);
	}
	assert_int_equal(inflight_drop(&f, 1), 1);
	again = group_of(&f, 9, 5, 65);
	assert_ptr_equal(again, first);
	assert_int_equal(again->nparts, 1);
	assert_int_equal(again->parts[0].slot, 9);
	inflight_free(&f);
}

static void
old_slot_again(void **state UNUSED)
{
	static struct inflight f;
	struct group *g;

	inflight_init(&f, 1);
	for (uint64_t no = 1; no <= 2 * INFLIGHT_GROUPS; no++) {
		g = inflight_open(&f);
		for (int64_t row = 0; row < 3; row++)
			group_sent(&f, g, 1);
		group_acked(g, 2, 1000 - (int64_t)no);
		group_acked(g, 1, 7);
		group_acked(g, 2, 500 - (int64_t)no);
		assert_int_equal(g->nparts, 2);
		assert_true(g->parts[0].slot == 2 && g->parts[0].first == 500 - (int64_t)no &&
		    g->parts[0].last == 1000 - (int64_t)no);
		assert_int_equal(g->parts[0].count, 2);
		g->closed = true;
		inflight_announced(&f, inflight_ready(&f));
		inflight_accepted(&f, no);
		inflight_drop(&f, UINT64_MAX);
	}
	inflight_free(&f);
}

/* A transaction whose last row filled a group: the group that closes it has no rows, and is ready at once. */
static void
group_without_rows(void **state UNUSED)
{
	static struct inflight f;
	struct group *g;

	inflight_init(&f, 5);
	assert_null(inflight_ready(&f));
	g = inflight_open(&f);
	assert_null(inflight_ready(&f));
	g->watermark = 9;
	g->closed = true;
	assert_ptr_equal(inflight_ready(&f), g);
	inflight_announced(&f, g);
	assert_int_equal(inflight_drop(&f, UINT64_MAX), 0);
	inflight_accepted(&f, 5);
	assert_int_equal(inflight_drop(&f, 4), 0);
	assert_int_equal(inflight_drop(&f, 5), 9);
	assert_true(inflight_empty(&f));
	inflight_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_reuse),
		cmocka_unit_test(old_slot_again),
		cmocka_unit_test(group_without_rows),
		cmocka_unit_test(against_the_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
