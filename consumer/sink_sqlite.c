/*
 * The SQLite sink: one row at a time within BEGIN IMMEDIATE, so every call does its work at once and nothing is ever in flight.
 *
 * A committed marker must survive a power cut, as what it stands for is not sent again: WAL with synchronous=FULL.
 */
#include "consumer/sink_impl.h"
#include "core/log.h"
#include "core/pg.h"
#include "schemas/pgtypes.h"
#include "schemas/sql.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <uthash.h>

enum { BUSY_MS = 10000, STMTS_MAX = 200 };

struct lite_stmt {
	struct lite_stmt *next;
	enum plan_kind kind;
	uint8_t *flags;
	struct plan plan;
	sqlite3_stmt *st;         /* NULL: an update that writes nothing */
};

struct lite_target {
	const struct table *tbl;
	struct arena arena;
	struct target t;
	struct lite_stmt *stmts;  /* most recently used first */
	int nstmts;
	uint8_t *flags;
	uint64_t missing;
	bool in_txn;
	UT_hash_handle hh;
};

struct sink_sqlite {
	struct sink sink;
	sqlite3 *db;
	struct lite_target *targets;
	struct marker expected, next; /* of the open or the failed transaction */
	bool open, savepoint;
	int applied;
	struct buf *params;
	int params_cap;
};

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

static enum rc
lite_fail(struct sink_sqlite *s, const char *what, struct err *err)
{
	return fail(err, verdict(sqlite3_errcode(s->db)), "%s: %s", what, sqlite3_errmsg(s->db));
}

static enum rc
exec(struct sink_sqlite *s, const char *what, const char *sql, struct err *err)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : lite_fail(s, what, err);
}

static enum rc
compile(struct sink_sqlite *s, const char *what, const char *sql, sqlite3_stmt **out, struct err *err)
{
	return sqlite3_prepare_v2(s->db, sql, -1, out, NULL) == SQLITE_OK ? OK : lite_fail(s, what, err);
}

/* ---- marker ---- */

static enum rc
lite_marker(struct sink *sink, struct marker *out, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	sqlite3_stmt *st = NULL;
	enum rc rc = exec(s, "create the marker", SQL_SQLITE_MARKER "; " SQL_SQLITE_TABLES, err);
	int step;

	*out = (struct marker){ .spine_offset = -1 };
	if (rc == OK)
		rc = compile(s, "marker", "INSERT OR IGNORE INTO towline_marker (name) VALUES (?1)", &st, err);
	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, sink->pipeline, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	sqlite3_finalize(st);
	if (step != SQLITE_DONE)
		return lite_fail(s, "marker", err);
	if ((rc = compile(s, "read the marker", SQL_SQLITE_MARKER_READ, &st, err)) != OK)
		return rc;
	sqlite3_bind_text(st, 1, sink->pipeline, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = (struct marker){ .spine_offset = sqlite3_column_int64(st, 0), .spine_hash = (uint64_t)sqlite3_column_int64(st, 1),
			.gen = (uint64_t)sqlite3_column_int64(st, 2), .token = (uint64_t)sqlite3_column_int64(st, 3),
			.no = (uint64_t)sqlite3_column_int64(st, 4), .seq = (uint64_t)sqlite3_column_int64(st, 5),
			.lsn = (uint64_t)sqlite3_column_int64(st, 6), .commit_us = sqlite3_column_int64(st, 7),
			.system_id = (uint64_t)sqlite3_column_int64(st, 8) };
	else
		rc = lite_fail(s, "read the marker", err);
	sqlite3_finalize(st);
	return rc;
}

/* Compare and set: one row, or somebody else was here. */
static enum rc
advance(struct sink_sqlite *s, const struct marker *from, const struct marker *to, struct err *err)
{
	const int64_t v[] = { from->spine_offset, (int64_t)from->spine_hash, to->spine_offset, (int64_t)to->spine_hash, (int64_t)to->gen,
		(int64_t)to->token, (int64_t)to->no, (int64_t)to->seq, (int64_t)to->lsn, to->commit_us, (int64_t)to->system_id };
	sqlite3_stmt *st = NULL;
	enum rc rc = compile(s, "marker", SQL_SQLITE_ADVANCE, &st, err);
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
	if (sqlite3_changes(s->db) != 1)
		return fail_exit(err, FATAL, EXIT_REFUSED, "another instance applies to this sink: the marker of %s is not at spine offset %lld"
		    " of generation %llu or older", s->sink.pipeline, (long long)from->spine_offset, (unsigned long long)to->gen);
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
	st->plan = (struct plan){ .sql = p.sql, .nparams = p.nparams, .params = memcpy(at, p.params, params) };
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
statement(struct sink_sqlite *s, struct lite_target *t, enum plan_kind kind, const uint8_t *flags, struct lite_stmt **out, struct err *err)
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
		rc = compile(s, t->t.name, st->plan.sql, &st->st, err);
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
bind_text(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct column *col, const struct value *v, struct err *err)
{
	struct buf *b = &s->params[number - 1];
	enum rc rc;

	buf_reset(b);
	if ((rc = sink_text(col, v, b, err)) != OK)
		return fail_in(err, "column %.*s", SLICE_ARG(col->name));
	sqlite3_bind_text64(st, number, b->n ? b->p : "", b->n, SQLITE_STATIC, SQLITE_UTF8);
	return OK;
}

/* Numbers and bytes that mean nothing else as such; moments, decimals and all the rest as text. SQLite takes a NaN for NULL: text. */
static enum rc
bind_value(struct sink_sqlite *s, sqlite3_stmt *st, int number, const struct column *col, const struct value *v, struct err *err)
{
	bool plain = !col->type.semantic && !v->exact.n;

	if (!v || v->kind <= V_NULL) {
		sqlite3_bind_null(st, number);
		return OK;
	}
	if (plain && (v->kind == V_INT || v->kind == V_BOOL))
		sqlite3_bind_int64(st, number, v->i);
	else if (plain && (v->kind == V_FLOAT || v->kind == V_DOUBLE) && !isnan(v->d))
		sqlite3_bind_double(st, number, v->d);
	else if (plain && v->kind == V_BYTES && col->type.wire == W_BYTES)
		sqlite3_bind_blob64(st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
	else if (plain && v->kind == V_AVRO && col->type.wire == W_OTHER)
		sqlite3_bind_blob64(st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
	else if (plain && v->kind == V_STRING)
		sqlite3_bind_text64(st, number, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC, SQLITE_UTF8);
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
		log_warn("sink", "rows to change were not at the sink", "table=%s missing=%llu", t->t.name, (unsigned long long)t->missing + 1);
	t->missing++;
}

/* Run the statement once it is bound. */
static enum rc
run(struct sink_sqlite *s, struct lite_target *t, struct lite_stmt *st, bool must_hit, struct err *err)
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
run_net(struct sink_sqlite *s, struct lite_target *t, enum plan_kind kind, const struct net *net, struct err *err)
{
	struct lite_stmt *st;
	enum rc rc = statement(s, t, kind, t->flags, &st, err);

	if (rc != OK || !st->st)
		return rc;
	ensure_params(s, st->plan.nparams);
	for (int i = 0; i < st->plan.nparams && rc == OK; i++) {
		const struct plan_param *p = &st->plan.params[i];

		rc = bind_value(s, st->st, i + 1, &t->tbl->cols[p->col], &(p->old ? net->key : net->row)[p->col], err);
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

		if ((rc = statement(s, t, steps.step[k].kind, steps.step[k].flags, &st, err)) != OK || !st->st)
			continue;
		ensure_params(s, st->plan.nparams);
		for (int i = 0; i < st->plan.nparams && rc == OK; i++) {
			const struct plan_param *p = &st->plan.params[i];

			rc = bind_value(s, st->st, i + 1, &t->tbl->cols[p->col], sink_row_value(r, st->kind, p), err);
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
	enum rc rc = exec(s, t->t.name, arena_printf(&a, "DELETE FROM %s", t->t.name), err);

	arena_free(&a);
	return rc;
}

static enum rc
need(struct sink_sqlite *s, const struct table *tbl, struct lite_target **out, struct err *err)
{
	*out = find(s, tbl);
	return *out ? OK : fail(err, FATAL, "table %.*s.%.*s was not prepared", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
}

static enum rc
run_work(struct sink_sqlite *s, const struct work *w, struct err *err)
{
	static const enum plan_kind kinds[] = { [WORK_DELETE] = PLAN_ROW_DELETE, [WORK_UPDATE] = PLAN_ROW_UPDATE,
		[WORK_INSERT] = PLAN_ROW_INSERT, [WORK_UPSERT] = PLAN_ROW_UPSERT };
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
	two = w->kind == WORK_UPSERT && !t->t.unique;
	for (int i = 0; i < w->n && rc == OK; i++) {
		if (two)
			rc = run_net(s, t, PLAN_ROW_DELETE, &w->nets[i], err);
		if (rc == OK)
			rc = run_net(s, t, two ? PLAN_ROW_INSERT : kinds[w->kind], &w->nets[i], err);
	}
	return rc;
}

/* ---- transactions ---- */

static void
roll_back(struct sink_sqlite *s)
{
	struct err ignored;

	if (!sqlite3_get_autocommit(s->db))
		(void)!exec(s, "roll back", "ROLLBACK", &ignored);
	s->open = s->savepoint = false;
	s->applied = 0;
	forget_open(s);
}

static enum rc
lite_begin(struct sink *sink, const struct marker *expected, const struct marker *next, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	enum rc rc;

	if (s->open)
		return fail(err, FATAL, "sink %s: begin inside a transaction", sink->conf->name);
	if ((rc = exec(s, "begin", "BEGIN IMMEDIATE", err)) != OK)
		return rc;
	s->expected = *expected;
	s->next = *next;
	s->open = true;
	if ((rc = advance(s, expected, next, err)) != OK)
		roll_back(s);
	return rc;
}

static enum rc
lite_apply(struct sink *sink, const struct batch *b, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct err ignored;
	enum rc rc = OK;

	if (!s->open)
		return fail(err, FATAL, "sink %s: apply outside of a transaction", sink->conf->name);
	sink->failed = NULL;
	if (s->applied > 0) {
		rc = exec(s, "savepoint", s->savepoint ? "RELEASE towline_apply; SAVEPOINT towline_apply" : "SAVEPOINT towline_apply", err);
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
	if (rc != REJECT || !s->savepoint || exec(s, "roll back", "ROLLBACK TO towline_apply", &ignored) != OK)
		roll_back(s);
	return rc;
}

static enum rc
lite_commit(struct sink *sink, const struct marker *next, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	enum rc rc = OK;

	if (!s->open)
		return fail(err, FATAL, "sink %s: commit outside of a transaction", sink->conf->name);
	if (s->next.spine_offset != next->spine_offset || s->next.no != next->no || s->next.seq != next->seq || s->next.lsn != next->lsn)
		rc = advance(s, &s->next, next, err);
	if (rc == OK)
		rc = exec(s, "commit", "COMMIT", err);
	if (rc != OK) {
		roll_back(s);
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
	roll_back(self(sink));
}

/* ---- redo ---- */

static enum rc
redo_one(struct sink_sqlite *s, const struct row *r, struct err *err)
{
	struct lite_target *t;
	struct err ignored;
	enum rc rc = need(s, r->tbl, &t, err);

	if (rc == OK)
		rc = exec(s, "savepoint", "SAVEPOINT towline_row", err);
	if (rc != OK)
		return rc;
	rc = r->op == OP_TRUNCATE ? truncate_table(s, t, err) : run_row(s, t, r, err);
	if (rc == REJECT && exec(s, "roll back", "ROLLBACK TO towline_row", &ignored) != OK)
		return *err = ignored, ignored.rc;
	if (exec(s, "release", "RELEASE towline_row", rc == OK ? err : &ignored) != OK && rc == OK)
		rc = err->rc;
	return rc;
}

static enum rc
lite_redo(struct sink *sink, struct batch *b, struct reject *rejects, int max_rejects, int *nrejects, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct marker expected = s->expected, next = s->next;
	enum rc rc = OK;
	int n = 0;

	*nrejects = 0;
	if (!s->open)
		rc = lite_begin(sink, &expected, &next, err);
	for (int i = 0; i < b->nrows && rc == OK; i++) {
		const struct row *r = &b->rows[i];

		if (sink_row_waits(rejects, n, r))
			rc = fail(err, REJECT, "an earlier change of this key was set aside");
		else
			rc = redo_one(s, r, err);
		if (rc == REJECT && n < max_rejects) {
			rejects[n++] = (struct reject){ r, arena_text(&b->arena, slice_of(err->text)) };
			rc = OK;
		}
	}
	if (rc != OK) {
		roll_back(s);
		return rc;
	}
	s->applied++;
	*nrejects = n;
	return OK;
}

/* ---- tables ---- */

/* "schema.table" is "table" for public, else "schema_table". */
static struct slice
sink_name(const struct table *tbl, struct arena *a)
{
	if (slice_is(tbl->schema, "public") || slice_is(tbl->schema, "main") || tbl->schema.n == 0)
		return tbl->name;
	return slice_of(arena_printf(a, "%.*s_%.*s", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name)));
}

/* Two source tables may come to one name: the first one that took it keeps it. */
static enum rc
claim_name(struct sink_sqlite *s, struct lite_target *t, struct slice name, struct err *err)
{
	const char *source = arena_printf(&t->arena, "%.*s.%.*s", SLICE_ARG(t->tbl->schema), SLICE_ARG(t->tbl->name));
	sqlite3_stmt *st = NULL;
	enum rc rc = compile(s, "table names", "INSERT INTO towline_table (name, source) VALUES (?1, ?2)"
	    " ON CONFLICT (name) DO UPDATE SET source = source RETURNING source", &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, name.p, (int)name.n, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, source, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_ROW)
		rc = lite_fail(s, "table names", err);
	else if (strcmp((const char *)sqlite3_column_text(st, 0), source) != 0)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "tables %s and %s would both go to %s; leave one out",
		    (const char *)sqlite3_column_text(st, 0), source, t->t.name);
	sqlite3_finalize(st);
	return rc;
}

static bool
is_key(const struct table *tbl, int col)
{
	for (int i = 0; i < tbl->nkeys; i++)
		if (tbl->keys[i] == col)
			return true;
	return false;
}

static enum rc
create_table(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct buf sql = { 0 };
	enum rc rc;

	if (!s->sink.conf->create_tables)
		return fail_exit(err, FATAL, EXIT_REFUSED, "table %s does not exist at the sink; create it, or set create_tables: true", t->t.name);
	buf_printf(&sql, "CREATE TABLE %s (", t->t.name);
	for (int i = 0; i < tbl->ncols; i++)
		buf_printf(&sql, "%s%s %s%s", i ? ", " : "", pg_ident(&t->arena, tbl->cols[i].name), sqlite_create(&tbl->cols[i].type),
		    tbl->cols[i].notnull || is_key(tbl, i) ? " NOT NULL" : "");
	for (int i = 0; i < tbl->nkeys; i++)
		buf_printf(&sql, "%s%s", i ? ", " : ", PRIMARY KEY (", pg_ident(&t->arena, tbl->cols[tbl->keys[i]].name));
	buf_text(&sql, tbl->nkeys ? "))" : ")");
	rc = exec(s, t->t.name, buf_cstr(&sql), err);
	buf_free(&sql);
	if (rc == OK)
		log_info("sink", "table created", "sink=%s table=%s", s->sink.conf->name, t->t.name);
	return rc;
}

static enum rc
add_column(struct sink_sqlite *s, struct lite_target *t, int col, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	const char *policy = s->sink.conf->on_schema_change;
	const char *sql = arena_printf(&t->arena, "ALTER TABLE %s ADD COLUMN %s %s", t->t.name, pg_ident(&t->arena, c->name),
	    sqlite_create(&c->type));
	enum rc rc;

	if (policy && strcmp(policy, "ignore") == 0 && !is_key(t->tbl, col)) {
		log_warn("sink", "a column is left out", "sink=%s table=%s column=%s", s->sink.conf->name, t->t.name, c->name.p);
		return OK;
	}
	if ((policy && strcmp(policy, "stop") == 0) || is_key(t->tbl, col))
		return fail_exit(err, FATAL, EXIT_REFUSED, "table %s lacks column %s at the sink; %s", t->t.name, c->name.p, sql);
	if ((rc = exec(s, t->t.name, sql, err)) != OK)
		return rc;
	t->t.cols[col].name = c->name;
	log_info("sink", "column added", "sink=%s table=%s column=%s", s->sink.conf->name, t->t.name, c->name.p);
	return OK;
}

/* Columns as they are; *there: the table exists. table_xinfo lists generated ones too (hidden 2 and 3). */
static enum rc
read_columns(struct sink_sqlite *s, struct lite_target *t, bool *there, bool *generated, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = compile(s, "look up the columns", arena_printf(&t->arena, "PRAGMA table_xinfo(%s)", t->t.name), &st, err);

	*there = false;
	if (rc != OK)
		return rc;
	while (sqlite3_step(st) == SQLITE_ROW) {
		/* SQLite compares names without case. */
		const char *name = (const char *)sqlite3_column_text(st, 1);

		*there = true;
		for (int i = 0; i < t->tbl->ncols; i++)
			if (sqlite3_stricmp(name, t->tbl->cols[i].name.p) == 0) {
				generated[i] = sqlite3_column_int(st, 6) >= 2;
				if (!generated[i])
					t->t.cols[i].name = t->tbl->cols[i].name;
			}
	}
	sqlite3_finalize(st);
	return OK;
}

/* The statement compiles exactly when a unique index fits it. */
static void
find_unique(struct sink_sqlite *s, struct lite_target *t)
{
	struct arena a = { 0 };
	sqlite3_stmt *st = NULL;

	for (int i = 0; i < t->t.ncols; i++)
		t->flags[i] = PLAN_SET;
	t->t.unique = sqlite3_prepare_v2(s->db, plan_make(&t->t, PLAN_ROW_UPSERT, t->flags, &a).sql, -1, &st, NULL) == SQLITE_OK;
	sqlite3_finalize(st);
	arena_free(&a);
	if (!t->t.unique)
		log_warn("sink", "no unique index on the key: upserts become delete and insert", "sink=%s table=%s", s->sink.conf->name,
		    t->t.name);
}

static enum rc
target_make(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct slice name = sink_name(tbl, &t->arena);
	bool *generated = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *generated), there;
	enum rc rc;

	t->t = (struct target){ .dialect = DIALECT_SQLITE, .ncols = tbl->ncols, .nkeys = tbl->nkeys, .keys = tbl->keys };
	t->t.name = pg_ident(&t->arena, name);
	t->t.cols = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *t->t.cols);
	t->flags = arena_alloc(&t->arena, (size_t)tbl->ncols * 2 + 1);
	if ((rc = claim_name(s, t, name, err)) != OK || (rc = read_columns(s, t, &there, generated, err)) != OK)
		return rc;
	if (!there) {
		if ((rc = create_table(s, t, err)) != OK)
			return rc;
		if ((rc = read_columns(s, t, &there, generated, err)) != OK)
			return rc;
	}
	for (int i = 0; i < tbl->ncols; i++)
		if (!t->t.cols[i].name.n && !generated[i] && (rc = add_column(s, t, i, err)) != OK)
			return rc;
	if (tbl->nkeys)
		find_unique(s, t);
	return OK;
}

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
	t->tbl = tbl;
	t->in_txn = s->open;
	rc = s->open ? OK : lite_marker(sink, &m, err); /* makes towline_table */
	if (rc == OK)
		rc = target_make(s, t, err);
	if (rc == REJECT)
		rc = err->rc = FATAL;
	if (rc != OK) {
		arena_free(&t->arena);
		free(t);
		return rc;
	}
	HASH_ADD_PTR(s->targets, tbl, t);
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
	sqlite3_close(s->db);
	for (int i = 0; i < s->params_cap; i++)
		buf_free(&s->params[i]);
	free(s->params);
	free(s);
}

static const struct sink_ops lite_ops = {
	.marker = lite_marker, .prepare = lite_prepare, .forget = lite_forget, .begin = lite_begin, .apply = lite_apply,
	.commit = lite_commit, .settle = lite_settle, .redo = lite_redo, .abort = lite_abort, .close = lite_close,
};

enum rc
sink_sqlite_open(const char *pipeline, const struct conf_sink *conf, struct sink **out, struct err *err)
{
	struct sink_sqlite *s = calloc(1, sizeof *s);
	const char *path = strncmp(conf->url, "sqlite:", 7) == 0 ? conf->url + 7 : conf->url;
	enum rc rc = OK;

	*out = NULL;
	if (!s)
		die("out of memory");
	s->sink = (struct sink){ .ops = &lite_ops, .conf = conf, .pipeline = pipeline };
	if (strncmp(path, "//", 2) == 0) /* sqlite:///var/lib/copy.db */
		path += 2;
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		rc = lite_fail(s, path, err);
	if (rc == OK) {
		sqlite3_busy_timeout(s->db, BUSY_MS);
		rc = exec(s, path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF", err);
	}
	if (rc != OK) {
		(void)fail_in(err, "sink %s", conf->name);
		lite_close(&s->sink);
		return rc;
	}
	*out = &s->sink;
	return OK;
}
