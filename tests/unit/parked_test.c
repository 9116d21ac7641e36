/*
 * Keys that wait: what a row is called, who waits for whom, and that whatever is refused, parked, truncated and tried
 * again in whatever order, the sink comes to be what the source is, and a key that does not wait is so at every
 * moment.
 */
#include "consumer/sink_impl.h"
#include "tests/rows.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/random.h"

static int key0[] = { 0 };

static struct parked_ids
ids_of(const struct row *r)
{
	struct buf scratch = { 0 };
	struct parked_ids ids;

	parked_ids(r, &scratch, &ids);
	buf_free(&scratch);
	return ids;
}

static bool
same_id(struct parked_id a, struct parked_id b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

static void
test_names(void **state)
{
	struct column c[] = { COL_INT8("id"), COL_TEXT("name") },
		      wide[] = { COL_INT8("number"), COL_TEXT("name"), COL_TEXT("more") };
	struct table t = table_of("item", c, 2, key0, 1), v2 = table_of("item", wide, 3, key0, 1),
		     other = table_of("other", c, 2, key0, 1);
	struct batch b = { 0 };
	struct parked_ids one, ids;
	struct parked_id back;
	char text[PARKED_ID_TEXT];

	(void)state;
	one = ids_of(put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(7), V_TEXT("a"))));
	assert_int_equal(one.n, 1);
	/* The same row by whatever change, and in a later version of the table. */
	ids = ids_of(put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(7), V_NONE), NULL));
	assert_true(ids.n == 1 && same_id(ids.id[0], one.id[0]));
	ids = ids_of(
	    put_row(&b, &v2, OP_UPDATE, NULL, VALUES(&b, value_int(7), V_NONE, V_TEXT("x"))));
	assert_true(ids.n == 1 && same_id(ids.id[0], one.id[0]));
	/* Another key, another table. */
	ids = ids_of(put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(8), V_TEXT("a"))));
	assert_false(same_id(ids.id[0], one.id[0]));
	ids = ids_of(put_row(&b, &other, OP_CREATE, NULL, VALUES(&b, value_int(7), V_TEXT("a"))));
	assert_false(same_id(ids.id[0], one.id[0]));
	/* A changed key has both. */
	put_row(&b, &t, OP_UPDATE, VALUES(&b, value_int(7), V_NONE),
	    VALUES(&b, value_int(9), V_TEXT("a")))
	    ->moved = true;
	ids = ids_of(&b.rows[b.nrows - 1]);
	assert_true(ids.n == 2 && same_id(ids.id[0], one.id[0]));
	assert_int_equal(ids_of(put_row(&b, &t, OP_TRUNCATE, NULL, NULL)).n, 0);
	assert_true(
	    parked_id_parse(parked_id_text(text, one.id[0]), &back) && same_id(back, one.id[0]));
	assert_false(parked_id_parse("0123", &back));
	assert_false(parked_id_parse("0123456789abcdef0123456789abcdeg", &back));
	batch_free(&b, NULL);
}

/* Without a key a row is called by all that it holds. */
static void
test_no_key(void **state)
{
	struct column c[] = { COL_INT8("x"), COL_TEXT("y") };
	struct table t = table_of("log", c, 2, NULL, 0), nullable = table_of("log", c, 2, key0, 1);
	struct batch b = { 0 };
	struct parked_ids made, ids;

	(void)state;
	made = ids_of(put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("a"))));
	assert_int_equal(made.n, 1);
	ids = ids_of(put_row(&b, &t, OP_UPDATE, VALUES(&b, value_int(1), V_TEXT("a")),
	    VALUES(&b, value_int(2), V_NONE)));
	assert_true(ids.n == 2 && same_id(ids.id[0], made.id[0]));
	made = ids_of(put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(2), V_TEXT("a")), NULL));
	assert_true(made.n == 1 && same_id(ids.id[1], made.id[0]));
	/* An old row that is not whole says nothing. */
	put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(2), V_TEXT("a")), NULL)->before_full =
	    false;
	assert_int_equal(ids_of(&b.rows[b.nrows - 1]).n, 0);
	/* Nor does a key with a NULL. */
	ids =
	    ids_of(put_row(&b, &nullable, OP_DELETE, VALUES(&b, value_null(), V_TEXT("a")), NULL));
	assert_int_equal(ids.n, 1);
	put_row(&b, &nullable, OP_DELETE, VALUES(&b, value_null(), V_TEXT("a")), NULL)
	    ->before_full = false;
	assert_int_equal(ids_of(&b.rows[b.nrows - 1]).n, 0);
	batch_free(&b, NULL);
}

static void
key_is(const struct row *r, const char *want)
{
	struct buf out = { 0 };

	parked_key_json(r, &out);
	assert_string_equal(buf_cstr(&out), want);
	buf_free(&out);
}

static void
test_key_json(void **state)
{
	struct column c[] = { COL_INT8("id"), COL_TEXT("na\"me") };
	int both[] = { 0, 1 };
	struct table t = table_of("item", c, 2, both, 2), none = table_of("item", c, 2, NULL, 0);
	struct batch b = { 0 };

	(void)state;
	key_is(put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(7), V_TEXT("a\n"))),
	    "{\"id\": 7, \"na\\\"me\": \"a\\n\"}");
	put_row(&b, &t, OP_UPDATE, VALUES(&b, value_int(7), V_TEXT("a")),
	    VALUES(&b, value_int(8), V_TEXT("a")))
	    ->moved = true;
	key_is(&b.rows[1], "[{\"id\": 7, \"na\\\"me\": \"a\"}, {\"id\": 8, \"na\\\"me\": \"a\"}]");
	key_is(put_row(&b, &none, OP_CREATE, NULL, VALUES(&b, value_int(7), V_TEXT("a"))), "");
	batch_free(&b, NULL);
}

static void
test_route(void **state)
{
	struct column c[] = { COL_INT8("id"), COL_TEXT("name") };
	struct table t = table_of("item", c, 2, key0, 1), other = table_of("other", c, 2, key0, 1);
	struct parked set = { 0 };
	struct parked_ids ids;
	struct batch b = { 0 };
	int64_t head;
	static const uint8_t want[] = { 0, ASIDE_WAITS, 0, 0, ASIDE_WAITS, ASIDE_WAITS, 0, 0, 0 };

	(void)state;
	ids = ids_of(put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("a"))));
	parked_add(&set, t.schema, t.name, &ids, 42);
	batch_reset(&b, NULL);
	put_row(&b, &t, OP_UPDATE, NULL, VALUES(&b, value_int(2), V_TEXT("free")));
	put_row(&b, &t, OP_UPDATE, NULL, VALUES(&b, value_int(1), V_TEXT("waits")));
	put_row(&b, &other, OP_UPDATE, NULL, VALUES(&b, value_int(1), V_TEXT("another table")));
	put_row(&b, &t, OP_UPDATE, NULL, VALUES(&b, value_int(3), V_TEXT("still free")));
	put_row(&b, &t, OP_UPDATE, VALUES(&b, value_int(1), V_NONE),
	    VALUES(&b, value_int(3), V_TEXT("joins 3")))
	    ->moved = true;
	put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(3), V_NONE), NULL);
	put_row(&b, &t, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("new")));
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(3), V_TEXT("new")));
	assert_true(parked_route(&set, &b));
	for (int i = 0; i < b.nrows; i++)
		assert_int_equal(b.rows[i].aside, want[i]);
	assert_int_equal(set.n, 0);
	assert_false(parked_has(&set, &ids, &head));
	/* Rows that wait are no work. */
	batch_plan(&b);
	assert_true(b.special);
	for (int i = 0; i < b.nworks; i++)
		for (int k = 0; k < b.works[i].n; k++)
			assert_int_equal(b.works[i].nets[k].last->aside, ASIDE_NOT);
	/* What the other half of a changed key could not be read for parks the old key. */
	batch_reset(&b, NULL);
	put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(5), V_NONE), NULL)->aside = ASIDE_BAD;
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(5), V_TEXT("waits")));
	assert_true(parked_route(&set, &b));
	assert_int_equal(b.rows[1].aside, ASIDE_WAITS);
	batch_free(&b, NULL);
	parked_free(&set);
}

static void
test_bound(void **state)
{
	struct parked set = { 0 };
	struct err err;

	(void)state;
	for (uint64_t i = 0; i < PARKED_KEYS_MAX; i++) {
		struct parked_ids ids = { 1, { { i, 1 } } };

		parked_add(&set, SLICE_LIT("public"), SLICE_LIT("t"), &ids, 1);
		parked_add(&set, SLICE_LIT("public"), SLICE_LIT("t"), &ids, 2);
	}
	assert_int_equal(parked_bounded(&set, "copy", &err), OK);
	parked_add(
	    &set, SLICE_LIT("app"), SLICE_LIT("t"), &(struct parked_ids){ 1, { { 0, 0 } } }, 1);
	assert_int_equal(parked_bounded(&set, "copy", &err), FATAL);
	parked_drop_table(&set, SLICE_LIT("public"), SLICE_LIT("t"));
	assert_int_equal(set.n, 1);
	parked_free(&set);
}

static void
test_parts(void **state)
{
	/* a: 0 3; b: 1, joined to c by 4; c: 2; nameless: 5 6 */
	struct parked_entry e[] = { { .ids = { 1, { { 1, 0 } } } }, { .ids = { 1, { { 2, 0 } } } },
		{ .ids = { 1, { { 3, 0 } } } }, { .ids = { 1, { { 1, 0 } } } },
		{ .ids = { 2, { { 3, 0 }, { 2, 0 } } } }, { .ids = { 0 } }, { .ids = { 0 } } };
	static const int want[] = { 0, 1, 1, 0, 1, 5, 6 };
	int part[COUNTOF(e)];

	(void)state;
	parked_parts(e, COUNTOF(e), part);
	for (size_t i = 0; i < COUNTOF(e); i++)
		assert_int_equal(part[i], want[i]);
}

/* ---- any history ---- */

enum { KEYS = 8, VALUES_MAX = 20, LIMIT = 16, PENDING_MAX = 4000, GONE = -1 };

/* A table of id, v; the sink refuses a v of LIMIT and more while it is strict. */
struct model {
	int v[KEYS];
};

struct history {
	struct rng *r;
	struct batch b; /* its arena is the history's: nothing is reset but the rows */
	struct table versions[2];
	struct model source, sink;
	bool strict;
	struct parked set;
	struct row parked[PENDING_MAX];
	struct parked_ids ids[PENDING_MAX];
	int nparked;
	long refused, waited, retried;
};

static void
emit(struct history *h, char op, int old, int id, int v)
{
	const struct table *t = &h->versions[one_in(h->r, 2)];
	struct value *before = old == GONE ? NULL : VALUES(&h->b, value_int(old), V_NONE);
	struct value *after = op == OP_DELETE || op == OP_TRUNCATE
	    ? NULL
	    : VALUES(&h->b, value_int(id), value_int(v));
	struct row *r = put_row(&h->b, t, op, before, after);

	r->before_full = false;
	r->moved = op == OP_UPDATE && old != GONE;
}

/* One change at the source. */
static void
change(struct history *h)
{
	struct model *m = &h->source;
	int id = (int)below(h->r, KEYS), to = (int)below(h->r, KEYS),
	    v = (int)below(h->r, VALUES_MAX);

	if (one_in(h->r, 50)) {
		emit(h, OP_TRUNCATE, GONE, 0, 0);
		for (int i = 0; i < KEYS; i++)
			m->v[i] = GONE;
	} else if (m->v[id] == GONE) {
		emit(h, OP_CREATE, GONE, id, m->v[id] = v);
	} else if (one_in(h->r, 4)) {
		emit(h, OP_DELETE, id, 0, 0);
		m->v[id] = GONE;
	} else if (m->v[to] == GONE && one_in(h->r, 2)) {
		emit(h, OP_UPDATE, id, to, m->v[to] = v);
		m->v[id] = GONE;
	} else {
		emit(h, OP_UPDATE, GONE, id, m->v[id] = v);
	}
}

/* As a database does it. False: refused. */
static bool
apply(struct model *m, const struct row *r, bool strict)
{
	int id = r->after ? (int)r->after[0].i : 0, v = r->after ? (int)r->after[1].i : 0,
	    old = r->before ? (int)r->before[0].i : id;

	if (r->op == OP_TRUNCATE) {
		for (int i = 0; i < KEYS; i++)
			m->v[i] = GONE;
	} else if (r->op == OP_DELETE) {
		m->v[old] = GONE;
	} else if (r->op == OP_CREATE || m->v[old] != GONE) {
		if ((strict && v >= LIMIT) || (r->moved && m->v[id] != GONE))
			return false;
		if (r->moved)
			m->v[old] = GONE;
		m->v[id] = v;
	}
	return true;
}

static void
park(struct history *h, const struct row *r)
{
	assert_true(h->nparked < PENDING_MAX);
	h->parked[h->nparked] = *r;
	h->ids[h->nparked] = ids_of(r);
	parked_add(&h->set, r->tbl->schema, r->tbl->name, &h->ids[h->nparked], h->nparked + 1);
	h->nparked++;
}

/* A batch at the sink, as consumer and sinks do it: marked, redone row by row, put away. */
static void
take_batch(struct history *h)
{
	struct reject rejects[64];
	struct redo_list list = { .rejects = rejects, .max = 64 };
	struct err err = { .text = "refused" };
	int next = 0;

	parked_route(&h->set, &h->b);
	for (int i = 0; i < h->b.nrows; i++) {
		const struct row *r = &h->b.rows[i];
		bool waits;

		if (r->aside)
			continue;
		waits = redo_waits(&list, r);
		if (waits || !apply(&h->sink, r, h->strict)) {
			assert_int_equal(redo_leave(&list, &h->b.arena, r, waits, &err), OK);
			h->refused += !waits;
		} else if (r->op == OP_TRUNCATE) {
			redo_truncated(&list, r);
		}
	}
	for (int i = 0; i < h->b.nrows; i++) {
		const struct row *r = &h->b.rows[i];

		h->waited += r->aside != 0;
		if (r->aside || (next < list.n && rejects[next].row == r && ++next))
			park(h, r);
		else if (r->op == OP_TRUNCATE)
			h->nparked = 0;
	}
	redo_forget(&list);
	h->b.nrows = 0;
}

/* What `towline dlq retry` does with what belongs to entry `only`, or (-1) with all. True: something went in. */
static bool
retry(struct history *h, int only)
{
	static struct parked_entry e[PENDING_MAX]; /* too large for the stack */
	static int part[PENDING_MAX];
	bool done[PENDING_MAX] = { false }, any = false;
	int kept = 0;

	for (int i = 0; i < h->nparked; i++)
		e[i] = (struct parked_entry){ .ids = h->ids[i] };
	parked_parts(e, h->nparked, part);
	for (int i = 0; i < h->nparked; i++) {
		struct model m = h->sink;
		bool good = part[i] == i && (only < 0 || part[only] == i);

		for (int k = i; k < h->nparked && good; k++)
			good = part[k] != i || apply(&m, &h->parked[k], h->strict);
		for (int k = i; k < h->nparked && good; k++)
			done[k] = done[k] || part[k] == i;
		if (good)
			h->sink = m;
		any = any || good;
	}
	parked_free(&h->set);
	for (int i = 0; i < h->nparked; i++) {
		h->retried += done[i];
		if (done[i])
			continue;
		h->parked[kept] = h->parked[i];
		h->ids[kept] = h->ids[i];
		parked_add(
		    &h->set, h->versions[0].schema, h->versions[0].name, &h->ids[kept], kept + 1);
		kept++;
	}
	h->nparked = kept;
	return any;
}

static void
check_free(struct history *h)
{
	for (int i = 0; i < KEYS; i++) {
		struct row r = { .op = OP_DELETE,
			.tbl = &h->versions[0],
			.before = (struct value[]){ value_int(i), V_NONE } };
		struct parked_ids ids = ids_of(&r);
		int64_t head;

		HOLDS(h->r, parked_has(&h->set, &ids, &head) || h->sink.v[i] == h->source.v[i]);
	}
}

static void
test_any_history(void **state)
{
	struct column c[] = { COL_INT8("id"), COL_INT8("v") },
		      c2[] = { COL_INT4("id"), COL_INT8("v") };
	long refused = 0, waited = 0, retried = 0;
	uint64_t seed = first_seed("any_history"), times = rounds(400);

	(void)state;
	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		struct history *h = calloc(1, sizeof *h);

		assert_non_null(h);
		h->r = &r;
		h->versions[0] = table_of("t", c, 2, key0, 1);
		h->versions[1] = table_of("t", c2, 2, key0, 1);
		for (int k = 0; k < KEYS; k++)
			h->source.v[k] = h->sink.v[k] = GONE;
		for (int round = 0; round < 60; round++) {
			h->strict = one_in(&r, 4) ? !h->strict : h->strict;
			for (uint64_t n = 1 + below(&r, 12); n > 0; n--)
				change(h);
			take_batch(h);
			check_free(h);
			if (h->nparked && one_in(&r, 3))
				retry(h, one_in(&r, 2) ? -1 : (int)below(&r, (uint64_t)h->nparked));
			check_free(h);
		}
		h->strict = false;
		while (retry(h, -1))
			;
		HOLDS(&r, h->nparked == 0);
		HOLDS(&r, memcmp(&h->sink, &h->source, sizeof h->sink) == 0);
		refused += h->refused;
		waited += h->waited;
		retried += h->retried;
		parked_free(&h->set);
		batch_free(&h->b, NULL);
		free(h);
	}
	printf("refused %ld, waited %ld, retried %ld\n", refused, waited, retried);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_no_key),
		cmocka_unit_test(test_key_json),
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_any_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
