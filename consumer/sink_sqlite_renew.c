/* A SQLite sink that begins anew: its tables are copied again. */
#include "consumer/sink_sqlite.h"
#include "core/pg.h"

#include <inttypes.h>
#include <stdio.h>

static enum rc
empty(struct sink_sqlite *s, struct slice table, struct err *err)
{
	struct arena a = { 0 };
	struct buf sql = { 0 };
	sqlite3_stmt *st = NULL;
	bool there;
	enum rc rc = lite_compile(s, "look for a table",
	    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE", &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, table.p, (int)table.n, SQLITE_STATIC);
	there = sqlite3_step(st) == SQLITE_ROW;
	sqlite3_finalize(st);
	buf_printf(&sql, "DELETE FROM %s", pg_ident(&a, table));
	if (there)
		rc = lite_exec(s, "empty the tables", buf_cstr(&sql), err);
	buf_free(&sql);
	arena_free(&a);
	return rc;
}

/* What belongs to this pipeline, named ?1. */
static enum rc
of_pipeline(struct sink_sqlite *s, const char *what, const char *sql, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, what, sql, &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, s->sink.pipeline, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		rc = lite_fail(s, what, err);
	sqlite3_finalize(st);
	return rc;
}

static enum rc
set_marker(struct sink_sqlite *s, const struct marker *to, struct err *err)
{
	char sql[400];

	snprintf(sql, sizeof sql,
	    "UPDATE towline_marker SET spine_offset = %" PRId64 ", spine_hash = %" PRId64 ", gen = %" PRId64 ", token = %" PRId64
	    ", no = %" PRId64 ", seq = %" PRId64 ", lsn = %" PRId64 ", commit_us = %" PRId64 ", system_id = %" PRId64
	    ", applied_at = CURRENT_TIMESTAMP, parked_version = parked_version + 1 WHERE name = ?1",
	    to->spine_offset, (int64_t)to->spine_hash, (int64_t)to->gen, (int64_t)to->token, (int64_t)to->no, (int64_t)to->seq,
	    (int64_t)to->lsn, to->commit_us, (int64_t)to->system_id);
	return of_pipeline(s, "set the marker", sql, err);
}

enum rc
lite_renew(struct sink *sink, const struct marker *to, const struct sink_name *tables, int n, struct err *err)
{
	struct sink_sqlite *s = (struct sink_sqlite *)sink;
	struct position *known;
	struct arena a = { 0 };
	int nknown;
	enum rc rc = sink->ops->positions->read(sink, &a, &known, &nknown, err); /* makes the table when it is missing */

	arena_free(&a);
	if (rc == OK)
		rc = lite_exec(s, "begin", "BEGIN IMMEDIATE", err);
	if (rc != OK)
		return rc == REJECT ? (err->rc = FATAL) : rc;
	for (int i = 0; i < n && rc == OK; i++)
		rc = empty(s, tables[i].table, err);
	if (rc == OK)
		rc = of_pipeline(s, "forget what is parked", "DELETE FROM towline_parked WHERE pipeline = ?1", err);
	if (rc == OK)
		rc = of_pipeline(s, "forget the positions", "DELETE FROM towline_position WHERE pipeline = ?1", err);
	if (rc == OK)
		rc = set_marker(s, to, err);
	if (rc == OK)
		rc = lite_exec(s, "commit", "COMMIT", err);
	if (rc != OK)
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc == REJECT ? (err->rc = FATAL) : rc;
}
