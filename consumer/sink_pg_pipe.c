/*
 * Pipeline mode. Commands go out without waiting; the answers come in order, one result for each
 * command and one for each Sync. After an error the server skips everything up to the next Sync,
 * and what was sent behind that Sync runs into an aborted transaction (or, when a COMMIT failed,
 * into a marker that is not where it is expected): so nothing of a later transaction can be
 * committed once an earlier one failed, whatever is in flight.
 *
 * Reading and writing go together in one poll: a server whose answers nobody takes stops reading.
 */
#include "consumer/sink_pg.h"
#include "core/log.h"
#include "core/stop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { STOP_GRACE_MS = 3000 }; /* of silence from the server, once the program is asked to end */

void
pipe_enter(struct sink_pg *s)
{
	copy_finish(s);
	if (PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF || s->broken)
		return;
	if (!PQenterPipelineMode(s->conn) || PQsetnonblocking(s->conn, 1) != 0) {
		struct err e;

		(void)fail(&e, RETRY, "sink: %s", PQerrorMessage(s->conn));
		pipe_fail(s, &e, NULL);
	}
}

void
pipe_fail(struct sink_pg *s, const struct err *e, const struct batch *b)
{
	if (s->broken)
		return;
	s->broken = true;
	s->failure = *e;
	s->failure_batch = b;
}

/* ---- answers ---- */

static struct sent
sent_pop(struct sink_pg *s)
{
	struct sent e = s->sent[s->sent_head];

	s->sent_head = (s->sent_head + 1) % s->sent_cap;
	s->sent_n--;
	return e;
}

static void
result_failed(struct sink_pg *s, const struct sent *e, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	struct err why;
	enum rc rc;

	if (s->broken)
		return;
	rc = pg_fail(s->conn, res, &why, e->target ? e->target->t.name : "sink");
	if (state && strncmp(state, "TW", 2) == 0)
		rc = advance_fail(s->conn, res, &why);
	/* Two keys that differ for us are one for the sink (citext); a table that a foreign key refers to cannot be
	 * truncated: both can be done row by row. */
	else if (state && rc == FATAL && e->kind == SENT_WORK &&
	    (strcmp(state, "21000") == 0 || strcmp(state, "0A000") == 0))
		why.rc = REJECT;
	else if (state && e->counted && strcmp(state, "22012") == 0)
		(void)fail(&why, REJECT, "%s: rows to change are not there; a foreign key's cascade may have taken them",
		    e->target ? e->target->t.name : "sink");
	else if (rc == REJECT && e->kind == SENT_CONTROL) /* what Towline itself writes is no row that could be set aside */
		why.rc = FATAL;
	pipe_fail(s, &why, e->batch);
	s->failure_commit = e->kind == SENT_COMMIT;
	s->failure_guess = e->guess && state && (strcmp(state, "23505") == 0 || strcmp(state, "23P01") == 0);
	if (s->failure_guess && e->target)
		copy_misled(e->target);
	else if (e->target && state && strcmp(state, "0A000") == 0) /* row security that came since does not let COPY */
		e->target->t.copies = false;
}

static void
result_ok(struct sink_pg *s, const struct sent *e, PGresult *res)
{
	if (s->broken)
		return;
	switch (e->kind) {
	case SENT_PARSE:
		if (e->stmt)
			e->stmt->ready = true;
		break;
	case SENT_WORK:
		if (e->must_hit >= 0 && e->target && !e->counted) {
			int hit = (int)strtol(PQcmdTuples(res), NULL, 10);

			if (hit < e->must_hit)
				note_missing(e->target, e->must_hit - hit);
		}
		break;
	case SENT_COMMIT:
		if (strcmp(PQcmdStatus(res), "COMMIT") != 0) {
			struct err why;

			(void)fail(&why, RETRY,
			    "sink: the transaction was rolled back instead of committed");
			pipe_fail(s, &why, e->batch);
			return;
		}
		s->ntxns--;
		memmove(s->txns, s->txns + 1, (size_t)s->ntxns * sizeof *s->txns);
		break;
	case SENT_BEGIN:
	case SENT_ADVANCE:
	case SENT_CONTROL:
	case SENT_SYNC:
		break;
	}
}

static void
lost(struct sink_pg *s)
{
	struct err why;

	(void)!pg_fail(s->conn, NULL, &why, "sink");
	pipe_fail(s, &why, NULL);
	s->sent_n = 0;
	s->copying = false;
}

/* Take what has arrived, without waiting. */
static void
take_results(struct sink_pg *s)
{
	while (s->sent_n && !s->copying && !PQisBusy(s->conn)) {
		PGresult *res = PQgetResult(s->conn);
		ExecStatusType st;
		struct sent e;

		if (PQstatus(s->conn) == CONNECTION_BAD) {
			PQclear(res);
			lost(s);
			return;
		}
		if (!res)
			continue; /* ends the results of one command */
		st = PQresultStatus(res);
		if (st == PGRES_COPY_IN) {
			s->copying = true;
			PQclear(res);
			return;
		}
		e = sent_pop(s);
		if (st == PGRES_FATAL_ERROR || st == PGRES_BAD_RESPONSE)
			result_failed(s, &e, res);
		else if (st != PGRES_PIPELINE_ABORTED)
			result_ok(s, &e, res);
		PQclear(res);
	}
}

/*
 * The program is to end, and the server is silent: it waits for a lock, or is at something long. What it does is cancelled and comes
 * again at the next start; a server that does not even answer to that is left.
 */
static void
give_up(struct sink_pg *s)
{
	struct err why;
	char text[256];
	PGcancel *cancel;

	(void)fail(&why, RETRY, "asked to end while the sink's server was busy; its transaction is rolled back");
	pipe_fail(s, &why, NULL);
	if (s->cancelled) {
		shutdown(PQsocket(s->conn), SHUT_RDWR); /* so that nothing waits for it any more */
		return;
	}
	s->cancelled = true;
	cancel = PQgetCancel(s->conn);
	if (cancel && !PQcancel(cancel, text, sizeof text))
		log_debug("sink", text, "%s", "");
	PQfreeCancel(cancel);
}

/* Until the socket is ready; not for ever when the program is to end. */
static short
await(struct sink_pg *s, short events, bool wait)
{
	struct pollfd p[] = { { .fd = PQsocket(s->conn), .events = events }, { .fd = stop_fd(), .events = POLLIN } };
	bool stop = stop_requested(); /* its descriptor would be ready at once from now on */
	int n = poll(p, stop ? 1 : 2, !wait ? 0 : stop ? STOP_GRACE_MS : -1);

	if (n < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
	if (n == 0 && wait)
		give_up(s);
	return n > 0 ? p[0].revents : 0;
}

/*
 * One round of sending and receiving. Waits, if room, for that while there is something to send, and,
 * if answer, for input.
 */
static bool
turn(struct sink_pg *s, bool answer, bool room)
{
	int left = PQflush(s->conn);
	short ready;

	if (left < 0 || PQsocket(s->conn) < 0) {
		lost(s);
		return false;
	}
	/*
	 * With all sent the server may have nothing to say before the next Sync: waiting then would
	 * be for ever.
	 */
	ready = await(s, left > 0 ? POLLIN | POLLOUT : POLLIN, answer || (room && left > 0));
	if (ready & (POLLIN | POLLHUP | POLLERR) && !PQconsumeInput(s->conn)) {
		take_results(s);
		lost(s);
		return false;
	}
	take_results(s);
	return left > 0;
}

void
pipe_flush(struct sink_pg *s)
{
	while (PQstatus(s->conn) == CONNECTION_OK && turn(s, false, true))
		;
}

void
pipe_pump(struct sink_pg *s)
{
	turn(s, false, false);
}

void
pipe_sent(struct sink_pg *s, int ok, struct sent what)
{
	if (!ok) {
		if (PQstatus(s->conn) == CONNECTION_BAD) {
			lost(s);
		} else {
			struct err why;

			(void)fail(&why, FATAL, "sink: %s", PQerrorMessage(s->conn));
			pipe_fail(s, &why, what.batch);
		}
		return;
	}
	if (s->sent_n == s->sent_cap) {
		uint32_t cap = s->sent_cap ? s->sent_cap * 2 : 64;
		struct sent *more = malloc(cap * sizeof *more);

		if (!more)
			die("out of memory");
		for (uint32_t i = 0; i < s->sent_n; i++)
			more[i] = s->sent[(s->sent_head + i) % s->sent_cap];
		free(s->sent);
		s->sent = more;
		s->sent_head = 0;
		s->sent_cap = cap;
	}
	s->sent[(s->sent_head + s->sent_n++) % s->sent_cap] = what;
}

void
pipe_sync(struct sink_pg *s)
{
	if (PQstatus(s->conn) == CONNECTION_OK && PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF)
		pipe_sent(
		    s, PQpipelineSync(s->conn), (struct sent){ .kind = SENT_SYNC, .must_hit = -1 });
}

void
pipe_settle(struct sink_pg *s, int most)
{
	while (!s->broken && s->ntxns - (s->open ? 1 : 0) > most && s->sent_n)
		turn(s, true, true);
}

void
pipe_wait(struct sink_pg *s)
{
	uint32_t n = s->sent_n;

	while (s->sent_n && s->sent_n == n && !s->copying)
		turn(s, true, true);
}

void
pipe_drain(struct sink_pg *s)
{
	bool aborted;

	copy_finish(s);
	aborted = PQpipelineStatus(s->conn) == PQ_PIPELINE_ABORTED;
	/* Only a Sync makes the server send what it holds back, or listen again after an error. */
	if (s->sent_n ? s->sent[(s->sent_head + s->sent_n - 1) % s->sent_cap].kind != SENT_SYNC
		      : aborted)
		pipe_sync(s);
	/* The answer to a COPY may have come with its rows still on their way: no other will. */
	take_results(s);
	while (s->sent_n)
		turn(s, true, true);
}

void
pipe_forget(struct sink_pg *s, const struct pg_target *target)
{
	for (uint32_t i = 0; i < s->sent_n; i++) {
		struct sent *e = &s->sent[(s->sent_head + i) % s->sent_cap];

		if (e->target == target) {
			e->target = NULL;
			e->stmt = NULL;
		}
	}
}

/* ---- failure ---- */

/* Statements whose Parse never ran are to be sent again. */
static void
forget_unready(struct sink_pg *s)
{
	for (struct pg_target *t = s->targets; t; t = t->hh.next)
		for (struct stmt *st = t->stmts; st; st = st->next)
			st->sent = st->ready;
}

void
pipe_off(struct sink_pg *s)
{
	if (PQpipelineStatus(s->conn) == PQ_PIPELINE_OFF || PQstatus(s->conn) == CONNECTION_BAD)
		return;
	/* The NULL that ends the last command may still be due. */
	while (!PQexitPipelineMode(s->conn)) {
		PGresult *res = PQgetResult(s->conn);

		if (!res && PQstatus(s->conn) == CONNECTION_BAD)
			break;
		PQclear(res);
	}
	PQsetnonblocking(s->conn, 0);
}

enum rc
pipe_report(struct sink_pg *s, struct err *err)
{
	bool back;
	struct err ignored;

	if (!s->broken)
		return OK;
	pipe_drain(s);
	pipe_off(s);
	*err = s->failure;
	back = s->savepoint && err->rc == REJECT && !s->failure_commit;
	if (s->savepoint && err->rc == REJECT && s->failure_commit)
		(void)fail(err, FATAL,
		    "%s; a transaction this large cannot be done again row by row: make the constraint immediate",
		    s->failure.text);
	if (PQstatus(s->conn) == CONNECTION_OK && PQtransactionStatus(s->conn) != PQTRANS_IDLE)
		(void)!pg_exec(s->conn, "roll back",
		    back ? "ROLLBACK TO SAVEPOINT towline_apply" : "ROLLBACK", NULL, &ignored);
	forget_unready(s);
	s->sink.failed = err->rc == REJECT ? s->failure_batch : NULL;
	s->guessed = s->failure_guess ? s->sink.failed : NULL;
	s->broken = s->failure_commit = s->failure_guess = false;
	if (back)
		return err->rc;
	if (s->ntxns)
		s->redo = s->txns[0];
	s->ntxns = s->applied = 0;
	s->open = s->savepoint = false;
	table_forget_open(s);
	return err->rc;
}

enum rc
pipe_leave(struct sink_pg *s, struct err *err)
{
	pipe_drain(s);
	if (s->broken)
		return pipe_report(s, err);
	pipe_off(s);
	return OK;
}
