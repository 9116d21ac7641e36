/*
 * What later versions of PostgreSQL have: failover slots (17), time-outs of idle slots (18), published generated columns (18).
 */
#include "control/check.h"
#include "core/buf.h"
#include "producer/server.h"

/* Failover slots: does the slot outlive the primary, and does something hold it? */
static void
check_failover(struct checks *c, PGconn *conn, const struct server *server, const struct pg_slot *slot)
{
	static const char name[] = "failover slot";
	const char *standby = "a standby takes it over if it has sync_replication_slots = on, hot_standby_feedback = on, "
			      "primary_slot_name, and dbname in primary_conninfo";

	if (server->major < 17 || server->standby)
		return;
	if (!server_wants_failover(server, c->conf)) {
		check_ok(c, name, "source.failover is off: after a failover the slot is gone");
		return;
	}
	if (*server->slot_holds)
		check_warn(c, name, check_psql(c, conn, "ALTER SYSTEM RESET synchronized_standby_slots"),
		    "synchronized_standby_slots names %s, which no standby reads: changes wait for it", server->slot_holds);
	else if (slot->exists && !slot->failover)
		check_ok(c, name, "the next start of the producer makes the slot one");
	else
		check_ok(c, name, "%s%s", *server->slot_waits ? "changes are sent when these standbys have them: " : standby,
		    *server->slot_waits ? server->slot_waits : "");
}

/* Columns that the stream leaves out, with the reason and what can be done, in one list each. */
static const char generated_sql[] =
	"SELECT n.nspname, c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum), bool_or(a.attgenerated = 's')"
	"  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
	" WHERE a.attgenerated <> '' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
	"   AND c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'towline')"
	/* Stored ones are sent by 18 if the publication, which the producer makes so, says it. */
	"   AND NOT (a.attgenerated = 's' AND current_setting('server_version_num')::int >= 180000 AND NOT EXISTS ("
	"     SELECT FROM pg_publication p WHERE p.pubname = $1 AND to_jsonb(p)->>'pubgencols' <> 's'))"
	" GROUP BY 1, 2 ORDER BY 1, 2";

static void
check_generated(struct checks *c, PGconn *conn)
{
	const char *fix = "make the sink's column GENERATED too";
	PGresult *res = NULL;
	struct err err;

	if (PQserverVersion(conn) >= 180000)
		fix = check_psql(c, conn,
		    arena_printf(&c->arena, "ALTER PUBLICATION %s SET (publish_generated_columns = stored)",
			pg_ident(&c->arena, slice_of(c->conf->publication))));
	if (pg_exec_params(conn, "list generated columns", generated_sql, 1, &c->conf->publication, &res, &err) != OK) {
		check_error(c, "generated columns", &err);
		return;
	}
	for (int i = 0; i < PQntuples(res); i++) {
		const char *schema = PQgetvalue(res, i, 0), *table = PQgetvalue(res, i, 1);
		bool stored = *PQgetvalue(res, i, 3) == 't';

		if (!conf_wants(c->conf, slice_of(schema), slice_of(table)))
			continue;
		check_warn(c, arena_printf(&c->arena, "%s.%s", schema, table),
		    stored ? fix : "make the sink's column GENERATED too, or the source's STORED",
		    "PostgreSQL does not send generated columns%s: %s will be missing at sinks that do not generate them",
		    PQserverVersion(conn) < 180000 ? " before 18" : stored ? " of this publication" : " that are VIRTUAL",
		    PQgetvalue(res, i, 2));
	}
	PQclear(res);
}

void
check_versions(struct checks *c, PGconn *conn, const struct server *server, const struct pg_slot *slot)
{
	check_failover(c, conn, server, slot);
	if (server->slot_idle)
		check_warn(c, "idle_replication_slot_timeout", check_psql(c, conn, "ALTER SYSTEM SET idle_replication_slot_timeout = 0"),
		    "%s: a pipeline that is stopped for longer loses its slot, and changes with it", server->slot_idle);
	check_generated(c, conn);
}
