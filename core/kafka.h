/*
 * kafka.h - librdkafka handles made our way, its errors as verdicts, and the embedded broker.
 *
 * Everything that the project knows of librdkafka's settings stands here. The rooms use rd_kafka_* calls on
 * the handles themselves where a wrapper would only rename them.
 */
#ifndef CORE_KAFKA_H
#define CORE_KAFKA_H

#include "core/conf.h"

#include <librdkafka/rdkafka.h>

/*
 * The in-process broker of librdkafka (rdkafka_mock.h): for trials and tests. Keeps 5 MiB a partition in
 * memory and drops silently after that, so its users bound what is unread (DESIGN section 7).
 */
struct broker;
enum rc broker_start(struct broker **out, struct err *err) MUST_CHECK;
const char *broker_address(const struct broker *b); /* host:port, lives as long as b */
enum rc broker_topic(struct broker *b, const char *topic, int partitions, struct err *err) MUST_CHECK;
void broker_stop(struct broker *b);

/* How to reach Kafka: the configuration, and the embedded broker where there is one (else NULL). */
struct kafka {
	const struct conf *conf;
	struct broker *broker;
	int shares; /* how many producers, sinks and lanes divide this process's memory; 0: one */
};

/* Bytes of `memory` for one of them: what the process takes before any row comes is not theirs. */
int64_t kafka_share(const struct kafka *k);

/* What `memory` has to be for n of them, so that it is kept: of each partition a record batch or two is fetched at once. */
int64_t kafka_memory_min(int n);

/* Bytes of records that a producer has on their way at most, before it reads no further. */
int64_t kafka_ahead(const struct kafka *k);

/* A producer: idempotent, acks=all, bounded queue, delivery events on its main queue. */
enum rc kafka_producer(const struct kafka *k, rd_kafka_t **out, struct err *err) MUST_CHECK;

/* The same, for Kafka transactions under that id. */
enum rc kafka_transactional(const struct kafka *k, const char *id, rd_kafka_t **out, struct err *err) MUST_CHECK;

/* A producer for what is soon out of date: nothing is kept for long or sent twice, and its queue is short. Delivery is not told. */
enum rc kafka_teller(const struct kafka *k, rd_kafka_t **out, struct err *err) MUST_CHECK;

/* A consumer for partitions that the caller starts itself; queue_kbytes bounds what is fetched ahead per partition. */
enum rc kafka_consumer(const struct kafka *k, int queue_kbytes, rd_kafka_t **out, struct err *err) MUST_CHECK;

/* A member of a consumer group, for the group's assignments only: rebalances arrive as events on its consumer queue. */
enum rc kafka_member(const struct kafka *k, const char *group, rd_kafka_t **out, struct err *err) MUST_CHECK;

/*
 * End a handle. In place of rd_kafka_destroy for those that read: when a topic that is being read was deleted,
 * that call of librdkafka 2.0.2 does not come back. Such a handle is left behind, with a warning, after some seconds.
 */
void kafka_close(rd_kafka_t *rk);

/* librdkafka's code as a verdict with the text "what: reason". */
enum rc kafka_fail(rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Wait until a broker answers, some seconds; after the first ones of silence a warning says so. RETRY: none did, or the program is to
 * end. So that nothing is made elsewhere for a Kafka that is not there.
 */
enum rc kafka_reach(const struct kafka *k, rd_kafka_t *rk, struct err *err) MUST_CHECK;

/* Number of partitions of a topic; 0 when it does not exist. */
enum rc kafka_partitions(rd_kafka_t *rk, const char *topic, int *n, struct err *err) MUST_CHECK;

/*
 * What a new topic keeps: as the broker is set up, the newest record of each key, everything; or, where each key is written anew
 * all the time, the newest of each that is not a week old, in small segments, so that reading all of it stays quick; or, where nobody
 * reads what is not of this moment, some minutes.
 */
enum topic_keep { TOPIC_STANDARD = 0, TOPIC_COMPACT, TOPIC_FOREVER, TOPIC_NEWS, TOPIC_BRIEF };

/*
 * Make the topic when it is missing (one of TOPIC_STANDARD takes what message.max.bytes of kafka.options lets be sent); a topic that exists
 * is left as it is. *n: its partitions.
 */
enum rc kafka_topic_ensure(const struct kafka *k, rd_kafka_t *rk, const char *topic, int partitions, enum topic_keep keep,
    int *n, struct err *err) MUST_CHECK;

/* Of a topic whose one order is what counts, and which is made anew where it is missing. FATAL/EXIT_CONFIG: it has several partitions. */
enum rc kafka_one_partition(const char *topic, int n, struct err *err) MUST_CHECK;

/* Offsets [low, high) that one partition holds now. */
enum rc kafka_offsets(rd_kafka_t *rk, const char *topic, int partition, int64_t *low, int64_t *high, struct err *err) MUST_CHECK;

/* The largest record that our producers send: message.max.bytes of kafka.options, else librdkafka's default. */
int64_t kafka_message_max(const struct conf *conf);

/* An eventfd that becomes readable when q has something; the caller reads and closes it. */
int kafka_queue_fd(rd_kafka_queue_t *q);

/* A second queue that makes the same eventfd readable. */
void kafka_queue_wake(rd_kafka_queue_t *q, int fd);

#endif
