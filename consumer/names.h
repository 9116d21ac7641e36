/*
 * names.h - which column a name has meant since: for changes that are parked, and come back when their table has another shape.
 *
 * Where a table goes on in another version, the sink notes what its columns are called (towline.names, schemas/sql.h):
 *
 *   {"same":["id"],"other":["a","b"]}   same: as in the version before; other: renamed, or new where one of this name was dropped
 *   null                                the table has another name from here on, and this one is free for others
 *
 * A name of then that was not carried on through every version since, and is there again, is another column's. Pure.
 */
#ifndef CONSUMER_NAMES_H
#define CONSUMER_NAMES_H

#include "core/buf.h"
#include "core/err.h"
#include "core/table.h"

/* Of a version that begins. Appended. */
void names_put(const struct table *tbl, struct buf *out);

/*
 * notes: those of all versions since the change, which is of version tbl, oldest first. REJECT: one of its names is another column's now,
 * or the table's another table's.
 */
enum rc names_check(const struct table *tbl, const char *const *notes, int n, struct err *err) MUST_CHECK;

#endif
