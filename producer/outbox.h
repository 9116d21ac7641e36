/*
 * outbox.h - tables declared as outboxes (outbox.tables): each row inserted becomes an event in the topic of its aggregate, as
 * Debezium's EventRouter makes it, with the row's id as header; updates and deletes are no events.
 *
 * Its records are no rows of a group, but the group waits for them: they are in Kafka before the transaction exists for sinks, in order for
 * each key, and at least once. After a crash of the producer they may come again, with the same id; in a Kafka transaction
 * (kafka.transactions) once for who reads read_committed.
 */
#ifndef PRODUCER_OUTBOX_H
#define PRODUCER_OUTBOX_H

#include "producer/publish_impl.h"

struct outbox;

/* tbl: a table version as it leaves. *out NULL: it is no outbox. In the publisher's arena. FATAL/EXIT_CONFIG: it lacks a column. */
enum rc outbox_make(struct publisher *p, const struct table *tbl, struct outbox **out, struct err *err) MUST_CHECK;

/*
 * RETRY: Kafka or registry. FATAL: the event is refused. A row that names no topic, or none that may be, goes to the dead letters
 * as the event it is, with headers towline.reason and towline.source; as does one that is too large, where source.on_large lets it.
 */
enum rc outbox_send(struct publisher *p, struct outbox *o, struct group *g, const struct txn *txn, const struct change *ch, struct err *err)
    MUST_CHECK;

#endif
