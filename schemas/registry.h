/*
 * registry.h - schema text <-> the number in the frame. Two kinds behind one interface:
 * a Confluent-compatible HTTP registry (libcurl, jansson), or none: fingerprints, with the texts in the
 * compacted topic <name>.towline.schemas (key: fingerprint as 16 hex digits, value: schema JSON).
 * Not safe for several threads: one per stage.
 */
#ifndef SCHEMAS_REGISTRY_H
#define SCHEMAS_REGISTRY_H

#include "core/kafka.h"
#include "schemas/frame.h"

struct registry;

/* rk: a producer handle to publish schemas with (kind none); NULL for a reader. REJECT/RETRY are not raised here by a registry that is down: its first use does. */
enum rc registry_open(const struct kafka *k, rd_kafka_t *rk, struct registry **out, struct err *err) MUST_CHECK;
void registry_close(struct registry *r);

/*
 * Register the schema under subject (<topic>-key or <topic>-value) and give the frame to write before each body. Known ones answer from memory.
 * RETRY: registry down or 5xx. FATAL: it refuses (409 incompatible, 401, 403, 422), with its words and the fix.
 */
enum rc registry_put(struct registry *r, const char *subject, struct slice json, struct frame *out, struct err *err) MUST_CHECK;

/* The schema behind a frame; the text lives as long as r. RETRY: down. REJECT: not known there. */
enum rc registry_get(struct registry *r, struct frame f, struct slice *json, struct err *err) MUST_CHECK;

/* Reachable and answering? For `check`. *what: one line such as "Confluent API, 12 subjects". */
enum rc registry_check(struct registry *r, char what[static 128], struct err *err) MUST_CHECK;

#endif
