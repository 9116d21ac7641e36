#include "producer/recopy.h"
#include "core/log.h"
#include "core/now.h"
#include "producer/copy.h"
#include "schemas/control.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CONTROL_MS = 50, LOAD_MS = 30000, FLUSH_MS = 10000 };

struct member {
	struct member *next;
	char *name;    /* SCHEMA.TABLE */
	struct copy copy;
	char *command; /* JSON of one that is to be obeyed; NULL: none */
	uint64_t lsn;  /* RUNNING: of its last row in the log; stopped, and gone since: behind it there is nothing of it */
	bool in;       /* the source has it; then it has a record, once it was looked at */
	bool recorded;
	bool emptied;  /* copy.empty: the TRUNCATE at the head of its rows came in this session, and its changes go on */
	bool begins;   /* ... and a version began with one that did not go on */
	const struct table *refused; /* STOPPED: the newest version of it; NULL: none has come in this session, or it is to be copied */
	const struct table *told; /* STOPPED: the one that copy.reason is about */
	int64_t try_ms; /* STOPPED: when it is tried again */
};

struct recopy {
	const struct kafka *kafka;
	struct source *source;   /* of the session; NULL: between two, or none that copies by itself */
	struct control *control;
	struct member *members;
	unsigned looked;         /* source->tables_no at the last look */
	int64_t control_ms;
	int nempty;              /* members with copy.empty */
	const struct table *last_tbl; /* of the last change: */
	struct member *last;
};

struct recopy *
recopy_new(const struct kafka *k)
{
	struct recopy *r = calloc(1, sizeof *r);

	if (!r)
		die("out of memory");
	r->kafka = k;
	return r;
}

static void
drop_member(struct recopy *r, struct member *m)
{
	struct member **at = &r->members;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	r->nempty -= m->copy.empty;
	r->last_tbl = NULL;
	copy_free(&m->copy);
	free(m->command);
	free(m->name);
	free(m);
}

void
recopy_end(struct recopy *r)
{
	while (r->members)
		drop_member(r, r->members);
	r->nempty = 0;
	control_close(r->control);
	r->control = NULL;
	r->source = NULL;
}

void
recopy_free(struct recopy *r)
{
	if (!r)
		return;
	recopy_end(r);
	free(r);
}

static struct member *
find(struct recopy *r, const char *name, bool make)
{
	struct member *m = r->members;

	while (m && strcmp(m->name, name) != 0)
		m = m->next;
	if (m || !make)
		return m;
	m = calloc(1, sizeof *m);
	if (!m || !(m->name = strdup(name)))
		die("out of memory");
	m->next = r->members;
	r->last_tbl = NULL;
	return r->members = m;
}

/* ---- the control topic ---- */

static enum rc
put(struct recopy *r, struct member *m, struct err *err)
{
	struct arena a = { 0 };
	struct buf b = { 0 };
	enum rc rc;

	copy_put(&b, &m->copy);
	rc = control_put(r->control, arena_printf(&a, COPY_PREFIX "%s", m->name), buf_view(&b), err);
	m->recorded = true;
	buf_free(&b);
	arena_free(&a);
	return rc;
}

static enum rc
forget(struct recopy *r, const char *prefix, const struct member *m, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = control_put(r->control, arena_printf(&a, "%s%s", prefix, m->name), (struct slice){ NULL, 0 }, err);

	arena_free(&a);
	return rc;
}

/* loading: records are as they were left; later they are our own, as is that a command is forgotten, and only commands count. */
static void
take_record(struct recopy *r, const struct control_record *rec, bool loading)
{
	struct arena a = { 0 };
	struct slice name;
	struct member *m;
	struct err why;

	if (control_about(rec->key, COPY_COMMAND_PREFIX, &name)) {
		if ((loading || rec->value.n) && (m = find(r, arena_text(&a, name), rec->value.n > 0)))
			copy_text(&m->command, rec->value.n ? arena_text(&a, rec->value) : NULL);
	} else if (control_about(rec->key, COPY_PREFIX, &name) && loading && (m = find(r, arena_text(&a, name), rec->value.n > 0))) {
		m->recorded = rec->value.n > 0;
		if (!m->recorded)
			copy_free(&m->copy);
		else if (copy_take(rec->value, &m->copy, &why) != OK)
			log_warn("producer", why.text, "table=\"%s\"", m->name);
	}
	arena_free(&a);
}

static enum rc
load(struct recopy *r, struct err *err)
{
	struct control_record rec;
	enum rc rc = control_open(r->kafka, CONTROL_ALL, true, &r->control, err);

	while (rc == OK && (rc = control_held(r->control, LOAD_MS, &rec, err)) == OK)
		take_record(r, &rec, true);
	return rc == AGAIN ? OK : rc;
}

/* ---- which tables ---- */

static bool
is_outbox(const struct recopy *r, const char *name)
{
	const char *dot = strchr(name, '.');

	return dot && conf_lists(r->kafka->conf->outbox_tables, (struct slice){ name, (size_t)(dot - name) }, slice_of(dot + 1));
}

/* Its rows are in the log, or in the first copy. */
static void
join(struct recopy *r, struct member *m)
{
	copy_restart(&m->copy, NULL, r->source->accepted);
	copy_complete(&m->copy, r->source->accepted);
	m->copy.state = is_outbox(r, m->name) ? COPY_NONE : COPY_DONE;
	m->copy.began_ms = m->copy.ended_ms = wall_us() / 1000;
}

static struct member *
of_relid(struct recopy *r, uint32_t relid)
{
	struct member *m = r->members;

	while (m && (!relid || m->copy.relid != relid))
		m = m->next;
	return m;
}

static enum rc
part(struct recopy *r, struct member *m, struct err *err)
{
	enum rc rc = m->recorded ? forget(r, COPY_PREFIX, m, err) : OK;

	if (rc == OK && m->command)
		rc = forget(r, COPY_COMMAND_PREFIX, m, err);
	drop_member(r, m);
	return rc;
}

/* It has a name, which another one may have had before. */
static enum rc
name_table(struct recopy *r, const struct source_table *t, bool *changed, struct err *err)
{
	struct member *m = find(r, t->name, true), *was = of_relid(r, t->relid);
	bool moved = was && was != m && was->copy.empty;

	m->in = true;
	if (m->recorded && !moved) {
		m->copy.relid = t->relid;
		return OK;
	}
	if (!m->recorded)
		join(r, m);
	m->copy.relid = t->relid;
	if (moved) { /* by a table that was stopped: sinks lack changes of it under whatever name */
		r->nempty += !m->copy.empty - 1;
		was->copy.empty = false;
		was->copy.relid = 0;
		m->copy.empty = true;
		m->copy.state = COPY_STOPPED;
		m->refused = NULL;
		copy_text(&m->copy.reason, was->copy.reason);
	}
	*changed = true;
	return put(r, m, err);
}

enum rc
recopy_look(struct recopy *r, struct err *err)
{
	struct source_table *tables;
	struct arena a = { 0 };
	bool changed = false;
	int n = 0;
	enum rc rc;

	if (!r->source || r->looked == r->source->tables_no)
		return OK;
	rc = r->source->ops->tables(r->source, &a, &tables, &n, err);
	for (struct member *m = r->members; m && rc == OK; m = m->next)
		m->in = false;
	for (int i = 0; i < n && rc == OK; i++)
		rc = name_table(r, &tables[i], &changed, err);
	r->last_tbl = NULL;
	/* What is known of them is in Kafka before it is forgotten under other names. */
	if (rc == OK && changed)
		rc = control_flush(r->control, FLUSH_MS, err);
	for (struct member *m = r->members, *next; m && rc == OK; m = next) {
		next = m->next;
		if (!m->in && m->copy.empty)
			m->lsn = r->source->end_lsn;
		else if (!m->in)
			rc = part(r, m, err);
	}
	if (rc == OK)
		r->looked = r->source->tables_no;
	arena_free(&a);
	return rc == AGAIN ? OK : rc; /* the application has the lock: at the next turn */
}

enum rc
recopy_begin(struct recopy *r, struct source *source, struct err *err)
{
	enum rc rc;

	recopy_end(r);
	if (!source->ops->copy || r->kafka->conf->embedded)
		return OK;
	r->source = source;
	r->looked = source->tables_no - 1;
	rc = load(r, err);
	/* Where in the log its rows are was not written down; but they are there. */
	for (struct member *m = r->members; m && rc == OK; m = m->next) {
		m->lsn = source->end_lsn;
		if (copy_adopt(&m->copy, source->accepted))
			rc = put(r, m, err);
	}
	/* Of a table that is to be emptied the log may have been read up to the middle of its rows: they come once more. */
	for (struct member *m = r->members; m; m = m->next) {
		r->nempty += m->copy.empty;
		m->copy.state = m->copy.empty ? COPY_STOPPED : m->copy.state;
	}
	return rc == OK ? recopy_look(r, err) : rc;
}

void
recopy_expect(const struct recopy *r, struct publisher *p)
{
	for (const struct member *m = r->members; m; m = m->next) {
		const char *dot = m->in ? strchr(m->name, '.') : NULL;

		if (dot)
			publisher_expect(p, (struct slice){ m->name, (size_t)(dot - m->name) }, slice_of(dot + 1));
	}
}

/* ---- all rows once more ---- */

static enum rc
copy_again(struct recopy *r, struct member *m, struct err *err)
{
	enum rc rc = r->source->ops->copy(r->source, m->name, &m->lsn, err);
	uint32_t relid;

	if (rc != OK)
		return rc;
	relid = m->copy.relid;
	copy_restart(&m->copy, NULL, r->source->sent);
	m->copy.relid = relid;
	m->copy.state = COPY_RUNNING;
	m->copy.began_ms = wall_us() / 1000;
	m->emptied = false;
	return OK;
}

/* ---- tables that cannot be published as they are ---- */

static struct member *
of_table(struct recopy *r, const struct table *tbl, bool make)
{
	struct member *m = of_relid(r, tbl->relid);
	struct arena a = { 0 };

	if (!m)
		m = find(r, copy_name(&a, tbl->schema, tbl->name), make);
	arena_free(&a);
	return m;
}

enum rc
recopy_stop(struct recopy *r, const struct table *tbl, bool begins, const char *reason, struct err *err)
{
	struct member *m;
	enum rc rc;

	/* With the embedded broker there is no record that would outlive the process. */
	if (!r->source)
		return fail(err, FATAL, "table %s.%s: %s", tbl->schema.p, tbl->name.p, reason);
	m = of_table(r, tbl, true);
	m->try_ms = now_ms() + STOPPED_TRY_MS;
	m->begins = m->begins || begins;
	if (m->copy.state == COPY_STOPPED && m->refused == tbl && m->told == tbl) /* refused again, in whatever words */
		return OK;
	m->refused = m->told = tbl;
	log_error("producer", "a table is stopped, all others go on; once it can be published again it is emptied at the sinks and copied",
	    "table=\"%s\" reason=\"%s\"", m->name, reason);
	r->nempty += !m->copy.empty;
	m->copy.state = COPY_STOPPED;
	m->copy.empty = true;
	m->copy.relid = m->copy.relid ? m->copy.relid : tbl->relid;
	m->copy.ended_ms = wall_us() / 1000;
	copy_text(&m->copy.reason, reason);
	m->emptied = false;
	rc = put(r, m, err);
	return rc == OK ? control_flush(r->control, FLUSH_MS, err) : rc;
}

const struct table *
recopy_due(const struct recopy *r)
{
	for (const struct member *m = r->nempty ? r->members : NULL; m; m = m->next)
		if (m->copy.state == COPY_STOPPED && m->refused && now_ms() >= m->try_ms)
			return m->refused;
	return NULL;
}

void
recopy_revive(struct recopy *r, const struct table *tbl)
{
	struct member *m = of_table(r, tbl, false);

	if (m)
		m->refused = NULL;
}

bool
recopy_stopped(const struct recopy *r)
{
	return r->nempty > 0;
}

void
recopy_put_off(struct recopy *r, const struct table *tbl, int64_t ms)
{
	struct member *m = of_table(r, tbl, false);

	if (m)
		m->try_ms = now_ms() + ms;
}

/* AGAIN: the application has the lock. */
static enum rc
bring_back(struct recopy *r, struct member *m, struct err *err)
{
	enum rc rc;

	if (is_outbox(r, m->name)) { /* since then: rows of an outbox are events */
		r->nempty -= m->copy.empty;
		m->copy.empty = false;
		m->copy.state = COPY_NONE;
		return put(r, m, err);
	}
	rc = copy_again(r, m, err);
	if (rc == AGAIN)
		return OK;
	if (rc == OK)
		log_info("producer", "a table that was stopped is tried again", "table=\"%s\" lsn=%" PRIu64, m->name, m->lsn);
	return rc == OK ? put(r, m, err) : rc;
}

/* A copy begins with a TRUNCATE, and nothing else writes one into that log. */
enum rc
recopy_change(struct recopy *r, struct change *ch)
{
	struct member *m;

	if (!r->nempty || !ch->tbl)
		return OK;
	if (r->last_tbl != ch->tbl) {
		r->last = of_table(r, ch->tbl, false);
		r->last_tbl = ch->tbl;
	}
	m = r->last;
	if (!m || !m->copy.empty || m->emptied)
		return OK;
	m->emptied = ch->op == OP_TRUNCATE && m->copy.state == COPY_RUNNING;
	if (m->emptied) {
		ch->reshaped = ch->reshaped || m->begins;
		m->begins = false;
		return OK;
	}
	m->begins = m->begins || ch->reshaped;
	if (m->refused != ch->tbl && m->copy.state == COPY_STOPPED) {
		m->refused = ch->tbl;
		m->try_ms = 0;
	}
	return AGAIN;
}

/* ---- commands ---- */

static enum rc
obey(struct recopy *r, struct member *m, const struct copy_command *c, struct err *err)
{
	enum rc rc = OK;

	if (is_outbox(r, m->name)) {
		copy_text(&m->copy.reason, "rows of an outbox are events, and are not copied");
		m->copy.begun = r->source->sent;
		copy_complete(&m->copy, r->source->accepted);
	} else if (strcmp(c->verb, "again") == 0 || strcmp(c->verb, "add") == 0) {
		rc = copy_again(r, m, err);
		if (rc != OK)
			return rc;
		log_info("producer", "copied again, as it was asked for", "table=\"%s\" lsn=%" PRIu64, m->name, m->lsn);
	}
	copy_text(&m->copy.command, c->id);
	return put(r, m, err);
}

static enum rc
obey_one(struct recopy *r, struct member *m, struct err *err)
{
	struct copy_command c = { .where = NULL };
	struct err why;
	enum rc rc = OK;

	if (copy_command_take(slice_of(m->command), &c, &why) == OK)
		rc = obey(r, m, &c, err);
	free(c.where);
	if (rc == OK)
		rc = forget(r, COPY_COMMAND_PREFIX, m, err);
	if (rc == OK)
		copy_text(&m->command, NULL);
	return rc == AGAIN ? OK : rc; /* the application has the lock */
}

enum rc
recopy_turn(struct recopy *r, uint64_t safe, struct err *err)
{
	bool looked = r->source && r->looked == r->source->tables_no; /* who is there, and who is not */
	struct control_record rec;
	enum rc rc = OK;

	if (!r->source || now_ms() - r->control_ms < CONTROL_MS)
		return OK;
	r->control_ms = now_ms();
	while (rc == OK && (rc = control_next(r->control, 0, &rec, err)) == OK)
		take_record(r, &rec, false);
	rc = rc == AGAIN ? OK : rc;
	for (struct member *m = r->members, *next; m && rc == OK; m = next) {
		next = m->next;
		if (m->copy.state == COPY_STOPPED && !m->refused && m->in && !m->command && now_ms() >= m->try_ms) {
			rc = bring_back(r, m, err);
		} else if (!m->in && looked && (m->command || (m->copy.empty && safe >= m->lsn))) {
			rc = part(r, m, err);
		} else if (m->command && m->in) {
			rc = obey_one(r, m, err);
		} else if (m->copy.state == COPY_RUNNING && safe >= m->lsn && m->copy.empty && !m->emptied) {
			m->copy.state = COPY_STOPPED; /* its rows did not come: tried again */
			m->try_ms = now_ms() + STOPPED_TRY_MS;
		} else if (m->copy.state == COPY_RUNNING && safe >= m->lsn) {
			m->copy.state = COPY_DONE;
			r->nempty -= m->copy.empty;
			m->copy.empty = m->emptied = false;
			copy_complete(&m->copy, r->source->accepted);
			m->copy.ended_ms = wall_us() / 1000;
			rc = put(r, m, err);
		}
	}
	return rc;
}

int
recopy_fd(const struct recopy *r)
{
	return r->control ? control_fd(r->control) : -1;
}
