/*
 * copier_whole.c - a table without a key, read by several connections of one snapshot.
 *
 *   first    BEGIN, LOCK, snapshot | export it, part the heap | COPY part 0 | COPY part 2 | ...         open until all have ended
 *   others                           BEGIN, the snapshot, LOCK     | COPY part 1 | COPY part 3 | ...    ROLLBACK
 *
 * A part is taken by whoever comes to it first, and read to its end by that one. Who dies with a part in hand has given out some of its
 * rows: then the whole copy is void. Who cannot join (no connection is free, somebody waits for a stronger lock and would be overtaken)
 * leaves the parts to the others.
 */
#include "core/now.h"
#include "producer/copier_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	FIRST = 1,
	ROW_BYTES = 16 << 10, /* room for the row that makes a job full, for most */
	MORE_MS = 500, /* then a job brings what it has, if it has something: rows that come slowly are seen to come */
};

/*
 * Without scans of ranges of ctids, each part would be a look at the whole table. And rows that Kafka does not take for a while are not
 * read for as long, which the server must not take for the end of us.
 */
static const char settings[] = "SET LOCAL enable_tidscan = on; SET LOCAL tcp_user_timeout = 0";

enum rc
copier_begin(struct copier *c, struct job *j, struct err *err)
{
	enum rc rc;

	copier_roll_back(c);
	c->torn = false;
	rc = copier_set_path(c, "pg_catalog", err);
	if (rc == OK)
		rc = copier_look(c, j, err);
	c->joined = rc == OK && !j->early && !j->changed;
	if (!c->joined)
		copier_roll_back(c);
	return rc;
}

/*
 * What holds no heap of PostgreSQL's own (a foreign table among the partitions, another access method) has no ctids, or ones that are not
 * found by looking at a range of blocks alone: then one reads it all.
 */
enum rc
copier_share(struct copier *c, struct job *j, struct err *err)
{
	static const char sql[] =
	    "SELECT pg_export_snapshot(), coalesce(sum(blocks), 0), coalesce(max(blocks), 0), coalesce(bool_and(heap), false)"
	    "  FROM (SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8 AS blocks,"
	    "               c.relkind = 'r' AND a.amname = 'heap' AS heap"
	    "          FROM (SELECT relid FROM pg_partition_tree($1::oid::regclass) UNION SELECT $1::oid) t"
	    "          JOIN pg_class c ON c.oid = t.relid LEFT JOIN pg_am a ON a.oid = c.relam WHERE c.relkind <> 'p') heaps";
	char id[24];
	const char *params[1] = { id };
	PGresult *res = NULL;
	int readers;
	enum rc rc;

	if (!c->joined)
		return fail(err, RETRY, "the connection that holds the snapshot of the table was lost");
	snprintf(id, sizeof id, "%u", j->table->relation.relid);
	rc = pg_exec_params(c->conn, "export the snapshot", sql, 1, params, &res, err);
	if (rc == OK) {
		readers = *PQgetvalue(res, 0, 3) == 't' ? j->readers : 1;
		j->parts = parts_of(strtoull(PQgetvalue(res, 0, 1), NULL, 10), strtoull(PQgetvalue(res, 0, 2), NULL, 10), readers);
		j->exported = arena_text(&j->arena, slice_of(PQgetvalue(res, 0, 0)));
	}
	PQclear(res);
	if (rc == OK)
		rc = pg_exec(c->conn, "set up the transaction", settings, NULL, err);
	return rc;
}

/* The first one's transaction is open, with the lock: so this lock is free, unless somebody waits for one that excludes it. */
static enum rc
join(struct copier *c, struct job *j, struct err *err)
{
	const char *sql = arena_printf(&j->arena, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT %s;"
	    " LOCK TABLE %s IN ACCESS SHARE MODE; %s", pg_literal(&j->arena, slice_of(j->share->snapshot)), j->table->from, settings);
	enum rc rc = copier_set_path(c, "pg_catalog", err);

	if (rc == OK)
		rc = pg_exec(c->conn, "join the snapshot of the table", sql, NULL, err);
	c->joined = rc == OK;
	if (!c->joined)
		copier_roll_back(c);
	return rc;
}

void
copier_stays_out(struct copier *c, struct job *j)
{
	if (j->copier == FIRST || c->torn)
		return;
	c->out = j->out = j->end = true;
	j->rc = OK;
}

bool
copier_is_late(const struct copier *c, struct job *j)
{
	if (j->copier == FIRST || c->joined || c->torn)
		return false;
	j->end = c->out || atomic_load(&j->share->next) >= j->share->parts.n;
	return j->end;
}

/* false: there is none left. */
static bool
take_part(struct copier *c, struct job *j, enum rc *rc, struct err *err)
{
	int i = atomic_fetch_add(&j->share->next, 1);
	PGresult *res;

	*rc = OK;
	if (i >= j->share->parts.n)
		return false;
	res = PQexec(c->conn, copy_table_part_sql(j->table, parts_where(&j->share->parts, i, &j->arena), j->where, &j->arena));
	c->copying = c->head = PQresultStatus(res) == PGRES_COPY_OUT;
	if (!c->copying)
		*rc = pg_fail(c->conn, res, err, "read the table");
	PQclear(res);
	return true;
}

static enum rc
end_part(struct copier *c, struct err *err)
{
	PGresult *res = PQgetResult(c->conn);
	enum rc rc = PQresultStatus(res) == PGRES_COMMAND_OK ? OK : pg_fail(c->conn, res, err, "read the table");

	c->copying = false;
	PQclear(res);
	while ((res = PQgetResult(c->conn)))
		PQclear(res);
	return rc;
}

static bool
is_full(const struct job *j, int64_t until_ms)
{
	return j->rows.n >= j->bytes_max || (j->nrows && now_ms() >= until_ms);
}

static enum rc
read_part(struct copier *c, struct job *j, int64_t until_ms, struct err *err)
{
	char *msg;
	int n = 0;
	enum rc rc = OK;

	while (rc == OK && !is_full(j, until_ms) && (n = PQgetCopyData(c->conn, &msg, 0)) > 0) {
		rc = copier_take_row(j, msg, n, &c->head, err);
		PQfreemem(msg);
	}
	return rc == OK && n < 0 ? end_part(c, err) : rc;
}

enum rc
copier_more(struct copier *c, struct job *j, struct err *err)
{
	int64_t until_ms = now_ms() + MORE_MS;
	enum rc rc = OK;

	j->rows.max = SIZE_MAX / 2;
	if (c->torn || (!c->joined && j->copier == FIRST))
		return fail(err, RETRY, "a connection that reads the table was lost in the middle of it");
	if (!c->joined && (rc = join(c, j, err)) != OK) {
		j->rc = rc;
		copier_stays_out(c, j);
		return j->rc;
	}
	/* In one piece: what grows by and by leaves as much behind in the heap. */
	if (!buf_reserve(&j->rows, j->bytes_max))
		return fail(err, FATAL, "COPY: rows too large");
	j->bytes_max -= ROW_BYTES;
	while (rc == OK && !j->end && !is_full(j, until_ms)) {
		if (!c->copying && !take_part(c, j, &rc, err))
			j->end = true;
		else if (rc == OK)
			rc = read_part(c, j, until_ms, err);
	}
	/* The first one's is what others may be about to join. */
	if (rc == OK && j->end && j->copier != FIRST) {
		copier_roll_back(c);
		c->joined = false;
	}
	return rc;
}
