/*
 * lanes.h - who runs which lane of a sink in `apply: key`.
 *
 * A sink has a fixed number of lanes; a topic-partition belongs to one of them by its name. The lanes are the partitions of the
 * (always empty) topic <name>.towline.lanes, and the processes that share the sink are a consumer group on it: Kafka's
 * group only says who runs what. That a process that lost a lane cannot write any more is the marker's affair (consumer.c).
 */
#ifndef CONSUMER_LANES_H
#define CONSUMER_LANES_H

#include "core/kafka.h"

enum { LANES_MAX = 64 };

struct lanes;

/* Join the group <name>.<sink>. */
enum rc lanes_open(const struct kafka *k, const char *sink, int n, struct lanes **out, struct err *err) MUST_CHECK;

/* Leave it: the others take over at once. */
void lanes_close(struct lanes *l);

/*
 * Serve the group for up to wait_ms. *lost: this process must let go of every lane, now, and then call lanes_released; what it
 * runs after that is in lanes_owned when it comes back.
 */
enum rc lanes_poll(struct lanes *l, int wait_ms, bool *lost, struct err *err) MUST_CHECK;
void lanes_released(struct lanes *l);
bool lanes_owned(const struct lanes *l, int lane);

/*
 * Is the lane still ours, by what the group's coordinator says now? RETRY: it is another's, or is being given out anew, or nobody
 * answers. From any thread, while l is open.
 */
enum rc lanes_confirm(struct lanes *l, int lane, struct err *err) MUST_CHECK;

/* The lane of a topic-partition. */
int lanes_of(struct slice topic, int32_t partition, int n);

#endif
