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
#include "consumer/lanes.h"
#include "consumer/session.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/now.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	WAIT_MS = 100,     /* for a spine record, between two looks at the stop flag */
	RANGE_MS = 30000,  /* for a record that Kafka says it has */
	ASK_MS = 3000,     /* silence after which Kafka is asked whether it does */
	REMARK_MS = 60000, /* the marker moves over BEATs and OPENs at least this often */
	DRAIN_MS = 10000,  /* after a stop, for what the producer of this process has published */
	HOLD_MS = 200,     /* between two looks at the stop flag while a delayed sink waits */
	BARRIER_MS = 20,   /* between two looks at the other lanes */
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 15000,
};

/* A lane's marker holds the hash mixed with its owner's token: whoever owned it before finds another marker than it expects. */
static struct spine_at
at_of(const struct session *s, const rd_kafka_message_t *m)
{
	return (struct spine_at){ .offset = m->offset, .hash = XXH3_64bits(m->payload, m->len) ^ (s->lane ? s->lane->token : 0) };
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
		return session_settle(s, 0, err);
	follow_mark(s->f, &last, s->last);
	rc = session_flush(s, err);
	return rc == OK ? session_settle(s, 0, err) : rc;
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
	rc = session_load_parked(s, err); /* and its keys are other lanes' */
	if (rc == OK && r->nparts && lanes_of(r->parts[0].topic, r->parts[0].partition, s->lane->of) == s->lane->no)
		rc = session_take_rows(s, r, err);
	else if (rc == OK)
		rc = session_pass_rows(s, lane_parts(s, r), err);
	if (rc == OK)
		rc = lane_mark(s, err);
	s->barrier = false;
	return rc == OK ? wait_for_lanes(s, r->no, err) : rc;
}

/* A table version may begin here for which a column is renamed: what comes before is applied under the old name first. */
static enum rc
clear_the_way(struct session *s, const struct spine_record *r, struct err *err)
{
	enum rc rc = OK;

	if (filling(s)->nrows)
		rc = r->flags & SPINE_CONTINUES ? session_stream(s, err) : session_flush(s, err);
	return rc == OK ? session_settle(s, 0, err) : rc;
}

/* Would another group like the one that was just taken be too much? rows, bytes: before it. What was streamed meanwhile has begun anew. */
static bool
holds_enough(struct session *s, int rows, size_t bytes)
{
	const struct batch *b = filling(s);

	if (session_full(s) || b->nrows < rows || b->bytes < bytes)
		return session_full(s);
	return b->nrows * 2 - rows > s->conf->batch_rows || b->bytes * 2 - bytes > s->batch_bytes;
}

static enum rc
take_group(struct session *s, const struct spine_record *r, const rd_kafka_message_t *m, struct err *err)
{
	bool more = r->flags & SPINE_MORE;
	size_t bytes;
	int rows;
	enum rc rc = OK;

	/* What is whole does not wait for a long transaction's end; and what is told below is true of all groups before. */
	if (more && !s->open)
		rc = session_flush(s, err);
	if (rc == OK && s->kafka->broker && more && !s->open)
		rc = session_settle(s, 0, err);
	/*
	 * Another run of the producer may have tables in another shape without knowing of it. The sink may stop there, and what came before
	 * must not be undone with it: after the user has changed the table, it would not fit.
	 */
	if (rc == OK && ((r->flags & SPINE_BARRIER) || r->gen != s->gen))
		rc = clear_the_way(s, r, err);
	s->gen = r->gen;
	rows = filling(s)->nrows;
	bytes = filling(s)->bytes;
	if (rc == OK)
		rc = session_take_rows(s, s->lane ? lane_parts(s, r) : r, err);
	if (rc != OK)
		return rc;
	s->first = false;
	/*
	 * Here, in memory or in the sink's open transaction, and so no longer needed in Kafka. Were
	 * this not told, a transaction that is larger than the embedded broker's memory would wait
	 * for itself. The source still keeps it: its watermark moves at the transaction's end only.
	 */
	if (s->kafka->broker && s->flow && more)
		session_applied(s, r->no);
	if (!follow_taken(s->f, r, at_of(s, m)))
		return session_full(s) && !s->f->moved ? session_stream(s, err) : OK;
	return s->open || holds_enough(s, rows, bytes) ? session_flush(s, err) : OK;
}

/*
 * `delay`: the group waits until its commit is so old. What came before it is committed first; its own rows stay in Kafka. AGAIN: asked
 * to stop meanwhile.
 */
static enum rc
hold_back(struct session *s, const struct spine_record *r, struct err *err)
{
	int64_t due_us = r->commit_us + s->conf->delay_ms * 1000;
	enum rc rc = OK;

	if (!s->conf->delay_ms || r->kind != SPINE_GROUP || wall_us() >= due_us)
		return OK;
	if (!s->open && !s->f->state.partial)
		rc = session_flush(s, err);
	if (rc == OK)
		rc = session_settle(s, 0, err);
	while (rc == OK && wall_us() < due_us) {
		int64_t ms = (due_us - wall_us()) / 1000 + 1;

		if (stopping(s))
			return AGAIN;
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)(ms < HOLD_MS ? ms : HOLD_MS));
	}
	return rc;
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
	rc = hold_back(s, &r, err);
	if (rc != OK)
		return rc;
	/* Who took a pipeline over says in its OPEN what the topics held then. */
	for (int i = 0; r.kind == SPINE_OPEN && i < r.nparts; i++)
		fetch_begins(s->fetch, &(struct position){ .topic = arena_text(&s->group_arena, r.parts[i].topic),
			.partition = r.parts[i].partition, .next = r.parts[i].first });
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
		if (s->open || filling(s)->nrows)
			return OK;
		/* Who wrote an OPEN waits to hear from the sink: a transaction there tells that it is not one restored from before. */
		if (now_ms() - s->marked_ms < REMARK_MS && !(s->teller && r.kind == SPINE_OPEN))
			return OK;
		follow_mark(s->f, &r, at);
		return session_flush(s, err);
	case FOLLOW_MARK:
		return session_flush(s, err);
	case FOLLOW_CUT:
		/* The next session must find the marker that is on its way now. */
		rc = session_settle(s, 0, err);
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
	return fail_lost(err,
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
	return fail_lost(err,
	    "%s: the record at offset %" PRId64
	    " is not the one this sink has applied: the topic was truncated, made anew or replaced; copy the tables into this "
	    "sink again",
	    s->spine->topic, s->f->applied.spine_offset);
}

static enum rc
spine_short(const char *topic, int64_t high, int64_t applied, struct err *err)
{
	return fail_lost(err,
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
			rc = fail_lost(err,
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
		rc = session_load_parked(s, err);
	if (rc == OK)
		rc = fetch_open(s->kafka, &s->fetch, err);
	if (rc == OK)
		rc = decode_open(s->kafka, &s->decode, err);
	if (rc != OK)
		return rc;
	s->dead = deadletter_open(s->kafka, s->conf->name);
	follow_start(s->f, &applied, s->kafka->broker, s->ours);
	rc = session_load_positions(s, err);
	if (rc == OK)
		rc = start_at_marker(s, err);
	/* Commits at the source may be waiting to hear that this sink has what it has. Lanes have no place of their own. */
	if (rc == OK && s->conf->awaited && !s->lane && !s->kafka->broker)
		rc = teller_open(s->kafka, s->conf, s->flow && s->kafka->conf->source_url, &s->teller, err);
	s->has = (struct applied){ .gen = applied.gen, .token = applied.token, .no = applied.no };
	if (rc == OK)
		rc = session_tell(s, err);
	s->first = true;
	s->marked_ms = s->heard_ms = now_ms();
	if (rc == OK) {
		session_show(s, &s->f->applied);
		gauge_set(s->gauge, GAUGE_RUNNING, NULL);
	}
	if (rc == OK)
		log_info(s->at, "applying", "pipeline=%s generation=%" PRIu64 " group=%" PRIu64 " seq=%" PRIu64 " spine_offset=%" PRId64,
		    s->kafka->conf->name, s->f->applied.gen, s->f->applied.no, s->f->applied.seq, s->f->applied.spine_offset);
	return rc;
}

static void
session_close(struct session *s)
{
	for (size_t i = 0; i < COUNTOF(s->sent); i++)
		batch_free(&s->sent[i].batch, release_message);
	for (int i = 0; i < s->nparts; i++)
		rd_kafka_message_destroy(s->parts[i]);
	free(s->parts);
	if (s->sink) {
		s->sink->ops->abort(s->sink);
		s->sink->ops->close(s->sink);
	}
	teller_close(s->teller);
	decode_close(s->decode);
	deadletter_close(s->dead);
	parked_free(&s->parked);
	fetch_close(s->fetch);
	arena_free(&s->group_arena);
}

/* With a producer in the same process: go on until everything that it published is here. */
bool
session_finished(struct session *s)
{
	if ((s->lane && atomic_load(&s->lane->stop)) || gauge_stopped(s->gauge))
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

	while (rc == OK && !session_finished(s)) {
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
			rc = pending && !s->open && !s->f->state.partial ? session_flush(s, err) : OK;
			if (rc == OK && pending)
				rc = session_settle(s, 0, err);
			if (rc == OK && !pending)
				rc = ask_after_spine(s, err);
		}
		if (rc == OK)
			rc = session_tell(s, err);
		heap_trim(&s->trimmed_ms, now_ms(), s->kafka->conf->memory_bytes / 10);
	}
	if (rc == OK && !s->open && !s->f->state.partial)
		rc = session_flush(s, err);
	return rc == OK ? session_settle(s, 0, err) : rc;
}

enum rc
consumer_loop(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number,
    struct gauge *gauge, struct lane *lane, struct err *err)
{
	int64_t backoff = BACKOFF_MIN_MS;
	struct follow follow = { 0 };
	struct session s;
	bool ours = false;

	do {
		int64_t opened_ms;
		enum rc rc;

		s = (struct session){ .kafka = k, .conf = conf, .batch_bytes = fetch_batch_bytes(k, conf), .flow = flow, .number = number,
			.gauge = gauge, .f = &follow, .lane = lane, .ours = ours };
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
			return err->lost ? fail_lost(err, "sink %s: %s: towline resync %s", conf->name, err->text, conf->name)
					 : fail_in(err, "sink %s", conf->name);
		gauge_set(gauge, GAUGE_RETRYING, err->text);
		log_warn(s.at, err->text, "retry_ms=%" PRId64, backoff);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
	} while (!stopping(&s));
	return OK;
}

enum rc
consumer_run(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number,
    struct gauge *gauge, struct err *err)
{
	enum rc rc;

	if (strcmp(conf->apply, "key") == 0 && k->broker)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "sink %s: apply: key needs a real broker; leave it out with kafka: embedded",
		    conf->name);
	if (strcmp(conf->apply, "key") == 0)
		return lane_run_all(k, conf, flow, number, gauge, err);
	/* A sink that cannot be looked at now is looked at by the loop, which waits for it. */
	rc = lane_none(k->conf->name, conf, err);
	return rc == FATAL && err->exit == EXIT_REFUSED ? rc : consumer_loop(k, conf, flow, number, gauge, NULL, err);
}
