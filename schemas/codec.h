/*
 * codec.h - rows and envelopes as Avro binary, by an op list compiled once per schema.
 *
 * Two halves. The writer knows its own layout (schemas/schema.h) and is compiled from the table. The reader
 * is compiled from any writer's schema JSON: it finds before, after, op, source by name, converts each column into a
 * struct value by its wire type, and passes over what it does not know, with every length checked against the bytes left.
 * Zero copy: values point into the message.
 */
#ifndef SCHEMAS_CODEC_H
#define SCHEMAS_CODEC_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/event.h"

/* What the envelope says besides the rows. Slices may be empty. */
struct envelope {
	char op;                          /* enum op; 0: the schema has none (a flattened row) */
	const struct value *before, *after; /* tbl->ncols each; NULL: null */
	struct slice version, connector, name, db, schema, table; /* source block */
	struct slice snapshot;            /* "false", "true", "first", "last", ...; written as "false" when empty */
	int64_t source_us;                /* commit time; snapshot: time of reading */
	uint64_t last_commit_lsn;         /* for `sequence`; 0: null */
	uint64_t lsn;                     /* 0: null */
	uint32_t xid;                     /* 0: null */
	struct slice origin;              /* empty: null */
	uint64_t origin_lsn;
	struct slice transaction_id;      /* empty: null */
	int64_t total_order, collection_order; /* of it, from 1; 0: null */
	int64_t handled_us;               /* ts_ms, ts_us, ts_ns; 0: null */
	struct slice prefix, content;     /* OP_MESSAGE */
};

/* ---- writer ---- */
struct writer;

/* The op list of one table version; lives in a. tbl must outlive it. */
struct writer *writer_compile(const struct table *tbl, struct arena *a);

/* Append the key of this row. REJECT: a key column is absent or of the wrong kind. */
enum rc writer_key(const struct writer *w, const struct value *row, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Append the envelope. An absent column (unchanged TOAST) is written as Debezium does: its
 * placeholder for strings and bytes, else null, else the type's zero; in a BEFORE_KEY old row
 * likewise null or zero. The unchanged bitmap travels in the `tl` header. REJECT: a value does not
 * fit its column's wire type (NULL in a NOT NULL column included).
 */
enum rc writer_value(const struct writer *w, const struct envelope *env, struct buf *out, struct err *err) MUST_CHECK;

/* Logical messages (topic <prefix>.message): key and value. */
void writer_message_key(struct slice prefix, struct buf *out);
void writer_message_value(const struct envelope *env, struct buf *out);

/* ---- reader ---- */
struct reader;

/*
 * Compile a writer's schemas (JSON; key may be empty). Everything in a. REJECT: the text is not a schema, or is deeper or larger than
 * the limits (64 levels, 10,000 fields).
 */
enum rc reader_compile(struct slice key_json, struct slice value_json, struct arena *a, struct reader **out, struct err *err) MUST_CHECK;

const struct table *reader_table(const struct reader *r);

/* The value is the row itself: there is no envelope. */
bool reader_flat(const struct reader *r);

/* Decode a value body (without its frame). env->before and after are arrays in a. REJECT: malformed, with the place. */
enum rc reader_value(const struct reader *r, struct slice body, struct arena *a, struct envelope *env, struct err *err) MUST_CHECK;

/*
 * In a row of a writer that has no `tl` header: what is Debezium's placeholder for an unchanged TOAST column becomes V_ABSENT. Not for
 * rows of ours: there the header says what is absent, and a text that happens to equal the placeholder is a text.
 */
void reader_placeholders(const struct reader *r, struct value *row);

/* Decode a key body into row[tbl->ncols] (others V_ABSENT), in a. */
enum rc reader_key(const struct reader *r, struct slice body, struct arena *a, struct value **row, struct err *err) MUST_CHECK;

/* A V_AVRO array value of wire type w as PostgreSQL array text ("{1,NULL,\"a b\"}"), appended; used for sinks. */
enum rc reader_array_text(const struct wire_type *w, const struct value *v, struct buf *out, struct err *err) MUST_CHECK;

#endif
