/* The SQLite sink's contract (consumer/sink.h), on a file of its own. */
#include "tests/rows.h"

#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	struct conf_sink conf;
	char dir[32], path[64], url[80];
	struct sink *sink;
	struct marker at;
	struct err err;
};

#define ok(expr) do { \
	enum rc got_ = (expr); \
	if (got_ != OK) \
		fail_msg("%s: %s: %s", #expr, rc_name(got_), w->err.text); \
} while (0)

/* Rows of a question in one line, from another connection. */
static char *
ask(struct world *w, const char *sql)
{
	static char out[4096]; /* of the last question */
	size_t n = 0;
	sqlite3 *db;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	out[0] = '\0';
	while (sqlite3_step(st) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(st) && n < sizeof out; i++) {
			const char *text = (const char *)sqlite3_column_text(st, i);

			n += (size_t)snprintf(out + n, sizeof out - n, "%s%s",
			    i	    ? "|"
				: n ? " "
				    : "",
			    text ? text : "-");
		}
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return out;
}

static void
open_sink(struct world *w)
{
	ok(sink_open("shop", &w->conf, &w->sink, &w->err));
	ok(w->sink->ops->marker(w->sink, &w->at, &w->err));
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	snprintf(w->dir, sizeof w->dir, "/tmp/sink_sqlite.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/copy.db", w->dir);
	snprintf(w->url, sizeof w->url, "sqlite:%s", w->path);
	w->conf = (struct conf_sink){
		.name = "test", .url = w->url, .create_tables = true, .on_schema_change = "apply"
	};
	open_sink(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	char path[80];

	w->sink->ops->close(w->sink);
	unlink(w->path);
	snprintf(path, sizeof path, "%s-wal", w->path);
	unlink(path);
	snprintf(path, sizeof path, "%s-shm", w->path);
	unlink(path);
	rmdir(w->dir);
	free(w);
	return 0;
}

static struct marker
step(const struct world *w, int n)
{
	return mark_at(w->at.spine_offset + n);
}

static enum rc
run(struct world *w, struct batch *b)
{
	const struct sink_ops *o = w->sink->ops;
	struct marker next = step(w, 1);
	enum rc rc;

	batch_plan(b);
	if ((rc = o->begin(w->sink, &w->at, &next, &w->err)) != OK ||
	    (rc = o->apply(w->sink, b, &w->err)) != OK ||
	    (rc = o->commit(w->sink, &next, &w->err)) != OK ||
	    (rc = o->settle(w->sink, 0, &w->err)) != OK)
		return rc;
	w->at = next;
	batch_free(b, NULL);
	return OK;
}

static int key0[] = { 0 };

enum { COLS = 6 };

static struct table
orders(struct column *c)
{
	c[0] = COL_INT8("id");
	c[1] = COL_TEXT("name");
	c[2] = COL_MONEY("amount");
	c[3] = COL_TIME("at");
	c[4] = COL_JSON("doc");
	c[5] = COL_DOUBLE("d");
	return table_of("orders", c, COLS, key0, 1);
}

static struct value *
order(struct batch *b, int64_t id, const char *name)
{
	return VALUES(b, value_int(id), name ? V_TEXT(name) : value_null(),
	    { .kind = V_BYTES, .s = SLICE_LIT("\x04\xd2") }, V_TEXT("2026-01-02T03:04:05.678901Z"),
	    V_TEXT("{\"a\": 1}"), { .kind = V_DOUBLE, .d = 0.5 });
}

static void
test_marker(void **state)
{
	struct world *w = *state;
	struct marker first = w->at, next = step(w, 1), got, old;
	struct batch b = { 0 };

	assert_int_equal(w->at.spine_offset, -1);
	ok(run(w, &b));
	ok(w->sink->ops->marker(w->sink, &got, &w->err));
	assert_memory_equal(&got, &next, sizeof got);
	/* The same again: refused, and so is an older generation. */
	assert_int_equal(w->sink->ops->begin(w->sink, &first, &next, &w->err), FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	old = step(w, 1);
	old.gen = 2;
	assert_int_equal(w->sink->ops->begin(w->sink, &w->at, &old, &w->err), FATAL);
	ok(run(w, &b));
	w->sink->ops->close(w->sink);
	open_sink(w);
	assert_int_equal(w->at.spine_offset, 1);
}

static void
test_all_kinds(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int i = 1; i <= 5; i++)
		put_row(&b, &t, OP_CREATE, NULL, order(&b, i, "new"));
	put_row(&b, &t, OP_READ, NULL, order(&b, 6, NULL));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w,
		"SELECT id, name, amount, typeof(amount), at, doc, d, typeof(d) FROM orders WHERE id IN (1, 6)"),
	    "1|new|12.34|text|2026-01-02T03:04:05.678901Z|{\"a\": 1}|0.5|real "
	    "6|-|12.34|text|2026-01-02T03:04:05.678901Z|{\"a\": 1}|0.5|real");
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "one"));
	put_row(&b, &t, OP_UPDATE, NULL,
	    VALUES(&b, value_int(2), V_TEXT("two"), V_NONE, V_NONE, V_NONE,
		{ .kind = V_DOUBLE, .d = __builtin_nan("") }));
	put_row(&b, &t, OP_DELETE, order(&b, 3, NULL), NULL);
	put_row(&b, &t, OP_READ, NULL, order(&b, 4, "four"));
	put_row(&b, &t, OP_UPDATE, order(&b, 5, NULL), order(&b, 50, "fifty"))->moved = true;
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, name, amount, d FROM orders ORDER BY id"),
	    "1|one|12.34|0.5 2|two|12.34|NaN 4|four|12.34|0.5 6|-|12.34|0.5 50|fifty|12.34|0.5");
	put_row(&b, &t, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 9, "last"));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, name FROM orders"), "9|last");
}

static void
test_no_key(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	t.nkeys = 0;
	t.schema = SLICE_LIT("audit");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	for (int i = 0; i < 3; i++)
		put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "twin"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, NULL));
	put_row(&b, &t, OP_DELETE, order(&b, 1, "twin"), NULL);
	put_row(&b, &t, OP_UPDATE, order(&b, 1, "twin"), order(&b, 1, "changed"));
	put_row(&b, &t, OP_UPDATE, order(&b, 2, NULL), order(&b, 2, "named"));
	ok(run(w, &b));
	assert_string_equal(
	    ask(w, "SELECT id, name FROM audit_orders ORDER BY 1, 2"), "1|changed 1|twin 2|named");
}

static void
test_redo(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[8];
	struct marker next;
	int n = 0;

	ask(w,
	    "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT UNIQUE CHECK (name <> 'bad'), amount TEXT, at TEXT, doc TEXT, d REAL)");
	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "x"));
	ok(run(w, &b));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "good"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 3, "bad"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 3, "fine")); /* waits behind the row that failed */
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "y"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 4, "x")); /* takes the name that 1 gave up */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 5, "bad"));
	assert_int_equal(run(w, &b), REJECT);
	assert_ptr_equal(w->sink->failed, &b);
	assert_string_equal(ask(w, "SELECT id, name FROM orders"), "1|x");
	next = step(w, 1);
	ok(o->redo(w->sink, &b, rejects, 8, &n, &w->err));
	ok(o->commit(w->sink, &next, &w->err));
	w->at = next;
	assert_int_equal(n, 3);
	assert_ptr_equal(rejects[0].row, &b.rows[1]);
	assert_ptr_equal(rejects[1].row, &b.rows[2]);
	assert_ptr_equal(rejects[2].row, &b.rows[5]);
	assert_non_null(strstr(rejects[0].reason, "CHECK constraint failed"));
	assert_string_equal(ask(w, "SELECT id, name FROM orders ORDER BY id"), "1|y 2|good 4|x");
	batch_free(&b, NULL);
	/* Policy stop: the first one is told, nothing is kept. */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 6, "bad"));
	assert_int_equal(run(w, &b), REJECT);
	assert_int_equal(o->redo(w->sink, &b, rejects, 0, &n, &w->err), REJECT);
	batch_free(&b, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 7, "after"));
	ok(run(w, &b));
}

/* A truncate ends the waiting: what failed before it is nobody's any more. */
static void
test_redo_truncate(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct reject rejects[8];
	struct marker next = step(w, 1);
	int n = 0;

	ask(w, "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'), amount TEXT, at TEXT, doc TEXT, d REAL)");
	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "bad"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "fine"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 9, "left out"))->aside = ASIDE_WAITS;
	put_row(&b, &t, OP_TRUNCATE, NULL, NULL);
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "new"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "bad"));
	put_row(&b, &t, OP_UPDATE, order(&b, 3, NULL), order(&b, 2, "moved onto it"))->moved = true;
	assert_int_equal(run(w, &b), REJECT);
	ok(o->redo(w->sink, &b, rejects, 8, &n, &w->err));
	ok(o->commit(w->sink, &next, &w->err));
	w->at = next;
	assert_int_equal(n, 2);
	assert_ptr_equal(rejects[0].row, &b.rows[5]);
	assert_false(rejects[0].waits);
	assert_ptr_equal(rejects[1].row, &b.rows[6]);
	assert_true(rejects[1].waits);
	assert_string_equal(ask(w, "SELECT id, name FROM orders"), "1|new");
	batch_free(&b, NULL);
}

static void
test_parking(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	const struct park_ops *p = o->parking;
	struct parked set = { 0 };
	struct parked_entry e[2] = { { .topic = "t", .from_offset = -1, .copy = 5, .from_copy = -1, .schema = "public", .table = "orders",
		.key = "{\"id\": 1}", .ids = { 2, { { 1, 2 }, { 3, UINT64_MAX } } }, .op = 'u', .seq = 7,
		.index = 8, .lsn = 9, .reason = "it's \"bad\"" } }, *got;
	struct marker next = step(w, 1), at;
	struct arena a = { 0 };
	int64_t first, dropped, head;
	int n;

	e[1] = e[0];
	e[1].key = NULL;
	e[1].ids.n = 0;
	e[1].behind = 1;
	ok(p->load(w->sink, &set, &w->err));
	assert_int_equal(set.entries, 0);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(p->ids(w->sink, 2, &first, &w->err));
	assert_int_equal(first, 1);
	e[0].id = first;
	e[1].id = first + 1;
	ok(p->put(w->sink, e, 2, &w->err));
	ok(o->commit(w->sink, &next, &w->err));
	w->at = next;
	ok(p->load(w->sink, &set, &w->err));
	assert_int_equal(set.entries, 2);
	assert_int_equal(set.n, 2);
	assert_true(parked_has(&set, &(struct parked_ids){ 1, { { 3, UINT64_MAX } } }, &head));
	assert_int_equal(head, 1);
	assert_true(parked_has_table(&set, SLICE_LIT("public"), SLICE_LIT("orders")));
	/* As another would: locked, read, removed; then we find out. */
	ok(p->lock(w->sink, &at, &w->err));
	assert_memory_equal(&at, &next, sizeof at);
	ok(p->read(w->sink, &(struct parked_query){ .limit = 10 }, &a, &got, &n, &w->err));
	assert_int_equal(n, 2);
	assert_string_equal(got[0].reason, e[0].reason);
	assert_string_equal(got[0].key, e[0].key);
	assert_null(got[1].key);
	assert_int_equal(got[1].behind, 1);
	assert_memory_equal(&got[0].ids, &e[0].ids, sizeof e[0].ids);
	assert_true(got[0].parked_us > 1600000000000000);
	ok(p->read(w->sink, &(struct parked_query){ .after = 1, .schema = "public", .table = "orders", .limit = 10 }, &a, &got,
	    &n, &w->err));
	assert_int_equal(n, 1);
	ok(p->read(w->sink, &(struct parked_query){ .moved = true, .limit = 10 }, &a, &got, &n, &w->err));
	assert_int_equal(n, 1);
	ok(p->remove(w->sink, (int64_t[]){ 1 }, 1, &w->err));
	ok(o->commit(w->sink, &at, &w->err));
	assert_string_equal(ask(w, "SELECT id, waits_behind FROM towline_parked"), "2|-");
	next = step(w, 1);
	assert_int_equal(o->begin(w->sink, &w->at, &next, &w->err), RETRY);
	parked_free(&set);
	ok(p->load(w->sink, &set, &w->err));
	assert_int_equal(set.entries, 1);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(p->drop_table(w->sink, &(struct table){ .schema = SLICE_LIT("public"), .name = SLICE_LIT("orders") }, &dropped, &w->err));
	assert_int_equal(dropped, 1);
	o->abort(w->sink);
	assert_string_equal(ask(w, "SELECT count(*) FROM towline_parked"), "1");
	parked_free(&set);
	arena_free(&a);
}

/* All of a key or none, and the transaction goes on. */
static void
test_try(void **state)
{
	struct world *w = *state;
	const struct park_ops *p = w->sink->ops->parking;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct marker at;
	int rows;

	ask(w, "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'), amount TEXT, at TEXT, doc TEXT, d REAL)");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	ok(p->lock(w->sink, &at, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "good"));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 1, "bad"));
	assert_int_equal(p->try(w->sink, &b, &rows, &w->err), REJECT);
	assert_int_equal(rows, 1);
	b.nrows = 0;
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "other"));
	ok(p->try(w->sink, &b, &rows, &w->err));
	ok(w->sink->ops->commit(w->sink, &at, &w->err));
	assert_string_equal(ask(w, "SELECT id, name FROM orders"), "2|other");
	batch_free(&b, NULL);
}

static void
test_streamed(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b[3] = { 0 };
	struct reject rejects[2];
	struct marker next = step(w, 1), last = step(w, 2);
	int n;

	ask(w,
	    "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'), amount TEXT, at TEXT, doc TEXT, d REAL)");
	ok(o->prepare(w->sink, &t, &w->err));
	put_row(&b[0], &t, OP_CREATE, NULL, order(&b[0], 1, "ok"));
	put_row(&b[1], &t, OP_CREATE, NULL, order(&b[1], 3, "ok"));
	put_row(&b[1], &t, OP_CREATE, NULL, order(&b[1], 2, "bad"));
	put_row(&b[2], &t, OP_UPDATE, NULL, order(&b[2], 1, "changed"));
	for (int i = 0; i < 3; i++)
		batch_plan(&b[i]);
	ok(o->begin(w->sink, &w->at, &next, &w->err));
	ok(o->apply(w->sink, &b[0], &w->err));
	assert_int_equal(o->apply(w->sink, &b[1], &w->err), REJECT);
	assert_ptr_equal(w->sink->failed, &b[1]);
	ok(o->redo(w->sink, &b[1], rejects, 2, &n, &w->err));
	assert_int_equal(n, 1);
	assert_ptr_equal(rejects[0].row, &b[1].rows[1]);
	ok(o->apply(w->sink, &b[2], &w->err));
	assert_string_equal(ask(w, "SELECT count(*) FROM orders"), "0");
	ok(o->commit(w->sink, &last, &w->err));
	assert_string_equal(ask(w, "SELECT id, name FROM orders ORDER BY id"), "1|changed 3|ok");
	assert_string_equal(ask(w, "SELECT spine_offset FROM towline_marker"), "1");
	for (int i = 0; i < 3; i++)
		batch_free(&b[i], NULL);
}

static void
test_abort_and_reopen(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct marker next = step(w, 1);

	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "never"));
	batch_plan(&b);
	ok(w->sink->ops->begin(w->sink, &w->at, &next, &w->err));
	ok(w->sink->ops->apply(w->sink, &b, &w->err));
	w->sink->ops->abort(w->sink);
	batch_reset(&b, NULL);
	assert_string_equal(ask(w, "SELECT count(*) FROM orders"), "0");
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "kept"));
	ok(run(w, &b));
	/* A process that dies in the middle. */
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 3, "lost"));
	batch_plan(&b);
	next = step(w, 1);
	ok(w->sink->ops->begin(w->sink, &w->at, &next, &w->err));
	ok(w->sink->ops->apply(w->sink, &b, &w->err));
	w->sink->ops->close(w->sink);
	open_sink(w);
	assert_int_equal(w->at.spine_offset, 0);
	assert_string_equal(ask(w, "SELECT id, name FROM orders"), "2|kept");
	batch_free(&b, NULL);
}

/* What the rows at the sink have in a new column cannot always be told: then nothing is added. */
static void
test_column_in_doubt(void **state)
{
	struct world *w = *state;
	const struct sink_ops *o = w->sink->ops;
	struct column c1[] = { COL_INT8("id"), COL_TEXT("old") }, c2[] = { COL_INT8("id"), COL_TEXT("new") },
		      c3[] = { COL_INT8("id"), COL_TEXT("new"), COL_TEXT("at") }, c4[] = { COL_INT8("id") };
	struct table v1 = table_of("doubt", c1, COUNTOF(c1), key0, 1), v2 = table_of("doubt", c2, COUNTOF(c2), key0, 1),
		     v3 = table_of("doubt", c3, COUNTOF(c3), key0, 1), v4 = table_of("strict", c4, COUNTOF(c4), key0, 1);
	struct batch b = { 0 };

	v1.version = 1, v2.version = 2, v3.version = 3;
	c3[2].default_expr = true;
	assert_int_equal(o->prepare(w->sink, &v1, &w->err), OK);
	put_row(&b, &v1, OP_CREATE, NULL, VALUES(&b, value_int(1), V_TEXT("a")));
	assert_int_equal(run(w, &b), OK);
	assert_int_equal(o->prepare(w->sink, &v2, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"doubt\" RENAME COLUMN \"old\" TO \"new\""));
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"doubt\" ADD COLUMN \"new\" TEXT"));
	ask(w, "ALTER TABLE doubt RENAME old TO new");
	assert_int_equal(o->prepare(w->sink, &v2, &w->err), OK);
	assert_int_equal(o->prepare(w->sink, &v3, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "no schema tells"));
	ask(w, "DELETE FROM doubt");
	o->forget(w->sink, &v1);
	o->forget(w->sink, &v2);
	assert_int_equal(o->prepare(w->sink, &v3, &w->err), OK); /* no rows: nothing in doubt */
	ask(w, "CREATE TABLE strict (id INTEGER PRIMARY KEY, gone TEXT NOT NULL, kept TEXT NOT NULL DEFAULT 'x')");
	ask(w, "INSERT INTO strict VALUES (1, 'here', 'k')");
	w->conf.on_schema_change = "stop";
	assert_int_equal(o->prepare(w->sink, &v4, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "column gone is NOT NULL without a default"));
	w->conf.on_schema_change = "apply";
	assert_int_equal(o->prepare(w->sink, &v4, &w->err), OK);
	ask(w, "INSERT INTO strict (id) VALUES (2)");
	assert_string_equal(ask(w, "SELECT id, gone, kept FROM strict ORDER BY id"), "1|here|k 2|-|x");
}

static void
test_schema_change(void **state)
{
	struct world *w = *state;
	struct column c[COLS],
	    wide[] = { COL_INT8("id"), COL_TEXT("name"), COL_INT4("more"), COL_TEXT("word"),
		    col_of("flag", (struct wire_type){ .wire = W_BOOL }, "boolean") };
	struct table t = orders(c), v2 = table_of("orders", wide, COUNTOF(wide), key0, 1), other;
	struct batch b = { 0 };

	t.ncols = 2;
	for (int i = 2; i < 5; i++)
		wide[i].has_default = true;
	wide[2].default_json = SLICE_LIT("5");
	wide[3].default_json = SLICE_LIT("\"it's\"");
	wide[4].default_json = SLICE_LIT("true");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	ok(run(w, &b));
	w->conf.on_schema_change = "stop";
	assert_int_equal(w->sink->ops->prepare(w->sink, &v2, &w->err), FATAL);
	assert_non_null(
	    strstr(w->err.text, "ALTER TABLE \"orders\" ADD COLUMN \"more\" INTEGER DEFAULT 5"));
	w->conf.on_schema_change = "apply";
	ok(w->sink->ops->prepare(w->sink, &v2, &w->err));
	put_row(&b, &v2, OP_CREATE, NULL,
	    VALUES(&b, value_int(2), V_TEXT("b"), value_int(6), value_null(),
		{ .kind = V_BOOL, .i = 0 }));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, name, more, word, flag FROM orders ORDER BY id"),
	    "1|a|5|it's|1 2|b|6|-|0");
	w->sink->ops->forget(w->sink, &v2);
	/* audit.log and public.audit_log cannot both be here. */
	v2.schema = SLICE_LIT("audit");
	v2.name = SLICE_LIT("log");
	ok(w->sink->ops->prepare(w->sink, &v2, &w->err));
	other = orders(c);
	other.name = SLICE_LIT("audit_log");
	w->sink->ops->forget(w->sink, &t);
	assert_int_equal(w->sink->ops->prepare(w->sink, &other, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "audit.log and public.audit_log"));
}

static void
test_unindexed_key(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };

	ask(w,
	    "CREATE TABLE orders (id INTEGER, name TEXT, amount TEXT, at TEXT, doc TEXT, d REAL, sum AS (d * 2))");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_READ, NULL, order(&b, 1, "a"));
	ok(run(w, &b));
	put_row(&b, &t, OP_READ, NULL, order(&b, 1, "b"));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, name, sum FROM orders"), "1|b|1.0");
}

/* Under other names: rows in and out, the source renames the table, `rename` comes later than rows. */
static void
test_mapping(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c), later, other;
	struct batch b = { 0 };

	w->conf.rename = "public.orders=o2,public.sales=o2";
	w->conf.columns_rename = "public.orders.name=who";
	w->conf.columns_exclude = "*.*.amount";
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 2, "b"));
	ok(run(w, &b));
	put_row(&b, &t, OP_UPDATE, NULL, order(&b, 2, "c"));
	put_row(&b, &t, OP_DELETE, order(&b, 1, "a"), NULL);
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, who FROM o2"), "2|c");
	assert_string_equal(ask(w, "SELECT group_concat(name, ' ') FROM pragma_table_info('o2')"), "id who at doc d");
	assert_string_equal(ask(w, "SELECT name, source FROM towline_table"), "o2|public.orders");

	/* the same rows under the name that the source has given them; then a table that only wants its name */
	later = t;
	later.name = SLICE_LIT("sales");
	later.was_schema = SLICE_LIT("public");
	later.was_name = SLICE_LIT("orders");
	w->conf.columns_rename = "public.orders.name=who,public.sales.name=who";
	ok(w->sink->ops->prepare(w->sink, &later, &w->err));
	assert_string_equal(ask(w, "SELECT name, source FROM towline_table"), "o2|public.sales");
	other = t;
	other.name = SLICE_LIT("o2");
	assert_int_equal(w->sink->ops->prepare(w->sink, &other, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "tables public.sales and public.o2 would both go to"));

	later.was_name = later.was_schema = SLICE_LIT("");
	w->sink->ops->forget(w->sink, &later);
	w->conf.rename = "public.sales=o3";
	assert_int_equal(w->sink->ops->prepare(w->sink, &later, &w->err), FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	assert_non_null(strstr(w->err.text, "ALTER TABLE \"o2\" RENAME TO \"o3\""));
}

/* Names that differ in case only are one to SQLite: a table that is renamed so stays where it is, two tables do not share one. */
static void
test_case(void **state)
{
	struct world *w = *state;
	struct column c[COLS];
	struct table t = orders(c), later, other;
	struct batch b = { 0 };

	t.name = SLICE_LIT("Orders");
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 1, "a"));
	ok(run(w, &b));
	later = t;
	later.name = SLICE_LIT("orders");
	later.was_schema = SLICE_LIT("public");
	later.was_name = SLICE_LIT("Orders");
	w->sink->begins = &later; /* as with its first row */
	ok(w->sink->ops->prepare(w->sink, &later, &w->err));
	w->sink->begins = NULL;
	put_row(&b, &later, OP_UPDATE, NULL, order(&b, 1, "b"));
	put_row(&b, &later, OP_CREATE, NULL, order(&b, 2, "c"));
	ok(run(w, &b));
	assert_string_equal(ask(w, "SELECT id, name FROM orders ORDER BY id"), "1|b 2|c");
	assert_string_equal(ask(w, "SELECT source FROM towline_table"), "public.orders");
	/* Again after a start, when nothing of it is known. */
	w->sink->ops->forget(w->sink, &t);
	w->sink->ops->forget(w->sink, &later);
	w->sink->begins = &later;
	ok(w->sink->ops->prepare(w->sink, &later, &w->err));
	w->sink->begins = NULL;

	other = t;
	other.name = SLICE_LIT("ORDERS");
	assert_int_equal(w->sink->ops->prepare(w->sink, &other, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "tables public.orders and public.ORDERS would both go to"));
	assert_string_equal(ask(w, "SELECT id, name FROM orders ORDER BY id"), "1|b 2|c");
}

/* How far partitions are read: written with the rows, gone with them; of an older version under another name. */
static void
test_positions(void **state)
{
	struct world *w = *state;
	const struct position_ops *ops;
	struct position p[] = { { .topic = "shop.public.t", .partition = 2, .next = 70 }, { .topic = "it's", .next = 1 } }, *got;
	struct marker next = w->at;
	struct arena a = { 0 };
	int n;

	ask(w, "CREATE TABLE towline_foreign_position (pipeline TEXT NOT NULL, topic TEXT NOT NULL, topic_partition INTEGER NOT NULL,"
	       " next_offset INTEGER NOT NULL, value_id INTEGER NOT NULL, PRIMARY KEY (pipeline, topic, topic_partition))");
	ask(w, "INSERT INTO towline_foreign_position VALUES ('shop', 'shop.public.t', 2, 69, 5), ('other', 'x', 0, 1, 0)");
	w->sink->ops->close(w->sink);
	open_sink(w);
	ops = w->sink->ops->positions;
	ok(ops->read(w->sink, &a, &got, &n, &w->err));
	assert_int_equal(n, 1);
	assert_int_equal(got[0].next, 69);
	next.no++;
	next.spine_offset++;
	ok(w->sink->ops->begin(w->sink, &w->at, &next, &w->err));
	ok(ops->write(w->sink, p, 2, &w->err));
	w->sink->ops->abort(w->sink);
	assert_string_equal(ask(w, "SELECT next_offset FROM towline_position WHERE pipeline = 'shop'"), "69");
	ok(w->sink->ops->begin(w->sink, &w->at, &next, &w->err));
	ok(ops->write(w->sink, p, 2, &w->err));
	ok(w->sink->ops->commit(w->sink, &next, &w->err));
	assert_string_equal(ask(w, "SELECT topic, topic_partition, next_offset FROM towline_position WHERE pipeline = 'shop' ORDER BY 1"),
	    "it's|0|1 shop.public.t|2|70");
	arena_free(&a);
}

static void
test_unknown_kind(void **state)
{
	struct conf_sink conf = { .name = "odd", .url = "mysql://localhost" };
	struct sink *s;
	struct err err;

	(void)state;
	assert_int_equal(sink_open("shop", &conf, &s, &err), FATAL);
	assert_int_equal(err.exit, EXIT_CONFIG);
}

/* Commits into a file that is no longer there would be told to be done, and lost. */
static void
test_replaced(void **state)
{
	struct world *w = *state;
	struct marker next = step(w, 1);
	struct batch none = { 0 };
	char aside[80];

	ok(w->sink->ops->begin(w->sink, &w->at, &next, &w->err));
	ok(w->sink->ops->apply(w->sink, &none, &w->err));
	snprintf(aside, sizeof aside, "%s.was", w->path);
	assert_int_equal(rename(w->path, aside), 0);
	assert_int_equal(w->sink->ops->commit(w->sink, &next, &w->err), RETRY);
	assert_non_null(strstr(w->err.text, "deleted or replaced"));
	assert_int_equal(rename(aside, w->path), 0);
	assert_string_equal(ask(w, "SELECT spine_offset FROM towline_marker"), "-1");
}

/* Who applies keeps others away, but not for another pipeline, and not for ever. */
static void
test_claim(void **state)
{
	struct world *w = *state;
	struct sink *late, *other;
	struct marker m;
	char path[100];

	ok(sink_open("shop", &w->conf, &late, &w->err));
	assert_int_equal(late->ops->marker(late, &m, &w->err), RETRY);
	assert_non_null(strstr(w->err.text, "still applies to this sink"));
	ok(late->ops->parking->lock(late, &m, &w->err)); /* as towline dlq does, beside it */
	late->ops->abort(late);
	ok(sink_open("other", &w->conf, &other, &w->err));
	ok(other->ops->marker(other, &m, &w->err));
	other->ops->close(other);
	w->sink->ops->close(w->sink);
	ok(late->ops->marker(late, &m, &w->err));
	ok(late->ops->marker(late, &m, &w->err));
	w->sink = late;
	snprintf(path, sizeof path, "%s-towline.other", w->path);
	assert_int_not_equal(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s-towline.shop", w->path);
	assert_int_equal(access(path, F_OK), 0);
}

/* Two connections that read in turn, so that one is always in the log; NULL: as long as it was to. */
struct readers {
	const struct world *w;
	atomic_bool stop;
	pthread_t thread;
};

static void *
read_on(void *arg)
{
	struct readers *r = arg;
	sqlite3 *db[2];

	for (int i = 0; i < 2; i++)
		if (sqlite3_open_v2(r->w->path, &db[i], SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
			return r;
	for (int i = 0; !atomic_load(&r->stop); i = !i) {
		if (sqlite3_exec(db[i], "BEGIN; SELECT count(*) FROM orders", NULL, NULL, NULL) != SQLITE_OK)
			return r;
		sqlite3_exec(db[!i], "COMMIT", NULL, NULL, NULL);
	}
	for (int i = 0; i < 2; i++)
		sqlite3_close(db[i]);
	return NULL;
}

/* The log of the file does not grow without end under readers. */
static void
test_readers(void **state)
{
	enum { BLOCK = 1 << 20, BLOCKS = 200 };
	struct world *w = *state;
	struct readers readers = { .w = w };
	struct column c[COLS];
	struct table t = orders(c);
	struct batch b = { 0 };
	struct stat st;
	char path[80], *text = malloc(BLOCK);
	void *failed;

	assert_non_null(text);
	memset(text, 'x', BLOCK - 1);
	text[BLOCK - 1] = '\0';
	ok(w->sink->ops->prepare(w->sink, &t, &w->err));
	put_row(&b, &t, OP_CREATE, NULL, order(&b, 0, "first"));
	ok(run(w, &b));
	assert_int_equal(pthread_create(&readers.thread, NULL, read_on, &readers), 0);
	for (int i = 1; i <= BLOCKS; i++) {
		put_row(&b, &t, OP_CREATE, NULL, order(&b, i, text));
		ok(run(w, &b));
	}
	snprintf(path, sizeof path, "%s-wal", w->path);
	assert_int_equal(stat(path, &st), 0);
	atomic_store(&readers.stop, true);
	assert_int_equal(pthread_join(readers.thread, &failed), 0);
	assert_null(failed);
	assert_string_equal(ask(w, "SELECT count(*) FROM orders"), "201");
	if (st.st_size >= 128 << 20)
		fail_msg("the log has %lld bytes", (long long)st.st_size);
	free(text);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_world(test_marker),
		with_world(test_all_kinds),
		with_world(test_no_key),
		with_world(test_redo),
		with_world(test_redo_truncate),
		with_world(test_parking),
		with_world(test_try),
		with_world(test_streamed),
		with_world(test_abort_and_reopen),
		with_world(test_schema_change),
		with_world(test_column_in_doubt),
		with_world(test_unindexed_key),
		with_world(test_mapping),
		with_world(test_case),
		with_world(test_positions),
		with_world(test_replaced),
		with_world(test_claim),
		with_world(test_readers),
		cmocka_unit_test(test_unknown_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
