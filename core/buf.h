/*
 * buf.h - bytes that grow at the end, up to a mandatory limit. Failure sticks: check `failed` once.
 *
 * Used for Avro bodies, headers, SQL text, arrays of parameters. buf_reset keeps the memory.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/base.h"

struct buf {
	char *p;
	size_t n, cap;
	size_t max;  /* bytes; 0 means BUF_MAX_DEFAULT */
	bool failed; /* something did not fit: what is there is a prefix and must not be used */
};

enum { BUF_MAX_DEFAULT = 1 << 30 };

/* Room for n more bytes at p + n; false (and failed) when that passes max. Dies when out of memory. */
bool buf_reserve(struct buf *b, size_t n);

void buf_reset(struct buf *b);
void buf_free(struct buf *b);
void buf_bytes(struct buf *b, const void *p, size_t n);
void buf_slice(struct buf *b, struct slice s);

/* In quotes, a backslash before quotes and backslashes: items of PostgreSQL's arrays and of hstore. */
void buf_quoted(struct buf *b, struct slice s);

void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_byte(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);

/* Unsigned LEB128: seven bits a byte, low ones first. At most 10 bytes. */
void buf_uvarint(struct buf *b, uint64_t v);

/* Avro's int and long: zigzag, then as above (Avro specification, "Binary encoding"). */
void buf_long(struct buf *b, int64_t v);

/* Avro's bytes and string: length as a long, then the bytes. */
void buf_avro_bytes(struct buf *b, struct slice s);

/* A NUL behind the content, not counted; the content as text. */
const char *buf_cstr(struct buf *b);

static inline struct slice
buf_view(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

#endif
