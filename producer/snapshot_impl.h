/*
 * snapshot_impl.h - inside of the snapshot: snapshot.c knows the tables and their progress, snapshot_chunk.c what is being read and
 * published, snapshot_stop.c what cannot be published. For these only.
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
	bool emptied;             /* copy.empty: its TRUNCATE went out in this session, and its changes go on */
	uint64_t emptied_no;      /* in groups up to this one; 0: not known yet */
	const struct table *refused; /* STOPPED: the stream's newest version of it; NULL: none has come in this session */
	const struct table *told; /* STOPPED: the one that copy.reason is about */
	int64_t try_ms;           /* STOPPED: when it is tried again */
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

enum empty_state {
	EMPTY_NONE,
	EMPTY_ASKED,   /* the mark was written */
	EMPTY_READY,   /* the stream has come to it */
};

/* A table with a key whose sinks are to be emptied before its rows come, one at a time. */
struct empty {
	enum empty_state state;
	struct member *m;
	uint64_t number;
	struct txn mark;
	const struct table *tbl;
	bool in_txn, told;
};

enum unfinished { UNFINISHED_NONE, UNFINISHED_COPY, UNFINISHED_EMPTY };

struct snapshot {
	const struct kafka *kafka;
	const struct conf *conf;
	struct gauge *gauge;
	bool shows_stopped;      /* ... tells of a stopped table */
	struct source *source;   /* of the session; NULL: between two */
	PGconn *sql;
	struct control *control; /* NULL: embedded, or not opened */
	struct copiers *copiers; /* NULL: nothing to do */
	struct member *members;
	bool off;                /* the source copies by itself: */
	struct recopy *recopy;   /* ... what is asked for */
	bool known;              /* the record `snapshot` is there */
	int embedded_said;       /* what the publication's comment says, of enum unfinished */
	int nopen, nseen, nempty; /* members whose copy is open; with copy.seen; with copy.empty */
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
	struct empty empty;
	uint64_t sent;           /* newest group that has rows */
};

/* snapshot.c */
struct member *snapshot_member(struct snapshot *s, struct slice schema, struct slice name);
struct member *snapshot_add_member(struct snapshot *s, struct slice schema, struct slice name);
void snapshot_written(struct snapshot *s, struct member *m, bool now); /* the record has changed; now: put it at the next turn */
enum rc snapshot_put(struct snapshot *s, struct member *m, struct err *err) MUST_CHECK; /* the record, and in Kafka when it returns */
/* Its copy is over, one way or the other, or begins from the start: what is on its way is given up. */
void snapshot_leave(struct snapshot *s, struct member *m);
/* From the beginning, with that condition; NULL: all rows. */
void snapshot_restart(const struct snapshot *s, struct member *m, const char *where);
/* Its copy is tried again, and why; told once. */
void snapshot_waits(struct snapshot *s, struct member *m, const char *reason);
/* Its copy ends so, COPY_STOPPED instead of COPY_FAILED where its changes wait for it; what is on its way is given up. */
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

/* snapshot_comment.c: say what is unfinished, if it is not said; read what was said, into embedded_said */
enum rc comment_put(struct snapshot *s, struct err *err) MUST_CHECK;
enum rc comment_look(struct snapshot *s, struct err *err) MUST_CHECK;

/* snapshot_stop.c */
/* Its sinks are to be emptied first, and nothing of it goes out before that. */
static inline bool
member_is_void(const struct member *m)
{
	return m->copy.empty && !m->emptied;
}

/* The member that is that table, under whatever name it was stopped; NULL: none is. */
struct member *stopped_as(struct snapshot *s, uint32_t relid);
bool stopped_here(const struct snapshot *s); /* is there one, or one whose TRUNCATE is not in the spine yet? */
void stop_change(struct snapshot *s, struct member *m, const struct table *tbl); /* one of such a table was passed over */
void stop_revive(struct snapshot *s, struct member *m); /* its copy begins anew, and with it its changes */
void stop_revive_later(struct snapshot *s, struct member *m); /* the same, unless it was stopped just now */
void stop_revive_lost(struct snapshot *s, struct member *m); /* it may have been stopped, and nobody knows */
void stop_turn(struct snapshot *s, uint64_t accepted);
enum rc stop_try(struct snapshot *s, struct publisher *p, struct err *err) MUST_CHECK; /* can they be published by now? */
enum rc empty_ask(struct snapshot *s, struct member *m, struct err *err) MUST_CHECK; /* unless another one is at it */
void empty_mark(struct snapshot *s, struct slice content, const struct txn *txn);
bool empty_ready(const struct snapshot *s);
enum rc empty_next(struct snapshot *s, struct source_event *ev, struct err *err) MUST_CHECK;
void empty_end(struct snapshot *s);
void member_emptied(struct snapshot *s, struct member *m, const struct table *tbl); /* its TRUNCATE goes out now */

/* snapshot_whole.c */
/* Write a logical message of ours into the source's log, by which the stream tells when it has come to here: WHAT TOKEN NUMBER. */
enum rc snapshot_emit(struct snapshot *s, const char *what, uint64_t number, struct err *err) MUST_CHECK;
/* The number of a mark of this process of that kind; 0: it is none. */
uint64_t snapshot_number(struct snapshot *s, struct slice content, const char *what);

/* Are transactions from before the table was published over? If not it is said once that is long. */
enum rc snapshot_early(struct snapshot *s, struct member *m, bool *early, struct err *err) MUST_CHECK;
enum rc whole_ask(struct snapshot *s, struct member *m, struct err *err) MUST_CHECK; /* unless another one is at it */
void whole_mark(struct snapshot *s, struct slice content, const struct txn *txn);
enum rc whole_turn(struct snapshot *s, uint64_t accepted, struct err *err) MUST_CHECK;
bool whole_ready(const struct snapshot *s);
enum rc whole_next(struct snapshot *s, struct source_event *ev, struct err *err) MUST_CHECK;
void whole_end(struct snapshot *s, int64_t retry_ms); /* broken stays, where it ends in the middle of its transaction */
void whole_forget(struct member *m); /* copy.seen */

#endif
