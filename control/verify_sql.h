/*
 * verify_sql.h - the statements by which `towline verify` asks two servers the same of a table. Pure.
 *
 * A row is the text of a record of the compared columns, its digest 128 bits of hashes: servers that agree on the hash of a text agree on
 * the digest of a row. Sums of digests stand for sets of rows, whatever their order; where both servers sort keys alike a chunk is a
 * range of the key, at the sink too; else all keys are listed in the order of their texts, byte by byte.
 */
#ifndef CONTROL_VERIFY_SQL_H
#define CONTROL_VERIFY_SQL_H

#include "core/arena.h"
#include "core/buf.h"

enum verify_side { VERIFY_SOURCE = 0, VERIFY_SINK, VERIFY_SIDES };

struct verify_column {
	const char *name;               /* the source's */
	const char *raw[VERIFY_SIDES];  /* the column, quoted */
	const char *value[VERIFY_SIDES]; /* an expression that has the same text on both sides */
	const char *type[VERIFY_SIDES]; /* for casts of a key's text */
};

struct verify_shape {
	struct verify_column *cols;
	int ncols;
	int *keys, nkeys;               /* of cols; none: rows are told by nothing */
	const char *from[VERIFY_SIDES]; /* "ONLY \"s\".\"t\"" */
	const char *filter;             /* which of the source's rows are published; NULL: all */
	bool utf8[VERIFY_SIDES];        /* the server's encoding */
	bool md5;                       /* the servers' own hashes differ */
};

/* All in a. from, to: texts of a key, from < key <= to; NULL: open. */

/* Count, digest, digest of the versions: of all rows. */
const char *verify_sql_all(const struct verify_shape *s, enum verify_side side, struct arena *a);

/* Count, digest: of one range. */
const char *verify_sql_digest(const struct verify_shape *s, enum verify_side side, char *const *from, char *const *to, struct arena *a);

/* The key of the n-th row behind `from`, at the source; no row: there are fewer. */
const char *verify_sql_bound(const struct verify_shape *s, char *const *from, int64_t n, struct arena *a);

/* behind: only rows that come behind this key in the list's own order. */
struct verify_range {
	char *const *from, *const *to;
	char **behind;
};

/* Key texts, digest: of each row of a range, in the order of verify_key_compare. */
const char *verify_sql_list(const struct verify_shape *s, enum verify_side side, const struct verify_range *range, struct arena *a);

/* Number, version, cells (verify_key.h): of the rows with the keys in parameters, for each column of the key an array of texts. */
const char *verify_sql_look(const struct verify_shape *s, enum verify_side side, struct arena *a);

/* Of a text that every server knows; equal answers: equal hashes. */
#define VERIFY_SQL_PROBE "SELECT hashtextextended('towline \xc3\xa4' COLLATE \"C\", 1)"

#endif
