/*
 * inflight.h - groups on their way to Kafka, and the position that is safe to confirm.
 *
 *   open -> rows sent -> closed -> all rows acknowledged -> GROUP sent -> read back from the spine -> (sinks have it) -> gone
 *
 * Acknowledgements come in any order; GROUPs are sent oldest first, and the watermark moves oldest first. Pure: no
 * Kafka, no clock. The arithmetic here decides what the source may forget.
 */
#ifndef PRODUCER_INFLIGHT_H
#define PRODUCER_INFLIGHT_H

#include "core/arena.h"

enum { INFLIGHT_GROUPS = 64 };

/* Rows of one topic-partition in a group. slot: the publisher's dense number of the topic-partition. */
struct group_part {
	uint32_t slot;
	int64_t first, last, count;
};

struct group {
	uint64_t no, seq_from, seq_to;
	uint32_t flags;          /* SPINE_CONTINUES, SPINE_MORE */
	uint64_t lsn, watermark; /* of the last complete transaction */
	int64_t first_us, commit_us;
	uint64_t sent, acked;    /* rows */
	uint64_t bytes;
	bool closed, announced, accepted;
	struct group_part *parts;
	int nparts, partcap;
	size_t parts_bytes;      /* of the GROUP record that names them, about */
	int32_t *index;          /* slot -> parts + 1; 0: none */
	uint32_t nindex;
};

struct inflight {
	struct group ring[INFLIGHT_GROUPS];
	uint64_t first_no;       /* number of the oldest group still here */
	uint64_t next_no;        /* number that the next group gets */
	uint64_t announced_no;   /* last group whose GROUP was sent */
	uint64_t accepted_no;    /* last group read back */
	uint64_t bytes;          /* of all groups here */
};

/* Where a record stands in the stream; the publisher steps index by the number of records that a change makes. */
struct place {
	uint64_t gen, seq, index;
	uint64_t last_commit_lsn; /* of the transaction before, 0: none */
};

/* The next group gets number next_no. */
void inflight_init(struct inflight *f, uint64_t next_no);
void inflight_free(struct inflight *f);

/* No room for another group: stop reading the source. */
bool inflight_full(const struct inflight *f);

/* Begin the next group. */
struct group *inflight_open(struct inflight *f);

/* The group of that number; it must still be here. */
struct group *inflight_at(struct inflight *f, uint64_t no);

/* A row is on its way to that topic-partition: the GROUP will name it, which takes the topic's name and a few numbers. */
void group_part(struct group *g, uint32_t slot, size_t name_bytes);

/* One row was handed to Kafka / Kafka made one row durable at that offset. */
void group_sent(struct inflight *f, struct group *g, size_t bytes);
void group_acked(struct group *g, uint32_t slot, int64_t offset);

/* The same of a record that the group waits for, though it is no row of it: no part names it. */
void group_acked_aside(struct group *g);

/* The oldest group whose GROUP may be sent now (closed, all rows acknowledged, none before it waits); NULL: none. */
struct group *inflight_ready(struct inflight *f);
void inflight_announced(struct inflight *f, struct group *g);

/* GROUP `no` was read back and counts. */
void inflight_accepted(struct inflight *f, uint64_t no);

/* Drop accepted groups up to `no` (UINT64_MAX: all); returns the newest watermark among them, or 0. */
uint64_t inflight_drop(struct inflight *f, uint64_t no);

/* Nothing is here at all. */
bool inflight_empty(const struct inflight *f);

#endif
