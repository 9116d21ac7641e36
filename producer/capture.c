#include "producer/capture.h"
#include "producer/layout.h"

#include <inttypes.h>
#include <strings.h>

static const char made_sql[] =
    "CREATE TABLE IF NOT EXISTS towline_source (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL, every INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS towline_log (lsn INTEGER PRIMARY KEY AUTOINCREMENT, layout INTEGER, op TEXT, at REAL);"
    "CREATE TABLE IF NOT EXISTS towline_capture (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, layout INTEGER);"
    "CREATE TABLE IF NOT EXISTS towline_layout (id INTEGER PRIMARY KEY AUTOINCREMENT, capture INTEGER NOT NULL, def TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS towline_slot (name TEXT PRIMARY KEY, confirmed INTEGER NOT NULL, copied INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS towline_replaced (capture INTEGER, rid);"
    "INSERT OR IGNORE INTO towline_source VALUES (1, random() & 0x3fffffffffffffff | 1, 0);"
    /* The first LSN is taken, so that every change has one that is beyond somebody's. */
    "INSERT INTO towline_log (layout, op, at) SELECT 0, 'n', julianday('now') WHERE NOT EXISTS"
    " (SELECT 1 FROM sqlite_sequence WHERE name = 'towline_log')";

static const char *const own_tables[] = { "towline_replaced", "towline_slot", "towline_layout", "towline_capture", "towline_log",
	"towline_source" };

/* A transaction of ours being made. */
struct work {
	sqlite3 *db;
	struct arena a;
	struct capture_notes *notes;
	bool slots; /* somebody reads: rows that come by other ways than triggers must be logged */
	struct err *err;
};

const char *
capture_event_name(enum capture_event event)
{
	static const char *const names[] = { "joined", "copied", "renewed", "left out", "gone" };

	return names[event];
}

static void
note(struct work *w, enum capture_event event, const char *table, const char *why)
{
	struct capture_notes *n = w->notes;
	struct capture_note *list = arena_array(n->a, (size_t)n->n + 1, sizeof *list);

	if (n->n)
		memcpy(list, n->list, (size_t)n->n * sizeof *list);
	list[n->n] = (struct capture_note){ event, arena_text(n->a, slice_of(table)), why ? arena_text(n->a, slice_of(why)) : NULL };
	n->list = list;
	n->n++;
}

static enum rc
begin(struct work *w)
{
	return sqlite_run(w->db, "lock the database", "BEGIN IMMEDIATE", w->err);
}

static enum rc
end(struct work *w, enum rc rc)
{
	if (rc == OK)
		rc = sqlite_run(w->db, "commit", "COMMIT", w->err);
	if (!sqlite3_get_autocommit(w->db))
		sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
	arena_free(&w->a);
	return rc;
}

static enum rc
run(struct work *w, const char *sql)
{
	return sqlite_run(w->db, "look after the log", sql, w->err);
}

/* ---- one table ---- */

/* Columns c0 ... of the log, as many as the widest table needs. */
static enum rc
widen(struct work *w, const char *table, int n)
{
	int64_t have = 0;
	enum rc rc = sqlite_number(w->db, table,
	    arena_printf(&w->a, "SELECT count(*) FROM pragma_table_info('%s') WHERE name GLOB 'c[0-9]*'", table), 0, &have, w->err);

	for (; rc == OK && have < n; have++)
		rc = run(w, arena_printf(&w->a, "ALTER TABLE %s ADD COLUMN c%" PRId64, table, have));
	return rc;
}

struct found {
	int n;
	const char *table;
	struct layout_trigger list[LAYOUT_TRIGGERS + 1];
};

/* The triggers of a capture that are there, and on which table. */
static enum rc
find_triggers(struct work *w, int64_t capture, struct found *out)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(w->db, "look up the triggers", arena_printf(&w->a,
	    "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'towline_%" PRId64 "_*'", capture),
	    &st, w->err);
	int code = SQLITE_DONE;

	*out = (struct found){ 0 };
	if (rc != OK)
		return rc;
	while (out->n <= LAYOUT_TRIGGERS && (code = sqlite3_step(st)) == SQLITE_ROW) {
		out->table = sqlite_text(st, 1, &w->a);
		out->list[out->n].name = sqlite_text(st, 0, &w->a);
		out->list[out->n++].sql = sqlite_text(st, 2, &w->a);
	}
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		rc = sqlite_fail(w->db, "look up the triggers", w->err);
	sqlite3_finalize(st);
	return rc;
}

static bool
has_trigger(const struct found *f, const struct layout_trigger *t, bool by_text)
{
	for (int i = 0; i < f->n; i++)
		if (strcmp(f->list[i].name, t->name) == 0)
			return !by_text || strcmp(f->list[i].sql, t->sql) == 0;
	return false;
}

/* Those without which changes are lost. */
static bool
is_intact(struct work *w, int64_t capture, const struct found *f)
{
	for (const char *p = "cud"; *p; p++) {
		struct layout_trigger t = { .name = arena_printf(&w->a, "towline_%" PRId64 "_%c", capture, *p) };

		if (!has_trigger(f, &t, false))
			return false;
	}
	return true;
}

static enum rc
drop_triggers(struct work *w, const struct found *f)
{
	enum rc rc = OK;

	for (int i = 0; i < f->n && rc == OK; i++)
		rc = run(w, arena_printf(&w->a, "DROP TRIGGER %s", sqlite_ident(&w->a, f->list[i].name)));
	return rc;
}

static enum rc
create_triggers(struct work *w, const struct layout *l, int64_t capture, int64_t layout)
{
	struct layout_trigger t[LAYOUT_TRIGGERS];
	int n = layout_triggers(l, capture, layout, &w->a, t);
	enum rc rc = widen(w, "towline_log", layout_nold(l) + l->ncols);

	if (rc == OK)
		rc = widen(w, "towline_replaced", layout_nold(l));
	for (int i = 0; i < n && rc == OK; i++)
		rc = run(w, t[i].sql);
	return rc;
}

static enum rc
add_layout(struct work *w, const struct layout *l, int64_t capture, int64_t *id)
{
	enum rc rc = run(w, arena_printf(&w->a, "INSERT INTO towline_layout (capture, def) VALUES (%" PRId64 ", %s)", capture,
	    sqlite_literal(&w->a, layout_json(l, &w->a))));

	*id = sqlite3_last_insert_rowid(w->db);
	if (rc == OK)
		rc = run(w, arena_printf(&w->a, "UPDATE towline_capture SET name = %s, layout = %" PRId64 " WHERE id = %" PRId64,
		    sqlite_literal(&w->a, l->table), *id, capture));
	return rc;
}

static enum rc
log_empty(struct work *w, int64_t layout)
{
	return run(w, arena_printf(&w->a, "INSERT INTO towline_log (layout, op, at) VALUES (%" PRId64 ", 't', julianday('now'))", layout));
}

/* Who reads empties the table (as layout `empties` has it; 0: need not) and gets all its rows. */
static enum rc
log_rows(struct work *w, const struct layout *l, int64_t layout, int64_t empties)
{
	enum rc rc = empties ? log_empty(w, empties) : OK;

	if (rc == OK)
		rc = run(w, layout_copy_sql(l, layout, 'r', 0, NULL, &w->a));
	note(w, CAPTURE_COPIED, l->table, NULL);
	return rc;
}

/* replaces: the last layout of a capture of that name whose triggers were lost: what was copied of it is void. 0: none. */
static enum rc
capture_table(struct work *w, const struct layout *l, int64_t replaces)
{
	int64_t capture, layout;
	enum rc rc = run(w, arena_printf(&w->a, "INSERT INTO towline_capture (name) VALUES (%s)", sqlite_literal(&w->a, l->table)));

	capture = sqlite3_last_insert_rowid(w->db);
	if (rc == OK)
		rc = add_layout(w, l, capture, &layout);
	if (rc == OK)
		rc = create_triggers(w, l, capture, layout);
	if (rc != OK || !w->slots) {
		note(w, CAPTURE_JOINED, l->table, NULL);
		return rc;
	}
	return log_rows(w, l, layout, replaces);
}

static enum rc
stored_layout(struct work *w, int64_t id, struct layout *out)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(w->db, "read a layout", arena_printf(&w->a, "SELECT def FROM towline_layout WHERE id = %" PRId64, id),
	    &st, w->err);

	if (rc != OK)
		return rc;
	if (sqlite3_step(st) == SQLITE_ROW)
		rc = layout_parse((const char *)sqlite3_column_text(st, 0), &w->a, out, w->err);
	else
		rc = fail(w->err, FATAL, "towline_layout has no row %" PRId64 "; run towline source uninstall and install", id);
	sqlite3_finalize(st);
	return rc;
}

/* Between the change of the shape and now rows were written whose new columns are not in the log: such come again, whole. */
static enum rc
log_added(struct work *w, const struct layout *before, const struct layout *l, int64_t layout)
{
	const char *where = "0";

	for (int i = before->ncols; i < l->ncols; i++)
		where = arena_printf(&w->a, "%s OR %s", where, layout_added_where(l, i, &w->a));
	if (!w->slots || l->ncols == before->ncols)
		return OK;
	return run(w, layout_copy_sql(l, layout, 'u', before->ncols, where, &w->a));
}

static enum rc
recapture(struct work *w, const struct captured *c, const struct found *f)
{
	const char *why;
	struct layout l;
	enum rc rc = drop_triggers(w, f);

	if (rc == OK)
		rc = run(w, arena_printf(&w->a, "DELETE FROM towline_capture WHERE id = %" PRId64, c->id));
	if (rc == OK)
		rc = layout_read(w->db, c->table, &w->a, &l, &why, w->err);
	if (rc != OK)
		return rc;
	if (!why)
		return capture_table(w, &l, c->layout);
	note(w, CAPTURE_GONE, c->table, why);
	return OK;
}

/* Is there an entry that may have come with a REPLACE? One comes with each. */
static enum rc
has_written(struct work *w, int64_t capture, bool *out)
{
	int64_t n = 0;
	enum rc rc = sqlite_number(w->db, "look into the log", arena_printf(&w->a,
	    "SELECT EXISTS (SELECT 1 FROM towline_log WHERE op IN ('c', 'u') AND layout IN (SELECT id FROM towline_layout"
	    " WHERE capture = %" PRId64 "))", capture), 0, &n, w->err);

	*out = n;
	return rc;
}

/* Without a key the log is right only if our triggers ran before those that change the same row: the newest runs first. */
static enum rc
is_overtaken(struct work *w, const struct layout *l, int64_t capture, bool *out)
{
	int64_t n = 0;
	enum rc rc = l->nkeys ? OK : sqlite_number(w->db, "look up the triggers", arena_printf(&w->a,
	    "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = %s COLLATE NOCASE AND name NOT GLOB 'towline_*'"
	    " AND rowid > (SELECT min(rowid) FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'towline_%" PRId64 "_*')",
	    sqlite_literal(&w->a, l->table), capture), 0, &n, w->err);

	*out = n > 0;
	return rc;
}

/* By a condition that the triggers f do not know a REPLACE may have deleted rows, of which the log has no word. */
static bool
has_blind_spot(struct work *w, const struct layout *before, const struct layout *l, const struct found *f)
{
	const char **conflicts;
	int n = layout_conflicts(l, &w->a, &conflicts);
	bool blind = !layout_same_key(before, l);

	for (int i = 0; i < n; i++) {
		bool known = false;

		for (int k = 0; k < f->n; k++)
			known = known || strstr(f->list[k].sql, conflicts[i]);
		blind = blind || !known;
	}
	return blind;
}

/* Sinks rename the table at the first entry under its new name, before those of another that has the old one now. */
static enum rc
log_name(struct work *w, const struct layout *l, int64_t layout)
{
	int64_t rows = 0;
	enum rc rc = w->slots ? run(w, layout_copy_sql(l, layout, 'u', l->ncols, "1 LIMIT 1", &w->a)) : OK;

	if (rc == OK && w->slots)
		rc = sqlite_number(w->db, "log the name", "SELECT changes()", 0, &rows, w->err);
	return rc == OK && w->slots && !rows ? log_empty(w, layout) : rc;
}

/* What the log lacks since the shape was another. */
static enum rc
log_missed(struct work *w, const struct layout *before, const struct layout *l, int64_t capture, int64_t layout, bool blind)
{
	bool written = false;
	enum rc rc = OK;

	if (blind && w->slots)
		rc = has_written(w, capture, &written);
	if (rc == OK && strcmp(before->table, l->table) != 0)
		rc = log_name(w, l, layout);
	if (rc != OK || !written)
		return rc == OK ? log_added(w, before, l, layout) : rc;
	return log_rows(w, l, layout, layout);
}

static enum rc
renew_table(struct work *w, const struct captured *c)
{
	struct layout_trigger want[LAYOUT_TRIGGERS];
	struct layout before, l;
	struct found f;
	const char *why;
	int64_t layout = c->layout;
	bool same, blind = false;
	int n;
	enum rc rc = find_triggers(w, c->id, &f);

	if (rc == OK && !is_intact(w, c->id, &f))
		return recapture(w, c, &f);
	if (rc == OK)
		rc = stored_layout(w, c->layout, &before);
	if (rc == OK)
		rc = layout_read(w->db, f.table, &w->a, &l, &why, w->err);
	if (rc != OK)
		return rc;
	if (why) { /* its changes go on to be logged as before */
		note(w, CAPTURE_LEFT_OUT, f.table, why);
		return OK;
	}
	if (!layout_extends(&before, &l))
		return recapture(w, c, &f);
	same = layout_same(&before, &l);
	rc = is_overtaken(w, &l, c->id, &blind);
	if (rc != OK)
		return rc;
	n = layout_triggers(&l, c->id, c->layout, &w->a, want);
	for (int i = 0; same && !blind && i < n && n == f.n; i++)
		if (!has_trigger(&f, &want[i], true))
			break;
		else if (i + 1 == n)
			return OK;
	blind = blind || has_blind_spot(w, &before, &l, &f);
	rc = drop_triggers(w, &f);
	if (rc == OK && !same)
		rc = add_layout(w, &l, c->id, &layout);
	if (rc == OK)
		rc = create_triggers(w, &l, c->id, layout);
	note(w, CAPTURE_RENEWED, f.table, NULL);
	return rc == OK ? log_missed(w, &before, &l, c->id, layout, blind) : rc;
}

/* ---- all tables ---- */

static bool
is_captured(const struct captured *list, int n, const char *table)
{
	for (int i = 0; i < n; i++)
		if (strcasecmp(list[i].table, table) == 0)
			return true;
	return false;
}

/* The newest layout of a table of that name that was captured once and is not any more; 0: none. */
static enum rc
left_behind(struct work *w, const char *table, int64_t *layout)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(w->db, "look for an earlier table",
	    "SELECT l.id FROM towline_layout l WHERE json_extract(l.def, '$.table') = ?1 COLLATE NOCASE"
	    " AND NOT EXISTS (SELECT 1 FROM towline_capture c WHERE c.id = l.capture) ORDER BY l.id DESC LIMIT 1",
	    &st, w->err);

	*layout = 0;
	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*layout = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return OK;
}

/* named: an answer is owed. Sinks may have rows of an earlier table of that name: they go, as it did. */
static enum rc
join_table(struct work *w, const char *table, bool named)
{
	const char *why;
	struct layout l;
	int64_t earlier = 0;
	enum rc rc = layout_read(w->db, table, &w->a, &l, &why, w->err);

	if (rc != OK)
		return rc;
	if (strncasecmp(table, "towline_", 8) == 0 || strncasecmp(table, "sqlite_", 7) == 0)
		why = "it is not the application's";
	if (why && named)
		return fail_exit(w->err, FATAL, EXIT_CONFIG, "table %s cannot be captured: %s", table, why);
	if (why)
		note(w, CAPTURE_LEFT_OUT, table, why);
	if (!why)
		rc = left_behind(w, l.table, &earlier);
	return why || rc != OK ? rc : capture_table(w, &l, earlier);
}

static enum rc
join_every(struct work *w, const struct captured *list, int n)
{
	sqlite3_stmt *st;
	struct arena names = { 0 };
	const char *all[2000];
	int m = 0, code = SQLITE_DONE;
	enum rc rc = sqlite_prepare(w->db, "list the tables",
	    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT GLOB 'sqlite_*'"
	    " AND name NOT GLOB 'towline_*' ORDER BY name", &st, w->err);

	if (rc != OK)
		return rc;
	while (m < (int)COUNTOF(all) && (code = sqlite3_step(st)) == SQLITE_ROW)
		all[m++] = sqlite_text(st, 0, &names);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		rc = sqlite_fail(w->db, "list the tables", w->err);
	sqlite3_finalize(st);
	for (int i = 0; i < m && rc == OK; i++)
		if (!is_captured(list, n, all[i]))
			rc = join_table(w, all[i], false);
	arena_free(&names);
	return rc;
}

static enum rc
drop_capture(struct work *w, const struct captured *c)
{
	struct found f;
	enum rc rc = find_triggers(w, c->id, &f);

	if (rc == OK)
		rc = drop_triggers(w, &f);
	return rc == OK ? run(w, arena_printf(&w->a, "DELETE FROM towline_capture WHERE id = %" PRId64, c->id)) : rc;
}

/*
 * A captured table that was given the name of one that was dropped: sinks have rows under both names. It is the other one made anew, and
 * what it was before is gone.
 */
static enum rc
give_way(struct work *w, struct captured *list, int n, int at)
{
	enum rc rc = OK;

	for (int i = 0; i < n && rc == OK && list[at].id && !list[at].complete; i++) {
		if (i == at || !list[i].id || strcasecmp(list[i].table, list[at].table) != 0)
			continue;
		rc = drop_capture(w, &list[i]);
		list[i].id = 0;
	}
	return rc;
}

static enum rc
look_after(struct work *w)
{
	struct captured *list;
	int64_t every, slots;
	int n;
	enum rc rc = capture_list(w->db, &w->a, &list, &n, w->err);

	if (rc == OK)
		rc = sqlite_number(w->db, "read the slots", "SELECT count(*) FROM towline_slot", 0, &slots, w->err);
	if (rc == OK)
		rc = sqlite_number(w->db, "read the source", "SELECT every FROM towline_source", 0, &every, w->err);
	w->slots = rc == OK && slots;
	for (int i = 0; i < n && rc == OK; i++)
		rc = give_way(w, list, n, i);
	for (int i = 0; i < n && rc == OK; i++)
		if (list[i].id)
			rc = renew_table(w, &list[i]);
	/* As they are called now: a table that was renamed is captured under its new name. */
	if (rc == OK)
		rc = capture_list(w->db, &w->a, &list, &n, w->err);
	return rc == OK && every ? join_every(w, list, n) : rc;
}

enum rc
capture_install(sqlite3 *db, char *const *names, int n, struct capture_notes *notes, struct err *err)
{
	struct work w = { .db = db, .notes = notes, .err = err };
	struct captured *list;
	int have;
	enum rc rc = begin(&w);

	if (rc == OK)
		rc = run(&w, made_sql);
	if (rc == OK && !n)
		rc = run(&w, "UPDATE towline_source SET every = 1");
	if (rc == OK)
		rc = look_after(&w);
	if (rc == OK)
		rc = capture_list(db, &w.a, &list, &have, err);
	for (int i = 0; i < n && rc == OK; i++)
		if (!is_captured(list, have, names[i]))
			rc = join_table(&w, names[i], true);
	return end(&w, rc);
}

enum rc
capture_renew(sqlite3 *db, struct capture_notes *notes, int64_t *version, struct err *err)
{
	struct work w = { .db = db, .notes = notes, .err = err };
	enum rc rc = begin(&w);

	if (rc == OK)
		rc = look_after(&w);
	if (rc == OK)
		rc = sqlite_number(db, "read the schema's version", "PRAGMA schema_version", 0, version, err);
	return end(&w, rc);
}

static enum rc
not_captured(const char *table, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_CONFIG, "table %s is not captured; towline source ls lists those that are", table);
}

enum rc
capture_copy(sqlite3 *db, char *const *names, int n, struct capture_notes *notes, struct err *err)
{
	struct work w = { .db = db, .notes = notes, .err = err };
	struct captured *list = NULL;
	struct layout l;
	int have = 0;
	enum rc rc = begin(&w);

	if (rc == OK)
		rc = look_after(&w);
	if (rc == OK && !w.slots)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "nobody reads the log yet; the first run of a producer copies all tables");
	if (rc == OK)
		rc = capture_list(db, &w.a, &list, &have, err);
	for (int i = 0; i < n && rc == OK; i++) {
		const struct captured *c = list;

		while (c < list + have && strcasecmp(c->table, names[i]) != 0)
			c++;
		rc = c == list + have ? not_captured(names[i], err) : stored_layout(&w, c->layout, &l);
		if (rc == OK)
			rc = log_rows(&w, &l, c->layout, c->layout);
	}
	return end(&w, rc);
}

enum rc
capture_uninstall(sqlite3 *db, char *const *names, int n, struct err *err)
{
	struct work w = { .db = db, .err = err };
	struct captured *list = NULL;
	int have = 0;
	enum rc rc = begin(&w);

	if (rc == OK)
		rc = capture_list(db, &w.a, &list, &have, err);
	for (int i = 0; i < n && rc == OK; i++)
		if (!is_captured(list, have, names[i]))
			rc = not_captured(names[i], err);
	for (int i = 0; i < have && rc == OK; i++) {
		bool meant = n == 0;

		for (int k = 0; k < n; k++)
			meant = meant || strcasecmp(names[k], list[i].table) == 0;
		if (meant)
			rc = drop_capture(&w, &list[i]);
	}
	/* Who takes out one table does not want it to come back by itself. */
	if (rc == OK && n)
		rc = run(&w, "UPDATE towline_source SET every = 0");
	for (size_t i = 0; i < COUNTOF(own_tables) && rc == OK && !n; i++)
		rc = run(&w, arena_printf(&w.a, "DROP TABLE IF EXISTS %s", own_tables[i]));
	return end(&w, rc);
}
