/*
 * The PostgreSQL sink's contract (consumer/sink.h) against a real server. TOWLINE_TEST_PG: URL of a
 * database that may be written to, by a superuser; what the test makes is in schemas of its own.
 * Without the variable it is skipped.
 */
#include "tests/flow/sink_pg_world.h"

static int key01[] = { 0, 1 };

static void
test_marker(void **state)
{
	struct world *w = *state;
	struct marker got;
	struct batch b = { 0 };
	struct marker next = step(w, 1);

	assert_int_equal(w->at.spine_offset, -1);
	assert_int_equal(w->at.gen, 0);
	ok(run(w, &b));
	ok(w->sink->ops->marker(w->sink, &got, &w->err));
	assert_memory_equal(&got, &next, sizeof got);
	assert_string_equal(
	    ask(w, "SELECT system_id::text FROM towline.marker WHERE name = 'shop'"),
	    "7300000000000000001");
}

static void
test_second_instance(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct marker none = w->at, one = step(w, 1), old;
	struct batch b = { 0 };
	enum rc rc;

	ok(run(w, &b));
	/* Expects what was before: refused. */
	if ((rc = o->begin(w->sink, &none, &one, &w->err)) == OK &&
	    (rc = o->commit(w->sink, &one, &w->err)) == OK)
		rc = o->settle(w->sink, 0, &w->err);
	assert_int_equal(rc, FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	w->sink->ops->close(w->sink);
	open_sink(w);
	assert_int_equal(w->at.spine_offset, 0);
	/* An older generation at the right place: refused as well. */
	old = step(w, 1);
	old.gen = 2;
	o = w->sink->ops;
	if ((rc = o->begin(w->sink, &w->at, &old, &w->err)) == OK &&
	    (rc = o->commit(w->sink, &old, &w->err)) == OK)
		rc = o->settle(w->sink, 0, &w->err);
	assert_int_equal(rc, FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	assert_non_null(strstr(w->err.text, "another instance"));
}

/* A process that was killed: what it sent last is still being done when the next one comes. */
static void
test_killed(void **state)
{
	struct world *w = *state;
	struct sink *late, *lane;
	struct marker m;
	PGresult *res;

	ok(sink_open("shop", &w->conf, &late, &w->err));
	is(late->ops->marker(late, &m, &w->err), RETRY);
	assert_non_null(strstr(w->err.text, "still applies to this sink"));
	assert_non_null(strstr(w->err.text,
	    ask(w,
		"SELECT 'process ' || pid || ' ' FROM pg_locks WHERE locktype = 'advisory' AND granted")));
	/* Lanes look at each other's markers, and at this one. */
	ok(sink_open("shop", &w->conf, &lane, &w->err));
	lane->shared = true;
	ok(lane->ops->marker(lane, &m, &w->err));
	lane->ops->close(lane);
	/* It comes in as soon as the other one's last transaction has ended, and sees that one's marker. */
	assert_int_equal(
	    PQsendQuery(w->conn,
		"SELECT pg_sleep(0.3); SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"),
	    1);
	ok(late->ops->marker(late, &m, &w->err));
	while ((res = PQgetResult(w->conn)))
		PQclear(res);
	late->ops->close(late);
}

static void
test_all_kinds(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int i = 1; i <= 5; i++)
		put_row(&b, &t, OP_CREATE, NULL, order(&b, i, "new"));
	put_row(&b, &t, OP_READ, NULL, order(&b, 6, NULL));
	b.rows[5].after[1] = value_null();
	ok(run(w, &b));
	assert_string_equal(ask(w, all_orders),
	    "1|new|12.34|1767323045.678901|{\"a\": 1}|0.5\n2|new|12.34|1767323045.678901|{\"a\": 1}|0.5\n"
	    "3|new|12.34|1767323045.678901|{\"a\": 1}|0.5\n4|new|12.34|1767323045.678901|{\"a\": 1}|0.5\n"
	    "5|new|12.34|1767323045.678901|{\"a\": 1}|0.5\n6|-|12.34|1767323045.678901|{\"a\": 1}|0.5");

	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "one"));
	put_row(&b, &t, OP_UPDATE, NULL,
	    VALUES(&b, value_int(2), V_TEXT("two"), V_NONE, V_NONE, V_NONE, V_NONE));
	put_row(&b, &t, OP_DELETE, order(&b, 3, NULL), NULL);
	put_row(&b, &t, OP_READ, NULL, order(&b, 4, "four"));
	put_row(&b, &t, OP_UPDATE, order(&b, 5, NULL), order(&b, 50, "fifty"))->moved = true;
	put_row(&b, &t, OP_UPDATE, NULL,
	    VALUES(&b, value_int(50), V_NONE, V_NONE, V_NONE, V_NONE, value_null()));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name, amount, d), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|one|12.34|0.5 2|two|12.34|0.5 4|four|12.34|0.5 6|12.34|0.5 50|fifty|12.34");

	put_row(&b, &t, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 9, "last"));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "9|last");
}

static void
test_text_fallback(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "plain"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "exact"));
	b.rows[1].after[2] =
	    (struct value){ .kind = V_BYTES, .s = SLICE_LIT("\x01"), .exact = SLICE_LIT("NaN") };
	b.rows[0].after[3] = V_TEXT("January 8, 1999 00:00:00 UTC");
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, amount, at), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|12.34|1999-01-08 00:00:00+00 2|NaN|2026-01-02 03:04:05.678901+00");
}

static void
test_sink_types(void **state)
{
	struct world *w = *state;
	struct wire_type item = { .wire = W_INT32 };
	struct column c[] = { COL_TEXT("k"), COL_INT4("n"), COL_TEXT("mood"), COL_TEXT("code"),
		col_of("arr", (struct wire_type){ .wire = W_ARRAY, .item = &item }, "integer[]"),
		COL_TEXT("bits"), COL_INT4("gen") };
	struct table t = table_of("typed", c, COUNTOF(c), key0, 1);
	struct batch b = { 0 };
	/* Avro: a block of two: 1 + union branch 1, int 5; branch 0. */
	struct value array = { .kind = V_AVRO, .s = { "\x04\x02\x0a\x00\x00", 5 } };

	ask(w, "CREATE SCHEMA IF NOT EXISTS sink_test");
	ask(w, "CREATE TYPE sink_test.mood AS ENUM ('sad', 'happy')");
	ask(w, "CREATE DOMAIN sink_test.code AS varchar(3)");
	ask(w,
	    "CREATE TABLE sink_test.typed (k char(4) PRIMARY KEY, n numeric, mood sink_test.mood, code sink_test.code,"
	    " arr int[], bits bit(4),"
	    " gen int GENERATED ALWAYS AS (1) STORED, mine text DEFAULT 'x')");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL,
	    VALUES(&b, V_TEXT("a "), value_int(7), V_TEXT("happy"), V_TEXT("abc"), array,
		V_TEXT("0101"), value_int(5)));
	put_row(&b, &t, OP_CREATE, NULL,
	    VALUES(&b, V_TEXT("b"), value_null(), value_null(), value_null(), value_null(),
		value_null(), value_null()));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', k, n, mood, code, arr, bits, gen, mine), ' ' ORDER BY k) FROM sink_test.typed"),
	    "a   |7|happy|abc|{5,NULL}|0101|1|x b   |1|x");
	/* The key is char(4): blanks do not count there. */
	put_row(&b, &t, OP_UPDATE, NULL,
	    VALUES(&b, V_TEXT("a"), value_int(8), V_NONE, V_NONE, V_NONE, V_NONE, V_NONE));
	put_row(&b, &t, OP_DELETE,
	    VALUES(&b, V_TEXT("b   "), V_NONE, V_NONE, V_NONE, V_NONE, V_NONE, V_NONE), NULL);
	ok(run(w, &b));
	assert_string_equal(
	    ask(w, "SELECT string_agg(concat_ws('|', k, n), ' ') FROM sink_test.typed"), "a   |8");
	/* Too long for the domain: an error, not a cut. */
	put_row(&b, &t, OP_UPDATE, NULL,
	    VALUES(&b, V_TEXT("a"), V_NONE, V_NONE, V_TEXT("abcd"), V_NONE, V_NONE, V_NONE));
	rejected(run(w, &b));
	assert_ptr_equal(w->sink->failed, &b);
	batch_free(&b, NULL);
}

static void
test_no_key(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	t.nkeys = 0;
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int i = 0; i < 3; i++)
		put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "twin"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, NULL));
	b.rows[3].after[1] = value_null();
	put_row(&b, &t, OP_DELETE, order(&b, 1, "twin"), NULL);
	put_row(&b, &t, OP_UPDATE, order(&b, 1, "twin"), order(&b, 1, "changed"));
	put_row(&b, &t, OP_UPDATE, order(&b, 2, NULL), order(&b, 2, "named"));
	b.rows[6].before[1] = value_null();
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id, name) FROM sink_test.orders"),
	    "1|changed 1|twin 2|named");
}

static void
test_unindexed_key(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ask(w, "CREATE SCHEMA IF NOT EXISTS sink_test");
	ask(w,
	    "CREATE TABLE sink_test.orders (id bigint, name text, amount numeric, at timestamptz, doc json, d float8)");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_READ, NULL, order(&b, 1, "a"));
	ok(run(w, &b));
	put_row(&b, &t, OP_READ, NULL, order(&b, 1, "b"));
	put_row(&b, &t, OP_READ, NULL, order(&b, 2, "c"));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|b 2|c");
}

static void
test_identity(void **state)
{
	struct world *w = *state;
	struct column c[] = { COL_INT8("id"), COL_TEXT("name") };
	struct table t = table_of("ident", c, COUNTOF(c), key0, 1);
	struct batch b = { 0 };

	ask(w, "CREATE SCHEMA IF NOT EXISTS sink_test");
	ask(w,
	    "CREATE TABLE sink_test.ident (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(7), V_TEXT("a")));
	put_row(&b, &t, OP_READ, NULL, VALUES(&b, value_int(8), V_TEXT("b")));
	ok(run(w, &b));
	put_row(&b, &t, OP_UPDATE, NULL, VALUES(&b, value_int(7), V_TEXT("c")));
	put_row(&b, &t, OP_READ, NULL, VALUES(&b, value_int(8), V_TEXT("d")));
	ok(run(w, &b));
	put_row(&b, &t, OP_UPDATE, VALUES(&b, value_int(8), V_NONE),
	    VALUES(&b, value_int(9), V_TEXT("e")))
	    ->moved = true;
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.ident"),
	    "7|c 9|e");
}

static void
test_redo(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[8];
	struct marker next;
	int n = 0;

	ok(o->prepare(w->sink, &t, &w->err));
	ask(w, "ALTER TABLE sink_test.orders ADD CHECK (name <> 'bad')");
	ask(w, "CREATE UNIQUE INDEX ON sink_test.orders (name)");
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "x"));
	ok(run(w, &b));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "good"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 3, "bad"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 3, "fine")); /* waits behind the row that failed */
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "y"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 4, "x")); /* takes the name that 1 gave up */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 5, "bad"));
	put_row(&b, &t, OP_READ, NULL, order(&b, 9, "nine")); /* its statement is skipped by the server */
	rejected(run(w, &b));
	assert_ptr_equal(w->sink->failed, &b);
	assert_non_null(strstr(w->err.text, "orders_name_check"));
	assert_string_equal(ask(w, "SELECT string_agg(name, ' ') FROM sink_test.orders"), "x");

	ok(o->redo(w->sink, &b, rejects, 8, &n, &w->err));
	next = step(w, 1);
	ok(o->commit(w->sink, &next, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	w->at = next;
	assert_int_equal(n, 3);
	assert_ptr_equal(rejects[0].row, &b.rows[1]);
	assert_ptr_equal(rejects[1].row, &b.rows[2]);
	assert_ptr_equal(rejects[2].row, &b.rows[5]);
	assert_non_null(strstr(rejects[0].reason, "orders_name_check"));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|y 2|good 4|x 9|nine");
	batch_free(&b, NULL);

	/* Policy stop: the first one is told, nothing is kept. */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 6, "bad"));
	rejected(run(w, &b));
	rejected(o->redo(w->sink, &b, rejects, 0, &n, &w->err));
	assert_non_null(strstr(w->err.text, "orders_name_check"));
	batch_free(&b, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 7, "after"));
	put_row(&b, &t, OP_READ, NULL, order(&b, 8, "after too"));
	ok(run(w, &b));
}

/* What the order of works cannot satisfy, exact order can. */
static void
test_redo_order(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[8];
	struct marker next;
	int n = 0;

	ok(o->prepare(w->sink, &t, &w->err));
	ask(w, "CREATE UNIQUE INDEX ON sink_test.orders (name)");
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "b"));
	ok(run(w, &b));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "tmp"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 2, "a"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "b"));
	rejected(run(w, &b));
	ok(o->redo(w->sink, &b, rejects, 8, &n, &w->err));
	assert_int_equal(n, 0);
	next = step(w, 1);
	ok(o->commit(w->sink, &next, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|b 2|a");
	batch_free(&b, NULL);
}

static void
test_deferred(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[8];
	struct marker next;
	int n = 0;

	ok(o->prepare(w->sink, &t, &w->err));
	ask(w, "ALTER TABLE sink_test.orders ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED");
	/* Under session_replication_role = replica the server does not check these at all. */
	plain_role(w);
	o = w->sink->ops;
	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "a"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 3, "b"));
	rejected(run(w, &b));
	assert_ptr_equal(w->sink->failed, &b);
	ok(o->redo(w->sink, &b, rejects, 8, &n, &w->err));
	assert_int_equal(n, 1);
	assert_ptr_equal(rejects[0].row, &b.rows[1]);
	next = step(w, 1);
	ok(o->commit(w->sink, &next, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|a 3|b");
	batch_free(&b, NULL);
}

static void
test_two_in_flight(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b[3] = { 0 };
	struct reject rejects[2];
	struct marker m[4] = { w->at, step(w, 1), step(w, 2), step(w, 3) };
	enum rc rc = OK;
	int n;

	ok(o->prepare(w->sink, &t, &w->err));
	ask(w, "ALTER TABLE sink_test.orders ADD CHECK (name <> 'bad')");
	put_row(&b[0], &t, OP_CREATE, NULL, order(&b[0], 1, "ok"));
	put_row(&b[1], &t, OP_CREATE, NULL, order(&b[1], 2, "bad"));
	put_row(&b[2], &t, OP_CREATE, NULL, order(&b[2], 3, "ok"));
	for (int i = 0; i < 3 && rc == OK; i++) {
		batch_plan(&b[i]);
		if ((rc = o->begin(w->sink, &m[i], &m[i + 1], &w->err)) == OK &&
		    (rc = o->apply(w->sink, &b[i], &w->err)) == OK)
			rc = o->commit(w->sink, &m[i + 1], &w->err);
	}
	if (rc == OK)
		rc = o->settle(w->sink, 0, &w->err);
	assert_int_equal(rc, REJECT);
	assert_ptr_equal(w->sink->failed, &b[1]);
	is(o->redo(w->sink, &b[0], rejects, 2, &n, &w->err), FATAL); /* it is confirmed */
	ok(o->redo(w->sink, &b[1], rejects, 2, &n, &w->err));
	assert_int_equal(n, 1);
	ok(o->commit(w->sink, &m[2], &w->err));
	ok(o->begin(w->sink, &m[2], &m[3], &w->err));
	ok(o->apply(w->sink, &b[2], &w->err));
	ok(o->commit(w->sink, &m[3], &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	assert_string_equal(
	    ask(w, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM sink_test.orders"), "1 3");
	assert_string_equal(ask(w, "SELECT spine_offset FROM towline.marker"), "2");
	for (int i = 0; i < 3; i++)
		batch_free(&b[i], NULL);
}

/* A statement that does not even parse: its batch is the one that failed. */
static void
test_parse_refused(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[2];
	int n;

	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "ok"));
	ok(run(w, &b));
	ask(w, "ALTER TABLE sink_test.orders ALTER d TYPE boolean USING false");
	put_row(&b, &t, OP_READ, NULL, order(&b, 1, "again"));
	rejected(run(w, &b));
	assert_non_null(strstr(w->err.text, "42804"));
	assert_ptr_equal(w->sink->failed, &b);
	ok(o->redo(w->sink, &b, rejects, 2, &n, &w->err));
	assert_int_equal(n, 1);
	o->abort(w->sink);
	batch_free(&b, NULL);
}

static void
test_streamed(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b[3] = { 0 };
	struct reject rejects[2];
	struct marker next = step(w, 1), last = step(w, 2);
	enum rc rc;
	int n;

	ok(o->prepare(w->sink, &t, &w->err));
	ask(w, "ALTER TABLE sink_test.orders ADD CHECK (name <> 'bad')");
	put_row(&b[0], &t, OP_CREATE, NULL, order(&b[0], 1, "ok"));
	put_row(&b[1], &t, OP_CREATE, NULL, order(&b[1], 2, "bad"));
	put_row(&b[1], &t, OP_CREATE, NULL, order(&b[1], 3, "ok"));
	put_row(&b[2], &t, OP_UPDATE, NULL, order(&b[2], 1, "changed"));
	for (int i = 0; i < 3; i++)
		batch_plan(&b[i]);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(o->apply(w->sink, &b[0], &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	batch_reset(&b[0], NULL); /* confirmed, if not committed */
	rc = o->apply(w->sink, &b[1], &w->err);
	if (rc == OK)
		rc = o->settle(w->sink, 0, &w->err);
	assert_int_equal(rc, REJECT);
	assert_ptr_equal(w->sink->failed, &b[1]);
	ok(o->redo(w->sink, &b[1], rejects, 2, &n, &w->err));
	assert_int_equal(n, 1);
	ok(o->apply(w->sink, &b[2], &w->err));
	assert_string_equal(ask(w, "SELECT count(*) FROM sink_test.orders"), "0");
	ok(o->commit(w->sink, &last, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|changed 3|ok");
	assert_string_equal(ask(w, "SELECT spine_offset FROM towline.marker"), "1");
	for (int i = 0; i < 3; i++)
		batch_free(&b[i], NULL);
}

static void
test_abort(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct marker next = step(w, 1);

	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "never"));
	batch_plan(&b);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(o->apply(w->sink, &b, &w->err));
	o->abort(w->sink);
	batch_reset(&b, NULL);
	assert_string_equal(ask(w, "SELECT count(*) FROM sink_test.orders"), "0");
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "kept"));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT string_agg(name, ' ') FROM sink_test.orders"), "kept");
}

static void
test_connection_lost(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct marker next = step(w, 1);
	enum rc rc;

	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "again"));
	batch_plan(&b);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ask(w,
	    "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name = 'towline'");
	if ((rc = o->apply(w->sink, &b, &w->err)) == OK &&
	    (rc = o->commit(w->sink, &next, &w->err)) == OK)
		rc = o->settle(w->sink, 0, &w->err);
	assert_int_equal(rc, RETRY);
	o->close(w->sink);
	open_sink(w);
	assert_int_equal(w->at.spine_offset, -1);
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	batch_reset(&b, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "again"));
	ok(run(w, &b));
}

static void
test_schema_change(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS],
	    wide[] = { COL_INT8("id"), COL_TEXT("name"), COL_INT4("more"), COL_TEXT("word") };
	struct table t = orders(c), v2 = table_of("orders", wide, COUNTOF(wide), key0, 1);
	struct batch b = { 0 };

	t.ncols = 2;
	wide[2].has_default = wide[3].has_default = true;
	wide[2].default_json = SLICE_LIT("5");
	wide[3].default_json = SLICE_LIT("\"it's\"");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	ok(run(w, &b));
	w->conf.on_schema_change = "stop";
	assert_int_equal(w->sink->ops->prepare(w->sink, &v2, &w->err), FATAL);
	assert_non_null(strstr(w->err.text,
	    "ALTER TABLE \"sink_test\".\"orders\" ADD COLUMN IF NOT EXISTS \"more\" integer"));
	w->conf.on_schema_change = "apply";
	ok(w->sink->ops->prepare(w->sink, &v2, &w->err));
	put_row(&b, &v2, OP_CREATE, NULL,
	    VALUES(&b, value_int(2), V_TEXT("b"), value_int(6), value_null()));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(concat_ws('|', id, name, more, word), ' ' ORDER BY id) FROM sink_test.orders"),
	    "1|a|5|it's 2|b|6");
	w->sink->ops->forget(w->sink, &t);
	w->sink->ops->forget(w->sink, &v2);
	w->conf.create_tables = false;
	v2.name = SLICE_LIT("nowhere");
	assert_int_equal(w->sink->ops->prepare(w->sink, &v2, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "create_tables: true"));
}

/* What the rows at the sink have in a new column cannot always be told: then nothing is added. */
static void
test_column_in_doubt(void **state)
{
	struct world *w = *state;
	struct column c1[] = { COL_INT8("id"), COL_TEXT("old"), COL_TEXT("x") },
		      c2[] = { COL_INT8("id"), COL_TEXT("new"), COL_TEXT("x") },
		      c3[] = { COL_INT8("id"), COL_TEXT("new"), COL_TEXT("x"), COL_TIME("at") },
		      c4[] = { COL_INT8("id"), COL_TEXT("new"), COL_TEXT("y") };
	struct table v1 = table_of("doubt", c1, COUNTOF(c1), key0, 1), v2 = table_of("doubt", c2, COUNTOF(c2), key0, 1),
		     v3 = table_of("doubt", c3, COUNTOF(c3), key0, 1), v4 = table_of("doubt", c4, COUNTOF(c4), key0, 1);
	struct batch b = { 0 };

	v1.version = 1, v2.version = 2, v3.version = 3, v4.version = 4;
	c3[3].default_expr = true;
	ok(w->sink->ops->prepare(w->sink, &v1, &w->err));
	put_row(&b, &v1, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("a"), V_TEXT("b")));
	ok(run(w, &b));
	/* Renamed, perhaps: both readings, and no change. */
	is(w->sink->ops->prepare(w->sink, &v2, &w->err), FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"sink_test\".\"doubt\" RENAME COLUMN \"old\" TO \"new\""));
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"sink_test\".\"doubt\" ADD COLUMN \"new\" text"));
	assert_string_equal(
	    ask(w,
		"SELECT count(*) FROM pg_attribute WHERE attrelid = 'sink_test.doubt'::regclass AND attname = 'new'"),
	    "0");
	w->sink->ops->close(w->sink);
	open_sink(w);
	is(w->sink->ops->prepare(w->sink, &v2, &w->err), FATAL); /* known from the sink alone */
	ask(w, "ALTER TABLE sink_test.doubt RENAME old TO new");
	ok(w->sink->ops->prepare(w->sink, &v2, &w->err));
	/* By an expression: the source's rows have values. */
	is(w->sink->ops->prepare(w->sink, &v3, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "no schema tells"));
	ask(w, "ALTER TABLE sink_test.doubt ADD at timestamptz DEFAULT now()");
	ok(w->sink->ops->prepare(w->sink, &v3, &w->err));
	/* The answer to "it is new". */
	is(w->sink->ops->prepare(w->sink, &v4, &w->err), FATAL);
	ask(w, "ALTER TABLE sink_test.doubt ADD y text");
	ok(w->sink->ops->prepare(w->sink, &v4, &w->err));
	assert_string_equal(ask(w, "SELECT concat_ws('|', id, new, x, y) FROM sink_test.doubt"), "1|a|b");
}

/* A column of the sink's own is no renamed one, when the version before lacked it too; and an empty table has nothing to lose. */
static void
test_column_without_doubt(void **state)
{
	struct world *w = *state;
	struct column c1[] = { COL_INT8("id") }, c2[] = { COL_INT8("id"), COL_TEXT("more") }, c3[] = { COL_INT8("id"), COL_TIME("at") };
	struct table v1 = table_of("own", c1, COUNTOF(c1), key0, 1), v2 = table_of("own", c2, COUNTOF(c2), key0, 1),
		     other = table_of("empty", c3, COUNTOF(c3), key0, 1);
	struct batch b = { 0 };

	v1.version = 1, v2.version = 2;
	c3[1].default_expr = c3[1].notnull = true;
	ask(w,
	    "CREATE SCHEMA sink_test; CREATE TABLE sink_test.own (id bigint PRIMARY KEY, mine text "
	    "DEFAULT 'x'); CREATE TABLE sink_test.empty (id bigint"
	    " PRIMARY KEY, gone text)");
	ok(w->sink->ops->prepare(w->sink, &v1, &w->err));
	put_row(&b, &v1, OP_CREATE, NULL, VALUES(&b, value_int(1)));
	ok(run(w, &b));
	ok(w->sink->ops->prepare(w->sink, &v2, &w->err));
	ok(w->sink->ops->prepare(w->sink, &other, &w->err));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid "
		"= 'sink_test.own'::regclass AND attnum > 0"),
	    "id mine more");
}

/* The source has dropped a NOT NULL column. */
static void
test_column_dropped(void **state)
{
	struct world *w = *state;
	struct column c[] = { COL_INT8("id") };
	struct table t = table_of("dropped", c, COUNTOF(c), key0, 1);
	struct batch b = { 0 };

	ask(w,
	    "CREATE SCHEMA sink_test; CREATE TABLE sink_test.dropped (id bigint PRIMARY KEY, gone "
	    "text NOT NULL, kept int NOT NULL DEFAULT 7,"
	    " made int NOT NULL GENERATED ALWAYS AS (1) STORED, no bigint GENERATED ALWAYS AS IDENTITY)");
	w->conf.on_schema_change = "stop";
	is(w->sink->ops->prepare(w->sink, &t, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"sink_test\".\"dropped\" ALTER COLUMN \"gone\" DROP NOT NULL"));
	w->conf.on_schema_change = "apply";
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1)));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid "
		"= 'sink_test.dropped'::regclass AND attnum > 0"
		" AND attnotnull"),
	    "id kept made no");
}

static void
test_truncate_referenced(void **state)
{
	struct world *w = *state;
	struct column c[] = { COL_INT8("id"), COL_INT8("ref") };
	struct table parent = table_of("parent", c, COUNTOF(c), key0, 1),
		     child = table_of("child", c, COUNTOF(c), key0, 1);
	struct batch b = { 0 };
	struct reject rejects[1];
	struct marker next;
	int n;

	ok(w->sink->ops->prepare(w->sink, &parent, &w->err));
	ok(w->sink->ops->prepare(w->sink, &child, &w->err));
	ask(w, "ALTER TABLE sink_test.child ADD FOREIGN KEY (ref) REFERENCES sink_test.parent");
	put_row(&b, &parent, OP_CREATE, NULL, VALUES(&b, value_int(1), value_int(1)));
	put_row(&b, &child, OP_CREATE, NULL, VALUES(&b, value_int(1), value_int(1)));
	ok(run(w, &b));
	put_row(&b, &parent, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &child, OP_TRUNCATE, NULL, NULL);
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT count(*) FROM sink_test.parent"), "0");
	put_row(&b, &parent, OP_CREATE, NULL, VALUES(&b, value_int(1), value_int(1)));
	ok(run(w, &b));
	put_row(&b, &parent, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &parent, OP_CREATE, NULL, VALUES(&b, value_int(2), value_int(1)));
	rejected(run(w, &b));
	ok(w->sink->ops->redo(w->sink, &b, rejects, 1, &n, &w->err));
	assert_int_equal(n, 0);
	next = step(w, 1);
	ok(w->sink->ops->commit(w->sink, &next, &w->err));
	ok(w->sink->ops->settle(w->sink, 0, &w->err));
	assert_string_equal(ask(w, "SELECT string_agg(id::text, ' ') FROM sink_test.parent"), "2");
	batch_free(&b, NULL);
}

/*
 * A role that cannot switch foreign keys off. In our order of work the parent goes first and takes the child along, which at the
 * source had left it: so the batch has to be done in exact order.
 */
static void
test_cascade(void **state)
{
	struct world *w = *state;
	struct column c[] = { COL_INT8("id"), COL_INT8("ref") };
	struct table parent = table_of("parent", c, COUNTOF(c), key0, 1),
		     child = table_of("child", c, COUNTOF(c), key0, 1);
	struct batch b = { 0 };
	struct reject rejects[1];
	struct marker next;
	int n;

	ok(w->sink->ops->prepare(w->sink, &parent, &w->err));
	ok(w->sink->ops->prepare(w->sink, &child, &w->err));
	ask(w, "ALTER TABLE sink_test.child ADD FOREIGN KEY (ref) REFERENCES sink_test.parent ON DELETE CASCADE");
	ask(w, "INSERT INTO sink_test.parent VALUES (1), (2); INSERT INTO sink_test.child VALUES (5, 1), (6, 2)");
	plain_role(w);
	ok(w->sink->ops->prepare(w->sink, &parent, &w->err));
	ok(w->sink->ops->prepare(w->sink, &child, &w->err));
	put_row(&b, &child, OP_UPDATE, NULL, VALUES(&b, value_int(6), value_int(1)));
	ok(run(w, &b)); /* all are there: no redo */
	put_row(&b, &child, OP_UPDATE, NULL, VALUES(&b, value_int(5), value_int(2)));
	put_row(&b, &child, OP_UPDATE, NULL, VALUES(&b, value_int(6), value_int(2)));
	put_row(&b, &parent, OP_DELETE, VALUES(&b, value_int(1), V_NONE), NULL);
	rejected(run(w, &b));
	assert_ptr_equal(w->sink->failed, &b);
	assert_non_null(strstr(w->err.text, "cascade"));
	ok(w->sink->ops->redo(w->sink, &b, rejects, 1, &n, &w->err));
	assert_int_equal(n, 0);
	next = step(w, 1);
	ok(w->sink->ops->commit(w->sink, &next, &w->err));
	ok(w->sink->ops->settle(w->sink, 0, &w->err));
	w->at = next;
	batch_free(&b, NULL);
	/* One that is not there in exact order either is told, and the rest goes on. */
	put_row(&b, &child, OP_UPDATE, NULL, VALUES(&b, value_int(99), value_int(2)));
	rejected(run(w, &b));
	ok(w->sink->ops->redo(w->sink, &b, rejects, 1, &n, &w->err));
	assert_int_equal(n, 0);
	next = step(w, 1);
	ok(w->sink->ops->commit(w->sink, &next, &w->err));
	ok(w->sink->ops->settle(w->sink, 0, &w->err));
	assert_string_equal(
	    ask(w, "SELECT string_agg(concat_ws('|', id, ref), ' ' ORDER BY id) FROM sink_test.child"), "5|2 6|2");
	batch_free(&b, NULL);
}

/* More sets of present columns than there are prepared statements for a table. */
static void
test_many_shapes(void **state)
{
	enum { WIDE = 10, ROWS = 600 };
	struct world *w = *state;
	struct column c[WIDE];
	char names[WIDE][16];
	struct table t = table_of("wide", c, WIDE, key0, 1);
	struct batch b = { 0 };

	for (int i = 0; i < WIDE; i++) {
		snprintf(names[i], sizeof names[i], "c%d", i);
		c[i] = COL_INT8(names[i]);
	}
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int k = 0; k < ROWS; k++) {
		struct value v[WIDE];

		for (int i = 0; i < WIDE; i++)
			v[i] = value_int(i ? 0 : k);
		put_row(&b, &t, OP_CREATE, NULL, row_values(&b, WIDE, v));
	}
	ok(run(w, &b));
	for (int k = 0; k < ROWS; k++) {
		struct value v[WIDE];

		for (int i = 0; i < WIDE; i++)
			v[i] = i && !(k >> (i - 1) & 1) ? V_NONE : value_int(k);
		put_row(&b, &t, OP_UPDATE, NULL, row_values(&b, WIDE, v));
	}
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT sum(c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9)::text FROM sink_test.wide"),
	    ask(w,
		"SELECT sum(k * length(replace((k % 512)::bit(9)::text, '0', '')))::text FROM generate_series(0, 599) k"));
	w->sink->ops->forget(w->sink, &t);
}

/* Far more than the socket's buffers hold, both ways. */
static void
test_large(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	char *big = malloc(2001);

	memset(big, 'x', 2000);
	big[2000] = '\0';
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int i = 0; i < 20000; i++)
		put_row(&b, &t, OP_CREATE, NULL, order(&b, i, big));
	for (int i = 0; i < 2000; i++)
		put_row(&b, &t, OP_UPDATE, order(&b, i, ""), order(&b, i + 100000, "m"))->moved =
		    true;
	ok(run(w, &b));
	assert_string_equal(
	    ask(w, "SELECT concat(count(*), ' ', sum(length(name))) FROM sink_test.orders"),
	    "20000 36002000");
	free(big);
}

static void
test_two_keys(void **state)
{
	struct world *w = *state;
	struct column c[] = { COL_INT8("a"), COL_TEXT("b"), COL_TEXT("v") };
	struct table t = table_of("two", c, COUNTOF(c), key01, 2);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("x"), V_TEXT("1")));
	put_row(&b, &t, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("y"), V_TEXT("2")));
	ok(run(w, &b));
	put_row(&b, &t, OP_READ, NULL, VALUES(&b, value_int(1), V_TEXT("x"), V_TEXT("3")));
	put_row(&b, &t, OP_DELETE, VALUES(&b, value_int(1), V_TEXT("y"), V_NONE), NULL);
	ok(run(w, &b));
	assert_string_equal(
	    ask(w, "SELECT string_agg(concat_ws('|', a, b, v), ' ') FROM sink_test.two"), "1|x|3");
}

/* A role that may not create anything uses what is there. */
static void
test_plain_role(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	plain_role(w);
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "plain"));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT name FROM sink_test.orders"), "plain");
}

static void
test_collision(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c), other = orders(c);

	other.schema = SLICE_LIT("archive");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	assert_int_equal(w->sink->ops->prepare(w->sink, &other, &w->err), FATAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_world(test_marker),
		with_world(test_second_instance),
		with_world(test_killed),
		with_world(test_all_kinds),
		with_world(test_text_fallback),
		with_world(test_sink_types),
		with_world(test_no_key),
		with_world(test_unindexed_key),
		with_world(test_identity),
		with_world(test_redo),
		with_world(test_redo_order),
		with_world(test_deferred),
		with_world(test_two_in_flight),
		with_world(test_parse_refused),
		with_world(test_streamed),
		with_world(test_abort),
		with_world(test_connection_lost),
		with_world(test_schema_change),
		with_world(test_column_in_doubt),
		with_world(test_column_without_doubt),
		with_world(test_column_dropped),
		with_world(test_truncate_referenced),
		with_world(test_cascade),
		with_world(test_many_shapes),
		with_world(test_large),
		with_world(test_two_keys),
		with_world(test_plain_role),
		with_world(test_collision),
	};

	return have_server() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
