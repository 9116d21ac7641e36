/*
 * producer.c - one session after another: look at spine and source, take the generation, stream.
 *
 * The order that nothing may change:  rows acknowledged -> GROUP -> read back from the spine -> confirmed at the source.
 */
#include "producer/producer.h"
#include "core/log.h"
#include "core/stop.h"
#include "producer/publish.h"
#include "producer/resume.h"
#include "producer/source.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
	GROUP_BYTES = 4 << 20,
	EMBEDDED_GROUP_BYTES = 256 << 10,
	EMBEDDED_BYTES = 3 << 20, /* unread at most: the embedded broker drops what passes 5 MiB a partition */
	TURN_EVENTS = 512,        /* source events between two looks at Kafka */
	BEAT_MS = 1000,           /* between two BEATs that move the watermark */
	OPEN_MS = 30000,
	DRAIN_MS = 10000,
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 15000,
};

struct session {
	const struct kafka *kafka;
	const struct conf *conf;
	struct flow *flow;
	const struct producer_begin *begin;
	bool adopt;
	struct source *source;
	struct source_identity id;
	struct publisher *pub;
	rd_kafka_t *consumer;      /* reads the spine back */
	rd_kafka_topic_t *spine;
	rd_kafka_queue_t *spine_queue;
	int spine_fd;
	bool reading;              /* spine consumption was started */
	struct arena arena;        /* one spine record */
	struct spine_state state;  /* by what was read back: the only truth */
	struct inflight inflight;
	struct group *group;       /* being filled, or NULL */
	int64_t group_ms;          /* when its first change came */
	bool group_whole;          /* it ends at a transaction's end */
	struct txn txn;            /* at hand */
	bool in_txn, skipping;
	uint64_t txn_rows;
	struct place place;        /* of the next record; seq of the transaction at hand */
	uint64_t token;
	uint64_t idle_lsn;         /* nothing of ours up to here */
	uint64_t beat_lsn;         /* watermark of the last BEAT sent */
	int64_t beat_ms;
	uint64_t watermark;        /* of the newest complete transaction or BEAT sent: never goes back */
	uint64_t safe_lsn;         /* may be confirmed */
	bool opened;               /* our OPEN was read back and counts */
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the spine, read back ---- */

static enum rc
fenced(const struct spine_record *r, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "fenced: node %.*s has opened generation %" PRIu64 " of this pipeline; only one producer may publish under a name", SLICE_ARG(r->node), r->gen);
}

static enum rc
take_record(struct session *s, const struct spine_record *r, struct err *err)
{
	switch (spine_step(&s->state, r)) {
	case SPINE_ACCEPT:
		break;
	case SPINE_GAP:
		return fail_exit(err, FATAL, EXIT_REFUSED, "the spine has a gap before group %" PRIu64 ": records are missing in Kafka", r->no);
	case SPINE_STALE:
		if (r->kind == SPINE_OPEN && r->token == s->token)
			return fail(err, RETRY, "another producer opened generation %" PRIu64 " first", r->gen);
		return OK;
	case SPINE_REPEAT:
		return OK;
	}
	if (r->kind == SPINE_OPEN) {
		if (r->token != s->token)
			return s->opened ? fenced(r, err) : OK;
		s->opened = true;
	} else if (r->kind == SPINE_GROUP && s->opened) {
		struct group *g = inflight_at(&s->inflight, r->no);

		inflight_accepted(&s->inflight, r->no);
		if (s->flow) {
			atomic_fetch_add(&s->flow->published, g->sent);
			atomic_store(&s->flow->published_no, r->no);
		}
	}
	return OK;
}

/* Take what the spine has, waiting up to wait_ms for the first record. */
static enum rc
read_spine(struct session *s, int wait_ms, struct err *err)
{
	rd_kafka_message_t *m;
	enum rc rc = OK;
	uint64_t wakes;

	if (read(s->spine_fd, &wakes, sizeof wakes) < 0)
		wakes = 0;
	while (rc == OK && (m = rd_kafka_consume_queue(s->spine_queue, wait_ms))) {
		struct spine_record r;

		wait_ms = 0;
		if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			rc = kafka_fail(m->err, err, "read the spine back");
		else if (!m->err) {
			arena_reset(&s->arena);
			rc = spine_take((struct slice){ m->payload, m->len }, &s->arena, &r, err);
			if (rc == REJECT)
				rc = fail_exit(err, FATAL, EXIT_REFUSED, "%s; something else writes into the spine topic", err->text);
			if (rc == OK)
				rc = take_record(s, &r, err);
		}
		rd_kafka_message_destroy(m);
	}
	return rc;
}

static struct spine_record
own_record(const struct session *s, enum spine_kind kind)
{
	return (struct spine_record){ .kind = kind, .gen = s->place.gen, .token = s->token, .no = s->inflight.accepted_no,
		.seq_to = s->state.seq, .lsn = s->state.lsn, .watermark = s->state.watermark, .commit_us = s->state.commit_us,
		.system_id = s->id.system_id, .timeline = s->id.timeline };
}

/* ---- start: compare, never guess ---- */

static enum rc
compare(struct session *s, struct err *err)
{
	const struct spine_state *st = &s->state;
	uint64_t fork = 0;
	enum rc rc = resume_judge(s->conf, st, &s->id, s->adopt || s->kafka->broker, err);

	if (rc != OK || !st->timeline || s->id.timeline == st->timeline)
		return rc;
	rc = s->source->ops->fork(s->source, st->timeline, &fork, err);
	return rc == OK ? resume_fork(st, &s->id, fork, err) : rc;
}

static enum rc
start_reading(struct session *s, int64_t next, struct err *err)
{
	s->spine_queue = rd_kafka_queue_new(s->consumer);
	s->spine_fd = kafka_queue_fd(s->spine_queue);
	s->spine = rd_kafka_topic_new(s->consumer, topic_own(&s->arena, s->conf->name, "spine"), NULL);
	if (rd_kafka_consume_start_queue(s->spine, 0, next, s->spine_queue) < 0)
		return kafka_fail(rd_kafka_last_error(), err, "read the spine back");
	s->reading = true;
	return OK;
}

/* Take the generation: append OPEN, and believe it only when it is read back. */
static enum rc
open_generation(struct session *s, struct err *err)
{
	struct spine_record r;
	int64_t until = now_ms() + OPEN_MS;
	enum rc rc;

	if (getrandom(&s->token, sizeof s->token, 0) != sizeof s->token)
		return fail(err, FATAL, "getrandom failed");
	s->token >>= 1; /* positive as an Avro long */
	inflight_init(&s->inflight, s->state.no + 1);
	s->place.gen = s->state.gen + 1;
	r = own_record(s, SPINE_OPEN);
	r.prev_gen = s->state.gen;
	r.node = slice_of(s->conf->node);
	r.reason = SLICE_LIT("start");
	rc = publish_spine(s->pub, &r, NULL, err);
	while (rc == OK && !s->opened) {
		rc = publish_serve(s->pub, 0, err);
		if (rc == OK)
			rc = read_spine(s, 20, err);
		if (rc == OK && !s->opened && now_ms() > until)
			rc = fail(err, RETRY, "Kafka did not give the OPEN record back within %d s", OPEN_MS / 1000);
		if (rc == OK && stop_requested())
			return AGAIN;
	}
	return rc;
}

static enum rc
session_open(struct session *s, struct err *err)
{
	char topic[300];
	int64_t next = 0;
	enum rc rc = source_pg_open(s->conf, &s->source, err);

	snprintf(topic, sizeof topic, "%s.towline.spine", s->conf->name);
	if (rc == OK)
		rc = s->source->ops->identify(s->source, &s->id, err);
	if (rc == OK)
		rc = publisher_open(s->kafka, s->id.database, &s->inflight, &s->pub, err);
	if (rc == OK)
		rc = kafka_consumer(s->kafka, 1024, &s->consumer, err);
	if (rc == OK)
		rc = spine_log_state(s->consumer, topic, &s->state, &next, err);
	/* The embedded broker forgets; what the sinks remember is put in its place, so that they go on where they were. */
	if (rc == OK && s->kafka->broker && !s->state.started && s->begin)
		s->state = (struct spine_state){ .gen = s->begin->gen, .no = s->begin->no, .seq = s->begin->seq, .lsn = s->begin->lsn };
	if (rc == OK)
		rc = compare(s, err);
	if (rc == OK)
		rc = start_reading(s, next, err);
	if (rc == OK)
		rc = open_generation(s, err);
	if (rc == OK && !s->id.exists)
		rc = s->source->ops->create(s->source, &s->id.confirmed, err);
	if (rc != OK)
		return rc;
	s->place.last_commit_lsn = s->state.lsn;
	s->place.seq = s->state.seq + 1;
	s->safe_lsn = s->state.watermark;
	/* The writer before us may have added groups between our look and our OPEN. */
	inflight_init(&s->inflight, s->state.no + 1);
	/* A first BEAT says where the history begins; with it the slot's position and the spine's are known to belong together. */
	s->idle_lsn = s->watermark = s->state.watermark ? s->state.watermark : s->id.confirmed;
	log_info("producer", "publishing", "pipeline=%s generation=%" PRIu64 " group=%" PRIu64 " seq=%" PRIu64, s->conf->name, s->place.gen, s->state.no,
	    s->state.seq);
	return s->source->ops->start(s->source, err);
}

static void
session_close(struct session *s)
{
	if (s->reading)
		rd_kafka_consume_stop(s->spine, 0);
	if (s->spine)
		rd_kafka_topic_destroy(s->spine);
	if (s->spine_queue) {
		rd_kafka_queue_destroy(s->spine_queue);
		close(s->spine_fd);
	}
	if (s->consumer)
		rd_kafka_destroy(s->consumer);
	publisher_close(s->pub);
	if (s->source)
		s->source->ops->close(s->source);
	inflight_free(&s->inflight);
	arena_free(&s->arena);
}

/* ---- groups ---- */

static size_t
group_bytes_max(const struct session *s)
{
	return s->kafka->broker ? EMBEDDED_GROUP_BYTES : GROUP_BYTES;
}

static void
group_begin(struct session *s)
{
	struct group *g = inflight_open(&s->inflight);

	g->seq_from = s->place.seq;
	g->first_us = s->txn.commit_us;
	/* Until a transaction is complete in this group, what holds is what held before it. */
	g->lsn = s->place.last_commit_lsn;
	g->watermark = s->watermark;
	if (s->txn_rows)
		g->flags |= SPINE_CONTINUES;
	s->group = g;
	s->group_ms = now_ms();
	s->group_whole = false;
}

static void
group_end(struct session *s, uint32_t flags)
{
	s->group->flags |= flags;
	s->group->seq_to = s->group_whole ? s->place.seq - 1 : s->place.seq;
	s->group->commit_us = s->txn.commit_us;
	s->group->closed = true;
	s->group = NULL;
}

/* Send the GROUP of each group whose rows are all in Kafka, oldest first. */
static enum rc
announce(struct session *s, struct err *err)
{
	struct group *g;
	enum rc rc = OK;

	while (rc == OK && (g = inflight_ready(&s->inflight))) {
		struct spine_record r = own_record(s, SPINE_GROUP);

		r.no = g->no;
		r.seq_from = g->seq_from;
		r.seq_to = g->seq_to;
		r.flags = g->flags;
		r.lsn = g->lsn;
		r.watermark = g->watermark;
		r.first_us = g->first_us;
		r.commit_us = g->commit_us;
		rc = publish_spine(s->pub, &r, g, err);
		inflight_announced(&s->inflight, g);
	}
	return rc;
}

/* ---- events ---- */

static bool
no_room(const struct session *s)
{
	if (!s->group && inflight_full(&s->inflight))
		return true;
	return s->kafka->broker && s->inflight.bytes > EMBEDDED_BYTES;
}

static enum rc
take_change(struct session *s, const struct source_event *ev, struct err *err)
{
	enum rc rc;

	if (s->skipping)
		return OK;
	if (!s->group)
		group_begin(s);
	s->group_whole = false;
	rc = publish_change(s->pub, s->group, &s->txn, &ev->change, &s->place, err);
	s->txn_rows++;
	if (rc == OK && (s->group->sent >= (uint64_t)s->conf->group_rows || s->group->bytes >= group_bytes_max(s)))
		group_end(s, SPINE_MORE);
	return rc;
}

static void
take_commit(struct session *s, const struct txn *txn)
{
	s->in_txn = false;
	s->txn = *txn;
	if (s->skipping || s->txn_rows == 0) {
		/* Nothing of it was published: it counts as idle WAL. */
		if (s->group)
			s->group->watermark = s->watermark = txn->end_lsn;
		else if (txn->end_lsn > s->idle_lsn)
			s->idle_lsn = txn->end_lsn;
		return;
	}
	/* The limit fell on the very last row: the group that closes the transaction has no rows of its own. */
	if (!s->group)
		group_begin(s);
	s->group->lsn = txn->commit_lsn;
	s->group->watermark = s->watermark = txn->end_lsn;
	s->group_whole = true;
	s->place.last_commit_lsn = txn->commit_lsn;
	s->place.seq++;
	s->place.index = 0;
	s->txn_rows = 0;
	if (s->group->sent >= (uint64_t)s->conf->group_rows || s->group->bytes >= group_bytes_max(s))
		group_end(s, 0);
}

static enum rc
take_event(struct session *s, const struct source_event *ev, struct err *err)
{
	switch (ev->kind) {
	case SRC_BEGIN:
		s->txn = ev->txn;
		s->in_txn = true;
		s->txn_rows = 0;
		s->place.index = 0;
		/* Sent again by the source after a restart, and in Kafka already: commit order is LSN order within one incarnation. */
		s->skipping = ev->txn.commit_lsn <= s->place.last_commit_lsn;
		return OK;
	case SRC_CHANGE:
		s->txn.origin = ev->txn.origin;
		s->txn.origin_lsn = ev->txn.origin_lsn;
		return take_change(s, ev, err);
	case SRC_COMMIT:
		take_commit(s, &ev->txn);
		return OK;
	case SRC_IDLE:
		if (ev->lsn > s->idle_lsn)
			s->idle_lsn = ev->lsn;
		return OK;
	}
	return OK;
}

/* A turn at the source. *idle: it has nothing more for now. */
static enum rc
read_source(struct session *s, bool *idle, struct err *err)
{
	*idle = false;
	for (int i = 0; i < TURN_EVENTS; i++) {
		struct source_event ev = { 0 };
		enum rc rc;

		if (no_room(s))
			return OK;
		rc = s->source->ops->next(s->source, &ev, err);
		if (rc == AGAIN) {
			*idle = true;
			return OK;
		}
		if (rc == OK)
			rc = take_event(s, &ev, err);
		if (rc != OK)
			return rc;
	}
	return OK;
}

/* Close a group that is whole when there is nothing more to add at once, or when it waits too long. */
static void
close_group(struct session *s, bool idle)
{
	if (s->group && s->group_whole && !s->in_txn && (idle || now_ms() - s->group_ms >= s->conf->group_ms))
		group_end(s, 0);
}

/* ---- what is safe ---- */

static enum rc
beat(struct session *s, struct err *err)
{
	struct spine_record r = own_record(s, SPINE_BEAT);
	int64_t now = now_ms();

	if (!inflight_empty(&s->inflight) || s->in_txn || s->idle_lsn <= s->state.watermark || s->idle_lsn <= s->beat_lsn)
		return OK;
	if (s->beat_ms && now - s->beat_ms < BEAT_MS)
		return OK;
	s->beat_ms = now;
	s->beat_lsn = s->watermark = r.watermark = s->idle_lsn;
	return publish_spine(s->pub, &r, NULL, err);
}

static enum rc
confirm(struct session *s, struct err *err)
{
	/* What lives in the memory of this process only is safe when the sinks have it, not before. */
	uint64_t no = s->kafka->broker && s->flow ? flow_applied(s->flow) : UINT64_MAX;
	uint64_t lsn = inflight_drop(&s->inflight, no);

	if (inflight_empty(&s->inflight) && s->state.watermark > lsn)
		lsn = s->state.watermark;
	if (lsn > s->safe_lsn)
		s->safe_lsn = lsn;
	return s->source->ops->confirm(s->source, s->safe_lsn, now_ms(), err);
}

static void
wait_for_work(struct session *s, bool source_too, int ms)
{
	struct pollfd fds[5] = {
		{ .fd = publisher_fd(s->pub), .events = POLLIN },
		{ .fd = s->spine_fd, .events = POLLIN },
		{ .fd = stop_requested() ? -1 : stop_fd(), .events = POLLIN },
		{ .fd = s->flow ? s->flow->wake_fd : -1, .events = POLLIN },
		{ .fd = source_too ? s->source->ops->fd(s->source) : -1, .events = POLLIN },
	};
	uint64_t wakes;

	poll(fds, COUNTOF(fds), ms);
	if (fds[3].revents && read(fds[3].fd, &wakes, sizeof wakes) < 0)
		wakes = 0;
}

/* One turn of the loop. */
static enum rc
turn(struct session *s, bool read_on, struct err *err)
{
	uint64_t before = s->inflight.next_no + s->inflight.accepted_no + s->inflight.announced_no;
	bool idle = true;
	enum rc rc = publish_serve(s->pub, 0, err);

	if (rc == OK)
		rc = read_spine(s, 0, err);
	if (rc == OK && read_on)
		rc = read_source(s, &idle, err);
	if (rc == OK) {
		close_group(s, idle);
		rc = announce(s, err);
	}
	if (rc == OK)
		rc = beat(s, err);
	if (rc == OK)
		rc = confirm(s, err);
	if (rc == OK && read_on)
		rc = s->source->ops->tick(s->source, now_ms(), err);
	if (rc == OK && (idle || no_room(s)) && before == s->inflight.next_no + s->inflight.accepted_no + s->inflight.announced_no)
		wait_for_work(s, read_on && !no_room(s), s->group && s->group_whole ? 1 : 100);
	return rc;
}

/* What is on its way gets a moment to arrive: the next start has less to repeat. An unfinished transaction stays unpublished. */
static enum rc
drain(struct session *s, struct err *err)
{
	int64_t until = now_ms() + DRAIN_MS;
	enum rc rc = OK;

	if (s->group && s->group_whole)
		group_end(s, 0);
	while (rc == OK && now_ms() < until && !(s->group ? s->inflight.accepted_no + 2 >= s->inflight.next_no : inflight_empty(&s->inflight)))
		rc = turn(s, false, err);
	return rc;
}

static enum rc
session_run(struct session *s, bool *ran, struct err *err)
{
	enum rc rc = session_open(s, err);

	if (rc == AGAIN)
		return OK;
	*ran = rc == OK;
	while (rc == OK && !stop_requested())
		rc = turn(s, true, err);
	if (rc == OK)
		rc = drain(s, err);
	if (rc == OK)
		log_info("producer", "stopped", "group=%" PRIu64 " seq=%" PRIu64, s->state.no, s->state.seq);
	return rc;
}

enum rc
producer_run(const struct kafka *k, struct flow *flow, const struct producer_begin *begin, bool adopt, struct err *err)
{
	int64_t backoff = BACKOFF_MIN_MS;

	while (!stop_requested()) {
		struct session s = { .kafka = k, .conf = k->conf, .flow = flow, .begin = begin, .adopt = adopt, .spine_fd = -1 };
		bool ran = false;
		enum rc rc = session_run(&s, &ran, err);

		session_close(&s);
		if (rc != RETRY)
			return rc;
		if (ran)
			backoff = BACKOFF_MIN_MS;
		log_warn("producer", err->text, "retry_ms=%" PRId64, backoff);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
	}
	return OK;
}
