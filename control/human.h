/*
 * human.h - sizes and times as people read them. Machines get exact numbers (--json).
 */
#ifndef CONTROL_HUMAN_H
#define CONTROL_HUMAN_H

#include "core/base.h"

enum { HUMAN_MAX = 32 };

/* "0 B", "1.1 MB", "64 GB": 1024 times the one before. */
const char *human_bytes(char buf[static HUMAN_MAX], uint64_t bytes);

/* "0.6 ms", "0.3 s", "41 min", "2d 04:11". */
const char *human_span(char buf[static HUMAN_MAX], int64_t us);

/* ISO 8601 of microseconds since 1970: "2026-01-31T08:00:00.123456Z". */
const char *human_time(char buf[static HUMAN_MAX], int64_t us);

/* "1 table", "2 tables". */
const char *human_count(char buf[static HUMAN_MAX], int64_t n, const char *what);

#endif
