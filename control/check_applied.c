/*
 * Sinks that commits wait for: does the producer hear of them?
 */
#include "control/check.h"
#include "control/cluster.h"
#include "core/now.h"
#include "core/quorum.h"
#include "schemas/applied.h"
#include "schemas/topic.h"

enum { LISTEN_MS = 2500, TWICE_MS = 1300, WAIT_MS = 100 }; /* every sink that runs says something within a second */

/* What was heard of one sink: by whom, and by whom else, which is a second one of its name. */
struct said {
	bool any;
	char by[APPLIED_BY_MAX], too[APPLIED_BY_MAX];
};

static const char name[] = "applied";

static int
heard(const struct quorum *q, const struct said *said)
{
	int n = 0;

	for (int i = 0; i < q->nmembers; i++)
		n += said[i].any;
	return n;
}

static void
note(struct said *s, const struct applied *a)
{
	s->any = true;
	if (!*s->by)
		memcpy(s->by, a->by, sizeof s->by);
	else if (*a->by && strcmp(s->by, a->by) != 0)
		memcpy(s->too, a->by, sizeof s->too);
}

/* For long enough to hear all of them twice, where all speak. */
static enum rc
hear(rd_kafka_t *rk, const char *topic, const struct quorum *q, struct said *said, struct err *err)
{
	int64_t low, high, began = now_ms();
	rd_kafka_topic_t *rkt;
	enum rc rc = kafka_offsets(rk, topic, 0, &low, &high, err);

	if (rc != OK)
		return rc;
	rkt = rd_kafka_topic_new(rk, topic, NULL);
	if (rd_kafka_consume_start(rkt, 0, high) < 0) {
		rc = kafka_fail(rd_kafka_last_error(), err, "read %s", topic);
		rd_kafka_topic_destroy(rkt);
		return rc;
	}
	while (now_ms() - began < (heard(q, said) < q->nmembers ? LISTEN_MS : TWICE_MS)) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, 0, WAIT_MS);
		struct applied a;
		struct err why;

		if (m && !m->err && applied_take((struct slice){ m->payload, m->len }, &a, &why) == OK)
			for (int i = 0; i < q->nmembers; i++)
				if (slice_is((struct slice){ m->key, m->key_len }, q->members[i]))
					note(&said[i], &a);
		if (m)
			rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(rkt, 0);
	rd_kafka_topic_destroy(rkt);
	return OK;
}

static void
judge(struct checks *c, const struct quorum *q, const struct said *said)
{
	const char *silent = "", *first = NULL;
	int n = heard(q, said);

	for (int i = 0; i < q->nmembers; i++)
		if (!said[i].any) {
			silent = arena_printf(&c->arena, "%s%s%s", silent, *silent ? ", " : "", q->members[i]);
			first = first ? first : q->members[i];
		}
	if (n >= q->need)
		check_ok(c, name, "%d of %d sinks say what they have, %d must%s%s", n, q->nmembers, q->need,
		    *silent ? "; no word from " : "", silent);
	else
		check_warn(c, name,
		    arena_printf(&c->arena, "run it: towline consumer %s, with the same synchronous: in its configuration", first),
		    "no word from %s: commits wait until %d of %d say that they have them", silent, q->need, q->nmembers);
	for (int i = 0; i < q->nmembers; i++)
		if (*said[i].too)
			check_warn(c, name, "stop the one that is not the sink (an old machine?), or give it a name of its own",
			    "two processes, %s and %s, say that they are sink %s: a commit counts as applied when either has it",
			    said[i].by, said[i].too, q->members[i]);
}

void
check_applied(struct checks *c)
{
	struct kafka kafka = { .conf = c->conf };
	const char *topic = topic_own(&c->arena, c->conf->name, "applied");
	struct said said[QUORUM_MAX] = { { .any = false } };
	rd_kafka_t *rk = NULL;
	struct quorum q;
	struct err err;
	int n = 0;
	enum rc rc;

	if (c->conf->synchronous != SYNC_APPLIED || !c->conf->source_url || !c->kafka_known)
		return;
	rc = quorum_of(c->conf, &c->arena, &q, &err);
	if (rc == OK)
		rc = kafka_consumer(&kafka, 1024, &rk, &err);
	if (rc == OK)
		rc = kafka_partitions(rk, topic, &n, &err);
	if (rc == OK)
		rc = kafka_one_partition(topic, n, &err);
	if (rc == OK && n)
		rc = hear(rk, topic, &q, said, &err);
	if (rc == OK)
		judge(c, &q, said);
	else
		check_error(c, name, &err);
	if (rk)
		rd_kafka_destroy(rk);
}
