/*
 * The log of a SQLite source. Random statements of every kind on tables of every kind: who applies the log has the same tables. And
 * shapes that change, tables that are made anew, and the triggers' text (tests/golden/lite; GOLDEN_WRITE=1 writes it anew).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "producer/capture.h"
#include "producer/layout.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/random.h"

#define GOLDEN "tests/golden/lite/triggers.sql"

struct world {
	sqlite3 *db, *mirror;
	struct arena a;
	int64_t lsn, layout; /* applied to the mirror; the newest that it has */
	struct err err;
};

#define ok(expr) do { \
	enum rc got_ = (expr); \
	if (got_ != OK) \
		fail_msg("%s: %s: %s", #expr, rc_name(got_), w->err.text); \
} while (0)

static void
sql(struct world *w, const char *text)
{
	if (sqlite3_exec(w->db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(w->db));
}

/* May fail, as a constraint or a missing table has it. */
static void
try(struct world *w, const char *text)
{
	sqlite3_exec(w->db, text, NULL, NULL, NULL);
}

static void
mirror(struct world *w, const char *text)
{
	if (sqlite3_exec(w->mirror, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("mirror: %s: %s", text, sqlite3_errmsg(w->mirror));
}

/* All rows of an answer, a line each. */
static const char *
ask(struct world *w, sqlite3 *db, const char *text)
{
	struct buf b = { 0 };
	sqlite3_stmt *st;
	const char *out;

	if (sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	while (sqlite3_step(st) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			const char *cell = (const char *)sqlite3_column_text(st, i);

			buf_printf(&b, "%s%s", i ? "|" : "", cell ? cell : "-");
		}
		buf_byte(&b, '\n');
	}
	sqlite3_finalize(st);
	out = arena_text(&w->a, buf_view(&b));
	buf_free(&b);
	return out;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_int_equal(sqlite3_open(":memory:", &w->db), SQLITE_OK);
	assert_int_equal(sqlite3_open(":memory:", &w->mirror), SQLITE_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	sqlite3_close(w->db);
	sqlite3_close(w->mirror);
	arena_free(&w->a);
	free(w);
	return 0;
}

/* Somebody reads, so that what comes by other ways than triggers is logged too. */
static void
install(struct world *w, bool slot)
{
	struct capture_notes notes = { .a = &w->a };
	uint64_t from;

	ok(capture_install(w->db, NULL, 0, &notes, &w->err));
	if (slot)
		ok(capture_slot_create(w->db, "slot", &from, &w->err));
}

static const char *
renew(struct world *w)
{
	struct capture_notes notes = { .a = &w->a };
	struct buf b = { 0 };
	const char *out;
	int64_t version;

	ok(capture_renew(w->db, &notes, &version, &w->err));
	for (int i = 0; i < notes.n; i++)
		buf_printf(&b, "%s%s %s", i ? ", " : "", notes.list[i].table, capture_event_name(notes.list[i].event));
	out = arena_text(&w->a, buf_view(&b));
	buf_free(&b);
	return out;
}

/* ---- the log, applied as a sink would ---- */

static const char *
value(struct world *w, sqlite3_stmt *st, int i)
{
	struct buf b = { 0 };
	const char *out;

	switch (sqlite3_column_type(st, i)) {
	case SQLITE_NULL: return "NULL";
	case SQLITE_INTEGER: return arena_printf(&w->a, "%lld", sqlite3_column_int64(st, i));
	case SQLITE_FLOAT: return arena_printf(&w->a, "%.17e", sqlite3_column_double(st, i));
	case SQLITE_TEXT: return sqlite_literal(&w->a, (const char *)sqlite3_column_text(st, i));
	default:
		buf_text(&b, "x'");
		for (int k = 0; k < sqlite3_column_bytes(st, i); k++)
			buf_printf(&b, "%02x", ((const uint8_t *)sqlite3_column_blob(st, i))[k]);
		buf_byte(&b, '\'');
		out = arena_text(&w->a, buf_view(&b));
		buf_free(&b);
		return out;
	}
}

static const char *
where(struct world *w, const struct layout *l, sqlite3_stmt *st, int from)
{
	const char *out = "1";

	for (int i = 0; i < layout_nold(l); i++) {
		int col = l->nkeys ? l->keys[i] : i;
		const char *name = sqlite_ident(&w->a, l->cols[col].name);

		out = arena_printf(&w->a, "%s AND %s IS %s AND typeof(%s) = typeof(%s)", out, name, value(w, st, from + i), name,
		    value(w, st, from + i));
	}
	return out;
}

static void
remove_row(struct world *w, const struct layout *l, sqlite3_stmt *st, int from)
{
	const char *table = sqlite_ident(&w->a, l->table);

	mirror(w, arena_printf(&w->a, "DELETE FROM %s WHERE rowid = (SELECT rowid FROM %s WHERE %s LIMIT 1)", table, table,
	    where(w, l, st, from)));
	if (!l->nkeys) /* twins are told apart by nothing: one, and only one */
		assert_int_equal(sqlite3_changes(w->mirror), 1);
}

static void
add_row(struct world *w, const struct layout *l, sqlite3_stmt *st, int from)
{
	const char *cols = "", *vals = "", *key = "1";

	for (int i = 0; i < l->ncols; i++) {
		cols = arena_printf(&w->a, "%s%s%s", cols, i ? ", " : "", sqlite_ident(&w->a, l->cols[i].name));
		vals = arena_printf(&w->a, "%s%s%s", vals, i ? ", " : "", value(w, st, from + i));
	}
	for (int i = 0; i < l->nkeys; i++)
		key = arena_printf(&w->a, "%s AND %s IS %s", key, sqlite_ident(&w->a, l->cols[l->keys[i]].name), value(w, st,
		    from + l->keys[i]));
	if (l->nkeys)
		mirror(w, arena_printf(&w->a, "DELETE FROM %s WHERE %s", sqlite_ident(&w->a, l->table), key));
	mirror(w, arena_printf(&w->a, "INSERT INTO %s (%s) VALUES (%s)", sqlite_ident(&w->a, l->table), cols, vals));
}

/* As a sink does at the first entry under another name. Two tables of one name it would refuse. */
static void
mirror_name(struct world *w, const struct layout *l, long long id)
{
	const char *was = ask(w, w->db, arena_printf(&w->a, "SELECT b.def ->> '$.table' FROM towline_layout a JOIN towline_layout b"
	    " ON b.capture = a.capture AND b.id < a.id WHERE a.id = %lld ORDER BY b.id DESC LIMIT 1", id));
	const char *old = sqlite_ident(&w->a, arena_printf(&w->a, "%.*s", (int)strcspn(was, "\n"), was));

	if (*was && strcmp(old, sqlite_ident(&w->a, l->table)) != 0 &&
	    strcmp(ask(w, w->mirror, arena_printf(&w->a, "SELECT count(*) FROM pragma_table_info(%s)", old)), "0\n") != 0)
		mirror(w, arena_printf(&w->a, "ALTER TABLE %s RENAME TO %s", old, sqlite_ident(&w->a, l->table)));
}

/* The mirror's table has untyped columns, of all names that it ever had. */
static void
mirror_table(struct world *w, const struct layout *l)
{
	const char *table = sqlite_ident(&w->a, l->table);

	for (int i = 0; i < l->ncols; i++) {
		const char *col = sqlite_ident(&w->a, l->cols[i].name);

		if (i == 0)
			mirror(w, arena_printf(&w->a, "CREATE TABLE IF NOT EXISTS %s (%s)", table, col));
		sqlite3_exec(w->mirror, arena_printf(&w->a, "ALTER TABLE %s ADD COLUMN %s%s%s", table, col,
		    l->cols[i].dflt ? " DEFAULT " : "",
		    l->cols[i].dflt ? l->cols[i].dflt : ""), NULL, NULL, NULL);
	}
}

static void
follow(struct world *w)
{
	sqlite3_stmt *st;

	ok(sqlite_prepare(w->db, "log", arena_printf(&w->a, "SELECT l.lsn, l.op, y.def, l.* FROM towline_log l JOIN towline_layout y"
	    " ON y.id = l.layout WHERE l.lsn > %lld ORDER BY l.lsn", (long long)w->lsn), &st, &w->err));
	while (sqlite3_step(st) == SQLITE_ROW) {
		enum { C0 = 3 + 4 };
		const char op = *(const char *)sqlite3_column_text(st, 1);
		struct layout l;

		w->lsn = sqlite3_column_int64(st, 0);
		ok(layout_parse((const char *)sqlite3_column_text(st, 2), &w->a, &l, &w->err));
		if (sqlite3_column_int64(st, 4) > w->layout)
			mirror_name(w, &l, w->layout = sqlite3_column_int64(st, 4));
		mirror_table(w, &l);
		if (op == 't')
			mirror(w, arena_printf(&w->a, "DELETE FROM %s", sqlite_ident(&w->a, l.table)));
		if (op == 'u' || op == 'd')
			remove_row(w, &l, st, C0);
		if (op == 'u' || op == 'c' || op == 'r')
			add_row(w, &l, st, C0 + layout_nold(&l));
	}
	sqlite3_finalize(st);
}

/* All rows, each value with its class. */
static const char *
rows(struct world *w, sqlite3 *db, const char *table)
{
	const char *cols = ask(w, w->db, arena_printf(&w->a,
	    "SELECT group_concat('quote(\"' || name || '\")', ', ') FROM pragma_table_xinfo('%s')",
	    table));

	return ask(w, db, arena_printf(&w->a, "SELECT %.*s FROM \"%s\" ORDER BY %.*s", (int)strlen(cols) - 1, cols, table,
	    (int)strlen(cols) - 1, cols));
}

static void
compare(struct world *w, const char *table, const char *after)
{
	const char *want = rows(w, w->db, table), *got;

	if (!*want && sqlite3_table_column_metadata(w->mirror, NULL, table, NULL, NULL, NULL, NULL, NULL, NULL) != SQLITE_OK)
		return;
	got = rows(w, w->mirror, table);
	if (strcmp(want, got) != 0)
		fail_msg("table %s\n%sin the mirror\n%safter %s", table, want, got,
		    strlen(after) > 200 ? after + strlen(after) - 200 : after);
}

/* ---- random statements ---- */

static const char tables_sql[] =
    "CREATE TABLE t1 (id INTEGER PRIMARY KEY, a, u TEXT UNIQUE, v INT);"
    "CREATE TABLE t2 (k TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, x REAL, n NUMERIC UNIQUE);"
    "CREATE TABLE t3 (a, b, c UNIQUE, PRIMARY KEY (a, b)) WITHOUT ROWID;"
    "CREATE TABLE t4 (x, y UNIQUE, z);"
    "CREATE TABLE t5 (id INTEGER PRIMARY KEY, p INT REFERENCES t1 (id) ON DELETE CASCADE ON UPDATE CASCADE, g AS (id * 2) STORED);"
    "CREATE TABLE t6 (id TEXT NOT NULL PRIMARY KEY, s, w);"
    "CREATE TABLE t7 (a INT NOT NULL, b INT NOT NULL, c BLOB);"
    "CREATE UNIQUE INDEX t7i ON t7 (b, a); CREATE UNIQUE INDEX t7p ON t7 (c COLLATE NOCASE) WHERE a > 2;";

/* The application's own: they change the row that is being logged, delete others, bring it back, and write elsewhere. */
static const char own_triggers_sql[] =
    "CREATE TRIGGER own1 AFTER UPDATE ON t1 WHEN length(NEW.a) < 4 BEGIN UPDATE t1 SET a = NEW.a || '.' WHERE id = NEW.id; END;"
    "CREATE TRIGGER own2 AFTER INSERT ON t6 BEGIN UPDATE t6 SET s = 'own ' || NEW.s WHERE id = NEW.id; DELETE FROM t6 WHERE w = 3; END;"
    "CREATE TRIGGER own3 BEFORE DELETE ON t1 BEGIN INSERT INTO t4 VALUES (OLD.a, NULL, OLD.id); END;"
    "CREATE TRIGGER own4 AFTER DELETE ON t6 WHEN OLD.w = 4 BEGIN INSERT OR IGNORE INTO t6 VALUES (OLD.id, 'back', 5); END;";

static const char *
any_value(struct world *w, struct rng *r)
{
	static const char *const list[] = { "NULL", "0", "1", "2", "3", "1.0", "2.5", "'1'", "'a'", "'A'", "'b'", "'it''s'", "x'00'",
	    "x''",
		"9223372036854775807", "1e300", "'2.50'" };

	return one_in(r, 2) ? arena_printf(&w->a, "%d", (int)below(r, 6)) : list[below(r, COUNTOF(list))];
}

static const char *
any_statement(struct world *w, struct rng *r)
{
	static const char *const ors[] = { "", "", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL" };
	static const struct {
		const char *name, *cols[3];
	} tables[] = { { "t1", { "id", "a", "u" } }, { "t2", { "k", "x", "n" } }, { "t3", { "a", "b", "c" } }, { "t4", { "x", "y",
	    "z" } },
		{ "t5", { "id", "p", "p" } }, { "t6", { "id", "s", "w" } }, { "t7", { "a", "b", "c" } } };
	size_t t = below(r, COUNTOF(tables));
	const char *name = tables[t].name, *const *cols = tables[t].cols, *or = ors[below(r, COUNTOF(ors))];
	int ncols = t == 4 ? 2 : 3;
	const char *v1 = any_value(w, r), *v2 = any_value(w, r), *v3 = any_value(w, r);

	switch (below(r, 8)) {
	case 0:
	case 1:
	case 2:
		if (ncols == 2)
			return arena_printf(&w->a, "INSERT%s INTO %s (id, p) VALUES (%s, %s)", or, name, v1, v2);
		if (one_in(r, 3) && t != 2)
			return arena_printf(&w->a, "INSERT%s INTO %s (rowid, %s, %s) VALUES (%d, %s, %s)", or, name, cols[one_in(r,
			    2)], cols[2],
			    (int)below(r, 6), v1, v2);
		return arena_printf(&w->a, "INSERT%s INTO %s (%s, %s, %s) VALUES (%s, %s, %s), (%s, %s, %s)", or, name, cols[0], cols[1],
		    cols[2], v1, v2, v3, v2, v3, v1);
	case 3:
		return arena_printf(&w->a, "INSERT INTO %s (%s, %s) VALUES (%s, %s) ON CONFLICT DO UPDATE SET %s = %s", name, cols[0],
		    cols[1], v1,
		    v2, cols[below(r, 3)], v3);
	case 4:
	case 5:
		return arena_printf(&w->a, "UPDATE%s %s SET %s = %s WHERE %s = %s", or, name, cols[below(r, 3)], v1, cols[below(r,
		    3)], v2);
	case 6:
		return arena_printf(&w->a, "UPDATE%s %s SET %s = %s + 1, %s = %s", or, name, cols[0], cols[0], cols[2], v1);
	default:
		return arena_printf(&w->a, "DELETE FROM %s WHERE %s = %s", name, cols[below(r, 3)], v1);
	}
}

static void
any_transaction(struct world *w, struct rng *r, struct buf *log)
{
	bool explicit = one_in(r, 2);

	if (explicit)
		sql(w, "BEGIN");
	for (int i = 0, n = explicit ? (int)below(r, 5) : 1; i < n; i++) {
		const char *s = any_statement(w, r);

		buf_printf(log, "%s;\n", s);
		if (one_in(r, 8))
			try(w, "SAVEPOINT s");
		try(w, s);
		if (one_in(r, 8))
			try(w, "ROLLBACK TO s");
	}
	if (!sqlite3_get_autocommit(w->db)) {
		const char *end = one_in(r, 4) ? "ROLLBACK" : "COMMIT";

		buf_printf(log, "%s;\n", end);
		sql(w, end);
	}
}

static void
the_log_is_the_tables(void **state)
{
	struct world *w = *state;
	uint64_t seed = first_seed("the_log_is_the_tables"), n = rounds(40);

	for (uint64_t round = 0; round < n; round++) {
		struct rng r = rng_of(seed + round);
		struct buf log = { 0 };

		teardown(state);
		setup(state);
		w = *state;
		sql(w, tables_sql);
		sql(w, one_in(&r, 2) ? "PRAGMA foreign_keys = 1" : "PRAGMA foreign_keys = 0");
		sql(w, one_in(&r, 3) ? "PRAGMA recursive_triggers = 1" : "PRAGMA recursive_triggers = 0");
		/* Before ours or behind them: SQLite runs the newest first. */
		if (one_in(&r, 2))
			sql(w, own_triggers_sql);
		install(w, false);
		try(w, own_triggers_sql);
		for (int i = 0; i < 60; i++) {
			any_transaction(w, &r, &log);
			follow(w);
			for (int t = 1; t <= 7; t++)
				compare(w, arena_printf(&w->a, "t%d", t), arena_printf(&w->a, "%s(TOWLINE_SEED=%" PRIu64 ")",
				    buf_cstr(&log), r.seed));
		}
		buf_free(&log);
	}
}

/* ---- shapes ---- */

static void
a_column_joins(void **state)
{
	struct world *w = *state;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE n (x, y); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
	       "INSERT INTO n VALUES (1, 1), (1, 1)");
	install(w, true);
	sql(w, "UPDATE t SET a = a; UPDATE n SET x = x");
	/* Written before anybody has noticed: the triggers do not know the columns yet. */
	sql(w, "ALTER TABLE t ADD COLUMN d INT NOT NULL DEFAULT 7; ALTER TABLE t ADD COLUMN e NUMERIC DEFAULT 1.5;"
	       "ALTER TABLE t ADD COLUMN g AS (id + 1); INSERT INTO t (id, d) VALUES (3, 8); UPDATE t SET d = 9 WHERE id = 1;"
	       "ALTER TABLE n ADD COLUMN z; UPDATE n SET z = 'z' WHERE rowid = 1; INSERT INTO n VALUES (5, 5, NULL)");
	assert_string_equal(renew(w), "n renewed, t renewed");
	assert_string_equal(renew(w), "");
	sql(w, "INSERT INTO t (id) VALUES (4); DELETE FROM t WHERE id = 2; DELETE FROM n WHERE z = 'z'");
	/* The mirror begins with the rows that nobody has logged. */
	mirror(w,
	    "CREATE TABLE t (id, a); INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE TABLE n (x, y); INSERT INTO n VALUES (1, 1), (1, 1)");
	follow(w);
	mirror(w, "UPDATE t SET e = 1.5 WHERE e IS NULL");
	compare(w, "t", "a column joins");
	compare(w, "n", "a column joins");
}

static void
names_change(void **state)
{
	struct world *w = *state;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b UNIQUE)");
	install(w, true);
	sql(w, "INSERT INTO t VALUES (1, 1, 1); ALTER TABLE t RENAME COLUMN a TO aa; INSERT INTO t VALUES (2, 2, 2);"
	       "ALTER TABLE t RENAME TO tt; REPLACE INTO tt VALUES (3, 3, 1)");
	assert_string_equal(renew(w), "tt renewed");
	sql(w, "REPLACE INTO tt VALUES (4, 4, 2)");
	assert_string_equal(ask(w, w->db, "SELECT op, c0, c1, c2, c3 FROM towline_log WHERE op <> 'n' ORDER BY lsn"),
	    "c|-|1|1|1\nc|-|2|2|2\nd|1|-|-|-\nc|-|3|3|1\nu|2|2|2|2\nd|2|-|-|-\nc|-|4|4|2\n");
	assert_string_equal(ask(w, w->db, "SELECT def ->> '$.table', def ->> '$.columns[1].name' FROM towline_layout"), "t|a\ntt|aa\n");
}

/* As an application does that cannot alter what it wants to: made anew under another name, filled, renamed. */
static void
made_anew(void **state)
{
	struct world *w = *state;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES (1, 1, 1)");
	install(w, true);
	sql(w,
	    "INSERT INTO t VALUES (2, 2, 2); BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, b TEXT NOT NULL);"
	    "INSERT INTO new SELECT id, b FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t; COMMIT;"
	    "INSERT INTO t VALUES (9, 'nobody looks')");
	assert_string_equal(renew(w), "t copied");
	sql(w, "INSERT INTO t VALUES (10, 'x')");
	follow(w);
	compare(w, "t", "made anew");
	/* Triggers that somebody dropped: as much is lost. */
	sql(w, "DROP TRIGGER towline_2_u; UPDATE t SET b = 'unseen'");
	assert_string_equal(renew(w), "t copied");
	follow(w);
	compare(w, "t", "a trigger was dropped");
	sql(w, "DROP TABLE t; CREATE TABLE later (id INTEGER PRIMARY KEY)");
	assert_string_equal(renew(w), "t gone, later copied");
}

/* What is done by the statements is compared, once the producer has looked. */
static void
away(struct world *w, const char *text, const char *noticed, const char *const *tables)
{
	follow(w);
	sql(w, text);
	assert_string_equal(renew(w), noticed);
	assert_string_equal(renew(w), "");
	follow(w);
	for (; *tables; tables++)
		compare(w, *tables, text);
}

static void
names_move(void **state)
{
	struct world *w = *state;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE e (x); CREATE TABLE n (id INTEGER PRIMARY KEY, a)");
	install(w, true);
	sql(w, "INSERT INTO t VALUES (1, 'old'), (2, 'old'); INSERT INTO n VALUES (7, 'n')");
	/* The name goes on to a new table, of the same columns; one that is empty is no exception. */
	away(w, "ALTER TABLE t RENAME TO old; CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (2, 'new');"
	    "INSERT INTO old VALUES (3, 'old'); DELETE FROM old WHERE id = 1", "old renewed, t copied",
	    (const char *[]){ "t", "old", NULL });
	away(w, "INSERT INTO e VALUES (1); DELETE FROM e; ALTER TABLE e RENAME TO ee; CREATE TABLE e (x); INSERT INTO e VALUES (1)",
	    "ee renewed, e copied", (const char *[]){ "e", "ee", NULL });
	/* A captured table with rows takes the name of one that was dropped: one set of triggers is left. */
	away(w, "DROP TABLE t; ALTER TABLE n RENAME TO t; INSERT INTO t VALUES (8, 'n')", "t copied", (const char *[]){ "t", NULL });
	assert_string_equal(ask(w, w->db, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 't'"), "3\n");
	away(w, "INSERT INTO t VALUES (9, 'n')", "", (const char *[]){ "t", "old", "e", "ee", NULL });
	assert_string_equal(ask(w, w->db, "SELECT count(*) FROM towline_log WHERE c1 = 9"), "1\n");
}

/* REPLACE by what the triggers do not know yet. */
static void
keys_change(void **state)
{
	static const char *const tables[] = { "t", "k", NULL };
	struct world *w = *state;
	int64_t before;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); CREATE TABLE k (a INT NOT NULL, b); CREATE UNIQUE INDEX ki ON k (a)");
	install(w, true);
	sql(w, "INSERT INTO t VALUES (1, 'a', 'b'), (2, 'aa', 'bb'); INSERT INTO k VALUES (1, 1), (2, 2)");
	away(w, "CREATE UNIQUE INDEX ti ON t (a); REPLACE INTO t VALUES (3, 'a', 'c')", "t renewed, t copied", tables);
	away(w, "REPLACE INTO t VALUES (4, 'aa', 'c')", "", tables);
	/* SQLite writes the new name into the triggers, which know as much as before. */
	sql(w, "ALTER TABLE t RENAME COLUMN a TO aa");
	assert_string_equal(renew(w), "t renewed");
	sql(w, "ALTER TABLE t RENAME COLUMN aa TO a");
	assert_string_equal(renew(w), "t renewed");
	/* Nothing was written meanwhile: nothing can be missed. */
	follow(w);
	sql(w, "DELETE FROM towline_log");
	away(w, "CREATE UNIQUE INDEX tb ON t (id, b)", "t renewed", tables);
	/* Rows that were told apart by a key are no more, and are again. */
	away(w, "DROP INDEX ki; INSERT INTO k VALUES (1, 'twin'), (2, 2); DELETE FROM k WHERE b = 1", "k renewed, k copied", tables);
	before = w->lsn;
	away(w, "INSERT INTO k VALUES (5, 5); DELETE FROM k WHERE a = 2 AND rowid > 2", "", tables);
	assert_true(w->lsn == before + 2);
	away(w, "CREATE UNIQUE INDEX ki ON k (a); REPLACE INTO k VALUES (1, 'replaced')", "k renewed, k copied", tables);
}

static void
replaced_by_default(void **state)
{
	static const char *const tables[] = { "t", NULL };
	struct world *w = *state;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x' UNIQUE, v INT NOT NULL DEFAULT (1 + 1), UNIQUE (v))");
	install(w, true);
	mirror(w, "CREATE TABLE t (id, u, v)");
	away(w, "INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)", "", tables);
	away(w, "REPLACE INTO t VALUES (3, NULL, 5)", "", tables);
	away(w, "REPLACE INTO t VALUES (4, 'z', NULL)", "", tables);
	away(w, "UPDATE OR REPLACE t SET u = NULL WHERE id = 4", "", tables);
	assert_string_equal(ask(w, w->db, "SELECT group_concat(id) FROM t"), "4\n");
}

static void
rowids_move(void **state)
{
	static const char *const tables[] = { "n", "k", "r", NULL };
	struct world *w = *state;

	sql(w, "CREATE TABLE n (x, y); CREATE TABLE k (id TEXT NOT NULL PRIMARY KEY, v); CREATE TABLE r (rowid, v)");
	install(w, true);
	away(w, "INSERT INTO n VALUES (1, 1), (2, 2), (3, 3), (2, 2); INSERT INTO k VALUES ('a', 1), ('b', 2), ('c', 3);"
	    "INSERT INTO r VALUES (1, 1), (2, 2)", "", tables);
	away(w, "UPDATE OR REPLACE n SET rowid = 2 WHERE rowid = 1", "", tables);
	away(w, "UPDATE OR REPLACE k SET _rowid_ = 3 WHERE id = 'a'; UPDATE OR REPLACE r SET oid = 2 WHERE v = 1", "", tables);
	away(w, "UPDATE OR REPLACE k SET rowid = 9; UPDATE n SET oid = rowid + 10", "", tables);
	away(w, "REPLACE INTO n(rowid, x) VALUES (-1, 'a'); REPLACE INTO k(rowid, id) VALUES (-1, 'm')", "", tables);
	away(w, "REPLACE INTO n(rowid, x) VALUES (-1, 'b'); REPLACE INTO k(rowid, id) VALUES (-1, 'o'); INSERT INTO n VALUES (7, 7)", "",
	    tables);
}

/* Without a key, and another trigger changes the row that is being logged. */
static void
overtaken(void **state)
{
	static const char *const tables[] = { "n", NULL };
	struct world *w = *state;

	sql(w, "CREATE TABLE n (x, y)");
	install(w, true);
	away(w, "INSERT INTO n VALUES (1, 1), (1, 1)", "", tables);
	away(w, "CREATE TRIGGER own AFTER INSERT ON n BEGIN UPDATE n SET y = y + 1 WHERE rowid = NEW.rowid; END;"
	    "CREATE TRIGGER own2 AFTER UPDATE OF x ON n WHEN NEW.x = 5 BEGIN UPDATE n SET x = 6 WHERE rowid = NEW.rowid; END;"
	    "INSERT INTO n VALUES (1, 1)", "n renewed, n copied", tables);
	away(w, "INSERT INTO n VALUES (1, 1); INSERT INTO n VALUES (5, 5); UPDATE n SET x = 5 WHERE rowid = 2", "", tables);
}

static void
copied_again(void **state)
{
	struct world *w = *state;
	struct capture_notes notes = { .a = &w->a };
	char t[] = "T", u[] = "u", *one[] = { t }, *none[] = { u };

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'x'), (2, x'00')");
	install(w, false);
	assert_int_equal(capture_copy(w->db, one, 1, &notes, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "nobody reads"));
	install(w, true);
	ok(capture_copy(w->db, one, 1, &notes, &w->err));
	assert_int_equal(capture_copy(w->db, none, 1, &notes, &w->err), FATAL);
	mirror(w, "CREATE TABLE t (id, a); INSERT INTO t VALUES (7, 'not the source''s')");
	sql(w, "DELETE FROM t WHERE id = 1");
	follow(w);
	compare(w, "t", "copied again");
}

static void
refused(void **state)
{
	struct world *w = *state;
	struct capture_notes notes = { .a = &w->a };
	char v[] = "v", no[] = "none", s[] = "s", t[] = "t", *virtual[] = { v }, *none[] = { no }, *view[] = { s }, *one[] = { t };
	int64_t id;

	sql(w, "CREATE VIRTUAL TABLE v USING fts5(x); CREATE VIEW s AS SELECT 1; CREATE TABLE t (a); CREATE TABLE u (a);"
	       "CREATE TABLE e (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX ei ON e (lower(a));"
	       "CREATE TABLE h (rowid TEXT, _rowid_ TEXT, oid TEXT)");
	assert_int_equal(capture_install(w->db, virtual, 1, &notes, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "virtual"));
	assert_int_equal(w->err.exit, EXIT_CONFIG);
	assert_int_equal(capture_install(w->db, none, 1, &notes, &w->err), FATAL);
	assert_non_null(strstr(w->err.text, "no such table"));
	assert_int_equal(capture_install(w->db, view, 1, &notes, &w->err), FATAL);
	/* Nothing of what failed is left. */
	ok(capture_id(w->db, &id, &w->err));
	assert_int_equal(id, 0);
	ok(capture_install(w->db, one, 1, &notes, &w->err));
	assert_string_equal(ask(w, w->db, "SELECT name FROM towline_capture"), "t\n");
	ok(capture_install(w->db, NULL, 0, &notes, &w->err));
	assert_string_equal(ask(w, w->db, "SELECT name FROM towline_capture"), "t\nu\n");
	ok(capture_uninstall(w->db, one, 1, &w->err));
	assert_string_equal(renew(w), "");
	assert_int_equal(capture_uninstall(w->db, one, 1, &w->err), FATAL);
	ok(capture_uninstall(w->db, NULL, 0, &w->err));
	assert_string_equal(ask(w, w->db, "SELECT name FROM sqlite_schema WHERE name GLOB 'towline*'"), "");
}

static void
slots(void **state)
{
	struct world *w = *state;
	struct capture_slot s;
	uint64_t from, other;
	int64_t deleted;

	sql(w, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
	install(w, false);
	sql(w, "INSERT INTO t VALUES (1), (2)");
	ok(capture_slot_create(w->db, "a", &from, &w->err));
	assert_int_equal(from, 3);
	/* Nobody read: who begins now copies the rows. */
	assert_string_equal(ask(w, w->db, "SELECT lsn, op FROM towline_log"), "4|n\n");
	sql(w, "INSERT INTO t VALUES (3), (4), (5)");
	ok(capture_slot_create(w->db, "b", &other, &w->err));
	ok(capture_confirm(w->db, "a", 3, 7, true, 100, &deleted, &w->err));
	ok(capture_confirm(w->db, "b", other, other, false, 2, &deleted, &w->err));
	assert_string_equal(ask(w, w->db, "SELECT min(lsn), max(lsn) FROM towline_log"), "7|8\n");
	ok(capture_slot_look(w->db, "a", &s, &w->err));
	assert_true(s.exists && s.copied && s.confirmed == 7);
	/* Behind what this reader has written: another database, or an older state of it. */
	assert_int_equal(capture_confirm(w->db, "a", 8, 9, true, 100, &deleted, &w->err), FATAL);
	assert_int_equal(w->err.exit, EXIT_REFUSED);
	ok(capture_slot_drop(w->db, "a", &w->err));
	assert_int_equal(capture_slot_drop(w->db, "a", &w->err), FATAL);
	assert_true(sqlite3_get_autocommit(w->db));
}

/* ---- golden ---- */

static void
triggers_text(void **state)
{
	static const char *const shapes[] = { "CREATE TABLE t (id INTEGER PRIMARY KEY, \"a \"\"b\" TEXT)",
		"CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, u UNIQUE) STRICT",
		    "CREATE TABLE t (a INT, b INT, c, UNIQUE (c), PRIMARY KEY (b, a))"
		" WITHOUT ROWID", "CREATE TABLE t (x, y)", "CREATE TABLE t (rowid INT, z INT NOT NULL UNIQUE)" };
	struct world *w = *state;
	struct buf b = { 0 };
	char *kept;
	FILE *f;

	for (size_t i = 0; i < COUNTOF(shapes); i++) {
		struct layout_trigger t[LAYOUT_TRIGGERS];
		struct layout l, again;
		const char *why, *text = shapes[i];
		int n;

		if (i == 1) /* u needs a type there */
			text = "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, u ANY UNIQUE) STRICT";
		sql(w, text);
		ok(layout_read(w->db, "t", &w->a, &l, &why, &w->err));
		assert_null(why);
		ok(layout_parse(layout_json(&l, &w->a), &w->a, &again, &w->err));
		assert_true(layout_same(&l, &again));
		n = layout_triggers(&l, 3, 5, &w->a, t);
		buf_printf(&b, "-- %s\n-- %s\n", text, layout_json(&l, &w->a));
		for (int k = 0; k < n; k++) {
			buf_printf(&b, "%s;\n", t[k].sql);
			sql(w,
			    k == 0 ? "CREATE TABLE towline_log (layout, op, at, c0, c1, c2, c3, c4, c5);"
				     "CREATE TABLE towline_replaced (capture, rid, c0, c1, c2)" : "SELECT 1");
			sql(w, t[k].sql);
		}
		sql(w, "DROP TABLE t; DROP TABLE towline_log; DROP TABLE towline_replaced");
	}
	if (getenv("GOLDEN_WRITE")) {
		f = fopen(GOLDEN, "w");
		assert_non_null(f);
		fwrite(b.p, 1, b.n, f);
		fclose(f);
	}
	f = fopen(GOLDEN, "r");
	assert_non_null(f);
	kept = calloc(1, b.n + 2);
	assert_int_equal(fread(kept, 1, b.n + 1, f), b.n);
	fclose(f);
	assert_string_equal(kept, buf_cstr(&b));
	free(kept);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(triggers_text, setup, teardown),
		cmocka_unit_test_setup_teardown(the_log_is_the_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(a_column_joins, setup, teardown),
		cmocka_unit_test_setup_teardown(names_change, setup, teardown),
		cmocka_unit_test_setup_teardown(made_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(names_move, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_change, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_by_default, setup, teardown),
		cmocka_unit_test_setup_teardown(rowids_move, setup, teardown),
		cmocka_unit_test_setup_teardown(overtaken, setup, teardown),
		cmocka_unit_test_setup_teardown(copied_again, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(slots, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
