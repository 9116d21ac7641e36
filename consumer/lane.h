/*
 * lane.h - `apply: key`: a sink fed by several lanes, each with its own connection, transactions and marker.
 *
 * A lane is the loop of consumer.c with the partitions of one lane only: it follows the same spine, so orphans and zombies are told
 * apart in the same way, but it commits its part of a transaction without waiting for the others. Order is kept per key. The
 * marker of lane i of pipeline p is named "p/lane i"; "p/lanes" holds how many there are.
 */
#ifndef CONSUMER_LANE_H
#define CONSUMER_LANE_H

#include "consumer/sink.h"
#include "core/flow.h"
#include "core/gauge.h"
#include "core/kafka.h"

#include <stdatomic.h>

struct lanes;

struct lane {
	struct lanes *group; /* who runs what; NULL: nobody else does */
	const char *pipeline;
	int no, of;
	uint64_t token;      /* drawn when this process took the lane over; 0: not yet */
	char name[160];      /* of its marker */
	_Atomic bool stop;   /* asked to end: the group gave the lane to somebody else */
};

/*
 * The lane's marker. The first call takes it over: it puts a token of our own into it, so that whoever had it before finds another
 * marker than it expects and cannot write any more. First the marker is read, then the group asked whether the lane is still ours, then
 * the marker set if it is the one that was read: a process that slept over the loss of its lane, however long and wherever it did,
 * cannot take it back from the next one that has taken it over. RETRY: the lane is not ours. Later calls: FATAL/EXIT_REFUSED when
 * somebody has taken it from us.
 */
enum rc lane_take(struct sink *s, struct lane *l, struct marker *applied, struct err *err) MUST_CHECK;

/* Has lane i got as far as group no? */
enum rc lane_at(struct sink *s, const struct lane *l, int i, uint64_t no, bool *there, struct err *err) MUST_CHECK;

/* consumer_run for `apply: key`: join the group, run the lanes that it gives us. */
enum rc lane_run_all(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number,
    struct gauge *gauge, struct err *err) MUST_CHECK;

/*
 * A sink that was filled by lanes cannot be gone on with by whole transactions, as its lanes stand
 * at different places. FATAL/EXIT_REFUSED then.
 */
enum rc lane_none(const char *pipeline, const struct conf_sink *conf, struct err *err) MUST_CHECK;

#endif
