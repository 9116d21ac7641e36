/*
 * reshape.h - what a sink's table needs to follow a table version: which columns to rename, which to widen. Pure.
 *
 * A column is widened when its values could not be held as they are at the source: they would be refused (a number out of range),
 * or, worse, changed without a word (007 in an integer column, a rounded timestamp). Only where each value that is there
 * stays what it is; else the sink stops, with the statement for somebody who knows better. What merely differs is left alone: a sink's
 * owner may have a text column for a number.
 */
#ifndef CONSUMER_RESHAPE_H
#define CONSUMER_RESHAPE_H

#include "core/arena.h"
#include "core/err.h"
#include "core/table.h"

enum fit {
	FIT_AS_IS,
	FIT_WIDEN, /* to *to */
	FIT_NOT,   /* it should be *to, and what is there cannot be taken along without loss */
};

/* A column as a PostgreSQL sink has it. */
struct reshape_pg {
	uint32_t oid;
	int32_t typmod;
	char typtype; /* pg_type.typtype */
	bool begins;  /* the version's first row comes now: the column may have been another before, also when that is not known */
};

/*
 * before: the column in the version before, when this session has met one; NULL: not known. to: of the source, as the sink would have
 * it (schemas/pgtypes.h: pgtype_create), in a.
 */
enum fit reshape_pg_type(const struct column *c, const struct column *before,
    const struct reshape_pg *have, struct arena *a, const char **to);

/* Likewise for SQLite, by the type that its column was declared with. using: an expression of column `x`, with x for %s. */
enum fit reshape_lite_type(const struct column *c, const struct column *before,
    const char *declared, const char **to, const char **using);

/* A column of the sink to be renamed to tbl->cols[col]. */
struct reshape_move {
	const char *from;
	int col;
};

/*
 * What has to be renamed, in order, for tbl's columns to be found among the n of the sink; into out, room for tbl->ncols. What was
 * done before is not done again. begins: the version's first row comes now. FATAL/EXIT_REFUSED: columns have swapped their names, and the
 * sink does not show whether it knows; or a new name is not free: a column that the source has dropped has it (or one of the sink's
 * owner). When both names are there and the version does not begin, the rename was done, and the old name is somebody's new column.
 * name: the sink's table, quoted.
 */
enum rc reshape_moves(const struct table *tbl, const char *name, bool begins, const char *const *have, int n,
    struct reshape_move *out, int *nout, struct err *err) MUST_CHECK;

#endif
