/*
 * The rows of random groups, spread over partitions among left-overs, zombies and strangers, must come out as the source wrote them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/assemble.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/random.h"

enum { PARTS_MAX = 12, TXNS_MAX = 6, ROWS_MAX = 200, GEN = 7 };

struct record {
	int64_t offset;
	bool foreign;
	struct tl tl;
	int row; /* its place in the order of the source; -1: none of the group's */
};

struct log {
	struct record recs[6 * ROWS_MAX];
	int n, at;
	int64_t first, last, count; /* of the group's rows */
};

struct world {
	struct rng *r;
	struct log logs[PARTS_MAX]; /* one for each partition there is */
	int nlogs;
	struct spine_part parts[PARTS_MAX];
	int log_of[PARTS_MAX]; /* part of the group -> its partition's log */
	struct spine_record group;
	int nrows, missing; /* the row that was taken out of its log; -1: none */
};

/* ---- a group ---- */

static struct record *
append(struct world *w, struct log *l)
{
	struct record *rec = &l->recs[l->n];

	rec->offset = l->n ? rec[-1].offset + 1 : (int64_t)below(w->r, 100);
	/* Compaction and control records leave holes. */
	if (one_in(w->r, 4))
		rec->offset += (int64_t)below(w->r, 10);
	rec->row = -1;
	l->n++;
	return rec;
}

/* A record that is none of the group's. */
static void
append_other(struct world *w, struct log *l)
{
	struct record *rec = append(w, l);
	uint64_t span = w->group.seq_to - w->group.seq_from + 1;

	rec->tl = (struct tl){
		.gen = GEN, .seq = w->group.seq_from + below(w->r, span), .index = below(w->r, 50)
	};
	switch (below(w->r, 5)) {
	case 0: rec->foreign = true; break;
	case 1:
		rec->tl.gen = GEN - 1 - below(w->r, 2); /* a zombie, or what it left */
		break;
	case 2:
		rec->tl.gen = GEN + 1; /* the next writer is at work already */
		break;
	case 3: rec->tl.seq = w->group.seq_from - 1 - below(w->r, 2); break;
	default: rec->tl.seq = w->group.seq_to + 1 + below(w->r, 2);
	}
}

static void
append_row(struct world *w, uint64_t seq, uint64_t index)
{
	struct log *l = &w->logs[below(w->r, (uint64_t)w->nlogs)];
	struct record *rec;

	while (one_in(w->r, 3))
		append_other(w, l);
	rec = append(w, l);
	rec->tl = (struct tl){ .gen = GEN, .seq = seq, .index = index };
	rec->row = w->nrows++;
	if (l->count++ == 0)
		l->first = rec->offset;
	l->last = rec->offset;
	if (one_in(w->r, 6)) { /* sent again after a lost answer: no second row */
		struct tl tl = rec->tl;

		append(w, l)->tl = tl;
	}
}

static void
fill_logs(struct world *w)
{
	/* It may go on with a transaction whose first rows are in the group before. */
	uint64_t index = one_in(w->r, 3) ? below(w->r, 1000) : 0;

	for (uint64_t seq = w->group.seq_from; seq <= w->group.seq_to; seq++, index = 0) {
		uint64_t n = below(w->r, one_in(w->r, 4) ? ROWS_MAX / TXNS_MAX : 4);

		for (; n > 0; n--, index += 1 + below(w->r, 2))
			append_row(w, seq, index);
	}
}

/* Parts of the group in any order, only those that have rows. */
static void
fill_group(struct world *w)
{
	for (int i = 0; i < w->nlogs; i++) {
		const struct log *l = &w->logs[i];
		int to = w->group.nparts;

		if (!l->count)
			continue;
		if (to && one_in(w->r, 2)) {
			int other = (int)below(w->r, (uint64_t)to);

			w->parts[to] = w->parts[other];
			w->log_of[to] = w->log_of[other];
			to = other;
		}
		w->parts[to] =
		    (struct spine_part){ SLICE_LIT("t"), i, l->first, l->last, l->count };
		w->log_of[to] = i;
		w->group.nparts++;
	}
	w->group.parts = w->parts;
}

static void
make_world(struct world *w, struct rng *r)
{
	memset(w, 0, sizeof *w);
	w->r = r;
	w->missing = -1;
	w->nlogs = 1 + (int)below(r, PARTS_MAX);
	w->group = (struct spine_record){
		.gen = GEN, .no = 1, .seq_from = 10, .seq_to = 10 + below(r, TXNS_MAX)
	};
	for (int i = 0; i < w->nlogs; i++)
		for (uint64_t n = below(r, 4); n > 0; n--)
			append_other(w, &w->logs[i]);
	fill_logs(w);
	/* Behind each range there is more. */
	for (int i = 0; i < w->nlogs; i++)
		for (uint64_t n = 1 + below(r, 3); n > 0; n--)
			append_other(w, &w->logs[i]);
	fill_group(w);
}

/* Take one row away (both times, if it is there twice), and keep what the GROUP promises. */
static void
lose_row(struct world *w)
{
	w->missing = (int)below(w->r, (uint64_t)w->nrows);
	for (int i = 0; i < w->nlogs; i++)
		for (int k = 0; k < w->logs[i].n; k++)
			if (w->logs[i].recs[k].row == w->missing) {
				struct record *rec = &w->logs[i].recs[k];

				if (rec[1].tl.seq == rec->tl.seq && rec[1].tl.index == rec->tl.index)
					rec[1].tl.gen = GEN - 1;
				memmove(&w->logs[i].recs[k], &w->logs[i].recs[k + 1],
				    (size_t)(w->logs[i].n - k - 1) * sizeof(struct record));
				w->logs[i].n--;
				return;
			}
}

/* ---- assembling it ---- */

static enum assemble_verdict
verdict_on(const struct spine_part *p, const struct record *rec)
{
	if (rec->offset > p->last)
		return ASSEMBLE_BEYOND;
	if (rec->foreign)
		return ASSEMBLE_FOREIGN;
	return rec->row >= 0 ? ASSEMBLE_ROW : ASSEMBLE_ORPHAN;
}

/* All rows in order; returns how many came, and whether a range was not met. */
static int
assemble_all(struct world *w, bool *beyond)
{
	struct arena a = { 0 };
	struct assemble as;
	int head[PARTS_MAX], came = 0, last = -1, i;

	*beyond = false;
	assemble_begin(&as, &w->group, &a);
	for (;;) {
		while (!*beyond && (i = assemble_want(&as)) >= 0) {
			struct log *l = &w->logs[w->log_of[i]];
			const struct record *rec = &l->recs[l->at++];
			enum assemble_verdict v;

			HOLDS(w->r, i < w->group.nparts && l->at <= l->n);
			v = assemble_offer(&as, i, rec->offset, rec->foreign ? NULL : &rec->tl);
			HOLDS(w->r, v == verdict_on(&w->parts[i], rec));
			head[i] = rec->row;
			*beyond = v == ASSEMBLE_BEYOND;
		}
		if (*beyond || (i = assemble_next(&as)) < 0)
			break;
		HOLDS(w->r, head[i] == last + 1 || (last + 1 == w->missing && head[i] == last + 2));
		last = head[i];
		came++;
	}
	for (i = 0; !*beyond && i < w->group.nparts; i++)
		HOLDS(w->r, as.parts[i].taken == w->parts[i].count);
	arena_free(&a);
	return came;
}

static void
in_order(void **state UNUSED)
{
	static struct world w;
	uint64_t seed = first_seed("in_order"), times = rounds(5000), rows = 0, empty = 0;

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		bool beyond;

		make_world(&w, &r);
		HOLDS(&r, assemble_all(&w, &beyond) == w.nrows);
		HOLDS(&r, !beyond);
		rows += (uint64_t)w.nrows;
		empty += w.nrows == 0;
	}
	printf("%" PRIu64 " rows, %" PRIu64 " groups without rows\n", rows, empty);
	if (times >= 100)
		assert_true(rows > times && empty > 0);
}

static void
missing_row(void **state UNUSED)
{
	static struct world w;
	uint64_t seed = first_seed("missing_row"), times = rounds(5000);

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		bool beyond;

		make_world(&w, &r);
		if (w.nrows == 0)
			continue;
		lose_row(&w);
		HOLDS(&r, assemble_all(&w, &beyond) < w.nrows);
		HOLDS(&r, beyond);
	}
}

/* By hand: the reader stands before the range, and the record at its very end counts. */
static void
edges(void **state UNUSED)
{
	struct spine_part part = { SLICE_LIT("t"), 0, 5, 6, 2 };
	struct spine_record g = {
		.gen = GEN, .no = 1, .seq_from = 1, .seq_to = 2, .parts = &part, .nparts = 1
	};
	struct tl one = { .gen = GEN, .seq = 1 }, two = { .gen = GEN, .seq = 2 };
	struct arena a = { 0 };
	struct assemble as;

	assemble_begin(&as, &g, &a);
	assert_int_equal(assemble_want(&as), 0);
	assert_int_equal(assemble_offer(&as, 0, 4, &one),
	    ASSEMBLE_ORPHAN); /* outside the range, whatever it says */
	assert_int_equal(assemble_offer(&as, 0, 4, NULL), ASSEMBLE_FOREIGN);
	assert_int_equal(assemble_want(&as), 0);
	assert_int_equal(assemble_offer(&as, 0, 5, &one), ASSEMBLE_ROW);
	assert_int_equal(assemble_want(&as), -1);
	assert_int_equal(assemble_next(&as), 0);
	assert_int_equal(assemble_want(&as), 0);
	assert_int_equal(assemble_offer(&as, 0, 7, &two), ASSEMBLE_BEYOND);
	assert_int_equal(assemble_offer(&as, 0, 7, NULL), ASSEMBLE_BEYOND);
	assert_int_equal(assemble_offer(&as, 0, 6, &two), ASSEMBLE_ROW);
	assert_int_equal(assemble_next(&as), 0);
	assert_int_equal(assemble_want(&as), -1);
	assert_int_equal(assemble_next(&as), -1);
	assert_int_equal(assemble_next(&as), -1);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(in_order),
		cmocka_unit_test(missing_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
