/*
 * spine.h - the records of the one-partition topic <name>.towline.spine, and the rules by which every reader agrees.
 *
 * A transaction exists iff a valid GROUP refers to its rows. OPEN{gen+1, prev_gen} counts only if prev_gen is
 * the current generation: compare-and-set by the order of one partition. GROUP and BEAT count iff their
 * generation and token are the current ones and, for GROUP, its number follows. Avro: spine.avsc. Pure.
 */
#ifndef SCHEMAS_SPINE_H
#define SCHEMAS_SPINE_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"

enum spine_kind { SPINE_GROUP = 0, SPINE_OPEN, SPINE_BEAT };

enum {
	SPINE_CONTINUES = 1, /* the first transaction's earlier rows are in the groups before */
	SPINE_MORE = 2,      /* the last transaction goes on in the next group */
	/*
	 * Truncates, changed keys that came without all values, and the first change of a new table
	 * version, alone: a reader by key waits for its other lanes before and behind; any reader
	 * applies what comes before, before it makes its tables fit.
	 */
	SPINE_BARRIER = 4,
};

/* Rows of one topic-partition that belong to a group: those in [first, last] whose header has the group's generation; count of them. */
struct spine_part {
	struct slice topic;
	int32_t partition;
	int64_t first, last, count;
};

struct spine_record {
	enum spine_kind kind;
	uint64_t gen, token;     /* token: drawn at random by the opener, so that two openers of one number differ */
	uint64_t no;             /* GROUP: dense number over all generations; OPEN, BEAT: of the last GROUP before it */
	uint64_t seq_from, seq_to; /* transactions of the group; OPEN, BEAT: seq_to = last published */
	uint32_t flags;
	uint64_t lsn;            /* commit LSN of the last transaction that is complete by this record */
	uint64_t watermark;      /* the source may forget its log up to here */
	int64_t first_us, commit_us; /* commit times of the first and last transaction, microseconds since 1970 */
	int64_t at_us;           /* when this record was written */
	uint64_t system_id;      /* of the source database */
	uint32_t timeline;
	struct slice node;       /* OPEN: who */
	uint64_t prev_gen;       /* OPEN */
	struct slice reason;     /* OPEN: start, promote ... */
	struct spine_part *parts; /* GROUP: its rows. OPEN of a takeover: what is before `first` of each is another's */
	int nparts;
};

/* Record <-> bytes: single-object framing, then Avro. Slices of the result point into msg, parts into a. REJECT: malformed. */
void spine_put(struct buf *out, const struct spine_record *r);
enum rc spine_take(struct slice msg, struct arena *a, struct spine_record *r, struct err *err) MUST_CHECK;

/* Where a reader of the spine stands. All zero: before the first record. */
struct spine_state {
	uint64_t gen, token, no, seq, lsn, watermark;
	uint64_t system_id;
	uint32_t timeline;
	int64_t commit_us;
	bool partial;            /* the last group had MORE: its transaction is not complete */
	bool started;            /* some record has been accepted */
};

enum spine_verdict {
	SPINE_ACCEPT,
	SPINE_STALE,  /* another generation, or an opener that lost: not part of history */
	SPINE_REPEAT, /* a group that was accepted before */
	SPINE_GAP,    /* its number does not follow: records are missing */
};

/*
 * Judge the next record and, when accepted, step. An accepted OPEN while `partial` means: the groups of the unfinished
 * transaction are void, whoever applied them rolls back (their transaction comes again under the new generation).
 */
enum spine_verdict spine_step(struct spine_state *s, const struct spine_record *r);

/*
 * A writer that is fenced has left at most so many records behind the OPEN that fenced it: it writes no more without reading back.
 * All groups that may be on their way, and a BEAT before them.
 */
enum { SPINE_UNREAD_MAX = 65 };

/*
 * Start in the middle: records of the tail of the spine, oldest first, more than SPINE_UNREAD_MAX of them (fewer only where the log
 * has no more). The state is that of an accepted record of the highest generation that a GROUP or BEAT carries, and the caller steps
 * through what follows. Returns the index of the first record to step through, n when the tail decides everything, -1 when it
 * does not tell (read further back).
 */
int spine_resume(struct spine_state *s, const struct spine_record *const *tail, int n);

#endif
