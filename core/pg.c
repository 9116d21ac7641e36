#include "core/pg.h"
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Verdict by class or code, first match. What concerns one row (22, 23) is REJECT; what passes by itself is
 * RETRY, a full disk or a server in recovery included; the rest needs somebody.
 */
static const struct {
	const char *prefix;
	enum rc rc;
} verdicts[] = {
	{ "08", RETRY },    /* connection exception */
	{ "40", RETRY },    /* serialization failure, deadlock */
	{ "53", RETRY },    /* disk full, too many connections, out of memory */
	{ "57P", RETRY },   /* shutdown, crash recovery, cannot connect now */
	{ "57014", RETRY }, /* statement cancelled */
	{ "55006", RETRY }, /* object in use: the slot is active for another process */
	{ "55P03", RETRY }, /* lock not available */
	{ "25006", RETRY }, /* read-only: a standby or a fenced primary may become writable */
	{ "25P03", RETRY }, /* idle in transaction timeout */
	{ "58", RETRY },    /* I/O error of the server */
	{ "22", REJECT },
	{ "23", REJECT },
	{ "42804", REJECT }, /* a value of another type than the column's */
	{ "P0001", REJECT }, /* raised by a trigger or function of the user's */
};

enum rc
pg_verdict(const char *sqlstate)
{
	if (!sqlstate)
		return RETRY;
	for (size_t i = 0; i < COUNTOF(verdicts); i++)
		if (strncmp(sqlstate, verdicts[i].prefix, strlen(verdicts[i].prefix)) == 0)
			return verdicts[i].rc;
	return FATAL;
}

/* libpq's texts end in newlines, and may have several lines: one sentence is wanted. */
static void
one_line(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; text && *text && n + 3 < size; text++) {
		if (*text == '\n' || *text == '\t') {
			while (text[1] == '\n' || text[1] == '\t' || text[1] == ' ')
				text++;
			if (text[1]) {
				out[n++] = ',';
				out[n++] = ' ';
			}
		} else {
			out[n++] = *text;
		}
	}
	out[n] = '\0';
}

enum rc
pg_fail(PGconn *conn, const PGresult *res, struct err *err, const char *what)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *detail = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
	char text[512], more[256];

	if (!state) {
		one_line(text, sizeof text, res && *PQresultErrorMessage(res) ? PQresultErrorMessage(res) : PQerrorMessage(conn));
		return fail(err, RETRY, "%s: %s", what, *text ? text : "connection lost");
	}
	one_line(text, sizeof text, PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	one_line(more, sizeof more, detail);
	return fail(err, pg_verdict(state), "%s: %s%s%s (SQLSTATE %s)%s%s", what, text, *more ? ": " : "", more, state,
	    hint ? "; " : "", hint ? hint : "");
}

/* Why a connection was not made, first match. libpq has no SQLSTATE here before 18. */
static const struct {
	const char *text;
	enum rc rc; /* wrong password or database need an operator; a server that is starting or away does not */
	const char *fix;
} connect_troubles[] = {
	{ "authentication failed", FATAL, "check user and password in the URL" },
	{ "no password supplied", FATAL, "check user and password in the URL, or in ~/.pgpass" },
	{ "no pg_hba.conf entry", FATAL, "add a line for it to the server's pg_hba.conf" },
	{ "does not exist", FATAL, "correct the name in the URL, or create it" },
	{ "is not permitted to log in", FATAL, "run ALTER ROLE ... LOGIN" },
	{ "permission denied for database", FATAL, "grant CONNECT on it to this role" },
	{ "must be superuser or replication role", FATAL, NULL },
	{ "permission denied to start WAL sender", FATAL, NULL }, /* the same from 16 on */
	{ "invalid connection option", FATAL, "correct the URL" },
	{ "missing \"=\"", FATAL, "correct the URL" },
	{ "invalid port number", FATAL, "correct the URL" },
	{ "invalid integer value", FATAL, "correct the URL" },
	{ "invalid URI", FATAL, "correct the URL" },
	{ "unexpected character", FATAL, "correct the URL" },
	{ "could not translate host name", RETRY, "start the server, or correct the URL" },
	{ "Connection refused", RETRY, "start the server, or correct the URL" },
};

static enum rc
connect_fail(const char *text, struct err *err)
{
	for (size_t i = 0; i < COUNTOF(connect_troubles); i++)
		if (strstr(text, connect_troubles[i].text)) {
			const char *fix = connect_troubles[i].fix;

			return fail_exit(err, connect_troubles[i].rc, EXIT_UNREACHABLE, "%s%s%s", text, fix ? "; " : "", fix ? fix : "");
		}
	return fail_exit(err, RETRY, EXIT_UNREACHABLE, "%s", text);
}

static void
no_notice(void *arg, const PGresult *res)
{
	(void)arg, (void)res;
}

enum rc
pg_connect(const char *url, bool replication, PGconn **out, struct err *err)
{
	/*
	 * What text form values have must not depend on the server's or role's settings. And the server too must see that we are gone: what
	 * we left open holds locks that our next session waits for.
	 */
	static const char settings[] = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex"
	    " -c extra_float_digits=3 -c client_min_messages=warning -c search_path=pg_catalog -c statement_timeout=0"
	    " -c idle_in_transaction_session_timeout=0 -c lock_timeout=0"
	    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c tcp_user_timeout=";
	const char *keys[12], *values[12];
	char text[512], options[sizeof settings + 8];
	int n = 0;

	/*
	 * A stream that we do not read for a while is not gone: Linux counts the time for which the window is closed as well. There the
	 * server asks for an answer by itself (wal_sender_timeout).
	 */
	snprintf(options, sizeof options, "%s%d", settings, replication ? 0 : 45000);
	keys[n] = "dbname", values[n++] = url;
	keys[n] = "fallback_application_name", values[n++] = "towline";
	keys[n] = "client_encoding", values[n++] = "UTF8";
	keys[n] = "options", values[n++] = options;
	/*
	 * A peer that is gone without a word is noticed within a minute: by probes when we only wait, by the user timeout (which also
	 * overrules the count of probes) when something of ours is on its way.
	 */
	keys[n] = "keepalives_idle", values[n++] = "10";
	keys[n] = "keepalives_interval", values[n++] = "10";
	keys[n] = "keepalives_count", values[n++] = "3";
	keys[n] = "connect_timeout", values[n++] = "10";
	keys[n] = "tcp_user_timeout", values[n++] = "45000";
	if (replication)
		keys[n] = "replication", values[n++] = "database";
	keys[n] = NULL, values[n] = NULL;
	*out = PQconnectdbParams(keys, values, 1);
	if (!*out)
		die("out of memory");
	if (PQstatus(*out) == CONNECTION_OK) {
		PQsetNoticeReceiver(*out, no_notice, NULL);
		return OK;
	}
	one_line(text, sizeof text, PQerrorMessage(*out));
	PQfinish(*out);
	*out = NULL;
	return connect_fail(text, err);
}

static enum rc
take_result(PGconn *conn, PGresult *res, const char *what, PGresult **out, struct err *err)
{
	ExecStatusType st = PQresultStatus(res);
	enum rc rc = OK;

	if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK)
		rc = pg_fail(conn, res, err, what);
	if (rc == OK && out) {
		*out = res;
		return OK;
	}
	PQclear(res);
	return rc;
}

enum rc
pg_exec(PGconn *conn, const char *what, const char *sql, PGresult **out, struct err *err)
{
	return take_result(conn, PQexec(conn, sql), what, out, err);
}

enum rc
pg_exec_params(PGconn *conn, const char *what, const char *sql, int n, const char *const *params, PGresult **out, struct err *err)
{
	return take_result(conn, PQexecParams(conn, sql, n, NULL, params, NULL, NULL, 0), what, out, err);
}

static const char *
quote(struct arena *a, struct slice s, char q)
{
	char *p = arena_raw(a, s.n * 2 + 3);
	size_t n = 0;

	p[n++] = q;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == q)
			p[n++] = q;
		p[n++] = s.p[i];
	}
	p[n++] = q;
	p[n] = '\0';
	return p;
}

const char *
pg_ident(struct arena *a, struct slice name)
{
	return quote(a, name, '"');
}

const char *
pg_literal(struct arena *a, struct slice text)
{
	/* With a backslash in it the E form is right whatever standard_conforming_strings says. */
	struct buf b = { 0 };
	const char *p;

	if (!memchr(text.p, '\\', text.n))
		return quote(a, text, '\'');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\\')
			buf_byte(&b, '\\');
		buf_byte(&b, (uint8_t)text.p[i]);
	}
	p = arena_printf(a, " E%s", quote(a, buf_view(&b), '\''));
	buf_free(&b);
	return p;
}

bool
pg_lsn_parse(const char *text, uint64_t *lsn)
{
	unsigned hi, lo;
	int n = 0;

	if (sscanf(text, "%8x/%8x%n", &hi, &lo, &n) != 2 || text[n])
		return false;
	*lsn = (uint64_t)hi << 32 | lo;
	return true;
}

const char *
pg_lsn_text(char buf[static 20], uint64_t lsn)
{
	snprintf(buf, 20, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
	return buf;
}
