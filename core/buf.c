#include "core/buf.h"
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool
buf_reserve(struct buf *b, size_t n)
{
	size_t max = b->max ? b->max : BUF_MAX_DEFAULT, cap = b->cap ? b->cap : 256;
	char *p;

	if (b->failed || n > max - b->n) {
		b->failed = true;
		return false;
	}
	if (b->cap - b->n >= n)
		return true;
	while (cap - b->n < n)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p)
		die("out of memory: %zu bytes", cap);
	b->p = p;
	b->cap = cap;
	return true;
}

void
buf_reset(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

void
buf_bytes(struct buf *b, const void *p, size_t n)
{
	if (!n || !buf_reserve(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void
buf_slice(struct buf *b, struct slice s)
{
	buf_bytes(b, s.p, s.n);
}

void
buf_quoted(struct buf *b, struct slice s)
{
	buf_byte(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_byte(b, '\\');
		buf_byte(b, (uint8_t)s.p[i]);
	}
	buf_byte(b, '"');
}

void
buf_text(struct buf *b, const char *text)
{
	buf_bytes(b, text, strlen(text));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		die("bad format \"%s\"", fmt);
	if (!buf_reserve(b, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

void
buf_byte(struct buf *b, uint8_t v)
{
	if (buf_reserve(b, 1))
		b->p[b->n++] = (char)v;
}

void
buf_be16(struct buf *b, uint16_t v)
{
	if (!buf_reserve(b, 2))
		return;
	put_be16(b->p + b->n, v);
	b->n += 2;
}

void
buf_be32(struct buf *b, uint32_t v)
{
	if (!buf_reserve(b, 4))
		return;
	put_be32(b->p + b->n, v);
	b->n += 4;
}

void
buf_be64(struct buf *b, uint64_t v)
{
	if (!buf_reserve(b, 8))
		return;
	put_be64(b->p + b->n, v);
	b->n += 8;
}

void
buf_uvarint(struct buf *b, uint64_t v)
{
	char *p;

	if (!buf_reserve(b, 10))
		return;
	p = b->p + b->n;
	while (v >= 0x80) {
		*p++ = (char)(v | 0x80);
		v >>= 7;
	}
	*p++ = (char)v;
	b->n = (size_t)(p - b->p);
}

void
buf_long(struct buf *b, int64_t v)
{
	buf_uvarint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

void
buf_avro_bytes(struct buf *b, struct slice s)
{
	buf_long(b, (int64_t)s.n);
	buf_slice(b, s);
}

const char *
buf_cstr(struct buf *b)
{
	if (!buf_reserve(b, 1))
		return "";
	b->p[b->n] = '\0';
	return b->p;
}
