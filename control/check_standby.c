/*
 * Commits that wait for us: does the server know our name, and wait for what was meant?
 */
#include "control/check.h"

#include <strings.h>

static const char waits_sql[] =
	"SELECT current_setting('synchronous_standby_names'), boot.setting,"
	" regexp_replace(current_setting('synchronous_standby_names'), '^\\s*((ANY|FIRST)\\s+)?\\d+\\s*\\((.*)\\)\\s*$', '\\3', 'i')"
	"  ~* ('(^|[,\\s\"])(\\*|' || regexp_replace($1, '([^[:alnum:]_])', '\\\\\\1', 'g') || ')([,\\s\"]|$)'),"
	" (SELECT sync_state FROM pg_stat_replication WHERE application_name = $1 ORDER BY sync_state DESC LIMIT 1)"
	" FROM (SELECT coalesce((SELECT split_part(c, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) c"
	"   WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND s.setrole = 0"
	"    AND c LIKE 'synchronous\\_commit=%' ORDER BY s.setdatabase DESC LIMIT 1),"
	"  (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')) AS setting) boot";

static void
judge(struct checks *c, PGconn *conn, const char *names, const char *commit, bool named, const char *state)
{
	static const char name[] = "synchronous commit";
	const char *slot = c->conf->slot;
	bool wants_applied = c->conf->synchronous == SYNC_APPLIED;

	if (c->conf->synchronous == SYNC_OFF) {
		if (named)
			check_warn(c, name, "set synchronous.mode: kafka, or applied",
			    "synchronous_standby_names = '%s' makes commits wait for this producer, which does not hurry", names);
		return;
	}
	if (!named)
		check_fail(c, name,
		    check_psql(c, conn, arena_printf(&c->arena,
			"ALTER SYSTEM SET synchronous_standby_names = '%s'; SELECT pg_reload_conf()", slot)),
		    "synchronous_standby_names = '%s' does not name %s, so no commit waits (do this while the producer runs)", names, slot);
	else if (strcasecmp(commit, "off") == 0 || strcasecmp(commit, "local") == 0)
		check_warn(c, name, check_psql(c, conn, "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()"),
		    "synchronous_commit = %s: only sessions that set it otherwise wait", commit);
	else if (wants_applied && strcasecmp(commit, "remote_apply") != 0)
		check_warn(c, name, check_psql(c, conn, "ALTER SYSTEM SET synchronous_commit = remote_apply; SELECT pg_reload_conf()"),
		    "synchronous_commit = %s waits for Kafka only; sinks are waited for by remote_apply", commit);
	else
		check_ok(c, name, "commits wait until %s%s", wants_applied ? "sinks have applied them" : "Kafka has them",
		    state ? "" : "; now nobody streams, so they hang until a producer runs");
}

void
check_standby(struct checks *c, PGconn *conn)
{
	PGresult *res = NULL;
	struct err err;

	if (pg_exec_params(conn, "look at synchronous_standby_names", waits_sql, 1, &c->conf->slot, &res, &err) != OK) {
		check_error(c, "synchronous commit", &err);
		return;
	}
	judge(c, conn, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1), *PQgetvalue(res, 0, 2) == 't',
	    PQgetisnull(res, 0, 3) ? NULL : PQgetvalue(res, 0, 3));
	PQclear(res);
}
