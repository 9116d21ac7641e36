/*
 * snapshot_whole.c - tables without a key: their rows cannot be told apart, so a change can neither be laid over a row nor come twice.
 *
 *   a mark is written -> the stream reaches it and is held -> snapshot -> BEGIN, truncate, all rows, COMMIT -> the stream goes on
 *                                                                \-> copiers, a range of the heap's blocks each
 *
 * One transaction takes the whole table, so that a crash in the middle of it leaves nothing behind; in it the rows have no order, so it
 * does not matter which copier has one. Everything that was streamed before is
 * in the snapshot, or it is taken again; what the snapshot saw and the stream brings afterwards is left out, until another mark comes that
 * was written behind the snapshot.
 */
#include "core/cursor.h"
#include "core/log.h"
#include "core/now.h"
#include "producer/snapshot_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	AHEAD_BYTES = 2 << 20,   /* rows that were read and are not out, and those that are being read */
	MORE_BYTES_MAX = 512 << 10, /* of a job */
	MORE_BYTES_MIN = 64 << 10,
	HOLD_MS = 3000, /* for a snapshot that sees what was streamed; then the stream goes on first */
	AGAIN_MS = 20,
	EARLY_MS = 200,
	LATER_MS = 10000,
};

enum rc
snapshot_emit(struct snapshot *s, const char *what, uint64_t number, struct err *err)
{
	char content[80];
	const char *params[1] = { content };

	snprintf(content, sizeof content, "%s %" PRIu64 " %" PRIu64, what, s->token, number);
	return pg_exec_params(s->sql, "write a mark", "SELECT pg_logical_emit_message(true, 'towline', $1)", 1, params, NULL, err);
}

uint64_t
snapshot_number(struct snapshot *s, struct slice content, const char *what)
{
	const char *text = arena_text(&s->mark_arena, content);
	size_t n = strlen(what);
	uint64_t token, number;

	if (strncmp(text, what, n) != 0 || sscanf(text + n, " %" SCNu64 " %" SCNu64, &token, &number) != 2 || token != s->token)
		return 0;
	return number;
}

/* Transactions from before the table was published must be over, and that is not to be waited for with the stream held. */
enum rc
snapshot_early(struct snapshot *s, struct member *m, bool *early, struct err *err)
{
	struct copy_snapshot snap = { 0 };
	PGresult *res = NULL;
	enum rc rc = pg_exec(s->sql, "take a snapshot", "SELECT pg_current_snapshot()", &res, err);

	*early = rc == OK && copy_snapshot_parse(PQgetvalue(res, 0, 0), &snap) && snap.xmin < m->copy.since;
	free(snap.running);
	PQclear(res);
	if (*early) {
		snapshot_tell_early(s, m);
		m->retry_ms = now_ms() + EARLY_MS;
	} else if (rc == OK) {
		m->early_ms = 0;
	}
	return rc;
}

enum rc
whole_ask(struct snapshot *s, struct member *m, struct err *err)
{
	bool early;
	enum rc rc;

	if (s->whole.state != WHOLE_NONE || now_ms() < m->retry_ms)
		return OK;
	rc = snapshot_early(s, m, &early, err);
	if (rc == OK && early)
		return OK;
	s->whole.m = m;
	s->whole.number = ++s->number;
	if (rc == OK)
		rc = snapshot_emit(s, "whole", s->whole.number, err);
	if (rc == OK)
		s->whole.state = WHOLE_ASKED;
	return rc;
}

static size_t
more_bytes(const struct snapshot *s)
{
	size_t n = AHEAD_BYTES / 2 / (size_t)s->conf->snapshot_jobs;

	return n > MORE_BYTES_MAX ? MORE_BYTES_MAX : n < MORE_BYTES_MIN ? MORE_BYTES_MIN : n;
}

static void
give(struct snapshot *s, enum job_kind kind, int copier)
{
	struct member *m = s->whole.m;
	struct job *j = job_new(kind);

	j->number = s->whole.number;
	j->copier = copier;
	j->schema = arena_text(&j->arena, slice_of(m->schema));
	j->name = arena_text(&j->arena, slice_of(m->name));
	j->where = member_where(s, m, &j->arena);
	j->table = m->table;
	j->since = m->copy.since;
	j->readers = (int)s->conf->snapshot_jobs;
	j->share = &s->whole.share;
	j->bytes_max = more_bytes(s);
	s->whole.given++;
	copiers_give(s->whole.copiers, j);
}

/* A job for each that has none. A wide row may be more than was asked for: what is at hand counts as it is. */
static void
give_more(struct snapshot *s)
{
	for (int i = 0; s->whole.state == WHOLE_COPYING && i < (int)s->conf->snapshot_jobs; i++) {
		if (!(s->whole.idle >> i & 1))
			continue;
		if (s->whole.bytes + (size_t)s->whole.given * more_bytes(s) >= AHEAD_BYTES)
			return;
		s->whole.idle &= ~(UINT64_C(1) << i);
		give(s, JOB_MORE, i + 1);
	}
}

void
whole_mark(struct snapshot *s, struct slice content, const struct txn *txn)
{
	uint64_t number = snapshot_number(s, content, "whole");

	if (number && s->whole.state == WHOLE_ASKED && number == s->whole.number) {
		s->whole.state = WHOLE_HELD;
		s->whole.mark = *txn;
		s->whole.mark.origin = (struct slice){ NULL, 0 };
		s->whole.held_ms = now_ms();
		if (!s->whole.copiers)
			s->whole.copiers = copiers_start(s->conf, (int)s->conf->snapshot_jobs);
		give(s, JOB_WHOLE, 1);
	}
	number = snapshot_number(s, content, "seen");
	if (number)
		for (struct member *m = s->members; m; m = m->next)
			if (m->copy.seen && m->seen_number == number)
				m->passed = s->sent + 1; /* when what comes next is in Kafka for good, nothing of it comes again */
}

/* The stream goes on, and the table's turn comes again. */
void
whole_end(struct snapshot *s, int64_t retry_ms)
{
	bool broken = s->whole.broken || s->whole.in_txn;
	struct job *j;

	if (s->whole.m)
		s->whole.m->retry_ms = now_ms() + retry_ms;
	copiers_stop(s->whole.copiers);
	while ((j = s->whole.first)) {
		s->whole.first = j->next;
		job_free(j);
	}
	free(s->whole.seen);
	free(s->whole.share.snapshot);
	arena_free(&s->whole.arena);
	memset(&s->whole, 0, sizeof s->whole);
	s->whole.broken = broken;
}

static bool
unseen(struct snapshot *s, const struct job *j)
{
	streamed_prune(s, &j->snapshot);
	return s->nstreamed > 0;
}

/* The snapshot, as text. */
static char *
text_of(const struct copy_snapshot *snap)
{
	struct buf b = { 0 };
	char *text;

	buf_printf(&b, "%" PRIu64 ":%" PRIu64 ":", snap->xmin, snap->xmax);
	for (int i = 0; i < snap->nrunning; i++)
		buf_printf(&b, "%s%" PRIu64, i ? "," : "", snap->running[i]);
	text = strdup(buf_cstr(&b));
	buf_free(&b);
	if (!text)
		die("out of memory");
	return text;
}

static enum rc
begun(struct snapshot *s, struct job *j, struct err *err)
{
	struct member *m = s->whole.m;
	const struct table *now;
	enum rc rc;

	if (j->rc == RETRY || j->early || j->changed || (j->rc == OK && unseen(s, j))) {
		if (j->rc == OK && !j->early && !j->changed)
			snapshot_tell_unseen(s, m);
		if (j->rc == OK && !j->early && !j->changed && now_ms() - s->whole.held_ms < HOLD_MS) {
			s->whole.again_ms = now_ms() + AGAIN_MS;
			return OK;
		}
		if (j->rc == RETRY)
			snapshot_waits(s, m, j->err.text);
		m->stale = j->changed;
		whole_end(s, j->early || j->changed ? 200 : LATER_MS);
		return OK;
	}
	if (j->rc != OK) {
		struct err why = j->err;

		whole_end(s, 0);
		snapshot_fail(s, m, COPY_FAILED, why.text);
		return OK;
	}
	m->unseen_ms = 0;
	now = s->source->ops->table(s->source, m->table->relation.relid);
	rc = s->source->ops->adopt(s->source, &m->table->relation, m->table->text, now, &s->whole.tbl, err);
	if (rc == AGAIN) {
		whole_end(s, 1000);
		return OK;
	}
	s->whole.seen = text_of(&j->snapshot);
	give(s, JOB_SHARE, 1);
	return rc;
}

/* All can join: rows come. */
static void
shared(struct snapshot *s, struct job *j)
{
	struct member *m = s->whole.m;
	int jobs = (int)s->conf->snapshot_jobs, n = j->parts.n < jobs ? j->parts.n : jobs;

	if (j->rc != OK) {
		snapshot_waits(s, m, j->err.text);
		whole_end(s, LATER_MS);
		return;
	}
	log_info("producer", "all rows of a table without key, in one transaction", "table=\"%s.%s\" connections=%d parts=%d", m->schema,
	    m->name, n, j->parts.n);
	s->whole.share.parts = j->parts;
	s->whole.share.snapshot = strdup(j->exported);
	if (!s->whole.share.snapshot)
		die("out of memory");
	s->whole.idle = (UINT64_C(1) << n) - 1;
	s->whole.state = WHOLE_COPYING;
}

/* What a copier has read. */
static void
take_more(struct snapshot *s, struct job *j)
{
	struct job **at = &s->whole.first;

	if (j->out)
		log_info("producer", "a table is read by a connection less", "table=\"%s.%s\" reason=\"%s\"", s->whole.m->schema,
		    s->whole.m->name, j->err.text);
	if (j->rc == OK && !j->end)
		s->whole.idle |= UINT64_C(1) << (j->copier - 1);
	if (j->rc == OK && !j->nrows) {
		job_free(j);
		return;
	}
	while (*at)
		at = &(*at)->next;
	*at = j;
	s->whole.bytes += j->rows.cap;
}

enum rc
whole_turn(struct snapshot *s, uint64_t accepted, struct err *err)
{
	struct member *m = s->whole.m;
	struct job *j;
	enum rc rc = OK;

	while (rc == OK && s->whole.copiers && (j = copiers_take(s->whole.copiers))) {
		s->whole.given--;
		if (j->kind == JOB_MORE) {
			take_more(s, j);
			continue;
		}
		if (j->kind == JOB_WHOLE)
			rc = begun(s, j, err);
		else
			shared(s, j);
		job_free(j);
	}
	if (rc == OK && s->whole.state == WHOLE_HELD && !s->whole.given && now_ms() >= s->whole.again_ms)
		give(s, JOB_WHOLE, 1);
	give_more(s);
	if (s->whole.state == WHOLE_COPYING && m->copy.rows != s->whole.told_rows) {
		s->whole.told_rows = m->copy.rows;
		snapshot_written(s, m, false);
	}
	if (rc == OK && s->whole.state == WHOLE_SENT && s->whole.no <= accepted) {
		m->copy.ranges[0].done = true;
		m->copy.state = COPY_DONE;
		m->copy.empty = false;
		copy_complete(&m->copy, s->source->accepted);
		m->copy.ended_ms = wall_us() / 1000;
		log_info("producer", "table copied", "table=\"%s.%s\" rows=%" PRId64 " ms=%" PRId64, m->schema, m->name, m->copy.rows,
		    m->copy.ended_ms - m->copy.began_ms);
		snapshot_written(s, m, true);
		whole_end(s, 0);
	}
	for (m = s->members; m && rc == OK; m = m->next) {
		if (m->copy.seen && !m->seen_number) {
			m->seen_number = ++s->number;
			rc = snapshot_emit(s, "seen", m->seen_number, err);
		} else if (m->copy.seen && m->passed && m->passed <= accepted && m->copy.state != COPY_RUNNING) {
			whole_forget(m);
			snapshot_written(s, m, true);
		}
	}
	return rc;
}

void
whole_forget(struct member *m)
{
	copy_text(&m->copy.seen, NULL);
	free(m->seen.running);
	m->seen = (struct copy_snapshot){ 0 };
	m->seen_number = m->passed = 0;
}

bool
snapshot_holds(const struct snapshot *s)
{
	return s->whole.state == WHOLE_HELD || s->whole.state == WHOLE_COPYING || s->whole.broken;
}

bool
whole_ready(const struct snapshot *s)
{
	const struct whole *w = &s->whole;

	return w->state == WHOLE_COPYING && (w->first || (!w->given && !w->idle) || w->m->copy.state == COPY_STOPPED);
}

static struct txn
whole_txn(const struct snapshot *s)
{
	struct txn t = s->whole.mark;

	t.xid = 0;
	t.commit_lsn += 1;
	return t;
}

/* All is out, and the lock and the snapshot are not needed any more. */
static void
sent(struct snapshot *s)
{
	copiers_stop(s->whole.copiers);
	s->whole.copiers = NULL;
	s->whole.state = WHOLE_SENT;
}

/* All rows are out: what the snapshot saw is left out of the stream from now on. */
static void
leave_out(const struct snapshot *s, struct member *m)
{
	whole_forget(m);
	copy_text(&m->copy.seen, s->whole.seen);
	if (!copy_snapshot_parse(m->copy.seen, &m->seen))
		die("a snapshot that was read is none");
}

static void
sent_all(struct snapshot *s)
{
	sent(s);
	s->whole.no = s->sent;
}

static enum rc
next_row(struct snapshot *s, struct job *j, const struct value **out, struct err *err)
{
	const struct relation *rel = s->whole.m->table->rel;
	struct cursor at = cursor_of((struct slice){ j->rows.p + s->whole.at, j->rows.n - s->whole.at });
	enum rc rc;

	arena_reset(&s->whole.arena);
	rc = copy_row_take(rel, s->whole.tbl, &at, &s->whole.arena, out, err);
	s->whole.at = j->rows.n - cursor_left(&at);
	s->whole.row++;
	return rc;
}

/* What is out is void by the next OPEN. */
static enum rc
fail_copy(struct snapshot *s, const struct job *j, struct err *err)
{
	struct member *m = s->whole.m;
	struct err why = j->err;

	if (j->rc == RETRY && s->whole.began)
		return fail(err, RETRY, "table %s.%s: %s", m->schema, m->name, why.text);
	if (j->rc == RETRY) {
		snapshot_waits(s, m, why.text);
		whole_end(s, LATER_MS);
	} else {
		snapshot_fail(s, m, COPY_FAILED, why.text);
	}
	return AGAIN;
}

static void
drop_first(struct snapshot *s)
{
	struct job *j = s->whole.first;

	s->whole.first = j->next;
	s->whole.bytes -= j->rows.cap;
	s->whole.row = 0;
	s->whole.at = 0;
	job_free(j);
	give_more(s);
}

/* AGAIN: nothing for now. */
enum rc
whole_next(struct snapshot *s, struct source_event *ev, struct err *err)
{
	struct job *j = s->whole.first;
	struct member *m = s->whole.m;
	const struct value *row;
	enum rc rc;

	*ev = (struct source_event){ .kind = SRC_COMMIT, .txn = whole_txn(s) };
	if (m->copy.state == COPY_STOPPED) { /* its TRUNCATE was refused: nothing of the transaction is out */
		bool in_txn = s->whole.in_txn;

		s->whole.in_txn = false;
		snapshot_leave(s, m);
		return in_txn ? OK : AGAIN;
	}
	if (j && j->rc != OK)
		return fail_copy(s, j, err);
	if (j && s->whole.row == j->nrows) {
		drop_first(s);
		return AGAIN;
	}
	if (!j && s->whole.in_txn && s->whole.truncated) {
		ev->kind = SRC_COMMIT;
		s->whole.in_txn = false;
		leave_out(s, m);
		return OK;
	}
	if (!j && s->whole.truncated) {
		sent_all(s);
		return AGAIN;
	}
	if (!j && !m->truncate) {
		sent(s); /* there was nothing, and nothing is at the sinks: the stream is all */
		return AGAIN;
	}
	if (!s->whole.in_txn && !s->whole.began) {
		ev->kind = SRC_BEGIN;
		s->whole.in_txn = s->whole.began = true;
		return OK;
	}
	ev->kind = SRC_CHANGE;
	if (!s->whole.truncated) {
		ev->change = (struct change){ .op = OP_TRUNCATE, .tbl = s->whole.tbl, .lsn = s->whole.mark.commit_lsn,
			.reshaped = s->source->ops->begins(s->source, m->table->relation.relid) };
		s->whole.truncated = true;
		member_emptied(s, m, s->whole.tbl);
		return OK;
	}
	rc = next_row(s, j, &row, err);
	if (rc == REJECT) {
		snapshot_fail(s, m, COPY_FAILED, err->text);
		return AGAIN;
	}
	ev->change = (struct change){ .op = OP_READ, .tbl = s->whole.tbl, .after = row, .lsn = s->whole.mark.commit_lsn };
	m->copy.rows++;
	return rc;
}
