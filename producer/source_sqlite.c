/*
 * source_sqlite.c - the log of a SQLite database as a source (producer/capture.h).
 *
 * A trigger does not see commits, so the log has no borders of transactions. What a reader sees is committed, and SQLite has one writer
 * at a time: all entries up to the greatest that is there, at any moment, are of whole transactions. So the run from the last entry
 * that was given to the greatest one is told as one transaction. It may be several of the application's; it never is a part of one.
 *
 * Entries up to there do not change any more. They are read a turn at a time, and between turns no lock is held: a reader
 * that Kafka holds up must not keep the application from writing (rollback journal) or from checkpoints (WAL).
 */
#include "core/log.h"
#include "producer/capture.h"
#include "producer/layout_table.h"
#include "producer/source.h"
#include "producer/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <uthash.h>

enum {
	BUSY_MS = 10000,      /* at start: the application holds the lock */
	BUSY_RUN_MS = 20,     /* while running: try again later rather than wait */
	CONFIRM_MS = 1000,    /* between two writes of what is confirmed */
	PRUNE_MS = 50,        /* ... while there is more of the log to delete */
	PRUNE_ROWS = 5000,    /* of one write: the application waits as long as it takes */
	BUSY_WARN_MS = 10000,
	REPLACED_MS = 500,    /* between two looks whether the file is still ours */
};

/* A layout as a table version. */
struct rel {
	int64_t id;          /* of the layout; key */
	struct arena arena;
	struct table table;
	int nold;
	bool wanted;         /* of this pipeline */
	bool follows;        /* no change of it was given yet, and it follows another layout */
	UT_hash_handle hh;
};

struct source_lite {
	struct source base;
	const char *path;
	sqlite3 *db;
	struct stat file;
	struct watch watch;
	struct rel *rels;
	struct arena names;     /* as long as the source */
	struct arena arena;     /* the event at hand */
	int64_t schema;         /* version that the triggers are up to date with */
	bool renew;             /* they may not be: to be looked after as soon as the lock is free */
	int64_t renew_ms;       /* since when */
	sqlite3_stmt *entries;  /* in (at, until] */
	bool stepping;          /* it holds a read lock */
	uint64_t at, until;     /* given; the run's end */
	bool half;              /* of the entry behind `at`, the row that it deletes */
	bool in_run, told_begin;
	struct txn txn;
	int64_t last_us;        /* commit times that were told never go back */
	/* the first copy */
	sqlite3 *copy;
	sqlite3_stmt *rows;
	struct captured *tables;
	int ntables, table;
	struct arena copy_arena;
	/* what is confirmed */
	uint64_t confirmed, written, copied_at;
	bool copied, more;      /* more: to prune */
	int64_t confirm_ms, warn_ms, look_ms;
	int64_t now_ms;         /* as it was told last */
};

static struct source_lite *
self(struct source *s)
{
	return (struct source_lite *)s;
}

static enum rc
replaced(struct source_lite *s, struct err *err)
{
	struct stat now;

	if (stat(s->path, &now) == 0 && now.st_ino == s->file.st_ino && now.st_dev == s->file.st_dev)
		return OK;
	return fail(err, RETRY, "%s: another file is in its place, or none; looking again", s->path);
}

/* ---- look, create ---- */

static enum rc
lite_identify(struct source *base, struct source_identity *out, struct err *err)
{
	struct source_lite *s = self(base);
	struct capture_slot slot;
	char *name = arena_text(&s->names, slice_of(s->path));
	int64_t id = 0;
	enum rc rc = OK;

	*out = (struct source_identity){ 0 };
	if (!s->db)
		rc = sqlite_open_there(s->path, BUSY_MS, &s->db, err);
	if (rc == OK && stat(s->path, &s->file) != 0)
		rc = fail(err, RETRY, "%s: %s", s->path, strerror(errno));
	if (rc == OK)
		rc = sqlite_run(s->db, s->path, "PRAGMA synchronous = NORMAL", err);
	if (rc == OK)
		rc = capture_id(s->db, &id, err);
	if (rc == OK && !id)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "%s: its changes are not logged; run towline source install %s", s->path,
		    s->path);
	if (rc == OK)
		rc = capture_slot_look(s->db, base->conf->slot, &slot, err);
	if (rc == OK)
		rc = capture_end(s->db, &out->lsn, err);
	if (rc != OK)
		return fail_in(err, "source");
	out->system_id = (uint64_t)id;
	out->timeline = 1;
	out->database = basename(name);
	out->exists = slot.exists;
	out->confirmed = slot.confirmed;
	base->end_lsn = out->lsn;
	s->confirmed = s->written = slot.confirmed;
	s->copied = slot.copied;
	return OK;
}

static enum rc
lite_create(struct source *base, uint64_t *from, struct err *err)
{
	struct source_lite *s = self(base);
	enum rc rc = capture_slot_create(s->db, base->conf->slot, from, err);

	if (rc != OK)
		return fail_in(err, "source");
	s->confirmed = s->written = *from;
	log_info("producer", "slot created", "slot=%s lsn=%" PRIu64, base->conf->slot, *from);
	return OK;
}

/* One history: who would fork it has another id. */
static enum rc
lite_fork(struct source *base, uint32_t timeline, uint64_t *lsn, struct err *err)
{
	(void)base;
	(void)timeline;
	(void)err;
	*lsn = 0;
	return OK;
}

/* ---- the schema's changes ---- */

static void
tell_notes(const struct capture_notes *notes)
{
	for (int i = 0; i < notes->n; i++) {
		const struct capture_note *n = &notes->list[i];

		if (n->event == CAPTURE_LEFT_OUT)
			log_warn("producer", "a table cannot be captured", "table=\"%s\" reason=\"%s\"", n->table, n->why);
		else
			log_info("producer", "table", "table=\"%s\" event=\"%s\" reason=\"%s\"", n->table, capture_event_name(n->event),
			    n->why ? n->why : "");
	}
}

static void
forget_rels(struct source_lite *s)
{
	struct rel *r, *tmp;

	HASH_ITER (hh, s->rels, r, tmp) {
		struct arena a = r->arena;

		HASH_DEL(s->rels, r);
		arena_free(&a);
		free(r);
	}
}

/* The application may hold the lock for long: it is asked again, and the log is read meanwhile. */
static enum rc
renew(struct source_lite *s, struct err *err)
{
	struct arena a = { 0 };
	struct capture_notes notes = { .a = &a };
	enum rc rc = capture_renew(s->db, &notes, &s->schema, err);

	if (rc == OK) {
		s->renew = false;
		s->renew_ms = 0;
		s->base.tables_no++;
		tell_notes(&notes);
	} else if (rc == RETRY) {
		s->renew_ms = s->renew_ms ? s->renew_ms : s->now_ms;
		if (s->now_ms - s->renew_ms > BUSY_WARN_MS) {
			log_warn("producer",
			    "the schema was changed, and the triggers cannot follow: another program holds the database's lock",
			    "file=\"%s\"", s->path);
			s->renew_ms = s->now_ms;
		}
		rc = OK;
	}
	arena_free(&a);
	return rc;
}

/* ---- layouts ---- */

static enum rc
read_layout(struct source_lite *s, const char *sql, int64_t id, struct arena *a, int64_t *capture, int64_t *found,
    struct layout *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(s->db, "read a layout", sql, &st, err);

	*found = 0;
	if (rc != OK)
		return rc;
	sqlite3_bind_int64(st, 1, id);
	sqlite3_bind_int64(st, 2, *capture);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*found = sqlite3_column_int64(st, 0);
		*capture = sqlite3_column_int64(st, 1);
		rc = layout_parse((const char *)sqlite3_column_text(st, 2), a, out, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static enum rc
learn_layout(struct source_lite *s, int64_t id, struct rel **out, struct err *err)
{
	struct rel *r = calloc(1, sizeof *r);
	struct table *before = NULL;
	struct layout l, old;
	int64_t capture = 0, found, prior = 0;
	enum rc rc;

	if (!r)
		die("out of memory");
	r->id = id;
	rc = read_layout(s, "SELECT id, capture, def FROM towline_layout WHERE id = ?1", id, &r->arena, &capture, &found, &l, err);
	if (rc == OK && !found)
		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "%s: the log names layout %" PRId64 ", which is not there: the database is damaged", s->path, id);
	if (rc == OK)
		rc = read_layout(s,
		    "SELECT id, capture, def FROM towline_layout WHERE id < ?1 AND capture = ?2 ORDER BY id DESC LIMIT 1", id,
		    &r->arena, &capture, &prior, &old, err);
	if (rc != OK) {
		arena_free(&r->arena);
		free(r);
		return rc;
	}
	if (prior) {
		before = arena_new(&r->arena, struct table);
		layout_table(&old, capture, NULL, &r->arena, before);
	}
	layout_table(&l, capture, before, &r->arena, &r->table);
	r->nold = layout_nold(&l);
	r->follows = prior != 0;
	r->wanted = conf_wants(s->base.conf, r->table.schema, r->table.name);
	HASH_ADD(hh, s->rels, id, sizeof r->id, r);
	if (r->wanted)
		log_info("producer", "table version", "table=\"%s.%s\" layout=%" PRId64 " columns=%d key_columns=%d", r->table.schema.p,
		    r->table.name.p, id, r->table.ncols, r->table.nkeys);
	*out = r;
	return OK;
}

static enum rc
find_layout(struct source_lite *s, int64_t id, struct rel **out, struct err *err)
{
	HASH_FIND(hh, s->rels, &id, sizeof id, *out);
	return *out ? OK : learn_layout(s, id, out, err);
}

/* ---- rows ---- */

/* Values from column `from` on, as the new row of the table. */
static const struct value *
read_row(struct source_lite *s, const struct rel *r, sqlite3_stmt *st, int from)
{
	struct value *row = arena_raw(&s->arena, (size_t)r->table.ncols * sizeof *row);

	for (int i = 0; i < r->table.ncols; i++)
		row[i] = layout_value(&r->table.cols[i], st, from + i, &s->arena);
	return row;
}

static const struct value *
read_old(struct source_lite *s, const struct rel *r, sqlite3_stmt *st, int from)
{
	const struct table *t = &r->table;
	struct value *row;

	if (!t->nkeys)
		return read_row(s, r, st, from);
	row = arena_array(&s->arena, (size_t)t->ncols, sizeof *row); /* zero: V_ABSENT */
	for (int i = 0; i < t->nkeys; i++)
		row[t->keys[i]] = layout_value(&t->cols[t->keys[i]], st, from + i, &s->arena);
	return row;
}

/*
 * A row that moved to another key is told as deleted and created: by UPDATE OR REPLACE another row may have had that key, of whose
 * end no trigger tells, and a created row takes the place of what has its key.
 */
static void
split_moved(struct source_lite *s, struct change *c)
{
	if (!c->tbl->nkeys || c->op != OP_UPDATE)
		return;
	if (!change_moves_key(c)) {
		c->before = NULL;
		c->before_kind = BEFORE_NONE;
		return;
	}
	s->half = !s->half;
	c->op = s->half ? OP_DELETE : OP_CREATE;
	if (s->half) {
		c->after = NULL;
	} else {
		c->before = NULL;
		c->before_kind = BEFORE_NONE;
	}
}

/* Columns of `entries`: lsn, layout, op, at, c0 ... AGAIN: nothing for this pipeline. */
static enum rc
take_entry(struct source_lite *s, struct source_event *ev, struct err *err)
{
	enum { C0 = 4 };
	sqlite3_stmt *st = s->entries;
	const char *op = (const char *)sqlite3_column_text(st, 2);
	uint64_t lsn = (uint64_t)sqlite3_column_int64(st, 0);
	struct change *c = &ev->change;
	struct rel *r = NULL;
	enum rc rc = OK;

	if (op && *op != 'n')
		rc = find_layout(s, sqlite3_column_int64(st, 1), &r, err);
	if (rc != OK)
		return rc;
	if (!r || !r->wanted) {
		s->at = lsn;
		return AGAIN;
	}
	ev->kind = SRC_CHANGE;
	ev->txn = s->txn;
	*c = (struct change){ .op = *op, .tbl = &r->table, .lsn = lsn, .reshaped = r->follows };
	r->follows = false;
	if (*op == OP_UPDATE || *op == OP_DELETE) {
		c->before = read_old(s, r, st, C0);
		c->before_kind = r->table.nkeys ? BEFORE_KEY : BEFORE_FULL;
	}
	if (*op == OP_UPDATE || *op == OP_CREATE || *op == OP_READ)
		c->after = read_row(s, r, st, C0 + r->nold);
	split_moved(s, c);
	if (!s->half)
		s->at = lsn;
	return OK;
}

/* The lock that reading holds is given back; the next entry is read from s->at on. */
static void
rest(struct source_lite *s)
{
	if (s->stepping)
		sqlite3_reset(s->entries);
	s->stepping = false;
}

/* ---- runs ---- */

static int64_t
commit_us(struct source_lite *s, int64_t us)
{
	s->last_us = us > s->last_us ? us : s->last_us;
	return s->last_us;
}

static void
begin_run(struct source_lite *s, uint64_t until, int64_t us)
{
	s->until = until;
	s->in_run = true;
	s->told_begin = false;
	s->txn = (struct txn){ .commit_lsn = until, .end_lsn = until, .commit_us = commit_us(s, us) };
}

/* Who commits with a rollback journal shuts readers out for a moment: AGAIN, soon. */
static enum rc
unless_busy(struct source_lite *s, enum rc rc)
{
	int code = sqlite3_errcode(s->db) & 0xff;

	if (rc != RETRY || (code != SQLITE_BUSY && code != SQLITE_LOCKED))
		return rc;
	s->watch.delay_ms = s->watch.delay_ms ? s->watch.delay_ms : 1;
	watch_looked(&s->watch, false);
	return AGAIN;
}

/* Is there more, and are the triggers up to date? AGAIN: nothing. */
static enum rc
look(struct source_lite *s, struct err *err)
{
	int64_t version, us;
	uint64_t end;
	bool again;
	enum rc rc;

	watch_take(&s->watch);
	/* The version behind the end: so no entry up to there is of a shape that was not looked after, or `renew` says so. */
	do {
		rc = s->renew ? renew(s, err) : OK;
		if (rc == OK)
			rc = capture_end(s->db, &end, err);
		if (rc == OK)
			rc = sqlite_number(s->db, "read the schema's version", "PRAGMA schema_version", 0, &version, err);
		again = rc == OK && version != s->schema && !s->renew;
		s->renew = s->renew || again;
	} while (again);
	if (rc == OK && end > s->at)
		rc = capture_time(s->db, end, &us, err);
	if (rc != OK)
		return unless_busy(s, rc);
	if (end < s->at)
		return fail(err, RETRY, "%s: its log goes back behind what was read of it; looking again", s->path);
	watch_looked(&s->watch, end > s->at);
	s->base.end_lsn = end;
	if (end == s->at)
		return AGAIN;
	begin_run(s, end, us);
	return OK;
}

/* A run that has nothing for this pipeline is told too: it moves the watermark. */
static enum rc
next_entry(struct source_lite *s, struct source_event *ev, struct err *err)
{
	for (;;) {
		bool on_row = s->stepping; /* else the row that is half told comes again, as s->at has not passed it */
		int code;

		if (!s->stepping) {
			sqlite3_bind_int64(s->entries, 1, (int64_t)s->at);
			sqlite3_bind_int64(s->entries, 2, (int64_t)s->until);
			s->stepping = true;
		}
		code = s->half && on_row ? SQLITE_ROW : sqlite3_step(s->entries);
		if (code == SQLITE_ROW) {
			enum rc rc = take_entry(s, ev, err);

			if (rc != AGAIN)
				return rc;
			continue;
		}
		if (code != SQLITE_DONE) {
			enum rc rc = sqlite_fail(s->db, "read the log", err);

			rest(s);
			return unless_busy(s, rc);
		}
		rest(s);
		s->at = s->until;
		s->in_run = false;
		ev->kind = SRC_COMMIT;
		ev->txn = s->txn;
		return OK;
	}
}

/* ---- the first copy ---- */

/*
 * All rows that are there, as one transaction: in one read transaction together with the log's end, which is its LSN. It is never cut
 * for readers, so that who dies on the way begins it anew, and nobody has seen any of it.
 */
static enum rc
copy_begin(struct source_lite *s, struct err *err)
{
	int64_t version, us;
	uint64_t end;
	char mode[16] = "";
	sqlite3_stmt *st;
	enum rc rc = sqlite_open_there(s->path, BUSY_MS, &s->copy, err);

	if (rc == OK)
		rc = sqlite_run(s->copy, "copy", "BEGIN", err);
	if (rc == OK)
		rc = sqlite_number(s->copy, "copy", "PRAGMA schema_version", 0, &version, err);
	if (rc == OK && version != s->schema)
		rc = fail(err, RETRY, "the schema was changed just now; looking again");
	if (rc == OK)
		rc = capture_end(s->copy, &end, err);
	if (rc == OK)
		rc = capture_time(s->copy, end, &us, err);
	if (rc == OK)
		rc = capture_list(s->copy, &s->copy_arena, &s->tables, &s->ntables, err);
	if (rc == OK)
		rc = sqlite_prepare(s->copy, "copy", "PRAGMA journal_mode", &st, err);
	if (rc != OK)
		return rc;
	if (sqlite3_step(st) == SQLITE_ROW)
		snprintf(mode, sizeof mode, "%s", (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	if (strcmp(mode, "wal") != 0)
		log_warn("producer",
		    "who writes to the database waits until its rows are copied; PRAGMA journal_mode = WAL lets them go on",
		    "file=\"%s\" journal_mode=%s", s->path, mode);
	begin_run(s, end, us);
	log_info("producer", "copying the rows that are there", "tables=%d lsn=%" PRIu64, s->ntables, end);
	return OK;
}

static void
copy_end(struct source_lite *s)
{
	sqlite3_finalize(s->rows);
	s->rows = NULL;
	sqlite3_close(s->copy);
	s->copy = NULL;
	arena_free(&s->copy_arena);
}

static enum rc
copy_table(struct source_lite *s, const struct rel *r, struct err *err)
{
	const struct table *t = &r->table;
	const char *list = "";

	for (int i = 0; i < t->ncols; i++)
		list = arena_printf(&s->copy_arena, "%s%s%s", list, i ? ", " : "", sqlite_ident(&s->copy_arena, t->cols[i].name.p));
	return sqlite_prepare(s->copy, t->name.p,
	    arena_printf(&s->copy_arena, "SELECT %s FROM %s", list, sqlite_ident(&s->copy_arena, t->name.p)), &s->rows, err);
}

static enum rc
copy_next(struct source_lite *s, struct source_event *ev, struct err *err)
{
	while (s->table < s->ntables) {
		struct rel *r;
		int code;
		enum rc rc = find_layout(s, s->tables[s->table].layout, &r, err);

		if (rc == OK && !s->rows && r->wanted)
			rc = copy_table(s, r, err);
		if (rc != OK)
			return rc;
		code = r->wanted ? sqlite3_step(s->rows) : SQLITE_DONE;
		if (code == SQLITE_ROW) {
			ev->kind = SRC_CHANGE;
			ev->txn = s->txn;
			ev->change = (struct change){ .op = OP_READ, .tbl = &r->table, .lsn = s->until, .after = read_row(s, r,
			    s->rows, 0) };
			r->follows = false;
			return OK;
		}
		if (code != SQLITE_DONE)
			return sqlite_fail(s->copy, "copy", err);
		sqlite3_finalize(s->rows);
		s->rows = NULL;
		s->table++;
	}
	copy_end(s);
	s->at = s->copied_at = s->until;
	s->in_run = false;
	ev->kind = SRC_COMMIT;
	ev->txn = s->txn;
	log_info("producer", "rows copied", "lsn=%" PRIu64, s->at);
	return OK;
}

/* ---- the stream ---- */

/* A restored copy has, under an LSN that was published, an entry of a later time, or none yet (resume.c). */
static enum rc
check_history(struct source_lite *s, const struct source_published *p, struct err *err)
{
	int64_t us;
	enum rc rc = p->lsn ? capture_time(s->db, p->lsn, &us, err) : OK;

	if (rc != OK || !p->lsn || !p->commit_us || (us ? us <= p->commit_us : s->confirmed >= p->lsn))
		return rc;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "source: under LSN %" PRIu64 ", which was published, the log has %s: the file was put back to an older state and went on "
	    "from there; use another name and copy the tables again", p->lsn, us ? "another change" : "nothing");
}

static enum rc
lite_start(struct source *base, const struct source_published *p, struct err *err)
{
	struct source_lite *s = self(base);
	enum rc rc = check_history(s, p, err);

	s->renew = true;
	s->last_us = p->commit_us;
	s->at = p->upto > s->confirmed ? p->upto : s->confirmed;
	/* A transaction of ours is in Kafka: the copy is the first. */
	if (!s->copied && (p->lsn > s->written || base->conf->snapshot == SNAPSHOT_NEVER)) {
		s->copied = true;
		s->copied_at = s->at;
	}
	if (rc == OK)
		rc = watch_open(&s->watch, s->path, err);
	if (rc == OK)
		rc = renew(s, err);
	if (rc == OK && s->renew)
		rc = fail(err, RETRY, "another program holds the database's lock, and its triggers are to be looked after");
	if (rc == OK)
		rc = sqlite_prepare(s->db, "read the log", "SELECT * FROM towline_log WHERE lsn > ?1 AND lsn <= ?2 ORDER BY lsn",
		    &s->entries, err);
	if (rc == OK && !s->copied)
		rc = copy_begin(s, err);
	sqlite3_busy_timeout(s->db, BUSY_RUN_MS);
	if (rc == OK)
		log_info("producer", "streaming", "file=\"%s\" slot=%s lsn=%" PRIu64, s->path, base->conf->slot, s->at);
	return rc;
}

static enum rc
lite_next(struct source *base, struct source_event *ev, struct err *err)
{
	struct source_lite *s = self(base);
	enum rc rc = s->in_run ? OK : look(s, err);

	if (rc != OK)
		return rc;
	arena_reset(&s->arena);
	if (!s->told_begin) {
		s->told_begin = true;
		ev->kind = SRC_BEGIN;
		ev->txn = s->txn;
		return OK;
	}
	return s->copy ? copy_next(s, ev, err) : next_entry(s, ev, err);
}

static int
lite_fd(struct source *base)
{
	return self(base)->watch.fd;
}

/* ---- what is confirmed ---- */

static enum rc
write_confirmed(struct source_lite *s, int64_t now_ms, struct err *err)
{
	bool copied = s->copied || (s->copied_at && s->confirmed >= s->copied_at);
	int64_t deleted;
	/* From what is in the log it follows what a new shape asks for. */
	int64_t most = s->renew ? 0 : PRUNE_ROWS;
	enum rc rc = capture_confirm(s->db, s->base.conf->slot, s->written, s->confirmed, copied, most, &deleted, err);

	if (rc == RETRY) { /* the application has the lock */
		if (now_ms - s->warn_ms > BUSY_WARN_MS && s->warn_ms)
			log_warn("producer", "what is confirmed cannot be written: another program holds the database's lock",
			    "file=\"%s\"", s->path);
		if (now_ms - s->warn_ms > BUSY_WARN_MS)
			s->warn_ms = now_ms;
		return OK;
	}
	if (rc != OK)
		return rc;
	s->warn_ms = now_ms;
	s->copied = copied;
	s->written = s->confirmed;
	s->more = s->renew || deleted >= PRUNE_ROWS;
	return OK;
}

static enum rc
lite_confirm(struct source *base, uint64_t lsn, uint64_t applied, int64_t now_ms, struct err *err)
{
	struct source_lite *s = self(base);

	(void)applied;
	s->now_ms = now_ms;
	rest(s);
	if (lsn > s->confirmed)
		s->confirmed = lsn;
	if ((s->confirmed <= s->written && !s->more) || now_ms - s->confirm_ms < (s->more ? PRUNE_MS : CONFIRM_MS))
		return OK;
	s->confirm_ms = now_ms;
	return write_confirmed(s, now_ms, err);
}

static enum rc
lite_tick(struct source *base, int64_t now_ms, struct err *err)
{
	struct source_lite *s = self(base);

	s->now_ms = now_ms;
	if (now_ms - s->look_ms < REPLACED_MS)
		return OK;
	s->look_ms = now_ms;
	return replaced(s, err);
}

static void
lite_close(struct source *base)
{
	struct source_lite *s = self(base);
	struct err ignored;

	rest(s);
	/* What is not written is confirmed again after the next start. */
	if (s->db && s->confirmed > s->written)
		(void)!write_confirmed(s, 0, &ignored);
	copy_end(s);
	sqlite3_finalize(s->entries);
	sqlite3_close(s->db);
	watch_close(&s->watch);
	forget_rels(s);
	arena_free(&s->names);
	arena_free(&s->arena);
	free(s);
}

/* ---- copies that are asked for ---- */

static enum rc
lite_tables(struct source *base, struct arena *a, struct source_table **out, int *n, struct err *err)
{
	struct captured *list;
	int have;
	enum rc rc = capture_list(self(base)->db, a, &list, &have, err);

	*n = 0;
	*out = arena_array(a, (size_t)have + 1, sizeof **out);
	for (int i = 0; i < have && rc == OK; i++)
		if (conf_wants(base->conf, SLICE_LIT("main"), slice_of(list[i].table)))
			(*out)[(*n)++] = (struct source_table){ arena_printf(a, "main.%s", list[i].table), (uint32_t)list[i].id };
	return rc == RETRY ? AGAIN : rc;
}

/* With a rollback journal the first copy keeps everybody from committing, us too. */
static enum rc
lite_copy(struct source *base, const char *name, uint64_t *lsn, struct err *err)
{
	struct source_lite *s = self(base);
	struct arena a = { 0 };
	struct capture_notes notes = { .a = &a };
	char *table = arena_text(&a, slice_of(strchr(name, '.') + 1));
	enum rc rc = s->copy ? AGAIN : capture_copy(s->db, &table, 1, &notes, err);

	if (rc == OK) {
		tell_notes(&notes);
		rc = capture_end(s->db, lsn, err);
	} else if (rc == FATAL && err->exit == EXIT_CONFIG) {
		s->base.tables_no++; /* it is gone */
		rc = AGAIN;
	}
	arena_free(&a);
	return rc == RETRY ? AGAIN : rc;
}

static const struct source_ops ops = {
	.identify = lite_identify,
	.create = lite_create,
	.fork = lite_fork,
	.start = lite_start,
	.next = lite_next,
	.fd = lite_fd,
	.confirm = lite_confirm,
	.tick = lite_tick,
	.close = lite_close,
	.tables = lite_tables,
	.copy = lite_copy,
};

enum rc
source_sqlite_open(const struct conf *conf, struct source **out, struct err *err)
{
	struct source_lite *s = calloc(1, sizeof *s);

	(void)err;
	if (!s)
		die("out of memory");
	s->base = (struct source){ .ops = &ops, .conf = conf };
	s->path = sqlite_url_path(conf->source_url);
	s->watch = (struct watch){ .fd = -1, .inotify = -1, .timer = -1 };
	*out = &s->base;
	return OK;
}
