/* A PostgreSQL sink that begins anew: its tables are copied again. */
#include "consumer/sink_pg.h"
#include "schemas/sql.h"

#include <inttypes.h>
#include <stdio.h>

/* What Towline itself writes is no row that could be set aside. */
static enum rc
run(struct sink_pg *s, const char *what, const char *sql, int n, const char *const *params, PGresult **out, struct err *err)
{
	enum rc rc = n ? pg_exec_params(s->conn, what, sql, n, params, out, err) : pg_exec(s->conn, what, sql, out, err);

	return rc == REJECT ? (err->rc = FATAL) : rc;
}

/* One statement for all, so that those that refer to each other can go. */
static enum rc
empty(struct sink_pg *s, const struct sink_name *tables, int n, struct err *err)
{
	struct buf sql = { 0 };
	struct arena a = { 0 };
	enum rc rc = OK;

	for (int i = 0; i < n && rc == OK; i++) {
		const char *params[] = { arena_text(&a, tables[i].schema), arena_text(&a, tables[i].table) };
		PGresult *res = NULL;

		rc = run(s, "look for a table",
		    "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
		    " AND c.relkind IN ('r', 'p')",
		    2, params, &res, err);
		if (rc == OK && PQntuples(res))
			buf_printf(&sql, "%s%s.%s", sql.n ? ", " : "TRUNCATE ", pg_ident(&a, tables[i].schema),
			    pg_ident(&a, tables[i].table));
		PQclear(res);
	}
	if (rc == OK && sql.n)
		rc = run(s, "empty the tables", buf_cstr(&sql), 0, NULL, NULL, err);
	buf_free(&sql);
	arena_free(&a);
	return rc;
}

static enum rc
set_marker(struct sink_pg *s, const struct marker *to, struct err *err)
{
	char lsn[20], sql[400];
	const char *params[] = { s->sink.pipeline, pg_lsn_text(lsn, to->lsn) };

	snprintf(sql, sizeof sql,
	    "UPDATE towline.marker SET spine_offset = %" PRId64 ", spine_hash = %" PRId64 ", gen = %" PRId64 ", token = %" PRId64
	    ", no = %" PRId64 ", seq = %" PRId64 ", lsn = $2, commit_at = 'epoch'::timestamptz + %" PRId64
	    " * interval '1 microsecond', system_id = %" PRId64 ", applied_at = clock_timestamp(), parked_version = parked_version + 1"
	    " WHERE name = $1",
	    to->spine_offset, (int64_t)to->spine_hash, (int64_t)to->gen, (int64_t)to->token, (int64_t)to->no, (int64_t)to->seq,
	    to->commit_us, (int64_t)to->system_id);
	return run(s, "set the marker", sql, 2, params, NULL, err);
}

enum rc
pg_renew(struct sink *sink, const struct marker *to, const struct sink_name *tables, int n, struct err *err)
{
	struct sink_pg *s = (struct sink_pg *)sink;
	struct position *known;
	struct arena a = { 0 };
	int nknown;
	enum rc rc = sink->ops->positions->read(sink, &a, &known, &nknown, err); /* makes the table when it is missing */

	arena_free(&a);
	if (rc == OK)
		rc = run(s, "begin", "BEGIN", 0, NULL, NULL, err);
	if (rc == OK)
		rc = empty(s, tables, n, err);
	if (rc == OK)
		rc = run(s, "forget what is parked", "DELETE FROM towline.parked WHERE pipeline = $1", 1, &sink->pipeline, NULL, err);
	if (rc == OK)
		rc = run(s, "forget the positions", "DELETE FROM towline.position WHERE pipeline = $1", 1, &sink->pipeline, NULL, err);
	if (rc == OK)
		rc = set_marker(s, to, err);
	return rc == OK ? run(s, "commit", "COMMIT", 0, NULL, NULL, err) : rc;
}
