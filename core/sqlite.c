#include "core/sqlite.h"

#include <errno.h>
#include <unistd.h>

const char *
sqlite_url_path(const char *url)
{
	if (!url || strncmp(url, "sqlite:", 7) != 0)
		return NULL;
	return strncmp(url + 7, "//", 2) == 0 ? url + 9 : url + 7;
}

enum rc
sqlite_verdict(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_IOERR:
	case SQLITE_FULL:
	case SQLITE_NOMEM:
	case SQLITE_CANTOPEN:
	case SQLITE_PROTOCOL:
	case SQLITE_INTERRUPT:
		return RETRY;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
		return REJECT;
	default:
		return FATAL;
	}
}

enum rc
sqlite_fail(sqlite3 *db, const char *what, struct err *err)
{
	int code = sqlite3_errcode(db) & 0xff;
	bool conf = code == SQLITE_NOTADB || code == SQLITE_READONLY || code == SQLITE_PERM || code == SQLITE_AUTH;

	if (conf)
		return fail_exit(err, FATAL, EXIT_CONFIG, "%s: %s", what, sqlite3_errmsg(db));
	return fail(err, sqlite_verdict(code), "%s: %s", what, sqlite3_errmsg(db));
}

enum rc
sqlite_run(sqlite3 *db, const char *what, const char *sql, struct err *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : sqlite_fail(db, what, err);
}

enum rc
sqlite_prepare(sqlite3 *db, const char *what, const char *sql, sqlite3_stmt **out, struct err *err)
{
	*out = NULL;
	return sqlite3_prepare_v2(db, sql, -1, out, NULL) == SQLITE_OK ? OK : sqlite_fail(db, what, err);
}

enum rc
sqlite_number(sqlite3 *db, const char *what, const char *sql, int64_t none, int64_t *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(db, what, sql, &st, err);
	int code;

	*out = none;
	if (rc != OK)
		return rc;
	code = sqlite3_step(st);
	if (code == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL)
		*out = sqlite3_column_int64(st, 0);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		rc = sqlite_fail(db, what, err);
	sqlite3_finalize(st);
	return rc;
}

enum rc
sqlite_open_there(const char *path, int busy_ms, sqlite3 **out, struct err *err)
{
	int64_t n;
	enum rc rc;

	*out = NULL;
	if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
		return fail_exit(err, FATAL, EXIT_UNREACHABLE, "%s: there is no such file; correct the path", path);
	if (access(path, R_OK | W_OK) != 0)
		return fail_exit(err, FATAL, EXIT_CONFIG, "%s cannot be read and written: %s; give this user the right", path,
		    strerror(errno));
	if (sqlite3_open_v2(path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		rc = *out ? sqlite_fail(*out, path, err) : fail(err, RETRY, "%s: out of memory", path);
		sqlite3_close(*out);
		*out = NULL;
		return rc;
	}
	sqlite3_extended_result_codes(*out, 1);
	sqlite3_busy_timeout(*out, busy_ms);
	/* The first look at the file: only now is it known to be a database. */
	rc = sqlite_number(*out, path, "SELECT count(*) FROM sqlite_schema", 0, &n, err);
	if (rc != OK) {
		sqlite3_close(*out);
		*out = NULL;
	}
	return rc;
}

const char *
sqlite_text(sqlite3_stmt *st, int col, struct arena *a)
{
	const char *text = (const char *)sqlite3_column_text(st, col);

	return text ? arena_text(a, slice_of(text)) : NULL;
}

static const char *
quoted(struct arena *a, const char *text, char quote)
{
	char *out = arena_raw(a, 2 * strlen(text) + 3), *p = out;

	*p++ = quote;
	for (; *text; text++) {
		if (*text == quote)
			*p++ = quote;
		*p++ = *text;
	}
	*p++ = quote;
	*p = '\0';
	return out;
}

const char *
sqlite_ident(struct arena *a, const char *name)
{
	return quoted(a, name, '"');
}

const char *
sqlite_literal(struct arena *a, const char *text)
{
	return quoted(a, text, '\'');
}
