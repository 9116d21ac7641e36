/*
 * capture.h - what a SQLite database has of ours: the log and the triggers that fill it, which tables they are on, and who reads it.
 *
 *   towline_source    one row: the database's id, and whether all tables are captured or only those that were named
 *   towline_log       what happened: lsn, layout, op, at (julian day of the statement), c0, c1, ... (producer/layout.h)
 *   towline_capture   a table whose changes are logged; its triggers are towline_<id>_c, _u, _d, _bc, _bu
 *   towline_layout    a shape that such a table has or had, as JSON
 *   towline_slot      a pipeline that reads the log: what it has confirmed, and whether it has the rows that were there before
 *   towline_replaced  rows that the statement at hand may REPLACE
 */
#ifndef PRODUCER_CAPTURE_H
#define PRODUCER_CAPTURE_H

#include "core/sqlite.h"

enum capture_event {
	CAPTURE_JOINED,   /* changes are logged from here on */
	CAPTURE_COPIED,   /* ... and its rows were logged too, for those who read already */
	CAPTURE_RENEWED,  /* it has changed its shape */
	CAPTURE_LEFT_OUT, /* it cannot be captured; why */
	CAPTURE_GONE,     /* it was dropped */
};

struct capture_note {
	enum capture_event event;
	const char *table, *why;
};

/* What was done; grows in a. */
struct capture_notes {
	struct arena *a;
	struct capture_note *list;
	int n;
};

/* The word for an event: "joined". */
const char *capture_event_name(enum capture_event event);

/* Is the database installed? Its id, or 0. */
enum rc capture_id(sqlite3 *db, int64_t *id, struct err *err) MUST_CHECK;

/*
 * Make what is missing and capture the tables of those names; n 0: all, and such as are made later. Those that are captured already
 * are looked after. One transaction. FATAL/EXIT_CONFIG: a table that was named cannot be captured.
 */
enum rc capture_install(sqlite3 *db, char *const *names, int n, struct capture_notes *notes, struct err *err) MUST_CHECK;

/* Empty those tables at those who read already, and log all their rows again. FATAL/EXIT_CONFIG: one is not captured, or nobody reads. */
enum rc capture_copy(sqlite3 *db, char *const *names, int n, struct capture_notes *notes, struct err *err) MUST_CHECK;

/*
 * Look after everything that the schema's changes ask for: new shapes, new triggers, new tables. One transaction, which waits for the
 * database's lock as long as db's busy timeout. *version: the schema version that it left. RETRY: locked.
 */
enum rc capture_renew(sqlite3 *db, struct capture_notes *notes, int64_t *version, struct err *err) MUST_CHECK;

/* Take out those tables; n 0: everything that is ours. FATAL/EXIT_CONFIG: one is not captured. */
enum rc capture_uninstall(sqlite3 *db, char *const *names, int n, struct err *err) MUST_CHECK;

struct captured {
	int64_t id, layout;
	const char *table;
	bool complete;   /* all its triggers are there */
};

/* All of them, in order of name, in a. */
enum rc capture_list(sqlite3 *db, struct arena *a, struct captured **out, int *n, struct err *err) MUST_CHECK;

struct capture_slot {
	const char *name;
	bool exists, copied;
	uint64_t confirmed;
};

enum rc capture_slot_look(sqlite3 *db, const char *name, struct capture_slot *out, struct err *err) MUST_CHECK;
enum rc capture_slots(sqlite3 *db, struct arena *a, struct capture_slot **out, int *n, struct err *err) MUST_CHECK;

/* Changes count from *from on; those before only the log's first reader may forget. */
enum rc capture_slot_create(sqlite3 *db, const char *name, uint64_t *from, struct err *err) MUST_CHECK;

/* Forget a reader: the log needs to hold nothing for it any more. FATAL/EXIT_CONFIG: there is none of that name. */
enum rc capture_slot_drop(sqlite3 *db, const char *name, struct err *err) MUST_CHECK;

/*
 * Confirm, and delete of the log what no slot needs, `most` entries at most; *deleted: how many. The newest that is confirmed stays.
 * written: what this reader has confirmed before. FATAL/EXIT_REFUSED: the slot is gone, or behind that. RETRY: locked.
 */
enum rc capture_confirm(sqlite3 *db, const char *name, uint64_t written, uint64_t lsn, bool copied, int64_t most, int64_t *deleted,
    struct err *err) MUST_CHECK;

/* The newest entry that was ever made; and the commit time (us) that stands for it, as its entry has it: 0 when it is not there. */
enum rc capture_end(sqlite3 *db, uint64_t *lsn, struct err *err) MUST_CHECK;
enum rc capture_time(sqlite3 *db, uint64_t lsn, int64_t *us, struct err *err) MUST_CHECK;

/* A julian day in microseconds since 1970, whole milliseconds. */
int64_t capture_us(double julian);

#endif
