#include "producer/awaited.h"
#include "schemas/topic.h"

enum rc
awaited_start(struct awaited *w, const struct kafka *k, rd_kafka_t *rk, rd_kafka_queue_t *queue, struct err *err)
{
	struct arena a = { 0 };
	const char *topic = topic_own(&a, k->conf->name, "applied");
	int64_t low, high = 0;
	int n = 0;
	enum rc rc = kafka_topic_ensure(k, rk, topic, 1, TOPIC_BRIEF, &n, err);

	if (rc == OK)
		rc = kafka_one_partition(topic, n, err);
	if (rc == OK)
		rc = kafka_offsets(rk, topic, 0, &low, &high, err);
	if (rc == OK) {
		w->topic = rd_kafka_topic_new(rk, topic, NULL);
		if (rd_kafka_consume_start_queue(w->topic, 0, high, queue) < 0) {
			rc = kafka_fail(rd_kafka_last_error(), err, "read %s", topic);
			rd_kafka_topic_destroy(w->topic);
			w->topic = NULL;
		}
	}
	arena_free(&a);
	return rc;
}

enum rc
awaited_take(struct awaited *w, const rd_kafka_message_t *m, uint64_t gen, uint64_t token, uint64_t sent, struct err *err)
{
	struct applied said;
	struct err why;

	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return OK;
	if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
		return fail(err, RETRY, "%s no longer has what came last: was the topic deleted?", rd_kafka_topic_name(w->topic));
	if (m->err)
		return kafka_fail(m->err, err, "read %s", rd_kafka_topic_name(w->topic));
	/* What makes no sense says nothing. */
	if (applied_take((struct slice){ m->payload, m->len }, &said, &why) == OK)
		standby_heard(&w->said, w->quorum, (struct slice){ m->key, m->key_len }, &said, gen, token, sent);
	return OK;
}

uint64_t
awaited_no(const struct awaited *w)
{
	return quorum_reached(w->quorum, w->said.at);
}

void
awaited_stop(struct awaited *w)
{
	if (!w->topic)
		return;
	rd_kafka_consume_stop(w->topic, 0);
	rd_kafka_topic_destroy(w->topic);
	w->topic = NULL;
}
