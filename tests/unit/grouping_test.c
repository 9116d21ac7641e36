/*
 * The rules of a writer, one by one; tests/sim plays them at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/grouping.h"

#include <cmocka.h>
#include <stdlib.h>

enum { SYSTEM = 42, TOKEN = 7 };

/* A writer whose OPEN was read back after the history that `st` tells. */
static struct grouping *
opened(struct spine_state st)
{
	struct grouping *g = calloc(1, sizeof *g);
	struct spine_record r;

	assert_non_null(g);
	*g = (struct grouping){ .rows_max = 1000, .bytes_max = 1 << 20, .system_id = SYSTEM, .timeline = 1, .state = st };
	r = grouping_open(g, TOKEN);
	assert_int_equal(grouping_read_back(g, &r), GROUPING_ON);
	assert_true(g->opened);
	grouping_ready(g, st.watermark);
	return g;
}

static void
discard(struct grouping *g)
{
	inflight_free(&g->inflight);
	free(g);
}

static void
begins(struct grouping *g, uint64_t commit_lsn)
{
	grouping_begin(g, &(struct txn){ .commit_lsn = commit_lsn, .commit_us = 1 });
}

static void
ends(struct grouping *g, uint64_t commit_lsn, uint64_t end_lsn)
{
	grouping_commit(g, &(struct txn){ .commit_lsn = commit_lsn, .end_lsn = end_lsn, .commit_us = 1 });
}

/* One row, acknowledged at once. */
static void
row(struct grouping *g, int64_t offset)
{
	struct group *group = grouping_change(g, 0);

	assert_non_null(group);
	group_sent(&g->inflight, group, 10);
	group_acked(group, 0, offset);
	grouping_sent(g);
}

/* Everything that is closed reaches the spine and is read back. */
static void
published(struct grouping *g)
{
	struct spine_record r;

	while (grouping_announce(g, &r))
		assert_int_equal(grouping_read_back(g, &r), GROUPING_PUBLISHED);
}

static void
txn(struct grouping *g, uint64_t commit_lsn, int64_t offset)
{
	begins(g, commit_lsn);
	row(g, offset);
	ends(g, commit_lsn, commit_lsn + 8);
	grouping_close(g);
}

/* A history of one group up to LSN 100, and idle up to 500. */
static struct spine_state
idle_history(void)
{
	return (struct spine_state){ .gen = 3, .token = 1, .no = 9, .seq = 20, .lsn = 100,
		.watermark = 500, .system_id = SYSTEM, .timeline = 1,
		.started = true };
}

/*
 * With a wider `tables:` the source sends again what was idle WAL before: its LSNs are below the watermark, which stands where it was.
 */
static void
older_than_the_watermark(void **state UNUSED)
{
	struct grouping *g = opened(idle_history());

	/* In two groups, of which the first keeps the watermark. */
	g->rows_max = 1;
	txn(g, 200, 0);
	txn(g, 300, 1);
	begins(g, 350);
	ends(g, 350, 358);
	txn(g, 600, 2);
	published(g);
	assert_int_equal(grouping_safe(g, UINT64_MAX), 608);
	assert_int_equal(g->state.seq, 23);
	discard(g);
}

/* A transaction that would not fit behind the ones that are there is the next group's: only what is larger than a group is cut. */
static void
whole_where_they_fit(void **state UNUSED)
{
	static const struct {
		uint64_t rows_max;
		size_t bytes_max;
	} limits[] = { { 10, 1 << 20 }, { 1000, 100 } }; /* ten rows, of ten bytes each, both times */

	for (size_t i = 0; i < COUNTOF(limits); i++) {
		struct grouping *g = opened((struct spine_state){ 0 });
		struct spine_record r;
		int64_t offset = 0;

		g->rows_max = limits[i].rows_max;
		g->bytes_max = limits[i].bytes_max;
		for (uint64_t lsn = 100; lsn < 500; lsn += 100) {
			begins(g, lsn);
			for (int rows = 0; rows < 4; rows++)
				row(g, offset++);
			ends(g, lsn, lsn + 8);
		}
		for (int groups = 0; groups < 2; groups++) {
			const struct group *group = grouping_announce(g, &r);

			assert_non_null(group);
			assert_int_equal(group->sent, 8);
			assert_int_equal(r.flags & (SPINE_MORE | SPINE_CONTINUES), 0);
		}
		assert_null(g->group);
		discard(g);
	}
}

/* One transaction over very many partitions: no GROUP record may pass what a broker takes. */
static void
very_many_parts(void **state UNUSED)
{
	enum { PARTS = 20000, NAME = 120 };
	struct grouping *g = opened((struct spine_state){ 0 });
	struct spine_record r;
	const struct group *group;
	int parts = 0;

	g->rows_max = UINT64_MAX;
	g->bytes_max = SIZE_MAX;
	begins(g, 100);
	for (uint32_t i = 0; i < PARTS; i++) {
		struct group *at = grouping_change(g, 0);

		group_part(at, i, NAME);
		group_part(at, i, NAME);
		group_sent(&g->inflight, at, 10);
		group_acked(at, i, 0);
		grouping_sent(g);
	}
	ends(g, 100, 108);
	grouping_close(g);
	while ((group = grouping_announce(g, &r))) {
		assert_in_range(group->nparts, 1, 900000 / (NAME + 40));
		parts += group->nparts;
		assert_int_equal(grouping_read_back(g, &r), GROUPING_PUBLISHED);
	}
	assert_int_equal(parts, PARTS);
	discard(g);
}

/* Which changes need a group of their own, and that they get it. */
static void
apart(void **state UNUSED)
{
	static struct column cols[2];
	static int keys[] = { 0 };
	const struct table tbl = { .ncols = 2, .cols = cols, .nkeys = 1, .keys = keys };
	const struct value one = { .kind = V_INT, .i = 1 }, two = { .kind = V_INT, .i = 2 }, absent = { .kind = V_ABSENT };
	const struct value before[] = { one, absent }, same[] = { one, absent }, moved[] = { two, absent }, whole[] = { two, one };
	const struct {
		struct change ch;
		bool apart;
	} cases[] = {
		{ { .op = OP_TRUNCATE, .tbl = &tbl }, true },
		{ { .op = OP_MESSAGE }, false },
		{ { .op = OP_CREATE, .tbl = &tbl, .after = whole }, false },
		{ { .op = OP_DELETE, .tbl = &tbl, .before = before }, false },
		{ { .op = OP_UPDATE, .tbl = &tbl, .after = same }, false },
		{ { .op = OP_UPDATE, .tbl = &tbl, .before = before, .after = same }, false },
		{ { .op = OP_UPDATE, .tbl = &tbl, .before = before, .after = whole }, false },
		{ { .op = OP_UPDATE, .tbl = &tbl, .before = before, .after = moved }, true },
	};
	struct grouping *g = opened((struct spine_state){ 0 });
	uint32_t flags[8];
	struct spine_record r;
	int n = 0;

	for (size_t i = 0; i < COUNTOF(cases); i++)
		assert_int_equal(grouping_apart(&cases[i].ch), cases[i].apart);
	begins(g, 100);
	for (int64_t i = 0; i < 4; i++) {
		grouping_barrier(g, grouping_apart(&cases[i < 2 ? 6 : i == 2 ? 7 : 3].ch));
		row(g, i);
	}
	ends(g, 100, 108);
	grouping_close(g);
	while (grouping_announce(g, &r)) {
		assert_in_range(n, 0, 7);
		flags[n++] = r.flags;
		assert_int_equal(grouping_read_back(g, &r), GROUPING_PUBLISHED);
	}
	assert_int_equal(n, 3);
	assert_int_equal(flags[0], SPINE_MORE);
	assert_int_equal(flags[1], SPINE_BARRIER | SPINE_CONTINUES | SPINE_MORE);
	assert_int_equal(flags[2], SPINE_CONTINUES);
	discard(g);
}

/*
 * Embedded broker: a session that begins anew has nothing on its way, yet the sinks may lack what the one before has published; its
 * memory goes with this process, so the source must keep it.
 */
static void
sinks_behind_a_new_session(void **state UNUSED)
{
	struct grouping *g = opened((struct spine_state){ .gen = 1, .no = 4, .seq = 4, .lsn = 100, .watermark = 108, .started = true });
	struct spine_record r;

	assert_int_equal(grouping_safe(g, 3), 108);
	discard(g);

	g = calloc(1, sizeof *g);
	assert_non_null(g);
	*g = (struct grouping){ .rows_max = 10, .bytes_max = 1000, .embedded = true,
		.state = { .gen = 1, .no = 4, .seq = 4, .lsn = 100, .watermark = 108, .started = true } };
	r = grouping_open(g, TOKEN);
	assert_int_equal(grouping_read_back(g, &r), GROUPING_ON);
	grouping_ready(g, 50);
	assert_int_equal(grouping_safe(g, 3), 0);
	grouping_idle(g, 200);
	assert_true(grouping_beat(g, 1, &r));
	assert_int_equal(grouping_read_back(g, &r), GROUPING_ON);
	assert_int_equal(grouping_safe(g, 3), 0);
	assert_int_equal(grouping_safe(g, 4), 200);
	txn(g, 300, 0);
	published(g);
	assert_int_equal(grouping_safe(g, 4), 200);
	assert_int_equal(grouping_safe(g, 5), 308);
	discard(g);
}

/* What a writer that is fenced may leave is bounded (SPINE_UNREAD_MAX): no second BEAT before the first is read back. */
static void
one_beat_unread(void **state UNUSED)
{
	struct grouping *g = opened(idle_history());
	struct spine_record r, none;

	grouping_idle(g, 600);
	assert_true(grouping_beat(g, 1000, &r));
	grouping_idle(g, 700);
	assert_false(grouping_beat(g, 9000, &none));
	assert_int_equal(grouping_read_back(g, &r), GROUPING_ON);
	assert_true(grouping_beat(g, 9000, &r));
	assert_int_equal(r.watermark, 700);
	discard(g);
}

/* An unclean leader: the offset of a row that it lost is given to the next one. Such a GROUP would be refused by every reader, for ever. */
static void
one_offset_for_two(void **state UNUSED)
{
	struct grouping *g = opened(idle_history());
	struct spine_record r;

	begins(g, 600);
	row(g, 5);
	row(g, 5);
	ends(g, 600, 608);
	grouping_close(g);
	assert_null(grouping_announce(g, &r));
	assert_true(g->torn);
	discard(g);
}

/* Acknowledged, and lost before it was read back: nothing would ever come. */
static void
overdue(void **state UNUSED)
{
	struct grouping *g = opened(idle_history());
	struct spine_record r;

	assert_false(grouping_overdue(g, 1));
	assert_false(grouping_overdue(g, 1000000)); /* nothing is awaited */
	txn(g, 600, 0);
	assert_non_null(grouping_announce(g, &r));
	assert_false(grouping_overdue(g, 1000100));
	assert_false(grouping_overdue(g, 1059000));
	assert_true(grouping_overdue(g, 1061000));
	assert_int_equal(grouping_read_back(g, &r), GROUPING_PUBLISHED);
	assert_false(grouping_overdue(g, 1062000));
	discard(g);
}

/* The next transaction has begun, and its first change is long in coming: what is whole goes ahead, with its own commit time. */
static void
whole_before_a_slow_one(void **state UNUSED)
{
	struct grouping *g = opened((struct spine_state){ 0 });

	begins(g, 100);
	row(g, 0);
	ends(g, 100, 108);
	grouping_begin(g, &(struct txn){ .commit_lsn = 200, .commit_us = 77 });
	grouping_close(g);
	published(g);
	assert_int_equal(g->state.seq, 1);
	assert_int_equal(g->state.commit_us, 1);
	row(g, 1);
	grouping_commit(g, &(struct txn){ .commit_lsn = 200, .end_lsn = 208, .commit_us = 77 });
	grouping_close(g);
	published(g);
	assert_int_equal(g->state.seq, 2);
	assert_int_equal(g->state.commit_us, 77);
	discard(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(older_than_the_watermark),
		cmocka_unit_test(whole_where_they_fit),
		cmocka_unit_test(very_many_parts),
		cmocka_unit_test(apart),
		cmocka_unit_test(sinks_behind_a_new_session),
		cmocka_unit_test(whole_before_a_slow_one),
		cmocka_unit_test(one_beat_unread),
		cmocka_unit_test(one_offset_for_two),
		cmocka_unit_test(overdue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
