/*
 * slot.c - the replication slot is made, which takes as long as the oldest transaction of the server.
 */
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"
#include "producer/server.h"

#include <poll.h>
#include <stdio.h>

enum {
	SLOW_MS = 3000,   /* then it is told what the making of the slot waits for */
	AGAIN_MS = 60000, /* and again */
};

/* A slot can begin only where no older transaction is open: whose are they? */
static void
tell_whom_we_wait_for(PGconn *sql, PGconn *repl, const char *name)
{
	static const char text[] =
		"SELECT coalesce(string_agg(format('%s of %s (%s)', pid, usename, state), ', '), 'a prepared transaction')"
		"  FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1::int))";
	char pid[12];
	const char *params[1] = { pid };
	PGresult *res = NULL;
	struct err err;

	snprintf(pid, sizeof pid, "%d", PQbackendPID(repl));
	if (pg_exec_params(sql, "look what the slot waits for", text, 1, params, &res, &err) == OK)
		log_warn("producer", "the slot waits for transactions that are older than it to end", "slot=%s process=\"%s\"", name,
		    PQgetvalue(res, 0, 0));
	PQclear(res);
}

static void
cancel(PGconn *conn)
{
	PGcancel *c = PQgetCancel(conn);
	char why[256];

	if (c && !PQcancel(c, why, sizeof why))
		log_warn("producer", "cannot cancel the making of the slot", "reason=\"%s\"", why);
	PQfreeCancel(c);
}

/* One statement that may take as long as the oldest transaction of the server. AGAIN: stopped meanwhile. */
static enum rc
exec_patiently(PGconn *sql, PGconn *repl, const char *name, const char *text, PGresult **out, struct err *err)
{
	static const char what[] = "create the slot";
	int64_t tell_ms = now_ms() + SLOW_MS;
	bool cancelled = false;
	PGresult *more;
	enum rc rc;

	*out = NULL;
	if (!PQsendQuery(repl, text))
		return pg_fail(repl, NULL, err, what);
	while (PQisBusy(repl)) {
		struct pollfd fds[2] = {
			{ .fd = PQsocket(repl), .events = POLLIN },
			{ .fd = cancelled ? -1 : stop_fd(), .events = POLLIN },
		};

		poll(fds, COUNTOF(fds), 500);
		if (!PQconsumeInput(repl))
			return pg_fail(repl, NULL, err, what);
		if (stop_requested() && !cancelled) {
			cancel(repl);
			cancelled = true;
		} else if (!cancelled && now_ms() >= tell_ms) {
			tell_whom_we_wait_for(sql, repl, name);
			tell_ms += AGAIN_MS;
		}
	}
	*out = PQgetResult(repl);
	while ((more = PQgetResult(repl)))
		PQclear(more);
	if (PQresultStatus(*out) == PGRES_TUPLES_OK)
		return OK;
	rc = pg_fail(repl, *out, err, what);
	PQclear(*out);
	*out = NULL;
	return cancelled ? AGAIN : rc;
}

enum rc
slot_create(PGconn *sql, PGconn *repl, const char *name, bool failover, uint64_t *from, struct err *err)
{
	struct arena a = { 0 };
	PGresult *res = NULL;
	const char *text = arena_printf(&a, "CREATE_REPLICATION_SLOT %s LOGICAL pgoutput %s", pg_ident(&a, slice_of(name)),
	    failover ? "(SNAPSHOT 'nothing', FAILOVER true)" : "NOEXPORT_SNAPSHOT");
	enum rc rc = exec_patiently(sql, repl, name, text, &res, err);

	if (rc == OK) {
		pg_lsn_parse(PQgetvalue(res, 0, 1), from);
		log_info("producer", "slot created", "slot=%s lsn=%s", name, PQgetvalue(res, 0, 1));
		PQclear(res);
	} else if (rc != AGAIN && strstr(err->text, "all replication slots are in use")) {
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "%s; raise max_replication_slots or drop an unused slot", err->text);
	}
	arena_free(&a);
	return rc;
}

enum rc
slot_set_failover(PGconn *repl, const char *name, bool failover, struct err *err)
{
	const char *yes = failover ? "true" : "false";
	struct arena a = { 0 };
	enum rc rc = pg_exec(repl, "alter the slot",
	    arena_printf(&a, "ALTER_REPLICATION_SLOT %s (FAILOVER %s)", pg_ident(&a, slice_of(name)), yes), NULL, err);

	if (rc == OK)
		log_info("producer", "slot altered", "slot=%s failover=%s", name, yes);
	arena_free(&a);
	return rc;
}
