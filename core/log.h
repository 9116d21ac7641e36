/*
 * log.h - one line per event to stderr. On a terminal short text, elsewhere logfmt or JSON.
 *
 * error = someone must act, warn = we act, info = a state changed, debug = per batch, never per row.
 * Safe from several threads: a line is one write(2).
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/base.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_AUTO = 0, LOG_TEXT, LOG_LOGFMT, LOG_JSON }; /* AUTO: text on a terminal, else logfmt */

/* Set once, before any other thread starts. */
void log_setup(enum log_level level, enum log_format format);
bool log_on(enum log_level level);

/* "error" | "warn" | "info" | "debug", and "auto" | "text" | "logfmt" | "json"; false, and nothing set, for other names. */
bool log_level_parse(const char *name, enum log_level *level);
bool log_format_parse(const char *name, enum log_format *format);

/*
 * One line. `at` is the stage ("producer", "sink reports"); `pairs` is a printf format of logfmt
 * pairs ("slot=%s lag_bytes=%llu"), or ""; `msg` is a sentence. Quoting of the values is done here: the
 * format is split into pairs before it is filled in, so an argument may hold spaces and quotes; a space in
 * the format itself ends a pair unless it stands in double quotes ("took=\"%d ms\"").
 */
void log_line(enum log_level level, const char *at, const char *msg, const char *pairs, ...) PRINTF_LIKE(4, 5);

/* "" for no pairs is part of the contract. */
#pragma GCC diagnostic ignored "-Wformat-zero-length"

#define log_error(at, msg, ...) log_line(LOG_ERROR, at, msg, __VA_ARGS__)
#define log_warn(at, msg, ...)  log_line(LOG_WARN, at, msg, __VA_ARGS__)
#define log_info(at, msg, ...)  log_line(LOG_INFO, at, msg, __VA_ARGS__)
#define log_debug(at, msg, ...) log_line(LOG_DEBUG, at, msg, __VA_ARGS__)

#endif
