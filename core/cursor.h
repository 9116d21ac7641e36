/*
 * cursor.h - bytes read front to back. The first shortfall sticks: reads after it give 0 or an empty
 * slice and move nothing, so a parser checks `bad` once, at its end.
 */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include "core/base.h"

struct cursor {
	const uint8_t *p, *end;
	bool bad; /* short, or a malformed number */
};

static inline struct cursor
cursor_of(struct slice s)
{
	const uint8_t *p = (const uint8_t *)(s.p ? s.p : "");

	return (struct cursor){ p, p + s.n, false };
}

static inline size_t
cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

/* The next n bytes, or NULL when there are fewer (then bad). */
static inline const uint8_t *
cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > cursor_left(c)) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static inline struct slice
cursor_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);

	return p ? (struct slice){ (const char *)p, n } : (struct slice){ "", 0 };
}

static inline uint8_t
cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t
cursor_be16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? be16(p) : 0;
}

static inline uint32_t
cursor_be32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? be32(p) : 0;
}

static inline uint64_t
cursor_be64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? be64(p) : 0;
}

/* Text up to and without a NUL, which is passed over. */
static inline struct slice
cursor_cstr(struct cursor *c)
{
	const uint8_t *z = c->bad ? NULL : memchr(c->p, 0, cursor_left(c));
	struct slice s = { "", 0 };

	if (!z) {
		c->bad = true;
		return s;
	}
	s = (struct slice){ (const char *)c->p, (size_t)(z - c->p) };
	c->p = z + 1;
	return s;
}

/* Unsigned LEB128, at most 10 bytes and 64 bits. */
static inline uint64_t
cursor_uvarint(struct cursor *c)
{
	uint64_t v = 0;

	if (c->bad)
		return 0;
	if (c->p < c->end && *c->p < 0x80)
		return *c->p++;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b;

		if (c->p == c->end)
			break;
		b = *c->p++;
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	c->bad = true;
	return 0;
}

/* Avro's int and long: zigzag. */
static inline int64_t
cursor_long(struct cursor *c)
{
	uint64_t v = cursor_uvarint(c);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Avro's float and double: IEEE 754, little-endian, as the machines have it that this is built for. */
static inline float
cursor_float(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, sizeof(float));
	float f = 0;

	if (p)
		memcpy(&f, p, sizeof f);
	return f;
}

static inline double
cursor_double(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, sizeof(double));
	double d = 0;

	if (p)
		memcpy(&d, p, sizeof d);
	return d;
}

/* Avro's bytes and string; the length is compared with what is left before anything else. */
static inline struct slice
cursor_avro_bytes(struct cursor *c)
{
	int64_t n = cursor_long(c);

	if (n < 0 || (uint64_t)n > cursor_left(c)) {
		c->bad = true;
		return (struct slice){ "", 0 };
	}
	return cursor_bytes(c, (size_t)n);
}

#endif
