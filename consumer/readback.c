#include "consumer/readback.h"
#include "consumer/chunk.h"
#include "consumer/foreign.h"
#include "core/now.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	QUEUE_KBYTES = 4096,
	POLL_MS = 100,
	ANSWER_MS = 30000,
	SKIP_MAX = 1000, /* so many records are read over rather than begun anew behind them */
};

/* One partition that is being read. */
struct part {
	struct part *next;
	const char *topic;
	int32_t partition;
	rd_kafka_topic_t *rkt;
	bool started;
	int64_t at, high; /* next offset; the end when it was asked for */
	int64_t value_id; /* foreign: of the last value */
};

struct readback {
	const struct kafka *kafka;
	struct arena arena;
	rd_kafka_t *rk;
	struct decode *decode;
	const char *copies; /* the dead-letter topic */
	struct part *parts;
};

enum rc
readback_open(const struct kafka *k, struct readback **out, struct err *err)
{
	struct readback *rb = calloc(1, sizeof *rb);
	enum rc rc;

	if (!rb)
		die("out of memory");
	rb->kafka = k;
	rb->copies = topic_own(&rb->arena, k->conf->name, "deadletter");
	rc = kafka_consumer(k, QUEUE_KBYTES, &rb->rk, err);
	if (rc == OK)
		rc = decode_open(k, &rb->decode, err);
	if (rc != OK) {
		readback_close(rb);
		return rc;
	}
	*out = rb;
	return OK;
}

void
readback_close(struct readback *rb)
{
	if (!rb)
		return;
	decode_close(rb->decode);
	for (struct part *p = rb->parts; p; p = p->next) {
		if (p->started)
			rd_kafka_consume_stop(p->rkt, p->partition);
		rd_kafka_topic_destroy(p->rkt);
	}
	if (rb->rk)
		kafka_close(rb->rk);
	arena_free(&rb->arena);
	free(rb);
}

static struct part *
part_of(struct readback *rb, const char *topic, int32_t partition)
{
	struct part *p;

	for (p = rb->parts; p; p = p->next)
		if (p->partition == partition && strcmp(p->topic, topic) == 0)
			return p;
	p = arena_new(&rb->arena, struct part);
	p->topic = arena_text(&rb->arena, slice_of(topic));
	p->partition = partition;
	p->rkt = rd_kafka_topic_new(rb->rk, topic, NULL);
	p->next = rb->parts;
	return rb->parts = p;
}

static enum rc
gone(const struct part *p, int64_t offset, struct err *err)
{
	return fail(
	    err, REJECT, "%s [%d] no longer has offset %" PRId64, p->topic, p->partition, offset);
}

/* librdkafka says nothing of a topic that does not exist, and waits for offsets that are still to come: so ask before. */
static enum rc
begin_at(struct readback *rb, struct part *p, int64_t offset, struct err *err)
{
	int64_t low = 0;
	int n = 0;
	enum rc rc = kafka_partitions(rb->rk, p->topic, &n, err);

	if (p->started)
		rd_kafka_consume_stop(p->rkt, p->partition);
	p->started = false;
	if (rc == OK && p->partition >= n)
		return gone(p, offset, err);
	if (rc == OK)
		rc = kafka_offsets(rb->rk, p->topic, p->partition, &low, &p->high, err);
	if (rc != OK)
		return rc;
	if (offset < low || offset >= p->high)
		return gone(p, offset, err);
	if (rd_kafka_consume_start(p->rkt, p->partition, offset) < 0)
		return kafka_fail(
		    rd_kafka_last_error(), err, "read %s [%d]", p->topic, p->partition);
	p->started = true;
	p->at = offset;
	return OK;
}

/* The record at that offset; not exact: the first from there on. */
static enum rc
read_at(struct readback *rb, struct part *p, int64_t offset, bool exact, rd_kafka_message_t **out,
    struct err *err)
{
	int64_t until = now_ms() + ANSWER_MS;
	enum rc rc = OK;

	if (offset < 0)
		return gone(p, offset, err);
	if (!p->started || offset < p->at || offset - p->at > SKIP_MAX || offset >= p->high)
		rc = begin_at(rb, p, offset, err);
	while (rc == OK) {
		rd_kafka_message_t *m = rd_kafka_consume(p->rkt, p->partition, POLL_MS);

		if (!m) {
			if (now_ms() > until)
				rc = fail(err, RETRY, "%s [%d]: no answer within %d s", p->topic,
				    p->partition, ANSWER_MS / 1000);
			continue;
		}
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
		    m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
		    m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
		    m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
			rc = gone(p, offset, err);
		else if (m->err)
			rc = kafka_fail(m->err, err, "read %s [%d]", p->topic, p->partition);
		else
			p->at = m->offset + 1;
		if (rc == OK && (m->offset == offset || (!exact && m->offset > offset))) {
			*out = m;
			return OK;
		}
		if (rc == OK && m->offset > offset)
			rc = gone(p, offset, err);
		rd_kafka_message_destroy(m);
	}
	if (p->started)
		rd_kafka_consume_stop(p->rkt, p->partition);
	p->started = false;
	return rc;
}

static bool
header_is(const rd_kafka_headers_t *h, const char *name, const char *text)
{
	const void *p;
	size_t n;

	return rd_kafka_header_get_last(h, name, &p, &n) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	    slice_is((struct slice){ p, n }, text);
}

/* The headers that deadletter.c puts in front. */
static bool
is_copy(const rd_kafka_message_t *m, int32_t partition, int64_t offset, const char *topic)
{
	rd_kafka_headers_t *h;
	char numbers[2][24];

	snprintf(numbers[0], sizeof numbers[0], "%d", partition);
	snprintf(numbers[1], sizeof numbers[1], "%" PRId64, offset);
	return rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	    header_is(h, "towline.topic", topic) && header_is(h, "towline.partition", numbers[0]) &&
	    header_is(h, "towline.offset", numbers[1]);
}

/* from: the half with the old key of a change that has two. */
static bool
is_change(const struct parked_entry *e, const rd_kafka_message_t *m, bool from, bool copy,
    struct tl *tl, struct err *why)
{
	/* Never was one of ours: it is known by its place alone. */
	if (!decode_header(m, tl, why))
		return !e->seq &&
		    (!copy ||
			is_copy(m, from ? e->from_partition : e->partition,
			    from ? e->from_offset : e->offset, e->topic));
	if (tl->seq == e->seq && tl->lsn == e->lsn &&
	    (from ? (tl->flags & TL_MOVED_FROM) != 0 : tl->index == e->index))
		return true;
	(void)fail(why, REJECT, "the record there is another one: the topic was made anew");
	return false;
}

static enum rc
find(struct readback *rb, const struct parked_entry *e, bool from, struct part **where,
    rd_kafka_message_t **out, struct tl *tl, struct err *err)
{
	struct part *places[] = { part_of(rb, rb->copies, 0),
		part_of(rb, e->topic, from ? e->from_partition : e->partition) };
	int64_t offsets[] = { from ? e->from_copy : e->copy, from ? e->from_offset : e->offset };
	enum rc rc = REJECT;

	for (size_t i = 0; i < COUNTOF(places) && rc == REJECT; i++) {
		*where = places[i];
		rc = read_at(rb, places[i], offsets[i], true, out, err);
		if (rc == OK && is_change(e, *out, from, i == 0, tl, err))
			return OK;
		if (rc == OK) {
			rd_kafka_message_destroy(*out);
			rc = REJECT;
		}
	}
	if (rc == REJECT)
		return fail(err, REJECT,
		    "its record is gone from Kafka: neither %s has it (offset %" PRId64
		    ") nor %s [%d] (offset %" PRId64 "); bring the row over by hand, then skip it",
		    rb->copies, offsets[0], e->topic, places[1]->partition, offsets[1]);
	return rc;
}

/* The rest of a large row, whose first chunk is m: the chunks lie behind each other, with other records between them perhaps. */
static enum rc
gather(struct readback *rb, struct part *p, const rd_kafka_message_t *m, struct batch *b,
    struct slice *value, struct tl *tl, struct err *err)
{
	struct chunk c = { 0 };
	size_t max = (size_t)rb->kafka->conf->memory_bytes;
	enum rc rc = chunk_add(&c, tl, (struct slice){ m->payload, m->len }, max, &b->arena, err);

	if (rc == AGAIN)
		return fail(err, REJECT,
		    "%s [%d] offset %" PRId64 " is in the middle of a large row", p->topic,
		    p->partition, m->offset);
	while (rc == OK && !chunk_whole(&c)) {
		rd_kafka_message_t *next;
		struct err why;
		struct tl part;

		rc = read_at(rb, p, p->at, false, &next, err);
		if (rc != OK)
			return rc;
		if (decode_header(next, &part, &why) && part.flags & TL_CHUNK && part.number)
			rc = chunk_add(&c, &part, (struct slice){ next->payload, next->len }, max,
			    &b->arena, err);
		rd_kafka_message_destroy(next);
		if (rc == AGAIN)
			rc = OK;
	}
	return rc == OK ? chunk_take(&c, value, tl, err) : rc;
}

static enum rc
decode_foreign(struct readback *rb, const struct parked_entry *e, rd_kafka_message_t *m,
    struct batch *b, struct readback_change *out, struct err *err)
{
	struct part *home = part_of(rb, e->topic, e->partition);
	int held = out->row.held;
	enum rc rc = foreign_again(rb->kafka, rb->decode, b, m, home->topic, &home->value_id,
	    &out->row, &out->env.source_us, err);

	out->row.held = held;
	out->row.partition = e->partition;
	out->row.offset = e->offset;
	out->env.op = out->row.op;
	out->env.before = out->row.before;
	out->env.after = out->row.after;
	out->env.lsn = e->lsn;
	return rc;
}

static enum rc
decode(struct readback *rb, const struct parked_entry *e, bool from, struct batch *b,
    struct readback_change *out, struct err *err)
{
	const struct table *tbl;
	rd_kafka_message_t *m, whole;
	struct part *p;
	enum rc rc = find(rb, e, from, &p, &m, &out->tl, err);

	if (rc != OK)
		return rc;
	out->row.held = batch_hold(b, m);
	out->ours = e->seq != 0;
	if (!out->ours && rb->kafka->conf->foreign_topics)
		return decode_foreign(rb, e, m, b, out, err);
	whole = *m;
	if (out->ours && out->tl.flags & TL_CHUNK) {
		struct slice value = { 0 };

		rc = gather(rb, p, m, b, &value, &out->tl, err);
		whole.payload = (void *)(uintptr_t)value.p;
		whole.len = value.n;
	}
	if (rc == OK)
		rc = decode_record(rb->decode, &whole, out->ours ? &out->tl : NULL, &b->arena,
		    &out->env, &tbl, &out->key, err);
	if (rc != OK)
		return rc;
	decode_fill(&out->row, &whole, arena_text(&b->arena, slice_of(e->topic)),
	    out->ours ? &out->tl : NULL, &out->env, tbl);
	out->row.partition = e->partition;
	out->row.offset = e->offset;
	return OK;
}

enum rc
readback_take(struct readback *rb, const struct parked_entry *e, struct batch *b,
    struct readback_change *out, struct err *err)
{
	struct readback_change from = { 0 };
	enum rc rc = decode(rb, e, false, b, out, err);

	if (rc != OK || e->from_offset < 0)
		return rc;
	rc = decode(rb, e, true, b, &from, err);
	if (rc != OK)
		return rc;
	if (from.row.tbl->ncols != out->row.tbl->ncols)
		return fail(err, REJECT,
		    "the two halves of the changed key are of different versions of the table");
	out->row.op = OP_UPDATE;
	out->row.moved = true;
	out->row.before = from.row.before;
	out->row.before_full = from.row.before_full;
	out->env.op = OP_UPDATE;
	out->env.before = from.row.before;
	out->tl.flags |= from.tl.flags & TL_BEFORE_FULL;
	return OK;
}
