/*
 * pgtypes.h - PostgreSQL's types: how each travels in Avro, and the conversion of values both ways.
 *
 * The map is Debezium's default (schemas/README.md); a type without a mapping travels as its text with the
 * parameter __debezium.source.column.type. Binary layouts: the *_send and *_recv functions of PostgreSQL's
 * src/backend/utils/adt.
 */
#ifndef SCHEMAS_PGTYPES_H
#define SCHEMAS_PGTYPES_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/table.h"
#include "core/value.h"

enum { /* type oids that never change (pg_type.dat) */
	PG_BOOL = 16, PG_BYTEA = 17, PG_CHAR = 18, PG_NAME = 19, PG_INT8 = 20, PG_INT2 = 21, PG_INT4 = 23,
	PG_TEXT = 25, PG_OID = 26, PG_JSON = 114, PG_XML = 142, PG_FLOAT4 = 700, PG_FLOAT8 = 701, PG_MONEY = 790,
	PG_BPCHAR = 1042, PG_VARCHAR = 1043, PG_DATE = 1082, PG_TIME = 1083, PG_TIMESTAMP = 1114,
	PG_TIMESTAMPTZ = 1184, PG_INTERVAL = 1186, PG_TIMETZ = 1266, PG_BIT = 1560, PG_VARBIT = 1562,
	PG_NUMERIC = 1700, PG_REGCLASS = 2205, PG_UUID = 2950, PG_JSONB = 3802,
};

/* What the catalogue says of a column's type, domains already resolved to their base. */
struct pg_type {
	uint32_t oid;           /* of the base type */
	int32_t typmod;         /* -1: none */
	char typtype;           /* pg_type.typtype: b e c r m p */
	const char *name;       /* format_type(oid, typmod): "character varying(20)" */
	const char *labels;     /* typtype e: labels in enumsortorder with commas, else NULL */
	const struct pg_type *item; /* arrays: the element type, else NULL */
};

/* How a column of this type travels. Texts inside point into a. */
struct wire_type pgtype_wire(const struct pg_type *t, struct arena *a);

/* Likewise, in the forms of those modes. */
struct wire_type pgtype_wire_as(const struct pg_type *t, const struct type_modes *m, struct arena *a);

/* The default form of a type that another mode may have changed, by the name that pgtype_create gives; NULL: it is none of these. */
const struct wire_type *pgtype_plain(const char *type, struct arena *a);

/* Bytes as the text of a mode, in a; and back, appended to out, false: not such a text. */
struct slice pgtype_encode(enum coded coded, struct slice bytes, struct arena *a);
bool pgtype_decode(enum coded coded, struct slice text, struct buf *out) MUST_CHECK;

/* True when values of this type can be taken in PostgreSQL's binary form; else the stream must be text. */
bool pgtype_binary(const struct pg_type *t);

/*
 * One column as pgoutput sent it -> value. `binary`: send format, else text (datestyle ISO, intervalstyle postgres,
 * timezone UTC, bytea hex, extra_float_digits 1+). The value's slices point into `data` or into a. REJECT: malformed.
 * What the wire form cannot hold (numeric NaN and infinities, interval, arrays of more dimensions, ...) is
 * also given in value.exact, as the text that PostgreSQL would print.
 */
enum rc pgtype_read(const struct pg_type *t, const struct wire_type *w, bool binary, struct slice data,
    struct arena *a, struct value *out, struct err *err) MUST_CHECK;

/*
 * value -> text that PostgreSQL's input function of the sink's type takes, appended to out (exact wins where present).
 * Never called for V_ABSENT, nor for V_NULL without exact (a numeric NaN is V_NULL with one).
 */
enum rc pgtype_text(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err) MUST_CHECK;

/* True when pgtype_binary_value knows how to turn wire type w into the binary form of a sink column of type oid. */
bool pgtype_can_binary(const struct wire_type *w, uint32_t oid);

/*
 * value -> the binary form (recv format, without the length) of type oid, appended to out. REJECT: value out of the type's range, or not
 * expressible in binary: the caller falls back to text. An exact text is parsed and sent where oid is that of its type.
 * Never called for V_ABSENT, nor for V_NULL without exact.
 */
enum rc pgtype_binary_value(const struct wire_type *w, uint32_t oid, const struct value *v, struct buf *out, struct err *err) MUST_CHECK;

/*
 * The column type to create at a PostgreSQL sink for a column that came with this wire type: source_type_name where known
 * (its base types only; an enum or extension type becomes text), else the nearest: "numeric(10,2)", "timestamp with time zone" ... In a.
 */
const char *pgtype_create(const struct wire_type *w, struct slice source_type_name, struct arena *a);

/* Likewise for SQLite: INTEGER, REAL, TEXT, BLOB (schemas/README.md, "SQLite"). */
const char *sqlite_create(const struct wire_type *w);

#endif
