/*
 * mapping.h - which tables a sink takes and what they and their columns are called there: sinks.NAME.schema, rename,
 * columns.exclude, columns.rename. Pure.
 *
 * Everything before the sink (batches, parked keys, dead letters, positions) knows tables by their source's names; a sink has,
 * for each table version, the same table under its own names, with the same columns in the same places, so that values go by
 * their index. A column that this sink does not get has an empty name there.
 */
#ifndef CONSUMER_MAPPING_H
#define CONSUMER_MAPPING_H

#include "core/arena.h"
#include "core/conf.h"
#include "core/err.h"
#include "core/table.h"

/*
 * What a table is called at the sink; both end in a NUL and are in a or the arguments. SQLite has no schemas: *to_schema is
 * empty, and the name "table" for schema public and main, else "schema_table", but one that `rename` gives without a schema is taken as
 * it stands.
 */
void mapping_name(const struct conf_sink *conf, struct slice schema, struct slice table, struct arena *a, struct slice *to_schema,
    struct slice *to_table);

/* What a column of it is called; empty: left out. */
struct slice mapping_column(const struct conf_sink *conf, struct slice schema, struct slice table, struct slice column, struct arena *a);

/*
 * tbl as the sink has it; in a, but its texts may be tbl's, which outlives it. The names of the version before go the same way, and are
 * empty where they come to the same. FATAL/EXIT_CONFIG: a column to be renamed is not there (unless another entry gives that
 * name: the column's old one, say), two columns come to one name, a key column is left out.
 */
enum rc mapping_table(const struct conf_sink *conf, const struct table *tbl, struct arena *a, const struct table **out,
    struct err *err) MUST_CHECK;

/* Is name that of a column of tbl (the source's) which the sink does not get? */
bool mapping_left_out(const struct table *tbl, const struct table *mapped, const char *name);

#endif
