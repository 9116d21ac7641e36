/*
 * consumer.c - follow the spine; take the rows of each group; apply whole transactions in commit order.
 *
 *   spine record -> rules -> assemble the group's rows -> batch -> net effect -> sink transaction with its marker
 *
 * Groups that are there at once share one sink transaction; a source transaction that goes over several groups is streamed
 * into one. Everything starts from the sink's marker: the offset of the last group it has, which also tells where every
 * partition begins. So after any trouble the session is thrown away and a new one begins at the marker.
 */
#include "consumer/consumer.h"
#include "consumer/aside.h"
#include "consumer/assemble.h"
#include "consumer/decode.h"
#include "consumer/fetch.h"
#include "consumer/follow.h"
#include "consumer/lane.h"
#include "consumer/lanes.h"
#include "core/log.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	WAIT_MS = 100,	  /* for a spine record, between two looks at the stop flag */
	RANGE_MS = 30000, /* for a record that Kafka says it has */
	ASK_MS = 3000,	  /* silence after which Kafka is asked whether it does */
	LOST_MS =
	    8000, /* a range that was acknowledged, and is not there after so long, is lost; a new leader gets time to learn of it */
	REMARK_MS = 60000, /* the marker moves over BEATs and OPENs at least this often */
	DRAIN_MS = 10000,  /* after a stop, for what the producer of this process has published */
	BARRIER_MS = 20,   /* between two looks at the other lanes */
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 15000,
};

/* A sink transaction that was sent: kept until the sink has confirmed it, in case it must be redone. */
struct sent {
	struct batch batch;
	struct marker expected, next;
	uint64_t rows;
	bool busy;
};

struct session {
	const struct kafka *kafka;
	const struct conf_sink *conf;
	struct flow *flow;
	int number;
	char at[80];               /* "sink NAME", for the log */
	struct sink *sink;
	struct fetch *fetch;
	struct decode *decode;
	struct deadletter *dead;
	struct parked parked;      /* keys at the sink that wait */
	struct fetch_part *spine;
	struct follow *f;          /* what is true, where the marker stands; outlives the session */
	struct sent sent[2];
	int fill;                  /* the one being filled */
	bool open;                 /* a sink transaction is open: begin was called */
	bool first;                /* no group yet in this session */
	bool cut;                  /* ends to begin anew at once: follow.h */
	struct lane *lane;         /* apply: key; NULL: whole transactions */
	struct spine_at last;      /* lane: place of the last record that counted, and its system id */
	uint64_t last_system;
	bool barrier;              /* lane: the rows at hand are a barrier's */
	struct arena group_arena;  /* the group's record and its assembly */
	uint64_t rows_committed;
	int64_t marked_ms;
	bool committed;            /* this session has got something done */
	bool ours;                 /* this process has, before */
	int64_t stop_ms;           /* when the stop was first seen */
	int64_t heard_ms;          /* of the spine */
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
release(void *msg)
{
	rd_kafka_message_destroy(msg);
}

/* The program, or this lane, is asked to end. */
static bool
stopping(const struct session *s)
{
	return stop_requested() || (s->lane && atomic_load(&s->lane->stop));
}

static struct batch *
filling(struct session *s)
{
	return &s->sent[s->fill].batch;
}

/* A lane's marker holds the hash mixed with its owner's token: whoever owned it before finds another marker than it expects. */
static struct spine_at
at_of(const struct session *s, const rd_kafka_message_t *m)
{
	return (struct spine_at){ .offset = m->offset, .hash = XXH3_64bits(m->payload, m->len) ^ (s->lane ? s->lane->token : 0) };
}

/* ---- the sink's transactions ---- */

/* Everything up to group no is here; the producer may be waiting for that. */
static void
note_applied(struct session *s, uint64_t no)
{
	uint64_t one = 1;

	atomic_store_explicit(&s->flow->applied[s->number], no, memory_order_release);
	if (s->flow->wake_fd >= 0 && write(s->flow->wake_fd, &one, sizeof one) < 0)
		log_debug(s->at, "wake", "%s", "");
}

static void
note_committed(struct session *s, struct sent *t)
{
	s->rows_committed += t->rows;
	s->committed = true;
	if (s->flow) {
		atomic_fetch_add(&s->flow->rows[s->number], t->rows);
		atomic_store(&s->flow->commit_us[s->number], t->next.commit_us);
		atomic_store(&s->flow->lag_us[s->number], now_us() - t->next.commit_us);
		note_applied(s, t->next.no);
	}
	t->busy = false;
	t->rows = 0;
	batch_reset(&t->batch, release);
}

/* Which keys wait, as the sink says. */
static enum rc
load_parked(struct session *s, struct err *err)
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

	for (int i = 0; i < b->nworks && rc == OK; i++)
		rc = s->sink->ops->prepare(s->sink, b->works[i].tbl, err);
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
	log_info(s->at, "batch refused, redone row by row", "rows=%d reason=\"%s\"", b->nrows, err->text);
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

/* Send a whole sink transaction: begin, rows, commit. */
static enum rc
send_whole(struct session *s, struct sent *t, struct err *err)
{
	const struct sink_ops *ops = s->sink->ops;
	enum rc rc = prepare(s, &t->batch, err);

	if (rc == OK)
		rc = ops->begin(s->sink, &t->expected, &t->next, err);
	if (rc == OK)
		rc = ops->apply(s->sink, &t->batch, err);
	if (rc == OK)
		rc = put_aside(s, &t->batch, NULL, 0, err);
	if (rc == OK)
		rc = ops->commit(s->sink, &t->next, err);
	return rc;
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
	const struct sink_ops *ops = s->sink->ops;
	enum rc rc = redo(s, &t->batch, err);

	if (rc == OK)
		rc = ops->commit(s->sink, &t->next, err);
	if (rc == OK)
		rc = ops->settle(s->sink, 0, err);
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
		rc = s->sink->ops->settle(s->sink, 0, err);
	if (rc == REJECT)
		return redo_whole(s, newer, err);
	if (rc == OK)
		note_committed(s, newer);
	return rc;
}

/* Wait until at most `most` sent transactions are unconfirmed, and let go of those that are. */
static enum rc
settle(struct session *s, int most, struct err *err)
{
	struct sent *older = &s->sent[!s->fill], *newer = &s->sent[s->fill];
	enum rc rc = s->sink->ops->settle(s->sink, most, err);

	if (rc == REJECT)
		return recover(s, err);
	if (rc == OK && older->busy)
		note_committed(s, older);
	if (rc == OK && most == 0 && newer->busy)
		note_committed(s, newer);
	return rc;
}

/* Commit what the batch being filled holds; whole transactions only. */
static enum rc
flush(struct session *s, struct err *err)
{
	struct sent *t = &s->sent[s->fill];
	enum rc rc = OK;

	if (s->f->next.spine_offset == s->f->applied.spine_offset)
		return OK;
	/* With keys that wait, what the older one comes to is known before this one is planned. */
	if (s->parked.n && !s->open)
		rc = settle(s, 0, err);
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
	if (s->open) { /* the end of a streamed transaction */
		rc = prepare(s, &t->batch, err);
		if (rc == OK)
			rc = send_part(s, t, err);
		if (rc == OK)
			rc = s->sink->ops->commit(s->sink, &t->next, err);
		if (rc == OK)
			rc = s->sink->ops->settle(s->sink, 0, err);
		s->open = false;
	} else {
		rc = send_whole(s, t, err);
		if (rc == REJECT)
			rc = recover(s, err);
	}
	if (rc != OK)
		return rc;
	s->f->applied = s->f->next;
	s->marked_ms = now_ms();
	/* One may be on its way while the next is read and decoded; its batch is the other one. */
	rc = settle(s, 1, err);
	s->fill = !s->fill;
	return rc;
}

/* The batch is full inside a source transaction: send its rows, and leave the sink transaction open. */
static enum rc
stream(struct session *s, struct err *err)
{
	struct sent *t = &s->sent[s->fill];
	enum rc rc = settle(s, 0, err);

	plan(s, &t->batch);
	if (rc == OK)
		rc = prepare(s, &t->batch, err);
	if (rc == OK && !s->open)
		rc = s->sink->ops->begin(s->sink, &s->f->applied, &s->f->next, err);
	s->open = true;
	if (rc == OK)
		rc = send_part(s, t, err);
	t->rows += (uint64_t)t->batch.nrows;
	batch_reset(&t->batch, release);
	return rc;
}

/* ---- rows ---- */

/* A record that is no row of ours (tl NULL), or a bad one: never a crash, never a silent skip. It takes the message. */
static enum rc
bad_record(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p, const struct tl *tl, struct err *err)
{
	struct batch *b = filling(s);
	struct row row = { .topic = p->topic, .partition = m->partition, .offset = m->offset };
	int64_t offset = m->offset;

	if (s->conf->on_error != ON_ERROR_DEADLETTER) {
		rd_kafka_message_destroy(m);
		return fail(err, FATAL,
		    "%s [%d] offset %" PRId64
		    ": %s; to set such records aside set on_error: dead-letter",
		    p->topic, p->partition, offset, err->text);
	}
	if (tl) {
		row.seq = tl->seq;
		row.index = tl->index;
		row.lsn = tl->lsn;
	}
	if (tl && (tl->flags & TL_MOVED_TO) && s->f->moved) {
		aside_bad(b, s->f->moved, "the row with the new key cannot be read");
		s->f->moved = NULL;
	}
	row.held = batch_hold(b, m);
	b->bytes += m->len + m->key_len + sizeof row;
	aside_bad(b, &row, err->text);
	return OK;
}

/* Decode one record into the batch. It takes the message. */
static enum rc
take_row(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p, const struct tl *tl, struct err *err)
{
	struct batch *b = filling(s);
	struct envelope env;
	const struct table *tbl;
	struct value *key;
	struct row row = { 0 };
	enum rc rc;

	if (p->own || !follow_wants(s->f, tl)) {
		rd_kafka_message_destroy(m);
		return OK;
	}
	rc = decode_record(s->decode, m, tl, &b->arena, &env, &tbl, &key, err);
	if (rc == REJECT)
		return bad_record(s, m, p, tl, err);
	if (rc == OK) {
		decode_fill(&row, m, p->topic, tl, &env, tbl);
		row.held = batch_hold(b, m);
		b->bytes += m->len + m->key_len + (size_t)tbl->ncols * sizeof(struct value) * (size_t)(!!env.before + !!env.after);
		/* In a lane the halves of a changed key are two rows, as the other one may be another lane's; but not at a barrier. */
		if ((s->lane && !s->barrier) || follow_join(s->f, &row, tl->flags))
			*batch_row(b) = row;
		return OK;
	}
	rd_kafka_message_destroy(m);
	return rc;
}

/* ---- groups ---- */

/* What waits at the head of each partition of the group. */
struct heads {
	struct fetch_part **parts;
	rd_kafka_message_t **msgs;
	struct tl *tls;
	int n;
};

static enum rc
range_lost(const struct assemble *as, const struct heads *h, int i, struct err *err)
{
	const struct assemble_part *p = &as->parts[i];

	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "%s [%d]: of the %" PRId64 " rows at offsets %" PRId64 " to %" PRId64
	    " that the spine promises %" PRId64 " are there: the topic was truncated or "
	    "made anew; copy the tables into this sink again",
	    h->parts[i]->topic, h->parts[i]->partition, p->count, p->first, p->last, p->taken);
}

static bool finished(struct session *s);

/* The next record of part i; waits as long as it may still come. AGAIN: asked to stop. */
static enum rc
await(struct session *s, const struct assemble *as, const struct heads *h, int i, rd_kafka_message_t **m, struct err *err)
{
	const struct fetch_part *p = h->parts[i];
	int64_t begun = now_ms(), asked = begun, high;

	for (;;) {
		bool end;
		enum rc rc = fetch_next(s->fetch, h->parts[i], WAIT_MS, m, &end, err);

		if (rc != AGAIN)
			return rc;
		if (finished(s) || (stopping(s) && (!s->flow || !stop_requested())))
			return AGAIN;
		if (now_ms() - asked < ASK_MS)
			continue;
		rc = s->kafka->broker ? OK : fetch_ask(s->fetch, p, &high, err);
		if (rc != OK)
			return rc;
		asked = now_ms();
		if (asked - begun >= (s->kafka->broker ? RANGE_MS : LOST_MS) && (s->kafka->broker || high <= as->parts[i].last))
			return range_lost(as, h, i, err);
		if (asked - begun >= RANGE_MS)
			return fail(err, RETRY, "%s [%d]: no record for %d s, though Kafka has it",
			    p->topic, p->partition, RANGE_MS / 1000);
	}
}

/* Bring the next record of part i; orphans and foreign records on the way are passed over, counted or set aside. */
static enum rc
bring(struct session *s, struct assemble *as, struct heads *h, int i, struct err *err)
{
	for (;;) {
		rd_kafka_message_t *m;
		struct err why;
		bool ours;
		enum rc rc = await(s, as, h, i, &m, err);
		enum assemble_verdict v;

		if (rc != OK)
			return rc;
		ours = decode_header(m, &h->tls[i], &why);
		v = assemble_offer(as, i, m->offset, ours ? &h->tls[i] : NULL);
		if (v == ASSEMBLE_ROW) {
			h->msgs[i] = m;
			return OK;
		}
		if (v == ASSEMBLE_BEYOND)
			rc = range_lost(as, h, i, err);
		else if (v == ASSEMBLE_FOREIGN) {
			*err = why;
			rc = bad_record(s, m, h->parts[i], NULL, err);
			m = NULL;
		} else if (s->flow)
			atomic_fetch_add(&s->flow->skipped[s->number], 1);
		if (m)
			rd_kafka_message_destroy(m);
		if (rc != OK)
			return rc;
	}
}

static enum rc
heads_open(struct session *s, const struct spine_record *g, struct heads *h, struct err *err)
{
	enum rc rc = OK;

	h->n = g->nparts;
	h->parts = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->parts);
	h->msgs = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->msgs);
	h->tls = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->tls);
	for (int i = 0; i < g->nparts && rc == OK; i++)
		rc = fetch_part(s->fetch, g->parts[i].topic, g->parts[i].partition, g->parts[i].first, &h->parts[i], err);
	return rc;
}

/* All rows of the group, in the order of the source, into batches. */
static enum rc
take_rows(struct session *s, const struct spine_record *g, struct err *err)
{
	struct assemble as;
	struct heads h = { 0 };
	enum rc rc = heads_open(s, g, &h, err);

	assemble_begin(&as, g, &s->group_arena);
	while (rc == OK) {
		struct batch *b = filling(s);
		int i;

		while (rc == OK && (i = assemble_want(&as)) >= 0)
			rc = bring(s, &as, &h, i, err);
		if (rc != OK || (i = assemble_next(&as)) < 0)
			break;
		rc = take_row(s, h.msgs[i], h.parts[i], &h.tls[i], err);
		h.msgs[i] = NULL;
		/* Not between the halves of a changed key: the first one's values live in this batch. */
		if (rc == OK && !s->f->moved && (b->nrows >= s->conf->batch_rows * 2 || b->bytes >= (size_t)s->conf->batch_bytes * 2))
			rc = stream(s, err);
	}
	for (int i = 0; i < h.n; i++)
		if (h.msgs[i])
			rd_kafka_message_destroy(h.msgs[i]);
	return rc;
}


static bool
batch_full(struct session *s)
{
	const struct batch *b = filling(s);

	return b->nrows >= s->conf->batch_rows || b->bytes >= (size_t)s->conf->batch_bytes;
}

/* ---- lanes (apply: key) ---- */

/* The group with the parts of this lane only. */
static struct spine_record *
lane_parts(struct session *s, const struct spine_record *r)
{
	struct spine_record *mine = arena_new(&s->group_arena, struct spine_record);

	*mine = *r;
	mine->parts = arena_array(&s->group_arena, (size_t)r->nparts, sizeof *mine->parts);
	mine->nparts = 0;
	for (int i = 0; i < r->nparts; i++)
		if (lanes_of(r->parts[i].topic, r->parts[i].partition, s->lane->of) == s->lane->no)
			mine->parts[mine->nparts++] = r->parts[i];
	return mine;
}

static enum follow_verdict
note_last(struct session *s, const struct spine_record *r, struct spine_at at, enum follow_verdict v)
{
	if (s->lane && v != FOLLOW_PASS && v != FOLLOW_ORPHAN && v != FOLLOW_GAP) {
		s->last = at;
		s->last_system = r->system_id;
	}
	return v;
}

/* The marker is behind the record that counted last, and in the sink. */
static enum rc
lane_mark(struct session *s, struct err *err)
{
	struct spine_record last = { .system_id = s->last_system };
	enum rc rc;

	if (s->last.offset <= s->f->applied.spine_offset)
		return settle(s, 0, err);
	follow_mark(s->f, &last, s->last);
	rc = flush(s, err);
	return rc == OK ? settle(s, 0, err) : rc;
}

static enum rc
wait_for_lanes(struct session *s, uint64_t no, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; rc == OK && i < s->lane->of; i++)
		for (bool there = i == s->lane->no; rc == OK && !there;) {
			rc = lane_at(s->sink, s->lane, i, no, &there, err);
			if (rc == OK && !there && stopping(s))
				return AGAIN;
			if (rc == OK && !there)
				poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, BARRIER_MS);
		}
	return rc;
}

/*
 * A truncate, or a changed key that brings no whole row: every lane must have all that comes before it, then one applies it, and
 * none goes on before it is done.
 * Here a lane's marker may come to stand inside a source transaction.
 */
static enum rc
take_barrier(struct session *s, const struct spine_record *r, struct spine_at at, struct err *err)
{
	enum rc rc = lane_mark(s, err);

	if (rc == OK)
		rc = wait_for_lanes(s, r->no - 1, err);
	if (rc != OK)
		return rc;
	if (note_last(s, r, at, follow_spine(s->f, r, at)) != FOLLOW_GROUP)
		return fail(err, RETRY, "the barrier at spine offset %" PRId64 " does not follow", at.offset);
	/* All of it is one lane's work: a changed key has its halves in two partitions. */
	s->barrier = true;
	rc = load_parked(s, err); /* and its keys are other lanes' */
	if (rc == OK && r->nparts && lanes_of(r->parts[0].topic, r->parts[0].partition, s->lane->of) == s->lane->no)
		rc = take_rows(s, r, err);
	if (rc == OK)
		rc = lane_mark(s, err);
	s->barrier = false;
	return rc == OK ? wait_for_lanes(s, r->no, err) : rc;
}

static enum rc
take_group(struct session *s, const struct spine_record *r, const rd_kafka_message_t *m, struct err *err)
{
	bool more = r->flags & SPINE_MORE;
	enum rc rc = OK;

	/* What is whole does not wait for a long transaction's end; and what is told below is true of all groups before. */
	if (more && !s->open)
		rc = flush(s, err);
	if (rc == OK && s->kafka->broker && more && !s->open)
		rc = settle(s, 0, err);
	if (rc == OK)
		rc = take_rows(s, s->lane ? lane_parts(s, r) : r, err);
	if (rc != OK)
		return rc;
	s->first = false;
	/*
	 * Here, in memory or in the sink's open transaction, and so no longer needed in Kafka. Were
	 * this not told, a transaction that is larger than the embedded broker's memory would wait
	 * for itself. The source still keeps it: its watermark moves at the transaction's end only.
	 */
	if (s->kafka->broker && s->flow && more)
		note_applied(s, r->no);
	if (!follow_taken(s->f, r, at_of(s, m)))
		return batch_full(s) && !s->f->moved ? stream(s, err) : OK;
	return s->open || batch_full(s) ? flush(s, err) : OK;
}

static enum rc
take_spine(struct session *s, const rd_kafka_message_t *m, struct err *err)
{
	struct spine_record r;
	struct spine_at at = at_of(s, m);
	enum rc rc;

	arena_reset(&s->group_arena);
	rc = spine_take((struct slice){ m->payload, m->len }, &s->group_arena, &r, err);
	if (rc == REJECT)
		return fail_exit(err, FATAL, EXIT_REFUSED, "spine offset %" PRId64 ": %s", m->offset, err->text);
	if (s->lane && r.kind == SPINE_GROUP && (r.flags & SPINE_BARRIER) && r.gen == s->f->state.gen && r.no == s->f->state.no + 1)
		return take_barrier(s, &r, at, err);
	switch (note_last(s, &r, at, follow_spine(s->f, &r, at))) {
	case FOLLOW_PASS:
		return OK;
	case FOLLOW_ORPHAN:
		if (s->flow)
			atomic_fetch_add(&s->flow->skipped[s->number], 1);
		return OK;
	case FOLLOW_GROUP:
		return take_group(s, &r, m, err);
	case FOLLOW_QUIET:
		/* Not worth a sink transaction each, but the marker must not stay behind what retention keeps. */
		if (s->open || filling(s)->nrows || now_ms() - s->marked_ms < REMARK_MS)
			return OK;
		follow_mark(s->f, &r, at);
		return flush(s, err);
	case FOLLOW_MARK:
		return flush(s, err);
	case FOLLOW_CUT:
		/* The next session must find the marker that is on its way now. */
		rc = settle(s, 0, err);
		if (rc != OK)
			return rc;
		s->cut = true;
		return fail(err, AGAIN,
		    "transaction %" PRIu64
		    " was cut short as its writer was replaced; reading again without it",
		    s->f->cut_seq);
	case FOLLOW_GAP:
		break;
	}
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "the spine has a gap at offset %" PRId64 ": group %" PRIu64 " does not follow %" PRIu64
	    "; copy the tables into this sink again",
	    m->offset, r.no, s->f->state.no);
}

/* ---- session ---- */

/* A lane's marker has its owner's token in the place of the writer's, and may stand inside a transaction: the record itself tells. */
static enum rc
anchor_state(struct session *s, const rd_kafka_message_t *m, struct err *err)
{
	struct spine_record r;
	enum rc rc;

	arena_reset(&s->group_arena);
	rc = spine_take((struct slice){ m->payload, m->len }, &s->group_arena, &r, err);
	if (rc != OK)
		return fail_exit(err, FATAL, EXIT_REFUSED, "spine offset %" PRId64 ": %s", m->offset, err->text);
	s->f->state.token = r.token;
	s->f->state.partial = r.kind == SPINE_GROUP && (r.flags & SPINE_MORE);
	s->last = at_of(s, m);
	s->last_system = r.system_id;
	return OK;
}

/* The record at the marker must be the one that the sink remembers: found here, truncated, re-created or replaced topics. */
static enum rc
check_anchor(struct session *s, struct err *err)
{
	int64_t until = now_ms() + RANGE_MS;
	rd_kafka_message_t *m = NULL;
	bool end, same;
	enum rc rc;

	do {
		rc = fetch_next(s->fetch, s->spine, WAIT_MS, &m, &end, err);
		if (rc == AGAIN && !end && now_ms() > until)
			return fail(err, RETRY, "%s: no answer within %d s", s->spine->topic, RANGE_MS / 1000);
	} while (rc == AGAIN && !end && !stopping(s));
	if (rc != OK && (rc != AGAIN || !end))
		return rc;
	same = rc == OK && follow_anchored(s->f, at_of(s, m));
	if (rc == OK && s->lane)
		rc = anchor_state(s, m, err);
	if (m)
		rd_kafka_message_destroy(m);
	if (same)
		return rc;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "%s: the record at offset %" PRId64
	    " is not the one this sink has applied: the topic was truncated, made anew or replaced; copy the tables into this "
	    "sink again",
	    s->spine->topic, s->f->applied.spine_offset);
}

static enum rc
spine_short(const char *topic, int64_t high, int64_t applied, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "%s ends at offset %" PRId64 ", before offset %" PRId64
	    " that this sink has applied: the topic was truncated or made anew; copy the tables into "
	    "this sink again",
	    topic, high, applied);
}

/* A spine that says nothing: is it still the one that we read? */
static enum rc
ask_after_spine(struct session *s, struct err *err)
{
	int64_t high = 0;
	enum rc rc;

	if (s->kafka->broker || now_ms() - s->heard_ms < ASK_MS)
		return OK;
	s->heard_ms = now_ms();
	rc = fetch_ask(s->fetch, s->spine, &high, err);
	return rc == OK && high < s->spine->at ? spine_short(s->spine->topic, high, s->spine->at - 1, err) : rc;
}

static enum rc
start_at_marker(struct session *s, struct err *err)
{
	struct arena a = { 0 };
	const char *topic = topic_own(&a, s->kafka->conf->name, "spine");
	const struct marker *mk = &s->f->applied;
	int64_t low = 0, high = 0;
	int n = 0;
	enum rc rc = kafka_partitions(fetch_handle(s->fetch), topic, &n, err);

	/* Of our own process's first start: the producer is about to make it. */
	while (rc == OK && !n && s->flow && !atomic_load(&s->flow->producer_done) && !stop_requested()) {
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, 20);
		rc = kafka_partitions(fetch_handle(s->fetch), topic, &n, err);
	}
	if (rc == OK && !n)
		rc = fail(err, RETRY,
		    "topic %s does not exist yet; has a producer of pipeline %s run against this Kafka?",
		    topic, s->kafka->conf->name);
	if (rc == OK)
		rc = kafka_offsets(fetch_handle(s->fetch), topic, 0, &low, &high, err);
	if (rc == OK && s->kafka->broker) /* its beginning may be gone, but not what comes behind a marker of our own */
		rc = fetch_part(s->fetch, slice_of(topic), 0, s->ours ? mk->spine_offset + 1 : 0, &s->spine, err);
	else if (rc == OK && mk->spine_offset < 0) {
		if (low > 0)
			rc = fail_exit(err, FATAL, EXIT_REFUSED,
			    "%s begins at offset %" PRId64
			    ": the history before is gone, so a new sink cannot be made from it",
			    topic, low);
		else
			rc = fetch_part(s->fetch, slice_of(topic), 0, 0, &s->spine, err);
	} else if (rc == OK) {
		rc = mk->spine_offset >= high ? spine_short(topic, high, mk->spine_offset, err)
		                              : fetch_part(s->fetch, slice_of(topic), 0, mk->spine_offset, &s->spine, err);
		if (rc == OK)
			rc = check_anchor(s, err);
	}
	arena_free(&a);
	return rc;
}

static enum rc
session_open(struct session *s, struct err *err)
{
	struct marker applied;
	enum rc rc = sink_open(s->kafka->conf->name, s->conf, &s->sink, err);

	if (rc == OK && s->lane)
		rc = lane_take(s->sink, s->lane, &applied, err);
	else if (rc == OK)
		rc = s->sink->ops->marker(s->sink, &applied, err);
	if (rc == OK)
		rc = load_parked(s, err);
	if (rc == OK)
		rc = fetch_open(s->kafka, &s->fetch, err);
	if (rc == OK)
		rc = decode_open(s->kafka, &s->decode, err);
	if (rc != OK)
		return rc;
	s->dead = deadletter_open(s->kafka, s->conf->name);
	follow_start(s->f, &applied, s->kafka->broker, s->ours);
	rc = start_at_marker(s, err);
	s->first = true;
	s->marked_ms = s->heard_ms = now_ms();
	if (rc == OK)
		log_info(s->at, "applying", "pipeline=%s generation=%" PRIu64 " group=%" PRIu64 " seq=%" PRIu64 " spine_offset=%" PRId64,
		    s->kafka->conf->name, s->f->applied.gen, s->f->applied.no, s->f->applied.seq, s->f->applied.spine_offset);
	return rc;
}

static void
session_close(struct session *s)
{
	for (size_t i = 0; i < COUNTOF(s->sent); i++)
		batch_free(&s->sent[i].batch, release);
	if (s->sink) {
		s->sink->ops->abort(s->sink);
		s->sink->ops->close(s->sink);
	}
	decode_close(s->decode);
	deadletter_close(s->dead);
	parked_free(&s->parked);
	fetch_close(s->fetch);
	arena_free(&s->group_arena);
}

/* With a producer in the same process: go on until everything that it published is here. */
static bool
finished(struct session *s)
{
	if (s->lane && atomic_load(&s->lane->stop))
		return true;
	if (!stop_requested())
		return false;
	/* A real broker keeps what is not here yet; the embedded one does not. */
	if (!s->stop_ms)
		s->stop_ms = now_ms();
	if (!s->kafka->broker && now_ms() - s->stop_ms > DRAIN_MS)
		return true;
	return !s->flow || (atomic_load(&s->flow->producer_done) &&
	                       (s->f->state.no >= atomic_load(&s->flow->published_no) || !atomic_load(&s->flow->published_no)));
}

static enum rc
session_loop(struct session *s, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && !finished(s)) {
		rd_kafka_message_t *m;
		/* Wait only with empty hands: what is there at once joins the batch, what is not does not hold it up. */
		bool pending = s->f->next.spine_offset != s->f->applied.spine_offset || s->sent[!s->fill].busy;
		bool end;

		rc = fetch_next(s->fetch, s->spine, pending ? 0 : WAIT_MS, &m, &end, err);
		if (rc == OK) {
			s->heard_ms = now_ms();
			rc = take_spine(s, m, err);
			rd_kafka_message_destroy(m);
		} else if (rc == AGAIN) {
			rc = pending && !s->open && !s->f->state.partial ? flush(s, err) : OK;
			if (rc == OK && pending)
				rc = settle(s, 0, err);
			if (rc == OK && !pending)
				rc = ask_after_spine(s, err);
		}
	}
	if (rc == OK && !s->open && !s->f->state.partial)
		rc = flush(s, err);
	return rc == OK ? settle(s, 0, err) : rc;
}

enum rc
consumer_loop(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number, struct lane *lane, struct err *err)
{
	int64_t backoff = BACKOFF_MIN_MS;
	struct follow follow = { 0 };
	struct session s;
	bool ours = false;

	do {
		int64_t opened_ms;
		enum rc rc;

		s = (struct session){ .kafka = k, .conf = conf, .flow = flow, .number = number, .f = &follow, .lane = lane, .ours = ours };
		if (lane)
			snprintf(s.at, sizeof s.at, "sink %s lane %d", conf->name, lane->no);
		else
			snprintf(s.at, sizeof s.at, "sink %s", conf->name);
		rc = session_open(&s, err);
		opened_ms = now_ms();
		if (rc == OK)
			rc = session_loop(&s, err);
		ours = ours || s.committed;
		/* A sink that can be opened is not yet one that takes rows: its disk may be full. */
		if (s.committed || now_ms() - opened_ms > BACKOFF_MAX_MS)
			backoff = BACKOFF_MIN_MS;
		if (rc == OK)
			log_info(s.at, "stopped", "group=%" PRIu64 " seq=%" PRIu64 " rows=%" PRIu64,
			    follow.applied.no, follow.applied.seq, s.rows_committed);
		session_close(&s);
		if (rc == AGAIN && s.cut) {
			log_info(s.at, err->text, "%s", "");
			continue;
		}
		if (rc == AGAIN || rc == OK)
			return OK;
		if (rc != RETRY)
			return fail_in(err, "sink %s", conf->name);
		log_warn(s.at, err->text, "retry_ms=%" PRId64, backoff);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
	} while (!stopping(&s));
	return OK;
}

enum rc
consumer_run(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number, struct err *err)
{
	enum rc rc;

	if (strcmp(conf->apply, "key") == 0 && k->broker)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "sink %s: apply: key needs a real broker; leave it out with kafka: embedded",
		    conf->name);
	if (strcmp(conf->apply, "key") == 0)
		return lane_run_all(k, conf, flow, number, err);
	/* A sink that cannot be looked at now is looked at by the loop, which waits for it. */
	rc = lane_none(k->conf->name, conf, err);
	return rc == FATAL && err->exit == EXIT_REFUSED ? rc : consumer_loop(k, conf, flow, number, NULL, err);
}
