#include "consumer/deadletter.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLUSH_MS = 30000 };

struct deadletter {
	const struct kafka *kafka;
	const char *sink;
	struct arena arena;
	const char *topic;
	rd_kafka_t *rk;           /* made with the first record */
	rd_kafka_queue_t *queue;
	uint64_t sent, done;
};

struct deadletter *
deadletter_open(const struct kafka *k, const char *sink)
{
	struct deadletter *d = calloc(1, sizeof *d);

	if (!d)
		die("out of memory");
	d->kafka = k;
	d->sink = sink;
	d->topic = topic_own(&d->arena, k->conf->name, "deadletter");
	return d;
}

void
deadletter_close(struct deadletter *d)
{
	if (!d)
		return;
	if (d->rk) {
		rd_kafka_queue_destroy(d->queue);
		rd_kafka_destroy(d->rk);
	}
	arena_free(&d->arena);
	free(d);
}

static enum rc
open_topic(struct deadletter *d, struct err *err)
{
	int n;
	enum rc rc = kafka_producer(d->kafka, &d->rk, err);

	if (rc != OK)
		return rc;
	d->queue = rd_kafka_queue_get_main(d->rk);
	return kafka_topic_ensure(d->kafka, d->rk, d->topic, 1, TOPIC_FOREVER, &n, err);
}

static rd_kafka_headers_t *
headers_of(const struct deadletter *d, const rd_kafka_message_t *m, const char *topic, const char *reason)
{
	rd_kafka_headers_t *old = NULL, *h;
	char partition[16], offset[24];

	snprintf(partition, sizeof partition, "%d", m->partition);
	snprintf(offset, sizeof offset, "%" PRId64, m->offset);
	h = rd_kafka_message_headers(m, &old) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_headers_copy(old) : rd_kafka_headers_new(5);
	rd_kafka_header_add(h, "towline.reason", -1, reason, -1);
	rd_kafka_header_add(h, "towline.sink", -1, d->sink, -1);
	rd_kafka_header_add(h, "towline.topic", -1, topic, -1);
	rd_kafka_header_add(h, "towline.partition", -1, partition, -1);
	rd_kafka_header_add(h, "towline.offset", -1, offset, -1);
	return h;
}

enum rc
deadletter_put(struct deadletter *d, const rd_kafka_message_t *m, const char *topic, const char *reason, int64_t *offset, struct err *err)
{
	rd_kafka_headers_t *h;
	rd_kafka_resp_err_t code;

	if (!d->rk) {
		enum rc rc = open_topic(d, err);

		if (rc != OK)
			return rc;
	}
	h = headers_of(d, m, topic, reason);
	for (;;) {
		enum rc rc;

		code = rd_kafka_producev(d->rk, RD_KAFKA_V_TOPIC(d->topic), RD_KAFKA_V_PARTITION(0),
		    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(m->key, m->key_len),
		    RD_KAFKA_V_VALUE(m->payload, m->len), RD_KAFKA_V_HEADERS(h),
		    RD_KAFKA_V_OPAQUE(offset), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || d->sent == d->done)
			break;
		rc = deadletter_flush(d, err);
		if (rc != OK) {
			rd_kafka_headers_destroy(h);
			return rc;
		}
	}
	if (code) {
		rd_kafka_headers_destroy(h);
		return kafka_fail(code, err, "write to %s", d->topic);
	}
	d->sent++;
	return d->sent - d->done >= 1000 ? deadletter_flush(d, err) : OK;
}

enum rc
deadletter_flush(struct deadletter *d, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && d->done < d->sent) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(d->queue, FLUSH_MS);
		const rd_kafka_message_t *m;

		if (!ev)
			return fail(err, RETRY, "write to %s: no answer within %d s", d->topic, FLUSH_MS / 1000);
		if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR)
			while ((m = rd_kafka_event_message_next(ev))) {
				d->done++;
				*(int64_t *)m->_private = m->err || m->offset < 0 ? -1 : m->offset;
				if (m->err && rc == OK)
					rc = kafka_fail(m->err, err, "write to %s", d->topic);
			}
		rd_kafka_event_destroy(ev);
	}
	return rc;
}
