#include "producer/rows.h"
#include "core/log.h"

#include <stdlib.h>

/*
 * The filter as PostgreSQL prints it, the columns that it looks at and the replica identity lacks, and columns that an old row lacks and
 * whose values may lie out of line.
 */
static const char filter_sql[] =
    "SELECT pg_get_expr(r.prqual, r.prrelid), c.relreplident = 'f',"
    "       string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE NOT i.yes AND EXISTS (SELECT FROM pg_depend d"
    "         WHERE d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass"
    "           AND d.refobjid = r.prrelid AND d.refobjsubid = a.attnum)),"
    "       string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE NOT i.yes AND a.attstorage <> 'p')"
    "  FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid"
    "  JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND a.attnum = ANY (x.indkey::int2[])"
    "         AND (x.indisreplident AND c.relreplident = 'i' OR x.indisprimary AND c.relreplident = 'd')) AS yes) i"
    " WHERE p.pubname = $1 AND n.nspname = $2 AND c.relname = $3 GROUP BY r.oid, r.prrelid, c.relreplident";

struct filter {
	const char *expr; /* NULL: none */
	bool full;
	const char *outside, *stored;
};

static enum rc
look(PGconn *conn, const struct conf *conf, const struct publication_table *t, struct arena *a, struct filter *out, struct err *err)
{
	const char *params[] = { conf->publication, t->schema, t->name };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "look at the row filter", filter_sql, 3, params, &res, err);

	*out = (struct filter){ 0 };
	if (rc == OK && PQntuples(res) == 1)
		*out = (struct filter){
			.expr = PQgetisnull(res, 0, 0) ? NULL : arena_text(a, slice_of(PQgetvalue(res, 0, 0))),
			.full = *PQgetvalue(res, 0, 1) == 't',
			.outside = PQgetisnull(res, 0, 2) ? NULL : arena_text(a, slice_of(PQgetvalue(res, 0, 2))),
			.stored = PQgetisnull(res, 0, 3) ? NULL : arena_text(a, slice_of(PQgetvalue(res, 0, 3))),
		};
	PQclear(res);
	return rc;
}

static enum rc
judge(const struct publication_table *t, const struct filter *f, struct arena *a, struct err *err)
{
	const char *name = arena_printf(a, "%s.%s", pg_ident(a, slice_of(t->schema)), pg_ident(a, slice_of(t->name)));

	if (f->full)
		return OK;
	if (f->outside)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "rows: the condition of %s looks at %s, which its replica identity has not, so PostgreSQL would refuse updates and "
		    "deletes of the "
		    "application; run ALTER TABLE %s REPLICA IDENTITY FULL", name, f->outside, name);
	if (f->stored)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "rows: of a row of %s that comes to meet the condition PostgreSQL would not send large values (%s); run ALTER TABLE %s "
		    "REPLICA IDENTITY FULL", name, f->stored, name);
	return OK;
}

/* Inside the transaction. */
static enum rc
alter(PGconn *conn, const struct conf *conf, const struct publication_table *t, bool *changed, struct err *err)
{
	struct arena a = { 0 };
	const char *pub = pg_ident(&a, slice_of(conf->publication));
	struct filter before = { 0 }, after;
	enum rc rc = OK;

	if (t->in)
		rc = look(conn, conf, t, &a, &before, err);
	if (rc == OK && t->in)
		rc = pg_exec_params(conn, "take the table out of the publication",
		    arena_printf(&a, "ALTER PUBLICATION %s DROP TABLE %s.%s", pub, pg_ident(&a, slice_of(t->schema)), pg_ident(&a,
		    slice_of(t->name))),
		    0, NULL, NULL, err);
	/* As a statement with parameters, which is one statement and no more. */
	if (rc == OK)
		rc = pg_exec_params(conn, "set the row filter",
		    arena_printf(&a, "ALTER PUBLICATION %s ADD TABLE %s", pub, publication_table_sql(conf, t, &a)), 0, NULL, NULL, err);
	if (rc == FATAL || rc == REJECT)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "rows: %s.%s: %s", t->schema, t->name, err->text);
	if (rc == OK)
		rc = look(conn, conf, t, &a, &after, err);
	if (rc == OK)
		rc = judge(t, &after, &a, err);
	if (rc == OK)
		*changed = !before.expr || !after.expr || strcmp(before.expr, after.expr) != 0;
	if (rc == OK && *changed && t->in)
		log_info("producer", "rows: the condition of a table that is published changes; rows at sinks that do not meet it stay, "
		    "rows that meet it "
		    "now come when they are written", "table=\"%s.%s\"", t->schema, t->name);
	arena_free(&a);
	return rc;
}

enum rc
rows_set(PGconn *conn, const struct conf *conf, const struct publication_table *t, bool try, bool *changed, struct err *err)
{
	struct err ignored;
	enum rc rc;

	*changed = false;
	if (PQserverVersion(conn) < 150000)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "rows: %s.%s: PostgreSQL before 15 does not filter rows of a publication; upgrade it, or leave the condition out",
		    t->schema, t->name);
	/* An autovacuum gives way within a second or two. */
	rc = pg_exec(conn, "begin", t->in && !try ? "BEGIN; SET LOCAL lock_timeout = '5s'" : "BEGIN", NULL, err);
	if (rc == OK)
		rc = alter(conn, conf, t, changed, err);
	if (rc == OK && *changed && !try)
		return pg_exec(conn, "commit the row filter", "COMMIT", NULL, err);
	if (pg_exec(conn, "roll back", "ROLLBACK", NULL, &ignored) != OK && rc == OK) {
		*err = ignored;
		rc = ignored.rc;
	}
	return rc;
}
