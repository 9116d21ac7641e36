/*
 * session.h - one run of a consumer from the sink's marker on: what its parts share. Private to consumer.c (spine, lanes, the loop),
 * session_sink.c (the sink's transactions) and session_rows.c (the rows of a group).
 */
#ifndef CONSUMER_SESSION_H
#define CONSUMER_SESSION_H

#include "consumer/aside.h"
#include "consumer/chunk.h"
#include "consumer/decode.h"
#include "consumer/fetch.h"
#include "consumer/follow.h"
#include "consumer/lane.h"
#include "consumer/lanes.h"
#include "consumer/teller.h"
#include "core/flow.h"
#include "core/gauge.h"
#include "core/stop.h"


/* A sink transaction that was sent: kept until the sink has confirmed it, in case it must be redone. */
struct sent {
	struct batch batch;
	struct marker expected, next;
	struct position *positions; /* that moved; in the batch's arena */
	int npositions;
	uint64_t rows;
	bool busy;
	bool due;                  /* all rows were sent; its commit waits for the sink to have taken them */
};

struct session {
	const struct kafka *kafka;
	const struct conf_sink *conf;
	struct flow *flow;
	int number;
	struct gauge *gauge;
	char at[80];               /* "sink NAME", for the log */
	struct sink *sink;
	struct fetch *fetch;
	struct decode *decode;
	struct deadletter *dead;
	struct parked parked;      /* keys at the sink that wait */
	struct teller *teller;     /* commits at the source wait for this sink; else NULL */
	struct applied has;        /* what it has committed, and under which OPEN it was read */
	struct fetch_part *spine;
	struct follow *f;          /* what is true, where the marker stands; outlives the session */
	struct sent sent[2];
	int fill;                  /* the one being filled */
	bool open;                 /* a sink transaction is open: begin was called */
	bool first;                /* no group yet in this session */
	uint64_t gen;              /* of the last group */
	bool from_start;           /* positions are kept since the spine's beginning */
	bool tell_start;           /* and the sink is to be told so */
	bool cut;                  /* ends to begin anew at once: follow.h */
	struct lane *lane;         /* apply: key; NULL: whole transactions */
	struct spine_at last;      /* lane: place of the last record that counted, and its system id */
	uint64_t last_system;
	bool barrier;              /* lane: the rows at hand are a barrier's */
	uint64_t taken;            /* rows */
	size_t batch_bytes;        /* most in one batch */
	const struct table *asked; /* the last table that the sink was asked about, and its answer */
	bool wanted;
	struct chunk chunk;        /* a large row that is being joined, in the arena of the batch */
	rd_kafka_message_t **parts; /* its messages so far, where they may have to be set aside */
	int nparts, partcap;
	int64_t parts_offset;      /* of the first */
	struct arena group_arena;  /* the group's record and its assembly */
	uint64_t rows_committed;
	int64_t marked_ms;
	bool committed;            /* this session has got something done */
	bool ours;                 /* this process has, before */
	int64_t stop_ms;           /* when the stop was first seen */
	int64_t heard_ms;          /* of the spine */
	int64_t trimmed_ms;        /* when the heap was looked at last */
};
static inline void
release_message(void *msg)
{
	rd_kafka_message_destroy(msg);
}

/* The program, or this lane, is asked to end. */
static inline bool
stopping(const struct session *s)
{
	return stop_requested() || gauge_stopped(s->gauge) || (s->lane && atomic_load(&s->lane->stop));
}

static inline struct batch *
filling(struct session *s)
{
	return &s->sent[s->fill].batch;
}


/* ---- session_sink.c ---- */

/* Shown to whoever looks: what the sink has. */
void session_show(struct session *s, const struct marker *at);

/* Everything up to group no is here; the producer may be waiting for that. */
void session_applied(struct session *s, uint64_t no);

/*
 * Commits at the source may wait to hear what this sink has: tell it, if there is news, or it was told a while ago. Of a sink that is
 * being made anew nothing is told before it is whole. Verdicts as of teller_look.
 */
enum rc session_tell(struct session *s, struct err *err) MUST_CHECK;

/* The keys that wait at the sink, as they are now. */
enum rc session_load_parked(struct session *s, struct err *err) MUST_CHECK;

/* Wait until at most `most` sent transactions are unconfirmed, and let go of those that are. */
enum rc session_settle(struct session *s, int most, struct err *err) MUST_CHECK;

/* A bit of what is on its way into the sink while others are read, without a wait; and the commit behind it, when all is there. */
enum rc session_pump(struct session *s, struct err *err) MUST_CHECK;

/* Commit what the batch being filled holds; whole transactions only. */
enum rc session_flush(struct session *s, struct err *err) MUST_CHECK;

/* The first row of a table version that follows another: the sink is made to fit at once. Verdicts as of prepare. */
enum rc session_begins(struct session *s, const struct table *tbl, const struct names_at *at, struct err *err) MUST_CHECK;

/* The batch is full inside a source transaction: send its rows, and leave the sink transaction open. */
enum rc session_stream(struct session *s, struct err *err) MUST_CHECK;

/* ---- session_position.c ---- */

/* Tell fetch where the sink stands in each partition. After the marker, and before anything is fetched. */
enum rc session_load_positions(struct session *s, struct err *err) MUST_CHECK;

/* t is complete: what moved since the one before it. Then, in its transaction, each time that it is sent. */
void session_note_positions(struct session *s, struct sent *t);
enum rc session_put_positions(struct session *s, const struct sent *t, struct err *err) MUST_CHECK;

/* ---- session_rows.c ---- */

/* All rows of the group, in the order of the source, into batches. AGAIN: asked to stop. */
enum rc session_take_rows(struct session *s, const struct spine_record *g, struct err *err) MUST_CHECK;

/* The rows are another lane's work: read over them, so that what lies before them is not missed. AGAIN: asked to stop. */
enum rc session_pass_rows(struct session *s, const struct spine_record *g, struct err *err) MUST_CHECK;
bool session_full(struct session *s);

/* ---- consumer.c ---- */

/* With a producer in the same process: go on until everything that it published is here. */
bool session_finished(struct session *s);

#endif
