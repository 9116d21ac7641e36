/*
 * standby.h - what a producer that is a synchronous standby of its source may say is applied.
 *
 * The source waits for LSNs, the sinks tell group numbers. So the watermarks of groups are kept until enough sinks have them. Pure:
 * no source, no clock.
 */
#ifndef PRODUCER_STANDBY_H
#define PRODUCER_STANDBY_H

#include "core/quorum.h"
#include "schemas/applied.h"

enum { STANDBY_MARKS = 1024 };

struct standby {
	struct {
		uint64_t no, lsn;
	} marks[STANDBY_MARKS]; /* published, and not yet applied: numbers and watermarks rise */
	int first, n;
	uint64_t lsn;           /* everything up to here is applied */
};

/*
 * What the spine says after group `no`: everything up to lsn is in Kafka. Call it as often as you like. When there are more marks
 * than room, the newest ones become one: what it stands for is then told later, never too early.
 */
void standby_published(struct standby *s, uint64_t no, uint64_t lsn);

/* Enough sinks have all groups up to `no`; returns the LSN up to which everything is applied. */
uint64_t standby_applied(struct standby *s, uint64_t no);

/* What sinks in other processes have said since our OPEN, by their places in the quorum; zero at the begin of a session. */
struct standby_sinks {
	uint64_t at[QUORUM_MAX];
};

/*
 * A sink says how far it is (schemas/applied.h has the rule): it counts if it is a member, and speaks of our OPEN, {gen, token}, and of no
 * group that we have not written (`sent` is the last). The newest counts.
 */
void standby_heard(struct standby_sinks *s, const struct quorum *q, struct slice sink, const struct applied *said, uint64_t gen,
    uint64_t token, uint64_t sent);

#endif
