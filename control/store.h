/*
 * store.h - one row of a database by its key: read at the primary or a replica, written at the primary. For `towline read` and `write`.
 */
#ifndef CONTROL_STORE_H
#define CONTROL_STORE_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/conf.h"
#include "core/err.h"

struct store_column {
	const char *name, *type;
	int key; /* place in the primary key, from 1; 0: not part of it */
};

struct store_table {
	const char *named;  /* as the user wrote it */
	struct slice schema, table; /* of that */
	const char *quoted; /* for SQL */
	struct store_column *cols;
	int ncols, nkeys;
};

/* A column's value as text; NULL: SQL's NULL. */
struct store_value {
	int col;
	const char *text;
};

struct store;

/* By its URL; a SQLite file is not made. RETRY: cannot be reached. */
enum rc store_open(const char *url, bool write, struct store **out, struct err *err) MUST_CHECK;
void store_close(struct store *s);

/*
 * The table, in a. sink: where the store is one, so that the table may have another name there (consumer/mapping.h); NULL: the primary.
 * FATAL/EXIT_USAGE: there is none, with "did you mean".
 */
enum rc store_table(struct store *s, const struct conf *conf, const char *name, const struct conf_sink *sink, struct arena *a,
    struct store_table *out, struct err *err) MUST_CHECK;

/* Index of the column; -1 and the error, with "did you mean". */
int store_column(const struct store_table *t, const char *name, size_t n, struct err *err);

/* The row as one JSON object, appended. keys: all of the primary key. *found false: there is none. */
enum rc store_get(struct store *s, const struct store_table *t, const struct store_value *keys,
    int n, struct buf *json, bool *found, struct err *err) MUST_CHECK;

enum store_write { STORE_INSERT, STORE_UPDATE, STORE_DELETE };

/*
 * One row, in a transaction of its own; an update or delete finds it by its key, and fails (FATAL) where it is not there, with
 * nothing written.
 * *xid: of the transaction; *lsn: a place in the source's log behind every commit before ours; SQLite: that of ours.
 */
enum rc store_write(struct store *s, const struct store_table *t, enum store_write what,
    const struct store_value *v, int n, uint32_t *xid, uint64_t *lsn, struct err *err) MUST_CHECK;

#endif
