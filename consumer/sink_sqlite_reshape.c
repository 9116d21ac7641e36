/*
 * A table at a SQLite sink follows the source's: renamed, its columns renamed or widened. SQLite can change neither the type of a
 * column nor its NOT NULL; the column is made anew and takes the values along.
 */
#include "consumer/reshape.h"
#include "consumer/sink_sqlite.h"
#include "core/log.h"
#include "core/pg.h"

static enum rc
reshape(struct sink_sqlite *s, struct lite_target *t, const char *what, const char *sql,
    struct err *err)
{
	enum sink_policy policy = sink_policy(s->sink.conf);
	struct err ignored;
	enum rc rc;

	if (policy == SINK_STOP)
		return sink_refuse(t->t.name, what, sql, err);
	if (policy == SINK_IGNORE) {
		log_warn("sink", "left as it is", "sink=%s table=%s change=\"%s\"",
		    s->sink.conf->name, t->t.name, what);
		return OK;
	}
	rc = lite_exec(
	    s, what, arena_printf(&t->arena, "SAVEPOINT reshape; %s; RELEASE reshape", sql), err);
	if (rc == OK) {
		log_info("sink", "table changed", "sink=%s table=%s change=\"%s\"",
		    s->sink.conf->name, t->t.name, what);
		return OK;
	}
	if (lite_exec(s, what, "ROLLBACK TO reshape; RELEASE reshape", &ignored) != OK)
		return rc; /* then SQLite has rolled back all of it */
	return rc == RETRY ? rc
			   : fail_exit(err, FATAL, EXIT_REFUSED,
				 "%s: %s; run what fits, and start again", err->text, sql);
}

static const char *
ident(struct lite_target *t, struct slice name)
{
	return pg_ident(&t->arena, name);
}

/* The names of a table's columns; *n 0: there is no such table. */
static enum rc
column_names(struct sink_sqlite *s, struct lite_target *t, const char *table, const char ***out,
    int *n, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int most = sqlite3_limit(s->db, SQLITE_LIMIT_COLUMN, -1);
	enum rc rc = lite_compile(s, "look up the columns",
	    arena_printf(&t->arena, "PRAGMA table_xinfo(%s)", table), &st, err);

	*n = 0;
	*out = arena_array(&t->arena, (size_t)most, sizeof **out);
	if (rc != OK)
		return rc;
	while (*n < most && sqlite3_step(st) == SQLITE_ROW)
		(*out)[(*n)++] =
		    arena_text(&t->arena, slice_of((const char *)sqlite3_column_text(st, 1)));
	sqlite3_finalize(st);
	return OK;
}

enum rc
lite_rename_table(struct sink_sqlite *s, struct lite_target *t, struct slice old, bool taken, struct err *err)
{
	const char **names, *from = ident(t, old), *sql;
	int n;
	enum rc rc = column_names(s, t, from, &names, &n, err);

	if (rc != OK || n == 0)
		return rc;
	sql = arena_printf(&t->arena, "ALTER TABLE %s RENAME TO %s", from, t->t.name);
	if (taken)
		return sink_both_there(&s->sink, from, t->t.name, sink_aside(&t->arena, t->tbl->name), sql, err);
	rc = reshape(s, t, arena_printf(&t->arena, "it was %s before", from), sql, err);
	if (rc == OK && s->sink.begins == t->source)
		lite_forget_name(s, from);
	return rc;
}

enum rc
lite_rename_columns(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct reshape_move *moves = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *moves);
	const char **have;
	int n, nmoves = 0;
	enum rc rc = OK;
	bool any = false;

	for (int i = 0; i < tbl->ncols; i++)
		any |= tbl->cols[i].was.n > 0;
	if (!any || sink_policy(s->sink.conf) == SINK_IGNORE)
		return OK;
	rc = column_names(s, t, t->t.name, &have, &n, err);
	if (rc == OK && n)
		rc = reshape_moves(tbl, t->t.name, s->sink.begins == t->source, have, n, moves, &nmoves, err);
	for (int i = 0; i < nmoves && rc == OK; i++) {
		const struct column *c = &tbl->cols[moves[i].col];

		rc = reshape(s, t,
		    arena_printf(&t->arena, "column %s is called %s now", moves[i].from, c->name.p),
		    arena_printf(&t->arena, "ALTER TABLE %s RENAME COLUMN %s TO %s", t->t.name,
			ident(t, slice_of(moves[i].from)), ident(t, c->name)),
		    err);
	}
	return rc;
}

/* The column with another declaration, its values taken along by `using`, an expression with %s for the old column. */
static const char *
remake_sql(struct lite_target *t, struct slice name, const char *declared, const char *using)
{
	const char *col = ident(t, name),
		   *old = ident(
		       t, slice_of(arena_printf(&t->arena, "%.*s_towline_old", SLICE_ARG(name))));
	const char *place = strstr(using, "%s");
	const char *value =
	    arena_printf(&t->arena, "%.*s%s%s", (int)(place - using), using, old, place + 2);

	return arena_printf(&t->arena,
	    "ALTER TABLE %s RENAME COLUMN %s TO %s; ALTER TABLE %s ADD COLUMN %s %s; UPDATE %s SET %s = %s; ALTER TABLE %s DROP COLUMN %s",
	    t->t.name, col, old, t->t.name, col, declared, t->t.name, col, value, t->t.name, old);
}

static enum rc
fit_column(struct sink_sqlite *s, struct lite_target *t, const struct lite_found *f,
    const struct table *before, int col, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	int old = before ? table_column(before, c->was.n ? c->was : c->name) : -1;
	const char *to, *using, *what;
	enum fit fit = reshape_lite_type(
	    c, old >= 0 ? &before->cols[old] : NULL, f->declared[col], &to, &using);

	if (fit == FIT_AS_IS && (c->notnull || !f->notnull[col]))
		return OK;
	what = fit == FIT_AS_IS
	    ? arena_printf(&t->arena, "column %s may be NULL at the source", c->name.p)
	    : arena_printf(&t->arena,
		  "column %s is %s here and cannot hold what the source has in it as it is (%s)",
		  c->name.p, f->declared[col], to);
	if (fit == FIT_NOT && sink_policy(s->sink.conf) == SINK_APPLY)
		return sink_refuse(t->t.name, what,
		    arena_printf(&t->arena,
			"make the column anew as %s with the values that you want there, or set on_schema_change: ignore",
			to),
		    err);
	return reshape(s, t, what,
	    remake_sql(t, c->name, fit == FIT_AS_IS ? f->declared[col] : to, using), err);
}

/* ---- the key ---- */

/* A column as PRAGMA table_xinfo has it, for CREATE TABLE; without its part in the key. */
static void
put_column(struct lite_target *t, sqlite3_stmt *st, struct buf *defs, struct buf *names)
{
	const char *name = ident(t, slice_of((const char *)sqlite3_column_text(st, 1)));
	const char *dflt = (const char *)sqlite3_column_text(st, 4);

	buf_printf(defs, "%s%s %s%s%s%s", defs->n ? ", " : "", name,
	    (const char *)sqlite3_column_text(st, 2), sqlite3_column_int(st, 3) ? " NOT NULL" : "",
	    dflt ? " DEFAULT " : "", dflt ? dflt : "");
	buf_printf(names, "%s%s", names->n ? ", " : "", name);
}

/* The table made anew under its new key. pk: columns of the key it has; same: those of the key that the source had before. */
static enum rc
remake_table(struct sink_sqlite *s, struct lite_target *t, const char **sql, int *pk, int *same,
    struct err *err)
{
	struct buf defs = { 0 }, names = { 0 };
	const char *tmp = ident(
	    t, slice_of(arena_printf(&t->arena, "%.*s_towline_new", SLICE_ARG(t->tbl->name))));
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "look up the key",
	    arena_printf(&t->arena, "PRAGMA table_xinfo(%s)", t->t.name), &st, err);

	*pk = *same = 0;
	while (rc == OK && sqlite3_step(st) == SQLITE_ROW) {
		if (sqlite3_column_int(st, 6))
			continue; /* generated: below nothing is done then */
		put_column(t, st, &defs, &names);
		*pk += sqlite3_column_int(st, 5) > 0;
		*same += sqlite3_column_int(st, 5) > 0 &&
		    table_was_key(t->tbl, slice_of((const char *)sqlite3_column_text(st, 1)));
	}
	sqlite3_finalize(st);
	for (int i = 0; i < t->tbl->nkeys; i++)
		buf_printf(&defs, "%s%s%s", i ? ", " : ", PRIMARY KEY (",
		    ident(t, t->tbl->cols[t->tbl->keys[i]].name),
		    i + 1 == t->tbl->nkeys ? ")" : "");
	*sql = arena_printf(&t->arena,
	    "CREATE TABLE %s (%s); INSERT INTO %s (%s) SELECT %s FROM %s; DROP TABLE %s; ALTER TABLE %s RENAME TO %s",
	    tmp, buf_cstr(&defs), tmp, buf_cstr(&names), buf_cstr(&names), t->t.name, t->t.name,
	    tmp, t->t.name);
	buf_free(&defs);
	buf_free(&names);
	return rc;
}

/* Indexes, triggers, foreign keys and generated columns would be lost with the table. */
static enum rc
has_more(struct sink_sqlite *s, struct lite_target *t, bool *more, struct err *err)
{
	sqlite3_stmt *st = NULL;
	const char *name = pg_literal(&t->arena, slice_of(arena_text(&t->arena, t->tbl->name)));
	enum rc rc = lite_compile(s, "look what hangs on the table",
	    arena_printf(&t->arena,
		"SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL AND type IN ('index', 'trigger'))"
		" OR EXISTS (SELECT 1 FROM pragma_foreign_key_list(%s)) OR EXISTS (SELECT 1 FROM pragma_table_xinfo(%s) WHERE hidden > 0)",
		name, name, name),
	    &st, err);

	*more = rc == OK && sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return rc;
}

/* Only where the sink's key is the one that the source's table had before. */
enum rc
lite_fit_key(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const char *sql;
	int pk, same;
	bool more;
	enum rc rc;

	if (!t->tbl->rekeyed)
		return OK;
	if ((rc = remake_table(s, t, &sql, &pk, &same, err)) != OK || pk != t->tbl->nwas_keys ||
	    same != pk)
		return rc;
	if ((rc = has_more(s, t, &more, err)) != OK)
		return rc;
	if (more && sink_policy(s->sink.conf) == SINK_APPLY)
		return sink_refuse(t->t.name,
		    "its key is another one now, and it has indexes, triggers or generated columns of its own",
		    "make it anew with the new key, and what belongs to it", err);
	return reshape(s, t, "its key is another one now", sql, err);
}

enum rc
lite_fit_columns(
    struct sink_sqlite *s, struct lite_target *t, const struct lite_found *f, struct err *err)
{
	const struct table *before = lite_version_before(s, t);
	enum rc rc = OK;

	for (int i = 0; i < t->tbl->ncols && rc == OK; i++)
		if (f->declared[i] && !f->generated[i] && !table_is_key(t->tbl, i))
			rc = fit_column(s, t, f, before, i, err);
	for (int i = 0; i < f->nextra && rc == OK; i++) {
		const struct sink_extra *x = &f->extra[i];

		if (x->needed)
			rc = reshape(s, t,
			    arena_printf(&t->arena,
				"column %s is NOT NULL without a default at the sink, and the source does not have it",
				x->name),
			    remake_sql(t, slice_of(x->name), x->type, "%s"), err);
	}
	return rc;
}
