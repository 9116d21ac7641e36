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
	return (struct spine_state){ .gen = 3, .token = 1, .no = 9, .seq = 20, .lsn = 100, .watermark = 500, .system_id = SYSTEM, .timeline = 1,
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(older_than_the_watermark),
		cmocka_unit_test(very_many_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
