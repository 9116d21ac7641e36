/*
 * registry_kind.h - between registry.c and the two kinds of registry. Nobody else includes it.
 *
 * A kind asks and answers; what is known by now is kept in registry.c, which hands in the caches.
 */
#ifndef SCHEMAS_REGISTRY_KIND_H
#define SCHEMAS_REGISTRY_KIND_H

#include "schemas/registry.h"

struct registry_texts;

struct registry_ops {
	enum frame_kind frame;
	enum rc (*put)(void *self, const char *subject, struct slice json, uint64_t *id, struct err *err);
	/* The subject's newest schema: id and text, in memory until the next call; *id 0: it has none. NULL: this kind has no subjects. */
	enum rc (*latest)(void *self, const char *subject, uint64_t *id, struct slice *json, struct err *err);
	/* Learn the schema of id with registry_learn; OK means that it is known now. */
	enum rc (*get)(void *self, uint64_t id, struct err *err);
	enum rc (*check)(void *self, char what[static 128], struct err *err);
	void (*close)(void *self);
};

/* *self is the kind's own. Both keep texts, which outlives them. */
enum rc registry_http_open(const struct conf *conf, struct registry_texts *texts, void **self, struct err *err) MUST_CHECK;
enum rc registry_topic_open(const struct kafka *k, struct registry_texts *texts, void **self, struct err *err) MUST_CHECK;
extern const struct registry_ops registry_http, registry_topic;

/* Remember the text of id (a copy). FATAL: more schemas than fit into REGISTRY_BYTES_MAX. */
enum { REGISTRY_BYTES_MAX = 64 << 20 };
enum rc registry_learn(struct registry_texts *texts, uint64_t id, struct slice json, struct err *err) MUST_CHECK;
bool registry_known(const struct registry_texts *texts, uint64_t id, struct slice *json);
size_t registry_count(const struct registry_texts *texts);

/* Wait between two tries; a request to stop ends the wait. Milliseconds of a clock that only goes forward. */
void registry_pause(int ms);

#endif
