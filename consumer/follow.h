/*
 * follow.h - what a reader does with each record of the spine, and where the sink's marker stands then.
 *
 *   marker -> anchor -> spine record -> its rows, or nothing, or begin anew -> marker of the next sink transaction
 *
 * The rules of a reader, without Kafka, sink or clock: consumer.c asks here and does what it is told, and the simulation
 * (tests/sim) runs the same.
 */
#ifndef CONSUMER_FOLLOW_H
#define CONSUMER_FOLLOW_H

#include "consumer/batch.h"
#include "consumer/sink.h"
#include "schemas/header.h"
#include "schemas/spine.h"

/* A record of the spine in its place: what a marker remembers of it. */
struct spine_at {
	int64_t offset;
	uint64_t hash;             /* XXH3 of its bytes */
};

struct follow {
	struct spine_state state;
	struct marker applied;     /* what the sink will have when all that was sent is committed */
	struct marker next;        /* what it will have with the batch being filled */
	bool embedded;             /* the spine is the embedded broker's, and began with this process */
	uint64_t skip_lsn;         /* embedded: transactions up to here are in the sink already */
	uint64_t cut_gen, cut_seq; /* a transaction published in part and never finished, or 0; outlives a session */
	struct row *moved;         /* the delete half of a changed key, waiting for the other */
	struct row moved_row;
};

enum follow_verdict {
	FOLLOW_PASS,   /* no part of history, or known */
	FOLLOW_ORPHAN, /* a group that does not count: its rows are nobody's */
	FOLLOW_GROUP,  /* take its rows, then call follow_taken */
	FOLLOW_QUIET,  /* no rows. follow_mark may move the marker here when nothing waits */
	FOLLOW_MARK,   /* no rows. The marker was moved here: commit what there is, and it */
	FOLLOW_CUT,    /* what was read and not committed holds a transaction that never was: throw all of it away, begin at the marker */
	FOLLOW_GAP,    /* records are missing */
};

/*
 * Begin a session at the sink's marker. What f knew of a cut transaction stays. ours: the marker was written by this process, so that
 * also in the embedded broker its offset means something.
 */
void follow_start(struct follow *f, const struct marker *applied, bool embedded, bool ours);

/* The record at the marker's offset, read first: is it the one that the sink remembers? */
bool follow_anchored(const struct follow *f, struct spine_at at);

enum follow_verdict follow_spine(struct follow *f, const struct spine_record *r, struct spine_at at);

/* All rows of an accepted group are in the batch. True: so are its transactions, and the marker moves; false: the last one goes on. */
bool follow_taken(struct follow *f, const struct spine_record *r, struct spine_at at);

/* next is the place of the record that was accepted last. */
void follow_mark(struct follow *f, const struct spine_record *r, struct spine_at at);

/* Is this row of an accepted group one to apply? Not tombstones, not what the sink has, not a cut transaction. */
bool follow_wants(const struct follow *f, const struct tl *tl);

/* Rows that only the two halves of a changed key make: false: the delete waits for the create; then the two become one update, r. */
bool follow_join(struct follow *f, struct row *r, uint32_t flags);

#endif
