/*
 * sink_sqlite.h - the SQLite sink's inside, shared by sink_sqlite*.c; nobody else includes it.
 */
#ifndef CONSUMER_SINK_SQLITE_H
#define CONSUMER_SINK_SQLITE_H

#include "consumer/sink_impl.h"

#include <sqlite3.h>
#include <uthash.h>

enum { STMTS_MAX = 200, LITE_BUSY_MS = 10000 };

struct lite_stmt {
	struct lite_stmt *next;
	enum plan_kind kind;
	uint8_t *flags;
	struct plan plan;
	sqlite3_stmt *st;         /* NULL: an update that writes nothing */
};

struct lite_target {
	const struct table *source; /* key of the hash: as it comes */
	const struct table *tbl;  /* as this sink has it (consumer/mapping.h), with the same columns */
	struct arena arena;
	struct target t;
	struct lite_stmt *stmts;  /* most recently used first */
	int nstmts;
	uint8_t *flags;
	uint64_t missing;
	bool in_txn;
	UT_hash_handle hh;
};

struct sink_sqlite {
	struct sink sink;
	sqlite3 *db;
	struct lite_target *targets;
	struct marker expected, next; /* of the open or the failed transaction */
	bool open, savepoint;
	int64_t parked_version;   /* that the caller knows: compared by each begin */
	int applied;
	struct buf *params;
	int params_cap;
	int claim;                /* descriptor of the lock; -1: none */
	int wal_try;              /* pages of the log from which on its readers are waited for */
};

/* ---- sink_sqlite_claim.c: who applies ---- */

/* The sink's marker operation: claims the file for this process, then reads. RETRY: another process has it. */
enum rc lite_marker(struct sink *sink, struct marker *out, struct err *err) MUST_CHECK;
void lite_unclaim(struct sink_sqlite *s);

/* ---- sink_sqlite_wal.c: the file's log does not grow without end ---- */
enum rc lite_keep_wal(struct sink_sqlite *s, const char *path, struct err *err) MUST_CHECK;

/* ---- sink_sqlite.c: SQLite's errors as verdicts ---- */

/* Makes what is kept in the file, and reads the marker; claims nothing. */
enum rc lite_read_marker(struct sink_sqlite *s, struct marker *out, struct err *err) MUST_CHECK;

/* sink_sqlite_renew.c */
enum rc lite_renew(struct sink *sink, const struct marker *to, const struct sink_name *tables, int n, struct err *err) MUST_CHECK;

enum rc lite_fail(struct sink_sqlite *s, const char *what, struct err *err);
enum rc lite_exec(struct sink_sqlite *s, const char *what, const char *sql, struct err *err) MUST_CHECK;
enum rc lite_compile(struct sink_sqlite *s, const char *what, const char *sql, sqlite3_stmt **out,
    struct err *err) MUST_CHECK;

/* Throw the transaction away. */
void lite_roll_back(struct sink_sqlite *s);

/* One row at once. */
enum rc lite_row(struct sink_sqlite *s, const struct row *r, struct err *err) MUST_CHECK;

/* ---- sink_sqlite_park.c: changes that are parked, and the way back ---- */
extern const struct park_ops lite_park_ops;

/* ---- sink_sqlite_position.c: how far foreign topics are applied ---- */
extern const struct position_ops lite_position_ops;

/* What the sink has of a table. */
struct lite_found {
	bool there;
	bool *generated;     /* of the table's columns: the sink works it out by itself */
	const char **declared; /* their types */
	bool *notnull;       /* and not of the primary key */
	struct sink_extra *extra; /* what the sink has and the table has not */
	int nextra;
};

/* The version of the table that this session has met last; NULL: none. */
const struct table *lite_version_before(const struct sink_sqlite *s, const struct lite_target *t);

/* The table has another name now: who comes under that one (quoted) is to look again. */
void lite_forget_name(struct sink_sqlite *s, const char *name);

/* ---- sink_sqlite_reshape.c: renamed, widened; verdicts as of prepare ---- */

/* The table was `old` in the version before: renamed, or when another one has its new name here (taken), refused. */
enum rc lite_rename_table(struct sink_sqlite *s, struct lite_target *t, struct slice old, bool taken, struct err *err) MUST_CHECK;
enum rc lite_rename_columns(struct sink_sqlite *s, struct lite_target *t, struct err *err) MUST_CHECK;

/* Types, NOT NULL; columns that only the sink has, too. */
enum rc lite_fit_columns(struct sink_sqlite *s, struct lite_target *t, const struct lite_found *f, struct err *err) MUST_CHECK;

/* The key is another than in the version before, and the sink's is that of the version before. */
enum rc lite_fit_key(struct sink_sqlite *s, struct lite_target *t, struct err *err) MUST_CHECK;

/* ---- sink_sqlite_table.c: look up, create, widen; t has its tbl ---- */
enum rc lite_table(struct sink_sqlite *s, struct lite_target *t, struct err *err) MUST_CHECK;

#endif
