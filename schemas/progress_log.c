#include "schemas/progress_log.h"
#include "schemas/progress.h"

#include <inttypes.h>

enum { WAIT_MS = 15000 };

static void
take(const rd_kafka_message_t *m, uint64_t *seq)
{
	struct arena a = { 0 };
	struct progress p;
	struct err err;

	if (m->payload && progress_take((struct slice){ m->payload, m->len }, &a, &p, &err) == OK && p.role == PROGRESS_PRODUCER &&
	    p.seq > *seq)
		*seq = p.seq;
	arena_free(&a);
}

static enum rc
read_all(rd_kafka_topic_t *rkt, const char *topic, int64_t at, int64_t high, uint64_t *seq, struct err *err)
{
	enum rc rc = OK;

	/* Compacted: offsets are missing, perhaps the last ones too; the end is told. */
	while (rc == OK && at < high) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, 0, WAIT_MS);

		if (!m)
			return fail(err, RETRY, "read %s: no answer within %d s", topic, WAIT_MS / 1000);
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			at = m->offset;
		else if (m->err)
			rc = kafka_fail(m->err, err, "read %s", topic);
		else {
			take(m, seq);
			at = m->offset + 1;
		}
		rd_kafka_message_destroy(m);
	}
	return rc;
}

enum rc
progress_log_published(rd_kafka_t *rk, const char *topic, uint64_t *seq, struct err *err)
{
	int64_t low = 0, high = 0;
	rd_kafka_topic_t *rkt;
	int n = 0;
	enum rc rc = kafka_partitions(rk, topic, &n, err);

	*seq = 0;
	if (rc != OK || !n)
		return rc;
	rc = kafka_offsets(rk, topic, 0, &low, &high, err);
	if (rc != OK || low == high)
		return rc;
	rkt = rd_kafka_topic_new(rk, topic, NULL);
	if (rd_kafka_consume_start(rkt, 0, low) < 0)
		rc = kafka_fail(rd_kafka_last_error(), err, "read %s", topic);
	else {
		rc = read_all(rkt, topic, low, high, seq, err);
		rd_kafka_consume_stop(rkt, 0);
	}
	rd_kafka_topic_destroy(rkt);
	return rc;
}
