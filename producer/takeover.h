/*
 * takeover.h - where to begin in the place of a Debezium: what its topics hold against what its slot has left. Pure.
 *
 * The slot keeps every transaction that was not wholly in Kafka when its offset was last stored, and some that were. Which of them are in
 * the topics is seen there: each record says the xid and the LSN of its row. First the topics are read (takeover_seen), then the slot's
 * transactions in the order of their commits. The place is behind the last one before the first that is not whole.
 */
#ifndef PRODUCER_TAKEOVER_H
#define PRODUCER_TAKEOVER_H

#include "core/base.h"

struct takeover_seen;

struct takeover {
	struct takeover_seen *seen;    /* hash by row */
	struct takeover_seen *rows;    /* hash by LSN: of the transaction at hand */
	struct takeover_seen *records; /* hash by record, so that one that came twice counts once */
	uint32_t xid;
	uint64_t stored;               /* transactions that committed before it are in Kafka, by the connector's own word; 0: not asked */
	bool broken;                   /* behind the first that is not whole */
	/* The answer. */
	uint64_t lsn;                  /* the place: given at first as where the slot stands */
	int64_t whole;                 /* transactions with rows up to the place */
	int64_t left, left_rows;       /* behind it */
	int64_t again, again_rows;     /* of those, what the topics have of them already */
};

/* A record in the topics. Several rows of one statement may share an LSN; digest tells them apart (of topic and key). */
void takeover_seen(struct takeover *t, uint32_t xid, uint64_t lsn, uint64_t digest);

/* The slot's transactions: each row of a table that is wanted, then the commit. */
void takeover_begin(struct takeover *t, uint32_t xid);
void takeover_row(struct takeover *t, uint64_t lsn);
void takeover_commit(struct takeover *t, uint64_t commit_lsn, uint64_t end_lsn);

void takeover_free(struct takeover *t);

#endif
