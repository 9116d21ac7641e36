#include "producer/keys.h"

/* Names in the list that are no columns, and columns whose old values are not sent. */
static const char keys_sql[] =
    "SELECT string_agg(w.name, ', ') FILTER (WHERE a.attnum IS NULL),"
    "       string_agg(w.name, ', ') FILTER (WHERE a.attnum IS NOT NULL AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index x"
    "         WHERE x.indrelid = c.oid AND a.attnum = ANY (x.indkey::int2[])"
    "           AND (x.indisreplident AND c.relreplident = 'i' OR x.indisprimary AND c.relreplident = 'd')))"
    "  FROM regexp_split_to_table(btrim($3), ' *, *') w(name) JOIN pg_namespace n ON n.nspname = $1"
    "  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2"
    "  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped";

enum rc
keys_check(PGconn *conn, const struct conf *conf, const struct publication_table *t, struct err *err)
{
	struct slice list = conf_of_table(conf->keys, slice_of(t->schema), slice_of(t->name));
	struct arena a = { 0 };
	const char *params[] = { t->schema, t->name, arena_text(&a, list) };
	const char *name = arena_printf(&a, "%s.%s", pg_ident(&a, slice_of(t->schema)), pg_ident(&a, slice_of(t->name)));
	PGresult *res = NULL;
	enum rc rc = list.n ? pg_exec_params(conn, "look at the columns of kafka.keys", keys_sql, 3, params, &res, err) : OK;

	if (rc == OK && res && !PQgetisnull(res, 0, 0))
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "kafka.keys: table %s has no column %s", name, PQgetvalue(res, 0, 0));
	else if (rc == OK && res && !PQgetisnull(res, 0, 1))
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "kafka.keys: an update or a delete of %s does not tell what %s was; run ALTER TABLE %s REPLICA IDENTITY FULL", name,
		    PQgetvalue(res, 0, 1), name);
	PQclear(res);
	arena_free(&a);
	return rc;
}
