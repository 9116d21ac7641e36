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
#define MINUS_INFINITY_ISO "-290308-12-21T19:59:27.6Z" /* the latter, which is before PostgreSQL's first year */

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

/* hstore's text -> JSON as Debezium writes it; the text itself in exact; false: malformed. */
bool pgtype_read_hstore(struct slice s, struct arena *a, struct value *out);

#endif
