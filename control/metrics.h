/*
 * metrics.h - progress as Prometheus text (exposition format 0.0.4). Pure.
 */
#ifndef CONTROL_METRICS_H
#define CONTROL_METRICS_H

#include "schemas/progress.h"

/* The numbers of n stages of one pipeline, appended; what is not known is left out. */
void metrics_put(struct buf *out, const char *pipeline, const struct progress *p, int n);

#endif
