/*
 * The sinks: reachable, ours to write, and where the pipeline left them.
 */
#include "control/check.h"
#include "control/human.h"
#include "consumer/mapping.h"
#include "consumer/marker.h"
#include "core/now.h"
#include "producer/server.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LISTED_MAX = 10 };

/* The marker against the spine: where the sink goes on must be in Kafka. */
static void
check_marker(struct checks *c, const struct marker *m, bool found)
{
	static const char again[] = "copy the tables into this sink again";

	if (!found)
		check_ok(c, "marker", "never applied anything: begins with the history that Kafka has");
	else if (c->conf->embedded || !c->spine_known)
		check_ok(c, "marker", "group %" PRIu64 ", seq %" PRIu64, m->no, m->seq);
	else if (c->spine.system_id && m->system_id && c->spine.system_id != m->system_id)
		check_fail(c, "marker", again,
		    "what is here came from system %" PRIu64 ", the spine is of system %" PRIu64,
		    m->system_id, c->spine.system_id);
	else if (m->spine_offset >= c->spine_next)
		check_fail(c, "marker", again,
		    "at offset %" PRId64 " of the spine, which ends at %" PRId64
		    ": the topic was truncated or made anew",
		    m->spine_offset, c->spine_next);
	else
		check_ok(c, "marker", "group %" PRIu64 ", seq %" PRIu64 "; %" PRIu64 " transactions behind the spine", m->no, m->seq,
		    c->spine.seq > m->seq ? c->spine.seq - m->seq : 0);
}

/* ---- PostgreSQL ---- */

struct look {
	struct checks *c;
	const struct conf_sink *sink;
	PGconn *conn;
	const char *role;
	bool may_create;
};

static bool
asked(struct look *l, const char *name, enum rc rc, const struct err *err)
{
	if (rc != OK)
		check_error(l->c, name, err);
	return rc == OK;
}

static bool
check_server(struct look *l)
{
	static const char sql[] =
	    "SELECT split_part(current_setting('server_version'), ' ', 1), current_user, "
	    "has_database_privilege(current_database(), 'CREATE'),"
	    " pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system())";
	PGresult *res = NULL;
	char span[HUMAN_MAX];
	int64_t at = now_us();
	struct err err;

	if (!asked(l, "reachable", pg_exec(l->conn, "look at the server", sql, &res, &err), &err))
		return false;
	human_span(span, now_us() - at);
	l->role = arena_text(&l->c->arena, slice_of(PQgetvalue(res, 0, 1)));
	l->may_create = *PQgetvalue(res, 0, 2) == 't';
	if (PQserverVersion(l->conn) < SERVER_OLDEST * 10000)
		check_fail(l->c, "reachable", "upgrade PostgreSQL",
		    "PostgreSQL %s, %s; versions %d to %d are supported", PQgetvalue(res, 0, 0),
		    span, SERVER_OLDEST, SERVER_NEWEST);
	else
		check_ok(l->c, "reachable", "PostgreSQL %s, %s", PQgetvalue(res, 0, 0), span);
	if (*PQgetvalue(res, 0, 3) == 't')
		check_fail(l->c, "writable", "name its primary in the URL", "this server is a standby");
	if (l->c->source_known && l->c->source.database && strtoull(PQgetvalue(res, 0, 4), NULL, 10) == l->c->source.system_id &&
	    strcmp(PQdb(l->conn), l->c->source.database) == 0) {
		if (l->sink->schema)
			check_ok(l->c, "not the source", "the same database, but schema \"%s\"", l->sink->schema);
		else
			check_fail(l->c, "not the source", "name another database, or give the sink a schema of its own",
			    "this is the source's own database: every change would come round again");
	}
	PQclear(res);
	return true;
}

/* Asked of the catalogue alone: in a schema that may not be used nothing else answers. false: the marker cannot be read. */
static bool
check_schema(struct look *l)
{
	static const char sql[] =
	    "SELECT n.oid IS NOT NULL, has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN m.oid IS "
	    "NULL THEN has_schema_privilege(n.oid, 'CREATE')"
	    " ELSE has_table_privilege(m.oid, 'SELECT') AND has_table_privilege(m.oid, 'INSERT') "
	    "AND has_table_privilege(m.oid, 'UPDATE') END,"
	    " CASE WHEN m.oid IS NOT NULL AND NOT has_schema_privilege(n.oid, 'CREATE') THEN (SELECT string_agg('towline.' || t, ', ')"
	    " FROM unnest('{parked,tables,names,position}'::text[]) t"
	    " WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = t)) END"
	    " FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = 'towline'"
	    " LEFT JOIN pg_class m ON m.relnamespace = n.oid AND m.relname = 'marker'";
	const char *role = pg_ident(&l->c->arena, slice_of(l->role)), *db = pg_ident(&l->c->arena, slice_of(PQdb(l->conn))), *grant;
	PGresult *res = NULL;
	struct err err;
	const char *missing;
	bool there, usable;

	if (!asked(l, "schema towline", pg_exec(l->conn, "look for the schema", sql, &res, &err), &err))
		return false;
	there = *PQgetvalue(res, 0, 0) == 't';
	usable = *PQgetvalue(res, 0, 1) == 't';
	missing = arena_text(&l->c->arena, slice_of(PQgetvalue(res, 0, 2)));
	PQclear(res);
	if (there && usable && *missing) {
		grant = arena_printf(&l->c->arena, "GRANT CREATE ON SCHEMA towline TO %s", role);
		check_fail(l->c, "schema towline", check_psql(l->c, l->conn, grant), "lacks %s, and role \"%s\" may not make them", missing,
		    l->role);
	} else if (there && usable) {
		check_ok(l->c, "schema towline", "exists");
	} else if (there) {
		grant = arena_printf(&l->c->arena,
		    "GRANT USAGE, CREATE ON SCHEMA towline TO %s; GRANT ALL ON ALL TABLES IN SCHEMA towline TO %s",
		    role, role);
		check_fail(l->c, "schema towline", check_psql(l->c, l->conn, grant), "exists, but role \"%s\" may not use it", l->role);
	} else if (l->may_create) {
		check_ok(l->c, "schema towline", "will be made by the first run");
	} else {
		grant = arena_printf(&l->c->arena, "GRANT CREATE ON DATABASE %s TO %s", db, role);
		check_fail(l->c, "schema towline", check_psql(l->c, l->conn, grant),
		    "does not exist, and role \"%s\" has no CREATE on the database to make it",
		    l->role);
	}
	return !there || usable;
}

static void
check_triggers(struct look *l)
{
	const char *sql =
	    arena_printf(&l->c->arena, "GRANT SET ON PARAMETER session_replication_role TO %s",
		pg_ident(&l->c->arena, slice_of(l->role)));
	struct err err;
	enum rc rc = pg_exec(l->conn, "BEGIN", "BEGIN", NULL, &err);

	if (rc == OK)
		rc = pg_exec(l->conn, "session_replication_role", "SET LOCAL session_replication_role = replica", NULL, &err);
	if (rc == OK)
		check_ok(l->c, "session_replication_role", "may be set: triggers and foreign keys do not fire a second time");
	else
		check_warn(l->c, "session_replication_role", PQserverVersion(l->conn) >= 150000 ? check_psql(l->c, l->conn, sql) : NULL,
		    "role \"%s\" may not set it: triggers and foreign keys stay on", l->role);
	PQclear(PQexec(l->conn, "ROLLBACK"));
}

/* lacks: the privileges that are missing on it, "" for none. may_create: it could be made, with its schema where that is missing too. */
static enum rc
look_at_table(struct look *l, const char *schema, const char *table, bool *there, const char **lacks, bool *may_create, struct err *err)
{
	static const char sql[] =
	    "SELECT c.oid IS NOT NULL, concat_ws(', ', CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,"
	    "  CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END, CASE WHEN NOT "
	    "has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,"
	    "  CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END, CASE WHEN NOT "
	    "has_table_privilege(c.oid, 'TRUNCATE') THEN 'TRUNCATE' END),"
	    " coalesce(has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE'))"
	    " FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1"
	    " LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v')";
	const char *params[2] = { schema, table };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(l->conn, "look for the table", sql, 2, params, &res, err);

	if (rc != OK)
		return rc;
	*there = *PQgetvalue(res, 0, 0) == 't';
	*lacks = arena_text(&l->c->arena, slice_of(PQgetvalue(res, 0, 1)));
	*may_create = *PQgetvalue(res, 0, 2) == 't';
	PQclear(res);
	return OK;
}

static void
told(struct look *l, const char *schema, const char *table, bool there, const char *lacks)
{
	struct arena *a = &l->c->arena;
	const char *name = arena_printf(a, "%s.%s", schema, table);
	const char *ident = arena_printf(a, "%s.%s", pg_ident(a, slice_of(schema)), pg_ident(a, slice_of(table)));
	const char *role = pg_ident(a, slice_of(l->role));

	if (there)
		check_fail(l->c, name,
		    check_psql(
			l->c, l->conn, arena_printf(a, "GRANT %s ON %s TO %s", lacks, ident, role)),
		    "role \"%s\" lacks %s", l->role, lacks);
	else if (!l->sink->create_tables)
		check_fail(l->c, name, "make it, or set create_tables: true", "does not exist, and create_tables is false");
	else
		check_fail(l->c, name,
		    check_psql(l->c, l->conn,
			arena_printf(a, "GRANT CREATE ON SCHEMA %s TO %s",
			    pg_ident(a, slice_of(schema)), role)),
		    "does not exist, and role \"%s\" may not make it", l->role);
}

/* What published table i is called there. false, and said: another one before it has that name too. */
static bool
name_of(struct checks *c, const struct conf_sink *sink, int i, const char **schema, const char **name)
{
	const struct publication_table *t = c->tables.tables, *other;
	struct slice to, to_schema, at, at_schema;

	mapping_name(sink, slice_of(t[i].schema), slice_of(t[i].name), &c->arena, &to_schema, &to);
	*schema = arena_text(&c->arena, to_schema);
	*name = arena_text(&c->arena, to);
	for (other = t; other < t + i; other++) {
		if ((!other->fit && !other->in) || !conf_sink_wants(sink, slice_of(other->schema), slice_of(other->name)))
			continue;
		mapping_name(sink, slice_of(other->schema), slice_of(other->name), &c->arena, &at_schema, &at);
		if (!slice_eq(at, to) || !slice_eq(at_schema, to_schema))
			continue;
		check_fail(c, *name, arena_printf(&c->arena, "give one another name by sinks.%s.rename, or leave it out by sinks.%s.tables",
		    sink->name, sink->name), "%s.%s and %s.%s would both go there", other->schema, other->name, t[i].schema, t[i].name);
		return false;
	}
	return true;
}

static void
check_tables(struct look *l)
{
	const struct publication *pub = &l->c->tables;
	int present = 0, create = 0, bad = 0;

	if (!l->c->tables_known)
		return;
	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];
		const char *schema, *name, *lacks;
		bool there, may_create;
		struct err err;

		if ((!t->fit && !t->in) || !conf_sink_wants(l->sink, slice_of(t->schema), slice_of(t->name)))
			continue;
		if (!name_of(l->c, l->sink, i, &schema, &name)) {
			bad++;
			continue;
		}
		if (!asked(l, "tables", look_at_table(l, schema, name, &there, &lacks, &may_create, &err), &err))
			return;
		if (there && !*lacks)
			present++;
		else if (!there && l->sink->create_tables && may_create)
			create++;
		else if (++bad <= LISTED_MAX)
			told(l, schema, name, there, lacks);
	}
	if (bad > LISTED_MAX)
		check_fail(l->c, "tables", NULL, "%d more like these", bad - LISTED_MAX);
	if (present + create || !bad)
		check_ok(l->c, "tables", "%d present, %d to be created", present, create);
}

static void
check_pg(struct checks *c, const struct conf_sink *sink)
{
	struct look l = { .c = c, .sink = sink };
	struct marker m;
	struct err err;
	bool found;

	if (!check_connect(c, sink->url, &l.conn))
		return;
	if (check_server(&l)) {
		bool readable = check_schema(&l);

		check_triggers(&l);
		check_tables(&l);
		if (readable && asked(&l, "marker", marker_pg(l.conn, c->conf->name, &m, &found, &err), &err))
			check_marker(c, &m, found);
	}
	PQfinish(l.conn);
}

/* ---- SQLite ---- */

/* SQLite writes the file, and beside it the -wal and -shm files. */
static bool
check_writable(struct checks *c, const char *path)
{
	const char *dir = dirname(arena_text(&c->arena, slice_of(path)));
	struct err err;

	if (access(dir, F_OK) != 0) {
		check_fail(c, "directory", arena_printf(&c->arena, "mkdir -p %s", dir), "%s does not exist", dir);
		return false;
	}
	if (access(dir, W_OK | X_OK) != 0) {
		check_fail(c, "directory", NULL, "%s cannot be written: SQLite needs to make its -wal file there", dir);
		return false;
	}
	if (access(path, F_OK) == 0 && access(path, R_OK | W_OK) != 0) {
		(void)fail(&err, FATAL, "%s cannot be read and written by this user", path);
		check_error(c, "writable", &err);
		return false;
	}
	return true;
}

static int
lite_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int n = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return n;
}

static void
check_sqlite(struct checks *c, const char *path)
{
	sqlite3 *db = NULL;
	struct marker m;
	struct err err;
	bool found;

	if (!check_writable(c, path))
		return;
	if (marker_sqlite_open(path, &db, &err) != OK) {
		check_error(c, "readable", &err);
		return;
	}
	if (!db) {
		check_ok(c, "file", "SQLite %s; will be made by the first run", sqlite3_libversion());
		return;
	}
	if (marker_sqlite(db, c->conf->name, &m, &found, &err) == OK) {
		check_ok(c, "file", "SQLite %s, writable, %d tables", sqlite3_libversion(),
		    lite_number(db,
			"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
			"'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE "
			"'towline\\_%' ESCAPE '\\'"));
		check_marker(c, &m, found);
	} else {
		check_error(c, "file", &err);
	}
	sqlite3_close(db);
}

void
check_sink(struct checks *c, const struct conf_sink *sink)
{
	const char *path = marker_sqlite_path(sink->url);

	check_begin(c, arena_printf(&c->arena, "sink %s", sink->name),
	    arena_printf(&c->arena, "sink    %s   %s", sink->name, conf_mask_url(&c->arena, sink->url)));
	if (path)
		check_sqlite(c, path);
	else
		check_pg(c, sink);
}
