/*
 * A table at a SQLite sink: its name, its columns matched by name, made or widened where the
 * configuration allows it.
 */
#include "consumer/mapping.h"
#include "consumer/sink_sqlite.h"
#include "core/log.h"
#include "core/pg.h"
#include "schemas/pgtypes.h"

static const char *
source_name(struct lite_target *t, struct slice schema, struct slice name)
{
	return arena_printf(&t->arena, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(name));
}

/* The name is this table's, which may have had another one at the source before. */
static enum rc
note_name(struct sink_sqlite *s, struct lite_target *t, const char *source, const char *was, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "table names",
	    "INSERT INTO towline_table (name, source) SELECT ifnull((SELECT name FROM towline_table WHERE name = ?1 COLLATE NOCASE"
	    " AND source IN (?2, ?3)), ?1), ?2 WHERE true ON CONFLICT (name) DO UPDATE SET source = ?2", &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, t->tbl->name.p, (int)t->tbl->name.n, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, source, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, was, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		rc = lite_fail(s, "table names", err);
	sqlite3_finalize(st);
	return rc;
}

/*
 * Two source tables may come to one name: the first one that took it keeps it, under whatever name the source has it later. Names that
 * differ in case only are one to SQLite: "T" and "t" of PostgreSQL would share a table.
 */
static enum rc
claim_name(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *src = t->source;
	const char *source = source_name(t, src->schema, src->name), *was = source_name(t, src->was_schema, src->was_name);
	const char *other, *other_name;
	sqlite3_stmt *st = NULL;
	int code;
	enum rc rc = lite_compile(s, "table names",
	    "SELECT source, name FROM towline_table WHERE name = ?1 COLLATE NOCASE AND source <> ?2 AND source <> ?3", &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, t->tbl->name.p, (int)t->tbl->name.n, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, source, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, was, -1, SQLITE_STATIC);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW) {
		other = (const char *)sqlite3_column_text(st, 0);
		other_name = arena_text(&t->arena, slice_of((const char *)sqlite3_column_text(st, 1)));
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "tables %s and %s would both go to %s; leave one out, or give it another name by sinks.%s.rename; or, if %s is no more"
		    " at the source, put it aside: ALTER TABLE %s RENAME TO %s; DELETE FROM towline_table WHERE name = %s",
		    other, source, t->t.name, s->sink.conf->name, other, t->t.name, sink_aside(&t->arena, t->tbl->name),
		    pg_literal(&t->arena, slice_of(other_name)));
	} else if (code != SQLITE_DONE) {
		rc = lite_fail(s, "table names", err);
	}
	sqlite3_finalize(st);
	return rc == OK ? note_name(s, t, source, was, err) : rc;
}

/* What the sink has under another name already would be left behind there: `rename` came later than the rows. */
static enum rc
check_left(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *src = t->source;
	const char *source = source_name(t, src->schema, src->name), *old;
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "table names",
	    "SELECT t.name FROM towline_table t JOIN sqlite_master m ON m.name = t.name COLLATE NOCASE AND m.type = 'table'"
	    " WHERE t.source = ?1 AND t.name <> ?2 COLLATE NOCASE", &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, source, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, t->tbl->name.p, (int)t->tbl->name.n, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW) {
		old = pg_ident(&t->arena, slice_of((const char *)sqlite3_column_text(st, 0)));
		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s is %s at this sink, with its rows, and sinks.%s.rename calls it %s now: ALTER TABLE %s RENAME TO %s", source,
		    old, s->sink.conf->name, t->t.name, old, t->t.name);
	}
	sqlite3_finalize(st);
	return rc;
}

static bool
is_key(const struct table *tbl, int col)
{
	for (int i = 0; i < tbl->nkeys; i++)
		if (tbl->keys[i] == col)
			return true;
	return false;
}

static enum rc
create_table(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct buf sql = { 0 };
	const char *sep = "";
	enum rc rc;

	if (!s->sink.conf->create_tables)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s does not exist at the sink; create it, or set create_tables: true",
		    t->t.name);
	/* Another process at this file may have made it since it was looked for: the marker tells who goes on. */
	buf_printf(&sql, "CREATE TABLE IF NOT EXISTS %s (", t->t.name);
	for (int i = 0; i < tbl->ncols; i++) {
		if (!tbl->cols[i].name.n)
			continue;
		buf_printf(&sql, "%s%s %s%s", sep, pg_ident(&t->arena, tbl->cols[i].name), sqlite_create(&tbl->cols[i].type),
		    tbl->cols[i].notnull || is_key(tbl, i) ? " NOT NULL" : "");
		sep = ", ";
	}
	for (int i = 0; i < tbl->nkeys; i++)
		buf_printf(&sql, "%s%s", i ? ", " : ", PRIMARY KEY (",
		    pg_ident(&t->arena, tbl->cols[tbl->keys[i]].name));
	buf_text(&sql, tbl->nkeys ? "))" : ")");
	rc = lite_exec(s, t->t.name, buf_cstr(&sql), err);
	buf_free(&sql);
	if (rc == OK)
		log_info(
		    "sink", "table created", "sink=%s table=%s", s->sink.conf->name, t->t.name);
	return rc;
}

static enum rc
add_column(struct sink_sqlite *s, struct lite_target *t, int col, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	enum sink_policy policy = sink_policy(s->sink.conf);
	const char *sql = arena_printf(&t->arena, "ALTER TABLE %s ADD COLUMN %s %s%s", t->t.name,
	    pg_ident(&t->arena, c->name), sqlite_create(&c->type),
	    sink_default(DIALECT_SQLITE, c, &t->arena));
	enum rc rc;

	if (policy == SINK_IGNORE && !is_key(t->tbl, col)) {
		log_warn("sink", "a column is left out", "sink=%s table=%s column=%s",
		    s->sink.conf->name, t->t.name, c->name.p);
		return OK;
	}
	if (policy == SINK_STOP || is_key(t->tbl, col))
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s lacks column %s at the sink; %s", t->t.name, c->name.p, sql);
	if ((rc = lite_exec(s, t->t.name, sql, err)) != OK)
		return rc;
	t->t.cols[col].name = c->name;
	log_info("sink", "column added", "sink=%s table=%s column=%s", s->sink.conf->name,
	    t->t.name, c->name.p);
	return OK;
}

static void
found_extra(struct lite_target *t, struct lite_found *f, sqlite3_stmt *st)
{
	struct sink_extra *more = arena_array(&t->arena, (size_t)f->nextra + 1, sizeof *more);

	if (f->nextra)
		memcpy(more, f->extra, (size_t)f->nextra * sizeof *more);
	more[f->nextra++] = (struct sink_extra){
		.name = arena_text(&t->arena, slice_of((const char *)sqlite3_column_text(st, 1))),
		.type = arena_text(&t->arena, slice_of((const char *)sqlite3_column_text(st, 2))),
		.needed = sqlite3_column_int(st, 3) && sqlite3_column_type(st, 4) == SQLITE_NULL && !sqlite3_column_int(st, 5) };
	f->extra = more;
}

/* Columns as they are. table_xinfo lists generated ones too (hidden 2 and 3). */
static enum rc
read_columns(struct sink_sqlite *s, struct lite_target *t, struct lite_found *f, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "look up the columns",
	    arena_printf(&t->arena, "PRAGMA table_xinfo(%s)", t->t.name), &st, err);

	f->there = false;
	f->nextra = 0;
	if (rc != OK)
		return rc;
	while (sqlite3_step(st) == SQLITE_ROW) {
		/* SQLite compares names without case. */
		const char *name = (const char *)sqlite3_column_text(st, 1);
		bool known = false;

		f->there = true;
		for (int i = 0; i < t->tbl->ncols; i++)
			if (sqlite3_stricmp(name, t->tbl->cols[i].name.p) == 0) {
				known = true;
				f->generated[i] = sqlite3_column_int(st, 6) >= 2;
				f->declared[i] = arena_text(&t->arena, slice_of((const char *)sqlite3_column_text(st, 2)));
				f->notnull[i] = sqlite3_column_int(st, 3) && !sqlite3_column_int(st, 5);
				if (!f->generated[i])
					t->t.cols[i].name = t->tbl->cols[i].name;
			}
		if (!known && sqlite3_column_int(st, 6) == 0 &&
		    (sqlite3_column_int(st, 3) || !mapping_left_out(t->source, t->tbl, name)))
			found_extra(t, f, st);
	}
	sqlite3_finalize(st);
	return OK;
}

/* The statement compiles exactly when a unique index fits it. */
static void
find_unique(struct sink_sqlite *s, struct lite_target *t)
{
	struct arena a = { 0 };
	sqlite3_stmt *st = NULL;

	for (int i = 0; i < t->t.ncols; i++)
		t->flags[i] = PLAN_SET;
	t->t.unique = sqlite3_prepare_v2(s->db, plan_make(&t->t, PLAN_ROW_UPSERT, t->flags, &a).sql,
			  -1, &st, NULL) == SQLITE_OK;
	sqlite3_finalize(st);
	arena_free(&a);
	if (!t->t.unique)
		log_warn("sink", "no unique index on the key: upserts become delete and insert",
		    "sink=%s table=%s", s->sink.conf->name, t->t.name);
}

const struct table *
lite_version_before(const struct sink_sqlite *s, const struct lite_target *t)
{
	const struct table *last = NULL;

	for (const struct lite_target *o = s->targets; o; o = o->hh.next)
		if (sqlite3_stricmp(o->t.name, t->t.name) == 0)
			last = o->tbl;
	return last;
}

static enum rc
has_rows(struct sink_sqlite *s, struct lite_target *t, bool *rows, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, t->t.name, arena_printf(&t->arena, "SELECT 1 FROM %s LIMIT 1", t->t.name), &st, err);
	int code = rc == OK ? sqlite3_step(st) : SQLITE_DONE;

	*rows = code == SQLITE_ROW;
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		rc = lite_fail(s, t->t.name, err);
	sqlite3_finalize(st);
	return rc;
}

/* Columns to add must be such that the rows which are there get the source's values. */
static enum rc
check_added(struct sink_sqlite *s, struct lite_target *t, const struct lite_found *f, struct err *err)
{
	enum sink_policy policy = sink_policy(s->sink.conf);
	const struct table *before = lite_version_before(s, t);
	bool rows = before != NULL; /* its rows may be about to come */
	enum rc rc = OK;

	if (policy != SINK_APPLY)
		return OK;
	for (int i = 0; rc == OK && i < t->tbl->ncols; i++) {
		struct sink_adding add = { .dialect = DIALECT_SQLITE, .table = t->t.name, .before = before,
			.col = &t->tbl->cols[i], .extra = f->extra, .nextra = f->nextra };

		if (t->t.cols[i].name.n || f->generated[i] || !t->tbl->cols[i].name.n)
			continue;
		add.type = sqlite_create(&add.col->type);
		if (sink_add_check(&add, &t->arena, err) == OK)
			continue;
		/* Known to be new, it is our producer's: what it published before is here. */
		if (!rows || add.col->fresh)
			rc = has_rows(s, t, &rows, err);
		if (rc == OK && !rows)
			return OK;
		if (rc == OK)
			rc = sink_add_check(&add, &t->arena, err);
	}
	return rc;
}

static enum rc
match_columns(struct sink_sqlite *s, struct lite_target *t, const struct lite_found *f, struct err *err)
{
	enum rc rc = check_added(s, t, f, err);

	for (int i = 0; i < t->tbl->ncols && rc == OK; i++)
		if (!t->t.cols[i].name.n && !f->generated[i] && t->tbl->cols[i].name.n)
			rc = add_column(s, t, i, err);
	return rc == OK ? lite_fit_columns(s, t, f, err) : rc;
}

enum rc
lite_table(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	enum rc rc = mapping_table(s->sink.conf, t->source, &t->arena, &t->tbl, err);
	const struct table *tbl = t->tbl;
	size_t n = (size_t)tbl->ncols + 1;
	struct lite_found f = { .generated = arena_array(&t->arena, n, sizeof *f.generated),
		.declared = arena_array(&t->arena, n, sizeof *f.declared), .notnull = arena_array(&t->arena, n, sizeof *f.notnull) };
	bool renamed;

	if (rc != OK)
		return s->sink.as_is && rc == FATAL ? fail(err, REJECT, "%s", err->text) : rc;
	t->t = (struct target){ .dialect = DIALECT_SQLITE,
		.ncols = tbl->ncols,
		.nkeys = tbl->nkeys,
		.keys = tbl->keys };
	t->t.name = pg_ident(&t->arena, tbl->name);
	t->t.cols = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *t->t.cols);
	t->flags = arena_alloc(&t->arena, (size_t)tbl->ncols * 2 + 1);
	if (s->sink.as_is) {
		if ((rc = read_columns(s, t, &f, err)) == OK)
			rc = sink_fits(&s->sink, &t->t, tbl, f.there, f.generated, err);
		if (rc == OK && tbl->nkeys)
			find_unique(s, t);
		return rc;
	}
	if ((rc = claim_name(s, t, err)) != OK || (rc = lite_rename_columns(s, t, err)) != OK ||
	    (rc = read_columns(s, t, &f, err)) != OK)
		return rc;
	/* In case only: SQLite has it under both names. It cannot even be told to write it the other way. */
	renamed = tbl->was_name.n &&
	    (tbl->was_name.n != tbl->name.n || sqlite3_strnicmp(tbl->was_name.p, tbl->name.p, (int)tbl->name.n) != 0);
	if (f.there && renamed && s->sink.begins == t->source && (rc = lite_rename_table(s, t, tbl->was_name, true, err)) != OK)
		return rc;
	if (!f.there && renamed) {
		if ((rc = lite_rename_table(s, t, tbl->was_name, false, err)) != OK || (rc = lite_rename_columns(s, t, err)) != OK ||
		    (rc = read_columns(s, t, &f, err)) != OK)
			return rc;
	}
	if (!f.there) {
		if ((rc = check_left(s, t, err)) != OK || (rc = create_table(s, t, err)) != OK)
			return rc;
		if ((rc = read_columns(s, t, &f, err)) != OK)
			return rc;
	}
	if ((rc = match_columns(s, t, &f, err)) != OK || (rc = lite_fit_key(s, t, err)) != OK)
		return rc;
	if (tbl->nkeys)
		find_unique(s, t);
	return OK;
}
