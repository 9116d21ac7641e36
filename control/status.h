/*
 * status.h - the inside of `towline status`: one look at every node of a pipeline, and how it is shown.
 *
 *   status.c        the command: look, show, again with --watch
 *   status_look.c   the look
 *   status_show.c   table and JSON
 *
 * There is nobody to ask how a producer or consumer feels: what is told is what the databases and Kafka themselves know.
 */
#ifndef CONTROL_STATUS_H
#define CONTROL_STATUS_H

#include "control/cluster.h"
#include "consumer/marker.h"
#include "producer/server.h"
#include "schemas/spine.h"

enum { STATUS_PROBLEMS_MAX = 64 };

struct status_source {
	bool reached;
	bool rows;              /* SQLite: LSNs count entries of its log, not bytes */
	struct server server;
	struct pg_slot slot;
	const char *state;      /* streaming, stopped, not begun, GONE, LOST, UNREACHABLE */
};

struct status_sink {
	const struct conf_sink *conf;
	bool reached, found;    /* found: it has applied something */
	struct marker marker;
	const char *state;      /* caught up, behind, AHEAD, empty, applied, UNREACHABLE */
	uint64_t behind;        /* transactions; only with a spine */
	int64_t parked, parked_causes; /* changes in the dead letters; those that others may wait behind */
	int64_t lag_us;         /* commit time of the spine's last transaction less the sink's; -1: not known */
};

struct status {
	const struct kafka *kafka;
	const struct conf *conf;
	struct arena arena;     /* of one look */
	struct cluster cluster; /* its connections stay from look to look */
	bool unreachable;
	struct status_source source;
	bool spine_known;       /* Kafka was reached, and the spine read or found missing */
	const char *kafka_state; /* empty, UNREACHABLE, UNREADABLE; of no meaning when the spine has a beginning */
	struct spine_state spine;
	int64_t dead_records;   /* in the dead-letter topic, which keeps all that ever came */
	struct status_sink *sinks; /* conf->nsinks */
	const char *problems[STATUS_PROBLEMS_MAX];
	int nproblems;
};

void status_look(struct status *s);

/* The whole picture, appended. */
struct buf;
void status_text(const struct status *s, struct buf *out);
void status_json(const struct status *s, bool indented, struct buf *out);

#endif
