/*
 * layout.h - a table of a SQLite source at one shape: its columns, what tells its rows apart, and the triggers that log its changes.
 * Pure, but for layout_read.
 *
 * A row of towline_log says which layout it is of. Its values stand in c0, c1, ...: first the old row (the key's columns, or all of
 * them where there is no key), then all columns of the new one. Those columns have no type, so that each value keeps its storage class.
 *
 *   op  c created, u updated, d deleted, t truncated (the table is copied anew), r copied, n nothing
 */
#ifndef PRODUCER_LAYOUT_H
#define PRODUCER_LAYOUT_H

#include "core/sqlite.h"
#include "core/table.h"

struct layout_column {
	const char *name, *type; /* type as declared; "" */
	const char *dflt;        /* its default's text; NULL: none */
	const char *collation;   /* NULL: BINARY */
	bool notnull, generated;
};

/* A unique index beside the key: by it a REPLACE may delete a row that no delete trigger sees. */
struct layout_unique {
	bool partial;            /* of some rows, by a condition that we do not look at: any row may come into it */
	int ncols;
	int *cols;
	const char **collations; /* NULL: the column's own */
};

struct layout {
	const char *table;
	bool strict, without_rowid;
	const char *rowid;       /* by which name triggers find a row; NULL: without rowid */
	int alias;               /* column that is the rowid (INTEGER PRIMARY KEY); -1: none */
	int ncols;
	struct layout_column *cols;
	int nkeys;               /* 0: rows are told apart by all their values */
	int *keys;
	int nuniques;            /* not in the JSON: it is about the triggers only */
	struct layout_unique *uniques;
};

/* May values that differ be the same to the column's own comparison: 1 and 1.0, where nothing makes one of the other? */
bool layout_is_loose(const struct layout *l, int col);

/* Values of the old row that a log row begins with. */
int layout_nold(const struct layout *l);

/*
 * Look at the table. *why is NULL, or in words why it cannot be captured (virtual, a unique index over an expression, ...); then *out
 * is not to be used. All in a.
 */
enum rc layout_read(sqlite3 *db, const char *table, struct arena *a, struct layout *out, const char **why, struct err *err) MUST_CHECK;

/* To and from the text that stands in towline_layout. FATAL: it is none of ours. */
const char *layout_json(const struct layout *l, struct arena *a);
enum rc layout_parse(const char *json, struct arena *a, struct layout *out, struct err *err) MUST_CHECK;

/* Same table, columns and key? Then the log goes on under the same layout. */
bool layout_same(const struct layout *a, const struct layout *b);

/* Has b all columns of a in the same places, whatever their names, and perhaps more behind them? */
bool layout_extends(const struct layout *a, const struct layout *b);

/* Do both tell rows apart by the same columns, if they have the same columns? */
bool layout_same_key(const struct layout *a, const struct layout *b);

/*
 * What makes a row "x" one that a REPLACE of NEW may delete beside the one with NEW's key: conditions, as they stand in the triggers; how
 * many. In a.
 */
int layout_conflicts(const struct layout *l, struct arena *a, const char ***out);

enum { LAYOUT_TRIGGERS = 5 };
struct layout_trigger {
	const char *name, *sql; /* sql begins with CREATE TRIGGER */
};

/* The triggers for capture number `capture`, whose rows say layout `id`; how many. In a. */
int layout_triggers(const struct layout *l, int64_t capture, int64_t id, struct arena *a, struct layout_trigger out[LAYOUT_TRIGGERS]);

/*
 * INSERT INTO towline_log ... SELECT for rows of the table, op as above. added: of op u, the first column that others do not know yet:
 * in the old row it has its default. where: a condition on "x", or NULL: all. In a.
 */
const char *layout_copy_sql(const struct layout *l, int64_t id, char op, int added, const char *where, struct arena *a);

/* The names "c0, c1, ..." of all values. In a. */
const char *layout_slots(int from, int to, struct arena *a);

/*
 * Where rows that were there before column `col` was added got a value that no schema tells: a condition on "x", NULL: nowhere.
 * Such rows are logged again when it comes.
 */
const char *layout_added_where(const struct layout *l, int col, struct arena *a);

/* The default of the column as JSON of its Avro type; false: it has none, or none that a schema can say. */
bool layout_default(const struct layout *l, int col, struct arena *a, struct slice *json);

#endif
