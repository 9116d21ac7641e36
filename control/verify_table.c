/*
 * What can be compared of a table. A column that has another type at the sink, as tables made by hand have, is compared as the sink would
 * take the source's text; types that are not PostgreSQL's own travel as texts and are compared so.
 */
#include "consumer/mapping.h"
#include "control/verify.h"
#include "producer/copy_table.h"
#include "producer/shape.h"

#include <stdio.h>
#include <stdlib.h>

struct col {
	const char *name, *type, *base; /* with and without typmod */
	uint32_t oid;
	bool own;       /* a type of pg_catalog */
	bool generated;
	bool c_order;   /* sorted by bytes, or has no collation */
	const char *schema; /* of the type, quoted */
};

struct side {
	char kind;      /* pg_class.relkind; 0: no such table */
	struct col *cols;
	int n;
};

static const char columns_sql[] =
    "SELECT c.relkind, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1),"
    "  t.typnamespace = 'pg_catalog'::regnamespace, a.attgenerated <> '',"
    "  a.attcollation = 0 OR l.collname IN ('C', 'POSIX') OR (l.collprovider = 'd' AND d.datcollate IN ('C', 'POSIX')"
    "    AND coalesce(to_jsonb(d)->>'datlocprovider', 'c') = 'c'),"
    "  quote_ident(n.nspname)"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace"
    " JOIN pg_database d ON d.datname = current_database() LEFT JOIN pg_collation l ON l.oid = a.attcollation"
    " WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relname = $2 ORDER BY a.attnum";

static enum rc
look(PGconn *conn, const char *schema, const char *name, struct arena *a, struct side *out, struct err *err)
{
	const char *params[] = { schema, name };
	PGresult *res = NULL;
	enum rc rc = verify_ask(conn, "columns", columns_sql, 2, params, &res, err);

	*out = (struct side){ 0 };
	if (rc != OK)
		return rc;
	out->cols = arena_array(a, (size_t)PQntuples(res) + 1, sizeof *out->cols);
	for (int i = 0; i < PQntuples(res); i++) {
		out->kind = *PQgetvalue(res, i, 0);
		out->cols[out->n++] = (struct col){
			.name = arena_text(a, slice_of(PQgetvalue(res, i, 1))),
			.oid = (uint32_t)strtoul(PQgetvalue(res, i, 2), NULL, 10),
			.type = arena_text(a, slice_of(PQgetvalue(res, i, 3))),
			.base = arena_text(a, slice_of(PQgetvalue(res, i, 4))),
			.own = *PQgetvalue(res, i, 5) == 't',
			.generated = *PQgetvalue(res, i, 6) == 't',
			.c_order = *PQgetvalue(res, i, 7) == 't',
			.schema = arena_text(a, slice_of(PQgetvalue(res, i, 8))),
		};
	}
	PQclear(res);
	return OK;
}

static const struct col *
find(const struct side *s, struct slice name)
{
	for (int i = 0; i < s->n; i++)
		if (slice_is(name, s->cols[i].name))
			return &s->cols[i];
	return NULL;
}

/* Types whose order is the same on every server. */
static bool
sorts_alike(const struct verify *v, const struct col *a, const struct col *b)
{
	static const uint32_t plain[] = { PG_BOOL, PG_INT2, PG_INT4, PG_INT8, PG_OID, PG_NUMERIC, PG_UUID, PG_BYTEA, PG_DATE,
		PG_TIMESTAMP, PG_TIMESTAMPTZ };
	bool whole_a = a->oid == PG_INT2 || a->oid == PG_INT4 || a->oid == PG_INT8;
	bool whole_b = b->oid == PG_INT2 || b->oid == PG_INT4 || b->oid == PG_INT8;
	bool text_a = a->oid == PG_TEXT || a->oid == PG_VARCHAR, text_b = b->oid == PG_TEXT || b->oid == PG_VARCHAR;

	if (whole_a && whole_b)
		return true;
	if (text_a && text_b)
		return a->c_order && b->c_order && v->utf8[VERIFY_SOURCE] && v->utf8[VERIFY_SINK];
	for (size_t i = 0; i < COUNTOF(plain); i++)
		if (a->oid == plain[i] && b->oid == plain[i])
			return true;
	return false;
}

/* ---- columns ---- */

static void
leave(struct verify_table *t, struct slice column, const char *why)
{
	t->left[t->nleft++] = (struct verify_left){ arena_text(&t->arena, column), why };
}

static struct verify_column
column_of(struct verify_table *t, const struct col *from, const struct col *to)
{
	struct arena *a = &t->arena;
	struct verify_column c = { .name = from->name, .type = { from->base, to->base } };

	c.raw[VERIFY_SOURCE] = c.value[VERIFY_SOURCE] = pg_ident(a, slice_of(from->name));
	c.raw[VERIFY_SINK] = c.value[VERIFY_SINK] = pg_ident(a, slice_of(to->name));
	/* One without a pair travels as a blank, or as a map without one; all others begin and end with a quote, or a NULL. */
	if (to->oid == PG_TEXT && strlen(from->base) > 7 && strcmp(from->base + strlen(from->base) - 7, ".hstore") == 0)
		for (int i = 0; i < 2; i++)
			c.value[i] = arena_printf(a, "btrim(%s::text)", c.raw[i]);
	if (from->oid == to->oid || !from->own || !to->own)
		return c;
	/* What has another type where the sink makes the table is written as a value; all else as the text. */
	if (from->oid == PG_FLOAT4 && to->oid == PG_FLOAT8) {
		c.value[VERIFY_SINK] = arena_printf(a, "%s::float4", c.raw[VERIFY_SINK]);
	} else if (from->oid == PG_MONEY && to->oid == PG_NUMERIC) {
		c.value[VERIFY_SOURCE] = arena_printf(a, "trim_scale(%s::numeric)", c.raw[VERIFY_SOURCE]);
		c.value[VERIFY_SINK] = arena_printf(a, "trim_scale(%s)", c.raw[VERIFY_SINK]);
	} else if ((from->oid == PG_BIT || from->oid == PG_VARBIT) && to->oid == PG_BOOL) {
		c.value[VERIFY_SOURCE] = arena_printf(a, "(%s = B'1')", c.raw[VERIFY_SOURCE]);
	} else {
		c.value[VERIFY_SOURCE] = arena_printf(a, "(CASE WHEN %s IS DISTINCT FROM NULL THEN format('%%s', %s) END)::%s",
		    c.raw[VERIFY_SOURCE], c.raw[VERIFY_SOURCE], to->type);
	}
	return c;
}

static const char *
reason_to_leave(const struct verify *v, const struct shape *shape, int i, struct slice there, const struct col *to)
{
	if (shape && shape_hides(shape, i))
		return "masked, or not published (columns.mask, columns.exclude)";
	if (!there.n)
		return "this sink does not get it (columns.exclude)";
	if (!to)
		return strcmp(v->sink->on_schema_change, "ignore") == 0 ? "the sink has no such column (on_schema_change: ignore)"
		    : "the sink has no such column yet";
	return to->generated ? "generated at the sink" : NULL;
}

static void
take_columns(struct verify *v, struct verify_table *t, const struct table *tbl, const struct table *mapped, const struct shape *shape,
    const struct side sides[VERIFY_SIDES])
{
	struct verify_shape *s = &t->shape;
	int *place = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *place);
	bool keyed = tbl->nkeys > 0;

	s->cols = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *s->cols);
	s->keys = arena_array(&t->arena, (size_t)tbl->nkeys + 1, sizeof *s->keys);
	t->left = arena_array(&t->arena, (size_t)tbl->ncols + (size_t)sides[VERIFY_SOURCE].n + 1, sizeof *t->left);
	for (int i = 0; i < tbl->ncols; i++) {
		const struct col *from = find(&sides[VERIFY_SOURCE], tbl->cols[i].name);
		const struct col *to = find(&sides[VERIFY_SINK], mapped->cols[i].name);
		const char *why = from ? reason_to_leave(v, shape, i, mapped->cols[i].name, to) : "it was dropped just now";

		place[i] = why ? -1 : s->ncols;
		if (why)
			leave(t, tbl->cols[i].name, why);
		else
			s->cols[s->ncols++] = column_of(t, from, to);
	}
	for (int i = 0; i < sides[VERIFY_SOURCE].n; i++)
		if (table_column(tbl, slice_of(sides[VERIFY_SOURCE].cols[i].name)) < 0)
			leave(t, slice_of(sides[VERIFY_SOURCE].cols[i].name), "not in the publication");
	t->ranges = keyed;
	for (int i = 0; i < tbl->nkeys && keyed; i++) {
		keyed = place[tbl->keys[i]] >= 0;
		s->keys[s->nkeys++] = place[tbl->keys[i]];
		t->ranges = t->ranges && keyed && sorts_alike(v, find(&sides[VERIFY_SOURCE], tbl->cols[tbl->keys[i]].name),
		    find(&sides[VERIFY_SINK], mapped->cols[tbl->keys[i]].name));
	}
	if (keyed || !tbl->nkeys)
		return;
	s->nkeys = 0;
	t->note = "its key cannot be compared (masked, or not at the sink), so rows are told by nothing";
}

/* ---- the table ---- */

static const char *
path_of(struct verify_table *t, const struct side *s, enum verify_side side)
{
	struct buf b = { 0 };
	const char *path;

	buf_text(&b, "pg_catalog");
	for (int i = 0; i < t->shape.nkeys; i++)
		for (int k = 0; k < s->n; k++)
			if (!s->cols[k].own &&
			    strcmp(pg_ident(&t->arena, slice_of(s->cols[k].name)), t->shape.cols[t->shape.keys[i]].raw[side]) == 0)
				buf_printf(&b, ", %s", s->cols[k].schema);
	path = arena_text(&t->arena, buf_view(&b));
	buf_free(&b);
	return path;
}

static const char *
from_of(struct verify_table *t, const struct side *s, struct slice schema, struct slice name)
{
	return arena_printf(&t->arena, "%s%s.%s", s->kind == 'r' ? "ONLY " : "", pg_ident(&t->arena, schema), pg_ident(&t->arena, name));
}

static enum rc
skip(struct verify_table *t, const char *why)
{
	t->state = VERIFY_SKIPPED;
	t->why = arena_text(&t->arena, slice_of(why));
	return OK;
}

/* Not made there yet, as no row came: right where there is none. */
static enum rc
no_table(struct verify *v, struct verify_table *t, const char *from, struct err *err)
{
	struct arena *a = &t->arena;
	PGresult *res = NULL;
	enum rc rc = verify_ask(v->look[VERIFY_SOURCE], "count the rows",
	    arena_printf(a, "SELECT count(*) FROM %s WHERE (%s\n)", from, t->shape.filter ? t->shape.filter : "true"), 0, NULL, &res, err);

	if (rc != OK)
		return rc;
	t->rows = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	if (!t->rows) {
		t->note = "the sink has no such table yet, and the source no row";
		return OK;
	}
	t->state = VERIFY_DIFFERS;
	t->counts[VERIFY_MISSING] = t->rows;
	t->cut = true;
	t->note = "the sink has no such table";
	return OK;
}

static enum rc
fill(struct verify *v, struct verify_table *t, const struct copy_table *ct, struct err *err)
{
	const struct table *tbl = &ct->rel->table, *mapped;
	struct side sides[VERIFY_SIDES];
	struct shape *shape = NULL;
	enum rc rc = shape_make(v->conf, tbl, false, &t->arena, &shape, err);

	t->estimate = ct->estimate;
	t->shape.filter = ct->filter ? arena_text(&t->arena, slice_of(ct->filter)) : NULL;
	if (rc == OK)
		rc = mapping_table(v->sink, tbl, &t->arena, &mapped, err);
	if (rc == OK)
		rc = look(v->look[VERIFY_SOURCE], t->schema, t->name, &t->arena, &sides[VERIFY_SOURCE], err);
	if (rc == OK)
		rc = look(v->look[VERIFY_SINK], arena_text(&t->arena, mapped->schema), arena_text(&t->arena, mapped->name), &t->arena,
		    &sides[VERIFY_SINK], err);
	if (rc != OK)
		return rc;
	if (!sides[VERIFY_SOURCE].kind)
		return skip(t, "it was dropped just now");
	if (!sides[VERIFY_SINK].kind)
		return no_table(v, t, arena_text(&t->arena, slice_of(ct->from)), err);
	if (sides[VERIFY_SINK].kind != 'r' && sides[VERIFY_SINK].kind != 'p')
		return skip(t, "what the sink has of that name is no table");
	take_columns(v, t, tbl, mapped, shape, sides);
	if (!t->shape.ncols)
		return skip(t, "no column of it can be compared");
	t->path[VERIFY_SOURCE] = arena_text(&t->arena, slice_of(ct->path));
	t->path[VERIFY_SINK] = path_of(t, &sides[VERIFY_SINK], VERIFY_SINK);
	t->shape.from[VERIFY_SOURCE] = arena_text(&t->arena, slice_of(ct->from));
	t->shape.from[VERIFY_SINK] = from_of(t, &sides[VERIFY_SINK], mapped->schema, mapped->name);
	return OK;
}

static enum rc
look_once(struct verify *v, struct verify_table *t, struct err *err)
{
	struct copy_table *ct = NULL;
	enum rc rc;

	/* Where the last table's key has its operators is not where this one's names are to be found. */
	for (int i = 0; i < VERIFY_SIDES; i++)
		if ((rc = verify_path(v, i, "pg_catalog", err)) != OK)
			return rc;
	t->shape = (struct verify_shape){ .md5 = v->md5 };
	t->nleft = 0;
	memcpy(t->shape.utf8, v->utf8, sizeof t->shape.utf8);
	rc = copy_table_look(v->look[VERIFY_SOURCE], v->conf, t->schema, t->name, &ct, err);
	if (rc == REJECT)
		return skip(t, "it is not published");
	if (rc == OK)
		rc = fill(v, t, ct, err);
	copy_table_free(ct);
	for (int i = 0; i < VERIFY_SIDES && rc == OK && t->shape.from[i]; i++)
		rc = verify_path(v, i, t->path[i], err);
	return rc;
}

enum rc
verify_table_look(struct verify *v, struct verify_table *t, struct err *err)
{
	enum rc rc = look_once(v, t, err);

	for (int tries = 1; rc == RETRY && tries <= VERIFY_TRIES; tries++) {
		rc = verify_reopen(v, tries, err);
		if (rc == OK)
			rc = look_once(v, t, err);
	}
	return rc;
}
