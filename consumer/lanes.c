#include "consumer/lanes.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <stdlib.h>

enum { CONFIRM_MS = 10000, CONFIRM_STEP_MS = 100 };

struct lanes {
	struct arena arena;
	const char *topic;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	int n;
	bool owned[LANES_MAX];
	bool losing; /* a revocation waits for lanes_released */
};

enum rc
lanes_open(const struct kafka *k, const char *sink, int n, struct lanes **out, struct err *err)
{
	struct lanes *l = calloc(1, sizeof *l);
	const char *topic, *group;
	rd_kafka_topic_partition_list_t *topics = NULL;
	rd_kafka_resp_err_t code;
	int partitions = 0;
	enum rc rc;

	if (!l)
		die("out of memory");
	l->n = n;
	topic = l->topic = topic_own(&l->arena, k->conf->name, arena_printf(&l->arena, "lanes.%s", sink));
	group = arena_printf(&l->arena, "%s.%s", k->conf->name, sink);
	rc = kafka_member(k, group, &l->rk, err);
	if (rc == OK)
		rc = kafka_topic_ensure(k, l->rk, topic, n, TOPIC_STANDARD, &partitions, err);
	if (rc == OK && partitions != n)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "topic %s has %d partitions for %d lanes; keep sinks.%s.lanes: %d", topic,
		    partitions, n, sink, partitions);
	if (rc == OK) {
		rd_kafka_poll_set_consumer(l->rk);
		l->queue = rd_kafka_queue_get_consumer(l->rk);
		topics = rd_kafka_topic_partition_list_new(1);
		rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
		code = rd_kafka_subscribe(l->rk, topics);
		rd_kafka_topic_partition_list_destroy(topics);
		if (code)
			rc = kafka_fail(code, err, "join group %s", group);
	}
	if (rc != OK) {
		lanes_close(l);
		return rc;
	}
	*out = l;
	return OK;
}

void
lanes_close(struct lanes *l)
{
	if (!l)
		return;
	if (l->queue) {
		rd_kafka_assign(l->rk, NULL);
		rd_kafka_queue_destroy(l->queue);
	}
	if (l->rk) {
		rd_kafka_consumer_close(l->rk);
		kafka_close(l->rk);
	}
	arena_free(&l->arena);
	free(l);
}

static void
assigned(struct lanes *l, const rd_kafka_topic_partition_list_t *parts)
{
	rd_kafka_assign(l->rk, parts);
	for (int i = 0; i < parts->cnt; i++)
		if (parts->elems[i].partition >= 0 && parts->elems[i].partition < l->n)
			l->owned[parts->elems[i].partition] = true;
}

enum rc
lanes_poll(struct lanes *l, int wait_ms, bool *lost, struct err *err)
{
	rd_kafka_event_t *ev = rd_kafka_queue_poll(l->queue, wait_ms);
	rd_kafka_resp_err_t code;
	enum rc rc = OK;

	*lost = false;
	if (!ev)
		return OK;
	if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_REBALANCE) {
		if (rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
			assigned(l, rd_kafka_event_topic_partition_list(ev));
		else
			*lost = l->losing = true;
	} else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR) {
		code = rd_kafka_event_error(ev);
		if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
			rc = kafka_fail(code, err, "consumer group");
	}
	rd_kafka_event_destroy(ev);
	return rc;
}

void
lanes_released(struct lanes *l)
{
	memset(l->owned, 0, sizeof l->owned);
	if (l->losing)
		rd_kafka_assign(l->rk, NULL);
	l->losing = false;
}

bool
lanes_owned(const struct lanes *l, int lane)
{
	return l->owned[lane];
}

static rd_kafka_resp_err_t
commit_answer(rd_kafka_event_t *ev)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(ev);
	const rd_kafka_topic_partition_list_t *parts =
	    rd_kafka_event_type(ev) == RD_KAFKA_EVENT_OFFSET_COMMIT ? rd_kafka_event_topic_partition_list(ev) : NULL;

	return !code && parts && parts->cnt ? parts->elems[0].err : code;
}

/* A member commits offsets only in the group's current generation: the commit, of no use otherwise, is the question. */
enum rc
lanes_confirm(struct lanes *l, int lane, struct err *err)
{
	rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(1);
	rd_kafka_queue_t *answers = rd_kafka_queue_new(l->rk);
	rd_kafka_event_t *ev = NULL;
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(parts, l->topic, lane)->offset = 0;
	code = rd_kafka_commit_queue(l->rk, parts, answers, NULL, NULL);
	for (int ms = 0; !code && !ev && ms < CONFIRM_MS && !stop_requested(); ms += CONFIRM_STEP_MS)
		ev = rd_kafka_queue_poll(answers, CONFIRM_STEP_MS);
	if (!code)
		code = ev ? commit_answer(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_event_destroy(ev);
	rd_kafka_queue_destroy(answers);
	rd_kafka_topic_partition_list_destroy(parts);
	return code ? fail(err, RETRY, "lane %d is not taken over, as the group does not confirm that it is ours: %s", lane,
			  rd_kafka_err2str(code))
		    : OK;
}

int
lanes_of(struct slice topic, int32_t partition, int n)
{
	/* Partitions of one topic go to lanes in turn, topics begin at different ones. */
	return (int)((topic_murmur2(topic) + (uint32_t)partition) % (uint32_t)n);
}
