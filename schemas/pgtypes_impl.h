/*
 * pgtypes_impl.h - what pgtypes*.c share among themselves; nobody else includes it.
 */
#ifndef SCHEMAS_PGTYPES_IMPL_H
#define SCHEMAS_PGTYPES_IMPL_H

#include "schemas/pgtypes.h"

/* Debezium's stand-ins for a timestamp's infinities (PostgresValueConverter), in microseconds since
 * 1970. */
#define INFINITY_US 9223372036825200000LL
#define MINUS_INFINITY_US (-9223372036832400000LL)

/*
 * In its ISO texts: those numbers taken as milliseconds, far outside of PostgreSQL's years. In the modes of micro- and nanoseconds 64 bits
 * saturate.
 */
#define INFINITY_ISO "+292278994-08-16T23:00:00Z"
#define MINUS_INFINITY_ISO "-292275055-05-16T23:00:00Z"

/* For a date's, in days since 1970: they overflow on the way, to days that PostgreSQL does not have. */
#define INFINITY_DAYS 2146033979
#define MINUS_INFINITY_DAYS (-2147472691)
#define INFINITY_DATE_ISO "+5877611-06-21Z"
#define MINUS_INFINITY_DATE_ISO "-5877611-06-22Z"

/* What a wire type's values mean, as its semantic name says. */
enum mean {
	MEAN_PLAIN = 0, /* what the Avro type says */
	MEAN_DATE,
	MEAN_TIME,
	MEAN_TIMESTAMP,
	MEAN_TIMESTAMPTZ,
	MEAN_TIMETZ,
	MEAN_INTERVAL,
	MEAN_BITS,
};

struct meaning {
	enum mean mean;
	int32_t per_second; /* of the integer ones: 1000, 1000000, 1000000000; 0: days, or ISO text */
};

struct meaning pgtype_meaning(const struct wire_type *w);

/* pgtype_read for the text form of any type but an array; false: malformed. Used for array elements
 * too. */
bool pgtype_read_text(const struct pg_type *t, const struct wire_type *w, struct slice s,
    struct arena *a, struct value *out);

/* "{1,NULL}" -> V_AVRO, and the text itself in exact when it says more; false: malformed. */
bool pgtype_read_array(const struct pg_type *t, const struct wire_type *w, struct slice s,
    struct arena *a, struct value *out);

struct wire_type pgtype_wire_compound(const struct compound *k);

/* Is it that type of an extension, whatever its schema and modifier? */
bool pgtype_is_of(const struct pg_type *t, const char *name);

/* A number as PostgreSQL prints it; kind V_FLOAT or V_DOUBLE. False: malformed. And back, appended. */
bool pgtype_read_real(struct slice s, uint8_t kind, struct value *out);
void pgtype_put_real(double d, bool is_float, struct buf *out);

/* The pairs of an hstore's text, one by one; texts in the arena where they had escapes. False: the last was there, or bad: malformed. */
struct pairs {
	const char *p, *end;
	struct arena *a;
	int64_t n; /* so far */
	bool bad;
};
struct pairs pgtype_pairs(struct slice text, struct arena *a);
bool pgtype_next_pair(struct pairs *p, struct slice *key, struct slice *value); /* value.p NULL: NULL */

/* hstore's text -> JSON as Debezium writes it; the text itself in exact; false: malformed. */
bool pgtype_read_hstore(struct slice s, struct arena *a, struct value *out);

#endif
