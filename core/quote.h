/*
 * quote.h - text from outside made fit for JSON and for logfmt. Bytes that are not UTF-8 become U+FFFD, so
 * that the output is always valid whatever the input was.
 */
#ifndef CORE_QUOTE_H
#define CORE_QUOTE_H

#include "core/buf.h"

/* A JSON string with its quotes (RFC 8259, section 7). */
void quote_json(struct buf *b, struct slice s);

/* Bare when it needs no quotes, else as quote_json. */
void quote_logfmt(struct buf *b, struct slice s);

/* The length of the UTF-8 character at the front of s, 0 when there is no valid one. */
size_t quote_utf8(struct slice s);

#endif
