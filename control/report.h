/*
 * report.h - the thread of a process that says how its stages are: into the progress topic, and over HTTP where that is on.
 *
 * It looks at the gauges of the stages ten times a second and says everything once a second, and what changed its state at once.
 * When Kafka is away nothing is kept for later. It never holds a stage up, and no stage waits for it.
 */
#ifndef CONTROL_REPORT_H
#define CONTROL_REPORT_H

#include "control/board.h"
#include "control/resync.h"
#include "core/gauge.h"
#include "core/kafka.h"
#include "schemas/progress.h"

struct report;

/* Begin. k outlives it. FATAL/EXIT_CONFIG: the address for HTTP cannot be had. */
enum rc report_start(const struct kafka *k, struct report **out, struct err *err) MUST_CHECK;

/* A stage: the producer (sink NULL), or a sink's. The gauge outlives the report, or is taken out first. */
void report_add(struct report *r, const struct conf_sink *sink, struct gauge *gauge);

/* Say the last of it, and no more. forget: its record goes away too, as its sink does. */
void report_remove(struct report *r, struct gauge *gauge, bool forget);

/* Say how everything ended, wait a moment until that is in Kafka, end. */
void report_stop(struct report *r);

/* A stage of this process has been at work: topics of the pipeline's own may be made. Before, nothing may be left behind by what fails. */
bool report_begun(const struct report *r);

/* Somebody will call report_resync of every sink: until then none of them says that it has all. Before the threads begin. */
void report_watched(struct report *r);

/* This process begins to make a sink anew: it is syncing from now on, also before that is read in the control topic. false: it did not. */
void report_expect_resync(struct report *r, const char *sink, bool expected);

/*
 * Where a resync of a sink stands (control/resync.h): it is syncing until that is over. True: the sink of this process has applied all of
 * the copies, which are in the spine up to there.
 */
bool report_resync(struct report *r, const char *sink, enum resync_state state, struct copy_place upto);

/* Name of the pipeline. */
const char *report_pipeline(const struct report *r);

/* All stages of this process as they are now, texts in a. */
int report_now(struct report *r, struct arena *a, struct progress **out);

#endif
