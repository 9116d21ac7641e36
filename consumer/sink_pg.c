/*
 * The PostgreSQL sink: connection, marker, transactions, redo. One transaction in the pipeline is
 *
 *   BEGIN   SELECT towline.advance(...)   works ...   [SELECT towline.advance(...)]   COMMIT   Sync
 *
 * and several may be under way; sink_pg_pipe.c says why that is safe.
 */
#include "consumer/sink_pg.h"
#include "core/log.h"
#include "schemas/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ADVANCE_PARAMS = 13, NUMBER_MAX = 24 };

static struct sink_pg *
self(struct sink *sink)
{
	return (struct sink_pg *)sink;
}

/* ---- connection ---- */

/*
 * Statements here touch few rows by key. With the plans that scan or hash the whole target switched
 * off, the plan made for an empty table is still right when it has a billion rows, and need not be
 * made again for each batch.
 */
static const char session_sql[] =
	"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;"
	" SET plan_cache_mode = force_generic_plan; SET jit = off; SET work_mem = '64MB'";

static enum rc
session(struct sink_pg *s, struct err *err)
{
	struct err why;
	enum rc rc = pg_exec(s->conn, "session settings", session_sql, NULL, err);

	/* A commit of the source is told to be done by what this COMMIT says: it may not say so before it is on disk. */
	if (rc == OK && s->sink.conf->awaited)
		rc = pg_exec(s->conn, "synchronous_commit",
		    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'", NULL, err);
	if (rc != OK)
		return rc;
	/* Triggers and foreign keys did their work at the source. */
	rc = pg_exec(s->conn, "session_replication_role", "SET session_replication_role = replica",
	    NULL, &why);
	s->replica = rc == OK;
	if (rc == RETRY)
		return *err = why, rc;
	if (!s->replica)
		log_info("sink",
		    "triggers and foreign keys stay on: this role may not set session_replication_role",
		    "sink=%s", s->sink.conf->name);
	return OK;
}

/* ---- marker ---- */

static enum rc
exists(struct sink_pg *s, const char *expr, bool *yes, struct err *err)
{
	char sql[200];
	PGresult *res;
	enum rc rc;

	snprintf(sql, sizeof sql, "SELECT %s IS NOT NULL", expr);
	if ((rc = pg_exec(s->conn, "look up the marker", sql, &res, err)) != OK)
		return rc;
	*yes = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	return OK;
}

enum rc
pg_ddl(struct sink_pg *s, const char *what, const char *sql, struct err *err)
{
	/* IF NOT EXISTS does not help two that create at one moment: the second fails on the catalogue's own index. */
	enum rc rc = pg_exec(s->conn, what, "SELECT pg_advisory_lock(7307211461530968948)", NULL, err);

	if (rc == OK)
		rc = pg_exec(s->conn, what, sql, NULL, err);
	/* Nor does the lock where the other one's transaction is still open: a lane, say. */
	if (rc == REJECT && strstr(err->text, "\"pg_"))
		rc = err->rc = RETRY;
	if (rc == OK)
		rc = pg_exec(s->conn, what, "SELECT pg_advisory_unlock(7307211461530968948)", NULL, err);
	return rc;
}

/* A statement of schemas/sql.h on one line. */
static const char *
one_line(struct arena *a, const char *sql)
{
	char *out = arena_raw(a, strlen(sql) + 1), *at = out;

	for (; *sql; sql++)
		if (*sql != '\n' && *sql != '\t')
			*at++ = *sql;
		else if (at > out && at[-1] != ' ' && at[-1] != '(')
			*at++ = ' ';
	*at = '\0';
	return out;
}

enum rc
pg_make(struct sink_pg *s, const char *what, const char *object, const char *sql, struct err *err)
{
	enum { SHOWN = 400 };
	struct arena a = { 0 };
	const char *role, *db, *text;
	enum rc rc = pg_ddl(s, what, sql, err);

	if (rc == OK || rc == RETRY || !strstr(err->text, "SQLSTATE 42501"))
		return rc;
	role = pg_ident(&a, slice_of(PQuser(s->conn)));
	db = pg_ident(&a, slice_of(PQdb(s->conn)));
	if (!object)
		text = arena_printf(&a, "let a superuser run GRANT CREATE ON DATABASE %s TO %s", db, role);
	else
		text = arena_printf(&a, "%s is missing in database %s; let the owner of schema towline there run"
		    " GRANT CREATE ON SCHEMA towline TO %s", object, db, role);
	sql = one_line(&a, sql);
	if (object && strlen(sql) < SHOWN)
		text = arena_printf(&a, "%s; or make it: %s; GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s", text, sql, object, role);
	rc = fail_exit(err, FATAL, EXIT_FAILED, "%s: %s", err->text, text);
	arena_free(&a);
	return rc;
}

/* Looks before it creates: a role without the right to create may use what somebody made for it. */
static enum rc
ensure(struct sink_pg *s, struct err *err)
{
	static const struct {
		const char *look, *make, *object; /* NULL: the schema */
	} parts[] = {
		{ "to_regnamespace('towline')", SQL_PG_SCHEMA, NULL },
		{ "to_regclass('towline.marker')", SQL_PG_MARKER, "towline.marker" },
		{ "to_regprocedure('towline.advance(text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, pg_lsn, bigint,"
		  " bigint, bigint)')",
		    SQL_PG_ADVANCE, "function towline.advance" },
		{ "to_regclass('towline.parked')", SQL_PG_PARKED, "towline.parked" },
		{ "to_regclass('towline.tables')", SQL_PG_TABLES, "towline.tables" },
		{ "to_regclass('towline.names')", SQL_PG_NAMES, "towline.names" },
	};
	enum rc rc;

	for (size_t i = 0; i < COUNTOF(parts); i++) {
		bool there;

		if ((rc = exists(s, parts[i].look, &there, err)) != OK)
			return rc;
		if (!there && (rc = pg_make(s, "create the marker", parts[i].object, parts[i].make, err)) != OK)
			return rc;
	}
	if (s->advance_ready)
		return OK;
	return pg_exec(s->conn, "marker",
	    "PREPARE towline_advance AS SELECT towline.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
	    " $11, $12, $13)",
	    NULL, err);
}

static int64_t
number(const PGresult *res, int col)
{
	return strtoll(PQgetvalue(res, 0, col), NULL, 10);
}

enum rc
read_marker(struct sink_pg *s, struct marker *out, bool *found, struct err *err)
{
	PGresult *res;
	enum rc rc = pg_exec_params(
	    s->conn, "read the marker", SQL_PG_MARKER_READ, 1, &s->sink.pipeline, &res, err);

	if (rc != OK)
		return rc;
	*found = PQntuples(res) == 1;
	*out = (struct marker){ .spine_offset = -1 };
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
			rc = fail(err, FATAL, "marker of %s: LSN \"%s\" is malformed",
			    s->sink.pipeline, PQgetvalue(res, 0, 6));
	}
	PQclear(res);
	return rc;
}

static enum rc
ensure_row(struct sink_pg *s, struct marker *out, struct err *err)
{
	bool found;
	enum rc rc = ensure(s, err);

	if (rc != OK)
		return rc;
	s->advance_ready = true;
	if ((rc = read_marker(s, out, &found, err)) != OK || found)
		return rc;
	return pg_exec_params(
	    s->conn, "marker", SQL_PG_MARKER_ROW, 1, &s->sink.pipeline, NULL, err);
}

/* The session's lock for a name: hashtextextended of this. */
static const char holder_sql[] =
    "SELECT l.pid, host(a.client_addr) FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.classid::bigint << 32 | "
    "l.objid::bigint = hashtextextended($1, 0)"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

static enum rc
claimed_by(struct sink_pg *s, const char *name, struct err *err)
{
	PGresult *res;
	enum rc rc = pg_exec(s->conn, "roll back", "ROLLBACK", NULL, err);

	if (rc == OK)
		rc = pg_exec_params(s->conn, "look for who applies", holder_sql, 1, &name, &res, err);
	if (rc != OK)
		return rc;
	if (PQntuples(res) > 0)
		rc = fail(err, RETRY,
		    "process %s of the server (client %s) still applies to this sink; waiting for its end",
		    PQgetvalue(res, 0, 0),
		    PQgetisnull(res, 0, 1) ? "local" : PQgetvalue(res, 0, 1));
	else
		rc = fail(err, RETRY, "another process applied to this sink until now");
	PQclear(res);
	return rc;
}

/*
 * What a killed process sent last is still being done when its successor comes, which then must not read the marker yet. Waits for
 * as long as the server usually needs to see that its client is gone. The marker remains the real guard.
 */
static enum rc
claim(struct sink_pg *s, struct err *err)
{
	struct arena a = { 0 };
	const char *name;
	PGresult *res;
	enum rc rc = OK;

	if (s->claimed || s->sink.shared)
		return OK;
	name = arena_printf(&a, "towline %s", s->sink.pipeline);
	res = PQexec(s->conn,
	    arena_printf(&a,
		"BEGIN; SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_lock(hashtextextended(%s, 0)); COMMIT",
		pg_literal(&a, slice_of(name))));
	s->claimed = PQresultStatus(res) == PGRES_COMMAND_OK;
	if (!s->claimed) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

		rc = state && strcmp(state, "55P03") == 0 ? claimed_by(s, name, err) : pg_fail(s->conn, res, err, "lock the marker");
	}
	PQclear(res);
	arena_free(&a);
	return rc;
}

static enum rc
pg_marker(struct sink *sink, struct marker *out, struct err *err)
{
	struct sink_pg *s = self(sink);
	enum rc rc = pipe_leave(s, err);

	if (rc == OK)
		rc = claim(s, err);
	return rc != OK ? rc : ensure_row(s, out, err);
}

/* ---- advance ---- */

struct advance {
	char numbers[ADVANCE_PARAMS][NUMBER_MAX];
	const char *params[ADVANCE_PARAMS];
};

static void
advance_params(
    struct advance *a, const struct sink_pg *s, const struct marker *from, const struct marker *to)
{
	const int64_t v[ADVANCE_PARAMS] = { 0, from->spine_offset, (int64_t)from->spine_hash,
		to->spine_offset, (int64_t)to->spine_hash, (int64_t)to->gen, (int64_t)to->token,
		(int64_t)to->no, (int64_t)to->seq, 0, to->commit_us, (int64_t)to->system_id,
		s->parked_version };

	for (int i = 0; i < ADVANCE_PARAMS; i++) {
		snprintf(a->numbers[i], NUMBER_MAX, "%" PRId64, v[i]);
		a->params[i] = a->numbers[i];
	}
	pg_lsn_text(a->numbers[9], to->lsn);
	a->params[0] = s->sink.pipeline;
}

enum rc
advance_fail(PGconn *conn, const PGresult *res, struct err *err)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	enum rc rc = pg_fail(conn, res, err, "marker");

	if (state && strcmp(state, "TW001") == 0)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "another instance applies to this sink: %s",
		    PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	if (state && strcmp(state, "TW002") == 0)
		return fail(err, RETRY, "others changed which changes are parked (towline dlq, or another lane): reading them again");
	if (rc == FATAL)
		err->exit = EXIT_REFUSED;
	return rc;
}

static void
send_advance(struct sink_pg *s, const struct marker *from, const struct marker *to)
{
	struct advance a;

	advance_params(&a, s, from, to);
	pipe_sent(s,
	    PQsendQueryPrepared(
		s->conn, "towline_advance", ADVANCE_PARAMS, a.params, NULL, NULL, 0),
	    (struct sent){ .kind = SENT_ADVANCE, .must_hit = -1 });
}

static void
send_control(struct sink_pg *s, enum sent_kind kind, const char *sql, const struct batch *b)
{
	pipe_sent(s, PQsendQueryParams(s->conn, sql, 0, NULL, NULL, NULL, NULL, 0),
	    (struct sent){ .kind = kind, .batch = b, .must_hit = -1 });
}

/* ---- transactions ---- */

void
txn_add(struct sink_pg *s, const struct marker *expected, const struct marker *next)
{
	if (s->ntxns == s->txns_cap) {
		s->txns_cap = s->txns_cap ? s->txns_cap * 2 : 8;
		s->txns = realloc(s->txns, (size_t)s->txns_cap * sizeof *s->txns);
		if (!s->txns)
			die("out of memory");
	}
	s->txns[s->ntxns++] = (struct unconfirmed){ .expected = *expected, .next = *next };
	s->open = true;
	s->savepoint = false;
	s->applied = 0;
}

static enum rc
pg_begin(
    struct sink *sink, const struct marker *expected, const struct marker *next, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct marker m;
	enum rc rc;

	if (s->open)
		return fail(err, FATAL, "sink %s: begin inside a transaction", sink->conf->name);
	if (s->broken)
		return pipe_report(s, err);
	if (!s->advance_ready &&
	    ((rc = pipe_leave(s, err)) != OK || (rc = ensure_row(s, &m, err)) != OK))
		return rc;
	pipe_enter(s);
	txn_add(s, expected, next);
	send_control(s, SENT_BEGIN, "BEGIN", NULL);
	send_advance(s, expected, next);
	return pipe_report(s, err);
}

static struct unconfirmed *
open_txn(struct sink_pg *s)
{
	return &s->txns[s->ntxns - 1];
}

/*
 * A transaction too large for one batch: what was applied so far stands, only the newest batch may
 * have to be done again.
 */
static void
stream_on(struct sink_pg *s)
{
	pipe_drain(s);
	if (s->broken)
		return;
	if (s->savepoint)
		send_control(s, SENT_CONTROL, "RELEASE SAVEPOINT towline_apply", NULL);
	send_control(s, SENT_CONTROL, "SAVEPOINT towline_apply", NULL);
	pipe_drain(s);
	s->savepoint = !s->broken;
}

static enum rc
pg_apply(struct sink *sink, const struct batch *b, struct err *err)
{
	struct sink_pg *s = self(sink);

	if (!s->open)
		return fail(
		    err, FATAL, "sink %s: apply outside of a transaction", sink->conf->name);
	pipe_enter(s);
	if (s->applied > 0 && !s->broken)
		stream_on(s);
	if (!s->broken) {
		s->applied++;
		open_txn(s)->last = b;
		batch_send(s, b);
	}
	return pipe_report(s, err);
}

static bool
marker_same(const struct marker *a, const struct marker *b)
{
	return a->spine_offset == b->spine_offset && a->spine_hash == b->spine_hash &&
	    a->gen == b->gen && a->token == b->token && a->no == b->no && a->seq == b->seq &&
	    a->lsn == b->lsn && a->commit_us == b->commit_us && a->system_id == b->system_id;
}

static enum rc
pg_commit(struct sink *sink, const struct marker *next, struct err *err)
{
	struct sink_pg *s = self(sink);
	struct unconfirmed *u;

	if (!s->open)
		return fail(
		    err, FATAL, "sink %s: commit outside of a transaction", sink->conf->name);
	pipe_enter(s);
	if (s->broken)
		return pipe_report(s, err);
	u = open_txn(s);
	if (!marker_same(&u->next, next)) {
		send_advance(s, &u->next, next);
		u->next = *next;
	}
	send_control(s, SENT_COMMIT, "COMMIT", u->last);
	pipe_sync(s);
	s->open = false;
	for (struct pg_target *t = s->targets; t; t = t->hh.next)
		t->in_txn = false;
	pipe_flush(s);
	/*
	 * A streamed transaction is waited for: its savepoint must not be taken for the next one's.
	 */
	if (s->savepoint)
		pipe_settle(s, 0);
	if (!s->broken)
		s->savepoint = false;
	return pipe_report(s, err);
}

static enum rc
pg_settle(struct sink *sink, int most, struct err *err)
{
	struct sink_pg *s = self(sink);

	if (most)
		copy_turn(s);
	else
		copy_finish(s);
	if (PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF) {
		pipe_settle(s, most);
		/*
		 * The caller may let go of what it has applied so far, although the transaction
		 * goes on.
		 */
		if (most == 0 && s->open && !s->broken)
			pipe_drain(s);
	}
	return pipe_report(s, err);
}

static void
pg_abort(struct sink *sink)
{
	struct sink_pg *s = self(sink);
	struct err ignored;

	if (!s->open)
		return;
	pipe_drain(s);
	if (s->broken)
		return; /* told by the next call, which also rolls back */
	if (pipe_leave(s, &ignored) == OK)
		(void)!pg_exec(s->conn, "roll back", "ROLLBACK", NULL, &ignored);
	s->ntxns--;
	s->open = s->savepoint = false;
	s->applied = 0;
	table_forget_open(s);
}

/* ---- redo ---- */

static enum rc
redo_begin(struct sink_pg *s, struct err *err)
{
	struct advance a;
	PGresult *res;
	enum rc rc;

	if (s->open)
		return OK; /* rolled back to the savepoint */
	if ((rc = pg_exec(s->conn, "begin", "BEGIN", NULL, err)) != OK)
		return rc;
	txn_add(s, &s->redo.expected, &s->redo.next);
	advance_params(&a, s, &s->redo.expected, &s->redo.next);
	res = PQexecPrepared(s->conn, "towline_advance", ADVANCE_PARAMS, a.params, NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		rc = advance_fail(s->conn, res, err);
	PQclear(res);
	return rc;
}

struct redo {
	struct sink_pg *s;
	struct batch *b;
	struct redo_list list;
};

/* One row under a savepoint of its own. */
static enum rc
redo_row(struct redo *r, const struct row *row, struct err *err)
{
	enum rc rc;

	if (redo_waits(&r->list, row)) {
		(void)fail(err, REJECT, "an earlier change of this key was set aside");
		return redo_leave(&r->list, &r->b->arena, row, true, err);
	}
	if ((rc = pg_exec(r->s->conn, "savepoint", "SAVEPOINT towline_row", NULL, err)) != OK)
		return rc;
	rc = row_exec(r->s, row, err);
	if (rc == REJECT) {
		struct err why;

		rc = pg_exec(
		    r->s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_row", NULL, &why);
		if (rc != OK)
			return *err = why, rc;
		if ((rc = redo_leave(&r->list, &r->b->arena, row, false, err)) != OK)
			return rc;
	} else if (rc == OK && row->op == OP_TRUNCATE) {
		redo_truncated(&r->list, row);
	}
	return rc != OK
	    ? rc
	    : pg_exec(r->s->conn, "release", "RELEASE SAVEPOINT towline_row", NULL, err);
}

/* Most rows are good: a stretch of them shares a savepoint until one fails. */
static enum rc
redo_stretch(struct redo *r, int from, int to, struct err *err)
{
	enum rc rc = pg_exec(r->s->conn, "savepoint", "SAVEPOINT towline_stretch", NULL, err);
	int i;

	for (i = from; i < to && rc == OK; i++) {
		const struct row *row = &r->b->rows[i];

		if (!row->aside)
			rc = redo_waits(&r->list, row) ? REJECT : row_exec(r->s, row, err);
		if (rc == OK && !row->aside && row->op == OP_TRUNCATE)
			redo_truncated(&r->list, row);
	}
	if (rc == REJECT) {
		rc = pg_exec(
		    r->s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_stretch", NULL, err);
		for (i = from; i < to && rc == OK; i++)
			if (!r->b->rows[i].aside)
				rc = redo_row(r, &r->b->rows[i], err);
	}
	return rc != OK
	    ? rc
	    : pg_exec(r->s->conn, "release", "RELEASE SAVEPOINT towline_stretch", NULL, err);
}

/*
 * All rows under one savepoint. Deferred constraints get their say at the end; if they object,
 * *objected, and everything is rolled back: the second pass checks them at once, so that the guilty
 * row is found.
 */
static enum rc
redo_pass(struct redo *r, bool immediate, bool *objected, struct err *err)
{
	enum { STRETCH = 64 };
	enum rc rc = pg_exec(r->s->conn, "savepoint", "SAVEPOINT towline_redo", NULL, err);

	*objected = false;
	redo_forget(&r->list);
	if (rc == OK && immediate)
		rc = pg_exec(r->s->conn, "constraints", "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
	for (int i = 0; i < r->b->nrows && rc == OK; i += STRETCH)
		rc = redo_stretch(r, i, i + STRETCH < r->b->nrows ? i + STRETCH : r->b->nrows, err);
	if (rc == OK && !immediate) {
		rc = pg_exec(r->s->conn, "constraints", "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
		if (rc == REJECT) {
			*objected = true;
			rc = pg_exec(r->s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_redo",
			    NULL, err);
		}
	}
	return rc != OK
	    ? rc
	    : pg_exec(r->s->conn, "release", "RELEASE SAVEPOINT towline_redo", NULL, err);
}

/*
 * Rows of a first copy were taken for new, and one was there: the same sets again, as upserts. *done: that went well; else the transaction
 * is as it was before.
 */
static enum rc
redo_guess(struct sink_pg *s, const struct batch *b, bool *done, struct err *err)
{
	bool streamed = s->savepoint;
	enum rc rc = streamed ? OK : pg_exec(s->conn, "savepoint", "SAVEPOINT towline_apply", NULL, err);

	if (rc != OK)
		return rc;
	s->savepoint = true;
	s->sure = true;
	pipe_enter(s);
	if (!s->broken)
		batch_send(s, b);
	s->sure = false;
	rc = pipe_leave(s, err); /* a refusal goes back to the savepoint */
	if (rc == OK) {
		/* What is deferred in a transaction that goes on is judged at its end. */
		if (!streamed)
			rc = pg_exec(s->conn, "constraints", "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
		*done = rc == OK;
		if (rc == REJECT)
			rc = pg_exec(s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_apply", NULL, err);
	} else if (rc == REJECT) {
		rc = OK;
	}
	if (rc != OK || streamed)
		return rc;
	s->savepoint = false;
	return pg_exec(s->conn, "release", "RELEASE SAVEPOINT towline_apply", NULL, err);
}

static enum rc
pg_redo(struct sink *sink, struct batch *b, struct reject *rejects, int max_rejects, int *nrejects,
    struct err *err)
{
	struct sink_pg *s = self(sink);
	struct redo r = { .s = s, .b = b, .list = { .rejects = rejects, .max = max_rejects } };
	struct err why;
	bool objected = false, done = false;
	enum rc rc = pipe_leave(s, err);

	*nrejects = 0;
	if (rc != OK)
		return rc;
	if (b != sink->failed) /* another's markers would go with its rows */
		return fail(
		    err, FATAL, "sink %s: redo of a batch that was not refused", sink->conf->name);
	rc = redo_begin(s, err);
	if (rc == OK && s->guessed == b)
		rc = redo_guess(s, b, &done, err);
	s->guessed = NULL;
	if (rc == OK && !done)
		rc = redo_pass(&r, false, &objected, err);
	if (rc == OK && objected)
		rc = redo_pass(&r, true, &objected, err);
	if (rc == OK) {
		s->applied++;
		sink->failed = NULL;
		open_txn(s)->last = b;
		*nrejects = r.list.n;
	} else if (s->open) {
		(void)!pg_exec(s->conn, "roll back", "ROLLBACK", NULL, &why);
		s->open = s->savepoint = false;
		s->ntxns = s->applied = 0;
		table_forget_open(s);
	}
	redo_forget(&r.list);
	return rc;
}

/* ---- open and close ---- */

static enum rc
pg_prepare(struct sink *sink, const struct table *tbl, struct err *err)
{
	struct sink_pg *s = self(sink);
	enum rc rc;

	if (table_find(s, tbl))
		return OK;
	if ((rc = pipe_leave(s, err)) != OK)
		return rc;
	return table_prepare(s, tbl, err);
}

static void
pg_forget(struct sink *sink, const struct table *tbl)
{
	table_forget(self(sink), tbl);
}

static void
pg_close(struct sink *sink)
{
	struct sink_pg *s = self(sink);

	if (!s)
		return;
	PQfinish(s->conn);
	s->conn = NULL;
	s->broken = true; /* nothing is sent any more */
	table_forget_all(s);
	for (int i = 0; i < s->ncols_cap; i++)
		buf_free(&s->cols[i]);
	free(s->cols);
	buf_free(&s->text);
	buf_free(&s->rows);
	free(s->sent);
	free(s->txns);
	free(s);
}

static const struct sink_ops pg_ops = {
	.marker = pg_marker,
	.prepare = pg_prepare,
	.forget = pg_forget,
	.begin = pg_begin,
	.apply = pg_apply,
	.commit = pg_commit,
	.settle = pg_settle,
	.redo = pg_redo,
	.renew = pg_renew,
	.abort = pg_abort,
	.close = pg_close,
	.parking = &pg_park_ops,
	.positions = &pg_position_ops,
};

enum rc
sink_pg_open(const char *pipeline, const struct conf_sink *conf, struct sink **out, struct err *err)
{
	struct sink_pg *s = calloc(1, sizeof *s);
	enum rc rc;

	*out = NULL;
	if (!s)
		die("out of memory");
	s->sink = (struct sink){ .ops = &pg_ops, .conf = conf, .pipeline = pipeline };
	rc = pg_connect(conf->url, false, &s->conn, err);
	if (rc == OK)
		rc = session(s, err);
	if (rc != OK) {
		pg_close(&s->sink);
		return rc;
	}
	*out = &s->sink;
	return OK;
}
