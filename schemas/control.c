#include "schemas/control.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { FETCH_KBYTES = 1024, POLL_MS = 100, HELD_MS = 200 };

struct control {
	const struct kafka *kafka;
	struct arena arena;
	const char *topic;
	int fd;
	bool there;               /* the topic is */
	rd_kafka_t *reader;
	rd_kafka_topic_t *rkt;    /* NULL: not started */
	rd_kafka_queue_t *queue;
	rd_kafka_message_t *held; /* what the last record points into */
	int64_t next, high;       /* offset that comes next; end of the topic at open */
	int64_t opened_ms;
	rd_kafka_t *writer;       /* NULL: nothing was put yet */
	rd_kafka_queue_t *reports;
	int pending;              /* put and not acknowledged */
};

/* ---- the topic ---- */

static enum rc
look(struct control *c, rd_kafka_t *rk, bool make, struct err *err)
{
	int n = 0;
	enum rc rc = OK;

	/* The embedded broker makes a topic that it is asked about, with too many partitions. */
	if (make || c->kafka->broker)
		rc = kafka_topic_ensure(c->kafka, rk, c->topic, 1, TOPIC_COMPACT, &n, err);
	else
		rc = kafka_partitions(rk, c->topic, &n, err);
	if (rc == OK)
		rc = kafka_one_partition(c->topic, n, err);
	c->there = rc == OK && n == 1;
	return rc;
}

static enum rc
start_reading(struct control *c, enum control_from from, struct err *err)
{
	int64_t low;
	enum rc rc = kafka_offsets(c->reader, c->topic, 0, &low, &c->high, err);

	if (rc != OK)
		return rc;
	c->next = from == CONTROL_ALL ? low : c->high;
	c->rkt = rd_kafka_topic_new(c->reader, c->topic, NULL);
	if (rd_kafka_consume_start_queue(c->rkt, 0, c->next, c->queue) == 0)
		return OK;
	rc = kafka_fail(rd_kafka_last_error(), err, "read %s", c->topic);
	rd_kafka_topic_destroy(c->rkt);
	c->rkt = NULL;
	return rc;
}

enum rc
control_open(const struct kafka *k, enum control_from from, bool make, struct control **out, struct err *err)
{
	struct control *c = calloc(1, sizeof *c);
	enum rc rc;

	if (!c)
		die("out of memory");
	c->kafka = k;
	c->opened_ms = now_ms();
	c->topic = topic_own(&c->arena, k->conf->name, "control");
	c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (c->fd < 0)
		die("eventfd: out of descriptors");
	rc = kafka_consumer(k, FETCH_KBYTES, &c->reader, err);
	if (rc == OK) {
		c->queue = rd_kafka_queue_new(c->reader);
		kafka_queue_wake(c->queue, c->fd);
		rc = kafka_reach(k, c->reader, err);
	}
	if (rc == OK)
		rc = look(c, c->reader, make, err);
	if (rc == OK && c->there)
		rc = start_reading(c, from, err);
	if (rc != OK) {
		control_close(c);
		return rc;
	}
	*out = c;
	return OK;
}

static void
let_go(struct control *c)
{
	if (c->held)
		rd_kafka_message_destroy(c->held);
	c->held = NULL;
}

static void
drop_writer(struct control *c)
{
	if (!c->writer)
		return;
	rd_kafka_purge(c->writer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_destroy(c->reports);
	rd_kafka_destroy(c->writer);
	c->writer = NULL;
	c->pending = 0;
}

void
control_close(struct control *c)
{
	if (!c)
		return;
	let_go(c);
	drop_writer(c);
	if (c->rkt) {
		rd_kafka_consume_stop(c->rkt, 0);
		rd_kafka_topic_destroy(c->rkt);
	}
	if (c->queue)
		rd_kafka_queue_destroy(c->queue);
	if (c->reader)
		kafka_close(c->reader);
	close(c->fd);
	arena_free(&c->arena);
	free(c);
}

/* ---- reading ---- */

bool
control_there(const struct control *c)
{
	return c->rkt != NULL;
}

bool
control_current(const struct control *c)
{
	return !c->rkt || c->next >= c->high;
}

int
control_fd(const struct control *c)
{
	return c->fd;
}

/* AGAIN: it was no record. */
static enum rc
take(struct control *c, rd_kafka_message_t *m, struct control_record *out, struct err *err)
{
	rd_kafka_timestamp_type_t type;

	c->held = m;
	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (m->offset > c->next)
			c->next = m->offset;
		return AGAIN;
	}
	if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
		return fail(err, RETRY, "%s no longer has what came last: was the topic deleted?", c->topic);
	if (m->err)
		return kafka_fail(m->err, err, "read %s", c->topic);
	c->next = m->offset + 1;
	*out = (struct control_record){ .key = { m->key, m->key_len }, .value = { m->payload, m->len },
		.offset = m->offset, .at_ms = rd_kafka_message_timestamp(m, &type) };
	return OK;
}

static enum rc
take_reports(struct control *c, struct err *err)
{
	rd_kafka_event_t *ev;
	enum rc rc = OK;

	while (c->writer && rc == OK && (ev = rd_kafka_queue_poll(c->reports, 0))) {
		const rd_kafka_message_t *m;

		while (rc == OK && rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR && (m = rd_kafka_event_message_next(ev))) {
			c->pending--;
			if (m->err)
				rc = kafka_fail(m->err, err, "write to %s", c->topic);
		}
		if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR && rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR__FATAL)
			rc = fail(err, RETRY, "write to %s: %s", c->topic, rd_kafka_event_error_string(ev));
		rd_kafka_event_destroy(ev);
	}
	if (rc != OK)
		drop_writer(c);
	return rc;
}

enum rc
control_next(struct control *c, int wait_ms, struct control_record *out, struct err *err)
{
	int64_t until = now_ms() + wait_ms;
	uint64_t wakes;

	for (;;) {
		rd_kafka_message_t *m;
		int64_t left;
		enum rc rc;

		if (read(c->fd, &wakes, sizeof wakes) < 0)
			wakes = 0; /* nothing signalled: look all the same */
		let_go(c);
		rc = take_reports(c, err);
		while (rc == OK && (m = rd_kafka_consume_queue(c->queue, 0))) {
			let_go(c);
			rc = take(c, m, out, err);
			if (rc != AGAIN)
				return rc;
			rc = OK;
		}
		left = until - now_ms();
		if (rc != OK || left <= 0)
			return rc == OK ? AGAIN : rc;
		poll(&(struct pollfd){ .fd = c->fd, .events = POLLIN }, 1, (int)left);
	}
}

enum rc
control_held(struct control *c, int within_ms, struct control_record *out, struct err *err)
{
	while (!control_current(c)) {
		enum rc rc = control_next(c, HELD_MS, out, err);

		if (rc != AGAIN)
			return rc;
		if (now_ms() - c->opened_ms > within_ms || stop_requested())
			return fail(err, RETRY, "the control topic does not answer within %d s", within_ms / 1000);
	}
	return AGAIN;
}

bool
control_about(struct slice key, const char *prefix, struct slice *rest)
{
	size_t n = strlen(prefix);

	if (key.n <= n || memcmp(key.p, prefix, n) != 0)
		return false;
	*rest = (struct slice){ key.p + n, key.n - n };
	return true;
}

/* ---- writing ---- */

static enum rc
open_writer(struct control *c, struct err *err)
{
	enum rc rc = kafka_producer(c->kafka, &c->writer, err);

	if (rc != OK)
		return rc;
	c->reports = rd_kafka_queue_get_main(c->writer);
	kafka_queue_wake(c->reports, c->fd);
	if (!c->there)
		rc = look(c, c->writer, true, err);
	/* Who began with a topic that was not there has missed nothing of it. */
	if (rc == OK && !c->rkt)
		rc = start_reading(c, CONTROL_ALL, err);
	if (rc != OK)
		drop_writer(c);
	return rc;
}

enum rc
control_put(struct control *c, const char *key, struct slice json, struct err *err)
{
	enum rc rc = c->writer ? OK : open_writer(c, err);
	rd_kafka_resp_err_t code;

	if (rc != OK)
		return rc;
	code = rd_kafka_producev(c->writer, RD_KAFKA_V_TOPIC(c->topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(key, strlen(key)),
	    RD_KAFKA_V_VALUE((void *)(uintptr_t)(json.n ? json.p : NULL), json.n), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_END);
	if (code)
		return kafka_fail(code, err, "write to %s", c->topic);
	c->pending++;
	return OK;
}

enum rc
control_flush(struct control *c, int wait_ms, struct err *err)
{
	int64_t until = now_ms() + wait_ms;

	for (;;) {
		enum rc rc = take_reports(c, err);

		if (rc != OK || !c->pending)
			return rc;
		if (now_ms() >= until)
			return fail(err, RETRY, "%s did not acknowledge a record within %d ms; is Kafka up?", c->topic, wait_ms);
		poll(&(struct pollfd){ .fd = c->fd, .events = POLLIN }, 1, POLL_MS);
	}
}
