/*
 * assemble.h - the rows of one GROUP, out of many partitions, in the order of the source.
 *
 * A GROUP names for each topic-partition a range of offsets and a count. Inside a range the rows whose header has the group's
 * generation belong to it; others are left-overs of a crash or a zombie (orphans), or not ours at all (foreign).
 * The assembler says which partition it needs a record of, is offered one, and gives the parts back in the order of (transaction, index).
 * Pure: no Kafka, no clock; the caller keeps the messages.
 */
#ifndef CONSUMER_ASSEMBLE_H
#define CONSUMER_ASSEMBLE_H

#include "core/arena.h"
#include "schemas/header.h"
#include "schemas/spine.h"

struct assemble_part {
	int64_t first, last, count; /* as the GROUP says */
	int64_t taken;              /* rows of the group seen so far */
	uint64_t seq, index;        /* of the row that was taken last; with head it waits */
	bool head, done;
};

struct assemble {
	struct assemble_part *parts;
	int nparts;
	int *heap, nheap;           /* parts with a head, least (seq, index) on top */
	int wanting;                /* parts that are neither done nor have a head */
	int scan;                   /* where the search for a wanting part begins */
	uint64_t gen, seq_from, seq_to;
};

enum assemble_verdict {
	ASSEMBLE_ROW,     /* it is the head of its partition: keep the message until assemble_next names the part */
	ASSEMBLE_ORPHAN,  /* a row that no group refers to, or one again */
	ASSEMBLE_FOREIGN, /* has no header of ours */
	ASSEMBLE_BEYOND,  /* its offset is past the range: the range was not met */
};

/* Begin with a GROUP; parts live in a. */
void assemble_begin(struct assemble *as, const struct spine_record *group, struct arena *a);

/* The part that a record is needed of, or -1: assemble_next can answer. */
int assemble_want(struct assemble *as);

/* A record of the part that was wanted. tl NULL: it has none, or a malformed one. */
enum assemble_verdict assemble_offer(struct assemble *as, int part, int64_t offset, const struct tl *tl);

/* The part whose head is the next row of the source, or -1: the group is complete. */
int assemble_next(struct assemble *as);

#endif
