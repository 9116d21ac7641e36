/*
 * fetch.h - records pulled from one partition at a time.
 *
 * librdkafka fetches ahead of each started partition into a queue with a byte limit; a partition that nobody asks for fills
 * its queue and stops by itself. So back-pressure and "pause what is ahead" need no code.
 */
#ifndef CONSUMER_FETCH_H
#define CONSUMER_FETCH_H

#include "consumer/sink.h"
#include "core/kafka.h"

struct fetch;

enum { FETCH_AHEAD = 64 };

/* One partition that was started. */
struct fetch_part {
	const char *topic;
	int32_t partition;
	int64_t at;              /* offset of the next record; -1: not started */
	rd_kafka_topic_t *rkt;
	bool own;                /* it is the topic of logical messages: no table */
	int64_t need;            /* first offset that a group refers to and that was not read; -1: not known */
	int64_t known;           /* position that the sink has, or is being sent; -1: none */
	int64_t empty_ms;        /* since when nothing came; ahead of the clock: the broker was asked; 0: something came */
	struct fetch_part *next; /* of those that were asked for since fetch_moved */
	bool listed, unwritten;  /* unwritten: known, but not under this sink's name */
	/* Taken from librdkafka at once, which does the same for one as for many. */
	rd_kafka_message_t *ahead[FETCH_AHEAD];
	int nahead, ahead_at;
	size_t last_bytes;       /* of the record before */
};

/*
 * batch_bytes, or a fourteenth of the memory: two batches are there at once, of each what was fetched, its values, its parameters and what
 * the connection has not sent yet.
 */
size_t fetch_batch_bytes(const struct kafka *k, const struct conf_sink *conf);

enum rc fetch_open(const struct kafka *k, struct fetch **out, struct err *err) MUST_CHECK;
void fetch_close(struct fetch *f);
rd_kafka_t *fetch_handle(struct fetch *f);

/*
 * Where the sink stands in a partition. written: the sink has it under this name; otherwise fetch_moved tells of it. And: the sink
 * stands in all others at their beginning, as no group up to its marker referred to them.
 */
void fetch_know(struct fetch *f, const struct position *p, bool written);
void fetch_know_others(struct fetch *f);

/* What is before the offset in this partition is none of ours. Where the sink stands already, it goes on there. */
void fetch_begins(struct fetch *f, const struct position *p);

/* The partition, started at offset `from` when this is the first time; it lives as long as f. */
enum rc fetch_part(struct fetch *f, struct slice topic, int32_t partition, int64_t from,
    struct fetch_part **out, struct err *err) MUST_CHECK;

/*
 * The same for a group that refers to rows from offset `first` on: started where the sink stands, so that what lies between is read too,
 * or at `first` when that is not known. What retention cut away in between is passed over: no group refers to it.
 */
enum rc fetch_rows(struct fetch *f, struct slice topic, int32_t partition, int64_t first,
    struct fetch_part **out, struct err *err) MUST_CHECK;

/* Let go of a partition that is somebody else's. */
void fetch_stop(struct fetch_part *p);

/* The next of those whose position is not the one that the sink knows; NULL: no more. From now on it counts as known. */
const struct fetch_part *fetch_moved(struct fetch *f);

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
