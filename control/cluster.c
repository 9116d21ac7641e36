#include "control/cluster.h"
#include "control/human.h"
#include "core/now.h"
#include "core/stop.h"

#include <stdio.h>

enum { LOOK_MS = 5000, TURN_MS = 1000 };

/* Why there is no answer, as far as librdkafka's events tell. true: waiting longer is no use. */
struct reason {
	rd_kafka_resp_err_t code;
	char text[400];
};

static bool
hear(rd_kafka_queue_t *q, struct reason *why)
{
	rd_kafka_event_t *ev;
	bool final = false;

	while ((ev = rd_kafka_queue_poll(q, 0))) {
		rd_kafka_resp_err_t code = rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR
		    ? rd_kafka_event_error(ev)
		    : RD_KAFKA_RESP_ERR_NO_ERROR;

		/* "All brokers are down" says less than what came before it. */
		if (code && code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
			why->code = code;
			snprintf(why->text, sizeof why->text, "%s", rd_kafka_event_error_string(ev));
		}
		final = final || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
		rd_kafka_event_destroy(ev);
	}
	return final;
}

/* librdkafka's words for what happened, our verdict and fix: "HOST:PORT/bootstrap: Connect to ... failed: Connection refused". */
static enum rc
reworded(struct reason *why, struct err *err)
{
	const char *fix = strstr(err->text, "; ");
	char *aside = strstr(why->text, " (after ");

	if (aside)
		*aside = '\0';
	return fail_exit(err, err->rc, err->exit, "%s%s", why->text, fix ? fix : "");
}

static enum rc
ask(rd_kafka_t *rk, const struct rd_kafka_metadata **md, struct err *err)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_main(rk);
	int64_t until = now_us() + LOOK_MS * INT64_C(1000);
	struct reason why = { RD_KAFKA_RESP_ERR_NO_ERROR, "" };
	rd_kafka_resp_err_t code;

	while ((code = rd_kafka_metadata(rk, 1, NULL, md, TURN_MS)))
		if (hear(q, &why) || stop_requested() || now_us() > until)
			break;
	rd_kafka_queue_destroy(q);
	if (!code)
		return OK;
	(void)kafka_fail(*why.text ? why.code : code, err, "no answer within %d s", LOOK_MS / 1000);
	return *why.text ? reworded(&why, err) : err->rc;
}

enum rc
cluster_look(const struct kafka *k, struct cluster *out, struct err *err)
{
	const struct rd_kafka_metadata *brokers = NULL;
	int64_t at;
	enum rc rc = OK;

	/* A producer's handle: it is the one that gets error events. */
	if (!out->rk)
		rc = kafka_producer(k, &out->rk, err);
	if (out->md)
		rd_kafka_metadata_destroy(out->md);
	out->md = NULL;
	if (rc == OK)
		rc = ask(out->rk, &out->md, err);
	if (rc != OK)
		return rc;
	at = now_us();
	if (rd_kafka_metadata(out->rk, 0, NULL, &brokers, LOOK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(brokers);
	out->answer_us = now_us() - at;
	return OK;
}

void
cluster_close(struct cluster *c)
{
	if (c->md)
		rd_kafka_metadata_destroy(c->md);
	if (c->rk)
		rd_kafka_destroy(c->rk);
	*c = (struct cluster){ 0 };
}

int
cluster_partitions(const struct cluster *c, const char *topic)
{
	for (int i = 0; i < c->md->topic_cnt; i++)
		if (strcmp(c->md->topics[i].topic, topic) == 0)
			return c->md->topics[i].err ? 0 : c->md->topics[i].partition_cnt;
	return 0;
}
