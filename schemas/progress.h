/*
 * progress.h - what a producer or a sink says of itself in the compacted topic <name>.towline.progress. Pure.
 *
 *   key    producer/NODE or sink/NODE/SINK
 *   value  one JSON object, below 1 kB but for the names of the tables; unknown members are passed over
 *
 * {"v":1,"role":"sink","node":"inv","sink":"edge","state":"running","at_us":..,"started_us":..,"gen":3,"seq":120,"lsn":"0/1A2B",
 *  "commit_us":..,"lag":{"entries":0,"bytes":0,"us":0},"rows":..,"rows_s":..,"entries_s":..,"parked":0,"syncing":false,
 *  "delay_ms":0,"kind":"sqlite","tables":["public.t"]}  and, where there is something to say, "reason", "end_lsn", "http".
 *
 * Every second, and at once when the state changes. A number that is not known is -1, or 0 for an LSN.
 */
#ifndef SCHEMAS_PROGRESS_H
#define SCHEMAS_PROGRESS_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"

enum progress_role { PROGRESS_PRODUCER = 0, PROGRESS_SINK };

struct progress {
	enum progress_role role;
	const char *node, *sink; /* sink: "" for a producer */
	const char *state;  /* starting, running, retrying, failed, stopped; a reader adds gone */
	const char *reason; /* "" or why it is not running */
	int64_t at_us, started_us; /* by the writer's clock */
	uint64_t gen, seq, lsn;	   /* producer: published; sink: committed */
	int64_t commit_us;
	uint64_t end_lsn; /* producer: end of the source's log */
	int64_t lag_entries, lag_bytes, lag_us;
	uint64_t rows; /* since the start */
	double rows_s, entries_s;
	int64_t parked;
	bool syncing; /* sink: has not been near the end of the log since its start */
	int64_t delay_ms;
	const char *kind; /* postgres, sqlite */
	const char *http; /* HOST:PORT, "" for none */
	const char **tables;
	int ntables;
};

/* The record's key, in a. */
const char *progress_key(struct arena *a, const struct progress *p);

void progress_put(struct buf *out, const struct progress *p);

/* Texts in a. REJECT: no JSON, another version, or what must be there is not. */
enum rc progress_take(
    struct slice json, struct arena *a, struct progress *p, struct err *err) MUST_CHECK;

#endif
