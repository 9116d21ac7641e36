#include "schemas/registry.h"

#include "core/arena.h"
#include "core/stop.h"
#include "schemas/registry_kind.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#define uthash_fatal(msg) die("registry: %s", msg)
#include <uthash.h>

/* A text by its number. */
struct text {
	uint64_t id;
	struct slice json;
	UT_hash_handle hh;
};

struct registry_texts {
	struct arena arena;
	struct text *by_id;
	size_t bytes;
};

/* What a put answered; the key is the subject, a NUL, and the schema. */
struct answer {
	const char *key;
	uint64_t id;
	UT_hash_handle hh;
};

struct registry {
	const struct registry_ops *ops;
	void *self;
	bool writer;
	struct registry_texts texts;
	struct answer *answers;
	struct buf key;
};

/* ---- what the kinds share ---- */

bool
registry_known(const struct registry_texts *texts, uint64_t id, struct slice *json)
{
	struct text *t;

	HASH_FIND(hh, texts->by_id, &id, sizeof id, t);
	if (t)
		*json = t->json;
	return t != NULL;
}

enum rc
registry_learn(struct registry_texts *texts, uint64_t id, struct slice json, struct err *err)
{
	struct slice known;
	struct text *t;

	if (registry_known(texts, id, &known))
		return OK;
	if (json.n > REGISTRY_BYTES_MAX - texts->bytes)
		return fail(err, FATAL, "the schemas take more than %d MiB; is this the registry of this pipeline alone?",
		    REGISTRY_BYTES_MAX >> 20);
	texts->bytes += json.n;
	t = arena_new(&texts->arena, struct text);
	t->id = id;
	t->json = (struct slice){ arena_text(&texts->arena, json), json.n };
	HASH_ADD(hh, texts->by_id, id, sizeof t->id, t);
	return OK;
}

size_t
registry_count(const struct registry_texts *texts)
{
	return HASH_COUNT(texts->by_id);
}

void
registry_pause(int ms)
{
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };

	poll(&stop, 1, ms);
}

/* ---- the interface ---- */

enum rc
registry_open(const struct kafka *k, bool writer, struct registry **out, struct err *err)
{
	struct registry *r = calloc(1, sizeof *r);
	enum rc rc;

	if (!r)
		die("out of memory for the registry");
	r->writer = writer;
	r->ops = k->conf->registry ? &registry_http : &registry_topic;
	if (k->conf->registry)
		rc = registry_http_open(k->conf, &r->texts, &r->self, err);
	else
		rc = registry_topic_open(k, &r->texts, &r->self, err);
	if (rc != OK) {
		registry_close(r);
		return rc;
	}
	*out = r;
	return OK;
}

void
registry_close(struct registry *r)
{
	if (!r)
		return;
	if (r->self)
		r->ops->close(r->self);
	HASH_CLEAR(hh, r->texts.by_id);
	HASH_CLEAR(hh, r->answers);
	arena_free(&r->texts.arena);
	buf_free(&r->key);
	free(r);
}

static struct answer *
answered(struct registry *r, const char *subject, struct slice json)
{
	struct answer *a;

	buf_reset(&r->key);
	buf_bytes(&r->key, subject, strlen(subject) + 1);
	buf_slice(&r->key, json);
	HASH_FIND(hh, r->answers, r->key.p, r->key.n, a);
	return a;
}

enum rc
registry_put(struct registry *r, const char *subject, struct slice json, struct frame *out, struct err *err)
{
	struct answer *a = answered(r, subject, json);
	uint64_t id = 0;
	enum rc rc;

	if (!r->writer)
		return fail(err, FATAL, "a reader of schemas cannot publish one");
	if (!a) {
		rc = r->ops->put(r->self, subject, json, &id, err);
		if (rc == OK)
			rc = registry_learn(&r->texts, id, json, err);
		if (rc != OK)
			return rc;
		a = arena_new(&r->texts.arena, struct answer);
		a->id = id;
		a->key = arena_slice(&r->texts.arena, buf_view(&r->key)).p;
		HASH_ADD_KEYPTR(hh, r->answers, a->key, r->key.n, a);
	}
	*out = (struct frame){ r->ops->frame, a->id };
	return OK;
}

/* A frame of the other kind is no passing trouble: the topic and the configuration disagree. */
static enum rc
wrong_kind(enum frame_kind kind, struct err *err)
{
	switch (kind) {
	case FRAME_CONFLUENT:
		return fail(err, REJECT, "the message names a schema by a registry's number, and no registry is configured; "
		    "set schemas.registry");
	case FRAME_SINGLE:
		return fail(err, REJECT, "the message names its schema by fingerprint, and schemas.registry is a URL; "
		    "the writer has schemas.registry: none");
	case FRAME_NONE:
		break;
	}
	return fail(err, REJECT, "the message does not say which schema wrote it; is the topic written by something else?");
}

enum rc
registry_get(struct registry *r, struct frame f, struct slice *json, struct err *err)
{
	enum rc rc;

	if (f.kind != r->ops->frame)
		return wrong_kind(f.kind, err);
	if (registry_known(&r->texts, f.id, json))
		return OK;
	rc = r->ops->get(r->self, f.id, err);
	if (rc == OK && !registry_known(&r->texts, f.id, json))
		return fail(err, REJECT, "schema %llu is not known", (unsigned long long)f.id);
	return rc;
}

enum rc
registry_check(struct registry *r, char what[static 128], struct err *err)
{
	return r->ops->check(r->self, what, err);
}
