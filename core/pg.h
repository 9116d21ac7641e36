/*
 * pg.h - libpq connections made our way, and SQLSTATEs as verdicts.
 */
#ifndef CORE_PG_H
#define CORE_PG_H

#include "core/arena.h"
#include "core/err.h"

#include <libpq-fe.h>

/* Connect; replication: a walsender connection bound to the database. Session settings (UTC, ISO dates, hex bytea) are fixed. */
enum rc pg_connect(const char *url, bool replication, PGconn **out, struct err *err) MUST_CHECK;

/* One statement, text results; *out may be NULL. The error carries SQLSTATE's verdict, the server's words and `what`. */
enum rc pg_exec(PGconn *conn, const char *what, const char *sql, PGresult **out, struct err *err) MUST_CHECK;

/* The same with text parameters. */
enum rc pg_exec_params(PGconn *conn, const char *what, const char *sql, int n, const char *const *params, PGresult **out,
    struct err *err) MUST_CHECK;

/* The verdict on a failed result or (res NULL) a broken connection. */
enum rc pg_fail(PGconn *conn, const PGresult *res, struct err *err, const char *what) MUST_CHECK;

/* Verdict of a SQLSTATE: RETRY (08, 40, 53, 57P0x, 55P03 ...), REJECT (22, 23 ...: this row is bad), else FATAL. */
enum rc pg_verdict(const char *sqlstate);

/* "schema"."name" or "name", quoted; in a. */
const char *pg_ident(struct arena *a, struct slice name);
const char *pg_literal(struct arena *a, struct slice text);

/* "16/B374D848" <-> number. */
bool pg_lsn_parse(const char *text, uint64_t *lsn);
const char *pg_lsn_text(char buf[static 20], uint64_t lsn);

#endif
