/*
 * entries.h - parked changes seen from outside: for `towline status` and `towline dlq`. Makes nothing in the sink.
 */
#ifndef CONSUMER_ENTRIES_H
#define CONSUMER_ENTRIES_H

#include "consumer/sink.h"
#include "core/pg.h"

#include <sqlite3.h>

/* In the order of their ids; in a. The table must be there. */
enum rc entries_pg(PGconn *conn, const char *pipeline, const struct parked_query *q,
    struct arena *a, struct parked_entry **out, int *n, struct err *err) MUST_CHECK;
enum rc entries_sqlite(sqlite3 *db, const char *pipeline, const struct parked_query *q,
    struct arena *a, struct parked_entry **out, int *n, struct err *err) MUST_CHECK;

/* Connect, look, leave. None when there is no such table, or file. */
enum rc entries_look(const char *pipeline, const struct conf_sink *conf,
    const struct parked_query *q, struct arena *a, struct parked_entry **out, int *n,
    struct err *err) MUST_CHECK;

/* How many changes are parked; of how many of them others wait, or could. */
enum rc entries_count(const char *pipeline, const struct conf_sink *conf, int64_t *changes,
    int64_t *causes, struct err *err) MUST_CHECK;

#endif
