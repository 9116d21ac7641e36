#include "producer/publication.h"
#include "core/buf.h"
#include "core/log.h"
#include "producer/keys.h"
#include "producer/rows.h"

#include <stdio.h>
#include <stdlib.h>

/* Tables of the user's: roots of partition trees, permanent; with "may be published" and "is in the publication". */
static const char tables_sql[] =
	"SELECT n.nspname, c.relname, c.relreplident = 'f' OR k.yes, k.yes,"
	"       EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1 AND %s),"
	"       pg_has_role(c.relowner, 'USAGE'), %s, c.oid"
	"  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	" CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND"
	"         ((c.relreplident IN ('d', 'f') AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))) AS yes) k"
	" WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'"
	"   AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('information_schema', 'towline')"
	" ORDER BY 1, 2";

/* Has it a row filter? They came with 15. */
static const char *
filtered_sql(PGconn *conn)
{
	return PQserverVersion(conn) < 150000
	    ? "false"
	    : "EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
	      "         WHERE p.pubname = $1 AND r.prrelid = c.oid AND r.prqual IS NOT NULL)";
}

const char *
publication_has_sql(PGconn *conn)
{
	/* FOR TABLES IN SCHEMA came with 15. */
	return PQserverVersion(conn) < 150000
	    ? "(p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid))"
	    : "(p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)"
	      " OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))";
}

static const char publication_sql[] =
    "SELECT pg_has_role(pubowner, 'USAGE'), concat_ws(', ', CASE WHEN NOT pubinsert THEN 'insert' "
    "END, CASE WHEN NOT pubupdate THEN 'update' END,"
    " CASE WHEN NOT pubdelete THEN 'delete' END, CASE WHEN NOT pubtruncate THEN 'truncate' END) FROM pg_publication WHERE pubname = $1";

static enum rc
look_itself(PGconn *conn, const struct conf *conf, struct arena *a, struct publication *out, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "look for the publication", publication_sql, 1, &conf->publication, &res, err);

	if (rc != OK)
		return rc;
	out->exists = PQntuples(res) == 1;
	if (out->exists) {
		out->owned = *PQgetvalue(res, 0, 0) == 't';
		out->omits = *PQgetvalue(res, 0, 1) ? arena_text(a, slice_of(PQgetvalue(res, 0, 1))) : NULL;
	}
	PQclear(res);
	return OK;
}

enum rc
publication_look(PGconn *conn, const struct conf *conf, struct arena *a, struct publication *out, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc;

	*out = (struct publication){ 0 };
	rc = look_itself(conn, conf, a, out, err);
	if (rc == OK)
		rc = pg_exec_params(conn, "list the tables", arena_printf(a, tables_sql, publication_has_sql(conn), filtered_sql(conn)), 1,
		    &conf->publication, &res, err);
	if (rc != OK)
		return rc;
	out->tables = arena_array(a, (size_t)PQntuples(res) + 1, sizeof *out->tables);
	for (int i = 0; i < PQntuples(res); i++) {
		const char *schema = PQgetvalue(res, i, 0), *name = PQgetvalue(res, i, 1);

		if (!conf_wants(conf, slice_of(schema), slice_of(name)))
			continue;
		out->tables[out->ntables++] =
		    (struct publication_table){ arena_text(a, slice_of(schema)),
			    arena_text(a, slice_of(name)), (uint32_t)strtoul(PQgetvalue(res, i, 7), NULL, 10),
			    *PQgetvalue(res, i, 2) == 't', *PQgetvalue(res, i, 3) == 't', *PQgetvalue(res, i, 4) == 't',
			    *PQgetvalue(res, i, 5) == 't', *PQgetvalue(res, i, 6) == 't' };
	}
	PQclear(res);
	return OK;
}

const char *
publication_sql_create(PGconn *conn, struct slice name, const char *tables, struct arena *a)
{
	/* 18 can send stored generated columns: a sink would not have them otherwise. */
	const char *generated = PQserverVersion(conn) >= 180000 ? ", publish_generated_columns = stored" : "";

	return arena_printf(a, "CREATE PUBLICATION %s%s%s WITH (publish_via_partition_root = true%s)", pg_ident(a, name),
	    tables ? " FOR TABLE " : "", tables ? tables : "", generated);
}

const char *
publication_table_sql(const struct conf *conf, const struct publication_table *t, struct arena *a)
{
	struct slice rows = conf_of_table(conf->rows, slice_of(t->schema), slice_of(t->name));

	return arena_printf(a, "%s.%s%s%.*s%s", pg_ident(a, slice_of(t->schema)), pg_ident(a, slice_of(t->name)), rows.n ? " WHERE (" : "",
	    SLICE_ARG(rows), rows.n ? ")" : "");
}

static enum rc
create(PGconn *conn, const struct conf *conf, struct arena *a, struct err *err)
{
	const char *sql = publication_sql_create(conn, slice_of(conf->publication), NULL, a);
	enum rc rc = pg_exec(conn, "create the publication", sql, NULL, err);

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

/* A table that is in it: does it have the rows that it should? Looked at when the producer starts. */
static enum rc
settle_rows(PGconn *conn, const struct conf *conf, const struct publication *pub, const struct publication_table *t, struct err *err)
{
	bool wanted = conf_of_table(conf->rows, slice_of(t->schema), slice_of(t->name)).n > 0, changed;
	struct arena a = { 0 };
	enum rc rc = OK;

	if (wanted && pub->owned)
		rc = rows_set(conn, conf, t, false, &changed, err);
	else if (wanted && !t->filtered)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "rows: table %s.%s is in publication %s with all its rows, and that belongs to another role, who must take it out "
		    "and run: "
		    "ALTER PUBLICATION %s ADD TABLE %s", t->schema, t->name, conf->publication, pg_ident(&a, slice_of(conf->publication)),
		    publication_table_sql(conf, t, &a));
	else if (!wanted && t->filtered)
		log_warn("producer", "the publication has a row filter on this table, and the configuration (rows) has none: not every "
		    "row is copied",
		    "table=\"%s.%s\" publication=%s", t->schema, t->name, conf->publication);
	arena_free(&a);
	return rc;
}

/* Whoever cannot be filtered as he should must not be in it at all. */
static enum rc
add_filtered(PGconn *conn, const struct conf *conf, const struct publication_table *t, struct publication_report *out, struct err *err)
{
	bool changed;
	enum rc rc = rows_set(conn, conf, t, false, &changed, err);

	out->published += rc == OK;
	out->joined += rc == OK;
	return rc;
}

enum rc
publication_ensure(PGconn *conn, const struct conf *conf, int known, struct publication_report *out, struct err *err)
{
	struct arena a = { 0 };
	struct buf list = { 0 };
	struct publication pub;
	enum rc rc = publication_look(conn, conf, &a, &pub, err);

	*out = (struct publication_report){ 0 };
	if (rc == OK && !pub.exists)
		rc = create(conn, conf, &a, err);
	for (int i = 0; rc == OK && i < pub.ntables; i++) {
		const struct publication_table *t = &pub.tables[i];

		if (t->in) {
			out->published++;
			if (known < 0)
				rc = keys_check(conn, conf, t, err);
			if (rc == OK && known < 0)
				rc = settle_rows(conn, conf, &pub, t, err);
		} else if (!t->fit) {
			if (out->left_out++ >= known)
				warn_left_out(t->schema, t->name);
		} else if ((rc = keys_check(conn, conf, t, err)) != OK) {
			break;
		} else if (conf_of_table(conf->rows, slice_of(t->schema), slice_of(t->name)).n) {
			rc = add_filtered(conn, conf, t, out, err);
		} else {
			buf_printf(&list, "%s%s", list.n ? ", " : "", publication_table_sql(conf, t, &a));
			out->added++;
		}
	}
	if (rc == OK && out->added)
		rc = add(conn, conf, &list, err);
	out->published += out->added;
	buf_free(&list);
	arena_free(&a);
	return rc;
}
