/*
 * What stands in towline_source, towline_slot and the log, and the little that is written there while it is read.
 */
#include "producer/capture.h"

#include <inttypes.h>
#include <math.h>

enum rc
capture_id(sqlite3 *db, int64_t *id, struct err *err)
{
	enum rc rc = sqlite_number(db, "look for the log",
	    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'towline_source'", 0, id, err);

	return rc == OK && *id ? sqlite_number(db, "read the source", "SELECT id FROM towline_source", 0, id, err) : rc;
}

enum rc
capture_list(sqlite3 *db, struct arena *a, struct captured **out, int *n, struct err *err)
{
	static const char sql[] =
	    "SELECT id, layout,"
	    " coalesce((SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = 'towline_' || id || '_c'), name),"
	    " (SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN ('towline_' || id || '_c', 'towline_' || id || '_u',"
	    " 'towline_' || id || '_d')), count(*) OVER () FROM towline_capture ORDER BY name";
	sqlite3_stmt *st;
	int code;
	enum rc rc = sqlite_prepare(db, "list the captured tables", sql, &st, err);

	*n = 0;
	*out = NULL;
	if (rc != OK)
		return rc;
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		if (!*out)
			*out = arena_array(a, (size_t)sqlite3_column_int(st, 4), sizeof **out);
		(*out)[(*n)++] = (struct captured){ .id = sqlite3_column_int64(st, 0), .layout = sqlite3_column_int64(st, 1),
			.table = sqlite_text(st, 2, a), .complete = sqlite3_column_int(st, 3) == 3 };
	}
	if (code != SQLITE_DONE)
		rc = sqlite_fail(db, "list the captured tables", err);
	sqlite3_finalize(st);
	return rc;
}

/* ---- slots ---- */

enum rc
capture_slots(sqlite3 *db, struct arena *a, struct capture_slot **out, int *n, struct err *err)
{
	sqlite3_stmt *st;
	int code;
	enum rc rc = sqlite_prepare(db, "read the slots",
	    "SELECT name, confirmed, copied, count(*) OVER () FROM towline_slot ORDER BY name", &st, err);

	*n = 0;
	*out = NULL;
	if (rc != OK)
		return rc;
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		if (!*out)
			*out = arena_array(a, (size_t)sqlite3_column_int(st, 3), sizeof **out);
		(*out)[(*n)++] = (struct capture_slot){ .name = sqlite_text(st, 0, a), .exists = true,
			.confirmed = (uint64_t)sqlite3_column_int64(st, 1), .copied = sqlite3_column_int(st, 2) };
	}
	if (code != SQLITE_DONE)
		rc = sqlite_fail(db, "read the slots", err);
	sqlite3_finalize(st);
	return rc;
}

enum rc
capture_slot_look(sqlite3 *db, const char *name, struct capture_slot *out, struct err *err)
{
	struct arena a = { 0 };
	struct capture_slot *list;
	int n;
	enum rc rc = capture_slots(db, &a, &list, &n, err);

	*out = (struct capture_slot){ .name = name };
	for (int i = 0; i < n && rc == OK; i++)
		if (strcmp(list[i].name, name) == 0) {
			*out = list[i];
			out->name = name;
		}
	arena_free(&a);
	return rc;
}

enum rc
capture_slot_create(sqlite3 *db, const char *name, uint64_t *from, struct err *err)
{
	struct arena a = { 0 };
	int64_t lsn = 0;
	enum rc rc = sqlite_run(db, "make the slot", "BEGIN IMMEDIATE", err);

	if (rc == OK)
		rc = sqlite_run(db, "make the slot", "INSERT INTO towline_log (layout, op, at) VALUES (0, 'n', julianday('now'))", err);
	lsn = sqlite3_last_insert_rowid(db) - 1;
	if (rc == OK) /* what was logged while nobody read is in the tables */
		rc = sqlite_run(db, "make the slot", arena_printf(&a,
		    "DELETE FROM towline_log WHERE lsn <= %" PRId64 " AND NOT EXISTS (SELECT 1 FROM towline_slot);"
		    "INSERT INTO towline_slot VALUES (%s, %" PRId64 ", 0); COMMIT", lsn, sqlite_literal(&a, name), lsn), err);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	*from = (uint64_t)lsn;
	arena_free(&a);
	return rc;
}

enum rc
capture_slot_drop(sqlite3 *db, const char *name, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = sqlite_run(db, "drop the slot",
	    arena_printf(&a, "DELETE FROM towline_slot WHERE name = %s", sqlite_literal(&a, name)), err);

	if (rc == OK && !sqlite3_changes(db))
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "there is no slot %s; towline source ls lists them", name);
	arena_free(&a);
	return rc;
}

enum rc
capture_confirm(sqlite3 *db, const char *name, uint64_t written, uint64_t lsn, bool copied, int64_t most, int64_t *deleted,
    struct err *err)
{
	struct arena a = { 0 };
	bool there = false;
	enum rc rc = sqlite_run(db, "confirm", "BEGIN IMMEDIATE", err);

	*deleted = 0;
	if (rc == OK) {
		rc = sqlite_run(db, "confirm", arena_printf(&a,
		    "UPDATE towline_slot SET confirmed = max(confirmed, %" PRIu64 "), copied = copied OR %d"
		    " WHERE name = %s AND confirmed >= %" PRIu64, lsn, copied, sqlite_literal(&a, name), written), err);
		there = sqlite3_changes(db) == 1;
	}
	if (rc == OK && !there)
		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "slot %s is gone from the database, or behind what was confirmed: it was uninstalled, or put back to an older state",
		    name);
	if (rc == OK) {
		rc = sqlite_run(db, "prune the log", arena_printf(&a,
		    "DELETE FROM towline_log WHERE lsn < (SELECT min(confirmed) FROM towline_slot)"
		    " AND lsn < (SELECT min(lsn) FROM towline_log) + %" PRId64, most), err);
		*deleted = sqlite3_changes(db);
	}
	if (rc == OK)
		rc = sqlite_run(db, "confirm", "COMMIT", err);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	arena_free(&a);
	return rc;
}

/* ---- the log ---- */

enum rc
capture_end(sqlite3 *db, uint64_t *lsn, struct err *err)
{
	int64_t n;
	enum rc rc = sqlite_number(db, "read the log's end", "SELECT seq FROM sqlite_sequence WHERE name = 'towline_log'", 0, &n, err);

	*lsn = (uint64_t)n;
	return rc;
}

int64_t
capture_us(double julian)
{
	return llround((julian - 2440587.5) * 86400000) * 1000;
}

enum rc
capture_time(sqlite3 *db, uint64_t lsn, int64_t *us, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = sqlite_prepare(db, "read the log", "SELECT at FROM towline_log WHERE lsn = ?1", &st, err);
	int code;

	*us = 0;
	if (rc != OK)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)lsn);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*us = capture_us(sqlite3_column_double(st, 0));
	else if (code != SQLITE_DONE)
		rc = sqlite_fail(db, "read the log", err);
	sqlite3_finalize(st);
	return rc;
}
