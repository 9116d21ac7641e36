/*
 * stages.h - a producer and consumers as threads of one process: for `towline run`, `producer`,
 * `consumer` and `demo`.
 *
 * A stage that an operator must look at asks the whole process to stop; the others end in order.
 */
#ifndef CONTROL_STAGES_H
#define CONTROL_STAGES_H

#include "control/report.h"
#include "core/flow.h"
#include "core/kafka.h"
#include "producer/producer.h"

struct replicas;
struct stage;
struct stages {
	struct kafka kafka;
	struct producer_begin begin;
	struct flow flow;
	struct report *report; /* says how the stages are */
	struct replicas *replicas; /* sinks that the control topic adds */
	struct stage *list;
	int n;
	bool joint; /* both sides are here and tell each other by flow */
	bool adopt; /* --adopt-slot */
};

/*
 * Prepare what the configuration names, the embedded broker included; starts nothing. conf outlives
 * s. Whatever is returned, stages_close.
 */
enum rc stages_open(
    struct stages *s, const struct conf *conf, bool adopt, struct err *err) MUST_CHECK;

/* One side alone: sink NULL is the producer. */
enum rc stages_open_one(struct stages *s, const struct conf *conf, const struct conf_sink *sink,
    bool adopt, struct err *err) MUST_CHECK;

/* Threads up, and the report's. FATAL: the address for HTTP cannot be had; then nothing was started. */
enum rc stages_start(struct stages *s, struct err *err) MUST_CHECK;

/* Wait for the end of all. The error of the first that failed. Without a start it is OK at once. */
enum rc stages_join(struct stages *s, struct err *err) MUST_CHECK;

void stages_close(struct stages *s);

#endif
