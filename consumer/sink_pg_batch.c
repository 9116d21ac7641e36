/*
 * Works and rows as statements with their parameters.
 *
 * A set-based parameter is a PostgreSQL array in binary (array_recv): int32 dimensions (1), int32
 * has-NULLs, oid of the element type, int32 length, int32 lower bound (1), then for each element
 * int32 length (-1: NULL) and its bytes.
 */
#include "consumer/sink_pg.h"
#include "schemas/pgtypes.h"

#include <stdlib.h>

enum { ARRAY_HEADER = 20, FORMAT_TEXT = 0, FORMAT_BINARY = 1 };

static void
ensure_bufs(struct sink_pg *s, int n)
{
	if (n <= s->ncols_cap)
		return;
	s->cols = realloc(s->cols, (size_t)n * sizeof *s->cols);
	if (!s->cols)
		die("out of memory");
	memset(s->cols + s->ncols_cap, 0, (size_t)(n - s->ncols_cap) * sizeof *s->cols);
	s->ncols_cap = n;
}

/* ---- values ---- */

/* A vector goes into an array of numbers too, which is what a sink makes for one of a Debezium. */
static enum rc
put_text(const struct pg_target *t, int col, const struct value *v, struct buf *out, struct err *err)
{
	enum { FLOAT4_ARRAY = 1021, FLOAT8_ARRAY };
	const struct column *c = &t->tbl->cols[col];
	uint32_t typid = t->t.cols[col].typid;
	size_t from = out->n;
	enum rc rc = sink_text(c, v, out, err);

	if (rc == OK && c->type.wire == W_COMPOUND && (typid == FLOAT4_ARRAY || typid == FLOAT8_ARRAY) && out->n > from + 1 &&
	    out->p[from] == '[') {
		out->p[from] = '{';
		out->p[out->n - 1] = '}';
	}
	return rc;
}

enum rc
cell_put(const struct pg_target *t, int col, const struct value *v, bool text, struct buf *out, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	size_t at = out->n;
	enum rc rc;

	if (value_is_null(v)) {
		buf_be32(out, UINT32_MAX);
		return OK;
	}
	buf_be32(out, 0);
	rc = text ? put_text(t, col, v, out, err) : pgtype_binary_value(&c->type, t->t.cols[col].typid, v, out, err);
	if (rc != OK)
		return rc;
	if (out->failed)
		return fail(err, FATAL, "a batch of more than %zu bytes; lower batch_bytes", out->n);
	put_be32(out->p + at, (uint32_t)(out->n - at - 4));
	return OK;
}

enum rc
cell_text(const struct pg_target *t, int col, const struct value *v, struct buf *out, struct err *err)
{
	enum rc rc = put_text(t, col, v, out, err);

	if (rc == OK && out->n && memchr(out->p, '\0', out->n))
		rc = fail(err, REJECT, "a zero byte, which PostgreSQL's text cannot hold");
	return rc;
}

/* ---- sets ---- */

static enum rc
encode_array(const struct pg_target *t, const struct work *w, const struct plan_param *p,
    struct buf *out, struct err *err)
{
	bool nulls = false;

	buf_reset(out);
	buf_be32(out, 1);
	buf_be32(out, 0);
	buf_be32(out, p->text ? PG_TEXT : t->t.cols[p->col].typid);
	buf_be32(out, (uint32_t)w->n);
	buf_be32(out, 1);
	for (int i = 0; i < w->n; i++) {
		const struct value *v = &(p->old ? w->nets[i].key : w->nets[i].row)[p->col];
		enum rc rc = cell_put(t, p->col, v, p->text, out, err);

		if (rc != OK)
			return rc;
		nulls = nulls || value_is_null(v);
	}
	if (!out->failed)
		put_be32(out->p + 4, nulls);
	return OK;
}

/*
 * All parameters of the statement. *again: a value has no binary form, its column now has the flag
 * PLAN_TEXT.
 */
static enum rc
encode_arrays(struct sink_pg *s, struct pg_target *t, const struct work *w, const struct stmt *st,
    bool *again, struct err *err)
{
	*again = false;
	ensure_bufs(s, st->plan.nparams);
	for (int i = 0; i < st->plan.nparams; i++) {
		const struct plan_param *p = &st->plan.params[i];
		enum rc rc = encode_array(t, w, p, &s->cols[i], err);

		if (rc == REJECT && !p->text) {
			t->flags[p->col] |= PLAN_TEXT;
			*again = true;
			return OK;
		}
		if (rc != OK)
			return fail_in(err, "table %s, column %.*s", t->t.name,
			    SLICE_ARG(t->tbl->cols[p->col].name));
	}
	return OK;
}

static void
stmt_parse(struct sink_pg *s, struct pg_target *t, struct stmt *st, const struct batch *b)
{
	if (st->sent)
		return;
	st->sent = true;
	pipe_sent(s, PQsendPrepare(s->conn, st->name, st->plan.sql, 0, NULL),
	    (struct sent){ .kind = SENT_PARSE, .stmt = st, .target = t, .batch = b, .must_hit = -1 });
}

static void
stmt_send(struct sink_pg *s, struct pg_target *t, struct stmt *st, int format, int must_hit,
    const struct batch *b)
{
	int n = st->plan.nparams;
	const char **values = calloc((size_t)n + 1, sizeof *values);
	int *lengths = calloc((size_t)n + 1, sizeof *lengths),
	    *formats = calloc((size_t)n + 1, sizeof *formats);

	if (!values || !lengths || !formats)
		die("out of memory");
	for (int i = 0; i < n; i++) {
		values[i] = s->cols[i].n ? s->cols[i].p : NULL;
		lengths[i] = (int)s->cols[i].n;
		formats[i] = format;
	}
	stmt_parse(s, t, st, b);
	pipe_sent(s,
	    PQsendQueryPrepared(s->conn, st->name, n, values, lengths, formats, FORMAT_TEXT),
	    (struct sent){ .kind = SENT_WORK,
		.target = t,
		.batch = b,
		.must_hit = must_hit,
		.counted = st->kind == PLAN_UPDATE && t->t.counted });
	free(values);
	free(lengths);
	free(formats);
	pipe_flush(s);
}

static void
send_set(struct sink_pg *s, struct pg_target *t, enum plan_kind kind, const struct work *w,
    const struct batch *b)
{
	struct stmt *st;
	struct err e;
	bool again;

	sink_work_flags(&t->t, w, t->flags);
	do {
		st = table_stmt(s, t, kind, t->flags);
		if (!st->plan.sql)
			return;
		if (encode_arrays(s, t, w, st, &again, &e) != OK) {
			pipe_fail(s, &e, b);
			return;
		}
	} while (again);
	stmt_send(s, t, st, FORMAT_BINARY, kind == PLAN_UPDATE ? w->n : -1, b);
}

/* ---- rows ---- */

/* Parameters of a row plan: texts that end in a NUL. An empty buffer is NULL. */
static enum rc
encode_row(struct sink_pg *s, const struct pg_target *t, const struct row *r, const struct stmt *st,
    struct err *err)
{
	ensure_bufs(s, st->plan.nparams);
	for (int i = 0; i < st->plan.nparams; i++) {
		const struct plan_param *p = &st->plan.params[i];
		const struct value *v = sink_row_value(r, st->kind, p);
		struct buf *out = &s->cols[i];
		enum rc rc;

		buf_reset(out);
		if (!v || value_is_null(v))
			continue;
		if ((rc = cell_text(t, p->col, v, out, err)) != OK)
			return fail_in(
			    err, "table %s, column %.*s", t->t.name, SLICE_ARG(t->tbl->cols[p->col].name));
		buf_byte(out, '\0');
	}
	return OK;
}

static void
send_row(struct sink_pg *s, struct pg_target *t, const struct row *r, const struct batch *b)
{
	struct row_steps steps;
	struct err e;

	if (sink_row_steps(&t->t, r, t->flags, &steps, &e) != OK) {
		pipe_fail(s, &e, b);
		return;
	}
	for (int i = 0; i < steps.n && !s->broken; i++) {
		struct stmt *st = table_stmt(s, t, steps.step[i].kind, steps.step[i].flags);

		if (!st->plan.sql)
			continue;
		if (encode_row(s, t, r, st, &e) != OK) {
			pipe_fail(s, &e, b);
			return;
		}
		stmt_send(s, t, st, FORMAT_TEXT, steps.must_hit && i == steps.n - 1 ? 1 : -1, b);
	}
}

static enum rc
exec_stmt(struct sink_pg *s, struct pg_target *t, const struct row *r, struct stmt *st,
    bool must_hit, struct err *err)
{
	const char **values;
	PGresult *res;
	enum rc rc = encode_row(s, t, r, st, err);

	if (rc != OK)
		return rc;
	if (!st->ready) {
		res = PQprepare(s->conn, st->name, st->plan.sql, 0, NULL);
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			rc = pg_fail(s->conn, res, err, t->t.name);
		PQclear(res);
		if (rc != OK)
			return rc;
		st->sent = st->ready = true;
	}
	values = calloc((size_t)st->plan.nparams + 1, sizeof *values);
	if (!values)
		die("out of memory");
	for (int i = 0; i < st->plan.nparams; i++)
		values[i] = s->cols[i].n ? s->cols[i].p : NULL;
	res = PQexecPrepared(s->conn, st->name, st->plan.nparams, values, NULL, NULL, FORMAT_TEXT);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		rc = pg_fail(s->conn, res, err, t->t.name);
	else if (must_hit && strcmp(PQcmdTuples(res), "0") == 0)
		note_missing(t, 1);
	PQclear(res);
	free(values);
	return rc;
}

/* TRUNCATE is refused for a table that a foreign key refers to, whoever asks: then row by row. */
static enum rc
exec_truncate(struct sink_pg *s, struct pg_target *t, struct err *err)
{
	struct arena a = { 0 };
	PGresult *res;
	enum rc rc = pg_exec(s->conn, "savepoint", "SAVEPOINT towline_truncate", NULL, err);
	bool refused;

	if (rc != OK)
		return rc;
	res = PQexec(s->conn, arena_printf(&a, "TRUNCATE %s", t->t.name));
	refused = PQresultStatus(res) != PGRES_COMMAND_OK;
	if (refused)
		rc = pg_fail(s->conn, res, err, t->t.name);
	if (refused && PQresultErrorField(res, PG_DIAG_SQLSTATE) &&
	    strcmp(PQresultErrorField(res, PG_DIAG_SQLSTATE), "0A000") == 0) {
		rc = pg_exec(
		    s->conn, "roll back", "ROLLBACK TO SAVEPOINT towline_truncate", NULL, err);
		if (rc == OK)
			rc = pg_exec(s->conn, t->t.name,
			    arena_printf(&a, "DELETE FROM %s", t->t.name), NULL, err);
	}
	if (rc == OK)
		rc = pg_exec(s->conn, "release", "RELEASE SAVEPOINT towline_truncate", NULL, err);
	PQclear(res);
	arena_free(&a);
	return rc;
}

static enum rc
no_target(const struct table *tbl, struct err *err)
{
	return fail(err, FATAL, "table %.*s.%.*s was not prepared", SLICE_ARG(tbl->schema),
	    SLICE_ARG(tbl->name));
}

enum rc
row_exec(struct sink_pg *s, const struct row *r, struct err *err)
{
	struct pg_target *t = table_find(s, r->tbl);
	struct row_steps steps;
	enum rc rc;

	if (!t)
		return no_target(r->tbl, err);
	if ((rc = sink_row_steps(&t->t, r, t->flags, &steps, err)) != OK)
		return rc;
	if (steps.truncate)
		return exec_truncate(s, t, err);
	for (int i = 0; i < steps.n && rc == OK; i++) {
		struct stmt *st = table_stmt(s, t, steps.step[i].kind, steps.step[i].flags);

		if (st->plan.sql)
			rc = exec_stmt(s, t, r, st, steps.must_hit && i == steps.n - 1, err);
	}
	return rc;
}

/* ---- works ---- */

/*
 * Truncates that follow each other are one statement, as at the source: tables that refer to each
 * other go only together. Returns how many.
 */
static int
send_truncate(struct sink_pg *s, const struct batch *b, int from)
{
	struct pg_target *t = NULL;
	int n = 0;

	buf_reset(&s->text);
	buf_text(&s->text, "TRUNCATE ");
	for (; from + n < b->nworks && b->works[from + n].kind == WORK_TRUNCATE; n++) {
		struct pg_target *one = table_find(s, b->works[from + n].tbl);

		if (!one) {
			struct err e;

			(void)!no_target(b->works[from + n].tbl, &e);
			pipe_fail(s, &e, b);
			return 1;
		}
		t = one;
		buf_printf(&s->text, "%s%s", n ? ", " : "", t->t.name);
	}
	pipe_sent(s,
	    PQsendQueryParams(s->conn, buf_cstr(&s->text), 0, NULL, NULL, NULL, NULL, FORMAT_TEXT),
	    (struct sent){ .kind = SENT_WORK, .target = t, .batch = b, .must_hit = -1 });
	return n;
}

/*
 * PostgreSQL takes a table that was never analysed for one row when its row, by the types alone, is wider than a page. A plan by that
 * reads the whole table for each batch, and compares every row of it with every row that comes. One column tells it the number.
 */
static void
count_wide(struct sink_pg *s, struct pg_target *t)
{
	if (t->counted || t->t.ncols < WIDE_COLUMNS || !t->t.nkeys)
		return;
	t->counted = true;
	buf_reset(&s->text);
	buf_printf(&s->text, "ANALYZE (SKIP_LOCKED) %s (", t->t.name);
	buf_printf(&s->text, "%s)", pg_ident(&t->arena, t->t.cols[t->t.keys[0]].name));
	pipe_sent(s, PQsendQueryParams(s->conn, buf_cstr(&s->text), 0, NULL, NULL, NULL, NULL, FORMAT_TEXT),
	    (struct sent){ .kind = SENT_CONTROL, .must_hit = -1 });
}

static void
send_work(struct sink_pg *s, const struct work *w, const struct batch *b)
{
	struct pg_target *t = table_find(s, w->tbl);
	struct err e;

	if (!t) {
		(void)!no_target(w->tbl, &e);
		pipe_fail(s, &e, b);
		return;
	}
	if (w->kind == WORK_DELETE || w->kind == WORK_UPDATE)
		count_wide(s, t);
	if (s->broken)
		return;
	if (copy_send(s, t, w, b))
		return;
	switch (w->kind) {
	case WORK_DELETE:
		send_set(s, t, PLAN_DELETE, w, b);
		break;
	case WORK_UPDATE:
		send_set(s, t, PLAN_UPDATE, w, b);
		break;
	case WORK_INSERT:
		send_set(s, t, PLAN_INSERT, w, b);
		break;
	case WORK_READ:
	case WORK_UPSERT:
		if (t->t.unique) {
			send_set(s, t, PLAN_UPSERT, w, b);
			break;
		}
		send_set(s, t, PLAN_DELETE, w, b);
		if (!s->broken)
			send_set(s, t, PLAN_INSERT, w, b);
		break;
	case WORK_ROW:
		send_row(s, t, w->nets[0].last, b);
		break;
	case WORK_TRUNCATE:
		break;
	}
}

void
batch_send(struct sink_pg *s, const struct batch *b)
{
	for (int i = 0; i < b->nworks && !s->broken; i++) {
		pipe_enter(s);
		if (b->works[i].kind == WORK_TRUNCATE)
			i += send_truncate(s, b, i) - 1;
		else
			send_work(s, &b->works[i], b);
	}
	if (!s->broken && !s->sink.busy)
		pipe_flush(s);
}
