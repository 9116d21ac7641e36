#include "producer/publication.h"
#include "core/buf.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>

/* Tables of the user's: roots of partition trees, permanent; with "may be published" and "is in the publication". */
static const char tables_sql[] =
	"SELECT n.nspname, c.relname,"
	"       c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND"
	"         ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))),"
	"       EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname = $1 AND p.schemaname = n.nspname AND p.tablename = c.relname)"
	"  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	" WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'"
	"   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'towline')"
	" ORDER BY 1, 2";

static enum rc
create(PGconn *conn, const struct conf *conf, struct arena *a, bool *created, struct err *err)
{
	PGresult *res = NULL;
	const char *sql = "SELECT 1 FROM pg_publication WHERE pubname = $1";
	enum rc rc = pg_exec_params(conn, "look for the publication", sql, 1, &conf->publication, &res, err);

	if (rc != OK)
		return rc;
	*created = PQntuples(res) == 0;
	PQclear(res);
	if (!*created)
		return OK;
	sql = arena_printf(a, "CREATE PUBLICATION %s WITH (publish_via_partition_root = true)", pg_ident(a, slice_of(conf->publication)));
	rc = pg_exec(conn, "create the publication", sql, NULL, err);
	if (rc != OK)
		return fail(err, rc, "%s; run as a role with CREATE on the database: %s", err->text, sql);
	return OK;
}

static enum rc
add(PGconn *conn, const struct conf *conf, struct buf *list, struct err *err)
{
	struct arena a = { 0 };
	const char *sql = arena_printf(&a, "ALTER PUBLICATION %s ADD TABLE %s", pg_ident(&a, slice_of(conf->publication)), buf_cstr(list));
	enum rc rc = pg_exec(conn, "add tables to the publication", sql, NULL, err);

	if (rc == FATAL)
		(void)fail(err, FATAL, "%s; the tables' owner must run: %s", err->text, sql);
	arena_free(&a);
	return rc;
}

static void
warn_left_out(const char *schema, const char *table)
{
	log_warn("producer", "table left out: it has no primary key, so its updates and deletes could not be published",
	    "table=\"%s.%s\" fix=\"ALTER TABLE %s.%s REPLICA IDENTITY FULL\"", schema, table, schema, table);
}

enum rc
publication_ensure(PGconn *conn, const struct conf *conf, int known, struct publication_report *out, struct err *err)
{
	struct arena a = { 0 };
	struct buf list = { 0 };
	PGresult *res = NULL;
	bool created = false;
	enum rc rc = create(conn, conf, &a, &created, err);

	*out = (struct publication_report){ 0 };
	if (rc == OK)
		rc = pg_exec_params(conn, "list the tables", tables_sql, 1, &conf->publication, &res, err);
	for (int i = 0; rc == OK && i < PQntuples(res); i++) {
		const char *schema = PQgetvalue(res, i, 0), *table = PQgetvalue(res, i, 1);
		bool fit = *PQgetvalue(res, i, 2) == 't', in = *PQgetvalue(res, i, 3) == 't';

		if (!conf_wants(conf, slice_of(schema), slice_of(table)))
			continue;
		if (in) {
			out->published++;
		} else if (!fit) {
			if (out->left_out++ >= known)
				warn_left_out(schema, table);
		} else {
			buf_printf(&list, "%s%s.%s", list.n ? ", " : "", pg_ident(&a, slice_of(schema)), pg_ident(&a, slice_of(table)));
			out->added++;
		}
	}
	PQclear(res);
	if (rc == OK && out->added)
		rc = add(conn, conf, &list, err);
	out->published += out->added;
	buf_free(&list);
	arena_free(&a);
	return rc;
}
