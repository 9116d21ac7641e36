/*
 * replicas.h - sinks that are added to a running cluster, and taken away: records `replica/NAME` of the control topic.
 *
 *   {"url":"...","delay_ms":0,"node":"inv","id":"..."}   the process `towline run` of that node feeds it; no value: it is gone
 *
 * Of two records of one name without its end between them the first counts, for all who read: two that add at one moment both found the
 * name free. Who was second finds its id (random) not to be the one that counts, and puts the first one back, behind an end, as the topic
 * keeps the newest only.
 *
 * A replica that fails does not end the process: its reason stands in the progress topic, and it is tried again.
 */
#ifndef CONTROL_REPLICAS_H
#define CONTROL_REPLICAS_H

#include "control/report.h"
#include "core/kafka.h"

struct replica {
	const struct conf_sink *sink;
	const char *node; /* "" for one of the configuration */
	const char *id;   /* of its record; "": none */
	const char *record;
	struct replica *next;
};

/* A set of them with its memory. */
struct replica_list {
	struct conf own; /* holds what is not of the configuration */
	struct replica *first;
	int n;
};

/* The sinks of the configuration, then those of the control topic. Without that topic, or embedded, only the former. */
enum rc replicas_load(const struct kafka *k, struct replica_list *out, struct err *err) MUST_CHECK;
void replicas_free(struct replica_list *l);
const struct replica *replicas_find(const struct replica_list *l, const char *name);

/*
 * Add it, or change nothing (EXIT_USAGE) when there is one of that name, or of that database; node as above. Returns when Kafka has it, and
 * it is the one that counts.
 */
enum rc replicas_add(const struct kafka *k, const char *name, const char *url, int64_t delay_ms,
    const char *node, struct err *err) MUST_CHECK;
enum rc replicas_remove(const struct kafka *k, const char *name, struct err *err) MUST_CHECK;

struct replicas;

/*
 * Follow the topic in a thread until the program is to stop: feed the replicas of this node (feeds), and see to resyncs of this process's
 * sinks. k and report outlive it.
 */
void replicas_start(const struct kafka *k, struct report *report, bool feeds, struct replicas **out);
void replicas_join(struct replicas *r);

#endif
