/*
 * consumer.h - the loop that takes a pipeline's transactions from Kafka to one sink.
 */
#ifndef CONSUMER_CONSUMER_H
#define CONSUMER_CONSUMER_H

#include "consumer/sink.h"
#include "core/flow.h"
#include "core/gauge.h"
#include "core/kafka.h"

/*
 * Run until a stop is asked for (OK) or an operator must act (FATAL). Passing trouble is retried
 * with back-off and logged. flow and gauge may be NULL; number: this sink's place in it. With a flow, a stop
 * waits until the producer is done and everything that it published is applied.
 */
enum rc consumer_run(const struct kafka *k, const struct conf_sink *sink, struct flow *flow, int number,
    struct gauge *gauge, struct err *err) MUST_CHECK;

/* The loop of one lane (consumer/lane.h), or of the whole sink (lane NULL). */
struct lane;
enum rc consumer_loop(const struct kafka *k, const struct conf_sink *sink, struct flow *flow,
    int number, struct gauge *gauge, struct lane *lane, struct err *err) MUST_CHECK;

#endif
