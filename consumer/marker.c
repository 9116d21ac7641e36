#include "consumer/marker.h"
#include "core/sqlite.h"
#include "schemas/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

static const struct marker never = { .spine_offset = -1 };

static int64_t
number(const PGresult *res, int col)
{
	return strtoll(PQgetvalue(res, 0, col), NULL, 10);
}

static enum rc
there(PGconn *conn, bool *yes, struct err *err)
{
	static const char sql[] = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = 'towline' AND c.relname = 'marker')";
	PGresult *res = NULL;
	enum rc rc = pg_exec(conn, "look for the marker", sql, &res, err);

	if (rc != OK)
		return rc;
	*yes = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	return OK;
}

enum rc
marker_pg(PGconn *conn, const char *pipeline, struct marker *out, bool *found, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = there(conn, found, err);

	*out = never;
	if (rc == OK && *found)
		rc = pg_exec_params(conn, "read the marker", SQL_PG_MARKER_READ, 1, &pipeline, &res, err);
	if (rc != OK || !*found)
		return rc;
	*found = PQntuples(res) == 1;
	if (*found) {
		*out = (struct marker){ .spine_offset = number(res, 0),
			.spine_hash = (uint64_t)number(res, 1),
			.gen = (uint64_t)number(res, 2),
			.token = (uint64_t)number(res, 3),
			.no = (uint64_t)number(res, 4),
			.seq = (uint64_t)number(res, 5),
			.commit_us = number(res, 7),
			.system_id = (uint64_t)number(res, 8) };
		if (!pg_lsn_parse(PQgetvalue(res, 0, 6), &out->lsn))
			rc = fail(err, FATAL, "marker of %s: LSN \"%s\" is malformed", pipeline, PQgetvalue(res, 0, 6));
		*found = out->spine_offset >= 0; /* the row is made before the first transaction is applied */
	}
	PQclear(res);
	return rc;
}

/* ---- SQLite ---- */

const char *
marker_sqlite_path(const char *url)
{
	return sqlite_url_path(url);
}

static enum rc
lite_fail(sqlite3 *db, const char *path, struct err *err)
{
	int code = sqlite3_errcode(db) & 0xff;

	return fail(err, code == SQLITE_BUSY || code == SQLITE_LOCKED ? RETRY : FATAL, "%s: %s", path, sqlite3_errmsg(db));
}

enum rc
marker_sqlite_open(const char *path, sqlite3 **out, struct err *err)
{
	enum rc rc;

	*out = NULL;
	if (access(path, F_OK) != 0)
		return errno == ENOENT ? OK : fail(err, FATAL, "%s: %s", path, strerror(errno));
	if (sqlite3_open_v2(path, out, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(*out, BUSY_MS);
		return OK;
	}
	rc = *out ? lite_fail(*out, path, err) : fail(err, FATAL, "%s: out of memory", path);
	sqlite3_close(*out);
	*out = NULL;
	return rc;
}

static void
take_row(sqlite3_stmt *st, struct marker *out)
{
	*out = (struct marker){ .spine_offset = sqlite3_column_int64(st, 0),
		.spine_hash = (uint64_t)sqlite3_column_int64(st, 1),
		.gen = (uint64_t)sqlite3_column_int64(st, 2),
		.token = (uint64_t)sqlite3_column_int64(st, 3),
		.no = (uint64_t)sqlite3_column_int64(st, 4),
		.seq = (uint64_t)sqlite3_column_int64(st, 5),
		.lsn = (uint64_t)sqlite3_column_int64(st, 6),
		.commit_us = sqlite3_column_int64(st, 7),
		.system_id = (uint64_t)sqlite3_column_int64(st, 8) };
}

enum rc
marker_sqlite(sqlite3 *db, const char *pipeline, struct marker *out, bool *found, struct err *err)
{
	const char *path = sqlite3_db_filename(db, "main");
	sqlite3_stmt *st = NULL;
	enum rc rc = OK;
	int code;

	*out = never;
	*found = false;
	if (sqlite3_prepare_v2(db,
		"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'towline_marker'", -1,
		&st, NULL) != SQLITE_OK)
		return lite_fail(db, path, err);
	code = sqlite3_step(st);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		rc = lite_fail(db, path, err);
	sqlite3_finalize(st);
	if (rc != OK || code == SQLITE_DONE)
		return rc;
	if (sqlite3_prepare_v2(db, SQL_SQLITE_MARKER_READ, -1, &st, NULL) != SQLITE_OK)
		return lite_fail(db, path, err);
	sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW) {
		take_row(st, out);
		*found = out->spine_offset >= 0;
	} else if (code != SQLITE_DONE) {
		rc = lite_fail(db, path, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static enum rc
look_sqlite(const char *path, const char *pipeline, struct marker *out, bool *found, struct err *err)
{
	sqlite3 *db;
	enum rc rc = marker_sqlite_open(path, &db, err);

	if (rc == OK && db)
		rc = marker_sqlite(db, pipeline, out, found, err);
	sqlite3_close(db);
	return rc;
}

enum rc
marker_look(const char *pipeline, const struct conf_sink *conf, struct marker *out, bool *found, struct err *err)
{
	const char *path = marker_sqlite_path(conf->url);
	PGconn *conn = NULL;
	enum rc rc;

	*out = never;
	*found = false;
	if (path)
		return look_sqlite(path, pipeline, out, found, err);
	rc = pg_connect(conf->url, false, &conn, err);
	if (rc == OK)
		rc = marker_pg(conn, pipeline, out, found, err);
	PQfinish(conn);
	return rc;
}
