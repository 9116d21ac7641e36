/*
 * marker.h - how far a sink is, seen from outside: for `towline status` and `towline check`. Makes nothing in the sink.
 */
#ifndef CONSUMER_MARKER_H
#define CONSUMER_MARKER_H

#include "consumer/sink.h"
#include "core/pg.h"

#include <sqlite3.h>

/* *found false: this pipeline has never applied anything there. */
enum rc marker_pg(PGconn *conn, const char *pipeline, struct marker *out, bool *found, struct err *err) MUST_CHECK;
enum rc marker_sqlite(sqlite3 *db, const char *pipeline, struct marker *out, bool *found, struct err *err) MUST_CHECK;

/* PATH of "sqlite:PATH" or "sqlite:///PATH"; NULL: the URL is another kind's. */
const char *marker_sqlite_path(const char *url);

/* Open for reading. *out NULL and OK: there is no such file yet. */
enum rc marker_sqlite_open(const char *path, sqlite3 **out, struct err *err) MUST_CHECK;

/* Connect, look, leave. */
enum rc marker_look(const char *pipeline, const struct conf_sink *conf, struct marker *out, bool *found, struct err *err) MUST_CHECK;

#endif
