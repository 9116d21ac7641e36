/*
 * deliver.c - records to Kafka, acknowledgements back into the groups, and which Kafka transaction a group is part of.
 */
#include "core/now.h"
#include "producer/publish_impl.h"
#include "core/log.h"
#include "core/stop.h"
#include "schemas/header.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Records on their way at most. Below the limits of librdkafka's own queue (core/kafka.c), so that the source is not read further while
 * Kafka takes nothing, rather than a change standing half handed over: the loop goes on and the source hears from us.
 */
enum { QUEUED_MAX = 100000 };

/* In place of a topic-partition's number: a record that is none of its group's rows. */
#define ASIDE_SLOT ((uintptr_t)UINT32_MAX)

bool
publisher_full(const struct publisher *p)
{
	return p->queued >= QUEUED_MAX || p->queued_bytes >= p->queued_max;
}

/* ---- Kafka transactions ---- */

/*
 * Does the next group go on in the same Kafka transaction? It does when they share a source transaction: truncates cut those. Not without
 * end: nothing of it is read back before it is committed, and the ring of groups is finite.
 */
static bool
goes_on(const struct publisher *p, const struct group *g)
{
	return (g->flags & SPINE_MORE) && p->groups[g->no % INFLIGHT_GROUPS].run < INFLIGHT_GROUPS / 2;
}

/* The group before number `no`, while it is on its way; or NULL. */
static const struct group *
group_before(const struct publisher *p, uint64_t no)
{
	return no > p->inflight->first_no ? &p->inflight->ring[(no - 1) % INFLIGHT_GROUPS] : NULL;
}

/* Handles for all groups up to number `no`; a group without rows has not asked for its own. */
static void
assign_handles(struct publisher *p, uint64_t no)
{
	if (p->handle_no + 1 < p->inflight->first_no)
		p->handle_no = p->inflight->first_no - 1;
	while (p->handle_no < no) {
		const struct group *before = group_before(p, ++p->handle_no);
		bool same = before && goes_on(p, before);

		if (p->nhandles > 1 && !same)
			p->handle = !p->handle;
		p->groups[p->handle_no % INFLIGHT_GROUPS].handle = p->handle;
		p->groups[p->handle_no % INFLIGHT_GROUPS].run = same ? p->groups[before->no % INFLIGHT_GROUPS].run + 1 : 0;
	}
}

static int
handle_of(struct publisher *p, const struct group *g)
{
	assign_handles(p, g->no);
	return p->groups[g->no % INFLIGHT_GROUPS].handle;
}

/*
 * Its handle is free, and the rows of the group before are acknowledged: those are another handle's, and rows of two handles may pass each
 * other on the way to one partition.
 */
bool
publisher_room(struct publisher *p, uint64_t no)
{
	const struct group *before = group_before(p, no);

	assign_handles(p, no - 1);
	if (p->nhandles == 1 || (before && goes_on(p, before)))
		return true;
	return p->handles[!p->handle].state == HANDLE_IDLE && (!before || (before->closed && before->acked == before->sent));
}

/*
 * One uncommitted spine record at a time. With the next one sent before this one is committed, an abort of this one and a commit of the
 * next would leave a gap in the spine.
 */
bool
publisher_spine_room(const struct publisher *p)
{
	for (int i = 0; i < p->nhandles; i++)
		if (p->handles[i].state >= HANDLE_SPINE)
			return false;
	return true;
}

enum rc
publisher_abort(struct publisher *p, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < p->nhandles; i++) {
		for (int tries = 0; tries < 20 && rc == OK && p->handles[i].state == HANDLE_ROWS &&
		     rd_kafka_outq_len(p->handles[i].rk);
		     tries++)
			rc = publish_serve(p, 100, err);
		handle_abort(&p->handles[i]);
	}
	return rc;
}

bool
publisher_fenced(const struct publisher *p)
{
	for (int i = 0; p && i < p->nhandles; i++)
		if (p->handles[i].fenced)
			return true;
	return false;
}
/* ---- acknowledgements ---- */

static enum rc
take_report(struct publisher *p, struct handle *handle, const rd_kafka_message_t *m, struct err *err)
{
	uintptr_t tag = (uintptr_t)m->_private;

	p->queued_bytes -= m->len + m->key_len;
	p->queued--;
	/* The topic is gone. A new session looks at what there is, and judges. */
	if (m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
	    m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return fail(err, RETRY, "%s [%d] does not exist any more: was the topic deleted?",
		    rd_kafka_topic_name(m->rkt), m->partition);
	if (m->err)
		return handle_fail(handle, m->err, err, "write to %s [%d]", rd_kafka_topic_name(m->rkt), m->partition);
	/* Acknowledged as sent before (DUPLICATE_SEQUENCE_NUMBER): durable, but no GROUP can say where. */
	if (tag && m->offset < 0)
		return fail(err, RETRY, "a row to %s [%d] was acknowledged without an offset; it is sent again under a new generation",
		    rd_kafka_topic_name(m->rkt), m->partition);
	if (!tag) /* the spine's own record */
		handle->spine--;
	else if (tag / INFLIGHT_GROUPS - 1 == ASIDE_SLOT)
		group_acked_aside(&p->inflight->ring[tag % INFLIGHT_GROUPS]);
	else
		group_acked(&p->inflight->ring[tag % INFLIGHT_GROUPS], (uint32_t)(tag / INFLIGHT_GROUPS - 1), m->offset);
	return OK;
}

static enum rc
take_error(struct handle *handle, rd_kafka_event_t *ev, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(ev);

	if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(handle->rk, NULL, 0))
		return handle_fail(handle, code, err, "kafka");
	if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		return handle_fail(handle, code, err, "kafka: %s", rd_kafka_event_error_string(ev));
	/* Lost brokers are found again by librdkafka; the rows wait in its queue meanwhile. */
	log_warn("producer", "kafka trouble", "error=\"%s\"", rd_kafka_event_error_string(ev));
	return OK;
}

static enum rc
serve_handle(struct publisher *p, struct handle *handle, bool *any, struct err *err)
{
	rd_kafka_event_t *ev;
	enum rc rc = OK;

	while (rc == OK && (ev = rd_kafka_queue_poll(handle->queue, 0))) {
		const rd_kafka_message_t *m;

		*any = true;
		if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR)
			while (rc == OK && (m = rd_kafka_event_message_next(ev)))
				rc = take_report(p, handle, m, err);
		else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR)
			rc = take_error(handle, ev, err);
		rd_kafka_event_destroy(ev);
	}
	if (rc == OK && handle->state == HANDLE_SPINE && !handle->spine)
		handle_commit(handle, p->committer);
	if (rc == OK && handle->state == HANDLE_COMMITS) {
		rc = handle_committed(handle, p->committer, err);
		if (rc == AGAIN)
			return OK;
		*any = true;
	}
	return rc;
}

enum rc
publish_serve(struct publisher *p, int wait_ms, struct err *err)
{
	enum rc rc = OK;

	for (;; wait_ms = 0) {
		bool any = false;
		uint64_t wakes;

		if (read(p->fd, &wakes, sizeof wakes) < 0)
			wakes = 0; /* nothing signalled: look all the same */
		for (int i = 0; i < p->nhandles && rc == OK; i++)
			rc = serve_handle(p, &p->handles[i], &any, err);
		if (rc != OK || any || !wait_ms)
			return rc;
		poll(&(struct pollfd){ .fd = p->fd, .events = POLLIN }, 1, wait_ms);
	}
}

/* ---- records ---- */

/*
 * What an acknowledgement must say: the group, by its place in the ring, and the topic-partition,
 * both in one pointer. (A topic handle's own opaque will not do: librdkafka hands out the handle
 * that a metadata query made, and drops the configuration.)
 */
static void *
tag_of(const struct group *g, const struct record *r)
{
	uintptr_t slot =
	    r->aside ? ASIDE_SLOT : (uintptr_t)r->topic->slot + (uintptr_t)r->partition;

	return (void *)((slot + 1) * INFLIGHT_GROUPS + g->no % INFLIGHT_GROUPS);
}

static rd_kafka_resp_err_t
hand_over(struct publisher *p, int handle, const struct record *r, void *tag)
{
	rd_kafka_t *rk = p->handles[handle].rk;
	rd_kafka_topic_t *rkt = r->topic->rkt[handle];
	rd_kafka_resp_err_t code;
	rd_kafka_headers_t *h;

	if (!r->nextra && r->tl.n)
		return rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt),
		    RD_KAFKA_V_PARTITION(r->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_KEY(r->key.p, r->key.n),
		    RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, r->value.n),
		    RD_KAFKA_V_HEADER(TL_HEADER, r->tl.p, r->tl.n),
		    RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);
	h = rd_kafka_headers_new((size_t)r->nextra + 1);
	if (r->tl.n)
		rd_kafka_header_add(h, TL_HEADER, -1, r->tl.p, (ssize_t)r->tl.n);
	for (int i = 0; i < r->nextra; i++)
		rd_kafka_header_add(
		    h, r->extra[i].name, -1, r->extra[i].value.p, (ssize_t)r->extra[i].value.n);
	code = rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(r->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_KEY(r->key.p, r->key.n), RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, r->value.n), RD_KAFKA_V_HEADERS(h),
	    RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);
	if (code)
		rd_kafka_headers_destroy(h);
	return code;
}

enum rc
deliver(struct publisher *p, struct group *g, const struct record *r, struct err *err)
{
	int at = handle_of(p, g);
	struct handle *handle = &p->handles[at];
	enum rc rc = handle_begin(handle, err);

	while (rc == OK) {
		rd_kafka_resp_err_t code;

		/* Counted only once it is handed over: a row that never left would hold the group for ever. */
		code = hand_over(p, at, r, tag_of(g, r));
		if (!code)
			break;
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return handle_fail(handle, code, err, "row of %zu bytes to %s", r->value.n, r->topic->name);
		rc = publish_serve(p, 100, err);
		if (rc == OK && stop_requested())
			rc = fail(err, RETRY, "stopped while Kafka took no more");
	}
	if (rc != OK)
		return rc;
	p->queued++;
	p->queued_bytes += r->key.n + r->value.n;
	if (!r->aside)
		group_part(g, r->topic->slot + (uint32_t)r->partition, strlen(r->topic->name));
	group_sent(p->inflight, g, r->key.n + r->value.n + r->tl.n);
	return OK;
}

/* ---- the spine ---- */

/*
 * Of a group: where its rows went. Of OPEN and BEAT, which come when no group is on its way: the
 * handle that the next group does not take.
 */
static int
spine_handle(struct publisher *p, const struct group *g)
{
	return g ? handle_of(p, g) : p->handle;
}

static void
list_parts(struct publisher *p, struct spine_record *rec, const struct group *g)
{
	rec->nparts = g->nparts;
	rec->parts = arena_array(&p->row, (size_t)g->nparts, sizeof *rec->parts);
	for (int i = 0; i < g->nparts; i++) {
		const struct group_part *part = &g->parts[i];
		const struct topic *t = p->slots[part->slot];

		rec->parts[i] = (struct spine_part){ slice_of(t->name),
			(int32_t)(part->slot - t->slot), part->first, part->last, part->count };
	}
}

enum rc
publish_spine(struct publisher *p, struct spine_record *rec, const struct group *g, struct err *err)
{
	int at = spine_handle(p, g);
	struct handle *handle = &p->handles[at];
	enum rc rc = handle_begin(handle, err);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

	arena_reset(&p->row);
	rec->at_us = wall_us();
	if (g)
		list_parts(p, rec, g);
	buf_reset(&p->valuebuf);
	spine_put(&p->valuebuf, rec);
	while (rc == OK) {
		code = rd_kafka_producev(handle->rk, RD_KAFKA_V_RKT(p->spine->rkt[at]),
		    RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_VALUE(p->valuebuf.p, p->valuebuf.n), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rc = publish_serve(p, 100, err);
	}
	if (rc == OK && code)
		rc = handle_fail(handle, code, err, "write to %s", p->spine->name);
	if (rc != OK)
		return rc;
	p->queued++;
	p->queued_bytes += p->valuebuf.n;
	handle->spine++;
	if (handle->transactional && !(g && goes_on(p, g)))
		handle->state = HANDLE_SPINE;
	return OK;
}
