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

/*
 * Nothing is connected yet: a registry that is down is found by the first use. k and its configuration outlive r.
 * writer: may registry_put; kind none then makes a producer of its own, since the delivery of a schema is awaited
 * and the events of a shared handle belong to somebody else. FATAL: the configuration is wrong.
 */
enum rc registry_open(const struct kafka *k, bool writer, struct registry **out, struct err *err) MUST_CHECK;
void registry_close(struct registry *r);

/*
 * Register the schema under subject and give the frame to write before each body. alike: the subject's newest schema is taken instead if
 * it writes the same bytes (schema_mark.h), whatever its defaults. Known ones answer from memory. With OK the schema is where every reader
 * finds it, so that a row may be sent next. RETRY: registry or Kafka down, 5xx, or the registry takes nothing for now (mode READONLY,
 * IMPORT). REJECT: not compatible with the subject's other versions (409), or none that it takes (422). FATAL: it refuses us (401,
 * 403). With its words and the fix.
 */
enum rc registry_put(struct registry *r, const char *subject, struct slice json, bool alike, struct frame *out,
    struct err *err) MUST_CHECK;

/*
 * What a schema is registered under: <topic>-<half>, or, as Confluent's strategies have it, its record's full name, alone or behind the
 * topic. In a.
 */
const char *registry_subject(enum subjects by, const char *topic, const char *half, struct slice json, struct arena *a);

/*
 * The subject's newest schema, in r until the next call; json->n 0: it has none, or there are no subjects as there is no registry. RETRY,
 * FATAL: as registry_put.
 */
enum rc registry_latest(struct registry *r, const char *subject, struct slice *json, struct err *err) MUST_CHECK;

/*
 * The schema behind a frame; the text ends in a NUL and lives as long as r. RETRY: down. REJECT: not known there, or a frame of the other
 * kind. FATAL: the registry refuses us, or is none.
 */
enum rc registry_get(struct registry *r, struct frame f, struct slice *json, struct err *err) MUST_CHECK;

/*
 * Ask anew for a schema that is known: the registry may have been emptied and filled in another order. At most once a second for each;
 * else as registry_get. *json: what it is now.
 */
enum rc registry_again(struct registry *r, struct frame f, struct slice *json, struct err *err) MUST_CHECK;

/* Reachable and answering? For `check`. *what: one line such as "Confluent API, 12 subjects". */
enum rc registry_check(struct registry *r, char what[static 128], struct err *err) MUST_CHECK;

#endif
