/*
 * copied.h - what the records of copies (copy.h) in the control topic, which is kept for ever, say of the spine: how far it had come.
 */
#ifndef PRODUCER_COPIED_H
#define PRODUCER_COPIED_H

#include "core/kafka.h"

/* The last group that was read back from the spine when a copy was done; 0: none says so. Numbers of groups never come again. */
enum rc copied_upto(const struct kafka *k, uint64_t *no, struct err *err) MUST_CHECK;

#endif
