/*
 * snapshot_stop.c - tables that cannot be published as they are now, and how they come back.
 *
 *   refused -> STOPPED, written down: its changes are passed over
 *           -> tried every STOPPED_TRY_MS, at each new version, at each start, when a copy is asked for
 *           -> its copy begins anew: TRUNCATE into the stream, from there on its changes go out again, and all rows come
 *
 * Changes that were passed over are in no sink, and nobody knows of which rows: so the sinks are emptied, and that is the first of the
 * table that is published. A TRUNCATE that is refused too stops it again, and no sink has lost anything. For a table with a key it is a
 * transaction of its own, behind a mark; one without a key comes as a whole, with a TRUNCATE at its head (snapshot_whole.c).
 */
#include "core/log.h"
#include "core/now.h"
#include "producer/snapshot_impl.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	LATER_MS = 1000, /* between two looks at a table's description */
	AWAY_MS = 60000, /* before who can say whether a table can be published is asked again, when he did not answer */
};

/* ---- stopped, and tried again ---- */

static bool
is_busy(const struct snapshot *s, const struct member *m)
{
	return (s->out.chunk && s->out.chunk->m == m) || (s->whole.m == m && s->whole.in_txn) || (s->empty.m == m && s->empty.in_txn);
}

struct member *
stopped_as(struct snapshot *s, uint32_t relid)
{
	for (struct member *m = s->nempty && relid ? s->members : NULL; m; m = m->next)
		if (member_is_void(m) && m->copy.relid == relid)
			return m;
	return NULL;
}

bool
stopped_here(const struct snapshot *s)
{
	for (const struct member *m = s->nempty ? s->members : NULL; m; m = m->next)
		if (m->in && m->copy.empty)
			return true;
	return false;
}

/* Whoever looks at the producer is told. */
static void
show(struct snapshot *s, const struct table *tbl, const char *reason)
{
	char text[GAUGE_REASON_MAX];

	snprintf(text, sizeof text, "table %.64s.%.64s is stopped: %.350s", tbl->schema.p, tbl->name.p, reason);
	gauge_set(s->gauge, GAUGE_RUNNING, text);
	s->shows_stopped = true;
}

static enum rc
stop_member(struct snapshot *s, const struct table *tbl, const char *reason, struct err *err)
{
	struct member *m = stopped_as(s, tbl->relid);

	if (!m)
		m = snapshot_member(s, tbl->schema, tbl->name);
	if (!m) {
		m = snapshot_add_member(s, tbl->schema, tbl->name);
		m->in = true;
	}
	m->try_ms = now_ms() + STOPPED_TRY_MS;
	if (m->copy.state == COPY_STOPPED && m->refused == tbl && m->told == tbl) /* refused again, in whatever words */
		return OK;
	m->refused = m->told = tbl;
	s->source->ops->refuse(s->source, tbl, true);
	log_error("producer", "a table is stopped, all others go on; once it can be published again it is emptied at the sinks and copied",
	    "table=\"%s.%s\" reason=\"%s\"", m->schema, m->name, reason);
	/* Inside a transaction whoever gives its events ends it, and leaves then. */
	if (!is_busy(s, m))
		snapshot_leave(s, m);
	whole_forget(m);
	m->copy.state = COPY_STOPPED;
	m->copy.empty = true;
	m->copy.ended_ms = wall_us() / 1000;
	m->copy.relid = m->copy.relid ? m->copy.relid : tbl->relid;
	copy_text(&m->copy.reason, reason);
	m->emptied = false;
	m->recorded = true;
	snapshot_written(s, m, true);
	return snapshot_put(s, m, err);
}

/* begins: with the change that was refused a version begins. */
static enum rc
stop(struct snapshot *s, const struct table *tbl, bool begins, struct err *err)
{
	struct err why = *err;
	enum rc rc = s->off ? recopy_stop(s->recopy, tbl, begins, why.text, err) : stop_member(s, tbl, why.text, err);

	if (rc == OK)
		show(s, tbl, why.text);
	return rc;
}

enum rc
snapshot_prepare(struct snapshot *s, struct publisher *p, const struct change *ch, struct err *err)
{
	enum rc rc = ch->tbl ? publisher_prepare(p, ch->tbl, err) : OK;

	if (rc != REJECT)
		return rc;
	rc = stop(s, ch->tbl, ch->reshaped, err);
	return rc == OK ? AGAIN : rc;
}

static const struct table *
due(struct snapshot *s)
{
	if (s->off)
		return recopy_due(s->recopy);
	for (struct member *m = s->nempty ? s->members : NULL; m; m = m->next)
		if (m->copy.state == COPY_STOPPED && m->refused && now_ms() >= m->try_ms && !is_busy(s, m))
			return m->refused;
	return NULL;
}

void
stop_revive(struct snapshot *s, struct member *m)
{
	log_info("producer", "a table that was stopped is tried again", "table=\"%s.%s\"", m->schema, m->name);
	snapshot_leave(s, m);
	snapshot_restart(s, m, NULL);
	if (conf_lists(s->conf->outbox_tables, slice_of(m->schema), slice_of(m->name))) { /* since then: there is nothing to bring back */
		m->copy.state = COPY_NONE;
		m->copy.empty = false;
	}
	snapshot_written(s, m, true);
}

/* Its copy may fail each time, and end the session with it. */
void
stop_revive_later(struct snapshot *s, struct member *m)
{
	int64_t since_ms = wall_us() / 1000 - m->copy.ended_ms;

	m->copy.state = COPY_STOPPED;
	m->try_ms = now_ms();
	if (since_ms >= 0 && since_ms < STOPPED_TRY_MS)
		m->try_ms += STOPPED_TRY_MS - since_ms;
	else
		stop_revive(s, m);
}

void
stop_revive_lost(struct snapshot *s, struct member *m)
{
	m->copy.empty = true;
	stop_revive(s, m);
}

static void
revive(struct snapshot *s, const struct table *tbl)
{
	struct member *m = s->off ? NULL : stopped_as(s, tbl->relid);

	if (s->off)
		recopy_revive(s->recopy, tbl);
	else if (m && m->copy.state == COPY_STOPPED)
		stop_revive(s, m);
}

/* Not for a while. */
static void
put_off(struct snapshot *s, const struct table *tbl)
{
	struct member *m = s->off ? NULL : stopped_as(s, tbl->relid);

	if (s->off)
		recopy_put_off(s->recopy, tbl, AWAY_MS);
	else if (m)
		m->try_ms = now_ms() + AWAY_MS;
}

enum rc
stop_try(struct snapshot *s, struct publisher *p, struct err *err)
{
	const struct table *tbl = due(s);
	enum rc rc = tbl ? publisher_prepare(p, tbl, err) : OK;

	if (rc == REJECT) {
		rc = stop(s, tbl, false, err);
	} else if (rc == OK && tbl) {
		revive(s, tbl);
	} else if (rc != OK) { /* whom it takes to know is not there: the others need not wait for that */
		log_warn("producer", err->text, "table=\"%s.%s\" retry_ms=%d", tbl->schema.p, tbl->name.p, AWAY_MS);
		put_off(s, tbl);
		rc = OK;
	}
	if (s->shows_stopped && !(s->off ? recopy_stopped(s->recopy) : stopped_here(s))) {
		gauge_set(s->gauge, GAUGE_RUNNING, NULL);
		s->shows_stopped = false;
	}
	return rc;
}

void
stop_change(struct snapshot *s, struct member *m, const struct table *tbl)
{
	if (m->refused == tbl)
		return;
	m->refused = tbl;
	m->try_ms = 0;
	/* By what was known of it the stream's version must not be replaced. */
	m->stale = true;
	if (s->whole.m == m)
		whole_end(s, 0);
	s->source->ops->refuse(s->source, tbl, true);
}

void
member_emptied(struct snapshot *s, struct member *m, const struct table *tbl)
{
	if (!m->copy.empty)
		return;
	m->emptied = true;
	m->emptied_no = 0;
	m->copy.state = COPY_RUNNING;
	m->refused = NULL;
	s->source->ops->refuse(s->source, tbl, false);
}

/* When the TRUNCATE is in the spine, a start behind it needs no other. (A table that comes as a whole: when all of it is.) */
static void
note_emptied(struct snapshot *s, struct member *m, uint64_t accepted)
{
	m->emptied_no = m->emptied_no ? m->emptied_no : s->sent;
	if (m->emptied_no > accepted)
		return;
	log_info("producer", "a table was emptied at the sinks, its rows follow", "table=\"%s.%s\"", m->schema, m->name);
	m->copy.empty = m->emptied = false;
	snapshot_written(s, m, true);
}

void
stop_turn(struct snapshot *s, uint64_t accepted)
{
	for (struct member *m = s->nempty ? s->members : NULL; m; m = m->next) {
		if (m->copy.empty && m->emptied && s->whole.m != m && !s->whole.broken && s->empty.m != m)
			note_emptied(s, m, accepted);
		else if (m->copy.state == COPY_STOPPED && !m->refused && m->in && now_ms() >= m->try_ms && !is_busy(s, m))
			stop_revive(s, m);
	}
}

/* ---- a table with a key: the TRUNCATE before its rows ---- */

/* Nobody's rows are taken away before it is known that others can be read. */
static enum rc
may_read(struct snapshot *s, struct member *m, bool *yes, struct err *err)
{
	struct arena a = { 0 };
	const char *where = member_where(s, m, &a);
	const char *sql = arena_printf(&a, "SELECT FROM %s.%s WHERE %s LIMIT 0", pg_ident(&a, slice_of(m->schema)),
	    pg_ident(&a, slice_of(m->name)), where ? where : "true");
	enum rc rc = pg_exec(s->sql, "look into the table", sql, NULL, err);

	arena_free(&a);
	*yes = rc == OK;
	if (rc == OK || PQstatus(s->sql) != CONNECTION_OK)
		return rc;
	m->retry_ms = now_ms() + LATER_MS;
	if (rc == RETRY)
		snapshot_waits(s, m, err->text);
	else
		snapshot_fail(s, m, COPY_FAILED, err->text);
	return OK;
}

enum rc
empty_ask(struct snapshot *s, struct member *m, struct err *err)
{
	bool early = false, may = false;
	enum rc rc;

	if (s->empty.state != EMPTY_NONE || now_ms() < m->retry_ms)
		return OK;
	rc = may_read(s, m, &may, err);
	if (rc == OK && may)
		rc = snapshot_early(s, m, &early, err);
	if (rc != OK || !may || early)
		return rc;
	s->empty = (struct empty){ .m = m, .number = ++s->number };
	rc = snapshot_emit(s, "empty", s->empty.number, err);
	if (rc == OK)
		s->empty.state = EMPTY_ASKED;
	return rc;
}

void
empty_mark(struct snapshot *s, struct slice content, const struct txn *txn)
{
	uint64_t number = snapshot_number(s, content, "empty");

	if (!number || s->empty.state != EMPTY_ASKED || number != s->empty.number)
		return;
	s->empty.state = EMPTY_READY;
	s->empty.mark = *txn;
	s->empty.mark.origin = (struct slice){ NULL, 0 };
}

bool
empty_ready(const struct snapshot *s)
{
	return s->empty.state == EMPTY_READY && !s->whole.in_txn && !s->whole.broken;
}

void
empty_end(struct snapshot *s)
{
	s->empty = (struct empty){ .state = EMPTY_NONE };
}

/* By which version: as the stream has it, or as the table was looked at. AGAIN: it has to be looked at anew. */
static enum rc
empty_begin(struct snapshot *s, struct err *err)
{
	struct member *m = s->empty.m;
	const struct table *now;
	enum rc rc = AGAIN;

	if (m->table && !m->stale) {
		now = s->source->ops->table(s->source, m->table->relation.relid);
		rc = s->source->ops->adopt(s->source, &m->table->relation, m->table->text, now, &s->empty.tbl, err);
	}
	if (rc == AGAIN) {
		m->stale = true;
		m->retry_ms = now_ms() + LATER_MS;
		empty_end(s);
	}
	return rc;
}

/* A transaction of its own behind that of the mark, whose commit record is longer than this. */
enum rc
empty_next(struct snapshot *s, struct source_event *ev, struct err *err)
{
	struct empty *e = &s->empty;
	enum rc rc = OK;

	*ev = (struct source_event){ .kind = SRC_BEGIN, .txn = e->mark };
	ev->txn.xid = 0;
	ev->txn.commit_lsn += 1;
	if (!e->in_txn) {
		rc = empty_begin(s, err);
		e->in_txn = rc == OK;
	} else if (!e->told) {
		ev->kind = SRC_CHANGE;
		ev->change = (struct change){ .op = OP_TRUNCATE, .tbl = e->tbl, .lsn = e->mark.commit_lsn,
			.reshaped = s->source->ops->begins(s->source, e->tbl->relid) };
		member_emptied(s, e->m, e->tbl);
		e->told = true;
	} else {
		ev->kind = SRC_COMMIT;
		e->in_txn = false;
		if (e->m->copy.state == COPY_STOPPED)
			snapshot_leave(s, e->m);
		empty_end(s);
	}
	return rc;
}
