/*
 * source_pg.c - PostgreSQL's logical replication stream as a source.
 *
 * One walsender connection in CopyBoth mode carries the stream, one ordinary connection the questions to the catalogue.
 * Streaming replication protocol (PostgreSQL documentation, "Streaming Replication Protocol"):
 *   w  int64 start, int64 end of WAL, int64 time, then a pgoutput message
 *   k  int64 end of WAL, int64 time, int8 reply at once
 *   r  (ours) int64 written, int64 flushed, int64 applied, int64 time, int8 0
 */
#include "core/cursor.h"
#include "core/log.h"
#include "core/now.h"
#include "core/pg.h"
#include "core/stop.h"
#include "producer/known.h"
#include "producer/publication.h"
#include "producer/server.h"
#include "producer/source_pg_impl.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	FEEDBACK_MIN_MS = 100,  /* between two confirmations that moved */
	FEEDBACK_MAX_MS = 1000, /* at least one in this time, also while we do not read on, or wal_sender_timeout ends the connection */
	TABLES_MS = 5000,       /* between two looks for new tables */
	WAL_SEGMENT = 16 << 20,
};

/* Prefix of logical messages that are ours: heartbeats. Not published. */
static const char own_prefix[] = "towline";

static struct source_pg *
self(struct source *s)
{
	return (struct source_pg *)s;
}

/* ---- connect, look, create ---- */

static enum rc
check_server(struct source_pg *s, bool *standby, struct err *err)
{
	struct arena a = { 0 };
	struct server server;
	enum rc rc = server_look(s->sql, &a, &server, err);

	if (rc == OK)
		rc = server_judge(&server, err);
	*standby = server.standby;
	s->want_failover = server_wants_failover(&server, s->base.conf);
	s->settle_failover = server.major >= 17 && !server.standby;
	arena_free(&a);
	return rc;
}

/* The name by which synchronous_standby_names may know us: the slot's, unless the URL gives another. */
static enum rc
name_standby(struct source_pg *s, struct err *err)
{
	const char *name = PQparameterStatus(s->repl, "application_name");
	struct arena a = { 0 };
	enum rc rc = OK;

	if (!name || strcmp(name, "towline") == 0)
		rc = pg_exec(s->repl, "set application_name",
		    arena_printf(&a, "SET application_name = %s", pg_literal(&a, slice_of(s->base.conf->slot))), NULL, err);
	arena_free(&a);
	return rc;
}

static enum rc
connect_both(struct source_pg *s, bool *standby, struct err *err)
{
	enum rc rc = OK;

	if (!s->sql)
		rc = pg_connect(s->base.conf->source_url, false, &s->sql, err);
	/*
	 * An application may hold a lock for hours; meanwhile the stream must go on, and SIGTERM must end us. And what we change must not
	 * wait for a standby: it may be us.
	 */
	if (rc == OK)
		rc = pg_exec(s->sql, "set lock_timeout", "SET lock_timeout = '1s'; SET synchronous_commit = local", NULL, err);
	if (rc == OK)
		rc = check_server(s, standby, err);
	if (rc == OK && !s->repl) {
		rc = pg_connect(s->base.conf->source_url, true, &s->repl, err);
		if (rc == FATAL && (strstr(err->text, "replication role") || strstr(err->text, "WAL sender")))
			(void)fail_exit(err, FATAL, EXIT_CONFIG, "%s; run ALTER ROLE %s REPLICATION", err->text, PQuser(s->sql));
	}
	if (rc == OK)
		rc = name_standby(s, err);
	return rc == OK ? OK : fail_in(err, "source");
}

static enum rc
look_at_slot(struct source_pg *s, struct source_identity *out, struct err *err)
{
	const char *name = s->base.conf->slot;
	struct arena a = { 0 };
	struct pg_slot slot;
	enum rc rc = slot_look(s->sql, name, &a, &slot, err);

	if (rc == OK)
		rc = slot_judge(name, &slot, err);
	out->exists = slot.exists;
	out->confirmed = slot.confirmed;
	s->settle_failover = s->settle_failover && slot.exists && slot.failover != s->want_failover;
	arena_free(&a);
	return rc;
}

/* Tables that could not join as somebody holds them locked are tried again at the next tick. */
static enum rc
join_tables(struct source_pg *s, int known, struct publication_report *report, struct err *err)
{
	enum rc rc = publication_ensure(s->sql, s->base.conf, known, report, err);

	if (source_pg_locked(rc, err)) {
		if (!s->told_joining)
			log_warn("producer", "tables wait to join: another session has one of them locked", "tables=%d", report->added);
		s->told_joining = true;
		report->published -= report->added;
		report->added = 0;
		return OK;
	}
	s->told_joining = false;
	return rc;
}

static enum rc
pg_identify(struct source *base, struct source_identity *out, struct err *err)
{
	struct source_pg *s = self(base);
	struct publication_report report;
	bool standby = false;
	enum rc rc = connect_both(s, &standby, err);

	*out = (struct source_identity){ 0 };
	if (rc == OK)
		rc = server_identify(s->repl, &out->system_id, &out->timeline, &out->lsn, err);
	if (rc != OK)
		return rc;
	if (standby)
		out->lsn = 0;
	out->database = PQdb(s->sql);
	rc = look_at_slot(s, out, err);
	/* Changes count from the slot on. So before it is made all tables must be in; later one that is locked may join when it can. */
	if (rc == OK)
		rc = out->exists ? join_tables(s, -1, &report, err) : publication_ensure(s->sql, base->conf, -1, &report, err);
	if (rc != OK)
		return rc;
	s->left_out = report.left_out;
	s->confirmed = out->confirmed;
	log_info("producer", "source ready", "database=%s slot=%s publication=%s tables=%d", out->database, base->conf->slot,
	    base->conf->publication, report.published);
	return OK;
}

static enum rc
pg_create(struct source *base, uint64_t *from, struct err *err)
{
	struct source_pg *s = self(base);
	enum rc rc = slot_create(s->sql, s->repl, base->conf->slot, s->want_failover, &s->confirmed, err);

	*from = s->confirmed;
	return rc;
}

/*
 * The history file of the present timeline has a line for each one before: its number, the LSN where it was left, a reason.
 */
static enum rc
pg_fork(struct source *base, uint32_t timeline, uint64_t *lsn, struct err *err)
{
	struct source_pg *s = self(base);
	char sql[64], at[24];
	PGresult *res = NULL;
	enum rc rc = pg_exec(s->repl, "IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM", &res, err);

	*lsn = 0;
	if (rc != OK)
		return rc;
	snprintf(sql, sizeof sql, "TIMELINE_HISTORY %s", PQgetvalue(res, 0, 1));
	PQclear(res);
	rc = pg_exec(s->repl, "TIMELINE_HISTORY", sql, &res, err);
	if (rc != OK)
		return rc;
	for (const char *line = PQgetvalue(res, 0, 1); line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		unsigned tli;

		if (sscanf(line, "%u %23s", &tli, at) == 2 && tli == timeline && !pg_lsn_parse(at, lsn))
			*lsn = 0;
	}
	PQclear(res);
	return OK;
}

static enum rc
pg_start(struct source *base, const struct source_published *p, struct err *err)
{
	struct source_pg *s = self(base);
	struct arena a = { 0 };
	const char *pub = pg_literal(&a, slice_of(pg_ident(&a, slice_of(base->conf->publication))));
	const char *sql;
	PGresult *res;

	(void)p; /* what comes again is passed over by its LSN */
	enum rc rc = base->text ? OK : catalog_all_binary(s->sql, base->conf->publication, &s->binary, err);

	/* A slot from before 17, or made by hand, or the user has changed his mind. */
	if (rc == OK && s->settle_failover)
		rc = slot_set_failover(s->repl, base->conf->slot, s->want_failover, err);
	s->settle_failover = s->settle_failover && rc != OK;
	if (rc == OK) {
		sql = arena_printf(&a, "START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names %s, messages 'true'%s)",
		    pg_ident(&a, slice_of(base->conf->slot)), pub, s->binary ? ", binary 'true'" : "");
		res = PQexec(s->repl, sql);
		if (PQresultStatus(res) != PGRES_COPY_BOTH)
			rc = pg_fail(s->repl, res, err, "start replication");
		PQclear(res);
	}
	if (rc == OK)
		log_info("producer", "streaming", "slot=%s form=%s", base->conf->slot, s->binary ? "binary" : "text");
	arena_free(&a);
	return rc;
}

/* ---- rows ---- */

static enum rc
read_tuple(struct source_pg *s, const struct relation *rel, const struct pgo_tuple *t, const struct value *old, const struct value **out,
    struct err *err)
{
	const struct table *tbl = &rel->table;
	struct value *row = arena_raw(&s->arena, (size_t)tbl->ncols * sizeof *row);

	if (t->n != tbl->ncols)
		return fail(err, FATAL, "table %s.%s: a row of %d columns where its description has %d", tbl->schema.p, tbl->name.p, t->n,
		    tbl->ncols);
	for (int i = 0; i < t->n; i++) {
		const struct pgo_cell *cell = &t->cells[i];
		enum rc rc;

		row[i] = (struct value){ 0 };
		switch (cell->kind) {
		case 'n':
			row[i].kind = V_NULL;
			break;
		case 'u': /* the old row has it: all of them under REPLICA IDENTITY FULL, else those of the key */
			row[i] = old ? old[i] : (struct value){ .kind = V_ABSENT };
			break;
		default:
			rc = pgtype_read(&rel->types[i], &tbl->cols[i].type, cell->kind == 'b', cell->data, &s->arena, &row[i], err);
			if (rc != OK)
				return fail_in(err, "table %s.%s, column %s", tbl->schema.p, tbl->name.p, tbl->cols[i].name.p);
		}
	}
	*out = row;
	return OK;
}

/* Of a key-only old row the other columns are sent as null: they are not known. */
static void
blank_non_key(const struct table *tbl, const struct value *row)
{
	struct value *v = (struct value *)(uintptr_t)row; /* made by read_tuple just now */

	for (int i = 0; i < tbl->ncols; i++)
		if (!tbl->cols[i].identity)
			v[i] = (struct value){ .kind = V_ABSENT };
}

static enum rc
read_change(struct source_pg *s, const struct pgo *m, const struct relation *rel, struct change *c, struct err *err)
{
	enum rc rc = OK;

	*c = (struct change){ .op = m->type == 'I' ? OP_CREATE : m->type == 'U' ? OP_UPDATE : OP_DELETE, .tbl = &rel->table };
	if (m->old_kind) {
		c->before_kind = m->old_kind == 'O' ? BEFORE_FULL : BEFORE_KEY;
		rc = read_tuple(s, rel, &m->old, NULL, &c->before, err);
		if (rc == OK && c->before_kind == BEFORE_KEY)
			blank_non_key(&rel->table, c->before);
	}
	if (rc == OK && m->type != 'D')
		rc = read_tuple(s, rel, &m->new, c->before, &c->after, err);
	return rc;
}

/* ---- events ---- */

/* The tables of one TRUNCATE come as one change each. AGAIN: no more. */
static enum rc
next_truncate(struct source_pg *s, struct source_event *ev, struct err *err)
{
	while (s->truncate_at < s->truncate.nrels) {
		struct slot *slot;
		enum rc rc = source_pg_find(s, s->truncate.rels[s->truncate_at++], &slot, err);

		if (rc != OK)
			return rc;
		if (slot->skip)
			continue;
		ev->kind = SRC_CHANGE;
		ev->change = (struct change){ .op = OP_TRUNCATE, .tbl = &slot->rel->table, .lsn = s->truncate.lsn };
		ev->txn = s->txn;
		return OK;
	}
	s->truncate.nrels = 0;
	return AGAIN;
}

/* A message outside any transaction is told as a transaction of its own. */
static void
next_lone(struct source_pg *s, struct source_event *ev)
{
	static const enum source_event_kind kinds[] = { SRC_COMMIT, SRC_CHANGE, SRC_BEGIN };

	ev->kind = kinds[--s->lone];
	ev->txn = s->txn;
	ev->change = s->lone_change;
}

static enum rc
take_message(struct source_pg *s, const struct pgo *m, uint64_t lsn, struct source_event *ev, struct err *err)
{
	struct slot *slot;
	enum rc rc;

	switch (m->type) {
	case 'B':
		arena_reset(&s->txn_arena);
		s->in_txn = true;
		s->txn = (struct txn){ .commit_lsn = m->lsn, .commit_us = m->time_us, .xid = m->xid };
		ev->kind = SRC_BEGIN;
		ev->txn = s->txn;
		return OK;
	case 'C':
		s->in_txn = false;
		s->txn.end_lsn = m->end_lsn;
		ev->kind = SRC_COMMIT;
		ev->txn = s->txn;
		return OK;
	case 'O':
		s->txn.origin = arena_slice(&s->txn_arena, m->name);
		s->txn.origin_lsn = m->lsn;
		return AGAIN;
	case 'R':
		rc = source_pg_learn(s, m, err);
		return rc == OK ? AGAIN : rc;
	case 'I':
	case 'U':
	case 'D':
		rc = source_pg_find(s, m->relid, &slot, err);
		if (rc != OK || slot->skip)
			return rc == OK ? AGAIN : rc;
		ev->kind = SRC_CHANGE;
		rc = read_change(s, m, slot->rel, &ev->change, err);
		if (rc == OK && catalog_new_label(&slot->rel->table, ev->change.after)) {
			rc = source_pg_learn_again(s, slot, err);
			if (rc == OK)
				rc = read_change(s, m, slot->rel, &ev->change, err);
		}
		ev->change.reshaped = slot->rel->follows;
		slot->rel->follows = slot->refused && slot->rel->follows;
		ev->change.lsn = lsn;
		ev->txn = s->txn;
		return rc;
	case 'T':
		s->truncate = *m;
		s->truncate.lsn = lsn;
		s->truncate_at = 0;
		return next_truncate(s, ev, err);
	case 'M':
		if (slice_is(m->name, own_prefix)) {
			ev->kind = s->in_txn ? SRC_MARK : SRC_IDLE;
			ev->lsn = m->lsn;
			ev->change.content = m->content;
			return OK;
		}
		ev->kind = SRC_CHANGE;
		ev->change = (struct change){ .op = OP_MESSAGE, .lsn = m->lsn, .prefix = m->name, .content = m->content,
			.transactional = m->flags & MESSAGE_TRANSACTIONAL };
		ev->txn = s->txn;
		if (s->in_txn)
			return OK;
		s->lone_change = ev->change;
		s->txn = (struct txn){ .commit_lsn = m->lsn, .end_lsn = m->lsn, .commit_us = (int64_t)time(NULL) * 1000000 };
		s->lone = 3;
		next_lone(s, ev);
		return OK;
	default: /* Y: types are looked up by oid */
		return AGAIN;
	}
}

static enum rc
take_copy(struct source_pg *s, struct slice bytes, struct source_event *ev, struct err *err)
{
	struct cursor c = cursor_of(bytes);
	char kind = (char)cursor_u8(&c);
	uint64_t lsn = cursor_be64(&c);
	struct pgo m;
	enum rc rc;

	if (kind == 'k') {
		s->base.end_lsn = lsn;
		cursor_be64(&c);
		s->reply = s->reply || cursor_u8(&c);
		ev->kind = SRC_IDLE;
		ev->lsn = lsn;
		return s->in_txn ? AGAIN : OK;
	}
	if (kind != 'w')
		return fail(err, FATAL, "replication stream: unknown message 0x%02x", (unsigned char)kind);
	s->base.end_lsn = cursor_be64(&c);
	cursor_take(&c, 8);
	if (c.bad)
		return fail(err, FATAL, "replication stream: short message of %zu bytes", bytes.n);
	ev->bytes = cursor_left(&c);
	rc = pgo_parse(cursor_bytes(&c, cursor_left(&c)), &s->arena, &m, err);
	if (rc != OK)
		return fail(err, FATAL, "%s", err->text);
	return take_message(s, &m, lsn, ev, err);
}

static enum rc
stream_ended(struct source_pg *s, struct err *err)
{
	PGresult *res = PQgetResult(s->repl);
	enum rc rc = PQresultStatus(res) == PGRES_FATAL_ERROR ? pg_fail(s->repl, res, err, "replication stream")
	                                                       : fail(err, RETRY, "replication stream: the server ended it");

	PQclear(res);
	return rc == REJECT ? fail(err, FATAL, "%s", err->text) : rc;
}

/* The next message of the stream into s->copy. AGAIN: none is here. */
static enum rc
read_copy(struct source_pg *s, struct err *err)
{
	int n;

	if (s->copy)
		PQfreemem(s->copy);
	s->copy = NULL;
	n = PQgetCopyData(s->repl, &s->copy, 1);
	if (n == 0) {
		if (!PQconsumeInput(s->repl))
			return pg_fail(s->repl, NULL, err, "replication stream");
		n = PQgetCopyData(s->repl, &s->copy, 1);
	}
	if (n < 0)
		return stream_ended(s, err);
	s->ncopy = (size_t)n;
	return n ? OK : AGAIN;
}

static enum rc
pg_next(struct source *base, struct source_event *ev, struct err *err)
{
	struct source_pg *s = self(base);

	if (s->lone) {
		next_lone(s, ev);
		return OK;
	}
	if (s->truncate.nrels) {
		enum rc rc = next_truncate(s, ev, err);

		if (rc != AGAIN)
			return rc;
	}
	for (;;) {
		enum rc rc = s->waiting ? OK : read_copy(s, err);

		if (rc != OK)
			return rc;
		s->waiting = false;
		arena_reset(&s->arena);
		rc = take_copy(s, (struct slice){ s->copy, s->ncopy }, ev, err);
		if (rc != AGAIN || s->waiting)
			return rc;
	}
}

static int
pg_fd(struct source *base)
{
	return PQsocket(self(base)->repl);
}

/* ---- feedback ---- */

static int64_t
now_pg_us(void)
{
	return wall_us() - PG_EPOCH_US;
}

/* A commit that waits for us is told at once. */
static int
feedback_min_ms(const struct conf *conf)
{
	return conf->synchronous ? 0 : FEEDBACK_MIN_MS;
}

static enum rc
pg_answer(struct source *base, int64_t now_ms, struct err *err)
{
	struct source_pg *s = self(base);
	bool moved = s->confirmed > s->sent || s->applied > s->sent_applied;
	char msg[34];

	if (!s->reply && now_ms - s->feedback_ms < (moved ? feedback_min_ms(base->conf) : FEEDBACK_MAX_MS))
		return OK;
	/*
	 * written = flushed: what is only received is not said to be written, or the server, believing us up to
	 * date, would stop to send the keepalives by which an idle slot moves.
	 */
	msg[0] = 'r';
	put_be64(msg + 1, s->confirmed);
	put_be64(msg + 9, s->confirmed);
	put_be64(msg + 17, s->applied);
	put_be64(msg + 25, (uint64_t)now_pg_us());
	msg[33] = 0;
	if (PQputCopyData(s->repl, msg, sizeof msg) <= 0 || PQflush(s->repl) < 0)
		return pg_fail(s->repl, NULL, err, "confirm");
	s->sent = s->confirmed;
	s->sent_applied = s->applied;
	s->feedback_ms = now_ms;
	s->reply = false;
	return OK;
}

static enum rc
pg_confirm(struct source *base, uint64_t lsn, uint64_t applied, int64_t now_ms, struct err *err)
{
	struct source_pg *s = self(base);

	if (known_keep(base->known, lsn, err) != OK)
		return err->rc;
	if (lsn > s->confirmed)
		s->confirmed = lsn;
	if (applied > s->applied)
		s->applied = applied;
	return pg_answer(base, now_ms, err);
}

/*
 * A server that writes WAL for others only, and no keepalive that would move us: one message of our own does. It costs a few bytes
 * of WAL, needs no table, and any role may send it.
 */
static enum rc
heartbeat(struct source_pg *s, struct err *err)
{
	char sql[256], lsn[20];
	enum rc rc;

	snprintf(sql, sizeof sql,
	    "SELECT pg_logical_emit_message(false, '%s', 'heartbeat')"
	    " WHERE NOT pg_is_in_recovery() AND pg_current_wal_lsn() - '%s'::pg_lsn > %d",
	    own_prefix, pg_lsn_text(lsn, s->confirmed), WAL_SEGMENT);
	rc = pg_exec(s->sql, "heartbeat", sql, NULL, err);
	return rc;
}

static enum rc
pg_tick(struct source *base, int64_t now_ms, struct err *err)
{
	struct source_pg *s = self(base);
	struct publication_report report;
	enum rc rc = OK;

	if (now_ms - s->tables_ms >= TABLES_MS) {
		s->tables_ms = now_ms;
		rc = join_tables(s, s->left_out, &report, err);
		if (rc != OK)
			return rc;
		if (report.added + report.joined)
			log_info("producer", "tables joined", "added=%d tables=%d", report.added + report.joined, report.published);
		s->left_out = report.left_out;
	}
	if (base->conf->heartbeat_ms && now_ms - s->heartbeat_ms >= base->conf->heartbeat_ms) {
		s->heartbeat_ms = now_ms;
		rc = heartbeat(s, err);
	}
	return rc;
}

static void
pg_close(struct source *base)
{
	struct source_pg *s = self(base);
	struct slot *slot, *tmp;

	if (s->copy)
		PQfreemem(s->copy);
	PQfinish(s->repl);
	PQfinish(s->sql);
	HASH_ITER (hh, s->rels, slot, tmp) {
		HASH_DEL(s->rels, slot);
		catalog_free(slot->rel);
		free(slot->text);
		free(slot);
	}
	arena_free(&s->arena);
	arena_free(&s->txn_arena);
	free(s);
}

static const struct source_ops ops = {
	.identify = pg_identify,
	.create = pg_create,
	.fork = pg_fork,
	.start = pg_start,
	.next = pg_next,
	.fd = pg_fd,
	.confirm = pg_confirm,
	.answer = pg_answer,
	.tick = pg_tick,
	.close = pg_close,
	.table = source_pg_table,
	.adopt = source_pg_adopt,
	.begins = source_pg_begins,
	.refuse = source_pg_refuse,
};

enum rc
source_pg_open(const struct conf *conf, struct source **out, struct err *err)
{
	struct source_pg *s = calloc(1, sizeof *s);

	(void)err;
	if (!s)
		die("out of memory");
	s->base = (struct source){ .ops = &ops, .conf = conf };
	*out = &s->base;
	return OK;
}
