/*
 * A table at the sink follows the source's: renamed, its columns renamed or widened, its key another. What cannot be done without
 * loss is refused with the statement that would do it.
 */
#include "consumer/sink_pg.h"
#include "core/log.h"

/* One statement that makes the table fit, as the policy says. *done: it was carried out. */
static enum rc
reshape(struct sink_pg *s, struct pg_target *t, const char *what, const char *sql, bool *done,
    struct err *err)
{
	enum sink_policy policy = sink_policy(s->sink.conf);
	enum rc rc;

	*done = false;
	if (policy == SINK_STOP)
		return sink_refuse(t->t.name, what, sql, err);
	if (policy == SINK_IGNORE) {
		log_warn("sink", "left as it is", "sink=%s table=%s change=\"%s\"",
		    s->sink.conf->name, t->t.name, what);
		return OK;
	}
	rc = pg_ddl(s, what, sql, err);
	if (rc == OK) {
		*done = true;
		log_info("sink", "table changed", "sink=%s table=%s change=\"%s\"",
		    s->sink.conf->name, t->t.name, what);
		return OK;
	}
	return rc == RETRY ? rc
			   : fail_exit(err, FATAL, EXIT_REFUSED,
				 "%s: %s; run what fits, and start again", err->text, sql);
}

static const char *
ident(struct pg_target *t, struct slice name)
{
	return pg_ident(&t->arena, name);
}

/* ---- names ---- */

static const char *
rename_sql(struct pg_target *t, const struct pg_found *w, const char *old)
{
	const struct table *tbl = t->tbl;
	const char *sql = "";

	if (!slice_is(tbl->was_schema, w->schema))
		sql = arena_printf(&t->arena, "ALTER TABLE %s SET SCHEMA %s", old, ident(t, slice_of(w->schema)));
	if (!slice_eq(tbl->was_name, tbl->name))
		sql = arena_printf(&t->arena, "%s%sALTER TABLE %s.%s RENAME TO %s", sql, *sql ? "; " : "",
		    ident(t, slice_of(w->schema)), ident(t, tbl->was_name), ident(t, tbl->name));
	return sql;
}

enum rc
pg_rename_table(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	const struct table *tbl = t->tbl;
	const char *old = arena_printf(&t->arena, "%s.%s", ident(t, tbl->was_schema), ident(t, tbl->was_name));
	PGresult *res;
	bool there, done;
	enum rc rc = pg_exec_params(s->conn, "look up the table's old name",
	    "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1) AND relkind IN ('r', 'p', 'f'))", 1, &old, &res, err);

	if (rc != OK)
		return rc;
	there = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (!there)
		return OK;
	if (w->oid)
		return sink_both_there(&s->sink, old, t->t.name, sink_aside(&t->arena, tbl->name), rename_sql(t, w, old), err);
	rc = reshape(s, t, arena_printf(&t->arena, "it was %s before", old), rename_sql(t, w, old), &done, err);
	if (rc == OK && s->sink.begins == t->source)
		table_forget_name(s, old);
	return rc;
}

static bool
any_was(const struct table *tbl)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (tbl->cols[i].was.n)
			return true;
	return false;
}

/* All names that the sink's table has. */
static enum rc
column_names(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, const char ***out,
    int *n, struct err *err)
{
	PGresult *res;
	enum rc rc = pg_exec_params(s->conn, "look up the columns",
	    "SELECT attname FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped",
	    1, &w->oid, &res, err);

	if (rc != OK)
		return rc;
	*n = PQntuples(res);
	*out = arena_array(&t->arena, (size_t)*n + 1, sizeof **out);
	for (int i = 0; i < *n; i++)
		(*out)[i] = arena_text(&t->arena, slice_of(PQgetvalue(res, i, 0)));
	PQclear(res);
	return OK;
}

enum rc
pg_rename_columns(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct reshape_move *moves;
	const char **have;
	int n, nmoves = 0;
	bool done;
	enum rc rc;

	if (!any_was(tbl) || sink_policy(s->sink.conf) == SINK_IGNORE)
		return OK;
	if ((rc = column_names(s, t, w, &have, &n, err)) != OK)
		return rc;
	moves = arena_array(&t->arena, (size_t)tbl->ncols, sizeof *moves);
	rc = reshape_moves(tbl, t->t.name, s->sink.begins == t->source, have, n, moves, &nmoves, err);
	for (int i = 0; i < nmoves && rc == OK; i++) {
		const struct column *c = &tbl->cols[moves[i].col];

		rc = reshape(s, t,
		    arena_printf(&t->arena, "column %s is called %s now", moves[i].from, c->name.p),
		    arena_printf(&t->arena, "ALTER TABLE %s RENAME COLUMN %s TO %s", t->t.name,
			ident(t, slice_of(moves[i].from)), ident(t, c->name)),
		    &done, err);
	}
	return rc;
}

/* ---- columns ---- */

static enum rc
fit_type(struct sink_pg *s, struct pg_target *t, const struct pg_found *w,
    const struct table *before, int col, bool *done, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	int old = before ? table_column(before, c->was.n ? c->was : c->name) : -1;
	const char *to, *what, *sql, *name = ident(t, c->name);
	enum fit fit;

	w->have[col].begins = s->sink.begins == t->source;
	fit = reshape_pg_type(c, old >= 0 ? &before->cols[old] : NULL, &w->have[col], &t->arena, &to);

	*done = false;
	if (fit == FIT_AS_IS)
		return OK;
	what = arena_printf(&t->arena,
	    "column %s is %s here and cannot hold what the source has in it (%s)", c->name.p,
	    t->t.cols[col].type, to);
	sql = arena_printf(&t->arena, "ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s",
	    t->t.name, name, to, name, to);
	if (fit == FIT_NOT && sink_policy(s->sink.conf) == SINK_APPLY)
		return sink_refuse(t->t.name, what,
		    arena_printf(&t->arena,
			"%s, if that keeps the values as you want them, or set on_schema_change: ignore",
			sql),
		    err);
	return reshape(s, t, what, sql, done, err);
}

static enum rc
fit_null(struct sink_pg *s, struct pg_target *t, int col, bool *done, struct err *err)
{
	const char *name = ident(t, t->tbl->cols[col].name);

	return reshape(s, t, arena_printf(&t->arena, "column %s may be NULL at the source", name),
	    arena_printf(
		&t->arena, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", t->t.name, name),
	    done, err);
}

/* Labels that the source's enum has and the sink's lacks, in the source's order: each is put behind the one before it. */
static enum rc
fit_labels(
    struct sink_pg *s, struct pg_target *t, const struct pg_found *w, int col, struct err *err)
{
	static const char missing_sql[] =
	    "SELECT format('ALTER TYPE %s ADD VALUE IF NOT EXISTS %L', $1::oid::regtype, l) ||"
	    "       CASE WHEN prev IS NULL THEN '' ELSE format(' AFTER %L', prev) END"
	    "  FROM (SELECT l, o, lag(l) OVER (ORDER BY o) AS prev FROM unnest(string_to_array($2, ',')) WITH ORDINALITY u(l, o)) v"
	    " WHERE NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = $1::oid AND e.enumlabel = l) ORDER BY o";
	const struct column *c = &t->tbl->cols[col];
	const char *params[] = { arena_printf(&t->arena, "%u", w->have[col].oid), c->type.allowed };
	PGresult *res;
	bool done;
	enum rc rc =
	    pg_exec_params(s->conn, "look up the labels", missing_sql, 2, params, &res, err);

	for (int i = 0; rc == OK && i < PQntuples(res); i++)
		rc = reshape(s, t,
		    arena_printf(&t->arena, "the type of column %s lacks a label", c->name.p),
		    PQgetvalue(res, i, 0), &done, err);
	PQclear(res);
	return rc;
}

enum rc
pg_fit_columns(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, bool *changed,
    struct err *err)
{
	const struct table *before = pg_version_before(s, t);
	enum rc rc = OK;

	*changed = false;
	for (int i = 0; rc == OK && i < t->tbl->ncols; i++) {
		const struct column *c = &t->tbl->cols[i];
		bool done = false;

		if (!t->t.cols[i].name.n)
			continue;
		rc = fit_type(s, t, w, before, i, &done, err);
		*changed |= done;
		if (rc == OK && w->have[i].typtype == 'e' && c->type.allowed && *c->type.allowed)
			rc = fit_labels(s, t, w, i, err);
		if (rc == OK && w->notnull[i] && !c->notnull && !table_is_key(t->tbl, i) &&
		    !table_was_key(t->tbl, c->name))
			rc = fit_null(s, t, i, &done, err);
	}
	return rc;
}

/* ---- the key ---- */

/* The primary key at the sink: its name, and whether it is that of the source now, or before. */
static enum rc
primary_key(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, const char **name,
    bool *now, bool *before, struct err *err)
{
	static const char sql[] =
	    "SELECT c.conname, a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)"
	    " WHERE c.conrelid = $1::oid AND c.contype = 'p'";
	PGresult *res;
	enum rc rc = pg_exec_params(s->conn, "look up the primary key", sql, 1, &w->oid, &res, err);

	*name = NULL;
	*now = rc == OK && PQntuples(res) == t->tbl->nkeys;
	*before = rc == OK && PQntuples(res) == t->tbl->nwas_keys;
	for (int i = 0; rc == OK && i < PQntuples(res); i++) {
		struct slice col = slice_of(PQgetvalue(res, i, 1));

		*name = arena_text(&t->arena, slice_of(PQgetvalue(res, i, 0)));
		*now = *now && table_is_key(t->tbl, table_column(t->tbl, col));
		*before = *before && table_was_key(t->tbl, col);
	}
	PQclear(res);
	return rc;
}

static const char *
key_list(struct pg_target *t)
{
	const char *list = "";

	for (int i = 0; i < t->tbl->nkeys; i++)
		list = arena_printf(&t->arena, "%s%s%s", list, i ? ", " : "",
		    ident(t, t->tbl->cols[t->tbl->keys[i]].name));
	return list;
}

enum rc
pg_fit_key(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	const char *name, *drop, *add, *sql;
	bool old, new, done;
	enum rc rc;

	if (!t->tbl->rekeyed)
		return OK;
	if ((rc = primary_key(s, t, w, &name, &new, &old, err)) != OK)
		return rc;
	if (!old || new)
		return OK; /* not the source's, or done already */
	drop = name ? arena_printf(&t->arena, "DROP CONSTRAINT %s", ident(t, slice_of(name))) : "";
	add = t->tbl->nkeys ? arena_printf(&t->arena, "ADD PRIMARY KEY (%s)", key_list(t)) : "";
	sql = arena_printf(
	    &t->arena, "ALTER TABLE %s %s%s%s", t->t.name, drop, *drop && *add ? ", " : "", add);
	return reshape(s, t, "its key is another one now", sql, &done, err);
}
