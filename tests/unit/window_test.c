/*
 * Random histories of a table, a chunk of it read somewhere in the middle, the window's changes laid over: each row of the chunk is as the
 * table has it at the mark. And a whole copy by chunks against a sink that knows nothing but deletes, upserts and partial updates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/window.h"

#include <cmocka.h>

#include "tests/unit/random.h"

enum { COLS = 4, KEYS = 12, BIG = 3, CHANGES = 40, ROUNDS = 3000 };

/* Two columns are the key, the third always comes, the last is left out where it is unchanged (TOAST). */
struct model_row {
	bool there;
	struct value v[COLS];
};

static char texts[1000][8];
static int keys[] = { 0, 1 };
static struct column cols[COLS];
static const struct table tbl = { .schema = { "public", 6 }, .name = { "t", 1 }, .ncols = COLS, .cols = cols, .nkeys = 2, .keys = keys };

static int
setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTOF(texts); i++)
		snprintf(texts[i], sizeof texts[i], "t%zu", i);
	return 0;
}

static struct value
any_text(struct rng *r)
{
	return one_in(r, 5) ? value_null() : value_string(slice_of(texts[below(r, COUNTOF(texts))]));
}

static void
set_key(struct value *row, int key)
{
	row[0] = value_int(key / 4);
	row[1] = value_string(slice_of(texts[key % 4]));
}

static void
any_row(struct rng *r, int key, struct value *row)
{
	set_key(row, key);
	row[2] = any_text(r);
	row[BIG] = any_text(r);
}

/* A change of the model and what the stream says of it; arrays in a. */
static struct change
step(struct rng *r, struct model_row *m, struct arena *a)
{
	struct value *before = arena_array(a, COLS, sizeof *before), *after = arena_array(a, COLS, sizeof *after);
	struct change ch = { .tbl = &tbl };
	int k = (int)below(r, KEYS), to = (int)below(r, KEYS);

	if (one_in(r, 60)) {
		for (int i = 0; i < KEYS; i++)
			m[i].there = false;
		ch.op = OP_TRUNCATE;
		return ch;
	}
	set_key(before, k);
	if (!m[k].there) {
		m[k].there = true;
		any_row(r, k, m[k].v);
		memcpy(after, m[k].v, sizeof m[k].v);
		ch.op = OP_CREATE;
		ch.after = after;
	} else if (one_in(r, 4)) {
		m[k].there = false;
		ch.op = OP_DELETE;
		ch.before_kind = BEFORE_KEY;
		ch.before = before;
	} else if (one_in(r, 4) && !m[to].there) {
		/* told with all values: whoever publishes it has seen to that */
		m[to] = m[k];
		set_key(m[to].v, to);
		m[k].there = false;
		memcpy(after, m[to].v, sizeof m[to].v);
		ch = (struct change){ .op = OP_UPDATE, .tbl = &tbl, .before_kind = BEFORE_KEY, .before = before, .after = after };
	} else {
		bool big = one_in(r, 3);

		m[k].v[2] = any_text(r);
		if (big)
			m[k].v[BIG] = any_text(r);
		memcpy(after, m[k].v, sizeof m[k].v);
		if (!big)
			after[BIG].kind = V_ABSENT;
		ch.op = OP_UPDATE;
		ch.after = after;
	}
	return ch;
}

static bool
same_row(const struct value *a, const struct value *b)
{
	for (int i = 0; i < COLS; i++)
		if (!value_eq(&a[i], &b[i]))
			return false;
	return true;
}

static void
random_histories(void **state)
{
	uint64_t seed = first_seed("window_test"), n = rounds(ROUNDS), laid = 0, gone = 0;

	(void)state;
	for (uint64_t round = 0; round < n; round++) {
		struct rng r = rng_of(seed + round);
		struct model_row m[KEYS] = { 0 }, chunk[KEYS];
		struct window *w = window_open(1 << 20);
		struct arena a = { 0 };
		int before = (int)below(&r, CHANGES), seen = (int)below(&r, CHANGES), rest = (int)below(&r, CHANGES);

		for (int i = 0; i < before; i++)
			step(&r, m, &a);
		for (int i = 0; i < seen; i++) { /* the snapshot sees these */
			struct change ch = step(&r, m, &a);

			window_change(w, &ch);
		}
		memcpy(chunk, m, sizeof m);
		for (int i = 0; i < rest; i++) { /* and not these */
			struct change ch = step(&r, m, &a);

			window_change(w, &ch);
		}
		HOLDS(&r, !window_spoilt(w));
		HOLDS(&r, window_quiet(w) == (seen + rest == 0));
		for (int k = 0; k < KEYS; k++) {
			const struct value *row = chunk[k].there ? window_row(w, &tbl, chunk[k].v, &a) : NULL;

			if (!chunk[k].there)
				continue;
			HOLDS(&r, !row == !m[k].there);
			HOLDS(&r, !row || same_row(row, m[k].v));
			laid += row && row != chunk[k].v;
			gone += !row;
		}
		window_close(w);
		arena_free(&a);
	}
	assert_true(laid > n && gone > n / 4);
}

/* What a sink does with what it is told: an update of a row that it does not have does nothing. */
static void
apply(struct model_row *sink, const struct change *ch)
{
	const struct value *row = ch->op == OP_DELETE ? ch->before : ch->after;
	int k = ch->op == OP_TRUNCATE ? 0 : (int)row[0].i * 4 + row[1].s.p[1] - '0';

	if (ch->op == OP_TRUNCATE) {
		for (int i = 0; i < KEYS; i++)
			sink[i].there = false;
	} else if (ch->op == OP_DELETE) {
		sink[k].there = false;
	} else if (ch->op == OP_UPDATE) {
		for (int i = 0; i < COLS && sink[k].there; i++)
			if (ch->after[i].kind != V_ABSENT)
				sink[k].v[i] = ch->after[i];
	} else {
		sink[k].there = true;
		memcpy(sink[k].v, ch->after, sizeof sink[k].v);
	}
}

static void
stream(struct model_row *sink, struct window *w, const struct change *ch)
{
	window_change(w, ch);
	if (change_moves_key(ch)) {
		apply(sink, &(struct change){ .op = OP_DELETE, .tbl = &tbl, .before = ch->before });
		apply(sink, &(struct change){ .op = OP_CREATE, .tbl = &tbl, .after = ch->after });
	} else {
		apply(sink, ch);
	}
}

static void
outlive(struct value *row)
{
	for (int i = 0; i < COLS; i++)
		if (row[i].kind == V_STRING)
			row[i].s.p = texts[strtol(row[i].s.p + 1, NULL, 10)];
}

static void
whole_copy(void **state)
{
	uint64_t seed = first_seed("window_test, copy"), n = rounds(ROUNDS);

	(void)state;
	for (uint64_t round = 0; round < n; round++) {
		struct rng r = rng_of(seed + round);
		struct model_row m[KEYS] = { 0 }, sink[KEYS] = { 0 };
		struct arena a = { 0 };

		for (int i = (int)below(&r, CHANGES); i > 0; i--)
			step(&r, m, &a);
		for (int from = 0, to; from < KEYS; from = to) {
			struct window *w = window_open(1 << 20);
			struct model_row chunk[KEYS];

			to = from + 1 + (int)below(&r, 4);
			for (int half = 0; half < 2; half++) {
				for (int i = (int)below(&r, CHANGES / 4); i > 0; i--) {
					struct change ch = step(&r, m, &a);

					stream(sink, w, &ch);
				}
				if (!half)
					memcpy(chunk, m, sizeof m);
			}
			for (int k = from; k < to && k < KEYS; k++) {
				const struct value *row = chunk[k].there ? window_row(w, &tbl, chunk[k].v, &a) : NULL;

				if (!row)
					continue;
				apply(sink, &(struct change){ .op = OP_READ, .tbl = &tbl, .after = row });
				outlive(sink[k].v); /* what it points to is the window's */
			}
			window_close(w);
			/* a sink has part of the table, and that is as the table is */
			for (int k = 0; k < KEYS; k++) {
				HOLDS(&r, !sink[k].there || (m[k].there && same_row(sink[k].v, m[k].v)));
				HOLDS(&r, k >= to || sink[k].there == m[k].there);
			}
		}
		arena_free(&a);
	}
}

static void
limits(void **state)
{
	static char long_text[3000];
	struct value row[COLS];
	struct table other = tbl;
	struct change ch = { .op = OP_CREATE, .tbl = &tbl, .after = row };
	struct window *w = window_open(10000);

	(void)state;
	memset(long_text, 'x', sizeof long_text);
	assert_true(window_quiet(w) && !window_table(w));
	for (int i = 0; i < 5; i++) {
		set_key(row, i);
		row[2] = value_null();
		row[BIG] = value_string((struct slice){ long_text, sizeof long_text });
		assert_false(window_spoilt(w) && i < 3);
		window_change(w, &ch);
	}
	assert_true(window_spoilt(w) && window_table(w) == &tbl);
	window_close(w);
	w = window_open(10000);
	row[BIG] = value_null();
	window_change(w, &ch);
	assert_false(window_spoilt(w) || window_quiet(w));
	ch.tbl = &other;
	window_change(w, &ch);
	assert_true(window_spoilt(w));
	window_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_histories),
		cmocka_unit_test(whole_copy),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
