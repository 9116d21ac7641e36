/*
 * rows.h - conditions of `rows:` as row filters of the publication (PostgreSQL 15 and later).
 *
 * PostgreSQL evaluates them while it decodes: an update that moves a row into the condition arrives as an insert, one that moves
 * it out as a
 * delete, a truncate is not filtered. It sends no values that lie out of line and did not change, and it refuses the application's own
 * updates of a table whose filter looks at other columns than the replica identity's: both are looked at before a filter is set.
 */
#ifndef PRODUCER_ROWS_H
#define PRODUCER_ROWS_H

#include "producer/publication.h"

/*
 * Put t into the publication with its condition, in one transaction; t->in: it is there, and only what differs is changed. try: as if, but
 * nothing is changed. *changed: it was (or would be). FATAL/EXIT_CONFIG: the server is too old, the condition is none, the table's replica
 * identity does not do. RETRY: locked, connection.
 */
enum rc rows_set(PGconn *conn, const struct conf *conf, const struct publication_table *t, bool try, bool *changed,
    struct err *err) MUST_CHECK;

#endif
