/*
 * history.h - the log of a pipeline, read from a position on: whole source transactions in the order of their commits.
 *
 * As a sink reads it: the spine says what counts, its rows are taken from their partitions and put in the order of the source. What
 * no GROUP refers to, and transactions that were published in part and never ended, are passed over. Nothing is remembered anywhere.
 */
#ifndef CONSUMER_HISTORY_H
#define CONSUMER_HISTORY_H

#include "core/kafka.h"
#include "schemas/codec.h"
#include "schemas/header.h"

/* One change; all of it is good until the next call. */
struct history_entry {
	struct tl tl;
	struct envelope env;
	const struct table *tbl;
	const struct value *key;
	int32_t partition;
	int64_t offset;
};

struct history;

/* As `from`: only what comes from now on. */
#define HISTORY_END UINT64_MAX

/*
 * Begin at the first transaction whose commit LSN is at least `from`; 0: at the first that Kafka has all rows of. topic: only rows of
 * this topic, NULL: of all. FATAL/EXIT_UNREACHABLE: the pipeline has no log yet.
 */
enum rc history_open(const struct kafka *k, uint64_t from, const char *topic, struct history **out,
    struct err *err) MUST_CHECK;
void history_close(struct history *h);

/*
 * The next change. AGAIN: none within some 100 ms. REJECT: this record is bad, the next call goes on behind it. FATAL/EXIT_REFUSED: rows
 * that were asked for are no longer in Kafka.
 */
enum rc history_next(struct history *h, struct history_entry *out, struct err *err) MUST_CHECK;

/* Everything that the log held when it was opened was given out. */
bool history_current(const struct history *h);

#endif
