/*
 * foreign_impl.h - the inside of foreign*.c; nobody else includes it.
 *
 *   foreign.c        the session: its loop, topics and partitions, order per key
 *   foreign_row.c    a record as a row
 *   foreign_apply.c  batches as sink transactions
 *   foreign_txn.c    whole transactions, by Debezium's metadata
 */
#ifndef CONSUMER_FOREIGN_IMPL_H
#define CONSUMER_FOREIGN_IMPL_H

#include "consumer/aside.h"
#include "consumer/decode.h"
#include "consumer/fetch.h"
#include "consumer/foreign.h"

/* Of the sink, in its marker as token. */
enum foreign_mode { MODE_KEY = 1, MODE_WHOLE };

/* What became of a record. Slices point into its message. */
enum foreign_kind {
	FOREIGN_NOTHING, /* tombstone, heartbeat, logical message, a table that is not wanted */
	FOREIGN_ROW,
	FOREIGN_BAD,     /* why: in the batch's arena */
};

enum foreign_half { HALF_NOT = 0, HALF_OLD, HALF_NEW }; /* of a changed key: a delete and a create */

struct foreign_row {
	enum foreign_kind kind;
	enum foreign_half half;
	struct row row;
	const char *why;
	struct slice txid;         /* without what differs within the transaction; empty: none */
	int64_t total, order;      /* within the transaction, and its table */
	uint64_t behind_lsn;       /* of the END of the transaction before its own; 0: not known */
	int64_t source_us;
	int64_t value_id;
};

struct foreign_part {
	struct fetch_part *fp;
	int64_t next;              /* offset of the first record that is not in the batch */
	int64_t value_id;
	int64_t sent_next;         /* what the sink has */
	rd_kafka_message_t *head;  /* fetched, not in the batch */
	struct foreign_row fr;     /* of head, when head_no is the batch's number */
	uint64_t head_no;
	int siblings;              /* partitions of its topic */
	bool seen;                 /* by this look at the topics */
};

/* A transaction of the metadata topic that was applied; its records may come again after a crash of Debezium. */
struct foreign_done;

enum { FOREIGN_KEYLESS_MAX = 64 };

struct foreign {
	const struct kafka *kafka;
	const struct conf_sink *conf;
	struct flow *flow;
	struct gauge *gauge;
	int number;
	char at[80];
	bool whole;                /* apply: transaction */
	struct sink *sink;
	struct fetch *fetch;
	struct decode *decode;
	struct deadletter *dead;
	struct parked parked;
	struct arena arena;        /* of the session */
	struct position *stored;
	int nstored;
	struct foreign_part **parts;
	int nparts, parts_cap;
	struct foreign_part *txns; /* the metadata topic */
	struct arena txn_arena;    /* the transaction at hand */
	struct foreign_done *done; /* hash by id */
	int64_t swept_ms;          /* last look for rows outside transactions */
	bool partial;              /* the batch holds a part of a transaction: never commit it */
	int64_t looked_ms;
	int missing;               /* looks in a row at which a known topic was not there */
	struct batch batch;
	size_t batch_bytes;        /* most in it */
	uint64_t batch_no;
	struct marker applied, next;
	uint64_t token;
	const struct table *keyless[FOREIGN_KEYLESS_MAX]; /* that were told of */
	int nkeyless;
	bool open;                 /* a sink transaction is open */
	struct row *moved;         /* old half of a changed key, waiting for the other; in the batch */
	struct row moved_row;
	uint64_t rows;             /* in the open transaction */
	uint64_t rows_committed;
	bool committed;
};


/* ---- foreign.c ---- */

/* Find topics and partitions that are new. */
enum rc foreign_look(struct foreign *f, struct err *err) MUST_CHECK;

/* The head of a partition, with fr decoded for this batch. AGAIN: none within wait_ms. */
enum rc foreign_head(struct foreign *f, struct foreign_part *p, int wait_ms, struct err *err) MUST_CHECK;

/* The head goes into the batch, or is passed over. */
enum rc foreign_take(struct foreign *f, struct foreign_part *p, struct err *err) MUST_CHECK;

/* Put the old half of a changed key into the batch as the delete that it is. */
void foreign_unjoin(struct foreign *f);

/* ---- foreign_row.c ---- */

/* OK: out tells. RETRY, FATAL: the registry. */
enum rc foreign_decode(struct foreign *f, struct foreign_part *p, rd_kafka_message_t *m,
    struct foreign_row *out, struct err *err) MUST_CHECK;

/* No column was left out. */
bool foreign_all_there(const struct table *tbl, const struct value *row);

/* The columns of a create that were not sent, as text; NULL: none. In the batch's arena. */
const char *foreign_lacks(struct foreign *f, const struct row *r);

/* "571" of "571:53195829"; anything else as it is. *lsn: the number behind, or 0. */
struct slice foreign_txid(struct slice id, uint64_t *lsn);

/* ---- foreign_apply.c ---- */
bool foreign_full(const struct foreign *f);

/* Commit what the batch holds, and the positions. */
enum rc foreign_commit(struct foreign *f, struct err *err) MUST_CHECK;

/* The batch is full inside a transaction: send its rows and leave the sink transaction open. */
enum rc foreign_stream(struct foreign *f, struct err *err) MUST_CHECK;

enum rc foreign_load_parked(struct foreign *f, struct err *err) MUST_CHECK;
void foreign_release(void *msg);

/* ---- foreign_txn.c ---- */

/* One round: the next transaction, or nothing (AGAIN). */
enum rc foreign_txn_round(struct foreign *f, struct err *err) MUST_CHECK;
void foreign_txn_free(struct foreign *f);

#endif
