/*
 * sink.h - where changes go: PostgreSQL (sink_pg.c) or SQLite (sink_sqlite.c), behind one table of
 * functions.
 *
 * The sink's state lives in the sink: table towline.marker (SQLite: towline_marker), one row per
 * pipeline name, written in the transaction that writes the rows. begin compares and sets it: it
 * must find `expected`, with a generation no newer than ours, else FATAL/EXIT_REFUSED ("another
 * instance applies to this sink"): duplicates, zombies and two instances all fail there.
 *
 * Calls come in this order:   prepare*  begin  apply+  commit   prepare* begin ...   and settle at
 * any time. begin, apply and commit may only queue (pipeline mode); settle(most) waits until at
 * most `most` committed transactions are unconfirmed, settle(0) also for what the open one applied
 * so far. A failure may be reported by any call, also one about a later transaction. After RETRY or
 * FATAL close the sink. After REJECT (a row broke a constraint or did not convert) everything
 * queued since the oldest unconfirmed begin is rolled back and forgotten (a streamed transaction:
 * since the last apply), and sink->failed says which batch it was: transactions before it are
 * confirmed. The caller then calls redo with that batch, commit, and begins the later ones again.
 */
#ifndef CONSUMER_SINK_H
#define CONSUMER_SINK_H

#include "consumer/batch.h"
#include "core/conf.h"

/* How far a sink is. All zero, spine_offset -1: never applied anything. */
struct marker {
	int64_t spine_offset;  /* of the last GROUP applied */
	uint64_t spine_hash;   /* XXH3 of that record's bytes: the anchor */
	uint64_t gen, token;   /* generation that wrote it */
	uint64_t no, seq;      /* group number, last transaction */
	uint64_t lsn;          /* commit LSN of that transaction */
	int64_t commit_us;
	uint64_t system_id;    /* of the source; 0: not known */
};

/* A row that a redo could not apply, for the dead-letter topic. */
struct reject {
	const struct row *row;
	const char *reason;    /* in the batch's arena */
};

struct sink;
struct sink_ops {
	/*
	 * What the sink holds; creates the schema and the row when missing. Also called to look
	 * again after a failure.
	 */
	enum rc (*marker)(struct sink *s, struct marker *out, struct err *err);

	/*
	 * Make the sink fit for this table version: find it, create it (create_tables), add missing
	 * columns (on_schema_change). Cached by tbl pointer. Allowed in an open transaction too.
	 */
	enum rc (*prepare)(struct sink *s, const struct table *tbl, struct err *err);

	/* tbl is going away: drop what is cached for it. */
	void (*forget)(struct sink *s, const struct table *tbl);

	enum rc (*begin)(struct sink *s, const struct marker *expected, const struct marker *next,
	    struct err *err);
	enum rc (*apply)(struct sink *s, const struct batch *b, struct err *err);
	enum rc (*commit)(struct sink *s, const struct marker *next, struct err *err);
	enum rc (*settle)(struct sink *s, int most, struct err *err);

	/*
	 * After a REJECT: the failed batch again, row by row in exact order, each under a
	 * savepoint, in the same transaction scope (begun again with the markers of its begin, or
	 * rolled back to the savepoint of a streamed one). The rows that fail are listed in
	 * rejects[0..*nrejects) (room for max_rejects) and left out, and so are later changes of
	 * their keys; the row after max_rejects is returned as REJECT with its sentence, and
	 * nothing is kept. Synchronous; does not commit.
	 */
	enum rc (*redo)(struct sink *s, struct batch *b, struct reject *rejects, int max_rejects,
	    int *nrejects, struct err *err);

	/* Throw away the open transaction. */
	void (*abort)(struct sink *s);
	void (*close)(struct sink *s);
};

/* What every sink begins with. */
struct sink {
	const struct sink_ops *ops;
	const struct conf_sink *conf;
	const char *pipeline;      /* conf->name */
	const struct batch *failed; /* after a REJECT: the batch that redo is to be called with; all before it is confirmed */
};

/*
 * By the URL: postgres://, postgresql:// or a libpq "key=value" string; sqlite:PATH. RETRY: cannot
 * be reached.
 */
enum rc sink_open(const char *pipeline, const struct conf_sink *conf, struct sink **out,
    struct err *err) MUST_CHECK;
enum rc sink_pg_open(const char *pipeline, const struct conf_sink *conf, struct sink **out,
    struct err *err) MUST_CHECK;
enum rc sink_sqlite_open(const char *pipeline, const struct conf_sink *conf, struct sink **out,
    struct err *err) MUST_CHECK;

#endif
