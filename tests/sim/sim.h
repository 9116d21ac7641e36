/*
 * sim.h - one world: a source database, logs, up to three producers, one sink and up to two
 * consumers, from one seed.
 *
 *   source ──▶ writer (grouping, inflight) ──▶ logs ──▶ reader (follow, assemble, batch) ──▶ sink
 *     ▲           │ read back                   │                                            │
 *     └ confirmed ┘                             └ truth            compared with the source ─┘
 *
 * What decides is the shipped code; what is here stands for Kafka, PostgreSQL, the clock, and the
 * loops of producer.c and consumer.c.
 * A step is one action of one of them. Everything of a world lives in its arena.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "consumer/assemble.h"
#include "consumer/follow.h"
#include "producer/grouping.h"
#include "tests/unit/random.h"

enum {
	TABLES = 3,
	KEYS = 6,
	COLS = 3,  /* id, a, b; b is left out where it did not change, like a TOAST value */
	PARTS = 3, /* partitions of a table at most */
	SPINE = TABLES * PARTS,
	LOGS = SPINE + 1,
	WRITERS = 3,
	READERS = 2,
	SYSTEM_ID = 77,
};

/* Mistakes on purpose, in this shell: each must be found. tests/sim/planted.sh */
enum plant {
	PLANT_NONE,
	PLANT_LSN_ONLY,	     /* rows are told apart by commit LSN alone */
	PLANT_NO_READ_BACK,  /* confirmed when the GROUP is acknowledged */
	PLANT_CONFIRM_EARLY, /* confirmed when the commit was decoded */
	PLANT_GROUP_EARLY,   /* GROUP before its rows are acknowledged */
	PLANT_NO_CAS,	     /* the sink takes any expected marker */
	PLANT_ANY_GEN,	     /* a zombie's records count */
	PLANT_ALL_ROWS,	     /* every row in a group's range is taken for one of it */
	PLANT_NO_CUT,	     /* a transaction that OPEN cuts short is kept */
	PLANT_N
};

/* What may happen in a world: each seed has some of it. */
enum feature {
	F_KILL_WRITER,
	F_PAUSE_WRITER,
	F_MORE_WRITERS, /* a second one starts while the first is at work */
	F_GHOSTS,	/* what a dead writer had sent arrives later */
	F_DROP_SOURCE,	/* the replication connection breaks */
	F_STALL,	/* reading back is slow */
	F_REPEAT,	/* records twice in the log: sent again after a lost answer */
	F_FOREIGN,	/* somebody else's records between the rows */
	F_HOLES,	/* offsets that are not used */
	F_KILL_READER,
	F_PAUSE_READER,
	F_TWO_READERS,
	F_SINK_CRASH,
	F_LOST_ANSWER, /* of a COMMIT */
	F_LAG,	       /* partitions are seen at different times */
	F_HUGE,	       /* transactions over many groups */
	F_EMPTY,       /* transactions of nothing ours */
	F_MOVES,
	F_TRUNCATES, /* TRUNCATE TABLE */
	F_USUAL,     /* those before are on or off by a coin, those behind are rare */
	F_LONG = F_USUAL,
	F_LOSE_ROWS, /* an unclean leader: the tail of a topic is gone */
	F_LOSE_SPINE,
	F_N
};

/* Moments at which somebody was killed, for the summary: anchors of the fault plan. */
enum moment {
	M_OPENING,	 /* OPEN sent, not read back */
	M_OPENED,	 /* between OPEN and the first GROUP */
	M_BEGIN,	 /* BEGIN decoded */
	M_ROWS_SENT,	 /* rows sent, not all acknowledged */
	M_ROWS_ACKED,	 /* all acknowledged, no GROUP */
	M_GROUP_SENT,	 /* GROUP sent, not in the log */
	M_GROUP_STANDS,	 /* in the log, not read back */
	M_READ_BACK,	 /* read back, not confirmed */
	M_READER_BATCH,	 /* rows read */
	M_READER_MARKER, /* marker written */
	M_READER_ROWS,	 /* rows written */
	M_READER_COMMIT, /* COMMIT sent, answer lost */
	M_READER_NOTED,	 /* committed, not noted */
	M_SINK,		 /* the sink's database, with a transaction open */
	M_N
};

/* ---- source ---- */

struct cell {
	bool there;
	int a, b;
};

struct tables {
	struct cell rows[TABLES][KEYS];
};

struct edit {
	char op;	    /* OP_CREATE, OP_UPDATE, OP_DELETE, OP_TRUNCATE */
	int table, key, to; /* to: the new key */
	int a, b;
	bool keeps_b;
};

struct source_txn {
	uint64_t commit_lsn, end_lsn, idle_lsn, seq; /* seq 0: nothing ours in it */
	int64_t commit_us;
	struct edit *edits;
	int n;
	struct tables after;
};

/* ---- logs ---- */

enum half { HALF_ROW, HALF_TOMBSTONE, HALF_FROM, HALF_TO };

struct rec {
	int64_t offset;
	struct slice tl;    /* n 0: none */
	struct slice bytes; /* spine */
	uint64_t hash;
	const struct edit *edit;
	enum half half;
};

struct log {
	struct rec *recs;
	int n, cap;
	int64_t end;
};

/* A record on its way to a log, and the answer back: in order within a log, in any order between them. */
struct mail {
	struct mail *next;
	struct rec rec;
	uint64_t no;	    /* the group it is a row of; on the spine: the group it announces */
	uint64_t watermark; /* of a GROUP */
	int64_t offset;
};

struct queue {
	struct mail *head, **tail;
	int n;
};

/* ---- writers and readers ---- */

enum phase { DEAD, START, OPENING, RUN, REFUSED };

struct writer {
	int number;
	enum phase phase;
	bool paused, connected;
	struct grouping g;
	int spine_at;	    /* index in the log */
	int64_t spine_next; /* offset */
	int txn, pos;	    /* place in the source's stream; pos -1: before BEGIN */
	int buffered;	    /* events it still has when the connection is gone */
	uint64_t groups;    /* announced in this session */
	int waits;
	struct queue out[LOGS], acks[LOGS];
};

enum step { S_FETCH, S_ROWS, S_BEGIN, S_APPLY, S_COMMIT, S_COMMITTED };

struct head {
	struct rec rec;
	struct tl tl;
};

struct reader {
	int number;
	enum phase phase;
	bool paused;
	enum step step, after;
	bool streaming, open;
	int epoch; /* of the sink it is connected to */
	struct follow f;
	struct arena arena; /* the group at hand */
	struct spine_record group;
	struct spine_at at;
	struct assemble as;
	struct head *heads;
	struct batch batch;
	int64_t spine_next, next[LOGS]; /* -1: not started */
	int waits;
	uint64_t last_lsn; /* PLANT_LSN_ONLY */
	uint64_t last_seq;
};

struct applied {
	uint64_t seq, index;
	char op;
	int table, key, to, a, b;
	bool keeps_b;
};

struct sim_sink {
	int epoch, owner; /* owner: the reader whose transaction is open, -1: none */
	struct tables tables, work;
	struct marker marker;
	struct applied *rows; /* of the open transaction */
	int nrows, cap;
	const char *unfit; /* what the open transaction was asked and cannot be */
};

struct stats {
	uint64_t steps, commits, groups, rows, orphans, foreign, cuts, fenced, lost_opens, cas,
	    refused, detected, restarts, moments[M_N], features[F_N];
};

struct world {
	uint64_t seed;
	struct rng rng;
	enum plant plant;
	bool verbose, quiet;
	bool on[F_N];
	struct arena arena;
	int64_t now_ms;
	struct table tbl[TABLES];
	int parts, nwriters, nreaders, tail_min, batch_rows;
	uint64_t group_rows;
	struct source_txn *txns;
	int ntxns, committed;
	int *by_seq; /* seq -> index in txns */
	uint64_t last_seq;
	bool slot;
	uint64_t confirmed;
	struct log logs[LOGS];
	struct queue ghosts[LOGS];
	struct spine_state truth; /* what the whole spine says */
	bool lost;		  /* a tail was cut off: being refused is right now */
	bool refused;
	struct writer writers[WRITERS];
	struct reader readers[READERS];
	struct sim_sink sink;
	struct stats *stats;
};

/* A rule is broken: print what and how to see it again, exit 1. */
_Noreturn void broken(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A line of the story, with -v. */
void tell(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define TELL(w, ...) \
	do { \
		if ((w)->verbose) \
			tell(w, __VA_ARGS__); \
	} while (0)

/* Somebody stops for good because going on would lose data: only right when a log has lost its tail. */
void refuse(struct world *w, const char *who, int number, const char *why);

/* source.c: all transactions that will be, and the tables after each. */
void source_make(struct world *w);
void source_confirm(struct world *w, uint64_t lsn);
int table_log(const struct world *w, int table, int key);

/* log.c */
void log_append(struct world *w, int log, const struct rec *rec);
void log_lose_tail(struct world *w, int log);
const struct rec *log_at(
    const struct log *l, int64_t offset); /* the first at or behind it, NULL: none */
void mail_put(struct world *w, struct queue *q, const struct mail *m);
struct mail *mail_take(struct queue *q);

/* writer.c */
void writer_start(struct world *w, struct writer *wr);
void writer_kill(struct world *w, struct writer *wr);
void writer_step(struct world *w, struct writer *wr);
bool writer_deliver(struct world *w,
    struct writer *wr); /* one record of it reaches its log; false: none is on its way */

/* reader.c */
void reader_kill(struct world *w, struct reader *rd);
void reader_step(struct world *w, struct reader *rd);
void reader_free(struct reader *rd);

/* sink.c */
enum sink_answer { SINK_DONE, SINK_WAIT, SINK_MOVED, SINK_GONE };
enum sink_answer sink_begin(struct world *w, const struct reader *rd);
enum sink_answer sink_apply(struct world *w, struct reader *rd);
enum sink_answer sink_commit(struct world *w, const struct reader *rd);
void sink_rollback(struct world *w, const struct reader *rd);

#endif
