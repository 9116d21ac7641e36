#include "control/reach.h"
#include "control/verify.h"
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_MS = 20, LOCKS_MS = 100, SETTLE_MS = 2000, FLUSH_EXTRA_MS = 200, TRY_MS = 500 };

static enum rc
interrupted(struct err *err)
{
	return fail_exit(err, FATAL, EXIT_INTERRUPTED, "interrupted");
}

enum rc
verify_pause(int ms, struct err *err)
{
	poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, ms);
	return stop_requested() ? interrupted(err) : OK;
}

/* ---- statements ---- */

static void
cancel(PGconn *conn)
{
	char text[256];
	PGcancel *c = PQgetCancel(conn);

	if (c)
		PQcancel(c, text, sizeof text);
	PQfreeCancel(c);
}

enum rc
verify_result(PGconn *conn, const char *what, PGresult **out, struct err *err)
{
	*out = NULL;
	while (PQisBusy(conn)) {
		struct pollfd fds[] = { { .fd = PQsocket(conn), .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN } };

		poll(fds, 2, -1);
		if (stop_requested()) {
			cancel(conn);
			return interrupted(err);
		}
		if (!PQconsumeInput(conn))
			return pg_fail(conn, NULL, err, what);
	}
	*out = PQgetResult(conn);
	return OK;
}

enum rc
verify_drop(PGconn *conn, struct err *err)
{
	PGresult *res;
	enum rc rc = OK;

	if (PQtransactionStatus(conn) == PQTRANS_ACTIVE)
		cancel(conn);
	while ((rc = verify_result(conn, "cancel", &res, err)) == OK && res)
		PQclear(res);
	return rc;
}

enum rc
verify_quiet(struct verify *v, struct err *err)
{
	for (int i = 0; i < VERIFY_SIDES; i++)
		if (verify_drop(v->scan[i], err) != OK || verify_drop(v->look[i], err) != OK)
			return err->rc;
	return OK;
}

static enum rc
take(PGconn *conn, const char *what, PGresult **out, struct err *err)
{
	PGresult *res;
	enum rc rc = OK;

	*out = NULL;
	while ((rc = verify_result(conn, what, &res, err)) == OK && res) {
		if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK) {
			rc = pg_fail(conn, res, err, what);
			PQclear(res);
			break;
		}
		PQclear(*out);
		*out = res;
	}
	if (rc != OK) {
		struct err ignored;

		PQclear(*out);
		*out = NULL;
		while (PQstatus(conn) == CONNECTION_OK && verify_result(conn, what, &res, &ignored) == OK && res)
			PQclear(res);
	}
	return rc;
}

enum rc
verify_ask(PGconn *conn, const char *what, const char *sql, int n, const char *const *params, PGresult **out, struct err *err)
{
	if (!PQsendQueryParams(conn, sql, n, NULL, params, NULL, NULL, 0))
		return pg_fail(conn, NULL, err, what);
	return take(conn, what, out, err);
}

static const char *const side_names[] = { "source", "sink" };

enum rc
verify_ask_both(struct verify *v, const char *what, const char *const sql[VERIFY_SIDES], PGresult *out[VERIFY_SIDES], struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < VERIFY_SIDES; i++)
		out[i] = NULL;
	for (int i = 0; i < VERIFY_SIDES && rc == OK; i++)
		if (!PQsendQueryParams(v->scan[i], sql[i], 0, NULL, NULL, NULL, NULL, 0)) {
			rc = pg_fail(v->scan[i], NULL, err, what);
			fail_in(err, "%s", side_names[i]);
		}
	for (int i = 0; i < VERIFY_SIDES && rc == OK; i++)
		if ((rc = take(v->scan[i], what, &out[i], err)) != OK)
			fail_in(err, "%s", side_names[i]);
	for (int i = 0; i < VERIFY_SIDES && rc != OK; i++) {
		struct err ignored;

		PQclear(out[i]);
		out[i] = NULL;
		if (rc == REJECT && verify_drop(v->scan[i], &ignored) != OK)
			break; /* the next statement will say so */
	}
	return rc;
}

/* ---- connections ---- */

/* A server does not notice by itself that nobody waits for its answer any more. */
static void
finish(PGconn *conn)
{
	if (PQtransactionStatus(conn) == PQTRANS_ACTIVE)
		cancel(conn);
	PQfinish(conn);
}

void
verify_close(struct verify *v)
{
	for (int i = 0; i < VERIFY_SIDES; i++) {
		finish(v->scan[i]);
		finish(v->look[i]);
		v->scan[i] = v->look[i] = NULL;
	}
}

enum rc
verify_path(struct verify *v, enum verify_side side, const char *path, struct err *err)
{
	PGresult *res = NULL;
	const char *params[] = { path };
	enum rc rc = OK;

	for (int i = 0; i < 2 && rc == OK; i++) {
		rc = verify_ask(i ? v->look[side] : v->scan[side], "search_path", "SELECT set_config('search_path', $1, false)", 1, params,
		    &res, err);
		PQclear(res);
	}
	return rc;
}

/*
 * Money is printed by the server's locale. A policy that hides rows is an error: what is not seen would be called missing, or equal. Who
 * scans reads one side as slowly as the other one answers, and must not be taken for gone; nor does he stand in line for a lock, as
 * what he reads on the other side is locked meanwhile.
 */
static enum rc
open_one(const char *url, bool scans, PGconn **out, struct err *err)
{
	enum rc rc = pg_connect(url, false, out, err);

	if (rc == OK)
		rc = pg_exec(*out, "session settings", "SET application_name = 'towline verify'; SET default_transaction_read_only = on;"
		    " SET lc_monetary = 'C'; SET row_security = off", NULL, err);
	return rc != OK || !scans ? rc : pg_exec(*out, "session settings", "SET tcp_user_timeout = 0; SET lock_timeout = '1s'", NULL, err);
}

static enum rc
look_at_servers(struct verify *v, struct err *err)
{
	PGresult *probe[VERIFY_SIDES] = { 0 }, *res = NULL;
	static const char *const sql[] = { VERIFY_SQL_PROBE, VERIFY_SQL_PROBE };
	const char *slot[] = { v->conf->slot };
	enum rc rc = verify_ask_both(v, "hash of a text", sql, probe, err);

	if (rc == OK) {
		v->md5 = strcmp(PQgetvalue(probe[0], 0, 0), PQgetvalue(probe[1], 0, 0)) != 0;
		for (int i = 0; i < VERIFY_SIDES; i++)
			v->utf8[i] = strcmp(PQparameterStatus(v->scan[i], "server_encoding"), "UTF8") == 0;
		rc = verify_ask(v->look[VERIFY_SOURCE], "settings",
		    "SELECT setting::int8 * 3, pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)"
		    " FROM pg_settings WHERE name = 'wal_writer_delay'", 1, slot, &res, err);
	}
	if (rc == OK) {
		v->flush_ms = strtoll(PQgetvalue(res, 0, 0), NULL, 10) + FLUSH_EXTRA_MS;
		v->blind = *PQgetvalue(res, 0, 1) == 't';
	}
	PQclear(res);
	PQclear(probe[0]);
	PQclear(probe[1]);
	return rc;
}

/* LSNs of another server would mean nothing. (Who may not ask is taken at his word.) */
static enum rc
check_source(struct verify *v, struct err *err)
{
	struct marker at = { 0 };
	PGresult *res = NULL;
	struct err ignored;
	enum rc rc = reach_sink_at(v->conf, v->sink, v->look[VERIFY_SINK], &at, err);

	if (rc == OK && !at.gen)
		return fail(err, FATAL, "pipeline %s has never applied anything there", v->conf->name);
	if (rc != OK || pg_exec(v->look[VERIFY_SOURCE], "system identifier", "SELECT system_identifier FROM pg_control_system()", &res,
	    &ignored) != OK)
		return rc;
	if (at.system_id && at.system_id != strtoull(PQgetvalue(res, 0, 0), NULL, 10))
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "what it has came from another database cluster than the source of the configuration");
	PQclear(res);
	return rc;
}

enum rc
verify_open(struct verify *v, struct err *err)
{
	const char *urls[] = { v->conf->source_url, v->sink->url };

	verify_close(v);
	for (int i = 0; i < VERIFY_SIDES; i++) {
		enum rc rc = open_one(urls[i], true, &v->scan[i], err);

		if (rc == OK)
			rc = open_one(urls[i], false, &v->look[i], err);
		if (rc != OK)
			return fail_in(err, "%s", side_names[i]);
	}
	if (look_at_servers(v, err) != OK)
		return err->rc;
	return check_source(v, err) == OK ? OK : fail_in(err, "sink %s", v->sink->name);
}

enum rc
verify_reopen(struct verify *v, int tries, struct err *err)
{
	enum rc rc;

	log_warn("verify", "trouble, once more", "try=%d reason=\"%s\"", tries, err->text);
	rc = verify_pause(TRY_MS * tries, err);
	return rc == OK ? verify_open(v, err) : rc;
}

/* ---- how far ---- */

static enum rc
ask_lsn(PGconn *conn, const char *sql, uint64_t *lsn, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = verify_ask(conn, "end of the log", sql, 0, NULL, &res, err);

	if (rc == OK && (PQntuples(res) != 1 || !pg_lsn_parse(PQgetvalue(res, 0, 0), lsn)))
		rc = fail(err, FATAL, "end of the log: the server does not tell it");
	PQclear(res);
	return rc;
}

/*
 * The end of what is written down need not be behind a commit that was seen: with synchronous_commit = off that is written later. The end
 * of what is inserted is, but on a quiet server nobody may ever write that down. So: as far as the latter, or what is written down when
 * every such commit must be.
 */
enum rc
verify_here(struct verify *v, struct copy_place copied, struct verify_place *out, struct err *err)
{
	static const char inserted[] =
	    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END";
	static const char flushed[] =
	    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END";
	PGconn *conn = v->look[VERIFY_SOURCE];
	uint64_t end = 0;
	int64_t until = now_ms() + v->flush_ms;
	enum rc rc = ask_lsn(conn, inserted, &out->lsn, err);

	while (rc == OK && (rc = ask_lsn(conn, flushed, &end, err)) == OK && end < out->lsn) {
		if (now_ms() > until) {
			out->lsn = end;
			break;
		}
		rc = verify_pause(LOOK_MS, err);
	}
	out->copied = copied;
	out->until_us = now_us() + v->timeout_us;
	return rc == OK ? OK : fail_in(err, "source");
}

/* Without a progress topic: the source of an embedded Kafka is only confirmed what the sinks have committed. */
static enum rc
confirmed(struct verify *v, uint64_t lsn, bool *yes, struct err *err)
{
	const char *params[] = { v->conf->slot };
	PGresult *res = NULL;
	uint64_t at = 0;
	enum rc rc = verify_ask(v->look[VERIFY_SOURCE], "slot",
	    "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1", 1, params, &res, err);

	*yes = rc == OK && PQntuples(res) == 1 && pg_lsn_parse(PQgetvalue(res, 0, 0), &at) && at >= lsn;
	PQclear(res);
	return rc;
}

static bool
has_copy(const struct marker *at, struct copy_place place)
{
	return copy_behind((struct copy_place){ at->gen, at->no }, place);
}

enum rc
verify_reached(struct verify *v, const struct verify_place *p, bool *yes, struct err *err)
{
	char have[20], want[20];
	struct marker at = { 0 };
	enum rc rc = OK;

	*yes = false;
	if (v->conf->embedded && (rc = confirmed(v, p->lsn, yes, err)) != OK)
		return rc;
	rc = reach_sink_at(v->conf, v->sink, v->look[VERIFY_SINK], &at, err);
	if (rc != OK)
		return fail_in(err, "sink %s", v->sink->name);
	*yes = *yes || (has_copy(&at, p->copied) && reach_reached(v->board, &at, p->lsn));
	if (*yes || now_us() <= p->until_us)
		return stop_requested() ? interrupted(err) : OK;
	return fail(err, FATAL, "sink %s is at %s and has not reached %s in time; see towline status, or take a longer --timeout",
	    v->sink->name, pg_lsn_text(have, at.lsn), pg_lsn_text(want, p->lsn));
}

enum rc
verify_reach(struct verify *v, const struct verify_place *p, struct err *err)
{
	bool yes;
	enum rc rc;

	while ((rc = verify_reached(v, p, &yes, err)) == OK && !yes)
		if ((rc = verify_pause(LOOK_MS, err)) != OK)
			break;
	return rc;
}

/*
 * A transaction holds the lock of its number until others see its commit. (A snapshot's xmax would not do: it is behind the last one that
 * has ended, and what runs may have a higher number.)
 */
enum rc
verify_settle(struct verify *v, bool *settled, struct err *err)
{
#define RUNNING "FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted"
	PGconn *conn = v->look[VERIFY_SOURCE];
	int64_t until = now_ms() + SETTLE_MS;
	struct arena a = { 0 };
	PGresult *res = NULL;
	const char *params[] = { "{}" };
	enum rc rc = verify_ask(conn, "running transactions", "SELECT coalesce(array_agg(transactionid::text), '{}') " RUNNING, 0, NULL,
	    &res, err);

	*settled = false;
	if (rc == OK)
		params[0] = arena_text(&a, slice_of(PQgetvalue(res, 0, 0)));
	PQclear(res);
	while (rc == OK && !v->blind) {
		rc = verify_ask(conn, "running transactions",
		    "SELECT count(*) = 0 " RUNNING " AND transactionid::text = ANY ($1::text[])", 1, params, &res, err);
		if (rc != OK)
			break;
		*settled = *PQgetvalue(res, 0, 0) == 't';
		PQclear(res);
		if (*settled || now_ms() > until)
			break;
		rc = verify_pause(LOCKS_MS, err);
	}
	arena_free(&a);
	return rc;
#undef RUNNING
}
