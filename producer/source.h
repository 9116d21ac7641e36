/*
 * source.h - where changes come from, as one stream of events in commit order.
 *
 * A source gives whole transactions one after another: BEGIN, changes, COMMIT. It never blocks: AGAIN means wait for
 * the descriptor. It may forget its log only up to what was confirmed.
 */
#ifndef PRODUCER_SOURCE_H
#define PRODUCER_SOURCE_H

#include "core/conf.h"
#include "core/event.h"
#include "producer/copy.h"

enum source_event_kind {
	SRC_BEGIN,
	SRC_CHANGE,
	SRC_COMMIT,
	SRC_MARK, /* a logical message of ours inside a transaction: its content is change.content */
	SRC_IDLE, /* nothing of ours up to lsn: it may be confirmed once nothing before it is pending */
};

/* Valid until the next call of next. */
struct source_event {
	enum source_event_kind kind;
	struct txn txn;       /* BEGIN: commit_lsn, commit_us, xid; COMMIT: all of it */
	struct change change; /* CHANGE. A table version's address names it for as long as the source is open */
	uint64_t lsn;         /* IDLE */
	size_t bytes;         /* of the message behind it */
};

/* Who the source is: compared with what the spine remembers. */
struct source_identity {
	uint64_t system_id;
	uint32_t timeline;
	uint64_t lsn;          /* end of its log now; 0: not known, as on a standby that may still be replaying */
	const char *database;
	uint64_t confirmed;    /* where the source would begin to send */
	bool exists;           /* its memory of us (the slot) is there */
};

/* What the spine has of the source. */
struct source_published {
	uint64_t upto;      /* nothing at or before it is needed again */
	uint64_t lsn;       /* of the last transaction; 0: none */
	int64_t commit_us;  /* its time, or that of a later one that is not complete; 0: not known */
};

/* name: SCHEMA.TABLE, which it may change; relid: table.relid of its versions, which it keeps. */
struct source_table {
	const char *name;
	uint32_t relid;
};

struct pgo;
struct known;
struct source;
struct source_ops {
	/* Connect and look; makes the publication when missing, but no slot. FATAL/EXIT_REFUSED: the slot is lost. */
	enum rc (*identify)(struct source *s, struct source_identity *out, struct err *err);
	/* Make the slot: changes count from *from on. AGAIN: stopped while it waited for older transactions. */
	enum rc (*create)(struct source *s, uint64_t *from, struct err *err);
	/* Where the source's history left the one of `timeline`: everything at or before *lsn is common. */
	enum rc (*fork)(struct source *s, uint32_t timeline, uint64_t *lsn, struct err *err);
	/*
	 * Start to stream. p: what the spine has; a source may pass over it, and need not. FATAL/EXIT_REFUSED: it can tell that what it
	 * has under that LSN is another transaction.
	 */
	enum rc (*start)(struct source *s, const struct source_published *p, struct err *err);
	/* OK: *ev is filled. AGAIN: wait for fd. */
	enum rc (*next)(struct source *s, struct source_event *ev, struct err *err);
	int (*fd)(struct source *s);
	/*
	 * Everything up to lsn is safe, and up to applied it is in the sinks that commits wait for (without synchronous.mode: applied says
	 * nothing, both are the same). Cheap; what is sent when is the source's affair, `now` (ms, monotonic) its clock.
	 */
	enum rc (*confirm)(struct source *s, uint64_t lsn, uint64_t applied, int64_t now_ms, struct err *err);
	/* The same with nothing new, while an event is at hand that has to wait: so that the source hears from us. NULL: it need not. */
	enum rc (*answer)(struct source *s, int64_t now_ms, struct err *err);
	/* About each second: look after tables that joined the pipeline, heartbeats, ... */
	enum rc (*tick)(struct source *s, int64_t now_ms, struct err *err);
	void (*close)(struct source *s);
	/* For the snapshot; all NULL where a source copies by itself. */
	/* The newest version of that relation in the stream, NULL: it has brought none. */
	const struct table *(*table)(struct source *s, uint32_t relid);
	/*
	 * Rows come that were read by this description of a table (which text stands for), from when `seen` was the stream's version of it:
	 * *tbl is the version that they are of, made when the stream has not brought it yet. AGAIN: the stream has gone on to another.
	 */
	enum rc (*adopt)(struct source *s, const struct pgo *relation, const char *text, const struct table *seen, const struct table **tbl,
	    struct err *err);
	/* True once, when its next change is the first of a version that follows another one: that change is `reshaped`. */
	bool (*begins)(struct source *s, uint32_t relid);
	/*
	 * yes: nothing of that version was published, and nothing of its table will be until no. What is told of later versions (reshaped,
	 * what became of the columns) is told against the last one that was published. May be said again.
	 */
	void (*refuse)(struct source *s, const struct table *tbl, bool yes);
	/* Where a source copies by itself, for who asks for more copies (producer/recopy.h); else both NULL. */
	/* Those that it has for this pipeline, in a. AGAIN: not to be had now. */
	enum rc (*tables)(struct source *s, struct arena *a, struct source_table **tables, int *n, struct err *err);
	/* The table is emptied and filled again in the stream, all of it up to *lsn. AGAIN: not now. */
	enum rc (*copy)(struct source *s, const char *name, uint64_t *lsn, struct err *err);
};

struct source {
	const struct source_ops *ops;
	const struct conf *conf;
	uint64_t end_lsn; /* of its log, as it was last told; 0: not told */
	struct copy_place accepted, sent; /* by the producer: the last group that was read back; the last that takes no more changes */
	unsigned tables_no; /* another number when `tables` may have another answer */
	struct known *known; /* versions of tables from before it was opened (producer/known.h); NULL: none */
	bool text; /* in text form, please: set by the source when it finds that no other will do, and given to the next one opened */
};

/* By conf->source_url. */
enum rc source_open(const struct conf *conf, struct source **out, struct err *err) MUST_CHECK;

enum rc source_pg_open(const struct conf *conf, struct source **out, struct err *err) MUST_CHECK;
enum rc source_sqlite_open(const struct conf *conf, struct source **out, struct err *err) MUST_CHECK;

#endif
