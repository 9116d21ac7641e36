/*
 * committer.h - the thread that commits Kafka transactions, so that the producer's loop never waits for it.
 *
 * librdkafka's commit is a call that comes back when the transaction's coordinator has answered. It can be asked with a short limit and
 * then again, but its header advises against it: each call has three phases, and the answer to one of a call that was given up may be
 * taken for that of another in the next. So it is asked once, with all the time there is, where nobody waits.
 *
 * The thread has the handle's commit and nothing else. Meanwhile the loop may use the handle in every other way but to end it: take
 * reports and errors off its queue, use other handles. It sends nothing through it: librdkafka would refuse that.
 */
#ifndef PRODUCER_COMMITTER_H
#define PRODUCER_COMMITTER_H

#include "core/err.h"

#include <librdkafka/rdkafka.h>

struct committer;

/* wake: an eventfd that becomes readable when there is an answer; it outlives the committer. */
struct committer *committer_start(int wake);

/*
 * Commit the transaction that is open on rk. One at a time; all that was sent in it must be acknowledged: the call waits first until
 * nothing is on its way.
 */
void committer_ask(struct committer *c, rd_kafka_t *rk);

/* Once for each commit that was asked for: false: not yet. *answer: the caller's to destroy; NULL: it is committed. */
bool committer_answer(struct committer *c, rd_kafka_error_t **answer);

/*
 * Wait for the commit that is under way, which takes as long as one may (nothing of librdkafka's ends it before, and the handle must not
 * end under it), and end the thread. NULL: nothing.
 */
void committer_stop(struct committer *c);

#endif
