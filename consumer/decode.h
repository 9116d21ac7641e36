/*
 * decode.h - a Kafka record of ours as a row: header, schemas, envelope.
 */
#ifndef CONSUMER_DECODE_H
#define CONSUMER_DECODE_H

#include "consumer/batch.h"
#include "core/kafka.h"
#include "schemas/codec.h"
#include "schemas/frame.h"
#include "schemas/header.h"

struct decode;

enum rc decode_open(const struct kafka *k, struct decode **out, struct err *err) MUST_CHECK;
void decode_close(struct decode *d);

/* The header `tl` of a record. false: it has none, or a malformed one (then *why says so). */
bool decode_header(const rd_kafka_message_t *m, struct tl *tl, struct err *why);

/*
 * The record's envelope; rows and env live in a, slices point into m. *tbl is the writer's table
 * version: the same pointer for the same version as long as d is open. *key: the decoded key row,
 * NULL when the record has no key. tl may be NULL (a foreign record). REJECT: the record is bad.
 * RETRY: the registry is down.
 */
enum rc decode_record(struct decode *d, const rd_kafka_message_t *m, const struct tl *tl, struct arena *a, struct envelope *env,
    const struct table **tbl, struct value **key, struct err *err) MUST_CHECK;

/*
 * The key of a record without a value, as a row of the table that values of schema `value` hold.
 * *flat: those are rows, without an envelope, so that no value means a deleted row. Verdicts as
 * above.
 */
enum rc decode_tombstone(struct decode *d, const rd_kafka_message_t *m, struct frame value,
    struct arena *a, const struct table **tbl, struct value **key, bool *flat,
    struct err *err) MUST_CHECK;

/* The record as a row. topic lives as long as the row. tl may be NULL: then it has no position. */
void decode_fill(struct row *r, const rd_kafka_message_t *m, const char *topic, const struct tl *tl,
    const struct envelope *env, const struct table *tbl);

#endif
