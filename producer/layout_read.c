/*
 * A table as SQLite's pragmas tell of it.
 */
#include "core/buf.h"
#include "producer/layout.h"

#include <strings.h>

/* Of the log's columns at most: SQLite's own limit is 2000 (SQLITE_MAX_COLUMN), and it has four of its own. */
enum { SLOTS_MAX = 1990 };

static enum rc
pragma(sqlite3 *db, const char *name, const char *arg, struct arena *a, sqlite3_stmt **st, struct err *err)
{
	return sqlite_prepare(db, name, arena_printf(a, "SELECT * FROM pragma_%s(%s)", name, sqlite_literal(a, arg)), st, err);
}

static enum rc
done(sqlite3 *db, sqlite3_stmt *st, int code, const char *what, struct err *err)
{
	enum rc rc = code == SQLITE_DONE ? OK : sqlite_fail(db, what, err);

	sqlite3_finalize(st);
	return rc;
}

/* Kind of the table: STRICT, WITHOUT ROWID, or no table that triggers can be on. */
static enum rc
read_kind(sqlite3 *db, const char *table, struct arena *a, struct layout *l, const char **why, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(db, "look up the table",
	    "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE", &st, err);
	int code;

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW) {
		const char *type = sqlite_text(st, 0, a);

		l->without_rowid = sqlite3_column_int(st, 1);
		l->strict = sqlite3_column_int(st, 2);
		if (strcmp(type, "table") != 0)
			*why = arena_printf(a, "it is a %s table, whose changes no trigger sees", type);
		if (strcmp(type, "view") == 0)
			*why = "it is a view";
		code = sqlite3_step(st);
	} else if (code == SQLITE_DONE) {
		*why = "there is no such table";
	}
	return done(db, st, code, table, err);
}

static void
place_key(struct layout *l, int column, int place)
{
	l->keys[place] = column;
	if (place + 1 > l->nkeys)
		l->nkeys = place + 1;
}

static enum rc
read_columns(sqlite3 *db, struct layout *l, struct arena *a, struct err *err)
{
	sqlite3_stmt *st;
	int64_t n;
	enum rc rc = sqlite_number(db, l->table,
	    arena_printf(a, "SELECT count(*) FROM pragma_table_xinfo(%s)", sqlite_literal(a, l->table)), 0, &n, err);
	int code;

	if (rc == OK)
		rc = pragma(db, "table_xinfo", l->table, a, &st, err);
	if (rc != OK)
		return rc;
	l->cols = arena_array(a, (size_t)n + 1, sizeof *l->cols);
	l->keys = arena_array(a, (size_t)n + 1, sizeof *l->keys);
	while ((code = sqlite3_step(st)) == SQLITE_ROW && l->ncols < n) {
		int pk = sqlite3_column_int(st, 5);

		l->cols[l->ncols] = (struct layout_column){ .name = sqlite_text(st, 1, a), .type = sqlite_text(st, 2, a),
			.notnull = sqlite3_column_int(st, 3), .dflt = sqlite_text(st, 4, a), .generated = sqlite3_column_int(st,
			    6) >= 2 };
		if (pk > 0)
			place_key(l, l->ncols, pk - 1);
		l->ncols++;
	}
	return done(db, st, code, l->table, err);
}

/* By which name the rowid can be had: a column of that name hides it. */
static const char *
rowid_name(const struct layout *l, struct arena *a)
{
	static const char *const names[] = { "rowid", "_rowid_", "oid" };

	for (size_t k = 0; k < COUNTOF(names); k++) {
		bool hidden = false;

		for (int i = 0; i < l->ncols; i++)
			hidden = hidden || strcasecmp(l->cols[i].name, names[k]) == 0;
		if (!hidden)
			return names[k];
	}
	return l->alias >= 0 ? sqlite_ident(a, l->cols[l->alias].name) : NULL;
}

struct index {
	const char *name, *origin;
	bool partial, expression;
	int ncols;
	int *cols;
	const char **collations;
};

static enum rc
read_index(sqlite3 *db, const struct layout *l, struct index *x, struct arena *a, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = pragma(db, "index_xinfo", x->name, a, &st, err);
	int code;

	if (rc != OK)
		return rc;
	x->cols = arena_array(a, (size_t)l->ncols + 1, sizeof *x->cols);
	x->collations = arena_array(a, (size_t)l->ncols + 1, sizeof *x->collations);
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		int cid = sqlite3_column_int(st, 1);
		const char *collation = sqlite_text(st, 4, a);

		if (!sqlite3_column_int(st, 5)) /* not of the index's key */
			continue;
		x->expression |= cid < 0;
		if (cid < 0 || x->ncols >= l->ncols)
			continue;
		x->cols[x->ncols] = cid;
		x->collations[x->ncols++] = collation && strcasecmp(collation, "BINARY") != 0 ? collation : NULL;
	}
	return done(db, st, code, x->name, err);
}

static bool
all_notnull(const struct layout *l, const struct index *x)
{
	for (int i = 0; i < x->ncols; i++)
		if (!l->cols[x->cols[i]].notnull)
			return false;
	return true;
}

/* What it takes for the same is the same. */
static bool
is_exact(const struct layout *l, const struct index *x)
{
	for (int i = 0; i < x->ncols; i++)
		if (x->collations[i] || layout_is_loose(l, x->cols[i]))
			return false;
	return true;
}

/*
 * Without a primary key the first unique index of columns that are never NULL tells rows apart. All other unique ones are such by
 * which a REPLACE deletes rows; so is the key's own where a collation takes other keys for the same.
 */
static void
take_indexes(struct layout *l, struct index *list, int n, struct arena *a, const char **why)
{
	l->uniques = arena_array(a, (size_t)n + 1, sizeof *l->uniques);
	for (int i = n - 1; i >= 0 && !l->nkeys; i--) /* the list has the newest first */
		if (!list[i].partial && !list[i].expression && all_notnull(l, &list[i]) && is_exact(l, &list[i])) {
			for (int k = 0; k < list[i].ncols; k++)
				place_key(l, list[i].cols[k], k);
			list[i].origin = "pk";
		}
	for (int i = 0; i < n; i++) {
		bool key = strcmp(list[i].origin, "pk") == 0;

		if (list[i].expression)
			*why = arena_printf(a, "its unique index %s is over an expression, and a REPLACE by it could not be seen",
			    list[i].name);
		for (int k = 0; key && k < list[i].ncols; k++)
			l->cols[list[i].cols[k]].collation = list[i].collations[k];
		if (!key || !is_exact(l, &list[i]))
			l->uniques[l->nuniques++] = (struct layout_unique){ list[i].partial, list[i].ncols, list[i].cols,
			    list[i].collations };
	}
}

static enum rc
read_indexes(sqlite3 *db, struct layout *l, struct arena *a, const char **why, struct err *err)
{
	struct index list[64];
	sqlite3_stmt *st;
	bool pk = false;
	int n = 0, code;
	enum rc rc = pragma(db, "index_list", l->table, a, &st, err);

	if (rc != OK)
		return rc;
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		if (!sqlite3_column_int(st, 2))
			continue;
		if (n == COUNTOF(list)) {
			*why = "it has more than 64 unique indexes";
			code = SQLITE_DONE;
			break;
		}
		list[n] = (struct index){ .name = sqlite_text(st, 1, a), .origin = sqlite_text(st, 3, a),
		    .partial = sqlite3_column_int(st, 4) };
		pk = pk || strcmp(list[n].origin, "pk") == 0;
		n++;
	}
	rc = done(db, st, code, l->table, err);
	/* INTEGER PRIMARY KEY: the only one without an index. */
	if (l->nkeys == 1 && !pk && !l->without_rowid)
		l->alias = l->keys[0];
	for (int i = 0; i < n && rc == OK; i++)
		rc = read_index(db, l, &list[i], a, err);
	if (rc == OK)
		take_indexes(l, list, n, a, why);
	return rc;
}

enum rc
layout_read(sqlite3 *db, const char *table, struct arena *a, struct layout *out, const char **why, struct err *err)
{
	enum rc rc;

	*out = (struct layout){ .table = arena_text(a, slice_of(table)), .alias = -1 };
	*why = NULL;
	rc = read_kind(db, table, a, out, why, err);
	if (rc == OK && !*why)
		rc = read_columns(db, out, a, err);
	if (rc == OK && !*why)
		rc = read_indexes(db, out, a, why, err);
	if (rc != OK || *why)
		return rc;
	if (out->alias >= 0)
		out->cols[out->alias].notnull = true;
	out->rowid = out->without_rowid ? NULL : rowid_name(out, a);
	if (!out->without_rowid && !out->rowid)
		*why = "columns of its own hide the rowid by all its names";
	if (layout_nold(out) + out->ncols > SLOTS_MAX)
		*why = "it has too many columns for the log";
	return OK;
}
