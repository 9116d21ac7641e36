/*
 * What each source table is called at a PostgreSQL sink, remembered in towline.tables: `rename` or `schema` that come later than the rows
 * would begin it anew, empty, and leave the rows behind under the old name.
 */
#include "consumer/sink_pg.h"
#include "schemas/sql.h"

static const char *
quoted(struct pg_target *t, struct slice schema, struct slice name)
{
	return arena_printf(&t->arena, "%s.%s", pg_ident(&t->arena, schema), pg_ident(&t->arena, name));
}

static enum rc
refuse(struct sink_pg *s, struct pg_target *t, const char *source, const char *old, const char *schema, const char *name, struct err *err)
{
	struct arena *a = &t->arena;
	const char *here = pg_ident(a, t->tbl->schema), *sql = "";

	if (!slice_is(t->tbl->schema, schema))
		sql = arena_printf(a, "ALTER TABLE %s SET SCHEMA %s", old, here);
	if (!slice_is(t->tbl->name, name))
		sql = arena_printf(a, "%s%sALTER TABLE %s.%s RENAME TO %s", sql, *sql ? "; " : "", here, pg_ident(a, slice_of(name)),
		    pg_ident(a, t->tbl->name));
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "table %s is %s at this sink, with its rows, and the configuration of sink %s calls it %s now: %s; or take back `rename` and"
	    " `schema`; or, to have all of its rows copied under the new name: ALTER TABLE %s RENAME TO %s, and towline resync %s", source,
	    old, s->sink.conf->name, t->t.name, sql, old, sink_aside(a, slice_of(name)), s->sink.conf->name);
}

/* Each lane notes what it has met; what another one has met counts. */
enum rc
pg_check_left(struct sink_pg *s, struct pg_target *t, bool *known, struct err *err)
{
	static const char sql[] =
	    "SELECT t.name, n.nspname, c.relname, t.pipeline = $1 FROM towline.tables t"
	    " LEFT JOIN pg_class c ON c.oid = to_regclass(t.name) AND c.relkind IN ('r', 'p', 'f')"
	    " LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE (t.pipeline = $2 OR starts_with(t.pipeline, $2 || '/')) AND t.source = $3";
	const char *params[] = { s->sink.pipeline, park_base(s->sink.pipeline, &t->arena),
		quoted(t, t->source->schema, t->source->name) };
	PGresult *res;
	enum rc rc = pg_exec_params(s->conn, "look up the table's name", sql, 3, params, &res, err);

	*known = false;
	for (int i = 0; rc == OK && i < PQntuples(res); i++) {
		const char *name = PQgetvalue(res, i, 0);

		if (strcmp(name, t->t.name) == 0)
			*known = *known || *PQgetvalue(res, i, 3) == 't';
		else if (!PQgetisnull(res, i, 1))
			rc = refuse(s, t, params[2], name, PQgetvalue(res, i, 1), PQgetvalue(res, i, 2), err);
	}
	PQclear(res);
	return rc;
}

enum rc
pg_note_name(struct sink_pg *s, struct pg_target *t, struct err *err)
{
	const struct table *src = t->source;
	const char *params[] = { s->sink.pipeline, quoted(t, src->schema, src->name), t->t.name };
	enum rc rc = pg_exec_params(s->conn, "note the table's name",
	    "INSERT INTO towline.tables (pipeline, source, name) VALUES ($1, $2, $3)"
	    " ON CONFLICT (pipeline, source) DO UPDATE SET name = excluded.name",
	    3, params, NULL, err);

	/* What other lanes noted, which may not meet the table again, would be taken for true. */
	if (rc == OK)
		rc = pg_exec_params(s->conn, "note the table's name",
		    "UPDATE towline.tables SET name = $3"
		    " WHERE (pipeline = $1 OR starts_with(pipeline, $1 || '/')) AND source = $2 AND name <> $3",
		    3, (const char *[]){ park_base(s->sink.pipeline, &t->arena), params[1], params[2] }, NULL, err);
	/* Who gets the source's old name later is another table. */
	if (rc == OK && src->was_name.n) {
		params[1] = quoted(t, src->was_schema, src->was_name);
		rc = pg_exec_params(s->conn, "forget the table's old name",
		    "DELETE FROM towline.tables WHERE pipeline = $1 AND source = $2", 2, params, NULL, err);
	}
	return rc;
}
