/*
 * The write-ahead log of a SQLite sink's file, kept from growing without end. SQLite writes the log back into the file at a commit, but
 * begins the log anew only where no reader is in it: readers that overlap, or one that reads again at once, keep it growing as long as they
 * go on, with its index in our memory (https://www.sqlite.org/wal.html, "avoiding excessively large WAL files"). So a log that is large
 * waits for those who read in it now; whoever comes then reads from the file.
 */
#include "consumer/sink_sqlite.h"
#include "core/log.h"

#include <limits.h>

enum {
	PASSIVE_PAGES = 1000, /* SQLite's own */
	LARGE_PAGES = 16384,
	READERS_MS = 5000, /* longer reads keep the log, until it is twice as large: then it is tried again */
};

static int
committed(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct sink_sqlite *s = arg;

	if (pages < LARGE_PAGES)
		s->wal_try = LARGE_PAGES;
	if (pages < PASSIVE_PAGES)
		return SQLITE_OK;
	if (pages < s->wal_try) {
		sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		return SQLITE_OK;
	}
	sqlite3_busy_timeout(db, READERS_MS);
	if (sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL) == SQLITE_BUSY) {
		s->wal_try = pages < INT_MAX / 2 ? pages * 2 : INT_MAX;
		log_warn("sink", "its file's log cannot begin anew, as somebody reads for longer than 5 s", "sink=%s wal_pages=%d",
		    s->sink.conf->name, pages);
	}
	sqlite3_busy_timeout(db, LITE_BUSY_MS);
	return SQLITE_OK;
}

enum rc
lite_keep_wal(struct sink_sqlite *s, const char *path, struct err *err)
{
	s->wal_try = LARGE_PAGES;
	sqlite3_wal_hook(s->db, committed, s);
	/* What a large transaction left behind is given back when the log begins anew. */
	return lite_exec(s, path, "PRAGMA journal_size_limit = 67108864", err);
}
