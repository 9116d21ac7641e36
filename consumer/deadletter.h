/*
 * deadletter.h - records that cannot be applied, set aside in <name>.towline.deadletter with the reason.
 *
 * The record goes as it is (key, value, headers), with headers of ours in front: towline.reason, towline.sink, towline.topic,
 * towline.partition, towline.offset. It is in Kafka before the sink commits past it: set aside twice is possible, lost is not.
 * This is the public copy, kept for ever; which changes are still parked stands in the sink (consumer/parked.h).
 */
#ifndef CONSUMER_DEADLETTER_H
#define CONSUMER_DEADLETTER_H

#include "core/kafka.h"

struct deadletter;

struct deadletter *deadletter_open(const struct kafka *k, const char *sink);
void deadletter_close(struct deadletter *d);

/*
 * Queue one; the message is copied. *offset gets its place in the dead-letter topic by the time of the flush, -1 when
 * Kafka does not tell.
 */
enum rc deadletter_put(struct deadletter *d, const rd_kafka_message_t *m, const char *topic, const char *reason,
    int64_t *offset, struct err *err) MUST_CHECK;

/* Wait until all that were queued are in Kafka. */
enum rc deadletter_flush(struct deadletter *d, struct err *err) MUST_CHECK;

#endif
