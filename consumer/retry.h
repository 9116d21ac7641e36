/*
 * retry.h - parked changes tried again, or given up: what `towline dlq` does to a sink.
 *
 * The marker is locked, so a running consumer waits, and finds out by the version of the parked changes. All changes
 * that share a key, or are joined by one that changed, are applied in exact order, all or none of them; then they are
 * no longer parked.
 */
#ifndef CONSUMER_RETRY_H
#define CONSUMER_RETRY_H

#include "consumer/readback.h"
#include "consumer/sink.h"

/* One entry and all that belong with it; or (id 0) those of a table; or (table NULL) all. */
struct retry_what {
	int64_t id;
	const char *schema, *table;
};

struct retry_fail {
	int64_t id;			  /* the one that failed */
	const char *table, *key, *reason; /* key NULL: none */
	int waiting;			  /* that are behind it */
};

/* In the arena of the caller. */
struct retry_report {
	int64_t changes, keys; /* applied; keys counts what was joined once */
	struct retry_fail *fails;
	int nfails;
};

/*
 * OK: everything that could be applied was, and committed; the rest is told. FATAL: there is no such entry. RETRY:
 * the sink or Kafka is not there; what was told so far stands.
 */
enum rc retry_run(const struct kafka *k, const struct conf_sink *conf,
    const struct retry_what *what, struct arena *a, struct retry_report *out,
    struct err *err) MUST_CHECK;

/* Give the entry up for good; those behind it stay parked. */
enum rc retry_skip(
    const char *pipeline, const struct conf_sink *conf, int64_t id, struct err *err) MUST_CHECK;

#endif
