/*
 * cluster.h - a bounded look at Kafka: does it answer, how fast, which topics are there. Makes no topic.
 */
#ifndef CONTROL_CLUSTER_H
#define CONTROL_CLUSTER_H

#include "core/kafka.h"

struct cluster {
	rd_kafka_t *rk;
	const struct rd_kafka_metadata *md; /* every topic that this principal may see */
	int64_t answer_us;                  /* one request there and back, on an open connection */
};

/*
 * Within some seconds: OK; RETRY: nobody answers, with librdkafka's reason; FATAL: the configuration or the login is wrong. Either way
 * cluster_close. May be called again on the same struct for a new look.
 */
enum rc cluster_look(const struct kafka *k, struct cluster *out, struct err *err) MUST_CHECK;
void cluster_close(struct cluster *c);

/* Partitions of a topic; 0: it does not exist. */
int cluster_partitions(const struct cluster *c, const char *topic);

#endif
