/*
 * readback.h - the records of parked changes, read again from Kafka.
 *
 * The copy in the dead-letter topic comes first: it is kept for ever, and what belongs together lies together there;
 * then the place where the record was read. Either counts only if it is the same change, by its header.
 */
#ifndef CONSUMER_READBACK_H
#define CONSUMER_READBACK_H

#include "consumer/decode.h"
#include "consumer/parked.h"

struct readback;

struct readback_change {
	struct row row;
	struct tl tl;
	bool ours;           /* has a header: else tl says nothing */
	struct envelope env; /* of a changed key: with the old row that came apart */
	struct value *key;
};

enum rc readback_open(const struct kafka *k, struct readback **out, struct err *err) MUST_CHECK;
void readback_close(struct readback *rb);

/* Its values live in b, tables as long as rb. REJECT: it is not in Kafka any more, or cannot be read. */
enum rc readback_take(struct readback *rb, const struct parked_entry *e, struct batch *b,
    struct readback_change *out, struct err *err) MUST_CHECK;

#endif
