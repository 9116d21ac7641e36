/*
 * A table at a SQLite sink: its name, its columns matched by name, made or widened where the
 * configuration allows it.
 */
#include "consumer/sink_sqlite.h"
#include "core/log.h"
#include "core/pg.h"
#include "schemas/pgtypes.h"

/* "schema.table" is "table" for public, else "schema_table". */
static struct slice
sink_name(const struct table *tbl, struct arena *a)
{
	if (slice_is(tbl->schema, "public") || slice_is(tbl->schema, "main") || tbl->schema.n == 0)
		return tbl->name;
	return slice_of(arena_printf(a, "%.*s_%.*s", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name)));
}

/* Two source tables may come to one name: the first one that took it keeps it. */
static enum rc
claim_name(struct sink_sqlite *s, struct lite_target *t, struct slice name, struct err *err)
{
	const char *source = arena_printf(
	    &t->arena, "%.*s.%.*s", SLICE_ARG(t->tbl->schema), SLICE_ARG(t->tbl->name));
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "table names",
	    "INSERT INTO towline_table (name, source) VALUES (?1, ?2)"
	    " ON CONFLICT (name) DO UPDATE SET source = source RETURNING source",
	    &st, err);

	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, name.p, (int)name.n, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, source, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_ROW)
		rc = lite_fail(s, "table names", err);
	else if (strcmp((const char *)sqlite3_column_text(st, 0), source) != 0)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "tables %s and %s would both go to %s; leave one out",
		    (const char *)sqlite3_column_text(st, 0), source, t->t.name);
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
	enum rc rc;

	if (!s->sink.conf->create_tables)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s does not exist at the sink; create it, or set create_tables: true",
		    t->t.name);
	buf_printf(&sql, "CREATE TABLE %s (", t->t.name);
	for (int i = 0; i < tbl->ncols; i++)
		buf_printf(&sql, "%s%s %s%s", i ? ", " : "", pg_ident(&t->arena, tbl->cols[i].name),
		    sqlite_create(&tbl->cols[i].type),
		    tbl->cols[i].notnull || is_key(tbl, i) ? " NOT NULL" : "");
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
	const char *policy = s->sink.conf->on_schema_change;
	const char *sql = arena_printf(&t->arena, "ALTER TABLE %s ADD COLUMN %s %s%s", t->t.name,
	    pg_ident(&t->arena, c->name), sqlite_create(&c->type),
	    sink_default(DIALECT_SQLITE, c, &t->arena));
	enum rc rc;

	if (policy && strcmp(policy, "ignore") == 0 && !is_key(t->tbl, col)) {
		log_warn("sink", "a column is left out", "sink=%s table=%s column=%s",
		    s->sink.conf->name, t->t.name, c->name.p);
		return OK;
	}
	if ((policy && strcmp(policy, "stop") == 0) || is_key(t->tbl, col))
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s lacks column %s at the sink; %s", t->t.name, c->name.p, sql);
	if ((rc = lite_exec(s, t->t.name, sql, err)) != OK)
		return rc;
	t->t.cols[col].name = c->name;
	log_info("sink", "column added", "sink=%s table=%s column=%s", s->sink.conf->name,
	    t->t.name, c->name.p);
	return OK;
}

/*
 * Columns as they are; *there: the table exists. table_xinfo lists generated ones too (hidden 2 and
 * 3).
 */
static enum rc
read_columns(
    struct sink_sqlite *s, struct lite_target *t, bool *there, bool *generated, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "look up the columns",
	    arena_printf(&t->arena, "PRAGMA table_xinfo(%s)", t->t.name), &st, err);

	*there = false;
	if (rc != OK)
		return rc;
	while (sqlite3_step(st) == SQLITE_ROW) {
		/* SQLite compares names without case. */
		const char *name = (const char *)sqlite3_column_text(st, 1);

		*there = true;
		for (int i = 0; i < t->tbl->ncols; i++)
			if (sqlite3_stricmp(name, t->tbl->cols[i].name.p) == 0) {
				generated[i] = sqlite3_column_int(st, 6) >= 2;
				if (!generated[i])
					t->t.cols[i].name = t->tbl->cols[i].name;
			}
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

enum rc
lite_table(struct sink_sqlite *s, struct lite_target *t, struct err *err)
{
	const struct table *tbl = t->tbl;
	struct slice name = sink_name(tbl, &t->arena);
	bool *generated = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *generated), there;
	enum rc rc;

	t->t = (struct target){ .dialect = DIALECT_SQLITE,
		.ncols = tbl->ncols,
		.nkeys = tbl->nkeys,
		.keys = tbl->keys };
	t->t.name = pg_ident(&t->arena, name);
	t->t.cols = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *t->t.cols);
	t->flags = arena_alloc(&t->arena, (size_t)tbl->ncols * 2 + 1);
	if ((rc = claim_name(s, t, name, err)) != OK ||
	    (rc = read_columns(s, t, &there, generated, err)) != OK)
		return rc;
	if (!there) {
		if ((rc = create_table(s, t, err)) != OK)
			return rc;
		if ((rc = read_columns(s, t, &there, generated, err)) != OK)
			return rc;
	}
	for (int i = 0; i < tbl->ncols; i++)
		if (!t->t.cols[i].name.n && !generated[i] && (rc = add_column(s, t, i, err)) != OK)
			return rc;
	if (tbl->nkeys)
		find_unique(s, t);
	return OK;
}
