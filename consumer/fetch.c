#include "consumer/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum {
	QUEUE_KBYTES = 1024, /* fetched ahead, each partition */
};

struct entry {
	char *key; /* topic:partition */
	struct fetch_part part;
	UT_hash_handle hh;
};

struct fetch {
	struct arena arena;
	rd_kafka_t *rk;
	struct entry *parts;
	const char *message_topic;
};

enum rc
fetch_open(const struct kafka *k, struct fetch **out, struct err *err)
{
	struct fetch *f = calloc(1, sizeof *f);
	enum rc rc;

	if (!f)
		die("out of memory");
	rc = kafka_consumer(k, QUEUE_KBYTES, &f->rk, err);
	if (rc != OK) {
		free(f);
		return rc;
	}
	f->message_topic = arena_printf(&f->arena, "%s.message", k->conf->name);
	*out = f;
	return OK;
}

void
fetch_close(struct fetch *f)
{
	struct entry *e, *tmp;

	if (!f)
		return;
	HASH_ITER (hh, f->parts, e, tmp) {
		if (e->part.at >= 0)
			rd_kafka_consume_stop(e->part.rkt, e->part.partition);
		rd_kafka_topic_destroy(e->part.rkt);
		HASH_DEL(f->parts, e);
	}
	rd_kafka_destroy(f->rk);
	arena_free(&f->arena);
	free(f);
}

rd_kafka_t *
fetch_handle(struct fetch *f)
{
	return f->rk;
}

enum rc
fetch_part(struct fetch *f, struct slice topic, int32_t partition, int64_t from, struct fetch_part **out, struct err *err)
{
	char key[300];
	struct entry *e;
	int n = snprintf(key, sizeof key, "%.*s:%d", SLICE_ARG(topic), partition);

	HASH_FIND(hh, f->parts, key, (size_t)n, e);
	if (!e) {
		e = arena_new(&f->arena, struct entry);
		e->key = arena_text(&f->arena, (struct slice){ key, (size_t)n });
		e->part = (struct fetch_part){ .topic = arena_text(&f->arena, topic), .partition = partition, .at = -1 };
		e->part.rkt = rd_kafka_topic_new(f->rk, e->part.topic, NULL);
		e->part.own = slice_is(topic, f->message_topic);
		HASH_ADD_KEYPTR(hh, f->parts, e->key, (size_t)n, e);
	}
	*out = &e->part;
	if (e->part.at >= 0)
		return OK;
	if (rd_kafka_consume_start(e->part.rkt, partition, from) < 0)
		return kafka_fail(rd_kafka_last_error(), err, "read %s [%d]", e->part.topic, partition);
	e->part.at = from;
	return OK;
}

static enum rc
fetch_error(const struct fetch_part *p, const rd_kafka_message_t *m, struct err *err)
{
	switch (m->err) {
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "%s [%d] no longer has offset %" PRId64 ": retention passed it, or the topic was truncated or made anew; copy the tables into this sink again",
		    p->topic, p->partition, p->at);
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		return fail_exit(err, FATAL, EXIT_REFUSED, "%s [%d] does not exist, but the spine refers to it: was the topic deleted?", p->topic, p->partition);
	default:
		return kafka_fail(m->err, err, "read %s [%d]", p->topic, p->partition);
	}
}

enum rc
fetch_next(struct fetch *f, struct fetch_part *p, int wait_ms, rd_kafka_message_t **out, bool *end, struct err *err)
{
	(void)f;
	*end = false;
	for (;;) {
		rd_kafka_message_t *m = rd_kafka_consume(p->rkt, p->partition, wait_ms);
		enum rc rc;

		if (!m)
			return AGAIN;
		if (!m->err) {
			p->at = m->offset + 1;
			*out = m;
			return OK;
		}
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			*end = true;
			rd_kafka_message_destroy(m);
			if (wait_ms == 0)
				return AGAIN;
			continue;
		}
		rc = fetch_error(p, m, err);
		rd_kafka_message_destroy(m);
		return rc;
	}
}
