/*
 * codec_ops.h - private to schemas/codec_*.c: a schema as nodes, the op lists made of it, fast
 * varints.
 *
 * Avro's binary form (Avro specification, "Binary encoding"): int and long are zigzag varints;
 * bytes and string a long, then the bytes; a union its branch as a long, then the value; arrays and
 * maps come in blocks: count as a long (negative: -count, then the block's size in bytes as a
 * long), the items, and at the end a count of 0; a record is its fields, one after the other, with
 * nothing between them.
 */
#ifndef SCHEMAS_CODEC_OPS_H
#define SCHEMAS_CODEC_OPS_H

#include "core/cursor.h"
#include "schemas/codec.h"

#define PLACEHOLDER "__debezium_unavailable_value"

enum {
	SCHEMA_DEPTH_MAX = 64,
	SCHEMA_FIELDS_MAX = 10000,  /* fields, branches and symbols of one schema */
	VALUE_DEPTH_MAX = 64,       /* recursive schemas: how deep a value may be */
	ZERO_ITEMS_MAX = 65536,     /* items of no bytes in one array: the bytes left say nothing about them */
};

enum avro {
	A_NULL, A_BOOL, A_INT, A_LONG, A_FLOAT, A_DOUBLE, A_BYTES, A_STRING, /* in the order of avro_names[] */
	A_FIXED, A_ENUM, A_ARRAY, A_MAP, A_UNION, A_RECORD,
};

struct node {
	enum avro type;
	bool sized;           /* a value takes at least one byte */
	int n;                /* fields, branches or symbols */
	size_t size;          /* fixed */
	struct slice name;    /* full name of record, enum, fixed */
	struct slice connect; /* connect.name of a record, enum, fixed; empty: none */
	struct node **kids;   /* fields, branches; [0] of an array or map: its item */
	struct slice *labels; /* names of fields, symbols */
	int nwalk;
	struct node **walk;   /* record: its sized fields. Walking these only makes work follow the bytes */
	struct node *next;    /* named types of one hash bucket */
};

/* A value behind its union, if it has one. */
struct choice {
	const struct node *node; /* the branch that is not null; a union of several: the union; NULL: always null */
	bool branch;             /* a branch number comes first */
	int null_at;             /* number of the null branch; -1: none */
	int value_at;            /* of the other one; -1: node is the union itself */
};

enum col_kind {
	COL_NULL, COL_BOOL, COL_INT, COL_LONG, COL_FLOAT, COL_DOUBLE, COL_BYTES, COL_STRING, COL_VARDECIMAL,
	COL_AVRO,
	COL_ARRAY, /* an array whose items must be rewritten as ["null", item] */
};

struct col_op {
	enum col_kind kind;
	int col;                 /* index in the table */
	struct choice at;
	struct slice absent;     /* COL_AVRO, COL_ARRAY: these bytes are Debezium's placeholder */
};

struct row_ops {
	const struct node *node;
	bool full; /* every column of the table is set */
	int n;
	struct col_op *ops;
};

enum step_kind { STEP_SKIP, STEP_SLICE, STEP_LONG, STEP_BEFORE, STEP_AFTER, STEP_SUB };

struct step {
	enum step_kind kind;
	struct choice at;
	bool raw;          /* STEP_SLICE, STEP_LONG: where to, in struct raw or in the envelope */
	size_t off;
	const char *name;
	const struct row_ops *row;
	const struct step *sub;
	int nsub;
};

/* What the steps read besides the envelope, for envelope_finish. */
struct raw {
	struct slice op, sequence;
	int64_t source_ms, source_us, source_ns, ms, us, ns, txid;
};

struct reader {
	const struct table *tbl;
	bool plain;                /* a flattened row: no envelope */
	const struct row_ops *row; /* plain */
	const struct row_ops *image; /* of after, else of before, or of the plain row: NULL none */
	const struct step *steps;
	int nsteps;
	const struct row_ops *key; /* NULL: none */
};

/* Parse schema text into nodes (schemas/codec_schema.c). */
enum rc node_parse(struct slice json, struct arena *a, struct node **out, struct err *err) MUST_CHECK;

/* Pass over one value and check it; c->bad when it is malformed. */
void node_walk(const struct node *t, struct cursor *c, int depth);

/* The value behind t: a union of null and one other is taken apart. */
struct choice node_choice(const struct node *t);

/*
 * True when an array's items are ["null", item], as reader_array_text and the writer take it
 * (schemas/codec_array.c).
 */
bool array_plain(const struct node *t);

/* One array rewritten in that layout, in a. */
struct slice array_rewrite(const struct node *t, struct cursor *c, struct arena *a);

/*
 * What Debezium writes for an unchanged TOAST array of this item type, in that layout; empty: it
 * has nothing for it.
 */
struct slice array_placeholder(const struct wire_type *item, struct arena *a);

/* Seven bits of each byte of x, low ones first, put together: 56 bits. */
static inline uint64_t
varint_close(uint64_t x)
{
	x = (x & 0x007f007f007f007f) | ((x & 0x7f007f007f007f00) >> 1);
	x = (x & 0x00003fff00003fff) | ((x & 0x3fff00003fff0000) >> 2);
	return (x & 0x000000000fffffff) | ((x & 0x0fffffff00000000) >> 4);
}

/* The reverse: the low 56 bits of x spread over eight bytes. */
static inline uint64_t
varint_open(uint64_t x)
{
	x = (x & 0x000000000fffffff) | ((x & 0x00fffffff0000000) << 4);
	x = (x & 0x00003fff00003fff) | ((x & 0x0fffc0000fffc000) << 2);
	return (x & 0x007f007f007f007f) | ((x & 0x3f803f803f803f80) << 1);
}

/*
 * A number of more than one byte, and what follows it; p NULL: bad. By value, so that cursors stay
 * in registers.
 */
struct wide {
	const uint8_t *p;
	int64_t v;
};
struct wide varint_wide(const uint8_t *p, const uint8_t *end);

/*
 * cursor_long, made for many small numbers. A cursor that is bad already must not get here: callers
 * check after each value.
 */
static inline int64_t
take_long(struct cursor *c)
{
	struct wide w;

	if (c->p < c->end && *c->p < 0x80) {
		uint64_t x = *c->p++;

		return (int64_t)(x >> 1) ^ -(int64_t)(x & 1);
	}
	w = varint_wide(c->p, c->end);
	if (!w.p) {
		c->bad = true;
		return 0;
	}
	c->p = w.p;
	return w.v;
}

static inline int64_t
take_int(struct cursor *c)
{
	int64_t v = take_long(c);

	if (v != (int32_t)v)
		c->bad = true;
	return v;
}

static inline struct slice
take_bytes(struct cursor *c)
{
	int64_t n = take_long(c);
	struct slice s = { (const char *)c->p, (size_t)n };

	if (c->bad || n < 0 || (uint64_t)n > cursor_left(c)) {
		c->bad = true;
		return (struct slice){ "", 0 };
	}
	c->p += n;
	return s;
}

/* The branch number of a choice; true: null. */
static inline bool
take_null(struct cursor *c, const struct choice *at)
{
	int64_t b = take_long(c);

	if (b < 0 || (b != at->null_at && b != at->value_at))
		c->bad = true;
	return b == at->null_at && !c->bad;
}

#endif
