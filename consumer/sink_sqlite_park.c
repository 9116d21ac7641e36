/* Parked changes at a SQLite sink. */
#include "consumer/entries.h"
#include "consumer/sink_sqlite.h"
#include "schemas/sql.h"

#define T "towline_parked"
#define M "towline_marker"

static struct sink_sqlite *
self(struct sink *sink)
{
	return (struct sink_sqlite *)sink;
}

/* One statement with text parameters; *st is on its first row, or done when there is none (*row). */
static enum rc
ask(struct sink_sqlite *s, const char *what, const char *sql, int n, const char *const *params,
    sqlite3_stmt **st, bool *row, struct err *err)
{
	enum rc rc = lite_compile(s, what, sql, st, err);
	int step;

	if (rc != OK)
		return rc;
	for (int i = 0; i < n; i++)
		sqlite3_bind_text(*st, i + 1, params[i], -1, SQLITE_STATIC);
	step = sqlite3_step(*st);
	*row = step == SQLITE_ROW;
	if (step == SQLITE_ROW || step == SQLITE_DONE)
		return OK;
	rc = lite_fail(s, what, err);
	sqlite3_finalize(*st);
	*st = NULL;
	return rc == REJECT ? (err->rc = FATAL) : rc;
}

static enum rc
run(struct sink_sqlite *s, const char *what, const char *sql, int n, const char *const *params,
    struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc = ask(s, what, sql, n, params, &st, &row, err);

	sqlite3_finalize(st);
	return rc;
}

/* The first column of the only row; -1: there is none. */
static enum rc
ask_number(struct sink_sqlite *s, const char *what, const char *sql, int n,
    const char *const *params, int64_t *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = ask(s, what, sql, n, params, &st, &row, err);

	*out = row ? sqlite3_column_int64(st, 0) : -1;
	sqlite3_finalize(st);
	return rc;
}

static void
take_cells(sqlite3_stmt *st, int n, const char **cells)
{
	for (int c = 0; c < n; c++)
		cells[c] = (const char *)sqlite3_column_text(st, c);
}

static enum rc
load_keys(struct sink_sqlite *s, struct parked *set, struct err *err)
{
	struct arena a = { 0 };
	const char *base = park_base(s->sink.pipeline, &a);
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = ask(s, "read parked keys", SQL_PARKED_KEYS(T), 1, &base, &st, &row, err);
	int step = row ? SQLITE_ROW : SQLITE_DONE;

	for (; step == SQLITE_ROW; step = sqlite3_step(st)) {
		const char *cells[PARKED_KEY_CELLS];

		take_cells(st, PARKED_KEY_CELLS, cells);
		park_key(cells, set);
	}
	if (rc == OK && step != SQLITE_DONE)
		rc = lite_fail(s, "read parked keys", err);
	sqlite3_finalize(st);
	arena_free(&a);
	return rc;
}

static enum rc
lite_load(struct sink *sink, struct parked *set, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	/* The version first: should somebody come in between, it is the set that is too new, and that shows. */
	enum rc rc = ask_number(
	    s, "marker", SQL_PARKED_VERSION(M), 1, &sink->pipeline, &s->parked_version, err);

	return rc == OK ? load_keys(s, set, err) : rc;
}

static enum rc
lite_ids(struct sink *sink, int n, int64_t *first, struct err *err)
{
	struct arena a = { 0 };
	const char *params[] = { arena_printf(&a, "%d", n), park_base(sink->pipeline, &a) };
	enum rc rc = ask_number(
	    self(sink), "number parked changes", SQL_PARKED_IDS(M), 2, params, first, err);

	*first += 1 - n;
	if (rc == OK && *first < 1)
		rc =
		    fail(err, FATAL, "sink %s: there is no marker %s", sink->conf->name, params[1]);
	arena_free(&a);
	return rc;
}

static enum rc
lite_put(struct sink *sink, const struct parked_entry *e, int n, struct err *err)
{
	struct arena a = { 0 };
	struct buf json = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), NULL };
	enum rc rc;

	park_json(e, n, false, &json);
	params[1] = buf_cstr(&json);
	rc = run(self(sink), "park changes", SQL_SQLITE_PARK, 2, params, err);
	buf_free(&json);
	arena_free(&a);
	return rc;
}

static enum rc
lite_drop_table(struct sink *sink, const struct table *tbl, int64_t *n, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct arena a = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), arena_text(&a, tbl->schema),
		arena_text(&a, tbl->name) };
	enum rc rc = run(s, "drop parked changes", SQL_UNPARK_TABLE(T), 3, params, err);

	*n = rc == OK ? sqlite3_changes(s->db) : 0;
	arena_free(&a);
	return rc;
}

static enum rc
lite_note_names(struct sink *sink, struct slice schema, struct slice table, const struct names_at *at, const char *names, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = run(self(sink), "note a table's columns", SQL_NAMES_NOTE("towline_names"), NAMES_PARAMS,
	    names_params(sink, schema, table, at, names, &a), err);

	arena_free(&a);
	return rc;
}

static enum rc
lite_names(struct sink *sink, const struct parked_entry *e, struct arena *a, const char ***out, int *n, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	const char **params = names_params(sink, slice_of(e->schema), slice_of(e->table), &(struct names_at){ e->seq, e->index }, NULL, a);
	const char **texts = NULL;
	sqlite3_stmt *st = NULL;
	bool row = false;
	int cap = 0, step;
	enum rc rc;

	*n = 0;
	rc = ask(s, "read a table's columns", SQL_NAMES_SINCE("towline_names"), NAMES_PARAMS - 1, params, &st, &row, err);
	for (step = row ? SQLITE_ROW : SQLITE_DONE; step == SQLITE_ROW; step = sqlite3_step(st)) {
		if (*n == cap) {
			const char **more = arena_array(a, (size_t)cap * 2 + 16, sizeof *more);

			if (cap)
				memcpy(more, texts, (size_t)cap * sizeof *more);
			texts = more;
			cap = cap * 2 + 16;
		}
		texts[(*n)++] = arena_text(a, slice_of((const char *)sqlite3_column_text(st, 0)));
	}
	if (rc == OK && step != SQLITE_DONE)
		rc = lite_fail(s, "read a table's columns", err);
	sqlite3_finalize(st);
	*out = texts;
	return rc;
}

static enum rc
lite_tell_lanes(struct sink *sink, struct err *err)
{
	struct arena a = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), sink->pipeline };
	enum rc rc = OK;

	if (strcmp(params[0], params[1]) != 0)
		rc = run(self(sink), "marker", SQL_PARKED_TOUCH(M), 2, params, err);
	arena_free(&a);
	return rc;
}

/* ---- for towline dlq ---- */

static enum rc
lite_lock(struct sink *sink, struct marker *at, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	enum rc rc = lite_exec(s, "begin", "BEGIN IMMEDIATE", err);

	if (rc != OK)
		return rc;
	s->open = true;
	rc = lite_read_marker(s, at, err); /* beside the consumer */
	s->expected = s->next = *at;
	return rc;
}

static enum rc
lite_read(struct sink *sink, const struct parked_query *q, struct arena *a,
    struct parked_entry **out, int *n, struct err *err)
{
	return entries_sqlite(self(sink)->db, sink->pipeline, q, a, out, n, err);
}

static enum rc
lite_try(struct sink *sink, const struct batch *b, int *rows, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct err why;
	enum rc rc = lite_exec(s, "savepoint", "SAVEPOINT towline_try", err);

	for (*rows = 0; *rows < b->nrows && rc == OK; *rows += rc == OK)
		rc = lite_row(s, &b->rows[*rows], err);
	if (rc != OK && rc != REJECT)
		return rc;
	if (lite_exec(s, "release",
		rc == OK ? "RELEASE towline_try" : "ROLLBACK TO towline_try; RELEASE towline_try",
		&why) != OK)
		return *err = why, why.rc;
	return rc;
}

static enum rc
lite_remove(struct sink *sink, const int64_t *ids, int n, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct buf json = { 0 };
	const char *params[] = { sink->pipeline, NULL }, *all[] = { sink->pipeline, "" };
	enum rc rc;

	park_ids_json(ids, n, &json);
	params[1] = buf_cstr(&json);
	rc = run(s, "drop parked changes", SQL_UNPARK(T, SQL_SQLITE_IDS), 2, params, err);
	if (rc == OK)
		rc = run(
		    s, "drop parked changes", SQL_UNPARK_BEHIND(T, SQL_SQLITE_IDS), 2, params, err);
	if (rc == OK)
		rc = run(s, "marker", SQL_PARKED_TOUCH(M), 2, all, err);
	buf_free(&json);
	return rc;
}

const struct park_ops lite_park_ops = {
	.load = lite_load,
	.ids = lite_ids,
	.put = lite_put,
	.drop_table = lite_drop_table,
	.note_names = lite_note_names,
	.names = lite_names,
	.tell_lanes = lite_tell_lanes,
	.lock = lite_lock,
	.read = lite_read,
	.try = lite_try,
	.remove = lite_remove,
};
