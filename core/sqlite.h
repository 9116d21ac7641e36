/*
 * sqlite.h - SQLite files opened our way, and result codes as verdicts.
 */
#ifndef CORE_SQLITE_H
#define CORE_SQLITE_H

#include "core/arena.h"
#include "core/err.h"

#include <sqlite3.h>

/* PATH of "sqlite:PATH" or "sqlite:///PATH"; NULL: the URL is another kind's, or NULL. */
const char *sqlite_url_path(const char *url);

/*
 * Open a file that is there, to read and write; it is never made. busy_ms: how long a statement waits for another's lock. FATAL with
 * EXIT_UNREACHABLE: no such file; with EXIT_CONFIG: no database, or it may not be written. RETRY: locked.
 */
enum rc sqlite_open_there(const char *path, int busy_ms, sqlite3 **out, struct err *err) MUST_CHECK;

/* RETRY: locked, disk full, and what else may pass; REJECT: constraints; else FATAL. */
enum rc sqlite_verdict(int code);

/* The verdict on what failed last, with SQLite's words behind `what`. */
enum rc sqlite_fail(sqlite3 *db, const char *what, struct err *err) MUST_CHECK;

/* Statements without result. */
enum rc sqlite_run(sqlite3 *db, const char *what, const char *sql, struct err *err) MUST_CHECK;

enum rc sqlite_prepare(sqlite3 *db, const char *what, const char *sql, sqlite3_stmt **out, struct err *err) MUST_CHECK;

/* The first column of the first row as a number; no row, or NULL: none. */
enum rc sqlite_number(sqlite3 *db, const char *what, const char *sql, int64_t none, int64_t *out, struct err *err) MUST_CHECK;

/* A column's text, copied; NULL for NULL. */
const char *sqlite_text(sqlite3_stmt *st, int col, struct arena *a);

/* "name" and 'text', quoted; in a. */
const char *sqlite_ident(struct arena *a, const char *name);
const char *sqlite_literal(struct arena *a, const char *text);

#endif
