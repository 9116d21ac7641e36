/*
 * publish.h - changes as Avro records into their topics, and the acknowledgements back into the groups.
 *
 * A record is handed to librdkafka at once (it copies); its bounded queue is the back-pressure: when it is
 * full, publish_change serves acknowledgements until there is room.
 */
#ifndef PRODUCER_PUBLISH_H
#define PRODUCER_PUBLISH_H

#include "core/event.h"
#include "core/gauge.h"
#include "core/kafka.h"
#include "producer/inflight.h"
#include "schemas/spine.h"

struct publisher;

/* database: name of the source's database, for the envelope; inflight: where acknowledgements go. Both outlive the publisher. */
enum rc publisher_open(const struct kafka *k, const char *database, struct inflight *inflight,
    struct publisher **out, struct err *err) MUST_CHECK;

/* Each table that gets a topic is told to g. */
void publisher_gauge(struct publisher *p, struct gauge *g);

/*
 * The source has this table: its topic is not for events of an outbox, before its first change too. May be told again and again.
 */
void publisher_expect(struct publisher *p, struct slice schema, struct slice name);

/* Purges what is queued: rows without a GROUP do not exist. */
void publisher_close(struct publisher *p);

/* Before an orderly end: leave no Kafka transaction open behind an unfinished group, readers would wait for it until Kafka gives it up. */
enum rc publisher_abort(struct publisher *p, struct err *err) MUST_CHECK;

/* Kafka says that another producer has taken our transactional id. */
bool publisher_fenced(const struct publisher *p);

/* With Kafka transactions: may rows of group `no`, the next one, be sent, and may a spine record? (Without: always.) */
bool publisher_room(struct publisher *p, uint64_t no);
bool publisher_spine_room(const struct publisher *p);

/* Readable when publish_serve has something to do. */
int publisher_fd(const struct publisher *p);
/* Kafka is behind: hand over no further change until publish_serve has taken acknowledgements. */
bool publisher_full(const struct publisher *p);

/*
 * Changes of that table version are about to come: the first time its schemas are registered and its topic is made, which may take a
 * moment. REJECT: it cannot be published, while others can: err says why, and the fix. RETRY: Kafka or registry. FATAL: nothing can be.
 */
enum rc publisher_prepare(struct publisher *p, const struct table *tbl, struct err *err) MUST_CHECK;

/*
 * Send the records of one change (a delete is two, a changed key three) as part of group g; of a table version that is prepared.
 * RETRY: Kafka or registry; FATAL: refused, too large.
 */
enum rc publish_change(struct publisher *p, struct group *g, const struct txn *txn, const struct change *ch, struct place *at,
    struct err *err) MUST_CHECK;

/*
 * Debezium's transaction metadata (debezium.transactions): is a transaction begun there? Then its END, before the group that holds its last
 * row is closed. RETRY, FATAL as publish_change.
 */
bool publisher_in_transaction(const struct publisher *p);
enum rc publish_end(struct publisher *p, struct group *g, const struct txn *txn, struct err *err) MUST_CHECK;

/* Debezium's heartbeat (debezium.heartbeat), when it is time. now_ms: monotonic. */
enum rc publish_heartbeat(struct publisher *p, int64_t now_ms, struct err *err) MUST_CHECK;

/*
 * Take acknowledgements, waiting up to wait_ms for the first; have the Kafka transaction committed that they complete, and take the
 * answer to that. The commit itself is waited for by nobody.
 */
enum rc publish_serve(struct publisher *p, int wait_ms, struct err *err) MUST_CHECK;

/* Send a spine record; parts of a group come from g (NULL for OPEN and BEAT). */
enum rc publish_spine(struct publisher *p, struct spine_record *r, const struct group *g, struct err *err) MUST_CHECK;

#endif
