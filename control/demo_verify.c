/*
 * Every row of a table becomes text, column by column, the same whatever database holds it; its
 * 128-bit hash is added up. So equal sums mean equal rows, none missing and none twice, in any
 * order.
 *
 *   row       column ...        in the order of the columns at the source
 *   column    00                NULL
 *             01 length text    length in 8 bytes
 *
 * The text is PostgreSQL's output, but for what SQLite keeps in another way: bool is 0 or 1, float4
 * and float8 have 9 and 17 digits, which tells every two apart, timestamptz is ISO 8601.
 */
#include "control/demo.h"

#include "consumer/marker.h"
#include "core/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* pg_type.dat */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_FLOAT4 = 700, OID_FLOAT8 = 701, OID_TIMESTAMPTZ = 1184 };

struct demo_reader {
	PGconn *pg; /* one of the two */
	sqlite3 *lite;
	char kind[64];
};

struct columns {
	struct arena arena;
	const char *list; /* "a, b, c", quoted */
	unsigned *types;
	int n;
};

/* ---- open and close ---- */

enum rc
demo_reader_open(const char *url, struct demo_reader **out, struct err *err)
{
	struct demo_reader *r = calloc(1, sizeof *r);
	enum rc rc = OK;

	if (!r)
		die("out of memory");
	if (strncmp(url, "sqlite:", 7) != 0) {
		rc = pg_connect(url, false, &r->pg, err);
		if (rc == OK)
			snprintf(r->kind, sizeof r->kind, "PostgreSQL %.*s",
			    (int)strcspn(PQparameterStatus(r->pg, "server_version"), " "),
			    PQparameterStatus(r->pg, "server_version"));
	} else if (sqlite3_open_v2(marker_sqlite_path(url), &r->lite,
		       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		       NULL) != SQLITE_OK) {
		rc = fail(err, FATAL, "%s: %s", url, sqlite3_errmsg(r->lite));
	} else {
		sqlite3_busy_timeout(r->lite, 10000);
		snprintf(r->kind, sizeof r->kind, "SQLite %s", sqlite3_libversion());
	}
	if (rc != OK) {
		demo_reader_close(r);
		r = NULL;
	}
	*out = r;
	return rc;
}

void
demo_reader_close(struct demo_reader *r)
{
	if (!r)
		return;
	PQfinish(r->pg);
	sqlite3_close(r->lite);
	free(r);
}

const char *
demo_reader_kind(struct demo_reader *r)
{
	return r->kind;
}

static enum rc
lite_fail(struct demo_reader *r, const char *what, struct err *err)
{
	return fail(err, FATAL, "%s: %s", what, sqlite3_errmsg(r->lite));
}

enum rc
demo_reader_lsn(struct demo_reader *r, const char *pipeline, uint64_t *lsn, struct err *err)
{
	struct marker m = { 0 };
	bool found;
	enum rc rc = r->pg ? marker_pg(r->pg, pipeline, &m, &found, err)
			   : marker_sqlite(r->lite, pipeline, &m, &found, err);

	*lsn = m.lsn;
	return rc;
}

/* ---- rows ---- */

static enum rc
columns_of(PGconn *source, const char *table, struct columns *c, struct err *err)
{
	struct buf list = { 0 };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(source, "columns",
	    "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = ('public.' || $1)::regclass"
	    " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
	    1, &table, &res, err);

	if (rc != OK)
		return rc;
	c->n = PQntuples(res);
	c->types = arena_array(&c->arena, (size_t)c->n + 1, sizeof *c->types);
	for (int i = 0; i < c->n; i++) {
		buf_printf(&list, "%s%s", i ? ", " : "",
		    pg_ident(&c->arena, slice_of(PQgetvalue(res, i, 0))));
		c->types[i] = (unsigned)strtoul(PQgetvalue(res, i, 1), NULL, 10);
	}
	c->list = arena_text(&c->arena, buf_view(&list));
	buf_free(&list);
	PQclear(res);
	return OK;
}

static void
put(struct buf *row, struct slice text)
{
	buf_byte(row, 1);
	buf_be64(row, text.n);
	buf_slice(row, text);
}

static void
put_float(struct buf *row, unsigned type, double v)
{
	char text[40];

	if (isnan(v)) /* one, whatever its sign */
		snprintf(text, sizeof text, "NaN");
	else
		snprintf(text, sizeof text, type == OID_FLOAT4 ? "%.9g" : "%.17g", v);
	put(row, slice_of(text));
}

/*
 * "2026-01-31 08:00:00.12+00" as SQLite has it: "2026-01-31T08:00:00.120000Z". Anything else
 * (infinity, BC) as it is.
 */
static void
put_moment(struct buf *row, struct slice text)
{
	const char *zone = memchr(text.p, '+', text.n);
	size_t n = zone ? (size_t)(zone - text.p) : 0, digits = n > 20 ? n - 20 : 0;
	char out[40];

	if (n < 19 || digits > 6 || text.n != n + 3 || text.p[10] != ' ') {
		put(row, text);
		return;
	}
	snprintf(out, sizeof out, "%.10sT%.8s.%.*s%.*sZ", text.p, text.p + 11, (int)digits,
	    text.p + 20, 6 - (int)digits, "000000");
	put(row, slice_of(out));
}

/* PostgreSQL's output of one value. */
static void
put_text(struct buf *row, unsigned type, struct slice text)
{
	if (type == OID_BOOL)
		put(row, slice_of(*text.p == 't' ? "1" : "0"));
	else if (type == OID_FLOAT4)
		put_float(row, type, (double)strtof(text.p, NULL));
	else if (type == OID_FLOAT8)
		put_float(row, type, strtod(text.p, NULL));
	else if (type == OID_TIMESTAMPTZ)
		put_moment(row, text);
	else
		put(row, text);
}

static void
put_blob(struct buf *row, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	buf_byte(row, 1);
	buf_be64(row, n * 2 + 2);
	buf_text(row, "\\x");
	for (size_t i = 0; i < n; i++) {
		buf_byte(row, (uint8_t)digits[p[i] >> 4]);
		buf_byte(row, (uint8_t)digits[p[i] & 15]);
	}
}

static void
put_lite(struct buf *row, unsigned type, sqlite3_stmt *st, int col)
{
	int kind = sqlite3_column_type(st, col);

	if (kind == SQLITE_NULL) {
		buf_byte(row, 0);
	} else if (kind == SQLITE_BLOB) {
		const uint8_t *p = sqlite3_column_blob(st, col);

		put_blob(row, p, (size_t)sqlite3_column_bytes(st, col));
	} else if (kind == SQLITE_FLOAT) {
		put_float(row, type, sqlite3_column_double(st, col));
	} else {
		const char *text = (const char *)sqlite3_column_text(st, col);
		struct slice s = { text, (size_t)sqlite3_column_bytes(st, col) };

		/* SQLite turns a NaN into NULL, so that the sink keeps it as text. */
		if (kind == SQLITE_TEXT && (type == OID_FLOAT4 || type == OID_FLOAT8))
			put_text(row, type, s);
		else
			put(row, s);
	}
}

static void
add(struct demo_digest *d, struct buf *row)
{
	XXH128_hash_t h = XXH3_128bits(row->p ? row->p : "", row->n);

	d->rows++;
	d->low += h.low64;
	d->high += h.high64 + (d->low < h.low64);
	buf_reset(row);
}

static enum rc
digest_pg(struct demo_reader *r, const struct columns *c, const char *sql, struct demo_digest *out,
    struct err *err)
{
	struct buf row = { 0 };
	enum rc rc = OK;
	PGresult *res;

	if (!PQsendQuery(r->pg, sql) || !PQsetSingleRowMode(r->pg))
		return pg_fail(r->pg, NULL, err, "read the rows");
	while ((res = PQgetResult(r->pg))) {
		ExecStatusType st = PQresultStatus(res);

		if (st == PGRES_SINGLE_TUPLE) {
			for (int i = 0; i < c->n; i++)
				if (PQgetisnull(res, 0, i))
					buf_byte(&row, 0);
				else
					put_text(&row, c->types[i],
					    (struct slice){ PQgetvalue(res, 0, i),
						(size_t)PQgetlength(res, 0, i) });
			add(out, &row);
		} else if (st != PGRES_TUPLES_OK && rc == OK) {
			rc = pg_fail(r->pg, res, err, "read the rows");
		}
		PQclear(res);
	}
	buf_free(&row);
	return rc;
}

static enum rc
digest_lite(struct demo_reader *r, const struct columns *c, const char *sql,
    struct demo_digest *out, struct err *err)
{
	struct buf row = { 0 };
	sqlite3_stmt *st = NULL;
	enum rc rc = OK;
	int step = SQLITE_DONE;

	if (sqlite3_prepare_v2(r->lite, sql, -1, &st, NULL) != SQLITE_OK)
		return lite_fail(r, sql, err);
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		for (int i = 0; i < c->n; i++)
			put_lite(&row, c->types[i], st, i);
		add(out, &row);
	}
	if (step != SQLITE_DONE)
		rc = lite_fail(r, "read the rows", err);
	sqlite3_finalize(st);
	buf_free(&row);
	return rc;
}

enum rc
demo_reader_digest(struct demo_reader *r, PGconn *source, const char *table,
    struct demo_digest *out, struct err *err)
{
	struct columns c = { 0 };
	enum rc rc = columns_of(source, table, &c, err);

	*out = (struct demo_digest){ 0 };
	if (rc == OK) {
		const char *sql = arena_printf(
		    &c.arena, "SELECT %s FROM %s\"%s\"", c.list, r->pg ? "public." : "", table);

		rc = r->pg ? digest_pg(r, &c, sql, out, err) : digest_lite(r, &c, sql, out, err);
	}
	arena_free(&c.arena);
	return rc == OK ? OK : fail_in(err, "%s, table %s", r->kind, table);
}

bool
demo_digest_same(const struct demo_digest *a, const struct demo_digest *b)
{
	return a->rows == b->rows && a->low == b->low && a->high == b->high;
}
