#include "consumer/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum {
	QUEUE_KBYTES_MIN = 160, /* fetched ahead, each partition; below a record batch librdkafka before 2.2 stalls a second after each */
	QUEUE_KBYTES_MAX = 1024,
	METADATA_MS = 15000,
	SKIP_MAX = 10000,      /* records that are read over rather than skipped by a seek: left-overs are few and get counted */
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

/* Partitions of this pipeline's topics. */
static enum rc
count_partitions(const struct kafka *k, rd_kafka_t *rk, int64_t *n, struct err *err)
{
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, METADATA_MS);
	const char *name = strncmp(k->conf->topic, "{name}", 6) == 0 && !k->conf->foreign_topics ? k->conf->name : "";

	*n = 1;
	if (code)
		return kafka_fail(code, err, "list the topics");
	for (int i = 0; i < md->topic_cnt; i++)
		if (strncmp(md->topics[i].topic, name, strlen(name)) == 0)
			*n += md->topics[i].partition_cnt;
	rd_kafka_metadata_destroy(md);
	return OK;
}

/*
 * An eighth of the memory for what is fetched ahead, shared out evenly: unpacked, and with what librdkafka
 * keeps for each message, it comes to several times that. librdkafka wants to know when the handle is made, and the handle is
 * needed to ask: with many partitions it is made a second time.
 */
static enum rc
open_handle(const struct kafka *k, rd_kafka_t **rk, struct err *err)
{
	int64_t n = 1, kbytes;
	enum rc rc = kafka_consumer(k, QUEUE_KBYTES_MAX, rk, err);

	if (rc == OK)
		rc = count_partitions(k, *rk, &n, err);
	if (rc != OK)
		return rc;
	kbytes = k->conf->memory_bytes / 8 / 1024 / n;
	if (kbytes >= QUEUE_KBYTES_MAX)
		return OK;
	kafka_close(*rk);
	*rk = NULL;
	return kafka_consumer(k, kbytes < QUEUE_KBYTES_MIN ? QUEUE_KBYTES_MIN : (int)kbytes, rk, err);
}

enum rc
fetch_open(const struct kafka *k, struct fetch **out, struct err *err)
{
	struct fetch *f = calloc(1, sizeof *f);
	enum rc rc;

	if (!f)
		die("out of memory");
	rc = open_handle(k, &f->rk, err);
	if (rc != OK) {
		if (f->rk)
			kafka_close(f->rk);
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
	kafka_close(f->rk);
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
	if (e->part.at >= 0 && from - e->part.at < SKIP_MAX)
		return OK;
	if (e->part.at >= 0 && rd_kafka_seek(e->part.rkt, partition, from, METADATA_MS))
		return fail(err, RETRY, "seek %s [%d] to %" PRId64 " failed", e->part.topic, partition, from);
	if (e->part.at >= 0) {
		e->part.at = from;
		return OK;
	}
	if (rd_kafka_consume_start(e->part.rkt, partition, from) < 0)
		return kafka_fail(rd_kafka_last_error(), err, "read %s [%d]", e->part.topic, partition);
	e->part.at = from;
	return OK;
}

static enum rc
no_topic(const struct fetch_part *p, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "%s [%d] does not exist any more: was the topic deleted? begin anew under another name",
	    p->topic, p->partition);
}

static enum rc
fetch_error(const struct fetch_part *p, const rd_kafka_message_t *m, struct err *err)
{
	switch (m->err) {
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "%s [%d] no longer has offset %" PRId64
		    ": retention passed it, or the topic was truncated or made anew; copy the tables into this sink again",
		    p->topic, p->partition, p->at);
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		return no_topic(p, err);
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

enum rc
fetch_ask(struct fetch *f, const struct fetch_part *p, int64_t *high, struct err *err)
{
	int64_t low;
	int n = 0;
	enum rc rc = kafka_partitions(f->rk, p->topic, &n, err);

	if (rc == OK && n <= p->partition)
		return no_topic(p, err);
	return rc == OK ? kafka_offsets(f->rk, p->topic, p->partition, &low, high, err) : rc;
}
