/*
 * spine_log.h - where the spine in Kafka stands: reads its tail, however long the topic is.
 */
#ifndef SCHEMAS_SPINE_LOG_H
#define SCHEMAS_SPINE_LOG_H

#include "core/kafka.h"
#include "schemas/spine.h"

/*
 * The state after the last record, and the offset behind it. rk: a consumer whose partition 0 of topic is not
 * started. An empty topic gives the zero state. FATAL/EXIT_REFUSED: the topic has lost its beginning and what is left does not tell.
 */
enum rc spine_log_state(rd_kafka_t *rk, const char *topic, struct spine_state *s, int64_t *next, struct err *err) MUST_CHECK;

/* The same, and the offset and XXH3 of the last record (-1: there is none): where a sink begins that takes nothing of what was. */
struct spine_end {
	struct spine_state state;
	int64_t offset;
	uint64_t hash;
};
enum rc spine_log_end(rd_kafka_t *rk, const char *topic, struct spine_end *out, struct err *err) MUST_CHECK;

#endif
