/*
 * foreign.h - a sink that is fed from the topics of a Debezium instead of ours.
 *
 *   topics by pattern -> records -> rows -> batch -> sink transaction with its marker and the positions of all partitions
 *
 * There is no spine: how far each partition is applied stands in the sink (struct position), written in the transaction that writes
 * the rows, so a restart neither repeats nor loses anything. The marker counts those transactions; its compare-and-set keeps
 * a second process away. `apply: key` keeps the order of each key; `apply: transaction` (foreign_txn.c) applies whole source transactions
 * in commit order, by the metadata that Debezium writes with provide.transaction.metadata=true.
 */
#ifndef CONSUMER_FOREIGN_H
#define CONSUMER_FOREIGN_H

#include "consumer/decode.h"
#include "consumer/sink.h"
#include "core/flow.h"
#include "core/gauge.h"
#include "core/kafka.h"

/* As consumer_run: until a stop is asked for (OK) or an operator must act (FATAL). */
enum rc foreign_run(const struct kafka *k, const struct conf_sink *sink, struct flow *flow, int number,
    struct gauge *gauge, struct err *err) MUST_CHECK;

/*
 * A record of theirs again, for `towline dlq`: m as the row that it was for the sink, with values in b. *value_id: of
 * the last value of this topic, 0 at first; a deletion without a value needs it. REJECT: it is no row.
 */
enum rc foreign_again(const struct kafka *k, struct decode *d, struct batch *b, rd_kafka_message_t *m, const char *topic,
    int64_t *value_id, struct row *out, int64_t *source_us, struct err *err) MUST_CHECK;

#endif
