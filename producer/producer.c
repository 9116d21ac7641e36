/*
 * producer.c - one session after another: look at spine and source, take the generation, stream.
 *
 * The order that nothing may change:  rows acknowledged -> GROUP -> read back from the spine -> confirmed at the source.
 */
#include "producer/producer.h"
#include "producer/awaited.h"
#include "producer/copied.h"
#include "core/log.h"
#include "core/now.h"
#include "core/quorum.h"
#include "core/sqlite.h"
#include "core/stop.h"
#include "producer/grouping.h"
#include "producer/known.h"
#include "producer/publish.h"
#include "producer/resume.h"
#include "producer/snapshot.h"
#include "producer/source.h"
#include "schemas/progress_log.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	GROUP_BYTES = 4 << 20,
	EMBEDDED_GROUP_BYTES = 256 << 10,
	EMBEDDED_BYTES = 3 << 20, /* unread at most: the embedded broker drops what passes 5 MiB a partition */
	TURN_EVENTS = 512,        /* source events between two looks at Kafka */
	OPEN_MS = 30000,
	DRAIN_MS = 10000,
	TRANSACTION_GROUPS = 4,   /* a Kafka transaction costs the same whatever it holds: groups may be so many times larger */
	RIVAL_MS = 5000,
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 15000,
};

/* What outlives a session. */
struct carried {
	uint64_t unread_bytes; /* embedded broker: of groups up to unread_no that earlier sessions left there, and some sink lacks */
	uint64_t unread_no;
	bool text;             /* some table of the stream only travels as text */
};

struct session {
	struct carried *carried;
	const struct kafka *kafka;
	const struct conf *conf;
	struct flow *flow;
	const struct producer_begin *begin;
	bool adopt;
	struct gauge *gauge;
	struct source *source;
	struct snapshot *snapshot;
	struct source_identity id;
	struct publisher *pub;
	rd_kafka_t *consumer;      /* reads the spine back */
	rd_kafka_topic_t *spine;
	rd_kafka_queue_t *spine_queue;
	int spine_fd;
	bool reading;              /* spine consumption was started */
	struct arena arena;        /* one spine record */
	struct grouping g;         /* what is true, what is on its way */
	struct txn txn;            /* at hand */
	const struct quorum *quorum; /* of sinks that commits wait for; no members: they wait for none */
	struct awaited awaited;    /* what they say, where they are not in this process */
	struct standby standby;
	uint64_t safe;             /* up to here the source may forget its log */
	int64_t expect_ms;         /* when the publisher was told last which tables there are */
};

/* The newest group with rows. */
static uint64_t
sent_no(const struct session *s)
{
	return s->g.inflight.next_no - 1;
}

/* ---- the spine, read back ---- */

static enum rc
fenced(const struct spine_record *r, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "fenced: node %.*s has opened generation %" PRIu64
	    " of this pipeline; only one producer may publish under a name",
	    SLICE_ARG(r->node), r->gen);
}

/* Shown to whoever looks: where the spine is. */
static void
show_place(struct session *s)
{
	const struct spine_state *st = &s->g.state;

	gauge_at(s->gauge, 0,
	    &(struct gauge_at){ .gen = st->gen, .no = st->no, .seq = st->seq, .lsn = st->lsn, .commit_us = st->commit_us });
}

static enum rc
take_record(struct session *s, const struct spine_record *r, struct err *err)
{
	switch (grouping_read_back(&s->g, r)) {
	case GROUPING_GAP:
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "the spine has a gap before group %" PRIu64 ": records are missing in Kafka",
		    r->no);
	case GROUPING_LOST:
		return fail(err, RETRY, "another producer opened generation %" PRIu64 " first", r->gen);
	case GROUPING_FENCED:
		return fenced(r, err);
	case GROUPING_PUBLISHED:
		if (s->gauge) {
			atomic_fetch_add(&s->gauge->rows, inflight_at(&s->g.inflight, r->no)->sent);
			show_place(s);
		}
		if (s->flow) {
			atomic_fetch_add(&s->flow->published, inflight_at(&s->g.inflight, r->no)->sent);
			atomic_store(&s->flow->published_no, r->no);
		}
		break;
	case GROUPING_ON:
		break;
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
		if (s->awaited.topic && m->rkt == s->awaited.topic)
			rc = awaited_take(&s->awaited, m, s->g.place.gen, s->g.token, sent_no(s), err);
		else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
			rc = fail(err, RETRY,
			    "the spine no longer has what was written last: was its topic deleted?"); /* the new session judges */
		else if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
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

/* ---- start: compare, never guess ---- */

static enum rc
ask_progress(struct session *s, struct err *err)
{
	uint64_t seq = 0, no = 0;
	enum rc rc = progress_log_published(s->consumer, topic_own(&s->arena, s->conf->name, "progress"), &seq, err);

	if (rc == OK)
		rc = resume_published(s->conf, &s->g.state, seq, err);
	if (rc == OK)
		rc = copied_upto(s->kafka, &no, err);
	return rc == OK ? resume_copied(s->conf, &s->g.state, no, err) : rc;
}

static enum rc
compare(struct session *s, struct err *err)
{
	const struct spine_state *st = &s->g.state;
	uint64_t fork = 0;
	enum rc rc = OK;

	/* Asked before the spine was read: another producer may have been at work in between. */
	if (s->id.lsn && s->id.lsn < st->watermark)
		rc = s->source->ops->identify(s->source, &s->id, err);
	if (rc == OK)
		rc = resume_judge(s->conf, st, &s->id, s->adopt || s->kafka->broker, err);
	if (rc == OK && resume_doubtful(st, &s->id) && !s->adopt && !s->kafka->broker)
		rc = ask_progress(s, err);
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
	s->awaited.quorum = s->quorum;
	return s->quorum->nmembers && !s->flow ? awaited_start(&s->awaited, s->kafka, s->consumer, s->spine_queue, err) : OK;
}

/* Take the generation: append OPEN, and believe it only when it is read back. */
static enum rc
open_generation(struct session *s, struct err *err)
{
	struct spine_record r;
	int64_t until = now_ms() + OPEN_MS;
	uint64_t token;
	enum rc rc;

	if (getrandom(&token, sizeof token, 0) != sizeof token)
		return fail(err, FATAL, "getrandom failed");
	r = grouping_open(&s->g, token >> 1); /* positive as an Avro long */
	r.node = slice_of(s->conf->node);
	r.reason = SLICE_LIT("start");
	rc = publish_spine(s->pub, &r, NULL, err);
	while (rc == OK && !s->g.opened) {
		rc = publish_serve(s->pub, 0, err);
		if (rc == OK)
			rc = read_spine(s, 20, err);
		if (rc == OK && !s->g.opened && now_ms() > until)
			rc = fail(err, RETRY, "Kafka did not give the OPEN record back within %d s", OPEN_MS / 1000);
		if (rc == OK && stop_requested())
			return AGAIN;
	}
	return rc;
}

/* Where the spine is, for copies: what is read from the source from now on comes behind `sent`, of which no group is open. */
static void
tell_place(struct session *s)
{
	uint64_t closed = sent_no(s) - (s->g.group != NULL), accepted = s->g.state.no;

	s->source->accepted = (struct copy_place){ s->g.place.gen, accepted };
	s->source->sent = (struct copy_place){ s->g.place.gen, closed > accepted ? closed : accepted };
}

static enum rc
session_open(struct session *s, struct err *err)
{
	char topic[300];
	int64_t next = 0;
	enum rc rc = source_open(s->conf, &s->source, err);

	if (rc == OK)
		s->source->text = s->carried->text;
	snprintf(topic, sizeof topic, "%s.towline.spine", s->conf->name);
	/* First, as wrong options and a Kafka that is not there are told before anything is made at the source. */
	if (rc == OK)
		rc = kafka_consumer(s->kafka, 1024, &s->consumer, err);
	if (rc == OK)
		rc = kafka_reach(s->kafka, s->consumer, err);
	if (rc == OK)
		rc = s->source->ops->identify(s->source, &s->id, err);
	s->g.system_id = s->id.system_id;
	s->g.timeline = s->id.timeline;
	if (rc == OK)
		rc = publisher_open(s->kafka, s->id.database, &s->g.inflight, &s->pub, err);
	if (rc == OK)
		publisher_gauge(s->pub, s->gauge);
	if (rc == OK)
		rc = spine_log_state(s->consumer, topic, &s->g.state, &next, err);
	/* The embedded broker forgets; what the sinks remember is put in its place, so that they go on where they were. */
	if (rc == OK && s->kafka->broker && !s->g.state.started && s->begin)
		s->g.state = (struct spine_state){ .gen = s->begin->gen, .no = s->begin->no, .seq = s->begin->seq, .lsn = s->begin->lsn };
	if (rc == OK)
		rc = compare(s, err);
	if (rc == OK)
		rc = start_reading(s, next, err);
	if (rc == OK)
		rc = open_generation(s, err);
	if (rc == OK)
		tell_place(s);
	/* Before the slot is made: what is to be copied is written down first. */
	if (rc == OK)
		rc = snapshot_begin(s->snapshot, s->source, !s->id.exists, err);
	if (rc == OK && !s->id.exists)
		rc = s->source->ops->create(s->source, &s->id.confirmed, err);
	if (rc == OK && !s->id.exists)
		rc = snapshot_slot_made(s->snapshot, err);
	if (rc == OK && !sqlite_url_path(s->conf->source_url))
		rc = known_open(s->kafka, s->id.system_id, s->id.database, &s->source->known, err);
	if (rc != OK)
		return rc;
	grouping_ready(&s->g, s->id.confirmed);
	s->carried->unread_no = s->g.state.no;
	show_place(s);
	gauge_set(s->gauge, GAUGE_RUNNING, NULL);
	log_info("producer", "publishing",
	    "pipeline=%s generation=%" PRIu64 " group=%" PRIu64 " seq=%" PRIu64, s->conf->name,
	    s->g.place.gen, s->g.state.no, s->g.state.seq);
	return s->source->ops->start(s->source, &(struct source_published){ .upto = s->g.state.watermark > s->g.state.lsn
		? s->g.state.watermark : s->g.state.lsn, .lsn = s->g.state.lsn, .commit_us = s->g.state.commit_us }, err);
}

/* Bytes that the embedded broker must keep for the sinks. */
static uint64_t
unread_bytes(const struct session *s)
{
	bool read = !s->flow || flow_applied(s->flow) >= s->carried->unread_no;

	return s->g.inflight.bytes + (read ? 0 : s->carried->unread_bytes);
}

static void
session_close(struct session *s)
{
	if (s->g.opened)
		s->carried->unread_bytes = unread_bytes(s);
	if (s->reading)
		rd_kafka_consume_stop(s->spine, 0);
	awaited_stop(&s->awaited);
	if (s->spine)
		rd_kafka_topic_destroy(s->spine);
	if (s->spine_queue) {
		rd_kafka_queue_destroy(s->spine_queue);
		close(s->spine_fd);
	}
	if (s->consumer)
		kafka_close(s->consumer);
	publisher_close(s->pub);
	snapshot_end(s->snapshot);
	if (s->source) {
		struct known *known = s->source->known;

		s->carried->text = s->source->text;
		s->source->ops->close(s->source);
		known_close(known);
	}
	inflight_free(&s->g.inflight);
	arena_free(&s->arena);
}

/* ---- groups ---- */

/*
 * With Kafka transactions one spine record at a time; and the groups of a source transaction that
 * is still being read wait for its last one, with which they are committed (unless they are so many
 * that the ring of groups would fill).
 */
static bool
may_announce(struct session *s)
{
	struct inflight *f = &s->g.inflight;
	const struct group *g = inflight_ready(f);

	if (!g || !publisher_spine_room(s->pub))
		return false;
	return !s->g.uncut || !s->g.in_txn || !(g->flags & SPINE_MORE) || f->next_no - f->first_no >= INFLIGHT_GROUPS / 2;
}

/* Send the GROUP of each group whose rows are all in Kafka, oldest first. */
static enum rc
announce(struct session *s, struct err *err)
{
	const struct group *g;
	struct spine_record r;
	enum rc rc = OK;

	while (rc == OK && may_announce(s) && (g = grouping_announce(&s->g, &r)))
		rc = publish_spine(s->pub, &r, g, err);
	if (rc == OK && s->g.torn)
		return fail(err, RETRY, "Kafka has lost rows that it had acknowledged; sending them again");
	return rc;
}

/* ---- events ---- */

static bool
no_room(const struct session *s)
{
	if (!s->g.group && !publisher_room(s->pub, s->g.inflight.next_no))
		return true;
	return !grouping_room(&s->g) || publisher_full(s->pub) || (s->kafka->broker && unread_bytes(s) > EMBEDDED_BYTES);
}

/* There was room when the change was read, but a barrier has closed the group since: the source waits, and is told that we live. */
static enum rc
make_room(struct session *s, struct err *err)
{
	const struct source_ops *ops = s->source->ops;
	enum rc rc = OK;

	while (rc == OK && !s->g.group && !publisher_room(s->pub, s->g.inflight.next_no)) {
		rc = announce(s, err);
		if (rc == OK)
			rc = publish_serve(s->pub, 100, err);
		if (rc == OK && ops->answer)
			rc = ops->answer(s->source, now_ms(), err);
		if (rc == OK && stop_requested())
			rc = fail(err, RETRY, "stopped while Kafka took no more");
	}
	return rc;
}

static enum rc
take_change(struct session *s, const struct source_event *ev, struct err *err)
{
	struct group *g;
	/* What is sent again after a start is in Kafka; the schema of then may have become one that is refused. */
	enum rc rc = s->g.skipping ? OK : snapshot_prepare(s->snapshot, s->pub, &ev->change, err);

	if (rc != OK)
		return rc == AGAIN ? OK : rc;
	/* A new table version begins a group also behind another barrier. */
	if (ev->change.reshaped)
		grouping_barrier(&s->g, false);
	grouping_barrier(&s->g, grouping_apart(&ev->change));
	rc = make_room(s, err);
	if (rc != OK)
		return rc;
	g = grouping_change(&s->g, now_ms());
	if (!g)
		return OK;
	rc = publish_change(s->pub, g, &s->txn, &ev->change, &s->g.place, err);
	if (rc == OK)
		grouping_sent(&s->g);
	return rc;
}

/* What Debezium says of it at its end, in the group of its last row, or in one more. */
static enum rc
end_transaction(struct session *s, const struct txn *txn, struct err *err)
{
	struct group *g;
	enum rc rc = make_room(s, err);

	if (rc != OK)
		return rc;
	g = grouping_change(&s->g, now_ms());
	return g ? publish_end(s->pub, g, txn, err) : OK;
}

static enum rc
take_event(struct session *s, const struct source_event *ev, struct err *err)
{
	switch (ev->kind) {
	case SRC_BEGIN:
		s->txn = ev->txn;
		grouping_begin(&s->g, &ev->txn);
		return OK;
	case SRC_CHANGE:
		s->txn.origin = ev->txn.origin;
		s->txn.origin_lsn = ev->txn.origin_lsn;
		return take_change(s, ev, err);
	case SRC_COMMIT:
		s->txn = ev->txn;
		if (publisher_in_transaction(s->pub)) {
			enum rc rc = end_transaction(s, &ev->txn, err);

			if (rc != OK)
				return rc;
		}
		grouping_commit(&s->g, &ev->txn);
		return OK;
	case SRC_MARK:
		return OK;
	case SRC_IDLE:
		grouping_idle(&s->g, ev->lsn);
		return OK;
	}
	return OK;
}

/* What lives in the memory of this process only is safe when the sinks have it, not before: up to which group. */
static uint64_t
applied_no(const struct session *s)
{
	return s->kafka->broker && s->flow ? flow_applied(s->flow) : UINT64_MAX;
}

/* The group up to which all is there after a crash. */
static uint64_t
kept_no(const struct session *s)
{
	uint64_t accepted = s->g.inflight.accepted_no, applied = applied_no(s);

	return applied < accepted ? applied : accepted;
}

/* Of the stream. */
static enum rc
take_streamed(struct session *s, struct source_event *ev, struct err *err)
{
	enum rc rc = ev->kind == SRC_CHANGE ? snapshot_change(s->snapshot, &ev->txn, &ev->change, err) : OK;

	if (rc == AGAIN)
		return OK; /* it is in the rows that were copied */
	if (ev->kind == SRC_MARK)
		snapshot_mark(s->snapshot, ev->change.content);
	if (rc == OK)
		rc = take_event(s, ev, err);
	if (rc == OK && ev->kind == SRC_COMMIT) {
		snapshot_sent(s->snapshot, sent_no(s));
		snapshot_commit(s->snapshot, &ev->txn);
	}
	return rc;
}

/* Rows of a chunk, in their place: nothing of the stream comes before they are out. */
static enum rc
take_copied(struct session *s, struct source_event *ev, struct err *err)
{
	enum rc rc = snapshot_next(s->snapshot, ev, err);

	if (rc != OK)
		return rc;
	rc = take_event(s, ev, err);
	if (rc == OK && ev->kind == SRC_COMMIT)
		snapshot_sent(s->snapshot, sent_no(s));
	return rc;
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
		if (snapshot_ready(s->snapshot)) {
			rc = take_copied(s, &ev, err);
			if (rc == AGAIN)
				continue;
		} else if (snapshot_holds(s->snapshot)) {
			*idle = true;
			return OK;
		} else {
			rc = s->source->ops->next(s->source, &ev, err);
			if (rc == AGAIN) {
				*idle = true;
				return OK;
			}
			if (rc == OK)
				rc = take_streamed(s, &ev, err);
		}
		if (rc != OK)
			return rc;
	}
	return OK;
}

/*
 * Close a group that is whole when there is nothing more to add at once, or when it waits too long.
 * While its GROUP could not be sent anyway, because a Kafka transaction commits, it grows.
 */
static void
close_group(struct session *s, bool idle)
{
	if (s->g.group && publisher_spine_room(s->pub) && (idle || now_ms() - s->g.group_ms >= s->conf->group_ms))
		grouping_close(&s->g);
}

/* ---- what is safe ---- */

static enum rc
beat(struct session *s, struct err *err)
{
	struct spine_record r;

	return publisher_spine_room(s->pub) && grouping_beat(&s->g, now_ms(), &r) ? publish_spine(s->pub, &r, NULL, err) : OK;
}

/* The group that those sinks have that commits wait for. */
static uint64_t
quorum_no(const struct session *s)
{
	uint64_t at[QUORUM_MAX];

	if (!s->flow)
		return awaited_no(&s->awaited);
	for (int i = 0; i < s->quorum->nmembers; i++)
		at[i] = atomic_load(&s->flow->applied[conf_sink(s->conf, s->quorum->members[i]) - s->conf->sinks]);
	return quorum_reached(s->quorum, at);
}

static enum rc
confirm(struct session *s, struct err *err)
{
	uint64_t safe = grouping_safe(&s->g, applied_no(s)), applied = safe;

	s->safe = safe;
	if (s->quorum->nmembers) {
		standby_published(&s->standby, s->g.state.no, safe);
		applied = standby_applied(&s->standby, quorum_no(s));
	}
	if (s->gauge) {
		atomic_store_explicit(&s->gauge->read_seq, s->g.place.seq - 1, memory_order_relaxed);
		atomic_store_explicit(&s->gauge->safe_lsn, safe, memory_order_release); /* behind its place (show_place) */
		atomic_store_explicit(&s->gauge->end_lsn, s->source->end_lsn, memory_order_relaxed);
	}
	return s->source->ops->confirm(s->source, safe, applied, now_ms(), err);
}

static void
wait_for_work(struct session *s, bool source_too, int ms)
{
	int copies[2];
	struct pollfd fds[] = {
		{ .fd = publisher_fd(s->pub), .events = POLLIN },
		{ .fd = s->spine_fd, .events = POLLIN },
		{ .fd = stop_requested() ? -1 : stop_fd(), .events = POLLIN },
		{ .fd = s->flow ? s->flow->wake_fd : -1, .events = POLLIN },
		{ .fd = source_too ? s->source->ops->fd(s->source) : -1, .events = POLLIN },
		{ .fd = -1, .events = POLLIN },
		{ .fd = -1, .events = POLLIN },
	};
	uint64_t wakes;

	snapshot_fds(s->snapshot, copies);
	for (int i = 0; i < 2 && source_too; i++)
		fds[5 + i].fd = copies[i];

	poll(fds, COUNTOF(fds), ms);
	if (fds[3].revents && read(fds[3].fd, &wakes, sizeof wakes) < 0)
		wakes = 0;
}

static uint64_t
progress(const struct session *s)
{
	const struct inflight *f = &s->g.inflight;

	return f->next_no + f->accepted_no + f->announced_no;
}

/* Whose topics an outbox must not write to; asked for by an outbox alone. */
static void
tell_tables(struct session *s)
{
	if (!s->conf->outbox_tables || now_ms() - s->expect_ms < 1000)
		return;
	s->expect_ms = now_ms();
	snapshot_expect(s->snapshot, s->pub);
}

/* One turn of the loop. */
static enum rc
turn(struct session *s, bool read_on, struct err *err)
{
	uint64_t before = progress(s);
	bool idle = true;
	enum rc rc = publish_serve(s->pub, 0, err);

	tell_tables(s);
	if (rc == OK)
		rc = read_spine(s, 0, err);
	if (rc == OK && read_on)
		rc = read_source(s, &idle, err);
	tell_place(s);
	if (rc == OK && read_on)
		rc = snapshot_look(s->snapshot, err);
	if (rc == OK) {
		close_group(s, idle);
		rc = announce(s, err);
	}
	if (rc == OK)
		rc = beat(s, err);
	if (rc == OK)
		rc = confirm(s, err);
	if (rc == OK && grouping_overdue(&s->g, now_ms()))
		rc = fail(err, RETRY, "what was written into the spine is not read back from Kafka for long; looking again");
	if (rc == OK && read_on)
		rc = s->source->ops->tick(s->source, now_ms(), err);
	tell_place(s);
	if (rc == OK && read_on)
		rc = snapshot_turn(s->snapshot, s->pub, kept_no(s), sent_no(s), s->safe, err);
	if (rc == OK && read_on)
		rc = publish_heartbeat(s->pub, now_ms(), err);
	if (rc == OK && (idle || no_room(s)) && before == progress(s))
		wait_for_work(s, read_on && !no_room(s), s->g.group && s->g.group_whole && publisher_spine_room(s->pub) ? 1 : 100);
	return rc;
}

/* What is on its way gets a moment to arrive: the next start has less to repeat. An unfinished transaction stays unpublished. */
static enum rc
drain(struct session *s, struct err *err)
{
	const struct inflight *f = &s->g.inflight;
	int64_t until = now_ms() + DRAIN_MS;
	enum rc rc = OK;

	grouping_close(&s->g);
	while (rc == OK && now_ms() < until &&
	    !(publisher_spine_room(s->pub) && (s->g.group ? f->accepted_no + 2 >= f->next_no : inflight_empty(f))))
		rc = turn(s, false, err);
	return rc == OK ? publisher_abort(s->pub, err) : rc;
}

/*
 * Kafka gave our transactional id to somebody else. When that was another producer, it opens a generation at once; without such an OPEN it
 * was a late request of an earlier handle of ours, or one that died at once, and we begin anew.
 */
static enum rc
look_for_rival(struct session *s, struct err *err)
{
	struct err why = *err;
	int64_t until = now_ms() + RIVAL_MS;
	enum rc rc = OK;

	while (rc == OK && s->reading && now_ms() < until && !stop_requested())
		rc = read_spine(s, 100, err);
	if (rc == OK)
		*err = why;
	return rc == OK ? RETRY : rc;
}

static enum rc
session_run(struct session *s, bool *ran, struct err *err)
{
	int64_t opened_ms;
	uint64_t no;
	enum rc rc = session_open(s, err);

	if (rc == AGAIN)
		return OK;
	opened_ms = now_ms();
	no = s->g.state.no;
	while (rc == OK && !stop_requested())
		rc = turn(s, true, err);
	/* Got something done, or had nothing to do: what ended it is a new trouble, not the one before. */
	*ran = s->g.opened && (s->g.state.no > no || now_ms() - opened_ms > BACKOFF_MAX_MS);
	if (rc == OK)
		rc = drain(s, err);
	if (rc == RETRY && publisher_fenced(s->pub))
		return look_for_rival(s, err);
	if (rc == OK)
		log_info("producer", "stopped", "group=%" PRIu64 " seq=%" PRIu64, s->g.state.no, s->g.state.seq);
	return rc;
}

enum rc
producer_run(const struct kafka *k, struct flow *flow, const struct producer_begin *begin, bool adopt,
    struct gauge *gauge, struct err *err)
{
	struct carried carried = { 0 };
	int64_t backoff = BACKOFF_MIN_MS;
	struct arena names = { 0 };
	struct snapshot *snapshot = snapshot_new(k, gauge);
	struct quorum quorum;
	enum rc rc = quorum_of(k->conf, &names, &quorum, err);

	while (rc == OK && !stop_requested()) {
		struct session s = { .carried = &carried, .kafka = k, .conf = k->conf, .flow = flow,
			.begin = begin, .adopt = adopt, .gauge = gauge, .spine_fd = -1, .quorum = &quorum, .snapshot = snapshot,
			.g = { .embedded = k->broker, .awaited = k->conf->synchronous, .rows_max = (uint64_t)k->conf->group_rows,
				.bytes_max = k->broker ? EMBEDDED_GROUP_BYTES : GROUP_BYTES } };
		bool ran = false;

		if (k->conf->transactions) {
			s.g.uncut = true;
			s.g.rows_max *= TRANSACTION_GROUPS;
			s.g.bytes_max *= TRANSACTION_GROUPS;
		}
		rc = session_run(&s, &ran, err);

		session_close(&s);
		if (rc != RETRY)
			break;
		rc = OK;
		if (ran)
			backoff = BACKOFF_MIN_MS;
		gauge_set(gauge, GAUGE_RETRYING, err->text);
		log_warn("producer", err->text, "retry_ms=%" PRId64, backoff);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
	}
	snapshot_free(snapshot);
	arena_free(&names);
	return rc;
}
