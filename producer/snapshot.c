/*
 * snapshot.c - which tables are to be copied, how far they are, and what users want of it.
 */
#include "core/log.h"
#include "core/now.h"
#include "producer/publication.h"
#include "producer/snapshot_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	LOOK_MS = 2000,         /* between two looks for tables that joined */
	CONTROL_MS = 50,        /* between two looks at the control topic */
	WRITE_MS = 100,         /* between two records of one table's progress */
	TELL_MS = 10000,        /* between two lines of the log about it */
	LOAD_MS = 30000,
	FLUSH_MS = 10000,
	STREAMED_MANY = 100000, /* then a snapshot is asked for, by which most can be forgotten */
};

struct snapshot *
snapshot_new(const struct kafka *k, struct gauge *g)
{
	struct snapshot *s = calloc(1, sizeof *s);

	if (!s || getrandom(&s->token, sizeof s->token, 0) != sizeof s->token)
		die("out of memory, or of randomness");
	s->kafka = k;
	s->conf = k->conf;
	s->gauge = g;
	s->recopy = recopy_new(k);
	return s;
}

/* ---- members ---- */

void
snapshot_forget_reaches(struct member *m)
{
	for (int i = 0; m->reaches && i < m->copy.nranges; i++)
		free(m->reaches[i].at);
	free(m->reaches);
	m->reaches = NULL;
}

static void
free_members(struct snapshot *s)
{
	struct member *m;

	while ((m = s->members)) {
		s->members = m->next;
		snapshot_forget_reaches(m);
		copy_table_free(m->table);
		whole_forget(m);
		copy_free(&m->copy);
		free(m->pending);
		free(m->schema);
		free(m->name);
		free(m);
	}
	s->last_tbl = NULL;
}

struct member *
snapshot_member(struct snapshot *s, struct slice schema, struct slice name)
{
	for (struct member *m = s->members; m; m = m->next)
		if (slice_is(schema, m->schema) && slice_is(name, m->name))
			return m;
	return NULL;
}

struct member *
snapshot_add_member(struct snapshot *s, struct slice schema, struct slice name)
{
	struct member *m = calloc(1, sizeof *m), **at = &s->members;

	if (!m || !(m->schema = strndup(schema.p, schema.n)) || !(m->name = strndup(name.p, name.n)))
		die("out of memory");
	while (*at)
		at = &(*at)->next;
	*at = m;
	s->last_tbl = NULL;
	return m;
}

static void
count_open(struct snapshot *s)
{
	s->nopen = 0;
	s->nseen = 0;
	s->nempty = 0;
	for (const struct member *m = s->members; m; m = m->next) {
		s->nopen += copy_open(&m->copy);
		s->nseen += m->copy.seen != NULL;
		s->nempty += m->copy.empty;
	}
}

void
snapshot_written(struct snapshot *s, struct member *m, bool now)
{
	m->unwritten = true;
	if (now)
		m->written_ms = 0;
	count_open(s);
}

void
snapshot_leave(struct snapshot *s, struct member *m)
{
	if (s->whole.m == m)
		whole_end(s, 0);
	if (s->empty.m == m)
		empty_end(s);
	chunks_drop(s, m);
	snapshot_forget_reaches(m);
	m->stale = true;
	m->retry_ms = m->early_ms = m->unseen_ms = 0;
}

void
snapshot_fail(struct snapshot *s, struct member *m, enum copy_state state, const char *reason)
{
	bool stays = state == COPY_FAILED && m->copy.empty;

	if (state == COPY_FAILED)
		log_error("producer", stays ? "the copy by which a stopped table comes back has failed, it is tried again"
					    : "the copy of a table has failed, its changes go on",
		    "table=\"%s.%s\" reason=\"%s\"", m->schema, m->name, reason);
	if (stays) {
		state = COPY_STOPPED;
		m->emptied = false;
		m->refused = NULL;
		m->try_ms = now_ms() + STOPPED_TRY_MS;
	}
	snapshot_leave(s, m);
	m->copy.state = state;
	m->copy.ended_ms = wall_us() / 1000;
	copy_text(&m->copy.reason, reason);
	snapshot_written(s, m, true);
}

void
snapshot_waits(struct snapshot *s, struct member *m, const char *reason)
{
	if (m->copy.reason && strcmp(m->copy.reason, reason) == 0)
		return;
	log_warn("producer", reason, "table=\"%s.%s\"", m->schema, m->name);
	copy_text(&m->copy.reason, reason);
	snapshot_written(s, m, true);
}

/* ---- the control topic ---- */

static char *
member_key(const struct member *m, const char *prefix, struct arena *a)
{
	return arena_printf(a, "%s%s", prefix, copy_name(a, slice_of(m->schema), slice_of(m->name)));
}

static enum rc
put_member(struct snapshot *s, struct member *m, struct err *err)
{
	struct arena a = { 0 };
	struct buf b = { 0 };
	enum rc rc = OK;

	m->unwritten = false;
	m->written_ms = now_ms();
	copy_put(&b, &m->copy);
	if (s->control)
		rc = control_put(s->control, member_key(m, COPY_PREFIX, &a), buf_view(&b), err);
	buf_free(&b);
	arena_free(&a);
	return rc;
}

enum rc
snapshot_put(struct snapshot *s, struct member *m, struct err *err)
{
	enum rc rc = put_member(s, m, err);

	if (rc == OK && s->control)
		rc = control_flush(s->control, FLUSH_MS, err);
	return rc == OK && s->conf->embedded ? comment_put(s, err) : rc;
}

static enum rc
put_members(struct snapshot *s, bool all, struct err *err)
{
	enum rc rc = OK;

	for (struct member *m = s->members; m && rc == OK; m = m->next)
		if (m->unwritten && (all || now_ms() - m->written_ms >= WRITE_MS))
			rc = put_member(s, m, err);
	return rc;
}

/* The name behind the prefix of the key; made if there is none yet. NULL: it is no name. */
static struct member *
member_of_key(struct snapshot *s, struct slice rest)
{
	struct slice schema, name;
	struct arena a = { 0 };
	struct member *m = NULL;

	if (copy_name_split(rest, &a, &schema, &name) && !(m = snapshot_member(s, schema, name)))
		m = snapshot_add_member(s, schema, name);
	arena_free(&a);
	return m;
}

void
snapshot_restart(const struct snapshot *s, struct member *m, const char *where)
{
	uint32_t relid = m->copy.relid;

	copy_restart(&m->copy, m->copy.empty ? NULL : where, s->source->sent);
	m->copy.relid = relid;
	m->copy.again = true;
}

/* Do what a user has asked for; the answer is the record with the command's id. */
static void
obey(struct snapshot *s, struct member *m, const struct copy_command *c)
{
	log_info("producer", "asked about the copy of a table", "verb=%s table=\"%s.%s\" state=%s", c->verb, m->schema, m->name,
	    copy_state_name(m->copy.state));
	m->recorded = true;
	copy_text(&m->copy.command, c->id);
	/* Rows of an outbox are events: those that were there before must not happen again. */
	if (conf_lists(s->conf->outbox_tables, slice_of(m->schema), slice_of(m->name))) {
		copy_text(&m->copy.reason, "rows of an outbox are events, and are not copied");
		m->copy.begun = s->source->sent;
		copy_complete(&m->copy, s->source->accepted);
		snapshot_written(s, m, true);
		return;
	}
	if (strcmp(c->verb, "add") == 0 && !copy_open(&m->copy)) {
		snapshot_leave(s, m);
		snapshot_restart(s, m, c->where);
	} else if (strcmp(c->verb, "again") == 0) {
		snapshot_leave(s, m);
		whole_forget(m);
		snapshot_restart(s, m, c->where);
	} else if (strcmp(c->verb, "pause") == 0 && copy_open(&m->copy) && !m->copy.empty) {
		if (s->whole.m == m)
			whole_end(s, 0);
		chunks_drop(s, m);
		m->copy.state = COPY_PAUSED;
	} else if (strcmp(c->verb, "resume") == 0 && m->copy.state == COPY_PAUSED) {
		m->copy.state = m->copy.nranges ? COPY_RUNNING : COPY_WAITING;
	} else if (strcmp(c->verb, "cancel") == 0 && copy_open(&m->copy) && !m->copy.empty) {
		snapshot_fail(s, m, COPY_CANCELLED, NULL);
	}
	snapshot_written(s, m, true);
}

static enum rc
take_command(struct snapshot *s, const struct control_record *rec, struct slice rest, struct err *err)
{
	struct copy_command c;
	struct member *m = member_of_key(s, rest);
	char *key = strndup(rec->key.p, rec->key.n);
	struct err why;
	enum rc rc;

	if (!key)
		die("out of memory");
	if (copy_command_take(rec->value, &c, &why) == OK && m) {
		obey(s, m, &c);
		copy_text(&c.where, NULL);
	}
	rc = put_members(s, true, err);
	if (rc == OK)
		rc = control_put(s->control, key, (struct slice){ NULL, 0 }, err);
	free(key);
	return rc;
}

/* It came while nobody was there to obey. */
static void
pend(struct member *m, struct slice value)
{
	free(m->pending);
	m->pending = value.n ? strndup(value.p, value.n) : NULL;
}

/* loading: records are as they were left by whoever wrote them; later only commands count, as the records are our own. */
static enum rc
take_record(struct snapshot *s, const struct control_record *rec, bool loading, struct err *err)
{
	struct slice rest;
	struct member *m;
	struct err why;

	if (control_about(rec->key, COPY_COMMAND_PREFIX, &rest)) {
		if (!loading)
			return rec->value.n ? take_command(s, rec, rest, err) : OK;
		m = member_of_key(s, rest);
		if (m)
			pend(m, rec->value);
		return OK;
	}
	if (!loading)
		return OK;
	if (slice_is(rec->key, COPY_KEY))
		s->known = rec->value.n > 0;
	if (!control_about(rec->key, COPY_PREFIX, &rest) || !(m = member_of_key(s, rest)))
		return OK;
	if (!rec->value.n)
		copy_free(&m->copy);
	else if (copy_take(rec->value, &m->copy, &why) != OK)
		log_warn("producer", why.text, "table=\"%s.%s\"", m->schema, m->name);
	m->recorded = rec->value.n > 0;
	if (copy_adopt(&m->copy, s->source->accepted))
		snapshot_written(s, m, true);
	free(m->seen.running);
	m->seen = (struct copy_snapshot){ 0 };
	if (m->copy.seen && !copy_snapshot_parse(m->copy.seen, &m->seen))
		copy_text(&m->copy.seen, NULL);
	return OK;
}

static enum rc
load(struct snapshot *s, struct err *err)
{
	struct control_record rec;
	enum rc rc = control_open(s->kafka, CONTROL_ALL, true, &s->control, err);

	s->known = false;
	while (rc == OK && (rc = control_held(s->control, LOAD_MS, &rec, err)) == OK)
		rc = take_record(s, &rec, true, err);
	return rc == AGAIN ? OK : rc;
}

/* ---- which tables ---- */

static void
join(struct snapshot *s, struct member *m, const struct publication_table *t, bool copied)
{
	/* Rows of an outbox are events: those that were there before are not to happen now. */
	bool wanted = (m->copy.empty || (copied && s->conf->snapshot == SNAPSHOT_INITIAL)) &&
	    !conf_lists(s->conf->outbox_tables, slice_of(t->schema), slice_of(t->name));

	snapshot_leave(s, m);
	whole_forget(m);
	copy_restart(&m->copy, NULL, s->source->accepted);
	m->copy.whole = m->copy.upto = (struct copy_place){ 0 };
	m->copy.relid = t->oid;
	m->copy.state = wanted ? COPY_WAITING : COPY_NONE;
	m->copy.empty = m->copy.empty && wanted;
	if (!wanted) /* its stream is all there will be */
		copy_complete(&m->copy, s->source->accepted);
	m->recorded = true;
	snapshot_written(s, m, true);
}

/*
 * A stopped table may have got another name, perhaps one that another table had before: what is known of it goes to that name. True: so it
 * was with some. Before anybody joins.
 */
static bool
move_stopped(struct snapshot *s, const struct publication *pub)
{
	bool moved = false;

	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];
		struct member *was = t->in ? stopped_as(s, t->oid) : NULL, *m;

		if (!was || (strcmp(was->schema, t->schema) == 0 && strcmp(was->name, t->name) == 0))
			continue;
		m = snapshot_member(s, slice_of(t->schema), slice_of(t->name));
		if (!m)
			m = snapshot_add_member(s, slice_of(t->schema), slice_of(t->name));
		snapshot_leave(s, was);
		was->copy.empty = false;
		was->copy.relid = 0; /* whoever has that name now is another one */
		m->copy.empty = true;
		m->copy.relid = 0;
		m->emptied = false;
		moved = true;
	}
	s->last_tbl = NULL;
	return moved;
}

/* It is not in the publication any more. Should it come back, what changed meanwhile was not in the stream: it is new then. */
static enum rc
part(struct snapshot *s, struct member *m, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = OK;

	snapshot_leave(s, m);
	whole_forget(m);
	copy_restart(&m->copy, NULL, s->source->accepted);
	m->copy.state = COPY_NONE;
	m->recorded = m->unwritten = false;
	s->last_tbl = NULL;
	if (s->control)
		rc = control_put(
		    s->control, member_key(m, COPY_PREFIX, &a), (struct slice){ NULL, 0 }, err);
	arena_free(&a);
	return rc;
}

/*
 * The record of a table whose schema has a dot in its name, from before the keys told where it ends: what is before the first dot was taken
 * for the schema. It goes on under its own name.
 */
static enum rc
adopt(struct snapshot *s, const struct publication_table *t, struct member *m, struct err *err)
{
	struct arena a = { 0 };
	struct slice whole = slice_of(arena_printf(&a, "%s.%s", t->schema, t->name)), schema, name;
	struct member *old = NULL;
	enum rc rc = OK;

	if (strchr(t->schema, '.') && copy_name_split(whole, &a, &schema, &name))
		old = snapshot_member(s, schema, name);
	if (old && old->recorded && old->copy.relid == t->oid) {
		if (s->control)
			rc = control_put(s->control, member_key(old, COPY_PREFIX, &a), (struct slice){ NULL, 0 }, err);
		m->copy = old->copy;
		m->seen = old->seen;
		m->recorded = true;
		old->copy = (struct copy){ 0 };
		old->seen = (struct copy_snapshot){ 0 };
		old->recorded = false;
		snapshot_written(s, m, true);
	}
	arena_free(&a);
	return rc;
}

/*
 * Every table of the publication has a record. Which of those that have none are copied: all, before the slot is made (fresh), and
 * later those that joined. None where a pipeline from before there were copies goes on.
 */
static enum rc
look(struct snapshot *s, bool fresh, bool copied, struct err *err)
{
	struct publication pub;
	struct arena a = { 0 };
	enum rc rc = publication_look(s->sql, s->conf, &a, &pub, err);
	bool moved = rc == OK && s->nempty && move_stopped(s, &pub);

	for (struct member *m = s->members; m; m = m->next)
		m->in = false;
	for (int i = 0; rc == OK && i < pub.ntables; i++) {
		const struct publication_table *t = &pub.tables[i];
		struct member *m = snapshot_member(s, slice_of(t->schema), slice_of(t->name));

		if (!t->in)
			continue;
		if (!m)
			m = snapshot_add_member(s, slice_of(t->schema), slice_of(t->name));
		if (!m->recorded)
			rc = adopt(s, t, m, err);
		m->in = true;
		/* Another table of that name is a new one. */
		if (fresh || !m->recorded || m->copy.relid != t->oid)
			join(s, m, t, copied);
	}
	/* What of a stopped table is known under its new name is written before the old name is forgotten. */
	if (moved && rc == OK)
		rc = put_members(s, true, err);
	if (moved && rc == OK && s->control)
		rc = control_flush(s->control, FLUSH_MS, err);
	for (struct member *m = s->members; rc == OK && m; m = m->next)
		if (m->recorded && !m->in)
			rc = part(s, m, err);
	arena_free(&a);
	return rc;
}

static enum rc
begin_embedded(struct snapshot *s, bool fresh, struct err *err)
{
	bool again = !s->known;
	enum rc rc = again ? comment_look(s, err) : OK;

	if (rc == OK)
		rc = look(s, fresh, fresh || !again || s->embedded_said, err);
	for (struct member *m = s->members; m && rc == OK && again && s->embedded_said == UNFINISHED_EMPTY; m = m->next)
		stop_revive_lost(s, m);
	if (rc == OK)
		rc = comment_put(s, err);
	s->known = rc == OK;
	return rc;
}

static enum rc
begin_kafka(struct snapshot *s, bool fresh, struct err *err)
{
	enum rc rc;

	control_close(s->control);
	s->control = NULL;
	free_members(s);
	rc = load(s, err);
	if (rc == OK)
		rc = look(s, fresh, fresh || s->known, err);
	if (rc == OK && !s->known)
		rc = control_put(s->control, COPY_KEY, SLICE_LIT("{\"tables\":\"known\"}"), err);
	if (rc == OK)
		rc = put_members(s, true, err);
	if (rc == OK)
		rc = control_flush(s->control, FLUSH_MS, err);
	s->known = rc == OK;
	return rc;
}

enum rc
snapshot_begin(struct snapshot *s, struct source *source, bool fresh, struct err *err)
{
	enum rc rc;

	s->off = !source->ops->adopt;
	if (s->off)
		return recopy_begin(s->recopy, source, err);
	rc = s->sql ? OK : pg_connect(s->conf->source_url, false, &s->sql, err);
	s->source = source;
	if (rc == OK)
		rc = pg_exec(s->sql, "set up the connection",
		    "SET lock_timeout = '1s'; SET synchronous_commit = local; SET row_security = off", NULL, err);
	if (rc == OK)
		rc = s->conf->embedded ? begin_embedded(s, fresh, err) : begin_kafka(s, fresh, err);
	s->look_ms = now_ms();
	count_open(s);
	/*
	 * What refused them may be another by now, and which version is the newest nobody knows yet: tried by its copy. So are those
	 * whose copy had ended, or was held, before their TRUNCATE was known to be in the spine.
	 */
	for (struct member *m = s->members; m && rc == OK; m = m->next)
		if (m->in && m->copy.empty && m->copy.state != COPY_WAITING && m->copy.state != COPY_RUNNING)
			stop_revive_later(s, m);
	return rc;
}

void
snapshot_expect(const struct snapshot *s, struct publisher *p)
{
	if (s->off)
		recopy_expect(s->recopy, p);
	for (const struct member *m = s->members; m; m = m->next)
		if (m->in)
			publisher_expect(p, slice_of(m->schema), slice_of(m->name));
}

/* false: it has rows, or cannot be read now. */
static bool
is_empty(struct snapshot *s, const struct member *m)
{
	struct arena a = { 0 };
	const char *sql = arena_printf(&a, "SELECT FROM %s.%s LIMIT 1", pg_ident(&a, slice_of(m->schema)), pg_ident(&a, slice_of(m->name)));
	PGresult *res = NULL;
	struct err why;
	bool yes = pg_exec(s->sql, "look into the table", sql, &res, &why) == OK && PQntuples(res) == 0;

	PQclear(res);
	arena_free(&a);
	return yes;
}

enum rc
snapshot_slot_made(struct snapshot *s, struct err *err)
{
	if (s->off)
		return OK;
	for (struct member *m = s->members; m; m = m->next) {
		if (PQstatus(s->sql) != CONNECTION_OK)
			return fail(err, RETRY, "source: the connection was lost");
		if (m->copy.state != COPY_WAITING || m->copy.empty || !is_empty(s, m))
			continue;
		m->copy.state = COPY_DONE;
		copy_complete(&m->copy, s->source->accepted);
		m->copy.began_ms = m->copy.ended_ms = wall_us() / 1000;
		snapshot_written(s, m, true);
	}
	return OK;
}

void
snapshot_end(struct snapshot *s)
{
	recopy_end(s->recopy);
	whole_end(s, 0);
	s->whole.broken = false;
	empty_end(s);
	copiers_stop(s->copiers);
	s->copiers = NULL;
	/* Their jobs went with the copiers. */
	for (struct chunk *c = s->chunks; c; c = c->next)
		if (c->state == CHUNK_READING) {
			c->job = NULL;
			c->state = CHUNK_AWAITED;
		}
	chunks_drop(s, NULL);
	for (struct member *m = s->members; m; m = m->next) {
		snapshot_forget_reaches(m);
		copy_table_free(m->table);
		m->table = NULL;
		m->planning = m->stale = m->emptied = false;
		m->refused = m->told = NULL;
		m->seen_number = m->passed = 0;
	}
	s->nstreamed = 0;
	s->sent = 0;
	PQfinish(s->sql);
	s->sql = NULL;
	s->source = NULL;
	s->last_tbl = NULL;
}

void
snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	snapshot_end(s);
	free_members(s);
	control_close(s->control);
	recopy_free(s->recopy);
	free(s->streamed);
	arena_free(&s->mark_arena);
	arena_free(&s->out.arena);
	free(s);
}

/* ---- the rest of a turn ---- */

static void
tell(struct snapshot *s, struct member *m)
{
	int64_t now = now_ms(), rate, left;

	if (m->copy.state != COPY_RUNNING || !m->reaches || now - m->told_ms < TELL_MS)
		return;
	rate = (m->copy.rows - m->told_rows) * 1000 / (now - m->told_ms);
	left = m->copy.estimate - m->copy.rows;
	log_info("producer", "copying", "table=\"%s.%s\" rows=%" PRId64 " of_about=%" PRId64 " rows_s=%" PRId64 " left_s=%" PRId64,
	    m->schema, m->name, m->copy.rows, m->copy.estimate, rate, rate > 0 && left > 0 ? left / rate : 0);
	m->told_ms = now;
	m->told_rows = m->copy.rows;
	(void)s;
}

/* Those that came while nobody was there, then those that come. */
static enum rc
take_commands(struct snapshot *s, struct err *err)
{
	struct control_record rec;
	enum rc rc = OK;

	for (struct member *m = s->members; m && rc == OK; m = m->next)
		if (m->pending) {
			struct arena a = { 0 };

			rec = (struct control_record){ .key = slice_of(member_key(m, COPY_COMMAND_PREFIX, &a)),
				.value = slice_of(m->pending) };
			rc = take_record(s, &rec, false, err);
			copy_text(&m->pending, NULL);
			arena_free(&a);
		}
	while (rc == OK && (rc = control_next(s->control, 0, &rec, err)) == OK)
		rc = take_record(s, &rec, false, err);
	return rc == AGAIN ? OK : rc;
}

/* Most of what was streamed is seen by everybody. */
static enum rc
prune(struct snapshot *s, struct err *err)
{
	struct copy_snapshot seen;
	PGresult *res = NULL;
	enum rc rc = pg_exec(s->sql, "take a snapshot", "SELECT pg_current_snapshot()", &res, err);

	if (rc == OK && copy_snapshot_parse(PQgetvalue(res, 0, 0), &seen)) {
		streamed_prune(s, &seen);
		free(seen.running);
	}
	PQclear(res);
	return rc;
}

static void
end_copiers(struct snapshot *s)
{
	bool idle = !s->nchunks;

	for (const struct member *m = s->members; m; m = m->next)
		idle = idle && !m->planning && m->copy.state != COPY_WAITING && m->copy.state != COPY_RUNNING;
	if (!idle)
		return;
	copiers_stop(s->copiers);
	s->copiers = NULL;
}

/* Rows of a transaction that will not be completed are out. What is known of the tables is kept; the session's end makes the rows void. */
static enum rc
begin_anew(struct snapshot *s, struct err *err)
{
	enum rc rc = put_members(s, true, err);

	if (rc == OK && s->control)
		rc = control_flush(s->control, FLUSH_MS, err);
	return rc == OK ? fail(err, RETRY, "the copy of a table without key was given up in the middle; going on without its rows") : rc;
}

enum rc
snapshot_look(struct snapshot *s, struct err *err)
{
	return s->off ? recopy_look(s->recopy, err) : OK;
}

enum rc
snapshot_turn(struct snapshot *s, struct publisher *p, uint64_t accepted, uint64_t sent, uint64_t safe, struct err *err)
{
	int64_t now = now_ms();
	struct job *j;
	enum rc rc = OK;

	if (s->off) {
		rc = recopy_turn(s->recopy, safe, err);
		return rc == OK ? stop_try(s, p, err) : rc;
	}
	s->sent = sent > s->sent ? sent : s->sent;
	stop_turn(s, accepted);
	chunks_accept(s, accepted);
	/* What is published must not be given up in the middle of a transaction. */
	if (s->out.chunk || s->empty.in_txn)
		return OK;
	if (s->control && now - s->control_ms >= CONTROL_MS) {
		s->control_ms = now;
		rc = take_commands(s, err);
	}
	if (rc == OK && now - s->look_ms >= LOOK_MS) {
		s->look_ms = now;
		rc = look(s, false, true, err);
	}
	if (rc == OK && s->nstreamed > s->prune_at) {
		rc = prune(s, err);
		s->prune_at = s->nstreamed * 2 > STREAMED_MANY ? s->nstreamed * 2 : STREAMED_MANY;
	}
	while (s->copiers && rc == OK && (j = copiers_take(s->copiers)))
		snapshot_take_job(s, j);
	if (rc == OK && !s->whole.broken)
		rc = whole_turn(s, accepted, err);
	if (rc == OK && s->whole.broken)
		rc = begin_anew(s, err);
	if (rc == OK && s->nopen)
		rc = snapshot_give(s, err);
	if (rc == OK && s->copiers)
		end_copiers(s);
	for (struct member *m = s->members; m; m = m->next)
		tell(s, m);
	if (rc == OK)
		rc = stop_try(s, p, err);
	if (rc == OK)
		rc = put_members(s, false, err);
	if (rc == OK && s->conf->embedded)
		rc = comment_put(s, err);
	return rc;
}

void
snapshot_fds(const struct snapshot *s, int fds[static 2])
{
	fds[0] = s->copiers ? copiers_fd(s->copiers) : -1;
	if (s->whole.copiers)
		fds[0] = copiers_fd(s->whole.copiers);
	fds[1] = s->control ? control_fd(s->control) : recopy_fd(s->recopy);
}
