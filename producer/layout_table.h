/*
 * layout_table.h - a layout as a table version, and a log row's values. Pure.
 *
 * SQLite's columns hold what is put into them, whatever their declared type. So a column travels as what its affinity makes of most
 * values, and a value of another storage class has its class with it in `exact` (schemas/README.md, "SQLite's storage classes").
 */
#ifndef PRODUCER_LAYOUT_TABLE_H
#define PRODUCER_LAYOUT_TABLE_H

#include "core/event.h"
#include "producer/layout.h"

/*
 * The table version of a layout; relid: its capture. before: of the layout before, of the same capture; NULL: none. All in a.
 */
void layout_table(const struct layout *l, int64_t capture, const struct table *before, struct arena *a, struct table *out);

/* Column `i` of the row that st stands on as the value of a table's column. Slices point into st's memory or into a. */
struct value layout_value(const struct column *col, sqlite3_stmt *st, int i, struct arena *a);

#endif
