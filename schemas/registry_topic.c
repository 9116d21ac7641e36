/*
 * No registry: the schemas stand in the compacted one-partition topic <name>.towline.schemas.
 *
 *   key    fingerprint (schemas/schema.h) as 16 lower-case hex digits
 *   value  schema JSON
 *
 * A writer awaits the delivery of a schema before it sends the first row that needs it. So a reader that meets an unknown fingerprint
 * finds the schema below the high watermark that the topic has then; not to find it there means that the row or the topic is not ours.
 * The topic is read in short visits, from where the last one ended: schemas change rarely, and a handle that
 * stays open would go on asking the broker.
 */
#include "core/arena.h"
#include "core/cursor.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/registry_kind.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * PATIENCE_MS: a topic that is copied from another cluster may get its rows before their schemas.
 * VISIT_MS: between two messages of the topic.
 */
enum { PATIENCE_MS = 3000, POLL_MS = 100, VISIT_MS = 10000, DELIVERY_MS = 15000, FETCH_KBYTES = 4096 };

struct topic_kind {
	const struct kafka *k;
	struct registry_texts *texts;
	struct arena arena;
	const char *topic;
	rd_kafka_t *rk;      /* made when the first schema is published, and anew after trouble */
	int64_t next;        /* offset that the next visit begins with */
	uint64_t strangers;  /* records whose key is not the fingerprint of their value */
	bool gave_up;        /* the last search found nothing: */
	uint64_t missing;    /* do not be patient again for this one */
};

enum rc
registry_topic_open(const struct kafka *k, struct registry_texts *texts, void **self, struct err *err UNUSED)
{
	struct topic_kind *t = calloc(1, sizeof *t);

	if (!t)
		die("out of memory for the schemas");
	t->k = k;
	t->texts = texts;
	t->topic = topic_own(&t->arena, k->conf->name, "schemas");
	*self = t;
	return OK;
}

static void
drop_producer(struct topic_kind *t)
{
	if (!t->rk)
		return;
	rd_kafka_purge(t->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_destroy(t->rk);
	t->rk = NULL;
}

static void
topic_close(void *self)
{
	struct topic_kind *t = self;

	drop_producer(t);
	arena_free(&t->arena);
	free(t);
}

/* ---- reading ---- */

static void
hex_of(uint64_t id, char hex[static 17])
{
	snprintf(hex, 17, "%016" PRIx64, id);
}

/* A record is believed when its key is what its value's fingerprint is; anybody may write into a topic. */
static enum rc
take_record(struct topic_kind *t, const rd_kafka_message_t *m, struct err *err)
{
	struct slice key = { m->key, m->key_len }, json = { m->payload, m->len };
	struct err ignored;
	uint64_t id;
	char hex[17];

	if (!m->payload)
		return OK;
	if (schema_fingerprint(json, &id, &ignored) != OK) {
		t->strangers++;
		return OK;
	}
	hex_of(id, hex);
	if (!slice_is(key, hex)) {
		t->strangers++;
		return OK;
	}
	return registry_learn(t->texts, id, json, err);
}

/* From t->next up to high. Compaction leaves gaps, so it is the end of the partition that ends it as well. */
static enum rc
read_until(struct topic_kind *t, rd_kafka_topic_t *rkt, int64_t high, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && t->next < high) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, 0, VISIT_MS);

		if (stop_requested())
			rc = fail(err, RETRY, "asked to stop while reading %s", t->topic);
		else if (!m)
			rc = fail(err, RETRY, "%s: nothing arrived for %d s", t->topic, VISIT_MS / 1000);
		else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			t->next = m->offset > high ? m->offset : high;
		else if (m->err)
			rc = kafka_fail(m->err, err, "read %s", t->topic);
		else if ((rc = take_record(t, m, err)) == OK)
			t->next = m->offset + 1;
		if (m)
			rd_kafka_message_destroy(m);
	}
	return rc;
}

/* Where a visit goes on: behind the last one, unless the topic was made anew and is shorter now. */
static int64_t
begin_at(const struct topic_kind *t, int64_t low, int64_t high)
{
	return t->next < low || t->next > high ? low : t->next;
}

static enum rc
read_with(struct topic_kind *t, rd_kafka_t *rk, struct err *err)
{
	rd_kafka_topic_t *rkt;
	int64_t low, high;
	int partitions;
	enum rc rc = OK;

	/* The embedded broker makes a topic that it is asked about, with too many partitions: so make it right first. */
	if (t->k->broker)
		rc = broker_topic(t->k->broker, t->topic, 1, err);
	if (rc == OK)
		rc = kafka_partitions(rk, t->topic, &partitions, err);
	if (rc != OK || partitions == 0)
		return rc;
	rc = kafka_offsets(rk, t->topic, 0, &low, &high, err);
	if (rc != OK)
		return rc;
	t->next = begin_at(t, low, high);
	if (t->next == high)
		return OK;
	rkt = rd_kafka_topic_new(rk, t->topic, NULL);
	if (rd_kafka_consume_start(rkt, 0, t->next) == 0) {
		rc = read_until(t, rkt, high, err);
		rd_kafka_consume_stop(rkt, 0);
	} else {
		rc = kafka_fail(rd_kafka_last_error(), err, "read %s", t->topic);
	}
	rd_kafka_topic_destroy(rkt);
	return rc;
}

/* Read everything that the topic holds now and that is not known yet. */
static enum rc
visit(struct topic_kind *t, struct err *err)
{
	rd_kafka_t *rk;
	enum rc rc = kafka_consumer(t->k, FETCH_KBYTES, &rk, err);

	if (rc != OK)
		return rc;
	rc = read_with(t, rk, err);
	kafka_close(rk);
	return rc;
}

static enum rc
not_there(struct topic_kind *t, uint64_t id, struct err *err)
{
	char hex[17];

	hex_of(id, hex);
	t->gave_up = true;
	t->missing = id;
	if (t->strangers)
		return fail(err, REJECT, "%s has no schema with fingerprint %s, but %" PRIu64 " records that are no schemas; "
		    "who else writes to it?", t->topic, hex, t->strangers);
	return fail(err, REJECT, "%s has no schema with fingerprint %s; was the topic deleted, or are the rows another pipeline's?",
	    t->topic, hex);
}

static enum rc
topic_get(void *self, uint64_t id, struct err *err)
{
	struct topic_kind *t = self;
	int64_t until = now_ms() + PATIENCE_MS;
	struct slice json;

	for (;;) {
		enum rc rc = visit(t, err);

		if (rc != OK)
			return rc;
		if (registry_known(t->texts, id, &json)) {
			t->gave_up = false;
			return OK;
		}
		if ((t->gave_up && t->missing == id) || now_ms() > until || stop_requested())
			return not_there(t, id, err);
		registry_pause(POLL_MS);
	}
}

/* ---- writing ---- */

/* One report of the producer's queue. AGAIN: it was about something else. */
static enum rc
take_event(struct topic_kind *t, rd_kafka_event_t *ev, struct err *err)
{
	const rd_kafka_message_t *m;
	char why[256];

	switch (rd_kafka_event_type(ev)) {
	case RD_KAFKA_EVENT_DR:
		m = rd_kafka_event_message_next(ev);
		return m->err ? kafka_fail(m->err, err, "publish a schema to %s", t->topic) : OK;
	case RD_KAFKA_EVENT_ERROR:
		if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR__FATAL)
			return AGAIN; /* librdkafka goes on trying by itself */
		rd_kafka_fatal_error(t->rk, why, sizeof why);
		return fail(err, RETRY, "publish a schema to %s: %s", t->topic, why);
	default:
		return AGAIN;
	}
}

static enum rc
await_delivery(struct topic_kind *t, struct err *err)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_main(t->rk);
	int64_t until = now_ms() + DELIVERY_MS;
	enum rc rc = AGAIN;

	while (rc == AGAIN) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(q, POLL_MS);

		if (ev) {
			rc = take_event(t, ev, err);
			rd_kafka_event_destroy(ev);
		}
		if (rc == AGAIN && (stop_requested() || now_ms() > until))
			rc = fail(err, RETRY, "%s did not acknowledge a schema within %d s; is Kafka up?", t->topic, DELIVERY_MS / 1000);
	}
	rd_kafka_queue_destroy(q);
	return rc;
}

static enum rc
publish(struct topic_kind *t, uint64_t id, struct slice json, struct err *err)
{
	rd_kafka_resp_err_t code;
	int partitions;
	char hex[17];
	enum rc rc;

	rc = kafka_topic_ensure(t->k, t->rk, t->topic, 1, TOPIC_COMPACT, &partitions, err);
	if (rc != OK)
		return rc;
	if (partitions != 1)
		return fail(err, FATAL, "topic %s has %d partitions, and must have one; delete it", t->topic, partitions);
	hex_of(id, hex);
	code = rd_kafka_producev(t->rk, RD_KAFKA_V_TOPIC(t->topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(hex, 16),
	    RD_KAFKA_V_VALUE((void *)(uintptr_t)json.p, json.n), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	if (code)
		return kafka_fail(code, err, "publish a schema to %s", t->topic);
	return await_delivery(t, err);
}

/* What the topic holds already is not published again: a writer that restarts adds nothing. */
static enum rc
topic_put(void *self, const char *subject, struct slice json, uint64_t *id, struct err *err)
{
	struct topic_kind *t = self;
	struct slice known;
	enum rc rc;

	rc = schema_fingerprint(json, id, err);
	if (rc != OK)
		return fail_in(err, "schema of %s", subject);
	if (registry_known(t->texts, *id, &known))
		return OK;
	rc = visit(t, err);
	if (rc != OK || registry_known(t->texts, *id, &known))
		return rc;
	if (!t->rk) {
		rc = kafka_producer(t->k, &t->rk, err);
		if (rc != OK)
			return rc;
	}
	rc = publish(t, *id, json, err);
	if (rc != OK)
		drop_producer(t); /* what it still holds would arrive at a time nobody waits for it */
	return rc;
}

static enum rc
topic_check(void *self, char what[static 128], struct err *err)
{
	struct topic_kind *t = self;
	enum rc rc = visit(t, err);

	if (rc == OK)
		snprintf(what, 128, "topic %.80s, %zu schemas", t->topic, registry_count(t->texts));
	return rc;
}

const struct registry_ops registry_topic = { FRAME_SINGLE, topic_put, NULL, topic_get, topic_check, topic_close };
