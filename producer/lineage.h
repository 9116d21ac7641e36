/*
 * lineage.h - which column of a table version is which column of the version before, whatever their names. Pure.
 *
 * A RELATION message names columns and does not number them, and the catalogue, which does, is read later and may be ahead
 * of the stream. What makes a number certain all the same: PostgreSQL gives attnums in ascending order and never a second
 * time, and keeps a row for each dropped column. So where no column was dropped (or only such as the version before did not
 * have any more), the i-th column of the message is the i-th of the catalogue's, by whatever name either calls it. Else a column
 * counts as that of the version before, or of the catalogue, which has its name and type, if that makes an ascending row in which
 * no column is missing that is there now, or that both have; where the two say different things, or neither holds, nothing is known.
 */
#ifndef PRODUCER_LINEAGE_H
#define PRODUCER_LINEAGE_H

#include "core/arena.h"
#include "core/table.h"

/* A row of pg_attribute, attnum > 0. */
struct lineage_attr {
	int attnum;
	struct slice name;
	uint32_t typid;
	int32_t typmod;
	bool dropped, generated;
};

/*
 * Number t's columns. attrs: all of the table's, by attnum; before: the version before, numbered; NULL: none is known. listed: the
 * publication has a column list, so that the message has not all of them.
 */
void lineage_number(struct table *t, const struct table *before, const struct lineage_attr *attrs, int n, bool listed);

/*
 * Say of t's columns what became of them since `before`: was, fresh; and of the table. Both are numbered as far as can be;
 * before may be another table of that name, dropped since: then all are new that it had no name for. Where nothing was
 * ever dropped, fresh goes without saying: a schema without it is the same after a restart. a: t's.
 */
void lineage_compare(struct table *t, const struct table *before, struct arena *a);

/* Is it the version that `before` is, or one that nobody can tell from it? Types, names and key only. */
bool lineage_same(const struct table *t, const struct table *before);

/* Did a column go and another come under its name? Index into t->cols from `from` on, or -1. */
int lineage_replaced(const struct table *t, const struct table *before, int from);

#endif
