/*
 * debezium.h - Debezium's own topics beside those of tables: transactions (provide.transaction.metadata) and heartbeats. Schemas as
 * Debezium 3.6 registers them, and their records' bodies.
 */
#ifndef SCHEMAS_DEBEZIUM_H
#define SCHEMAS_DEBEZIUM_H

#include "core/buf.h"

extern const char debezium_transaction_key[], debezium_transaction_value[], debezium_heartbeat_key[], debezium_heartbeat_value[];

/* A table's share of a transaction. */
struct debezium_share {
	struct slice table; /* schema.table */
	int64_t count;
};

/* Key of either topic: the transaction's id, the server's name. */
void debezium_put_key(struct slice text, struct buf *out);

void debezium_put_begin(struct slice id, int64_t ms, struct buf *out);
void debezium_put_end(struct slice id, const struct debezium_share *shares, int n, int64_t ms, struct buf *out);
void debezium_put_heartbeat(int64_t ms, struct buf *out);

#endif
