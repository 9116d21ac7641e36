/*
 * large.c - rows that are larger than a record of Kafka may be: source.on_large.
 *
 * A chunk is made to fit what brokers take by default, whatever message.max.bytes is set to, and
 * with room to spare: its copy in the dead letters (consumer/deadletter.h) has longer headers.
 */
#include "core/log.h"
#include "producer/publish_impl.h"
#include "schemas/header.h"
#include "schemas/topic.h"

#include <inttypes.h>

enum {
	RECORD_MAX = 1000000,  /* librdkafka's default; brokers' is 1 MiB, for a whole batch */
	ROOM_FOR_HEADERS = 8192,
	CHUNK_MIN = 1024,
	EMBEDDED_MAX = 3 << 19, /* and 3 MiB unread (producer.c): the embedded broker keeps 5 MiB */
	VALUE_KEPT = 4 << 20,  /* a buffer that grew larger is given back */
};

void
large_limits(struct publisher *p)
{
	int64_t most = kafka_message_max(p->kafka->conf);

	p->record_max =
	    most > 2 * ROOM_FOR_HEADERS ? (size_t)most - ROOM_FOR_HEADERS : (size_t)most / 2;
	p->chunk_max = (size_t)(most > RECORD_MAX ? RECORD_MAX : most) / 10 * 9;
	p->aside_max = p->record_max < RECORD_MAX - ROOM_FOR_HEADERS ? p->record_max : RECORD_MAX - ROOM_FOR_HEADERS;
}

static size_t
extra_bytes(const struct record *r)
{
	size_t n = 0;

	for (int i = 0; i < r->nextra; i++)
		n += strlen(r->extra[i].name) + r->extra[i].value.n + 16;
	return n;
}

size_t
large_bytes(const struct record *r)
{
	return r->key.n + r->value.n + r->tl.n + extra_bytes(r);
}

bool
large_is(const struct publisher *p, const struct record *r)
{
	return large_bytes(r) > p->record_max;
}

enum rc
large_fits(const struct publisher *p, const char *what, size_t n, struct err *err)
{
	return !p->kafka->broker || n <= EMBEDDED_MAX ? OK : fail(err, FATAL,
	    "%s: a row of %zu bytes does not fit into the embedded broker; use a real Kafka, or set source.on_large: dead-letter", what, n);
}

/* The row's value, and behind it its own header, cut into records. Both stand in the publisher's buffers. */
static enum rc
send_chunks(struct publisher *p, struct group *g, struct record *r, const struct tl *tl,
    struct place *at, const char *what, struct err *err)
{
	size_t fixed = r->key.n + extra_bytes(r) + 128, room;
	struct slice rest;
	struct tl part = *tl;
	enum rc rc = OK;

	if (fixed + CHUNK_MIN > p->chunk_max)
		return fail(err, FATAL,
		    "%s: a key of %zu bytes leaves no room in a record of %zu; raise message.max.bytes in kafka.options",
		    what, r->key.n, p->chunk_max);
	room = p->chunk_max - fixed;
	part.own = r->tl.n;
	part.flags |= TL_CHUNK;
	buf_slice(&p->valuebuf, r->tl);
	rest = buf_view(&p->valuebuf);
	part.count = (rest.n + room - 1) / room;
	for (part.number = 0; part.number < part.count && rc == OK; part.number++) {
		size_t n = rest.n < room ? rest.n : room;

		part.index = tl->index + part.number;
		buf_reset(&p->header);
		tl_put(&p->header, &part, NULL, NULL, 0);
		r->tl = buf_view(&p->header);
		r->value = (struct slice){ rest.p, n };
		rest = (struct slice){ rest.p + n, rest.n - n };
		rc = deliver(p, g, r, err);
	}
	at->index = tl->index + part.count;
	return rc;
}

/* Key and reason, no value. The group waits for it, but it is none of its rows. */
static enum rc
set_aside(struct publisher *p, struct group *g, const struct record *r, const struct tl *tl,
    const char *what, const char *reason, struct err *err)
{
	struct record copy = { .aside = true,
		.key = r->key,
		.timestamp_ms = r->timestamp_ms,
		.nextra = 3,
		.extra = { { "towline.reason", slice_of(reason) },
		    { "towline.topic", slice_of(r->topic->name) },
		    { "towline.source", slice_of(what) } } };
	enum rc rc = publisher_topic(p, topic_own(&p->row, p->kafka->conf->name, "deadletter"), 1,
	    TOPIC_FOREVER, SLICE_LIT("the dead letters"), &copy.topic, err);

	if (rc != OK)
		return rc;
	buf_reset(&p->header);
	tl_put(&p->header, tl, NULL, NULL, 0);
	copy.tl = buf_view(&p->header);
	return deliver(p, g, &copy, err);
}

enum rc
large_send(struct publisher *p, struct group *g, struct record *r, const struct tl *tl,
    struct place *at, const char *what, struct slice key, bool *aside, struct err *err)
{
	enum on_large policy = p->kafka->conf->on_large;
	size_t n = r->value.n;
	const char *reason = arena_printf(&p->row,
	    "a row of %zu bytes is larger than message.max.bytes (%" PRId64 ")", n,
	    kafka_message_max(p->kafka->conf));
	enum rc rc;

	*aside = policy == LARGE_DEADLETTER;
	if (policy == LARGE_STOP)
		return fail(err, FATAL,
		    "%s: %s; set source.on_large to chunk or dead-letter, or raise message.max.bytes in "
		    "kafka.options and max.message.bytes at the topic",
		    what, reason);
	rc = policy == LARGE_CHUNK ? large_fits(p, what, n, err) : OK;
	if (rc != OK)
		return rc;
	if (*aside) {
		log_warn("producer", "row set aside in the dead-letter topic",
		    "source=\"%s\" key=%.*s seq=%" PRIu64 " reason=\"%s\"", what, SLICE_ARG(key),
		    tl->seq, reason);
		rc = set_aside(p, g, r, tl, what, reason, err);
		at->index = tl->index;
	} else {
		rc = send_chunks(p, g, r, tl, at, what, err);
	}
	if (p->valuebuf.cap > VALUE_KEPT)
		buf_free(&p->valuebuf);
	return rc;
}
