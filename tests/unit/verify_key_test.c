/* When is a difference one? A source that changes, a sink that follows, and looks at both that take turns. */
#include "control/verify_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/random.h"

enum { COMMITS_MAX = 400, ABSENT = 0 };

/* One row's history: value[i] is what it is after i commits, by which it is also told when that version came to be. */
struct world {
	struct rng r;
	int value[COMMITS_MAX + 1], version[COMMITS_MAX + 1];
	int n, visible, applied; /* commits in the log, seen by others, at the sink: visible <= n, applied <= n */
	int hidden;              /* steps until the last commit is seen */
	bool strict, quiet;
	int planted;             /* at the sink instead of what `planted_at` commits made; -1: nothing */
	int planted_at;
};

static struct verify_row
row_of(int value, int version)
{
	struct verify_row row = { .there = value != ABSENT };
	char text[32];

	if (!row.there)
		return row;
	snprintf(text, sizeof text, "v%d", version);
	row.version = strdup(text);
	snprintf(text, sizeof text, "%d,7", value);
	row.cells = strdup(text);
	return row;
}

static struct verify_row
look_source(struct world *w)
{
	return row_of(w->value[w->visible], w->version[w->visible]);
}

static struct verify_row
look_sink(struct world *w)
{
	if (w->planted >= 0 && w->version[w->applied] == w->version[w->planted_at])
		return row_of(w->planted, 1000000);
	return row_of(w->value[w->applied], w->version[w->applied]);
}

static void
commit(struct world *w)
{
	int value = (int)(rnd(&w->r) % 4);

	w->n++;
	w->value[w->n] = value;
	/* A commit that did not touch it leaves the version; what is gone has none. */
	w->version[w->n] = w->n;
	if (rnd(&w->r) % 3 == 0) {
		w->value[w->n] = w->value[w->n - 1];
		w->version[w->n] = w->version[w->n - 1];
	}
	/* Others see it later, the row is locked until then. */
	w->hidden = w->strict ? (int)(rnd(&w->r) % 40) : (int)(rnd(&w->r) % 2);
	if (!w->hidden)
		w->visible = w->n;
}

static void
step(struct world *w)
{
	if (w->visible < w->n && --w->hidden <= 0)
		w->visible = w->n;
	if (!w->quiet && w->visible == w->n && w->n < COMMITS_MAX && rnd(&w->r) % 2)
		commit(w);
	if (w->applied < w->n && rnd(&w->r) % 2)
		w->applied += 1 + (int)(rnd(&w->r) % (uint64_t)(w->n - w->applied));
}

static void
steps(struct world *w, int most)
{
	for (int i = (int)(rnd(&w->r) % (uint64_t)most); i >= 0; i--)
		step(w);
}

/* As the command looks: a round is source, the log's end, the sink at or behind it. in_log: commits when the sink was looked at last. */
static void
look_round(struct world *w, struct verify_key *k, int *in_log, bool tell, bool glances)
{
	int end;
	bool settled = w->visible >= *in_log && tell;

	verify_key_source(k, look_source(w), settled, w->strict);
	steps(w, 2);
	end = w->n;
	while (w->applied < end) {
		if (glances)
			verify_key_glance(k, look_source(w));
		step(w);
	}
	steps(w, glances ? 1 : 3);
	verify_key_sink(k, look_sink(w), w->strict);
	*in_log = w->n;
}

static struct world
world_of(uint64_t seed)
{
	struct world w = { .r = rng_of(seed), .planted = -1 };

	w.value[0] = (int)(rnd(&w.r) % 4);
	w.strict = rnd(&w.r) % 2;
	return w;
}

static void
no_difference_where_there_is_none(void **state)
{
	uint64_t first = first_seed("no_difference_where_there_is_none"), n_rounds = rounds(20000), decided = 0;

	(void)state;
	for (uint64_t i = 0; i < n_rounds; i++) {
		struct world w = world_of(first + i);
		struct verify_key k = { 0 };
		int in_log = 0;

		steps(&w, 10);
		for (int n = 0; n < 20 && k.verdict == VERIFY_OPEN; n++) {
			look_round(&w, &k, &in_log, rnd(&w.r) % 4 > 0, n > 2);
			steps(&w, 4);
		}
		HOLDS(&w.r, k.verdict == VERIFY_OPEN || k.verdict == VERIFY_EQUAL);
		verify_key_end(&k, w.strict);
		HOLDS(&w.r, k.verdict == VERIFY_OPEN || k.verdict == VERIFY_EQUAL);
		decided += k.verdict == VERIFY_EQUAL;
		verify_key_drop(&k);
	}
	assert_true(getenv("TOWLINE_ROUNDS") || decided > n_rounds * 9 / 10);
}

/* What is wrong at the sink and is left alone is found as soon as the source leaves it alone too. */
static void
what_is_planted_is_found(void **state)
{
	uint64_t first = first_seed("what_is_planted_is_found"), n_rounds = rounds(20000);

	(void)state;
	for (uint64_t i = 0; i < n_rounds; i++) {
		struct world w = world_of(first + i);
		struct verify_key k = { 0 };
		enum verify_verdict want;
		int in_log = 0, truth;

		steps(&w, 30);
		w.quiet = true;
		while (w.applied < w.n || w.visible < w.n)
			step(&w);
		truth = w.value[w.n];
		w.planted_at = w.n;
		do
			w.planted = (int)(rnd(&w.r) % 4);
		while (w.planted == truth);
		want = truth == ABSENT ? VERIFY_EXTRA : w.planted == ABSENT ? VERIFY_MISSING : VERIFY_DIFFERENT;
		for (int n = 0; n < 3 && k.verdict == VERIFY_OPEN; n++)
			look_round(&w, &k, &in_log, true, rnd(&w.r) % 2);
		HOLDS(&w.r, k.verdict == want);
		HOLDS(&w.r, want != VERIFY_DIFFERENT || (verify_key_column(&k, 0) == 0 && verify_key_column(&k, 1) == -1));
		verify_key_drop(&k);
	}
}

/* ---- a table without a key, as one row ---- */

enum { ROWS_MAX = 6 };

/* Its rows after i commits: content (0: none) and the commit that wrote it. `steady` rows are never touched. */
struct heap {
	struct rng r;
	int content[COMMITS_MAX + 1][ROWS_MAX], version[COMMITS_MAX + 1][ROWS_MAX];
	int n, applied, steady;
};

static void
heap_commit(struct heap *h)
{
	int i = h->steady + (int)(rnd(&h->r) % (uint64_t)(ROWS_MAX - h->steady));

	memcpy(h->content[h->n + 1], h->content[h->n], sizeof h->content[0]);
	memcpy(h->version[h->n + 1], h->version[h->n], sizeof h->version[0]);
	h->n++;
	/* As in a queue: a row comes, goes, and the same content comes again as another row. */
	h->content[h->n][i] = h->content[h->n][i] ? 0 : 1 + (int)(rnd(&h->r) % 2);
	h->version[h->n][i] = h->n;
}

/* Without the row `lost`, and with one more where `extra` is set. */
static struct verify_row
heap_look(const struct heap *h, int at, int lost, bool extra)
{
	char cells[128] = "", version[128] = "";
	struct verify_row row = { .there = true };

	for (int value = 1; value <= 2; value++)
		for (int i = 0; i < ROWS_MAX; i++)
			if (i != lost && h->content[at][i] == value)
				snprintf(cells + strlen(cells), sizeof cells - strlen(cells), "%d.", value);
	for (int i = 0; i < ROWS_MAX; i++)
		if (i != lost && h->content[at][i]) {
			snprintf(version + strlen(version), sizeof version - strlen(version), "%d/%d.", i, h->version[at][i]);
			row.rows++;
		}
	if (extra) {
		snprintf(cells + strlen(cells), sizeof cells - strlen(cells), "9.");
		snprintf(version + strlen(version), sizeof version - strlen(version), "x.");
		row.rows++;
	}
	row.cells = strdup(cells);
	row.version = strdup(version);
	return row;
}

static void
heap_steps(struct heap *h, int most)
{
	for (int i = (int)(rnd(&h->r) % (uint64_t)most); i >= 0; i--) {
		if (h->n < COMMITS_MAX && rnd(&h->r) % 2)
			heap_commit(h);
		if (h->applied < h->n && rnd(&h->r) % 2)
			h->applied += 1 + (int)(rnd(&h->r) % (uint64_t)(h->n - h->applied));
	}
}

static void
heap_round(struct heap *h, struct verify_key *k, int lost, bool extra)
{
	int end;

	verify_key_source(k, heap_look(h, h->n, -1, false), true, false);
	end = h->n;
	heap_steps(h, 3);
	if (h->applied < end)
		h->applied = end;
	verify_key_sink(k, heap_look(h, h->applied, lost, extra), false);
	heap_steps(h, 3);
}

static void
a_table_without_a_key(void **state)
{
	uint64_t first = first_seed("a_table_without_a_key"), n_rounds = rounds(20000), decided = 0;

	(void)state;
	for (uint64_t i = 0; i < n_rounds; i++) {
		struct heap h = { .r = rng_of(first + i), .steady = 1 };
		struct verify_key k = { 0 };

		h.content[0][0] = 1;
		heap_steps(&h, 10);
		for (int n = 0; n < 8 && k.verdict == VERIFY_OPEN; n++)
			heap_round(&h, &k, -1, false);
		HOLDS(&h.r, k.verdict == VERIFY_OPEN || k.verdict == VERIFY_EQUAL);
		decided += k.verdict == VERIFY_EQUAL;
		verify_key_drop(&k);
	}
	assert_true(getenv("TOWLINE_ROUNDS") || decided > n_rounds / 2);
}

/* At rest, whatever was before: a row that the sink lacks, has too much, or both. */
static void
a_table_without_a_key_at_rest(void **state)
{
	uint64_t first = first_seed("a_table_without_a_key_at_rest"), n_rounds = rounds(5000);

	(void)state;
	for (uint64_t i = 0; i < n_rounds; i++) {
		struct heap h = { .r = rng_of(first + i), .steady = 1 };
		struct verify_key k = { 0 };
		int kind = (int)(rnd(&h.r) % 3);

		h.content[0][0] = 1;
		heap_steps(&h, 10);
		h.applied = h.n;
		for (int n = 0; n < 2 && k.verdict == VERIFY_OPEN; n++) {
			verify_key_source(&k, heap_look(&h, h.n, -1, false), true, false);
			verify_key_sink(&k, heap_look(&h, h.n, kind ? 0 : -1, kind != 1), false);
		}
		HOLDS(&h.r, k.verdict == VERIFY_DIFFERENT);
		verify_key_drop(&k);
	}
}

/* A transaction that runs for hours: it takes more rounds, and where commits may wait for sinks it is never said. */
static void
without_settled_looks(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct verify_key k = { 0 };
		int n = 0;

		while (k.verdict == VERIFY_OPEN && n < 30) {
			verify_key_source(&k, row_of(1, 1), false, strict);
			verify_key_sink(&k, row_of(2, 1), strict);
			n++;
		}
		assert_int_equal(k.verdict, strict ? VERIFY_OPEN : VERIFY_DIFFERENT);
		assert_int_equal(n, strict ? 30 : VERIFY_LIKELY + 1);
		verify_key_end(&k, strict);
		assert_int_equal(k.verdict, strict ? VERIFY_OPEN : VERIFY_DIFFERENT);
		verify_key_drop(&k);
	}
}

/* Written all the time, so that no look is like the one before: a row that is wrong is found by the sink's leaving it. */
static void
hot_rows(void **state)
{
	struct verify_key k = { 0 }, gone = { 0 };

	(void)state;
	for (int i = 1; i <= 3 && k.verdict == VERIFY_OPEN; i++) {
		verify_key_source(&k, row_of(i + 10, i), true, false);
		verify_key_sink(&k, row_of(1, 1), false);
	}
	assert_int_equal(k.verdict, VERIFY_DIFFERENT);
	for (int i = 1; i <= 20; i++) {
		verify_key_source(&gone, row_of(i + 10, i), true, false);
		verify_key_sink(&gone, row_of(ABSENT, 1), false);
	}
	assert_int_equal(gone.verdict, VERIFY_OPEN);
	verify_key_end(&gone, true);
	assert_int_equal(gone.verdict, VERIFY_OPEN);
	verify_key_end(&gone, false);
	assert_int_equal(gone.verdict, VERIFY_MISSING);
	verify_key_drop(&k);
	verify_key_drop(&gone);
}

/* What a sink has that none of the looks since then met is no proof either; what one of them met is right. */
static void
glances(void **state)
{
	struct verify_key k = { 0 };

	(void)state;
	verify_key_source(&k, row_of(1, 1), true, false);
	for (int i = 2; i < 2 * VERIFY_GLANCES; i++)
		verify_key_glance(&k, row_of(i, i));
	verify_key_sink(&k, row_of(2 * VERIFY_GLANCES, 2 * VERIFY_GLANCES), false);
	assert_int_equal(k.verdict, VERIFY_OPEN);
	verify_key_source(&k, row_of(3000, 3000), true, false);
	verify_key_glance(&k, row_of(ABSENT, 0));
	verify_key_glance(&k, row_of(3002, 3002));
	verify_key_sink(&k, row_of(2 * VERIFY_GLANCES - 1, 2 * VERIFY_GLANCES - 1), false); /* of the round before */
	assert_int_equal(k.verdict, VERIFY_OPEN);
	verify_key_source(&k, row_of(4000, 4000), true, false);
	verify_key_glance(&k, row_of(ABSENT, 0));
	verify_key_sink(&k, row_of(ABSENT, 0), false);
	assert_int_equal(k.verdict, VERIFY_EQUAL);
	verify_key_drop(&k);
}

static void
columns_and_keys(void **state)
{
	char left[] = "12,-3,4,5", right[] = "12,-33,4,6", several[] = VERIFY_SEVERAL;
	struct verify_key k = { .source = { .cells = left }, .sink = { .cells = right } };
	char a[] = "a", b[] = "b", ab[] = "ab", *one[] = { a, b }, *two[] = { a, ab }, *three[] = { ab, a };

	(void)state;
	assert_int_equal(verify_key_column(&k, 0), 1);
	assert_int_equal(verify_key_column(&k, 1), 3);
	assert_int_equal(verify_key_column(&k, 2), -1);
	k.sink.cells = several;
	assert_int_equal(verify_key_column(&k, 0), -1);
	assert_int_equal(verify_key_compare(one, one, 2), 0);
	assert_true(verify_key_compare(one, two, 2) > 0);
	assert_true(verify_key_compare(one, three, 2) < 0);
	assert_true(verify_key_compare(three, one, 2) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_difference_where_there_is_none), cmocka_unit_test(what_is_planted_is_found),
		cmocka_unit_test(a_table_without_a_key), cmocka_unit_test(a_table_without_a_key_at_rest),
		cmocka_unit_test(without_settled_looks), cmocka_unit_test(hot_rows),
		cmocka_unit_test(glances), cmocka_unit_test(columns_and_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
