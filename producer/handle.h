/*
 * handle.h - a producer's handle, and with kafka.transactions the Kafka transaction that is open on it.
 *
 *   idle -> first row: begun -> rows -> spine record -> acknowledged -> commits, in a thread of its own -> committed: idle
 *
 * A handle has one transaction at a time, and after the commit the broker takes no new one from it for a moment. So there are two
 * handles, taken in turn: the rows of one group go out while the one before commits.
 *
 * Never the same EndTxn twice: a late one may end a later transaction (KAFKA-17754). Whatever goes wrong here, the handle is thrown
 * away and a new session begins, whose init makes the broker abort what was open and refuse what comes late.
 */
#ifndef PRODUCER_HANDLE_H
#define PRODUCER_HANDLE_H

#include "core/kafka.h"
#include "producer/committer.h"

enum { HANDLES = 2 };

enum handle_state {
	HANDLE_IDLE = 0,
	HANDLE_ROWS,  /* a transaction is open (without transactions: never) */
	HANDLE_SPINE, /* its last spine record was sent: nothing more may come, and it is committed when that is acknowledged */
	HANDLE_COMMITS, /* the committer has it */
};

struct handle {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	enum handle_state state;
	int spine;    /* records of the spine on their way */
	bool transactional;
	bool fenced;  /* the broker says that somebody else has taken our transactional id */
	bool broken;  /* something went wrong: nothing more may be asked of the handle */
};

/* number: which of the HANDLES. wake: an eventfd that shall become readable when the handle has something; below 0: it is made. */
enum rc handle_open(const struct kafka *k, int number, int *wake, struct handle *out, struct err *err) MUST_CHECK;

/* Purges what is queued: rows without a GROUP do not exist. */
void handle_close(struct handle *h);

/* Begin a transaction where none is open. RETRY, and the handle is broken. Without transactions it does nothing. */
enum rc handle_begin(struct handle *h, struct err *err) MUST_CHECK;

/*
 * Have the transaction committed, once all of it is acknowledged: only who takes the reports from the handle's queue knows that. Then
 * handle_committed until it is idle: AGAIN: not yet; RETRY, and the handle is broken.
 */
void handle_commit(struct handle *h, struct committer *c);
enum rc handle_committed(struct handle *h, struct committer *c, struct err *err) MUST_CHECK;

/*
 * Before an orderly end: so that readers need not wait until the broker gives up a transaction that
 * was begun. Its rows must be acknowledged.
 */
void handle_abort(struct handle *h);

/* What librdkafka said of a record or of the handle. */
enum rc handle_fail(struct handle *h, rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
