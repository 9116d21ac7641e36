#include "producer/publish_impl.h"
#include "core/log.h"
#include "producer/copy.h"
#include "producer/metadata.h"
#include "producer/outbox.h"
#include "schemas/codec.h"
#include "schemas/header.h"
#include "schemas/schema.h"
#include "schemas/schema_mark.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- open and close ---- */

/* Is the topic somebody else's? Then rc. */
static enum rc
clash(const struct publisher *p, const char *name, struct slice owner, enum rc rc, struct err *err)
{
	const struct topic *t;

	HASH_FIND_STR(p->topics, name, t);
	if (!t || t->lent || slice_eq(t->owner, owner))
		return OK;
	return fail_exit(err, rc, EXIT_CONFIG,
	    "tables %.*s and %.*s both map to topic %s; tell them apart with kafka.topic or kafka.topics",
	    SLICE_ARG(t->owner), SLICE_ARG(owner), name);
}

enum rc
publisher_topic(struct publisher *p, const char *name, int partitions, enum topic_keep keep,
    struct slice owner, struct topic **out, struct err *err)
{
	struct topic *t;
	int known;
	enum rc rc;

	HASH_FIND_STR(p->topics, name, t);
	if (t && t->lent) {
		log_warn("producer", "a topic had events of an outbox before what it is for came: later events for it are set aside",
		    "topic=%s of=\"%.*s\"", name, SLICE_ARG(owner));
		t->owner = arena_slice(&p->arena, owner);
		t->lent = false;
	}
	rc = clash(p, name, owner, FATAL, err);
	if (rc != OK || t) {
		*out = t;
		return rc;
	}
	t = arena_new(&p->arena, struct topic);
	t->name = arena_text(&p->arena, slice_of(name));
	t->owner = arena_slice(&p->arena, owner);
	rc = kafka_topic_ensure(p->kafka, p->handles[0].rk, t->name, partitions, keep, &t->partitions, err);
	if (rc != OK)
		return rc;
	for (int i = 0; i < p->nhandles; i++)
		t->rkt[i] = rd_kafka_topic_new(p->handles[i].rk, t->name, NULL);
	/* Each handle has to hear of the topic before it can send, and asks by itself only once a second. */
	for (int i = 1; i < p->nhandles && rc == OK; i++)
		rc = kafka_partitions(p->handles[i].rk, t->name, &known, err);
	if (rc != OK)
		return rc;
	t->slot = p->nslots;
	p->slots = realloc(p->slots, (p->nslots + (uint32_t)t->partitions) * sizeof(*p->slots));
	if (!p->slots)
		die("out of memory");
	for (int i = 0; i < t->partitions; i++)
		p->slots[p->nslots++] = t;
	HASH_ADD_KEYPTR(hh, p->topics, t->name, strlen(t->name), t);
	*out = t;
	return OK;
}

void
publisher_expect(struct publisher *p, struct slice schema, struct slice name)
{
	struct arena a = { 0 };
	const char *topic = topic_table(&a, p->kafka->conf, schema, name);
	struct expected *e;

	HASH_FIND_STR(p->expected, topic, e);
	if (!e && !conf_lists(p->kafka->conf->outbox_tables, schema, name)) {
		e = arena_new(&p->arena, struct expected);
		e->name = arena_text(&p->arena, slice_of(topic));
		e->owner = slice_of(copy_name(&p->arena, schema, name));
		HASH_ADD_KEYPTR(hh, p->expected, e->name, strlen(e->name), e);
	}
	arena_free(&a);
}

/* Names that are spoken for, whether or not there is such a topic. */
static enum rc
spoken_for(struct publisher *p, const char *name, struct err *err)
{
	const char *prefix = p->kafka->conf->name;
	size_t n = strlen(prefix);
	bool ours = strncmp(name, prefix, n) == 0 && name[n] == '.';
	struct expected *e;

	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return fail(err, REJECT, "Kafka takes no topic named '%s'", name);
	/* Kafka's own, and the heartbeats of a Debezium. */
	if (strncmp(name, "__", 2) == 0)
		return fail(err, REJECT, "topic %s: names that begin with __ are not for events", name);
	/* Another pipeline's too: what a stranger writes into its spine its readers would have to make out. */
	if (strstr(name, ".towline.") || (ours && (strcmp(name + n, ".message") == 0 || strcmp(name + n, ".transaction") == 0)))
		return fail(err, REJECT, "topic %s is Towline's own", name);
	HASH_FIND_STR(p->expected, name, e);
	return e ? fail(err, REJECT, "topic %s is that of %.*s", name, SLICE_ARG(e->owner)) : OK;
}

enum rc
publisher_topic_lend(struct publisher *p, const char *name, int partitions, struct topic **out, struct err *err)
{
	struct topic *t;
	enum rc rc = spoken_for(p, name, err);

	HASH_FIND_STR(p->topics, name, t);
	if (rc == OK && t && !t->lent)
		return fail(err, REJECT, "topic %s is that of %.*s", name, SLICE_ARG(t->owner));
	if (rc == OK && !t) {
		rc = publisher_topic(p, name, partitions, TOPIC_STANDARD, SLICE_LIT("the outbox"), &t, err);
		if (rc == OK)
			t->lent = true;
	}
	*out = t;
	return rc;
}

enum rc
publisher_open(const struct kafka *k, const char *database, struct inflight *inflight, struct publisher **out, struct err *err)
{
	struct publisher *p = calloc(1, sizeof *p);
	enum rc rc = OK;

	if (!p)
		die("out of memory");
	p->kafka = k;
	p->database = database;
	p->inflight = inflight;
	p->fd = -1;
	large_limits(p);
	p->queued_max = (size_t)kafka_ahead(k);
	p->nhandles = k->conf->transactions ? HANDLES : 1;
	for (int i = 0; i < p->nhandles && rc == OK; i++)
		rc = handle_open(k, i, &p->fd, &p->handles[i], err);
	if (rc == OK && k->conf->transactions)
		p->committer = committer_start(p->fd);
	if (rc == OK)
		rc = publisher_topic(p, topic_own(&p->arena, k->conf->name, "spine"), 1,
		    TOPIC_FOREVER, SLICE_LIT("the spine"), &p->spine, err);
	if (rc == OK && p->spine->partitions != 1)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "topic %s has %d partitions, it must have one; delete it, it is made anew",
		    p->spine->name, p->spine->partitions);
	if (rc == OK)
		rc = registry_open(k, true, &p->registry, err);
	if (rc != OK) {
		publisher_close(p);
		return rc;
	}
	*out = p;
	return OK;
}

static void
route_free(struct route *r)
{
	if (r)
		arena_free(&r->arena);
	free(r);
}

void
publisher_close(struct publisher *p)
{
	struct topic *t, *tmp;
	struct route *r, *rtmp;
	struct expected *e, *etmp;

	if (!p)
		return;
	committer_stop(p->committer);
	metadata_close(p);
	registry_close(p->registry);
	HASH_ITER (hh, p->routes, r, rtmp) {
		HASH_DEL(p->routes, r);
		route_free(r);
	}
	HASH_ITER (hh, p->topics, t, tmp) {
		HASH_DEL(p->topics, t);
		for (int i = 0; i < p->nhandles; i++)
			rd_kafka_topic_destroy(t->rkt[i]);
	}
	HASH_ITER (hh, p->expected, e, etmp)
		HASH_DEL(p->expected, e);
	for (int i = 0; i < p->nhandles; i++)
		handle_close(&p->handles[i]);
	if (p->fd >= 0)
		close(p->fd);
	free(p->slots);
	buf_free(&p->keybuf);
	buf_free(&p->valuebuf);
	buf_free(&p->header);
	arena_free(&p->row);
	arena_free(&p->arena);
	free(p);
}

void
publisher_gauge(struct publisher *p, struct gauge *g)
{
	p->gauge = g;
}

int
publisher_fd(const struct publisher *p)
{
	return p->fd;
}

/* ---- routes ---- */

/* a: for what it makes on the way. */
static enum rc
register_schema(struct publisher *p, const char *topic, const char *half, struct slice json, struct arena *a, struct frame *out,
    struct err *err)
{
	const char *subject = registry_subject(p->kafka->conf->subjects, topic, half, json, a);

	/* The number of the key's schema is part of what chooses the partition: the one that is there is kept. */
	return registry_put(p->registry, subject, json, strcmp(half, "key") == 0, out, err);
}

/* Numbers of a registry may come to mean other schemas. Of those here the registry knows the text by now. */
static enum rc
mark_route(struct publisher *p, struct route *r, struct err *err)
{
	struct slice key = { "", 0 }, value;
	enum rc rc = registry_get(p->registry, r->value, &value, err);

	if (rc == OK && r->key.kind != FRAME_NONE)
		rc = registry_get(p->registry, r->key, &key, err);
	if (rc == OK && r->value.kind == FRAME_CONFLUENT)
		r->mark = schema_mark(key, value);
	return rc;
}

/* With every column but the key's nullable: as what a NOT NULL column without default cannot be, when it comes or its NOT NULL does. */
static struct table *
relaxed(const struct table *tbl, struct arena *a)
{
	struct table *copy = arena_new(a, struct table);

	*copy = *tbl;
	copy->cols = arena_array(a, (size_t)tbl->ncols, sizeof *copy->cols);
	memcpy(copy->cols, tbl->cols, (size_t)tbl->ncols * sizeof *copy->cols);
	for (int i = 0; i < tbl->ncols; i++)
		copy->cols[i].notnull = false;
	for (int i = 0; i < tbl->nkeys; i++)
		copy->cols[tbl->keys[i]].notnull = tbl->cols[tbl->keys[i]].notnull;
	return copy;
}

/*
 * The value's schema, registered. A registry that asks for compatibility (BACKWARD) takes no field without default that is new, or was
 * nullable in an older version; the same with null allowed it does. *as: the table as the schema has it.
 */
static enum rc
register_value(struct publisher *p, const char *topic, const struct table *tbl, struct arena *a, const struct table **as, struct frame *out,
    struct err *err)
{
	struct slice prefix = slice_of(p->kafka->conf->name), json;
	struct err second;
	enum rc rc = schema_value(prefix, tbl, a, &json, err);

	*as = tbl;
	if (rc != OK)
		return rc;
	rc = register_schema(p, topic, "value", json, a, out, err);
	if (rc != REJECT)
		return rc;
	*as = relaxed(tbl, a);
	rc = schema_value(prefix, *as, a, &json, &second);
	if (rc == OK)
		rc = register_schema(p, topic, "value", json, a, out, &second);
	if (rc == OK)
		log_warn("producer", "registered with nullable columns, as the registry takes no other: what is NOT NULL is not told",
		    "table=\"%s.%s\" reason=\"%s\"", tbl->schema.p, tbl->name.p, err->text);
	if (rc == RETRY)
		*err = second;
	return rc; /* refused twice: the first reason says more */
}

static enum rc route_table(struct publisher *p, const struct table *tbl, struct route *r, struct err *err) MUST_CHECK;

/* source: as the source has the table; what follows is about the table as it leaves. texts: see shape_make. */
static enum rc
route_as(struct publisher *p, const struct table *source, bool texts, struct route *r, struct err *err)
{
	enum rc rc = shape_make(p->kafka->conf, source, texts, &r->arena, &r->shape, err);

	r->tbl = source;
	if (rc == OK)
		rc = outbox_make(p, r->shape ? shape_table(r->shape) : source, &r->outbox, err);
	if (rc == OK && !r->outbox)
		rc = route_table(p, r->shape ? shape_table(r->shape) : source, r, err);
	return rc;
}

static bool
has_structures(const struct table *tbl)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (shape_is_structure(&tbl->cols[i]))
			return true;
	return false;
}

/*
 * Points and the like were text before they were structures, and a registry that asks for compatibility (BACKWARD) does not take the one
 * for the other: a table that has older versions there goes on as text.
 */
static enum rc
route_make(struct publisher *p, const struct table *source, struct route **out, struct err *err)
{
	struct route *r = calloc(1, sizeof *r);
	struct err second;
	enum rc rc;

	if (!r)
		die("out of memory");
	rc = route_as(p, source, false, r, err);

	if (rc == REJECT && has_structures(source)) {
		rc = route_as(p, source, true, r, &second);
		if (rc == OK)
			log_warn("producer", "geometric types and the like go on as text, as the registry takes no structures after it",
			    "table=\"%s.%s\" reason=\"%s\"", source->schema.p, source->name.p, err->text);
		else if (rc != REJECT) /* refused twice: the first reason says more */
			*err = second;
	}
	/* Events that were passed over could not be brought back. */
	if (rc == REJECT && conf_lists(p->kafka->conf->outbox_tables, source->schema, source->name))
		rc = fail(err, FATAL, "table %s.%s: %s", source->schema.p, source->name.p, err->text);
	if (rc != OK) {
		route_free(r);
		return rc;
	}
	HASH_ADD_PTR(p->routes, tbl, r);
	*out = r;
	return OK;
}

static enum rc
route_table(struct publisher *p, const struct table *tbl, struct route *r, struct err *err)
{
	struct arena *a = &r->arena;
	const struct conf *conf = p->kafka->conf;
	struct slice key = schema_key(slice_of(conf->name), tbl, a);
	struct slice owner = slice_of(copy_name(a, tbl->schema, tbl->name));
	const char *topic = topic_table(a, conf, tbl->schema, tbl->name);
	const struct table *as;
	struct slice value;
	/* First, as it tells what the key's cannot: names that clash, types without a form. */
	enum rc rc = schema_value(slice_of(conf->name), tbl, a, &value, err);

	/*
	 * Without a key every row must keep the order of the table: one partition. And each
	 * partition of the embedded broker takes 5 MiB.
	 */
	if (rc == OK)
		rc = clash(p, topic, owner, REJECT, err);
	if (rc == OK)
		rc = publisher_topic(p, topic,
		    key.n && !p->kafka->broker ? (int)conf->partitions : 1, TOPIC_STANDARD,
		    owner, &r->topic, err);
	if (rc == OK && key.n)
		rc = register_schema(p, topic, "key", key, a, &r->key, err);
	if (rc == OK)
		rc = register_value(p, topic, tbl, a, &as, &r->value, err);
	if (rc == OK)
		rc = mark_route(p, r, err);
	if (rc != OK)
		return rc == REJECT ? rc : fail_in(err, "table %s", owner.p);
	r->writer = writer_compile(as, a);
	gauge_table(p->gauge, tbl->schema, tbl->name);
	log_info("producer", "topic ready", "table=\"%s.%s\" topic=%s partitions=%d", tbl->schema.p, tbl->name.p, r->topic->name,
	    r->topic->partitions);
	return OK;
}

static enum rc
route_message(struct publisher *p, struct err *err)
{
	struct arena *a = &p->arena;
	const char *topic = arena_printf(a, "%s.message", p->kafka->conf->name);
	struct route *r = arena_new(a, struct route);
	enum rc rc = publisher_topic(p, topic, 1, TOPIC_STANDARD, SLICE_LIT("logical messages"), &r->topic, err);

	if (rc == OK)
		rc = register_schema(p, topic, "key", schema_message_key(a), a, &r->key, err);
	if (rc == OK)
		rc = register_schema(p, topic, "value", schema_message_value(a), a, &r->value, err);
	if (rc == OK)
		rc = mark_route(p, r, err);
	if (rc == OK)
		p->message = r;
	return rc;
}

static enum rc
route_of(struct publisher *p, const struct table *tbl, struct route **out, struct err *err)
{
	enum rc rc = OK;

	if (p->last && p->last->tbl == tbl) {
		*out = p->last;
		return OK;
	}
	HASH_FIND_PTR(p->routes, &tbl, *out);
	if (!*out)
		rc = route_make(p, tbl, out, err);
	if (rc == OK)
		p->last = *out;
	return rc;
}

enum rc
publisher_prepare(struct publisher *p, const struct table *tbl, struct err *err)
{
	struct route *r;

	return route_of(p, tbl, &r, err);
}

/* ---- one change ---- */

struct sending {
	struct publisher *p;
	struct group *g;
	struct route *route;
	const struct txn *txn;
	const struct change *ch;
	struct place *at;
	struct envelope env;
	bool aside; /* the last record was set aside */
};

static void
fill_envelope(struct sending *s)
{
	const struct publisher *p = s->p;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	s->env = (struct envelope){
		.version = slice_of(TOWLINE_VERSION),
		.connector = slice_of(s->ch->tbl && s->ch->tbl->connector ? s->ch->tbl->connector : "postgresql"),
		.name = slice_of(p->kafka->conf->name),
		.db = slice_of(p->database),
		.source_us = s->txn->commit_us,
		.last_commit_lsn = s->at->last_commit_lsn,
		.lsn = s->ch->lsn,
		.xid = s->txn->xid,
		.origin = s->txn->origin,
		.origin_lsn = s->txn->origin_lsn,
		.handled_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
		.prefix = s->ch->prefix,
		.content = s->ch->content,
		.snapshot = s->ch->op == OP_READ ? SLICE_LIT("incremental") : (struct slice){ NULL, 0 },
	};
	if (s->ch->tbl) {
		s->env.schema = s->ch->tbl->schema;
		s->env.table = s->ch->tbl->name;
	}
}

/*
 * Avro has no form for a numeric NaN; its text travels in the header. In a NOT NULL column null may not stand in for it either, so the
 * writer is given an absent value there, which it writes as the type's zero.
 */
static const struct value *
fit_not_null(struct publisher *p, const struct table *tbl, const struct value *row)
{
	struct value *copy = NULL;

	for (int i = 0; row && i < tbl->ncols; i++) {
		if (row[i].kind != V_NULL || !row[i].exact.n || !tbl->cols[i].notnull)
			continue;
		if (!copy) {
			copy = arena_raw(&p->row, (size_t)tbl->ncols * sizeof *copy);
			memcpy(copy, row, (size_t)tbl->ncols * sizeof *copy);
		}
		copy[i] = (struct value){ .kind = V_ABSENT };
	}
	return copy ? copy : row;
}

/*
 * Key bytes and partition. Registry ids are hashed with the key, as every client does; a
 * fingerprint is not, so that a key's partition outlives a change of its schema.
 */
static enum rc
put_key(struct sending *s, const struct value *row, struct record *r, struct err *err)
{
	struct publisher *p = s->p;
	struct slice whole;
	size_t frame;
	const int *keys;
	enum rc rc;

	buf_reset(&p->keybuf);
	if (!table_message_keys(s->ch->tbl, &keys) || !row) {
		r->key = (struct slice){ NULL, 0 };
		r->partition = 0;
		return OK;
	}
	frame_put(&p->keybuf, s->route->key);
	frame = s->route->key.kind == FRAME_SINGLE ? p->keybuf.n : 0;
	rc = writer_key(s->route->writer, row, &p->keybuf, err);
	if (rc != OK)
		return rc;
	whole = r->key = buf_view(&p->keybuf);
	r->partition = topic_partition((struct slice){ whole.p + frame, whole.n - frame }, s->route->topic->partitions);
	return OK;
}

static enum rc
send_record(struct sending *s, char op, const struct value *before, const struct value *after,
    uint32_t flags, struct record *r, struct err *err)
{
	struct publisher *p = s->p;
	const struct table *tbl = s->ch->tbl;
	bool bare = s->route->key.kind != FRAME_NONE && !r->key.n; /* a truncate: the mark is of both schemas, and it names one */
	struct tl tl = { .flags = flags | TL_MARK, .gen = s->at->gen, .seq = s->at->seq, .index = s->at->index++, .lsn = s->txn->commit_lsn,
		.mark = flags & TL_TOMBSTONE || bare ? 0 : s->route->mark };
	enum rc rc;

	if (op == OP_TRUNCATE)
		tl.key = s->route->key;
	if (s->ch->reshaped)
		tl.flags |= TL_BEGINS;
	if (!(flags & TL_TOMBSTONE)) {
		rc = metadata_row(p, s->g, s->txn, &s->env, err);
		if (rc != OK)
			return rc;
	}
	buf_reset(&p->header);
	tl_put(&p->header, &tl, flags & TL_TOMBSTONE ? NULL : before, after, tbl->ncols);
	buf_reset(&p->valuebuf);
	if (!(flags & TL_TOMBSTONE)) {
		s->env.op = op;
		s->env.before = fit_not_null(p, tbl, before);
		s->env.after = fit_not_null(p, tbl, after);
		frame_put(&p->valuebuf, s->route->value);
		rc = writer_value(s->route->writer, &s->env, &p->valuebuf, err);
		if (rc != OK)
			return rc;
		r->value = buf_view(&p->valuebuf);
	} else {
		r->value = (struct slice){ NULL, 0 };
	}
	r->topic = s->route->topic;
	r->tl = buf_view(&p->header);
	r->timestamp_ms = s->txn->commit_us / 1000;
	s->aside = false;
	if (large_is(p, r))
		rc = large_send(p, s->g, r, &tl, s->at,
		    arena_printf(&p->row, "table %s.%s", tbl->schema.p, tbl->name.p),
		    key_text(tbl, after ? after : before, &p->row), &s->aside, err);
	else
		rc = deliver(p, s->g, r, err);
	if (rc == OK && !s->aside && !(flags & TL_TOMBSTONE))
		metadata_sent(p);
	return rc;
}

/* A delete is followed by a tombstone, by which a compacted topic forgets the key. */
static enum rc
send_delete(struct sending *s, uint32_t flags, const char *extra_name, struct slice extra, struct err *err)
{
	struct record r = { .extra = { { extra_name, extra } }, .nextra = extra_name != NULL };
	enum rc rc = put_key(s, s->ch->before, &r, err);

	if (rc == OK)
		rc = send_record(s, OP_DELETE, s->ch->before, NULL, flags, &r, err);
	/* Under a key of its own there may be other rows, which a compacted topic would forget with this one. */
	if (rc != OK || !r.key.n || s->aside || !s->p->kafka->conf->tombstones || s->ch->tbl->nmessage_keys)
		return rc;
	r.nextra = 0;
	return send_record(s, OP_DELETE, NULL, NULL, TL_TOMBSTONE, &r, err);
}

/*
 * Will the half with the new key be set aside? Then the one with the old key is a plain delete, or it
 * would wait for the other at the sinks.
 */
static enum rc
too_large(struct sending *s, const struct value *after, bool *yes, struct err *err)
{
	struct publisher *p = s->p;
	struct record r = { 0 };
	enum rc rc = put_key(s, after, &r, err);

	s->env.op = OP_CREATE;
	s->env.before = NULL;
	s->env.after = fit_not_null(p, s->ch->tbl, after);
	buf_reset(&p->valuebuf);
	if (rc == OK)
		rc = writer_value(s->route->writer, &s->env, &p->valuebuf, err);
	buf_reset(&p->header);
	tl_put(&p->header,
	    &(struct tl){ .flags = TL_MARK, .mark = UINT32_MAX,
		.seq = UINT64_MAX, .lsn = UINT64_MAX, .gen = UINT64_MAX, .index = UINT64_MAX },
	    NULL, after, s->ch->tbl->ncols);
	r.value = buf_view(&p->valuebuf);
	r.tl = buf_view(&p->header);
	*yes = rc == OK && large_is(p, &r);
	return rc;
}

static enum rc
send_moved(struct sending *s, uint32_t full, struct err *err)
{
	const struct table *tbl = s->ch->tbl;
	struct record r = {
		.extra = { { "__debezium.oldkey", key_text(tbl, s->ch->before, &s->p->row) } },
		.nextra = 1
	};
	bool alone = s->ch->apart;
	enum rc rc = s->p->kafka->conf->on_large == LARGE_DEADLETTER && !alone
	    ? too_large(s, s->ch->after, &alone, err)
	    : OK;

	if (rc == OK)
		rc = send_delete(s, (alone ? 0 : TL_MOVED_FROM) | full, "__debezium.newkey",
		    key_text(tbl, s->ch->after, &s->p->row), err);

	if (rc == OK)
		rc = put_key(s, s->ch->after, &r, err);
	return rc == OK ? send_record(s, OP_CREATE, NULL, s->ch->after, s->ch->apart ? 0 : TL_MOVED_TO, &r, err) : rc;
}

static enum rc
send_message(struct sending *s, struct err *err)
{
	struct publisher *p = s->p;
	struct tl tl = { .flags = TL_MARK, .gen = s->at->gen, .seq = s->at->seq, .index = s->at->index++, .lsn = s->txn->commit_lsn };
	struct record r = { .partition = 0, .timestamp_ms = s->txn->commit_us / 1000 };

	if (!p->message) {
		enum rc rc = route_message(p, err);

		if (rc != OK)
			return rc;
	}
	r.topic = p->message->topic;
	tl.mark = p->message->mark;
	s->env.op = OP_MESSAGE;
	if (!s->ch->transactional)
		s->env.xid = 0;
	buf_reset(&p->header);
	tl_put(&p->header, &tl, NULL, NULL, 0);
	buf_reset(&p->keybuf);
	frame_put(&p->keybuf, p->message->key);
	writer_message_key(s->ch->prefix, &p->keybuf);
	buf_reset(&p->valuebuf);
	frame_put(&p->valuebuf, p->message->value);
	writer_message_value(&s->env, &p->valuebuf);
	r.tl = buf_view(&p->header);
	r.key = buf_view(&p->keybuf);
	r.value = buf_view(&p->valuebuf);
	if (large_is(p, &r))
		return large_send(
		    p, s->g, &r, &tl, s->at, "messages", s->ch->prefix, &s->aside, err);
	return deliver(p, s->g, &r, err);
}

/* The record's key, where it is another than the table's: shape_make has seen to it that the old row has it. */
static bool
changes_message_key(const struct change *ch)
{
	for (int i = 0; ch->op == OP_UPDATE && ch->before_kind == BEFORE_FULL && i < ch->tbl->nmessage_keys; i++)
		if (!value_eq(&ch->before[ch->tbl->message_keys[i]], &ch->after[ch->tbl->message_keys[i]]))
			return true;
	return false;
}

enum rc
publish_change(struct publisher *p, struct group *g, const struct txn *txn, const struct change *ch, struct place *at, struct err *err)
{
	struct sending s = { .p = p, .g = g, .txn = txn, .ch = ch, .at = at };
	struct record r = { 0 };
	struct change shaped;
	uint32_t full = ch->before_kind == BEFORE_FULL ? TL_BEFORE_FULL : 0;
	enum rc rc;

	arena_reset(&p->row);
	fill_envelope(&s);
	if (ch->op == OP_MESSAGE)
		return send_message(&s, err);
	rc = route_of(p, ch->tbl, &s.route, err);
	if (rc == OK && s.route->shape) {
		rc = shape_change(s.route->shape, ch, &p->row, &shaped, err);
		s.ch = ch = &shaped;
	}
	if (rc != OK)
		return rc == REJECT ? fail(err, FATAL, "table %s.%s: %s", ch->tbl->schema.p, ch->tbl->name.p, err->text) : rc;
	if (s.route->outbox)
		return outbox_send(p, s.route->outbox, g, txn, ch, err);
	if (ch->op == OP_DELETE)
		rc = send_delete(&s, full, NULL, (struct slice){ NULL, 0 }, err);
	else if (change_moves_key(ch) || changes_message_key(ch))
		rc = send_moved(&s, full, err);
	else {
		rc = put_key(&s, ch->after, &r, err);
		if (rc == OK)
			rc = send_record(&s, ch->op, full ? ch->before : NULL, ch->after, full, &r, err);
	}
	if (rc == REJECT)
		return fail(err, FATAL, "table %s.%s: %s", ch->tbl->schema.p, ch->tbl->name.p, err->text);
	return rc;
}
