/*
 * aside.h - changes that go past the sink: to the dead-letter topic, and into the sink's table of parked changes.
 *
 * Marked before the batch is planned (parked_route: rows that wait behind a parked one; a record that cannot be read
 * is a row of its own), or named by a redo (rows that the sink refuses). All are put away in the sink transaction
 * that their batch is part of, after it was applied.
 */
#ifndef CONSUMER_ASIDE_H
#define CONSUMER_ASIDE_H

#include "consumer/deadletter.h"
#include "consumer/sink.h"

struct aside_place {
	const char *at; /* for the log: "sink NAME" */
	struct sink *sink;
	struct deadletter *dead;
	struct parked *parked;
	bool barrier; /* what is put away concerns other lanes too */
};

/*
 * Put away the marked rows of b and the rejects (in the order of its rows), and forget what its truncates make void.
 * *n: how many changes more (or less) are parked now. When it is done the copies are in Kafka; the entries come with
 * the commit. FATAL: too many keys.
 */
enum rc aside_store(const struct aside_place *p, const struct batch *b,
    const struct reject *rejects, int nrejects, int64_t *n, struct err *err) MUST_CHECK;

/* A record that cannot be read, as a row of the batch. r: its place, held, and what else is known. */
void aside_bad(struct batch *b, const struct row *r, const char *why);

#endif
