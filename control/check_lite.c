/*
 * SQLite as a source: what the producer would refuse by, or stumble over later. Looks only.
 */
#include "control/check.h"
#include "producer/capture.h"
#include "producer/layout.h"

#include <inttypes.h>
#include <strings.h>

enum { BUSY_MS = 2000, LOG_MANY = 1000000 };

struct look {
	struct checks *c;
	sqlite3 *db;
	const char *path;
	struct captured *list;
	int n;
};

static bool
asked(struct look *l, const char *name, enum rc rc, const struct err *err)
{
	if (rc != OK)
		check_error(l->c, name, err);
	return rc == OK;
}

static const struct captured *
captured(const struct look *l, const char *table)
{
	for (int i = 0; i < l->n; i++)
		if (strcasecmp(l->list[i].table, table) == 0)
			return &l->list[i];
	return NULL;
}

static void
check_journal(struct look *l)
{
	sqlite3_stmt *st;
	struct err err;

	if (!asked(l, "journal", sqlite_prepare(l->db, "journal mode", "PRAGMA journal_mode", &st, &err), &err))
		return;
	if (sqlite3_step(st) == SQLITE_ROW && sqlite3_stricmp((const char *)sqlite3_column_text(st, 0), "wal") != 0)
		check_warn(l->c, "journal", arena_printf(&l->c->arena, "sqlite3 %s 'PRAGMA journal_mode = WAL'", l->path),
		    "journal mode %s: who writes and who reads wait for each other, most of all while the first copy is made",
		    sqlite3_column_text(st, 0));
	else
		check_ok(l->c, "journal", "WAL");
	sqlite3_finalize(st);
}

/* A table of the database that the pipeline wants, as check_kafka looks for its topic. */
static void
want_table(struct look *l, const char *name, const struct layout *layout, bool in)
{
	struct publication *pub = &l->c->tables;
	struct publication_table *list = arena_array(&l->c->arena, (size_t)pub->ntables + 1, sizeof *list);

	if (pub->ntables)
		memcpy(list, pub->tables, (size_t)pub->ntables * sizeof *list);
	list[pub->ntables++] = (struct publication_table){ .schema = "main", .name = name, .fit = in, .keyed = layout->nkeys, .in = in,
		.owned = true };
	pub->tables = list;
}

static void
check_table(struct look *l, const char *name)
{
	const struct captured *have = captured(l, name);
	const char *install = arena_printf(&l->c->arena, "towline source install %s", l->path), *why;
	struct layout layout;
	struct err err;

	if (!conf_wants(l->c->conf, SLICE_LIT("main"), slice_of(name)) ||
	    !asked(l, name, layout_read(l->db, name, &l->c->arena, &layout, &why, &err), &err))
		return;
	if (why) {
		check_warn(l->c, name, NULL, "cannot be captured: %s", why);
		return;
	}
	want_table(l, name, &layout, have && have->complete);
	if (!have)
		check_warn(l->c, name, arena_printf(&l->c->arena, "%s %s", install, name), "is not captured: its changes are not logged");
	else if (!have->complete)
		check_warn(l->c, name, install, "its triggers are gone: it will be copied anew");
}

static void
check_tables(struct look *l)
{
	sqlite3_stmt *st;
	struct err err;
	int code, in = 0;

	if (!asked(l, "tables", capture_list(l->db, &l->c->arena, &l->list, &l->n, &err), &err) ||
	    !asked(l, "tables", sqlite_prepare(l->db, "list the tables",
	    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN"
	    " ('table', 'virtual') AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'towline_*' ORDER BY name", &st, &err), &err))
		return;
	while ((code = sqlite3_step(st)) == SQLITE_ROW)
		check_table(l, sqlite_text(st, 0, &l->c->arena));
	sqlite3_finalize(st);
	l->c->tables_known = code == SQLITE_DONE;
	for (int i = 0; i < l->c->tables.ntables; i++)
		in += l->c->tables.tables[i].in;
	if (!in)
		check_warn(l->c, "tables", "the tables of a SQLite source are called main.NAME in tables:",
		    "none that is captured is wanted");
	else
		check_ok(l->c, "tables", "%d wanted, %d captured", l->c->tables.ntables, in);
}

static void
check_slots(struct look *l)
{
	struct checks *c = l->c;
	struct capture_slot *slots;
	struct err err;
	int n;
	bool mine = false;

	if (!asked(l, "slot", capture_slots(l->db, &c->arena, &slots, &n, &err), &err) ||
	    !asked(l, "slot", capture_end(l->db, &c->source.lsn, &err), &err))
		return;
	for (int i = 0; i < n; i++) {
		uint64_t behind = c->source.lsn - slots[i].confirmed;

		if (strcmp(slots[i].name, c->conf->slot) == 0) {
			mine = c->source.exists = true;
			c->source.confirmed = slots[i].confirmed;
			check_ok(c, "slot", "%s, %" PRIu64 " entries behind", slots[i].name, behind);
		} else if (behind > LOG_MANY) {
			check_warn(c, "log", arena_printf(&c->arena, "towline source drop %s %s", l->path, slots[i].name),
			    "slot %s keeps %" PRIu64 " entries of it; if nobody reads it any more, drop it", slots[i].name, behind);
		}
	}
	if (!mine)
		check_ok(c, "slot", "%s will be made by the first run", c->conf->slot);
	c->source_known = true;
}

void
check_source_sqlite(struct checks *c, const char *path)
{
	struct look l = { .c = c, .path = path };
	int64_t id = 0;
	struct err err;

	if (!asked(&l, "file", sqlite_open_there(path, BUSY_MS, &l.db, &err), &err))
		return;
	check_ok(c, "file", "SQLite %s, writable", sqlite3_libversion());
	check_journal(&l);
	if (asked(&l, "log", capture_id(l.db, &id, &err), &err) && !id)
		check_fail(c, "log", arena_printf(&c->arena, "towline source install %s", path), "changes are not logged yet");
	if (id) {
		c->source.system_id = (uint64_t)id;
		c->source.timeline = 1;
		c->source.database = path;
		check_tables(&l);
		check_slots(&l);
	}
	sqlite3_close(l.db);
}

void
check_end_sqlite(struct checks *c, const char *path)
{
	sqlite3 *db = NULL;
	uint64_t end;
	struct err err;

	if (sqlite_open_there(path, BUSY_MS, &db, &err) == OK && capture_end(db, &end, &err) == OK)
		c->source.lsn = end;
	sqlite3_close(db);
}
