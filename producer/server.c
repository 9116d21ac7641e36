#include "producer/server.h"

#include <stdlib.h>

/* Managed servers lend REPLICATION through a role of their own. */
static const char server_sql[] =
	"SELECT current_setting('server_version_num'), split_part(current_setting('server_version'), ' ', 1), current_setting('wal_level'),"
	" current_user, (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)"
	"  OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER')),"
	" has_database_privilege(current_database(), 'CREATE'), pg_is_in_recovery(), EXISTS (SELECT FROM pg_largeobject_metadata),"
	" (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots'),"
	" (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders'),"
	" (SELECT CASE WHEN setting = '-1' THEN '-1' ELSE pg_size_bytes(setting || unit)::text END FROM pg_settings"
	"   WHERE name = 'max_slot_wal_keep_size'),"
	/* These settings came with 17 and 18. */
	" (SELECT current_setting(name) FROM pg_settings WHERE name = 'idle_replication_slot_timeout' AND setting <> '0'),"
	" coalesce(current_setting('synchronized_standby_slots', true), ''),"
	" (SELECT coalesce(string_agg(trim(n), ', '), '')"
	"   FROM unnest(string_to_array(current_setting('synchronized_standby_slots', true), ',')) n"
	"   WHERE trim(n) <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots r WHERE r.slot_name = trim(n) AND r.active)),"
	" CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

static bool
yes(const PGresult *res, int col)
{
	return *PQgetvalue(res, 0, col) == 't';
}

static int64_t
number(const PGresult *res, int col)
{
	return strtoll(PQgetvalue(res, 0, col), NULL, 10);
}

static const char *
text(const PGresult *res, int col, struct arena *a)
{
	return arena_text(a, slice_of(PQgetvalue(res, 0, col)));
}

enum rc
server_look(PGconn *conn, struct arena *a, struct server *out, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(conn, "look at the server", server_sql, &res, err);

	*out = (struct server){ 0 };
	if (rc != OK)
		return rc;
	*out = (struct server){ .major = (int)(number(res, 0) / 10000), .version = text(res, 1, a), .wal_level = text(res, 2, a),
		.role = text(res, 3, a), .replication = yes(res, 4), .may_create = yes(res, 5), .standby = yes(res, 6),
		.large_objects = yes(res, 7), .slots = (int)number(res, 8),
			.slots_max = (int)number(res, 9), .senders = (int)number(res, 10),
		.senders_max = (int)number(res, 11), .slot_wal_max = number(res, 12),
		.slot_idle = PQgetisnull(res, 0, 13) ? NULL : text(res, 13, a),
		.slot_waits = text(res, 14, a), .slot_holds = text(res, 15, a) };
	if (!pg_lsn_parse(PQgetvalue(res, 0, 16), &out->lsn))
		out->lsn = 0;
	PQclear(res);
	return OK;
}

enum rc
server_judge(const struct server *server, struct err *err)
{
	if (strcmp(server->wal_level, "logical") == 0)
		return OK;
	return fail_exit(err, FATAL, EXIT_CONFIG,
	    "wal_level is %s, logical decoding needs logical; run ALTER SYSTEM SET wal_level = logical and restart PostgreSQL",
	    server->wal_level);
}

enum rc
server_identify(PGconn *repl, uint64_t *system_id, uint32_t *timeline, uint64_t *lsn, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(repl, "IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM", &res, err);

	if (rc != OK)
		return rc;
	*system_id = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	*timeline = (uint32_t)strtoul(PQgetvalue(res, 0, 1), NULL, 10);
	if (!pg_lsn_parse(PQgetvalue(res, 0, 2), lsn))
		*lsn = 0;
	PQclear(res);
	return OK;
}

enum rc
slot_look(PGconn *conn, const char *name, struct arena *a, struct pg_slot *out, struct err *err)
{
	static const char sql[] =
	    "SELECT coalesce(plugin = 'pgoutput' AND database = current_database(), false), confirmed_flush_lsn, coalesce(wal_status, ''),"
	    " active_pid, restart_lsn, safe_wal_size, coalesce(to_jsonb(s)->>'invalidation_reason', ''),"
	    /* Columns of 17. */
	    " coalesce((to_jsonb(s)->>'failover')::bool, false)"
	    " FROM pg_replication_slots s WHERE slot_name = $1";
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "look for the slot", sql, 1, &name, &res, err);

	*out = (struct pg_slot){ .wal_status = "", .invalid = "", .safe_bytes = -1 };
	if (rc != OK)
		return rc;
	out->exists = PQntuples(res) == 1;
	if (out->exists) {
		out->ours = yes(res, 0);
		out->placed = pg_lsn_parse(PQgetvalue(res, 0, 1), &out->confirmed);
		out->wal_status = text(res, 2, a);
		out->active_pid = PQgetisnull(res, 0, 3) ? NULL : text(res, 3, a);
		if (!pg_lsn_parse(PQgetvalue(res, 0, 4), &out->restart))
			out->restart = 0;
		if (!PQgetisnull(res, 0, 5))
			out->safe_bytes = number(res, 5);
		out->invalid = text(res, 6, a);
		out->failover = yes(res, 7);
	}
	PQclear(res);
	return OK;
}

bool
server_wants_failover(const struct server *server, const struct conf *conf)
{
	return conf->failover && server->major >= 17 && !server->standby;
}

/* Before 17 the server does not say why, and there was only one reason. */
static const struct {
	const char *invalid, *why, *fix;
} lost[] = {
	{ "idle_timeout", "was idle longer than idle_replication_slot_timeout", "raise it or set it to 0" },
	{ "rows_removed", "is on a standby that removed catalogue rows it needs", "set hot_standby_feedback = on there" },
	{ "wal_level_insufficient", "was made useless when the primary's wal_level fell below logical", "set it to logical" },
	{ "", "has lost its WAL (max_slot_wal_keep_size)", "allow it more" }, /* wal_removed, and what is not known */
};

static enum rc
slot_lost(const char *name, const struct pg_slot *slot, struct err *err)
{
	size_t i = 0;

	while (*lost[i].invalid && strcmp(slot->invalid, lost[i].invalid) != 0)
		i++;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "slot %s %s, so changes are gone for good; %s, then drop the slot and start anew under another name, or copy the tables again",
	    name, lost[i].why, lost[i].fix);
}

enum rc
slot_judge(const char *name, const struct pg_slot *slot, struct err *err)
{
	if (!slot->exists)
		return OK;
	if (!slot->ours)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "slot %s is not a pgoutput slot of this database; choose another with source.slot",
		    name);
	if (strcmp(slot->wal_status, "lost") == 0)
		return slot_lost(name, slot, err);
	if (slot->active_pid)
		return fail_exit(err, RETRY, EXIT_REFUSED,
		    "slot %s is in use by process %s; stop the other producer, or choose another with source.slot",
		    name, slot->active_pid);
	if (!slot->placed)
		return fail(err, RETRY, "slot %s is being created", name);
	return OK;
}
