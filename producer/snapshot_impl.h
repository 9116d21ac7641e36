/*
 * snapshot_impl.h - inside of the snapshot: snapshot.c knows the tables and their progress, snapshot_chunk.c what is being read and
 * published. For these only.
 */
#ifndef PRODUCER_SNAPSHOT_IMPL_H
#define PRODUCER_SNAPSHOT_IMPL_H

#include "producer/copier.h"
#include "producer/copy.h"
#include "producer/recopy.h"
#include "producer/snapshot.h"
#include "producer/window.h"
#include "schemas/control.h"

enum { SNAPSHOT_CHUNKS = 2 }; /* on their way, for each connection */

struct chunk;

/* A range as it is read. */
struct reach {
	char *at;            /* read up to here; NULL: nothing yet */
	bool end;            /* all was read */
	struct chunk *busy;  /* is read from now */
	int64_t retry_ms;    /* not before */
};

/* A table of the publication. */
struct member {
	struct member *next;
	char *schema, *name;
	struct copy copy;
	bool unwritten;      /* the record has changed since it was put */
	int64_t written_ms;
	/* of the session: */
	struct copy_table *table; /* NULL: to be looked at */
	bool planning;
	bool truncate;            /* without key: the sinks may have rows of it */
	struct copy_snapshot seen; /* copy.seen; of whole number its mark is, and the group behind which nothing of it comes again */
	uint64_t seen_number, passed;
	bool stale;               /* table is to be looked at again, when no chunk refers to it */
	struct reach *reaches;    /* copy.nranges; NULL: not begun */
	int chunks;               /* that refer to table */
	int rows_max;             /* of the next chunk */
	int64_t retry_ms, early_ms, unseen_ms, told_ms, told_rows; /* unseen_ms: since when no chunk sees what was streamed; 0: it does */
	char *pending;            /* a command that came while nobody was there */
	bool recorded;            /* the record is there */
	bool in;                  /* the publication had it at the last look */
};

enum chunk_state {
	CHUNK_READING,   /* the job is a copier's */
	CHUNK_AWAITED,   /* read: the stream is to pass its mark */
	CHUNK_READY,     /* it has */
	CHUNK_SENT,      /* in groups up to `no` */
};

struct chunk {
	struct chunk *next;  /* in order of number */
	uint64_t number;
	enum chunk_state state;
	bool dead;           /* given up while it was read */
	struct member *m;
	int range;
	struct job *job;
	struct window *window;
	const struct table *seen; /* the stream's version of the table when the window was opened; NULL: none */
	uint32_t place;      /* transactions streamed before */
	struct txn mark;     /* READY: the transaction of the mark */
	uint64_t no;         /* SENT */
	int64_t rows;
};

enum whole_state {
	WHOLE_NONE,
	WHOLE_ASKED,   /* the mark was written */
	WHOLE_HELD,    /* the stream has come to it and is held */
	WHOLE_COPYING, /* there is a snapshot: rows come */
	WHOLE_SENT,    /* all are in groups up to `no`; the stream goes on */
};

/* A table without key, one at a time. */
struct whole {
	enum whole_state state;
	struct member *m;
	uint64_t number, no;
	struct txn mark;
	struct copiers *copiers;   /* its own, with a transaction each */
	struct share share;
	uint64_t idle;             /* bit n: copier n + 1 has nothing to do, and something may be left */
	int given;                 /* jobs */
	int64_t held_ms, again_ms, told_rows;
	char *seen;
	const struct table *tbl;
	bool in_txn, began, truncated;
	bool broken;               /* given up with a part of its transaction out: the session ends, which makes that void */
	struct job *first;         /* rows, in any order */
	size_t bytes;              /* of them all */
	int row;
	size_t at;                 /* in the rows of the first */
	struct arena arena;        /* the row at hand */
};

struct snapshot {
	const struct kafka *kafka;
	const struct conf *conf;
	struct source *source;   /* of the session; NULL: between two */
	PGconn *sql;
	struct control *control; /* NULL: embedded, or not opened */
	struct copiers *copiers; /* NULL: nothing to do */
	struct member *members;
	bool off;                /* the source copies by itself: */
	struct recopy *recopy;   /* ... what is asked for */
	bool known;              /* the record `snapshot` is there */
	bool embedded_open;      /* the publication's comment says that a copy is unfinished */
	int nopen, nseen;        /* members whose copy is open; with copy.seen */
	struct chunk *chunks;
	int nchunks;
	uint64_t number, token;
	int64_t look_ms, control_ms;
	/* Transactions that were streamed, of those that no snapshot was known to see yet. */
	struct streamed {
		uint32_t xid, place;
	} *streamed;
	int nstreamed, streamed_cap;
	int prune_at;
	uint32_t place;
	const struct table *last_tbl; /* of the last change: */
	struct member *last_member;
	struct arena change_arena;
	struct slice mark;       /* content of the transaction at hand; in mark_arena */
	struct arena mark_arena;
	/* The chunk that is being published. */
	struct {
		struct chunk *chunk;
		const struct table *tbl;
		bool in_txn, first;    /* first: no row of it was given yet */
		const struct value *have;    /* the row that comes next, in arena */
		size_t at, row_bytes, piece, piece_max; /* place in the rows; bytes of the row, of the transaction at hand */
		int row, pieces;
		struct arena arena;
	} out;
	struct whole whole;
	uint64_t sent;           /* newest group that has rows */
};

/* snapshot.c */
struct member *snapshot_member(struct snapshot *s, struct slice schema, struct slice name);
void snapshot_written(struct snapshot *s, struct member *m, bool now); /* the record has changed; now: put it at the next turn */
/* Its copy is tried again, and why; told once. */
void snapshot_waits(struct snapshot *s, struct member *m, const char *reason);
/* Its copy ends so; what is on its way is given up. */
void snapshot_fail(struct snapshot *s, struct member *m, enum copy_state state, const char *reason);

/* Which rows of the table are copied: of those of `rows:` the ones that were asked for; NULL: all. In a. */
const char *member_where(const struct snapshot *s, const struct member *m, struct arena *a);

void snapshot_forget_reaches(struct member *m);

/* snapshot_work.c */
enum rc snapshot_give(struct snapshot *s, struct err *err) MUST_CHECK; /* as much as the copiers can do */
void snapshot_take_job(struct snapshot *s, struct job *j);

/* snapshot_chunk.c */
void chunk_begin(struct snapshot *s, struct member *m, int range);
void chunk_read(struct snapshot *s, struct job *j); /* a copier has done it */
void chunks_accept(struct snapshot *s, uint64_t accepted);
void chunks_drop(struct snapshot *s, const struct member *m); /* NULL: all; those being read are only given up */
void streamed_prune(struct snapshot *s, const struct copy_snapshot *seen);

/* It waits for transactions older than the copy; for what was streamed to be seen by others. Once it is long, say why. */
void snapshot_tell_early(struct snapshot *s, struct member *m);
void snapshot_tell_unseen(struct snapshot *s, struct member *m);

/* snapshot_whole.c */
enum rc whole_ask(struct snapshot *s, struct member *m, struct err *err) MUST_CHECK; /* unless another one is at it */
void whole_mark(struct snapshot *s, struct slice content, const struct txn *txn);
enum rc whole_turn(struct snapshot *s, uint64_t accepted, struct err *err) MUST_CHECK;
bool whole_ready(const struct snapshot *s);
enum rc whole_next(struct snapshot *s, struct source_event *ev, struct err *err) MUST_CHECK;
void whole_end(struct snapshot *s, int64_t retry_ms); /* broken stays, where it ends in the middle of its transaction */
void whole_forget(struct member *m); /* copy.seen */

#endif
