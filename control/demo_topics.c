#include "control/demo.h"

#include "core/arena.h"

enum { REQUEST_MS = 10000 };

/* Names of all topics that begin with prefix. */
static size_t
list(const struct rd_kafka_metadata *md, const char *prefix, rd_kafka_DeleteTopic_t **out)
{
	size_t n = 0;

	for (int i = 0; i < md->topic_cnt; i++)
		if (strncmp(md->topics[i].topic, prefix, strlen(prefix)) == 0)
			out[n++] = rd_kafka_DeleteTopic_new(md->topics[i].topic);
	return n;
}

enum rc
demo_topics_delete(const struct kafka *k, struct err *err)
{
	struct arena a = { 0 };
	const char *prefix = arena_printf(&a, "%s.", k->conf->name);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_DeleteTopic_t **topics;
	rd_kafka_queue_t *q;
	rd_kafka_event_t *ev;
	rd_kafka_resp_err_t code;
	rd_kafka_t *rk = NULL;
	size_t n;
	enum rc rc = kafka_producer(k, &rk, err);

	if (rc != OK)
		goto out;
	code = rd_kafka_metadata(rk, 1, NULL, &md, REQUEST_MS);
	if (code) {
		rc = kafka_fail(code, err, "topics");
		goto out;
	}
	topics = arena_array(&a, (size_t)md->topic_cnt + 1, sizeof(*topics));
	n = list(md, prefix, topics);
	if (n == 0)
		goto out;
	q = rd_kafka_queue_new(rk);
	rd_kafka_DeleteTopics(rk, topics, n, NULL, q);
	ev = rd_kafka_queue_poll(q, REQUEST_MS);
	code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (code)
		rc = kafka_fail(code, err, "delete the topics %s*", prefix);
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_DeleteTopic_destroy_array(topics, n);
	rd_kafka_queue_destroy(q);
out:
	if (md)
		rd_kafka_metadata_destroy(md);
	if (rk)
		rd_kafka_destroy(rk);
	arena_free(&a);
	return rc;
}
