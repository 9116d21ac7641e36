/*
 * stats.h - the inside of `towline stats`: the board as a table and as JSON. Pure but for the board.
 */
#ifndef CONTROL_STATS_H
#define CONTROL_STATS_H

#include "control/board.h"

/* The cluster as a whole. */
struct stats {
	int size, producers, replicas;	/* nodes that have a record */
	int active;			/* replicas that may be read from, at whatever lag */
	int64_t lag_entries, lag_bytes; /* of all replicas together, as far as known */
	int64_t lag_us;			/* of the one that is furthest behind; -1: not known */
	uint64_t seq, lsn;		/* of the log */
};

void stats_sum(const struct board_node *nodes, const struct progress *front, int64_t now_us,
    struct stats *out);

void stats_text(struct buf *out, const char *pipeline, const struct board_node *nodes,
    const struct progress *front, int64_t now_us);
void stats_json(struct buf *out, const char *pipeline, const struct board_node *nodes,
    const struct progress *front, int64_t now_us, bool indented);

#endif
