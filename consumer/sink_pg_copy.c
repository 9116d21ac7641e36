/*
 * COPY: half the server's work of an INSERT from arrays, as it puts rows into pages many at a time. libpq has no COPY in pipeline mode, so
 * the pipeline is left for it: worth its two waits for many rows only. While it lasts (sink.busy) the rows stand in s->rows, and go out
 * as the server takes them, while the caller reads others: with each copy_turn. Nothing else can be sent before copy_finish.
 *
 * Binary form: signature "PGCOPY\n\377\r\n\0", int32 flags (0), int32 length of the extension (0); for each row int16 columns, for each of
 * them int32 length (-1: NULL) and the bytes; int16 -1 at the end. Text form: fields parted by tabs, rows ended by newlines, NULL is \N,
 * backslashes before what would mean something else. (PostgreSQL, COPY, "File Formats")
 */
#include "consumer/sink_pg.h"

enum {
	COPY_ROWS = 256,      /* fewer are a statement's */
	PIECE = 64 << 10,     /* bytes handed to libpq at a time, which keeps them until the server takes them */
	DOUBT_MIN = 16,       /* batches that are upserted after a guess was wrong, twice as many each time */
	DOUBT_MAX = 1 << 20,
};

static const char signature[11 + 4 + 4] = "PGCOPY\n\377\r\n"; /* and flags, length */

/* ---- rows ---- */

/* The letter behind the backslash; 0: it stands for itself. */
static char
escape(char c)
{
	switch (c) {
	case '\\': return '\\';
	case '\t': return 't';
	case '\n': return 'n';
	case '\r': return 'r';
	default: return 0;
	}
}

static enum rc
put_text(const struct pg_target *t, int col, const struct value *v, struct buf *text, struct buf *out, struct err *err)
{
	size_t from = 0;
	enum rc rc;

	if (value_is_null(v)) {
		buf_text(out, "\\N");
		return OK;
	}
	buf_reset(text);
	rc = cell_text(t, col, v, text, err);
	for (size_t i = 0; rc == OK && i < text->n; i++) {
		char c = escape(text->p[i]);

		if (!c)
			continue;
		buf_bytes(out, text->p + from, i - from);
		buf_byte(out, '\\');
		buf_byte(out, (uint8_t)c);
		from = i + 1;
	}
	if (rc == OK)
		buf_bytes(out, text->p + from, text->n - from);
	return rc;
}

static enum rc
put_row(struct sink_pg *s, struct pg_target *t, const struct plan *p, const struct value *row, bool *again, struct err *err)
{
	bool text = p->params[0].text;

	if (!text)
		buf_be16(&s->rows, (uint16_t)p->nparams);
	for (int i = 0; i < p->nparams; i++) {
		int col = p->params[i].col;
		enum rc rc;

		if (text && i)
			buf_byte(&s->rows, '\t');
		rc = text ? put_text(t, col, &row[col], &s->text, &s->rows, err) : cell_put(t, col, &row[col], false, &s->rows, err);
		if (rc == REJECT && !text) {
			t->flags[col] |= PLAN_TEXT;
			*again = true;
			return OK;
		}
		if (rc != OK)
			return fail_in(err, "table %s, column %.*s", t->t.name, SLICE_ARG(t->tbl->cols[col].name));
	}
	if (text)
		buf_byte(&s->rows, '\n');
	return OK;
}

/* All rows into s->rows. *again: a value has no binary form, its column now has the flag PLAN_TEXT. */
static enum rc
put_rows(struct sink_pg *s, struct pg_target *t, const struct work *w, const struct plan *p, bool *again, struct err *err)
{
	bool text = p->params[0].text;
	enum rc rc = OK;

	*again = false;
	buf_reset(&s->rows);
	if (!text)
		buf_bytes(&s->rows, signature, sizeof signature);
	for (int i = 0; rc == OK && !*again && i < w->n; i++)
		rc = put_row(s, t, p, w->nets[i].row, again, err);
	if (!text)
		buf_be16(&s->rows, UINT16_MAX);
	if (rc == OK && s->rows.failed)
		rc = fail(err, FATAL, "table %s: a batch of more than %zu bytes; lower batch_bytes", t->t.name, s->rows.n);
	return rc;
}

/* ---- to the server ---- */

/* As much as the connection takes at once. */
static void
give_rows(struct sink_pg *s)
{
	while (s->copying && !s->broken) {
		size_t n = s->rows.n - s->rows_at < PIECE ? s->rows.n - s->rows_at : PIECE;
		int left = PQflush(s->conn);

		if (left > 0)
			return;
		if (left == 0 && n == 0) {
			s->copying = false;
			left = PQputCopyEnd(s->conn, NULL) > 0 ? 0 : -1;
		} else if (left == 0) {
			left = PQputCopyData(s->conn, s->rows.p + s->rows_at, (int)n) > 0 ? 0 : -1;
			s->rows_at += n;
		}
		if (left < 0) {
			struct err why;

			(void)!pg_fail(s->conn, NULL, &why, "sink");
			pipe_fail(s, &why, s->txns[s->ntxns - 1].last);
		}
	}
}

void
copy_turn(struct sink_pg *s)
{
	if (!s->sink.busy)
		return;
	give_rows(s);
	pipe_pump(s);
	if (!s->sent_n || s->broken)
		copy_finish(s);
}

void
copy_finish(struct sink_pg *s)
{
	PGresult *res;

	if (!s->sink.busy)
		return;
	while (s->copying && !s->broken) {
		give_rows(s);
		pipe_flush(s);
	}
	if (s->copying)
		PQputCopyEnd(s->conn, "given up");
	s->copying = s->sink.busy = false;
	pipe_drain(s);
	PQsetnonblocking(s->conn, 0);
	while ((res = PQgetResult(s->conn)))
		PQclear(res);
	pipe_enter(s);
}

static void
copy(struct sink_pg *s, struct pg_target *t, const char *sql, bool guess, const struct batch *b)
{
	pipe_drain(s);
	if (s->broken)
		return;
	pipe_off(s);
	PQsetnonblocking(s->conn, 1);
	pipe_sent(s, PQsendQuery(s->conn, sql),
	    (struct sent){ .kind = SENT_WORK, .target = t, .batch = b, .must_hit = -1, .guess = guess });
	pipe_wait(s);
	s->rows_at = 0;
	s->sink.busy = true;
	copy_turn(s);
}

void
copy_misled(struct pg_target *t)
{
	if (t->doubted < DOUBT_MAX)
		t->doubted = t->doubted ? t->doubted * 2 : DOUBT_MIN;
	t->doubt = t->doubted;
}

/* Without an index nothing would tell that a row is there already. */
static bool
guessed(struct sink_pg *s, struct pg_target *t)
{
	if (!t->t.unique || s->sure)
		return false;
	if (t->doubt)
		t->doubt--;
	return !t->doubt;
}

bool
copy_send(struct sink_pg *s, struct pg_target *t, const struct work *w, const struct batch *b)
{
	struct stmt *st;
	struct err e;
	bool again;

	if (w->n < COPY_ROWS || !t->t.copies)
		return false;
	if (w->kind != WORK_INSERT && (w->kind != WORK_READ || !guessed(s, t)))
		return false;
	sink_work_flags(&t->t, w, t->flags);
	do {
		st = table_stmt(s, t, PLAN_COPY, t->flags);
		if (!st->plan.sql)
			return false;
		if (put_rows(s, t, w, &st->plan, &again, &e) != OK) {
			pipe_fail(s, &e, b);
			return true;
		}
	} while (again);
	copy(s, t, st->plan.sql, w->kind == WORK_READ, b);
	return true;
}
