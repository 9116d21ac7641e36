/*
 * compound.h - values that travel as a structure of Debezium's own: points and other shapes, PostGIS, pgvector, hstore as a map.
 *
 * Each is a line of one table (compound.c): its Connect name, its schema, and the way between the text that PostgreSQL prints and the bytes
 * of that schema. In a value (V_AVRO) stand those bytes; a writer of the same name with another layout stays W_OTHER. What a text says that
 * the structure does not (a polygon that ends where it began) is found by going there and back, and stands in value.exact.
 */
#ifndef SCHEMAS_COMPOUND_H
#define SCHEMAS_COMPOUND_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/cursor.h"
#include "core/table.h"
#include "core/value.h"
#include "schemas/pgtypes.h"

struct compound {
	const char *name;   /* connect.name; NULL: none */
	const char *layout; /* of its Avro schema, see below */
	const char *schema; /* as Debezium 3.7 registers it; NULL: an older layout, which is only read */
	const char *create; /* a column's type at PostgreSQL where the source does not say it */
	struct slice zero;  /* what stands for a value that is not known where it must not be null: as Debezium's */
	struct slice absent; /* Debezium's placeholder for an unchanged TOAST value; empty: it has none */
	/* PostgreSQL's text -> Avro, appended; oid tells types apart that share a structure. False: it has no such form. */
	bool (*read)(struct slice text, uint32_t oid, struct buf *out);
	/* Avro -> PostgreSQL's text, appended; false: it has none. Reads from outside, so c may turn bad. */
	bool (*text)(struct cursor *c, struct buf *out);
};

/*
 * The layout of a schema in a few letters: b bytes, d double, f float, i int, l long, o boolean, s string, ?X ["null", X],
 * [X] array, <X> map, {name:X name:Y} record. That of a Connect name; NULL: it is none of these, or another layout.
 */
const struct compound *compound_find(const char *name, const char *layout);

/* What a type travels as, where it is not text; NULL: not as one of these. map: hstore too. */
const struct compound *compound_of(const struct pg_type *t, bool map);

/* A column's text as a value; what has no place in the structure is null with the text in exact. False: exact would mean another thing. */
bool compound_read(const struct compound *k, uint32_t oid, struct slice text, struct arena *a, struct value *out) MUST_CHECK;

/* The text of a value's bytes, appended. False: malformed, or another's that has no text here. */
bool compound_text(const struct compound *k, struct slice avro, struct buf *out) MUST_CHECK;

/* Pass over one; c->bad: malformed. */
void compound_skip(const struct compound *k, struct cursor *c);

#endif
