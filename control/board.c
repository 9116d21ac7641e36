#include "control/board.h"
#include "control/human.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <stdlib.h>

enum { QUEUE_KBYTES = 2048, WHOLE_MS = 15000, WAIT_MS = 100 };

struct board {
	const struct kafka *kafka;
	struct arena arena;
	const char *topic;
	rd_kafka_t *rk;
	rd_kafka_topic_t *rkt; /* started; NULL: not yet */
	int64_t next;	       /* offset behind what was read */
	struct board_node *nodes;
};

enum rc
board_open(const struct kafka *k, struct board **out, struct err *err)
{
	struct board *b = calloc(1, sizeof *b);
	enum rc rc;

	if (!b)
		die("out of memory");
	b->kafka = k;
	b->topic = topic_own(&b->arena, k->conf->name, "progress");
	rc = kafka_consumer(k, QUEUE_KBYTES, &b->rk, err);
	if (rc != OK) {
		board_close(b);
		b = NULL;
	}
	*out = b;
	return rc;
}

static void
node_free(struct board_node *n)
{
	free(n->key);
	arena_free(&n->arena);
	free(n);
}

void
board_close(struct board *b)
{
	struct board_node *n;

	if (!b)
		return;
	if (b->rkt) {
		rd_kafka_consume_stop(b->rkt, 0);
		rd_kafka_topic_destroy(b->rkt);
	}
	if (b->rk)
		kafka_close(b->rk);
	while ((n = b->nodes)) {
		b->nodes = n->next;
		node_free(n);
	}
	arena_free(&b->arena);
	free(b);
}

static struct board_node **
place_of(struct board *b, const char *key)
{
	struct board_node **at = &b->nodes;

	while (*at && strcmp((*at)->key, key) < 0)
		at = &(*at)->next;
	return at;
}

/* A record; one that is none of ours is passed over, one without value takes the node away. */
static void
take(struct board *b, const rd_kafka_message_t *m)
{
	struct arena a = { 0 };
	struct progress p;
	struct board_node **at, *n;
	struct err err;
	char *key = strndup(m->key ? m->key : "", m->key_len);
	bool bad =
	    m->payload && progress_take((struct slice){ m->payload, m->len }, &a, &p, &err) != OK;

	if (!key)
		die("out of memory");
	at = place_of(b, key);
	n = *at && strcmp((*at)->key, key) == 0 ? *at : NULL;
	if (bad || !m->payload) {
		if (n && !bad) {
			*at = n->next;
			node_free(n);
		}
		free(key);
		arena_free(&a);
		return;
	}
	if (!n) {
		n = calloc(1, sizeof *n);
		if (!n)
			die("out of memory");
		n->key = key;
		n->next = *at;
		*at = n;
	} else {
		free(key);
	}
	arena_free(&n->arena);
	n->arena = a;
	n->p = p;
}

static enum rc
start(struct board *b, struct err *err)
{
	int64_t low, high;
	int n = 0;
	enum rc rc = kafka_partitions(b->rk, b->topic, &n, err);

	if (rc != OK || !n)
		return rc;
	rc = kafka_offsets(b->rk, b->topic, 0, &low, &high, err);
	if (rc != OK)
		return rc;
	b->rkt = rd_kafka_topic_new(b->rk, b->topic, NULL);
	if (rd_kafka_consume_start(b->rkt, 0, low) < 0) {
		rd_kafka_topic_destroy(b->rkt);
		b->rkt = NULL;
		return kafka_fail(rd_kafka_last_error(), err, "read %s", b->topic);
	}
	b->next = low;
	return OK;
}

enum rc
board_update(struct board *b, bool whole, struct err *err)
{
	int64_t until = now_us() + WHOLE_MS * INT64_C(1000), low, high = 0;
	rd_kafka_message_t *m;
	enum rc rc = OK;

	if (!b->rkt)
		rc = start(b, err);
	if (rc != OK || !b->rkt)
		return rc;
	if (whole)
		rc = kafka_offsets(b->rk, b->topic, 0, &low, &high, err);
	while (rc == OK && !stop_requested()) {
		m = rd_kafka_consume(b->rkt, 0, b->next < high ? WAIT_MS : 0);
		if (!m && b->next >= high)
			break;
		if (!m && now_us() > until)
			rc = fail(
			    err, RETRY, "%s: no answer within %d s", b->topic, WHOLE_MS / 1000);
		if (!m)
			continue;
		if (!m->err)
			take(b, m);
		else if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			rc = kafka_fail(m->err, err, "read %s", b->topic);
		/* The end that is met behind compacted records counts as well. */
		if (!m->err || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			b->next = m->err ? m->offset : m->offset + 1;
		rd_kafka_message_destroy(m);
	}
	return rc;
}

const struct board_node *
board_nodes(const struct board *b)
{
	return b->nodes;
}

const struct progress *
board_front(const struct board *b)
{
	const struct progress *best = NULL;

	for (const struct board_node *n = b->nodes; n; n = n->next)
		if (n->p.role == PROGRESS_PRODUCER &&
		    (!best || n->p.gen > best->gen ||
			(n->p.gen == best->gen && n->p.at_us > best->at_us)))
			best = &n->p;
	return best;
}

const struct progress *
board_sink(const struct board *b, const char *name)
{
	const struct progress *best = NULL;

	for (const struct board_node *n = b->nodes; n; n = n->next)
		if (n->p.role == PROGRESS_SINK && strcmp(n->p.sink, name) == 0 &&
		    (!best || n->p.at_us > best->at_us))
			best = &n->p;
	return best;
}

bool
board_gone(const struct progress *p, int64_t now_us)
{
	bool ended = strcmp(p->state, "stopped") == 0 || strcmp(p->state, "failed") == 0;

	return !ended && now_us - p->at_us > BOARD_GONE_MS * INT64_C(1000);
}

const char *
board_state(const struct progress *p, int64_t now_us)
{
	return board_gone(p, now_us) ? "gone" : p->state;
}
