/*
 * fetch.h - records pulled from one partition at a time.
 *
 * librdkafka fetches ahead of each started partition into a queue with a byte limit; a partition that nobody asks for fills
 * its queue and stops by itself. So back-pressure and "pause what is ahead" need no code.
 */
#ifndef CONSUMER_FETCH_H
#define CONSUMER_FETCH_H

#include "core/kafka.h"

struct fetch;

/* One partition that was started. */
struct fetch_part {
	const char *topic;
	int32_t partition;
	int64_t at;              /* offset of the next record; -1: not started */
	rd_kafka_topic_t *rkt;
	bool own;                /* it is the topic of logical messages: no table */
};

enum rc fetch_open(const struct kafka *k, struct fetch **out, struct err *err) MUST_CHECK;
void fetch_close(struct fetch *f);
rd_kafka_t *fetch_handle(struct fetch *f);

/* The partition, started at offset `from` when this is the first time; it lives as long as f. */
enum rc fetch_part(struct fetch *f, struct slice topic, int32_t partition, int64_t from,
    struct fetch_part **out, struct err *err) MUST_CHECK;

/*
 * The next record; the caller destroys it. AGAIN: none within wait_ms (what librdkafka says of the
 * end of the partition is passed over, *end tells). FATAL/EXIT_REFUSED: the offset is not there any
 * more.
 */
enum rc fetch_next(struct fetch *f, struct fetch_part *p, int wait_ms, rd_kafka_message_t **out, bool *end, struct err *err) MUST_CHECK;

/*
 * Is the topic there, and where does the partition end? For somebody who waits: librdkafka tells of a deleted topic by a log line only, and
 * nothing at all of one that was made anew and is shorter. RETRY: Kafka does not say. FATAL/EXIT_REFUSED: the topic is gone.
 */
enum rc fetch_ask(struct fetch *f, const struct fetch_part *p, int64_t *high, struct err *err) MUST_CHECK;

#endif
