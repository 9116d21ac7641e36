/*
 * progress_log.h - what the producers of a pipeline have said of themselves in Kafka: progress.h, read through.
 */
#ifndef SCHEMAS_PROGRESS_LOG_H
#define SCHEMAS_PROGRESS_LOG_H

#include "core/kafka.h"

/*
 * The last transaction that a producer of this pipeline says is published: read back from the spine; 0: none says so, or there is no
 * such topic. rk: a consumer that does not read partition 0 of it. A record that is none is passed over.
 */
enum rc progress_log_published(rd_kafka_t *rk, const char *topic, uint64_t *seq, struct err *err) MUST_CHECK;

#endif
