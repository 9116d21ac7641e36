/*
 * Many new rows at the PostgreSQL sink (consumer/sink_pg_copy.c), on a real server: TOWLINE_TEST_PG as for sink_pg_test.c.
 */
#include "tests/flow/sink_pg_world.h"

enum { MANY = 400 };

/* From id `from` on; each tenth name is NULL, each seventh is what COPY's text form has to quote. */
static void
put_many(struct batch *b, struct table *t, char op, int from)
{
	for (int i = from; i < from + MANY; i++) {
		struct value *v = order(b, i, i % 7 ? "n" : "a\tb\\N\nc\r\\.");

		if (i % 10 == 0)
			v[1] = value_null();
		put_row(b, t, op, NULL, v);
	}
}

/* How rows came, as a trigger has seen it that fires whatever session_replication_role says. */
static void
watch(struct world *w)
{
	ask(w, "CREATE TABLE sink_test.seen (id bigserial, how text)");
	ask(w,
	    "CREATE FUNCTION sink_test.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO sink_test.seen (how)"
	    " SELECT split_part(current_query(), ' ', 1) || ' ' || coalesce(substring(current_query() from 'FORMAT (\\w+)'), '');"
	    " RETURN NULL; END $$");
	ask(w, "CREATE TRIGGER note AFTER INSERT ON sink_test.orders EXECUTE FUNCTION sink_test.note()");
	ask(w, "ALTER TABLE sink_test.orders ENABLE ALWAYS TRIGGER note");
}

static const char how[] = "SELECT string_agg(how, ',' ORDER BY id) FROM sink_test.seen";
static const char many_sql[] =
	"SELECT count(*) || ' ' || count(name) || ' ' || count(*) FILTER (WHERE name = E'a\\tb\\\\N\\nc\\r\\\\.') || ' ' ||"
	" count(*) FILTER (WHERE amount = 'NaN') || ' ' || count(DISTINCT (doc::text, d, at)) FROM sink_test.orders";

static void
test_copy(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	watch(w);
	put_many(&b, &t, OP_CREATE, 0);
	ok(run(w, &b));
	assert_string_equal(ask(w, how), "COPY binary");
	assert_string_equal(ask(w, many_sql), "400 360 52 0 1");
	/* A value that is not in the form which has a binary one: the whole batch goes as text. */
	put_many(&b, &t, OP_READ, 1000);
	b.rows[5].after[2] = (struct value){ .kind = V_BYTES, .s = SLICE_LIT("\x01"), .exact = SLICE_LIT("NaN") };
	b.rows[6].after[3] = V_TEXT("January 8, 1999 00:00:00 UTC");
	ok(run(w, &b));
	assert_string_equal(ask(w, how), "COPY binary,COPY text");
	assert_string_equal(ask(w, many_sql), "800 720 104 1 2");
	/* With others in one transaction, a large and a small table, and what is behind it. */
	put_row(&b, &t, OP_DELETE, order(&b, 1, NULL), NULL);
	put_many(&b, &t, OP_CREATE, 2000);
	put_row(&b, &t, OP_UPDATE, order(&b, 2001, NULL), order(&b, 5000, "moved"))->moved = true;
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT string_agg(id::text, ' ') FROM sink_test.orders WHERE id IN (1, 2001, 5000)"), "5000");
	/* Few rows are a statement's; so are those of a view, or of a table with row security. */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 6000, "few"));
	ok(run(w, &b));
	assert_string_equal(ask(w, how), "COPY binary,COPY text,COPY binary,INSERT ");
	w->sink->ops->forget(w->sink, &t);
	ask(w, "ALTER TABLE sink_test.orders ENABLE ROW LEVEL SECURITY");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_many(&b, &t, OP_CREATE, 7000);
	ok(run(w, &b));
	assert_string_equal(ask(w, how), "COPY binary,COPY text,COPY binary,INSERT ,INSERT ");
}

static void
redo_all(struct world *w, struct batch *b)
{
	const struct sink_ops *o = w->sink->ops;
	struct marker next = step(w, 1);
	struct reject rejects[1];
	int n = 0;

	ok(o->redo(w->sink, b, rejects, 0, &n, &w->err));
	ok(o->commit(w->sink, &next, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	w->at = next;
	batch_free(b, NULL);
}

/* Rows of a first copy that are there already. */
static void
test_copy_again(void **state)
{
	struct world *w = *state;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 300, "old"));
	ok(run(w, &b));
	watch(w);
	put_many(&b, &t, OP_READ, 0);
	rejected(run(w, &b));
	assert_ptr_equal(w->sink->failed, &b);
	redo_all(w, &b);
	assert_string_equal(ask(w, how), "INSERT "); /* one, not one for each row */
	assert_string_equal(ask(w, many_sql), "400 360 52 0 1");
	/* It is not guessed again for a while. */
	put_many(&b, &t, OP_READ, 0);
	ok(run(w, &b));
	assert_string_equal(ask(w, how), "INSERT ,INSERT ");
	for (int i = 0; i < 16; i++) {
		put_many(&b, &t, OP_READ, 1000 * (i + 1));
		ok(run(w, &b));
	}
	assert_string_equal(ask(w, "SELECT count(*) FILTER (WHERE how = 'COPY binary') || ' ' || count(*) FROM sink_test.seen"), "2 18");
	/* What is no guess is done row by row. */
	put_many(&b, &t, OP_CREATE, 0);
	rejected(run(w, &b));
	redo_all(w, &b);
	assert_string_equal(ask(w, "SELECT count(*)::text FROM sink_test.orders"), "6800");
	/* Nor is a row helped by upserts that breaks something else: that one is told. */
	ask(w, "ALTER TABLE sink_test.orders ADD CHECK (id <> 20010)");
	put_many(&b, &t, OP_READ, 20000);
	rejected(run(w, &b));
	batch_free(&b, NULL);
}

/* The server refuses the first row, and has said so long before the last one is sent. */
static void
test_copy_refused_early(void **state)
{
	struct world *w = *state;
	static char text[20000];
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	memset(text, 'x', sizeof text - 1);
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 0, "old"));
	ok(run(w, &b));
	for (int i = 0; i < MANY; i++)
		put_row(&b, &t, OP_READ, NULL, order(&b, i, text));
	rejected(run(w, &b));
	redo_all(w, &b);
	assert_string_equal(ask(w, "SELECT count(*) || ' ' || min(length(name)) FROM sink_test.orders"), "400 19999");
}

/* The server is at it for long: the caller may go on meanwhile, and commits when it is done. */
static void
test_copy_lasts(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct marker next;

	ok(o->prepare(w->sink, &t, &w->err));
	put_many(&b, &t, OP_READ, 0);
	batch_plan(&b);
	next = step(w, 1);
	ask(w, "BEGIN");
	ask(w, "INSERT INTO sink_test.orders (id) VALUES (10)"); /* waits to be seen or not */
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(o->apply(w->sink, &b, &w->err));
	assert_true(w->sink->busy);
	ok(o->settle(w->sink, 1, &w->err));
	assert_true(w->sink->busy);
	ask(w, "ROLLBACK");
	ok(o->commit(w->sink, &next, &w->err));
	assert_false(w->sink->busy);
	ok(o->settle(w->sink, 0, &w->err));
	w->at = next;
	assert_string_equal(ask(w, "SELECT count(*)::text FROM sink_test.orders"), "400");
	batch_free(&b, NULL);
}

/* In a transaction that is streamed: what stands before stays. */
static void
test_copy_streamed(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[ORDER_COLS];
	struct table t = orders(c);
	struct batch first = { 0 }, second = { 0 };
	struct marker next = step(w, 1);
	struct reject rejects[1];
	int n = 0;
	enum rc rc;

	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&first, &t, OP_CREATE, NULL, order(&first, 10, "old"));
	ok(run(w, &first));
	put_many(&first, &t, OP_READ, 1000);
	put_many(&second, &t, OP_READ, 0);
	batch_plan(&first);
	batch_plan(&second);
	next = step(w, 1);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(o->apply(w->sink, &first, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	rc = o->apply(w->sink, &second, &w->err);
	rejected(rc == OK ? o->settle(w->sink, 0, &w->err) : rc);
	ok(o->redo(w->sink, &second, rejects, 0, &n, &w->err));
	ok(o->commit(w->sink, &next, &w->err));
	ok(o->settle(w->sink, 0, &w->err));
	assert_string_equal(ask(w, "SELECT count(*) || ' ' || count(*) FILTER (WHERE name = 'old') FROM sink_test.orders"), "800 0");
	batch_free(&first, NULL);
	batch_free(&second, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_world(test_copy),
		with_world(test_copy_again),
		with_world(test_copy_refused_early),
		with_world(test_copy_lasts),
		with_world(test_copy_streamed),
	};

	return have_server() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
