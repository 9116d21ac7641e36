#include "consumer/decode.h"
#include "schemas/frame.h"
#include "schemas/registry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

/* Which schemas wrote a record, and where: one table version of one topic. */
struct version_key {
	uint64_t value_id, key_id;
	const rd_kafka_topic_t *rkt;
};

struct version {
	struct version_key key;
	struct arena arena;
	struct reader *reader;
	struct table *table; /* the reader's, with the exact names of the source block */
	bool named;
	UT_hash_handle hh;
};

struct decode {
	struct registry *registry;
	struct version *versions, *last;
};

enum rc
decode_open(const struct kafka *k, struct decode **out, struct err *err)
{
	struct decode *d = calloc(1, sizeof *d);
	enum rc rc;

	if (!d)
		die("out of memory");
	rc = registry_open(k, false, &d->registry, err);
	if (rc != OK) {
		free(d);
		return rc;
	}
	*out = d;
	return OK;
}

void
decode_close(struct decode *d)
{
	struct version *v, *tmp;

	if (!d)
		return;
	HASH_ITER (hh, d->versions, v, tmp) {
		HASH_DEL(d->versions, v);
		arena_free(&v->arena);
		free(v);
	}
	registry_close(d->registry);
	free(d);
}

bool
decode_header(const rd_kafka_message_t *m, struct tl *tl, struct err *why)
{
	rd_kafka_headers_t *headers;
	const void *p;
	size_t n;

	if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
	    rd_kafka_header_get_last(headers, TL_HEADER, &p, &n) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		(void)fail(why, REJECT, "the record has no header \"%s\": it was not written by towline", TL_HEADER);
		return false;
	}
	return tl_take((struct slice){ p, n }, tl, why) == OK;
}

static enum rc
version_make(struct decode *d, const struct version_key *key, struct frame fk, struct frame fv, struct version **out, struct err *err)
{
	struct version *v = calloc(1, sizeof *v);
	struct slice key_json = { NULL, 0 }, value_json;
	enum rc rc;

	if (!v)
		die("out of memory");
	v->key = *key;
	rc = registry_get(d->registry, fv, &value_json, err);
	if (rc == OK && fk.kind != FRAME_NONE)
		rc = registry_get(d->registry, fk, &key_json, err);
	if (rc == OK)
		rc = reader_compile(key_json, value_json, &v->arena, &v->reader, err);
	if (rc != OK) {
		arena_free(&v->arena);
		free(v);
		return rc;
	}
	v->table = (struct table *)(uintptr_t)reader_table(v->reader); /* ours: made in our arena */
	HASH_ADD(hh, d->versions, key, sizeof v->key, v);
	*out = v;
	return OK;
}

static enum rc
version_of(struct decode *d, const rd_kafka_message_t *m, struct frame fk, struct frame fv, struct version **out, struct err *err)
{
	struct version_key key;

	memset(&key, 0, sizeof key);
	key.value_id = fv.id;
	key.key_id = fk.id;
	key.rkt = m->rkt;
	if (d->last && memcmp(&d->last->key, &key, sizeof key) == 0) {
		*out = d->last;
		return OK;
	}
	HASH_FIND(hh, d->versions, &key, sizeof key, *out);
	if (!*out) {
		enum rc rc = version_make(d, &key, fk, fv, out, err);

		if (rc != OK)
			return rc;
	}
	d->last = *out;
	return OK;
}

/* The namespace of a schema has names as Avro takes them; the source block has them as they are. */
static void
learn_names(struct version *v, const struct envelope *env)
{
	if (v->named || !env->table.n)
		return;
	v->table->schema = arena_slice(&v->arena, env->schema);
	v->table->name = arena_slice(&v->arena, env->table);
	v->named = true;
}

enum rc
decode_record(struct decode *d, const rd_kafka_message_t *m, const struct tl *tl, struct arena *a,
    struct envelope *env, const struct table **tbl, struct value **key, struct err *err)
{
	struct slice body, key_body;
	struct frame fv = frame_take((struct slice){ m->payload, m->len }, &body);
	struct frame fk = m->key ? frame_take((struct slice){ m->key, m->key_len }, &key_body) : (struct frame){ FRAME_NONE, 0 };
	struct version *v;
	enum rc rc;

	*key = NULL;
	if (fv.kind == FRAME_NONE)
		return fail(err, REJECT, "the value of %zu bytes begins with neither a Confluent nor a single-object frame", m->len);
	if (m->key && fk.kind == FRAME_NONE)
		return fail(err, REJECT, "the key of %zu bytes begins with neither a Confluent nor a single-object frame", m->key_len);
	rc = version_of(d, m, fk, fv, &v, err);
	if (rc == OK)
		rc = reader_value(v->reader, body, a, env, err);
	if (rc == OK && fk.kind != FRAME_NONE && (!tl || !env->after))
		rc = reader_key(v->reader, key_body, a, key, err);
	if (rc == OK && !tl) {
		reader_placeholders(v->reader, (struct value *)(uintptr_t)env->before);
		reader_placeholders(v->reader, (struct value *)(uintptr_t)env->after);
	}
	if (rc == OK && tl)
		rc = tl_apply(tl, (struct value *)(uintptr_t)env->before, (struct value *)(uintptr_t)env->after, v->table->ncols, err);
	if (rc != OK)
		return rc;
	learn_names(v, env);
	*tbl = v->table;
	return OK;
}

enum rc
decode_tombstone(struct decode *d, const rd_kafka_message_t *m, struct frame value, struct arena *a,
    const struct table **tbl, struct value **key, bool *flat, struct err *err)
{
	struct slice key_body;
	struct frame fk = frame_take((struct slice){ m->key, m->key_len }, &key_body);
	struct version *v;
	enum rc rc;

	if (fk.kind == FRAME_NONE)
		return fail(err, REJECT, "the key of %zu bytes begins with neither a Confluent nor a single-object frame", m->key_len);
	rc = version_of(d, m, fk, value, &v, err);
	*flat = rc == OK && reader_flat(v->reader);
	if (rc == OK && *flat)
		rc = reader_key(v->reader, key_body, a, key, err);
	if (rc == OK)
		*tbl = v->table;
	return rc;
}

void
decode_fill(struct row *r, const rd_kafka_message_t *m, const char *topic, const struct tl *tl,
    const struct envelope *env, const struct table *tbl)
{
	*r = (struct row){ .op = env->op, .tbl = tbl, .before = (struct value *)(uintptr_t)env->before,
		.after = (struct value *)(uintptr_t)env->after, .topic = topic, .partition = m->partition, .offset = m->offset };
	if (!tl)
		return;
	r->before_full = tl->flags & TL_BEFORE_FULL;
	r->seq = tl->seq;
	r->index = tl->index;
	r->lsn = tl->lsn;
}
