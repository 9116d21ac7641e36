#include "consumer/decode.h"
#include "schemas/frame.h"
#include "schemas/registry.h"
#include "schemas/schema.h"
#include "schemas/schema_mark.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

/* Which schemas wrote a record, and where: one table version of one topic. */
struct version_key {
	uint64_t value_id, key_id;
	uint32_t mark;  /* of the record's header; 0: it has none */
	const rd_kafka_topic_t *rkt;
};

struct version {
	struct version_key key;
	struct arena arena;
	struct reader *reader;
	struct table *table; /* the reader's, with the exact names of the source block */
	bool named;
	struct slice key_json, value_json; /* what it was made of; in the registry's memory */
	UT_hash_handle hh;
};

struct decode {
	struct registry *registry;
	struct version *versions, *last;
	struct version *old;      /* made of what a registry has under other numbers by now; rows may point into them */
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

static void
version_free(struct version **from, struct version *v)
{
	HASH_DEL(*from, v);
	arena_free(&v->arena);
	free(v);
}

void
decode_close(struct decode *d)
{
	struct version *v, *tmp;

	if (!d)
		return;
	HASH_ITER (hh, d->old, v, tmp)
		version_free(&d->old, v);
	HASH_ITER (hh, d->versions, v, tmp)
		version_free(&d->versions, v);
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

/* Both schemas; again: as the registry has them now. key.n 0: the record has no key. */
static enum rc
ask(struct decode *d, struct frame fk, struct frame fv, bool again, struct slice *key, struct slice *value, struct err *err)
{
	enum rc rc = again ? registry_again(d->registry, fv, value, err) : registry_get(d->registry, fv, value, err);

	if (rc == OK && fk.kind != FRAME_NONE)
		rc = again ? registry_again(d->registry, fk, key, err) : registry_get(d->registry, fk, key, err);
	return rc;
}

/*
 * The schemas whose numbers the record names, if they are those that wrote it: else the registry gives its numbers to others by now, and
 * was asked before that, or since.
 */
static enum rc
ask_marked(struct decode *d, struct frame fk, struct frame fv, uint32_t mark, struct slice *key, struct slice *value, struct err *err)
{
	enum rc rc = ask(d, fk, fv, false, key, value, err);

	if (rc == OK && mark && schema_mark(*key, *value) != mark)
		rc = ask(d, fk, fv, true, key, value, err);
	if (rc == OK && mark && schema_mark(*key, *value) != mark)
		return fail(err, REJECT,
		    "the record was not written with what the registry has as schemas %" PRIu64 " and %" PRIu64
		    ": it gives its numbers to other schemas than it did then; was it emptied and filled anew? bring the old one back; "
		    "a producer that is started again registers its schemas for what comes",
		    fk.id, fv.id);
	return rc;
}

static enum rc
version_make(struct decode *d, const struct version_key *key, struct frame fk, struct frame fv, struct version **out, struct err *err)
{
	struct version *v = calloc(1, sizeof *v);
	struct slice key_json = { "", 0 }, value_json;
	enum rc rc;

	if (!v)
		die("out of memory");
	v->key = *key;
	rc = ask_marked(d, fk, fv, key->mark, &key_json, &value_json, err);
	if (rc == OK)
		rc = reader_compile(key_json, value_json, &v->arena, &v->reader, err);
	if (rc != OK) {
		arena_free(&v->arena);
		free(v);
		return rc;
	}
	v->key_json = key_json;
	v->value_json = value_json;
	v->table = (struct table *)(uintptr_t)reader_table(v->reader); /* ours: made in our arena */
	HASH_ADD(hh, d->versions, key, sizeof v->key, v);
	*out = v;
	return OK;
}

static enum rc
version_of(struct decode *d, const rd_kafka_message_t *m, struct frame fk, struct frame fv, uint32_t mark, struct version **out,
    struct err *err)
{
	struct version_key key;

	memset(&key, 0, sizeof key);
	key.value_id = fv.id;
	key.key_id = fk.id;
	key.mark = mark;
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

static bool
ends_with(const char *text, const char *ending)
{
	size_t n = strlen(text), m = strlen(ending);

	return n >= m && memcmp(text + n - m, ending, m) == 0;
}

/*
 * A record that says it is of this topic's table, read by the schema of another: what a registry's number meant before, or means since it
 * was emptied. (Where one topic has the rows of several tables its name is none of theirs, and nothing can be said.)
 */
static bool
another_table(const struct version *v, const rd_kafka_message_t *m, const struct envelope *env, struct arena *a)
{
	struct slice schema = v->table->schema, table = v->table->name, full;
	const char *topic = rd_kafka_topic_name(m->rkt), *ending;

	if (!env->table.n || (slice_eq(schema, env->schema) && slice_eq(table, env->table)))
		return false;
	full = slice_of(arena_printf(a, ".%.*s.%.*s", SLICE_ARG(env->schema), SLICE_ARG(env->table)));
	/* Until the first record was read these are the schema's names, as Avro takes them; of names with dots, the last two parts. */
	if (!v->named && ends_with(schema_adjust(full, true, a).p, arena_printf(a, ".%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table))))
		return false;
	ending = topic_name(a, ".{schema}.{table}", "", env->schema, env->table);
	return strlen(topic) > strlen(ending) && ends_with(topic, ending);
}

/* By its schemas alone. */
static enum rc
decode_with(const struct version *v, const struct tl *tl, struct slice body, struct slice key_body, bool keyed, struct arena *a,
    struct envelope *env, struct value **key, struct err *err)
{
	enum rc rc = reader_value(v->reader, body, a, env, err);

	if (rc == OK && keyed && (!tl || !env->after))
		rc = reader_key(v->reader, key_body, a, key, err);
	if (rc == OK && !tl) {
		reader_placeholders(v->reader, (struct value *)(uintptr_t)env->before);
		reader_placeholders(v->reader, (struct value *)(uintptr_t)env->after);
	}
	if (rc == OK && tl)
		rc = tl_apply(tl, (struct value *)(uintptr_t)env->before, (struct value *)(uintptr_t)env->after, v->table->ncols, err);
	return rc;
}

/*
 * A record that tells no mark did not go well with the schemas that we know by its numbers. Has the registry others under them
 * by now? *again: yes, and *v is made of those.
 */
static enum rc
renew(struct decode *d, const rd_kafka_message_t *m, struct frame fk, struct frame fv, struct version **v, bool *again, struct err *err)
{
	struct slice key_json = { "", 0 }, value_json;
	struct err why = *err;
	enum rc rc = ask(d, fk, fv, true, &key_json, &value_json, err);

	*again = rc == OK && !(slice_eq(key_json, (*v)->key_json) && slice_eq(value_json, (*v)->value_json));
	if (*again) {
		HASH_DEL(d->versions, *v);
		HASH_ADD(hh, d->old, key, sizeof (*v)->key, *v);
		d->last = NULL;
		return version_of(d, m, fk, fv, 0, v, err);
	}
	if (rc == OK || rc == REJECT) {
		*err = why;
		return REJECT;
	}
	return rc;
}

enum rc
decode_record(struct decode *d, const rd_kafka_message_t *m, const struct tl *tl, struct arena *a,
    struct envelope *env, const struct table **tbl, struct value **key, struct err *err)
{
	struct slice body, key_body = { "", 0 };
	struct frame fv = frame_take((struct slice){ m->payload, m->len }, &body);
	struct frame fk = tl ? tl->key : (struct frame){ FRAME_NONE, 0 };
	uint32_t mark = tl && fv.kind == FRAME_CONFLUENT ? tl->mark : 0;
	struct version *v;
	bool again = true;
	enum rc rc;

	*key = NULL;
	if (m->key)
		fk = frame_take((struct slice){ m->key, m->key_len }, &key_body);
	if (fv.kind == FRAME_NONE)
		return fail(err, REJECT, "the value of %zu bytes begins with neither a Confluent nor a single-object frame", m->len);
	if (m->key && fk.kind == FRAME_NONE)
		return fail(err, REJECT, "the key of %zu bytes begins with neither a Confluent nor a single-object frame", m->key_len);
	rc = version_of(d, m, fk, fv, mark, &v, err);
	for (int i = 0; rc == OK && again; i++) {
		rc = decode_with(v, tl, body, key_body, m->key != NULL, a, env, key, err);
		if (rc == OK && !mark && another_table(v, m, env, a))
			rc = fail(err, REJECT,
			    "the registry's schema %" PRIu64 " is of table %.*s.%.*s, and the record of %.*s.%.*s; "
			    "was the registry emptied and filled anew? bring the old one back",
			    fv.id, SLICE_ARG(v->table->schema), SLICE_ARG(v->table->name), SLICE_ARG(env->schema), SLICE_ARG(env->table));
		again = rc == REJECT && !mark && i == 0 && fv.kind == FRAME_CONFLUENT;
		if (again)
			rc = renew(d, m, fk, fv, &v, &again, err);
	}
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
	rc = version_of(d, m, fk, value, 0, &v, err);
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
