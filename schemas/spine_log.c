#include "schemas/spine_log.h"

#include <inttypes.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	/* Far more than a writer may have in flight without reading back: see spine_resume. */
	TAIL_MIN = 1024,
	WAIT_MS = 15000,
};

struct tail {
	struct arena arena;
	struct spine_record **list;
	int n, cap;
	int64_t last;  /* offset of the newest; -1: none */
	uint64_t hash; /* XXH3 of it */
};

static enum rc
tail_add(struct tail *t, const rd_kafka_message_t *m, struct err *err)
{
	struct slice bytes = arena_slice(&t->arena, (struct slice){ m->payload, m->len });
	struct spine_record *r = arena_new(&t->arena, struct spine_record);
	enum rc rc = spine_take(bytes, &t->arena, r, err);

	if (rc != OK)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "offset %" PRId64 ": %s; something else writes into the spine topic", m->offset,
		    err->text);
	if (t->n == t->cap) {
		int cap = t->cap ? t->cap * 2 : TAIL_MIN;
		struct spine_record **list = arena_array(&t->arena, (size_t)cap, sizeof(*list));

		if (t->n)
			memcpy(list, t->list, (size_t)t->n * sizeof *list);
		t->list = list;
		t->cap = cap;
	}
	t->list[t->n++] = r;
	t->last = m->offset;
	t->hash = XXH3_64bits(m->payload, m->len);
	return OK;
}

/* All records in [start, high). */
static enum rc
tail_read(rd_kafka_t *rk, const char *topic, int64_t start, int64_t high, struct tail *t, struct err *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	int64_t at = start;
	enum rc rc = OK;

	if (rd_kafka_consume_start(rkt, 0, start) < 0) {
		rc = kafka_fail(rd_kafka_last_error(), err, "read %s", topic);
		rd_kafka_topic_destroy(rkt);
		return rc;
	}
	while (rc == OK && at < high) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, 0, WAIT_MS);

		if (!m) {
			rc = fail(err, RETRY, "read %s: no answer within %d s", topic, WAIT_MS / 1000);
			break;
		}
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			at = m->offset;
		else if (m->err)
			rc = kafka_fail(m->err, err, "read %s", topic);
		else {
			rc = tail_add(t, m, err);
			at = m->offset + 1;
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(rkt, 0);
	rd_kafka_topic_destroy(rkt);
	return rc;
}

static enum rc
look(rd_kafka_t *rk, const char *topic, struct spine_end *out, int64_t *next, struct err *err)
{
	struct spine_state *s = &out->state;
	int64_t low, high;
	enum rc rc = kafka_offsets(rk, topic, 0, &low, &high, err);

	*out = (struct spine_end){ .offset = -1 };
	*next = high;
	if (rc != OK || high == 0)
		return rc;
	for (int64_t window = TAIL_MIN;; window *= 8) {
		int64_t start = high - low > window ? high - window : low;
		struct tail t = { .last = -1 };
		int i = -1;

		rc = tail_read(rk, topic, start, high, &t, err);
		if (rc == OK) {
			i = spine_resume(s, (const struct spine_record *const *)t.list, t.n);
			if (i < 0 && start == 0)
				*s = (struct spine_state){ 0 }, i = 0;
		}
		for (; i >= 0 && i < t.n && rc == OK; i++)
			if (spine_step(s, t.list[i]) == SPINE_GAP)
				rc = fail_exit(err, FATAL, EXIT_REFUSED,
				    "%s: records before group %" PRIu64
				    " are missing; the topic was truncated or mixed with another",
				    topic, t.list[i]->no);
		arena_free(&t.arena);
		out->offset = t.last;
		out->hash = t.hash;
		if (rc != OK || i >= 0)
			return rc;
		if (start == low)
			return fail_exit(err, FATAL, EXIT_REFUSED,
			    "%s begins at offset %" PRId64
			    " and holds no group; the history before is gone: start anew under another name",
			    topic, low);
	}
}

enum rc
spine_log_state(rd_kafka_t *rk, const char *topic, struct spine_state *s, int64_t *next, struct err *err)
{
	struct spine_end end;
	enum rc rc = look(rk, topic, &end, next, err);

	*s = end.state;
	return rc;
}

enum rc
spine_log_end(rd_kafka_t *rk, const char *topic, struct spine_end *out, struct err *err)
{
	int64_t next;

	return look(rk, topic, out, &next, err);
}
