/*
 * awaited.h - sinks in other processes that commits at the source wait for: what they say in <name>.towline.applied, read from the moment
 * on at which a session of the producer begins.
 */
#ifndef PRODUCER_AWAITED_H
#define PRODUCER_AWAITED_H

#include "core/kafka.h"
#include "producer/standby.h"

struct awaited {
	const struct quorum *quorum;
	rd_kafka_topic_t *topic; /* NULL: not read */
	struct standby_sinks said;
};

/* Makes the topic when it is missing, and reads it from its end on, into queue. Verdicts as of Kafka's calls. */
enum rc awaited_start(struct awaited *w, const struct kafka *k, rd_kafka_t *rk, rd_kafka_queue_t *queue, struct err *err) MUST_CHECK;

/* A message of that topic; gen, token, sent as standby_heard takes them. RETRY: the topic can no longer be read from there on. */
enum rc awaited_take(struct awaited *w, const rd_kafka_message_t *m, uint64_t gen, uint64_t token, uint64_t sent, struct err *err)
    MUST_CHECK;

/* The group up to which enough of them have all. */
uint64_t awaited_no(const struct awaited *w);

void awaited_stop(struct awaited *w);

#endif
