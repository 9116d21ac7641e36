/*
 * dlq.h - the inside of `towline dlq`: dlq.c does, dlq_print.c shows.
 */
#ifndef CONTROL_DLQ_H
#define CONTROL_DLQ_H

#include "consumer/readback.h"
#include "consumer/retry.h"

/* A parked change and the sink that it is parked at. */
struct dlq_entry {
	const char *sink;
	const struct parked_entry *e;
};

/* One line each, under a head line. None: a sentence. */
void dlq_list_text(struct buf *out, const struct dlq_entry *list, int n);

/* An array of objects. */
void dlq_list_json(struct buf *out, const struct dlq_entry *list, int n);

/* Everything that is known. c NULL: its record could not be had, why says why. */
void dlq_show_text(
    struct buf *out, const struct dlq_entry *d, const struct readback_change *c, const char *why);
void dlq_show_json(
    struct buf *out, const struct dlq_entry *d, const struct readback_change *c, const char *why);

void dlq_retry_text(struct buf *out, const char *sink, const struct retry_report *r);
void dlq_retry_json(struct buf *out, const char *sink, const struct retry_report *r);

#endif
