/*
 * session_sink.c - the sink's transactions: sent, confirmed, redone row by row, and what is set aside meanwhile.
 */
#include "consumer/names.h"
#include "consumer/session.h"
#include "core/log.h"
#include "core/now.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Everything up to group no is here; the producer may be waiting for that. */
void
session_applied(struct session *s, uint64_t no)
{
	uint64_t one = 1;

	atomic_store_explicit(&s->flow->applied[s->number], no, memory_order_release);
	if (s->flow->wake_fd >= 0 && write(s->flow->wake_fd, &one, sizeof one) < 0)
		log_debug(s->at, "wake", "%s", "");
}

/* Nothing is on its way into the sink: it has everything that was read. */
static bool
at_rest(const struct session *s)
{
	return !s->open && !s->sent[0].busy && !s->sent[1].busy && s->f->next.spine_offset == s->f->applied.spine_offset &&
	    !s->f->state.partial && s->f->state.no == s->has.no;
}

enum rc
session_tell(struct session *s, struct err *err)
{
	bool whole;
	enum rc rc = s->teller ? teller_look(s->teller, &whole, err) : OK;

	if (rc != OK || !s->teller)
		return rc;
	if (!whole) {
		if (s->flow)
			atomic_store(&s->flow->applied[s->number], 0);
		return OK;
	}
	/* An OPEN without groups behind it moves no marker, but whoever wrote it waits to hear of it. */
	if (at_rest(s)) {
		s->has.gen = s->f->state.gen;
		s->has.token = s->f->state.token;
	}
	if (s->flow && atomic_load_explicit(&s->flow->applied[s->number], memory_order_relaxed) != s->has.no)
		session_applied(s, s->has.no);
	teller_say(s->teller, &s->has);
	return OK;
}

void
session_show(struct session *s, const struct marker *at)
{
	gauge_at(s->gauge, s->lane ? s->lane->no : 0,
	    &(struct gauge_at){ .gen = at->gen, .no = at->no, .seq = at->seq, .lsn = at->lsn, .commit_us = at->commit_us });
	if (s->gauge)
		atomic_store(&s->gauge->parked, s->parked.entries);
}

/* What is committed is told at once. */
static void
tell(struct session *s)
{
	struct err err;

	/* A control topic that cannot be read is told of by the loop, which asks again. */
	if (s->teller && session_tell(s, &err) != OK)
		log_debug(s->at, err.text, "%s", "");
}

static void
note_committed(struct session *s, struct sent *t)
{
	s->rows_committed += t->rows;
	s->committed = true;
	if (s->gauge)
		atomic_fetch_add(&s->gauge->rows, t->rows);
	session_show(s, &t->next);
	s->has = (struct applied){ .gen = t->next.gen, .token = t->next.token, .no = t->next.no };
	if (s->flow) {
		atomic_fetch_add(&s->flow->rows[s->number], t->rows);
		atomic_store(&s->flow->commit_us[s->number], t->next.commit_us);
		atomic_store(&s->flow->lag_us[s->number], wall_us() - t->next.commit_us);
		if (!s->teller)
			session_applied(s, t->next.no);
	}
	t->busy = false;
	t->rows = 0;
	batch_reset(&t->batch, release_message);
	tell(s);
}

/* Which keys wait, as the sink says. */
enum rc
session_load_parked(struct session *s, struct err *err)
{
	enum rc rc;

	parked_free(&s->parked);
	rc = s->sink->ops->parking->load(s->sink, &s->parked, err);
	if (rc == OK && s->flow)
		atomic_store(&s->flow->parked[s->number], (uint64_t)s->parked.entries);
	return rc == OK ? parked_bounded(&s->parked, s->conf->name, err) : rc;
}

/* What of b is not for the sink, or was refused by it, goes into the dead letters: in its transaction, which is open. */
static enum rc
put_aside(struct session *s, const struct batch *b, const struct reject *rejects, int n, struct err *err)
{
	struct aside_place place = { .at = s->at, .sink = s->sink, .dead = s->dead, .parked = &s->parked, .barrier = s->barrier };
	int64_t more;
	enum rc rc = aside_store(&place, b, rejects, n, &more, err);

	if (rc == OK && more && s->flow)
		atomic_fetch_add(&s->flow->parked[s->number], (uint64_t)more);
	return rc;
}

static enum rc
prepare(struct session *s, const struct batch *b, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < b->nworks && rc == OK; i++) {
		gauge_table(s->gauge, b->works[i].tbl->schema, b->works[i].tbl->name);
		rc = s->sink->ops->prepare(s->sink, b->works[i].tbl, err);
	}
	return rc;
}

/* The set-based form of b was refused: row by row in exact order. The sink's transaction stays open. */
static enum rc
redo(struct session *s, struct batch *b, struct err *err)
{
	bool aside = s->conf->on_error == ON_ERROR_DEADLETTER;
	struct reject *rejects = calloc((size_t)b->nrows + 1, sizeof *rejects);
	int n = 0;
	enum rc rc = OK;

	if (!rejects)
		die("out of memory");
	log_info(s->at, "batch refused, done again with care", "rows=%d reason=\"%s\"", b->nrows, err->text);
	/* A row that comes to nothing in its batch has not been prepared for. */
	for (int i = 0; i < b->nrows && rc == OK; i++)
		if (!b->rows[i].aside)
			rc = s->sink->ops->prepare(s->sink, b->rows[i].tbl, err);
	if (rc == OK)
		rc = s->sink->ops->redo(s->sink, b, rejects, aside ? b->nrows : 0, &n, err);
	if (rc == REJECT)
		rc = fail(err, FATAL, "%s; correct the sink and start again, or set on_error: dead-letter", err->text);
	if (rc == OK)
		rc = put_aside(s, b, rejects, n, err);
	free(rejects);
	return rc;
}

static enum rc
commit(struct session *s, struct sent *t, struct err *err)
{
	enum rc rc = session_put_positions(s, t, err);

	return rc == OK ? s->sink->ops->commit(s->sink, &t->next, err) : rc;
}

/* Send a whole sink transaction up to its commit: begin, rows. */
static enum rc
send_whole(struct session *s, struct sent *t, struct err *err)
{
	const struct sink_ops *ops = s->sink->ops;
	enum rc rc = prepare(s, &t->batch, err);

	if (rc == OK)
		rc = ops->begin(s->sink, &t->expected, &t->next, err);
	if (rc == OK)
		rc = ops->apply(s->sink, &t->batch, err);
	return rc == OK ? put_aside(s, &t->batch, NULL, 0, err) : rc;
}

/* Into the transaction that is open, and wait. */
static enum rc
send_part(struct session *s, struct sent *t, struct err *err)
{
	enum rc rc = s->sink->ops->apply(s->sink, &t->batch, err);

	if (rc == OK)
		rc = s->sink->ops->settle(s->sink, 0, err);
	if (rc == REJECT)
		return redo(s, &t->batch, err);
	return rc == OK ? put_aside(s, &t->batch, NULL, 0, err) : rc;
}

/* Rows of parked keys wait behind them (consumer/parked.h). */
static void
plan(struct session *s, struct batch *b)
{
	if (s->parked.n || b->special)
		parked_route(&s->parked, b);
	batch_plan(b);
}

static enum rc
redo_whole(struct session *s, struct sent *t, struct err *err)
{
	enum rc rc = redo(s, &t->batch, err);

	t->due = false;
	if (rc == OK)
		rc = commit(s, t, err);
	if (rc == OK)
		rc = s->sink->ops->settle(s->sink, 0, err);
	if (rc == OK)
		note_committed(s, t);
	return rc;
}

/*
 * After a refusal everything that was sent and not confirmed is undone in the sink. The one that broke (sink->failed) is redone; an
 * older one was confirmed before it, a newer one is sent again.
 */
static enum rc
recover(struct session *s, struct err *err)
{
	struct sent *older = &s->sent[!s->fill], *newer = &s->sent[s->fill];
	bool older_broke = older->busy && s->sink->failed == &older->batch;
	enum rc rc;

	if (older->busy && !older_broke)
		note_committed(s, older);
	if (!older_broke)
		return redo_whole(s, newer, err);
	rc = redo_whole(s, older, err);
	if (rc != OK || !newer->busy)
		return rc;
	/* It was planned before it was known what the older one would park. */
	if (s->parked.n && parked_route(&s->parked, &newer->batch)) {
		newer->batch.works = NULL;
		newer->batch.nworks = 0;
		batch_plan(&newer->batch);
	}
	rc = send_whole(s, newer, err);
	if (rc == OK)
		rc = commit(s, newer, err);
	if (rc == OK)
		rc = s->sink->ops->settle(s->sink, 0, err);
	if (rc == REJECT)
		return redo_whole(s, newer, err);
	if (rc == OK)
		note_committed(s, newer);
	return rc;
}

static enum rc
commit_due(struct session *s, struct err *err)
{
	struct sent *t = &s->sent[!s->fill];
	enum rc rc;

	if (!t->due)
		return OK;
	t->due = false;
	rc = commit(s, t, err);
	return rc == REJECT ? recover(s, err) : rc;
}

enum rc
session_pump(struct session *s, struct err *err)
{
	enum rc rc;

	if (!s->sent[!s->fill].due)
		return OK;
	rc = s->sink->ops->settle(s->sink, 1, err);
	if (rc == REJECT)
		return recover(s, err);
	return rc == OK && !s->sink->busy ? commit_due(s, err) : rc;
}

/* Wait until at most `most` sent transactions are unconfirmed, and let go of those that are. */
enum rc
session_settle(struct session *s, int most, struct err *err)
{
	struct sent *older = &s->sent[!s->fill], *newer = &s->sent[s->fill];
	enum rc rc = most ? OK : commit_due(s, err);

	if (rc == OK)
		rc = s->sink->ops->settle(s->sink, most, err);
	if (rc == REJECT)
		return recover(s, err);
	if (rc == OK && older->busy)
		note_committed(s, older);
	if (rc == OK && most == 0 && newer->busy)
		note_committed(s, newer);
	return rc;
}

/* Commit what the batch being filled holds; whole transactions only. */
enum rc
session_flush(struct session *s, struct err *err)
{
	struct sent *t = &s->sent[s->fill];
	enum rc rc = OK;

	if (s->f->next.spine_offset == s->f->applied.spine_offset)
		return OK;
	rc = commit_due(s, err);
	/* With keys that wait, what the older one comes to is known before this one is planned. */
	if (rc == OK && s->parked.n && !s->open)
		rc = session_settle(s, 0, err);
	if (rc != OK)
		return rc;
	plan(s, &t->batch);
	/* The marker of a lane carries its owner's token, not the writer's: that one is in the record at the anchor. */
	if (s->lane)
		s->f->next.token = s->lane->token;
	t->expected = s->f->applied;
	t->next = s->f->next;
	t->rows += (uint64_t)t->batch.nrows;
	t->busy = true;
	session_note_positions(s, t);
	if (s->open) { /* the end of a streamed transaction */
		rc = prepare(s, &t->batch, err);
		if (rc == OK)
			rc = send_part(s, t, err);
		if (rc == OK)
			rc = commit(s, t, err);
		if (rc == OK)
			rc = s->sink->ops->settle(s->sink, 0, err);
		s->open = false;
	} else {
		rc = send_whole(s, t, err);
		t->due = rc == OK && s->sink->busy;
		if (rc == OK && !t->due)
			rc = commit(s, t, err);
		if (rc == REJECT)
			rc = recover(s, err);
	}
	if (rc != OK)
		return rc;
	s->f->applied = s->f->next;
	s->marked_ms = now_ms();
	/* One may be on its way while the next is read and decoded; its batch is the other one. */
	rc = session_settle(s, 1, err);
	s->fill = !s->fill;
	return rc;
}

/* For changes that are parked, and come back when their names may be others'. */
static enum rc
note_names(struct session *s, const struct table *tbl, const struct names_at *at, struct err *err)
{
	const struct park_ops *ops = s->sink->ops->parking;
	struct buf names = { 0 };
	enum rc rc;

	names_put(tbl, &names);
	rc = ops->note_names(s->sink, tbl->schema, tbl->name, at, buf_cstr(&names), err);
	if (rc == OK && tbl->was_name.n)
		rc = ops->note_names(s->sink, tbl->was_schema, tbl->was_name, at, "null", err);
	buf_free(&names);
	return rc;
}

enum rc
session_begins(struct session *s, const struct table *tbl, const struct names_at *at, struct err *err)
{
	enum rc rc = session_settle(s, 0, err);

	if (rc == OK)
		rc = note_names(s, tbl, at, err);
	s->sink->begins = tbl;
	if (rc == OK)
		rc = s->sink->ops->prepare(s->sink, tbl, err);
	s->sink->begins = NULL;
	return rc;
}

/* The batch is full inside a source transaction: send its rows, and leave the sink transaction open. */
enum rc
session_stream(struct session *s, struct err *err)
{
	struct sent *t = &s->sent[s->fill];
	enum rc rc = session_settle(s, 0, err);

	plan(s, &t->batch);
	if (rc == OK)
		rc = prepare(s, &t->batch, err);
	if (rc == OK && !s->open)
		rc = s->sink->ops->begin(s->sink, &s->f->applied, &s->f->next, err);
	s->open = true;
	if (rc == OK)
		rc = send_part(s, t, err);
	t->rows += (uint64_t)t->batch.nrows;
	batch_reset(&t->batch, release_message);
	return rc;
}
