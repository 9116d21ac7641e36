/*
 * grouping.h - which changes make a group, what a writer says in the spine and when, and what the source may forget.
 *
 *   look at the spine -> OPEN sent -> read back -> changes into groups -> GROUP (rows acknowledged) -> read back -> confirmed
 *
 * The rules of a writer, without Kafka, source or clock: producer.c asks here and does what it is told, and the simulation
 * (tests/sim) runs the same. A writer believes nothing about itself that it has not read back.
 */
#ifndef PRODUCER_GROUPING_H
#define PRODUCER_GROUPING_H

#include "core/event.h"
#include "producer/inflight.h"
#include "schemas/spine.h"

struct grouping {
	uint64_t rows_max;         /* of a group; then it is cut */
	size_t bytes_max;
	bool uncut;                /* ... but never inside a transaction: for readers to whom a Kafka transaction must be a whole one */
	bool awaited;              /* commits at the source wait for what is confirmed */
	bool embedded;             /* the broker's memory is this process's: only what the sinks have is safe */
	uint64_t system_id;        /* of the source */
	uint32_t timeline;
	struct spine_state state;  /* by what was read back: the only truth */
	struct inflight inflight;
	struct group *group;       /* being filled, or NULL */
	int64_t group_ms;          /* when its first change came */
	bool group_whole;          /* it ends at a transaction's end */
	int64_t commit_us;         /* of the transaction at hand */
	bool in_txn, skipping;
	bool barrier;              /* the change at hand is one that other lanes must wait for */
	uint64_t txn_rows;
	struct place place;        /* of the next record; seq of the transaction at hand */
	uint64_t token;
	uint64_t idle_lsn;         /* nothing of ours up to here */
	uint64_t beat_lsn;         /* watermark of the last BEAT sent */
	int64_t beat_ms;
	uint64_t heard;            /* changes with what was read back, since heard_ms the same while something is awaited */
	int64_t heard_ms;
	uint64_t watermark;        /* of the newest complete transaction or BEAT sent: never goes back */
	uint64_t safe_lsn;         /* may be confirmed */
	bool opened;               /* our OPEN was read back and counts */
	bool torn;                 /* one offset was acknowledged for two rows: Kafka lost the first. Begin anew, the rows are sent again */
};

enum grouping_verdict {
	GROUPING_ON,        /* go on */
	GROUPING_PUBLISHED, /* the group r->no of ours counts */
	GROUPING_LOST,      /* another opener was first: look again, and open anew */
	GROUPING_FENCED,    /* another opened after us: stop */
	GROUPING_GAP,       /* records are missing in the spine */
};

/*
 * state is what the spine's reader made of it: the OPEN to send (its node and reason are the caller's). token: random,
 * positive as a long.
 */
struct spine_record grouping_open(struct grouping *g, uint64_t token);

/* A spine record that was read, from the look at the spine on, each once and in order. */
enum grouping_verdict grouping_read_back(struct grouping *g, const struct spine_record *r);

/* Our OPEN was read back: changes may come. confirmed: where the source begins. */
void grouping_ready(struct grouping *g, uint64_t confirmed);

/* ---- the source's events, when there is room ---- */

/* A group is open, or may be opened. */
bool grouping_room(const struct grouping *g);

void grouping_begin(struct grouping *g, const struct txn *txn);

/*
 * Must readers stop at this change? At the first of a new table version, which may rename what
 * is behind it; at a truncate; and when a row moves to another key without all of its values (unchanged TOAST):
 * the reader of the new key's partition has them only once the reader of the old key's has come so far.
 */
bool grouping_apart(const struct change *ch);

/*
 * Before each change: such changes have groups of their own, marked SPINE_BARRIER, so that what comes before and behind them is told
 * apart in every partition.
 */
void grouping_barrier(struct grouping *g, bool barrier);

/* The group that the change goes into, NULL: the change is in Kafka already. Then send its records and call grouping_sent. */
struct group *grouping_change(struct grouping *g, int64_t now_ms);
void grouping_sent(struct grouping *g);

void grouping_commit(struct grouping *g, const struct txn *txn);
void grouping_idle(struct grouping *g, uint64_t lsn);

/* Close a group that is whole. */
void grouping_close(struct grouping *g);

/* ---- what to say, what to confirm ---- */

/* The next GROUP to send (its parts are the group's), NULL: none. */
const struct group *grouping_announce(struct grouping *g, struct spine_record *r);

/* A BEAT is due: it moves the watermark of an idle source. */
bool grouping_beat(struct grouping *g, int64_t now_ms, struct spine_record *r);

/* What was written into the spine is not read back for a minute: Kafka acknowledged and lost it, or is away. Begin anew. */
bool grouping_overdue(struct grouping *g, int64_t now_ms);

/*
 * What the source may forget, and does: asked with another `no` it would forget more. Groups beyond number `no` are needed yet
 * (UINT64_MAX: none is, once it was read back).
 */
uint64_t grouping_safe(struct grouping *g, uint64_t no);

#endif
