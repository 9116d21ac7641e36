/*
 * The SQLite sink: one row at a time within BEGIN IMMEDIATE, so every call does its work at once
 * and nothing is ever in flight.
 *
 * A committed marker must survive a power cut, as what it stands for is not sent again: WAL with
 * synchronous=FULL.
 */
#include "consumer/sink_sqlite.h"
#include "core/log.h"
#include "schemas/lite.h"
#include "schemas/pgtypes.h"
#include "schemas/sql.h"

#include <math.h>
#include <stdlib.h>

static struct sink_sqlite *
self(struct sink *sink)
{
	return (struct sink_sqlite *)sink;
}

/* ---- errors ---- */

static enum rc
verdict(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_IOERR:
	case SQLITE_FULL:
	case SQLITE_NOMEM:
	case SQLITE_CANTOPEN:
	case SQLITE_PROTOCOL:
	case SQLITE_INTERRUPT:
		return RETRY;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
		return REJECT;
	default:
		return FATAL;
	}
}

enum rc
lite_fail(struct sink_sqlite *s, const char *what, struct err *err)
{
	return fail(err, verdict(sqlite3_errcode(s->db)), "%s: %s", what, sqlite3_errmsg(s->db));
}

enum rc
lite_exec(struct sink_sqlite *s, const char *what, const char *sql, struct err *err)
{
	int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? OK : lite_fail(s, what, err);
}

enum rc
lite_compile(
    struct sink_sqlite *s, const char *what, const char *sql, sqlite3_stmt **out, struct err *err)
{
	int code = sqlite3_prepare_v2(s->db, sql, -1, out, NULL);

	return code == SQLITE_OK ? OK : lite_fail(s, what, err);
}

/* ---- marker ---- */

enum rc
lite_read_marker(struct sink_sqlite *s, struct marker *out, struct err *err)
{
	const char *pipeline = s->sink.pipeline;
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_exec(s, "create the marker",
	    SQL_SQLITE_MARKER "; " SQL_SQLITE_TABLES "; " SQL_SQLITE_PARKED "; " SQL_SQLITE_NAMES, err);
	int step;

	*out = (struct marker){ .spine_offset = -1 };
	if (rc == OK)
		rc = lite_compile(s, "marker", "INSERT OR IGNORE INTO towline_marker (name) VALUES (?1)",
		    &st, err);
	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	sqlite3_finalize(st);
	if (step != SQLITE_DONE)
		return lite_fail(s, "marker", err);
	if ((rc = lite_compile(s, "read the marker", SQL_SQLITE_MARKER_READ, &st, err)) != OK)
		return rc;
	sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = (struct marker){ .spine_offset = sqlite3_column_int64(st, 0),
			.spine_hash = (uint64_t)sqlite3_column_int64(st, 1),
			.gen = (uint64_t)sqlite3_column_int64(st, 2),
			.token = (uint64_t)sqlite3_column_int64(st, 3),
			.no = (uint64_t)sqlite3_column_int64(st, 4),
			.seq = (uint64_t)sqlite3_column_int64(st, 5),
			.lsn = (uint64_t)sqlite3_column_int64(st, 6),
			.commit_us = sqlite3_column_int64(st, 7),
			.system_id = (uint64_t)sqlite3_column_int64(st, 8) };
	else
		rc = lite_fail(s, "read the marker", err);
	sqlite3_finalize(st);
	return rc;
}

static bool
version_moved(struct sink_sqlite *s)
{
	sqlite3_stmt *st = NULL;
	struct err ignored;
	bool moved = false;

	if (lite_compile(s, "marker", SQL_PARKED_VERSION("towline_marker"), &st, &ignored) != OK)
		return false;
	sqlite3_bind_text(st, 1, s->sink.pipeline, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		moved = sqlite3_column_int64(st, 0) != s->parked_version;
	sqlite3_finalize(st);
	return moved;
}

/* Compare and set: one row, or somebody else was here. */
static enum rc
advance(struct sink_sqlite *s, const struct marker *from, const struct marker *to, struct err *err)
{
	const int64_t v[] = { from->spine_offset, (int64_t)from->spine_hash, to->spine_offset,
		(int64_t)to->spine_hash, (int64_t)to->gen, (int64_t)to->token, (int64_t)to->no,
		(int64_t)to->seq, (int64_t)to->lsn, to->commit_us, (int64_t)to->system_id, s->parked_version };
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "marker", SQL_SQLITE_ADVANCE, &st, err);
	int step;

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, s->sink.pipeline, -1, SQLITE_STATIC);
	for (size_t i = 0; i < COUNTOF(v); i++)
		sqlite3_bind_int64(st, (int)i + 2, v[i]);
	step = sqlite3_step(st);
	sqlite3_finalize(st);
	if (step != SQLITE_DONE)
		return lite_fail(s, "marker", err);
	if (sqlite3_changes(s->db) != 1 && version_moved(s))
		return fail(err, RETRY, "others changed which changes are parked (towline dlq, or another lane): reading them again");
	if (sqlite3_changes(s->db) != 1)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "another instance applies to this sink: the marker of %s is not at spine offset %lld"
		    " of generation %llu or older",
		    s->sink.pipeline, (long long)from->spine_offset, (unsigned long long)to->gen);
	return OK;
}

/* ---- statements ---- */

static struct lite_target *
find(struct sink_sqlite *s, const struct table *tbl)
{
	struct lite_target *t;

	HASH_FIND_PTR(s->targets, &tbl, t);
	return t;
}

static void
stmt_free(struct lite_stmt *st)
{
	sqlite3_finalize(st->st);
	free(st);
}

static void
target_free(struct sink_sqlite *s, struct lite_target *t)
{
	for (struct lite_stmt *st = t->stmts, *next; st; st = next) {
		next = st->next;
		stmt_free(st);
	}
	HASH_DEL(s->targets, t);
	arena_free(&t->arena);
	free(t);
}

static void
forget_open(struct sink_sqlite *s)
{
	struct lite_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		if (t->in_txn)
			target_free(s, t);
}

void
lite_forget_name(struct sink_sqlite *s, const char *name)
{
	struct lite_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		if (sqlite3_stricmp(t->t.name, name) == 0)
			target_free(s, t);
}

static struct lite_stmt *
stmt_new(const struct lite_target *t, enum plan_kind kind, const uint8_t *flags, struct arena *a)
{
	struct plan p = plan_make(&t->t, kind, flags, a);
	size_t n = (size_t)t->t.ncols, params = (size_t)p.nparams * sizeof *p.params;
	struct lite_stmt *st = calloc(1, sizeof *st + params + n);
	char *at = (char *)(st + 1);

	if (!st)
		die("out of memory");
	st->kind = kind;
	st->plan = (struct plan){
		.sql = p.sql, .nparams = p.nparams, .params = memcpy(at, p.params, params)
	};
	st->flags = memcpy(at + params, flags, n);
	return st;
}

static void
stmts_trim(struct lite_target *t)
{
	struct lite_stmt **at = &t->stmts;

	if (t->nstmts <= STMTS_MAX)
		return;
	while ((*at)->next)
		at = &(*at)->next;
	stmt_free(*at);
	*at = NULL;
	t->nstmts--;
}

static enum rc
statement(struct sink_sqlite *s, struct lite_target *t, enum plan_kind kind, const uint8_t *flags,
    struct lite_stmt **out, struct err *err)
{
	struct arena a = { 0 };
	struct lite_stmt *st;
	enum rc rc = OK;

	for (struct lite_stmt **at = &t->stmts; (st = *at); at = &st->next)
		if (st->kind == kind && memcmp(st->flags, flags, (size_t)t->t.ncols) == 0) {
			*at = st->next;
			st->next = t->stmts;
			*out = t->stmts = st;
			return OK;
		}
	st = stmt_new(t, kind, flags, &a);
	if (st->plan.sql)
		rc = lite_compile(s, t->t.name, st->plan.sql, &st->st, err);
	st->plan.sql = NULL; /* st->st has its own */
	arena_free(&a);
	if (rc != OK) {
		stmt_free(st);
		return rc;
	}
	st->next = t->stmts;
	*out = t->stmts = st;
	t->nstmts++;
	stmts_trim(t);
	return OK;
}

/* ---- values ---- */

static enum rc
bind_text(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct column *col,
    const struct value *v, struct err *err)
{
	struct buf *b = &s->params[number - 1];
	enum rc rc;

	buf_reset(b);
	if ((rc = sink_text(col, v, b, err)) != OK)
		return fail_in(err, "column %.*s", SLICE_ARG(col->name));
	sqlite3_bind_text64(st, number, b->n ? b->p : "", b->n, SQLITE_STATIC, SQLITE_UTF8);
	return OK;
}

static enum rc
bind_decoded(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct column *col,
    const struct value *v, struct err *err)
{
	struct buf *b = &s->params[number - 1];

	buf_reset(b);
	if (!pgtype_decode(col->type.coded, v->s, b))
		return fail(err, REJECT, "column %.*s: a value that should be bytes in base64 or hex is not", SLICE_ARG(col->name));
	sqlite3_bind_blob64(st, number, b->n ? b->p : "", b->n, SQLITE_STATIC);
	return OK;
}

/* As it was at a SQLite source: in the storage class that it has there. */
static enum rc
bind_classed(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct value *v, struct err *err)
{
	struct buf *b = &s->params[number - 1];
	struct arena a = { 0 };
	struct slice data;
	char class;
	enum rc rc = lite_class(v, &a, &class, &data, err);

	if (rc == OK) {
		buf_reset(b);
		buf_slice(b, data);
		buf_cstr(b);
		switch (class) {
		case LITE_INTEGER:
			sqlite3_bind_int64(st, number, strtoll(b->p, NULL, 10));
			break;
		case LITE_REAL:
			sqlite3_bind_double(st, number, strtod(b->p, NULL));
			break;
		case LITE_BLOB:
			sqlite3_bind_blob64(st, number, b->p, b->n, SQLITE_STATIC);
			break;
		default:
			sqlite3_bind_text64(st, number, b->p, b->n, SQLITE_STATIC, SQLITE_UTF8);
		}
	}
	arena_free(&a);
	return rc;
}

/*
 * Numbers and bytes that mean nothing else as such; moments, decimals and all the rest as text.
 * SQLite takes a NaN for NULL: text. A timestamptz is ISO 8601 with a Z, as SQLite reads it.
 */
static enum rc
bind_value(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct column *col,
    const struct value *v, struct err *err)
{
	bool plain = v && !col->type.semantic && !v->exact.n;

	if (!v || value_is_null(v)) {
		sqlite3_bind_null(st, number);
		return OK;
	}
	if (lite_is_classed(v))
		return bind_classed(s, st, number, v, err);
	if (plain && (v->kind == V_INT || v->kind == V_BOOL))
		sqlite3_bind_int64(st, number, v->i);
	else if (plain && (v->kind == V_FLOAT || v->kind == V_DOUBLE) && !isnan(v->d))
		sqlite3_bind_double(st, number, v->d);
	else if (plain && v->kind == V_BYTES && col->type.wire == W_BYTES)
		sqlite3_bind_blob64(st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
	else if (plain && v->kind == V_AVRO && col->type.wire == W_OTHER)
		sqlite3_bind_blob64(st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
	else if (plain && v->kind == V_STRING && col->type.coded)
		return bind_decoded(s, st, number, col, v, err);
	else if (!v->exact.n && v->kind == V_STRING && !col->type.plain)
		sqlite3_bind_text64(
		    st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC, SQLITE_UTF8);
	else
		return bind_text(s, st, number, col, v, err);
	return OK;
}

static void
ensure_params(struct sink_sqlite *s, int n)
{
	if (n <= s->params_cap)
		return;
	s->params = realloc(s->params, (size_t)n * sizeof *s->params);
	if (!s->params)
		die("out of memory");
	memset(s->params + s->params_cap, 0, (size_t)(n - s->params_cap) * sizeof *s->params);
	s->params_cap = n;
}

static void
note_missing(struct lite_target *t)
{
	if ((t->missing & (t->missing + 1)) == 0)
		log_warn("sink", "rows to change were not at the sink", "table=%s missing=%llu",
		    t->t.name, (unsigned long long)t->missing + 1);
	t->missing++;
}

/* Run the statement once it is bound. */
static enum rc
run(struct sink_sqlite *s, struct lite_target *t, struct lite_stmt *st, bool must_hit,
    struct err *err)
{
	enum rc rc = OK;

	if (sqlite3_step(st->st) != SQLITE_DONE)
		rc = lite_fail(s, t->t.name, err);
	else if (must_hit && sqlite3_changes(s->db) == 0)
		note_missing(t);
	sqlite3_reset(st->st);
	return rc;
}

/* ---- works and rows ---- */

static enum rc
run_net(struct sink_sqlite *s, struct lite_target *t, enum plan_kind kind, const struct net *net,
    struct err *err)
{
	struct lite_stmt *st;
	enum rc rc = statement(s, t, kind, t->flags, &st, err);

	if (rc != OK || !st->st)
		return rc;
	ensure_params(s, st->plan.nparams);
	for (int i = 0; i < st->plan.nparams && rc == OK; i++) {
		const struct plan_param *p = &st->plan.params[i];

		rc = bind_value(s, st->st, i + 1, &t->tbl->cols[p->col],
		    &(p->old ? net->key : net->row)[p->col], err);
	}
	return rc != OK ? rc : run(s, t, st, kind == PLAN_ROW_UPDATE, err);
}

static enum rc
run_row(struct sink_sqlite *s, struct lite_target *t, const struct row *r, struct err *err)
{
	struct row_steps steps;
	enum rc rc = sink_row_steps(&t->t, r, t->flags, &steps, err);

	for (int k = 0; k < steps.n && rc == OK; k++) {
		struct lite_stmt *st;

		rc = statement(s, t, steps.step[k].kind, steps.step[k].flags, &st, err);
		if (rc != OK || !st->st)
			continue;
		ensure_params(s, st->plan.nparams);
		for (int i = 0; i < st->plan.nparams && rc == OK; i++) {
			const struct plan_param *p = &st->plan.params[i];

			rc = bind_value(s, st->st, i + 1, &t->tbl->cols[p->col],
			    sink_row_value(r, st->kind, p), err);
		}
		if (rc == OK)
			rc = run(s, t, st, steps.must_hit && k == steps.n - 1, err);
	}
	return rc;
}

static enum rc
truncate_table(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = lite_exec(s, t->t.name, arena_printf(&a, "DELETE FROM %s", t->t.name), err);

	arena_free(&a);
	return rc;
}

static enum rc
need(struct sink_sqlite *s, const struct table *tbl, struct lite_target **out, struct err *err)
{
	*out = find(s, tbl);
	return *out ? OK
		    : fail(err, FATAL, "table %.*s.%.*s was not prepared", SLICE_ARG(tbl->schema),
			  SLICE_ARG(tbl->name));
}

static enum rc
run_work(struct sink_sqlite *s, const struct work *w, struct err *err)
{
	static const enum plan_kind kinds[] = { [WORK_DELETE] = PLAN_ROW_DELETE,
		[WORK_UPDATE] = PLAN_ROW_UPDATE,
		[WORK_INSERT] = PLAN_ROW_INSERT,
		[WORK_UPSERT] = PLAN_ROW_UPSERT,
		[WORK_READ] = PLAN_ROW_UPSERT };
	struct lite_target *t;
	enum rc rc = need(s, w->tbl, &t, err);
	bool two;

	if (rc != OK)
		return rc;
	if (w->kind == WORK_TRUNCATE)
		return truncate_table(s, t, err);
	if (w->kind == WORK_ROW)
		return run_row(s, t, w->nets[0].last, err);
	sink_work_flags(&t->t, w, t->flags);
	two = (w->kind == WORK_UPSERT || w->kind == WORK_READ) && !t->t.unique;
	for (int i = 0; i < w->n && rc == OK; i++) {
		if (two)
			rc = run_net(s, t, PLAN_ROW_DELETE, &w->nets[i], err);
		if (rc == OK)
			rc =
			    run_net(s, t, two ? PLAN_ROW_INSERT : kinds[w->kind], &w->nets[i], err);
	}
	return rc;
}

/* ---- transactions ---- */

void
lite_roll_back(struct sink_sqlite *s)
{
	struct err ignored;

	if (!sqlite3_get_autocommit(s->db))
		(void)!lite_exec(s, "roll back", "ROLLBACK", &ignored);
	s->open = s->savepoint = false;
	s->applied = 0;
	forget_open(s);
}

static enum rc
lite_begin(
    struct sink *sink, const struct marker *expected, const struct marker *next, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	enum rc rc;

	if (s->open)
		return fail(err, FATAL, "sink %s: begin inside a transaction", sink->conf->name);
	if ((rc = lite_exec(s, "begin", "BEGIN IMMEDIATE", err)) != OK)
		return rc;
	s->expected = *expected;
	s->next = *next;
	s->open = true;
	if ((rc = advance(s, expected, next, err)) != OK)
		lite_roll_back(s);
	return rc;
}

static enum rc
lite_apply(struct sink *sink, const struct batch *b, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct err ignored;
	enum rc rc = OK;

	if (!s->open)
		return fail(
		    err, FATAL, "sink %s: apply outside of a transaction", sink->conf->name);
	sink->failed = NULL;
	if (s->applied > 0) {
		rc = lite_exec(s, "savepoint",
		    s->savepoint ? "RELEASE towline_apply; SAVEPOINT towline_apply"
				 : "SAVEPOINT towline_apply",
		    err);
		s->savepoint = rc == OK;
	}
	for (int i = 0; i < b->nworks && rc == OK; i++)
		rc = run_work(s, &b->works[i], err);
	if (rc == OK) {
		s->applied++;
		return OK;
	}
	if (rc == REJECT)
		sink->failed = b;
	if (rc != REJECT || !s->savepoint ||
	    lite_exec(s, "roll back", "ROLLBACK TO towline_apply", &ignored) != OK)
		lite_roll_back(s);
	return rc;
}

/* A file that was deleted or replaced takes commits as before, and nobody will ever read them. */
static enum rc
still_there(struct sink_sqlite *s, struct err *err)
{
	int moved = 0;

	if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
		return fail(err, RETRY, "%s was deleted or replaced by another file; opening what is there now",
		    sqlite3_db_filename(s->db, "main"));
	return OK;
}

static enum rc
lite_commit(struct sink *sink, const struct marker *next, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	enum rc rc = OK;

	if (!s->open)
		return fail(
		    err, FATAL, "sink %s: commit outside of a transaction", sink->conf->name);
	if (s->next.spine_offset != next->spine_offset || s->next.no != next->no ||
	    s->next.seq != next->seq || s->next.lsn != next->lsn)
		rc = advance(s, &s->next, next, err);
	if (rc == OK)
		rc = still_there(s, err);
	if (rc == OK)
		rc = lite_exec(s, "commit", "COMMIT", err);
	if (rc != OK) {
		lite_roll_back(s);
		return rc;
	}
	s->open = s->savepoint = false;
	s->applied = 0;
	for (struct lite_target *t = s->targets; t; t = t->hh.next)
		t->in_txn = false;
	return OK;
}

static enum rc
lite_settle(struct sink *sink, int most, struct err *err)
{
	(void)sink, (void)most, (void)err;
	return OK;
}

static void
lite_abort(struct sink *sink)
{
	lite_roll_back(self(sink));
}

/* ---- redo ---- */

enum rc
lite_row(struct sink_sqlite *s, const struct row *r, struct err *err)
{
	struct lite_target *t;
	enum rc rc = need(s, r->tbl, &t, err);

	if (rc != OK)
		return rc;
	return r->op == OP_TRUNCATE ? truncate_table(s, t, err) : run_row(s, t, r, err);
}

static enum rc
redo_one(struct sink_sqlite *s, const struct row *r, struct err *err)
{
	struct err ignored;
	enum rc rc = lite_exec(s, "savepoint", "SAVEPOINT towline_row", err);

	if (rc != OK)
		return rc;
	rc = lite_row(s, r, err);
	if (rc == REJECT && lite_exec(s, "roll back", "ROLLBACK TO towline_row", &ignored) != OK)
		return *err = ignored, ignored.rc;
	if (lite_exec(s, "release", "RELEASE towline_row", rc == OK ? err : &ignored) != OK && rc == OK)
		rc = err->rc;
	return rc;
}

static enum rc
lite_redo(struct sink *sink, struct batch *b, struct reject *rejects, int max_rejects,
    int *nrejects, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct marker expected = s->expected, next = s->next;
	struct redo_list list = { .rejects = rejects, .max = max_rejects };
	enum rc rc = OK;

	*nrejects = 0;
	if (b != sink->failed)
		return fail(
		    err, FATAL, "sink %s: redo of a batch that was not refused", sink->conf->name);
	sink->failed = NULL;
	if (!s->open)
		rc = lite_begin(sink, &expected, &next, err);
	for (int i = 0; i < b->nrows && rc == OK; i++) {
		const struct row *r = &b->rows[i];
		bool waits;

		if (r->aside)
			continue;
		waits = redo_waits(&list, r);
		if (waits)
			rc = fail(err, REJECT, "an earlier change of this key was set aside");
		else
			rc = redo_one(s, r, err);
		if (rc == REJECT)
			rc = redo_leave(&list, &b->arena, r, waits, err);
		else if (rc == OK && r->op == OP_TRUNCATE)
			redo_truncated(&list, r);
	}
	*nrejects = list.n;
	redo_forget(&list);
	if (rc != OK) {
		lite_roll_back(s);
		return rc;
	}
	s->applied++;
	return OK;
}

/* ---- tables ---- */

static enum rc
lite_prepare(struct sink *sink, const struct table *tbl, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct lite_target *t = find(s, tbl);
	struct marker m;
	enum rc rc;

	if (t)
		return OK;
	t = calloc(1, sizeof *t);
	if (!t)
		die("out of memory");
	t->source = tbl;
	t->in_txn = s->open;
	rc = s->open ? OK : lite_read_marker(s, &m, err); /* makes towline_table */
	if (rc == OK)
		rc = lite_table(s, t, err);
	if (rc == REJECT && !s->sink.as_is)
		rc = err->rc = FATAL;
	if (rc != OK) {
		arena_free(&t->arena);
		free(t);
		return rc;
	}
	HASH_ADD_PTR(s->targets, source, t);
	return OK;
}

static void
lite_forget(struct sink *sink, const struct table *tbl)
{
	struct lite_target *t = find(self(sink), tbl);

	if (t)
		target_free(self(sink), t);
}

/* ---- open and close ---- */

static void
lite_close(struct sink *sink)
{
	struct sink_sqlite *s = self(sink);
	struct lite_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		target_free(s, t);
	lite_unclaim(s);
	sqlite3_close(s->db);
	for (int i = 0; i < s->params_cap; i++)
		buf_free(&s->params[i]);
	free(s->params);
	free(s);
}

static const struct sink_ops lite_ops = {
	.marker = lite_marker,
	.prepare = lite_prepare,
	.forget = lite_forget,
	.begin = lite_begin,
	.apply = lite_apply,
	.commit = lite_commit,
	.settle = lite_settle,
	.redo = lite_redo,
	.renew = lite_renew,
	.abort = lite_abort,
	.close = lite_close,
	.parking = &lite_park_ops,
	.positions = &lite_position_ops,
};

enum rc
sink_sqlite_open(
    const char *pipeline, const struct conf_sink *conf, struct sink **out, struct err *err)
{
	struct sink_sqlite *s = calloc(1, sizeof *s);
	const char *path = strncmp(conf->url, "sqlite:", 7) == 0 ? conf->url + 7 : conf->url;
	enum rc rc = OK;

	*out = NULL;
	if (!s)
		die("out of memory");
	s->sink = (struct sink){ .ops = &lite_ops, .conf = conf, .pipeline = pipeline };
	s->claim = -1;
	if (strncmp(path, "//", 2) == 0) /* sqlite:///var/lib/copy.db */
		path += 2;
	if (sqlite3_open_v2(path, &s->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		NULL) != SQLITE_OK)
		rc = lite_fail(s, path, err);
	if (rc == OK) {
		sqlite3_busy_timeout(s->db, LITE_BUSY_MS);
		rc = lite_exec(s, path,
		    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF",
		    err);
	}
	if (rc == OK)
		rc = lite_keep_wal(s, path, err);
	if (rc != OK) {
		lite_close(&s->sink);
		return rc;
	}
	*out = &s->sink;
	return OK;
}
