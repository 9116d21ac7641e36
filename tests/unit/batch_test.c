/*
 * The works of a batch, in order, do to a table what its rows do in exact order: random histories
 * against a model of tables. Then the shapes of works that the sinks count on, and the price per
 * row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { COLS = 4, ROUNDS = 8000, TABLES = 3, MODEL_MAX = 512 };

static uint64_t
next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static int
below(uint64_t *state, int n)
{
	return (int)(next(state) % (uint64_t)n);
}

/* ---- a model of a table ---- */

struct model_row {
	int64_t v[COLS];
};

struct model {
	struct model_row rows[MODEL_MAX];
	int n;
};

static const char *const names[TABLES] = { "one", "two", "none" };
static int keys_one[] = { 0 }, keys_two[] = { 1, 2 };

static struct table
make_table(struct column *cols, int which)
{
	struct table t = { .schema = SLICE_LIT("public"),
		.name = slice_of(names[which]),
		.ncols = COLS,
		.cols = cols };

	for (int i = 0; i < COLS; i++)
		cols[i] =
		    (struct column){ .name = slice_of("abcd" + i), .type = { .wire = W_INT64 } };
	t.keys = which == 0 ? keys_one : which == 1 ? keys_two : NULL;
	t.nkeys = which == 0 ? 1 : which == 1 ? 2 : 0;
	return t;
}

static bool
model_match(const struct table *t, const struct model_row *m, const struct value *key)
{
	if (t->nkeys == 0)
		for (int i = 0; i < COLS; i++)
			if (m->v[i] != key[i].i)
				return false;
	for (int i = 0; i < t->nkeys; i++)
		if (m->v[t->keys[i]] != key[t->keys[i]].i)
			return false;
	return true;
}

static struct model_row *
model_find(const struct table *t, struct model *m, const struct value *key)
{
	for (int i = 0; i < m->n; i++)
		if (model_match(t, &m->rows[i], key))
			return &m->rows[i];
	return NULL;
}

static void
model_set(struct model_row *m, const struct value *row, const bool *present)
{
	for (int i = 0; i < COLS; i++)
		if (present ? present[i] : row[i].kind != V_ABSENT)
			m->v[i] = row[i].i;
}

static void
model_put(const struct table *t, struct model *m, const struct value *row, bool upsert)
{
	struct model_row *at = upsert && t->nkeys ? model_find(t, m, row) : NULL;

	if (!at) {
		assert_true(m->n < MODEL_MAX);
		at = &m->rows[m->n++];
		*at = (struct model_row){ { -1, -1, -1, -1 } };
	}
	model_set(at, row, NULL);
}

static void
model_drop(const struct table *t, struct model *m, const struct value *key)
{
	struct model_row *at = model_find(t, m, key);

	if (at)
		*at = m->rows[--m->n];
}

static void
model_row(struct model *m, const struct row *r)
{
	struct model_row *at;

	switch (r->op) {
	case OP_TRUNCATE:
		m->n = 0;
		break;
	case OP_DELETE:
		model_drop(r->tbl, m, r->before);
		break;
	case OP_UPDATE:
		at = model_find(r->tbl, m, r->moved || r->tbl->nkeys == 0 ? r->before : r->after);
		if (at)
			model_set(at, r->after, NULL);
		break;
	default:
		model_put(r->tbl, m, r->after, true);
	}
}

static void
model_work(struct model *m, const struct work *w, bool strict)
{
	if (w->kind == WORK_TRUNCATE) {
		m->n = 0;
		return;
	}
	if (w->kind == WORK_ROW) {
		assert_int_equal(w->n, 1);
		model_row(m, w->nets[0].last);
		return;
	}
	for (int i = 0; i < w->n; i++) {
		const struct net *net = &w->nets[i];
		struct model_row *at = w->tbl->nkeys ? model_find(w->tbl, m, net->key) : NULL;

		if (w->kind == WORK_DELETE) {
			assert_null(net->row);
			model_drop(w->tbl, m, net->key);
		} else if (w->kind == WORK_UPDATE) {
			for (int k = 0; k < w->tbl->nkeys; k++)
				assert_false(w->present[w->tbl->keys[k]]);
			if (at)
				model_set(at, net->row, w->present);
		} else {
			for (int c = 0; c < COLS; c++)
				assert_int_equal(
				    !w->present || w->present[c], net->row[c].kind != V_ABSENT);
			if (strict && w->kind == WORK_INSERT)
				assert_null(at);
			model_put(w->tbl, m, net->row, true);
		}
	}
}

static int
row_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct model_row));
}

static bool
model_same(struct model *a, struct model *b)
{
	qsort(a->rows, (size_t)a->n, sizeof *a->rows, row_order);
	qsort(b->rows, (size_t)b->n, sizeof *b->rows, row_order);
	return a->n == b->n && memcmp(a->rows, b->rows, (size_t)a->n * sizeof *a->rows) == 0;
}

/* ---- random histories ---- */

static struct value *
random_row(struct arena *a, uint64_t *seed)
{
	struct value *v = arena_array(a, COLS, sizeof *v);

	for (int i = 0; i < COLS; i++)
		v[i] = value_int(below(seed, i == COLS - 1 ? 1000 : 4));
	return v;
}

static struct value *
from_model(struct arena *a, const struct model_row *m)
{
	struct value *v = arena_array(a, COLS, sizeof *v);

	for (int i = 0; i < COLS; i++)
		v[i] = value_int(m->v[i]);
	return v;
}

static bool
is_key(const struct table *t, int col)
{
	for (int i = 0; i < t->nkeys; i++)
		if (t->keys[i] == col)
			return true;
	return false;
}

/*
 * An update of `old`: sometimes without some columns, sometimes of the key. False: nothing sensible
 * came out.
 */
static bool
random_update(
    struct arena *a, uint64_t *seed, struct model *m, const struct model_row *old, struct row *r)
{
	const struct table *t = r->tbl;
	struct value *v = random_row(a, seed), *was = from_model(a, old);

	r->op = OP_UPDATE;
	r->moved = t->nkeys && below(seed, 6) == 0;
	for (int i = 0; i < t->nkeys && !r->moved; i++)
		v[t->keys[i]] = was[t->keys[i]];
	if (r->moved && model_find(t, m, v))
		return false;
	for (int i = 0; i < COLS; i++)
		if (t->nkeys && !is_key(t, i) && below(seed, 3) == 0)
			v[i].kind = V_ABSENT;
	r->after = v;
	if (r->moved || t->nkeys == 0 || below(seed, 4) == 0)
		r->before = was;
	else if (t->nkeys && below(seed, 5) == 0) {
		r->before = was;
		v[t->keys[0]].kind = V_ABSENT; /* an unchanged key out of line */
	}
	return true;
}

static void
random_change(
    struct batch *b, uint64_t *seed, const struct table *tbl, struct model *source, bool wild)
{
	struct row *r = batch_row(b);
	int what = below(seed, 100);
	const struct model_row *old = source->n ? &source->rows[below(seed, source->n)] : NULL;
	struct model_row gone;

	r->tbl = tbl;
	if (wild && old && below(seed, 4) == 0) { /* of a row that is not there, or is already */
		for (int i = 0; i < COLS; i++)
			gone.v[i] = below(seed, 4);
		old = &gone;
	}
	if (what < 2) {
		r->op = OP_TRUNCATE;
	} else if (old && what < 20) {
		r->op = OP_DELETE;
		r->before = from_model(&b->arena, old);
	} else if (old && what < 60) {
		if (!random_update(&b->arena, seed, source, old, r))
			*r = (struct row){ .op = OP_READ, .tbl = tbl, .after = from_model(&b->arena, old) };
	} else if (old && what < 65 && tbl->nkeys) {
		*r = (struct row){ .op = OP_READ, .tbl = tbl, .after = from_model(&b->arena, old) };
	} else {
		struct value *v = random_row(&b->arena, seed);

		r->op = OP_CREATE;
		r->after = v;
		if (tbl->nkeys && !wild && model_find(tbl, source, v))
			r->op = OP_READ;
	}
	if (!wild && below(seed, 20) == 0 && r->op == OP_CREATE && tbl->nkeys)
		r->after[3].kind = V_ABSENT;
	model_row(source, r);
}

static void
release(void *msg)
{
	(*(int *)msg)--;
}

static void
round_of(uint64_t seed, struct model *exact, struct model *net)
{
	struct batch b = { 0 };
	/* Two versions of each table. */
	struct column cols[2][TABLES][COLS];
	struct table tables[2][TABLES];
	bool wild = below(&seed, 5) == 0;
	int n = 1 + below(&seed, 60), held = 0, version = 0;

	for (int i = 0; i < TABLES * 2; i++)
		tables[i / TABLES][i % TABLES] =
		    make_table(cols[i / TABLES][i % TABLES], i % TABLES);
	for (int t = 0; t < TABLES; t++) {
		exact[t].n = 0;
		for (int i = below(&seed, 8); i > 0; i--)
			model_put(&tables[0][t], &exact[t], random_row(&b.arena, &seed), true);
		net[t] = exact[t];
	}
	for (int i = 0; i < n; i++) {
		int t = below(&seed, TABLES);

		version = below(&seed, 30) == 0 ? !version : version;
		random_change(&b, &seed, &tables[version][t], &exact[t], wild);
		batch_hold(&b, &held);
		held++;
	}
	batch_plan(&b);
	for (int i = 0; i < b.nworks; i++)
		for (int t = 0; t < TABLES; t++)
			if (slice_eq(b.works[i].tbl->name, tables[0][t].name))
				model_work(&net[t], &b.works[i], !wild);
	batch_free(&b, release);
	assert_int_equal(held, 0);
}

static void
test_net_effect(void **state)
{
	const char *given = getenv("TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) << 20;
	struct model *exact = calloc(TABLES, sizeof *exact), *net = calloc(TABLES, sizeof *net);

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < ROUNDS; i++, seed++) {
		round_of(seed, exact, net);
		for (int t = 0; t < TABLES; t++)
			if (!model_same(&exact[t], &net[t]))
				fail_msg("table %s differs: TEST_SEED=%llu", names[t],
				    (unsigned long long)seed);
	}
	free(exact);
	free(net);
}

/* ---- shapes ---- */

static void
add(struct batch *b, const struct table *t, char op, int64_t key, int64_t d)
{
	struct value *v = arena_array(&b->arena, COLS, sizeof *v);
	struct row *r = batch_row(b);

	for (int i = 0; i < COLS; i++)
		v[i] = value_int(i == COLS - 1 ? d : key);
	*r = (struct row){ .op = op, .tbl = t };
	if (op == OP_DELETE)
		r->before = v;
	else
		r->after = v;
}

static void
test_order_of_works(void **state)
{
	struct column c0[COLS], c1[COLS];
	struct table one = make_table(c0, 0), two = make_table(c1, 1);
	struct batch b = { 0 };
	static const enum work_kind kinds[] = { WORK_DELETE, WORK_DELETE, WORK_UPDATE, WORK_INSERT,
		WORK_READ, WORK_UPSERT };
	const struct table *const of[] = { &two, &one, &one, &one, &one, &two };

	(void)state;
	add(&b, &one, OP_DELETE, 1, 0);
	add(&b, &two, OP_DELETE, 1, 0);
	add(&b, &one, OP_CREATE, 2, 5);
	add(&b, &one, OP_UPDATE, 2, 6); /* c, u = insert of the merged row */
	add(&b, &one, OP_UPDATE, 3, 7);
	add(&b, &one, OP_READ, 4, 8);
	add(&b, &two, OP_DELETE, 5, 0);
	add(&b, &two, OP_CREATE, 5, 9); /* d, c = upsert */
	batch_plan(&b);
	assert_int_equal(b.nworks, COUNTOF(kinds));
	for (size_t i = 0; i < COUNTOF(kinds); i++) {
		assert_int_equal(b.works[i].kind, kinds[i]);
		assert_ptr_equal(b.works[i].tbl, of[i]);
		assert_int_equal(b.works[i].n, 1);
	}
	assert_int_equal(b.works[3].nets[0].row[3].i, 6);
	assert_ptr_equal(b.works[3].nets[0].last, &b.rows[3]);
	assert_true(b.works[2].present[1] && b.works[2].present[3] && !b.works[2].present[0]);
	batch_free(&b, NULL);
}

static void
test_null_key(void **state)
{
	struct column c0[COLS];
	struct table one = make_table(c0, 0);
	struct batch b = { 0 };

	(void)state;
	add(&b, &one, OP_CREATE, 1, 1);
	add(&b, &one, OP_CREATE, 1, 1);
	add(&b, &one, OP_DELETE, 1, 1);
	b.rows[0].after[0] = b.rows[1].after[0] = b.rows[2].before[0] = value_null();
	batch_plan(&b);
	assert_int_equal(b.nworks, 2);
	assert_int_equal(b.works[0].kind, WORK_INSERT);
	assert_int_equal(b.works[0].n, 2);
	assert_int_equal(b.works[1].kind, WORK_ROW);
	batch_free(&b, NULL);
}

static void
test_many_tables(void **state)
{
	enum { MANY = 300 };
	struct column c0[COLS];
	struct table *t = calloc(MANY, sizeof *t);
	struct batch b = { 0 };

	(void)state;
	for (int i = 0; i < MANY; i++) {
		t[i] = make_table(c0, 0);
		t[i].name = (struct slice){ arena_printf(&b.arena, "t%d", i), 0 };
		t[i].name.n = strlen(t[i].name.p);
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < MANY; i++)
			add(&b, &t[i], round ? OP_UPDATE : OP_CREATE, 1, round);
	batch_plan(&b);
	assert_int_equal(b.nworks, MANY);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(b.works[i].nets[0].row[3].i, 2);
	batch_free(&b, NULL);
	free(t);
}

/* Not a check: a figure in the log, for a machine that is shared. */
static void
test_price(void **state)
{
	enum { N = 10000, TIMES = 50 };
	struct column c0[COLS];
	struct table one = make_table(c0, 0);
	struct timespec from, to;
	double ns = 0;

	(void)state;
	struct batch b = { 0 };

	for (int round = 0; round < TIMES; round++) {
		for (int i = 0; i < N; i++)
			add(&b, &one, i % 4 ? OP_CREATE : OP_UPDATE, i % 4 ? i : i / 2, i);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		batch_plan(&b);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		ns += (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
		batch_reset(&b, NULL);
	}
	print_message("batch_plan: %.0f ns per row\n", ns / N / TIMES);
	batch_free(&b, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_effect),
		cmocka_unit_test(test_order_of_works),
		cmocka_unit_test(test_null_key),
		cmocka_unit_test(test_many_tables),
		cmocka_unit_test(test_price),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
