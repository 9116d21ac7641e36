#include "control/store.h"
#include "consumer/mapping.h"
#include "consumer/marker.h"
#include "core/pg.h"
#include "core/quote.h"
#include "core/sqlite.h"
#include "core/suggest.h"
#include "producer/capture.h"

#include <math.h>
#include <stdlib.h>

enum { COLUMNS_MAX = 1664, BUSY_MS = 10000 };

struct store {
	PGconn *pg;
	sqlite3 *db;
};

enum rc
store_open(const char *url, bool write, struct store **out, struct err *err)
{
	const char *path = marker_sqlite_path(url);
	struct store *s = calloc(1, sizeof *s);
	enum rc rc;

	if (!s)
		die("out of memory");
	if (path && write)
		rc = sqlite_open_there(path, BUSY_MS, &s->db, err);
	else if (path)
		rc = marker_sqlite_open(path, &s->db, err);
	else
		rc = pg_connect(url, false, &s->pg, err);
	if (rc == OK && path && !s->db)
		rc = fail(err, RETRY, "there is no file %s yet", path);
	if (rc == OK && s->db)
		sqlite3_busy_timeout(s->db, BUSY_MS);
	if (rc != OK) {
		store_close(s);
		return rc;
	}
	*out = s;
	return OK;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	PQfinish(s->pg);
	sqlite3_close(s->db);
	free(s);
}

/* ---- tables ---- */

static enum rc
no_table(const struct suggestion *near, const char *name, struct err *err)
{
	if (near->best.n)
		return fail_exit(err, FATAL, EXIT_USAGE, "there is no table %s; did you mean %.*s?",
		    name, SLICE_ARG(near->best));
	return fail_exit(err, FATAL, EXIT_USAGE, "there is no table %s", name);
}

static enum rc
pg_table(struct store *s, const char *name, struct slice schema, struct slice table,
    struct arena *a, struct store_table *out, struct err *err)
{
	static const char columns[] =
	    "SELECT attname, format_type(atttypid, atttypmod), coalesce(array_position(indkey::int2[], attnum) + 1, 0)"
	    " FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary"
	    " WHERE attrelid = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
	    " WHERE nspname = $1 AND relname = $2 AND relkind IN ('r', 'p')) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
	const char *params[] = { arena_text(a, schema), arena_text(a, table) };
	struct suggestion near = { .word = table };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(s->pg, "columns", columns, 2, params, &res, err);

	if (rc != OK)
		return rc;
	out->ncols = PQntuples(res);
	out->cols = arena_array(a, (size_t)out->ncols + 1, sizeof *out->cols);
	for (int i = 0; i < out->ncols; i++) {
		out->cols[i].name = arena_text(a, slice_of(PQgetvalue(res, i, 0)));
		out->cols[i].type = arena_text(a, slice_of(PQgetvalue(res, i, 1)));
		out->cols[i].key = (int)strtol(PQgetvalue(res, i, 2), NULL, 10);
		out->nkeys += out->cols[i].key > 0;
	}
	PQclear(res);
	out->quoted = arena_printf(a, "%s.%s", pg_ident(a, schema), pg_ident(a, table));
	if (out->ncols)
		return OK;
	rc = pg_exec_params(s->pg, "tables",
	    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind IN ('r', 'p')",
	    1, params, &res, err);
	if (rc != OK)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		suggest_offer(&near, slice_of(PQgetvalue(res, i, 0)));
	rc = no_table(&near, name, err);
	PQclear(res);
	return rc;
}

static enum rc
lite_error(struct store *s, struct err *err)
{
	return fail(err, RETRY, "SQLite: %s", sqlite3_errmsg(s->db));
}

static enum rc
lite_table(struct store *s, const char *name, struct slice schema, struct slice table,
    struct arena *a, struct store_table *out, struct err *err)
{
	const char *plain = slice_is(schema, "public") || slice_is(schema, "main") || !schema.n
	    ? arena_text(a, table)
	    : arena_printf(a, "%.*s_%.*s", SLICE_ARG(schema), SLICE_ARG(table));
	struct suggestion near = { .word = slice_of(plain) };
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(
		s->db, "SELECT name, type, pk FROM pragma_table_info(?1)", -1, &st, NULL))
		return lite_error(s, err);
	sqlite3_bind_text(st, 1, plain, -1, SQLITE_STATIC);
	out->cols = arena_array(a, COLUMNS_MAX, sizeof *out->cols);
	while (out->ncols < COLUMNS_MAX && sqlite3_step(st) == SQLITE_ROW) {
		struct store_column *c = &out->cols[out->ncols++];

		c->name = arena_text(a, slice_of((const char *)sqlite3_column_text(st, 0)));
		c->type = arena_text(a, slice_of((const char *)sqlite3_column_text(st, 1)));
		c->key = sqlite3_column_int(st, 2);
		out->nkeys += c->key > 0;
	}
	sqlite3_finalize(st);
	out->quoted = pg_ident(a, slice_of(plain));
	if (out->ncols)
		return OK;
	if (sqlite3_prepare_v2(
		s->db, "SELECT name FROM sqlite_master WHERE type = 'table'", -1, &st, NULL))
		return lite_error(s, err);
	while (sqlite3_step(st) == SQLITE_ROW)
		suggest_offer(&near,
		    slice_of(arena_text(a, slice_of((const char *)sqlite3_column_text(st, 0)))));
	sqlite3_finalize(st);
	return no_table(&near, name, err);
}

enum rc
store_table(struct store *s, const struct conf *conf, const char *name, const struct conf_sink *sink, struct arena *a,
    struct store_table *out, struct err *err)
{
	const char *dot = strchr(name, '.');
	struct slice in = dot ? (struct slice){ name, (size_t)(dot - name) } : conf_schema(conf);
	struct slice table = slice_of(dot ? dot + 1 : name);

	*out = (struct store_table){ .named = name, .schema = in, .table = table };
	if (sink)
		mapping_name(sink, in, table, a, &in, &table);
	return s->pg ? pg_table(s, name, in, table, a, out, err)
		     : lite_table(s, name, in, table, a, out, err);
}

int
store_column(const struct store_table *t, const char *name, size_t n, struct err *err)
{
	struct suggestion near = { .word = { name, n } };

	for (int i = 0; i < t->ncols; i++) {
		if (strlen(t->cols[i].name) == n && memcmp(t->cols[i].name, name, n) == 0)
			return i;
		suggest_offer(&near, slice_of(t->cols[i].name));
	}
	if (near.best.n)
		(void)fail_exit(err, FATAL, EXIT_USAGE,
		    "table %s has no column %.*s; did you mean %.*s?", t->named, (int)n, name,
		    SLICE_ARG(near.best));
	else
		(void)fail_exit(
		    err, FATAL, EXIT_USAGE, "table %s has no column %.*s", t->named, (int)n, name);
	return -1;
}

/* ---- reading ---- */

/* No casts: the server takes a text as its column's type, and one to varchar(3) would cut it short. */
/* " WHERE k = $1 AND ..." with the numbers from `first` on, for the values of key columns; the parameters follow. */
static void
put_where(const struct store_table *t, const struct store_value *v, int n, bool pg, struct arena *a,
    struct buf *sql, const char **params, int *nparams)
{
	const char *sep = " WHERE ";

	for (int i = 0; i < n; i++) {
		const struct store_column *c = &t->cols[v[i].col];

		if (!c->key)
			continue;
		params[(*nparams)++] = v[i].text;
		buf_printf(sql, "%s%s = ", sep, pg_ident(a, slice_of(c->name)));
		buf_printf(sql, "%c%d", pg ? '$' : '?', *nparams);
		sep = " AND ";
	}
}

static void
lite_value(sqlite3_stmt *st, int i, struct buf *json)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = sqlite3_column_blob(st, i);
	double d;

	switch (sqlite3_column_type(st, i)) {
	case SQLITE_NULL: buf_text(json, "null"); break;
	case SQLITE_INTEGER: buf_text(json, (const char *)sqlite3_column_text(st, i)); break;
	case SQLITE_FLOAT:
		d = sqlite3_column_double(st, i);
		if (isfinite(d))
			buf_printf(json, "%.17g", d);
		else
			buf_printf(json, "\"%s\"", d < 0 ? "-Infinity" : "Infinity");
		break;
	case SQLITE_BLOB:
		buf_text(json, "\"\\\\x");
		for (int k = 0; k < sqlite3_column_bytes(st, i); k++) {
			buf_byte(json, (uint8_t)hex[p[k] >> 4]);
			buf_byte(json, (uint8_t)hex[p[k] & 15]);
		}
		buf_byte(json, '"');
		break;
	default:
		quote_json(
		    json, (struct slice){ (const char *)p, (size_t)sqlite3_column_bytes(st, i) });
		break;
	}
}

static enum rc
lite_get(struct store *s, const char *sql, const char **params, int n, struct buf *json,
    bool *found, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int code;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL))
		return lite_error(s, err);
	for (int i = 0; i < n; i++)
		sqlite3_bind_text(st, i + 1, params[i], -1, SQLITE_STATIC);
	code = sqlite3_step(st);
	*found = code == SQLITE_ROW;
	for (int i = 0; *found && i < sqlite3_column_count(st); i++) {
		buf_byte(json, i ? ',' : '{');
		quote_json(json, slice_of(sqlite3_column_name(st, i)));
		buf_byte(json, ':');
		lite_value(st, i, json);
	}
	if (*found)
		buf_byte(json, '}');
	sqlite3_finalize(st);
	return code == SQLITE_ROW || code == SQLITE_DONE ? OK : lite_error(s, err);
}

static enum rc
pg_get(struct store *s, const char *sql, const char **params, int n, struct buf *json, bool *found,
    struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(s->pg, "read", sql, n, params, &res, err);

	*found = rc == OK && PQntuples(res) > 0;
	if (*found)
		buf_text(json, PQgetvalue(res, 0, 0));
	PQclear(res);
	return rc;
}

enum rc
store_get(struct store *s, const struct store_table *t, const struct store_value *keys, int n,
    struct buf *json, bool *found, struct err *err)
{
	const char *params[COLUMNS_MAX];
	struct arena a = { 0 };
	struct buf sql = { 0 };
	int nparams = 0;
	enum rc rc;

	buf_printf(&sql, s->pg ? "SELECT row_to_json(t.*) FROM %s t" : "SELECT * FROM %s", t->quoted);
	put_where(t, keys, n, s->pg, &a, &sql, params, &nparams);
	rc = (s->pg ? pg_get : lite_get)(s, buf_cstr(&sql), params, nparams, json, found, err);
	buf_free(&sql);
	arena_free(&a);
	return rc;
}

/* ---- writing ---- */

static void
put_insert(const struct store_table *t, const struct store_value *v, int n, struct arena *a,
    struct buf *sql, const char **params, int *nparams)
{
	buf_printf(sql, "INSERT INTO %s (", t->quoted);
	for (int i = 0; i < n; i++)
		buf_printf(
		    sql, "%s%s", i ? ", " : "", pg_ident(a, slice_of(t->cols[v[i].col].name)));
	buf_text(sql, ") VALUES (");
	for (int i = 0; i < n; i++) {
		params[(*nparams)++] = v[i].text;
		buf_printf(sql, "%s$%d", i ? ", " : "", *nparams);
	}
	buf_byte(sql, ')');
}

static void
put_update(const struct store_table *t, const struct store_value *v, int n, struct arena *a,
    struct buf *sql, const char **params, int *nparams)
{
	const char *sep = " SET ";

	buf_printf(sql, "UPDATE %s", t->quoted);
	for (int i = 0; i < n; i++) {
		const struct store_column *c = &t->cols[v[i].col];

		if (c->key)
			continue;
		params[(*nparams)++] = v[i].text;
		buf_printf(sql, "%s%s = $%d", sep, pg_ident(a, slice_of(c->name)), *nparams);
		sep = ", ";
	}
	put_where(t, v, n, true, a, sql, params, nparams);
}

/* In an open transaction: the statement, and that it did exactly what was asked for. */
static enum rc
write_row(struct store *s, const char *sql, const char **params, int n, const struct store_table *t,
    struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(s->pg, "write", sql, n, params, &res, err);
	long rows = rc == OK ? strtol(PQcmdTuples(res), NULL, 10) : 0;

	PQclear(res);
	if (rc == REJECT)
		return fail(err, FATAL, "%s", err->text);
	if (rc == OK && rows != 1)
		return fail(
		    err, FATAL, "there is no such row in %s; nothing was written", t->named);
	return rc;
}

static enum rc
mark(struct store *s, uint32_t *xid, uint64_t *lsn, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(s->pg, "position",
	    "SELECT (pg_current_xact_id()::text::numeric % 4294967296)::text, pg_current_wal_insert_lsn()",
	    &res, err);

	if (rc == OK) {
		*xid = (uint32_t)strtoul(PQgetvalue(res, 0, 0), NULL, 10);
		if (!pg_lsn_parse(PQgetvalue(res, 0, 1), lsn))
			rc = fail(err, FATAL, "the server does not tell its LSN");
	}
	PQclear(res);
	return rc;
}

static enum rc
lite_row(struct store *s, const char *sql, const char **params, int n, const struct store_table *t, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(s->db, "write", sql, &st, err);

	if (rc != OK)
		return rc;
	for (int i = 0; i < n; i++)
		sqlite3_bind_text(st, i + 1, params[i], -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		rc = sqlite_fail(s->db, "write", err);
	else if (sqlite3_changes(s->db) != 1)
		rc = fail(err, FATAL, "there is no such row in %s; nothing was written", t->named);
	sqlite3_finalize(st);
	return rc == REJECT ? fail(err, FATAL, "%s", err->text) : rc;
}

/* The log is in the same transaction: its end is the LSN of what was written. */
static enum rc
lite_write(struct store *s, const char *sql, const char **params, int n, const struct store_table *t, uint64_t *lsn, struct err *err)
{
	int64_t installed = 0;
	enum rc rc = sqlite_run(s->db, "begin", "BEGIN IMMEDIATE", err);

	if (rc == OK)
		rc = capture_id(s->db, &installed, err);
	if (rc == OK && !installed)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "its changes are not logged, so nothing was written; run towline source install");
	if (rc == OK)
		rc = lite_row(s, sql, params, n, t, err);
	if (rc == OK)
		rc = capture_end(s->db, lsn, err);
	if (rc == OK)
		rc = sqlite_run(s->db, "commit", "COMMIT", err);
	return rc; /* what is open is rolled back when the store is closed */
}

static enum rc
pg_write(struct store *s, const char *sql, const char **params, int n, const struct store_table *t, uint32_t *xid, uint64_t *lsn,
    struct err *err)
{
	enum rc rc = pg_exec(s->pg, "begin", "BEGIN", NULL, err);

	if (rc == OK)
		rc = write_row(s, sql, params, n, t, err);
	if (rc == OK)
		rc = mark(s, xid, lsn, err);
	if (rc == OK)
		rc = pg_exec(s->pg, "commit", "COMMIT", NULL, err);
	return rc == REJECT ? fail(err, FATAL, "%s", err->text) : rc;
}

enum rc
store_write(struct store *s, const struct store_table *t, enum store_write what,
    const struct store_value *v, int n, uint32_t *xid, uint64_t *lsn, struct err *err)
{
	const char *params[COLUMNS_MAX];
	struct arena a = { 0 };
	struct buf sql = { 0 };
	int nparams = 0;
	enum rc rc;

	if (what == STORE_INSERT)
		put_insert(t, v, n, &a, &sql, params, &nparams);
	else if (what == STORE_UPDATE)
		put_update(t, v, n, &a, &sql, params, &nparams);
	else
		buf_printf(&sql, "DELETE FROM %s", t->quoted),
		    put_where(t, v, n, true, &a, &sql, params, &nparams);
	rc = s->pg ? pg_write(s, buf_cstr(&sql), params, nparams, t, xid, lsn, err)
		   : lite_write(s, buf_cstr(&sql), params, nparams, t, lsn, err);
	buf_free(&sql);
	arena_free(&a);
	return rc;
}
