/*
 * control.h - the compacted topic <name>.towline.control: what the parts of a pipeline, and its users, tell each other and
 * what has to outlive a process. The newest record of a key counts.
 *
 *   key    text with slashes: what it is about, as in `snapshot/public.orders`, `command/5f0c...`, `answer/5f0c...`
 *   value  JSON, an object; none: the key is forgotten
 *
 * One partition, so all readers see the same order. Anybody may write: readers must bear values that they do not understand.
 * What the keys mean stands with those that use them.
 */
#ifndef SCHEMAS_CONTROL_H
#define SCHEMAS_CONTROL_H

#include "core/kafka.h"

/* resync/SINK (control/resync.h): stands as long as that sink lacks rows that are copied into it again. */
#define CONTROL_RESYNC "resync/"

struct control;

enum control_from {
	CONTROL_ALL,  /* everything that the topic holds, and then what comes */
	CONTROL_NEWS, /* only what comes from now on */
};

struct control_record {
	struct slice key;
	struct slice value; /* n 0: the key is forgotten */
	int64_t offset, at_ms; /* at_ms: when it was written, milliseconds since 1970 */
};

/* make: make the topic when it is missing; else a missing topic reads as an empty one. */
enum rc control_open(const struct kafka *k, enum control_from from, bool make, struct control **out, struct err *err) MUST_CHECK;

/* What was put and is not acknowledged is thrown away: flush before. */
void control_close(struct control *c);

/* The next record, waiting up to wait_ms for it; its slices are good until the next call. AGAIN: none. RETRY: Kafka. */
enum rc control_next(struct control *c, int wait_ms, struct control_record *out, struct err *err) MUST_CHECK;

/*
 * The next record of those that the topic held at open. AGAIN: these were all. RETRY: Kafka, or it says nothing although within_ms have
 * passed since the open, or the program is to end.
 */
enum rc control_held(struct control *c, int within_ms, struct control_record *out, struct err *err) MUST_CHECK;

/* Does the key begin with prefix, and go on? *rest: what stands behind it. */
bool control_about(struct slice key, const char *prefix, struct slice *rest);

/* There was a topic to read at open. */
bool control_there(const struct control *c);

/* Everything that the topic held at open was taken. */
bool control_current(const struct control *c);

/* Readable when control_next may have something to do. */
int control_fd(const struct control *c);

/* Write a record. Returns before Kafka has it; json.n 0: forget the key. The first one makes the topic when it is missing. */
enum rc control_put(struct control *c, const char *key, struct slice json, struct err *err) MUST_CHECK;

/* Wait until Kafka has everything that was put. RETRY: not within that time. */
enum rc control_flush(struct control *c, int wait_ms, struct err *err) MUST_CHECK;

#endif
