/*
 * board.h - what all nodes of a pipeline say of themselves: the progress topic, read to its end and kept up to date.
 *
 * The topic is the only thing asked: no node is called. One that has said nothing for some seconds is gone (by its writer's clock
 * against ours: clocks of the machines that are seconds apart show as nodes that are gone).
 */
#ifndef CONTROL_BOARD_H
#define CONTROL_BOARD_H

#include "core/kafka.h"
#include "schemas/progress.h"

enum { BOARD_GONE_MS = 5000 };

struct board_node {
	char *key;
	struct arena arena; /* of what follows */
	struct progress p;
	struct board_node *next; /* by key */
};

struct board;

/* The topic of this pipeline. It may be missing: then nobody has ever said anything, and board_update looks again. */
enum rc board_open(const struct kafka *k, struct board **out, struct err *err) MUST_CHECK;
void board_close(struct board *b);

/* Read what has come. whole: up to where the topic ends now, at most some seconds; else only what is here, without waiting. */
enum rc board_update(struct board *b, bool whole, struct err *err) MUST_CHECK;

/* In the order of their keys: the producers, then the sinks. */
const struct board_node *board_nodes(const struct board *b);

/* The producer that publishes: of the highest generation, the newest. NULL: none has ever said anything. */
const struct progress *board_front(const struct board *b);

/* The newest record of a sink of that name, on whatever node. NULL: none. */
const struct progress *board_sink(const struct board *b, const char *name);

/* Has said nothing for BOARD_GONE_MS, and did not say that it ends. */
bool board_gone(const struct progress *p, int64_t now_us);

/* Its state as shown: what it said, or "gone". */
const char *board_state(const struct progress *p, int64_t now_us);

#endif
