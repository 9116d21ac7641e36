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
 * any time. begin, apply and commit may only queue (pipeline mode); settle(most) waits until at most `most` committed transactions are
 * unconfirmed, settle(0) also for what the open one applied so far. While sink->busy nothing but the open one is unconfirmed. A
 * failure may be reported by any call, also one about a later transaction. After RETRY or FATAL close the sink. After REJECT (a row
 * broke a constraint or did not convert) everything queued since the oldest unconfirmed begin is rolled back and forgotten (a streamed
 * transaction: since the last apply), and sink->failed says which batch it was: transactions before it are confirmed. The caller then
 * calls redo with that batch, commit, and begins the later ones again.
 */
#ifndef CONSUMER_SINK_H
#define CONSUMER_SINK_H

#include "consumer/parked.h"
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
	bool waits;            /* it did not fail itself: an earlier row of its key did */
};

/* A table as it is called at the sink. */
struct sink_name {
	struct slice schema, table;
};

struct sink;
struct sink_ops {
	/*
	 * What the sink holds; creates the schema and the row when missing. Also called to look
	 * again after a failure. RETRY while another connection has asked this for the same name and is
	 * not closed, unless shared: the last transaction of one that was killed may still be on its way,
	 * and would then make `expected` wrong.
	 */
	enum rc (*marker)(struct sink *s, struct marker *out, struct err *err);

	/*
	 * Make the sink fit for this table version: find it, create it (create_tables), add missing
	 * columns (on_schema_change). Cached by tbl pointer. Allowed in an open transaction too. REJECT only with as_is.
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
	 * After a REJECT: the failed batch again, row by row in exact order (those with `aside`
	 * left out), each under a savepoint, in the same transaction scope (begun again with the markers of its begin, or
	 * rolled back to the savepoint of a streamed one). The rows that fail are listed in
	 * rejects[0..*nrejects) (room for max_rejects) and left out, and so are later changes of
	 * their keys; the row after max_rejects is returned as REJECT with its sentence, and
	 * nothing is kept. A truncate ends the waiting in its table, and what was listed of it before
	 * is forgotten; one that fails is never listed. Synchronous; does not commit.
	 */
	enum rc (*redo)(struct sink *s, struct batch *b, struct reject *rejects, int max_rejects,
	    int *nrejects, struct err *err);

	/*
	 * Begin anew at `to`, in one transaction: the tables (those that are there; names at the sink, schema empty in SQLite) are emptied,
	 * what is parked and where the partitions stood is forgotten. After marker, without a transaction.
	 */
	enum rc (*renew)(struct sink *s, const struct marker *to, const struct sink_name *tables, int n, struct err *err);

	/* Throw away the open transaction. */
	void (*abort)(struct sink *s);
	void (*close)(struct sink *s);

	const struct park_ops *parking;
	const struct position_ops *positions;
};

/* Which entries to read: 0 and "" mean any. */
struct parked_query {
	int64_t after;         /* ids above it */
	int64_t id;
	const char *schema, *table;
	bool moved;            /* only those that changed their key */
	int limit;
};

/* A change's place. */
struct names_at {
	uint64_t seq, index;
};

/* Changes that are parked in the sink (consumer/parked.h). All are synchronous, and wait for what is in flight; verdicts as above. */
struct park_ops {
	/*
	 * Put the parked keys into set, of all lanes, and remember the version that they are of: from
	 * then on a begin that meets another one (`towline dlq` was here) is RETRY. After marker,
	 * without a transaction.
	 */
	enum rc (*load)(struct sink *s, struct parked *set, struct err *err);

	/* In the open transaction, after apply or redo: n numbers from *first on, then the entries that bear them. */
	enum rc (*ids)(struct sink *s, int n, int64_t *first, struct err *err);
	enum rc (*put)(struct sink *s, const struct parked_entry *e, int n, struct err *err);

	/* A truncate makes void what is parked of its table; *n: how many. In the open transaction. */
	enum rc (*drop_table)(struct sink *s, const struct table *tbl, int64_t *n, struct err *err);

	/*
	 * What a table's columns are called from change (seq, index) on, for those that come back later (consumer/names.h): noted where a
	 * version begins, before anything of it is applied. names of the versions that began after a change, oldest first, in a.
	 */
	enum rc (*note_names)(struct sink *s, struct slice schema, struct slice table, const struct names_at *at, const char *names,
	    struct err *err);
	enum rc (*names)(struct sink *s, const struct parked_entry *e, struct arena *a, const char ***out, int *n, struct err *err);

	/* The other lanes have to read the keys again. In the open transaction, at a barrier. */
	enum rc (*tell_lanes)(struct sink *s, struct err *err);

	/*
	 * For `towline dlq`. lock opens a transaction at the marker where it stands (*at; commit takes the
	 * same) and keeps every consumer waiting, all lanes. try applies the rows of b in exact order, all or none:
	 * REJECT, with the sentence of the first that fails, leaves the transaction as it was; *rows: how
	 * many went in before. remove drops entries and raises the version.
	 */
	enum rc (*lock)(struct sink *s, struct marker *at, struct err *err);
	enum rc (*read)(struct sink *s, const struct parked_query *q, struct arena *a, struct parked_entry **out, int *n, struct err *err);
	enum rc (*try)(struct sink *s, const struct batch *b, int *rows, struct err *err);
	enum rc (*remove)(struct sink *s, const int64_t *ids, int n, struct err *err);
};

/* How far a partition is (consumer/session_position.c; of a foreign topic: consumer/foreign.h). */
struct position {
	const char *topic;
	int32_t partition;
	int64_t next;          /* offset of the first record that is not applied */
	int64_t value_id;      /* foreign: schema of the last value seen; 0: none yet */
};

/*
 * Verdicts as above. read: synchronous, after marker, without a transaction. write: in the open one, after apply or redo, once read
 * was called; it may only queue.
 */
struct position_ops {
	enum rc (*read)(struct sink *s, struct arena *a, struct position **out, int *n, struct err *err);
	enum rc (*write)(struct sink *s, const struct position *p, int n, struct err *err);
};

/* What every sink begins with. */
struct sink {
	const struct sink_ops *ops;
	const struct conf_sink *conf;
	const char *pipeline;      /* conf->name */
	const struct table *begins; /* for prepare: the version whose first row comes now, all before it is applied; else NULL */
	bool busy;                 /* rows of the last apply are on their way yet, some with each settle(1): a commit would wait for them */
	bool as_is;                /* prepare changes nothing: REJECT where the sink does not fit (`towline dlq`) */
	bool shared;               /* names change hands by token (consumer/lane.h): do not keep others away */
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
