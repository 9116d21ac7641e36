/*
 * schema.h - a table version as Avro schema text, and back.
 *
 * Ours is Debezium's (3.6) envelope to the letter: schemas/README.md. What comes back may be any of
 * Debezium's three envelope layouts, or a plain record (a flattened topic). JSON by jansson; avro-c judges names and structure.
 */
#ifndef SCHEMAS_SCHEMA_H
#define SCHEMAS_SCHEMA_H

#include "core/arena.h"
#include "core/err.h"
#include "core/table.h"

/* A name that Avro takes ([A-Za-z_][A-Za-z0-9_]*), as Debezium's schema.name.adjustment.mode=avro does it: bad characters become _, a
 * digit in front gets one. ns: dots are kept and each part adjusted. In a. */
struct slice schema_adjust(struct slice name, bool ns, struct arena *a);

/* Index of the column whose field has that name, or -1. a: scratch. */
int schema_field_column(const struct table *tbl, struct slice field, struct arena *a);

/* Namespace of the table's records: adjusted "<prefix>.<schema>.<table>". In a. */
struct slice schema_namespace(struct slice prefix, const struct table *tbl, struct arena *a);

/* The key's schema (record Key), compact JSON in a; empty slice when the table has no key. */
struct slice schema_key(struct slice prefix, const struct table *tbl, struct arena *a);

/*
 * The envelope's schema, compact JSON in a. REJECT: two columns adjust to one name, a column is W_OTHER, its default is
 * not JSON of its type, or a name in its type is not UTF-8. Ask it before schema_key, which cannot refuse.
 */
enum rc schema_value(struct slice prefix, const struct table *tbl, struct arena *a, struct slice *json, struct err *err) MUST_CHECK;

/* The schema of one column's values, as it stands in the key's and the value's. In a. */
struct slice schema_column(const struct column *col, struct arena *a);

/* Key and value schema of logical messages (topic <prefix>.message). */
struct slice schema_message_key(struct arena *a);
struct slice schema_message_value(struct arena *a);

/*
 * The table that a writer's schemas describe; all in a. key may be empty: then nkeys is 0. schema and table
 * name come from the envelope's namespace (the last two of its parts) and are only a hint: the source block names them exactly.
 * Decimals have their Connect names as semantic name; Connect's and Avro's own dates and times get Debezium's, which mean the same.
 * REJECT: not JSON, not a row, over the limits (64 levels, 10,000 fields), or a field of the key is no column of the value.
 */
enum rc schema_table(struct slice key, struct slice value, struct arena *a, struct table **out, struct err *err) MUST_CHECK;

/* CRC-64-AVRO (Avro specification, "Schema Fingerprints") of any bytes. */
uint64_t schema_crc64(struct slice bytes);

/*
 * The number that stands for a schema in single-object framing: CRC-64-AVRO over the schema with sorted keys and no white space. Not over
 * Avro's parsing canonical form: that drops scale, logicalType and connect.name, so a decimal(10,2) and a decimal(10,3) would share
 * one number. REJECT: not JSON.
 */
enum rc schema_fingerprint(struct slice json, uint64_t *fp, struct err *err) MUST_CHECK;

#endif
