#include "schemas/registry.h"

#include "core/arena.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/registry_kind.h"
#include "schemas/schema_mark.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#define uthash_fatal(msg) die("registry: %s", msg)
#include <uthash.h>

/* A text by its number. */
struct text {
	uint64_t id;
	struct slice json;
	int64_t asked_ms; /* when registry_again last asked for it */
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

/* The subject's newest schema will do where it writes the same bytes: *id stays 0 where it does not. */
static enum rc
take_latest(struct registry *r, const char *subject, struct slice *json, uint64_t *id, struct err *err)
{
	struct slice newest;
	enum rc rc = r->ops->latest(r->self, subject, id, &newest, err);

	if (rc != OK || !*id)
		return rc;
	if (schema_alike(*json, newest))
		*json = (struct slice){ arena_text(&r->texts.arena, newest), newest.n };
	else
		*id = 0;
	return OK;
}

/* A number for the schema, and what it is there. */
static enum rc
put(struct registry *r, const char *subject, struct slice json, bool alike, uint64_t *id, struct err *err)
{
	struct slice known;
	enum rc rc = alike && r->ops->latest ? take_latest(r, subject, &json, id, err) : OK;

	if (rc == OK && !*id)
		rc = r->ops->put(r->self, subject, json, id, err);
	/* Then what we have under other numbers is not theirs any more: with a new session all is registered anew. */
	if (rc == OK && registry_known(&r->texts, *id, &known) && !slice_eq(known, json) && !schema_alike(known, json))
		rc = fail(err, RETRY,
		    "the registry gives number %" PRIu64 " to %s, which another schema had: was it emptied? all are registered anew",
		    *id, subject);
	return rc == OK ? registry_learn(&r->texts, *id, json, err) : rc;
}

enum rc
registry_put(struct registry *r, const char *subject, struct slice json, bool alike, struct frame *out, struct err *err)
{
	struct answer *a = answered(r, subject, json);
	uint64_t id = 0;
	enum rc rc;

	if (!r->writer)
		return fail(err, FATAL, "a reader of schemas cannot publish one");
	if (!a) {
		rc = put(r, subject, json, alike, &id, err);
		if (rc != OK)
			return rc;
		/* answered() has left the key in the buffer. */
		a = arena_new(&r->texts.arena, struct answer);
		a->id = id;
		a->key = arena_slice(&r->texts.arena, buf_view(&r->key)).p;
		HASH_ADD_KEYPTR(hh, r->answers, a->key, r->key.n, a);
	}
	*out = (struct frame){ r->ops->frame, a->id };
	return OK;
}

enum rc
registry_latest(struct registry *r, const char *subject, struct slice *json, struct err *err)
{
	uint64_t id = 0;
	enum rc rc = OK;

	*json = (struct slice){ "", 0 };
	if (r->ops->latest)
		rc = r->ops->latest(r->self, subject, &id, json, err);
	if (rc == OK && !id)
		*json = (struct slice){ "", 0 };
	return rc;
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
registry_again(struct registry *r, struct frame f, struct slice *json, struct err *err)
{
	enum { PAUSE_MS = 1000 };
	struct text *t = NULL;
	struct slice old;
	enum rc rc;

	HASH_FIND(hh, r->texts.by_id, &f.id, sizeof f.id, t);
	if (f.kind != FRAME_CONFLUENT || f.kind != r->ops->frame || !t || (t->asked_ms && now_ms() - t->asked_ms < PAUSE_MS))
		return registry_get(r, f, json, err);
	old = t->json;
	HASH_DEL(r->texts.by_id, t); /* its memory stays: readers hold on to it */
	rc = r->ops->get(r->self, f.id, err);
	if (rc != OK) { /* not there any more, or the registry is away: what was known goes on being known */
		HASH_ADD(hh, r->texts.by_id, id, sizeof t->id, t);
		t->asked_ms = rc == REJECT ? now_ms() : 0;
		return rc;
	}
	HASH_FIND(hh, r->texts.by_id, &f.id, sizeof f.id, t);
	t->asked_ms = now_ms();
	if (slice_eq(t->json, old))
		t->json = old;
	*json = t->json;
	return OK;
}

const char *
registry_subject(enum subjects by, const char *topic, const char *half, struct slice json, struct arena *a)
{
	json_t *j = json_loadb(json.p, json.n, 0, NULL);
	const char *space = json_string_value(json_object_get(j, "namespace")), *name = json_string_value(json_object_get(j, "name"));
	const char *subject = arena_printf(a, "%s-%s", topic, half);

	if (by != SUBJECTS_TOPIC && name)
		subject = arena_printf(a, "%s%s%s%s%s", by == SUBJECTS_TOPIC_RECORD ? topic : "", by == SUBJECTS_TOPIC_RECORD ? "-" : "",
		    space ? space : "", space ? "." : "", name);
	json_decref(j);
	return subject;
}

enum rc
registry_check(struct registry *r, char what[static 128], struct err *err)
{
	return r->ops->check(r->self, what, err);
}
