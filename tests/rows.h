/*
 * rows.h - tables and rows for tests of the sinks: in one line each.
 */
#ifndef TESTS_ROWS_H
#define TESTS_ROWS_H

#include "consumer/sink.h"

#include <stdlib.h>

static inline struct column
col_of(const char *name, struct wire_type type, const char *type_name)
{
	return (struct column){
		.name = slice_of(name), .type = type, .type_name = slice_of(type_name), .typmod = -1
	};
}

#define COL_INT8(name)  col_of(name, (struct wire_type){ .wire = W_INT64 }, "bigint")
#define COL_INT4(name)  col_of(name, (struct wire_type){ .wire = W_INT32 }, "integer")
#define COL_TEXT(name)  col_of(name, (struct wire_type){ .wire = W_STRING }, "text")
#define COL_MONEY(name) col_of(name, (struct wire_type){ .wire = W_DECIMAL, .semantic = "org.apache.kafka.connect.data.Decimal", \
	.precision = 12, .scale = 2 }, "numeric(12,2)")
#define COL_TIME(name)  col_of(name, (struct wire_type){ .wire = W_STRING, .semantic = "io.debezium.time.ZonedTimestamp" }, \
	"timestamp with time zone")
#define COL_JSON(name)  col_of(name, (struct wire_type){ .wire = W_STRING, .semantic = "io.debezium.data.Json" }, "json")
#define COL_DOUBLE(name) col_of(name, (struct wire_type){ .wire = W_DOUBLE }, "double precision")

#define V_TEXT(text)    value_string(slice_of(text))
#define V_NONE          ((struct value){ .kind = V_ABSENT })

static inline struct table
table_of(const char *name, struct column *cols, int ncols, int *keys, int nkeys)
{
	return (struct table){ .schema = SLICE_LIT("public"),
		.name = slice_of(name),
		.ncols = ncols,
		.cols = cols,
		.keys = keys,
		.nkeys = nkeys };
}

static inline struct value *
row_values(struct batch *b, int n, const struct value *v)
{
	struct value *copy = arena_array(&b->arena, (size_t)n, sizeof *copy);

	memcpy(copy, v, (size_t)n * sizeof *copy);
	return copy;
}

#define VALUES(b, ...) \
	row_values((b), (int)(sizeof((struct value[]){ __VA_ARGS__ }) / sizeof(struct value)), \
	    (struct value[]){ __VA_ARGS__ })

static inline struct row *
put_row(struct batch *b, const struct table *t, char op, struct value *before, struct value *after)
{
	struct row *r = batch_row(b);

	*r = (struct row){ .op = op, .tbl = t, .before = before, .after = after, .before_full = before != NULL };
	return r;
}

static inline struct marker
mark_at(int64_t offset)
{
	return (struct marker){ .spine_offset = offset,
		.spine_hash = offset < 0 ? 0 : 0x8000000000000000u + (uint64_t)offset,
		.gen = 3,
		.token = 7,
		.no = (uint64_t)offset + 1,
		.seq = (uint64_t)offset * 2 + 2,
		.lsn = 0x16B374D848u + (uint64_t)offset,
		.commit_us = 1700000000123456 + offset,
		.system_id = 7300000000000000001u };
}

#endif
