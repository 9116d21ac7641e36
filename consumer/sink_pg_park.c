/* Parked changes at a PostgreSQL sink. Rare, so nothing here is pipelined. */
#include "consumer/entries.h"
#include "consumer/sink_pg.h"
#include "schemas/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define T "towline.parked"
#define M "towline.marker"

static struct sink_pg *
self(struct sink *sink)
{
	return (struct sink_pg *)sink;
}

/* What Towline itself writes is no row that could be set aside. */
static enum rc
ask(struct sink_pg *s, const char *what, const char *sql, int n, const char *const *params,
    PGresult **out, struct err *err)
{
	enum rc rc = pg_exec_params(s->conn, what, sql, n, params, out, err);

	if (rc == REJECT)
		rc = err->rc = FATAL;
	return rc;
}

static int64_t
one_number(PGresult *res)
{
	int64_t v = PQntuples(res) == 1 ? strtoll(PQgetvalue(res, 0, 0), NULL, 10) : -1;

	PQclear(res);
	return v;
}

static enum rc
load_keys(struct sink_pg *s, struct parked *set, struct err *err)
{
	struct arena a = { 0 };
	const char *base = park_base(s->sink.pipeline, &a);
	PGresult *res;
	enum rc rc = ask(s, "read parked keys", SQL_PARKED_KEYS(T), 1, &base, &res, err);

	arena_free(&a);
	if (rc != OK)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *cells[PARKED_KEY_CELLS];

		for (int c = 0; c < PARKED_KEY_CELLS; c++)
			cells[c] = PQgetisnull(res, i, c) ? NULL : PQgetvalue(res, i, c);
		park_key(cells, set);
	}
	PQclear(res);
	return OK;
}

static enum rc
pg_load(struct sink *sink, struct parked *set, struct err *err)
{
	struct sink_pg *s = self(sink);
	PGresult *res;
	enum rc rc = pipe_leave(s, err);

	/* The version first: should somebody come in between, it is the set that is too new, and that shows. */
	if (rc == OK)
		rc =
		    ask(s, "read the marker", SQL_PARKED_VERSION(M), 1, &sink->pipeline, &res, err);
	if (rc != OK)
		return rc;
	s->parked_version = one_number(res);
	return load_keys(s, set, err);
}

static enum rc
pg_ids(struct sink *sink, int n, int64_t *first, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct arena a = { 0 };
	char count[16];
	const char *params[] = { count, park_base(sink->pipeline, &a) };
	PGresult *res;
	enum rc rc = pipe_leave(s, err);

	snprintf(count, sizeof count, "%d", n);
	if (rc == OK)
		rc = ask(s, "number parked changes", SQL_PARKED_IDS(M), 2, params, &res, err);
	if (rc == OK)
		*first = one_number(res) - n + 1;
	if (rc == OK && *first < 1)
		rc =
		    fail(err, FATAL, "sink %s: there is no marker %s", sink->conf->name, params[1]);
	arena_free(&a);
	return rc;
}

static enum rc
pg_put(struct sink *sink, const struct parked_entry *e, int n, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct arena a = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), NULL };
	enum rc rc = pipe_leave(s, err);

	park_json(e, n, true, &s->text);
	params[1] = buf_cstr(&s->text);
	if (rc == OK)
		rc = ask(s, "park changes", SQL_PG_PARK, 2, params, NULL, err);
	arena_free(&a);
	return rc;
}

static enum rc
pg_drop_table(struct sink *sink, const struct table *tbl, int64_t *n, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct arena a = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), arena_text(&a, tbl->schema),
		arena_text(&a, tbl->name) };
	PGresult *res = NULL;
	enum rc rc = pipe_leave(s, err);

	*n = 0;
	if (rc == OK)
		rc = ask(s, "drop parked changes", SQL_UNPARK_TABLE(T), 3, params, &res, err);
	if (rc == OK)
		*n = strtoll(PQcmdTuples(res), NULL, 10);
	PQclear(res);
	arena_free(&a);
	return rc;
}

static enum rc
pg_note_names(struct sink *sink, struct slice schema, struct slice table, const struct names_at *at, const char *names, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct arena a = { 0 };
	enum rc rc = pipe_leave(s, err);

	if (rc == OK)
		rc = ask(s, "note a table's columns", SQL_NAMES_NOTE("towline.names"), NAMES_PARAMS,
		    names_params(sink, schema, table, at, names, &a), NULL, err);
	arena_free(&a);
	return rc;
}

static enum rc
pg_names(struct sink *sink, const struct parked_entry *e, struct arena *a, const char ***out, int *n, struct err *err)
{
	struct sink_pg *s = self(sink);
	const char **params = names_params(sink, slice_of(e->schema), slice_of(e->table), &(struct names_at){ e->seq, e->index }, NULL, a);
	PGresult *res = NULL;
	bool there = false;
	enum rc rc = pipe_leave(s, err);

	*n = 0;
	/* A sink that has not been started since there are such notes. */
	if (rc == OK)
		rc = ask(s, "look for the notes", "SELECT 1 WHERE to_regclass('towline.names') IS NOT NULL", 0, NULL, &res, err);
	if (rc == OK)
		there = one_number(res) == 1;
	if (rc != OK || !there)
		return rc;
	rc = ask(s, "read a table's columns", SQL_NAMES_SINCE("towline.names"), NAMES_PARAMS - 1, params, &res, err);
	if (rc != OK)
		return rc;
	*out = arena_array(a, (size_t)PQntuples(res) + 1, sizeof **out);
	for (; *n < PQntuples(res); ++*n)
		(*out)[*n] = arena_text(a, slice_of(PQgetvalue(res, *n, 0)));
	PQclear(res);
	return OK;
}

static enum rc
pg_tell_lanes(struct sink *sink, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct arena a = { 0 };
	const char *params[] = { park_base(sink->pipeline, &a), sink->pipeline };
	enum rc rc = pipe_leave(s, err);

	if (rc == OK && strcmp(params[0], params[1]) != 0)
		rc = ask(s, "marker", SQL_PARKED_TOUCH(M), 2, params, NULL, err);
	arena_free(&a);
	return rc;
}

/* ---- for towline dlq ---- */

static enum rc
pg_lock(struct sink *sink, struct marker *at, struct err *err)
{
	struct sink_pg *s = self(sink);
	bool found = false;
	enum rc rc = pipe_leave(s, err);

	*at = (struct marker){ .spine_offset = -1 };
	if (rc == OK)
		rc = pg_exec(s->conn, "begin", "BEGIN", NULL, err);
	if (rc != OK)
		return rc;
	txn_add(s, at, at);
	rc = ask(s, "lock the marker", SQL_PG_PARKED_LOCK, 1, &sink->pipeline, NULL, err);
	if (rc == OK)
		rc = read_marker(s, at, &found, err);
	if (rc == OK && !found)
		rc = fail(
		    err, FATAL, "sink %s: there is no marker %s", sink->conf->name, sink->pipeline);
	s->txns[s->ntxns - 1] = (struct unconfirmed){ .expected = *at, .next = *at };
	return rc;
}

static enum rc
pg_read(struct sink *sink, const struct parked_query *q, struct arena *a, struct parked_entry **out,
    int *n, struct err *err)
{
	struct sink_pg *s = self(sink);
	enum rc rc = pipe_leave(s, err);

	return rc == OK ? entries_pg(s->conn, sink->pipeline, q, a, out, n, err) : rc;
}

static enum rc
pg_try(struct sink *sink, const struct batch *b, int *rows, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct err why;
	enum rc rc = pipe_leave(s, err);

	if (rc == OK)
		rc = pg_exec(s->conn, "savepoint", "SAVEPOINT towline_try", NULL, err);
	for (*rows = 0; *rows < b->nrows && rc == OK; *rows += rc == OK)
		rc = row_exec(s, &b->rows[*rows], err);
	if (rc == OK)
		rc = pg_exec(s->conn, "constraints", "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
	if (rc != OK && rc != REJECT)
		return rc;
	if (rc == REJECT &&
	    pg_exec(s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_try", NULL, &why) != OK)
		return *err = why, why.rc;
	if (pg_exec(s->conn, "release", "RELEASE SAVEPOINT towline_try", NULL, &why) != OK)
		return *err = why, why.rc;
	return rc;
}

static enum rc
pg_remove(struct sink *sink, const int64_t *ids, int n, struct err *err)
{
	struct sink_pg *s = self(sink);
	const char *params[] = { sink->pipeline, NULL }, *all[] = { sink->pipeline, "" };
	enum rc rc = pipe_leave(s, err);

	if (rc != OK)
		return rc;
	park_ids_json(ids, n, &s->text);
	params[1] = buf_cstr(&s->text);
	rc = ask(s, "drop parked changes", SQL_UNPARK(T, SQL_PG_IDS), 2, params, NULL, err);
	if (rc == OK)
		rc = ask(s, "drop parked changes", SQL_UNPARK_BEHIND(T, SQL_PG_IDS), 2, params,
		    NULL, err);
	return rc == OK ? ask(s, "marker", SQL_PARKED_TOUCH(M), 2, all, NULL, err) : rc;
}

const struct park_ops pg_park_ops = {
	.load = pg_load,
	.ids = pg_ids,
	.put = pg_put,
	.drop_table = pg_drop_table,
	.note_names = pg_note_names,
	.names = pg_names,
	.tell_lanes = pg_tell_lanes,
	.lock = pg_lock,
	.read = pg_read,
	.try = pg_try,
	.remove = pg_remove,
};
