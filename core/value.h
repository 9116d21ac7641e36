/*
 * value.h - one column's value between a source's wire form and Avro, and between Avro and a sink.
 *
 * A value is what Avro carries for the column's wire type (core/table.h), so its meaning is Debezium's:
 * a `date` is V_INT days since 1970, a `timestamptz` a V_STRING in ISO 8601, a `numeric(p,s)` V_BYTES
 * of the unscaled number in big-endian two's complement (schemas/README.md, "Types").
 * Slices point into the message that the value came from, or into an arena of the caller's.
 */
#ifndef CORE_VALUE_H
#define CORE_VALUE_H

#include "core/base.h"

enum value_kind {
	V_ABSENT = 0, /* not known: an unchanged TOAST column, or a column that the writer does not have */
	V_NULL,
	V_BOOL,    /* i: 0 or 1 */
	V_INT,     /* i; wire int (16 or 32 bit) and long */
	V_FLOAT,   /* d; exactly a float */
	V_DOUBLE,  /* d */
	V_BYTES,   /* s */
	V_STRING,  /* s, UTF-8 */
	V_DECIMAL, /* s and scale: VariableScaleDecimal */
	V_AVRO,    /* s: the whole value in Avro binary, checked against its schema (arrays, records) */
};

struct value {
	uint8_t kind; /* enum value_kind */
	int32_t scale;
	union {
		int64_t i;
		double d;
		struct slice s;
	};
	struct slice exact; /* the source's own text of it, where the wire form above loses something; else empty */
};

static inline struct value
value_null(void)
{
	return (struct value){ .kind = V_NULL };
}

/* Is it NULL, or not known at all? With an exact text it is a value that the wire has no form for: a numeric NaN. */
static inline bool
value_is_null(const struct value *v)
{
	return v->kind <= V_NULL && !v->exact.n;
}

static inline struct value
value_int(int64_t i)
{
	return (struct value){ .kind = V_INT, .i = i };
}

static inline struct value
value_string(struct slice s)
{
	return (struct value){ .kind = V_STRING, .s = s };
}

/* Same kind and content, NaN equal to itself. */
bool value_eq(const struct value *a, const struct value *b);

#endif
