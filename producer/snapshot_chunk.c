/*
 * snapshot_chunk.c - chunks from a copier to the stream.
 */
#include "core/cursor.h"
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"
#include "producer/snapshot_impl.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CHUNK_BYTES = 2 << 20,
	WINDOW_BYTES = 8 << 20,
	ROWS_MIN = 64,
	PIECE_BYTES = 64 << 10,
	PIECES = 30, /* of a chunk at most: see piece_txn */
	RETRY_MS = 1000,
	EARLY_MS = 100,
	UNSEEN_MS = 20,
	SLOW_MS = 3000,
};

/* ---- transactions that a snapshot may not see yet ---- */

/*
 * PostgreSQL sends a transaction before others see it: a commit that waits for a synchronous standby for as long as that takes, any for a
 * moment. A chunk that does not see what was streamed before its window would put old rows behind new ones.
 */
static void
streamed_add(struct snapshot *s, uint32_t xid)
{
	if (s->nstreamed == s->streamed_cap) {
		s->streamed_cap = s->streamed_cap ? s->streamed_cap * 2 : 1024;
		s->streamed = realloc(s->streamed, (size_t)s->streamed_cap * sizeof *s->streamed);
		if (!s->streamed)
			die("out of memory");
	}
	s->streamed[s->nstreamed++] = (struct streamed){ xid, s->place++ };
}

void
streamed_prune(struct snapshot *s, const struct copy_snapshot *seen)
{
	int kept = 0;

	for (int i = 0; i < s->nstreamed; i++)
		if (!copy_snapshot_sees(seen, s->streamed[i].xid))
			s->streamed[kept++] = s->streamed[i];
	s->nstreamed = kept;
}

/* After a prune by its own snapshot: is one left from before the place? */
static bool
streamed_unseen(const struct snapshot *s, uint32_t place)
{
	for (int i = 0; i < s->nstreamed; i++)
		if ((int32_t)(s->streamed[i].place - place) < 0)
			return true;
	return false;
}

/* ---- life of a chunk ---- */

const char *
member_where(const struct snapshot *s, const struct member *m, struct arena *a)
{
	struct slice rows = conf_of_table(s->conf->rows, slice_of(m->schema), slice_of(m->name));

	if (!rows.n)
		return m->copy.where ? arena_text(a, slice_of(m->copy.where)) : NULL;
	if (!m->copy.where)
		return arena_text(a, rows);
	return arena_printf(a, "(%.*s\n) AND (%s\n)", SLICE_ARG(rows), m->copy.where);
}

void
chunk_begin(struct snapshot *s, struct member *m, int range)
{
	struct copy_range *r = &m->copy.ranges[range];
	struct reach *reach = &m->reaches[range];
	struct chunk *c = calloc(1, sizeof *c), **at = &s->chunks;
	struct job *j = job_new(JOB_CHUNK);
	const char *from = reach->at ? reach->at : r->from;

	if (!c)
		die("out of memory");
	*c = (struct chunk){ .number = ++s->number, .m = m, .range = range, .job = j, .window = window_open(WINDOW_BYTES),
		.seen = s->source->ops->table(s->source, m->table->relation.relid), .place = s->place };
	j->number = c->number;
	j->schema = m->schema;
	j->name = m->name;
	j->table = m->table;
	j->since = m->copy.since;
	j->where = member_where(s, m, &j->arena);
	j->from = from ? arena_text(&j->arena, slice_of(from)) : NULL;
	j->to = r->to ? arena_text(&j->arena, slice_of(r->to)) : NULL;
	j->rows_max = m->rows_max;
	j->bytes_max = CHUNK_BYTES;
	j->mark = arena_printf(&j->arena, "chunk %" PRIu64 " %" PRIu64, s->token, c->number);
	reach->busy = c;
	m->chunks++;
	s->nchunks++;
	while (*at)
		at = &(*at)->next;
	*at = c;
	copiers_give(s->copiers, j);
}

static void
chunk_free(struct snapshot *s, struct chunk *c)
{
	for (struct chunk **at = &s->chunks; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	if (s->out.chunk == c) {
		s->out.chunk = NULL;
		s->out.in_txn = false;
	}
	window_close(c->window);
	job_free(c->job);
	c->m->chunks--;
	s->nchunks--;
	free(c);
}

/* One that is read belongs to a copier yet: it is freed when it comes back. */
static void
give_up(struct snapshot *s, struct chunk *c)
{
	if (c->state == CHUNK_READING)
		c->dead = true;
	else
		chunk_free(s, c);
}

void
chunks_drop(struct snapshot *s, const struct member *m)
{
	for (struct chunk *c = s->chunks, *next; c; c = next) {
		next = c->next;
		if (!m || c->m == m)
			give_up(s, c);
	}
	for (struct member *o = s->members; o; o = o->next)
		for (int i = 0; o->reaches && (!m || o == m) && i < o->copy.nranges; i++) {
			copy_text(&o->reaches[i].at, o->copy.ranges[i].at);
			o->reaches[i].end = o->copy.ranges[i].done;
		}
}

/* The range from this chunk on again: the ones behind it too, as progress has no holes. */
static void
read_again(struct snapshot *s, struct chunk *c)
{
	struct member *m = c->m;
	struct reach *reach = &m->reaches[c->range];
	const char *from = c->job->from, *start = m->copy.ranges[c->range].from;
	uint64_t number = c->number;
	int range = c->range;

	copy_text(&reach->at, from && start && strcmp(from, start) == 0 ? NULL : from);
	reach->end = false;
	for (struct chunk *o = s->chunks, *next; o; o = next) {
		next = o->next;
		if (o->m == m && o->range == range && o->number >= number)
			give_up(s, o);
	}
}

/* What it was read by does not hold any more: the table is looked at anew, when nothing refers to what was known of it. */
static void
look_again(struct snapshot *s, struct member *m)
{
	chunks_drop(s, m);
	m->stale = true;
}

static struct chunk *
chunk_of(struct snapshot *s, uint64_t number)
{
	for (struct chunk *c = s->chunks; c; c = c->next)
		if (c->number == number)
			return c;
	return NULL;
}

/*
 * Where commits wait for sinks, and one of these for this copy, they wait for each other: the copy begins behind transactions that have
 * not ended, and sees none that waits. Nobody but the operator can end that, so it is said what does.
 */
static void
tell_wait(struct snapshot *s, struct member *m, const char *what)
{
	struct arena a = { 0 };
	const char *out = "";

	if (s->conf->synchronous == SYNC_APPLIED)
		out = "; where those are commits that wait for sinks (synchronous: applied), start the sinks that do not answer (towline"
		      " check names them) or, until the copy is done, the producer with --set synchronous.mode=kafka";
	snapshot_waits(s, m, arena_printf(&a, "the copy of a table waits for %s%s", what, out));
	arena_free(&a);
}

void
snapshot_tell_early(struct snapshot *s, struct member *m)
{
	int64_t now = now_ms();

	m->early_ms = m->early_ms ? m->early_ms : now;
	if (now - m->early_ms < SLOW_MS)
		return;
	tell_wait(s, m, "older transactions to end");
}

void
snapshot_tell_unseen(struct snapshot *s, struct member *m)
{
	int64_t now = now_ms();

	m->unseen_ms = m->unseen_ms ? m->unseen_ms : now;
	if (now - m->unseen_ms < SLOW_MS)
		return;
	tell_wait(s, m, "commits that wait for a synchronous standby, as nobody sees their rows before");
}

/* It was read: does the snapshot see all that was streamed before? */
static void
take_rows(struct snapshot *s, struct chunk *c)
{
	struct job *j = c->job;
	struct reach *reach = &c->m->reaches[c->range];

	streamed_prune(s, &j->snapshot);
	if (streamed_unseen(s, c->place)) {
		reach->retry_ms = now_ms() + UNSEEN_MS;
		snapshot_tell_unseen(s, c->m);
		chunk_free(s, c);
		return;
	}
	c->m->early_ms = c->m->unseen_ms = 0;
	if (c->m->copy.reason)
		copy_text(&c->m->copy.reason, NULL);
	c->state = CHUNK_AWAITED; /* without a row too: what is streamed before its mark may have moved one to where the copy has been */
	c->no = s->sent;
	c->rows = j->nrows;
	reach->end = j->end;
	if (j->last)
		copy_text(&reach->at, j->last);
	if (j->nrows && !j->end && j->rows.n < CHUNK_BYTES / 2)
		c->m->rows_max = (int)s->conf->snapshot_rows;
}

void
chunk_read(struct snapshot *s, struct job *j)
{
	struct chunk *c = chunk_of(s, j->number);
	struct member *m = c->m;
	struct reach *reach = m->reaches ? &m->reaches[c->range] : NULL;

	if (reach && reach->busy == c)
		reach->busy = NULL;
	if (c->dead) {
		chunk_free(s, c);
	} else if (j->rc == RETRY) {
		snapshot_waits(s, m, j->err.text);
		reach->retry_ms = now_ms() + RETRY_MS;
		chunk_free(s, c);
	} else if (j->rc != OK) {
		char why[sizeof j->err.text];

		snprintf(why, sizeof why, "%s", j->err.text);
		snapshot_fail(s, m, COPY_FAILED, why);
		if (chunk_of(s, j->number))
			chunk_free(s, c);
	} else if (j->changed) {
		c->dead = true;
		look_again(s, m);
		chunk_free(s, c);
	} else if (j->early) {
		snapshot_tell_early(s, m);
		reach->retry_ms = now_ms() + EARLY_MS;
		chunk_free(s, c);
	} else {
		take_rows(s, c);
	}
}

/* Its rows are in Kafka for good. */
static void
complete(struct snapshot *s, struct chunk *c)
{
	struct member *m = c->m;
	struct copy_range *r = &m->copy.ranges[c->range];
	bool done = true;

	if (c->job->last)
		copy_text(&r->at, c->job->last);
	r->done = c->job->end || !c->job->nrows;
	m->copy.rows += c->rows;
	for (int i = 0; i < m->copy.nranges; i++)
		done = done && m->copy.ranges[i].done;
	log_debug("producer", "chunk copied", "table=\"%s.%s\" chunk=%" PRIu64 " rows=%" PRId64 " of_all=%" PRId64, m->schema, m->name,
	    c->number, c->rows, m->copy.rows);
	if (done) {
		m->copy.state = COPY_DONE;
		copy_complete(&m->copy, s->source->accepted);
		m->copy.ended_ms = wall_us() / 1000;
		log_info("producer", "table copied", "table=\"%s.%s\" rows=%" PRId64 " ms=%" PRId64, m->schema, m->name, m->copy.rows,
		    m->copy.ended_ms - m->copy.began_ms);
	}
	snapshot_written(s, m, done);
	chunk_free(s, c);
}

static bool
is_first(const struct snapshot *s, const struct chunk *c)
{
	const struct chunk *o = s->chunks;

	while (o->m != c->m || o->range != c->range || o->dead)
		o = o->next;
	return o == c;
}

void
chunks_accept(struct snapshot *s, uint64_t accepted)
{
	for (struct chunk *c = s->chunks, *next; c; c = next) {
		next = c->next;
		if (c->state == CHUNK_SENT && !c->dead && c->no <= accepted && is_first(s, c))
			complete(s, c);
	}
}

/* ---- the stream ---- */

void
snapshot_mark(struct snapshot *s, struct slice content)
{
	arena_reset(&s->mark_arena);
	s->mark = arena_slice(&s->mark_arena, content);
}

/* The chunk that the mark is of; its copier wrote the mark and is about to hand it over. */
static struct chunk *
marked(struct snapshot *s)
{
	uint64_t number = snapshot_number(s, s->mark, "chunk");
	struct chunk *c;
	struct job *j;

	while ((c = chunk_of(s, number)) && c->state == CHUNK_READING && !c->dead && !stop_requested()) {
		poll(&(struct pollfd){ .fd = copiers_fd(s->copiers), .events = POLLIN }, 1, 100);
		while ((j = copiers_take(s->copiers)))
			snapshot_take_job(s, j);
	}
	return c && c->state == CHUNK_AWAITED && !c->dead ? c : NULL;
}

void
snapshot_commit(struct snapshot *s, const struct txn *txn)
{
	struct chunk *c = s->mark.n ? marked(s) : NULL;

	if (txn->xid && !s->off)
		streamed_add(s, txn->xid);
	if (s->mark.n) {
		whole_mark(s, s->mark, txn);
		empty_mark(s, s->mark, txn);
	}
	s->mark = (struct slice){ NULL, 0 };
	if (!c)
		return;
	c->state = CHUNK_READY;
	c->mark = *txn;
	c->mark.origin = (struct slice){ NULL, 0 };
}

/* ---- rows out ---- */

/* No chunk comes into the transaction of a whole table; those that the stream had passed before go first. */
static bool
chunk_ready(const struct snapshot *s)
{
	if (s->whole.in_txn || s->whole.broken)
		return false;
	for (const struct chunk *c = s->chunks; c; c = c->next)
		if (c->state == CHUNK_READY && !c->dead)
			return true;
	return false;
}

bool
snapshot_ready(const struct snapshot *s)
{
	return chunk_ready(s) || whole_ready(s) || empty_ready(s);
}

/* It can be published as it is: by which table version? AGAIN: no, it was given up. */
static enum rc
begin_chunk(struct snapshot *s, struct chunk *c, struct err *err)
{
	struct member *m = c->m;
	const struct copy_table *t = m->table;
	enum rc rc;

	s->out.in_txn = false;
	if (window_spoilt(c->window)) {
		m->rows_max = m->rows_max / 2 < ROWS_MIN ? ROWS_MIN : m->rows_max / 2;
		read_again(s, c);
		return AGAIN;
	}
	rc = s->source->ops->adopt(s->source, &t->relation, t->text, c->seen, &s->out.tbl, err);
	if (rc == AGAIN) {
		look_again(s, m);
		return AGAIN;
	}
	if (rc != OK)
		return rc;
	if (window_table(c->window) && window_table(c->window) != s->out.tbl) {
		read_again(s, c);
		return AGAIN;
	}
	s->out.chunk = c;
	s->out.row = s->out.pieces = 0;
	s->out.first = true;
	s->out.at = s->out.piece = 0;
	s->out.have = NULL;
	s->out.piece_max = c->job->rows.n / PIECES > PIECE_BYTES ? c->job->rows.n / PIECES : PIECE_BYTES;
	return OK;
}

/* The next row that is still there into out.have; NULL: none is left. */
static enum rc
next_row(struct snapshot *s, struct err *err)
{
	const struct chunk *c = s->out.chunk;
	const struct relation *rel = c->m->table->rel;
	const struct table *tbl = s->out.tbl;

	while (!s->out.have && s->out.row < c->job->nrows) {
		struct cursor at = cursor_of((struct slice){ c->job->rows.p + s->out.at, c->job->rows.n - s->out.at });
		const struct value *row;
		enum rc rc;

		arena_reset(&s->out.arena);
		rc = copy_row_take(rel, tbl, &at, &s->out.arena, &row, err);
		if (rc != OK)
			return rc;
		s->out.row++;
		s->out.row_bytes = c->job->rows.n - s->out.at - cursor_left(&at);
		s->out.at += s->out.row_bytes;
		s->out.have = window_quiet(c->window) ? row : window_row(c->window, tbl, row, &s->out.arena);
	}
	return OK;
}

/*
 * Transactions of their own, behind the one of the mark and before any other: its commit record is longer than there are pieces, so
 * that each has an LSN that no other has.
 */
static struct txn
piece_txn(const struct snapshot *s)
{
	struct txn t = s->out.chunk->mark;

	t.xid = 0;
	t.commit_lsn += 1 + (uint64_t)s->out.pieces;
	return t;
}

/* What is being published is of no use any more: a transaction that was begun ends with what it has. AGAIN: none was. */
static enum rc
break_off(struct snapshot *s, struct source_event *ev)
{
	bool in_txn = s->out.in_txn;

	*ev = (struct source_event){ .kind = SRC_COMMIT, .txn = piece_txn(s) };
	return in_txn ? OK : AGAIN;
}

static void
end_chunk(struct snapshot *s)
{
	struct chunk *c = s->out.chunk;

	c->state = CHUNK_SENT;
	c->no = s->sent;
	buf_free(&c->job->rows);
	window_close(c->window);
	c->window = NULL;
	s->out.chunk = NULL;
}

static enum rc
next_event(struct snapshot *s, struct source_event *ev, struct err *err)
{
	bool full = s->out.in_txn && s->out.piece >= s->out.piece_max;
	enum rc rc = full ? OK : next_row(s, err);

	if (rc != OK)
		return rc;
	*ev = (struct source_event){ .txn = piece_txn(s) };
	if (s->out.in_txn && (full || !s->out.have)) {
		ev->kind = SRC_COMMIT;
		s->out.in_txn = false;
		s->out.piece = 0;
		s->out.pieces++;
	} else if (!s->out.have) {
		end_chunk(s);
		return AGAIN;
	} else if (!s->out.in_txn) {
		ev->kind = SRC_BEGIN;
		s->out.in_txn = true;
	} else {
		ev->kind = SRC_CHANGE;
		ev->change = (struct change){ .op = OP_READ, .tbl = s->out.tbl, .after = s->out.have, .lsn = s->out.chunk->mark.commit_lsn,
			.reshaped = s->out.first && s->source->ops->begins(s->source, s->out.chunk->m->table->relation.relid) };
		s->out.first = false;
		s->out.piece += s->out.row_bytes;
		s->out.have = NULL;
	}
	return OK;
}

enum rc
snapshot_next(struct snapshot *s, struct source_event *ev, struct err *err)
{
	enum rc rc = AGAIN;

	if (!s->out.chunk && empty_ready(s))
		return empty_next(s, ev, err);
	if (!s->out.chunk && !chunk_ready(s) && whole_ready(s))
		return whole_next(s, ev, err);
	if (s->out.chunk && s->out.chunk->m->copy.state == COPY_STOPPED) {
		rc = break_off(s, ev);
		snapshot_leave(s, s->out.chunk->m);
		return rc;
	}
	while (rc == AGAIN && (s->out.chunk || chunk_ready(s))) {
		struct chunk *c = s->chunks;

		rc = OK;
		while (!s->out.chunk && (c->state != CHUNK_READY || c->dead))
			c = c->next;
		if (!s->out.chunk)
			rc = begin_chunk(s, c, err);
		if (rc == OK)
			rc = next_event(s, ev, err);
	}
	if (rc == REJECT) { /* of one value, in the middle of a transaction: it ends with what it has */
		rc = break_off(s, ev);
		snapshot_fail(s, s->out.chunk->m, COPY_FAILED, err->text);
	}
	return rc;
}

void
snapshot_sent(struct snapshot *s, uint64_t no)
{
	s->sent = no;
}
