/*
 * pgnumeric.h - PostgreSQL's numeric between its wire form (base 10000), Avro's decimal (two's
 *complement) and text.
 *
 * Up to 38 digits everything is done in one 128-bit integer; beyond, on the decimal digits, with
 *GMP's mpn functions for the change of base (they work on memory given to them). numeric_send's
 *layout (src/backend/utils/adt/numeric.c):
 *
 *	int16 ndigits  int16 weight  uint16 sign  uint16 dscale  ndigits * int16 digit
 *
 * value = sum of digit[i] * 10000^(weight - i); dscale: decimal digits shown behind the point.
 */
#ifndef SCHEMAS_PGNUMERIC_H
#define SCHEMAS_PGNUMERIC_H

#include "core/arena.h"
#include "core/buf.h"

enum pg_numeric_class { NUM_FINITE = 0, NUM_NAN, NUM_INFINITE };

struct pg_numeric {
	enum pg_numeric_class class;
	bool neg;
	int32_t scale; /* decimal digits behind the point, 0 to 16383 */
	unsigned __int128
	    v; /* magnitude of the unscaled number, below 10^38; when digits is empty */
	struct slice digits; /* more than 38 decimal digits in ASCII, the first not 0 */
};

/* Each returns false when the input is malformed or beyond PostgreSQL's limits (131072 digits
 * before the point). */
bool pgnumeric_recv(struct slice data, struct arena *a, struct pg_numeric *out);
bool pgnumeric_parse(struct slice text, struct arena *a, struct pg_numeric *out);
bool pgnumeric_from_bytes(
    struct slice twos, int32_t scale, struct arena *a, struct pg_numeric *out);
void pgnumeric_from_int(int64_t v, struct pg_numeric *out);

/* Same value with another scale; false: digits other than 0 were cut off. */
bool pgnumeric_rescale(struct pg_numeric *n, int32_t scale, struct arena *a);

/* Drop the zeros at the end of the fraction. */
void pgnumeric_strip(struct pg_numeric *n);

/* The unscaled number in the shortest big-endian two's complement, as Java's
 * BigInteger.toByteArray; in a. */
struct slice pgnumeric_bytes(const struct pg_numeric *n, struct arena *a);

/* As PostgreSQL prints it; in a, or appended. */
struct slice pgnumeric_text(const struct pg_numeric *n, struct arena *a);
void pgnumeric_put(const struct pg_numeric *n, struct buf *out);

/* numeric_recv's form, appended; false: beyond its limits. */
bool pgnumeric_send(const struct pg_numeric *n, struct buf *out);

#endif
