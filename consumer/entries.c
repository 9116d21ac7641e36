#include "consumer/entries.h"
#include "consumer/marker.h"
#include "consumer/sink_impl.h"
#include "schemas/sql.h"

#include <stdlib.h>

static const char pg_there[] =
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'towline' AND c.relname = 'parked')";
static const char lite_there[] =
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'towline_parked'";

enum rc
entries_pg(PGconn *conn, const char *pipeline, const struct parked_query *q, struct arena *a,
    struct parked_entry **out, int *n, struct err *err)
{
	struct park_params p;
	PGresult *res;
	enum rc rc;

	park_params(pipeline, q, &p);
	rc = pg_exec_params(
	    conn, "read parked changes", SQL_PG_PARKED_READ, PARKED_PARAMS, p.values, &res, err);
	if (rc != OK)
		return rc;
	*n = PQntuples(res);
	*out = arena_array(a, (size_t)*n + 1, sizeof **out);
	for (int i = 0; i < *n; i++) {
		const char *cells[PARKED_CELLS];

		for (int c = 0; c < PARKED_CELLS; c++)
			cells[c] = PQgetisnull(res, i, c) ? NULL : PQgetvalue(res, i, c);
		park_entry(cells, a, &(*out)[i]);
	}
	PQclear(res);
	return OK;
}

enum rc
entries_sqlite(sqlite3 *db, const char *pipeline, const struct parked_query *q, struct arena *a,
    struct parked_entry **out, int *n, struct err *err)
{
	struct park_params p;
	sqlite3_stmt *st = NULL;
	int cap = 64, code;

	*n = 0;
	*out = arena_array(a, (size_t)cap, sizeof **out);
	park_params(pipeline, q, &p);
	code = sqlite3_prepare_v2(db, SQL_SQLITE_PARKED_READ, -1, &st, NULL);
	for (int i = 0; code == SQLITE_OK && i < PARKED_PARAMS; i++)
		sqlite3_bind_text(st, i + 1, p.values[i], -1, SQLITE_STATIC);
	for (; code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW; code = SQLITE_OK) {
		const char *cells[PARKED_CELLS];

		if (*n == cap) {
			struct parked_entry *more = arena_array(a, (size_t)cap * 2, sizeof *more);

			memcpy(more, *out, (size_t)cap * sizeof *more);
			*out = more;
			cap *= 2;
		}
		for (int c = 0; c < PARKED_CELLS; c++)
			cells[c] = (const char *)sqlite3_column_text(st, c);
		park_entry(cells, a, &(*out)[(*n)++]);
	}
	sqlite3_finalize(st);
	return code == SQLITE_DONE ? OK
				   : fail(err, (code & 0xff) == SQLITE_BUSY ? RETRY : FATAL,
					 "read parked changes: %s", sqlite3_errmsg(db));
}

/* ---- from outside ---- */

/* Either of the two; none: nothing has been there yet. */
struct place {
	PGconn *pg;
	sqlite3 *lite;
};

static enum rc
lite_fail(sqlite3 *db, struct err *err)
{
	int code = sqlite3_errcode(db) & 0xff;

	return fail(err, code == SQLITE_BUSY || code == SQLITE_LOCKED ? RETRY : FATAL, "%s: %s",
	    sqlite3_db_filename(db, "main"), sqlite3_errmsg(db));
}

static enum rc
place_open(const struct conf_sink *conf, struct place *p, bool *there, struct err *err)
{
	const char *path = marker_sqlite_path(conf->url);
	sqlite3_stmt *st = NULL;
	PGresult *res = NULL;
	enum rc rc;

	*there = false;
	if (path) {
		rc = marker_sqlite_open(path, &p->lite, err);
		if (rc != OK || !p->lite)
			return rc;
		if (sqlite3_prepare_v2(p->lite, lite_there, -1, &st, NULL) != SQLITE_OK)
			return lite_fail(p->lite, err);
		*there = sqlite3_step(st) == SQLITE_ROW;
		return sqlite3_finalize(st) == SQLITE_OK ? OK : lite_fail(p->lite, err);
	}
	rc = pg_connect(conf->url, false, &p->pg, err);
	if (rc == OK)
		rc = pg_exec(p->pg, "look for parked changes", pg_there, &res, err);
	if (rc == OK)
		*there = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	return rc;
}

static void
place_close(struct place *p)
{
	PQfinish(p->pg);
	sqlite3_close(p->lite);
}

enum rc
entries_look(const char *pipeline, const struct conf_sink *conf, const struct parked_query *q,
    struct arena *a, struct parked_entry **out, int *n, struct err *err)
{
	struct place p = { 0 };
	bool there;
	enum rc rc = place_open(conf, &p, &there, err);

	*n = 0;
	if (rc == OK && there)
		rc = p.pg ? entries_pg(p.pg, pipeline, q, a, out, n, err)
			  : entries_sqlite(p.lite, pipeline, q, a, out, n, err);
	place_close(&p);
	return rc;
}

static enum rc
count_pg(PGconn *conn, const char *pipeline, int64_t *changes, int64_t *causes, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "count parked changes",
	    SQL_PARKED_COUNT("towline.parked"), 1, &pipeline, &res, err);

	if (rc == OK) {
		*changes = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
		*causes = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
	}
	PQclear(res);
	return rc;
}

static enum rc
count_sqlite(sqlite3 *db, const char *pipeline, int64_t *changes, int64_t *causes, struct err *err)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, SQL_PARKED_COUNT("towline_parked"), -1, &st, NULL) != SQLITE_OK)
		return lite_fail(db, err);
	sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*changes = sqlite3_column_int64(st, 0);
		*causes = sqlite3_column_int64(st, 1);
	}
	return sqlite3_finalize(st) == SQLITE_OK ? OK : lite_fail(db, err);
}

enum rc
entries_count(const char *pipeline, const struct conf_sink *conf, int64_t *changes, int64_t *causes,
    struct err *err)
{
	struct place p = { 0 };
	bool there;
	enum rc rc = place_open(conf, &p, &there, err);

	*changes = *causes = 0;
	if (rc == OK && there)
		rc = p.pg ? count_pg(p.pg, pipeline, changes, causes, err)
			  : count_sqlite(p.lite, pipeline, changes, causes, err);
	place_close(&p);
	return rc;
}
