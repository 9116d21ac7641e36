/*
 * flow.h - what the stages of one process tell each other while they run: how far the sinks are.
 *
 * Only `towline run` has both sides in one process. With the embedded broker the source waits for it: what lives in memory
 * only must be in the sink before the source forgets it.
 */
#ifndef CORE_FLOW_H
#define CORE_FLOW_H

#include "core/base.h"

#include <stdatomic.h>

enum { FLOW_SINKS_MAX = 64 };

struct flow {
	int nsinks;
	_Atomic uint64_t applied
	    [FLOW_SINKS_MAX]; /* number of the last group that sink i has committed; embedded broker: or holds, unfinished */
	_Atomic uint64_t rows[FLOW_SINKS_MAX];    /* rows committed by sink i */
	_Atomic uint64_t skipped[FLOW_SINKS_MAX]; /* rows that no group refers to, seen by sink i */
	_Atomic uint64_t parked[FLOW_SINKS_MAX];  /* changes that are parked at sink i */
	_Atomic int64_t commit_us[FLOW_SINKS_MAX]; /* commit time of the last transaction sink i has committed */
	_Atomic int64_t lag_us[FLOW_SINKS_MAX];   /* its age when it was committed here */
	_Atomic uint64_t published;               /* rows in accepted groups */
	_Atomic uint64_t published_no;            /* number of the last accepted group */
	_Atomic bool producer_done;               /* nothing more will be published by this process */
	int wake_fd;                              /* eventfd the producer polls on; -1: none */
};

/* The group that every sink has. */
static inline uint64_t
flow_applied(struct flow *f)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < f->nsinks; i++) {
		uint64_t no = atomic_load_explicit(&f->applied[i], memory_order_acquire);

		if (no < least)
			least = no;
	}
	return least;
}

#endif
