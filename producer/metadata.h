/*
 * metadata.h - what Debezium writes beside rows, on demand: BEGIN and END of each transaction with what it holds, and heartbeats.
 *
 * BEGIN and END are no rows of a group, but the group waits for them. Sinks of Towline need neither.
 */
#ifndef PRODUCER_METADATA_H
#define PRODUCER_METADATA_H

#include "producer/publish_impl.h"
#include "schemas/codec.h"

/* A row of table env->schema.env->table is about to be sent: BEGIN before the first, and the transaction's block in env. */
enum rc metadata_row(struct publisher *p, struct group *g, const struct txn *txn, struct envelope *env, struct err *err) MUST_CHECK;

/* It was sent, and not set aside. */
void metadata_sent(struct publisher *p);

void metadata_close(struct publisher *p);

#endif
