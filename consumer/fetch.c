#include "consumer/fetch.h"
#include "core/log.h"
#include "core/now.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum {
	QUEUE_KBYTES_MIN = 48,  /* fetched ahead, each partition; a record batch comes whole, however large it is */
	QUEUE_KBYTES_MAX = 1024,
	METADATA_MS = 15000,
	BATCH_BYTES_MIN = 256 * 1024,
	STARVED_MS = 2,  /* longer than a request that is under way takes to bring a record that is there */
	NUDGE_MS = 100,
	AGAIN_MS = 1000, /* behind a Kafka transaction's end there is more, but never a record */
	AHEAD_BYTES = 64 * 1024,
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
	struct fetch_part *moved;
	bool others_known;
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
 * A tenth of the memory for what is fetched ahead, shared out evenly: unpacked, and with what librdkafka
 * keeps for each message, it comes to several times that. librdkafka wants to know when the handle is made, and the handle is
 * needed to ask: with many partitions it is made a second time.
 */
static enum rc
open_handle(const struct kafka *k, rd_kafka_t **rk, struct err *err)
{
	int64_t n = 1, kbytes;
	enum rc rc = kafka_consumer(k, QUEUE_KBYTES_MAX, rk, err);

	if (rc == OK)
		rc = kafka_reach(k, *rk, err);
	if (rc == OK)
		rc = count_partitions(k, *rk, &n, err);
	if (rc != OK)
		return rc;
	kbytes = kafka_share(k) / 10 / 1024 / n;
	if (kbytes >= QUEUE_KBYTES_MAX)
		return OK;
	kafka_close(*rk);
	*rk = NULL;
	return kafka_consumer(k, kbytes < QUEUE_KBYTES_MIN ? QUEUE_KBYTES_MIN : (int)kbytes, rk, err);
}

size_t
fetch_batch_bytes(const struct kafka *k, const struct conf_sink *conf)
{
	int64_t part = kafka_share(k) / 14;

	return conf->batch_bytes ? (size_t)conf->batch_bytes : part < BATCH_BYTES_MIN ? BATCH_BYTES_MIN : (size_t)part;
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
		fetch_stop(&e->part);
		if (e->part.rkt)
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

static struct fetch_part *
part_of(struct fetch *f, struct slice topic, int32_t partition)
{
	char key[300];
	struct entry *e;
	int n = snprintf(key, sizeof key, "%.*s:%d", SLICE_ARG(topic), partition);

	HASH_FIND(hh, f->parts, key, (size_t)n, e);
	if (e)
		return &e->part;
	e = arena_new(&f->arena, struct entry);
	e->key = arena_text(&f->arena, (struct slice){ key, (size_t)n });
	e->part = (struct fetch_part){ .topic = arena_text(&f->arena, topic), .partition = partition, .at = -1, .need = -1, .known = -1 };
	e->part.own = slice_is(topic, f->message_topic);
	HASH_ADD_KEYPTR(hh, f->parts, e->key, (size_t)n, e);
	return &e->part;
}

static enum rc
start(struct fetch *f, struct fetch_part *p, int64_t from, struct err *err)
{
	if (!p->rkt)
		p->rkt = rd_kafka_topic_new(f->rk, p->topic, NULL);
	if (rd_kafka_consume_start(p->rkt, p->partition, from) < 0)
		return kafka_fail(rd_kafka_last_error(), err, "read %s [%d]", p->topic, p->partition);
	p->at = from == RD_KAFKA_OFFSET_BEGINNING ? 0 : from;
	return OK;
}

enum rc
fetch_part(struct fetch *f, struct slice topic, int32_t partition, int64_t from, struct fetch_part **out, struct err *err)
{
	*out = part_of(f, topic, partition);
	return (*out)->at >= 0 ? OK : start(f, *out, from, err);
}

void
fetch_stop(struct fetch_part *p)
{
	if (p->at >= 0)
		rd_kafka_consume_stop(p->rkt, p->partition);
	while (p->ahead_at < p->nahead)
		rd_kafka_message_destroy(p->ahead[p->ahead_at++]);
	p->at = -1;
}

/* ---- positions ---- */

static void
list(struct fetch *f, struct fetch_part *p)
{
	if (p->listed)
		return;
	p->listed = true;
	p->next = f->moved;
	f->moved = p;
}

void
fetch_know(struct fetch *f, const struct position *p, bool written)
{
	struct fetch_part *part = part_of(f, slice_of(p->topic), p->partition);

	part->known = p->next;
	part->unwritten = !written;
	if (!written)
		list(f, part);
}

void
fetch_begins(struct fetch *f, const struct position *p)
{
	const struct fetch_part *part = part_of(f, slice_of(p->topic), p->partition);

	if (part->at < 0 && part->known < 0)
		fetch_know(f, p, false);
}

void
fetch_know_others(struct fetch *f)
{
	f->others_known = true;
}

enum rc
fetch_rows(struct fetch *f, struct slice topic, int32_t partition, int64_t first, struct fetch_part **out, struct err *err)
{
	struct fetch_part *p = *out = part_of(f, topic, partition);
	int64_t from = first;

	p->need = first;
	list(f, p);
	if (p->at >= 0)
		return OK;
	if (p->known >= 0 && p->known < first)
		from = p->known;
	else if (p->known < 0 && f->others_known && first > 0)
		from = RD_KAFKA_OFFSET_BEGINNING;
	return start(f, p, from, err);
}

const struct fetch_part *
fetch_moved(struct fetch *f)
{
	struct fetch_part *p;

	while ((p = f->moved)) {
		f->moved = p->next;
		p->listed = false;
		if (p->at >= 0 && p->at != p->known)
			p->known = p->at;
		else if (!p->unwritten || p->known < 0)
			continue;
		p->unwritten = false;
		return p;
	}
	return NULL;
}

/* ---- records ---- */

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
		return fail_lost(err,
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

/*
 * What is to be read next is not there any more. Nothing is lost when the rows that a group refers to still are: retention took
 * left-overs or foreign records that nobody here has seen.
 */
static enum rc
read_behind(struct fetch *f, struct fetch_part *p, struct err *err)
{
	int64_t low = 0, high = 0, from = p->at;
	enum rc rc = kafka_offsets(f->rk, p->topic, p->partition, &low, &high, err);

	if (rc != OK)
		return rc;
	if (low <= from || low > p->need || high <= p->need)
		return REJECT;
	fetch_stop(p);
	log_warn("fetch", "records that no group refers to were removed from Kafka before they were read",
	    "topic=%s partition=%d from=%" PRId64 " to=%" PRId64, p->topic, p->partition, from, low - 1);
	return start(f, p, low, err);
}

static bool
out_of_range(const rd_kafka_message_t *m)
{
	return m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
}

/*
 * Before 2.2.0 the thread of a broker whose partitions all have their queues full sleeps for up to a second, however soon one of
 * them is empty (https://github.com/confluentinc/librdkafka/pull/4284, fetch.queue.backoff.ms): a backlog in many tables would come
 * at one queue of a table a second. Any request to the partition's leader wakes that thread, and it fetches at once.
 */
static void
nudge(struct fetch *f, const struct fetch_part *p)
{
	rd_kafka_topic_partition_list_t *list;
	int64_t low, high;

	if (rd_kafka_version() >= 0x02020000 ||
	    rd_kafka_get_watermark_offsets(f->rk, p->topic, p->partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR || high <= p->at)
		return;
	/* Of the calls that ask for offsets this one keeps its limit when the broker does not answer. */
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = RD_KAFKA_OFFSET_END;
	rd_kafka_offsets_for_times(f->rk, list, NUDGE_MS);
	rd_kafka_topic_partition_list_destroy(list);
}

/* The next record of p, or NULL after wait_ms. */
static rd_kafka_message_t *
consume(struct fetch *f, struct fetch_part *p, int wait_ms)
{
	int first = wait_ms < STARVED_MS ? wait_ms : STARVED_MS;
	rd_kafka_message_t *m = rd_kafka_consume(p->rkt, p->partition, first);
	int64_t now;

	if (m) {
		p->empty_ms = 0;
		return m;
	}
	now = now_ms();
	if (!p->empty_ms)
		p->empty_ms = now - first;
	if (now - p->empty_ms >= STARVED_MS) {
		nudge(f, p);
		p->empty_ms = now_ms() + AGAIN_MS;
	}
	return wait_ms > first ? rd_kafka_consume(p->rkt, p->partition, wait_ms - first) : NULL;
}

/* What is there, as many as are AHEAD_BYTES when they are like the one before. */
static int
consume_many(struct fetch_part *p)
{
	size_t n = AHEAD_BYTES / (p->last_bytes + 1);
	ssize_t got = n > 1 ? rd_kafka_consume_batch(p->rkt, p->partition, 0, p->ahead, n < FETCH_AHEAD ? n : FETCH_AHEAD) : 0;

	return got > 0 ? (int)got : 0;
}

/* The next of those, or of what comes within wait_ms; or NULL. */
static rd_kafka_message_t *
take(struct fetch *f, struct fetch_part *p, int wait_ms)
{
	rd_kafka_message_t *m;

	if (p->ahead_at == p->nahead) {
		p->ahead_at = 0;
		p->nahead = consume_many(p);
	}
	if (p->ahead_at < p->nahead) {
		m = p->ahead[p->ahead_at++];
		p->empty_ms = 0;
	} else {
		m = consume(f, p, wait_ms);
	}
	if (m && !m->err)
		p->last_bytes = m->len;
	return m;
}

enum rc
fetch_next(struct fetch *f, struct fetch_part *p, int wait_ms, rd_kafka_message_t **out, bool *end, struct err *err)
{
	*end = false;
	for (;;) {
		rd_kafka_message_t *m = take(f, p, wait_ms);
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
		rc = out_of_range(m) && p->at < p->need ? read_behind(f, p, err) : REJECT;
		if (rc == REJECT)
			rc = fetch_error(p, m, err);
		rd_kafka_message_destroy(m);
		if (rc != OK)
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
