/*
 * producer.h - the loop that takes a source's changes to Kafka.
 */
#ifndef PRODUCER_PRODUCER_H
#define PRODUCER_PRODUCER_H

#include "core/flow.h"
#include "core/gauge.h"
#include "core/kafka.h"

/* Where sinks of the embedded broker stand at start: its spine is empty each time, their markers are not. Zero elsewhere. */
struct producer_begin {
	uint64_t gen, no, seq, lsn;
};

/*
 * Run until a stop is asked for (OK) or an operator must act (FATAL). Passing trouble is retried with back-off and logged.
 * flow and gauge may be NULL. adopt: take a slot that exists although the spine is empty.
 */
enum rc producer_run(const struct kafka *k, struct flow *flow, const struct producer_begin *begin, bool adopt, struct gauge *gauge,
    struct err *err) MUST_CHECK;

#endif
